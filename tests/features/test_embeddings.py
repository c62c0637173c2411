"""Networks of users, and VGG-Face, on whole recordings; against numpy."""

import json

import numpy as np
import pytest
from media_files import SAMPLES, needs_samples, tone, write_sound
from test_vgg_face import draw_layers, write_npz

from ifusion.corpora.corpus import CorpusError
from ifusion.features import onnx_model, vgg_face
from ifusion.features.extractors import ExtractorOptions, make_extractor
from ifusion.features.faces import align_face, read_frames
from ifusion.features.media import Recording
from ifusion.features.reuse import extract_as
from ifusion.features.video_extractors import _aligned_faces, _follow

onnx = pytest.importorskip("onnx", reason="makes the models of these tests")
pytest.importorskip("onnxruntime")
FACE = {"channels": "bgr", "mean": [10, 20, 30], "scale": 0.01}


def save(path, nodes, inputs, outputs, constants=()):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", kind, inputs)],
        [helper.make_tensor_value_info("y", kind, outputs)],
        [onnx.numpy_helper.from_array(v, n) for n, v in constants],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.fixture
def mean_colour(tmp_path):
    """A model that returns the mean of each channel: (B, 3, 16, 16) -> (B, 3)."""
    node = onnx.helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    path = save(tmp_path / "face.onnx", [node], ["B", 3, 16, 16], ["B", 3])
    path.with_suffix(".json").write_text(json.dumps(FACE))
    return path


@pytest.fixture
def sound_power(tmp_path):
    """A model of frames of 160 samples: (1, n) -> (1, T, 2), mean and mean square."""
    make = onnx.helper.make_node
    nodes = [
        make("Unsqueeze", ["x", "one"], ["a"]),
        make("Mul", ["a", "a"], ["b"]),
        make("Concat", ["a", "b"], ["c"], axis=1),
        make("AveragePool", ["c"], ["d"], kernel_shape=[160], strides=[160]),
        make("Transpose", ["d"], ["y"], perm=[0, 2, 1]),
    ]
    one = ("one", np.array([1], np.int64))
    return save(tmp_path / "sound.onnx", nodes, [1, "n"], [1, "T", 2], [one])


def test_a_model_of_sound_is_pooled_or_read_at_each_step(tmp_path, sound_power):
    samples = tone(2.0) * np.linspace(0, 1, 32000)
    path = write_sound(tmp_path / "a.wav", samples)
    stored = np.round(samples * 32768) / 32768
    frames = np.stack(
        [stored.reshape(-1, 160).mean(1), (stored.reshape(-1, 160) ** 2).mean(1)], 1
    )
    spec = f"onnx:{sound_power}"
    found = make_extractor("audio", spec, ExtractorOptions()).extract(Recording(path))
    np.testing.assert_allclose(found.values, frames.mean(0)[None], atol=1e-5)
    found = make_extractor("audio", spec, ExtractorOptions(step=0.04)).extract(
        Recording(path)
    )
    assert found.values.shape == (50, 2)
    middles = (np.arange(200) + 0.5) * 0.01
    nearest = [np.abs(middles - t + 1e-5).argmin() for t in np.arange(50) * 0.04]
    np.testing.assert_allclose(found.values, frames[nearest], atol=1e-5)


def embed(path, samples):
    """The frames and times of all chunks, of sound in blocks of uneven size."""
    model = onnx_model.load_model(path, "audio")
    chunks = list(onnx_model.embed_sound(model, np.split(samples, [7, 30000, 90000])))
    assert chunks[-1].stop == len(samples) / 16000
    return [np.concatenate([c[i] for c in chunks]) for i in (0, 1)], len(chunks)


@pytest.mark.parametrize(("seconds", "count"), [(7.3, 4), (6.9, 3), (8.0, 4)])
def test_long_sound_is_given_in_chunks(sound_power, seconds, count):
    """Chunks of 2 s; a last one that is shorter than 1 s is part of the one before."""
    samples = (tone(seconds) * 20000).astype(np.int16)
    whole, one = embed(sound_power, samples)
    sound_power.with_suffix(".json").write_text('{"chunk": 2}')
    parts, some = embed(sound_power, samples)
    assert (one, some) == (1, count)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_sound_may_be_normalised(sound_power):
    """As Wav2Vec2FeatureExtractor does: mean 0 and variance 1."""
    sound_power.with_suffix(".json").write_text('{"normalise": true}')
    samples = (tone(1.0) * 9000 + 500).astype(np.int16)
    (frames, _), _ = embed(sound_power, samples)
    x = samples / 32768
    x = ((x - x.mean()) / x.std()).reshape(-1, 160)
    np.testing.assert_allclose(frames[:, 0], x.mean(1), atol=1e-5)
    np.testing.assert_allclose(frames[:, 1], (x**2).mean(1), rtol=1e-4)


@pytest.mark.data
@needs_samples
def test_a_model_of_faces_sees_them_aligned(mean_colour):
    recording = Recording(SAMPLES / "obama_speech.mp4", 0.0, 1.0)
    extractor = make_extractor(
        "video", f"onnx:{mean_colour}", ExtractorOptions(step=0.25)
    )
    found = extractor.extract(recording)
    assert found.values.shape == (4, 3) and found.facts["face_share"] == 1
    track = _follow(recording, ExtractorOptions(step=0.25))
    for frame, points, values in zip(
        read_frames(recording, 0.25), track.points, found.values, strict=True
    ):
        face = align_face(frame.picture.rgb, points, 16)[..., ::-1]
        expected = (face.mean((0, 1)) - FACE["mean"]) * FACE["scale"]
        np.testing.assert_allclose(values, expected, rtol=1e-4)
    pooled = make_extractor("video", f"onnx:{mean_colour}", ExtractorOptions()).extract(
        recording
    )
    assert pooled.values.shape == (1, 3)


@pytest.mark.data
@pytest.mark.slow
@needs_samples
def test_fc7_is_averaged_over_the_pictures_with_a_face(tmp_path):
    layers = draw_layers(vgg_face.layer_shapes())
    write_npz(tmp_path / "weights.npz", layers)
    recording = Recording(SAMPLES / "obama_speech.mp4", 0.0, 0.4)
    spec = f"vggface:{tmp_path / 'weights.npz'}"
    extractor = make_extractor("video", spec, ExtractorOptions())
    found = extractor.extract(recording)
    assert found.values.shape == (1, 4096) and found.names[-1] == "fc7_4095"
    track = _follow(recording, ExtractorOptions())
    faces = np.concatenate(
        [*_aligned_faces(recording, track, ExtractorOptions(), 224, 0.7)]
    )
    each = [np.asarray(vgg_face.embed(layers, face[None])) for face in faces]
    expected = np.mean(each, axis=0)
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (None, "face.json: no such file; it must state channels"),
        ({}, "'channels' is missing"),
        ("{", "cannot be read as JSON"),
        ({"size": 3}, "expected an object of channels"),
        ({**FACE, "channels": "grey"}, "channels is 'grey'"),
        ({**FACE, "mean": [1, 2]}, "mean is"),
        ({**FACE, "scale": "a"}, "scale is 'a'"),
        ({**FACE, "zoom": 0}, "zoom is 0"),
    ],
)
def test_what_a_model_of_faces_expects_must_be_said(mean_colour, options, reason):
    path = mean_colour.with_suffix(".json")
    path.unlink()
    if options is not None:
        path.write_text(options if isinstance(options, str) else json.dumps(options))
    with pytest.raises(CorpusError, match=reason):
        make_extractor("video", f"onnx:{mean_colour}", ExtractorOptions())


def test_models_that_are_none_are_refused(tmp_path, mean_colour, sound_power):
    (tmp_path / "a.onnx").write_bytes(b"no model")
    for name, reason in (("none.onnx", "no such file"), ("a.onnx", "not a readable")):
        with pytest.raises(CorpusError, match=reason):
            make_extractor("audio", f"onnx:{tmp_path / name}", ExtractorOptions())
    gone = {"asked": f"onnx:{tmp_path / 'gone.onnx'}"}
    with pytest.raises(CorpusError, match=r"if it has moved, .* --audio=onnx:FILE"):
        extract_as(tmp_path / "a.wav", "audio", gone)
    with pytest.raises(CorpusError, match="expected samples"):
        make_extractor("audio", f"onnx:{mean_colour}", ExtractorOptions())
    with pytest.raises(CorpusError, match=r"expected \(faces, 3, side, side"):
        make_extractor("video", f"onnx:{sound_power}", ExtractorOptions())
    with pytest.raises(ValueError, match="JSON file of the model says 16000 Hz"):
        make_extractor("audio", f"onnx:{sound_power}", ExtractorOptions(rate=8000))


def test_sound_that_a_model_fails_on_is_said(tmp_path):
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    model = save(tmp_path / "second.onnx", [node], [1, 16000], [1, 16000])
    path = write_sound(tmp_path / "a.wav", tone(0.5))
    extractor = make_extractor("audio", f"onnx:{model}", ExtractorOptions())
    with pytest.raises(CorpusError, match=r"fails on an input \(1, 8000\)"):
        extractor.extract(Recording(path))

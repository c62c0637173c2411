"""From recordings to a model, and from a new recording to a prediction."""

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from media_files import SAMPLES, needs_samples, tone, write_sound, write_video
from starting import program

import ifusion as ifn
from ifusion.features.media import Recording, read_pictures

for module in ("opensmile", "mtcnn", "dlib"):
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed", allow_module_level=True)
pytestmark = pytest.mark.slow


def extract(*flags):
    return program("extract", *flags)


def test_the_program_says_what_is_left_out(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    for name, pitch in (("a", 120), ("b", 180), ("c", 240)):
        write_sound(media / f"{name}.wav", tone(1.0, pitch=pitch))
    (media / "d.wav").write_bytes(b"")
    labels = tmp_path / "labels.csv"
    rows = ["a,train,calm", "b,train,tense", "c,dev,calm", "d,dev,tense"]
    labels.write_text("\n".join(["recording,partition,mood", *rows]))
    flags = (f"--media={media}", f"--labels={labels}", f"--out={tmp_path / 'out'}")
    done = extract(*flags, "--video=", "--jobs=1")
    assert done.returncode == 3 and "left out: 1" in done.stdout, done.stderr
    assert ifn.read_corpus(tmp_path / "out").num_recordings == 3
    done = extract(*flags, "--video=")
    assert done.returncode == 1 and "not an empty folder" in done.stderr
    assert "Traceback" not in done.stderr
    done = extract(*flags[:2], f"--out={tmp_path / 'new'}", "--audio=", "--jobs=1")
    assert done.returncode == 1 and "it has no picture" in done.stderr


def talking(path, face, pitch):
    """A real face that moves, with a voice-like tone."""
    pictures = [np.roll(face, 2 * i, axis=1) for i in range(12)]
    return write_video(path, pictures, step=0.1, sound=tone(1.2, pitch=pitch))


@pytest.mark.data
@needs_samples
def test_a_model_is_trained_on_recordings_and_predicts_from_a_new_one(tmp_path):
    """Two moods that differ in pitch; audio is deployed alone."""
    face = next(read_pictures(Recording(SAMPLES / "obama_speech.mp4"))).rgb
    media, new = tmp_path / "media", tmp_path / "new"
    media.mkdir()
    new.mkdir()
    rows = ["recording,partition,mood"]
    for i, part in enumerate(["train"] * 8 + ["dev"] * 4 + ["test"] * 4):
        mood = ("low", "high")[i % 2]
        talking(media / f"r{i}.mp4", face, (110, 260)[i % 2] + 3 * i)
        rows.append(f"r{i},{part},{mood}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    corpus = tmp_path / "corpus"
    done = extract(
        f"--media={media}", f"--labels={tmp_path / 'labels.csv'}", f"--out={corpus}"
    )
    assert done.returncode == 0, done.stderr
    run = ifn.run(
        ifn.read_corpus(corpus),
        systems=("baseline", "implicit_fusion"),
        alphas=(0.0, 0.5),
        seeds=range(1),
        workdir=tmp_path / "run",
    )
    assert set(run.choices["main"]) == {"audio", "video"}
    talking(new / "low.mp4", face, 118)
    talking(new / "high.mp4", face, 290)
    done = extract(f"--media={new}", f"--out={tmp_path / 'features'}", "--video=")
    assert done.returncode == 0, done.stderr
    features = pd.read_csv(tmp_path / "features" / "features" / "audio.csv")
    predictor = ifn.load(tmp_path / "run", main="audio")
    predicted = predictor.predict(features)
    found = dict(zip(features["recording"], predicted.iloc[:, 0], strict=True))
    assert found == {"low": "low", "high": "high"}

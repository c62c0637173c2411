"""From recordings to a model, and from a new recording to a prediction."""

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from media_files import SAMPLES, needs_samples, tone, write_sound, write_video
from starting import program

import ifusion as ifn
from ifusion.features.media import Recording, read_pictures, read_sound

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


def spoken(emotion, speed):
    """Spoken words, 2 s at 16 kHz; those that are faster are also higher."""
    path = SAMPLES / f"03-01-{emotion}-01-01-01-01.flac"
    samples = np.concatenate(list(read_sound(Recording(path), 16000))) / 32768
    samples = samples[8000:]
    return np.interp(np.arange(32000) * speed, np.arange(len(samples)), samples)


def talking(path, picture, emotion, speed):
    """A real face that moves, and spoken words."""
    pictures = [np.roll(picture, 2 * i, axis=1) for i in range(5)]
    sound = spoken(emotion, speed)
    return write_video(path, pictures, step=0.4, sound=sound)


@pytest.mark.data
@needs_samples
def test_four_programs_lead_from_clips_to_the_answer_for_a_new_clip(tmp_path):
    """The commands of the README, on clips of calm and of angry words."""
    picture = next(read_pictures(Recording(SAMPLES / "obama_speech.mp4"))).rgb
    clips, new = tmp_path / "clips", tmp_path / "new"
    clips.mkdir()
    new.mkdir()
    rows = ["recording,partition,speaker,mood"]
    for i, part in enumerate(["train"] * 6 + ["dev"] * 2 + ["test"] * 2):
        mood, emotion = (("calm", "02"), ("angry", "05"))[i % 2]
        talking(clips / f"clip {i}.mp4", picture, emotion, 0.85 + 0.03 * i)
        rows.append(f"clip {i},{part},{part},{mood}")
    (clips / "labels.csv").write_text("\n".join(rows))
    for mood, emotion in (("calm", "02"), ("angry", "05")):
        talking(new / f"{mood}.mp4", picture, emotion, 1.0)
    corpus, run, model = tmp_path / "corpus", tmp_path / "run", tmp_path / "m.ifusion"
    commands = {
        "extract": (f"--media={clips}", f"--labels={clips}/labels.csv",
                    f"--out={corpus}"),
        "sweep": ("--config=configs/folder.py", f"--config.corpus.path={corpus}",
                  f"--workdir={run}", "--config.sweep.seeds=(0,)",
                  "--config.sweep.alphas=(0.0,0.5)", "--config.training.epochs=40"),
        "export": (f"--run={run}", "--main=audio", f"--out={model}"),
        "predict": (f"--model={model}", f"--input={new}", f"--out={tmp_path}/said"),
    }  # fmt: skip
    for name, flags in commands.items():
        done = program(name, *flags)
        assert done.returncode == 0, done.stderr
    corpus = ifn.read_corpus(corpus)
    assert {m: len(f.names) for m, f in corpus.modalities.items()} == {
        "audio": 88,
        "video": 632,
    }
    said = pd.read_csv(tmp_path / "said" / "predictions.csv", index_col="recording")
    assert said["mood"].to_dict() == {"calm": "calm", "angry": "angry"}

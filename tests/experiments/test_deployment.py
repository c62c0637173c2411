"""Export and predict, as a user starts them, and what they say of bad input."""

import numpy as np
import pandas as pd
import pytest
from starting import program


@pytest.fixture(scope="module")
def model(trained_series, tmp_path_factory):
    out = tmp_path_factory.mktemp("deployed") / "model.ifusion"
    done = program("export", f"--run={trained_series}", "--main=audio", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert (
        "read back and checked" in done.stdout and "What it is not for" in done.stdout
    )
    return out


@pytest.fixture(scope="module")
def recording(series):
    modality = series.modalities["audio"]
    table = pd.DataFrame(modality.values[:90], columns=modality.names)
    return table.assign(time=np.arange(90) * 0.04)


def test_predict_prints_and_writes(model, recording, tmp_path):
    folder = tmp_path / "features"
    folder.mkdir()
    recording.to_csv(folder / "one.csv", index=False)
    recording[recording.columns[::-1]].to_csv(folder / "two.csv", index=False)
    (folder / "empty.csv").touch()
    recording.assign(audio_02=np.inf).to_csv(folder / "later.csv", index=False)
    out = tmp_path / "said"
    done = program("predict", f"--model={model}", f"--input={folder}", f"--out={out}")
    assert done.returncode == 3, done.stderr  # two are left out, and named
    assert done.stdout.startswith("one, 0:04 min: arousal ")
    names = {"predictions.csv", "failures.csv", "one.png", "two.png"}
    assert {p.name for p in out.iterdir()} == names
    failures = pd.read_csv(out / "failures.csv").set_index("file")["reason"]
    assert failures.index.tolist() == ["empty.csv", "later.csv"]
    assert "column audio_02: inf is not a finite number" in failures["later.csv"]
    for file, reason in failures.items():
        assert f"note: {file} is left out: {reason}\n" in done.stderr
    table = pd.read_csv(out / "predictions.csv")
    assert table["recording"].tolist() == ["one"] * 90 + ["two"] * 90
    values = table["arousal"].to_numpy().reshape(2, 90)
    np.testing.assert_array_equal(values[0], values[1])


@pytest.mark.slow
def test_bad_input_gets_one_sentence(model, recording, tmp_path):
    spoilt = recording.assign(time=1000 * recording["time"])
    spoilt.to_csv(tmp_path / "audio.csv", index=False)
    done = program("predict", f"--model={model}", f"--input={tmp_path / 'audio.csv'}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "are times in ms?" in line


def test_a_damaged_model_gets_one_sentence(model, tmp_path):
    broken = tmp_path / "broken.ifusion"
    broken.write_bytes(model.read_bytes()[:-9])
    done = program("predict", f"--model={broken}", f"--input={tmp_path}")
    assert done.returncode == 1 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "cut off or damaged" in line

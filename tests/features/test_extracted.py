"""Tables as openSMILE and OpenFace write them."""

import json

import numpy as np
import pandas as pd
import pytest

import ifusion as ifn
from ifusion.corpora.corpus import CorpusError
from ifusion.features.pipeline import extract_corpus, make_request

LABELS = "recording,partition,emotion\na,train,x\nb,train,y\nc,dev,x\nd,test,y\n"
RNG = np.random.default_rng(0)


def openface_table(rows, faces=1):
    """Blanks before names, a row a face and frame, of 25 frames a second."""
    frames = np.repeat(np.arange(rows), faces)
    face = np.tile(np.arange(faces), rows)
    columns = {
        "frame": frames + 1,
        " face_id": face,
        " timestamp": frames * 0.04,
        " confidence": 0.98,
        " success": 1,
        " AU01_r": RNG.uniform(0, 5, len(frames)) + 100 * face,
        " AU02_c": RNG.integers(0, 2, len(frames)),
    }
    return pd.DataFrame(columns)


def opensmile_rows(rows):
    return pd.DataFrame(
        {
            "name": "unknown",
            "frameTime": np.arange(rows) * 0.01,
            "loudness": RNG.uniform(0, 1, rows),
            "pitch": RNG.uniform(20, 40, rows),
        }
    )


def write_arff(path, frame):
    lines = ["@relation openSMILE", "@attribute name string"]
    lines += [f"@attribute {c} numeric" for c in frame.columns[1:]]
    lines += ["@attribute class numeric", "@data"]
    lines += [",".join(["'unknown'", *map(str, row[1:]), "?"]) for row in frame.values]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folders(tmp_path):
    """Tables of four recordings, and what they hold."""
    smile, face = tmp_path / "smile", tmp_path / "face"
    smile.mkdir()
    face.mkdir()
    held = {}
    for i, name in enumerate("abcd"):
        sound, look = opensmile_rows(100 + i), openface_table(25 + i)
        if i % 2:
            sound.to_csv(smile / f"{name}.csv", sep=";", index=False)
        else:
            write_arff(smile / f"{name}.arff", sound)
        look.to_csv(face / f"{name}.csv", index=False)
        held[name] = sound, look
    (tmp_path / "labels.csv").write_text(LABELS)
    return tmp_path, held


def extract(folder, out="out", **changes):
    fields = {
        "media": None,
        "out": folder / out,
        "labels": folder / "labels.csv",
        "extractors": {
            "audio": f"opensmile:{folder / 'smile'}",
            "video": f"openface:{folder / 'face'}",
        },
    }
    return folder / out, extract_corpus(make_request({**fields, **changes}))


def test_tables_become_a_corpus_of_means_and_deviations(folders):
    folder, held = folders
    out, report = extract(folder)
    assert report.failures == []
    corpus = ifn.read_corpus(out)
    audio, video = corpus.modalities["audio"], corpus.modalities["video"]
    assert audio.names == ("loudness_mean", "pitch_mean", "loudness_sd", "pitch_sd")
    assert video.names == ("AU01_r_mean", "AU02_c_mean", "AU01_r_sd", "AU02_c_sd")
    for row, name in enumerate("abcd"):
        for modality, table in zip((audio, video), held[name], strict=True):
            part = table.iloc[:, -2:].to_numpy(float)
            expected = [*part.mean(0), *part.std(0)]
            np.testing.assert_allclose(modality.values[row], expected, rtol=1e-4)
    assert corpus.attributes["face_share"].tolist() == ["1"] * 4
    said = json.loads((out / "extraction.json").read_text())
    assert said["audio"]["extractor"] == "tables of openSMILE"


def test_rows_are_taken_at_each_step(folders):
    folder, held = folders
    out, _ = extract(folder, step=0.1)
    table = np.load(out / "features" / "audio.npz", allow_pickle=False)
    assert table["values"].shape == (40, 2)
    expected = held["b"][0].iloc[np.arange(10) * 10, 2:].to_numpy()
    np.testing.assert_allclose(table["values"][10:20], expected, rtol=1e-5)


def test_functionals_of_one_row_stay_as_they_are(folders):
    folder, _ = folders
    only = {}
    for name in "abcd":
        (folder / "smile" / f"{name}.arff").unlink(missing_ok=True)
        only[name] = opensmile_rows(1)
        only[name].to_csv(folder / "smile" / f"{name}.csv", sep=";", index=False)
    out, _ = extract(folder)
    audio = ifn.read_corpus(out).modalities["audio"]
    assert audio.names == ("loudness", "pitch")
    np.testing.assert_allclose(
        audio.values[2], only["c"].iloc[0, 2:].astype(float), rtol=1e-5
    )


def test_of_several_faces_the_one_seen_most_counts(folders):
    folder, _ = folders
    table = openface_table(30, faces=2)
    lost = (table[" face_id"] == 0) & (table["frame"] > 10)
    table.loc[lost, " success"] = 0
    also = (table[" face_id"] == 1) & (table["frame"] > 28)
    table.loc[also, " success"] = 0
    table.to_csv(folder / "face" / "a.csv", index=False)
    out, _ = extract(folder)
    corpus = ifn.read_corpus(out)
    seen = table[(table[" face_id"] == 1) & (table[" success"] == 1)]
    found = corpus.modalities["video"].values[0, 0]
    assert found == pytest.approx(seen[" AU01_r"].mean(), rel=1e-5)
    assert corpus.attributes["most_faces"][0] == "2"
    assert float(corpus.attributes["face_share"][0]) == pytest.approx(28 / 30, abs=1e-4)


def test_tables_without_a_face_or_with_other_columns_fail(folders):
    folder, _ = folders
    lost = openface_table(20).assign(**{" success": 0})
    lost.to_csv(folder / "face" / "a.csv", index=False)
    opensmile_rows(50).rename(columns={"pitch": "f0"}).to_csv(
        folder / "smile" / "b.csv", sep=";", index=False
    )
    (folder / "smile" / "c.arff").unlink()
    (folder / "smile" / "c.csv").write_text("frameTime;pitch\n0;1\n0.01;loud\n")
    _, report = extract(folder)
    reasons = {f.place: f.reason for f in report.failures}
    assert reasons[0] == "OpenFace found no face"
    assert "the names of its features differ" in reasons[1]
    words = "'loud' is not a number; if the column is not a feature, remove it from"
    assert words in reasons[2] and set(reasons) == {0, 1, 2}


def test_a_modality_that_nothing_has_may_be_left_out(folders):
    folder, _ = folders
    for name in "abcd":
        lost = openface_table(20).assign(**{" success": 0})
        lost.to_csv(folder / "face" / f"{name}.csv", index=False)
    words = r"\(video: OpenFace found no face\); --video= leaves it out"
    with pytest.raises(CorpusError, match=words):
        extract(folder)


def test_a_folder_must_be_named(folders):
    with pytest.raises(ValueError, match="openface needs a folder: openface:FOLDER"):
        extract(folders[0], extractors={"video": "openface"})


def test_media_are_needed_unless_all_are_tables(folders):
    pytest.importorskip("opensmile", reason='needs pip install -e ".[features]"')
    with pytest.raises(ValueError, match="--media is needed"):
        extract(folders[0], extractors={"audio": "egemaps"})

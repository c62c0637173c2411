from pathlib import Path

import audmetric
import numpy as np
import pandas as pd
import pytest

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.sources.recola import read_series
from ifusion.evaluation.submission import score_folders, score_submission
from ifusion.reporting.submission import write_submission

NAMES = [f"test_{k}" for k in range(1, 11)]


def draw(names=NAMES, seed=0, length=50):
    rng = np.random.default_rng(seed)
    return {n: rng.standard_normal(length + i) for i, n in enumerate(names)}


def gold_files(folder, values, first=0):
    """Gold standards as ARFF, as the organisers have them, from a frame on."""
    folder.mkdir(parents=True)
    for name, column in values.items():
        rows = "".join(
            f"{name},{t * 0.04:g},{v:.6f}\n" for t, v in enumerate(column, first)
        )
        text = (
            "@relation GOLDSTANDARD\n\n@attribute Instance_name string\n"
            "@attribute frameTime numeric\n@attribute GoldStandard numeric\n\n@data\n"
        )
        (folder / f"{name}.arff").write_text(text + rows, "utf-8")


@pytest.fixture
def folders(tmp_path):
    """Predictions and gold standards of the same ten recordings."""
    gold = draw()
    noisy = {n: 0.5 * gold[n] + 0.4 * x + 0.2 for n, x in draw(seed=1).items()}
    write_submission(tmp_path / "predicted", noisy, 0.04)
    gold_files(tmp_path / "gold", gold | draw(["dev_1"], 2))
    return tmp_path / "predicted", tmp_path / "gold"


def score(folders, convention="population"):
    predicted, gold = folders
    return score_submission(read_series(predicted), read_series(gold), convention)


def test_files_have_the_layout_of_avec(folders):
    text = (folders[0] / "test_2.csv").read_text("utf-8").splitlines()
    assert text[0] == "name;frameTime;prediction"
    assert text[2].startswith("test_2;0.04;")
    assert len(text) == 52


def test_what_is_written_is_read_back(tmp_path):
    values = {n: x.astype(np.float32) for n, x in draw().items()}
    write_submission(tmp_path / "a", values, 0.04)
    series = read_series(tmp_path / "a")
    assert [*series] == NAMES
    for name, column in values.items():
        np.testing.assert_array_equal(series[name].values, column)
        assert series[name].start == 0


def test_cut_recordings_are_written_whole(tmp_path):
    """Files reach from frame 1 to 6, predictions over frames 3 to 5."""
    gold = {"test_1": np.array([0.1, 0.4, 0.2, 0.5, 0.3, 0.9])}
    gold_files(tmp_path / "gold", gold, first=1)
    values = {"test_1": np.array([0.1, 0.2, 0.3])}
    write_submission(tmp_path / "a", values, 0.04, {"test_1": (3, 1, 7)})
    frame = pd.read_csv(tmp_path / "a" / "test_1.csv", sep=";")
    assert frame["frameTime"].tolist() == [0.04, 0.08, 0.12, 0.16, 0.2, 0.24]
    assert frame["prediction"].tolist() == [0.1, 0.1, 0.1, 0.2, 0.3, 0.3]
    scores = score((tmp_path / "a", tmp_path / "gold"))
    expected = audmetric.concordance_cc(gold["test_1"], frame["prediction"].to_numpy())
    assert scores.recordings["test_1"] == pytest.approx(expected, abs=1e-6)


def test_scores_are_those_of_audmetric(folders):
    scores = score(folders)
    columns = {
        n: [
            pd.read_csv(folders[0] / f"{n}.csv", sep=";")["prediction"].to_numpy(),
            np.round(draw()[n], 6),
        ]
        for n in NAMES
    }
    each = {n: audmetric.concordance_cc(*pair) for n, pair in columns.items()}
    assert scores.recordings == pytest.approx(each, abs=1e-6)
    x, y = (np.concatenate([pair[i] for pair in columns.values()]) for i in (0, 1))
    expected = {
        "ccc_recordings": np.mean([*each.values()]),
        "ccc_pooled": audmetric.concordance_cc(x, y),
        "pearson": np.corrcoef(x, y)[0, 1],
        "rmse": np.sqrt(np.mean((x - y) ** 2)),
    }
    assert scores.overall == pytest.approx(expected, abs=1e-6)


def test_the_convention_is_followed(folders):
    assert score(folders, "sample") != score(folders)


def test_frames_without_a_gold_standard_are_not_scored(folders):
    path = folders[1] / "test_1.arff"
    head, _, rows = path.read_text("utf-8").partition("@data\n")
    blank = "".join(row.rsplit(",", 1)[0] + ",?\n" for row in rows.splitlines())
    path.write_text(f"{head}@data\n{blank}", "utf-8")
    assert [*score(folders).recordings] == NAMES[1:]


BAD = {
    "missing prediction": (
        lambda predicted, gold: (predicted / "test_3.csv").unlink(),
        "predicted: no prediction for test_3$",
    ),
    "missing gold standard": (
        lambda predicted, gold: (gold / "test_3.arff").unlink(),
        "gold: no gold standard for test_3$",
    ),
    "short": (
        lambda predicted, gold: edit(predicted, lambda rows: rows[:-3]),
        r"test_2.csv: 48 predictions from frame 0 on, expected 51 from frame 0 on",
    ),
    "late": (
        lambda predicted, gold: edit(predicted, lambda rows: [rows[0], *rows[4:]]),
        r"test_2.csv: 48 predictions from frame 3 on",
    ),
    "times go back": (
        lambda predicted, gold: edit(predicted, lambda rows: [*rows, rows[4]]),
        r"test_2.csv, row 53, column frameTime: time 0.12 goes back, expected 2.04",
    ),
    "no number": (
        lambda predicted, gold: edit(predicted, lambda rows: [*rows, "test_2;2.04;a"]),
        r"test_2.csv, row 53, column prediction: 'a' is not a number",
    ),
    "blank": (
        lambda predicted, gold: edit(predicted, lambda r: [*r[:-1], "test_2;2;"]),
        r"test_2.csv: the prediction of frame 50 is missing",
    ),
    "two columns": (
        lambda predicted, gold: edit(predicted, lambda rows: [r + ";1" for r in rows]),
        "test_2.csv: found the columns .* expected one besides name and time",
    ),
    "both formats": (
        lambda predicted, gold: (gold / "test_2.csv").write_text("x\n1\n", "utf-8"),
        "expected one",
    ),
    "no file": (
        lambda predicted, gold: [p.unlink() for p in predicted.iterdir()],
        "predicted: no file ends in",
    ),
}


def edit(folder, change):
    path = folder / "test_2.csv"
    rows = change(path.read_text("utf-8").splitlines())
    path.write_text("\n".join(rows) + "\n", "utf-8")


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_named(folders, case):
    change, sentence = BAD[case]
    change(*folders)
    with pytest.raises(CorpusError, match=sentence):
        score(folders)


def test_swapped_folders_are_named(tmp_path):
    gold = draw()
    write_submission(tmp_path / "audio" / "arousal", gold, 0.04)
    gold_files(tmp_path / "gold" / "arousal", gold)
    lines = [*score_folders(tmp_path / "audio", tmp_path / "gold", "population", 0.04)]
    assert len(lines) == 1 + len(gold)
    with pytest.raises(
        CorpusError, match="'GoldStandard'; are --folder and --gold swa"
    ):
        next(score_folders(tmp_path / "gold", tmp_path / "audio", "population", 0.04))
    with pytest.raises(CorpusError, match="are the same file"):
        next(score_folders(tmp_path / "gold", tmp_path / "gold", "population", 0.04))
    # gold standards whose column has another name
    for path in (tmp_path / "gold" / "arousal").iterdir():
        path.write_text(
            path.read_text("utf-8").replace("GoldStandard", "mean"), "utf-8"
        )
    with pytest.raises(CorpusError, match=r"audio.*'prediction'; are --folder and"):
        next(score_folders(tmp_path / "gold", tmp_path / "audio", "population", 0.04))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CorpusError, match="nowhere: no such folder"):
        read_series(tmp_path / "nowhere")


def test_what_cannot_be_written_is_named(folders, tmp_path):
    with pytest.raises(CorpusError, match="not an empty folder"):
        write_submission(folders[0], draw(), 0.04)
    values = {"test_1": np.array([0.1, np.nan])}
    with pytest.raises(
        CorpusError, match=r"'test_1': the prediction at 0\.04 s is nan"
    ):
        write_submission(tmp_path / "a", values, 0.04)
    with pytest.raises(CorpusError, match=r"the prediction at 0\.16 s is nan"):
        write_submission(tmp_path / "a", values, 0.04, {"test_1": (3, 0, 9)})
    with pytest.raises(CorpusError, match="'a;b' cannot be a cell"):
        write_submission(tmp_path / "a", {"a;b": np.zeros(2)}, 0.04)
    assert not (tmp_path / "a").exists()


def test_files_are_written_all_or_none(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()  # an empty folder may be there
    write = Path.write_text

    def fail_at_the_third(path, *arguments, **options):
        if path.name == "test_3.csv":
            raise OSError("no space left")
        return write(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fail_at_the_third)
        with pytest.raises(OSError, match="no space"):
            write_submission(tmp_path / "a", draw(), 0.04)
    assert [p.name for p in tmp_path.rglob("*")] == ["a"]
    write_submission(tmp_path / "a", draw(), 0.04)
    assert len(list((tmp_path / "a").iterdir())) == len(NAMES)

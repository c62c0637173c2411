import doctest
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import results
from results import ALL, PAIR, make_result

from ifusion.evaluation.outcomes import keep_predictors
from ifusion.reporting import figures
from ifusion.reporting.report import write_report
from ifusion.reporting.submission import export_submission


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    monkeypatch.setattr(figures, "RESOLUTION", 30)


@pytest.fixture
def blank(monkeypatch):
    """Draws nothing, where a test is about words."""
    monkeypatch.setattr(figures, "render_figure", lambda figure, form: b"")


class Page(HTMLParser):
    """Collects what a page shows, and refuses what is left open or loaded."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.words, self.open, self.images = [], [], [], [], 0
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        assert tag not in ("script", "link", "iframe")
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named["href"]] if "href" in named else []
        if tag == "img":
            assert named["src"].startswith("data:image/")
            assert named["alt"]
            self.images += 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def write(result, folder):
    path = write_report(result, folder)
    assert path == folder / "report.html"
    page = Page(path.read_text("utf-8"))
    assert set(page.links) == {f"#{name}" for name in page.ids}  # all, and no others
    return page


def names_in(folder):
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    }


def test_a_sweep_has_no_empty_sections(tmp_path):
    page = write(make_result(), tmp_path)
    sections = (
        "table1 figure2 difference systems confusions metrics "
        "choices training corpus config"
    )
    assert page.ids == sections.split()
    assert page.images == 1 + 4 + 1
    files = (
        "report.html table1.md table1.csv comparison.md comparison.csv choices.csv "
        "differences.csv predictions.csv history.csv figure2.png figure2.svg"
    )
    assert names_in(tmp_path) == set(files.split())
    for words in (
        "toy & co",
        "Licence: CC0",
        "speakers overlap",
        "a note",
        "cpu <0>",
        "$x_1$",
        "Nobody (2026)",
        "Test was opened once, first on 2026-11-29.",
        "implicit fusion",
    ):
        assert words in page.text


def test_a_comparison_shows_all_systems(tmp_path):
    result = make_result(systems=ALL, folds=("0", "1"))
    page = write(result, tmp_path)
    assert {"missing", "controls"} <= set(page.ids)
    for words in ("2 folds", "needs frames", "CNN [23]", "a gain says", "fold"):
        assert words in page.text
    assert {"missing_modality.svg", "controls.png"} <= names_in(tmp_path)
    text = (tmp_path / "comparison.md").read_text("utf-8")
    assert "## When a modality is missing" in text
    assert "## Gains over each control" in text
    table = pd.read_csv(tmp_path / "comparison.csv")
    row = table.query(
        "system == 'implicit_fusion' and main == 'audio' and partition == 'test'"
        " and metric == 'uar'"
    ).iloc[0]
    assert (
        row[["difference", "p_value", "parameters", "training_seconds"]].notna().all()
    )


def test_one_seed_has_no_verdict_and_the_page_says_why(tmp_path):
    result = make_result()
    kept = keep_predictors(result.outcomes, lambda frame: frame["seed"] == 0)
    page = write(replace(result, outcomes=tuple(kept)), tmp_path)
    assert "With a single seed there is no p-value and no verdict" in page.text
    assert "On test, inconclusive for audio and video." in page.text
    found = pd.read_csv(tmp_path / "differences.csv")
    assert found[["p_value", "p_holm"]].isna().all(axis=None)
    assert found[["low", "high"]].notna().all(axis=None)


def test_other_systems_gain_only_where_the_corrected_p_value_says_so(tmp_path, blank):
    result = make_result(systems=("svm", *PAIR))
    mine = result.differences["system"] == "svm"
    result.differences.loc[mine, "verdict"] = "gain"
    clear = result.differences["main"] == "audio"
    result.differences.loc[mine, "p_holm"] = clear.map({True: 0.04, False: 0.2})
    page = write(result, tmp_path)
    assert "corrected by Holm: SVM [23] (audio)" in page.text
    assert "SVM [23] (video)" not in page.text


def test_a_regression_shows_predictions_over_time(tmp_path):
    result = make_result("regression", folder=tmp_path)
    page = write(result, tmp_path / "report")
    sections = (
        "table2 figure2 difference systems traces metrics "
        "choices postprocessing training corpus config"
    )
    assert page.ids == sections.split()
    found = names_in(tmp_path / "report")
    assert {f"traces/test/test 0 {i:02d}.png" for i in range(6)} <= found
    assert {"table2.md", "moments.csv", "delays.svg", "tuning.csv"} <= found
    assert "postprocessing.csv" in found
    text = (tmp_path / "report" / "table2.md").read_text("utf-8")
    assert "**CCC, mean over recordings**" in text
    assert "every 40 ms" in page.text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"partitions": ("dev",)}, "The test partition has not been opened."),
        ({"labelled": False}, "It has no labels to score the predictions by."),
    ],
)
def test_what_became_of_test_is_said(changes, sentence, tmp_path, blank):
    page = write(make_result(**changes), tmp_path)
    assert sentence in page.text
    assert "On dev, where alpha was chosen" in page.text
    assert "Dev scores are optimistic" in page.text


def test_the_page_says_what_choosing_alone_gives(tmp_path, blank):
    result = make_result()
    said = "By choosing alone: the gain on dev"
    assert said not in write(result, tmp_path / "two").text
    frame = result.candidates
    more = frame[frame["seed"] == 0].assign(seed=2, dev_score=0.4)
    run = replace(result, candidates=pd.concat([frame, more]))
    page = write(run, tmp_path / "three").text
    assert said in page and "from 3 baselines" in page
    assert "control_choice --resume" in page


def test_without_the_baseline_there_are_scores_alone(tmp_path, blank):
    page = write(make_result(systems=("svm", "early_fusion")), tmp_path)
    assert "difference" not in page.ids
    assert "figure2" not in page.ids
    assert "On test, against the mono-modal baseline" in page.text


def test_diverged_runs_are_listed(tmp_path, blank):
    result = make_result()
    frame = result.candidates.copy()
    frame.loc[3, "failed_step"] = 17
    page = write(replace(result, candidates=frame), tmp_path)
    assert "1 training run diverged" in page.text
    row = frame.loc[3]
    assert f"{row['main']}, seed {row['seed']} (at update 17)" in page.text


def test_a_result_without_scores_is_refused(tmp_path):
    result = replace(make_result(), outcomes=())
    with pytest.raises(ValueError, match=r"nothing to report .*0 of 1 folds finished"):
        write_report(result, tmp_path)


ODD = ["a b", "a_b", "A_b", "a/b", "../../a", "$\\frac{$", "^_{", "x" * 300, "=1", "-a"]


def test_any_name_is_shown_and_has_a_picture_of_its_own(tmp_path, monkeypatch, blank):
    def list_odd(fold, partition, size):
        names = [f"{ODD[i % len(ODD)]}{i // len(ODD)}" for i in range(size)]
        return pd.DataFrame({"recording": names, "speaker": names})

    monkeypatch.setattr(results, "CLASSES", tuple(ODD))
    monkeypatch.setattr(results, "list_recordings", list_odd)
    page = write(make_result(), tmp_path / "classes")
    assert {*ODD} <= {*page.text.split()} | {"a b"}
    table = pd.read_csv(tmp_path / "classes" / "predictions.csv", dtype=str)
    assert set(table["prediction"].dropna()) == {*ODD}
    write(make_result("regression", folder=tmp_path), tmp_path / "out" / "report")
    written = names_in(tmp_path / "out")
    assert all(name.startswith("report/") for name in written)
    pictures = {name.lower() for name in written if "/traces/" in name}
    assert len(pictures) == 6


def test_targets_and_recordings_are_no_paths(tmp_path, monkeypatch):
    names = ["a b", "a_b", "a/b", "../../c", "CON", "A_b"]
    listed = pd.DataFrame({"recording": names, "speaker": names})
    monkeypatch.setattr(results, "list_recordings", lambda *_: listed)
    monkeypatch.setattr(results, "TARGETS", ("../../out", "b"))
    (tmp_path / "run").mkdir()
    result = make_result("regression", folder=tmp_path / "run")
    path = tmp_path / "run" / "implicit_fusion-test.safetensors"
    result.traces[0].rename(path)
    place = tmp_path / "in" / "in" / "sent"
    list(export_submission(replace(result, traces=(path,)), place))
    assert {p.name for p in tmp_path.iterdir()} == {"run", "in"}
    assert {p.name for p in place.iterdir()} == {"audio", "video"}
    assert {p.name for p in (place / "audio").iterdir()} == {"_.._out", "b"}
    files = list((place / "audio" / "b").iterdir())
    assert len({p.name.lower() for p in files}) == len(names)
    cells = {p.read_text("utf-8").splitlines()[1].split(";")[0] for p in files}
    assert cells == {*names}


def test_control_characters_are_shown_not_sent(tmp_path, blank):
    steer = "\x1b]0;x\x07"
    result = make_result()
    corpus = {**result.corpus, "name": steer, "licence": f"a\nb{steer}"}
    corpus |= {"notes": [steer], "warnings": [steer], "classes": [steer, "b", "c"]}
    page = write(replace(result, name=steer, corpus=corpus), tmp_path)
    assert "\\x1b]0;x\\x07" in page.text
    for path in (*tmp_path.glob("*.html"), *tmp_path.glob("*.md")):
        assert "\x1b" not in path.read_text("utf-8")


@pytest.mark.parametrize("view", [figures.figure2, write_report])
def test_examples_run(view, tmp_path, monkeypatch, blank):
    monkeypatch.chdir(tmp_path)
    names = {"result": make_result(), "Path": Path, view.__name__: view}
    (example,) = doctest.DocTestFinder().find(view, globs=names)
    assert doctest.DocTestRunner().run(example) == (0, 1)

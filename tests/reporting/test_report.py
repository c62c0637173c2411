import html
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from ifusion.reporting.report import write_report

RESAMPLES = 200
WRITTEN = (
    "figure2.png",
    "figure2.svg",
    "table1.md",
    "table1.csv",
    "differences.csv",
    "report.html",
)


class Page(HTMLParser):
    """Collects what a page shows and loads, and checks that its tags are closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, page):
        super().__init__()
        self.open, self.loads, self.text, self.ids, self.links = [], [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.loads += [attributes[k] for k in ("src", "srcset") if k in attributes]
        self.links += [attributes["href"]] if "href" in attributes else []
        self.ids += [attributes["id"]] if "id" in attributes else []
        assert tag != "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


def report_page(path):
    return Page(write_report(path, RESAMPLES).read_text("utf-8"))


@pytest.fixture(scope="module")
def dev_run(make_run):
    """A run whose test partition is closed, with its report."""
    path = make_run()
    before = {p.name for p in path.iterdir()}
    assert write_report(path, RESAMPLES) == path / "report.html"
    assert {p.name for p in path.iterdir()} == before | set(WRITTEN)
    return path


@pytest.fixture(scope="module")
def opened_run(make_run):
    """A run of two folds whose test partition was opened, with its report."""
    path = make_run(folds=("0", "1"), partitions=("dev", "test"))
    write_report(path, RESAMPLES)
    return path


@pytest.fixture
def no_rendering(monkeypatch):
    """Leaves out the slow step that turns figures into pictures."""
    for module in ("page", "figures"):
        name = f"ifusion.reporting.{module}.render_figure"
        monkeypatch.setattr(name, lambda figure, form: form.encode())


def read_page(path):
    return Page((path / "report.html").read_text("utf-8"))


def test_the_page_stands_alone(dev_run):
    page = read_page(dev_run)
    assert len(page.loads) == 6  # Fig. 2, four confusions, training curves
    assert all(address.startswith("data:image/") for address in page.loads)
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_the_page_escapes_names(make_run, no_rendering):
    path = make_run(classes=("<b>x", "y&z"))
    page = report_page(path)
    assert "fake <corpus>" in page.words
    assert html.escape("constant class (<b>x)") in (path / "report.html").read_text()
    assert "constant class (<b>x)" in page.words


def test_is_recomputed_alike(dev_run):
    first = {name: (dev_run / name).read_bytes() for name in WRITTEN}
    write_report(dev_run, RESAMPLES)
    assert {name: (dev_run / name).read_bytes() for name in WRITTEN} == first


def test_before_test_is_opened(dev_run):
    words = read_page(dev_run).words
    assert "has not been opened" in words
    assert f"experiments/evaluate.py --run={dev_run} --partition=test" in words
    assert "Confusions on dev" in words
    assert "On dev," in words
    assert "dev (optimistic)" in words
    assert "audio, test" not in (dev_run / "table1.md").read_text()


def test_after_test_is_opened(opened_run):
    words = read_page(opened_run).words
    assert "has not been opened" not in words
    assert "Confusions on test" in words
    assert "On test," in words
    assert "audio, test" in (opened_run / "table1.md").read_text()
    differences = pd.read_csv(opened_run / "differences.csv")
    assert differences["partition"].tolist() == ["dev", "dev", "test", "test"]


def test_test_without_labels(make_run, no_rendering):
    path = make_run(partitions=("dev", "test"))
    predictions = pd.read_csv(path / "predictions.csv")
    predictions.loc[predictions["partition"] == "test", "label"] = ""
    predictions.to_csv(path / "predictions.csv", index=False)
    scores = pd.read_csv(path / "scores.csv")
    scores[scores["partition"] == "dev"].to_csv(path / "scores.csv", index=False)
    assert "predicted, but has no labels" in report_page(path).words


def test_failed_lanes_are_named(make_run, no_rendering):
    path = make_run(failed="main == 'video' & alpha == 0.5 & seed == 1")
    words = report_page(path).words
    assert "1 lane failed" in words
    assert "video, alpha 0.5, seed 1" in words


def test_few_clusters_are_a_caveat(dev_run, opened_run):
    caveat = "With 8 speakers alone, interval and p are rather too sure."
    assert caveat in read_page(dev_run).words
    assert "p cannot fall below" not in read_page(opened_run).words


def test_says_what_it_was_made_from(dev_run):
    words = read_page(dev_run).words
    for text in (
        "CC BY-NC-SA 4.0",
        "A. Author, A made-up corpus, 2026.",
        "3 utterances have no features",
        "the feature f0 is constant in train",
        "training.learning_rate 0.001",
        "device cpu",
        "constant class (anger)",
    ):
        assert text in words


@pytest.mark.parametrize(
    "changes",
    [
        {"folds": ("0", "1", "2"), "partitions": ("dev", "test")},
        {"mains": ("audio", "action units", "gaze")},
        {"mains": ("audio",), "alphas": (0.0,)},
        {"alphas": (0.0, 1.0), "seeds": (7,), "classes": ("no", "yes")},
        {"failed": "alpha == 0"},
        {"failed": "main == 'audio'"},
    ],
)
def test_any_run(make_run, no_rendering, changes):
    report_page(make_run(**changes))


def test_table1_csv_holds_numbers_and_their_source(opened_run):
    table = pd.read_csv(opened_run / "table1.csv")
    assert table["mean"].between(0, 1).all()
    assert set(table["source"]) == {
        "this run",
        "this run, mean over folds",
        "this run, constant class",
        "paper",
    }

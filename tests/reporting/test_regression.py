"""The findings and the report of a regression, on a run drawn at random."""

import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from ifusion.concordance import concordance
from ifusion.corpora.extents import whole_extents
from ifusion.evaluation.agreement import MOMENTS, make_measures, recording_moments
from ifusion.evaluation.scores import (
    BASELINE,
    IMPLICIT_FUSION,
    PROCESSED,
    RAW,
    SUFFIXES,
    moments_frame,
    score_moments,
)
from ifusion.evaluation.traces import Traces, encode_traces
from ifusion.reporting.regression import analyse_regression
from ifusion.reporting.report import write_report
from ifusion.reporting.run import read_run
from ifusion.reporting.tables import PAPER_COLUMNS, PAPER_TABLE2, table2

MAINS, TARGETS, ALPHAS, SEEDS = (
    ("audio", "video"),
    ("arousal", "valence"),
    (0.0, 0.5),
    2,
)
FRAMES = 60
POOLED = "CCC of the frames of all recordings together"
MEAN = "CCC, mean over recordings"


class Series:
    """The series that a run's files are made from, kept for independent scores."""

    def __init__(self, folds, partitions):
        rng = np.random.default_rng(0)
        self.gold, self.predictions = {}, {}
        for fold in folds:
            for partition in partitions:
                gold = np.cumsum(rng.standard_normal((2, 3 * FRAMES)), axis=1) / 8
                self.gold[fold, partition] = gold.astype(np.float32)
                for main in MAINS:
                    for k, target in enumerate(TARGETS):
                        for alpha in ALPHAS:
                            for seed in range(SEEDS):
                                noise = 0.9 - 0.5 * (alpha > 0) * (main == "audio")
                                drawn = noise * rng.standard_normal(3 * FRAMES)
                                lane = (fold, partition, main, target, alpha, seed)
                                values = 0.6 * gold[k] + drawn
                                self.predictions[lane] = values.astype(np.float32)


def write_run(folder, folds=("fixed",), partitions=("dev", "test")):
    """Writes a run directory in the form the shell does."""
    series = Series(folds, partitions)
    offsets = FRAMES * np.arange(4)
    frames, history, gains, tuning = [], [], [], []
    (folder / "predictions").mkdir(parents=True)
    for fold in folds:
        for partition in partitions:
            names = np.array([f"{fold}-{partition}-{i}" for i in range(3)])
            rows, raw = [], []
            for lane, values in series.predictions.items():
                if lane[:2] == (fold, partition):
                    rows.append(lane)
                    raw.append(values)
            columns = ["fold", "partition", "main", "target", "alpha", "seed"]
            lanes = pd.DataFrame(rows, columns=columns)
            raw = np.stack(raw)
            gold = dict(zip(TARGETS, series.gold[fold, partition], strict=True))
            for kind, values in ((RAW, raw), (PROCESSED, raw + 0.05)):
                moments = [
                    recording_moments(x, gold[target], offsets)
                    for x, target in zip(values, lanes["target"], strict=True)
                ]
                frames.append(
                    moments_frame(
                        np.stack(moments),
                        lanes.assign(processing=kind),
                        {"recording": names, "speaker": names},
                    )
                )
            traces = Traces(
                *(fold, partition, 0.04, names, offsets),
                lanes=lanes.drop(columns=["fold", "partition"]).assign(ahead=0),
                raw=raw,
                processed=raw + np.float32(0.05),
                gold={(target, 0): values for target, values in gold.items()},
                raters={
                    (target, 0): np.stack([values - 0.1, values + 0.2])
                    for target, values in gold.items()
                },
                extents=whole_extents(offsets),
            )
            path = folder / "predictions" / f"{fold}-{partition}.safetensors"
            path.write_bytes(encode_traces(traces))
        for main in MAINS:
            for target in TARGETS:
                for delay in (0.0, 0.4, 0.8):
                    tuning.append(
                        (
                            fold,
                            main,
                            target,
                            0.0,
                            0.0,
                            0,
                            0.5 - delay,
                            delay == 0,
                            delay,
                        )
                    )
                for alpha in ALPHAS:
                    for seed in range(SEEDS):
                        lane = (fold, main, target, alpha, seed)
                        history += [
                            (*lane, e, 1 / e, 1 / e, 2 / e, 0.1 * e, e == 2)
                            for e in (1, 2)
                        ]
                        gains += [
                            (*lane, "median", 0.2, 0.4, 0.3, False),
                            (*lane, "centre", 0.05, 0.4, 0.5, True),
                        ]
    moments = pd.concat(frames, ignore_index=True)
    scores = score_moments(moments, make_measures())
    scores["metric"] += scores.pop("processing").map(dict(SUFFIXES))
    scores["system"] = np.where(scores["alpha"] == 0, BASELINE, IMPLICIT_FUSION)
    lane = ["fold", "main", "target", "alpha", "seed"]
    tables = {
        "moments": moments,
        "scores": scores,
        "history": pd.DataFrame(
            history,
            columns=[
                *(*lane, "epoch", "loss", "loss_audio", "loss_video"),
                *("dev_score", "best"),
            ],
        ),
        "postprocessing": pd.DataFrame(
            gains, columns=[*lane, "step", "value", "before", "after", "kept"]
        ),
        "tuning": pd.DataFrame(
            tuning,
            columns=[
                *("fold", "main", "target", "alpha", "l2", "seed"),
                *("dev_score", "chosen", "delay_seconds"),
            ],
        ),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    config = {
        "training": {"delay_scoring": "original"},
        "evaluation": {
            "metric": "ccc_pooled",
            "convention": "population",
            "cluster": "recording",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    part = {"recordings": 3, "speakers": 3, "frames": 180}
    known = {**part, "targets": {t: {"mean": 0.1, "sd": 0.2} for t in TARGETS}}
    corpus = {
        "name": "fake <corpus>",
        "task": "regression",
        "classes": [],
        "targets": list(TARGETS),
        "frame_step": 0.04,
        "licence": "",
        "citation": "",
        "notes": [],
        "warnings": [],
        "features": {"audio": 88, "video": 632},
        "partitions": {
            fold: {"train": known, "dev": known, "test": part} for fold in folds
        },
    }
    (folder / "corpus.json").write_text(json.dumps(corpus))
    return series


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regression") / "run"
    return folder, write_run(folder)


@pytest.fixture(scope="module")
def findings(run):
    return analyse_regression(read_run(run[0]), 200)


def test_what_is_chosen_and_compared(findings):
    assert (findings.metric, findings.processing) == ("ccc_pooled", PROCESSED)
    assert findings.partitions == ("dev", "test")
    audio = findings.choices[findings.choices["main"] == "audio"]
    assert audio["alpha"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("partition", ["dev", "test"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_summary_is_mean_and_deviation_of_the_frames_scores(
    run, findings, partition, target
):
    gold = run[1].gold["fixed", partition][TARGETS.index(target)]
    values = [
        concordance(
            run[1].predictions["fixed", partition, "audio", target, 0.5, seed], gold
        )
        for seed in range(SEEDS)
    ]
    mine = findings.summary[
        (findings.summary["system"] == IMPLICIT_FUSION)
        & (findings.summary["main"] == "audio")
        & (findings.summary["target"] == target)
        & (findings.summary["partition"] == partition)
        & (findings.summary["processing"] == RAW)
        & (findings.summary["metric"] == "ccc_pooled")
    ].iloc[0]
    assert mine["mean"] == pytest.approx(np.mean(values), abs=1e-10)
    assert mine["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-10)


def test_a_difference_is_that_of_the_means(findings):
    row = findings.differences[
        (findings.differences["partition"] == "test")
        & (findings.differences["main"] == "audio")
        & (findings.differences["target"] == "arousal")
        & (findings.differences["processing"] == RAW)
    ].iloc[0]
    gap = row["implicit_fusion"] - row["baseline"]
    assert row["estimate"] == pytest.approx(gap, abs=1e-12)
    assert row["low"] <= row["estimate"] <= row["high"]
    assert (row["clusters"], row["seeds"], row["verdict"]) == (3, 2, "nothing")


def test_gains_follow_the_steps_that_were_kept(findings):
    mine = findings.gains[
        (findings.gains["system"] == BASELINE)
        & (findings.gains["main"] == "audio")
        & (findings.gains["target"] == "arousal")
    ]
    assert mine["step"].tolist() == [RAW, "median", "centre"]
    np.testing.assert_allclose(mine["score"], [0.4, 0.4, 0.5])
    assert mine["kept"].tolist() == [1.0, 0.0, 1.0]


def test_folds_are_pooled_frame_by_frame(tmp_path):
    series = write_run(tmp_path / "run", folds=("1", "2"))
    findings = analyse_regression(read_run(tmp_path / "run"), 20)
    alphas = findings.choices.set_index(["fold", "main", "target"])["alpha"]
    gold = np.concatenate([series.gold[fold, "test"][0] for fold in ("1", "2")])
    values = []
    for seed in range(SEEDS):
        parts = [
            series.predictions[
                fold, "test", "video", "arousal", alphas[fold, "video", "arousal"], seed
            ]
            for fold in ("1", "2")
        ]
        values.append(concordance(np.concatenate(parts), gold))
    mine = findings.summary[
        (findings.summary["system"] == IMPLICIT_FUSION)
        & (findings.summary["main"] == "video")
        & (findings.summary["target"] == "arousal")
        & (findings.summary["partition"] == "test")
        & (findings.summary["processing"] == RAW)
        & (findings.summary["metric"] == "ccc_pooled")
    ]
    assert mine["mean"].item() == pytest.approx(np.mean(values), abs=1e-10)


def test_table2_has_the_layout_of_the_paper(findings):
    table = table2(findings.summary, "ccc_pooled", TARGETS, MAINS)
    assert list(table.columns[1:]) == [", ".join(c) for c in PAPER_COLUMNS]
    rows = table.set_index("CCC")
    assert rows.loc["paper: DDAT (RE based) [22]", "arousal, audio, test"] == ".694"
    assert rows.loc["paper: RNN (baseline)", "valence, video, test"] == ".529"
    assert list(rows.index[-4:]) == [
        f"{system}, {processing}"
        for processing in (RAW, PROCESSED)
        for system in (BASELINE, IMPLICIT_FUSION)
    ]
    assert "±" in rows.loc[f"{BASELINE}, {RAW}", "arousal, audio, dev"]
    assert all(len(values) == len(PAPER_COLUMNS) for values in PAPER_TABLE2.values())


def test_a_target_that_the_paper_lacks_has_no_figure_of_it(findings):
    table = table2(findings.summary, "ccc_pooled", ("dominance",), ("audio",))
    paper = table[table["CCC"].str.startswith("paper")]
    assert (paper["dominance, audio, dev"] == "—").all()


def test_the_paper_stands_beside_a_ccc_alone(findings):
    table = table2(findings.summary, "rmse", TARGETS, MAINS)
    assert len(table) == 4
    assert not table["RMSE"].str.startswith("paper").any()


@pytest.mark.parametrize(
    ("metric", "titles"),
    [
        ("ccc_pooled", [POOLED, MEAN]),
        ("ccc_recordings", [MEAN, POOLED]),
        ("rmse", ["RMSE", POOLED, MEAN]),
    ],
)
def test_table2_has_both_kinds_of_ccc(tmp_path, metric, titles):
    write_run(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["evaluation"]["metric"] = metric
    path.write_text(json.dumps(config), "utf-8")
    write_report(tmp_path / "run", 20)
    text = (tmp_path / "run" / "table2.md").read_text("utf-8")
    assert [w.strip("*") for w in text.splitlines() if w.startswith("**")] == titles
    assert f"alpha chosen on dev by {titles[0]}." in text
    tables = dict(zip(titles, text.split("**")[2::2], strict=True))
    numbers = pd.read_csv(tmp_path / "run" / "table2.csv")
    cells = ("target", "main", "partition", "processing")
    first = numbers.set_index(["source", "system", *cells, "metric"])["mean"]
    for title, name in ((POOLED, "ccc_pooled"), (MEAN, "ccc_recordings")):
        cell = ("arousal", "audio", "dev", RAW, name)
        mean = f"{first['this run', BASELINE, *cell]:.3f}".lstrip("0")
        row = next(w for w in tables[title].splitlines() if f"{BASELINE}, {RAW}" in w)
        assert row.split("|")[2].split()[0] == mean
    page = Page((tmp_path / "run" / "report.html").read_text("utf-8"))
    assert POOLED in page.words and MEAN in page.words


class Page(HTMLParser):
    """Words, anchors and balance of a page."""

    def __init__(self, text):
        super().__init__()
        self.words, self.ids, self.open, self.sources = "", set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.ids |= {value for name, value in attributes if name == "id"}
        self.sources += [
            v
            for name, v in attributes
            if name in ("src", "href") and not v.startswith("#")
        ]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += f" {data}"


def test_the_report_is_whole(run):
    folder, _ = run
    assert write_report(folder, 50) == folder / "report.html"
    text = (folder / "report.html").read_text("utf-8")
    page = Page(text)
    assert not page.open
    assert page.ids >= {"table2", "figure2", "difference", "traces", "delays"}
    assert page.ids >= {"postprocessing", "metrics", "choices", "training", "corpus"}
    assert "fake <corpus>" in page.words and "fake <corpus>" not in text
    assert "nothing can be told for arousal from audio" in page.words
    assert "every 40 ms" in page.words
    assert page.sources and all(x.startswith("data:image/") for x in page.sources)
    pictures = {p.name for p in (folder / "traces" / "test").iterdir()}
    assert pictures == {f"fixed-test-{i}.png" for i in range(3)}


@pytest.mark.parametrize(
    ("file", "column"), [("moments.csv", MOMENTS[0]), ("postprocessing.csv", "kept")]
)
def test_a_missing_column_is_named(tmp_path, file, column):
    write_run(tmp_path / "run")
    path = tmp_path / "run" / file
    pd.read_csv(path).drop(columns=column).to_csv(path, index=False)
    with pytest.raises(ValueError, match=f"{file}: the column '{column}' is missing"):
        read_run(tmp_path / "run")

"""A comparison whose numbers are known, from files to page."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from ifusion.reporting.comparison import compare, verdicts
from ifusion.reporting.comparison_controls import gains
from ifusion.reporting.comparison_figures import draw_missing_modality
from ifusion.reporting.comparison_report import write_comparison
from ifusion.reporting.comparison_run import read_comparison
from ifusion.reporting.comparison_tables import (
    PAPER_ROWS,
    all_metrics,
    details,
    in_time,
    missing_modality,
    overview,
    tidy,
)
from ifusion.reporting.tables import PAPER_TABLE1, PAPER_TABLE2
from ifusion.reporting.wording import MINUS
from ifusion.systems.catalogue import SYSTEMS
from ifusion.systems.controls import NOISE

CLASSES = ["calm", "happy", "sad"]
FOLDS = ["0", "1"]
RECORDINGS = 40  # of a fold and partition
BOTH = "audio+video"
# {key: {(main, given): share of right answers}}
SHARES = {
    "svm": {("audio", "audio"): 0.5, ("video", "video"): 0.5},
    "baseline": {("audio", "audio"): 0.5, ("video", "video"): 0.7},
    "implicit_fusion": {("audio", "audio"): 0.9, ("video", "video"): 0.7},
    "early_fusion": {(BOTH, BOTH): 0.95, (BOTH, "audio"): 0.4, (BOTH, "video"): 0.6},
    "control_noise": {("audio", "audio"): 0.5, ("video", "video"): 0.7},
}


def answers(key, fold, seeds):
    """Rows of the chosen candidates: the first recordings of each class are right."""
    rows = []
    for partition in ("dev", "test"):
        names = [f"{partition}{fold}-{i}" for i in range(RECORDINGS)]
        labels = np.resize(CLASSES, RECORDINGS)
        for (main, given), share in SHARES[key].items():
            shown = {given} if "+" in main else {given, BOTH}
            for seed in seeds:
                rng = np.random.default_rng([seed, len(given)])
                right = rng.permutation(RECORDINGS) < share * RECORDINGS
                wrong = np.roll(CLASSES, 1)[[CLASSES.index(x) for x in labels]]
                for one in shown:
                    frame = pd.DataFrame(
                        {
                            "recording": names,
                            "speaker": [f"s{i % 10}" for i in range(RECORDINGS)],
                            "label": labels,
                            "prediction": np.where(right, labels, wrong),
                        }
                    )
                    rows.append(
                        frame.assign(
                            fold=fold,
                            partition=partition,
                            main=main,
                            target="emotion",
                            seed=seed,
                            given=one,
                        )
                    )
    return pd.concat(rows)


def write_system(folder, key, seeded=True):
    seeds = (0, 1, 2) if seeded else (0,)
    for fold in FOLDS:
        place = folder / "systems" / key / fold
        place.mkdir(parents=True)
        mains = dict.fromkeys(main for main, _ in SHARES[key])
        candidates = pd.DataFrame(
            [
                (main, "emotion", seed, f"alpha = {alpha}", 1000.0, 0.5, alpha == 0.1)
                for main in mains
                for alpha in (0.1, 0.2)
                for seed in seeds
            ],
            columns=[
                *("main", "target", "seed", "setting", "parameters"),
                *("dev_score", "chosen"),
            ],
        )
        candidates.to_csv(place / "candidates.csv", index=False)
        answers(key, fold, seeds).to_csv(place / "predictions.csv", index=False)
        facts = {"seconds": 45.0, "partitions": ["dev", "test"]}
        (place / "fit.json").write_text(json.dumps(facts), "utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The files of a comparison, for all to read."""
    folder = tmp_path_factory.mktemp("comparison")
    titles = {
        "svm": ("SVM", "[23]", ""),
        "mtl_pu": ("MTL (PU based)", "[12]", "needs raters"),
        "baseline": ("RNN (baseline)", "", ""),
        "implicit_fusion": ("RNN (implicit fusion)", "", ""),
        "early_fusion": ("Early fusion", "", ""),
        "control_noise": ("Control: noise", "", ""),
    }
    systems = [
        {
            **{"key": key, "title": title, "source": source, "impossible": reason},
            **{"explicit": key == "early_fusion", "seeded": key != "svm"},
            "control": NOISE.control if key == "control_noise" else "",
        }
        for key, (title, source, reason) in titles.items()
    ]
    counts = {"recordings": 40, "speakers": 10}
    contents = {
        "config.json": {
            "evaluation": {"metric": "micro_f1", "cluster": "speaker"},
            "folds": FOLDS,
        },
        "corpus.json": {
            **{"name": "drawn", "task": "classification", "classes": CLASSES},
            **{"targets": ["emotion"], "licence": "", "citation": "", "notes": []},
            **{"warnings": [], "features": {"audio": 3, "video": 4}},
            "partitions": {fold: {"dev": counts, "test": counts} for fold in FOLDS},
        },
        "systems.json": systems,
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    for key in SHARES:
        write_system(folder, key, key != "svm")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of them, to write to."""
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


@pytest.fixture(scope="module")
def found(made):
    return compare(read_comparison(made), 400)


def test_an_explicit_fusion_is_compared_with_the_better_baseline_of_dev(found):
    frame = found.differences.set_index(["system", "main", "partition"])
    row = frame.loc["early_fusion", BOTH, "test"]
    assert row["against"] == "video"
    assert row["estimate"] == pytest.approx(0.95 - 0.7)
    assert row["verdict"] == "gain"
    assert frame.loc["implicit_fusion", "audio", "test"]["verdict"] == "gain"
    assert frame.loc["implicit_fusion", "video", "test"]["estimate"] == 0
    assert frame.loc["implicit_fusion", "video", "test"]["p_value"] == 1
    said = dict(verdicts(found))
    assert said["gain"] == ["RNN (implicit fusion) (audio)", f"Early fusion ({BOTH})"]
    assert said["loss"] == ["SVM [23] (video)"]


def test_a_system_without_seeds_is_paired_with_every_seed(found):
    frame = found.differences.set_index(["system", "main", "partition"])
    row = frame.loc["svm", "video", "test"]
    assert row["seeds"] == 3 and row["clusters"] == 10
    assert row["estimate"] == pytest.approx(0.5 - 0.7)
    scores = found.scores.set_index(["system", "main", "partition", "given", "metric"])
    alone = scores.loc["svm", "video", "test", "video", "micro_f1"]
    assert alone["seeds"] == 1 and np.isnan(alone["low"])


def test_folds_are_pooled_before_they_are_scored(found):
    rows = pd.concat([answers("implicit_fusion", fold, (0, 1, 2)) for fold in FOLDS])
    rows = rows[(rows["given"] == "audio") & (rows["partition"] == "test")]
    values = [
        f1_score(mine["label"], mine["prediction"], average="weighted")
        for _, mine in rows.groupby("seed")
    ]
    scores = found.scores.set_index(["system", "main", "partition", "given", "metric"])
    row = scores.loc["implicit_fusion", "audio", "test", "audio", "weighted_f1"]
    assert row["mean"] == pytest.approx(np.mean(values), abs=1e-12)
    assert row["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)


def test_controls_take_from_implicit_fusion(found):
    assert set(found.controls["system"]) == {"control_noise"}
    frame = found.controls.set_index(["main", "partition"])
    assert frame.loc["audio", "test"]["estimate"] == pytest.approx(0.4)
    assert frame.loc["audio", "test"]["low"] > 0
    assert frame.loc["video", "test"]["estimate"] == 0


def test_gains_over_controls_are_laid_out(found, folder):
    table = gains(found).set_index("main")
    row, numbers = table.loc["audio"], found.controls.set_index(["main", "partition"])
    low, high = numbers.loc[("audio", "test"), ["low", "high"]]
    assert row["gain [points]"] == "+40.0" and row["p"] == ".005"  # 2 / 401
    assert row["95 % interval"] == f"+{100 * low:.1f} to +{100 * high:.1f}"
    assert table.loc["video", ["gain [points]", "p"]].tolist() == ["0.0", "1"]
    write_comparison(folder, 400)
    written = pd.read_csv(folder / "controls.csv")
    assert len(written) == 4  # mains, partitions
    assert set(written["system"]) == {"control_noise"}
    written = written.set_index(["main", "partition"])
    assert written.loc[("audio", "test"), "gain"] == pytest.approx(0.4)
    assert written.loc[("audio", "test"), "low"] == pytest.approx(low)
    text = (folder / "comparison.md").read_text("utf-8")
    page = (folder / "comparison.html").read_text("utf-8")
    assert "| Control: noise | audio | +40.0 |" in text and ">+40.0</td>" in page


def test_the_overview_stands_beside_the_paper(found):
    table = overview(found, "emotion").set_index("system")
    assert table.index.tolist() == [entry.name for entry in found.entries]
    assert table.loc["Early fusion", f"{BOTH}, test"] == "95.0 ± 0.0"
    assert table.loc["Early fusion", "audio, test"] == "—"
    assert "needs all modalities" in table.loc["Early fusion", "remark"]
    assert table.loc["MTL (PU based) [12]", "remark"] == "needs raters"
    assert set(table.loc["MTL (PU based) [12]"].drop("remark")) == {"—"}
    paper = table["audio (paper, OMG-Emotion dev)"]
    assert paper["SVM [23]"] == "33.0" and paper["RNN (implicit fusion)"] == "40.2"


def test_details_tell_the_price(found):
    table = details(found).set_index(["system", "main"])
    row = table.loc["RNN (implicit fusion)", "audio"]
    assert row["training"] == "1.5 min" and row["parameters"] == "1,000"
    assert row["setting"] == "alpha = 0.1"
    assert row["test [%]"] == "90.0 ± 0.0"
    assert row["to baseline [points]"] == "+40.0"
    cell = table.loc["Early fusion", BOTH]["to baseline [points]"]
    assert cell == "+25.0 (to video)"
    assert table.loc["RNN (baseline)", "audio"]["p"] == "—"
    assert [in_time(s) for s in (9.6, 60, 5400)] == ["10 s", "1.0 min", "1.5 h"]


def test_all_metrics_stand_side_by_side(found, folder):
    table = all_metrics(found).set_index(["system", "main"])
    assert list(table) == [
        *("micro-F1 [%]", "macro-F1 [%]", "weighted F1 [%]", "UAR [%]", "accuracy [%]")
    ]
    assert len(table) == 2 * 4 + 1
    rows = pd.concat([answers("svm", fold, (0,)) for fold in FOLDS])
    rows = rows[(rows["given"] == "audio") & (rows["partition"] == "test")]
    for average in ("micro", "macro", "weighted"):
        score = f1_score(rows["label"], rows["prediction"], average=average)
        title = {"weighted": "weighted F1"}.get(average, f"{average}-F1")
        assert table.loc[("SVM [23]", "audio"), f"{title} [%]"] == f"{100 * score:.1f}"
    recall = balanced_accuracy_score(rows["label"], rows["prediction"])
    assert table.loc[("SVM [23]", "audio"), "UAR [%]"] == f"{100 * recall:.1f}"
    write_comparison(folder, 50)
    for name in ("comparison.md", "comparison.html"):
        text = (folder / name).read_text("utf-8")
        assert "All metrics" in text and "weighted F1 [%]" in text


def test_metrics_of_a_regression_are_those_of_the_headline(found):
    first = found.scores.iloc[:1].assign(target="emotion", main="audio", given="audio")
    first = first.assign(partition="test", sd=np.nan)
    scores = pd.concat(
        [
            first.assign(metric=metric, mean=mean, processing=processing)
            for processing, shift in (("raw", 0.0), ("post-processed", 0.1))
            for metric, mean in (
                ("ccc_pooled", 0.5 + shift),
                ("ccc_recordings", -0.25 + shift),
            )
        ]
    )
    over_time = found._replace(scores=scores, processing="post-processed")
    (row,) = all_metrics(over_time).to_dict("records")
    assert row["CCC"] == ".600" and row["CCC, mean over recordings"] == f"{MINUS}.150"


def speak_as(folder, number):
    """Gives all recordings of the run to so many speakers."""
    for path in folder.rglob("predictions.csv"):
        frame = pd.read_csv(path)
        frame["speaker"] = [f"s{int(i[1:]) % number}" for i in frame["speaker"]]
        frame.to_csv(path, index=False)


def test_of_a_single_speaker_nothing_is_concluded(folder):
    speak_as(folder, 1)
    found = compare(read_comparison(folder), 50)
    assert {said for _, systems in verdicts(found) for said in systems} == set()
    row = details(found).set_index(["system", "main"]).loc["Early fusion", BOTH]
    assert row["to baseline [points]"] == "+25.0 (to video)"
    assert row[["95 % interval", "p", "speakers", "seeds"]].tolist() == [
        *("—", "—", "1", "3")
    ]
    assert gains(found)["p"].tolist() == ["—", "—"]
    page = write_comparison(folder, 50).read_text("utf-8")
    sentence = "With a single speaker there is no interval or p-value."
    assert sentence in page
    assert sentence in (folder / "comparison.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (5, "With 5 speakers alone, interval and p are too sure to tell a gain from"),
        (6, "With 6 speakers alone, interval and p are rather too sure."),
        (10, ""),
    ],
)
def test_few_speakers_are_a_caveat(folder, number, sentence):
    speak_as(folder, number)
    page = write_comparison(folder, 50).read_text("utf-8")
    for text in (page, (folder / "comparison.md").read_text("utf-8")):
        assert (sentence in text) if sentence else ("speakers alone" not in text)
    found = compare(read_comparison(folder), 50)
    assert bool(dict(verdicts(found))["gain"]) == (number > 5)


@pytest.mark.parametrize(
    ("metric", "low", "high", "cell"),
    [
        ("micro_f1", -1.423, 2.389, "0.0 to 100.0"),
        ("micro_f1", 0.312, 0.645, "31.2 to 64.5"),
        ("micro_f1", np.nan, np.nan, "—"),
        ("ccc_pooled", -1.5, 0.25, f"{MINUS}1.000 to .250"),
        ("ccc_pooled", -0.25, 1.5, f"{MINUS}.250 to 1.000"),
        ("rmse", -0.3, 2.5, ".000 to 2.500"),
    ],
)
def test_an_interval_over_seeds_stays_in_the_range(found, metric, low, high, cell):
    scores = found.scores[found.scores["metric"] == "micro_f1"]
    scores = scores.assign(metric=metric, low=low, high=high)
    wide = found._replace(metric=metric, scores=scores)
    assert set(details(wide)["95 % over seeds"]) == {cell}
    assert set(tidy(wide)["low"].dropna()) <= {low}  # numbers stay as they are


def test_a_missing_modality_is_laid_out(found):
    table = missing_modality(found).set_index(["system", "main"])
    early = table.loc["Early fusion", BOTH]
    assert early.tolist() == ["95.0 ± 0.0", "40.0 ± 0.0", "60.0 ± 0.0"]
    audio = table.loc["RNN (implicit fusion)", "audio"]
    assert audio.tolist() == ["90.0 ± 0.0", "90.0 ± 0.0", "—"]


def test_of_three_modalities_each_is_missing_in_turn(found):
    rows = found.scores[found.scores["system"] == "early_fusion"]
    given = {
        "a+b+c": BOTH,
        **dict.fromkeys(("a+b", "a+c", "b+c"), "audio"),
        **dict.fromkeys("abc", "video"),
    }
    scores = pd.concat(
        [
            rows[rows["given"] == old].assign(given=new, main="a+b+c")
            for new, old in given.items()
        ]
    )
    three = found._replace(scores=scores, mains=("a+b+c",))
    table = missing_modality(three).drop(columns=["system", "main"])
    assert list(table) == [f"given {name}" for name in given]
    assert (
        table.iloc[0].tolist()
        == ["95.0 ± 0.0", *["40.0 ± 0.0"] * 3] + ["60.0 ± 0.0"] * 3
    )
    (key,) = draw_missing_modality(three).legends
    looks = {
        text.get_text(): (line.get_marker(), line.get_color())
        for text, line in zip(key.get_texts(), key.get_lines(), strict=True)
    }
    assert set(looks) == {"baseline", *table}
    assert len(set(looks.values())) == len(looks)  # no two look alike


def test_every_number_is_in_one_tidy_file(found):
    frame = tidy(found)
    assert not frame.duplicated(
        ["system", "main", "target", "partition", "given", "processing", "metric"]
    ).any()
    assert len(frame) == len(found.scores)
    assert list(dict.fromkeys(frame["system"])) == list(SHARES)
    given = frame[frame["difference"].notna()]
    assert (given["given"] == given["main"]).all()
    assert set(frame.loc[frame["parameters"].notna(), "training_seconds"]) == {90.0}


def test_the_report_stands_alone(folder):
    page = write_comparison(folder, 50).read_text("utf-8")
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        *("comparison.csv", "comparison.md", "comparison.html"),
        *("missing_modality.png", "missing_modality.svg", "controls.png"),
        "controls.svg",
    }
    assert "it is the pairing that helps" not in page
    assert "what that says depends on the control" in page
    assert "instead of a further loss on noise" in page
    assert "<script" not in page and 'src="http' not in page
    assert page.count("data:image/svg+xml;base64") == 2
    assert "optimistic" in page and "needs raters" in page
    text = (folder / "comparison.md").read_text("utf-8")
    assert "| SVM [23] | 50.0 | 50.0 |" in text
    before = (folder / "controls.svg").read_bytes()
    write_comparison(folder, 50)
    assert (folder / "controls.svg").read_bytes() == before


def test_without_a_baseline_nothing_is_compared_but_all_is_shown(folder):
    systems = json.loads((folder / "systems.json").read_text("utf-8"))
    kept = [row for row in systems if row["key"] in ("svm", "early_fusion")]
    (folder / "systems.json").write_text(json.dumps(kept), "utf-8")
    found = compare(read_comparison(folder), 50)
    assert found.differences.empty
    assert details(found)["p"].tolist() == ["—"] * 3
    assert tidy(found)["difference"].isna().all()
    assert write_comparison(folder, 50).is_file()


def test_where_test_is_not_opened_the_row_says_so(folder):
    for key in ("baseline", "early_fusion"):
        for path in (folder / "systems" / key).glob("*/predictions.csv"):
            frame = pd.read_csv(path)
            frame[frame["partition"] == "dev"].to_csv(path, index=False)
    found = compare(read_comparison(folder), 50)
    assert found.remarks == {
        "svm": "no seed changes it",
        "mtl_pu": "needs raters",
        "baseline": "test not opened",
        "implicit_fusion": "",
        "early_fusion": "needs all modalities at test time; test not opened",
        "control_noise": "",
    }
    assert write_comparison(folder, 50).is_file()


@pytest.mark.parametrize("labels", ["kept", "closed"])
def test_a_partition_without_labels_has_no_column(folder, labels):
    if labels == "closed":
        for path in folder.rglob("predictions.csv"):
            frame = pd.read_csv(path)
            frame.loc[frame["partition"] == "test", "label"] = ""
            frame.to_csv(path, index=False)
    found = compare(read_comparison(folder), 50)
    assert found.partitions == (("dev", "test") if labels == "kept" else ("dev",))


def test_files_that_contradict_each_other_are_refused(folder):
    path = folder / "systems" / "svm" / "0" / "predictions.csv"
    frame = pd.read_csv(path)
    changed = frame.copy()
    changed.loc[changed["recording"] == "test0-0", "label"] = "sad"
    changed.to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"systems/svm: .* not scored on the same lab"):
        compare(read_comparison(folder), 50)
    frame[frame["recording"] != "test0-0"].to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"systems/svm: .* on the same recordings"):
        compare(read_comparison(folder), 50)
    frame.drop(columns="given").to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"predictions\.csv: the column 'given'"):
        compare(read_comparison(folder), 50)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: b"", r"svm/1/predictions\.csv: no table"),
        (lambda text: b"\xff\xfe\x00\x9c" * 9, r"svm/1/predictions\.csv: no table"),
        (lambda text: text[: text.rindex(b",")], r"csv: cut short in row 321"),
        (lambda text: text[:-1], r"predictions\.csv: cut short in row 321"),
        (lambda text: text.replace(b"calm", b"clam", 1), "systems/svm: .*'clam'"),
        (lambda text: text.replace(b",0,", b",x,", 1), "column seed: 'x' is no number"),
        (lambda text: text.replace(b",0,", b",.5,", 1), "'.5' is no whole number"),
    ],
)
def test_a_damaged_table_is_named(folder, spoil, words):
    path = folder / "systems" / "svm" / "1" / "predictions.csv"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=words):
        compare(read_comparison(folder), 50)


@pytest.mark.parametrize("seconds", ['"long"', "null"])
def test_bad_seconds_are_named(folder, seconds):
    path = folder / "systems" / "svm" / "1" / "fit.json"
    path.write_text(f'{{"seconds": {seconds}, "partitions": []}}', "utf-8")
    with pytest.raises(ValueError, match=r"svm/1/fit\.json: the key seconds is"):
        compare(read_comparison(folder), 50)


def test_an_unknown_metric_and_an_empty_run_are_refused(folder):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["evaluation"]["metric"] = "auc"
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ValueError, match=r"evaluation\.metric is 'auc'"):
        compare(read_comparison(folder), 50)
    config["evaluation"]["metric"] = "uar"
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    for path in folder.rglob("fit.json"):
        path.unlink()
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(read_comparison(folder), 50)


def test_every_control_has_a_meaning():
    for system in SYSTEMS:
        assert bool(system.control) == system.key.startswith("control_")
    assert [s.key for s in SYSTEMS if s.control.startswith("pairing")] == [
        "control_shuffled_within_class"
    ]


def test_the_rows_of_the_paper_are_those_of_the_catalogue():
    keys = [system.key for system in SYSTEMS]
    known = {*PAPER_TABLE1, *PAPER_TABLE2}
    assert set(PAPER_ROWS.values()) == known
    names = {s.key: f"{s.title} {s.source}".strip().lower() for s in SYSTEMS}
    mine = [key for key in keys if key in PAPER_ROWS]
    assert {key: PAPER_ROWS[key].lower() for key in mine} == {
        key: names[key] for key in mine
    }
    order = [list(PAPER_ROWS).index(key) for key in mine]
    assert order == sorted(order)  # as in the paper

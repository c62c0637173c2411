"""The programs on a time-continuous corpus: a small sweep, its evaluation, mistakes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ifusion.concordance import concordance
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic
from ifusion.evaluation.traces import load_traces
from ifusion.inference.predictor import make_predictor, predict_recordings
from ifusion.training.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("unoptimised")
SMALL = (
    "--config=configs/synthetic_continuous.py",
    "--config.corpus.recordings=(4,3,3)",
    "--config.corpus.speakers=10",
    "--config.corpus.frames=300",
    "--config.corpus.annotation_delay=0.4",
    "--config.corpus.folds=3",
    "--config.training.epochs=2",
    "--config.training.window=64",
    "--config.training.hop=32",
    "--config.model.hidden_size=8",
    "--config.sweep.delays=(0.0,0.4)",
    "--config.sweep.alphas=(0.0,0.5)",
    "--config.sweep.seeds=(0,1)",
    "--config.evaluation.resamples=50",
)


def program(name, *arguments):
    return subprocess.run(
        [sys.executable, f"experiments/{name}.py", *map(str, arguments)],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A run whose test partition has been opened, by the programs themselves."""
    workdir = tmp_path_factory.mktemp("runs") / "small"
    done = program("sweep", *SMALL, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(workdir / "moments.csv")["partition"]) == {"dev"}
    assert [p.name for p in (workdir / "predictions").iterdir()] == [
        "fixed-dev.safetensors"
    ]
    done = program("evaluate", f"--run={workdir}", "--partition=test")
    assert done.returncode == 0, done.stderr
    assert "RNN (implicit fusion), post-processed" in done.stdout
    return workdir


def test_a_run_holds_what_the_readme_says(opened):
    files = {path.name for path in opened.iterdir()}
    assert files >= {
        *("config.json", "corpus.json", "history.csv", "scores.csv", "moments.csv"),
        *("postprocessing.csv", "tuning.csv", "table2.md", "table2.csv"),
        *("figure2_arousal.png", "figure2_valence.svg", "delays.png", "report.html"),
        *("differences.csv", "checkpoints", "predictions", "traces"),
    }
    assert not [name for name in files if name.endswith(".part")]
    assert len(list((opened / "traces" / "dev").iterdir())) == 3
    assert len(list((opened / "traces" / "test").iterdir())) == 3
    page = (opened / "report.html").read_text("utf-8")
    for anchor in ("table2", "figure2", "difference", "traces", "delays"):
        assert f'id="{anchor}"' in page


@pytest.mark.parametrize("partition", ["dev", "test"])
def test_scores_are_those_of_the_stored_predictions(opened, partition):
    traces = load_traces(opened / "predictions" / f"fixed-{partition}.safetensors")
    scores = pd.read_csv(opened / "scores.csv")
    scores = scores[scores["partition"] == partition]
    assert len(scores) == 2 * 2 * 2 * 2 * 8  # mains, targets, alphas, seeds, metrics
    assert set(traces.lanes["alpha"]) >= {0.0}
    for i, lane in enumerate(traces.lanes.to_dict("records")):
        gold = traces.gold[lane["target"], 0]
        mine = scores[
            np.logical_and.reduce(
                [scores[k] == lane[k] for k in ("main", "target", "alpha", "seed")]
            )
        ].set_index("metric")["value"]
        for suffix, values in (("", traces.raw[i]), ("_post", traces.processed[i])):
            pooled = concordance(values, gold)
            assert mine[f"ccc_pooled{suffix}"] == pytest.approx(pooled, abs=1e-12)
            each = [
                concordance(*pair)
                for pair in zip(
                    np.split(values, traces.offsets[1:-1]),
                    np.split(gold, traces.offsets[1:-1]),
                    strict=True,
                )
            ]
            found = mine[f"ccc_recordings{suffix}"]
            assert found == pytest.approx(np.mean(each), abs=1e-12)
            rmse = np.sqrt(np.mean((values.astype(float) - gold) ** 2))
            assert mine[f"rmse{suffix}"] == pytest.approx(rmse, abs=1e-12)


def test_the_dev_score_of_training_is_that_of_the_report(opened):
    """In float32 inside the program, in float64 from whole recordings outside it."""
    history = pd.read_csv(opened / "history.csv")
    keys = ["main", "target", "alpha", "seed"]
    inside = history.groupby(keys)["dev_score"].max()
    scores = pd.read_csv(opened / "scores.csv")
    outside = scores[
        (scores["partition"] == "dev") & (scores["metric"] == "ccc_pooled")
    ].set_index(keys)["value"]
    np.testing.assert_allclose(outside.sort_index(), inside.sort_index(), atol=2e-5)


def test_post_processing_is_frozen_with_the_checkpoint(opened):
    folder = opened / "checkpoints" / "fixed"
    assert {p.name for p in folder.iterdir()} == {
        "arrays.safetensors",
        "checkpoint.json",
        "manifest.json",
    }
    frozen = load_checkpoint(folder, ["audio"]).continuous
    assert (frozen.frame_step, frozen.delay_scoring) == (0.04, "original")
    assert len(frozen.adjustments) == 16
    assert any(frozen.adjustments)
    keys = ("main", "target", "alpha", "seed")
    gains = pd.read_csv(opened / "postprocessing.csv")
    assert set(gains["step"]) == {"median", "centre", "scale", "shift"}
    kept = gains[gains["kept"]]
    assert (kept["after"] > kept["before"]).all()
    left = gains[~gains["kept"]]
    assert (left["after"] <= left["before"] + 1e-12).all()
    scores = pd.read_csv(opened / "scores.csv")
    dev = scores[scores["partition"] == "dev"].set_index(["metric", *keys])["value"]
    assert (dev["ccc_pooled_post"] >= dev["ccc_pooled"] - 1e-6).all()


@pytest.mark.parametrize(
    "run", ["opened", pytest.param("folds", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("partition", ["dev", "test"])
def test_a_loaded_checkpoint_predicts_what_the_run_stored(run, partition, request):
    """From one modality alone, be it scored in original or in shifted time."""
    workdir = request.getfixturevalue(run)
    config = json.loads((workdir / "config.json").read_text("utf-8"))
    options = {k: v for k, v in config["corpus"].items() if k != "kind"}
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    corpus = make_synthetic(SyntheticOptions(**options))
    fold = config["folds"][-1]
    traces = load_traces(workdir / "predictions" / f"{fold}-{partition}.safetensors")
    place = {name: i for i, name in enumerate(corpus.recording)}
    wanted = [place[name] for name in traces.recording]
    cuts = list(zip(corpus.offsets[wanted], corpus.offsets[1:][wanted], strict=True))
    for main in ("audio", "video"):
        checkpoint = load_checkpoint(workdir / "checkpoints" / fold, [main])
        predictor = make_predictor(checkpoint, main)
        values = corpus.modalities[main].values
        alone = np.concatenate([values[start:stop] for start, stop in cuts])
        lanes = [(x.target, x.alpha, x.seed) for x in predictor.lanes]
        stored = [
            lanes.index((row["target"], row["alpha"], row["seed"]))
            for row in traces.lanes.to_dict("records")
            if row["main"] == main
        ]
        mine = (traces.lanes["main"] == main).to_numpy()
        for raw, kept in ((True, traces.raw), (False, traces.processed)):
            found = predict_recordings(predictor, alone, traces.offsets, raw=raw)
            np.testing.assert_allclose(found[stored], kept[mine], atol=1e-6)
            whole = predict_recordings(
                predictor, values, corpus.offsets, np.array(wanted), raw
            )
            np.testing.assert_array_equal(whole, found)


def test_a_lane_has_the_delay_that_dev_chose(opened):
    tuning = pd.read_csv(opened / "tuning.csv")
    assert set(tuning["delay_seconds"]) == {0.0, 0.4}
    path = opened / "checkpoints" / "fixed" / "checkpoint.json"
    lanes = json.loads(path.read_text("utf-8"))["lanes"]
    for (main, target), settings in tuning.groupby(["main", "target"]):
        means = settings.groupby("delay")["dev_score"].mean()
        mine = {
            lane["delay"]
            for lane in lanes
            if (lane["main"], lane["target"]) == (main, target)
        }
        assert mine == {means.idxmax()}


def test_differences_resample_recordings(opened):
    differences = pd.read_csv(opened / "differences.csv")
    assert len(differences) == 2 * 2 * 2 * 2  # partitions, targets, mains, processing
    assert set(differences["cluster"]) == {"recording"}
    assert set(differences["clusters"]) == {3}


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Leave-one-fold-out, state carried, scored in shifted time."""
    workdir = tmp_path_factory.mktemp("runs") / "folds"
    done = program(
        *("sweep", *SMALL, "--folds", f"--workdir={workdir}"),
        *("--config.training.hop=0", "--config.training.carry=True"),
        *("--config.training.delay_scoring=shifted", "--config.training.loss=ccc"),
        "--config.postprocessing.steps=()",
        "--config.evaluation.metric=ccc_recordings",
    )
    assert done.returncode == 0, done.stderr
    done = program("evaluate", f"--run={workdir}")
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.mark.slow
def test_folds_hold_every_recording_out_once(folds):
    moments = pd.read_csv(folds / "moments.csv")
    test = moments[(moments["partition"] == "test") & (moments["processing"] == "raw")]
    lane = test[
        (test["main"] == "audio")
        & (test["target"] == "arousal")
        & (test["alpha"] == 0)
        & (test["seed"] == 0)
    ]
    assert sorted(lane["recording"]) == [f"r{i:05d}" for i in range(10)]
    assert set(moments["processing"]) == {"raw"}
    assert not (folds / "postprocessing.csv").exists()
    table = (folds / "table2.md").read_text("utf-8")
    assert "post-processed |" not in table
    assert "3 folds are pooled" in table


@pytest.mark.slow
def test_in_shifted_time_labels_past_the_end_do_not_count(folds):
    moments = pd.read_csv(folds / "moments.csv", dtype={"fold": str})
    for fold in ("0", "1", "2"):
        path = folds / "checkpoints" / fold / "checkpoint.json"
        for lane in json.loads(path.read_text("utf-8"))["lanes"]:
            mine = moments[
                (moments["fold"] == fold)
                & (moments["main"] == lane["main"])
                & (moments["target"] == lane["target"])
                & (moments["alpha"] == lane["alpha"])
                & (moments["seed"] == lane["seed"])
            ]
            assert set(mine["frames"]) == {300 - lane["delay"]}


MISTAKES = {
    "--config.evaluation.metric=micro_f1": "evaluation.metric is 'micro_f1'",
    "--config.evaluation.convention=muse": "evaluation.convention is 'muse'",
    "--config.training.loss=mae": "training.loss is 'mae'",
    "--config.training.window=-1": "training.window is -1",
    "--config.training.carry=True": "training.carry needs windows",
    "--config.sweep.delays=(-0.4,)": "sweep.delays holds -0.4",
    "--config.sweep.targets=('anger',)": "sweep.targets holds 'anger'",
    "--config.training.delay_scoring=late": "training.delay_scoring is 'late'",
    "--config.postprocessing.steps=('mean',)": "postprocessing.steps holds 'mean'",
    "--config.postprocessing.gold=test": "postprocessing.gold is 'test'",
    "--config.postprocessing.median=('a',)": "postprocessing.median holds 'a'",
    "--config.training.delay_scoring=shifted --config.sweep.tune=alpha": (
        "training.delay_scoring 'shifted' scores lanes of different delays"
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence_before_anything_is_made(mistake, tmp_path):
    workdir = tmp_path / "run"
    done = program("sweep", *SMALL, *mistake.split(), f"--workdir={workdir}")
    assert done.returncode == 1, done.stderr
    assert MISTAKES[mistake] in done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("error:") for line in done.stderr.splitlines()) == 1
    assert not workdir.exists()


def test_a_regression_needs_a_config_of_its_own(tmp_path):
    from ifusion.corpora.folder import write_corpus
    from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic

    options = SyntheticOptions(recordings=(3, 2, 2), speakers=7, frames=60)
    write_corpus(make_synthetic(options), tmp_path / "mine")
    path = f"--config.corpus.path={tmp_path / 'mine'}"
    workdir = f"--workdir={tmp_path / 'run'}"
    done = program("sweep", "--config=configs/folder.py", path, workdir)
    assert done.returncode == 1
    assert "use a config of a regression" in done.stderr
    done = program(
        *("sweep", "--config=configs/folder.py:continuous", path, workdir),
        *("--config.sweep.alphas=(0.0,)", "--config.sweep.seeds=(0,)"),
        *("--config.sweep.delays=(0.0,)", "--config.training.epochs=1"),
        *("--config.model.hidden_size=4", "--config.training.window=32"),
        *("--config.training.hop=0", "--config.evaluation.resamples=20"),
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "mine")


def test_the_search_finds_a_known_delay_within_one_step(tmp_path):
    done = program(
        *("sweep", "--config=configs/synthetic_continuous.py"),
        *("--config.sweep.mains=('video',)", "--config.sweep.targets=('arousal',)"),
        *("--config.sweep.alphas=(0.0,)", "--config.sweep.seeds=(0,)"),
        "--config.sweep.delays=(0.8,1.2,1.6,2.0,2.4,2.8,3.2)",
        *("--config.training.epochs=6", "--config.evaluation.resamples=20"),
        f"--workdir={tmp_path / 'run'}",
    )
    assert done.returncode == 0, done.stderr
    tuning = pd.read_csv(tmp_path / "run" / "tuning.csv")
    chosen = tuning.loc[tuning["chosen"], "delay_seconds"].unique()
    assert chosen == pytest.approx(2.4, abs=0.4 + 1e-9)
    curve = tuning.set_index("delay_seconds")["dev_score"]
    assert curve.max() > 0.8 > curve.iloc[0]
    assert curve.iloc[-1] < 0.8

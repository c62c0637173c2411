"""Small corpora and runs on which the engine is tested, in process."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ifusion.corpora.corpus import Corpus, Frames
from ifusion.corpora.functionals import pool_frames
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic
from ifusion.experiment import runs
from ifusion.experiment.options import (
    Options,
    SweepOptions,
    continuous_options,
    value_options,
)
from ifusion.experiment.store import EVALUATIONS
from ifusion.lanes import LaneArrays
from ifusion.models.architecture import Architecture
from ifusion.systems.options import SystemOptions
from ifusion.training.options import TrainingOptions

CLASSES = Options(
    model=Architecture(hidden_size=8),
    training=TrainingOptions(epochs=4, batch_size=16),
    sweep=SweepOptions(
        alphas=(0.0, 0.5), seeds=(0, 1), l2=(0.0, 0.05), save_every_seconds=0.0
    ),
    systems=SystemOptions(lambdas=(0.3,), voting_steps=2, curriculum_bins=2),
)
BOTH = ("baseline", "implicit_fusion")
UNLIKE = {  # files with times or durations
    ".lock",
    EVALUATIONS,
    "report.html",
    "comparison.csv",
    "comparison.md",
}


def make_lane(weights, l2=0.0):
    """A lane as arrays, from the weights of its losses; without delay or extra loss."""
    return LaneArrays(
        weights, main=0, seed=0, target=0, l2=l2, delay=0, extra_weight=0.0
    )


@pytest.fixture(scope="session")
def small():
    """A classification of 80 utterances, in three folds."""
    corpus = make_synthetic(
        SyntheticOptions(
            recordings=(40, 20, 20),
            features=(5, 3),
            latent=3,
            speakers=8,
            folds=3,
            raters=4,
            classes=("calm", "tense", "glad"),
        )
    )
    drawn = {m: {"extractor": f"drawn {m}", "numpy": "2.4"} for m in corpus.modalities}
    return replace(corpus, provenance=drawn)


@pytest.fixture(scope="session")
def series():
    """A regression over time with a known annotation delay."""
    return make_synthetic(
        SyntheticOptions(
            recordings=(4, 3, 3),
            features=(5, 3),
            latent=3,
            frames=90,
            speakers=10,
            raters=3,
            folds=3,
            annotation_delay=0.4,
        )
    )


@pytest.fixture(scope="session")
def sentiments(small):
    """A regression of one value per recording: sentiment from 1 to 5, neutral 3."""
    rng = np.random.default_rng(3)
    audio = small.modalities["audio"].values
    sentiment = 3 + 1.5 * np.tanh(audio[:, 0] + 0.3 * rng.standard_normal(len(audio)))
    return replace(
        small,
        targets=("sentiment",),
        labels=np.round(2 * sentiment[:, None]) / 2,
        classes=(),
        raters={},
        source={},
        neutral=3.0,
    )


@pytest.fixture(scope="session")
def clips():
    """A classification of 36 recordings of frames, sound four times as fine."""
    return make_clips("classification")


@pytest.fixture(scope="session")
def rated_clips():
    """The same as a regression."""
    return make_clips("regression")


def make_clips(task, lengths=None, widths=(3, 2), partition=None):
    """Recordings of 2 to 14 frames of video; the class is their rhythm."""
    rng = np.random.default_rng(5)
    if lengths is None:
        lengths = rng.integers(2, 15, 36)
        lengths = {"audio": 4 * lengths, "video": lengths}
    count, frames = len(lengths["video"]), {}
    labels = np.arange(count) % 3
    for (m, own), width, rate in zip(lengths.items(), widths, (4, 1), strict=True):
        offsets = np.concatenate([[0], np.cumsum(own)])
        values = rng.standard_normal((offsets[-1], width)).astype(np.float32)
        place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], own)
        values[:, 0] += 2 * np.cos(np.repeat(labels + 1, own) * place / rate)
        names = tuple(f"{m}_{k}" for k in range(width))
        frames[m] = Frames(names, values, offsets, 0.04 / rate)
    ratings = labels[:, None] + rng.integers(-1, 2, (count, 3))
    classes = ("slow", "even", "fast") if task == "classification" else ()
    if partition is None:
        partition = np.repeat(["train", "dev", "test"], count // 3)
    return Corpus(
        name="clips",
        recording=np.array([f"clip {i}" for i in range(count)]),
        partition=partition,
        speaker=np.array([f"{p} {i % 6}" for i, p in enumerate(partition)]),
        modalities={m: pool_frames(x) for m, x in frames.items()},
        frames=frames,
        targets=("pace",),
        labels=labels[:, None] if classes else labels[:, None] - 1.0,
        classes=classes,
        raters={"pace": np.clip(ratings, 0, 2) if classes else ratings - 1},
    )


def without(corpus, lacking):
    """The corpus without the frames of {m: recordings that lack it}."""
    frames = {}
    for m, own in corpus.frames.items():
        stays = ~np.isin(np.arange(corpus.num_recordings), lacking.get(m, ()))
        offsets = np.append(0, np.cumsum(own.lengths * stays))
        values = own.values[np.repeat(stays, own.lengths)]
        frames[m] = replace(own, values=values, offsets=offsets)
    pooled = {m: pool_frames(x) for m, x in frames.items()}
    return replace(corpus, frames=frames, modalities=pooled)


@pytest.fixture(scope="session")
def value_run(sentiments, mesh, tmp_path_factory):
    """A finished run of both systems on single values, test opened."""
    folder = tmp_path_factory.mktemp("values") / "run"
    base = value_options()
    chosen = replace(
        base,
        model=CLASSES.model,
        training=replace(CLASSES.training, epochs=20),
        sweep=replace(CLASSES.sweep, l2=(0.0,)),
    )
    runs.train(folder, runs.Plan(sentiments, chosen, (*BOTH, "svr")), mesh)
    runs.open_test(folder, sentiments, mesh=mesh)
    return folder


@pytest.fixture(scope="session")
def options():
    return CLASSES


@pytest.fixture(scope="session")
def time_options():
    base = continuous_options()
    return replace(
        base,
        model=Architecture(hidden_size=6),
        training=TrainingOptions(epochs=3, batch_size=8),
        sequences=replace(base.sequences, window=32, hop=16),
        sweep=SweepOptions(
            alphas=(0.0, 0.5), seeds=(0, 1), delays=(0.0, 0.4), save_every_seconds=0.0
        ),
        systems=replace(
            CLASSES.systems,
            svr_complexities=(0.01,),
            svr_windows=(2.0,),
            svr_delays=(0.0,),
        ),
    )


@pytest.fixture(scope="session")
def trained(small, options, mesh, tmp_path_factory):
    """A finished run of both systems on the corpus's own split."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    runs.train(folder, runs.Plan(small, options, BOTH), mesh)
    return folder


@pytest.fixture(scope="session")
def trained_series(series, time_options, mesh, tmp_path_factory):
    """A finished run over time, with test opened."""
    folder = tmp_path_factory.mktemp("series") / "run"
    runs.train(folder, runs.Plan(series, time_options, BOTH), mesh)
    runs.open_test(folder, series, mesh=mesh)
    return folder


def contents(run):
    """{path: bytes} of a run, without its shares, times and durations."""
    found = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = str(path.relative_to(run))
        if name.startswith("shares/") or path.name in UNLIKE:
            continue
        data = path.read_bytes()
        if path.name in ("config.json", "checkpoint.json"):
            facts = json.loads(data)
            facts.pop("provenance", None)
            data = json.dumps(facts).encode()
        found[name] = b"" if path.name == "manifest.json" else data
    return found


@pytest.fixture(scope="session")
def assert_same_runs():
    """All files alike, except for times and durations."""

    def check(run, other):
        mine, theirs = contents(run), contents(other)
        assert mine.keys() == theirs.keys()
        assert any(name.endswith("arrays.safetensors") for name in mine)
        differing = [name for name in mine if mine[name] != theirs[name]]
        assert not differing, differing

    return check

"""A run directory drawn at random, in the form the shell writes it."""

import json

import numpy as np
import pandas as pd
import pytest

from ifusion.evaluation.scores import (
    BASELINE,
    IMPLICIT_FUSION,
    LANE,
    score_predictions,
)

CLASSES = ("anger", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def skill(main, alpha, gain):
    """Probability of a right answer; gain at alpha = .5 over alpha = 0."""
    start = {"audio": 0.52, "video": 0.6}.get(main, 0.4)
    bump = 0.0 if alpha == 0 else 1 - ((alpha - 0.5) / 0.6) ** 2
    return start + gain * bump


def fake_predictions(
    partition, folds, mains, alphas, seeds, classes, gain, num_recordings=96
):
    """Predictions of every lane; speakers differ in how easy they are."""
    rng = np.random.default_rng(len(partition))
    frames = []
    for fold in range(len(folds)):
        speakers = [f"{partition}-{fold}-{s}" for s in range(8)]
        ease = 0.08 * rng.standard_normal(8)
        who = np.arange(num_recordings) % 8
        weights = np.arange(1.0, len(classes) + 1)
        labels = rng.choice(len(classes), num_recordings, p=weights / weights.sum())
        luck = rng.random((len(seeds), num_recordings))
        for main in mains:
            for alpha in alphas:
                for s, seed in enumerate(seeds):
                    noise = rng.random(num_recordings)
                    chance = skill(main, alpha, gain) + ease[who]
                    right = np.where(noise < 0.85, luck[s], noise / 2) < chance
                    other = (labels + rng.integers(1, len(classes))) % len(classes)
                    guesses = np.where(right, labels, other)
                    frames.append(
                        pd.DataFrame(
                            {
                                "fold": folds[fold],
                                "partition": partition,
                                "main": main,
                                "target": "emotion",
                                "alpha": alpha,
                                "seed": seed,
                                "recording": [
                                    f"{partition}-{fold}-{i:03d}"
                                    for i in range(num_recordings)
                                ],
                                "speaker": np.array(speakers)[who],
                                "label": np.array(classes)[labels],
                                "prediction": np.array(classes)[guesses],
                                **{f"p_{c}": 1 / len(classes) for c in classes},
                            }
                        )
                    )
    return pd.concat(frames, ignore_index=True)


def fake_history(folds, mains, alphas, seeds, epochs):
    """Falling losses and rising dev scores."""
    rng = np.random.default_rng(3)
    frames = []
    for fold in folds:
        for main in mains:
            for alpha in alphas:
                for seed in seeds:
                    epoch = np.arange(1, epochs + 1)
                    curve = np.exp(-epoch / (4 + rng.random()))
                    frame = pd.DataFrame(
                        {
                            "fold": fold,
                            "main": main,
                            "target": "emotion",
                            "alpha": alpha,
                            "seed": seed,
                            "epoch": epoch,
                            "loss": 0.3 + 1.6 * curve,
                        }
                    )
                    for m in mains:
                        trained = m == main or alpha > 0
                        frame[f"loss_{m}"] = 0.3 + 1.6 * curve if trained else 1.95
                    noise = 0.01 * rng.standard_normal(epochs)
                    frame["dev_score"] = skill(main, alpha, 0.04) - 0.4 * curve + noise
                    peak = frame["dev_score"].cummax().diff().fillna(1) > 0
                    frame["best"] = peak
                    frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def fake_corpus(folds, mains, classes):
    counts = {c: 10 * (i + 1) for i, c in enumerate(classes)}
    part = {"recordings": sum(counts.values()), "speakers": 14, "classes": counts}
    held = {"recordings": 96, "speakers": 8}
    return {
        "name": "fake <corpus>",
        "task": "classification",
        "classes": list(classes),
        "licence": "CC BY-NC-SA 4.0",
        "citation": "A. Author, A made-up corpus, 2026.",
        "notes": ["3 utterances have no features: a, b, c."],
        "warnings": ["audio: the feature f0 is constant in train."],
        "features": dict.fromkeys(mains, 88),
        "partitions": {f: {"train": part, "dev": held, "test": held} for f in folds},
    }


@pytest.fixture(scope="session")
def make_run(tmp_path_factory):
    """Returns a function that writes a run directory and returns its path."""

    def make(
        folds=("fixed",),
        mains=("audio", "video"),
        alphas=(0.0, 0.5, 1.0),
        seeds=(0, 1, 2),
        classes=CLASSES,
        partitions=("dev",),
        gain=0.1,
        epochs=6,
        failed=None,
    ):
        lanes = (folds, mains, alphas, seeds)
        predictions = pd.concat(
            [fake_predictions(p, *lanes, classes, gain) for p in partitions],
            ignore_index=True,
        )
        scores = score_predictions(predictions, classes)
        system = np.where(scores["alpha"] == 0, BASELINE, IMPLICIT_FUSION)
        scores.insert(1, "system", system)
        if failed is not None:  # a query that names lanes
            lost = scores.query(failed).index
            scores.loc[lost, "value"] = np.nan
            keys = [*LANE]
            gone = scores.loc[lost, keys].drop_duplicates()
            merged = predictions.merge(gone, on=keys, how="left", indicator=True)
            predictions = predictions[(merged["_merge"] == "left_only").to_numpy()]
        run = tmp_path_factory.mktemp("run") / "fake"
        run.mkdir()
        config = {
            "corpus": {"name": "fake", "path": None},
            "training": {"learning_rate": 1e-3, "epochs": epochs},
            "sweep": {"mains": list(mains), "alphas": list(alphas)},
            "evaluation": {"metric": "micro_f1", "cluster": "speaker"},
            "provenance": {"ifusion": "0.1.0", "device": "cpu"},
        }
        (run / "config.json").write_text(json.dumps(config))
        corpus = fake_corpus(folds, mains, classes)
        (run / "corpus.json").write_text(json.dumps(corpus))
        scores.to_csv(run / "scores.csv", index=False)
        predictions.to_csv(run / "predictions.csv", index=False)
        history = fake_history(*lanes, epochs)
        history.to_csv(run / "history.csv", index=False)
        return run

    return make

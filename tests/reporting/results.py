"""Small results, built in memory: their raw predictions are at hand for the tests."""

from itertools import product

import numpy as np
import pandas as pd

from ifusion.evaluation.agreement import recording_moments
from ifusion.evaluation.outcomes import Outcomes
from ifusion.evaluation.result import Entry, Result
from ifusion.evaluation.traces import Traces, encode_traces

CLASSES = ("calm", "tense", "$x_1$")
TARGETS = ("arousal", "valence")  # of a regression
ALPHAS = (0.0, 0.5, 1.0)
SEEDS = (0, 1)
FRAMES = 30  # of a recording
ENTRIES = {
    entry.key: entry
    for entry in (
        Entry("svm", "SVM", "[23]", seeded=False),
        Entry("baseline", "RNN (baseline)"),
        Entry("early_fusion", "Early fusion", explicit=True),
        Entry("implicit_fusion", "RNN (implicit fusion)"),
        Entry("control_noise", "Implicit fusion, $noise$", control="information"),
        Entry("cnn", "CNN", "[23]", impossible="needs frames"),
    )
}
ALL = tuple(ENTRIES)
PAIR = ("baseline", "implicit_fusion")


def list_predictors(system, targets, processings, chosen):
    """Rows of predictors of a system; alpha = `chosen` is chosen of implicit fusion."""
    mains = ["audio+video"] if ENTRIES[system].explicit else ["audio", "video"]
    fused = system == "implicit_fusion"
    alphas = ALPHAS if fused else (0.0,) if system == "baseline" else (np.nan,)
    rows = [
        {
            "main": main,
            "target": target,
            "seed": seed,
            "setting": f"alpha = {alpha:g}" if fused else "",
            "alpha": alpha,
            "given": given,
            "processing": processing,
            "chosen": not fused or alpha == chosen,
            "failed": False,
        }
        for main, target, alpha, processing in product(
            mains, targets, alphas, processings
        )
        for given in dict.fromkeys([main, *main.split("+")])
        for seed in (SEEDS if ENTRIES[system].seeded else (0,))
    ]
    return pd.DataFrame(rows)


def list_recordings(fold, partition, size):
    names = [f"{partition} {fold} {i:02d}" for i in range(size)]
    speakers = [f"{partition} {fold} speaker {i % 8}" for i in range(size)]
    return pd.DataFrame({"recording": names, "speaker": speakers})


def guess_classes(rng, predictors, labels):
    """(P, N): right more often the larger alpha."""
    right = rng.random((len(predictors), len(labels)))
    skill = 0.5 + 0.3 * predictors["alpha"].fillna(0).to_numpy()[:, None]
    wrong = rng.integers(1, len(CLASSES), right.shape)
    return np.where(right < skill, labels, (labels + wrong) % len(CLASSES))


def guess_frames(rng, predictors, labels):
    """(P, R): nearer to the labels the larger alpha, and post-processed."""
    scale = 1.2 - 0.5 * predictors["alpha"].fillna(0)
    scale = scale - 0.3 * (predictors["processing"] == "post-processed")
    noise = rng.standard_normal((len(predictors), len(labels)))
    return 0.8 * labels + scale.to_numpy()[:, None] * noise


def make_result(
    task="classification",
    systems=PAIR,
    folds=("0",),
    partitions=("dev", "test"),
    chosen=0.5,
    labelled=True,
    folder=None,
):
    """Builds a result; each system of several folds chooses the same alpha."""
    regression = task == "regression"
    targets = TARGETS if regression else ("emotion",)
    size = 6 if regression else 24
    rng = np.random.default_rng(5)
    outcomes, paths = [], []
    for fold, partition in product(folds, partitions):
        recordings = list_recordings(fold, partition, size)
        processings = ("raw", "post-processed") if regression else ("",)
        offsets = np.arange(size + 1) * FRAMES
        gold = {t: rng.standard_normal(size * FRAMES).cumsum() / 5 for t in targets}
        labels = rng.integers(0, len(CLASSES), size).astype(np.int16)
        labels[:2] = -1 if labelled else labels[:2]
        for system in systems:
            if ENTRIES[system].impossible:
                continue
            predictors = list_predictors(system, targets, processings, chosen)
            if regression:
                frames = [
                    guess_frames(rng, predictors.iloc[[i]], gold[target])[0]
                    for i, target in enumerate(predictors["target"])
                ]
                moments = [
                    recording_moments(x, gold[target], offsets)
                    for x, target in zip(frames, predictors["target"], strict=True)
                ]
                values, known = np.stack(moments), None
            else:
                values = guess_classes(rng, predictors, labels).astype(np.int16)
                known = labels if labelled or partition == "dev" else labels * 0 - 1
            outcomes.append(
                Outcomes(fold, system, partition, predictors, recordings, values, known)
            )
        if folder is not None and partition == partitions[-1]:
            path = folder / f"{fold}-{partition}.safetensors"
            path.write_bytes(make_traces(rng, fold, partition, recordings, gold))
            paths.append(path)
    config = {
        "folds": list(folds),
        "evaluation": {
            "metric": "ccc_pooled" if regression else "uar",
            "cluster": "speaker",
            "convention": "population",
        },
        "training": {"delay_scoring": "original"},
        "sweep": {"tune": "baseline"},
        "provenance": {"ifusion": "1.2", "device": "cpu <0>"},
    }
    if regression:
        config["postprocessing"] = {"steps": ["median", "centre"]}
    counts = {"recordings": size, "speakers": 8}
    counts |= {"frames": size * FRAMES} if regression else {}
    train = {} if regression else {"classes": {"calm": 3, "tense": 9, "$x_1$": 4}}
    corpus = {
        "name": "toy & co",
        "task": task,
        "classes": [] if regression else list(CLASSES),
        "targets": list(targets),
        "frame_step": 0.04 if regression else None,
        "licence": "CC0",
        "citation": "Nobody (2026)",
        "notes": ["a note"],
        "warnings": ["speakers overlap"],
        "features": {"audio": 4, "video": 3},
        "partitions": {
            fold: {"train": counts | train, "dev": counts, "test": counts}
            for fold in folds
        },
    }
    opened = {"time": "2026-11-29T21:23:00", "partition": "test", "opened_before": 0}
    candidates, more = list_candidates(outcomes), {}
    if regression:
        more = {"tuning": list_tuning(folds, targets), "gains": list_gains(candidates)}
    return Result(
        name="toy",
        config=config,
        corpus=corpus,
        systems=tuple(ENTRIES[key] for key in systems),
        outcomes=tuple(outcomes),
        candidates=candidates,
        history=list_history(candidates),
        seconds=candidates[["fold", "system"]].drop_duplicates().assign(seconds=90.0),
        traces=tuple(paths),
        openings=(opened,) if "test" in partitions else (),
        **more,
    )


def list_candidates(outcomes):
    parts = [
        each.predictors.assign(fold=each.fold, system=each.system)
        for each in outcomes
        if each.partition == "dev"
    ]
    keys = ["fold", "system", "main", "target", "seed", "setting", "alpha", "chosen"]
    frame = pd.concat(parts)[keys].drop_duplicates().reset_index(drop=True)
    score = 0.5 + frame["alpha"].fillna(0) / 10 + frame["seed"] / 100
    return frame.assign(
        delay=0, parameters=1234, best_epoch=2, failed_step=-1, dev_score=score
    )


def list_history(candidates):
    curve = candidates[candidates["system"].isin(PAIR)]
    parts = [
        curve.drop(columns="dev_score").assign(
            epoch=epoch,
            loss=1 / epoch,
            loss_audio=1 / epoch,
            loss_video=0.5 / epoch,
            dev_score=curve["dev_score"] * epoch / 3,
            best=epoch == 2,
        )
        for epoch in (1, 2, 3)
    ]
    return pd.concat(parts, ignore_index=True)


def list_tuning(folds, targets):
    cells = product(folds, ("audio", "video"), targets, (0, 10, 20))
    frame = pd.DataFrame(cells, columns=["fold", "main", "target", "delay"])
    delay = frame["delay"]
    return frame.assign(
        alpha=0.0,
        seed=0,
        l2=0.0,
        delay_seconds=0.04 * delay,
        dev_score=0.5 - abs(delay - 10) / 50,
        chosen=delay == 10,
    )


def list_gains(candidates):
    keys = ["fold", "system", "main", "target", "setting", "alpha", "seed"]
    curve = candidates.loc[candidates["system"].isin(PAIR), keys]
    median = curve.assign(step="median", value=0.4, before=0.5, after=0.6, kept=True)
    centre = curve.assign(step="centre", value=0.1, before=0.6, after=0.55, kept=False)
    return pd.concat([median, centre], ignore_index=True)


def make_traces(rng, fold, partition, recordings, gold):
    size = len(recordings)
    cells = product(PAIR, ("audio", "video"), gold, SEEDS)
    lanes = pd.DataFrame(cells, columns=["system", "main", "target", "seed"])
    alpha = lanes["system"].map({"baseline": 0.0, "implicit_fusion": 0.5})
    lanes = lanes.assign(alpha=alpha, ahead=0)
    frames = [
        gold[t] + 0.3 * rng.standard_normal(size * FRAMES) for t in lanes["target"]
    ]
    offsets = np.arange(size + 1) * FRAMES
    raters = {
        (t, 0): np.stack([x - 1, x + 1]).astype(np.float32) for t, x in gold.items()
    }
    return encode_traces(
        Traces(
            fold=fold,
            partition=partition,
            frame_step=0.04,
            recording=recordings["recording"].to_numpy(),
            offsets=offsets,
            lanes=lanes,
            raw=np.array(frames, np.float32),
            processed=np.array(frames, np.float32),
            gold={(t, 0): x.astype(np.float32) for t, x in gold.items()},
            raters=raters,
            extents=np.tile([0, 0, FRAMES], (size, 1)),
        )
    )

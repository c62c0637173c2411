"""A result as tables: those of the paper, and those beyond it.

`choices` and `differences` are numbers, one fact a row. The other tables are text, laid
out as they are printed: scores of a classification in %, of a regression as
coefficients, mean ± standard deviation over seeds, all folds pooled.

Axes: S seeds, K classes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import JOIN
from ifusion.evaluation.metrics import constant_class_scores, f1_per_class
from ifusion.evaluation.outcomes import RAW, Outcomes, keep_predictors
from ifusion.evaluation.result import BASELINE, IMPLICIT_FUSION, Result, take_cell
from ifusion.reporting import paper
from ifusion.reporting.wording import (
    METRIC_TITLES,
    NOTHING,
    axis_title,
    count,
    difference_interval,
    duration,
    notation,
    p_value,
    score_interval,
)

CCC = ("ccc_pooled", "ccc_recordings")  # the paper does not say which its own is
GROUP = ["system", "main", "target"]


def choices(result: Result) -> pd.DataFrame:
    """Lists what dev chose for each fold, system, main and target.

    Example:
      >>> choices(result).query("system == 'implicit_fusion'")  # doctest: +SKIP
        fold           system   main   target      setting  alpha  dev_score  ...
      0    0  implicit_fusion  audio  emotion  alpha = 0.5    0.5      0.512  ...

    Returns:
      The columns fold, system, main, target, setting, alpha, dev_score and
      baseline_dev_score (means over seeds); where settings were tried, l2 and
      delay_seconds of the baseline and of implicit fusion. dev_score is NaN where
      training diverged at every setting.
    """
    keys = ["fold", *GROUP]
    listed = result.candidates
    cells = listed[keys].drop_duplicates()
    chosen = listed[listed["chosen"].astype(bool)].groupby(keys, sort=False)
    best = chosen.agg(
        setting=("setting", "first"),
        alpha=("alpha", "first"),
        dev_score=("dev_score", "mean"),
    ).reset_index()
    frame = cells.merge(best, on=keys, how="left")
    frame["setting"] = frame["setting"].fillna("")
    baseline = best.loc[best["system"] == BASELINE, ["fold", "main", "target"]].assign(
        baseline_dev_score=best["dev_score"]
    )
    frame = frame.merge(baseline, on=["fold", "main", "target"], how="left")
    return _with_settings(frame, result.tuning)


def _with_settings(frame: pd.DataFrame, tuning: pd.DataFrame) -> pd.DataFrame:
    """Adds the penalty and delay that the chosen lanes were trained with."""
    names = [name for name in ("l2", "delay_seconds") if tuning[name].nunique() > 1]
    if not names:
        return frame
    keys = ["fold", "main", "target"]
    tried = tuning[tuning["chosen"].astype(bool)]
    tried = tried.drop_duplicates([*keys, "alpha"])[[*keys, "alpha", *names]]
    own = frame[[*keys, "alpha"]].merge(tried, on=[*keys, "alpha"], how="left")
    shared = frame[keys].merge(tried[tried["alpha"] == 0], on=keys, how="left")
    lanes = frame["system"].isin([BASELINE, IMPLICIT_FUSION])
    for name in names:  # those of alpha = 0 where each alpha has none of its own
        frame[name] = own[name].fillna(shared[name]).where(lanes)
    return frame


def differences(result: Result) -> pd.DataFrame:
    """Lists paired differences: systems minus the baseline, fusion minus controls.

    Example:
      >>> frame = differences(result)  # doctest: +SKIP
      >>> frame.query("system == 'implicit_fusion' and partition == 'test'")

    Returns:
      As `Result.differences`, with the cluster that was resampled.
    """
    return result.differences.assign(cluster=result.scorer.cluster)


def table1(result: Result) -> pd.DataFrame:
    """Lays out Table 1: the systems of a classification, the paper's beside.

    Example:
      >>> print(to_markdown(table1(result)))  # doctest: +SKIP

    Returns:
      A row a system: those of the paper that were not run, the class most frequent in
      train, and those of the run; a column a main and partition, the paper's, remarks.

    Raises:
      ValueError: the run is a regression.
    """
    if result.corpus["task"] != "classification":
        raise ValueError("Table 1 is of a classification; use table2 for a regression")
    metric, style = result.scorer.metric, notation(result.scorer.metric)
    columns = [(m, p) for m in result.mains for p in result.partitions]
    cells = _text_scores(result, ["system", "main", "partition"], metric)
    floor = f"constant class ({majority_class(result.corpus)})"
    constant = constants(result)
    constant = constant[constant["metric"] == metric].set_index(["system", "partition"])
    for main, partition in columns:
        value = constant["mean"].get((floor, partition), np.nan)
        cells[floor, main, partition] = style.score(value)
    theirs = {(x.system, x.main): style.score(x.value) for x in paper.SCORES1}
    run = {entry.key: entry.name for entry in result.systems}
    names = {key: paper.TITLES[key] for key in paper.TABLE1 if key not in run}
    said = remarks(result)
    rows = []
    for key, name in {**names, floor: floor, **run}.items():
        row = {axis_title(metric): name}
        for main, partition in columns:
            cell = cells.get((key, main, partition), NOTHING)
            row[f"{main}, {partition}"] = cell
        for main in ("audio", "video"):
            cell = theirs.get((key, main), NOTHING)
            row[f"{main} (paper, OMG-Emotion dev)"] = cell
        rows.append({**row, "remark": said.get(key, "")})
    return _without_empty(pd.DataFrame(rows), "remark")


def table2(result: Result, metric: str = "") -> pd.DataFrame:
    """Lays out Table 2: the paper's figures on RECOLA, and the run's below.

    Example:
      >>> print(to_markdown(table2(result)))  # doctest: +SKIP

    Args:
      result: of a regression.
      metric: of the cells; "" = the one that systems are compared by. The paper's rows
        stand by a CCC alone.

    Returns:
      A row a system, the baseline and implicit fusion also before post-processing; a
      column a target, main and partition; remarks.

    Raises:
      ValueError: the run is a classification.
    """
    if result.corpus["task"] != "regression":
        raise ValueError("Table 2 is of a regression; use table1 for a classification")
    metric = metric or result.scorer.metric
    style, title = notation(metric), METRIC_TITLES[metric]
    columns = [
        (target, main, partition)
        for target in result.targets
        for main in result.mains
        for partition in dict.fromkeys((*result.partitions, "test"))
    ]
    theirs = {
        (x.system, x.target, x.main, x.partition): style.score(x.value)
        for x in paper.SCORES2
    }
    keys = ["processing", "system", "target", "main", "partition"]
    cells = _text_scores(result, keys, metric)
    said = remarks(result)
    rows = []

    def add(name: str, found: Mapping[Any, str], key: tuple[str, ...]) -> None:
        row = {", ".join(c): found.get((*key, *c), NOTHING) for c in columns}
        rows.append({title: name, **row, "remark": said.get(key[-1], "")})

    for key in paper.TABLE2 if metric in CCC else ():
        add(f"paper: {paper.TITLES[key]}", theirs, (key,))
        rows[-1]["remark"] = ""
    for processing in dict.fromkeys([RAW, result.scorer.processing]):
        for entry in result.systems:
            if processing == result.scorer.processing or entry.key in (
                BASELINE,
                IMPLICIT_FUSION,
            ):
                add(f"{entry.name}, {processing}", cells, (processing, entry.key))
    return _without_empty(pd.DataFrame(rows), "remark")


def comparison(result: Result) -> pd.DataFrame:
    """Lays out each system's score on the last partition, its evidence and its cost.

    Example:
      >>> comparison(result)[["system", "main", "p"]]  # doctest: +SKIP

    Returns:
      A row a system, main and target: score, its interval over seeds, the difference to
      the mono-modal baseline of the same main (of several, of the better one on dev),
      its interval and p-value, parameters that predicting needs, time of fitting all
      folds, what dev chose. Of a system without a score, why.
    """
    last, metric = result.partitions[-1], result.scorer.metric
    style, cluster = notation(metric), result.scorer.cluster
    frame, said = tidy_scores(result), remarks(result)
    frame = frame[
        (frame["partition"] == last)
        & (frame["metric"] == metric)
        & (frame["processing"] == result.scorer.processing)
        & (frame["given"] == frame["main"])
    ]
    rows = []
    for entry in result.systems:
        mine = frame[frame["system"] == entry.key].to_dict("records")
        for row in _in_order(result, mine):
            value = style.difference(row["difference"])
            if JOIN in row["main"] and isinstance(row["against"], str):
                value += f" (to {row['against']})"
            ends = {"low": row["difference_low"], "high": row["difference_high"]}
            rows.append(
                {
                    "system": entry.name,
                    **_place(result, row),
                    f"{last}{style.unit}": style.score(row["mean"], row["sd"]),
                    "95 % over seeds": score_interval(row, metric),
                    f"to baseline{style.difference_unit}": value,
                    "95 % interval": difference_interval(ends, metric),
                    "p": p_value(row["p_value"]),
                    f"{cluster}s": count(row["clusters"]),
                    "seeds": count(row["paired_seeds"]),
                    "parameters": (
                        NOTHING
                        if np.isnan(row["parameters"])
                        else f"{row['parameters']:,.0f}"
                    ),
                    "training": duration(row["training_seconds"]),
                    "setting": row["setting"] or NOTHING,
                    "remark": said[entry.key],
                }
            )
        if not mine:
            rows.append({"system": entry.name, "remark": said[entry.key]})
    return _without_empty(pd.DataFrame(rows).fillna(NOTHING), "remark")


def missing_modality(result: Result) -> pd.DataFrame:
    """Lays out what each system reaches on the last partition, given what.

    Example:
      >>> missing_modality(result)  # doctest: +SKIP

    Returns:
      A row a system, main and target, a column a set of modalities. A system of several
      modalities is given the train mean in place of what is missing.
    """
    metric, last = result.scorer.metric, result.partitions[-1]
    style, scores = notation(metric), result.scores
    scores = scores[
        (scores["partition"] == last)
        & (scores["metric"] == metric)
        & (scores["processing"] == result.scorer.processing)
    ]
    given = sorted(set(scores["given"]), key=lambda g: (-g.count(JOIN), g))
    rows = []
    for entry in result.systems:
        mine = scores[scores["system"] == entry.key]
        for row in _in_order(
            result, mine[["main", "target"]].drop_duplicates().to_dict("records")
        ):
            cell = mine[(mine["main"] == row["main"])]
            cell = cell[cell["target"] == row["target"]].set_index("given")
            found = {
                f"given {g}": style.score(*cell.loc[g, ["mean", "sd"]])
                if g in cell.index
                else NOTHING
                for g in given
            }
            rows.append({"system": entry.name, **_place(result, row), **found})
    return pd.DataFrame(rows)


def controls(result: Result) -> pd.DataFrame:
    """Lays out the gain of implicit fusion over each control on the last partition.

    Example:
      >>> controls(result)[["control", "a gain says"]]  # doctest: +SKIP

    Returns:
      A row a control, main and target, with what a gain says; empty where no control
      was run.
    """
    frame = control_differences(result)
    rows = []
    for entry in result.systems:
        mine = frame[frame["reference"] == entry.key].to_dict("records")
        for row in _in_order(result, mine):
            rows.append(
                {
                    "control": entry.name,
                    **_place(result, row),
                    **_difference_cells(result, row, "gain"),
                    "a gain says": entry.control,
                }
            )
    return pd.DataFrame(rows)


def control_differences(result: Result) -> pd.DataFrame:
    """Takes from `differences` implicit fusion minus controls, last partition."""
    frame = result.differences
    keys = {entry.key for entry in result.systems if entry.control}
    picked = (frame["system"] == IMPLICIT_FUSION) & frame["reference"].isin(keys)
    return frame[picked & (frame["partition"] == result.partitions[-1])]


def fusion_differences(result: Result) -> pd.DataFrame:
    """Takes from `differences` implicit fusion minus the baseline.

    Returns:
      Its rows, with the column name: of the main, or of target and main.
    """
    frame = result.differences
    frame = frame[
        (frame["system"] == IMPLICIT_FUSION) & (frame["reference"] == BASELINE)
    ]
    several = len(result.targets) > 1
    named = frame["target"] + " from " + frame["main"] if several else frame["main"]
    return frame.assign(name=named)


def fusion_table(result: Result) -> pd.DataFrame:
    """Lays out `fusion_differences` of every partition, a difference a row."""
    style = notation(result.scorer.metric)
    rows = [
        {
            "partition": "dev (optimistic)" if row["partition"] == "dev" else "test",
            **_place(result, row),
            **({"predictions": row["processing"]} if row["processing"] else {}),
            "chosen": row["setting"],
            f"baseline{style.unit}": style.score(row["reference_score"]),
            f"implicit fusion{style.unit}": style.score(row["score"]),
            **_difference_cells(result, row, "difference"),
            "verdict": row["verdict"],
        }
        for row in fusion_differences(result).to_dict("records")
    ]
    return pd.DataFrame(rows)


def metrics(result: Result, partition: str) -> pd.DataFrame:
    """Lays out every metric side by side, of systems and of constant classes."""
    scores = result.scores
    scores = scores[
        (scores["partition"] == partition) & (scores["given"] == scores["main"])
    ]
    names = {entry.key: entry.name for entry in result.systems}
    floor = constants(result)
    floor = floor[floor["partition"] == partition]
    floor = floor.assign(main="any", target=result.targets[0], processing="")
    keys = ["system", "main", "target", "processing"]
    rows = []
    order = {key: i for i, key in enumerate(names)}
    scores = scores.sort_values("system", key=lambda s: s.map(order), kind="stable")
    for (system, main, target, processing), mine in pd.concat([scores, floor]).groupby(
        keys, sort=False
    ):
        rows.append(
            {
                "system": names.get(str(system), system),
                **_place(result, {"main": main, "target": target}),
                **({"predictions": processing} if processing else {}),
                **{
                    axis_title(row["metric"]): notation(row["metric"]).score(
                        row["mean"], row["sd"]
                    )
                    for row in mine.to_dict("records")
                },
            }
        )
    return pd.DataFrame(rows)


def choice_table(result: Result) -> pd.DataFrame:
    """Lays out `choices` as text, without the baseline, which has none."""
    metric = result.scorer.metric
    style, frame = notation(metric), choices(result)
    names = {entry.key: entry.name for entry in result.systems}
    settings = {"l2": "l2", "delay_seconds": "delay [s]"}
    rows = []
    for row in frame.to_dict("records"):
        if row["system"] == BASELINE and not row["setting"] and len(names) > 1:
            continue
        gain = row["dev_score"] - row["baseline_dev_score"]
        failed = np.isnan(row["dev_score"])
        rows.append(
            {
                **({"fold": row["fold"]} if len(result.folds) > 1 else {}),
                "system": names.get(row["system"], row["system"]),
                **_place(result, row),
                "chosen": "none" if failed else row["setting"] or NOTHING,
                **{
                    title: NOTHING if np.isnan(row[name]) else f"{row[name]:g}"
                    for name, title in settings.items()
                    if name in row
                },
                f"dev score{style.unit}": style.score(row["dev_score"]),
                f"of the baseline{style.unit}": style.score(row["baseline_dev_score"]),
                f"gain on dev{style.difference_unit}": style.difference(gain),
            }
        )
    return pd.DataFrame(rows)


def gain_steps(result: Result) -> pd.DataFrame:
    """Averages dev scores before and after each step of the post-processing.

    Returns:
      The columns system, main, target, step ("raw" first), kept (share of candidates)
      and score (mean over folds and seeds), of the chosen baseline and implicit fusion.
    """
    keys = ["fold", *GROUP, "setting"]
    trials = result.gains.merge(result.settings[keys], on=keys)
    trials = trials[trials["system"].isin([BASELINE, IMPLICIT_FUSION])]
    rows: list[Any] = []
    for group, mine in trials.groupby(GROUP, sort=False):
        first = mine[mine["step"] == mine["step"].iloc[0]]
        rows.append((*group, RAW, 1.0, first["before"].mean()))
        kept = mine["kept"].astype(bool)
        reached = mine["after"].where(kept, mine["before"])
        for step, trial in mine.groupby("step", sort=False):
            share = kept[trial.index].mean()
            rows.append((*group, step, share, reached[trial.index].mean()))
    return pd.DataFrame(rows, columns=[*GROUP, "step", "kept", "score"])


def gain_table(result: Result) -> pd.DataFrame:
    """Lays out `gain_steps`: what each step brought, and how often it was kept."""
    style = notation(result.scorer.metric)
    names = {entry.key: entry.name for entry in result.systems}
    rows = []
    for (system, main, target), mine in gain_steps(result).groupby(GROUP, sort=False):
        place = {"main": main, "target": target}
        row = {"system": names[str(system)], **_place(result, place)}
        steps = mine.set_index("step")
        row[RAW] = style.score(steps["score"].iloc[0])
        gained = steps["score"].diff()
        for step in steps.index[1:]:
            kept = f"{100 * steps['kept'][step]:.0f} %"
            row[f"{step} (kept)"] = f"{style.difference(gained[step])} ({kept})"
        row["post-processed"] = style.score(steps["score"].iloc[-1])
        rows.append(row)
    return pd.DataFrame(rows)


def fold_means(result: Result) -> pd.DataFrame:
    """Lays out scores as means over folds, which weigh small folds as large ones."""
    parts = []
    for fold in result.folds:
        kept = [each for each in result.outcomes if each.fold == fold]
        scores = _chosen_scores(result, kept)
        parts.append(scores.assign(fold=fold))
    keys = ["system", "main", "target", "partition"]
    folds = pd.concat(parts).groupby([*keys, "seed"], sort=False)["value"]
    means = folds.mean()[folds.count() == len(result.folds)]
    style = notation(result.scorer.metric)
    rows: dict[Any, dict[str, str]] = {}
    for key, values in means.groupby(keys, sort=False):
        system, main, target, partition = map(str, key)
        name = next(e.name for e in result.systems if e.key == system)
        row = rows.setdefault(
            (system, main, target),
            {"system": name, **_place(result, {"main": main, "target": target})},
        )
        row[f"{partition}{style.unit}"] = style.score(values.mean(), values.std())
    return pd.DataFrame(list(rows.values()))


def _chosen_scores(result: Result, outcomes: Sequence[Outcomes]) -> pd.DataFrame:
    """Headline scores of chosen predictors given their main, a row a seed."""
    kept = keep_predictors(
        outcomes,
        lambda frame: (
            frame["chosen"]
            & (frame["given"] == frame["main"])
            & (frame["processing"] == result.scorer.processing)
        ),
    )
    scores = result.scorer.score(kept, ["main", "target", "seed"])
    return scores[scores["metric"] == result.scorer.metric]


def confusions(result: Result, partition: str) -> dict[tuple[str, str], np.ndarray]:
    """Counts confusions of the baseline and of implicit fusion.

    Returns:
      {(main, system): (S, K, K)}, rows labels and columns predictions.
    """
    found = {}
    sums, _ = result.scorer.measures[result.scorer.metric]
    for main in result.mains:
        for system in (BASELINE, IMPLICIT_FUSION):
            pooled = result.own.get((system, partition))
            if pooled is None:
                continue
            cell = take_cell(pooled, main, result.targets[0], "")
            if len(cell.values):
                owners = np.zeros(cell.values.shape[1], np.int64)
                found[main, system] = sums(cell.values, cell.labels, owners)[:, 0]
    return found


def class_table(result: Result, partition: str) -> pd.DataFrame:
    """Lays out the F1 of each class, a column a main and system."""
    style = notation(result.scorer.metric)
    classes = result.corpus["classes"]
    rows: dict[str, dict[str, Any]] = {name: {"class": name} for name in classes}
    for (main, system), counts in confusions(result, partition).items():
        f1 = f1_per_class(counts)
        sd = f1.std(0, ddof=1) if len(f1) > 1 else np.full(len(classes), np.nan)
        for k, name in enumerate(classes):
            rows[name]["labels"] = f"{counts[0, k].sum():.0f}"
            column = f"{main}, {system.replace('_', ' ')}{style.unit}"
            rows[name][column] = style.score(f1[:, k].mean(), sd[k])
    return pd.DataFrame(list(rows.values()))


def constants(result: Result) -> pd.DataFrame:
    """Scores whoever always names one class: the floor under every system.

    Returns:
      The columns system ("constant class (<name>)"), partition, metric, mean, sd and
      seeds; empty of a regression.
    """
    columns = ["system", "partition", "metric", "mean", "sd", "seeds"]
    classes, rows = result.corpus["classes"], []
    for partition in result.partitions:
        labels = {
            each.fold: each.labels[each.labels >= 0]
            for each in result.outcomes
            if each.partition == partition and each.labels is not None
        }
        if not labels:
            continue
        known = np.concatenate(list(labels.values())).astype(np.int64)
        for c, values in constant_class_scores(known, len(classes)).items():
            name = f"constant class ({classes[c]})"
            rows += [(name, partition, *item, np.nan, 0) for item in values.items()]
    return pd.DataFrame(rows, columns=columns)


def majority_class(corpus: Mapping[str, Any]) -> str:
    """Finds the class most frequent in train over all folds, the first of equals."""
    total: Counter[str] = Counter()
    for partitions in corpus["partitions"].values():
        total.update(partitions.get("train", {}).get("classes", {}))
    return str(max(corpus["classes"], key=lambda name: total[name]))


def remarks(result: Result) -> dict[str, str]:
    """Says what else to know of each system: {key: in words, or ""}."""
    said = {}
    folds: dict[str, set[str]] = {}
    for each in result.outcomes:
        folds.setdefault(each.partition, set()).add(each.fold)
    for entry in result.systems:
        mine = [each for each in result.outcomes if each.system == entry.key]
        scored = result.scores[result.scores["system"] == entry.key]
        found = {each.fold for each in mine if each.partition == "dev"}
        words = [entry.impossible] if entry.impossible else []
        if entry.explicit:
            words.append("needs all modalities at test time")
        if not entry.seeded:
            words.append("no seed changes it")
        if not entry.impossible and len(found) < len(result.folds):
            words.append(f"{len(found)} of {len(result.folds)} folds finished")
        elif not entry.impossible and scored.empty:
            words.append("diverged at every setting")
        elif len(scored) and not set(result.partitions) <= set(scored["partition"]):
            words.append("test not opened")
        said[entry.key] = "; ".join(words)
    return said


def tidy_scores(result: Result) -> pd.DataFrame:
    """Lists all scores of the run as numbers, with their evidence and cost.

    Returns:
      `Result.scores` with title; for the scores that systems are compared by,
      difference to the baseline, difference_low, difference_high, p_value, clusters,
      paired_seeds, against; parameters (median over folds and seeds), training_seconds,
      setting, and what the paper reports.
    """
    frame = result.scores
    keys = [*GROUP, "partition"]
    named = {
        "estimate": "difference",
        "low": "difference_low",
        "high": "difference_high",
        "seeds": "paired_seeds",
    }
    wanted = [*keys, *named, "p_value", "clusters", "against", "processing", "metric"]
    versus = result.differences[result.differences["reference"] == BASELINE]
    versus = versus[wanted].rename(columns=named).assign(given=versus["main"])
    on = [*keys, "processing", "metric", "given"]
    frame = frame.merge(versus, on=on, how="left")
    chosen = result.candidates[result.candidates["chosen"].astype(bool)]
    parameters = chosen.groupby(GROUP, sort=False)["parameters"].median()
    frame = frame.merge(parameters.reset_index(), on=GROUP, how="left")
    seconds = result.seconds.groupby("system")["seconds"].sum()
    frame["training_seconds"] = frame["system"].map(seconds).astype(float)
    settings = result.settings.groupby(GROUP, sort=False)["setting"]
    joined = settings.agg(lambda x: "; ".join(dict.fromkeys(x))).reset_index()
    frame = frame.merge(joined, on=GROUP, how="left")
    one = result.corpus["task"] == "classification"
    theirs = {
        (x.system, x.main, result.targets[0] if one else x.target, x.partition): x.value
        for x in (paper.SCORES1 if one else paper.SCORES2)
    }
    cells = frame[keys].itertuples(index=False, name=None)
    frame["paper"] = [theirs.get(cell, np.nan) for cell in cells]
    titles = {entry.key: entry.name for entry in result.systems}
    frame.insert(1, "title", frame["system"].map(titles))
    order = frame["system"].map({key: i for i, key in enumerate(titles)})
    return frame.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


def tidy_table(result: Result) -> pd.DataFrame:
    """Lists the numbers of Table 1 or 2, constant classes and the paper's among them.

    Returns:
      The columns source, system, title, main, target, partition, processing, metric,
      mean, sd and seeds.
    """
    scores = result.scores
    own = scores[scores["given"] == scores["main"]].assign(source="this run")
    names = {entry.key: entry.name for entry in result.systems}
    own["title"] = own["system"].map(names)
    floor = constants(result).assign(source="this run, constant class")
    one = result.corpus["task"] == "classification"
    theirs = pd.DataFrame(
        [x._asdict() for x in (paper.SCORES1 if one else paper.SCORES2)]
    ).rename(columns={"value": "mean"})
    source = f"paper, {'OMG-Emotion' if one else 'RECOLA'}"
    theirs = theirs.assign(
        source=source, metric="f1" if one else "ccc", seeds=0, sd=np.nan
    )
    theirs["title"] = theirs["system"].map(paper.TITLES)
    parts = [part for part in (own, floor, theirs) if len(part)]
    columns = ["source", "system", "title", "main", "target", "partition", "processing"]
    tidy = pd.concat(parts, ignore_index=True)
    return tidy[[*columns, "metric", "mean", "sd", "seeds"]]


def to_markdown(table: pd.DataFrame, left: Iterable[str] = ()) -> str:
    """Writes a table of text as Markdown, numbers to the right.

    Args:
      table: cells that print in one line.
      left: columns of text beside the first.

    Returns:
      The table, with a newline at its end.
    """
    texts = {*table.columns[:1], *left}
    lines = [
        [str(c) for c in table.columns],
        ["---" if c in texts else "---:" for c in table.columns],
        *([str(cell) for cell in row] for row in table.itertuples(index=False)),
    ]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def _text_scores(
    result: Result, keys: list[str], metric: str
) -> dict[tuple[Any, ...], str]:
    """Scores given their main as text, {values of keys: "51.2 ± 0.8"}."""
    frame = result.scores
    frame = frame[(frame["metric"] == metric) & (frame["given"] == frame["main"])]
    style = notation(metric)
    return {
        tuple(row[key] for key in keys): style.score(row["mean"], row["sd"])
        for row in frame.to_dict("records")
    }


def _place(result: Result, row: Mapping[Any, Any]) -> dict[str, str]:
    """The columns main and, where there are several, target."""
    several = len(result.targets) > 1
    return {"main": row["main"], **({"target": row["target"]} if several else {})}


def _in_order(result: Result, rows: list[Any]) -> list[Any]:
    """Sorts rows by target and main."""
    targets, mains = list(result.targets), list(result.mains)
    return sorted(
        rows, key=lambda row: (targets.index(row["target"]), mains.index(row["main"]))
    )


def _difference_cells(
    result: Result, row: Mapping[Any, Any], name: str
) -> dict[str, str]:
    style = notation(row["metric"])
    return {
        f"{name}{style.difference_unit}": style.difference(row["estimate"]),
        "95 % interval": difference_interval(row, row["metric"]),
        "p": p_value(row["p_value"]),
        f"{result.scorer.cluster}s": count(row["clusters"]),
        "seeds": count(row["seeds"]),
    }


def _without_empty(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Drops a column that says nothing."""
    empty = table[column].isin(["", NOTHING]).all()
    return table.drop(columns=column) if empty else table

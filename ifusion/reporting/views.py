"""A result as tables: those of the paper, and those beyond it.

`choices` and `differences` are numbers, one fact per row. The other tables are text to
print: scores in % for a classification, coefficients for a regression, mean ± standard
deviation over seeds, all folds pooled.

Axes: S seeds, K classes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import JOIN
from ifusion.evaluation.chance import best_of_many
from ifusion.evaluation.metrics import f1_per_class
from ifusion.evaluation.outcomes import RAW, counted
from ifusion.evaluation.result import (
    BASELINE_KEY,
    CONSTANT_KEY,
    FUSION_KEY,
    Result,
    take_cell,
)
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
from ifusion.terminal import printable

CCC = ("ccc_pooled", "ccc_recordings")  # the paper does not say which it uses
PAIR = (BASELINE_KEY, FUSION_KEY)
CHOICE_KEY = "control_choice"  # the best of as many baselines
GROUP = ["system", "main", "target"]
SETTINGS = {
    "l2": "l2",
    "delay_seconds": "delay [s]",
}  # settings that were tried, and their titles


def choices(result: Result) -> pd.DataFrame:
    """Lists what dev chose for each fold, system, main and target.

    Returns:
      Columns fold, system, main, target, setting, alpha, dev_score and
      baseline_dev_score (means over seeds); if settings were tried, l2 and
      delay_seconds of the baseline and of implicit fusion. dev_score is NaN if training
      diverged at every setting.
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
    baseline = best.loc[
        best["system"] == BASELINE_KEY, ["fold", "main", "target"]
    ].assign(baseline_dev_score=best["dev_score"])
    frame = frame.merge(baseline, on=["fold", "main", "target"], how="left")
    return _with_settings(frame, result.tuning)


def _with_settings(frame: pd.DataFrame, tuning: pd.DataFrame) -> pd.DataFrame:
    """Adds the penalty and delay of the chosen lanes."""
    names = [name for name in SETTINGS if tuning[name].nunique() > 1]
    if not names:
        return frame
    keys = ["fold", "main", "target"]
    tried = tuning[tuning["chosen"].astype(bool)]
    tried = tried.drop_duplicates([*keys, "alpha"])[[*keys, "alpha", *names]]
    own = frame[[*keys, "alpha"]].merge(tried, on=[*keys, "alpha"], how="left")
    shared = frame[keys].merge(tried[tried["alpha"] == 0], on=keys, how="left")
    lanes = frame["system"].isin(PAIR)
    for name in names:  # those of alpha = 0 if alphas have none of their own
        frame[name] = own[name].fillna(shared[name]).where(lanes)
    return frame


def differences(result: Result) -> pd.DataFrame:
    """Returns `Result.differences`, with a column for the name of the clusters."""
    return result.differences.assign(cluster=result.scorer.cluster)


def table1(result: Result) -> pd.DataFrame:
    """Lays out Table 1: systems of a classification, next to the paper's figures.

    Returns:
      One row per system: those of the paper that were not run, the most frequent class
      in train (unless the run has the system `constant`), and those of the run. One
      column per main and partition, then the paper's figures and remarks.

    Raises:
      ValueError: if the run is a regression.
    """
    if result.corpus["task"] != "classification":
        raise ValueError("Table 1 is for classification; use table2 for a regression")
    metric = result.scorer.metric
    floor = f"constant class ({majority_class(result.corpus)})"
    scores = pd.concat([result.scores.query("given == main"), constants(result)])
    scores = scores[scores["metric"] == metric]
    cells = _pivot(scores, ["system"], ["main", "partition"])
    columns = [(m, p) for m in result.mains for p in result.partitions]
    theirs = {(x.system, x.main): x.value for x in paper.SCORES1}
    names = {k: paper.TITLES[k] for k in paper.TABLE1 if k not in result.names}
    if CONSTANT_KEY not in result.names:
        names[floor] = floor
    said = remarks(result)
    rows = []
    for key, name in {**names, **result.names}.items():
        mine = cells.get((key,), {})
        row = {axis_title(metric): name}
        row |= {", ".join(c): mine.get(c, NOTHING) for c in columns}
        for main in ("audio", "video"):
            value = theirs.get((key, main), np.nan)
            row[f"{main} (paper, OMG-Emotion dev)"] = notation(metric).score(value)
        rows.append({**row, "remark": said.get(key, "")})
    return _tidy_up(rows)


def table2(result: Result, metric: str = "") -> pd.DataFrame:
    """Lays out Table 2: the paper's figures on RECOLA, with those of the run below.

    Cells show `metric`, by default the one that compares systems; the paper's rows
    appear only with a CCC.

    Returns:
      One row per system, for baseline and implicit fusion also before post-processing.
      One column per target, main and partition, then remarks.

    Raises:
      ValueError: if the run is a classification.
    """
    if result.corpus["task"] != "regression":
        raise ValueError("Table 2 is for regression; use table1 for a classification")
    metric = metric or result.scorer.metric
    place = ["target", "main", "partition"]
    partitions = dict.fromkeys((*result.partitions, "test"))
    columns = list(product(result.targets, result.mains, partitions))
    scores = result.scores.query("given == main")
    scores = scores[scores["metric"] == metric]
    cells = _pivot(scores, ["processing", "system"], place)
    theirs = pd.DataFrame(paper.SCORES2).assign(metric=metric, sd=np.nan)
    theirs = theirs.rename(columns={"value": "mean"}).assign(processing="paper")
    if metric in CCC and result.over_time:
        cells |= _pivot(theirs, ["processing", "system"], place)
    said = remarks(result)
    names = [("paper", key, f"paper: {paper.TITLES[key]}") for key in paper.TABLE2]
    for kind in dict.fromkeys([RAW, result.scorer.processing]):
        names += [(kind, e.key, f"{e.name}, {kind}") for e in result.systems]
    rows = []
    for kind, key, name in names:
        mine = cells.get((kind, key), {})
        compared = kind == result.scorer.processing
        if compared or (mine and (kind == "paper" or key in PAIR)):
            remark = said[key] if compared else ""
            row = {", ".join(c): mine.get(c, NOTHING) for c in columns}
            rows.append({METRIC_TITLES[metric]: name, **row, "remark": remark})
    return _tidy_up(rows)


def comparison(result: Result) -> pd.DataFrame:
    """Lays out each system's score on the last partition, its evidence and its cost.

    Returns:
      One row per system, main and target: score with its interval over seeds;
      difference to the mono-modal baseline of the same main (for several mains, of the
      one best on dev) with interval and p-values; number of parameters to predict with;
      time spent fitting all folds; what dev chose; or why there is no score.
    """
    last, metric = result.partitions[-1], result.scorer.metric
    style, said = notation(metric), remarks(result)
    frame = result.compared(tidy_scores(result), last).query("given == main")

    def cells(row: Mapping[Any, Any]) -> dict[str, str]:
        joint = JOIN in row["main"] and isinstance(row["against"], str)
        difference = {
            "estimate": row["difference"],
            "low": row["difference_low"],
            "high": row["difference_high"],
            "seeds": row["paired_seeds"],
        }
        evidence = _difference_cells(result, {**row, **difference}, "to baseline")
        if joint:
            evidence[f"to baseline{style.difference_unit}"] += f" (to {row['against']})"
        size = row["parameters"]
        return {
            f"{last}{style.unit}": style.score(row["mean"], row["sd"]),
            "95 % over seeds": score_interval(row, metric),
            **evidence,
            "parameters": NOTHING if np.isnan(size) else f"{size:,.0f}",
            "training": duration(row["training_seconds"]),
            "setting": row["setting"] or NOTHING,
            "remark": said[row["system"]],
        }

    rows: list[Any] = _lay_out(result, frame, cells).to_dict("records")
    for entry in result.systems:
        if entry.key not in set(frame["system"]):
            rows.append({"system": entry.name, "remark": said[entry.key]})
    order = [*result.names.values()]
    return _tidy_up(sorted(rows, key=lambda row: order.index(row["system"])))


def missing_modality(result: Result) -> pd.DataFrame:
    """Lays out each system's score on the last partition by the modalities it is given.

    Returns:
      One row per system, main and target, one column per set of modalities. The train
      mean replaces what is missing.
    """
    scores = result.compared(result.scores, result.partitions[-1])
    given = sorted(set(scores["given"]), key=lambda g: (-g.count(JOIN), g))
    found = _pivot(scores, GROUP, ["given"])
    return _lay_out(
        result,
        scores.drop_duplicates(GROUP),
        lambda row: {
            f"given {g}": found[tuple(row[k] for k in GROUP)].get((g,), NOTHING)
            for g in given
        },
    )


def controls(result: Result) -> pd.DataFrame:
    """Lays out the gain over each control on the last partition.

    Returns:
      One row per control, main and target, with what a gain would mean, and the system
      if it is not implicit fusion; empty if no control was run.
    """
    says = {entry.key: entry.control for entry in result.systems}
    frame = control_differences(result)
    others = bool((frame["system"] != FUSION_KEY).any())
    table = _lay_out(
        result,
        frame.rename(columns={"system": "of", "reference": "system"}),
        lambda row: {
            **({"gain of": result.names[row["of"]]} if others else {}),
            **_difference_cells(result, row, "gain"),
            "a gain says": says[row["system"]],
        },
    )
    return table.rename(columns={"system": "control"})


def control_differences(result: Result) -> pd.DataFrame:
    """Takes systems minus their controls on the last partition."""
    frame = result.compared(result.differences, result.partitions[-1])
    return frame[frame["reference"] != BASELINE_KEY]


def fusion_differences(result: Result) -> pd.DataFrame:
    """Takes implicit fusion minus the baseline.

    Returns:
      Rows of `differences`, with the column name: the main, or "target from main".
    """
    frame = result.differences.query(
        "system == @FUSION_KEY and reference == @BASELINE_KEY"
    )
    several = len(result.targets) > 1
    named = frame["target"] + " from " + frame["main"] if several else frame["main"]
    return frame.assign(name=named)


def fusion_table(result: Result) -> pd.DataFrame:
    """Lays out `fusion_differences` for every partition."""
    style = notation(result.scorer.metric)
    table = _lay_out(
        result,
        fusion_differences(result),
        lambda row: {
            "partition": "dev (optimistic)" if row["partition"] == "dev" else "test",
            **({"predictions": row["processing"]} if row["processing"] else {}),
            "chosen": row["setting"],
            f"baseline{style.unit}": style.score(row["reference_score"]),
            f"implicit fusion{style.unit}": style.score(row["score"]),
            **_difference_cells(result, row, "difference"),
            "verdict": row["verdict"],
        },
    )
    return table.drop(columns="system", errors="ignore")


def metrics(result: Result, partition: str) -> pd.DataFrame:
    """Lays out all metrics side by side, for systems and for constant classes."""
    floor = constants(result).drop_duplicates(["system", "partition", "metric"])
    scores = pd.concat([result.scores.query("given == main"), floor.assign(main="any")])
    scores = scores[scores["partition"] == partition]
    keys = [*GROUP, "processing"]
    found = _pivot(scores, keys, ["metric"])
    return _lay_out(
        result,
        scores.drop_duplicates(keys),
        lambda row: {
            **({"predictions": row["processing"]} if row["processing"] else {}),
            **{
                axis_title(metric): text
                for (metric,), text in found[tuple(row[k] for k in keys)].items()
            },
        },
    )


def choice_gains(result: Result, folds: bool = True) -> pd.DataFrame:
    """Estimates what choosing alone gives on dev: the best of many baselines over one.

    As many as there are alphas, each with as many seeds as an alpha has, are drawn from
    the baselines of the control of that name or, if it was not run, from the seeds of
    the baseline.

    Args:
      result: result of a run.
      folds: whether each fold chooses for itself; else dev scores are first averaged
        over folds.

    Returns:
      One row per main and target (and fold): mean, low and high (95 % range) of the
      gain, and the number of baselines drawn from; empty if no alpha was chosen or
      there are too few baselines.
    """
    frame, keys = result.candidates, ["fold", "main", "target"][not folds :]
    fused = frame[frame["system"] == FUSION_KEY]
    alphas, seeds = fused["alpha"].nunique(), fused["seed"].nunique()
    trained = [key for key in (CHOICE_KEY, BASELINE_KEY) if key in set(frame["system"])]
    own = frame[frame["system"].isin(trained[:1])]
    scores = own.groupby([*keys, "setting", "seed"], sort=False)["dev_score"].mean()
    rows = []
    for key, mine in scores.groupby(keys, sort=False):
        found = best_of_many(mine.to_numpy(), max(alphas, 1), max(seeds, 1))
        if alphas > 1 and not np.isnan(found.mean):
            place = dict(zip(keys, key, strict=True))
            rows.append({**place, **found._asdict(), "baselines": len(mine)})
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "baselines"])


def choice_table(result: Result) -> pd.DataFrame:
    """Lays out `choices` as text, without baselines that had no choice."""
    style, frame = notation(result.scorer.metric), choices(result)
    chance = choice_gains(result)
    frame = frame.merge(chance, on=["fold", "main", "target"], how="left")
    if len(result.systems) > 1:
        frame = frame[(frame["system"] != BASELINE_KEY) | (frame["setting"] != "")]

    def cells(row: Mapping[Any, Any]) -> dict[str, str]:
        failed = np.isnan(row["dev_score"])
        gain = row["dev_score"] - row["baseline_dev_score"]
        return {
            **({"fold": row["fold"]} if len(result.folds) > 1 else {}),
            "chosen": "none" if failed else row["setting"] or NOTHING,
            **{
                title: NOTHING if np.isnan(row[name]) else f"{row[name]:g}"
                for name, title in SETTINGS.items()
                if name in row
            },
            f"dev score{style.unit}": style.score(row["dev_score"]),
            f"of the baseline{style.unit}": style.score(row["baseline_dev_score"]),
            f"gain on dev{style.difference_unit}": style.difference(gain),
            **({"by choosing alone": _chance(result, row)} if len(chance) else {}),
        }

    return _lay_out(result, frame, cells)


def _chance(result: Result, row: Mapping[Any, Any]) -> str:
    if row["system"] != FUSION_KEY or np.isnan(row["mean"]):
        return NOTHING
    mean = notation(result.scorer.metric).difference(row["mean"])
    return f"{mean} ({difference_interval(row, result.scorer.metric)})"


def tuning_table(result: Result) -> pd.DataFrame:
    """Lays out the mean dev score of each setting, and marks the chosen one.

    Returns:
      One row per fold, main, target and alpha, one column per setting; empty if there
      was only one setting.
    """
    tuning, style = result.tuning, notation(result.scorer.metric)
    varied = [name for name in SETTINGS if tuning[name].nunique() > 1]
    keys = ["fold", "main", "target", "alpha"]
    shown = [name for name in keys if tuning[name].nunique() > 1 or name == "main"]
    rows: dict[Any, dict[str, str]] = {}
    for key, mine in tuning.groupby([*keys, *varied], sort=False) if varied else ():
        place = dict(zip(keys, key, strict=False))
        row = {name: str(place[name]) for name in shown}
        values = zip(varied, key[len(keys) :], strict=True)
        setting = ", ".join(f"{SETTINGS[name]} = {value:g}" for name, value in values)
        text = style.score(mine["dev_score"].mean(skipna=False))
        mark = " (chosen)" if mine["chosen"].astype(bool).any() else ""
        rows.setdefault(key[: len(keys)], row)[setting] = text + mark
    return pd.DataFrame(list(rows.values())).fillna(NOTHING)


def gain_steps(result: Result) -> pd.DataFrame:
    """Averages dev scores before and after each step of the post-processing.

    Returns:
      Columns system, main, target, step ("raw" first), kept (share of candidates) and
      score (mean over folds and seeds), for the chosen baseline and implicit fusion.
    """
    keys = ["fold", *GROUP, "setting"]
    trials = result.gains.merge(result.settings[keys], on=keys)
    trials = trials[trials["system"].isin(PAIR)]
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
    """Lays out `gain_steps`: what each step gained and how often it was kept."""
    style, frame = notation(result.scorer.metric), gain_steps(result)

    def cells(row: Mapping[Any, Any]) -> dict[str, str]:
        steps = frame[(frame[GROUP] == [row[k] for k in GROUP]).all(axis=1)]
        steps = steps.assign(gain=steps["score"].diff())
        found = {RAW: style.score(row["score"])}
        for step in steps.iloc[1:].to_dict("records"):
            gain, kept = style.difference(step["gain"]), f"{100 * step['kept']:.0f} %"
            found[f"{step['step']} (kept)"] = f"{gain} ({kept})"
        return {**found, "post-processed": style.score(steps["score"].iloc[-1])}

    return _lay_out(result, frame[frame["step"] == RAW], cells)


def confusions(result: Result, partition: str) -> dict[tuple[str, str], np.ndarray]:
    """Counts confusions of the baseline and of implicit fusion.

    Returns:
      {(main, system): (S, K, K)}, rows labels and columns predictions.
    """
    found = {}
    sums, _ = result.scorer.statistics[result.scorer.metric]
    for main, system in product(result.mains, PAIR):
        if (system, partition) in result.own:
            pooled = result.own[system, partition]
            cell = take_cell(pooled, main, result.targets[0], "")
            if len(cell.values):
                owners = np.zeros(cell.values.shape[1], np.int64)
                found[main, system] = sums(cell.values, cell.labels, owners)[:, 0]
    return found


def class_table(result: Result, partition: str) -> pd.DataFrame:
    """Lays out the F1 of each class, one column per main and system."""
    table = pd.DataFrame({"class": result.corpus["classes"]})
    found = confusions(result, partition)
    same = len({tuple(counts[0].sum(1)) for counts in found.values()}) == 1
    for (main, system), counts in found.items():
        table["labels" if same else f"{main}, labels"] = counts[0].sum(1)
        f1 = f1_per_class(counts)
        sd = f1.std(0, ddof=1) if len(f1) > 1 else np.full(f1.shape[1], np.nan)
        style = notation("macro_f1")
        column = f"{main}, {system.replace('_', ' ')}{style.unit}"
        table[column] = list(map(style.score, f1.mean(0), sd))
    return table


def constants(result: Result) -> pd.DataFrame:
    """Scores predictions that always name one class, a floor for every system.

    Returns:
      Rows like those of `Result.scores`, for systems "constant class (<name>)" and each
      main; empty for a regression.
    """
    rows: list[Any] = []
    classes = result.corpus["classes"]
    for partition, main in product(result.partitions, result.mains):
        labels = {}
        for each in result.outcomes:
            frame = each.predictors
            own = ((frame["main"] == main) & (frame["given"] == main)).to_numpy()
            if each.partition == partition and each.labels is not None and own.any():
                known = counted(each.values[own], each.labels).any(axis=0)
                labels[each.fold] = each.labels[known]
        if not labels:
            continue
        joined = np.concatenate(list(labels.values()))
        guesses = np.arange(len(classes))[:, None].repeat(len(joined), axis=1)
        rows += [
            (f"constant class ({name})", main, partition, metric, value)
            for metric, values in result.scorer.values(guesses, joined).items()
            for name, value in zip(classes, values, strict=True)
        ]
    columns = ["system", "main", "partition", "metric", "mean"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(target=result.targets[0], processing="", sd=np.nan, seeds=0)


def majority_class(corpus: Mapping[str, Any]) -> str:
    """Finds the most frequent class in train over all folds, the first if equal."""
    total: Counter[str] = Counter()
    for partitions in corpus["partitions"].values():
        total.update(partitions.get("train", {}).get("classes", {}))
    return str(max(corpus["classes"], key=lambda name: total[name]))


def remarks(result: Result) -> dict[str, str]:
    """Says what else to know about each system, {key: sentence or ""}."""
    said = {}
    for entry in result.systems:
        scored = result.scores[result.scores["system"] == entry.key]
        found = {each.fold for each in result.outcomes if each.system == entry.key}
        words = [entry.impossible] if entry.impossible else []
        if entry.explicit:
            words.append("needs all modalities at test time")
        if not entry.seeded:
            words.append("deterministic")
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
      `Result.scores` with title; for scores that systems are compared by, difference to
      the baseline, difference_low, difference_high, p_value, p_holm, clusters,
      paired_seeds, against; parameters (median over folds and seeds), training_seconds,
      setting, and the paper's figure.
    """
    named = {
        "estimate": "difference",
        "low": "difference_low",
        "high": "difference_high",
        "seeds": "paired_seeds",
    }
    on = [*GROUP, "partition", "processing", "metric"]
    versus = result.differences[result.differences["reference"] == BASELINE_KEY]
    versus = versus[[*on, *named, "p_value", "p_holm", "clusters", "against"]]
    versus = versus.rename(columns=named).assign(given=versus["main"])
    chosen = result.candidates[result.candidates["chosen"].astype(bool)]
    parameters = chosen.groupby(GROUP, sort=False)["parameters"].median()
    seconds = result.seconds.groupby("system")["seconds"].sum()
    settings = result.settings.groupby(GROUP, sort=False)["setting"]
    frame = result.scores.merge(versus, on=[*on, "given"], how="left")
    frame = frame.merge(parameters.reset_index(), on=GROUP, how="left")
    frame["training_seconds"] = frame["system"].map(seconds).astype(float)
    joined = settings.agg(lambda names: "; ".join(dict.fromkeys(names)))
    frame = frame.merge(joined.reset_index(), on=GROUP, how="left")
    one = result.corpus["task"] == "classification"
    theirs = {
        (x.system, x.main, result.targets[0] if one else x.target, x.partition): x.value
        for x in (paper.SCORES1 if one else paper.SCORES2)
    }
    cells = pd.MultiIndex.from_frame(frame[[*GROUP, "partition"]])
    frame["paper"] = cells.map(theirs).astype(float)
    frame.insert(1, "title", frame["system"].map(result.names))
    return frame


def to_markdown(table: pd.DataFrame, left: Iterable[str] = ()) -> str:
    """Writes a table of one-line cells as Markdown, numbers aligned right.

    The first column and those in `left` are text.
    """
    texts = {*table.columns[:1], *left}
    lines = [
        [str(c) for c in table.columns],
        ["---" if c in texts else "---:" for c in table.columns],
        *([str(cell) for cell in row] for row in table.itertuples(index=False)),
    ]
    escaped = [[printable(cell).replace("|", "\\|") for cell in x] for x in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def _pivot(
    scores: pd.DataFrame, keys: Sequence[str], columns: Sequence[str]
) -> dict[tuple[Any, ...], dict[tuple[Any, ...], str]]:
    """Writes scores as text: {values of keys: {values of columns: "51.2 ± 0.8"}}."""
    found: dict[tuple[Any, ...], dict[tuple[Any, ...], str]] = {}
    for row in scores.to_dict("records"):
        cells = found.setdefault(tuple(row[key] for key in keys), {})
        text = notation(row["metric"]).score(row["mean"], row["sd"])
        cells[tuple(row[column] for column in columns)] = text
    return found


def _lay_out(
    result: Result,
    frame: pd.DataFrame,
    cells: Callable[[Mapping[Any, Any]], dict[str, str]],
) -> pd.DataFrame:
    """Sorts rows by system, target and main, and adds the `cells` of each row."""
    names = result.names
    orders = {"system": [*names], "target": result.targets, "main": result.mains}

    def place(row: Mapping[Any, Any]) -> list[int]:
        return [
            order.index(row[name]) if row[name] in order else len(order)
            for name, order in orders.items()
        ]

    several = len(result.targets) > 1
    rows = [
        {
            "system": names.get(row["system"], row["system"]),
            "main": row["main"],
            **({"target": row["target"]} if several else {}),
            **cells(row),
        }
        for row in sorted(frame.to_dict("records"), key=place)
    ]
    return pd.DataFrame(rows)


def _difference_cells(
    result: Result, row: Mapping[Any, Any], name: str
) -> dict[str, str]:
    style = notation(row["metric"])
    return {
        f"{name}{style.difference_unit}": style.difference(row["estimate"]),
        "95 % interval": difference_interval(row, row["metric"]),
        "p": p_value(row["p_value"]),
        "p (Holm)": p_value(row["p_holm"]),
        f"{result.scorer.cluster}s": count(row["clusters"]),
        "seeds": count(row["seeds"]),
    }


def _tidy_up(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Fills gaps, and drops the column of remarks if it is empty."""
    table = pd.DataFrame(rows).fillna(NOTHING)
    silent = table["remark"].isin(["", NOTHING]).all()
    return table.drop(columns="remark") if silent else table

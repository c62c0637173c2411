"""What the reports of all tasks share: the page, pictures in it, and its background."""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Literal

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from ifusion import __version__
from ifusion.evaluation.scores import BASELINE, IMPLICIT_FUSION
from ifusion.reporting.comparison_run import ComparisonRun
from ifusion.reporting.figures import render_figure
from ifusion.reporting.run import Run
from ifusion.reporting.wording import (
    count,
    evidence,
    few_clusters,
    headline,
    interval,
    notation,
    p_cell,
)

OPTIMISTIC: Mapping[str, str] = {"dev": "dev (optimistic)"}
SHORT_NAMES: Mapping[str, str] = {
    BASELINE: "baseline",
    IMPLICIT_FUSION: "implicit fusion",
}


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fills a template of this folder, which escapes all it is given."""
    folder = files("ifusion.reporting")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(context)


def comparison(differences: pd.DataFrame, last: str) -> dict[str, Any]:
    """What a report says of chosen alpha against alpha = 0.

    Args:
      differences: a row a partition and main (and target, and processing).
      last: partition of the headline.
    """
    newest = differences[differences["partition"] == last]
    return {
        "last": last,
        "headline": headline(newest, last),
        "evidence": [
            (row["main"], row["verdict"], evidence(row))
            for row in newest.to_dict("records")
        ],
        "differences": pd.DataFrame(
            map(_difference_row, differences.to_dict("records"))
        ),
        "few_clusters": few_clusters(differences, differences["cluster"].iloc[0]),
    }


def _difference_row(row: Mapping[Any, Any]) -> dict[str, str]:
    """A difference as text, a column a cell."""
    style = notation(row["metric"])
    return {
        "partition": OPTIMISTIC.get(row["partition"], row["partition"]),
        "main": row["main"],
        **({"predictions": row["processing"]} if "processing" in row else {}),
        "alpha": row["alphas"],
        f"baseline{style.unit}": style.score(row["baseline"], math.nan),
        f"implicit fusion{style.unit}": style.score(row["implicit_fusion"], math.nan),
        f"difference{style.difference_unit}": style.difference(row["estimate"]),
        "95 % interval": interval(row["low"], row["high"], style.difference),
        "p": p_cell(row["p_value"]),
        f"{row['cluster']}s": count(row["clusters"]),
        "seeds": count(row["seeds"]),
        "verdict": row["verdict"],
    }


def choice_table(choices: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The alpha chosen for each fold and main, and its dev score.

    Args:
      choices: of `choose_alpha`; a column of a further name is shown as it is, in
        front of alpha.
      metric: that alpha was chosen by.
    """
    style = notation(metric)
    known = {"fold", "main", "target", "alpha", "dev_score", "baseline_dev_score"}
    further = [name for name in choices.columns if name not in known]
    several = choices["target"].nunique() > 1
    return pd.DataFrame(
        [
            {
                "fold": row["fold"],
                "main": row["main"],
                **({"target": row["target"]} if several else {}),
                **{name: row[name] for name in further},
                "alpha": "none" if pd.isna(row["alpha"]) else f"{row['alpha']:g}",
                f"dev score{style.unit}": style.score(row["dev_score"], math.nan),
                f"dev score at alpha = 0{style.unit}": style.score(
                    row["baseline_dev_score"], math.nan
                ),
                f"gain on dev{style.difference_unit}": style.difference(
                    row["dev_score"] - row["baseline_dev_score"]
                ),
            }
            for row in choices.to_dict("records")
        ]
    )


def with_settings(choices: pd.DataFrame, tuning: pd.DataFrame) -> pd.DataFrame:
    """Adds the settings under which the chosen alpha, and alpha = 0, were trained.

    Args:
      choices: of `choose_alpha`.
      tuning: of the run, perhaps empty; of alpha = 0 alone, or of every alpha.

    Returns:
      The choices, with the columns "l2" and "delay [s]" where there was a choice, and
      the same "at alpha = 0" where that had one of its own.
    """
    named = {"l2": "l2", "delay_seconds": "delay [s]"}
    keys = ["fold", "main", "target"]
    chosen = tuning[tuning["chosen"].astype(bool)].drop_duplicates([*keys, "alpha"])
    for column, name in named.items():
        if tuning[column].nunique() < 2:
            continue
        text = chosen.assign(**{name: [f"{value:g}" for value in chosen[column]]})
        baseline = text.loc[text["alpha"] == 0, [*keys, name]]
        if (text["alpha"] == 0).all():
            choices = choices.merge(baseline, on=keys, how="left")
        else:
            own = text[[*keys, "alpha", name]]
            choices = choices.merge(own, on=[*keys, "alpha"], how="left")
            baseline = baseline.rename(columns={name: f"{name} at alpha = 0"})
            choices = choices.merge(baseline, on=keys, how="left")
    return choices


def background(run: Run | ComparisonRun) -> dict[str, Any]:
    """The corpus, the configuration and where the run comes from."""
    settings = {k: v for k, v in run.config.items() if k != "provenance"}
    partitions = [
        {
            "fold": fold,
            "partition": partition,
            "recordings": counts["recordings"],
            "speakers": counts["speakers"],
            **_labels(run, counts),
        }
        for fold, parts in run.corpus["partitions"].items()
        for partition, counts in parts.items()
    ]
    kind = "Classes" if run.corpus["task"] == "classification" else "Targets"
    names = ", ".join(run.corpus[kind.lower()])
    return {
        "version": __version__,
        "labels": f"{kind}: {names}.",
        "partitions": pd.DataFrame(partitions),
        "config": pd.DataFrame(_flatten(settings), columns=["entry", "value"]),
        "provenance": pd.DataFrame(
            _flatten(run.config.get("provenance", {})), columns=["what", "value"]
        ),
    }


def _labels(run: Run | ComparisonRun, counts: Mapping[str, Any]) -> dict[str, str]:
    """What is known of the labels of a partition."""
    if run.corpus["task"] == "classification":
        classes = counts.get("classes", {}).items()
        return {"classes": ", ".join(f"{name} {count}" for name, count in classes)}
    targets = counts.get("targets", {}).items()
    said = [f"{name} {t['mean']:.2f} ± {t['sd']:.2f}" for name, t in targets]
    return {"frames": str(counts["frames"]), "mean ± sd": ", ".join(said)}


def _flatten(
    nested: Mapping[str, Any], path: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Walks a nested mapping: ("training.epochs", "50"), ..."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, (*path, key))
        elif isinstance(value, list):
            yield ".".join((*path, key)), ", ".join(map(str, value))
        else:
            yield ".".join((*path, key)), str(value)


def draw_uri(figure: Figure, form: Literal["png", "svg"]) -> str:
    """A figure as an address that holds it."""
    kind = "svg+xml" if form == "svg" else form
    return data_uri(render_figure(figure, form), kind)


def data_uri(picture: bytes, kind: str) -> str:
    """A picture as an address that holds it, so that the page stands alone."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"

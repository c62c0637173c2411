"""The model card: what a model is made of, how good it is, what it is not for.

After Mitchell et al., Model Cards for Model Reporting, FAccT 2019.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ifusion import __version__
from ifusion.corpora.provenance import describe_provenance
from ifusion.evaluation.result import Result
from ifusion.experiment.runs import read_result
from ifusion.experiment.store import read_corpus_facts
from ifusion.inference.predictor import Predictor

CAUTION = (
    "It predicts how people in the corpus were labelled, not what anyone feels. Do not "
    "use it to decide about people, as in hiring, schools, policing, insurance, "
    "credit, medicine or at borders, or to observe anyone who does not know and agree; "
    "laws such as the EU AI Act forbid some of these uses. Languages, ages, cultures, "
    "microphones, cameras and situations other than those of the corpus are untested."
)


def describe_model(predictor: Predictor, run: Path) -> Predictor:
    """Adds to a predictor what its run directory knows about it.

    Returns:
      The predictor with `about`: corpus, licence, citation, partitions, scores (a row
      per target and metric: partition, mean over seeds, low and high end of the 95 %
      interval) and card.
    """
    corpus, result = read_corpus_facts(run), read_result(run)
    versions = result.config["provenance"]
    about: dict[str, Any] = {
        "title": next(x.title for x in result.systems if x.key == predictor.system),
        "corpus": corpus["name"],
        "licence": corpus["licence"],
        "citation": corpus["citation"],
        "partitions": corpus["partitions"],
        "scores": _scores(predictor, result),
        "versions": {
            k: v for k, v in versions.items() if k not in ("command", "devices")
        },
    }
    text = "\n".join(_card(predictor, about, result.scorer.metric))
    return replace(predictor, about={**about, "card": text})


def _scores(predictor: Predictor, result: Result) -> list[dict[Hashable, Any]]:
    """Takes the scores of the last open partition, means over seeds."""
    frame = result.scores
    mine = frame[
        (frame["system"] == predictor.system)
        & (frame["main"] == predictor.main)
        & (frame["given"] == predictor.main)
        & (frame["partition"] == result.partitions[-1])
        & (frame["processing"] == result.scorer.processing)
        & frame["target"].isin(predictor.targets)
    ]
    columns = ["target", "partition", "metric", "mean", "low", "high", "seeds"]
    rows = mine[columns].astype(object)
    return rows.where(rows.notna(), None).to_dict("records")


def _card(predictor: Predictor, about: Mapping[str, Any], metric: str) -> Iterator[str]:
    modalities, what = " and ".join(predictor.features), " and ".join(predictor.targets)
    if predictor.classes:
        what = f"the class of {what} ({', '.join(predictor.classes)})"
    each = "each frame" if predictor.frame_step else "each utterance"
    licence = about["licence"] or "not stated"
    yield f"# {about['title']}, from {modalities}\n"
    yield f"Predicts {what} of {each} from {modalities} alone; ifusion {__version__}.\n"
    yield "## Data\n"
    yield f"- Corpus: {about['corpus']}. Licence: {licence}."
    if about["citation"]:
        yield f"- Please cite: {about['citation']}"
    for fold, partitions in about["partitions"].items():
        counts = ", ".join(
            f"{name}: {x['recordings']} recordings of {x['speakers']} speakers"
            for name, x in partitions.items()
        )
        yield f"- Fold {fold}: {counts}."
        classes = partitions["train"].get("classes", {})
        if classes:
            listed = ", ".join(f"{name} {count}" for name, count in classes.items())
            yield f"  Train: {listed}."
    yield "\n## How good it is\n"
    yield from _score_lines(about["scores"], metric)
    yield "\n## What it is not for\n"
    yield CAUTION
    yield "\n## Parts\n"
    folds = dict.fromkeys(member.fold for member in predictor.members)
    yield (
        f"- Members, averaged: {len(predictor.members)} (seeds "
        f"{', '.join(map(str, predictor.seeds))}; folds {', '.join(folds)})."
    )
    for m, names in predictor.features.items():
        made = describe_provenance(predictor.provenance.get(m, {}))
        said = f": {made}" if made else ""
        yield f"- {len(names)} features of {m}, standardised inside{said}."
    if predictor.frame_step:
        yield f"- A frame every {predictor.frame_step:g} s."


def _score_lines(scores: list[dict[Hashable, Any]], metric: str) -> Iterator[str]:
    shown = [row for row in scores if row["metric"] == metric] or scores
    if not shown:
        yield "There are no scores."
    for row in shown:
        if row["mean"] is None:
            continue
        ends = "no interval, since there is one seed"
        if row["low"] is not None:
            interval = f"{row['low']:.3f} to {row['high']:.3f}"
            ends = f"95 % interval over {row['seeds']} seeds {interval}"
        place = row["partition"]
        if place == "dev":
            place += " (too good, since dev chose the model)"
        mean = f"{row['mean']:.3f}, {ends}"
        yield f"- {row['target']}, {row['metric']} on {place}: {mean}."
    if shown:
        yield "\nEach is the mean over single members; the model averages its members."

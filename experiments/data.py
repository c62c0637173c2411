"""From a config to a corpus and its splits."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ifusion.corpora.corpus import (
    Corpus,
    CorpusError,
    corpus_warnings,
    fingerprint,
    fold_names,
    fold_partition,
    require_partitions,
    rows_of,
    with_partition,
)
from ifusion.corpora.synthetic import SyntheticOptions, make_synthetic
from ifusion.evaluation.agreement import MOMENTS
from ifusion.reporting.run import read_json, require_kinds

FIXED = "fixed"  # the fold that is the corpus's own split
RESERVED = (
    *("fold", "main", "target", "alpha", "seed", "partition", "label"),
    *("prediction", "processing", *MOMENTS),
)


def open_corpus(section: ConfigDict) -> Corpus:
    """Reads the corpus that the section `corpus` of a config names."""
    options = section.to_dict()
    kind = options.pop("kind")
    entries = {
        "synthetic": tuple(field.name for field in fields(SyntheticOptions)),
        "ravdess": ("path", "classes", "impute", "units"),
        "omg": ("path", "audio", "video", "impute"),
        "folder": ("path", "impute", "tolerance"),
        "recola": (
            *("path", "targets", "features", "gold_standard", "raters", "recordings"),
            *("gold", "tolerance", "frame_step", "ignore", "impute"),
        ),
        "studyforrest": ("path", "hop", "window", "gold"),
    }
    for name in entries.get(kind, ()):
        if name not in options:
            raise ValueError(
                f"corpus.kind is {kind!r}, but this config has no corpus.{name}; use "
                f"configs/{kind}.py"
            )
    if kind == "synthetic":
        knobs = {name: options[name] for name in entries[kind]}
        return make_synthetic(SyntheticOptions(**knobs))
    if kind == "ravdess":
        from ifusion.corpora.ravdess import read_ravdess

        folder = _path_or_data(options["path"], "ravdess_av")
        return read_ravdess(
            folder, options["classes"], options["impute"], options["units"]
        )
    if kind == "omg":
        from ifusion.corpora.omg import read_omg

        paths = {m: options[m] for m in ("audio", "video")}
        for name in ("path", *paths):
            _require_entry(f"corpus.{name}", options[name])
        return read_omg(options["path"], paths, allow_nan=options["impute"])
    if kind == "folder":
        from ifusion.corpora.table import read_corpus

        _require_entry("corpus.path", options["path"])
        return read_corpus(options["path"], options["impute"], options["tolerance"])
    if kind == "recola":
        from ifusion.corpora.recola import RecolaFiles, read_recola

        _require_entry("corpus.path", options["path"])
        places = ("features", "gold_standard", "raters", "recordings")
        return read_recola(
            options["path"],
            tuple(options["targets"]),
            options["gold"],
            RecolaFiles(**{name: options[name] for name in places}),
            options["impute"],
            options["tolerance"],
            options["frame_step"],
            tuple(options["ignore"]),
        )
    if kind == "studyforrest":
        from ifusion.corpora.studyforrest import read_studyforrest

        folder = _path_or_data(options.pop("path"), "studyforrest_av")
        return read_studyforrest(folder, **options)
    raise ValueError(
        f"corpus.kind is {kind!r}; expected synthetic, omg, folder, "
        "ravdess, recola or studyforrest"
    )


def _require_entry(name: str, value: str) -> None:
    if not value:
        raise ValueError(f"--config.{name}=PATH is missing")


def _path_or_data(path: str, name: str) -> Path:
    if path:
        return Path(path)
    if "IFUSION_DATA" not in os.environ:
        raise ValueError(
            "this corpus is not shipped: set --config.corpus.path=DIR or the "
            f"environment variable IFUSION_DATA to the folder that holds {name}"
        )
    return Path(os.environ["IFUSION_DATA"]) / name


def split_corpus(corpus: Corpus, cross_validate: bool) -> dict[str, Corpus]:
    """Returns the corpus under each split: its own, or one a fold."""
    if not cross_validate:
        require_partitions(corpus)
        return {FIXED: corpus}
    return {
        name: with_partition(corpus, fold_partition(corpus, name))
        for name in _folder_names(fold_names(corpus))
    }


def _folder_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses fold names that cannot name a folder."""
    for name in names:
        if name.startswith(".") or set(name) & set("/\\"):
            raise CorpusError(f"fold {name!r} cannot name a folder; rename it")
    return names


def summarise_corpus(folds: Mapping[str, Corpus]) -> dict[str, Any]:
    """Describes a corpus and its splits; of test, counts of recordings alone."""
    corpus = next(iter(folds.values()))
    return {
        "name": corpus.name,
        "task": corpus.task,
        "classes": list(corpus.classes),
        "targets": list(corpus.targets),
        "frame_step": corpus.frame_step,
        "licence": corpus.licence,
        "citation": corpus.citation,
        "notes": list(corpus.notes),
        "warnings": warnings_of(folds),
        "features": {m: len(x.names) for m, x in corpus.modalities.items()},
        "fingerprints": {fold: fingerprint(split) for fold, split in folds.items()},
        "partitions": {
            fold: {p: _summarise(split, p) for p in ("train", "dev", "test")}
            for fold, split in folds.items()
        },
    }


def require_unchanged(path: Path, folds: Mapping[str, Corpus]) -> None:
    """Refuses a corpus that is another than that of the run.

    Args:
      path: corpus.json of the run.
      folds: the corpus under each split.

    Raises:
      ValueError: what lanes are trained and chosen on has changed.
    """
    summary = read_json(path, [])
    require_kinds(str(path), summary, {"fingerprints": dict})
    known = summary["fingerprints"]
    for fold, split in folds.items():
        if known.get(fold) != fingerprint(split):
            raise ValueError(
                f"{path}: recordings, labels or features of train or dev (fold {fold}) "
                f"are no longer those that the run was started with"
            )


def _summarise(corpus: Corpus, partition: str) -> dict[str, Any]:
    inside = corpus.partition == partition
    summary: dict[str, Any] = {
        "recordings": int(inside.sum()),
        "speakers": len(set(corpus.speaker[inside])),
    }
    if corpus.frame_step is not None:
        summary["frames"] = int(np.diff(corpus.offsets)[inside].sum())
    if partition == "test":
        return summary
    labels = corpus.labels[rows_of(corpus, np.flatnonzero(inside))]
    if corpus.classes:
        summary["classes"] = {
            name: int((labels == k).sum()) for k, name in enumerate(corpus.classes)
        }
    else:
        summary["targets"] = {
            name: {"mean": float(column.mean()), "sd": float(column.std())}
            for name, column in zip(
                corpus.targets, labels.T.astype(np.float64), strict=True
            )
        }
    return summary


def warnings_of(folds: Mapping[str, Corpus]) -> list[str]:
    """Lists the warnings of all splits, each once."""
    return list(dict.fromkeys(w for c in folds.values() for w in corpus_warnings(c)))


def cluster_column(corpus: Corpus, name: str) -> Any:
    """Returns the column that significance resamples: (N,) str."""
    columns = {"recording": corpus.recording, "speaker": corpus.speaker}
    columns |= {k: v for k, v in corpus.attributes.items() if k not in RESERVED}
    if name not in columns:
        raise CorpusError(
            f"evaluation.cluster is {name!r}; the columns of {corpus.name!r} are "
            f"{', '.join(columns)}"
        )
    return columns[name]

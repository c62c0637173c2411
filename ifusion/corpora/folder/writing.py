"""Writes a `Corpus` as a folder.

Axes: N recordings, R rows.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from ifusion.corpora.columns import require_feature_names
from ifusion.corpora.corpus import (
    Corpus,
    CorpusError,
    Frames,
    Modality,
    concatenated_ranges,
)
from ifusion.corpora.folder.labels import KEYS
from ifusion.corpora.provenance import write_provenance
from ifusion.corpora.tables.arrays import save_datasets
from ifusion.paths import expand_path

FORMATS = ("csv", "parquet", "npz", "npy", "h5")


def write_corpus(corpus: Corpus, folder: Path | str, features: str = "csv") -> None:
    """Writes a folder that `read_corpus` reads back exactly.

    The folder appears whole or not at all. The times of a recording start at 0. A
    recording without frames of a modality has no row in its table. `Corpus.files` is
    not written.

    Args:
      corpus: any corpus.
      folder: must not exist, or be empty.
      features: format of the feature files, one of `FORMATS`.

    Raises:
      CorpusError: the folder is not empty, a name cannot be a column, or the format is
        unknown.
    """
    if features not in FORMATS:
        raise CorpusError(f"format {features!r}, expected one of {FORMATS}")
    folder = expand_path(folder)
    require_new(folder)
    _check_names(corpus)
    with whole_folder(folder) as partial:
        _write_files(corpus, partial, features)


def require_new(folder: Path) -> None:
    """Checks that a folder can be created, before anything is read.

    Raises:
      CorpusError: it is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CorpusError("already exists and is not an empty folder", folder)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Creates a folder that appears whole or not at all.

    Yields:
      The path to write its files to.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            folder.rmdir()
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_names(corpus: Corpus) -> None:
    tables = corpus.frames or corpus.modalities
    columns = {
        "feature": [n for m in tables.values() for n in m.names],
        "target": [*corpus.targets, *corpus.raters],
        "attribute": list(corpus.attributes),
    }
    for kind, names in columns.items():
        for name in names:
            if name in KEYS or name != name.strip():
                raise CorpusError(
                    f"{kind} {name!r} cannot be a column: it must be none of "
                    f"{sorted(KEYS)} and not start or end with a blank"
                )
    require_feature_names(columns["feature"], columns["target"])


def _write_files(corpus: Corpus, folder: Path, features: str) -> None:
    tables = corpus.frames or corpus.modalities
    steps = {name: frames.step for name, frames in corpus.frames.items()}
    header = {
        "name": corpus.name,
        "task": corpus.task,
        **({"classes": list(corpus.classes)} if corpus.classes else {}),
        "targets": list(corpus.targets),
        **({"frame_step": corpus.frame_step} if corpus.frame_step else {}),
        **({"frame_steps": steps} if steps else {}),
        **({} if corpus.neutral is None else {"neutral": corpus.neutral}),
        "modalities": {name: len(m.names) for name, m in tables.items()},
        "licence": corpus.licence,
        "citation": corpus.citation,
        "notes": list(corpus.notes),
    }
    text = json.dumps(header, indent=2, ensure_ascii=False)
    (folder / "corpus.json").write_text(text + "\n", "utf-8")
    if corpus.provenance:
        write_provenance(folder, corpus.provenance)
    columns = {"partition": corpus.partition, "speaker": corpus.speaker}
    recordings = {"recording": corpus.recording, **columns, **corpus.attributes}
    write_columns(folder / "recordings.csv", recordings)
    keys = _key_columns(corpus)
    labels = {
        t: _named(corpus, t, corpus.labels[:, k]) for k, t in enumerate(corpus.targets)
    }
    write_columns(folder / "labels.csv", {**keys, **labels})
    if corpus.raters:
        write_columns(folder / "raters.csv", _rater_columns(corpus, keys))
    for name, modality in tables.items():
        path = folder / "features" / f"{name}.{features}"
        if isinstance(modality, Frames):
            own = {"recording": np.repeat(corpus.recording, modality.lengths)}
            own |= _places(modality.lengths, modality.step)
            write_features(path, own, modality)
        else:
            write_features(path, keys, modality)


def _key_columns(corpus: Corpus) -> dict[str, np.ndarray]:
    lengths = np.diff(corpus.offsets)
    keys = {"recording": np.repeat(corpus.recording, lengths)}
    if corpus.frame_step:
        keys |= _places(lengths, corpus.frame_step)
    return keys


def _places(lengths: np.ndarray, step: float | None) -> dict[str, np.ndarray]:
    """Orders the frames of recordings, by time [s] where their step is known."""
    frames = concatenated_ranges(np.zeros_like(lengths), lengths)
    if step is None:
        return {"step": frames}
    # rounded to the nanosecond: 0.12 reads better than 0.12000000000000001
    return {"time": np.round(frames * step, 9)}


def _named(corpus: Corpus, target: str, column: np.ndarray) -> np.ndarray:
    """Turns class indices into names, blank where unlabelled."""
    if not corpus.classes or target not in corpus.targets:
        return column
    codes = np.where(np.isnan(column), -1, column).astype(np.int64)
    return np.array([*corpus.classes, ""])[codes]


def _rater_columns(
    corpus: Corpus, keys: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    num = corpus.num_raters
    columns = {name: np.repeat(column, num) for name, column in keys.items()}
    columns["rater"] = np.tile(np.arange(num), corpus.num_rows)
    for target, ratings in corpus.raters.items():
        columns[target] = _named(corpus, target, ratings.reshape(-1))
    return columns


def write_columns(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Writes the columns of a table."""
    pd.DataFrame(columns).to_csv(path, index=False, lineterminator="\n")


def write_features(
    path: Path, keys: Mapping[str, np.ndarray], modality: Modality
) -> None:
    """Writes the R rows of a modality, in the format of the path, one of `FORMATS`.

    `keys` {column: (R,)} are the recording and the column that orders its rows.
    """
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".npy":
        _write_records(path, keys, modality)
    elif path.suffix in (".npz", ".h5"):
        names = np.array(modality.names)
        arrays = {**keys, "names": names, "values": modality.values}
        if path.suffix == ".npz":
            np.savez(path, allow_pickle=False, **arrays)
        else:
            save_datasets(path, arrays)
    else:
        values = pd.DataFrame(modality.values, columns=list(modality.names))
        frame = pd.concat([pd.DataFrame(dict(keys)), values], axis=1)
        if path.suffix == ".csv":
            frame.to_csv(path, index=False, lineterminator="\n")
        else:
            frame.to_parquet(path, index=False)


def _write_records(
    path: Path, keys: Mapping[str, np.ndarray], modality: Modality
) -> None:
    fields = [(name, column.dtype) for name, column in keys.items()]
    fields += [(name, np.dtype(np.float32)) for name in modality.names]
    records = np.empty(len(modality.values), fields)
    for name, column in keys.items():
        records[name] = column
    for i, name in enumerate(modality.names):
        records[name] = modality.values[:, i]
    with path.open("wb") as file:
        # version 2.0, or numpy warns that a long list of names needs it
        np.lib.format.write_array(file, records, (2, 0), allow_pickle=False)

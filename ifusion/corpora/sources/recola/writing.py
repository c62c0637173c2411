"""Writes a `Corpus` as AVEC distributes RECOLA.

Axes: T frames of one recording, R rows.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import (
    PARTITIONS,
    UNLABELLED,
    Corpus,
    CorpusError,
    require_file_name,
)
from ifusion.corpora.folder.writing import require_new
from ifusion.corpora.sources.recola.layout import (
    FORMATS,
    RATERS,
    RecolaFiles,
    Source,
    list_sources,
)
from ifusion.corpora.tables.arff import write_arff
from ifusion.paths import expand_path


def write_recola(
    corpus: Corpus,
    folder: Path | str,
    files: RecolaFiles | None = None,
    test_labels: bool = False,
) -> RecolaFiles:
    """Writes a corpus as AVEC distributes RECOLA; `read_recola` reads it back.

    Features and gold standard become ARFF, ratings CSV with `;`. Recordings are renamed
    train_1, ... in order, times start at 0, attributes are not written; of unlabelled
    recordings there are only features.

    Args:
      corpus: time-continuous regression with at most six raters, rated on its targets.
      folder: must not exist, or be empty.
      files: where the files go; its number of recordings is ignored.
      test_labels: whether to write labels and ratings of test too.

    Returns:
      `files` with the number of recordings of the largest partition.

    Raises:
      CorpusError: the corpus has no frames or too many raters, a target cannot name a
        folder, or the folder is not empty.
    """
    folder, files = expand_path(folder), files or RecolaFiles()
    if corpus.classes or corpus.frame_step is None:
        raise CorpusError(f"corpus {corpus.name!r} is not a time-continuous regression")
    if corpus.num_raters > len(RATERS):
        raise CorpusError(f"corpus {corpus.name!r} has more than {len(RATERS)} raters")
    require_new(folder)
    for target in corpus.targets:
        require_file_name("target", target)
    if set(files.features) != set(corpus.modalities):
        raise CorpusError(
            f"the modalities are {[*corpus.modalities]}, but files has patterns for "
            f"{[*files.features]}"
        )
    sources = list_sources(files, corpus.targets, "given")
    for target in set(corpus.targets) - set(corpus.raters):
        del sources[Source(target, "ratings")]
    counts = dict.fromkeys((*PARTITIONS, UNLABELLED), 0)
    answered = {"train", "dev", *(["test"] if test_labels else [])}
    lengths = np.diff(corpus.offsets)
    for i, partition in enumerate(corpus.partition.tolist()):
        counts[partition] += 1
        name = f"{partition}_{counts[partition]}"
        times = np.round(np.arange(lengths[i]) * corpus.frame_step, 9)
        rows = slice(*corpus.offsets[i : i + 2].tolist())
        for source, pattern in sources.items():
            if source.kind == "features" or partition in answered:
                path = _path_to_write(folder, pattern, source, name)
                names, values = _columns(corpus, source)
                cells = np.column_stack([times, values[rows]])
                _write(path, name, names, cells)
    return replace(files, recordings=max(counts[p] for p in PARTITIONS))


def _path_to_write(folder: Path, pattern: str, source: Source, name: str) -> Path:
    ending = ".csv" if source.kind == "ratings" else ".arff"
    place = pattern.replace("{recording}", name)
    return folder / (place if place.endswith(FORMATS) else place + ending)


def _columns(corpus: Corpus, source: Source) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names and the values (R, n) of the columns of a file."""
    if source.kind == "features":
        modality = corpus.modalities[source.of]
        return modality.names, modality.values
    if source.kind == "ratings":
        return RATERS[: corpus.num_raters], corpus.raters[source.of]
    k = corpus.targets.index(source.of)
    return ("GoldStandard",), corpus.labels[:, k : k + 1]


def _write(
    path: Path, recording: str, names: Sequence[str], values: np.ndarray
) -> None:
    """Writes (T, 1 + n) values, times first: ARFF, or CSV with blanks after names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".arff":
        text = {"name": np.full(len(values), recording)}
        write_arff(path, path.parent.name, text, ["frameTime", *names], values)
        return
    header = ";".join(["time", *(f"{name} " for name in names[:-1]), names[-1]])
    np.savetxt(path, values, "%.9g", ";", header=header, comments="")

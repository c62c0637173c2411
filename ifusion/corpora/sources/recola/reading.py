"""Reads the files of RECOLA into a `Corpus`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ifusion.corpora.columns import Columns
from ifusion.corpora.corpus import Corpus, CorpusError, FileExtents
from ifusion.corpora.gold_standard import Gold, require_gold
from ifusion.corpora.likeness import spellings
from ifusion.corpora.sources.recola.joining import (
    common_span,
    join_features,
    join_labels,
    join_raters,
    list_timing,
    list_unrated,
    rater_names,
    same_width,
    whole_span,
)
from ifusion.corpora.sources.recola.layout import (
    FRAME_STEP,
    Kind,
    RecolaFiles,
    Source,
    absent_recordings,
    list_sources,
    made_of,
    partition_of,
)
from ifusion.corpora.sources.recola.tracks import (
    Tracks,
    check_values,
    list_gaps,
    read_tracks,
)
from ifusion.corpora.timing import cut_notes
from ifusion.paths import expand_path

LICENCE = "RECOLA end user licence agreement: academic research, not to be passed on"
CITATION = (
    "F. Ringeval, A. Sonderegger, J. Sauer, D. Lalanne (2013). Introducing the RECOLA "
    "Multimodal Corpus of Remote Collaborative and Affective Interactions. Proc. FG."
)


def read_recola(
    path: Path | str,
    targets: Sequence[str] = ("arousal", "valence"),
    gold: Gold = "given",
    files: RecolaFiles | None = None,
    impute: bool = False,
    tolerance: int = 5,
    frame_step: float = FRAME_STEP,
    ignore: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> Corpus:
    """Reads RECOLA.

    Args:
      path: folder of the corpus.
      targets: some of those that have files.
      gold: "given" reads the gold standard; "mean" and "avec" compute it from the
        raters, see `ifusion.corpora.gold_standard`.
      files: where the files are, by default as in AVEC 2015.
      impute: whether features may lack values (NaN), which become the train mean.
      tolerance: [frame] by which beginnings and ends of the files of a recording may
        differ; they are cut to their common frames. Ratings that do not make the labels
        cut nothing: frames without them are NaN.
      frame_step: [s].
      ignore: names or patterns of columns that are not features, see `Columns`; a name
        column among them is not compared with the name of the file. openSMILE's class
        is left out anyway.
      keep: of columns that are features whatever their name.

    Returns:
      Time-continuous regression in the order train, dev, test, unlabelled. Each
      recording is a speaker of its own. Missing labels of train and test are NaN.
      `Corpus.files` has the first row of each recording, and where its gold standard,
      or without one all of its files, begins and ends.

    Raises:
      CorpusError: a file is wrong, the files of a recording do not match, or nothing is
        left of train or dev.
      ValueError: an argument is invalid.

    Example:
      >>> import tempfile
      >>> import ifusion.corpora
      >>> from ifusion.corpora.sources.recola import write_recola
      >>> corpus = ifusion.corpora.synthetic(
      ...     frames=50, recordings=(3, 2, 2), speakers=7
      ... )
      >>> folder = tempfile.mkdtemp()
      >>> files = write_recola(corpus, folder)
      >>> ifusion.corpora.recola(folder, files=files).num_rows
      350
    """
    folder, files = expand_path(path), files or RecolaFiles()
    columns = Columns(ignore, keep)
    require_gold(gold)
    if tolerance < 0 or frame_step <= 0 or files.recordings < 1:
        raise ValueError(
            f"tolerance is {tolerance}, frame_step {frame_step}, recordings "
            f"{files.recordings}, expected at least 0, more than 0, and at least 1"
        )
    if not folder.is_dir():
        raise CorpusError("no such folder", folder)
    sources = list_sources(files, targets, gold)
    found, notes = read_tracks(
        folder, files, sources, gold, frame_step, impute, columns
    )
    rated = {s.of for s in sources if s.kind != "features"}
    notes += columns.finish(rated)
    for name, tracks in found.items():
        for source, track in tracks.items():
            check_values(name, source, track, frame_step, impute)
    notes += list_gaps(found, frame_step)
    notes += list_timing(found, made_of(gold), frame_step)
    spans, extents, cut = _find_spans(found, made_of(gold), tolerance, frame_step)
    notes += [*cut, *list_unrated(found, spans)]
    notes += spellings("raters", rater_names(found, targets))
    raters = {t: join_raters(found, spans, Source(t, "ratings")) for t in targets}
    labels, note = join_labels(found, spans, targets, gold)
    modalities = {
        m: join_features(found, spans, Source(m, "features")) for m in files.features
    }
    return Corpus(
        name="RECOLA",
        recording=np.array([*found]),
        partition=np.array([partition_of(name) for name in found]),
        speaker=np.array([*found]),
        modalities=modalities,
        targets=tuple(targets),
        labels=labels,
        frame_step=frame_step,
        offsets=np.cumsum([0, *map(len, spans.values())]),
        raters=same_width(raters),
        licence=LICENCE,
        citation=CITATION,
        notes=(*notes, *note),
        files=FileExtents(extents, absent_recordings(files, found)),
    )


def _find_spans(
    found: Mapping[str, Tracks], kind: Kind, tolerance: int, step: float
) -> tuple[dict[str, range], np.ndarray, list[str]]:
    """Finds the common frames of each recording, and notes what is cut.

    Returns:
      {recording: its frames}, `FileExtents.frames`, and the notes.
    """
    spans, extents, cuts = {}, [], []
    for name, tracks in found.items():
        binding = {s: t for s, t in tracks.items() if s.kind in ("features", kind)}
        spans[name], cut = common_span(name, binding, tolerance, step)
        cuts += [cut] if cut else []
        whole = whole_span(binding, kind)
        extents.append((spans[name].start, whole.start, whole.stop))
    return spans, np.array(extents), cut_notes(cuts, len(found))

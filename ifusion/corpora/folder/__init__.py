"""The open folder format: a corpus as files that any tool can write.

Axes: N recordings, R rows (utterances or frames), F features, K targets, A raters.

    corpus.json       {"name", "task": "classification" | "regression",
                       "classes": [...] in code order (classification only),
                       "targets": [...] (a classification may leave it to labels.csv),
                       "frame_step": [s] (time-continuous only),
                       "frame_steps": {modality: [s] or null} (frames, and one label
                       per recording; each modality has its own step, null = unknown),
                       "neutral": for sentiment, the value between negative and
                       positive (optional; adds the metrics of that field),
                       "modalities": {"audio": 88, ...} with the number of features,
                       or a list of names,
                       "licence", "citation", "notes": [...] (all three optional)}
    recordings.csv    recording, partition (train, dev, test, or unlabelled), speaker,
                      any further columns (kept as text)
    labels.csv        recording, [time], one column per target; class names, not codes;
                      recordings of train and test may be absent or blank
    raters.csv        recording, [time], rater, one column per rated target; optional
    features/<modality>.csv   recording, [time], one column per feature
    extraction.json   where the features come from, see `ifusion.corpora.provenance`;
                      optional

With `frame_steps`, features have `time` [s] where the step of the modality is known,
else `step`, a number that ascends; labels have no time. Every modality keeps the frames
that it has in a recording.

`time` [s] is required if there is a `frame_step`. Labels, raters and features may be
Parquet instead (needs pyarrow); features also ARFF, npz or HDF5 (.h5 or .hdf5, needs
h5py; arrays or datasets `recording`, `time`, `names` (F,), `values` (R, F)) or npy (a
structured array, one field per column), which is memory-mapped if its features are
adjacent float32 fields in the order of recordings.csv, so that it may exceed the
memory. Nothing is ever unpickled. Not in the paper.

`header` reads corpus.json, `rows` the tables, `timeline` matches their frames,
`frames` keeps those of recordings with one label, `labels` reads labels and raters,
`reading` puts a corpus together, `writing` is the way back.
"""

from ifusion.corpora.folder.reading import read_corpus
from ifusion.corpora.folder.writing import write_corpus

__all__ = ["read_corpus", "write_corpus"]

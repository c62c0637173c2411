"""Files to a `Corpus`: the first room, and the only one that opens data sets.

Everything here returns a validated, immutable `corpus.Corpus`, or raises
`corpus.CorpusError` with one sentence that names the file, the row and the column.

- `corpus`: the `Corpus` itself, its partitions, folds and warnings.
- `table`: the open folder format, read and written; the way to bring your own data.
- `ravdess`, `omg`, `recola`, `studyforrest`: readers of public corpora in the form they
  are distributed in; `recola` also writes a corpus that way.
- `synthetic`: a corpus drawn from a model whose shared information is known.
- `gold_standard`: one label of several raters.
- `tabular`: one file to one checked table; what the readers share. `delimited`, `arff`,
  `parquet` and `arrays` (npz, npy, HDF5) are its formats.

Import from the modules; this package re-exports nothing.
"""

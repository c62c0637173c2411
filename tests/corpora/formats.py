"""The same small table in every format that `read_table` reads, and how errors compare.

Axes: R = 4 rows of two recordings, F = 2 features.
"""

from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tables.arff import write_arff
from ifusion.corpora.tables.arrays import save_datasets
from ifusion.corpora.tables.checks import require_steps, require_times, require_values
from ifusion.corpora.tables.reading import read_table

STEP = 0.04  # [s]
ARRAYS = {
    "recording": np.array(["a", "a", "b", "b"]),
    "time": np.array([0.0, STEP, 0.0, STEP]),
    "names": np.array(["f0", "f1"]),
    "values": np.array([[1, 2], [3, 4.5], [5, -6e-3], [0.1, 8]], np.float32),
}
BINARY = ("npz", "npy", "h5", "parquet")
TEXT = ("csv", "arff")


def save(path, **changes):
    """Writes the table with other arrays; None = without that array."""
    arrays = {k: v for k, v in (ARRAYS | changes).items() if v is not None}
    kind = path.suffix[1:]
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind in ("h5", "hdf5"):
        save_datasets(path, arrays)
    else:
        names, values = arrays.pop("names").tolist(), arrays.pop("values")
        columns = arrays | dict(zip(names, values.T, strict=True))
        if kind == "npy":
            fields = [(k, v.dtype) for k, v in columns.items()]
            records = np.zeros(len(values), fields)
            for name, column in columns.items():
                records[name] = column
            np.save(path, records)
        elif kind == "parquet":
            pq.write_table(pa.table({k: pa.array(v) for k, v in columns.items()}), path)
        elif kind == "csv":
            rows = [columns, *zip(*(v.tolist() for v in columns.values()), strict=True)]
            path.write_text("".join(",".join(map(str, r)) + "\n" for r in rows))
        else:
            cells = np.column_stack([arrays["time"], values])
            text = {"recording": arrays["recording"]}
            write_arff(path, "r", text, ["time", *names], cells)
    return path


def read(path, step=STEP):
    """Reads and checks a file as a corpus of recordings does."""
    table = read_table(path, ("recording",), ("time",))
    require_values(table, allow_nan=False)
    require_times(table, "time")
    _, codes = np.unique(table.text["recording"], return_inverse=True)
    order = np.argsort(codes, kind="stable")
    require_steps(table, "time", step, order, codes[order])
    return table


@contextmanager
def refused(file=None, row=None, column=None, reason=""):
    """Expects a CorpusError with these fields, its file by name, and such a reason."""
    with pytest.raises(CorpusError, match=reason) as caught:
        yield
    error = caught.value
    found = (error.file and error.file.name, error.row, error.column)
    assert found == (file, row, column), error
    assert "\n" not in str(error)

"""Times the readers against bare pandas, on a recording of RECOLA's size.

    python benchmarks/readers.py
    python benchmarks/readers.py --than=DIR

7501 frames with 88 or 632 features, and the columns name and frameTime. `read_table`
and `require_values` check counts, types and finiteness, `require_steps` the order of
times. Bare pandas reads the same columns as the same types without checks: CSV by
`pandas.read_csv`, ARFF by the same below @data, Parquet by `pandas.read_parquet`.
pandas does not read npz, npy and HDF5; there, it makes a DataFrame of the arrays that
numpy or h5py loads. Both take turns; a ratio is that of one round.
With --than, the peer is another checkout: its own `read`, in a process of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from machine import describe

from ifusion.corpora.tables.arff import read_arff_header, write_arff
from ifusion.corpora.tables.arrays import save_datasets
from ifusion.corpora.tables.checks import require_steps, require_values
from ifusion.corpora.tables.reading import read_table

FRAMES, STEP = 7501, 0.04  # of a recording, [s]
WIDTHS = (88, 632)
SUFFIXES = (".csv", ".arff", ".parquet", ".npz", ".npy", ".h5")


def write(folder: Path, width: int) -> dict[str, np.dtype | type]:
    """Writes the same table in each format, and returns the type of each column."""
    values = np.random.default_rng(0).standard_normal((FRAMES, width), np.float32)
    names = [f"f{i}" for i in range(width)]
    text, times = np.full(FRAMES, "train_1"), np.round(np.arange(FRAMES) * STEP, 9)
    keys = {"name": text, "frameTime": times}
    frame = pd.DataFrame({**keys, **dict(zip(names, values.T, strict=True))})
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_parquet(folder / "a.parquet", index=False)
    columns = np.column_stack([times, values])
    write_arff(folder / "a.arff", "r", {"name": text}, ["frameTime", *names], columns)
    arrays = {**keys, "names": np.array(names), "values": values}
    np.savez(folder / "a.npz", allow_pickle=False, **arrays)
    save_datasets(folder / "a.h5", arrays)
    fields = [("name", text.dtype), ("frameTime", "f8"), *((n, "f4") for n in names)]
    records = np.empty(FRAMES, fields)
    for name in frame:
        records[name] = frame[name]
    with (folder / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, records, (2, 0), allow_pickle=False)
    return {"name": str, "frameTime": np.float64, **dict.fromkeys(names, np.float32)}


def read(path: Path) -> np.ndarray:
    """Reads and checks a file as the corpora do."""
    table = read_table(path, ("name",), ("frameTime",))
    require_values(table, allow_nan=False)
    require_steps(table, "frameTime", STEP)
    return table.values


def read_bare(path: Path, types: dict[str, np.dtype | type]) -> np.ndarray:
    """Reads a file by pandas, or its arrays into a DataFrame, without checks."""
    if path.suffix == ".csv":
        frame = pd.read_csv(path, dtype=types)
    elif path.suffix == ".arff":
        skip = read_arff_header(path).line
        frame = pd.read_csv(
            path, skiprows=skip, header=None, names=list(types), dtype=types
        )
    elif path.suffix == ".parquet":
        frame = pd.read_parquet(path)
    elif path.suffix == ".npy":
        frame = pd.DataFrame.from_records(
            np.load(path, allow_pickle=False, max_header_size=10**6)
        )
    else:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        else:
            with h5py.File(path) as file:
                arrays = {name: file[name][()] for name in file}
        frame = pd.DataFrame(arrays["values"], columns=arrays["names"].astype(str))
        frame["frameTime"], frame["name"] = arrays["frameTime"], arrays["name"]
    return frame[list(types)[2:]].to_numpy(np.float32)


class Checkout:
    """The readers of another checkout, in a process that times them."""

    def __init__(self, folder: Path) -> None:
        """Starts the process; `folder` holds the package and benchmarks/readers.py."""
        loop = (
            "import sys, time; from pathlib import Path; from readers import read\n"
            "for line in sys.stdin:\n"
            "    start = time.perf_counter(); read(Path(line.strip()))\n"
            "    print(time.perf_counter() - start, flush=True)\n"
        )
        paths = os.pathsep.join([str(folder), str(folder / "benchmarks")])
        self._process = subprocess.Popen(
            [sys.executable, "-c", loop],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def clock(self, path: Path) -> float:
        """Reads a file and returns how long it took [s]."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(path, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def clock(call: Callable[..., object], *arguments: object) -> float:
    """Returns how long a call takes [s]."""
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def main() -> None:
    """Parses the flags, measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--than", type=Path, help="another checkout to compare with")
    flags = parser.parse_args()
    print(describe(["numpy", "pandas", "pyarrow", "h5py"]))
    own = Checkout(Path(__file__).parents[1]) if flags.than else None
    other = Checkout(flags.than) if flags.than else None
    peer = "other" if other else "pandas"
    print(f"| format | features | MB | ifusion [s] | {peer} [s] | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as name:
            types = write(Path(name), width)
            for suffix in SUFFIXES:
                path, seconds = Path(name) / f"a{suffix}", []
                if not other:
                    np.testing.assert_array_equal(read(path), read_bare(path, types))
                for _ in range(flags.rounds + 1):
                    if own and other:
                        seconds.append((own.clock(path), other.clock(path)))
                    else:
                        bare = clock(read_bare, path, types)
                        seconds.append((clock(read, path), bare))
                ours, theirs = np.array(seconds[1:]).T  # the first only warms up
                size = path.stat().st_size / 1e6
                print(
                    f"| {suffix[1:]} | {width} | {size:.1f} | {np.median(ours):.4f} "
                    f"| {np.median(theirs):.4f} | {np.median(ours / theirs):.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()

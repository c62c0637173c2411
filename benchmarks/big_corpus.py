r"""Writes a corpus larger than memory: frames over time from which to hear arousal.

    python benchmarks/big_corpus.py --folder=data/big --frames=10000000
    python benchmarks/runs.py --config=configs/folder.py:continuous \
        --config.corpus.path=data/big --config.sweep.block_mib=64

Arousal is smooth noise; each feature is weighted arousal plus noise. Recordings are
written one by one, features as npy, which readers map into memory.
"""

import argparse
import json
from pathlib import Path

import numpy as np

STEP = 0.04  # [s]
MODALITIES = ("audio", "video")
SMOOTH = 50  # [frame] over which arousal changes


def main() -> None:
    """Writes the folder that `ifusion.corpora.folder` describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="to make")
    parser.add_argument("--frames", type=int, default=10_000_000, help="in all")
    parser.add_argument("--length", type=int, default=5_000, help="of a recording")
    parser.add_argument("--width", type=int, default=64, help="of each modality")
    flags = parser.parse_args()
    folder, length, width = flags.folder, flags.length, flags.width
    count = flags.frames // length
    (folder / "features").mkdir(parents=True)
    names = [f"r{i:05d}" for i in range(count)]
    first = count - max(count // 20, 2)  # of dev and test in turn
    parts = ["train"] * first + [("dev", "test")[i % 2] for i in range(count - first)]
    rows = [f"{n},{p},s{i}" for i, (n, p) in enumerate(zip(names, parts, strict=True))]
    text = "\n".join(["recording,partition,speaker", *rows, ""])
    (folder / "recordings.csv").write_text(text, "utf-8")
    header = {"name": "big", "task": "regression", "targets": ["arousal"]}
    header |= {"frame_step": STEP, "modalities": dict.fromkeys(MODALITIES, width)}
    (folder / "corpus.json").write_text(json.dumps(header), "utf-8")

    rng = np.random.default_rng(0)
    times = np.round(np.arange(length) * STEP, 9)
    fields = [("recording", "U6"), ("time", np.float64)]
    fields += [(f"f{i}", np.float32) for i in range(width)]
    files = {
        m: np.lib.format.open_memmap(
            folder / "features" / f"{m}.npy",
            mode="w+",
            dtype=np.dtype(fields),
            shape=(count * length,),
            version=(2, 0),
        )
        for m in MODALITIES
    }
    weights = {m: rng.normal(0, 0.3, width) for m in MODALITIES}
    with (folder / "labels.csv").open("w", encoding="utf-8") as labels:
        labels.write("recording,time,arousal\n")
        for i, name in enumerate(names):
            white = rng.standard_normal(length + SMOOTH - 1)
            arousal = np.convolve(white, np.full(SMOOTH, SMOOTH**-0.5), "valid")
            labels.writelines(
                f"{name},{t},{a:.4f}\n" for t, a in zip(times, arousal, strict=True)
            )
            here = slice(i * length, (i + 1) * length)
            for m, file in files.items():
                file["recording"][here], file["time"][here] = name, times
                noise = rng.standard_normal((length, width), np.float32)
                for k, weight in enumerate(weights[m]):
                    file[f"f{k}"][here] = weight * arousal + noise[:, k]


if __name__ == "__main__":
    main()

"""Writes a corpus larger than the memory: frames over time that arousal is heard in.

    python benchmarks/big_corpus.py --folder=data/big --frames=10000000
    python benchmarks/runs.py --config=configs/folder.py:continuous \
        --config.corpus.path=data/big --config.sweep.block_mib=64

Arousal is a smooth noise; each feature is arousal times a weight, plus noise. It is
written recording by recording, features as npy, which readers map into memory.
"""

import json
from pathlib import Path

import numpy as np
from absl import app, flags

FOLDER = flags.DEFINE_string("folder", None, "Folder to make.", required=True)
FRAMES = flags.DEFINE_integer("frames", 10_000_000, "Frames of all recordings.", 20_000)
LENGTH = flags.DEFINE_integer("length", 5_000, "Frames of a recording.", 100)
WIDTH = flags.DEFINE_integer("width", 64, "Features of each modality.", 1)

STEP = 0.04  # [s]
MODALITIES = ("audio", "video")
SMOOTH = 50  # [frame] over which arousal changes


def main(_: list[str]) -> None:
    """Writes the folder that `ifusion.corpora.folder` describes."""
    folder, count = Path(FOLDER.value), FRAMES.value // LENGTH.value
    (folder / "features").mkdir(parents=True)
    names = [f"r{i:05d}" for i in range(count)]
    first = count - max(count // 20, 2)  # of dev and test in turn
    parts = ["train"] * first + [("dev", "test")[i % 2] for i in range(count - first)]
    rows = [f"{n},{p},s{i}" for i, (n, p) in enumerate(zip(names, parts, strict=True))]
    text = "\n".join(["recording,partition,speaker", *rows, ""])
    (folder / "recordings.csv").write_text(text, "utf-8")
    header = {"name": "big", "task": "regression", "targets": ["arousal"]}
    header |= {"frame_step": STEP, "modalities": dict.fromkeys(MODALITIES, WIDTH.value)}
    (folder / "corpus.json").write_text(json.dumps(header), "utf-8")

    rng = np.random.default_rng(0)
    times = np.round(np.arange(LENGTH.value) * STEP, 9)
    fields = [("recording", "U6"), ("time", np.float64)]
    fields += [(f"f{i}", np.float32) for i in range(WIDTH.value)]
    files = {
        m: np.lib.format.open_memmap(
            folder / "features" / f"{m}.npy",
            *("w+", np.dtype(fields), (count * LENGTH.value,), False, (2, 0)),
        )
        for m in MODALITIES
    }
    weights = {m: rng.normal(0, 0.3, WIDTH.value) for m in MODALITIES}
    with (folder / "labels.csv").open("w", encoding="utf-8") as labels:
        labels.write("recording,time,arousal\n")
        for i, name in enumerate(names):
            white = rng.standard_normal(LENGTH.value + SMOOTH - 1)
            arousal = np.convolve(white, np.full(SMOOTH, SMOOTH**-0.5), "valid")
            labels.writelines(
                f"{name},{t},{a:.4f}\n" for t, a in zip(times, arousal, strict=True)
            )
            here = slice(i * LENGTH.value, (i + 1) * LENGTH.value)
            for m, file in files.items():
                file["recording"][here], file["time"][here] = name, times
                noise = rng.standard_normal((LENGTH.value, WIDTH.value), np.float32)
                for k, weight in enumerate(weights[m]):
                    file[f"f{k}"][here] = weight * arousal + noise[:, k]


if __name__ == "__main__":
    app.run(main)

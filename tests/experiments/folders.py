"""Sound folders of two kinds, and what changes them: what users bring to programs."""

import json

import numpy as np
import pandas as pd

AUDIO, VIDEO = "features/audio.csv", "features/video.csv"
RECORDINGS = [f"rec_{i}" for i in range(1, 7)]


def write(folder, header, **tables):
    """Writes a folder; audio and video become features."""
    (folder / "features").mkdir(parents=True)
    facts = {"name": "mine", "modalities": ["audio", "video"], **header}
    (folder / "corpus.json").write_text(json.dumps(facts), "utf-8")
    for name, table in tables.items():
        place = "features" if name in ("audio", "video") else "."
        table.to_csv(folder / place / f"{name}.csv", index=False)


def utterances(folder):
    """60 utterances of six speakers, features of noise."""
    rng = np.random.default_rng(0)
    names = pd.DataFrame({"recording": [f"{i:03d}" for i in range(1, 61)]})
    write(
        folder,
        {"task": "classification", "classes": ["calm", "tense"]},
        recordings=names.assign(
            partition=["train"] * 30 + ["dev"] * 10 + ["test"] * 20,
            speaker=[f"s{i // 10 + 1}" for i in range(60)],
        ),
        labels=names.assign(emotion=["calm", "tense"] * 30),
        audio=names.join(pd.DataFrame(rng.normal(size=(60, 4))).add_prefix("audio")),
        video=names.join(pd.DataFrame(rng.normal(size=(60, 3))).add_prefix("video")),
    )


def series(folder, frames=250, step=0.04, names=RECORDINGS, targets=("arousal",)):
    """Six recordings, whose emotion is heard and seen in noise."""
    rng = np.random.default_rng(1)
    times = np.tile(np.round(step * np.arange(frames), 3), 6)
    keys = pd.DataFrame({"recording": np.repeat(names, frames), "time": times})
    gold = 0.5 * np.sin(times * (1 + np.repeat(np.arange(6), frames) / 5))
    write(
        folder,
        {"task": "regression", "targets": [*targets], "frame_step": step},
        recordings=pd.DataFrame(
            {
                "recording": names,
                "partition": ["train"] * 3 + ["dev"] + ["test"] * 2,
                "speaker": names,
            }
        ),
        labels=keys.assign(**dict.fromkeys(targets, gold)),
        audio=keys.assign(audio0=gold + rng.normal(0, 0.2, len(gold))),
        video=keys.assign(video0=gold + rng.normal(0, 0.5, len(gold))),
    )


def reviews(folder, long=()):
    """30 recordings of 12 frames of sound and 3 pictures, or 1000 times as many."""
    rng = np.random.default_rng(2)
    names = [f"r{i}" for i in range(30)]

    def frames(modality, step, count, width):
        counts = [1000 * count if name in long else count for name in names]
        times = np.round(step * np.concatenate([np.arange(n) for n in counts]), 3)
        values = pd.DataFrame(rng.normal(size=(len(times), width)))
        keys = {"recording": np.repeat(names, counts), "time": times}
        return pd.DataFrame(keys).join(values.add_prefix(modality))

    write(
        folder,
        {
            "task": "regression",
            "targets": ["sentiment"],
            "frame_steps": {"audio": 0.01, "video": 0.04},
        },
        recordings=pd.DataFrame(
            {
                "recording": names,
                "partition": ["train"] * 18 + ["dev"] * 6 + ["test"] * 6,
                "speaker": names,
            }
        ),
        labels=pd.DataFrame({"recording": names, "sentiment": rng.normal(size=30)}),
        audio=frames("audio", 0.01, 12, 3),
        video=frames("video", 0.04, 3, 2),
    )


def edit(name, change):
    """Changes a table of a folder."""

    def apply(folder):
        table = pd.read_csv(folder / name, dtype={"recording": str})
        change(table).to_csv(folder / name, index=False)

    return apply


def put(name, rows, column, values):
    """Puts values into cells of a table."""

    def change(table):
        table[column] = table.get(column, pd.Series(index=table.index, dtype=object))
        table[column] = table[column].astype(object)
        table.loc[rows, column] = values
        return table

    return edit(name, change)

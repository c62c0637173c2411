"""Predictions over time as files: arrays in safetensors, the rest JSON in its header.

As a table with one row per frame, lane and seed they would take gigabytes; a partition
of RECOLA, with the lanes that a report compares, takes some ten megabytes.

Axes: N recordings, R frames of all of them, L lanes, A raters.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ifusion.storage import require_identity

FORMAT = 2


@dataclass(frozen=True, eq=False)
class Traces:
    """What lanes predict for the recordings of a partition.

    Gold standard and ratings are those that lanes are scored against: the original ones
    (0 frames ahead) or, if scores are taken in shifted time, read ahead by the
    annotation delay of the lane.

    Attributes:
      fold: name of the fold.
      partition: "dev" or "test".
      frame_step: [s].
      recording: (N,) str.
      offsets: (N + 1,), recording i owns frames offsets[i]:offsets[i + 1].
      lanes: L rows: system (key), main, target, alpha, seed, ahead [frame].
      raw: (L, R) float32, predictions before post-processing.
      processed: (L, R) float32, after it; equal to raw without post-processing.
      gold: {(target, ahead): (R,) float32}, NaN if unlabelled.
      raters: {(target, ahead): (A, R) float32}, NaN where a rater gave nothing.
      extents: (N, 3) int64 [frame], from `ifusion.corpora.corpus.frame_extents`.
      left_out: recordings of the partition without rows in the corpus.
    """

    fold: str
    partition: str
    frame_step: float
    recording: np.ndarray
    offsets: np.ndarray
    lanes: pd.DataFrame
    raw: np.ndarray
    processed: np.ndarray
    gold: Mapping[tuple[str, int], np.ndarray]
    raters: Mapping[tuple[str, int], np.ndarray]
    extents: np.ndarray
    left_out: tuple[str, ...] = ()


def join_systems(paths: Sequence[Path]) -> list[Traces]:
    """Reads files and joins the systems of each fold and partition.

    Raises:
      ValueError: if a file was not made by `encode_traces`, or is damaged.
    """
    groups: dict[tuple[str, str], list[Traces]] = {}
    for path in sorted(paths):
        traces = load_traces(path)
        groups.setdefault((traces.fold, traces.partition), []).append(traces)
    return [
        replace(
            parts[0],
            lanes=pd.concat([x.lanes for x in parts], ignore_index=True),
            raw=np.concatenate([x.raw for x in parts]),
            processed=np.concatenate([x.processed for x in parts]),
            gold={k: v for x in parts for k, v in x.gold.items()},
            raters={k: v for x in parts for k, v in x.raters.items()},
        )
        for parts in groups.values()
    ]


def encode_traces(traces: Traces, identity: Mapping[str, str] | None = None) -> bytes:
    """Writes traces as the contents of a safetensors file.

    Args:
      traces: any.
      identity: of the run, see `ifusion.storage.read_facts`.
    """
    pairs = list(traces.gold)
    arrays: dict[str, np.ndarray] = {
        "offsets": np.asarray(traces.offsets, np.int64),
        "extents": np.ascontiguousarray(traces.extents, np.int64),
        "raw": np.ascontiguousarray(traces.raw, np.float32),
        "processed": np.ascontiguousarray(traces.processed, np.float32),
    }
    for i, pair in enumerate(pairs):
        arrays[f"gold/{i}"] = np.ascontiguousarray(traces.gold[pair], np.float32)
        if pair in traces.raters:
            ratings = np.ascontiguousarray(traces.raters[pair], np.float32)
            arrays[f"raters/{i}"] = ratings
    facts = {
        "format": FORMAT,
        "identity": identity,
        "fold": traces.fold,
        "partition": traces.partition,
        "frame_step": traces.frame_step,
        "recording": [str(name) for name in traces.recording],
        "lanes": traces.lanes.to_dict("records"),
        "pairs": pairs,
        "left_out": list(traces.left_out),
    }
    return bytes(save(arrays, {"facts": json.dumps(facts)}))


def require_traces(path: Path, identity: Mapping[str, str]) -> None:
    """Refuses a file of another run; reads only its header.

    Raises:
      ValueError: if it is of another run, or was not made by `encode_traces`.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts = dict(json.loads(file.metadata()["facts"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a file of predictions ({error})") from None
    require_identity(path, facts, identity)


def load_traces(path: Path) -> Traces:
    """Reads what `encode_traces` wrote.

    Raises:
      ValueError: if the file is something else, or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']}, expected {FORMAT}")
        pairs = {(name, ahead): i for i, (name, ahead) in enumerate(facts["pairs"])}
        return Traces(
            fold=facts["fold"],
            partition=facts["partition"],
            frame_step=facts["frame_step"],
            recording=np.array(facts["recording"]),
            offsets=arrays["offsets"],
            lanes=pd.DataFrame(facts["lanes"]),
            raw=arrays["raw"],
            processed=arrays["processed"],
            gold={pair: arrays[f"gold/{i}"] for pair, i in pairs.items()},
            raters={
                pair: arrays[f"raters/{i}"]
                for pair, i in pairs.items()
                if f"raters/{i}" in arrays
            },
            extents=arrays["extents"],
            left_out=tuple(facts["left_out"]),
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a file of predictions ({error})") from None

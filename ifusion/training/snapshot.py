"""Snapshots of training to arrays, and back.

Axes: L lanes of a stage, l of them begun.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ifusion.lanes import LaneArrays
from ifusion.training.loop import Snapshot
from ifusion.training.sweep import LaneState, Sweep

STATE, HISTORY = "state/", "history/"


def snapshot_arrays(snapshot: Snapshot) -> dict[str, np.ndarray]:
    """Names every array by its path: "state/train/params/...", "history/joint"."""
    state, _ = _named(snapshot.state)
    return {**state, **{HISTORY + k: v for k, v in snapshot.history.items()}}


def restore_snapshot(
    arrays: Mapping[str, np.ndarray],
    finished: int,
    epoch: int,
    sweep: Sweep,
    lanes: LaneArrays,
    init_data: Any = None,
) -> Snapshot:
    """Rebuilds a snapshot from its arrays, and checks that it fits the program.

    Args:
      arrays: of `snapshot_arrays`.
      finished: of the snapshot.
      epoch: of the snapshot.
      sweep: the program that resumes.
      lanes: (L, ...).
      init_data: as `train_lanes` takes it.

    Raises:
      ValueError: an array is missing, unexpected, or has the wrong shape or type.
    """
    one = jax.tree.map(lambda x: np.repeat(x[:1], sweep.width, 0), (lanes, init_data))
    expected, structure = _named(jax.eval_shape(sweep.init, *one))
    history = {k: v for k, v in arrays.items() if k.startswith(HISTORY)}
    state = {k: v for k, v in arrays.items() if k not in history}
    if state.keys() != expected.keys():
        odd = min(state.keys() ^ expected.keys())
        raise ValueError(f"the array {odd!r} is in the snapshot or in the program only")
    num_lanes = len(lanes.seed)
    begun = len(state[STATE + "best_score"])
    wanted = {k: ((begun, *x.shape[1:]), x.dtype) for k, x in expected.items()}
    epochs = max((len(v) for v in history.values()), default=0)
    wanted |= {k: ((epochs, num_lanes), v.dtype) for k, v in history.items()}
    for name, (shape, dtype) in wanted.items():
        found = arrays[name]
        if found.shape != shape or found.dtype != dtype:
            raise ValueError(
                f"the array {name!r} is {found.dtype} {found.shape}; expected {dtype} "
                f"{shape}"
            )
    if not (0 <= finished <= begun <= num_lanes and 0 <= epoch <= epochs):
        raise ValueError(
            f"{finished} lanes finished, {begun} begun and epoch {epoch} do not fit "
            f"{num_lanes} lanes and {epochs} epochs"
        )
    leaves = [state[name] for name in expected]
    restored: LaneState = jax.tree.unflatten(structure, leaves)
    return Snapshot(
        finished, epoch, restored, {k[len(HISTORY) :]: v for k, v in history.items()}
    )


def _named(state: LaneState) -> tuple[dict[str, Any], Any]:
    leaves, structure = jax.tree_util.tree_flatten_with_path(state)
    paths = (jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in leaves)
    return {STATE + p: x for p, (_, x) in zip(paths, leaves, strict=True)}, structure

"""A predictor of one modality: SP_m and SH, and nothing of any other modality.

Axes: L lanes, R rows, F features of the modality, N sequences, T time, O outputs.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.adjustments import Adjustment, adjust_lanes
from ifusion.core import ImplicitFusion, predict
from ifusion.models.network import branch_name
from ifusion.preprocessing.standardise import Standardizer, standardise
from ifusion.training.checkpoint import Checkpoint, Continuous
from ifusion.training.lanes import Lane
from ifusion.training.learner import zero_state

STEPS = 1024  # of sequences that are predicted at once


@dataclass(frozen=True, eq=False)
class Predictor:
    """The lanes of one main modality, ready to predict from it alone.

    Attributes:
      modality: m.
      features: F names, the columns that `predict_rows` expects.
      lanes: L training runs with main = m.
      params: L in front; the branch of m, the shared layers, the output.
      standardizer: train statistics of m.
      model: the network.
      classes: class names in code order; () = regression.
      continuous: of a regression over time, for these L lanes; None = of anything else.
    """

    modality: str
    features: tuple[str, ...]
    lanes: tuple[Lane, ...]
    params: Any
    standardizer: Standardizer
    model: ImplicitFusion
    classes: tuple[str, ...]
    continuous: Continuous | None


def make_predictor(checkpoint: Checkpoint, modality: str) -> Predictor:
    """Takes from a checkpoint what predicting from one modality needs.

    Args:
      checkpoint: `load_checkpoint(folder, [modality])` is enough.
      modality: the main modality of the lanes wanted.

    Raises:
      ValueError: no lane has that main modality.
    """
    mine = [i for i, lane in enumerate(checkpoint.lanes) if lane.main == modality]
    if not mine:
        raise ValueError(
            f"no lane was trained for {modality!r}; the mains are "
            f"{', '.join(sorted({lane.main for lane in checkpoint.lanes}))}"
        )
    if modality not in checkpoint.features:
        raise ValueError(f"the checkpoint was loaded without {modality!r}")
    continuous = checkpoint.continuous
    if continuous is not None:
        adjustments = tuple(continuous.adjustments[i] for i in mine)
        continuous = replace(continuous, adjustments=adjustments)
    parts = (branch_name(modality), "shared", "output")
    params = {part: checkpoint.params[part] for part in parts}
    return Predictor(
        modality,
        tuple(checkpoint.features[modality]),
        tuple(checkpoint.lanes[i] for i in mine),
        jax.tree.map(lambda x: x[np.array(mine)], params),
        checkpoint.standardizers[modality],
        ImplicitFusion(
            (modality,), params["output"]["bias"].shape[-1], checkpoint.architecture
        ),
        checkpoint.classes,
        continuous,
    )


def predict_rows(
    predictor: Predictor, values: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Predicts every row of the sequences given.

    Args:
      predictor: of one modality.
      values: (R, F), raw features in the order of `predictor.features`.
      rows: (N, T), the rows that make up each sequence, -1 where padded; of
        `sequence_rows`, or `np.arange(R)[:, None]` for utterances.

    Returns:
      (L, R, O) float32, class probabilities or regressed values; NaN for rows in no
      sequence.

    Raises:
      ValueError: the number of features is wrong.
    """
    outputs = predict_sequences(predictor, values, rows)
    exists = rows >= 0
    scattered = np.full((len(outputs), len(values), outputs.shape[-1]), np.nan, "f4")
    scattered[:, rows[exists]] = outputs[:, exists]
    return scattered


def predict_recordings(
    predictor: Predictor,
    values: np.ndarray,
    offsets: np.ndarray,
    chosen: np.ndarray | None = None,
    raw: bool = False,
) -> np.ndarray:
    """Predicts whole recordings over time, as the run that trained the lanes did.

    Outputs are put back by the annotation delay of their lane, unless the lanes were
    scored in shifted time, and then post-processed as learnt on dev.

    Args:
      predictor: of one modality, of a regression over time.
      values: (R, F), raw features in the order of `predictor.features`, a row a frame
        of `predictor.continuous.frame_step`; may be a memory map.
      offsets: (N + 1,), recording i owns rows offsets[i]:offsets[i + 1].
      chosen: (n,) int, recordings that are wanted, in order; all by default.
      raw: whether to leave the post-processing out.

    Returns:
      (L, r) float32, in the unit of the target of each lane; frames of the recordings
      wanted, one recording after another.

    Raises:
      ValueError: the lanes are of no regression over time, the number of features is
        wrong, or the offsets do not cut the rows into recordings.
    """
    continuous = predictor.continuous
    if continuous is None:
        raise ValueError(
            "the checkpoint does not say how its lanes predict over time; expected one "
            "of a regression, with the section continuous"
        )
    offsets = np.asarray(offsets)
    if offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) <= 0).any():
        raise ValueError(
            f"offsets from {offsets[0]} to {offsets[-1]} do not cut {len(values)} rows "
            "into recordings of one or more"
        )
    chosen = np.arange(len(offsets) - 1) if chosen is None else chosen
    lengths = np.diff(offsets)[chosen]
    steps = np.arange(lengths.max(initial=0))
    exists = steps < lengths[:, None]
    rows = np.where(exists, offsets[chosen][:, None] + steps, -1)
    outputs = predict_sequences(predictor, values, rows)[:, exists, 0]
    back = continuous.delay_scoring == "original"
    shifts = [
        (Adjustment("shift", lane.delay if back else 0),) for lane in predictor.lanes
    ]
    cuts = np.concatenate([[0], np.cumsum(lengths)])
    predictions = adjust_lanes(outputs, cuts, shifts)
    if raw:
        return predictions
    return adjust_lanes(predictions, cuts, continuous.adjustments)


def predict_sequences(
    predictor: Predictor, values: np.ndarray, rows: np.ndarray, steps: int = STEPS
) -> np.ndarray:
    """Predicts every step of the sequences given, part of the time by part.

    Beyond the outputs, memory grows with N and `steps` but not with T: the hidden state
    is carried from part to part, and of `values`, which may be a memory map, a part is
    read at a time.

    Args:
      predictor: of one modality.
      values: (R, F), raw features in the order of `predictor.features`.
      rows: (N, T), the rows that make up each sequence, -1 where padded.
      steps: of a part.

    Returns:
      (L, N, T, O) float32, class probabilities or regressed values; of no meaning where
      padded.

    Raises:
      ValueError: the number of features is wrong.
    """
    expected = len(predictor.features)
    if values.ndim != 2 or values.shape[1] != expected:
        raise ValueError(
            f"features of shape {values.shape}, expected {expected} columns for "
            f"{predictor.modality!r}"
        )
    count, length = rows.shape
    params = jax.tree.map(jnp.asarray, predictor.params)
    state = None
    if length > steps:
        rows = np.pad(rows, ((0, 0), (0, -length % steps)), constant_values=-1)
        state = _begin(predictor, count)
    parts = []
    for start in range(0, rows.shape[1], steps):
        part = rows[:, start : start + steps]
        exists = part >= 0
        features = standardise(predictor.standardizer, values[part.ravel()])
        features = features.reshape(*part.shape, expected) * exists[..., None]
        outputs, state = _apply(
            predictor.model,
            predictor.modality,
            bool(predictor.classes),
            params,
            jnp.asarray(features, jnp.float32),
            jnp.asarray(exists, jnp.float32),
            state,
        )
        parts.append(np.asarray(outputs))
    return np.concatenate(parts, axis=2)[:, :, :length]


def _begin(predictor: Predictor, num_sequences: int) -> Any:
    """The hidden state before the first part, L in front."""
    zero = zero_state(predictor.model, (predictor.modality,), num_sequences)
    lanes = len(predictor.lanes)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (lanes, *x.shape)), zero)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _apply(
    model: ImplicitFusion,
    modality: str,
    classifies: bool,
    params: Any,
    features: jax.Array,
    mask: jax.Array,
    state: Any,
) -> tuple[jax.Array, Any]:
    """Runs the lanes one after another: (N, T, F), (N, T) -> (L, N, T, O), state.

    The state is None where the sequences are no parts of longer ones.
    """

    def lane(inputs: Any) -> tuple[jax.Array, Any]:
        params, state = inputs
        predicted, after = predict(model, params, {modality: features}, mask, state)
        outputs = predicted[modality]
        outputs = jax.nn.softmax(outputs) if classifies else outputs
        return outputs, None if state is None else after

    return jax.lax.map(lane, (params, state))

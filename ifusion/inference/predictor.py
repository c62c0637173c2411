"""A predictor of one system and main: parameters, and a function that applies them.

It holds the candidates that dev chose, one member per seed and fold, and neither holds
nor reads anything of a modality that its main does not name.

Axes: R rows (utterances, or frames of recordings one after another), F features of a
modality, N sequences, T time, O outputs.
"""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from ifusion.adjustments import Adjustment, adjust
from ifusion.corpora.columns import is_bookkeeping, lost_face, success_column
from ifusion.corpora.corpus import JOIN, Frames, shorten
from ifusion.corpora.functionals import pool_frames
from ifusion.experiment.fitted import load_fitted
from ifusion.experiment.fold_data import FoldData, load_fold_data
from ifusion.experiment.store import (
    DATA,
    FUNCTIONALS,
    fit_folder,
    fold_folder,
    read_config,
    read_identity,
    read_systems,
)
from ifusion.preprocessing.sequences import take_recordings
from ifusion.preprocessing.standardise import put_back, standardise
from ifusion.systems.catalogue import find_systems
from ifusion.systems.system import Candidate, Predict

RawFeatures = pd.DataFrame | np.ndarray | Mapping[str, pd.DataFrame | np.ndarray]


@dataclass(frozen=True, eq=False)
class Member:
    """A trained candidate.

    Attributes:
      fold: that it was trained on.
      candidate: its description.
      params: its parameters.
      adjustments: post-processing learnt on dev.
      data: statistics and names of its fold.
      predict: (params, features, mask) -> (N, T, O).
    """

    fold: str
    candidate: Candidate
    params: Any
    adjustments: tuple[Adjustment, ...]
    data: FoldData
    predict: Predict


@dataclass(frozen=True, eq=False)
class Predictor:
    """A system of a run that predicts from one main.

    Attributes:
      system: key.
      main: modality, or several joined by "+".
      members: to average: probabilities of a classification, values of a regression
        after each member's own delay and post-processing.
    """

    system: str
    main: str
    members: tuple[Member, ...]

    @property
    def features(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the features that each modality needs, in order."""
        data = self.members[0].data
        return data.frames or data.features

    @property
    def over_frames(self) -> bool:
        """Whether a recording of many rows (frames) gets one answer."""
        return bool(self.members[0].data.frames)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; () = regression."""
        return self.members[0].data.classes

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(dict.fromkeys(m.candidate.target for m in self.members))

    @property
    def frame_step(self) -> float | None:
        """[s] between rows of a recording; None = rows are utterances."""
        return self.members[0].data.problem.frame_step

    def predict(self, features: RawFeatures, recordings: Any = None) -> pd.DataFrame:
        """Predicts every row.

        Args:
          features: raw, as the corpus had them: a table with named columns (a
            DataFrame, or what becomes one by `to_pandas`), which are matched by name
            (rows in which OpenFace found no face become the train mean); an array
            (R, F) in the order of `features`, which cannot be checked; or for several
            modalities a dict of either.
          recordings: (R,), the recording that each row is of, rows of one recording
            together and in order of time; one recording by default. Utterances need
            none, unless the run joined them to sequences: then what they are joined by,
            such as their video. Of several modalities with frames of their own a dict
            of (R_m,), recordings in the same order in each.

        Returns:
          Of a classification one row an utterance: the class, and the probability of
          each. Of a regression one row an utterance or frame: each target in its own
          unit and, of a frame, its time [s] in its recording. Where recordings have
          frames and one label, one row a recording, in their order.

        Raises:
          ValueError: a column is missing or occurs twice, an array has another width,
            or a value is not finite.

        Warns:
          UserWarning: columns are left over, or an array has no names.
        """
        values = self._match(features)
        lengths = self._measure(values, recordings)
        outputs: dict[str, list[np.ndarray]] = {target: [] for target in self.targets}
        for member in self.members:
            outputs[member.candidate.target].append(_predict(member, values, lengths))
        means = {target: np.mean(found, axis=0) for target, found in outputs.items()}
        if self.classes:
            (probabilities,) = means.values()
            named = dict(zip(self.classes, probabilities.T, strict=True))
            best = np.array(self.classes)[probabilities.argmax(1)]
            return pd.DataFrame({self.targets[0]: best, **named})
        if self.frame_step is None:
            return pd.DataFrame(means)
        (own,) = lengths.values()
        steps = np.concatenate([np.arange(length) for length in own])
        return pd.DataFrame({"time": steps * self.frame_step, **means})

    def _match(self, features: RawFeatures) -> dict[str, np.ndarray]:
        """Converts the features of each modality to arrays, in order."""
        if not isinstance(features, Mapping):
            if JOIN in self.main:
                names = " and ".join(self.features)
                raise ValueError(f"pass a dict with {names}")
            features = {self.main: features}
        found = {}
        for m, table in features.items():
            if m not in self.features:
                raise ValueError(
                    f"unknown modality {m!r}; expected {', '.join(self.features)}"
                )
            found[m] = _to_array(m, table, self.features[m])
        return found

    def _measure(
        self, values: Mapping[str, np.ndarray], recordings: Any
    ) -> dict[str, np.ndarray]:
        """Counts the rows of each sequence, in each modality; in all alike one entry.

        Raises:
          ValueError: modalities do not have the same rows, or the same recordings.
        """
        data = self.members[0].data
        rows = {m: len(x) for m, x in values.items()}
        if not self.over_frames:
            if len(set(rows.values())) != 1:
                raise ValueError(f"modalities have different numbers of rows: {rows}")
            return {self.main: _lengths(rows[next(iter(rows))], recordings, data)}
        named = recordings if isinstance(recordings, Mapping) else {}
        given = {m: named.get(m, recordings) for m in rows}
        lengths = {m: _lengths(count, given[m], data) for m, count in rows.items()}
        counts = {m: len(x) for m, x in lengths.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"modalities have different recordings: {counts}")
        return lengths


def load_predictor(
    run: Path, main: str, system: str = "implicit_fusion", target: str | None = None
) -> Predictor:
    """Loads the chosen candidates of a system as a predictor, see `ifusion.load`.

    Raises:
      ValueError: the run has no such system, main or target.
    """
    config = read_config(run)
    known = {row["key"]: row["impossible"] for row in read_systems(run)}
    if system not in known:
        raise ValueError(f"{run}: no system {system!r}; it has {', '.join(known)}")
    (row,) = find_systems([system])
    members: list[Member] = []
    for fold in config["folds"]:
        folder = fit_folder(run, fold, system)
        if not folder.exists():
            reason = known[system] or f"it is not fitted on fold {fold} yet"
            raise ValueError(f"{run}: no predictor of {system}: {reason}")

        def wanted(candidate: Candidate, chosen: bool) -> bool:
            named = target is None or candidate.target == target
            return chosen and named and candidate.main == main

        identity = read_identity(run, fold)
        found = load_fitted(folder, wanted, identity=identity)
        seen = fold_folder(run, fold) / FUNCTIONALS
        if not (row.functionals and seen.exists()):
            seen = fold_folder(run, fold) / DATA
        data = load_fold_data(seen, main.split(JOIN), identity)
        predict = row.make_predict(data.problem, main)
        members.extend(
            Member(
                fold=fold,
                candidate=found.candidates[i],
                params=params,
                adjustments=found.adjustments[i],
                data=data,
                predict=predict,
            )
            for i, params in found.params.items()
        )
    if not members:
        mains = dict.fromkeys(c.main for c in found.candidates)
        raise ValueError(
            f"{run}: {system} has no predictor of {main!r}"
            + (f" and {target!r}" if target else "")
            + f"; its mains are {', '.join(mains)}"
        )
    return Predictor(system, main, tuple(members))


def _predict(
    member: Member,
    values: Mapping[str, np.ndarray],
    lengths: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Predicts all rows with one member: (R, O) probabilities, or (R,) values."""
    data = member.data
    own = next(iter(lengths.values()))
    features: dict[str, Any] = {}
    if data.frames:
        own = np.ones_like(own)  # one answer a recording
        for m, table in values.items():
            features[m] = _take_frames(data, m, table, lengths[m])
    exists = np.arange(own.max(initial=1)) < own[:, None]
    for m, table in {} if data.frames else values.items():
        padded = np.zeros((*exists.shape, table.shape[1]), np.float32)
        padded[exists] = standardise(data.standardizers[m], table)
        features[m] = padded
    outputs = member.predict(member.params, features, exists.astype(np.float32))
    found = np.asarray(outputs)[exists]
    if data.classes:
        return np.asarray(jax.nn.softmax(found))
    back = member.candidate.delay if data.delay_scoring == "original" else 0
    offsets = np.concatenate([[0], np.cumsum(own)])
    shift = [Adjustment("shift", back)]
    column = data.problem.targets.index(member.candidate.target)
    own = put_back(data.target_scale, found[:, 0], column)
    raw = adjust(own, offsets, shift).astype(np.float32)
    return adjust(raw, offsets, member.adjustments)


def _take_frames(
    data: FoldData, modality: str, table: np.ndarray, lengths: np.ndarray
) -> Any:
    """Standardises the frames of recordings, or their functionals."""
    s, offsets = data.standardizers[modality], np.append(0, np.cumsum(lengths))
    frames = Frames(data.frames[modality], table, offsets)
    if data.problem.architecture.pooling:
        rows = np.arange(len(lengths))
        return take_recordings(frames, rows, s, data.max_frames)
    return standardise(s, pool_frames(frames).values)[:, None]


def _lengths(count: int, recordings: Any, data: FoldData) -> np.ndarray:
    """Counts the rows of each sequence."""
    if data.problem.frame_step is None and not data.sequence and not data.frames:
        return np.ones(count, int)
    if recordings is None and data.sequence:
        raise ValueError(
            f"recordings is missing: the run joined utterances by {data.sequence!r}"
        )
    if recordings is None:
        return np.array([count])
    names = np.asarray(recordings)
    if names.shape != (count,):
        raise ValueError(f"recordings has shape {names.shape}; expected ({count},)")
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
    if len(set(names[starts].tolist())) < len(starts):
        raise ValueError("rows of a recording must be contiguous")
    return np.diff(np.append(starts, count))


def _to_array(modality: str, table: Any, names: tuple[str, ...]) -> np.ndarray:
    """Converts features to an array, in order: (R, F) float32.

    Raises:
      ValueError: a column is missing or occurs twice, or a value is not finite.
    """
    if hasattr(table, "to_pandas"):  # of pyarrow, polars
        table = table.to_pandas()
    elif isinstance(table, np.ndarray) and table.dtype.names:
        table = pd.DataFrame(table)
    lost = None
    if isinstance(table, pd.DataFrame):
        success = success_column(table.columns)
        if success is not None and success.strip() not in names:
            lost = lost_face(table[success].to_numpy())
        table, rest = _in_order(modality, table, names)
        rest = [name for name in rest if not is_bookkeeping(name)]
        doubt = f"{len(rest)} columns are not used: {shorten(rest)}" if rest else ""
    else:
        doubt = (
            "features without names are taken in order, unchecked; pass a DataFrame "
            "with the names of predictor.features"
        )
    if doubt:  # of whoever called predict
        warnings.warn(f"{modality}: {doubt}", UserWarning, stacklevel=4)
    try:
        values = np.asarray(table, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{modality}: not numbers ({error})") from None
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(
            f"{modality}: features of shape {values.shape}; expected {len(names)} "
            "columns"
        )
    wrong = ~np.isfinite(values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{modality}, row {row}, column {names[column]}: {values[row, column]} is "
            f"not a finite number, the first in {wrong.any(1).sum()} such rows of "
            f"{len(values)}"
        )
    if lost is not None:
        values = np.where(lost[:, None], np.float32(np.nan), values)
    return values


def _in_order(
    modality: str, table: pd.DataFrame, names: tuple[str, ...]
) -> tuple[pd.DataFrame, list[str]]:
    """Picks columns by name, ignoring outer blanks, and lists the others."""
    columns = [str(column).strip() for column in table.columns]
    places = {column: place for place, column in enumerate(columns)}
    counts = Counter(columns)
    problems = {
        "are missing": [name for name in names if name not in places],
        "occur more than once": [n for n in names if counts[n] > 1],
    }
    for what, found in problems.items():
        if found:
            raise ValueError(
                f"{modality}: {len(found)} of {len(names)} columns {what}: "
                f"{shorten(found)}; the table has {shorten(columns)}"
            )
    rest = sorted(places.keys() - set(names), key=places.__getitem__)
    return table.iloc[:, [places[name] for name in names]], rest

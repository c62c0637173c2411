"""A predictor: the parameters of one system for one main, and how to apply them.

It holds the candidates that dev chose, one member per seed and fold, and nothing of
other modalities. All of it is arrays and plain values; JAX and pandas are loaded by the
first prediction, so that a bundle opens in milliseconds.

Axes: R rows (utterances, or frames of recordings one after another), F features of a
modality, N sequences, T time, O outputs, M members.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ifusion.adjustments import Adjustment, adjust
from ifusion.systems.problem import make_problem

if TYPE_CHECKING:
    import pandas as pd

    from ifusion.inference.inputs import Inputs
    from ifusion.inference.streaming import Stream
    from ifusion.systems.chains import Chain
    from ifusion.systems.system import Predict

STEPS_AT_ONCE = 2**16  # N times T predicted together, which bounds the memory
PART = 512  # longer sequences are run in parts of so many steps; shorter ones padded


@dataclass(frozen=True, eq=False)
class Member:
    """A trained candidate.

    Attributes:
      fold: it was trained on.
      target: it predicts.
      seed: of its training.
      setting: {name: value} that dev chose, such as alpha.
      delay: [frame] by which its outputs are shifted later.
      params: nested dict of arrays.
      statistics: {m: {"mean", "std" and, if features are clipped, "low", "high":
        (F,)}} of its train partition.
      scale: mean and standard deviation that undo the scaling of its target.
      adjustments: post-processing learnt on dev.
    """

    fold: str
    target: str
    seed: int
    setting: Mapping[str, float]
    delay: int
    params: Any
    statistics: Mapping[str, Mapping[str, np.ndarray]]
    scale: tuple[float, float] = (0.0, 1.0)
    adjustments: tuple[Adjustment, ...] = ()

    @property
    def steps(self) -> tuple[Adjustment, ...]:
        """Lists what is done to its outputs over time, the delay first."""
        back = [Adjustment("shift", self.delay)] if self.delay else []
        return (*back, *self.adjustments)


class PredictedTable(NamedTuple):
    """Predictions, and doubts about them.

    Attributes:
      table: as `Predictor.predict` returns it.
      notes: what is doubtful about the features, one sentence each.
      failures: {name of a file: why it is not predicted}, of the files of a folder.
    """

    table: "pd.DataFrame"
    notes: tuple[str, ...]
    failures: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Predictor:
    """A system of a run that predicts from one main.

    Attributes:
      system: key.
      main: modality, or several joined by "+".
      features: {m: names of the features it needs, in order}.
      targets: names.
      classes: names, in the order of the outputs; () = regression.
      frame_step: [s] between rows of a recording; None = rows are utterances.
      sequence: attribute that joins utterances to sequences, or "".
      problem: entries of `ifusion.systems.system.Problem`, as JSON has them.
      members: are averaged: probabilities, or values after each member's own delay and
        post-processing.
      frames: how it reads recordings of many frames and one answer: "pooled" if the
        network reads the frames, "functionals" if it reads their means and deviations;
        "" if a recording is one row, or every row has an answer.
      max_frames: longer recordings of frames are thinned to so many; 0 = never.
      provenance: {m: extractor, version and options of its features}, see
        `ifusion.corpora.provenance`; {} = not known.
      about: corpus, licence, scores, card, see `ifusion.inference.card`.
    """

    system: str
    main: str
    features: Mapping[str, tuple[str, ...]]
    targets: tuple[str, ...]
    classes: tuple[str, ...]
    frame_step: float | None
    sequence: str
    problem: Mapping[str, Any]
    members: tuple[Member, ...]
    frames: str = ""
    max_frames: int = 0
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"Predictor({self.system!r}, main={self.main!r}, targets={self.targets}, "
            f"members={len(self.members)})"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what is compiled, so that it can be copied and pickled."""
        return {k: v for k, v in self.__dict__.items() if k not in ("run", "chains")}

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the members."""
        return tuple(dict.fromkeys(member.seed for member in self.members))

    @property
    def card(self) -> str:
        """The model card in Markdown; "" if it has none."""
        return str(self.about.get("card", ""))

    @property
    def over_time(self) -> bool:
        """Whether a sequence has an answer per row: frames, or joined utterances."""
        return self.frame_step is not None or bool(self.sequence)

    @property
    def of_many_rows(self) -> bool:
        """Whether a sequence has several rows, with one answer or many."""
        return self.over_time or bool(self.frames)

    def pick(self, seeds: Sequence[int]) -> "Predictor":
        """Returns a predictor with some of the seeds only.

        Raises:
          ValueError: there is no such seed.
        """
        for seed in seeds:
            if seed not in self.seeds:
                known = ", ".join(map(str, self.seeds))
                raise ValueError(f"no member has the seed {seed}; there are {known}")
        kept = tuple(member for member in self.members if member.seed in seeds)
        if not kept:
            raise ValueError("seeds is empty; expected at least one")
        return replace(self, members=kept)

    def with_extractors(self, names: Mapping[str, str | None]) -> "Predictor":
        """Returns a predictor that extracts features of clips in another way.

        Example:
          >>> predictor.with_extractors({"video": "vggface:weights/vgg_face.mat"})

        Args:
          names: {modality: extractor}, as `experiments/extract.py` takes it; needed if
            a file of the extractor has moved, or if the predictor names none. None
            changes nothing.

        Raises:
          ValueError: the predictor does not read a modality.
        """
        from ifusion.corpora.provenance import ASKED

        stated = {m: dict(p) for m, p in self.provenance.items()}
        for modality, name in names.items():
            if name is None:
                continue
            if modality not in self.features:
                known = " and ".join(self.features)
                raise ValueError(
                    f"--{modality}={name}: the model reads no {modality}, only {known}"
                )
            stated.setdefault(modality, {})[ASKED] = name
        return replace(self, provenance=stated)

    def predict(
        self, features: Any, recordings: Any = None, names: Sequence[str] | None = None
    ) -> "pd.DataFrame":
        """Predicts every row.

        Args:
          features: raw, as the corpus had them. One of: a table (a DataFrame, anything
            with `to_pandas`, or a dict of columns) or its path, matched by name; the
            path of a clip, which needs the extra `features`; a corpus; an array (R, F),
            with `names` or in the order of `features`, which cannot be checked. For
            several modalities a dict {m: one of these}. Rows in which OpenFace found no
            face become the train mean.
          recordings: (R,) the recording of each row; rows of one recording are together
            and in order of time. By default the column "recording" of a file, or the
            recordings of the corpus; otherwise all frames are one recording. Utterances
            need none, unless the run joined them to sequences: then give what joins
            them, such as their video. If several modalities have frames of their own,
            a dict {m: (R_m,)}, with the same recordings in the same order.
          names: of the columns of an array.

        Returns:
          One row per utterance or frame, or per recording if a recording of many frames
          has one answer. The class and the probability of each class; or each target in
          its own unit and, for frames, the time [s] in the recording. The column
          "recording" comes first if recordings are known.

        Raises:
          ValueError: a column is missing or occurs twice, an array has another width,
            a value is not finite, times are not `frame_step` apart, or features are of
            another extractor.

        Warns:
          UserWarning: for each note of `predict_table`.
        """
        predicted = self.predict_table(features, recordings, names)
        for sentence in predicted.notes:
            warnings.warn(sentence, UserWarning, stacklevel=2)
        return predicted.table

    def predict_table(
        self, features: Any, recordings: Any = None, names: Sequence[str] | None = None
    ) -> PredictedTable:
        """Predicts as `predict` does, and returns its warnings as notes.

        They are about unused columns, an array without names, another version of the
        extractor, and values far from all that the members were trained on.
        """
        from ifusion.inference.inputs import far_features, read_inputs

        inputs = read_inputs(self, features, recordings, names)
        notes = (*inputs.notes, *far_features(self, inputs.values))
        return PredictedTable(self._tabulate(inputs, self.average(inputs)), notes)

    def average(self, inputs: "Inputs") -> dict[str, np.ndarray]:
        """Averages the members: {target: (R, K) probabilities, or (R,) values}."""
        sums: dict[str, Any] = {}
        counts = dict.fromkeys(self.targets, 0)
        standardised: dict[str, dict[str, Any]] = {}  # of the last fold
        for member in self.members:
            if member.fold not in standardised:
                standardised = {member.fold: self._standardise(member, inputs)}
            found = self._outputs(member, standardised[member.fold], inputs.lengths)
            sums[member.target] = sums.get(member.target, 0) + found
            counts[member.target] += 1
        return {target: sums[target] / counts[target] for target in self.targets}

    def stream(self, without: Sequence[str] = ()) -> "Stream":
        """Starts to predict a recording while it lasts.

        Example:
          >>> stream = predictor.stream()
          >>> stream.push(frames)  # (T, F), any number of frames, as often as you like

        Args:
          without: steps of post-processing to leave out, such as ("median",), because
            they need later frames.

        Raises:
          ValueError: the system, or a step of post-processing, needs later frames.
        """
        from ifusion.inference.streaming import Stream

        return Stream(self, without)

    @cached_property
    def chains(self) -> "tuple[Chain, ...]":
        """What each member computes, layer by layer, see `ifusion.systems.chains`.

        Raises:
          ValueError: the system is not a chain of layers.
        """
        from ifusion.inference.running import chains_of

        return chains_of(self)

    @cached_property
    def run(self) -> "Predict":
        """The system's own (params, features, mask) -> outputs (N, T, O)."""
        from ifusion.systems.catalogue import find_systems

        (row,) = find_systems([self.system])
        return row.make_predict(make_problem(self.problem), self.main)

    def _standardise(self, member: Member, inputs: "Inputs") -> dict[str, Any]:
        """Standardises rows (R, F), recordings of frames, or their functionals."""
        from ifusion.preprocessing.standardise import Standardizer, standardise

        scales = {m: Standardizer(**member.statistics[m]) for m in inputs.values}
        if not self.frames:
            return {m: standardise(scales[m], x) for m, x in inputs.values.items()}
        from ifusion.corpora.corpus import Frames
        from ifusion.corpora.functionals import pool_frames
        from ifusion.preprocessing.sequences import take_recordings

        found: dict[str, Any] = {}
        for m, table in inputs.values.items():
            offsets = np.append(0, np.cumsum(inputs.frames[m]))
            frames = Frames(self.features[m], table, offsets)
            everyone = np.arange(len(inputs.lengths))
            if self.frames == "pooled":
                found[m] = take_recordings(frames, everyone, scales[m], self.max_frames)
            else:
                found[m] = standardise(scales[m], pool_frames(frames).values)
        return found

    def _outputs(
        self, member: Member, values: Mapping[str, Any], lengths: np.ndarray
    ) -> np.ndarray:
        """Predicts all rows with one member: (R, K) probabilities, or (R,) values."""
        if self.frames == "pooled":
            exists = np.ones((len(lengths), 1), np.float32)
            outputs = np.asarray(self.run(member.params, values, exists))[:, 0]
        else:
            rows = [
                self._run_some(member, values, lengths[batch], start)
                for batch, start in _batches(lengths)
            ]
            outputs = np.concatenate(rows)
        if self.classes:
            return softmax(outputs)
        mean, std = member.scale
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        own = np.asarray(outputs[:, 0], np.float64) * std + mean
        raw = adjust(own, offsets, member.steps[: bool(member.delay)])
        return adjust(raw.astype(np.float32), offsets, member.adjustments)

    def _run_some(
        self,
        member: Member,
        values: Mapping[str, np.ndarray],
        lengths: np.ndarray,
        start: int,
    ) -> np.ndarray:
        """Runs the sequences whose rows begin at `start`: (r, O) float32."""
        exists = np.zeros(_padded_shape(lengths), bool)
        exists[: len(lengths)] = np.arange(exists.shape[1]) < lengths[:, None]
        stop = start + int(lengths.sum())
        features = {}
        for m, table in values.items():
            padded = np.zeros((*exists.shape, table.shape[1]), np.float32)
            padded[exists] = table[start:stop]
            features[m] = padded
        outputs = self.run(member.params, features, exists.astype(np.float32))
        return np.asarray(outputs)[exists]

    def _tabulate(
        self, inputs: "Inputs", means: Mapping[str, np.ndarray]
    ) -> "pd.DataFrame":
        import pandas as pd

        columns: dict[str, Any] = {}
        if inputs.recordings is not None:
            columns["recording"] = inputs.recordings
        if self.classes:
            (target,), (probabilities,) = means, means.values()
            columns[target] = np.array(self.classes)[probabilities.argmax(1)]
            columns |= dict(zip(self.classes, probabilities.T, strict=True))
            return pd.DataFrame(columns)
        if self.frame_step is not None:
            steps = [np.arange(length) for length in inputs.lengths]
            columns["time"] = np.concatenate(steps) * self.frame_step
        return pd.DataFrame({**columns, **means})


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Turns outputs into probabilities: (..., K) float32 -> (..., K) float32."""
    powers = np.exp(outputs - outputs.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _batches(lengths: np.ndarray) -> Iterator[tuple[slice, int]]:
    """Cuts sequences into batches of at most `STEPS_AT_ONCE` steps.

    A longer sequence is a batch of its own, which the network runs part by part.

    Yields:
      The slice of sequences, and their first row.
    """
    first, row = 0, 0
    while first < len(lengths):
        longest = np.maximum.accumulate(lengths[first : first + STEPS_AT_ONCE])
        cells = longest * np.arange(1, len(longest) + 1)
        count = max(1, int(np.searchsorted(cells, STEPS_AT_ONCE, side="right")))
        yield slice(first, first + count), row
        row += int(lengths[first : first + count].sum())
        first += count


def _padded_shape(lengths: np.ndarray) -> tuple[int, int]:
    """Rounds (N, T) up, so that few programs are compiled."""

    def up(size: int) -> int:
        return 1 << (max(1, size) - 1).bit_length()

    longest = int(lengths.max())
    return up(len(lengths)), up(longest) if longest <= PART else longest

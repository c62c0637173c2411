"""Measures where modalities lie in the space that their branches share (Eq. 1).

This needs the branches of auxiliary modalities, which a run keeps for implicit fusion
and its baseline.

Axes: R rows of a partition, H hidden units, K classes.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ifusion.core import ImplicitFusion, predict
from ifusion.corpora.corpus import Corpus
from ifusion.evaluation.shared_space import (
    class_centroids,
    class_distance,
    cross_modal_accuracy,
)
from ifusion.experiment.fitted import load_fitted
from ifusion.experiment.gather import Partition, fit_standardizers, gather_partition
from ifusion.experiment.runs import restore_study
from ifusion.experiment.store import fit_folder, read_identity
from ifusion.losses import mean_over_steps
from ifusion.preprocessing.ragged import padded_parts
from ifusion.systems.system import Candidate


class LaneSpace(NamedTuple):
    """A lane of implicit fusion, and its map into the shared space."""

    fold: str
    candidate: Candidate
    # (partition) -> {m: (R, H)}, r_m = SP_m(f_m) of each modality, its mean over the
    # frames of a recording with one label
    represent: Any
    train: Partition
    dev: Partition


def open_spaces(run: Path, corpus: Corpus) -> Iterator[LaneSpace]:
    """Opens the shared space of every lane of implicit fusion in a run directory.

    Raises:
      ValueError: the run has no lanes of implicit fusion, or another corpus.
    """
    study = restore_study(run, corpus)
    protocol = study.protocol
    model = ImplicitFusion(
        protocol.modalities, protocol.num_outputs, protocol.architecture
    )

    @jax.jit
    def apply(params: Any, features: Mapping[str, Any], mask: Any) -> Any:
        return predict(model, params, features, mask).representations

    def represent(params: Any, partition: Partition) -> dict[str, np.ndarray]:
        exists = partition.mask > 0
        if not study.over_frames:
            found = apply(params, dict(partition.features), partition.mask)
            return {m: np.asarray(r)[exists] for m, r in found.items()}
        means = {}
        for m, x in partition.features.items():
            means[m] = np.zeros((*exists.shape, protocol.architecture.hidden_size))
            for rows, padded, mask in padded_parts({m: x}):
                r = mean_over_steps(apply(params, padded, mask)[m], jnp.asarray(mask))
                means[m][rows, 0] = r[: len(rows)]
        return {m: r[exists] for m, r in means.items()}

    for fold in study.folds:
        found = load_fitted(
            fit_folder(run, fold, "implicit_fusion"),
            auxiliary=True,
            identity=read_identity(run, fold),
        )
        standardizers = fit_standardizers(study, fold)
        train, dev = (
            gather_partition(study, fold, name, standardizers)
            for name in ("train", "dev")
        )
        for position, own in found.params.items():
            params = {**own, **found.auxiliary[position]}
            candidate = found.candidates[position]
            yield LaneSpace(fold, candidate, partial(represent, params), train, dev)


def measure_spaces(run: Path, corpus: Corpus) -> pd.DataFrame:
    """Measures how far modalities meet in each lane, see `evaluation.shared_space`.

    Compares centroids of the main modality on train with representations of the others
    on dev, so that no recording is on both sides. The run is a classification.

    Returns:
      A row per lane and auxiliary modality: fold, main, alpha, seed, auxiliary,
      transfer (unweighted average recall), distance (mean over classes), and the
      distance within each class; NaN for a lane that diverged.
    """
    rows = []
    for space in open_spaces(run, corpus):
        lane = space.candidate
        main, count = lane.main, len(corpus.classes)
        there = space.train.has.get(main, np.s_[:])
        taught = space.represent(space.train)[main][there]
        reference = class_centroids(taught, space.train.labels[there, 0], count)
        for m, r in space.represent(space.dev).items():
            if m == main:
                continue
            there = space.dev.has.get(m, np.s_[:])
            r, labels = r[there], space.dev.labels[there, 0]
            own = class_distance(reference, class_centroids(r, labels, count))
            known = np.isin(labels, np.arange(count))
            transfer = cross_modal_accuracy(reference, r[known], labels[known])
            valid = np.nan if lane.failed else 1.0
            rows.append(
                {
                    "fold": space.fold,
                    "main": main,
                    "alpha": lane.setting["alpha"],
                    "seed": lane.seed,
                    "auxiliary": m,
                    "transfer": valid * transfer,
                    "distance": valid * float(np.nanmean(own)),
                    **dict(zip(corpus.classes, valid * own, strict=True)),
                }
            )
    return pd.DataFrame(rows)

"""All systems, in table order. To add one, write a file and add a line here."""

from collections.abc import Sequence
from difflib import get_close_matches

from ifusion.systems import (
    choosing,
    cnn,
    constant,
    controls,
    curriculum,
    ddat,
    distillation,
    explicit,
    implicit_fusion,
    late_fusion,
    matching,
    multi_task,
    pseudo_labels,
    reconstruction_error,
    stacked_fusion,
    svm,
    svr,
    triplet,
)
from ifusion.systems.system import System

SYSTEMS: tuple[System, ...] = (
    # Tables 1 and 2
    constant.CONSTANT,
    svm.SVM,
    cnn.CNN,
    svr.SVR,
    curriculum.CURRICULUM,
    curriculum.RANDOM_CURRICULUM,
    curriculum.ANTI_CURRICULUM,
    reconstruction_error.TWO_STAGE,
    multi_task.MTL_RE,
    multi_task.MTL_PU,
    ddat.DDAT_RE,
    ddat.DDAT_PU,
    implicit_fusion.BASELINE,
    implicit_fusion.IMPLICIT_FUSION,
    # Fig. 1
    explicit.EARLY_FUSION,
    late_fusion.LATE_FUSION,
    late_fusion.WEIGHTED_LATE_FUSION,
    stacked_fusion.STACKED_FUSION,
    explicit.MODEL_LEVEL_FUSION,
    multi_task.MULTI_TASK_TARGETS,
    multi_task.MULTI_TASK_MODALITIES,
    # beyond the paper
    ddat.FUSED_RE,
    ddat.FUSED_PU,
    implicit_fusion.OWN_WEIGHTS,
    triplet.TRIPLET,
    distillation.DISTILLATION,
    matching.MATCHING,
    matching.SELF_MATCHING,
    # with recordings that have no label
    pseudo_labels.PSEUDO_LABELS,
    pseudo_labels.OTHER,
    pseudo_labels.FUSED,
    pseudo_labels.SELF_TRAINING,
    pseudo_labels.SHUFFLED,
    # where a gain comes from
    controls.SHUFFLED_WITHIN,
    controls.SHUFFLED_ACROSS,
    controls.NOISE,
    controls.MATCHED,
    choosing.CHOOSING,
)


def find_systems(names: Sequence[str]) -> tuple[System, ...]:
    """Finds systems by key, in table order.

    Raises:
      ValueError: if there is no name, or one is not a key.
    """
    keys = [system.key for system in SYSTEMS]
    if not names:
        raise ValueError(f"no system is named; expected some of {', '.join(keys)}")
    for name in names:
        if name not in keys:
            near = get_close_matches(name, keys)
            expected = f"expected one of {', '.join(keys)}"
            if near:
                expected = f"did you mean {' or '.join(near)}?"
            raise ValueError(f"{name!r} is not a system; {expected}")
    return tuple(x for x in SYSTEMS if x.key in names)

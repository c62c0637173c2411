"""Every system keeps the promises of the signature, on both tasks."""

from dataclasses import replace
from functools import partial
from itertools import product

import jax
import numpy as np
import pytest
from safetensors.numpy import load, save

from ifusion.corpora.corpus import JOIN
from ifusion.storage import flatten, unflatten
from ifusion.systems import neural
from ifusion.systems.catalogue import SYSTEMS, find_systems
from ifusion.systems.neural import plain_trainer
from ifusion.systems.shapes import parameter_shapes
from ifusion.systems.system import Problem, UnsuitedError
from ifusion.training.sweep import build_sweep

pytestmark = pytest.mark.usefixtures("unoptimised")

# systems that need recordings without a label, or five speakers; they have own tests
TAUGHT = {
    "generalised_distillation",
    "pseudo_labels",
    "pseudo_labels_other",
    "pseudo_labels_implicit_fusion",
    "self_training",
    "pseudo_labels_shuffled",
}
# systems that need what the small studies lack
UNSUITED = {
    "utterances": {
        *TAUGHT,
        "implicit_fusion_weights",
        "multi_task_targets",
        "svr",
        "late_fusion_ridge",
    },
    "recordings": {*TAUGHT, "implicit_fusion_weights", "svm", "svr"},
}
QUICK = {
    "utterances": {"constant", "svm", "early_fusion"},
    "recordings": {"late_fusion_ridge"},
}
ROWS = [  # each system once more than in `QUICK`, over time where it can be
    pytest.param(
        system,
        study,
        id=f"{system.key}-{study}",
        marks=() if system.key in QUICK[study] else pytest.mark.slow,
    )
    for system in SYSTEMS
    for study in ("utterances", "recordings")
    if system.key not in UNSUITED[study]
    and (study == "recordings" or system.key in QUICK[study] | UNSUITED["recordings"])
]


def test_keys_and_titles_are_unique():
    for names in ([s.key for s in SYSTEMS], [s.title for s in SYSTEMS]):
        assert len(set(names)) == len(SYSTEMS)
    needs = {need for system in SYSTEMS for need in system.needs}
    assert needs <= {"raters", "classes", "regression", "unlabelled"}


def test_systems_are_found_by_key():
    found = find_systems(["implicit_fusion", "svm"])
    assert [s.key for s in found] == ["svm", "implicit_fusion"]
    with pytest.raises(ValueError, match=r"'ddat' .* ddat_"):
        find_systems(["svm", "ddat"])
    with pytest.raises(ValueError, match="no system is named; expected some of const"):
        find_systems(())
    with pytest.raises(ValueError, match=r"'xyz' is not a system; .* constant, svm,"):
        find_systems(["xyz"])


@pytest.fixture
def side_by_side(monkeypatch):
    """Runs all lanes at once, as accelerators do."""
    monkeypatch.setattr(neural, "build_sweep", partial(build_sweep, side_by_side=True))


@pytest.mark.parametrize(("system", "study"), ROWS)
def test_a_system_fits_is_saved_and_predicts(system, study, request):
    """Lanes one by one on utterances, side by side on recordings."""
    if study == "recordings":
        request.getfixturevalue("side_by_side")
    protocol, fold = request.getfixturevalue(study)
    fitted = system.make_fit(protocol)(fold, plain_trainer)
    candidates = fitted.candidates
    mains = [JOIN.join(protocol.mains)] if system.explicit else protocol.mains
    seeds = protocol.seeds if system.seeded else protocol.seeds[:1]
    groups = {(c.main, c.target, c.seed) for c in candidates}
    assert groups == set(product(mains, protocol.targets, seeds))
    told_apart = {(c.main, c.target, c.seed, *c.setting.items()) for c in candidates}
    assert len(told_apart) == len(candidates) == len(fitted.params)
    assert all(c.parameters > 0 and not c.failed for c in candidates)
    for values in fitted.history.values():
        assert values.shape[1] == len(candidates)
    features, mask = fold.dev.features, fold.dev.mask
    for main in mains:
        own = main.split(JOIN)
        problem = Problem(  # holds nothing of other modalities
            num_features={m: protocol.num_features[m] for m in own},
            mains=tuple(own),
            targets=protocol.targets,
            num_classes=protocol.num_classes,
            frame_step=protocol.frame_step,
            architecture=protocol.architecture,
            systems=protocol.systems,
        )
        before = system.make_predict(protocol, main)
        after = system.make_predict(problem, main)
        others = set(protocol.num_features) - set(own)
        for candidate, params in zip(candidates, fitted.params, strict=True):
            if candidate.main != main:
                continue
            arrays = flatten(jax.tree.map(lambda x: np.array(x, order="C"), params))
            assert not [k for k in arrays for m in others if m in k]
            shapes = {name: array.shape for name, array in arrays.items()}
            assert parameter_shapes(system.key, problem, main, arrays) == shapes
            expected = before(params, features, mask)
            assert expected.shape == (*mask.shape, protocol.num_outputs)
            assert expected.dtype == np.float32 and np.isfinite(expected).all()
            loaded = unflatten(load(save(arrays)))
            given = {m: features[m] for m in own}
            np.testing.assert_array_equal(after(loaded, given, mask), expected)
            with pytest.raises(ValueError, match="no features"):
                after(loaded, {}, mask)


@pytest.mark.parametrize(
    ("key", "study", "sentence"),
    [
        ("implicit_fusion_weights", "recordings", "audio, video; .* three or more"),
        ("multi_task_targets", "utterances", "emotion is the only target"),
    ],
)
def test_an_unsuited_system_says_why(key, study, sentence, request):
    (system,) = find_systems([key])
    with pytest.raises(UnsuitedError, match=sentence):
        system.make_fit(request.getfixturevalue(study)[0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"windows": 2}, "cannot carry state"),
        ({"block_bytes": 1000}, "cannot read train in blocks"),
    ],
)
def test_joint_lanes_alone_carry_state_and_read_blocks(options, sentence, recordings):
    protocol = replace(recordings[0], **options)
    joint = {"baseline", "implicit_fusion", "late_fusion", "late_fusion_weighted"}
    joint |= {"late_fusion_ridge", "implicit_fusion_weights", "control_choice"}
    for system in SYSTEMS:
        if system.key not in joint:
            with pytest.raises(UnsuitedError, match=sentence):
                system.make_fit(protocol)

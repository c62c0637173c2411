"""Every system keeps the promises of the signature, on both tasks."""

from functools import partial
from itertools import product

import numpy as np
import pytest

from ifusion.systems import neural
from ifusion.systems.catalogue import SYSTEMS
from ifusion.systems.system import JOIN
from ifusion.training.sweep import build_sweep

pytestmark = pytest.mark.usefixtures("unoptimised")

# rows that need what the small studies have not
REFUSED = {
    "utterances": {
        *("implicit_fusion_weights", "multi_task_targets", "svr", "late_fusion_ridge")
    },
    "recordings": {"implicit_fusion_weights", "svm", "svr"},
}
QUICK = {
    "utterances": {"constant", "curriculum"},
    "recordings": {"constant", "mtl_pu"},
}
ROWS = [
    pytest.param(
        *(system, study),
        id=f"{system.key}-{study}",
        marks=() if system.key in QUICK[study] else pytest.mark.slow,
    )
    for system in SYSTEMS
    for study in ("utterances", "recordings")
    if system.key not in REFUSED[study]
]


def test_keys_and_titles_are_unique():
    for names in ([s.key for s in SYSTEMS], [s.title for s in SYSTEMS]):
        assert len(set(names)) == len(SYSTEMS)
    needs = {need for system in SYSTEMS for need in system.needs}
    assert needs <= {"raters", "classes", "frames", "regression"}


@pytest.fixture
def side_by_side(monkeypatch):
    """Runs all lanes at once, as accelerators do."""
    monkeypatch.setattr(neural, "build_sweep", partial(build_sweep, side_by_side=True))


@pytest.mark.parametrize(("system", "study"), ROWS)
def test_a_system_fits_and_predicts(system, study, request, watch):
    """Lanes one by one on utterances, two at once on recordings."""
    if study == "recordings":
        request.getfixturevalue("side_by_side")
    protocol, fold = request.getfixturevalue(study)
    fitted = system.make(protocol)(fold, watch)
    candidates = fitted.candidates
    mains = [JOIN.join(protocol.mains)] if system.explicit else protocol.mains
    seeds = protocol.seeds if system.seeded else protocol.seeds[:1]
    groups = {(c.main, c.target, c.seed) for c in candidates}
    assert groups == set(product(mains, protocol.targets, seeds))
    told_apart = {(c.main, c.target, c.seed, *c.setting.items()) for c in candidates}
    assert len(told_apart) == len(candidates)
    assert all(c.parameters > 0 and not c.failed for c in candidates)
    features, mask = fold.dev.features, fold.dev.mask
    outputs = fitted.predict(features, mask, range(len(candidates)))
    assert outputs.shape == (len(candidates), *mask.shape, protocol.num_outputs)
    assert np.isfinite(outputs).all()
    for main in mains:  # nothing of other modalities is needed
        mine = [i for i, c in enumerate(candidates) if c.main == main][::-1]
        needed = {m: features[m] for m in main.split(JOIN)}
        again = fitted.predict(needed, mask, mine)
        np.testing.assert_allclose(again, outputs[mine], atol=1e-6)


@pytest.mark.parametrize(
    ("key", "study", "sentence"),
    [
        ("implicit_fusion_weights", "recordings", "audio, video; .* three or more"),
        ("multi_task_targets", "utterances", "emotion is the only target"),
    ],
)
def test_a_row_says_why_it_cannot_be(key, study, sentence, request):
    (system,) = [s for s in SYSTEMS if s.key == key]
    with pytest.raises(ValueError, match=sentence):
        system.make(request.getfixturevalue(study)[0])

"""Every system keeps the promises of the signature, on both tasks."""

from itertools import product

import numpy as np
import pytest

from ifusion.systems.catalogue import SYSTEMS
from ifusion.systems.system import JOIN

pytestmark = pytest.mark.usefixtures("unoptimised")

# rows that need what the small studies have not
ALONE = {
    "implicit_fusion_weights": "utterances recordings",
    "multi_task_targets": "utterances",
}
ON = [(s, study) for s in SYSTEMS for study in ("utterances", "recordings")]


def test_keys_and_titles_are_unique():
    assert (
        len({s.key for s in SYSTEMS}) == len({s.title for s in SYSTEMS}) == len(SYSTEMS)
    )
    assert {need for s in SYSTEMS for need in s.needs} <= {
        "raters",
        "classes",
        "frames",
    }


@pytest.mark.parametrize(
    ("system", "study"), ON, ids=[f"{s.key}-{study}" for s, study in ON]
)
def test_a_system_fits_and_predicts(system, study, request, watch):
    protocol, fold = request.getfixturevalue(study)
    if study in ALONE.get(system.key, ""):
        with pytest.raises(ValueError, match="need"):
            system.make(protocol)
        return
    fitted = system.make(protocol)(fold, watch)
    mains = [JOIN.join(protocol.mains)] if system.explicit else protocol.mains
    groups = {(c.main, c.target, c.seed) for c in fitted.candidates}
    assert groups == set(product(mains, protocol.targets, protocol.seeds))
    told_apart = {
        (c.main, c.target, c.seed, *c.setting.items()) for c in fitted.candidates
    }
    assert len(told_apart) == len(fitted.candidates)
    assert all(c.parameters > 0 and not c.failed for c in fitted.candidates)
    outputs = fitted.predict(
        fold.dev.features, fold.dev.mask, range(len(fitted.candidates))
    )
    assert outputs.shape == (
        len(fitted.candidates),
        *fold.dev.mask.shape,
        protocol.num_outputs,
    )
    assert np.isfinite(outputs).all()
    for main in mains:  # nothing of other modalities is needed
        mine = [i for i, c in enumerate(fitted.candidates) if c.main == main][::-1]
        features = {m: fold.dev.features[m] for m in main.split(JOIN)}
        again = fitted.predict(features, fold.dev.mask, mine)
        np.testing.assert_allclose(again, outputs[mine], atol=1e-6)

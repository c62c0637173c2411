from dataclasses import replace

import pytest

from ifusion.systems.choosing import CHOOSING
from ifusion.systems.implicit_fusion import BASELINE
from ifusion.systems.neural import plain_trainer
from ifusion.systems.system import UnsuitedError

pytestmark = pytest.mark.usefixtures("unoptimised")


def test_as_many_baselines_as_alphas_the_first_of_them_the_baseline(utterances):
    protocol, fold = utterances
    seeds = []

    def watch(program, lanes, fold, *stage):
        seeds.append([(lane.main, lane.seed, lane.l2) for lane in lanes])
        return plain_trainer(program, lanes, fold, *stage)

    fitted = CHOOSING.make_fit(protocol)(fold, watch)
    assert len(set(seeds[0])) == 2 * 2 * 2  # mains, seeds, alphas
    assert {s for m, s, _ in seeds[0] if m == "audio"} == {0, 1, 2, 3}
    cells = [(c.main, c.seed, c.setting["baseline"]) for c in fitted.candidates]
    assert len(set(cells)) == 8 and {c.seed for c in fitted.candidates} == {0, 1}
    alone = BASELINE.make_fit(protocol)(fold, plain_trainer)
    own = {
        (c.main, c.seed): p for c, p in zip(alone.candidates, alone.params, strict=True)
    }
    for (main, seed, k), params in zip(cells, fitted.params, strict=True):
        kernel, expected = (x["output"]["kernel"] for x in (params, own[main, seed]))
        assert (kernel == expected).all() == (k == 0)


def test_a_single_alpha_leaves_nothing_to_choose(utterances):
    with pytest.raises(UnsuitedError, match="nothing to choose from"):
        CHOOSING.make_fit(replace(utterances[0], alphas=(0.0,)))


def test_fewer_baselines_may_be_asked_for(utterances):
    protocol, fold = utterances
    protocol = replace(
        protocol,
        alphas=(0.0, 0.1, 0.2, 0.3),
        systems=replace(protocol.systems, choice_baselines=3),
    )
    fitted = CHOOSING.make_fit(protocol)(fold, plain_trainer)
    assert {c.setting["baseline"] for c in fitted.candidates} == {0, 1, 2}
    with pytest.raises(ValueError, match="choice_baselines is 1; expected 0, or at"):
        replace(protocol.systems, choice_baselines=1)

import numpy as np
import pytest

from ifusion.lanes import Lane
from ifusion.systems.neural import Trained
from ifusion.systems.tuning import best_third, make_tuning

PENALTIES = tuple(round(0.01 * i, 2) for i in range(13))
BEST = {"audio": 0.03, "video": 0.11}


def make_lanes(mains=("audio", "video"), seeds=(0, 1), penalties=PENALTIES):
    return [
        Lane(main, 0.0, seed, "emotion", l2)
        for main in mains
        for l2 in penalties
        for seed in seeds
    ]


def score(main, l2, seed):
    """Highest at the best penalty of a main; seeds differ, but cancel in the mean."""
    return -abs(l2 - BEST[main]) + (0.3 if seed else -0.3)


@pytest.fixture
def watched():
    """A trainer that keeps what it was asked for, and trains nothing."""
    calls = []

    def trainer(program, lanes, fold, stage):
        calls.append((program, lanes, stage.name))
        count, epochs = len(lanes), program.training.epochs
        scores = np.array([score(x.main, x.l2, x.seed) for x in lanes])
        return Trained(
            params={"output": {"bias": np.full((count, 1), epochs)}},
            best_epoch=np.full(count, epochs),
            best_score=scores,
            failed_step=np.full(count, -1),
            history={"dev_score": np.tile(scores, (epochs, 1))},
        )

    return trainer, calls


def test_the_best_third_goes_on_and_three_are_trained_in_full(utterances, watched):
    protocol, fold = utterances
    trainer, calls = watched
    lanes, full = make_lanes(), protocol.training.epochs
    assert full > 3
    fitted = make_tuning(protocol, lanes, first_epochs=1)(fold, trainer)
    rounds = [(x.training.epochs, len(y), name) for x, y, name in calls]
    # two mains, two seeds, and 13, 5 and 2 penalties
    assert rounds == [(1, 52, "1 epochs"), (3, 20, "3 epochs"), (full, 8, "")]
    keys = [program.key for program, *_ in calls]
    assert len(set(keys)) == 3 and keys[-1] == "joint"
    trained = {(c.main, c.setting["l2"]): c.best_epoch for c in fitted.candidates}
    for main, best in BEST.items():
        in_full = {
            x for (m, x), epochs in trained.items() if (m, epochs) == (main, full)
        }
        assert best in in_full and len(in_full) == 2


def test_candidates_stay_in_the_order_of_lanes(utterances, watched):
    protocol, fold = utterances
    lanes = make_lanes()
    fitted = make_tuning(protocol, lanes, first_epochs=1)(fold, watched[0])
    found = [(c.main, c.setting["l2"], c.seed) for c in fitted.candidates]
    assert found == [(x.main, x.l2, x.seed) for x in lanes]
    for i, (candidate, params) in enumerate(
        zip(fitted.candidates, fitted.params, strict=True)
    ):
        epochs = candidate.best_epoch
        assert params["output"]["bias"] == epochs
        history = fitted.history["dev_score"][:, i]
        np.testing.assert_allclose(history[:epochs], score(*found[i]), rtol=1e-6)
        assert np.isnan(history[epochs:]).all()


@pytest.mark.parametrize(
    ("first", "penalties"), [(0, PENALTIES), (1, PENALTIES[:3]), (10**6, PENALTIES)]
)
def test_all_are_trained_in_full_where_there_is_nothing_to_save(
    utterances, watched, first, penalties
):
    protocol, fold = utterances
    trainer, calls = watched
    lanes = make_lanes(penalties=penalties)
    make_tuning(protocol, lanes, first_epochs=first)(fold, trainer)
    ((program, trained, stage),) = calls
    assert (program.training, len(trained), stage) == (
        protocol.training,
        len(lanes),
        "",
    )


def test_the_best_third_is_of_each_main_and_by_the_mean_over_seeds():
    lanes = [
        Lane(m, 0.0, s, "y", 0.0, d) for m in "ab" for d in range(4) for s in (0, 1)
    ]
    scores = np.zeros(16)
    scores[[2, 3]] = 0.4, 0.4  # a, delay 1: steadily good
    scores[[4, 5]] = 0.9, -0.9  # a, delay 2: good by one seed
    scores[[14, 15]] = 0.1, 0.0  # b, delay 3
    kept = [(lanes[k].main, lanes[k].delay) for k in best_third(lanes, scores)]
    assert set(kept) == {("a", 1), ("a", 0), ("b", 3), ("b", 0)} and len(kept) == 8
    scores[:8] = -np.inf  # all have diverged: some go on all the same
    assert {lanes[k].main for k in best_third(lanes, scores)} == {"a", "b"}


@pytest.mark.parametrize("count", [155, 231, 240, 298, 371])
def test_equal_hits_are_a_tie(count):
    """150 + 149 = 148 + 151, however the shares are rounded: the first one goes on."""
    lanes = make_lanes(mains=("audio",), penalties=PENALTIES[:3])
    for hits in ([150, 149, 148, 151, 0, 0], [148, 151, 0, 0, 149, 150]):
        shares = np.array(hits, np.float32) / np.float32(count)
        assert best_third(lanes, shares) == [0, 1]

import numpy as np
import pytest
from grids import grid_arrays

from ifusion.lanes import Lane, make_grid

ALPHAS = tuple(round(0.1 * i, 1) for i in range(11))


def test_grid_of_the_paper():
    lanes = make_grid(("audio", "video"), ("emotion",), ALPHAS, (0, 1, 2, 3, 4))
    assert len(set(lanes)) == len(lanes) == 2 * 11 * 5
    assert {lane.main for lane in lanes} == {"audio", "video"}
    assert lanes[0] == Lane("audio", 0.0, 0, "emotion")
    for lane in lanes:
        assert lane.alpha in ALPHAS and lane.seed in range(5)


@pytest.mark.parametrize(
    ("mains", "alphas", "seeds", "sentence"),
    [
        ((), (0.0,), (0,), "sweep.mains is empty"),
        (("audio",), (), (0,), "sweep.alphas is empty"),
        (("audio",), (0.0,), (), "sweep.seeds is empty"),
        (("audio", "audio"), (0.0,), (0,), "sweep.mains repeats a value"),
        (("audio",), (0.5, 0.5), (0,), "sweep.alphas repeats a value"),
        (("audio",), (0.0, 0.1, 0.1000001), (0,), "repeats a value, to six digits"),
        (("audio",), (0.0,), (1, 1), "sweep.seeds repeats a value"),
        (("audio",), (1.1,), (0,), "sweep.alphas holds 1.1; expected values in 0"),
        (("audio",), (-0.1,), (0,), "sweep.alphas holds -0.1; expected values in 0"),
        (("audio",), (float("nan"),), (0,), "sweep.alphas holds nan"),
        (("audio",), (0.0,), (-1,), "sweep.seeds holds -1; expected integers"),
        (
            ("audio",),
            (0.0,),
            (2**32,),
            "sweep.seeds holds 4294967296; expected",
        ),
    ],
)
def test_a_grid_that_cannot_be_is_refused(mains, alphas, seeds, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_grid(mains, ("emotion",), alphas, seeds)


def test_weights_are_those_of_equations_3_and_4():
    lanes = [
        Lane("audio", 0.25, 7, "arousal", 0.01, 60),
        Lane("video", 0.5, 2**32 - 1, "valence"),
    ]
    arrays = grid_arrays(lanes, ("audio", "video"), ("valence", "arousal"))
    np.testing.assert_array_equal(arrays.weights, [[1, 0.25], [0.5, 1]])
    np.testing.assert_array_equal(arrays.main, [0, 1])
    np.testing.assert_array_equal(arrays.seed, [7, 2**32 - 1])
    np.testing.assert_array_equal(arrays.target, [1, 0])
    np.testing.assert_array_equal(arrays.l2, np.float32([0.01, 0]))
    np.testing.assert_array_equal(arrays.delay, [60, 0])
    assert arrays.weights.dtype == arrays.l2.dtype == np.float32


def test_every_other_modality_weighs_alpha():
    arrays = grid_arrays(
        [Lane("text", 0.5, 0, "x")], ("video", "text", "audio"), ("x",)
    )
    np.testing.assert_array_equal(arrays.weights, [[0.5, 1, 0.5]])
    np.testing.assert_array_equal(arrays.main, [1])


def test_every_combination_is_a_lane_once():
    lanes = make_grid(
        mains=("audio", "video"),
        targets=("arousal", "valence"),
        alphas=(0, 0.5),
        seeds=(1, 2),
        l2=(0.0, 0.1),
        delays=(0, 10),
    )
    assert len(set(lanes)) == len(lanes) == 2**6
    assert lanes[:3] == (
        Lane("audio", 0.0, 1, "arousal"),
        Lane("audio", 0.5, 1, "arousal"),
        Lane("audio", 0.0, 2, "arousal"),
    )


@pytest.mark.parametrize(
    ("l2", "delays", "sentence"),
    [
        ((-0.1,), (0,), "sweep.l2 holds -0.1; expected at least 0"),
        ((float("nan"),), (0,), "sweep.l2 holds nan"),
        ((), (0,), "sweep.l2 is empty"),
        ((0.0,), (-1,), "sweep.delays holds -1"),
        ((0.0,), (), "sweep.delays is empty"),
    ],
)
def test_penalties_and_delays_that_cannot_be_are_refused(l2, delays, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_grid(("audio",), ("x",), (0.0,), (0,), l2, delays)

import pytest

from ifusion.systems.options import SystemOptions


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"lambdas": ()}, "systems.lambdas is empty"),
        ({"lambdas": (0.1, -1.0)}, "systems.lambdas holds -1.0; expected at least 0"),
        ({"crossed_alphas": (0.5, 0.5)}, "systems.crossed_alphas repeats a value"),
        ({"lambdas": (0.1, 0.10000001)}, "systems.lambdas repeats a value, to six"),
        ({"crossed_alphas": (0.5, 0.0)}, r"is \(0.5, 0.0\); expected 0 first"),
        ({"crossed_alphas": (0.0, 2.0)}, "expected 0 first, and none above 1"),
        ({"stacking_contexts": (1, 4)}, r"stacking_contexts is \(1, 4\); expected odd"),
        ({"stacking_contexts": (3.0,)}, r"stacking_contexts is \(3.0,\); expected odd"),
        ({"stacking_penalties": (0.0,)}, "stacking_penalties holds 0.0; expected"),
        ({"most_weightings": 0}, "systems.most_weightings is 0; expected 1 or more"),
        ({"curriculum_bins": 0}, "systems.curriculum_bins is 0; expected 1 or more"),
        ({"out_of_fold": -1}, "systems.out_of_fold is -1; expected 0 or more"),
        ({"out_of_fold": 1}, "systems.out_of_fold is 1; expected 0, or at least 2"),
        ({"cnn_width": 4}, "systems.cnn_width is 4; expected odd"),
        (
            {"triplet_margin": 0.0},
            "triplet_margin is 0.0; expected above 0 and below 4",
        ),
        ({"svr_windows": ()}, "systems.svr_windows is empty"),
        ({"svr_windows": (0.0,)}, "svr_windows holds 0.0; expected above 0"),
        ({"svr_delays": (-1.0,)}, "svr_delays holds -1.0; expected at least 0"),
        ({"svm_complexities": (0,)}, "svm_complexities holds 0; expected above 0"),
        ({"svm_folds": 1}, "systems.svm_folds is 1"),
        ({"svr_hop": 0.0}, "systems.svr_hop is 0.0"),
        ({"svr_epsilon": -0.1}, "systems.svr_epsilon is -0.1"),
        ({"lambdas": ("x",)}, "lambdas holds 'x'"),
    ],
)
def test_what_cannot_be_tried_is_refused(entry, sentence):
    with pytest.raises(ValueError, match=sentence):
        SystemOptions(**entry)

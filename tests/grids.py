from ifusion.systems.neural import NeuralLane, joint_weights, lane_arrays


def grid_arrays(lanes, modalities, targets):
    """The lanes of a grid as arrays, without a fold."""
    own = [
        NeuralLane(
            main=x.main,
            target=x.target,
            seed=x.seed,
            weights=joint_weights(modalities, x.main, x.alpha),
            l2=x.l2,
            delay=x.delay,
        )
        for x in lanes
    ]
    return lane_arrays(own, modalities, targets)

"""A GRU written out in numpy, one sequence and one step at a time."""

import numpy as np
import pytest


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run_layer(params, features, mask):
    """Cho et al. (2014), reset after the product: (B, T, F), (B, T) -> (B, T, H)."""
    bias = params["bias"]
    size = len(bias)
    outputs = np.zeros((*mask.shape, size))
    for b in range(len(features)):
        h = np.zeros(size)
        for t in range(features.shape[1]):
            x = features[b, t] @ params["input"]["weight"].T + params["input"]["bias"]
            u = h @ params["kernel"] if "kernel" in params else np.zeros(3 * size)
            r = sigmoid(x[:size] + u[:size])
            z = sigmoid(x[size : 2 * size] + u[size : 2 * size])
            n = np.tanh(x[2 * size :] + r * (u[2 * size :] + bias))
            if mask[b, t]:
                h = (1 - z) * n + z * h
            outputs[b, t] = h
    return outputs


@pytest.fixture(scope="session")
def numpy_stack():
    """(params of a GRUStack, (B, T, F), (B, T)) -> (B, T, H)."""

    def run(params, features, mask):
        for i in range(len(params)):
            features = run_layer(params[f"gru_{i}"], features, mask)
        return features

    return run

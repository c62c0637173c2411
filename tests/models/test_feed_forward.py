import jax
import numpy as np

from ifusion.models.feed_forward import Convolution, FeedForward, make_plain


def drawn(model, draw_like):
    network = make_plain(model, "audio", 2)
    return network, draw_like(jax.eval_shape(network.init, jax.random.key(0)))


def dense(x, layer):
    return x @ layer["kernel"] + layer["bias"]


def test_dense_layers_equal_numpy_and_know_no_other_step(draw_like):
    network, params = drawn(FeedForward(2, 4, 3), draw_like)
    x = np.random.default_rng(0).standard_normal((2, 5, 2)).astype(np.float32)
    hidden = x
    for name in ("hidden_0", "hidden_1"):
        hidden = np.maximum(dense(hidden, params[name]), 0)
    outputs = network.apply(params, {"audio": x}, np.ones((2, 5)), None)["output"]
    np.testing.assert_allclose(outputs, dense(hidden, params["output"]), rtol=1e-5)


def test_convolutions_equal_a_loop_over_steps_that_exist(draw_like):
    """Three steps around each; those that do not exist are zeros to both layers."""
    network, params = drawn(Convolution(2, 4, 3, 1), draw_like)
    x = np.random.default_rng(0).standard_normal((2, 6, 2)).astype(np.float32)
    mask = np.array([[1] * 6, [1] * 4 + [0] * 2], np.float32)
    outputs = network.apply(params, {"audio": x}, mask, None)["output"]
    for n, length in enumerate((6, 4)):
        hidden = x[n, :length]
        for name in ("hidden_0", "hidden_1"):
            kernel, bias = params[name]["kernel"], params[name]["bias"]
            padded = np.pad(hidden, ((1, 1), (0, 0)))
            steps = [
                np.einsum("kf,kfh->h", padded[t : t + 3], kernel) for t in range(length)
            ]
            hidden = np.maximum(np.stack(steps) + bias, 0)
        expected = dense(hidden, params["output"])
        np.testing.assert_allclose(outputs[n, :length], expected, rtol=1e-4, atol=1e-5)

"""Values of whole recordings: what is trained, against closed forms in numpy.

The layers below the output are held, so what is left is a linear regression of pooled
states: its loss, slopes and best weights are known.
"""

import jax
import numpy as np
import pytest
from small_runs import make_lane

from ifusion.core import ImplicitFusion, make_joint_loss
from ifusion.losses import concordance_loss, squared_error
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.sequences import KINDS, Batch

NUM, HIDDEN = 24, 4
LANE = make_lane(np.ones(1, np.float32))


def draw():
    """24 recordings of 1 to 9 steps, three of them without a label."""
    rng = np.random.default_rng(0)
    lengths = 1 + np.arange(NUM) % 9
    steps = (np.arange(9) < lengths[:, None]).astype(np.float32)
    labelled = np.ones((NUM, 1), np.float32)
    labelled[[2, 11, 20]] = 0
    labels = rng.normal(2, 3, (NUM, 1)).astype(np.float32)
    features = rng.normal(size=(NUM, 9, 3)).astype(np.float32)
    features[steps == 0] = 1e3  # where no step exists
    return Batch(
        features={"audio": features},
        mask=np.ones((NUM, 1), np.float32),
        labels=labels,
        labelled=labelled,
        steps={"audio": steps},
    )


def network(kind, outputs):
    sizes = Architecture(
        branch_layers=1, shared_layers=1, hidden_size=HIDDEN, pooling=kind
    )
    return ImplicitFusion(("audio",), outputs, sizes)


def pooled_states(kind, params, batch):
    """The pooled states of labelled recordings with a 1, (n, H + 1), and labels (n,).

    An output layer that passes on its inputs shows them.
    """
    shown = network(kind, HIDDEN)
    through = {"kernel": np.eye(HIDDEN), "bias": np.zeros(HIDDEN)}
    outputs, _ = shown.apply(
        {"params": {**params, "output": through}}, batch.features, batch.steps
    )
    known = batch.labelled[:, 0] > 0
    states = np.float64(outputs["audio"][known, 0])
    return np.column_stack([states, np.ones(known.sum())]), batch.labels[known, 0]


def start(kind):
    batch, model = draw(), network(kind, 1)
    inputs = (batch.features, batch.steps)
    params = model.init(jax.random.key(0), *inputs)["params"]
    return model, params, batch, *pooled_states(kind, params, batch)


def with_output(params, weights):
    kernel, bias = np.float32(weights[:-1, None]), np.float32(weights[-1:])
    return {**params, "output": {"kernel": kernel, "bias": bias}}


def slopes_of(task_loss, model, params, batch):
    loss = make_joint_loss(model, task_loss)
    (value, _), grads = jax.value_and_grad(loss, has_aux=True)(
        params, batch, LANE, 1, None
    )
    output = grads["output"]
    return float(value), np.append(output["kernel"][:, 0], output["bias"])


@pytest.mark.parametrize("kind", KINDS)
def test_squared_error_of_recordings_is_a_linear_regression(kind):
    model, params, batch, states, labels = start(kind)
    weights = np.linspace(-1, 1, HIDDEN + 1)
    errors = states @ weights - labels
    value, slopes = slopes_of(squared_error, model, with_output(params, weights), batch)
    np.testing.assert_allclose(value, np.mean(errors**2), rtol=1e-5)
    np.testing.assert_allclose(slopes, 2 * states.T @ errors / len(labels), rtol=1e-4)
    best, residual, *_ = np.linalg.lstsq(states, labels, rcond=None)
    value, slopes = slopes_of(squared_error, model, with_output(params, best), batch)
    np.testing.assert_allclose(value, residual[0] / len(labels), rtol=1e-4)
    np.testing.assert_allclose(slopes, 0, atol=1e-4)


def test_concordance_of_recordings_has_the_slopes_of_its_formula():
    model, params, batch, states, y = start("mean")
    weights = np.linspace(-1, 1, HIDDEN + 1)
    x, num = states @ weights, len(y)
    gap, covariance = x.mean() - y.mean(), np.cov(x, y, ddof=0)[0, 1]
    spread = x.var() + y.var() + gap**2
    each = 2 * (y - y.mean()) / (num * spread)
    each -= 2 * covariance / spread**2 * (2 * (x - x.mean()) + 2 * gap) / num
    value, slopes = slopes_of(
        concordance_loss, model, with_output(params, weights), batch
    )
    np.testing.assert_allclose(value, 1 - 2 * covariance / spread, rtol=1e-5)
    np.testing.assert_allclose(slopes, -states.T @ each, rtol=1e-4, atol=1e-6)

"""What the tests of training share: a small model, and training written out plainly.

Axes: as in `tests/conftest.py`; L lanes, B = 4 sequences a minibatch, H = 4 units.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import optax
import pytest

from ifusion.core import ImplicitFusion, predict
from ifusion.losses import cross_entropy
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.minibatches import minibatch_order

BATCH_SIZE = 4
NUM_CLASSES = 3


class Training(NamedTuple):
    """A plain run of one lane, after each update."""

    params: list
    losses: list


@pytest.fixture(scope="session")
def make_model():
    def make(modalities=("audio", "video"), recurrent=False):
        sizes = Architecture(hidden_size=4, recurrent=recurrent)
        return ImplicitFusion(modalities, NUM_CLASSES, sizes)

    return make


@pytest.fixture(scope="session")
def batch_size():
    return BATCH_SIZE


@pytest.fixture(scope="session")
def minibatches():
    """Rows of each minibatch of a seed, epoch after epoch, -1 where none is left."""

    def draw(seed, epochs, num_sequences):
        for epoch in range(1, epochs + 1):
            key, _ = jax.random.split(jax.random.fold_in(jax.random.key(seed), epoch))
            yield from np.asarray(
                minibatch_order(key, num_sequences, num_sequences, BATCH_SIZE)
            )

    return draw


@partial(jax.jit, static_argnums=(0, 1))
def _mono_modal_update(modality, recurrent, params, moments, features, labels, mask):
    sizes = Architecture(hidden_size=4, recurrent=recurrent)
    model = ImplicitFusion((modality,), NUM_CLASSES, sizes)

    def loss(params):
        outputs = predict(model, params, {modality: features}, mask).outputs[modality]
        return cross_entropy(outputs, labels, mask)

    value, grads = jax.value_and_grad(loss)(params)
    updates, moments = optax.adam(1e-3).update(grads, moments)
    return optax.apply_updates(params, updates), moments, value


@pytest.fixture(scope="session")
def train_mono_modal():
    """A loop over minibatches with Adam: one modality, no other anywhere."""

    def train(modality, params, data, batches, recurrent=False):
        parts = (f"branch_{modality}", "shared", "output")
        params = {part: params[part] for part in parts}
        moments = optax.adam(1e-3).init(params)
        done = Training([], [])
        for rows in batches:
            rows = rows[rows >= 0]
            missing = BATCH_SIZE - len(rows)
            pick = np.pad(rows, (0, missing))
            mask = data.mask[pick] * (np.arange(BATCH_SIZE) < len(rows))[:, None]
            params, moments, loss = _mono_modal_update(
                modality,
                recurrent,
                params,
                moments,
                data.features[modality][pick],
                data.labels[pick, :, 0],
                mask.astype(data.mask.dtype),
            )
            done.params.append(jax.device_get(params))
            done.losses.append(float(loss))
        return done

    return train

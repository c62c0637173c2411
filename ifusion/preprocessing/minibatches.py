"""Minibatches of padded sequences: their order, labels of a target, noise, the delay.

Pure functions that run inside the training program.

Axes: N sequences, B batch, T time, D steps of labels beyond T, K targets, O outputs, W
windows of a recording.
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.preprocessing.ragged import Bucket, Buckets, take_steps
from ifusion.preprocessing.sequences import Batch

POOL = 8  # minibatches that recordings are sorted among, by length


def epoch_keys(seed: jax.Array, epoch: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Derives the keys of an epoch: of its minibatch order, and of its noise."""
    order, noise = jax.random.split(jax.random.fold_in(jax.random.key(seed), epoch))
    return order, noise


def minibatch_order(
    key: jax.Array, num_sequences: jax.Array, capacity: int, batch_size: int
) -> jax.Array:
    """Draws the minibatches of an epoch: every sequence once, in random order.

    The draw of a sequence depends on the key and its number alone, so that room for
    more sequences changes nothing.

    Args:
      key: of the seed and the epoch.
      num_sequences: (), how many sequences exist.
      capacity: N, how many there is room for.
      batch_size: B.

    Returns:
      (steps, B), int32; -1 where no sequence is left.
    """
    draws = jax.random.uniform(key, (capacity,))
    exists = jnp.arange(capacity) < num_sequences
    order = jnp.argsort(jnp.where(exists, draws, jnp.inf)).astype(jnp.int32)
    order = jnp.where(exists, order, -1)
    steps = -(-capacity // batch_size)
    order = jnp.pad(order, (0, steps * batch_size - capacity), constant_values=-1)
    return order.reshape(steps, batch_size)


def window_order(order: jax.Array, windows: int) -> jax.Array:
    """Goes through the windows of each recording in order of time.

    Args:
      order: (steps, B), recordings of each minibatch, -1 where none is left.
      windows: W, of each recording.

    Returns:
      (steps * W, B), sequences: window w of recording q is number q * W + w.
    """
    windowed = order[:, None] * windows + jnp.arange(windows)[:, None]
    return jnp.where(order[:, None] >= 0, windowed, -1).reshape(-1, order.shape[1])


def length_order(key: jax.Array, order: jax.Array, relative: jax.Array) -> jax.Array:
    """Puts recordings of similar length together, so that little is padded.

    Not in the paper. `POOL` minibatches at a time are sorted by length and cut again;
    then all minibatches are shuffled, those of no recording last.

    Args:
      key: of the seed and the epoch.
      order: (steps, B), of `minibatch_order`.
      relative: (N,), lengths.

    Returns:
      (steps, B), the same recordings.
    """
    steps, size = order.shape
    pools = -(-steps // POOL)
    flat = jnp.pad(
        order.ravel(), (0, (pools * POOL - steps) * size), constant_values=-1
    ).reshape(pools, -1)
    lengths = jnp.where(flat >= 0, relative[flat], jnp.inf)
    flat = jnp.take_along_axis(flat, jnp.argsort(lengths, axis=1), axis=1)
    batches = flat.reshape(-1, size)
    draws = jax.random.uniform(jax.random.fold_in(key, 1), (len(batches),))
    draws = jnp.where(batches[:, 0] >= 0, draws, jnp.inf)
    return batches[jnp.argsort(draws)][:steps]


def take_batch(data: Batch, rows: jax.Array, bucket: Bucket | None = None) -> Batch:
    """Gathers the sequences `rows` (B,); those that are -1 come masked.

    Args:
      data: all sequences.
      rows: (B,).
      bucket: {m: steps to pad to}, of `Ragged` features.
    """
    taken = {}
    if bucket is not None:
        taken = {m: take_steps(x, rows, bucket[m]) for m, x in data.features.items()}
        data = data._replace(features={}, lengths=None)
    batch: Batch = jax.tree.map(lambda x: x[rows], data)
    exists = (rows >= 0)[:, None]
    batch = batch._replace(mask=batch.mask * exists, labelled=batch.labelled * exists)
    if bucket is None:
        steps = {m: own * exists for m, own in batch.steps.items()}
        return batch._replace(steps=steps)
    return batch._replace(
        features={m: values for m, (values, _) in taken.items()},
        steps={m: steps for m, (_, steps) in taken.items()},
    )


def on_batch(
    function: Callable[..., Any],
    data: Batch,
    rows: jax.Array,
    buckets: Buckets,
    *arguments: Any,
) -> Any:
    """Calls a function of the sequences `rows` (B,) as a batch, and of the arguments.

    The batch is padded to the first of the buckets, if there are any, that holds it;
    what the function returns has the same shapes for all.
    """
    if not buckets:
        return function(take_batch(data, rows), *arguments)

    def of(bucket: Bucket, *arguments: Any) -> Any:
        return function(take_batch(data, rows, bucket), *arguments)

    assert data.lengths is not None
    first = jnp.max(jnp.where(rows >= 0, data.lengths.bucket[rows], 0))
    branches = [partial(of, bucket) for bucket in buckets]
    return jax.lax.switch(first, branches, *arguments)


def take_target(batch: Batch, target: jax.Array, delay: jax.Array) -> Batch:
    """Picks the labels of a lane, shifted earlier by its annotation delay (Sec. 4.2).

    Args:
      batch: labels and extras (B, T + D, K), labelled (B, T + D).
      target: (), index in 0 ... K - 1.
      delay: () [frame], at most D: the label of step t is that of step t + delay.

    Returns:
      The batch with labels, extras (B, T) and labelled (B, T), 0 also where no step
      exists.
    """
    steps = batch.mask.shape[1]

    def shifted(x: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(x, delay, steps, axis=1)

    labels, extras = jax.tree.map(
        lambda x: shifted(jnp.take(x, target, axis=-1)), (batch.labels, batch.extras)
    )
    labelled = shifted(batch.labelled) * batch.mask
    return batch._replace(labels=labels, labelled=labelled, extras=extras)


def add_noise(key: jax.Array, batch: Batch, sigma: float) -> Batch:
    """Adds Gaussian noise of standard deviation sigma to the standardised features.

    It is drawn time first, so that room for more steps changes nothing, and with a key
    made of the modality's name, so that other modalities change nothing either.
    """
    if sigma == 0:
        return batch

    def draw(modality: str, features: jax.Array) -> jax.Array:
        b, t, f = features.shape
        name = np.uint32(zlib.crc32(modality.encode()))
        noise = jax.random.normal(
            jax.random.fold_in(key, name), (t, b, f), features.dtype
        )
        return sigma * jnp.swapaxes(noise, 0, 1)

    features = {m: f + draw(m, f) for m, f in batch.features.items()}
    return batch._replace(features=features)


def shift_back(outputs: jax.Array, delay: jax.Array) -> jax.Array:
    """Shifts predictions later, by as much as their labels were shifted earlier.

    Args:
      outputs: (N, T, O).
      delay: () [frame]: step t takes the prediction of step t - delay, the first
        `delay` steps that of step 0.
    """
    steps = jnp.maximum(jnp.arange(outputs.shape[1]) - delay, 0)
    return jnp.take(outputs, steps, axis=1)

"""Losses: one formula per function, over the steps where a mask is 1.

Not in the paper, which names no loss: cross-entropy for classes; squared error, or
1 - CCC, for regression.

Axes: B batch, T time, O outputs, M modalities, N steps; ... any leading axes.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ifusion.concordance import DIVISORS, Convention, concordance_of_moments

# (outputs, labels, mask) -> (), such as `cross_entropy`
TaskLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def cross_entropy(logits: jax.Array, labels: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean cross-entropy [nat] of the steps where mask is 1.

    Args:
      logits: (B, T, O).
      labels: (B, T), class indices.
      mask: (B, T), 1 where a step exists.

    Returns:
      (), 0 where the mask is empty.
    """
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return masked_mean(losses, mask)


def soft_cross_entropy(
    logits: jax.Array, targets: jax.Array, mask: jax.Array
) -> jax.Array:
    """Mean cross-entropy [nat] with probabilities, of the steps where mask is 1.

    With probability 1 of a single class, (0, ..., 1, ..., 0), it is `cross_entropy`.

    Args:
      logits: (B, T, O).
      targets: (B, T, O), probabilities of the classes.
      mask: (B, T), 1 where a step exists.

    Returns:
      (), 0 where the mask is empty.
    """
    return masked_mean(optax.softmax_cross_entropy(logits, targets), mask)


def squared_error(outputs: jax.Array, labels: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean squared error of the steps where mask is 1.

    Args:
      outputs: (B, T, 1), of one target.
      labels: (B, T), in the unit of the target.
      mask: (B, T), 1 where a step exists.

    Returns:
      (), 0 where the mask is empty.
    """
    return masked_mean(jnp.square(outputs[..., 0] - labels), mask)


def masked_mean(losses: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean where mask is 1: (...), (...) -> (), 0 where the mask is empty."""
    return jnp.sum(losses * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def mean_over_steps(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean over the steps of a sequence where mask is 1: (B, T, H) -> (B, H)."""
    total = jnp.sum(values * mask[..., None], axis=1)
    return total / jnp.maximum(jnp.sum(mask, axis=1), 1.0)[:, None]


def concordance_loss(
    outputs: jax.Array, labels: jax.Array, mask: jax.Array
) -> jax.Array:
    """1 - CCC of all steps of a minibatch together.

    Args:
      outputs: (B, T, 1), of one target.
      labels: (B, T), in the unit of the target.
      mask: (B, T), 1 where a step exists.

    Returns:
      (), 1 where the mask is empty.
    """
    return 1 - masked_concordance(outputs.ravel(), labels.ravel(), mask.ravel())


def sequence_concordance_loss(
    outputs: jax.Array, labels: jax.Array, mask: jax.Array
) -> jax.Array:
    """Mean over the sequences of a minibatch of 1 - CCC of each.

    Args:
      outputs: (B, T, 1), of one target.
      labels: (B, T), in the unit of the target; a sequence of constant labels costs 1
        and has no gradient.
      mask: (B, T), 1 where a step exists.

    Returns:
      (), over the sequences that have a step; 0 where none has.
    """
    losses = 1 - masked_concordance(outputs[..., 0], labels, mask)
    return masked_mean(losses, jnp.max(mask, axis=-1))


def masked_concordance(
    x: jax.Array,
    y: jax.Array,
    mask: jax.Array,
    convention: Convention = "population",
) -> jax.Array:
    """CCC in two passes, accurate in float32.

    Args:
      x: (..., N).
      y: (..., N).
      mask: (..., N), 1 where a step exists.
      convention: of variances and covariance, see `ifusion.concordance`.

    Returns:
      (...), 0 where x or y is constant or the mask is empty.
    """
    count = jnp.maximum(jnp.sum(mask, axis=-1), 1.0)
    squares, products = (
        jnp.maximum(count - taken, 1.0) for taken in DIVISORS[convention]
    )
    (start_x, mean_x, from_x), (start_y, mean_y, from_y) = (
        _centre(values, mask, count) for values in (x, y)
    )
    return concordance_of_moments(
        jnp.sum(from_x * from_y, axis=-1) / products,
        jnp.sum(jnp.square(from_x), axis=-1) / squares,
        jnp.sum(jnp.square(from_y), axis=-1) / squares,
        (start_x - start_y) + (mean_x - mean_y),
    )


def _centre(
    values: jax.Array, mask: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Centres values in two steps, so that an offset costs no digits.

    Returns:
      The first value that exists (...), the mean of all less that value (...), and the
      deviations from the mean (..., N), 0 where masked and exactly 0 of a constant.
    """
    place = jnp.argmax(mask, axis=-1, keepdims=True)
    start = jax.lax.stop_gradient(jnp.take_along_axis(values, place, axis=-1))
    shifted = (values - start) * mask
    mean = jnp.sum(shifted, axis=-1) / count
    return start[..., 0], mean, (shifted - mean[..., None]) * mask


def joint_loss(losses: Mapping[str, jax.Array], weights: jax.Array) -> jax.Array:
    """J = sum_m weights[m] * L_m, which is Eq. 3 and Eq. 4 in one line.

    Main = audio is weights (1, alpha), main = video is (alpha, 1); a third modality is
    one more entry.

    Args:
      losses: {m: ()}, one loss per modality, in the order of `weights`.
      weights: (M,), at least 0.

    Returns:
      (). A modality of weight 0 is left out rather than multiplied by 0, so that a
      loss that is not finite cannot reach J through it.
    """
    stacked = jnp.stack(list(losses.values()))
    return jnp.sum(jnp.where(weights > 0, weights * stacked, 0.0))


def penalised(grads: Any, params: Any, l2: Any, trains: Mapping[str, Any]) -> Any:
    """Adds the gradient of l2 * sum of squared weights (not biases) to gradients.

    Args:
      grads: {part: tree of arrays}.
      params: the same.
      l2: ().
      trains: {part: () bool}; those that a lane does not train get zeros.
    """
    grads = jax.tree.map(
        lambda g, p: g + 2 * l2 * p if p.ndim > 1 else g, grads, params
    )
    for part, is_trained in trains.items():
        keep = partial(jnp.where, is_trained)
        grads[part] = jax.tree.map(lambda g, keep=keep: keep(g, 0), grads[part])
    return grads


def reconstruction_error(outputs: jax.Array, features: jax.Array) -> jax.Array:
    """e_t = mean_d (x - x_hat)^2, of [30].

    Args:
      outputs: (B, T, F), x_hat.
      features: (B, T, F), x.

    Returns:
      (B, T).
    """
    return jnp.mean(jnp.square(features - outputs), axis=-1)


FAR = 1e3  # beyond all distances and margins


def triplet_loss(
    anchors: jax.Array,
    others: jax.Array,
    same: jax.Array,
    different: jax.Array,
    margin: float,
) -> jax.Array:
    """Mean of max(0, d(a, p) - d(a, n) + margin) over all triplets of a minibatch.

    d is the squared distance of the vectors scaled to length 1, 0 ... 4, as in FaceNet
    (Schroff et al., 2015).

    Args:
      anchors: (B, H), of one modality.
      others: (B, H), positives and negatives, of another modality.
      same: (B, B), 1 where other k is a positive of anchor i.
      different: (B, B), 1 where it is a negative; neither where it does not count.
      margin: of the distances.

    Returns:
      (), 0 where there is no triplet.
    """
    distances = 2 - 2 * _unit(anchors) @ _unit(others).T
    # pairs that do not count are so near, or so far, that they cost nothing
    positives = jnp.where(same, distances + margin, -FAR)
    negatives = jnp.where(different, distances, FAR)

    def count(row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Counts the triplets above 0 of each positive and negative of an anchor."""
        above = (row[0][:, None] > row[1][None, :]).astype(distances.dtype)
        return jnp.sum(above, axis=1), jnp.sum(above, axis=0)

    # The gradient of a sum of hinges is a count; one anchor at a time fits the cache.
    counts = jax.lax.map(count, jax.lax.stop_gradient((positives, negatives)))
    hinges = jnp.sum(counts[0] * positives) - jnp.sum(counts[1] * negatives)
    triplets = jnp.sum(jnp.sum(same, axis=1) * jnp.sum(different, axis=1))
    return hinges / jnp.maximum(triplets, 1.0)


def _unit(vectors: jax.Array) -> jax.Array:
    """Scales (B, H) to length 1; zeros stay zeros, with a finite gradient."""
    squares = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))

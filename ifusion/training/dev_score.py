"""Dev scores that pick the best epoch and stop early, inside the program.

Axes: N sequences, T time, K classes.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp

from ifusion.concordance import Convention
from ifusion.losses import masked_concordance, masked_mean

DevScore = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def make_dev_score(
    metric: Callable[[jax.Array], jax.Array], num_classes: int
) -> DevScore:
    """Builds (logits (N, T, K), labels (N, T), mask (N, T)) -> ().

    Args:
      metric: of a confusion matrix (K, K), of `evaluation.metrics`; the same formula
        scores in float64 what is reported.
      num_classes: K.
    """

    def dev_score(logits: jax.Array, labels: jax.Array, mask: jax.Array) -> jax.Array:
        guesses = jax.nn.one_hot(jnp.argmax(logits, axis=-1), num_classes)
        truth = jax.nn.one_hot(labels, num_classes) * mask[..., None]
        return metric(jnp.einsum("ntk,ntl->kl", truth, guesses))

    return dev_score


def pooled_concordance(
    outputs: jax.Array,
    labels: jax.Array,
    mask: jax.Array,
    convention: Convention = "population",
) -> jax.Array:
    """CCC of the steps of all recordings together.

    Args:
      outputs: (N, T, 1), of one target.
      labels: (N, T).
      mask: (N, T), 1 where a step exists.
      convention: see `ifusion.concordance`.

    Returns:
      (), 0 where the outputs or labels are constant.
    """
    return masked_concordance(outputs.ravel(), labels.ravel(), mask.ravel(), convention)


def mean_concordance(
    outputs: jax.Array,
    labels: jax.Array,
    mask: jax.Array,
    convention: Convention = "population",
) -> jax.Array:
    """Mean over recordings of the CCC of each.

    Args:
      outputs: (N, T, 1), of one target.
      labels: (N, T), one recording per sequence.
      mask: (N, T), 1 where a step exists; recordings without any are left out.
      convention: see `ifusion.concordance`.

    Returns:
      ().
    """
    each = masked_concordance(outputs[..., 0], labels, mask, convention)
    return masked_mean(each, jnp.max(mask, axis=-1))


# each takes a convention as its fourth argument
CONCORDANCE_SCORES: Mapping[str, Callable[..., jax.Array]] = MappingProxyType(
    {"ccc_pooled": pooled_concordance, "ccc_recordings": mean_concordance}
)

"""Adam in C++: one pass over gradient, parameters and moments.

It computes what `ifusion.core.by_optimizer(optax.adam(...))` does, and keeps the state
of `optax.adam`. If an input layer is wide, these arrays take as long to read as the
features, so the number of passes decides the speed.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ifusion.core import by_optimizer
from ifusion.models.native_gru import call_compiled

MEAN, SQUARE, EPSILON = 0.9, 0.999, 1e-8  # those of `optax.adam`


def by_native_adam(instructions: str, learning_rate: float) -> Callable[..., Any]:
    """Builds the change of parameters, see `ifusion.core.by_optimizer`.

    Args:
      instructions: one of `models.native_gru.find_instructions`.
      learning_rate: of Adam.
    """

    def change(
        grads: Any, params: Any, opt_state: Any, l2: Any, trains: Mapping[str, Any]
    ) -> tuple[jax.Array, Callable[[], tuple[Any, Any]]]:
        if any(x.dtype != jnp.float32 for x in jax.tree.leaves(params)):
            plain = by_optimizer(optax.adam(learning_rate))
            return plain(grads, params, opt_state, l2, trains)
        adam = opt_state[0]
        count = optax.safe_increment(adam.count)
        rate = learning_rate / (1 - MEAN**count)
        correction = 1 / (1 - SQUARE**count)

        def numbers(path: Any, param: jax.Array) -> jax.Array:
            penalty = 2 * l2 if param.ndim > 1 else 0
            trained = trains.get(path[0].key, True)
            values = (rate, correction, MEAN, SQUARE, EPSILON, penalty, trained)
            return jnp.stack([jnp.asarray(x, jnp.float32) for x in values])

        scalars = jax.tree.map_with_path(numbers, params)
        squares = jax.tree.map(
            lambda *x: call_compiled("ifusion_sum_squares", [()], instructions, *x)[0],
            grads,
            params,
            scalars,
        )

        def update() -> tuple[Any, Any]:
            def one(grad: Any, param: Any, mean: Any, square: Any, scalar: Any) -> Any:
                return call_compiled(
                    "ifusion_adam",
                    [param.shape] * 3,
                    instructions,
                    grad,
                    param,
                    mean,
                    square,
                    scalar,
                    in_place={1: 0, 2: 1, 3: 2},
                )

            changed = jax.tree.map(one, grads, params, adam.mu, adam.nu, scalars)
            pick = partial(
                jax.tree.transpose,
                jax.tree.structure(params),
                jax.tree.structure([0, 0, 0]),
            )
            params_now, mu, nu = pick(changed)
            return params_now, (
                adam._replace(count=count, mu=mu, nu=nu),
                *opt_state[1:],
            )

        return jnp.isfinite(sum(jax.tree.leaves(squares))), update

    return change

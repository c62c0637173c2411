"""The ceiling: large float32 matrix products on every core, by three libraries."""

from collections.abc import Callable

import numpy as np

SIZE = 2048  # of the square matrices


def make_numpy() -> Callable[[], None]:
    """Prepares the product of numpy's BLAS, in a process of one core."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    square = np.ones((SIZE, SIZE), np.float32)

    def run() -> None:
        np.matmul(square, square)

    return run


def make_torch() -> Callable[[], None]:
    """Prepares that of PyTorch, in a process of one core."""
    import torch

    torch.set_num_threads(1)
    square = torch.ones(SIZE, SIZE)

    def run() -> None:
        square @ square

    return run


def make_xla(cores: int) -> Callable[[], None]:
    """Prepares that of XLA, one on each of so many devices at once."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_num_cpu_devices", cores)
    square = jnp.ones((SIZE, SIZE), jnp.float32)
    copies = [jax.device_put(square, device) for device in jax.devices()]
    product = jax.jit(jnp.matmul)

    def run() -> None:
        jax.block_until_ready([product(x, x) for x in copies])

    return run

"""The GRU layer in C++, for training on a CPU; see `native_gru.h`.

It computes what `ifusion.models.gru` does, input products included, but rounds
differently. A lane runs in one thread, so neither the number of threads nor other lanes
change a bit; the instruction set does. If the package was built without a compiler,
there are no instruction sets, and everything runs in JAX.

Axes: L lanes, B batch, T time, F features, H hidden units.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

import jax
import jax.numpy as jnp


def _load() -> Any:
    """Loads what was compiled, or None: without a compiler, or for another jaxlib."""
    try:
        module = import_module("ifusion.models._native_gru")
        for name, capsule in module.handlers().items():
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except (ImportError, RuntimeError, ValueError):
        return None
    return module


_compiled = _load()

WIDE = ("avx512", "avx2")  # those that are faster than what XLA compiles
_chosen: ContextVar[str] = ContextVar("instructions", default="off")


def find_instructions() -> tuple[str, ...]:
    """Names the instruction sets that can be used here, the widest first."""
    return tuple(_compiled.instructions()) if _compiled else ()


def choose_instructions(native: str, platform: str) -> str:
    """Chooses the instruction set that layers train on.

    Args:
      native: "auto" for the widest one if layers are faster with it, "on" for the
        widest; others are returned as they are.
      platform: of the devices, such as "cpu".

    Returns:
      An instruction set, or "off".

    Raises:
      ValueError: if it is "on", and there is none.
    """
    there = find_instructions() if platform == "cpu" else ()
    if native == "auto":
        return next((name for name in there if name in WIDE), "off")
    if native == "on":
        return there[0] if there else _refuse(native)
    return native


def _refuse(native: str) -> NoReturn:
    there = find_instructions()
    found = f"compiled layers only for {', '.join(there)}" if there else "none"
    raise ValueError(
        f"sweep.native is {native!r}, but this installation runs {found}; use 'auto' "
        "in a new run, or install with a C++ compiler"
    )


@contextmanager
def running_on(instructions: str) -> Iterator[None]:
    """Lets layers that are traced inside run on an instruction set, or "off".

    Raises:
      ValueError: if it is not available.
    """
    if instructions not in ("off", *find_instructions()):
        _refuse(instructions)
    token = _chosen.set(instructions)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen_instructions(dtype: Any) -> str:
    """Returns what layers of a type run on, "off" for the plain ones in JAX."""
    return _chosen.get() if dtype == jnp.float32 else "off"


def call_compiled(
    name: str,
    shapes: Sequence[tuple[int, ...]],
    instructions: str,
    *arguments: Any,
    in_place: dict[int, int] | None = None,
) -> Any:
    """Calls a compiled function.

    Under vmap, arguments that differ between lanes have L in front; others have 1
    there, or L if a result takes their place.

    Args:
      name: of the function.
      shapes: of its results.
      instructions: one of `find_instructions`.
      arguments: float32 arrays.
      in_place: {argument: the result that takes its place}.
    """
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    method = "broadcast_all" if in_place else "expand_dims"
    call = jax.ffi.ffi_call(
        name, results, vmap_method=method, input_output_aliases=in_place
    )
    return call(*arguments, instructions=instructions)


_forward = partial(call_compiled, "ifusion_gru_forward")
_backward = partial(call_compiled, "ifusion_gru_backward")


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer(instructions: str, *arguments: jax.Array) -> jax.Array:
    """Computes `gru_layer`; no argument may be None."""
    hidden: jax.Array = _forward([_shape(arguments)], instructions, *arguments)[0]
    return hidden


def _shape(arguments: Any) -> tuple[int, ...]:
    inputs, bias = arguments[0], arguments[4]
    return (*inputs.shape[:2], bias.shape[0])


def _layer_forward(instructions: str, *given: Any) -> tuple[jax.Array, Any]:
    arguments = [x.value for x in given]
    batch_size, steps, hidden_size = shape = _shape(arguments)
    room = -(-hidden_size // 16) * 16
    shapes = shape, (steps, batch_size, 4 * room)
    hidden, cells = _forward(shapes, instructions, *arguments)
    inputs, weight, _, kernel, _, mask, initial = arguments
    # The gradient of the inputs costs as much as they do, and alone needs the weights;
    # where a layer runs under a condition, keeping them would copy them.
    kept = weight if given[0].perturbed else None
    return hidden, (kept, inputs, kernel, mask, initial, hidden, cells)


def _layer_backward(instructions: str, saved: Any, cotangent: Any) -> tuple[Any, ...]:
    weight, inputs, kernel, mask, initial, hidden, cells = saved
    wanted, hidden_size = weight is not None, initial.shape[-1]
    shapes = (
        inputs.shape if wanted else (0,),
        (3 * hidden_size, inputs.shape[-1]),
        (3 * hidden_size,),
        kernel.shape,
        (hidden_size,),
        initial.shape,
    )
    if isinstance(cotangent, jax.custom_derivatives.SymbolicZero):
        cotangent = jnp.zeros(cotangent.shape, cotangent.dtype)
    if not wanted:
        weight = jnp.zeros(0, inputs.dtype)
    into = _backward(
        shapes,
        instructions,
        inputs,
        weight,
        kernel,
        mask,
        initial,
        hidden,
        cells,
        cotangent,
    )
    into_inputs, into_weight, into_input_bias, into_kernel, into_bias, first = into
    return (
        into_inputs if wanted else None,
        into_weight,
        into_input_bias,
        into_kernel,
        into_bias,
        None,  # of the mask
        first,
    )


_layer.defvjp(_layer_forward, _layer_backward, symbolic_zeros=True)


def gru_layer(
    instructions: str,
    inputs: jax.Array,
    weight: jax.Array,
    input_bias: jax.Array,
    kernel: jax.Array | None,
    bias: jax.Array,
    mask: jax.Array,
    initial: jax.Array | None = None,
) -> jax.Array:
    """Runs a layer over a whole sequence: input products and `gru`.

    Args:
      instructions: one of `find_instructions`.
      inputs: (B, T, F) float32, as are all.
      weight: (3H, F), input weights of the gates r, z, n.
      input_bias: (3H,).
      kernel: (H, 3H), recurrent weights of the same; None if T = 1.
      bias: (H,), the recurrent bias of the candidate.
      mask: (B, T), 1 where a step exists; the state is held where it is 0.
      initial: (B, H), the hidden state before the first step; zero by default.

    Returns:
      (B, T, H), the hidden state after each step.
    """
    hidden_size = bias.shape[0]
    if kernel is None:
        kernel = jnp.zeros((0, 3 * hidden_size), inputs.dtype)
    if initial is None:
        initial = jnp.zeros((len(inputs), hidden_size), inputs.dtype)
    hidden: jax.Array = _layer(
        instructions, inputs, weight, input_bias, kernel, bias, mask, initial
    )
    return hidden

"""The number format of matrix products: the part of training that a GPU does much faster in fewer digits."""

import jax
import jax.numpy as jnp

from rbcc.compiler.ir.types import NetworkPrecision
from rbcc.runtime.errors import RunError


def check_precision(precision: NetworkPrecision) -> None:
    """Raises RunError for tf32 on a CPU. (A GPU that lacks it is told by XLA.)"""
    device = jax.devices()[0]
    if precision == "tf32" and device.platform == "cpu":
        raise RunError(
            f"training.precision: tf32 is a format of GPUs, and this is a {device.platform}; "
            "use --set training.precision=float32, or bf16"
        )


def product(a: jax.Array, b: jax.Array, precision: NetworkPrecision) -> jax.Array:
    """The matrix product of two arrays of 32-bit floats, (m, k) and (k, n), and so its derivatives.

    `tf32` rounds what is multiplied to 10 bits of mantissa, `bf16` to 7; both add up in 32 bits. `float32` rounds
    nothing: without asking for it, GPUs take tf32.
    """
    if precision == "bf16":
        return _rounded(a, b)
    chosen = jax.lax.Precision.HIGHEST if precision == "float32" else jax.lax.DotAlgorithmPreset.TF32_TF32_F32
    return jax.lax.dot(a, b, precision=chosen)


@jax.custom_vjp
def _rounded(a: jax.Array, b: jax.Array) -> jax.Array:
    # JAX's own derivative would multiply 32 by 16 bits, and round its result.
    return jax.lax.dot(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), preferred_element_type=jnp.float32)


def _rounded_gradient(kept: tuple[jax.Array, jax.Array], outer: jax.Array) -> tuple[jax.Array, jax.Array]:
    a, b = kept
    return _rounded(outer, b.T), _rounded(a.T, outer)


_rounded.defvjp(lambda a, b: (_rounded(a, b), (a, b)), _rounded_gradient)

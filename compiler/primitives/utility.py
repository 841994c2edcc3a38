"""Utility functions: what consumption is worth, in util."""

from typing import TYPE_CHECKING

from rbcc.compiler.primitives.base import primitive


if TYPE_CHECKING:
    import jax.numpy as jnp


@primitive(units="any, 1 -> util", latex=r"\frac{{{c}^{{1-{eta}}} - 1}}{{1 - {eta}}}", domain={"c": (0, None)})
def crra(c, eta):
    """Constant relative risk aversion (isoelastic) utility (c^(1 - eta) - 1) / (1 - eta); log(c) at eta = 1.

    Pratt (1964). Computed as expm1((1 - eta) log c) / (1 - eta), which loses no digits near c = 1 or eta = 1.
    """
    logarithm, slope = jnp.log(c), 1 - eta
    limit = logarithm * (1 + slope * jnp.maximum(logarithm, -1000) / 2)  # which has the right derivative by eta, too
    return jnp.where(slope == 0, limit, jnp.expm1(slope * logarithm) / jnp.where(slope == 0, 1, slope))


@primitive(units="a, 1/a -> util", latex=r"-\exp(-{a} {c})", domain={"c": (0, None), "a": (0, None)})
def cara(c, a):
    """Constant absolute risk aversion (exponential) utility -exp(-a c). Pratt (1964)."""
    return -jnp.exp(-a * c)

"""Rationing rules: who gets how much when there is not enough."""

from typing import TYPE_CHECKING

from rbcc.compiler.primitives.base import primitive


if TYPE_CHECKING:
    import jax.numpy as jnp


@primitive(units="a, a -> 1", latex=r"\min(1, {supply} / {demand})")
def ration(supply, demand):
    """The share of demand that supply can meet if all are cut alike: min(1, supply / demand), and 1 without demand."""
    return jnp.where(demand > supply, supply / jnp.where(demand > 0, demand, 1), 1)

"""Statistics over agents, whose text is copied into a generated module that needs them.

Each runs over the last axis. Sorting takes O(n log n), where comparing all pairs would take O(n^2).
"""

import inspect
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import jax.numpy as jnp


def gini(x):
    """The Gini coefficient of x (..., n): sum of |x_i - x_k| over all pairs / (2 n sum |x_i|), and 0 where all are 0.

    Each gap between neighbours in order counts for all pairs that it separates, so that rounding cannot make it
    negative.
    """
    n = x.shape[-1]
    below = jnp.arange(1.0, n).reshape((1,) * (x.ndim - 1) + (n - 1,))
    gaps = jnp.diff(jnp.sort(x, axis=-1), axis=-1)
    total = jnp.sum(jnp.abs(x), axis=-1)
    return jnp.sum(below * ((n - below) / n) * gaps, axis=-1) / jnp.where(total == 0, 1.0, total)


def quantile(x, level):
    """The quantile of x (..., n) at a level from 0 to 1, linear between neighbours in order; NaN at other levels."""
    n, level = x.shape[-1], jnp.asarray(level)[..., None]
    rank = jnp.arange(float(n)).reshape((1,) * (x.ndim - 1) + (n,))
    weights = jnp.maximum(1 - jnp.abs((n - 1) * level - rank), 0.0)
    weights = jnp.where((level >= 0) & (level <= 1), weights, jnp.nan)
    return jnp.sum(weights * jnp.sort(x, axis=-1), axis=-1)


def top_share(x, level):
    """What the largest of x (..., n) add up to, as a share of sum |x_i|: n level of them, the last one in part.

    The level itself where all are 0; NaN at levels that do not lie from 0 to 1.
    """
    n, level, x = x.shape[-1], jnp.asarray(level), jnp.sort(x, axis=-1)
    larger = jnp.arange(n - 1.0, -1.0, -1.0).reshape((1,) * (x.ndim - 1) + (n,))
    weights = jnp.clip(n * level[..., None] - larger, 0.0, 1.0)
    total = jnp.sum(jnp.abs(x), axis=-1)
    share = jnp.sum(weights * x, axis=-1) / jnp.where(total == 0, 1.0, total)
    return jnp.where((level >= 0) & (level <= 1), jnp.where(total == 0, level, share), jnp.nan)


HELPERS = {function.__name__: inspect.getsource(function) for function in (gini, quantile, top_share)}
"""The text of each function by its name."""

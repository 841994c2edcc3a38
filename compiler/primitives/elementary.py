"""Elementary functions; the generated module calls those of `jnp`."""

from typing import TYPE_CHECKING

from rbcc.compiler.primitives.base import primitive


if TYPE_CHECKING:
    import jax.numpy as jnp


@primitive(units="1 -> 1", latex=r"\exp({x})", inline="exp", domain={"x": (None, 88)})  # in single precision
def exp(x):
    """Exponential."""
    return jnp.exp(x)


@primitive(units="1 -> 1", latex=r"\log({x})", inline="log", domain={"x": (0, None)})
def log(x):
    """Natural logarithm."""
    return jnp.log(x)


@primitive(units="a^2 -> a", latex=r"\sqrt{{{x}}}", inline="sqrt", domain={"x": (0, None)})
def sqrt(x):
    """Square root."""
    return jnp.sqrt(x)


@primitive(units="a -> a", latex=r"\lvert {x} \rvert", inline="abs")
def abs(x):
    """Absolute value."""
    return jnp.abs(x)


@primitive(units="a -> a", latex=r"\lfloor {x} \rfloor", inline="floor")
def floor(x):
    """Largest whole number not above x."""
    return jnp.floor(x)


@primitive(units="any -> 1", latex=r"\operatorname{{sign}}({x})", inline="sign")
def sign(x):
    """-1, 0 or 1."""
    return jnp.sign(x)


@primitive(units="1 -> 1", latex=r"\tanh({x})", inline="tanh")
def tanh(x):
    """Hyperbolic tangent."""
    return jnp.tanh(x)


@primitive(units="a... -> a", latex=r"\min({x}, {y})", inline="minimum")
def min(x, y):
    """The smallest of two or more values."""
    return jnp.minimum(x, y)


@primitive(units="a... -> a", latex=r"\max({x}, {y})", inline="maximum")
def max(x, y):
    """The largest of two or more values."""
    return jnp.maximum(x, y)


@primitive(units="a, a, a -> a", latex=r"\operatorname{{clip}}({x}, {low}, {high})", inline="clip")
def clip(x, low, high):
    """x, but at least low and at most high."""
    return jnp.clip(x, low, high)


@primitive(units="1, a... -> a", latex=r"\operatorname{{cycle}}_{{{index}}}({values})")
def cycle(index, *values):
    """The values in turn: the first for index 0, the second for 1, and from the start again after the last."""
    turn = index % len(values)
    result = values[0]
    for place, value in enumerate(values[1:], start=1):
        result = jnp.where(turn == place, value, result)
    return result


@primitive(units="a, b, (a, b)... -> b", latex=r"\operatorname{{steps}}({x})")
def steps(x, first, at, then, *more):
    """A function that jumps: `first` where x is below `at`, `then` from there on; more pairs may follow, rising."""
    result = jnp.where(x >= at, then, first)
    for start, value in zip(more[::2], more[1::2], strict=True):
        result = jnp.where(x >= start, value, result)
    return result

"""The solvers of equations within a step, whose text is copied into a generated module that needs them.

Both find what they look for, to the last digits that rounding leaves, or give NaN: never a number that solves nothing.
Neither is differentiated itself; derivatives of what they find are those of the implicit function.
"""

import inspect
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import jax
    import jax.numpy as jnp


def root_of_each(residual, low, high):
    """Where `residual` is 0 between `low` and `high`, each element by itself; NaN where no such place is found.

    Chandrupatla's method: the ends stay on both sides of a change of sign, and come together. What they enclose is a
    root if Newton's step from there is small, and if `residual` is smaller than at the ends: not a jump, nor a pole.
    """
    low, high = jax.lax.stop_gradient((low, high))
    eps = jnp.finfo(low.dtype).eps
    near_zero = jnp.where((low > 0) | (high < 0), 0.0, 1e-3 * (high - low))

    def search(residual, start):
        def middle(a, b):
            between = jnp.sign(a) * jnp.sqrt(jnp.abs(a)) * jnp.sqrt(jnp.abs(b))
            return jnp.where(a * b > 0, between, a + (b - a) / 2)

        def best(a, b, at_a, at_b):
            return jnp.where(jnp.abs(at_a) < jnp.abs(at_b), a, b)

        def least(a, b, at_a, at_b):
            """The smallest step from `a` to `b`, as a share of their distance."""
            return (2 * eps * jnp.abs(best(a, b, at_a, at_b)) + jnp.finfo(low.dtype).tiny) / jnp.abs(b - a)

        def open_(a, b, at_a, at_b):
            apart = ((at_a > 0) & (at_b < 0)) | ((at_a < 0) & (at_b > 0))
            return apart & (least(a, b, at_a, at_b) < 0.5)

        def narrower(carry):
            count, share, a, b, c, at_a, at_b, at_c = carry
            active = open_(a, b, at_a, at_b)
            x = a + share * (b - a)
            at_x = residual(x)
            same = (at_x > 0) == (at_a > 0)
            c, at_c = jnp.where(active, jnp.where(same, a, b), c), jnp.where(active, jnp.where(same, at_a, at_b), at_c)
            b, at_b = jnp.where(active & ~same, a, b), jnp.where(active & ~same, at_a, at_b)
            a, at_a = jnp.where(active, x, a), jnp.where(active, at_x, at_a)
            place, rise = (a - b) / (c - b), (at_a - at_b) / (at_c - at_b)
            curved = at_a / (at_b - at_a) * at_c / (at_b - at_c)
            curved += (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)
            smooth = (rise**2 < place) & ((1 - rise) ** 2 < 1 - place) & jnp.isfinite(curved)
            share = jnp.where(smooth, curved, (middle(a, b) - a) / (b - a))
            step = jnp.minimum(least(a, b, at_a, at_b), 0.5)
            return count + 1, jnp.clip(share, step, 1 - step), a, b, c, at_a, at_b, at_c

        def unfinished(carry):
            count, _, a, b, _, at_a, at_b, _ = carry
            return (count < 200) & jnp.any(open_(a, b, at_a, at_b))

        at_low, at_high = residual(low), residual(high)
        share = (middle(high, low) - high) / (low - high)
        carry = (0, share, high, low, low, at_high, at_low, at_low)
        _, _, a, b, _, at_a, at_b, _ = jax.lax.while_loop(unfinished, narrower, carry)
        x = best(a, b, at_a, at_b)
        at_x, slope = jax.jvp(residual, (x,), (jnp.ones_like(x),))
        smaller = jnp.abs(at_x) <= jnp.minimum(jnp.abs(at_low), jnp.abs(at_high))
        between = (at_low <= 0) != (at_high <= 0)
        size = jnp.maximum(jnp.abs(x), near_zero)
        close = jnp.abs(at_x) <= 0.3 * jnp.sqrt(eps) * size * jnp.abs(slope)
        found = (between | (at_x == 0)) & smaller & close & jnp.isfinite(slope) & (slope != 0)
        return x, jnp.asarray(found, x.dtype)

    def tangent(change, given):
        return given / change(jnp.ones_like(given))

    x, found = jax.lax.custom_root(residual, low, search, tangent, has_aux=True)
    return jnp.where(found > 0, x, jnp.nan)


def root_of_all(residuals, low, high):
    """Unknowns between `low` and `high`, tuples of arrays, for which all `residuals` are 0; NaN if none are found.

    Newton's method from the middle, in logarithms of what is above 0, then from other places. A step is made shorter
    until the next one would be smaller. What is found is a solution if Newton's step from there is small, and if the
    equations determine it: if their derivatives are not nearly dependent.
    """
    shapes = [(part.shape, part.size) for part in low]

    def joined(parts):
        return jnp.concatenate([jnp.ravel(part) for part in parts])

    def divided(x):
        found, begin = [], 0
        for shape, size in shapes:
            found.append(jnp.reshape(x[begin : begin + size], shape))
            begin += size
        return found

    def residual(x):
        return joined(residuals(*divided(x)))

    low, high = jax.lax.stop_gradient((joined(low), joined(high)))
    eps, width = jnp.finfo(low.dtype).eps, high - low
    positive = low > 0
    first, last = (jnp.where(positive, jnp.log(jnp.where(positive, x, 1.0)), (x - low) / width) for x in (low, high))
    longest = jnp.where(positive, 1.5, 0.25)

    def search(residual, start):
        def place(y):
            x = jnp.where(positive, jnp.exp(jnp.where(positive, y, 0.0)), low + y * width)
            return jnp.clip(x, low, high)

        def scale(x):
            return jnp.where(positive, x, width)

        def newton(x):
            """The step from `x`, and what gives steps from elsewhere with the derivatives there."""
            slopes = jax.jacfwd(residual)(x) * scale(x)
            return -jnp.linalg.solve(slopes, residual(x)), slopes

        def step(carry):
            count, y, change, slopes, _ = carry
            change = change / jnp.maximum(1.0, jnp.max(jnp.abs(change) / longest))
            length = jnp.max(jnp.abs(change))

            def shorter(inner):
                share, _, _ = inner
                share = share / 2
                moved = jnp.clip(y + share * change, first, last)
                following = jnp.max(jnp.abs(jnp.linalg.solve(slopes, residual(place(moved)))))
                return share, moved, following <= (1 - share / 4) * length

            def unfinished(inner):
                share, _, good = inner
                return ~good & (share > 1e-3)

            _, moved, good = jax.lax.while_loop(unfinished, shorter, (2.0, y, False))
            y = jnp.where(good, moved, y)
            change, slopes = newton(place(y))
            return count + 1, y, change, slopes, good

        def going(carry):
            count, _, change, _, good = carry
            return (count < 60) & good & (jnp.max(jnp.abs(change)) > 4 * eps)

        def attempt(carry):
            number, _, _ = carry
            share = (0.5 + number * 0.618034 * (1 + jnp.arange(low.size))) % 1
            y = first + share * (last - first)
            change, slopes = newton(place(y))
            _, y, _, _, _ = jax.lax.while_loop(going, step, (0, y, change, slopes, jnp.all(jnp.isfinite(change))))
            x = place(y)
            change, _ = newton(x)
            moved = x + scale(x) * change
            x = jnp.where(jnp.all((moved >= low) & (moved <= high)), moved, x)
            return number + 1, x, solves(x)

        def solves(x):
            change, slopes = newton(x)
            slopes = slopes / jnp.max(jnp.abs(slopes), axis=1, keepdims=True)
            condition = jnp.max(jnp.abs(slopes)) * jnp.max(jnp.abs(jnp.linalg.inv(slopes)))
            size = jnp.where(positive, 1.0, jnp.maximum(jnp.abs(x) / width, 1e-3))
            close = jnp.abs(change) <= 0.3 * jnp.sqrt(eps) * size
            return jnp.all(close) & (condition < 0.01 / eps)

        def unsolved(carry):
            number, _, found = carry
            return ~found & (number < 8)

        _, x, found = jax.lax.while_loop(unsolved, attempt, (0, start, False))
        return x, jnp.asarray(found, x.dtype)

    def tangent(change, given):
        return jnp.linalg.solve(jax.jacobian(change)(given), given)

    x, found = jax.lax.custom_root(residual, low, search, tangent, has_aux=True)
    return tuple(divided(jnp.where(found > 0, x, jnp.nan)))


NAMES = {True: root_of_each.__name__, False: root_of_all.__name__}
"""The solver of a system, by whether each of its unknowns can be found by itself."""


def text_of(separate: bool) -> str:
    """The text of a solver."""
    return inspect.getsource(root_of_each if separate else root_of_all)

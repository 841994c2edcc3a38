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
    until the next one, with the same derivatives, is smaller. What is found is a solution if Newton's step from there
    is small, and if the equations determine it: if their derivatives are not nearly dependent.
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

    def inverse(matrix):
        """By elimination with pivots: small programs, also for many economies at once."""
        number = matrix.shape[0]

        def eliminate(k, carry):
            rows, order, used = carry
            column = rows[:, k]
            pivot = jnp.argmax(jnp.where(used, -1.0, jnp.abs(column)))
            row = rows[pivot] / column[pivot]
            rows = jnp.where((jnp.arange(number) == pivot)[:, None], row, rows - column[:, None] * row)
            return rows, order.at[k].set(pivot), used.at[pivot].set(True)

        rows = jnp.concatenate([matrix, jnp.eye(number, dtype=matrix.dtype)], axis=1)
        start = (rows, jnp.zeros(number, int), jnp.zeros(number, bool))
        rows, order, _ = jax.lax.fori_loop(0, number, eliminate, start)
        return rows[order, number:]

    low, high = jax.lax.stop_gradient((joined(low), joined(high)))
    eps, width, number = jnp.finfo(low.dtype).eps, high - low, low.size
    positive = low > 0
    first, last = (jnp.where(positive, jnp.log(jnp.where(positive, x, 1.0)), (x - low) / width) for x in (low, high))
    longest = jnp.where(positive, 1.5, 0.25)

    def search(residual, start):
        def place(y):
            x = jnp.where(positive, jnp.exp(jnp.where(positive, y, 0.0)), low + y * width)
            return jnp.clip(x, low, high)

        def begin(attempt):
            share = (0.5 + attempt * 0.618034 * (1 + jnp.arange(number))) % 1
            return first + share * (last - first)

        def improve(carry):
            attempt, count, share, y, change, inverted, _, _ = carry
            moved = jnp.clip(y + share * change, first, last)
            x = place(moved)
            scale = jnp.where(positive, x, width)
            slopes, gaps = jax.jacfwd(lambda x: (residual(x),) * 2, has_aux=True)(x)
            slopes = slopes * scale
            length = jnp.max(jnp.abs(change))
            good = (count == 0) | (jnp.max(jnp.abs(inverted @ gaps)) <= (1 - share / 4) * length)
            anew = inverse(slopes)
            step = -(anew @ gaps)
            rows = jnp.max(jnp.abs(slopes), axis=1)
            condition = jnp.max(jnp.abs(slopes) / rows[:, None]) * jnp.max(jnp.abs(anew) * rows)
            size = jnp.where(positive, 1.0, jnp.maximum(jnp.abs(x) / width, 1e-3))
            close = jnp.all(jnp.abs(step) <= 0.3 * jnp.sqrt(eps) * size) & (condition < 0.01 / eps)
            ended = jnp.all(jnp.abs(step) <= 4 * eps * size) | ((count > 0) & ~good)
            found = close & ended
            exact = x + scale * step
            x = jnp.where(jnp.all((exact >= low) & (exact <= high)), exact, x)
            limited = step / jnp.maximum(1.0, jnp.max(jnp.abs(step) / longest))
            again = ~found & ((count > 60) | (share < 1e-3) | ((count == 0) & ~jnp.all(jnp.isfinite(step))))
            attempt = attempt + again
            y = jnp.where(again, begin(attempt), jnp.where(good, moved, y))
            change = jnp.where(again, 0.0, jnp.where(good, limited, change))
            inverted = jnp.where(good, anew, inverted)
            share = jnp.where(again | good, 1.0, share / 2)
            return attempt, jnp.where(again, 0, count + 1), share, y, change, inverted, x, found

        def unsolved(carry):
            return ~carry[-1] & (carry[0] < 8)

        square = jnp.zeros((number, number), low.dtype)
        carry = (0, 0, jnp.ones((), low.dtype), begin(0), jnp.zeros_like(low), square, start, False)
        *_, x, found = jax.lax.while_loop(unsolved, improve, carry)
        return x, jnp.asarray(found, x.dtype)

    def tangent(change, given):
        return inverse(jax.jacfwd(change)(jnp.zeros_like(given))) @ given

    x, found = jax.lax.custom_root(residual, low, search, tangent, has_aux=True)
    return tuple(divided(jnp.where(found > 0, x, jnp.nan)))


NAMES = {True: root_of_each.__name__, False: root_of_all.__name__}
"""The solver of a system, by whether each of its unknowns can be found by itself."""


def text_of(separate: bool) -> str:
    """The text of a solver."""
    return inspect.getsource(root_of_each if separate else root_of_all)

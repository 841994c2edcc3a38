"""The solvers of a generated module with NumPy in place of JAX, for accounts that are tried with random numbers."""

from collections.abc import Callable, Sequence
from typing import Any


def root_of_each(residual: Callable[[Any], Any], low: Any, high: Any) -> Any:
    """What the function of this name finds in a generated module, by halving, and far beyond the ends too.

    Random states are of any size, and accounts balance at any root.
    """
    import numpy as np

    low, high = np.where(low > 0, 1e-9 * low, low), np.where(low > 0, 1e9 * high, high)
    negative = residual(low) < 0
    none = negative == (residual(high) < 0)
    for _ in range(300):
        middle = low + (high - low) / 2
        below = (residual(middle) < 0) == negative
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(none, np.nan, low)


def root_of_all(residuals: Callable[..., Any], low: Sequence[Any], high: Sequence[Any]) -> tuple[Any, ...]:
    """What the function of this name finds in a generated module, by Newton's method with differences."""
    import numpy as np

    shapes = [np.shape(part) for part in low]
    ends = np.cumsum([np.size(part) for part in low])[:-1]
    first, last = (np.concatenate([np.ravel(part) for part in side]) for side in (low, high))

    def parts(x: Any) -> list[Any]:
        return [part.reshape(shape) for part, shape in zip(np.split(x, ends), shapes, strict=True)]

    def residual(x: Any) -> Any:
        return np.concatenate([np.ravel(part) for part in residuals(*parts(x))])

    positive = first > 0
    first, last = np.where(positive, 1e-9 * first, first), np.where(positive, 1e9 * last, last)
    x, change = np.where(first > 0, np.sqrt(np.abs(first * last)), (first + last) / 2), np.inf
    for _ in range(100):
        now, steps = residual(x), 1e-6 * np.maximum(np.abs(x), 1e-3)
        slopes = [(residual(x + s) - residual(x - s)) / (2 * s.sum()) for s in np.diag(steps)]
        if not np.all(np.isfinite(slopes)):
            break
        change, share = np.linalg.solve(np.stack(slopes, axis=1), now), 1.0
        while share > 1e-6 and not (
            np.linalg.norm(residual(np.clip(x - share * change, first, last))) <= np.linalg.norm(now)
        ):
            share /= 2
        x = np.clip(x - share * change, first, last)
    found = np.all(np.abs(change) <= 1e-9 * np.maximum(np.abs(x), 1e-3))
    return tuple(part if found else np.full_like(part, np.nan) for part in parts(x))

"""Why equations that are solved within a step have no solution there, in words."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rbcc.compiler import ir


Sides = tuple[np.ndarray, np.ndarray]

TRIED = 400
"""Places between the ends of a bracket at which the sides of an equation are compared."""


def ends_of(root: ir.Root) -> tuple[ir.Expression, ir.Expression]:
    """Between which ends an unknown is looked for."""
    return next((one.low, one.high) for one in root.system.unknowns if one.symbol == root.symbol)


def no_root(checks: Any, root: ir.Root, at: Mapping[str, int], record: Mapping[str, Any]) -> str:
    """Why an unknown was not found in a step of which `record` has all arrays, for the agents in `at`."""
    system, name = root.system, ir.show(root.itself)
    low, high = (float(checks.value(end, at, record)) for end in ends_of(root))
    if not low < high:
        return f"{name} cannot lie between {low:.6g} and {high:.6g}"
    if any(isinstance(node, ir.Draw) for node in ir.walk(root)):  # whose numbers no record has
        return f"its equation has no solution with {name} between {low:.6g} and {high:.6g}"
    if not system.separate:
        return _together(checks, system, record)
    (equation,) = system.equations
    here = {index: at[own] for index, own in zip(equation.indices, root.indices, strict=True)}

    def sides(x: float) -> tuple[float, float]:
        unknown = np.full(np.shape(record[root.symbol]), x)
        left, right = _sides(checks, system, {root.symbol: unknown}, record)[0]
        place = tuple(here[index] for index in equation.indices)
        return float(left[place]), float(right[place])

    return _alone(name, sides, low, high)


def _alone(name: str, sides: Callable[[float], tuple[float, float]], low: float, high: float) -> str:
    """Why a single unknown is not found: what both sides are where it is looked for."""
    places = np.geomspace(low, high, TRIED) if low > 0 else np.linspace(low, high, TRIED)
    gaps = np.array([left - right for left, right in map(sides, map(float, places))])
    for x, gap in ((low, gaps[0]), (high, gaps[-1])):
        if np.isnan(gap):
            left, right = sides(x)
            return f"at {name} = {x:.6g} its equation is not a number: {left:.6g} on the left, {right:.6g} on the right"
    apart = (gaps[0] < 0) == (gaps[-1] < 0) and gaps[0] != 0 and gaps[-1] != 0
    if apart:
        ends = ", ".join(f"{_pair(sides(x))} at {name} = {x:.6g}" for x in (low, high))
        inside = np.flatnonzero(np.diff(np.sign(gaps)))
        if np.any(gaps[1:] == gaps[:-1]) and not np.all(gaps):
            return _undetermined(name, float(places[np.flatnonzero(gaps == 0)[0]]))
        if not len(inside):
            return f"its sides do not meet between {low:.6g} and {high:.6g}: {ends}"
        near = " and ".join(f"{places[k]:.4g}" for k in dict.fromkeys((inside[0], inside[-1])))
        return f"its sides meet more than once, near {near}, and are apart in the same way at both ends: {ends}"
    crossing = int(np.flatnonzero(np.diff(np.sign(gaps)))[0])
    a, b = float(places[crossing]), float(places[crossing + 1])
    for _ in range(60):
        middle = a + (b - a) / 2
        left, right = sides(middle)
        if (left - right < 0) == (gaps[0] < 0):
            a = middle
        else:
            b = middle
    first, second = sides(a), sides(b)
    scale = max(map(abs, (*first, *second)))
    if all(abs(left - right) <= 1e-6 * scale for left, right in (first, second)):
        return _undetermined(name, a)
    return f"the sides jump past each other at {name} = {a:.6g}: from {_pair(first)} to {_pair(second)}"


def _undetermined(name: str, place: float) -> str:
    return f"its equation does not determine {name}: near {place:.6g} the sides are equal whatever it is, or nearly so"


def _together(checks: Any, system: ir.System, record: Mapping[str, Any]) -> str:
    """Why several unknowns are not found: what the sides are in the middle, and whether that is a number at all."""
    unknowns = {}
    for one in system.unknowns:
        low, high = (checks.full(end, one.indices, record) for end in (one.low, one.high))
        unknowns[one.symbol] = np.where(low > 0, np.sqrt(np.abs(low * high)), (low + high) / 2)
    found = zip(system.equations, _sides(checks, system, unknowns, record), strict=True)
    parts = []
    for equation, (left, right) in found:
        gaps = np.abs(left - right)
        place = np.unravel_index(np.argmax(np.where(np.isnan(gaps), np.inf, gaps)), gaps.shape)
        indices = ", ".join(f"{index} = {int(k)}" for index, k in zip(equation.indices, place, strict=True))
        parts.append(
            f"{equation.text}: {_pair((float(left[place]), float(right[place])))}{f' for {indices}' * bool(indices)}"
        )
    return (
        "no solution was found between the ends, or more than one nearby: are there as many independent equations as "
        f"unknowns? In the middle {'; '.join(parts)}"
    )


def _sides(checks: Any, system: ir.System, unknowns: Mapping[str, Any], record: Mapping[str, Any]) -> list[Sides]:
    """Both sides of each equation of a system for given unknowns, in the order of the equation's indices."""
    known = {**record, **unknowns}
    with np.errstate(all="ignore"):
        for definition in system.definitions:
            known[definition.symbol] = checks.full(definition.expression, definition.indices, known)
        return [
            (
                np.asarray(checks.full(one.left, one.indices, known), float),
                np.asarray(checks.full(one.right, one.indices, known), float),
            )
            for one in system.equations
        ]


def _pair(sides: tuple[float, float]) -> str:
    return f"{sides[0]:.6g} on the left and {sides[1]:.6g} on the right"

"""Derivatives of the generated module against differences, at and around the edges of the functions in it."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.runtime.economy.model import Model, compile


SPEC = """
rbcc: 1
model: edges
horizon: 2
discount: 1
parameters: {{half: 0.5, whole: 1, two: 2, none: 0}}
agents:
  one:
    index: i
    count: 3
    state: {{s: {{start: i - 1}}}}
    actions: {{x: {{between: [-3, 3]}}}}
    reward: x[i]
  other:
    count: 1
    actions: {{u: {{between: [-3, 3]}}, v: {{between: [-3, 3]}}}}
    reward: u + v
equations:
  all: |
    s'[i] = s[i]
    {equations}
"""

# By what arguments they have: the functions and operators of the language, with conditions that keep them finite.
NUMBERS = (
    "({a} + {b})", "({a} - {b})", "-{a}", "{a} * {b}", "2 * {a}", "{a} * none", "{a}^2", "{a}^3", "abs({a})", "tanh({a})",
    "exp({a})", "cara({a}, half)", "max({a}, {b})", "min({a}, {b})", "max({a}, 0)", "min({a}, 1, {b})",
    "clip({a}, 0, 1)", "clip({a}, -1, {b})", "{a} / (1 + abs({b}))", "({a} > {b}) * {c}",
    "max({a}, 0)^half", "sqrt(max({a}, 0))", "log(max({a}, 0) + 1)", "sqrt(abs({a}))", "abs({a})^1.5",
    "crra(max({a}, 0), half)", "cobb_douglas(max({a}, 0), 1 + abs({b}), half)", "ration({a}, {b})", "2^{a}",
    "(sqrt({a}) if {a} > 0 else {b})", "({a}^half if {a} >= 1 else {b})", "(log({a}) if {a} > 0 else -1)",
    "({a} / {b} if {b} > 0 else {c})", "({a} / {b} if {b} != 0 else 0)", "({a}^-1 if not {a} <= 0 else 2)",
    "({a}^{b} if {a} > 0 else 1)", "(crra({a}, two) if {a} > 0.5 else {b})", "(0 if {a} <= 0 else sqrt({a}) * {b})",
    "(cobb_douglas({a}, {b}, half) if {a} > 0 and {b} > 0 else 0)", "(exp(100 * {a}) if {a} < 0 else 1)",
    "(1 / ({a} - {b}) if {a} > {b} + 0.1 else {c})", "min(1, {a} / max({b}, 0))", "max(log({a}), {b})",
    "max(-1, log(max({a}, 0)))", "clip(1 / {a}, -2, 2)", "steps({a}, {b}, 0, sqrt({a}), 1, 2)", "ration(1 / {a}, {b})",
    "sum(i where x[i] > 0, log(x[i]) * {a})", "sum(i where s[i] > 0, {a} / s[i])", "mean(i, sqrt(x[i]) if x[i] > 0 else {a})",
    "sum(i, {a} / (x[i] + {b}) if x[i] + {b} > 0.1 else {c})", "max(i, log(max(x[i], 0)) + {a})", "product(i where x[i] > 0, x[i]^half)",
)  # fmt: skip
LEAVES = ("u", "v", "u", "v", "u", "v", "none", "whole", "half")
EDGES = (-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0)
STEPS = 1e-6, 1e-7


def expression(random_: random.Random, depth: int, sums: bool = True) -> str:
    if depth == 0:
        return random_.choice(LEAVES)
    text = random_.choice([one for one in NUMBERS if sums or "(i" not in one])
    sums = sums and "(i" not in text  # an index has one range
    parts = {name: expression(random_, random_.randrange(depth), sums) for name in "abc"}
    return text.format(**{name: f"({part})" if part.startswith("-") else part for name, part in parts.items()})


def build(write: Callable[[str], Any], texts: list[str]) -> Model:
    lines = [f"w{number} = {text}" for number, text in enumerate(texts)]
    return compile(write(SPEC.format(equations="\n    ".join(lines))))


def points(random_: random.Random, number: int) -> np.ndarray:
    """Choices of x, u and v, (points, 5), most of them at edges, some a little beside."""
    places = [[random_.choice(EDGES) for _ in range(5)] for _ in range(number)]
    beside = [
        [random_.choice((0.0, 0.0, 1e-3, -1e-3, random_.uniform(-1, 1))) for _ in range(5)] for _ in range(number)
    ]
    return np.array(places) + np.array(beside)


@np.errstate(invalid="ignore")
def differences(f: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The derivative by differences, (points, 5), and where there is one: from all sides alike, in all directions."""
    size = at.shape[1]
    directions = np.concatenate([np.eye(size), np.random.default_rng(0).normal(size=(4, size))])
    slopes = []
    for step in STEPS:
        for side in (1, -1):
            moved = at[:, None] + side * step * directions
            slopes.append((f(moved.reshape(-1, size)).reshape(moved.shape[:2]) - f(at)[:, None]) / (side * step))
    slopes = np.array(slopes)
    mean, spread = np.mean(slopes, axis=0), np.ptp(slopes, axis=0)
    gradient = np.where(np.isfinite(mean), mean, 0)[:, :size]
    linear = np.abs(gradient @ directions.T - mean)
    tolerance = 1e-3 * (1 + np.abs(gradient).max(-1))
    smooth = np.isfinite(slopes).all((0, 2)) & (spread.max(-1) < tolerance) & (linear.max(-1) < tolerance)
    return gradient, smooth


def wrong(model: Model, texts: list[str], at: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """The points where derivatives are not those of differences: expression, point, derivative and differences."""
    state = model.reset(jax.random.key(0))

    def value(number: int, point: jax.Array) -> jax.Array:
        actions = {"one.x": point[:3], "other.u": point[3], "other.v": point[4]}
        return model.step(state, actions, jax.random.key(0))[1].values[f"w{number}"]

    for number, text in enumerate(texts):
        f = jax.jit(jax.vmap(lambda point: value(number, point)))  # noqa: B023
        found = np.asarray(jax.jit(jax.vmap(jax.grad(lambda point: value(number, point))))(at))  # noqa: B023
        expected, smooth = differences(lambda points: np.asarray(f(points)), at)  # noqa: B023
        close = np.abs(found - expected).max(-1) <= 1e-3 * (1 + np.abs(expected).max(-1))
        for bad in np.flatnonzero(smooth & ~close):
            yield text, at[bad], found[bad], expected[bad]


def check(write: Callable[[str], Any], texts: list[str], number: int) -> None:
    with jax.enable_x64(True):
        found = list(wrong(build(write, texts), texts, points(random.Random(0), number)))
    assert not found, "\n".join(map(str, found[:5]))


def test_random_expressions(write_spec: Callable[[str], Any]) -> None:
    random_ = random.Random(1)
    check(write_spec, [expression(random_, 2) for _ in range(6)], 40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_many_random_expressions(write_spec: Callable[[str], Any], seed: int) -> None:
    random_ = random.Random(f"many {seed}")
    check(write_spec, [expression(random_, 1 + number % 3) for number in range(6)], 40)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(NUMBERS), 6))
def test_every_function(write_spec: Callable[[str], Any], first: int) -> None:
    check(write_spec, [text.format(a="u", b="v", c="u") for text in NUMBERS[first : first + 6]], 60)


# By expression in x: its derivatives at -1, 0 and 4, from JAX's point of view: at 0 that of the branch which is taken.
KNOWN = {
    "sqrt(x) if x > 0 else 0": (0, 0, 1 / 4),
    "x^half if x > 0 else 0": (0, 0, 1 / 4),
    "0 if x <= 0 else x^(-half)": (0, 0, -1 / 16),
    "max(x, 0)^half": (0, np.inf, 1 / 4),
    "sqrt(min(max(x, 0), 9))": (0, np.inf, 1 / 4),
    "log(x) if x > 0 else -1": (0, 0, 1 / 4),
    "1 / x if x != 0 else 0": (-1, 0, -1 / 16),
    "crra(max(x, 0), half)": (0, np.nan, 1 / 2),
    "x^x if x > 0 else 1": (0, 0, 256 * (1 + np.log(4))),
    "exp(100 * x) if x < 0 else 1": (100 * np.exp(-100), 0, 0),
    "min(2, 1 / x)": (-1, 0, -1 / 16),
    "max(log(x + 1), -1)": (0, 1, 1 / 5),
    "stone_geary(x, 1) if x > 1 else 0": (0, 0, 1 / 3),
}  # fmt: skip

ONE = """
rbcc: 1
model: one
horizon: 1
discount: 1
use: [own.py]
parameters: {half: 0.5}
agents:
  a:
    count: 1
    actions: {x: {between: [-2, 9]}}
    reward: x
equations:
  all: |
"""

OWN = """
from rbcc import primitive


@primitive(units="a, a -> util", domain={"c": (2, None), "floor": (None, 1.5)})
def stone_geary(c, floor):
    return jnp.log(c - floor)
"""


def test_guarded_functions(write_spec: Callable[..., Any]) -> None:
    write_spec(OWN, "own.py")
    model = compile(write_spec(ONE + "".join(f"    v{n} = {text}\n" for n, text in enumerate(KNOWN))))
    state = model.reset(jax.random.key(0))

    def values(x: jax.Array) -> dict[str, jax.Array]:
        return model.step(state, {"a.x": x}, jax.random.key(0))[1].values

    for number, (text, expected) in enumerate(KNOWN.items()):
        slope = jax.vmap(jax.grad(lambda x: values(x)[f"v{number}"]))  # noqa: B023
        found = np.asarray(slope(jnp.array([-1.0, 0.0, 4.0])))
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-30, equal_nan=True), f"{text}: {found}, not {expected}"


def test_what_is_seen_as_a_logarithm_has_a_slope_at_zero(write_spec: Callable[..., Any]) -> None:
    write_spec(OWN, "own.py")
    text = ONE.replace("agents:\n", "state: {s: {start: 0, scale: 4, encode: log}}\nagents:\n")
    model = compile(write_spec(text.replace("    reward", "    observes: [s]\n    reward") + "    s' = s\n"))
    state = model.reset(jax.random.key(0))
    for at, slope in [(-4.0, 1 / 8), (0.0, 1 / 4), (4.0, 1 / 8)]:
        found = jax.grad(lambda s: model.observe({**state, "s": s})["a"][0])(jnp.float32(at))
        assert np.isclose(found, slope), at

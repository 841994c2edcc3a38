"""Statistics over agents: known answers, gradients, and what people read of them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.compiler import ir
from rbcc.compiler.analysis.intervals import Interval, Ranges
from rbcc.compiler.backends.jax.statistics import HELPERS
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.tools.diff import difference
from rbcc.compiler.tools.formatter import format_text
from rbcc.runtime.economy.model import Model, compile


SPEC = """rbcc: 1
model: holders
units: [money]
horizon: 2
discount: 1
parameters: {level: 0.1}
agents:
  holder:
    index: [i, k]
    count: PEOPLE
    state:
      wealth: {start: 1 + i, unit: money, scale: 1}
      debt: {over: shop, start: 1, unit: money}
    actions: {save: {between: [0, 1], unit: money}}
    observes: ["gini(k, wealth[k])", "argmax(k, wealth[k])", wealth, time]
    reward: wealth'[i] * (1 - gini(k, wealth[k]))
  shop:
    index: j
    count: 3
    state: {rent: {start: 1, unit: money}}
    actions: {ask: {between: [0, 1], unit: money}}
    reward: ask[j]
equations:
  statistics: |
    inequality = gini(i, wealth[i])
    middle = median(i, wealth[i])
    at_level = quantile(i, wealth[i], level)
    top = top_share(i, wealth[i], level)
    of_pairs = quantile(i, k, wealth[i] + wealth[k], 0.25)
    of_shops[j] = gini(i, debt[i,j])
    at_own[j] = quantile(i, wealth[i], j / 2)
  members: |
    dearest = argmax(j, rent[j])
    cheapest[i] = argmin(j, rent[j] + debt[i,j])
    paid[i] = rent[cheapest[i]] + rent[dearest]
    visits[j] = count(i where cheapest[i] == j)
    flagged[j] = dearest == j
  next: |
    wealth'[i] = wealth[i] + save[i]
    debt'[i,j] = debt[i,j]
    rent'[j] = ask[j]
indicators: {gini: inequality, ratio: "median(i, wealth[i]) / quantile(i, wealth[i], 0.9)"}
silence: [RB207, RB804]
"""
PEOPLE = 5
Found = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("statistics") / "model.yaml"
    path.write_text(SPEC.replace("PEOPLE", str(PEOPLE)), encoding="utf-8")
    return compile(path)


def step(model: Model, level: Any, state: dict[str, Any]) -> dict[str, Any]:
    """The values of the equations in a state."""
    actions = {name: jnp.zeros(space.shape) for name, space in model.spaces.items()}
    return dict(model.step(state, actions, jax.random.key(0), {"level": level})[1].values)


@pytest.fixture(scope="module")
def found(model: Model) -> Found:
    """The values of the equations at a level, with some states in place of those at the start."""
    program, start = jax.jit(lambda level, state: step(model, level, state)), model.reset(jax.random.key(0))

    def values(level: float = 0.1, **changes: Any) -> dict[str, np.ndarray]:
        state = {name: changes.pop(name.rpartition(".")[2], value) for name, value in start.items()}
        assert not changes
        return jax.device_get(program(level, {name: jnp.asarray(x, start[name].dtype) for name, x in state.items()}))

    return values


# What the generated module computes, by NumPy: the functions are texts that need `jnp` alone.
FUNCTIONS: dict[str, Any] = {"jnp": np}
for text in HELPERS.values():
    exec(text, FUNCTIONS)
gini, quantile, top_share = (FUNCTIONS[name] for name in HELPERS)


# --- known answers: the functions themselves on many numbers ----------------------------------------------------------

N = 2000
GRID = (np.arange(N) + 0.5) / N  # probabilities; a distribution has these quantiles
NORMAL = NormalDist()
SCORES = np.array([NORMAL.inv_cdf(p) for p in GRID])


@pytest.mark.parametrize(
    ("quantiles", "mean_difference", "top"),
    [
        (np.ones(N), 0, 0.1),
        (GRID, 1 / 3, 2 * 0.1 - 0.1**2),
        (-np.log(1 - GRID), 1 / 2, 0.1 * (1 - math.log(0.1))),
        (np.exp(0.8 * SCORES), math.erf(0.4), 1 - NORMAL.cdf(NORMAL.inv_cdf(0.9) - 0.8)),
        ((1 - GRID) ** (-1 / 3), 1 / 5, 0.1 ** (2 / 3)),
    ],
    ids=["equal", "uniform", "exponential", "lognormal", "pareto"],
)
def test_distributions(quantiles: np.ndarray, mean_difference: float, top: float) -> None:
    """Of quantile grids: within what the grid leaves out of the tail."""
    x = np.random.default_rng(0).permutation(quantiles)
    assert gini(x) == pytest.approx(mean_difference, abs=1e-3)
    assert top_share(x, 0.1) == pytest.approx(top, abs=1e-3)
    for level in (0, 0.123, 0.5, 0.9, 1):
        assert quantile(x, level) == pytest.approx(np.quantile(x, level), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000])
def test_one_has_everything(n: int) -> None:
    x = np.zeros(n)
    x[n // 2] = 7
    assert gini(x) == pytest.approx(1 - 1 / n)
    assert top_share(x, 0.5) == pytest.approx(min(1, n / 2))


def test_rounding_makes_no_gini_negative() -> None:
    random = np.random.default_rng(1)
    alike = np.full((50, 999), 0.1, np.float32) * random.choice(np.array([1, 3, 1e6], np.float32), (50, 1))
    assert np.all(gini(alike) == 0)


# --- known answers by hand --------------------------------------------------------------------------------------------


def test_by_hand(found: Found) -> None:
    y = found(0.3, wealth=[4, 1, 3, 2, 10])
    # Sum of the differences of all 10 pairs: 1 2 3 9, 1 2 8, 1 7, 6 = 40; the total is 20.
    assert y["inequality"] == pytest.approx(2 * 40 / (2 * 5 * 20))
    assert (y["middle"], y["at_level"]) == (3, pytest.approx(np.quantile([1, 2, 3, 4, 10], 0.3)))
    assert y["top"] == pytest.approx((10 + 0.5 * 4) / 20)  # one and a half of five
    pairs = np.add.outer([4, 1, 3, 2, 10], [4, 1, 3, 2, 10])
    assert y["of_pairs"] == pytest.approx(np.quantile(pairs, 0.25))
    assert y["at_own"] == pytest.approx([1, 3, 10])


def test_each_of_another_type_has_a_statistic(found: Found) -> None:
    debt = np.zeros((PEOPLE, 3))
    debt[:, 1], debt[2, 2] = 3, 9
    assert found(debt=debt)["of_shops"] == pytest.approx([0, 0, 1 - 1 / PEOPLE])


def test_debts(found: Found) -> None:
    """Gini and top shares are shares of the sum of absolute values: finite whatever the total, and Gini below 1."""
    y = found(0.4, wealth=[-2, -1, 0, 1, 2])
    # The differences of all pairs sum to 20, the absolute values to 6: (2 * 20) / (2 * 5 * 6).
    assert (y["inequality"], y["top"]) == (pytest.approx(2 / 3), pytest.approx(3 / 6))
    y = found(0.2, wealth=[-5, -5, -5, -5, -5])
    assert (y["inequality"], y["top"]) == (0, pytest.approx(-0.2))
    y = found(0.2, wealth=[0, 0, 0, 0, 0])
    assert (y["inequality"], y["top"]) == (0, pytest.approx(0.2))
    random = np.random.default_rng(2)
    x = random.normal(size=(200, 7)) * random.choice([0, 1, 1e4], (200, 7))
    assert np.all(gini(x) <= 1 - 1 / 7 + 1e-12)
    assert np.all(gini(np.abs(x)) <= 1 - 1 / 7 + 1e-12)


def test_what_is_not_a_number_is_not_hidden() -> None:
    bad, good = np.array([1, np.nan, 2]), np.arange(3.0)
    assert np.isnan([gini(bad), quantile(bad, 0.5), top_share(bad, 0.5)]).all()
    assert np.isnan([function(good, level) for function in (quantile, top_share) for level in (-0.1, 1.1)]).all()


# --- members ----------------------------------------------------------------------------------------------------------


def test_the_first_of_several_is_chosen(found: Found) -> None:
    debt = np.zeros((PEOPLE, 3))
    debt[0] = [5, 0, 4]
    y = found(rent=[2, 3, 3], debt=debt)
    assert y["dearest"] == 1  # of 1 and 2
    assert y["cheapest"].tolist() == [1, 0, 0, 0, 0]
    assert y["paid"].tolist() == [6, 5, 5, 5, 5]
    assert y["visits"].tolist() == [4, 1, 0]
    assert y["flagged"].tolist() == [False, True, False]


def test_observed(model: Model, found: Found) -> None:
    state = model.reset(jax.random.key(0)) | {"holder.wealth": jnp.asarray([1.0, 7, 7, 0, 0])}
    seen = np.asarray(model.observe(state)["holder"])[3]
    assert seen[0] == pytest.approx(found(wealth=[1, 7, 7, 0, 0])["inequality"])
    assert seen[1:6].tolist() == [0, 1, 0, 0, 0]


# --- programs ---------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_finite_differences(model: Model) -> None:
    names, h = ("inequality", "middle", "at_level", "top", "of_pairs", "at_own"), 1e-6
    with jax.enable_x64(True):
        start = model.reset(jax.random.key(0))

        def values(x: jax.Array) -> dict[str, jax.Array]:
            y = step(model, 0.3, start | {"holder.wealth": x})
            return {name: y[name] for name in names}

        # Also where all have the same, or nothing: not the slope, which is not one number there, but a finite one.
        places = jnp.asarray([[2.0, -1.0, 0.6, 4.0, 3.5], [0.0] * PEOPLE, [1.0] * PEOPLE])
        exact = jax.device_get(jax.jit(jax.vmap(jax.jacrev(values)))(places))
        around = places[0] + jnp.concatenate([h * jnp.eye(PEOPLE), -h * jnp.eye(PEOPLE)])
        apart = jax.device_get(jax.jit(jax.vmap(values))(around))
    for name in names:
        slopes = (apart[name][:PEOPLE] - apart[name][PEOPLE:]) / (2 * h)
        assert exact[name][0] == pytest.approx(slopes.T, abs=1e-7), name
        assert np.any(slopes != 0), name
        assert np.all(np.isfinite(exact[name])), name


# --- what the compiler knows ------------------------------------------------------------------------------------------


def test_units_and_kinds(model: Model) -> None:
    def told(name: str) -> tuple[str, str, str | None]:
        kind = model.ir.symbol(name).type
        return str(kind.kind), str(kind.unit), kind.of

    assert {told(name) for name in ("inequality", "top", "of_shops")} == {("number", "1", None)}
    assert {told(name) for name in ("middle", "at_level", "of_pairs")} == {("number", "money", None)}
    assert {told(name) for name in ("dearest", "cheapest")} == {("choice", "1", "shop")}


def test_a_value_is_known_when_its_parts_are(model: Model) -> None:
    times = {name: model.ir.symbol(name).type.time.name for name in ("inequality", "dearest", "cheapest")}
    assert set(times.values()) == {"NOW"}


@pytest.mark.parametrize(
    ("expression", "low", "high"),
    [
        ("gini(i, wealth[i])", 0, 1 - 1 / 5),
        ("gini(i, -1 - i)", 0, 1 - 1 / 5),
        ("median(i, i - 1)", -1, 3),
        ("quantile(i, i, level)", 0, 4),
        ("top_share(i, i^2, level)", 0.1, 1),
        ("top_share(i, wealth[i], level)", -1, 1),
        ("top_share(i, i - 1, level)", -1, 1),
    ],
)
def test_ranges(write_spec: Callable[..., Path], expression: str, low: float, high: float) -> None:
    text = SPEC.replace("PEOPLE", "5").replace("gini: inequality,", f'it: "{expression}",')
    model = compile_spec(write_spec(text)).model
    ranges = Ranges(model)
    assert ranges.of(model.indicators[0].expression, ranges.fixed) == Interval(low, high)


def test_text_and_json(model: Model) -> None:
    shown = model.ir.text()
    for line in (
        "inequality = gini(i, holder.wealth[i])", "middle = median(i, holder.wealth[i])",
        "at_level = quantile(i, holder.wealth[i], level)", "cheapest[i] = argmin(j, shop.rent[j] + holder.debt[i, j])",
    ):  # fmt: skip
        assert f"  {line}\n" in shown
    assert ir.from_json(json.loads(json.dumps(ir.to_json(model.ir)))) == model.ir


def test_formatting() -> None:
    """Signs of equality are aligned; what stands on the right is left as it is."""
    formatted = format_text(SPEC, "model.yaml")
    assert "at_level    = quantile(i, wealth[i], level)\n" in formatted
    assert formatted == format_text(SPEC.replace("quantile(i, wealth[i], level)", "quantile(i,wealth[i],level)"), "a")


def test_another_level_is_another_model(model: Model, write_spec: Callable[..., Path]) -> None:
    text = SPEC.replace("PEOPLE", "5")
    same = text.replace("gini(i, wealth[i])", "gini(k, wealth[k])")
    assert not difference(compile_spec(write_spec(same)).model, model.ir)
    assert difference(compile_spec(write_spec(text.replace("0.9)", "0.8)"))).model, model.ir)


def test_an_account_that_leads_through_the_richest_is_proved(write_spec: Callable[..., Path]) -> None:
    """The money that the richest shop gets is what holders pay, whoever the richest is."""
    text = SPEC.replace("PEOPLE", "5").replace("wealth[i] + save[i]", "wealth[i] - save[i]")
    text = text.replace("rent'[j] = ask[j]", "rent'[j] = rent[j] + (sum(i, save[i]) if j == argmax(b, rent[b]) else 0)")
    text = text.replace("index: j\n", "index: [j, b]\n").replace("reward: ask[j]", "reward: ask[j] + rent'[j]")
    accounts = "accounts: {money: {stocks: [wealth, rent]}}\n"
    assert compile_spec(write_spec(text + accounts)).model.accounts

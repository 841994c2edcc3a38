"""Equations that are solved within a step: what is found is right to the last digits, and nothing wrong is found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.compiler.backends.jax.roots import text_of
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.validation.conditions import Checks, record_of
from rbcc.runtime.validation.property_testing import try_out


def solver(separate: bool) -> Callable[..., Any]:
    """A solver as generated modules have it: by its text, with nothing but JAX."""
    scope: dict[str, Any] = {"jax": jax, "jnp": jnp}
    exec(text_of(separate), scope)
    return scope["root_of_each" if separate else "root_of_all"]


EACH, ALL = solver(True), solver(False)
LOW, HIGH = jnp.asarray(0.01), jnp.asarray(100.0)


# --- one unknown ---------------------------------------------------------------------------------------------------


def power_law(a: jax.Array) -> jax.Array:
    return EACH(lambda x: a / x - 2 * jnp.sqrt(x), jnp.full(a.shape, 0.01), jnp.full(a.shape, 100.0))


def test_each_is_found_with_its_derivative() -> None:
    a = jnp.geomspace(0.01, 1000, 40)
    exact = (a / 2) ** (2 / 3)
    found, slope = jax.jit(lambda a: jax.jvp(power_law, (a,), (jnp.ones_like(a),)))(a)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    np.testing.assert_allclose(slope, 2 / 3 * exact / a, rtol=1e-5)
    many, back = jax.jit(jax.vmap(jax.value_and_grad(lambda a: power_law(a).sum())))(jnp.stack([a, 2 * a]))
    np.testing.assert_allclose(many, [exact.sum(), 2 ** (2 / 3) * exact.sum()], rtol=1e-6)
    np.testing.assert_allclose(back[0], 2 / 3 * exact / a, rtol=1e-5)


def test_second_derivatives() -> None:
    a = jnp.asarray(3.0)
    second = jax.grad(jax.grad(lambda a: EACH(lambda x: x**3 - a, LOW, HIGH)))(a)
    np.testing.assert_allclose(second, -2 / 9 * 3.0 ** (-5 / 3), rtol=1e-4)


def test_to_the_last_digits_in_double_precision() -> None:
    with jax.enable_x64(True):
        low, high = jnp.asarray(-5.0), jnp.asarray(10.0)
        found = EACH(lambda x: x**3 + x - 1e-3, low, high)
        assert abs(float(found**3 + found) - 1e-3) < 1e-18


@pytest.mark.parametrize(
    ("residual", "root"),
    [
        (lambda x: x - 0.01, 0.01),  # at the end
        (lambda x: jnp.exp(40 * (x - 3)) - 1, 3),
        (lambda x: jnp.where(x < 1, 0.1, 10) * (x - 1), 1),  # a kink
        (lambda x: 1 / (x - 0.01) - 1 / x, None),  # infinite at one end, and on one side only
        (lambda x: 1 / (x - 0.01) - 1, 1.01),  # infinite at one end
        (lambda x: x + 1, None),
        (lambda x: (x - 1) * (x - 2), None),  # no change of sign between the ends
        (lambda x: jnp.where(x < 1, -1.0, 2.0) + 0.1 * x, None),  # a jump
        (lambda x: 1 / (x - 1), None),  # a pole
        (lambda x: jnp.where(x < 1, -1.0, 1.0), None),
        (lambda x: jnp.maximum(x - 2, 0) + jnp.minimum(x - 1, 0), None),  # 0 from 1 to 2
        (lambda x: jnp.log(x - 1), None),  # no number at one end
        (lambda x: 0 * x, None),
        (lambda x: jnp.nan * x, None),
    ],
)
def test_what_is_no_root_is_not_found(residual: Callable[[jax.Array], jax.Array], root: float | None) -> None:
    found = float(EACH(residual, LOW, HIGH))
    assert np.isnan(found) if root is None else found == pytest.approx(root, rel=1e-6)


# --- several -------------------------------------------------------------------------------------------------------


def exchange(tastes: Any, goods: Any) -> Any:
    """Prices of an economy with Cobb-Douglas utility, the first of them 1."""
    number = goods.shape[1]

    def residuals(prices: jax.Array) -> tuple[jax.Array]:
        demand = tastes * (goods @ prices)[:, None] / prices
        return (jnp.where(jnp.arange(number) == 0, prices - 1, demand.sum(0) - goods.sum(0)),)

    return ALL(residuals, (jnp.full(number, 1e-3),), (jnp.full(number, 1e3),))[0]


def eigenvector(tastes: np.ndarray, goods: np.ndarray) -> np.ndarray:
    """The same by linear algebra: what each good is paid is what is spent on it."""
    values, vectors = np.linalg.eig((tastes.T @ goods) / goods.sum(0)[:, None])
    found = np.real(vectors[:, np.argmax(np.real(values))])
    return found / found[0]


@pytest.mark.parametrize("number", [2, 5, 20])
def test_all_are_found_with_their_derivatives(number: int) -> None:
    random = np.random.default_rng(number)
    tastes, goods = random.dirichlet(np.ones(number), 30), random.lognormal(size=(30, number))
    np.testing.assert_allclose(jax.jit(exchange)(tastes, jnp.asarray(goods)), eigenvector(tastes, goods), rtol=1e-4)
    slope = jax.jit(jax.grad(lambda goods: exchange(tastes, goods)[-1]))(jnp.asarray(goods))
    for i, j in ((0, 0), (7, 1), (29, number - 1)):
        step = np.zeros_like(goods)
        step[i, j] = 1e-6
        change = eigenvector(tastes, goods + step) - eigenvector(tastes, goods - step)
        np.testing.assert_allclose(slope[i, j], change[-1] / 2e-6, rtol=1e-3, atol=1e-6)


def test_many_economies_at_once() -> None:
    random = np.random.default_rng(0)
    tastes, goods = random.dirichlet(np.ones(3), (50, 8)), random.lognormal(size=(50, 8, 3))
    found = jax.jit(jax.vmap(exchange))(tastes, jnp.asarray(goods))
    np.testing.assert_allclose(found, [eigenvector(*one) for one in zip(tastes, goods, strict=True)], rtol=1e-4)


def test_arrays_of_different_shapes_and_signs() -> None:
    def residuals(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x**3 + y.sum() - 3, jnp.stack([y[0] * x - 1, y[1] - x])

    low, high = (jnp.asarray(-3.0), jnp.full(2, -3.0)), (jnp.asarray(3.0), jnp.full(2, 3.0))
    x, y = ALL(residuals, low, high)
    assert x.shape == ()
    np.testing.assert_allclose(jnp.concatenate([jnp.ravel(r) for r in residuals(x, y)]), 0, atol=1e-5)


@pytest.mark.parametrize(
    "residual",
    [
        lambda x: jnp.stack([x[0] + x[1] - 3, 2 * x[0] + 2 * x[1] - 6]),  # the same twice
        lambda x: jnp.stack([x[0] + x[1] - 3, x[0] + x[1] - 4]),
        lambda x: jnp.stack([x[0] ** 2 + 1, x[1]]),
        lambda x: jnp.stack([x[0] - 1, x[1] - 200]),  # beyond the end
        lambda x: jnp.nan * x,
        lambda x: jnp.stack([jnp.where(x[0] < 1, -1.0, 1.0), x[1] - 1]),
    ],
)
def test_no_solution_of_several(residual: Callable[[jax.Array], jax.Array]) -> None:
    (found,) = ALL(lambda x: (residual(x),), (jnp.full(2, 0.01),), (jnp.full(2, 100.0),))
    assert np.isnan(found).all()


# --- models that ship ----------------------------------------------------------------------------------------------


def test_walras() -> None:
    """Prices are those of the closed form, and so is what an endowment does to them."""
    model = compile("walras")
    known = {k: np.asarray(v, float) for k, v in model.written(model.module.constants()).items()}
    tastes, goods, least = known["trader.taste"], known["trader.owns"], known["least"]
    spend = {"trader.spend": jnp.asarray((tastes - least) / (1 - 3 * least))}

    def prices(goods: Any) -> Any:
        state = model.reset(jax.random.key(0), {"trader.owns": goods})
        return model.step(state, spend, jax.random.key(1), {"trader.owns": goods})[1].values["price"]

    exact = eigenvector(tastes, goods)
    np.testing.assert_allclose(exact, [1, 0.820333, 0.983160], atol=1e-6)
    np.testing.assert_allclose(jax.jit(prices)(goods), exact, rtol=1e-4)
    slope, step = jax.jit(jax.jacrev(prices))(jnp.asarray(goods)), np.zeros_like(goods)
    step[3, 1] = 1e-6
    change = (eigenvector(tastes, goods + step) - eigenvector(tastes, goods - step)) / 2e-6
    np.testing.assert_allclose(slope[:, 3, 1], change, rtol=1e-3, atol=1e-5)


def test_aiyagari_at_rest() -> None:
    """The rent is the product of capital: of 5.830 in Aiyagari's economy, and of 5.447 without risk."""
    model = compile("aiyagari")
    state = {**model.reset(jax.random.key(0)), "household.skill": jnp.ones(200)}
    for capital, interest in ((5.830, 0.0365), (5.447, 1 / 0.96 - 1)):
        now = {**state, "household.assets": jnp.full(200, capital)}
        cash = (1 + interest) * capital + 0.64 * capital**0.36
        _, out = model.step(now, {"household.keep": jnp.full(200, capital / cash)}, jax.random.key(0))
        rent = 0.36 * capital**-0.64
        assert float(out.values["rent"]) == pytest.approx(rent, rel=1e-5)
        assert rent - 0.08 == pytest.approx(interest, abs=3e-5)
        assert float(out.values["wage"]) == pytest.approx(0.64 * capital**0.36, rel=1e-5)
        consumed = capital**0.36 - 0.08 * capital
        np.testing.assert_allclose(out.values["consumption"], consumed, rtol=1e-3)


def test_sticky_prices_at_rest() -> None:
    """Wage and output are those of flexible prices, and no firm wants another price."""
    model = compile("sticky_prices")
    rest = {**model.reset(jax.random.key(0)), "boom": jnp.zeros(()), "firm.posted": jnp.full(20, -np.log(0.912871))}
    _, out = model.step(rest, {"firm.change": jnp.zeros(20)}, jax.random.key(0))
    assert float(out.values["wage"]) == pytest.approx(5 / 6, rel=1e-5)
    assert float(out.values["demand"]) == pytest.approx(0.912871, rel=1e-5)

    def profit(change: jax.Array) -> jax.Array:
        changes = {"firm.change": jnp.zeros(20).at[0].set(change)}
        held = {name: model.stored(out.values)[name] for name in model.ir.held}
        arguments = model.stored(rest), model.stored(changes), jax.random.key(0), None, *model.holding(held)
        return model.module.step(*arguments)[1]["rewards"]["firm"][0]

    assert abs(float(jax.grad(profit)(jnp.asarray(0.0)))) < 1e-5


# --- failures ------------------------------------------------------------------------------------------------------

MARKET = """
rbcc: 1
model: market
units: [money, good]
horizon: 3
discount: 1
parameters:
  unit_good: {{value: 1, unit: good}}
agents:
  buyer:
    index: i
    count: 4
    state:
      budget: {{start: 10 + i, unit: money}}
    actions:
      share: {{choices: [0.2, 0.8]}}
    observes: [budget, time]
    reward: 1 if {masked} else 0
  shop:
    index: [j, k]
    count: 2
    parameters:
      supply: {{value: (1 + j) * unit_good, unit: good}}
solve:
  market:
    unknowns:
      price: {{over: shop, between: [0.1, {high}], unit: money/good}}
    equations: |
      {equation}
equations:
  buying: |
    bought[i,j] = (share[i] if j == 0 else 1 - share[i]) * budget[i] / price[j]
    budget'[i]  = budget[i] - sum(j, price[j] * bought[i,j]) + sum(j, price[j] * supply[j]) / count(buyer)
accounts:
  money: {{stocks: [budget]}}
"""
CLEARS = "sum(i, bought[i,j]) == supply[j]"


@pytest.fixture
def market(tmp_path: Path) -> Callable[..., Model]:
    def made(equation: str = CLEARS, high: str = "1000", masked: str = "sum(j, bought[i,j]) > unit_good") -> Model:
        path = tmp_path / "market.yaml"
        text = MARKET.format(equation=equation, high=high, masked=masked)
        # Money is neither lost nor made where the market clears, and by that alone.
        path.write_text(text if equation == CLEARS else text.partition("accounts:")[0], encoding="utf-8")
        return compile(path)

    return made


def test_all_holds_where_there_is_a_solution(market: Callable[..., Model]) -> None:
    model = market()
    assert all(table.proved for table in model.compiled.tables)
    assert try_out(model).failures == ()


@pytest.mark.parametrize(
    ("equation", "high", "words"),
    [
        (CLEARS, "5", ["its sides do not meet between 0.1 and 5", "on the right at price[j] = 5"]),
        ("max(sum(i, bought[i,j]), supply[j]) == supply[j] * 1", "1000", ["does not determine price[j]"]),
        (
            "(0 if price[j] * unit_good > 3 * sum(i, budget[i]) / 46 else 2) * supply[j] == supply[j]", "1000",
            ["the sides jump past each other at price[j] = 3:"],
        ),
        ("sqrt(price[j] * unit_good / sum(i, budget[i]) - 0.1) == 1", "1000", ["at price[j] = 0.1 its equation is not a number"]),
        ("sum(i, bought[i,j]) + 0 * mean(k, price[k]) / price[j] * supply[j] == supply[j]", "5", ["no solution was found"]),
    ],
)  # fmt: skip
def test_a_failure_is_located(market: Callable[..., Model], equation: str, high: str, words: list[str]) -> None:
    model = market(equation, high)
    with jax.enable_x64(True):
        state, choices = model.reset(jax.random.key(0)), {"buyer.share": jnp.full(4, 0.8)}
        following, out = jax.jit(model.step)(state, choices, jax.random.key(0))
        record = {**model.written(model.module.constants()), **record_of(state, choices, following, out)}
        wrong = next(d for d in model.ir.equations if not np.isfinite(record[d.symbol]).all())
        failure = Checks(model).failure(wrong, record, 2)
    assert failure.check == "price"
    assert failure.place.line == MARKET[: MARKET.index("{equation}")].count("\n") + 1
    assert "at step 2, j = " in failure.message
    for part in words:
        assert part in failure.message


def test_the_check_finds_the_smallest_case(market: Callable[..., Model]) -> None:
    (failure,) = try_out(market(high="5")).failures
    assert (failure.check, failure.step) == ("price", 0)
    assert failure.case[0] == "from the start"


def test_no_reward_where_nothing_is_solved(market: Callable[..., Model]) -> None:
    """A condition hides what is not a number, but not from those who learn or verify."""
    for high, finite in (("1000", True), ("5", False)):
        model = market(high=high)
        state = model.reset(jax.random.key(0))
        _, out = model.step(state, {"buyer.share": jnp.full(4, 0.8)}, jax.random.key(0))
        assert np.isfinite(out.values["price"]).all() == finite
        assert np.isfinite(out.rewards["buyer"]).all() == finite


def test_modules_need_nothing_but_jax(market: Callable[..., Model]) -> None:
    text = market().text
    assert [line for line in text.splitlines() if line.startswith(("import", "from"))] == [
        "import jax",
        "import jax.numpy as jnp",
    ]
    assert "root_of_each" in text
    assert "root_of_all" not in text
    assert "root_of" not in compile("cournot").text

"""The rules of lint on specs where they must and must not speak; their texts are in tests/specs/warn."""

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from hypothesis import given, strategies as st

from rbcc.compiler import ir
from rbcc.compiler.analysis.intervals import Interval, Ranges
from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.ir.types import Kind, Type
from rbcc.compiler.primitives import BUILTIN


MARKET = Path(__file__).parents[2] / "specs" / "market.yaml"
MODEL = compile_spec(MARKET).model


@pytest.fixture
def codes(write_spec) -> Callable[[str], list[str]]:
    """The codes of the warnings about the market with some changes."""

    def found(changes: str) -> list[str]:
        path = write_spec(f"rbcc: 1\nextends: {MARKET}\nmodel: m\n{changes}")
        return [d.code for d in compile_spec(path).warnings]

    return found


# --- ranges --------------------------------------------------------------------------------------------------------


def test_ranges_of_the_market() -> None:
    ranges = Ranges(MODEL)
    assert ranges.fixed["cost"] == Interval(2, 2)
    assert ranges.start["buyer.budget"] == Interval(100, 100)
    assert ranges.exact("seller.set_price") == ranges.exact("seller.price") == Interval(0, 10)
    assert Ranges(replace(MODEL, horizon=1)).exact("seller.price") is None
    assert Ranges(replace(MODEL, horizon=1, continuing=True)).exact("seller.price") == Interval(0, 10)
    assert ranges.exact("buyer.budget") is None
    assert ranges.exact("buyer.favourite") is None
    usual = ranges.usual
    assert usual["sold"] == Interval(0, 12)  # 6 buyers, 2 each
    assert usual["profit"] == Interval(-24, 96)
    budget = usual["buyer.budget"]
    assert budget is not None
    assert budget.low <= 100 - 3 * 2 * 10  # 3 sellers, 2 each, at 10
    assert budget.high == 100


NUMBERS = st.floats(-50, 50).map(lambda x: round(x, 3))
PAIRS = st.tuples(NUMBERS, NUMBERS).map(sorted)


def reference(name: str) -> ir.Reference:
    return ir.Reference(name, (), Type())


def trees(depth: int = 3) -> st.SearchStrategy[ir.Expression]:
    leaves = st.one_of(
        st.sampled_from(["a", "b"]).map(reference),
        NUMBERS.map(lambda x: ir.Constant(Fraction(str(x)), Type())),
    )
    operators = st.sampled_from(["+", "-", "*", "/", "^"])
    functions = st.sampled_from(["exp", "abs", "tanh", "floor", "sqrt", "sign", "log"])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda op, x, y: ir.Binary(op, x, y, Type()), operators, inner, inner),
            st.builds(lambda f, x: ir.Apply(f, (x,), Type()), functions, inner),
            st.builds(lambda x, y: ir.Apply("max", (x, y), Type()), inner, inner),
            st.builds(lambda x, y, z: ir.Apply("clip", (x, y, z), Type()), inner, inner, inner),
            st.builds(lambda x: ir.Unary("-", x, Type()), inner),
            st.builds(lambda x, y: ir.Conditional(ir.Constant(True, Type(Kind.FLAG)), x, y, Type()), inner, inner),
        ),
        max_leaves=2**depth,
    )


@given(trees(), PAIRS, PAIRS, st.floats(0, 1), st.floats(0, 1))
def test_a_value_lies_in_its_range(
    tree: ir.Expression, a: list[float], b: list[float], share: float, other: float
) -> None:
    """The range over intervals holds that at every point of them."""
    ranges = Ranges(MODEL)
    whole = ranges.of(tree, {"a": Interval(*a), "b": Interval(*b)})
    x, y = a[0] + share * (a[1] - a[0]), b[0] + other * (b[1] - b[0])
    point = ranges.of(tree, {"a": Interval(x, x), "b": Interval(y, y)})
    if whole is None or point is None or not math.isfinite(point.size):
        return
    slack = 1e-9 * max(1.0, point.size, whole.size if math.isfinite(whole.size) else 1.0)
    assert whole.low - slack <= point.low
    assert point.high <= whole.high + slack


ARGUMENTS = {
    "exp": [0.3], "log": [2.5], "sqrt": [2.5], "abs": [-2.5], "floor": [-2.5], "sign": [-2.5], "tanh": [0.3],
    "min": [1.5, -2.0], "max": [1.5, -2.0], "clip": [3.0, 0.0, 2.0], "cycle": [0, 4.0, 5.0], "crra": [2.0, 0.5],
    "cara": [2.0, 0.5], "cobb_douglas": [2.0, 3.0, 0.4], "ration": [2.0, 3.0], "steps": [2.0, 4.0, 1.0, 5.0],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_functions_at_a_point_are_those_of_the_program(name: str) -> None:
    arguments = tuple(ir.Constant(Fraction(str(x)), Type()) for x in ARGUMENTS[name])
    found = Ranges(MODEL).of(ir.Apply(name, arguments, Type()), {})
    names: dict[str, Any] = {}
    exec(BUILTIN[name].text, {"jnp": jnp}, names)
    function = getattr(jnp, BUILTIN[name].inline) if BUILTIN[name].inline else names[name]  # type: ignore[arg-type]
    exact = float(function(*ARGUMENTS[name]))
    assert found is not None
    if name in ("cycle", "steps"):
        assert found == Interval(4, 5)
    else:
        assert found.low == found.high == pytest.approx(exact, rel=1e-6)


def test_functions_of_ones_own_have_no_range() -> None:
    assert Ranges(MODEL).of(ir.Apply("mine", (reference("cost"),), Type()), {"cost": Interval(1, 2)}) is None


# --- rules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("discount", "horizon", "found"),
    [
        ("0.99", 4, []),
        ("1", 1000, []),
        ("0", 4, []),
        ("0.4", 4, ["RB801"]),
        ("4%", 4, ["RB801"]),
        ("1 / (1 + 0.04)", 4, []),
        ("1 / (1 + 24)", 4, ["RB801"]),
        ("0.95", 800, []),
        ("0.95", 1000, ["RB801"]),
    ],
)
def test_discount(codes, discount: str, horizon: int, found: list[str]) -> None:
    assert codes(f"discount: {discount}\nhorizon: {horizon}\n") == found


@pytest.mark.parametrize(
    ("discount", "horizon", "found"),
    [
        ("0.99", 1, []),  # the value of what follows is discounted, and depends on the next states
        ("0.4", 1, ["RB801"]),
        ("0.4", 4, ["RB801"]),
        ("0.95", 1000, []),  # the horizon says nothing of how long the economy lasts
        ("1", 1, []),
    ],
)
def test_discount_in_an_economy_that_goes_on(codes, discount: str, horizon: int, found: list[str]) -> None:
    assert codes(f"discount: {discount}\nhorizon: {horizon}\ncontinuing: true\n") == found


@pytest.mark.parametrize(
    ("value", "reward", "found"),
    [
        ("0.3", "(1 - x) * profit[j]", []),
        ("3", "(1 - x) * profit[j]", ["RB803"]),
        ("-0.1", "profit[j] * (1 - x)", ["RB803"]),
        ("3", "profit[j] / (1 - x)", []),  # as in c^(1 - eta) / (1 - eta)
        ("3", "profit[j] * 2^(1 - x)", []),
        ("3", "profit[j] * x", []),
        ("1.5", "profit[j] * cobb_douglas(1, 1, x)", ["RB803"]),
        ("{value: 3, doc: the share of it}", "profit[j] * x", ["RB803"]),
        ("{value: 3, doc: shareholders}", "profit[j] * x", []),
        ("{value: 3, unit: 1/money, doc: share per unit}", "profit[j]^2 * x", []),
        ("{value: count(buyer) / 2}", "(1 - x) * profit[j]", ["RB803"]),
    ],
)
def test_shares(codes, value: str, reward: str, found: list[str]) -> None:
    assert codes(f"parameters: {{x: {value}}}\nagents:\n  seller:\n    reward: {reward}\n") == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ("", []),
        ("    reward: cost * sold[j]\n", ["RB207"]),  # through buyers, who see the price and answer
        ("    reward: cost * sold[j]\n  buyer: {observes: [money_value, time]}\n", ["RB207", "RB804"]),
        ("    reward: price'[j] * sold[j]\n  buyer: {observes: [money_value, time]}\n", ["RB207"]),
        (
            '    reward: cost * sold[j]\n    constraints: {dear: {violation: "price\'[j]", scale: 1}}\n'
            "  buyer: {observes: [money_value, time]}\n",
            ["RB207"],
        ),
    ],
)
def test_influence(codes, changes: str, found: list[str]) -> None:
    assert sorted(codes(f"agents:\n  seller:\n    count: 3\n{changes}")) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ("agents: {buyer: {observes: [budget, price]}}", ["RB608"]),  # what is spent now is not there later
        ("agents: {seller: {observes: [price]}}", ["RB608"]),  # a price set now is charged a step later
        ("agents: {buyer: {observes: [budget, price]}, seller: {observes: [price]}}", ["RB608"]),
        ("continuing: true\nagents: {buyer: {observes: [budget, price]}}", []),
        ("agents: {buyer: {observes: [budget, price, {value: 4 - time, scale: 4}]}}", []),
        ("agents: {seller: {observes: [price], reward: 'sold[j]'}}", ["RB608"]),  # through buyers, who see the price
        ("agents: {seller: {observes: [price], reward: 'set_price[j]'}, buyer: {observes: [budget, time]}}", []),
    ],
)
def test_an_end_that_is_not_observed(codes, changes: str, found: list[str]) -> None:
    assert codes(f"silence: [RB207]\n{changes}") == found


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("", ["RB905"]),
        ("accounts: {money: {stocks: [purse], sinks: {spent: price * eat}}}", []),
        ('identities: {money: "purse\' + price * eat == purse"}', []),
        ("parameters: {worth: {value: 1, unit: food/money}}", []),  # and what money is worth in bread: neither is first
    ],
)
def test_money_without_an_account(write_spec, more: str, found: list[str]) -> None:
    path = write_spec(f"""
rbcc: 1
model: village
units: [money, food]
horizon: 2
discount: 1
agents:
  eater:
    count: 1
    state: {{purse: {{start: 10, unit: money}}}}
    actions: {{eat: {{choices: [0, 1], unit: food}}, price: {{choices: [1, 2], unit: money/food}}}}
    observes: [purse, time]
    reward: purse' * eat * price
equations: {{shop: purse' = purse - price * eat}}
silence: [RB207]
{more}
""")
    assert [d.code for d in compile_spec(path).warnings] == found


def test_what_agents_take_as_given_is_no_influence(write_spec) -> None:
    path = write_spec("""
rbcc: 1
extends: price_takers
model: m
agents: {seller: {takes_as_given: [price, profit], reward: "profit[j]"}}
equations: {books: "profit[j] = (price - cost - rise * quantity[j]) * quantity[j]"}
""")
    assert [d.code for d in compile_spec(path).warnings] == ["RB804"]


def test_what_is_not_known_is_not_claimed(write_spec) -> None:
    """Bounds of an interval are influence too; ranges of parts that vary together are not those of the whole."""
    path = write_spec("""
rbcc: 1
model: m
horizon: 1
discount: 1
parameters: {fraction: "sum(i, weight[i])"}
agents:
  hand:
    index: i
    count: 3
    after: boss
    parameters: {share: "4 * (i / 2) * (1 - i / 2)", weight: [0.1, 0.2, 0.7]}
    actions: {work: {between: [0, boss.cap]}}
    reward: work[i] * share[i] * (1 - fraction)
  boss:
    count: 1
    actions: {cap: {between: [0, 1]}}
    reward: sum(i, work[i])
equations: {usual: "seen = 1"}
indicators: {seen: seen}
""")
    assert [d.code for d in compile_spec(path).warnings] == []


def test_influence_takes_steps(codes) -> None:
    """A price set now is charged one step later, and counted another step later."""
    spec = (
        "agents:\n  seller:\n    state: {count_of_sold: {start: 0, unit: good, scale: 10}}\n"
        "    reward: price[j] * count_of_sold[j]\n    observes: [price, time]\n  buyer: {observes: [money_value, time]}\n"
        'equations: {more: "count_of_sold\'[j] = sold[j] * price[j] / cost"}\n'
    )
    assert codes(f"horizon: 2\n{spec}") == ["RB207"]
    assert sorted(codes(f"horizon: 1\ndiscount: 1\n{spec}")) == ["RB207", "RB802", "RB802", "RB804"]
    assert codes(f"horizon: 1\ncontinuing: true\ndiscount: 1\n{spec}") == ["RB207"]  # it counts later


def test_what_leads_nowhere_has_no_influence_in_an_economy_that_goes_on(codes) -> None:
    spec = "continuing: true\nagents:\n  seller: {reward: 'cost * sold[j]'}\n  buyer: {observes: [money_value, time]}\n"
    assert sorted(codes(spec)) == ["RB207", "RB804"]


@pytest.mark.parametrize(
    ("observed", "found"),
    [
        ("price", []),
        ("{value: price, scale: 1}", []),
        ("{value: price, scale: 0.5}", ["RB805"]),
        ("{value: price, scale: 0.5, encode: log}", []),
        ("{value: price, scale: 1e-5, encode: log}", ["RB805"]),
        ("{value: price, scale: 1e-5, encode: digits}", None),
        ("{value: price, scale: 1e5}", ["RB805"]),
        ("{value: cost, scale: 1e5}", []),  # always the same: there is nothing to see
        ("{value: time, scale: 0.1}", ["RB805"]),
        ("{value: 'price[j] - cost', scale: 0.1}", ["RB805"]),
        ("{value: 'price[j] - 5 * cost / 2', scale: 0.1}", []),  # 0 at the start
    ],
)
def test_scales(codes, observed: str, found: list[str] | None) -> None:
    spec = f"silence: [RB608]\nagents:\n  buyer:\n    observes: [budget, {observed}]\n"
    if found is None:
        with pytest.raises(CompileError):
            codes(spec)
    else:
        assert codes(spec) == found


@pytest.mark.parametrize(
    ("reward", "training", "found"),
    [
        ("1000 * profit[j]", "{phases: {a: {iterations: 1, economies: 1}}}", ["RB806"]),
        ("1000 * profit[j]", None, []),
        ("1000 * profit[j]", "{phases: {a: {iterations: 1, economies: 1}}, seller: {reward_scale: 1e5}}", []),
        ("1000 * profit[j]", "{phases: {a: {iterations: 1, economies: 1}}, buyer: {reward_scale: 1e-3}}", []),
        ("50 * profit[j]", "{phases: {a: {iterations: 1, economies: 1}}}", []),
        ("1000 * profit[j] * normal()", "{phases: {a: {iterations: 1, economies: 1}}}", []),
        ("1000 * profit[j] / sold[j]", "{phases: {a: {iterations: 1, economies: 1}}}", []),
    ],
)
def test_rewards(codes, reward: str, training: str | None, found: list[str]) -> None:
    """Buyers' rewards reach about 8, sellers' profits 96."""
    trained = f"training: {training}\n" if training else ""
    changes = "parameters: {money_value: {value: 0.00001}}\n"
    assert codes(f"{changes}agents:\n  seller:\n    reward: {reward}\n{trained}") == found


# --- silence -------------------------------------------------------------------------------------------------------


def test_silence(codes) -> None:
    spec = "discount: 0.04\nparameters: {spare: 1}\n"
    assert sorted(codes(spec)) == ["RB207", "RB801"]
    assert codes(f"{spec}silence: [RB801]\n") == ["RB207"]
    assert codes(f"{spec}silence: {{RB207: to come, RB801: as in the paper}}\n") == []


def test_silence_is_inherited_and_replaced(write_spec) -> None:
    write_spec(f"rbcc: 1\nextends: {MARKET}\nmodel: m\ndiscount: 0.04\nsilence: [RB801]\n", "base.yaml")
    for more, found in (("", []), ("silence: []\n", ["RB801"]), ("silence: null\n", ["RB801"])):
        path = write_spec(f"rbcc: 1\nextends: base.yaml\nmodel: n\n{more}", "child.yaml")
        assert [d.code for d in compile_spec(path).warnings] == found


def test_silence_leaves_the_digest_as_it_is(write_spec) -> None:
    one = write_spec(f"rbcc: 1\nextends: {MARKET}\nmodel: m\n", "a.yaml")
    two = write_spec(f"rbcc: 1\nextends: {MARKET}\nmodel: m\nsilence: [RB801]\n", "b.yaml")
    assert compile_spec(one).document.digest == compile_spec(two).document.digest

"""Equations that are solved within a step: what the front end knows of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.driver import Compiled, compile_spec
from rbcc.compiler.ir.types import Time
from rbcc.compiler.tools.diff import difference
from rbcc.compiler.tools.doc import document
from rbcc.compiler.tools.formatter import format_text


SPEC = """
rbcc: 1
model: market
units: [money, good]
horizon: 3
discount: 1
parameters:
  unit_good: {value: 1, unit: good}
  unit_price: {value: 1, unit: money/good}
agents:
  buyer:
    index: i
    count: 4
    state:
      budget: {start: 10 + i, unit: money}
    actions:
      share: {choices: [0.2, 0.8]}
    observes: [SEEN]
    reward: sum(j, bought[i,j]) / unit_good
  shop:
    index: [j, k]
    count: 2
    parameters:
      supply: {value: (1 + j) * unit_good, unit: good}
solve:
  market:
    unknowns:
      price: {over: shop, between: [0.1, 1000], unit: money/good}
    equations: |
      EQUATION
equations:
  buying: |
    bought[i,j] = (share[i] if j == 0 else 1 - share[i]) * budget[i] / price[j]
    budget'[i]  = budget[i] - sum(j, price[j] * bought[i,j]) + sum(j, price[j] * supply[j]) / count(buyer)
  more: |
    sold[j]   = sum(i, bought[i,j])
    excess[j] = sold[j] - supply[j]
    MORE
accounts:
  money: {stocks: [budget]}
indicators: {excess: "sum(j, excess[j]) / unit_good"}
"""
CLEARS = "sum(i, bought[i,j]) == supply[j]"


@pytest.fixture
def market(tmp_path: Path) -> Callable[..., Compiled]:
    def made(equation: str = CLEARS, more: str = "", seen: str = "budget, time") -> Compiled:
        path = tmp_path / "market.yaml"
        text = SPEC.replace("EQUATION", equation).replace("MORE", more).replace("SEEN", seen)
        path.write_text(text, encoding="utf-8")
        return compile_spec(path)

    return made


def system_of(compiled: Compiled) -> ir.System:
    (found,) = ir.systems(compiled.model)
    return found


@pytest.mark.parametrize(
    ("equation", "separate"),
    [
        (CLEARS, True),
        ("sum(i, bought[i,k]) == supply[k]", True),  # whatever the index is called
        ("sold[j] == supply[j]", True),
        ("excess[j] == 0", True),
        ("sum(i, bought[i,j]) * price[j] == supply[j] * mean(k, price[k])", False),
        ("(sum(j, price[j]) / unit_price * supply[k] if k == 0 else sold[k]) == supply[k]", False),
    ],
)
def test_each_by_itself_where_that_is_possible(market: Callable[..., Compiled], equation: str, separate: bool) -> None:
    if separate:
        assert system_of(market(equation)).separate
        return
    with pytest.raises(CompileError) as caught:  # what is sold is not what is supplied
        market(equation)
    assert {one.code for one in caught.value.diagnostics if one.code != "RB207"} == {"RB901"}


@pytest.mark.parametrize("equation", [CLEARS, "sold[j] == supply[j]", "excess[j] == 0", "supply[j] == sold[j]"])
def test_accounts_are_proved_by_what_clears(market: Callable[..., Compiled], equation: str) -> None:
    assert [table.proved for table in market(equation).tables] == [True]


def test_accounts_that_do_not_clear_are_refused(market: Callable[..., Compiled]) -> None:
    for equation in ("sold[j] == 0.9 * supply[j]", "log(sold[j] / supply[j]) == 0.1"):
        with pytest.raises(CompileError, match="RB901"):
            market(equation)


def test_accounts_that_no_proof_sees_are_tried_with_the_solution(market: Callable[..., Compiled]) -> None:
    (table,) = market("log(sold[j] / supply[j]) == 0").tables
    assert table.gave_up
    assert not table.refuted


def test_when_an_unknown_is_known(market: Callable[..., Compiled]) -> None:
    """With the states if it follows from them alone, and then agents may observe it; else with the choices."""
    assert market().model.symbol("price").type.time is Time.CHOSEN
    with pytest.raises(CompileError, match="RB601"):
        market(seen="budget, time, price")
    early = "  rates:\n    unknowns: {rate: {between: [0, 1000]}}\n    equations: rate == sum(i, budget[i]) / unit_price / unit_good"
    model = market(f"{CLEARS}\n{early}", "late[j] = rate", "budget, time, {value: rate, scale: 40}").model
    assert model.symbol("rate").type.time is Time.NOW
    assert [system.name for system in ir.systems(model)] == ["market", "rates"]


def test_json(market: Callable[..., Compiled]) -> None:
    model = market().model
    assert ir.from_json(json.loads(json.dumps(ir.to_json(model)))) == model
    assert "price[j] = solve(price[j] from 0.1 to 1000: sum(i, bought[i, j]) == shop.supply[j])" in model.text()


def test_difference(market: Callable[..., Compiled]) -> None:
    one, other = market(), market("sum(i, bought[i,k]) == supply[k]")
    assert difference(one.model, other.model) == []
    changed = difference(one.model, market("supply[j] == sold[j]").model)
    assert [(change.section, change.name) for change in changed] == [("equations", "price")]


def test_page(market: Callable[..., Compiled]) -> None:
    page = document(market("sold[j] == supply[j]   # all is sold"), "markdown")
    assert "### market" in page
    assert "`sold[j] == supply[j]`: all is sold" in page
    assert "Solved in each step for `price between 0.1 and 1000` (money/good)." in page


def test_layout() -> None:
    text = (
        "solve:\n  m:\n    unknowns: {p: {between: [0.01,   100]}}\n    equations: |\n"
        "      (1 if p==q else p)   ==   q   # why\n      p+q ==3*p\n  n:\n    equations: r*p   == q\n"
    )
    wanted = (
        "solve:\n  m:\n    unknowns: {p: {between: [0.01, 100]}}\n    equations: |\n"
        "      (1 if p == q else p) == q  # why\n      p + q                == 3 * p\n  n:\n    equations: r * p == q\n"
    )
    assert format_text(text) == wanted
    assert format_text(wanted) == wanted

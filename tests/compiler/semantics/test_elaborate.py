"""Types, units and timing of right specs; wrong ones are in test_bad_specs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.ir.types import Kind, Time


MARKET = Path(__file__).parents[2] / "specs" / "market.yaml"


def model(**overrides: object) -> ir.Model:
    return compile_spec(MARKET, {k.replace("__", "."): v for k, v in overrides.items()}).model


def errors(overrides: dict[str, object]) -> list[str]:
    with pytest.raises(CompileError) as caught:
        compile_spec(MARKET, overrides)
    return [d.code for d in caught.value.diagnostics]


def warnings(overrides: dict[str, object]) -> list[str]:
    return [d.code for d in compile_spec(MARKET, overrides).warnings]


def test_types_of_symbols() -> None:
    found = model()
    demand, favourite = found.symbol("buyer.demand"), found.symbol("buyer.favourite")
    assert (demand.sets, str(demand.type.unit), demand.type.time) == (("buyer", "seller"), "good", Time.CHOSEN)
    assert (favourite.type.kind, favourite.type.of) == (Kind.CHOICE, "seller")
    assert str(found.symbol("profit").type.unit) == "money"
    assert found.symbol("buyer.budget'").type.time is Time.NEXT


def test_equations_are_ordered() -> None:
    order = [
        d.symbol
        for d in model(
            **{
                "equations.accounts": "a[j] = b[j]\nb[j] = c[j]\nc[j] = price[j]\nbudget'[i] = budget[i]\nprice'[j] = a[j] + set_price[j]"
            }
        ).equations
    ]
    assert order.index("c") < order.index("b") < order.index("a") < order.index("seller.price'")


def test_a_type_may_have_a_discount_factor_of_its_own() -> None:
    found = model(agents__buyer__discount="1 - money_value / money_value / 4")
    shown = [ir.show(agent.discount) for agent in found.agents if agent.discount is not None]
    assert shown == ["1 - money_value / money_value / 4", "0.99"]
    assert errors({"agents.buyer.discount": "money_value"}) == ["RB501"]
    assert errors({"agents.buyer.discount": "1.5"}) == ["RB702"]


def test_counts_and_sizes() -> None:
    found = model(agents__buyer__count=2, agents__seller__count=5)
    assert [(a.name, a.count) for a in found.agents] == [("buyer", 2), ("seller", 5)]
    assert found.action("buyer.favourite").size == 5


def test_a_value_known_at_the_start_can_be_observed() -> None:
    changes = {"equations.notes": "dear[j] = price[j] > cost", "agents.buyer.observes": "[dear, budget]"}
    observation = model(**{k.replace(".", "__"): v for k, v in changes.items()}).observations[0]
    assert [(f.name, f.size, f.encoding) for f in observation.shared] == [("dear", 3, "linear")]


@pytest.mark.parametrize(
    ("equation", "code"),
    [
        ("x = sum(i, price[j])", "RB303"),
        ("x[j] = price[j] + sum(i, demand[i,j])", "RB501"),
        ("x[j] = price[j]^sold[j]", "RB501"),
        ("x[j] = exp(price[j])", "RB501"),
        ("x[j] = min(price[j], sold[j])", "RB501"),
        ("x[j] = price[j] if sold[j] else 0", "RB401"),
        ("x[j] = price[j] and sold[j] > 0", "RB401"),
        ("x[i] = favourite[i]", "RB207"),
        ("x[i] = favourite[i] + 1", "RB401"),
        ("x[i] = favourite[i] < 2", "RB302"),
        ("x[i,j] = favourite[i] == i", "RB302"),
        ("x[i] = price[i]", "RB302"),
        ("x[i] = price[budget[i]]", "RB302"),
        ("x = price", "RB301"),
        ("x[i,j] = price[i,j]", "RB301"),
        ("x[q] = 1", "RB303"),
        ("x[j,j] = 1", "RB304"),
        ("x[j] = mean(i where budget[i] > 1, demand[i,j])", "RB206"),
        ("x[j] = sum(i, demand[i,j] where 1 > 0)", "RB201"),
        ("x[j] = sum(price[j])", "RB206"),
        ("x[j] = abs(price[j] where 1 > 0)", "RB201"),
        ("x[j] = sold'[j]", "RB202"),
        ("x[j] = buyers.budget[j]", "RB202"),
        ("x[j] = buyer", "RB208"),
        ("x[j] = prise[j]", "RB202"),
        ("x[j] = price(1)", "RB205"),
        ("x[j] = price[j] / (1 - 1)", "RB401"),
        ("x[j]: moneys = price[j]", "RB502"),
        ("x[j]: good = price[j]", "RB501"),
        ("sold[j] = 1", "RB604"),
        ("cost = 1", "RB605"),
        ("cost' = 1", "RB605"),
        ("price' = 1", "RB301"),
        ("count = 1 > 2 > 3 = 4", "RB201"),
        ("x = bernoulli()", "RB206"),
        ("x = 1e39", "RB201"),
        ("x = 0^-1", "RB401"),
    ],
)
def test_wrong_equations(equation: str, code: str) -> None:
    overrides: dict[str, object] = {"equations.notes": f"dear[j] = price[j] >= cost\n{equation}"}
    if code == "RB207":
        assert code in warnings(overrides)
    else:
        assert errors(overrides) == [code]


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("horizon", 0, "RB103"),
        ("agents.buyer.count", "many", "RB103"),
        ("agents.buyer.count", -1, "RB103"),
        ("agents.byer.count", 3, "RB007"),
        ("parameters.costs", 3, "RB007"),
        ("discount", 1.5, "RB702"),
        ("discount", "price", "RB601"),
        ("agents.buyer.actions.demand.choices", "[2, 1]", "RB701"),
        ("agents.buyer.actions.demand.choices", "[]", "RB103"),
        ("agents.buyer.actions.demand.choices", "{from: 0, to: 20000, step: 1}", "RB701"),
        ("agents.buyer.actions.demand.choose", "seller", "RB103"),
        ("agents.buyer.actions.favourite.choose", "shop", "RB202"),
        ("agents.buyer.state.budget.start", "time", "RB601"),
        ("agents.buyer.state.budget.start", "cost", "RB501"),
        ("agents.buyer.state.budget.unit", "gold", "RB502"),
        ("agents.buyer.index", "j", "RB203"),
        ("agents.buyer.observes", "[set_price]", "RB601"),
        ("agents.buyer.observes", "[{value: budget, scale: -1}]", "RB103"),
        ("agents.buyer.observes", "['budget[i] * 2']", "RB606"),
        ("indicators.visits", "favourite", "RB301"),
        ("identities", "{money: budget}", "RB401"),
        ("identities", "{money: 'budget[i] == price[j]'}", "RB501"),
        ("invariants", "['budget[i]']", "RB401"),
        ("verify", "{alive: [visits]}", "RB401"),
        ("agents.buyer.constraints", "{c: {violation: 'favourite[i]'}}", "RB401"),
        ("agents.buyer.constraints", "{c: {violation: 1, scale: 0}}", "RB401"),
        ("verify", "{shutdown: {buyer.demands: 0}}", "RB703"),
        ("verify", "{shutdown: {buyer.demand: 7}}", "RB703"),
        ("verify", "{target: 200%}", "RB103"),
        ("units", "[money]", "RB502"),
    ],
)
def test_wrong_values(path: str, value: object, code: str) -> None:
    assert set(errors({path: value})) == {code}


def tables(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all tables in a spec, but for those of names that the author chooses."""
    if isinstance(node, dict):
        yield path
        for key, inside in node.items():
            yield from tables(inside, (*path, key))


SMALL = (
    "{phases: {learn: {iterations: 10, economies: 2, buyer: {entropy: 0}}}, default: {entropy: 0}, buyer: {entropy: 0}}"
)


@pytest.mark.parametrize("path", list(tables(compile_spec(MARKET, {"training": SMALL}).document.plain)))
def test_no_unknown_key_goes_unnoticed(path: tuple[str, ...]) -> None:
    for value in ("1", "{a: 1}", "[]"):
        with pytest.raises(CompileError):
            compile_spec(MARKET, {"training": SMALL, ".".join((*path, "strange")): value})


def test_all_mistakes_at_once_and_each_once() -> None:
    found = errors({
        "parameters.cost": "{value: 2, unit: mony/good, note: x}",
        "horizon": "four",
        "agents.seller.state.price": "{strat: 5, unit: money/good}",
        "agents.buyer.actions.demand.choices": "[]",
        "equations.notes": "dear[j] = price[j] >= costs\ncheap[j] = not dear[j] and price[j] < costs",
        "discount": 99,
    })  # fmt: skip
    assert sorted(found) == ["RB101", "RB101", "RB103", "RB103", "RB202", "RB502", "RB702"]


def test_what_a_spec_extends_cannot_be_overridden() -> None:
    assert errors({"extends": "cournot"}) == ["RB007"]


def training(**settings: object) -> dict[str, object]:
    base = "{phases: {learn: {iterations: 10, economies: 2}}}"
    return {"training": base, **{f"training.{k.replace('__', '.')}": v for k, v in settings.items()}}


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"buyer": "{entropy: 0.1 * prog}"}, "RB202"),
        ({"buyer": "{entropy: since(shop)}"}, "RB206"),
        ({"buyer": "{joint: [demand, favourite]}"}, "RB702"),
        ({"buyer": "{joint: [favourite]}"}, "RB702"),
        ({"buyer": "{lagrangian: {no_debt: 1}}"}, "RB702"),
        ({"buyer": "{starts: 2}"}, "RB103"),
        ({"default": "{algorithm: sarsa}"}, "RB103"),
        ({"default": "{network: []}"}, "RB103"),
        ({"phases__learn__iterations": 99999999999999999}, "RB103"),
        ({"anneal": "{cots: 1}"}, "RB702"),
        ({"anneal": "{buyer.favourite: {open: [0, 1], from: 0}}"}, "RB702"),
        ({"anneal": "{seller.set_price: {open: [1, 0], from: 0}}"}, "RB702"),
        ({"schedules": "{a: b, b: a}"}, "RB602"),
        ({"schedules": "{a: 'price[j]'}"}, "RB601"),
        ({"phases": "null"}, "RB102"),
        ({"phases__learn__buyer": "{lagrangian: {no_dept: 1}}"}, "RB702"),
    ],
)
def test_wrong_training(settings: dict[str, object], code: str) -> None:
    assert set(errors(training(**settings))) == {code}


def test_phases_inherit_and_override() -> None:
    phases = model(
        training=(
            "{phases: {a: {iterations: 5, economies: 2}, b: {iterations: 7, economies: 3, entropy: 0,"
            " curriculum: finished, optimizer: fresh, buyer: {entropy: 0.3}}}, default: {entropy: 0.1, starts: 0.2},"
            " seller: {entropy: 0.2, reward_scale: 9}, anneal: {cost: 2 * progress}}"
        )
    ).phases
    shown = {
        (p.name, s.agent): (ir.show(s.entropy), s.starts, ir.show(s.reward_scale)) for p in phases for s in p.learners
    }
    assert shown == {
        ("a", "buyer"): ("0.1", 0.2, "1"),
        ("a", "seller"): ("0.2", 0.2, "9"),
        ("b", "buyer"): ("0.3", 0.0, "1"),
        ("b", "seller"): ("0", 0.0, "9"),
    }
    assert [len(p.anneal) for p in phases] == [1, 0]
    assert [p.fresh_optimizer for p in phases] == [False, True]


def test_an_indicator_that_is_a_flag_is_a_share_when_it_comes_to_alive(write_spec) -> None:
    spec = (
        f"rbcc: 1\nextends: {MARKET}\nmodel: m\nindicators: {{busy: 'sum(j, sold[j]) > 0'}}\nverify: {{alive: [%s]}}\n"
    )
    with pytest.raises(CompileError) as caught:
        compile_spec(write_spec(spec % "busy"))
    assert [d.code for d in caught.value.diagnostics] == ["RB401"]
    assert compile_spec(write_spec(spec % "busy > 0.5"))


def test_networks_cannot_change_between_phases() -> None:
    phases = "{a: {iterations: 5, economies: 2}, b: {iterations: 5, economies: 2, network: [8]}}"
    assert set(errors({"training": f"{{phases: {phases}}}"})) == {"RB702"}


def test_warnings() -> None:
    assert warnings({"equations.notes": "dear[j] = price[j] > cost\nspare[j] = price[j]"}) == ["RB207"]
    assert warnings({"agents.buyer.reward": "demand[i,favourite[i]] + 3"}) == ["RB503", "RB207"]


def test_without_units_everything_adds_up(write_spec) -> None:
    actions = "    actions: {x: {choices: [0, 1]}}\n    reward: x + time + horizon\n"
    path = write_spec(f"rbcc: 1\nmodel: m\nhorizon: 1\ndiscount: 1\nagents:\n  a:\n    count: 1\n{actions}")
    assert compile_spec(path).model.symbol("a.reward").type.unit is None

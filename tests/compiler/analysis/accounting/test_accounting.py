"""Accounts: what is proved, what flows between whom, and that nothing can be left out."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting import flow_tables, proofs
from rbcc.compiler.analysis.accounting.render import text_table
from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.source import shipped_models
from rbcc.compiler.tools.check_report import Report
from rbcc.compiler.tools.doc import document


LEDGER = Path(__file__).parents[3] / "specs" / "ledger.yaml"
MODELS = sorted(path.stem for path in shipped_models().glob("*.yaml"))

PAIRS = """
rbcc: 1
model: pairs
horizon: 2
discount: 1
parameters: {c: 2}
agents:
  one:
    index: [i, k]
    count: 3
    state: {x: 1, open: {start: true}, part: {start: 0.5}, owed: {start: 0, over: one}}
    actions: {pick: {choose: two}, h: {choices: [0, 1, 2]}, friend: {choose: one}}
    observes: [x]
    reward: x[i]
  two:
    index: [j, l]
    count: 2
    state: {y: 1, z: {start: 1, over: one}}
    actions: {g: {choices: [0, 1, 2]}}
    observes: [y]
    reward: y[j]
equations:
  values: |
    whole      = sum(i, part[i])
    share[i]   = part[i] / whole
    due[j]     = g[j] * y[j]
    got[i]     = due[pick[i]] * h[i]
    given[j]   = due[j] * sum(i where pick[i] == j, h[i])
    best[i]    = pick[i]
    noise[i]   = normal()
    dividend   = c * noise_total
    noise_total = sum(i, noise[i])
  states: |
    x'[i] = x[i] + share[i] * dividend
    open'[i] = open[i]
    part'[i] = part[i]
    y'[j] = y[j]
    z'[j,i] = z[j,i]
    owed'[i,k] = owed[i,k] + x[i] * part[k]
identities:
  claim: "CLAIM"
"""


@pytest.mark.parametrize(
    ("claim", "known"),
    [
        ("sum(i, got[i]) == sum(j, given[j])", True),  # a lookup, and the sum over those who choose
        ("sum(i, x'[i] - x[i]) == dividend", True),  # shares of a whole add up to it
        ("sum(i, x'[i] - x[i]) == c * sum(k, noise[k])", True),
        ("sum(i, share[i]) == 1", True),
        ("sum(i, x[i])^2 == sum(i, k, x[i] * x[k])", True),
        ("mean(i, x[i]) * count(one) == sum(k, x[k])", True),
        ("count(i where open[i]) + count(i where not open[i]) == 3", True),
        ("sum(i, k where i == k, x[i] * x[k]) == sum(i, x[i]^2)", True),
        ("sum(i where open[i], x[i]) + sum(i where not open[i], x[i]) == sum(i, x[i])", True),
        ("sum(i, x[i] if open[i] else 0) == sum(i where open[i], x[i])", True),
        ("max(x[i], c) + min(x[i], c) == x[i] + c", True),
        ("max(x[i], 0) - max(-x[i], 0) == x[i]", True),
        ("abs(x[i] - c) == abs(c - x[i])", True),
        ("clip(x[i], 0, c) == max(0, min(x[i], c))", False),  # only where 0 <= c
        ("sum(i, y[best[i]]) == sum(i, y[pick[i]])", True),
        ("sum(i, k where friend[i] == k, x[k]) == sum(i, x[friend[i]])", True),
        ("sum(i, k, owed'[i,k] - owed[i,k]) == sum(i, x[i]) * sum(i, part[i])", True),
        ("sum(i, k, owed[i,k]) == sum(i, k, owed[k,i])", True),
        ("owed[i,k] == owed[k,i]", False),
        ("max(i, x[i]) == max(k, x[k])", True),
        ("max(i, x[i]) == min(i, x[i])", False),
        ("(x[i] > 0) + (x[i] <= 0) == 1", True),
        ("(x[i] > 0 and x[i] < 0) == (1 > 2)", True),
        ("crra(x[i] + c, c) == crra(c + x[i], c)", True),
        ("sum(i, z[j,i] / (z[j,i] + c)) == sum(i, 1 - c / (z[j,i] + c))", True),
        ("x[i] / c * c == x[i]", True),
        ("sum(i, h[i]) == 0", False),
        ("sum(k, x[k]) == 3 * x[i]", False),
    ],
)
def test_what_is_proved(claim: str, known: bool, write_spec: Callable[..., Path]) -> None:
    model = compile_spec(write_spec(PAIRS.replace("CLAIM", claim))).model
    assert proofs(model) == (known,)


SHEET = """
rbcc: 1
model: sheet
horizon: 5
discount: 1
parameters: {rate: 0.1}
agents:
  saver:
    index: [i, k]
    count: 3
    state: {deposit: {start: 2}}
    actions: {put: {choices: [0, 1]}}
    observes: [deposit, time]
    reward: deposit[i]
  bank:
    count: 1
    state: {reserves: {start: 10}, equity: {start: EQUITY}}
equations:
  all: |
    paid[i] = rate * deposit[i]
    deposit'[i] = deposit[i] + put[i] + paid[i]
    reserves' = reserves + sum(i, put[i])
    equity' = equity - sum(i, paid[i])
identities:
  claim: "CLAIM"
"""


@pytest.mark.parametrize(
    ("claim", "equity", "known"),
    [
        ("reserves' == sum(i, deposit'[i]) + equity'", "4", True),
        ("reserves == sum(i, deposit[i]) + equity", "4", True),
        ("reserves == sum(i, deposit[i]) + equity", "5", False),  # not at the start
        ("reserves == sum(i, deposit[i]) + equity", "4 + normal()", False),
        ("reserves == sum(i, deposit[i]) + equity'", "4", False),  # of two times
        ("deposit[i] == 2", "4", False),  # at the start only
    ],
)
def test_what_holds_at_the_start_and_never_changes_is_proved(
    claim: str, equity: str, known: bool, write_spec: Callable[..., Path]
) -> None:
    model = compile_spec(write_spec(SHEET.replace("CLAIM", claim).replace("EQUITY", equity))).model
    assert proofs(model) == (known,)


DIVIDED = """
rbcc: 1
model: divided
horizon: 2
discount: 1
agents:
  saver:
    index: [i, k]
    count: 3
    state: {wealth: 10}
    actions: {portfolio: {shares: firm}, gift: {shares: saver}}
    observes: [wealth]
    reward: wealth[i]
  firm: {index: [j, l], count: 2, state: {capital: 5}}
equations:
  all: |
    invest[i,j] = portfolio[i,j] * wealth[i]
    yield[j]    = capital[j]
    wealth'[i]  = sum(k, gift[k,i] * sum(j, portfolio[k,j] * yield[j]))
    capital'[j] = capital[j] + sum(i, invest[i,j]) - sum(i, portfolio[i,j]) * yield[j]
accounts:
  money: {stocks: [wealth, capital]}
identities:
  claim: "CLAIM"
"""


@pytest.mark.parametrize(
    ("claim", "known"),
    [
        ("sum(j, portfolio[i,j]) == 1", True),
        ("sum(j, invest[i,j]) == wealth[i]", True),
        ("sum(i, k, gift[i,k]) == count(saver)", True),
        ("sum(k, gift[k,i]) == 1", False),  # what one gets is not a whole
        ("sum(j, portfolio[i,j]^2) == 1", False),
        ("sum(j, portfolio[i,j] * capital[j]) == sum(j, capital[j])", False),
        ("sum(k, j, gift[i,k] * portfolio[k,j]) == 1", True),
        ("sum(j, portfolio[i,j])^2 == 1", True),
        ("sum(j where capital[j] > 0, portfolio[i,j]) == 1", False),
    ],
)
def test_shares_sum_to_one(claim: str, known: bool, write_spec: Callable[..., Path]) -> None:
    model = compile_spec(write_spec(DIVIDED.replace("CLAIM", claim))).model
    assert proofs(model) == (known,)
    assert all(table.proved for table in flow_tables(model))


@pytest.mark.parametrize("name", MODELS)
def test_accounts_and_identities_of_shipped_models_are_proved(name: str) -> None:
    model = compile_spec(name).model
    assert all(table.proved for table in flow_tables(model))
    assert all(proofs(replace(model, identities=model.balances)))


def accounts_in(page: str) -> str:
    """The part of a page that `rbcc doc` prints which holds flow tables."""
    return page.partition("\n## Accounts\n")[2].partition("\n## ")[0].strip()


def test_flows_of_a_small_economy() -> None:
    compiled = compile_spec(LEDGER)
    model = compiled.model
    money, goods = compiled.tables
    assert text_table(model, money).splitlines() == [
        "money          buyer   seller   town   the outside   amount in a step",
        "sales * toll                -      +                 sum(j, sales[j] * toll)",
        "refund             +               -                 count(buyer) * refund",
        "bill               -        +                        sum(i, bill[i])",
        "rent                        -                    +   count(seller) * rent",
        "change of      purse     till",
    ]
    assert accounts_in(document(compiled, ".md")).splitlines()[-7:] == [
        "#### goods for each j",
        "",
        "| flow | seller | the outside | amount in a step |",
        "| --- | --- | --- | --- |",
        "| harvest | + | - | `harvest` |",
        "| eaten | - | + | `sold[j]` |",
        "| change of | store |  |  |",
    ]
    assert all(sum(row.gains) == 0 for table in (money, goods) for row in table.rows)


def test_an_account_is_an_identity_of_the_generated_module() -> None:
    compiled = compile_spec(LEDGER)
    assert [identity.name for identity in compiled.model.balances] == ["money", "goods"]
    assert '"money": (' in compiled.python()


def test_the_budget_guard_must_be_declared() -> None:
    with pytest.raises(CompileError) as caught:
        compile_spec("closed_rbc", {"accounts.money.sources.budget guard": "null"})
    (error,) = caught.value.diagnostics
    assert error.code == "RB901"
    assert error.span is not None
    assert error.span.source.text[error.span.start : error.span.end] == "budget_guard"
    assert "consumer gains count(consumer) * budget_guard here" in error.message
    assert "accounts.money.sources:  budget_guard: count(consumer) * budget_guard" in str(error.help)


BANK = """
rbcc: 1
model: bank
horizon: 2
discount: 1
parameters: {rate: 1%}
state: {vault: 0}
agents:
  saver:
    index: i
    count: 3
    state: {cash: 5, deposit: 0, debt: 0}
    actions: {save: {choices: [0, 1]}, borrow: {choices: [0, 1]}}
    observes: [cash]
    reward: cash[i]
  bank:
    index: b
    count: 2
    state: {loans: 0}
    actions: {fee: {choices: [0, 1]}}
    observes: [time]
    reward: loans[b]
equations:
  all: |
    lent       = sum(i, borrow[i])
    interest[i] = rate * deposit[i]
    deposit'[i] = deposit[i] + save[i] + interest[i]
    cash'[i]    = cash[i] - save[i] + borrow[i]
    debt'[i]    = debt[i] + borrow[i]
    loans'[b]   = loans[b] + lent / count(bank)
    vault'      = vault + sum(i, save[i]) - lent
accounts:
  money: {stocks: [cash, deposit, vault], sources: {interest: "sum(i, interest[i])", deposits: "sum(i, save[i])"}}
  credit: {stocks: [loans, -debt]}
  owed: {stocks: ["debt[i]"], sources: {new: "borrow[i]"}}
"""


def test_stocks_of_one_owner_stocks_of_the_economy_and_debts(write_spec: Callable[..., Path]) -> None:
    model = compile_spec(write_spec(BANK)).model
    money, credit, owed = flow_tables(model)
    assert money.columns == ("saver.cash", "saver.deposit", "vault", "the outside")
    assert {row.name: list(map(int, row.gains)) for row in money.rows} == {
        "interest": [0, 1, 0, -1],
        "save": [-1, 1, 0, 0],
        "deposits": [0, 0, 1, -1],
        "borrow": [1, 0, -1, 0],
    }
    assert text_table(model, credit).splitlines() == [
        "credit       bank   saver   the outside   amount in a step",
        "lent            +       -                 lent",
        "change of   loans   -debt",
    ]
    assert owed.proved
    assert owed.account.indices == ("i",)


def test_declared_flows_that_an_equation_has_only_in_their_sum(write_spec: Callable[..., Path]) -> None:
    """What is saved is output less consumption: the table shows both, and one that is missing is still noticed."""
    flows = "{stocks: [capital], sources: {output: output}, sinks: {consumption: consumption, wear: 0.1 * capital}}"
    text = GROWTH.replace("FLOWS", flows)
    (table,) = flow_tables(compile_spec(write_spec(text)).model)
    assert [(row.name, row.amount, *map(int, row.gains)) for row in table.rows] == [
        ("output", "output", 1, -1),
        ("consumption", "consumption", -1, 1),
        ("wear", "0.1 * capital", -1, 1),
    ]
    for wrong in (
        text.replace("sources: {output: output}, ", ""),
        text.replace("consumption: consumption, ", ""),
        text.replace("- 0.1 * capital + saving", "- 0.1 * capital"),
        text.replace(
            "sources: {output: output}", "sources: {output: output, gift: 2 * saved, same: 3 * saved}"
        ).replace("consumption: consumption", "consumption: consumption, back: 5 * saved"),
    ):
        with pytest.raises(CompileError) as caught:
            compile_spec(write_spec(wrong))
        assert {error.code for error in caught.value.diagnostics if error.severity == "error"} <= {"RB901", "RB902"}


ORCHARD = """
rbcc: 1
model: orchard
horizon: 2
discount: 1
parameters: {alpha: 0.3, delta: 0.1}
agents:
  household:
    index: i
    count: 3
    state: {capital: 2}
    actions: {saved: {between: [0, 1]}, hours: {between: [0.1, 1]}}
    observes: [capital]
    reward: consumption[i]
equations:
  all: |
    K = sum(i, capital[i])
    L = sum(i, hours[i])
    output = K^alpha * L^(1 - alpha)
    rent = alpha * output / K
    wage = (1 - alpha) * output / L
    income[i] = rent * capital[i] + wage * hours[i]
    resources[i] = income[i] + (1 - delta) * capital[i]
    consumption[i] = (1 - saved[i]) * resources[i]
    capital'[i] = saved[i] * resources[i]
accounts:
  goods: {stocks: [capital], sources: SOURCES, sinks: {eaten: "sum(i, consumption[i])", worn: delta * K}}
"""


@pytest.mark.parametrize("source", ["output", '"sum(i, income[i])"', "rent * K + wage * L"])
def test_a_source_may_be_written_as_it_comes_or_as_it_goes(source: str, write_spec: Callable[..., Path]) -> None:
    (table,) = flow_tables(compile_spec(write_spec(ORCHARD.replace("SOURCES", f"{{output: {source}}}"))).model)
    assert table.proved


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ("{}", "household gains sum(i, income[i]) here, and nobody loses it"),
        ("{output: output, more: output}", "no equation has output, declared as a source of goods"),
    ],
)
def test_the_one_flow_that_explains_what_is_wrong_is_blamed(
    sources: str, message: str, write_spec: Callable[..., Path]
) -> None:
    with pytest.raises(CompileError) as caught:
        compile_spec(write_spec(ORCHARD.replace("SOURCES", sources)))
    assert [d.message for d in caught.value.diagnostics] == [message]


GROWTH = """
rbcc: 1
model: growth
horizon: 2
discount: 1
agents:
  planner:
    count: 1
    state: {capital: 4}
    actions: {saved: {choices: [0, 0.5, 1]}}
    observes: [capital]
    reward: consumption
equations:
  all: |
    output      = capital^0.5
    saving      = saved * output
    consumption = output - saving
    capital'    = capital - 0.1 * capital + saving
accounts:
  goods: FLOWS
"""


def additive_drops(node: ir.Expression) -> Iterator[ir.Expression]:
    """An expression with one of the terms left out that it adds up, in every way."""
    match node:
        case ir.Binary("+" | "-" as operator, left, right):
            yield left
            yield right if operator == "+" else ir.Unary("-", right, right.type)
            yield from (replace(node, left=other) for other in additive_drops(left))
            yield from (replace(node, right=other) for other in additive_drops(right))
        case ir.Binary("*" | "/", left, right):
            yield from (replace(node, left=other) for other in additive_drops(left))
            yield from (replace(node, right=other) for other in additive_drops(right))
        case ir.Unary("-", operand):
            yield from (replace(node, operand=other) for other in additive_drops(operand))
        case ir.Reduce("sum"):
            yield from (replace(node, body=other) for other in additive_drops(node.body))


def behind_stocks(model: ir.Model) -> list[ir.Definition]:
    """The equations that the next values of stocks follow from."""
    found: set[str] = set()
    pending = [f"{symbol}'" for account in model.accounts for symbol in account.symbols]
    definitions = {definition.symbol: definition for definition in model.equations}
    while pending:
        symbol = pending.pop()
        if symbol in definitions and symbol not in found:
            found.add(symbol)
            pending += ir.references(definitions[symbol].expression)
    return [definition for definition in model.equations if definition.symbol in found]


seen: dict[tuple[object, ...], int] = {}


@pytest.mark.parametrize("name", [*MODELS, str(LEDGER)])
def test_no_term_behind_a_stock_can_be_left_out(name: str) -> None:
    model = compile_spec(name).model
    # Names and numbers of agents do not matter here, so variants are tested once.
    behind = behind_stocks(model)
    key = tuple(definition.text for definition in behind)
    if key not in seen:
        seen[key] = 0
        for definition in behind:
            for expression in additive_drops(definition.expression):
                seen[key] += 1
                equations = tuple(
                    replace(other, expression=expression) if other is definition else other for other in model.equations
                )
                changed = replace(model, equations=equations)
                assert not balanced(changed), ir.show(expression)
    assert seen[key] > 1 or not model.accounts


def balanced(model: ir.Model) -> bool:
    """Whether no account has a mistake; the quick way first, which a flow that is always 0 passes."""
    return all(proofs(replace(model, identities=model.balances))) and all(table.proved for table in flow_tables(model))


def large(declared: str) -> str:
    """The bank with a flow whose two ends, v3 and w3, are the same sum of very many products, and `declared`."""
    lines = "".join(f"    v{n} = (v{n - 1} + rate * v{n - 1} + 2)^4 * (v{n - 1} + 1)\n" for n in range(1, 4))
    lines += "".join(f"    w{n} = (1 + w{n - 1}) * (2 + (1 + rate) * w{n - 1})^4\n" for n in range(1, 4))
    start = "    v0 = lent + rate\n    w0 = rate + lent\n"
    text = BANK.replace("equations:\n  all: |\n", f"equations:\n  large: |\n{start}{lines}  all: |\n")
    return text.replace("- lent\n", "- lent + v3\n").replace(
        "sources: {interest:", f'sources: {{large: "{declared}", interest:'
    )


def test_too_much_work_is_no_mistake(write_spec: Callable[..., Path]) -> None:
    table = flow_tables(compile_spec(write_spec(large("w3"))).model)[0]
    assert table.gave_up
    assert not table.proved
    assert not table.refuted
    assert table.loose == table.missing == ()


def test_flows_that_are_too_much_work_are_not_shown(write_spec: Callable[..., Path]) -> None:
    compiled = compile_spec(write_spec(large("w3")))
    shown = accounts_in(document(compiled, ".md"))
    assert shown.startswith("#### money\n\nWhat flows could not be found: the equations take too much work.")
    assert shown.count("| flow |") == len(compiled.proved_tables) < len(compiled.tables)
    data = Report((), compiled).as_data()
    assert [flow["account"] for flow in data["flows"]] == [one.account.name for one in compiled.proved_tables]
    assert [claim["proved"] for claim in data["claims"]] == [one.proved for one in compiled.tables]


def test_random_numbers_refute_what_is_too_much_work(write_spec: Callable[..., Path]) -> None:
    with pytest.raises(CompileError) as caught:
        compile_spec(write_spec(large("w2")))
    assert "vault gains v3 here, and nobody loses it" in str(caught.value)


@pytest.mark.parametrize(
    ("group", "old", "new", "message"),
    [
        ("firms", "cash_kept[j] + cash_interest[j]", "cash_kept[j]", "no equation has sum(j, cash_interest[j]), declared as a source of money"),
        ("firms", " - corporate_tax * taxed_profit[j]", "", "government gains sum(j, corporate_tax * taxed_profit[j]) here, and nobody loses it"),
        ("taxes", " + sum(j, corporate_tax * taxed_profit[j])", "", "firm loses sum(j, corporate_tax * taxed_profit[j]) here, and nobody gets it"),
        ("firms", "cash[j] + profit[j]", "cash[j] - profit[j]", "account 'money' does not balance, as random numbers show"),
    ],
)  # fmt: skip
def test_random_numbers_tell_what_is_wrong(group: str, old: str, new: str, message: str) -> None:
    """These mistakes make the accounts of open_rbc too much work; an interest of 0 hides the first one from tests."""
    plain: Any = compile_spec("open_rbc").document.plain
    equations = plain["equations"]
    assert old in equations[group]
    with pytest.raises(CompileError) as caught:
        compile_spec("open_rbc", {f"equations.{group}": equations[group].replace(old, new)})
    assert [d.message for d in caught.value.diagnostics if d.severity == "error"] == [message]

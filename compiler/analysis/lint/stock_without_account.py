from rbcc.compiler import ir
from rbcc.compiler.analysis.lint.base import Report
from rbcc.compiler.diagnostics import Label
from rbcc.compiler.ir.types import Kind, Role
from rbcc.compiler.ir.units import Unit


def unaccounted(model: ir.Model, report: Report) -> None:
    """Stocks in a unit of account, the one that other things are priced in, of which no account is kept."""
    kept = {name for account in model.accounts for name in account.symbols}
    kept |= {name for one in model.identities for side in (one.left, one.right) for name in ir.references(side)}
    states = [s for s in model.symbols if s.role is Role.STATE and s.type.kind is Kind.NUMBER and s.name[-1] != "'"]
    for unit in _units_of_account(model):
        stocks = [state for state in states if state.type.unit == unit]
        if not stocks or kept & {name for stock in stocks for name in (stock.name, f"{stock.name}'")}:
            continue
        names = ", ".join(stock.name for stock in stocks)
        report.warning(
            "RB905",
            f"no account of {unit}: an equation may take from '{stocks[0].name}' and give to nobody, unnoticed",
            report.span(stocks[0].place),
            f"declare the stocks that hold it, and its flows are proved:  accounts: {{{unit}: {{stocks: [{names}]}}}}",
            tuple(Label(report.span(stock.place), "another is at") for stock in stocks[1:]),
        )


def _units_of_account(model: ir.Model) -> list[Unit]:
    """Base units in which others are priced, as money per good, and that are priced in no other."""
    above: dict[str, None] = {}
    below: set[str] = set()
    for symbol in model.symbols:
        powers = dict(symbol.type.unit.powers) if symbol.type.unit is not None else {}
        down = {name for name, power in powers.items() if power < 0}
        below |= down
        above |= dict.fromkeys(name for name, power in powers.items() if power == 1 and down)
    return [Unit.base(name) for name in above if name not in below and name != "util"]

"""Flow tables as people draw them: a row for each flow, a column for each who holds a stock, sums of rows are 0."""

from fractions import Fraction

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting.flow_table import FlowTable
from rbcc.compiler.analysis.accounting.pretty import symbol_name


def text_table(model: ir.Model, table: FlowTable) -> str:
    """A flow table for a terminal."""
    head, *rows = grid(model, table)
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        first, *middle, last = row
        cells = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
        lines.append("   ".join([first.ljust(widths[0]), *cells, last]).rstrip())
    return "\n".join(lines)


def grid(model: ir.Model, table: FlowTable) -> list[list[str]]:
    """Head, flows, and the changes of stocks that they add up to; in each row a name, the columns, an amount."""
    account = table.account
    each = f" for each {', '.join(account.indices)}" if account.indices else ""
    found = [[f"{account.name}{each}", *table.columns, "amount in a step"]]
    for row in table.rows:
        found.append([row.name, *map(_gain, row.gains), row.amount])
    stocks = dict.fromkeys(table.columns, "")
    for title, stock in zip(table.titles, account.stocks, strict=True):
        sign = "-" if isinstance(stock, ir.Unary) else ""
        (symbol,) = ir.references(stock)
        stocks[title] = sign + symbol_name(model, symbol)
    found.append(["change of", *stocks.values(), ""])
    return found


def _gain(value: Fraction) -> str:
    if not value:
        return ""
    return ("+" if value > 0 else "-") + ("" if abs(value) == 1 else str(abs(value)))

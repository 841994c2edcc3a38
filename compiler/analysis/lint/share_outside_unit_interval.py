import re
from collections.abc import Iterator

from rbcc.compiler import ir
from rbcc.compiler.analysis.intervals import Interval, Ranges, as_number
from rbcc.compiler.analysis.lint.base import Report, rounded
from rbcc.compiler.diagnostics import Label
from rbcc.compiler.ir.types import Kind, Role
from rbcc.compiler.ir.units import ONE
from rbcc.compiler.primitives import BUILTIN


WORDS = r"(shares?|fractions?|probabilit(y|ies)|proportions?)"
_TOLERANCE = 1e-9


def shares(model: ir.Model, ranges: Ranges, report: Report) -> None:
    """Shares and probabilities outside 0 to 1: by their name, and by what is done with them."""
    symbols = {symbol.name: symbol for symbol in model.symbols}
    found: dict[str, tuple[str, ir.Place | None]] = {}
    for symbol in model.symbols:
        words = " ".join(re.split(r"[_.']+", symbol.name)) + " " + (symbol.doc or "")
        if symbol.role in (Role.PARAMETER, Role.ACTION) and (word := re.search(rf"\b{WORDS}\b", words, re.IGNORECASE)):
            found.setdefault(symbol.name, (f"is called a {word.group().lower()}", None))
    for part in (*model.parameters, *model.equations, *model.indicators):
        for name, use in _used_as_shares(part.expression):
            found.setdefault(name, (use, part.place))
    for name, (use, place) in found.items():
        symbol, range_ = symbols.get(name), ranges.exact(name)
        pure = symbol is not None and symbol.type.unit in (None, ONE) and symbol.type.kind is Kind.NUMBER
        if symbol is None or range_ is None or not pure:
            continue
        if (outside := _outside(range_)) is not None:
            verb = "is" if symbol.role is Role.PARAMETER else "can be"
            report.warning(
                "RB803",
                f"'{name}' {verb} {rounded(outside)}, and {use}",
                report.span(symbol.place),
                "a share lies between 0 and 1"
                + (f": {outside:g}% is written {outside / 100:g} or {outside:g}%" if 2 < outside <= 100 else ""),
                (Label(report.span(place), "used at"),) if place else (),
            )


def _outside(range_: Interval) -> float | None:
    if range_.high > 1 + _TOLERANCE:
        return range_.high
    return range_.low if range_.low < -_TOLERANCE else None


def _used_as_shares(node: ir.Expression) -> Iterator[tuple[str, str]]:
    """Names used as shares, and how: (1 - x) y, arguments of that name, probabilities of draws."""
    for inner in ir.walk(node):
        match inner:
            case ir.Binary("*", left, right):
                for factor in (left, right):
                    match factor:
                        case ir.Binary("-", one, ir.Reference(name)) if as_number(one) == 1:
                            yield name, f"is used as a share, in 1 - {name}"
            case ir.Apply(function, arguments) if function in BUILTIN:
                for argument, given in zip(BUILTIN[function].arguments, arguments, strict=False):
                    if re.fullmatch(WORDS, argument) and isinstance(given, ir.Reference):
                        yield given.symbol, f"is the {argument} of {function}()"
            case ir.Reduce(operator, level=ir.Reference(name)):
                yield name, f"is the level of {operator}()"
            case ir.Draw("bernoulli", (ir.Reference(name), *_)):
                yield name, "is the probability of a draw"

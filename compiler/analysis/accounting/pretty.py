"""Sums of products in the language of specs."""

import re
from fractions import Fraction

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting.normal_form import Atom, Index, Product, Sum, set_of
from rbcc.compiler.ir.types import Kind, Type


Names = dict[str, str]


def symbol_name(model: ir.Model, symbol: str) -> str:
    """The name of a symbol as short as it can be written."""
    short = symbol.rpartition(".")[2]
    return short if sum(other.name.rpartition(".")[2] == short for other in model.symbols) == 1 else symbol


def shown(model: ir.Model, whole: Sum) -> str:
    """A sum as an author would write it."""
    return _sum(model, whole, {})


def label(model: ir.Model, product: Product) -> str:
    """A short name for a product: its factors, without indices."""
    text = _product(model, Product((), product.factors), Fraction(1), {})
    while (shorter := re.sub(r"\[[^\[\]]*\]", "", text)) != text:
        text = shorter
    return text


def _sum(model: ir.Model, whole: Sum, names: Names) -> str:
    if not whole.terms:
        return "0"
    text = ""
    for product, coefficient in sorted(whole.terms.items(), key=lambda term: (term[1] < 0, term[0].text)):
        sign = (" - " if text else "-") if coefficient < 0 else (" + " if text else "")
        text += sign + _product(model, product, abs(coefficient), names)
    return text


def _product(model: ir.Model, product: Product, coefficient: Fraction, names: Names) -> str:
    taken = {*names.values(), *(variable for variable in product.variables if not variable.startswith("#"))}
    mine: Names = {}
    for variable in product.bound:
        mine[variable] = _free_index(model, set_of(variable), {*taken, *mine.values()})
    inner = {**names, **mine}
    above = [_power(model, atom, power, inner) for atom, power in product.factors if power > 0]
    below = [_power(model, atom, -power, inner) for atom, power in product.factors if power < 0]
    body = " * ".join(above or ["1"]) + "".join(f" / {factor}" for factor in below)
    text = f"sum({', '.join(mine.values())}, {body})" if mine else body
    if coefficient == 1:
        return text
    agents = [agent.name for agent in model.agents if agent.indices and agent.count == coefficient]
    factor = f"count({agents[0]})" if len(agents) == 1 else _number(coefficient)
    return factor if text == "1" else f"{factor} * {text}"


def _free_index(model: ir.Model, owner: str, taken: set[str]) -> str:
    indices = model.agent(owner).indices
    return next((index for index in indices if index not in taken), f"{indices[0]}{len(taken) + 1}")


def _number(value: Fraction) -> str:
    return ir.show(ir.Constant(value, Type(Kind.NUMBER)))


def _power(model: ir.Model, atom: Atom, power: int, names: Names) -> str:
    text = _atom(model, atom, names)
    return text if power == 1 else f"{text}^{power}"


def _atom(model: ir.Model, atom: Atom, names: Names) -> str:
    inside = [_sum(model, argument, names) for argument in atom.arguments]
    indices = [_index(model, index, names) for index in atom.indices]
    match atom.kind:
        case "value":
            name = symbol_name(model, atom.name)
            return f"{name}[{', '.join(indices)}]" if indices else name
        case "index":
            return indices[0]
        case "same":
            return f"({indices[0]} == {indices[1]})"
        case "positive":
            return f"max({inside[0]}, 0)"
        case "less":
            return f"({inside[0]} > 0)"
        case "zero":
            return f"({inside[0]} == 0)"
        case "sum":
            return f"({inside[0]})"
        case "power":
            return f"({inside[0]})^({inside[1]})"
        case "draw":
            return f"draw#{atom.name}"
        case "over":
            inner = dict(names)
            for variable in map(str, atom.indices):
                inner[variable] = _free_index(model, set_of(variable), set(inner.values()))
            body, condition, *level = (_sum(model, argument, inner) for argument in atom.arguments)
            where = "" if condition == "1" else f" where {condition}"
            over = ", ".join(inner[str(variable)] for variable in atom.indices)
            return f"{atom.name}({', '.join([over + where, body, *level])})"
    return f"{atom.name}({', '.join(inside)})"


def _index(model: ir.Model, index: Index, names: Names) -> str:
    if isinstance(index, str):
        return names.get(index, index)
    if index.kind == "choose":
        first, second = (_index(model, member, names) for member in index.indices)
        return f"{first} if {_sum(model, index.arguments[0], names)} else {second}"
    return _atom(model, index, names)

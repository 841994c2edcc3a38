import operator
from fractions import Fraction
from math import floor
from typing import TypeVar

from rbcc.compiler import ir
from rbcc.compiler.ir.constants import literal_value


_EXACT = {"abs": abs, "min": min, "max": max, "floor": lambda x: Fraction(floor(x))}

_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


_Record = TypeVar("_Record", ir.Model, ir.Expression)


def fold(record: _Record) -> _Record:
    """Computes, exactly, whatever in a model or an expression consists of written numbers only."""
    return ir.rebuild(record, _fold)


def _fold(node: ir.Expression) -> ir.Expression:
    if isinstance(node, ir.Apply) and node.function in _EXACT:
        values = [literal_value(argument) for argument in node.arguments]
        if None not in values:
            return ir.Constant(_EXACT[node.function](*values), node.type)
    if isinstance(node, (ir.Unary, ir.Binary)):
        value = literal_value(node)
        if value is not None:
            return ir.Constant(value, node.type)
    if isinstance(node, ir.Conditional) and isinstance(node.condition, ir.Binary):
        compare = _COMPARE.get(node.condition.operator)
        sides = [literal_value(side) for side in (node.condition.left, node.condition.right)]
        if compare and None not in sides:
            return node.then if compare(*sides) else node.otherwise
    return node

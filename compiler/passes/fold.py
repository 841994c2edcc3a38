from fractions import Fraction
from math import floor

from rbcc.compiler import ir
from rbcc.compiler.infer import literal_value


_EXACT = {"abs": abs, "min": min, "max": max, "floor": lambda x: Fraction(floor(x))}


def fold(model: ir.Model) -> ir.Model:
    """Computes, exactly, whatever consists of written numbers only."""
    return ir.rebuild(model, _fold)


def _fold(node: ir.Expression) -> ir.Expression:
    if isinstance(node, ir.Apply) and node.function in _EXACT:
        values = [literal_value(argument) for argument in node.arguments]
        if None not in values:
            return ir.Constant(_EXACT[node.function](*values), node.type)
    if isinstance(node, (ir.Unary, ir.Binary)):
        value = literal_value(node)
        if value is not None:
            return ir.Constant(value, node.type)
    return node

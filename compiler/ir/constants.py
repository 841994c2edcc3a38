"""Expressions of written numbers: made, recognised, computed exactly."""

import operator
from fractions import Fraction

from rbcc.compiler.ir.program import Binary, Constant, Expression, Unary, children, remembered
from rbcc.compiler.ir.types import Kind, Type
from rbcc.compiler.ir.units import ONE


MAX_BITS = 10_000  # of a number that is computed here, exactly

_EXACT = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def constant(value: Fraction | float | bool) -> Constant:
    """A written number; a float stands for its shortest decimal."""
    if isinstance(value, bool):
        return Constant(value, Type(Kind.FLAG, unit=ONE))
    return Constant(Fraction(repr(value)) if isinstance(value, float) else Fraction(value), Type(unit=ONE))


@remembered
def is_literal(node: Expression) -> bool:
    """Whether `node` consists of written numbers only, and so has no unit of its own."""
    return isinstance(node, (Constant, Unary, Binary)) and all(map(is_literal, children(node)))


@remembered
def literal_value(node: Expression) -> Fraction | None:
    """The value of an expression of written numbers, or None if it is not one or not rational."""
    match node:
        case Constant(bool()):
            return None
        case Constant(value):
            return Fraction(value)
        case Unary("-", operand):
            value = literal_value(operand)
            return None if value is None else -value
        case Binary(sign, left, right):
            a, b = literal_value(left), literal_value(right)
            if a is None or b is None:
                return None
            if sign == "/" and b != 0:
                return a / b
            bits = a.numerator.bit_length() + a.denominator.bit_length()
            if sign == "^" and b.denominator == 1 and abs(b) * bits <= MAX_BITS and (a != 0 or b >= 0):
                return a ** int(b)
            exact = _EXACT.get(sign)
            return exact(a, b) if exact else None
    return None

"""The text of expressions, equations and units as syntax trees."""

from rbcc.compiler.syntax.ast import (
    Argument as Argument,
    Binary as Binary,
    Boolean as Boolean,
    Call as Call,
    Comparison as Comparison,
    Conditional as Conditional,
    Equality as Equality,
    Equation as Equation,
    Expression as Expression,
    Number as Number,
    Reference as Reference,
    Target as Target,
    Unary as Unary,
    children as children,
    references as references,
)
from rbcc.compiler.syntax.parser import (
    LARGEST as LARGEST,
    MAX_DEPTH as MAX_DEPTH,
    MAX_DIGITS as MAX_DIGITS,
    SMALLEST as SMALLEST,
    left_sides as left_sides,
    parse_equalities as parse_equalities,
    parse_equations as parse_equations,
    parse_expression as parse_expression,
    parse_unit as parse_unit,
    statements as statements,
    tokens as tokens,
    unit_of as unit_of,
)

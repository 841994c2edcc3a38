"""The abstract syntax of expressions and equations, with the place of every node."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from rbcc.compiler.diagnostics import Span
from rbcc.compiler.ir.units import Unit


@dataclass(frozen=True)
class Number:
    value: Fraction
    span: Span


@dataclass(frozen=True)
class Boolean:
    value: bool
    span: Span


@dataclass(frozen=True)
class Reference:
    """`name`, `owner.name`, `name'`, `name[i, j]`; a bare index name is a reference too."""

    name: str
    owner: str | None
    primed: bool
    indices: tuple["Expression", ...] | None
    span: Span
    name_span: Span


@dataclass(frozen=True)
class Unary:
    operator: str  # "-" or "not"
    operand: "Expression"
    span: Span


@dataclass(frozen=True)
class Binary:
    operator: str  # + - * / ^ and or
    left: "Expression"
    right: "Expression"
    span: Span


@dataclass(frozen=True)
class Comparison:
    operator: str
    left: "Expression"
    right: "Expression"
    span: Span


@dataclass(frozen=True)
class Conditional:
    condition: "Expression"
    then: "Expression"
    otherwise: "Expression"
    span: Span


@dataclass(frozen=True)
class Argument:
    value: "Expression"
    where: "Expression | None"


@dataclass(frozen=True)
class Call:
    """A function or, if its first argument is an index, a reduction over it."""

    function: str
    arguments: tuple[Argument, ...]
    span: Span
    name_span: Span


Expression = Number | Boolean | Reference | Unary | Binary | Comparison | Conditional | Call


@dataclass(frozen=True)
class Target:
    name: str
    primed: bool
    indices: tuple[str, ...]
    index_spans: tuple[Span, ...]
    span: Span


@dataclass(frozen=True)
class Equation:
    target: Target
    unit: Unit | None
    unit_span: Span | None
    expression: Expression
    span: Span
    text: str
    doc: str | None


@dataclass(frozen=True)
class Equality:
    """An equation that is solved, as it is written: `left == right` if it is right."""

    node: Expression
    text: str
    doc: str | None


def children(node: object) -> Iterator[Expression]:
    """The expressions directly inside a node."""
    match node:
        case Reference(indices=tuple() as inner):
            yield from inner
        case Unary(operand=operand):
            yield operand
        case Binary() | Comparison():
            yield node.left
            yield node.right
        case Conditional():
            yield node.then
            yield node.condition
            yield node.otherwise
        case Call(arguments=arguments):
            for argument in arguments:
                yield argument.value
                if argument.where is not None:
                    yield argument.where


def references(node: Expression) -> Iterator[Reference]:
    """All references inside `node`, itself included."""
    if isinstance(node, Reference):
        yield node
    for child in children(node):
        yield from references(child)

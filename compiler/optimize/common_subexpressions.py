from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from rbcc.compiler import ir
from rbcc.compiler.ir.types import Kind, Role


# What else is computed in a step, after the equations.
_FIELDS = ("constraints", "identities", "invariants", "indicators")
_LEAVES = (ir.Constant, ir.IndexValue, ir.Reference)
# What stands in a system depends on the unknowns that are tried there: the same words mean other values elsewhere.
_WHOLE = (*_LEAVES, ir.Root)


def share(model: ir.Model) -> ir.Model:
    """Computes equal parts of a step's equations once: by the name of an equation that is one, or a new one."""
    uses = _uses(model)
    known: dict[ir.Expression, ir.Expression] = {}
    equations: list[ir.Definition] = []
    symbols: list[ir.Symbol] = []

    def named(node: ir.Expression) -> ir.Expression:
        """`node` with the names of parts that have one."""
        if isinstance(node, ir.Root):
            return node
        return known[node] if node in known else ir.with_children(node, named)

    def defined(node: ir.Expression, equation: ir.Definition) -> ir.Expression:
        """The same; parts that are used again get a name on the way."""
        if isinstance(node, ir.Root):
            return node
        if node in known:
            return known[node]
        inner = ir.with_children(node, lambda child: defined(child, equation))
        if uses[node] < 2:
            return inner
        name, axes = f"@shared_{len(symbols) + 1}", node.type.axes
        sets = tuple(model.set_of(axis) for axis in axes)
        symbols.append(ir.Symbol(name, Role.SHARED, None, sets, node.type, None, equation.place))
        text = f"shared by several equations: {ir.show(node)}"
        equations.append(ir.Definition(name, axes, inner, text, equation.group, None, equation.place))
        known[node] = ir.Reference(name, axes, node.type)
        return known[node]

    for equation in model.equations:
        whole = equation.expression
        same = model.symbol(equation.symbol).type.kind is whole.type.kind
        held = equation.symbol in model.held  # its name may stand for another value than its equation says
        if (
            not held
            and uses[whole] > 1
            and whole not in known
            and same
            and set(equation.indices) == set(whole.type.axes)
        ):
            expression = ir.with_children(whole, lambda child: defined(child, equation))  # noqa: B023
            known[whole] = ir.Reference(equation.symbol, equation.indices, whole.type)
        else:
            expression = defined(whole, equation)
        equations.append(replace(equation, expression=expression))
    rest: dict[str, Any] = {field: _changed(getattr(model, field), named) for field in _FIELDS}
    return replace(model, symbols=(*model.symbols, *symbols), equations=tuple(equations), **rest)


def _uses(model: ir.Model) -> Counter[ir.Expression]:
    """How often each part that is worth a name is used in equations; within equal parts it counts once."""
    found: Counter[ir.Expression] = Counter()

    def visit(node: ir.Expression) -> None:
        if isinstance(node, _WHOLE):
            return
        worthwhile = _worthwhile(node)
        found[node] += worthwhile
        if found[node] < 2:
            for child in ir.children(node):
                visit(child)

    def visit_after(node: ir.Expression) -> None:
        if found[node]:
            found[node] += 1
        else:
            for child in ir.children(node):
                visit_after(child)

    for equation in model.equations:
        visit(equation.expression)
    for expression in _records(model):
        visit_after(expression)
    return found


def _records(model: ir.Model) -> Iterator[ir.Expression]:
    """The expressions that are computed after the equations."""
    for field in _FIELDS:
        for record in getattr(model, field):
            yield from (part for part in vars(record).values() if isinstance(part, ir.Expression))


def _worthwhile(node: ir.Expression) -> bool:
    """Whether it is an array of numbers or flags, no constant, and the same wherever it stands."""
    return node.type.kind in (Kind.NUMBER, Kind.FLAG) and _reads(node) and not _draws(node)


@ir.remembered
def _reads(node: ir.Expression) -> bool:
    return isinstance(node, ir.Reference) or any(map(_reads, ir.children(node)))


@ir.remembered
def _draws(node: ir.Expression) -> bool:
    return isinstance(node, ir.Draw) or any(map(_draws, ir.children(node)))


def _changed(records: tuple[Any, ...], change: Callable[[ir.Expression], ir.Expression]) -> tuple[Any, ...]:
    """Records with `change` applied to the expressions directly in them."""
    return tuple(
        replace(record, **{k: change(v) for k, v in vars(record).items() if isinstance(v, ir.Expression)})
        for record in records
    )

"""Proofs of identities: both sides become the same sum of products, in every step or by induction from the start."""

from collections.abc import Iterable
from dataclasses import replace

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting.normal_form import Algebra, Sum, TooLarge, minus, plus
from rbcc.compiler.analysis.accounting.polynomial_division import reduced
from rbcc.compiler.ir.types import Role, Time


def proofs(model: ir.Model) -> tuple[bool, ...]:
    """Which of the identities follow from the equations, for all states, choices, draws and parameters; or, where they
    say something of states alone, as a balance sheet does, from the equations and the start.

    False does not mean that one is wrong: it may hold for a reason that is not looked for, or take too much work.
    """
    algebra, start = Algebra(model), Algebra(replace(model, equations=model.starts))
    return tuple(
        _equal(algebra, [identity.left], [identity.right])
        or (of_states(model, identity) and _by_induction(algebra, start, identity))
        for identity in model.identities
    )


def of_states(model: ir.Model, identity: ir.Identity) -> bool:
    """Whether an identity says something of states alone, all of the same time: it holds only where it held before."""
    read = ir.references(identity.left) | ir.references(identity.right)
    symbols = [model.symbol(name) for name in read]
    states = [symbol.name for symbol in symbols if symbol.role is Role.STATE]
    others = [symbol for symbol in symbols if symbol.role not in (Role.STATE, Role.PARAMETER)]
    return bool(states) and not others and len({name.endswith("'") for name in states}) == 1


def _by_induction(algebra: Algebra, start: Algebra, identity: ir.Identity) -> bool:
    """Whether it holds at the start, and the equations change both sides alike."""
    (left, right), (later_left, later_right) = _sides(identity, later=False), _sides(identity, later=True)
    return _equal(start, [left], [right]) and _equal(algebra, [later_left, right], [left, later_right])


def _sides(identity: ir.Identity, later: bool) -> tuple[ir.Expression, ir.Expression]:
    """Both sides of an identity of states, at the start of a step or `later`, at its end."""

    def moved(node: ir.Expression) -> ir.Expression:
        if not isinstance(node, ir.Reference) or node.type.time not in (Time.NOW, Time.NEXT):
            return node
        name = node.symbol.removesuffix("'")
        kind = replace(node.type, time=Time.NEXT if later else Time.NOW)
        return replace(node, symbol=f"{name}'" if later else name, type=kind)

    return ir.rebuild(identity.left, moved), ir.rebuild(identity.right, moved)


def _equal(algebra: Algebra, left: Iterable[ir.Expression], right: Iterable[ir.Expression]) -> bool:
    """Whether the sums of two lists are the same, once values are replaced by their equations, the last first."""
    try:
        rest = Sum({})
        for node in left:
            rest = plus(rest, algebra.sum_of(node))
        for node in right:
            rest = minus(rest, algebra.sum_of(node))
        rest = reduced(algebra, rest)
        while rest.terms:
            symbol = algebra.latest(rest.symbols)
            if symbol is None:
                return False
            rest = reduced(algebra, algebra.expand(rest, symbol))
    except TooLarge:
        return False
    return True

"""Proofs of identities: both sides become the same sum of products."""

from rbcc.compiler import ir
from rbcc.compiler.accounting.algebra import Algebra, TooLarge, minus
from rbcc.compiler.accounting.divide import reduced


def proofs(model: ir.Model) -> tuple[bool, ...]:
    """Which of the identities follow from the equations, for all states, choices, draws and parameters.

    False does not mean that one is wrong: it may hold for a reason that is not looked for, or take too much work.
    """
    algebra = Algebra(model)
    return tuple(_proved(algebra, identity) for identity in model.identities)


def _proved(algebra: Algebra, identity: ir.Identity) -> bool:
    try:
        rest = reduced(algebra, minus(algebra.sum_of(identity.left), algebra.sum_of(identity.right)))
        while rest.terms:
            symbol = algebra.latest(rest.symbols)
            if symbol is None:
                return False
            rest = reduced(algebra, algebra.expand(rest, symbol))
    except TooLarge:
        return False
    return True

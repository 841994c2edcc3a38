"""Proofs of identities: both sides become the same sum of products."""

from rbcc.compiler import ir
from rbcc.compiler.accounting.algebra import Algebra, TooLarge, minus
from rbcc.compiler.accounting.divide import reduced


def proved(model: ir.Model, identity: ir.Identity) -> bool:
    """Whether an identity follows from the equations, for all states, choices, draws and parameters.

    False does not mean that it is wrong: it may hold for a reason that is not looked for, or take too much work.
    """
    algebra = Algebra(model)
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

"""What proofs know of equations that are solved within a step: their two sides are equal.

The sum of `demand[i, j]` over all i is `supply[j]` where an equation says so. The latest of the values in an equation
is replaced by the others, so that what is replaced never comes back.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from rbcc.compiler import ir


if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Rule:
    """The sum of `symbol[indices]` over the indices that are `bound` is `instead`, for all that the others can be."""

    symbol: str
    indices: tuple[str, ...]
    bound: frozenset[str]
    instead: Any

    def fits(self, atom: Any, bound: tuple[str, ...], others: Sequence[Any]) -> dict[str, Any] | None:
        """What the free indices stand for, if `atom` is what is summed up in a product with `others`."""
        mine = [atom.indices[k] for k, index in enumerate(self.indices) if index in self.bound]
        free = {index: atom.indices[k] for k, index in enumerate(self.indices) if index not in self.bound}
        elsewhere = [other.variables for other in others]
        elsewhere += [{index} if isinstance(index, str) else index.variables for index in free.values()]
        for index in mine:
            if not isinstance(index, str) or index not in bound or any(index in names for names in elsewhere):
                return None
        return free if len(set(map(str, mine))) == len(mine) else None


def rules(algebra: Any) -> Mapping[str, Rule]:
    """The rules by the symbol that they replace, at most one for each."""
    from rbcc.compiler.analysis.accounting.normal_form import TooLarge, minus

    found: dict[str, Rule] = {}
    for system in ir.systems(algebra.model):
        unknowns = {one.symbol for one in system.unknowns}
        for equation in system.equations:
            with suppress(TooLarge):
                rest = minus(algebra.sum_of(equation.left), algebra.sum_of(equation.right))
                for stage in _expanded(algebra, rest, unknowns):
                    rule = _rule(algebra, stage)
                    if rule is not None:
                        found.setdefault(rule.symbol, rule)
    return found


def _expanded(algebra: Any, rest: Any, unknowns: set[str]) -> Iterator[Any]:
    """A sum that is 0, and the same with values replaced by their equations, the last first."""
    while True:
        yield rest
        symbol = algebra.latest(rest.symbols - unknowns)
        if symbol is None:
            return
        rest = algebra.expand(rest, symbol)


def _rule(algebra: Any, rest: Any) -> Rule | None:
    """What a sum that is 0 says of the latest symbol in it, if it has that once and alone."""
    from rbcc.compiler.analysis.accounting.normal_form import Sum, times

    latest = max(rest.symbols, key=lambda name: (algebra.order.get(name, -1), name), default=None)
    having = [product for product in rest.terms if latest in product.symbols]
    if latest is None or len(having) != 1:
        return None
    (lead,) = having
    atom = lead.value
    if atom is None or atom.name != latest or not all(isinstance(index, str) for index in atom.indices):
        return None
    indices = tuple(map(str, atom.indices))
    others = {product: coefficient for product, coefficient in rest.terms.items() if product is not lead}
    instead = times(-1 / Fraction(rest.terms[lead]), Sum(others))
    if len(set(indices)) < len(indices) or not instead.variables <= set(indices) - set(lead.bound):
        return None
    return Rule(latest, indices, frozenset(lead.bound), instead)

"""Division of sums by sums: shares of a whole add up to 1."""

from collections.abc import Iterator
from itertools import permutations

from rbcc.compiler.analysis.accounting.normal_form import (
    BOUND,
    Algebra,
    Atom,
    Product,
    Sum,
    minus,
    number,
    plus,
    set_of,
    times,
)


MAX_STEPS = 50


def reduced(algebra: Algebra, whole: Sum) -> Sum:
    """The same sum, in which a multiple of a sum that is divided by that sum is only the multiple."""
    for divisor, bound in _divisors(whole):
        names = {variable: algebra.fresh(set_of(variable)) for variable in bound}
        rest, numerator = dict(whole.terms), number(0)
        for product, coefficient in whole.terms.items():
            powers = dict(product.factors)
            if powers.get(divisor, 0) < 0 and bound == divisor.variables & set(product.bound):
                del rest[product]
                others = {variable: algebra.fresh(set_of(variable)) for variable in set(product.bound) - bound}
                inside = [(atom, power + (atom == divisor)) for atom, power in product.factors]
                moved = algebra.moved_factors([pair for pair in inside if pair[1]], {**names, **others})
                numerator = plus(numerator, times(coefficient, algebra.total(moved, others.values())))
        quotient = _quotient(algebra, numerator, algebra.moved(divisor.arguments[0], names))
        if quotient is not None:
            return reduced(algebra, plus(Sum(rest), algebra.total(quotient, names.values())))
    return whole


def _divisors(whole: Sum) -> list[tuple[Atom, frozenset[str]]]:
    """The sums that something is divided by, with those of their variables that all is summed over."""
    found: dict[tuple[Atom, frozenset[str]], None] = {}
    for product in whole.terms:
        for atom, power in product.factors:
            if atom.kind == "sum" and power < 0:
                found[atom, atom.variables & set(product.bound)] = None
    return list(found)


def _quotient(algebra: Algebra, numerator: Sum, divisor: Sum) -> Sum | None:
    """The sum that times `divisor` is `numerator`, if there is one."""
    lead = max(divisor.terms, key=lambda product: (len(product.factors), product.text))
    found = number(0)
    for _ in range(MAX_STEPS):
        if not numerator.terms:
            return found
        part = next((part for product in numerator.terms for part in _parts(product, lead)), None)
        if part is None:
            return None
        product, rest = part
        variables, factor = algebra.opened(rest)
        factor = times(numerator.terms[product] / divisor.terms[lead], algebra.total(factor, variables))
        found, numerator = plus(found, factor), minus(numerator, algebra.multiply(factor, divisor))
    return None


def _parts(product: Product, lead: Product) -> Iterator[tuple[Product, Product]]:
    """`product`, and what it is a multiple of `lead` by, for each way in which it is one."""
    powers = {atom.text: (atom, power) for atom, power in product.factors}
    for chosen in permutations(product.bound, len(lead.bound)):
        if [set_of(variable) for variable in chosen] != [set_of(variable) for variable in lead.bound]:
            continue
        names = dict(zip(lead.bound, chosen, strict=True))
        rest = dict(powers)
        for atom, power in lead.factors:
            text = BOUND.sub(lambda found: names.get(found.group(), found.group()), atom.text)  # noqa: B023
            if text not in rest or rest[text][1] < power:
                break
            rest[text] = rest[text][0], rest[text][1] - power
        else:
            left = [(atom, power) for atom, power in rest.values() if power]
            if not any(set(chosen) & atom.variables for atom, _ in left):
                yield product, Product(tuple(v for v in product.bound if v not in chosen), tuple(left))

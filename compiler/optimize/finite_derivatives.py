"""Derivatives that are finite wherever a condition keeps a value finite.

JAX differentiates both branches of a conditional and multiplies the derivative of the one that is not taken by 0. That
is NaN where the derivative is infinite, as for `sqrt(x) if x > 0 else 0` at x = -1. So in a branch the arguments of a
division, a power, a root, ... are replaced by harmless ones where the branch is not taken, unless they surely lie where
the result and its derivatives are finite. The smaller of two values is a conditional, too: `min(1, a / b)`.

In the same way the derivative of `max(x, 0)` at x = -1 is 0, times that of what is made from it, which is infinite in
`max(x, 0)^0.5`. So what may flow into a power or a root is chosen by functions that choose the derivative as well.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from itertools import islice
from typing import Any, Literal

from rbcc.compiler import ir
from rbcc.compiler.analysis.intervals import Interval, Ranges
from rbcc.compiler.ir.axis_order import merge_axes
from rbcc.compiler.ir.constants import constant, literal_value
from rbcc.compiler.ir.types import Kind, Type
from rbcc.compiler.primitives import Domain


_DIFFERENTIATED = ("parameters", "starts", "actions", "equations", "observations", "constraints", "indicators")


def guards(model: ir.Model) -> ir.Model:
    """The model with finite derivatives behind its conditions; all values stay as they are."""
    domains = _Domains(model)
    guarded = _Guards(domains).guarded
    return _selected(replace(model, **{k: ir.rebuild(getattr(model, k), guarded) for k in _DIFFERENTIATED}), domains)


# --- where values and derivatives are finite -----------------------------------------------------------------------

_REALS, _POSITIVE, _NEGATIVE = Interval(-math.inf, math.inf), (0.0, None), (None, 0.0)
_MOST = 88.0  # of what the exponential is finite in single precision


class _Domains:
    """Which arguments must lie where for a result and its derivatives to be finite, and which surely do.

    Surely means for any parameters and in any state: parameters can be given to a call, and states can be set.
    """

    def __init__(self, model: ir.Model):
        self.ranges = Ranges(model)
        self.primitives = {one.name: one for one in model.primitives}
        self.known = {symbol.name: self.ranges.choices(symbol.name) or _REALS for symbol in model.symbols}
        self.known["time"] = Interval(0, model.horizon - 1)
        self.found: dict[ir.Expression, Interval] = {}
        for definition in model.equations:
            self.known[definition.symbol] = self.range(definition.expression)

    def range(self, node: ir.Expression) -> Interval:
        if node not in self.found:
            self.found[node] = self.ranges.of(node, self.known) or _REALS
        return self.found[node]

    def surely(self, node: ir.Expression, domain: Domain) -> bool:
        (low, high), range_ = domain, self.range(node)
        return (low is None or range_.low > low) and (high is None or range_.high < high)

    def needs(self, node: ir.Expression) -> Iterator[tuple[ir.Expression, Domain]]:
        """The arguments of `node` that must lie in a domain and may not, with the domain."""
        match node:
            case ir.Binary("/", _, divisor):
                if not self.surely(divisor, _POSITIVE) and not self.surely(divisor, _NEGATIVE):
                    yield divisor, _POSITIVE
            case ir.Binary("^", base, exponent):
                yield from self.needs_of_power(base, exponent)
            case ir.Apply(function, arguments):
                for argument, domain in zip(arguments, self.primitives[function].domains, strict=False):
                    if not self.surely(argument, domain):
                        yield argument, domain

    def needs_of_power(self, base: ir.Expression, exponent: ir.Expression) -> Iterator[tuple[ir.Expression, Domain]]:
        number, power = literal_value(base), literal_value(exponent)
        if number is not None and number > 0:  # an exponential
            most = _MOST / max(abs(math.log(number)), 1e-9)
            if not self.surely(exponent, (-most, most)):
                yield exponent, (-most, most)
            return
        finite_at_zero = power is not None and (power >= 1 or power == 0)
        if power is not None and power.denominator == 1 and (finite_at_zero or self.surely(base, _NEGATIVE)):
            return
        if not self.surely(base, _POSITIVE) and not (finite_at_zero and self.range(base).low >= 0):
            yield base, _POSITIVE

    def fails(self, node: ir.Expression) -> bool:
        """Whether something in `node` may have no finite result or derivative."""
        return any(True for part in ir.walk(node) for _ in self.needs(part))


def _harmless(domain: Domain) -> Fraction:
    """A number in an interval, 1 if it can be."""
    low, high = domain
    if (low is None or low < 1) and (high is None or high > 1):
        return Fraction(1)
    if low is not None and high is not None:
        return (Fraction(low) + Fraction(high)) / 2
    return Fraction(low) + 1 if low is not None else Fraction(high or 0) - 1


# --- branches with harmless arguments ------------------------------------------------------------------------------

_LARGEST = Fraction(34 * 10**37)  # of single precision, nearly
_MOST_PARTS = 100


class _Guards:
    def __init__(self, domains: _Domains):
        self.domains = domains
        self.choices: dict[str, Callable[..., ir.Expression]] = {
            "min": self.smaller, "max": self.larger, "clip": self.clip, "steps": self.steps, "ration": self.ration,
        }  # fmt: skip

    def guarded(self, node: ir.Expression) -> ir.Expression:
        """`node`, in which everything is guarded already."""
        match node:
            case ir.Conditional(condition, then, otherwise):
                return replace(node, then=self.kept(then, condition), otherwise=self.kept(otherwise, _not(condition)))
            case ir.Reduce(condition=condition, body=body) if condition is not None:
                return replace(node, body=self.kept(body, condition))
            case ir.Reduce("min" | "max", body=body) if _short(node) and self.domains.fails(body):
                return self.extreme(node)
            case ir.Apply(function, arguments) if function in self.choices and _short(node):
                return self.choices[function](*arguments) if any(map(self.domains.fails, arguments)) else node
        return node

    def kept(self, node: ir.Expression, condition: ir.Expression) -> ir.Expression:
        """`node` where `condition` holds, and something finite elsewhere."""
        if not self.domains.fails(node):
            return node
        needed = {id(argument): domain for argument, domain in self.domains.needs(node)}

        def replaced(argument: ir.Expression) -> ir.Expression:
            inside = self.kept(argument, condition)
            if id(argument) not in needed:
                return inside
            return _conditional(_for(node, condition), inside, constant(_harmless(needed[id(argument)])))

        return ir.with_children(node, replaced)

    # --- functions that choose -------------------------------------------------------------------------------------

    def chosen(self, condition: ir.Expression, then: ir.Expression, otherwise: ir.Expression) -> ir.Expression:
        return _conditional(condition, self.kept(then, condition), self.kept(otherwise, _not(condition)))

    def one_of(self, beats: Literal["<", ">"], values: Iterable[ir.Expression]) -> ir.Expression:
        """The value that beats all others; one that is not a number does."""

        def best(one: ir.Expression, other: ir.Expression) -> ir.Expression:
            number = _flag("==", one, one)
            return self.chosen(_flag("and", _not(_flag(beats, one, other)), number), other, one)

        return reduce(best, values)

    def larger(self, *values: ir.Expression) -> ir.Expression:
        return self.one_of(">", values)

    def smaller(self, *values: ir.Expression) -> ir.Expression:
        return self.one_of("<", values)

    def clip(self, x: ir.Expression, low: ir.Expression, high: ir.Expression) -> ir.Expression:
        return self.smaller(self.larger(x, low), high)

    def steps(self, x: ir.Expression, first: ir.Expression, *more: ir.Expression) -> ir.Expression:
        pairs = zip(more[::2], more[1::2], strict=True)
        return reduce(lambda below, pair: self.chosen(_flag(">=", x, pair[0]), pair[1], below), pairs, first)

    def ration(self, supply: ir.Expression, demand: ir.Expression) -> ir.Expression:
        divisor = self.chosen(_flag(">", demand, constant(0)), demand, constant(1))
        share = ir.Binary("/", supply, divisor, _merged(supply, divisor))
        return self.chosen(_flag(">", demand, supply), share, constant(1))

    def extreme(self, node: ir.Reduce) -> ir.Expression:
        """The smallest or largest of several, of which those that are not cannot be."""
        beats, never = (">", -_LARGEST) if node.operator == "max" else ("<", _LARGEST)
        return replace(node, body=self.chosen(_not(_flag(beats, node, node.body)), node.body, constant(never)))


def _short(node: ir.Expression) -> bool:
    """Whether its parts may be written several times in its place: choices in choices would grow without end."""
    many = isinstance(node, ir.Apply) and node.function in ("min", "max") and len(node.arguments) > 3
    return not many and sum(1 for _ in islice(ir.walk(node), _MOST_PARTS)) < _MOST_PARTS


def _for(node: ir.Expression, condition: ir.Expression) -> ir.Expression:
    """`condition`; where it varies over more agents than `node`: whether it holds for any, which costs less."""
    others = tuple(axis for axis in condition.type.axes if axis not in node.type.axes)
    if not others:
        return condition
    axes = tuple(axis for axis in condition.type.axes if axis not in others)
    any_ = ir.Reduce("max", others, None, condition, replace(condition.type, kind=Kind.NUMBER, axes=axes))
    return _flag(">", any_, constant(0))


def _conditional(condition: ir.Expression, then: ir.Expression, otherwise: ir.Expression) -> ir.Conditional:
    return ir.Conditional(condition, then, otherwise, _merged(condition, then, otherwise))


def _flag(operator: Any, left: ir.Expression, right: ir.Expression) -> ir.Binary:
    return ir.Binary(operator, left, right, replace(_merged(left, right), kind=Kind.FLAG))


def _not(condition: ir.Expression) -> ir.Unary:
    return ir.Unary("not", condition, condition.type)


def _merged(*parts: ir.Expression) -> Type:
    return Type(axes=merge_axes(*(part.type.axes for part in parts)), time=max(part.type.time for part in parts))


# --- choices of derivatives ----------------------------------------------------------------------------------------

_LEAVES = (ir.Constant, ir.Table, ir.IndexValue)
_SELECTED = '''
@jax.custom_jvp
def {name}(x, y):
    """The {word} of two, with its own derivative and no part of the other's, not even 0 times infinity."""
    return jnp.{inline}(x, y)


@{name}.defjvp
def {name}_derivative(values, changes):
    (x, y), (dx, dy) = values, changes
    return {name}(x, y), jnp.where(x {beats} y, dx, jnp.where(y {beats} x, dy, (dx + dy) / 2))
'''


def _selected(model: ir.Model, domains: _Domains) -> ir.Model:
    """The model with choices of derivatives in what may flow into a power or a root."""
    taken = {one.name for one in model.primitives}
    larger, smaller = (_free(name, taken) for name in ("larger", "smaller"))
    flowing: set[str] = set()

    def two(function: str, one: ir.Expression, other: ir.Expression) -> ir.Expression:
        return ir.Apply(function, (one, other), _merged(one, other))

    def inside(node: ir.Expression) -> ir.Expression:
        """`node` in something that flows into a root."""
        if isinstance(node, _LEAVES):
            return node
        if isinstance(node, ir.Root):
            return outside(node)
        flowing.update(ir.references(node))
        node = ir.with_children(node, inside)
        match node:
            case ir.Apply("max" | "min" as function, arguments):
                name = larger if function == "max" else smaller
                return reduce(lambda one, other: two(name, one, other), arguments)
            case ir.Apply("clip", (x, low, high)):
                return two(smaller, two(larger, x, low), high)
        return node

    def outside(node: ir.Expression) -> ir.Expression:
        if isinstance(node, _LEAVES):
            return node
        if isinstance(node, ir.Root):
            inner = tuple(
                replace(d, expression=(inside if flows(d.symbol) else outside)(d.expression))
                for d in node.system.definitions
            )
            rest = ir.with_children(replace(node, system=replace(node.system, definitions=())), outside)
            assert isinstance(rest, ir.Root)
            return replace(rest, system=replace(rest.system, definitions=inner))
        roots = (
            set() if isinstance(node, ir.Binary) and node.operator == "/" else {id(a) for a, _ in domains.needs(node)}
        )
        return ir.with_children(node, lambda child: inside(child) if id(child) in roots else outside(child))

    def flows(symbol: str) -> bool:
        return symbol.removesuffix("'") in flowing

    equations = model.equations
    while True:
        known = len(flowing)
        found = tuple(
            replace(d, expression=(inside if flows(d.symbol) else outside)(d.expression)) for d in reversed(equations)
        )[::-1]
        if len(flowing) == known:
            break
    calls = {node.function for d in found for node in ir.walk(d.expression) if isinstance(node, ir.Apply)}
    own = (
        (larger, "larger", "maximum", ">"), (smaller, "smaller", "minimum", "<"),
    )  # fmt: skip
    sources = tuple(
        ir.PrimitiveSource(
            name, ("x", "y"), _SELECTED.format(name=name, word=word, inline=inline, beats=beats), None, False, None, ""
        )
        for name, word, inline, beats in own
        if name in calls
    )
    return replace(model, equations=found, primitives=model.primitives + sources)


def _free(name: str, taken: set[str]) -> str:
    return name if name not in taken else _free(f"{name}_", taken)

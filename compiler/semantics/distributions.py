"""What values are drawn from: three elementary distributions, and those that are functions of their draws."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

from rbcc.compiler import ir
from rbcc.compiler.ir.constants import constant
from rbcc.compiler.ir.types import Kind


class Draw(Protocol):
    """A new draw from an elementary distribution, for every value of the indices that are bound."""

    def __call__(self, distribution: str, *arguments: ir.Expression) -> ir.Expression: ...


@dataclass(frozen=True)
class Distribution:
    """A distribution as specs name it, with the names of its arguments.

    `made` builds a draw from elementary ones and the arguments; None stands for an elementary distribution, which the
    back ends draw themselves. `limits` says, where it is known, which last arguments there can be, and `allows` tests
    one. `help` goes with a call that has the wrong number of arguments.
    """

    arguments: tuple[str, ...] = ()
    made: Callable[..., ir.Expression] | None = None
    kind: Kind = Kind.NUMBER
    limits: str = ""
    allows: Callable[[Fraction], bool] = lambda last: True
    help: str | None = None


def _lognormal(draw: Draw, mu: ir.Expression, sigma: ir.Expression) -> ir.Expression:
    normal = draw("normal")
    spread = ir.Binary("*", sigma, normal, normal.type)
    return ir.Apply("exp", (ir.Binary("+", mu, spread, normal.type),), normal.type)


def _exponential(draw: Draw) -> ir.Expression:
    survival = _survival(draw)
    return ir.Unary("-", ir.Apply("log", (survival,), survival.type), survival.type)


def _pareto(draw: Draw, shape: ir.Expression) -> ir.Expression:
    survival = _survival(draw)
    power = ir.Binary("/", constant(-1), shape, replace(shape.type, kind=Kind.NUMBER))
    return ir.Binary("^", survival, power, survival.type)


def _survival(draw: Draw) -> ir.Expression:
    """1 - u for a uniform u: above 0 and at most 1. The inverse of a distribution function makes a draw of it."""
    uniform = draw("uniform")
    return ir.Binary("-", constant(1), uniform, uniform.type)


DISTRIBUTIONS = {
    "normal": Distribution(help="m + s * normal() has the mean m and the standard deviation s"),
    "uniform": Distribution(help="a + (b - a) * uniform() lies between a and b"),
    "bernoulli": Distribution(
        ("chance",),
        kind=Kind.FLAG,
        limits="from 0 to 1",
        allows=lambda chance: 0 <= chance <= 1,
        help="bernoulli(p) is true with probability p",
    ),
    "lognormal": Distribution(("mu", "sigma"), _lognormal, limits="of at least 0", allows=lambda sigma: sigma >= 0),
    "exponential": Distribution(made=_exponential, help="m * exponential() has the mean m"),
    "pareto": Distribution(("shape",), _pareto, limits="above 0", allows=lambda shape: shape > 0),
}

"""Between which bounds the values of a model can lie, by interval arithmetic."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product
from types import SimpleNamespace

from rbcc.compiler import ir
from rbcc.compiler.ir.types import Role
from rbcc.compiler.primitives import BUILTIN


@dataclass(frozen=True)
class Interval:
    """All values from `low` to `high`, which may be infinite."""

    low: float
    high: float

    @property
    def size(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    def hull(self, other: "Interval") -> "Interval":
        return Interval(min(self.low, other.low), max(self.high, other.high))


Environment = Mapping[str, Interval | None]


class Ranges:
    """The ranges of a model's symbols, over all agents; None where none is known.

    `fixed` holds parameters, of which those not in `loose` have their range exactly; `start` the states at the first
    step.
    """

    def __init__(self, model: ir.Model):
        self.model = model
        self.counts = {index: model.count(agent) for index, agent in model.indices}
        self.actions = {action.symbol: action for action in model.actions}
        self.equations = {definition.symbol: definition for definition in model.equations}
        self.fixed: dict[str, Interval | None] = {}
        for definition in model.parameters:
            self.fixed[definition.symbol] = self.of(definition.expression, self.fixed)
        self.loose: set[str] = set()
        for definition in model.parameters:
            if not self.tight(definition):
                self.loose.add(definition.symbol)
        self.start = dict(self.fixed)
        for definition in model.starts:
            self.start[definition.symbol] = self.of(definition.expression, self.start)
        self.start["time"] = Interval(0, 0)

    def choices(self, symbol: str) -> Interval | None:
        """The range of a choice from a list of numbers, or of shares."""
        action = self.actions.get(symbol)
        if action is not None and action.shares:
            return Interval(0, 1)
        if action is None or action.of is not None or action.bounds is not None:
            return None
        return Interval(action.choices[0], action.choices[-1])

    def exact(self, symbol: str) -> Interval | None:
        """The range of a symbol where it is sure that both ends are met: parameters, choices and what holds them."""
        if symbol in self.fixed:
            return None if symbol in self.loose else self.fixed[symbol]
        if symbol == "time":
            return Interval(0, self.model.horizon - 1)
        if symbol in self.actions:
            return self.choices(symbol)
        following, start = self.equations.get(f"{symbol}'"), self.start.get(symbol)
        if following is not None and isinstance(following.expression, ir.Reference) and self.model.ends_after != 1:
            held = self.choices(following.expression.symbol)
            return held.hull(start) if held and start else None
        return None

    def tight(self, parameter: ir.Definition) -> bool:
        """Whether both ends of the range of a parameter are met: no two parts of it vary, as if independently."""
        range_ = self.fixed[parameter.symbol]
        if range_ is None or range_.low == range_.high:
            return True
        varying = 0
        for node in ir.walk(parameter.expression):
            match node:
                case ir.Reduce() | ir.Conditional():
                    return False
                case ir.Reference(symbol) if symbol in self.loose:
                    return False
                case ir.Reference() | ir.Table() | ir.IndexValue():
                    inner = self.of(node, self.fixed)
                    varying += inner is None or inner.low != inner.high
        return varying <= 1

    @cached_property
    def usual(self) -> Environment:
        """With choices, what follows from them and the start, and states a step later: what is met in an episode."""
        values = dict(self.start)
        values |= {symbol: self.choices(symbol) for symbol in self.actions}
        for symbol in self.model.symbols:
            if symbol.role is Role.STATE and (held := self.exact(symbol.name)) is not None:
                values[symbol.name] = held
        values["time"] = Interval(0, self.model.horizon - 1)
        for _ in range(2):
            for definition in self.model.equations:
                values[definition.symbol] = self.of(definition.expression, values)
            for name in [name for name in values if f"{name}'" in values]:
                now, later = values[name], values[f"{name}'"]
                values[name] = now.hull(later) if now and later else None
        return values

    def of(self, node: ir.Expression, values: Environment) -> Interval | None:
        """The range of an expression, given those of the symbols in it."""
        match node:
            case ir.Constant(value):
                return Interval(float(value), float(value))
            case ir.Table(given):
                return Interval(float(min(given)), float(max(given)))
            case ir.IndexValue(index):
                return Interval(0, self.counts[index] - 1)
            case ir.Reference(symbol):
                return values.get(symbol)
            case ir.Unary("-", operand):
                inner = self.of(operand, values)
                return inner and Interval(-inner.high, -inner.low)
            case ir.Binary(operator, left, right) if operator in _ARITHMETIC:
                return _corners(_ARITHMETIC[operator], [self.of(left, values), self.of(right, values)], operator == "/")
            case ir.Unary() | ir.Binary():
                return Interval(0, 1)
            case ir.Conditional(_, then, otherwise):
                one, other = self.of(then, values), self.of(otherwise, values)
                return one.hull(other) if one and other else None
            case ir.Apply(function, arguments):
                return _applied(function, [self.of(argument, values) for argument in arguments])
            case ir.Reduce():
                return self.reduced(node, values)
            case ir.Draw("uniform" | "bernoulli"):
                return Interval(0, 1)
            case ir.Root(symbol, system=system):
                own = next(one for one in system.unknowns if one.symbol == symbol)
                low, high = self.of(own.low, values), self.of(own.high, values)
                return low.hull(high) if low and high else None
        return None

    def reduced(self, node: ir.Reduce, values: Environment) -> Interval | None:
        body, number = self.of(node.body, values), math.prod(self.counts[index] for index in node.indices)
        few = 0 if node.condition is not None else number
        match node.operator:
            case "gini":
                return Interval(0, 1 - 1 / number)
            case "top_share":  # the largest have at least what they would have if all had the same
                level = node.level and self.of(node.level, values)
                return Interval(max(level.low, 0) if level else 0, 1) if body and body.low >= 0 else Interval(-1, 1)
            case "argmax" | "argmin":
                return Interval(0, number - 1)
        if body is None or node.operator in ("mean", "min", "max", "median", "quantile"):
            return body
        if node.operator in ("sum", "count"):
            return Interval(
                min(_times(few, body.low), _times(number, body.low)),
                max(_times(few, body.high), _times(number, body.high)),
            )
        return Interval(_power(body.low, few), _power(body.high, number)) if body.low >= 1 else None


def _corners(function: Callable[..., float], parts: list[Interval | None], divides: bool = False) -> Interval | None:
    """The range of a function that rises or falls in each argument, the others fixed: its extremes lie at corners."""
    if any(part is None for part in parts):
        return None
    known = [part for part in parts if part is not None]
    if divides and known[1].low <= 0 <= known[1].high:
        return None
    try:
        found = [function(*corner) for corner in product(*((part.low, part.high) for part in known))]
    except (ValueError, ZeroDivisionError, OverflowError, TypeError):
        return None
    return None if any(math.isnan(value) for value in found) else Interval(min(found), max(found))


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _power(base: float, exponent: float) -> float:
    if base < 0:
        raise ValueError("a power of a negative number need not lie between those of the corners")
    try:
        return math.inf if base == 0 and exponent < 0 else math.pow(base, exponent)
    except OverflowError:
        return math.inf


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _log(x: float) -> float:
    return -math.inf if x == 0 else math.log(x)


_ARITHMETIC: dict[str, Callable[..., float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": _times,
    "/": lambda a, b: a / b,
    "^": _power,
}

# What the functions of the language need of `jnp`, for single numbers: their own definitions are evaluated.
_NUMBERS = SimpleNamespace(
    exp=_exp,
    expm1=lambda x: _exp(x) - 1,
    log=_log,
    sqrt=math.sqrt,
    floor=math.floor,
    sign=lambda x: (x > 0) - (x < 0),
    tanh=math.tanh,
    abs=abs,
    minimum=min,
    maximum=max,
    clip=lambda x, low, high: min(max(x, low), high),
    power=_power,
    where=lambda condition, a, b: a if condition else b,
)
_FUNCTIONS: dict[str, Callable[..., float]] = {}
_ONE_OF: dict[str, Callable[[int], range]] = {"cycle": lambda n: range(1, n), "steps": lambda n: range(1, n, 2)}


def _applied(function: str, parts: list[Interval | None]) -> Interval | None:
    """The range of a function of the language; that of others is not known."""
    if function not in BUILTIN:
        return None
    if function in _ONE_OF:  # the result is one of some arguments, of which there may be many
        choices = [parts[k] for k in _ONE_OF[function](len(parts))]
        known = [part for part in choices if part is not None]
        return Interval(min(p.low for p in known), max(p.high for p in known)) if len(known) == len(choices) else None
    if function == "abs" and parts[0] is not None and parts[0].low < 0 < parts[0].high:
        return Interval(0, parts[0].size)
    if (inline := BUILTIN[function].inline) is not None:
        return _corners(getattr(_NUMBERS, inline), parts)
    if function not in _FUNCTIONS:
        names: dict[str, Callable[..., float]] = {}
        exec(BUILTIN[function].text, {"jnp": _NUMBERS}, names)
        _FUNCTIONS[function] = names[function]
    return _corners(_FUNCTIONS[function], parts)


def as_number(node: ir.Expression) -> Fraction | None:
    """The value of a written number."""
    return node.value if isinstance(node, ir.Constant) and not isinstance(node.value, bool) else None

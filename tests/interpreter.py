"""What a model means: its IR evaluated by loops over agents, in double precision, with nothing but NumPy.

Slow and plain on purpose: no layout, no broadcasting over agents, no passes, and functions written again by hand. An
index stands for one agent at a time; what is computed is one number per transition, many transitions at once.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from rbcc.compiler import ir
from rbcc.compiler.ir.types import Kind, Role


Array = np.ndarray[Any, Any]
Draws = Mapping[int, Array]
"""The numbers of each draw, (transitions, members of each of its axes in turn)."""


def _crra(c: Array, eta: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(eta == 1, np.log(c), np.expm1((1 - eta) * np.log(c)) / (1 - eta))


def _ration(supply: Array, demand: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(demand > supply, np.where(demand > 0, supply / demand, supply), 1.0)


def _cycle(index: Array, *values: Array) -> Array:
    return np.choose(np.asarray(index, int) % len(values), np.broadcast_arrays(index, *values)[1:])


def _steps(x: Array, *parts: Array) -> Array:
    values, starts = parts[::2], parts[1::2]
    return np.choose(sum(np.asarray(x >= start, int) for start in starts), np.broadcast_arrays(x, *values)[1:])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs, "floor": np.floor, "sign": np.sign, "tanh": np.tanh,
    "min": lambda *x: reduce(np.minimum, x), "max": lambda *x: reduce(np.maximum, x),
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "crra": _crra, "cara": lambda c, a: -np.exp(-a * c), "ration": _ration, "cycle": _cycle, "steps": _steps,
    "cobb_douglas": lambda capital, labour, share: capital ** (1 - share) * labour**share,
}  # fmt: skip

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power, "and": np.logical_and,
    "or": np.logical_or, "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater,
    ">=": np.greater_equal,
}  # fmt: skip

REDUCTIONS: dict[str, tuple[Callable[[Any, Any], Any], float]] = {
    "sum": (np.add, 0.0), "count": (np.add, 0.0), "mean": (np.add, 0.0), "product": (np.multiply, 1.0),
    "min": (np.minimum, math.inf), "max": (np.maximum, -math.inf),
}  # fmt: skip


def _gini(values: Array, level: Any) -> Array:
    """By all pairs of agents, the first axis."""
    pairs = np.abs(values[:, None] - values[None, :]).sum((0, 1))
    return np.divide(pairs, 2 * len(values) * np.abs(values).sum(0), out=np.zeros_like(pairs), where=pairs > 0)


def _quantile(values: Array, level: Array) -> Array:
    """Of each transition, the second axis, by itself: it may have a level of its own."""
    levels = np.broadcast_to(level, values.shape[1])
    return np.array([np.quantile(one, level) for one, level in zip(values.T, levels, strict=True)])


def _top_share(values: Array, level: Array) -> Array:
    """The largest agents one after another, until their number is reached."""
    left, found, total = np.broadcast_to(len(values) * level, values.shape[1]), 0.0, np.abs(values).sum(0)
    for value in np.sort(values, axis=0)[::-1]:
        found, left = found + np.clip(left, 0, 1) * value, left - np.clip(left, 0, 1)
    return np.where(total == 0, level, found / np.where(total == 0, 1, total))


STATISTICS: dict[str, Callable[[Array, Any], Any]] = {
    "gini": _gini, "quantile": _quantile, "median": lambda values, _: np.median(values, axis=0), "top_share": _top_share,
    "argmax": lambda values, _: values.argmax(0), "argmin": lambda values, _: values.argmin(0),
}  # fmt: skip


@dataclass
class Interpreter:
    """Evaluates expressions of `model`; `known` holds the arrays of symbols, (transitions, members of each set)."""

    model: ir.Model
    transitions: int
    draws: Draws = field(default_factory=dict)
    known: dict[str, Array] = field(default_factory=dict)

    # --- expressions -------------------------------------------------------------------------------------------

    def value(self, node: ir.Expression, at: Mapping[str, int]) -> Any:
        """The value of `node` for the agents that the indices in `at` stand for, (transitions,) or a single one."""
        match node:
            case ir.Constant(value):
                return value if isinstance(value, bool) else np.float64(value)
            case ir.IndexValue(index):
                return at[index]
            case ir.Table(values, indices):
                sizes = [self.model.count(self.model.set_of(index)) for index in indices]
                place = 0
                for index, size in zip(indices, sizes, strict=True):
                    place = place * size + at[index]
                return values[place]
            case ir.Reference(symbol, indices):
                place = tuple(at[index] if isinstance(index, str) else self.value(index, at) for index in indices)
                return self.known[symbol][(np.arange(self.transitions), *place)]
            case ir.Unary("not", operand):
                return np.logical_not(self.value(operand, at))
            case ir.Unary(_, operand):
                return -self.number(operand, at)
            case ir.Binary(operator, left, right):
                whole = left.type.kind is Kind.CHOICE or operator in ("and", "or")
                side = self.value if whole else self.number
                return OPERATORS[operator](side(left, at), side(right, at))
            case ir.Conditional(condition, then, otherwise):
                return np.where(self.value(condition, at), self.value(then, at), self.value(otherwise, at))
            case ir.Apply(function, arguments):
                return FUNCTIONS[function](*(self.number(argument, at) for argument in arguments))
            case ir.Reduce():
                return self.reduced(node, at)
            case ir.Draw(distribution, arguments, number):
                drawn = self.draws[number][(slice(None), *(at[axis] for axis in node.type.axes))]
                return drawn < self.number(arguments[0], at) if distribution == "bernoulli" else drawn
        raise TypeError(node)

    def number(self, node: ir.Expression, at: Mapping[str, int]) -> Any:
        """The same as a number, in which true counts as 1."""
        return np.asarray(self.value(node, at), np.float64)

    def reduced(self, node: ir.Reduce, at: Mapping[str, int]) -> Any:
        places = list(self.places(node.indices))
        if node.operator in STATISTICS:
            values = [np.broadcast_to(self.number(node.body, {**at, **place}), self.transitions) for place in places]
            level = self.number(node.level, at) if node.level is not None else None
            return STATISTICS[node.operator](np.stack(values), level)
        join, result = REDUCTIONS[node.operator]
        for place in places:
            here = {**at, **place}
            term = self.number(node.body, here)
            if node.condition is not None:
                neutral = 1.0 if node.operator == "product" else 0.0
                term = np.where(self.value(node.condition, here), term, neutral)
            result = join(result, term)
        return result / len(places) if node.operator == "mean" else result

    def places(self, indices: tuple[str, ...]) -> Iterator[dict[str, int]]:
        """All agents that `indices` can stand for."""
        for place in itertools.product(*(range(self.model.count(self.model.set_of(index))) for index in indices)):
            yield dict(zip(indices, place, strict=True))

    def array(self, node: ir.Expression, indices: tuple[str, ...]) -> Array:
        """The value of `node` for all that `indices` can stand for, (transitions, members of each)."""
        shape = [self.model.count(self.model.set_of(index)) for index in indices]
        parts = [np.broadcast_to(self.value(node, at), (self.transitions,)) for at in self.places(indices)]
        return np.stack(parts, axis=-1).reshape(self.transitions, *shape)

    def define(self, definition: ir.Definition) -> None:
        if isinstance(definition.expression, ir.Root):
            self.solve(definition.expression.system)
            return
        self.known[definition.symbol] = self.converted(
            definition.symbol, self.array(definition.expression, definition.indices)
        )

    def converted(self, symbol: str, array: Array) -> Array:
        kinds = {Kind.FLAG: np.bool_, Kind.CHOICE: np.int64}
        return np.asarray(array, kinds.get(self.model.symbol(symbol).type.kind, np.float64))

    # --- equations that are solved ----------------------------------------------------------------------------------

    def solve(self, system: ir.System) -> None:
        """Finds the unknowns of a system; NaN where there is no solution."""
        ends = [(self.array(one.low, one.indices), self.array(one.high, one.indices)) for one in system.unknowns]
        low, high = (self.joined(side) for side in zip(*ends, strict=True))
        found = self.bisected(system, low, high) if system.separate else self.newton(system, low, high)
        self.gaps(system, found)  # which leaves the unknowns where they are found

    def joined(self, arrays: Sequence[Array]) -> Array:
        return np.concatenate([array.reshape(self.transitions, -1) for array in arrays], axis=1)

    def gaps(self, system: ir.System, x: Array) -> Array:
        """Left less right side of all equations, (transitions, equations), for given unknowns."""
        for one in system.unknowns:
            shape = [self.model.count(self.model.set_of(index)) for index in one.indices]
            size = math.prod(shape)
            self.known[one.symbol], x = x[:, :size].reshape(self.transitions, *shape), x[:, size:]
        for definition in system.definitions:
            self.define(definition)
        sides = [(self.array(e.left, e.indices), self.array(e.right, e.indices)) for e in system.equations]
        return self.joined([left - right for left, right in sides])

    def bisected(self, system: ir.System, low: Array, high: Array) -> Array:
        first, last = self.gaps(system, low), self.gaps(system, high)
        none = (first < 0) == (last < 0)
        for _ in range(200):
            middle = low + (high - low) / 2
            below = (self.gaps(system, middle) < 0) == (first < 0)
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.where(none, np.nan, low)

    def newton(self, system: ir.System, low: Array, high: Array) -> Array:
        x = np.where(low > 0, np.sqrt(np.abs(low * high)), (low + high) / 2)
        change = np.full_like(x, np.inf)
        for _ in range(100):
            now, columns = self.gaps(system, x), []
            for k in range(x.shape[1]):
                step = np.zeros_like(x)
                step[:, k] = 1e-6 * np.maximum(np.abs(x[:, k]), 1e-3)
                difference = self.gaps(system, x + step) - self.gaps(system, x - step)
                columns.append(difference / (2 * step[:, k : k + 1]))
            change = np.linalg.solve(np.stack(columns, axis=-1), now[..., None])[..., 0]
            share = np.ones((self.transitions, 1))
            for _ in range(30):
                further = self.gaps(system, np.clip(x - share * change, low, high))
                worse = ~(np.linalg.norm(further, axis=1) <= np.linalg.norm(now, axis=1))
                share = np.where(worse[:, None], share / 2, share)
            x = np.clip(x - share * change, low, high)
        return np.where(np.abs(change) <= 1e-8 * np.maximum(np.abs(x), 1e-3), x, np.nan)

    # --- observations ------------------------------------------------------------------------------------------

    def feature(self, feature: ir.Feature, at: Mapping[str, int]) -> list[Array]:
        """The numbers of one feature, one after another, as the agent in `at` sees it."""
        values = [self.value(feature.expression, {**at, **place}) for place in self.places(feature.axes)]
        if feature.encoding == "one_hot":
            members = self.model.count(feature.expression.type.of or "")
            return [np.asarray(value == member, np.float64) for member in range(members) for value in values]
        numbers = [np.asarray(value, np.float64) for value in values]
        if feature.encoding == "digits":
            return [np.mod(x, 10.0**k) / 10.0**k for k in range(1, 11) for x in numbers]
        scale = self.number(feature.scale, {}) if feature.scale is not None else 1.0
        if feature.encoding == "log":
            return [np.sign(x) * np.log1p(np.abs(x) / scale) for x in numbers]
        return [x / scale for x in numbers]

    def observed(self, observation: ir.Observation) -> Array:
        """What all agents of a type see, (transitions, agents, numbers), or without the second for a single agent."""
        index = (observation.index,) if observation.index else ()
        rows = []
        for at in self.places(index):
            numbers = [x for feature in observation.features for x in self.feature(feature, at)]
            rows.append(np.stack([np.broadcast_to(x, (self.transitions,)) for x in numbers] or [self.nothing], axis=-1))
        seen = np.stack(rows, axis=1) if index else rows[0]
        return seen if observation.features else seen[..., :0]

    @property
    def nothing(self) -> Array:
        return np.zeros(self.transitions)


@dataclass(frozen=True)
class Transition:
    """Everything that `Model.step` and `Model.observe` give, for many transitions."""

    following: dict[str, Array]
    rewards: dict[str, Array]
    values: dict[str, Array]
    indicators: dict[str, Array]
    violations: dict[str, Array]
    identities: dict[str, tuple[Array, Array]]
    invariants: dict[str, Array]
    done: Array
    seen: dict[str, Array]


def begin(model: ir.Model, transitions: int, draws: Draws) -> dict[str, Array]:
    """The states at the start of episodes."""
    found = _with_parameters(model, transitions, draws)
    starts = {d.symbol: found.converted(d.symbol, found.array(d.expression, d.indices)) for d in model.starts}
    return {"time": np.zeros(transitions), **starts}


def advance(model: ir.Model, state: Mapping[str, Array], actions: Mapping[str, Array], draws: Draws) -> Transition:
    """One step from each of many states."""
    transitions = len(state["time"])
    found = _with_parameters(model, transitions, draws)
    inputs = {**state, **actions}
    found.known |= {name: found.converted(name, array) for name, array in inputs.items()}
    with np.errstate(all="ignore"):
        for definition in model.equations:
            found.define(definition)
        done = state["time"] + 1 >= model.horizon
        solved = np.ones(transitions, bool)
        for definition in model.equations:
            if isinstance(definition.expression, ir.Root):
                solved &= np.isfinite(found.known[definition.symbol].reshape(transitions, -1)).all(axis=1)
        symbols = [s for s in model.symbols if s.name in found.known]
        states = {s.name[:-1]: found.known[s.name] for s in symbols if s.role is Role.STATE and s.name.endswith("'")}
        violations = {}
        for one in model.constraints:
            size = found.array(one.violation, (one.index,) if one.index else ())
            ended = done.reshape(-1, *[1] * (size.ndim - 1))
            violations[f"{one.agent}.{one.name}"] = np.where(ended, size, 0) if one.at_end else size
        return Transition(
            {"time": state["time"] + 1, **states},
            {str(s.owner): _where(solved, found.known[s.name]) for s in symbols if s.role is Role.REWARD},
            {s.name: found.known[s.name] for s in symbols if s.role is Role.VALUE},
            {s.name: found.array(s.expression, ()) for s in model.indicators},
            violations,
            {i.name: (found.array(i.left, i.indices), found.array(i.right, i.indices)) for i in model.balances},
            {s.name: found.array(s.expression, s.indices) for s in model.invariants},
            done,
            {o.agent: found.observed(o) for o in model.observations},
        )


def _where(solved: Array, reward: Array) -> Array:
    """A reward, NaN in a step that could not be solved."""
    return np.where(solved.reshape(-1, *[1] * (reward.ndim - 1)), reward, np.nan)


def ends(
    model: ir.Model, state: Mapping[str, Array], actions: Mapping[str, Array], draws: Draws, action: ir.Action
) -> tuple[Array, Array]:
    """The ends of the interval of an action; of `actions` only those that come before it matter."""
    found = _with_parameters(model, len(state["time"]), draws)
    found.known |= {name: found.converted(name, array) for name, array in {**state, **actions}.items()}
    assert action.bounds is not None
    axes = model.symbol(action.symbol).type.axes
    with np.errstate(all="ignore"):
        for definition in model.equations:
            found.define(definition)
        low, high = (np.asarray(found.array(end, axes), float) for end in action.bounds)
    return low, high


def _with_parameters(model: ir.Model, transitions: int, draws: Draws) -> Interpreter:
    found = Interpreter(model, transitions, draws)
    for definition in model.parameters:
        found.define(definition)
    return found

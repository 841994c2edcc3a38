"""The intermediate representation: the only thing that passes between the stages of the compiler.

A checked model: every name is resolved to a symbol, every expression carries its type, equations stand in an order
in which they can be evaluated. All records are frozen; `Model.text()` prints them for people, `to_json` and
`from_json` are inverse to each other.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from fractions import Fraction
from functools import cache, cached_property
from typing import Any, Literal, TypeVar, get_args

from rbcc.compiler.ir.precedence import ATOM, CONDITIONAL, NOT, OF_OPERATOR, OR, POWER, PRODUCT, UNARY
from rbcc.compiler.ir.types import Kind, NetworkPrecision, Precision, Role, Time, Type
from rbcc.compiler.ir.units import Unit
from rbcc.compiler.util.text import counted


@dataclass(frozen=True)
class Place:
    """Where in a spec something was written."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


_T = TypeVar("_T")


def remembered(function: Callable[[Any], _T]) -> Callable[[Any], _T]:
    """`function` of an expression, computed once: what is asked of a node is asked by every node above it again."""
    key = f"remembered {function.__qualname__}"

    def found(node: Any) -> _T:
        known = vars(node)
        if key not in known:
            known[key] = function(node)
        return known[key]

    return found


# --- expressions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Constant:
    """A number or a flag; `name` says of what it is the number: an agent type (its count), or the horizon."""

    value: Fraction | bool
    type: Type
    name: str | None = None


@dataclass(frozen=True)
class IndexValue:
    """An index variable used as a number: 0, 1, 2, ..."""

    index: str
    type: Type


@dataclass(frozen=True)
class Reference:
    """A symbol at given indices; an index is a variable or an expression that chooses a member (a lookup)."""

    symbol: str
    indices: "tuple[str | Expression, ...]"
    type: Type


@dataclass(frozen=True)
class Unary:
    operator: Literal["-", "not"]
    operand: "Expression"
    type: Type


@dataclass(frozen=True)
class Binary:
    operator: Literal["+", "-", "*", "/", "^", "and", "or", "==", "!=", "<", "<=", ">", ">="]
    left: "Expression"
    right: "Expression"
    type: Type


@dataclass(frozen=True)
class Conditional:
    condition: "Expression"
    then: "Expression"
    otherwise: "Expression"
    type: Type


@dataclass(frozen=True)
class Apply:
    """A primitive applied to its arguments, element by element."""

    function: str
    arguments: "tuple[Expression, ...]"
    type: Type


_Reduction = Literal[
    "sum", "product", "mean", "min", "max", "count", "gini", "median", "quantile", "top_share", "argmax", "argmin"
]
REDUCTIONS: dict[str, int] = dict.fromkeys(get_args(_Reduction), 1) | {"count": 0, "quantile": 2, "top_share": 2}
"""The functions that run over agents: how many arguments each has behind its indices."""


@dataclass(frozen=True)
class Reduce:
    """A function of `body` for all that `indices` can stand for, or where `condition` holds.

    `level` is the last argument of a quantile or of a top share, from 0 to 1. argmax and argmin choose a member.
    """

    operator: _Reduction
    indices: tuple[str, ...]
    condition: "Expression | None"
    body: "Expression"
    type: Type
    level: "Expression | None" = None


@dataclass(frozen=True)
class SegmentSum:
    """The sum of `body` over index `index`, put into the member of `of` that `choice` names, at index `segment`.

    Equal to the sum of `body` over `index` where `choice == segment`, with work in proportion to the agents that
    choose rather than to all pairs.
    """

    index: str
    segment: str
    choice: "Expression"
    body: "Expression"
    type: Type


@dataclass(frozen=True)
class Draw:
    """A random draw, independent for every value of the indices in `type.axes`; `number` tells the draws apart."""

    distribution: Literal["normal", "uniform", "bernoulli"]
    arguments: "tuple[Expression, ...]"
    number: int
    type: Type


@dataclass(frozen=True)
class Table:
    """Given numbers or flags, one for all that `indices` can stand for together, the last index changing fastest."""

    values: tuple[float | bool, ...]
    indices: tuple[str, ...]
    type: Type


@dataclass(frozen=True)
class Root:
    """What the unknown `symbol`, at `indices`, is where all equations of `system` hold."""

    symbol: str
    indices: tuple[str, ...]
    system: "System"
    type: Type

    @property
    def itself(self) -> Reference:
        """The unknown by its name: what this is, wherever the system was solved already."""
        return Reference(self.symbol, self.indices, self.type)


Expression = (
    Constant | Table | IndexValue | Reference | Unary | Binary | Conditional | Apply | Reduce | SegmentSum | Draw | Root
)
_EXPRESSIONS = get_args(Expression)

for _record in _EXPRESSIONS:
    _record.__hash__ = remembered(_record.__hash__)


# --- declarations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Symbol:
    """A named array of the model.

    `name` is `type.name` for what belongs to an agent type and `name` otherwise; next values of states have a symbol
    of their own, with a prime. `sets` are the agent types it is indexed by, `type.axes` the same as index names.
    """

    name: str
    role: Role
    owner: str | None
    sets: tuple[str, ...]
    type: Type
    doc: str | None
    place: Place


@dataclass(frozen=True)
class Agent:
    """A type of agents; those of stage 0 choose first in a step, of stage 1 after they have seen these choices, ...

    `given` are values that an agent takes to be the same whatever it does alone: its payoff is counted as if they were.
    """

    name: str
    indices: tuple[str, ...]
    count: int
    discount: Expression | None
    doc: str | None
    stage: int
    given: tuple[str, ...]


@dataclass(frozen=True)
class Definition:
    """`symbol[indices] = expression`; `text` is the line of the spec, `group` the group of equations it stands in."""

    symbol: str
    indices: tuple[str, ...]
    expression: Expression
    text: str
    group: str | None
    doc: str | None
    place: Place


@dataclass(frozen=True)
class Unknown:
    """What a system is solved for: a value between `low` and `high`, which vary over `indices` at most."""

    symbol: str
    indices: tuple[str, ...]
    low: Expression
    high: Expression


@dataclass(frozen=True)
class Equality:
    """One equation of a system: both sides are numbers, for all that `indices` can stand for; `text` is as written."""

    indices: tuple[str, ...]
    left: Expression
    right: Expression
    text: str
    doc: str | None
    place: Place


@dataclass(frozen=True)
class System:
    """Equations that hold together, and the unknowns for which they do; `name` is its key in the spec.

    `definitions` are the equations of the model by which the sides follow from the unknowns, in order of evaluation.
    `separate`: there is one unknown and one equation, and each entry of the one depends on the same entry of the other
    only, so that each can be found by itself.
    """

    name: str
    unknowns: tuple[Unknown, ...]
    definitions: tuple[Definition, ...]
    equations: tuple[Equality, ...]
    separate: bool

    @property
    def own(self) -> frozenset[str]:
        """The symbols that are computed while it is solved: unknowns, and what follows from them."""
        return frozenset(one.symbol for one in (*self.unknowns, *self.definitions))


@dataclass(frozen=True)
class Action:
    """The choices of one action: numbers, members of the agent type `of`, or all numbers between two `bounds`.

    Bounds vary over the axes of the action's symbol, and are known when it is chosen. So does `where`, the condition of
    the choices that are allowed; the action's symbol without indices stands there for each choice in turn, along the
    axis `candidates`. `always` is a choice that is surely allowed, whatever happens, None if none is known. Of `shares`
    there is one for each member of the last of the symbol's sets; they are not negative, and sum to 1.
    """

    symbol: str
    choices: tuple[float, ...]
    of: str | None
    bounds: "tuple[Expression, Expression] | None"
    where: "Expression | None"
    always: float | None
    shares: bool
    place: Place

    @property
    def size(self) -> int:
        return len(self.choices)

    @property
    def candidates(self) -> str:
        """The axis along which `where` varies with the choice: a name that no index has."""
        return f"@{self.symbol}"

    @property
    def reads(self) -> set[str]:
        """The symbols that decide what there is to choose from."""
        limits = self.bounds or (() if self.where is None else (self.where,))
        return set().union(*map(references, limits)) - {self.symbol}

    @property
    def remains(self) -> str:
        """The name of the check that a choice is allowed."""
        return f"{self.symbol} has a choice left"

    @property
    def words(self) -> str:
        """The choices for people, with their condition: all of a few, the ends and the step of many equally spaced."""
        if self.where is None:
            return self.listed
        return f"{self.listed}{',' if self.of is None else ''} where {show(self.where)}"

    @property
    def listed(self) -> str:
        """The same, whatever condition there is."""
        if self.of is not None:
            return f"one {self.of}"
        if self.bounds is not None:
            return f"from {show(self.bounds[0])} to {show(self.bounds[1])}"
        if self.shares:
            return "a share of the whole"
        if self.size > 5:
            first, last = self.choices[0], self.choices[-1]
            step = (last - first) / (self.size - 1)
            if all(math.isclose(c, first + k * step, rel_tol=1e-9) for k, c in enumerate(self.choices)):
                return f"{first:g} to {last:g} by {step:g}"
        return ", ".join(f"{choice:g}" for choice in self.choices)


@dataclass(frozen=True)
class Feature:
    """One block of an observation: `expression` laid out over `axes`, encoded into `size` numbers."""

    name: str
    expression: Expression
    encoding: Literal["linear", "log", "digits", "one_hot"]
    scale: Expression | None
    axes: tuple[str, ...]
    size: int
    place: Place


@dataclass(frozen=True)
class Observation:
    """What one agent of a type sees.

    `shared` is the same for all of them, `own` and `fixed` vary over `index`; `fixed` never changes.
    """

    agent: str
    index: str | None
    shared: tuple[Feature, ...]
    own: tuple[Feature, ...]
    fixed: tuple[Feature, ...]

    @property
    def features(self) -> tuple[Feature, ...]:
        return self.shared + self.own + self.fixed


@dataclass(frozen=True)
class Constraint:
    name: str
    agent: str
    index: str | None
    violation: Expression
    at_end: bool
    place: Place


@dataclass(frozen=True)
class Statement:
    """A named expression outside the equations: an indicator, an invariant, a condition."""

    name: str
    indices: tuple[str, ...]
    expression: Expression
    place: Place


@dataclass(frozen=True)
class Identity:
    """An equality that must hold in every step, up to rounding."""

    name: str
    indices: tuple[str, ...]
    left: Expression
    right: Expression
    place: Place


@dataclass(frozen=True)
class Flow:
    """What an account gains (`source`) or loses in a step, as the spec declares it in the words of `text`."""

    name: str
    source: bool
    expression: Expression
    text: str
    place: Place


@dataclass(frozen=True)
class Account:
    """Stocks of one thing, and how it comes into them and leaves them: their change is all sources less all sinks.

    Each of `stocks` is a state, or the sum of one over all its agents, or minus such; each of `through` a value that
    arrives and leaves within the step, or such a sum, with the name of who passes it on.
    """

    name: str
    indices: tuple[str, ...]
    stocks: tuple[Expression, ...]
    through: tuple[tuple[str, Expression], ...]
    flows: tuple[Flow, ...]
    place: Place

    @property
    def symbols(self) -> tuple[str, ...]:
        """The states that the stocks are, in their order."""
        return tuple(symbol for stock in self.stocks for symbol in references(stock))

    def identity(self) -> Identity:
        """What the account says, as an equality."""
        changes = [change(stock) for stock in self.stocks]
        nothing = Constant(Fraction(0), changes[0].type)
        right: Expression = nothing
        for flow in self.flows:
            if flow.source and right is nothing:
                right = flow.expression
            else:
                right = Binary("+" if flow.source else "-", right, flow.expression, joined(right, flow.expression))
        left = changes[0]
        for other in changes[1:]:
            left = Binary("+", left, other, joined(left, other))
        return Identity(self.name, self.indices, left, right, self.place)


def change(stock: Expression) -> Expression:
    """What is added to a stock of an account in a step."""
    if isinstance(stock, Reference):
        kind = replace(stock.type, time=Time.NEXT)
        return Binary("-", replace(stock, symbol=stock.symbol + "'", type=kind), stock, kind)
    changed = with_children(stock, change)
    return replace(changed, type=replace(stock.type, time=Time.NEXT))


def joined(left: Expression, right: Expression) -> Type:
    """The type of a number made from two others; its unit is not told."""
    axes = tuple(dict.fromkeys((*left.type.axes, *right.type.axes)))
    return replace(left.type, kind=Kind.NUMBER, axes=axes, time=max(left.type.time, right.type.time))


# --- training and verification -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """The choices of `action` open from `value` to all of them while progress goes from `begin` to `end`."""

    action: str
    value: float
    begin: float
    end: float


# The settings of a learner that are expressions; of these, `value_clip` may be absent.
SCHEDULED = (
    "learning_rate", "clip", "value_clip", "value_weight", "gae", "entropy", "sharpness", "gradient_clip", "reward_scale",
)  # fmt: skip


@dataclass(frozen=True)
class Learner:
    """All settings with which one type learns in one phase."""

    agent: str
    algorithm: Literal["ppo", "policy_gradient", "pathwise"]
    network: tuple[int, ...]
    epochs: int
    period: int
    explorers: float
    starts: float
    joint: tuple[str, ...]
    learning_rate: Expression
    clip: Expression
    value_clip: Expression | None
    value_weight: Expression
    gae: Expression
    entropy: Expression
    sharpness: Expression
    gradient_clip: Expression
    reward_scale: Expression
    lagrangian: tuple[tuple[str, Expression], ...]

    @property
    def scheduled(self) -> dict[str, Expression]:
        """The settings that follow a schedule, with the step of each multiplier as `lagrangian.CONSTRAINT`."""
        found = {key: getattr(self, key) for key in SCHEDULED}
        found |= {f"lagrangian.{name}": step for name, step in self.lagrangian}
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Target:
    """The largest acceptable gain of an agent type: a share of what gains are compared with, or, with a `unit`, an
    amount of its payoff in that unit."""

    value: float
    unit: str | None = None

    def limit(self, scale: float) -> float:
        """The target in units of the payoff, where gains are compared with `scale`."""
        return self.value if self.unit is not None else self.value * abs(scale)

    def __str__(self) -> str:
        return f"{100 * self.value:.6g}%" if self.unit is None else f"{self.value:.6g} {self.unit}"


@dataclass(frozen=True)
class Phase:
    """A stretch of training; it ends after `iterations`, or before if no measured gain is above its type's in `until`,
    unless that is empty."""

    name: str
    iterations: int
    economies: int
    until: tuple[tuple[str, Target], ...]
    fresh_optimizer: bool
    schedules: tuple[Statement, ...]
    anneal: tuple[Statement, ...]
    windows: tuple[Window, ...]
    learners: tuple[Learner, ...]


@dataclass(frozen=True)
class Verification:
    """How a result is judged; `targets` by agent type."""

    alive: tuple[Statement, ...]
    targets: tuple[tuple[str, Target], ...]
    shutdown: tuple[tuple[str, float], ...]
    economies: int
    iterations: int
    episodes: int
    learning_rate: float
    epochs: int
    clip: float

    def target(self, agent: str) -> Target:
        """The largest acceptable gain of a type."""
        return dict(self.targets)[agent]


@dataclass(frozen=True)
class PrimitiveSource:
    """A primitive in use: a function of `jnp` (`inline`), or Python text that needs `jax` and `jnp` only.

    `latex` is a template with the arguments in braces; the last one of a variadic primitive stands for all further.
    `domains` are open intervals, one for each of the first arguments, in which the result and its derivatives are
    finite; None stands for an end that they lack.
    """

    name: str
    arguments: tuple[str, ...]
    text: str
    inline: str | None
    variadic: bool
    latex: str | None
    doc: str
    domains: tuple[tuple[float | None, float | None], ...] = ()


# --- the model -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A model; `logs` are the indicators that are above 0, so that their cycles and responses are in percent."""

    name: str
    title: str | None
    reference: str | None
    doc: str | None
    digest: str
    files: tuple[str, ...]
    horizon: int
    continuing: bool
    agents: tuple[Agent, ...]
    indices: tuple[tuple[str, str], ...]
    symbols: tuple[Symbol, ...]
    parameters: tuple[Definition, ...]
    starts: tuple[Definition, ...]
    actions: tuple[Action, ...]
    equations: tuple[Definition, ...]
    observations: tuple[Observation, ...]
    constraints: tuple[Constraint, ...]
    identities: tuple[Identity, ...]
    accounts: tuple[Account, ...]
    invariants: tuple[Statement, ...]
    indicators: tuple[Statement, ...]
    logs: tuple[str, ...]
    phases: tuple[Phase, ...]
    precision: Precision
    network_precision: NetworkPrecision
    verification: Verification
    primitives: tuple[PrimitiveSource, ...]

    @cached_property
    def _named(self) -> tuple[dict[str, Agent], dict[str, Symbol], dict[str, Action], dict[str, str]]:
        agents, symbols = ({item.name: item for item in items} for items in (self.agents, self.symbols))
        return agents, symbols, {action.symbol: action for action in self.actions}, dict(self.indices)  # type: ignore[return-value]

    def count(self, agent: str) -> int:
        return self.agent(agent).count

    def agent(self, name: str) -> Agent:
        return self._named[0][name]

    def symbol(self, name: str) -> Symbol:
        return self._named[1][name]

    def action(self, name: str) -> Action:
        return self._named[2][name]

    @property
    def ends_after(self) -> int | None:
        """After how many steps the economy ends; None if it goes on, and the horizon only cuts it into episodes."""
        return None if self.continuing else self.horizon

    @property
    def length(self) -> str:
        """How many steps an episode has and whether that is all, in words."""
        return counted(self.horizon, "step") + (", after which the economy goes on" if self.continuing else "")

    @property
    def balances(self) -> tuple[Identity, ...]:
        """All equalities that must hold in every step: identities, and what accounts say."""
        return (*self.identities, *(account.identity() for account in self.accounts))

    @property
    def uncertain(self) -> tuple[Action, ...]:
        """The actions of which nothing proves that a choice is always allowed: it has to be tested."""
        return tuple(action for action in self.actions if action.where is not None and action.always is None)

    @property
    def stages(self) -> int:
        """How many times in a step agents choose, each knowing the choices before."""
        return 1 + max(agent.stage for agent in self.agents)

    @property
    def held(self) -> tuple[str, ...]:
        """The values that agents of some type take as given."""
        return tuple(dict.fromkeys(name for agent in self.agents for name in agent.given))

    def stage_of(self, action: str) -> int:
        return self.agent(action.partition(".")[0]).stage

    def set_of(self, index: str) -> str:
        return self._named[3][index]

    def text(self) -> str:
        """The model as people read it, one declaration a line."""
        return "\n".join(_model_lines(self)) + "\n"


# --- traversal -----------------------------------------------------------------------------------------------------


@cache
def _fields(record: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(record))


def children(node: Expression) -> Iterator[Expression]:
    """The expressions directly inside `node`."""
    if isinstance(node, Table):  # may be long
        return
    if isinstance(node, Root):
        yield from _inside(node.system)
        return
    for name in _fields(type(node)):
        value = getattr(node, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, _EXPRESSIONS):
                yield item


def _inside(system: System) -> Iterator[Expression]:
    """The expressions of a system, those of nested ones as they stand."""
    for unknown in system.unknowns:
        yield from (unknown.low, unknown.high)
    yield from (definition.expression for definition in system.definitions)
    for equation in system.equations:
        yield from (equation.left, equation.right)


def walk(node: Expression) -> Iterator[Expression]:
    """`node` and every expression inside it, each before what it contains."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        stack += reversed(list(children(node)))


def expressions(record: Any) -> Iterator[Expression]:
    """Every expression in a record of this module, such as a model, or in a tuple of them."""
    pending = [record]
    while pending:
        record = pending.pop()
        if isinstance(record, tuple):
            pending += record
        elif is_dataclass(record) and not isinstance(record, (Type, Unit, Place)):
            if isinstance(record, _EXPRESSIONS):
                yield record  # type: ignore[misc]
            pending += [getattr(record, name) for name in _fields(type(record))]


def references(node: Expression) -> set[str]:
    """The names of all symbols that `node` reads; a system reads what is not its own."""
    found, stack = set(), [node]
    while stack:
        node = stack.pop()
        if isinstance(node, Root):
            inside = set().union(*map(references, _inside(node.system)))
            found |= inside - node.system.own
            continue
        if isinstance(node, Reference):
            found.add(node.symbol)
        stack += children(node)
    return found


def systems(model: "Model") -> tuple[System, ...]:
    """The systems that a step solves, in order, but for those that are solved within another."""
    return tuple(dict.fromkeys(d.expression.system for d in model.equations if isinstance(d.expression, Root)))


def with_children(node: Expression, change: Callable[[Expression], Expression]) -> Expression:
    """`node` with `change` applied to the expressions directly inside it."""

    def changed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(changed, value))
        if isinstance(value, (System, Unknown, Equality, Definition)):
            return replace(value, **{name: changed(getattr(value, name)) for name in _fields(type(value))})
        return change(value) if isinstance(value, Expression) else value

    return replace(node, **{name: changed(getattr(node, name)) for name in _fields(type(node))})


@cache
def _has_expressions(record: type) -> bool:
    return is_dataclass(record) and record not in (Type, Unit, Place)


def rebuild(node: Any, change: Any) -> Any:
    """`node` with `change` applied to every expression in it, innermost first.

    `node` may be any record of this module, or a tuple of them.
    """
    if isinstance(node, tuple):
        items = tuple(rebuild(item, change) for item in node)
        return items if any(new is not old for new, old in zip(items, node, strict=True)) else node
    if isinstance(node, Table):
        return change(node)
    if not _has_expressions(type(node)):
        return node
    values = {name: rebuild(getattr(node, name), change) for name in _fields(type(node))}
    fresh = replace(node, **values) if any(values[k] is not getattr(node, k) for k in values) else node  # type: ignore[type-var]
    return change(fresh) if isinstance(fresh, Expression) else fresh


# --- printing ------------------------------------------------------------------------------------------------------


def show(node: Expression, outer: int = CONDITIONAL) -> str:
    """An expression in the language of specs, in brackets if it binds less tightly than `outer`."""
    text, precedence = _show(node)
    return f"({text})" if precedence < outer else text


def _show(node: Expression) -> tuple[str, int]:
    match node:
        case Constant(bool() as value):
            return str(value).lower(), ATOM
        case Constant(name=str() as name):
            return "horizon" if name == "horizon" else f"count({name})", ATOM
        case Constant(Fraction() as value):
            return _number(value), ATOM if value.denominator == 1 and value >= 0 else PRODUCT
        case Table(values, indices):
            numbers = ", ".join(str(v).lower() if isinstance(v, bool) else f"{v:.12g}" for v in values[:6])
            more = f", ... {len(values)} in all" if len(values) > 6 else ""
            return f"table[{', '.join(indices)}]({numbers}{more})", ATOM
        case IndexValue(index):
            return index, ATOM
        case Reference(symbol, indices):
            inner = ", ".join(i if isinstance(i, str) else show(i) for i in indices)
            # Schedules and indicators have names that no spec can give.
            symbol = symbol.rpartition(".")[2].removeprefix("@") if symbol.startswith("@") else symbol
            return f"{symbol}[{inner}]" if indices else symbol, ATOM
        case Unary("not", operand):
            return f"not {show(operand, NOT)}", NOT
        case Unary(_, operand):
            return f"-{show(operand, UNARY)}", UNARY
        case Binary("^", left, right):
            return f"{show(left, ATOM)}^{show(right, POWER)}", POWER
        case Binary(operator, left, right):
            precedence = OF_OPERATOR[operator]
            return f"{show(left, precedence)} {operator} {show(right, precedence + 1)}", precedence
        case Conditional(condition, then, otherwise):
            return f"{show(then, OR)} if {show(condition, OR)} else {show(otherwise)}", CONDITIONAL
        case Apply(function, arguments):
            return f"{function}({', '.join(map(show, arguments))})", ATOM
        case Reduce(operator, indices, condition, body):
            where = f" where {show(condition)}" if condition is not None else ""
            inside = ", ".join(indices) + where
            values = [] if operator == "count" else [show(body)]
            values += [show(node.level)] if node.level is not None else []
            return f"{operator}({', '.join([inside, *values])})", ATOM
        case SegmentSum(index, segment, choice, body):
            return f"segment_sum({index} to {segment} = {show(choice)}, {show(body)})", ATOM
        case Draw(distribution, arguments, number):
            return f"{distribution}#{number}({', '.join(map(show, arguments))})", ATOM
        case Root():
            return _solved(node), ATOM
    raise TypeError(node)


def _solved(node: Root) -> str:
    unknowns = [show(node.itself)] + [one.symbol for one in node.system.unknowns if one.symbol != node.symbol]
    sides = "; ".join(f"{show(one.left)} == {show(one.right)}" for one in node.system.equations)
    low, high = next((show(one.low), show(one.high)) for one in node.system.unknowns if one.symbol == node.symbol)
    return f"solve({', '.join(unknowns)} from {low} to {high}: {sides})"


def _number(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    decimal = repr(float(value))
    return decimal if Fraction(decimal) == value else f"{value.numerator}/{value.denominator}"


def _model_lines(model: Model) -> Iterator[str]:
    yield f"model {model.name}, horizon {model.horizon}{', continuing' if model.continuing else ''}, {model.precision}"
    for agent in model.agents:
        discount = f", discount {show(agent.discount)}" if agent.discount is not None else ""
        stage = f", stage {agent.stage}" if agent.stage else ""
        given = f", given {', '.join(agent.given)}" if agent.given else ""
        yield f"agent {agent.name}[{', '.join(agent.indices)}], count {agent.count}{discount}{stage}{given}"
    yield ""
    for symbol in model.symbols:
        sets = f"[{', '.join(symbol.sets)}]" if symbol.sets else ""
        unit = f" {{{symbol.type.unit}}}" if symbol.type.unit is not None else ""
        of = f" of {symbol.type.of}" if symbol.type.of else ""
        yield f"{symbol.role} {symbol.name}{sets}: {symbol.type.kind}{of}{unit}, {symbol.type.time.words}"
    for title, definitions in (
        ("parameters", model.parameters),
        ("start", model.starts),
        ("equations", model.equations),
    ):
        yield f"\n{title}"
        for definition in definitions:
            indices = f"[{', '.join(definition.indices)}]" if definition.indices else ""
            yield f"  {definition.symbol}{indices} = {show(definition.expression)}"
    yield "\nactions"
    for action in model.actions:
        shown = ", ".join(f"{choice:g}" for choice in action.choices[:12])
        plain = shown and action.of is None and action.where is None
        always = f", {action.always:g} always" if action.always is not None else ""
        yield f"  {action.symbol}: {shown if plain else action.words}{always}"
    yield "\nobservations"
    for observation in model.observations:
        yield f"  {observation.agent}"
        for feature in observation.features:
            scale = f" / {show(feature.scale, PRODUCT)}" if feature.scale is not None else ""
            yield f"    {feature.name}: {feature.encoding} {show(feature.expression)}{scale}, {feature.size} numbers"
    for title, statements in (
        ("invariants", model.invariants),
        ("indicators", model.indicators),
        ("alive", model.verification.alive),
    ):
        yield f"\n{title}"
        for statement in statements:
            yield f"  {statement.name}: {show(statement.expression)}"
    yield "\nidentities"
    for identity in model.identities:
        yield f"  {identity.name}: {show(identity.left)} == {show(identity.right)}"
    yield "\naccounts"
    for account in model.accounts:
        yield f"  {account.name}: {', '.join(map(show, account.stocks))}"
        yield from (f"    through {name}: {show(value)}" for name, value in account.through)
        for flow in account.flows:
            yield f"    {'source' if flow.source else 'sink'} {flow.name}: {show(flow.expression)}"
    for constraint in model.constraints:
        yield f"\nconstraint {constraint.agent}.{constraint.name}: {show(constraint.violation)}"
    for phase in model.phases:
        fresh = ", fresh optimizer" if phase.fresh_optimizer else ""
        yield f"\nphase {phase.name}: {phase.iterations} iterations, {phase.economies} economies{fresh}"
        if phase.until:
            yield f"  until {', '.join(f'{agent} {target}' for agent, target in phase.until)}"
        for statement in phase.anneal:
            yield f"  anneal {statement.name} = {show(statement.expression)}"
        for window in phase.windows:
            yield f"  window {window.action}: from {window.value:g}, open over {window.begin:g}-{window.end:g}"
        for learner in phase.learners:
            yield f"  {learner.agent}: {learner.algorithm} {learner.network}, starts {learner.starts:g}"
            for key, value in learner.scheduled.items():
                yield f"    {key} = {show(value)}"


# --- JSON ----------------------------------------------------------------------------------------------------------


def to_json(node: Any) -> Any:
    """Any record of this module as JSON data; `from_json` turns it back into an equal one."""
    if isinstance(node, (Kind, Role, Time)):
        return {"is": type(node).__name__, "name": node.name}
    if isinstance(node, Fraction):
        return {"is": "Fraction", "value": str(node)}
    if isinstance(node, tuple):
        return [to_json(item) for item in node]
    if is_dataclass(node):
        return {"is": type(node).__name__, **{f.name: to_json(getattr(node, f.name)) for f in fields(node)}}
    return node


def from_json(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(from_json(item) for item in data)
    if not isinstance(data, dict):
        return data
    name = data["is"]
    if name == "Fraction":
        return Fraction(data["value"])
    if name in _ENUMS:
        return _ENUMS[name][data["name"]]
    return _RECORDS[name](**{key: from_json(value) for key, value in data.items() if key != "is"})


_ENUMS = {"Kind": Kind, "Role": Role, "Time": Time}
_RECORDS = {
    record.__name__: record for record in list(globals().values()) if isinstance(record, type) and is_dataclass(record)
}

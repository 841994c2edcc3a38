"""What must hold in every step of a model: equations give numbers, accounts balance, identities and invariants hold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.compiler.backends.jax.expressions import Expressions
from rbcc.compiler.backends.jax.mangle import local_names
from rbcc.runtime.economy.model import Actions, Model, Outcome, State
from rbcc.runtime.validation.roots import ends_of, no_root


LARGEST = float(np.finfo(np.float32).max)
"""What is larger has no place in single precision, in which models are trained."""

SHOWN = 6

Record = Mapping[str, Any]
"""Arrays of a step by name: states, choices, values, rewards as `type.reward`, next values with a prime, parameters."""

Check = ir.Definition | ir.Identity | ir.Statement | ir.Action


@dataclass(frozen=True)
class Failure:
    """A check that does not hold: its place in the spec, the step, the agents, what is read there; and the case."""

    check: str
    place: ir.Place
    step: int
    agents: dict[str, int]
    message: str
    values: dict[str, str]
    case: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.message}", *(f"  {name} = {text}" for name, text in self.values.items())]
        return "\n".join([*lines, *self.case])


def record_of(state: State, actions: Actions, following: State, outcome: Outcome) -> dict[str, jax.Array]:
    """All arrays of a step but the parameters."""
    rewards = {f"{agent}.reward": reward for agent, reward in outcome.rewards.items()}
    later = {f"{name}'": value for name, value in following.items() if name != "time"}
    return {**state, **actions, **outcome.values, **rewards, **later}


class Checks:
    """The checks of a model: of each equation that it gives numbers, then its equalities, its invariants, and that the
    conditions of choices leave one."""

    def __init__(self, model: Model):
        self.model = model
        self.equations, self.balances, self.invariants = model.ir.equations, model.ir.balances, model.ir.invariants
        self.choices = model.ir.uncertain
        self.all: tuple[Check, ...] = (*self.equations, *self.balances, *self.invariants, *self.choices)
        self.accounts = {account.name: account for account in model.ir.accounts}
        self.names = local_names(model.ir)
        self.expressions = Expressions(model.ir, self.names)

    def hold(self, record: Record, outcome: Outcome) -> jax.Array:
        """Which checks hold in a step of one economy, (checks,)."""
        found = [jnp.all(sane(record[definition.symbol])) for definition in self.equations]
        for identity in self.balances:
            left, right = outcome.identities[identity.name]
            found.append(jnp.all(jnp.abs(left - right) <= self.slack(identity, left, right, record)))
        found += [jnp.all(outcome.invariants[invariant.name]) for invariant in self.invariants]
        found += [jnp.all(outcome.invariants[action.remains]) for action in self.choices]
        return jnp.stack([jnp.asarray(one, bool) for one in found])

    def slack(self, identity: ir.Identity, left: Any, right: Any, record: Record) -> Any:
        """How much sides that are equal may differ: by the rounding of all that goes into them."""
        eps = float(jnp.finfo(left.dtype).eps)
        read = ir.references(identity.left) | ir.references(identity.right)
        sizes = [jnp.abs(jnp.asarray(array, left.dtype)) for array in record.values()]
        total = sum(jnp.sum(size) for name, size in zip(record, sizes, strict=True) if name in read)
        largest = jnp.max(jnp.stack([jnp.max(size) for size in sizes]))
        return 1e-9 + 64 * eps * (jnp.maximum(jnp.abs(left), jnp.abs(right)) + total + largest)

    # --- reports -----------------------------------------------------------------------------------------------

    def failure(self, check: Check, record: Record, step: int) -> Failure:
        """What to say of a check that does not hold in a step, of which `record` has all arrays, and parameters."""
        match check:
            case ir.Definition():
                return self.of_equation(check, record, step)
            case ir.Identity():
                return self.of_identity(check, record, step)
            case ir.Statement():
                return self.of_invariant(check, record, step)
            case ir.Action():
                return self.of_choices(check, record, step)

    def of_parameters(self, constants: Record) -> Failure | None:
        """What to say of the first parameter that is not a finite number, if there is one."""
        wrong = (d for d in self.model.ir.parameters if not np.all(np.asarray(sane(constants[d.symbol]))))
        first = next(wrong, None)
        return None if first is None else self.of_equation(first, constants, None)

    def of_equation(self, definition: ir.Definition, record: Record, step: int | None) -> Failure:
        """What to say of an equation that gives no finite number in a step, or of a parameter, which has no step."""
        result = np.asarray(record[definition.symbol])
        place = _first(~np.asarray(sane(result)))
        at = dict(zip(definition.indices, place, strict=True))
        node, within, cause = self.origin(definition.expression, at, record)
        inside = ", ".join(f"{index} = {place}" for index, place in within.items() if index not in at)
        value = result[place]
        text = " ".join(definition.text.split())
        where = f"{value:.6g} {_where(step, at)}".rstrip()
        message = f"{text}\nis {where}: {cause}{f' for {inside}' if inside else ''}"
        values = self.read([definition.expression], at, record) | self.read([node], within, record)
        return Failure(definition.symbol, definition.place, step or 0, at, message, values)

    def of_identity(self, identity: ir.Identity, record: Record, step: int) -> Failure:
        sides = (self.full(side, identity.indices, record) for side in (identity.left, identity.right))
        left, right = (jnp.asarray(side, float) for side in sides)
        arrays = {name: array for name, array in record.items() if self.varies(name)}
        place = _first(~np.asarray(jnp.abs(left - right) <= self.slack(identity, left, right, arrays)))
        at = dict(zip(identity.indices, place, strict=True))
        a, b = (f"{float(side[place]):.9g}" for side in (left, right))
        account, where = self.accounts.get(identity.name), _where(step, at)
        if account is None:
            message = f"identity '{identity.name}' does not hold {where}: {a} on the left, {b} on the right"
            values = {ir.show(identity.left): a, ir.show(identity.right): b}
        else:
            message = f"account '{identity.name}' does not balance {where}: "
            message += f"its stocks change by {a}, sources less sinks are {b}"
            changes = [ir.change(stock) for stock in account.stocks]
            values = {ir.show(node): self.text(node, at, record) for node in changes}
            for flow in account.flows:
                values[f"{'source' if flow.source else 'sink'} {flow.name}"] = self.text(flow.expression, at, record)
        values |= self.read([identity.left, identity.right], at, record)
        return Failure(identity.name, identity.place, step, at, message, values)

    def of_invariant(self, invariant: ir.Statement, record: Record, step: int) -> Failure:
        place = _first(~np.asarray(self.full(invariant.expression, invariant.indices, record), bool))
        at = dict(zip(invariant.indices, place, strict=True))
        message = f"invariant '{invariant.name}' does not hold {_where(step, at)}"
        return Failure(
            invariant.name, invariant.place, step, at, message, self.read([invariant.expression], at, record)
        )

    def of_choices(self, action: ir.Action, record: Record, step: int) -> Failure:
        ir_, symbol = self.model.ir, self.model.ir.symbol(action.symbol)
        stored = self.model.stored({name: jnp.asarray(array) for name, array in record.items() if name != "time"})
        stored["time"] = jnp.asarray(record["time"])
        parameters = {one.symbol: record[one.symbol] for one in ir_.parameters}
        stage = ir_.stage_of(action.symbol)
        held = {name: stored[name] for name in ir_.held}
        allowed = self.model.fulfilled(stored, stored, self.model.given(parameters), stage, held)[action.symbol]
        some = self.model.written({action.symbol: jnp.any(allowed, axis=0)})[action.symbol]
        axes = symbol.type.axes
        at = dict(zip(axes, _first(~np.asarray(some)), strict=True))
        assert action.where is not None
        message = (
            f"no choice of '{action.symbol}' is left {_where(step, at)}: {action.listed} do not fulfil "
            f"{ir.show(action.where)} (rbcc explain RB704)"
        )
        parts: list[ir.Expression] = [
            part
            for part in ir.walk(action.where)
            if isinstance(part, ir.Reference) and action.symbol not in ir.references(part)
        ]
        return Failure(action.remains, action.place, step, at, message, self.read(parts, at, record))

    def read(self, nodes: list[ir.Expression], at: Mapping[str, int], record: Record) -> dict[str, str]:
        """The values that expressions read for certain agents, by how they are written."""
        found = {part for node in nodes for part in ir.walk(node) if isinstance(part, ir.Reference)}
        for root in (
            node for node in nodes if isinstance(node, ir.Root)
        ):  # what follows from it is not a number either
            found = {part for part in found if part.symbol not in root.system.own}
        inner = {one for part in found for one in ir.walk(part) if one is not part}
        outer = sorted(found, key=lambda part: (part in inner, ir.show(part)))
        return {ir.show(part): self.text(part, at, record) for part in outer if part.symbol in self.names}

    def text(self, node: ir.Expression, at: Mapping[str, int], record: Record) -> str:
        """The value of an expression for certain agents, in words."""
        value = self.value(node, at, record)
        if value.ndim:
            return np.array2string(value, threshold=SHOWN, edgeitems=SHOWN // 2, precision=6, separator=", ")
        return str(bool(value)).lower() if value.dtype == bool else f"{value:.9g}"

    # --- values ------------------------------------------------------------------------------------------------

    def varies(self, name: str) -> bool:
        """Whether a name in a record is not a parameter."""
        return name not in {definition.symbol for definition in self.model.ir.parameters}

    def evaluated(self, node: ir.Expression, record: Record) -> tuple[np.ndarray, tuple[str, ...]]:
        """The value of an expression, computed as in the generated module, and the indices that its axes are."""
        value, axes = self.computed(node, record)
        return np.asarray(value), axes

    def computed(self, node: ir.Expression, record: Record) -> tuple[Any, tuple[str, ...]]:
        """As `evaluated`, also of arrays that are being traced."""
        node = node.itself if isinstance(node, ir.Root) else node
        code = self.expressions.code(node)
        arrays = self.model.stored({name: jnp.asarray(record[name]) for name in ir.references(node)})
        if "time" in arrays:
            arrays["time"] = jnp.asarray(arrays["time"], float)
        scope = {**vars(self.model.module), **{self.names[name]: array for name, array in arrays.items()}}
        return eval(code.text, scope), code.axes  # the compiler's own text, as in the module

    def full(self, node: ir.Expression, indices: tuple[str, ...], record: Record) -> np.ndarray:
        """The value of an expression with one axis for each of `indices`."""
        return np.asarray(self.spread(node, indices, record))

    def spread(self, node: ir.Expression, indices: tuple[str, ...], record: Record) -> jax.Array:
        """As `full`, also of arrays that are being traced."""
        value, axes = self.computed(node, record)
        value = jnp.asarray(value)
        value = value.astype(float) if value.dtype != bool else value
        order = [axes.index(index) for index in indices if index in axes]
        along = tuple(slice(None) if index in axes else None for index in indices)
        shape = [self.expressions.size(index) for index in indices]
        return jnp.broadcast_to(jnp.transpose(value, order)[along], shape)

    def value(self, node: ir.Expression, at: Mapping[str, int], record: Record) -> np.ndarray:
        """The value of an expression at certain indices; others it varies over stay."""
        value, axes = self.evaluated(node, record)
        return value[tuple(at.get(axis, slice(None)) for axis in axes)]

    def origin(
        self, node: ir.Expression, at: Mapping[str, int], record: Record
    ) -> tuple[ir.Expression, dict[str, int], str]:
        """The innermost part of an expression that is not a number although all inside it are, for which agents, and
        why."""
        at = dict(at)
        for part in self.parts(node, at, record):
            if any(isinstance(inner, ir.Draw) for inner in ir.walk(part)):
                continue
            value, axes = self.evaluated(part, record)
            fixed = value[tuple(at.get(axis, slice(None)) for axis in axes)]
            bad = np.argwhere(~np.asarray(sane(fixed)))
            if len(bad) and not isinstance(part, (ir.Reference, ir.Constant)):
                rest = (axis for axis in axes if axis not in at)
                return self.origin(part, {**at, **dict(zip(rest, map(int, bad[0]), strict=True))}, record)
        return node, at, self.cause(node, at, record)

    def parts(self, node: ir.Expression, at: Mapping[str, int], record: Record) -> Iterator[ir.Expression]:
        """The parts that the value of `node` is made from."""
        if isinstance(node, ir.Root):
            yield from ends_of(node)
        elif isinstance(node, ir.Conditional):
            yield node.condition
            taken = np.all(self.value(node.condition, at, record))
            yield node.then if taken else node.otherwise
        elif isinstance(node, ir.Reduce) and node.condition is not None:
            yield node.condition
            yield ir.Conditional(node.condition, node.body, ir.Constant(Fraction(0), node.body.type), node.body.type)
        else:
            yield from ir.children(node)

    def cause(self, node: ir.Expression, at: Mapping[str, int], record: Record) -> str:
        shown = ir.show(node)
        match node:
            case ir.Binary("/" | "^" as operator, left, right):
                a, b = (self.value(part, at, record) for part in (left, right))
                if operator == "/" and np.any(b == 0):
                    return f"{shown} divides by zero"
                if operator == "^" and np.any((a == 0) & (b < 0)):
                    return f"{shown} divides by zero"
                if operator == "^" and np.any((a < 0) & (b != np.floor(b))):
                    return f"{shown} is a power of a negative number"
            case ir.Reference():
                return f"{shown} is none"
            case ir.Root():
                return no_root(self, node, at, record)
        value = np.asarray(self.value(node, at, record), float)
        if np.any(np.isnan(value)):
            return f"{shown} has no value there"
        return f"{shown} is {value}" if np.any(np.isinf(value)) else f"{shown} is too large for single precision"


def sane(x: Any) -> jax.Array:
    """Where numbers are finite in single precision."""
    x = jnp.asarray(x)
    return jnp.abs(x) <= LARGEST if jnp.issubdtype(x.dtype, jnp.floating) else jnp.ones(x.shape, bool)


def _first(bad: np.ndarray) -> tuple[int, ...]:
    """The first place where `bad` is true; the first of all if another way of rounding has it true nowhere."""
    return tuple(map(int, np.unravel_index(np.argmax(bad), bad.shape)))


def _where(step: int | None, at: Mapping[str, int]) -> str:
    """At which step, if at one, and for whom."""
    agents = ", ".join(f"{index} = {number}" for index, number in at.items())
    if step is None:
        return f"for {agents}" if agents else ""
    return f"at step {step}, {agents}" if agents else f"at step {step}"

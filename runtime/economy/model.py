import builtins
import itertools
import linecache
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import Diagnostic
from rbcc.compiler.driver import Compiled, compile_spec
from rbcc.compiler.ir.axis_order import layout
from rbcc.runtime import prng
from rbcc.runtime.actions.spaces import ActionSpace, Allowed, Bounds, action_spaces, any_of, divided, within
from rbcc.runtime.economy.user_functions import check_primitives
from rbcc.runtime.parallel.devices import use_precision


State = dict[str, jax.Array]
Actions = dict[str, jax.Array]

EPS = float(np.finfo(np.float32).eps)

SHOWN = 8

_MODULES = itertools.count()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Outcome:
    """What happened in a step, each entry a dictionary of arrays by name.

    `rewards` by agent type, (agents,); `values` by the name of an equation, in the order of the spec's indices;
    `indicators` scalars; `violations` of constraints by `type.constraint`; `identities` pairs of sides that should be
    equal; `invariants` flags that should be true; `done` whether this was the last step of the episode.
    """

    rewards: dict[str, jax.Array]
    values: dict[str, jax.Array]
    indicators: dict[str, jax.Array]
    violations: dict[str, jax.Array]
    identities: dict[str, tuple[jax.Array, jax.Array]]
    invariants: dict[str, jax.Array]
    done: jax.Array


class Model:
    """A compiled economy. Raises CompileError if a function of the spec's own does not work.

    All methods are pure functions of one economy and work under `jit`, `vmap`, `scan` and, where the model is smooth,
    `grad`. States, actions, values and parameters are flat dictionaries by `type.name`; their axes stand in the order
    in which the spec writes the indices. `parameters` replaces some for that call, so that they can be traced. `spec`
    and `overrides` are what `compile` was given: where the model can be had again from.
    """

    def __init__(
        self, compiled: Compiled, spec: str | Path | None = None, overrides: Mapping[str, object] | None = None
    ):
        self.compiled, self.spec, self.overrides = compiled, spec, dict(overrides or {})
        use_precision(compiled.model.precision)
        self.text = compiled.python(jax.default_backend())
        self.module = _load(self.text, compiled.model.name)
        check_primitives(compiled, self.module)
        self.spaces: dict[str, ActionSpace] = action_spaces(compiled.model)

    @property
    def ir(self) -> ir.Model:
        return self.compiled.model

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return self.compiled.warnings

    def __repr__(self) -> str:
        counts = ", ".join(f"{agent.count} {agent.name}" for agent in self.ir.agents)
        return f"Model({self.ir.name}: {counts}; horizon {self.ir.horizon})"

    def reset(self, key: jax.Array, parameters: Mapping[str, Any] | None = None) -> State:
        """The state at the start of an episode."""
        return self.written(self.module.reset(key, self.given(parameters)))

    def sample(self, state: State, key: jax.Array) -> Actions:
        """Legal actions drawn uniformly, in physical units."""
        # Cheap keys, whatever kind `key` is: drawing with JAX's own takes longer than a step.
        keys = prng.again(jax.random.key_data(jax.random.split(key, len(self.spaces)))[..., -2:])
        drawn: Actions = {}
        for stage in range(self.ir.stages):
            bounds = self.bounds(self.stored(state), drawn, None, stage)
            allowed = self.allowed(self.stored(state), drawn, None, stage)
            for own, (name, space) in zip(keys, self.spaces.items(), strict=True):
                if self.ir.stage_of(name) == stage:
                    uniform = jax.random.uniform(own, tuple(space.shape[k] for k in space.stored))
                    if space.interval:
                        drawn[name] = within(uniform, bounds[name])
                    elif space.shares:
                        place = space.stored.index(len(space.shape) - 1)
                        drawn[name] = jnp.moveaxis(divided(jnp.moveaxis(uniform, place, 0)[1:]), 0, place)
                    elif space.restricted:
                        drawn[name] = space.physical(any_of(allowed[name], uniform))
                    else:
                        drawn[name] = space.physical(jnp.floor(uniform * len(space.values)))
        return self.written({name: drawn[name] for name in self.spaces})

    def step(
        self, state: State, actions: Actions, key: jax.Array, parameters: Mapping[str, Any] | None = None
    ) -> tuple[State, Outcome]:
        """One step of the economy: the next state and what happened on the way.

        Raises ValueError if a state or action is missing, unknown or of the wrong shape, or an action impossible (see
        `check_actions`); of values that are being traced, in `jit` or `vmap`, only shapes are known.
        """
        self._check(state, {"time": (), **self.state_shapes}, "state")
        self.check_actions(state, actions, parameters)
        actions = {name: jnp.asarray(actions[name], int if space.of else float) for name, space in self.spaces.items()}
        following, result = self.module.step(self.stored(state), self.stored(actions), key, self.given(parameters))
        result = {**result, "values": self.written(result["values"])}
        return self.written(following), Outcome(**result)

    def check_actions(self, state: State, actions: Actions, parameters: Mapping[str, Any] | None = None) -> None:
        """Raises ValueError unless `actions` are possible in `state`, up to rounding.

        Possible are the numbers of a list of choices and members of a type from 0 on, of these such as fulfil the
        condition of the action in this state; numbers between the ends that an interval has in this state; shares that
        are not negative and sum to 1; one for each agent.
        """
        self._check(actions, {name: space.shape for name, space in self.spaces.items()}, "action")
        found = {name: np.asarray(x, float) for name, x in actions.items() if not _traced(x)}
        for name, x in found.items():
            space = self.spaces[name]
            if space.values:
                values = np.asarray(space.values)
                wrong = ~(np.abs(x[..., None] - values).min(-1) <= 4 * EPS * np.abs(values).max())
                self._refuse(name, x, wrong, f"one of its choices, {self.ir.action(name).words}")
            elif space.shares:
                self._refuse(name, x, ~(x >= -4 * EPS), "a share of at least 0")
                total = x.sum(-1)
                self._refuse(name, total, ~(np.abs(total - 1) <= 4 * EPS * x.shape[-1]), "shares that sum to 1")
        if len(found) < len(self.spaces) or _traced(dict(state)):
            return
        now, chosen = self.stored(state), self.stored({name: jnp.asarray(x) for name, x in actions.items()})
        for stage in range(self.ir.stages):
            for name, ends in self.bounds(now, chosen, self.given(parameters), stage).items():
                if not _traced(ends):
                    low, high = (np.asarray(self.written({name: end})[name], float) for end in ends)
                    self._between(name, found[name], low, high)
            for name, own in self.allowed(now, chosen, self.given(parameters), stage).items():
                if not _traced(own):
                    self._fulfils(name, found[name], own)

    def _between(self, name: str, x: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        slack = 16 * EPS * np.maximum(np.abs(low), np.abs(high))
        wrong = ~((x >= low - slack) & (x <= high + slack))
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            self._refuse(name, x, wrong, f"a number from {low[place]:.6g} to {high[place]:.6g}")

    def _fulfils(self, name: str, x: np.ndarray, allowed: jax.Array) -> None:
        each = np.stack([np.asarray(self.written({name: own})[name]) for own in allowed], axis=-1)
        values = np.asarray(self.spaces[name].values)
        number = np.abs(x[..., None] - values).argmin(-1)
        wrong = ~np.take_along_axis(each, number[..., None], -1)[..., 0]
        if wrong.any():
            left = values[each[tuple(map(int, np.argwhere(wrong)[0]))]]
            listed = ", ".join(f"{value:g}" for value in left[:SHOWN]) + (", ..." if len(left) > SHOWN else "")
            condition = self.ir.action(name).where
            assert condition is not None
            self._refuse(name, x, wrong, f"one that is allowed here, {listed}: {ir.show(condition)}")

    @staticmethod
    def _refuse(name: str, x: np.ndarray, wrong: np.ndarray, expected: str) -> None:
        """Raises ValueError with the first of the numbers that are wrong."""
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            where = f" of agent {', '.join(map(str, place))}" if place else ""
            raise ValueError(f"action '{name}'{where} is {x[place]:.6g}, expected {expected}")

    def observe(
        self, state: State, parameters: Mapping[str, Any] | None = None, actions: Actions | None = None
    ) -> dict[str, jax.Array]:
        """What each agent sees, (agents, numbers), or (numbers,) for a type without an index.

        First what all agents of the type see alike, then its own, then what is its own and never changes; within each
        in the order of the spec. Types that choose after others are there only if `actions` has the choices of those.
        """
        found: dict[str, Any] = {}
        for stage in range(self.ir.stages if actions is not None else 1):
            found |= self.observed(self.stored(state), self.stored(actions or {}), self.given(parameters), stage)
        for agent, seen in found.items():
            shared, own = seen["shared"], jnp.concatenate([seen["own"], seen["fixed"]])
            if own.ndim == 2:
                own = own.T
                shared = jnp.broadcast_to(shared, (own.shape[0], shared.shape[0]))
            found[agent] = jnp.concatenate([shared, own], axis=-1)
        return found

    def observed(
        self,
        state: Mapping[str, jax.Array],
        actions: Mapping[str, jax.Array],
        parameters: Mapping[str, Any] | None,
        stage: int,
        held: Mapping[str, jax.Array] = MappingProxyType({}),
    ) -> Any:
        """What the generated module has the types of one stage see, after the `actions` before theirs.

        Values in `held` are taken to be as given there.
        """
        if stage:
            return getattr(self.module, f"observe_{stage}")(state, actions, parameters, *self.holding(held))
        return self.module.observe(state, parameters, *self.holding(held))

    def bounds(
        self,
        state: State,
        actions: Actions,
        parameters: Mapping[str, Any] | None,
        stage: int,
        held: Mapping[str, jax.Array] = MappingProxyType({}),
    ) -> Bounds:
        """The ends of the intervals from which the types of one stage choose, in the layout of the generated module."""
        found = getattr(self.module, f"bounds_{stage}" if stage else "bounds", None)
        if found is None:
            return {}
        before = (state, actions) if stage else (state,)
        return found(*before, parameters, *self.holding(held))

    def allowed(
        self,
        state: State,
        actions: Actions,
        parameters: Mapping[str, Any] | None,
        stage: int,
        held: Mapping[str, jax.Array] = MappingProxyType({}),
    ) -> Allowed:
        """Which choices the types of one stage have, of actions that have a condition, (choices, ...), in the layout of
        the generated module.

        Where it allows none all are: an agent has to choose something. `rbcc check` and checked training tell it.
        """
        fulfilled = self.fulfilled(state, actions, parameters, stage, held)
        return {name: own | ~jnp.any(own, axis=0) for name, own in fulfilled.items()}

    def fulfilled(
        self,
        state: State,
        actions: Actions,
        parameters: Mapping[str, Any] | None,
        stage: int,
        held: Mapping[str, jax.Array] = MappingProxyType({}),
    ) -> Allowed:
        """The same, but none where no choice fulfils the condition."""
        found = getattr(self.module, f"allowed_{stage}" if stage else "allowed", None)
        if found is None:
            return {}
        before = (state, actions) if stage else (state,)
        return found(*before, parameters, *self.holding(held))

    def holding(self, held: Mapping[str, jax.Array]) -> tuple[Callable[[str, jax.Array], jax.Array], ...]:
        """The last arguments of functions of the generated module that compute values: those in `held` are as there."""
        return (lambda name, value: held.get(name, value),) if self.ir.held else ()

    def given(self, parameters: Mapping[str, Any] | None) -> dict[str, jax.Array]:
        """Parameters for the generated module. Raises ValueError for an unknown name or a wrong shape."""
        shapes = {d.symbol: self._shape(d.symbol) for d in self.ir.parameters}
        given = parameters or {}
        self._check(given, {name: shapes[name] for name in given if name in shapes}, "parameter", shapes)
        return self.stored({name: jnp.asarray(value, float) for name, value in given.items()})

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.ir.count(owner) for owner in self.ir.symbol(name).sets)

    @cached_property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each state in the order of the spec, without the clock `time`."""
        starts = [definition.symbol for definition in self.ir.starts]
        return {name: self._shape(name) for name in starts}

    @cached_property
    def _orders(self) -> dict[str, tuple[int, ...]]:
        """For arrays whose layout differs from the spec: the permutation from the spec's order to the layout's."""
        orders = {symbol.name: layout(self.ir, symbol) for symbol in self.ir.symbols}
        return {name: order for name, order in orders.items() if list(order) != sorted(order)}

    def stored(self, arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Arrays of one economy, by name, from the order of the spec to the layout of the generated module."""
        return {k: jnp.transpose(v, self._orders[k]) if k in self._orders else v for k, v in arrays.items()}

    def written(self, arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Arrays of one economy, by name, from the layout of the generated module to the order of the spec."""
        return {k: jnp.transpose(v, _inverse(self._orders[k])) if k in self._orders else v for k, v in arrays.items()}

    @staticmethod
    def _check(
        given: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
        kind: str,
        known: Mapping[str, Any] | None = None,
    ) -> None:
        for name, shape in shapes.items():
            if name not in given:
                raise ValueError(f"{kind} '{name}' is missing; needed: {', '.join(shapes)}")
            if np.shape(given[name]) != shape:
                raise ValueError(f"{kind} '{name}' has shape {np.shape(given[name])}, expected {shape}")
        if unknown := set(given) - set(shapes):
            raise ValueError(f"there is no {kind} '{min(unknown)}'; known: {', '.join(known or shapes)}")


def compile(path: str | Path, overrides: Mapping[str, object] | None = None) -> Model:
    """Compiles the spec at `path`, a file or the name of a model that ships with rbcc.

    `overrides` maps dotted paths to values, such as `{"agents.seller.count": 7}`. Raises CompileError, which carries
    every error of the spec with its place.
    """
    return Model(compile_spec(path, overrides), path, overrides)


def _traced(values: Any) -> bool:
    """Whether some of the numbers are not known: in `jit`, `vmap` and `grad`."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(k) for k in range(len(order)))


def _load(text: str, name: str) -> ModuleType:
    """Runs the generated text as a module; tracebacks and debuggers find its lines."""
    filename = f"<rbcc {name} {next(_MODULES)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    module = ModuleType(f"rbcc_generated_{name}")
    exec(builtins.compile(text, filename, "exec"), vars(module))
    return module

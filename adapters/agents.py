"""An economy as separate agents that each choose numbers from 0 on, or numbers between 0 and 1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.api import compile
from rbcc.runtime.actions.spaces import ActionSpace, within
from rbcc.runtime.economy.model import Actions, Model, Outcome, State
from rbcc.runtime.errors import RunError
from rbcc.runtime.results.opened import Spec


CHOICES, NUMBERS = "choices", "numbers"
"""The two parts of what an agent does who has both."""


@dataclass(frozen=True)
class Part:
    """What every agent of a type chooses: `choices` has the size of each list it chooses from, `numbers` is how many
    numbers between 0 and 1 it gives."""

    choices: tuple[int, ...]
    numbers: int


class Agents:
    """The agents of a model by name, and translations from and to its arrays by type.

    They are called `TYPE_0`, `TYPE_1`, ..., and a type without an index by its own name; types without choices are left
    out. An agent acts by an array of integers, the numbers of its choices, (choices,), by an array of numbers between
    0 and 1, (numbers,), or if it has both by a dictionary of both. Of an interval the number is the share of the way
    from its lower to its upper end; shares are divided by their sum; in place of a choice that is not allowed the
    nearest one is made. Actions come in the order of the spec, the members that an action is chosen for one after
    another. Raises RunError if types choose after others have been seen to.
    """

    def __init__(self, spec: Spec, overrides: Mapping[str, object] | None = None):
        model: Model = compile(spec, overrides)
        if model.ir.stages > 1:
            later = ", ".join(agent.name for agent in model.ir.agents if agent.stage)
            raise RunError(
                f"in {model.ir.name} not all choose at the same time: {later} see choices of the same step, which these "
                "environments have no words for; train it with rbcc.train"
            )
        self.model = model
        self.spaces: dict[str, list[ActionSpace]] = {}
        for space in model.spaces.values():
            self.spaces.setdefault(space.agent, []).append(space)
        self.members = {
            agent.name: [f"{agent.name}_{k}" for k in range(agent.count)] if agent.indices else [agent.name]
            for agent in model.ir.agents
            if agent.name in self.spaces
        }
        self.names = [name for names in self.members.values() for name in names]
        self.types = {name: agent for agent, names in self.members.items() for name in names}
        self.parts = {agent: _part(spaces) for agent, spaces in self.spaces.items()}
        seen = jax.eval_shape(lambda key: model.observe(model.reset(key)), jax.random.key(0))
        self.seen = {agent: seen[agent].shape[-1] for agent in self.members}
        """How many numbers each agent of a type sees."""

    def actions(self, state: State, given: Mapping[str, Any]) -> Actions:
        """The actions of all types in physical units, from those of each agent by name."""
        bounds = self.model.bounds(self.model.stored(state), {}, None, 0)
        allowed = self.allowed(state)
        found: Actions = {}
        for agent, names in self.members.items():
            own, part = [given[name] for name in names], self.parts[agent]
            mixed = bool(part.choices and part.numbers)
            chosen = [jnp.ravel(jnp.asarray(one[CHOICES] if mixed else one)) for one in own] if part.choices else []
            numbers = [jnp.ravel(jnp.asarray(one[NUMBERS] if mixed else one)) for one in own] if part.numbers else []
            at = {False: 0, True: 0}
            for space in self.spaces[agent]:
                source = jnp.stack(numbers if space.continuous else chosen)
                width, first = space.repeats or 1, at[space.continuous]
                at[space.continuous] += width
                array = source[:, first : first + width]
                if space.shares:
                    array = _shares(array)
                array = array.reshape(space.shape)
                if space.interval:
                    low, high = (self.model.written({space.name: end})[space.name] for end in bounds[space.name])
                    array = within(array, (low, high))
                found[space.name] = array if space.continuous else space.physical(array)
                if space.restricted:
                    found[space.name] = space.legal(found[space.name], allowed[space.name])
        return found

    def allowed(self, state: State) -> dict[str, jax.Array]:
        """Which choices are allowed in a state, of actions that have a condition: (choices, ...), in the order of the
        spec."""
        allowed = self.model.allowed(self.model.stored(state), {}, None, 0)
        each = jax.vmap(lambda arrays: self.model.written(arrays))
        return each(dict(allowed)) if allowed else {}

    def masks(self, state: State) -> dict[str, list[jax.Array]]:
        """For each agent and each of its choices which are allowed in a state, (choices,)."""
        allowed, found = self.allowed(state), {}
        for agent, names in self.members.items():
            for number, name in enumerate(names):
                found[name] = []
                for space in self.spaces[agent]:
                    if not space.continuous:
                        own = allowed.get(space.name, jnp.ones((len(space.values), *space.shape), bool))
                        own = own[:, number] if space.agents is not None else own
                        found[name] += list(own.reshape(len(space.values), -1).T)
        return found

    def each(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """What belongs to each agent by name, of arrays by type: (agents, ...), or (...) for one without an index."""
        found = {}
        for agent, names in self.members.items():
            several = bool(self.model.ir.agent(agent).indices)
            found |= {name: arrays[agent][k] if several else arrays[agent] for k, name in enumerate(names)}
        return found

    def violations(self, outcome: Outcome) -> dict[str, dict[str, Any]]:
        """By how much each agent violates its constraints, by name and constraint."""
        found: dict[str, dict[str, Any]] = {name: {} for name in self.names}
        for path, amounts in outcome.violations.items():
            agent, _, constraint = path.partition(".")
            for k, name in enumerate(self.members.get(agent, ())):
                found[name][constraint] = amounts[k] if np.ndim(amounts) else amounts
        return found


def _part(spaces: list[ActionSpace]) -> Part:
    choices = [len(space.values) for space in spaces if not space.continuous for _ in range(space.repeats or 1)]
    return Part(tuple(choices), sum(space.repeats or 1 for space in spaces if space.continuous))


def _shares(numbers: jax.Array) -> jax.Array:
    """Numbers divided by their sum, (agents, members); all alike where it is 0."""
    total = numbers.sum(-1, keepdims=True)
    return jnp.where(total > 0, numbers / jnp.where(total > 0, total, 1.0), 1.0 / numbers.shape[-1])

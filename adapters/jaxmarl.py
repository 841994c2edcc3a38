"""An economy with the interface of JaxMARL's environments, under `jit` and `vmap`; JaxMARL is not needed.

import jax
from rbcc.adapters.jaxmarl import Environment

environment = Environment("open_rbc_small")
seen, state = environment.reset(jax.random.key(0))
actions = {name: environment.action_space(name).sample(jax.random.key(1)) for name in environment.agents}
seen, state, rewards, dones, infos = environment.step(jax.random.key(2), state, actions)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from rbcc.adapters.agents import CHOICES, NUMBERS, Agents, Part
from rbcc.runtime.economy.model import State
from rbcc.runtime.results.opened import Spec


@dataclass(frozen=True)
class Discrete:
    """One of `n` choices, a number from 0 on."""

    n: int
    shape: tuple[int, ...] = ()
    dtype: Any = jnp.int32

    def sample(self, key: jax.Array) -> jax.Array:
        """A random choice, all equally likely."""
        return jax.random.randint(key, self.shape, 0, self.n, self.dtype)

    def contains(self, x: Any) -> jax.Array:
        """Whether `x` is a choice."""
        return jnp.all((jnp.asarray(x) >= 0) & (jnp.asarray(x) < self.n))


@dataclass(frozen=True)
class MultiDiscrete:
    """Several choices, one from each list; `num_categories` are the sizes of the lists."""

    num_categories: tuple[int, ...]
    dtype: Any = jnp.int32

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.num_categories),)

    def sample(self, key: jax.Array) -> jax.Array:
        """Random choices, all equally likely."""
        return jax.random.randint(key, self.shape, 0, jnp.array(self.num_categories), self.dtype)

    def contains(self, x: Any) -> jax.Array:
        """Whether `x` are choices."""
        return jnp.all((jnp.asarray(x) >= 0) & (jnp.asarray(x) < jnp.array(self.num_categories)))


@dataclass(frozen=True)
class Box:
    """Numbers from `low` to `high`."""

    low: float
    high: float
    shape: tuple[int, ...]
    dtype: Any = jnp.float32

    def sample(self, key: jax.Array) -> jax.Array:
        """Random numbers, all equally likely."""
        return jax.random.uniform(key, self.shape, self.dtype, self.low, self.high)

    def contains(self, x: Any) -> jax.Array:
        """Whether `x` are such numbers."""
        return jnp.all((jnp.asarray(x) >= self.low) & (jnp.asarray(x) <= self.high))


@dataclass(frozen=True)
class Dict:
    """Spaces by name."""

    spaces: Mapping[str, Any] = field(default_factory=dict)

    def sample(self, key: jax.Array) -> dict[str, jax.Array]:
        """A random element of each space."""
        keys = jax.random.split(key, len(self.spaces))
        return {name: space.sample(own) for own, (name, space) in zip(keys, self.spaces.items(), strict=True)}

    def contains(self, x: Mapping[str, Any]) -> jax.Array:
        """Whether `x` has an element of each space."""
        return jnp.all(jnp.stack([space.contains(x[name]) for name, space in self.spaces.items()]))


Space = Discrete | MultiDiscrete | Box | Dict


class Environment:
    """`spec` as `rbcc.compile` takes it, with its `overrides`; agents and their actions as in `rbcc.adapters.agents`.

    What an agent sees are numbers without bounds, (numbers,). Rewards are those of the spec, unscaled; `infos` have by
    how much each constraint is violated, (agents,), 0 for those that it is not of. The state is that of `rbcc.Model`.
    Raises CompileError for a bad spec, RunError if types choose one after another.
    """

    def __init__(self, spec: Spec, overrides: Mapping[str, object] | None = None):
        self.economy = Agents(spec, overrides)
        self.model = self.economy.model
        self.agents = list(self.economy.names)
        self.num_agents = len(self.agents)
        types = self.economy.types.items()
        self.action_spaces: dict[str, Space] = {name: _space(self.economy.parts[agent]) for name, agent in types}
        self.observation_spaces = {name: Box(-jnp.inf, jnp.inf, (self.economy.seen[agent],)) for name, agent in types}
        self.agent_classes = self.economy.members

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.model.ir.name

    def observation_space(self, agent: str) -> Box:
        """What `agent` sees."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space:
        """What `agent` can do: `Discrete` or `MultiDiscrete` for choices, `Box` for numbers, `Dict` for both."""
        return self.action_spaces[agent]

    def reset(self, key: jax.Array) -> tuple[dict[str, jax.Array], State]:
        """What each agent sees, and the state, at the start of an episode."""
        state = self.model.reset(key)
        return self.get_obs(state), state

    def step(
        self, key: jax.Array, state: State, actions: Mapping[str, Any], reset_state: State | None = None
    ) -> tuple[dict[str, jax.Array], State, dict[str, jax.Array], dict[str, jax.Array], dict[str, jax.Array]]:
        """As `step_env`; after the last step of an episode state and observations are those of a new one, which starts
        in `reset_state` if that is given."""
        playing, starting = jax.random.split(key)
        seen, following, rewards, dones, infos = self.step_env(playing, state, actions)
        new = self.reset(starting) if reset_state is None else (self.get_obs(reset_state), reset_state)
        seen, following = jax.tree.map(lambda a, b: jnp.where(dones["__all__"], a, b), new, (seen, following))
        return seen, following, rewards, dones, infos

    def step_env(
        self, key: jax.Array, state: State, actions: Mapping[str, Any]
    ) -> tuple[dict[str, jax.Array], State, dict[str, jax.Array], dict[str, jax.Array], dict[str, jax.Array]]:
        """Observations, state, rewards, whether the episode is over (also by `__all__`) and infos, after all acted."""
        following, outcome = self.model.step(state, self.economy.actions(state, actions), key)
        rewards = self.economy.each(outcome.rewards)
        dones = dict.fromkeys([*self.agents, "__all__"], outcome.done)
        infos = {path: self._violated(path, amounts) for path, amounts in outcome.violations.items()}
        return self.get_obs(following), following, rewards, dones, infos

    def _violated(self, path: str, amounts: jax.Array) -> jax.Array:
        """Of a constraint by `type.constraint`, (agents,)."""
        owner = path.partition(".")[0]
        return jnp.concatenate(
            [
                jnp.ravel(amounts) if agent == owner else jnp.zeros(len(names))
                for agent, names in self.economy.members.items()
            ]
        )

    def get_obs(self, state: State) -> dict[str, jax.Array]:
        """What each agent sees in a state."""
        return self.economy.each(self.model.observe(state))

    def get_avail_actions(self, state: State) -> dict[str, jax.Array]:
        """Which choices each agent has in a state, (choices,), of those with a single list."""
        masks = self.economy.masks(state)
        single = [name for name, space in self.action_spaces.items() if isinstance(space, Discrete)]
        return {name: masks[name][0].astype(jnp.uint8) for name in single}


def _space(part: Part) -> Space:
    choices = Discrete(part.choices[0]) if len(part.choices) == 1 else MultiDiscrete(part.choices)
    numbers = Box(0.0, 1.0, (part.numbers,))
    if part.choices and part.numbers:
        return Dict({CHOICES: choices, NUMBERS: numbers})
    return choices if part.choices else numbers

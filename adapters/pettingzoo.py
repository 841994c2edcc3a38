"""An economy as a parallel environment of PettingZoo.

from rbcc.adapters.pettingzoo import Environment

environment = Environment("open_rbc_small")
seen, _ = environment.reset(seed=0)
actions = {name: environment.action_space(name).sample() for name in environment.agents}
seen, rewards, terminations, truncations, infos = environment.step(actions)
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from rbcc.adapters.agents import CHOICES, NUMBERS, Agents, Part
from rbcc.runtime.economy.model import Actions, Outcome, State
from rbcc.runtime.errors import RunError
from rbcc.runtime.results.opened import Spec


try:
    from gymnasium import spaces
    from pettingzoo import ParallelEnv
except ImportError as error:
    raise ImportError('this environment needs PettingZoo: python3 -m pip install "rbcc[pettingzoo]"') from error


MASK = "action_mask"
"""Where infos have which choices are allowed."""


class Environment(ParallelEnv):  # pyright: ignore[reportMissingTypeArgument, reportUntypedBaseClass]
    """`spec` as `rbcc.compile` takes it, with its `overrides`; agents and their actions as in `rbcc.adapters.agents`.

    What an agent sees are numbers without bounds, (numbers,). Rewards are those of the spec, unscaled; `infos` have by
    how much each of an agent's constraints is violated, and where its choices depend on the state an `action_mask` as
    `action_space(agent).sample` takes it, of choices alone where the agent gives numbers too. An episode ends after the
    horizon: a continuing economy is truncated, another terminates. Raises CompileError for a bad spec, RunError if
    types choose one after another.
    """

    metadata = {"name": "rbcc", "render_modes": [], "is_parallelizable": True}  # noqa: RUF012
    render_mode = None

    def __init__(self, spec: Spec, overrides: Mapping[str, object] | None = None):
        self.economy = Agents(spec, overrides)
        self.model = self.economy.model
        self.possible_agents = list(self.economy.names)
        self.agents: list[str] = []
        self.current: State | None = None
        self._masks: dict[str, dict[str, Any]] = {}
        self._key = jax.random.key(int(np.random.SeedSequence().generate_state(1)[0]))
        self._actions = {name: _space(self.economy.parts[agent]) for name, agent in self.economy.types.items()}
        self._observations = {
            name: spaces.Box(-np.inf, np.inf, (self.economy.seen[agent],), np.float32)
            for name, agent in self.economy.types.items()
        }
        self._start, self._advance = jax.jit(self._started), jax.jit(self._stepped)

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """What `agent` can see."""
        return self._observations[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """What `agent` can do: `Discrete` or `MultiDiscrete` for choices, `Box` for numbers, `Dict` for both."""
        return self._actions[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """What all see at the start of an episode, and infos; without a `seed` the random numbers go on."""
        del options
        if seed is not None:
            self._key = jax.random.key(seed)
        self._key, key = jax.random.split(self._key)
        self.agents = list(self.possible_agents)
        self.current, seen, masks = self._start(key)
        self._masks = self._allowed(masks)
        return self._seen(seen), {name: dict(self._masks.get(name, {})) for name in self.agents}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Observations, rewards, terminations, truncations and infos of each agent after all have acted.

        Raises RunError before `reset` or if an action is missing, ValueError if one is not in its space or not allowed.
        """
        if self.current is None or not self.agents:
            raise RunError("the episode is over, or has not begun; call reset first")
        if missing := [name for name in self.agents if name not in actions]:
            raise RunError(f"all agents act at the same time, but {missing[0]} has no action")
        for name in self.agents:
            if not self._actions[name].contains(actions[name]):
                raise ValueError(f"the action of {name} is {actions[name]}, not in {self._actions[name]}")
            self._check(name, actions[name])
        self._key, key = jax.random.split(self._key)
        given = {name: actions[name] for name in self.agents}
        self.current, outcome, seen, masks = self._advance(self.current, given, key)
        outcome, self._masks = jax.device_get(outcome), self._allowed(masks)
        names, over, goes_on = self.agents, bool(outcome.done), self.model.ir.continuing
        rewards = {name: float(x) for name, x in self.economy.each(outcome.rewards).items()}
        infos = {
            name: {constraint: float(x) for constraint, x in own.items()} | self._masks.get(name, {})
            for name, own in self.economy.violations(outcome).items()
        }
        self.agents = [] if over else names
        ended, cut = dict.fromkeys(names, over and not goes_on), dict.fromkeys(names, over and goes_on)
        return self._seen(seen), rewards, ended, cut, infos

    def render(self) -> None:
        """Nothing: economies have no picture of a step."""

    def close(self) -> None:
        """Nothing is open."""

    def _seen(self, seen: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.asarray(x, np.float32) for name, x in self.economy.each(jax.device_get(seen)).items()}

    def _allowed(self, masks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The masks of agents who have some, each as an entry of infos."""
        found = {name: [np.asarray(own, np.int8) for own in each] for name, each in jax.device_get(masks).items()}
        return {name: {MASK: own[0] if len(own) == 1 else tuple(own)} for name, own in found.items()}

    def _check(self, name: str, action: Any) -> None:
        """Raises ValueError if a choice of the agent is not allowed."""
        if name not in self._masks:
            return
        mask = self._masks[name][MASK]
        own = np.ravel(action[CHOICES] if isinstance(action, dict) else action)
        if any(not each[choice] for each, choice in zip(mask if isinstance(mask, tuple) else [mask], own, strict=True)):
            raise ValueError(f"the action of {name} is {action}, which is not allowed now; see its {MASK} in infos")

    def _restricted(self, state: State) -> dict[str, list[jax.Array]]:
        """The masks of agents whose choices depend on the state."""
        own = {space.agent for space in self.model.spaces.values() if space.restricted}
        masks = self.economy.masks(state) if own else {}
        return {name: each for name, each in masks.items() if self.economy.types[name] in own}

    def _started(self, key: jax.Array) -> tuple[State, Any, Any]:
        state = self.model.reset(key)
        return state, self.model.observe(state), self._restricted(state)

    def _stepped(self, state: State, given: Mapping[str, Any], key: jax.Array) -> tuple[State, Outcome, Any, Any]:
        actions: Actions = self.economy.actions(state, given)
        following, outcome = self.model.step(state, actions, key)
        return following, outcome, self.model.observe(following), self._restricted(following)


def _space(part: Part) -> spaces.Space[Any]:
    choices = spaces.Discrete(part.choices[0]) if len(part.choices) == 1 else spaces.MultiDiscrete(list(part.choices))
    numbers = spaces.Box(0.0, 1.0, (part.numbers,), np.float32)
    if part.choices and part.numbers:
        return spaces.Dict({CHOICES: choices, NUMBERS: numbers})
    return choices if part.choices else numbers

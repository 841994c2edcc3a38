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


class Environment(ParallelEnv):  # pyright: ignore[reportMissingTypeArgument, reportUntypedBaseClass]
    """`spec` as `rbcc.compile` takes it, with its `overrides`; agents and their actions as in `rbcc.adapters.agents`.

    What an agent sees are numbers without bounds, (numbers,). Rewards are those of the spec, unscaled; `infos` have by
    how much each of an agent's constraints is violated. An episode ends after the horizon: a continuing economy is
    truncated, another terminates. Raises CompileError for a bad spec, RunError if types choose one after another.
    """

    metadata = {"name": "rbcc", "render_modes": [], "is_parallelizable": True}  # noqa: RUF012
    render_mode = None

    def __init__(self, spec: Spec, overrides: Mapping[str, object] | None = None):
        self.economy = Agents(spec, overrides)
        self.model = self.economy.model
        self.possible_agents = list(self.economy.names)
        self.agents: list[str] = []
        self.current: State | None = None
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
        """What all see at the start of an episode, and empty infos; without a `seed` the random numbers go on."""
        del options
        if seed is not None:
            self._key = jax.random.key(seed)
        self._key, key = jax.random.split(self._key)
        self.agents = list(self.possible_agents)
        self.current, seen = self._start(key)
        return self._seen(seen), {name: {} for name in self.agents}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Observations, rewards, terminations, truncations and infos of each agent after all have acted.

        Raises RunError before `reset` or if an action is missing, ValueError if one is not in its space.
        """
        if self.current is None or not self.agents:
            raise RunError("the episode is over, or has not begun; call reset first")
        if missing := [name for name in self.agents if name not in actions]:
            raise RunError(f"all agents act at the same time, but {missing[0]} has no action")
        for name in self.agents:
            if not self._actions[name].contains(actions[name]):
                raise ValueError(f"the action of {name} is {actions[name]}, not in {self._actions[name]}")
        self._key, key = jax.random.split(self._key)
        self.current, outcome, seen = self._advance(self.current, {name: actions[name] for name in self.agents}, key)
        outcome = jax.device_get(outcome)
        names, over, goes_on = self.agents, bool(outcome.done), self.model.ir.continuing
        rewards = {name: float(x) for name, x in self.economy.each(outcome.rewards).items()}
        infos = {
            name: {constraint: float(x) for constraint, x in own.items()}
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

    def _started(self, key: jax.Array) -> tuple[State, Any]:
        state = self.model.reset(key)
        return state, self.model.observe(state)

    def _stepped(self, state: State, given: Mapping[str, Any], key: jax.Array) -> tuple[State, Outcome, Any]:
        actions: Actions = self.economy.actions(state, given)
        following, outcome = self.model.step(state, actions, key)
        return following, outcome, self.model.observe(following)


def _space(part: Part) -> spaces.Space[Any]:
    choices = spaces.Discrete(part.choices[0]) if len(part.choices) == 1 else spaces.MultiDiscrete(list(part.choices))
    numbers = spaces.Box(0.0, 1.0, (part.numbers,), np.float32)
    if part.choices and part.numbers:
        return spaces.Dict({CHOICES: choices, NUMBERS: numbers})
    return choices if part.choices else numbers

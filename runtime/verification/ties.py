"""Ties: choices that are worth the same to who makes them, and not to others.

What training leaves there is chance, and others live by it. One agent, in each economy another one, makes a fixed
choice of one action in one step; all else is as trained, on the same episodes as without. If no choice changes the
agent's own payoff by more than rounding, in any episode, it is a tie. A few episodes tell most of what is none; what
remains is played in many.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.runtime.actions.spaces import ActionSpace
from rbcc.runtime.parallel.devices import ALL, BY_ECONOMY
from rbcc.runtime.policies.policy import Parameters
from rbcc.runtime.rollout.rollout import Player, keys_of
from rbcc.runtime.verification.best_response.learned import Arena
from rbcc.runtime.verification.perturbations import holding
from rbcc.runtime.verification.statistics import changes


FEW, MANY = 16, 256
"""Episodes in which a choice in a step is made, at first and where it may be a tie."""
TRIALS = 1600
"""A type with more choices, over all actions and steps, is not asked."""
EPISODES = 300 * 256
"""At most so many episodes are played for what may be ties."""
NOTICED = 0.001
"""Changes of others' payoffs above this share of their scale are told."""


@dataclass(frozen=True)
class Effect:
    """By how much a choice changes the mean payoff of another type, or of the others of the same one, as a share of the
    scale."""

    choice: str
    other: str
    share: float


@dataclass(frozen=True)
class Tie:
    """An action of a type in a step that is worth the same to its agents whatever they choose; for each type to which
    it matters, that choice which does most."""

    action: str
    step: int
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Ties:
    """The ties that were found. `unasked` are types and actions that were not asked, with the reason; `left` counts
    actions in a step that may be ties, and are too many to be played more often."""

    found: tuple[Tie, ...]
    unasked: dict[str, str]
    left: int


@dataclass(frozen=True)
class _Trial:
    """A choice of an action, the same for all members that it is repeated over, in a step."""

    space: ActionSpace
    step: int
    choice: int


class Search:
    """The search for ties in an `arena`, on the batches of `key`, in which all as trained get `base`, (episodes,
    agents) by type."""

    def __init__(
        self, arena: Arena, networks: Mapping[str, Parameters], key: jax.Array, base: Mapping[str, np.ndarray]
    ):
        self.arena, self.base = arena, base
        self.batches = len(next(iter(base.values()))) // arena.economies
        self.spaces = {
            action.name: action
            for policy in arena.policies.values()
            for head in policy.heads
            for action in head.actions
            if not action.continuous
        }
        cut = BY_ECONOMY
        program = arena.placement.program(self._batch, (ALL, ALL, ALL, cut, cut, cut), cut)
        self.run = lambda *rest: program(networks, key, *rest)

    def ties(self, scales: Mapping[str, float]) -> Ties:
        unasked = {agent: reason for agent in self.arena.policies if (reason := self.reason(agent))}
        steps = range(self.arena.model.ir.horizon)
        asked = [(space, step) for space in self.spaces.values() if space.agent not in unasked for step in steps]
        likely = [(trials[0].space, trials[0].step) for trials, effects in self.tried(asked, FEW) if effects]
        most = int(np.searchsorted(np.cumsum([MANY * len(space.values) for space, _ in likely]), EPISODES, "right"))
        found = []
        for trials, effects in self.tried(likely[:most], MANY):
            shares = [
                Effect(trials[0].space.words(number), other, float(change[number]) / scales[other])
                for other, change in effects.items()
                for number in [int(np.abs(change).argmax())]
                if scales[other] and NOTICED * scales[other] < abs(change[number]) < np.inf
            ]
            if shares:
                found.append(Tie(trials[0].space.name, trials[0].step, tuple(shares)))
        continuous = {
            name: "chosen from no finite set" for name, own in self.arena.model.spaces.items() if own.continuous
        }
        return Ties(tuple(found), unasked | continuous, len(likely) - most)

    def reason(self, agent: str) -> str:
        """Why a type is not asked, nothing if it is."""
        ir = self.arena.model.ir
        trials = ir.horizon * sum(len(space.values) for space in self.spaces.values() if space.agent == agent)
        if ir.agent(agent).given:
            return "takes values as given"
        return f"{trials:,} choices in all steps" if trials > TRIALS else ""

    def tried(
        self, asked: Sequence[tuple[ActionSpace, int]], episodes: int
    ) -> Iterator[tuple[list[_Trial], dict[str, np.ndarray]]]:
        """For each action and step all choices, and the changes of others' mean payoffs, (choices,), by type; none
        unless the choice is a tie, and matters."""
        trials = [_Trial(space, step, k) for space, step in asked for k in range(len(space.values))]
        if not trials:
            return
        own, others = self.played(trials, episodes)
        start = 0
        for space, _ in asked:
            part = slice(start, start := start + len(space.values))
            effects = {} if own[part].any() else {other: x[part] for other, x in others.items() if x[part].any()}
            yield trials[part], effects

    def played(self, trials: Sequence[_Trial], episodes: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Whether the agent's own payoff changes in each trial, and by how much those of all others do, by type."""
        size, policies = self.arena.economies, self.arena.policies
        slots = np.arange(-(-len(trials) * episodes // size) * size)
        numbers = np.minimum(slots // episodes, len(trials) - 1)
        rows = slots % (self.batches * size)
        own = np.zeros(len(slots))
        others = {agent: np.zeros(len(slots)) for agent in policies}
        for first in range(0, len(slots), size):
            here = slots[first : first + size]
            chosen = [trials[number] for number in numbers[here]]
            counts = np.array([policies[trial.space.agent].agents for trial in chosen])
            members = here % counts
            choices = {
                name: np.array([trial.choice if trial.space is space else -1 for trial in chosen], np.float32)
                for name, space in self.spaces.items()
            }
            steps = np.array([trial.step for trial in chosen])
            batch = jnp.int32(first // size % self.batches)
            payoffs = jax.device_get(
                self.run(batch, jnp.asarray(members), jnp.asarray(steps), jax.tree.map(jnp.asarray, choices))
            )
            for agent in policies:
                change = changes(payoffs[agent].astype(float), self.base[agent][rows[here]].astype(float))
                mine = np.array([trial.space.agent == agent for trial in chosen])
                at = np.flatnonzero(mine), members[mine]
                own[here[mine]] = change[at]
                change[at] = 0
                others[agent][here] = change.sum(axis=1) / np.maximum(change.shape[1] - mine, 1)
        count = np.bincount(numbers)
        changed = np.bincount(numbers, own != 0) > 0
        return changed, {agent: np.bincount(numbers, x) / count for agent, x in others.items()}

    def _batch(
        self,
        networks: Mapping[str, Parameters],
        key: jax.Array,
        number: jax.Array,
        members: jax.Array,
        steps: jax.Array,
        choices: Mapping[str, jax.Array],
    ) -> dict[str, jax.Array]:
        arena = self.arena
        playing, _ = keys_of(key, number)
        base = arena.players(networks)

        def players(step: jax.Array) -> dict[str, Player]:
            now = {name: jnp.where(steps == step, choice, -1)[:, None] for name, choice in choices.items()}
            found = {}
            for agent, policy in arena.policies.items():
                who = members[:, None] == jnp.arange(policy.agents)
                found[agent] = holding(policy, base[agent], now, who)
            return found

        return arena.payoffs(arena.play(players, playing))

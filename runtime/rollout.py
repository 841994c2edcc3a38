"""Playing episodes of many economies at once, on the device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from rbcc.runtime.model import Model
from rbcc.runtime.policy import Masks, Parameters, Policy, distributions, log_probability, sample
from rbcc.runtime.spaces import decode


Observation = tuple[jax.Array, jax.Array]
"""What a type sees: shared features (n, economies) and own features (m, economies, agents)."""

Play = Callable[[Observation, jax.Array], tuple[tuple[jax.Array, ...], Any]]
"""(observation, uniform numbers (draws, economies, agents)) -> (choice per head, what to record)."""


Watch = Callable[[dict[str, jax.Array], dict[str, jax.Array], dict[str, Any]], Any]
"""(state, actions, result of the step), all of one economy and in the layout of the generated module -> what to keep."""


@dataclass(frozen=True)
class Player:
    """Chooses for all agents of a type, from `draws` uniform numbers per agent and step."""

    draws: int
    play: Play


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trajectory:
    """Episodes of `economies`, time first.

    `records` per type as its player made them; `rewards` per type, (horizon, economies, agents), unscaled and without
    penalties; `violations` by `type.constraint`, of the same shape; `indicators`, (horizon,), means over economies;
    `watched` what `watch` made of each economy's step, (horizon, economies, ...).
    """

    records: dict[str, Any]
    rewards: dict[str, jax.Array]
    violations: dict[str, jax.Array]
    indicators: dict[str, jax.Array]
    watched: Any = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Record:
    """What a learner keeps of each step; arrays get a leading time axis in a trajectory."""

    shared: jax.Array
    own: jax.Array
    indices: tuple[jax.Array, ...]
    log_probability: jax.Array
    value: jax.Array

    def of(self, members: jax.Array) -> "Record":
        """The record of some agents only, (economies, k)."""
        return Record(
            self.shared,
            of_members(self.own, members),
            tuple(of_members(index, members) for index in self.indices),
            of_members(self.log_probability, members),
            of_members(self.value, members),
        )


def of_members(x: jax.Array, members: jax.Array) -> jax.Array:
    """The entries of `members` (economies, k) in an array that ends in (economies, agents)."""
    return jnp.take_along_axis(x, jnp.broadcast_to(members, (*x.shape[:-1], members.shape[1])), axis=-1)


def sampling(policy: Policy, parameters: Parameters, masks: Masks) -> Player:
    """A player that samples from its policy and records what a learner needs."""

    def play(observation: Observation, uniform: jax.Array) -> tuple[tuple[jax.Array, ...], Record]:
        logits, value = policy(parameters, *observation)
        found = distributions(logits, masks)
        indices = sample(found, uniform)
        chance = jnp.broadcast_to(log_probability(found, indices), value.shape)
        return indices, Record(*observation, indices, chance, value)

    return Player(policy.draws, play)


def free_masks(policy: Policy) -> Masks:
    """Masks that forbid nothing."""
    return tuple(jnp.ones((head.choices,), bool) for head in policy.heads)


def observe(model: Model, state: Mapping[str, jax.Array], parameters: Mapping[str, Any]) -> dict[str, Observation]:
    """Observations of all types in all economies; a type without an index counts as one agent."""
    seen = jax.vmap(lambda s: model.module.observe(s, parameters), out_axes=1)(state)
    return {
        agent: (parts["shared"], parts["own"] if parts["own"].ndim == 3 else parts["own"][..., None])
        for agent, parts in seen.items()
    }


def rollout(
    model: Model,
    policies: Mapping[str, Policy],
    players: Mapping[str, Player],
    key: jax.Array,
    economies: int,
    parameters: Mapping[str, Any],
    watch: Watch | None = None,
) -> Trajectory:
    """One episode of `economies` copies of the model.

    Random numbers depend on `key`, the step, the type and the place of an agent only, not on what is chosen: rollouts
    with the same key and other players are paired.
    """
    start, key = jax.random.split(key)
    state = jax.vmap(lambda k: model.module.reset(k, parameters))(jax.random.split(start, economies))

    def advance(state: dict[str, jax.Array], step: jax.Array) -> tuple[dict[str, jax.Array], Trajectory]:
        now = jax.random.fold_in(key, step)
        shocks, *noise = jax.random.split(now, 1 + len(policies))
        observations = observe(model, state, parameters)
        actions: dict[str, jax.Array] = {}
        records = {}
        for source, (agent, policy) in zip(noise, policies.items(), strict=True):
            uniform = jax.random.uniform(source, (players[agent].draws, economies, policy.agents))
            indices, records[agent] = players[agent].play(observations[agent], uniform)
            actions |= decode(agent, policy.heads, indices, model.spaces, economies)
        following, result = jax.vmap(lambda s, a, k: model.module.step(s, a, k, parameters))(
            state, actions, jax.random.split(shocks, economies)
        )
        rewards = {agent: result["rewards"][agent].reshape(economies, -1) for agent in policies}
        violations = {name: v.reshape(economies, -1) for name, v in result["violations"].items()}
        indicators = {name: jnp.mean(v) for name, v in result["indicators"].items()}
        watched = jax.vmap(watch)(state, actions, result) if watch else None
        return following, Trajectory(records, rewards, violations, indicators, watched)

    _, trajectory = jax.lax.scan(advance, state, jnp.arange(model.ir.horizon))
    return trajectory


def penalised(trajectory: Trajectory, agent: str, multipliers: Mapping[str, jax.Array]) -> jax.Array:
    """A type's rewards less its penalties, (horizon, economies, agents): the payoff it plays for."""
    rewards = trajectory.rewards[agent]
    for name, violation in trajectory.violations.items():
        if name.partition(".")[0] == agent:
            rewards = rewards - multipliers[name] * violation
    return rewards

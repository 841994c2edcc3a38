"""Playing episodes of many economies at once, on the device."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.runtime.actions.spaces import decode
from rbcc.runtime.economy.model import Model
from rbcc.runtime.policies.policy import (
    FEW,
    Indices,
    Masks,
    Parameters,
    Policy,
    Sight,
    choose_all,
    of_members,
    sharpened,
)
from rbcc.runtime.rollout.microbatch import in_blocks


Play = Callable[[Sight, jax.Array], tuple[Indices, Any]]
"""(what is seen, uniform numbers (draws, economies, agents)) -> (choices per stack, what to record)."""


Watch = Callable[[dict[str, jax.Array], dict[str, jax.Array], dict[str, jax.Array], dict[str, Any]], Any]
"""(state, actions, next state, result of the step), of one economy, in the layout of the generated module -> what to
keep."""


@dataclass(frozen=True)
class Player:
    """Chooses for all agents of a type, from `draws` uniform numbers per agent and step."""

    draws: int
    play: Play


Players = Mapping[str, Player] | Callable[[jax.Array], Mapping[str, Player]]
"""A player for each type, the same in all steps or by the number of the step."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trajectory:
    """Episodes of many economies, time first.

    `records` per type as its player made them; `rewards` per type, (horizon, economies, agents), unscaled and without
    penalties; `violations` by `type.constraint`, of the same shape; `indicators`, (horizon, indicators), means over
    economies, in the order of the spec; `watched` what `watch` made of each economy's step, (horizon, economies, ...).
    `last` is what all see when an episode of an economy that goes on is cut; `held` the values that some agents take as
    given, (horizon, economies, ...), in the layout of the generated module.
    """

    records: dict[str, Any]
    rewards: dict[str, jax.Array]
    violations: dict[str, jax.Array]
    indicators: jax.Array
    watched: Any = None
    last: dict[str, Sight] | None = None
    held: dict[str, jax.Array] = field(default_factory=dict)

    def taken_as_given(self, model: Model, agent: str) -> dict[str, jax.Array]:
        """The values that agents of a type take as given: those that a deviation of one of them leaves as they are."""
        return {name: self.held[name] for name in model.ir.agent(agent).given}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Record:
    """What a learner keeps of each step; arrays get a leading time axis in a trajectory.

    Who is recorded is the same in every step, and not kept.
    """

    shared: jax.Array
    own: jax.Array
    indices: Indices
    log_probability: jax.Array
    value: jax.Array
    allowed: dict[str, jax.Array]

    def of(self, members: jax.Array, sight: Sight) -> "Record":
        """The record of some agents only, (economies, k), of a step in which all saw `sight`."""
        seen = sight.of(members)
        return Record(
            self.shared,
            seen.own,
            tuple(of_members(index, members) for index in self.indices),
            of_members(self.log_probability, members),
            of_members(self.value, members),
            seen.allowed,
        )


def sampling(policy: Policy, parameters: Parameters, masks: Masks, members: jax.Array | None = None) -> Player:
    """A player that samples from its policy and records what a learner needs, of all agents or of `members`."""

    def act(sight: Sight, uniform: jax.Array) -> tuple[Indices, jax.Array, jax.Array]:
        economies, agents = sight.plane
        flipped = 1 < agents < min(FEW, economies)
        if flipped:
            sight, uniform = sight.flip(), jnp.swapaxes(uniform, -1, -2)
        logits, value = policy(parameters, sight)
        own = policy.within(masks, sight)
        logits = sharpened(logits, own, parameters, policy.stacks)
        indices, chance = choose_all(logits, own, uniform, policy.stacks)
        made = indices, chance, value
        return jax.tree.map(lambda x: jnp.swapaxes(x, -1, -2), made) if flipped else made

    def play(sight: Sight, uniform: jax.Array) -> tuple[Indices, Record]:
        indices, chance, value = in_blocks(act, sight, uniform, policy)
        record = Record(sight.shared, sight.own, indices, chance, value, sight.allowed)
        return indices, record if members is None else record.of(members, sight)

    return Player(policy.draws, play)


def individual(
    policy: Policy,
    base: Player,
    network: Parameters,
    members: jax.Array,
    masks: Masks,
    economies: np.ndarray | None = None,
) -> Player:
    """All agents follow `base`, except `members` (economies, k), who follow `network` and are recorded.

    They do so in the economies at the places `economies`, by default in all.
    """
    places = np.arange(len(members)) if economies is None else economies

    def act(seen: Sight, uniform: jax.Array) -> tuple[Indices, jax.Array, jax.Array]:
        logits, value = policy(network, seen)
        own = policy.within(masks, seen)
        logits = sharpened(logits, own, network, policy.stacks)
        return *choose_all(logits, own, uniform, policy.stacks), value

    def play(sight: Sight, uniform: jax.Array) -> tuple[Indices, Record]:
        indices, _ = base.play(sight, uniform)
        own = uniform[: policy.draws] if economies is None else uniform[: policy.draws, economies]
        seen = sight.of(members, economies)
        chosen, chance, value = in_blocks(act, seen, of_members(own, members), policy)
        merged = [index.at[:, places[:, None], members].set(new) for index, new in zip(indices, chosen, strict=True)]
        return tuple(merged), Record(seen.shared, seen.own, chosen, chance, value, seen.allowed)

    return Player(base.draws, play)


def keys_of(key: jax.Array, number: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The keys of batch `number`: for `rollout`, and for drawing who is recorded. With the same they are paired."""
    playing, choosing = jax.random.split(jax.random.fold_in(key, number))
    return playing, choosing


def fixed_features(model: Model, parameters: Mapping[str, Any]) -> dict[str, jax.Array]:
    """For each type the features of its agents that never change, (f, agents)."""
    state = model.module.reset(jax.random.key(0), parameters)
    nothing = {
        name: jnp.zeros([space.shape[k] for k in space.stored], int if space.of else float)
        for name, space in model.spaces.items()
    }
    seen = [model.observed(state, nothing, parameters, stage) for stage in range(model.ir.stages)]
    found = {agent: parts["fixed"] for part in seen for agent, parts in part.items()}
    return {agent: x if x.ndim == 2 else x[:, None] for agent, x in found.items()}


def observe(
    model: Model,
    state: Mapping[str, jax.Array],
    actions: Mapping[str, jax.Array],
    parameters: Mapping[str, Any],
    fixed: Mapping[str, jax.Array],
    stage: int,
    held: Mapping[str, jax.Array],
) -> dict[str, Sight]:
    """What the types of one stage see in all economies, after the `actions` of those before them.

    A type without an index counts as one agent.
    """

    def changing(
        state: Mapping[str, jax.Array], actions: Mapping[str, jax.Array], held: Mapping[str, jax.Array]
    ) -> dict[str, tuple[jax.Array, jax.Array]]:
        seen = model.observed(state, actions, parameters, stage, held)
        return {agent: (parts["shared"], parts["own"]) for agent, parts in seen.items()}

    choices = allowed(model, state, actions, parameters, stage, held)
    return {
        agent: Sight(
            shared,
            own if own.ndim == 3 else own[..., None],
            fixed[agent],
            jnp.arange(fixed[agent].shape[-1]),
            {name: own for name, own in choices.items() if model.spaces[name].agent == agent},
        )
        for agent, (shared, own) in jax.vmap(changing, out_axes=1)(state, actions, held).items()
    }


def allowed(
    model: Model,
    state: Mapping[str, jax.Array],
    actions: Mapping[str, jax.Array],
    parameters: Mapping[str, Any],
    stage: int,
    held: Mapping[str, jax.Array],
) -> dict[str, jax.Array]:
    """Which choices there are in all economies, of the actions of one stage that have a condition: (repeats, choices,
    economies, agents)."""

    of_each = jax.vmap(lambda s, a, h: model.allowed(s, a, parameters, stage, h))
    found = {}
    for name, own in of_each(state, actions, held).items():
        space = model.spaces[name]
        # (economies, choices, what is stored) -> (economies, choices, agents, repeats), also where there is one of them
        own = jnp.transpose(own, (0, 1, *(2 + space.stored.index(k) for k in range(len(space.shape)))))
        own = own.reshape(*own.shape[:2], space.agents or 1, space.repeats or 1)
        found[name] = jnp.transpose(own, (3, 1, 0, 2))
    return found


def rollout(
    model: Model,
    policies: Mapping[str, Policy],
    players: Players,
    key: jax.Array,
    economies: jax.Array,
    parameters: Mapping[str, Any],
    watch: Watch | None = None,
    steps: int | None = None,
    changes: Mapping[str, tuple[int, float]] = MappingProxyType({}),
    held: Mapping[str, jax.Array] = MappingProxyType({}),
) -> Trajectory:
    """One episode of copies of the model, of those with the numbers `economies`.

    Of `steps`, by default as many as the model's horizon. `changes` are of states: at which step, and what is added.
    Values in `held`, (horizon, economies, ...), are not computed but taken from there: as those of another trajectory.

    Random numbers depend on `key`, the step, the type, the number of the economy and the place of an agent only, not on
    what is chosen: rollouts with the same key and other players are paired, and economies can be played apart.
    """
    count, horizon = economies.shape[0], steps or model.ir.horizon
    each = jax.vmap(jax.random.fold_in, (None, 0))
    keys = jax.vmap(each, (0, None))(each(key, jnp.arange(horizon * (1 + len(policies)) + 1)), economies)
    sources, start = keys[:-1].reshape(horizon, 1 + len(policies), count), keys[-1]
    state = jax.vmap(lambda k: model.module.reset(k, parameters))(start)
    fixed = fixed_features(model, parameters)

    def choose(
        number: jax.Array | int, state: dict[str, jax.Array], noise: Iterable[jax.Array], held: Mapping[str, jax.Array]
    ) -> Any:
        """What all see, what they do, and what their players record of it."""
        own = dict(zip(policies, noise, strict=True))
        playing = players(jnp.asarray(number)) if callable(players) else players
        sights: dict[str, Sight] = {}
        actions: dict[str, jax.Array] = {}
        records = {}
        for stage in range(model.ir.stages):
            sights |= observe(model, state, actions, parameters, fixed, stage, held)
            bounds = jax.vmap(lambda s, a, h: model.bounds(s, a, parameters, stage, h))(state, actions, held)  # noqa: B023
            for agent in (agent for agent in policies if model.ir.agent(agent).stage == stage):
                uniform = uniforms(own[agent], playing[agent].draws, policies[agent].agents)
                indices, records[agent] = playing[agent].play(sights[agent], uniform)
                actions = actions | decode(agent, policies[agent].stacks, indices, model.spaces, bounds, count)
        return sights, actions, records

    def advance(state: dict[str, jax.Array], numbered: Any) -> tuple[dict[str, jax.Array], Trajectory]:
        number, (shocks, *noise), taken = numbered
        for name, (step, change) in changes.items():
            state = {**state, name: state[name] + jnp.where(number == step, change, 0.0)}
        _, actions, records = choose(number, state, noise, taken)
        step = jax.vmap(lambda s, a, k, h: model.module.step(s, a, k, parameters, *model.holding(h)))
        following, result = step(state, actions, shocks, taken)
        rewards = {agent: result["rewards"][agent].reshape(count, -1) for agent in policies}
        violations = {name: v.reshape(count, -1) for name, v in result["violations"].items()}
        indicators = jnp.array([jnp.mean(result["indicators"][one.name]) for one in model.ir.indicators])
        watched = jax.vmap(watch)(state, actions, following, result) if watch else None
        values = {name: result["values"][name] for name in model.ir.held}
        return following, Trajectory(records, rewards, violations, indicators, watched, held=values)

    state, trajectory = jax.lax.scan(advance, state, (jnp.arange(horizon), sources, dict(held)))
    if not model.ir.continuing:
        return trajectory
    # Those who choose after others see choices of the step that will not be played; its random numbers are the first's.
    last, _, _ = choose(horizon - 1, state, sources[0][1:], {})
    return replace(trajectory, last=last)


def uniforms(keys: jax.Array, draws: int, agents: int) -> jax.Array:
    """Uniform numbers from a key for each economy, (draws, economies, agents)."""
    return jax.vmap(lambda key: jax.random.uniform(key, (draws, agents)), out_axes=1)(keys)


def drawn(keys: jax.Array, agents: int, count: int) -> jax.Array:
    """`count` different of `agents` agents in each economy, all equally often, (economies, count).

    One agent is drawn from each of `count` equal parts of a circle of all, turned at random.
    """
    bounds = np.arange(count + 1) * agents // count

    def of(key: jax.Array) -> jax.Array:
        turn, place = jax.random.split(key)
        within = jnp.floor(jax.random.uniform(place, (count,)) * np.diff(bounds)).astype(int)
        within = jnp.minimum(within, np.diff(bounds) - 1)
        return (within + bounds[:-1] + jax.random.randint(turn, (), 0, agents)) % agents

    return jax.vmap(of)(keys)


def penalised(trajectory: Trajectory, agent: str, multipliers: Mapping[str, jax.Array]) -> jax.Array:
    """A type's rewards less its penalties, (horizon, economies, agents): the payoff it plays for."""
    rewards = trajectory.rewards[agent]
    for name, violation in trajectory.violations.items():
        if name.partition(".")[0] == agent:
            rewards = rewards - multipliers[name] * violation
    return rewards

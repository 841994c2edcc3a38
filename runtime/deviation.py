"""Playing otherwise than trained: deviators that learn a best response to frozen policies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.runtime.model import Model
from rbcc.runtime.plant import Plant, planted
from rbcc.runtime.policy import Parameters, Policy, distributions, log_probability, sample
from rbcc.runtime.ppo import OPTIMIZER, batch_of, update
from rbcc.runtime.rollout import (
    Observation,
    Player,
    Record,
    Trajectory,
    free_masks,
    of_members,
    penalised,
    rollout,
    sampling,
)


Notion = Literal["individual", "team"]

# While individual deviators learn, this share of a type's agents deviates at once, for more data; estimates use one.
LEARNING_SHARE = 0.03
# A team learns from at most this many of its agents, drawn anew in each iteration: they act alike and share the payoff.
TEAM_SAMPLE = 8
VALUE_WEIGHT, GRADIENT_CLIP = 0.5, 2.0


def informed(policy: Policy) -> Policy:
    """The policy of a single deviator: besides what its type sees it knows its own number.

    Agents that differ in something that they do not observe have different best responses.
    """
    return replace(policy, own=policy.own + _numbers(policy))


def enlarged(policy: Policy, network: Parameters) -> Parameters:
    """A network of `policy` as one of `informed(policy)` that makes the same choices."""
    first, *rest = network["layers"]
    unused = jnp.zeros((first["own"].shape[0], _numbers(policy)))
    return {**network, "layers": [{**first, "own": jnp.concatenate([first["own"], unused], axis=1)}, *rest]}


def _numbers(policy: Policy) -> int:
    return policy.agents if policy.agents > 1 else 0


def individual(policy: Policy, base: Player, network: Parameters, members: jax.Array) -> Player:
    """All agents follow `base`, except `members` (economies, k), who follow the `informed` `network` and are recorded."""
    masks, deviator = free_masks(policy), informed(policy)
    economies = jnp.arange(members.shape[0])[:, None]

    def play(observation: Observation, uniform: jax.Array) -> tuple[tuple[jax.Array, ...], Record]:
        indices, _ = base.play(observation, uniform)
        number = jax.nn.one_hot(members, _numbers(policy), axis=0)
        shared, own = observation[0], jnp.concatenate([of_members(observation[1], members), number])
        logits, value = deviator(network, shared, own)
        found = distributions(logits, masks)
        chosen = sample(found, of_members(uniform[: policy.draws], members))
        merged = [index.at[:, economies, members].set(new) for index, new in zip(indices, chosen, strict=True)]
        chance = jnp.broadcast_to(log_probability(found, chosen), value.shape)
        return tuple(merged), Record(shared, own, chosen, chance, value)

    return Player(base.draws, play)


@dataclass(frozen=True)
class Arena:
    """The frozen economy in which deviators play: its policies, plants, multipliers and discount factors."""

    model: Model
    policies: Mapping[str, Policy]
    networks: Mapping[str, Parameters]
    multipliers: Mapping[str, jax.Array]
    plants: tuple[Plant, ...]
    economies: int

    def base(self, agent: str, networks: Mapping[str, Parameters]) -> Player:
        policy = self.policies[agent]
        return planted(policy, sampling(policy, networks[agent], free_masks(policy)), self.plants)

    def players(self, networks: Mapping[str, Parameters]) -> dict[str, Player]:
        return {agent: self.base(agent, networks) for agent in self.policies}

    def deviating(
        self,
        agent: str,
        notion: Notion,
        networks: Mapping[str, Parameters],
        network: Parameters,
        members: jax.Array,
    ) -> dict[str, Player]:
        """The players when `members` of `agent`, or for a team all of it, follow `network`."""
        players, policy = self.players(networks), self.policies[agent]
        if notion == "individual":
            players[agent] = individual(policy, players[agent], network, members)
        else:
            alone = sampling(policy, network, free_masks(policy))
            players[agent] = Player(players[agent].draws, lambda seen, u: alone.play(seen, u[: alone.draws]))
        return players

    def play(self, players: Mapping[str, Player], key: jax.Array) -> Trajectory:
        return rollout(self.model, self.policies, players, key, self.economies, {})

    def payoffs(self, played: Trajectory) -> dict[str, jax.Array]:
        """Discounted payoffs of whole episodes per type, (economies, agents)."""
        factors = self.model.module.discounts()
        steps = jnp.arange(self.model.ir.horizon)[:, None, None]
        return {
            agent: jnp.sum(factors[agent] ** steps * penalised(played, agent, self.multipliers), axis=0)
            for agent in self.policies
        }

    def members(self, agent: str, key: jax.Array, count: int) -> jax.Array:
        """`count` different random agents of a type in each economy, (economies, count)."""
        agents = self.policies[agent].agents
        keys = jax.random.split(jax.random.fold_in(key, 0xDE7), self.economies)
        return jax.vmap(lambda k: jax.random.permutation(k, agents)[:count])(keys)


def evaluate_base(arena: Arena) -> Callable[..., Any]:
    """A function: (networks, keys) -> payoffs per type (episodes, agents), indicators and use of choices.

    One batch of economies is played per key, by a program that is compiled once for any number of keys.
    """

    @jax.jit
    def batch(networks: Mapping[str, Parameters], key: jax.Array) -> Any:
        players = {agent: _recording(player) for agent, player in arena.players(networks).items()}
        played = arena.play(players, key)
        use = {agent: _use(arena.policies[agent], played.records[agent]) for agent in arena.policies}
        return arena.payoffs(played), {n: jnp.mean(v) for n, v in played.indicators.items()}, use

    def run(networks: Mapping[str, Parameters], keys: jax.Array) -> Any:
        payoffs, indicators, use = _stacked([batch(networks, key) for key in keys])
        mean = partial(np.mean, axis=0)
        return _episodes(payoffs), jax.tree.map(mean, indicators), jax.tree.map(mean, use)

    return run


def _recording(player: Player) -> Player:
    """`player`, recording its choices after all plants."""

    def play(observation: Observation, uniform: jax.Array) -> Any:
        indices, _ = player.play(observation, uniform)
        return indices, indices

    return Player(player.draws, play)


def _use(policy: Policy, indices: Sequence[jax.Array]) -> dict[str, jax.Array]:
    """How often each choice of each action is taken, as shares."""
    found = {}
    for head, index in zip(policy.heads, indices, strict=True):
        for action, part in zip(head.actions, head.split(index), strict=True):
            counts = jnp.bincount(part.reshape(-1), length=len(action.values))
            found[action.name] = counts / part.size
    return found


def evaluate_deviation(arena: Arena, agent: str, notion: Notion) -> Callable[..., Any]:
    """A function: (networks, deviator, keys) -> (payoffs per type (episodes, agents), deviating agents (episodes,)).

    All agents of the type deviate equally often, in turn.
    """

    @jax.jit
    def batch(networks: Mapping[str, Parameters], deviator: Parameters, key: jax.Array, members: jax.Array) -> Any:
        players = arena.deviating(agent, notion, networks, deviator, members[:, None])
        return arena.payoffs(arena.play(players, key))

    def run(networks: Mapping[str, Parameters], deviator: Parameters, keys: jax.Array) -> Any:
        turns = np.arange(len(keys) * arena.economies) % arena.policies[agent].agents
        batches = zip(keys, turns.reshape(-1, arena.economies), strict=True)
        payoffs = _stacked([batch(networks, deviator, key, jnp.asarray(members)) for key, members in batches])
        return _episodes(payoffs), turns

    return run


def _stacked(batches: Sequence[Any]) -> Any:
    """Results of batches, stacked on the host."""
    return jax.tree.map(lambda *parts: np.stack(parts), *jax.device_get(batches))


def _episodes(payoffs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {agent: x.reshape(-1, x.shape[-1]) for agent, x in payoffs.items()}


def learn_deviation(arena: Arena, agent: str, notion: Notion) -> Callable[..., Any]:
    """A program that trains a deviator by PPO.

    Signature: (networks, deviator, optimizer, key, first, count, total, learning_rate, entropy) -> (deviator,
    optimizer). The learning rate falls to a tenth and the entropy bonus to nothing over `total` iterations. An
    individual learns from its own payoff, a team from the mean payoff of the type. Advantages are whole returns less
    values (a GAE lambda of 1): what an agent sees is not the state of the economy, so bootstrapped values would credit
    it with what it does not cause. In the small open economy lambda 0.95 made team deviators worse than no deviation.
    """
    model, policy, chosen = arena.model, arena.policies[agent], arena.model.ir.verification
    phase = model.ir.phases[-1]
    alone = notion == "individual"
    deviating = informed(policy) if alone else policy
    together = max(1, round(LEARNING_SHARE * policy.agents)) if alone else min(policy.agents, TEAM_SAMPLE)

    @jax.jit
    def run(
        networks: Mapping[str, Parameters],
        deviator: Parameters,
        optimizer: Any,
        key: jax.Array,
        first: jax.Array,
        count: jax.Array,
        total: jax.Array,
        learning_rate: jax.Array,
        entropy: jax.Array,
    ) -> tuple[Parameters, Any]:
        schedule = getattr(model.module, f"schedule_{phase.name}")(phase.iterations, 1.0)["learners"][agent]
        kept = {"clip": jnp.asarray(chosen.clip), "value_weight": VALUE_WEIGHT, "gradient_clip": GRADIENT_CLIP}
        discount = model.module.discounts()[agent]

        def one(number: jax.Array, carry: tuple[Parameters, Any]) -> tuple[Parameters, Any]:
            deviator, optimizer = carry
            now = jax.random.fold_in(key, number)
            members = arena.members(agent, now, together)
            played = arena.play(arena.deviating(agent, notion, networks, deviator, members), now)
            rewards = penalised(played, agent, arena.multipliers) / schedule["reward_scale"]
            record: Record = played.records[agent]
            if alone:
                rewards = of_members(rewards, members)
            else:
                rewards = jnp.broadcast_to(jnp.mean(rewards, axis=-1, keepdims=True), (*rewards.shape[:-1], together))
                record = record.of(members)
            batch = batch_of(record, rewards, discount, jnp.ones(()))
            done = number / total
            settings = {
                **kept,
                "learning_rate": learning_rate * (1 - 0.9 * done),
                "entropy": entropy * (1 - done),
            }
            deviator, optimizer, _ = update(
                deviating, "ppo", chosen.epochs, settings, deviator, optimizer, batch, free_masks(policy)
            )
            return deviator, optimizer

        return jax.lax.fori_loop(first, first + count, one, (deviator, optimizer))

    return run


def fresh_optimizer(network: Parameters) -> Any:
    return OPTIMIZER.init(network)

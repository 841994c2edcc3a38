"""Playing otherwise than trained: deviators that learn a best response to frozen policies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.runtime.devices import ALL, BY_ECONOMY, Placement
from rbcc.runtime.model import Model
from rbcc.runtime.plant import Plant, planted
from rbcc.runtime.policy import Indices, Masks, Parameters, Policy, Sight, of_members
from rbcc.runtime.ppo import batch_of, fresh_optimizer, update
from rbcc.runtime.rollout import Player, Trajectory, drawn, individual, keys_of, penalised, rollout, sampling
from rbcc.runtime.spaces import shares_of


Notion = Literal["individual", "team"]

# While individual deviators learn, this share of a type's agents deviates at once, for more data; estimates use one.
LEARNING_SHARE = 0.03
# A team learns from at most this many of its agents, drawn anew in each iteration: they act alike and share the payoff.
TEAM_SAMPLE = 8
VALUE_WEIGHT, GRADIENT_CLIP = 0.5, 2.0
# This share of an interval at either side counts as its end; who gets all of a whole but this gets all.
END = 0.005


def informed(policy: Policy) -> Policy:
    """The policy of a single deviator: besides what its type sees it knows its own number.

    Agents that differ in something that they do not observe have different best responses.
    """
    return replace(policy, numbered=policy.agents > 1)


def enlarged(policy: Policy, network: Parameters) -> Parameters:
    """A network of `policy` as one of `informed(policy)` that makes the same choices."""
    if policy.agents == 1:
        return network
    first, *rest = network["layers"]
    unused = jnp.zeros((first["own"].shape[0], policy.agents))
    return {**network, "layers": [{**first, "member": unused}, *rest]}


@dataclass(frozen=True)
class Arena:
    """The frozen economy in which deviators play: its policies, plants, multipliers and discount factors.

    `economies` are played at a time, shared among the devices of `placement`.
    """

    model: Model
    policies: Mapping[str, Policy]
    networks: Mapping[str, Parameters]
    multipliers: Mapping[str, jax.Array]
    plants: tuple[Plant, ...]
    economies: int
    placement: Placement

    @property
    def own(self) -> jax.Array:
        """The numbers of a device's own economies."""
        return self.placement.share.economies(self.economies)

    def players(
        self, networks: Mapping[str, Parameters], masks: Mapping[str, Masks] | None = None
    ) -> dict[str, Player]:
        """Players of the policies, and then the plants; `masks` are by default those that allow every choice."""
        found = {}
        for agent, policy in self.policies.items():
            mask = masks[agent] if masks else policy.allowed()
            found[agent] = planted(policy, sampling(policy, networks[agent], mask), self.plants)
        return found

    def play(
        self, players: Mapping[str, Player], key: jax.Array, held: Mapping[str, jax.Array] = MappingProxyType({})
    ) -> Trajectory:
        return rollout(self.model, self.policies, players, key, self.own, {}, held=held)

    def payoffs(self, played: Trajectory) -> dict[str, jax.Array]:
        """Discounted payoffs of whole episodes per type, (economies, agents).

        Where the economy goes on after its episodes, what follows counts as the trained policies value it.
        """
        factors, horizon = self.model.module.discounts(), self.model.ir.horizon
        steps = jnp.arange(horizon)[:, None, None]
        found = {}
        for agent, policy in self.policies.items():
            payoff = jnp.sum(factors[agent] ** steps * penalised(played, agent, self.multipliers), axis=0)
            if played.last:
                _, value = policy(self.networks[agent], played.last[agent])
                payoff = payoff + factors[agent] ** horizon * value * self.reward_scale(agent)
            found[agent] = payoff
        return found

    def reward_scale(self, agent: str) -> jax.Array:
        """By what a type's rewards are divided at the end of training."""
        phase = self.model.ir.phases[-1]
        return getattr(self.model.module, f"schedule_{phase.name}")(phase.iterations, 1.0)["learners"][agent][
            "reward_scale"
        ]


def evaluate_base(arena: Arena) -> Callable[..., Any]:
    """A function: (networks, offered, key, batches) -> payoffs per type (episodes, agents), indicators and use of
    choices.

    `offered` restricts the choices of some actions. Each of the batches is of `arena.economies` episodes.
    """

    def batch(networks: Mapping[str, Parameters], masks: Mapping[str, Masks], key: jax.Array, number: jax.Array) -> Any:
        players = {agent: _recording(player) for agent, player in arena.players(networks, masks).items()}
        playing, _ = keys_of(key, number)
        played = arena.play(players, playing)
        use = {agent: _use(arena.policies[agent], played.records[agent]) for agent in arena.policies}
        means = jnp.mean(played.indicators, axis=0), use
        return arena.payoffs(played), arena.placement.share.mean(means)

    program = arena.placement.program(batch, (ALL,) * 4, (BY_ECONOMY, ALL))

    def run(networks: Mapping[str, Parameters], offered: Mapping[str, jax.Array], key: jax.Array, batches: int) -> Any:
        masks = {agent: policy.allowed(offered) for agent, policy in arena.policies.items()}
        payoffs, means = _stacked([program(networks, masks, key, jnp.int32(number)) for number in range(batches)])
        indicators, use = jax.tree.map(partial(np.mean, axis=0), means)
        names = [indicator.name for indicator in arena.model.ir.indicators]
        return _episodes(payoffs), dict(zip(names, indicators, strict=True)), use

    return run


def _recording(player: Player) -> Player:
    """`player`, recording its choices after all plants."""

    def play(sight: Sight, uniform: jax.Array) -> Any:
        indices, _ = player.play(sight, uniform)
        return indices, indices

    return Player(player.draws, play)


def _use(policy: Policy, indices: Indices) -> dict[str, jax.Array]:
    """How often each choice of each action is taken, as shares; `indices` are (horizon, repeats, economies, agents).

    Of an interval: the shares of its lower end, of all between, and of its upper end. Of shares: how often each member
    gets all.
    """
    found = {}
    for head, index in zip(
        policy.stacked_heads, policy.apart(tuple(jnp.moveaxis(x, 1, 0) for x in indices)), strict=True
    ):
        for action, part in zip(head.actions, head.split(index), strict=True):
            if action.shares:
                found[action.name] = jnp.mean(shares_of(part) > 1 - END, axis=(1, 2, 3))
            elif action.interval:
                share = jax.nn.sigmoid(part)
                ends = jnp.mean(share < END), jnp.mean(share > 1 - END)
                found[action.name] = jnp.stack([ends[0], 1 - ends[0] - ends[1], ends[1]])
            else:
                found[action.name] = jnp.bincount(part.reshape(-1), length=len(action.values)) / part.size
    return found


def _stacked(batches: Sequence[Any]) -> Any:
    """Results of batches, stacked on the host."""
    return jax.tree.map(lambda *parts: np.stack(parts), *jax.device_get(batches))


def _episodes(payoffs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {agent: x.reshape(-1, x.shape[-1]) for agent, x in payoffs.items()}


class Deviation:
    """Deviators of one type under one notion: learning by PPO, and what they earn.

    An individual learns from its own payoff, a team from the mean payoff of the type. Advantages are whole returns less
    values (a GAE lambda of 1): what an agent sees is not the state of the economy, so bootstrapped values would credit
    it with what it does not cause (`experiments/README.md`).

    Both are one program, which takes most of its time to compile: it plays, and learns from that or not.
    """

    def __init__(self, arena: Arena, agent: str, notion: Notion):
        self.arena, self.agent, self.notion = arena, agent, notion
        self.policy = arena.policies[agent]
        self.alone = notion == "individual"
        self.deviating = informed(self.policy) if self.alone else self.policy
        agents = self.policy.agents
        self.together = max(1, round(LEARNING_SHARE * agents)) if self.alone else min(agents, TEAM_SAMPLE)
        outputs = ALL, ALL, BY_ECONOMY
        self.program = arena.placement.program(self._run, (ALL, ALL, ALL, ALL, BY_ECONOMY, ALL, ALL, ALL, ALL), outputs)

    def first(self, network: Parameters) -> tuple[Parameters, Any]:
        """What learning starts from: a network for deviators that does what `network` does, and its optimizer."""
        start = enlarged(self.policy, network) if self.alone else network
        return start, fresh_optimizer(start)

    def scratch(self, key: jax.Array) -> tuple[Parameters, Any]:
        """The same for a fresh network."""
        start = self.deviating.init(key)
        return start, fresh_optimizer(start)

    def learn(
        self,
        networks: Mapping[str, Parameters],
        state: tuple[Parameters, Any],
        key: jax.Array,
        done: int,
        upto: int,
        entropy: float,
    ) -> tuple[Parameters, Any]:
        """Goes on learning from iteration `done` to `upto`.

        The learning rate falls to a tenth and the entropy bonus to nothing over all iterations of the verification.
        """
        nobody = jnp.zeros((self.arena.economies, self.together), int)
        chosen = self.arena.model.ir.verification
        rates = jnp.array([chosen.learning_rate, entropy, chosen.iterations], jnp.float32)
        network, optimizer, _ = self.program(
            networks, *state, key, nobody, jnp.asarray(True), jnp.int32(done), jnp.int32(upto - done), rates
        )
        return network, optimizer

    def evaluate(
        self, networks: Mapping[str, Parameters], state: tuple[Parameters, Any], key: jax.Array, batches: int
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Payoffs per type (episodes, agents), and who deviates in each episode (episodes,): all agents in turn."""
        turns = np.arange(batches * self.arena.economies) % self.policy.agents
        results = []
        for number, members in enumerate(turns.reshape(batches, -1, 1)):
            everywhere = jnp.asarray(np.repeat(members, self.together, axis=1))
            *_, payoffs = self.program(
                networks, *state, key, everywhere, jnp.asarray(False), jnp.int32(number), jnp.int32(1), jnp.ones(3)
            )
            results.append(payoffs)
        return _episodes(_stacked(results)), turns

    def _held(self, networks: Mapping[str, Parameters], key: jax.Array) -> Mapping[str, jax.Array]:
        """What a single deviator takes as given: it is as without the deviation."""
        arena = self.arena
        if not (self.alone and arena.model.ir.agent(self.agent).given):
            return {}
        return arena.play(arena.players(networks), key).taken_as_given(arena.model, self.agent)

    def _players(
        self, networks: Mapping[str, Parameters], network: Parameters, members: jax.Array
    ) -> dict[str, Player]:
        """The players when `members`, or for a team all, follow `network`; `members` are recorded."""
        players = self.arena.players(networks)
        base = players[self.agent]
        if self.alone:
            mixed = individual(self.policy, self.deviating, base, network, members, self.policy.allowed())
            return {**players, self.agent: mixed}
        team = sampling(self.policy, network, self.policy.allowed(), members)
        return {**players, self.agent: Player(base.draws, lambda seen, u: team.play(seen, u[: team.draws]))}

    def _run(
        self,
        networks: Mapping[str, Parameters],
        deviator: Parameters,
        optimizer: Any,
        key: jax.Array,
        members: jax.Array,
        learn: jax.Array,
        first: jax.Array,
        count: jax.Array,
        rates: jax.Array,
    ) -> tuple[Parameters, Any, dict[str, jax.Array]]:
        """Plays batches `first` to `first + count`, with random `members` if it is to `learn`; payoffs of the last."""
        arena, agents = self.arena, self.policy.agents

        def one(number: jax.Array, carry: Any) -> Any:
            deviator, optimizer, _ = carry
            playing, choosing = keys_of(key, number)
            sources = jax.vmap(jax.random.fold_in, (None, 0))(choosing, arena.own)
            chosen = jnp.where(learn, drawn(sources, agents, self.together), members)
            played = arena.play(self._players(networks, deviator, chosen), playing, self._held(networks, playing))
            updated = jax.lax.cond(
                learn,
                lambda: self._updated(deviator, optimizer, played, chosen, number, rates),
                lambda: (deviator, optimizer),
            )
            return *updated, arena.payoffs(played)

        economies = arena.own.shape[0]
        nothing = {agent: jnp.zeros((economies, policy.agents)) for agent, policy in arena.policies.items()}
        return jax.lax.fori_loop(first, first + count, one, (deviator, optimizer, nothing))

    def _updated(
        self,
        deviator: Parameters,
        optimizer: Any,
        played: Trajectory,
        members: jax.Array,
        number: jax.Array,
        rates: jax.Array,
    ) -> tuple[Parameters, Any]:
        model, share, agent = self.arena.model, self.arena.placement.share, self.agent
        chosen = model.ir.verification
        rewards = penalised(played, agent, self.arena.multipliers) / self.arena.reward_scale(agent)
        if self.alone:
            rewards = of_members(rewards, members)
        else:
            mean = jnp.mean(rewards, axis=-1, keepdims=True)
            rewards = jnp.broadcast_to(mean, (*rewards.shape[:-1], self.together))
        known = members if self.deviating.numbered else None
        discount, full = model.module.discounts()[agent], jnp.ones(())
        last = self.deviating(deviator, played.last[agent].of(members))[1] if played.last else None
        batch = batch_of(
            self.deviating, played.records[agent], rewards, discount, full, members=known, last=last, share=share
        )
        rate, entropy, total = rates
        done = number / total
        settings = {
            "clip": jnp.asarray(chosen.clip),
            "value_weight": VALUE_WEIGHT,
            "gradient_clip": GRADIENT_CLIP,
            "learning_rate": rate * (1 - 0.9 * done),
            "entropy": entropy * (1 - done),
        }
        deviator, optimizer, _ = update(
            self.deviating, "ppo", chosen.epochs, settings, deviator, optimizer, batch, self.policy.allowed(), share
        )
        return deviator, optimizer

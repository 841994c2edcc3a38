"""One iteration of training, from top to bottom: play, improve every policy, raise the multipliers of constraints."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from rbcc.compiler import ir
from rbcc.runtime.economy.model import Model
from rbcc.runtime.learners.pathwise import ascend
from rbcc.runtime.learners.ppo import METRICS, batch_of, update
from rbcc.runtime.parallel.devices import Share
from rbcc.runtime.policies.policy import Parameters, Policy, of_members, profile_of
from rbcc.runtime.rollout.explorers import Explorers, explorers
from rbcc.runtime.rollout.rollout import Player, Trajectory, Watch, individual, keys_of, penalised, rollout, sampling
from rbcc.runtime.training.schedule import Scheduled, scheduled


Weighted = dict[str, tuple[jax.Array, jax.Array]]
"""Metrics with their weight: 0 for the learning metrics of a type that did not learn in an iteration."""
ALWAYS = 1.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that training carries from iteration to iteration.

    `networks` and `optimizers` per agent type; `multipliers` of constraints by `type.constraint`.
    """

    networks: dict[str, Parameters]
    optimizers: dict[str, Any]
    multipliers: dict[str, jax.Array]


class Iteration:
    """Iteration `number` of `phase`, from `state`, on one of the devices of `share`.

    `watch` is told of every step; `given` are parameters in place of the model's.
    """

    def __init__(
        self,
        model: Model,
        phase: ir.Phase,
        policies: dict[str, Policy],
        share: Share,
        watch: Watch | None,
        state: TrainState,
        key: jax.Array,
        number: jax.Array,
        given: Mapping[str, jax.Array],
    ):
        self.model, self.phase, self.policies, self.share, self.watch = model, phase, policies, share, watch
        self.state, self.number = state, number
        self.now: Scheduled = scheduled(model, phase, policies, number, given)
        self.playing, choosing = keys_of(key, number)
        self.economies = share.economies(phase.economies)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(choosing, self.economies)
        self.explorers: dict[str, Explorers] = explorers(phase.learners, policies, keys, phase.economies)
        self.discounts = model.module.discounts(self.now.parameters)

    def run(self) -> tuple[TrainState, Weighted, Trajectory]:
        """The state after the iteration, its metrics, and what was played in it."""
        state, played = self.state, self.collect(self.players(), self.watch)
        networks, optimizers, multipliers = dict(state.networks), dict(state.optimizers), dict(state.multipliers)
        metrics = self.indicators(played)
        for learner in self.phase.learners:
            agent, active = learner.agent, self.active(learner)
            improve = partial(self.improve, learner, played)
            if active is None:
                networks[agent], optimizers[agent], learning = improve(networks[agent], optimizers[agent])
            else:
                networks[agent], optimizers[agent], learning = jax.lax.cond(
                    active, improve, _rest, networks[agent], optimizers[agent]
                )
            weight = jnp.asarray(ALWAYS if active is None else active, float)
            metrics[f"reward.{agent}"] = jnp.mean(played.rewards[agent]), jnp.asarray(ALWAYS)
            metrics |= {f"{name}.{agent}": (learning[k], weight) for k, name in enumerate(METRICS)}
            for constraint, _ in learner.lagrangian:
                name = f"{agent}.{constraint}"
                violation, multipliers[name] = self.raised(learner, constraint, played)
                metrics[f"violation.{name}"] = violation, jnp.asarray(ALWAYS)
                metrics[f"multiplier.{name}"] = multipliers[name], jnp.asarray(ALWAYS)
        return TrainState(networks, optimizers, multipliers), metrics, played

    # --- play --------------------------------------------------------------------------------------------------

    def players(self) -> dict[str, Player]:
        return {agent: self.player(agent, self.state.networks[agent]) for agent in self.policies}

    def player(self, agent: str, network: Parameters) -> Player:
        """All agents of a type play the profile, but those who explore with `network`."""
        policy, masks, who = self.policies[agent], self.now.masks[agent], self.explorers[agent]
        if who.all:
            return sampling(policy, network, masks, who.members)
        profile = profile_of(self.state.networks[agent], self.now.settings[agent]["sharpness"])
        return individual(policy, sampling(policy, profile, masks), network, who.members, masks, who.economies)

    def collect(
        self,
        players: dict[str, Player],
        watch: Watch | None = None,
        held: Mapping[str, jax.Array] = MappingProxyType({}),
    ) -> Trajectory:
        """Episodes in all economies of the device; `watch` sees every step, values in `held` are as given there."""
        model, parameters = self.model, self.now.parameters
        return rollout(
            model, self.policies, players, self.playing, self.economies, parameters, watch, held=held
        )  # fmt: skip

    def rewards(self, agent: str, played: Trajectory) -> jax.Array:
        """The rewards that explorers play for, less penalties, (horizon, economies, k)."""
        who, rewards = self.explorers[agent], penalised(played, agent, self.state.multipliers)
        return of_members(rewards[:, who.economies], who.members)

    # --- learn -------------------------------------------------------------------------------------------------

    def active(self, learner: ir.Learner) -> jax.Array | None:
        """Whether a type learns in this iteration, None if it does in all."""
        if learner.starts == 0 and learner.period == 1:
            return None
        return self.now.settings[learner.agent]["started"] & (self.number % learner.period == 0)

    def improve(
        self, learner: ir.Learner, played: Trajectory, network: Parameters, optimizer: Any
    ) -> tuple[Parameters, Any, jax.Array]:
        """The network, its optimizer and `METRICS`, after what explorers have met."""
        if learner.algorithm == "pathwise":
            return self.ascended(learner.agent, played, network, optimizer)
        agent, who, settings = learner.agent, self.explorers[learner.agent], self.now.settings[learner.agent]
        policy, last = self.policies[agent], None
        if played.last:
            last = policy(self.state.networks[agent], played.last[agent].of(who.members, who.economies))[1]
        batch = batch_of(
            policy,
            played.records[agent],
            self.rewards(agent, played) / settings["reward_scale"],
            self.discounts[agent],
            settings["gae"],
            who.members,
            last,
            self.share,
        )
        masks = self.now.masks[agent]
        return update(
            policy, learner.algorithm, learner.epochs, settings, network, optimizer, batch, masks, self.share
        )  # fmt: skip

    def ascended(
        self, agent: str, played: Trajectory, network: Parameters, optimizer: Any
    ) -> tuple[Parameters, Any, jax.Array]:
        """As `improve`, by the derivative of what explorers earn."""
        players, held = self.players(), played.taken_as_given(self.model, agent)

        def play(network: Parameters) -> tuple[Trajectory, jax.Array]:
            again = self.collect({**players, agent: self.player(agent, network)}, held=held)
            return again, self.rewards(agent, again)

        return ascend(
            self.policies[agent],
            play,
            network,
            optimizer,
            self.now.masks[agent],
            self.explorers[agent].members,
            self.discounts[agent],
            self.now.settings[agent],
            self.share,
        )

    def raised(self, learner: ir.Learner, constraint: str, played: Trajectory) -> tuple[jax.Array, jax.Array]:
        """How far a constraint is violated in an episode, and its multiplier after that: dual ascent."""
        name, settings = f"{learner.agent}.{constraint}", self.now.settings[learner.agent]
        violation = self.share.mean(jnp.mean(jnp.sum(played.violations[name], axis=0)))
        before = self.state.multipliers[name]
        raised = jnp.maximum(before + settings[f"lagrangian.{constraint}"] * violation, 0)
        return violation, jnp.where(settings["started"], raised, before)

    def indicators(self, played: Trajectory) -> Weighted:
        means = zip(self.model.ir.indicators, jnp.mean(played.indicators, axis=0), strict=True)
        return {f"indicator.{indicator.name}": (mean, jnp.asarray(ALWAYS)) for indicator, mean in means}


def _rest(network: Parameters, optimizer: Any) -> tuple[Parameters, Any, jax.Array]:
    """What a type does that does not learn."""
    return network, optimizer, jnp.zeros(len(METRICS))

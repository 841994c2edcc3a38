"""Training: every type learns from its own rewards, phase by phase, many iterations in one program on the device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from rbcc.compiler import ir
from rbcc.runtime.model import Model
from rbcc.runtime.policy import Parameters, Policy, policies
from rbcc.runtime.ppo import OPTIMIZER, batch_of, update
from rbcc.runtime.rollout import penalised, rollout, sampling
from rbcc.runtime.schedule import iteration


RECORDS = 200
MAX_RECORD = 50


Weighted = dict[str, tuple[jax.Array, jax.Array]]
"""Metrics with their weight: 0 for the learning metrics of a type that did not learn in an iteration."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that training carries from iteration to iteration.

    `networks` and `optimizers` per agent type; `multipliers` of constraints by `type.constraint`.
    """

    networks: dict[str, Parameters]
    optimizers: dict[str, Any]
    multipliers: dict[str, jax.Array]


@dataclass(frozen=True)
class Progress:
    """Where training stands after a stretch of iterations, with the mean of each metric over the stretch.

    Learning metrics of a type that did not learn in the stretch are absent.
    """

    phase: int
    iteration: int
    metrics: dict[str, float]
    state: TrainState


def initial_state(model: Model, seed: int) -> TrainState:
    """Fresh networks, the same for the same seed."""
    networks = {}
    for place, (agent, policy) in enumerate(networks_of(model).items()):
        networks[agent] = policy.init(jax.random.fold_in(jax.random.key(seed), place))
    multipliers = {f"{c.agent}.{c.name}": jnp.zeros(()) for c in model.ir.constraints}
    return TrainState(networks, {agent: OPTIMIZER.init(p) for agent, p in networks.items()}, multipliers)


def networks_of(model: Model) -> dict[str, Policy]:
    """The policy network of every learning type."""
    return policies(model, model.ir.phases[0].learners)


def record_length(phase: ir.Phase) -> int:
    """Iterations over which metrics are averaged; also how often training can be interrupted."""
    return max(1, min(MAX_RECORD, phase.iterations // RECORDS))


def stretch(model: Model, phase: ir.Phase) -> Callable[..., tuple[TrainState, Weighted]]:
    """The program that trains `count` iterations of `phase` from iteration `first`.

    Signature: (state, key, first, count) -> (state, sums of metrics and of their weights). It is compiled once for any
    `count`.
    """
    nets = networks_of(model)

    def one(state: TrainState, key: jax.Array, number: jax.Array) -> tuple[TrainState, Weighted]:
        now = iteration(model, phase, nets, number)
        players = {a: sampling(policy, state.networks[a], now.masks[a]) for a, policy in nets.items()}
        played = rollout(model, nets, players, jax.random.fold_in(key, number), phase.economies, now.parameters)
        factors = model.module.discounts(now.parameters)
        always = jnp.ones(())
        metrics = {f"indicator.{name}": (jnp.mean(value), always) for name, value in played.indicators.items()}
        networks, optimizers, multipliers = dict(state.networks), dict(state.optimizers), dict(state.multipliers)
        for settings in phase.learners:
            agent, values = settings.agent, now.settings[settings.agent]

            def learn(
                network: Parameters, optimizer: Any, settings: ir.Learner = settings, values: Any = values
            ) -> Any:
                agent = settings.agent
                rewards = penalised(played, agent, state.multipliers) / values["reward_scale"]
                batch = batch_of(played.records[agent], rewards, factors[agent], values["gae"])
                return update(
                    nets[agent],
                    settings.algorithm,
                    settings.epochs,
                    values,
                    network,
                    optimizer,
                    batch,
                    now.masks[agent],
                )

            def rest(network: Parameters, optimizer: Any, learn: Any = learn) -> Any:
                return network, optimizer, _zeros(jax.eval_shape(learn, network, optimizer)[2])

            active = values["started"] & (number % settings.period == 0)
            networks[agent], optimizers[agent], found = jax.lax.cond(
                active, learn, rest, networks[agent], optimizers[agent]
            )
            metrics[f"reward.{agent}"] = (jnp.mean(played.rewards[agent]), always)
            metrics |= {f"{name}.{agent}": (value, active.astype(float)) for name, value in found.items()}
            for constraint, _ in settings.lagrangian:
                name = f"{agent}.{constraint}"
                violation = jnp.mean(jnp.sum(played.violations[name], axis=0))
                raised = multipliers[name] + values[f"lagrangian.{constraint}"] * violation
                multipliers[name] = jnp.where(values["started"], jnp.maximum(raised, 0), multipliers[name])
                metrics[f"violation.{name}"] = (violation, always)
                metrics[f"multiplier.{name}"] = (multipliers[name], always)
        return TrainState(networks, optimizers, multipliers), metrics

    def run(state: TrainState, key: jax.Array, first: jax.Array, count: jax.Array) -> tuple[TrainState, Weighted]:
        def body(k: jax.Array, carry: tuple[TrainState, Weighted]) -> tuple[TrainState, Weighted]:
            state, sums = carry
            state, metrics = one(state, key, first + k)
            return state, {
                name: (total + metrics[name][0] * metrics[name][1], weight + metrics[name][1])
                for name, (total, weight) in sums.items()
            }

        zero = _zeros(jax.eval_shape(one, state, key, first)[1])
        return jax.lax.fori_loop(0, count, body, (state, zero))

    return jax.jit(run)


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)


def training(
    model: Model, seed: int, state: TrainState | None = None, phase: int = 0, first: int = 0
) -> Iterator[Progress]:
    """Trains phase after phase, yielding after each stretch of iterations.

    Goes on from `state` at iteration `first` of phase number `phase`, if given. The result depends on the seed only,
    not on where training was interrupted.
    """
    state = state or initial_state(model, seed)
    root = jax.random.fold_in(jax.random.key(seed), 1_000_003)
    for number in range(phase, len(model.ir.phases)):
        settings = model.ir.phases[number]
        if settings.fresh_optimizer and first == 0:
            fresh = {agent: OPTIMIZER.init(network) for agent, network in state.networks.items()}
            state = TrainState(state.networks, fresh, state.multipliers)
        program, length = stretch(model, settings), record_length(settings)
        key = jax.random.fold_in(root, number)
        while first < settings.iterations:
            count = min(length, settings.iterations - first)
            state, sums = program(state, key, jnp.int32(first), jnp.int32(count))
            first += count
            yield Progress(number, first, _means(model, jax.device_get(sums)), state)
        first = 0


def _means(model: Model, sums: Weighted) -> dict[str, float]:
    """Means of the metrics that were measured at all, rewards and indicators first, in the order of the spec."""
    first = [f"reward.{agent.name}" for agent in model.ir.agents]
    first += [f"indicator.{indicator.name}" for indicator in model.ir.indicators]
    names = [name for name in first if name in sums] + sorted(name for name in sums if name not in first)
    return {name: float(sums[name][0] / sums[name][1]) for name in names if sums[name][1] > 0}

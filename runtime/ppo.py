"""Policy-gradient learning from one batch of episodes: PPO (Schulman et al. 2017) and plain policy gradient."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from rbcc.runtime.policy import Masks, Parameters, Policy, distributions, entropy, log_probability
from rbcc.runtime.rollout import Record


Settings = Mapping[str, jax.Array]
"""A learner's settings in this iteration: learning_rate, clip, value_weight, gae, entropy, gradient_clip, ..."""

# Samples whose activations fit the cache together: gradients are accumulated over blocks of about this many
# (`bench/train.py --block`).
BLOCK = 4096

OPTIMIZER = optax.scale_by_adam(eps=1e-5)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """Samples in blocks: arrays have the axes (blocks, ..., economies and steps of the block, agents)."""

    record: Record
    advantage: jax.Array
    target: jax.Array


def advantages(rewards: jax.Array, values: jax.Array, discount: jax.Array, gae: jax.Array) -> jax.Array:
    """Generalised advantage estimates (Schulman et al. 2016) of episodes that end at the horizon.

    `rewards` and `values` are (horizon, economies, agents); after the last step there is nothing to come.
    """
    following = jnp.concatenate([values[1:], jnp.zeros_like(values[:1])])
    errors = rewards + discount * following - values

    def back(later: jax.Array, error: jax.Array) -> tuple[jax.Array, jax.Array]:
        now = error + discount * gae * later
        return now, now

    return jax.lax.scan(back, jnp.zeros_like(values[0]), errors, reverse=True)[1]


def batch_of(record: Record, rewards: jax.Array, discount: jax.Array, gae: jax.Array) -> Batch:
    """The samples of a trajectory with standardised advantages, cut into blocks."""
    estimate = advantages(rewards, record.value, discount, gae)
    target = estimate + record.value
    estimate = (estimate - jnp.mean(estimate)) / (jnp.std(estimate) + 1e-8)
    horizon, economies, agents = rewards.shape
    blocks = _blocks(horizon * economies, agents)

    def with_agents(x: jax.Array) -> jax.Array:
        return _cut(x, x.ndim - 2, blocks)

    cut = Record(
        _cut(record.shared, record.shared.ndim - 1, blocks),
        with_agents(record.own),
        tuple(map(with_agents, record.indices)),
        with_agents(record.log_probability),
        with_agents(record.value),
    )
    return Batch(cut, with_agents(estimate), with_agents(target))


def _blocks(samples: int, agents: int) -> int:
    """The smallest number of equal blocks of at most `BLOCK` agent samples."""
    wanted = ceil(samples * agents / BLOCK)
    return next(n for n in range(min(wanted, samples), samples + 1) if samples % n == 0)


def _cut(x: jax.Array, economies: int, blocks: int) -> jax.Array:
    """(horizon, ..., economies, ...) to (blocks, ..., steps x economies / blocks, ...)."""
    x = jnp.moveaxis(x, 0, economies - 1)
    shape = x.shape
    together = shape[economies - 1] * shape[economies]
    x = x.reshape(*shape[: economies - 1], blocks, together // blocks, *shape[economies + 1 :])
    return jnp.moveaxis(x, economies - 1, 0)


def update(
    policy: Policy,
    algorithm: Literal["ppo", "policy_gradient"],
    epochs: int,
    settings: Settings,
    parameters: Parameters,
    optimizer: Any,
    batch: Batch,
    masks: Masks,
) -> tuple[Parameters, Any, dict[str, jax.Array]]:
    """`epochs` steps of Adam on the whole batch. Returns new parameters, optimizer state and metrics."""
    samples = batch.advantage.size

    def loss(parameters: Parameters, block: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        record = block.record
        logits, value = policy(parameters, record.shared, record.own)
        found = distributions(logits, masks)
        chance = jnp.broadcast_to(log_probability(found, record.indices), value.shape)
        spread = jnp.broadcast_to(entropy(found), value.shape)
        log_ratio = chance - record.log_probability
        ratio = jnp.exp(log_ratio)
        if algorithm == "ppo":
            clipped = jnp.clip(ratio, 1 - settings["clip"], 1 + settings["clip"])
            gain = jnp.minimum(ratio * block.advantage, clipped * block.advantage)
        else:
            gain = chance * block.advantage
        error = optax.huber_loss(value, block.target)
        if "value_clip" in settings:
            near = record.value + jnp.clip(value - record.value, -settings["value_clip"], settings["value_clip"])
            error = jnp.maximum(error, optax.huber_loss(near, block.target))
        total = -gain - settings["entropy"] * spread + settings["value_weight"] * error
        metrics = {
            "entropy": spread,
            "value_loss": error,
            "kl": ratio - 1 - log_ratio,
            "clipped": jnp.abs(ratio - 1) > settings["clip"],
        }
        return jnp.sum(total) / samples, {name: jnp.sum(m) / samples for name, m in metrics.items()}

    def accumulate(
        total: tuple[Parameters, dict[str, jax.Array]], block: Batch, parameters: Parameters
    ) -> tuple[tuple[Parameters, dict[str, jax.Array]], None]:
        gradient, metrics = jax.grad(loss, has_aux=True)(parameters, block)
        return jax.tree.map(jnp.add, total, (gradient, metrics)), None

    def epoch(carry: tuple[Parameters, Any], _: None) -> tuple[tuple[Parameters, Any], dict[str, jax.Array]]:
        parameters, optimizer = carry
        none: dict[str, jax.Array] = dict.fromkeys(("entropy", "value_loss", "kl", "clipped"), jnp.zeros(()))
        zero = jax.tree.map(jnp.zeros_like, parameters), none
        (gradient, metrics), _ = jax.lax.scan(lambda t, b: accumulate(t, b, parameters), zero, batch)
        norm = optax.tree.norm(gradient)
        scale = jnp.minimum(1.0, settings["gradient_clip"] / (norm + 1e-12))
        gradient = jax.tree.map(lambda g: g * scale, gradient)
        direction, optimizer = OPTIMIZER.update(gradient, optimizer)
        parameters = jax.tree.map(lambda p, d: p - settings["learning_rate"] * d, parameters, direction)
        return (parameters, optimizer), {**metrics, "gradient_norm": norm}

    (parameters, optimizer), metrics = jax.lax.scan(epoch, (parameters, optimizer), None, length=epochs)
    return parameters, optimizer, jax.tree.map(jnp.mean, metrics)

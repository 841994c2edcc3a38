"""Policy-gradient learning from one batch of episodes: PPO (Schulman et al. 2017) and plain policy gradient."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from rbcc.runtime.parallel.devices import ALONE, Share
from rbcc.runtime.policies.policy import FEW, Indices, Masks, Parameters, Policy, Sight, assess_all
from rbcc.runtime.rollout.microbatch import block_size, counts
from rbcc.runtime.rollout.rollout import Record


Settings = Mapping[str, jax.Array]
"""A learner's settings in this iteration: learning_rate, clip, value_weight, gae, entropy, gradient_clip, ..."""

METRICS = ("entropy", "value_loss", "kl", "clipped", "gradient_norm")
"""What an update measures, per sample but for the last."""

FLOOR = 0.02
"""The least deviation of the advantages of a step, as a share of that of all steps."""

OPTIMIZER = optax.scale_by_adam(eps=1e-5)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Samples:
    """What is learned from, in blocks: arrays are (blocks, ..., economies and steps of the block, agents of the block).

    `weight` is 0 for what only fills up the last blocks, None where nothing does.
    """

    sight: Sight
    indices: Indices
    log_probability: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array
    weight: jax.Array | None


@dataclass(frozen=True)
class Batch:
    """`size` samples, in blocks."""

    samples: Samples
    size: int


def advantages(
    rewards: jax.Array, values: jax.Array, discount: jax.Array, gae: jax.Array, last: jax.Array | None = None
) -> jax.Array:
    """Generalised advantage estimates (Schulman et al. 2016) of episodes that end at the horizon.

    `rewards` and `values` are (horizon, economies, agents); `last`, (economies, agents), is the value of what comes
    after the last step, by default nothing.
    """
    following = jnp.concatenate([values[1:], (jnp.zeros_like(values[0]) if last is None else last)[None]])
    errors = rewards + discount * following - values

    def back(later: jax.Array, error: jax.Array) -> tuple[jax.Array, jax.Array]:
        now = error + discount * gae * later
        return now, now

    return jax.lax.scan(back, jnp.zeros_like(values[0]), errors, reverse=True)[1]


def centred(rewards: jax.Array, share: Share) -> jax.Array:
    """`rewards` of an economy that goes on, less their mean (Naik et al. 2024).

    That changes all values by the same number and no choice; without it values are as large as the sum of discount
    factors, and what depends on choices is lost in them.
    """
    return rewards - jax.lax.stop_gradient(share.mean(jnp.mean(rewards)))


def standardised(estimate: jax.Array, share: Share) -> jax.Array:
    """`estimate`, (horizon, economies, agents), less its mean and by its standard deviation, step by step.

    Means and deviations are those of all devices together. What is small in money but all that a step decides is then
    learned as well as what is large. A share `FLOOR` of the deviation of all steps is added to each, so that a step in
    which nothing depends on choices is not blown up to the size of the others.
    """
    mean = share.mean(jnp.mean(estimate, axis=(1, 2)))[:, None, None]
    variance = share.mean(jnp.mean((estimate - mean) ** 2, axis=(1, 2)))[:, None, None]
    whole = share.mean(jnp.mean(estimate))
    spread = jnp.sqrt(jnp.mean(variance + (mean - whole) ** 2))
    return (estimate - mean) / (jnp.sqrt(variance) + FLOOR * spread + 1e-8)


def batch_of(
    policy: Policy,
    record: Record,
    rewards: jax.Array,
    discount: jax.Array,
    gae: jax.Array,
    members: jax.Array,
    last: jax.Array | None = None,
    share: Share = ALONE,
) -> Batch:
    """The samples of a trajectory with standardised advantages, cut into blocks.

    `members` (economies, k) are the numbers of the agents that are recorded, `rewards` (horizon, economies, k) theirs;
    `last` (economies, k) is the value of what comes after the last step.
    """
    if last is not None:
        rewards = centred(rewards, share)
    estimate = advantages(rewards, record.value, discount, gae, last)
    target = estimate + record.value
    horizon, economies, agents = rewards.shape
    cut = _Cut.of(horizon * economies, agents, block_size(policy))
    samples = Samples(
        Sight(
            cut.rows(_together(record.shared[..., None]))[..., 0],
            cut(_together(record.own)),
            None,
            cut(jnp.tile(members, (horizon, 1))),
            {name: cut(_together(x)) for name, x in record.allowed.items()},
        ),
        tuple(cut(_together(index)) for index in record.indices),
        cut(_together(record.log_probability)),
        cut(_together(record.value)),
        cut(_together(standardised(estimate, share))),
        cut(_together(target)),
        None if cut.even else cut(jnp.ones((horizon * economies, agents))),
    )
    if 1 < cut.width < min(FEW, cut.height):
        plane = jax.tree.map(lambda x: jnp.swapaxes(x, -1, -2), replace(samples, sight=None))
        samples = replace(plane, sight=samples.sight.flip())
    return Batch(samples, rewards.size)


def _together(x: jax.Array) -> jax.Array:
    """(horizon, ..., economies, agents) to (..., horizon x economies, agents)."""
    x = jnp.moveaxis(x, 0, -3)
    return x.reshape(*x.shape[:-3], x.shape[-3] * x.shape[-2], x.shape[-1])


@dataclass(frozen=True)
class _Cut:
    """Cuts a plane of `pairs` (of an economy and a step) by `agents` into equal blocks, filled up with zeros."""

    pairs: int
    agents: int
    down: int
    across: int

    @staticmethod
    def of(pairs: int, agents: int, size: int) -> "_Cut":
        """Into the fewest blocks of at most `size` samples."""
        return _Cut(pairs, agents, *counts(pairs, agents, size))

    @property
    def height(self) -> int:
        return ceil(self.pairs / self.down)

    @property
    def width(self) -> int:
        return ceil(self.agents / self.across)

    @property
    def even(self) -> bool:
        return self.height * self.down == self.pairs and self.width * self.across == self.agents

    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., pairs, agents) to (blocks, ..., height, width)."""
        before = x.shape[:-2]
        fill = (self.height * self.down - self.pairs, self.width * self.across - self.agents)
        x = jnp.pad(x, (*((0, 0) for _ in before), (0, fill[0]), (0, fill[1])))
        x = x.reshape(*before, self.down, self.height, self.across, self.width)
        x = jnp.moveaxis(x, (-4, -2), (0, 1))
        return x.reshape(self.down * self.across, *before, self.height, self.width)

    def rows(self, x: jax.Array) -> jax.Array:
        """(..., pairs, 1) to (blocks, ..., height, 1): the same for all agents."""
        return jnp.repeat(_Cut(self.pairs, 1, self.down, 1)(x), self.across, axis=0)


def update(
    policy: Policy,
    algorithm: Literal["ppo", "policy_gradient"],
    epochs: int,
    settings: Settings,
    parameters: Parameters,
    optimizer: Any,
    batch: Batch,
    masks: Masks,
    share: Share = ALONE,
) -> tuple[Parameters, Any, jax.Array]:
    """`epochs` steps of Adam on the whole batch, that of all devices.

    Returns new parameters, optimizer state and the means of `METRICS` over epochs.
    """
    samples = batch.samples
    number = batch.size * share.devices
    # One vector of all parameters: fewer and larger operations than an array at a time, to run and to compile.
    start, whole = ravel_pytree(parameters)

    def gradient_of_block(parameters: Parameters, block: Samples) -> tuple[Parameters, jax.Array]:
        """The part of one block in the gradient of the loss, and in the means of all `METRICS` but the last.

        The loss is differentiated by hand with respect to log probability, entropy and value, by JAX through the
        network.
        """

        def network(parameters: Parameters) -> tuple[jax.Array, jax.Array, jax.Array]:
            logits, value = policy(parameters, block.sight)
            own = policy.within(masks, block.sight)
            chance, spread = assess_all(logits, own, block.indices, policy.stacks, value.shape)
            return chance, spread, value

        (chance, spread, value), back = jax.vjp(network, parameters)
        log_ratio = chance - block.log_probability
        ratio = jnp.exp(log_ratio)
        clipped = jnp.abs(ratio - 1) > settings["clip"]
        if algorithm == "ppo":  # where clipping makes the objective smaller it is constant
            limit = jnp.clip(ratio, 1 - settings["clip"], 1 + settings["clip"])
            slope = jnp.where(ratio * block.advantage <= limit * block.advantage, ratio * block.advantage, 0)
        else:
            slope = block.advantage
        distance = value - block.target
        error, pull = optax.huber_loss(distance), jnp.clip(distance, -1, 1)
        if "value_clip" in settings:
            moved = value - block.value
            near = block.value + jnp.clip(moved, -settings["value_clip"], settings["value_clip"]) - block.target
            far = optax.huber_loss(near) > error
            inside = jnp.abs(moved) <= settings["value_clip"]
            pull = jnp.where(far, jnp.where(inside, jnp.clip(near, -1, 1), 0), pull)
            error = jnp.where(far, optax.huber_loss(near), error)
        weight = jnp.ones(()) / number if block.weight is None else block.weight / number
        entropy = jnp.broadcast_to(-settings["entropy"] * weight, spread.shape)
        (gradient,) = back((-slope * weight, entropy, settings["value_weight"] * pull * weight))
        metrics = jnp.stack(
            [jnp.broadcast_to(spread, value.shape), error, ratio - 1 - log_ratio, clipped.astype(float)]
        )
        return gradient, jnp.sum(metrics * weight, axis=(1, 2))

    def gradient_of(flat: jax.Array) -> tuple[jax.Array, jax.Array]:
        parameters = whole(flat)

        def add(total: jax.Array, block: Samples) -> tuple[jax.Array, None]:
            return total + ravel_pytree(gradient_of_block(parameters, block))[0], None

        none = jnp.zeros((flat.size + len(METRICS) - 1,))
        total, _ = jax.lax.scan(add, none, samples)
        total = share.sum(total)
        return total[: flat.size], total[flat.size :]

    def epoch(carry: tuple[jax.Array, Any], _: None) -> tuple[tuple[jax.Array, Any], jax.Array]:
        flat, optimizer = carry
        gradient, metrics = gradient_of(flat)
        flat, optimizer, norm = stepped(flat, gradient, optimizer, settings)
        return (flat, optimizer), jnp.append(metrics, norm)

    (flat, optimizer), metrics = jax.lax.scan(epoch, (start, optimizer), None, length=epochs)
    return whole(flat), optimizer, jnp.mean(metrics, axis=0)


def stepped(
    flat: jax.Array, gradient: jax.Array, optimizer: Any, settings: Settings
) -> tuple[jax.Array, Any, jax.Array]:
    """Parameters, (size,), after a step of Adam by the clipped gradient; its state, and the norm before clipping."""
    norm = jnp.sqrt(jnp.sum(gradient**2))
    gradient = gradient * jnp.minimum(1.0, settings["gradient_clip"] / (norm + 1e-12))
    direction, optimizer = OPTIMIZER.update(gradient, optimizer)
    assert isinstance(direction, jax.Array)
    return flat - settings["learning_rate"] * direction, optimizer, norm


def fresh_optimizer(parameters: Parameters) -> Any:
    """The state of Adam before its first step."""
    return OPTIMIZER.init(ravel_pytree(parameters)[0])

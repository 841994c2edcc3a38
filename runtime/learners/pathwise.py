"""Learning by the derivative of payoffs through the model itself, where that is smooth.

An agent's payoff is a function of what its network makes it do, through the equations, the states and what others do in
answer; all of this is one differentiable program. Its derivative has none of the noise of a policy gradient, which
learns from rewards alone. (The short horizon and the value of what follows are those of Xu et al., 2022.)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from rbcc.runtime.learners.ppo import Settings, advantages, centred, stepped
from rbcc.runtime.parallel.devices import Share
from rbcc.runtime.policies.policy import Indices, Masks, Parameters, Policy, Sight, assess_all
from rbcc.runtime.rollout.rollout import Trajectory


def ascend(
    policy: Policy,
    play: Callable[[Parameters], tuple[Trajectory, jax.Array]],
    network: Parameters,
    optimizer: Any,
    masks: Masks,
    members: jax.Array,
    discount: jax.Array,
    settings: Settings,
    share: Share,
) -> tuple[Parameters, Any, jax.Array]:
    """One step of Adam up the payoff of `members` of a type, (economies, k).

    `play` gives the episodes in which they follow a network, with what they record, and the rewards that count,
    (horizon, economies, k). Where `members` are one agent in each economy, and the others of its type play as before,
    that these answer to what the agent does is part of the derivative, that their network is the same is not: what is
    found is a best response, and where it is the network itself an equilibrium. Returns new parameters, optimizer state
    and `METRICS`.
    """
    start, whole = ravel_pytree(network)

    def loss(flat: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = whole(flat)
        played, rewards = play(own)
        record = played.records[policy.agent]
        rewards = rewards / settings["reward_scale"]
        if played.last:
            rewards = centred(rewards, share)
        horizon = rewards.shape[0]
        payoff = jnp.sum(discount ** jnp.arange(horizon)[:, None, None] * rewards, axis=0)
        everyone = jnp.broadcast_to(members, (horizon, *members.shape))
        seen = Sight(record.shared, record.own, None, everyone, record.allowed)

        def again(sight: Sight, indices: Indices) -> tuple[jax.Array, jax.Array]:
            """Values of what was seen, and the entropy of what could have been done."""
            logits, value = policy(own, sight)
            return value, assess_all(logits, policy.within(masks, sight), indices, policy.stacks, value.shape)[1]

        values, spread = jax.vmap(again)(*jax.lax.stop_gradient((seen, record.indices)))
        last = None
        if played.last:
            frozen = jax.lax.stop_gradient(own)
            last = policy(frozen, played.last[policy.agent].of(members))[1]
            payoff = payoff + discount**horizon * last
        fixed = jax.lax.stop_gradient((rewards, values, last))
        target = advantages(fixed[0], fixed[1], discount, settings["gae"], fixed[2]) + fixed[1]
        error = jnp.mean(optax.huber_loss(values, target))
        entropy = jnp.mean(spread)
        weight = settings["value_weight"] if played.last else 0.0  # else nothing needs values
        return weight * error - jnp.mean(payoff) - settings["entropy"] * entropy, jnp.stack([entropy, error])

    gradient, (entropy, error) = share.mean(jax.grad(loss, has_aux=True)(start))
    flat, optimizer, norm = stepped(start, gradient, optimizer, settings)
    none = jnp.zeros(())
    return whole(flat), optimizer, jnp.stack([entropy, error, none, none, norm])

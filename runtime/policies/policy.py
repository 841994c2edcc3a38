"""Policies: one network per agent type, shared by its agents, with categorical choices or continuous ones.

Arrays have the features first and the agents last, (features, economies, agents), so that products, soft-maxes over a
few choices and sampling all vectorise over agents. Features that all agents of a type share enter the first layer by a
product of their own, computed once per economy, and so do those of an agent that never change, once for all economies.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.compiler.ir.types import NetworkPrecision
from rbcc.runtime.actions.spaces import Head, Stack, heads_of, stacks_of
from rbcc.runtime.economy.model import Model
from rbcc.runtime.policies.precision import product


Parameters = dict[str, Any]
Masks = tuple[jax.Array, ...]
"""For each stack of heads the choices that are allowed, (repeats, choices); where that depends on what each agent may
choose, (repeats, choices, economies, agents)."""
Indices = tuple[jax.Array, ...]
"""For each stack of heads the numbers of the choices made, (repeats, economies, agents)."""

_FORBIDDEN = -1e9
# Choices of a fold that are unrolled: each makes the program longer to compile; from six on a CPU gains no speed.
_UNROLLED = 6
# The last axis is worked on in vectors, of 16 numbers on a CPU: for fewer agents that of economies is better.
FEW = 16


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sight:
    """What the agents of one type, or some of them, see in many economies.

    `shared` is (n, economies), `own` (m, economies, agents), `fixed` (f, agents): features that never change, the same
    in all economies. Where different agents are looked at in each economy, their fixed features are among `own`.
    `member` has the numbers of the agents: (agents,), or (economies, agents) where they differ from economy to economy.
    `allowed` says which choices they have, (repeats, choices, economies, agents), of actions that have a condition.
    In a `flipped` sight, and all that a network makes of it, agents come before economies.
    """

    shared: jax.Array
    own: jax.Array
    fixed: jax.Array | None
    member: jax.Array
    allowed: dict[str, jax.Array] = field(default_factory=dict)
    flipped: bool = field(default=False, metadata={"static": True})

    @property
    def plane(self) -> tuple[int, int]:
        """(economies, agents), or (agents, economies)"""
        return self.own.shape[1], self.own.shape[2]

    def flip(self) -> "Sight":
        return replace(
            self,
            own=jnp.swapaxes(self.own, -1, -2),
            member=self.member if self.member.ndim == 1 else jnp.swapaxes(self.member, -1, -2),
            allowed={name: jnp.swapaxes(x, -1, -2) for name, x in self.allowed.items()},
            flipped=not self.flipped,
        )

    def of(self, members: jax.Array, economies: np.ndarray | None = None) -> "Sight":
        """What `members`, (economies, k), see in all economies, or in those at the places `economies`."""
        shared, own, allowed = self.shared, self.own, self.allowed
        if economies is not None:
            shared, own = shared[:, economies], own[:, economies]
            allowed = {name: x[..., economies, :] for name, x in allowed.items()}
        own = of_members(own, members)
        if self.fixed is not None:
            own = jnp.concatenate([own, self.fixed[:, members]])
        return Sight(shared, own, None, members, {name: of_members(x, members) for name, x in allowed.items()})


def of_members(x: jax.Array, members: jax.Array) -> jax.Array:
    """The entries of `members` (economies, k) in an array that ends in (economies, agents)."""
    return jnp.take_along_axis(x, jnp.broadcast_to(members, (*x.shape[:-1], members.shape[1])), axis=-1)


@dataclass(frozen=True)
class Policy:
    """The network of one agent type.

    `shared`, `own` and `fixed` count its inputs, `network` has the hidden widths; there is an output for each choice of
    each head, and one for the value. The network also knows which of the `agents` it decides for: agents who observe
    the same may still answer differently.
    """

    agent: str
    agents: int
    shared: int
    own: int
    fixed: int
    heads: tuple[Head, ...]
    network: tuple[int, ...]
    precision: NetworkPrecision = "float32"

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        return stacks_of(self.heads)

    @property
    def smooth(self) -> bool:
        """Whether outputs have to be smooth in what is seen: numbers that agents choose are, as a rule."""
        return any(head.continuous for head in self.heads)

    @property
    def stacked_heads(self) -> list[Head]:
        """The heads in the order in which stacks have them."""
        return [head for stack in self.stacks for head in stack.heads]

    @property
    def draws(self) -> int:
        """Random numbers that one agent needs for a step."""
        return sum(head.repeats for head in self.heads)

    def init(self, key: jax.Array) -> Parameters:
        """Fresh parameters of explorers: orthogonal weights, nearly uniform choices, zero biases."""
        own = self.own + self.fixed
        widths = [self.shared + own, *self.network]
        last = widths[-1]
        keys = jax.random.split(key, len(widths) + 2 + len(self.stacks))
        orthogonal = jax.nn.initializers.orthogonal
        layers = [
            {"weight": orthogonal(2**0.5)(k, (wide, narrow)), "bias": jnp.zeros((wide,))}
            for k, narrow, wide in zip(keys, widths[:-1], widths[1:], strict=False)
        ]
        first = layers[0].pop("weight")
        layers[0] |= {"shared": first[:, : self.shared], "own": first[:, self.shared :]}
        if self.agents > 1:
            spread = (2 / (first.shape[1] + self.agents)) ** 0.5
            layers[0]["member"] = spread * jax.random.normal(keys[-2], (first.shape[0], self.agents))
        return {
            "layers": layers,
            "choices": [
                {
                    "weight": orthogonal(0.01)(k, (stack.choices * stack.repeats, last)),
                    "bias": jnp.zeros((stack.choices * stack.repeats,)),
                }
                for k, stack in zip(keys[len(widths) :], self.stacks, strict=False)
            ],
            "value": {"weight": orthogonal(1.0)(keys[-1], (1, last)), "bias": jnp.zeros((1,))},
            "sharpness": jnp.ones(()),
        }

    def __call__(self, parameters: Parameters, sight: Sight) -> tuple[tuple[jax.Array, ...], jax.Array]:
        """Logits and value: for each stack (repeats, choices, economies, agents), and (economies, agents).

        The logits are those of explorers, whatever the sharpness (see `sharpened`).
        """
        plane, (per_economy, per_agent) = sight.plane, ((1, 2) if sight.flipped else (2, 1))
        first, *rest = parameters["layers"]
        varying = sight.own.shape[0]
        hidden = self.product(first["shared"], sight.shared) + first["bias"][:, None]
        hidden = jnp.expand_dims(hidden, per_economy)
        if varying:
            own = self.product(first["own"][:, :varying], sight.own.reshape(varying, -1))
            hidden = hidden + own.reshape(-1, *plane)
        if sight.fixed is not None and self.fixed:
            hidden = hidden + jnp.expand_dims(self.product(first["own"][:, varying:], sight.fixed), per_agent)
        if self.agents > 1:
            member = first["member"][:, sight.member]
            hidden = hidden + (jnp.expand_dims(member, per_agent) if sight.member.ndim == 1 else member)
        hidden = jnp.broadcast_to(hidden, (hidden.shape[0], *plane))
        activation = jnp.tanh if self.smooth else jax.nn.relu
        hidden = activation(hidden).reshape(hidden.shape[0], -1)
        for layer in rest:
            hidden = activation(self.product(layer["weight"], hidden) + layer["bias"][:, None])
        logits = []
        for stack, output in zip(self.stacks, parameters["choices"], strict=True):
            rows = self.product(output["weight"], hidden) + output["bias"][:, None]
            logits.append(rows.reshape(stack.repeats, stack.choices, *plane))
        value = self.product(parameters["value"]["weight"], hidden) + parameters["value"]["bias"]
        return tuple(logits), value.reshape(plane)

    def product(self, weight: jax.Array, x: jax.Array) -> jax.Array:
        return product(weight, x, self.precision)

    def apart(self, indices: Indices) -> list[jax.Array]:
        """The choices of each head, (its repeats, economies, agents), of those of each stack, in the stacks' order."""
        return [part for stack, index in zip(self.stacks, indices, strict=True) for part in stack.split(index)]

    def together(self, parts: Sequence[jax.Array]) -> Indices:
        """The inverse of `apart`."""
        found, left = [], list(parts)
        for stack in self.stacks:
            own, left = left[: len(stack.heads)], left[len(stack.heads) :]
            found.append(jnp.concatenate([part.astype(stack.dtype) for part in own]))
        return tuple(found)

    def within(self, masks: Masks, sight: Sight) -> Masks:
        """`masks` narrowed to what is allowed to those who see `sight`: in a stack with such actions, for each of them.

        Where an agent is left without a choice all that are allowed to it are: what is allowed is a rule of the model,
        what is offered one of training.
        """
        narrowed = (
            stack.within(mask, sight.allowed) if stack.restricted else mask
            for stack, mask in zip(self.stacks, masks, strict=True)
        )
        return tuple(narrowed)

    def allowed(self, offered: Mapping[str, jax.Array] | None = None) -> Masks:
        """Masks of the choices that are offered, for some actions; of the others all are."""
        return tuple(stack.allowed(offered or {}) for stack in self.stacks)


def policies(model: Model, learners: Sequence[ir.Learner]) -> dict[str, Policy]:
    """The networks of all learning types, as the first phase describes them."""
    found = {}
    for learner in learners:
        observation = next(o for o in model.ir.observations if o.agent == learner.agent)
        shared, own, fixed = (
            sum(feature.size for feature in part) for part in (observation.shared, observation.own, observation.fixed)
        )
        found[learner.agent] = Policy(
            agent=learner.agent,
            agents=model.ir.count(learner.agent),
            shared=shared,
            own=own,
            fixed=fixed,
            heads=heads_of(learner.agent, model.spaces, learner.joint),
            network=learner.network,
            precision=model.ir.network_precision,
        )
    return found


# --- the profile ---------------------------------------------------------------------------------------------------

# How far the odds of a choice may lie below those of the best, as a logarithm, to count as a tie in a sharp profile.
_TIE = 0.6


def profile_of(network: Parameters, sharpness: jax.Array | float) -> Parameters:
    """The parameters of the profile: what agents play who do not explore.

    `network` is that of explorers, who choose at random to learn what choices are worth. The profile takes the best of
    these: probabilities are those of explorers to the power `sharpness`. Choices that explorers take nearly as often as
    the best are ties, all taken equally often: what is left to chance stays so, and does not follow the noise of
    learning. Both fade out as `sharpness` goes to 1, where the profile is what explorers play.
    """
    return {**network, "sharpness": jnp.asarray(sharpness, jnp.result_type(float))}


def explorers_of(profile: Parameters) -> Parameters:
    """The network of explorers from which a profile was made."""
    return profile_of(profile, 1.0)


def sharpened(
    logits: Sequence[jax.Array], masks: Masks, parameters: Parameters, stacks: Sequence[Stack]
) -> tuple[jax.Array, ...]:
    """Logits, (repeats, choices, ...) for each stack, as sharp as `parameters` want them.

    The standard deviation of a normal number is divided by the square root of the sharpness, as far as the bounds of
    deviations allow.
    """
    sharpness = jax.lax.stop_gradient(parameters["sharpness"])  # it is set, not learned
    tie = _TIE * (1 - 1 / sharpness)
    found = []
    for one, mask, stack in zip(logits, masks, stacks, strict=True):
        if stack.continuous:
            found.append(one.at[:, 1].add(-jnp.log(sharpness) / 2))
        else:
            allowed = jnp.expand_dims(mask, range(mask.ndim, one.ndim))
            best = jnp.max(jnp.where(allowed, one, _FORBIDDEN), axis=1, keepdims=True)
            found.append(sharpness * jnp.minimum(one - best + tie, 0))
    return tuple(found)


# --- categorical choices -------------------------------------------------------------------------------------------


def _weights(logits: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of logits (repeats, choices, n): shifted so that the largest is 0, their exponentials, the sum of these.

    A mask is of the same shape, or (repeats, choices).
    """
    logits = jnp.where(jnp.expand_dims(mask, range(mask.ndim, 3)), logits, _FORBIDDEN)
    shifted = logits - jnp.max(logits, axis=1, keepdims=True)
    weights = jnp.exp(shifted)
    return shifted, weights, jnp.sum(weights, axis=1)


def _fold(function: Callable[..., Any], start: Any, *arrays: jax.Array) -> Any:
    """`function(carry, number of the choice, entry of each array)` from choice to choice, along axis 1 of `arrays`.

    Unrolled it is a single loop over agents, with what is carried in registers.
    """
    choices = arrays[0].shape[1]
    each = jnp.arange(choices), *(jnp.moveaxis(x, 1, 0) for x in arrays)
    return jax.lax.scan(lambda carry, x: (function(carry, *x), None), start, each, unroll=min(_UNROLLED, choices))[0]


def choose(logits: jax.Array, mask: jax.Array, uniform: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draws the choices of a stack: the ones at which the cumulative weight passes `uniform` of the total.

    `logits` are (repeats, choices, n) for n agents, `uniform` (repeats, n), the mask as in `_weights`. Returns the
    choices, of the shape of `uniform`, and the log probability of all repeats together, (n,).
    """
    shifted, weights, total = _weights(logits, mask)
    target = uniform * total

    def pass_by(carry: Any, _: jax.Array, weight: jax.Array, logit: jax.Array) -> Any:
        passed, index, chosen = carry
        chosen = jnp.where((passed <= target) & (weight > 0), logit, chosen)
        passed = passed + weight
        return passed, index + (passed <= target), chosen

    nothing = jnp.zeros_like(target)
    _, index, chosen = _fold(pass_by, (nothing, nothing.astype(int), nothing), weights, shifted)
    # Rounding in the cumulative sum may leave a target close to the total unpassed: the last choice allowed is the one.
    last = mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1)
    last = jnp.expand_dims(last.astype(int), range(last.ndim, 2))
    return jnp.minimum(index, last), jnp.sum(chosen - jnp.log(total), axis=0)


@jax.custom_vjp
def assess(logits: jax.Array, mask: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The log probability of the choices `index` of a stack and the entropy, of all repeats together, (n,).

    Shapes as in `choose`. Its derivative with respect to the logits is written out: all choices in one pass.
    """
    return _assess(logits, mask, index)[0]


def _assess(logits: jax.Array, mask: jax.Array, index: jax.Array) -> tuple[tuple[jax.Array, jax.Array], Any]:
    shifted, weights, total = _weights(logits, mask)
    index, scale = index.astype(int), jnp.log(total)
    nothing = jnp.zeros_like(total)
    spread = scale - _fold(lambda found, _, w, x: found + w * x, nothing, weights, shifted) / total
    chance = _fold(lambda found, k, x: jnp.where(index == k, x, found), nothing, shifted) - scale
    return (jnp.sum(chance, axis=0), jnp.sum(spread, axis=0)), (shifted, weights, total, scale, spread, index)


def _assess_gradient(kept: Any, outer: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None, None]:
    """With p the probabilities, d(log p_chosen) = [chosen] - p and d(entropy) = -p (log p + entropy)."""
    shifted, weights, total, scale, spread, index = kept
    chance, entropy = outer
    # -(chance + entropy (shifted - scale + spread)) / total, with what does not depend on the choice taken together
    constant, slope = (chance + entropy * (spread - scale)) / total, entropy / total
    ones = jnp.where(jnp.arange(shifted.shape[1])[:, None] == index[:, None], chance, 0)
    return ones - weights * (constant[:, None] + slope[:, None] * shifted), None, None


assess.defvjp(_assess, _assess_gradient)


# --- continuous choices --------------------------------------------------------------------------------------------

# Logarithms of the smallest and largest standard deviation of what is drawn, before the logistic function or soft-max.
_NARROWEST, _WIDEST = -7.0, 0.5
_HALF_LOG_TAU = 0.9189385332046727


def _normal(outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and logarithm of the standard deviation, (repeats, n), from what a network gives, (repeats, 2, n)."""
    mean, spread = outputs[:, 0], outputs[:, 1]
    # The bounds are approached smoothly: a clipped output would get no gradient to come back.
    spread = _WIDEST - jax.nn.softplus(-spread)
    return mean, _NARROWEST + jax.nn.softplus(spread - _NARROWEST)


def draw_normal(outputs: jax.Array, uniform: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draws normal numbers, (repeats, n), from `uniform` ones; their log probability, all repeats together, (n,)."""
    mean, spread = _normal(outputs)
    tiny = jnp.finfo(uniform.dtype).eps / 4
    noise = jax.scipy.special.ndtri(jnp.clip(uniform, tiny, 1 - 2 * tiny))
    return mean + jnp.exp(spread) * noise, -jnp.sum(noise**2 / 2 + spread + _HALF_LOG_TAU, axis=0)


def assess_normal(outputs: jax.Array, drawn: jax.Array, shares: bool) -> tuple[jax.Array, jax.Array]:
    """The log probability of `drawn` numbers, and the entropy, of all repeats together, (n,).

    The entropy is that of what they are made, shares of an interval each, or `shares` of one whole together; to first
    order: of the normal numbers, plus the logarithm of the slope at their mean of the logistic function, or of the
    soft-max, which is the product of all shares. It is largest for choices all over the interval, or all shares alike.
    """
    mean, spread = _normal(outputs)
    chance = -((drawn - mean) ** 2) / (2 * jnp.exp(2 * spread)) - spread - _HALF_LOG_TAU
    entropy = jnp.sum(0.5 + _HALF_LOG_TAU + spread, axis=0)
    if shares:
        slope = jax.nn.log_softmax(jnp.concatenate([mean, jnp.zeros_like(mean[:1])]), axis=0)
    else:
        slope = jax.nn.log_sigmoid(mean) + jax.nn.log_sigmoid(-mean)
    return jnp.sum(chance, axis=0), entropy + jnp.sum(slope, axis=0)


# --- all choices together ------------------------------------------------------------------------------------------


def choose_all(
    logits: Sequence[jax.Array], masks: Masks, uniform: jax.Array, stacks: Sequence[Stack]
) -> tuple[Indices, jax.Array]:
    """Choices of all stacks from `uniform` numbers (draws, economies, agents), and their log probability together.

    Agents of all economies are worked on in one row, as long as can be.
    """
    plane = uniform.shape[1:]
    indices, chances, row = [], [], 0
    for one, mask, stack in zip(logits, masks, stacks, strict=True):
        noise = uniform[row : row + stack.repeats].reshape(stack.repeats, -1)
        outputs = one.reshape(*one.shape[:2], -1)
        mask = mask.reshape(*mask.shape[:2], -1) if mask.ndim > 2 else mask
        index, chance = draw_normal(outputs, noise) if stack.continuous else choose(outputs, mask, noise)
        indices.append(index.astype(stack.dtype).reshape(stack.repeats, *plane))
        chances.append(chance)
        row += stack.repeats
    return tuple(indices), sum(chances, start=jnp.zeros(plane[0] * plane[1])).reshape(plane)


def assess_all(
    logits: Sequence[jax.Array], masks: Masks, indices: Indices, stacks: Sequence[Stack], plane: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """The log probability of the choices of all stacks together, and the entropy, both of shape `plane`."""
    chances, spreads = [], []
    for one, mask, index, stack in zip(logits, masks, indices, stacks, strict=True):
        outputs, made = one.reshape(*one.shape[:2], -1), index.reshape(index.shape[0], -1)
        if stack.continuous:
            chance, spread = assess_normal(outputs, made, stack.shares)
        else:
            mask = mask.reshape(*mask.shape[:2], -1) if mask.ndim > 2 else mask
            chance, spread = assess(outputs, mask, made)
        chances.append(chance)
        spreads.append(spread)
    nothing = jnp.zeros(plane[0] * plane[1])
    return sum(chances, start=nothing).reshape(plane), sum(spreads, start=nothing).reshape(plane)

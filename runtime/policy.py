"""Policies: one network per agent type, shared by its agents, with one categorical head per choice.

Arrays have the features first and the agents last, (features, economies, agents), so that products, soft-maxes over a
few choices and sampling all vectorise over agents. Features that all agents of a type share enter the first layer by a
product of their own, computed once per economy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from rbcc.compiler import ir
from rbcc.runtime.model import Model
from rbcc.runtime.spaces import Head, heads_of


Parameters = dict[str, Any]
Masks = tuple[jax.Array, ...]

_FORBIDDEN = -1e9
_UNROLLED = 64


@dataclass(frozen=True)
class Policy:
    """The network of one agent type: `shared` and `own` inputs, `network` hidden widths, one output row per choice."""

    agent: str
    agents: int
    shared: int
    own: int
    heads: tuple[Head, ...]
    network: tuple[int, ...]

    @property
    def draws(self) -> int:
        """Random numbers that one agent needs for a step."""
        return sum(head.repeats for head in self.heads)

    def init(self, key: jax.Array) -> Parameters:
        """Fresh parameters: orthogonal weights, nearly uniform choices, zero biases."""
        widths = [self.shared + self.own, *self.network]
        outputs = sum(head.repeats * head.choices for head in self.heads)
        keys = jax.random.split(key, len(widths) + 1)
        orthogonal = jax.nn.initializers.orthogonal
        layers = [
            {"weight": orthogonal(2**0.5)(k, (wide, narrow)), "bias": jnp.zeros((wide,))}
            for k, narrow, wide in zip(keys, widths[:-1], widths[1:], strict=False)
        ]
        first = layers[0].pop("weight")
        layers[0] |= {"shared": first[:, : self.shared], "own": first[:, self.shared :]}
        logits = orthogonal(0.01)(keys[-2], (outputs, widths[-1]))
        value = orthogonal(1.0)(keys[-1], (1, widths[-1]))
        return {
            "layers": layers,
            "output": {"weight": jnp.concatenate([logits, value]), "bias": jnp.zeros((outputs + 1,))},
        }

    def __call__(
        self, parameters: Parameters, shared: jax.Array, own: jax.Array
    ) -> tuple[tuple[jax.Array, ...], jax.Array]:
        """Logits and value.

        `shared` is (features, economies), `own` (features, economies, agents). Returns for each head logits of shape
        (repeats, choices, economies, agents), and the value, (economies, agents).
        """
        economies, agents = own.shape[1:]
        first, *rest = parameters["layers"]
        common = first["shared"] @ shared + first["bias"][:, None]
        mine = first["own"] @ own.reshape(own.shape[0], economies * agents)
        hidden = jax.nn.relu(common[:, :, None] + mine.reshape(mine.shape[0], economies, agents)).reshape(mine.shape)
        for layer in rest:
            hidden = jax.nn.relu(layer["weight"] @ hidden + layer["bias"][:, None])
        output = parameters["output"]["weight"] @ hidden + parameters["output"]["bias"][:, None]
        output = output.reshape(output.shape[0], economies, agents)
        logits, row = [], 0
        for head in self.heads:
            rows = head.repeats * head.choices
            logits.append(output[row : row + rows].reshape(head.repeats, head.choices, economies, agents))
            row += rows
        return tuple(logits), output[row]


def policies(model: Model, learners: Sequence[ir.Learner]) -> dict[str, Policy]:
    """The networks of all learning types, as the first phase describes them."""
    found = {}
    for learner in learners:
        observation = next(o for o in model.ir.observations if o.agent == learner.agent)
        found[learner.agent] = Policy(
            learner.agent,
            model.ir.count(learner.agent),
            sum(feature.size for feature in observation.shared),
            sum(feature.size for feature in observation.own),
            heads_of(learner.agent, model.spaces, learner.joint),
            learner.network,
        )
    return found


@dataclass(frozen=True)
class Categorical:
    """Independent categorical distributions along axis 1 of `logits`, restricted to the choices that `mask` allows.

    `shifted` logits and their exponentials `weights` are (repeats, choices, economies, agents), `total` the sum of
    weights, `last` the last choice that is allowed.
    """

    shifted: jax.Array
    weights: jax.Array
    total: jax.Array
    last: jax.Array

    @staticmethod
    def of(logits: jax.Array, mask: jax.Array) -> "Categorical":
        logits = jnp.where(mask[None, :, None, None], logits, _FORBIDDEN)
        shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=1, keepdims=True))
        weights = jnp.exp(shifted)
        last = mask.shape[0] - 1 - jnp.argmax(mask[::-1])
        return Categorical(shifted, weights, jnp.sum(weights, axis=1), last)

    def sample(self, uniform: jax.Array) -> jax.Array:
        """The choice at which the cumulative weight passes `uniform` (repeats, economies, agents) of the total."""
        target, choices = uniform * self.total, self.weights.shape[1]

        def count(carry: tuple[jax.Array, jax.Array], weight: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
            passed, index = carry
            passed = passed + weight
            return (passed, index + (passed <= target)), None

        start = (jnp.zeros_like(target), jnp.zeros(target.shape, jnp.int32))
        weights = jnp.moveaxis(self.weights, 1, 0)
        (_, index), _ = jax.lax.scan(count, start, weights, unroll=choices if choices <= _UNROLLED else 1)
        # Rounding in the cumulative sum may leave a target close to the total unpassed.
        return jnp.minimum(index, self.last.astype(jnp.int32))

    def log_probability(self, index: jax.Array) -> jax.Array:
        chosen = jnp.arange(self.shifted.shape[1])[:, None, None] == index[:, None]
        return jnp.sum(jnp.where(chosen, self.shifted, 0), axis=1) - jnp.log(self.total)

    def entropy(self) -> jax.Array:
        return jnp.log(self.total) - jnp.sum(self.weights * self.shifted, axis=1) / self.total


def distributions(logits: Sequence[jax.Array], masks: Masks) -> list[Categorical]:
    return [Categorical.of(part, mask) for part, mask in zip(logits, masks, strict=True)]


def sample(found: Sequence[Categorical], uniform: jax.Array) -> tuple[jax.Array, ...]:
    """One choice per head from `uniform` numbers, (draws, economies, agents)."""
    indices, row = [], 0
    for one in found:
        repeats = one.total.shape[0]
        indices.append(one.sample(uniform[row : row + repeats]))
        row += repeats
    return tuple(indices)


def log_probability(found: Sequence[Categorical], indices: Sequence[jax.Array]) -> jax.Array:
    """The log probability of all heads' choices together, (economies, agents)."""
    return sum(
        (jnp.sum(one.log_probability(index), axis=0) for one, index in zip(found, indices, strict=True)),
        start=jnp.zeros(()),
    )


def entropy(found: Sequence[Categorical]) -> jax.Array:
    """The entropy of all heads together, (economies, agents)."""
    return sum((jnp.sum(one.entropy(), axis=0) for one in found), start=jnp.zeros(()))

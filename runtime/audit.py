"""The accounts of a model, tried out: identities and invariants on random episodes."""

from typing import Any

import jax
import numpy as np

from rbcc.compiler import ir
from rbcc.runtime.errors import RunError
from rbcc.runtime.model import Model


EPISODES = 64
TOLERANCE = 1e-6


def audit(model: Model) -> None:
    """Plays episodes of random choices in double precision and checks every identity and invariant in every step.

    Raises RunError with the place in the spec, the step, the agents and the values of the first that does not hold.
    """
    if not model.ir.identities and not model.ir.invariants:
        return
    with jax.enable_x64(True):
        identities, invariants = jax.device_get(_play(model))
    for identity in model.ir.identities:
        left, right = np.broadcast_arrays(*identities[identity.name])
        slack = TOLERANCE * np.maximum(1, np.maximum(np.abs(left), np.abs(right)))
        bad = np.argwhere(~(np.abs(left - right) <= slack))
        if len(bad):
            place = tuple(bad[0])
            values = f"{ir.show(identity.left)} is {left[place]:.9g}, {ir.show(identity.right)} is {right[place]:.9g}"
            raise RunError(
                f"{identity.place}: identity '{identity.name}' does not hold {_where(identity, place)}: {values}"
            )
    for invariant in model.ir.invariants:
        bad = np.argwhere(~invariants[invariant.name])
        if len(bad):
            place = tuple(bad[0])
            raise RunError(f"{invariant.place}: invariant '{invariant.name}' does not hold {_where(invariant, place)}")


def _play(model: Model) -> Any:
    def advance(state: Any, key: jax.Array) -> Any:
        act, shock = jax.random.split(key)
        following, outcome = model.step(state, model.sample(state, act), shock)
        return following, (outcome.identities, outcome.invariants)

    @jax.jit
    def episode(key: jax.Array) -> Any:
        start, key = jax.random.split(key)
        return jax.lax.scan(advance, model.reset(start), jax.random.split(key, model.ir.horizon))[1]

    return jax.vmap(episode)(jax.random.split(jax.random.key(0), EPISODES))


def _where(found: ir.Identity | ir.Statement, place: tuple[int, ...]) -> str:
    """(episode, step, agents...) in words; an axis that an expression does not vary over is left out."""
    agents = ", ".join(f"{index} = {number}" for index, number in zip(found.indices, place[2:], strict=False))
    return f"at step {place[1]} of a random episode{f', {agents}' if agents else ''}"

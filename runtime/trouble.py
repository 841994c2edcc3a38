"""Where a number stopped being finite: the equation, the step, the agent and the values it was made from."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.runtime.checks import Checks, record_of, sane
from rbcc.runtime.model import Model
from rbcc.runtime.schedule import iteration
from rbcc.runtime.train import Progress, networks_of


_EPISODES = 64


def locate(model: Model, phase: ir.Phase, progress: Progress) -> str:
    """Plays some episodes of random choices until some equation gives no finite number.

    Returns its place and text, the step, the index and the values of what it reads; or says that the equations are
    fine, so that learning itself diverged.
    """
    learned = jax.tree.leaves(progress.state)
    now = iteration(model, phase, networks_of(model), jnp.int32(max(0, progress.iteration - 1)))
    play, checks = _episode(model, now.parameters), Checks(model)
    constants = jax.device_get(model.written(model.module.constants(now.parameters)))
    if (parameter := checks.of_parameters(constants)) is not None:
        return str(parameter)
    for key in jax.random.split(jax.random.key(0), _EPISODES):
        arrays = jax.device_get(play(key))
        for step in range(model.ir.horizon):
            record = {name: array[step] for name, array in arrays.items()}
            wrong = (d for d in model.ir.equations if not np.all(sane(record[d.symbol])))
            if (first := next(wrong, None)) is not None:
                return str(checks.failure(first, {**constants, **record}, step))
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in learned):
        return (
            "The networks themselves are no longer finite: lower learning_rate or gradient_clip, or raise reward_scale."
        )
    return "Random play does not repeat it; look for a division, a logarithm or a power that can leave its domain."


def _episode(model: Model, parameters: dict[str, Any]) -> Callable[[jax.Array], dict[str, Any]]:
    """A program that plays an episode of random choices and returns all that equations read or give, step by step."""

    def advance(state: Any, key: jax.Array) -> Any:
        act, shock = jax.random.split(key)
        actions = model.sample(state, act)
        following, outcome = model.step(state, actions, shock, parameters)
        return following, record_of(state, actions, following, outcome)

    def play(key: jax.Array) -> dict[str, Any]:
        start, steps = jax.random.split(key)
        return jax.lax.scan(advance, model.reset(start, parameters), jax.random.split(steps, model.ir.horizon))[1]

    return jax.jit(play)

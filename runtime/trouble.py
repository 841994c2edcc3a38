"""Where a number stopped being finite: the equation, the step, the agent and the values it was made from."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.runtime.model import Model
from rbcc.runtime.schedule import iteration
from rbcc.runtime.train import Progress, networks_of


def locate(model: Model, phase: ir.Phase, progress: Progress, episodes: int = 64) -> str:
    """Plays episodes again, with the networks and with random choices, until some equation gives no finite number.

    Returns its place and text, the step, the index and the values of what it reads; or says that the equations are
    fine, so that learning itself diverged.
    """
    networks = jax.tree.leaves(progress.state.networks)
    now = iteration(model, phase, networks_of(model), jnp.int32(max(0, progress.iteration - 1)))
    for number in range(episodes):
        key = jax.random.fold_in(jax.random.key(0), number)
        found = _play(model, key, now.parameters)
        if found:
            return found
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in networks):
        return (
            "The networks themselves are no longer finite: lower learning_rate or gradient_clip, or raise reward_scale."
        )
    return "Random play does not repeat it; look for a division, a logarithm or a power that can leave its domain."


def _play(model: Model, key: jax.Array, parameters: dict[str, Any]) -> str | None:
    """A report on the first equation that is not finite in an episode of random choices, or None."""

    def advance(state: Any, step: jax.Array) -> Any:
        act, shock = jax.random.split(jax.random.fold_in(key, step))
        actions = model.sample(state, act)
        following, outcome = model.step(state, actions, shock, parameters)
        rewards = {f"{agent}.reward": reward for agent, reward in outcome.rewards.items()}
        later = {f"{name}'": value for name, value in following.items()}
        return following, {**state, **actions, **outcome.values, **rewards, **later}

    state = model.reset(key, parameters)
    _, played = jax.lax.scan(advance, state, jnp.arange(model.ir.horizon))
    values = {**jax.device_get(model.module.constants(parameters)), **jax.device_get(played)}
    for step in range(model.ir.horizon):
        for definition in model.ir.equations:
            result = np.asarray(values[definition.symbol][step])
            bad = np.argwhere(~np.isfinite(result.astype(float)))
            if len(bad):
                return _report(model, definition, step, tuple(bad[0]), values)
    return None


def _report(model: Model, definition: ir.Definition, step: int, place: tuple[int, ...], values: dict[str, Any]) -> str:
    at = dict(zip(definition.indices, place, strict=True))
    where = ", ".join(f"{index} = {number}" for index, number in at.items())
    lines = [
        f"{definition.place}: {' '.join(definition.text.split())}",
        f"is {np.asarray(values[definition.symbol][step])[place]} at step {step}{f', {where}' if where else ''}, from",
    ]
    for name in sorted(ir.references(definition.expression)):
        symbol = model.ir.symbol(name)
        array = np.asarray(values[name] if symbol.role == "parameter" else values[name][step])
        own = tuple(at.get(axis, slice(None)) for axis in symbol.type.axes)
        shown = np.array2string(np.asarray(array[own]), threshold=6, precision=6) if array.ndim else f"{array:.6g}"
        lines.append(f"  {name} = {shown}")
    return "\n".join(lines)

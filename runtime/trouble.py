"""Where a number stopped being finite: the equation, the step, the agent and the values it was made from."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.runtime.model import Model
from rbcc.runtime.schedule import iteration
from rbcc.runtime.train import Progress, networks_of


def locate(model: Model, phase: ir.Phase, progress: Progress, episodes: int = 64) -> str:
    """Plays episodes of random choices until some equation gives no finite number.

    Returns its place and text, the step, the index and the values of what it reads; or says that the equations are
    fine, so that learning itself diverged.
    """
    networks = jax.tree.leaves(progress.state.networks)
    now = iteration(model, phase, networks_of(model), jnp.int32(max(0, progress.iteration - 1)))
    play = _episode(model, now.parameters)
    constants = jax.device_get(model.written(model.module.constants(now.parameters)))
    for key in jax.random.split(jax.random.key(0), episodes):
        found = _trouble(model, {**constants, **jax.device_get(play(key))})
        if found:
            return found
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in networks):
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
        rewards = {f"{agent}.reward": reward for agent, reward in outcome.rewards.items()}
        later = {f"{name}'": value for name, value in following.items()}
        return following, {**state, **actions, **outcome.values, **rewards, **later}

    def play(key: jax.Array) -> dict[str, Any]:
        start, steps = jax.random.split(key)
        return jax.lax.scan(advance, model.reset(start, parameters), jax.random.split(steps, model.ir.horizon))[1]

    return jax.jit(play)


def _trouble(model: Model, values: dict[str, Any]) -> str | None:
    """A report on the first equation that is not finite in an episode, or None."""
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
    read = [node for node in ir.walk(definition.expression) if isinstance(node, ir.Reference)]
    for node in sorted(set(read), key=ir.show):
        symbol = model.ir.symbol(node.symbol)
        array = np.asarray(values[symbol.name] if symbol.role == "parameter" else values[symbol.name][step])
        own = tuple(at.get(index, slice(None)) if isinstance(index, str) else slice(None) for index in node.indices)
        shown = np.asarray(array[own] if array.ndim else array)
        text = np.array2string(shown, threshold=6, precision=6) if shown.ndim else f"{shown:.6g}"
        lines.append(f"  {ir.show(node)} = {text}")
    return "\n".join(lines)

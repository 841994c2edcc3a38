"""Where a number stopped being finite: the equation, the step, the agent and the values it was made from."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.compiler.types import Kind
from rbcc.runtime.checks import Checks, Failure, record_of, sane
from rbcc.runtime.model import Model
from rbcc.runtime.schedule import iteration
from rbcc.runtime.train import Progress, networks_of


_EPISODES = 64


def locate(model: Model, phase: ir.Phase, progress: Progress) -> str:
    """Plays some episodes of random choices until some equation gives no finite number.

    Returns its place and text, the step, the index and the values of what it reads; or those of the first equation
    that has no finite derivative, where agents learn by it; or says that learning itself diverged.
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
        if any(learner.algorithm == "pathwise" for learner in phase.learners):
            steep = _without_derivative(model, checks, now.parameters, constants)
            if steep is not None:
                return str(steep)
        return (
            "The networks themselves are no longer finite: lower learning_rate or gradient_clip, or raise reward_scale."
        )
    return "Random play does not repeat it; look for a division, a logarithm or a power that can leave its domain."


def _without_derivative(
    model: Model, checks: Checks, parameters: dict[str, Any], constants: dict[str, Any]
) -> Failure | None:
    """The first equation that gives a finite number and has no finite derivative, in episodes of random choices."""
    equations = [d for d in model.ir.equations if model.ir.symbol(d.symbol).type.kind is Kind.NUMBER]

    def values(state: Any, actions: Any, shock: jax.Array) -> tuple[Any, Any]:
        following, outcome = model.step(state, actions, shock, parameters)
        record = record_of(state, actions, following, outcome)
        return {definition.symbol: jnp.sum(record[definition.symbol]) for definition in equations}, (following, record)

    def smooth(find: Callable[..., Any], state: Any, actions: Any) -> Any:
        _, back = jax.vjp(find, state, actions)
        found = [part for part in jax.tree.leaves(back(jnp.ones(()))) if part.dtype != jax.dtypes.float0]
        return jnp.all(jnp.stack([jnp.isfinite(part).all() for part in found]))

    def advance(state: Any, key: jax.Array) -> Any:
        act, shock = jax.random.split(key)
        actions = model.sample(state, act)
        fine = smooth(lambda state, actions: sum(values(state, actions, shock)[0].values()), state, actions)
        following, record = values(state, actions, shock)[1]
        return following, (fine, state, actions, shock, record)

    @jax.jit
    def play(key: jax.Array) -> Any:
        start, steps = jax.random.split(key)
        return jax.lax.scan(advance, model.reset(start, parameters), jax.random.split(steps, model.ir.horizon))[1]

    for key in jax.random.split(jax.random.key(1), _EPISODES):
        fine, *rest = play(key)
        if fine.all():
            continue
        step = int(jnp.argmin(fine))
        state, actions, shock, record = jax.tree.map(lambda array: array[step], tuple(rest))  # noqa: B023
        for definition in equations:  # one by one: what has no derivative would spoil those of others

            def only(state: Any, actions: Any, symbol: str = definition.symbol, shock: jax.Array = shock) -> Any:
                return values(state, actions, shock)[0][symbol]

            if not smooth(only, state, actions):
                read = checks.read([definition.expression], {}, {**constants, **jax.device_get(record)})
                text = " ".join(definition.text.split())
                message = (
                    f"{text}\nhas no finite derivative at step {step}, and agents learn by it: look for a root, a power or "
                    "a quotient where its derivative is infinite, such as sqrt(x) at 0; sqrt(x + 0.001) has one"
                )
                return Failure(definition.symbol, definition.place, step, {}, message, read)
    return None


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

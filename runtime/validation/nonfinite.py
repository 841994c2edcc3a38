"""Where a number stopped being finite: the equation, the step, the agent and the values it was made from."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.compiler.analysis.lint.choice_without_effect import Flow
from rbcc.compiler.backends.jax.expressions import Expressions
from rbcc.compiler.backends.jax.mangle import local_names
from rbcc.compiler.ir.types import Kind
from rbcc.compiler.optimize.finite_derivatives import guards
from rbcc.runtime.economy.model import Model
from rbcc.runtime.training.loop import Progress, networks_of
from rbcc.runtime.training.schedule import scheduled
from rbcc.runtime.validation.conditions import Checks, record_of, sane


_EPISODES = 64
_AT_ENDS = 0.2  # of choices from an interval are its lower end, as many its upper


def locate(model: Model, phase: ir.Phase, progress: Progress) -> str:
    """Plays some episodes of random choices until some equation gives no finite number.

    Where types learn by derivatives, also until one has no finite derivative. Returns its place and text, the step, the
    index and the values of what it reads; or says that the equations are fine, so that learning itself diverged.
    """
    learned = jax.tree.leaves(progress.state)
    now = scheduled(model, phase, networks_of(model), jnp.int32(max(0, progress.iteration - 1)))
    play, checks = _episode(model, now.parameters), Checks(model)
    constants = jax.device_get(model.written(model.module.constants(now.parameters)))
    if (parameter := checks.of_parameters(constants)) is not None:
        return str(parameter)
    episodes = [jax.device_get(play(key)) for key in jax.random.split(jax.random.key(0), _EPISODES)]
    for arrays in episodes:
        for step in range(model.ir.horizon):
            record = {name: array[step] for name, array in arrays.items()}
            wrong = (d for d in model.ir.equations if not np.all(sane(record[d.symbol])))
            if (first := next(wrong, None)) is not None:
                return str(checks.failure(first, {**constants, **record}, step))
    smooth = [one.agent for one in phase.learners if one.algorithm == "pathwise"]
    if smooth and (steep := _steep(model, smooth, episodes, constants, checks)):
        return steep
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in learned):
        return (
            "The networks themselves are no longer finite: lower learning_rate or gradient_clip, or raise reward_scale."
        )
    return "Random play does not repeat it; look for a division, a logarithm or a power that can leave its domain."


def _steep(
    model: Model, agents: list[str], episodes: list[Any], constants: Mapping[str, Any], checks: Checks
) -> str | None:
    """The first equation from which the reward of one of `agents` follows that has no finite derivative, in words."""
    flow, targets, guarded = Flow(model.ir), {f"{agent}.reward" for agent in agents}, guards(model.ir)
    for definition in guarded.equations:
        if isinstance(definition.expression, ir.Root) or flow.delay(definition.symbol, targets) is None:
            continue
        found = _derivatives(model, guarded, definition, episodes, constants)
        for name, derivative in found.items():
            bad = np.argwhere(~np.isfinite(derivative))
            if not len(bad):
                continue
            episode, step, *place = map(int, bad[0])
            at = dict(zip(model.ir.symbol(name).type.axes, place, strict=True))
            record = {**constants, **{key: array[step] for key, array in episodes[episode].items()}}
            original = next(one for one in model.ir.equations if one.symbol == definition.symbol)
            where = "".join(f", {index} = {number}" for index, number in at.items())
            values = checks.read([original.expression], {i: n for i, n in at.items() if i in original.indices}, record)
            lines = [
                f"{definition.place}: {' '.join(definition.text.split())}",
                f"has no finite derivative by {name} at step {step}{where}, and agents learn by derivatives: keep roots, "
                "powers and divisions off the ends of their domains, as sqrt(max(x, 0.001)), or let them learn by ppo",
                *(f"  {key} = {text}" for key, text in values.items()),
            ]
            return "\n".join(lines)
    return None


def _derivatives(
    model: Model, guarded: ir.Model, definition: ir.Definition, episodes: list[Any], constants: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The derivatives of an equation by what varies in it, (episodes, steps, ...), in the order of the spec."""
    names, functions = local_names(guarded), dict(vars(model.module))
    for primitive in guarded.primitives:
        exec(primitive.text, functions)
    code = Expressions(guarded, names).code(definition.expression)
    read = sorted(ir.references(definition.expression) - {"time"})
    varying = [n for n in read if n not in constants and model.ir.symbol(n).type.kind is Kind.NUMBER]
    draws = {n.number: jax.random.key(n.number) for n in ir.walk(definition.expression) if isinstance(n, ir.Draw)}
    arrays = {name: np.stack([episode[name] for episode in episodes]) for name in read if name not in constants}
    clock = jnp.broadcast_to(jnp.arange(model.ir.horizon, dtype=float), (len(episodes), model.ir.horizon))

    def total(by: dict[str, jax.Array], rest: dict[str, jax.Array], time: jax.Array) -> jax.Array:
        stored = model.stored(
            {**{name: jnp.asarray(constants[name]) for name in read if name in constants}, **rest, **by}
        )
        scope = {**functions, "keys": draws, "time": time, **{names[n]: x for n, x in stored.items()}}
        return jnp.sum(jnp.asarray(eval(code.text, scope), float))  # the compiler's own text, as in the module

    by = {name: jnp.asarray(arrays[name], float) for name in varying}
    rest = {name: jnp.asarray(array) for name, array in arrays.items() if name not in varying}
    derivatives = jax.jit(jax.vmap(jax.vmap(jax.grad(total))))(by, rest, clock)
    return {name: np.asarray(array) for name, array in jax.device_get(derivatives).items()}


def _episode(model: Model, parameters: dict[str, Any]) -> Callable[[jax.Array], dict[str, Any]]:
    """A program that plays an episode of random choices and returns all that equations read or give, step by step."""

    def advance(state: Any, key: jax.Array) -> Any:
        act, end, shock = jax.random.split(key, 3)
        actions = _at_ends(model, state, model.sample(state, act), end, parameters)
        following, outcome = model.step(state, actions, shock, parameters)
        return following, record_of(state, actions, following, outcome)

    def play(key: jax.Array) -> dict[str, Any]:
        start, steps = jax.random.split(key)
        return jax.lax.scan(advance, model.reset(start, parameters), jax.random.split(steps, model.ir.horizon))[1]

    return jax.jit(play)


def _at_ends(
    model: Model, state: Mapping[str, jax.Array], actions: dict[str, jax.Array], key: jax.Array, parameters: Any
) -> dict[str, jax.Array]:
    """Choices of which some of those from intervals are moved to an end, where functions are at theirs."""
    for stage in range(model.ir.stages):
        found = model.bounds(model.stored(state), model.stored(actions), model.given(parameters), stage)
        low, high = (model.written({name: ends[side] for name, ends in found.items()}) for side in (0, 1))
        for name in found:
            key, own = jax.random.split(key)
            share = jax.random.uniform(own, jnp.shape(actions[name]))
            inside = jnp.clip(actions[name], low[name], high[name])
            moved = jnp.where(share < _AT_ENDS, low[name], jnp.where(share > 1 - _AT_ENDS, high[name], inside))
            actions = {**actions, name: moved}
    return actions

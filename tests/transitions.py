"""Random transitions of a model, by the generated module and by the interpreter of its IR."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from interpreter import Array, Draws, Interpreter, Transition, advance, begin, ends

from rbcc.compiler import ir
from rbcc.runtime.economy.model import Model


TOLERANCE = 1e-12
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile takes longest
NEGATIVE = 0.1  # of the transitions start from states with numbers below zero


def interpreted(model: Model) -> ir.Model:
    """The IR of a model after a round trip through JSON."""
    return ir.from_json(json.loads(json.dumps(ir.to_json(model.ir))))


def compare(model: Model, transitions: int, seed: int = 0) -> None:
    """Asserts that random starts and transitions are the same by both, to a relative error of 1e-12.

    Relative to the largest number that an equation reads in a transition, beside the result itself: where terms cancel,
    their rounding is what remains.
    """
    meaning, random = interpreted(model), np.random.default_rng(seed)
    model.module.jax = _Drawn()  # type: ignore[attr-defined]
    with jax.enable_x64(True):
        draws, stored = _draws(meaning, transitions, random)
        starts = begin(meaning, transitions, draws)
        state = _states(meaning, starts, random)
        actions, intervals = _choices(meaning, state, draws, random)

        def both(state: dict[str, Array], actions: dict[str, Array], drawn: dict[int, jax.Array]) -> object:
            now, chosen = model.stored(state), model.stored(actions)  # type: ignore[arg-type]
            stages = [model.bounds(now, chosen, model.given(None), stage) for stage in range(meaning.stages)]
            sides = [model.written({n: pair[k] for stage in stages for n, pair in stage.items()}) for k in (0, 1)]
            seen = model.observe(state, actions=actions)  # type: ignore[arg-type]
            return model.reset(drawn), *model.step(state, actions, drawn), seen, sides  # type: ignore[arg-type]

        program = jax.jit(jax.vmap(both)).lower(state, actions, stored).compile(QUICKLY)
        first, following, out, seen, (low, high) = jax.device_get(program(state, actions, stored))
    assert low.keys() == high.keys() == intervals.keys()
    for name, pair in intervals.items():
        _same(f"lower end of {name}", low[name], pair[0], np.ones(transitions))
        _same(f"upper end of {name}", high[name], pair[1], np.ones(transitions))
    wanted = advance(meaning, state, actions, draws)
    parts = out.rewards, out.values, out.indicators, out.violations, out.identities, out.invariants, out.done
    found = Transition(following, *parts, seen)
    assert set(first) == set(starts)
    for name, array in starts.items():
        _same(f"start of {name}", first[name], array, np.ones(transitions))
    scales = _scales(meaning, state, actions, wanted)
    left, right = dict(_flat(found)), dict(_flat(wanted))
    assert left.keys() == right.keys()
    for name in left:
        _same(name, left[name], right[name], scales[name])


def _same(name: str, found: Array, wanted: Array, scale: Array) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, name
    if wanted.dtype == bool:
        assert np.array_equal(found, wanted), name
        return
    finite = np.isfinite(wanted)
    assert not np.isfinite(found[~finite]).any(), name  # infinite or undefined: that depends on the order
    assert not finite.size or finite.mean() > 0.5, f"{name} is mostly no number"
    size = np.maximum(np.abs(wanted), scale.reshape(-1, *[1] * (wanted.ndim - 1)))[finite]
    error = np.abs(found[finite] - wanted[finite])
    assert np.all(error <= TOLERANCE * size), f"{name}: {error.max():.1e}"


def _flat(one: Transition) -> Iterator[tuple[str, Array]]:
    tables = ("following", "rewards", "values", "indicators", "violations", "invariants", "seen")
    for table in tables:
        for name, array in getattr(one, table).items():
            yield f"{table} {name}", array
    for name, (left, right) in one.identities.items():
        yield f"identity {name}, left", left
        yield f"identity {name}, right", right
    yield "done", one.done


def _scales(
    model: ir.Model, state: dict[str, Array], actions: dict[str, Array], result: Transition
) -> dict[str, Array]:
    """The largest finite number, in each transition, among those that give each result."""
    transitions = len(state["time"])
    rewards = {f"{agent}.reward": array for agent, array in result.rewards.items()}
    later = {f"{name}'": array for name, array in result.following.items()}
    known = {**state, **actions, **result.values, **rewards, **later}
    fixed = Interpreter(model, transitions)
    for definition in model.parameters:
        fixed.define(definition)
    known |= fixed.known

    def scale(*expressions: ir.Expression) -> Array:
        read = [known[name] for expression in expressions for name in ir.references(expression)]
        parts = [np.abs(np.asarray(array, float)).reshape(transitions, -1).max(-1) for array in read]
        return np.max([np.where(np.isfinite(part), part, 0) for part in parts] or [np.zeros(transitions)], axis=0)

    found = {"following time": np.ones(transitions), "done": np.ones(transitions)}
    for definition in model.equations:
        symbol, size = definition.symbol, scale(definition.expression)
        owner = model.symbol(symbol).owner
        found[f"values {symbol}"] = found[f"rewards {owner}"] = size
        if symbol.endswith("'"):
            found[f"following {symbol[:-1]}"] = size
    found |= {f"rewards {a}": scale(model_definition(model, f"{a}.reward").expression) for a in result.rewards}
    found |= {f"indicators {s.name}": scale(s.expression) for s in model.indicators}
    found |= {f"invariants {s.name}": scale(s.expression) for s in model.invariants}
    found |= {f"violations {c.agent}.{c.name}": scale(c.violation) for c in model.constraints}
    found |= {f"seen {o.agent}": np.ones(transitions) for o in model.observations}
    for one in model.balances:
        found[f"identity {one.name}, left"] = found[f"identity {one.name}, right"] = scale(one.left, one.right)
    return found


def model_definition(model: ir.Model, symbol: str) -> ir.Definition:
    return next(definition for definition in model.equations if definition.symbol == symbol)


def _states(model: ir.Model, starts: dict[str, Array], random: np.random.Generator) -> dict[str, Array]:
    """Random states of the size of the starts, some of them 0; in some transitions somewhat negative."""
    transitions = len(starts["time"])
    below = random.random(transitions) < NEGATIVE
    state = {"time": random.integers(0, model.horizon, transitions)}
    for definition in model.starts:
        start = starts[definition.symbol]
        if start.dtype == bool:
            state[definition.symbol] = random.random(start.shape) < 0.5
            continue
        size = np.maximum(np.abs(start), 1) * 10 ** random.uniform(-1, 1, start.shape)
        sign = random.choice([1, 1, 1, 1, 0], start.shape)
        negative = below.reshape(-1, *[1] * (start.ndim - 1)) & (random.random(start.shape) < 0.3)
        state[definition.symbol] = np.where(negative, -size / 100, size) * sign + 0.0  # no negative zeros
    return state


def _choices(
    model: ir.Model, state: dict[str, Array], draws: Draws, random: np.random.Generator
) -> tuple[dict[str, Array], dict[str, tuple[Array, Array]]]:
    """Random choices, and the ends of the intervals from which some of them come."""
    found, intervals = {}, {}
    for action in model.actions:
        shape = (len(state["time"]), *(model.count(owner) for owner in model.symbol(action.symbol).sets))
        choices = np.array(action.choices or (0.0,), int if action.of else float)
        found[action.symbol] = random.choice(choices, shape)
        if action.shares:  # with few binary digits, so that they sum to 1 in any order
            members, whole = shape[-1], 2 ** int(np.ceil(np.log2(8 * shape[-1])))
            parts = random.multinomial(whole - members, np.full(members, 1 / members), shape[:-1])
            found[action.symbol] = (1 + parts) / whole
    for action in sorted(model.actions, key=lambda one: model.stage_of(one.symbol)):
        if action.bounds:
            low, high = intervals[action.symbol] = ends(model, state, found, draws, action)
            found[action.symbol] = low + random.random(low.shape) * (high - low)
    return found, intervals


class _Drawn:
    """Stands for `jax` in a generated module: draws are numbers given beforehand, in place of a random key."""

    def __getattr__(self, name: str) -> Any:
        return self if name == "random" else getattr(jax, name)

    def fold_in(self, key: Mapping[int, jax.Array], number: int) -> jax.Array:
        return key[number]

    def uniform(self, drawn: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        assert drawn.shape == shape
        return drawn

    normal = uniform

    def bernoulli(self, drawn: jax.Array, chance: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return self.uniform(drawn, shape) < chance


def _draws(model: ir.Model, transitions: int, random: np.random.Generator) -> tuple[dict[int, Array], dict[int, Array]]:
    """Random numbers for every draw: with axes in the order of its type, and in that of the generated module."""
    expressions = [d.expression for d in (*model.starts, *model.equations)]
    nodes = {n.number: n for e in expressions for n in ir.walk(e) if isinstance(n, ir.Draw)}
    places = [index for index, _ in model.indices]
    plain, stored = {}, {}
    for number, node in nodes.items():
        axes = node.type.axes
        shape = (transitions, *(model.count(model.set_of(axis)) for axis in axes))
        plain[number] = random.normal(size=shape) if node.distribution == "normal" else random.random(shape)
        order = sorted(range(len(axes)), key=lambda k: (shape[1 + k], places.index(axes[k])))
        stored[number] = np.transpose(plain[number], (0, *(1 + k for k in order)))
    return plain, stored

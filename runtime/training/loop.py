"""Training: every type learns from its own rewards, phase by phase, many iterations in one program on the device."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from rbcc.compiler import ir
from rbcc.runtime import prng
from rbcc.runtime.economy.model import Model
from rbcc.runtime.errors import Violated
from rbcc.runtime.learners.ppo import METRICS, fresh_optimizer
from rbcc.runtime.parallel.devices import ALL, ALONE, BY_SEED, SINGLE, Placement, Share, check_memory
from rbcc.runtime.policies.policy import Parameters, Policy, policies, profile_of
from rbcc.runtime.policies.precision import check_precision
from rbcc.runtime.training.iteration import Iteration, TrainState, Weighted
from rbcc.runtime.training.schedule import scheduled
from rbcc.runtime.validation.checked_training import Caught, earlier, explanation, first_of, watching
from rbcc.runtime.validation.conditions import Checks


_T = TypeVar("_T")


RECORDS = 200
MAX_RECORD = 50
# A phase of at least LONG iterations has its gains measured TIMES times.
LONG, TIMES = 1000, 5


@dataclass(frozen=True)
class Progress:
    """Where training stands after a stretch of iterations, with the mean of each metric over the stretch.

    Learning metrics of a type that did not learn in the stretch are absent; gains are of the state at its end, and
    absent where none were measured.
    """

    phase: int
    iteration: int
    metrics: dict[str, float]
    state: TrainState


Given = Mapping[str, jax.Array]
"""Parameters in place of a model's, in the layout of the generated module."""
Gains = Callable[[TrainState, ir.Phase, int, int], dict[str, float]]
"""(state, phase, iteration, seed) -> metrics `gain.TYPE`, `gain_share.TYPE`: what one agent gains by deviating now."""


def initial_state(model: Model, seed: int) -> TrainState:
    """Fresh networks, the same for the same seed."""

    @jax.jit
    def fresh(key: jax.Array) -> TrainState:
        nets = enumerate(networks_of(model).items())
        networks = {agent: policy.init(jax.random.fold_in(key, place)) for place, (agent, policy) in nets}
        multipliers = {f"{c.agent}.{c.name}": jnp.zeros(()) for c in model.ir.constraints}
        return TrainState(networks, {agent: fresh_optimizer(p) for agent, p in networks.items()}, multipliers)

    return fresh(prng.key(seed))


def networks_of(model: Model) -> dict[str, Policy]:
    """The policy network of every learning type. Raises RunError if the device lacks their precision."""
    check_precision(model.ir.network_precision)
    return policies(model, model.ir.phases[0].learners)


def profile(model: Model, state: TrainState, phase: ir.Phase, number: int) -> dict[str, Parameters]:
    """The networks of the profile, as it is played after iteration `number` of `phase`: what verification judges."""
    settings = scheduled(model, phase, networks_of(model), jnp.float32(number)).settings
    return {agent: profile_of(network, settings[agent]["sharpness"]) for agent, network in state.networks.items()}


def record_length(phase: ir.Phase) -> int:
    """Iterations over which metrics are averaged; also how often training can be interrupted."""
    return max(1, min(MAX_RECORD, phase.iterations // RECORDS))


def measured(phase: ir.Phase, iteration: int) -> bool:
    """Whether gains are measured after `iteration`: five times in a phase that is long or may end by them."""
    if not phase.until and phase.iterations < LONG:
        return False
    length = record_length(phase)
    return iteration == phase.iterations or iteration % (length * math.ceil(phase.iterations / length / TIMES)) == 0


def over(phase: ir.Phase, iteration: int, metrics: Mapping[str, float]) -> bool:
    """Whether a phase ends after `iteration`: the last, or one in which no gain is above that of `until`."""
    if iteration == phase.iterations:
        return True
    limits = [(target, metrics.get(f"{'gain' if target.unit else 'gain_share'}.{a}")) for a, target in phase.until]
    return bool(limits) and all(gain is not None and gain <= target.value for target, gain in limits)


def stretch(
    model: Model, phase: ir.Phase, share: Share = ALONE, checks: Checks | None = None
) -> Callable[..., tuple[Any, ...]]:
    """A function that trains `count` iterations of `phase` from iteration `first`, on one of the devices of `share`.

    Signature: (state, bare key, first, count, given) -> (state, sums of metrics and of their weights, (2, metrics)),
    for any `count`; `given` are parameters in place of the model's, by default none. With `checks` these are tested in
    every step, and the first `Caught` failing is a third result.
    """
    policies = networks_of(model)
    watch = watching(checks) if checks else None

    def one(
        state: TrainState, key: jax.Array, number: jax.Array, given: Given
    ) -> tuple[TrainState, Weighted, list[Caught]]:
        iteration = Iteration(model, phase, policies, share, watch, state, key, number, given)
        state, metrics, played = iteration.run()
        return state, metrics, [first_of(played.watched, iteration.economies, number)] if checks else []

    names = list(metric_names(model, phase))

    def run(
        state: TrainState, root: jax.Array, first: jax.Array, count: jax.Array, given: Given = MappingProxyType({})
    ) -> tuple[Any, ...]:
        key = prng.again(root)

        def body(k: jax.Array, carry: tuple[Any, ...]) -> tuple[Any, ...]:
            state, sums, *known = carry
            state, metrics, caught = one(state, key, first + k, given)
            values, weights = (jnp.stack([metrics[name][part] for name in names]) for part in range(2))
            return state, sums + jnp.stack([values * weights, weights]), *map(earlier, known, caught)

        shapes = jax.eval_shape(lambda: one(state, key, first, given)[2]) if checks else []
        nothing = jax.tree.map(lambda part: jnp.zeros(part.shape, part.dtype), shapes)
        state, sums, *known = jax.lax.fori_loop(0, count, body, (state, jnp.zeros((2, len(names))), *nothing))
        # Means of economies: all else is the same on all devices.
        return state, share.mean(sums), *(share.first(caught.found, caught) for caught in known)

    return run


def metric_names(model: Model, phase: ir.Phase) -> Iterator[str]:
    yield from (f"indicator.{indicator.name}" for indicator in model.ir.indicators)
    for learner in phase.learners:
        yield f"reward.{learner.agent}"
        yield from (f"{name}.{learner.agent}" for name in METRICS)
        for constraint, _ in learner.lagrangian:
            yield from (f"{what}.{learner.agent}.{constraint}" for what in ("violation", "multiplier"))


def training(
    model: Model,
    seeds: Sequence[int],
    placement: Placement = SINGLE,
    states: Sequence[TrainState] | None = None,
    phase: int = 0,
    first: int = 0,
    say: Callable[[str], None] = lambda _: None,
    checks: Checks | None = None,
    gains: Gains | None = None,
    parameters: Sequence[Given] = (),
) -> Iterator[tuple[Progress, ...]]:
    """Trains phase after phase with several seeds at once, yielding the progress of each after each stretch of
    iterations.

    Goes on from `states`, one per seed, at iteration `first` of phase number `phase`, if given. `parameters` has for
    each seed the same names with values in place of the model's; a seed may then come more than once. The result
    depends on seed and parameters only, not on where training was interrupted. `say` is told what is being compiled.
    `gains` measures those of each seed now and then; without it no phase ends by its `until`. Raises TooLarge if memory
    does not suffice, Violated if one of `checks` does not hold in a step.
    """
    many = len(seeds) > 1
    cut = BY_SEED if many else ALL
    if states is None:
        fresh_states = {seed: initial_state(model, seed) for seed in dict.fromkeys(seeds)}
        states = [fresh_states[seed] for seed in seeds]
    state, values = _stacked(states), _stacked(parameters or [{}] * len(seeds))
    roots = jnp.stack([jax.random.fold_in(prng.key(seed), 1_000_003) for seed in seeds])
    for number in range(phase, len(model.ir.phases)):
        settings = model.ir.phases[number]
        if settings.fresh_optimizer and first == 0:
            begin = jax.vmap(fresh_optimizer) if many else fresh_optimizer
            fresh = {agent: begin(network) for agent, network in state.networks.items()}
            state = TrainState(state.networks, fresh, state.multipliers)
        keys = prng.bare(jax.vmap(lambda root: jax.random.fold_in(root, number))(roots))  # noqa: B023
        state, keys, given = placement.put((state, keys if many else keys[0], values), cut)
        run, length = stretch(model, settings, placement.share, checks), record_length(settings)
        if len(seeds) > placement.rows:
            run = jax.vmap(run, (0, 0, None, None, 0))
        elif many:
            run = _single(run)
        say(f"compiling the program of phase {settings.name}")
        program = placement.program(run, (cut, cut, ALL, ALL, cut), (cut,) * (3 if checks else 2), donate=(0,))
        compiled = program.lower(state, keys, jnp.int32(first), jnp.int32(1), given).compile()
        check_memory(compiled, f"phase {settings.name}", placement)
        ended = False
        while not ended:
            count = min(length, settings.iterations - first)
            state, sums, *known = compiled(state, keys, jnp.int32(first), jnp.int32(count), given)
            first += count
            # What is yielded lies on the host: the arrays on the device are given away to the next stretch.
            kept, sums, known = _fetched((state, sums, known))
            for caught in (own for found in known for own in _apart(found, len(seeds))):
                if checks and caught.found:
                    raise Violated(explanation(checks, settings, caught))
            states, metrics = (
                _apart(kept, len(seeds)),
                [_means(model, settings, one) for one in _apart(sums, len(seeds))],
            )
            if gains and measured(settings, first):
                for seed, seed_state, values in zip(seeds, states, metrics, strict=True):
                    values |= gains(seed_state, settings, first, seed)
            ended = over(settings, first, metrics[0])
            yield tuple(Progress(number, first, *of_seed) for of_seed in zip(metrics, states, strict=True))
        state, first = _fetched(state), 0


def _single(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run` of one seed for arrays with a leading axis of one seed."""

    def of_one(state: TrainState, key: jax.Array, first: jax.Array, count: jax.Array, given: Given) -> Any:
        state, key, given = jax.tree.map(lambda x: x[0], (state, key, given))
        result = run(state, key, first, count, given)
        return jax.tree.map(lambda x: x[None], result)

    return of_one


def _stacked(trees: Sequence[_T]) -> _T:
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *parts: jnp.stack(parts), *trees)


def _apart(tree: _T, seeds: int) -> list[_T]:
    return [tree] if seeds == 1 else [jax.tree.map(lambda x: x[k], tree) for k in range(seeds)]  # noqa: B023


def _fetched(tree: _T) -> _T:
    """Arrays on the host, those of other hosts too."""
    if jax.process_count() > 1:
        tree = multihost_utils.process_allgather(tree, tiled=True)
    return jax.device_get(tree)


def _means(model: Model, phase: ir.Phase, sums: np.ndarray) -> dict[str, float]:
    """Means of the metrics that were measured at all, rewards and indicators first, in the order of the spec."""
    found = {
        name: total / weight for name, total, weight in zip(metric_names(model, phase), *sums, strict=True) if weight
    }
    first = [f"reward.{agent.name}" for agent in model.ir.agents]
    first += [f"indicator.{indicator.name}" for indicator in model.ir.indicators]
    names = [name for name in first if name in found] + sorted(name for name in found if name not in first)
    return {name: float(found[name]) for name in names}

"""How far a trained economy is from equilibrium: best responses found by learning, with confidence bounds.

A type's gain is what deviating pays. *Individual*: one agent leaves the policy while all others, its siblings too, keep
theirs; the Nash question, asked of each agent and answered as the mean over the agents of the type. *Team*: all agents
of the type switch together to what is best for their mean payoff; the meta-game of the paper. Payoffs are discounted
sums of rewards less penalties, per agent, unscaled.

For each type and notion:

1. Deviators learn against the frozen policies, one going on from the trained network, one from scratch, on training
   seeds. They are kept at a quarter, half and all of their budget: the curve shows what a larger one could add.
2. The best of all these is chosen on selection seeds.
3. Its gain is estimated on test seeds, episode by episode against the same episode without the deviation: shocks, and
   the noise of all who do not deviate, are the same.
4. One-sided bounds that hold for all types and notions together with 95 % confidence (Bonferroni) decide against the
   target. A single agent whose own gain is above the target, with the same confidence for all agents of all types
   together, refutes too, however little the others gain.

Where the economy is small enough all this is checked against exact answers (`exact.py`), and these decide: CERTIFIED if
no one can gain more than the target, by any deviation.

No gain found proves little if the search is weak. Its power is the share of a known gain that it finds: the deviator
from scratch starts from nearly random choices and has to recover what the trained policy is worth over these. Without
power shown the verdict is INCONCLUSIVE, however small the gain.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any, get_args

import jax
import numpy as np

from rbcc.runtime import noise
from rbcc.runtime.deviation import Arena, Deviation, Notion, evaluate_base
from rbcc.runtime.devices import Placement, place
from rbcc.runtime.errors import Diverged, RunError, Violated
from rbcc.runtime.exact import Answer, Game, Unsolved
from rbcc.runtime.model import Model
from rbcc.runtime.plant import Frozen, Plant, read_plant
from rbcc.runtime.run import Run, write_file
from rbcc.runtime.train import initial_state, networks_of


CONFIDENCE = 0.95
POWER = 0.9
SELECTION_EPISODES = 1024
BUDGETS = (0.25, 0.5, 1.0)
CONTINUED, SCRATCH = "continued", "from scratch"
ENTROPY_FROM_SCRATCH = 0.01
EDGE = 0.9
MEMBER_EPISODES = 30

Listener = Callable[[str], None]
Payoffs = Mapping[str, np.ndarray]
"""Discounted payoffs per type, (episodes, agents)."""


class Verdict(StrEnum):
    CERTIFIED = "CERTIFIED"
    REFUTED = "REFUTED"
    NOT_REFUTED = "NOT REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    TRIVIAL = "TRIVIAL"


@dataclass(frozen=True)
class Candidate:
    """One deviator of the battery: how it was made, its budget and its mean gain on the selection seeds."""

    source: str
    iterations: int
    gain: float


@dataclass(frozen=True)
class Member:
    """The gain of one agent of a type when it alone deviates, and the standard error of that."""

    number: int
    gain: float
    error: float


@dataclass(frozen=True)
class Estimate:
    """What the best deviation found pays one type, under one notion, on the test seeds.

    `notions` are the questions it answers: for a type of one agent, both. `payoff`, `gain` and `error` (standard error
    of the gain) in units of the payoff; `above` is the payoff above the one that gains are compared with, and
    `improvement` the payoff above untrained play. `power` is the share of a known gain that the search recovers, None
    where there was nothing to recover; `others` the change of each other type's mean payoff under the deviation;
    `members` the gains of single agents, for individual deviations; `exact` the exact answer, where there is one.
    """

    agent: str
    notions: tuple[Notion, ...]
    payoff: float
    above: float
    improvement: float
    gain: float
    error: float
    best: Candidate
    battery: tuple[Candidate, ...]
    power: float | None
    others: dict[str, float]
    members: tuple[Member, ...] = ()
    exact: Answer | None = None

    @property
    def scale(self) -> float:
        """What a gain is compared with."""
        return abs(self.above)


@dataclass(frozen=True)
class Gain:
    """An estimate with its bounds and verdict; `relative` ones are shares of the estimate's scale, None if that is 0.

    `single` is the agent whose own gain has the highest lower bound, `single_lower`.
    """

    estimate: Estimate
    lower: float
    upper: float
    single: int | None
    single_lower: float | None
    relative: float | None
    relative_lower: float | None
    relative_upper: float | None
    of_improvement: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Equilibrium:
    """The result of a verification; `equilibrium.json` holds the same.

    `verdicts` answers two questions: `individual`, is it a Nash equilibrium among agents; `team`, is it one among types
    that each act as one. Where agents of a type compete with each other, one excludes the other.
    """

    verdicts: dict[str, Verdict]
    target: float
    alive: dict[str, bool]
    indicators: dict[str, float]
    gains: tuple[Gain, ...]
    edges: tuple[str, ...]
    scale: str
    plants: tuple[str, ...]
    settings: dict[str, Any]
    seconds: float


def verify(
    folder: str | Path,
    overrides: Mapping[str, object] | None = None,
    *,
    plants: Sequence[str] = (),
    seed: int = 0,
    devices: int | None = None,
    listener: Listener | None = None,
) -> Equilibrium:
    """Estimates how much any type could gain by deviating from the run in `folder`; writes `equilibrium.json` there.

    `overrides` may change `verify.*` settings of the spec. `plants` change the trained behaviour on purpose, to see
    the gain found: `baker.random=20%` or `seller[0].quantity=30`; results then go to `equilibrium_planted.json`.
    `devices` is how many of JAX's devices share the economies, by default all that can. `listener` is told what is
    being done. Raises RunError if the run cannot be verified.
    """
    began = time.monotonic()
    run = Run.open(folder)
    if not run.finished:
        status = run.manifest["status"]
        stopped = status in (Diverged.status, Violated.status)
        advice = "change its spec and train anew" if stopped else f"finish it with: {run.resume_command}"
        raise RunError(f"{folder} is {status}; {advice}")
    model = run.recompiled(overrides or {})
    placement = place([model.ir.verification.economies], devices)
    planned = [read_plant(model, text) for text in plants]
    found = _Verification(run, model, planned, seed, placement, listener or (lambda _: None))
    result = found.result(tuple(plants), began)
    name = "equilibrium_planted.json" if plants else "equilibrium.json"
    write_file(run.folder / name, (json.dumps(asdict(result), indent=2, allow_nan=False) + "\n").encode())
    return result


class _Verification:
    def __init__(
        self, run: Run, model: Model, plants: Sequence[Plant], seed: int, placement: Placement, listener: Listener
    ):
        self.run, self.model, self.seed, self.placement, self.say = run, model, seed, placement, listener
        self.settings = model.ir.verification
        self.policies = networks_of(model)
        state = run.state()
        self.networks, self.multipliers = state.networks, state.multipliers
        self.arena = self.arena_with(plants)
        self.say("listing the states of the economy, for exact answers")
        self.game, self.solved = _game(self.arena)
        # Disjoint from each other and, by the tag, from the keys of training.
        root = jax.random.fold_in(noise.key(seed), 0x5EED)
        self.train_key, select, test = jax.random.split(root, 3)
        # Keys and how many batches of economies are played with them.
        self.select = select, math.ceil(SELECTION_EPISODES / self.settings.economies)
        self.test = test, math.ceil(self.settings.episodes / self.settings.economies)

    def arena_with(self, plants: Sequence[Plant]) -> Arena:
        economies = self.settings.economies
        return Arena(
            self.model, self.policies, self.networks, self.multipliers, tuple(plants), economies, self.placement
        )

    def result(self, plants: tuple[str, ...], began: float) -> Equilibrium:
        self.say("playing the trained policies")
        base = evaluate_base(self.arena)
        select, _, _ = base(self.networks, {}, *self.select)
        test, indicators, use = base(self.networks, {}, *self.test)
        networks = initial_state(self.model, self.run.manifest["seed"]).networks
        untrained = base(networks, {}, *self.test)[0]
        _check_finite(select, "trained play")
        _check_finite(test, "trained play")
        _check_finite(untrained, "untrained play")
        improvement = _change(test, untrained)
        above, scale = self.above(base if not plants else evaluate_base(self.arena_with(())), test, improvement)
        alive = {name: bool(ok) for name, ok in jax.device_get(self.model.module.alive(indicators)).items()}
        estimates = [self.estimate(*question, select, test, above, improvement) for question in self.questions()]
        gains = judge(estimates, self.settings.target)
        return Equilibrium(
            {notion: overall(gains, notion, alive) for notion in get_args(Notion)},
            self.settings.target,
            alive,
            {name: float(value) for name, value in indicators.items()},
            gains,
            self.edges(use),
            scale,
            plants,
            self.record(),
            round(time.monotonic() - began, 1),
        )

    def questions(self) -> list[tuple[str, Notion]]:
        """All types that have a choice, under both notions; for a type of one agent they are the same question."""
        found: list[tuple[str, Notion]] = []
        for agent, policy in self.policies.items():
            if policy.heads:
                found.append((agent, "individual"))
                if policy.agents > 1:
                    found.append((agent, "team"))
        return found

    def above(
        self, base: Callable[..., Any], test: Payoffs, improvement: Mapping[str, float]
    ) -> tuple[Mapping[str, float], str]:
        """What gains are compared with: the payoff above doing nothing, or above untrained play; and its name."""
        if not self.settings.shutdown:
            return improvement, "payoff above untrained play (the spec has no verify.shutdown)"
        stopped, held = {}, []
        for name, value in self.settings.shutdown:
            space = self.model.spaces[name]
            if space.continuous:
                held.append(Frozen(space.agent, name, value))
            else:
                values = np.array(space.values)
                stopped[name] = np.arange(len(values)) == np.argmin(np.abs(values - value))
        if held:
            base = evaluate_base(self.arena_with(held))
        nothing = base(self.networks, stopped, *self.test)[0]
        _check_finite(nothing, "verify.shutdown")
        return _change(test, nothing), "payoff above doing nothing"

    def estimate(
        self,
        agent: str,
        notion: Notion,
        select: Payoffs,
        test: Payoffs,
        above: Mapping[str, float],
        improvement: Mapping[str, float],
    ) -> Estimate:
        """Trains and selects a best deviation, and estimates its gain on the test seeds."""
        deviation = Deviation(self.arena, agent, notion)

        def gains(state: Any, episodes: tuple[jax.Array, int], base: Payoffs) -> tuple[np.ndarray, np.ndarray, Payoffs]:
            payoffs, members = deviation.evaluate(self.networks, state, *episodes)
            change = payoffs[agent].astype(float) - base[agent]
            mine = change[np.arange(len(members)), members] if notion == "individual" else change.mean(axis=1)
            return mine, members, payoffs

        battery: list[tuple[Candidate, Any]] = []
        for source, budget, state in self.deviators(deviation):
            mean = float(np.mean(gains(state, self.select, select)[0]))
            if not math.isfinite(mean):
                raise RunError(
                    f"the {notion} deviator of {agent} ({source}, {budget} iterations) reached a payoff that is no finite "
                    "number; lower verify.learning_rate, or bound the reward"
                )
            battery.append((Candidate(source, budget, mean), state))
        trained = [pair for pair in battery if pair[0].iterations]
        best, state = max(trained, key=lambda pair: pair[0].gain)
        change, members, payoffs = gains(state, self.test, test)
        _check_finite(payoffs, f"the {notion} deviation of {agent}")
        single = self.policies[agent].agents == 1
        return Estimate(
            agent,
            ("individual", "team") if single else (notion,),
            float(np.mean(test[agent], dtype=float)),
            above[agent],
            improvement[agent],
            float(change.mean()),
            float(change.std(ddof=1) / math.sqrt(len(change))),
            best,
            tuple(candidate for candidate, _ in trained),
            self.power([candidate for candidate, _ in battery], abs(above[agent])),
            {other: value for other, value in _change(payoffs, test).items() if other != agent},
            _members(change, members) if notion == "individual" and not single else (),
            self.game.answer(agent, notion, state[0]) if self.game else None,
        )

    def power(self, battery: Sequence[Candidate], scale: float) -> float | None:
        """The share that a deviator from scratch recovers, if it starts more than the target below trained play."""
        scratch = [candidate for candidate in battery if candidate.source == SCRATCH]
        lost = -next(candidate.gain for candidate in scratch if not candidate.iterations)
        if lost <= self.settings.target * scale:
            return None
        return (lost + max(candidate.gain for candidate in scratch)) / lost

    def deviators(self, deviation: Deviation) -> Iterator[tuple[str, int, Any]]:
        """The battery: (source, iterations, network and optimizer); from scratch also untrained, to tell the power."""
        settings, agent, notion = self.settings, deviation.agent, deviation.notion
        number = list(self.policies).index(agent) * 2 + (notion == "team")
        key = jax.random.fold_in(self.train_key, number)
        for start, source in enumerate((CONTINUED, SCRATCH)):
            own = jax.random.fold_in(key, start)
            state = deviation.first(self.networks[agent]) if source == CONTINUED else deviation.scratch(own)
            if source == SCRATCH:
                yield source, 0, state
            done = 0
            for share in BUDGETS:
                budget = max(1, round(share * settings.iterations))
                self.say(f"{agent}, {notion}: deviator {source}, {budget} of {settings.iterations} iterations")
                state = deviation.learn(self.networks, state, own, done, budget, ENTROPY_FROM_SCRATCH * start)
                done = budget
                yield source, budget, state

    def edges(self, use: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[str, ...]:
        """Actions that are nearly always at an end of their range: there the grid decides, not the economy."""
        found = []
        for agent in use:
            for name, shares in use[agent].items():
                space = self.model.spaces[name]
                if space.shares:
                    other = self.model.ir.symbol(name).sets[-1]
                    for number in np.flatnonzero(shares >= EDGE):
                        found.append(f"{name} goes to {other} {number} alone in {shares[number]:.0%} of all cases")
                elif space.interval or (space.of is None and len(space.values) > 2):
                    for end, word in ((0, "lowest"), (-1, "highest")):
                        if shares[end] >= EDGE:
                            value = "" if space.interval else f", {space.values[end]:g},"
                            found.append(f"{name} is at its {word} choice{value} in {shares[end]:.0%} of all cases")
        return tuple(found)

    def record(self) -> dict[str, Any]:
        """What someone needs to repeat this."""
        checkpoint = (self.run.folder / "checkpoint.safetensors").read_bytes()
        chosen = self.settings
        return {
            "shutdown": dict(chosen.shutdown),
            "target": chosen.target,
            "digest": self.run.manifest["digest"],
            "checkpoint": hashlib.sha256(checkpoint).hexdigest(),
            "versions": self.run.manifest["versions"] | {"jax": jax.__version__},
            "seed": self.seed,
            "economies": chosen.economies,
            "iterations": chosen.iterations,
            "learning_rate": chosen.learning_rate,
            "epochs": chosen.epochs,
            "clip": chosen.clip,
            "selection_episodes": self.select[1] * chosen.economies,
            "test_episodes": self.test[1] * chosen.economies,
            "confidence": CONFIDENCE,
            "exact": self.solved,
        }


def _game(arena: Arena) -> tuple[Game | None, str]:
    """The game in which gains can be computed exactly, if there is one, and words on that."""
    try:
        game = Game(arena)
    except Unsolved as reason:
        return None, f"no: {reason}"
    return game, f"yes: {game.pairs:,} pairs of a state and choices of all agents"


def _check_finite(payoffs: Payoffs, what: str) -> None:
    wrong = next((agent for agent, values in payoffs.items() if not np.isfinite(values).all()), None)
    if wrong is not None:
        raise RunError(f"under {what} the payoff of {wrong} is no finite number: gains cannot be told")


def _members(change: np.ndarray, members: np.ndarray) -> tuple[Member, ...]:
    """Gains of single agents, of those who deviate in enough episodes for a standard error that means something."""
    found = []
    for number in np.unique(members):
        own = change[members == number]
        if len(own) >= MEMBER_EPISODES:
            found.append(Member(int(number), float(own.mean()), float(own.std(ddof=1) / math.sqrt(len(own)))))
    return tuple(found)


def _change(payoffs: Payoffs, base: Payoffs) -> dict[str, float]:
    """By how much the mean payoff of each type is above that of `base`."""
    return {a: float(np.mean(payoffs[a], dtype=float) - np.mean(base[a], dtype=float)) for a in payoffs}


# --- statistics ----------------------------------------------------------------------------------------------------


def judge(found: Sequence[Estimate], target: float) -> tuple[Gain, ...]:
    """Bounds and verdicts of all estimates together.

    Bounds are one-sided, by a normal approximation of the mean gain, each at the level 5 % / number of estimates: all
    upper bounds hold together with 95 % confidence, and so do all lower bounds (Bonferroni). The lower bounds of single
    agents hold together in the same way, among themselves.
    """
    width = _width(len(found))
    narrow = _width(sum(len(one.members) for one in found))
    gains = []
    for one in found:
        bounds = {member.number: member.gain - narrow * member.error for member in one.members}
        single = max(bounds, key=lambda number: bounds[number], default=None)
        single_lower = None if single is None else bounds[single]
        lower = one.gain - width * one.error
        upper = max(0.0, one.gain + width * one.error)
        limit = target * one.scale
        if lower > limit or (single_lower is not None and single_lower > limit):
            verdict = Verdict.REFUTED
        elif upper <= limit and one.power is not None and one.power >= POWER:
            verdict = Verdict.NOT_REFUTED
        else:
            verdict = Verdict.INCONCLUSIVE
        verdict = _exactly(one, limit, verdict)
        share = partial(_share, scale=one.scale)
        of_improvement = _share(one.gain, abs(one.improvement))
        relative = share(one.gain), share(lower), share(upper)
        gains.append(Gain(one, lower, upper, single, single_lower, *relative, of_improvement, verdict))
    return tuple(gains)


def _exactly(found: Estimate, limit: float, verdict: Verdict) -> Verdict:
    """What exact numbers make of a verdict that rests on estimates."""
    if found.exact is None:
        return verdict
    match found.exact.within(limit):
        case True:
            return Verdict.CERTIFIED
        case False:
            return Verdict.REFUTED
    # What was found is within the limit, if not what is possible: it does not refute.
    return Verdict.INCONCLUSIVE if verdict is Verdict.REFUTED else verdict


def _width(bounds: int) -> float:
    """How many standard errors wide `bounds` one-sided bounds have to be to hold together."""
    return NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / max(1, bounds))


def _share(value: float, scale: float) -> float | None:
    return value / scale if scale > 0 else None


def overall(gains: Sequence[Gain], notion: Notion, alive: Mapping[str, bool]) -> Verdict:
    """The verdict under one notion: no better than that of any type, and no result at all if nothing is alive."""
    if not all(alive.values()):
        return Verdict.TRIVIAL
    verdicts = {gain.verdict for gain in gains if notion in gain.estimate.notions}
    for verdict in (Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.NOT_REFUTED, Verdict.CERTIFIED):
        if verdict in verdicts:
            return verdict
    return Verdict.INCONCLUSIVE

"""How far a trained economy is from equilibrium: best responses found by learning, with confidence bounds.

A type's gain is what deviating pays. *Individual*: one agent leaves the policy while all others, its siblings too, keep
theirs; the Nash question, asked of each agent and answered as the mean over the agents of the type. *Team*: all agents
of the type switch together to what is best for their mean payoff; the meta-game of the paper. Payoffs are discounted
sums of rewards less penalties, per agent, unscaled.

For each type and notion:

1. A battery of deviations is tried (`best_response/search.py`): constant choices, policies that are there already,
   deviators that learn against the frozen policies, on training seeds.
2. The best of all these, or none, is chosen on selection seeds.
3. Its gain is estimated on test seeds, episode by episode against the same episode without the deviation: shocks, and
   the noise of all who do not deviate, are the same.
4. Holm's (1979) step-down test decides against the target, for all types and notions together with 95 % confidence,
   or what is asked for.
   A single agent whose own gain is above the target, with the same confidence for all agents of all types together,
   refutes too, however little the others gain. The bounds that are printed hold together too (Bonferroni).

Where the economy is small enough all this is checked against exact answers (`best_response/exact.py`), and these
decide: CERTIFIED if no one can gain more than the target, by any deviation.

No gain found proves little if the search is weak: where the best deviator still improves with its budget, or has not
shown that it finds a known gain, the verdict is INCONCLUSIVE, however small the gain.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.util.atomic_write import check_writable, write_file
from rbcc.runtime import prng
from rbcc.runtime.economy.model import Model
from rbcc.runtime.errors import Diverged, RunError, Violated
from rbcc.runtime.parallel.devices import Placement, check_size, place
from rbcc.runtime.policies.policy import Parameters
from rbcc.runtime.storage.run_directory import Run, versions
from rbcc.runtime.training.loop import initial_state, networks_of
from rbcc.runtime.verification.best_response.exact import Game, Unsolved
from rbcc.runtime.verification.best_response.learned import Arena, Base, Deviation, Deviator, Notion, evaluate_base
from rbcc.runtime.verification.best_response.search import CONSTANT, OWN, Battery, Found, Measure
from rbcc.runtime.verification.explanation import Explanation, Replay, explain
from rbcc.runtime.verification.perturbations import Frozen, Plant, read_plant
from rbcc.runtime.verification.results import (
    Equilibrium,
    Estimate,
    Gain,
    Member,
    Row,
    Verdict,
    file_name,
    judge,
    overall,
)
from rbcc.runtime.verification.statistics import CONFIDENCE, Mean, changes
from rbcc.runtime.verification.ties import Search


SELECTION_EPISODES = 1024
EDGE = 0.9
MEMBER_EPISODES = 100

Listener = Callable[[str], None]
Payoffs = Mapping[str, np.ndarray]
"""Discounted payoffs per type, (episodes, agents)."""
Scales = Mapping[str, np.ndarray]
"""By how much the mean payoff of each type is above another, (episodes,)."""


def verify(
    folder: str | Path,
    overrides: Mapping[str, object] | None = None,
    *,
    plants: Sequence[str] = (),
    seed: int = 0,
    confidence: float = CONFIDENCE,
    devices: int | None = None,
    listener: Listener | None = None,
) -> Equilibrium:
    """Estimates how much any type could gain by deviating from the run in `folder`.

    Writes `equilibrium.json` there. `overrides` may change `verify.*` settings of the spec. `plants` change the trained
    behaviour on purpose, to see the gain found: `baker.random=20%`, `seller[0].quantity=30` or `baker.hours*50%`;
    results then go to `equilibrium_planted.json`. `seed` is that of the search and of all episodes; bounds and
    verdicts hold together with the probability `confidence`. `devices` is how many of JAX's devices share the
    economies, by default all that can. `listener` is told what is being done. Raises RunError if the run cannot be
    verified or a plant makes no sense, OSError before the work if the result could not be written, Unwritten after it.
    """
    began = time.monotonic()
    run = Run.open(folder)
    if not run.finished:
        status = run.manifest["status"]
        stopped = status in (Diverged.status, Violated.status)
        advice = "change its spec and train anew" if stopped else f"finish it with: {run.resume_command}"
        raise RunError(f"{folder} is {status}; {advice}")
    model, state = run.recompiled(overrides or {}), run.state()
    path = run.folder / f"{file_name(plants)}.json"
    check_writable(path)
    found = exploitability(
        model,
        run.profile(),
        multipliers=state.multipliers,
        untrained=initial_state(model, run.manifest["seed"]).networks,
        others=dict(_others(run, listener or (lambda _: None))),
        plants=plants,
        seed=seed,
        confidence=confidence,
        devices=devices,
        listener=listener,
    )
    seconds = round(time.monotonic() - began, 1)
    result = replace(found, settings={**origin(run), **found.settings}, seconds=seconds)
    try:
        write_file(path, (json.dumps(asdict(result), indent=2, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise Unwritten(f"{path} cannot be written: {error.strerror or error}", result) from None
    return result


class Unwritten(RunError):
    """A verification that was done and could not be written; `result` has it."""

    def __init__(self, message: str, result: Equilibrium):
        super().__init__(message)
        self.result = result


def exploitability(
    model: Model,
    networks: Mapping[str, Parameters],
    *,
    multipliers: Mapping[str, jax.Array] | None = None,
    untrained: Mapping[str, Parameters] | None = None,
    others: Mapping[str, Mapping[str, Parameters]] | None = None,
    plants: Sequence[str] = (),
    seed: int = 0,
    confidence: float = CONFIDENCE,
    devices: int | None = None,
    listener: Listener | None = None,
) -> Equilibrium:
    """How much any type of `model` gains by deviating from the policies that `networks` make.

    Neither reads nor writes a file. `networks` holds the parameters of each agent type as training gives them
    (`Run.profile()`, `Policy.init`): of its "layers" weights, (wide, narrow), and biases, (wide,); of "choices",
    one for each stack of heads, and of "value" the same. `multipliers` are those of constraints by `type.constraint`,
    scalars, by default 0. `untrained` has networks before training, by default fresh ones from `seed`: payoffs above
    theirs measure what training has improved, and gains too where the spec has no `verify.shutdown`. `others` are more
    networks to try as deviations, by a name for each set of them. How long the search is, is in the spec's `verify`,
    which overrides of `rbcc.compile` change. The rest is as in `verify`. Raises RunError if the spec does not say what
    learns, a payoff is not a finite number, or a plant or the confidence makes no sense.
    """
    began = time.monotonic()
    if not 0 < confidence < 1:
        raise RunError(f"the confidence is {confidence:g}; it has to lie between 0 and 1, such as 0.95")
    if not model.ir.phases:
        raise RunError("the spec has no 'training', which describes the networks of each type")
    placement = place([model.ir.verification.economies], devices)
    planned = [read_plant(model, text) for text in plants]
    check_size(model.ir, "verifying", model.ir.verification.economies, model.ir.horizon, "lower verify.economies")
    zeros = {f"{one.agent}.{one.name}": jnp.zeros(()) for one in model.ir.constraints}
    search = _Verification(
        model,
        networks,
        {**zeros, **(multipliers or {})},
        initial_state(model, seed).networks if untrained is None else untrained,
        others or {},
        planned,
        seed,
        confidence,
        placement,
        listener or (lambda _: None),
    )
    with search.compiling():
        return search.result(tuple(plants), began)


class _Verification:
    def __init__(
        self,
        model: Model,
        networks: Mapping[str, Parameters],
        multipliers: Mapping[str, jax.Array],
        untrained: Mapping[str, Parameters],
        others: Mapping[str, Mapping[str, Parameters]],
        plants: Sequence[Plant],
        seed: int,
        confidence: float,
        placement: Placement,
        listener: Listener,
    ):
        self.model, self.networks, self.multipliers, self.untrained = model, networks, multipliers, untrained
        self.others, self.seed, self.confidence = others, seed, confidence
        self.placement, self.say = placement, listener
        self.settings = model.ir.verification
        self.policies = networks_of(model)
        self.arena = self.arena_with(plants)
        self.say("listing the states of the economy, for exact answers")
        self.game, self.solved = _game(self.arena)
        self.deviations = {question: Deviation(self.arena, *question) for question in self.questions()}
        self.found: dict[tuple[str, Notion], Found] = {}
        # Disjoint from each other and, by the tag, from the keys of training.
        root = jax.random.fold_in(prng.key(seed), 0x5EED)
        self.train_key, select, test = jax.random.split(root, 3)
        # Keys and how many batches of economies are played with them.
        self.select = select, math.ceil(SELECTION_EPISODES / self.settings.economies)
        self.test = test, math.ceil(self.settings.episodes / self.settings.economies)

    def arena_with(self, plants: Sequence[Plant]) -> Arena:
        economies = self.settings.economies
        return Arena(
            self.model, self.policies, self.networks, self.multipliers, tuple(plants), economies, self.placement
        )

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Meanwhile the programs of all searches are compiled, in their order.

        That takes one core: with several devices another one is left to what goes on.
        """
        pool = ThreadPoolExecutor(max(1, self.placement.devices - 1))
        self.programs = {question: pool.submit(one.compiled) for question, one in self.deviations.items()}
        try:
            yield
        finally:
            pool.shutdown(cancel_futures=True)

    def result(self, plants: tuple[str, ...], began: float) -> Equilibrium:
        self.say("playing the trained policies")
        base = evaluate_base(self.arena)
        select, played = base(self.networks, {}, *self.select).payoffs, base(self.networks, {}, *self.test)
        plain = evaluate_base(self.arena_with(())) if plants else base
        untrained = plain(self.untrained, {}, *self.test).payoffs
        test, indicators = played.payoffs, played.indicators
        _check_finite(select, "trained play")
        _check_finite(test, "trained play")
        _check_finite(untrained, "untrained play")
        improvement = _above(test, untrained)
        above, scale = self.above(plain, test, improvement)
        if self.game is not None:
            improvement, above = self.exactly(improvement, above)
        alive = {name: bool(ok) for name, ok in jax.device_get(self.model.module.alive(indicators)).items()}
        estimates = [self.estimate(*question, select, test, above, improvement) for question in self.questions()]
        scales = {agent: abs(float(x.mean())) for agent, x in above.items()}
        rows = judge(estimates, self.confidence)
        rows = tuple(self.explained(row, select) for row in rows)
        return Equilibrium(
            verdicts={notion: overall(rows, notion, alive) for notion in get_args(Notion)},
            targets=dict(self.settings.targets),
            alive=alive,
            indicators={name: float(value) if np.isfinite(value) else None for name, value in indicators.items()},
            rows=rows,
            edges=self.edges(played.use),
            ties=Search(self.arena, self.networks, self.select[0], select).ties(scales),
            scale=scale,
            given={agent.name: agent.given for agent in self.model.ir.agents if agent.given},
            after=self.after(),
            plants=plants,
            settings=self.record(),
            seconds=round(time.monotonic() - began, 1),
        )

    def after(self) -> dict[str, float]:
        """The weight of what follows after the last step, among all discounted steps; of economies that end, none."""
        if not self.model.ir.continuing:
            return {}
        return {
            a: float(x) ** self.model.ir.horizon for a, x in self.model.module.discounts().items() if a in self.policies
        }

    def questions(self) -> list[tuple[str, Notion]]:
        """All types that have a choice, under both notions; for a type of one agent they are the same question.

        Unless it takes values as given: as a team it knows that it moves them.
        """
        found: list[tuple[str, Notion]] = []
        for agent, policy in self.policies.items():
            if policy.heads:
                found.append((agent, "individual"))
                if policy.agents > 1 or self.model.ir.agent(agent).given:
                    found.append((agent, "team"))
        return found

    def above(self, base: Callable[..., Base], test: Payoffs, improvement: Scales) -> tuple[Scales, str]:
        """What gains are compared with: the payoff above doing nothing, or above untrained play; and its name."""
        if not self.settings.shutdown:
            return improvement, "payoff above untrained play (the spec has no verify.shutdown)"
        stopped, held = {}, []
        for idle in self.shutdown():
            space = self.model.spaces[idle.action]
            if space.continuous or space.restricted:  # where it is not allowed the nearest choice is played
                held.append(idle)
            else:
                stopped[idle.action] = np.arange(len(space.values)) == idle.choice
        if held:
            base = evaluate_base(self.arena_with(held))
        nothing = base(self.networks, stopped, *self.test).payoffs
        _check_finite(nothing, "verify.shutdown")
        return _above(test, nothing), "payoff above doing nothing"

    def exactly(self, improvement: Scales, above: Scales) -> tuple[Scales, Scales]:
        """`improvement` and `above` computed, of all types that have a choice: the same in all episodes."""
        plain, episodes = self.arena_with(()), self.test[1] * self.settings.economies

        def over(arena: Arena) -> dict[str, np.ndarray]:
            own = self.game
            assert own is not None
            other = own.playing(arena)
            means = {agent: (own.payoffs(agent) - other.payoffs(agent)).mean() for agent in own.sides}
            return {agent: np.full(episodes, mean) for agent, mean in means.items()}

        improved = {**improvement, **over(replace(plain, networks=self.untrained))}
        if not self.settings.shutdown:
            return improved, improved
        return improved, {**above, **over(self.arena_with(self.shutdown()))}

    def shutdown(self) -> list[Frozen]:
        """What agents do who do nothing."""
        found = []
        for name, value in self.settings.shutdown:
            space = self.model.spaces[name]
            choice = value if space.continuous else int(np.argmin(np.abs(np.array(space.values) - value)))
            found.append(Frozen(space.agent, name, choice))
        return found

    def estimate(
        self,
        agent: str,
        notion: Notion,
        select: Payoffs,
        test: Payoffs,
        above: Scales,
        improvement: Scales,
    ) -> Estimate:
        """Searches for the best deviation, and estimates its gain on the test seeds."""
        self.say(f"{agent}, {notion}: compiling")
        self.programs[agent, notion].result()
        deviation, (key, batches) = self.deviations[agent, notion], self.select

        def gains(deviator: Deviator, batches: int) -> tuple[np.ndarray, np.ndarray]:
            payoffs, members = deviation.evaluate(self.networks, deviator, key, batches)
            base = {other: x[: len(members)] for other, x in select.items()}
            return Sample(agent, notion, payoffs, base, members).change, members

        questions = self.questions()
        learning = jax.random.fold_in(self.train_key, list(self.policies).index(agent) * 2 + (notion == "team"))
        target = self.settings.target(agent)
        measure = Measure(
            target.limit(float(above[agent].mean())),
            -NormalDist().inv_cdf((1 - self.confidence) / len(questions)),
            math.sqrt(self.select[1] / self.test[1]),
        )
        others = {name: networks[agent] for name, networks in self.others.items()}
        found = Battery(deviation, self.networks, others, learning, gains, batches, measure, self.say).search()
        self.found[agent, notion] = found
        turns = deviation.turns(self.test[1])
        sample = Sample(agent, notion, {other: payoffs.copy() for other, payoffs in test.items()}, test, turns)
        for _, deviator, who in found.deviators:
            if deviator is not None:
                payoffs, _ = deviation.evaluate(self.networks, deviator, *self.test)
                for other, changed in sample.payoffs.items():
                    changed[who[turns]] = payoffs[other][who[turns]]
        _check_finite(sample.payoffs, f"the {notion} deviation of {agent}")
        same = (agent, "team") not in questions
        deviators = [(deviator, who) for _, deviator, who in found.deviators]
        return Estimate(
            agent=agent,
            notions=("individual", "team") if same else (notion,),
            payoff=float(np.mean(test[agent], dtype=float)),
            above=float(above[agent].mean()),
            improvement=float(improvement[agent].mean()),
            gain=Gain.of(sample.change, above[agent], target, sample.groups),
            target=target,
            unit=str(self.model.ir.symbol(f"{agent}.reward").type.unit or "util"),
            best=found.best,
            battery=found.candidates,
            rising=found.rising,
            power=found.power,
            others={other: float(x.mean()) for other, x in _above(sample.payoffs, test).items() if other != agent},
            agents=deviation.policy.agents,
            members=_members(sample, above[agent], target),
            curve=found.curve,
            left_out=found.left_out,
            pairing=sample.pairing,
            exact=self.game.answer(agent, notion, deviators) if self.game else None,
            taken={c.words: np.flatnonzero(who).tolist() for c, _, who in found.deviators if found.best.source == OWN},
        )

    def explained(self, row: Row, select: Payoffs) -> Row:
        """`row`, if it is refuted with what the deviation that was found gains by: that of the agent that gains surest,
        or else that of most agents, in turn."""
        agent, notion = row.estimate.agent, row.estimate.notions[0]
        number = row.single.member.number if row.single else None
        found = [
            (int(who.sum()), candidate, deviator, who)
            for candidate, deviator, who in self.found[agent, notion].deviators
            if deviator is not None and (number is None or who[number])
        ]
        if row.verdict is not Verdict.REFUTED or not found:
            return row
        _, candidate, deviator, who = max(found, key=lambda one: one[0])
        if candidate.source == CONSTANT:
            known = row.single.member.gain if row.single else row.estimate.gain
            return replace(row, explanation=Explanation(number, known.amount.value, candidate.words))
        self.say(f"{agent}, {notion}: what its deviation gains by")
        agents = np.flatnonzero(who) if number is None else np.array([number])
        episodes = len(select[agent])
        members = agents[np.arange(episodes) * len(agents) // episodes]
        replay = Replay(self.deviations[agent, notion], self.networks, deviator, self.select[0], members)

        def gain(payoffs: np.ndarray) -> float:
            return float(Sample(agent, notion, {agent: payoffs}, select, members).change.mean())

        return replace(row, explanation=explain(replay, number, gain))

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
        chosen = self.settings
        return {
            "shutdown": dict(chosen.shutdown),
            "versions": versions(),
            "policies": list(self.others),
            "seed": self.seed,
            "economies": chosen.economies,
            "iterations": chosen.iterations,
            "learning_rate": chosen.learning_rate,
            "epochs": chosen.epochs,
            "clip": chosen.clip,
            "selection_episodes": self.select[1] * chosen.economies,
            "test_episodes": self.test[1] * chosen.economies,
            "confidence": self.confidence,
            "exact": self.solved,
        }


def origin(run: Run) -> dict[str, Any]:
    """What was verified."""
    return {
        "digest": run.manifest["digest"],
        "checkpoint": hashlib.sha256((run.folder / "checkpoint.safetensors").read_bytes()).hexdigest(),
        "trained_with": run.manifest["versions"],
    }


def _game(arena: Arena) -> tuple[Game | None, str]:
    """The game in which gains can be computed exactly, if there is one, and words on that."""
    try:
        game = Game(arena)
    except Unsolved as reason:
        return None, f"no: {reason}"
    return game, f"yes: {game.pairs:,} pairs of a state and choices of all agents"


def _others(run: Run, say: Listener) -> Iterator[tuple[str, dict[str, Parameters]]]:
    """Policies of the same spec, by name: of earlier phases of the run, and of finished runs `seed-*` next to it.

    What is damaged there is left out, and said.
    """
    for phase in run.model.ir.phases[:-1]:
        if (run.folder / "phases" / f"{phase.name}.safetensors").is_file():
            try:
                yield f"phase {phase.name}", run.profile(f"phases/{phase.name}")
            except RunError as error:
                say(f"left out: {error}")
    here = run.folder.absolute()
    for path in sorted(here.parent.glob("seed-*/")):
        if path != here:
            try:
                other = Run.open(path)
                if other.finished and other.manifest["digest"] == run.manifest["digest"]:
                    yield f"seed {other.manifest['seed']}", other.profile()
            except RunError as error:
                say(f"left out: {error}")
            except CompileError as error:
                say(f"left out {path}: {error.diagnostics[0].message}")


@dataclass(frozen=True)
class Sample:
    """Episodes with a deviation and the same without, `payoffs` and `base`; `members` is who deviates in each."""

    agent: str
    notion: Notion
    payoffs: Payoffs
    base: Payoffs
    members: np.ndarray

    def own(self, payoffs: Payoffs) -> np.ndarray:
        """What counts in each episode: the payoff of who deviates, for a team that of all in the mean."""
        found = payoffs[self.agent].astype(float)
        return found[np.arange(len(found)), self.members] if self.notion == "individual" else found.mean(axis=1)

    @cached_property
    def change(self) -> np.ndarray:
        """Gains, (episodes,)."""
        return changes(self.own(self.payoffs), self.own(self.base))

    @property
    def groups(self) -> np.ndarray | None:
        """Whose episodes count alike, (episodes,): what agents differ in is not noise."""
        return self.members if self.notion == "individual" else None

    @property
    def pairing(self) -> float | None:
        """The variance of the difference between independent episodes, as a multiple of that between these."""
        errors = [Mean.of(x, self.groups).error for x in (self.own(self.payoffs), self.own(self.base), self.change)]
        played, base, paired = (error**2 for error in errors)
        return (played + base) / paired if paired > 0 else None


def _check_finite(payoffs: Payoffs, what: str) -> None:
    wrong = next((agent for agent, values in payoffs.items() if not np.isfinite(values).all()), None)
    if wrong is not None:
        raise RunError(f"under {what} the payoff of {wrong} is not a finite number: gains cannot be told")


def _members(sample: Sample, above: np.ndarray, target: ir.Target) -> tuple[Member, ...]:
    """Gains of single agents, where there are several and each deviates in enough episodes for a standard error that
    means something."""
    if sample.notion == "team":
        return ()
    numbers, counts = np.unique(sample.members, return_counts=True)
    if sample.base[sample.agent].shape[1] == 1 or counts.min() < MEMBER_EPISODES:
        return ()
    own = [np.flatnonzero(sample.members == number) for number in numbers]
    return tuple(
        Member(int(number), Gain.of(sample.change[where], above[where], target))
        for number, where in zip(numbers, own, strict=True)
    )


def _above(payoffs: Payoffs, base: Payoffs) -> dict[str, np.ndarray]:
    """`Scales` of payoffs above those of `base`."""
    return {agent: np.mean(payoffs[agent], 1, float) - np.mean(base[agent], 1, float) for agent in payoffs}

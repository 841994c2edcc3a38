"""How far a trained economy is from equilibrium: best responses found by learning, with confidence bounds.

A type's gain is what deviating pays. *Individual*: one agent leaves the policy while all others, its siblings too, keep
theirs; the Nash question. *Team*: all agents of the type switch together to what is best for their mean payoff; the
meta-game of the paper. Payoffs are discounted sums of rewards less penalties, per agent, unscaled.

For each type and notion:

1. Deviators learn against the frozen policies, one going on from the trained network, one from scratch, on training
   seeds. They are kept at a quarter, half and all of their budget: the curve shows what a larger one could add.
2. The best of all these is chosen on selection seeds.
3. Its gain is estimated on test seeds, episode by episode against the same episode without the deviation: shocks, and
   the noise of all who do not deviate, are the same.
4. One-sided 95 % bounds, corrected by Holm's step-down method over all types and notions, decide against the target.

No gain found proves little if the search is weak. Its power is the share of a known gain that it finds: the deviator
from scratch starts from nearly random choices and has to recover what the trained policy is worth over these. Without
power shown the verdict is INCONCLUSIVE, however small the gain.
"""

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler.diagnostics import suggest
from rbcc.runtime.deviation import (
    Arena,
    Frozen,
    Notion,
    Plant,
    Random,
    evaluate_base,
    evaluate_deviation,
    fresh_optimizer,
    learn_deviation,
)
from rbcc.runtime.model import Model
from rbcc.runtime.policy import Parameters
from rbcc.runtime.run import Run, RunError, write_file
from rbcc.runtime.train import initial_state, networks_of


CONFIDENCE = 0.95
POWER = 0.9
SELECTION_EPISODES = 1024
BUDGETS = (0.25, 0.5, 1.0)
ENTROPY_FROM_SCRATCH = 0.01
EDGE = 0.9

Listener = Callable[[str], None]


class Verdict(StrEnum):
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
class Gain:
    """What the best deviation found pays one type, under one notion.

    `gain`, `lower` and `upper` in units of the payoff, `relative` ones as shares of `scale`; `power` is the share of
    a known gain that the search recovers, None where there was nothing to recover; `others` the change of each other
    type's mean payoff under the deviation.
    """

    agent: str
    notion: str
    payoff: float
    scale: float
    gain: float
    error: float
    lower: float
    upper: float
    relative: float
    relative_lower: float
    relative_upper: float
    of_improvement: float
    best: Candidate
    battery: tuple[Candidate, ...]
    power: float | None
    others: dict[str, float]
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
    listener: Listener | None = None,
) -> Equilibrium:
    """Estimates how much any type could gain by deviating from the run in `folder`; writes `equilibrium.json` there.

    `overrides` may change `verify.*` settings of the spec. `plants` change the trained behaviour on purpose, to see
    the gain found: `baker.random=20%` or `seller[0].quantity=30`; results then go to `equilibrium_planted.json`.
    Raises RunError if the run cannot be verified.
    """
    began = time.monotonic()
    run = Run.open(folder)
    if not run.finished:
        raise RunError(
            f"{folder} is {run.manifest['status']}; finish it with 'rbcc train {run.manifest['spec']} --resume'"
        )
    model = run.model if not overrides else run.recompiled(overrides)
    found = _Verification(run, model, [read_plant(model, text) for text in plants], seed, listener or (lambda _: None))
    result = found.result(tuple(plants), began)
    name = "equilibrium_planted.json" if plants else "equilibrium.json"
    write_file(run.folder / name, (json.dumps(asdict(result), indent=2) + "\n").encode())
    return result


class _Verification:
    def __init__(self, run: Run, model: Model, plants: Sequence[Plant], seed: int, listener: Listener):
        self.run, self.model, self.seed, self.say = run, model, seed, listener
        self.settings = model.ir.verification
        self.policies = networks_of(model)
        state = run.state()
        self.networks = state.networks
        self.arena = Arena(
            model, self.policies, state.networks, state.multipliers, tuple(plants), self.settings.economies
        )
        # Disjoint from each other and, by the tag, from the keys of training.
        root = jax.random.fold_in(jax.random.key(seed), 0x5EED)
        self.train_key, select, test = jax.random.split(root, 3)
        self.select_keys = jax.random.split(select, math.ceil(SELECTION_EPISODES / self.settings.economies))
        self.test_keys = jax.random.split(test, math.ceil(self.settings.episodes / self.settings.economies))

    def result(self, plants: tuple[str, ...], began: float) -> Equilibrium:
        self.say("playing the trained policies")
        base = evaluate_base(self.arena)
        select, _, _ = jax.device_get(base(self.networks, self.select_keys))
        test, indicators, use = jax.device_get(base(self.networks, self.test_keys))
        untrained = initial_state(self.model, self.run.manifest["seed"]).networks
        improvement = self.means(test, jax.device_get(base(untrained, self.test_keys))[0])
        scales, scale = self.scales(test, improvement)
        alive = {name: bool(ok) for name, ok in jax.device_get(self.model.module.alive(indicators)).items()}
        found = []
        for agent, notion in self.questions():
            gain = self.gain(agent, notion, select, test, scales[agent])
            found.append(
                {
                    **gain,
                    "scale": scales[agent],
                    "of_improvement": gain["gain"] / (abs(improvement[agent]) or math.nan),
                }
            )
        gains = judge(found, self.settings.target)
        return Equilibrium(
            {notion: overall(gains, notion, alive) for notion in ("individual", "team")},
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
        """All types under both notions; for a type of one agent they are the same question."""
        return [
            (agent, notion)
            for agent, policy in self.policies.items()
            for notion in (("individual", "team") if policy.agents > 1 else ("individual",))
        ]

    def means(self, payoffs: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, float]:
        return {a: float(np.mean(payoffs[a], dtype=float) - np.mean(other[a], dtype=float)) for a in payoffs}

    def scales(self, test: Mapping[str, np.ndarray], improvement: Mapping[str, float]) -> tuple[dict[str, float], str]:
        """What a gain of each type is compared with: the payoff above doing nothing, or above untrained play."""
        if not self.settings.shutdown:
            scale = {agent: abs(value) for agent, value in improvement.items()}
            return scale, "payoff above untrained play (the spec has no verify.shutdown)"
        stopped = []
        for name, value in self.settings.shutdown:
            space = self.model.spaces[name]
            stopped.append(Frozen(space.agent, name, space.values.index(value)))
        still = Arena(
            self.model,
            self.policies,
            self.networks,
            self.arena.multipliers,
            tuple(stopped),
            self.arena.economies,
        )
        nothing = jax.device_get(evaluate_base(still)(self.networks, self.test_keys))[0]
        return {agent: abs(value) for agent, value in self.means(test, nothing).items()}, "payoff above doing nothing"

    def gain(
        self,
        agent: str,
        notion: Notion,
        select: Mapping[str, np.ndarray],
        test: Mapping[str, np.ndarray],
        scale: float,
    ) -> dict[str, Any]:
        evaluate = evaluate_deviation(self.arena, agent, notion)

        def gains(deviator: Parameters, keys: jax.Array, base: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Any]:
            payoffs, members = jax.device_get(evaluate(self.networks, deviator, keys))
            change = payoffs[agent].astype(float) - base[agent]
            rows = np.arange(len(members))
            return change[rows, members] if notion == "individual" else change.mean(axis=1), payoffs

        battery: list[tuple[Candidate, Parameters]] = []
        recovered: list[float] = []
        for candidate, deviator in self.deviators(agent, notion):
            mean = float(np.mean(gains(deviator, self.select_keys, select)[0]))
            if candidate.source == "from scratch":
                recovered.append(mean)
            if candidate.iterations:
                battery.append((Candidate(candidate.source, candidate.iterations, mean), deviator))
        best, deviator = max(battery, key=lambda pair: pair[0].gain)
        change, payoffs = gains(deviator, self.test_keys, test)
        lost = -recovered[0]
        power = (lost + max(recovered[1:])) / lost if lost > self.settings.target * scale else None
        return {
            "agent": agent,
            "notion": notion if self.policies[agent].agents > 1 else "individual = team",
            "payoff": float(np.mean(test[agent], dtype=float)),
            "gain": float(change.mean()),
            "error": float(change.std(ddof=1) / math.sqrt(len(change))),
            "best": best,
            "battery": tuple(candidate for candidate, _ in battery),
            "power": power,
            "others": {a: v for a, v in self.means(payoffs, test).items() if a != agent},
        }

    def deviators(self, agent: str, notion: Notion) -> Any:
        """The battery: (candidate without its gain, network) for each source and budget; budget 0 is untrained."""
        settings, policy = self.settings, self.policies[agent]
        learn = learn_deviation(self.arena, agent, notion, settings.epochs)
        number = list(self.policies).index(agent) * 2 + (notion == "team")
        key = jax.random.fold_in(self.train_key, number)
        for start, source in enumerate(("continued", "from scratch")):
            own = jax.random.fold_in(key, start)
            network = self.networks[agent] if start == 0 else policy.init(own)
            if start == 1:
                yield Candidate(source, 0, math.nan), network
            optimizer, done = fresh_optimizer(network), 0
            for share in BUDGETS:
                budget = max(1, round(share * settings.iterations))
                self.say(f"{agent}, {notion}: deviator {source}, {budget} of {settings.iterations} iterations")
                network, optimizer = learn(
                    self.networks, network, optimizer, own,
                    jnp.int32(done), jnp.int32(budget - done), jnp.int32(settings.iterations),
                    jnp.float32(settings.learning_rate), jnp.float32(ENTROPY_FROM_SCRATCH * start),
                )  # fmt: skip
                done = budget
                yield Candidate(source, budget, math.nan), network

    def edges(self, use: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[str, ...]:
        """Actions that are nearly always at an end of their range: there the grid decides, not the economy."""
        found = []
        for agent in use:
            for name, shares in use[agent].items():
                space = self.model.spaces[name]
                if space.of is None and len(space.values) > 2:
                    for end, word in ((0, "lowest"), (-1, "highest")):
                        if shares[end] >= EDGE:
                            value = space.values[end]
                            found.append(
                                f"{name} is at its {word} choice, {value:g}, in {shares[end]:.0%} of all cases"
                            )
        return tuple(found)

    def record(self) -> dict[str, Any]:
        checkpoint = (self.run.folder / "checkpoint.safetensors").read_bytes()
        chosen = self.settings
        return {
            "digest": self.run.manifest["digest"],
            "checkpoint": hashlib.sha256(checkpoint).hexdigest(),
            "versions": self.run.manifest["versions"] | {"jax": jax.__version__},
            "seed": self.seed,
            "economies": chosen.economies,
            "iterations": chosen.iterations,
            "learning_rate": chosen.learning_rate,
            "epochs": chosen.epochs,
            "selection_episodes": len(self.select_keys) * chosen.economies,
            "test_episodes": len(self.test_keys) * chosen.economies,
            "confidence": CONFIDENCE,
        }


# --- statistics ----------------------------------------------------------------------------------------------------


def judge(found: Sequence[dict[str, Any]], target: float) -> tuple[Gain, ...]:
    """Bounds and verdicts of all gains together.

    Each gain is tested on both sides of the target, by a normal approximation of its mean. Holm's step-down method
    orders the p-values of a side and gives the k-th smallest of m the level 5 % / (m - k + 1); bounds use that level.
    """
    scales = [one["scale"] for one in found]
    limits = [target * scale for scale in scales]
    below = [_p_value(limit - one["gain"], one["error"]) for one, limit in zip(found, limits, strict=True)]
    above = [_p_value(one["gain"] - limit, one["error"]) for one, limit in zip(found, limits, strict=True)]
    under, under_level = holm(below)
    over, over_level = holm(above)
    gains = []
    for k, one in enumerate(found):
        lower = one["gain"] - NormalDist().inv_cdf(1 - over_level[k]) * one["error"]
        upper = max(0.0, one["gain"] + NormalDist().inv_cdf(1 - under_level[k]) * one["error"])
        shown = one["power"] is not None and one["power"] >= POWER
        if over[k]:
            verdict = Verdict.REFUTED
        elif under[k] and shown:
            verdict = Verdict.NOT_REFUTED
        else:
            verdict = Verdict.INCONCLUSIVE
        scale = scales[k] or math.nan
        gains.append(
            Gain(
                **one,
                lower=lower,
                upper=upper,
                relative=one["gain"] / scale,
                relative_lower=lower / scale,
                relative_upper=upper / scale,
                verdict=verdict,
            )
        )
    return tuple(gains)


def holm(p_values: Sequence[float], alpha: float = 1 - CONFIDENCE) -> tuple[list[bool], list[float]]:
    """Which hypotheses Holm's (1979) step-down method rejects, and the level at which each was tested."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    rejected, levels, going = [False] * len(order), [alpha] * len(order), True
    for rank, k in enumerate(order):
        levels[k] = alpha / (len(order) - rank)
        going = going and p_values[k] <= levels[k]
        rejected[k] = going
    return rejected, levels


def _p_value(excess: float, error: float) -> float:
    """The chance of an estimate `excess` or more above a limit that is not exceeded."""
    if error == 0 or math.isnan(error):
        return 0.0 if excess > 0 else 1.0
    return 1 - NormalDist().cdf(excess / error)


def overall(gains: Sequence[Gain], notion: str, alive: Mapping[str, bool]) -> Verdict:
    """The verdict under one notion: no better than that of any type, and no result at all if nothing is alive."""
    if not all(alive.values()):
        return Verdict.TRIVIAL
    verdicts = {gain.verdict for gain in gains if notion in gain.notion}
    for verdict in (Verdict.REFUTED, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.NOT_REFUTED


# --- planted exploits ----------------------------------------------------------------------------------------------

_PLANT = re.compile(
    r"\s*(?P<agent>\w+)(\[(?P<member>\d+)\])?\.(?P<what>\w+)\s*=\s*(?P<value>[-+.\deE]+)(?P<percent>%?)\s*"
)


def read_plant(model: Model, text: str) -> Plant:
    """The exploit that `text` describes: `baker.random=20%`, `seller.quantity=30` or `seller[0].quantity=30`.

    Raises RunError, saying what was expected, if it describes none.
    """
    found = _PLANT.fullmatch(text)
    if found is None:
        raise RunError(f"'{text}' is no exploit; write for example baker.random=20% or seller[0].quantity=30")
    agent, what, member = found["agent"], found["what"], found["member"]
    agents = sorted({space.agent for space in model.spaces.values()})
    if agent not in agents:
        raise RunError(f"'{text}': there is no agent type '{agent}' with choices{_meant(agent, agents)}")
    value = float(found["value"]) / (100 if found["percent"] else 1)
    if what == "random" and member is None:
        if not 0 < value <= 1:
            raise RunError(f"'{text}': a share is between 0 and 100%")
        return Random(agent, value)
    own = {name.partition(".")[2]: space for name, space in model.spaces.items() if space.agent == agent}
    if what not in own:
        raise RunError(f"'{text}': {agent} has no choice '{what}'{_meant(what, own)}")
    space = own[what]
    if value not in space.values:
        raise RunError(f"'{text}': {what} can be {', '.join(f'{v:g}' for v in space.values)}")
    if member is not None and int(member) >= model.ir.count(agent):
        raise RunError(f"'{text}': {agent} are numbered 0 to {model.ir.count(agent) - 1}")
    return Frozen(agent, space.name, space.values.index(value), int(member) if member else None)


def _meant(name: str, known: Any) -> str:
    close = suggest(name, known)
    return f"; did you mean '{close}'?" if close else f"; known: {', '.join(known)}"

"""Who is better off in which of two trained economies, and by how much consumption."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import suggest
from rbcc.compiler.ir.types import Kind
from rbcc.compiler.util.toposort import reached
from rbcc.runtime.economy.model import Model
from rbcc.runtime.errors import RunError
from rbcc.runtime.reports.dataset import play
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.validation.conditions import Checks
from rbcc.runtime.verification.statistics import Mean, changes


ALL = "all"
FIFTHS = ("lowest fifth", "second fifth", "third fifth", "fourth fifth", "highest fifth")
LARGEST = 1e6
"""By how much consumption is scaled at most, up or down."""

Payoffs = Callable[[float], np.ndarray]
"""The factor that consumption is scaled by -> payoffs, (episodes,)."""


def compare(
    before: str | Path,
    after: str | Path,
    *,
    consumption: Mapping[str, str] | None = None,
    episodes: int = 256,
    seed: int = 0,
) -> pd.DataFrame:
    """What each type of agents is paid in two runs, over `episodes` with the same random numbers.

    One row per type that both have: its mean payoff, the discounted sum of rewards over an episode, `before` and
    `after`, their `difference` and its standard `error`, in `unit`; for types of five agents or more in both also one
    per fifth of agents, by their payoff in an episode: a fifth of one run need not be the same agents as that of the
    other. `consumption` names, by type, the value that is its consumption. `equivalent` is then by what share of it
    agents would need more in all steps of `before`, all else the same, to be paid as in `after` (0.03 is 3 %), and
    `equivalent_error` its standard error; NaN where no share makes up for the difference. Penalties of constraints do
    not count. Raises RunError if the runs have no type in common, or episodes of different length, if a value cannot be
    scaled, or a run cannot be simulated.
    """
    runs = [Run.open(before), Run.open(after)]
    models = [run.model for run in runs]
    names = [[agent.name for agent in model.ir.agents] for model in models]
    types = [name for name in names[0] if name in names[1]]
    if not types:
        raise RunError(
            f"the economies have no agent type in common: {before} has {', '.join(names[0])}, {after} {', '.join(names[1])}"
        )
    lengths = [model.ir.horizon for model in models]
    if lengths[0] != lengths[1]:
        raise RunError(
            f"episodes have {lengths[0]} and {lengths[1]} steps: payoffs over different times are not compared"
        )
    if episodes < 2:
        raise RunError(f"episodes is {episodes}; at least two are needed for a standard error")
    scaled: dict[str, list[str]] = {}
    for agent, name in (consumption or {}).items():
        if agent not in types:
            raise RunError(f"'{agent}' is not a type of both economies; these are: {', '.join(types)}")
        scaled[agent] = [_consumption(model, agent, name) for model in models]
    played = [jax.device_get(play(run.model, run.profile(), episodes, None, seed)) for run in runs]
    rows = []
    for agent in types:
        first, second = (_payoffs(model, own, agent) for model, own in zip(models, played, strict=True))
        unit = str(models[0].ir.symbol(f"{agent}.reward").type.unit or "util")
        for who, a, b in _groups(first, second):
            change = Mean.of(changes(b, a))
            row = {"type": agent, "agents": who, "unit": unit, "before": float(a.mean()), "after": float(b.mean())}
            row |= {"difference": change.value, "error": change.error}
            if agent in scaled and who == ALL:
                one, other = (
                    payoffs_of_scaled(model, own, agent, value)
                    for model, own, value in zip(models, played, scaled[agent], strict=True)
                )
                row["equivalent"], row["equivalent_error"] = equivalent(one, other(1.0))
            rows.append(row)
    columns = "type agents unit before after difference error".split()
    columns += ["equivalent", "equivalent_error"] if scaled else []
    return pd.DataFrame(rows, columns=pd.Index(columns))


def equivalent(payoffs: Payoffs, wanted: np.ndarray) -> tuple[float, float]:
    """The share that has to be added to consumption so that mean payoffs are those `wanted`, (episodes,), and its
    standard error; NaN if no share does."""

    def lacking(factor: float) -> float:
        return float((wanted - payoffs(factor)).mean())

    now = lacking(1.0)
    if now == 0:
        return 0.0, _error_of_share(payoffs, wanted, 1.0)
    inner, outer = 1.0, 2.0 if now > 0 else 0.5
    while not lacking(outer) * now <= 0:  # also while it is not a number
        inner, outer = outer, outer * outer
        if not 1 / LARGEST <= outer <= LARGEST:
            return math.nan, math.nan
    for _ in range(60):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if lacking(middle) * now > 0 else (inner, middle)
    factor = (inner + outer) / 2
    return factor - 1, _error_of_share(payoffs, wanted, factor)


def _error_of_share(payoffs: Payoffs, wanted: np.ndarray, factor: float) -> float:
    """By the delta method: the error of payoffs, divided by what a share of consumption adds to them."""
    slope = float((payoffs(factor * 1.0001) - payoffs(factor * 0.9999)).mean()) / (0.0002 * factor)
    return Mean.of(wanted - payoffs(factor)).error / abs(slope) if slope else math.nan


def payoffs_of_scaled(model: Model, played: Mapping[str, np.ndarray], agent: str, value: str) -> Payoffs:
    """Mean payoffs of the agents of a type if the `value` of all steps were scaled, and nothing but its reward changed.

    `played` has all arrays, (steps, episodes, ...). The reward, and what stands between it and the value, are computed
    anew by the equations of the spec, in double precision.
    """
    checks, steps = Checks(model), next(iter(played.values())).shape[0]
    path = _path(model.ir, f"{agent}.reward", value)
    needed = {name for one in path for name in ir.references(one.expression)} - {one.symbol for one in path}
    discount = float(model.module.discounts()[agent])

    def reward(arrays: Mapping[str, Any], time: Any, constants: Mapping[str, Any], factor: Any) -> Any:
        record = {**constants, **arrays, "time": time}
        record[value] = record[value] * factor
        for one in path:
            record[one.symbol] = checks.spread(one.expression, one.indices, record)
        return jnp.mean(record[f"{agent}.reward"])

    episodes = jax.vmap(reward, (0, None, None, None))
    all_steps = jax.jit(jax.vmap(episodes, (0, 0, None, None)))

    def payoffs(factor: float) -> np.ndarray:
        with jax.enable_x64(True):
            constants = {k: np.asarray(x) for k, x in model.written(model.module.constants()).items()}
            arrays = {name: _double(played[name]) for name in needed | {value} if name in played}
            found = np.asarray(all_steps(arrays, np.arange(steps), constants, np.float64(factor)))
        return (discount ** np.arange(steps)) @ found

    return payoffs


def _double(array: Any) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(float) if np.issubdtype(array.dtype, np.floating) else array


def _path(model: ir.Model, reward: str, value: str) -> list[ir.Definition]:
    """The equations that lead from a value to a reward, in order; empty if none do."""
    reads = {one.symbol: ir.references(one.expression) for one in model.equations}
    wanted = reached(reads, [reward])
    touched, path = {value}, []
    for one in model.equations:
        if one.symbol in wanted and one.symbol != value and touched & reads[one.symbol]:
            touched.add(one.symbol)
            path.append(one)
    return path if reward in touched else []


def _consumption(model: Model, agent: str, name: str) -> str:
    """The value that `name` means. Raises RunError unless it can be scaled, and the type's reward depends on it."""
    known = [one.symbol for one in model.ir.equations if not one.symbol.endswith("'")]
    known += [*model.spaces, *model.state_shapes]
    value = f"{agent}.{name}" if f"{agent}.{name}" in known else name
    if value not in known:
        close = suggest(value, known)
        raise RunError(
            f"there is no value '{value}' in {model.ir.name}" + (f"; did you mean '{close}'?" if close else "")
        )
    if model.ir.symbol(value).type.kind is not Kind.NUMBER:
        raise RunError(f"'{value}' is not a number, and consumption is scaled")
    path = _path(model.ir, f"{agent}.reward", value)
    if not path:
        raise RunError(f"the reward of {agent} does not depend on '{value}'; name the value that is its consumption")
    for one in path:
        kinds = {type(node) for node in ir.walk(one.expression)}
        reasons = {
            "is what solves equations": ir.Root in kinds,
            "draws random numbers": ir.Draw in kinds,
            "reads what comes next": any(read.endswith("'") for read in ir.references(one.expression)),
        }
        if reason := next((reason for reason, holds in reasons.items() if holds), None):
            raise RunError(f"'{one.symbol}' {reason}, and stands between '{value}' and the reward of {agent}")
    return value


def _payoffs(model: Model, played: Mapping[str, np.ndarray], agent: str) -> np.ndarray:
    """Discounted sums of rewards, (episodes, agents)."""
    rewards = np.asarray(played[f"{agent}.reward"], float)
    weights = float(model.module.discounts()[agent]) ** np.arange(len(rewards))
    return np.tensordot(weights, rewards.reshape(*rewards.shape[:2], -1), 1)


def _groups(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """All agents, and fifths of them by payoff, with the means of each episode in both runs, (episodes,)."""
    yield ALL, first.mean(axis=1), second.mean(axis=1)
    if min(first.shape[1], second.shape[1]) < len(FIFTHS):
        return
    parts = (np.array_split(np.sort(payoffs, axis=1), len(FIFTHS), axis=1) for payoffs in (first, second))
    for name, a, b in zip(FIFTHS, *parts, strict=True):
        yield name, a.mean(axis=1), b.mean(axis=1)


def legend_of_comparison(frame: pd.DataFrame, before: str, after: str) -> str:
    """What the columns of `compare` mean."""
    text = (
        f"before: {before}, after: {after}; mean payoffs (discounted sums of rewards over an episode), difference with its "
        "standard error in brackets, from episodes with the same random numbers; fifths are of agents by payoff in each "
        "episode, not the same agents in both"
    )
    if "equivalent" in frame:
        text += (
            "; equivalent: the share of consumption in all steps that agents would need more before, all else the same, to "
            "be paid as after"
        )
    return text

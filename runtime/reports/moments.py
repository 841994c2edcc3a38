"""Moments and impulse responses of trained economies, as economists print them."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.linalg import splu

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import suggest
from rbcc.compiler.ir.constants import constant, literal_value
from rbcc.compiler.ir.types import Kind
from rbcc.compiler.ir.units import ONE
from rbcc.compiler.util.text import counted
from rbcc.runtime.economy.model import Model
from rbcc.runtime.errors import RunError
from rbcc.runtime.policies.policy import Parameters
from rbcc.runtime.reports.dataset import play, playing
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.validation.conditions import Checks


LAGS = 4
PERCENT = "%"
ROUNDING = 1e-7  # of simulations in single precision
BAND = 0.9
"""The share of paths within the bands of an impulse response."""


def hp_filter(series: np.ndarray, smoothness: float) -> np.ndarray:
    """The cycles of `series` (..., steps): what is left without the trend of Hodrick and Prescott (1997).

    The trend g minimises the sum of (x - g)^2 plus `smoothness`, 1600 for quarters, times that of g's squared second
    differences.
    """
    steps = series.shape[-1]
    second = sparse.eye_array(steps - 2, steps) - 2 * sparse.eye_array(steps - 2, steps, k=1)
    second = second + sparse.eye_array(steps - 2, steps, k=2)
    penalised = sparse.eye_array(steps) + smoothness * (second.T @ second)
    trend = splu(sparse.csc_array(penalised)).solve(series.reshape(-1, steps).T).T
    return series - trend.reshape(series.shape)


def moments(
    folder: str | Path,
    *,
    relative_to: str | None = None,
    hp: float | None = None,
    steps: int | None = None,
    paths: int = 100,
    burn: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Moments of a run's indicators over simulated `paths` of `steps` steps, the first `burn` not counted.

    One row per indicator: `unit` of deviations, `mean` (always of the level), `sd`, `relative_sd` (to the indicator
    `relative_to`, by default the first), `rho_1` to `rho_4` (autocorrelations), and `t-4` to `t+4`, the correlation of
    it so many steps earlier or later with `relative_to`. Each is the mean over paths, with its standard error in a
    column that ends in `_error`. With `hp` deviations are those of cycles: of logarithms, in percent (unit "%"), for
    the indicators in the model's `logs`, and of levels for others. A `relative_sd` compares like with like: the
    logarithm itself, not percent, with a level. Of episodes of fewer than 8 steps there are only `mean` and `sd`, over
    all steps of all paths. Raises RunError if the run cannot be simulated.
    """
    run = Run.open(folder)
    model = run.model.ir
    length = steps or max(0, model.horizon - burn)
    if steps is None and hp is None and not model.continuing and 0 < length < 2 * LAGS:
        return _short(run, paths, burn, seed)
    if length < 2 * LAGS:
        enough = model.ends_after is None or model.ends_after - burn >= 2 * LAGS
        why = f"episodes of {model.name} end after {model.ends_after}, and of shorter episodes there is no cycle"
        more = "give --steps" if enough else why
        raise RunError(f"moments need {2 * LAGS} steps or more that count; {more}")
    series = {name: x[:, burn:] for name, x in _indicators(_played(run, paths, length + burn, seed)).items()}
    base = _known(relative_to or next(iter(series)), series)
    logs = set(model.logs) if hp is not None else set()
    cycles = {name: _cycles(name, x, hp, name in logs) for name, x in series.items()}
    # Of a logarithm a percent is .01.
    scale = {name: 0.01 if name in logs else 1.0 for name in series}
    rows = {}
    for name, x in cycles.items():
        found = {"mean": series[name].mean(axis=1), "sd": x.std(axis=1)}
        with np.errstate(divide="ignore", invalid="ignore"):
            found["relative_sd"] = found["sd"] * scale[name] / (cycles[base].std(axis=1) * scale[base])
        found |= {f"rho_{lag}": _correlations(x[:, lag:], x[:, :-lag]) for lag in range(1, LAGS + 1)}
        for shift in range(-LAGS, LAGS + 1):
            now = slice(max(0, -shift), length - max(0, shift))
            then = slice(max(0, shift), length - max(0, -shift))
            found[f"t{shift:+d}" if shift else "t"] = _correlations(x[:, then], cycles[base][:, now])
        unit = PERCENT if name in logs else _unit(model, name)
        rows[name] = {"unit": unit} | {key: value for column, x in found.items() for key, value in _estimate(column, x)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("indicator")


def _short(run: Run, paths: int, burn: int, seed: int) -> pd.DataFrame:
    """Means and standard deviations of episodes that are too short for anything else."""
    series = _indicators(_played(run, paths, run.model.ir.horizon, seed))
    rows = {
        name: {"unit": _unit(run.model.ir, name)}
        | dict(_estimate("mean", x[:, burn:].mean(axis=1)))
        | {"sd": float(x[:, burn:].std())}
        for name, x in series.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("indicator")


def responses(
    folder: str | Path, shock: str, *, steps: int | None = None, paths: int = 256, burn: int = 0, seed: int = 0
) -> pd.DataFrame:
    """Impulse responses of a run's indicators to a change of one state at the start, such as `stock=+0.1`.

    Each path is played twice with the same random numbers, with the change and without. One row per indicator and
    step, of which there are by default 40, or as many as an episode has: the `unit`, the mean difference `response`,
    its standard error `error`, and `low` to `high`, which 90 % of paths lie between; in percent of the unchanged path
    (unit "%") for the indicators in the model's `logs`. The change is in the unit of the state, in percent of it
    (`stock=+1%`), or in standard deviations of its own shock (`stock=+1sd`).

    A state that is a Markov chain has certain values only. A change that leads between two of them is played as one to
    the lower and one to the higher, weighted so that the state changes as asked on average; a path in which it would
    lead beyond the last value is left out of all columns, and `attrs["paths"]` is how many are not. Raises RunError for
    a shock that cannot be read or that no path can have, or a run that cannot be simulated.
    """
    run = Run.open(folder)
    model = run.model
    name, size, unit = _shock(shock, model)
    if steps is None:
        steps = 40 if model.ir.continuing else max(1, min(40, model.ir.horizon - burn))
    again = playing(model, *_checked(run, paths, steps + burn, seed))
    nothing = np.zeros((paths, *model.state_shapes[name]), np.float32)

    def played_with(change: np.ndarray) -> dict[str, np.ndarray]:
        stored = jax.vmap(lambda x: model.stored({name: x})[name])(jnp.asarray(change, nothing.dtype))
        return jax.device_get(again({name: (burn, stored)}))

    played = played_with(nothing)
    now = np.asarray(played[name][burn], float)
    if unit == PERCENT:
        change = size / 100 * now
    else:
        change = np.full_like(now, size * (deviation(model, name, played, burn) if unit == "sd" else 1.0))
    possible, moves = _moves(model, name, now, change, shock)
    base = {key: x[possible] for key, x in _indicators(played).items()}
    changed = {key: np.zeros_like(x) for key, x in base.items()}
    for weight, move in moves:
        moved = _indicators(played_with(move))
        changed = {key: x + weight[:, None] * moved[key][possible] for key, x in changed.items()}
    rows, number = [], int(possible.sum())
    for indicator, x in base.items():
        in_logs = indicator in model.ir.logs
        difference = (changed[indicator] - x)[:, burn:]
        difference = 100 * difference / _above_zero(indicator, x)[:, burn:] if in_logs else difference
        low, high = np.quantile(difference, [(1 - BAND) / 2, (1 + BAND) / 2], axis=0)
        error = difference.std(axis=0, ddof=1) / math.sqrt(number) if number > 1 else np.full(steps, math.nan)
        own = PERCENT if in_logs else _unit(model.ir, indicator)
        for step, values in enumerate(zip(difference.mean(axis=0), error, low, high, strict=True)):
            rows.append((indicator, step, own, *values))
    found = pd.DataFrame(rows, columns=["indicator", "step", "unit", "response", "error", "low", "high"])
    found.attrs |= {"paths": number, "played": paths}
    return found


def _checked(run: Run, paths: int, steps: int, seed: int) -> tuple[Mapping[str, Parameters], int, int, int]:
    """What to play: the profile, paths, steps and seed. Raises RunError if that cannot be."""
    model = run.model.ir
    if not model.indicators:
        raise RunError(f"{model.name} has no indicators: name some under 'indicators' in its spec")
    if steps > model.horizon and not model.continuing:
        raise RunError(f"episodes of {model.name} end after {counted(model.horizon, 'step')}; {steps} were asked for")
    return run.profile(), paths, steps, seed


def _played(run: Run, paths: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    """All series, (steps, paths, ...)."""
    return jax.device_get(play(run.model, *_checked(run, paths, steps, seed)))


def _indicators(played: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Series of all indicators, (paths, steps)."""
    prefix = "indicator."
    return {name.removeprefix(prefix): x.T.astype(float) for name, x in played.items() if name.startswith(prefix)}


def _unit(model: ir.Model, indicator: str) -> str:
    """The unit of the level of an indicator, as a word of a table."""
    unit = next(one.expression.type.unit for one in model.indicators if one.name == indicator)
    return "level" if unit in (None, ONE) else str(unit)


def _above_zero(indicator: str, x: np.ndarray) -> np.ndarray:
    if not (x > 0).all():
        path, step = map(int, np.argwhere(~(x > 0))[0])
        raise RunError(
            f"'{indicator}' is measured in percent, and is {x[path, step]:.6g} in path {path}, step {step}: leave it out "
            "of 'moments: log' in the spec, or keep it above 0"
        )
    return x


# --- shocks --------------------------------------------------------------------------------------------------------

_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_SHOCK = re.compile(rf"\s*([\w.]+)\s*=\s*({_NUMBER})\s*(%|sd)?\s*")


def _shock(text: str, model: Model) -> tuple[str, float, str | None]:
    """The state, the size and its unit: percent, "sd", or None for that of the state."""
    found, states = _SHOCK.fullmatch(text), model.state_shapes
    if found is None or not math.isfinite(float(found[2])):
        raise RunError(
            f"'{text}' is not a shock; write for example STATE=+0.01, what is added to a state, in its unit, STATE=+1%, "
            "or STATE=+1sd, in standard deviations of its own shock"
        )
    if not states:
        raise RunError("this model has no states, and a shock is a change of one")
    name = found[1]
    short = [state for state in states if state.rpartition(".")[2] == name]
    name = _known(short[0] if len(short) == 1 else name, states)
    kind = model.ir.symbol(name).type.kind
    if kind is not Kind.NUMBER:
        numbers = [state for state in states if model.ir.symbol(state).type.kind is Kind.NUMBER]
        what = "true or false" if kind is Kind.FLAG else "a choice"
        raise RunError(
            f"'{name}' is {what}, and a shock is added to a number; states that are numbers: {', '.join(numbers) or 'none'}"
        )
    return name, float(found[2]), found[3]


def _moves(
    model: Model, name: str, now: np.ndarray, change: np.ndarray, shock: str
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """In which paths a change can be made, (paths,), and what is added to the state, (paths, ...).

    With several, the weight of each in those paths.
    """
    paths = len(now)
    chain = chain_of(model.ir, name)
    if chain is None:
        return np.ones(paths, bool), [(np.ones(paths), change)]
    values = chain.values
    close = ROUNDING * (values[-1] - values[0])
    place = np.abs(now[..., None] - values).argmin(-1)
    target = values[place] + change
    each = tuple(range(1, now.ndim))
    possible = ((target >= values[0] - close) & (target <= values[-1] + close)).all(each)
    if not possible.any():
        raise RunError(
            f"shock '{shock}': in no path can '{name}' change by {change.ravel()[0]:.6g} and stay within its values, "
            + ", ".join(f"{value:.6g}" for value in values)
        )
    target = np.clip(target, values[0], values[-1])
    lower = np.clip(np.searchsorted(values, target + close, side="right") - 1, 0, len(values) - 2)
    share = np.clip((target - values[lower]) / (values[lower + 1] - values[lower]), 0, 1)
    share = np.where(np.abs(share - share.round()) < ROUNDING, share.round(), share)
    weight = share.reshape(paths, -1)[:, 0]
    if np.ptp(share.reshape(paths, -1)[possible], axis=1).max() > ROUNDING:
        raise RunError(
            f"shock '{shock}' leads agents with different '{name}' between its values by different shares of the way; "
            f"give a size that leads from value to value: {', '.join(f'{value:.6g}' for value in values)}"
        )
    found = [(1 - weight, values[lower] - values[place]), (weight, values[lower + 1] - values[place])]
    return possible, [(w[possible], move) for w, move in found if w[possible].any()]


@dataclass(frozen=True)
class MarkovChain:
    """The values of a state, rising, and the chances of each (column) after each (row)."""

    values: np.ndarray
    chances: np.ndarray

    @property
    def deviation(self) -> float:
        """The standard deviation of the next value about what is expected of it, on average over the long run."""
        shares = np.full(len(self.values), 1 / len(self.values)) @ np.linalg.matrix_power(self.chances, 4096)
        expected = self.chances @ self.values
        return float(np.sqrt(shares @ (self.chances @ self.values**2 - expected**2)))


def chain_of(model: ir.Model, state: str) -> MarkovChain | None:
    """The Markov chain that a state is, whose equation draws one of some numbers with chances that depend on it."""
    following = next(one.expression for one in model.equations if one.symbol == f"{state}'")
    if not isinstance(following, ir.Apply) or following.function != "steps":
        return None
    draw, *parts = following.arguments
    inside = [node for part in parts for node in ir.walk(part)]
    written = all(
        isinstance(node, ir.Constant) or literal_value(node) is not None for node in inside if not _of(node, state)
    )
    if not isinstance(draw, ir.Draw) or draw.distribution != "uniform" or not written:
        return None
    values = np.array([_number(part) for part in parts[::2]])

    def chance(node: ir.Expression, now: float) -> float:
        if not isinstance(node, ir.Apply):
            return _number(node)
        _, found, *more = node.arguments
        for at, then in zip(more[::2], more[1::2], strict=True):
            found = then if now >= _number(at) else found
        return _number(found)

    totals = np.array([[0.0, *(chance(part, now) for part in parts[1::2]), 1.0] for now in values])
    return MarkovChain(values, np.diff(totals, axis=1))


def _of(node: ir.Expression, state: str) -> bool:
    """Whether `node` is a state, or steps of it."""
    if isinstance(node, ir.Apply):
        return node.function == "steps" and _of(node.arguments[0], state)
    return isinstance(node, ir.Reference) and node.symbol == state


def _number(node: ir.Expression) -> float:
    return float(literal_value(node) or 0)


def deviation(model: Model, state: str, played: dict[str, np.ndarray], step: int) -> float:
    """The standard deviation of what is drawn for the next value of a state, given the present one.

    Raises RunError unless the state is a Markov chain, or its equation adds a normal draw times a number that is always
    the same.
    """
    chain = chain_of(model.ir, state)
    if chain is not None:
        return chain.deviation
    following = next(one.expression for one in model.ir.equations if one.symbol == f"{state}'")
    draws = [node for node in ir.walk(following) if isinstance(node, ir.Draw)]
    sizes: list[np.ndarray] = []
    if [draw.distribution for draw in draws] == ["normal"]:
        checks, constants = Checks(model), model.written(model.module.constants())
        with jax.enable_x64(True):  # differences of numbers that may be much larger
            for path in {0, played[state].shape[1] - 1}:
                arrays = {**constants, **{name: array[step, path] for name, array in played.items()}}
                record = {name: np.asarray(array, _double(array)) for name, array in arrays.items()}
                low, middle, high = (checks.evaluated(_with_draw(following, draw), record)[0] for draw in (-1, 0, 1))
                sizes += [np.asarray(high - middle), np.asarray(middle - low)]
    found = np.concatenate([size.ravel() for size in sizes]) if sizes else np.array([0.0, 1.0])
    if np.ptp(found) > 1e-4 * np.abs(found).max():
        raise RunError(
            f"'{state}' has no shock of one size: its equation would add one normal() times a number; give the size in its "
            f"unit, {state}=+0.01, or in percent, {state}=+1%"
        )
    return float(np.abs(found).mean())


def _double(array: Any) -> Any:
    return float if jnp.issubdtype(array.dtype, jnp.floating) else array.dtype


def _with_draw(node: ir.Expression, value: int) -> ir.Expression:
    return ir.rebuild(node, lambda part: constant(Fraction(value)) if isinstance(part, ir.Draw) else part)


def _known(name: str, known: Iterable[str]) -> str:
    if name in known:
        return name
    short = {one.rpartition(".")[2]: one for one in known}
    close = suggest(name, known) or short.get(suggest(name, short) or "")
    help = f"did you mean '{close}'?" if close else f"known: {', '.join(known)}"
    raise RunError(f"there is no '{name}'; {help}")


def _cycles(indicator: str, x: np.ndarray, hp: float | None, in_logs: bool) -> np.ndarray:
    if hp is None:
        return _still(x, x)
    if in_logs:
        return _still(100 * hp_filter(np.log(_above_zero(indicator, x)), hp), np.full_like(x, 100))
    return _still(hp_filter(x, hp), x)


def _correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each path; nan where a series does not move."""
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    size = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.divide((x * y).sum(axis=1), size, out=np.full(len(x), np.nan), where=size > 0)


def _still(x: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Cycles with those that are nothing but rounding set to 0, path by path."""
    return np.where(x.std(axis=1, keepdims=True) > ROUNDING * np.abs(level).max(axis=1, keepdims=True), x, 0.0)


def _estimate(column: str, values: np.ndarray) -> list[tuple[str, float]]:
    values = values[np.isfinite(values)]
    if not len(values):
        return [(column, math.nan), (f"{column}_error", math.nan)]
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return [(column, float(values.mean())), (f"{column}_error", float(error))]


# --- tables --------------------------------------------------------------------------------------------------------


def legend(frame: pd.DataFrame, relative_to: str | None, hp: float | None) -> str:
    """What the columns of `moments` mean."""
    if "rho_1" not in frame:
        return "mean over episodes, standard error in brackets; sd of all steps of all episodes, which are too short for more"
    base = relative_to or str(frame.index[0])
    cycles = (
        "of levels"
        if hp is None
        else f"of cycles (HP {hp:g}): where the unit is % of logarithms, in percent, else of levels"
    )
    return (
        f"sd, rho (autocorrelations) and t-4 to t+4 {cycles}; relative_sd and t are relative to {base}, t+1 its "
        "correlation with what follows a step later. All are means over paths, each path's from its own mean, with "
        "standard errors in brackets, without paths in which a correlation is not defined: of short paths of a persistent series sd and rho are too small (--steps, --burn)"
    )


def legend_of_responses(frame: pd.DataFrame) -> str:
    """What the columns of `responses` mean."""
    number, played = frame.attrs["paths"], frame.attrs["played"]
    left_out = f"; {number} of {played} paths: in the others the shock would lead beyond the last value of the state"
    return (
        "response: mean difference between a path with the shock and the same without, standard error in brackets; "
        f"{BAND:.0%} of paths lie from low to high; unit: % of the path without{left_out if number < played else ''}"
    )

"""Moments and impulse responses of trained economies, as economists print them."""

import math
import re
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.linalg import splu

from rbcc.compiler.diagnostics import suggest
from rbcc.compiler.files import write_file
from rbcc.runtime.errors import RunError
from rbcc.runtime.run import Run
from rbcc.runtime.simulate import play


LAGS = 4
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

    One row per indicator: `mean`, `sd`, `relative_sd` (to the indicator `relative_to`, by default the first), `rho_1`
    to `rho_4` (autocorrelations), and `t-4` to `t+4`, the correlation of it so many steps earlier or later with
    `relative_to`. Each is the mean over paths, with its standard error in a column that ends in `_error`. With `hp`
    they are those of the cycles of logarithms, in percent (of levels, for a series that is not positive throughout).
    Raises RunError if the run cannot be simulated.
    """
    run = Run.open(folder)
    length = steps or max(0, run.model.ir.horizon - burn)
    if length < 2 * LAGS:
        ends = run.model.ir.ends_after
        enough = ends is None or ends - burn >= 2 * LAGS
        why = "give --steps" if enough else f"episodes of {run.model.ir.name} end after {ends}"
        raise RunError(f"moments need {2 * LAGS} steps or more that count; {why}")
    series = {name: x[:, burn:] for name, x in _indicators(run, paths, length + burn, seed).items()}
    base = _known(relative_to or next(iter(series)), series)
    cycles = {name: _cycles(x, hp) for name, x in series.items()}
    rows = {}
    for name, x in cycles.items():
        found = {"mean": series[name].mean(axis=1), "sd": x.std(axis=1)}
        with np.errstate(divide="ignore", invalid="ignore"):
            found["relative_sd"] = found["sd"] / cycles[base].std(axis=1)
        found |= {f"rho_{lag}": _correlations(x[:, lag:], x[:, :-lag]) for lag in range(1, LAGS + 1)}
        for shift in range(-LAGS, LAGS + 1):
            now = slice(max(0, -shift), length - max(0, shift))
            then = slice(max(0, shift), length - max(0, -shift))
            found[f"t{shift:+d}" if shift else "t"] = _correlations(x[:, then], cycles[base][:, now])
        rows[name] = {key: value for column, x in found.items() for key, value in _estimate(column, x)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("indicator")


def responses(
    folder: str | Path, shock: str, *, steps: int | None = None, paths: int = 256, burn: int = 0, seed: int = 0
) -> pd.DataFrame:
    """Impulse responses of a run's indicators to a change of one state at the start, such as `stock=+0.1`.

    Each path is played twice with the same random numbers, with the change and without. One row per indicator and
    step, of which there are by default 40, or as many as an episode has: the mean difference `response`, its standard
    error `error`, and `low` to `high`, which 90 % of paths lie between; in percent of the unchanged path where that is
    positive throughout (`in_percent`). Raises RunError for a shock that cannot be read or a run that cannot be
    simulated.
    """
    run = Run.open(folder)
    name, size = _shock(shock, run.model.state_shapes)
    if steps is None:
        steps = 40 if run.model.ir.continuing else max(1, min(40, run.model.ir.horizon - burn))
    changed = _indicators(run, paths, steps + burn, seed, {name: (burn, size)})
    rows = []
    for indicator, base in _indicators(run, paths, steps + burn, seed, {name: (burn, 0.0)}).items():
        percent = bool((base > 0).all())
        difference = (changed[indicator] - base)[:, burn:]
        difference = 100 * difference / base[:, burn:] if percent else difference
        low, high = np.quantile(difference, [(1 - BAND) / 2, (1 + BAND) / 2], axis=0)
        error = difference.std(axis=0, ddof=1) / math.sqrt(paths) if paths > 1 else np.full(steps, math.nan)
        for step, values in enumerate(zip(difference.mean(axis=0), error, low, high, strict=True)):
            rows.append((indicator, step, *values, percent))
    return pd.DataFrame(rows, columns=["indicator", "step", "response", "error", "low", "high", "in_percent"])


def _indicators(
    run: Run, paths: int, steps: int, seed: int, changes: dict[str, tuple[int, float]] | None = None
) -> dict[str, np.ndarray]:
    """Series of all indicators, (paths, steps)."""
    model = run.model
    if not model.ir.indicators:
        raise RunError(f"{model.ir.name} has no indicators: name some under 'indicators' in its spec")
    if steps > model.ir.horizon and not model.ir.continuing:
        raise RunError(f"episodes of {model.ir.name} end after {model.ir.horizon} steps; {steps} were asked for")
    found = jax.device_get(play(model, run.state(), paths, steps, seed, changes or {}))
    prefix = "indicator."
    return {name.removeprefix(prefix): x.T.astype(float) for name, x in found.items() if name.startswith(prefix)}


def _shock(text: str, states: dict[str, tuple[int, ...]]) -> tuple[str, float]:
    found = re.fullmatch(r"\s*([\w.]+)\s*=\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*", text)
    if found is None or not math.isfinite(float(found[2])):
        raise RunError(f"'{text}' is no shock; write for example STATE=+0.01, what is added to a state, in its unit")
    if not states:
        raise RunError("this model has no states, and a shock is a change of one")
    name = found[1]
    short = [state for state in states if state.rpartition(".")[2] == name]
    return _known(short[0] if len(short) == 1 else name, states), float(found[2])


def _known(name: str, known: Iterable[str]) -> str:
    if name in known:
        return name
    short = {one.rpartition(".")[2]: one for one in known}
    close = suggest(name, known) or short.get(suggest(name, short) or "")
    help = f"did you mean '{close}'?" if close else f"known: {', '.join(known)}"
    raise RunError(f"there is no '{name}'; {help}")


def _cycles(x: np.ndarray, hp: float | None) -> np.ndarray:
    if hp is None:
        return _still(x, x)
    return _still(100 * hp_filter(np.log(x), hp), np.full_like(x, 100)) if _in_logs(x) else _still(hp_filter(x, hp), x)


def _in_logs(x: np.ndarray) -> bool:
    return bool((x > 0).all())


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
    base = relative_to or str(frame.index[0])
    cycles = (
        "of levels" if hp is None else f"of cycles (HP {hp:g}): of logarithms, in percent, where a series is positive"
    )
    return (
        f"sd, rho (autocorrelations) and t-4 to t+4 {cycles}; relative_sd and t are relative to {base}, t+1 its "
        "correlation with what follows a step later. All are means over paths, each path's from its own mean, with "
        "standard errors in brackets, without paths in which a correlation is not defined: of short paths of a persistent series sd and rho are too small (--steps, --burn)"
    )


def legend_of_responses(frame: pd.DataFrame) -> str:
    """What the columns of `responses` mean."""
    percent = list(dict.fromkeys(frame["indicator"][frame["in_percent"]].astype(str)))
    return (
        "response: mean difference between a path with the shock and the same without, standard error in brackets; "
        f"{BAND:.0%} of paths lie from low to high; in percent: {', '.join(percent) or 'none'}"
    )


def table(frame: pd.DataFrame) -> str:
    """`frame` for people: one line per row, errors in brackets behind what they belong to."""
    return _shown(frame).to_string()


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    shown = pd.DataFrame(index=frame.index)
    for column in frame.columns:
        if column.endswith("_error") or column in ("error", "in_percent"):
            continue
        error = frame.get(f"{column}_error", frame.get("error") if column == "response" else None)
        values = [_text(value) for value in frame[column]]
        if error is not None:
            values = [f"{value} ({_text(own, 2)})" for value, own in zip(values, error, strict=True)]
        shown[column] = values
    return shown


def _text(value: object, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Writes `frame` as the ending of `path` says: .csv, .parquet, or .tex for a LaTeX tabular.

    The tabular has what is printed, of moments one column per indicator. Raises RunError for another ending, and for
    Parquet where pyarrow is not installed.
    """
    plain = frame.reset_index() if frame.index.name else frame
    match path.suffix:
        case ".csv":
            write_file(path, plain.to_csv(index=False).encode())
        case ".parquet":
            try:
                write_file(path, plain.to_parquet(index=False))
            except ImportError:
                raise RunError("Parquet needs pyarrow: python3 -m pip install pyarrow; or write .csv") from None
        case ".tex":
            shown = _shown(frame)
            if frame.index.name:
                shown = shown.T.reset_index(names="")
            rows = [list(map(str, shown.columns)), *shown.astype(str).values.tolist()]
            lines = [" & ".join(cell.replace("_", r"\_").replace("%", r"\%") for cell in row) + r" \\" for row in rows]
            lines[0] += r" \hline"
            body = "\n".join([rf"\begin{{tabular}}{{l{'r' * (shown.shape[1] - 1)}}}", *lines, r"\end{tabular}"])
            write_file(path, f"{body}\n".encode())
        case other:
            raise RunError(f"'{path.name}': {other or 'no ending'}; write to .csv, .parquet or .tex")

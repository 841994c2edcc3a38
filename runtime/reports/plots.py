"""Pictures of results: how training went, a trained episode, gains from deviating, correlations, impulse responses."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from rbcc.compiler.ir.types import Role
from rbcc.compiler.util.atomic_write import write_file
from rbcc.runtime.errors import RunError
from rbcc.runtime.reports.dataset import simulate
from rbcc.runtime.reports.gains import gains
from rbcc.runtime.reports.moments import BAND, LAGS
from rbcc.runtime.reports.run_table import table_of
from rbcc.runtime.reports.welfare import ALL
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.storage.sweep_directory import Sweep, is_sweep
from rbcc.runtime.verification.results import Equilibrium


if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from xarray import Dataset

    from rbcc.runtime.reports.picture import Picture


EPISODES = 100
COLUMNS = 4
LETTERS = 38  # of a title above one panel
LINES = 30
BLUE, ORANGE, GREY = "#2166ac", "#e69f00", "#888888"  # which the colour-blind can tell apart


def plot(folder: str | Path, out: str | Path | None = None, *, seed: int = 0) -> list[Path]:
    """Draws `training.png` (rewards and indicators over iterations) and `episode.png` (indicators over the steps of
    trained episodes, and every state of one episode, one line an agent) into `out`, by default the run directory; of a
    sweep `sweep.png` (indicators and rewards over the first path that is swept)."""
    if is_sweep(folder):
        path = Path(out or folder) / "sweep.png"
        write_file(path, sweep_curves(table_of(folder), Sweep.open(folder).varied).png())
        return [path]
    run = Run.open(folder)
    curves = training_curves([run])
    target = Path(out) if out else run.folder
    data = simulate(folder, episodes=EPISODES, seed=seed)
    drawn = []
    for name, figure in (("training.png", curves), ("episode.png", _episode(run, data))):
        if figure is not None:
            write_file(target / name, figure.png())
            drawn.append(target / name)
    return drawn


def panels(count: int, title: str) -> tuple["Picture", list["Axes"]]:
    """A figure with so many axes, in rows."""
    from rbcc.runtime.reports.picture import Picture

    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Picture(figsize=(3.3 * columns, 2.3 * rows + 0.5), layout="constrained")
    figure.suptitle(fill(title, LETTERS * columns), fontsize=11)
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(count)]
    for ax in axes:
        ax.tick_params(labelsize=8)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    return figure, axes


def training_curves(runs: Sequence[Run]) -> "Picture":
    """Rewards, indicators, entropies and gains over the iterations of one run, or of several seeds with their mean.

    Raises RunError if one has no metrics yet.
    """
    run, phases, several = runs[0], runs[0].model.ir.phases, len(runs) > 1
    records = {one.folder: one.metrics for one in runs}
    for folder, metrics in records.items():
        if not metrics:
            raise RunError(f"{folder} has no metrics yet")
    first = records[run.folder]
    # A phase may end before its last iteration.
    reached = {
        phase.name: max((r["iteration"] for r in first if r["phase"] == phase.name), default=0) for phase in phases
    }
    before = dict(zip(reached, accumulate(reached.values(), initial=0), strict=False))
    names = [name for name in first[0] if name.startswith(("reward.", "indicator."))]
    for prefix in ("entropy.", "gain."):
        names += sorted({name for record in first for name in record if name.startswith(prefix)})
    seeds = f", {len(runs)} seeds and their mean" if several else ""
    figure, axes = panels(len(names), f"{run.manifest['model']}: training, means per step{seeds}")
    for ax, name in zip(axes, names, strict=True):
        curves = []
        for seed in records.values():
            curve = {
                before[r["phase"]] + r["iteration"]: value for r in seed if (value := _metric(r, name)) is not None
            }
            curves.append(curve)
            marker = "." if name.startswith("gain.") else ""  # measured now and then
            colour, width = (GREY, 0.7) if several else (BLUE, 1)
            ax.plot(list(curve), list(curve.values()), color=colour, linewidth=width, marker=marker)
        if several:  # where all seeds have been
            shared = sorted(set.intersection(*map(set, curves)))
            ax.plot(shared, [np.mean([curve[at] for curve in curves]) for at in shared], color=BLUE, linewidth=1.5)
        share = any(name.replace("gain", "gain_share", 1) in record for record in first) and name.startswith("gain.")
        ax.set_title(_words(name) + (", %" if share else ""), fontsize=9)
        for phase in phases[1:]:
            ax.axvline(before[phase.name], color=GREY, linewidth=0.6, linestyle=":")
        ax.set_xlabel("iteration", fontsize=8)
    return figure


def _metric(record: Mapping[str, float], name: str) -> float | None:
    """A metric of a record, None where it has none; of gains the share in percent where there is one."""
    share = record.get(name.replace("gain", "gain_share", 1)) if name.startswith("gain.") else None
    return record.get(name) if share is None else 100 * share


def gain_bars(result: Equilibrium) -> "Picture":
    """Gains with their bounds against the target, one bar for each type and question, in % of what they are compared
    with; where that is 0 for a type, in the unit of its payoff. Raises RunError if no one can deviate."""
    rows = list(gains(result))
    if not rows:
        raise RunError("there are no gains to draw: no type has a choice, so no one can deviate")
    panel = {row: None if row.share is not None else row.unit for row in rows}
    kinds = list(dict.fromkeys(panel.values()))
    figure, axes = panels(len(kinds), "gain from deviating, with bounds; dotted: the target")
    alone = False
    for ax, kind in zip(axes, kinds, strict=True):
        own = [row for row in rows if panel[row] == kind]
        types = list(dict.fromkeys(row.type for row in own))
        for row in own:
            if row.share is not None and row.share_lower is not None and row.share_upper is not None:
                numbers = [100 * x for x in (row.share, row.share_lower, row.share_upper, row.share_target or 0.0)]
            else:
                numbers = [row.gain, row.lower, row.upper, row.target]
            gain, low, high, target = numbers
            siblings = [other.deviation for other in own if other.type == row.type]
            width = 0.7 / len(siblings)
            at = types.index(row.type) + (siblings.index(row.deviation) - (len(siblings) - 1) / 2) * width
            team = row.deviation == "team"
            ax.bar(at, gain, 0.9 * width, color=ORANGE if team else BLUE)
            errors = [[max(0.0, gain - low)], [max(0.0, high - gain)]]
            ax.errorbar(at, gain, errors, color="black", linewidth=1, capsize=3)
            ax.hlines(target, at - 0.6 * width, at + 0.6 * width, color="black", linestyle=":", linewidth=1.2)
            alone = alone or not team
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.set_xticks(range(len(types)), types)
        ax.set_ylabel(f"gain [{kind}]" if kind else "gain [%]", fontsize=8)
    from matplotlib.patches import Patch

    shown = [(BLUE, "individual")] * alone + [(ORANGE, "team")] * any(row.deviation == "team" for row in rows)
    axes[0].legend(handles=[Patch(color=color, label=label) for color, label in shown], fontsize=8, frameon=False)
    return figure


def correlation_curves(frame: "pd.DataFrame", relative_to: str) -> "Picture":
    """Autocorrelations and correlations with another indicator by lag, with two standard errors, from a table of
    moments. Raises RunError if episodes were too short for any."""
    if "rho_1" not in frame:
        raise RunError("episodes are too short for correlations: the table has all there is, to_frame()")
    figure, axes = panels(len(frame), f"correlations with {relative_to}, and autocorrelations; bars: 2 standard errors")
    shifts = range(-LAGS, LAGS + 1)
    own, other = [f"rho_{lag}" for lag in range(1, LAGS + 1)], [f"t{k:+d}" if k else "t" for k in shifts]
    for ax, (name, row) in zip(axes, frame.iterrows(), strict=True):
        for lags, columns, color, label in (
            (list(shifts), other, BLUE, f"with {relative_to}"),
            (list(range(1, LAGS + 1)), own, ORANGE, "with itself"),
        ):
            values, errors = (
                [float(np.asarray(row[f"{column}{end}"])) for column in columns] for end in ("", "_error")
            )
            ax.errorbar(lags, values, 2 * np.array(errors), color=color, marker="o", markersize=3, linewidth=1)
            ax.plot([], [], color=color, label=label)
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.set_title(str(name), fontsize=9)
        ax.set_xlabel("steps later", fontsize=8)
        ax.set_ylabel("correlation", fontsize=8)
    axes[0].legend(fontsize=7, frameon=False)
    return figure


def response_curves(frame: "pd.DataFrame", shock: str) -> "Picture":
    """Impulse responses with the band that most paths lie in, a panel for each indicator, from a table of them."""
    indicators = list(dict.fromkeys(frame["indicator"]))
    figure, axes = panels(len(indicators), f"response to {shock}: mean, and where {BAND:.0%} of paths lie")
    for ax, name in zip(axes, indicators, strict=True):
        own = frame[frame["indicator"] == name]
        marker = "o" if len(own) == 1 else ""
        ax.fill_between(own["step"], own["low"], own["high"], color=BLUE, alpha=0.2, linewidth=0)
        ax.plot(own["step"], own["response"], color=BLUE, linewidth=1.5, marker=marker)
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.set_title(str(name), fontsize=9)
        ax.set_xlabel("step", fontsize=8)
        ax.set_ylabel(str(np.asarray(own["unit"])[0]), fontsize=8)
    return figure


def difference_bars(frame: "pd.DataFrame", before: str, after: str) -> "Picture":
    """Differences of payoffs between two runs with two standard errors, a panel for each type of agents."""
    types = list(dict.fromkeys(frame["type"]))
    figure, axes = panels(len(types), f"payoff in {after} less that in {before}; bars: 2 standard errors")
    for ax, name in zip(axes, types, strict=True):
        own = frame[frame["type"] == name]
        colors = [BLUE if who == ALL else ORANGE for who in own["agents"]]
        ax.bar(range(len(own)), own["difference"], 0.8, color=colors)
        ax.errorbar(range(len(own)), own["difference"], 2 * own["error"], color="black", linestyle="", capsize=3)
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.set_xticks(range(len(own)), [who.replace(" fifth", "\nfifth") for who in own["agents"]], fontsize=7)
        ax.set_title(name, fontsize=9)
        ax.set_ylabel(str(np.asarray(own["unit"])[0]), fontsize=8)
    return figure


def sweep_curves(frame: "pd.DataFrame", varied: Sequence[str]) -> "Picture":
    """Indicators and rewards against the first path that is swept, from a table of runs: the mean over seeds, and the
    band from the lowest to the highest seed; a line for each combination of the others. Raises RunError if no run is
    finished."""
    first, *others = varied
    finished = frame[frame["status"] == "finished"]
    if not len(finished):
        raise RunError("no run of the sweep is finished: there is nothing to draw")
    names = [str(name) for kind in ("indicator.", "reward.") for name in frame if str(name).startswith(kind)]
    values = list(dict.fromkeys(frame[first]))
    numbers = not isinstance(values[0], str)
    places = dict(zip(values, values if numbers else range(len(values)), strict=True))
    lines: Mapping[Any, Any] = dict(iter(finished.groupby(others, sort=False))) if others else {(): finished}
    seeds = len(set(frame["seed"]))
    band = f": mean of {seeds} seeds, and from the lowest to the highest" if seeds > 1 else ""
    figure, axes = panels(len(names), f"trained at each value of {_short(first)}{band}")
    for ax, name in zip(axes, names, strict=True):
        for number, (line, rows) in enumerate(lines.items()):
            by_value = rows.assign(at=[places[value] for value in rows[first]]).groupby("at")[name]
            x, summary = (
                np.unique([places[value] for value in rows[first]]),
                by_value.agg(["mean", "min", "max"]).to_numpy(float),
            )
            color = BLUE if len(lines) == 1 else f"C{number}"
            label = ", ".join(f"{_short(path)} {value}" for path, value in zip(others, line, strict=True))
            ax.plot(x, summary[:, 0], color=color, marker="o", markersize=3, linewidth=1.2, label=label)
            ax.fill_between(x, summary[:, 1], summary[:, 2], color=color, alpha=0.2, linewidth=0)
        if not numbers:
            ax.set_xticks(list(places.values()), list(places))
        ax.set_title(_words(name), fontsize=9)
        ax.set_xlabel(_short(first), fontsize=8)
    if others:
        axes[0].legend(fontsize=7, frameon=False)
    return figure


def _short(path: str) -> str:
    """A path of a spec as pictures name it."""
    return path.removeprefix("parameters.")


def _episode(run: Run, data: "Dataset") -> "Picture | None":
    indicators = [str(name) for name in data if str(name).startswith("indicator.")]
    states = [s for s in run.model.ir.symbols if s.role is Role.STATE and s.name in data and len(s.sets) <= 1]
    if not indicators and not states:
        return None
    title = f"{run.manifest['model']}: indicators (mean and 10-90 % of {data.sizes['episode']} episodes); states of one episode"
    figure, axes = panels(len(indicators) + len(states), title)
    for ax, name in zip(axes, indicators, strict=False):
        values = data[name]
        low, high = (values.quantile(q, "episode") for q in (0.1, 0.9))
        ax.fill_between(values.step, low, high, color=BLUE, alpha=0.2, linewidth=0)
        ax.plot(values.step, values.mean("episode"), color=BLUE, marker=_marker(values))
        ax.set_title(_words(name), fontsize=9)
    for ax, symbol in zip(axes[len(indicators) :], states, strict=True):
        _lines(ax, data[symbol.name].isel(episode=0).astype(float), symbol.sets)
        unit = f" [{symbol.type.unit}]" if symbol.type.unit is not None and symbol.type.unit.powers else ""
        ax.set_title(f"{symbol.name}{unit}", fontsize=9)
    for ax in axes:
        ax.set_xlabel("step", fontsize=8)
    return figure


def _lines(ax: "Axes", values: Any, sets: Sequence[str]) -> None:
    if not sets:
        ax.plot(values.step, values, color=BLUE, marker=_marker(values))
        return
    agents = values.sizes[sets[0]]
    shown = np.unique(np.linspace(0, agents - 1, min(agents, LINES)).round().astype(int))
    for agent in shown:
        ax.plot(values.step, values.isel({sets[0]: agent}), linewidth=0.8, alpha=0.7, marker=_marker(values))


def _marker(values: Any) -> str:
    """A point, where there is a single step and so no line."""
    return "o" if values.sizes["step"] == 1 else ""


def _words(name: str) -> str:
    kind, _, rest = name.partition(".")
    return rest if kind == "indicator" else f"{kind} of {rest}"

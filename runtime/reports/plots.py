"""Pictures of a run: how training went, and what a trained episode looks like."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rbcc.compiler.ir.types import Role
from rbcc.compiler.util.atomic_write import write_file
from rbcc.runtime.errors import RunError
from rbcc.runtime.reports.dataset import simulate
from rbcc.runtime.storage.run_directory import Run


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from xarray import Dataset


EPISODES = 100
COLUMNS = 4
LINES = 30
BLUE, GREY = "#2166ac", "#888888"


def plot(folder: str | Path, out: str | Path | None = None, *, seed: int = 0) -> list[Path]:
    """Draws `training.png` (rewards and indicators over iterations) and `episode.png` (indicators over the steps of
    trained episodes, and every state of one episode, one line an agent) into `out`, by default the run directory."""
    import matplotlib

    matplotlib.use("Agg")
    run = Run.open(folder)
    if not run.metrics:
        raise RunError(f"{folder} has no metrics yet")
    target = Path(out) if out else run.folder
    data = simulate(folder, episodes=EPISODES, seed=seed)
    drawn = []
    for name, figure in (("training.png", _training(run)), ("episode.png", _episode(run, data))):
        if figure is not None:
            picture = BytesIO()
            figure.savefig(picture, format="png", dpi=110)
            write_file(target / name, picture.getvalue())
            drawn.append(target / name)
    return drawn


def panels(count: int, title: str) -> tuple["Figure", list["Axes"]]:
    """A figure with so many axes, in rows."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.3 * columns, 2.3 * rows + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(count)]
    for ax in axes:
        ax.tick_params(labelsize=8)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    return figure, axes


def _training(run: Run) -> "Figure":
    records, phases = run.metrics, run.model.ir.phases
    before = {phase.name: sum(p.iterations for p in phases[:k]) for k, phase in enumerate(phases)}
    iterations = [before[record["phase"]] + record["iteration"] for record in records]
    names = [name for name in records[0] if name.startswith(("reward.", "indicator."))]
    names += [
        f"entropy.{agent}" for agent in sorted({n.partition(".")[2] for n in records[-1] if n.startswith("entropy.")})
    ]
    figure, axes = panels(len(names), f"{run.manifest['model']}: training, means per step")
    for ax, name in zip(axes, names, strict=True):
        values = [record.get(name) for record in records]
        ax.plot(iterations, [np.nan if v is None else v for v in values], color=BLUE, linewidth=1)
        ax.set_title(_words(name), fontsize=9)
        for phase in phases[1:]:
            ax.axvline(before[phase.name], color=GREY, linewidth=0.6, linestyle=":")
        ax.set_xlabel("iteration", fontsize=8)
    return figure


def _episode(run: Run, data: "Dataset") -> "Figure | None":
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

"""A trained run, and runs of several seeds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import pandas as pd

from rbcc.runtime.reports.plots import training_curves
from rbcc.runtime.results.equilibrium import Equilibrium
from rbcc.runtime.results.shown import html
from rbcc.runtime.storage import run_directory
from rbcc.runtime.verification import stored


if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Run(run_directory.Run):
    """A training and its results, in a run directory.

    run = rbcc.train("cournot")
    run.to_frame().tail()     # metrics of the training
    run.plot()                # its curves
    rbcc.verify(run)          # then also run.equilibrium
    """

    @property
    def equilibrium(self) -> Equilibrium | None:
        """The verification in the run directory, None if there is none of this training.

        Raises RunError if it is damaged, or of another version of rbcc.
        """
        result = stored.of_run(self)
        return Equilibrium.of(result, self.folder) if result else None

    def __repr__(self) -> str:
        about = self.manifest
        return f"Run({about['model']}, seed {about['seed']}, {about['status']}; {self.folder})"

    def _repr_html_(self) -> str:
        return html(repr(self), self.to_frame().tail(1))

    def to_frame(self) -> pd.DataFrame:
        """The metrics, a row for each stretch of iterations: its phase, the iterations done in it, seconds, and the
        means per step of rewards, indicators and what learning measures."""
        return pd.DataFrame(self.metrics)

    def plot(self) -> "Figure":
        """Rewards, indicators and entropies over iterations. Raises RunError if there are no metrics yet."""
        return training_curves([self])


@dataclass(frozen=True, repr=False)
class Runs(Sequence[Run]):
    """Runs of several seeds that were trained together; `runs[0]` is the first.

    runs = rbcc.load("runs/cournot-seeds")
    runs.plot()
    [rbcc.verify(run) for run in runs]
    """

    folder: Path
    runs: tuple[Run, ...]

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | slice) -> "Run | Runs":
        return Runs(self.folder, self.runs[index]) if isinstance(index, slice) else self.runs[index]

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __repr__(self) -> str:
        seeds = ", ".join(str(run.manifest["seed"]) for run in self.runs)
        return f"Runs({self.runs[0].manifest['model'] if self.runs else 'none'}, seeds {seeds}; {self.folder})"

    def _repr_html_(self) -> str:
        return html(repr(self), self.to_frame().groupby("seed").tail(1))

    def to_frame(self) -> pd.DataFrame:
        """The metrics of all runs below each other, the first column the `seed`."""
        frames = [run.to_frame().assign(seed=run.manifest["seed"]) for run in self.runs]
        found = pd.concat(frames, ignore_index=True)
        return found.reindex(columns=["seed", *(column for column in found if column != "seed")])

    def to_xarray(self) -> "xr.Dataset":
        """The same with the dimensions seed, phase and iteration, NaN where a run has no record."""
        return self.to_frame().set_index(["seed", "phase", "iteration"]).to_xarray()

    def plot(self) -> "Figure":
        """Training curves of every seed and their mean. Raises RunError if a run has no metrics yet."""
        return training_curves(self.runs)

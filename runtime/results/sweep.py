"""Sweeps, and the table of several runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import pandas as pd

from rbcc.runtime.reports.plots import sweep_curves
from rbcc.runtime.reports.run_table import run_table
from rbcc.runtime.reports.tables import table, write_table
from rbcc.runtime.results.run import Run
from rbcc.runtime.results.shown import html
from rbcc.runtime.storage import sweep_directory


if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Sweep(sweep_directory.Sweep, Sequence[Run]):
    """Runs at several points with several seeds, point by point; `str` of it is what `rbcc sweep` prints.

    sweep = rbcc.load("runs/cournot-sweep")
    sweep.to_frame()     # a row for each run
    sweep.plot()         # indicators over the first path that is swept
    sweep[0]             # the run of the first point and seed
    """

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Run, ...]: ...
    def __getitem__(self, index: int | slice) -> "Run | tuple[Run, ...]":
        if isinstance(index, slice):
            return tuple(Run.open(self.folder / name) for name in self.names[index])
        return Run.open(self.folder / self.names[index])

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Run]:
        return iter(self[:])

    def __repr__(self) -> str:
        values = ", ".join(f"{path} {' '.join(texts)}" for path, texts in self.about["values"].items())
        return f"Sweep({self.about['model']}: {values}; {len(self)} runs; {self.folder})"

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return html(repr(self), self.to_frame())

    def table(self) -> "RunTable":
        """The table of all runs, with which files are written."""
        return RunTable(run_table(self[:], self.varied))

    def to_frame(self) -> pd.DataFrame:
        """A row for each run: the values at its point, its seed and status, rewards and indicators (means per step over
        the last record of the training), and of verified runs the verdicts and the largest gain with its bounds."""
        return self.table().to_frame()

    def plot(self) -> "Figure":
        """Indicators and rewards against the first path that is swept: the mean over seeds and the band from the lowest
        to the highest, a line for each combination of the others. Raises RunError if no run is finished."""
        return sweep_curves(self.to_frame(), self.varied)


@dataclass(frozen=True, repr=False, eq=False)
class RunTable:
    """A row for each run; `str` of it is what `rbcc table` prints."""

    frame: pd.DataFrame

    def __repr__(self) -> str:
        return f"RunTable({len(self.frame)} runs; {', '.join(self.frame)})"

    def __str__(self) -> str:
        return table(self.frame)

    def _repr_html_(self) -> str:
        return html(repr(self), self.frame)

    def to_frame(self) -> pd.DataFrame:
        """The table; see `Sweep.to_frame`."""
        return self.frame.copy()

    def write(self, path: str | Path) -> Path:
        """Writes the table as the ending of `path` says: .csv, .tex, .dta, .parquet or .xlsx.

        Raises RunError for another ending or if a package is missing, OSError if it cannot be written.
        """
        write_table(self.frame, Path(path))
        return Path(path)

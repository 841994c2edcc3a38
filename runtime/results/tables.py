"""Tables of trained economies: moments, impulse responses, and two of them compared."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from rbcc.runtime.reports.moments import legend, legend_of_responses
from rbcc.runtime.reports.plots import correlation_curves, difference_bars, response_curves
from rbcc.runtime.reports.tables import table
from rbcc.runtime.reports.welfare import legend_of_comparison
from rbcc.runtime.results.shown import html


if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False, eq=False)
class Moments:
    """Moments of a run's indicators; `str` of it is what `rbcc moments` prints.

    `frame` has a row for each indicator; `relative_to` is the indicator that others are compared with, `hp` the
    smoothness of the filter, None if levels were taken.
    """

    frame: pd.DataFrame
    relative_to: str
    hp: float | None

    def __repr__(self) -> str:
        return f"Moments({', '.join(map(str, self.frame.index))}; relative to {self.relative_to})"

    def __str__(self) -> str:
        return f"{legend(self.frame, self.relative_to, self.hp)}\n\n{table(self.frame)}"

    def _repr_html_(self) -> str:
        return html(repr(self), self.frame.T, index=True)

    def to_frame(self) -> pd.DataFrame:
        """A row for each indicator; the columns are those of `rbcc moments`, with standard errors in columns that end
        in `_error`."""
        return self.frame.copy()

    def to_xarray(self) -> "xr.Dataset":
        """The same with the dimension indicator, a variable for each column."""
        return self.frame.to_xarray()

    def plot(self) -> "Figure":
        """Correlations by lag. Raises RunError if episodes are too short for any."""
        return correlation_curves(self.frame, self.relative_to)


@dataclass(frozen=True, repr=False, eq=False)
class Responses:
    """Impulse responses of a run's indicators to `shock`; `str` of it is what `rbcc irf` prints.

    `frame` has a row for each indicator and step.
    """

    frame: pd.DataFrame
    shock: str

    def __repr__(self) -> str:
        names = dict.fromkeys(self.frame["indicator"])
        return f"Responses({', '.join(names)} to {self.shock}, {self.frame['step'].nunique()} steps)"

    def __str__(self) -> str:
        return f"{legend_of_responses(self.frame)}\n\n{table(self.frame.set_index(['indicator', 'step']))}"

    def _repr_html_(self) -> str:
        return html(repr(self), self.frame.pivot(index="step", columns="indicator", values="response"), index=True)

    def to_frame(self) -> pd.DataFrame:
        """A row for each indicator and step: `unit`, the mean `response`, its standard `error`, and `low` to `high`,
        which 90 % of paths lie between."""
        return self.frame.copy()

    def to_xarray(self) -> "xr.Dataset":
        """The same with the dimensions indicator and step, and the unit as a variable of indicators."""
        found = self.frame.set_index(["indicator", "step"]).drop(columns="unit").to_xarray()
        units = self.frame.groupby("indicator")["unit"].first()
        return found.assign(unit=("indicator", units.loc[found["indicator"].values].to_numpy()))

    def plot(self) -> "Figure":
        """A panel for each indicator: the mean response, and the band that 90 % of paths lie in."""
        return response_curves(self.frame, self.shock)


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """Payoffs in two runs, `before` and `after`; `str` of it is what `rbcc compare` prints.

    `frame` has a row for each type and, of types of five agents or more, for each fifth of agents.
    """

    frame: pd.DataFrame
    before: str
    after: str

    def __repr__(self) -> str:
        return f"Comparison({', '.join(dict.fromkeys(self.frame['type']))}: {self.after} less {self.before})"

    def __str__(self) -> str:
        return f"{legend_of_comparison(self.frame, self.before, self.after)}\n\n{table(self._indexed())}"

    def _repr_html_(self) -> str:
        return html(repr(self), self.frame)

    def _indexed(self) -> pd.DataFrame:
        return self.frame.set_index(["type", "agents"])

    def to_frame(self) -> pd.DataFrame:
        """A row for each group: mean payoffs `before` and `after`, their `difference` and its standard `error`, in
        `unit`; the share of consumption that makes up for it as `equivalent`, where consumption was named."""
        return self.frame.copy()

    def plot(self) -> "Figure":
        """Differences with two standard errors, a panel for each type."""
        return difference_bars(self.frame, self.before, self.after)

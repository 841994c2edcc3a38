"""A verification, and the solution that tries led to."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pandas as pd

from rbcc.runtime import solve as tries
from rbcc.runtime.reports.gains import GainRow, gains
from rbcc.runtime.reports.plots import gain_bars
from rbcc.runtime.reports.verification_text import HEAD, gain_rows, headlines, verification_summary
from rbcc.runtime.results.shown import html
from rbcc.runtime.verification import results


if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Equilibrium(results.Equilibrium):
    """How far a trained economy is from equilibrium; `str` of it is what `rbcc verify` prints.

    `folder` is the run directory, None of what `exploitability` found.

        found = rbcc.verify(run)
        found.verdicts["individual"]   # CERTIFIED, NOT REFUTED, INCONCLUSIVE, REFUTED or TRIVIAL
        found.to_frame()               # a row for each type and question
        found.plot().savefig("gains.pdf")
    """

    folder: Path | None = None

    @classmethod
    def of(cls, found: results.Equilibrium, folder: Path | None) -> Self:
        """`found`, with where it lies."""
        return cls(**{field.name: getattr(found, field.name) for field in fields(results.Equilibrium)}, folder=folder)

    def __repr__(self) -> str:
        place = f"; {self.folder}" if self.folder else ""
        return f"Equilibrium(alone {self.verdicts['individual']}, as one {self.verdicts['team']}{place})"

    def __str__(self) -> str:
        return verification_summary(self)

    def _repr_html_(self) -> str:
        head = "; ".join(f"{words} {verdict}" for words, verdict in headlines(self))
        return html(head, pd.DataFrame(list(gain_rows(self)), columns=pd.Index(HEAD)))

    def to_frame(self) -> pd.DataFrame:
        """A row for each type and question, (questions, columns).

        `payoff`, `gain` with its bounds `lower` and `upper`, and `target` are amounts in `unit`; `share`,
        `share_lower`, `share_upper` and `share_target` the same as shares (0.01 is 1 %) of what gains are compared
        with, NaN if that is 0; `power` is the share of a known gain that the search recovers.
        """
        rows = [{**asdict(row), "verdict": str(row.verdict)} for row in gains(self)]
        return pd.DataFrame(rows, columns=pd.Index([field.name for field in fields(GainRow)]))

    def plot(self) -> "Figure":
        """Gains with their bounds against the target, one bar for each type and question.

        Raises RunError if no one can deviate.
        """
        return gain_bars(self)


@dataclass(frozen=True, repr=False)
class Solution(tries.Solution):
    """What came of training and verifying from several starts; `str` of it is what `rbcc solve` prints.

    solution = rbcc.solve("cournot")
    solution.verdict        # SOLVED, UNSOLVED or TRIVIAL
    solution.equilibrium    # the verification of the best try
    solution.to_frame()     # a row for each try
    """

    @classmethod
    def of(cls, found: tries.Solution) -> Self:
        """`found`, with tables and pictures."""
        return cls(**{field.name: getattr(found, field.name) for field in fields(tries.Solution)})

    @property
    def equilibrium(self) -> Equilibrium:
        """The verification of the best try."""
        return Equilibrium.of(super().equilibrium, self.best.folder)

    def __repr__(self) -> str:
        return f"Solution({self.verdict}, best try {self.best.number} of {len(self.tries)}; {self.folder})"

    def __str__(self) -> str:
        return tries.report(self)

    def _repr_html_(self) -> str:
        return html(repr(self), self.to_frame())

    def to_frame(self) -> pd.DataFrame:
        """A row for each try: its number, seed, seconds, verdicts, the largest known gain of one agent, indicators.

        `gain` is a share (0.01 is 1 %) of what gains are compared with, NaN if that is 0 or training diverged.
        """
        rows = []
        for one in self.tries:
            result = one.equilibrium
            verdicts = {name: str(result.verdicts[name]) if result else "diverged" for name in ("individual", "team")}
            indicators = result.indicators if result else {}
            own = {"try": one.number, "seed": one.seed, "seconds": one.seconds, **verdicts, "gain": one.gain}
            rows.append({**own, **{f"indicator.{name}": value for name, value in indicators.items()}})
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """The gains of the best try, as `Equilibrium.plot` draws them."""
        return self.equilibrium.plot()

"""The gains of a verification as numbers: what its tables and pictures show."""

from collections.abc import Iterator
from dataclasses import dataclass

from rbcc.runtime.verification.results import Equilibrium, Verdict


@dataclass(frozen=True)
class GainRow:
    """What the best deviation found pays agents of a type, from its lower to its upper bound.

    Payoff, gains and target are amounts in `unit`; shares are of what gains are compared with, None if that is 0.
    Where gains are exact, they are those of the deviation found, and the upper bound is what is possible at most.
    """

    type: str
    deviation: str
    payoff: float
    unit: str
    gain: float
    lower: float
    upper: float
    target: float
    share: float | None
    share_lower: float | None
    share_upper: float | None
    share_target: float | None
    best_deviator: str
    power: float | None
    verdict: Verdict


def gains(result: Equilibrium) -> Iterator[GainRow]:
    """A row for each type and question, in the order of the verification."""
    for row in result.rows:
        one, bounds = row.estimate, row.bounds
        payoff, amounts = one.payoff, (one.gain.amount.value, bounds.lower, bounds.upper)
        shares = (one.gain.share.value if one.gain.share else None, bounds.share_lower, bounds.share_upper)
        if one.exact is not None:
            payoff, amounts = one.exact.payoff, (one.exact.found, one.exact.found, one.exact.gain)
            found, most = (amount / one.scale if one.scale else None for amount in amounts[1:])
            shares = found, found, most
        yield GainRow(
            one.agent,
            " = ".join(one.notions),
            payoff,
            one.unit,
            *amounts,
            one.limit,
            *shares,
            one.limit / one.scale if one.scale else None,
            one.best.words,
            one.power,
            row.verdict,
        )

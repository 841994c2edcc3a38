"""What a verification says: estimates of gains, their bounds, and verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

import numpy as np

from rbcc.compiler import ir
from rbcc.runtime.verification.best_response.exact import Answer
from rbcc.runtime.verification.best_response.learned import Notion
from rbcc.runtime.verification.best_response.search import POWER, Candidate
from rbcc.runtime.verification.explanation import Explanation
from rbcc.runtime.verification.statistics import CONFIDENCE, ROUNDING, Mean, holm
from rbcc.runtime.verification.ties import Ties


SURE = 3.0
"""Standard errors by which what gains are compared with has to differ from 0, for a share of it to mean something."""


class Open(StrEnum):
    """What keeps a row from a verdict."""

    SCALE = "scale"
    ROUNDING = "rounding"
    BOUNDS = "bounds"
    RISING = "rising"
    POWER = "power"
    EXACT = "exact"


class Verdict(StrEnum):
    CERTIFIED = "CERTIFIED"
    REFUTED = "REFUTED"
    NOT_REFUTED = "NOT REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    TRIVIAL = "TRIVIAL"


@dataclass(frozen=True)
class Gain:
    """What a deviation pays in the mean.

    `amount` is in units of the payoff, `share` a share of the scale, None if that is 0 as far as can be told; `excess`
    is what the amount is above the target. Where the scale is a mean of episodes, the errors of the share, and of what
    is above a share of it, have its own in them.
    """

    amount: Mean
    share: Mean | None
    excess: Mean

    @property
    def few(self) -> bool:
        """Whether a few episodes decide on any of these."""
        return self.amount.few or self.excess.few or (self.share is not None and self.share.few)

    @classmethod
    def of(cls, change: np.ndarray, above: np.ndarray, target: ir.Target, groups: np.ndarray | None = None) -> Self:
        """That of `change`, where payoffs are `above` those that it is compared with; both (episodes,).

        `groups` as in `Mean.of`.
        """
        amount, compared, share = Mean.of(change, groups), Mean.of(above, groups), None
        whole = compared.value
        scale = np.sign(whole) * above
        if abs(whole) > SURE * compared.error:  # the error is that of a ratio of two means (delta method)
            ratio = amount.value / abs(whole)
            share = replace(Mean.of((change - ratio * scale) / abs(whole), groups), value=ratio)
        allowed = target.value * scale if target.unit is None else target.value
        return cls(amount, share, Mean.of(change - allowed, groups))


@dataclass(frozen=True)
class Member:
    """The gain of one agent of a type when it alone deviates."""

    number: int
    gain: Gain


@dataclass(frozen=True)
class Estimate:
    """What the best deviation found pays one type, under one notion, on the test seeds.

    `notions` are the questions it answers: for a type of one agent, both. `payoff` is in its own `unit`; `above` is
    the payoff above the one that gains are compared with, and `improvement` the payoff above untrained play. `target`
    is the largest acceptable gain. `rising` says that a larger budget may change the verdict; `power` is the share of a
    known gain that the search recovers, None where there was nothing to recover; `others` the change of each other
    type's mean payoff under the deviation; `agents` the number of the type, `members` the gains of single ones, for
    individual deviations; `curve` the gain of the best deviator that learned by its iterations, from 0 on, on selection
    seeds; `left_out` deviations without a finite payoff; `pairing` how many times larger the variance of the gain would
    be without paired episodes, None if it is 0 with them; `exact` the exact answer, where there is one; `taken` the
    agents that take each deviation, where they do not all take the same.
    """

    agent: str
    notions: tuple[Notion, ...]
    payoff: float
    above: float
    improvement: float
    gain: Gain
    target: ir.Target
    best: Candidate
    battery: tuple[Candidate, ...]
    rising: bool
    power: float | None
    others: dict[str, float] = field(default_factory=dict)
    unit: str = "util"
    agents: int = 1
    members: tuple[Member, ...] = ()
    curve: tuple[Candidate, ...] = ()
    left_out: tuple[Candidate, ...] = ()
    pairing: float | None = None
    exact: Answer | None = None
    taken: dict[str, list[int]] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """Whose gain it is, and from which deviation."""
        return f"{self.agent} {' = '.join(self.notions)}"

    @property
    def scale(self) -> float:
        """What a gain is compared with."""
        return abs(self.above)

    @property
    def limit(self) -> float:
        """The target in units of the payoff."""
        return self.target.limit(self.scale)


@dataclass(frozen=True)
class Bounds:
    """One-sided bounds of a gain, in units of the payoff and as shares of the scale, None if that is 0."""

    lower: float
    upper: float
    share_lower: float | None
    share_upper: float | None


@dataclass(frozen=True)
class Single:
    """The agent whose own gain is surest to be large, with lower bounds of that as in `Bounds`."""

    member: Member
    lower: float
    share_lower: float | None


@dataclass(frozen=True)
class Row:
    """An estimate with its bounds and its verdict.

    `of_improvement` is the gain as a share of what training improved on untrained play, None if that is nothing: the
    measure of Curry et al. (2022). `open` is what keeps it from a verdict. `explanation` says what the gain of a
    deviation that refutes is made by.
    """

    estimate: Estimate
    bounds: Bounds
    single: Single | None
    of_improvement: float | None
    open: Open | None
    verdict: Verdict
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Equilibrium:
    """The result of a verification; `equilibrium.json` holds the same.

    `verdicts` answers two questions: `individual`, is it a Nash equilibrium among agents; `team`, is it one among types
    that each act as one. Where agents of a type compete with each other, one excludes the other. `given` has the values
    that single agents of some types take as given: the answer to the first question is that of a competitive
    equilibrium in these, not of Nash's. `after` has, for each type of an economy that goes on after its episodes, the
    weight of what follows among all discounted steps. An indicator that is not a finite number is None.
    """

    verdicts: dict[str, Verdict]
    targets: dict[str, ir.Target]
    alive: dict[str, bool]
    indicators: dict[str, float | None]
    rows: tuple[Row, ...]
    edges: tuple[str, ...]
    ties: Ties
    scale: str
    given: dict[str, tuple[str, ...]]
    after: dict[str, float]
    plants: tuple[str, ...]
    settings: dict[str, Any]
    seconds: float

    @property
    def name(self) -> str:
        """Of the files that hold it, without what they end in."""
        return file_name(self.plants)


def file_name(plants: Sequence[str]) -> str:
    """Of the files that hold a verification with `plants`, without what they end in."""
    return "equilibrium_planted" if plants else "equilibrium"


def judge(found: Sequence[Estimate], confidence: float = CONFIDENCE) -> tuple[Row, ...]:
    """Bounds and verdicts of all estimates together.

    Bounds are one-sided, each at the level (1 - `confidence`) / number of estimates: all upper bounds hold together
    with that confidence, by default 95 %, and so do all lower bounds (Bonferroni). Verdicts are Holm's (1979): with as
    much confidence no gain that is at most the target is REFUTED, and with as much no deviation found that gains more
    is NOT REFUTED. These are tests of the target only, and may tell what the bounds do not. Since a single agent's gain
    refutes too, lower bounds and tests of means get half of the 5 %, where there are single agents, and those of single
    agents the other half.
    """
    members = [(number, member) for number, one in enumerate(found) for member in one.members]
    doubt = 1 - confidence
    part = doubt / 2 if members else doubt
    above = holm([one.gain.excess.doubt() for one in found], part)
    below = holm([one.gain.excess.opposite.doubt(at_zero=0.0) for one in found], doubt)
    proven = holm([member.gain.excess.doubt() for _, member in members], part)
    singles = {number for (number, _), sure in zip(members, proven, strict=True) if sure}
    rows = []
    for number, one in enumerate(found):
        shown = one.power is not None and one.power >= POWER
        coarse = ROUNDING * abs(one.payoff) > one.limit
        missing = {
            Open.SCALE: one.target.unit is None and one.gain.share is None,
            Open.ROUNDING: coarse,
            Open.BOUNDS: not below[number],
            Open.RISING: one.rising,
            Open.POWER: not shown,
        }
        lacks = next((what for what, misses in missing.items() if misses), None)
        refuted = lacks is not Open.SCALE and (above[number] or number in singles)
        verdict, reason = _verdict(one, refuted, lacks)
        single = _single(one.members, part / len(members)) if one.members else None
        of_improvement = one.gain.amount.value / abs(one.improvement) if one.improvement else None
        bounds = _bounds(one.gain, part / len(found), doubt / len(found))
        rows.append(Row(one, bounds, single, of_improvement, reason, verdict))
    return tuple(rows)


def _bounds(gain: Gain, lower: float, upper: float) -> Bounds:
    """Those that fail with the probabilities `lower` and `upper`; no deviation, which gains nothing, is one too."""
    share = gain.share
    return Bounds(
        gain.amount.lower(lower),
        max(0.0, gain.amount.upper(upper)),
        None if share is None else share.lower(lower),
        None if share is None else max(0.0, share.upper(upper)),
    )


def _single(members: Sequence[Member], level: float) -> Single:
    best = max(members, key=lambda member: member.gain.amount.lower(level))
    share = best.gain.share
    return Single(best, best.gain.amount.lower(level), None if share is None else share.lower(level))


def _verdict(found: Estimate, refuted: bool, missing: Open | None) -> tuple[Verdict, Open | None]:
    """The verdict on an estimate that is `refuted`, or else lacks something, and what keeps it from one.

    Exact numbers decide, where they do.
    """
    exact = found.exact.within(found.limit) if found.exact is not None else None
    if exact is not None:
        return (Verdict.CERTIFIED if exact else Verdict.REFUTED), None
    if refuted and found.exact is not None:  # what was found is within the limit, if not what is possible
        return Verdict.INCONCLUSIVE, Open.EXACT
    if refuted:
        return Verdict.REFUTED, None
    return (Verdict.NOT_REFUTED, None) if missing is None else (Verdict.INCONCLUSIVE, missing)


def overall(rows: Sequence[Row], notion: Notion, alive: Mapping[str, bool]) -> Verdict:
    """The verdict under one notion: no better than that of any type, and no result at all if nothing is alive."""
    if not all(alive.values()):
        return Verdict.TRIVIAL
    if not rows:  # no one has a choice
        return Verdict.CERTIFIED
    found = [row.verdict for row in rows if notion in row.estimate.notions]
    return min(found, key=(Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.NOT_REFUTED, Verdict.CERTIFIED).index)

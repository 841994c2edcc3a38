"""What a verification says: estimates of gains, their bounds, and verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from statistics import NormalDist
from typing import Any

from rbcc.runtime.battery import POWER, Candidate, rising
from rbcc.runtime.deviation import Notion
from rbcc.runtime.exact import Answer


CONFIDENCE = 0.95
# With fewer effective episodes a normal approximation gives bounds that are too narrow (`experiments/README.md`).
MANY = 30


class Verdict(StrEnum):
    CERTIFIED = "CERTIFIED"
    REFUTED = "REFUTED"
    NOT_REFUTED = "NOT REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    TRIVIAL = "TRIVIAL"


@dataclass(frozen=True)
class Member:
    """The gain of one agent of a type when it alone deviates, and the standard error of that."""

    number: int
    gain: float
    error: float


@dataclass(frozen=True)
class Estimate:
    """What the best deviation found pays one type, under one notion, on the test seeds.

    `notions` are the questions it answers: for a type of one agent, both. `payoff`, `gain` and `error` (standard error
    of the gain) in units of the payoff; `above` is the payoff above the one that gains are compared with, and
    `improvement` the payoff above untrained play. `power` is the share of a known gain that the search recovers, None
    where there was nothing to recover; `others` the change of each other type's mean payoff under the deviation;
    `members` the gains of single agents, for individual deviations; `curve` the gain of the best deviator that learned
    by its iterations, from 0 on, on selection seeds; `pairing` how many times larger the variance of the gain would be
    without paired episodes, None if it is 0 with them; `effective` the number of episodes, all equally far from the
    mean, among which that variance would be as concentrated as it is; `exact` the exact answer, where there is one.
    """

    agent: str
    notions: tuple[Notion, ...]
    payoff: float
    above: float
    improvement: float
    gain: float
    error: float
    best: Candidate
    battery: tuple[Candidate, ...]
    power: float | None
    others: dict[str, float]
    members: tuple[Member, ...] = ()
    curve: tuple[Candidate, ...] = ()
    pairing: float | None = None
    effective: float | None = None
    exact: Answer | None = None

    @property
    def question(self) -> str:
        """Whose gain it is, and from which deviation."""
        return f"{self.agent} {' = '.join(self.notions)}"

    @property
    def normal(self) -> bool:
        """Whether the mean gain can be taken to be normal; not if a few episodes decide."""
        return self.effective is None or self.effective >= MANY

    @property
    def scale(self) -> float:
        """What a gain is compared with."""
        return abs(self.above)


@dataclass(frozen=True)
class Gain:
    """An estimate with its bounds and verdict; `relative` ones are shares of the estimate's scale, None if that is 0.

    `single` is the agent whose own gain has the highest lower bound, `single_lower`. `rising` says that a larger budget
    may change the verdict.
    """

    estimate: Estimate
    lower: float
    upper: float
    single: int | None
    single_lower: float | None
    relative: float | None
    relative_lower: float | None
    relative_upper: float | None
    of_improvement: float | None
    rising: bool
    verdict: Verdict


@dataclass(frozen=True)
class Equilibrium:
    """The result of a verification; `equilibrium.json` holds the same.

    `verdicts` answers two questions: `individual`, is it a Nash equilibrium among agents; `team`, is it one among types
    that each act as one. Where agents of a type compete with each other, one excludes the other.
    """

    verdicts: dict[str, Verdict]
    target: float
    alive: dict[str, bool]
    indicators: dict[str, float]
    gains: tuple[Gain, ...]
    edges: tuple[str, ...]
    scale: str
    plants: tuple[str, ...]
    settings: dict[str, Any]
    seconds: float

    @property
    def name(self) -> str:
        """Of the files that hold it, without what they end in."""
        return "equilibrium_planted" if self.plants else "equilibrium"


def judge(found: Sequence[Estimate], target: float) -> tuple[Gain, ...]:
    """Bounds and verdicts of all estimates together.

    Both rest on a normal approximation of the mean gain; where the variance is that of a few episodes only, on
    Cantelli's inequality, which holds for every distribution of a known variance. Bounds are one-sided, each at the
    level 5 % / number of estimates: all upper bounds hold together with 95 % confidence, and so do all lower bounds
    (Bonferroni). Verdicts are Holm's (1979): with 95 % confidence no gain that is at most the target is REFUTED, and
    with as much no deviation found that gains more is NOT REFUTED. These are tests of the target only, and may tell
    what the bounds do not. The same holds for single agents, among themselves.
    """
    limits = [target * one.scale for one in found]
    both = list(zip(found, limits, strict=True))
    above = holm([_doubt(one.gain - limit, one.error, normal=one.normal) for one, limit in both])
    below = holm([_doubt(limit - one.gain, one.error, 0.0, normal=one.normal) for one, limit in both])
    members = [(number, member) for number, one in enumerate(found) for member in one.members]
    proven = holm([_doubt(member.gain - limits[number], member.error) for number, member in members])
    singles = {number for (number, _), sure in zip(members, proven, strict=True) if sure}
    narrow = width_of(len(members))
    gains = []
    for number, (one, limit) in enumerate(both):
        bounds = {member.number: member.gain - narrow * member.error for member in one.members}
        single = max(bounds, key=lambda number: bounds[number], default=None)
        single_lower = None if single is None else bounds[single]
        half = width_of(len(found), one.normal) * one.error
        lower, upper = one.gain - half, max(0.0, one.gain + half)
        more = bool(one.curve) and rising(one.curve, half, limit)
        shown = one.power is not None and one.power >= POWER
        if above[number] or number in singles:
            verdict = Verdict.REFUTED
        elif below[number] and shown and not more:
            verdict = Verdict.NOT_REFUTED
        else:
            verdict = Verdict.INCONCLUSIVE
        verdict = _exactly(one, limit, verdict)
        share = partial(_share, scale=one.scale)
        of_improvement = _share(one.gain, abs(one.improvement))
        relative = share(one.gain), share(lower), share(upper)
        gains.append(Gain(one, lower, upper, single, single_lower, *relative, of_improvement, more, verdict))
    return tuple(gains)


def _exactly(found: Estimate, limit: float, verdict: Verdict) -> Verdict:
    """What exact numbers make of a verdict that rests on estimates."""
    if found.exact is None:
        return verdict
    match found.exact.within(limit):
        case True:
            return Verdict.CERTIFIED
        case False:
            return Verdict.REFUTED
    # What was found is within the limit, if not what is possible: it does not refute.
    return Verdict.INCONCLUSIVE if verdict is Verdict.REFUTED else verdict


def _doubt(distance: float, error: float, exact: float = 1.0, *, normal: bool = True) -> float:
    """The p-value of an estimate that lies `distance` on the right side of a limit; `exact` is that of one without
    error on the limit."""
    if error > 0 and normal:
        return 1 - NormalDist().cdf(distance / error)
    if error > 0:
        return 1 / (1 + (distance / error) ** 2) if distance > 0 else 1.0
    return 0.0 if distance > 0 else exact if distance == 0 else 1.0


def holm(doubts: Sequence[float]) -> list[bool]:
    """Which of several hypotheses are rejected, by their p-values: no true one among them, with 95 % confidence.

    The smallest p-value is compared with 5 % / n, the next with 5 % / (n - 1), and so on up to the first that is larger
    (Holm 1979).
    """
    rejected = [False] * len(doubts)
    for rank, number in enumerate(sorted(range(len(doubts)), key=lambda k: doubts[k])):
        if doubts[number] > (1 - CONFIDENCE) / (len(doubts) - rank):
            break
        rejected[number] = True
    return rejected


def width_of(bounds: int, normal: bool = True) -> float:
    """How many standard errors wide `bounds` one-sided bounds have to be to hold together."""
    level = (1 - CONFIDENCE) / max(1, bounds)
    return NormalDist().inv_cdf(1 - level) if normal else math.sqrt(1 / level - 1)


def _share(value: float, scale: float) -> float | None:
    return value / scale if scale > 0 else None


def overall(gains: Sequence[Gain], notion: Notion, alive: Mapping[str, bool]) -> Verdict:
    """The verdict under one notion: no better than that of any type, and no result at all if nothing is alive."""
    if not all(alive.values()):
        return Verdict.TRIVIAL
    verdicts = {gain.verdict for gain in gains if notion in gain.estimate.notions}
    for verdict in (Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.NOT_REFUTED, Verdict.CERTIFIED):
        if verdict in verdicts:
            return verdict
    return Verdict.INCONCLUSIVE

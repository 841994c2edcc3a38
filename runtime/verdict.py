"""What a verification says: estimates of gains, their bounds, and verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from statistics import NormalDist
from typing import Any

from scipy.special import stdtr, stdtrit

from rbcc.runtime.battery import POWER, Candidate, rising
from rbcc.runtime.deviation import Notion
from rbcc.runtime.exact import Answer


CONFIDENCE = 0.95
# With fewer effective episodes a normal approximation gives bounds that are too narrow (`experiments/README.md`).
MANY = 30


class Open(StrEnum):
    """What keeps a row from a verdict."""

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
class Member:
    """The gain of one agent of a type when it alone deviates, in `episodes` of them, and the standard error of that.

    `effective` as in `Estimate`.
    """

    number: int
    gain: float
    error: float
    episodes: int
    effective: float | None


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
    mean, among which that variance would be as concentrated as it is; `exact` the exact answer, where there is one;
    `taken` the agents that take each deviation, where they do not all take the same.
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
    taken: dict[str, list[int]] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """Whose gain it is, and from which deviation."""
        return f"{self.agent} {' = '.join(self.notions)}"

    @property
    def scale(self) -> float:
        """What a gain is compared with."""
        return abs(self.above)


@dataclass(frozen=True)
class Gain:
    """An estimate with its bounds and verdict; `relative` ones are shares of the estimate's scale, None if that is 0.

    `single` is the agent whose own gain has the highest lower bound, `single_lower`. `rising` says that a larger budget
    may change the verdict; `open` is what keeps it from one.
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
    open: Open | None
    verdict: Verdict


@dataclass(frozen=True)
class Equilibrium:
    """The result of a verification; `equilibrium.json` holds the same.

    `verdicts` answers two questions: `individual`, is it a Nash equilibrium among agents; `team`, is it one among types
    that each act as one. Where agents of a type compete with each other, one excludes the other. `given` has the values
    that single agents of some types take as given: the answer to the first question is that of a competitive
    equilibrium in these, not of Nash's. An indicator that is no finite number is None.
    """

    verdicts: dict[str, Verdict]
    target: float
    alive: dict[str, bool]
    indicators: dict[str, float | None]
    gains: tuple[Gain, ...]
    edges: tuple[str, ...]
    scale: str
    given: dict[str, tuple[str, ...]]
    plants: tuple[str, ...]
    settings: dict[str, Any]
    seconds: float

    @property
    def name(self) -> str:
        """Of the files that hold it, without what they end in."""
        return "equilibrium_planted" if self.plants else "equilibrium"


def judge(found: Sequence[Estimate], target: float) -> tuple[Gain, ...]:
    """Bounds and verdicts of all estimates together.

    Both take the mean gain to be normal, of a single agent Student's t; where the variance is that of a few episodes
    only, they rest on Cantelli's inequality, which holds for every distribution of a known variance. Bounds are
    one-sided, each at the level 5 % / number of estimates: all upper bounds hold together with 95 % confidence, and so
    do all lower bounds (Bonferroni). Verdicts are Holm's (1979): with 95 % confidence no gain that is at most the
    target is REFUTED, and with as much no deviation found that gains more is NOT REFUTED. These are tests of the target
    only, and may tell what the bounds do not. Since a single agent's gain refutes too, lower bounds and tests of means
    get half of the 5 %, where there are single agents, and those of single agents the other half.

    The scale that the target is a share of is taken as known, also where it is a mean of the test episodes.
    """
    limits = [target * one.scale for one in found]
    both = list(zip(found, limits, strict=True))
    members = [(number, member) for number, one in enumerate(found) for member in one.members]
    doubt = 1 - CONFIDENCE
    part = doubt / 2 if members else doubt
    above = holm([_doubt(one.gain - limit, one) for one, limit in both], part)
    below = holm([_doubt(limit - one.gain, one, 0.0) for one, limit in both], doubt)
    proven = holm([_doubt(member.gain - limits[number], member) for number, member in members], part)
    singles = {number for (number, _), sure in zip(members, proven, strict=True) if sure}
    gains = []
    for number, (one, limit) in enumerate(both):
        bounds = {m.number: m.gain - width_of(part / len(members), m) * m.error for m in one.members}
        single = max(bounds, key=lambda number: bounds[number], default=None)
        single_lower = None if single is None else bounds[single]
        half = width_of(doubt / len(found), one) * one.error
        lower, upper = one.gain - width_of(part / len(found), one) * one.error, max(0.0, one.gain + half)
        more = bool(one.curve) and rising(one.curve, half, limit)
        shown = one.power is not None and one.power >= POWER
        missing = {Open.BOUNDS: not below[number], Open.RISING: more, Open.POWER: not shown}
        refuted = above[number] or number in singles
        verdict, reason = _verdict(one, limit, refuted, next((one for one, misses in missing.items() if misses), None))
        share = partial(_share, scale=one.scale)
        of_improvement = _share(one.gain, abs(one.improvement))
        relative = share(one.gain), share(lower), share(upper)
        gains.append(Gain(one, lower, upper, single, single_lower, *relative, of_improvement, more, reason, verdict))
    return tuple(gains)


def _verdict(found: Estimate, limit: float, refuted: bool, missing: Open | None) -> tuple[Verdict, Open | None]:
    """The verdict on an estimate that is `refuted`, or else lacks something, and what keeps it from one.

    Exact numbers decide, where they do.
    """
    exact = found.exact.within(limit) if found.exact is not None else None
    if exact is not None:
        return (Verdict.CERTIFIED if exact else Verdict.REFUTED), None
    if refuted and found.exact is not None:  # what was found is within the limit, if not what is possible
        return Verdict.INCONCLUSIVE, Open.EXACT
    if refuted:
        return Verdict.REFUTED, None
    return (Verdict.NOT_REFUTED, None) if missing is None else (Verdict.INCONCLUSIVE, missing)


def few(one: Estimate | Member) -> bool:
    """Whether a few episodes decide on a mean gain, so that it cannot be taken to be normal."""
    return one.effective is not None and one.effective < MANY


def _doubt(distance: float, one: Estimate | Member, exact: float = 1.0) -> float:
    """The p-value of an estimate that lies `distance` on the right side of a limit; `exact` is that of one without
    error on the limit."""
    if one.error == 0:
        return 0.0 if distance > 0 else exact if distance == 0 else 1.0
    score = distance / one.error
    if few(one):
        return 1 / (1 + score**2) if score > 0 else 1.0
    return float(stdtr(one.episodes - 1, -score)) if isinstance(one, Member) else NormalDist().cdf(-score)


def width_of(level: float, one: Estimate | Member | None = None) -> float:
    """How many standard errors wide a one-sided bound of an estimate is, by default a normal one, that fails with the
    probability `level`."""
    if one is not None and few(one):
        return math.sqrt(1 / level - 1)
    return float(stdtrit(one.episodes - 1, 1 - level)) if isinstance(one, Member) else -NormalDist().inv_cdf(level)


def holm(doubts: Sequence[float], level: float = 1 - CONFIDENCE) -> list[bool]:
    """Which of several hypotheses are rejected, by their p-values; with probability `level` at most a true one too.

    The smallest p-value is compared with level / n, the next with level / (n - 1), and so on up to the first that is
    larger (Holm 1979).
    """
    rejected = [False] * len(doubts)
    for rank, number in enumerate(sorted(range(len(doubts)), key=lambda k: doubts[k])):
        if doubts[number] > level / (len(doubts) - rank):
            break
        rejected[number] = True
    return rejected


def _share(value: float, scale: float) -> float | None:
    return value / scale if scale > 0 else None


def overall(gains: Sequence[Gain], notion: Notion, alive: Mapping[str, bool]) -> Verdict:
    """The verdict under one notion: no better than that of any type, and no result at all if nothing is alive."""
    if not all(alive.values()):
        return Verdict.TRIVIAL
    if not gains:  # no one has a choice
        return Verdict.CERTIFIED
    verdicts = {gain.verdict for gain in gains if notion in gain.estimate.notions}
    for verdict in (Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.NOT_REFUTED, Verdict.CERTIFIED):
        if verdict in verdicts:
            return verdict
    return Verdict.INCONCLUSIVE

"""The search for a deviation that pays: a battery of candidates for one type under one notion.

1. None: everyone plays as trained.
2. Constant choices: every combination where there are few, else a grid for each action, all others as trained; from the
   best of these on by coordinate ascent, one action, of one member of the type that it is over, after another.
3. Policies that are there already: earlier phases of the run, other seeds.
4. A deviator that goes on learning from the policy of explorers, with no entropy bonus.
5. Deviators that learn from scratch, from several seeds at two learning rates, by successive halving (Jamieson and
   Talwalkar 2016): all get a sixteenth of the budget, the best of each learning rate a quarter, the best of these all.

A learner is stopped where no gain above the limit is in sight, and all but the best are once such a gain is found. Of
single agents each may have a best deviation of its own: where another than the best on average is clearly better for an
agent, it takes that.

While the gain of a deviator still rises so much that a larger budget may change the verdict, its budget is doubled, at
most twice; the learning rate then starts anew (Loshchilov and Hutter 2017).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import inf, prod

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.runtime.actions.spaces import ActionSpace
from rbcc.runtime.errors import RunError
from rbcc.runtime.policies.policy import Parameters, explorers_of
from rbcc.runtime.verification.best_response.learned import Course, Deviation, Deviator
from rbcc.runtime.verification.statistics import CONFIDENCE, Mean


NONE, CONSTANT, POLICY, CONTINUED, SCRATCH = "none", "always", "policy of", "continued", "from scratch"
OWN = "each its own"

# Up to so many combinations of constant choices are all tried; of an action on its own at most so many values.
JOINT, GRID = 64, 21
STARTS = 3
# Learning rates from scratch, as multiples of verify.learning_rate: a fresh network has further to go.
RATES = (1, 3)
ENTROPY_FROM_SCRATCH = 0.01
# What goes on from the trained policy has little to go; with larger steps it loses by noise what it gains.
CAUTION = 0.5
# The best of each learning rate goes on from the first of these shares of the budget, the best of all from ONE_RATE.
RUNGS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
ONE_RATE = 1 / 4
DOUBLINGS = 2
POWER = 0.9
# An agent takes another deviation than the best on average if that gains it more by this share of the limit.
WORTHWHILE = 0.1
# A gain is above the limit beyond doubt by so many half widths of its bounds on selection seeds; it is known well
# enough if no more than this share can be added to it.
SURE, TIGHT = 2.0, 0.05
# Constant choices are tested in this share of the selection seeds first, and in the rest unless they lose there by so
# many standard errors, for each agent.
FIRST, CLEAR = 0.25, 3.0
# Coordinate ascent: how often it goes through all actions, in what share of the selection seeds, by how many standard
# errors a step has to pay, and for how many members of another type an action is taken apart.
SWEEPS, ASCENT, STEP, MEMBERS = 2, 1 / 16, 2.0, 6


@dataclass(frozen=True)
class Candidate:
    """One deviation of the battery: where it comes from, the iterations that it learned, its gain on selection seeds.

    `name` tells those of one source apart; `error` is the standard error of the gain.
    """

    source: str
    iterations: int
    gain: float
    name: str = ""
    error: float = 0.0

    @property
    def origin(self) -> str:
        return f"{self.source} {self.name}".rstrip()

    @property
    def words(self) -> str:
        return self.origin + (f", {self.iterations}" if self.iterations else "")


@dataclass(frozen=True)
class Measure:
    """What is asked of the search: a gain above `limit`, in units of the payoff, told by bounds that will be `width`
    times `shrink` standard errors of the selection seeds wide."""

    limit: float
    width: float
    shrink: float


@dataclass(frozen=True)
class Found:
    """What the battery found.

    `deviators` are those to test, each with its candidate and the agents, (agents,), who follow it, None where they
    play as trained; of a team all agents are the same. `left_out` are those without a finite payoff. `curve` has the
    gain of the best deviator that learned by its iterations, from 0 on; `rising` says that a larger budget may change
    what is asked. `power` is the share of a known gain that the search finds: a deviator from scratch starts from
    random choices and has to recover what the trained policy is worth over these. It is None if that is not above the
    limit.
    """

    candidates: tuple[Candidate, ...]
    best: Candidate
    deviators: tuple[tuple[Candidate, Deviator | None, np.ndarray], ...]
    left_out: tuple[Candidate, ...]
    curve: tuple[Candidate, ...]
    rising: bool
    power: float | None


@dataclass(eq=False)
class _Learner:
    """A deviator on its way; `curve` has its candidates, from 0 iterations on."""

    source: str
    name: str
    key: jax.Array
    rate: float
    entropy: float
    deviator: Deviator
    curve: list[Candidate]

    @property
    def done(self) -> int:
        return self.curve[-1].iterations

    @property
    def gain(self) -> float:
        return self.curve[-1].gain

    def reaching(self, iterations: int) -> float:
        """What it gains after so many `iterations` if it goes on as fast as in the better of its last two rungs.

        Of learning curves, which flatten out, that is a bound. How fast it leaves random choices does not count.
        """
        known = self.curve[1:] if self.source == SCRATCH else self.curve
        pairs = list(pairwise(known))[-2:]
        speeds = [(later.gain - before.gain) / (later.iterations - before.iterations) for before, later in pairs]
        return self.gain + max(0.0, *speeds) * (iterations - self.done) if speeds else inf

    @property
    def power(self) -> float:
        """The share that it recovers of what it lost at its start."""
        lost = -self.curve[0].gain
        return (lost + max(candidate.gain for candidate in self.curve)) / lost


class Battery:
    """The search of one `deviation` from `networks`, all randomness from `key`.

    `others` are policies that are there already, by their names; `gains` gives the gains of a deviator on a number of
    batches of selection seeds, (episodes,), and who deviates in each, (episodes,). There are `batches`.
    """

    def __init__(
        self,
        deviation: Deviation,
        networks: Mapping[str, Parameters],
        others: Mapping[str, Parameters],
        key: jax.Array,
        gains: Callable[[Deviator, int], tuple[np.ndarray, np.ndarray]],
        batches: int,
        measure: Measure,
        say: Callable[[str], None],
    ):
        self.deviation, self.networks, self.others, self.key = deviation, networks, others, key
        self.gains, self.batches, self.measure, self.say = gains, batches, measure, say
        chosen = deviation.arena.model.ir.verification
        self.iterations, self.rate = chosen.iterations, chosen.learning_rate
        self.trained = deviation.first(networks[deviation.agent])
        self.turns = deviation.turns(batches)
        self.left_out: list[Candidate] = []
        self.poor: list[Candidate] = []
        self.tried: list[tuple[Candidate, Deviator | None, np.ndarray]] = []
        self.tried.append((Candidate(NONE, 0, 0.0), None, np.zeros(len(self.turns))))

    @property
    def best(self) -> Candidate:
        return max((candidate for candidate, _, _ in self.tried), key=lambda candidate: candidate.gain)

    def search(self) -> Found:
        for candidate, deviator in self.known():
            self.consider(candidate, deviator)
        self.ascend()
        continued, scratch = self.learned()
        for _ in range(DOUBLINGS):
            for learner in (unfinished := self.unfinished(continued, scratch)):
                self.learn(learner, 2 * learner.done)
            if not unfinished:
                break
        known = -scratch.curve[0].gain > self.measure.limit
        best, deviators = self.chosen()
        candidates = [*(candidate for candidate, _, _ in self.tried), *self.poor]
        if best.source == OWN:
            candidates.append(best)
        learner = _best([continued, scratch])
        power = scratch.power if known else None
        left_out, curve = tuple(self.left_out), tuple(learner.curve)
        return Found(tuple(candidates), best, deviators, left_out, curve, self.rises(learner), power)

    def learned(self) -> tuple[_Learner, _Learner]:
        """The learner that went on from the trained policy, and the best from scratch, after all rungs."""
        continued, fresh = self.continued(), self.fresh()
        running, scratch = [continued, *fresh], fresh
        for upto in sorted({max(1, round(share * self.iterations)) for share in RUNGS}):
            for learner in running:
                self.learn(learner, upto)
            scratch = _best_of_each_rate(scratch) if upto < ONE_RATE * self.iterations else [_best(scratch)]
            running = self.promising([one for one in running if one is continued or one in scratch], scratch)
        return continued, _best(scratch)

    def promising(self, running: list[_Learner], scratch: list[_Learner]) -> list[_Learner]:
        """Those of the `running` learners that go on: what they may reach matters, or their power is not shown."""
        found = [one for one in running if self.may_matter(one)]
        if self.decided and found:
            found = [_best(found)]
        return [one for one in running if one in found or (one is _best(scratch) and self.weak(one))]

    def may_matter(self, learner: _Learner) -> bool:
        """Whether a gain above the limit is in sight, or once that is decided a clearly larger one.

        Where agents deviate alone, one that gains the limit refutes too: a mean of that over their number.
        """
        reached, limit = learner.reaching(self.iterations), self.measure.limit
        if self.decided:
            return reached > (1 + TIGHT) * self.best.gain
        return reached + self.half > (limit / self.deviation.policy.agents if self.deviation.alone else limit)

    @property
    def decided(self) -> bool:
        """Whether a gain was found that is above the limit beyond doubt."""
        return self.best.gain - SURE * self.measure.width * self.best.error > self.measure.limit

    def weak(self, learner: _Learner) -> bool:
        """Whether a learner from scratch has not shown its power yet."""
        return -learner.curve[0].gain > self.measure.limit and learner.power < POWER

    def chosen(self) -> tuple[Candidate, tuple[tuple[Candidate, Deviator | None, np.ndarray], ...]]:
        """The best deviation, for single agents one for each, and who follows which deviator."""
        candidate, changes = self.best, np.stack([change for _, _, change in self.tried])
        best, agents = [one for one, _, _ in self.tried].index(candidate), self.deviation.policy.agents
        choice = np.full(agents, best)
        if self.deviation.notion == "individual":
            choice = own_best(changes, best, self.turns, agents, WORTHWHILE * self.measure.limit)
        if len(set(choice)) > 1:
            candidate = self.valued(
                Candidate(OWN, 0, 0.0), changes[choice[self.turns], np.arange(len(self.turns))], self.turns
            )
        return candidate, tuple((*self.tried[number][:2], choice == number) for number in sorted(set(choice)))

    def consider(self, candidate: Candidate, deviator: Deviator) -> Candidate:
        """Takes a deviation into the battery and returns it with its gain.

        What is clearly worse for every agent, in a few of the episodes, is not tested in the rest. What has no finite
        payoff is left out, but raises RunError if it is what learning came to.
        """
        if candidate.source == CONSTANT and self.batches > 1:
            change, turns = self.gains(deviator, max(1, round(FIRST * self.batches)))
            if np.isfinite(change).all() and self.hopeless(change, turns):
                candidate = self.valued(candidate, change, turns)
                self.poor.append(candidate)
                return candidate
        change, _ = self.gains(deviator, self.batches)
        if np.isfinite(change).all():
            candidate = self.valued(candidate, change, self.turns)
            self.tried.append((candidate, deviator, change))
        elif candidate.source in (CONTINUED, SCRATCH):
            raise RunError(
                f"the {self.deviation.notion} deviator of {self.deviation.agent} ({candidate.words}) reached a payoff that "
                "is not a finite number; lower verify.learning_rate, or bound the reward"
            )
        else:
            self.left_out.append(candidate)
        return candidate

    def hopeless(self, change: np.ndarray, turns: np.ndarray) -> bool:
        """Whether the gains `change`, (episodes,), in which `turns` deviate, are surely below 0 for each agent."""
        groups = np.zeros_like(turns) if self.deviation.notion == "team" else turns
        each = [change[groups == group] for group in np.unique(groups)]
        return all(len(own) > 1 and own.mean() + CLEAR * own.std() / len(own) ** 0.5 < 0 for own in each)

    def valued(self, candidate: Candidate, change: np.ndarray, turns: np.ndarray) -> Candidate:
        """A candidate that gains `change`, (episodes,), in which `turns` deviate."""
        mean = Mean.of(change, turns if self.deviation.notion == "individual" else None)
        return replace(candidate, gain=mean.value, error=mean.error)

    # --- what does not learn -----------------------------------------------------------------------------------

    def known(self) -> Iterator[tuple[Candidate, Deviator]]:
        choices = constants(self.deviation.spaces)
        self.tell(f"{len(choices)} constant choices")
        for choice in choices:
            yield self.constant({name: np.full_like(self.trained.held[name], x) for name, x in choice.items()})
        for name, network in self.others.items():
            self.tell(f"policy of {name}")
            yield Candidate(POLICY, 0, 0.0, name), self.deviation.first(network)

    def constant(self, held: Mapping[str, np.ndarray]) -> tuple[Candidate, Deviator]:
        """The deviation to the choices `held`, as in `Deviator`."""
        choices = {name: jnp.asarray(numbers, jnp.float32) for name, numbers in held.items()}
        words = _words(self.deviation.spaces, held)
        return Candidate(CONSTANT, 0, 0.0, words), replace(self.trained, held=self.trained.held | choices)

    def ascend(self) -> None:
        """Tries what coordinate ascent makes of the best constant choices."""
        coordinates = [
            (name, members)
            for name, numbers in self.trained.held.items()
            for members in (range(len(numbers)) if len(numbers) <= MEMBERS else [slice(None)])
        ]
        if len(coordinates) == 1:  # all of its values were tried
            return
        still = [(c, d) for c, d, _ in self.tried if c.source in (NONE, CONSTANT)]
        _, start = max(still, key=lambda one: one[0].gain)
        held = {name: np.array(numbers) for name, numbers in (start or self.trained).held.items()}
        batches = max(1, round(ASCENT * self.batches))
        change, _ = self.gains(start or self.trained, batches)
        self.tell("constant choices by coordinate ascent")
        moved = False
        for _ in range(SWEEPS):
            steps = 0
            for name, members in coordinates:
                for number in _grid(self.deviation.spaces[name]):
                    if np.all(held[name][members] == number):
                        continue
                    other = {**held, name: held[name].copy()}
                    other[name][members] = number
                    changed, _ = self.gains(self.constant(other)[1], batches)
                    better = changed - change
                    if np.isfinite(better).all() and better.mean() > STEP * better.std() / len(better) ** 0.5:
                        held, change, steps = other, changed, steps + 1
            moved |= steps > 0
            if not steps:
                break
        if moved:
            self.consider(*self.constant(held))

    # --- what learns -------------------------------------------------------------------------------------------

    def continued(self) -> _Learner:
        """A learner that starts as an explorer, who still tries what the profile has given up."""
        explorer = self.deviation.first(explorers_of(self.networks[self.deviation.agent]))
        start = self.consider(Candidate(CONTINUED, 0, 0.0), explorer)
        key, rate = jax.random.fold_in(self.key, 0), CAUTION * self.rate
        return _Learner(CONTINUED, "", key, rate, 0.0, explorer, [start])

    def fresh(self) -> list[_Learner]:
        """Learners from scratch: with the same seed from the same network and episodes."""
        found = []
        for seed in range(STARTS):
            key = jax.random.fold_in(self.key, 1 + seed)
            deviator = self.deviation.scratch(key)
            start = self.consider(Candidate(SCRATCH, 0, 0.0, f"seed {seed}"), deviator)
            for rate in (factor * self.rate for factor in RATES):
                name = f"seed {seed} rate {rate:g}"
                found.append(_Learner(SCRATCH, name, key, rate, ENTROPY_FROM_SCRATCH, deviator, [start]))
        return found

    def learn(self, learner: _Learner, upto: int) -> None:
        """Goes on learning, until iteration `upto`."""
        done, candidate = learner.done, Candidate(learner.source, upto, 0.0, learner.name)
        self.tell(f"deviator {candidate.words} iterations")
        first = done < self.iterations
        begin, length = (0, self.iterations) if first else (done, upto - done)
        course = Course(learner.rate, learner.entropy if first else 0.0, begin, length)
        learner.deviator = self.deviation.learn(self.networks, learner.deviator, learner.key, done, upto, course)
        learner.curve.append(self.consider(candidate, learner.deviator))

    def unfinished(self, continued: _Learner, scratch: _Learner) -> list[_Learner]:
        """Those whose budget is worth doubling: a gain that still rises, or a search that has not shown its power.

        None if the gain that was found is above the limit already, whatever else there may be.
        """
        best, measure = self.best, self.measure
        if best.gain - measure.width * best.error > measure.limit:
            return []
        learner = _best([continued, scratch])
        found = [learner] if self.rises(learner) else []
        return [*found, scratch] if self.weak(scratch) and scratch not in found else found

    def rises(self, learner: _Learner) -> bool:
        """Whether a larger budget may change what is asked."""
        return rising(learner.curve, self.half, self.measure.limit)

    @property
    def half(self) -> float:
        """What half of the bounds' width will be."""
        return self.measure.width * self.measure.shrink * self.best.error

    def tell(self, what: str) -> None:
        self.say(f"{self.deviation.agent}, {self.deviation.notion}: {what}")


def own_best(changes: np.ndarray, best: int, turns: np.ndarray, agents: int, least: float) -> np.ndarray:
    """For each agent the number of the deviation that it takes, `best` unless another gains it more than by chance.

    `changes` are the gains from each deviation, (deviations, episodes), in which the agents `turns`, (episodes,),
    deviate. A gain that is more by less than `least` does not count. With 95 % confidence no agent takes a deviation
    that is none better for it (Bonferroni).
    """
    choice, level = np.full(agents, best), (1 - CONFIDENCE) / (agents * len(changes))
    for agent in range(agents):
        more = changes[:, turns == agent] - changes[best, turns == agent]
        if more.shape[1] > 1:
            means = more.mean(axis=1)
            clear = [d for d in np.flatnonzero(means > least) if Mean.of(more[d]).lower(level) > 0]
            choice[agent] = max(clear, key=lambda d: means[d], default=best)
    return choice


def rising(curve: Sequence[Candidate], half: float, limit: float) -> bool:
    """Whether the last doubling of the budget added more to the gain than the `half` width of its bounds, and as much
    again would bring the bound above the limit."""
    rise = curve[-1].gain - curve[-2].gain
    return rise > half and curve[-1].gain + rise + half > limit


def constants(spaces: Mapping[str, ActionSpace]) -> list[dict[str, float]]:
    """The constant choices that are tried, by action: numbers of choices, of intervals shares.

    An action that is repeated over another type is the same for all of its members.
    """
    sizes = [len(space.values) for space in spaces.values()]
    if all(sizes) and prod(sizes) <= JOINT:
        return [dict(zip(spaces, choice, strict=True)) for choice in product(*map(range, sizes))]
    return [{name: number} for name, space in spaces.items() for number in _grid(space)]


def _grid(space: ActionSpace) -> list[float]:
    """Numbers of choices, at equal distances if there are many; of an interval shares, of shares who gets all."""
    if space.interval:
        return [float(share) for share in np.linspace(0, 1, GRID)]
    last = (space.repeats or 1 if space.shares else len(space.values)) - 1
    return [float(number) for number in np.unique(np.linspace(0, last, min(GRID, last + 1)).round())]


def _words(spaces: Mapping[str, ActionSpace], held: Mapping[str, np.ndarray]) -> str:
    """Constant choices as people read them: `bake 3, sell 2`, of an interval `bake 5%`, of shares `give all to 3`.

    Of an action over another type each member's, unless they are all the same: `rate[0] 40%, rate[1] 60%`.
    """
    words = []
    for name, numbers in held.items():
        space, short = spaces[name], name.partition(".")[2]
        chosen = [(number, x) for number, x in enumerate(numbers) if x >= 0]
        alike = len(chosen) == len(numbers) and len(set(numbers.tolist())) == 1
        for number, x in chosen[:1] if alike else chosen:
            value = f"{x:.0%}" if space.interval else f"all to {x:g}" if space.shares else f"{space.values[int(x)]:g}"
            words.append(f"{short} {value}" if alike else f"{short}[{number}] {value}")
    return ", ".join(words)


def _best(learners: list[_Learner]) -> _Learner:
    return max(learners, key=lambda learner: learner.gain)


def _best_of_each_rate(learners: list[_Learner]) -> list[_Learner]:
    rates = dict.fromkeys(learner.rate for learner in learners)
    return [_best([learner for learner in learners if learner.rate == rate]) for rate in rates]

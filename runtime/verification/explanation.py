"""Why a deviation pays: the few choices of it that make its gain.

A mask of steps and actions says where the deviating agent takes the deviator's choice; elsewhere it takes its trained
one. Both are made from what the agent sees in the episode as it comes, and from the same random numbers, on the same
episodes as without the deviation. From the whole deviation choices are left out as long as 90 % of the gain remain,
those first that cost least (delta debugging, Zeller and Hildebrandt 2002): what pays only together remains together,
where adding the best one at a time would find nothing.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import accumulate, combinations, groupby, product

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler.util.text import counted
from rbcc.runtime.actions.spaces import ActionSpace, shares_of
from rbcc.runtime.parallel.devices import ALL, BY_ECONOMY
from rbcc.runtime.policies.policy import Indices, Parameters, Policy, Sight, of_members
from rbcc.runtime.rollout.rollout import Player, keys_of
from rbcc.runtime.verification.best_response.learned import Deviation, Deviator


ENOUGH = 0.9
"""The share of a gain that is explained."""
TOGETHER = 0.1
"""Pieces belong together if that adds more than this share of the gain to what they add apart."""
BLOCKS = 32
"""Up to so many blocks of steps are looked at one by one; of longer episodes a block has several steps."""
PIECES = 6
"""At most so many pieces are told."""
NEARLY = 0.9
"""A choice that is made less often than this is told with how often it is made."""
NAMED = 3
"""Up to so many members of a type that an action is repeated over are told by number."""

Cells = frozenset[tuple[int, int]]
"""Pairs of the number of a step and that of a choice made in it: an action, or of a repeated one that of a member."""


@dataclass(frozen=True)
class Choice:
    """What a deviator chooses otherwise, from step `first` to `last`, most often: the `share` of its choices there.

    `trained` is what the trained policy chooses most often where the deviator does that, and how often. `of` says which
    members of another type a repeated action is chosen for, empty where it is not repeated or the same for all.
    """

    action: str
    first: int
    last: int
    choice: str
    share: float | None
    trained: str
    trained_share: float | None
    of: str = ""


@dataclass(frozen=True)
class Part:
    """Choices that pay together, and the `gain` that they add to that of the parts before, in units of the payoff."""

    choices: tuple[Choice, ...]
    gain: float


@dataclass(frozen=True)
class Explanation:
    """What a deviation gains on selection seeds, and by what.

    `member` is the number of the agent that deviates, None for a team, for a type of one agent and where agents deviate
    in turn. A deviator that always makes the same choice, `constant`, has no parts. `more` counts pieces that are not
    told.
    """

    member: int | None
    gain: float
    constant: str = ""
    parts: tuple[Part, ...] = ()
    more: int = 0


# --- which choices it takes ----------------------------------------------------------------------------------------


def essential(gain: Callable[[Cells], float], horizon: int, actions: Sequence[Sequence[int]]) -> list[Cells]:
    """Few blocks of cells that gain together at least 90 % of what all do; none can be left out.

    `gain` is that of a deviation in some cells only; that of all has to be positive. `actions` are the choices that
    each action consists of.
    """
    length = 1
    while len(actions) * -(-horizon // length) > BLOCKS and length < horizon:
        length *= 2
    steps = [range(start, min(start + length, horizon)) for start in range(0, horizon, length)]
    kept = [Cells(product(own, choices)) for choices in actions for own in steps]
    limit = ENOUGH * gain(union(kept))
    while True:
        kept = _pruned(gain, kept, limit)
        halves = [half for block in kept for half in _halves(block)]
        if len(halves) == len(kept) or len(halves) > BLOCKS:
            return kept
        kept = halves


def union(blocks: Sequence[Cells]) -> Cells:
    return reduce(Cells.union, blocks, Cells())


def _pruned(gain: Callable[[Cells], float], kept: list[Cells], limit: float) -> list[Cells]:
    """Leaves out blocks, in each round as many of those that cost least as can be, until each is needed."""
    while True:
        whole = union(kept)
        order = sorted(kept, key=lambda block: -gain(whole - block))
        fine, wrong = 0, len(order)
        while wrong - fine > 1:
            middle = (fine + wrong) // 2
            if gain(union(order[middle:])) >= limit:
                fine = middle
            else:
                wrong = middle
        if fine == 0:
            return kept
        kept = order[fine:]


def _halves(block: Cells) -> list[Cells]:
    """The earlier and the later half of a block's steps, or of a single step the halves of its choices."""
    axis = 0 if len({step for step, _ in block}) > 1 else 1
    numbers = sorted({cell[axis] for cell in block})
    middle = numbers[len(numbers) // 2]
    return [
        half
        for half in (Cells(c for c in block if c[axis] < middle), Cells(c for c in block if c[axis] >= middle))
        if half
    ]


def grouped(gain: Callable[[Cells], float], pieces: Sequence[Cells]) -> list[tuple[list[int], float]]:
    """Which pieces, by number, pay together only, and what each of these groups adds; what adds most comes first."""
    whole = union(pieces)
    group = list(range(len(pieces)))
    for one, other in combinations(range(len(pieces)), 2):
        lost = [
            gain(whole) - gain(whole - cells) for cells in (pieces[one], pieces[other], pieces[one] | pieces[other])
        ]
        if lost[0] + lost[1] - lost[2] > TOGETHER * gain(whole):
            group = [group[one] if number == group[other] else number for number in group]
    left = [[number for number, own in enumerate(group) if own == name] for name in dict.fromkeys(group)]
    found, done = [], Cells()

    def cells(numbers: list[int]) -> Cells:
        return union([pieces[number] for number in numbers])

    while left:
        best = max(left, key=lambda numbers: gain(done | cells(numbers)))
        found.append((best, gain(done | cells(best)) - gain(done)))
        done |= cells(best)
        left.remove(best)
    return found


# --- what is chosen ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Usage:
    """How often a deviator makes each choice of an action, and how often the trained policy would in its place.

    Both are (repeats, horizon, choices); of an interval and of shares they are the mean share, (repeats, horizon, 1).
    `over` is the type that the action is repeated over; `choices` are the action's numbers in `Cells`.
    """

    space: ActionSpace
    changed: np.ndarray
    usual: np.ndarray
    over: str | None
    choices: range

    def told(self, steps: Sequence[int], members: Sequence[int]) -> tuple[Choice, ...]:
        """What `members` are chosen otherwise in a run of steps, in words: what differs most comes first."""
        changed, usual = (x[:, steps].mean(axis=1) for x in (self.changed, self.usual))
        kinds: dict[tuple[str, str], list[int]] = {}
        for member in sorted(members, key=lambda member: -np.abs(changed - usual)[member].sum()):
            kinds.setdefault(self._words(changed[member], usual[member]), []).append(member)
        different = {words: own for words, own in kinds.items() if words[0] != words[1]} or kinds
        return tuple(
            Choice(
                self.space.name,
                steps[0],
                steps[-1],
                choice,
                self._share(changed[own], choice),
                trained,
                self._share(usual[own], trained),
                self._of(sorted(own)),
            )
            for (choice, trained), own in list(different.items())[:NAMED]
        )

    def _words(self, changed: np.ndarray, usual: np.ndarray) -> tuple[str, str]:
        """The most frequent choices, or where these are the same that which is made more often, and less often."""
        if self.space.continuous:
            return f"{changed[0]:.0%}", f"{usual[0]:.0%}"
        if changed.argmax() == usual.argmax():
            return self.space.words(int((changed - usual).argmax())), self.space.words(int((changed - usual).argmin()))
        return self.space.words(int(changed.argmax())), self.space.words(int(usual.argmax()))

    def _share(self, frequencies: np.ndarray, choice: str) -> float | None:
        if self.space.continuous:
            return None
        number = [self.space.words(k) for k in range(len(self.space.values))].index(choice)
        return round(float(frequencies[:, number].mean()), 4)

    def _of(self, members: Sequence[int]) -> str:
        """The members of the other type that a choice is for."""
        if self.over is None or len(members) == len(self.changed):
            return ""
        if len(members) > NAMED:
            return counted(len(members), self.over)
        return f"{self.over} {', '.join(map(str, members))}"

    def runs(self, cells: Cells) -> list[tuple[list[int], list[int]]]:
        """Runs of steps in which the same members are chosen otherwise, each with these."""
        chosen: dict[int, list[int]] = {}
        for step, number in sorted(cells):
            if number in self.choices:
                chosen.setdefault(step, []).append(number - self.choices.start)
        # Within a run the number of a step less its place among all is the same.
        keyed = groupby(enumerate(chosen), key=lambda pair: (pair[1] - pair[0], chosen[pair[1]]))
        runs = [([step for _, step in run], members) for (_, members), run in keyed]
        everyone = list(range(len(self.changed)))
        return [(steps, everyone if self.space.shares else members) for steps, members in runs]

    def cells(self, steps: Sequence[int], members: Sequence[int]) -> Cells:
        choices = self.choices if self.space.shares else [self.choices[member] for member in members]
        return Cells(product(steps, choices))

    def alike(self, steps: Sequence[int], members: Sequence[int]) -> list[list[int]]:
        """A run of steps, cut where other choices are made."""

        def words(step: int) -> list[tuple[str, str, str]]:
            return [(one.choice, one.trained, one.of) for one in self.told([step], members)]

        return [list(own) for _, own in groupby(steps, key=words)]


def pieces_of(blocks: Sequence[Cells], usage: Sequence[Usage]) -> Iterator[tuple[Cells, tuple[Choice, ...]]]:
    """Runs of steps in which an action is chosen otherwise, all in the same way, or, if these are many, in any."""
    runs = [(one, steps, members) for one in usage for steps, members in one.runs(union(blocks))]
    alike = [(one, own, members) for one, steps, members in runs for own in one.alike(steps, members)]
    for one, steps, members in alike if len(alike) <= PIECES else runs:
        yield one.cells(steps, members), one.told(steps, members)


# --- playing it ----------------------------------------------------------------------------------------------------


def crossed(policy: Policy, base: Player, other: Player, taken: Mapping[str, jax.Array]) -> Player:
    """`base`, but `other` chooses what is `taken`, (repeats,) by action, from it; records the choices of both."""

    def play(sight: Sight, uniform: jax.Array) -> tuple[Indices, tuple[Indices, Indices]]:
        (usual, _), (changed, _) = base.play(sight, uniform), other.play(sight, uniform)
        mixed = []
        for head, one, two in zip(policy.stacked_heads, policy.apart(usual), policy.apart(changed), strict=True):
            parts = zip(head.actions, head.split(one), head.split(two), strict=True)
            mixed.append(
                head.join([jnp.where(taken[action.name][:, None, None], new, old) for action, old, new in parts])
            )
        return policy.together(mixed), (changed, usual)

    return Player(base.draws, play)


class Replay:
    """A deviation that is taken in some steps and actions only.

    `members`, (episodes,), deviate in the batches of `key`, each of as many economies as the arena has.
    """

    def __init__(
        self,
        deviation: Deviation,
        networks: Mapping[str, Parameters],
        deviator: Deviator,
        key: jax.Array,
        members: np.ndarray,
    ):
        self.deviation = deviation
        # Shares are one choice, of all members.
        counts = [1 if space.shares else space.repeats or 1 for space in deviation.spaces.values()]
        ends = list(accumulate(counts))
        self.actions = {
            name: range(end - count, end) for name, count, end in zip(deviation.spaces, counts, ends, strict=True)
        }
        self.members = members.reshape(-1, deviation.arena.economies, 1)
        program = deviation.arena.placement.program(
            self._batch, (ALL, ALL, ALL, BY_ECONOMY, ALL, ALL), (BY_ECONOMY, ALL)
        )
        self.run = lambda *rest: program(networks, deviator, key, *rest)

    def play(self, cells: Cells) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
        """Payoffs of the type, (episodes, agents), and how often choices are made, as in `Usage`, by action."""
        mask = np.zeros((self.deviation.arena.model.ir.horizon, sum(map(len, self.actions.values()))), bool)
        if cells:
            mask[tuple(np.array(sorted(cells)).T)] = True
        results = [
            self.run(jnp.asarray(own), jnp.int32(number), jnp.asarray(mask)) for number, own in enumerate(self.members)
        ]
        payoffs, use = zip(*jax.device_get(results), strict=True)
        return np.concatenate(payoffs), jax.tree.map(lambda *parts: np.mean(parts, axis=0), *use)

    def _batch(
        self,
        networks: Mapping[str, Parameters],
        deviator: Deviator,
        key: jax.Array,
        members: jax.Array,
        number: jax.Array,
        mask: jax.Array,
    ) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
        deviation, arena = self.deviation, self.deviation.arena
        playing, _ = keys_of(key, number)
        base, other = arena.players(networks), deviation.players(networks, deviator, members)
        agent, policy = deviation.agent, deviation.policy

        def players(step: jax.Array) -> dict[str, Player]:
            taken = {name: mask[step, own.start : own.stop] for name, own in self.actions.items()}
            return {**base, agent: crossed(policy, base[agent], other[agent], taken)}

        played = arena.play(players, playing, deviation.given(networks, playing))
        return arena.payoffs(played)[agent], arena.placement.share.mean(self._use(played.records[agent], members))

    def _use(self, records: tuple[Indices, Indices], members: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        found = []
        for indices in records:
            own = tuple(jnp.moveaxis(x, 1, 0) for x in indices)  # repeats, horizon, economies, agents
            if self.deviation.alone:
                own = tuple(of_members(x, members) for x in own)
            parts = {}
            for head, part in zip(self.deviation.policy.stacked_heads, self.deviation.policy.apart(own), strict=True):
                parts |= {action.name: x for action, x in zip(head.actions, head.split(part), strict=True)}
            found.append([_frequencies(self.deviation.spaces[name], parts[name]) for name in self.actions])
        return list(zip(*found, strict=True))


def _frequencies(space: ActionSpace, made: jax.Array) -> jax.Array:
    """How often choices are made, (repeats, horizon, choices), of `made`, (repeats, horizon, economies, agents)."""
    if space.continuous:
        shares = shares_of(made) if space.shares else jax.nn.sigmoid(made)
        return jnp.mean(shares, axis=(2, 3))[..., None]
    return jnp.stack([jnp.mean(made == number, axis=(2, 3)) for number in range(len(space.values))], axis=-1)


def explain(replay: Replay, member: int | None, gain: Callable[[np.ndarray], float]) -> Explanation | None:
    """What makes the gain of a deviation; `gain` is that from payoffs of the type, (episodes, agents). None without."""
    model = replay.deviation.arena.model

    @cache
    def gained(cells: Cells) -> float:
        value = gain(replay.play(cells)[0]) if cells else 0.0
        return value if math.isfinite(value) else 0.0  # as good as none

    horizon, actions = model.ir.horizon, list(replay.actions.values())
    whole = gained(Cells(product(range(horizon), range(actions[-1].stop))))
    if not whole > 0:
        return None
    blocks = essential(gained, horizon, actions)
    usage = []
    for (name, own), (changed, usual) in zip(replay.actions.items(), replay.play(union(blocks))[1], strict=True):
        space = replay.deviation.spaces[name]
        over = model.ir.symbol(name).sets[-1] if space.repeats is not None else None
        usage.append(Usage(space, changed, usual, over, own))
    pieces = list(pieces_of(blocks, usage))
    everything = union(blocks)
    if len(pieces) > PIECES:
        told = sorted(pieces, key=lambda piece: gained(everything - piece[0]))[:PIECES]
        told = [choice for _, choices in sorted(told, key=lambda piece: min(piece[0])) for choice in choices]
        return Explanation(member, whole, "", (Part(tuple(told), gained(everything)),), len(pieces) - PIECES)
    parts = []
    for numbers, added in grouped(gained, [cells for cells, _ in pieces]):
        own = sorted((pieces[number] for number in numbers), key=lambda piece: min(piece[0]))
        parts.append(Part(tuple(choice for _, choices in own for choice in choices), added))
    return Explanation(member, whole, "", tuple(parts))

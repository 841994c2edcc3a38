"""Choices as arrays: which numbers an action offers, how they form the heads of a network, and heads form stacks.

Numbers from an interval and shares are continuous choices: what is drawn for them are normal numbers of any size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.compiler.ir.axis_order import layout


@dataclass(frozen=True)
class ActionSpace:
    """One action of an agent type.

    `values` are its choices in physical units, or 0, 1, ... for members of the agent type `of`; an `interval` and
    `shares`, of which each of the members gets one, have none. An array of it in the API has the axes (agents of the
    type, members it is chosen for), each left out where the spec has no such index; `stored` is their order in the
    generated module. Of a `restricted` one a condition says which choices are allowed, see `Allowed`.
    """

    name: str
    agent: str
    values: tuple[float, ...]
    of: str | None
    agents: int | None
    repeats: int | None
    stored: tuple[int, ...]
    interval: bool = False
    shares: bool = False
    restricted: bool = False

    @property
    def continuous(self) -> bool:
        return self.interval or self.shares

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one economy's array, in the order of the spec."""
        return tuple(n for n in (self.agents, self.repeats) if n is not None)

    def words(self, number: int) -> str:
        """A choice as people read it: `10`, or a member, `bakery 2`."""
        value = f"{self.values[number]:g}"
        return f"{self.of} {value}" if self.of else value

    def legal(self, chosen: jax.Array, allowed: jax.Array) -> jax.Array:
        """Choices in physical units, (...), of those that are `allowed`, (choices, ...), the nearest to what is
        `chosen`."""
        number = jnp.argmin(jnp.abs(chosen[..., None] - jnp.asarray(self.values)), axis=-1)
        return self.physical(nearest(self, number, allowed))

    @property
    def table(self) -> jax.Array:
        return jnp.array(self.values, int if self.of else float)

    def physical(self, index: jax.Array) -> jax.Array:
        """Numbers of choices, of any type, as choices: in physical units, or as members of `of`."""
        if self.of:
            return index.astype(int)
        table = np.array(self.values, jnp.result_type(float))
        grid = (table[1:] - table[0])[:1].sum() * np.arange(len(table), dtype=float)
        # Arithmetic is faster than a lookup; it is taken where products and sums have no rounding at all.
        if np.array_equal(grid, grid.astype(table.dtype)) and np.array_equal(table[0] + grid, table):
            return table[0] + grid[1:2].sum().astype(table.dtype) * index.astype(table.dtype)
        return jnp.asarray(table)[index.astype(int)]


NORMAL = ("mean", "log_deviation")
"""The parameters of the draw of a number for a continuous choice."""

Bounds = Mapping[str, tuple[jax.Array, jax.Array]]
"""The ends of the intervals from which actions are chosen, by action."""


Allowed = Mapping[str, jax.Array]
"""Which choices are allowed, of the actions that have a condition, (choices, ...) or (repeats, choices, ...)."""


def nearest(space: ActionSpace, index: jax.Array, allowed: jax.Array) -> jax.Array:
    """The numbers of those choices that are `allowed`, (choices, ...), nearest to those that `index`, (...), names.

    Of two the lower one; of members that with the nearest number.
    """
    index, last = index.astype(int), len(space.values) - 1
    numbers = jnp.arange(last + 1).reshape(-1, *[1] * (allowed.ndim - 1))
    below = jnp.max(jnp.where(allowed & (numbers <= index), numbers, -1), axis=0)
    above = jnp.min(jnp.where(allowed & (numbers >= index), numbers, last + 1), axis=0)
    values = jnp.asarray(space.values, float)
    down, up = values[index] - values[jnp.maximum(below, 0)], values[jnp.minimum(above, last)] - values[index]
    lower = (above > last) | ((below >= 0) & (down <= up * (1 + TIE)))
    return jnp.where(lower, below, above)


def any_of(allowed: jax.Array, uniform: jax.Array) -> jax.Array:
    """Numbers of choices, drawn from those that are `allowed`, (choices, ...), all equally likely."""
    passed = jnp.cumsum(allowed, axis=0)
    return jnp.argmax(passed > jnp.minimum(jnp.floor(uniform * passed[-1]), passed[-1] - 1), axis=0)


TIE = 1e-4
"""Distances from a choice to two others that differ by less, relatively, are rounded differently."""


def within(share: jax.Array, ends: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The number that lies `share` of the way from the lower to the upper end."""
    low, high = ends
    return low + share * (high - low)


def shares_of(numbers: jax.Array) -> jax.Array:
    """Shares that sum to 1, (members, ...), from one normal number for each member but the last, (members - 1, ...).

    They are the soft-max of these numbers and a 0, which the last member has: with a number for each, adding the same
    to all would change nothing, a direction of noise and of entropy without any effect. (The additive logistic normal
    distribution, Aitchison and Shen, 1980.) Of two members the first gets the logistic function of its number.
    """
    return jax.nn.softmax(jnp.concatenate([numbers, jnp.zeros_like(numbers[:1])]), axis=0)


def numbers_of(shares: jax.Array) -> jax.Array:
    """The inverse of `shares_of`, of shares that can be told from 0."""
    logarithms = jnp.log(jnp.maximum(shares, jnp.finfo(float).eps))
    return logarithms[:-1] - logarithms[-1]


def divided(uniform: jax.Array) -> jax.Array:
    """Shares, (members, ...), that are uniform over all that sum to 1, from uniform numbers, (members - 1, ...).

    Each member in turn breaks its part off what is left, as large as it is when others still have to get theirs.
    """
    others = jnp.arange(len(uniform), 0, -1).reshape(-1, *[1] * (uniform.ndim - 1))
    left = jnp.cumprod(uniform ** (1 / others), axis=0)
    whole, nothing = jnp.ones_like(uniform[:1]), jnp.zeros_like(uniform[:1])
    return jnp.concatenate([whole, left]) - jnp.concatenate([left, nothing])


@dataclass(frozen=True)
class Head:
    """A choice of a network: `repeats` independent draws among `choices`, or of numbers for a continuous choice.

    Several actions in one head are drawn jointly: a choice is one combination of theirs. Of an interval what is drawn
    is a number of any size; the logistic function makes it a share of the interval. For shares see `shares_of`.
    """

    actions: tuple[ActionSpace, ...]

    @property
    def continuous(self) -> bool:
        return self.actions[0].continuous

    @property
    def shares(self) -> bool:
        return self.actions[0].shares

    @property
    def repeats(self) -> int:
        return (self.actions[0].repeats or 1) - self.shares

    @property
    def choices(self) -> int:
        """The number of choices; of a continuous one the parameters of a draw."""
        return len(NORMAL) if self.continuous else prod(len(action.values) for action in self.actions)

    def split(self, index: jax.Array) -> list[jax.Array]:
        """The choice of each action in a joint choice."""
        if self.continuous:
            return [index]
        index, parts = index.astype(int), []
        for action in reversed(self.actions[1:]):
            parts.append(index % len(action.values))
            index = index // len(action.values)
        return [index, *parts[::-1]]

    def join(self, parts: Sequence[jax.Array]) -> jax.Array:
        """The joint choice of one choice per action; the inverse of `split`."""
        if self.continuous:
            return parts[0]
        index = jnp.zeros_like(parts[0])
        for action, part in zip(self.actions, parts, strict=True):
            index = index * len(action.values) + part
        return index

    @property
    def restricted(self) -> bool:
        return any(action.restricted for action in self.actions)

    def within(self, allowed: Allowed) -> jax.Array:
        """Which joint choices consist of such as are `allowed`, (repeats, choices, ...)."""
        mask = jnp.ones((), bool)
        for action in self.actions:
            every = jnp.ones((1, len(action.values), 1, 1), bool)
            own = allowed[action.name] if action.restricted else every
            # The choices so far before those of this action, the last of which change fastest.
            mask = own if action is self.actions[0] else mask[:, :, None] & own[:, None]
            mask = mask.reshape(mask.shape[0], -1, *mask.shape[-2:])
        return mask

    def allowed(self, offered: Mapping[str, jax.Array]) -> jax.Array:
        """Which joint choices consist of such as are offered, (choices,); of actions not in `offered` all are."""
        mask = jnp.ones((), bool)
        for action in self.actions:
            mask = mask[..., None] & offered.get(action.name, jnp.ones(len(action.values), bool))
        return mask.reshape(-1)


def opened(action: ActionSpace, start: float, share: jax.Array) -> jax.Array:
    """The choices of an action within a window that starts at the value `start` and is open to `share`."""
    values = jnp.array(action.values, float)
    slack = 1e-4 * (values.max() - values.min())
    low, high = start + share * (values.min() - start), start + share * (values.max() - start)
    return (values >= low - slack) & (values <= high + slack)


@dataclass(frozen=True)
class Stack:
    """Heads of similar size side by side, with their choices padded to the same number: one array, one softmax.

    An array over a stack has the axes (repeats, choices, ...), the heads' repeats one after another. Intervals form a
    stack of their own, with the parameters of a draw in place of choices, and so does each head of shares.
    """

    heads: tuple[Head, ...]

    @property
    def continuous(self) -> bool:
        return self.heads[0].continuous

    @property
    def shares(self) -> bool:
        return self.heads[0].shares

    @property
    def repeats(self) -> int:
        return sum(head.repeats for head in self.heads)

    @property
    def choices(self) -> int:
        return max(head.choices for head in self.heads)

    @property
    def dtype(self) -> np.dtype:
        """The smallest type that holds the number of a choice; of a continuous one that of a real number."""
        return np.dtype(jnp.result_type(float)) if self.continuous else np.min_scalar_type(self.choices - 1)

    def allowed(self, offered: Mapping[str, jax.Array]) -> jax.Array:
        """Which choices exist and consist of such as are offered, (repeats, choices)."""
        if self.continuous:
            return jnp.ones((self.repeats, self.choices), bool)
        rows = []
        for head in self.heads:
            mask = jnp.pad(head.allowed(offered), (0, self.choices - head.choices))
            rows += [mask] * head.repeats
        return jnp.stack(rows)

    @property
    def restricted(self) -> bool:
        return any(head.restricted for head in self.heads)

    def within(self, mask: jax.Array, allowed: Allowed) -> jax.Array:
        """Which choices, of those in `mask`, (repeats, choices), are `allowed`, (repeats, choices, ...).

        Where that leaves no choice of a draw, all that are allowed.
        """
        rows = []
        plane = next(iter(allowed.values())).shape[-2:]
        for head in self.heads:
            own = head.within(allowed) if head.restricted else jnp.ones((head.repeats, head.choices, 1, 1), bool)
            padding = ((0, 0), (0, self.choices - head.choices), (0, 0), (0, 0))
            rows.append(jnp.broadcast_to(jnp.pad(own, padding), (head.repeats, self.choices, *plane)))
        whole = jnp.concatenate(rows)
        both = whole & mask[:, :, None, None]
        return jnp.where(both.any(axis=1, keepdims=True), both, whole)

    def split(self, index: jax.Array) -> list[jax.Array]:
        """The choices of each head, (its repeats, ...), of those of the stack, (repeats, ...)."""
        ends = list(accumulate(head.repeats for head in self.heads))
        return [index[end - head.repeats : end] for head, end in zip(self.heads, ends, strict=True)]


# Heads are stacked as long as padding adds no more than this share: of arithmetic, against one more kernel of a kind.
MAX_PADDING = 0.25


def stacks_of(heads: Sequence[Head]) -> tuple[Stack, ...]:
    """Heads, the largest first, in as few stacks as padding allows; then those of intervals, in one, and of shares."""
    stacks: list[Stack] = []
    intervals = tuple(head for head in heads if head.continuous and not head.shares)
    for head in sorted((head for head in heads if not head.continuous), key=lambda head: -head.choices):
        if stacks:
            wider = Stack((*stacks[-1].heads, head))
            exact = sum(one.repeats * one.choices for one in wider.heads)
            if wider.repeats * wider.choices <= (1 + MAX_PADDING) * exact:
                stacks[-1] = wider
                continue
        stacks.append(Stack((head,)))
    return (*stacks, *([Stack(intervals)] if intervals else []), *(Stack((head,)) for head in heads if head.shares))


def action_spaces(model: ir.Model) -> dict[str, ActionSpace]:
    """All actions of a model by name."""
    found = {}
    for action in model.actions:
        symbol = model.symbol(action.symbol)
        counts = [model.count(owner) for owner in symbol.sets]
        owner = symbol.owner or ""
        indexed = bool(model.agent(owner).indices)
        agents = counts.pop(0) if indexed else None
        repeats = counts[0] if counts else None
        # A single member gets all: there is one choice.
        shares, values = action.shares and repeats != 1, (1.0,) if action.shares and repeats == 1 else action.choices
        order, interval = layout(model, symbol), bool(action.bounds)
        found[action.symbol] = ActionSpace(
            action.symbol, owner, values, action.of, agents, repeats, order, interval, shares, action.where is not None
        )
    return found


def heads_of(agent: str, spaces: Mapping[str, ActionSpace], joint: Sequence[str]) -> tuple[Head, ...]:
    """The heads of a type's network; an action with a single choice needs none."""
    mine = [space for space in spaces.values() if space.agent == agent and (space.continuous or len(space.values) > 1)]
    together = tuple(space for space in mine if space.name in joint)
    heads = [Head((space,)) for space in mine if space not in together]
    return tuple(heads + ([Head(together)] if together else []))


def decode(
    agent: str,
    stacks: Sequence[Stack],
    indices: Sequence[jax.Array],
    spaces: Mapping[str, ActionSpace],
    bounds: Bounds,
    economies: int,
) -> dict[str, jax.Array]:
    """Choices of each stack, (repeats, economies, agents), as actions in physical units, economies first.

    The remaining axes stand in the order of the compiled model's layout, those of `bounds` too.
    """
    chosen: dict[str, jax.Array] = {}
    for stack, index in zip(stacks, indices, strict=True):
        for head, part in zip(stack.heads, stack.split(index), strict=True):
            for action, own in zip(head.actions, head.split(part), strict=True):
                chosen[action.name] = own
    actions = {}
    for name, space in spaces.items():
        if space.agent != agent:
            continue
        if name not in chosen:
            shape = tuple(space.shape[k] for k in space.stored)
            actions[name] = jnp.full((economies, *shape), space.table[0])
            continue
        if space.shares:
            values = shares_of(chosen[name])
        else:
            values = jax.nn.sigmoid(chosen[name]) if space.interval else space.physical(chosen[name])
        # (repeats, economies, agents) -> (economies, agents, repeats) -> only the axes that exist, in stored order
        values = jnp.moveaxis(values, 0, -1)
        values = values.reshape((economies, *space.shape))
        values = jnp.transpose(values, (0, *(1 + k for k in space.stored)))
        actions[name] = within(values, bounds[name]) if space.interval else values
    return actions

"""Choices as arrays: which numbers an action offers, and how a network's heads map to actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import jax
import jax.numpy as jnp

from rbcc.compiler import ir
from rbcc.compiler.emit.layout import layout


@dataclass(frozen=True)
class ActionSpace:
    """One action of an agent type.

    `values` are its choices in physical units, or 0, 1, ... for members of the agent type `of`. An array of it in the
    API has the axes (agents of the type, members it is chosen for), each left out where the spec has no such index;
    `stored` is their order in the generated module.
    """

    name: str
    agent: str
    values: tuple[float, ...]
    of: str | None
    agents: int | None
    repeats: int | None
    stored: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one economy's array, in the order of the spec."""
        return tuple(n for n in (self.agents, self.repeats) if n is not None)

    @property
    def table(self) -> jax.Array:
        return jnp.array(self.values, int if self.of else float)


@dataclass(frozen=True)
class Head:
    """A categorical choice of a network: `repeats` independent draws among `choices`.

    Several actions in one head are drawn jointly: a choice is one combination of theirs.
    """

    actions: tuple[ActionSpace, ...]

    @property
    def repeats(self) -> int:
        return self.actions[0].repeats or 1

    @property
    def choices(self) -> int:
        return prod(len(action.values) for action in self.actions)

    def split(self, index: jax.Array) -> list[jax.Array]:
        """The choice of each action in a joint choice."""
        parts = []
        for action in reversed(self.actions):
            parts.append(index % len(action.values))
            index = index // len(action.values)
        return parts[::-1]

    def join(self, parts: Sequence[jax.Array]) -> jax.Array:
        """The joint choice of one choice per action; the inverse of `split`."""
        index = jnp.zeros_like(parts[0])
        for action, part in zip(self.actions, parts, strict=True):
            index = index * len(action.values) + part
        return index

    def allowed(self, openings: Mapping[str, tuple[float, jax.Array]]) -> jax.Array:
        """Which choices the windows leave open, (choices,).

        `openings` gives for an action the value at which its window starts and the share to which it is open.
        """
        mask = jnp.ones((), bool)
        for action in self.actions:
            mask = mask[..., None] & _open(action, openings.get(action.name))
        return mask.reshape(-1)


def _open(action: ActionSpace, opening: tuple[float, jax.Array] | None) -> jax.Array:
    values = jnp.array(action.values, float)
    if opening is None:
        return jnp.ones(values.shape, bool)
    start, share = opening
    slack = 1e-4 * (values.max() - values.min())
    low, high = start + share * (values.min() - start), start + share * (values.max() - start)
    return (values >= low - slack) & (values <= high + slack)


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
        found[action.symbol] = ActionSpace(
            action.symbol, owner, action.choices, action.of, agents, repeats, layout(model, symbol)
        )
    return found


def heads_of(agent: str, spaces: Mapping[str, ActionSpace], joint: Sequence[str]) -> tuple[Head, ...]:
    """The heads of a type's network; an action with a single choice needs none."""
    mine = [space for space in spaces.values() if space.agent == agent and len(space.values) > 1]
    together = tuple(space for space in mine if space.name in joint)
    heads = [Head((space,)) for space in mine if space not in together]
    return tuple(heads + ([Head(together)] if together else []))


def decode(
    agent: str,
    heads: Sequence[Head],
    indices: Sequence[jax.Array],
    spaces: Mapping[str, ActionSpace],
    economies: int,
) -> dict[str, jax.Array]:
    """Head choices, each (repeats, economies, agents), as actions in physical units, economies first.

    The remaining axes stand in the order of the compiled model's layout.
    """
    chosen: dict[str, jax.Array] = {}
    for head, index in zip(heads, indices, strict=True):
        for action, part in zip(head.actions, head.split(index), strict=True):
            chosen[action.name] = part
    actions = {}
    for name, space in spaces.items():
        if space.agent != agent:
            continue
        axes = [n for n, size in enumerate((space.agents, space.repeats)) if size is not None]
        if name not in chosen:
            shape = tuple((space.agents or 0, space.repeats or 0)[axes[k]] for k in space.stored)
            actions[name] = jnp.full((economies, *shape), space.table[0])
            continue
        index = chosen[name]
        values = index if space.of else space.table[index]
        # (repeats, economies, agents) -> (economies, agents, repeats) -> only the axes that exist, in stored order
        values = jnp.moveaxis(values, 0, -1)
        values = values.reshape((economies, *space.shape))
        actions[name] = jnp.transpose(values, (0, *(1 + k for k in space.stored)))
    return actions

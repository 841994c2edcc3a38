"""Exploits planted on purpose: changes of a trained behaviour that a good search must find a gain in leaving."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler.diagnostics import suggest
from rbcc.runtime.actions.spaces import ActionSpace, any_of, divided, nearest, numbers_of
from rbcc.runtime.economy.model import Model
from rbcc.runtime.errors import RunError
from rbcc.runtime.policies.policy import Indices, Policy, Sight
from rbcc.runtime.rollout.rollout import Player


@dataclass(frozen=True)
class Frozen:
    """`action` is always the choice number `choice`, for all agents of its type or for one `member`.

    Where that is not allowed it is the nearest choice that is. Of an interval `choice` is a share: 0 is its lower end,
    1 its upper; of shares it is the number of the member that gets all. There may be one for each member of the type
    that the action is over; a negative one changes nothing.
    """

    agent: str
    action: str
    choice: float | tuple[float, ...]
    member: int | None = None


@dataclass(frozen=True)
class Random:
    """Each agent of the type plays choices in a `share` of its steps that are uniformly random among those allowed."""

    agent: str
    share: float


@dataclass(frozen=True)
class Scaled:
    """Values of `action` are `factor` times what they were, for all agents of its type or for one `member`.

    Of a finite set the nearest, of two the lower one, and then the nearest that is allowed; of an interval it is the
    distance from the lower end.
    """

    agent: str
    action: str
    factor: float
    member: int | None = None


Plant = Frozen | Random | Scaled


def shutdown(model: Model) -> list[Frozen]:
    """What agents do who do nothing, as the spec's `verify.shutdown` says."""
    plants = []
    for name, value in model.ir.verification.shutdown:
        space = model.spaces[name]
        choice = value if space.continuous else int(np.argmin(np.abs(np.array(space.values) - value)))
        plants.append(Frozen(space.agent, name, choice))
    return plants


def planted(policy: Policy, player: Player, plants: Sequence[Plant]) -> Player:
    """`player` with the behaviour of its type changed by `plants`."""
    for plant in plants:
        if plant.agent == policy.agent:
            match plant:
                case Frozen():
                    player = _frozen(policy, player, plant)
                case Random():
                    player = _random(policy, player, plant)
                case Scaled():
                    player = _scaled(policy, player, plant)
    return player


def _random(policy: Policy, player: Player, plant: Random) -> Player:
    def play(sight: Sight, uniform: jax.Array) -> tuple[Indices, Any]:
        indices, record = player.play(sight, uniform[: player.draws])
        strays = uniform[player.draws] < plant.share
        noise, row, mixed = uniform[player.draws + 1 :], 0, []
        for head, index in zip(policy.stacked_heads, policy.apart(indices), strict=True):
            own = noise[row : row + head.repeats]
            if head.shares:
                drawn = numbers_of(divided(own))
            elif head.continuous:
                drawn = _unbounded(own)
            elif head.restricted:
                drawn = any_of(jnp.moveaxis(head.within(sight.allowed), 1, 0), own).astype(index.dtype)
            else:
                drawn = jnp.minimum(jnp.floor(own * head.choices).astype(index.dtype), head.choices - 1)
            mixed.append(jnp.where(strays, drawn, index))
            row += head.repeats
        return policy.together(mixed), record

    return Player(player.draws + 1 + policy.draws, play)


def _unbounded(share: jax.Array) -> jax.Array:
    """The number whose logistic function is `share`, of those that can be told from 0 and 1."""
    least = jnp.finfo(float).eps
    return jax.scipy.special.logit(jnp.clip(share, least, 1 - least))


def _held(action: ActionSpace, choice: jax.Array) -> jax.Array:
    """What stands for a choice where all draws of an action are, (repeats, 1, 1) of shares."""
    if action.shares:
        return numbers_of(jax.nn.one_hot(choice.astype(int), action.repeats or 1))[:, None, None]
    return _unbounded(choice) if action.interval else choice


def _all_or_one(policy: Policy, member: int | None) -> jax.Array:
    members = jnp.arange(policy.agents)
    return jnp.ones_like(members, bool) if member is None else members == member


def by_member(choices: jax.Array) -> jax.Array:
    """Choices of an action for each member of the type that it is over, (n,), as `holding` takes them."""
    return choices[0] if len(choices) == 1 else choices[:, None, None]


def _frozen(policy: Policy, player: Player, plant: Frozen) -> Player:
    who = _all_or_one(policy, plant.member)
    return holding(policy, player, {plant.action: by_member(jnp.atleast_1d(jnp.asarray(plant.choice)))}, who)


def _scaled(policy: Policy, player: Player, plant: Scaled) -> Player:
    who = _all_or_one(policy, plant.member)

    def change(action: ActionSpace, part: jax.Array) -> jax.Array:
        if action.name != plant.action:
            return part
        if action.interval:
            scaled = _unbounded(jnp.minimum(plant.factor * jax.nn.sigmoid(part), 1))
        else:
            values = np.array(action.values)
            distances = np.abs(values - plant.factor * values[:, None])
            ties = distances <= distances.min(axis=1, keepdims=True) + 1e-9 * np.abs(values).max()
            scaled = jnp.asarray(np.where(ties, values, np.inf).argmin(axis=1))[part].astype(part.dtype)
        return jnp.where(who, scaled, part)

    return _changing(policy, player, change)


def holding(policy: Policy, player: Player, choices: Mapping[str, jax.Array], who: jax.Array) -> Player:
    """`player`, but the agents that `who`, (agents,) or (economies, agents), tells always make these `choices`.

    They are numbers of choices by action, of intervals shares, and are broadcast to (repeats, economies, agents); where
    one is negative the player chooses.
    """

    def change(action: ActionSpace, part: jax.Array) -> jax.Array:
        if action.name not in choices:
            return part
        choice = choices[action.name]
        return jnp.where(who & (choice >= 0), _held(action, choice).astype(part.dtype), part)

    return _changing(policy, player, change)


def _changing(policy: Policy, player: Player, change: Callable[[ActionSpace, jax.Array], jax.Array]) -> Player:
    """`player`, but of each action `change` makes what is chosen of what `player` chooses, both (repeats, ...).

    What is not allowed becomes the nearest choice that is.
    """

    def possible(action: ActionSpace, part: jax.Array, sight: Sight) -> jax.Array:
        changed = change(action, part)
        if not action.restricted:
            return changed
        allowed = jnp.moveaxis(sight.allowed[action.name], 1, 0)
        return nearest(action, changed, allowed).astype(part.dtype)

    def play(sight: Sight, uniform: jax.Array) -> tuple[Indices, Any]:
        indices, record = player.play(sight, uniform)
        changed = []
        for head, index in zip(policy.stacked_heads, policy.apart(indices), strict=True):
            parts = zip(head.actions, head.split(index), strict=True)
            changed.append(head.join([possible(action, part, sight) for action, part in parts]))
        return policy.together(changed), record

    return Player(player.draws, play)


_PLANT = re.compile(
    r"\s*(?P<agent>\w+)(\[(?P<member>[0-9]{1,9})\])?\.(?P<what>\w+)\s*(?P<does>[=*])\s*(?P<value>[-+.0-9eE]+)(?P<percent>%?)\s*"
)


def read_plant(model: Model, text: str) -> Plant:
    """The exploit that `text` describes: `baker.random=20%`, `seller.quantity=30`, `seller[0].quantity=30` or
    `seller.quantity*50%`.

    Raises RunError, saying what was expected, if it describes none.
    """
    found = _PLANT.fullmatch(text)
    if found is None:
        space = next(iter(model.spaces.values()))
        shares = model.ir.action(space.name).shares
        value = "0" if shares else "50%" if space.interval else f"{space.values[-1]:g}"
        raise RunError(
            f"'{text}' is not an exploit; write for example {space.agent}.random=20% or {space.name}={value}"
        )
    agent, what, member = found["agent"], found["what"], found["member"]
    agents = sorted({space.agent for space in model.spaces.values()})
    if agent not in agents:
        raise RunError(f"'{text}': there is no agent type '{agent}' with choices{_meant(agent, agents)}")
    try:
        value = float(found["value"]) / (100 if found["percent"] else 1)
    except ValueError:
        raise RunError(f"'{text}': '{found['value']}' is not a number") from None
    if what == "random" and member is None and found["does"] == "=":
        if not 0 < value <= 1:
            raise RunError(f"'{text}': a share is between 0 and 100%")
        return Random(agent, value)
    own = {name.partition(".")[2]: space for name, space in model.spaces.items() if space.agent == agent}
    if what == "random" and what not in own:
        raise RunError(f"'{text}': write {agent}.random=20%; it is for all agents of a type")
    if what not in own:
        raise RunError(f"'{text}': {agent} has no choice '{what}'{_meant(what, own)}")
    space = own[what]
    if found["does"] == "*":
        kind = "shares, which sum to 1" if model.ir.action(space.name).shares else f"a {space.of}" if space.of else None
        if kind is not None:
            raise RunError(f"'{text}': {what} is {kind}; it is not multiplied")
        if not 0 <= value < math.inf:
            raise RunError(f"'{text}': write what {what} is multiplied with, such as 50%")
        return Scaled(agent, space.name, value, _member(model, agent, member, text))
    if space.interval:
        if not found["percent"] or not 0 <= value <= 1:
            raise RunError(f"'{text}': {what} is chosen from an interval; write a share of it, from 0% to 100%")
        return Frozen(agent, space.name, value, _member(model, agent, member, text))
    if model.ir.action(space.name).shares:  # of one member too, which makes them no choice
        other = model.ir.symbol(space.name).sets[-1]
        if found["percent"] or value not in range(model.ir.count(other)):
            last = model.ir.count(other) - 1
            raise RunError(
                f"'{text}': {what} is shares; write the number of the {other} that gets all, from 0 to {last}"
            )
        return Frozen(agent, space.name, value, _member(model, agent, member, text))
    choice = next((k for k, v in enumerate(space.values) if math.isclose(v, value, abs_tol=1e-12)), None)
    if choice is None:
        raise RunError(f"'{text}': {what} can be {', '.join(f'{v:g}' for v in space.values)}")
    return Frozen(agent, space.name, choice, _member(model, agent, member, text))


def _member(model: Model, agent: str, member: str | None, text: str) -> int | None:
    if member is not None and int(member) >= model.ir.count(agent):
        raise RunError(f"'{text}': {agent} are numbered 0 to {model.ir.count(agent) - 1}")
    return int(member) if member else None


def _meant(name: str, known: Iterable[str]) -> str:
    close = suggest(name, known)
    return f"; did you mean '{close}'?" if close else f"; known: {', '.join(known)}"

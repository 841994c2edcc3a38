"""Exact gains in small economies: best responses by dynamic programming on the compiled step.

Where all choices come from finite sets and nothing is drawn, the states that an episode can reach are finite in number.
All are listed, step by step, with what every combination of choices pays and leads to. From the last step back,

    V(s) = max over own choices of E[reward less penalties + discount * V(next state)],

of those that it has in that state, with the choices of all others from the probabilities that their frozen policies
have there (Bellman 1957). That is the payoff of a deviator who knows the state, and the choices of types that choose
before it. Whoever knows less, or remembers more, earns no more than that: all others look at the current step only. So
it bounds every best response; it is one if it depends on nothing that the deviator does not see, as in an episode of
one step in which all choose at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import log10, prod
from types import MappingProxyType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.runtime.actions.spaces import decode
from rbcc.runtime.errors import RunError
from rbcc.runtime.policies.policy import Indices, Parameters, Policy, Sight, sharpened
from rbcc.runtime.rollout.rollout import Player, Trajectory, allowed, fixed_features, observe, penalised
from rbcc.runtime.validation.conditions import sane
from rbcc.runtime.verification.best_response.learned import Arena, Deviator, Notion
from rbcc.runtime.verification.perturbations import Frozen, Plant, Random, planted


MOST = 2_000_000
"""Pairs of a state and a choice of everyone in it that are tried at most, over all steps."""
Offers = Mapping[str, np.ndarray]
"""Which choices agents have in n cases, by action with a condition, (n, repeats, choices, agents)."""
CHUNK = 4096
"""Pairs in one call of a program."""
TIE = 1e-12
"""Payoffs that differ by less, relatively, are rounded differently."""


class Unsolved(RunError):
    """An economy whose best responses cannot be computed exactly; the message says why."""


@dataclass(frozen=True)
class Response:
    """What a best response gains, at most.

    `gains`, (agents,), of each agent when it alone deviates, or (1,), of the mean agent when all do together.
    `attained` if the deviator sees all that this takes: then it is what a best response gains.
    """

    gains: np.ndarray
    attained: bool


@dataclass(frozen=True)
class Answer:
    """The exact answer to one question, in units of the payoff.

    No deviation gains more than `gain`, in the mean over the agents of the type; of those who deviate alone agent
    `single` may gain the most, `largest`. `attained` as in `Response`. A deviation that was found gains `found`, for
    one agent at most `found_largest`.
    """

    payoff: float
    gain: float
    largest: float
    single: int
    attained: bool
    found: float
    found_largest: float

    def within(self, limit: float) -> bool | None:
        """Whether no one gains more than `limit`; None if that cannot be told."""
        if self.largest <= limit:
            return True
        return False if self.attained or self.found_largest > limit else None


def _difference(value: float, base: float) -> float:
    """`value` less `base`, 0 if that is nothing but rounding."""
    return value - base if abs(value - base) > TIE * max(abs(value), abs(base)) else 0.0


@dataclass(frozen=True)
class _Side:
    """The choices of the agents of one type, all that one agent chooses in a step taken as one of `count` choices."""

    policy: Policy
    stage: int

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The number of choices in each draw of one agent."""
        return tuple(head.choices for head in self.policy.stacked_heads for _ in range(head.repeats))

    @cached_property
    def count(self) -> int:
        return prod(self.sizes)

    @property
    def together(self) -> int:
        """Choices of all agents of the type."""
        return self.count**self.policy.agents

    def indices(self, numbers: jax.Array) -> Indices:
        """The choices with `numbers` (n, agents), for each stack of heads, (repeats, n, agents)."""
        rows, parts = jnp.stack(jnp.unravel_index(numbers, self.sizes)), []
        for head in self.policy.stacked_heads:
            parts.append(rows[: head.repeats])
            rows = rows[head.repeats :]
        return self.policy.together(parts)

    def numbers(self, indices: Indices) -> np.ndarray:
        """The inverse of `indices`."""
        rows = np.concatenate([np.asarray(part, int) for part in self.policy.apart(indices)])
        return np.asarray(np.ravel_multi_index(tuple(rows), self.sizes))

    def chances(self, logits: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities of all choices, (n, agents, count), from logits per stack, (n, repeats, choices, agents)."""
        count, *_, agents = logits[0].shape
        joint = np.ones((count, agents, 1))
        rows = [row for part in logits for row in np.moveaxis(part.astype(float), (1, 2), (0, -1))]
        for row, size in zip(rows, self.sizes, strict=True):
            weights = np.exp(row[..., :size] - row[..., :size].max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            joint = (joint[..., None] * weights[..., None, :]).reshape(count, agents, -1)
        return joint

    def planted(self, chances: np.ndarray, plants: Sequence[Plant], offers: Offers) -> np.ndarray:
        """Probabilities, (n, agents, count), after the changes that `plants` make in them, one after another."""
        for plant in plants:
            if plant.agent != self.policy.agent:
                continue
            if isinstance(plant, Random):
                possible = self.possible(offers)
                chances = (1 - plant.share) * chances + plant.share * possible / possible.sum(-1, keepdims=True)
                continue
            before, chances = chances, np.zeros_like(chances)
            size = max(1, CHUNK // self.count) if offers else len(before)
            for first in range(0, len(before), size):
                part = slice(first, first + size)
                moved = self.moved(plant, {name: own[part] for name, own in offers.items()})
                for number in range(self.policy.agents):
                    new, old = chances[part, number], before[part, number]
                    np.add.at(new, (np.arange(len(new))[:, None], moved[..., number]), old)
        return chances

    def moved(self, plant: Plant, offers: Offers) -> np.ndarray:
        """What a plant that draws nothing makes of each choice of each agent, (n, count, agents), n = 1 if there are no
        `offers`."""
        agents, n = self.policy.agents, max([1, *(len(own) for own in offers.values())])
        each = jnp.tile(jnp.arange(self.count), n)[:, None]
        every = self.indices(jnp.broadcast_to(each, (len(each), agents)))
        nothing = jnp.zeros((0, len(each), agents))
        allowed = {
            name: jnp.repeat(jnp.moveaxis(jnp.asarray(own), 0, 2), self.count, axis=2) for name, own in offers.items()
        }
        player = planted(self.policy, Player(0, lambda sight, uniform: (every, None)), [plant])
        sight = Sight(nothing[..., 0], nothing, None, jnp.arange(agents), allowed)
        return self.numbers(player.play(sight, nothing)[0]).reshape(n, self.count, agents)

    def possible(self, offers: Offers) -> np.ndarray:
        """Which choices are allowed, (n, agents, count), n = 1 if there are no `offers`."""
        joint = np.ones((1, self.policy.agents, 1), bool)
        for head in self.policy.stacked_heads:
            own = np.ones((head.repeats, head.choices, 1, 1), bool)
            if head.restricted:
                own = np.asarray(head.within({name: jnp.moveaxis(jnp.asarray(x), 0, 2) for name, x in offers.items()}))
            for row in np.moveaxis(own, 1, -1):  # (n, agents, choices of the head)
                joint = joint[..., None] & row[..., None, :]
                joint = joint.reshape(*joint.shape[:2], -1)
        return joint


@dataclass(frozen=True)
class _Level:
    """All that can happen in one step of an episode.

    `states` by name, (states, ...). A pair is a state with the choices of everyone, those of the last type changing
    fastest: `payoffs` per type, (pairs, agents), and the numbers of the states that follow, (pairs,), none after the
    last step; of pairs with a choice that is not allowed both are 0. Per type, for each state and each choice of the
    types before it: the `chances` of its choices, (n, agents, count), a number for what each agent sees, `seen`, (n,
    agents), and its `offers`.
    """

    states: dict[str, np.ndarray]
    payoffs: dict[str, np.ndarray]
    following: np.ndarray | None
    chances: dict[str, np.ndarray]
    seen: dict[str, np.ndarray]
    offers: dict[str, Offers]


class Game:
    """The game that the policies of an arena play, with their plants: every state, all choices, what these pay.

    The economy is computed in double precision, policies in the precision in which they act. Raises Unsolved, with the
    reason, if the economy is not finite, or too large.
    """

    def __init__(self, arena: Arena):
        self.arena, self.model = arena, arena.model
        sides = {agent: _Side(p, self.model.ir.agent(agent).stage) for agent, p in arena.policies.items() if p.heads}
        self.sides = dict(sorted(sides.items(), key=lambda item: item[1].stage))
        if reason := self._obstacle():
            raise Unsolved(reason)
        self.profiles = prod(side.together for side in self.sides.values())
        self.fixed = fixed_features(self.model, {})
        with jax.enable_x64(True):
            self.discounts = {agent: float(factor) for agent, factor in self.model.module.discounts().items()}
        self._sights = {agent: _Numbers() for agent in self.sides}
        self.levels = tuple(self._explored())

    @property
    def pairs(self) -> int:
        """Pairs of a state and a choice of everyone in it, over all steps."""
        return sum(len(level.states["time"]) for level in self.levels) * self.profiles

    def playing(self, arena: Arena) -> Self:
        """The same game with the networks and plants of another arena: states, and what they pay, are the same."""
        other = copy(self)
        other.arena = arena
        other.levels = tuple(
            replace(level, chances=other._followed(level.states, level.offers)[0]) for level in self.levels
        )
        other.__dict__.pop("_payoffs", None)
        return other

    # --- what it pays ------------------------------------------------------------------------------------------

    def payoffs(self, agent: str) -> np.ndarray:
        """What each agent of a type earns with the policies as they are, (agents,)."""
        return self._payoffs[agent]

    @cached_property
    def _payoffs(self) -> dict[str, np.ndarray]:
        def of(agent: str) -> np.ndarray:
            return np.array([self._value(agent, weights, ())[0] for weights, _ in self._deviators(agent, "individual")])

        return {agent: of(agent) for agent in self.sides}

    def best(self, agent: str, notion: Notion) -> Response:
        """What a best response of a type gains: of each agent alone, or of all as a team."""
        gains, attained = [], True
        for weights, members in self._deviators(agent, notion):
            value, chosen = self._value(agent, weights, members)
            gains.append(_difference(value, float(self.payoffs(agent) @ weights)))
            attained = attained and self._measurable(agent, members, chosen)
        return Response(np.array(gains), attained)

    def gains(self, agent: str, notion: Notion, network: Parameters, plants: Sequence[Plant] = ()) -> np.ndarray:
        """What is gained by following `network`, changed by `plants`; of shape and meaning as in `Response`.

        A single deviator's network is one of `informed` policies, a team's one of the type's own.
        """
        side = self.sides[agent]
        policy = side.policy
        played = []
        for level in self.levels:
            looked, _ = self._looked(level.states, agent, policy, network, level.offers[agent])
            played.append(side.planted(looked, plants, level.offers[agent]))
        found = []
        for weights, members in self._deviators(agent, notion):
            alone = np.isin(np.arange(policy.agents), members)[:, None]
            chances = [
                np.where(alone, new, level.chances[agent]) for level, new in zip(self.levels, played, strict=True)
            ]
            value, _ = self._value(agent, weights, (), chances)
            found.append(_difference(value, float(self.payoffs(agent) @ weights)))
        return np.array(found)

    def answer(self, agent: str, notion: Notion, deviators: Sequence[tuple[Deviator | None, np.ndarray]]) -> Answer:
        """How much can be gained, beside what `deviators` gain, each with the agents, (agents,), who follow it."""
        best = self.best(agent, notion)
        found = np.zeros(len(best.gains))
        for deviator, who in deviators:
            if deviator is not None:
                held = [
                    Frozen(agent, name, tuple(np.asarray(choice).tolist())) for name, choice in deviator.held.items()
                ]
                found = np.where(who[: len(found)], self.gains(agent, notion, deviator.network, held), found)
        return Answer(
            float(self.payoffs(agent).mean()),
            float(best.gains.mean()),
            float(best.gains.max()),
            int(best.gains.argmax()),
            best.attained,
            float(found.mean()),
            float(found.max()),
        )

    def _deviators(self, agent: str, notion: Notion) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
        """Whose payoffs count how much, and who deviates, in each of the deviations of a notion."""
        agents = self.sides[agent].policy.agents
        if notion == "team":
            yield np.full(agents, 1 / agents), tuple(range(agents))
            return
        for number, weights in enumerate(np.eye(agents)):
            yield weights, (number,)

    def _value(
        self,
        agent: str,
        weights: np.ndarray,
        free: tuple[int, ...],
        chances: Sequence[np.ndarray] | None = None,
    ) -> tuple[float, list[np.ndarray]]:
        """The payoff of a type, a weighted sum over its agents, when its `free` agents choose best and the others as
        they do, or with `chances`; and what the free ones choose, together, in each step, from the last on.
        """
        value, chosen = np.zeros(1), []
        for step in reversed(range(len(self.levels))):
            level = self.levels[step]
            pays = level.payoffs[agent] @ weights
            if level.following is not None:
                pays = pays + self.discounts[agent] * value[level.following]
            played = level.chances if chances is None else {**level.chances, agent: chances[step]}
            value, best = self._expected(level, played, pays, agent, free)
            chosen.append(best)
        return float(value[0]), chosen[::-1]

    def _expected(
        self, level: _Level, chances: Mapping[str, np.ndarray], pays: np.ndarray, agent: str, free: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The value of each state, (states,), from what pairs pay; and what the free agents choose.

        From the stage that chooses last to the first: of those who choose at once, the expectation over all who are not
        free comes before the maximum of those who are.
        """
        chosen = np.zeros(0, int)
        for stage in reversed(range(self.model.ir.stages)):
            sides = [(name, side) for name, side in self.sides.items() if side.stage == stage]
            axes = [(name, number, side.count) for name, side in sides for number in range(side.policy.agents)]
            pays = pays.reshape(-1, *(count for *_, count in axes))
            for place, (name, number, _) in reversed(list(enumerate(axes))):
                if name != agent or number not in free:
                    pays = np.moveaxis(pays, 1 + place, -1)
                    rest = pays.shape[:-1]
                    own = chances[name][:, number, :, None]
                    pays = (pays.reshape(len(own), -1, own.shape[1]) @ own).reshape(rest)
            if free and self.sides[agent].stage == stage:
                pays = pays.reshape(len(pays), -1)
                if offers := level.offers[agent]:
                    pays = np.where(_together(self.sides[agent].possible(offers)[:, list(free)]), pays, -np.inf)
                chosen = self._best(pays, level.seen[agent][:, list(free)], self.sides[agent].count)
                pays = pays.max(axis=1)
        return pays, chosen

    @staticmethod
    def _best(pays: np.ndarray, seen: np.ndarray, count: int) -> np.ndarray:
        """The best choice of all who are free together: if there are several, one in which those who see the same
        choose the same. `pays` is (n, choices), `seen` (n, agents)."""
        agents = seen.shape[1]
        choices = np.unravel_index(np.arange(pays.shape[1]), (count,) * agents)
        alike = np.ones(pays.shape, bool)
        for one in range(agents):
            for other in range(one):
                alike &= (seen[:, one] != seen[:, other])[:, None] | (choices[one] == choices[other])
        best = pays.max(axis=1, keepdims=True)
        good = pays >= best - TIE * np.abs(best)
        return np.where((good & alike).any(axis=1), (good & alike).argmax(axis=1), pays.argmax(axis=1))

    def _measurable(self, agent: str, members: tuple[int, ...], chosen: Sequence[np.ndarray]) -> bool:
        """Whether whoever sees the same chooses the same, in all states."""
        sizes, found = (self.sides[agent].count,) * len(members), []
        for level, own in zip(self.levels, chosen, strict=True):
            seen = level.seen[agent][:, list(members)].T
            found.append(np.stack([seen, np.stack(np.unravel_index(own, sizes))]).reshape(2, -1))
        pairs = np.unique(np.concatenate(found, axis=1), axis=1)
        return len(np.unique(pairs[0])) == pairs.shape[1]

    # --- listing the states ------------------------------------------------------------------------------------

    def _obstacle(self) -> str | None:
        """Why the game has no finite number of states that can be listed, if it has none."""
        model = self.model.ir
        if model.continuing:
            return "the economy goes on after its episodes"
        if model.held:
            return "agents take values as given"
        endless = next((name for name, space in self.model.spaces.items() if not space.values), None)
        if endless is not None:
            return f"{endless} is not chosen from a finite set"
        for definition in (*model.starts, *model.equations):
            if any(isinstance(node, ir.Draw) for node in ir.walk(definition.expression)):
                return f"{definition.symbol} is drawn at random"
        digits = sum(side.policy.agents * sum(map(log10, side.sizes)) for side in self.sides.values())
        if digits > log10(MOST):
            number = f"{10**digits:,.0f}" if digits < 12 else f"10^{digits:.0f}"
            return f"all agents together have about {number} choices in a step; {MOST:,} at most are tried"
        return None

    def _check_size(self, pairs: int) -> None:
        if pairs > MOST:
            raise Unsolved(f"{pairs:,} pairs of a state and choices of all agents, or more; {MOST:,} at most are tried")

    def _explored(self) -> Iterator[_Level]:
        with jax.enable_x64(True):
            start = jax.device_get(self.model.module.reset(jax.random.key(0), {}))
        states = {name: np.asarray(array)[None] for name, array in start.items()}
        horizon, tried = self.model.ir.horizon, 0
        for step in range(horizon):
            left = horizon - step - 1
            pairs = len(states["time"]) * self.profiles
            self._check_size(tried + pairs + left * self.profiles)
            tried += pairs
            offers = {agent: self._offered(states, agent) for agent in self.sides}
            payoffs, following, later = self._played(
                states, bool(left), tried, self._possible(len(states["time"]), offers)
            )
            chances, seen = self._followed(states, offers)
            yield _Level(states, payoffs, following, chances, seen, offers)
            states = later

    def _offered(self, states: dict[str, np.ndarray], agent: str) -> Offers:
        """Which choices a type has, of actions that have a condition, for each state and choice of those before it."""
        if not any(head.restricted for head in self.sides[agent].policy.heads):
            return {}
        with jax.enable_x64(True):
            parts = list(self._chunks(partial(self._offer, agent), states, self._before(agent)))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _before(self, agent: str) -> int:
        """In how many ways the types of earlier stages than a type's can choose together."""
        stage = self.sides[agent].stage
        return prod(other.together for other in self.sides.values() if other.stage < stage)

    def _possible(self, states: int, offers: Mapping[str, Offers]) -> np.ndarray | None:
        """In which pairs all choices are allowed, (pairs,); None if all are."""
        if not any(offers.values()):
            return None
        axes = [(agent, number) for agent, side in self.sides.items() for number in range(side.policy.agents)]
        sizes = tuple(self.sides[agent].count for agent, _ in axes)
        found = np.ones((states, *sizes), bool)
        for place, (agent, number) in enumerate(axes):
            if offers[agent]:
                own = self.sides[agent].possible(offers[agent])[:, number]
                first = next(place for place, (name, _) in enumerate(axes) if self._before(name) == self._before(agent))
                shape = (states, *sizes[:first], *(n if k == place else 1 for k, n in enumerate(sizes) if k >= first))
                found &= own.reshape(shape)
        return found.reshape(-1)

    def _followed(
        self, states: dict[str, np.ndarray], offers: Mapping[str, Offers]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The `chances` and `seen` of a `_Level`, with the networks and plants of the arena."""
        chances, seen = {}, {}
        for agent, side in self.sides.items():
            looked, seen[agent] = self._looked(states, agent, side.policy, self.arena.networks[agent], offers[agent])
            chances[agent] = side.planted(looked, self.arena.plants, offers[agent])
        return chances, seen

    def _played(
        self, states: dict[str, np.ndarray], go_on: bool, tried: int, possible: np.ndarray | None
    ) -> tuple[dict[str, np.ndarray], np.ndarray | None, dict[str, np.ndarray]]:
        """What all `possible` pairs pay; if the episode does `go_on`, also the numbers of the states that follow, and
        these."""
        numbering, numbers, done = _Numbers(), [], 0
        payoffs: list[dict[str, np.ndarray]] = []
        new: list[dict[str, np.ndarray]] = []
        with jax.enable_x64(True):
            for following, pays in self._chunks(self._step, states, self.profiles):
                count = len(next(iter(pays.values())))
                here = np.ones(count, bool) if possible is None else possible[done : done + count]
                done += count
                if possible is not None:
                    pays = {agent: np.where(here[:, None], own, 0) for agent, own in pays.items()}
                    following = {name: array[here] for name, array in following.items()}
                _check_finite(pays, "a payoff")
                payoffs.append(pays)
                if go_on:
                    _check_finite(following, "the next value")
                    found, first = numbering.of([array.reshape(len(array), -1) for array in following.values()])
                    numbers.append(np.zeros(count, int))
                    numbers[-1][here] = found
                    new.append({name: array[first] for name, array in following.items()})
                    self._check_size(tried + len(numbering) * self.profiles)
        joined = {agent: np.concatenate([part[agent] for part in payoffs]) for agent in self.sides}
        if not go_on:
            return joined, None, {}
        later = {name: np.concatenate([part[name] for part in new]) for name in states}
        return joined, np.concatenate(numbers), later

    def _looked(
        self, states: dict[str, np.ndarray], agent: str, policy: Policy, network: Parameters, offers: Offers
    ) -> tuple[np.ndarray, np.ndarray]:
        """The chances of a type's choices under a network, and numbers of what its agents see, as in `_Level`."""
        side = self.sides[agent]
        chances, numbers = [], []
        looked = self._chunks(partial(self._look, agent, policy, network), states, self._before(agent), offers)
        for shared, own, logits in looked:
            chances.append(side.chances(logits))
            plane = own.shape[:2]
            rows = np.concatenate([np.broadcast_to(shared[:, None], (*plane, shared.shape[1])), own], axis=-1)
            found, _ = self._sights[agent].of([rows.reshape(plane[0] * plane[1], -1 if rows.size else 0)])
            numbers.append(found.reshape(plane))
        return np.concatenate(chances), np.concatenate(numbers)

    def _chunks(
        self,
        program: Callable[..., Any],
        states: Mapping[str, np.ndarray],
        profiles: int,
        offers: Offers = MappingProxyType({}),
    ) -> Iterator[Any]:
        """What `program` makes of each state with each of `profiles` choices, chunk by chunk, always of one size; it
        also gets their `offers` if there are any."""
        total = len(states["time"]) * profiles
        for first in range(0, total, CHUNK):
            pairs = np.minimum(np.arange(first, first + CHUNK), total - 1)
            given = {name: array[pairs // profiles] for name, array in states.items()}
            own = [{name: array[pairs] for name, array in offers.items()}] if offers else []
            found = jax.device_get(program(given, pairs % profiles, *own))
            yield jax.tree.map(lambda array: array[: total - first], found)  # noqa: B023

    @cached_property
    def _step(self) -> Callable[..., Any]:
        key = jax.random.key(0)  # nothing is drawn

        def step(states: Any, numbers: jax.Array) -> Any:
            count = len(numbers)
            actions = self._actions(numbers, self.model.ir.stages)
            following, result = jax.vmap(lambda s, a: self.model.module.step(s, a, key, {}))(states, actions)
            rewards, violations = (
                {name: array.reshape(count, -1) for name, array in result[part].items()}
                for part in ("rewards", "violations")
            )
            played = Trajectory({}, rewards, violations, jnp.zeros(0))
            return following, {agent: penalised(played, agent, self.arena.multipliers) for agent in self.sides}

        return jax.jit(step)

    @cached_property
    def _look(self) -> Callable[..., Any]:
        def look(
            agent: str, policy: Policy, network: Parameters, states: Any, numbers: jax.Array, offers: Any = None
        ) -> Any:
            stage = self.sides[agent].stage
            seen = observe(self.model, states, self._actions(numbers, stage), {}, self.fixed, stage, {})[agent]
            seen = seen.of(jnp.broadcast_to(jnp.arange(policy.agents), seen.plane))
            # In the precision of the economy: what is allowed here was tried there.
            seen = replace(seen, allowed={name: jnp.moveaxis(own, 0, 2) for name, own in (offers or {}).items()})
            logits, _ = policy(network, seen)
            masks = policy.within(policy.allowed(), seen)
            logits = sharpened(logits, masks, network, policy.stacks)
            logits = [
                jnp.where(mask, x, -jnp.inf) if stack.restricted else x
                for x, mask, stack in zip(logits, masks, policy.stacks, strict=True)
            ]
            return seen.shared.T, jnp.moveaxis(seen.own, 0, -1), tuple(jnp.moveaxis(x, 2, 0) for x in logits)

        return jax.jit(look, static_argnums=(0, 1))

    @cached_property
    def _offer(self) -> Callable[..., Any]:
        def offer(agent: str, states: Any, numbers: jax.Array) -> Any:
            stage = self.sides[agent].stage
            found = allowed(self.model, states, self._actions(numbers, stage), {}, stage, {})
            own = {name: x for name, x in found.items() if self.model.spaces[name].agent == agent}
            return {name: jnp.moveaxis(x, 2, 0) for name, x in own.items()}

        return jax.jit(offer, static_argnums=0)

    def _actions(self, numbers: jax.Array, stages: int) -> dict[str, jax.Array]:
        """The choices of the types that choose in the first `stages`, of the profiles with `numbers`."""
        early = {agent: side for agent, side in self.sides.items() if side.stage < stages}
        sizes = tuple(side.count for side in early.values() for _ in range(side.policy.agents))
        chosen = jnp.stack(jnp.unravel_index(numbers, sizes), axis=-1) if sizes else numbers[:, None]
        indices: dict[str, Indices] = {}
        for agent, side in early.items():
            indices[agent] = side.indices(chosen[:, : side.policy.agents])
            chosen = chosen[:, side.policy.agents :]
        actions: dict[str, jax.Array] = {}
        for agent, policy in self.arena.policies.items():
            if self.model.ir.agent(agent).stage < stages:
                own = indices.get(agent, ())
                actions |= decode(agent, policy.stacks, own, self.model.spaces, {}, len(numbers))
        return actions


def _together(possible: np.ndarray) -> np.ndarray:
    """Which joint choices of several agents are possible, (n, choices), from those of each, (n, agents, count)."""
    joint = np.ones((len(possible), 1), bool)
    for own in np.moveaxis(possible, 1, 0):
        joint = (joint[..., None] & own[:, None]).reshape(len(possible), -1)
    return joint


def _check_finite(arrays: Mapping[str, np.ndarray], what: str) -> None:
    wrong = next((name for name, array in arrays.items() if not np.asarray(sane(array)).all()), None)
    if wrong is not None:
        raise Unsolved(f"some choices give {wrong} {what} that is not a finite number")


class _Numbers:
    """Numbers for rows of numbers: 0, 1, ... in the order in which they are first met."""

    def __init__(self) -> None:
        self.known: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.known)

    def of(self, parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The number of each row, in which `parts` (rows, ...) stand side by side, and which rows are new."""
        before, count = len(self.known), len(parts[0])
        bare = [np.ascontiguousarray(np.where(part == 0, 0, part).astype(part.dtype)) for part in parts]  # no -0
        rows = np.concatenate([part.view(np.uint8) for part in bare if part.size] or [np.zeros((count, 1))], axis=1)
        numbers = np.array([self.known.setdefault(row.tobytes(), len(self.known)) for row in rows], int)
        found, first = np.unique(numbers, return_index=True)
        return numbers, first[found >= before]

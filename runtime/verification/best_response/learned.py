"""Playing otherwise than trained: deviators that learn a best response to frozen policies."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Compiled

from rbcc.runtime import prng
from rbcc.runtime.actions.spaces import ActionSpace, shares_of
from rbcc.runtime.economy.model import Model
from rbcc.runtime.learners.pathwise import ascend
from rbcc.runtime.learners.ppo import batch_of, fresh_optimizer, update
from rbcc.runtime.parallel.devices import ALL, BY_ECONOMY, Placement
from rbcc.runtime.policies.policy import Indices, Masks, Parameters, Policy, Sight, of_members
from rbcc.runtime.rollout.rollout import (
    Player,
    Players,
    Trajectory,
    drawn,
    individual,
    keys_of,
    penalised,
    rollout,
    sampling,
)
from rbcc.runtime.verification.perturbations import Plant, by_member, holding, planted, shutdown


Notion = Literal["individual", "team"]

# While individual deviators learn, this share of a type's agents deviates at once, for more data; estimates use one.
LEARNING_SHARE = 0.03
# A team learns from at most this many of its agents, drawn anew in each iteration: they act alike and share the payoff.
TEAM_SAMPLE = 8
VALUE_WEIGHT, GRADIENT_CLIP = 0.5, 2.0
# This share of an interval at either side counts as its end; who gets all of a whole but this gets all.
END = 0.005


@dataclass(frozen=True)
class Arena:
    """The frozen economy in which deviators play: its policies, plants and multipliers.

    `economies` are played at a time, shared among the devices of `placement`. `networks` also value what follows after
    the last step.
    """

    model: Model
    policies: Mapping[str, Policy]
    networks: Mapping[str, Parameters]
    multipliers: Mapping[str, jax.Array]
    plants: tuple[Plant, ...]
    economies: int
    placement: Placement

    @property
    def own(self) -> jax.Array:
        """The numbers of a device's own economies."""
        return self.placement.share.economies(self.economies)

    @property
    def frozen(self) -> tuple[Mapping[str, Parameters], Mapping[str, jax.Array]]:
        """What `among` takes."""
        return self.networks, self.multipliers

    def among(self, networks: Mapping[str, Parameters], multipliers: Mapping[str, jax.Array]) -> "Arena":
        """The same economy with other frozen policies."""
        return replace(self, networks=networks, multipliers=multipliers)

    def players(
        self, networks: Mapping[str, Parameters], masks: Mapping[str, Masks] | None = None
    ) -> dict[str, Player]:
        """Players of the policies, and then the plants; `masks` are by default those that allow every choice."""
        found = {}
        for agent, policy in self.policies.items():
            mask = masks[agent] if masks else policy.allowed()
            found[agent] = planted(policy, sampling(policy, networks[agent], mask), self.plants)
        return found

    def play(
        self, players: Players, key: jax.Array, held: Mapping[str, jax.Array] = MappingProxyType({})
    ) -> Trajectory:
        return rollout(self.model, self.policies, players, key, self.own, {}, held=held)

    def payoffs(self, played: Trajectory) -> dict[str, jax.Array]:
        """Discounted payoffs of whole episodes per type, (economies, agents).

        Where the economy goes on after its episodes, what follows counts as the trained policies value it, which they
        do up to a constant: they learn from rewards less their mean.
        """
        factors, horizon = self.model.module.discounts(), self.model.ir.horizon
        steps = jnp.arange(horizon)[:, None, None]
        found = {}
        for agent, policy in self.policies.items():
            payoff = jnp.sum(factors[agent] ** steps * penalised(played, agent, self.multipliers), axis=0)
            if played.last:
                _, value = policy(self.networks[agent], played.last[agent])
                payoff = payoff + factors[agent] ** horizon * value * self.reward_scale(agent)
            found[agent] = payoff
        return found

    def reward_scale(self, agent: str) -> jax.Array:
        """By what a type's rewards are divided at the end of training."""
        phase = self.model.ir.phases[-1]
        return getattr(self.model.module, f"schedule_{phase.name}")(phase.iterations, 1.0)["learners"][agent][
            "reward_scale"
        ]


@dataclass(frozen=True)
class Played:
    """What frozen policies come to: payoffs per type, (episodes, agents), means of indicators, and how often each
    choice of each action is taken (as in `_use`), by type and action."""

    payoffs: dict[str, np.ndarray]
    indicators: dict[str, np.ndarray]
    use: dict[str, dict[str, np.ndarray]]


class Base:
    """Plays the economy without deviators: `arena` with some of its policies' choices withheld, or other networks."""

    def __init__(self, arena: Arena):
        self.arena = arena
        self.program = arena.placement.program(self._batch, (ALL,) * 5, (BY_ECONOMY, ALL))

    def among(self, networks: Mapping[str, Parameters], multipliers: Mapping[str, jax.Array]) -> "Base":
        """The same with other frozen policies, which share its program."""
        other = copy(self)
        other.arena = self.arena.among(networks, multipliers)
        return other

    def __call__(
        self, networks: Mapping[str, Parameters], offered: Mapping[str, np.ndarray], key: jax.Array, batches: int
    ) -> Played:
        """What `networks` come to in `batches` of `arena.economies` episodes; `offered` restricts some choices."""
        arena = self.arena
        masks = {
            agent: policy.allowed({name: jnp.asarray(x) for name, x in offered.items()})
            for agent, policy in arena.policies.items()
        }
        payoffs, means = _stacked(
            [self.program(arena.frozen, networks, masks, key, jnp.int32(number)) for number in range(batches)]
        )
        indicators, use = jax.tree.map(partial(np.mean, axis=0), means)
        names = [indicator.name for indicator in arena.model.ir.indicators]
        return Played(_episodes(payoffs), dict(zip(names, indicators, strict=True)), use)

    def _batch(
        self,
        frozen: Any,
        networks: Mapping[str, Parameters],
        masks: Mapping[str, Masks],
        key: jax.Array,
        number: jax.Array,
    ) -> Any:
        arena = self.arena.among(*frozen)
        players = {agent: _recording(player) for agent, player in arena.players(networks, masks).items()}
        playing, _ = keys_of(key, number)
        played = arena.play(players, playing)
        use = {agent: _use(arena.policies[agent], played.records[agent]) for agent in arena.policies}
        means = jnp.mean(played.indicators, axis=0), use
        return arena.payoffs(played), arena.placement.share.mean(means)


def idle(arena: Arena) -> tuple[Arena, dict[str, np.ndarray]]:
    """The economy in which all do nothing, as the spec's `verify.shutdown` says, and the choices that are offered in
    it."""
    offered, held = {}, []
    for plant in shutdown(arena.model):
        space = arena.model.spaces[plant.action]
        if space.continuous or space.restricted:  # where it is not allowed the nearest choice is played
            held.append(plant)
        else:
            offered[plant.action] = np.arange(len(space.values)) == plant.choice
    return (replace(arena, plants=tuple(held)) if held else arena), offered


def _recording(player: Player) -> Player:
    """`player`, recording its choices after all plants."""

    def play(sight: Sight, uniform: jax.Array) -> Any:
        indices, _ = player.play(sight, uniform)
        return indices, indices

    return Player(player.draws, play)


def _use(policy: Policy, indices: Indices) -> dict[str, jax.Array]:
    """How often each choice of each action is taken, as shares; `indices` are (horizon, repeats, economies, agents).

    Of an interval: the shares of its lower end, of all between, and of its upper end. Of shares: how often each member
    gets all.
    """
    found = {}
    for head, index in zip(
        policy.stacked_heads, policy.apart(tuple(jnp.moveaxis(x, 1, 0) for x in indices)), strict=True
    ):
        for action, part in zip(head.actions, head.split(index), strict=True):
            if action.shares:
                found[action.name] = jnp.mean(shares_of(part) > 1 - END, axis=(1, 2, 3))
            elif action.interval:
                share = jax.nn.sigmoid(part)
                ends = jnp.mean(share < END), jnp.mean(share > 1 - END)
                found[action.name] = jnp.stack([ends[0], 1 - ends[0] - ends[1], ends[1]])
            else:
                found[action.name] = jnp.bincount(part.reshape(-1), length=len(action.values)) / part.size
    return found


def _stacked(batches: Sequence[Any]) -> Any:
    """Results of batches, stacked on the host."""
    return jax.tree.map(lambda *parts: np.stack(parts), *jax.device_get(batches))


def _episodes(payoffs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {agent: x.reshape(-1, x.shape[-1]) for agent, x in payoffs.items()}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Deviator:
    """Another way to play: a network, its optimizer, and the choices that it makes whatever the network says.

    `held` has for each action, for each member of the type that it is over, the number of a choice, of an interval a
    share, or a negative number where the network chooses.
    """

    network: Parameters
    optimizer: Any
    held: dict[str, jax.Array]


def repeats(space: ActionSpace) -> int:
    """For how many members an action is chosen; shares of a whole are one choice."""
    return 1 if space.shares else space.repeats or 1


@dataclass(frozen=True)
class Course:
    """How a deviator learns in iterations `begin` to `begin + length`.

    The learning rate falls to a tenth and the entropy bonus to nothing over these.
    """

    learning_rate: float
    entropy: float
    begin: int
    length: int


def _how(learn: bool, first: int, count: int, rates: Sequence[float] = (1, 1, 1, 1)) -> tuple[jax.Array, ...]:
    """The last arguments of `Deviation._run`."""
    return jnp.asarray(learn), jnp.int32(first), jnp.int32(count), jnp.array(rates, jnp.float32)


class Deviation:
    """Deviators of one type under one notion: how they learn, and what they earn.

    An individual learns from its own payoff, a team from the mean payoff of the type: by the derivative of payoffs if
    the type was trained so, else by PPO. Advantages are whole returns less values (a GAE lambda of 1): what an agent
    sees is not the state of the economy, so bootstrapped values would credit it with what it does not cause
    (`experiments/README.md`).

    Both are one program, which takes most of its time to compile: it plays, and learns from that or not.
    """

    def __init__(self, arena: Arena, agent: str, notion: Notion):
        self.arena, self.agent, self.notion = arena, agent, notion
        self.policy = arena.policies[agent]
        self.alone = notion == "individual"
        agents = self.policy.agents
        learner = next(one for one in arena.model.ir.phases[-1].learners if one.agent == agent)
        self.smooth = learner.algorithm == "pathwise"
        # With several deviators in an economy the derivative would be that of their joint payoff.
        few = 1 if self.smooth else max(1, round(LEARNING_SHARE * agents))
        self.together = few if self.alone else min(agents, TEAM_SAMPLE)
        self.program: Compiled | None = None
        self.scratch = jax.jit(lambda key: self.first(self.policy.init(key)))

    def among(self, networks: Mapping[str, Parameters], multipliers: Mapping[str, jax.Array]) -> "Deviation":
        """These deviators among other frozen policies; they share the program."""
        self.compiled()
        return self._in(self.arena.among(networks, multipliers))

    def _in(self, arena: Arena) -> "Deviation":
        other = copy(self)
        other.arena = arena
        return other

    @property
    def spaces(self) -> dict[str, ActionSpace]:
        """The actions that there is a choice of."""
        return {action.name: action for head in self.policy.stacked_heads for action in head.actions}

    def first(self, network: Parameters) -> Deviator:
        """A deviator that does what `network` of the type does."""
        return Deviator(
            network,
            fresh_optimizer(network),
            {name: jnp.full(repeats(space), -1, jnp.float32) for name, space in self.spaces.items()},
        )

    def compiled(self) -> Compiled:
        """The program; another thread may ask for it first, so that it is compiled while something else is done."""
        if self.program is None:
            cuts = ALL, ALL, ALL, ALL, BY_ECONOMY, ALL, ALL, ALL, ALL
            program = self.arena.placement.program(self._run, cuts, (ALL, BY_ECONOMY))
            networks, key = self.arena.networks, prng.key(0)
            start = self.scratch(key)
            self.program = program.lower(
                self.arena.frozen, networks, start, key, self._nobody(), *_how(False, 0, 0)
            ).compile()
        return self.program

    def _nobody(self) -> jax.Array:
        return jnp.zeros((self.arena.economies, self.together), int)

    def learn(
        self,
        networks: Mapping[str, Parameters],
        deviator: Deviator,
        key: jax.Array,
        done: int,
        upto: int,
        course: Course,
    ) -> Deviator:
        """Goes on learning from iteration `done` to `upto`."""
        rates = course.learning_rate, course.entropy, course.begin, course.length
        how = _how(True, done, upto - done, rates)
        return self.compiled()(self.arena.frozen, networks, deviator, key, self._nobody(), *how)[0]

    def evaluate(
        self, networks: Mapping[str, Parameters], deviator: Deviator, key: jax.Array, batches: int
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Payoffs per type (episodes, agents), and who deviates in each episode (episodes,): all agents in turn."""
        turns = self.turns(batches)
        results = []
        for number, members in enumerate(turns.reshape(batches, -1, 1)):
            everywhere = jnp.asarray(np.repeat(members, self.together, axis=1))
            how = _how(False, number, 1)
            _, payoffs = self.compiled()(self.arena.frozen, networks, deviator, key, everywhere, *how)
            results.append(payoffs)
        return _episodes(_stacked(results)), turns

    def given(self, networks: Mapping[str, Parameters], key: jax.Array) -> Mapping[str, jax.Array]:
        """What a single deviator takes as given: it is as without the deviation."""
        arena = self.arena
        if not (self.alone and arena.model.ir.agent(self.agent).given):
            return {}
        return arena.play(arena.players(networks), key).taken_as_given(arena.model, self.agent)

    def turns(self, batches: int) -> np.ndarray:
        """Who deviates in each episode: all agents, equally often but for one time more; or some, evenly spread."""
        episodes = batches * self.arena.economies
        return np.arange(episodes) * self.policy.agents // episodes

    def players(self, networks: Mapping[str, Parameters], deviator: Deviator, members: jax.Array) -> dict[str, Player]:
        """The players when `members`, or for a team all, follow `deviator`; `members` are recorded."""
        players = self.arena.players(networks)
        base, mask, agents = players[self.agent], self.policy.allowed(), jnp.arange(self.policy.agents)
        if self.alone:
            own = individual(self.policy, base, deviator.network, members, mask)
            who = jnp.any(members[..., None] == agents, axis=1)
        else:
            team = sampling(self.policy, deviator.network, mask, members)
            own = Player(base.draws, lambda seen, u: team.play(seen, u[: team.draws]))
            who = jnp.ones_like(agents, bool)
        held = {name: by_member(choices) for name, choices in deviator.held.items()}
        return {**players, self.agent: holding(self.policy, own, held, who)}

    def _run(self, frozen: Any, *rest: Any) -> tuple[Deviator, dict[str, jax.Array]]:
        return self._in(self.arena.among(*frozen))._batches(*rest)

    def _batches(
        self,
        networks: Mapping[str, Parameters],
        deviator: Deviator,
        key: jax.Array,
        members: jax.Array,
        learn: jax.Array,
        first: jax.Array,
        count: jax.Array,
        rates: jax.Array,
    ) -> tuple[Deviator, dict[str, jax.Array]]:
        """Plays batches `first` to `first + count`, with random `members` if it is to `learn`; payoffs of the last."""
        arena, agents = self.arena, self.policy.agents

        def one(number: jax.Array, carry: Any) -> Any:
            deviator, _ = carry
            playing, choosing = keys_of(key, number)
            sources = jax.vmap(jax.random.fold_in, (None, 0))(choosing, arena.own)
            chosen = jnp.where(learn, drawn(sources, agents, self.together), members)
            given = self.given(networks, playing)

            def play(network: Parameters) -> Trajectory:
                players = self.players(networks, replace(deviator, network=network), chosen)
                return arena.play(players, playing, given)

            played = play(deviator.network)
            update = partial(self._ascended, play) if self.smooth else partial(self._updated, played)
            deviator = jax.lax.cond(
                learn, lambda: update(deviator, chosen, self._settings(number, rates)), lambda: deviator
            )
            return deviator, arena.payoffs(played)

        economies = arena.own.shape[0]
        nothing = {agent: jnp.zeros((economies, policy.agents)) for agent, policy in arena.policies.items()}
        return jax.lax.fori_loop(first, first + count, one, (deviator, nothing))

    def _settings(self, number: jax.Array, rates: jax.Array) -> dict[str, jax.Array]:
        """What holds in iteration `number` of a `Course`."""
        rate, entropy, begin, length = rates
        done = (number - begin) / length
        return {
            "clip": jnp.asarray(self.arena.model.ir.verification.clip),
            "gae": jnp.ones(()),
            "reward_scale": self.arena.reward_scale(self.agent),
            "value_weight": jnp.asarray(VALUE_WEIGHT),
            "gradient_clip": jnp.asarray(GRADIENT_CLIP),
            "learning_rate": rate * (1 - 0.9 * done),
            "entropy": entropy * (1 - done),
        }

    def _counting(self, played: Trajectory, members: jax.Array) -> jax.Array:
        """The rewards that `members` play for, (horizon, economies, k)."""
        rewards = penalised(played, self.agent, self.arena.multipliers)
        if self.alone:
            return of_members(rewards, members)
        mean = jnp.mean(rewards, axis=-1, keepdims=True)
        return jnp.broadcast_to(mean, (*rewards.shape[:-1], self.together))

    def _ascended(
        self,
        play: Callable[[Parameters], Trajectory],
        deviator: Deviator,
        members: jax.Array,
        settings: dict[str, jax.Array],
    ) -> Deviator:
        def counted(network: Parameters) -> tuple[Trajectory, jax.Array]:
            played = play(network)
            return played, self._counting(played, members)

        discount, share = self.arena.model.module.discounts()[self.agent], self.arena.placement.share
        network, optimizer, _ = ascend(
            self.policy,
            counted,
            deviator.network,
            deviator.optimizer,
            self.policy.allowed(),
            members,
            discount,
            settings,
            share,
        )
        return replace(deviator, network=network, optimizer=optimizer)

    def _updated(
        self, played: Trajectory, deviator: Deviator, members: jax.Array, settings: dict[str, jax.Array]
    ) -> Deviator:
        model, share = self.arena.model, self.arena.placement.share
        rewards = self._counting(played, members) / settings["reward_scale"]
        last = self.policy(deviator.network, played.last[self.agent].of(members))[1] if played.last else None
        batch = batch_of(
            self.policy,
            played.records[self.agent],
            rewards,
            model.module.discounts()[self.agent],
            settings["gae"],
            members,
            last,
            share,
        )
        epochs, masks = model.ir.verification.epochs, self.policy.allowed()
        network, optimizer, _ = update(
            self.policy, "ppo", epochs, settings, deviator.network, deviator.optimizer, batch, masks, share
        )
        return replace(deviator, network=network, optimizer=optimizer)

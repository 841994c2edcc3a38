"""Exact best responses: known answers, brute force, simulation, and what is declined."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rbcc.runtime import prng
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.parallel.devices import SINGLE
from rbcc.runtime.training.loop import initial_state, networks_of
from rbcc.runtime.verification.best_response.exact import Game, Unsolved
from rbcc.runtime.verification.best_response.learned import Arena, Base, Deviation, Notion
from rbcc.runtime.verification.perturbations import read_plant


NOTIONS: tuple[Notion, ...] = "individual", "team"


def arena(model: Model, *plants: str, seed: int = 0) -> Arena:
    """Untrained policies, with plants."""
    state = initial_state(model, seed)
    planned = tuple(read_plant(model, text) for text in plants)
    return Arena(model, networks_of(model), state.networks, state.multipliers, planned, 256, SINGLE)


@pytest.mark.parametrize(("quantity", "payoff", "alone", "team"), [(30, 900, 0, 112.5), (22.5, 1012.5, 126, 0)])
def test_cournot(quantity: float, payoff: float, alone: float, team: float) -> None:
    """Nash and cartel. The best reply to 22.5 is 33 or 34.5, of the choices that there are."""
    game = Game(arena(compile("cournot"), f"seller.quantity={quantity}"))
    assert game.pairs == 41**2
    assert game.payoffs("seller") == pytest.approx([payoff] * 2)
    single, joint = game.best("seller", "individual"), game.best("seller", "team")
    assert single.gains == pytest.approx([alone] * 2)
    assert joint.gains == pytest.approx([team])
    assert single.attained
    assert joint.attained  # of all ways to sell 45 together, one in which both sell the same


def test_one_seller_who_is_stuck() -> None:
    """At 45 against 30 one earns 675, at best 900; the other 450, at best 506.25 (22.5)."""
    game = Game(arena(compile("cournot"), "seller.quantity=30", "seller[0].quantity=45"))
    assert game.payoffs("seller") == pytest.approx([675, 450])
    assert game.best("seller", "individual").gains == pytest.approx([225, 56.25])


@pytest.mark.parametrize(("x", "q"), [(0.5, 0.5), (0.7, 0.4), (0, 0.9)])
def test_matching_pennies(x: float, q: float) -> None:
    game = Game(arena(compile("matching_pennies"), *mixture("matcher", x), *mixture("mismatcher", q)))
    value = (2 * x - 1) * (2 * q - 1)
    assert game.payoffs("matcher") == pytest.approx([value])
    assert game.payoffs("mismatcher") == pytest.approx([-value])
    for notion in NOTIONS:
        assert game.best("matcher", notion).gains == pytest.approx([abs(2 * q - 1) - value], abs=1e-12)
        assert game.best("mismatcher", notion).gains == pytest.approx([abs(2 * x - 1) + value], abs=1e-12)


def mixture(agent: str, heads: float) -> Iterator[str]:
    """Plants by which a player shows heads with a probability."""
    yield f"{agent}.side={1 if heads >= 0.5 else -1}"
    if heads not in (0, 1):
        yield f"{agent}.random={2 * min(heads, 1 - heads)}"


# --- a game in which a stock moves ---------------------------------------------------------------------------------

COMMONS = """
rbcc: 1
model: commons
horizon: 3
discount: 0.9
state: {stock: {start: 2}}
agents:
  herder:
    index: i
    count: 2
    parameters: {weight: "cycle(i, 1, 2)"}
    actions: {graze: {choices: [0, 1]}}
    observes: [stock, time]
    reward: weight[i] * min(graze[i], stock / 2)
equations:
  stock: stock' = max(0, stock - sum(i, graze[i])) * 3
indicators: {stock: stock}
training: {phases: {learn: {iterations: 2, economies: 4}}}
"""
BOTH = [(0, 0), (0, 1), (1, 0), (1, 1)]
GRAZES = 0.2 + 0.8 / 2, 0.8 / 2
"""How often a herder grazes after `herder.random=80%` on top of one who always does, and one who never does."""


def payoff(horizon: int, plays: Callable[[int, float], dict[tuple[int, int], float]]) -> np.ndarray:
    """The payoffs of two herders, from the probability of their choices at a step and stock, path by path."""

    def of(step: int, stock: float) -> tuple[float, float]:
        one = other = 0.0
        if step < horizon:
            for choice, chance in plays(step, stock).items():
                later = of(step + 1, max(0, stock - sum(choice)) * 3)
                one += chance * (min(choice[0], stock / 2) + 0.9 * later[0])
                other += chance * (2 * min(choice[1], stock / 2) + 0.9 * later[1])
        return one, other

    return np.array(of(0, 2.0))


def reachable(horizon: int) -> list[tuple[int, float]]:
    found = [(0, 2.0)]
    for step, stock in found:
        later = [(step + 1, max(0, stock - taken) * 3) for taken in range(3)]
        found += [one for one in later if one not in found and one[0] < horizon]
    return found


def strategies(horizon: int, choices: list[tuple[int, ...]]) -> Iterator[dict[tuple[int, float], tuple[int, ...]]]:
    """All maps from steps and stocks to choices."""
    states = reachable(horizon)
    for made in itertools.product(choices, repeat=len(states)):
        yield dict(zip(states, made, strict=True))


def chance(graze: int, often: float) -> float:
    return often if graze else 1 - often


def commons(write_spec: Callable[..., Path], horizon: int, observes: str = "[stock, time]") -> Game:
    model = compile(write_spec(COMMONS), {"horizon": horizon, "agents.herder.observes": observes})
    return Game(arena(model, "herder[0].graze=1", "herder[1].graze=0", "herder.random=80%"))


def test_one_herder_by_brute_force(write_spec: Callable[..., Path]) -> None:
    """All 2^11 strategies of one herder, each against the mixture of the other."""
    game = commons(write_spec, 3)
    base = payoff(3, lambda *_: {one: chance(one[0], GRAZES[0]) * chance(one[1], GRAZES[1]) for one in BOTH})
    assert game.payoffs("herder") == pytest.approx(base)
    best = [-math.inf, -math.inf]
    for strategy in strategies(3, [(0,), (1,)]):
        for me in (0, 1):

            def plays(step: int, stock: float, me: int = me, own: dict = strategy) -> dict[tuple[int, int], float]:
                mine = own[step, stock]
                return {one: chance(one[1 - me], GRAZES[1 - me]) for one in BOTH if one[me] == mine[0]}

            best[me] = max(best[me], payoff(3, plays)[me])
    response = game.best("herder", "individual")
    assert response.gains == pytest.approx(np.array(best) - base)
    assert response.attained
    assert min(response.gains) > 0.1
    assert game.pairs == 11 * 4
    blind = commons(write_spec, 3, "[time]").best("herder", "individual")  # whether to graze depends on the stock
    assert blind.gains == pytest.approx(response.gains)
    assert not blind.attained


def test_a_team_of_herders_by_brute_force(write_spec: Callable[..., Path]) -> None:
    """All 4^4 strategies of both in two steps."""
    game = commons(write_spec, 2)
    best = max(
        payoff(2, lambda step, stock, own=own: {own[step, stock]: 1.0}).mean()  # type: ignore[misc]
        for own in strategies(2, BOTH)  # type: ignore[arg-type]
    )
    response = game.best("herder", "team")
    assert response.gains == pytest.approx([best - game.payoffs("herder").mean()])


# --- against simulation --------------------------------------------------------------------------------------------

ORDER = """
rbcc: 1
model: order
horizon: 3
discount: 0.8
state: {fund: {start: 1}}
agents:
  saver:
    index: i
    count: 2
    after: planner
    parameters: {need: "cycle(i, 1, 3)"}
    actions:
      save: {choices: [0, 1, 2]}
      partner: {choose: saver}
    observes: [planner.rate, fund, need, time]
    reward: need[i] * (1 - planner.rate) * save[i] - save[i]^2 / 2 + save[partner[i]] / 4
  planner:
    count: 1
    actions: {rate: {choices: [0, 0.5]}}
    observes: [fund]
    reward: log(1 + fund)
    constraints: {thrift: {violation: "max(fund - 2, 0)"}}
equations:
  fund: fund' = 0.5 * fund + planner.rate * sum(i, save[i])
indicators: {fund: fund}
training: {phases: {learn: {iterations: 2, economies: 4}}}
"""


def test_payoffs_are_those_of_simulated_play(write_spec: Callable[..., Path]) -> None:
    """Of policies that look at a state and at choices before theirs, with plants and multipliers."""
    played = arena(compile(write_spec(ORDER)), "saver[1].save=2", "saver.random=30%")
    played.multipliers["planner.thrift"] += 0.7  # type: ignore[index]
    game = Game(played)
    base = Base(played)(played.networks, {}, prng.key(3), 64).payoffs
    for agent in ("planner", "saver"):
        assert_mean(base[agent], game.payoffs(agent))


@pytest.mark.slow
def test_gains_are_those_of_simulated_deviators(write_spec: Callable[..., Path]) -> None:
    played, episodes = arena(compile(write_spec(ORDER)), "saver.random=30%"), (prng.key(3), 64)
    game = Game(played)
    base = Base(played)(played.networks, {}, *episodes).payoffs
    questions: list[tuple[str, Notion]] = [("planner", "individual"), ("saver", "individual"), ("saver", "team")]
    for agent, notion in questions:
        deviation = Deviation(played, agent, notion)
        state = deviation.scratch(prng.key(4))
        payoffs, members = deviation.evaluate(played.networks, state, *episodes)
        change, exact = payoffs[agent] - base[agent], game.gains(agent, notion, state.network)
        if notion == "team":
            assert_mean(change.mean(axis=1, keepdims=True), exact)
        else:
            for number, gain in enumerate(exact):
                assert_mean(change[members == number, number][:, None], np.array([gain]))
        assert (game.best(agent, notion).gains >= exact).all()


def test_a_leader_deviates_before_others_choose(write_spec: Callable[..., Path]) -> None:
    """Others answer to what it does: as they would if it were planted."""
    played = arena(compile(write_spec(ORDER)), "saver.random=30%")
    game, cheap = Game(played), read_plant(played.model, "planner.rate=0.5")
    planted = replace(played, plants=(*played.plants, cheap))
    held = Game(planted)
    for other in (game.playing(planted), held.playing(planted)):
        assert np.array_equal(other.payoffs("planner"), held.payoffs("planner"))
    gains = held.payoffs("planner") - game.payoffs("planner")
    for notion in NOTIONS:
        assert game.gains("planner", notion, played.networks["planner"], [cheap]) == pytest.approx(gains, abs=1e-6)
        assert (game.best("planner", notion).gains >= gains).all()


def assert_mean(sample: np.ndarray, exact: np.ndarray) -> None:
    error = sample.std(axis=0) / math.sqrt(len(sample))
    assert (np.abs(sample.mean(axis=0) - exact) <= 4 * error + 1e-5).all()


# --- what is declined ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"agents.herder.actions.graze": "{choices: null, between: [0, 1]}"},
            "herder.graze is not chosen from a finite set",
        ),
        ({"continuing": True}, "the economy goes on after its episodes"),
        ({"equations.stock": "stock' = stock + uniform()"}, "stock' is drawn at random"),
        ({"state.stock": "{start: 2 + normal()}"}, "stock is drawn at random"),
        ({"agents.herder.count": 100}, r"together have about 10\^30 choices in a step; 2,000,000 at most are tried"),
        ({"agents.herder.count": 21}, "together have about 2,097,152 choices in a step; 2,000,000 at most are tried"),
        ({"horizon": 1000000}, r"4,000,000 pairs of a state and choices of all agents, or more; 2,000,000 at most"),
    ],
)
def test_what_is_declined(changes: dict[str, object], reason: str, write_spec: Callable[..., Path]) -> None:
    model = compile(write_spec(COMMONS), changes)
    with pytest.raises(Unsolved, match=reason):
        Game(Arena(model, networks_of(model), {}, {}, (), 1, SINGLE))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"agents.herder.reward": "log(graze[i])"}, "some choices give herder a payoff that is not a finite number"),
        ({"equations.stock": "stock' = 1 / sum(i, graze[i])"}, "give stock the next value that is not a finite number"),
    ],
)
def test_numbers_that_are_not_finite(changes: dict[str, object], reason: str, write_spec: Callable[..., Path]) -> None:
    model = compile(write_spec(COMMONS), changes)
    with pytest.raises(Unsolved, match=reason):
        Game(Arena(model, networks_of(model), {}, {}, (), 1, SINGLE))


def test_too_many_states(write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is told before the states of the last step are tried: 1 + 3 + 7 of them, with 4 choices each."""
    model = compile(write_spec(COMMONS))
    monkeypatch.setattr("rbcc.runtime.verification.best_response.exact.MOST", 43)
    with pytest.raises(Unsolved, match="44 pairs"):
        Game(arena(model))

"""Choices that depend on the state: who may choose what, in play, learning, verification and checks."""

import itertools
import re
from collections.abc import Callable
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.adapters import jaxmarl, pettingzoo
from rbcc.compiler.driver import compile_spec
from rbcc.runtime import prng
from rbcc.runtime.actions.spaces import any_of, nearest
from rbcc.runtime.economy.model import Model, State, compile
from rbcc.runtime.errors import Violated
from rbcc.runtime.parallel.devices import SINGLE
from rbcc.runtime.policies.policy import assess_all, choose_all, profile_of, sharpened
from rbcc.runtime.reports.dataset import simulate
from rbcc.runtime.rollout.rollout import observe, rollout, sampling
from rbcc.runtime.session import train
from rbcc.runtime.training.loop import initial_state, networks_of, training
from rbcc.runtime.training.schedule import scheduled
from rbcc.runtime.validation.conditions import Checks
from rbcc.runtime.validation.property_testing import try_out
from rbcc.runtime.verification.best_response.exact import Game
from rbcc.runtime.verification.best_response.learned import Arena, Base, Deviation
from rbcc.runtime.verification.perturbations import read_plant
from rbcc.runtime.verification.verify import verify


KEY = jax.random.key(3)
DOCS = Path(__file__).parents[2] / "docs" / "language.md"
CAKE = next(
    block
    for block in re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    if "eat <=" in block
)

TOWN = """
rbcc: 1
model: town
horizon: 3
discount: 1
state: {shut: {start: 0, scale: 1}}
agents:
  owner:
    index: j
    count: 2
    actions: {open: {choices: [0, 1, 2], where: "open != j"}}
    observes: [shut, j]
    reward: customers[j]
  guest:
    index: i
    count: 3
    after: owner
    state: {money: {start: i + 1, scale: 1}, drunk: {start: 0, scale: 1}}
    actions:
      place: {choose: owner, where: "open[place] > 0"}
      order: {over: owner, choices: [0, 2, 4], where: "order <= money[i] + j"}
      pay: {choices: [0, 1, 2, 3], where: "pay <= money[i] and not (pay == 1 and j_odd)"}
      tip: {choices: [0, 1, 3], where: "tip <= money[i]"}
    observes: [money, drunk]
    reward: sum(j, order[i,j]) + pay[i] + tip[i] + open[place[i]] - drunk[i]
equations:
  all: |
    customers[j] = count(i where place[i] == j)
    j_odd = shut > 0.5
    shut' = 1 - shut
    money'[i] = max(0, money[i] - 1)
    drunk'[i] = pay[i] + tip[i]
indicators: {money: "mean(i, money[i])"}
training:
  phases: {learn: {iterations: 2, economies: 8}}
  anneal:
    guest.tip: {open: [0, 0.5], from: 3}
  guest: {joint: [pay, tip]}
"""


@pytest.fixture
def town(write_spec: Callable[..., Path]) -> Model:
    return compile(write_spec(TOWN))


def fulfil(state: State, actions: dict[str, jax.Array]) -> bool:
    """The conditions of the town, written out."""
    a = {name.partition(".")[2]: np.asarray(x) for name, x in actions.items()}
    money, odd = np.asarray(state["guest.money"]), float(state["shut"]) > 0.5
    owner = all(a["open"][j] != j for j in range(2))
    guests = all(
        a["open"][a["place"][i]] > 0
        and all(a["order"][i, j] <= money[i] + j for j in range(2))
        and a["pay"][i] <= money[i]
        and not (a["pay"][i] == 1 and odd)
        and a["tip"][i] <= money[i]
        for i in range(3)
    )
    return owner and guests


# --- the model -----------------------------------------------------------------------------------------------------


def test_random_play_keeps_to_the_conditions_and_reaches_all_that_they_allow(town: Model) -> None:
    """In all orders of axes, of numbers and members, before and after what others choose."""
    sample = jax.jit(jax.vmap(town.sample, (None, 0)))
    for state in (town.reset(KEY), {**town.reset(KEY), "shut": jnp.ones(()), "guest.money": jnp.array([0.0, 2, 1])}):
        drawn = jax.device_get(sample(state, jax.random.split(KEY, 400)))
        each = [{name: x[k] for name, x in drawn.items()} for k in range(400)]
        assert all(fulfil(state, actions) for actions in each)
        for actions in each[:20]:
            town.step(state, actions, KEY)
        money, odd = np.asarray(state["guest.money"]), float(state["shut"]) > 0.5
        for i in range(3):
            assert {float(x) for x in drawn["guest.pay"][:, i]} == {
                k for k in range(4) if k <= money[i] and not (k == 1 and odd)
            }
            assert {float(x) for x in drawn["guest.order"][:, i, 1]} == {k for k in (0, 2, 4) if k <= money[i] + 1}
        assert {int(x) for x in drawn["guest.place"].ravel()} == {0, 1}


def test_a_step_refuses_what_is_not_allowed(town: Model) -> None:
    state = town.reset(KEY)
    actions = dict(town.sample(state, KEY))
    with pytest.raises(
        ValueError,
        match=re.escape("'owner.open' of agent 1 is 1, expected one that is allowed here, 0, 2: owner.open != j"),
    ):
        town.step(state, {**actions, "owner.open": jnp.array([1.0, 1])}, KEY)
    at_home = {**actions, "owner.open": jnp.array([1.0, 0]), "guest.place": jnp.array([0, 0, 0])}
    town.step(state, at_home, KEY)
    with pytest.raises(
        ValueError, match=re.escape("'guest.place' of agent 1 is 1, expected one that is allowed here, 0:")
    ):
        town.step(state, {**at_home, "guest.place": jnp.array([0, 1, 0])}, KEY)
    order = np.array(actions["guest.order"])
    order[0] = [2, 2]
    with pytest.raises(
        ValueError, match=re.escape("'guest.order' of agent 0, 0 is 2, expected one that is allowed here, 0:")
    ):
        town.step(state, {**actions, "guest.order": jnp.asarray(order)}, KEY)


def test_nearest_choices() -> None:
    """Of two the lower one."""
    space = compile("cournot").spaces["seller.quantity"]
    allowed = np.zeros((len(space.values), 2), bool)
    allowed[[3, 9, 20]] = True
    for index in range(len(space.values)):
        wanted = min((3, 9, 20), key=lambda k: (round(abs(space.values[k] - space.values[index]), 6), k))
        found = nearest(space, jnp.full(2, index), jnp.asarray(allowed))
        assert found.tolist() == [wanted] * 2


def test_drawing_among_allowed_choices_is_uniform() -> None:
    allowed = jnp.array([False, True, True, False, True])[:, None]
    drawn = any_of(allowed, (jnp.arange(3000) + 0.5) / 3000)
    assert np.bincount(drawn, minlength=5).tolist() == [0, 1000, 1000, 0, 1000]
    assert any_of(allowed, jnp.float32([1.0])).tolist() == [4]


# --- policies ------------------------------------------------------------------------------------------------------


def test_probabilities_and_entropy_are_of_what_is_allowed(town: Model) -> None:
    """Against the distribution written out: joint draws, draws over members, with windows, sharp and not."""
    nets, phase = networks_of(town), town.ir.phases[0]
    policy, count = nets["guest"], 6
    state = jax.vmap(town.reset)(jax.random.split(KEY, count))
    state["guest.money"] = jnp.asarray(np.random.default_rng(0).integers(0, 5, (count, 3)), float)
    actions = jax.vmap(town.sample)(state, jax.random.split(KEY, count))
    sight = observe(town, state, town_stored(town, actions), {}, {"guest": jnp.zeros((0, 3))}, 1, {})["guest"]
    masks = policy.within(scheduled(town, phase, nets, jnp.float32(0)).masks["guest"], sight)
    parameters = profile_of(initial_state(town, 0).networks["guest"], 3.0)
    logits, value = policy(parameters, sight)
    sharp = sharpened(logits, masks, parameters, policy.stacks)
    uniform = jax.random.uniform(KEY, (policy.draws, count, 3))
    indices, chance = choose_all(sharp, masks, uniform, policy.stacks)
    again, entropy = assess_all(sharp, masks, indices, policy.stacks, value.shape)
    expected, spread = np.zeros((count, 3)), np.zeros((count, 3))
    for stack, own, mask, index in zip(policy.stacks, sharp, masks, indices, strict=True):
        mask = np.broadcast_to(np.asarray(mask) if mask.ndim == 4 else np.asarray(mask)[..., None, None], own.shape)
        weights = np.where(mask, np.exp(np.asarray(own, float)), 0)
        chances = weights / weights.sum(axis=1, keepdims=True)
        assert mask.any(axis=1).all()
        assert stack.restricted
        expected += np.log(np.take_along_axis(chances, np.asarray(index, int)[:, None], 1))[:, 0].sum(0)
        spread -= np.where(mask, chances * np.log(np.where(mask, chances, 1)), 0).sum(axis=(0, 1))
    np.testing.assert_allclose(chance, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(entropy, spread, rtol=1e-4, atol=1e-5)
    # The window offers a tip of 3 alone: who cannot give it has all that it can give, together with what it can pay.
    (joint,) = (head for head in policy.heads if len(head.actions) == 2)
    tips = dict(zip(policy.stacked_heads, policy.apart(indices), strict=True))[joint]
    _, tip = joint.split(tips)
    rich = np.asarray(state["guest.money"]) >= 3
    assert (np.asarray(tip)[0][rich] == 2).all()
    assert (np.asarray(tip)[0][~rich] < 2).all()


def town_stored(model: Model, actions: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return jax.vmap(lambda one: model.stored(one))(actions)


def test_blocks_of_agents_have_their_own_choices(town: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    nets, state = networks_of(town), initial_state(town, 0)
    players = {agent: sampling(policy, state.networks[agent], policy.allowed()) for agent, policy in nets.items()}

    def played() -> dict[str, np.ndarray]:
        run = jax.jit(lambda key: rollout(town, nets, players, key, jnp.arange(5), {}).rewards)
        return jax.device_get(run(prng.key(1)))

    whole = played()
    monkeypatch.setitem(rollout.__globals__["in_blocks"].__globals__, "block_size", lambda policy: 4)
    apart = played()
    for agent in nets:
        np.testing.assert_array_equal(whole[agent], apart[agent])


def test_training_and_deviators_keep_to_the_conditions(town: Model) -> None:
    """Episodes that learners, the profile and deviators play, all recorded; no update gives NaN."""
    nets = networks_of(town)
    (progress,) = list(training(town, [0]))[-1]
    assert all(np.isfinite(value) for value in progress.metrics.values())
    plants = [read_plant(town, text) for text in ("guest.pay=3", "guest.random=50%", "guest.tip*200%", "owner.open=1")]
    state = jax.tree.map(jnp.asarray, progress.state)
    arena = Arena(town, nets, state.networks, state.multipliers, tuple(plants), 16, SINGLE)
    watched: list[tuple[State, dict[str, jax.Array]]] = []
    deviation = Deviation(arena, "guest", "individual")
    first = deviation.first(arena.networks["guest"])
    first.held["guest.order"] = jnp.array([2.0, 1.0])

    @jax.jit
    def play(key: jax.Array) -> Any:
        players = deviation.players(arena.networks, first, jnp.zeros((16, deviation.together), int))
        keep = lambda state, actions, following, result: (town.written(state), town.written(actions))  # noqa: E731
        return rollout(town, nets, players, key, arena.own, {}, keep).watched

    states, actions = jax.device_get(play(prng.key(0)))
    for step, economy in itertools.product(range(3), range(16)):
        here = tuple({name: x[step, economy] for name, x in part.items()} for part in (states, actions))
        watched.append(here)  # type: ignore[arg-type]
        assert fulfil(*here)
    held = {(float(s["guest.money"][0]), *a["guest.order"][0].tolist()) for s, a in watched}
    assert held == {(1.0, 0.0, 2.0), (0.0, 0.0, 0.0)}  # 4 and 2 where they are allowed, else the nearest below
    assert {float(a["owner.open"][0]) for _, a in watched} == {1.0}
    assert {float(a["owner.open"][1]) for _, a in watched} == {0.0}  # 1 is not allowed: of 0 and 2 the lower


# --- exact answers -------------------------------------------------------------------------------------------------


def best(cake: int, steps: int) -> float:
    """By dynamic programming: what a cake is worth."""
    if not steps:
        return 0.0
    return max(sqrt(eaten) + 0.9 * best(cake - eaten, steps - 1) for eaten in range(min(cake, 3) + 1))


WORTH = [best(2, 3), best(3, 3)]


def cakes(model: Model, *plants: str) -> Arena:
    state, read = initial_state(model, 0), tuple(read_plant(model, text) for text in plants)
    return Arena(model, networks_of(model), state.networks, state.multipliers, read, 512, SINGLE)


def test_what_a_cake_is_worth(write_spec: Callable[..., Path]) -> None:
    """One piece in each step, as long as there is one."""
    model = compile(write_spec(CAKE))
    assert model.ir.action("eater.eat").always == 0
    game = Game(cakes(model))
    assert np.allclose(WORTH, [1 + 0.9, 1 + 0.9 + 0.81])
    for notion in ("individual", "team"):
        found = game.best("eater", notion)
        base = game.payoffs("eater")
        total = base + found.gains if notion == "individual" else base.mean() + found.gains
        assert total == pytest.approx(WORTH if notion == "individual" else [np.mean(WORTH)])
        assert found.attained


def test_exact_payoffs_with_plants(write_spec: Callable[..., Path]) -> None:
    model = compile(write_spec(CAKE))
    assert Game(cakes(model, "eater.eat=2")).payoffs("eater") == pytest.approx(
        [sqrt(2), sqrt(2) + 0.9]  # 2, then the nearest to it that is left
    )
    # Three times what they would eat, if there is so much: whoever eats 1 takes all.
    alone = Game(cakes(model, "eater.eat=1", "eater[0].eat*300%")).payoffs("eater")
    assert alone == pytest.approx([sqrt(2), 1 + 0.9 + 0.81])

    @cache
    def random(cake: int, steps: int) -> float:
        options = range(min(cake, 3) + 1)
        return np.mean([sqrt(k) + 0.9 * random(cake - k, steps - 1) for k in options]) if steps else 0.0  # type: ignore[return-value]

    game = Game(cakes(model, "eater.random=100%"))
    assert game.payoffs("eater") == pytest.approx([random(2, 3), random(3, 3)])


@pytest.mark.slow
def test_exact_payoffs_of_stages_and_simulation(write_spec: Callable[..., Path]) -> None:
    """Where what is allowed depends on what others have chosen before, against episodes that are played."""
    text = TOWN.replace("count: 3", "count: 1").replace("horizon: 3", "horizon: 2")
    text = re.sub(r"\n      order: .*", "", text).replace("sum(j, order[i,j]) + ", "")
    arena = cakes(compile(write_spec(text)), "guest.random=30%")
    game = Game(arena)
    played = Base(arena)(arena.networks, {}, prng.key(0), 8).payoffs
    for agent, payoffs in played.items():
        error = payoffs.std(axis=0) / len(payoffs) ** 0.5
        assert (np.abs(payoffs.mean(axis=0) - game.payoffs(agent)) < 4 * error + 1e-6).all()


@pytest.mark.slow
def test_agents_learn_to_eat_their_cake(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    """They come to what it is worth, and verification says so, also if told to do nothing or to want too much; none
    ever takes what is not there."""
    run, quick = tmp_path / "run", {"verify.iterations": 20, "verify.episodes": 64, "verify.economies": 32}
    train(write_spec(CAKE), out=run)
    sound = verify(run, quick)
    assert set(sound.verdicts.values()) == {"CERTIFIED"}
    assert [row.estimate.payoff for row in sound.rows] == pytest.approx([np.mean(WORTH)] * 2)
    greedy = verify(run, {**quick, "verify.shutdown": {"eater.eat": 0}}, plants=["eater.eat=2"])
    assert set(greedy.verdicts.values()) == {"REFUTED"}
    assert greedy.rows[0].estimate.payoff == pytest.approx(np.mean([sqrt(2), sqrt(2) + 0.9]))
    assert greedy.rows[0].estimate.exact is not None
    assert greedy.rows[0].estimate.exact.gain == pytest.approx(np.mean(WORTH) - np.mean([sqrt(2), sqrt(2) + 0.9]))
    played = simulate(run, episodes=16)
    assert bool((played["eater.eat"] <= played["eater.cake"]).all())


# --- nothing left --------------------------------------------------------------------------------------------------

TIRED = """
rbcc: 1
model: tired
horizon: 4
discount: 1
agents:
  walker:
    index: i
    count: 3
    state: {energy: {start: 2 + i, scale: 1}}
    actions: {walk: {choices: [1, 2], where: "walk <= energy[i]"}}
    observes: [energy, time]
    reward: log(walk[i])
equations:
  all: energy'[i] = energy[i] - walk[i]
indicators: {energy: "mean(i, energy[i])"}
training: {phases: {learn: {iterations: 3, economies: 4}}}
"""


def test_an_agent_without_a_choice_is_found(write_spec: Callable[..., Path]) -> None:
    """In the smallest case: the first walker is tired first, after a step of 2, or two of 1."""
    path = write_spec(TIRED)
    model = compile(path)
    assert model.ir.action("walker.walk").always is None
    (failure,) = try_out(model).failures
    assert failure.agents == {"i": 0}
    assert failure.check == "walker.walk has a choice left"
    assert failure.step == 1
    assert str(failure) == (
        f"{path}:11:15: no choice of 'walker.walk' is left at step 1, i = 0: 1, 2 do not fulfil "
        "walker.walk <= walker.energy[i] (rbcc explain RB704)\n"
        "  walker.energy[i] = 0\n"
        "from the start\n"
        "with the choices walker.walk[0] = 2 in step 0; all others as near to 0 as they can be; for one that is not "
        "allowed stands the nearest that is"
    )


def test_checked_training_stops(write_spec: Callable[..., Path]) -> None:
    model = compile(write_spec(TIRED))
    with pytest.raises(Violated, match=r"no choice of 'walker.walk' is left at step \d, i = 0"):
        list(training(model, [0], checks=Checks(model)))


@pytest.mark.slow
def test_plain_training_goes_on(write_spec: Callable[..., Path]) -> None:
    model = compile(write_spec(TIRED))
    (progress,) = list(training(model, [0]))[-1]
    assert all(np.isfinite(value) for value in progress.metrics.values())


def test_without_a_choice_there_are_all(write_spec: Callable[..., Path]) -> None:
    model = compile(write_spec(TIRED))
    state = {**model.reset(KEY), "walker.energy": jnp.array([0.0, 1, 5])}
    assert model.allowed(state, {}, None, 0)["walker.walk"].tolist() == [[True, True, True], [True, False, True]]


def test_what_is_proved_is_not_tested(write_spec: Callable[..., Path]) -> None:
    """By the sign of a state that keeps it because of the condition; not where the condition can be missed."""

    def always(choices: str, where: str, following: str = "energy[i] - walk[i]", more: str = "") -> float | None:
        text = TIRED.replace("choices: [1, 2]", f"choices: {choices}").replace('"walk <= energy[i]"', f'"{where}"')
        text = text.replace("energy[i] - walk[i]", following).replace("indicators:", f"{more}\nindicators:")
        return compile_spec(write_spec(text)).model.action("walker.walk").always

    assert always("[0, 1]", "walk <= energy[i]") == 0
    assert always("[-1, 0, 1]", "walk <= energy[i] and walk > -1") == 0
    assert always("[0, 1]", "not (walk > energy[i])", "energy[i] / 2") == 0
    assert always("[1, 2]", "walk <= 1 or energy[i] > 3") == 1
    assert always("[0, 1]", "walk <= energy[i]", "energy[i] - 1") is None
    assert always("[0, 1]", "walk <= energy[i] and energy[i] > 0") is None
    # A proof must not rest on what it is to prove: with nothing allowed more is taken than there is.
    assert always("[1, 2]", "walk <= energy[i]") is None
    # A parameter may have any value while it is annealed.
    limit = "parameters: {limit: 2}"
    assert always("[1, 2]", "walk <= limit", more=limit) == 1
    text = TIRED.replace('"walk <= energy[i]"', '"walk <= limit"').replace("indicators:", f"{limit}\nindicators:")
    annealed = text.replace("training: {", "training: {anneal: {limit: progress}, ")
    assert compile_spec(write_spec(annealed)).model.action("walker.walk").always is None


# --- other places --------------------------------------------------------------------------------------------------


def test_adapters_say_what_is_allowed(write_spec: Callable[..., Path]) -> None:
    path = write_spec(CAKE)
    environment = pettingzoo.Environment(path)
    _, infos = environment.reset(seed=0)
    assert infos["eater_0"]["action_mask"].tolist() == [1, 1, 1, 0]
    _, _, _, _, infos = environment.step({"eater_0": np.int64(1), "eater_1": np.int64(2)})
    assert [infos[name]["action_mask"].tolist() for name in ("eater_0", "eater_1")] == [[1, 1, 0, 0]] * 2
    for _ in range(10):
        assert environment.action_space("eater_0").sample(infos["eater_0"]["action_mask"]) in (0, 1)
    with pytest.raises(ValueError, match="the action of eater_1 is 2, which is not allowed now"):
        environment.step({"eater_0": np.int64(1), "eater_1": np.int64(2)})
    other = jaxmarl.Environment(path)
    _, state = other.reset(KEY)
    asked = {"eater_0": jnp.int32(3), "eater_1": jnp.int32(2)}
    _, state, _, _, _ = jax.jit(other.step_env)(KEY, state, asked)
    assert other.get_avail_actions(state)["eater_1"].tolist() == [1, 1, 0, 0]
    _, state, rewards, _, _ = jax.jit(other.step_env)(KEY, state, asked)
    assert float(rewards["eater_1"]) == 1  # the nearest to 2

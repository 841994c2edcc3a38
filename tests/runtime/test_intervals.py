"""Choices from intervals, types that choose after others, economies that go on, learning by derivatives."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rbcc.runtime import prng
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.errors import RunError
from rbcc.runtime.learners.ppo import advantages, centred
from rbcc.runtime.parallel.devices import ALONE, SINGLE
from rbcc.runtime.policies.policy import assess_normal, draw_normal
from rbcc.runtime.reports.dataset import simulate
from rbcc.runtime.reports.moments import hp_filter, moments, responses
from rbcc.runtime.reports.tables import write_table
from rbcc.runtime.session import train
from rbcc.runtime.training.loop import Progress, initial_state, networks_of, training
from rbcc.runtime.verification.best_response.learned import Arena, Base
from rbcc.runtime.verification.perturbations import read_plant
from rbcc.runtime.verification.verify import verify


KEY = jax.random.key(3)

LEADER = """
rbcc: 1
model: leader
horizon: 2
discount: 1
agents:
  leader:
    count: 1
    actions:
      tax: {between: [0, 1]}
    reward: tax * sum(i, work[i])
  follower:
    index: i
    count: 3
    after: leader
    state: {tired: {start: 1, scale: 1}}
    actions:
      work: {between: [-1, 2 - tax]}
      rest: {between: [0, "tired[i]"]}
    observes: [tax, {value: doubled, scale: 2}, tired]
    reward: -(work[i] - (1 - tax))^2
equations:
  all: |
    doubled   = 2 * tax
    tired'[i] = tired[i] / 2
indicators: {tax: tax, work: "mean(i, work[i])", rest: "sum(i, rest[i])"}
training:
  phases: {learn: {iterations: 2500, economies: 64, algorithm: pathwise, learning_rate: 1e-2 * (1 - 0.95 * progress)}}
  default: {entropy: "0.03 * max(1 - 1.3 * progress, 0)"}
"""


@pytest.fixture(scope="module")
def leader(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("spec") / "leader.yaml"
    path.write_text(LEADER)
    return compile(path)


def trained(model: Model, seed: int = 0) -> Progress:
    return list(training(model, [seed], SINGLE))[-1][0]


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 3, width=32), st.floats(-4, 3, width=32))
def test_a_draw_has_the_density_it_is_assessed_with(mean: float, spread: float) -> None:
    """Chances of draws and of assessment agree, and integrate to one over what is drawn."""
    outputs = jnp.full((1, 2, 20_001), jnp.array([[mean], [spread]]))
    uniform = ((jnp.arange(20_001) + 0.5) / 20_001)[None]
    drawn, chance = draw_normal(outputs, uniform)
    again, _ = assess_normal(outputs, drawn, False)
    assert np.allclose(chance, again, atol=2e-3)
    density = np.exp(np.asarray(again, float))
    assert np.trapezoid(density, np.asarray(drawn[0], float)) == pytest.approx(1, abs=1e-3)


def test_entropy_is_largest_all_over_the_interval() -> None:
    """To first order it is that of the shares: near that of a uniform share, 0, and less for narrow or extreme ones."""

    def entropy(mean: float, spread: float) -> float:
        outputs = jnp.array([[[mean], [spread]]])
        return float(assess_normal(outputs, jnp.zeros((1, 1)), False)[1][0])

    assert entropy(0, 5) > entropy(0, 0) > entropy(0, -2)
    assert entropy(0, 0) > entropy(2, 0) == pytest.approx(entropy(-2, 0), abs=1e-6)
    narrow = entropy(0.5, -4)
    drawn, _ = draw_normal(
        jnp.full((1, 2, 40_001), jnp.array([[0.5], [-4.0]])), ((jnp.arange(40_001) + 0.5) / 40_001)[None]
    )
    share = np.asarray(jax.nn.sigmoid(drawn[0]), float)
    density = 1 / (40_001 * np.gradient(share))
    assert narrow == pytest.approx(float(np.mean(-np.log(density))), abs=0.01)


def test_choices_stay_within_bounds_that_depend_on_the_state(leader: Model) -> None:
    state = {"time": jnp.int32(0), "follower.tired": jnp.array([0.0, 1.0, 5.0])}
    for number in range(20):
        actions = leader.sample(state, jax.random.key(number))
        assert 0 <= actions["leader.tax"] <= 1
        work, rest = actions["follower.work"], actions["follower.rest"]
        assert (work >= -1).all()
        assert (work <= 2 - actions["leader.tax"] + 1e-6).all()
        assert (rest >= 0).all()
        assert (rest <= state["follower.tired"]).all()


def test_who_chooses_after_sees_the_choice(leader: Model) -> None:
    state = leader.reset(KEY)
    assert set(leader.observe(state)) == {"leader"}
    actions = {"leader.tax": jnp.float32(0.25)}
    seen = leader.observe(state, actions=actions)["follower"]
    assert np.allclose(seen[:, :2], [[0.25, 0.25]] * 3)


@pytest.mark.slow
def test_a_leader_learns_what_its_followers_answer(leader: Model) -> None:
    """Followers work 1 - t, so the revenue t (1 - t) is largest at one half; who chose at once would take all."""
    progress = trained(leader)
    tax, work = progress.metrics["indicator.tax"], progress.metrics["indicator.work"]
    assert tax == pytest.approx(0.5, abs=0.05)
    assert work == pytest.approx(1 - tax, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["pathwise", "ppo"])
def test_learners_find_bertrand_prices(algorithm: str) -> None:
    changes: dict[str, object] = {"training.default.algorithm": algorithm, "training.phases.learn.iterations": 800}
    if algorithm == "ppo":
        changes |= {"training.phases.learn.economies": 256}
    progress = trained(compile("bertrand_linear", changes))
    assert progress.metrics["indicator.price"] == pytest.approx(4, abs=0.04 if algorithm == "pathwise" else 0.2)


def test_agents_of_a_type_compete_when_they_learn_by_derivatives() -> None:
    """A cartel of Cournot's sellers would sell 22.5; each for itself sells 30."""
    changes = {"training.phases.learn.iterations": 800, "training.phases.learn.economies": 16}
    assert trained(compile("cournot_interval", changes)).metrics["indicator.quantity"] == pytest.approx(30, abs=0.3)


@pytest.mark.parametrize(("given", "quantity"), [("[price]", 22.5), pytest.param("[]", 18, marks=pytest.mark.slow)])
def test_price_takers_sell_more_than_those_who_move_the_price(tmp_path: Path, given: str, quantity: float) -> None:
    """Two sellers, p = 100 - Q, marginal cost 10 + 2 q: p = 10 + 2 q, or p - q = 10 + 2 q. Nobody gains alone."""
    quick = {"training.phases.learn.iterations": 500, "verify.iterations": 100, "verify.episodes": 256}
    changes: dict[str, object] = {"agents.seller.takes_as_given": given, **quick}
    run = train("price_takers", changes, out=tmp_path / "run")
    found = verify(run.folder)
    assert found.indicators["quantity"] == pytest.approx(quantity, rel=0.01)
    alone = next(row for row in found.rows if "individual" in row.estimate.notions)
    assert alone.estimate.gain.share is not None
    assert alone.estimate.gain.share.value < 0.005


@pytest.mark.slow
def test_someone_who_could_sell_more_at_the_given_price_is_found(tmp_path: Path) -> None:
    """At 18 each the price is 64, at which one who takes it as given sells 27: 54 * 27 - 27^2 = 729, against 648."""
    quick = {"training.phases.learn.iterations": 200, "verify.iterations": 100, "verify.episodes": 256}
    run = train("price_takers", quick, out=tmp_path / "run")
    found = verify(run.folder, plants=["seller.quantity=30%"])
    alone = next(row for row in found.rows if "individual" in row.estimate.notions)
    assert alone.estimate.payoff == pytest.approx(648)
    assert alone.estimate.gain.amount.value == pytest.approx(81, rel=0.05)


def test_the_value_of_what_follows_is_in_the_advantages() -> None:
    rewards, values = jnp.ones((3, 2, 1)), jnp.zeros((3, 2, 1))
    found = advantages(rewards, values, jnp.float32(0.5), jnp.float32(1), jnp.array([[8.0], [0.0]]))
    assert np.allclose(found[:, 0, 0], [1 + 0.5 + 0.25 + 1, 1 + 0.5 + 2, 1 + 4])
    assert np.allclose(found[:, 1, 0], [1.75, 1.5, 1])
    assert float(jnp.mean(centred(jax.random.normal(KEY, (5, 3, 1)), ALONE))) == pytest.approx(0, abs=1e-6)


@pytest.fixture(scope="module")
def growth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "growth"
    changes = {"horizon": 24, "training.phases.learn.iterations": 600, "training.phases.learn.economies": 8}
    train("brock_mirman_shocks", changes, out=folder)
    return folder


@pytest.mark.slow
def test_an_economy_that_goes_on_is_not_eaten_up_at_the_end_of_an_episode(growth: Path) -> None:
    share = simulate(growth, episodes=64, steps=100)["indicator.share"].values.mean(axis=0)
    assert np.allclose(share, 1 - 0.36 * 0.96, atol=0.02)


def test_tables_for_papers(growth: Path, tmp_path: Path) -> None:
    """A column per indicator with errors in brackets; all columns and numbers in CSV."""
    found = moments(growth, steps=20, paths=4)
    write_table(found, tmp_path / "m.tex")
    first, top, head, middle, unit, mean, *_ = (tmp_path / "m.tex").read_text().splitlines()
    assert first == r"\begin{tabular}{lrr}"
    assert (top, middle) == (r"\toprule", r"\midrule")
    assert head == r" & output & share \\"
    assert unit == r"unit & level & level \\"
    number = r"[\d.]+|\$[\d.]+ \\times 10\^\{-\d+\}\$"
    assert re.fullmatch(rf"mean & ({number}) \(({number})\) & ({number}) \(({number})\) \\\\", mean)
    write_table(found, tmp_path / "m.csv")
    assert len((tmp_path / "m.csv").read_text().splitlines()[0].split(",")) == 1 + found.shape[1]
    write_table(responses(growth, "productivity=+0.01", steps=2, paths=4), tmp_path / "i.tex")
    head = (tmp_path / "i.tex").read_text().splitlines()[2]
    assert head == r"indicator & step & unit & response & low & high \\"


def test_moments_of_a_known_process(growth: Path) -> None:
    """Productivity is an AR(1), and log output inherits its persistence: the first autocorrelation is .976."""
    found = moments(growth, relative_to="output", steps=2000, burn=100, paths=32)
    row = found.loc["output"]
    assert row["mean"] == pytest.approx(0.5504, abs=0.01)
    assert row["rho_1"] == pytest.approx(0.976155, abs=0.008)
    assert found.loc["share"]["relative_sd"] < 0.5
    assert 0 < row["mean_error"] < 0.01


def test_responses_to_a_shock_come_from_paired_paths(growth: Path) -> None:
    """Output moves by the shock itself at once, then by what the capital adds: alpha more a period later."""
    found = responses(growth, "productivity=0.01", steps=3, paths=64).query("indicator == 'output'")
    assert set(found["unit"]) == {"%"}
    assert found["response"].iloc[0] == pytest.approx(100 * np.expm1(0.01), abs=1e-3)
    assert found["response"].iloc[1] == pytest.approx(100 * (0.95 + 0.36) * 0.01, abs=0.1)
    assert found["error"].iloc[0] < 1e-5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda run: responses(run, "capitol=1"), "did you mean 'planner.capital'"),
        (lambda run: responses(run, "capital"), "not a shock"),
        (lambda run: moments(run, relative_to="outputs", steps=20), "did you mean 'output'"),
        (lambda run: moments(run, steps=4), "8 steps"),
    ],
)
def test_mistakes_are_told_in_words(growth: Path, call: object, words: str) -> None:
    with pytest.raises(RunError, match=words):
        call(growth)  # type: ignore[operator]


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 60), st.floats(1, 1e5), st.floats(-5, 5), st.floats(-5, 5))
def test_a_line_has_no_cycle(steps: int, smoothness: float, level: float, slope: float) -> None:
    line = level + slope * np.arange(steps)
    assert np.allclose(hp_filter(line[None], smoothness), 0, atol=1e-6)


def test_hp_filter_solves_its_minimisation() -> None:
    series = np.random.default_rng(0).normal(size=(2, 40)).cumsum(axis=1)
    second = np.diff(np.eye(40), 2, axis=0)
    trend = np.linalg.solve(np.eye(40) + 1600 * second.T @ second, series.T).T
    assert np.allclose(hp_filter(series, 1600), series - trend)


def test_plants_of_intervals_are_shares(leader: Model) -> None:
    assert read_plant(leader, "leader.tax=25%").choice == 0.25  # type: ignore[union-attr]
    with pytest.raises(RunError, match="write a share"):
        read_plant(leader, "leader.tax=0.25")


def test_intervals_are_scaled_from_their_lower_end() -> None:
    """Taxes are from [0, 1], drawn by a network that has not learned."""
    model = compile("leader_tax", {"agents.worker.count": 3, "training.default.network": "[4]"})
    networks, taxes = initial_state(model, 0).networks, []
    for plants in ([], ["planner.tax*50%"], ["planner.tax*0"], ["planner.tax*1e6"]):
        planned = tuple(read_plant(model, text) for text in plants)
        base = Base(Arena(model, networks_of(model), networks, {}, planned, 64, SINGLE))
        taxes.append(base(networks, {}, prng.key(0), 1).indicators["tax"])
    assert 0.2 < taxes[0] < 0.8
    assert taxes[1:] == pytest.approx([taxes[0] / 2, 0, 1], abs=1e-4)

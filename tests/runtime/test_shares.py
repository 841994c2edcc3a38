"""Choices that are shares of a whole: they sum to 1, and agents learn to divide it as they should."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transitions import compare

from rbcc.runtime.actions.spaces import divided, heads_of, numbers_of, shares_of, stacks_of
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.errors import RunError
from rbcc.runtime.parallel.devices import SINGLE
from rbcc.runtime.policies.policy import assess_normal, draw_normal
from rbcc.runtime.reports.dataset import simulate
from rbcc.runtime.session import train
from rbcc.runtime.training.loop import training
from rbcc.runtime.validation.property_testing import try_out
from rbcc.runtime.verification.perturbations import Frozen, read_plant
from rbcc.runtime.verification.verify import verify


KEY = jax.random.key(3)

# Households divide what they have between tasks and give to each other; the log of a share is worth its weight.
SPEC = """
rbcc: 1
model: divide
horizon: 1
discount: 1
agents:
  household:
    index: [i, k]
    count: 3
    actions:
      effort: {shares: task}
      gift: {shares: household}
      save: {between: [0, 1]}
    state: {last: {over: task, start: 0.25}}
    observes: [last, save_last, i]
    reward: sum(j, weight[j] * log(effort[i,j])) + log(gift[i,i]) + sum(k where k != i, 0.5 * log(gift[i,k])) - save[i]^2
  task:
    index: j
    count: 4
    parameters: {weight: {value: 1 + j}}
state: {save_last: {start: 0, scale: 1}}
equations:
  all: |
    last'[i,j] = effort[i,j]
    save_last' = mean(i, save[i])
identities: {whole: "sum(j, effort[i,j]) == 1", gifts: "sum(i, k, gift[i,k]) == 3"}
invariants: ["effort[i,j] >= 0"]
indicators:
  first: "sum(j where j == 0, mean(i, effort[i,j]))"
  last: "sum(j where j == 3, mean(i, effort[i,j]))"
  kept: mean(i, gift[i,i])
training:
  phases: {learn: {iterations: 300, economies: 8, algorithm: pathwise, learning_rate: 2e-2 * (1 - 0.95 * progress)}}
  default: {entropy: 0, network: [16]}
verify:
  shutdown: {household.effort: 0, household.gift: 2}
  iterations: 8
  economies: 8
  episodes: 64
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("spec") / "divide.yaml"
    found.write_text(SPEC)
    return found


@pytest.fixture(scope="module")
def model(path: Path) -> Model:
    return compile(path)


# --- shares and the numbers that are drawn for them ----------------------------------------------------------------


def test_numbers_of_any_size_are_shares_and_back() -> None:
    numbers = jnp.asarray(3 * np.random.default_rng(0).normal(size=(4, 1000)))
    shares = shares_of(numbers)
    assert shares.shape == (5, 1000)
    assert (shares > 0).all()
    assert np.allclose(shares.sum(0), 1, atol=1e-6)
    assert np.allclose(numbers_of(shares), numbers, atol=1e-4)
    assert np.allclose(shares_of(jnp.array([[0.7]]))[0], jax.nn.sigmoid(0.7))
    for member in range(5):
        assert np.allclose(shares_of(numbers_of(jnp.eye(5)[member])), jnp.eye(5)[member], atol=1e-6)


@pytest.mark.parametrize("members", [2, 3, 7])
def test_random_shares_are_uniform(members: int) -> None:
    """Each is Beta(1, members - 1): a share is above x with the chance (1 - x)^(members - 1)."""
    shares = np.asarray(divided(jnp.asarray(np.random.default_rng(0).random((members - 1, 40_000)))))
    assert np.allclose(shares.sum(0), 1, atol=1e-6)
    assert (shares >= 0).all()
    for x in (0.1, 0.3, 0.6):
        assert np.allclose((shares > x).mean(1), (1 - x) ** (members - 1), atol=0.012)


def test_two_shares_are_an_interval() -> None:
    random = np.random.default_rng(0)
    outputs, drawn = jnp.asarray(random.normal(size=(1, 2, 50))), jnp.asarray(random.normal(size=(1, 50)))
    assert np.allclose(assess_normal(outputs, drawn, True), assess_normal(outputs, drawn, False), atol=1e-6)


def test_entropy_is_that_of_the_shares() -> None:
    """The mean of -log density, which is that of the numbers over the product of all shares."""
    outputs = jnp.broadcast_to(jnp.array([[0.5, -3.0], [-0.4, -3.5]])[..., None], (2, 2, 100_000))
    drawn, chance = draw_normal(outputs, jax.random.uniform(KEY, (2, 100_000)))
    again, entropy = assess_normal(outputs, drawn, True)
    assert np.allclose(chance, again, atol=1e-3)
    density = chance - jnp.log(shares_of(drawn)).sum(0)
    assert float(entropy[0]) == pytest.approx(float(-density.mean()), abs=0.02)

    def of(*mean: float) -> float:
        one = jnp.array([[m, 0.0] for m in mean])[..., None]
        return float(assess_normal(one, jnp.zeros((2, 1)), True)[1][0])

    assert of(0, 0) > of(1, 0) > of(3, 0)
    assert of(1, 0) == pytest.approx(of(0, 1), abs=1e-6)  # who is the last makes no difference to the others


def test_a_network_has_a_number_less_than_shares(model: Model) -> None:
    heads = heads_of("household", model.spaces, ())
    assert [(head.repeats, head.choices) for head in heads] == [(3, 2), (2, 2), (1, 2)]
    assert [(stack.repeats, stack.shares) for stack in stacks_of(heads)] == [(1, False), (3, True), (2, True)]


# --- the model -----------------------------------------------------------------------------------------------------


def test_what_the_module_computes_is_what_the_model_means(path: Path) -> None:
    compare(compile(path), 100)


def test_a_single_agent_divides_after_others(tmp_path: Path) -> None:
    planner = """planner:
    count: 1
    after: household
    actions: {grant: {shares: household}}
    observes: [effort, grants]
    reward: sum(i, grant[i] * sum(j, j * effort[i,j]))
    state: {grants: {over: household, start: 0}}
  task:"""
    text = SPEC.replace("task:", planner, 1).replace("    save_last' =", "    grants'[i] = grant[i]\n    save_last' =")
    (tmp_path / "planner.yaml").write_text(text)
    model = compile(tmp_path / "planner.yaml")
    actions = model.sample(model.reset(KEY), KEY)
    assert np.allclose(actions["planner.grant"].sum(), 1, atol=1e-6)
    seen = model.observe(model.reset(KEY), actions=actions)["planner"]
    assert np.allclose(seen[:12].reshape(3, 4), actions["household.effort"])
    compare(model, 20)


def test_samples_are_legal(model: Model) -> None:
    actions = jax.vmap(lambda key: model.sample(model.reset(KEY), key))(jax.random.split(KEY, 500))
    effort, gift = actions["household.effort"], actions["household.gift"]
    assert (effort.shape, gift.shape) == ((500, 3, 4), (500, 3, 3))
    assert np.allclose(effort.sum(-1), 1, atol=1e-6)
    assert np.allclose(gift.sum(-1), 1, atol=1e-6)
    assert np.allclose(effort.mean((0, 1)), 0.25, atol=0.02)
    assert np.allclose(gift.mean((0, 1)), 1 / 3, atol=0.03)


def test_who_is_alone_gets_all(path: Path) -> None:
    model = compile(path, {"agents.task.count": 1})
    actions = model.sample(model.reset(KEY), KEY)
    assert np.array_equal(actions["household.effort"], np.ones((3, 1)))
    assert [head.actions[0].name for head in heads_of("household", model.spaces, ())] == [
        "household.gift",
        "household.save",
    ]
    compare(model, 20)


def test_what_does_not_hold_is_found_at_corners(path: Path) -> None:
    changes: dict[str, object] = {"invariants": '["j * effort[i,j] < 3"]', "agents.household.reward": "-save[i]"}
    (failure,) = try_out(compile(path, changes)).failures
    start, case = failure.case
    assert start == "from the start"
    assert "household.effort[0, 0] = 0, household.effort[0, 3] = 1; all others" in case
    assert case.endswith(" as near to 0 as they can be, shares all with the first")


# --- learning ------------------------------------------------------------------------------------------------------


def shares_learned(path: Path, changes: dict[str, object]) -> tuple[float, float, float]:
    found = list(training(compile(path, changes), [0], SINGLE))[-1][0].metrics
    return found["indicator.first"], found["indicator.last"], found["indicator.kept"]


@pytest.mark.slow
def test_derivatives_divide_as_weights_do(path: Path) -> None:
    assert shares_learned(path, {}) == pytest.approx((0.1, 0.4, 0.5), rel=0.01)


@pytest.mark.slow
def test_rewards_divide_as_weights_do(path: Path) -> None:
    changes: dict[str, object] = {
        "training.phases.learn.algorithm": "ppo",
        "training.phases.learn.economies": 64,
    }
    assert shares_learned(path, changes) == pytest.approx((0.1, 0.4, 0.5), rel=0.03)


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_runs_are_simulated_and_verified(path: Path, tmp_path: Path) -> None:
    run = train(path, {"training.phases.learn.iterations": 20}, out=tmp_path / "run")
    found = simulate(run.folder, episodes=5)
    assert found["household.effort"].dims == ("episode", "step", "household", "task")
    assert np.allclose(found["household.effort"].sum("task"), 1, atol=1e-6)
    result = verify(run.folder, plants=["household.gift=1"])
    assert "household.gift goes to household 1 alone in 100% of all cases" in result.edges
    assert all(np.isfinite(row.bounds.upper) for row in result.rows)


def test_plants_of_shares_of_a_single_member(tmp_path: Path) -> None:
    """It gets all, whatever is chosen; it is number 0, as anywhere else."""
    (tmp_path / "divide.yaml").write_text(SPEC)
    alone = compile(tmp_path / "divide.yaml", {"agents.task.count": 1})
    assert read_plant(alone, "household.effort=0") == Frozen("household", "household.effort", 0)
    with pytest.raises(RunError, match="write the number of the task that gets all, from 0 to 0"):
        read_plant(alone, "household.effort=1")


def test_plants_of_shares_give_all_to_one(model: Model) -> None:
    with pytest.raises(RunError, match="effort is shares, which sum to 1; it is not multiplied"):
        read_plant(model, "household.effort*50%")
    assert read_plant(model, "household.effort=3") == Frozen("household", "household.effort", 3)
    assert read_plant(model, "household[1].gift=0") == Frozen("household", "household.gift", 0, 1)
    for text in ("household.effort=4", "household.effort=20%", "household.effort=0.5"):
        with pytest.raises(RunError, match="write the number of the task that gets all, from 0 to 3"):
            read_plant(model, text)

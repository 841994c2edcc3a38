import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.compiler.source import shipped_models
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.parallel.devices import SINGLE
from rbcc.runtime.training.loop import Progress, initial_state, networks_of, training
from rbcc.runtime.training.schedule import Scheduled, scheduled


SMALL = {
    "training.default.network": "[8]",
    "training.phases.explore.iterations": 40,
    "training.phases.explore.economies": 2,
    "training.phases.polish.iterations": 6,
    "training.phases.polish.economies": 3,
}


@pytest.fixture(scope="module")
def tiny() -> Model:
    return compile("open_rbc_small", SMALL)


def alone(found: Iterable[tuple[Progress, ...]]) -> list[Progress]:
    """The progress of a training of a single seed."""
    return [progress for (progress,) in found]


@pytest.fixture(scope="module")
def whole(tiny: Model) -> list[Progress]:
    return alone(training(tiny, [0]))


def same(a: object, b: object) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_same_seed_same_numbers(tiny: Model, whole: list[Progress]) -> None:
    for one, two in zip(whole, alone(itertools.islice(training(tiny, [0]), 10)), strict=False):
        assert same(one.state, two.state)
        assert one.metrics == two.metrics


def test_other_seed_other_numbers(tiny: Model, whole: list[Progress]) -> None:
    assert not same(whole[0].state, next(training(tiny, [1]))[0].state)


@pytest.mark.parametrize("stop", [7, -3])
def test_going_on_from_any_point_gives_the_same(tiny: Model, whole: list[Progress], stop: int) -> None:
    assert [(p.phase, p.iteration) for p in whole][-1] == (1, 6)
    at = whole[stop]
    rest = alone(training(tiny, [0], SINGLE, [at.state], at.phase, at.iteration))
    assert same(rest[-1].state, whole[-1].state)


def test_types_start_when_the_spec_says(tiny: Model, whole: list[Progress]) -> None:
    fresh, moved = initial_state(tiny, 0).networks, {}
    for progress in whole:
        moved = {agent: not same(fresh[agent], progress.state.networks[agent]) for agent in fresh}
        share = progress.iteration / 40
        if progress.phase == 0:
            assert moved == {"consumer": True, "firm": share > 0.2, "government": share > 0.2}, share
            assert ("entropy.firm" in progress.metrics) == (share > 0.2)
    assert all(moved.values())


def test_schedules(tiny: Model) -> None:
    nets = networks_of(tiny)
    explore, polish = tiny.ir.phases

    def at(share: float) -> Scheduled:
        return scheduled(tiny, explore, nets, jnp.float32(share * explore.iterations))

    start, early, middle = at(0.0), at(0.3), at(0.5)
    assert start.parameters["disutility_scale"] == 0
    assert np.isclose(middle.parameters["disutility_scale"], 1 - np.exp(-10))
    assert int(start.masks["firm"][0].sum()) == 1
    assert int(middle.masks["firm"][0].sum()) == 30
    assert int(at(0.3).masks["government"][0].sum()) == 9  # both taxes from 0 to 0.5
    assert np.isclose(middle.settings["consumer"]["entropy"], 0.5 * np.exp(-2))
    assert np.isclose(early.settings["firm"]["entropy"], 0.5 * np.exp(-4 * (0.3 - 0.2)))
    assert np.isclose(early.settings["firm"]["sharpness"], 1 + 5 * (0.3 - 0.2) / 0.4)
    assert np.isclose(middle.settings["firm"]["learning_rate"], 5e-4 * 0.55)
    done = scheduled(tiny, polish, nets, jnp.float32(0))
    assert done.parameters == {}
    for agent, policy in nets.items():
        for mask, free in zip(done.masks[agent], policy.allowed(), strict=True):
            assert np.array_equal(mask, free)
    assert all(bool(values["started"]) for values in done.settings.values())


def test_schedules_compute_with_real_numbers(write_spec) -> None:
    """Neither whole numbers that overflow nor Python's division by zero."""
    rate = "1 / (1 + iteration^3) + exp(-1 / (1 - progress))"
    model = compile("cournot", {"training.default.learning_rate": rate})
    schedule = model.module.schedule_learn(2000, 1.0)["learners"]["seller"]
    assert np.isclose(schedule["learning_rate"], 1 / (1 + 2000**3))
    alive = compile("cournot", {"verify.alive": "[quantity / price > 1]"}).module.alive
    assert not bool(alive({"quantity": 0.0, "price": 0.0})["quantity / price > 1"])


def test_types_may_be_called_as_parts_of_a_schedule(write_spec) -> None:
    """An agent type `openings` learns, and windows open."""
    text = (shipped_models() / "cournot.yaml").read_text().replace("seller", "openings")
    text = text.replace("  default:", "  anneal: {openings.quantity: {open: [0, 1], from: 30}}\n  default:")
    model = compile(write_spec(text))
    now = scheduled(model, model.ir.phases[0], networks_of(model), jnp.float32(0))
    assert int(now.masks["openings"][0].sum()) == 1
    assert bool(now.settings["openings"]["started"])


def test_update_period(write_spec) -> None:
    model = compile("cournot", {"training.default.period": 3, "training.phases.learn.iterations": 9})
    states = [initial_state(model, 0).networks, *(p.state.networks for p in alone(training(model, [0])))]
    changed = [not same(a, b) for a, b in itertools.pairwise(states)]
    assert changed == [True, False, False] * 3


@pytest.mark.parametrize("algorithm", ["ppo", "policy_gradient"])
def test_cournot_sellers_find_the_nash_quantity(algorithm: str) -> None:
    settings = {"training.default.algorithm": algorithm}
    if algorithm == "policy_gradient":
        settings |= {"training.default.epochs": 1}
    *_, last = alone(training(compile("cournot", settings), [0]))
    assert last.metrics["indicator.quantity"] == pytest.approx(30, abs=0.6)
    assert last.metrics["reward.seller"] == pytest.approx(900, rel=0.02)


PONZI = """
rbcc: 1
model: debt
horizon: 4
discount: 1
agents:
  saver:
    index: i
    count: 5
    state: {wealth: {start: 0, scale: 10}}
    actions: {spend: {choices: [0, 1, 2, 3]}}
    observes: [time, wealth]
    reward: spend[i]
    constraints:
      no_ponzi: {violation: "max(-wealth'[i], 0)", at: end}
equations:
  all: wealth'[i] = wealth[i] + 1 - spend[i]
indicators: {spend: "mean(i, spend[i])"}
training:
  phases: {learn: {iterations: 400, economies: 32}}
  default: {learning_rate: 5e-3, entropy: 0.05 * (1 - progress)}
  saver: {lagrangian: {no_ponzi: STEP}}
"""


@pytest.mark.parametrize(("step", "spend"), [("0", 3.0), ("0.02", 1.0)])
def test_a_rising_multiplier_enforces_a_constraint(write_spec, step: str, spend: float) -> None:
    """Without a multiplier all is spent; with one, what comes in: 1 a step."""
    *_, last = alone(training(compile(write_spec(PONZI.replace("STEP", step))), [0]))
    assert last.metrics["indicator.spend"] == pytest.approx(spend, abs=0.12)
    multiplier = float(last.state.multipliers["saver.no_ponzi"])
    assert (multiplier > 1) == (step != "0")
    assert last.metrics["reward.saver"] == pytest.approx(
        last.metrics["indicator.spend"], rel=1e-4
    )  # unscaled, no penalty


def test_type_with_nothing_to_choose_takes_no_part(write_spec) -> None:
    spec = PONZI.replace("equations:", "  idler: {count: 2, index: k, state: {age: 1}}\nequations:")
    spec = spec.replace(
        "all: wealth'[i] = wealth[i] + 1 - spend[i]",
        "all: |\n    wealth'[i] = wealth[i] + 1 - spend[i]\n    age'[k] = age[k]",
    )
    model = compile(write_spec(spec.replace("STEP", "0").replace("400", "2")))
    *_, last = alone(training(model, [0]))
    assert set(last.state.networks) == {"saver"}


SAMPLED = {**SMALL, "training.phases.explore.iterations": 1, "training.phases.explore.curriculum": "finished"}


def explored(**changes: object) -> Progress:
    overrides = {f"training.{name.replace('__', '.')}": value for name, value in changes.items()}
    return next(training(compile("open_rbc_small", SAMPLED | overrides), [0]))[0]


def test_who_explores_is_learned_from() -> None:
    """What explorers earn does not depend on how many others do, as long as the profile is what they play."""
    plain = {"default__explorers": 1, "default__sharpness": 1}
    whole, some = explored(**plain), explored(**plain | {"consumer__explorers": "25%"})
    assert not same(whole.state.networks["consumer"], some.state.networks["consumer"])
    assert whole.metrics["reward.consumer"] == pytest.approx(some.metrics["reward.consumer"], rel=1e-5)
    # What is measured on some estimates what is measured on all.
    for name, off in (("entropy.consumer", 0.01), ("value_loss.consumer", 0.3)):
        assert abs(some.metrics[name] / whole.metrics[name] - 1) < off, name


@pytest.mark.slow
def test_half_precision_learns_the_same_up_to_rounding() -> None:
    exact, rounded = explored(), explored(precision="bf16")
    assert not same(exact.state.networks, rounded.state.networks)
    for name in ("entropy.consumer", "value_loss.consumer", "reward.consumer", "entropy.firm", "reward.government"):
        assert abs(rounded.metrics[name] - exact.metrics[name]) < 0.05 * abs(exact.metrics[name]), name


@pytest.mark.slow
def test_losses_are_those_of_the_same_algorithm_in_plain_jax() -> None:
    """`bench/plain.py` knows neither stacks of heads nor blocks, shared features nor derivatives by hand."""
    script = Path(__file__).parents[3] / "bench" / "training.py"
    done = subprocess.run(
        [sys.executable, str(script), "--same", "--economies=4", "--network=16,16"],
        env={**os.environ, "JAX_ENABLE_X64": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    differences = json.loads(done.stdout)
    assert len(differences) == 9
    assert max(differences.values()) < 1e-5

"""Sessions of training: phases that end when no one gains, and runs that start from the networks of another."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from rbcc.runtime.economy.model import compile
from rbcc.runtime.errors import RunError
from rbcc.runtime.reports.plots import training_curves
from rbcc.runtime.session import train, train_seeds
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.training.loop import LONG, Progress, initial_state, measured, over
from rbcc.runtime.verification.live import LiveExploitability
from rbcc.runtime.verification.verify import exploitability


TINY = {
    "training.default.network": "[8]",
    "training.phases.learn.iterations": 60,
    "training.phases.learn.economies": 8,
    "verify.economies": 64,
    "verify.episodes": 256,
    "verify.iterations": 50,
}
UNTIL = {**TINY, "training.phases.learn.until": "90%", "training.phases.learn.iterations": 100}


def same(a: object, b: object) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def timeless(run: Run) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in run.metrics]


# --- gains while training ------------------------------------------------------------------------------------------


def test_untrained_sellers_gain_nearly_what_the_exact_answer_says() -> None:
    model = compile("cournot", {**TINY, "training.default.sharpness": 1})
    state, phase = initial_state(model, 0), model.ir.phases[0]
    metrics = LiveExploitability(model)(state, phase, 0, 0)
    exact = next(row.estimate.exact for row in exploitability(model, state.networks).rows if row.estimate.exact)
    assert exact is not None
    assert 0.6 * exact.gain < metrics["gain.seller"] < 1.05 * exact.gain


def test_at_the_equilibrium_no_one_gains() -> None:
    model = compile("cournot", TINY)
    state, phase = initial_state(model, 0), model.ir.phases[0]
    number = model.spaces["seller.quantity"].values.index(30.0)
    network = dict(state.networks["seller"])
    (head,) = network["choices"]
    network["choices"] = [{**head, "bias": head["bias"].at[number].add(50.0)}]
    metrics = LiveExploitability(model)(replace(state, networks={"seller": network}), phase, phase.iterations, 0)
    assert metrics == pytest.approx({"gain.seller": 0, "gain_share.seller": 0}, abs=0.5)


def test_long_phases_are_measured_five_times_and_short_ones_not() -> None:
    phase = compile("cournot").ir.phases[0]
    counts = {}
    for iterations in (LONG - 1, LONG, 1234, 7777):
        long = replace(phase, iterations=iterations)
        counts[iterations] = sum(measured(long, number) for number in range(1, iterations + 1))
    assert counts[LONG - 1] == 0
    assert all(5 <= counts[iterations] <= 6 for iterations in (LONG, 1234, 7777))


@pytest.mark.parametrize(
    ("until", "metrics", "ended"),
    [
        ("1%", {"gain.seller": 5.0, "gain_share.seller": 0.01}, True),
        ("1%", {"gain.seller": 5.0, "gain_share.seller": 0.011}, False),
        ("1%", {}, False),
        ("1%", {"gain.seller": 0.0}, False),  # a share of nothing
        ("2 money", {"gain.seller": 2.0, "gain_share.seller": 0.5}, True),
        ("2 money", {"gain.seller": 2.1, "gain_share.seller": 0.001}, False),
        ("{seller: 1%}", {"gain.seller": -1.0, "gain_share.seller": -0.1}, True),
    ],
)
def test_when_a_phase_is_over(until: str, metrics: dict[str, float], ended: bool) -> None:
    phase = compile("cournot", {"training.phases.learn.until": until}).ir.phases[0]
    assert over(phase, 10, metrics) == ended
    assert over(phase, phase.iterations, {})


def test_types_left_out_are_not_waited_for() -> None:
    phase = compile("leader_tax", {"training.phases.learn.until": "{planner: 1%}"}).ir.phases[0]
    assert [agent for agent, _ in phase.until] == ["planner"]
    assert over(phase, 10, {"gain_share.planner": 0.0, "gain_share.worker": 0.5})


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("cournot", UNTIL, out=tmp_path_factory.mktemp("runs") / "ended")


def test_a_phase_ends_when_gains_are_small(ended: Run) -> None:
    state, phase, iteration = ended.checkpoint()
    assert (phase, iteration) == (0, 20)
    assert ended.finished
    assert len(ended.metrics) == 20
    assert same(ended.state("phases/learn"), state)
    assert ended.metrics[-1]["gain_share.seller"] <= 0.9
    training_curves([ended])


def test_stopped_after_its_end_it_is_not_trained_on(ended: Run, tmp_path: Path) -> None:
    shutil.copytree(ended.folder, tmp_path / "a")
    Run.open(tmp_path / "a").write_manifest(status="running")
    (tmp_path / "a" / "phases" / "learn.safetensors").unlink()
    again = train("cournot", UNTIL, out=tmp_path / "a", resume=True)
    assert timeless(again) == timeless(ended)
    assert again.finished
    assert same(again.state("phases/learn"), ended.state())


def test_stopped_before_its_end_it_ends_there_too(ended: Run, tmp_path: Path) -> None:
    def stop(_: Sequence[Run], progress: Sequence[Progress]) -> None:
        if progress[0].iteration == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("cournot", UNTIL, out=tmp_path / "a", listener=stop)
    again = train("cournot", UNTIL, out=tmp_path / "a", resume=True)
    assert timeless(again) == timeless(ended)
    assert same(again.state(), ended.state())


def test_seeds_that_end_apart_are_not_trained_as_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="phase learn has 'until', so each seed ends it after iterations of its own"):
        train_seeds("cournot", UNTIL, seeds=range(2), out=tmp_path / "a")


# --- networks to start from ----------------------------------------------------------------------------------------


def test_a_run_starts_from_the_networks_of_another(ended: Run, tmp_path: Path) -> None:
    said: list[str] = []
    changed = {**TINY, "parameters.cost": 12, "training.phases.learn.iterations": 1}
    run = train("cournot", changed, start=ended.folder, out=tmp_path / "a", say=said.append)
    assert f"starting from {ended.folder}: seller" in said
    assert same(run.state("start").networks, ended.state().networks)
    assert not same(run.state().networks, ended.state().networks)


def test_killed_before_its_first_checkpoint_it_starts_there_again(ended: Run, tmp_path: Path) -> None:
    whole = train("cournot", TINY, start=ended.folder, out=tmp_path / "a")
    shutil.copytree(whole.folder, tmp_path / "b")
    for name in ("checkpoint", "previous", "phases/learn"):
        (tmp_path / "b" / f"{name}.safetensors").unlink(missing_ok=True)
    Run.open(tmp_path / "b").write_manifest(status="running")
    again = train("cournot", TINY, out=tmp_path / "b", resume=True)
    assert same(again.state(), whole.state())


def test_types_that_see_or_choose_something_else_start_anew(tmp_path: Path) -> None:
    small = {"training.phases": "{learn: {iterations: 1, economies: 2}}"}
    first = train("leader_tax", small, out=tmp_path / "a")
    said: list[str] = []
    blind = {**small, "agents.worker.observes": "[{value: planner.tax, scale: 1}]"}
    other = train("leader_tax", blind, start=first.folder, out=tmp_path / "b", say=said.append)
    assert f"starting from {first.folder}: planner; from random networks: worker" in said
    started, fresh = other.state("start").networks, initial_state(other.model, 0).networks
    assert same(started["planner"], first.state().networks["planner"])
    assert same(started["worker"], fresh["worker"])


def test_starts_that_make_no_sense(ended: Run, tmp_path: Path) -> None:
    def refused(words: str, spec: str = "cournot", **asked: Any) -> None:
        with pytest.raises(RunError, match=words):
            train(spec, TINY if spec == "cournot" else None, out=tmp_path / "a", **asked)
        assert not (tmp_path / "a").exists()

    refused("a phase to begin with needs a run to start from", phase="learn")
    refused("there is no phase 'lern'; phases of this spec: learn", start=ended.folder, phase="lern")
    refused("is not a run directory", start=tmp_path)
    refused("no agent type sees and chooses the same as in", "matching_pennies", start=ended.folder)

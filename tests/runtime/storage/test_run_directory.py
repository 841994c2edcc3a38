import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from filelock import FileLock
from jax.experimental import multihost_utils

from rbcc.compiler.diagnostics import CompileError
from rbcc.runtime.economy.model import compile
from rbcc.runtime.errors import Diverged, RunError, Violated
from rbcc.runtime.session import train, train_seeds
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.training.loop import Progress
from rbcc.runtime.verification.verify import verify


TINY = {
    "training.default.network": "[8]",
    "training.phases.learn.iterations": 60,
    "training.phases.learn.economies": 8,
}
SET = [f"--set={path}={value}" for path, value in TINY.items()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("cournot", TINY, out=tmp_path_factory.mktemp("runs") / "cournot", seed=3)


def same(a: object, b: object) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_the_directory_tells_everything(run: Run) -> None:
    names = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert names - {"previous.safetensors"} == {  # which a slow machine writes too
        "manifest.json", "spec.yaml", "module.py", "metrics.jsonl", "checkpoint.safetensors", "phases/learn.safetensors",
    }  # fmt: skip
    manifest = json.loads((run.folder / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["seed"] == 3
    assert manifest["overrides"] == {k: str(v) for k, v in TINY.items()}
    assert set(manifest["versions"]) >= {"rbcc", "jax", "jaxlib", "optax", "python"}
    assert manifest["digest"] == run.model.ir.digest
    assert (run.folder / "module.py").read_text() == compile("cournot", TINY).text
    assert [record["iteration"] for record in run.metrics] == list(range(1, 61))


@pytest.mark.slow
def test_resolved_spec_is_the_same_model(tmp_path: Path) -> None:
    one = train(
        "open_rbc_small",
        {"training": "{phases: {explore: {iterations: 1, economies: 1}, polish: null}}"},
        out=tmp_path / "a",
    )
    assert "extends" not in (one.folder / "spec.yaml").read_text()
    assert one.model.ir.digest == one.manifest["digest"]


def test_opened_again_it_is_the_same(run: Run) -> None:
    again = Run.open(run.folder)
    assert same(again.state(), run.state())
    assert same(again.state("phases/learn"), run.state())
    assert again.finished


def test_a_directory_is_never_overwritten(run: Run) -> None:
    with pytest.raises(RunError, match="already exists; choose another with --out"):
        train("cournot", TINY, out=run.folder)


def test_default_directories_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {**TINY, "training.phases.learn.iterations": 1}
    assert [str(train("cournot", settings).folder) for _ in range(2)] == ["runs/cournot", "runs/cournot-2"]


class Stop(Exception):
    pass


def stop_at(iteration: int, error: type[BaseException]) -> Any:
    def listener(_: Sequence[Run], progress: Sequence[Progress]) -> None:
        if progress[0].iteration == iteration:
            raise error

    return listener


def test_interrupted_and_resumed_gives_the_same_numbers(run: Run, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("cournot", TINY, out=tmp_path / "a", seed=3, listener=stop_at(23, KeyboardInterrupt))
    assert Run.open(tmp_path / "a").manifest["status"] == "interrupted"
    resumed = train("cournot", TINY, out=tmp_path / "a", seed=3, resume=True)
    assert same(resumed.state(), run.state())
    timeless = [[{k: v for k, v in r.items() if k != "seconds"} for r in x.metrics] for x in (resumed, run)]
    assert timeless[0] == timeless[1]
    assert resumed.finished


def test_stopped_before_the_first_checkpoint_it_starts_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbcc.runtime.session.CHECKPOINT_SECONDS", math.inf)  # however slow the machine
    with pytest.raises(Stop):
        train("cournot", TINY, out=tmp_path / "a", seed=3, listener=stop_at(5, Stop))
    with pytest.raises(RunError, match="stopped before its first checkpoint"):
        Run.open(tmp_path / "a").state()
    resumed = train("cournot", TINY, out=tmp_path / "a", seed=3, resume=True)
    assert same(resumed.state(), run.state())
    assert len(resumed.metrics) == 60


def test_resuming_a_finished_run_changes_nothing(run: Run) -> None:
    before = (run.folder / "metrics.jsonl").read_bytes()
    again = train("cournot", TINY, out=run.folder, seed=3, resume=True)
    assert (run.folder / "metrics.jsonl").read_bytes() == before
    assert same(again.state(), run.state())


def test_resume_without_a_name_finds_the_run_of_that_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {**TINY, "training.phases.learn.iterations": 12}
    for seed in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            train("cournot", settings, seed=seed, listener=stop_at(5, KeyboardInterrupt))
    resumed = [train("cournot", settings, seed=seed, resume=True) for seed in (0, 1)]
    assert [str(run.folder) for run in resumed] == ["runs/cournot", "runs/cournot-2"]
    assert not [path for path in Path("runs").iterdir() if path.name.startswith(".")]
    with pytest.raises(RunError, match="no run of this spec with --seed 7"):
        train("cournot", settings, seed=7, resume=True)
    with pytest.raises(
        RunError, match=r"no run of this spec .* runs/cournot-2 was trained with .*; go on with it by: "
    ):
        train("cournot", seed=1, resume=True)


def test_time_goes_on_after_a_stop(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        train("cournot", TINY, out=tmp_path / "a", listener=stop_at(60, Stop))
    before = Run.open(tmp_path / "a").metrics[-1]["seconds"]
    assert train("cournot", TINY, out=tmp_path / "a", resume=True).manifest["seconds"] >= before > 0


def test_only_the_same_run_can_be_resumed(run: Run, tmp_path: Path) -> None:
    changed = {**TINY, "parameters.cost": 5, "training.default.network": "[9]"}
    with pytest.raises(RunError) as refused:
        train("cournot", changed, out=run.folder, seed=3, resume=True)
    own, other = ("--set 'training.default.network=[8]'", "--set 'training.default.network=[9]'")
    assert f"was trained with {own} and without " in str(refused.value)
    assert "--set parameters.cost=5" in str(refused.value)
    assert other in str(refused.value)
    assert str(refused.value).endswith(f"; go on with it by: {run.resume_command}")
    spec = tmp_path / "other.yaml"
    spec.write_text("extends: cournot\nmodel: cournot\nparameters: {cost: 5}\n")
    with pytest.raises(RunError, match="another version of the spec"):
        train(spec, TINY, out=run.folder, seed=3, resume=True)
    with pytest.raises(RunError, match="trained with --seed 3, not --seed 4"):
        train("cournot", TINY, out=run.folder, seed=4, resume=True)
    with pytest.raises(RunError, match="is not a run directory"):
        train("cournot", TINY, out=tmp_path / "none", resume=True)


def test_damaged_files_are_reported(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "manifest.json").write_text("{")
    for text in (b"{", b"[]", b"{}", b"\xff\xfe"):
        (folder / "manifest.json").write_bytes(text)
        with pytest.raises(RunError, match="is damaged"):
            Run.open(folder)
    shutil.rmtree(folder)
    shutil.copytree(run.folder, folder)
    checkpoint = folder / "checkpoint.safetensors"
    for content in (b"", checkpoint.read_bytes()[:500]):
        checkpoint.write_bytes(content)
        with pytest.raises(RunError, match=r"checkpoint.safetensors is damaged: .*; 'previous' and 'phases' may hold"):
            Run.open(folder).state()
        for older in ("previous", "phases/learn"):
            (folder / f"{older}.safetensors").write_bytes(content)
            with pytest.raises(RunError, match=f"{older}.safetensors is damaged") as caught:
                Run.open(folder).state(older)
            assert "may hold" not in str(caught.value)
    for line in ("1", "{}", '{"phase": "x", "iteration": 1}'):
        (folder / "metrics.jsonl").write_text(line + "\n")
        with pytest.raises(RunError, match=r"metrics\.jsonl:1 is not a record"):
            _ = Run.open(folder).metrics


def test_a_spec_that_was_changed_afterwards_is_not_taken_for_the_trained_one(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "a")
    spec = tmp_path / "a" / "spec.yaml"
    text = spec.read_text()
    assert "value: 10\n" in text
    spec.write_text(text.replace("value: 10\n", "value: 40\n"))
    with pytest.raises(RunError, match="is not the spec that was trained"):
        _ = Run.open(tmp_path / "a").model


def test_discounts_beyond_one_are_refused_also_as_parameters(tmp_path: Path) -> None:
    spec = tmp_path / "m.yaml"
    spec.write_text("rbcc: 1\nextends: cournot\nmodel: m\nparameters: {patience: 2}\ndiscount: patience\n")
    with pytest.raises(RunError, match="the discount factor of seller is 2"):
        train(spec, TINY, out=tmp_path / "a")


def test_killed_and_resumed_gives_the_same_numbers(tmp_path: Path) -> None:
    """kill -9 in the middle; the process that is killed writes a checkpoint after every stretch."""
    settings = [*SET, "--set=training.phases.learn.iterations=3000", "--seed=3"]
    eager = "import rbcc.cli, rbcc.runtime.session as run; run.CHECKPOINT_SECONDS = 0; rbcc.cli.main()"

    def command(out: Path, *more: str) -> list[str]:
        return [sys.executable, "-m", "rbcc.cli", "train", "cournot", *settings, f"--out={out}", *more]

    killed = subprocess.Popen([sys.executable, "-c", eager, *command(tmp_path / "a")[3:]], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    metrics = tmp_path / "a" / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < 20:
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert Run.open(tmp_path / "a").manifest["status"] == "running"
    assert (tmp_path / "a" / "checkpoint.safetensors").exists()
    subprocess.run(command(tmp_path / "a", "--resume"), check=True, stdout=subprocess.DEVNULL)
    subprocess.run(command(tmp_path / "b"), check=True, stdout=subprocess.DEVNULL)
    one, two = Run.open(tmp_path / "a"), Run.open(tmp_path / "b")
    assert same(one.state(), two.state())
    assert [r["indicator.quantity"] for r in one.metrics] == [r["indicator.quantity"] for r in two.metrics]


def test_killed_after_the_last_checkpoint_of_a_phase(tmp_path: Path) -> None:
    """Between the last checkpoint and the word 'finished', or the copy that is kept of the phase."""
    spec = tmp_path / "two.yaml"
    more = "training: {phases: {more: {iterations: 10, economies: 4}}}"
    spec.write_text(f"rbcc: 1\nextends: cournot\nmodel: two\n{more}\n")
    whole = train(spec, TINY, out=tmp_path / "a")

    def stop(_: Sequence[Run], progress: Sequence[Progress]) -> None:
        if progress[0].phase == 0 and progress[0].iteration == 60:
            raise Stop

    with pytest.raises(Stop):
        train(spec, TINY, out=tmp_path / "b", listener=stop)
    (tmp_path / "b" / "phases" / "learn.safetensors").unlink()
    resumed = train(spec, TINY, out=tmp_path / "b", resume=True)
    assert same(resumed.state(), whole.state())
    assert same(resumed.state("phases/learn"), whole.state("phases/learn"))
    whole.write_manifest(status="running")
    assert train(spec, TINY, out=tmp_path / "a", resume=True).finished


def test_a_run_is_trained_by_one_process_only(run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    with FileLock(folder / ".lock"), pytest.raises(RunError, match="is being trained by another process"):
        train("cournot", TINY, out=folder, seed=3, resume=True)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", "a"), ("seeds", None), ("seeds", [1]), ("overrides", None), ("digest", 3)]
)
def test_manifests_of_another_form_are_damaged(run: Run, tmp_path: Path, name: str, value: object) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / "manifest.json").write_text(json.dumps({**run.manifest, name: value}))
    with pytest.raises(RunError, match=f"manifest.json is damaged: its '{name}'"):
        Run.open(folder)


@pytest.mark.parametrize("length", [100, 3000])
def test_other_hosts_hear_of_an_error(length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long one is cut, and ends in a sign of that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lambda sent: sent)
    folder = Path(*"ä" * (length // 3))  # with the stroke, three bytes each
    with pytest.raises(RunError) as caught:
        train_seeds("cournot", TINY, seeds=range(2), devices=1, out=folder, resume=True)
    whole = f"{folder}/seed-0 is not a run directory; 'rbcc train model.yaml' makes one"
    said = str(caught.value)
    assert len(said.encode()) <= 2000
    assert said == whole or (said.endswith("…") and whole.startswith(said[:-1]))


def test_checkpoints_of_no_place_or_another_shape_are_damaged(run: Run, tmp_path: Path) -> None:
    opened = Run.open(shutil.copytree(run.folder, tmp_path / "run"))
    state = opened.state()
    other = jax.tree.map(lambda array: array[..., None], state)
    broken = jax.tree.map(lambda array: array * np.nan if array.dtype == np.float32 else array, state)
    for progress, reason in (
        (Progress(9, 3, {}, state), "it is of iteration 3 of phase number 9"),
        (Progress(0, 60, {}, other), r"float32\[41, 1\], not float32\[41\]"),
        (Progress(0, 60, {}, broken), "it has numbers that are not finite"),
    ):
        opened.write_checkpoint(progress)
        with pytest.raises(RunError, match=rf"checkpoint.safetensors is damaged: .*{reason}"):
            opened.state()
    opened.write_checkpoint(Progress(0, 60, {}, state))
    assert same(opened.state(), state)


def test_a_damaged_line_of_metrics_is_no_reason_to_drop_the_rest(run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    path = folder / "metrics.jsonl"
    first, second, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, second[:20], *rest]) + "\n")
    with pytest.raises(RunError, match=r"metrics.jsonl:2 is not a record"):
        train("cournot", TINY, out=folder, seed=3, resume=True)
    assert len(path.read_text().splitlines()) == len(rest) + 2


def test_a_torn_line_of_metrics_is_written_again(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    shutil.copytree(run.folder, folder)
    lines = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(lines + lines.splitlines()[0][:20])
    again = train("cournot", TINY, out=folder, seed=3, resume=True)
    assert [record["iteration"] for record in again.metrics] == list(range(1, 61))
    assert (folder / "metrics.jsonl").read_text().count("\n") == 60


def test_no_training_in_the_spec(tmp_path: Path) -> None:
    market = Path(__file__).parents[2] / "specs" / "market.yaml"
    with pytest.raises(RunError, match="has no 'training'; add"):
        train(market, out=tmp_path / "a")


def test_bad_spec_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(CompileError):
        train("cournot", {"parameters.cost": "costs"}, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


PAIRS = """
rbcc: 1
model: pairs
horizon: 1
discount: 1
agents:
  buyer:
    index: [i, k]
    count: 6
    parameters: {taste: {over: seller, value: "i + j"}}
    state: {debt: {start: 0, over: buyer, scale: 1}}
    actions: {buy: {choices: [0, 1]}}
    observes: [time]
    reward: sum(j, bad[i,j]) + buy[i]
  seller: {index: j, count: 3}
equations:
  all: |
    bad[i,j]   = 1 / (taste[i,j] - taste[i,j]) if taste[i,j] >= 5 else 1
    debt'[i,k] = debt[i,k]
training: {phases: {learn: {iterations: 2, economies: 2, network: [4]}}}
"""


@pytest.mark.slow
def test_pairs_of_different_sizes_are_traced_and_named(write_spec, tmp_path: Path) -> None:
    from rbcc.runtime.reports.dataset import simulate

    with pytest.raises(Diverged, match=r"(?s)bad\[i,j\].*i = 3, j = 2.*taste\[i, j\] = 5"):
        train(write_spec(PAIRS), out=tmp_path / "a")
    good = PAIRS.replace("1 / (taste[i,j] - taste[i,j]) if taste[i,j] >= 5 else 1", "taste[i,j]")
    data = simulate(train(write_spec(good.replace("seller", "buyer_2")), out=tmp_path / "b").folder, episodes=2)
    assert dict(data["buyer.debt"].sizes) == {"episode": 2, "step": 1, "buyer": 6, "buyer_3": 6}


BROKEN = """
rbcc: 1
model: broken
horizon: 3
discount: 1
agents:
  baker:
    index: i
    count: 4
    state: {flour: 3}
    actions: {bread: {choices: [0, 1, 2]}}
    observes: [flour]
    reward: happy[i]
equations:
  all: |
    left[i]   = flour[i] - 2 * bread[i]
    happy[i]  = log(left[i])   # of a negative number
    flour'[i] = flour[i]
training:
  phases: {learn: {iterations: 20, economies: 8}}
"""


def test_a_number_that_is_none_is_traced_to_its_equation(write_spec, tmp_path: Path) -> None:
    with pytest.raises(Diverged) as caught:
        train(write_spec(BROKEN), out=tmp_path / "a")
    assert Run.open(tmp_path / "a").manifest["status"] == "diverged"
    message = str(caught.value)
    assert "reward.baker is nan in phase learn at iteration 1" in message
    assert "model.yaml:17:5: happy[i] = log(left[i])" in message
    assert "is nan at step 0, i = " in message
    assert "  left[i] = -1" in message


def test_networks_that_are_no_numbers_are_reported(tmp_path: Path) -> None:
    """A learning rate beyond all bounds spoils the networks, not the economy."""
    with pytest.raises(Diverged, match=r"is (nan|inf).* in phase learn"):
        train("cournot", {**TINY, "training.default.learning_rate": "1e38"}, out=tmp_path / "a")
    assert all(np.isfinite(v) for r in Run.open(tmp_path / "a").metrics for v in r.values() if not isinstance(v, str))


LEAK = """
rbcc: 1
model: leak
horizon: 3
discount: 1
agents:
  baker:
    index: i
    count: 4
    state: {coins: 3}
    actions: {pay: {choices: [0, 1, 2]}}
    observes: [time]
    reward: coins[i]
  mill:
    count: 1
    state: {till: 0}
equations:
  all: |
    coins'[i] = coins[i] - pay[i]
    till'     = till + sum(i, pay[i]) TAX
identities: {money: "sum(i, coins'[i]) + till' == sum(i, coins[i]) + till"}
invariants: ["coins'[i] > -100"]
training:
  phases: {learn: {iterations: 2, economies: 2}}
"""


def test_accounts_are_audited_before_training(write_spec, tmp_path: Path) -> None:
    train(write_spec(LEAK.replace("TAX", "")), out=tmp_path / "a")
    with pytest.raises(RunError) as caught:
        train(write_spec(LEAK.replace("TAX", "- sum(i where i == 0, pay[i]) * (time == 2)")), out=tmp_path / "b")
    message = str(caught.value)
    assert "model.yaml:21:" in message
    assert "identity 'money' does not hold at step 2: " in message
    assert not (tmp_path / "b").exists()
    with pytest.raises(RunError, match=r"invariant .* does not hold at step \d, i = \d"):
        train(write_spec(LEAK.replace("TAX", "").replace("> -100", "> 1")), out=tmp_path / "b")


def test_accounts_with_a_side_that_is_the_same_for_all(write_spec, tmp_path: Path) -> None:
    text = LEAK.replace("TAX", "").replace("horizon: 3", "horizon: 1")
    same = text.replace("sum(i, coins'[i]) + till' == sum(i, coins[i]) + till", "coins'[i] - coins[i] + pay[i] == 0")
    train(write_spec(same), out=tmp_path / "a")
    with pytest.raises(RunError, match="identity 'money' does not hold at step 0, i = "):
        train(write_spec(same.replace("== 0", "== till + 1")), out=tmp_path / "b")


def test_checks_that_stay_on(write_spec, tmp_path: Path) -> None:
    """Tests before training see no leak: it opens while training, and only with --checked somebody looks."""
    text = LEAK.replace("TAX", "- leak * pay_of_one\n    pay_of_one = sum(i where i == 0, pay[i])")
    text = text.replace("agents:", "parameters: {leak: 0}\nagents:").replace("iterations: 2", "iterations: 40")
    text += '  anneal: {leak: "max(0, progress - 0.5)"}\n'
    spec = write_spec(text)
    assert train(spec, out=tmp_path / "a", devices=1).finished
    with pytest.raises(Violated) as caught:
        train(spec, out=tmp_path / "b", checked=True, devices=1)
    message = str(caught.value)
    # Progress is the number of the iteration / 40: above a half from iteration number 21, which is the 22nd, on.
    assert re.search("a check does not hold in economy [01] of iteration 22 of phase learn", message)
    assert "identity 'money' does not hold at step 0: " in message
    paid = re.search(r"baker.coins'\[i\] = \[(\d)\.", message)
    leaked = re.search(r"does not hold at step 0: ([\d.]+) on the left, 12 on the right", message)
    assert paid
    assert leaked
    assert float(leaked.group(1)) == pytest.approx(12 - 0.025 * (3 - int(paid.group(1))))
    assert Run.open(tmp_path / "b").manifest["status"] == "stopped by a check"
    with pytest.raises(Violated, match="of iteration 22 of phase learn"):
        train_seeds(spec, seeds=range(2), out=tmp_path / "c", checked=True, devices=1)


def test_checks_that_find_nothing_change_nothing(write_spec, tmp_path: Path) -> None:
    spec = write_spec(LEAK.replace("TAX", "").replace("iterations: 2", "iterations: 5"))
    runs = [train(spec, out=tmp_path / str(checked), checked=checked, devices=1) for checked in (False, True)]
    assert runs[0].metrics[-1]["reward.baker"] == pytest.approx(runs[1].metrics[-1]["reward.baker"], rel=1e-6)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-6), runs[0].state().networks, runs[1].state().networks)
    )


def test_numbers_that_are_none_are_caught_where_they_arise(write_spec, tmp_path: Path) -> None:
    with pytest.raises(Violated, match=r"(?s)iteration 1 .*happy\[i\] = log\(left\[i\]\).*left\[i\] = -1"):
        train(write_spec(BROKEN), out=tmp_path / "a", checked=True, devices=1)


def test_simulation_has_named_dimensions(run: Run) -> None:
    from rbcc.runtime.reports.dataset import simulate

    data = simulate(run.folder, episodes=7, seed=1)
    assert dict(data["seller.quantity"].sizes) == {"episode": 7, "step": 1, "seller": 2}
    assert data["seller.quantity"].attrs == {"role": "action", "long_name": "", "units": "good"}
    supply = data["seller.quantity"].sum("seller")
    assert np.allclose(data["supply"], supply)
    assert np.allclose(data["seller.reward"], (90 - supply) * data["seller.quantity"])
    assert data.attrs["spec_digest"] == run.manifest["digest"]


@pytest.mark.slow
def test_simulation_of_several_types(tmp_path: Path) -> None:
    import xarray as xr

    from rbcc.runtime.reports.dataset import simulate

    settings = {
        "training": "{phases: {explore: {iterations: 1, economies: 1}, polish: null}}",
        "agents.consumer.count": 3,
    }
    run = train("open_rbc_small", settings, out=tmp_path / "a")
    data = simulate(run.folder, episodes=2)
    assert data["consumption"].dims == ("episode", "step", "consumer", "firm")
    assert data["government.income_tax"].dims == ("episode", "step")
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as read:
        assert read["firm.price"].attrs["units"] == "money/good"
        assert np.allclose(read["consumption"], data["consumption"])


def test_pictures(run: Run, tmp_path: Path) -> None:
    from rbcc.runtime.reports.plots import plot

    paths = plot(run.folder, tmp_path)
    assert [path.name for path in paths] == ["training.png", "episode.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000 for path in paths)


def test_pictures_of_a_model_without_indicators_and_states(tmp_path: Path) -> None:
    from rbcc.runtime.reports.plots import plot

    bare = {"indicators": "null", "verify.alive": "[]", "training.phases.learn.iterations": "2"}
    assert [p.name for p in plot(train("cournot", bare, out=tmp_path / "a").folder)] == ["training.png"]


def test_seeds_killed_at_different_checkpoints_go_back_to_the_last_they_have_in_common(tmp_path: Path) -> None:
    quick = {"training.phases.learn.iterations": 20}
    runs = train_seeds("cournot", quick, seeds=range(2), out=tmp_path / "two")
    state = runs[0].state()

    def at(iteration: int) -> Progress:
        return Progress(0, iteration, {}, state)

    one, other = runs
    one.write_checkpoint(at(5))
    one.write_checkpoint(at(9))  # and killed: the other is still at 5
    other.write_checkpoint(at(5))
    assert train_seeds("cournot", quick, seeds=range(2), out=tmp_path / "two", resume=True)[0].finished
    assert one.checkpoint()[1:] == other.checkpoint()[1:] == (0, 20)
    for run in runs:  # once more, after which the last but one of `one` is 5, not 9
        run.write_checkpoint(at(5))
    one.write_checkpoint(at(9))
    one.go_back(0, 5)
    one.write_checkpoint(at(7))
    assert one.checkpoint("previous")[1:] == (0, 5)
    other.write_checkpoint(at(3))
    other.write_checkpoint(at(3))
    with pytest.raises(RunError, match="the iteration that other seeds are at"):
        train_seeds("cournot", quick, seeds=range(2), out=tmp_path / "two", resume=True)


@pytest.mark.slow
def test_a_type_with_one_choice_only_needs_no_policy(write_spec, tmp_path: Path) -> None:
    spec = write_spec("""
rbcc: 1
model: still
horizon: 3
discount: 1
agents:
  worker:
    index: i
    count: 3
    state: {wealth: 1}
    actions: {work: {choices: [1]}}
    observes: [wealth]
    reward: wealth'[i]
  boss:
    count: 1
    state: {mood: 1}
    actions: {shout: {choices: [0, 1]}}
    observes: [mood]
    reward: mood'
equations:
  all: |
    wealth'[i] = wealth[i] + work[i]
    mood' = mood - shout
training:
  phases: {learn: {iterations: 30, economies: 16}}
verify: {iterations: 10, episodes: 256}
""")
    run = train(spec, out=tmp_path / "run")
    assert run.metrics[-1]["reward.worker"] == 3
    found = verify(run.folder)
    assert {row.estimate.agent for row in found.rows} == {"boss"}


FILES = """
rbcc: 1
model: files
horizon: 2
discount: 1
use: [own.py]
agents:
  ant:
    index: i
    count: 3
    parameters:
      skill: {value: {csv: data/people.csv, column: skill}}
      weight: {value: {csv: data/people.csv, column: weight}}
    state: {wealth: {start: {csv: more.csv, column: wealth}}}
    actions: {work: {choices: [0, 1]}}
    observes: [wealth, skill]
    reward: twice(skill[i]) * work[i] * weight[i]
equations:
  all: "wealth'[i] = wealth[i] + work[i]"
training: {phases: {learn: {iterations: 30, economies: 4, network: [4]}}}
"""


def test_a_run_stands_alone_when_its_files_are_gone(write_spec, tmp_path: Path) -> None:
    """CSV and Python files are copied into the run; the same spec goes on with it, a changed file does not."""
    from rbcc.runtime.reports.dataset import simulate

    folder = tmp_path / "work"
    (folder / "data").mkdir(parents=True)
    people = folder / "data" / "people.csv"
    people.write_text("name,skill,weight\nA,1,1\nB,2,1\nC,3,0.5\n")
    (folder / "more.csv").write_text("wealth\n10\n20\n30\n")
    own = "from rbcc import primitive\n\n\n@primitive(units='a -> a')\ndef twice(x):\n    return 2 * x\n"
    (folder / "own.py").write_text(own)
    (folder / "files.yaml").write_text(FILES)
    with pytest.raises(Stop):
        train(folder / "files.yaml", out=tmp_path / "run", listener=stop_at(7, Stop))
    people.write_text(people.read_text().replace("C,3", "C,4"))
    with pytest.raises(RunError, match="another version of the spec"):
        train(folder / "files.yaml", out=tmp_path / "run", resume=True)
    people.write_text(people.read_text().replace("C,4", "C,3"))
    run = train(folder / "files.yaml", out=tmp_path / "run", resume=True)
    shutil.rmtree(folder)
    moved = shutil.move(run.folder, tmp_path / "elsewhere")
    names = {path.name for path in Path(moved).iterdir()}
    assert {"0_own.py", "1_people.csv", "2_more.csv"} <= names
    data = simulate(moved, episodes=2)
    assert np.array_equal(data["ant.wealth"][0, 0], [10, 20, 30])
    earned = data["ant.work"] * np.array([1, 2, 3]) * 2 * np.array([1, 1, 0.5])
    assert np.allclose(data["ant.reward"], earned)
    (Path(moved) / "1_people.csv").write_text("name,skill,weight\nA,1,1\nB,2,1\nC,3,1\n")
    with pytest.raises(RunError, match="is not the spec that was trained"):
        _ = Run.open(moved).model

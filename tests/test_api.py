"""The verbs of Python: each takes a path or what the one before returned; results as tables and pictures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import rbcc
from rbcc.runtime.reports.verification_text import verification_summary
from rbcc.runtime.session import train_seeds


SMALL = {
    "training.default.network": "[8]",
    "training.phases.learn.economies": 64,
    "training.phases.learn.iterations": 3,
    "verify.iterations": 8,
    "verify.economies": 32,
    "verify.episodes": 64,
}

PROCESS = """
rbcc: 1
model: process
horizon: 40
continuing: true
discount: 0.99
state: {z: {start: 0, scale: 0.1}}
agents:
  a:
    count: 1
    actions: {q: {choices: [0, 1]}}
    observes: [z]
    reward: q + z
equations:
  g: |
    z' = 0.9 * z + 0.01 * normal()
indicators: {y: exp(z), z: z}
training:
  phases: {learn: {iterations: 1, economies: 2}}
  default: {network: [4]}
silence: [RB207, RB804, RB802]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rbcc.Run:
    return rbcc.train(rbcc.compile("cournot", SMALL), out=tmp_path_factory.mktemp("runs") / "cournot")


@pytest.fixture(scope="module")
def found(run: rbcc.Run) -> rbcc.Equilibrium:
    return rbcc.verify(run)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> rbcc.Run:
    folder = tmp_path_factory.mktemp("process")
    (folder / "spec.yaml").write_text(PROCESS, encoding="utf-8")
    return rbcc.train(folder / "spec.yaml", out=folder / "run")


def assert_drawn(result: object) -> None:
    """Whether a result has a picture, and leaves backend and settings of matplotlib as they are."""
    session = settings()
    assert rbcc.plot(result)._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined, arg-type]
    assert session == settings()


def settings() -> tuple[str | None, dict[str, object]]:
    own = {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}  # reading it sets it
    return matplotlib.get_backend(auto_select=False), own


def test_a_model_is_trained_as_it_was_compiled(run: rbcc.Run) -> None:
    assert run.model.ir.digest == rbcc.compile("cournot", SMALL).ir.digest
    assert rbcc.compile(run).ir.digest == rbcc.compile(run.folder).ir.digest == run.model.ir.digest
    assert repr(run) == f"Run(cournot, seed 0, finished; {run.folder})"
    frame = run.to_frame()
    assert frame["iteration"].iloc[-1] == 3
    assert {"phase", "seconds", "reward.seller", "indicator.price"} <= set(frame)
    assert repr(run) in run._repr_html_().replace("&#x27;", "'")
    assert_drawn(run)


def test_a_model_of_a_spec_that_has_changed_is_refused(write_spec, tmp_path: Path) -> None:
    path = write_spec("rbcc: 1\nextends: cournot\nmodel: mine\n")
    model = rbcc.compile(path)
    write_spec("rbcc: 1\nextends: cournot\nmodel: mine\nparameters: {cost: 11}\n")
    with pytest.raises(rbcc.RunError, match="has changed since the model was compiled"):
        rbcc.train(model, out=tmp_path / "run")


def test_gains_as_table_and_bars(run: rbcc.Run, found: rbcc.Equilibrium) -> None:
    assert str(found) == verification_summary(found)
    assert len(repr(found).splitlines()) == 1
    assert "individual" in found._repr_html_()
    frame = found.to_frame()
    assert list(frame["deviation"]) == ["individual", "team"]
    assert np.all(frame["lower"] <= frame["upper"] + 1e-3)  # exact numbers, up to rounding
    np.testing.assert_allclose(frame["share"] * frame["target"] / frame["share_target"], frame["gain"], rtol=1e-6)
    assert_drawn(found)
    assert_drawn(run.folder)


def test_a_verification_is_opened_with_its_run(run: rbcc.Run, found: rbcc.Equilibrium, tmp_path: Path) -> None:
    again = rbcc.load(run.folder)
    assert isinstance(again, rbcc.Run)
    assert again.equilibrium == found
    copy = rbcc.load(shutil.copytree(run.folder, tmp_path / "copy"))
    assert isinstance(copy, rbcc.Run)
    (copy.folder / "equilibrium.json").write_text('{"verdicts": []}', encoding="utf-8")
    with pytest.raises(rbcc.RunError, match=r"another version of rbcc; make it again: rbcc verify"):
        _ = copy.equilibrium
    (copy.folder / "equilibrium.json").unlink()
    assert copy.equilibrium is None


def test_networks_without_a_run_have_gains_too(run: rbcc.Run) -> None:
    found = rbcc.exploitability(run.model, run.profile())
    assert len(found.to_frame()) == 2
    with pytest.raises(rbcc.RunError, match="without a run directory"):
        rbcc.simulate(found)


def test_a_folder_of_seeds_is_one_thing(tmp_path: Path) -> None:
    train_seeds("cournot", SMALL, seeds=range(9, 12), out=tmp_path / "seeds")
    runs = rbcc.load(tmp_path / "seeds")
    assert isinstance(runs, rbcc.Runs)
    assert [run.manifest["seed"] for run in runs] == [9, 10, 11]
    assert repr(runs) == f"Runs(cournot, seeds 9, 10, 11; {tmp_path / 'seeds'})"
    assert set(runs.to_frame()["seed"]) == {9, 10, 11}
    data = runs[1:].to_xarray()
    assert dict(data.sizes)["seed"] == 2
    assert_drawn(runs)
    with pytest.raises(rbcc.RunError, match="has 3 runs; take one of them"):
        rbcc.verify(tmp_path / "seeds")


def test_a_solution_is_opened_as_it_was(tmp_path: Path) -> None:
    solution = rbcc.solve("cournot", SMALL, tries=2, minutes=1000, out=tmp_path / "solve")
    again = rbcc.load(tmp_path / "solve")
    assert isinstance(again, rbcc.Solution)
    assert str(again) == str(solution)
    assert again.equilibrium == solution.equilibrium
    frame = solution.to_frame()
    assert list(frame["seed"]) == [0, 1]
    assert list(frame["gain"]) == [one.gain for one in solution.tries]
    assert "UNSOLVED, best try" in repr(solution)
    assert_drawn(solution)
    assert rbcc.simulate(again, episodes=2).attrs["training_seed"] == solution.best.seed
    (tmp_path / "solve" / "solution.json").write_text(json.dumps({"tries": 3}), encoding="utf-8")
    with pytest.raises(rbcc.RunError, match="is damaged"):
        rbcc.load(tmp_path / "solve")


def test_moments_and_responses(process: rbcc.Run) -> None:
    found = rbcc.moments(process, paths=8)
    assert repr(found) == "Moments(y, z; relative to y)"
    assert str(found).splitlines()[-1].startswith("z ")
    assert float(found.to_xarray()["sd"].sel(indicator="z")) == found.to_frame().loc["z", "sd"]
    assert "rho_1" in found._repr_html_()
    assert_drawn(found)
    response = rbcc.irf(process, "z=+0.01", steps=3, paths=4)
    assert repr(response) == "Responses(y, z to z=+0.01, 3 steps)"
    data = response.to_xarray()
    assert dict(data.sizes) == {"indicator": 2, "step": 3}
    np.testing.assert_allclose(data["response"].sel(indicator="z"), [0.01, 0.009, 0.0081], rtol=1e-3)
    assert dict(zip(data["indicator"].values, data["unit"].values, strict=True)) == {"y": "%", "z": "level"}
    assert "0.009" in response._repr_html_()
    assert_drawn(response)


def test_short_episodes_have_a_table_and_no_correlations(run: rbcc.Run) -> None:
    found = rbcc.moments(run, paths=4)
    assert set(found.to_frame()) == {"unit", "mean", "mean_error", "sd"}
    with pytest.raises(rbcc.RunError, match="too short for correlations"):
        found.plot()


def test_checks_are_true_or_false(write_spec) -> None:
    good = rbcc.check("closed_rbc", fast=True)
    assert good
    assert np.any(good.to_frame()["proved"])
    assert repr(good).startswith("Check(ok: 0 errors")
    bad = rbcc.check(write_spec("rbcc: 1\nextends: cournot\nmodel: m\nparameters: {cost: {value: 2, unit: mony}}\n"))
    assert not bad
    assert "error[RB" in str(bad)
    assert bad.to_frame().empty
    tested = rbcc.check("cournot")
    assert tested.audit is not None
    assert tested.ok


def test_a_description_is_written_by_its_ending(tmp_path: Path) -> None:
    found = rbcc.doc("cournot")
    assert str(found).startswith("# ")
    assert found.write(tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(rbcc.RunError, match=r"does not end with \.md"):
        found.write(tmp_path / "a.pdf")


def test_what_is_no_run_is_refused_in_words() -> None:
    with pytest.raises(rbcc.RunError, match="expected a run or its folder, not an int"):
        rbcc.verify(3)  # type: ignore[arg-type]
    with pytest.raises(rbcc.RunError, match="expected a spec, a model or a run, not a float"):
        rbcc.compile(0.5)  # type: ignore[arg-type]
    with pytest.raises(rbcc.RunError, match="a Model has no picture"):
        rbcc.plot(rbcc.compile("cournot"))  # type: ignore[arg-type]
    with pytest.raises(rbcc.RunError, match="is not a run directory"):
        rbcc.load("nothing/here")


def test_specs_are_checked_and_described_without_jax() -> None:
    code = "import sys, rbcc; str(rbcc.check('cournot', fast=True)), str(rbcc.doc('cournot'))"
    check = f"{code}; assert not [m for m in sys.modules if m.split('.')[0] in ('jax', 'numpy')]"
    subprocess.run([sys.executable, "-c", check], check=True)

"""Tries until an equilibrium is found: verdicts, levels, seeds, what is kept after a stop."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import rbcc.runtime.solve
from rbcc.compiler import ir
from rbcc.runtime.errors import Diverged, RunError
from rbcc.runtime.solve import Outcome, Solution, Try, report, solve
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.training.loop import Progress
from rbcc.runtime.verification.results import Equilibrium, Verdict
from rbcc.runtime.verification.verify import verify


SMALL = {
    "training.default.network": "[8]",
    "training.phases.learn.economies": 64,
    "verify.iterations": 8,
    "verify.economies": 32,
    "verify.episodes": 64,
}
SHORT = {**SMALL, "training.phases.learn.iterations": 3}
"""With which cournot stays far from equilibrium."""


def timeless(found: Equilibrium) -> Equilibrium:
    return replace(found, seconds=0.0)


@pytest.fixture(scope="module")
def unsolved(tmp_path_factory: pytest.TempPathFactory) -> Solution:
    return solve("cournot", SHORT, tries=2, minutes=1000, out=tmp_path_factory.mktemp("solve") / "cournot")


@pytest.fixture
def copy(unsolved: Solution, tmp_path: Path) -> Path:
    """A folder with what `unsolved` wrote, before its solution."""
    shutil.copytree(unsolved.folder, tmp_path / "copy")
    (tmp_path / "copy" / "solution.json").unlink()
    return tmp_path / "copy"


def test_the_first_equilibrium_ends_it(tmp_path: Path) -> None:
    settings = {**SMALL, "training.phases.learn.iterations": 400}
    found = solve("cournot", settings, target="2%", out=tmp_path / "a")
    assert found.verdict is Outcome.SOLVED
    assert found.tries == (found.best,)
    assert found.equilibrium.verdicts == {"individual": Verdict.CERTIFIED, "team": Verdict.REFUTED}
    assert found.equilibrium.targets == {"seller": ir.Target(0.02)}
    assert found.best.broken_by is None
    words = report(found)
    assert words.startswith(f"SOLVED in try 1 of 4: {tmp_path / 'a' / 'try-1'}\n")
    assert "is another question, which does not decide here: REFUTED." in words
    assert "no agent gains more than 2% alone (Nash):         CERTIFIED" in words
    assert json.loads((tmp_path / "a" / "solution.json").read_text())["verdict"] == "SOLVED"


def test_without_an_equilibrium_it_tells_what_breaks_the_best_try(unsolved: Solution) -> None:
    assert unsolved.verdict is Outcome.UNSOLVED
    assert [one.seed for one in unsolved.tries] == [0, 1]
    assert [one.after for one in unsolved.tries] == [None, 1]
    gains = [one.gain for one in unsolved.tries]
    assert unsolved.best.gain == min(gain for gain in gains if gain is not None)
    row = unsolved.best.broken_by
    assert row is not None
    assert row.verdict is Verdict.REFUTED
    assert row.estimate.exact is not None
    assert unsolved.best.gain == pytest.approx(row.estimate.exact.largest / row.estimate.scale)
    lines = report(unsolved).splitlines()
    assert re.match(
        rf"UNSOLVED after 2 of 2 tries\. The best is {unsolved.best.folder.name.replace('-', ' ')} \(.*\): seller gains "
        rf"{100 * (unsolved.best.gain or 0):.2f}% alone, by .*{re.escape(row.estimate.best.words)}\. The target is 1",
        lines[0],
    )
    assert lines[-3].split() == ["try", "individual", "team", "largest", "gain", "indicators"]
    assert lines[-2].startswith("try-1, seed 0  ")
    assert lines[-1].startswith("try-2, seed 1, after try-1  ")
    assert all("quantity" in line and "price" in line for line in lines[-2:])


def test_every_try_is_a_run_with_its_verification(unsolved: Solution) -> None:
    for one in unsolved.tries:
        assert one.folder == unsolved.folder / f"try-{one.number}"
        run = Run.open(one.folder)
        assert run.finished
        assert run.manifest["seed"] == one.seed
        assert {"equilibrium.json", "equilibrium.html"} <= {path.name for path in one.folder.iterdir()}
    begun, ended = (Run.open(unsolved.folder / name) for name in ("try-2", "try-1"))
    for started, final in zip(
        *(jax.tree.leaves(s.networks) for s in (begun.state("start"), ended.state())), strict=True
    ):
        np.testing.assert_array_equal(started, final)
    data = json.loads((unsolved.folder / "solution.json").read_text())
    assert (data["verdict"], data["best"]) == ("UNSOLVED", unsolved.best.folder.name)
    assert [one["gain"] for one in data["tries"]] == [one.gain for one in unsolved.tries]


def test_all_tries_together_err_with_five_percent(unsolved: Solution) -> None:
    doubts = [1 - one.equilibrium.settings["confidence"] for one in unsolved.tries if one.equilibrium]
    assert doubts == pytest.approx([0.05 * 6 / math.pi**2, 0.05 * 6 / math.pi**2 / 4])
    for one, percent in zip(unsolved.tries, ("96.96%", "99.24%"), strict=True):
        words = report(replace(unsolved, best=one))
        assert f"Try {one.number} is tested with {percent} confidence" in words
        assert f"bounds are one-sided, {percent}:" in words


def test_no_two_seeds_are_the_same(unsolved: Solution) -> None:
    verifying = [one.equilibrium.settings["seed"] for one in unsolved.tries if one.equilibrium]
    assert len({*verifying, *(one.seed for one in unsolved.tries)}) == 4


def test_a_dead_economy_is_no_solution(tmp_path: Path) -> None:
    found = solve("cournot", {**SHORT, "verify.alive": "[quantity > 1000]"}, tries=1, out=tmp_path / "a")
    assert found.verdict is Outcome.TRIVIAL
    assert report(found).startswith("TRIVIAL after 1 of 1 tries: the economy is dead in all of them; in try 1")
    assert "this does not hold: quantity > 1000" in report(found)


@pytest.mark.slow
def test_a_stopped_solve_goes_on_as_if_it_had_not_been(unsolved: Solution, copy: Path) -> None:
    shutil.rmtree(copy / "try-2")
    kept = (copy / "try-1" / "equilibrium.json").stat().st_mtime_ns

    def stop(_: Sequence[Run], progress: Sequence[Progress]) -> None:
        if progress[0].iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve("cournot", SHORT, tries=2, minutes=1000, out=copy, resume=True, listener=stop)
    assert Run.open(copy / "try-2").manifest["status"] == "interrupted"
    assert not (copy / "solution.json").exists()
    again = solve("cournot", SHORT, tries=2, minutes=1000, out=copy, resume=True)
    assert (copy / "try-1" / "equilibrium.json").stat().st_mtime_ns == kept
    assert (again.verdict, again.best.number) == (unsolved.verdict, unsolved.best.number)
    for one, other in zip(again.tries, unsolved.tries, strict=True):
        assert one.equilibrium is not None
        assert other.equilibrium is not None
        mine, its = timeless(one.equilibrium), timeless(other.equilibrium)
        for name in ("verdicts", "rows", "indicators", "alive"):
            assert getattr(mine, name) == getattr(its, name)


@pytest.mark.slow
def test_the_third_try_starts_anew(copy: Path) -> None:
    found = solve("cournot", SHORT, tries=3, minutes=1000, out=copy, resume=True)
    assert [one.after for one in found.tries] == [None, 1, None]
    assert not (copy / "try-3" / "start.safetensors").exists()


class Called(Exception):
    pass


def test_only_verifications_made_as_asked_are_kept(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*_: Any, **asked: Any) -> Equilibrium:
        raise Called(asked["seed"])

    monkeypatch.setattr(rbcc.runtime.solve, "verify", again)
    assert len(solve("cournot", SHORT, tries=2, minutes=1000, out=copy, resume=True).tries) == 2
    path = copy / "try-2" / "equilibrium.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "settings": {**data["settings"], "seed": 0}}))
    with pytest.raises(Called, match=str(data["settings"]["seed"])):
        solve("cournot", SHORT, tries=2, minutes=1000, out=copy, resume=True)
    path.write_text("{}")
    with pytest.raises(Called):
        solve("cournot", SHORT, tries=2, minutes=1000, out=copy, resume=True)


def test_a_try_that_does_not_fit_is_not_begun(copy: Path) -> None:
    found = solve("cournot", SHORT, tries=2, minutes=1e-9, out=copy, resume=True)
    assert len(found.tries) == 1
    assert report(found).startswith("UNSOLVED after 1 of 2 tries; another one would not fit into the minutes given.")


def test_a_training_that_diverges_is_a_try_that_failed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: Any, **__: Any) -> Run:
        raise Diverged("a reward is nan")

    monkeypatch.setattr(rbcc.runtime.solve, "train", diverge)
    (copy / "try-2" / "equilibrium.json").unlink()
    found = solve("cournot", SHORT, tries=2, minutes=1000, out=copy, resume=True)
    assert (found.verdict, found.best.number, found.tries[1].equilibrium) == (Outcome.UNSOLVED, 1, None)
    assert found.tries[1].trouble == "a reward is nan"
    assert "try-2, seed 1, after try-1  diverged" in report(found)
    with pytest.raises(Diverged, match="all tries ended so; the last: a reward is nan"):
        solve("cournot", SHORT, tries=1, out=copy.with_name("other"))


def test_numbers_that_make_no_sense(unsolved: Solution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, words in (
        ({"tries": 0}, "tries is 0; at least one is needed"),
        ({"minutes": 0}, "minutes is 0; it has to be above 0"),
        ({"seed": 2**30}, "with 4 tries it has to lie between 0 and 1,073,741,820"),
        ({"resume": True}, "runs/ has no tries of this spec from --seed 0 on; name their folder with --out"),
        ({"resume": True, "out": "none"}, "none does not exist; without --resume it is begun"),
        ({"resume": True, "out": unsolved.folder / "try-1"}, "is a run directory, which 'rbcc train --resume'"),
        ({"out": unsolved.folder}, "already exists; choose another with --out"),
        ({"resume": True, "out": unsolved.folder, "seed": 5}, "was trained with --seed 0, not --seed 5"),
    ):
        with pytest.raises(RunError, match=re.escape(words)):
            solve("cournot", SHORT, **arguments)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=r"the confidence is 1; it has to lie between 0 and 1"):
        verify(unsolved.folder / "try-1", confidence=1.0)


def test_default_folders_are_numbered_and_found_again(
    unsolved: Solution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begun: list[Path] = []

    def begin(*_: Any, out: Path, **__: Any) -> Run:
        begun.append(out)
        out.mkdir()
        raise Called

    monkeypatch.setattr(rbcc.runtime.solve, "train", begin)
    for _ in range(2):
        with pytest.raises(Called):
            solve("cournot", SHORT)
    assert begun == [Path("runs/cournot-solve/try-1"), Path("runs/cournot-solve-2/try-1")]
    shutil.copytree(unsolved.folder, "runs/cournot-solve-3")
    assert solve("cournot", SHORT, tries=2, minutes=1000, resume=True).folder == Path("runs/cournot-solve-3")


def test_the_name_is_free_again_if_nothing_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Run:
        raise RunError("no")

    monkeypatch.setattr(rbcc.runtime.solve, "train", fail)
    with pytest.raises(RunError, match="no"):
        solve("cournot", SHORT, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_command_prints_the_verdict_and_ends_with_it(unsolved: Solution, copy: Path) -> None:
    sets = [f"--set={name}={value}" for name, value in SHORT.items()]
    result = subprocess.run(
        [sys.executable, "-m", "rbcc.cli", "solve", "cournot", *sets, "--tries=2", "--minutes=1000", f"--out={copy}",
         "--resume"],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "COLUMNS": "140"},
    )  # fmt: skip
    assert result.returncode == 1, result.stderr
    assert report(replace(unsolved, **moved(unsolved, copy))) in result.stdout
    assert json.loads((copy / "solution.json").read_text())["best"] == unsolved.best.folder.name


def moved(found: Solution, folder: Path) -> dict[str, Any]:
    """A solution's fields as they are in another folder."""

    def there(one: Try) -> Try:
        return replace(one, folder=folder / one.folder.name)

    return {"folder": folder, "tries": tuple(map(there, found.tries)), "best": there(found.best)}

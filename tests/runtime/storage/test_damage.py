"""What is left when files are damaged, the disk is full, memory is too small, or a signal ends the program."""

import errno
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from safetensors.numpy import load_file, save_file

from rbcc import cli
from rbcc.runtime.errors import Diverged, RunError
from rbcc.runtime.reports.dataset import simulate
from rbcc.runtime.reports.plots import plot
from rbcc.runtime.reports.tables import write_table
from rbcc.runtime.session import train, train_seeds
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.training.loop import Progress
from rbcc.runtime.verification.verify import Unwritten, verify


TINY = {
    "training.default.network": "[8]",
    "training.phases.learn.iterations": 20,
    "training.phases.learn.economies": 8,
    "verify.iterations": 10,
    "verify.episodes": 64,
    "verify.economies": 16,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("cournot", TINY, out=tmp_path_factory.mktemp("runs") / "cournot", seed=3)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy, which a test may damage."""
    return Run.open(shutil.copytree(trained.folder, tmp_path / "run"))


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the disk full from now on."""

    def full(file: int) -> None:
        del file
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)


def rbcc(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["rbcc", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_no_flipped_bit_gives_another_network(run: Run) -> None:
    path = run.folder / "checkpoint.safetensors"
    good, state = path.read_bytes(), run.checkpoint()
    header = 8 + struct.unpack("<Q", good[:8])[0]
    draw = random.Random(0)
    noticed = 0
    for place in [*(draw.randrange(header) for _ in range(6)), *(draw.randrange(header, len(good)) for _ in range(6))]:
        changed = bytearray(good)
        changed[place] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            found = run.checkpoint()
        except RunError:
            noticed += 1
        else:  # a space of the header that nothing reads
            assert found[1:] == state[1:]
            assert all(map(np.array_equal, jax.tree.leaves(found[0]), jax.tree.leaves(state[0])))
    assert noticed >= 11


def test_a_checkpoint_without_its_checksum_is_damaged(run: Run) -> None:
    path = run.folder / "checkpoint.safetensors"
    save_file(load_file(path), path, {"place": json.dumps({"phase": 0, "iteration": 20})})
    with pytest.raises(RunError, match="damaged: its content does not have its checksum"):
        run.state()


def test_the_checkpoint_of_another_run_is_refused(run: Run) -> None:
    reached = Progress(0, 20, {}, run.state())
    replace(run, manifest={**run.manifest, "seed": 4}).write_checkpoint(reached)
    with pytest.raises(RunError, match=r"is not of this run: it was trained with seed 4, not 3"):
        run.state()
    replace(run, manifest={**run.manifest, "digest": "of another"}).write_checkpoint(reached)
    with pytest.raises(RunError, match=r"is not of this run: it was trained with another version of the spec"):
        run.state()


def test_weights_that_are_not_finite_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the last iteration play no more, so that no reward tells of them."""

    def spoiled(*arguments: Any) -> Iterator[tuple[Progress, ...]]:
        from rbcc.runtime.training.loop import training

        for (progress,) in training(*arguments):
            broken = jax.tree.map(lambda x: x * np.nan if x.dtype == np.float32 else x, progress.state)
            yield (replace(progress, state=broken if progress.iteration == 20 else progress.state),)

    monkeypatch.setattr("rbcc.runtime.session.training", spoiled)
    with pytest.raises(Diverged, match="a weight of the networks is not finite in phase learn at iteration 20"):
        train("cournot", TINY, out=tmp_path / "a")
    assert len(Run.open(tmp_path / "a").metrics) == 19


# --- other files of a run --------------------------------------------------------------------------------------------

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "text",
    [DEEP, '{"model": ' + DEEP, "NaN", *(json.dumps({"seed": seed}) for seed in (10**30, 2**31, -1, True, 1.0))],
)
def test_a_damaged_manifest_is_reported(run: Run, text: str) -> None:
    path = run.folder / "manifest.json"
    whole = text if not text.startswith('{"seed') else json.dumps(run.manifest | json.loads(text))
    path.write_text(whole)
    with pytest.raises(RunError, match=r"manifest.json is damaged"):
        Run.open(run.folder)


@pytest.mark.parametrize(
    "line",
    [
        DEEP,
        '{"phase": ["learn"], "iteration": 1, "seconds": 1}',
        '{"phase": "learn", "iteration": true, "seconds": 1}',
        '{"phase": "learn", "iteration": 1, "seconds": NaN}',
        '{"phase": "learn", "iteration": 1, "seconds": 1, "reward.seller": "x"}',
    ],
)
def test_a_damaged_line_of_metrics_is_reported(run: Run, line: str) -> None:
    path = run.folder / "metrics.jsonl"
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(RunError, match=r"metrics.jsonl:1 is not a record of this training"):
        _ = run.metrics


# --- a full disk -----------------------------------------------------------------------------------------------------


def test_old_results_outlast_a_full_disk(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.folder / "simulation.nc"
    assert rbcc(monkeypatch, "simulate", run.folder, "--episodes=3") == 0
    before = path.read_bytes()
    assert xr.load_dataset(path, engine="h5netcdf").sizes["episode"] == 3
    plot(run.folder)
    frame = pd.DataFrame({"mean": [1.0]}, index=pd.Index(["price"], name="indicator"))
    endings = [".csv", ".tex", *([".parquet"] if find_spec("pyarrow") else [])]
    tables = [run.folder / f"table{ending}" for ending in endings]
    for table in tables:
        write_table(frame, table)
    files = {file: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()}
    assert {path, run.folder / "episode.png", *tables} <= set(files)

    fill(monkeypatch)
    capsys.readouterr()
    assert rbcc(monkeypatch, "simulate", run.folder, "--episodes=5") == 1
    assert capsys.readouterr().err == f"error: {path}: No space left on device\n"
    for table in tables:
        with pytest.raises(OSError, match=f"No space left on device: '{table}'"):
            write_table(frame * 2, table)
    with pytest.raises(OSError, match=r"training.png"):
        plot(run.folder)
    assert {file: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()} == files
    assert path.read_bytes() == before


def test_a_run_directory_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)
    with pytest.raises(RunError, match=f"{tmp_path}/a cannot be written: No space left on device"):
        train("cournot", TINY, out=tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_training_on_a_full_disk_says_how_to_go_on(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbcc.runtime.session.CHECKPOINT_SECONDS", 0)

    def listener(_: Sequence[Run], progress: Sequence[Progress]) -> None:
        if progress[0].iteration == 7:
            fill(monkeypatch)

    out = tmp_path / "a"
    with pytest.raises(RunError) as caught:
        train("cournot", TINY, out=out, seed=3, listener=listener)
    assert "safetensors cannot be written: No space left on device; then go on with: rbcc train" in str(caught.value)
    assert str(caught.value).endswith("--resume")
    monkeypatch.undo()
    resumed = train("cournot", TINY, out=out, seed=3, resume=True)
    assert all(map(np.array_equal, jax.tree.leaves(resumed.state()), jax.tree.leaves(trained.state())))


def test_verify_tries_whether_it_can_write_before_it_works(run: Run) -> None:
    (run.folder / "equilibrium.json").mkdir()
    said: list[str] = []
    with pytest.raises(IsADirectoryError, match=r"equilibrium.json"):
        verify(run.folder, listener=said.append)
    assert said == []


def test_a_verification_that_cannot_be_written_is_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(monkeypatch)
    assert rbcc(monkeypatch, "verify", run.folder) == 1
    printed = capsys.readouterr()
    assert "no agent gains more than 1% alone (Nash):" in printed.out
    assert printed.err.endswith(f"error: {run.folder}/equilibrium.json cannot be written: No space left on device\n")
    with pytest.raises(Unwritten) as caught:
        verify(run.folder)
    assert set(caught.value.result.verdicts) == {"individual", "team"}
    assert not (run.folder / "equilibrium.json").exists()


# --- too little memory -----------------------------------------------------------------------------------------------

HUGE = 2_000_000_000


@pytest.mark.parametrize(
    "changed", [{"agents.seller.count": HUGE}, {"training.phases.learn.economies": HUGE}, {"horizon": HUGE}]
)
def test_sizes_beyond_all_memory_are_refused_before_the_work(changed: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(
        RunError,
        match=r"phase learn needs .*(GiB of memory, and the device has|numbers, and 2,147,483,647 is the most).*; lower",
    ):
        train("cournot", {**TINY, **changed}, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_more_seeds_than_memory(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="phase learn needs"):
        train_seeds("cournot", TINY, seeds=range(HUGE), out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_more_episodes_than_memory(run: Run) -> None:
    with pytest.raises(RunError, match=r"playing 100,000,000,000 episodes of 1 steps needs .* GiB of memory.*fewer"):
        simulate(run.folder, episodes=10**11)


def test_seeds_beyond_the_largest(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert rbcc(monkeypatch, "train", "cournot", "--seed", 2**31 - 1, "--seeds", 2) == 2
    assert "the last seed would be above 2147483647" in capsys.readouterr().err


# --- what is in the way ----------------------------------------------------------------------------------------------


def test_a_training_that_fails_at_once_leaves_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(*_: object) -> None:
        raise RunError("memory is too small")

    monkeypatch.setattr("rbcc.runtime.training.loop.check_memory", small)
    for seeds in (range(1), range(2)):
        with pytest.raises(RunError, match="memory is too small"):
            train_seeds("cournot", TINY, seeds=seeds, out=tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("mine"), lambda path: path.symlink_to("nowhere"), lambda path: path.mkdir()]
)
def test_what_is_no_run_directory_is_not_to_be_resumed(make: Callable[[Path], object], tmp_path: Path) -> None:
    out = tmp_path / "a"
    make(out)
    if out.is_dir():
        (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"a is there already, and is not a run directory; choose another with --out$"):
        train("cournot", TINY, out=out)
    assert os.path.lexists(out)


# --- signals ---------------------------------------------------------------------------------------------------------

PROGRAM = """
import signal, time
from rbcc.runtime.session import interruptible
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also if the tests run under nohup
try:
    with interruptible():
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("saved", flush=True)
            raise
finally:
    print("never")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signals here")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_interrupt_as_ctrl_c_does(number: signal.Signals) -> None:
    """And the program ends by the signal, as who sent it expects."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "saved\n"
    assert process.returncode == -number


@pytest.mark.slow
def test_training_that_is_terminated_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "a"
    command = ["train", "cournot", "--set=training.phases.learn.iterations=100000", f"--out={out}"]
    process = subprocess.Popen([sys.executable, "-m", "rbcc.cli", *command], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    stopped = Run.open(out)
    assert stopped.manifest["status"] == "interrupted"
    assert stopped.checkpoint()[2] == stopped.metrics[-1]["iteration"]

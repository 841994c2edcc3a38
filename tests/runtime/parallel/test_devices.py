"""Work shared among devices and hosts. JAX fixes the number of devices of a process, so most of this runs in others."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rbcc.runtime.errors import RunError
from rbcc.runtime.parallel.devices import SINGLE, check_memory, place


TINY = {
    "training.default.network": "[8]",
    "training.phases.explore.iterations": 50,
    "training.phases.explore.economies": 8,
    "training.phases.polish.iterations": 1,
    "training.phases.polish.economies": 8,
}
CHANGES = [f"--set={name}={value}" for name, value in TINY.items()]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rbcc.cli", *arguments]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def metrics(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if isinstance(v, float) and k != "seconds"} for line in lines]


def distance(one: Path, other: Path) -> float:
    """The largest difference of a metric of two runs, relative to its size."""
    pairs = list(zip(metrics(one), metrics(other), strict=True))
    assert pairs
    assert all(a.keys() == b.keys() for a, b in pairs)
    return max(abs(a[k] - b[k]) / max(abs(a[k]), 1e-2) for a, b in pairs for k in a)


COMPARE = """
import jax
from rbcc.runtime.parallel.devices import ALL, BY_ECONOMY, configure, place
from rbcc.runtime.economy.model import compile
from rbcc.runtime.training.loop import initial_state, stretch, training
from rbcc.runtime import prng

configure(8)
model = compile("open_rbc_small", {overrides})
one, eight = place([8], 1), place([8])
assert (one.devices, eight.devices) == (1, 8), (one, eight)
worst = 0
for (a,), (b,) in zip(training(model, [0], one), training(model, [0], eight), strict=True):
    assert a.metrics.keys() == b.metrics.keys()
    worst = max(worst, *(abs(a.metrics[k] - b.metrics[k]) / max(abs(a.metrics[k]), 1e-2) for k in a.metrics))
assert a.iteration == 1 and a.phase == 1
print("largest difference", worst)
late = lambda x: eight.share.first(x[0] > 4, {{"place": x[0], "flag": x[0] > 4}})
for numbers, found in ((range(8), 5), (range(5, 13), 5), ([0] * 8, 0)):
    first = eight.program(late, (BY_ECONOMY,), ALL)(jax.numpy.array(list(numbers)))
    assert (int(first["place"]), bool(first["flag"])) == (found, found > 0), first
state, key = eight.put((initial_state(model, 0), prng.bare(prng.key(0))), ALL)
program = eight.program(stretch(model, model.ir.phases[0], eight.share), (ALL,) * 4, (ALL, ALL))
number = jax.numpy.int32(1)
text = program.lower(state, key, number, number).compile().as_text()
for name in ("all-gather", "all-to-all", "collective-permute", "all-reduce"):
    print(name, text.count(f" {{name}}("))
"""


@pytest.mark.slow
def test_eight_devices_do_what_one_does_and_exchange_sums_only(tmp_path: Path) -> None:
    code = COMPARE.format(overrides=TINY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert float(found.pop("largest difference")) < 1e-4
    assert int(found.pop("all-reduce")) > 0
    assert set(found.values()) == {"0"}


def on_two_hosts(folder: Path, *arguments: str) -> list[tuple[int, str]]:
    """(exit status, what was printed) of two processes of two devices each that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = ("train", "open_rbc_small", *CHANGES, "--devices=2", "--seeds=2", "--out=both", *arguments)
    hosts = [
        subprocess.Popen(
            command(*together, f"--hosts={rank}/2@127.0.0.1:{port}"),
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    printed = [host.communicate(timeout=300)[0] for host in hosts]
    return [(host.returncode, text) for host, text in zip(hosts, printed, strict=True)]


@pytest.mark.slow
def test_two_hosts_do_what_one_does(tmp_path: Path) -> None:
    results = on_two_hosts(tmp_path)
    assert [status for status, _ in results] == [0, 0], results
    done = run("train", "open_rbc_small", *CHANGES, "--seeds=2", "--devices=1", "--out=one", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for seed in ("seed-0", "seed-1"):
        assert distance(tmp_path / "one" / seed, tmp_path / "both" / seed) < 1e-4
        assert json.loads((tmp_path / "both" / seed / "manifest.json").read_text())["devices"] == 4
    again = on_two_hosts(tmp_path)  # the directory is there: only one host sees that, and both say it
    assert [status for status, _ in again] == [1, 1]
    assert all("both already exists" in text for _, text in again)
    assert [status for status, _ in on_two_hosts(tmp_path, "--resume")] == [0, 0]


@pytest.mark.slow
def test_seeds_at_once_are_those_one_by_one_and_can_be_resumed(tmp_path: Path) -> None:
    few = [*CHANGES, "--set=training.phases.explore.iterations=20"]
    done = run("train", "open_rbc_small", *few, "--seeds=3", "--devices=2", "--out=group", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run("train", "open_rbc_small", *few, "--seed=2", "--out=two", folder=tmp_path).returncode == 0
    assert distance(tmp_path / "two", tmp_path / "group" / "seed-2") < 1e-3
    assert distance(tmp_path / "two", tmp_path / "group" / "seed-1") > 1e-3
    again = run("train", "open_rbc_small", *few, "--seeds=3", "--out=group", "--resume", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    other = run("train", "open_rbc_small", *few, "--seeds=4", "--out=group", "--resume", folder=tmp_path)
    assert other.returncode == 1
    assert "Traceback" not in other.stderr
    assert "group was trained with --seed 0 --seeds 3, not --seed 0 --seeds 4" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--devices=9", "--set=training.phases.explore.economies=8"], "cannot share"),
        (["--devices=0"], "devices"),
        (["--devices=some"], "all"),
        (["--hosts=nowhere"], "RANK/NUMBER@ADDRESS:PORT"),
        (["--seeds=0"], "seeds"),
        (["--set=training.precision=tf32"], "float32, or bf16"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = run("train", "open_rbc_small", *arguments, "--out=run", folder=tmp_path)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_too_little_memory_is_said_before_it_is_taken() -> None:
    sizes = SimpleNamespace(
        argument_size_in_bytes=2**50, output_size_in_bytes=0, temp_size_in_bytes=0, alias_size_in_bytes=0
    )
    with pytest.raises(RunError, match="phase explore needs 1,048,576"):
        check_memory(SimpleNamespace(memory_analysis=lambda: sizes), "phase explore", SINGLE)


def test_economies_are_shared_equally_or_not_at_all() -> None:
    assert place([7, 14], 1) == SINGLE
    with pytest.raises(RunError, match="not 2; use --devices 1 to 1"):
        place([8], 2)

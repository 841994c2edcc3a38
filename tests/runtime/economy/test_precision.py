"""Numbers of 64 bits for models that ask for them, in a process that may have them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import pytest

from rbcc.runtime.economy.model import compile
from rbcc.runtime.errors import RunError


SPEC = """
rbcc: 1
model: large
horizon: 1
discount: 1
precision: float64
parameters: {gdp: 123456789, population: 16777217}
agents:
  saver:
    count: 1
    actions: {effort: {choices: [0, 1]}}
    reward: effort
equations:
  differences: |
    growth = gdp - 123456788
    births = population - 16777216
indicators: {growth: growth, births: births}
training: {phases: {learn: {iterations: 2, economies: 4}}, default: {network: [4]}}
verify: {episodes: 64, economies: 8, iterations: 2}
silence: [RB207, RB804, RB802]
"""


def test_a_process_of_somebody_else_is_left_as_it_is(write_spec: Callable[..., Path]) -> None:
    with pytest.raises(RunError, match=r"call jax\.config\.update\('jax_enable_x64', True\)"):
        compile(write_spec(SPEC))
    model = compile(write_spec(SPEC), {"precision": "float32"})
    state = model.reset(jax.random.key(0))
    values = model.step(state, model.sample(state, jax.random.key(1)), jax.random.key(2))[1].values
    assert (values["growth"], values["births"]) == (8, 0)


def test_commands_compute_in_double_precision(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    def rbcc(*arguments: str) -> str:
        command = [sys.executable, "-m", "rbcc.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    write_spec(SPEC)
    rbcc("train", "model.yaml", "--out", "exact")
    rbcc("verify", "exact")
    record = json.loads((tmp_path / "exact" / "metrics.jsonl").read_text().splitlines()[-1])
    assert (record["indicator.growth"], record["indicator.births"]) == (1, 1)
    assert json.loads((tmp_path / "exact" / "equilibrium.json").read_text())["indicators"]["growth"] == 1

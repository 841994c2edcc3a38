from collections.abc import Callable
from pathlib import Path

import pytest

from rbcc.runtime.errors import RunError
from rbcc.runtime.run import train


STEEP = """
rbcc: 1
model: steep
horizon: 2
discount: 0.9
agents:
  seller:
    index: j
    count: 2
    state: {s: {start: 1}}
    actions: {q: {between: [0, 2]}}
    observes: [s]
    reward: q[j] * (2 - q[j]) + root[j] * s[j]
equations:
  a: |
    root[j] = ROOT
    s'[j]   = s[j]
indicators: {q: "mean(j, q[j])"}
training:
  phases: {learn: {iterations: 1, economies: 8}}
  default: {algorithm: pathwise}
"""


def test_an_infinite_derivative_is_named(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    path = write_spec(STEEP.replace("ROOT", "sqrt(abs(q[j] - q[j]))"))
    with pytest.raises(RunError) as raised:
        train(path, out=tmp_path / "run")
    text = str(raised.value)
    line = path.read_text().splitlines().index("    root[j] = sqrt(abs(q[j] - q[j]))") + 1
    assert (
        f"{path}:{line}:5: root[j] = sqrt(abs(q[j] - q[j]))\nhas no finite derivative by seller.q at step 0, j = 0"
        in text
    )
    assert "learning_rate" not in text


def test_behind_a_guard_nothing_is_infinite(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    """Most choices of untrained sellers are below 1 or above it; both learn."""
    guarded = "(sqrt(q[j] - 1) if q[j] > 1 else 0) + max(q[j] - 1, 0)^0.5 + max(0, log(q[j] - 1))"
    run = train(write_spec(STEEP.replace("ROOT", guarded)), out=tmp_path / "run")
    assert run.manifest["status"] == "finished"

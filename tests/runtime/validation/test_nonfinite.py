from collections.abc import Callable
from pathlib import Path

import pytest

from rbcc.runtime.errors import RunError
from rbcc.runtime.reports.dataset import simulate
from rbcc.runtime.session import train


STEEP = """
rbcc: 1
model: steep
horizon: 2
discount: 0.9
agents:
  seller:
    index: [j, k]
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
    equation = "root[j] = sqrt(abs(q[j] - q[j])) * gini(k, q[k])"
    path = write_spec(STEEP.replace("root[j] = ROOT", equation))
    with pytest.raises(RunError) as raised:
        train(path, out=tmp_path / "run")
    text = str(raised.value)
    line = path.read_text().splitlines().index(f"    {equation}") + 1
    assert f"{path}:{line}:5: {equation}\nhas no finite derivative by seller.q at step 0, j = 0" in text
    assert "learning_rate" not in text


def test_behind_a_guard_nothing_is_infinite(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    """Most choices of untrained sellers are below 1 or above it; both learn."""
    guarded = "(sqrt(q[j] - 1) if q[j] > 1 else 0) + max(q[j] - 1, 0)^0.5 + max(0, log(max(q[j] - 1, 0)))"
    run = train(write_spec(STEEP.replace("ROOT", guarded)), out=tmp_path / "run")
    assert run.manifest["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("guarded", ["max(x, 0)^half", "(x^half if x > 0 else 0)"])
def test_agents_learn_by_derivatives_across_a_guard(
    write_spec: Callable[..., Path], tmp_path: Path, guarded: str
) -> None:
    """The maximum of 3 x - x^2 + x^.5 is at 1.692; half of the choices of who has not learned are below 0."""
    spec = """
rbcc: 1
model: guarded
horizon: 1
discount: 1
parameters: {half: 0.5}
agents:
  a:
    count: 1
    actions: {x: {between: [-2, 2]}}
    reward: 3 * x - x^2 + GUARDED
equations: {g: v = x}
indicators: {x: x}
training:
  phases: {learn: {iterations: 300, economies: 64}}
  default: {algorithm: pathwise, learning_rate: 1e-2}
silence: [RB802, RB207]
"""
    run = train(write_spec(spec.replace("GUARDED", guarded)), out=tmp_path / "run")
    found = float(simulate(run.folder, episodes=256)["indicator.x"].mean())
    assert found == pytest.approx(1.692, abs=0.02)

"""Moments and impulse responses against processes whose moments are known, of agents that have learned nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rbcc.runtime.errors import RunError
from rbcc.runtime.reports.moments import legend_of_responses, moments, responses
from rbcc.runtime.reports.tables import table
from rbcc.runtime.session import train


# The chain has seven values, .0187 apart.
SPEC = """
rbcc: 1
model: processes
horizon: 40
continuing: true
discount: 0.99
parameters: {rho: 0.9, sigma: 0.01}
state:
  z: {start: 0, scale: 0.1}
  stock: {start: 10}
  open: {start: false}
  chain:
    start: stationary
    markov: {rouwenhorst: {persistence: 0.9, shock: 0.01, states: 7}}
agents:
  a:
    count: 1
    actions: {q: {choices: [0, 1]}}
    observes: [z]
    reward: q + z
equations:
  g: |
    z' = rho * z + sigma * normal()
    stock' = stock
    open' = open
    y = exp(z)
indicators: {y: y, cents: 100 * y, z: z, chain: chain, shifted: 0.05 + z, stock: stock, f: 1 if open else 0}
moments: {log: [stock]}
training:
  phases: {learn: {iterations: 1, economies: 2}}
  default: {network: [4]}
silence: [RB207, RB804, RB802]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    train(folder / "spec.yaml", out=folder / "run")
    return folder / "run"


@pytest.mark.parametrize("size", [0.009, 0.0187317])
def test_a_shock_between_two_values_of_a_chain_is_split(run: Path, size: float) -> None:
    """The expected response is what was asked for, and dies out as the chain does."""
    found = responses(run, f"chain=+{size}", steps=4, paths=128).query("indicator == 'chain'")
    expected = size * 0.9 ** np.arange(4)
    assert found["response"].iloc[0] == pytest.approx(size, rel=1e-5)
    assert np.all(np.abs(found["response"] - expected) <= 4 * found["error"] + 1e-6)
    assert 100 < found.attrs["paths"] < 128  # without those in the highest state
    assert f"{found.attrs['paths']} of 128 paths" in legend_of_responses(found)
    assert set(found["unit"]) == {"level"}


def test_the_size_of_a_shock_can_be_given_in_percent_or_standard_deviations(run: Path) -> None:
    for shock, indicator, expected in [
        ("chain=+1sd", "chain", 0.01),
        ("z=-2sd", "z", -0.02),
        ("stock=+1%", "stock", 1.0),  # in percent, as the spec says
        ("z=0.01", "y", 100 * np.expm1(0.01)),
    ]:
        found = responses(run, shock, steps=1, paths=64).set_index("indicator").loc[[indicator]]
        assert found["response"].iloc[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("shock", "words"),
    [
        (
            "open=+0.5",
            r"'open' is true or false, and a shock is added to a number; states that are numbers: z, stock, chain",
        ),
        ("chain=+1", r"in no path can 'chain' change by 1 and stay within its values, -0\.05619"),
        ("z=+1 sd of it", "is not a shock; write for example STATE"),
        ("stock=+1sd", "'stock' has no shock of one size"),
    ],
)
def test_shocks_that_cannot_be(run: Path, shock: str, words: str) -> None:
    with pytest.raises(RunError, match=words):
        responses(run, shock, steps=1, paths=4)


def test_units_are_those_of_the_model_whatever_is_drawn(run: Path) -> None:
    """Beside z, which is .05 below it, `shifted` is above 0 in all of few steps for some seeds and not for others."""
    found = [moments(run, steps=8, paths=2, hp=1600, seed=seed) for seed in (0, 1)]
    units = {"y": "%", "cents": "%", "z": "level", "chain": "level", "shifted": "level", "stock": "%", "f": "level"}
    assert [dict(one["unit"]) for one in found] == [units, units]


def test_a_logarithm_moves_as_much_as_its_exponential_in_percent(run: Path) -> None:
    found = moments(run, steps=200, paths=8, hp=1600, relative_to="z")
    assert np.allclose(found.loc[["y", "cents", "z", "shifted"], "relative_sd"], 1, atol=1e-3)
    assert found.loc["y", "sd"] == pytest.approx(100 * found.loc["z", "sd"], rel=1e-3)
    exact = found.loc["y", "sd"]
    assert f"{exact:.4g} (" in table(found)
    assert f"{exact:.9g} (" in table(found, 9)


def test_episodes_that_are_short_have_means(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    text = SPEC.replace("horizon: 40\ncontinuing: true", "horizon: 1").replace("exp(z)", "uniform()")
    train(write_spec(text.replace("shifted: 0.05 + z, ", "")), out=tmp_path / "run")
    found = moments(tmp_path / "run", paths=400)
    assert list(found.columns) == ["unit", "mean", "mean_error", "sd"]
    assert found.loc["y", "mean"] == pytest.approx(0.5, abs=0.06)
    assert found.loc["y", "sd"] == pytest.approx(12**-0.5, abs=0.02)
    with pytest.raises(RunError, match="of shorter episodes there is no cycle"):
        moments(tmp_path / "run", hp=1600)

"""Two runs compared: payoffs, their differences, and the consumption that makes up for these, against known answers."""

import re
from pathlib import Path

import numpy as np
import pytest
import typer

import rbcc
from rbcc.cli import app
from rbcc.runtime.errors import RunError
from rbcc.runtime.reports.welfare import FIFTHS, compare, equivalent
from rbcc.runtime.session import train


# What is eaten is drawn, by each its own, and nothing that is chosen changes it; utility is CRRA.
SPEC = """
rbcc: 1
model: eating
horizon: 5
discount: 0.95
parameters: {endowment: 2, aversion: 2.5, bonus: 0}
agents:
  eater:
    index: i
    count: 10
    state:
      luck: {start: "0.5 + uniform()"}
    actions: {nod: {choices: [0, 1]}}
    observes: [luck]
    reward: (eaten[i]^(1 - aversion) - 1) / (1 - aversion) + bonus + 0 * nod[i]
  idler:
    count: 1
    actions: {yawn: {choices: [0, 1]}}
    observes: [{value: time, scale: 1}]
    reward: yawn
equations:
  meals: |
    share[i] = luck[i] / (1 + time)
    eaten[i] = endowment * share[i]
    luck'[i] = luck[i]
training:
  phases: {learn: {iterations: 1, economies: 2}}
  default: {network: [4]}
silence: [RB207, RB801, RB802, RB803, RB804, RB805, RB806, RB807]
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("eating")
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    changed = {"a": {}, "richer": {"parameters.endowment": 2.06}, "glad": {"parameters.bonus": 1e6}}
    for name, overrides in changed.items():
        train(folder / "spec.yaml", overrides, out=folder / name)
    return {name: folder / name for name in changed}


def test_three_percent_more_consumption_is_worth_three_percent(runs: dict[str, Path]) -> None:
    found = compare(runs["a"], runs["richer"], consumption={"eater": "eaten"}, episodes=16)
    whole = found.iloc[0]
    assert (whole["type"], whole["agents"]) == ("eater", "all")
    assert whole["equivalent"] == pytest.approx(0.03, abs=1e-6)
    assert 0 <= whole["equivalent_error"] < 1e-6
    back = compare(runs["richer"], runs["a"], consumption={"eater": "share"}, episodes=16).iloc[0]
    assert back["equivalent"] == pytest.approx(1 / 1.03 - 1, abs=1e-6)
    assert np.isnan(found["equivalent"].iloc[1:]).all()


def test_payoffs_by_fifths(runs: dict[str, Path]) -> None:
    found = compare(runs["a"], runs["richer"], episodes=16).set_index(["type", "agents"])
    assert list(found.index) == [("eater", who) for who in ("all", *FIFTHS)] + [("idler", "all")]
    fifths = found.loc["eater"].loc[list(FIFTHS)]
    assert fifths["before"].is_monotonic_increasing
    assert fifths["difference"].mean() == pytest.approx(found.loc[("eater", "all"), "difference"])
    assert (found.loc["eater", "difference"] > 0).all()
    data = rbcc.simulate(runs["a"], episodes=16)
    weights = 0.95 ** np.arange(5)
    payoffs = (data["eater.reward"] * weights[None, :, None]).sum("step").mean()
    assert found.loc[("eater", "all"), "before"] == pytest.approx(float(payoffs), rel=1e-5)


def test_what_no_consumption_makes_up_for_has_no_equivalent(runs: dict[str, Path]) -> None:
    """With an aversion above 1 utility has an upper bound."""
    found = compare(runs["a"], runs["glad"], consumption={"eater": "eaten"}, episodes=4)
    assert np.isnan(found["equivalent"].iloc[0])


def test_the_error_is_that_of_a_mean() -> None:
    """Utility is the logarithm: the share is the exponential of a mean difference, and its error follows."""
    rng = np.random.default_rng(0)
    base, wanted = rng.normal(size=400), rng.normal(0.1, 1, size=400)
    share, error = equivalent(lambda factor: base + np.log(factor), wanted)
    difference = wanted - base
    assert share == pytest.approx(np.exp(difference.mean()) - 1, abs=1e-9)
    assert error == pytest.approx(np.exp(difference.mean()) * difference.std(ddof=1) / 20, rel=1e-4)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"eeter": "eaten"}, "'eeter' is not a type of both economies; these are: eater, idler"),
        ({"eater": "eatne"}, "no value 'eatne' in eating; did you mean 'eaten'?"),
        ({"idler": "eaten"}, "the reward of idler does not depend on 'eaten'"),
    ],
)
def test_what_cannot_be_scaled_is_refused(runs: dict[str, Path], named: dict[str, str], message: str) -> None:
    with pytest.raises(RunError, match=message.replace("?", r"\?")):
        compare(runs["a"], runs["richer"], consumption=named)


def test_compared_in_python(runs: dict[str, Path]) -> None:
    found = rbcc.compare(rbcc.load(runs["a"]), runs["richer"], consumption={"eater": "eaten"}, episodes=4)
    assert repr(found) == f"Comparison(eater, idler: {runs['richer']} less {runs['a']})"
    assert "lowest fifth" in str(found)
    assert "lowest fifth" in found._repr_html_()
    assert found.plot()._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_the_command_prints_and_writes_the_table(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [str(runs["a"]), str(runs["richer"])]
    app(
        [*("compare", *pair, "--consumption", "eater=eaten", "--episodes=4"), "--out", str(tmp_path / "a.csv")],
        standalone_mode=False,
    )
    assert re.search(r"^eater +all .* 0\.03 \(.*\)$", capsys.readouterr().out, re.MULTILINE)
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").startswith("type,agents,unit,before,after,difference,error")
    with pytest.raises(typer.BadParameter, match="'eater' is not TYPE=VALUE"):
        app(["compare", *pair, "--consumption", "eater"], standalone_mode=False)

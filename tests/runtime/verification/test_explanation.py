"""What a deviation gains by: games in which that is known."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rbcc.runtime.reports.html import write_page
from rbcc.runtime.reports.verification_text import verification_table
from rbcc.runtime.session import train
from rbcc.runtime.verification.explanation import Cells, Explanation, essential, grouped, union
from rbcc.runtime.verification.results import Equilibrium, Verdict
from rbcc.runtime.verification.ties import Effect, Tie, Ties
from rbcc.runtime.verification.verify import verify


MARKET = """
rbcc: 1
model: market_day
horizon: 4
discount: 1
agents:
  farmer:
    index: i
    count: 2
    state: {good: {start: 0, scale: 1}}
    actions:
      work: {choices: [0, 1, 2]}
      sell: {over: buyer, choices: [0, 1]}
    observes: [time, good]
    reward: good[i] * sum(j, price[j] * sell[i,j]) - work[i]
  buyer:
    index: j
    count: 3
    parameters: {price: "cycle(j, 0, 3, 0)"}
equations: {harvest: "good'[i] = work[i] if time == 1 else 0"}
indicators: {work: "mean(i, work[i])"}
training:
  phases: {learn: {iterations: 1, economies: 4}}
  default: {learning_rate: 0, network: [16]}
verify: {iterations: 200, economies: 64, episodes: 256, learning_rate: 3e-2}
"""
IDLE = ["farmer.work=0", "farmer.sell=0"]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Equilibrium]:
    """Farmers who do nothing. Work in step 1 makes a good that buyer 1 pays 3 for in step 2, and no one else ever."""
    folder = tmp_path_factory.mktemp("market")
    (folder / "model.yaml").write_text(MARKET)
    run = train(folder / "model.yaml", out=folder / "run")
    return run.folder, verify(run.folder, plants=IDLE)


def why(result: Equilibrium, notion: str) -> Explanation:
    (row,) = (row for row in result.rows if notion in row.estimate.notions)
    assert row.verdict is Verdict.REFUTED
    assert row.explanation is not None
    return row.explanation


@pytest.mark.slow
@pytest.mark.parametrize("notion", ["individual", "team"])
def test_work_and_sale_that_pay_together_only_are_named(market: tuple[Path, Equilibrium], notion: str) -> None:
    found = why(market[1], notion)
    (part,) = found.parts
    made = [(one.action, one.choice, one.of, one.trained, one.first, one.last) for one in part.choices]
    assert made == [("farmer.work", "2", "", "0", 1, 1), ("farmer.sell", "1", "buyer 1", "0", 2, 2)]
    assert part.gain == pytest.approx(4, abs=0.2)
    assert found.gain == pytest.approx(4, abs=0.4)
    assert (found.member in (0, 1)) is (notion == "individual")
    assert found.more == 0


def test_it_is_told_everywhere(market: tuple[Path, Equilibrium]) -> None:
    folder, result = market
    words = "work 2 (trained: 0) in step 1; sell 1 of buyer 1 (trained: 0) in step 2"
    text = verification_table(result)
    assert f"\nwhat pays: one farmer (index {why(result, 'individual').member}) gains " in text
    assert "\nwhat pays: farmer team gains " in text
    assert text.count(words) == 2
    assert write_page(folder, result).read_text().count(f"<td>{words}</td>") == 2
    rows = json.loads((folder / "equilibrium_planted.json").read_text())["rows"]
    assert rows[0]["explanation"]["parts"][0]["choices"][1]["of"] == "buyer 1"
    tie = Tie("farmer.sell", 3, (Effect("1", "buyer", 0.25),))
    text = verification_table(replace(result, ties=Ties((tie,), {}, 0)))
    line = "tie: sell in step 3 is worth the same to one farmer whatever it is: 1 changes the payoff of buyer by +25.0%"
    assert f"\n{line}\n" in text


def test_a_constant_choice_is_simply_said(tmp_path: Path) -> None:
    run = train("cournot", {"training.phases.learn.iterations": 1}, out=tmp_path / "a")
    quick = {"verify.iterations": 1, "verify.economies": 1024, "verify.episodes": 64}
    result = verify(run.folder, quick, plants=["seller.quantity=22.5"])
    found = why(result, "individual")
    assert found.parts == ()
    assert found.constant in ("always quantity 33", "always quantity 34.5")
    assert f"gains {found.gain / result.rows[0].estimate.scale:.2%}: {found.constant}\n" in verification_table(result)
    assert found.gain == pytest.approx(126, abs=1)


# --- the search on gains that are known ----------------------------------------------------------------------------


def named(gain: Callable[[Cells], float], horizon: int, actions: Sequence[Sequence[int]]) -> Cells:
    return union(essential(gain, horizon, actions))


def test_few_cells_are_found_among_many() -> None:
    def gain(cells: Cells) -> float:
        return 5.0 * ({(17, 1), (93, 0)} <= cells) + 0.001 * len(cells)

    assert named(gain, 100, [[0], [1], [2]]) == {(17, 1), (93, 0)}


def test_what_does_harm_is_left_out() -> None:
    assert named(lambda cells: 3.0 * ((2, 0) in cells) - ((4, 0) in cells), 6, [[0]]) == {(2, 0)}


def test_one_of_two_that_do_the_same_is_kept() -> None:
    assert len(named(lambda cells: float(bool(cells & {(1, 0), (3, 0)})), 6, [[0], [1, 2]])) == 1


def test_what_matters_everywhere_is_not_cut_to_pieces() -> None:
    """A gain in each of 1000 steps: blocks of steps remain, and not too many ask for it."""
    asked = set[Cells]()

    def gain(cells: Cells) -> float:
        asked.add(cells)
        return float(len(cells))

    found = named(gain, 1000, [[0]])
    assert 900 <= len(found) < 1000
    assert len(asked) < 200


def test_groups_are_what_pays_together() -> None:
    pieces = [Cells({(step, 0)}) for step in range(4)]

    def gain(cells: Cells) -> float:
        return (
            1.0 * ((0, 0) in cells)
            + 5.0 * (pieces[1] | pieces[3] <= cells)
            - 0.5 * ((3, 0) in cells)
            + 2.0 * ((2, 0) in cells)
        )

    assert grouped(gain, pieces) == [([1, 3], 4.5), ([2], 2.0), ([0], 1.0)]


def test_three_that_pay_together_only_are_one_group() -> None:
    pieces = [Cells({(step, 0)}) for step in range(3)]
    assert grouped(lambda cells: float(union(pieces) <= cells), pieces) == [([0, 1, 2], 1.0)]


REFUTED = Path(__file__).parents[2] / "data" / "refuted" / "consumer_17_percent"


@pytest.mark.slow
def test_work_for_no_wage_is_found_and_named(tmp_path: Path) -> None:
    """No one works in the first quarter, for the wage is 0, and firms that have nothing give it away in the second:
    one consumer who works for a firm gets all that it makes."""
    run = shutil.copytree(REFUTED, tmp_path / "run")
    found = why(verify(run, {"verify.iterations": 100}), "individual")
    (part,) = found.parts
    work, employer, demand = part.choices
    assert (work.action, work.first, work.trained) == ("consumer.hours", 0, "0")
    assert float(work.choice) >= 260
    assert (employer.action, employer.first) == ("consumer.employer", 0)
    assert (demand.action, demand.first, demand.of) == ("consumer.demand", 1, employer.choice)
    assert part.gain > 0.1 * 7.61

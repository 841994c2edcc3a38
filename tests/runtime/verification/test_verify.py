"""Verification against exact answers: Cournot's duopoly on a grid."""

import json
import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import rbcc
from rbcc.compiler import ir
from rbcc.runtime import prng
from rbcc.runtime.economy.model import compile
from rbcc.runtime.errors import RunError
from rbcc.runtime.parallel.devices import SINGLE
from rbcc.runtime.reports.html import write_page
from rbcc.runtime.reports.verification_text import verification_summary, verification_table
from rbcc.runtime.session import train, train_seeds
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.training.loop import initial_state, networks_of
from rbcc.runtime.verification.best_response.exact import Answer
from rbcc.runtime.verification.best_response.learned import Arena, Base, Deviation, Deviator
from rbcc.runtime.verification.best_response.search import Battery, Candidate, Measure, own_best, rising
from rbcc.runtime.verification.perturbations import Frozen, Random, Scaled, read_plant
from rbcc.runtime.verification.results import Equilibrium, Estimate, Gain, Member, Open, Row, Verdict, judge, overall
from rbcc.runtime.verification.statistics import Mean, changes, holm
from rbcc.runtime.verification.verify import verify


QUICK = {"verify.iterations": 160, "verify.economies": 128, "verify.episodes": 1024}


@pytest.fixture(scope="module")
def duopoly(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("cournot", out=tmp_path_factory.mktemp("runs") / "cournot")


@pytest.fixture(scope="module")
def verified(duopoly: Run) -> Equilibrium:
    return verify(duopoly.folder, QUICK)


def rows(result: Equilibrium) -> dict[str, Row]:
    return {notion: row for row in result.rows for notion in row.estimate.notions}


def paid(row: Row) -> float:
    return row.estimate.gain.amount.value


def test_nash_quantities_are_certified(verified: Equilibrium) -> None:
    found = rows(verified)["individual"]
    assert verified.verdicts["individual"] is Verdict.CERTIFIED
    assert found.estimate.exact is not None
    assert found.estimate.exact.payoff == pytest.approx(found.estimate.payoff, rel=0.002)
    assert found.estimate.exact.found == pytest.approx(paid(found), abs=0.5)
    assert 0 <= found.estimate.exact.found <= found.estimate.exact.gain < 9
    assert found.estimate.payoff == pytest.approx(900, rel=0.01)
    assert found.bounds.share_upper is not None
    assert 0 <= found.bounds.share_upper < 0.01
    assert found.bounds.lower <= paid(found) <= found.bounds.upper
    assert found.estimate.power is not None
    assert found.estimate.power > 0.95


def test_a_cartel_of_both_gains_an_eighth(verified: Equilibrium) -> None:
    """Collusion at 22.5 each earns 1012.5 instead of 900."""
    found = rows(verified)["team"]
    assert verified.verdicts["team"] is Verdict.REFUTED
    assert found.estimate.gain.share is not None
    assert found.estimate.gain.share.value == pytest.approx(0.125, rel=0.08)
    assert found.estimate.exact is not None
    assert found.estimate.exact.gain == pytest.approx(1012.5 - found.estimate.exact.payoff)
    assert found.estimate.exact.found == pytest.approx(found.estimate.exact.gain, rel=0.05)
    assert "\nexact: the gain of seller team is 12." in verification_table(verified)
    assert found.estimate.scale == pytest.approx(900, rel=0.01)


def test_the_summary_fits_and_says_what_bears_on_the_verdict(verified: Equilibrium) -> None:
    assert verified.after == {}
    lines = verification_summary(verified).splitlines()
    assert [line.rpartition("  ")[2] for line in lines[:2]] == ["CERTIFIED", "REFUTED"]
    assert max(map(len, lines[4:7])) <= 80
    assert any(line.startswith("what pays: seller team gains 12.") for line in lines)
    later = replace(verified, after={"seller": 0.52}, alive={"quantity > 1": False})
    lines = verification_summary(later).splitlines()
    assert "not alive: quantity > 1 does not hold" in lines
    assert any("52% of the weight in the payoff of seller" in line for line in lines)
    edges = replace(verified, edges=tuple(f"edge {number}" for number in range(9)))
    assert verification_summary(edges).endswith("and 5 more findings")


def test_result_is_on_disk(duopoly: Run, verified: Equilibrium) -> None:
    data = json.loads((duopoly.folder / "equilibrium.json").read_text())
    assert data["verdicts"] == {"individual": "CERTIFIED", "team": "REFUTED"}
    assert data["settings"]["exact"] == "yes: 1,681 pairs of a state and choices of all agents"
    assert data["rows"][1]["estimate"]["exact"]["attained"] is True
    assert data["settings"]["digest"] == duopoly.manifest["digest"]
    assert len(data["settings"]["checkpoint"]) == 64
    assert data["alive"] == {"quantity > 1": True}
    sources = {c["source"] for row in data["rows"] for c in row["estimate"]["battery"]}
    assert sources == {"none", "always", "continued", "from scratch"}
    assert data["rows"][0]["estimate"]["gain"]["amount"]["value"] == paid(verified.rows[0])


def test_page_is_whole_and_loads_nothing(duopoly: Run, verified: Equilibrium) -> None:
    page = write_page(duopoly.folder, verified).read_text()
    for words in ("REFUTED", "<svg", "cournot: how far from equilibrium?", "seller team", duopoly.manifest["digest"]):
        assert words in page
    assert not re.search(r"<script|<link|(src|href)=\"(?!#)", page)


NO_LEARNING = {"verify.iterations": 1, "verify.economies": 1024, "verify.episodes": 64}


@pytest.mark.parametrize(
    ("plant", "payoff", "individual", "team"),
    [
        ("seller.quantity=22.5", 1012.5, (("quantity 33", "quantity 34.5"), 126), (("",), 0)),
        pytest.param(
            "seller.quantity=0", 0, (("quantity 45",), 2025), (("quantity 22.5",), 1012.5), marks=pytest.mark.slow
        ),
    ],
)
def test_constant_choices_alone_find_the_exact_best_reply(
    duopoly: Run, plant: str, payoff: float, individual: Any, team: Any
) -> None:
    found = rows(verify(duopoly.folder, NO_LEARNING, plants=[plant]))
    for notion, (names, gain) in {"individual": individual, "team": team}.items():
        assert found[notion].estimate.payoff == pytest.approx(payoff, rel=1e-5)
        assert paid(found[notion]) == pytest.approx(gain, abs=1e-3)
        assert found[notion].estimate.best.name in names
        assert len([c for c in found[notion].estimate.battery if c.source == "always"]) == 41
    assert found["individual"].verdict is Verdict.REFUTED
    assert (duopoly.folder / "equilibrium_planted.json").exists()


def always(networks: Any, **choices: int) -> Any:
    """`networks`, but those of some types, of one action each, always make the choice with this number."""
    found = dict(networks)
    for agent, number in choices.items():
        (head,) = networks[agent]["choices"]
        found[agent] = {**networks[agent], "choices": [{**head, "bias": head["bias"].at[number].add(30.0)}]}
    return found


@pytest.mark.parametrize("economies", [1024, 64])  # one batch of selection seeds; many, with a first part of them
def test_networks_are_verified_without_a_run(economies: int) -> None:
    """Both sell 22.5, as a cartel: alone one gains 126 of 1012.5, with 33 or 34.5; together they gain nothing."""
    model = compile("cournot", {**NO_LEARNING, "verify.economies": economies})
    result = rbcc.exploitability(model, always(initial_state(model, 0).networks, seller=15))
    assert result.verdicts == {"individual": Verdict.REFUTED, "team": Verdict.CERTIFIED}
    found = rows(result)
    assert found["individual"].estimate.payoff == pytest.approx(1012.5)
    assert paid(found["individual"]) == pytest.approx(126, abs=1e-3)
    assert paid(found["team"]) == 0
    for row in result.rows:
        constant = {c.name: c.gain for c in row.estimate.battery if c.source == "always"}
        assert len(constant) == 41
        assert constant["quantity 60"] == pytest.approx(
            {"individual": -562.5, "team": -2812.5}[row.estimate.notions[0]]
        )


def test_who_is_always_caught_gains_by_hiding() -> None:
    """Both show heads: the mismatcher loses 1 in each game and could win it, the matcher has all there is."""
    model = compile("matching_pennies", NO_LEARNING)
    result = rbcc.exploitability(model, always(initial_state(model, 0).networks, matcher=1, mismatcher=1))
    matcher, mismatcher = result.rows
    assert (matcher.estimate.payoff, mismatcher.estimate.payoff) == (1, -1)
    assert (paid(matcher), paid(mismatcher)) == (0, 2)
    assert (matcher.verdict, mismatcher.verdict) == (Verdict.CERTIFIED, Verdict.REFUTED)


def test_learning_stops_where_nothing_is_in_sight() -> None:
    """As a cartel two sellers have all there is: who goes on from there is stopped, who has to get there is not."""
    settings = {"verify.iterations": 160, "verify.economies": 128, "verify.episodes": 64, "verify.learning_rate": 1e-2}
    model = compile("cournot", settings)
    result = rbcc.exploitability(model, always(initial_state(model, 0).networks, seller=15))
    team = rows(result)["team"].estimate
    spent = {
        source: [c.iterations for c in team.battery if c.source == source] for source in ("continued", "from scratch")
    }
    assert max(spent["continued"]) == 10
    assert max(spent["from scratch"]) > 10
    assert team.power is not None
    assert team.power > 0.9


BRACKETS = """
rbcc: 1
model: brackets
horizon: 1
discount: 1
agents:
  bracket: {index: b, count: 3, parameters: {best: [3, 0, 2]}}
  planner:
    count: 1
    actions:
      rate: {over: bracket, choices: [0, 1, 2, 3]}
      shift: {choices: [0, 1]}
    reward: 100 - sum(b, (rate[b] - best[b])^2) - shift
training: {phases: {learn: {iterations: 1, economies: 2}}}
"""


@pytest.mark.parametrize(("target", "verdict"), [("1%", "REFUTED"), ("20 util", "CERTIFIED"), ("0.5 util", "REFUTED")])
def test_constant_choices_climb_member_by_member(write_spec: Any, target: str, verdict: str) -> None:
    """Rates of 2 and a shift leave 94 of 100, rates that are all alike and no shift 95; each at its best has all."""
    model = compile(write_spec(BRACKETS), {**NO_LEARNING, "verify.target": target})
    network = initial_state(model, 0).networks["planner"]
    (head,) = network["choices"]
    bias = np.zeros((4, 4), np.float32)  # rates of three members, and the shift
    bias[:3, 2] = bias[3, 1] = 30.0
    head = {"weight": 0 * head["weight"], "bias": bias.ravel()}
    result = rbcc.exploitability(model, {"planner": {**network, "choices": [head]}})
    (row,) = result.rows
    assert row.estimate.best.name == "rate[0] 3, rate[1] 0, rate[2] 2, shift 0"
    assert paid(row) == pytest.approx(6)
    assert row.verdict == verdict
    assert f"gains more than {target} alone" in verification_table(result)


def test_a_model_that_does_not_learn_has_no_networks(write_spec: Any) -> None:
    text = DIFFERENT.partition("training:")[0]
    with pytest.raises(RunError, match="no 'training'"):
        rbcc.exploitability(compile(write_spec(text)), {})


def test_a_stuck_seller_is_found_by_name(duopoly: Run) -> None:
    """One at 45 against 30 earns 675, at best 900; the other 450, at best 506.25. Deviators know who they are."""
    found = rows(verify(duopoly.folder, QUICK, plants=["seller[0].quantity=45"]))["individual"]
    assert found.verdict is Verdict.REFUTED
    assert found.single is not None
    assert found.single.member.number == 0
    own = {member.number: member.gain.amount.value for member in found.estimate.members}
    assert own[0] == pytest.approx(225, rel=0.05)
    assert own[1] == pytest.approx(56.25, rel=0.1)


DIFFERENT = """
rbcc: 1
model: different
horizon: 1
discount: 1
agents:
  baker:
    index: j
    count: 3
    parameters: {gain: "cycle(j, 5, -1, -1)"}
    actions: {bake: {choices: [0, 1]}}
    reward: gain[j] * bake[j]
indicators: {bake: "mean(j, bake[j])"}
training:
  phases: {learn: {iterations: ITERATIONS, economies: 64}}
  default: {learning_rate: 1e-2, entropy: 0, network: [8]}
verify: {alive: [bake > 0.2], shutdown: {baker.bake: 0}, learning_rate: 3e-2, iterations: 120, economies: 64, episodes: 1024}
"""


@pytest.mark.slow
def test_agents_that_differ_in_what_they_do_not_see(write_spec: Any, tmp_path: Path) -> None:
    """Baking pays the first alone, and none sees that; but they know who they are, and learn it."""
    trained = train(write_spec(DIFFERENT.replace("ITERATIONS", "600")), out=tmp_path / "a")
    assert rows(verify(trained.folder))["individual"].verdict is Verdict.CERTIFIED


@pytest.mark.slow
def test_agents_that_gain_by_other_deviations(write_spec: Any, tmp_path: Path) -> None:
    """Untrained they bake half of the time: the first gains 2.5 by baking always, the others 0.5 by never."""
    text = DIFFERENT.replace("ITERATIONS", "1").replace("learning_rate: 1e-2", "learning_rate: 0")
    run = train(write_spec(text), out=tmp_path / "a")
    found = rows(verify(run.folder))["individual"]
    assert found.verdict is Verdict.REFUTED
    assert [m.gain.amount.value for m in found.estimate.members] == pytest.approx([2.5, 0.5, 0.5], abs=0.15)
    learned = [c.gain for c in found.estimate.battery if c.source == "from scratch"]
    assert max(learned) == pytest.approx(3.5 / 3, abs=0.15)  # a network that did not know its number would gain 0.5
    unlearned = rows(verify(run.folder, {"verify.iterations": 1}))["individual"].estimate
    assert unlearned.best.words == "each its own"
    assert unlearned.taken["always bake 0"] == [1, 2]
    assert sorted(agent for agents in unlearned.taken.values() for agent in agents) == [0, 1, 2]


NOISY = """
rbcc: 1
model: noisy
horizon: 1
discount: 1
agents:
  gambler:
    index: j
    count: 2
    actions: {stake: {choices: {from: 0, to: 9, step: 1}}}
    reward: REWARD
equations: {luck: "luck = normal()"}
indicators: {stake: "mean(j, stake[j])"}
training:
  phases: {learn: {iterations: 1, economies: 16}}
  default: {learning_rate: 0, network: [4]}
verify: {iterations: 1, economies: 64, episodes: 1024}
"""


def test_the_gain_of_the_best_is_not_that_of_the_luckiest(write_spec: Any) -> None:
    """No stake in a fair game pays. Of many deviations the one that does best on some seeds earns nothing on others."""
    model = compile(write_spec(NOISY.replace("REWARD", "luck * stake[j]")))
    networks = initial_state(model, 0).networks
    arena = Arena(model, networks_of(model), networks, {}, (), 64, SINGLE)
    deviation, base = Deviation(arena, "gambler", "team"), Base(arena)

    def gains(deviator: Deviator, batches: int, key: Any) -> tuple[np.ndarray, np.ndarray]:
        payoffs, members = deviation.evaluate(networks, deviator, key, batches)
        return (payoffs["gambler"] - base(networks, {}, key, batches).payoffs["gambler"]).mean(axis=1), members

    selected, tested = [], []
    for repeat in range(40):
        train, select, test = jax.random.split(prng.key(repeat), 3)
        battery = Battery(
            deviation, networks, {}, train, partial(gains, key=select), 1, Measure(0.0, 0.0, 1.0), print
        )  # fmt: skip
        found = battery.search()
        ((_, deviator, who),) = found.deviators
        assert who.all()
        selected.append(found.best.gain)
        tested.append(0.0 if deviator is None else float(gains(deviator, 1, test)[0].mean()))
    error = np.std(tested) / math.sqrt(len(tested))
    assert min(selected) >= 0
    assert np.mean(selected) > 3 * error
    assert abs(np.mean(tested)) < 3 * error


@pytest.mark.slow
def test_pairing_is_measured(write_spec: Any, tmp_path: Path) -> None:
    """A payoff is luck, of variance 100, plus a stake, drawn uniformly from 0 to 9, of variance 8.25; the best is 9."""
    run = train(write_spec(NOISY.replace("REWARD", "10 * luck + stake[j]")), out=tmp_path / "a")
    (alone, team) = verify(run.folder).rows
    assert alone.estimate.best.name == "stake 9"
    assert paid(alone) == pytest.approx(4.5, abs=0.3)
    assert alone.estimate.pairing == pytest.approx((2 * 100 + 8.25) / 8.25, rel=0.1)
    assert team.estimate.pairing == pytest.approx((2 * 100 + 8.25 / 2) / (8.25 / 2), rel=0.1)


@pytest.mark.slow
def test_other_policies_are_tried(tmp_path: Path) -> None:
    """Earlier phases, and other seeds that lie beside: a seed that learned has what one that did not can gain."""
    phases = {"training.phases": "{learn: {iterations: 2, economies: 8}, more: {iterations: 150, economies: 16}}"}
    runs = train_seeds("cournot", phases, seeds=range(2), out=tmp_path / "runs")
    (tmp_path / "runs" / "seed-7").mkdir()
    result = rows(verify(runs[0].folder, NO_LEARNING))["individual"]
    others = {c.name: c.gain for c in result.estimate.battery if c.source == "policy of"}
    assert set(others) == {"phase learn", "seed 1"}
    assert others["phase learn"] < -100
    assert abs(others["seed 1"]) < 50


@pytest.mark.slow
def test_deviators_learn_by_the_derivative_where_the_type_did(tmp_path: Path) -> None:
    """Both at 5.5, the joint optimum: the best reply is 4.375, between two constant choices, and gains 2.53125."""
    run = train("bertrand_linear", {"training.phases.learn.iterations": 50}, out=tmp_path / "a")
    quick = {"verify.iterations": 120, "verify.economies": 256, "verify.episodes": 64, "verify.learning_rate": 1e-2}
    found = rows(verify(run.folder, quick, plants=["seller.price=55%"]))
    constant = max(c.gain for c in found["individual"].estimate.battery if c.source == "always")
    assert constant == pytest.approx(2.5, abs=1e-3)
    assert paid(found["individual"]) == pytest.approx(2.53125, abs=0.01)
    assert paid(found["individual"]) > constant
    assert found["individual"].estimate.best.iterations
    assert paid(found["team"]) == pytest.approx(0, abs=0.01)


def test_payoffs_that_are_no_numbers_are_reported(tmp_path: Path) -> None:
    """A seller of nothing has the logarithm of nothing, but none is sold only in verify.shutdown."""
    spec = tmp_path / "log.yaml"
    spec.write_text(
        'rbcc: 1\nextends: cournot\nmodel: log\nparameters: {unit: {value: 1, unit: good}}\nagents: {seller: {reward: "log(quantity[j] / unit)"}}\n'
        "training: {phases: {learn: {iterations: 20}}, anneal: {seller.quantity: {open: [1, 1], from: 30}}}\n"
    )
    run = train(spec, {"training.default.network": "[4]"}, out=tmp_path / "a")
    with pytest.raises(
        RunError, match=r"under verify.shutdown the payoff of seller is not a finite number|under .* play"
    ):
        verify(run.folder, {"verify.iterations": 4, "verify.economies": 1024, "verify.episodes": 64})


LOTTERY = """
rbcc: 1
model: lottery
horizon: 1
discount: 1
agents:
  a:
    count: 1
    actions: {side: {choices: [-1, 1]}, effort: {choices: [0, 0.98, 1]}}
    reward: effort + 100 * side * coin
  b:
    count: 1
    actions: {coin: {choices: [-1, 1]}}
    reward: 0.001 * coin * side
training:
  phases: {learn: {iterations: 1, economies: 4}}
  default: {network: [4]}
silence: [RB804, RB806]
verify: {iterations: 1, economies: 64, episodes: 64, shutdown: {a.side: -1, a.effort: 0}}
"""


def test_exact_gains_are_shares_of_exact_payoffs(write_spec: Any, tmp_path: Path) -> None:
    """Luck of size 100 would drown the .98 that a earns; of it a gains 2 %."""
    run = train(write_spec(LOTTERY), out=tmp_path / "a")
    results = [verify(run.folder, plants=["b.random=100%", "a.effort=0.98"], seed=seed) for seed in range(2)]
    found = [result.rows[0].estimate for result in results]
    assert found[0].payoff != found[1].payoff  # of the test episodes
    assert found[0].above == found[1].above == pytest.approx(0.98, abs=0.2)  # b as trained is not quite fair
    exacts = [one.exact.gain for one in found if one.exact is not None]
    assert exacts == [pytest.approx(0.02), pytest.approx(0.02)]
    assert {result.rows[0].verdict for result in results} == {Verdict.REFUTED}
    assert f"{0.02 / found[0].above:.2%}  " in verification_table(results[0])


def test_indicators_that_are_no_numbers_do_not_stop_verification(tmp_path: Path) -> None:
    spec = tmp_path / "m.yaml"
    spec.write_text(
        "rbcc: 1\nextends: cournot\nmodel: m\nparameters: {unit: {value: 1, unit: good}}\n"
        "indicators: {logarithm: log(supply / unit)}\ntraining: {phases: {learn: {iterations: 1, economies: 4}}}\n"
    )
    run = train(spec, out=tmp_path / "a")
    result = verify(run.folder, NO_LEARNING, plants=["seller.quantity=0"])
    assert result.indicators["logarithm"] is None
    assert "<td>-</td>" in write_page(run.folder, result).read_text()


def test_what_is_nothing_but_rounding_is_no_gain(write_spec: Any, tmp_path: Path) -> None:
    """Heirs bid for shares of a cake: as a team they get all of it, whatever they bid."""
    text = """
rbcc: 1
model: cake
horizon: 1
discount: 1
agents:
  heir:
    index: [i, k]
    count: 2
    actions: {bid: {choices: [1, 2, 3]}}
    reward: 0.3 * bid[i] / sum(k, bid[k])
training: {phases: {learn: {iterations: 1, economies: 4}}, default: {network: [4]}}
verify: {iterations: 1, economies: 64, episodes: 64, shutdown: {heir.bid: 1}}
"""
    found = rows(verify(train(write_spec(text), out=tmp_path / "a").folder))
    assert found["team"].verdict is Verdict.CERTIFIED
    team = found["team"].estimate
    assert team.exact is not None
    assert team.gain.amount.value == team.exact.gain == 0
    assert found["individual"].verdict is Verdict.REFUTED


@pytest.mark.slow
def test_a_single_agent_that_takes_values_as_given_is_asked_both_questions(tmp_path: Path) -> None:
    """At 30 one who takes the price of 40 as given gains nothing, and who knows that it moves it 12.5 %, at 22.5."""
    changes = {"agents.seller.count": 1, "training.phases.learn.iterations": 1}
    run = train("price_takers", changes, out=tmp_path / "a")
    quick = {"verify.iterations": 60, "verify.economies": 32, "verify.episodes": 64}
    result = verify(run.folder, quick, plants=["seller.quantity=50%"])
    found = rows(result)
    assert paid(found["individual"]) == pytest.approx(0, abs=1)
    # What is refuted beyond doubt is known to 5 %: the search ends there.
    assert paid(found["team"]) == pytest.approx(112.5, rel=0.05)
    assert "taken as given: price, by seller alone" in verification_table(result)


@pytest.mark.slow
def test_damaged_policies_beside_a_run_are_left_out(tmp_path: Path) -> None:
    phases = {"training.phases": "{learn: {iterations: 2, economies: 8}, more: {iterations: 2, economies: 8}}"}
    runs = train_seeds("cournot", phases, seeds=range(2), out=tmp_path / "runs")
    (runs[1].folder / "spec.yaml").unlink()
    (runs[0].folder / "phases" / "learn.safetensors").write_text("x")
    said: list[str] = []
    verify(runs[0].folder, NO_LEARNING, listener=said.append)
    left = [words for words in said if words.startswith("left out")]
    assert len(left) == 2
    assert "seed-1" in left[1]


def test_frozen_and_random_behaviour() -> None:
    model = compile("cournot")
    networks = initial_state(model, 0).networks

    def play(*plants: Any) -> Any:
        arena = Arena(model, networks_of(model), networks, {}, plants, 256, SINGLE)
        found = Base(arena)(networks, {}, prng.key(0), 16)
        return found.payoffs["seller"], found.use["seller"]["seller.quantity"]

    both, use = play(Frozen("seller", "seller.quantity", 20))
    assert np.allclose(both, 900)
    assert use[20] == 1
    one, use = play(Frozen("seller", "seller.quantity", 20, member=0))
    assert 0.5 < use[20] < 0.56
    assert not np.allclose(one[:, 0], one[:, 1])
    _, use = play(Frozen("seller", "seller.quantity", 20), Random("seller", 0.41))
    assert use[20] == pytest.approx(0.6, abs=0.02)
    assert np.allclose(np.delete(use, 20), 0.01, atol=0.006)
    # Quantities 0, 1.5, 3, ...: half of those with an odd number lie between two, of which the lower one is taken.
    free, before = play()
    halved, use = play(Scaled("seller", "seller.quantity", 0.5))
    pairs = np.append(before, 0).reshape(-1, 2).sum(axis=1)
    assert use[:21] == pytest.approx(pairs, abs=1e-6)
    assert use[21:].sum() == 0
    most, use = play(Scaled("seller", "seller.quantity", 1e9))
    assert use[0] == pytest.approx(before[0], abs=1e-6)
    assert use[40] == pytest.approx(1 - before[0], abs=1e-6)
    mine, _ = play(Scaled("seller", "seller.quantity", 0.5, member=1))
    assert np.array_equal(play(Scaled("seller", "seller.quantity", 1.0))[0], free)
    assert len({np.asarray(payoffs).tobytes() for payoffs in (free, halved, most, mine)}) == 4


def test_exactly_one_agent_deviates_and_the_rest_is_paired() -> None:
    """A deviator that is the base policy itself changes nothing, up to rounding."""
    model = compile("open_rbc_small", {"training.default.network": "[8]"})
    nets, state = networks_of(model), initial_state(model, 0)
    arena = Arena(model, nets, state.networks, state.multipliers, (), 32, SINGLE)
    episodes = prng.key(1), 2
    base = Base(arena)(state.networks, {}, *episodes).payoffs
    deviation = Deviation(arena, "consumer", "individual")
    payoffs, members = deviation.evaluate(state.networks, deviation.first(state.networks["consumer"]), *episodes)
    for other in payoffs:
        assert np.allclose(payoffs[other], base[other], rtol=1e-5, atol=1e-6 * np.abs(base[other]).max())
    assert set(np.unique(members)) <= set(range(nets["consumer"].agents))
    other = deviation.first(initial_state(model, 1).networks["consumer"])
    payoffs, _ = deviation.evaluate(state.networks, other, *episodes)
    assert not np.allclose(payoffs["consumer"], base["consumer"])


def test_choices_can_be_restricted() -> None:
    model = compile("cournot")
    networks = initial_state(model, 0).networks
    base = Base(Arena(model, networks_of(model), networks, {}, (), 64, SINGLE))
    values = np.array(model.spaces["seller.quantity"].values)
    found = base(networks, {"seller.quantity": values == 30}, prng.key(0), 1)
    assert np.allclose(found.payoffs["seller"], 900)
    assert found.use["seller"]["seller.quantity"][20] == 1


# --- statistics ----------------------------------------------------------------------------------------------------


TARGET = 0.01


def mean_of(value: float, error: float, episodes: int = 10**6) -> Mean:
    return Mean(value, error, episodes, episodes / 3)


def one(gain: float, error: float, power: float | None = 1.0, scale: float = 100.0, agent: str = "a") -> Estimate:
    best, share = Candidate("continued", 1, gain), mean_of(gain / scale, error / scale) if scale else None
    known = Gain(mean_of(gain, error), share, mean_of(gain - TARGET * scale, error))
    return Estimate(agent, ("individual",), scale, scale, scale, known, ir.Target(TARGET), best, (best,), False, power)


def of_sample(sample: np.ndarray, scale: float = 100.0) -> Gain:
    """As `Gain.of`, where the scale is known."""
    return Gain.of(sample, np.full(len(sample), scale), ir.Target(TARGET))


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (one(0.2, 0.1), Verdict.NOT_REFUTED),
        (one(0.9, 0.1), Verdict.INCONCLUSIVE),
        (one(3.0, 0.1), Verdict.REFUTED),
        (one(1.1, 0.1), Verdict.INCONCLUSIVE),
        (one(0.2, 0.1, power=0.5), Verdict.INCONCLUSIVE),
        (one(0.2, 0.1, power=None), Verdict.INCONCLUSIVE),
        (one(-5.0, 0.1), Verdict.NOT_REFUTED),
        (one(0.0, 0.0), Verdict.NOT_REFUTED),
        (one(2.0, 0.0), Verdict.REFUTED),
        (one(2.0, 0.0, scale=0.0), Verdict.INCONCLUSIVE),
        (replace(one(2.0, 0.0, scale=0.0), target=ir.Target(1.0, "util")), Verdict.REFUTED),
    ],
)
def test_verdicts(found: Estimate, verdict: Verdict) -> None:
    (row,) = judge([found])
    assert row.verdict is verdict
    assert row.bounds.upper >= 0


def exact(gain: float, largest: float, attained: bool, found: float) -> Answer:
    return Answer(100.0, gain, largest, 0, attained, found, found)


@pytest.mark.parametrize(
    ("estimate", "answer", "verdict"),
    [
        (one(0.2, 0.1, power=None), exact(0.5, 0.9, False, 0.2), Verdict.CERTIFIED),
        (one(3.0, 0.1), exact(0.5, 0.9, False, 0.5), Verdict.CERTIFIED),
        (one(0.2, 0.1), exact(0.5, 1.1, True, 0.2), Verdict.REFUTED),
        (one(0.9, 0.5), exact(5.0, 5.0, False, 1.1), Verdict.REFUTED),
        (one(0.2, 0.1), exact(5.0, 5.0, False, 0.3), Verdict.NOT_REFUTED),
        (one(3.0, 0.1), exact(5.0, 5.0, False, 0.9), Verdict.INCONCLUSIVE),
    ],
)
def test_exact_answers_decide(estimate: Estimate, answer: Answer, verdict: Verdict) -> None:
    """The target is a gain of 1. What is attained, or was found, refutes; no one who gains more certifies."""
    (row,) = judge([replace(estimate, exact=answer)])
    assert row.verdict is verdict


def test_holm_tests_one_after_another() -> None:
    """0.004 is compared with 0.05 / 4, 0.016 with 0.05 / 3, 0.03 with 0.05 / 2; at this, which is less, it ends."""
    assert holm([0.016, 0.04, 0.004, 0.03]) == [True, False, True, False]
    assert holm([0.016, 0.02, 0.004, 0.024]) == [True] * 4
    assert holm([0.013, 0.05, 0.5]) == [True, False, False]
    assert holm([0.051]) == [False]
    assert holm([]) == []


def test_more_confidence_needs_more_distance() -> None:
    """2.5 standard errors below the target are enough at 95 % and not at 99.9 %, where a bound is 3.09 of them wide."""
    (usual,), (careful,) = judge([one(0.75, 0.1)]), judge([one(0.75, 0.1)], 0.999)
    assert (usual.verdict, careful.verdict) == (Verdict.NOT_REFUTED, Verdict.INCONCLUSIVE)
    assert careful.bounds.upper == pytest.approx(0.75 + 3.09 * 0.1, abs=1e-3)


def test_holm_may_tell_what_the_bounds_do_not() -> None:
    """1.8 standard errors above the target, beside one far above: enough for the second of two, if not for the bound.

    A bound of two is 1.96 standard errors wide, the test of the last one needs 1.64.
    """
    first, second = judge([one(9.0, 0.1), one(1.18, 0.1)])
    assert first.verdict is second.verdict is Verdict.REFUTED
    assert second.bounds.lower == pytest.approx(1.18 - 1.96 * 0.1, abs=1e-3)
    below, unclear = judge([one(0.5, 0.1), one(1.18, 0.1)])
    assert below.verdict is Verdict.NOT_REFUTED
    assert unclear.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("gains", "rises"),
    [
        ((-9.0, 0.1, 0.2), False),  # saturated
        ((-9.0, -0.9, 0.2), True),  # as much again would be above the target
        ((-9.0, -0.2, 0.2), False),  # as much again would not
    ],
)
def test_a_gain_that_rises_is_no_answer(gains: tuple[float, ...], rises: bool) -> None:
    assert rising([Candidate("continued", 2**k, gain) for k, gain in enumerate(gains)], 0.1, 1.0) is rises
    (found,) = judge([replace(one(0.2, 0.05), rising=rises)])
    assert found.verdict is (Verdict.INCONCLUSIVE if rises else Verdict.NOT_REFUTED)


def test_each_agent_takes_its_own_best_but_not_by_chance() -> None:
    """The first of three deviations gains 1 on average; agent 2 of ten loses by it, all else is noise."""
    rng, turns = np.random.default_rng(0), np.arange(1000) % 10
    for _ in range(20):
        changes = np.stack([rng.normal(1, 0.2, 1000), rng.normal(1, 0.2, 1000), np.zeros(1000)])
        changes[0, turns == 2] -= 2
        choice = own_best(changes, 0, turns, 10, 0.01)
        assert list(choice) == [1 if agent == 2 else 0 for agent in range(10)]


def test_bounds_cover_the_mean_as_often_as_they_say() -> None:
    rng, misses = np.random.default_rng(0), 0
    for _ in range(2000):
        sample = rng.exponential(2.0, size=400)
        (row,) = judge([replace(one(0, 0), gain=of_sample(sample))])
        misses += row.bounds.upper < 2.0
    assert 0.035 < misses / 2000 < 0.085  # 5 %, a little more for the skewed exponential


def test_bounds_that_rest_on_a_few_episodes_are_wide() -> None:
    """One episode in a hundred pays 100, four of 400: with one or two in a sample a normal bound is too low."""
    rng, misses, narrow = np.random.default_rng(0), 0, 0
    for _ in range(2000):
        sample = 100.0 * (rng.random(400) < 0.01) + rng.normal(size=400)
        gain = of_sample(sample)
        (row,) = judge([replace(one(0, 0), gain=gain)])
        misses += row.bounds.upper < 1
        narrow += gain.amount.value + 1.645 * gain.amount.error < 1
    assert Mean.of(np.array([0.0, 0.0, 0.0, 4.0])).effective == pytest.approx(144 / 84)  # squares 1, 1, 1, 9
    assert Mean.of(np.ones(3)).effective is None
    assert misses < 0.05 * 2000 < narrow


def test_bounds_hold_together() -> None:
    """Of four questions, all four upper bounds hold in 95 % of cases."""
    rng, missed = np.random.default_rng(0), 0
    for _ in range(2000):
        found = judge([one(2.0 + 0.1 * rng.standard_normal(), 0.1) for _ in range(4)])
        missed += any(row.bounds.upper < 2.0 for row in found)
    assert 0.035 < missed / 2000 < 0.065


def test_one_agent_that_gains_is_not_lost_in_the_mean() -> None:
    """One of ten gains 8 %, the type 0.8 % in the mean."""

    def member(number: int, gain: float) -> Member:
        excess = mean_of(gain - 1, 0.1, 400)
        return Member(number, Gain(mean_of(gain, 0.1, 400), mean_of(gain / 100, 0.001, 400), excess))

    members = tuple(member(number, 8.0 if number == 3 else 0.0) for number in range(10))
    (row,) = judge([replace(one(0.8, 0.01), members=members)])
    assert row.verdict is Verdict.REFUTED
    assert row.single is not None
    assert row.single.member.number == 3
    assert row.single.lower == pytest.approx(7.718, abs=0.001)  # Student's t at 5 % / 2 / 10
    assert row.single.share_lower == pytest.approx(0.07718, abs=1e-5)
    (row,) = judge([replace(one(0.8, 0.01), members=tuple(member(k, 0.8) for k in range(10)))])
    assert row.verdict is Verdict.NOT_REFUTED


def test_agents_at_the_target_are_refuted_as_seldom_as_the_type() -> None:
    """All gain exactly the target: one row in twenty may be REFUTED, by its mean or by one agent."""
    rng, refuted = np.random.default_rng(0), 0
    for _ in range(1000):
        samples = rng.normal(1.0, 1.0, (10, 100))
        members = tuple(Member(k, of_sample(own)) for k, own in enumerate(samples))
        (row,) = judge([replace(one(0, 0), gain=of_sample(samples.ravel()), members=members)])
        refuted += row.verdict is Verdict.REFUTED
    assert 0.02 < refuted / 1000 < 0.07


def test_a_scale_that_is_a_mean_has_an_error_too() -> None:
    """The gain is exactly the target's share of a payoff that varies much more than the gain does.

    With the scale taken as known, half of all samples were REFUTED, and half NOT REFUTED.
    """
    rng, verdicts, outside = np.random.default_rng(0), dict.fromkeys(Verdict, 0), 0
    for _ in range(1000):
        payoff = rng.normal(100.0, 30.0, 400)
        gain = Gain.of(1.0 + 0.001 * rng.normal(size=400), payoff, ir.Target(TARGET))
        (row,) = judge([replace(one(0, 0), gain=gain)])
        verdicts[row.verdict] += 1
        assert row.bounds.share_lower is not None
        outside += row.bounds.share_lower > TARGET
    assert 30 < verdicts[Verdict.REFUTED] < 70
    assert 30 < verdicts[Verdict.NOT_REFUTED] < 70
    assert 30 < outside < 70


def test_changes_that_are_nothing_but_rounding_are_none() -> None:
    """What is not a finite number is not a rounding."""
    played = np.array([1.0 + 1e-7, 1.1, np.nan, -np.inf, np.inf])
    assert np.array_equal(changes(played, np.ones(5)), [0, 1.1 - 1, np.nan, -np.inf, np.inf], equal_nan=True)


def test_what_agents_differ_in_is_no_error() -> None:
    """Twenty gain 0 to 5, in different numbers of episodes: the mean over agents, with the error of the noise."""
    rng, turns = np.random.default_rng(0), np.arange(1000) * 20 // 990  # the last one deviates less often
    turns = np.minimum(turns, 19)
    gains, found = np.linspace(0, 5, 20), []
    for _ in range(500):
        found.append(Mean.of(gains[turns] + rng.normal(0, 0.3, 1000), turns))
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(2.5, abs=0.002)
    assert np.mean([one.error for one in found]) == pytest.approx(values.std(), rel=0.1)
    assert found[0].freedom == 980
    alone = Mean.of(np.array([1.0, 2.0, 9.0]), np.array([0, 1, 1]))
    assert alone == Mean.of(np.array([1.0, 2.0, 9.0]))


def test_the_share_of_one_agent_covers() -> None:
    """It gains 5 % of a payoff that varies, as far as the others do too."""
    rng, missed = np.random.default_rng(0), 0
    for _ in range(1000):
        payoff = rng.normal(100, 20, 200)
        share = Gain.of(0.05 * payoff + rng.normal(0, 0.1, 200), payoff, ir.Target(TARGET)).share
        assert share is not None
        missed += share.lower(0.05) > 0.05
    assert 0.03 < missed / 1000 < 0.07


def test_gains_that_rounding_hides_are_no_answer() -> None:
    """Payoffs of a million, of which all but 1 is there whatever anyone does."""
    (row,) = judge([replace(one(0.0, 0.0, scale=1.0), payoff=1e6)])
    assert (row.verdict, row.open) == (Verdict.INCONCLUSIVE, Open.ROUNDING)


def test_shares_of_a_negative_payoff_are_of_its_size() -> None:
    scale = np.array([-90.0, -110.0, -100.0])
    gain = Gain.of(np.array([4.0, 6.0, 5.0]), scale, ir.Target(TARGET))
    assert gain.share is not None
    assert gain.share.value == pytest.approx(0.05)
    assert gain.excess.value == pytest.approx(4.0)
    assert Gain.of(np.ones(3), np.zeros(3), ir.Target(TARGET)).share is None


def test_overall_verdict_is_the_worst_of_its_notion() -> None:
    def of(*found: Estimate) -> Verdict:
        return overall(judge(found), "individual", {"works": True})

    good, unclear, bad = one(0.0, 0.01), one(0.0, 0.01, power=None), one(3.0, 0.1)
    sure = replace(good, exact=exact(0.0, 0.0, True, 0.0))
    assert of(sure, sure) is Verdict.CERTIFIED
    assert of(sure, good) is Verdict.NOT_REFUTED
    assert of(good, good) is Verdict.NOT_REFUTED
    assert of(good, unclear) is Verdict.INCONCLUSIVE
    assert of(good, unclear, bad) is Verdict.REFUTED
    assert of() is Verdict.CERTIFIED  # no one has a choice
    assert overall(judge([good]), "individual", {"works": False}) is Verdict.TRIVIAL


# --- what is asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense", "is not an exploit"),
        ("buyer.random=20%", "there is no agent type 'buyer'"),
        ("seller.quantty=30", "did you mean 'quantity'"),
        ("seller.quantity=31", "can be 0, 1.5"),
        ("seller[2].quantity=30", "numbered 0 to 1"),
        ("seller.random=120%", "between 0 and 100%"),
        ("seller.random*50%", "write seller.random=20%"),
        ("seller[0].random=20%", "for all agents of a type"),
        ("seller.quantity*-1", "what quantity is multiplied with"),
    ],
)
def test_plants_that_make_no_sense(text: str, reason: str) -> None:
    with pytest.raises(RunError, match=reason.replace("(", r"\(")):
        read_plant(compile("cournot"), text)


def test_plants() -> None:
    model = compile("cournot")
    assert read_plant(model, "seller.random=20%") == Random("seller", 0.2)
    assert read_plant(model, "seller.random = 0.2") == Random("seller", 0.2)
    assert read_plant(model, "seller[1].quantity=30") == Frozen("seller", "seller.quantity", 20, 1)
    assert read_plant(model, "seller[1].quantity*50%") == Scaled("seller", "seller.quantity", 0.5, 1)
    assert read_plant(model, "seller.quantity * 2") == Scaled("seller", "seller.quantity", 2.0)


def test_only_verification_can_be_changed_afterwards(duopoly: Run) -> None:
    with pytest.raises(RunError, match="only verify"):
        verify(duopoly.folder, {"parameters.cost": 5})
    with pytest.raises(RunError, match=r"did you mean verify.iterations\?"):
        verify(duopoly.folder, {"iterations": 5})


def test_what_cannot_be_verified(tmp_path: Path, duopoly: Run) -> None:
    with pytest.raises(RunError, match="is not a run directory; 'rbcc train"):
        verify(tmp_path / "none")
    with pytest.raises(RunError, match="runs beside it: cournot"):
        verify(duopoly.folder.parent / "cournt")


def test_the_dead_are_called_trivial(tmp_path: Path) -> None:
    """Sellers who earn by selling nothing are in equilibrium, but it is not a result."""
    settings = {
        "agents.seller.reward": "-quantity[j]",
        "training.phases.learn.iterations": 300,
        "equations.market": "supply = sum(j, quantity[j])\nprice = choke_price - slope * supply - cost",
        "verify.alive": "[quantity > 10]",
    }
    run = train("cournot", settings, out=tmp_path / "dead")
    result = verify(run.folder, {"verify.iterations": 4, "verify.economies": 1024, "verify.episodes": 64})
    assert result.alive == {"quantity > 10": False}
    assert set(result.verdicts.values()) == {Verdict.TRIVIAL}


@pytest.mark.slow
def test_types_without_choices_are_not_asked(tmp_path: Path) -> None:
    spec = tmp_path / "idle.yaml"
    idler = "agents: {idler: {count: 1, state: {age: 1}}}\nequations: {idler: age' = age + 1}\n"
    spec.write_text(f"rbcc: 1\nextends: cournot\nmodel: idle\n{idler}")
    run = train(spec, {"training.phases.learn.iterations": 2, "training.default.network": "[4]"}, out=tmp_path / "a")
    result = verify(run.folder, {"verify.iterations": 4, "verify.economies": 1024, "verify.episodes": 64})
    assert {row.estimate.agent for row in result.rows} == {"seller"}
    json.loads((run.folder / "equilibrium.json").read_text())


def test_numbers_stay_finite(verified: Equilibrium) -> None:
    for row in verified.rows:
        bounds = row.bounds
        for value in (bounds.lower, bounds.upper, bounds.share_lower, bounds.share_upper, row.of_improvement):
            assert value is not None
            assert math.isfinite(value)

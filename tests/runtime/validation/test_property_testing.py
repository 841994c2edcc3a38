"""Random tests find what does not hold, and tell it in the smallest case."""

from collections.abc import Callable
from pathlib import Path

import jax
import pytest

from rbcc.compiler.source import shipped_models
from rbcc.runtime.economy.model import compile
from rbcc.runtime.errors import RunError
from rbcc.runtime.validation.conditions import Failure
from rbcc.runtime.validation.property_testing import Audit, audit, try_out


HEAD = """
rbcc: 1
model: shop
horizon: HORIZON
discount: 1
parameters: {c: 0.5}
agents:
  baker:
    index: [i, k]
    count: 5
    state: {flour: 3, coins: 10, tired: {start: false}}
    actions: {bread: {choices: [0, 1, 2]}, rest: {choices: [0, 1]}, friend: {choose: baker}}
    observes: [time]
    reward: bread[i]
  mill:
    count: 1
    state: {till: 0}
    observes: [time]
equations:
  common: |
    flour'[i] = flour[i] - bread[i]
    coins'[i] = coins[i] - bread[i]
    till'     = till + sum(i, bread[i])
    tired'[i] = bread[i] > 1
"""


def tried(write_spec: Callable[..., Path], rest: str, horizon: int = 4, common: str = "") -> Audit:
    text = HEAD.replace("HORIZON", str(horizon))
    if common:
        text = text.replace("till'     = till + sum(i, bread[i])", common)
    return try_out(compile(write_spec(text + rest)))


def only(found: Audit) -> Failure:
    (failure,) = found.failures
    return failure


@pytest.mark.parametrize(
    ("equation", "step", "agents", "words", "values", "case"),
    [
        # (what is wrong) in the (step) and for the (agents), told with (words and values), in the (smallest case)
        ("f[i] = log(flour[i] + 1)", 2, 1, "log(baker.flour[i] + 1) is -inf", {"baker.flour[i]": "-1"}, 2),
        ("f[i] = 1 / (flour[i] - 1)", 1, 1, "divides by zero", {"baker.flour[i]": "1"}, 1),
        ("f[i] = (flour[i] - 1.5)^c", 1, 1, "is a power of a negative number", {"baker.flour[i]": "1", "c": "0.5"}, 1),
        ("f[i] = exp(90 * bread[i])", 0, 1, "is too large for single precision", {"baker.bread[i]": "1"}, 1),
        ("f = 1 / (sum(i, bread[i]) - 10)", 0, 0, "divides by zero", {}, 1),
        ("f[i] = sum(k where friend[i] == k, 1 / (1 - bread[k]))", 0, 1, "divides by zero for k = ", {}, 2),
        ("f[i] = 1 / (1 - rest[i]) if bread[i] > 1 else 1", 0, 1, "divides by zero", {"baker.rest[i]": "1"}, 2),
    ],
)
def test_numbers_that_are_none(
    write_spec: Callable[..., Path], equation: str, step: int, agents: int, words: str, values: dict, case: int
) -> None:
    shown = "mean(i, f[i])" if equation.startswith("f[i]") else "f"
    failure = only(tried(write_spec, f'    {equation}\nindicators: {{f: "{shown}"}}\n'))
    assert failure.step == step
    assert len(failure.agents) == agents
    assert failure.place.line == 25
    assert failure.message.startswith(equation)
    assert words in failure.message
    assert values.items() <= failure.values.items()
    assert failure.case[0] == "from the start"
    assert failure.case[1].count(" = ") == case


def test_an_invariant_that_takes_several_steps(write_spec: Callable[..., Path]) -> None:
    """What fails only after eight loaves of one baker is told with one baker."""
    failure = only(tried(write_spec, 'invariants: ["coins[i] > 2"]\n', horizon=8))
    assert "invariant 'coins[i] > 2' does not hold at step 4, i = " in failure.message
    assert failure.values == {"baker.coins[i]": "2"}
    assert failure.case[1].count("baker.bread[") == 4
    assert "; all others as near to 0 as they can be" in failure.case[1]


def test_an_identity_that_fails_at_the_ends_of_choices_only(write_spec: Callable[..., Path]) -> None:
    leak = "till'     = till + sum(i, bread[i]) - (1 if sum(i, bread[i]) >= 10 else 0)"
    text = "identities: {coins: \"sum(i, coins'[i]) + till' == sum(i, coins[i]) + till\"}\n"
    failure = only(tried(write_spec, text, common=leak))
    assert "identity 'coins' does not hold at step 0: 49 on the left, 50 on the right" in failure.message
    assert failure.values["sum(i, baker.coins'[i]) + mill.till'"] == "49"
    assert failure.case == (
        "from the start",
        "with the choices all baker.bread = 2; all others as near to 0 as they can be",
    )


def test_an_identity_that_fails_far_from_the_start_only(write_spec: Callable[..., Path]) -> None:
    leak = "till'     = till + sum(i, bread[i]) + (1 if till < -50 else 0)"
    text = "identities: {coins: \"sum(i, coins'[i]) + till' == sum(i, coins[i]) + till\"}\n"
    failure = only(tried(write_spec, text, common=leak))
    assert failure.case[0].startswith("from a state that need not be reached: mill.till = -")
    assert failure.case[0].count("=") == 1
    assert failure.case[1] == "with all choices as near to 0 as they can be"
    assert 50 < -float(failure.values["mill.till"]) <= 100


def test_an_identity_of_states_alone_counts_in_states_that_can_be_reached_only(write_spec: Callable[..., Path]) -> None:
    """Coins and till together are 50 as long as they were; if they are not from some step on, that is found."""
    text = "identities: {coins: \"sum(i, coins'[i]) + till' == 50\"}\n"
    assert tried(write_spec, text).failures == ()
    leak = "till'     = till + sum(i, bread[i]) + (1 if time == 2 else 0)"
    assert (
        "identity 'coins' does not hold at step 2: 51 on the left" in only(tried(write_spec, text, common=leak)).message
    )


def test_a_parameter_that_is_not_finite_is_told_before_all_that_follows_from_it(
    write_spec: Callable[..., Path],
) -> None:
    text = HEAD.replace("HORIZON", "4").replace("{c: 0.5}", "{c: 0.5, low: -c, odd: log(low), odder: 1 / odd}")
    model = compile(write_spec(text + "invariants: ['till >= odder']\n"))
    assert only(try_out(model)).message == "odd = log(low)\nis nan: log(low) has no value there"
    with pytest.raises(RunError, match=r"model.yaml:6:\d+: odd = log\(low\)"):
        audit(model)


def test_numbers_and_invariants_count_in_states_that_can_be_reached_only(write_spec: Callable[..., Path]) -> None:
    rest = (
        "    f[i] = log(flour[i] + 6)\nindicators: {f: 'mean(i, f[i])'}\ninvariants: ['coins[i] >= 0', 'till >= 0']\n"
    )
    assert tried(write_spec, rest, horizon=4).failures == ()


def test_what_random_play_seldom_meets_is_met(write_spec: Callable[..., Path]) -> None:
    """All five idle, all five at the upper end, one alone at work: each at odds of less than one in a thousand."""
    for condition in ("sum(i, bread[i]) == 0", "sum(i, bread[i]) == 10", "count(i where friend[i] == k) == 5"):
        rest = f"    f[k] = 1 / (0 if {condition} else 1)\nindicators: {{f: 'mean(k, f[k])'}}\n"
        assert "divides by zero" in only(tried(write_spec, rest, horizon=1)).message


def test_the_same_seed_gives_the_same(write_spec: Callable[..., Path]) -> None:
    model = compile(write_spec(HEAD.replace("HORIZON", "4") + 'invariants: ["flour[i] > -2"]\n'))
    assert try_out(model, 3) == try_out(model, 3)
    assert try_out(model, 3).seed == 3


def test_draws_are_part_of_a_case(write_spec: Callable[..., Path]) -> None:
    """A failure that needs a draw is told with the draw that it needs: its values are those of the failing step."""
    failure = only(tried(write_spec, "    luck[i] = normal()\ninvariants: ['luck[i] < 2']\n", horizon=3))
    assert float(failure.values["luck[i]"]) >= 2
    assert not jax.config.read("jax_enable_x64")


def test_an_account_that_is_too_much_to_prove_is_tested(write_spec: Callable[..., Path]) -> None:
    power = "    {0}{1} = ({0}{2} + c * {0}{2} - 1)^4 * ({0}{2} + 1)"
    lines = "\n".join(power.format(name, n, n - 1) for name in "vw" for n in range(1, 6))
    rest = f"  large: |\n    v0 = 1 / (1 + till)\n    w0 = 1 / (till + 1)\n{lines}\n"
    rest += "    odd = v5 - w5 + (1 if till == 10 else 0)\naccounts: {coins: {stocks: [coins, till]}}\n"
    failure = only(tried(write_spec, rest, common="till'     = till + sum(i, bread[i]) + odd"))
    assert (
        "account 'coins' does not balance at step 1: its stocks change by 1, sources less sinks are 0"
        in failure.message
    )
    assert failure.values["mill.till' - mill.till"] == "1"


def test_a_transfer_that_was_forgotten_stops_before_training(write_spec: Callable[..., Path]) -> None:
    text = (shipped_models() / "leader_tax.yaml").read_text()
    assert text.count(" + transfer\n") == 1
    audit(compile(write_spec(text)))
    with pytest.raises(RunError, match="identity 'goods' does not hold at step 0"):
        audit(compile(write_spec(text.replace(" + transfer\n", "\n"))))


def test_audit_before_training_asks_for_accounts_not_for_numbers(write_spec: Callable[..., Path]) -> None:
    """Numbers out of range are left to training, which may never come there."""
    text = HEAD.replace("HORIZON", "4")
    audit(compile(write_spec(text + "    f[i] = log(flour[i])\nindicators: {f: 'mean(i, f[i])'}\n")))
    with pytest.raises(RunError, match="invariant 'till < 30' does not hold at step 3"):
        audit(compile(write_spec(text + "invariants: ['till < 30']\n")))


def test_starts_that_are_drawn_differ_between_episodes(write_spec: Callable[..., Path]) -> None:
    """An episode that starts with more than two deviations above the mean is among them."""
    text = HEAD.replace("flour: 3", "flour: {start: 3 + normal()}") + "invariants: ['flour[i] < 5']\n"
    failure = only(try_out(compile(write_spec(text.replace("HORIZON", "1")))))
    assert float(failure.values["baker.flour[i]"]) >= 5
    assert failure.case[0].startswith("from a start that was drawn with baker.flour[0] = ")

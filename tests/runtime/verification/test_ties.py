"""Choices that are worth the same to who makes them and not to others, in games in which these are known."""

from pathlib import Path
from typing import Any

import pytest

from rbcc.runtime import prng
from rbcc.runtime.economy.model import compile
from rbcc.runtime.parallel.devices import SINGLE
from rbcc.runtime.training.loop import initial_state, networks_of
from rbcc.runtime.verification.best_response.learned import Arena, Base
from rbcc.runtime.verification.perturbations import Frozen
from rbcc.runtime.verification.ties import Search, Ties


GIFTS = """
rbcc: 1
model: gifts
horizon: 2
discount: 1
agents:
  giver:
    index: i
    count: 2
    actions: {gift: {choices: [0, 1, 2]}, whistle: {choices: [0, 1]}}
    reward: -gift[i] if time == 0 else 0
  taker:
    index: j
    count: 3
    actions: {smile: {choices: [0, 1]}}
    reward: sum(i, gift[i]) + smile[j]
training:
  phases: {learn: {iterations: 1, economies: 4}}
  default: {network: [4]}
silence: [RB804]
"""


def ties_of(spec: Path | str, *plants: Any, changes: dict[str, object] | None = None, scale: float = 4.0) -> Ties:
    model = compile(spec, changes or {})
    networks, policies = initial_state(model, 0).networks, networks_of(model)
    arena = Arena(model, policies, networks, {}, plants, 64, SINGLE)
    base = Base(arena)(networks, {}, prng.key(0), 2).payoffs
    return Search(arena, networks, prng.key(0), base).ties(dict.fromkeys(policies, scale))


def test_a_gift_that_costs_nothing_is_a_tie(write_spec: Any) -> None:
    """Both give 1 in both steps, 4 in all. In the last step it costs nothing: without it takers have a quarter less.

    A whistle, which matters to no one, and a smile, which matters to who smiles, are none.
    """
    found = ties_of(write_spec(GIFTS), Frozen("giver", "giver.gift", 1))
    (tie,) = found.found
    assert (tie.action, tie.step) == ("giver.gift", 1)
    (effect,) = tie.effects
    assert (effect.choice, effect.other) in (("0", "taker"), ("2", "taker"))
    assert effect.share == pytest.approx(-0.25 if effect.choice == "0" else 0.25)
    assert (found.unasked, found.left) == ({}, 0)


def test_what_changes_others_of_the_type_is_told(write_spec: Any) -> None:
    """What a giver gives in the last step its sibling gets: 1 more than the 1 of the trained gift, a quarter of 4."""
    text = GIFTS.replace("if time == 0 else 0", "if time == 0 else sum(k, gift[k]) - gift[i]")
    found = ties_of(write_spec(text.replace("index: i\n", "index: [i, k]\n")), Frozen("giver", "giver.gift", 1))
    (tie,) = found.found
    assert {effect.other: abs(effect.share) for effect in tie.effects} == pytest.approx({"giver": 0.25, "taker": 0.25})


def test_a_gift_that_is_not_noticed_is_none(write_spec: Any) -> None:
    assert ties_of(write_spec(GIFTS), Frozen("giver", "giver.gift", 1), scale=4000.0).found == ()


def test_what_is_not_asked_is_said(write_spec: Any) -> None:
    found = ties_of("cournot_interval")
    assert found.found == ()
    assert found.unasked == {"seller.quantity": "chosen from no finite set"}
    many = ties_of(write_spec(GIFTS), changes={"horizon": 400})
    assert many.unasked == {"giver": "2,000 choices in all steps"}

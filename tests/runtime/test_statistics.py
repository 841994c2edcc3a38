"""Learning through statistics over agents."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rbcc.runtime.economy.model import compile
from rbcc.runtime.parallel.devices import SINGLE
from rbcc.runtime.training.loop import training


SPEC = """
rbcc: 1
model: redistribution
horizon: 1
discount: 1
parameters: {cost: 0.5}
agents:
  person:
    index: i
    count: 4
    state: {wealth: {start: "i^2", scale: 4}}
  planner:
    count: 1
    actions: {share: {between: [0, 1]}}
    reward: -gini(i, after[i]) - cost * share^2
equations:
  all: |
    after[i] = (1 - share) * wealth[i] + share * average
    average = mean(i, wealth[i])
    wealth'[i] = after[i]
indicators: {share: share}
training:
  phases: {learn: {iterations: 600, economies: 8, algorithm: pathwise}}
  default: {network: [16], learning_rate: 1e-2 * (1 - progress), entropy: 0.01 * (1 - progress)^3}
silence: [RB802]
"""


@pytest.mark.slow
def test_derivatives_of_a_gini(write_spec: Callable[..., Path]) -> None:
    """A share t of all wealth, given to all alike, leaves (1 - t) of the Gini coefficient G: t = G / (2 cost).

    Of 0, 1, 4 and 9 the differences of all pairs sum to 30: G = 2 30 / (2 4 14) = 15/28.
    """
    found = list(training(compile(write_spec(SPEC)), [0], SINGLE))[-1][0].metrics
    assert found["indicator.share"] == pytest.approx(15 / 28, rel=0.01)

"""Starts that are drawn: a fresh one for every economy and episode, the same for those that are compared."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.runtime.economy.model import compile
from rbcc.runtime.reports.dataset import simulate
from rbcc.runtime.rollout.rollout import rollout, sampling
from rbcc.runtime.session import train
from rbcc.runtime.training.loop import networks_of


SPEC = """
rbcc: 1
model: lottery
horizon: 3
discount: 1
agents:
  player:
    index: i
    count: 4
    state:
      wealth: {start: pareto(2)}
      job: {start: stationary, markov: {values: [0, 1], transitions: [[0.5, 0.5], [0.2, 0.8]]}}
    actions: {bet: {choices: [0, 1]}}
    observes: [wealth, job]
    reward: wealth[i] + bet[i]
equations:
  all: "wealth'[i] = wealth[i] + bet[i] * (uniform() - 0.5)"
indicators: {wealth: "mean(i, wealth[i])"}
training: {phases: {learn: {iterations: 2, economies: 4, network: [4]}}}
"""


Starts = Callable[[int, int, int], np.ndarray]
"""(seed of the rollout, of the networks, number of the first economy) -> wealth at the start, (economies, agents)."""


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Starts:
    path = tmp_path_factory.mktemp("lottery") / "lottery.yaml"
    path.write_text(SPEC, encoding="utf-8")
    model = compile(path)
    policies = networks_of(model)

    @jax.jit
    def played(key: jax.Array, seed: jax.Array, economies: jax.Array) -> jax.Array:
        networks = {agent: policy.init(jax.random.key(seed)) for agent, policy in policies.items()}
        players = {agent: sampling(policy, networks[agent], policy.allowed()) for agent, policy in policies.items()}
        watched = rollout(model, policies, players, key, economies, {}, lambda state, *_: state).watched
        return watched["player.wealth"][0]

    return lambda seed, nets, first: np.asarray(played(jax.random.key(seed), jnp.uint32(nets), first + jnp.arange(300)))


def test_every_economy_and_episode_starts_anew(starts: Starts) -> None:
    one, other = starts(0, 0, 0), starts(1, 0, 0)
    assert len(np.unique(np.concatenate([one, other]))) > 0.999 * 2 * one.size
    assert abs(np.corrcoef(np.log(one[:, 0]), np.log(one[:, 1]))[0, 1]) < 0.25
    assert abs(np.corrcoef(np.log(one[:, 0]), np.log(other[:, 0]))[0, 1]) < 0.25


def test_rollouts_with_the_same_key_start_alike_whoever_plays(starts: Starts) -> None:
    """Common random numbers: what verification compares differs by what is chosen only."""
    one = starts(5, 0, 0)
    assert np.array_equal(one, starts(5, 1, 0))
    assert np.array_equal(one[7:], starts(5, 0, 7)[:-7])  # by the number of an economy, wherever it is played


def test_simulated_episodes_start_anew(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    run = train(write_spec(SPEC), out=tmp_path / "run")
    data = simulate(run.folder, episodes=200, seed=3)
    first = data["player.wealth"][:, 0].to_numpy()
    assert len(np.unique(first)) > 0.99 * first.size
    assert abs(data["player.job"][:, 0].mean() - 5 / 7) < 5 * np.sqrt(10 / 49 / 800)
    assert not np.array_equal(simulate(run.folder, episodes=200, seed=4)["player.wealth"], data["player.wealth"])

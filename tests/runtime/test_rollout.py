"""Starts that are drawn: a fresh one for every economy and episode, the same for those that are compared."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.runtime.model import Model, compile
from rbcc.runtime.rollout import rollout, sampling
from rbcc.runtime.run import train
from rbcc.runtime.simulate import simulate
from rbcc.runtime.train import networks_of


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


@pytest.fixture
def model(write_spec: Callable[..., Path]) -> Model:
    return compile(write_spec(SPEC))


def starts(model: Model, key: jax.Array, economies: jax.Array, seed: int = 0) -> dict[str, np.ndarray]:
    """The states at the start of the episodes of a rollout by networks of `seed`, (economies, agents)."""
    policies = networks_of(model)
    networks = {agent: policy.init(jax.random.key(seed)) for agent, policy in policies.items()}
    players = {agent: sampling(policy, networks[agent], policy.allowed()) for agent, policy in policies.items()}

    def played(key: jax.Array) -> dict[str, jax.Array]:
        watched = rollout(model, policies, players, key, economies, {}, lambda state, *_: state).watched
        return {name: array[0] for name, array in watched.items()}

    return jax.device_get(jax.jit(played)(key))


def test_every_economy_and_episode_starts_anew(model: Model) -> None:
    one = starts(model, jax.random.key(0), jnp.arange(300))["player.wealth"]
    other = starts(model, jax.random.key(1), jnp.arange(300))["player.wealth"]
    assert len(np.unique(np.concatenate([one, other]))) > 0.999 * 2 * one.size
    assert abs(np.corrcoef(np.log(one[:, 0]), np.log(one[:, 1]))[0, 1]) < 0.25
    assert abs(np.corrcoef(np.log(one[:, 0]), np.log(other[:, 0]))[0, 1]) < 0.25


def test_rollouts_with_the_same_key_start_alike_whoever_plays(model: Model) -> None:
    """Common random numbers: what verification compares differs by what is chosen only."""
    one, other = (starts(model, jax.random.key(5), jnp.arange(8), seed) for seed in (0, 1))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    alone = starts(model, jax.random.key(5), jnp.array([6]))
    assert np.array_equal(alone["player.wealth"][0], one["player.wealth"][6])


def test_simulated_episodes_start_anew(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    run = train(write_spec(SPEC), out=tmp_path / "run")
    data = simulate(run.folder, episodes=200, seed=3)
    first = data["player.wealth"][:, 0].to_numpy()
    assert len(np.unique(first)) > 0.99 * first.size
    assert abs(data["player.job"][:, 0].mean() - 5 / 7) < 5 * np.sqrt(10 / 49 / 800)
    assert np.array_equal(simulate(run.folder, episodes=200, seed=3)["player.wealth"], data["player.wealth"])
    assert not np.array_equal(simulate(run.folder, episodes=200, seed=4)["player.wealth"], data["player.wealth"])

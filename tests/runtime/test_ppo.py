from functools import cache
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rbcc.runtime.model import compile
from rbcc.runtime.policy import distributions, log_probability
from rbcc.runtime.ppo import OPTIMIZER, advantages, batch_of, update
from rbcc.runtime.rollout import free_masks, penalised, rollout, sampling
from rbcc.runtime.train import initial_state, networks_of


KEY = jax.random.key(2)
ppo = import_module("rbcc.runtime.ppo")


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 6))
def test_advantages_are_sums_of_discounted_errors(discount: float, gae: float, horizon: int) -> None:
    rewards, values = np.random.default_rng(0).normal(size=(2, horizon, 3, 2))
    found = advantages(jnp.array(rewards), jnp.array(values), jnp.float32(discount), jnp.float32(gae))
    errors = rewards + discount * np.concatenate([values[1:], np.zeros((1, 3, 2))]) - values
    expected = [sum((discount * gae) ** (s - t) * errors[s] for s in range(t, horizon)) for t in range(horizon)]
    assert np.allclose(found, expected, atol=1e-5)


def test_advantages_with_full_lambda_are_returns_less_values() -> None:
    rewards, values = jnp.ones((4, 1, 1)), jnp.full((4, 1, 1), 0.5)
    found = advantages(rewards, values, jnp.float32(0.9), jnp.float32(1))
    returns = [sum(0.9**k for k in range(4 - t)) for t in range(4)]
    assert np.allclose(found.ravel(), np.array(returns) - 0.5)


@cache
def played() -> Any:
    model = compile("open_rbc_small", {"training.default.network": "[8]"})
    nets, state = networks_of(model), initial_state(model, 0)
    players = {a: sampling(p, state.networks[a], free_masks(p)) for a, p in nets.items()}
    return model, nets, state, rollout(model, nets, players, KEY, 6, {})


@cache
def program(algorithm: Any, epochs: int, block: int) -> Any:
    """An update of the consumers from the played batch, compiled for one block size."""
    _, nets, state, trajectory = played()
    policy, network = nets["consumer"], state.networks["consumer"]

    @jax.jit
    def run(values: dict[str, jax.Array]) -> Any:
        rewards = trajectory.rewards["consumer"] / 5
        batch = batch_of(trajectory.records["consumer"], rewards, jnp.float32(1), jnp.float32(0.95))
        return update(policy, algorithm, epochs, values, network, OPTIMIZER.init(network), batch, free_masks(policy))

    return run


SETTINGS = {
    "learning_rate": 1e-3, "clip": 0.1, "value_weight": 0.5, "gae": 0.95, "entropy": 0.01, "gradient_clip": 2.0,
}  # fmt: skip


def after(settings: dict[str, float], algorithm: Any = "ppo", epochs: int = 2) -> tuple[Any, dict[str, Any]]:
    result = program(algorithm, epochs, ppo.BLOCK)({k: jnp.float32(v) for k, v in settings.items()})
    return result[0], result[2]


@pytest.mark.parametrize("block", [20, 100, 333, 10**9])
def test_blocks_do_not_change_the_gradient(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    expected, metrics = after(SETTINGS)
    monkeypatch.setattr(ppo, "BLOCK", block)
    found, again = after(SETTINGS)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert np.allclose(a, b, atol=2e-6)
    for name in metrics:
        assert np.isclose(metrics[name], again[name], rtol=1e-3, atol=1e-6), name


def test_recorded_chances_are_those_of_the_policy() -> None:
    _, nets, state, trajectory = played()
    for agent, policy in nets.items():
        record = jax.tree.map(lambda x: x[3], trajectory.records[agent])
        logits, value = policy(state.networks[agent], record.shared, record.own)
        chance = log_probability(distributions(logits, free_masks(policy)), record.indices)
        assert np.allclose(chance, record.log_probability, atol=1e-5)
        assert np.allclose(value, record.value, atol=1e-5)


def test_first_step_is_the_policy_gradient() -> None:
    """Where old and new policy are the same, PPO's gradient is the plain one."""
    one, _ = after(SETTINGS, "ppo", epochs=1)
    two, _ = after(SETTINGS, "policy_gradient", epochs=1)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert np.allclose(a, b, atol=1e-5)


def test_settings_matter() -> None:
    base, metrics = after(SETTINGS)

    def moved(**changes: float) -> float:
        other, _ = after({**SETTINGS, **changes})
        return max(
            float(jnp.abs(a - b).max()) for a, b in zip(jax.tree.leaves(base), jax.tree.leaves(other), strict=True)
        )

    assert moved() == 0
    for change in (
        {"learning_rate": 2e-3},
        {"entropy": 1.0},
        {"value_weight": 0.0},
        {"gradient_clip": 1e-6},
        {"value_clip": 1e-3},
    ):
        assert moved(**change) > 1e-6, change
    frozen, _ = after({**SETTINGS, "learning_rate": 0.0})
    _, _, state, _ = played()
    for a, b in zip(jax.tree.leaves(frozen), jax.tree.leaves(state.networks["consumer"]), strict=True):
        assert np.array_equal(a, b)
    assert set(metrics) == {"entropy", "value_loss", "kl", "clipped", "gradient_norm"}


def test_rollouts_are_paired_by_their_key() -> None:
    """Who does not deviate draws the same numbers, so the first step is the same until choices matter."""
    model, nets, state, one = played()
    other = initial_state(model, 1).networks
    networks = {**state.networks, "government": other["government"]}
    players = {a: sampling(p, networks[a], free_masks(p)) for a, p in nets.items()}
    two = rollout(model, nets, players, KEY, 6, {})
    for agent in ("consumer", "firm"):
        for a, b in zip(one.records[agent].indices, two.records[agent].indices, strict=True):
            assert np.array_equal(a[0], b[0])


def test_penalties() -> None:
    _, _, _, trajectory = played()
    names = {"consumer.no_ponzi": jnp.float32(2), "firm.no_ponzi": jnp.float32(0)}
    less = penalised(trajectory, "consumer", names)
    expected = trajectory.rewards["consumer"] - 2 * trajectory.violations["consumer.no_ponzi"]
    assert np.array_equal(less, expected)
    assert np.array_equal(penalised(trajectory, "firm", names), trajectory.rewards["firm"])
    assert np.all(np.asarray(trajectory.violations["firm.no_ponzi"][:-1]) == 0)  # at the end only

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies as st
from jax.flatten_util import ravel_pytree

from rbcc.runtime import prng
from rbcc.runtime.economy.model import compile
from rbcc.runtime.learners.ppo import FLOOR, METRICS, OPTIMIZER, advantages, batch_of, fresh_optimizer, update
from rbcc.runtime.policies.policy import Policy, Sight, assess_all
from rbcc.runtime.rollout import microbatch
from rbcc.runtime.rollout.rollout import drawn, penalised, rollout, sampling
from rbcc.runtime.training.loop import initial_state, networks_of


KEY = prng.key(2)


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
    players = {a: sampling(p, state.networks[a], p.allowed(), everyone(p)) for a, p in nets.items()}
    return model, nets, state, rollout(model, nets, players, KEY, jnp.arange(6), {})


def everyone(policy: Policy, economies: int = 6) -> jax.Array:
    """The numbers of all agents, in each economy."""
    return jnp.broadcast_to(jnp.arange(policy.agents), (economies, policy.agents))


@cache
def program(algorithm: Any, epochs: int, block: int, agent: str = "consumer") -> Any:
    """An update of one type from the played batch, compiled for one size of blocks."""
    _, nets, _, trajectory = played()
    policy = nets[agent]

    @jax.jit
    def run(values: dict[str, jax.Array], network: Any) -> Any:
        record, rewards = trajectory.records[agent], trajectory.rewards[agent] / 5
        batch = batch_of(policy, record, rewards, jnp.float32(1), jnp.float32(0.95), everyone(policy))
        return update(policy, algorithm, epochs, values, network, fresh_optimizer(network), batch, policy.allowed())

    return run


SETTINGS = {
    "learning_rate": 1e-3, "clip": 0.1, "value_weight": 0.5, "gae": 0.95, "entropy": 0.01, "gradient_clip": 2.0,
}  # fmt: skip


def after(
    settings: dict[str, float], algorithm: Any = "ppo", epochs: int = 2, agent: str = "consumer", seed: int = 0
) -> tuple[Any, Any]:
    """Parameters and metrics after an update, of the networks that played (seed 0) or of others."""
    model, *_ = played()
    network = initial_state(model, seed).networks[agent]
    values = {k: jnp.float32(v) for k, v in settings.items()}
    result = program(algorithm, epochs, microbatch.NUMBERS["cpu"], agent)(values, network)
    return result[0], result[2]


@pytest.mark.parametrize("agent", ["consumer", "firm"])
@pytest.mark.parametrize("samples", [7, 20, 100, 333, 10**9])
def test_blocks_do_not_change_the_gradient(monkeypatch: pytest.MonkeyPatch, samples: int, agent: str) -> None:
    """Blocks of whole economies, and of some agents of one; even ones, and ones that are filled up."""
    expected, metrics = after(SETTINGS, agent=agent)
    _, nets, *_ = played()
    each = sum(nets[agent].network) + sum(stack.choices * stack.repeats for stack in nets[agent].stacks)
    monkeypatch.setitem(microbatch.NUMBERS, "cpu", samples * each)
    found, again = after(SETTINGS, agent=agent)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert np.allclose(a, b, atol=2e-6)
    assert np.allclose(metrics, again, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("value_clip", [None, 0.01])
@pytest.mark.parametrize("algorithm", ["ppo", "policy_gradient"])
def test_the_gradient_is_that_of_the_loss(algorithm: str, value_clip: float | None) -> None:
    """Against JAX's derivative of the loss as books have it, for networks that are not those that played."""
    model, nets, _, trajectory = played()
    settings = SETTINGS | {"clip": 0.003} | ({"value_clip": value_clip} if value_clip else {})
    policy, record, network = nets["firm"], trajectory.records["firm"], initial_state(model, 1).networks["firm"]
    estimate = advantages(trajectory.rewards["firm"] / 5, record.value, jnp.float32(1), jnp.float32(0.95))
    target = estimate + record.value
    within = estimate.std((1, 2), keepdims=True) + FLOOR * estimate.std()
    estimate = (estimate - estimate.mean((1, 2), keepdims=True)) / (within + 1e-8)

    def loss(network: Any) -> jax.Array:
        total = jnp.zeros(())
        for t in range(model.ir.horizon):
            step = jax.tree.map(lambda x: x[t], record)  # noqa: B023
            logits, value = policy(network, Sight(step.shared, step.own, None, everyone(policy)))
            (log,) = (jax.nn.log_softmax(part, axis=1) for part in logits)
            chance = jnp.take_along_axis(log, step.indices[0][:, None].astype(int), axis=1).sum((0, 1))
            ratio = jnp.exp(chance - step.log_probability)
            gain = chance * estimate[t]
            if algorithm == "ppo":
                gain = jnp.minimum(
                    ratio * estimate[t], jnp.clip(ratio, 1 - settings["clip"], 1 + settings["clip"]) * estimate[t]
                )
            error = optax.huber_loss(value, target[t])
            if value_clip:
                near = step.value + jnp.clip(value - step.value, -value_clip, value_clip)
                error = jnp.maximum(error, optax.huber_loss(near, target[t]))
            entropy = -(jnp.exp(log) * log).sum((0, 1))
            total += jnp.sum(-gain - settings["entropy"] * entropy + settings["value_weight"] * error)
        return total / estimate.size

    flat, whole = ravel_pytree(network)
    gradient = ravel_pytree(jax.grad(loss)(network))[0]
    gradient *= jnp.minimum(1, settings["gradient_clip"] / jnp.linalg.norm(gradient))
    direction, _ = OPTIMIZER.update(gradient, OPTIMIZER.init(flat))
    assert isinstance(direction, jax.Array)
    expected = whole(flat - settings["learning_rate"] * direction)
    found, metrics = after(settings, algorithm, epochs=1, agent="firm", seed=1)
    assert metrics[METRICS.index("clipped")] > 0.1
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert np.allclose(a, b, atol=2e-6)


def test_recorded_chances_are_those_of_the_policy() -> None:
    _, nets, state, trajectory = played()
    for agent, policy in nets.items():
        record = jax.tree.map(lambda x: x[3], trajectory.records[agent])
        logits, value = policy(state.networks[agent], Sight(record.shared, record.own, None, everyone(policy)))
        chance, _ = assess_all(logits, policy.allowed(), record.indices, policy.stacks, value.shape)
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
    assert metrics.shape == (len(METRICS),)


def play(networks: dict[str, Any], economies: Sequence[int] = range(6)) -> Any:
    model, nets, *_ = played()
    players = {a: sampling(p, networks[a], p.allowed(), everyone(p, len(economies))) for a, p in nets.items()}
    return rollout(model, nets, players, KEY, jnp.array(economies), {})


def test_rollouts_are_paired_by_their_key() -> None:
    """Who does not deviate draws the same numbers, so the first step is the same until choices matter."""
    model, _, state, one = played()
    two = play({**state.networks, "government": initial_state(model, 1).networks["government"]})
    for agent in ("consumer", "firm"):
        for a, b in zip(one.records[agent].indices, two.records[agent].indices, strict=True):
            assert np.array_equal(a[0], b[0])


def test_economies_can_be_played_apart() -> None:
    """What happens in an economy depends on its number only, not on which others are played beside it."""
    _, _, state, whole = played()
    part = play(state.networks, [4, 1])
    for agent in whole.rewards:
        assert np.allclose(part.rewards[agent], whole.rewards[agent][:, [4, 1]], rtol=1e-5)
        for a, b in zip(part.records[agent].indices, whole.records[agent].indices, strict=True):
            assert np.array_equal(a, b[:, :, [4, 1]])


@pytest.mark.parametrize("samples", [7, 50])
def test_acting_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch, samples: int) -> None:
    _, nets, state, whole = played()
    policy = nets["consumer"]
    each = sum(policy.network) + sum(stack.choices * stack.repeats for stack in policy.stacks)
    monkeypatch.setitem(microbatch.NUMBERS, "cpu", samples * each)
    part = play(state.networks)
    for agent in whole.rewards:
        for a, b in zip(part.records[agent].indices, whole.records[agent].indices, strict=True):
            assert np.array_equal(a, b)
        assert np.allclose(part.records[agent].value, whole.records[agent].value, atol=1e-5)


def test_choices_are_kept_in_a_byte() -> None:
    *_, trajectory = played()
    assert {index.dtype for record in trajectory.records.values() for index in record.indices} == {np.dtype(np.uint8)}


def test_drawn_agents_are_different_and_all_equally_likely() -> None:
    keys = jax.random.split(KEY, 20_000)
    for agents, count in ((7, 3), (10, 10), (1000, 4), (5, 1)):
        members = np.asarray(drawn(keys, agents, count))
        assert members.shape == (20_000, count)
        assert all(len(set(row)) == count for row in members[:500])
        shares = np.bincount(members.ravel(), minlength=agents) / len(members)
        assert np.allclose(shares, count / agents, atol=5 * np.sqrt(count / agents / 20_000))


def test_penalties() -> None:
    _, _, _, trajectory = played()
    names = {"consumer.no_ponzi": jnp.float32(2), "firm.no_ponzi": jnp.float32(0)}
    less = penalised(trajectory, "consumer", names)
    expected = trajectory.rewards["consumer"] - 2 * trajectory.violations["consumer.no_ponzi"]
    assert np.array_equal(less, expected)
    assert np.array_equal(penalised(trajectory, "firm", names), trajectory.rewards["firm"])
    assert np.all(np.asarray(trajectory.violations["firm.no_ponzi"][:-1]) == 0)  # at the end only

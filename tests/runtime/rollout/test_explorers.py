import math
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rbcc.runtime import prng
from rbcc.runtime.economy.model import compile
from rbcc.runtime.policies.policy import explorers_of, profile_of, sharpened
from rbcc.runtime.rollout.explorers import dealt, explorers, number_of_explorers
from rbcc.runtime.rollout.rollout import individual, rollout, sampling
from rbcc.runtime.training.loop import initial_state, networks_of


KEY = prng.key(5)


def learner(agent: str, explorers: float = 0.25, algorithm: str = "ppo") -> Any:
    return SimpleNamespace(agent=agent, explorers=explorers, algorithm=algorithm)


@settings(max_examples=50, deadline=None)
@given(types=st.integers(2, 5), economies=st.integers(1, 200))
def test_half_of_the_economies_are_shared_and_the_others_are_divided_equally(types: int, economies: int) -> None:
    places = dealt([learner(f"t{number}") for number in range(types)], economies, economies)
    explored = np.stack([np.isin(np.arange(economies), own) for own in places.values()])
    alone = explored.sum(axis=0) == 1
    assert (alone | explored.all(axis=0)).all()
    assert len(set(explored[:, alone].sum(axis=1))) == 1
    assert alone.sum() <= economies / 2
    assert alone.any() == (economies // math.gcd(8, economies) >= 2 * types)


@pytest.mark.parametrize("economies", [8, 16, 64])
@pytest.mark.parametrize("devices", [2, 4, 8])
def test_devices_do_not_change_who_explores_where(devices: int, economies: int) -> None:
    learners = [learner("a"), learner("b"), learner("c")]
    own = economies // devices
    whole, part = dealt(learners, economies, economies), dealt(learners, own, economies)
    for agent in whole:
        found = np.concatenate([part[agent] + own * device for device in range(devices)])
        assert np.array_equal(whole[agent], found)


def test_who_explores_everywhere() -> None:
    everywhere = np.arange(64)
    assert np.array_equal(dealt([learner("a", explorers=1), learner("b")], 64, 64)["a"], everywhere)
    for places in (dealt([learner("a")], 64, 64), dealt([learner("a", algorithm="pathwise"), learner("b")], 64, 64)):
        assert all(np.array_equal(own, everywhere) for own in places.values())


def test_how_many_explore() -> None:
    assert [number_of_explorers(learner("a"), agents) for agents in (1, 2, 4, 20)] == [1, 1, 1, 5]
    assert number_of_explorers(learner("a", explorers=1), 20) == 20
    assert number_of_explorers(learner("a", explorers=1, algorithm="pathwise"), 20) == 1


def test_all_agents_explore_equally_often() -> None:
    nets = {"a": SimpleNamespace(agents=6), "b": SimpleNamespace(agents=3)}
    keys = jax.random.split(KEY, 4000)
    found = explorers([learner("a", 0.5), learner("b", 1)], nets, keys, 4000)  # type: ignore[arg-type]
    drawn = np.asarray(found["a"].members)
    assert drawn.shape == (len(found["a"].economies), 3)
    assert all(len(set(row)) == 3 for row in drawn[:50])
    assert np.allclose(np.bincount(drawn.ravel()) / drawn.size, 1 / 6, atol=0.01)
    assert found["b"].all
    assert not found["a"].all


def chances(logits: list[float], sharpness: float, allowed: list[bool] | None = None) -> np.ndarray:
    """The probabilities of a profile, of choices that explorers take with `logits`."""
    mask = jnp.array([allowed or [True] * len(logits)])
    stack = SimpleNamespace(continuous=False)
    outputs = (jnp.array(logits)[None, :, None],)
    (found,) = sharpened(outputs, (mask,), {"sharpness": jnp.float32(sharpness)}, (stack,))  # type: ignore[arg-type]
    return np.asarray(jax.nn.softmax(jnp.where(mask[0], found[0, :, 0], -jnp.inf)))


def test_a_profile_is_sharper_than_explorers_and_takes_ties_equally_often() -> None:
    logits = [2.0, 1.9, 0.0, -1.0]
    assert np.allclose(chances(logits, 1), jax.nn.softmax(jnp.array(logits)), atol=1e-6)
    sharp = chances(logits, 6)
    assert sharp[0] == pytest.approx(sharp[1])
    assert sharp[2] < 1e-3
    odds = np.log(sharp[2] / sharp[3])
    assert odds == pytest.approx(6 * (logits[2] - logits[3]), rel=1e-4)  # to the power 6


def test_what_is_not_offered_is_not_the_best() -> None:
    found = chances([9.0, 1.0, 0.9, -3.0], 6, [False, True, True, True])
    assert found[0] == 0
    assert found[1] == pytest.approx(found[2])
    assert found[1] == pytest.approx(0.5, abs=1e-3)


def test_only_explorers_explore() -> None:
    """With a profile so sharp that it plays one choice, only explorers play another."""
    model = compile("cournot", {"training.default.network": "[8]", "agents.seller.count": 5})
    (policy,) = networks_of(model).values()
    network = initial_state(model, 0).networks["seller"]
    network = jax.tree.map(lambda x: 20 * x, network) | {"sharpness": network["sharpness"]}
    members, places = jnp.array([[4], [1]]), np.array([0, 3])
    base = sampling(policy, profile_of(network, 1e4), policy.allowed())
    player = individual(policy, base, network, members, policy.allowed(), places)

    def played(player: Any) -> np.ndarray:
        found = rollout(model, {"seller": policy}, {"seller": player}, KEY, jnp.arange(4), {}, watch).watched
        return np.asarray(found)[0]

    def watch(state: Any, actions: Any, following: Any, result: Any) -> jax.Array:
        return actions["seller.quantity"]

    other = played(player) != played(base)
    assert other.any()
    assert not other[[1, 2]].any()
    assert not other[0, :4].any()
    assert not other[3, [0, 2, 3, 4]].any()


def test_the_network_of_explorers_is_kept_in_the_profile() -> None:
    network = initial_state(compile("cournot", {"training.default.network": "[8]"}), 0).networks["seller"]
    again = explorers_of(profile_of(network, 6))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(network), jax.tree.leaves(again), strict=True))

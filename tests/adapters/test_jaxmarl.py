"""Economies with JaxMARL's interface take the steps of the model, under jit and vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rbcc
from rbcc.adapters.jaxmarl import Box, Dict, Discrete, Environment, MultiDiscrete


MIXED = """
rbcc: 1
model: mixed
horizon: 3
discount: 0.9
agents:
  saver:
    index: i
    count: 3
    state: {wealth: {start: "1 + uniform()"}}
    actions:
      spend: {between: [0, "wealth[i]"]}
      mood: {choices: [-1, 0, 1]}
      split: {shares: baker}
    observes: [wealth]
    reward: spend[i] + mood[i] + sum(j, j_weight * split[i,j])
  baker:
    index: j
    count: 2
    actions: {bread: {choices: [1, 2]}, salt: {choices: [3, 5]}}
    observes: [{value: time, scale: 1}]
    reward: bread[j] - salt[j]
parameters: {j_weight: 2}
equations:
  g: |
    wealth'[i] = wealth[i] - spend[i] + 0.1 * uniform()
training:
  phases: {learn: {iterations: 1, economies: 2}}
silence: [RB207, RB801, RB802, RB803, RB804, RB805, RB806, RB807]
"""


def sampled(environment: Environment, key: jax.Array) -> dict[str, object]:
    keys = jax.random.split(key, environment.num_agents)
    return {
        name: environment.action_space(name).sample(own) for name, own in zip(environment.agents, keys, strict=True)
    }


def test_steps_are_those_of_the_model() -> None:
    model = rbcc.compile("open_rbc_small")
    environment = Environment(model)
    assert environment.num_agents == 25
    assert environment.agents[-1] == "government"
    assert isinstance(environment.action_space("firm_0"), MultiDiscrete)
    seen, state = environment.reset(jax.random.key(0))
    expected = model.reset(jax.random.key(0))
    assert seen["consumer_3"].shape == environment.observation_space("consumer_3").shape
    actions = sampled(environment, jax.random.key(1))
    physical = environment.economy.actions(state, actions)
    model.check_actions(expected, physical)
    key = jax.random.key(2)
    seen, state, rewards, dones, infos = jax.jit(environment.step_env)(key, state, actions)
    expected, outcome = model.step(expected, physical, key)
    for name, array in expected.items():
        np.testing.assert_allclose(state[name], array, rtol=1e-5)
    np.testing.assert_allclose(rewards["consumer_7"], outcome.rewards["consumer"][7], rtol=1e-5)
    np.testing.assert_allclose(rewards["government"], outcome.rewards["government"], rtol=1e-5)
    np.testing.assert_allclose(seen["firm_1"], model.observe(expected)["firm"][1], rtol=1e-4)
    assert not dones["__all__"]
    assert all(info.shape == (25,) for info in infos.values())


def test_choices_numbers_and_shares_become_actions(write_spec) -> None:
    environment = Environment(write_spec(MIXED))
    space = environment.action_space("saver_0")
    assert isinstance(space, Dict)
    assert space.spaces == {"choices": Discrete(3), "numbers": Box(0.0, 1.0, (3,))}
    assert environment.action_space("baker_1") == MultiDiscrete((2, 2))
    _, state = environment.reset(jax.random.key(0))
    one = {"choices": jnp.array(2), "numbers": jnp.array([0.5, 0.3, 0.1])}
    none = {"choices": jnp.array(0), "numbers": jnp.zeros(3)}
    given = {
        "saver_0": one,
        "saver_1": none,
        "saver_2": one,
        "baker_0": jnp.array([0, 1]),
        "baker_1": jnp.array([1, 0]),
    }
    found = environment.economy.actions(state, given)
    environment.model.check_actions(state, found)
    np.testing.assert_allclose(found["saver.spend"], state["saver.wealth"] * np.array([0.5, 0, 0.5]), rtol=1e-6)
    np.testing.assert_allclose(found["saver.mood"], [1, -1, 1])
    np.testing.assert_allclose(found["saver.split"], [[0.75, 0.25], [0.5, 0.5], [0.75, 0.25]], rtol=1e-6)
    np.testing.assert_allclose(found["baker.salt"], [5, 3])


def test_many_economies_are_played_at_once_and_begin_anew(write_spec) -> None:
    environment = Environment(write_spec(MIXED))
    _, state = jax.vmap(environment.reset)(jax.random.split(jax.random.key(0), 8))

    @jax.jit
    def play(state: dict[str, jax.Array], key: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        def advance(state: dict[str, jax.Array], key: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
            acting, playing = jax.random.split(key)
            _, state, _, dones, _ = environment.step(playing, state, sampled(environment, acting))
            return state, dones["__all__"]

        return jax.vmap(lambda s, k: jax.lax.scan(advance, s, jax.random.split(k, 7)))(state, jax.random.split(key, 8))

    state, over = play(state, jax.random.key(1))
    np.testing.assert_array_equal(over, np.tile([False, False, True, False, False, True, False], (8, 1)))
    np.testing.assert_array_equal(state["time"], 1)


def test_spaces_contain_what_they_sample() -> None:
    for space in (
        Discrete(3),
        MultiDiscrete((2, 5)),
        Box(0.0, 1.0, (4,)),
        Dict({"a": Discrete(2), "b": Box(0, 1, (1,))}),
    ):
        assert space.contains(space.sample(jax.random.key(0)))  # type: ignore[arg-type]
    assert not MultiDiscrete((2, 5)).contains(jnp.array([2, 0]))
    assert not Discrete(3).contains(-1)


def test_types_that_choose_after_others_are_refused() -> None:
    with pytest.raises(rbcc.RunError, match="in leader_tax not all choose at the same time"):
        Environment("leader_tax")

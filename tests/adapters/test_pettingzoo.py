"""Economies pass PettingZoo's own test, and take the steps of the model."""

import warnings
from importlib.util import find_spec

import jax
import numpy as np
import pytest

import rbcc


pytestmark = pytest.mark.skipif(find_spec("pettingzoo") is None, reason="needs pettingzoo")


@pytest.mark.parametrize(
    "name", ["cournot", "cournot_interval", pytest.param("open_rbc_small", marks=pytest.mark.slow)]
)
def test_the_test_of_pettingzoo(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from pettingzoo.test import parallel_api_test

    from rbcc.adapters.pettingzoo import Environment

    parallel_api_test(Environment(name), num_cycles=30)
    assert "Passed Parallel API test" in capsys.readouterr().out


def test_steps_are_those_of_the_model() -> None:
    from rbcc.adapters.pettingzoo import Environment

    environment = Environment("open_rbc_small", {"horizon": 2})
    model = environment.model
    seen, infos = environment.reset(seed=3)
    assert set(seen) == set(infos) == set(environment.agents) == set(environment.possible_agents)
    key, starting = jax.random.split(jax.random.key(3))
    state = model.reset(starting)
    np.testing.assert_allclose(seen["firm_2"], model.observe(state)["firm"][2], rtol=1e-5)
    for over in (False, True):
        names = list(environment.agents)
        for number, name in enumerate(names):
            environment.action_space(name).seed(number)
        actions = {name: environment.action_space(name).sample() for name in names}
        key, playing = jax.random.split(key)
        state, outcome = model.step(state, environment.economy.actions(state, actions), playing)
        seen, rewards, ended, cut, infos = environment.step(actions)
        assert rewards["consumer_4"] == pytest.approx(float(outcome.rewards["consumer"][4]), rel=1e-5)
        np.testing.assert_allclose(seen["consumer_4"], model.observe(state)["consumer"][4], rtol=1e-4)
        assert set(ended.values()) == {over}
        assert set(cut.values()) == {False}
        assert all(isinstance(x, float) for info in infos.values() for x in info.values())
    assert environment.agents == []
    with pytest.raises(rbcc.RunError, match="call reset first"):
        environment.step({})


def test_wrong_actions_are_refused() -> None:
    from rbcc.adapters.pettingzoo import Environment

    environment = Environment("cournot")
    environment.reset(seed=0)
    with pytest.raises(rbcc.RunError, match="seller_1 has no action"):
        environment.step({"seller_0": 0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gymnasium, about the number
        with pytest.raises(ValueError, match="the action of seller_1 is 99"):
            environment.step({"seller_0": 0, "seller_1": 99})


def test_the_same_seed_is_the_same_episode() -> None:
    from rbcc.adapters.pettingzoo import Environment

    one, other = Environment("matching_pennies"), Environment("matching_pennies")
    for environment in (one, other):
        environment.reset(seed=7)
    actions = dict.fromkeys(one.agents, 0)
    assert one.step(actions)[1] == other.step(actions)[1]

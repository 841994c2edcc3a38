from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.compiler.source import shipped_models
from rbcc.runtime.economy.model import Model, compile


KEY = jax.random.key(1)
MODELS = sorted(path.stem for path in shipped_models().glob("*.yaml") if not path.stem.endswith("published"))


@pytest.fixture(scope="module")
def small() -> Model:
    return compile("open_rbc_small")


def test_shapes_are_those_of_the_spec(small: Model) -> None:
    state = small.reset(KEY)
    actions = small.sample(state, KEY)
    following, outcome = small.step(state, actions, KEY)
    assert state["firm.price"].shape == (4,)
    assert state["government.income_tax"].shape == ()
    assert actions["consumer.demand"].shape == (20, 4)
    assert actions["consumer.employer"].dtype == jnp.int32
    assert outcome.values["consumption"].shape == (20, 4)
    assert outcome.rewards["consumer"].shape == (20,)
    assert outcome.rewards["government"].shape == ()
    assert {k: (v.shape, v.dtype) for k, v in following.items()} == {k: (v.shape, v.dtype) for k, v in state.items()}
    observations = small.observe(state)
    sizes = {o.agent: sum(f.size for f in o.features) for o in small.ir.observations}
    assert observations["consumer"].shape == (20, sizes["consumer"])
    assert observations["government"].shape == (sizes["government"],)


def test_demand_and_consumption_keep_the_author_s_order(small: Model) -> None:
    """Goods that only the first firm has are eaten by those who ask that firm."""
    state = small.reset(KEY) | {"firm.inventory": jnp.array([1000.0, 0, 0, 0])}
    actions = small.sample(state, KEY)
    _, outcome = small.step(state, actions, KEY)
    consumption = outcome.values["consumption"]
    assert np.allclose(consumption[:, 1:], 0)
    hungry = np.asarray(actions["consumer.demand"][:, 0] > 0)
    assert np.array_equal(np.asarray(consumption[:, 0] > 0), hungry)


def test_jit_vmap_scan_and_eager_agree(small: Model) -> None:
    keys = jax.random.split(KEY, 3)

    def episode(key: jax.Array) -> Any:
        def advance(state: Any, k: jax.Array) -> Any:
            state, outcome = small.step(state, small.sample(state, k), k)
            return state, (outcome.rewards, outcome.done)

        return jax.lax.scan(advance, small.reset(key), jax.random.split(key, 10))

    last, (rewards, done) = jax.jit(jax.vmap(episode))(keys)
    state = small.reset(keys[1])
    for t, k in enumerate(jax.random.split(keys[1], 10)):
        state, outcome = small.step(state, small.sample(state, k), k)
        for agent, reward in outcome.rewards.items():
            assert np.allclose(rewards[agent][1, t], reward, rtol=1e-4, atol=1e-2)
        assert bool(outcome.done) == bool(done[1, t]) == (t == 9)
    for name, value in state.items():
        assert np.allclose(last[name][1], value, rtol=1e-4, atol=1e-2), name


def test_gradients_flow_where_the_model_is_smooth(small: Model) -> None:
    state = small.reset(KEY) | {"firm.inventory": jnp.full(4, 50.0)}
    actions = small.sample(state, KEY)

    def welfare(eta: Any) -> jax.Array:
        return small.step(state, actions, KEY, {"eta": eta})[1].rewards["government"]

    slope = jax.grad(welfare)(0.3)
    assert np.isclose(slope, (welfare(0.301) - welfare(0.299)) / 0.002, rtol=1e-2)


@pytest.mark.parametrize("name", MODELS)
def test_accounts_and_invariants_hold_on_random_transitions(name: str) -> None:
    """Identities hold to rounding, in double precision, over whole episodes of random choices."""
    jax.config.update("jax_enable_x64", True)
    try:
        model = compile(name)

        def advance(state: Any, key: jax.Array) -> Any:
            state, outcome = model.step(state, model.sample(state, key), key)
            return state, (outcome.identities, outcome.invariants, state)

        def episode(key: jax.Array) -> Any:
            return jax.lax.scan(advance, model.reset(key), jax.random.split(key, model.ir.horizon))[1]

        identities, invariants, states = jax.jit(jax.vmap(episode))(jax.random.split(KEY, 100))
        for label, (left, right) in identities.items():
            assert np.allclose(left, right, rtol=1e-9, atol=1e-6 * (1 + np.abs(left).max())), label
        for label, holds in invariants.items():
            assert bool(np.all(holds)), label
        assert all(np.isfinite(np.asarray(v, float)).all() for v in states.values())
    finally:
        jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize(("consumers", "firms"), [(1, 1), (1, 5), (3, 20), (7, 3), (257, 2)])
def test_odd_sizes(consumers: int, firms: int) -> None:
    model = compile("open_rbc", {"agents.consumer.count": consumers, "agents.firm.count": firms, "horizon": 3})
    state = model.reset(KEY)
    for _ in range(3):
        actions = model.sample(state, KEY)
        state, outcome = model.step(state, actions, KEY)
        assert outcome.values["consumption"].shape == (consumers, firms)
        goods = outcome.identities["goods"]
        assert np.allclose(*goods, rtol=1e-4, atol=1e-2)
    assert int(state["time"]) == 3


def test_many_agents() -> None:
    """A hundred thousand agents in one economy, gathered and summed in linear time and memory."""
    model = compile("open_rbc", {"agents.consumer.count": 100_000, "agents.firm.count": 200})
    state = model.reset(KEY)
    actions = jax.jit(model.sample)(state, KEY)
    _, outcome = jax.jit(model.step)(state, actions, KEY)
    labour = np.zeros(200)
    np.add.at(labour, np.asarray(actions["consumer.employer"]), np.asarray(actions["consumer.hours"]))
    assert np.allclose(outcome.values["labour"], labour, rtol=1e-5)


def test_mistakes_in_calls_are_explained(small: Model) -> None:
    state = small.reset(KEY)
    actions = small.sample(state, KEY)
    with pytest.raises(ValueError, match=r"action 'consumer.hours' is missing"):
        small.step(state, {k: v for k, v in actions.items() if k != "consumer.hours"}, KEY)
    with pytest.raises(ValueError, match=r"'firm.set_price' has shape \(3,\), expected \(4,\)"):
        small.step(state, actions | {"firm.set_price": jnp.zeros(3)}, KEY)
    with pytest.raises(ValueError, match=r"there is no action 'firm\.bonus'"):
        small.step(state, actions | {"firm.bonus": jnp.zeros(4)}, KEY)
    with pytest.raises(ValueError, match=r"state 'firm.cash' is missing"):
        small.step({k: v for k, v in state.items() if k != "firm.cash"}, actions, KEY)


CHOICES = """
rbcc: 1
model: choices
horizon: 3
discount: 1
state: {k: {start: 2}}
agents:
  a:
    index: i
    count: 2
    actions:
      listed: {choices: [0, 0.1, 3]}
      friend: {choose: b}
      part: {shares: b}
    reward: listed[i] + part[i,friend[i]]
  b:
    index: j
    count: 3
    after: a
    actions: {eaten: {between: [0, "k + min(i, listed[i])"]}}
    reward: eaten[j]
equations:
  all: |
    k' = k
"""


def test_impossible_actions_are_refused_where_they_are_known(write_spec) -> None:
    model = compile(write_spec(CHOICES))
    state = model.reset(KEY)
    good = {"a.listed": [0.1, 3], "a.friend": [0, 2], "a.part": [[0.2, 0.3, 0.5], [1, 0, 0]], "b.eaten": [0, 1, 2.1]}
    model.check_actions(state, good)
    model.check_actions(state, model.sample(state, KEY))
    for name, value, words in [
        ("a.listed", [0.1, 1.4], r"action 'a\.listed' of agent 1 is 1\.4, expected one of its choices, 0, 0\.1, 3"),
        ("a.listed", [np.nan, 3], r"of agent 0 is nan"),
        ("a.friend", [0, 3], r"action 'a\.friend' of agent 1 is 3, expected one of its choices, one b"),
        ("a.friend", [0.5, 1], r"of agent 0 is 0\.5"),
        ("a.part", [[0.2, 0.3, 0.4], [1, 0, 0]], r"of agent 0 is 0\.9, expected shares that sum to 1"),
        ("a.part", [[0.5, 0.5, 0], [2, -1, 0]], r"of agent 1, 1 is -1, expected a share of at least 0"),
        ("b.eaten", [0, 1, 2.2], r"action 'b\.eaten' of agent 2 is 2\.2, expected a number from 0 to 2\.1"),
    ]:
        with pytest.raises(ValueError, match=words):
            model.step(state, {**good, name: value}, KEY)
    seen = {name: jnp.asarray(value) for name, value in good.items()} | {"b.eaten": jnp.full(3, 9.0)}
    _, outcome = jax.jit(model.step)(state, seen, KEY)
    assert np.array_equal(outcome.rewards["b"], [9, 9, 9])


def test_whole_numbers_and_lists_are_accepted_as_actions(small: Model) -> None:
    state = small.reset(KEY)
    actions = small.sample(state, KEY) | {"firm.set_price": [500, 1000, 1500, 2000], "consumer.hours": np.full(20, 520)}
    following, _ = small.step(state, actions, KEY)
    assert following["firm.price"].dtype == state["firm.price"].dtype
    assert np.array_equal(following["firm.price"], [500, 1000, 1500, 2000])


def test_samples_are_legal_and_cover_all_choices(small: Model) -> None:
    state = small.reset(KEY)
    drawn = jax.vmap(lambda k: small.sample(state, k))(jax.random.split(KEY, 200))
    for name, space in small.spaces.items():
        assert set(np.unique(drawn[name])) == set(np.asarray(space.table).tolist()), name


def test_encodings(write_spec) -> None:
    spec = """
rbcc: 1
model: seen
horizon: 5
discount: 1
public: [level, time]
agents:
  baker:
    index: i
    count: 3
    parameters: {skill: i - 1}
    state:
      purse: {start: 10 * (i + 1)}
      level: {start: 2}
      tired: {start: false}
      wide: {start: 1234, encode: digits}
      plain: {start: 7, scale: 2, encode: linear}
    actions: {set: {choices: [0, 4]}}
    observes: [public, purse, level, tired, wide, plain, skill, i, {value: "purse[i] / 5", scale: 4}]
    reward: purse[i]
equations:
  all: |
    purse'[i] = purse[i]
    level'[i] = set[i]
    tired'[i] = tired[i]
    wide'[i]  = wide[i]
    plain'[i] = plain[i]
"""
    model = compile(write_spec(spec))
    seen = np.asarray(model.observe(model.reset(KEY))["baker"])
    for i in range(3):
        purse = 10 * (i + 1)
        expected = [0.5, 0.5, 0.5, 0]  # public: levels over the largest choice 4, step 0 of 5
        expected += [np.log1p(purse / 30), 0.5, 0]  # purse over the largest start, level, tired
        expected += [1234 % 10**k / 10**k for k in range(1, 11)]
        expected += [3.5, purse / 5 / 4]
        expected += [i - 1, *np.eye(3)[i]]  # what never changes comes last
        assert np.allclose(seen[i], expected, atol=1e-6)


def test_tracebacks_show_generated_lines(small: Model) -> None:
    with pytest.raises(KeyError) as caught:
        small.module.step({"time": 0}, {}, KEY)
    assert any('state["consumer.budget"]' in str(line) for line in caught.traceback)


def test_repr_and_files(small: Model) -> None:
    assert repr(small) == "Model(open_rbc_small: 20 consumer, 4 firm, 1 government; horizon 10)"
    assert [Path(f).name for f in small.ir.files] == ["open_rbc_small.yaml", "open_rbc.yaml", "closed_rbc.yaml"]

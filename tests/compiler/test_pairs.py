"""Several indices of one type: pairs of agents, by known answers through `model.step`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transitions import compare

from rbcc.runtime.economy.model import Model, compile


SPEC = """
rbcc: 1
model: gifts
horizon: 4
discount: 0.9
agents:
  friend:
    index: [i, k, m]
    count: 5
    parameters:
      near: {over: friend, value: "1 / (1 + abs(i - k))"}
    state:
      wealth: {start: 100 + 10 * i}
      debt: {over: friend, start: 10 * i + k}
      met: {over: friend, start: i == k}
    actions:
      gift: {over: friend, choices: [0, 1, 2]}
      guest: {choose: friend}
      toast: {over: friend, choose: friend}
    observes: [wealth, debt, "debt[k,i]", met, near, {value: "sum(k, debt[k,i])", scale: 10}, i]
    reward: wealth'[i]
equations:
  gifts: |
    wealth'[i]     = wealth[i] + sum(k where k != i, gift[k,i] - gift[i,k])
    net[i,k]       = gift[i,k] - gift[k,i]
    debt'[i,k]     = debt[i,k] + net[i,k] if i != k else 0
    met'[k,i]      = met[k,i] or guest[i] == k or guest[k] == i
    own[i]         = gift[i,i]
  lookups: |
    to_guest[i]    = gift[i, guest[i]]
    from_guest[i]  = gift[guest[i], i]
    hosts[k]       = count(i where guest[i] == k)
    brought[i]     = sum(k where guest[k] == i, gift[k,i])
    friend_of[i]   = wealth[guest[guest[i]]]
    toasted[i,k]   = wealth[toast[i,k]]
    row[i,k]       = near[guest[i], k]
    together[i]    = sum(k where guest[k] == guest[i], wealth[k])
  sums: |
    reach[i,k]     = sum(m, debt[i,m] * near[m,k])
    trace          = sum(i, debt[i,i])
    above          = sum(i, k where i < k, debt[i,k])
    triangle[k,m,i] = debt[i,k] + debt[m,i]
    span[m]        = max(k, debt[m,k]) - min(i, debt[i,m])
identities:
  money: sum(i, wealth'[i]) == sum(i, wealth[i])
  antisymmetric: net[i,k] == -net[k,i]
invariants: ["met'[i,k] == met'[k,i] or not met[i,k]"]
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("pairs") / "gifts.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return compile(path)


def step(model: Model, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Any]:
    """(states and choices, values of the equations, outcome) of a random step; the debts are random too."""
    state = model.reset(jax.random.key(seed))
    random = np.random.default_rng(seed)
    state["friend.debt"] = jnp.asarray(random.normal(size=(5, 5)), float)
    actions = model.sample(state, jax.random.key(seed))
    following, outcome = model.step(state, actions, jax.random.key(seed))
    inputs = {name.partition(".")[2]: np.asarray(array) for name, array in {**state, **actions}.items()}
    later = {f"{name.partition('.')[2]}'": np.asarray(array) for name, array in following.items()}
    return inputs, {**later, **jax.tree.map(np.asarray, outcome.values)}, outcome


def test_starts_and_parameters_of_pairs(model: Model) -> None:
    state = model.reset(jax.random.key(0))
    i, k = np.indices((5, 5))
    assert np.array_equal(state["friend.debt"], 10 * i + k)
    assert np.array_equal(state["friend.met"], np.eye(5, dtype=bool))
    assert np.allclose(model.module.constants()["friend.near"], 1 / (1 + abs(i - k)))


def test_flows_between_agents_of_one_type(model: Model) -> None:
    x, y, outcome = step(model)
    gift, debt = x["gift"], x["debt"]
    others = gift * (1 - np.eye(5))
    assert np.allclose(y["wealth'"], x["wealth"] + others.sum(0) - others.sum(1))
    assert np.allclose(y["net"], gift - gift.T)
    assert np.allclose(y["debt'"], np.where(np.eye(5), 0, debt + gift - gift.T))
    assert np.allclose(y["own"], np.diag(gift))
    visits = x["guest"][:, None] == np.arange(5)
    assert np.array_equal(y["met'"], x["met"] | visits | visits.T)
    assert all(np.allclose(*sides) for sides in outcome.identities.values())
    assert all(np.all(holds) for holds in outcome.invariants.values())


def test_lookups_through_choices_of_ones_own_type(model: Model) -> None:
    x, y, _ = step(model, 1)
    gift, guest, wealth, agents = x["gift"], x["guest"], x["wealth"], np.arange(5)
    assert np.allclose(y["to_guest"], gift[agents, guest])
    assert np.allclose(y["from_guest"], gift[guest, agents])
    assert np.allclose(y["hosts"], np.bincount(guest, minlength=5))
    assert np.allclose(y["brought"], [sum(gift[k, i] for k in agents if guest[k] == i) for i in agents])
    assert np.allclose(y["friend_of"], wealth[guest[guest]])
    assert np.allclose(y["toasted"], wealth[x["toast"]])
    near = 1 / (1 + abs(np.subtract.outer(agents, agents)))
    assert np.allclose(y["row"], near[guest])
    assert np.allclose(y["together"], (guest[:, None] == guest) @ wealth)


def test_sums_over_pairs(model: Model) -> None:
    x, y, _ = step(model, 2)
    debt, agents = x["debt"], np.arange(5)
    near = 1 / (1 + abs(np.subtract.outer(agents, agents)))
    assert np.allclose(y["reach"], debt @ near, rtol=1e-5)
    assert np.isclose(y["trace"], np.trace(debt), rtol=1e-5)
    assert np.isclose(y["above"], np.triu(debt, 1).sum(), rtol=1e-5)
    assert np.allclose(y["triangle"], debt.T[:, None, :] + debt[None, :, :])  # [k, m, i]
    assert np.allclose(y["span"], debt.max(1) - debt.min(0))


def test_each_agent_sees_its_own_row_and_column(model: Model) -> None:
    state = model.reset(jax.random.key(0))
    seen = np.asarray(model.observe(state)["friend"])
    assert seen.shape == (5, 1 + 5 + 5 + 5 + 1 + 5 + 5)
    debt = np.asarray(state["friend.debt"])
    encoded = np.log1p(debt / debt.max())
    assert np.allclose(seen[:, 1:6], encoded, atol=1e-6)
    assert np.allclose(seen[:, 6:11], encoded.T, atol=1e-6)
    assert np.allclose(seen[:, 11:16], np.eye(5))
    assert np.allclose(seen[:, 16], debt.sum(0) / 10, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 12])
def test_any_number_of_agents(count: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("pairs") / "gifts.yaml"
    path.write_text(SPEC, encoding="utf-8")
    compare(compile(path, {"agents.friend.count": count}), 20)

"""Trajectories of the paper's own CUDA kernel, replayed by the compiled specs.

The files in tests/data were made by the published step kernel with recorded actions (see the docstring of each array
in reference: `state_*` at the start of each step and after the last, `reward_*` before any scaling).
"""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.runtime.economy.model import compile


DATA = Path(__file__).parent.parent / "data"
TOLERANCE = 2e-5

STATES = {
    "consumer.budget": "consumer_budget",
    "firm.price": "price",
    "firm.wage": "wage",
    "firm.inventory": "inventory",
    "firm.overdemanded": "overdemanded",
    "firm.cash": "firm_budget",
    "firm.capital": "capital",
    "government.income_tax": "income_tax",
    "government.corporate_tax": "corporate_tax",
}
ACTIONS = {
    "consumer.demand": "demand",
    "consumer.hours": "hours",
    "consumer.employer": "employer",
    "firm.set_price": "price",
    "firm.set_wage": "wage",
    "firm.invest": "invest",
    "government.set_income_tax": "income_tax",
    "government.set_corporate_tax": "corporate_tax",
}


def overrides(meta: dict[str, Any]) -> dict[str, object]:
    found = {
        "agents.consumer.count": meta["C"],
        "agents.firm.count": meta["F"],
        "horizon": meta["T"],
        "parameters.eta": meta["crra"],
        "parameters.interest": meta["interest"],
        "parameters.labor_floor": meta["labor_floor"],
        "parameters.revenue_boost": float(meta["boost"]),
        "parameters.theta_scale": meta["theta0"],
        "parameters.disutility_scale": meta["theta_coef"],
    }
    if meta["open"]:
        found |= {
            "parameters.export_price": meta["export_price"],
            "parameters.export_quantity": meta["export_quantity"],
        }
    return found


def distance(expected: np.ndarray, found: Any) -> float:
    """The largest error relative to the value, or to the mean size of the array where the value is smaller."""
    found = np.asarray(found, float).reshape(expected.shape)
    expected = expected.astype(float)
    scale = np.maximum(np.abs(expected), np.abs(expected).mean() + 1e-9)
    assert np.isfinite(found).all()
    return float(np.max(np.abs(expected - found) / scale))


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.npz")))
def test_replay(name: str) -> None:
    golden = np.load(DATA / name)
    meta = json.loads(str(golden["meta"]))
    model = compile("open_rbc" if meta["open"] else "closed_rbc", overrides(meta))
    start = model.reset(jax.random.key(0))
    constants = model.module.constants()
    assert distance(golden["consumer_theta"], constants["consumer.theta"]) < TOLERANCE
    assert distance(golden["firm_alpha"], constants["firm.alpha"]) < TOLERANCE

    def shaped(array: np.ndarray, like: jax.Array) -> jax.Array:
        return jnp.asarray(array).reshape(meta["B"], *like.shape).astype(like.dtype)

    state = {key: shaped(golden[f"state_{file}"][:, 0], start[key]) for key, file in STATES.items()}
    state["time"] = jnp.zeros(meta["B"], jnp.int32)
    likes = model.sample(start, jax.random.key(0))
    step = jax.jit(jax.vmap(lambda s, a: model.step(s, a, jax.random.key(0))))
    for t in range(meta["T"]):
        actions = {key: shaped(golden[f"action_{file}"][:, t], likes[key]) for key, file in ACTIONS.items()}
        state, outcome = step(state, actions)
        found = {f"state_{file}": state[key] for key, file in STATES.items()}
        for key, file in STATES.items():
            assert distance(golden[f"state_{file}"][:, t + 1], found[f"state_{file}"]) < TOLERANCE, (key, t)
        assert distance(golden["consumption"][:, t], outcome.values["consumption"]) < TOLERANCE
        assert distance(golden["exported"][:, t], outcome.values["exported"]) < TOLERANCE
        assert distance(golden["reward_consumer"][:, t], outcome.rewards["consumer"]) < TOLERANCE
        assert distance(golden["reward_firm"][:, t], outcome.rewards["firm"]) < TOLERANCE
    assert bool((state["time"] == meta["T"]).all())


def test_all_four_files_are_there() -> None:
    assert len(list(DATA.glob("*.npz"))) == 4

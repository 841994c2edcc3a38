"""That what docs/known_answers.md calls exact is the solution of the models as they are written."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from rbcc.runtime.economy.model import compile


ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("workers", "elasticity", "exact"), [(100, 0.5, 0.240173), (30, 1.0, 0.202937)])
def test_leader_tax(workers: int, elasticity: float, exact: float) -> None:
    """Workers who know that a part of their own tax comes back, and a planner who knows how they answer."""
    with jax.enable_x64(True):
        model = compile("leader_tax", {"agents.worker.count": workers, "parameters.elasticity": elasticity})
        key = jax.random.key(0)
        state, wage = model.reset(key), jnp.resize(jnp.array([1.0, 2.0]), (workers,))

        def rewards(tax: jax.Array, labour: jax.Array) -> dict[str, jax.Array]:
            return model.step(state, {"planner.tax": tax, "worker.labour": labour}, key)[1].rewards

        def answer(tax: jax.Array) -> jax.Array:
            return ((1 - tax + tax / workers) * wage) ** elasticity

        def welfare(tax: jax.Array) -> jax.Array:
            return rewards(tax, answer(tax))["planner"]

        tax = jnp.array(exact)
        own = jnp.diag(jax.jacrev(lambda labour: rewards(tax, labour)["worker"])(answer(tax)))
        assert jnp.abs(own).max() < 1e-12  # nobody gains by other hours
        assert jax.grad(welfare)(tax - 1e-6) > 0 > jax.grad(welfare)(tax + 1e-6)


def test_leader_tax_is_reported_with_its_exact_value() -> None:
    known = json.loads((ROOT / "experiments" / "known_answers.json").read_text())["leader_tax"]
    assert {round(result["found"]["tax"][0], 6) for result in known.values()} == {0.240173}
    assert "| `leader_tax` | tax | 0.240173 |" in (ROOT / "docs" / "known_answers.md").read_text()
    assert ".240173" in (ROOT / "models" / "leader_tax.yaml").read_text().partition("rbcc: 1")[0]


def test_nobody_gains_from_another_plan_in_the_dynamic_duopoly() -> None:
    """The Markov-perfect policies, played against each other: it pays to change none of the coefficients."""
    with jax.enable_x64(True):
        model = compile("dynamic_duopoly")
        key, policy = jax.random.key(0), jnp.array([0.66846613, 0.70487518, -0.07584666])
        began = model.reset(key) | {"seller.quantity": jnp.array([1.0, 2.4])}

        def payoff(own: jax.Array) -> jax.Array:
            def step(state: dict[str, jax.Array], time: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
                here, there = state["seller.quantity"]
                plans = jnp.array([own @ jnp.array([1.0, here, there]), policy @ jnp.array([1.0, there, here])])
                state, out = model.step(state, {"seller.plan": plans}, key)
                return state, 0.96**time * out.rewards["seller"][0]

            return jax.lax.scan(step, began, jnp.arange(800))[1].sum()

        assert jnp.abs(jax.grad(payoff)(policy)).max() < 1e-4
        assert jnp.abs(jax.grad(payoff)(policy + jnp.array([0.01, 0.0, 0.0])))[0] > 0.1

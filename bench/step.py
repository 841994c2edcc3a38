"""The compiled step of open_rbc against a hand-written JAX step of the same economy.

    python3 bench/step.py [--economies 128] [--repeats 50]

Both run a scan of 10 steps over many economies with given choices, and return the last state and all rewards. The
hand-written step keeps whole batches in arrays (economy, firm, consumer): the layout that is fastest on a CPU.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp


sys.path.insert(0, str(Path(__file__).parent))
from timing import interleaved, spread

import rbcc


ETA, THETA, TECHNOLOGY, GUARD, WEIGHT = 0.1, 0.01, 0.01, 0.01, 0.0025
EXPORT_PRICE, EXPORT_QUANTITY = 500.0, 100.0


def hand_written(consumers: int, firms: int) -> Any:
    """A step of the open economy for a batch: (state, choices) -> (state, rewards)."""
    theta = THETA * (1 - jnp.arange(consumers) / consumers) ** 0.25
    alpha = jnp.array([0.2, 0.3, 0.4, 0.6, 0.8])[jnp.arange(firms) % 5]

    def step(state: dict[str, jax.Array], choice: dict[str, jax.Array]) -> Any:
        price, wage, stock = state["price"], state["wage"], state["inventory"]
        income_tax, corporate_tax = state["income_tax"][:, None], state["corporate_tax"][:, None]
        demand, hours, employer = choice["demand"], choice["hours"], choice["employer"]
        cost = jnp.sum(price[:, :, None] * demand, axis=1)
        budget = state["budget"]
        demand = demand * jnp.where(cost > budget, budget / jnp.where(cost > 0, cost, 1), 1)[:, None]
        wanted = jnp.sum(demand, axis=2)
        share = jnp.where(wanted > stock, stock / jnp.where(wanted > 0, wanted, 1), 1)
        consumption = demand * share[:, :, None]
        sold = jnp.sum(consumption, axis=2)
        exported = jnp.where(price >= EXPORT_PRICE, jnp.clip(stock - sold, 0, EXPORT_QUANTITY), 0)
        economy = jnp.arange(employer.shape[0])[:, None]
        labour = jnp.zeros_like(wage).at[economy, employer].add(hours)
        income = jnp.take_along_axis(wage, employer, axis=1) * hours
        earnings = price * (sold + exported) - wage * labour
        invested = jnp.maximum(choice["invest"] * earnings, 0)
        taxed = jnp.maximum(earnings - invested, 0)
        profit = earnings - invested - corporate_tax * taxed
        made = TECHNOLOGY * state["capital"] ** (1 - alpha) * labour**alpha
        revenue = jnp.sum(income_tax * income, axis=1) + jnp.sum(corporate_tax * taxed, axis=1)
        spent = jnp.sum(price[:, :, None] * consumption, axis=1)
        following = {
            "budget": budget + GUARD - spent + (1 - income_tax) * income + (revenue / budget.shape[1])[:, None],
            "price": choice["price"],
            "wage": choice["wage"],
            "inventory": stock - sold - exported + made,
            "overdemanded": wanted > stock,
            "cash": state["cash"] + profit,
            "capital": state["capital"] + invested,
            "income_tax": choice["income_tax"],
            "corporate_tax": choice["corporate_tax"],
        }
        utility = jnp.sum(jnp.expm1((1 - ETA) * jnp.log(consumption + 1)), axis=1) / (1 - ETA)
        reward = utility - theta / 2 * hours
        welfare = jnp.sum(reward, axis=1) + WEIGHT * jnp.sum(profit, axis=1)
        return following, (reward, profit, welfare)

    return step


NAMES = {
    "consumer.budget": "budget",
    "firm.price": "price",
    "firm.wage": "wage",
    "firm.inventory": "inventory",
    "firm.overdemanded": "overdemanded",
    "firm.cash": "cash",
    "firm.capital": "capital",
    "government.income_tax": "income_tax",
    "government.corporate_tax": "corporate_tax",
}


def distance(a: jax.Array, b: jax.Array) -> float:
    """The largest difference relative to the value, or to the mean size where the value is smaller."""
    a, b = a.astype(float), b.astype(float)
    return float(jnp.max(jnp.abs(a - b) / (jnp.maximum(jnp.abs(b), jnp.mean(jnp.abs(b))) + 1e-9)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--economies", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args()
    model = rbcc.compile("open_rbc")
    horizon, economies = model.ir.horizon, options.economies
    key = jax.random.key(0)
    # Choices in the layout of the generated module: (step, economy, firm, consumer).
    keys = jax.random.split(key, (horizon, economies))
    actions = jax.vmap(jax.vmap(lambda k: model.stored(model.sample({}, k))))(keys)
    state = jax.vmap(model.module.reset)(jax.random.split(key, economies))
    step = hand_written(model.ir.count("consumer"), model.ir.count("firm"))

    @jax.jit
    def compiled(state: Any, actions: Any) -> Any:
        def advance(state: Any, choice: Any) -> Any:
            following, result = jax.vmap(lambda s, a: model.module.step(s, a, key))(state, choice)
            return following, result["rewards"]

        return jax.lax.scan(advance, state, actions)

    @jax.jit
    def by_hand(state: Any, actions: Any) -> Any:
        return jax.lax.scan(step, state, actions)

    plain_state = {short: state[name] for name, short in NAMES.items()}
    plain_actions = {name.partition(".")[2].removeprefix("set_"): value for name, value in actions.items()}
    last, rewards = compiled(state, actions)
    plain_last, plain_rewards = by_hand(plain_state, plain_actions)
    for name, short in NAMES.items():
        assert distance(last[name], plain_last[short]) < 2e-5, name
    for agent, reward in zip(("consumer", "firm", "government"), plain_rewards, strict=True):
        assert distance(rewards[agent], reward) < 2e-5, agent

    times = interleaved(
        {"compiled": lambda: compiled(state, actions), "by hand": lambda: by_hand(plain_state, plain_actions)},
        options.repeats,
    )
    agents = sum(agent.count for agent in model.ir.agents)
    for name, seconds in times.items():
        rate = horizon * economies / statistics.median(seconds)
        print(f"{name:<10}{spread(seconds)}, {rate / 1e3:,.0f} k steps/s, {rate * agents / 1e6:,.1f} M agent-steps/s")
    ratio = statistics.median(times["compiled"]) / statistics.median(times["by hand"])
    pairs = sorted(a / b for a, b in zip(times["compiled"], times["by hand"], strict=True))
    print(f"ratio of medians {ratio:.3f}; median of paired ratios {statistics.median(pairs):.3f}; {jax.devices()[0]}")


if __name__ == "__main__":
    main()

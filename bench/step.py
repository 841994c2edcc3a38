"""The compiled step of open_rbc against hand-written steps of the same economy, in JAX and in NumPy.

    python3 bench/step.py [--economies 128] [--repeats 51]

First with given choices, 10 steps of many economies, to the last state and all rewards. Then random rollouts: the
choices of all agents drawn uniformly in every step. The hand-written JAX keeps whole batches in arrays (economy, firm,
consumer), the layout that is fastest on a CPU, and draws all choices of a step from one pass of a counter hash.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


sys.path.insert(0, str(Path(__file__).parent))
from timing import Row, arguments, interleaved, report

import rbcc
from rbcc.runtime import prng


ETA, THETA, TECHNOLOGY, GUARD, WEIGHT = 0.1, 0.01, 0.01, 0.01, 0.0025
EXPORT_PRICE, EXPORT_QUANTITY = 500.0, 100.0


def hand_written(consumers: int, firms: int, xp: Any = jnp) -> Any:
    """A step of the open economy for a batch: (state, choices) -> (state, rewards); `xp` is JAX's NumPy or NumPy."""
    theta = (THETA * (1 - np.arange(consumers) / consumers) ** 0.25).astype(np.float32)
    alpha = np.array([0.2, 0.3, 0.4, 0.6, 0.8], np.float32)[np.arange(firms) % 5]

    def step(state: dict[str, Any], choice: dict[str, Any]) -> Any:
        price, wage, stock = state["price"], state["wage"], state["inventory"]
        income_tax, corporate_tax = state["income_tax"][:, None], state["corporate_tax"][:, None]
        demand, hours, employer = choice["demand"], choice["hours"], choice["employer"]
        cost = xp.sum(price[:, :, None] * demand, axis=1)
        budget = state["budget"]
        demand = demand * xp.where(cost > budget, budget / xp.where(cost > 0, cost, 1), 1)[:, None]
        wanted = xp.sum(demand, axis=2)
        share = xp.where(wanted > stock, stock / xp.where(wanted > 0, wanted, 1), 1)
        consumption = demand * share[:, :, None]
        sold = xp.sum(consumption, axis=2)
        exported = xp.where(price >= EXPORT_PRICE, xp.clip(stock - sold, 0, EXPORT_QUANTITY), 0)
        economy = xp.arange(employer.shape[0])[:, None]
        if xp is np:
            labour = np.zeros_like(wage)
            np.add.at(labour, (economy, employer), hours)
        else:
            labour = jnp.zeros_like(wage).at[economy, employer].add(hours)
        income = xp.take_along_axis(wage, employer, axis=1) * hours
        earnings = price * (sold + exported) - wage * labour
        invested = xp.maximum(choice["invest"] * earnings, 0)
        taxed = xp.maximum(earnings - invested, 0)
        profit = earnings - invested - corporate_tax * taxed
        made = TECHNOLOGY * state["capital"] ** (1 - alpha) * labour**alpha
        revenue = xp.sum(income_tax * income, axis=1) + xp.sum(corporate_tax * taxed, axis=1)
        spent = xp.sum(price[:, :, None] * consumption, axis=1)
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
        utility = xp.sum(xp.expm1((1 - ETA) * xp.log(consumption + 1)), axis=1) / (1 - ETA)
        reward = utility - theta / 2 * hours
        welfare = xp.sum(reward, axis=1) + WEIGHT * xp.sum(profit, axis=1)
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


def distance(a: Any, b: Any) -> float:
    """The largest difference relative to the value, or to the mean size where the value is smaller."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    return float(np.max(np.abs(a - b) / (np.maximum(np.abs(b), np.mean(np.abs(b))) + 1e-9)))


def drawn_by_hand(key: jax.Array, number: jax.Array, economies: int, consumers: int, firms: int) -> Any:
    """Random choices of all agents in all economies, each from its place, the step and a key by a hash."""

    def hashed(stream: int, shape: tuple[int, ...]) -> jax.Array:
        x = jax.lax.iota(jnp.uint32, int(np.prod(shape))).reshape(shape)
        x = x ^ (key + jnp.uint32(0x9E3779B9) * (number.astype(jnp.uint32) * 8 + stream + 1))
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)) * 2:
            x = (x ^ (x >> shift)) * jnp.uint32(factor)
        return ((x ^ (x >> 16)) >> 8).astype(jnp.float32) * jnp.float32(2**-24)

    def choice(stream: int, shape: tuple[int, ...], choices: int) -> jax.Array:
        return jnp.floor(hashed(stream, shape) * choices)

    return {
        "demand": choice(0, (economies, firms, consumers), 11),
        "hours": 260 * choice(1, (economies, consumers), 5),
        "employer": choice(2, (economies, consumers), firms).astype(int),
        "price": 500 * choice(3, (economies, firms), 6),
        "wage": 11 * choice(4, (economies, firms), 5),
        "invest": 0.1,
        "income_tax": 0.2 * choice(5, (economies,), 6),
        "corporate_tax": 0.2 * choice(6, (economies,), 6),
    }


def measure(economies: int = 128, repeats: int = 51) -> list[Row]:
    """All rows of this benchmark."""
    model = rbcc.compile("open_rbc")
    horizon, (consumers, firms) = model.ir.horizon, (model.ir.count("consumer"), model.ir.count("firm"))
    key = prng.key(0)

    def draw(key: jax.Array) -> Any:
        return model.stored(model.sample({}, key))

    # Choices in the layout of the generated module: (step, economy, firm, consumer).
    keys = jax.random.split(key, (horizon, economies))
    actions = jax.jit(jax.vmap(jax.vmap(draw)))(keys)
    state = jax.vmap(model.module.reset)(jax.random.split(key, economies))
    step = hand_written(consumers, firms)

    def forward(state: Any, choice: Any) -> Any:
        following, result = jax.vmap(lambda s, a: model.module.step(s, a, key))(state, choice)
        return following, result["rewards"]

    compiled = jax.jit(lambda state, actions: jax.lax.scan(forward, state, actions))
    by_hand = jax.jit(lambda state, actions: jax.lax.scan(step, state, actions))

    def with_numpy(state: Any, actions: Any) -> Any:
        rewards, advance = [], hand_written(consumers, firms, np)
        for number in range(horizon):
            state, found = advance(state, {name: choice[number] for name, choice in actions.items()})
            rewards.append(found)
        return state, [np.stack(parts) for parts in zip(*rewards, strict=True)]

    plain_state = {short: state[name] for name, short in NAMES.items()}
    plain_actions = {name.partition(".")[2].removeprefix("set_"): value for name, value in actions.items()}
    numpy_arguments = jax.device_get((plain_state, plain_actions))
    last, rewards = compiled(state, actions)
    for other, other_rewards in (by_hand(plain_state, plain_actions), with_numpy(*numpy_arguments)):
        for name, short in NAMES.items():
            assert distance(last[name], other[short]) < 2e-5, name
        for agent, reward in zip(("consumer", "firm", "government"), other_rewards, strict=True):
            assert distance(rewards[agent], reward) < 2e-5, agent

    @jax.jit
    def random(state: Any, key: jax.Array) -> Any:
        def advance(state: Any, keys: jax.Array) -> Any:
            return forward(state, jax.vmap(draw)(keys))

        return jax.lax.scan(advance, state, jax.random.split(key, (horizon, economies)))

    @jax.jit
    def random_by_hand(state: Any, key: jax.Array) -> Any:
        def advance(state: Any, number: jax.Array) -> Any:
            return step(state, drawn_by_hand(key, number, economies, consumers, firms))

        return jax.lax.scan(advance, state, jnp.arange(horizon))

    times = interleaved(
        {
            "rbcc": lambda: compiled(state, actions),
            "by hand": lambda: by_hand(plain_state, plain_actions),
            "rbcc, random": lambda: random(state, key),
            "by hand, random": lambda: random_by_hand(plain_state, jnp.uint32(0)),
        },
        repeats,
    )
    slow = interleaved({"NumPy": lambda: with_numpy(*numpy_arguments)}, 3)["NumPy"]
    steps = horizon * economies
    agents = sum(agent.count for agent in model.ir.agents)
    rate = tuple(steps * agents / 1e3 / t for t in times["rbcc, random"])
    label = f"{horizon} steps of {economies} economies"
    return [
        Row(label, "ms", times["rbcc"], "hand-written JAX", times["by hand"]),
        Row(label, "ms", times["rbcc"], "hand-written NumPy", slow),
        Row(f"{label}, random choices", "ms", times["rbcc, random"], "hand-written JAX", times["by hand, random"]),
        Row("the same, agent-steps", "M/s", rate),
    ]


def main() -> None:
    parser = arguments(__doc__, economies=128, repeats=51)
    options = parser.parse_args()
    report(measure(options.economies, options.repeats), options.out)


if __name__ == "__main__":
    main()

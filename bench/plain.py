"""The yardstick: open_rbc and PPO written by hand in plain JAX, the way one writes them the first time.

Arrays are (economy, agent, feature); every agent sees its whole observation; every choice has a head of its own, drawn
with `jax.random.categorical`; one gradient of the whole batch; Threefry random numbers. The algorithm and all its
settings are those of rbcc with `SETTINGS`, so that with the same random numbers (`noise`) it gives the same losses.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


CONSUMERS, FIRMS, HORIZON = 100, 10, 10
ETA, THETA, TECHNOLOGY, GUARD, WEIGHT = 0.1, 0.01, 0.01, 0.01, 0.0025
EXPORT_PRICE, EXPORT_QUANTITY = 500.0, 100.0
DISCOUNT, GAE, CLIP, ENTROPY, VALUE_WEIGHT = 0.9999, 1.0, 0.1, 0.02, 0.5
LEARNING_RATE, GRADIENT_CLIP, EPOCHS, FLOOR = 5e-4, 2.0, 2, 0.02
SCALES = {"consumer": 5.0, "firm": 30000.0, "government": 1000.0}
AGENTS = {"consumer": CONSUMERS, "firm": FIRMS, "government": 1}
# Choices of each head. The last head of firms is (price, wage), of the government (income tax, corporate tax).
HEADS = {"consumer": [11] * FIRMS + [5, FIRMS], "firm": [30], "government": [36]}
SETTINGS: dict[str, object] = {
    "training.phases.explore.curriculum": "finished",
    "training.default.learning_rate": LEARNING_RATE,
    "training.default.explorers": 1,
    **{f"training.{agent}.entropy": ENTROPY for agent in AGENTS},
}
"""Overrides that make rbcc train open_rbc with these settings."""

Noise = Callable[[jax.Array, jax.Array, str], jax.Array]
"""(key, step, agent type) -> uniform numbers (economies, agents, heads)."""


class Transition(NamedTuple):
    observation: jax.Array
    choices: jax.Array
    log_probability: jax.Array
    value: jax.Array
    reward: jax.Array


# --- the economy ---------------------------------------------------------------------------------------------------


def reset(economies: int) -> dict[str, jax.Array]:
    firm = jnp.zeros((economies, FIRMS))
    return {
        "budget": jnp.full((economies, CONSUMERS), 2000.0),
        "price": firm + 1000.0,
        "wage": firm,
        "inventory": firm,
        "overdemanded": firm,
        "cash": firm + 22000.0 * CONSUMERS,
        "capital": firm + jnp.where(jnp.arange(FIRMS) < FIRMS // 2, 5000.0, 10000.0),
        "income_tax": jnp.zeros(economies),
        "corporate_tax": jnp.zeros(economies),
    }


THETAS = THETA * (1 - np.arange(CONSUMERS) / CONSUMERS) ** 0.25
ALPHAS = np.array([0.2, 0.3, 0.4, 0.6, 0.8])[np.arange(FIRMS) % 5]


def step(
    state: dict[str, jax.Array], choice: dict[str, jax.Array]
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """`choice` holds demand (economy, consumer, firm), hours and employer (economy, consumer), price, ..."""
    price, wage, stock = state["price"], state["wage"], state["inventory"]
    income_tax, corporate_tax = state["income_tax"][:, None], state["corporate_tax"][:, None]
    budget, hours = state["budget"], choice["hours"]
    cost = jnp.sum(price[:, None, :] * choice["demand"], axis=2)
    affordable = jnp.where(cost > budget, budget / jnp.where(cost > 0, cost, 1), 1)
    demand = choice["demand"] * affordable[:, :, None]
    wanted = jnp.sum(demand, axis=1)
    share = jnp.where(wanted > stock, stock / jnp.where(wanted > 0, wanted, 1), 1)
    consumption = demand * share[:, None, :]
    sold = jnp.sum(consumption, axis=1)
    exported = jnp.where(price >= EXPORT_PRICE, jnp.clip(stock - sold, 0, EXPORT_QUANTITY), 0)
    works_for = jax.nn.one_hot(choice["employer"], FIRMS)
    labour = jnp.sum(works_for * hours[:, :, None], axis=1)
    income = jnp.sum(works_for * wage[:, None, :], axis=2) * hours
    earnings = price * (sold + exported) - wage * labour
    invested = jnp.maximum(0.1 * earnings, 0)
    taxed = jnp.maximum(earnings - invested, 0)
    profit = earnings - invested - corporate_tax * taxed
    made = TECHNOLOGY * state["capital"] ** (1 - ALPHAS) * labour**ALPHAS
    revenue = jnp.sum(income_tax * income, axis=1) + jnp.sum(corporate_tax * taxed, axis=1)
    spent = jnp.sum(price[:, None, :] * consumption, axis=2)
    following = {
        "budget": budget + GUARD - spent + (1 - income_tax) * income + (revenue / CONSUMERS)[:, None],
        "price": choice["price"],
        "wage": choice["wage"],
        "inventory": stock - sold - exported + made,
        "overdemanded": jnp.asarray(wanted > stock, float),
        "cash": state["cash"] + profit,
        "capital": state["capital"] + invested,
        "income_tax": choice["income_tax"],
        "corporate_tax": choice["corporate_tax"],
    }
    utility = jnp.sum(((consumption + 1) ** (1 - ETA) - 1) / (1 - ETA), axis=2)
    reward = utility - THETAS / 2 * hours
    welfare = jnp.sum(reward, axis=1) + WEIGHT * jnp.sum(profit, axis=1)
    return following, {"consumer": reward, "firm": profit, "government": welfare[:, None]}


def observe(state: dict[str, jax.Array], time: jax.Array) -> dict[str, jax.Array]:
    """(economies, agents, features) per type."""

    def log(x: jax.Array, scale: float) -> jax.Array:
        return jnp.sign(x) * jnp.log1p(jnp.abs(x) / scale)

    economies = state["price"].shape[0]
    public = jnp.concatenate(
        [
            state["price"] / 2500,
            state["wage"] / 44,
            log(state["inventory"], 100),
            state["overdemanded"],
            state["income_tax"][:, None],
            state["corporate_tax"][:, None],
            jnp.full((economies, 1), time / HORIZON),
        ],
        axis=1,
    )

    def whole(*own: jax.Array) -> jax.Array:
        mine = jnp.concatenate(own, axis=-1)
        return jnp.concatenate([jnp.broadcast_to(public[:, None], (*mine.shape[:2], public.shape[1])), mine], axis=-1)

    def each(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(x, (economies, *x.shape))

    return {
        "consumer": whole(
            log(state["budget"], 2000)[..., None], each((THETAS / THETAS.max())[:, None]), each(jnp.eye(CONSUMERS))
        ),
        "firm": whole(
            log(state["cash"], 22000.0 * CONSUMERS)[..., None],
            log(state["capital"], 10000)[..., None],
            each((ALPHAS / ALPHAS.max())[:, None]),
            each(jnp.eye(FIRMS)),
            each(jnp.eye(FIRMS)),  # the agent's number, which all networks know, beside what the spec has firms observe
        ),
        "government": public[:, None],
    }


def decode(choices: dict[str, jax.Array]) -> dict[str, jax.Array]:
    consumer, firm, government = choices["consumer"], choices["firm"][..., 0], choices["government"][:, 0, 0]
    return {
        "demand": jnp.asarray(consumer[..., :FIRMS], float),
        "hours": 260.0 * consumer[..., FIRMS],
        "employer": consumer[..., FIRMS + 1],
        "price": 500.0 * (firm // 5),
        "wage": 11.0 * (firm % 5),
        "income_tax": 0.2 * (government // 6),
        "corporate_tax": 0.2 * (government % 6),
    }


# --- the network ---------------------------------------------------------------------------------------------------


def network(parameters: Any, observation: jax.Array) -> tuple[list[jax.Array], jax.Array]:
    """Logits of each head, (..., choices), and the value, (...)."""
    hidden = observation
    for layer in parameters["layers"]:
        hidden = jax.nn.relu(hidden @ layer["weight"] + layer["bias"])
    logits = [hidden @ head["weight"] + head["bias"] for head in parameters["heads"]]
    return logits, (hidden @ parameters["value"]["weight"] + parameters["value"]["bias"])[..., 0]


def log_probability(logits: list[jax.Array], choices: jax.Array) -> jax.Array:
    return sum(
        jnp.take_along_axis(jax.nn.log_softmax(one), choices[..., k, None], axis=-1)[..., 0]
        for k, one in enumerate(logits)
    )  # type: ignore[return-value]


def entropy(logits: list[jax.Array]) -> jax.Array:
    return sum(-jnp.sum(jax.nn.softmax(one) * jax.nn.log_softmax(one), axis=-1) for one in logits)  # type: ignore[return-value]


def categorical(key: jax.Array, logits: list[jax.Array]) -> jax.Array:
    keys = jax.random.split(key, len(logits))
    return jnp.stack([jax.random.categorical(k, one) for k, one in zip(keys, logits, strict=True)], axis=-1)


def inverse(uniform: jax.Array, logits: list[jax.Array]) -> jax.Array:
    """The choice at which the cumulative probability passes a uniform number."""
    found = []
    for k, one in enumerate(logits):
        weights = jnp.exp(one - jnp.max(one, axis=-1, keepdims=True))
        passed = jnp.cumsum(weights, axis=-1) <= (uniform[..., k] * jnp.sum(weights, axis=-1))[..., None]
        found.append(jnp.minimum(jnp.sum(passed, axis=-1), one.shape[-1] - 1))
    return jnp.stack(found, axis=-1)


# --- PPO -----------------------------------------------------------------------------------------------------------

OPTIMIZER = optax.chain(optax.clip_by_global_norm(GRADIENT_CLIP), optax.adam(LEARNING_RATE, eps=1e-5))


class Training(NamedTuple):
    """`rollout`: (networks, key) -> transitions per type. `learn`: (networks, optimizers, transitions) -> (networks,
    optimizers, metrics). `iteration` is one after the other."""

    rollout: Callable[..., Any]
    learn: Callable[..., Any]
    iteration: Callable[..., Any]


def make_training(economies: int, noise: Noise | None = None) -> Training:
    def rollout(networks: Any, key: jax.Array) -> dict[str, Transition]:
        def advance(state: Any, time: jax.Array) -> Any:
            seen = observe(state, time)
            choices: dict[str, jax.Array] = {}
            taken: dict[str, tuple[jax.Array, jax.Array, jax.Array, jax.Array]] = {}
            for number, agent in enumerate(AGENTS):
                logits, value = network(networks[agent], seen[agent])
                if noise is None:
                    source = jax.random.fold_in(jax.random.fold_in(key, time), number)
                    choices[agent] = categorical(source, logits)
                else:
                    choices[agent] = inverse(noise(key, time, agent), logits)
                taken[agent] = (seen[agent], choices[agent], log_probability(logits, choices[agent]), value)
            following, rewards = step(state, decode(choices))
            return following, {agent: Transition(*taken[agent], rewards[agent]) for agent in AGENTS}

        return jax.lax.scan(advance, reset(economies), jnp.arange(HORIZON))[1]

    def learn_one(agent: str, parameters: Any, optimizer: Any, played: Transition) -> Any:
        def back(later: Any, now: Any) -> Any:
            advantage, following = later
            reward, value = now
            advantage = reward + DISCOUNT * following - value + DISCOUNT * GAE * advantage
            return (advantage, value), advantage

        nothing = jnp.zeros_like(played.value[0])
        rewards = played.reward / SCALES[agent]
        advantage = jax.lax.scan(back, (nothing, nothing), (rewards, played.value), reverse=True)[1]
        target = advantage + played.value
        within = jnp.std(advantage, axis=(1, 2), keepdims=True) + FLOOR * jnp.std(advantage)
        advantage = (advantage - jnp.mean(advantage, axis=(1, 2), keepdims=True)) / (within + 1e-8)

        def loss(parameters: Any) -> Any:
            logits, value = network(parameters, played.observation)
            log_ratio = log_probability(logits, played.choices) - played.log_probability
            ratio = jnp.exp(log_ratio)
            gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)
            error, spread = optax.huber_loss(value, target), entropy(logits)
            metrics = {
                "entropy": jnp.mean(spread),
                "value_loss": jnp.mean(error),
                "kl": jnp.mean(ratio - 1 - log_ratio),
            }
            return jnp.mean(-gain - ENTROPY * spread + VALUE_WEIGHT * error), metrics

        def epoch(carry: Any, _: None) -> Any:
            parameters, optimizer = carry
            gradient, metrics = jax.grad(loss, has_aux=True)(parameters)
            change, optimizer = OPTIMIZER.update(gradient, optimizer)
            return (optax.apply_updates(parameters, change), optimizer), metrics

        (parameters, optimizer), metrics = jax.lax.scan(epoch, (parameters, optimizer), None, length=EPOCHS)
        metrics = jax.tree.map(jnp.mean, metrics)
        return parameters, optimizer, {**metrics, "reward": jnp.mean(played.reward)}

    def learn(networks: Any, optimizers: Any, played: dict[str, Transition]) -> Any:
        learned = {agent: learn_one(agent, networks[agent], optimizers[agent], played[agent]) for agent in AGENTS}
        return tuple({agent: result[k] for agent, result in learned.items()} for k in range(3))

    def iteration(networks: Any, optimizers: Any, key: jax.Array) -> Any:
        return learn(networks, optimizers, rollout(networks, key))

    return Training(rollout, learn, iteration)


def initial(key: jax.Array, width: tuple[int, ...]) -> tuple[Any, Any]:
    """Fresh networks and optimizers."""
    networks = {}
    features = {"consumer": 45 + CONSUMERS, "firm": 56 + FIRMS, "government": 43}
    for number, agent in enumerate(AGENTS):
        keys = iter(jax.random.split(jax.random.fold_in(key, number), 32))
        orthogonal = jax.nn.initializers.orthogonal

        def dense(narrow: int, wide: int, scale: float, keys: Any = keys) -> dict[str, jax.Array]:
            return {"weight": orthogonal(scale)(next(keys), (narrow, wide)), "bias": jnp.zeros(wide)}  # noqa: B023

        widths = [features[agent], *width]
        networks[agent] = {
            "layers": [dense(*pair, 2**0.5) for pair in pairwise(widths)],
            "heads": [dense(widths[-1], choices, 0.01) for choices in HEADS[agent]],
            "value": dense(widths[-1], 1, 1.0),
        }
    return networks, {agent: OPTIMIZER.init(parameters) for agent, parameters in networks.items()}

"""Training of open_rbc: rbcc against the same algorithm in plain JAX (`plain.py`), and against the arithmetic.

    python3 bench/training.py [--economies 128] [--network 128,128] [--repeats 3]

Networks of 2 x 128, 2 epochs on the whole batch. Both have all cores; rbcc makes a device of each. First both train
20 iterations from the same networks with the same random numbers, and their losses are compared: in 64 bits, since in
32 bits a few of the 30 million choices fall on the other side of a random number, and change their economy from there
on.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


sys.path.insert(0, str(Path(__file__).parent))
import plain
from timing import Row, arguments, interleaved, report

from rbcc.runtime import prng
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.parallel.devices import ALL, Placement, configure, place
from rbcc.runtime.policies.policy import Policy
from rbcc.runtime.rollout.rollout import keys_of, rollout, sampling, uniforms
from rbcc.runtime.training.loop import TrainState, initial_state, metric_names, networks_of, stretch
from rbcc.runtime.training.schedule import scheduled


SAME_ITERATIONS = 20


def like_plain(economies: int, network: str) -> dict[str, object]:
    """Overrides with which rbcc does the same as `plain.py`."""
    settings = {"training.phases.explore.economies": economies, "training.default.network": f"[{network}]"}
    return {**plain.SETTINGS, **settings}


class Ours:
    """The programs that rbcc trains with, as `rbcc train` compiles them."""

    def __init__(self, overrides: dict[str, object]):
        self.model = compile("open_rbc", overrides)
        self.phase = self.model.ir.phases[0]
        self.placement = place([self.phase.economies])
        self.state = self.put(initial_state(self.model, 0))
        self.key = self.put(prng.bare(prng.key(0)))

    def put(self, x: Any) -> Any:
        return self.placement.put(x, ALL)

    def whole(self) -> Callable[..., Any]:
        """(state, number of the iteration) -> (state, metrics)"""
        run = stretch(self.model, self.phase, self.placement.share)
        program = self.placement.program(run, (ALL,) * 4, (ALL, ALL))
        return lambda state, number: program(state, self.key, jnp.int32(number), jnp.int32(1))

    def rollout(self) -> Callable[[], Any]:
        """Plays, and adds up everything that learning would read."""
        nets, share = networks_of(self.model), self.placement.share

        def play(networks: Any, bare: jax.Array) -> Any:
            now = scheduled(self.model, self.phase, nets, jnp.int32(0))
            players = {agent: sampling(policy, networks[agent], now.masks[agent]) for agent, policy in nets.items()}
            own = share.economies(self.phase.economies)
            played = rollout(self.model, nets, players, prng.again(bare), own, now.parameters)
            return share.sum(sum(jnp.sum(x.astype(float)) for x in jax.tree.leaves(played)))

        program = self.placement.program(play, (ALL, ALL), ALL)
        return lambda: program(self.state.networks, self.key)


# --- the same losses -----------------------------------------------------------------------------------------------


def plain_network(policy: Policy, network: Any) -> Any:
    """A network of rbcc as one of `plain.py`: features in the same order, heads in another."""
    first, *rest = network["layers"]
    parts = [first["shared"], first["own"], *([first["member"]] if policy.agents > 1 else [])]
    weights = [jnp.concatenate(parts, axis=1), *(layer["weight"] for layer in rest)]
    rows = [
        {"weight": weight[:choices].T, "bias": bias[:choices]}
        for stack, output in zip(policy.stacks, network["choices"], strict=True)
        for weight, bias, choices in zip(
            output["weight"].reshape(stack.repeats, stack.choices, -1),
            output["bias"].reshape(stack.repeats, stack.choices),
            [head.choices for head in stack.heads for _ in range(head.repeats)],
            strict=True,
        )
    ]
    return {
        "layers": [{"weight": w.T, "bias": layer["bias"]} for w, layer in zip(weights, network["layers"], strict=True)],
        "heads": [rows[k] for k in head_order(policy)],
        "value": {"weight": network["value"]["weight"].T, "bias": network["value"]["bias"]},
    }


def head_order(policy: Policy) -> list[int]:
    """For each head of `plain.py`, in the order of the spec, its place among the rows of rbcc's stacks."""
    places, row = {}, 0
    for head in policy.stacked_heads:
        places[head] = range(row, row + head.repeats)
        row += head.repeats
    return [place for head in policy.heads for place in places[head]]


def same_noise(model: Model, economies: int) -> plain.Noise:
    """The uniform numbers of rbcc's rollouts, for `plain.py`."""
    nets = networks_of(model)
    names = list(nets)

    def found(key: jax.Array, step: jax.Array, agent: str) -> jax.Array:
        number = step * (1 + len(names)) + 1 + names.index(agent)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, number), jnp.arange(economies))
        numbers = uniforms(keys, nets[agent].draws, nets[agent].agents)
        return jnp.moveaxis(numbers, 0, -1)[..., jnp.array(head_order(nets[agent]))]

    return found


def differences(economies: int, network: str) -> dict[str, float]:
    """The largest relative difference of each loss in 20 iterations."""
    ours = Ours(like_plain(economies, network))
    whole, nets = ours.whole(), networks_of(ours.model)
    theirs = jax.jit(plain.make_training(economies, same_noise(ours.model, economies)).iteration)
    state: TrainState = ours.state
    local = jax.device_get(state.networks)
    networks = {agent: plain_network(policy, local[agent]) for agent, policy in nets.items()}
    optimizers = {agent: plain.OPTIMIZER.init(parameters) for agent, parameters in networks.items()}
    names, worst = list(metric_names(ours.model, ours.phase)), {}
    root = prng.key(0)
    for number in range(SAME_ITERATIONS):
        state, sums = whole(state, number)
        mine = dict(zip(names, np.asarray(sums)[0], strict=True))
        networks, optimizers, metrics = theirs(networks, optimizers, keys_of(root, jnp.int32(number))[0])
        for agent in nets:
            for name in ("entropy", "value_loss", "reward"):
                other = float(metrics[agent][name])
                gap = abs(mine[f"{name}.{agent}"] - other) / max(abs(other), 1e-3)
                worst[f"{name}.{agent}"] = max(gap, worst.get(f"{name}.{agent}", 0.0))
    return worst


# --- arithmetic ----------------------------------------------------------------------------------------------------


def arithmetic(model: Model, economies: int, epochs: int, shared_once: bool) -> float:
    """Floating-point operations of the matrix products of an iteration: forward once and per epoch, backward per epoch.

    XLA's own count takes the body of a loop once. `shared_once`: what agents see alike enters once per economy.
    """
    total = 0.0
    for policy in networks_of(model).values():
        pairs = economies * model.ir.horizon
        samples = pairs * policy.agents
        width, last = policy.network[0], policy.network[-1]
        outputs = 1 + sum(head.choices * head.repeats for head in policy.heads)
        varying = policy.own if shared_once else policy.own + policy.fixed + policy.shared
        first = width * (varying * samples + (policy.shared * pairs if shared_once else 0))
        middle = sum(a * b for a, b in zip(policy.network[:-1], policy.network[1:], strict=True))
        rest = samples * (middle + last * outputs)
        forward, backward = 2 * (first + rest), 2 * (first + 2 * rest)
        total += forward * (1 + epochs) + backward * epochs
    return total


def peak(placement: Placement) -> float:
    """The best of several matrix products on all devices, in floating-point operations per second."""
    best = 0.0
    for size in (512, 1024, 2048):
        x = jnp.ones((size, size))

        def multiply(x: jax.Array) -> jax.Array:
            return jax.lax.fori_loop(0, 4, lambda _, y: x @ y * 1e-3, x)

        program = placement.program(multiply, (ALL,), ALL)
        (times,) = interleaved({"product": partial(program, placement.put(x, ALL))}, 5).values()
        best = max(best, placement.devices * 4 * 2 * size**3 / (min(times) * 1e-3))
    return best


def measure(economies: int = 128, network: str = "128,128", repeats: int = 3) -> list[Row]:
    """All rows of this benchmark."""
    command = [sys.executable, __file__, "--same", f"--economies={economies}", f"--network={network}"]
    done = subprocess.run(command, env={**os.environ, "JAX_ENABLE_X64": "1"}, check=True, stdout=subprocess.PIPE)
    rows = [
        Row(f"difference within {SAME_ITERATIONS} iterations: {name}", "relative", (gap,), "bound", (1e-5,))
        for name, gap in json.loads(done.stdout).items()
    ]
    ours, training = Ours(like_plain(economies, network)), plain.make_training(economies)
    whole = ours.whole()
    networks, optimizers = plain.initial(jax.random.key(0), tuple(int(n) for n in network.split(",")))
    key = jax.random.key(1)
    programs = {
        "iteration": (partial(whole, ours.state, 0), partial(jax.jit(training.iteration), networks, optimizers, key)),
        "rollout": (ours.rollout(), partial(jax.jit(training.rollout), networks, key)),
    }
    found = {}
    for part, (mine, theirs) in programs.items():
        times = interleaved({"rbcc": mine, "plain": theirs}, repeats)
        found[part] = times["rbcc"], times["plain"]
    label = f"{economies} economies, networks {network.replace(',', ' x ')}"
    rows.append(
        Row(f"training iteration, {label}", "ms", found["iteration"][0], "plain JAX PPO", found["iteration"][1])
    )
    rows.append(Row("its rollout", "ms", found["rollout"][0], "plain JAX PPO", found["rollout"][1]))
    update = [tuple(a - b for a, b in zip(found["iteration"][k], found["rollout"][k], strict=True)) for k in range(2)]
    rows.append(Row("its update (the rest)", "ms", update[0], "plain JAX PPO", update[1]))
    steps = economies * ours.model.ir.horizon
    rates = [tuple(steps / t for t in times) for times in found["iteration"]]
    rows.append(Row("steps of economies trained", "k/s", rates[0], "plain JAX PPO", rates[1]))
    work = [arithmetic(ours.model, economies, plain.EPOCHS, shared) for shared in (True, False)]
    rows.append(Row("matrix products of an iteration", "GFLOP", (work[0] / 1e9,), "plain JAX PPO", (work[1] / 1e9,)))
    best = peak(ours.placement)
    rows.append(Row("measured peak of matrix products", "GFLOP/s", (best / 1e9,)))
    shares = [
        tuple(100 * operations / best / (t * 1e-3) for t in times)
        for operations, times in zip(work, found["iteration"], strict=True)
    ]
    rows.append(Row("share of that peak", "%", shares[0], "plain JAX PPO", shares[1]))
    return rows


def main() -> None:
    parser = arguments(__doc__, economies=128, repeats=3)
    parser.add_argument("--network", default="128,128")
    parser.add_argument("--same", action="store_true", help="only compare losses")
    options = parser.parse_args()
    configure()
    if options.same:
        print(json.dumps(differences(options.economies, options.network)))
        return
    report(measure(options.economies, options.network, options.repeats), options.out)


if __name__ == "__main__":
    main()

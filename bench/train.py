"""Training iterations per second of a model, split into rollout, update and the rest.

    python3 bench/train.py [MODEL ...] [--economies N] [--network 128,128] [--repeats 10] [--block 4096]

Measured where all types learn (60 % of the first phase). "Rest" is what the whole iteration takes beyond a rollout and
the updates timed alone: schedules, advantages, metrics, and what the compiler does not overlap. `--block` changes how
many samples a gradient is accumulated over at a time.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp


sys.path.insert(0, str(Path(__file__).parent))
from timing import interleaved, spread

from rbcc.runtime import ppo
from rbcc.runtime.model import compile
from rbcc.runtime.ppo import batch_of, update
from rbcc.runtime.rollout import rollout, sampling
from rbcc.runtime.schedule import iteration
from rbcc.runtime.train import initial_state, networks_of, stretch


ITERATIONS = 10


def measure(name: str, economies: int | None, network: str | None, repeats: int) -> None:
    overrides: dict[str, object] = {}
    if economies:
        first = next(iter(compile(name).ir.phases)).name
        overrides[f"training.phases.{first}.economies"] = economies
    if network:
        overrides["training.default.network"] = f"[{network}]"
    model = compile(name, overrides)
    phase, nets = model.ir.phases[0], networks_of(model)
    state, key = initial_state(model, 0), jax.random.key(0)
    number = jnp.int32(0.6 * phase.iterations)
    whole = stretch(model, phase)
    began = time.perf_counter()
    jax.block_until_ready(whole(state, key, number, jnp.int32(1)))
    compiling = time.perf_counter() - began

    @jax.jit
    def play(networks: Any, key: jax.Array) -> Any:
        now = iteration(model, phase, nets, number)
        players = {agent: sampling(policy, networks[agent], now.masks[agent]) for agent, policy in nets.items()}
        return rollout(model, nets, players, key, phase.economies, now.parameters)

    @jax.jit
    def learn(networks: Any, optimizers: Any, played: Any) -> Any:
        now, results = iteration(model, phase, nets, number), []
        for settings in phase.learners:
            agent, values = settings.agent, now.settings[settings.agent]
            rewards = played.rewards[agent] / values["reward_scale"]
            batch = batch_of(played.records[agent], rewards, model.module.discounts()[agent], values["gae"])
            results.append(
                update(
                    nets[agent], settings.algorithm, settings.epochs, values, networks[agent], optimizers[agent], batch,
                    now.masks[agent],
                )
            )  # fmt: skip
        return results

    played = play(state.networks, key)
    times = interleaved(
        {
            "whole": lambda: whole(state, key, number, jnp.int32(ITERATIONS)),
            "rollout": lambda: play(state.networks, key),
            "update": lambda: learn(state.networks, state.optimizers, played),
        },
        repeats,
    )
    times["whole"] = [t / ITERATIONS for t in times["whole"]]
    middle = {part: statistics.median(values) for part, values in times.items()}
    rest = middle["whole"] - middle["rollout"] - middle["update"]
    agents = sum(policy.agents for policy in nets.values())
    steps = agents * phase.economies * model.ir.horizon
    print(f"{name}: {phase.economies} economies, {agents} learning agents, networks {phase.learners[0].network}")
    for part in ("whole", "rollout", "update"):
        print(f"  {part:<8} {spread(times[part])}")
    print(f"  rest     {rest * 1e3:.3f} ms")
    print(f"  {1 / middle['whole']:.1f} iterations/s, {steps / middle['whole'] / 1e3:,.0f} k agent-steps/s trained")
    print(f"  first call, with compilation: {compiling:.1f} s; {jax.devices()[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["open_rbc", "open_rbc_small"])
    parser.add_argument("--economies", type=int)
    parser.add_argument("--network")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--block", type=int, default=ppo.BLOCK)
    options = parser.parse_args()
    ppo.BLOCK = options.block
    for name in options.models:
        measure(name, options.economies, options.network, options.repeats)


if __name__ == "__main__":
    main()

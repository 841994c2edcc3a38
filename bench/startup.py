"""From nothing to the first iteration: compilation, cold and from the cache, and the memory at its peak.

    python3 bench/startup.py [--repeats 3]

Each measurement is a process of its own. rbcc's program is that of the first phase of open_rbc as shipped; for memory
both train 128 economies with networks of 2 x 128. Cold means an empty cache of compiled programs.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from argparse import SUPPRESS
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).parent))
from timing import Row, arguments, report


def child(what: str, economies: int | None) -> dict[str, float]:
    """Compiles and runs one program; seconds of each part, and GiB."""
    import jax
    import jax.numpy as jnp
    import plain
    from training import Ours, like_plain

    from rbcc.runtime.parallel.devices import ALL, configure
    from rbcc.runtime.training.loop import stretch

    program: Any
    arguments: tuple[Any, ...]
    if what == "rbcc":
        configure()
        ours = Ours(like_plain(economies, "128,128") if economies else {})
        run = stretch(ours.model, ours.phase, ours.placement.share)
        program = ours.placement.program(run, (ALL,) * 4, (ALL, ALL), donate=(0,))
        arguments = (ours.state, ours.key, jnp.int32(0), jnp.int32(1))
    else:
        networks = plain.initial(jax.random.key(0), (128, 128) if economies else (64, 64))
        program = jax.jit(plain.make_training(economies or 8).iteration, donate_argnums=(0, 1))
        arguments = (*networks, jax.random.key(1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    traced = program.trace(*arguments)
    tracing = time.perf_counter()
    lowered = traced.lower()
    lowering = time.perf_counter()
    compiled = lowered.compile()
    end = time.perf_counter()
    if economies:
        jax.block_until_ready(compiled(*arguments))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "trace": tracing - began,
        "lower": lowering - tracing,
        "compile": end - lowering,
        "all": end - began,
        "memory": (after - before) / 2**20,
    }


def run(what: str, economies: int | None, cache: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", what, *(["--economies", str(economies)] if economies else [])]
    # A cache of its own, kept from the first call on: what is measured first is cold, what comes next is not.
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(repeats: int = 3) -> list[Row]:
    """All rows of this benchmark."""
    cold, cached, plainly, memory = [], [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(run("rbcc", None, cache)["all"])
            cached.append(run("rbcc", None, cache)["all"])
            plainly.append(run("plain", None, cache)["all"])
            memory.append([run(what, 128, cache)["memory"] for what in ("rbcc", "plain")])
    ours, theirs = zip(*memory, strict=True)
    return [
        Row(
            "training program of open_rbc, cold: trace, lower, compile",
            "s",
            tuple(cold),
            "plain JAX PPO",
            tuple(plainly),
        ),
        Row("the same from the cache", "s", tuple(cached), "cold", tuple(cold)),
        Row("peak memory, 128 economies, networks 128 x 128", "GiB", ours, "plain JAX PPO", theirs),
    ]


def main() -> None:
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--child", choices=["rbcc", "plain"], help=SUPPRESS)
    parser.add_argument("--economies", type=int, help=SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child, options.economies)))
    else:
        report(measure(options.repeats), options.out)


if __name__ == "__main__":
    main()

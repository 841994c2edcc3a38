"""The bits of `rbcc.runtime.prng` for a battery of tests, as a rollout draws them.

    python3 experiments/noise.py | dieharder -a -g 200

Writes the numbers of one iteration after another: a key for each step, type and economy, and an array of 12 draws for
each of 100 agents from each. `--one-key` writes the numbers of a single key after another, 2^22 from each.
"""

import argparse
import sys

import jax

from rbcc.runtime import prng


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one-key", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    root = prng.key(options.seed)

    @jax.jit
    def rollout(iteration: jax.Array) -> jax.Array:
        key = jax.random.fold_in(root, iteration)
        if options.one_key:
            return jax.random.bits(key, (2**22,))
        steps = jax.vmap(lambda step: jax.random.fold_in(key, step))(jax.numpy.arange(10))
        economies = jax.vmap(lambda step: jax.vmap(lambda e: jax.random.fold_in(step, e))(jax.numpy.arange(128)))(steps)
        return jax.vmap(jax.vmap(lambda k: jax.random.bits(k, (12, 100)), out_axes=1))(economies)

    iteration = 0
    try:
        while True:
            sys.stdout.buffer.write(jax.device_get(rollout(iteration)).tobytes())
            iteration += 1
    except BrokenPipeError:
        sys.stderr.close()


if __name__ == "__main__":
    main()

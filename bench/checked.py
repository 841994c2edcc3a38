"""What `rbcc train --checked` costs: an iteration with all checks in every step against one without.

    python3 bench/checked.py [--repeats 10] [--iterations 5]

The first phase of each model as shipped, on all cores, as the command trains it.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp


sys.path.insert(0, str(Path(__file__).parent))
from timing import Row, arguments, interleaved, report

from rbcc.runtime import prng
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.parallel.devices import ALL, configure, place
from rbcc.runtime.training.loop import initial_state, stretch
from rbcc.runtime.validation.conditions import Checks


MODELS = ("open_rbc_small", "open_rbc")


def program(model: Model, checks: Checks | None, iterations: int) -> Callable[[], Any]:
    """A stretch of the model's first phase, always from the same networks."""
    phase = model.ir.phases[0]
    placement = place([phase.economies])
    state, key = placement.put((initial_state(model, 0), prng.bare(prng.key(0))), ALL)
    run = stretch(model, phase, placement.share, checks)
    compiled = placement.program(run, (ALL,) * 4, (ALL,) * (3 if checks else 2))
    return lambda: compiled(state, key, jnp.int32(0), jnp.int32(iterations))


def measure(repeats: int = 10, iterations: int = 5) -> list[Row]:
    """All rows of this benchmark."""
    rows = []
    for name in MODELS:
        model = compile(name)
        programs = {"off": program(model, None, iterations), "on": program(model, Checks(model), iterations)}
        found = interleaved(programs, repeats)
        off, on = (tuple(time / iterations for time in found[which]) for which in ("off", "on"))
        rows.append(Row(f"iteration of {name}", "ms", off, "with --checked", on))
    return rows


def main() -> None:
    options = arguments(__doc__, repeats=10, iterations=5).parse_args()
    configure()
    report(measure(options.repeats, options.iterations), options.out)


if __name__ == "__main__":
    main()

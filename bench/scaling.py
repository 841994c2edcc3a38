"""What training costs against the number of economies, and of agents of each type, as a table and a plot.

    python3 bench/scaling.py [--largest 100000] [--plot docs/scaling.png]

open_rbc with its networks of 2 x 64; one iteration in which all types learn. Agent-steps count the agents of the type
that grows, so that time per agent-step is flat where cost is linear. Memory is what XLA reserves on all devices.
"""

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp


sys.path.insert(0, str(Path(__file__).parent))
from timing import Row, arguments, interleaved, report
from training import Ours

from rbcc.runtime.parallel.devices import ALL, configure, memory
from rbcc.runtime.training.loop import stretch


REPEATS = 3
ECONOMIES = (8, 32, 128, 512)
CONSUMERS = (100, 1000, 10_000, 100_000, 1_000_000)
FIRMS = (10, 100, 1000)


@dataclass(frozen=True)
class Cost:
    """Of an iteration: milliseconds, their share of an agent and step in nanoseconds, and memory in GiB."""

    number: int
    times: tuple[float, ...]
    each: tuple[float, ...]
    memory: float


def cost(number: int, agent: str, economies: int, overrides: dict[str, object]) -> Cost:
    ours = Ours({"training.phases.explore.economies": economies, **overrides})
    program = ours.placement.program(stretch(ours.model, ours.phase, ours.placement.share), (ALL,) * 4, (ALL, ALL))
    where = jnp.int32(0.6 * ours.phase.iterations)
    compiled: Any = program.lower(ours.state, ours.key, where, jnp.int32(1)).compile()
    (times,) = interleaved({"": lambda: compiled(ours.state, ours.key, where, jnp.int32(1))}, REPEATS).values()
    steps = ours.model.ir.count(agent) * economies * ours.model.ir.horizon
    return Cost(number, times, tuple(1e6 * t / steps for t in times), memory(compiled) * ours.placement.devices / 2**30)


def costs(largest: int) -> dict[str, list[Cost]]:
    """Against each number, with what else is held fixed in the name."""
    return {
        "economies of 100 consumers and 10 firms": [cost(n, "consumer", n, {}) for n in ECONOMIES],
        "consumers, 2 economies of 10 firms": [
            cost(n, "consumer", 2, {"agents.consumer.count": n}) for n in CONSUMERS if n <= largest
        ],
        "firms, 2 economies of 100 consumers": [cost(n, "firm", 2, {"agents.firm.count": n}) for n in FIRMS],
    }


def measure(largest: int = 100_000, plot: Path | None = None) -> list[Row]:
    """All rows of this benchmark; draws them too, into `plot`."""
    found = costs(largest)
    if plot:
        draw(found, plot)
    rows = []
    for name, series in found.items():
        for one in series:
            rows.append(Row(f"{one.number:,} {name}: iteration", "ms", one.times))
            rows.append(
                Row(f"{one.number:,} {name}: agent-step", "ns", one.each, f"at {series[0].number:,}", series[0].each)
            )
            rows.append(Row(f"{one.number:,} {name}: memory", "GiB", (one.memory,)))
    return rows


def draw(found: dict[str, list[Cost]], path: Path) -> None:
    """Time and memory of an iteration against each number, on logarithmic axes; a line of slope one is linear cost."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(found), figsize=(3.6 * len(found), 5.2), sharex="col", sharey="row", squeeze=False
    )
    for column, (name, series) in enumerate(found.items()):
        numbers = [one.number for one in series]
        for row, values in enumerate(
            ([statistics.median(one.times) for one in series], [one.memory for one in series])
        ):
            axis = axes[row][column]
            axis.loglog(numbers, values, "o-", color="#2166ac")
            linear = [values[-1] * n / numbers[-1] for n in numbers]
            axis.loglog(numbers, linear, ":", color="#888888", label="linear")
            axis.grid(alpha=0.3)
        axes[0][column].set_title(name, fontsize=9)
    axes[0][0].set_ylabel("iteration, ms")
    axes[1][0].set_ylabel("memory, GiB")
    axes[0][0].legend(frameon=False)
    figure.suptitle(f"Training open_rbc on {jax.local_device_count()} {jax.devices()[0].platform} devices", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--largest", type=int, default=100_000, help="most consumers")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    configure()
    report(measure(options.largest, options.plot), options.out)


if __name__ == "__main__":
    main()

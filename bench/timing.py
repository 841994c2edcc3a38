"""Timing programs fairly, and what benchmarks print: rows of one table, and the same as JSON."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax


@dataclass(frozen=True)
class Row:
    """One measurement, `values` of repeats in `unit`, beside those of an alternative in the same run, if any."""

    what: str
    unit: str
    values: tuple[float, ...]
    alternative: str = ""
    others: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """The alternative's median over ours."""
        return statistics.median(self.others) / self.median if self.others else None

    def cells(self) -> list[str]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return [self.what, _spread(self.values), self.unit, self.alternative, _spread(self.others), ratio]


def _spread(values: Sequence[float]) -> str:
    """Median and range."""
    if not values:
        return ""
    middle = f"{statistics.median(values):,.4g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.4g} to {max(values):,.4g})"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [["measured", "rbcc", "unit", "alternative", "its figure", "its / ours"]]
    lines += [row.cells() for row in rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def arguments(description: str | None, **numbers: int) -> argparse.ArgumentParser:
    """The command line of a benchmark: `numbers` with their defaults, and what all have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, help="a JSON file for the same")
    return parser


def report(rows: Sequence[Row], out: Path | None) -> None:
    """Prints the rows; writes them as JSON, with what they were measured on."""
    print(table(rows))
    if out:
        device = jax.devices()[0]
        kind = f"{jax.local_device_count()} x {device.device_kind}"
        entries = [{**asdict(row), "median": row.median, "ratio": row.ratio} for row in rows]
        out.write_text(json.dumps({"jax": jax.__version__, "devices": kind, "rows": entries}, indent=1) + "\n")


def interleaved(programs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, ...]]:
    """Milliseconds per call of each program; the programs take turns, so that a noisy machine disturbs all alike."""
    for program in programs.values():
        jax.block_until_ready(program())
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            began = time.perf_counter()
            jax.block_until_ready(program())
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: tuple(values) for name, values in times.items()}

"""Timing two or more programs fairly: warmed up, interleaved, medians."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def interleaved(programs: Mapping[str, Callable[[], Any]], repeats: int = 50) -> dict[str, list[float]]:
    """Seconds per call of each program; the programs take turns, so that a noisy machine disturbs all alike."""
    for program in programs.values():
        jax.block_until_ready(program())
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            began = time.perf_counter()
            jax.block_until_ready(program())
            times[name].append(time.perf_counter() - began)
    return times


def spread(times: list[float]) -> str:
    """Median and quartiles in milliseconds."""
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle * 1e3:.3f} ms ({low * 1e3:.3f} to {high * 1e3:.3f})"

"""Means of episodes: their errors, one-sided bounds and tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import stdtr, stdtrit


CONFIDENCE = 0.95
# With fewer effective episodes Student's t gives bounds that are too narrow (`experiments/README.md`).
MANY = 30


ROUNDING = 1e-6
"""What a share of a payoff is nothing but rounding in single precision."""


def changes(played: np.ndarray, base: np.ndarray) -> np.ndarray:
    """By how much payoffs differ from finite ones, of the same shape; what is nothing but rounding is 0."""
    found = played - base
    rounding = np.isfinite(played) & (np.abs(found) <= ROUNDING * np.maximum(np.abs(played), np.abs(base)))
    return np.where(rounding, 0.0, found)


@dataclass(frozen=True)
class Mean:
    """The mean of a sample, its standard error, and the `freedom` (degrees of it) that this is known with.

    Bounds and tests take it to be distributed by Student's t; where the variance is that of a few episodes only, they
    rest on Cantelli's inequality, which holds for every distribution of a known variance. `effective` is the number of
    episodes, all equally far from the mean, among which that variance would be as concentrated as it is, None without
    any variance.
    """

    value: float
    error: float
    freedom: int
    effective: float | None

    @classmethod
    def of(cls, sample: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """Of a sample, (episodes,), or of several that count alike: `groups`, (episodes,), tells which they are of.

        What groups differ in is not an error then. Where one has a single episode, all are one sample.
        """
        _, where, counts = np.unique(
            np.zeros(len(sample)) if groups is None else groups, return_inverse=True, return_counts=True
        )
        if counts.min() < 2:
            where, counts = np.zeros_like(where), np.array([len(sample)])
        means = np.bincount(where, sample) / counts
        squares = ((sample - means[where]) ** 2) / (counts * (counts - 1))[where]  # they sum to the variance of the sum
        effective = float(squares.sum() ** 2 / (squares**2).sum()) if squares.any() else None
        error = math.sqrt(squares.sum()) / len(counts)
        return cls(float(means.mean()), error, len(sample) - len(counts), effective)

    @property
    def few(self) -> bool:
        """Whether a few episodes decide on it."""
        return self.effective is not None and self.effective < MANY

    @property
    def opposite(self) -> Self:
        """That of the numbers with the other sign."""
        return replace(self, value=-self.value)

    def doubt(self, at_zero: float = 1.0) -> float:
        """The p-value of what contradicts a positive mean; `at_zero` is that of a sample of nothing but zeros."""
        if self.error == 0:
            return 0.0 if self.value > 0 else at_zero if self.value == 0 else 1.0
        score = self.value / self.error
        if self.few:
            return 1 / (1 + score**2) if score > 0 else 1.0
        return float(stdtr(self.freedom, -score))

    def width(self, level: float) -> float:
        """Half of the width of a one-sided bound, that fails with the probability `level`."""
        return self.error * (math.sqrt(1 / level - 1) if self.few else float(stdtrit(self.freedom, 1 - level)))

    def lower(self, level: float) -> float:
        return self.value - self.width(level)

    def upper(self, level: float) -> float:
        return self.value + self.width(level)


def holm(doubts: Sequence[float], level: float = 1 - CONFIDENCE) -> list[bool]:
    """Which of several hypotheses are rejected, by their p-values; with probability `level` at most a true one too.

    The smallest p-value is compared with level / n, the next with level / (n - 1), and so on up to the first that is
    larger (Holm 1979).
    """
    rejected = [False] * len(doubts)
    for rank, number in enumerate(sorted(range(len(doubts)), key=lambda k: doubts[k])):
        if doubts[number] > level / (len(doubts) - rank):
            break
        rejected[number] = True
    return rejected

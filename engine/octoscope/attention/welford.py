"""Squared deviations from the mean (M2) of parts of the cells, merged; no raw sum of squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Spread of each pair's value over some cells.

    Attributes
    ----------
    n
        [...] cells that hold the pair.
    total
        [...] sum of the values, float64.
    m2
        [...] sum of squared deviations from their mean, float64.
    """

    n: np.ndarray
    total: np.ndarray
    m2: np.ndarray

    def merge(self, other: Spread) -> Spread:
        """Return the spread of both parts together (Chan, Golub, LeVeque 1983)."""
        a, b = self.n.astype(np.float64), other.n.astype(np.float64)
        gap = other.total / np.maximum(b, 1) - self.total / np.maximum(a, 1)
        between = np.where((a > 0) & (b > 0), gap**2 * a * b / np.maximum(a + b, 1), 0)
        return Spread(self.n + other.n, self.total + other.total, self.m2 + other.m2 + between)

    def deviation(self) -> np.ndarray:
        """Return the standard deviation over cells (n - 1), float32; NaN below two cells."""
        by = np.maximum(self.n - 1, 1)
        deviation = np.sqrt(np.maximum(self.m2, 0) / by)
        return np.where(self.n > 1, deviation, np.nan).astype(np.float32)

"""Strata of pairs of vertices by a control, by degree and by expression level."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from octoscope.analysis.controlled.bins import GRID, LEAST, PER_OCTAVE_OF_LEVEL, tail_bins

HALVES = ("half 0", "half 1")


@dataclass(frozen=True)
class Strata:
    """What stratum a pair is in.

    Attributes
    ----------
    bins
        By refinement and half, [GRID + 1] bin of each step of the control's range.
    log_degree
        [vertices] float64.
    level
        [vertices] float64 steps of the expression grid.
    level_bins
        [LEVELS] bin of each step.
    rarer
        The level of a pair is that of its rarer gene; otherwise the mean of both.
    wider
        How many bins of degree are one, see :func:`log_degree`.
    """

    bins: dict[str, np.ndarray]
    log_degree: np.ndarray
    level: np.ndarray
    level_bins: np.ndarray
    rarer: bool
    wider: int = 1

    @property
    def degree_bins(self) -> int:
        """Bins of degree."""
        return int(np.floor(4 * self.log_degree.max(initial=0) + 1e-9)) // self.wider + 1

    @property
    def n_levels(self) -> int:
        """Bins of the expression level."""
        return int(self.level_bins.max(initial=0)) + 1

    def levels(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return [pairs] expression level."""
        a, b = self.level[u], self.level[v]
        return np.minimum(a, b) if self.rarer else (a + b) / 2

    def degrees(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return [pairs] log2 of the product of both degrees, each plus one."""
        return np.asarray(self.log_degree[u] + self.log_degree[v])

    def base(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return [pairs] stratum of degree and level."""
        degree = np.floor(2 * self.degrees(u, v) + 1e-9).astype(np.int64)
        degree //= self.wider
        return degree * self.n_levels + self.level_bins[self.levels(u, v).astype(np.int64)]

    def of(self, table: str, values: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return [pairs] stratum of control, degree and level in one of the tables.

        Parameters
        ----------
        values
            [3, pairs] float32 the control in half 0, in half 1 and in all cells.
        base
            [pairs] of :meth:`base`.
        """
        part = HALVES.index(table) if table in HALVES else 2
        step = ((values[part].astype(np.float64) + 1) * (GRID / 2)).astype(np.int64)
        return self.bins[table][step] * (self.degree_bins * self.n_levels) + base

    def coarser(self, levels: np.ndarray, wider: int, share: float) -> Strata:
        """Return fewer strata, each made of some of these.

        Parameters
        ----------
        levels
            [LEVELS] pairs at each step of the expression level.
        wider
            How many bins of degree are one.
        share
            Least share of all pairs in an extreme bin of the level.
        """
        least = max(LEAST, int(share * levels.sum()))
        of_step = tail_bins(levels, PER_OCTAVE_OF_LEVEL, least)
        return replace(self, level_bins=of_step, wider=wider)

    def part_of(self, coarse: Strata) -> np.ndarray:
        """Return [strata of degree and level] the stratum of :meth:`coarser` that holds each."""
        first = np.unique(self.level_bins, return_index=True)[1]
        degree = np.arange(self.degree_bins) // coarse.wider
        return np.asarray(degree[:, None] * coarse.n_levels + coarse.level_bins[first]).reshape(-1)


def added(counts: np.ndarray, to: np.ndarray, axis: int) -> np.ndarray:
    """Return counts with strata along an axis added up to the strata ``to`` that hold them."""
    if len(to) == int(to.max()) + 1:
        return counts
    order = np.argsort(to, kind="stable")
    starts = np.flatnonzero(np.diff(to[order], prepend=-1))
    return np.add.reduceat(counts.take(order, axis), starts, axis)

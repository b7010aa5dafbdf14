"""Observed over expected edges of a list, from no control to all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy

from octoscope.analysis import statistics
from octoscope.analysis.controlled.bins import GRID, USED, tail_groups
from octoscope.analysis.controlled.gene_effects import NOT_ELIGIBLE, GeneEffects, PairBins, fit
from octoscope.analysis.controlled.universe import Blocks, Universe
from octoscope.analysis.vertex_pairs import VertexPairs

RUNGS = ("all", "degree", "expression", "coexpression", "pairwise")


@dataclass(frozen=True)
class Ratio:
    """Observed over expected edges of a list.

    Attributes
    ----------
    expected
        Expected share of edges among the listed pairs.
    value, low, high
        Observed over expected edges with its 95 % interval; NaN: undefined.
    """

    expected: float
    value: float
    low: float
    high: float


def ratio(edge: np.ndarray, probability: np.ndarray, u: np.ndarray, v: np.ndarray) -> Ratio:
    """Return the ratio of observed and expected edges, with an interval on the log scale.

    Two pairs that share a vertex depend on each other: the variance is that of the sum of edge -
    ratio * probability by :func:`~octoscope.analysis.statistics.dyadic_variance`. The quantile is
    that of Student's t with one degree of freedom less than observed edges. Expected edges are
    taken as known.

    Parameters
    ----------
    edge
        [pairs] bool.
    probability
        [pairs] expected.
    u, v
        [pairs] vertices of distinct pairs.
    """
    observed, expected = float(edge.sum()), float(probability.sum())
    rate = expected / len(edge) if len(edge) else float("nan")
    if not expected > 0 or not observed:
        value = observed / expected if expected > 0 else float("nan")
        return Ratio(rate, value, float("nan"), float("nan"))
    value = observed / expected
    variance = statistics.dyadic_variance(edge - value * probability, u, v)
    half = scipy.stats.t.ppf(0.975, max(observed - 1, 1)) * np.sqrt(variance) / observed
    return Ratio(rate, value, float(value * np.exp(-half)), float(value * np.exp(half)))


@dataclass(frozen=True)
class FittedLadder:
    """Models of the edges of all pairs, each with one more control.

    Attributes
    ----------
    universe
        The pairs.
    bins
        Bins of all of them.
    degree, expression, coexpression, pairwise
        Gene effects alone; with bins of the expression level; with bins of co-expression too; with
        cells of both levels and of both degrees too.
    """

    universe: Universe
    bins: PairBins
    degree: GeneEffects
    expression: GeneEffects
    coexpression: GeneEffects
    pairwise: GeneEffects

    def ratios(self, u: np.ndarray, v: np.ndarray) -> tuple[Ratio, ...]:
        """Return the ratios of a list's pairs [pairs], in the order of ``RUNGS``."""
        pairs, strata = self.universe.pairs, self.universe.strata
        edge = pairs.adjacency[u, v]
        every = np.full(len(u), pairs.n_edges / max(pairs.n_pairs, 1))
        level = strata.level_bins[strata.levels(u, v).astype(np.int64)]
        control = self.bins.control[u, v].astype(np.int64)
        cells = self.bins.cells(u, v)
        models = (self.degree, self.expression, self.coexpression, self.pairwise)
        fitted = (m.probability(u, v, level, control, cells) for m in models)
        return tuple(ratio(edge, p, u, v) for p in (every, *fitted))


def fit_ladder(
    universe: Universe, blocks: Blocks, earlier: FittedLadder | None = None
) -> FittedLadder:
    """Fit the models of the edges of all pairs.

    Parameters
    ----------
    blocks
        Reads the control, as it was read for the universe.
    earlier
        Models under another control of the same pairs: those without co-expression are the same.
    """
    pairs, strata = universe.pairs, universe.strata
    groups = np.stack([tail_groups(strata.level), tail_groups(pairs.degree)])
    bins = PairBins(
        _bins_of_pairs(universe, blocks), strata.level, strata.level_bins, strata.rarer, groups
    )
    every = np.array([pairs.n_edges])
    by_level = universe.base.edges.reshape(-1, strata.n_levels).sum(0)
    by_control = universe.counts[USED].edges.reshape(-1, len(universe.base.edges)).sum(1)
    if earlier is None:
        degree = fit(bins, pairs.degree, every, every)
        expression = fit(bins, pairs.degree, by_level, every, degree)
    else:
        degree, expression = earlier.degree, earlier.expression
    coexpression = fit(bins, pairs.degree, by_level, by_control, expression)
    pairwise = fit(
        bins, pairs.degree, by_level, by_control, coexpression, _edges_by_cell(pairs, bins)
    )
    return FittedLadder(universe, bins, degree, expression, coexpression, pairwise)


def _edges_by_cell(pairs: VertexPairs, bins: PairBins) -> np.ndarray:
    """Return [2, cells] edges by cells of both levels and of both degrees."""
    cell_of = bins.cell_of
    n = int(cell_of.max()) + 1
    edges = np.zeros((2, n), np.int64)
    for row, (eligible, joined) in enumerate(zip(pairs.eligible, pairs.adjacency, strict=True)):
        others = row + 1 + np.flatnonzero((eligible & joined)[row + 1 :])
        for of, group in zip(edges, bins.groups, strict=True):
            of += np.bincount(cell_of[group[row], group[others]], minlength=n)
    return edges


def _bins_of_pairs(universe: Universe, blocks: Blocks) -> np.ndarray:
    """Return [vertices, vertices] uint8 bins of co-expression; those of the upper half count."""
    eligible, of_step = universe.pairs.eligible, universe.strata.bins[USED]
    assert of_step.max(initial=0) < NOT_ELIGIBLE  # some 180 bins at 18,000 genes
    of_step = of_step.astype(np.uint8)
    out = np.full(eligible.shape, NOT_ELIGIBLE, np.uint8)
    for rows, upper in _steps(blocks):
        out[rows] = np.where(eligible[rows], of_step[upper], NOT_ELIGIBLE)
    for row in range(1, len(out)):  # both directions alike, as they were counted
        out[row, :row] = out[:row, row]
    return out


def _steps(blocks: Blocks) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for rows, values in blocks():
        yield rows, ((values[2].astype(np.float64) + 1) * (GRID / 2)).astype(np.int64)

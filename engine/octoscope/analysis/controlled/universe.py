"""All pairs of a category by stratum of one control, counted once for every list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.controlled.bins import (
    COARSER,
    GRID,
    LEVELS,
    PER_OCTAVE_OF_LEVEL,
    REFINEMENTS,
    USED,
    joint_bins,
    level_steps,
    log_degree,
    tail_bins,
)
from octoscope.analysis.controlled.control_strata import HALVES, Strata, added
from octoscope.analysis.controlled.counting import add_counts, add_histograms
from octoscope.analysis.controlled.mantel_haenszel import StratumCounts
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.pairs import pair_codes

# (vertices of the rows, [half 0, half 1, all cells; rows; vertices] float32), in any order
Blocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
MOST_VERTICES = 2000  # with more, groups of vertices are deleted instead of single ones
MOST_BYTES = 256 << 20  # of counts by stratum and vertex; with more, groups too
GROUPS = 200


@dataclass(frozen=True)
class Universe:
    """Pairs of vertices by stratum of a control, of degree and of expression level.

    Attributes
    ----------
    pairs
        The pairs that the matrix can list and the control knows.
    strata
        What stratum a pair is in.
    group
        [vertices] jackknife group.
    codes, values
        [pairs] sorted codes of the pairs that lists hold and of those that were sampled, and
        [3, pairs] float32 the control's values of them in half 0, in half 1 and in all cells.
    counts
        By refinement (``quarter`` is the one in use), and for ``half 0`` and ``half 1``.
    base
        Counts by degree and level alone.
    reliability
        Spearman-Brown of the correlation of the control's halves over all pairs.
    deviations
        [3] standard deviation of control, log degree and level over all pairs.
    coarser
        The same pairs in fewer strata of degree and level, the fewest first.
    """

    pairs: VertexPairs
    strata: Strata
    group: np.ndarray
    codes: np.ndarray
    values: np.ndarray
    counts: dict[str, StratumCounts]
    base: StratumCounts
    reliability: float
    deviations: np.ndarray
    coarser: tuple[Universe, ...] = ()

    def values_at(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return [3, pairs] the control's values of pairs that lists hold, or of sampled ones."""
        return self.values[:, np.searchsorted(self.codes, pair_codes(u, v, len(self.pairs)))]


def count_universe(
    pairs: VertexPairs,
    blocks: Blocks,
    expression: np.ndarray,
    codes: np.ndarray,
    *,
    rarer: bool,
    seed: int = 0,
    sampled: np.ndarray | None = None,
) -> Universe:
    """Count all pairs by stratum, in two passes over the control.

    Parameters
    ----------
    pairs
        The pairs that the matrix can list and the control knows.
    blocks
        Reads the control.
    expression
        [vertices] float64 mean log expression.
    codes
        Sorted codes of every pair that a list will hold, see :func:`pair_codes`.
    rarer
        Bin pairs by the level of their rarer gene instead of the mean of both.
    seed
        Of the jackknife groups where there are too many vertices to delete one at a time.
    sampled
        Codes of further pairs whose values will be asked for.
    """
    n, of_lists = len(pairs), codes
    if sampled is not None:
        codes = np.union1d(codes, sampled)
    degrees, level = log_degree(pairs.degree), level_steps(expression)
    steps, levels = np.zeros((3, GRID + 1), np.int64), np.zeros(LEVELS, np.int64)
    moments, values = np.zeros(12), np.zeros((3, len(codes)), np.float32)
    row_of, column_of = codes // max(n, 1), codes % max(n, 1)
    for rows, block in blocks():
        add_histograms(block, rows, pairs.eligible, degrees, level, rarer, steps, levels, moments)
        here = np.full(n, -1)
        here[rows] = np.arange(len(rows))
        at = np.flatnonzero(here[row_of] >= 0)
        values[:, at] = block[:, here[row_of[at]], column_of[at]]
    bins = {name: tail_bins(steps[2], per) for name, per in REFINEMENTS.items()}
    bins |= {name: tail_bins(steps[h], REFINEMENTS[USED]) for h, name in enumerate(HALVES)}
    strata = Strata(bins, degrees, level, tail_bins(levels, PER_OCTAVE_OF_LEVEL), rarer)
    ways = [strata, *(strata.coarser(levels, *way) for way in COARSER)]
    known = values, row_of, column_of
    if sampled is not None:
        keep = np.isin(codes, of_lists)
        known = values[:, keep], row_of[keep], column_of[keep]
    listed = [np.unique(w.of(USED, known[0], w.base(*known[1:]))) for w in ways]
    group = np.arange(n)
    if n > MOST_VERTICES or 8 * n * sum(map(len, listed)) > MOST_BYTES:
        group = np.random.default_rng(seed).permutation(n) % GROUPS
    of_halves = statistics.PairMoments(moments[:6], np.zeros((6, 0)))
    total = max(moments[0], 1)
    spread = moments[7::2] / total - (moments[6::2] / total) ** 2
    reliability = statistics.spearman_brown(statistics.correlation(of_halves)[0])
    deviations = np.sqrt(np.maximum(spread, 0))
    first, *others = (
        Universe(pairs, way, group, codes, values, *counted, reliability, deviations)
        for way, counted in zip(ways, _count(pairs, blocks, ways, listed, group), strict=True)
    )
    return replace(first, coarser=tuple(others))


def _count(
    pairs: VertexPairs,
    blocks: Blocks,
    ways: list[Strata],
    listed: list[np.ndarray],
    group: np.ndarray,
) -> Iterator[tuple[dict[str, StratumCounts], StratumCounts]]:
    """Yield for each way the tables of counts, and those by degree and level alone.

    Parameters
    ----------
    ways
        The narrowest strata, and others that are made of these.
    listed
        For each way, the strata of the table in use that lists have pairs in; only these are
        counted by jackknife group.
    """
    strata = ways[0]
    joint, part_of = joint_bins({name: strata.bins[name] for name in REFINEMENTS})
    half_bins = np.stack([strata.bins[name] for name in HALVES])
    n_groups, n_base = int(group.max(initial=0)) + 1, strata.degree_bins * strata.n_levels
    n_joint = len(part_of[USED])
    merged = [strata.part_of(way) for way in ways]
    rows_of, slot = [], np.empty((n_joint * n_base, len(ways)), np.int32)
    starts = np.cumsum([0, *map(len, listed)])
    for i, (way, of_way) in enumerate(zip(ways, listed, strict=True)):
        n_of_way = way.degree_bins * way.n_levels
        row = np.full((int(part_of[USED].max()) + 1) * n_of_way, -1)
        row[of_way] = np.arange(len(of_way))
        rows_of.append(row)
        of_narrow = row.reshape(-1, n_of_way)[part_of[USED]][:, merged[i]].reshape(-1)
        slot[:, i] = np.where(of_narrow >= 0, of_narrow + starts[i], -1)
    totals = np.zeros((n_joint * n_base, 5))
    of_halves = np.zeros((2, (int(half_bins.max()) + 1) * n_base, 2), np.int64)
    by_slot = np.zeros((2, max(starts[-1], 1), n_groups), np.int32)
    by_base = np.zeros((2, n_base, n_groups), np.int32)
    for rows, block in blocks():
        add_counts(
            block, rows, pairs.eligible, pairs.adjacency, joint, half_bins, strata.degree_bins,
            strata.log_degree, strata.level, strata.level_bins, strata.n_levels, strata.rarer,
            totals, of_halves, slot, group, *by_slot, *by_base,
        )  # fmt: skip
    summed = {}
    for name, part in part_of.items():
        summed[name] = np.zeros((int(part.max()) + 1, n_base, 5))
        for of_bin, to in zip(totals.reshape(n_joint, n_base, 5), part, strict=True):
            summed[name][to] += of_bin
    for name, counted in zip(HALVES, of_halves, strict=True):
        summed[name] = np.pad(counted.reshape(-1, n_base, 2), ((0, 0), (0, 0), (0, 3)))
    for i, (row, to) in enumerate(zip(rows_of, merged, strict=True)):
        tables, of_slots = {}, by_slot[:, starts[i] : starts[i + 1]]
        for name, cells in summed.items():
            columns = added(cells, to, 1).reshape(-1, 5).T
            n_pairs, n_edges = columns[:2].astype(np.int64)
            sums = columns[2:].astype(np.float64)
            tables[name] = StratumCounts(n_pairs, n_edges, sums, row, *of_slots)
        n_of_way = int(to.max()) + 1
        used = tables[USED]
        yield tables, StratumCounts(
            used.pairs.reshape(-1, n_of_way).sum(0), used.edges.reshape(-1, n_of_way).sum(0),
            used.sums.reshape(3, -1, n_of_way).sum(1), np.arange(n_of_way),
            *(added(cells, to, 0) for cells in by_base),
        )  # fmt: skip

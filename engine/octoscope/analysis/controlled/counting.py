"""Loops over all pairs of vertices: histograms of controls, and counts of pairs by stratum."""

from __future__ import annotations

import numpy as np

from octoscope.jit import compiled


@compiled()
def add_histograms(
    values: np.ndarray,
    rows: np.ndarray,
    eligible: np.ndarray,
    log_degree: np.ndarray,
    level: np.ndarray,
    rarer: bool,
    steps: np.ndarray,
    levels: np.ndarray,
    moments: np.ndarray,
) -> None:
    """Add the pairs of some rows to the histograms of co-expression and expression level.

    Parameters
    ----------
    values
        [3, rows, vertices] float32: co-expression of half 0, of half 1 and of all cells.
    rows
        [rows] vertex of each row; a pair is counted in the row of its smaller vertex.
    eligible
        [vertices, vertices] bool.
    log_degree, level
        [vertices] float64; levels are steps of the expression grid.
    rarer
        The level of a pair is that of its rarer gene; otherwise the mean of both.
    steps
        [3, GRID + 1] int64, added to.
    levels
        [LEVELS] int64, added to.
    moments
        [12] float64: of the halves n, x, y, xx, yy, xy; then sum and sum of squares of
        co-expression, log degree and level; added to.
    """
    half = (steps.shape[1] - 1) / 2
    for r in range(len(rows)):
        u = rows[r]
        for v in range(u + 1, eligible.shape[0]):
            if not eligible[u, v]:
                continue
            for part in range(3):
                steps[part, int((values[part, r, v] + 1) * half)] += 1
            x, y = np.float64(values[0, r, v]), np.float64(values[1, r, v])
            moments[0] += 1
            moments[1] += x
            moments[2] += y
            moments[3] += x * x
            moments[4] += y * y
            moments[5] += x * y
            both = min(level[u], level[v]) if rarer else (level[u] + level[v]) / 2
            levels[int(both)] += 1
            c, degree = np.float64(values[2, r, v]), log_degree[u] + log_degree[v]
            moments[6] += c
            moments[7] += c * c
            moments[8] += degree
            moments[9] += degree * degree
            moments[10] += both
            moments[11] += both * both


@compiled()
def add_counts(
    values: np.ndarray,
    rows: np.ndarray,
    eligible: np.ndarray,
    adjacency: np.ndarray,
    bins: np.ndarray,
    half_bins: np.ndarray,
    degree_bins: int,
    log_degree: np.ndarray,
    level: np.ndarray,
    level_bins: np.ndarray,
    n_levels: int,
    rarer: bool,
    totals: np.ndarray,
    half_totals: np.ndarray,
    slot: np.ndarray,
    group: np.ndarray,
    slot_pairs: np.ndarray,
    slot_edges: np.ndarray,
    base_pairs: np.ndarray,
    base_edges: np.ndarray,
) -> None:
    """Add the pairs of some rows to counts by stratum.

    Parameters
    ----------
    bins, half_bins
        [GRID + 1] bin of co-expression over all cells, and [2, GRID + 1] of each half.
    degree_bins
        How many bins of degree there are.
    log_degree, level
        [vertices] float64.
    level_bins, n_levels
        [LEVELS] bin of each step, and how many there are.
    totals
        [strata, 5] float64 pairs, edges, and sums of co-expression, log degree and level; side by
        side, because a pair is one place; added to.
    half_totals
        [2, strata, 2] int64 pairs and edges by the bins of each half; added to.
    slot
        [strata, ways] int32 rows of ``slot_pairs``, one for each way to merge strata; -1: no list
        has a pair in the stratum.
    group
        [vertices] jackknife group.
    slot_pairs, slot_edges, base_pairs, base_edges
        [slots, groups] and [degree x level strata, groups] int32: pairs and edges that a group
        takes part in; added to.
    """
    half = (len(bins) - 1) / 2
    n_base = degree_bins * n_levels
    for r in range(len(rows)):
        u = rows[r]
        g = group[u]
        for v in range(u + 1, eligible.shape[0]):
            if not eligible[u, v]:
                continue
            degree = log_degree[u] + log_degree[v]
            both = min(level[u], level[v]) if rarer else (level[u] + level[v]) / 2
            base = int(2 * degree + 1e-9) * n_levels + level_bins[int(both)]
            edge = adjacency[u, v]
            c = values[2, r, v]
            s = bins[int((c + 1) * half)] * n_base + base
            totals[s, 0] += 1
            totals[s, 2] += c
            totals[s, 3] += degree
            totals[s, 4] += both
            h0 = half_bins[0, int((values[0, r, v] + 1) * half)] * n_base + base
            h1 = half_bins[1, int((values[1, r, v] + 1) * half)] * n_base + base
            half_totals[0, h0, 0] += 1
            half_totals[1, h1, 0] += 1
            other = group[v]
            base_pairs[base, g] += 1
            if other != g:
                base_pairs[base, other] += 1
            for way in range(slot.shape[1]):
                at = slot[s, way]
                if at >= 0:
                    slot_pairs[at, g] += 1
                    if other != g:
                        slot_pairs[at, other] += 1
            if not edge:
                continue
            totals[s, 1] += 1
            half_totals[0, h0, 1] += 1
            half_totals[1, h1, 1] += 1
            base_edges[base, g] += 1
            if other != g:
                base_edges[base, other] += 1
            for way in range(slot.shape[1]):
                at = slot[s, way]
                if at >= 0:
                    slot_edges[at, g] += 1
                    if other != g:
                        slot_edges[at, other] += 1


@compiled()
def deleted_odds_ratios(
    listed: np.ndarray,
    hits: np.ndarray,
    pairs: np.ndarray,
    edges: np.ndarray,
    listed_of: np.ndarray,
    hits_of: np.ndarray,
    pairs_of: np.ndarray,
    edges_of: np.ndarray,
) -> np.ndarray:
    """Return [groups] log odds ratios of Mantel and Haenszel without each group; NaN if undefined.

    Parameters
    ----------
    listed, hits, pairs, edges
        [strata] listed pairs, listed edges, all pairs, all edges.
    listed_of, hits_of, pairs_of, edges_of
        [strata, groups] the same of the pairs that each group takes part in.
    """
    above, below = np.zeros(pairs_of.shape[1]), np.zeros(pairs_of.shape[1])
    for s in range(len(listed)):  # groups inside: their counts lie side by side
        for g in range(len(above)):
            n = pairs[s] - pairs_of[s, g]
            a = hits[s] - hits_of[s, g]
            b = listed[s] - listed_of[s, g] - a
            c = edges[s] - edges_of[s, g] - a
            if n > 0:
                above[g] += a * (n - a - b - c) / n
                below[g] += b * c / n
    out = np.full(len(above), np.nan)
    for g in range(len(above)):
        if above[g] > 0 and below[g] > 0:
            out[g] = np.log(above[g] / below[g])
    return out

"""Summaries of each matrix: its tables per gene set and view.

Reads a matrix in row tiles; returns tables of top pairs, row and column sums, histogram,
reliability of halves. Nothing here depends on how the sums were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from octoscope.analysis import statistics
from octoscope.analysis.derived_views import Fit, fit_halves
from octoscope.analysis.donor_jackknife import LeaveOneGroupOut, donor_jackknife
from octoscope.analysis.kernels import add_row_and_column_sums
from octoscope.analysis.leave_one_out import DerivedLeaveOneOut
from octoscope.analysis.matrix import PairMatrix
from octoscope.attention.histograms import BINS, bins_of, count, quantiles
from octoscope.attention.topk import TopK, TopPairs

# Genes in the permutation null of half-to-half agreement; where more have a pair, a seeded sample.
_NULL_GENES = 256
_HUBS = 10
# Unknown of a matrix whose cells are not, and no number then.
_OF_CELLS = (
    "n_cells", "n_cells_half0", "n_cells_half1", "min_cells", "half_pairs", "half_null_genes",
    "half_permutations",
)  # fmt: skip
_QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}  # of eligible values, from their histogram


@dataclass(frozen=True)
class Finalised:
    """Tables of one matrix; genes are indices into the accumulated axis."""

    topk: pd.DataFrame
    genes: pd.DataFrame
    histogram: pd.DataFrame
    stats: pd.DataFrame


def finalise(
    matrix: PairMatrix,
    gene_sets: dict[str, np.ndarray],
    views: list[str],
    *,
    top_k: int,
    permutations: int,
    seed: int,
    max_permutation_factor: int = 1,
    left_out: LeaveOneGroupOut | None = None,
) -> Finalised:
    """Finalise one matrix over every declared gene set and view.

    ``max_permutation_factor``: factor by which permutations increase where none reaches the
    agreement of the halves. ``left_out``: the matrix without groups of donors, in its plain views.

    Returns
    -------
    Finalised
        ``topk``: gene_set, view, part (total, half0, half1), query, key, value, rank, cells
        (n_ij), value_half0, value_half1; with two moments cell_sd, the standard deviation of the
        pair's probability between cells, whatever the view; with donor groups donor_low and
        donor_high of the total.
        ``genes``: gene_set, view, gene, row_sum, col_sum, row_pairs, col_pairs (eligible).
        ``histogram``: gene_set, view, bin, count. ``stats``: one row per gene set and view.
        Where the matrix does not know its cells, numbers of cells and what is of halves are null.
    """
    derived = None if left_out is None else DerivedLeaveOneOut(left_out)
    collected: dict[str, list[pd.DataFrame]] = {"topk": [], "genes": [], "histogram": []}
    stats = []
    for name, genes in gene_sets.items():
        for view in views:
            label = {"gene_set": name, "view": view}
            halves = _Halves(len(genes), top_k)
            fits = fit_halves(matrix, genes, view, halves.add)
            tables, row, best = _one(matrix, genes, view, top_k, halves.top())
            if derived is not None:
                row |= _over_donors(derived, genes, view, best, top_k, tables["topk"])
            row |= _reliability(
                matrix, genes, view, (permutations, max_permutation_factor, seed), fits, halves.raw
            )
            for key, table in tables.items():
                collected[key].append(table.assign(**label)[[*label, *table.columns]])
            stats.append(label | row)
    joined = {k: pd.concat(v, ignore_index=True) for k, v in collected.items()}
    summary = pd.DataFrame(stats)
    if matrix.cells is None:
        unknown = pd.Series(pd.NA, summary.index, dtype="Int64")
        summary = summary.assign(**dict.fromkeys(_OF_CELLS, unknown))
        joined["topk"]["cells"] = pd.Series(pd.NA, joined["topk"].index, dtype="Int64")
    return Finalised(**joined, stats=summary)


class _Halves:
    """Results of one pass over both halves: the strongest pairs of each, and their moments."""

    def __init__(self, n_genes: int, k: int) -> None:
        self._tops = (TopK(k), TopK(k))
        self.raw = statistics.PairMoments.zero(n_genes)

    def add(self, first: int, x: np.ndarray, y: np.ndarray, use: np.ndarray) -> None:
        """Add rows of both halves."""
        self.raw.add(first, x, y, use)
        for top, values in zip(self._tops, (x, y), strict=True):
            top.update(first, values, use)

    def top(self) -> dict[str, TopPairs]:
        """Return the strongest pairs of each half."""
        return {f"half{h}": top.result() for h, top in enumerate(self._tops)}


def _one(
    matrix: PairMatrix, genes: np.ndarray, view: str, k: int, halves: dict[str, TopPairs]
) -> tuple[dict[str, pd.DataFrame], dict[str, object], TopPairs]:
    n = len(genes)
    strongest = TopK(k)
    bins = np.zeros(BINS, np.int64)
    row_sum, col_sum = np.zeros(n), np.zeros(n)
    row_pairs, col_pairs = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for first, values, eligible in matrix.values(genes, view):
        strongest.update(first, values, eligible)
        add_row_and_column_sums(values, eligible, first, row_sum, col_sum, row_pairs, col_pairs)
        count(bins_of(values), eligible, first, bins)
    top = {"total": strongest.result()} | halves
    used = np.flatnonzero(bins)
    tables = {
        "topk": _top_frame(top, matrix, genes, view),
        "genes": pd.DataFrame(
            {
                "gene": genes.astype(np.int32),
                "row_sum": row_sum,
                "col_sum": col_sum,
                "row_pairs": row_pairs,
                "col_pairs": col_pairs,
            }
        ),
        "histogram": pd.DataFrame({"bin": used.astype(np.uint16), "count": bins[used]}),
    }
    best, n_eligible = top["total"], int(row_pairs.sum())
    marks = quantiles(bins, np.array(list(_QUANTILES.values()))) if bins.any() else None
    row: dict[str, object] = {
        "n_genes": n,
        "n_cells": sum(matrix.cells or ()),
        "n_cells_half0": matrix.cells[0] if matrix.cells else 0,
        "n_cells_half1": matrix.cells[1] if matrix.cells else 0,
        "min_cells": matrix.min_cells,
        "n_eligible": n_eligible,
        "n_top": len(best.value),
        "top_share": len(best.value) / n_eligible if n_eligible else float("nan"),
        "kth_value": float(best.value[-1]) if len(best.value) else float("nan"),
        **{
            f"value_{n}": float("nan") if marks is None else float(marks[i])
            for i, n in enumerate(_QUANTILES)
        },
        "tie_truncated": best.tie_truncated,
        "hub_query_share": _hub_share(best.query),
        "hub_key_share": _hub_share(best.key),
        "half_topk_jaccard": _jaccard(top["half0"], top["half1"], n),
    }
    return tables, row, best


def _over_donors(
    left_out: LeaveOneGroupOut,
    genes: np.ndarray,
    view: str,
    best: TopPairs,
    k: int,
    top: pd.DataFrame,
) -> dict[str, object]:
    """Return what donors do to a matrix; puts the intervals of its top pairs into their table."""
    top["donor_low"] = top["donor_high"] = np.nan
    low, high, row = donor_jackknife(left_out, genes, view, best, k)
    total = top["part"] == "total"
    top.loc[total, "donor_low"], top.loc[total, "donor_high"] = low, high
    return dict(row)


def _top_frame(
    top: dict[str, TopPairs], matrix: PairMatrix, genes: np.ndarray, view: str
) -> pd.DataFrame:
    query, key = (np.concatenate([getattr(p, x) for p in top.values()]) for x in ("query", "key"))
    # rank among eligible pairs: 1 + number of strictly greater values, all of which are in here
    ranks = [np.searchsorted(-p.value, -p.value, side="left") + 1 for p in top.values()]
    cells, halves = matrix.values_at(genes, view, query, key)
    return pd.DataFrame(
        {
            "part": np.repeat(list(top), [len(p.value) for p in top.values()]),
            "query": genes[query].astype(np.int32),
            "key": genes[key].astype(np.int32),
            "value": np.concatenate([p.value for p in top.values()]),
            "rank": np.concatenate(ranks).astype(np.int64),
            "cells": cells,
            "value_half0": halves[0],
            "value_half1": halves[1],
        }
        | ({"cell_sd": matrix.cell_deviation(genes, query, key)} if matrix.moments == 2 else {})
    )


def _hub_share(genes: np.ndarray) -> float:
    """Share of top pairs that fall on the 10 most frequent genes of that side."""
    if not len(genes):
        return float("nan")
    counts = np.sort(np.unique(genes, return_counts=True)[1])
    return float(counts[-_HUBS:].sum() / len(genes))


def _jaccard(a: TopPairs, b: TopPairs, n: int) -> float:
    x = set((a.query.astype(np.int64) * n + a.key).tolist())
    y = set((b.query.astype(np.int64) * n + b.key).tolist())
    return len(x & y) / len(x | y) if x | y else float("nan")


def _reliability(
    matrix: PairMatrix,
    genes: np.ndarray,
    view: str,
    settings: tuple[int, int, int],
    fits: list[Fit],
    raw: statistics.PairMoments,
) -> dict[str, object]:
    """Return the agreement of the halves: raw, and without each gene's row and column effect.

    The raw correlation is high from gene main effects alone, so the double-centred one is the
    evidence for pairs. The centring is fixed in the jackknife.
    The null permutes gene labels of one half (rows and columns together), among genes with a like
    number of usable pairs.

    ``settings``: permutations, the factor by which they increase, and their seed.
    ``fits``, ``raw``: each half's effects, and the moments of the raw values.
    """
    n, seed = len(genes), settings[2]
    rng = np.random.default_rng(seed)
    with_pairs = np.flatnonzero(raw.by_gene[0])
    sample = np.sort(rng.choice(with_pairs, min(len(with_pairs), _NULL_GENES), replace=False))
    centred = statistics.PairMoments.zero(n)
    blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    rows, columns = (np.stack(of) for of in zip(*fits, strict=True))
    for first, x, y, use in matrix.halves(genes, view):
        centred.add(first, x, y, use, (rows, columns))
        inside = sample[(sample >= first) & (sample < first + len(x))]
        a, b = (
            v[inside - first][:, sample] - rows[h, inside, None] - columns[h, sample]
            for h, v in enumerate((x, y))
        )
        blocks.append((a, b, use[inside - first][:, sample]))
    r, r_low, r_high = statistics.correlation(raw)
    c, c_low, c_high = statistics.correlation(centred)
    null, own = np.zeros(0), float("nan")
    if blocks and not np.isnan(c):
        a, b, use = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        # the null is of the sample's own correlation: that of all genes varies less
        own = statistics.plain_correlation(a[use].astype(float), b[use].astype(float))
        null = statistics.permute_until_reached(
            partial(statistics.qap_correlations, a, b, use, use), own, *settings
        )
    low, high = statistics.null_range(null)
    return {
        "half_pairs": int(raw.total[0]),
        "half_raw": r,
        "half_raw_low": r_low,
        "half_raw_high": r_high,
        "half_centred": c,
        "half_centred_low": c_low,
        "half_centred_high": c_high,
        "half_null_low": low,
        "half_null_high": high,
        "half_null_genes": len(sample) if len(null) else 0,
        "half_sampled": own,
        "half_p": statistics.permutation_p(own, null),
        "half_permutations": statistics.n_permutations_of(null),
        "spearman_brown": statistics.spearman_brown(c),
    }

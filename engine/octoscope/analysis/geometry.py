"""Residual geometry: do two layers place the genes alike? Cosine similarities, compared by rank."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scipy

from octoscope.analysis import statistics

EXACT_PAIRS = 2_000_000  # about 2,000 genes; of more a seeded sample of as many pairs
_NULL_GENES = 256


def compare_geometry(
    streams: Sequence[np.ndarray],
    *,
    permutations: int,
    seed: int,
    max_permutation_factor: int = 1,
    most: int = EXACT_PAIRS,
) -> pd.DataFrame:
    """Spearman correlation between gene-gene cosine similarities, for every two streams.

    Parameters
    ----------
    streams
        One array per layer: [genes, d] residuals of the mean cell; the same genes, d may differ.
    permutations
        Permutations of the gene labels of the second stream, over at most 256 genes (a seeded
        sample).
    max_permutation_factor
        Factor by which permutations increase where none reaches the correlation.
    most
        If there are more unordered pairs, a sample of this size is used.

    Returns
    -------
    DataFrame
        a, b (indices of streams), n_genes, n_pairs, exact, spearman, low, high (one gene deleted
        at a time, ranks fixed), sampling_error (standard error from sampling pairs,
        (1 - r^2) / sqrt(n); 0 where exact), null_genes, sampled (the correlation over these genes,
        which the null is of), null_low, null_high, p, n_permutations.
    """
    n = len(streams[0])
    rng = np.random.default_rng(seed)
    total = n * (n - 1) // 2
    exact = total <= most
    if exact:
        i, j = np.triu_indices(n, 1)
    else:
        i = rng.integers(0, n, most)
        j = (i + rng.integers(1, n, most)) % n  # another gene, each ordered pair alike
    sample = np.sort(rng.choice(n, min(n, _NULL_GENES), replace=False))
    units = [_unit(s) for s in streams]
    ranked = [_Ranked(_cosines(u, i, j), i, j, n) for u in units]
    small = [_ranked_square(u[sample]) for u in units]
    off = ~np.eye(len(sample), dtype=bool)
    rows = []
    for b in range(len(streams)):
        for a in range(b):
            r, low, high = ranked[a].correlation(ranked[b])
            # the null is of the sample's own correlation
            own = statistics.plain_correlation(small[a][off], small[b][off])
            null = statistics.permute_until_reached(
                partial(statistics.qap_correlations, small[a], small[b], off, off),
                own, permutations, max_permutation_factor, seed,
            )  # fmt: skip
            null_low, null_high = statistics.null_range(null)
            rows.append(
                {
                    "a": a,
                    "b": b,
                    "n_genes": n,
                    "n_pairs": len(i),
                    "exact": exact,
                    "spearman": r,
                    "low": low,
                    "high": high,
                    "sampling_error": 0.0 if exact else (1 - r * r) / np.sqrt(len(i)),
                    "null_genes": len(sample),
                    "sampled": own,
                    "null_low": null_low,
                    "null_high": null_high,
                    "p": statistics.permutation_p(own, null),
                    "n_permutations": statistics.n_permutations_of(null),
                }
            )
    return pd.DataFrame(rows)


class _Ranked:
    """Ranks of one stream's pairs, and those of their moments that depend on this stream alone."""

    def __init__(self, values: np.ndarray, i: np.ndarray, j: np.ndarray, n_genes: int) -> None:
        ranks = scipy.stats.rankdata(values)
        self._x = ranks - ranks.mean()  # centred, so that moments keep their digits
        self._ends, self._n = (i, j), n_genes
        own = np.ones_like(self._x), self._x, self._x**2
        self._total = [float(p.sum()) for p in own]
        self._by_gene = [self._of_genes(p) for p in own]

    def _of_genes(self, values: np.ndarray) -> np.ndarray:
        return statistics.sums_by_gene(values, *self._ends, self._n)

    def correlation(self, other: _Ranked) -> tuple[float, float, float]:
        """Return Pearson's r of the ranks with its interval; see ``statistics.correlation``."""
        both = self._x * other._x

        def moments(of: list[Any], its: list[Any], product: Any) -> np.ndarray:
            return np.stack([of[0], of[1], its[1], of[2], its[2], product])

        return statistics.correlation(
            statistics.PairMoments(
                moments(self._total, other._total, both.sum()),
                moments(self._by_gene, other._by_gene, self._of_genes(both)),
            )
        )


def _unit(stream: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(stream, axis=1, keepdims=True)
    return stream / np.where(size > 0, size, 1)


def _cosines(unit: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return [pairs] cosine similarities, in blocks that stay small."""
    out, step = np.empty(len(i), np.float32), 1 << 16
    for first in range(0, len(i), step):
        here = slice(first, first + step)
        out[here] = (unit[i[here]] * unit[j[here]]).sum(1)
    return out


def _ranked_square(unit: np.ndarray) -> np.ndarray:
    """Return [genes, genes] ranks of cosine similarities; symmetric, the diagonal is 0."""
    n = len(unit)
    upper = np.triu_indices(n, 1)
    square = np.zeros((n, n))
    square[upper] = scipy.stats.rankdata((unit @ unit.T)[upper])
    return square + square.T

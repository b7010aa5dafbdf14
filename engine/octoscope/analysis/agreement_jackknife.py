"""Agreement without each group of donors in turn: how far a median depends on single donors.

The lists of top pairs are made and ranked again without each group, so the interval is of the
whole procedure, including the choice of the strongest pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from octoscope.analysis.agreement import Pairs
from octoscope.analysis.donor_jackknife import LeaveOneGroupOut, interval
from octoscope.analysis.label_permutation import medians_of
from octoscope.attention.ranks import Ranking
from octoscope.attention.topk import TopK
from octoscope.config.types import Conventions


@dataclass(frozen=True)
class RankedWithout:
    """Ranks of each group's union of pairs in one matrix without that group.

    Attributes
    ----------
    ranks
        One array per group: [pairs] uint32; 0 where not eligible.
    n_ranked
        For each group, the number of ranked pairs.
    """

    ranks: list[np.ndarray]
    n_ranked: list[int]


def strongest_without(
    left_out: LeaveOneGroupOut, genes: np.ndarray, view: str, k: int
) -> list[Pairs]:
    """Return, for each group, (query, key) of the K largest eligible pairs without it."""
    lists = [TopK(k) for _ in left_out.donors]
    for b in left_out.blocks(genes, view):
        for g, kept in enumerate(lists):
            kept.update(b.first, b.values[g], b.usable(g))
    tops = [kept.result() for kept in lists]
    return [(top.query.astype(np.int64), top.key.astype(np.int64)) for top in tops]


def rank_without(
    left_out: LeaveOneGroupOut,
    genes: np.ndarray,
    view: str,
    pairs: Sequence[Pairs],
    conventions: Conventions = "corrected",
) -> RankedWithout:
    """Rank each group's pairs exactly in the matrix without it, in two passes for all groups.

    ``pairs``: (query, key) of each group; ``conventions`` as for
    :func:`~octoscope.analysis.agreement.rank_pairs`.
    """
    rankings = [
        Ranking(*ends, by_absolute_value=False, keep_self=conventions == "peer") for ends in pairs
    ]
    for b in left_out.blocks(genes, view):
        for g, ranking in enumerate(rankings):
            ranking.look(b.first, b.values[g], b.usable(g))
    for b in left_out.blocks(genes, view):
        for g, ranking in enumerate(rankings):
            ranking.count(b.first, b.values[g], b.usable(g))
    results = [ranking.result() for ranking in rankings]
    # uint32: of 65,536 genes at most
    return RankedWithout([r.astype(np.uint32) for _, r, _ in results], [n for *_, n in results])


def medians_without(ranked: Sequence[RankedWithout | None], ks: Sequence[int]) -> np.ndarray:
    """Return [groups, query, eval, ks] median quantiles without each group; NaN where unknown.

    ``ranked``: of each matrix; None where it has no donors, as co-expression.
    """
    with_donors = [p for p in ranked if p is not None]
    groups, m = len(with_donors[0].ranks) if with_donors else 0, len(ranked)
    medians = np.full((groups, m, m, len(ks)), np.nan)
    for g in range(groups):
        for a, query in enumerate(ranked):
            if query is None:
                continue
            ranks = query.ranks[g]
            chosen = [np.flatnonzero((ranks > 0) & (ranks <= k)) for k in ks]
            for b, matrix in enumerate(ranked):
                if matrix is None or a == b:
                    continue
                eval_ranks = matrix.ranks[g]
                quantiles = np.where(eval_ranks > 0, eval_ranks, np.nan) / max(
                    matrix.n_ranked[g], 1
                )
                for i, at in enumerate(chosen):
                    medians[g, a, b, i] = medians_of(quantiles[None, at])[0]
    return medians


def donor_interval(
    whole: np.ndarray, without: np.ndarray, donors: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of values over donors: the delete-a-group jackknife.

    Parameters
    ----------
    whole
        [...] values of all cells.
    without
        [groups, ...] without each group; where one is NaN, there is no interval.
    donors
        Number of donors in each group.
    """
    flat = without.reshape(len(without), -1)
    ends = interval(whole.ravel(), flat, np.ones(flat.shape, bool), np.asarray(donors))
    return ends[0].reshape(whole.shape), ends[1].reshape(whole.shape)

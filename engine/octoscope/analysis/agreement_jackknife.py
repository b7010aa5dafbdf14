"""Agreement without each group of donors in turn: how far a median hangs on single donors.

Lists are made anew and looked up anew without each group, so the interval is of the whole
procedure, the choice of the strongest pairs included.
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
class PlacedWithout:
    """Where the pairs of each group's union stand in one matrix without that group.

    Attributes
    ----------
    ranks
        Of each group [pairs] uint32; 0 where not eligible.
    n_ranked
        Of each group, the pairs among which ranks are counted.
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
    found = [kept.result() for kept in lists]
    return [(top.query.astype(np.int64), top.key.astype(np.int64)) for top in found]


def place_without(
    left_out: LeaveOneGroupOut,
    genes: np.ndarray,
    view: str,
    pairs: Sequence[Pairs],
    conventions: Conventions = "corrected",
) -> PlacedWithout:
    """Rank each group's pairs exactly in the matrix without it, in two passes for all groups.

    ``pairs``: (query, key) of each group; ``conventions`` as for
    :func:`~octoscope.analysis.agreement.place`.
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
    found = [ranking.result() for ranking in rankings]
    # uint32: of 65,536 genes at most
    return PlacedWithout([r.astype(np.uint32) for _, r, _ in found], [n for *_, n in found])


def medians_without(ranked: Sequence[PlacedWithout | None], ks: Sequence[int]) -> np.ndarray:
    """Return [groups, query, eval, ks] median quantiles without each group; NaN where unknown.

    ``placed``: of each matrix; None where it has no donors, as co-expression.
    """
    known = [p for p in ranked if p is not None]
    groups, m = len(known[0].ranks) if known else 0, len(ranked)
    found = np.full((groups, m, m, len(ks)), np.nan)
    for g in range(groups):
        for a, query in enumerate(ranked):
            if query is None:
                continue
            ranks = query.ranks[g]
            chosen = [np.flatnonzero((ranks > 0) & (ranks <= k)) for k in ks]
            for b, matrix in enumerate(ranked):
                if matrix is None or a == b:
                    continue
                there = matrix.ranks[g]
                share = np.where(there > 0, there, np.nan) / max(matrix.n_ranked[g], 1)
                for i, at in enumerate(chosen):
                    found[g, a, b, i] = medians_of(share[None, at])[0]
    return found


def donor_interval(
    whole: np.ndarray, without: np.ndarray, donors: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of values over donors: the delete-a-group jackknife.

    Parameters
    ----------
    whole
        [...] values of all cells.
    without
        [groups, ...] without each group; NaN where one is not known, and then no interval.
    donors
        In each group.
    """
    flat = without.reshape(len(without), -1)
    ends = interval(whole.ravel(), flat, np.ones(flat.shape, bool), np.asarray(donors))
    return ends[0].reshape(whole.shape), ends[1].reshape(whole.shape)

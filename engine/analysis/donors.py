"""How far a matrix hangs on single donors: every group of donors is left out in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import scipy

from engine.attention.topk import TopK, TopPairs


class LeftOut(Protocol):
    """A matrix without each group of donors in turn."""

    @property
    def donors(self) -> Sequence[int]:
        """Donors in each group."""
        ...

    def values(
        self, genes: np.ndarray, view: str
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (first row, values, known, eligible), each [groups, rows, genes].

        ``known``: a cell that is left holds the pair; ``eligible``: enough do.
        """
        ...


def donor_jackknife(
    left_out: LeftOut, genes: np.ndarray, view: str, top: TopPairs, k: int
) -> tuple[np.ndarray, np.ndarray, dict[str, float | int]]:
    """Leave every group of donors out in turn.

    Returns
    -------
    low, high
        [top pairs] float64: 95 % interval of each top pair's value over donors; NaN where a group
        alone holds the pair, or with fewer than three groups.
    row
        donors, donor_groups, and how much of the whole's top pairs is among those without a group:
        donor_jaccard_mean, donor_jaccard_min, donor_kept (share that is in all of these lists).
    """
    n_groups, n = len(left_out.donors), len(genes)
    found = np.full((n_groups, len(top.value)), np.nan)
    lists = [TopK(k) for _ in range(n_groups)]
    for first, values, known, eligible in left_out.values(genes, view):
        here = np.flatnonzero((top.query >= first) & (top.query < first + values.shape[1]))
        i, j = top.query[here] - first, top.key[here]
        found[:, here] = np.where(known[:, i, j], values[:, i, j], np.nan)
        for g, kept in enumerate(lists):
            kept.update(first, values[g], eligible[g])
    low, high = interval(top.value.astype(np.float64), found, np.array(left_out.donors))
    own = np.sort(top.query.astype(np.int64) * n + top.key)
    inside, jaccard = np.ones(len(own), bool), []
    for kept in lists:
        other = kept.result()
        member = np.isin(own, other.query.astype(np.int64) * n + other.key)
        either = len(own) + len(other.value) - int(member.sum())
        jaccard.append(float(member.sum() / either) if either else float("nan"))
        inside &= member
    return low, high, {
        "donors": int(sum(left_out.donors)),
        "donor_groups": n_groups,
        "donor_jaccard_mean": float(np.mean(jaccard)) if jaccard else float("nan"),
        "donor_jaccard_min": float(np.min(jaccard)) if jaccard else float("nan"),
        "donor_kept": float(inside.mean()) if len(own) else float("nan"),
    }  # fmt: skip


def interval(
    whole: np.ndarray, without: np.ndarray, donors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of the delete-a-group jackknife for groups of unequal size.

    Busing, Meijer and van der Leeden, Statistics and Computing 9 (1999): with h = donors / donors
    of a group, pseudo-values h whole - (h - 1) without; the variance is the mean of their squared
    distances from the jackknife estimate, each over h - 1. The estimate is the whole's; the width
    follows Student's t with groups - 1 degrees of freedom, as there are few groups.

    Parameters
    ----------
    whole
        [values] float64.
    without
        [groups, values] float64, NaN where it is not known.
    donors
        [groups] donors in each group.
    """
    g, n = len(donors), float(donors.sum())
    if g < 3:
        return np.full(len(whole), np.nan), np.full(len(whole), np.nan)
    share = (donors / n)[:, None]
    h = 1 / share
    pseudo = h * whole - (h - 1) * without
    estimate = g * whole - ((1 - share) * without).sum(0)
    variance = ((pseudo - estimate) ** 2 / (h - 1)).mean(0)
    half = scipy.stats.t.ppf(0.975, g - 1) * np.sqrt(variance)
    return whole - half, whole + half

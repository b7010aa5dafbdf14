"""How far a matrix depends on single donors: every group of donors is left out in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy

from octoscope.attention.topk import TopK, TopPairs


@dataclass(frozen=True)
class Block:
    """Rows of a matrix without each group.

    Attributes
    ----------
    first
        Index of the first row.
    values
        [groups, rows, genes] float32.
    known
        [groups, rows, genes] bool: a cell that is left holds the pair.
    holds
        [groups, rows, genes] bool: the pair's value depends on the group's cells.
    eligible
        [rows, genes] bool, in the whole: lists without a group are made of the same pairs, or they
        would differ by the floor of cells alone.
    """

    first: int
    values: np.ndarray
    known: np.ndarray
    holds: np.ndarray
    eligible: np.ndarray

    def usable(self, group: int) -> np.ndarray:
        """Return [rows, genes] bool: pairs that the matrix without the group ranks."""
        return np.asarray(self.known[group] & self.eligible)


class LeaveOneGroupOut(Protocol):
    """A matrix without each group of donors in turn."""

    @property
    def donors(self) -> Sequence[int]:
        """Donors in each group."""
        ...

    def blocks(self, genes: np.ndarray, view: str) -> Iterator[Block]:
        """Yield row blocks, of the rows and columns of a gene set."""
        ...


def donor_jackknife(
    left_out: LeaveOneGroupOut, genes: np.ndarray, view: str, top: TopPairs, k: int
) -> tuple[np.ndarray, np.ndarray, dict[str, float | int]]:
    """Leave every group of donors out in turn.

    Returns
    -------
    low, high
        [top pairs] float64: 95 % interval of each top pair's value over donors; NaN where fewer
        than three groups hold the pair.
    row
        donors, donor_groups, and how much of the whole's top pairs is among those without a group:
        donor_jaccard_mean, donor_jaccard_min, donor_kept (share that is in all of these lists).
    """
    n_groups, n = len(left_out.donors), len(genes)
    values_without = np.full((n_groups, len(top.value)), np.nan)
    holds = np.zeros(values_without.shape, bool)
    lists = [TopK(k) for _ in range(n_groups)]
    for b in left_out.blocks(genes, view):
        here = np.flatnonzero((top.query >= b.first) & (top.query < b.first + b.values.shape[1]))
        i, j = top.query[here] - b.first, top.key[here]
        values_without[:, here] = np.where(b.known[:, i, j], b.values[:, i, j], np.nan)
        holds[:, here] = b.holds[:, i, j]
        for g, kept in enumerate(lists):
            kept.update(b.first, b.values[g], b.usable(g))
    low, high = interval(
        top.value.astype(np.float64), values_without, holds, np.array(left_out.donors)
    )
    own = top.query.astype(np.int64) * n + top.key
    inside, jaccard = np.ones(len(own), bool), []
    for kept in lists:
        other = kept.result()
        shared = np.isin(own, other.query.astype(np.int64) * n + other.key)
        either = len(own) + len(other.value) - int(shared.sum())
        jaccard.append(float(shared.sum() / either) if either else float("nan"))
        inside &= shared
    return low, high, {
        "donors": int(sum(left_out.donors)),
        "donor_groups": n_groups,
        "donor_jaccard_mean": float(np.mean(jaccard)) if jaccard else float("nan"),
        "donor_jaccard_min": float(np.min(jaccard)) if jaccard else float("nan"),
        "donor_kept": float(inside.mean()) if len(own) else float("nan"),
    }  # fmt: skip


def interval(
    whole: np.ndarray, without: np.ndarray, holds: np.ndarray, donors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of the delete-a-group jackknife for groups of unequal size.

    The estimate is the whole's; the width follows Student's t with groups - 1 degrees of freedom,
    as there are few groups. Groups that do not hold the pair change nothing when they are left out;
    counting them would make the interval too narrow (``benchmarks/calibration.py``), so each pair
    has its own groups.

    Parameters
    ----------
    whole, without, holds, donors
        As for :func:`standard_error`.

    Returns
    -------
    tuple of ndarray
        Low and high, [values]; NaN where fewer than three groups count, or one value is not known.
    """
    error = standard_error(whole, without, holds, donors)
    half = scipy.stats.t.ppf(0.975, np.maximum(holds.sum(0) - 1, 1)) * error
    return whole - half, whole + half


def standard_error(
    whole: np.ndarray, without: np.ndarray, holds: np.ndarray, donors: np.ndarray
) -> np.ndarray:
    """Return the standard error of the delete-a-group jackknife for groups of unequal size.

    Busing, Meijer and van der Leeden, Statistics and Computing 9 (1999): with h = donors / donors
    of a group, pseudo-values h whole - (h - 1) without. The variance is the mean of their squared
    distances from the jackknife estimate, each over h - 1.

    Parameters
    ----------
    whole
        [values] float64.
    without
        [groups, values] float64, NaN where it is not known.
    holds
        [groups, values] bool: the groups that count for a value.
    donors
        [groups] donors in each group.

    Returns
    -------
    ndarray
        [values] float64; NaN where fewer than three groups count, or one value is not known.
    """
    g = holds.sum(0)
    enough = g > 2
    size = donors[:, None] * holds
    share = size / np.maximum(size.sum(0), 1)
    h = 1 / np.where(holds & enough, share, 0.5)
    pseudo = h * whole - (h - 1) * without
    estimate = g * whole - np.where(holds, (1 - share) * without, 0).sum(0)
    squares = np.where(holds, (pseudo - estimate) ** 2 / (h - 1), 0)
    variance = squares.sum(0) / np.maximum(g, 1)
    return np.where(enough, np.sqrt(variance), np.nan)

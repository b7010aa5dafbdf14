"""Medians of quantiles of relabelled pairs: the null of an agreement."""

from __future__ import annotations

import numpy as np

from octoscope.analysis.binned_quantiles import BinnedQuantiles, Read
from octoscope.analysis.partner_strata import PartnerStrata
from octoscope.config.types import Conventions

_AT_ONCE = 1 << 22  # places that are looked up in one step
MAX_LOOKUPS = 1 << 28  # places that further permutations may look up: some seconds of a matrix


class Null:
    """Medians under permutations of gene labels (QAP).

    A query set's pairs are read at permuted places in one matrix; a place's quantile comes from the
    matrix's histogram of 65,536 bins of value, so it is off by less than half a bin's share.
    Every permutation of a query set is the same in all matrices. It maps genes to genes with a like
    number of eligible partners in the query's matrix, so a relabelled list is one that this matrix
    could have.

    Parameters
    ----------
    partners
        [query sets, genes] int64: other genes that a gene has an eligible pair with in the query's
        matrix.
    permutations, more, seed
        Number of permutations; the factor by which they increase for query sets that none of them
        reaches (at most :data:`MAX_LOOKUPS` look-ups); the seed.
    conventions
        ``peer``: labels are permuted among all genes; pairs of a gene with itself count among those
        that are ranked; no permutation puts another pair there.
    """

    def __init__(
        self,
        partners: np.ndarray,
        permutations: int,
        more: int,
        seed: int,
        conventions: Conventions,
    ) -> None:
        self._n_genes, self._seed = partners.shape[1], seed
        self._first, self._more = permutations, more
        self._keep_self = conventions == "peer"
        kinds, of_sets = np.unique(
            np.zeros_like(partners) if self._keep_self else partners, axis=0, return_inverse=True
        )
        self._kinds = [
            (PartnerStrata(x), np.flatnonzero(of_sets == i)) for i, x in enumerate(kinds)
        ]

    def medians(
        self,
        read: Read,
        query: np.ndarray,
        key: np.ndarray,
        chosen: np.ndarray,
        k: np.ndarray,
        observed: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return [permutations, query sets] median quantiles, and shares of pairs within top k.

        NaN where no permutation was made.

        Parameters
        ----------
        read
            The evaluated matrix.
        chosen
            [query sets, pairs] bool.
        k
            [query sets] rank up to which a pair counts as shared.
        observed
            [query sets] median quantiles; small ones are of interest.
        """
        matrix = BinnedQuantiles(read, self._n_genes, keep_self=self._keep_self)

        def fill(first: int, stop: int, rows: np.ndarray, strata: PartnerStrata) -> None:
            """Fill in permutations of query sets of the same strata, reading their pairs alone."""
            used = np.flatnonzero(chosen[rows].any(0))
            sets = [np.flatnonzero(chosen[row][used]) for row in rows]
            ends = query[used], key[used]
            step = max(1, _AT_ONCE // max(len(used), 1))
            for at in range(first, stop, step):
                here = slice(at, min(at + step, stop))
                permuted = np.stack(
                    [self._relabel(d, strata) for d in range(here.start, here.stop)]
                )
                q, j = (permuted[:, end] for end in ends)
                quantiles = matrix.at(q, j)
                for row, pairs in zip(rows, sets, strict=True):
                    part = quantiles[:, pairs]
                    medians[here, row] = medians_of(part, matrix.every)
                    shared[here, row] = _share_within(part, k[row] / matrix.n_ranked)

        medians = np.full((self._first, len(chosen)), np.nan)
        shared = np.full(medians.shape, np.nan)
        for strata, rows in self._kinds:
            fill(0, self._first, rows, strata)
        reached = (medians <= observed + 1e-12).any(0) | np.isnan(observed)
        floor = ~reached & ~np.isnan(medians).all(0)
        more = self._first * (self._more - 1)
        if more and floor.any():
            of_kinds = [(strata, rows[floor[rows]]) for strata, rows in self._kinds]
            pairs = sum(np.count_nonzero(chosen[rows].any(0)) for _, rows in of_kinds)
            further = np.full((min(more, MAX_LOOKUPS // max(pairs, 1)), len(chosen)), np.nan)
            medians, shared = (np.concatenate([x, further]) for x in (medians, shared))
            for strata, rows in of_kinds:
                fill(self._first, len(medians), rows, strata)
        return medians, shared

    def _relabel(self, permutation: int, strata: PartnerStrata) -> np.ndarray:
        return strata.permutation(np.random.default_rng([self._seed, permutation]))


def medians_of(values: np.ndarray, every: bool = False) -> np.ndarray:
    """Return [rows] the median of the known values of each row; NaN if there are none.

    ``every``: there is no NaN, so only the middle has to be sorted.
    """
    n = values.shape[1]
    if not n:
        return np.full(len(values), np.nan)
    if every:
        low, high = (n - 1) // 2, n // 2
        part = np.partition(values, [low, high], axis=1)
        return (part[:, low].astype(np.float64) + part[:, high]) / 2
    known = np.count_nonzero(~np.isnan(values), axis=1)
    rising = np.sort(values, axis=1)  # NaN last
    at = np.arange(len(values))
    low = rising[at, np.maximum(known - 1, 0) // 2]
    return (low.astype(np.float64) + rising[at, np.minimum(known // 2, n - 1)]) / 2


def _share_within(values: np.ndarray, limit: float) -> np.ndarray:
    """Return [rows] the share of each row's known values up to a limit; NaN if there are none."""
    known = np.count_nonzero(~np.isnan(values), axis=1)
    within = np.count_nonzero(values <= limit, axis=1)
    return np.where(known > 0, within / np.maximum(known, 1), np.nan)

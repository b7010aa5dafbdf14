"""Permutations of gene labels among genes with a like number of eligible partners.

A list can only hold eligible pairs. Labels that are permuted among all genes put a list's pairs on
genes that no list could hold, so the null is of another set of pairs than the list.
"""

from __future__ import annotations

import numpy as np


class PartnerStrata:
    """Genes of one matrix by their number of eligible pairs, in quarter-log2 bins from the largest.

    Genes without an eligible pair have a stratum of their own. Where all pairs are eligible, there
    is one stratum, and a permutation is that of all genes.

    Parameters
    ----------
    partners
        [genes] number of other genes that each gene has an eligible pair with. A pair is eligible
        in both directions or in neither: it depends on the cells that hold both genes.
    """

    def __init__(self, partners: np.ndarray) -> None:
        self._n_genes = len(partners)
        strata = partner_bins(partners)
        self._members = [np.flatnonzero(strata == s) for s in np.unique(strata)]

    def permutation(self, rng: np.random.Generator) -> np.ndarray:
        """Return [genes] int64: a permutation that maps every gene into its own stratum."""
        out = np.empty(self._n_genes, np.int64)
        for members in self._members:
            out[members] = rng.permutation(members)
        return out


def partner_bins(partners: np.ndarray) -> np.ndarray:
    """Return [genes] int64 quarter-log2 bins of numbers of partners, 0 for the largest."""
    most = partners.max(initial=0) + 1.0
    return np.floor(4 * np.log2(most / (partners + 1.0))).astype(np.int64)

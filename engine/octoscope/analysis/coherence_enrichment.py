"""Coherence against enrichment: are the layers that other models share the enriched ones?

Both are read off one list of a layer: its pairs are looked up in the matrices of the other model
groups (coherence) and in the network (enrichment). The null permutes the genes of one model group,
with one permutation for all of its models and layers, and looks its lists up anew in both.

Two other nulls are wrong. Permuting the pairing of layers takes layers for independent units, but
neighbouring layers of a model list the same pairs. Permuting the labels of the network alone, or of
the other models alone, breaks what these know of each other. Then lists of noise pass: where the
other models know hubs or edges of the network, a list that happens to hold one of them is both
coherent and enriched. docs/explanation/calibration.md has the size of all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import scipy

from octoscope.analysis import statistics
from octoscope.analysis.binned_quantiles import BinnedQuantiles
from octoscope.analysis.intervals import jackknife_interval
from octoscope.analysis.label_permutation import medians_of
from octoscope.analysis.partner_strata import partner_bins
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.nulls import label_strata, permute_within

Of = TypeVar("Of")
Pairs = tuple[np.ndarray, np.ndarray]  # query and key, the strongest pair first
GROUPS = 20  # of genes, deleted in turn for the interval
_AT_ONCE = 1 << 22  # places that are looked up in one step


@dataclass(frozen=True)
class JointPermutations:
    """Permutations of the genes of a model group: one for all of its models and layers.

    Attributes
    ----------
    vertices
        [1 + permutations, vertices] int32; the first is the identity.
    genes
        [1 + permutations, genes] int32: the same of genes. Genes of one vertex stay together.
    """

    vertices: np.ndarray
    genes: np.ndarray

    @classmethod
    def of(
        cls,
        pairs: VertexPairs,
        strata: Sequence[np.ndarray],
        partners: Sequence[np.ndarray],
        permutations: int,
        seed: int,
    ) -> JointPermutations:
        """Permute within strata that are alike in every model of the group.

        Parameters
        ----------
        pairs
            Of any model of the group: their vertices are the same.
        strata
            Of each model, see :func:`vertex_strata`.
        partners
            Of each model, [genes] numbers of other genes that a gene has an eligible pair with.
            Genes that the network does not have change places by these alone.
        """
        together = np.unique(np.stack(strata), axis=1, return_inverse=True)[1].reshape(-1)
        outside = np.flatnonzero(pairs.vertex_of < 0)
        bins = np.stack([partner_bins(p[outside]) for p in partners])
        outer = np.unique(bins, axis=1, return_inverse=True)[1].reshape(-1)
        rng = np.random.default_rng(seed)
        vertices = np.tile(np.arange(len(pairs), dtype=np.int32), (1 + permutations, 1))
        genes = np.tile(np.arange(len(pairs.vertex_of), dtype=np.int32), (1 + permutations, 1))
        for d in range(1, 1 + permutations):
            vertices[d] = permute_within(together, rng)
            genes[d] = pairs.of_gene_labels(vertices[d])
            genes[d, outside] = outside[permute_within(outer, rng)]
        return cls(vertices, genes)


def vertex_strata(pairs: VertexPairs) -> np.ndarray:
    """Return [vertices] strata of like degree, like number of eligible partners, as many genes."""
    return label_strata(pairs.degree, pairs.partners, pairs.n_genes)


def gene_groups(vertex_of: np.ndarray, n_vertices: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random groups [genes] and [vertices] that are deleted in turn; families together."""
    rng = np.random.default_rng(seed + 1)
    of_vertex = rng.integers(0, GROUPS, n_vertices)
    of_gene = rng.integers(0, GROUPS, len(vertex_of))
    inside = vertex_of >= 0
    of_gene[inside] = of_vertex[vertex_of[inside]]
    return of_gene, of_vertex


@dataclass(frozen=True)
class Measured:
    """A quantity of lists as observed, under permutations, and without groups of genes.

    Attributes
    ----------
    drawn
        [1 + permutations, ..., lists] as observed, then under each permutation.
    deleted
        [groups, ..., lists] without each group of genes.
    """

    drawn: np.ndarray
    deleted: np.ndarray

    def of(self, lists: Sequence[int]) -> Measured:
        """Return some of the lists."""
        return Measured(self.drawn[..., lists], self.deleted[..., lists])


@dataclass(frozen=True)
class EdgeRates:
    """Edge rates of lists, for one length.

    Attributes
    ----------
    n_pairs, n_edges
        [lists] distinct pairs of two vertices, and those that an edge joins.
    null_mean
        [lists] mean edge rate under the permutations.
    fold
        Edge rate over its mean under all permutations, the observed one among them: only so is it
        the same function of an observed and of a permuted list. Its ranks over layers are those of
        the rate over ``null_mean``.
    """

    n_pairs: np.ndarray
    n_edges: np.ndarray
    null_mean: np.ndarray
    fold: Measured


def join_lists(parts: Sequence[tuple[Sequence[int], Of]]) -> Of:
    """Return quantities of the lists of several models as one; with each part its lists' places.

    The quantities are dataclasses of arrays whose last axis is lists, and of such dataclasses.
    """
    order = np.argsort(np.concatenate([at for at, _ in parts]))
    return _in_order([quantities for _, quantities in parts], order)


def _in_order(parts: Sequence[Any], order: np.ndarray) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts, axis=-1)[..., order]
    names = [field.name for field in fields(parts[0])]
    return type(parts[0])(*(_in_order([getattr(p, n) for p in parts], order) for n in names))


def edge_rates(
    lists: Sequence[Pairs],
    pairs: VertexPairs,
    joint: JointPermutations,
    group: np.ndarray,
    k: int,
) -> EdgeRates:
    """Return the edge rates of the first ``k`` pairs of each list of a model.

    A permuted list's rate is over its pairs that are eligible, as only these could be listed.

    Parameters
    ----------
    lists
        Gene pairs of each layer.
    pairs
        The pairs of vertices that the model can list.
    group
        [vertices] group in which each is deleted.
    """
    drawn = np.full((len(joint.vertices), len(lists)), np.nan)
    deleted = np.full((GROUPS, len(lists)), np.nan)
    counts = np.zeros((2, len(lists)), np.int64)
    for i, (query, key) in enumerate(lists):
        u, v = pairs.listed(query[:k], key[:k])
        x, y = joint.vertices[:, u], joint.vertices[:, v]
        inside = pairs.eligible[x, y]
        edges = pairs.adjacency[x, y] & inside
        drawn[:, i] = _shares(edges.sum(1), inside.sum(1))
        counts[:, i] = len(u), edges[0].sum()
        expected = _shares(edges.sum(0), inside.sum(0))
        known = ~np.isnan(expected) & without(group, u, v)
        above, below = (known * edges[0]).sum(1), np.where(known, expected, 0.0).sum(1)
        deleted[:, i] = np.divide(above, below, out=deleted[:, i], where=below > 0)
    null_mean = statistics.known_mean(drawn[1:])
    every = statistics.known_mean(drawn)
    fold = np.divide(drawn, every, out=np.full(drawn.shape, np.nan), where=every > 0)
    return EdgeRates(counts[0], counts[1], null_mean, Measured(fold, deleted))


def without(group: np.ndarray, query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return [groups, pairs] bool: pairs that stay when each group is deleted."""
    at = np.arange(GROUPS)[:, None]
    return np.asarray((group[query] != at) & (group[key] != at))


def _shares(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.where(total > 0, hits / np.maximum(total, 1), np.nan)


def medians_in(
    matrix: BinnedQuantiles,
    lists: Sequence[Pairs],
    joint: JointPermutations,
    group: np.ndarray,
    ks: Sequence[int],
) -> Measured:
    """Return median quantiles [..., ks, lists] of a model group's lists in another matrix.

    Parameters
    ----------
    lists
        Gene pairs of the layers of all models of the group.
    group
        [genes] group in which each is deleted.
    ks
        Lengths: the first pairs of each list count.
    """
    n_genes, n_draws = len(group), len(joint.genes)
    codes = [q.astype(np.int64) * n_genes + k for q, k in lists]
    every, inverse = np.unique(np.concatenate(codes), return_inverse=True)
    at = np.split(inverse.reshape(-1), np.cumsum([len(c) for c in codes])[:-1])
    query, key = np.divmod(every, n_genes)
    drawn = np.full((n_draws, len(ks), len(lists)), np.nan)
    deleted = np.full((GROUPS, len(ks), len(lists)), np.nan)
    step = max(1, _AT_ONCE // max(len(every), 1))
    for first in range(0, n_draws, step):
        relabel = joint.genes[first : first + step]
        quantiles = matrix.at(relabel[:, query], relabel[:, key])
        for i, index in enumerate(at):
            for j, k in enumerate(ks):
                part = quantiles[:, index[:k]]
                drawn[first : first + step, j, i] = medians_of(part, matrix.every)
        if first:
            continue
        for i, index in enumerate(at):
            for j, k in enumerate(ks):
                here = index[:k]
                rest = without(group, query[here], key[here])
                deleted[:, j, i] = medians_of(np.where(rest, quantiles[0, here], np.nan))
    return Measured(drawn, deleted)


def rank_correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return [draws] Spearman correlations over layers of [draws, layers] values.

    NaN with fewer than three layers of which both are known, or where all are alike.
    """
    unknown = np.isnan(x) | np.isnan(y)
    a, b = (np.where(unknown, np.nan, v) for v in (x, y))
    a, b = (scipy.stats.rankdata(v, axis=1, nan_policy="omit") for v in (a, b))
    a, b = (v - statistics.known_mean(v, 1)[:, None] for v in (a, b))
    above, of_a, of_b = np.nansum(a * b, 1), np.nansum(a * a, 1), np.nansum(b * b, 1)
    defined = (np.count_nonzero(~unknown, axis=1) > 2) & (of_a > 0) & (of_b > 0)
    below = np.sqrt(of_a * of_b)
    return np.divide(above, below, out=np.full(len(x), np.nan), where=defined)


def layers_test(coherence: Measured, fold: Measured) -> dict[str, float | int]:
    """Test the rank correlation of coherence and enrichment over layers of a model group.

    Parameters
    ----------
    coherence, fold
        Each [draws, layers] and [groups, layers].

    Returns
    -------
    dict
        n_layers (of which both are known), spearman with the ends of its 95 % interval (20 groups
        of genes deleted in turn), mean and central 95 % of the null, one-sided p of large values,
        and n_permutations.
    """
    drawn = rank_correlations(coherence.drawn, fold.drawn)
    deleted = rank_correlations(coherence.deleted, fold.deleted)
    value, null = float(drawn[0]), drawn[1:]
    low, high = jackknife_interval(value, deleted)
    null_low, null_high = statistics.null_range(null)
    known = ~np.isnan(coherence.drawn[0]) & ~np.isnan(fold.drawn[0])
    return {
        "n_layers": int(known.sum()),
        "spearman": value,
        "low": float(np.clip(low, -1, 1)),
        "high": float(np.clip(high, -1, 1)),
        "null_mean": float(statistics.known_mean(null)),
        "null_low": null_low,
        "null_high": null_high,
        "p": statistics.permutation_p(value, null),
        "n_permutations": statistics.n_permutations_of(null),
    }

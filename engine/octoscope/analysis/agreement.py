"""Agreement of matrices over the union of their strongest pairs: ranks, overlap, coherence.

Matrices may be layers, models, estimators, heads or categories. They must have one set of genes.
The mathematics is that of docs/science.md, "Agreement".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy

from octoscope.analysis import statistics
from octoscope.analysis.binned_quantiles import Read
from octoscope.analysis.intervals import jackknife_interval
from octoscope.analysis.label_permutation import Null, medians_of
from octoscope.attention.ranks import values_and_ranks
from octoscope.attention.topk import TopK
from octoscope.config.types import Conventions

Pairs = tuple[np.ndarray, np.ndarray]  # query and key
GROUPS = 20  # of genes, deleted in turn for the interval of a median


@dataclass(frozen=True)
class RankedPairs:
    """Pairs and their ranks in each of several matrices.

    Attributes
    ----------
    query, key
        [pairs] int64 positions in the common set of genes.
    values
        [matrices, pairs] float32; NaN where not eligible.
    ranks
        [matrices, pairs] int64; 0 where not eligible.
    n_ranked
        [matrices] int64: pairs among which ranks are counted.
    partners
        [matrices, genes] int64: other genes that a gene has an eligible pair with.
    n_genes
        Size of the set.
    """

    query: np.ndarray
    key: np.ndarray
    values: np.ndarray
    ranks: np.ndarray
    n_ranked: np.ndarray
    partners: np.ndarray
    n_genes: int

    @property
    def quantiles(self) -> np.ndarray:
        """[matrices, pairs] rank / number of ranked pairs, 0 to 1, small is strong; NaN."""
        ranks = np.where(self.ranks > 0, self.ranks, np.nan)
        return ranks / np.maximum(self.n_ranked, 1)[:, None]

    def in_top_k(self, k: int) -> np.ndarray:
        """Return [matrices, pairs] bool: which pairs are among each matrix's k strongest.

        All ties at the k-th value are.
        """
        return (self.ranks > 0) & (self.ranks <= k)


def rank_pairs(
    readers: Sequence[Read],
    query: np.ndarray,
    key: np.ndarray,
    n_genes: int,
    *,
    conventions: Conventions = "corrected",
    by_absolute_value: bool = False,
) -> RankedPairs:
    """Read values and exact ranks of pairs in every matrix, one matrix at a time.

    Parameters
    ----------
    readers
        One per matrix; every call yields ``(first row, values, eligible)`` again, in one order
        of genes.
    conventions
        ``corrected``: ranks among eligible pairs of different genes. ``peer`` (napistu-torch
        0.4.0): among all genes^2 values, self pairs included.
    """
    values, ranks, n_ranked = [], [], []
    partners = np.zeros((len(readers), n_genes), np.int64)
    for read, of_genes in zip(readers, partners, strict=True):
        v, r, n = values_and_ranks(
            partial(_counting_partners, read, of_genes), query, key,
            by_absolute_value=by_absolute_value, keep_self=conventions == "peer",
        )  # fmt: skip
        values.append(v)
        ranks.append(r)
        n_ranked.append(n)
    return RankedPairs(
        query, key, np.stack(values), np.stack(ranks), np.array(n_ranked, np.int64), partners,
        n_genes,
    )  # fmt: skip


def _counting_partners(
    read: Read, partners: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield a matrix, and put each gene's eligible pairs with others into ``partners`` [genes]."""
    for first, values, eligible in read():
        at = np.arange(len(values))
        itself = eligible[at, first + at]
        partners[first : first + len(values)] = np.count_nonzero(eligible, axis=1) - itself
        yield first, values, eligible


def strongest_of(read: Read, k: int) -> Pairs:
    """Return (query, key) of a matrix's K largest eligible pairs, in one pass."""
    top = TopK(k)
    for block in read():
        top.update(*block)
    best = top.result()
    return best.query.astype(np.int64), best.key.astype(np.int64)


def union(tops: Iterable[Pairs], n_genes: int) -> Pairs:
    """Return (query, key) of the pairs in any list, ordered by (query, key)."""
    codes = [np.asarray(q, np.int64) * n_genes + k for q, k in tops]
    every = np.unique(np.concatenate(codes)) if codes else np.zeros(0, np.int64)
    query, key = np.divmod(every, n_genes)
    return query, key


def spearman(ranked: RankedPairs) -> tuple[np.ndarray, np.ndarray]:
    """Return [matrices, matrices] Spearman correlation of values, and the numbers of pairs.

    Over the pairs eligible in both; NaN below three.
    """
    n = len(ranked.values)
    known = ~np.isnan(ranked.values)
    r, pairs = np.full((n, n), np.nan), np.zeros((n, n), np.int64)
    every = bool(known.all())
    whole = [scipy.stats.rankdata(v) for v in ranked.values] if every else []
    for a in range(n):
        for b in range(a + 1):
            use = known[a] & known[b]
            pairs[a, b] = pairs[b, a] = int(use.sum())
            if pairs[a, b] < 3:
                continue
            x, y = (
                whole[m] if every else scipy.stats.rankdata(ranked.values[m][use]) for m in (a, b)
            )
            if x.std() > 0 and y.std() > 0:
                r[a, b] = r[b, a] = np.corrcoef(x, y)[0, 1]
    return r, pairs


@dataclass(frozen=True)
class Agreement:
    """Quantiles of each matrix's strongest pairs in the other matrices.

    Attributes
    ----------
    rows
        query, eval (indices of matrices), k, n_pairs (of the query's first k that are eligible in
        the other), median_quantile with interval, null median and 95 % range and p (of small
        medians), n_permutations, mean, min and max quantile, jaccard of both lists of k,
        null_jaccard (its mean under the same permutations).
    evaluated
        Indices of the evaluated matrices.
    deleted
        [groups, matrices, evaluated, ks] median quantiles without each group of genes.
    null
        [permutations, matrices, evaluated, ks] median quantiles under the permutations; NaN where
        fewer were made.
    """

    rows: list[dict[str, float | int]]
    evaluated: list[int]
    deleted: np.ndarray
    null: np.ndarray

    def join(self, other: Agreement) -> Agreement:
        """Return both together, evaluated matrices in order; they must be different ones."""
        n_permutations = max(len(self.null), len(other.null))
        order = np.argsort(self.evaluated + other.evaluated)
        longer = [
            np.concatenate([x, np.full((n_permutations - len(x), *x.shape[1:]), np.nan)])
            for x in (self.null, other.null)
        ]
        return Agreement(
            self.rows + other.rows,
            sorted(self.evaluated + other.evaluated),
            np.concatenate([self.deleted, other.deleted], axis=2)[:, :, order],
            np.concatenate(longer, axis=2)[:, :, order],
        )

    def complete_permutations(self, counts: np.ndarray) -> np.ndarray:
        """Return ``null`` with NaN where a query lacks a permutation in one of its matrices.

        More permutations are made where none reached a median. A statistic of several medians can
        only use permutations that all of them have.

        Parameters
        ----------
        counts
            [matrices, matrices] bool: which evaluated matrices count for each query.
        """
        used = counts[:, self.evaluated, None] & ~np.isnan(self.null).all(0)
        lacks = (np.isnan(self.null) & used).any(2, keepdims=True)
        return np.where(lacks, np.nan, self.null)

    @property
    def medians(self) -> np.ndarray:
        """[matrices, matrices, ks] median quantiles; NaN where there is none."""
        m, n_k = self.null.shape[1], self.null.shape[3]
        out = np.full((m, m, n_k), np.nan)
        ks = list(dict.fromkeys(row["k"] for row in self.rows))
        for row in self.rows:
            where = int(row["query"]), int(row["eval"]), ks.index(row["k"])
            out[where] = row["median_quantile"]
        return out


def agreement(
    ranked: RankedPairs,
    readers: Mapping[int, Read],
    ks: Sequence[int],
    *,
    permutations: int,
    seed: int,
    max_permutation_factor: int = 1,
    conventions: Conventions = "corrected",
) -> Agreement:
    """Look up each matrix's strongest pairs in the matrices of ``readers``.

    The interval deletes each of 20 random groups of genes in turn.

    Parameters
    ----------
    ranked
        Pairs and their ranks in all matrices.
    readers
        Readers of the evaluated matrices, by their index among all.
    ks
        Pairs that count as a matrix's strongest.
    permutations, max_permutation_factor
        Permutations of the null, and the factor by which they increase where none reaches a median.
    conventions
        How ranks were counted, see :func:`rank_pairs`.
    """
    m, n_k = len(ranked.values), len(ks)
    quantiles = ranked.quantiles
    in_top_k = np.stack([ranked.in_top_k(k) for k in ks], axis=1)  # [matrices, ks, pairs]
    group = np.random.default_rng(seed + 1).integers(0, GROUPS, ranked.n_genes)
    touched = [(group[ranked.query] == g) | (group[ranked.key] == g) for g in range(GROUPS)]
    of_sets = np.repeat(ranked.partners, n_k, axis=0)  # as in ``flat``
    null_model = Null(of_sets, permutations, max_permutation_factor, seed, conventions)
    deleted = np.full((GROUPS, m, len(readers), n_k), np.nan)
    nulls = []
    rows: list[dict[str, float | int]] = []
    flat, limits = in_top_k.reshape(m * n_k, -1), np.tile(np.asarray(ks), m)
    evaluated = list(readers)
    evaluated_quantiles = quantiles[evaluated]  # [evaluated, pairs]
    for a in range(m):
        for i in range(n_k):
            for g in range(GROUPS):
                rest = in_top_k[a, i] & ~touched[g]
                deleted[g, a, :, i] = medians_of(evaluated_quantiles[:, rest])
    for e, (b, read) in enumerate(readers.items()):
        observed = np.array([medians_of(quantiles[b : b + 1, chosen])[0] for chosen in flat])
        observed[b * n_k : (b + 1) * n_k] = np.nan  # a matrix is not compared with itself
        medians, shared = null_model.medians(read, ranked.query, ranked.key, flat, limits, observed)
        medians[:, b * n_k : (b + 1) * n_k] = np.nan
        nulls.append(medians.reshape(-1, m, n_k))
        deleted[:, b, e] = np.nan
        for a in range(m):
            for i, k in enumerate(ks if a != b else []):
                q = quantiles[b][in_top_k[a, i]]
                q = q[~np.isnan(q)]
                both = int((in_top_k[a, i] & in_top_k[b, i]).sum())
                either = int((in_top_k[a, i] | in_top_k[b, i]).sum())
                # pairs of the list that a relabelled list would share, as a Jaccard index
                of_set = shared[:, a * n_k + i]
                chance = of_set[~np.isnan(of_set)] * len(q)
                sizes = int(in_top_k[a, i].sum()) + int(in_top_k[b, i].sum()) - chance
                rows.append(
                    {"query": a, "eval": b, "k": k, "n_pairs": len(q)}
                    | _of_quantiles(q, deleted[:, a, e, i], medians[:, a * n_k + i])
                    | {
                        "jaccard": both / either if either else float("nan"),
                        "null_jaccard": float(statistics.known_mean(chance / np.maximum(sizes, 1))),
                    }
                )
    n_permutations = max((len(x) for x in nulls), default=0)
    null = np.full((n_permutations, m, len(nulls), n_k), np.nan)
    for e, medians in enumerate(nulls):
        null[: len(medians), :, e] = medians
    return Agreement(rows, evaluated, deleted, null)


def _of_quantiles(q: np.ndarray, deleted: np.ndarray, null: np.ndarray) -> dict[str, float]:
    none = float("nan")
    median = float(medians_of(q[None])[0])
    low, high = jackknife_interval(median, deleted)
    null_low, null_high = statistics.null_range(null)
    return {
        "median_quantile": median,
        "low": float(np.clip(low, 0, 1)),
        "high": float(np.clip(high, 0, 1)),
        "null_median": float(statistics.known_mean(null)),
        "null_low": null_low,
        "null_high": null_high,
        "p": statistics.permutation_p(-median, -null),
        "n_permutations": statistics.n_permutations_of(null),
        "mean_quantile": float(q.mean()) if len(q) else none,
        "min_quantile": float(q.min()) if len(q) else none,
        "max_quantile": float(q.max()) if len(q) else none,
    }


def coherence(
    medians: np.ndarray, models: Sequence[str], groups: Sequence[str], without: str | None = None
) -> np.ndarray:
    """Return how strongly other model groups agree with each matrix.

    Of -log10(2 min(m, 0.5)), m the median quantile: the mean over a model's matrices, then over a
    group's models, then over the *other* groups. 0 is chance or worse.

    Parameters
    ----------
    medians
        [..., query, eval]; NaN is left out.
    models, groups
        Names for each matrix.
    without
        A model whose matrices do not count as evaluators.

    Returns
    -------
    ndarray
        [..., query]; NaN without another group.
    """
    with np.errstate(divide="ignore"):
        score = -np.log10(2 * np.minimum(medians, 0.5))
    names, model_groups = np.array(models, object), np.array(groups, object)
    by_group: dict[str, list[np.ndarray]] = {}
    for model in dict.fromkeys(models):
        if model != without:
            at = np.flatnonzero(names == model)
            by_group.setdefault(model_groups[at[0]], []).append(
                statistics.known_mean(score[..., at], -1)
            )
    out = np.full(score.shape[:-1], np.nan)
    for a in range(score.shape[-2]):
        others = [
            statistics.known_mean(np.stack([v[..., a] for v in parts], -1), -1)
            for group, parts in by_group.items()
            if group != model_groups[a]
        ]
        if others:
            out[..., a] = statistics.known_mean(np.stack(others, -1), -1)
    return out

"""Pairs that several models attend to: aggregated ranks, support, category-specific pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from octoscope.analysis import statistics
from octoscope.analysis.partner_strata import PartnerStrata

_CHANCE = np.log10(2)  # -log10 of the middle quantile
_BY_CHANCE = 0.025**2  # of two halves, each beyond the 95 % range of the noise upwards


def score(quantiles: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Return [pairs] the mean over model groups of -log10 of a pair's quantile.

    A score of 2: the pair is on average among the strongest hundredth (a geometric mean of
    quantiles). A group cannot rank a pair if too few of its cells hold both genes. It then counts
    as chance (one half); otherwise pairs that only one model can rank would lead every list.

    Parameters
    ----------
    quantiles
        [models, pairs] rank / ranked pairs; NaN where not eligible.
    """
    model_groups, strength = np.array(groups, object), -np.log10(quantiles, dtype=np.float64)
    of_groups = np.stack(
        [statistics.known_mean(strength[model_groups == g]) for g in dict.fromkeys(groups)]
    )
    ranked = ~np.isnan(of_groups).all(0)
    mean = np.where(np.isnan(of_groups), _CHANCE, of_groups).mean(0)
    return _rounded(np.where(ranked, mean, np.nan))


def _rounded(logarithms: np.ndarray) -> np.ndarray:
    """Return float64 values with the digits of float32.

    Another kernel of the logarithm, as on another processor, gives other last bits. Rounded, the
    values are the same, and pairs of equal score tie.
    """
    return logarithms.astype(np.float32).astype(np.float64)


def support(in_top_k: np.ndarray, groups: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return [pairs] how many models, and model groups, list each pair.

    ``in_top_k``: [models, pairs] bool.
    """
    model_groups = np.array(groups, object)
    of_groups = np.stack([in_top_k[model_groups == g].any(0) for g in dict.fromkeys(groups)])
    return in_top_k.sum(0), of_groups.sum(0)


def support_test(
    query: np.ndarray,
    key: np.ndarray,
    in_top_k: np.ndarray,
    groups: Sequence[str],
    n_genes: int,
    *,
    permutations: int,
    seed: int,
    max_permutation_factor: int = 1,
    partners: np.ndarray | None = None,
) -> pd.DataFrame:
    """Count pairs that several model groups share, and pairs that relabelled genes would share.

    The null permutes the gene labels of each group's lists, all models of a group alike: hubs
    stay hubs, but on other genes. So it answers "more than independent lists of this shape", not
    "more than lists that know which genes are hubs". Where no
    permutation shares as many pairs, ``max_permutation_factor`` times as many are made.

    Parameters
    ----------
    query, key
        [pairs] int64 positions of genes.
    in_top_k
        [models, pairs] bool.
    partners
        [models, genes] int64: other genes that a gene has an eligible pair with. Labels are
        permuted among genes with a like number, the mean over the group's models. None: all alike.

    Returns
    -------
    DataFrame
        n_groups (at least so many), n_pairs, null_mean, null_low, null_high, p, n_permutations.
    """
    model_groups = np.array(groups, object)
    if partners is None:
        partners = np.zeros((len(groups), n_genes))
    names = list(dict.fromkeys(groups))
    lists = [np.flatnonzero(in_top_k[model_groups == g].any(0)) for g in names]
    strata = [PartnerStrata(partners[model_groups == g].mean(0)) for g in names]
    counts = _at_least([query[at] * n_genes + key[at] for at in lists], len(lists))

    def permute(permutations: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        null = np.zeros((permutations, len(lists) + 1), np.int64)
        for row in null:
            codes = []
            for at, of_group in zip(lists, strata, strict=True):
                relabel = of_group.permutation(rng)
                codes.append(relabel[query[at]] * n_genes + relabel[key[at]])
            row[:] = _at_least(codes, len(lists))
        return null

    observed = np.where(np.arange(len(counts)) < 2, np.nan, counts)  # shared: by two or more
    null = statistics.permute_until_reached(
        permute, observed, permutations, max_permutation_factor, seed
    )
    rows = []
    for n in range(2, len(lists) + 1):
        low, high = statistics.null_range(null[:, n].astype(float))
        rows.append(
            {
                "n_groups": n,
                "n_pairs": int(counts[n]),
                "null_mean": float(null[:, n].mean()),
                "null_low": low,
                "null_high": high,
                "p": statistics.permutation_p(float(counts[n]), null[:, n].astype(float)),
                "n_permutations": len(null),
            }
        )
    columns = ["n_groups", "n_pairs", "null_mean", "null_low", "null_high", "p", "n_permutations"]
    return pd.DataFrame(rows, columns=columns)


def _at_least(codes: list[np.ndarray], n: int) -> np.ndarray:
    """Return [n + 1] how many codes are in at least 0, 1, ... n of the lists."""
    _, times = np.unique(np.concatenate(codes), return_counts=True)
    counts = np.bincount(times, minlength=n + 1)
    return counts[::-1].cumsum()[::-1]


def specificity(quantiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how much stronger each pair is in one category than in the best of the others.

    Parameters
    ----------
    quantiles
        [categories, pairs]; NaN where not eligible; such a category is never the closest.

    Returns
    -------
    contrast
        [categories, pairs] log10(smallest quantile elsewhere / quantile here); NaN where the pair
        is not eligible here or nowhere else.
    closest_category
        [categories, pairs] the other category where the pair is strongest; -1 for none.
    """
    n = len(quantiles)
    known = np.where(np.isnan(quantiles), np.inf, quantiles)
    contrast = np.full(quantiles.shape, np.nan)
    closest_category = np.full(quantiles.shape, -1)
    for c in range(n):
        others = np.delete(known, c, axis=0)
        if not len(others):
            continue
        best, where = others.min(0), others.argmin(0)
        comparable = np.isfinite(best) & np.isfinite(known[c])
        ratio = best[comparable].astype(np.float64) / known[c, comparable]
        contrast[c, comparable] = _rounded(np.log10(ratio))
        closest_category[c, comparable] = np.delete(np.arange(n), c)[where[comparable]]
    return contrast, closest_category


def contrast_noise(halves: np.ndarray) -> np.ndarray:
    """Return [pairs] the noise of a pair's contrast in one half, estimated from both halves.

    The difference of the two halves' contrasts over the square root of 2: no category differs
    there, and the noise of the other categories is in it too. (The ratio between the halves of
    *this* category alone counts up to a third of the pairs as specific where nothing is, if the
    other category's ranks are noisier: ``benchmarks/calibration.py``.)

    Parameters
    ----------
    halves
        [2, pairs] contrast from each half alone (against the same half of the others).
    """
    return np.asarray(np.abs(halves[0] - halves[1]) / np.sqrt(2))


def contrast_test(
    total: np.ndarray, halves: np.ndarray, query: np.ndarray, key: np.ndarray, n_genes: int
) -> dict[str, float | int]:
    """Measure how many of a category's contrasts repeat between halves and exceed their noise.

    Parameters
    ----------
    total
        [pairs] contrast from all cells.
    halves
        [2, pairs] contrast from each half alone (against the same half of the others).
    query, key
        [pairs].

    Returns
    -------
    dict
        n_pairs, median_contrast, noise_high (95 % quantile of :func:`contrast_noise`), n_specific
        (contrast above it in both halves), specific_rate (their share of the pairs) with its 95 %
        interval, n_by_chance, half_correlation with its 95 % interval. Intervals delete one gene
        at a time.

        n_by_chance is what independent symmetric noise gives: half the number of pairs that are
        beyond the limit upwards in one half and downwards in the other, as either sign is as
        likely; at least 1/1600 of the pairs, as each half exceeds it upwards in 1/40. Relabelled
        genes are no null here: they make any list special.
    """
    noise = contrast_noise(halves)
    known = ~np.isnan(total) & ~np.isnan(noise)
    n = int(known.sum())
    limit = float(np.quantile(noise[known], 0.95)) if n else float("nan")
    specific = np.asarray((halves[:, known] > limit).all(0), np.float64)
    up, down = halves[:, known] > limit, halves[:, known] < -limit
    torn = int(((up[0] & down[1]) | (up[1] & down[0])).sum())
    low, high = statistics.pair_rate_interval(query[known], key[known], specific, n_genes)
    row: dict[str, float | int] = {
        "n_pairs": n,
        "median_contrast": float(np.median(total[known])) if n else float("nan"),
        "noise_high": limit,
        "n_specific": int(specific.sum()),
        "specific_rate": float(specific.mean()) if n else float("nan"),
        "specific_low": low,
        "specific_high": high,
        "n_by_chance": max(torn / 2, _BY_CHANCE * n),
    }
    both = ~np.isnan(halves).any(0)
    r = statistics.pair_correlation(
        halves[0, both], halves[1, both], query[both], key[both], n_genes
    )
    return row | dict(zip(("half_correlation", "low", "high"), r, strict=True))

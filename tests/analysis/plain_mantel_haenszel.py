"""A plain reference, in pandas and slow, of the controlled comparison of lists with networks.

Arguments are one-dimensional and have one entry a pair: is it in the list, is it an edge, which
stratum is it in, which two genes is it of.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


def counts(list_flag: ArrayLike, edge_flag: ArrayLike, stratum: ArrayLike) -> pd.DataFrame:
    """Return one row a stratum: a listed edges, b listed others, c other edges, d the rest, n."""
    frame = pd.DataFrame(
        {"t": np.asarray(list_flag, bool), "y": np.asarray(edge_flag, bool), "s": stratum}
    )
    of = frame.groupby("s")
    return pd.DataFrame(
        {
            "a": of.apply(lambda g: (g.t & g.y).sum(), include_groups=False),
            "b": of.apply(lambda g: (g.t & ~g.y).sum(), include_groups=False),
            "c": of.apply(lambda g: (~g.t & g.y).sum(), include_groups=False),
            "d": of.apply(lambda g: (~g.t & ~g.y).sum(), include_groups=False),
            "n": of.size(),
        }
    )


def odds_ratio(list_flag: ArrayLike, edge_flag: ArrayLike, stratum: ArrayLike) -> float:
    """Return the odds ratio of Mantel and Haenszel; infinite or NaN where its parts are 0."""
    k = counts(list_flag, edge_flag, stratum)
    above, below = (k.a * k.d / k.n).sum(), (k.b * k.c / k.n).sum()
    if below == 0:
        return math.inf if above > 0 else math.nan
    return float(above / below)


def robins_variance(list_flag: ArrayLike, edge_flag: ArrayLike, stratum: ArrayLike) -> float:
    """Return the variance of the log odds ratio of Robins, Breslow and Greenland (1986)."""
    k = counts(list_flag, edge_flag, stratum)
    p, q = (k.a + k.d) / k.n, (k.b + k.c) / k.n
    r, s = k.a * k.d / k.n, k.b * k.c / k.n
    if r.sum() == 0 or s.sum() == 0:
        return math.nan
    return float(
        (p * r).sum() / (2 * r.sum() ** 2)
        + (p * s + q * r).sum() / (2 * r.sum() * s.sum())
        + (q * s).sum() / (2 * s.sum() ** 2)
    )


def jackknife(
    list_flag: ArrayLike, edge_flag: ArrayLike, stratum: ArrayLike, u: ArrayLike, v: ArrayLike
) -> list[float]:
    """Return the log odds ratio without the pairs of each gene in turn, in the genes' order.

    Genes are those of `u` and `v`, sorted. Strata and list stay as they are.
    """
    pairs = pd.DataFrame(
        {"t": np.asarray(list_flag, bool), "y": np.asarray(edge_flag, bool), "s": stratum}
    ).assign(u=np.asarray(u), v=np.asarray(v))
    logs = []
    for gene in sorted(set(pairs.u) | set(pairs.v)):
        rest = pairs[(pairs.u != gene) & (pairs.v != gene)]
        value = odds_ratio(rest.t, rest.y, rest.s)
        logs.append(math.log(value) if value > 0 else -math.inf if value == 0 else math.nan)
    return logs


def tail_bins(values: ArrayLike, per_octave: int = 4, least: int = 40) -> np.ndarray:
    """Return the signed bin of each value: floor(per_octave * log2(N / rank)) from its own tail.

    Rank 1 is the most extreme. The upper half is ranked from the top, the lower half (with the
    middle of an odd number) from the bottom; equal values are ranked in their order. Bins grow
    towards the extremes, from `per_octave` up: positive above, negative below. Outermost bins are
    merged inwards until the outermost of each tail holds at least `least` pairs.
    """
    values = np.asarray(values)
    n = len(values)
    ascending = pd.Series(values).rank(method="first").to_numpy().astype(int)  # 1 is the smallest
    from_top = n + 1 - ascending
    top = from_top <= n // 2
    rank = np.where(top, from_top, ascending)
    octaves = np.array([math.floor(per_octave * math.log2(n / r)) for r in rank], dtype=int)
    bins = np.where(top, octaves, -octaves)
    for tail in (top, ~top):
        while True:
            sizes = pd.Series(np.abs(bins[tail])).value_counts().sort_index(ascending=False)
            if len(sizes) < 2 or sizes.iloc[0] >= least:
                break
            outermost, inner = sizes.index[:2]
            merged = tail & (np.abs(bins) == outermost)
            bins[merged] = np.sign(bins[merged]) * inner
    return bins


def smd(values: ArrayLike, list_flag: ArrayLike, stratum: ArrayLike) -> float:
    """Return the standardised mean difference of a covariate, listed minus others, within strata.

    Only strata that have both count, weighted by their listed pairs; the unit is the standard
    deviation (of the population, ddof 0) over all pairs given. NaN where no stratum has both.
    """
    frame = pd.DataFrame(
        {"x": np.asarray(values, float), "t": np.asarray(list_flag, bool), "s": stratum}
    )
    total, weight = 0.0, 0
    for _, pairs in frame.groupby("s"):
        listed, others = pairs.x[pairs.t], pairs.x[~pairs.t]
        if len(listed) and len(others):
            total += len(listed) * (listed.mean() - others.mean())
            weight += len(listed)
    return float(total / weight / frame.x.std(ddof=0)) if weight else math.nan

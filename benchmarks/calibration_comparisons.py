"""p-values of the comparisons of one set of simulated matrices, for the calibrations.

``eligible``: [matrices, genes, genes] bool, the pairs that may be listed and ranked in each; None
where all are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from calibration_structures import Matrix, noise
from octoscope.analysis import statistics
from octoscope.analysis.agreement import (
    Agreement,
    agreement,
    coherence,
    rank_pairs,
    strongest_of,
    union,
)
from octoscope.analysis.consensus import support_test
from octoscope.analysis.derived_views import DerivedViews
from octoscope.analysis.layers import compare_layers
from octoscope.analysis.matrix import HalfTile, MatrixSource
from octoscope.analysis.summarise_matrix import finalise

_NAMES = ["a", "b", "c"]


def source(halves: Matrix, eligible: Matrix | None = None) -> MatrixSource:
    """Return a matrix from its halves [2, genes, genes]; ``eligible`` is [genes, genes] bool."""
    sums = np.repeat(50 * halves[:, None], 3, axis=1).astype(np.float32)
    pairs = np.full(halves.shape, 50, np.int32)
    if eligible is not None:
        pairs[:, ~eligible] = 0

    def tiles() -> Iterator[HalfTile]:
        yield HalfTile(0, sums, pairs)

    return MatrixSource(tiles, halves.shape[-1], (50, 50), min_cells=20)


def sides_of(matrices: list[Matrix], eligible: Matrix | None = None) -> list[MatrixSource]:
    """Return matrices whose halves are alike."""
    return [
        source(np.stack([m, m]), None if eligible is None else eligible[i])
        for i, m in enumerate(matrices)
    ]


def agreed(
    matrices: list[Matrix],
    k: int,
    permutations: int,
    seed: int,
    view: str = "conditional",
    eligible: Matrix | None = None,
) -> Agreement:
    """Compare matrices with each other: models of one layer each."""
    genes = np.arange(len(matrices[0]))
    sides = [DerivedViews(s) for s in sides_of(matrices, eligible)]
    readers = [lambda s=s: s.values(genes, view) for s in sides]  # type: ignore[misc]
    ranked = rank_pairs(
        readers, *union([strongest_of(r, k) for r in readers], len(genes)), n_genes=len(genes)
    )
    return agreement(ranked, dict(enumerate(readers)), [k], permutations=permutations, seed=seed)


def agreement_p(
    matrices: list[Matrix],
    k: int,
    permutations: int,
    seed: int,
    view: str,
    eligible: Matrix | None = None,
) -> float:
    """Return p of the first matrix's strongest pairs in the second."""
    rows = agreed(matrices[:2], k, permutations, seed, view, eligible).rows
    return float(next(r["p"] for r in rows if r["query"] == 0))


def coherence_p(
    matrices: list[Matrix], k: int, permutations: int, seed: int, eligible: Matrix | None = None
) -> float:
    """Return p of the coherence of the first matrix with the others."""
    compared = agreed(matrices, k, permutations, seed, eligible=eligible)
    value = coherence(compared.medians[..., 0], _NAMES, _NAMES)[0]
    return statistics.permutation_p(
        float(value), coherence(compared.null[..., 0], _NAMES, _NAMES)[:, 0]
    )


def support_p(
    matrices: list[Matrix], k: int, permutations: int, seed: int, eligible: Matrix | None = None
) -> float:
    """Return p of the number of pairs that two of three models list."""
    n = len(matrices[0])
    masks = np.ones((len(matrices), n, n), bool) if eligible is None else eligible
    lists = [
        strongest_of(lambda x=x: iter([(0, *x)]), k)  # type: ignore[misc]
        for x in zip(matrices, masks, strict=True)
    ]
    query, key = union(lists, n)
    codes = query * n + key
    members = np.stack([np.isin(codes, q * n + j) for q, j in lists])
    support = support_test(
        query, key, members, _NAMES, n, permutations=permutations, seed=seed,
        partners=(masks & ~np.eye(n, dtype=bool)).sum(2),
    )  # fmt: skip
    return float(support["p"].iloc[0])


def tops_of(sides: dict[int, MatrixSource], k: int) -> dict[int, pd.DataFrame]:
    """Return each layer's strongest pairs."""
    tops = {}
    for y, side in sides.items():
        genes = {"all": np.arange(side.n_genes)}
        done = finalise(side, genes, ["conditional"], top_k=k, permutations=1, seed=0)
        tops[y] = done.topk[done.topk["part"] == "total"]
    return tops


def layers_p(
    matrices: list[Matrix], k: int, permutations: int, seed: int, eligible: Matrix | None = None
) -> float:
    """Return p of the correlation of two layers."""
    genes = np.arange(len(matrices[0]))
    # a third layer that lists the second one's pairs, as neighbours do
    near = matrices[1] + 0.01 * noise(np.random.default_rng(seed), len(genes))
    masks = None if eligible is None else eligible[[0, 1, 1]]
    sides = dict(enumerate(sides_of([*matrices[:2], near], masks)))
    tops = tops_of(sides, k)
    _, correlations = compare_layers(
        sides, genes, "conditional", tops, permutations=permutations, seed=seed
    )
    return float(correlations["p"].dropna().iloc[0])


def halves_p(
    halves: list[Matrix], permutations: int, seed: int, eligible: Matrix | None = None
) -> float:
    """Return p of the centred correlation of halves; ``eligible`` is [genes, genes]."""
    done = finalise(
        source(np.stack(halves[:2]), eligible), {"all": np.arange(len(halves[0]))}, ["conditional"],
        top_k=50, permutations=permutations, seed=seed,
    )  # fmt: skip
    return float(done.stats["half_p"].iloc[0])

"""Lists against the network among pairs that a graph neural network scores alike.

A score is learned from the network, so it is a summary of the rest of the network: with a pair's
own edges left out it says how likely an edge is from all other edges. Strata of the score ask
whether a list holds more edges than these tell. This is a control of its own and decides no
verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from octoscope.analysis.controlled import mantel_haenszel as mh
from octoscope.analysis.controlled.bins import GRID, USED, tail_bins
from octoscope.analysis.controlled.comparison import Comparison, compare, narrowest
from octoscope.analysis.controlled.controlled_block import ControlledBlock, is_rarer
from octoscope.analysis.controlled.lists import VertexList
from octoscope.analysis.controlled.universe import GROUPS, MOST_BYTES, Blocks, Universe
from octoscope.analysis.gnn_scored import QUANTITIES, ScoredGenes

_PER_OCTAVE = 1  # bins of a score per factor of two in rank


@dataclass(frozen=True)
class ScoredComparison:
    """A list under one control, without and with strata of a score.

    Attributes
    ----------
    plain
        Of the same pairs without the score.
    or0, or1
        Odds ratios among pairs of like degree, expression level and score; and of like
        co-expression too.
    smd_score, smd_coexpression
        Standardised mean differences of listed and other pairs within the strata of ``or1``.
    positivity
        Share of listed pairs with another pair in their stratum of ``or1``.
    """

    plain: Comparison
    or0: mh.OddsRatio
    or1: mh.OddsRatio
    smd_score: float
    smd_coexpression: float
    positivity: float


def score_comparisons(
    block: ControlledBlock, scored: dict[str, ScoredGenes]
) -> Iterator[tuple[dict[str, Any], ScoredComparison]]:
    """Yield (label, comparison) of the first view's headline list of every layer.

    Parameters
    ----------
    scored
        Scores by name of the network, with a pair's own edges left out. Pairs without a score are
        left out of lists and backgrounds.
    """
    if not block.genes.controlled or not scored:
        return
    k, view = block.headline_k, block.views[0]
    by_layer = {layer: pair for (layer, v), pair in block.of_matrices.items() if v == view}
    for name, scores in scored.items():
        matrices = {q: scores.of("leave-out", q) for q in QUANTITIES}
        known = ~np.isnan(matrices[QUANTITIES[0]])
        pairs = replace(block.pairs, eligible=block.pairs.eligible & known)
        if not pairs.n_pairs:
            continue
        lists = {layer: _kept(u[:k], v[:k], known) for layer, (u, v) in by_layer.items()}
        for control, blocks in block.genes.readers():
            every = list(lists.values())
            universe = block.genes.universe(blocks, every, is_rarer(view), pairs)
            plain = {layer: compare(universe, u, v) for layer, (u, v) in lists.items()}
            universe = narrowest(universe, every)
            for quantity, matrix in matrices.items():
                label = {"view": view, "control": control, "k": k, "checkpoint": name}
                label["n_background"] = pairs.n_pairs
                strata = ScoreStrata.of(universe, blocks, matrix, every)
                for layer, (u, v) in lists.items():
                    labels = label | {"layer": layer, "quantity": quantity}
                    yield labels, strata.compare(u, v, plain[layer])


def _kept(u: np.ndarray, v: np.ndarray, known: np.ndarray) -> VertexList:
    keep = known[u, v]
    return u[keep], v[keep]


@dataclass(frozen=True)
class ScoreStrata:
    """Pairs of a universe by stratum of a score as well, counted where lists hold pairs.

    Strata without a listed pair add nothing to an odds ratio of Mantel and Haenszel, so they are
    not counted.

    Attributes
    ----------
    universe
        The pairs and their control.
    scores
        [vertices, vertices] float32, symmetric.
    bins
        [vertices, vertices] uint8 bin of the score; narrower towards both tails.
    group
        [vertices] jackknife group.
    codes, counts
        By table (``base``: degree, level and score; ``used``: co-expression too): [strata]
        ascending strata that lists hold pairs in, and their counts.
    deviation
        Standard deviation of the score over all pairs.
    """

    universe: Universe
    scores: np.ndarray
    bins: np.ndarray
    group: np.ndarray
    codes: dict[str, np.ndarray]
    counts: dict[str, mh.StratumCounts]
    deviation: float

    @classmethod
    def of(
        cls, universe: Universe, blocks: Blocks, scores: np.ndarray, every: list[VertexList]
    ) -> ScoreStrata:
        """Count the pairs in one pass over the control; ``every``: all lists to compare."""
        bins, deviation = _score_bins(scores, universe.pairs.eligible)
        u, v = (np.concatenate([part[i] for part in every]) for i in range(2))
        listed = _codes(universe, bins, u, v, universe.values_at(u, v))
        codes = {table: np.unique(code) for table, code in listed.items()}
        n = len(bins)
        group = universe.group
        most = max(map(len, codes.values()))
        if n > GROUPS and 16 * n * most > MOST_BYTES:
            group = np.random.default_rng(0).permutation(n) % GROUPS
        counts = _count(universe, blocks, scores, bins, group, codes)
        return cls(universe, scores, bins, group, codes, counts, deviation)

    def compare(self, u: np.ndarray, v: np.ndarray, plain: Comparison) -> ScoredComparison:
        """Compare listed pairs with the network within strata of the score, beside ``plain``."""
        edge, values = self.universe.pairs.adjacency[u, v], self.universe.values_at(u, v)
        codes = _codes(self.universe, self.bins, u, v, values)
        at = {
            table: mh.ListedStrata.of(np.searchsorted(self.codes[table], code), edge)
            for table, code in codes.items()
        }
        groups = self.group[np.stack([u, v])]
        or0, or1 = (mh.with_error(at[t], self.counts[t], groups) for t in ("base", "used"))
        covariates = np.stack([self.scores[u, v], values[2]]).astype(np.float64)
        spread = np.array([self.deviation, self.universe.deviations[0]])
        differences = mh.balance(at["used"], covariates, self.counts["used"], spread)
        positivity = mh.comparable(at["used"], self.counts["used"])[0]
        return ScoredComparison(
            plain, or0, or1, float(differences[0]), float(differences[1]), positivity
        )


def _score_bins(scores: np.ndarray, eligible: np.ndarray) -> tuple[np.ndarray, float]:
    """Return [vertices, vertices] uint8 bins of a score, and its deviation over eligible pairs."""
    of_pairs = scores[np.triu(eligible, 1)]
    low = float(of_pairs.min())
    width = float(of_pairs.max()) - low
    scale = GRID / width if width > 0 else 0.0

    def steps(values: np.ndarray) -> np.ndarray:
        return ((np.nan_to_num(values, nan=low).astype(np.float64) - low) * scale).astype(np.int64)

    of_step = tail_bins(np.bincount(steps(of_pairs), minlength=GRID + 1), _PER_OCTAVE)
    bins = np.zeros(scores.shape, np.uint8)
    for row, values in enumerate(scores):  # not eligible ones lie outside of the grid at times
        bins[row] = of_step[np.clip(steps(values), 0, GRID)]
    return bins, float(of_pairs.std(dtype=np.float64))


def _codes(
    universe: Universe, bins: np.ndarray, u: np.ndarray, v: np.ndarray, values: np.ndarray
) -> dict[str, np.ndarray]:
    """Return [pairs] strata by table; ``values``: [3, pairs] the control."""
    score = bins[u, v].astype(np.int64)
    base = universe.strata.base(u, v)
    used = universe.strata.of(USED, values, base)
    return {"base": base * 256 + score, "used": used * 256 + score}


def _count(
    universe: Universe, blocks: Blocks, scores: np.ndarray, bins: np.ndarray, group: np.ndarray,
    codes: dict[str, np.ndarray],
) -> dict[str, mh.StratumCounts]:  # fmt: skip
    pairs, n_groups = universe.pairs, int(group.max(initial=0)) + 1
    out = {}
    for table, code in codes.items():
        n, by_group = len(code), (len(code), n_groups)
        out[table] = mh.StratumCounts(
            np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros((3, n)), np.arange(n),
            np.zeros(by_group, np.int32), np.zeros(by_group, np.int32),
        )  # fmt: skip
    for rows, block in blocks():
        here, v = np.nonzero(pairs.eligible[rows] & (np.arange(len(bins)) > rows[:, None]))
        u, values = rows[here], block[:, here, v]
        edge = pairs.adjacency[u, v]
        for table, code in _codes(universe, bins, u, v, values).items():
            at = np.minimum(np.searchsorted(codes[table], code), max(len(codes[table]) - 1, 0))
            known = codes[table][at] == code if len(codes[table]) else np.zeros(len(at), bool)
            covariates = scores[u[known], v[known]], values[2, known]
            _add(out[table], at[known], edge[known], group[u[known]], group[v[known]], covariates)
    return out


def _add(
    counts: mh.StratumCounts, at: np.ndarray, edge: np.ndarray, g: np.ndarray, h: np.ndarray,
    covariates: tuple[np.ndarray, np.ndarray],
) -> None:  # fmt: skip
    """Add pairs to counts: [pairs] strata, edges, groups of both ends, and two covariates."""
    n, other = len(counts.pairs), g != h
    counts.pairs[:] += np.bincount(at, minlength=n)
    counts.edges[:] += np.bincount(at[edge], minlength=n)
    for i, values in enumerate(covariates):
        counts.sums[i] += np.bincount(at, values.astype(np.float64), minlength=n)
    np.add.at(counts.pairs_of, (at, g), 1)
    np.add.at(counts.pairs_of, (at[other], h[other]), 1)
    np.add.at(counts.edges_of, (at[edge], g[edge]), 1)
    both = edge & other
    np.add.at(counts.edges_of, (at[both], h[both]), 1)

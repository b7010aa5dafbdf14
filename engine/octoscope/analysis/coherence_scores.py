"""Coherence against scores of a graph neural network: do layers that others share score higher?

Both are read off one list of a layer, as in :mod:`octoscope.analysis.coherence_enrichment`, and
under the same permutations: one of the genes of a model group, for all of its models and layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.coherence_enrichment import (
    GROUPS,
    JointPermutations,
    Measured,
    Pairs,
    without,
)
from octoscope.analysis.intervals import jackknife_interval
from octoscope.analysis.pair_medians import median, permuted_medians
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.pair_triangle import pair_index, triangle


@dataclass(frozen=True)
class ListScores:
    """Median scores of lists, for one length and one score.

    Attributes
    ----------
    n_pairs
        [lists] distinct pairs of two vertices that have a score.
    null_mean
        [lists] mean over the permutations of the median.
    median
        The medians: ``drawn`` under each permutation, ``deleted`` without each group of genes.
    """

    n_pairs: np.ndarray
    null_mean: np.ndarray
    median: Measured

    @property
    def excess(self) -> Measured:
        """The medians less their mean under all permutations, the observed one among them.

        Only so is it the same function of an observed and of a permuted list. Its ranks over layers
        say which lists score high, given the degrees of their genes. The mean stays as it is where
        genes are deleted.
        """
        every = statistics.known_mean(self.median.drawn)
        return Measured(self.median.drawn - every, self.median.deleted - every)

    def row(self, i: int) -> dict[str, float | int]:
        """Return n_pairs, median with its interval, null_mean and difference of a list."""
        middle, mean = float(self.median.drawn[0, i]), float(self.null_mean[i])
        low, high = jackknife_interval(middle, self.median.deleted[:, i])
        return {
            "n_pairs": int(self.n_pairs[i]), "median": middle, "median_low": low,
            "median_high": high, "null_mean": mean, "difference": middle - mean,
        }  # fmt: skip


def list_scores(
    lists: Sequence[Pairs],
    pairs: VertexPairs,
    values: np.ndarray,
    joint: JointPermutations,
    group: np.ndarray,
    k: int,
) -> list[ListScores]:
    """Return the median scores of the first ``k`` pairs of each list of a model, by score.

    A permuted list's median is over its pairs that are eligible, as only these could be listed.

    Parameters
    ----------
    lists
        Gene pairs of each layer.
    pairs
        The pairs of vertices that the model can list.
    values
        [triangle, scores] float32 of :mod:`octoscope.octopus.pair_triangle`; NaN in every score
        where a pair has none.
    group
        [vertices] group in which each is deleted.
    """
    n_scores = values.shape[1]
    code = (triangle(pairs.eligible) & ~np.isnan(values[:, 0])).astype(np.uint8)
    one = np.array([0, 0, 1]), np.array([0]), 1  # class 1 is the only part
    drawn = np.full((n_scores, len(joint.vertices), len(lists)), np.nan)
    deleted = np.full((n_scores, GROUPS, len(lists)), np.nan)
    counts = np.zeros(len(lists), np.int64)
    for i, (query, key) in enumerate(lists):
        u, v = pairs.listed(query[:k], key[:k])
        drawn[:, :, i] = permuted_medians(values, code, one, u, v, joint.vertices)[:, 0].T
        own = values[pair_index(u, v, len(pairs))]
        known = ~np.isnan(own).any(1)
        counts[i] = known.sum()
        for g, rest in enumerate(without(group, u, v) & known):
            deleted[:, g, i] = [median(own[rest, s]) for s in range(n_scores)]
    return [
        ListScores(counts, statistics.known_mean(of[1:]), Measured(of, without_group))
        for of, without_group in zip(drawn, deleted, strict=True)
    ]

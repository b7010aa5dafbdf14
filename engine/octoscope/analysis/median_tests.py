"""Do the strongest pairs of a matrix score higher than pairs of vertices that are like them?

The same statistic is compared: the median over listed pairs against the median over the pairs that
a permuted list holds. Vertices are permuted among those of like degree, like number of eligible
partners and as many genes (:class:`octoscope.analysis.vertex_pairs.VertexPairs`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.jit import compiled

_BOOTSTRAPS = 200
_ROWS = 1024  # of a matrix that are looked at at once
ALL = "all pairs"


@dataclass(frozen=True)
class MedianTests:
    """Lists of pairs against permuted lists: what all lists of a block share is made once.

    Attributes
    ----------
    pairs
        The pairs that a list can hold.
    values
        [vertices, vertices, scores] float32, symmetric; NaN in every score where a pair has none.
        Scores of a pair lie side by side, because a permuted pair is one random access.
    parts
        Name -> [vertices, vertices] bool: pairs that belong to it; at most 8.
    permutations, seed
        Permuted lists, the same ones for every list.
    """

    pairs: VertexPairs
    values: np.ndarray
    parts: Mapping[str, np.ndarray]
    permutations: int
    seed: int

    def of(self, u: np.ndarray, v: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        """Compare the medians of listed pairs with permuted lists, by score and part.

        Parameters
        ----------
        u, v
            [pairs] positions of the vertices of distinct unordered pairs.

        Yields
        ------
        tuple
            Which score, and per part: ``part``, ``n_listed``, ``n_pairs`` (those with a score),
            ``median`` with the interval ``low``, ``high`` (vertices drawn with replacement),
            quartiles, ``n_background`` and ``background_median`` over all eligible pairs of the
            part, ``difference`` of the two medians, mean and range of the null, one-sided ``p`` of
            large medians, ``n_permutations``.
        """
        null = self._null(u, v)
        for s in range(self.values.shape[2]):
            for i, (name, part) in enumerate(self.parts.items()):
                yield s, {"part": name} | self._row(u, v, s, i, part, null[:, i, s])

    def _row(
        self, u: np.ndarray, v: np.ndarray, s: int, i: int, part: np.ndarray, null: np.ndarray
    ) -> dict[str, Any]:
        inside = part[u, v]
        values = self.values[u[inside], v[inside], s]
        known = ~np.isnan(values)
        values = values[known]
        median = _median(values)
        low, high = self._interval(values, u[inside][known], v[inside][known])
        quarters = np.quantile(values, [0.25, 0.75]) if len(values) else (np.nan, np.nan)
        null_low, null_high = statistics.null_range(null)
        drawn = null[~np.isnan(null)]
        n_background, background = self._backgrounds[i]
        return {
            "n_listed": int(inside.sum()), "n_pairs": len(values),
            "median": median, "low": low, "high": high,
            "lower_quartile": float(quarters[0]), "upper_quartile": float(quarters[1]),
            "n_background": n_background, "background_median": float(background[s]),
            "difference": median - float(background[s]),
            "null_mean": float(drawn.mean()) if len(drawn) else float("nan"),
            "null_low": null_low, "null_high": null_high,
            "p": statistics.permutation_p(median, null), "n_permutations": len(drawn),
        }  # fmt: skip

    @cached_property
    def _bits(self) -> np.ndarray:
        """[vertices, vertices] uint8: bit i of an eligible pair with scores in part i."""
        out = np.zeros(self.pairs.eligible.shape, np.uint8)
        for i, part in enumerate(self.parts.values()):
            out |= part.astype(np.uint8) << np.uint8(i)
        out[~self.pairs.eligible] = 0
        for rows in _row_blocks(len(out)):
            out[rows][np.isnan(self.values[rows]).any(2)] = 0
        return out

    @cached_property
    def _backgrounds(self) -> list[tuple[int, np.ndarray]]:
        """Of each part: eligible pairs with scores, and [scores] float64 medians over them."""
        out = []
        for i in range(len(self.parts)):
            upper = np.triu(self._bits >> np.uint8(i) & 1, 1).astype(bool)
            scores = range(self.values.shape[2])
            medians = [_median(self.values[..., s][upper]) for s in scores]
            out.append((int(np.count_nonzero(upper)), np.array(medians)))
        return out

    @cached_property
    def _relabels(self) -> np.ndarray:
        """[permutations, vertices] int32 where each vertex goes."""
        drawn = self.pairs.permutations(self.permutations, self.seed)
        return np.array([relabel.astype(np.int32) for relabel in drawn])

    @cached_property
    def _weights(self) -> np.ndarray:
        """[draws, vertices] int32 times that each vertex is drawn, n with replacement."""
        n = len(self.pairs)
        rng = np.random.default_rng([self.seed, 1])
        if not n:
            return np.zeros((0, 0), np.int32)
        return rng.multinomial(n, np.full(n, 1 / n), _BOOTSTRAPS).astype(np.int32)

    def _null(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return [permutations, parts, scores] medians of permuted lists; NaN: no pair left."""
        n, n_parts = len(self.pairs), len(self.parts)
        out = np.full((self.permutations, n_parts, self.values.shape[2]), np.nan)
        flat, bits = self.values.reshape(n * n, -1), self._bits.reshape(-1)
        for medians, relabel in zip(out, self._relabels, strict=True):
            pair = relabel[u].astype(np.int64) * n + relabel[v]
            within, drawn = bits[pair], np.ascontiguousarray(flat.take(pair, axis=0).T)
            for i in range(n_parts):
                inside = np.flatnonzero(within & np.uint8(1 << i))
                taken = drawn if len(inside) == len(within) else drawn.take(inside, axis=1)
                if taken.shape[1]:
                    medians[i] = _medians(taken)
        return out

    def _interval(self, values: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[float, float]:
        """Return the 95 % range of weighted medians; a pair weighs the product of its vertices.

        This bootstrap draws vertices, so pairs that share one move together (Owen 2007, "The
        pigeonhole bootstrap"); it is wider than one that draws pairs.
        """
        if len(values) < 2:
            return float("nan"), float("nan")
        order = np.argsort(values, kind="stable")
        medians = np.empty(_BOOTSTRAPS)
        _weighted_medians(values[order], u[order], v[order], self._weights, medians)
        low, high = np.nanquantile(medians, [0.025, 0.975])
        return float(low), float(high)


def _row_blocks(n: int) -> Iterator[slice]:
    return (slice(lo, lo + _ROWS) for lo in range(0, n, _ROWS))


def _median(values: np.ndarray) -> float:
    return float(_medians(values[None])[0]) if len(values) else float("nan")


def _medians(values: np.ndarray) -> np.ndarray:
    """Return [rows] float64 medians of [rows, columns]; two middle values are averaged in float64.

    One partition and a maximum: ``np.median`` takes five times as long for lists of 10,000.
    """
    half = values.shape[1] // 2
    ordered = np.partition(values, half, axis=1)
    upper = ordered[:, half].astype(np.float64)
    if values.shape[1] % 2:
        return upper
    return (upper + ordered[:, :half].max(1)) / 2


@compiled()
def _weighted_medians(
    ranked: np.ndarray, u: np.ndarray, v: np.ndarray, weights: np.ndarray, out: np.ndarray
) -> None:
    """Write the weighted median of ascending values for each draw; NaN where all weigh nothing.

    Parameters
    ----------
    ranked, u, v
        [pairs] ascending values and the vertices of their pairs.
    weights
        [draws, vertices] int32.
    out
        [draws] float64.
    """
    for d in range(len(out)):
        of = weights[d]
        total = 0
        for i in range(len(u)):
            total += of[u[i]] * of[v[i]]
        out[d] = np.nan
        held = 0
        for i in range(len(u)):
            if total == 0:
                break
            held += of[u[i]] * of[v[i]]
            if 2 * held >= total:
                out[d] = ranked[i]
                break

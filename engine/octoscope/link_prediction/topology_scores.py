"""Rules that score a pair of vertices from the training edges alone: floors of link prediction.

A is the adjacency, U its symmetric form, k the degrees of U, N(x) the neighbours of x in U.

============================ ==================================================================
``mirror``                    1 where the edge from target to source is in training
``preferential_attachment``   out-degree of the source x in-degree of the target
``common_neighbours``         |N(x) & N(y)|
``adamic_adar``               sum over common neighbours of 1 / log k (Adamic and Adar 2003)
``resource_allocation``       sum over common neighbours of 1 / k (Zhou et al. 2009)
``l3``                        sum over paths x-u-v-y of 1 / sqrt(k_u k_v) (Kovacs et al. 2019)
``path_out_out``              sum over x -> u -> y of steps S = D_out^-1/2 A D_in^-1/2
``path_out_in_out``           the same over x -> u <- v -> y: v shares a target with x
``path_out_out_out``          over x -> u -> v -> y
``path_out_out_in``           over x -> u -> v <- y: a target of x leads where y leads
``path_out_in_in``            over x -> u <- v <- y
``personalised_pagerank``     of y by a walk on U that restarts at x with probability 0.15
``spectral``                  product of leading eigenvectors of D^-1/2 U D^-1/2
``directed_spectral``         product of leading singular vectors of D_out^-1/2 A D_in^-1/2
============================ ==================================================================

The first steps of personalised PageRank (three or more) are exact. The rest of the series is summed
over the leading eigenvectors; :meth:`Topology.pagerank_error` bounds what they leave out. Sources
of pairs are taken in blocks, so memory grows with the block and not with the pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from octoscope.gnn.directed_spectrum import directed_spectrum, scaled
from octoscope.link_prediction.adjacency import neighbours
from octoscope.link_prediction.path_sums import by_source, entries, reach
from octoscope.link_prediction.spectral import (
    DIMENSIONS,
    Spectrum,
    products,
    spectrum,
)

RULES = (
    "mirror", "preferential_attachment", "common_neighbours", "adamic_adar", "resource_allocation",
    "l3", "path_out_out", "path_out_in_out", "path_out_out_out", "path_out_out_in",
    "path_out_in_in", "personalised_pagerank", "spectral", "directed_spectral",
)  # fmt: skip
DIRECTED_PATHS = RULES[6:11]
_PATHS = (*RULES[2:6], "personalised_pagerank")
STAY = 0.85  # probability that the walk of PageRank goes on
# Of PageRank: beyond each of these, steps are summed over eigenvectors.
_ERROR = 1e-3
_MOST_STEPS = 20
_WORK = 2e11  # multiplications


@dataclass(frozen=True)
class Topology:
    """Training edges as the rules read them.

    Attributes
    ----------
    adjacency
        [vertices, vertices] float32 CSR: 1 where a training edge leads from row to column.
    dimensions
        Of the spectral embeddings.
    """

    adjacency: sparse.csr_array
    dimensions: int = DIMENSIONS

    @cached_property
    def near(self) -> sparse.csr_array:
        """Symmetric adjacency."""
        return neighbours(self.adjacency)

    @cached_property
    def degree(self) -> np.ndarray:
        """[vertices] float64 numbers of distinct neighbours."""
        return np.diff(self.near.indptr).astype(float)

    @cached_property
    def out_degree(self) -> np.ndarray:
        """[vertices] float64 numbers of distinct targets."""
        return np.diff(self.adjacency.indptr).astype(float)

    @cached_property
    def in_degree(self) -> np.ndarray:
        """[vertices] float64 numbers of distinct sources."""
        return np.bincount(self.adjacency.indices, minlength=len(self.degree)).astype(float)

    @cached_property
    def spectrum(self) -> Spectrum:
        """Leading eigenvectors of the scaled symmetric adjacency."""
        return spectrum(self.near, self.dimensions)

    @cached_property
    def directed(self) -> tuple[np.ndarray, np.ndarray]:
        """Leading singular vectors of the scaled directed adjacency."""
        return directed_spectrum(self.adjacency, self.dimensions)

    def steps(self, sources: int) -> int:
        """Return the number of steps of PageRank's walk that are summed exactly.

        So many that :meth:`pagerank_error` is below 0.001, at most 20. Steps beyond the third cost
        a product of the adjacency per source; at most 2e11 multiplications are spent on them.
        """
        cost = max(sources * self.near.nnz, 1)
        most = min(_MOST_STEPS, 3 + int(_WORK // cost))
        return next((t for t in range(3, most) if self._omitted(t) < _ERROR), most)

    def pagerank_error(self, sources: int) -> float:
        """Return the largest error of a PageRank between vertices of equal degree.

        For others it is this times the root of degree of target / degree of source.

        Parameters
        ----------
        sources
            Number of distinct source vertices that are asked about at once.
        """
        return self._omitted(self.steps(sources))

    def _omitted(self, steps: int) -> float:
        omitted = np.array([min(self.spectrum.left_out, 1.0)])
        return float(_tail(omitted, steps)[0])

    def scores(
        self, src: np.ndarray, dst: np.ndarray, rules: tuple[str, ...] = RULES
    ) -> dict[str, np.ndarray]:
        """Return [pairs] float64 scores by rule of ordered pairs ([pairs] int64 vertices)."""
        n = len(self.degree)
        distinct, inverse = np.unique(src.astype(np.int64) * n + dst, return_inverse=True)
        a, b = distinct // n, distinct % n
        scores = {}
        if "mirror" in rules:
            scores["mirror"] = entries(self.adjacency, b, a)
        if "preferential_attachment" in rules:
            scores["preferential_attachment"] = self.out_degree[a] * self.in_degree[b]
        if "spectral" in rules:
            vectors = self.spectrum.vectors
            scores["spectral"] = products(vectors * self.spectrum.values, vectors, a, b)
        if "directed_spectral" in rules:
            scores["directed_spectral"] = products(*self.directed, a, b)
        path_rules = [r for r in rules if r in _PATHS]
        if path_rules:
            scores |= self._paths(a, b, path_rules)
        directed = [r for r in rules if r in DIRECTED_PATHS]
        if directed:
            scores |= self._directed_paths(a, b, directed)
        return {rule: scores[rule][inverse] for rule in rules}

    def _paths(self, a: np.ndarray, b: np.ndarray, rules: list[str]) -> dict[str, np.ndarray]:
        """Return scores of paths of two and three edges; ``a`` ascends."""
        k = np.maximum(self.degree, 1)
        inverse, root = 1 / k, 1 / np.sqrt(k)
        log = np.where(self.degree > 1, 1 / np.log(np.maximum(self.degree, 2)), 0)
        shared = {
            "common_neighbours": np.ones_like(k), "adamic_adar": log,
            "resource_allocation": inverse,
        }  # fmt: skip
        shared = {rule: weight for rule, weight in shared.items() if rule in rules}
        out = {rule: np.zeros(len(a)) for rule in rules}
        steps = self.steps(len(np.unique(a))) if "personalised_pagerank" in rules else 0
        by_inverse, by_root = (_by_rows(self.near, w) for w in (inverse, root))
        for mine, pairs, row in by_source(a):
            target = b[pairs]
            ends = self.near[mine]
            if shared:
                of_rules = reach(self.near, ends.toarray(), row, target, list(shared.values()))
                for rule, values in zip(shared, of_rules, strict=True):
                    out[rule][pairs] = values
            if "personalised_pagerank" in out:
                out["personalised_pagerank"][pairs] = self._pagerank(
                    ends, (ends @ by_inverse).toarray(), row, a[pairs], target, steps
                )
            if "l3" in out:
                block = (ends @ by_root).toarray()
                (out["l3"][pairs],) = reach(self.near, block, row, target, [root])
        return out

    def _directed_paths(
        self, a: np.ndarray, b: np.ndarray, rules: list[str]
    ) -> dict[str, np.ndarray]:
        """Return sums over paths whose steps have a direction each; ``a`` ascends.

        The last step of a path is along an edge into ``b``, or against an edge out of it.
        """
        step = scaled(self.adjacency)
        sources = step.T.tocsr()  # rows: a vertex, and where its edges come from
        out = {rule: np.zeros(len(a)) for rule in rules}
        for mine, pairs, row in by_source(a):
            target = b[pairs]
            once = step[mine]
            for second, twice in (("out", step), ("in", sources)):
                names = [f"path_out_{second}_{third}" for third in ("out", "in")]
                if not {*names, f"path_out_{second}"} & {*rules}:
                    continue
                block = (once @ twice).toarray()
                if f"path_out_{second}" in out:
                    out[f"path_out_{second}"][pairs] = block[row, target]
                for name, last in zip(names, (sources, step), strict=True):
                    if name in out:
                        (out[name][pairs],) = reach(last, block, row, target, None)
        return out

    def _pagerank(
        self, ends: sparse.csr_array, two: np.ndarray, row: np.ndarray, a: np.ndarray,
        b: np.ndarray, steps: int,
    ) -> np.ndarray:  # fmt: skip
        """Return ``sum over t of (1 - STAY) STAY^t P^t(a, b)`` with ``P = D^-1 U``.

        ``P = D^-1/2 S D^1/2``, so ``P^t(x, y) = sqrt(k_y / k_x) sum_j l_j^t v_xj v_yj``.

        Parameters
        ----------
        ends
            [sources, vertices] rows of U.
        two
            [sources, vertices] ``ends @ P``.
        row
            [pairs] rows of these two.
        a, b
            [pairs] vertices.
        steps
            Number that is summed exactly.
        """
        inverse = 1 / np.maximum(self.degree, 1)
        walk = STAY * entries(ends, row, b) + STAY**2 * two[row, b]
        for t in range(3, steps):
            two = (self.near @ (two * inverse.astype(np.float32)).T).T
            walk += STAY**t * two[row, b]
        (last,) = reach(self.near, two, row, b, [inverse])
        walk += STAY**steps * last
        vectors = self.spectrum.vectors
        rest = products(vectors * _tail(self.spectrum.values, steps), vectors, a, b)
        return (1 - STAY) * walk * inverse[a] + np.sqrt(self.degree[b] * inverse[a]) * rest


def _tail(values: np.ndarray, steps: int) -> np.ndarray:
    """Return ``sum over t > steps of (1 - STAY) (STAY l)^t`` of eigenvalues l."""
    return (1 - STAY) * (STAY * values) ** (steps + 1) / (1 - STAY * values)


def _by_rows(matrix: sparse.csr_array, weight: np.ndarray) -> sparse.csr_array:
    out = matrix.copy()
    out.data = np.repeat(weight, np.diff(matrix.indptr)).astype(np.float32)
    return out

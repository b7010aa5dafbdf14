"""Compare the top pairs of many layers with the scores of a graph neural network.

    python benchmarks/gnn_join.py --genes 4000        # 66 layers x 10,000 pairs, 1,000 permutations

Scores among the genes are there already (six of them: probability and cosine, with all edges, with
those of training, left out). Timed is what a run does with them: the medians of each list and of
its permuted lists in every part (all pairs, with and without an edge, each sign, each relation),
intervals, and the backgrounds. Degrees are lognormal; relation r holds a share of the edges like
1 / r. A model is a task, as in a run; tasks share the processors.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from dask.delayed import delayed
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.median_tests import MedianTests
from octoscope.analysis.pair_parts import PairParts
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.pair_triangle import triangle

SCORES = 6
ROWS = 1 << 22  # pairs that are made at once


def block(genes: int, relations: int, seed: int) -> tuple[VertexPairs, np.ndarray, PairParts]:
    """Return pairs of a random network, their scores, and which of them are in which part."""
    rng = np.random.default_rng(seed)
    weight = rng.lognormal(0, 1.2, genes)
    n_edges = genes * genes // 80
    src, dst = (rng.choice(genes, n_edges, p=weight / weight.sum()) for _ in range(2))
    edges = np.zeros((genes, genes), bool)
    edges[src, dst] = edges[dst, src] = True
    joined = triangle(edges)
    values = np.empty((len(joined), SCORES), np.float32)
    for lo in range(0, len(joined), ROWS):
        part = slice(lo, lo + ROWS)
        values[part] = rng.random(values[part].shape, np.float32)
    at = np.flatnonzero(joined)
    sign = rng.choice(4, len(at), p=[0.1, 0.02, 0.01, 0.87])
    shares = 1 / np.arange(1, relations + 1)
    relation = rng.choice(relations, len(at), p=shares / shares.sum())
    named = {("sign", str(i)): at[sign == i] for i in range(4)}
    named |= {("relation", str(i)): at[relation == i] for i in range(relations)}
    parts = PairParts.of_pairs(len(joined), at, named)
    return VertexPairs(np.arange(genes), ~np.eye(genes, dtype=bool), edges), values, parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--layers", type=int, default=66)
    parser.add_argument("--models", type=int, default=7)
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000])
    parser.add_argument("--relations", type=int, default=12)
    parser.add_argument("--permutations", type=int, default=1000)
    options = parser.parse_args()
    pairs, values, parts = block(options.genes, options.relations, 0)
    layers = np.array_split(np.arange(options.layers), options.models)

    def of_model(mine: np.ndarray) -> int:
        tests = MedianTests(pairs, values, parts, options.permutations, 0)
        rows = 0
        for layer in mine:
            rng = np.random.default_rng([1, int(layer)])
            code = np.unique(rng.integers(0, options.genes**2, 3 * max(options.pairs)))
            code = rng.permutation(code)
            u, v = code // options.genes, code % options.genes
            u, v = u[u < v], v[u < v]
            for k in options.pairs:
                rows += len(list(tests.of(u[:k], v[:k])))
        return rows

    start = time.perf_counter(), time.process_time()
    rows = sum(compute([delayed(of_model)(mine) for mine in layers]))
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{options.genes:,} genes, {options.layers} layers x {options.pairs} pairs, {len(parts)} "
        f"parts, {options.permutations:,} permutations: {rows:,} rows, {wall:.1f} s wall, "
        f"{processor:.1f} s of processor time, {memory:.1f} GB"
    )


if __name__ == "__main__":
    main()

"""Compare the top pairs of many layers with the scores of a graph neural network.

    python benchmarks/gnn_join.py --genes 4000        # 66 layers x 10,000 pairs, 1,000 permutations

Scores among the genes are there already (six of them: probability and cosine, with all edges, with
those of training, left out). Timed is what a run does with them: the medians of each list and of
its permuted lists in five parts, intervals, and the backgrounds. Degrees are lognormal. A model is
a task, as in a run; tasks share the processors.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from dask.delayed import delayed
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.median_tests import ALL, MedianTests
from octoscope.analysis.vertex_pairs import VertexPairs

SCORES = 6


def block(genes: int, seed: int) -> tuple[VertexPairs, np.ndarray, dict[str, np.ndarray]]:
    """Return pairs of a random network, their scores, and the parts of a run."""
    rng = np.random.default_rng(seed)
    weight = rng.lognormal(0, 1.2, genes)
    n_edges = genes * genes // 80
    src, dst = (rng.choice(genes, n_edges, p=weight / weight.sum()) for _ in range(2))
    edges = np.zeros((genes, genes), bool)
    edges[src, dst] = edges[dst, src] = True
    values = np.empty((genes, genes, SCORES), np.float32)
    for s in range(SCORES):
        drawn = rng.random((genes, genes), np.float32)
        values[..., s] = np.triu(drawn) + np.triu(drawn, 1).T
    sign = rng.random((genes, genes)) < 0.8
    sign = np.triu(sign) | np.triu(sign, 1).T
    parts = {
        ALL: np.ones_like(edges), "with an edge": edges, "without an edge": ~edges,
        "activation": edges & sign, "inhibition": edges & ~sign,
    }  # fmt: skip
    eligible = ~np.eye(genes, dtype=bool)
    return VertexPairs(np.arange(genes), eligible, edges), values, parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--layers", type=int, default=66)
    parser.add_argument("--models", type=int, default=7)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--permutations", type=int, default=1000)
    options = parser.parse_args()
    pairs, values, parts = block(options.genes, 0)
    layers = np.array_split(np.arange(options.layers), options.models)

    def of_model(mine: np.ndarray) -> int:
        tests = MedianTests(pairs, values, parts, options.permutations, 0)
        rows = 0
        for layer in mine:
            rng = np.random.default_rng([1, int(layer)])
            code = np.unique(rng.integers(0, options.genes**2, 3 * options.pairs))
            u, v = code // options.genes, code % options.genes
            u, v = u[u < v][: options.pairs], v[u < v][: options.pairs]
            rows += len(list(tests.of(u, v)))
        return rows

    start = time.perf_counter(), time.process_time()
    rows = sum(compute([delayed(of_model)(mine) for mine in layers]))
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{options.genes:,} genes, {options.layers} layers x {options.pairs:,} pairs, "
        f"{options.permutations:,} permutations: {rows:,} rows, {wall:.1f} s wall, "
        f"{processor:.1f} s of processor time, {memory:.1f} GB"
    )


if __name__ == "__main__":
    main()

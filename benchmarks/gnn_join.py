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
from octoscope.octopus.pair_triangle import triangle

SCORES = 6
PARTS = (ALL, "with an edge", "without an edge", "activation", "inhibition")
ROWS = 1 << 22  # pairs that are made at once


def block(genes: int, seed: int) -> tuple[VertexPairs, np.ndarray, np.ndarray]:
    """Return pairs of a random network, their scores, and which of them are in which part."""
    rng = np.random.default_rng(seed)
    weight = rng.lognormal(0, 1.2, genes)
    n_edges = genes * genes // 80
    src, dst = (rng.choice(genes, n_edges, p=weight / weight.sum()) for _ in range(2))
    edges = np.zeros((genes, genes), bool)
    edges[src, dst] = edges[dst, src] = True
    joined = triangle(edges)
    values = np.empty((len(joined), SCORES), np.float32)
    members = np.empty(len(joined), np.uint8)
    for lo in range(0, len(joined), ROWS):
        part = slice(lo, lo + ROWS)
        values[part] = rng.random(values[part].shape, np.float32)
        activates = rng.random(len(values[part])) < 0.8
        of_parts = (joined[part], ~joined[part], joined[part] & activates,
                    joined[part] & ~activates)  # fmt: skip
        members[part] = 1 + sum(np.uint8(2 << i) * inside for i, inside in enumerate(of_parts))
    return VertexPairs(np.arange(genes), ~np.eye(genes, dtype=bool), edges), values, members


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--layers", type=int, default=66)
    parser.add_argument("--models", type=int, default=7)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--permutations", type=int, default=1000)
    options = parser.parse_args()
    pairs, values, members = block(options.genes, 0)
    layers = np.array_split(np.arange(options.layers), options.models)

    def of_model(mine: np.ndarray) -> int:
        tests = MedianTests(pairs, values, PARTS, members, options.permutations, 0)
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

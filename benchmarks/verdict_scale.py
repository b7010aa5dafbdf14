"""Time and memory of the controlled overlap at the size of a genome.

    python benchmarks/verdict_scale.py [--genes 18000] [--lists 20] [--k 10000]

A random network with eight edges per hundred pairs at most, and a control that is made block by
block, so that the figure is that of the counting. Prints CPU seconds of one thread for the two
passes (bins; counts by stratum, refinement, half and jackknife group), seconds per list with its
intervals, the peak of resident memory, and the ratio to plain pandas on a twentieth of the genes.
Then CPU seconds and sweeps of the models with gene effects (the ladder): all of a first control,
and what a further control adds; seconds per list of their ratios, and the peak with them. Last the
verdicts of all lists: CPU minutes of passes, models, every list, its ratios and its verdict.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from octoscope.analysis.controlled.comparison import compare
from octoscope.analysis.controlled.observed_expected import fit_ladder
from octoscope.analysis.controlled.universe import count_universe
from octoscope.analysis.controlled.verdicts import judge
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.pairs import pair_codes

_ROWS, _DENSITY = 256, 0.05


class Control:
    """Correlations of random vectors, by blocks of rows, the same every time."""

    def __init__(self, n: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        parts = rng.normal(size=(3, n, 24)).astype(np.float32)
        parts[2] = parts[0] + parts[1]
        self.unit = parts / np.linalg.norm(parts, axis=2, keepdims=True)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, [3, rows, genes])."""
        n = self.unit.shape[1]
        for first in range(0, n, _ROWS):
            rows = np.arange(first, min(first + _ROWS, n))
            yield rows, np.clip(self.unit[:, rows] @ self.unit.transpose(0, 2, 1), -1, 1)


def universe_of(n: int, seed: int) -> tuple[VertexPairs, Control, np.ndarray]:
    rng = np.random.default_rng(seed)
    w = rng.lognormal(0, 0.8, n).astype(np.float32)
    adjacency = np.zeros((n, n), bool)
    for first in range(0, n, _ROWS):
        rows = slice(first, min(first + _ROWS, n))
        chance = np.minimum(np.outer(w[rows], w) * (_DENSITY * n * n / w.sum() ** 2), 0.9)
        edges = rng.random(chance.shape, dtype=np.float32) < chance
        edges &= np.arange(n) > np.arange(n)[rows, None]
        adjacency[rows] |= edges
        adjacency[:, rows] |= edges.T
    eligible = np.ones((n, n), bool)
    np.fill_diagonal(eligible, False)
    return VertexPairs(np.arange(n), eligible, adjacency), Control(n, seed), rng.normal(3, 1, n)


def plain_seconds(n: int) -> float:
    """Time pandas on the same: one table of all pairs, ranks, strata, counts."""
    pairs, control, expression = universe_of(n, 1)
    started = time.thread_time()
    i, j = np.triu_indices(n, 1)
    r = np.concatenate([b for _, b in control.blocks()], axis=1)[2][i, j]
    t = pd.DataFrame({"r": r, "edge": pairs.adjacency[i, j]})
    t["c"] = np.floor(4 * np.log2(len(t) / t["r"].rank(ascending=False)))
    t["d"] = np.floor(2 * np.log2((pairs.degree[i] + 1.0) * (pairs.degree[j] + 1.0)))
    t["x"] = pd.qcut(expression[i] + expression[j], 20, labels=False)
    t.groupby(["c", "d", "x"])["edge"].agg(["size", "sum"])
    return time.thread_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=int, default=18_000)
    parser.add_argument("--lists", type=int, default=20)
    parser.add_argument("--k", type=int, default=10_000)
    a = parser.parse_args()
    n = a.genes
    small = universe_of(200, 0)
    few = count_universe(small[0], small[1].blocks, small[2], np.zeros(0, np.int64), rarer=False)
    fit_ladder(few, small[1].blocks)  # compiles
    plain = plain_seconds(n // 20)
    pairs, control, expression = universe_of(n, 0)
    rng = np.random.default_rng(2)
    lists = []
    for _ in range(a.lists):
        u, v = rng.integers(0, n, (2, 2 * a.k))
        code = np.unique(pair_codes(u, v, n)[u != v])
        code = rng.permutation(code)[: a.k]
        lists.append((code // n, code % n))
    codes = np.unique(np.concatenate([pair_codes(u, v, n) for u, v in lists]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    started = time.thread_time()
    for _ in control.blocks():
        pass
    reading = time.thread_time() - started
    started = time.thread_time()
    universe = count_universe(pairs, control.blocks, expression, codes, rarer=False)
    counting = time.thread_time() - started - 2 * reading
    u, v = lists[0]
    compare(universe, u, v)  # compiles
    started = time.thread_time()
    for u, v in lists:
        compare(universe, u, v)
    per_list = (time.thread_time() - started) / a.lists
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    started = time.thread_time()
    first = fit_ladder(universe, control.blocks)
    every_rung = time.thread_time() - started
    started = time.thread_time()
    fitted = fit_ladder(universe, control.blocks, first)
    models = fitted.degree, fitted.expression, fitted.coexpression, fitted.pairwise
    del first
    one_rung = time.thread_time() - started
    started = time.thread_time()
    for u, v in lists:
        fitted.ratios(u, v)
    per_ratio = (time.thread_time() - started) / a.lists
    started = time.thread_time()
    for u, v in lists:
        c = compare(universe, u, v, fitted=fitted)
        judge(c, c.p, 1000)
    verdicts = counting + 2 * reading + every_rung + time.thread_time() - started
    n_pairs = n * (n - 1) / 2
    small_pairs = (n // 20) * (n // 20 - 1) / 2
    figures = {
        "genes": n, "pairs": int(n_pairs), "counting_seconds": round(counting, 2),
        "nanoseconds_per_pair": round(1e9 * counting / n_pairs, 1),
        "seconds_per_list": round(per_list, 4), "k": a.k,
        "peak_gb_before_counting": round(before, 2),
        "peak_gb": round(peak, 2),
        "ladder_seconds": round(every_rung, 1), "ladder_seconds_of_another": round(one_rung, 1),
        "ladder_sweeps": [m.sweeps for m in models],
        "ladder_converged": all(m.converged for m in models),
        "lists": a.lists, "minutes_of_all_verdicts": round(verdicts / 60, 1),
        "ladder_seconds_per_list": round(per_ratio, 4),
        "peak_gb_with_ladder": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "pandas_over_this": round((plain / small_pairs) / (counting / n_pairs), 1),
    }  # fmt: skip
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

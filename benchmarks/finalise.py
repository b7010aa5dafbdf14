"""Top-K and ranks of a whole matrix from row tiles: ours against sorting it.

    python benchmarks/finalise.py [--genes 6000] [--k 10000] [--queries 30000]

One process a side and run, three runs, medians. The other side sorts the eligible off-diagonal
values once and looks both up, as one would write it. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import status

RUNS, TILE = 3, 512


def ours(values: np.ndarray, eligible: np.ndarray, a: argparse.Namespace) -> list[int]:
    from engine.attention.ranks import values_and_ranks
    from engine.attention.topk import TopK

    def tiles() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for first in range(0, len(values), TILE):
            yield first, values[first : first + TILE], eligible[first : first + TILE]

    top = TopK(a.k)
    for tile in tiles():
        top.update(*tile)
    found = top.result()
    query, key = queries(a)
    ranks = values_and_ranks(tiles, query, key)[1]
    return [int(x) for x in (found.query.sum(), found.key.sum(), ranks.sum())]


def sorting(values: np.ndarray, eligible: np.ndarray, a: argparse.Namespace) -> list[int]:
    keep = eligible & ~np.eye(len(values), dtype=bool)
    i, j = np.nonzero(keep)
    flat = values[i, j]
    order = np.argsort(-flat, kind="stable")
    kept = order[: a.k]  # random values: no ties
    query, key = queries(a)
    rising = flat[order][::-1]
    ranks = 1 + len(flat) - np.searchsorted(rising, values[query, key], side="right")
    ranks[~keep[query, key]] = 0
    return [int(x) for x in (i[kept].sum(), j[kept].sum(), ranks.sum())]


def queries(a: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    query, key = rng.integers(a.genes, size=(2, a.queries))
    return query, np.where(query == key, (key + 1) % a.genes, key)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("genes", 6000), ("k", 10_000), ("queries", 30_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--side", choices=("ours", "sorting"))
    a = parser.parse_args()
    if a.side:
        rng = np.random.default_rng(0)
        values = rng.standard_normal((a.genes, a.genes), dtype=np.float32)
        eligible = rng.random((a.genes, a.genes), dtype=np.float32) < 0.9
        side = ours if a.side == "ours" else sorting
        small = argparse.Namespace(genes=50, k=10, queries=20)
        side(values[:50, :50].copy(), eligible[:50, :50].copy(), small)  # compiled, or warm
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
        started = time.perf_counter()
        found = side(values, eligible, a)
        took = time.perf_counter() - started
        print(json.dumps({"seconds": took, "peak": status("VmHWM") - before, "found": found}))
        return
    sides: dict[str, dict[str, float]] = {}
    answers = []
    for side in ("ours", "sorting"):
        runs = []
        for _ in range(RUNS):
            done = subprocess.run(
                [sys.executable, __file__, "--side", side, *(f"--{n}={getattr(a, n)}" for n in
                 ("genes", "k", "queries"))],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            runs.append(json.loads(done.stdout))
        sides[side] = {n: float(np.median([r[n] for r in runs])) for n in ("seconds", "peak")}
        answers.append(runs[0]["found"])
    print(
        json.dumps(
            {
                "benchmark": "finalise", "genes": a.genes, "k": a.k, "queries": a.queries,
                "speed_ratio": round(sides["sorting"]["seconds"] / sides["ours"]["seconds"], 1),
                "memory_ratio": round(sides["ours"]["peak"] / sides["sorting"]["peak"], 4),
                "parity": answers[0] == answers[1],
                **{f"{s}_{n}": v for s, found in sides.items() for n, v in found.items()},
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()

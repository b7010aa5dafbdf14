"""What ``topk.py`` and ``ranks.py`` share: a matrix, two sides in fresh processes, one line."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
from measure import measured

RUNS, TILE = 3, 512

# (values [genes, genes], eligible, options) -> arrays, the same from both sides
Side = Callable[[np.ndarray, np.ndarray, argparse.Namespace], tuple[np.ndarray, ...]]


def tiles(values: np.ndarray, eligible: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield row tiles as a stored matrix does."""
    for first in range(0, len(values), TILE):
        yield first, values[first : first + TILE], eligible[first : first + TILE]


def compare(name: str, file: str, sides: dict[str, Side], options: dict[str, int]) -> None:
    """Run both sides, the first ours; prints the figures of medians, ratios and parity."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    for option, default in ({"genes": 6000} | options).items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--side", choices=tuple(sides), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        rng = np.random.default_rng(0)
        values = rng.standard_normal((a.genes, a.genes), dtype=np.float32)
        eligible = rng.random((a.genes, a.genes), dtype=np.float32) < 0.9
        small = argparse.Namespace(**(vars(a) | dict.fromkeys(options, 10) | {"genes": 50}))
        sides[a.side](values[:50, :50].copy(), eligible[:50, :50].copy(), small)  # compiled, warm
        arrays, costs = measured(lambda: sides[a.side](values, eligible, a))
        digests = [hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest() for x in arrays]
        print(json.dumps(costs | {"found": digests}))
        return
    shown = {o: getattr(a, o) for o in ("genes", *options)}
    threads = str(os.cpu_count() or 1)
    env = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    figures: dict[str, dict[str, float]] = {}
    answers = []
    for side in sides:
        command = [sys.executable, file, "--side", side, *(f"--{o}={v}" for o, v in shown.items())]
        runs = []
        for _ in range(RUNS):
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
            runs.append(json.loads(done.stdout))
        figures[side] = {n: float(np.median([r[n] for r in runs])) for n in ("seconds", "peak")}
        answers.append(runs[0]["found"])
    ours, other = figures.values()
    summary = {"benchmark": name, **shown, "threads": int(threads)}
    summary |= {f"{side}_{n}": v for side, costs in figures.items() for n, v in costs.items()}
    summary |= {
        "speed_ratio": round(other["seconds"] / ours["seconds"], 1),
        "memory_ratio": round(ours["peak"] / other["peak"], 4),
        "parity": answers[0] == answers[1],
    }
    print(json.dumps(summary))

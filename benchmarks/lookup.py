"""Do a million ordered pairs have an edge in a network of 8 million? Against the peer.

    python benchmarks/lookup.py [--edges 8000000] [--pairs 1000000] [--peer]

A random graph of the Octopus' shape: 50,000 vertices, degrees lognormal, 91 % of the pairs in both
orders. Each side in a fresh process, one thread each (neither uses more), median of 3. Ours keeps
its index between calls; building it is reported beside, and a ratio that includes it. The peer
builds its set in every call. Half of the queries are edges. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import measured

HERE = Path(__file__).parent
VERTICES, RUNS = 50_000, 3


def graph(edges: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return src and dst of distinct ordered pairs, most of them mirrored."""
    weight = np.exp(rng.normal(0, 1, VERTICES))
    chance = np.cumsum(weight / weight.sum())
    want = int(edges / 1.91)
    key = np.zeros(0, np.int64)
    while len(key) < want:
        a, b = np.searchsorted(chance, rng.random((2, want))).astype(np.int64)
        both = np.minimum(a, b) * VERTICES + np.maximum(a, b)
        key = np.unique(np.concatenate([key, both[a != b]]))
    key = rng.permutation(key)[:want]
    a, b = key // VERTICES, key % VERTICES
    back = rng.permutation(want)[: edges - want]
    order = rng.permutation(edges)
    return np.concatenate([a, b[back]])[order], np.concatenate([b, a[back]])[order]


def ours(graph_file: str, query_file: str, answers: str) -> None:
    import pandas as pd
    from octoscope.octopus.lookups import describe_vertices
    from octoscope.octopus.network import Network
    from octoscope.octopus.pairs import Edges

    stored, queries = np.load(graph_file), np.load(query_file)
    n = len(stored["src"])
    zero, role = np.zeros(n, np.int32), np.full(n, 5, np.uint8)
    edges = Edges(
        stored["src"].astype(np.int32), stored["dst"].astype(np.int32), role, role,
        np.ones(n, bool), np.zeros(n, np.int8), np.zeros(n, np.uint8),
        np.full(n, np.nan, np.float32), zero, zero, zero,
    )  # fmt: skip
    vertices = pd.DataFrame({"vertex": np.arange(VERTICES)})
    net = Network(vertices, pd.DataFrame({"gene": [], "vertex": []}), edges, ["X"])
    _, index = measured(lambda: net.index)
    a, b = queries["a"], queries["b"]
    has_edge, looked_up = measured(lambda: net.index.find(a, b) >= 0)
    np.save(answers, has_edge)
    _ = net.degree
    _, everything = measured(lambda: describe_vertices(net, a, b))
    shown = {"index": index, "everything": everything}
    print(json.dumps(looked_up | {f"{k}_seconds": v["seconds"] for k, v in shown.items()}
                     | {"index_peak": index["peak"]}))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, default=8_000_000)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--peer", action="store_true", help="compare with napistu-torch 0.4.0")
    parser.add_argument("--peer-runs", type=int, default=RUNS)
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        ours(*a.side)
        return
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / n) for n in ("graph.npz", "queries.npz", "ours.npy")]
        src, dst = graph(a.edges, rng)
        np.savez(files[0], src=src, dst=dst, vertices=VERTICES)
        hit = rng.integers(0, len(src), a.pairs // 2)
        rest = rng.integers(0, VERTICES, (2, a.pairs - len(hit)))
        order = rng.permutation(a.pairs)
        query = [np.concatenate([e[hit], r])[order] for e, r in zip((src, dst), rest, strict=True)]
        np.savez(files[1], a=query[0], b=query[1])
        env = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        mine = [sys.executable, __file__, "--side", *files]
        figures = _runs(mine, RUNS, env)
        line = {"benchmark": "lookup", "edges": a.edges, "pairs": a.pairs, "threads": 1}
        line |= {f"ours_{k}": v for k, v in figures.items()}
        if a.peer:
            from peer_environment import napistu

            peer_answers = str(Path(folder) / "peer.npy")
            command = [str(napistu()), str(HERE / "peer_has_edges.py"), *files[:2], peer_answers]
            peer = _runs(command, a.peer_runs, env)
            line |= {f"peer_{k}": v for k, v in peer.items()}
            once = figures["seconds"] + figures["index_seconds"]
            line |= {
                "speed_ratio": peer["seconds"] / figures["seconds"],
                "speed_ratio_with_index": peer["seconds"] / once,
                "memory_ratio": figures["resident"] / peer["resident"],
                "parity": bool((np.load(files[2]) == np.load(peer_answers)).all()),
            }
        print(json.dumps(line))


def _runs(command: list[str], count: int, env: dict[str, str]) -> dict[str, float]:
    runs = []
    for _ in range(count):
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=HERE.parent)
        if done.returncode:
            raise SystemExit(done.stderr)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {k: float(np.median([r[k] for r in runs])) for k in runs[0]}


if __name__ == "__main__":
    main()

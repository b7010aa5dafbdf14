"""Floors of link prediction on a large graph, against networkx on a sample of pairs.

    python benchmarks/link_floors.py --edges 8000000
    python benchmarks/link_floors.py --edges 500000 --networkx

A random graph of 50,000 vertices with lognormal degrees, 91 % of its pairs stated both ways. Each
line is seconds of wall and of processor time and the peak memory of the process so far. With
--networkx the same rules are computed for a sample of pairs by networkx (L3 by loops over its
neighbours), compared with ours, and the ratio of processor time per pair is printed.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from octoscope.gnn.graph import GnnGraph, no_edges
from octoscope.link_prediction.adjacency import train_adjacency
from octoscope.link_prediction.evaluate_links import Settings, evaluate_links
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.negatives import draw_negatives, positives_of
from octoscope.link_prediction.splits import Split, split_links
from octoscope.link_prediction.topology_scores import RULES, Topology
from octoscope.octopus.network import Network

N = 50_000


def timed(what: str, call: Callable[[], Any]) -> tuple[float, Any]:
    """Print and return seconds of processor time, and what was called gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    cpu = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    wall = time.perf_counter() - wall
    print(f"{what:40s} wall {wall:7.1f} s  cpu {cpu:7.1f} s  peak {peak:.1f} GB", flush=True)
    return cpu, result


def random_links(edges: int, seed: int = 0) -> Links:
    rng = np.random.default_rng(seed)
    weight = rng.lognormal(0, 1.2, N)
    half = edges * 100 // 191
    src, dst = (rng.choice(N, half, p=weight / weight.sum()) for _ in range(2))
    back = rng.random(half) < 0.91
    a, b = np.concatenate([src, dst[back]]), np.concatenate([dst, src[back]])
    names = [f"v{i}" for i in range(N)]
    vertices = pd.DataFrame({"vertex": np.arange(N), "name": names, "species": names,
                             "species_type": "protein"})  # fmt: skip
    genes = pd.DataFrame({"gene": names[:0], "vertex": np.arange(0), "how": names[:0]})
    graph = GnnGraph(
        x=np.ones((N, 1), np.float32), src=a.astype(np.int64), dst=b.astype(np.int64),
        edge_attr=None, relation=None, relations=(), split=None,
        names=Network(vertices, genes, no_edges(), []), vertex_features=("one",), edge_features=(),
        made_from="random graph", known={},
    )  # fmt: skip
    return Links(graph, None, (), np.zeros(len(a), np.int8))


def by_networkx(topology: Topology, pairs: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Return the rules that networkx has, and L3; a line of time each."""
    graph = nx.Graph(topology.near)
    k = dict(graph.degree)

    def l3(x: int, y: int) -> float:
        return float(sum((k[u] * k[v]) ** -0.5 for u in graph[x] for v in graph[y]
                         if graph.has_edge(u, v)))  # fmt: skip

    def pagerank() -> np.ndarray:
        of = {x: nx.pagerank(graph, 0.85, {x: 1}, tol=1e-9) for x in {x for x, _ in pairs}}
        return np.array([of[x][y] for x, y in pairs])

    rules: dict[str, Callable[[], np.ndarray]] = {
        "common_neighbours": lambda: np.array([len(list(nx.common_neighbors(graph, *p)))
                                               for p in pairs]),
        "adamic_adar": lambda: np.array([s for *_, s in nx.adamic_adar_index(graph, pairs)]),
        "resource_allocation": lambda: np.array(
            [s for *_, s in nx.resource_allocation_index(graph, pairs)]),
        "l3": lambda: np.array([l3(*p) for p in pairs]),
        "personalised_pagerank": pagerank,
    }  # fmt: skip
    return {name: timed(f"networkx {name}, {len(pairs)} pairs", of) for name, of in rules.items()}


def compare(links: Links, split: Split, sample: int) -> None:
    topology = Topology(train_adjacency(links, split))
    positives = positives_of(links, split, "test", 20_000)
    negatives = draw_negatives(links, split, positives)
    a = np.concatenate([positives.src, negatives.src])
    b = np.concatenate([positives.dst, negatives.dst])
    timed("spectra", lambda: (topology.spectrum, topology.directed))
    mine = {r: timed(f"{r}, {len(a)} pairs", lambda r=r: topology.scores(a, b, (r,))[r])
            for r in RULES}  # fmt: skip
    chosen = np.random.default_rng(0).choice(len(a), sample, replace=False)
    pairs = list(zip(a[chosen].tolist(), b[chosen].tolist(), strict=True))
    for rule, (cpu, values) in by_networkx(topology, pairs).items():
        ours = mine[rule]
        error = np.abs(ours[1][chosen] - values).max() / max(np.abs(values).max(), 1e-12)
        ratio = (cpu / sample) / (ours[0] / len(a))
        print(f"{rule}: {ratio:.0f} times less processor time per pair; largest difference "
              f"{error:.1e} of the largest value")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=8_000_000)
    parser.add_argument("--networkx", action="store_true")
    parser.add_argument("--sample", type=int, default=20)
    options = parser.parse_args()
    _, links = timed("graph", lambda: random_links(options.edges))
    _, split = timed("split", lambda: split_links(links))
    if options.networkx:
        compare(links, split, options.sample)
        return
    settings = Settings(("degree",))
    _, evaluation = timed("all floors, stacked and ranks", lambda: evaluate_links(
        links, split, settings=settings))  # fmt: skip
    rows = evaluation.metrics.query("stratum == 'all' and metric in ('auc', 'mrr')")
    print(rows[["scorer", "metric", "value", "low", "high"]].to_string(index=False))
    print(evaluation.about["leak"], evaluation.about["negatives"])


if __name__ == "__main__":
    main()

"""What hubs alone do to an edge rate: lists that know nothing but the degree of genes.

    python benchmarks/hub_lists.py [NETWORK] [--pairs 10000] [--permutations 200]

Prints for random pairs, pairs drawn in proportion to the product of both degrees, and all pairs
among the largest hubs: the edge rate, the enrichment over the background as published, and that
over genes of like degree with its p.
"""

from __future__ import annotations

import argparse

import numpy as np
from octoscope.analysis.given_lists import list_rates
from octoscope.octopus.network import Network, open_network


def lists(network: Network, genes: np.ndarray, k: int, seed: int) -> dict[str, np.ndarray]:
    """Return [2, pairs] positions of genes of three lists of distinct unordered pairs."""
    rng = np.random.default_rng(seed)
    degree = network.degree[network.vertex_of(genes)].astype(float)
    n = len(genes)

    def drawn(weight: np.ndarray) -> np.ndarray:
        a, b = rng.choice(n, (2, 20 * k), p=weight / weight.sum())
        a, b = np.minimum(a, b), np.maximum(a, b)
        code = a[a < b] * n + b[a < b]
        first = np.sort(np.unique(code, return_index=True)[1])[:k]
        return np.stack(np.divmod(code[first], n))

    most = int((1 + np.sqrt(1 + 8 * k)) / 2)  # with so many genes there are k pairs
    hubs = np.argsort(-degree, kind="stable")[:most]
    pairs = {
        "random pairs": drawn(np.ones(n)),
        "in proportion to both degrees": drawn(degree),
        f"all pairs of the {most} largest hubs": hubs[np.stack(np.triu_indices(most, 1))],
    }
    # in random order: a network may name regulators first
    return {
        name: np.where(rng.random(ij.shape[1]) < 0.5, ij, ij[::-1]) for name, ij in pairs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="?", default="demo")
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--permutations", type=int, default=200)
    a = parser.parse_args()
    network = open_network(a.network)
    genes = np.array(network.gene_index, dtype=object)
    single = network.genes.groupby("gene")["vertex"].nunique()  # one gene, one vertex
    genes = genes[single.reindex(genes).to_numpy() == 1]
    genes = genes[np.sort(np.unique(network.vertex_of(genes), return_index=True)[1])]
    print(f"{len(genes):,} genes, {a.pairs:,} pairs a list")
    print("| list | edge rate | fold as published | fold over like degree | p |")
    print("|---|---|---|---|---|")
    for name, (i, j) in lists(network, genes, a.pairs, 0).items():
        rates, peer = list_rates(
            network, genes[i], genes[j], genes, permutations=a.permutations, seed=0
        )
        print(
            f"| {name} | {rates['edge_rate']:.3f} | {peer.fold:.1f} | "
            f"{rates['fold_over_null']:.2f} | {rates['p']:.2g} |"
        )


if __name__ == "__main__":
    main()

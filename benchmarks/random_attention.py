"""Random numbers in the place of attention, on the embedded cells and network.

    python benchmarks/random_attention.py [--runs 200] [--genes 2000]

Each run draws genes of the embedded network, one cell type in turn, and a random matrix. Pairs are
eligible as in a run: at least 20 cells of the type express both genes. Prints how often the overlap
test, the overlap test that permutes every mapped gene (the earlier null), the AUROC test and the
controlled overlap call random numbers enriched, with the exact 95 % interval of each share.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import partial

import anndata as ad
import numpy as np
import scipy.stats
from octoscope.analysis.auroc import auroc_test
from octoscope.analysis.controlled.comparison import compare
from octoscope.analysis.controlled.controls import by_vertex
from octoscope.analysis.controlled.lists import by_vertex_mean, strongest_pairs
from octoscope.analysis.controlled.universe import count_universe
from octoscope.analysis.overlap import overlap_test
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.attention.comoments import log_normalise
from octoscope.attention.histograms import bins_of
from octoscope.demo.demo import data
from octoscope.octopus.network import open_network
from octoscope.octopus.pairs import pair_codes
from scipy import sparse

_MIN_CELLS, _LISTED, _PERMUTATIONS = 20, 500, 99


def correlations(values: np.ndarray) -> np.ndarray:
    """Return [half 0, half 1, all cells; genes; genes] of [cells, genes]."""
    with np.errstate(invalid="ignore"):
        parts = [np.corrcoef(v, rowvar=False) for v in (values[::2], values[1::2], values)]
    return np.nan_to_num(np.stack(parts)).astype(np.float32)


def _one_block(block: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    yield 0, block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--genes", type=int, default=2000)
    a = parser.parse_args()
    cells = ad.read_zarr(data("immune559.zarr"))
    counts = sparse.csr_matrix(cells.X)
    network = open_network("demo")
    types = cells.obs["cell_type"].astype(str).to_numpy()
    ids = np.array([str(g).split(".")[0] for g in cells.var_names])
    mapped = np.flatnonzero(network.vertex_of(ids) >= 0)
    normal = log_normalise(counts)
    p: dict[str, list[float]] = {name: [] for name in ("overlap", "old null", "auroc", "or1")}
    folds: list[float] = []
    names = sorted(set(types))
    for run in range(a.runs):
        rng = np.random.default_rng([run, 22])
        here = np.flatnonzero(types == names[run % len(names)])
        genes = np.sort(rng.choice(mapped, min(a.genes, len(mapped)), replace=False))
        expressed = (counts[here][:, genes] > 0).astype(np.float32)
        eligible = np.asarray((expressed.T @ expressed).todense()) >= _MIN_CELLS
        np.fill_diagonal(eligible, False)
        vertices = network.vertex_of(ids[genes])
        pairs = VertexPairs.of_genes(vertices, network.adjacency(vertices), eligible)
        values = rng.normal(size=eligible.shape).astype(np.float32)
        read = [(0, values, eligible)]
        u, v = strongest_pairs(lambda read=read: read, pairs, _LISTED)  # type: ignore[misc]
        first = np.flatnonzero(vertices >= 0)
        gene_of = first[np.unique(pairs.vertex_of[first], return_index=True)[1]]
        draws = {"permutations": _PERMUTATIONS, "seed": run, "max_permutation_factor": 1}
        tested = overlap_test(gene_of[u], gene_of[v], pairs, **draws)
        folds.append(float(tested["fold_over_null"]))
        p["overlap"].append(float(tested["p"]))
        every = VertexPairs(pairs.vertex_of, ~np.eye(len(pairs), dtype=bool), pairs.adjacency)
        p["old null"].append(float(overlap_test(gene_of[u], gene_of[v], every, **draws)["p"]))
        p["auroc"].append(float(auroc_test(bins_of(values), eligible, pairs, **draws)["p"]))
        dense = normal[here][:, genes].toarray()
        block = correlations(dense)
        universe = count_universe(
            pairs, by_vertex(partial(_one_block, block), pairs.vertex_of, len(pairs)),
            by_vertex_mean(dense.mean(0), pairs), np.sort(pair_codes(u, v, len(pairs))), rarer=True,
        )  # fmt: skip
        p["or1"].append(compare(universe, u, v).p)
    shares = {}
    for name, values_of in p.items():
        known = np.array(values_of)[~np.isnan(values_of)]
        hits = int((known <= 0.05 + 1e-9).sum())
        low, high = scipy.stats.binomtest(hits, len(known)).proportion_ci()
        shares[name] = {"n": len(known), "share": hits / len(known), "low": low, "high": high}
        print(f"{name}: p <= 0.05 in {hits} of {len(known)} runs, 95 % {low:.1%} to {high:.1%}")
    print(f"observed over null mean: {np.nanmean(folds):.3f}")
    print(json.dumps({"runs": a.runs, "genes": a.genes, "found": shares}))


if __name__ == "__main__":
    main()

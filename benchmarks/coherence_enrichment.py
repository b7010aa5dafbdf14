"""Calibration of coherence against enrichment, and of two nulls that are wrong for it.

    python benchmarks/coherence_enrichment.py [--runs 400] [--genes 80] [--layers 6]

A model group of two models, and two other groups of one model each, beside a network of very
different degrees. Layers of a model follow each other: each is 0.9 of the one before and noise of
its own. Structures: ``noise``: nothing is shared. ``hubs``: the other models rank pairs by the
degree of the network; the group has hubs of its own. ``others know the network``: the edges are
raised in the other models alone. ``coherent``: the group and the others share raised pairs, the
more the later the layer; edges or not. ``enriched``: edges are raised in the group alone, the
more the later the layer. ``unrelated``: layers share pairs with the others and hold edges, each in
an order of its own: labels matter, but not for the relation. ``planted``: raised pairs are shared
and are edges, the more the later the layer: the rate is power.

Nulls: ``joint`` is the analysis; ``network`` permutes the network alone; ``layers`` permutes which
coherence belongs to which enrichment. Prints the share of runs with p <= 0.05 and its exact 95 %
interval, how often the interval of the joint test misses the mean of all runs, and one JSON line.
"""

from __future__ import annotations

import argparse
import json
from functools import partial

import numpy as np
import scipy
from calibration_structures import Matrix, network, noise
from octoscope.analysis import statistics
from octoscope.analysis.agreement import coherence, strongest_of
from octoscope.analysis.binned_quantiles import BinnedQuantiles
from octoscope.analysis.coherence_enrichment import (
    JointPermutations,
    Measured,
    Pairs,
    edge_rates,
    gene_groups,
    layers_test,
    medians_in,
    rank_correlations,
    vertex_strata,
)
from octoscope.analysis.coherence_scores import list_scores
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.pair_triangle import triangle

STRUCTURES = (
    "noise", "hubs", "others know the network", "coherent", "enriched", "unrelated", "planted",
)  # fmt: skip
NULLS = ("joint", "network", "layers")
MODELS = ("a1", "a2", "b", "c")
GROUP_OF = {"a1": "a", "a2": "a", "b": "b", "c": "c"}
_KEPT = 0.9  # of a layer in the next one


def simulated(
    rng: np.random.Generator, n: int, layers: int, structure: str
) -> tuple[dict[str, list[Matrix]], Matrix]:
    """Return the layers of each model, and the network."""
    adjacency = network(rng, n)
    raised = rng.random((n, n)) < adjacency.mean()
    degree = np.log1p(adjacency.sum(1))
    rising = np.linspace(0, 2, layers)
    by_model: dict[str, list[Matrix]] = {}
    for model in MODELS:
        own, group = noise(rng, n), GROUP_OF[model] == "a"
        matrices = []
        for y in range(layers):
            own = _KEPT * own + np.sqrt(1 - _KEPT**2) * noise(rng, n)
            x = own.copy()
            if structure == "hubs":
                w = rng.normal(size=n) if group else degree
                x += w[:, None] + w
            elif structure == "others know the network" and not group:
                x += 2 * adjacency
            elif structure == "enriched" and group:
                x += rising[y] * adjacency
            elif structure in ("coherent", "unrelated"):
                x += (rising[y] if group else 2) * raised
                if structure == "unrelated" and group:
                    x += rising[(3 * y + 1) % layers] * adjacency
            elif structure == "planted":
                x += (rising[y] if group else 2) * adjacency
            matrices.append(x.astype(np.float32))
        by_model[model] = matrices
    return by_model, adjacency


def measured(
    by_model: dict[str, list[Matrix]], adjacency: Matrix, k: int, permutations: int, seed: int
) -> tuple[Measured, Measured, Matrix]:
    """Return coherence and fold of the group's layers, and folds with the network permuted."""
    n = len(adjacency)
    pairs = VertexPairs.of_genes(np.arange(n), adjacency, np.ones((n, n), bool))
    joint = permuted(pairs, permutations, seed)
    other = permuted(pairs, permutations, seed + 10**6)
    of_vertex = gene_groups(pairs.vertex_of, n, seed)[1]
    value, lists = looked_up(by_model, pairs, joint, k, seed)
    fold = edge_rates(lists, pairs, joint, of_vertex, k).fold
    return value, fold, edge_rates(lists, pairs, other, of_vertex, k).fold.drawn


def permuted(pairs: VertexPairs, permutations: int, seed: int) -> JointPermutations:
    n = len(pairs)
    strata = vertex_strata(pairs)
    return JointPermutations.of(pairs, [strata], [np.full(n, n - 1)], permutations, seed)


def looked_up(
    by_model: dict[str, list[Matrix]],
    pairs: VertexPairs,
    joint: JointPermutations,
    k: int,
    seed: int,
) -> tuple[Measured, list[Pairs]]:
    """Return coherence of the group's layers, and their lists."""
    n, permutations = len(pairs), len(joint.genes) - 1
    every = np.ones((n, n), bool)
    of_gene = gene_groups(pairs.vertex_of, n, seed)[0]
    ends = [(m, x) for m in MODELS for x in by_model[m]]
    names, groups = [m for m, _ in ends], [GROUP_OF[m] for m, _ in ends]
    mine = [i for i, g in enumerate(groups) if g == "a"]
    lists = [strongest_of(lambda x=x: iter([(0, x, every)]), k) for i, (_, x) in enumerate(ends)
             if i in mine]  # type: ignore[misc]  # fmt: skip
    drawn = np.full((1 + permutations, len(ends), len(ends)), np.nan)
    deleted = np.full((20, len(ends), len(ends)), np.nan)
    for e, (_, x) in enumerate(ends):
        if groups[e] == "a":
            continue
        medians = medians_in(
            BinnedQuantiles(lambda x=x: iter([(0, x, every)]), n), lists, joint, of_gene, [k]
        )  # type: ignore[misc]
        drawn[:, mine, e], deleted[:, mine, e] = medians.drawn[:, 0], medians.deleted[:, 0]
    coherent = partial(coherence, models=names, groups=groups)
    return Measured(coherent(drawn)[:, mine], coherent(deleted)[:, mine]), lists


def measured_scores(
    structure: str, n: int, layers: int, k: int, permutations: int, seed: int
) -> tuple[Measured, Measured]:
    """Return coherence of the group's layers, and the excess of scores that know the network."""
    rng = np.random.default_rng(seed)
    by_model, adjacency = simulated(rng, n, layers, structure)
    pairs = VertexPairs.of_genes(np.arange(n), adjacency, np.ones((n, n), bool))
    joint = permuted(pairs, permutations, seed)
    value, lists = looked_up(by_model, pairs, joint, k, seed)
    scores = triangle((3 * adjacency + noise(rng, n)).astype(np.float32))[:, None]
    of_vertex = gene_groups(pairs.vertex_of, n, seed)[1]
    (of_lists,) = list_scores(lists, pairs, scores, joint, of_vertex, k)
    return value, of_lists.excess


def p_values(
    structure: str, n: int, layers: int, k: int, permutations: int, seed: int
) -> tuple[dict[str, float], dict[str, float | int]]:
    """Return p under each null, and what the analysis says of the group."""
    rng = np.random.default_rng(seed)
    by_model, adjacency = simulated(rng, n, layers, structure)
    value, fold, of_network = measured(by_model, adjacency, k, permutations, seed)
    row = layers_test(value, fold)
    observed, fixed = float(row["spearman"]), value.drawn[:1]
    shuffled = np.stack([rng.permutation(fold.drawn[0]) for _ in range(permutations)])
    repeated = np.repeat(fixed, permutations, axis=0)
    nulls = {
        "network": rank_correlations(repeated, of_network[1:]),
        "layers": rank_correlations(repeated, shuffled),
    }
    p = {name: statistics.permutation_p(observed, null) for name, null in nulls.items()}
    return p | {"joint": float(row["p"])}, row


def main() -> None:
    """Print the rates of every structure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--genes", type=int, default=80)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--k", type=int, default=160)
    parser.add_argument("--permutations", type=int, default=99)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--structures", nargs="*", default=list(STRUCTURES))
    options = parser.parse_args()
    rates: dict[str, dict[str, float]] = {}
    for structure in options.structures:
        p_of_runs = [
            p_values(
                structure, options.genes, options.layers, options.k, options.permutations, seed
            )
            for seed in range(options.first_seed, options.first_seed + options.runs)
        ]
        rates[structure] = {}
        for null in NULLS:
            p = np.array([p[null] for p, _ in p_of_runs])
            hits, known = int((p <= 0.05).sum()), int((~np.isnan(p)).sum())
            exact = scipy.stats.binomtest(hits, known).proportion_ci()
            rates[structure][null] = hits / known
            print(f"{structure:24} {null:8} {hits / known:6.1%} "
                  f"({exact.low:.1%} to {exact.high:.1%}), n = {known}", flush=True)  # fmt: skip
        rho = np.array([r["spearman"] for _, r in p_of_runs], float)
        mean = np.nanmean(rho)
        missed = np.mean([not r["low"] <= mean <= r["high"] for _, r in p_of_runs])
        width = np.nanmean([r["high"] - r["low"] for _, r in p_of_runs])
        null_mean = np.nanmean([r["null_mean"] for _, r in p_of_runs])
        rates[structure] |= {"spearman": float(mean), "missed": float(missed)}
        print(f"{structure:24} Spearman {mean:.2f} (sd {np.nanstd(rho):.2f}), null "
              f"{null_mean:.2f}; interval misses {missed:.1%}, width {width:.2f}",
              flush=True)  # fmt: skip
    print(json.dumps({"runs": options.runs, "genes": options.genes, "rates": rates}))


if __name__ == "__main__":
    main()

"""Calibration and power of the comparisons on matrices whose truth is known.

    python benchmarks/calibration.py [--runs 200] [--genes 80] [--permutations 99]

Two matrices (or halves, or models) are drawn that share no pair. A calibrated test gives p <= 0.05
in 5 % of runs, and p-values that are uniform: ``KS`` is the p-value of the Kolmogorov-Smirnov test
of that (small: they are not). Structures: ``hubs`` (lognormal gene effects of each side's own),
``shared hubs`` (the same gene effects on both sides: no pair is shared, but hub genes are), ``low
rank`` (three factors of each side's own), ``co-expression`` (both read one such matrix that has
nothing to do with wiring: a *shared* structure that a test rightly finds and cannot explain),
``same donors`` (two models that read the same four donors, whose effects are low rank: shared too),
``donors`` (for halves: what donors add is low rank; disjoint halves have other donors, mixed ones
the same). ``donor intervals``: the rate is how often the 95 % interval of a pair's value misses the
truth, of any pair and of the pairs with the largest values, which were chosen by what is measured
(donors differ, cells of a donor too, groups have one to three donors). ``planted``: a tenth of the
pairs is raised on both sides: the rate is power. For ``overlap`` and ``separation`` the other side
is a network of very different degrees: of ``shared hubs`` a matrix's gene effects are the degrees,
of ``co-expression`` edges are the pairs of largest co-expression, of ``planted`` edges are raised.
``geometry``: residual streams with a common direction (as streams have) of each side's own
(``hubs``) or the same (``shared hubs``), of three dimensions (``low rank``), or with a common part.

``contrasts``: the rate is the share of a category's top pairs that count as specific to it.
``one wiring``: three categories differ in their cells alone, whose noise is alike, or least in the
category that is looked at, or largest; ``raised``: a hundredth of the pairs is raised in one
category, and the rate is the share of those that count, or of those that count without being
raised. ``gene intervals``: how often the 95 % interval that deletes genes misses the mean of all
runs (genes are drawn anew each time).

Prints a table, and one JSON line last; failures are shown, not hidden.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import scipy
from calibration_comparisons import (
    agreed,
    agreement_p,
    coherence_p,
    halves_p,
    layers_p,
    source,
    support_p,
    tops_of,
)
from calibration_structures import (
    DonorDeletions,
    Matrix,
    Structure,
    beside_network,
    coexpression,
    donors,
    hub_effects,
    hubs,
    low_rank,
    noise,
    of_low_rank,
    planted,
    same_donors,
    shared_hubs,
)
from octoscope.analysis.agreement import coherence, strongest_of, union
from octoscope.analysis.agreement_jackknife import (
    donor_interval,
    medians_without,
    rank_without,
    strongest_without,
)
from octoscope.analysis.auroc import auroc_test
from octoscope.analysis.consensus import contrast_test, specificity
from octoscope.analysis.donor_jackknife import interval
from octoscope.analysis.geometry import compare_geometry
from octoscope.analysis.intervals import jackknife_interval
from octoscope.analysis.layers import compare_layers
from octoscope.analysis.overlap import overlap_test
from octoscope.analysis.summarise_matrix import finalise
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.attention.histograms import bins_of
from rich.console import Console
from rich.table import Table

_PAIRS = ("any pair", "pairs at the top", "held by three groups")
_NOISES = {  # sd of a half's noise, of the category that is looked at and of the others
    "alike": [0.5, 0.5, 0.5], "least here": [0.25, 0.75, 0.75], "largest here": [0.75, 0.25, 0.25],
    "two, alike": [0.5, 0.5], "two, least here": [0.25, 0.75], "two, six times there": [0.25, 1.5],
}  # fmt: skip


def network_p(structure: str, k: int, permutations: int, seed: int, n: int) -> tuple[float, float]:
    """Return p of the overlap of the top pairs, and of the separation by the whole matrix."""
    values, adjacency = beside_network(np.random.default_rng(seed), n, structure)
    every = np.ones((n, n), bool)
    pairs = VertexPairs.of_genes(np.arange(n), adjacency, every)
    values = values.astype(np.float32)
    query, key = strongest_of(lambda: iter([(0, values, every)]), k)
    draws = {"permutations": permutations, "seed": seed, "max_permutation_factor": 1}
    overlap = overlap_test(query, key, pairs, **draws)
    whole = auroc_test(bins_of(values), every, pairs, **draws)
    return float(overlap["p"]), float(whole["p"])


def donor_misses(rng: np.random.Generator, n: int) -> list[float]:
    """Return the shares of intervals that miss: of any pair, of a fortieth at the top, of few."""
    sizes, pairs = np.array([2, 1, 3, 2, 2, 1]), n**2
    group = np.repeat(np.arange(len(sizes)), sizes)
    cells = rng.integers(50, 400, len(group)).astype(float)
    truth = rng.normal(size=pairs)
    noise = 0.5 * rng.normal(size=(len(group), pairs))
    seen = truth + noise + 3 * rng.normal(size=noise.shape) / np.sqrt(cells)[:, None]
    holds = np.ones((len(sizes), pairs), bool)
    holds[3:, ::2] = False  # every other pair is held by three groups

    def mean(use: np.ndarray) -> np.ndarray:
        weight = cells[:, None] * holds[group] * use[:, None]
        return np.asarray((weight * seen).sum(0) / weight.sum(0))

    whole = mean(group >= 0)
    without = np.stack([mean(group != g) for g in range(len(sizes))])
    low, high = interval(whole, without, holds, sizes)
    missed, every, few = (truth < low) | (truth > high), slice(1, None, 2), slice(0, None, 2)
    top = missed[every][np.argsort(-whole[every])[: pairs // 80]]
    return [float(x.mean()) for x in (missed[every], top, missed[few])]


def quantiles_of(values: Matrix) -> np.ndarray:
    """Return [pairs of different genes] rank / pairs, the largest first."""
    flat = values[~np.eye(len(values), dtype=bool)]
    ranks = np.empty(len(flat))
    ranks[np.argsort(-flat)] = np.arange(1, len(flat) + 1)
    return ranks / len(flat)


def contrast_rates(
    rng: np.random.Generator, n: int, k: int, sds: list[float], raised: bool
) -> tuple[float, float, float]:
    """Return shares: of top pairs that count, of raised ones found, of those wrong among counted.

    ``sds``: of the noise of each category's halves; the first category is looked at.
    """
    wiring = hub_effects(rng, n) + noise(rng, n)
    own = 3.0 * (rng.random((n, n)) < 0.01) * raised
    parts = []  # [categories][total, half 0, half 1]
    for c, sd in enumerate(sds):
        halves = [wiring + own * (c == 0) + sd * noise(rng, n) for _ in range(2)]
        parts.append([np.mean(halves, axis=0), *halves])
    q = np.array([[quantiles_of(x) for x in of] for of in parts])
    total, *halves_of = (specificity(q[:, part])[0][0] for part in range(3))
    top = np.flatnonzero(q[0, 0] * q.shape[-1] <= k)
    both = np.stack(halves_of)[:, top]
    query, key = (x[top] for x in np.nonzero(~np.eye(n, dtype=bool)))
    row = contrast_test(total[top], both, query, key, n)
    counted = (both > row["noise_high"]).all(0)
    assert counted.sum() == row["n_specific"]
    is_raised = own[~np.eye(n, dtype=bool)][top] > 0
    raised_share = counted[is_raised].mean() if is_raised.any() else np.nan
    wrong = (~is_raised)[counted].mean() if counted.any() else 0.0
    return float(counted.mean()), float(raised_share), float(wrong)


def gene_intervals(
    rng: np.random.Generator, n: int, k: int, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Return value and interval of what is measured on matrices that share a low-rank part."""
    shared = low_rank(rng, n)
    matrices = [shared + noise(rng, n) for _ in range(3)]
    agreement = agreed(matrices, k, 1, seed)
    row = next(r for r in agreement.rows if (r["query"], r["eval"]) == (0, 1))
    names = ["a", "b", "c"]
    value = coherence(agreement.medians[..., 0], names, names)[0]
    dropped = coherence(agreement.deleted[..., 0], names, names)[:, 0]
    genes = np.arange(n)
    done = finalise(source(np.stack(matrices[:2])), {"all": genes}, ["conditional"],
                    top_k=k, permutations=1, seed=0)  # fmt: skip
    half = done.stats.iloc[0]
    sides = {y: source(np.stack([m, m])) for y, m in enumerate(matrices[:2])}
    tops = tops_of(sides, k)
    compared = compare_layers(sides, genes, "conditional", tops, permutations=1, seed=0)[1]
    layers = compared[compared["layer_a"] != compared["layer_b"]].iloc[0]
    return {
        "agreement": (row["median_quantile"], row["low"], row["high"]),
        "coherence": (float(value), *jackknife_interval(value, dropped)),
        "halves, centred": tuple(half[f"half_centred{x}"] for x in ("", "_low", "_high")),
        "layers": tuple(layers[x] for x in ("spearman", "low", "high")),
    }


def agreement_over_donors(
    rng: np.random.Generator, truth: Matrix, k: int
) -> tuple[float, float, float]:
    """Return an agreement with its interval over ten donors, who differ pair by pair."""
    n = len(truth)
    of = [truth + 1.5 * rng.normal(size=(10, n, n)) for _ in range(2)]
    value = agreed([d.mean(0) for d in of], k, 1, 0).medians
    left_out, genes = [DonorDeletions(d) for d in of], np.arange(n)
    lists = [strongest_without(m, genes, "lift", k) for m in left_out]
    pairs = [union(x, n) for x in zip(*lists, strict=True)]
    ranked = [rank_without(m, genes, "lift", pairs) for m in left_out]
    low, high = donor_interval(value, medians_without(ranked, [k]), left_out[0].donors)
    return float(value[0, 1, 0]), float(low[0, 1, 0]), float(high[0, 1, 0])


def geometry_p(structure: str, permutations: int, seed: int, n: int) -> float:
    rng = np.random.default_rng(seed)
    d = 3 if structure == "low rank" else 8
    along = rng.normal(size=(2, n, 1))  # how far each gene lies along the common direction
    if structure == "shared hubs":
        along[1] = along[0]
    first = rng.normal(size=(n, d)) + (1 + along[0]) * rng.normal(size=d)
    second = rng.normal(size=(n, d)) + (1 + along[1]) * rng.normal(size=d)
    if structure == "related streams":
        second = second + 0.5 * first
    geometry = compare_geometry([first, second], permutations=permutations, seed=seed)
    return float(geometry["p"].iloc[0])


def uniformity(p: list[float], permutations: int) -> float:
    """Return p of the Kolmogorov-Smirnov test; p-values have steps, which are filled at random."""
    within = np.random.default_rng(0).random(len(p)) / (permutations + 1)
    return float(f"{scipy.stats.kstest(np.array(p) - within, 'uniform').pvalue:.2g}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibration and power of the comparisons")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--genes", type=int, default=80)
    parser.add_argument("--permutations", type=int, default=99)
    a = parser.parse_args()
    n, b, k = a.genes, a.permutations, a.genes**2 // 40
    structures: dict[str, Structure] = {
        "hubs": hubs, "shared hubs": shared_hubs, "low rank": of_low_rank,
        "co-expression": coexpression, "same donors": same_donors, "planted": planted,
    }  # fmt: skip
    by_test: dict[str, dict[str, float]] = {}

    def record(test: str, structure: str, p: list[float]) -> None:
        rate, mean = float(np.mean(np.array(p) <= 0.05 + 1e-9)), float(np.mean(p))
        error = 1.96 * np.sqrt(max(rate * (1 - rate), 1 / len(p)) / len(p))
        by_test[f"{test}: {structure}"] = {
            "rate": round(rate, 3), "error": round(float(error), 3), "mean_p": round(mean, 3),
            "runs": len(p), "ks": uniformity(p, b),
        }  # fmt: skip

    for name, structure in structures.items():
        drawn = [structure(np.random.default_rng(s), n) for s in range(a.runs)]
        for view in ("conditional", "conditional.centred"):
            label = "agreement" + (", centred" if "." in view else "")
            record(label, name, [agreement_p(m, k, b, s, view) for s, m in enumerate(drawn)])
        record("layers", name, [layers_p(m, k, b, s) for s, m in enumerate(drawn)])
        record("support", name, [support_p(m, k, b, s) for s, m in enumerate(drawn)])
        record("coherence", name, [coherence_p(m, k, b, s) for s, m in enumerate(drawn)])
        record("halves, centred", name, [halves_p(m, b, s) for s, m in enumerate(drawn)])
    for name in ("hubs", "shared hubs", "low rank", "co-expression", "planted"):
        of_networks = np.array([network_p(name, k, b, s, n) for s in range(a.runs)])
        record("overlap", name, of_networks[:, 0].tolist())
        record("separation", name, of_networks[:, 1].tolist())
    for name, mixed in (("donors, disjoint halves", False), ("donors, mixed halves", True)):
        p = [halves_p(donors(np.random.default_rng(s), n, mixed), b, s) for s in range(a.runs)]
        record("halves, centred", name, p)

    def share(test: str, structure: str, rates: np.ndarray) -> None:
        known = rates[~np.isnan(rates)]
        by_test[f"{test}: {structure}"] = {
            "rate": round(float(known.mean()), 3),
            "error": round(float(1.96 * known.std(ddof=1) / np.sqrt(len(known))), 3),
            "runs": len(known),
        }  # fmt: skip

    missed = np.array([donor_misses(np.random.default_rng(s), n) for s in range(a.runs)])
    for name, rates in zip(_PAIRS, missed.T, strict=True):
        share("donor intervals", name, rates)
    for name, sds in _NOISES.items():
        of = [contrast_rates(np.random.default_rng(s), n, k, sds, False) for s in range(a.runs)]
        share("contrasts", f"one wiring, {name}", np.array(of)[:, 0])
        of = [contrast_rates(np.random.default_rng(s), n, k, sds, True) for s in range(a.runs)]
        share("contrasts", f"raised, {name}", np.array(of)[:, 1])
        share("contrasts", f"wrong among counted, {name}", np.array(of)[:, 2])
    measured = [gene_intervals(np.random.default_rng(s), n, k, s) for s in range(a.runs)]
    for name in measured[0]:
        value, low, high = np.array([m[name] for m in measured]).T
        truth = value.mean()
        share("gene intervals", name, ((truth < low) | (truth > high)).astype(float))
    truth = noise(np.random.default_rng(a.runs), n)
    over = [agreement_over_donors(np.random.default_rng(s), truth, k) for s in range(a.runs)]
    value, low, high = np.array(over).T
    missed_of = (value.mean() < low) | (value.mean() > high)
    share("donor intervals", "median quantile of agreement", missed_of.astype(float))
    for name in ("hubs", "low rank", "shared hubs", "related streams"):
        record("geometry", name, [geometry_p(name, b, s, n) for s in range(a.runs)])
    table = Table("test", "structure", "p <= 0.05", "mean p", "KS", "runs")
    for key, row in by_test.items():
        test, structure_name = key.split(": ")
        rate = f"{100 * row['rate']:.1f} % ± {100 * row['error']:.1f}"
        table.add_row(
            test,
            structure_name,
            rate,
            f"{row['mean_p']:.2f}" if "mean_p" in row else "",
            f"{row['ks']:.2g}" if "ks" in row else "",
            str(int(row["runs"])),
        )
    Console().print(table)
    print(json.dumps(by_test))


if __name__ == "__main__":
    main()

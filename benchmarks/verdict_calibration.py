"""Size, power and coverage of the controlled overlap and its verdicts, on known truth.

    python benchmarks/verdict_calibration.py [--runs 200] [--structure NAME ...] [--held-out]

Each run is one simulation of ``verdict_structures.py``: 160 genes (two structures have more) or
``--genes``, the strongest 3 % of the pairs or another ``--share``, for each ``--odds-ratio``.
Columns: mean OR1 (geometric), what is true within its strata (`true_in_strata`; of 1,000 Gaussian
cells where a structure has fewer), OR1 extrapolated to infinitely many cells; coverage of the 95 %
interval, of the truth given m and of that within strata, and with its lower end divided by B; share
of runs with p <= 0.05 for OR1 > 1.1 B, for OR1 > 1, for the overlap test and for the AUROC test;
reliability of co-expression and the bound B; shares of the verdicts. ``deciles`` is the odds ratio
with ten bins of co-expression, and ``old null`` the overlap test that permutes every mapped gene:
both are shown because they fail. ``splines`` is the odds ratio of a logistic regression on splines
of the controls, and ``p splines`` how often it is called above 1. ``corrected`` is OR1 corrected
for error in co-expression, and ``corrected covers`` and ``corrected in strata`` how often its
interval holds either truth. ``O/E`` is observed over expected edges without a control, by gene
effects, with expression, with co-expression, and with cells of both levels and both degrees too;
``p O/E`` how often the last one's interval begins above 1.02, and ``O/E covers`` how often it holds
the mean ratio of all runs. ``--held-out`` uses seeds that no rule was chosen on. ``--structure``
takes those of ``PAIRWISE`` too, and ``--verdicts`` a third of the time.

Prints a table, and one JSON line last; failures are shown, not hidden.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np
from octoscope.analysis.auroc import auroc_test
from octoscope.analysis.controlled.bins import USED
from octoscope.analysis.controlled.comparison import Comparison, balanced, compare
from octoscope.analysis.controlled.controls import by_vertex
from octoscope.analysis.controlled.lists import by_vertex_mean, strongest_pairs
from octoscope.analysis.controlled.observed_expected import RUNGS, fit_ladder
from octoscope.analysis.controlled.spline_logistic import SampledPairs
from octoscope.analysis.controlled.universe import Universe, count_universe
from octoscope.analysis.controlled.verdict_names import BEYOND, VERDICTS
from octoscope.analysis.controlled.verdicts import SMALLEST_RATIO, judge
from octoscope.analysis.overlap import overlap_test
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.attention.histograms import bins_of
from octoscope.octopus.pairs import pair_codes
from rich.console import Console
from rich.table import Table
from scipy.special import expit
from verdict_structures import LISTED, PAIRWISE, STRUCTURES, Simulated

_PERMUTATIONS = 99
_WELL_MEASURED = 1000  # Gaussian cells
# true odds ratios of vertex pairs, by `verdict_structures.py --vertices --seeds 60 [--share 0.1]`
_TRUTH = {
    ("families", 3.0, LISTED): 2.62, ("families, 160 vertices", 3.0, LISTED): 2.58,
    ("families", 3.0, 0.1): 2.64, ("families, 160 vertices", 3.0, 0.1): 2.64,
}  # fmt: skip
_MEANS = ("or1", "in_strata", "extrapolated", "deciles", "spline", "corrected")
_COVERS = (
    "covers", "covers_in_strata", "covers_at_bound", "covers_corrected", "corrected_in_strata",
)  # fmt: skip
_TESTS = ("p", "p1", "overlap", "old", "auroc", "p_spline")


def old_universe(pairs: VertexPairs) -> VertexPairs:
    """Return the universe of the earlier test: all pairs of mapped genes, eligible or not."""
    return VertexPairs(pairs.vertex_of, ~np.eye(len(pairs), dtype=bool), pairs.adjacency)


def controlled(
    s: Simulated, pairs: VertexPairs, n_listed: int, n_cells: int, *, whole: bool
) -> tuple[Comparison, Universe]:
    """Return the comparison of the strongest pairs, and the strata in use; they know all pairs."""
    u, v = strongest_pairs(lambda: [(0, s.values, s.eligible)], pairs, n_listed)
    block = np.stack([*s.halves, s.coexpression]).astype(np.float32)
    blocks = by_vertex(lambda: iter([(0, block)]), pairs.vertex_of, len(pairs))
    every = np.nonzero(np.triu(pairs.eligible, 1))
    universe = count_universe(
        pairs, blocks, by_vertex_mean(s.expression, pairs),
        np.sort(pair_codes(u, v, len(pairs))), rarer=False,
        sampled=pair_codes(*every, len(pairs)),
    )  # fmt: skip
    strata = balanced(universe, u, v)
    if whole:
        fitted, sampled = fit_ladder(universe, blocks), SampledPairs.of(pairs, 0)
        return compare(universe, u, v, fitted=fitted, sampled=sampled), strata
    c = compare(universe, u, v)
    if judge(c, c.p, n_cells).kind != BEYOND:  # whatever the ratios are
        return c, strata
    return replace(c, ratios=fit_ladder(universe, blocks).ratios(u, v)), strata


def true_in_strata(universe: Universe, s: Simulated, m: np.ndarray, n_listed: int) -> float:
    """Return the odds ratio that is true within the strata of a list.

    An odds ratio over unlike pairs lies nearer to 1 than the same odds ratio given each pair's m:
    odds ratios do not collapse (Greenland, Robins and Pearl 1999). So each pair of a stratum is
    taken once as an edge and once as none, with its chance to be listed in either case. No edge and
    no measured co-expression decides between these two, so nothing confounds them. NaN where
    several genes share a vertex.

    Parameters
    ----------
    universe
        The strata; it knows the values of all pairs.
    m
        [genes, genes] what attention depends on but edges and noise.
    """
    pairs, strata = universe.pairs, universe.strata
    if len(pairs) < len(pairs.vertex_of):
        return float("nan")
    gene_of = np.argsort(pairs.vertex_of)
    every = np.nonzero(np.triu(pairs.eligible, 1))
    at = np.ix_(gene_of, gene_of)
    threshold = np.sort(s.values[at][every])[-n_listed]
    above = m[at][every] - threshold
    stratum = strata.of(USED, universe.values_at(*every), strata.base(*every))
    row = np.unique(stratum, return_inverse=True)[1].reshape(-1)
    n = np.bincount(row)
    edges = np.bincount(row, pairs.adjacency[every])
    with_edge = np.bincount(row, expit(above + np.log(s.odds_ratio))) / n
    without = np.bincount(row, expit(above)) / n
    weight = edges * (n - edges) / n
    return float(
        (weight * with_edge * (1 - without)).sum() / (weight * (1 - with_edge) * without).sum()
    )


def one_run(
    structure: str,
    odds_ratio: float,
    seed: int,
    share: float,
    *,
    genes: int | None,
    tests: bool,
    whole: bool = True,
) -> dict[str, float | str]:
    simulate = (STRUCTURES | PAIRWISE)[structure]
    simulate = replace(simulate, genes=genes or simulate.genes)
    s, m = simulate.draw(np.random.default_rng([seed, 22]), odds_ratio)
    adjacency = s.adjacency[np.ix_(s.vertices, s.vertices)]
    pairs = VertexPairs.of_genes(s.vertices, adjacency, s.eligible)
    n_listed = int(share * pairs.n_pairs)
    cells = 200 if "200 cells" in structure else 600 if "600" in structure else 1000
    c, strata = controlled(s, pairs, n_listed, cells, whole=whole)
    truth = _TRUTH.get((structure, odds_ratio, share), odds_ratio)
    if simulate.cells < _WELL_MEASURED:  # the same attention and edges, in more cells
        more = replace(simulate, cells=_WELL_MEASURED, counts=False)
        same = more(np.random.default_rng([seed, 22]), odds_ratio)
        strata = controlled(same, pairs, n_listed, cells, whole=False)[1]
    in_strata = true_in_strata(strata, s, m, n_listed)
    in_strata = truth if np.isnan(in_strata) else in_strata
    low, high = c.or1.interval(c.degrees_of_freedom)
    corrected = c.or1_corrected
    corrected_low, corrected_high = corrected.interval(c.degrees_of_freedom)
    out: dict[str, float | str] = {
        "or0": c.or0.log, "or1": c.or1.log, "deciles": c.refinement["deciles"][0], "p": c.p,
        "covers": low <= truth <= high, "in_strata": np.log(in_strata),
        "covers_in_strata": low <= in_strata <= high, "p1": c.or1.p(c.degrees_of_freedom),
        "covers_at_bound": c.or1_low_at_bound <= truth <= high,
        "corrected": corrected.log,
        "corrected_in_strata": corrected_low <= in_strata <= corrected_high,
        "covers_corrected": corrected_low <= truth <= corrected_high,
        "reliability": c.reliability, "bound": c.bound,
        "above_bound": low > c.bound, "edges": c.n_edges,
        "drift": abs(c.refinement["quarter"][0] - c.refinement["half"][0]) / c.or1.se,
        "positivity": c.positivity, "imbalance": np.abs(c.balance).max(),
        "se": c.or1.se, "extrapolated": c.or1_extrapolated,
    }  # fmt: skip
    if whole:
        assert c.spline is not None
        out["spline"], out["p_spline"] = c.spline.log, c.spline.p(c.degrees_of_freedom)
    for name, r in zip(RUNGS, c.ratios, strict=True) if whole else ():
        out[f"ratio_{name}"] = np.log(r.value) if r.value > 0 else np.nan
    if whole:
        out["ratio_low"], out["ratio_high"] = c.ratios[-1].low, c.ratios[-1].high
        out["ratio_above"] = c.ratios[-1].low > SMALLEST_RATIO
    out["verdict"] = judge(c, c.p, cells).kind
    out["reason"] = judge(c, c.p, cells).reason
    if tests:
        query, key = np.nonzero(np.triu(s.eligible, 1))
        best = np.argsort(-s.values[query, key], kind="stable")[: int(share * len(query))]
        draws = {"permutations": _PERMUTATIONS, "seed": seed, "max_permutation_factor": 1}
        for name, universe in (("overlap", pairs), ("old", old_universe(pairs))):
            out[name] = overlap_test(query[best], key[best], universe, **draws)["p"]
        out["auroc"] = auroc_test(bins_of(s.values), s.eligible, pairs, **draws)["p"]
    return out


def small(p: list[float]) -> float:
    return float((np.array(p, float) <= 0.05 + 1e-9).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--structure", nargs="*", default=list(STRUCTURES))
    parser.add_argument("--held-out", action="store_true", help="seeds that no rule was chosen on")
    parser.add_argument("--first-seed", type=int, help="of the runs; default: 0, or 1,000,000")
    parser.add_argument("--share", type=float, default=LISTED, help="of all pairs that are listed")
    parser.add_argument("--genes", type=int, help="instead of the number of each structure")
    parser.add_argument("--odds-ratio", type=float, nargs="*", default=[1.0, 3.0], help="true ones")
    parser.add_argument("--no-tests", action="store_true", help="leave out overlap and AUROC")
    parser.add_argument(
        "--verdicts", action="store_true",
        help="no splines, and gene effects only where a verdict depends on them",
    )  # fmt: skip
    a = parser.parse_args()
    first = a.first_seed if a.first_seed is not None else 1_000_000 if a.held_out else 0
    results: dict[str, dict[str, object]] = {}
    columns = ["OR1", "true in strata", "extrapolated", "deciles", "splines", "corrected",
               "covers", "in strata", "covers / B", "corrected covers",
               "corrected in strata", "p OR1 > 1.1 B", "p OR1 > 1", "overlap", "old null", "AUROC",
               "p splines", "rho", "B", "SE/SD",
               *VERDICTS, "O/E", "p O/E", "O/E covers"]  # fmt: skip
    table = Table("structure", "true OR", *columns)
    console = Console(width=400)
    for structure in a.structure:
        for truth in a.odds_ratio:
            rows = [
                one_run(
                    structure,
                    truth,
                    first + seed,
                    a.share,
                    genes=a.genes,
                    tests=not a.no_tests,
                    whole=not a.verdicts,
                )  # fmt: skip
                for seed in range(a.runs)
            ]
            of = {k: [r[k] for r in rows] for k in rows[0]}
            verdicts = {v: float(np.mean([r["verdict"] == v for r in rows])) for v in VERDICTS}
            result = {
                k: float(np.nanmean(np.array(v, float)))
                for k, v in of.items() if k not in ("verdict", "reason")
            }  # fmt: skip
            result |= {f"small_{k}": small(of[k]) for k in _TESTS if k in of}
            if not a.verdicts:
                low, high = np.array([of["ratio_low"], of["ratio_high"]], float)
                mean = np.exp(result["ratio_pairwise"])
                result["ratio_covers"] = float(((low <= mean) & (mean <= high)).mean())
            spread = float(np.nanstd(np.array(of["or1"], float)))
            reasons = [str(r["reason"]).split(":")[0].split("(")[0] for r in rows if r["reason"]]
            result["reasons"] = {x: reasons.count(x) / a.runs for x in set(reasons)}
            result["drift_95"] = float(np.nanquantile(np.array(of["drift"], float), 0.95))
            results[f"{structure}, OR {truth:g}"] = result | verdicts
            table.add_row(
                structure, f"{truth:g}",
                *(f"{np.exp(result.get(k, np.nan)):.2f}" for k in _MEANS),
                *(f"{result[k]:.1%}" for k in _COVERS),
                *(f"{result.get(f'small_{k}', np.nan):.1%}" for k in _TESTS),
                f"{result['reliability']:.2f}", f"{result['bound']:.2f}",
                f"{result['se'] / spread:.2f}", *(f"{verdicts[v]:.1%}" for v in VERDICTS),
                " → ".join(f"{np.exp(result.get(f'ratio_{name}', np.nan)):.2f}" for name in RUNGS),
                *(f"{result.get(f'ratio_{k}', np.nan):.1%}" for k in ("above", "covers")),
            )  # fmt: skip
            console.print(f"{structure}, {truth:g}: done", style="dim")
    console.print(table)
    print(json.dumps({"runs": a.runs, "first_seed": first, "share": a.share, "found": results}))


if __name__ == "__main__":
    main()

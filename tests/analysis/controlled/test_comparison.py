"""Lists with a known odds ratio: what the control finds, and what coarser ones get wrong.

Simulations of `benchmarks/verdict_structures.py`: 160 genes, the strongest 3 % of the pairs, 40
seeds. `benchmarks/verdict_calibration.py` runs them all with more seeds.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from octoscope.analysis.controlled.comparison import (
    Comparison,
    WithoutDonors,
    balanced,
    compare,
    held_out,
)
from octoscope.analysis.controlled.controls import by_vertex
from octoscope.analysis.controlled.lists import by_vertex_mean, strongest_pairs
from octoscope.analysis.controlled.mantel_haenszel import ListedStrata, odds_ratio
from octoscope.analysis.controlled.observed_expected import RUNGS, fit_ladder
from octoscope.analysis.controlled.universe import Blocks, Universe, count_universe
from octoscope.analysis.controlled.verdict_names import BEYOND, CANNOT_TELL, NO_MORE
from octoscope.analysis.controlled.verdicts import judge
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.pairs import pair_codes

from tests.analysis import plain_mantel_haenszel as plain

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
SEEDS = 40
PURE, SPARSE = "co-expression, 1,000 cells", "co-expression, 600 sparse cells"


@cache
def universe_of(
    structure: str,
    odds_ratio: float,
    seed: int,
    genes: int = 160,
    share: float | None = None,
    stronger: tuple[tuple[str, float], ...] = (),
) -> tuple[Universe, np.ndarray, np.ndarray]:
    """Return one simulation's universe, its list [2, pairs] and its co-expression [3, ...].

    ``share`` of all pairs is listed; by default as many as of 160 genes. ``stronger`` replaces
    coefficients of the structure.
    """
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from verdict_structures import LISTED, PAIRWISE, STRUCTURES, Structure
    finally:
        sys.path.remove(str(BENCHMARKS))
    draw = replace((STRUCTURES | PAIRWISE)[structure], **dict(stronger))
    assert isinstance(draw, Structure)
    s = replace(draw, genes=genes)(np.random.default_rng([seed, 22]), odds_ratio)
    pairs = VertexPairs.of_genes(
        s.vertices, s.adjacency[np.ix_(s.vertices, s.vertices)], s.eligible
    )
    k = int((share or LISTED * 160 / genes) * pairs.n_pairs)
    listed = np.stack(strongest_pairs(lambda: [(0, s.values, s.eligible)], pairs, k))
    block = np.stack([*s.halves, s.coexpression]).astype(np.float32)
    universe = count_universe(
        pairs, by_vertex(lambda: iter([(0, block)]), pairs.vertex_of, len(pairs)),
        by_vertex_mean(s.expression, pairs), np.sort(pair_codes(*listed, len(pairs))), rarer=False,
    )  # fmt: skip
    return universe, listed, block


@cache
def comparisons(structure: str, odds_ratio: float) -> list[Comparison]:
    universes = (universe_of(structure, odds_ratio, seed) for seed in range(SEEDS))
    return [
        compare(universe, *listed, fitted=fit_ladder(universe, reader_of(universe, block)))
        for universe, listed, block in universes
    ]


def reader_of(universe: Universe, block: np.ndarray) -> Blocks:
    """Return a reader of the co-expression that a universe was counted from."""
    n, vertex_of = len(universe.pairs), universe.pairs.vertex_of
    return by_vertex(lambda: iter([(0, block)]), vertex_of, n)


def mean_log(logs: list[float]) -> float:
    return float(np.mean(logs))


def test_pure_co_expression_is_explained_and_deciles_do_not_see_it() -> None:
    """The mistake that the bins avoid is shown. Red: `USED = "deciles"`; a rule never met."""
    results = comparisons(PURE, 1.0)
    assert sum(c.p <= 0.05 for c in results) <= 4  # nominal: 2 of 40; above 4 with chance 5 %
    assert abs(mean_log([c.or1.log for c in results])) < 0.12
    assert mean_log([c.refinement["deciles"][0] for c in results]) > 0.3
    assert mean_log([c.or0.log for c in results]) > 0.5  # there is an enrichment to be explained
    kinds = [judge(c, c.p, 1000).kind for c in results]
    assert BEYOND not in kinds
    assert NO_MORE in kinds


def test_a_real_odds_ratio_is_found() -> None:
    """Red: co-expression of half 0 as the control of all cells' list; log OR halved."""
    results = comparisons(PURE, 3.0)
    assert np.exp(mean_log([c.or1.log for c in results])) == pytest.approx(3, rel=0.15)
    covers = [c.or1.interval(c.degrees_of_freedom) for c in results]
    assert sum(low <= 3 <= high for low, high in covers) >= 34
    assert np.mean([judge(c, c.p, 1000).kind == BEYOND for c in results]) > 0.5


def test_noise_is_not_enriched() -> None:
    """Red: a standard error that is half as large."""
    results = comparisons("noise", 1.0)
    assert sum(c.p <= 0.05 for c in results) <= 4
    # of 17 edges a list; the mean's standard error is 0.07, and logarithms of few edges are low
    assert abs(mean_log([c.or1.log for c in results])) < 0.25
    assert abs(mean_log([c.or0.log for c in results])) < 0.12
    assert not any(judge(c, c.p, 1000).kind == BEYOND for c in results)


@pytest.mark.parametrize("seed", [50_000_004, 50_000_008])
def test_many_genes_do_not_turn_measurement_error_into_wiring(seed: int) -> None:
    """Sharp co-expression leaves an odds ratio above the bound, and 960 genes a narrow interval.

    Red: any excess over the bound is enough, and how OR1 moves with more cells is not asked.
    """
    universe, listed, _ = universe_of("sharp co-expression", 1.0, seed, genes=960, share=0.03)
    c = compare(universe, *listed)
    low, _ = c.or1.interval(c.degrees_of_freedom)
    assert low > c.bound
    verdict = judge(c, c.p, 1000)
    assert verdict.kind == CANNOT_TELL
    assert "the excess is small" in verdict.reason


def test_hubs_do_not_pass_for_wiring_where_the_larger_degree_decides() -> None:
    """A list of the pairs of hubs: strata of the sum of degrees leave an odds ratio of 1.3.

    Red: observed over expected edges by each gene's own degree are not asked.
    """
    universe, listed, block = universe_of("strong key hubs", 1.0, 7_000_005, genes=960, share=0.03)
    c = compare(universe, *listed, fitted=fit_ladder(universe, reader_of(universe, block)))
    assert judge(replace(c, ratios=()), c.p, 1000).kind == BEYOND
    verdict = judge(c, c.p, 1000)
    assert verdict.kind == CANNOT_TELL
    assert "degrees or levels of both genes" in verdict.reason


def test_a_function_of_both_levels_that_is_no_sum_does_not_pass_for_wiring() -> None:
    """Attention and network both prefer genes of like expression; edges have no effect.

    Strata hold pairs of like mean level, so they leave an odds ratio of 1.8. Red: cells of both
    levels and of both degrees have no effects.
    """
    strong = (("attention_of_form", 2.0), ("network_of_form", 2.0))
    universe, listed, block = universe_of(
        "like expression in both", 1.0, 7_000_000, genes=480, share=0.1, stronger=strong
    )
    c = compare(universe, *listed, fitted=fit_ladder(universe, reader_of(universe, block)))
    assert c.or1.value > 1.5
    coexpression, pairwise = c.ratios[-2:]
    assert pairwise.value - 1 < 0.5 * (coexpression.value - 1)
    assert judge(replace(c, ratios=c.ratios[:-1]), c.p, 1000).kind == BEYOND
    verdict = judge(c, c.p, 1000)
    assert verdict.kind == CANNOT_TELL
    assert "degrees or levels of both genes" in verdict.reason


def test_sparse_cells_never_end_beyond_co_expression() -> None:
    """Its error leaves an odds ratio well above 1. Red: a bound of 1."""
    results = comparisons(SPARSE, 1.0)
    assert np.exp(mean_log([c.or1.log for c in results])) > 1.3
    assert np.mean([c.reliability for c in results]) < 0.5
    kinds = [judge(c, c.p, 600).kind for c in results]
    assert BEYOND not in kinds
    assert CANNOT_TELL in kinds
    assert mean_log([c.or1_extrapolated - c.or1.log for c in results]) < 0


def test_a_comparison_is_that_of_the_plain_reference() -> None:
    """Every pair of the universe by itself. Red: any part of the table under another one's name."""
    universe, listed, block = universe_of("all confounders, 200 cells", 3.0, 1, genes=50)
    c = compare(universe, *listed)
    u, v = np.nonzero(np.triu(universe.pairs.eligible, 1))
    n, strata = len(universe.pairs), universe.strata
    inside = np.isin(pair_codes(u, v, n), pair_codes(*listed, n))
    edge = universe.pairs.adjacency[u, v]
    every = block[:, u, v]
    base = strata.base(u, v)
    assert c.or0.value == pytest.approx(plain.odds_ratio(inside, edge, base))
    of = {name: strata.of(name, every, base) for name in universe.counts}
    used = of["quarter"]
    assert c.or1.value == pytest.approx(plain.odds_ratio(inside, edge, used))
    for half, log in zip(("half 0", "half 1"), c.or1_halves, strict=True):
        assert np.exp(log) == pytest.approx(plain.odds_ratio(inside, edge, of[half]))
    for name, (log, difference, _) in c.refinement.items():
        assert np.exp(log) == pytest.approx(plain.odds_ratio(inside, edge, of[name]))
        assert difference == pytest.approx(plain.smd(every[2], inside, of[name]), abs=1e-6)
    controls = every[2], strata.degrees(u, v), strata.levels(u, v)
    assert c.balance == pytest.approx([plain.smd(x, inside, used) for x in controls], abs=1e-6)
    table = plain.counts(inside, edge, used)
    shared = table[table.c + table.d > 0]
    assert c.positivity == pytest.approx((shared.a + shared.b).sum() / inside.sum())
    assert c.positivity_edges == pytest.approx(shared.a.sum() / table.a.sum())
    assert (c.n_pairs, c.n_edges) == (inside.sum(), (inside & edge).sum())
    expected = (shared.a + shared.b) * shared.c / (shared.c + shared.d)
    assert c.comparable_rate == pytest.approx(shared.a.sum() / (shared.a + shared.b).sum())
    assert c.ladder[0] == pytest.approx(edge.mean())
    assert c.ladder[3] == pytest.approx(expected.sum() / (shared.a + shared.b).sum())
    r = np.corrcoef(every[0, inside], every[1, inside])[0, 1]
    assert c.reliability_list == pytest.approx(2 * r / (1 + r), rel=1e-5)


def test_the_fewest_strata_that_balance_a_list_are_used() -> None:
    """Red: always the coarsest strata (level 0.1 SD apart); always the narrowest ones."""
    universe, listed, _ = universe_of("expression", 3.0, 0)
    assert balanced(universe, *listed).strata.level_bins.max() == universe.strata.level_bins.max()
    assert abs(compare(universe, *listed).balance[2]) < 0.06
    universe, listed, _ = universe_of("noise", 3.0, 0)
    coarse = balanced(universe, *listed)
    assert coarse is universe.coarser[0]
    narrow = compare(replace(universe, coarser=()), *listed)
    c = compare(universe, *listed)
    assert c.positivity > narrow.positivity
    assert c.or1.se < narrow.or1.se


def test_the_choice_of_strata_looks_at_no_edge() -> None:
    """Otherwise the data would choose its own test. Red: a choice by the odds ratio."""
    for seed in range(5):
        universe, listed, _ = universe_of("hubs", 3.0, seed)
        chosen = [
            [way is balanced(u, *listed) for way in (u, *u.coarser)].index(True)
            for u in (universe, without_listed_edges(universe, listed))
        ]
        assert chosen[0] == chosen[1]


def without_listed_edges(universe: Universe, listed: np.ndarray) -> Universe:
    """Return the universe with its counts as they are and no edge among listed pairs."""
    adjacency = universe.pairs.adjacency.copy()
    adjacency[listed[0], listed[1]] = adjacency[listed[1], listed[0]] = False
    pairs = replace(universe.pairs, adjacency=adjacency)
    coarser = tuple(replace(way, pairs=pairs) for way in universe.coarser)
    return replace(universe, pairs=pairs, coarser=coarser)


def test_significance_is_beyond_what_error_in_co_expression_can_leave() -> None:
    """Red: p against an odds ratio of 1, which is small in half of these runs of no wiring."""
    results = comparisons(SPARSE, 1.0)
    assert sum(c.or1.p(c.degrees_of_freedom) <= 0.05 for c in results) > 10
    assert sum(c.p <= 0.05 for c in results) <= 4  # nominal: 2 of 40; above 4 with chance 5 %
    covers = [(c.or1_low_at_bound, c.or1.interval(c.degrees_of_freedom)[1]) for c in results]
    assert sum(low <= 1 <= high for low, high in covers) >= 36
    unknown = replace(results[0], reliability=float("nan"))
    assert np.isnan(unknown.p)


def test_the_corrected_odds_ratio_is_the_true_one_where_cells_are_sparse() -> None:
    """Error of co-expression raises OR1 to 4 there. Red: OR1 itself; its own standard error."""
    results = comparisons(SPARSE, 3.0)
    assert np.exp(mean_log([c.or1.log for c in results])) > 3.6
    assert 2.5 < np.exp(mean_log([c.or1_corrected.log for c in results])) < 3.6
    limits = [c.or1_corrected.interval(c.degrees_of_freedom) for c in results]
    assert 36 <= sum(low <= 3 <= high for low, high in limits) <= 40
    spread = np.std([c.or1_corrected.log for c in results])
    assert 0.7 < np.mean([c.or1_corrected.se for c in results]) / spread < 1.4


def test_the_ladder_climbs_from_all_pairs_to_like_ones() -> None:
    """A list that knows co-expression alone has the edges of like pairs. Red: `edge_rate`."""
    results = comparisons(PURE, 1.0)
    every, degree, expression, coexpression = np.mean([c.ladder for c in results], axis=0)
    # pairs of the strongest co-expression have no like ones, and are left out of the last rung
    rate = np.mean([c.comparable_rate for c in results])
    assert np.mean([c.n_edges / c.n_pairs for c in results]) > 1.3 * rate
    assert rate == pytest.approx(coexpression, rel=0.15)


def mean_ratios(comparisons: list[Comparison]) -> dict[str, float]:
    of_rungs = zip(RUNGS, zip(*(c.ratios for c in comparisons), strict=True), strict=True)
    return {name: float(np.exp(np.mean(np.log([r.value for r in of])))) for name, of in of_rungs}


@pytest.mark.parametrize(
    ("structure", "explained_by"),
    [("hubs", "degree"), (PURE, "coexpression")],
)
def test_observed_over_expected_falls_to_one_with_the_control_that_explains(
    structure: str, explained_by: str
) -> None:
    """40 lists of each. Red: a rung without its bins; the expectation of the rung before."""
    results = comparisons(structure, 1.0)
    mean = mean_ratios(results)
    at = RUNGS.index(explained_by)
    assert mean["all"] > 1.3
    if explained_by == "coexpression":
        assert mean["expression"] > 1.3
    assert all(0.93 < mean[name] < 1.07 for name in RUNGS[at:])
    assert sum(c.ratios[-1].low > 1 for c in results) <= 4  # nominal: 1 of 40
    assert sum(c.ratios[-1].low <= 1 <= c.ratios[-1].high for c in results) >= 34


def test_observed_over_expected_finds_a_real_odds_ratio() -> None:
    """40 lists. The ratio lies below the odds ratio of 3, as listed edges raise the fit too."""
    results = comparisons(PURE, 3.0)
    mean = mean_ratios(results)
    assert mean["all"] > mean["expression"] > mean["coexpression"]
    assert 1.5 < mean["coexpression"] < 3
    assert sum(c.ratios[-1].low > 1 for c in results) >= 38


def test_donors_widen_an_interval_as_much_as_lists_without_them_differ() -> None:
    """Lists without a donor that are the list change nothing. Red: the control's own error."""
    universe, (u, v), _ = universe_of("noise", 3.0, 2)
    alone = compare(universe, u, v)
    same = compare(universe, u, v, WithoutDonors([1] * 5, [(u, v)] * 5))
    assert same.or1.donor_se == pytest.approx(0, abs=1e-9)
    assert same.or1.interval(9) == alone.or1.interval(9)
    edge = universe.pairs.adjacency[u, v]
    kept = [np.arange(len(u)) % 5 != g for g in range(5)]
    kept[0] &= ~edge | (np.arange(len(u)) < len(u) // 2)  # one donor has half of the edges
    differ = compare(universe, u, v, WithoutDonors([1] * 5, [(u[x], v[x]) for x in kept]))
    assert differ.or1.log == alone.or1.log
    assert differ.or1.donor_se > alone.or1.se
    assert differ.p > alone.p
    strata = universe.strata
    logs = []
    for x in kept:
        used = strata.of("quarter", universe.values_at(u[x], v[x]), strata.base(u[x], v[x]))
        logs.append(odds_ratio(ListedStrata.of(used, edge[x]), universe.counts["quarter"]))
    spread = np.sqrt(4 / 5 * ((np.array(logs) - np.mean(logs)) ** 2).sum())
    assert differ.or1.donor_se == pytest.approx(spread, rel=0.3)  # about the mean, here
    short = WithoutDonors([1] * 5, [(u, v)] * 5).shortened(7)
    assert [len(x) for x, _ in short.lists] == [7] * 5


def test_an_empty_list_has_no_numbers_and_no_verdict() -> None:
    """Red: a correlation of no pairs; a share of nothing."""
    universe, _, _ = universe_of("noise", 1.0, 0)
    c = compare(universe, *np.zeros((2, 0), int))
    assert (c.n_pairs, c.n_edges) == (0, 0)
    assert np.isnan(
        [c.or0.log, c.or1.log, c.p, c.positivity, c.reliability_list, c.comparable_rate]
    ).all()
    assert judge(c, float("nan"), 10).kind == CANNOT_TELL


def test_held_out_co_expression_is_controlled_by_the_other_half() -> None:
    """Red: half 1, of which the list is."""
    universe, listed, _ = universe_of(PURE, 1.0, 0)
    halved, whole = held_out(universe, *listed), compare(universe, *listed)
    assert halved.or1.log == whole.or1_halves[0] != whole.or1_halves[1]
    assert np.isnan(halved.or1.se)
    assert halved.or0 == whole.or0

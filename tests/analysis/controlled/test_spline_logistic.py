"""The regression on splines: against a plain fit, sampling, the variance, planted odds ratios."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy
from octoscope.analysis.controlled.comparison import compare
from octoscope.analysis.controlled.spline_logistic import (
    _RIDGE,
    SampledPairs,
    _fit,
    spline_odds_ratio,
)
from octoscope.analysis.controlled.universe import Universe
from octoscope.octopus.pairs import pair_codes

from tests.analysis.controlled.test_comparison import universe_of


def with_values(universe: Universe, block: np.ndarray) -> Universe:
    """Return the universe with the control's values of every pair."""
    u, v = np.nonzero(np.triu(universe.pairs.eligible, 1))
    codes = pair_codes(u, v, len(universe.pairs))
    order = np.argsort(codes)
    return replace(universe, codes=codes[order], values=block[:, u, v][:, order], coarser=())


def test_sampled_pairs_are_drawn_alike_from_edges_and_from_other_pairs() -> None:
    """Red: rows drawn alike whatever their degree; a pair in both rows counted twice."""
    universe, *_ = universe_of("hubs", 1.0, 0)
    pairs = universe.pairs
    every = SampledPairs.of(pairs, 0)
    assert len(every.u) == len(set(pair_codes(every.u, every.v, len(pairs)))) == pairs.n_pairs
    counts = np.zeros(pairs.eligible.shape, int)
    for seed in range(300):
        s = SampledPairs.of(pairs, seed, most=60)
        assert (s.u < s.v).all()
        assert pairs.eligible[s.u, s.v].all()
        counts[s.u, s.v] += 1
    upper = np.triu(pairs.eligible, 1)
    for kind in (pairs.adjacency & upper, ~pairs.adjacency & upper):
        drawn, mean = counts[kind], counts[kind].mean()
        assert 40 < drawn.sum() / 300 <= 60
        spread = ((drawn - mean) ** 2).sum() / mean  # chi-square of alike draws
        assert abs(spread - len(drawn)) < 4 * np.sqrt(2 * len(drawn))
        hub = np.argmax(pairs.degree)  # its pairs come as often as any
        of_hub = counts[hub][kind[hub]].sum() + counts[:, hub][kind[:, hub]].sum()
        expected = mean * (kind[hub].sum() + kind[:, hub].sum())
        assert abs(of_hub - expected) < 4 * np.sqrt(expected)


def test_the_fit_is_that_of_a_general_optimiser() -> None:
    """Coefficient and sandwich, pair by pair. Red: no weights in either; one end of a pair."""
    rng = np.random.default_rng(0)
    n, rows = 40, 500
    codes = rng.choice(n * (n - 1) // 2, rows, replace=False)
    u, v = (x[codes] for x in np.triu_indices(n, 1))
    x = np.column_stack([rng.random(rows) < 0.3, np.ones(rows), rng.normal(size=(rows, 2))])
    weight = np.where(x[:, 0] > 0, 1.0, rng.uniform(1, 4, rows))
    y = rng.random(rows) < scipy.special.expit(x @ [1.0, -1.0, 0.5, 0.0])

    def loss(beta: np.ndarray) -> float:
        z = x @ beta
        return float(weight @ (np.logaddexp(0, z) - z * y) + _RIDGE / 2 * (beta[2:] ** 2).sum())

    best = scipy.optimize.minimize(loss, np.zeros(4), tol=1e-12).x
    fitted = _fit(x, y, weight, u, v)
    assert fitted.log == pytest.approx(best[0], abs=1e-4)
    p = scipy.special.expit(x @ best)
    hessian = (x * (weight * p * (1 - p))[:, None]).T @ x
    bread = np.linalg.inv(hessian + np.diag([0, 0, _RIDGE, _RIDGE]))
    score = x * (weight * (y - p))[:, None]
    meat = sum(
        np.outer(score[i], score[j])
        for i in range(rows)
        for j in range(rows)
        if {u[i], v[i]} & {u[j], v[j]}
    )
    alone = bread @ score.T @ score @ bread
    variance = max((bread @ meat @ bread)[0, 0], alone[0, 0])
    assert fitted.se == pytest.approx(np.sqrt(variance), rel=1e-3)


def test_a_sample_finds_what_all_pairs_find() -> None:
    """Edges and others sampled at different rates. Red: weights left out."""
    universe, listed, block = universe_of("expression", 3.0, 1, genes=320, share=0.03)
    known = with_values(universe, block)
    every = spline_odds_ratio(known, *listed, SampledPairs.of(known.pairs, 0, most=10**6))
    logs = [
        spline_odds_ratio(known, *listed, SampledPairs.of(known.pairs, seed, most=1500)).log
        for seed in range(12)
    ]
    assert np.mean(logs) == pytest.approx(every.log, abs=4 * np.std(logs) / np.sqrt(12) + 0.01)
    assert np.std(logs) < 0.1


def test_planted_odds_ratios_are_found() -> None:
    """10 seeds of each. Red: co-expression not among the controls (1.9 where 1 is true)."""
    for truth, low, high in ((1.0, 0.85, 1.2), (3.0, 2.6, 3.5)):
        logs = []
        for seed in range(10):
            universe, listed, block = universe_of("co-expression, 1,000 cells", truth, seed)
            known = with_values(universe, block)
            sampled = SampledPairs.of(known.pairs, 0)
            logs.append(spline_odds_ratio(known, *listed, sampled).log)
        assert low < np.exp(np.mean(logs)) < high


def test_a_list_without_edges_has_no_odds_ratio() -> None:
    """Red: a division by zero, or a large negative number."""
    universe, listed, block = universe_of("noise", 1.0, 0)
    known = with_values(universe, block)
    u, v = listed[:, ~known.pairs.adjacency[tuple(listed)]]
    assert np.isnan(spline_odds_ratio(known, u, v, SampledPairs.of(known.pairs, 0)).log)


def test_a_comparison_has_it_where_pairs_were_sampled() -> None:
    """And the chance of as many edges among random pairs."""
    universe, listed, block = universe_of("noise", 3.0, 0)
    known = with_values(universe, block)
    c = compare(universe, *listed)
    assert c.spline is None
    edges, total = known.pairs.n_edges, known.pairs.n_pairs
    tail = scipy.stats.hypergeom(total, edges, len(listed[0]))
    assert c.p_hypergeometric == pytest.approx(tail.pmf(np.arange(c.n_edges, edges + 1)).sum())

"""Models of edges with gene effects: their equations, edges that none has, the ratio's variance."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from octoscope.analysis.controlled import gene_effects
from octoscope.analysis.controlled.gene_effects import (
    CELL_RIDGE,
    NOT_ELIGIBLE,
    RIDGE,
    GeneEffects,
    PairBins,
    fit,
)
from octoscope.analysis.controlled.observed_expected import ratio

N, LEVELS, BINS, GROUPS = 70, 4, 6, 4


class Planted:
    """Edges of known gene effects and effects of bins; a fifth of the genes is not eligible."""

    def __init__(self, seed: int, *, rarer: bool = False) -> None:
        rng = np.random.default_rng(seed)
        theta, level = rng.normal(-1, 1, N), rng.integers(0, 4096, N).astype(np.float64)
        control = rng.integers(0, BINS, (N, N)).astype(np.uint8)
        control = np.triu(control, 1) + np.triu(control, 1).T
        known = rng.random(N) < 0.8
        control[~(known[:, None] & known) | np.eye(N, dtype=bool)] = NOT_ELIGIBLE
        groups = np.stack([level.astype(np.int64) // 1024, rng.integers(0, GROUPS, N)])
        self.bins = PairBins(control, level, np.arange(4096) // 1024, rarer, groups)
        self.psi, self.phi = np.linspace(-1, 2, BINS), np.array([0.0, 0.5, -0.5, 0.3])
        self.u, self.v = np.nonzero(np.triu(control != NOT_ELIGIBLE, 1))
        ends = level[self.u], level[self.v]
        both = np.minimum(*ends) if rarer else (ends[0] + ends[1]) / 2
        self.level, self.control = both.astype(int) // 1024, control[self.u, self.v]
        odds = theta[self.u] + theta[self.v] + self.phi[self.level] + self.psi[self.control]
        self.cells = self.bins.cells(self.u, self.v)
        self.edge = rng.random(len(self.u)) < 1 / (1 + np.exp(-odds))

    @property
    def degree(self) -> np.ndarray:
        ends = np.concatenate([self.u[self.edge], self.v[self.edge]])
        return np.bincount(ends, minlength=N)

    def chance(self, fitted: GeneEffects) -> np.ndarray:
        return fitted.probability(self.u, self.v, self.level, self.control, self.cells)

    def edges_by(self, kind: np.ndarray, n: int) -> np.ndarray:
        return np.bincount(kind[self.edge], minlength=n)


@pytest.mark.parametrize("rarer", [False, True], ids=["mean level", "rarer gene"])
@pytest.mark.parametrize("rung", ["degree", "expression", "coexpression", "pairwise"])
def test_expected_edges_of_every_vertex_and_bin_are_the_observed_ones(
    rung: str, rarer: bool
) -> None:
    """These are the equations of maximum likelihood. Red: bins of the other level; half a step;
    cells of one direction."""
    p = Planted(0, rarer=rarer)
    every = np.array([p.edge.sum()])
    levels = every if rung == "degree" else p.edges_by(p.level, LEVELS)
    controls = p.edges_by(p.control, BINS) if rung in ("coexpression", "pairwise") else every
    n_cells = GROUPS * (GROUPS + 1) // 2
    cells = np.stack([p.edges_by(of, n_cells) for of in p.cells])
    fitted = fit(p.bins, p.degree, levels, controls, None, cells if rung == "pairwise" else None)
    assert fitted.converged
    assert fitted.sweeps < 30
    chance = p.chance(fitted)
    expected = np.bincount(p.u, chance, N) + np.bincount(p.v, chance, N)
    assert expected == pytest.approx(p.degree, abs=0.02)
    assert chance.sum() == pytest.approx(p.edge.sum(), rel=1e-3)
    of_kinds = ((p.level, levels, fitted.phi), (p.control, controls, fitted.psi))
    for kind, observed, effects in of_kinds:
        if len(observed) > 1:
            of_bins = np.bincount(kind, chance, len(observed))
            assert observed - of_bins == pytest.approx(RIDGE * effects, abs=0.05)
    for kind, observed, effects in zip(p.cells, cells, fitted.chi, strict=True):
        if rung == "pairwise":
            of_cells = np.bincount(kind, chance, n_cells)
            assert observed - of_cells == pytest.approx(CELL_RIDGE * effects, abs=0.05)
        else:
            assert not len(effects)


def test_a_later_rung_begins_with_the_one_before() -> None:
    p = Planted(1)
    every = np.array([p.edge.sum()])
    levels, controls = p.edges_by(p.level, LEVELS), p.edges_by(p.control, BINS)
    first = fit(p.bins, p.degree, levels, every)
    continued, anew = (fit(p.bins, p.degree, levels, controls, s) for s in (first, None))
    chances = [p.chance(f) for f in (continued, anew)]
    assert chances[0] == pytest.approx(chances[1], abs=5e-3)
    assert continued.psi[-1] - continued.psi[0] == pytest.approx(3, abs=0.8)  # planted


def test_a_vertex_or_bin_without_edges_expects_none() -> None:
    """Red: effects that run away, and take the fit with them."""
    p = Planted(2)
    p.edge &= (p.u != 5) & (p.v != 5) & (p.control != 1)
    controls = p.edges_by(p.control, BINS)
    effects = fit(p.bins, p.degree, np.array([p.edge.sum()]), controls)
    assert effects.converged
    assert effects.theta[5] == effects.psi[1] == -np.inf
    chance = p.chance(effects)
    assert (chance[(p.u == 5) | (p.v == 5) | (p.control == 1)] == 0).all()
    assert chance.sum() == pytest.approx(p.edge.sum(), rel=1e-3)


def test_a_fit_that_does_not_end_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gene_effects, "MOST_SWEEPS", 1)
    p = Planted(3)
    every = np.array([p.edge.sum()])
    effects = fit(p.bins, p.degree, every, every)
    assert not effects.converged
    assert np.isnan(p.chance(effects)).all()
    known = ratio(p.edge, p.chance(effects), p.u, p.v)
    assert np.isnan([known.expected, known.value, known.low, known.high]).all()


def test_the_interval_is_that_of_pairs_that_share_vertices() -> None:
    """Every two pairs by themselves. Red: pairs counted as independent."""
    rng = np.random.default_rng(4)
    u, v = np.triu_indices(12, 1)
    chance = rng.uniform(0.1, 0.6, len(u))
    edge = (rng.random(len(u)) < chance) | (u == 0)
    estimate = ratio(edge, chance, u, v)
    rest = edge - estimate.value * chance
    shared = (u[:, None] == u) | (v[:, None] == v) | (u[:, None] == v) | (v[:, None] == u)
    variance = (rest[:, None] * rest * shared).sum()
    assert variance > (rest**2).sum()
    half = np.log(estimate.high / estimate.value)
    assert half == pytest.approx(np.log(estimate.value / estimate.low))
    quantile = scipy.stats.t.ppf(0.975, edge.sum() - 1)
    assert half == pytest.approx(quantile * np.sqrt(variance) / edge.sum())
    none = ratio(np.zeros(3, bool), np.full(3, 0.5), u[:3], v[:3])
    assert none.value == 0
    assert np.isnan([none.low, none.high]).all()

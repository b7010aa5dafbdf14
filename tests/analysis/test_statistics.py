"""Intervals against explicit deletion, permutation p against its definition, calibration."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.analysis import statistics
from octoscope.analysis.partner_strata import PartnerStrata


def dense(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n))
    y = 0.5 * x + rng.normal(size=(n, n))
    use = rng.random((n, n)) < 0.7
    np.fill_diagonal(use, False)
    return x, y, use


def test_more_permutations_are_made_if_none_reaches_the_observed_value() -> None:
    draws = []

    def draw(n: int, seed: int) -> np.ndarray:
        draws.append((n, seed))
        return np.linspace(0, 1, n)

    assert len(statistics.permute_until_reached(draw, 0.5, 20, 10, 3)) == 20
    assert len(statistics.permute_until_reached(draw, 2.0, 20, 10, 3)) == 200
    assert len(statistics.permute_until_reached(draw, 2.0, 20, 1, 3)) == 20
    assert len(statistics.permute_until_reached(draw, float("nan"), 20, 10, 3)) == 20
    assert draws == [(20, 3), (20, 3), (180, 4), (20, 3), (20, 3)]


def test_moments_and_jackknife_equal_deleting_genes_one_by_one() -> None:
    n = 15
    x, y, use = dense(n, 0)
    moments = statistics.PairMoments.zero(n)
    for first in (0, 6):
        stop = 6 if first == 0 else n
        moments.add(first, x[first:stop], y[first:stop], use[first:stop])
    r, low, high = statistics.correlation(moments)
    assert r == pytest.approx(np.corrcoef(x[use], y[use])[0, 1])
    left_out = []
    for g in range(n):
        keep = use.copy()
        keep[g] = keep[:, g] = False
        left_out.append(np.corrcoef(x[keep], y[keep])[0, 1])
    z = np.arctanh(left_out)
    se = np.sqrt((n - 1) / n * ((z - z.mean()) ** 2).sum())
    assert low == pytest.approx(np.tanh(np.arctanh(r) - 1.959964 * se))
    assert high == pytest.approx(np.tanh(np.arctanh(r) + 1.959964 * se))


def test_deleting_pairs_instead_of_genes_would_be_too_narrow() -> None:
    # gene effects shared by all pairs of a gene: the gene jackknife must see the dependence
    n = 40
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, n))
    x, y = a[:, None] + a[None], b[:, None] + b[None]
    use = ~np.eye(n, dtype=bool)
    moments = statistics.PairMoments.zero(n)
    moments.add(0, x, y, use)
    _, low, high = statistics.correlation(moments)
    pairs = use.sum()
    assert high - low > 4 * 2 * 1.96 / np.sqrt(pairs)


def test_constant_values_have_no_correlation() -> None:
    moments = statistics.PairMoments.zero(4)
    moments.add(0, np.full((4, 4), 0.3), np.arange(16.0).reshape(4, 4), ~np.eye(4, dtype=bool))
    assert np.isnan(statistics.correlation(moments)).all()


def test_qap_equals_explicit_permutation() -> None:
    x, y, use = dense(20, 2)
    other = np.random.default_rng(5).random((20, 20)) < 0.8
    np.fill_diagonal(other, False)
    got = statistics.qap_correlations(x, y, use, other, 4, seed=3)
    rng, strata = np.random.default_rng(3), PartnerStrata(use.sum(1))
    for value in got:
        p = strata.permutation(rng)
        grid = np.ix_(p, p)
        both = use & other[grid]
        assert value == pytest.approx(np.corrcoef(x[both], y[grid][both])[0, 1])


def test_p_is_never_zero_and_counts_ties() -> None:
    assert statistics.permutation_p(5, np.array([1.0, 2, 3, 4])) == pytest.approx(1 / 5)
    assert statistics.permutation_p(3, np.array([1.0, 2, 3, 4])) == pytest.approx(3 / 5)
    assert np.isnan(statistics.permutation_p(float("nan"), np.array([1.0])))


def test_adjust_leaves_undefined_tests_out() -> None:
    q = statistics.adjust(np.array([0.01, np.nan, 0.04]))
    assert q[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(q[1])


def test_rate_interval_stays_in_range_and_contains_the_rate() -> None:
    hits, total = np.array([0, 1, 1]), np.array([8, 9, 9])
    low, high = statistics.rate_interval(1, 10, (hits, total))
    assert 0 <= low <= 0.1 <= high <= 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.94, 0.99])  # of pairs in use: read, or listed
def test_additive_fit_removes_gene_effects_exactly_with_gaps(share: float) -> None:
    rng = np.random.default_rng(0)
    n = 30 if share > 0.3 else 90
    use = rng.random((n, n)) < share
    np.fill_diagonal(use, False)
    x = rng.lognormal(size=n)[:, None] + rng.lognormal(size=n)[None]
    kept = np.where(use, x, 0)
    r, c = statistics.additive_fit(use, kept.sum(1), kept.sum(0))
    assert np.abs((x - r[:, None] - c)[use]).max() < 1e-6
    # the mistake it replaces: means over the pairs that are there
    plain = x - kept.sum(1)[:, None] / use.sum(1)[:, None] - kept.sum(0) / use.sum(0)
    assert np.abs((plain + kept.sum() / use.sum())[use]).max() > 0.01


def test_p_values_of_two_stages_reject_no_more_often_than_they_say() -> None:
    p = []
    for seed in range(4000):
        rng = np.random.default_rng(seed)
        observed = float(rng.random())

        def draw(n: int, _: int, rng: np.random.Generator = rng) -> np.ndarray:
            return rng.random(n)

        null = statistics.permute_until_reached(draw, observed, 19, 10, 0)
        p.append(statistics.permutation_p(observed, null))
    for level in (0.01, 0.02, 0.05, 0.1, 0.3):
        rate = np.mean(np.array(p) <= level)
        assert rate <= level + 3 * np.sqrt(level / 4000)
    assert min(p) == pytest.approx(1 / 191)
    assert np.mean(np.array(p) <= 0.01) > 0.004  # below the floor of the first stage, 1 / 20

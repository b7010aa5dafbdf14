"""Odds ratios and their errors: against a plain reference, and against deletion one by one."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from octoscope.analysis.controlled import mantel_haenszel as mh
from scipy import stats

from tests.analysis import plain_mantel_haenszel as plain
from tests.analysis.controlled.examples import Table, table

SEEDS = st.integers(0, 2**32 - 1)


def flags(t: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return t.listed, t.edge, t.stratum


def of_list(t: Table) -> mh.ListedStrata:
    return mh.ListedStrata.of(t.stratum[t.listed], t.edge[t.listed])


def groups_of(t: Table, group: np.ndarray) -> np.ndarray:
    return group[np.stack([t.u, t.v])[:, t.listed]]


def one_stratum(a: int, b: int, c: int, d: int) -> tuple[mh.ListedStrata, mh.StratumCounts]:
    n, none = np.array([a + b + c + d]), np.zeros((1, 0), np.int32)
    counts = mh.StratumCounts(n, np.array([a + c]), np.zeros((3, 1)), np.zeros(1, int), none, none)
    return mh.ListedStrata.of(np.zeros(a + b, int), np.arange(a + b) < a), counts


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, strata=st.integers(1, 12))
def test_odds_ratio_and_its_variance_are_those_of_the_reference(seed: int, strata: int) -> None:
    """Red: weights without `/ n`; Robins' mixed term over `above**2`."""
    t = table(seed, strata=strata)
    want = plain.odds_ratio(*flags(t))
    assume(0 < want < np.inf)
    assert mh.odds_ratio(of_list(t), t.counts) == pytest.approx(np.log(want))
    assert mh.pair_variance(*t.cells) == pytest.approx(plain.robins_variance(*flags(t)))


@given(*(st.integers(1, 50) for _ in range(4)))
def test_a_single_stratum_has_the_odds_ratio_of_textbooks(a: int, b: int, c: int, d: int) -> None:
    """Red: `d = pairs - listed`."""
    x, counts = one_stratum(a, b, c, d)
    assert np.exp(mh.odds_ratio(x, counts)) == pytest.approx(a * d / (b * c))
    woolf = 1 / a + 1 / b + 1 / c + 1 / d
    cells = (np.array([x]) for x in (a + b, a, a + b + c + d, a + c))
    assert mh.pair_variance(*cells) == pytest.approx(woolf)


@pytest.mark.parametrize("cells", [(0, 3, 4, 5), (3, 0, 4, 5), (3, 4, 0, 5), (3, 4, 5, 0)])
def test_an_empty_cell_leaves_it_undefined(cells: tuple[int, int, int, int]) -> None:
    """NaN, and neither infinite nor a warning. Red: `if above > 0` alone."""
    x, counts = one_stratum(*cells)
    a, b, c, _ = cells
    as_table = [np.array([x]) for x in (a + b, a, sum(cells), a + c)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(mh.odds_ratio(x, counts))
        assert np.isnan(mh.pair_variance(*as_table))
        assert np.isnan(mh.deleted_pairs_variance(*as_table))
        one = np.zeros((1, 1), np.int32)
        odds = mh.with_error(
            x, replace(counts, pairs_of=one, edges_of=one), np.zeros((2, len(x.row)), int),
        )  # fmt: skip
    assert np.isnan([odds.log, odds.value, odds.se, *odds.interval(5)]).all()


def test_an_empty_list_is_undefined() -> None:
    """Red: `above >= 0`."""
    none = mh.ListedStrata.of(np.zeros(0, int), np.zeros(0, bool))
    assert np.isnan(mh.odds_ratio(none, table(0).counts))
    assert np.isnan(mh.comparable(none, table(0).counts)).all()


def deleted(t: Table, group: np.ndarray) -> np.ndarray:
    """Return the log odds ratio without each group's pairs, by `with_error`'s own counts."""
    caught: list[np.ndarray] = []
    original = mh.deleted_odds_ratios

    def spy(*arguments: np.ndarray) -> np.ndarray:
        caught.append(original(*arguments))
        return caught[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mh, "deleted_odds_ratios", spy)
        mh.with_error(of_list(t), t.counts, groups_of(t, group))
    return caught[0]


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_every_vertex_is_deleted_as_in_the_reference(seed: int) -> None:
    """Red: `listed_of` counts the first vertex of a pair alone."""
    t = table(seed, vertices=11, strata=3)
    assume(0 < plain.odds_ratio(*flags(t)) < np.inf)
    want = np.array(plain.jackknife(*flags(t), t.u, t.v))
    want[np.isinf(want)] = np.nan
    np.testing.assert_allclose(deleted(t, np.arange(11)), want, atol=1e-12)


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_groups_of_vertices_are_deleted_together(seed: int) -> None:
    """A pair within a group goes once. Red: `new` all True at the second end."""
    group = np.arange(12) % 5
    t = table(seed, vertices=12, strata=3, groups=group)
    want = []
    for g in range(5):
        rest = (group[t.u] != g) & (group[t.v] != g)
        value = plain.odds_ratio(*(x[rest] for x in flags(t)))
        want.append(np.log(value) if 0 < value < np.inf else np.nan)
    np.testing.assert_allclose(deleted(t, group), want, atol=1e-12)


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS, strata=st.integers(1, 30))
def test_deleted_pairs_are_deleted_one_by_one(seed: int, strata: int) -> None:
    """Red: the change of `above` alone; `n` of a stratum kept when a pair goes."""
    t = table(seed, vertices=8, strata=strata)
    whole = plain.odds_ratio(*flags(t))
    assume(0 < whole < np.inf)
    total = 0.0
    for pair in range(len(t.u)):
        value = plain.odds_ratio(*(np.delete(x, pair) for x in flags(t)))
        total += np.log(value / whole) ** 2 if 0 < value < np.inf else 0.0
    assert mh.deleted_pairs_variance(*t.cells) == pytest.approx(total, abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_the_error_adds_what_pairs_that_share_a_vertex_have_in_common(seed: int) -> None:
    """Robins' variance is the lower limit. Red: `shared` may be negative; `of_pairs` left out."""
    t = table(seed, vertices=12, strata=3)
    jackknife = deleted(t, np.arange(12))
    assume(not np.isnan(jackknife).any())
    odds = mh.with_error(of_list(t), t.counts, groups_of(t, np.arange(12)))
    shared = 11 * jackknife.var() - 2 * mh.deleted_pairs_variance(*t.cells)
    assert odds.se**2 == pytest.approx(mh.pair_variance(*t.cells) + max(shared, 0))
    assert odds.log == mh.odds_ratio(of_list(t), t.counts)


def test_independent_pairs_have_the_error_of_independent_pairs() -> None:
    """Without the correction the jackknife is sqrt(2) as large. Red: `shared = jackknife`."""
    ratios = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        t = table(seed, vertices=40, strata=1)
        edge, listed = rng.random((2, len(t.u))) < 0.3
        edges_of = np.stack(
            [np.bincount(np.append(t.u[edge], t.v[edge]), minlength=40)]
        )  # one stratum
        counts = replace(t.counts, edges=np.array([edge.sum()]), edges_of=edges_of)
        t = replace(t, edge=edge, listed=listed, counts=counts)
        odds = mh.with_error(of_list(t), counts, groups_of(t, np.arange(40)))
        ratios.append(odds.se / np.sqrt(mh.pair_variance(*t.cells)))
    assert np.mean(ratios) < 1.15


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, strata=st.integers(1, 60))
def test_balance_is_that_of_the_reference(seed: int, strata: int) -> None:
    """Red: strata weigh as many pairs as they have others; `sums` not less the listed ones."""
    t = table(seed, vertices=10, strata=strata)
    smd = mh.balance(of_list(t), t.covariates[:, t.listed], t.counts, t.covariates.std(1))
    want = [plain.smd(x, t.listed, t.stratum) for x in t.covariates]
    np.testing.assert_allclose(smd, want, atol=1e-12)


def test_a_control_that_does_not_vary_is_balanced() -> None:
    """Red: divided by a deviation of 0."""
    t = table(1)
    values = t.covariates[:, t.listed]
    assert mh.balance(of_list(t), values, t.counts, np.zeros(3)).tolist() == [0, 0, 0]


def test_comparable_pairs_by_hand() -> None:
    """Stratum 0: 2 listed of 6, stratum 1: its one pair is listed. Red: `others >= 0`."""
    counts = replace(table(0, strata=2).counts, pairs=np.array([6, 1]), edges=np.array([3, 1]))
    stratum, edge = np.array([0, 0, 1]), np.array([True, False, True])
    shares = mh.comparable(mh.ListedStrata.of(stratum, edge), counts)
    assert shares == pytest.approx((2 / 3, 1 / 2, 2 / 4))  # of the 4 others 2 are edges


@given(log=st.floats(-2, 2), se=st.floats(0.01, 1), freedom=st.integers(1, 200))
def test_the_interval_is_students(log: float, se: float, freedom: int) -> None:
    """Red: a normal quantile; 0.95 in place of 0.975."""
    low, high = mh.OddsRatio(log, se).interval(freedom)
    half = stats.t(freedom).isf(0.025) * se
    assert np.log([low, high]) == pytest.approx([log - half, log + half])


@given(se=st.floats(0.01, 1), of_donors=st.floats(0.01, 1), groups=st.integers(3, 20))
def test_the_wider_of_vertices_and_donors_decides(se: float, of_donors: float, groups: int) -> None:
    """Red: `np.fmin`; the degrees of freedom of the edges for donors; p of vertices alone."""
    odds = mh.OddsRatio(0.5, se, of_donors, groups)
    halves = stats.t(30).isf(0.025) * se, stats.t(groups - 1).isf(0.025) * of_donors
    assert np.log(odds.interval(30)) == pytest.approx([0.5 - max(halves), 0.5 + max(halves)])
    assert np.log(odds.donor_interval()) == pytest.approx([0.5 - halves[1], 0.5 + halves[1]])
    both = stats.t(30).sf(0.5 / se), stats.t(groups - 1).sf(0.5 / of_donors)
    assert odds.p(30) == pytest.approx(max(both))
    unknown = mh.OddsRatio(0.5, se)
    assert np.isnan(unknown.donor_interval()).all()
    assert unknown.p(30) == pytest.approx(both[0])

"""Counts of all pairs by stratum, against a loop over pairs that knows nothing of blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.analysis.controlled import universe as module
from octoscope.analysis.controlled.bins import COARSER, tail_bins
from octoscope.analysis.controlled.control_strata import HALVES
from octoscope.analysis.controlled.mantel_haenszel import StratumCounts
from octoscope.analysis.controlled.universe import Universe, count_universe
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.pairs import pair_codes

from tests.analysis.controlled.examples import blocks_of, symmetric, vertex_pairs

SEEDS = st.integers(0, 2**32 - 1)


def cut(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Divide vertices into blocks of any size, in any order; some may be empty."""
    return np.split(rng.permutation(n), np.sort(rng.integers(0, n + 1, 3)))


def planted(
    seed: int, genes: int = 24, per_vertex: int = 1, *, rarer: bool = False
) -> tuple[Universe, np.ndarray, np.ndarray, np.ndarray]:
    """Return a universe, the values it was counted from, and its listed pairs."""
    rng = np.random.default_rng(seed)
    pairs = vertex_pairs(rng, genes, per_vertex)
    n = len(pairs)
    values, expression = symmetric(rng, n), rng.uniform(0, 3, n)
    u, v = np.nonzero(np.triu(pairs.eligible, 1))
    at = rng.permutation(len(u))[: len(u) // 4]
    universe = count_universe(
        pairs, blocks_of(values, cut(rng, n)), expression,
        np.sort(pair_codes(u[at], v[at], n)), rarer=rarer,
    )  # fmt: skip
    return universe, values, u[at], v[at]


def every_pair(pairs: VertexPairs) -> list[tuple[int, int]]:
    n = len(pairs)
    return [(i, j) for i in range(n) for j in range(i + 1, n) if pairs.eligible[i, j]]


def stratum(x: Universe, name: str, values: np.ndarray, i: int, j: int) -> int:
    """Return the stratum of a pair, from the definitions of its three parts."""
    s = x.strata
    part = {"half 0": 0, "half 1": 1}.get(name, 2)
    degree = int(np.floor(2 * np.log2((x.pairs.degree[i] + 1) * (x.pairs.degree[j] + 1)) + 1e-9))
    degree //= s.wider
    both = [s.level[i], s.level[j]]
    level = s.level_bins[int(min(both) if s.rarer else sum(both) / 2)]
    step = int((float(values[part, i, j]) + 1) * (1 << 17))
    return (s.bins[name][step] * s.degree_bins + degree) * s.n_levels + level


@settings(deadline=None, max_examples=12)
@given(seed=SEEDS, per_vertex=st.sampled_from([1, 3]), rarer=st.booleans())
def test_counts_are_those_of_a_loop_over_pairs(seed: int, per_vertex: int, rarer: bool) -> None:
    """Red: pairs counted in both rows; edges of ineligible pairs; the mean level for the rarer."""
    finest, values, _, _ = planted(seed, 24 * per_vertex, per_vertex, rarer=rarer)
    for x in (finest, *finest.coarser):
        check_counts(x, values, rarer)


def check_counts(x: Universe, values: np.ndarray, rarer: bool) -> None:
    for name, counts in x.counts.items():
        pairs, edges = np.zeros((2, len(counts.pairs)), int)
        sums = np.zeros((3, len(pairs)))
        for i, j in every_pair(x.pairs):
            s = stratum(x, name, values, i, j)
            pairs[s] += 1
            edges[s] += x.pairs.adjacency[i, j]
            both = [x.strata.level[i], x.strata.level[j]]
            sums[:, s] += [
                values[HALVES.index(name) if name in HALVES else 2, i, j],
                np.log2(x.pairs.degree[i] + 1) + np.log2(x.pairs.degree[j] + 1),
                min(both) if rarer else sum(both) / 2,
            ]
        np.testing.assert_array_equal(counts.pairs, pairs)
        np.testing.assert_array_equal(counts.edges, edges)
        known = 0 if name in HALVES else 3  # nothing is asked of the sums of halves
        np.testing.assert_allclose(counts.sums[:known], sums[:known], atol=1e-9)
    n_base = x.strata.degree_bins * x.strata.n_levels
    np.testing.assert_array_equal(
        x.base.pairs, x.counts["quarter"].pairs.reshape(-1, n_base).sum(0)
    )
    assert x.base.pairs.sum() == x.pairs.n_pairs
    assert x.base.edges.sum() == x.pairs.n_edges


def by_group(x: Universe, counts: StratumCounts, strata: list[int]) -> np.ndarray:
    want = np.zeros((2, *counts.pairs_of.shape), int)
    for (i, j), s in zip(every_pair(x.pairs), strata, strict=True):
        if counts.slot[s] >= 0:
            for g in {x.group[i], x.group[j]}:
                want[0, counts.slot[s], g] += 1
                want[1, counts.slot[s], g] += x.pairs.adjacency[i, j]
    return want


@settings(deadline=None, max_examples=8)
@given(seed=SEEDS, limit=st.sampled_from([2000, 5]))
def test_jackknife_groups_are_counted_like_a_loop(seed: int, limit: int) -> None:
    """Above the limit vertices are deleted in groups. Red: the second vertex's group left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_VERTICES", limit)
        patch.setattr(module, "GROUPS", 4)
        x, values, _, _ = planted(seed)
    n = len(x.pairs)
    sizes = np.bincount(x.group)
    assert (len(sizes) == n) if limit > n else (len(sizes) == 4 and np.ptp(sizes) <= 1)
    for way in (x, *x.coarser):
        strata = [stratum(way, "quarter", values, i, j) for i, j in every_pair(x.pairs)]
        used = way.counts["quarter"]
        np.testing.assert_array_equal([used.pairs_of, used.edges_of], by_group(way, used, strata))
        n_base = way.strata.degree_bins * way.strata.n_levels
        base = [s % n_base for s in strata]
        of_base = [way.base.pairs_of, way.base.edges_of]
        np.testing.assert_array_equal(of_base, by_group(way, way.base, base))


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS)
def test_coarser_strata_are_made_of_whole_narrower_ones(seed: int) -> None:
    """Fewest first, by their definition. Red: bins of the level that cut a narrower bin."""
    x, _, _, _ = planted(seed)
    i, j = np.array(every_pair(x.pairs)).T
    steps = np.bincount(x.strata.levels(i, j).astype(int), minlength=len(x.strata.level_bins))
    narrow = x.strata.base(i, j)
    for way, (wider, share) in zip(x.coarser, COARSER, strict=True):
        assert way.strata.wider == wider
        least = max(40, int(share * len(i)))
        np.testing.assert_array_equal(way.strata.level_bins, tail_bins(steps, 1, least))
        of = way.strata.base(i, j)
        assert all(len(set(of[narrow == stratum])) == 1 for stratum in np.unique(narrow))


def test_groups_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red: an unseeded generator."""
    monkeypatch.setattr(module, "MOST_VERTICES", 5)
    np.testing.assert_array_equal(planted(3)[0].group, planted(3)[0].group)


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS)
def test_order_and_size_of_blocks_do_not_matter(seed: int) -> None:
    """Rows of families come last. Red: values read at `codes // n` as if rows were in order."""
    x, values, u, v = planted(seed, 40, 2)
    whole = count_universe(
        x.pairs, blocks_of(values, [np.arange(len(x.pairs))]), x.strata.level, x.codes, rarer=False
    )
    np.testing.assert_array_equal(whole.values, x.values)
    np.testing.assert_allclose(whole.reliability, x.reliability)
    for name, counts in x.counts.items():
        np.testing.assert_array_equal(whole.counts[name].pairs, counts.pairs)
        np.testing.assert_array_equal(whole.counts[name].pairs_of, counts.pairs_of)
    np.testing.assert_array_equal(x.values_at(u, v), values[:, u, v])
    np.testing.assert_array_equal(x.values_at(v, u), values[:, u, v])


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS, rarer=st.booleans())
def test_reliability_and_deviations_are_numpys(seed: int, rarer: bool) -> None:
    """Red: r of the halves as it is; a variance that divides by pairs - 1."""
    x, values, _, _ = planted(seed, rarer=rarer)
    i, j = np.array(every_pair(x.pairs)).T
    r = np.corrcoef(values[0, i, j].astype(float), values[1, i, j].astype(float))[0, 1]
    assert x.reliability == pytest.approx(2 * r / (1 + r), rel=1e-6)
    degree = np.log2((x.pairs.degree[i] + 1) * (x.pairs.degree[j] + 1))
    a, b = x.strata.level[i], x.strata.level[j]
    level = np.minimum(a, b) if rarer else (a + b) / 2
    want = [y.astype(float).std() for y in (values[2, i, j], degree, level)]
    np.testing.assert_allclose(x.deviations, want, rtol=1e-6)


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS, per_vertex=st.sampled_from([1, 2]), rarer=st.booleans())
def test_strata_of_listed_pairs_hold_them(seed: int, per_vertex: int, rarer: bool) -> None:
    """Two ways to a stratum agree. Red: half a step less; the commoner gene's level."""
    x, values, u, v = planted(seed, 24 * per_vertex, per_vertex, rarer=rarer)
    base = x.strata.base(u, v)
    for name, counts in x.counts.items():
        of = x.strata.of(name, x.values_at(u, v), base)
        want = [stratum(x, name, values, i, j) for i, j in zip(u, v, strict=True)]
        np.testing.assert_array_equal(of, want)
        assert (counts.pairs[of] >= np.bincount(of)[of]).all()
    assert (x.counts["quarter"].slot[x.strata.of("quarter", x.values_at(u, v), base)] >= 0).all()
    assert (x.base.pairs[base] >= 1).all()


def test_a_universe_without_pairs_has_no_numbers() -> None:
    """No gene of the set is in the network. Red: a mean by 0 pairs."""
    none = VertexPairs.of_genes(np.full(3, -1), np.zeros((3, 3), bool), np.ones((3, 3), bool))
    empty = np.zeros(0, np.int64)
    x = count_universe(
        none, blocks_of(np.zeros((3, 0, 0), np.float32), [empty]), np.zeros(0), empty, rarer=False
    )
    assert np.isnan(x.reliability)
    assert not x.base.pairs.any()

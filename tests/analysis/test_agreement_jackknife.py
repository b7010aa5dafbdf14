"""Agreement without each group of donors: against matrices compared one by one, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.analysis.agreement import agreement, rank_pairs, union
from octoscope.analysis.agreement_jackknife import (
    donor_interval,
    medians_without,
    rank_without,
    strongest_without,
)
from octoscope.analysis.donor_jackknife import interval
from octoscope.config.types import Conventions

from tests.analysis.matrices import reader
from tests.analysis.test_agreement import tops
from tests.analysis.test_donor_jackknife import GENES, Dense, G, N


@pytest.mark.parametrize("conventions", ["corrected", "peer"])
def test_medians_without_a_group_are_those_of_matrices_that_never_had_it(
    conventions: Conventions,
) -> None:
    rng, ks = np.random.default_rng(0), [10, 40]
    eligible = rng.random((N, N)) < 0.8
    values = rng.normal(size=(3, G, N, N)) + rng.normal(size=(N, N))
    known = rng.random((3, G, N, N)) < 0.95
    matrices = [Dense(v, k, eligible) for v, k in zip(values, known, strict=True)]
    lists = [strongest_without(m, GENES, "lift", 40) for m in matrices]
    pairs = [union(of_group, N) for of_group in zip(*lists, strict=True)]
    ranked = [rank_without(m, GENES, "lift", pairs, conventions) for m in matrices]
    medians = medians_without([*ranked, None], ks)
    assert np.isnan(medians[:, 3]).all()  # it has no donors
    assert np.isnan(medians[:, :, 3]).all()
    for g in range(G):
        readers = [
            reader(values[m, g].astype(np.float32), known[m, g] & eligible) for m in range(3)
        ]
        alone = rank_pairs(
            readers, *union(tops(readers, 40), N), n_genes=N, conventions=conventions
        )
        want = agreement(alone, dict(enumerate(readers)), ks, permutations=2, seed=0).medians
        assert np.allclose(medians[g, :3, :3], want, equal_nan=True)


def test_the_interval_is_the_jackknife_of_groups() -> None:
    rng = np.random.default_rng(1)
    whole, without = rng.random((2, 3)), rng.random((5, 2, 3))
    without[2, 1, 1] = np.nan
    low, high = donor_interval(whole, without, [1, 2, 1, 3, 1])
    at = (0, 2)
    want = interval(
        whole[at][None], without[:, 0, 2][:, None], np.ones((5, 1), bool), np.array([1, 2, 1, 3, 1])
    )
    assert (low[at], high[at]) == pytest.approx((want[0][0], want[1][0]))
    assert np.isnan([low[1, 1], high[1, 1]]).all()


def test_the_interval_covers_what_other_donors_of_the_same_kind_would_give() -> None:
    """Of agreement between two models that share pairs, over repeated draws of twelve donors."""
    every, seen = np.ones((12, N, N), bool), []
    truth = np.random.default_rng(2).normal(size=(N, N))
    for seed in range(60):
        rng = np.random.default_rng(seed + 10)
        matrices, whole = [], []
        for _ in range(2):
            donors = truth + 1.5 * rng.normal(size=(12, N, N))
            without = np.stack([np.delete(donors, g, 0).mean(0) for g in range(12)])
            matrices.append(Dense(without, every, every[0]))
            whole.append(donors.mean(0).astype(np.float32))
        lists = [strongest_without(m, GENES, "lift", 60) for m in matrices]
        pairs = [union(x, N) for x in zip(*lists, strict=True)]
        ranked = [rank_without(m, GENES, "lift", pairs) for m in matrices]
        readers = [reader(w, every[0]) for w in whole]
        of = agreement(
            rank_pairs(readers, *union(tops(readers, 60), N), n_genes=N),
            dict(enumerate(readers)), [60], permutations=2, seed=0,
        ).medians  # fmt: skip
        low, high = donor_interval(of, medians_without(ranked, [60]), [1] * 12)
        seen.append((of[0, 1, 0], low[0, 1, 0], high[0, 1, 0]))
    value, low, high = np.array(seen).T
    missed = (value.mean() < low) | (value.mean() > high)
    assert missed.mean() <= 0.05  # careful: the jackknife's variance errs upwards
    assert 1 < ((high - low) / 2).mean() / (2.2 * value.std()) < 4

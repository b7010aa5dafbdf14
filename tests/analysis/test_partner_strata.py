"""Nulls where not every pair is eligible: a gene without eligible pairs changes nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from octoscope.analysis.agreement import agreement, rank_pairs, strongest_of, union
from octoscope.analysis.consensus import support_test
from octoscope.analysis.layers import compare_layers
from octoscope.analysis.partner_strata import PartnerStrata
from octoscope.analysis.summarise_matrix import finalise
from octoscope.analysis.tables import consensus_tables
from octoscope.analysis.tables.consensus_tables import ComparisonKey, PairRanks

from tests.analysis.matrices import reader, source

N, HALF = 60, 30
OWN = np.arange(N) < HALF  # genes that have eligible pairs
BLOCK = OWN[:, None] & OWN
GROUPS = ["A", "B"]


def test_without_gaps_a_permutation_is_that_of_all_genes() -> None:
    for n in (1, 33, 64, 100):  # 65 partners and 64 lie in one stratum
        partners = np.full(n, n - 1)
        partners[n // 2 :] -= n > 60
        permutation = PartnerStrata(partners).permutation(np.random.default_rng(3))
        assert np.array_equal(permutation, np.random.default_rng(3).permutation(n))


def test_genes_keep_to_those_with_a_like_number_of_partners() -> None:
    partners = np.repeat([0, 1, 2, 40, 60, 79, 80], 20)
    permutation = PartnerStrata(partners).permutation(np.random.default_rng(0))
    assert np.array_equal(np.sort(permutation), np.arange(len(partners)))
    assert (permutation != np.arange(len(partners))).sum() > 100
    kept = partners[permutation]
    alike = np.isin(partners, (79, 80))  # less than a quarter-log2 apart
    assert np.array_equal(kept[~alike], partners[~alike])
    assert np.isin(kept[alike], (79, 80)).all()
    assert (kept[alike] != partners[alike]).any()


def lists_of(matrices: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the union of the strongest eligible pairs, and which of them each matrix lists."""
    n = matrices.shape[1]
    lists = [strongest_of(reader(m, BLOCK), k) for m in matrices]
    query, key = union(lists, n)
    codes = query * n + key
    return query, key, np.stack([np.isin(codes, q * n + j) for q, j in lists])


def test_lists_of_the_same_genes_do_not_support_each_other() -> None:
    """Two models list pairs of noise among the same half of the genes.

    Red where labels are permuted among all genes: p is then at its floor in nearly every run.
    """
    p, blind = [], []
    for seed in range(60):
        listed = lists_of(np.random.default_rng(seed).normal(size=(2, N, N)), 150)
        settings = {"permutations": 59, "seed": seed}
        partners = np.tile(BLOCK.sum(1) - OWN, (2, 1))
        p.append(support_test(*listed, GROUPS, N, partners=partners, **settings)["p"].iloc[0])
        blind.append(support_test(*listed, GROUPS, N, **settings)["p"].iloc[0])
    assert np.mean(np.array(p) < 0.1) < 0.22
    assert 0.35 < np.mean(p) < 0.7
    assert np.mean(np.array(blind) < 0.1) > 0.9


@pytest.mark.parametrize("conventions", ["corrected", "peer"])
def test_the_support_table_knows_who_has_eligible_pairs(
    monkeypatch: pytest.MonkeyPatch, conventions: str
) -> None:
    """Red where the table's test is not told each model's partners; the peer's are left alone."""
    given = {}

    def tested(*_: object, partners: np.ndarray | None, **__: object) -> pd.DataFrame:
        given["partners"] = partners
        return pd.DataFrame({"p": [1.0]})

    monkeypatch.setattr(consensus_tables.consensus, "support_test", tested)
    monkeypatch.setattr(consensus_tables, "name_genes", lambda frame, _: frame)
    monkeypatch.setattr(consensus_tables, "axis_positions", lambda *_: np.arange(3))
    plan = SimpleNamespace(
        atlas={}, model_groups={"a": "A", "b": "B"}, model=lambda _: None, permutations=9, seed=0,
        max_permutation_factor=1, categories=[SimpleNamespace(name="T cell")],
        compare=SimpleNamespace(conventions=conventions),
    )  # fmt: skip
    q = ComparisonKey("all", "logit", ("x", "y", "z"), (("a", 0), ("b", 0)), ())
    pairs = np.array([0, 1]), np.array([1, 2])
    ranks = [
        PairRanks(np.full((3, 2), 0.1), np.ones((3, 2), bool), np.zeros(2, int),
                  np.ones(2, int), np.array(partners))
        for partners in ([2, 2, 2], [1, 1, 0])
    ]  # fmt: skip
    consensus_tables._tables(SimpleNamespace(plan=plan), q, pairs, ranks, [])
    if conventions == "peer":
        assert given["partners"] is None
    else:
        assert given["partners"].tolist() == [[2, 2, 2], [1, 1, 0]]


def test_agreement_relabels_a_list_among_the_genes_that_it_can_hold() -> None:
    """Half of the genes have pairs in the query's matrix, others in the evaluated one.

    Red where labels are permuted among all genes: known pairs are then as many as the relabelled
    places happen to have.
    """
    rng = np.random.default_rng(0)
    other = np.arange(N) >= 20  # a third of the query's genes have pairs here too
    masks = [BLOCK, other[:, None] & other]
    matrices = rng.lognormal(size=(2, N, N))
    readers = [reader(m, e) for m, e in zip(matrices, masks, strict=True)]
    pairs = union([strongest_of(r, 200) for r in readers], N)
    ranked = rank_pairs(readers, *pairs, n_genes=N)
    assert np.array_equal(ranked.partners, [OWN * (HALF - 1), other * (N - 21)])
    agreed = agreement(ranked, {1: readers[1]}, [200], permutations=9, seed=3)
    off = masks[1] & ~np.eye(N, dtype=bool)
    strength = np.where(off, matrices[1].astype(np.float32), np.nan)
    shares = (strength[off][:, None] >= strength.ravel()).sum(0).reshape(N, N) / off.sum()
    chosen = ranked.in_top_k(200)[0]
    for draw in range(9):
        p = PartnerStrata(ranked.partners[0]).permutation(np.random.default_rng([3, draw]))
        q, j = p[ranked.query[chosen]], p[ranked.key[chosen]]
        assert (OWN[q] & OWN[j]).all()
        want = np.median(shares[q, j][off[q, j]])
        assert agreed.null[draw, 0, 0, 0] == pytest.approx(want, abs=4e-3)  # bins of value


def test_genes_without_pairs_do_not_widen_the_null_of_layers_or_halves() -> None:
    """The same matrices with and without genes that have no eligible pair, 15 times.

    Red where labels are permuted among all genes: a quarter of the pairs is then left in a
    permutation, and the null is about twice as wide.
    """
    widths: dict[str, list[float]] = {"layers": [], "layers, all": [], "halves": [], "all": []}
    for seed in range(15):
        matrices = np.random.default_rng(seed).normal(size=(2, N, N))
        for genes, end in ((N, ""), (HALF, "all")):
            cells = np.where(BLOCK, 50, 0)[None, :genes, :genes].repeat(2, 0).astype(np.int32)
            these, axis = matrices[:, :genes, :genes], np.arange(genes)
            sides = {y: source(np.stack([m, m]), cells) for y, m in enumerate(these)}
            settings = {"permutations": 99, "seed": seed}
            tops = {
                y: finalise(m, {"all": axis}, ["conditional"], top_k=90, permutations=1, seed=0)
                .topk.query("part == 'total'")
                for y, m in sides.items()
            }  # fmt: skip
            table = compare_layers(sides, axis, "conditional", tops, **settings)[1]
            row = table[table["layer_a"] != table["layer_b"]].iloc[0]
            name = "layers, all" if end else "layers"
            widths[name].append(row["null_high"] - row["null_low"])
            done = finalise(
                source(these, cells), {"all": axis}, ["conditional"], top_k=9, **settings
            )
            half = done.stats.iloc[0]
            assert half["half_null_genes"] == HALF
            widths[end or "halves"].append(half["half_null_high"] - half["half_null_low"])
    mean = {name: np.mean(of) for name, of in widths.items()}
    assert 0.8 < mean["layers"] / mean["layers, all"] < 1.25
    assert 0.8 < mean["halves"] / mean["all"] < 1.25

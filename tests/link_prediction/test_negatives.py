"""Negatives: none is an edge, ends are matched, and what was refused is told."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.errors import InputError
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.negatives import KINDS, draw_negatives, positives_of
from octoscope.link_prediction.splits import split_links

from tests.link_prediction.conftest import links_from, pairs_by_degree


@pytest.mark.parametrize("how", [k for k in KINDS if k != "peer"])
def test_no_negative_is_an_edge_of_any_part_or_a_mirror(mirrored: Links, how: str) -> None:
    split = split_links(mirrored)
    positives = positives_of(mirrored, split, "test")
    drawn = draw_negatives(mirrored, split, positives, how)
    edges = set(zip(mirrored.src.tolist(), mirrored.dst.tolist(), strict=True))
    pairs = set(zip(drawn.src.tolist(), drawn.dst.tolist(), strict=True))
    assert len(drawn.src) + drawn.missing == len(positives.src)
    assert not pairs & (edges | {(b, a) for a, b in edges})
    assert (drawn.src != drawn.dst).all()
    assert drawn.false == 0


def test_shares_of_real_edges_are_exact(mirrored: Links) -> None:
    split = split_links(mirrored)
    positives = positives_of(mirrored, split, "test")
    drawn = draw_negatives(mirrored, split, positives, "peer")
    edges = set(zip(mirrored.src.tolist(), mirrored.dst.tolist(), strict=True))
    real = [(a, b) in edges or (b, a) in edges
            for a, b in zip(drawn.src.tolist(), drawn.dst.tolist(), strict=True)]  # fmt: skip
    assert drawn.false == np.mean(real) > 0.005  # a comparison with training edges leaves some in
    train = split.rows("train")
    passed = set(zip(mirrored.src[train].tolist(), mirrored.dst[train].tolist(), strict=True))
    assert not passed & set(zip(drawn.src.tolist(), drawn.dst.tolist(), strict=True))


def test_degree_negatives_have_the_ends_of_the_positives(degree_only: Links) -> None:
    split = split_links(degree_only)
    positives = positives_of(degree_only, split, "test")
    drawn = draw_negatives(degree_only, split, positives)
    assert drawn.missing == 0
    assert drawn.real > 0.01  # some were drawn again, which does not thin out hubs
    np.testing.assert_array_equal(np.sort(drawn.src), np.sort(positives.src))
    np.testing.assert_array_equal(np.sort(drawn.dst), np.sort(positives.dst))


def test_stratified_negatives_keep_types_and_relations() -> None:
    rng = np.random.default_rng(5)
    n = 600
    kinds = np.where(np.arange(n) % 3 == 0, "complex", "protein")
    src, dst = pairs_by_degree(rng, n, 4000)
    relation = rng.integers(0, 2, len(src))
    links = links_from(n, src, dst, relation=relation, relations=("x", "y"), kinds=list(kinds))
    split = split_links(links)
    positives = positives_of(links, split, "test")
    drawn = draw_negatives(links, split, positives, "stratified")
    assert len(drawn.src) > 0.9 * len(positives.src)
    np.testing.assert_array_equal(kinds[drawn.src], kinds[positives.src[drawn.of]])
    np.testing.assert_array_equal(kinds[drawn.dst], kinds[positives.dst[drawn.of]])
    for r in (0, 1):
        mine = positives.relation == r
        whole = drawn.missing == 0
        ends = np.bincount(positives.dst[mine], minlength=n)
        counts = np.bincount(drawn.dst[positives.relation[drawn.of] == r], minlength=n)
        assert (counts <= ends).all()
        assert not whole or (counts == ends).all()


def test_two_hop_negatives_share_a_neighbour(degree_only: Links) -> None:
    split = split_links(degree_only)
    positives = positives_of(degree_only, split, "test", 500)
    drawn = draw_negatives(degree_only, split, positives, "two-hop")
    near: dict[int, set[int]] = {}
    for a, b in zip(degree_only.src[split.part == 1].tolist(),
                    degree_only.dst[split.part == 1].tolist(), strict=True):  # fmt: skip
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    pairs = zip(drawn.src.tolist(), drawn.dst.tolist(), strict=True)
    assert all(near[a] & near[b] for a, b in pairs)


@pytest.mark.parametrize("how", KINDS)
def test_an_epoch_has_its_own_negatives(degree_only: Links, how: str) -> None:
    split = split_links(degree_only)
    positives = positives_of(degree_only, split, "val", 1000)
    first, again, other = (
        draw_negatives(degree_only, split, positives, how, seed=3, epoch=e) for e in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.dst, again.dst)
    assert len(first.dst) != len(other.dst) or (first.dst != other.dst).any()


def test_a_complete_graph_has_no_negatives() -> None:
    a, b = np.triu_indices(40, 1)
    links = links_from(40, a, b)
    split = split_links(links)
    for how in ("degree", "uniform"):
        with pytest.raises(InputError, match="is an edge"):
            draw_negatives(links, split, positives_of(links, split, "test"), how)
    with pytest.raises(InputError, match="it is one of degree"):
        draw_negatives(links, split, positives_of(links, split, "test"), "hard")

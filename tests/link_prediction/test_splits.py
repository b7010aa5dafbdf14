"""Splits as values, and the leaks that each has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from octoscope.errors import InputError
from octoscope.link_prediction import splits
from octoscope.link_prediction.leaks import leak_of
from octoscope.link_prediction.links import Links, open_links
from octoscope.link_prediction.splits import split_links

from tests.link_prediction.conftest import links_from


def with_copies(mirrored: Links) -> Links:
    """Every edge twice, as two sources state it."""
    src, dst = (np.concatenate([e, e]) for e in (mirrored.src, mirrored.dst))
    source = np.repeat([0, 1], len(mirrored.src))
    return links_from(mirrored.n, src, dst, source=source, sources=("A", "B"))


def parts_of_pairs(links: Links, part: np.ndarray) -> list[set[int]]:
    return [set(links.codes[part == k].tolist()) for k in (1, 2, 3)]


def test_mirrors_and_copies_of_a_pair_are_in_one_part(mirrored: Links) -> None:
    links = with_copies(mirrored)
    split = split_links(links)
    train, val, test = parts_of_pairs(links, split.part)
    assert len(train | val | test) == len(train) + len(val) + len(test)
    shares = np.array([len(train), len(val), len(test)]) / len(links.known)
    assert np.abs(shares - [0.70, 0.15, 0.15]).max() < 0.01
    leak = leak_of(links, split)
    assert (leak.copy, leak.mirror, leak.either, leak.compartment) == (0, 0, 0, 0)
    assert leak.pairs == len(np.unique(links.src[split.part == 3] * links.n
                                       + links.dst[split.part == 3]))  # fmt: skip


def test_a_split_by_edge_is_refused_outside_peer_mode_and_leaks(mirrored: Links) -> None:
    with pytest.raises(InputError, match="leaks mirrors and copies"):
        split_links(mirrored, "edge")
    leak = leak_of(mirrored, split_links(mirrored, "edge", peer=True))
    assert leak.mirror == pytest.approx(0.70 * 2 * 0.91 / 1.91, abs=0.02)  # of 24,000 edges
    assert leak.either == leak.mirror
    copies = with_copies(mirrored)
    assert leak_of(copies, split_links(copies, "edge", peer=True)).copy > 0.6


def test_a_pair_in_another_compartment_is_a_leak_of_its_own() -> None:
    a, b = np.arange(0, 400, 2), np.arange(1, 400, 2)
    species = [f"s{i % 200}" for i in range(400)]  # vertex i and i + 200 are one species
    links = links_from(400, a, b, species=species)
    leak = leak_of(links, split_links(links))
    assert leak.either == 0
    assert leak.compartment > 0.4


def test_held_out_vertices_have_no_edge_in_training(mirrored: Links) -> None:
    split = split_links(mirrored, "vertex")
    train, test = split.rows("train"), split.rows("test")
    seen = np.union1d(mirrored.src[train], mirrored.dst[train])
    new = ~np.isin(mirrored.src[test], seen) | ~np.isin(mirrored.dst[test], seen)
    assert new.all()
    assert leak_of(mirrored, split).new_end == 1
    assert 0.1 < len(test) / len(split.part) < 0.2


def test_only_pairs_that_a_source_alone_asserts_are_test(mirrored: Links) -> None:
    links = with_copies(mirrored)
    own = links_from(links.n, *(np.append(e, more) for e, more in
                                ((links.src, [1, 5, 7]), (links.dst, [2, 6, 8]))),
                     source=np.append(links.source, [1, 1, 1]), sources=("A", "B"))  # fmt: skip
    test = split_links(own, "source", source="B").rows("test")
    new = ~np.isin(own.codes[-3:], links.codes)
    assert set(test.tolist()) == set((np.arange(len(own.src) - 3, len(own.src))[new]).tolist())
    assert len(test)
    with pytest.raises(InputError, match="sources of the network: A, B"):
        split_links(own, "source", source="C")


def test_pairs_of_an_older_release_are_not_test(mirrored: Links) -> None:
    kept = np.random.default_rng(3).random(len(mirrored.src)) < 0.6
    order = np.random.default_rng(4).permutation(mirrored.n)  # vertices in another order
    inverse = np.argsort(order)
    older = links_from(mirrored.n, inverse[mirrored.dst[kept]], inverse[mirrored.src[kept]])
    older.graph.names.vertices["name"] = [f"v{i}" for i in order]
    split = split_links(mirrored, "release", older=older)
    before = np.unique(mirrored.codes[kept])
    assert not np.isin(mirrored.codes[split.rows("test")], before).any()
    assert np.isin(mirrored.codes[split.part != 3], before).all()
    with pytest.raises(InputError, match="name the older network"):
        split_links(mirrored, "release")


def test_the_digest_tells_splits_apart(mirrored: Links) -> None:
    one = split_links(mirrored)
    assert one.digest == split_links(mirrored).digest
    assert len({one.digest, split_links(mirrored, seed=1).digest,
                split_links(mirrored, "vertex").digest}) == 3  # fmt: skip
    changed = one.part.copy()
    changed[0] = 1 + changed[0] % 3
    assert replace(one, part=changed).digest != one.digest


def test_seed_0_is_the_split_of_the_graph() -> None:
    links = open_links("demo")
    np.testing.assert_array_equal(split_links(links).part, split_links(links, "graph").part)


def test_an_empty_part_and_an_unknown_kind_are_refused(mirrored: Links) -> None:
    few = links_from(3, np.array([0, 1]), np.array([1, 2]))
    with pytest.raises(InputError, match="puts no edge into"):
        split_links(few)
    with pytest.raises(InputError, match=f"one of {', '.join(splits.KINDS)}"):
        split_links(mirrored, "random")

"""Opening a directory, connected pairs and adjacency against brute force."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.demo.demo import data
from octoscope.errors import InputError
from octoscope.octopus.directory import verify_directory
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.nulls import degree_strata, gene_table, permute_within

from tests.octopus.conftest import network_of

EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=30)


def plain(n: int, edges: list[tuple[int, int]]) -> Network:
    role = "interactor"
    return network_of(n, [(a, b, role, role, False, 0, 0, float("nan")) for a, b in edges])


@settings(max_examples=60, deadline=None)
@given(EDGES, EDGES)
def test_connected_equals_a_set(edges: list[tuple[int, int]], pairs: list[tuple[int, int]]) -> None:
    net = plain(8, edges)
    known = {frozenset(e) for e in edges if e[0] != e[1]}
    a, b = (np.array([p[i] for p in pairs], np.int64) for i in (0, 1))
    assert net.connected(a, b).tolist() == [frozenset(p) in known for p in pairs]
    outside = net.connected(np.append(a, -1), np.append(b, 3))
    assert outside[-1] is pd.NA  # nothing is known of a gene that the network lacks
    square = net.adjacency(np.arange(8))
    assert (square == square.T).all()
    assert square.sum() == 2 * len(known)
    neighbours = [sum(v in p for p in known) for v in range(8)]
    assert net.degree.tolist() == neighbours


def test_genes_without_a_vertex_are_never_connected() -> None:
    net = plain(4, [(0, 1), (2, 3)])
    vertices = net.vertex_of(["g0", "nope", "g1"])
    assert vertices.tolist() == [0, -1, 1]
    assert net.adjacency(vertices).sum() == 2


def test_genes_of_one_vertex_have_equal_rows_and_no_edge_between_them() -> None:
    net = plain(3, [(0, 1), (0, 0)])
    square = net.adjacency(np.array([0, 0, 1, -1]))
    assert square.tolist() == [
        [False, False, True, False],
        [False, False, True, False],
        [True, True, False, False],
        [False, False, False, False],
    ]


def test_the_embedded_network_is_a_directory_like_any_other(tmp_path: Path) -> None:
    net = open_network("demo")
    assert net.meta["counts"]["vertices"] == len(net.vertices) == 11_711
    assert len(net.pair_keys) == 127_225
    with pytest.raises(InputError, match=r"octopus\.json"):
        open_network(tmp_path)
    folder = tmp_path / "octopus"
    shutil.copytree(data("octopus"), folder)
    assert verify_directory(folder) == []
    edges = pd.read_parquet(folder / "edges.parquet")
    edges.loc[5, "dst"] = 10**6
    edges.to_parquet(folder / "edges.parquet")
    with pytest.raises(InputError, match="row 5"):
        open_network(folder)
    assert verify_directory(folder) == ["edges.parquet: content does not match its digest"]
    edges.drop(columns="sign").to_parquet(folder / "edges.parquet")
    with pytest.raises(InputError, match="'sign'"):
        open_network(folder)


def test_an_older_directory_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "octopus"
    shutil.copytree(data("octopus"), folder)
    meta = folder / "octopus.json"
    meta.write_text(meta.read_text().replace("octoscope-octopus/2", "octoscope-octopus/1"))
    with pytest.raises(InputError, match="octoscope-octopus/1.*build or import"):
        open_network(folder)


def test_the_gene_table_counts_by_source_and_within_the_set() -> None:
    rows = [
        (0, 1, "stimulator", "modified", True, 1, 0, 0.5),
        (1, 2, "interactor", "interactor", False, 0, 1, 0.5),
        (2, 3, "interactor", "interactor", False, 0, 1, 0.5),
    ]
    genes = [("a", 0), ("b", 1), ("c", 2), ("c2", 2), ("d", 3)]
    table = gene_table(network_of(4, rows, genes), ["a", "b", "c", "c2", "x"]).set_index("gene")
    assert table["vertex"].tolist() == [0, 1, 2, 2, pd.NA]
    assert table["degree"].tolist() == [1, 2, 2, 2, pd.NA]
    assert table["degree_in_set"].tolist() == [1, 2, 1, 1, pd.NA]  # d is not in the set
    assert table["degree_TWO"].tolist() == [0, 1, 2, 2, pd.NA]
    assert table["same_vertex"].tolist() == [False, False, True, True, False]
    assert table["stratum"]["x"] is pd.NA
    assert table["stratum"]["a"] == table["stratum"]["c"] != table["stratum"]["b"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=80), st.integers(0, 99))
def test_permutations_stay_within_strata(degree: list[int], seed: int) -> None:
    strata = degree_strata(np.array(degree))
    p = permute_within(strata, np.random.default_rng(seed))
    assert sorted(p) == list(range(len(degree)))
    assert (strata[p] == strata).all()
    for s in set(strata):  # a stratum spans less than a factor 2**0.25 in degree + 1
        members = np.array(degree)[strata == s] + 1
        assert members.max() / members.min() < 2**0.25 + 1e-9
    # like degrees are never split
    for d in set(degree):
        assert len(set(strata[np.array(degree) == d])) == 1

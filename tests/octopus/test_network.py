"""Look-ups and label permutations against brute force."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.demo.demo import data
from engine.errors import InputError
from engine.octopus.network import Network, open_network
from engine.octopus.nulls import degree_strata, permute_within
from engine.octopus.sources.omnipath import read_omnipath


def network(n: int, edges: list[tuple[int, int]]) -> Network:
    src = np.array([e[0] for e in edges], np.int64)
    dst = np.array([e[1] for e in edges], np.int64)
    keys = np.unique((np.minimum(src, dst) * n + np.maximum(src, dst))[src != dst])
    vertices = pd.DataFrame({"vertex": range(n), "name": [f"v{i}" for i in range(n)]})
    genes = pd.DataFrame({"gene": [f"g{i}" for i in range(n)], "vertex": range(n), "how": "x"})
    return Network(vertices, genes, keys, {})


EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(EDGES, EDGES)
def test_connected_equals_a_set(edges: list[tuple[int, int]], pairs: list[tuple[int, int]]) -> None:
    net = network(8, edges)
    known = {frozenset(e) for e in edges if e[0] != e[1]}
    a, b = (np.array([p[i] for p in pairs], np.int64) for i in (0, 1))
    assert net.connected(a, b).tolist() == [frozenset(p) in known for p in pairs]
    square = net.adjacency(np.arange(8))
    assert (square == square.T).all()
    assert square.sum() == 2 * len(known)


def test_genes_without_a_vertex_are_never_connected() -> None:
    net = network(4, [(0, 1), (2, 3)])
    vertices = net.vertex_of(["g0", "nope", "g1"])
    assert vertices.tolist() == [0, -1, 1]
    assert net.adjacency(vertices).sum() == 2


def test_omnipath_keeps_direction_and_invents_no_sign() -> None:
    table = pd.DataFrame(
        {
            "source": ["A", "B", "A", "A"],
            "target": ["B", "C", "C", "Z"],
            "is_directed": [True, False, True, True],
            "is_stimulation": [True, False, True, True],
            "is_inhibition": [False, False, True, False],
            "type": ["transcriptional"] * 4,
            "n_references": [1.0, np.nan, 2.0, 1.0],
        }
    )
    edges, dropped = read_omnipath(table, {"A": 0, "B": 1, "C": 2}, "r")
    assert dropped == 1
    assert edges["sign"].tolist() == [1, 0, 0]
    assert edges["directed"].tolist() == [True, False, True]
    assert len(edges) == 3  # a directed row gives one edge, not its reverse as well


def test_the_embedded_network_opens_and_damage_is_named(tmp_path: Path) -> None:
    net = open_network("demo")
    assert net.meta["vertices"] == len(net.vertices) == 11_888
    folder = tmp_path / "octopus"
    shutil.copytree(data("octopus"), folder)
    edges = pd.read_parquet(folder / "edges.parquet")
    edges.loc[5, "dst"] = 10**6
    edges.to_parquet(folder / "edges.parquet")
    with pytest.raises(InputError, match="row 5"):
        open_network(str(folder))
    edges.drop(columns="sign").to_parquet(folder / "edges.parquet")
    with pytest.raises(InputError, match="'sign'"):
        open_network(str(folder))


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

"""Shortest paths and shared pathways against brute force."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.octopus.network import open_network
from octoscope.octopus.shortest_paths import pair_distances, shared_pathways, step_matrix

from tests.octopus.conftest import network_of

EDGES = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.booleans()), max_size=25)


@settings(max_examples=60, deadline=None)
@given(EDGES, st.integers(0, 4), st.booleans())
def test_distances_equal_networkx(
    edges: list[tuple[int, int, bool]], limit: int, directed: bool
) -> None:
    role = "interactor"
    net = network_of(12, [(a, b, role, role, d, 0, 0, 0.5) for a, b, d in edges])
    graph = nx.DiGraph()
    graph.add_nodes_from(range(12))
    for a, b, ordered in edges:
        graph.add_edge(a, b)
        if not (directed and ordered):
            graph.add_edge(b, a)
    a, b = np.divmod(np.arange(144), 12)
    steps = pair_distances(net, np.append(a, [-1, 3]), np.append(b, [2, -1]), limit, directed)
    every = dict(nx.all_pairs_shortest_path_length(graph))
    want = [every[x].get(y, 99) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert steps.tolist() == [w if w <= limit else -1 for w in want] + [-1, -1]
    if not directed:
        some = np.array([7, 0, 11, 3, 4])
        matrix = step_matrix(net, some, limit)
        assert matrix.tolist() == [
            [min(every[x].get(y, 99), limit + 1) for y in some] for x in some
        ]


def test_more_sources_than_one_pass_follows() -> None:
    role, n = "interactor", 200
    ring = [(i, (i + 1) % n, role, role, False, 0, 0, 0.5) for i in range(n)]
    net = network_of(n, ring)
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, n, (2, 4000))
    apart = np.minimum((a - b) % n, (b - a) % n)
    assert pair_distances(net, a, b, 5).tolist() == np.where(apart <= 5, apart, -1).tolist()


def test_a_matrix_of_more_vertices_than_one_pass_follows() -> None:
    """Red: bits of the first pass for the second; the last, shorter pass left out."""
    role, n = "interactor", 600
    ring = [(i, (i + 1) % n, role, role, False, 0, 0, 0.5) for i in range(n)]
    vertices = np.random.default_rng(0).permutation(n)
    apart = np.abs(vertices[:, None] - vertices)
    want = np.minimum(np.minimum(apart, n - apart), 4)
    np.testing.assert_array_equal(step_matrix(network_of(n, ring), vertices), want)


def test_shared_pathways_equal_sets(built: dict[str, Path]) -> None:
    net = open_network(built["peer"])
    table = pd.read_parquet(built["peer"] / "pathways.parquet")
    assert table["pathway"].nunique() == 4
    of_gene = {
        g: set(table["pathway"][table["vertex"].isin(rows["vertex"])])
        for g, rows in net.genes.groupby("gene")
    }
    genes = [*of_gene, "ENSG00000000000"]
    a, b = (np.repeat(genes, len(genes)), np.tile(genes, len(genes)))
    want = [len(of_gene.get(x, set()) & of_gene.get(y, set())) for x, y in zip(a, b, strict=True)]
    assert shared_pathways(net, a, b).tolist() == want
    assert max(want) >= 2


def test_no_network_no_pathways() -> None:
    assert shared_pathways(network_of(2, []), ["g0"], ["g1"]).tolist() == [0]
    with pytest.raises(IndexError):
        pair_distances(network_of(2, []), np.array([0]), np.array([7]))

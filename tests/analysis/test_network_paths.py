"""Steps and shared pathways of top pairs: against loops, and with planted lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from octoscope.analysis.network_paths import FARTHEST, StepsAndPathways, path_test
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.network import Network, open_network

N = 90


@pytest.fixture(scope="module")
def network() -> Network:
    return open_network("demo")


@pytest.fixture(scope="module")
def genes(network: Network) -> np.ndarray:
    """Genes of the network in random order, and one that is not in it."""
    drawn = np.random.default_rng(0).permutation(network.gene_index)[:N]
    return np.array([*drawn, "ENSG00000000000"], dtype=object)


@pytest.fixture(scope="module")
def pairs(network: Network, genes: np.ndarray) -> VertexPairs:
    vertices = network.vertex_of(genes)
    eligible = np.random.default_rng(1).random((N + 1, N + 1)) < 0.7
    return VertexPairs.of_genes(vertices, network.adjacency(vertices), eligible)


@pytest.fixture(scope="module")
def graph(network: Network, genes: np.ndarray, pairs: VertexPairs) -> StepsAndPathways:
    """Steps of the network; pathways are made, as the embedded network has none."""
    computed = StepsAndPathways.of(network, genes, pairs)
    assert not computed.pathways.any()
    member = np.random.default_rng(2).random((len(pairs), 5)) < 0.15
    bits = (member * (1 << np.arange(5))).sum(1, dtype=np.uint64)[:, None]
    return replace(computed, pathways=bits)


def test_steps_are_those_of_networkx(
    network: Network, genes: np.ndarray, pairs: VertexPairs, graph: StepsAndPathways
) -> None:
    """Through the whole network, not its part. Red: vertices in the order of genes."""
    n = len(network.vertices)
    whole = nx.Graph(zip(network.pair_keys // n, network.pair_keys % n, strict=True))
    vertex = dict(zip(pairs.vertex_of, network.vertex_of(genes), strict=True))
    for i in range(0, len(pairs), 7):
        near = nx.single_source_shortest_path_length(whole, vertex[i], cutoff=FARTHEST)
        want = [near.get(vertex[j], FARTHEST + 1) for j in range(len(pairs))]
        assert graph.steps[i].tolist() == want
    inside = nx.Graph(np.argwhere(pairs.adjacency).tolist())
    assert any(  # paths lead through genes that are not in the set
        graph.steps[i, j] == 2 and not (inside.has_node(i) and inside.has_node(j)
                                         and nx.has_path(inside, i, j))
        for i in range(len(pairs)) for j in range(i)
    )  # fmt: skip


def test_shares_and_means_are_those_of_a_loop(pairs: VertexPairs, graph: StepsAndPathways) -> None:
    """Red: shared pathways over all pairs; farther ones counted as 0."""
    u, v = (x[::5] for x in np.nonzero(np.triu(pairs.eligible, 1)))
    measured = path_test(u, v, pairs, graph, permutations=20, seed=0)
    steps, common = [], []
    for a, b in zip(u, v, strict=True):
        steps.append(int(graph.steps[a, b]))
        x, y = int(graph.pathways[a, 0]), int(graph.pathways[b, 0])
        if x and y:
            common.append(bool(x & y))
    assert measured["n_pairs"] == len(u)
    assert measured["steps"] == pytest.approx(np.mean(steps))
    assert measured["share_2"] == pytest.approx(np.mean([s == 2 for s in steps]))
    assert measured["share_farther"] == pytest.approx(np.mean([s == 4 for s in steps]))
    assert sum(measured[f"share_{x}"] for x in (1, 2, 3, "farther")) == pytest.approx(1)
    assert measured["n_in_pathways"] == len(common) < len(u)
    assert measured["shared"] == pytest.approx(np.mean(common))


def test_planted_lists_differ_from_the_null_and_random_ones_do_not(
    pairs: VertexPairs, graph: StepsAndPathways
) -> None:
    """Red: a null of all vertices alike, in which lists of hubs are near; a one-sided p."""
    every = np.stack(np.nonzero(np.triu(pairs.eligible, 1)))
    steps = graph.steps[*every]
    x, y = graph.pathways[every, 0]
    known = (x > 0) & (y > 0)
    rng = np.random.default_rng(3)

    def tested(at: np.ndarray) -> dict[str, float | int]:
        u, v = every[:, rng.permutation(at)[:200]]
        return path_test(u, v, pairs, graph, permutations=99, seed=1)

    across = tested(np.flatnonzero(known & (x & y == 0)))
    assert across["shared"] == 0 < across["shared_null_low"]
    assert across["shared_p"] <= 0.05
    far = tested(np.flatnonzero(steps > 3))
    assert far["steps"] > far["steps_null_high"]
    assert far["steps_p"] < 0.05
    drawn = [tested(np.arange(len(steps))) for _ in range(60)]
    for name in ("steps_p", "shared_p"):
        assert np.mean([p[name] <= 0.05 for p in drawn]) <= 0.15  # nominal 0.05; 0.15: 1 in 1,000


def test_an_empty_list_has_no_numbers(pairs: VertexPairs, graph: StepsAndPathways) -> None:
    """Red: a mean of nothing."""
    none = np.zeros(0, int)
    measured = path_test(none, none, pairs, graph, permutations=5, seed=0)
    assert (measured["n_pairs"], measured["n_in_pathways"]) == (0, 0)
    assert np.isnan([measured[x] for x in ("steps", "shared", "share_1", "steps_p")]).all()


def test_a_run_has_a_row_per_matrix_and_gene_set(finished_run: Path) -> None:
    """The lists are those of the overlap. Red: lists of every view; pairs in both directions."""
    table = pd.read_parquet(finished_run / "tables/paths.parquet")
    keys = ["model", "category", "layer", "gene_set"]
    assert not table.duplicated(keys).any()
    overlap = pd.read_parquet(finished_run / "tables/overlap.parquet")
    both = table.merge(overlap, on=[*keys, "view"], suffixes=("", "_of_overlap"))
    assert len(both) == len(table) == 2 * 2
    assert set(table["view"]) == {"marginal"}
    np.testing.assert_allclose(both["share_1"], both["edge_rate"])
    assert (table["steps_q"] >= table["steps_p"]).all()
    assert table["shared"].isna().all()  # the embedded network has no pathways
    assert (table["n_in_pathways"] == 0).all()

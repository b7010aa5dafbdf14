"""Rules against networkx, and what they must not know."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from octoscope.gnn import directed_spectrum as gnn_spectrum
from octoscope.link_prediction import path_sums, spectral, topology_scores
from octoscope.link_prediction.adjacency import train_adjacency
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.spectral import spectrum
from octoscope.link_prediction.splits import Split, split_links
from octoscope.link_prediction.topology_scores import DIRECTED_PATHS, RULES, Topology
from scipy import sparse

from tests.link_prediction.conftest import links_from


def random_adjacency(n: int, m: int, seed: int = 0) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, n, m), rng.integers(0, n, m)
    keys = np.unique((a * n + b)[a != b])
    ones = np.ones(len(keys), np.float32)
    return sparse.coo_array((ones, (keys // n, keys % n)), shape=(n, n)).tocsr()


def pairs_of(n: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.divmod(np.arange(n * n), n)
    return a[a != b], b[a != b]


def test_neighbourhood_rules_are_those_of_networkx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_sums, "SOURCES", 7)  # several blocks
    monkeypatch.setattr(path_sums, "ENTRIES", 50)
    n = 60
    matrix = random_adjacency(n, 240)
    directed = nx.DiGraph(matrix)
    graph = directed.to_undirected()
    a, b = pairs_of(n)
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    scores = Topology(matrix).scores(a, b)
    common = [len(list(nx.common_neighbors(graph, x, y))) for x, y in pairs]
    np.testing.assert_allclose(scores["common_neighbours"], common)
    for rule, of in (
        ("adamic_adar", nx.adamic_adar_index),
        ("resource_allocation", nx.resource_allocation_index),
    ):
        np.testing.assert_allclose(scores[rule], [s for _, _, s in of(graph, pairs)], rtol=1e-5)
    attached = [directed.out_degree(x) * directed.in_degree(y) for x, y in pairs]
    np.testing.assert_array_equal(scores["preferential_attachment"], attached)
    np.testing.assert_array_equal(scores["mirror"], [directed.has_edge(y, x) for x, y in pairs])
    k = dict(graph.degree)
    paths = [
        sum((k[u] * k[v]) ** -0.5 for u in graph[x] for v in graph[y] if graph.has_edge(u, v))
        for x, y in pairs
    ]
    np.testing.assert_allclose(scores["l3"], paths, rtol=1e-5)


@pytest.mark.parametrize(("n", "m", "dimensions"), [(60, 240, 64), (700, 2400, 64), (60, 240, 5)])
def test_pagerank_is_that_of_networkx(n: int, m: int, dimensions: int) -> None:
    matrix = random_adjacency(n, m)
    topology = Topology(matrix, dimensions)
    graph = nx.Graph(topology.near)
    starts = np.flatnonzero(topology.degree > 0)[:4]
    a, b = np.repeat(starts, n), np.tile(np.arange(n), len(starts))
    a, b = a[a != b], b[a != b]
    scores = topology.scores(a, b, ("personalised_pagerank",))["personalised_pagerank"]
    of = {x: nx.pagerank(graph, 0.85, {x: 1}, tol=1e-12, max_iter=1000) for x in starts.tolist()}
    expected = np.array([of[x][y] for x, y in zip(a.tolist(), b.tolist(), strict=True)])
    k = np.maximum(topology.degree, 1)
    error = topology.pagerank_error(len(starts))
    # eigenvectors are accurate to 1e-6 of an entry
    assert (np.abs(scores - expected) <= (error + 1e-6) * (k[b] / k[a]) ** 0.5
            ).all()  # fmt: skip
    assert error < 1e-3
    assert np.corrcoef(scores, expected)[0, 1] > 0.9999


def test_pagerank_of_too_much_work_has_fewer_steps_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topology = Topology(random_adjacency(700, 2400), 5)
    rule = ("personalised_pagerank",)
    a, b = np.repeat([3, 5], 600), np.tile(np.arange(10, 610), 2)
    exact = topology.scores(a, b, rule)[rule[0]]
    assert topology.steps(2) > 3
    monkeypatch.setattr(topology_scores, "_WORK", 0)
    assert topology.steps(2) == 3
    scores = topology.scores(a, b, rule)[rule[0]]
    k = np.maximum(topology.degree, 1)
    error = topology.pagerank_error(2)
    assert (np.abs(scores - exact) <= (error + 1e-3) * (k[b] / k[a]) ** 0.5).all()
    assert np.abs(scores - exact).max() > 1e-5
    assert error > 1e-3


def test_spectral_rules_are_the_best_approximation_of_their_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (spectral, gnn_spectrum):
        monkeypatch.setattr(module, "DENSE", 50)  # by iteration
    matrix = random_adjacency(200, 1200)
    topology = Topology(matrix, 6)
    dense = topology.near.toarray().astype(float)
    root = np.maximum(dense.sum(1), 1) ** -0.5
    values, vectors = np.linalg.eigh(root[:, None] * dense * root)
    top = np.argsort(-np.abs(values))[:6]
    a, b = pairs_of(200)
    best = (vectors[:, top] * values[top]) @ vectors[:, top].T
    assert np.corrcoef(topology.scores(a, b, ("spectral",))["spectral"], best[a, b])[0, 1] > 0.999
    dense = matrix.toarray().astype(float)
    left, right = (np.maximum(dense.sum(i), 1) ** -0.5 for i in (1, 0))
    u, s, vt = np.linalg.svd(left[:, None] * dense * right)
    best = (u[:, :6] * s[:6]) @ vt[:6]
    scores = topology.scores(a, b, ("directed_spectral",))["directed_spectral"]
    assert np.corrcoef(scores, best[a, b])[0, 1] > 0.999
    again = Topology(matrix, 6).scores(a, b, ("directed_spectral",))["directed_spectral"]
    np.testing.assert_array_equal(scores, again)  # the iteration starts from the same vector


def test_directed_paths_are_products_of_steps_and_keep_direction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Red: steps against an edge where the name says along it, or along either."""
    monkeypatch.setattr(path_sums, "SOURCES", 7)
    monkeypatch.setattr(path_sums, "ENTRIES", 50)
    matrix = random_adjacency(60, 240)
    dense = matrix.toarray().astype(float)
    left, right = (np.maximum(dense.sum(i), 1) ** -0.5 for i in (1, 0))
    step = {"out": left[:, None] * dense * right}
    step["in"] = step["out"].T
    a, b = pairs_of(60)
    scores = Topology(matrix).scores(a, b, DIRECTED_PATHS)
    assert len(scores) == 5
    for rule, values in scores.items():
        product = np.linalg.multi_dot([step[way] for way in rule.split("_")[1:]])
        np.testing.assert_allclose(values, product[a, b], rtol=1e-4, atol=1e-7, err_msg=rule)
        back = Topology(matrix).scores(b, a, (rule,))[rule]
        assert np.abs(back - values).max() > 0.01, rule  # another direction, another score


def test_directed_paths_do_not_pass_a_test_edge(mirrored: Links) -> None:
    """Red: paths of all edges, of the mirrors of training edges, or with the pair's own edge."""
    links = links_from(6, np.array([0, 1, 2, 3, 0]), np.array([1, 2, 3, 4, 5]))
    part = np.array([1, 3, 1, 1, 1], np.uint8)  # 1 -> 2 is a test edge
    topology = Topology(train_adjacency(links, Split("pair", part, {}, "")))
    a, b = pairs_of(6)
    of_paths = topology.scores(a, b, ("path_out_out", "path_out_out_out"))
    assert [(x, y) for x, y, v in zip(a, b, of_paths["path_out_out"], strict=True) if v] == [
        (2, 4)
    ]  # not 0 -> 1 -> 2, 1 -> 2 -> 3, nor 5 <- 0 -> 1
    assert not of_paths["path_out_out_out"].any()
    split = split_links(mirrored)
    train = split.part == 1
    alone = links_from(mirrored.n, mirrored.src[train], mirrored.dst[train])
    whole = Split("pair", np.ones(train.sum(), np.uint8), {}, "")
    rows = split.rows("test")[:500]
    ends = mirrored.src[rows], mirrored.dst[rows], DIRECTED_PATHS
    scores = Topology(train_adjacency(mirrored, split)).scores(*ends)
    expected = Topology(train_adjacency(alone, whole)).scores(*ends)
    for rule in DIRECTED_PATHS:
        np.testing.assert_array_equal(scores[rule], expected[rule])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = Topology(random_adjacency(200, 1500))
    a, b = pairs_of(200)
    whole = topology.scores(a, b)
    monkeypatch.setattr(path_sums, "SOURCES", 3)
    monkeypatch.setattr(path_sums, "ENTRIES", 11)
    order = np.random.default_rng(0).permutation(len(a))[:2000]
    for rule, values in topology.scores(a[order], b[order]).items():
        np.testing.assert_allclose(values, whole[rule][order], rtol=1e-5, atol=1e-7)


def test_rules_do_not_know_edges_outside_training(mirrored: Links) -> None:
    split = split_links(mirrored)
    train = split.part == 1
    alone = links_from(mirrored.n, mirrored.src[train], mirrored.dst[train])
    expected = train_adjacency(alone, Split("pair", np.ones(train.sum(), np.uint8), {},
                                                      ""))  # fmt: skip
    adjacency = train_adjacency(mirrored, split)
    assert (adjacency != expected).nnz == 0
    test = split.rows("test")
    assert not np.asarray(adjacency[mirrored.src[test], mirrored.dst[test]].sum())


def test_a_vertex_without_edges_scores_0() -> None:
    matrix = random_adjacency(50, 200)
    wider = sparse.csr_array((matrix.data, matrix.indices, np.append(matrix.indptr, [
        matrix.indptr[-1]])), shape=(51, 51))  # fmt: skip
    scores = Topology(wider).scores(np.array([50, 3]), np.array([3, 50]))
    for rule in RULES:
        np.testing.assert_allclose(scores[rule], 0, atol=1e-9)
    assert spectrum(Topology(wider).near).left_out >= 0

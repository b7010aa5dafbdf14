"""Features that are made of edges are made without a pair's own edges when it is left out."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from octoscope.errors import OctoscopeWarning
from octoscope.gnn.directed_spectrum import adjacency_of, directed_spectrum, scaled
from octoscope.gnn.embeddings import embeddings
from octoscope.gnn.encoders import encoder_of
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.leave_out import pair_edges, score_left_out
from octoscope.gnn.open_graph import warn_of_edges_in_features
from octoscope.gnn.pair_hash import pair_hash
from octoscope.gnn.scoring import score_pairs
from octoscope.gnn.structural_features import is_known, message_edges, with_structure, without_edges

from tests.gnn.conftest import checkpoint
from tests.gnn.test_leave_out import area, plain_graph

N, K = 160, 8


def random_graph(seed: int) -> GnnGraph:
    """A graph without structure whose edges are all of training, with parallel copies."""
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, N, (2, 1000))
    src, dst = np.r_[src, dst[:140]], np.r_[dst, src[:140]]
    names = pd.DataFrame({"vertex": np.arange(N), "name": [f"{seed} v{i}" for i in range(N)]})
    graph = plain_graph(rng.standard_normal((N, 2)).astype(np.float32), src, dst, names)
    split = np.ones(len(src), np.uint8)
    return replace(graph, split=split, vertex_features=("first", "second"))


def reader_of_coordinates() -> Checkpoint:
    """A network that adds the coordinates of a vertex as source and target, and reads no message.

    Its dot product holds source x target, which is the rank-K form of the edges themselves.
    """
    eye = torch.eye(K)
    return reader_of_features(torch.cat([torch.zeros(K, 4), eye, eye], 1))


def reader_of_features(root: torch.Tensor) -> Checkpoint:
    """A network of one linear layer of a vertex's own features, and their dot product."""
    state = {"convs.0.lin_rel.weight": torch.zeros_like(root),
             "convs.0.lin_rel.bias": torch.zeros(len(root)),
             "convs.0.lin_root.weight": root}  # fmt: skip
    encoder = encoder_of(state, {"encoder": "graph_conv", "graph_conv_aggregator": "add"}, "here")
    return replace(checkpoint("dot_product"), encoder=encoder)


def gone_of(graph: GnnGraph, pairs: set[frozenset[int]]) -> np.ndarray:
    return np.array([frozenset((int(a), int(b))) in pairs
                     for a, b in zip(graph.src, graph.dst, strict=True)])  # fmt: skip


def test_features_without_edges_are_those_of_the_graph_without_them() -> None:
    """Red: degrees or coordinates of all edges; source and target turned apart."""
    base = random_graph(0)
    whole = with_structure(base, K)
    assert is_known(whole)
    gone = np.zeros(len(base.src), bool)
    gone[::7] = True
    x = without_edges(whole, gone)
    keep = ~gone
    less = replace(base, src=base.src[keep], dst=base.dst[keep], split=base.split[keep])
    want = with_structure(less, K).x
    np.testing.assert_array_equal(x[:, :2], base.x)
    np.testing.assert_allclose(x[:, 2:4], want[:, 2:4], atol=1e-6)
    both, expected = (np.concatenate([m[:, 4 : 4 + K], m[:, 4 + K :]]) for m in (x, want))
    products = [m.astype(float) @ m.T.astype(float) for m in (both, expected)]
    np.testing.assert_allclose(products[0], products[1], atol=1e-4)  # alike but for a rotation
    own = np.concatenate([whole.x[:, 4 : 4 + K], whole.x[:, 4 + K :]])
    distance = np.linalg.norm(own - both)
    for seed in range(20):  # and turned as near to the graph's own as any rotation brings them
        turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((K, K)))
        assert distance < np.linalg.norm(own - both @ turn)
    assert distance < np.linalg.norm(own - expected)


def test_features_stay_where_no_edge_of_theirs_is_gone() -> None:
    """Red: coordinates turned, or made again, for nothing."""
    whole = with_structure(random_graph(1), K)
    np.testing.assert_array_equal(without_edges(whole, ~message_edges(whole)), whole.x)


def test_left_out_scores_equal_brute_force_with_structure() -> None:
    """Each fold's graph is made from scratch. Red: the fold's edges still in the features."""
    whole, model = with_structure(random_graph(2), K), reader_of_coordinates()
    src, dst = whole.src[:40], whole.dst[:40]
    scores = score_left_out(model, whole, src, dst)
    fold = pair_hash(whole.vertex_names, src, dst) % np.uint64(10)
    for k in np.unique(fold):
        mine = fold == k
        gone = gone_of(whole, {frozenset((int(a), int(b)))
                               for a, b in zip(src[mine], dst[mine], strict=True)})  # fmt: skip
        less = replace(whole, x=without_edges(whole, gone), src=whole.src[~gone],
                       dst=whole.dst[~gone], split=whole.split[~gone])  # fmt: skip
        want = score_pairs(model.head, embeddings(model, less), src[mine], dst[mine])
        np.testing.assert_allclose(scores.raw[mine], want.raw, atol=1e-6)


def test_left_out_equals_all_where_no_queried_pair_is_an_edge_with_structure() -> None:
    whole, model = with_structure(random_graph(3), K), reader_of_coordinates()
    a, b = np.random.default_rng(0).integers(0, N, (2, 200))
    between = pair_edges(whole, a, b)
    free = ~(between.forward | between.backward)
    scores = score_left_out(model, whole, a[free], b[free])
    want = score_pairs(model.head, embeddings(model, whole), a[free], b[free])
    np.testing.assert_allclose(scores.raw, want.raw, atol=1e-6)


def test_coordinates_are_no_evidence_of_an_edge_that_is_left_out() -> None:
    """Red: the edge left out of the messages alone, as its ends' coordinates still hold it."""
    model = reader_of_coordinates()
    auc: dict[str, list[float]] = {"all": [], "left out": []}
    for seed in range(10, 16):
        whole = with_structure(random_graph(seed), K)
        rng = np.random.default_rng(seed)
        passed = np.flatnonzero(message_edges(whole) & (whole.src != whole.dst))
        a, b = rng.integers(0, N, (2, 2 * len(passed)))
        between = pair_edges(whole, a, b)
        clear = ~(between.forward | between.backward) & (a != b)
        src, dst = np.r_[whole.src[passed], a[clear]], np.r_[whole.dst[passed], b[clear]]
        truth = np.arange(len(src)) < len(passed)
        every = score_pairs(model.head, embeddings(model, whole), src, dst).raw
        auc["all"].append(area(every, truth))
        auc["left out"].append(area(score_left_out(model, whole, src, dst).raw, truth))
    assert np.mean(auc["all"]) > 0.75, auc
    assert abs(np.mean(auc["left out"]) - 0.5) < 0.03, auc


def test_structure_of_unknown_make_is_warned_of() -> None:
    """Of other edges than the features of today: they cannot be made again."""
    whole = with_structure(random_graph(4), K)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_edges_in_features(whole)
    other = whole.x.copy()
    other[:, 2] += 0.01
    unnamed = tuple(name for name in whole.vertex_features if name != "target coordinate 0")
    for graph in (replace(whole, x=other), replace(whole, split=None),
                  replace(whole, vertex_features=unnamed)):  # fmt: skip
        assert not is_known(graph)
        with pytest.warns(OctoscopeWarning, match="still vouches for itself"):
            warn_of_edges_in_features(graph)


def cliques() -> tuple[np.ndarray, np.ndarray]:
    """Sixteen cliques of ten, an edge a pair: singular values are equal sixteen at a time."""
    src, dst = np.nonzero(np.kron(np.eye(16), np.triu(np.ones((10, 10)), 1)))
    return src, dst


def random_edges(n: int) -> tuple[np.ndarray, np.ndarray]:
    graph = random_graph(0)
    return graph.src[:n], graph.dst[:n]


@pytest.mark.parametrize(
    ("edges", "k"),
    [(random_edges(1000), K), (random_edges(300), 32), (random_edges(80), 32), (cliques(), 32)],
    ids=["1000", "300", "80", "cliques"],
)
def test_numbers_of_vertices_change_no_score_that_is_left_out(
    edges: tuple[np.ndarray, np.ndarray], k: int
) -> None:
    """Weights are random, as a rotation of coordinates changes no product of them alone.

    Red: a decomposition, or a product of coordinates, in the order of the numbers.
    """
    graph = random_graph(0)
    graph = replace(graph, src=edges[0], dst=edges[1], split=np.ones(len(edges[0]), np.uint8))
    whole = with_structure(graph, k)
    new = np.random.default_rng(1).permutation(N)
    order = np.argsort(new)
    vertices = whole.names.vertices.iloc[order].reset_index(drop=True)
    vertices["vertex"] = np.arange(N)
    other = replace(whole, x=whole.x[order], src=new[whole.src], dst=new[whole.dst],
                    names=replace(whole.names, vertices=vertices))  # fmt: skip
    a, b = whole.src[:60], whole.dst[:60]
    root = torch.zeros(k, whole.x.shape[1])
    root[:, 4:] = torch.randn(k, 2 * k, generator=torch.Generator().manual_seed(0)) / k
    model = reader_of_features(root)
    scores = score_left_out(model, whole, a, b), score_left_out(model, other, new[a], new[b])
    np.testing.assert_allclose(scores[0].raw, scores[1].raw, atol=1e-5)
    np.testing.assert_allclose(scores[0].probability, scores[1].probability, atol=1e-5)
    np.testing.assert_allclose(scores[0].cosine, scores[1].cosine, atol=1e-5)


def test_directions_without_a_counterpart_become_nothing() -> None:
    """The edges left of two components are one component. Red: coordinates turned at random."""
    src = np.r_[np.zeros(30, int), np.full(30, 80)]
    dst = np.r_[np.arange(1, 31), np.arange(81, 111)]
    graph = replace(random_graph(0), src=src, dst=dst, split=np.ones(60, np.uint8))
    whole = with_structure(graph, 1)
    first = np.abs(whole.x[:80, 4:]).sum() > np.abs(whole.x[80:, 4:]).sum()
    gone = (src < 80) == first  # those of the component that has the only coordinate
    x = without_edges(whole, gone)
    np.testing.assert_array_equal(x[:, 4:], 0)


@pytest.mark.parametrize("edges", [800, 300])
def test_coordinates_of_many_small_components(edges: int) -> None:
    """Many singular values are 1; of 300 edges an iteration finds no way on. Red: no way around."""
    n = 1400
    src, dst = np.random.default_rng(0).integers(0, n, (2, edges))
    adjacency = adjacency_of(src, dst, n)
    first, second = directed_spectrum(adjacency, 8), directed_spectrum(adjacency, 8)
    np.testing.assert_array_equal(first, second)
    exact = np.linalg.svd(scaled(adjacency).toarray().astype(float))[1][:8]
    size = np.sqrt((first[0] ** 2).sum(0) * (first[1] ** 2).sum(0))  # root s of either side
    np.testing.assert_allclose(np.sort(size), np.sort(exact), atol=1e-3)

"""Leave-out scores: equal to brute force, and blind to the edges of the pair itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from octoscope.gnn.embeddings import embeddings
from octoscope.gnn.encoders import encoder_of
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.leave_out import pair_edges, score_left_out
from octoscope.gnn.pair_hash import pair_hash
from octoscope.gnn.score_matrix import score_triangle
from octoscope.gnn.scoring import score_pairs
from octoscope.octopus.pair_triangle import n_pairs, pair_index

from tests.gnn.conftest import checkpoint

FOLDS = 10
KINDS = ["distmult_edgeenc", "mlp"]


def ends(pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return pairs.src.to_numpy(), pairs.dst.to_numpy(), pairs.relation_type.to_numpy()


@pytest.mark.parametrize("name", KINDS)
def test_left_out_scores_equal_brute_force(name: str, graph: GnnGraph, pairs: pd.DataFrame) -> None:
    model = checkpoint(name)
    src, dst, relation = ends(pairs)
    scores = score_left_out(model, graph, src, dst, relation)
    fold = pair_hash(graph.vertex_names, src, dst) % np.uint64(FOLDS)
    assert len(np.unique(fold)) == FOLDS
    for i in range(len(src)):  # one graph per pair, made from scratch
        gone = {frozenset((a, b)) for a, b, f in zip(src, dst, fold, strict=True) if f == fold[i]}
        keep = np.array([
            frozenset((a, b)) not in gone for a, b in zip(graph.src, graph.dst, strict=True)
        ])  # fmt: skip
        less = replace(
            graph, src=graph.src[keep], dst=graph.dst[keep], edge_attr=graph.edge_attr[keep]
        )
        z = embeddings(model, less)
        want = score_pairs(model.head, z, src[[i]], dst[[i]], relation[[i]])
        assert abs(scores.probability[i] - want.probability[0]) <= 1e-6
        assert abs(scores.raw[i] - want.raw[0]) <= 1e-6


@pytest.mark.parametrize("name", KINDS)
def test_left_out_equals_all_where_no_queried_pair_is_an_edge(name: str, graph: GnnGraph) -> None:
    model = checkpoint(name)
    rng = np.random.default_rng(0)
    src, dst = rng.integers(0, graph.n_vertices, (2, 500))
    free = pair_edges(graph, src, dst)
    keep = ~(free.forward | free.backward)
    src, dst = src[keep], dst[keep]
    assert len(src) > 300
    relation = np.zeros(len(src), np.int64)
    scores = score_left_out(model, graph, src, dst, relation)
    want = score_pairs(model.head, embeddings(model, graph), src, dst, relation)
    np.testing.assert_allclose(scores.probability, want.probability, atol=1e-6)
    np.testing.assert_allclose(scores.cosine, want.cosine, atol=1e-6)


def test_a_gene_of_several_vertices_lacks_the_edges_of_all(graph: GnnGraph) -> None:
    """Red: the best vertex pair is no edge, and the edge of another one carries messages."""
    model = checkpoint("distmult")
    a, b = int(graph.src[0]), int(graph.dst[0])
    for other in range(graph.n_vertices):
        src, dst = np.array([a, a]), np.array([b, other])
        scores = score_left_out(model, graph, src, dst, np.array([0, 0]), group=np.array([5, 5]))
        gone = {frozenset((a, b)), frozenset((a, other))}
        keep = np.array([
            frozenset((x, y)) not in gone for x, y in zip(graph.src, graph.dst, strict=True)
        ])  # fmt: skip
        less = replace(graph, src=graph.src[keep], dst=graph.dst[keep], edge_attr=None)
        want = score_pairs(model.head, embeddings(model, less), src, dst, np.array([0, 0]))
        np.testing.assert_allclose(scores.raw, want.raw, atol=1e-6)
        if other == 20:
            break


@pytest.mark.parametrize("name", ["distmult", "relation_gated_mlp"])  # without a direction, with
def test_scores_of_all_pairs_are_those_of_a_table(name: str, graph: GnnGraph) -> None:
    """Red: loops of a vertex left out with its pairs; one direction of a head that has two."""
    model = checkpoint(name)
    rng = np.random.default_rng(0)
    loops = rng.integers(0, 40, 60)
    looped = replace(
        graph, src=np.r_[graph.src, loops], dst=np.r_[graph.dst, loops], edge_attr=None, split=None
    )
    vertices = np.r_[np.arange(40), -1]
    scores = np.empty((n_pairs(41), 2), np.float32)
    score_triangle(model, looped, vertices, "leave-out", scores)
    i, j = np.triu_indices(40, 1)
    both = [score_left_out(model, looped, x, y) for x, y in ((i, j), (j, i))]
    want = np.maximum(both[0].probability, both[1].probability)
    at = pair_index(i, j, 41)
    np.testing.assert_allclose(scores[at, 0], want, atol=1e-6)
    np.testing.assert_allclose(scores[at, 1], both[0].cosine, atol=1e-6)
    assert np.isnan(scores[pair_index(np.arange(40), np.full(40, 40), 41)]).all()


def test_left_out_differs_where_pairs_are_edges(graph: GnnGraph, pairs: pd.DataFrame) -> None:
    model = checkpoint("distmult")
    src, dst, relation = ends(pairs)
    scores = score_left_out(model, graph, src, dst, relation)
    want = score_pairs(model.head, embeddings(model, graph), src, dst, relation)
    edges = pairs.is_network_edge.to_numpy()
    assert (np.abs(scores.probability - want.probability)[edges] > 2e-6).mean() > 0.8


@pytest.mark.parametrize("name", KINDS)
def test_numbers_of_vertices_change_nothing(
    name: str, graph: GnnGraph, pairs: pd.DataFrame
) -> None:
    model = checkpoint(name)
    new = np.random.default_rng(1).permutation(graph.n_vertices)  # old -> new
    order = np.argsort(new)
    vertices = graph.names.vertices.iloc[order].reset_index(drop=True)
    vertices["vertex"] = np.arange(len(vertices), dtype=np.int32)
    other = replace(
        graph, x=graph.x[order], src=new[graph.src], dst=new[graph.dst],
        names=replace(graph.names, vertices=vertices),
    )  # fmt: skip
    src, dst, relation = ends(pairs)
    for passing in ("all", "left out"):
        results = []
        for g, a, b in ((graph, src, dst), (other, new[src], new[dst])):
            if passing == "all":
                results.append(score_pairs(model.head, embeddings(model, g), a, b, relation))
            else:
                results.append(score_left_out(model, g, a, b, relation))
        for field in vars(results[0]):
            first, second = (getattr(r, field) for r in results)
            np.testing.assert_allclose(first, second, atol=2e-6)


def test_a_graph_whose_only_signal_is_the_scored_edge() -> None:
    """Random features, random edges: with its own edge a pair looks like an edge, without not."""
    auc = {}
    for passing in ("all", "left out"):
        auc[passing] = [self_evidence(seed)[passing] for seed in range(8)]
    assert np.mean(auc["all"]) > 0.85
    assert abs(np.mean(auc["left out"]) - 0.5) < 0.03


def self_evidence(seed: int, n: int = 400, edges: int = 800) -> dict[str, float]:
    """AUC of a plain sum over neighbours and a dot product on a graph without structure."""
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, n, (2, edges))
    keep = src != dst
    src, dst = src[keep], dst[keep]
    names = pd.DataFrame({"vertex": np.arange(n), "name": [f"v{i}" for i in range(n)]})
    base = checkpoint("dot_product")
    graph = plain_graph(rng.standard_normal((n, 32)).astype(np.float32), src, dst, names)
    eye = torch.eye(32)
    state = {"convs.0.lin_rel.weight": eye, "convs.0.lin_rel.bias": torch.zeros(32),
             "convs.0.lin_root.weight": eye}  # fmt: skip
    encoder = encoder_of(state, {"encoder": "graph_conv", "graph_conv_aggregator": "add"}, "here")
    model = replace(base, encoder=encoder)
    others = rng.integers(0, n, (2, 3 * edges))
    between = pair_edges(graph, *others)
    clear = ~(between.forward | between.backward) & (others[0] != others[1])
    a = np.concatenate([src, others[0][clear][: len(src)]])
    b = np.concatenate([dst, others[1][clear][: len(src)]])
    truth = np.arange(len(a)) < len(src)
    whole = score_pairs(model.head, embeddings(model, graph), a, b).raw
    raw = score_left_out(model, graph, a, b).raw
    return {"all": area(whole, truth), "left out": area(raw, truth)}


def plain_graph(
    x: np.ndarray, src: np.ndarray, dst: np.ndarray, vertices: pd.DataFrame
) -> GnnGraph:
    from octoscope.gnn.graph import no_edges
    from octoscope.octopus.network import Network

    genes = pd.DataFrame({"gene": [], "vertex": [], "how": []})
    return GnnGraph(
        x=x, src=src, dst=dst, edge_attr=None, relation=None, relations=(), split=None,
        names=Network(vertices, genes, no_edges(), []), vertex_features=(), edge_features=(),
        made_from="random", known={},
    )  # fmt: skip


def area(score: np.ndarray, truth: np.ndarray) -> float:
    from scipy.stats import rankdata

    ranks = rankdata(score)
    n, m = truth.sum(), (~truth).sum()
    return float((ranks[truth].sum() - n * (n + 1) / 2) / (n * m))


def test_splits_and_directions_of_pairs(graph: GnnGraph) -> None:
    src, dst = np.asarray(graph.src)[:300], np.asarray(graph.dst)[:300]
    edges = pair_edges(graph, src, dst)
    assert edges.forward.all()
    known = set(zip(graph.src.tolist(), graph.dst.tolist(), strict=True))
    back = zip(dst.tolist(), src.tolist(), strict=True)
    assert edges.backward.tolist() == [pair in known for pair in back]
    rank = {"train": 0, "val": 1, "test": 2}
    for i in range(0, 300, 17):
        mine = ((graph.src == src[i]) & (graph.dst == dst[i])) | (
            (graph.src == dst[i]) & (graph.dst == src[i])
        )
        best = min(({1: "train", 2: "val", 3: "test"}[s] for s in graph.split[mine]), key=rank.get)
        assert edges.split[i] == best


def test_the_hash_of_a_pair_depends_on_its_two_names_only() -> None:
    names = pd.Index([f"g{i}" for i in range(1000)])
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 1000, (2, 20_000))
    first = pair_hash(names, a, b)
    assert (first == pair_hash(names, b, a)).all()
    order = rng.permutation(1000)
    inverse = np.argsort(order)
    assert (first == pair_hash(names[order], inverse[a], inverse[b])).all()
    counts = np.bincount((first % np.uint64(10)).astype(int))
    assert np.abs(counts / len(a) - 0.1).max() < 0.01


def test_genes_that_share_a_vertex_pair_lack_the_edges_of_each_other(graph: GnnGraph) -> None:
    """Red: folds by gene pair alone; the shared vertex pair then has two folds and one encoding."""
    model = checkpoint("distmult")
    folds = pair_hash(graph.vertex_names, graph.src, graph.dst) % np.uint64(FOLDS)
    first = int(np.argmin(folds))
    others = np.flatnonzero(folds > folds[first])[[0, 7]]
    src, dst = (np.asarray(e)[[first, others[0], others[0], others[1]]]
                for e in (graph.src, graph.dst))  # fmt: skip
    zeros = np.zeros(4, np.int64)
    scores = score_left_out(model, graph, src, dst, zeros, group=np.array([0, 0, 1, 1]))
    gone = {frozenset(pair) for pair in zip(src.tolist(), dst.tolist(), strict=True)}
    keep = np.array([
        frozenset((int(a), int(b))) not in gone
        for a, b in zip(graph.src, graph.dst, strict=True)
    ])  # fmt: skip
    less = replace(graph, src=graph.src[keep], dst=graph.dst[keep], edge_attr=None)
    want = score_pairs(model.head, embeddings(model, less), src, dst, zeros)
    np.testing.assert_allclose(scores.raw, want.raw, atol=1e-6)

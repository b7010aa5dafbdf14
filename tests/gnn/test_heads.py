"""Heads: torch-geometric's knowledge-graph models, chunks, corrections, and the tenth head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from octoscope.errors import InputError
from octoscope.gnn.embeddings import embeddings
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.head_weights import head_of
from octoscope.gnn.scoring import score_pairs
from torch_geometric.nn import kge

from tests.gnn.conftest import NAMES, checkpoint

WIDTH, RELATIONS, N = 16, 5, 12


def random_pairs(seed: int = 0, n: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, N, n), rng.integers(0, N, n), rng.integers(0, RELATIONS, n)


def z(seed: int = 0) -> torch.Tensor:
    return torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_distmult_and_transe_are_torch_geometrics_but_for_stated_differences() -> None:
    a, b, r = (torch.from_numpy(v) for v in random_pairs())
    unit = torch.nn.functional.normalize(z(), dim=1)
    dist = kge.DistMult(N, RELATIONS, WIDTH)
    trans = kge.TransE(N, RELATIONS, WIDTH, p_norm=2.0)
    with torch.no_grad():
        dist.node_emb.weight.copy_(z())
        trans.node_emb.weight.copy_(unit)
        relation = torch.randn(RELATIONS, WIDTH)
        dist.rel_emb.weight.copy_(relation)
        trans.rel_emb.weight.copy_(torch.nn.functional.normalize(relation, dim=1))
        want = {"distmult": dist(a, r, b) / WIDTH, "transe": trans(a, r, b)}
    weights = {"distmult": relation, "transe": torch.nn.functional.normalize(relation, dim=1)}
    for kind, expected in want.items():
        head = head_of({"relation_emb.weight": weights[kind]}, {"head": kind}, WIDTH, "here")
        raw = score_pairs(head, z(), a.numpy(), b.numpy(), r.numpy()).raw
        np.testing.assert_allclose(raw, expected.numpy(), atol=2e-4)  # |h + r - t + 1e-6| there


def test_rotate_is_the_product_with_a_complex_number() -> None:
    a, b, r = random_pairs()
    phase = torch.randn(RELATIONS, WIDTH // 2)
    head = head_of({"relation_emb.weight": phase}, {"head": "rotate"}, WIDTH, "here")
    unit = torch.nn.functional.normalize(z(), dim=1).numpy()
    complex_ = unit[:, : WIDTH // 2] + 1j * unit[:, WIDTH // 2 :]
    turned = complex_[a] * np.exp(1j * phase.numpy()[r]) - complex_[b]
    raw = score_pairs(head, z(), a, b, r).raw
    np.testing.assert_allclose(raw, -np.sqrt(np.abs(turned) ** 2 + 1e-8).mean(1), atol=1e-6)


def conditional() -> Any:
    weights = {"relation_emb.weight": torch.randn(RELATIONS, WIDTH // 2),
               "is_symmetric": torch.tensor([True, False, True, False, False])}  # fmt: skip
    return head_of(weights, {"head": "conditional_rotate"}, WIDTH, "here")


def test_conditional_rotate_takes_the_product_for_symmetric_relations() -> None:
    a, b, r = random_pairs()
    head = conditional()
    rotate = head_of(
        {"relation_emb.weight": head.weights["relation_emb.weight"]}, {"head": "rotate"}, WIDTH, ""
    )
    symmetric = np.array([True, False, True, False, False])[r]
    unit = torch.nn.functional.normalize(z(), dim=1).numpy()
    peer = score_pairs(head, z(), a, b, r, "peer")
    np.testing.assert_allclose(
        peer.raw,
        np.where(symmetric, (unit[a] * unit[b]).mean(1) - 1, score_pairs(rotate, z(), a, b, r).raw),
        atol=1e-6,
    )
    corrected = score_pairs(head, z(), a, b, r)
    cosine = (unit[a] * unit[b]).sum(1)
    np.testing.assert_allclose(
        corrected.probability[symmetric], (1 + cosine[symmetric]) / 2, atol=1e-5
    )
    assert np.ptp(peer.raw[symmetric]) <= 2 / WIDTH < np.ptp(corrected.raw[symmetric])


@pytest.mark.parametrize("kind", ["transe", "rotate"])
def test_corrected_probabilities_of_distances_use_the_whole_range(kind: str) -> None:
    columns = WIDTH if kind == "transe" else WIDTH // 2
    same = head_of({"relation_emb.weight": torch.zeros(1, columns)}, {"head": kind}, WIDTH, "here")
    ends = torch.cat([z()[:1], -z()[:1]])
    src, dst, r = np.array([0, 0]), np.array([0, 1]), np.array([0, 0])
    peer = score_pairs(same, ends, src, dst, r, "peer").probability
    corrected = score_pairs(same, ends, src, dst, r).probability
    assert peer.max() <= 0.5
    assert corrected[0] > 0.999  # nothing between the two
    assert corrected[1] < (0.001 if kind == "transe" else 0.2)  # opposite ends


@pytest.mark.parametrize("kind", ["transe", "rotate", "conditional_rotate"])
def test_corrected_probabilities_grow_with_the_raw_score(kind: str) -> None:
    a, b, r = random_pairs(n=2000)
    columns = WIDTH if kind == "transe" else WIDTH // 2
    weights = {"relation_emb.weight": torch.randn(RELATIONS, columns)}
    head = (
        head_of(weights, {"head": kind}, WIDTH, "")
        if kind != "conditional_rotate"
        else conditional()
    )
    scores = score_pairs(head, z(), a, b, r)
    assert ((scores.probability >= 0) & (scores.probability <= 1)).all()
    for mine in [np.ones(len(r), bool)] if kind != "conditional_rotate" else [r == 0, r == 1]:
        order = np.argsort(scores.raw[mine])
        assert (np.diff(scores.probability[mine][order]) >= -1e-6).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_a_chunk_changes_nothing(
    name: str, graph: GnnGraph, pairs: pd.DataFrame
) -> None:
    model = checkpoint(name)
    at = embeddings(model, graph)
    given = (pairs.src.to_numpy(), pairs.dst.to_numpy(), pairs.relation_type.to_numpy())
    whole, parts = (score_pairs(model.head, at, *given, chunk=c) for c in (1000, 7))
    for field in vars(whole):
        np.testing.assert_allclose(getattr(whole, field), getattr(parts, field), atol=1e-6)


def test_without_a_relation_the_most_probable_one_is_scored(
    graph: GnnGraph, pairs: pd.DataFrame
) -> None:
    model = checkpoint("relation_gated_mlp")
    at, src, dst = embeddings(model, graph), pairs.src.to_numpy(), pairs.dst.to_numpy()
    each = np.stack([
        score_pairs(model.head, at, src, dst, np.full(len(src), r)).probability for r in range(8)
    ])  # fmt: skip
    best = score_pairs(model.head, at, src, dst)
    np.testing.assert_allclose(best.probability, each.max(0), atol=1e-6)
    assert (best.relation == each.argmax(0)).all()
    plain = score_pairs(checkpoint("mlp").head, embeddings(checkpoint("mlp"), graph), src, dst)
    assert (plain.relation == -1).all()


def test_the_raw_score_decides_where_probabilities_are_one() -> None:
    table = 60 * torch.randn(RELATIONS, WIDTH, generator=torch.Generator().manual_seed(0)).abs()
    head = head_of({"relation_emb.weight": table}, {"head": "distmult"}, WIDTH, "here")
    a, b = np.zeros(1, int), np.zeros(1, int)
    ends = torch.full((1, WIDTH), 3.0)
    each = [float(score_pairs(head, ends, a, b, np.array([r])).raw[0]) for r in range(RELATIONS)]
    best = score_pairs(head, ends, a, b)
    assert best.probability[0] == 1
    assert best.relation[0] == np.argmax(each)


def test_scores_that_are_not_finite_are_refused() -> None:
    a, b, r = random_pairs()
    table = torch.full((RELATIONS, WIDTH), 3e38)
    head = head_of({"relation_emb.weight": table}, {"head": "distmult"}, WIDTH, "here")
    with pytest.raises(InputError, match="distmult: gives scores that are not finite"):
        score_pairs(head, 1e3 * z(), a, b, r)


@pytest.mark.parametrize(
    ("weights", "settings", "says"),
    [
        ({}, {"head": "node_classification"}, "supported are dot_product"),
        ({}, {"head": "distmult"}, "relation_emb.weight: is missing"),
        ({"mlp.0.weight": torch.zeros(1)}, {"head": "dot_product"}, "no weight of dot_product"),
        (
            {"mlp.0.weight": torch.zeros(4, 32), "mlp.0.bias": torch.zeros(4)},
            {"head": "mlp"}, r"expected \(1, 32\)",
        ),
        ({"relation_emb.weight": torch.zeros(0, 16)}, {"head": "distmult"}, "holds no relation"),
        ({"relation_emb.weight": torch.zeros(3, 5)}, {"head": "transe"}, r"expected \(3, 16\)"),
        (
            {"mlp.0.weight": torch.zeros(4, 32), "mlp.0.bias": torch.zeros(4),
             "mlp.6.weight": torch.zeros(1, 4), "mlp.6.bias": torch.zeros(1)},
            {"head": "mlp"}, "mlp.3.weight: is missing",
        ),
    ],
)  # fmt: skip
def test_a_head_that_does_not_fit_is_refused(weights: Any, settings: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        head_of(weights, settings, WIDTH, "here")


def test_transe_is_divided_by_the_largest_distance_that_its_relations_allow() -> None:
    a, b, r = random_pairs()
    table = torch.randn(RELATIONS, WIDTH)
    head = head_of({"relation_emb.weight": table}, {"head": "transe"}, WIDTH, "here")
    scores = score_pairs(head, z(), a, b, r)
    want = 1 + scores.raw / (2 + np.linalg.norm(table.numpy(), axis=1).max())
    np.testing.assert_allclose(scores.probability, want, atol=1e-6)

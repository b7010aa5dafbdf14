"""Geometry of relations: exact small cases, and a null that holds its level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.head_weights import head_of
from octoscope.gnn.relation_geometry import relation_geometry

from tests.gnn.conftest import checkpoint


def with_relations(kind: str, table: np.ndarray) -> Checkpoint:
    width = table.shape[1] * (2 if kind == "rotate" else 1)
    head = head_of({"relation_emb.weight": torch.from_numpy(table)}, {"head": kind}, width, "here")
    names = tuple(f"r{i}" for i in range(len(table)))
    return replace(checkpoint("distmult"), head=head, relations=names)


def test_cosines_and_turns() -> None:
    table = np.array([[1.0, 2, 3, 4], [2, 4, 6, 8], [-1, -2, -3, -4]])
    geometry = relation_geometry(with_relations("distmult", table), permutations=99)
    np.testing.assert_allclose(geometry["similarity"], [1, -1, -1], atol=1e-6)
    turn = np.array([[0.1, 0.2, -0.3, 0.4]] * 2) + np.array([[0.0], [np.pi / 3]])
    turn[1] += np.array([0, 2, -2, 4]) * np.pi  # full turns change nothing
    of_rotate = relation_geometry(with_relations("rotate", turn), permutations=99)
    np.testing.assert_allclose(of_rotate["similarity"], [0.5], atol=1e-6)
    np.testing.assert_allclose(of_rotate["mean_turn"], [-60], atol=1e-4)


@pytest.mark.parametrize("kind", ["distmult", "rotate"])
def test_size_and_power_of_the_null(kind: str) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((40, 64))  # 780 pairs of unrelated relations
    p = relation_geometry(with_relations(kind, noise), permutations=499)["p"]
    assert (p <= 0.05).mean() <= 0.07
    planted = np.concatenate([noise[:20], noise[:20] + 0.7 * rng.standard_normal((20, 64))])
    geometry = relation_geometry(with_relations(kind, planted), permutations=499)
    twins = (
        geometry["relation_b"].str[1:].astype(int) - geometry["relation_a"].str[1:].astype(int)
        == 20
    )
    assert (geometry["p"][twins] <= 0.05).mean() >= 0.95


def test_a_relation_without_an_embedding_has_no_p() -> None:
    table = np.random.default_rng(0).standard_normal((4, 8))
    table[2] = 0
    geometry = relation_geometry(with_relations("distmult", table), permutations=99)
    empty = (geometry["relation_a"] == "r2") | (geometry["relation_b"] == "r2")
    assert geometry.loc[empty, ["similarity", "p", "q"]].isna().all(axis=None)
    assert geometry.loc[~empty, ["similarity", "p", "q"]].notna().all(axis=None)


def test_opposite_relations_are_as_far_from_the_null_as_alike_ones() -> None:
    """Red: a one-sided p."""
    table = np.random.default_rng(0).standard_normal((2, 64))
    table[1] = -table[0]
    assert relation_geometry(with_relations("distmult", table), permutations=199)["p"][0] <= 0.01


def test_embeddings_of_symmetric_relations_are_never_read() -> None:
    weights = {"relation_emb.weight": torch.randn(4, 8),
               "is_symmetric": torch.tensor([False, True, False, False])}  # fmt: skip
    head = head_of(weights, {"head": "conditional_rotate"}, 16, "here")
    model = replace(checkpoint("distmult"), head=head, relations=("r0", "r1", "r2", "r3"))
    geometry = relation_geometry(model, permutations=99)
    assert len(geometry) == 3
    assert "r1" not in set(geometry["relation_a"]) | set(geometry["relation_b"])

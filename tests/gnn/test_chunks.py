"""Blocks of edges and of pairs bound memory and change nothing; cosines are those of embeddings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from octoscope.gnn import encoders, messages, score_matrix
from octoscope.gnn.embeddings import embeddings
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.messages import Messages
from octoscope.gnn.score_matrix import score_triangle
from octoscope.gnn.scoring import score_pairs
from octoscope.octopus.pair_triangle import n_pairs

from tests.gnn.conftest import checkpoint


@pytest.mark.parametrize("size", [1, 7, 2009, 2010])
def test_blocks_of_edges(size: int, graph: GnnGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red: edges at the ends of a block lost or read twice."""
    encoder = checkpoint("distmult_edgeenc").encoder
    assert graph.edge_attr is not None
    src, dst = (torch.from_numpy(np.array(e, np.int64)) for e in (graph.src, graph.dst))
    x = torch.randn(graph.n_vertices, 3, generator=torch.Generator().manual_seed(0))
    weight = encoder.edge_weights(graph.edge_attr)
    largest = Messages(src, dst, graph.n_vertices, weight).largest(x)
    monkeypatch.setattr(encoders, "_EDGES_AT_ONCE", size)
    monkeypatch.setattr(messages, "_EDGES_AT_ONCE", size)
    torch.testing.assert_close(encoder.edge_weights(graph.edge_attr), weight, atol=1e-6, rtol=0)
    rows = np.arange(5, 2000, 3)
    torch.testing.assert_close(
        encoder.edge_weights(graph.edge_attr, rows), weight[rows], atol=1e-6, rtol=0
    )
    again = Messages(src, dst, graph.n_vertices, weight).largest(x)
    torch.testing.assert_close(again, largest)


def test_blocks_of_pairs(graph: GnnGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    model = checkpoint("mlp")
    vertices = np.arange(30)
    whole, parts = (np.empty((n_pairs(30), 2), np.float32) for _ in range(2))
    score_triangle(model, graph, vertices, "all", whole)
    monkeypatch.setattr(score_matrix, "_PAIRS_AT_ONCE", 70)  # two rows at once
    score_triangle(model, graph, vertices, "all", parts)
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_cosines_are_of_the_embeddings_of_the_pair(graph: GnnGraph, pairs: pd.DataFrame) -> None:
    """Red: of other rows, of rows that are not of length 1, of what a head makes of them."""
    model = checkpoint("attention")
    z = embeddings(model, graph)
    src, dst = pairs.src.to_numpy(), pairs.dst.to_numpy()
    cosine = score_pairs(model.head, z, src, dst, chunk=7).cosine
    a, b = (z.numpy().astype(float)[e] for e in (src, dst))
    want = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert np.ptp(want) > 0.01
    np.testing.assert_allclose(cosine, want, atol=1e-5)

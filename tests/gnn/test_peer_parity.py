"""Every checkpoint of the fixture scores, encodes and weighs edges as napistu-torch does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from octoscope.gnn.embeddings import embeddings, messages_of
from octoscope.gnn.encoders import GraphConv
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.messages import Messages
from octoscope.gnn.scoring import score_pairs

from tests.gnn.conftest import NAMES, answers, checkpoint

TOLERANCE = 1e-5


def test_the_fixture_has_eleven_checkpoints_of_nine_heads() -> None:
    assert len(NAMES) == 11
    assert len({checkpoint(n).head.kind for n in NAMES}) == 9


def differences(
    name: str, graph: GnnGraph, pairs: pd.DataFrame, model: Checkpoint
) -> dict[str, Any]:
    want = answers(name)
    z = embeddings(model, graph)
    scores = score_pairs(
        model.head, z, pairs.src.to_numpy(), pairs.dst.to_numpy(), pairs.relation_type.to_numpy(),
        "peer",
    )  # fmt: skip
    values = {
        "embeddings": z.numpy(), "raw": scores.raw, "prob": scores.probability,
        "embeddings_train_edges_only": embeddings(model, graph, "train").numpy(),
    }  # fmt: skip
    if "learned_edge_weights" in want:
        assert graph.edge_attr is not None
        values["learned_edge_weights"] = model.encoder.edge_weights(graph.edge_attr).numpy()
    assert set(values) == set(want)
    return {k: float(np.abs(values[k] - want[k]).max()) for k in want}


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_answers_as_the_peer(name: str, graph: GnnGraph, pairs: pd.DataFrame) -> None:
    model = differences(name, graph, pairs, checkpoint(name))
    assert max(model.values()) <= TOLERANCE, model


class SumOverWeights(GraphConv):
    """Divides by the sum of weights where the peer divides by the number of edges."""

    def combined(self, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        weight = torch.ones(len(messages.src)) if messages.weight is None else messages.weight
        total = torch.zeros(messages.n).index_add_(0, messages.dst, weight)
        return messages.total(x) / total.clamp(min=1e-9)[:, None]


class WithoutRoot(GraphConv):
    def layer(self, weights: Any, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        gone = {k: torch.zeros_like(v) if "root" in k else v for k, v in weights.items()}
        return super().layer(gone, x, messages)


class ReluAtTheEnd(GraphConv):
    def encode(self, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        return super().encode(x, messages).relu()


@pytest.mark.parametrize("wrong", [SumOverWeights, WithoutRoot, ReluAtTheEnd])
def test_a_wrong_encoder_is_seen(
    wrong: type[GraphConv], graph: GnnGraph, pairs: pd.DataFrame
) -> None:
    model = checkpoint("distmult_edgeenc")
    e = model.encoder
    broken = replace(model, encoder=wrong(e.layers, e.aggregator, e.edge))
    assert differences("distmult_edgeenc", graph, pairs, broken)["embeddings"] > 100 * TOLERANCE


@pytest.mark.parametrize("name", [n for n in NAMES if checkpoint(n).relations])
def test_permuted_relations_are_seen(name: str, graph: GnnGraph, pairs: pd.DataFrame) -> None:
    shifted = pairs.assign(relation_type=(pairs.relation_type + 1) % 8)
    assert differences(name, graph, shifted, checkpoint(name))["raw"] > 10 * TOLERANCE


def test_every_way_of_passing_gives_other_embeddings(graph: GnnGraph) -> None:
    model = checkpoint("distmult_edgeenc")
    every, train = (embeddings(model, graph, p) for p in ("all", "train"))
    assert (every - train).abs().max() > 0.01
    assert len(messages_of(model, graph, "train").src) == 1406

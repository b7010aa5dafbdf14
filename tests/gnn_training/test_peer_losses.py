"""Peer mode trains to the losses and validation AUCs of napistu-torch 0.4.0.

``benchmarks/make_peer_losses.py`` made the peer's.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.open_graph import open_graph
from octoscope.gnn.structural_features import with_structure
from octoscope.gnn_training.train import train
from octoscope.gnn_training.train_config import TrainConfig

from tests.gnn.conftest import FIXTURE, MODELS, STORE, checkpoint

LOSSES = json.loads((FIXTURE / "peer_losses.json").read_text())
AREAS = json.loads((FIXTURE / "peer_areas.json").read_text())


@pytest.fixture(scope="module")
def graph() -> GnnGraph:
    return open_graph(STORE, checkpoint("distmult_edgeenc"))


def config_of(name: str, *, weighted: bool) -> TrainConfig:
    given = json.loads((MODELS / name / "config.json").read_text())["model"]
    return TrainConfig(
        peer=True, negatives="peer", encoder=given["encoder"], head=given["head"],
        layers=given["num_layers"], width=given["hidden_channels"],
        edge_encoder=given["edge_encoder_dim"] if given["use_edge_encoder"] else 0,
        hidden=given["mlp_hidden_dim"], relation_width=given["relation_emb_dim"],
        attention_heads=given["relation_attention_heads"], margin=given["rotate_margin"],
        dropout=0, learning_rate=0.003, weight_decay=0, schedule="constant", epochs=10,
        validate_every=1, patience=10, relation_weight=0.5 if weighted else 0,
        initial=MODELS / name, initial_head=True,
    )  # fmt: skip


@pytest.mark.parametrize("key", LOSSES)
def test_ten_losses_and_areas_are_the_peers(tmp_path: Path, graph: GnnGraph, key: str) -> None:
    name, _, weighted = key.partition(", ")
    torch.set_num_threads(1)
    train(graph, config_of(name, weighted=bool(weighted)), tmp_path / "t")
    history = json.loads((tmp_path / "t/training.json").read_text())["history"]
    mine = np.array([row["loss"] for row in history])
    np.testing.assert_allclose(mine, LOSSES[key], rtol=0, atol=1e-5)
    assert np.ptp(mine) > 1e-3
    areas = np.array([row["auc"] for row in history])
    np.testing.assert_allclose(areas, AREAS[key], rtol=0, atol=1e-3)


def test_areas_move_by_more_than_they_may_differ() -> None:
    assert AREAS.keys() == LOSSES.keys()
    assert np.median([np.ptp(areas) for areas in AREAS.values()]) > 0.01


def test_weights_of_relations_change_losses() -> None:
    for name in ("mlp", "distmult", "rotate"):
        assert np.abs(np.subtract(LOSSES[name], LOSSES[f"{name}, weighted"])).max() > 1e-3


def test_peer_mode_refuses_features_that_know_its_edges(tmp_path: Path, graph: GnnGraph) -> None:
    with pytest.raises(InputError, match="features of vertices know"):
        train(with_structure(graph), TrainConfig(peer=True, head="mlp"), tmp_path / "t")

"""Checkpoints that napistu-torch wrote, their graph, and what it answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from octoscope.gnn.gnn_checkpoint import Checkpoint, open_checkpoint
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.open_graph import open_graph

FIXTURE = Path(__file__).parents[1] / "data" / "octopus"
MODELS, STORE = FIXTURE / "models", FIXTURE / "store"
NAMES = sorted(p.name for p in MODELS.iterdir())


def checkpoint(name: str) -> Checkpoint:
    return open_checkpoint(MODELS / name)


def answers(name: str) -> dict[str, np.ndarray]:
    with np.load(MODELS / name / "expected.npz") as stored:
        return {k: stored[k] for k in stored.files}


@pytest.fixture(scope="session")
def graph() -> GnnGraph:
    return open_graph(STORE, checkpoint("distmult_edgeenc"))


@pytest.fixture(scope="session")
def pairs() -> pd.DataFrame:
    return pd.read_parquet(FIXTURE / "expected/scored_edges.parquet")

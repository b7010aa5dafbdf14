"""A table of pairs from a file, scored by a checkpoint: by an open one, or in one task of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from octoscope.errors import InputError
from octoscope.gnn.gnn_checkpoint import Checkpoint, open_checkpoint
from octoscope.gnn.graph import Passing
from octoscope.gnn.open_graph import open_graph, warn_of_edges_in_features, warn_of_not_compared
from octoscope.gnn.pair_table import read_pair_table
from octoscope.gnn.score_table import score_table
from octoscope.gnn.scoring import Mode


@dataclass(frozen=True)
class ScoreSettings:
    """How pairs are scored.

    Attributes
    ----------
    graph, data
        Path of the graph, and the name of the data of a store.
    pairs
        File of the pairs.
    mode, passings
        As :func:`octoscope.gnn.score_table.score_table` takes them.
    cache
        Folder of embeddings; None: encode again.
    device
        ``cpu`` or ``cuda``.
    """

    graph: str
    pairs: Path
    data: str | None = None
    mode: Mode = "corrected"
    passings: tuple[Passing, ...] = ("all",)
    cache: Path | None = None
    device: str = "cpu"


def score_pairs(checkpoint: Checkpoint, settings: ScoreSettings) -> tuple[pd.DataFrame, str]:
    """Return the scored table, and what its names were read as.

    Raises
    ------
    InputError
        If a file cannot be read, the graph is not the checkpoint's, a pair is not of the graph, or
        there is no such device.
    """
    _require_device(settings.device)
    graph = open_graph(settings.graph, checkpoint, settings.data)
    table = read_pair_table(settings.pairs, graph, checkpoint.relations)
    warn_of_not_compared(checkpoint, graph)  # what is refused ends in one line
    if "leave-out" in settings.passings:
        warn_of_edges_in_features(graph)
    opened = checkpoint.to(settings.device)
    scores = score_table(opened, graph, table, settings.mode, settings.passings, settings.cache)
    return scores, table.names_as


def score_file(checkpoint: Path, settings: ScoreSettings) -> tuple[pd.DataFrame, str]:
    """Open the checkpoint at a path and score with it, as :func:`score_pairs`."""
    return score_pairs(open_checkpoint(checkpoint), settings)


def names_of(checkpoints: Sequence[Path]) -> list[str]:
    """Return a name of each checkpoint: its folder, or its path where two folders share a name.

    Raises
    ------
    InputError
        If a checkpoint is given twice.
    """
    paths = [path.expanduser().resolve() for path in checkpoints]
    twice = next((p for i, p in enumerate(paths) if p in paths[:i]), None)
    if twice is not None:
        raise InputError(str(twice), "is given twice", "name each checkpoint once")
    names = [p.parent.name if p.suffix == ".ckpt" else p.name for p in paths]
    return names if len(set(names)) == len(names) else [str(p) for p in checkpoints]


def side_by_side(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one table: that of the only checkpoint, or of all with a first column of names."""
    if len(scores) == 1:
        return next(iter(scores.values()))
    return pd.concat(
        [
            frame.rename(columns={"checkpoint": "checkpoint_given"}).pipe(_named, name)
            for name, frame in scores.items()
        ],
        ignore_index=True,
    )


def _named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    frame.insert(0, "checkpoint", name)
    return frame


def _require_device(device: str) -> None:
    """Refuse a device that this process does not have.

    Raises
    ------
    InputError
        If it is ``cuda`` and torch sees no GPU.
    """
    if device != "cpu" and not torch.cuda.is_available():
        built = "" if torch.version.cuda else "; this torch is built without CUDA"
        raise InputError(
            f"device: {device}", f"torch sees no CUDA device here{built}",
            "use cpu, or start it where a GPU and a torch for CUDA are",
        )  # fmt: skip

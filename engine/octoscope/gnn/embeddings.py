"""Embeddings of the vertices of a graph, computed once per checkpoint, graph and set of edges."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from octoscope.errors import InputError, warn
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.graph import SPLITS, GnnGraph
from octoscope.gnn.graph_folder import check_arrays
from octoscope.gnn.messages import Messages

Passed = Literal["all", "train"]
_VERSION = 1  # of what an embedding is; a change of the encoders' numbers raises it


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/octoscope/gnn``, in ``~/.cache`` where it is not set."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "octoscope" / "gnn"


def messages_of(checkpoint: Checkpoint, graph: GnnGraph, passed: Passed = "all") -> Messages:
    """Return the messages of a graph, with learned weights where the checkpoint has them.

    Raises
    ------
    InputError
        If ``passed`` is ``train`` and the graph has no split, or the arrays are damaged.
    """
    check_arrays(graph)
    kept = np.arange(len(graph.src))
    if passed == "train":
        if graph.split is None:
            raise InputError(
                graph.made_from, "has no split into train, val and test",
                "pass messages along all edges",
            )  # fmt: skip
        kept = np.flatnonzero(graph.split == SPLITS.index("train"))
    src, dst = (
        torch.from_numpy(np.asarray(e)[kept].astype(np.int64)) for e in (graph.src, graph.dst)
    )
    weight = None
    encoder = checkpoint.encoder
    if encoder.edge and encoder.uses_edge_weights:
        if graph.edge_attr is None:
            raise InputError(graph.made_from, "has no edge features, the checkpoint has an edge "
                             "encoder", "give the graph that it was trained on")  # fmt: skip
        weight = encoder.edge_weights(graph.edge_attr, kept)
    return Messages(src, dst, graph.n_vertices, weight).to(checkpoint.device)


def encode(checkpoint: Checkpoint, graph: GnnGraph, messages: Messages) -> torch.Tensor:
    """Return [vertices, width] float32 embeddings, on the device of the checkpoint.

    Raises
    ------
    InputError
        If an embedding is not finite.
    """
    x = torch.from_numpy(np.array(graph.x, dtype=np.float32)).to(checkpoint.device)
    z = checkpoint.encoder.encode(x, messages.to(checkpoint.device))
    if not torch.isfinite(z).all():
        raise InputError(str(checkpoint.path), "gives embeddings that are not finite",
                         "check the checkpoint and the features of the graph")  # fmt: skip
    return z


def embeddings(
    checkpoint: Checkpoint, graph: GnnGraph, passed: Passed = "all", cache: Path | None = None
) -> torch.Tensor:
    """Return [vertices, width] float32 embeddings, from ``cache`` where they are there.

    The name of a cached file is the SHA-256 of the checkpoint, the graph and the set of edges. A
    damaged file is made again.
    """
    if cache is None:
        return encode(checkpoint, graph, messages_of(checkpoint, graph, passed))
    key = {
        "version": _VERSION, "checkpoint": checkpoint.digest, "settings": checkpoint.settings,
        "graph": graph.digest, "edges": passed,
    }  # fmt: skip
    text = json.dumps(key, sort_keys=True, default=str)
    file = cache / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"
    shape = (graph.n_vertices, checkpoint.encoder.out_channels)
    try:
        z = load_file(file)["z"]
        if tuple(z.shape) == shape and torch.isfinite(z).all():
            return z.to(checkpoint.device)
    except (OSError, SafetensorError, KeyError):
        pass
    z = encode(checkpoint, graph, messages_of(checkpoint, graph, passed))
    partial = file.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        save_file({"z": z.cpu().contiguous()}, partial)
        partial.replace(file)
    except (OSError, SafetensorError) as error:  # scores need no cache
        with contextlib.suppress(OSError):
            partial.unlink()
        warn(f"{cache}: embeddings cannot be kept ({error})")
    return z

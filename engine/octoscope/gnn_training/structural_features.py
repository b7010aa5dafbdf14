"""Structure as features of vertices: degrees and spectral coordinates of some training edges.

Coordinates hold what their edges say, so a model must not learn from these edges: it would read
each off its own coordinates. :func:`message_edges` divides the training pairs. Features are of the
pairs that carry messages; the others are learned from (``disjoint_train_ratio`` of
torch-geometric's RandomLinkSplit, by unordered pair).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from octoscope.errors import InputError
from octoscope.gnn.graph import SPLITS, STRUCTURE, GnnGraph
from octoscope.gnn.pair_hash import pair_hash
from octoscope.link_prediction.adjacency import train_adjacency
from octoscope.link_prediction.links import links_of
from octoscope.link_prediction.spectral import directed_spectrum
from octoscope.link_prediction.splits import Split

LEARNED = 0.3  # share of the training pairs that features do not know
DIMENSIONS = 32  # of the coordinates as a source, and as a target
_MIX = np.uint64(0x9E3779B97F4A7C15)


def message_edges(graph: GnnGraph, learned: float = LEARNED) -> np.ndarray:
    """Return [edges] bool: training edges that carry messages; the other ones are learned from.

    All edges of an unordered pair are on one side, by a hash of the two names. A smaller share
    ``learned`` is part of a larger one.

    Raises
    ------
    InputError
        If the graph states no split.
    """
    if graph.split is None:
        raise InputError(graph.made_from, "states no split", "give a graph that does")
    src, dst = (np.asarray(e, np.int64) for e in (graph.src, graph.dst))
    share = (pair_hash(graph.vertex_names, src, dst) * _MIX) / float(2**64)
    return (np.asarray(graph.split) == SPLITS.index("train")) & (share >= learned)


def with_structure(graph: GnnGraph, dimensions: int = DIMENSIONS) -> GnnGraph:
    """Return a graph whose vertices also have degrees and coordinates.

    Added are log(1 + out-degree), log(1 + in-degree), and ``dimensions`` coordinates as a source
    and as a target (:func:`octoscope.link_prediction.spectral.directed_spectrum`), each scaled to a
    root mean square of 1. They are of the edges of :func:`message_edges`.
    """
    links = links_of(graph)
    part = np.where(message_edges(graph), SPLITS.index("train"), 0).astype(np.uint8)
    adjacency = train_adjacency(links, Split("graph", part, {}, ""))
    coordinates = np.concatenate(directed_spectrum(adjacency, dimensions), axis=1)
    size = np.sqrt((coordinates.astype(float) ** 2).mean(0))
    coordinates = coordinates / np.maximum(size, 1e-12)
    degrees = np.stack([np.diff(adjacency.indptr),
                        np.bincount(adjacency.indices, minlength=links.n)], 1)  # fmt: skip
    k = coordinates.shape[1] // 2
    x = np.concatenate([np.asarray(graph.x), np.log1p(degrees), coordinates], 1)
    names = (*STRUCTURE, *(f"source coordinate {i}" for i in range(k)),
             *(f"target coordinate {i}" for i in range(k)))  # fmt: skip
    return replace(graph, x=x.astype(np.float32), known={},
                   vertex_features=(*graph.vertex_features, *names))  # fmt: skip

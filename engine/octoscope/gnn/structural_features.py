"""Structure as features of vertices: degrees and spectral coordinates of some training edges.

Coordinates hold what their edges say, so a model must not learn from these edges: it would read
each off its own coordinates. :func:`message_edges` divides the training pairs. Features are of the
pairs that carry messages; the others are learned from (``disjoint_train_ratio`` of
torch-geometric's RandomLinkSplit, by unordered pair). Where a pair is scored without its own edges,
:func:`without_edges` makes the features without them, too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from octoscope.errors import InputError
from octoscope.gnn.directed_spectrum import adjacency_of, directed_spectrum
from octoscope.gnn.graph import SPLITS, STRUCTURE, GnnGraph
from octoscope.gnn.graph_folder import check_arrays
from octoscope.gnn.pair_hash import pair_hash

LEARNED = 0.3  # share of the training pairs that features do not know
DIMENSIONS = 32  # of the coordinates as a source, and as a target
_SOURCE, _TARGET = "source coordinate ", "target coordinate "
_NO_MATCH = 1e-8  # of the largest singular value
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
    and as a target (:func:`octoscope.gnn.directed_spectrum.directed_spectrum`), each scaled to a
    root mean square of 1. They are of the edges of :func:`message_edges`.
    """
    check_arrays(graph)
    degrees, coordinates = _structure(graph, message_edges(graph), dimensions)
    x = np.concatenate([np.asarray(graph.x), degrees, coordinates], 1)
    k = coordinates.shape[1] // 2
    names = (*STRUCTURE, *(f"{_SOURCE}{i}" for i in range(k)), *(f"{_TARGET}{i}" for i in range(k)))
    return replace(graph, x=x.astype(np.float32), known={},
                   vertex_features=(*graph.vertex_features, *names))  # fmt: skip


def is_known(graph: GnnGraph) -> bool:
    """Tell whether the structure in the features is that of :func:`with_structure`.

    Then it can be made again without some edges. The degrees tell: they are of exactly the edges
    that :func:`message_edges` names.
    """
    if graph.split is None or not graph.edges_in_features:
        return False
    columns = _columns(graph)
    if columns is None:
        return False
    kept = message_edges(graph)
    stated = np.asarray(graph.x)[:, columns[: len(STRUCTURE)]]
    return bool(np.allclose(stated, _degrees(graph, kept), atol=1e-5))


def without_edges(graph: GnnGraph, gone: np.ndarray) -> np.ndarray:
    """Return [vertices, features] float32 features that hold nothing of some edges.

    Degrees and coordinates are made again of the other edges. Coordinates are known up to a
    rotation, which is chosen so that they lie as near to the graph's own as they can (orthogonal
    Procrustes problem; Schoenemann 1966): one rotation for all vertices. Directions at right angles
    to all of the graph's own (their singular value is below 1e-8 of the largest) become 0.

    Parameters
    ----------
    graph
        Of which :func:`is_known`.
    gone
        [edges] bool.
    """
    kept, columns = message_edges(graph), _columns(graph)
    x = np.array(graph.x, np.float32)
    if columns is None or not (kept & gone).any():
        return x
    own = x[:, columns[len(STRUCTURE) :]].astype(float)
    k = own.shape[1] // 2
    degrees, coordinates = _structure(graph, kept & ~gone, k)
    new, old = (np.concatenate(np.split(c, 2, 1)) for c in (coordinates, own))
    # summed in the order of names: a product that is nearly singular turns far by its rounding
    order = _by_name(graph)
    order = np.concatenate([order, order + graph.n_vertices])
    left, sizes, right = np.linalg.svd(new[order].T @ old[order])
    # what no direction of the graph's own corresponds to can lie anywhere: it says nothing
    left = left * (sizes > _NO_MATCH * sizes.max(initial=0))
    turned = np.concatenate(np.split(new @ (left @ right), 2), 1)
    x[:, columns] = np.concatenate([degrees, turned], 1)
    return x


def _columns(graph: GnnGraph) -> np.ndarray | None:
    """Return the columns of degrees, of source and of target coordinates; None: not as made."""
    at = {name: i for i, name in enumerate(graph.vertex_features)}
    k = sum(name.startswith(_SOURCE) for name in at)
    names = (*STRUCTURE, *(f"{_SOURCE}{i}" for i in range(k)), *(f"{_TARGET}{i}" for i in range(k)))
    if any(name not in at for name in names) or len(at) != graph.x.shape[1]:
        return None
    return np.array([at[name] for name in names])


def _degrees(graph: GnnGraph, kept: np.ndarray) -> np.ndarray:
    src, dst = (np.asarray(e, np.int64)[kept] for e in (graph.src, graph.dst))
    adjacency = adjacency_of(src, dst, graph.n_vertices)
    of_columns = np.bincount(adjacency.indices, minlength=graph.n_vertices)
    return np.log1p(np.stack([np.diff(adjacency.indptr), of_columns], 1))


def _structure(graph: GnnGraph, kept: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return [vertices, 2] degrees and [vertices, 2 x dimensions] coordinates of some edges."""
    # in the order of names: where singular values are equal, any vectors of their space are right,
    # and those that are found would depend on how vertices are numbered
    rank = np.argsort(_by_name(graph))
    src, dst = (rank[np.asarray(e, np.int64)[kept]] for e in (graph.src, graph.dst))
    adjacency = adjacency_of(src, dst, graph.n_vertices)
    coordinates = np.concatenate(directed_spectrum(adjacency, dimensions), axis=1)
    size = np.sqrt((coordinates.astype(float) ** 2).mean(0))
    return _degrees(graph, kept), (coordinates / np.maximum(size, 1e-12))[rank]


def _by_name(graph: GnnGraph) -> np.ndarray:
    """Return [vertices] the vertices in the order of their names."""
    return np.argsort(graph.vertex_names.to_numpy(str), kind="stable")

"""Makes a graph of an Octopus directory: what a vertex is as features, splits by unordered pair.

A vertex has a one-hot kind and 32 normal numbers drawn by its name: they tell vertices apart and
hold nothing of the edges, so leaving an edge out of message passing leaves all of it out.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.gnn.graph import GnnGraph, no_edges
from octoscope.gnn.pair_hash import pair_hash
from octoscope.octopus.directory import read_table
from octoscope.octopus.network import Network, octopus_folder, open_network
from octoscope.octopus.network_schema import ROLES, relation_name

HASHED = 32  # columns drawn by name
RARE = 1000  # relations with fewer edges are "other relation", as in napistu-torch
OTHER = "other relation"
SHARES = (0.70, 0.85)  # of the hash: below the first train, below the second val, then test


def read_network_graph(path: str | Path) -> tuple[GnnGraph, pd.DataFrame]:
    """Make the graph of an Octopus directory, or of the embedded network (``demo``).

    An assertion is an edge; one that states no order is an edge each way. Relations are the two
    roles; those with fewer than 1,000 edges are one. 70, 15 and 15 % of the unordered vertex pairs
    are train, val and test, by a hash of the two names, with all edges of a pair in one part.

    Returns
    -------
    tuple
        The graph, and identifiers (vertex, ontology, identifier, bqb) of its vertices.

    Raises
    ------
    InputError
        If the directory is missing or damaged.
    """
    with octopus_folder(path) as folder:
        identifiers = read_table(folder, "identifiers").to_pandas()
        network = open_network(folder)
    return graph_of_network(network, Path(path).name)[0], identifiers


def graph_of_network(network: Network, name: str) -> tuple[GnnGraph, np.ndarray]:
    """Make the graph of a network, as :func:`read_network_graph` does.

    Parameters
    ----------
    name
        What the network is called where it does not say so itself.

    Returns
    -------
    tuple
        The graph, and [edges] int64: the assertion of the network that each of its edges is.
    """
    vertices, edges = network.vertices, network.edges
    both = np.flatnonzero(edges.both_ways)
    src = np.concatenate([edges.src, edges.dst[both]]).astype(np.int64)
    dst = np.concatenate([edges.dst, edges.src[both]]).astype(np.int64)
    role_src = np.concatenate([edges.role_src, edges.role_dst[both]])
    role_dst = np.concatenate([edges.role_dst, edges.role_src[both]])
    assertion = np.concatenate([np.arange(len(edges)), both])
    order = np.lexsort((edges.source[assertion], role_dst, role_src, dst, src))
    src, dst, assertion = src[order], dst[order], assertion[order]
    relation, relations = _relations(role_src[order], role_dst[order])
    x, columns = _features(vertices)
    names = pd.Index(vertices["name"].astype(str))
    share = pair_hash(names, src, dst) / float(2**64)
    split = (1 + np.searchsorted(SHARES, share, side="right")).astype(np.uint8)
    source = edges.source[assertion]
    graph = GnnGraph(
        x=x, src=src, dst=dst,
        edge_attr=np.eye(max(len(network.sources), 1), dtype=np.float32)[source],
        relation=relation, relations=relations, split=split,
        names=Network(vertices, network.genes, no_edges(), [], {}, network.folder),
        vertex_features=columns,
        edge_features=tuple(f"source {s}" for s in network.sources),
        made_from=f"Octopus directory {network.meta.get('name') or name}", known={},
    )  # fmt: skip
    return graph, assertion


def _relations(role_src: np.ndarray, role_dst: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return [edges] relation codes and their names in alphabetical order."""
    code = role_src.astype(np.int64) * len(ROLES) + role_dst
    kinds, counts = np.unique(code, return_counts=True)
    name = {int(k): relation_name(int(k)) if c >= RARE else OTHER
            for k, c in zip(kinds, counts, strict=True)}  # fmt: skip
    relations = tuple(sorted(set(name.values())))
    number_of = np.zeros(int(kinds.max(initial=0)) + 1, np.int64)
    for k, n in name.items():
        number_of[k] = relations.index(n)
    return number_of[code], relations


def _features(vertices: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    kind = vertices["species_type"].fillna("unknown").astype(str)
    kinds = sorted(kind.unique())
    onehot = (kind.to_numpy()[:, None] == np.array(kinds, dtype=object)).astype(np.float32)
    drawn = np.empty((len(vertices), HASHED), np.float32)
    for i, name in enumerate(vertices["name"].astype(str)):
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        drawn[i] = np.random.Generator(np.random.PCG64(seed)).standard_normal(HASHED)
    columns = (*(f"kind {k}" for k in kinds), *(f"by name {i}" for i in range(HASHED)))
    return np.concatenate([onehot, drawn], 1), columns

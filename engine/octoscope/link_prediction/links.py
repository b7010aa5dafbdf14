"""Links of a network: a graph's edges with the source and the sign of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.graph_folder import check_arrays
from octoscope.gnn.network_graph import graph_of_network
from octoscope.gnn.open_graph import open_with_identifiers
from octoscope.octopus.network import Network, octopus_folder, open_network
from octoscope.octopus.network_schema import SIGN_OF_ROLE
from octoscope.octopus.pairs import pair_codes

_SOURCE = "source "  # how edge features that name a source begin
MOST_SOURCES = 64  # of one bit each


@dataclass(frozen=True)
class Links:
    """Edges of a graph.

    Attributes
    ----------
    graph
        Vertices, edges and relations; parallel edges are separate, an assertion in no order is an
        edge each way.
    source
        [edges] int64 positions in ``sources``, or None where the graph does not tell.
    sources
        Names of the sources.
    sign
        [edges] int8: 1, -1, 0 unknown.
    """

    graph: GnnGraph
    source: np.ndarray | None
    sources: tuple[str, ...]
    sign: np.ndarray

    @property
    def n(self) -> int:
        """Number of vertices."""
        return self.graph.n_vertices

    @cached_property
    def src(self) -> np.ndarray:
        """[edges] int64 vertices where edges begin."""
        return np.asarray(self.graph.src, np.int64)

    @cached_property
    def dst(self) -> np.ndarray:
        """[edges] int64 vertices where edges end."""
        return np.asarray(self.graph.dst, np.int64)

    @cached_property
    def relation(self) -> np.ndarray:
        """[edges] int64 positions in ``graph.relations``; all 0 for a graph without relations."""
        if self.graph.relation is None:
            return np.zeros(len(self.src), np.int64)
        return np.asarray(self.graph.relation, np.int64)

    @cached_property
    def codes(self) -> np.ndarray:
        """[edges] int64 codes of the unordered pairs."""
        return pair_codes(self.src, self.dst, self.n)

    @cached_property
    def ordered(self) -> np.ndarray:
        """[edges] int64 codes ``src * n + dst`` of the ordered pairs."""
        return self.src * self.n + self.dst

    @cached_property
    def known(self) -> np.ndarray:
        """Sorted distinct int64 codes of the unordered pairs that an edge joins."""
        return np.unique(self.codes)

    @cached_property
    def kind(self) -> np.ndarray:
        """[vertices] int64 positions in :attr:`kinds`."""
        return np.searchsorted(np.array(self.kinds), self._kinds.to_numpy(str)).astype(np.int64)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Types of vertices, in alphabetical order."""
        return tuple(sorted(self._kinds.unique()))

    @property
    def _kinds(self) -> pd.Series:
        return self.graph.names.vertices["species_type"].fillna("unknown").astype(str)


def open_links(path: str | Path, data: str | None = None) -> Links:
    """Read the links of a network.

    Parameters
    ----------
    path
        An Octopus directory, ``demo``, a folder of ``octoscope gnn graph``, or a napistu-torch
        store.
    data
        Name of the data of a store.

    Raises
    ------
    InputError
        If nothing of the kind is there, or it is damaged.
    """
    if str(path) == "demo" or (Path(path).expanduser() / "octopus.json").exists():
        with octopus_folder(Path(path).expanduser() if str(path) != "demo" else path) as folder:
            return links_of_network(open_network(folder), Path(path).name)
    graph, _ = open_with_identifiers(path, None, data)
    return links_of(graph)


def links_of_network(network: Network, name: str = "network") -> Links:
    """Return the links of an opened network, or of a view of one.

    Parameters
    ----------
    name
        What the network is called where it does not say so itself.
    """
    graph, assertion = graph_of_network(network, name)
    return Links(
        graph, network.edges.source[assertion].astype(np.int64), tuple(network.sources),
        network.edges.sign[assertion].astype(np.int8),
    )  # fmt: skip


def links_of(graph: GnnGraph) -> Links:
    """Return the links of a graph; signs are those of the roles in the names of its relations.

    Raises
    ------
    InputError
        If the arrays of a graph from a folder are not those of its digests.
    """
    check_arrays(graph)
    columns = [i for i, name in enumerate(graph.edge_features) if name.startswith(_SOURCE)]
    source = None
    if columns and graph.edge_attr is not None:
        source = np.asarray(graph.edge_attr)[:, columns].argmax(1).astype(np.int64)
    names = tuple(graph.edge_features[i].removeprefix(_SOURCE) for i in columns)
    of_relation = np.array(
        [SIGN_OF_ROLE.get(r.partition(" -> ")[0], 0) for r in graph.relations] or [0], np.int8
    )
    unsigned = Links(graph, source, names, np.zeros(0, np.int8))
    return Links(graph, source, names, of_relation[unsigned.relation])

"""The graph that a network of message passing runs on: features, edges, splits, names.

A graph comes from a napistu-torch store (``store_graph.py``), from an Octopus directory
(``network_graph.py``), or from a folder that ``octoscope gnn graph`` wrote (``graph_folder.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from octoscope.octopus.network import Network
from octoscope.octopus.pairs import Edges

PARTS = ("names", "genes", "x", "edges", "edge_attr", "split")
STRUCTURE = ("log out-degree", "log in-degree")  # columns of features that are made of edges
SPLITS = ("none", "train", "val", "test")  # of an edge; codes are positions
# Edges that pass messages when a pair is scored: all, those of training, all but the pair's own.
Passing = Literal["all", "train", "leave-out"]
PASSINGS: tuple[Passing, ...] = ("all", "train", "leave-out")


@dataclass(frozen=True)
class GnnGraph:
    """Vertices and edges with features.

    Attributes
    ----------
    x
        [vertices, features] float32.
    src, dst
        [edges] int64 vertices; parallel edges are separate.
    edge_attr
        [edges, features] float32, or None.
    relation
        [edges] int64 positions in ``relations``, or None.
    relations
        Names of the relations.
    split
        [edges] uint8 positions in :data:`SPLITS`, or None where no split is known.
    names
        Names, genes and identifiers of the vertices as a network without edges; vertex i is row i.
    vertex_features, edge_features
        Names of the columns.
    made_from
        Where it comes from, in words.
    known
        Digests that were stored beside the arrays; empty for a graph that is not from a folder.
    """

    x: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    edge_attr: np.ndarray | None
    relation: np.ndarray | None
    relations: tuple[str, ...]
    split: np.ndarray | None
    names: Network
    vertex_features: tuple[str, ...]
    edge_features: tuple[str, ...]
    made_from: str
    known: dict[str, str]

    @property
    def n_vertices(self) -> int:
        """Number of vertices."""
        return len(self.names.vertices)

    @property
    def edges_in_features(self) -> bool:
        """Whether features of vertices are made of edges, which messages then need not carry."""
        return set(STRUCTURE) <= set(self.vertex_features)

    @property
    def vertex_names(self) -> pd.Index:
        """Names of the vertices in their order."""
        return pd.Index(self.names.vertices["name"].astype(str))

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 by part: ``names``, ``genes``, ``x``, ``edges``, ``edge_attr``, ``split``.

        ``names`` is of the names in their order, ``genes`` of the genes and their vertices; the
        others are of the bytes of the arrays.
        """
        digests = {part: self.digest_of(part) for part in PARTS} if not self.known else self.known
        return {part: digest for part, digest in digests.items() if digest is not None}

    def digest_of(self, part: str) -> str | None:
        """Return the SHA-256 of one part, computed afresh; None: the graph lacks it."""
        if part == "names":
            return _digest_of_text(self.vertex_names)
        if part == "genes":
            genes = self.names.genes
            return _digest_of_text(genes["gene"].astype(str) + " " + genes["vertex"].astype(str))
        values = (self.src, self.dst) if part == "edges" else (getattr(self, part),)
        arrays = [np.asarray(v) for v in values if v is not None]
        return _digest(*arrays) if arrays else None

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides an embedding."""
        return hashlib.sha256(json.dumps(self.digests, sort_keys=True).encode()).hexdigest()

    def mask_digest(self, split: str) -> str | None:
        """Return napistu-torch's SHA-256 of the mask of a split (a byte per edge), or None."""
        if self.split is None:
            return None
        mask = np.asarray(self.split) == SPLITS.index(split)
        return hashlib.sha256(mask.tobytes()).hexdigest()

    @property
    def split_sizes(self) -> dict[str, int]:
        """Number of edges of each split; empty where no split is known."""
        if self.split is None:
            return {}
        sizes = np.bincount(self.split, minlength=len(SPLITS))
        return dict(zip(SPLITS, sizes.tolist(), strict=True))

    def summary(self) -> dict[str, Any]:
        """Return numbers of vertices, edges, features, relations and edges per split."""
        return {
            "made_from": self.made_from,
            "vertices": self.n_vertices,
            "edges": len(self.src),
            "vertex_features": int(self.x.shape[1]),
            "edge_features": 0 if self.edge_attr is None else int(self.edge_attr.shape[1]),
            "relations": list(self.relations),
            "genes": int(self.names.genes["gene"].nunique()),
            "splits": self.split_sizes,
            "digests": self.digests,
        }


def _digest_of_text(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(map(str, lines)).encode()).hexdigest()


def no_edges() -> Edges:
    """Return edges of a network that only names vertices."""
    ints = np.zeros(0, np.int32)
    bytes_ = np.zeros(0, np.uint8)
    return Edges(
        src=ints, dst=ints, role_src=bytes_, role_dst=bytes_, directed=np.zeros(0, bool),
        sign=np.zeros(0, np.int8), source=bytes_, score=np.zeros(0, np.float32),
        refs=np.zeros(0, np.int16), reaction=ints, evidence=ints,
    )  # fmt: skip


def _digest(*arrays: np.ndarray) -> str:
    value = hashlib.sha256()
    for array in arrays:
        value.update(f"{array.dtype.str}{array.shape}".encode())
        step = max(1, (1 << 24) // max(1, array[:1].nbytes))
        for lo in range(0, len(array), step):
            value.update(np.ascontiguousarray(array[lo : lo + step]).tobytes())
    return value.hexdigest()

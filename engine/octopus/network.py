"""An Octopus directory: vertices, edges, genes as Parquet; look-ups for many pairs at once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import InputError

EDGE_COLUMNS = (
    "src", "dst", "role_src", "role_dst", "directed", "sign", "source", "release",
    "score", "refs", "origin",
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A molecular network. The graph is a view of source assertions.

    Attributes
    ----------
    vertices
        Columns ``vertex`` (0..n-1) and ``name``.
    genes
        Columns ``gene`` (Ensembl id), ``vertex``, ``how`` (how it mapped).
    pair_keys
        Sorted distinct int64 keys low * n + high of connected unordered pairs, no self pairs.
    meta
        Content of ``octopus.json``: sources, releases, counts.
    """

    vertices: pd.DataFrame
    genes: pd.DataFrame
    pair_keys: np.ndarray
    meta: dict[str, Any]

    def vertex_of(self, ensembl: list[str] | np.ndarray) -> np.ndarray:
        """Return [genes] int64 vertices; -1 where a gene is not in the network."""
        known = dict(zip(self.genes["gene"], self.genes["vertex"], strict=True))
        return np.array([known.get(str(g), -1) for g in ensembl], np.int64)

    def connected(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return [pairs] bool: whether an edge joins the vertices, in either direction."""
        low, high = np.minimum(a, b).astype(np.int64), np.maximum(a, b).astype(np.int64)
        keys = low * len(self.vertices) + high
        order = np.argsort(keys)  # sorted queries walk the table once: 6x faster when many
        at = np.searchsorted(self.pair_keys, keys[order])
        at = np.minimum(at, len(self.pair_keys) - 1)
        found = np.zeros(len(keys), bool)
        if len(self.pair_keys):
            found[order] = self.pair_keys[at] == keys[order]
        return found & (low >= 0) & (low != high)

    def adjacency(self, vertices: np.ndarray) -> np.ndarray:
        """Return [genes, genes] bool, symmetric, False on the diagonal and for vertex -1."""
        i, j = np.triu_indices(len(vertices), 1)
        out = np.zeros((len(vertices), len(vertices)), bool)
        out[i, j] = self.connected(vertices[i], vertices[j])
        return out | out.T


def network_facts(path: str) -> dict[str, Any]:
    """Read a network once and return its name, sizes and a digest, for plan and provenance.

    Raises
    ------
    InputError
        If it cannot be used.
    """
    network = open_network(path)
    digest = hashlib.sha256(network.pair_keys.tobytes())
    digest.update("\n".join(network.genes["gene"].astype(str)).encode())
    digest.update(network.genes["vertex"].to_numpy(np.int64).tobytes())
    return {
        "name": network.meta.get("name", path),
        "vertices": len(network.vertices),
        "pairs": len(network.pair_keys),
        "sha256": digest.hexdigest(),
    }


def open_network(path: str) -> Network:
    """Read an Octopus directory, or the embedded demonstration network (``demo``).

    Raises
    ------
    InputError
        If a file or column is missing, or an edge names a vertex that does not exist.
    """
    if path == "demo":
        with as_file(files("engine.demo").joinpath("data/octopus")) as folder:
            return _read(folder)
    return _read(Path(path))


def _read(folder: Path) -> Network:
    vertices = _table(folder / "vertices.parquet", ["vertex", "name"])
    genes = _table(folder / "genes.parquet", ["gene", "vertex", "how"])
    edges = _table(folder / "edges.parquet", list(EDGE_COLUMNS), ["src", "dst"])
    n = len(vertices)
    src, dst = edges["src"].to_numpy(np.int64), edges["dst"].to_numpy(np.int64)
    outside = (src < 0) | (src >= n) | (dst < 0) | (dst >= n)
    if outside.any():
        raise InputError(
            f"{folder}/edges.parquet: row {int(outside.argmax())}",
            f"names a vertex outside 0..{n - 1}",
            "build the directory again",
        )
    keys = np.minimum(src, dst) * n + np.maximum(src, dst)
    try:
        meta = json.loads((folder / "octopus.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}/octopus.json", str(error), "build the directory again"
        ) from None
    return Network(vertices, genes, np.unique(keys[src != dst]), meta)


def _table(path: Path, required: list[str], columns: list[str] | None = None) -> pd.DataFrame:
    try:
        file = pq.ParquetFile(path)
        missing = [c for c in required if c not in file.schema_arrow.names]
        if missing:
            raise InputError(str(path), f"no column {missing[0]!r}", "build the directory again")
        return file.read(columns=columns).to_pandas()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(str(path), f"cannot be read ({error})", "check network.path") from None

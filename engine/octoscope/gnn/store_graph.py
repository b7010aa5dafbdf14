"""Reads the graph of a napistu-torch store or Hub data set: encoded tensors, splits, relations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from octoscope.errors import InputError
from octoscope.gnn.graph import SPLITS, GnnGraph, no_edges
from octoscope.octopus.gene_vertices import map_genes
from octoscope.octopus.napistu.store import data_names, store_names, store_tensors
from octoscope.octopus.network import Network
from octoscope.safe_pickle import Opaque


def read_store_graph(
    path: Path, data: str | None = None, features: int | None = None, relations: int = 0
) -> tuple[GnnGraph, pd.DataFrame]:
    """Read one ``NapistuData`` of a store.

    Parameters
    ----------
    data
        Its name; None: the first that has ``features`` vertex features (any number if None), those
        with ``relations`` relation labels before others.

    Returns
    -------
    tuple
        The graph, and identifiers (vertex, ontology, identifier, bqb) of its vertices.

    Raises
    ------
    InputError
        If the store or the data is missing or damaged, or no data fits.
    """
    seen: list[str] = []
    second = None  # fits but for its relations
    for name in [data] if data else data_names(path):
        tensors = store_tensors(path, name)
        labels = _labels(tensors, f"{path}: {name}")
        if tensors["x"].ndim != 2:
            raise InputError(f"{path}: {name}: x", "is no matrix", "get the store again")
        width = int(tensors["x"].shape[1])
        seen.append(f"{name}: {width} features, {len(labels)} relations")
        if features is None or width == features:
            if not relations or len(labels) == relations:
                return _graph(path, name, tensors, labels)
            second = second or name
    if second is None:
        raise InputError(
            str(path), f"has no data with {features} vertex features ({'; '.join(seen)})",
            "give the store that the checkpoint was trained on",
        )  # fmt: skip
    tensors = store_tensors(path, second)  # read again: two at a time would not fit
    return _graph(path, second, tensors, _labels(tensors, f"{path}: {second}"))


def _graph(
    path: Path, name: str, tensors: dict[str, Any], labels: tuple[str, ...]
) -> tuple[GnnGraph, pd.DataFrame]:
    where = f"{path}: {name}"
    vertices, listed = store_names(path, tensors)
    n = len(vertices)
    vertex_of = pd.DataFrame({"s_id": vertices["species"], "vertex": np.arange(n)})
    identifiers = listed.merge(vertex_of, on="s_id").drop(columns="s_id")
    vertices.insert(0, "vertex", np.arange(n, dtype=np.int32))
    ends = tensors["edge_index"].numpy()
    if ends.ndim != 2 or len(ends) != 2 or (ends.size and not 0 <= ends.min() <= ends.max() < n):
        raise InputError(f"{where}: edge_index", f"names vertices outside 0..{n - 1}",
                         "get the store again")  # fmt: skip
    edges = ends.shape[1]
    attr = tensors.get("edge_attr")
    arrays = {k: tensors.get(k) for k in ("relation_type", *(f"{s}_mask" for s in SPLITS[1:]))}
    for key, values in {"edge_attr": attr, **arrays}.items():
        if key == "edge_attr" and values is not None and values.ndim != 2:
            raise InputError(f"{where}: edge_attr", "is no matrix", "get the store again")
        if values is not None and len(values) != edges:
            raise InputError(f"{where}: {key}", f"has {len(values)} rows for {edges} edges",
                             "get the store again")  # fmt: skip
    codes = arrays["relation_type"]
    relation = None if codes is None else codes.numpy()
    if relation is not None and edges and not 0 <= relation.min() <= relation.max() < len(labels):
        raise InputError(f"{where}: relation_type", f"holds {int(relation.max())}, there are "
                         f"{len(labels)} labels", "get the store again")  # fmt: skip
    split = None
    if any(arrays[f"{s}_mask"] is not None for s in SPLITS[1:]):
        split = np.zeros(edges, np.uint8)
        for code, s in enumerate(SPLITS[1:], start=1):
            mask = arrays[f"{s}_mask"]
            if mask is None:
                continue
            here = mask.numpy().astype(bool)
            if split[here].any():
                raise InputError(f"{where}: {s}_mask", "holds edges of another split",
                                 "get the store again")  # fmt: skip
            split[here] = code
    graph = GnnGraph(
        x=tensors["x"].numpy().astype(np.float32, copy=False), src=ends[0], dst=ends[1],
        edge_attr=None if attr is None else attr.numpy(),
        relation=None if relation is None else relation.astype(np.int64, copy=False),
        relations=labels if relation is not None else (), split=split,
        names=Network(
            vertices, map_genes(identifiers), no_edges(), [], identifiers=identifiers
        ),
        vertex_features=tuple(map(str, tensors.get("vertex_feature_names") or ())),
        edge_features=tuple(map(str, tensors.get("edge_feature_names") or ())),
        made_from=f"napistu-torch store {path.name}, data {name}", known={},
    )  # fmt: skip
    return graph, identifiers


def _labels(tensors: dict[str, Any], where: str) -> tuple[str, ...]:
    """Return the relation labels by code, empty for data without relations."""
    manager = tensors.get("relation_manager")
    if manager is None:
        return ()
    state = manager.state if isinstance(manager, Opaque) else None
    inner = state.get("__dict__") if isinstance(state, dict) else None
    names = inner.get("label_names") if isinstance(inner, dict) else None
    if not isinstance(names, dict) or sorted(names) != list(range(len(names))):
        raise InputError(f"{where}: relation_manager", "has no label_names 0, 1, ...",
                         "get the store again")  # fmt: skip
    return tuple(str(names[i]) for i in range(len(names)))

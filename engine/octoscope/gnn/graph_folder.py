"""A graph in a folder of its own: arrays that are mapped into memory, names, and digests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from octoscope.bounded_reads import read_bounded, read_npy, read_parquet
from octoscope.errors import InputError
from octoscope.gnn.graph import PARTS, SPLITS, GnnGraph, no_edges
from octoscope.json_values import parse_json
from octoscope.octopus.network import Network
from octoscope.octopus.network_schema import GENES, IDENTIFIERS, VERTICES
from octoscope.output_files import new_folder

FORMAT = "octoscope-gnn-graph/1"
_ARRAYS = ("x", "src", "dst", "edge_attr", "relation", "split")
_AGAIN = "make the folder again with `octoscope gnn graph`"


def write_graph(graph: GnnGraph, identifiers: pd.DataFrame, target: Path) -> None:
    """Write a graph into a new folder, whole or not at all.

    Parameters
    ----------
    identifiers
        vertex, ontology, identifier, bqb of its vertices.

    Raises
    ------
    InputError
        If the folder exists.
    """
    with new_folder(target) as hidden:
        arrays = {name: getattr(graph, name) for name in _ARRAYS}
        for name, values in arrays.items():
            if values is not None:
                np.save(hidden / f"{name}.npy", np.asarray(values), allow_pickle=False)
        tables = {"vertices": (graph.names.vertices, VERTICES), "genes": (graph.names.genes, GENES),
                  "identifiers": (identifiers, IDENTIFIERS)}  # fmt: skip
        for name, (frame, schema) in tables.items():
            table = pa.Table.from_pandas(frame, preserve_index=False)
            pq.write_table(table.select(schema.names).cast(schema), hidden / f"{name}.parquet")
        about = {
            "format": FORMAT,
            "made_from": graph.made_from,
            "arrays": {k: {"dtype": v.dtype.str, "shape": list(v.shape)}
                       for k, v in arrays.items() if v is not None},
            "relations": list(graph.relations),
            "vertex_features": list(graph.vertex_features),
            "edge_features": list(graph.edge_features),
            "digests": graph.digests,
        }  # fmt: skip
        (hidden / "graph.json").write_text(json.dumps(about, indent=1) + "\n")


def read_graph(folder: Path) -> GnnGraph:
    """Open a folder of :func:`write_graph`; arrays stay on disk until they are used.

    Names are compared with their digest here, arrays by :func:`check_arrays`.

    Raises
    ------
    InputError
        If a file is missing, damaged, or of another shape than ``graph.json`` says.
    """
    about = _about(folder)
    arrays: dict[str, np.ndarray | None] = dict.fromkeys(_ARRAYS)
    for name, expected in about["arrays"].items():
        file = folder / f"{name}.npy"
        try:
            values = read_npy(file)
        except (OSError, ValueError) as error:
            raise InputError(str(file), f"cannot be read ({error})", _AGAIN) from None
        actual = {"dtype": values.dtype.str, "shape": list(values.shape)}
        if name not in _ARRAYS or actual != expected:
            raise InputError(str(file), f"is {actual}, graph.json says {expected}", _AGAIN)
        arrays[name] = values
    absent = [k for k in ("x", "src", "dst") if arrays[k] is None]
    if absent:
        raise InputError(f"{folder}/graph.json: arrays", f"has no {absent[0]}", _AGAIN)
    present = {"names", "genes", "x", "edges"} | {k for k, v in arrays.items() if v is not None}
    unstated = [part for part in PARTS if part in present and part not in about["digests"]]
    if unstated:
        raise InputError(f"{folder}/graph.json: digests", f"has no {unstated[0]}", _AGAIN)
    split = arrays["split"]
    if split is not None and not set(np.unique(split).tolist()) <= set(range(len(SPLITS))):
        raise InputError(f"{folder}/split.npy", f"holds other numbers than 0 to {len(SPLITS) - 1}",
                         _AGAIN)  # fmt: skip
    frames = {}
    for name in ("vertices", "genes"):
        try:
            frames[name] = read_parquet(folder / f"{name}.parquet")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder}/{name}.parquet", f"cannot be read ({error})", _AGAIN
            ) from None
    graph = GnnGraph(
        **arrays,  # type: ignore[arg-type]
        relations=tuple(about["relations"]),
        names=Network(frames["vertices"], frames["genes"], no_edges(), [], {}, folder),
        vertex_features=tuple(about["vertex_features"]),
        edge_features=tuple(about["edge_features"]), made_from=about["made_from"],
        known=about["digests"],
    )  # fmt: skip
    check_arrays(graph, ("names", "genes"))
    return graph


def check_arrays(graph: GnnGraph, parts: Sequence[str] = ()) -> None:
    """Compare the arrays of a graph from a folder with their stored digests.

    ``parts``: of :attr:`GnnGraph.digests`; empty: all.

    Raises
    ------
    InputError
        Naming the array that differs.
    """
    if not graph.known:
        return
    fresh = replace(graph, known={})
    chosen = parts or list(graph.known)
    wrong = [k for k in chosen if k in graph.known and fresh.digest_of(k) != graph.known[k]]
    if wrong:
        raise InputError(
            f"{graph.names.folder}: {wrong[0]}",
            "is not what graph.json describes",
            _AGAIN,
        )


def _about(folder: Path) -> dict[str, Any]:
    file = folder / "graph.json"
    try:
        about = parse_json(read_bounded(file))
    except (OSError, ValueError) as error:
        raise InputError(str(file), f"cannot be read ({error})", _AGAIN) from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"{file}: format", f"is not {FORMAT!r}", _AGAIN)
    kinds = {"arrays": dict, "relations": list, "vertex_features": list, "edge_features": list,
             "digests": dict, "made_from": str}  # fmt: skip
    for key, kind in kinds.items():
        if not isinstance(about.get(key), kind):
            raise InputError(f"{file}: {key}", f"is no {kind.__name__}", _AGAIN)
    return about

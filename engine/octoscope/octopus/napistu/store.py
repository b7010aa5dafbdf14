"""Reading a napistu-torch store or Hub data set: encoded tensors, and tables in Parquet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from octoscope.bounded_reads import read_bounded, read_parquet, read_whole
from octoscope.errors import InputError
from octoscope.json_values import parse_json
from octoscope.octopus.napistu.bundle import identifier_table
from octoscope.octopus.napistu.peer_tables import PeerGraph
from octoscope.octopus.napistu.unpickle import load_torch, plain
from octoscope.octopus.network_schema import ROLE_CODE, SBO
from octoscope.safe_pickle import Opaque

# A feature that is 1 where a source has data on an edge, under one of these names.
_PRESENT = {
    "STRING": "is_STRING",
    "IntAct": "is_IntAct",
    "OmniPath": "is_OmniPath",
    "Reactome-FI": "is_Reactome-FI",
}


def read_store(path: Path, trust: str | None = None) -> PeerGraph:
    """Read a store's graph: roles and sources come from its encoded edge attributes.

    Scores were standardised when the store was written and cannot be recovered.

    Raises
    ------
    InputError
        If the registry or a file it names is missing or damaged.
    """
    name = data_names(path)[0]
    tensors = store_tensors(path, name, trust)
    if tensors.get("edge_attr") is None or not tensors.get("edge_feature_names"):
        raise InputError(f"{path}: {name}", "has no edge features, which tell roles and sources",
                         "give a store whose data have them")  # fmt: skip
    vertices, listed = _vertices(path, tensors)
    ends = tensors["edge_index"].numpy()
    feature = _Features(tensors, "edge_attr", "edge")
    frame = pd.DataFrame(
        {
            "src": ends[0],
            "dst": ends[1],
            "role_src": feature.roles("upstream"),
            "role_dst": feature.roles("downstream"),
            "reaction": 0,
            "reversible": feature.flag("binary__r_isreversible"),
            "reverse": feature.flag("categorical__direction_reverse"),
        }
    )
    frame["reaction"] = _reactions(frame, feature)
    rows = []
    for source, prefix in _PRESENT.items():
        at = frame["reaction"][feature.present(prefix)].unique()
        rows.append(pd.DataFrame({"reaction": at, "source": source, "ordinal": -1}))
    peer = PeerGraph(vertices, frame, pd.concat(rows, ignore_index=True))
    peer.identifiers = identifier_table(listed, f"{path}/pandas_dfs/species_identifiers")
    peer.notes += [
        "a store tells the sources STRING, IntAct, OmniPath and Reactome-FI only; scores and "
        "which rows form one reaction are not in it"
    ]
    return peer


def data_names(path: Path) -> list[str]:
    """Return the names of the data of a store, in its order.

    Raises
    ------
    InputError
        If the registry is missing, damaged or lists none.
    """
    names = list(_registry(path).get("napistu_data") or {})
    if not names:
        raise InputError(f"{path}/registry.json", "lists no napistu_data", "give a full store")
    return names


def store_tensors(path: Path, name: str, trust: str | None = None) -> dict[str, Any]:
    """Return the parts of one ``NapistuData`` of a store: tensors, and stand-ins of the rest.

    Raises
    ------
    InputError
        If the store has no data of that name, or its file is missing, damaged, or holds code.
    """
    listed = _registry(path).get("napistu_data") or {}
    entry = listed.get(name)
    if not isinstance(entry, dict) or "filename" not in entry:
        raise InputError(f"{path}/registry.json: napistu_data", f"has no {name!r}",
                         f"choose one of {', '.join(listed)}")  # fmt: skip
    file = path / "napistu_data" / Path(str(entry["filename"])).name
    return _mapping(load_torch(_bytes(file), str(file), trust), str(file))


def store_names(path: Path, tensors: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (vertices, identifiers) of a store.

    Returns
    -------
    tuple
        Vertices with the columns of :data:`octoscope.octopus.network_schema.VERTICES` but
        ``vertex``, and ``s_id, ontology, identifier, bqb`` of the species.

    Raises
    ------
    InputError
        If a table is missing or does not list the vertices in their order.
    """
    vertices, listed = _vertices(path, tensors)
    return vertices, identifier_table(listed, f"{path}/pandas_dfs/species_identifiers")


def _vertices(path: Path, tensors: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    sid = _with_ids(_frame(path, "name_to_sid_map"), f"{path}/pandas_dfs/name_to_sid_map")
    species = dict(zip(sid.index if sid.index.name == "name" else sid["name"], sid["s_id"],
                       strict=True))  # fmt: skip
    vertex_names = [str(v) for v in plain(tensors["ng_vertex_names"])]
    if len(vertex_names) != len(tensors["x"]) or list(species) != vertex_names:
        raise InputError(
            f"{path}/pandas_dfs/name_to_sid_map", "does not list the vertices in their order",
            "get the store again",
        )  # fmt: skip
    listed = _frame(path, "species_identifiers").reset_index()
    _with_ids(listed, f"{path}/pandas_dfs/species_identifiers")
    titles = listed.drop_duplicates("s_id").set_index("s_id").get("s_name", pd.Series(dtype=object))
    s_ids = pd.Series([species[v] for v in vertex_names])
    vertices = pd.DataFrame(
        {
            "name": vertex_names,
            "label": s_ids.map(titles).fillna(pd.Series(vertex_names)).astype(str),
            "node_type": "species",
            "species_type": _Features(tensors, "x", "vertex").kinds(),
            "species": s_ids,
            "compartment": None,
        }
    )
    return vertices, listed


def _reactions(frame: pd.DataFrame, feature: _Features) -> np.ndarray:
    """Number the edges so that an edge and its reverse are one reaction.

    A store does not say which edges belong together: a reverse edge is paired with the edge of
    exchanged ends whose source attributes are the same.
    """
    back = frame["reverse"].to_numpy()
    a = np.where(back, frame["dst"], frame["src"])
    b = np.where(back, frame["src"], frame["dst"])
    columns = [i for n, i in feature.column_of.items() if n.startswith("sparse_")]
    data = np.ascontiguousarray(feature.values[:, sorted(set(columns))])
    _, same = np.unique(data, axis=0, return_inverse=True)
    key = pd.DataFrame({"a": a, "b": b, "same": same, "back": back})
    nth = key.groupby(["a", "b", "same", "back"]).cumcount()
    return key.drop(columns="back").assign(nth=nth).groupby(["a", "b", "same", "nth"]).ngroup(
    ).to_numpy()  # fmt: skip


def _registry(path: Path) -> dict[str, Any]:
    try:
        registry = parse_json(read_bounded(path / "registry.json"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}/registry.json", str(error), "give a store's folder") from None
    if not isinstance(registry, dict):
        raise InputError(f"{path}/registry.json", "is not an object", "give a store's folder")
    return registry


def _bytes(file: Path) -> bytes:
    try:
        return read_whole(file)
    except OSError as error:
        raise InputError(str(file), str(error), "get the store again") from None


def _frame(path: Path, name: str) -> pd.DataFrame:
    file = path / "pandas_dfs" / f"{name}.parquet"
    try:
        return read_parquet(file)
    except (OSError, ValueError) as error:
        raise InputError(str(file), str(error), "get the store again") from None


def _with_ids(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return a table whose column ``s_id`` is text; tables are joined by it."""
    ids = table.get("s_id")
    if ids is None or not all(isinstance(i, str) for i in ids):
        raise InputError(f"{where}: s_id", "is no column of text", "get the store again")
    return table


def _mapping(data: Any, where: str) -> dict[str, Any]:
    state = getattr(data, "state", None)
    store = state.get("_store") if isinstance(state, dict) else None
    inner = getattr(store, "state", None) if isinstance(store, Opaque) else None
    mapping = inner.get("_mapping") if isinstance(inner, dict) else None
    needed = ("x", "edge_index", "ng_vertex_names")
    if not isinstance(mapping, dict) or any(k not in mapping for k in needed):
        raise InputError(where, "is not a NapistuData", "give a napistu-torch store")
    return mapping


class _Features:
    """Columns of encoded attributes; identical ones were merged under one name."""

    def __init__(self, tensors: dict[str, Any], values: str, what: str) -> None:
        self.values = tensors[values].numpy()
        names = tensors.get(f"{what}_feature_names") or []
        self.column_of = {name: i for i, name in enumerate(names)}
        aliases = tensors.get(f"{what}_feature_name_aliases") or {}
        for name, merged_into in aliases.items():
            if merged_into in self.column_of:
                self.column_of[name] = self.column_of[merged_into]

    def flag(self, name: str) -> np.ndarray:
        """Return [edges] bool; False where there is no such column."""
        at = self.column_of.get(name)
        return np.zeros(len(self.values), bool) if at is None else self.values[:, at] > 0.5

    def roles(self, end: str) -> np.ndarray:
        """Return [edges] role codes of an end from its one-hot columns."""
        out = np.full(len(self.values), ROLE_CODE["unknown"], np.uint8)
        for term, role in SBO.items():
            out[self.flag(f"categorical__sbo_term_{end}_{term}")] = ROLE_CODE[role]
        return out

    def kinds(self) -> np.ndarray:
        """Return [vertices] kinds of species from their one-hot columns, None where none is set."""
        out = np.full(len(self.values), None, object)
        for name in self.column_of:
            match = re.fullmatch(r"(?:sparse_)?categorical__species_type_(\w+)", name)
            if match:
                out[self.flag(name)] = match.group(1)
        return out

    def present(self, prefix: str) -> np.ndarray:
        """Return [edges] bool: whether a source has data, from any of its ``is_`` columns."""
        columns = [n for n in self.column_of if n.startswith(f"sparse_numeric__{prefix}")]
        return np.any([self.flag(n) for n in columns], axis=0) if columns else self.flag("")

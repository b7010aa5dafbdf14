"""Reading a Napistu bundle: a ``tar.gz`` or folder of pickles and a table of identifiers."""

from __future__ import annotations

import io
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from octoscope.bounded_reads import read_parquet, read_whole, require_regular
from octoscope.errors import InputError, in_one_line
from octoscope.octopus.napistu.peer_tables import PeerGraph, roles_of
from octoscope.octopus.napistu.unpickle import load_pickle, plain
from octoscope.octopus.network_schema import ROLE_CODE, UNNAMED
from octoscope.safe_pickle import Opaque

_MEMBERS = (
    "napistu_graph.pkl",
    "sbml_dfs.pkl",
    "species_identifiers.tsv",
    "species_identifiers.parquet",
)
_MOST_INFLATED = 200  # times the archive: pickles of networks inflate to less than 20 times theirs
# Columns of reactions_data as they are mounted on edges by the peer: <SOURCE>_<column>.
_MOUNTED = ("STRING_", "IntAct_", "OmniPath_", "Reactome-FI_")


def read_bundle(path: Path, trust: str | None = None) -> PeerGraph:
    """Read a bundle, packed or unpacked.

    Raises
    ------
    InputError
        If it holds no graph, is damaged, or names classes that are not allowed.
    """
    files = _members(path)
    where = f"{path}: napistu_graph.pkl"
    if "napistu_graph.pkl" not in files:
        raise InputError(
            str(path), "holds no napistu_graph.pkl", "give a Napistu bundle, store or its folder"
        )
    graph = load_pickle(files.pop("napistu_graph.pkl"), where, trust)
    vertices, edges, reactions = _graph(graph, where)
    del graph
    peer = PeerGraph(vertices, edges, _no_assertions(), list(reactions))
    if "sbml_dfs.pkl" in files:
        tables = load_pickle(files.pop("sbml_dfs.pkl"), f"{path}: sbml_dfs.pkl", trust)
        _model(peer, tables, reactions, f"{path}: sbml_dfs.pkl")
    else:
        peer.notes.append("no sbml_dfs.pkl: which source states an edge is not known")
        _mounted(peer, reactions)
    peer.edges = peer.edges[[c for c in peer.edges if not str(c).startswith(_MOUNTED)]]
    peer.identifiers = _identifiers(files, str(path))
    if peer.identifiers.empty:
        peer.notes.append("no table of identifiers: genes cannot be mapped")
    return peer


def _members(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        files = {n: path / n for n in _MEMBERS if (path / n).is_file()}
        try:
            return {name: read_whole(file) for name, file in files.items()}
        except OSError as error:
            raise InputError(str(path), str(error), "use a machine with more memory") from None
    out: dict[str, bytes] = {}
    try:
        require_regular(path)
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = Path(member.name).name
                if name in _MEMBERS and member.isfile():
                    _require_room(path, name, member.size)
                    handle = archive.extractfile(member)
                    out[name] = handle.read() if handle else b""
            while archive.fileobj is not None and archive.fileobj.read(1 << 20):
                pass  # to the very end: a cut file is damaged, whatever it still holds
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        problem = f"cannot be read ({in_one_line(error)})"
        raise InputError(str(path), problem, "download it again") from None
    return out


def _require_room(path: Path, name: str, size: int) -> None:
    stored = path.stat().st_size
    if size > _MOST_INFLATED * stored:
        raise InputError(
            f"{path}: {name}", f"inflates to {size:,} bytes, the whole file has {stored:,}",
            "get the file again",
        )  # fmt: skip
    free = psutil.virtual_memory().available
    if size > free:
        raise InputError(
            f"{path}: {name}", f"takes {size / 1e9:.1f} GB, {free / 1e9:.1f} GB of memory are free",
            "use a machine with more memory; a store is smaller",
        )  # fmt: skip


def _graph(graph: Any, where: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.Index]:
    """Return vertices, edges and the reaction ids that ``edges.reaction`` counts."""
    if not isinstance(graph, Opaque) or len(graph.args) != 6:
        raise InputError(where, "is not a pickled NapistuGraph", "give a Napistu bundle")
    n, pairs, directed, _, vertex, edge = graph.args
    if not directed:
        raise InputError(where, "the graph is undirected", "give the directed graph")
    try:
        ends = np.array(pairs, np.int64).reshape(-1, 2)
        frame = pd.DataFrame({k: pd.Series(v) for k, v in vertex.items()})
    except (TypeError, ValueError) as error:
        raise InputError(where, str(error), "get the file again") from None
    if "name" not in frame:
        raise InputError(where, "vertices have no 'name'", "give a Napistu bundle")
    if len(frame) != n or (len(ends) and (ends.min() < 0 or ends.max() >= n)):
        raise InputError(where, "edges name vertices that do not exist", "get the file again")
    role_src, role_dst = _roles(edge, ends, frame.get("node_type"), where)
    reaction, reactions = pd.factorize(np.array(edge.get("r_id", ["?"] * len(ends)), object))
    edges = pd.DataFrame(
        {
            "src": ends[:, 0],
            "dst": ends[:, 1],
            "role_src": role_src,
            "role_dst": role_dst,
            "reaction": reaction,
            "reversible": np.array(edge.get("r_isreversible", [False] * len(ends)), bool),
            "reverse": np.array(edge.get("direction", ["forward"] * len(ends))) == "reverse",
        }
    )
    for name, values in edge.items():
        if name.startswith(_MOUNTED):
            edges[name] = values
    none = [None] * n
    vertices = pd.DataFrame(
        {
            "name": frame["name"].astype(str),
            "label": frame.get("node_name", frame["name"]).astype(str),
            "node_type": frame.get("node_type", pd.Series(["species"] * n)),
            "species_type": frame.get("species_type", pd.Series(none)),
            "species": frame.get("s_id", frame["name"]),
            "compartment": frame.get("c_id", pd.Series(none)),
        }
    )
    return vertices, edges, pd.Index(reactions)


def _roles(
    edge: dict[str, Any], ends: np.ndarray, kinds: pd.Series | None, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return role codes of both ends of every edge.

    Bundles before 0.11 have one ``sbo_term`` per edge: that of the participant that acts, or of
    the product where the edge starts at a reaction. The other end's role is known of interactors
    only.
    """
    if "sbo_term_upstream" in edge and "sbo_term_downstream" in edge:
        ends_of = (edge[f"sbo_term_{x}stream"] for x in ("up", "down"))
        up, down = (roles_of(x, where) for x in ends_of)
        return up, down
    if "sbo_term" not in edge:
        raise InputError(where, "edges have no sbo_term", "give a Napistu graph")
    role, unknown = roles_of(edge["sbo_term"], where), ROLE_CODE["unknown"]
    from_reaction = np.zeros(len(ends), bool)
    if kinds is not None:
        from_reaction = (kinds == "reaction").to_numpy()[ends[:, 0]]
    pair = role == ROLE_CODE["interactor"]
    return (
        np.where(from_reaction, unknown, role).astype(np.uint8),
        np.where(from_reaction | pair, role, unknown).astype(np.uint8),
    )


def _no_assertions() -> pd.DataFrame:
    return pd.DataFrame({"reaction": [], "source": [], "ordinal": []}).astype(
        {"reaction": int, "source": str, "ordinal": int}
    )


def _model(peer: PeerGraph, model: Any, reactions: pd.Index, where: str) -> None:
    """Add what ``sbml_dfs.pkl`` says of sources, evidence and pathways."""
    state = getattr(model, "state", None)
    frame = plain(state.get("reactions")) if isinstance(state, dict) else None
    if not isinstance(frame, pd.DataFrame) or not isinstance(state, dict):
        raise InputError(where, "is not a pickled SBML_dfs", "give a Napistu bundle")
    rows, releases = [], {}
    known = reactions.get_indexer(frame.index)
    for code, source in zip(known, frame.get("r_Source", []), strict=False):
        if code < 0:
            continue
        stated = _source_table(source)
        for name, ordinal, date in stated["own"]:
            rows.append((code, name, ordinal))
            releases[name] = date
        missing = stated["all"] - {r[0] for r in stated["own"]}
        rows += [(code, name, -1) for name in missing]
    peer.assertions = pd.DataFrame(rows, columns=["reaction", "source", "ordinal"])
    peer.releases = {k: v for k, v in releases.items() if v}
    for name, table in (state.get("reactions_data") or {}).items():
        table = plain(table)
        if isinstance(table, pd.DataFrame):
            at = reactions.get_indexer(table.index)
            data = table.reset_index(drop=True).assign(reaction=at)
            peer.evidence[str(name)] = data[at >= 0].reset_index(drop=True)
    peer.pathways = _pathways(plain(state.get("species")))


def _source_table(source: Any) -> dict[str, Any]:
    """Return the sources of one reaction: with own numbers, and all that it names."""
    state = getattr(source, "state", None)
    table = plain(state.get("source")) if isinstance(state, dict) else None
    if not isinstance(table, pd.DataFrame) or "model" not in table:
        return {"own": [], "all": set()}
    names = table["data_source"] if "data_source" in table else table["model"]
    own = []
    for model, name, r_id, date in zip(
        table["model"], names, table.get("r_id", names), table.get("date", names), strict=True
    ):
        if isinstance(name, str) and model == name:
            digits = str(r_id)[1:]
            own.append((name, int(digits) if digits.isdecimal() else -1, _text(date)))
    return {"own": own, "all": {n for n in names if isinstance(n, str)}}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _pathways(species: Any) -> pd.DataFrame:
    rows = []
    if isinstance(species, pd.DataFrame) and "s_Source" in species:
        for s_id, source in zip(species.index, species["s_Source"], strict=True):
            state = getattr(source, "state", None)
            table = plain(state.get("source")) if isinstance(state, dict) else None
            if not isinstance(table, pd.DataFrame) or "pathway_id" not in table:
                continue
            files = table[table["file"].notna()] if "file" in table else table[:0]
            rows += [(s_id, p, n) for p, n in zip(files["pathway_id"], files["name"], strict=True)]
    return pd.DataFrame(rows, columns=["s_id", "pathway", "name"]).drop_duplicates()


def _mounted(peer: PeerGraph, reactions: pd.Index) -> None:
    """Tell sources from edge attributes ``<SOURCE>_<column>``: missing means not from it."""
    rows = []
    for prefix in _MOUNTED:
        columns = [str(c) for c in peer.edges if str(c).startswith(prefix)]
        if not columns:
            continue
        present = peer.edges[columns].notna().any(axis=1)
        data = peer.edges.loc[present, ["reaction", *columns]].drop_duplicates("reaction")
        data = data.rename(columns={c: c.removeprefix(prefix) for c in columns})
        peer.evidence[prefix[:-1]] = data.reset_index(drop=True)
        rows += [(r, prefix[:-1], -1) for r in data["reaction"]]
    peer.assertions = pd.DataFrame(rows, columns=["reaction", "source", "ordinal"])
    if rows:
        peer.notes.append(f"sources told from edge attributes; edges of others are {UNNAMED!r}")


def _identifiers(files: dict[str, bytes], where: str) -> pd.DataFrame:
    try:
        if "species_identifiers.parquet" in files:
            table = read_parquet(
                files["species_identifiers.parquet"], f"{where}: species_identifiers"
            )
        elif "species_identifiers.tsv" in files:
            table = pd.read_csv(
                io.BytesIO(files["species_identifiers.tsv"]), sep="\t", dtype=str, na_values=[""],
                keep_default_na=False,
            )  # fmt: skip
        else:
            return pd.DataFrame(columns=["s_id", "ontology", "identifier", "bqb"])
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: species_identifiers", str(error), "get it again") from None
    return identifier_table(table, f"{where}: species_identifiers")


def identifier_table(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return s_id, ontology, identifier, bqb of a table of species identifiers.

    Raises
    ------
    InputError
        If one of these columns is missing.
    """
    for column in ("s_id", "ontology", "identifier", "bqb"):
        if column not in table:
            raise InputError(where, f"no column {column!r}", "give the peer's table")
    return table[["s_id", "ontology", "identifier", "bqb"]].astype(str).reset_index(drop=True)

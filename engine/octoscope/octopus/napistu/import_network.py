"""Converts Napistu's files to an Octopus directory, unchanged or with defects repaired."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.digests import file_digest
from octoscope.errors import InputError, reading, warn
from octoscope.octopus.directory import DirectoryWriter, new_directory
from octoscope.octopus.gene_vertices import map_genes
from octoscope.octopus.napistu.bundle import read_bundle
from octoscope.octopus.napistu.peer_tables import PeerGraph
from octoscope.octopus.napistu.store import read_store
from octoscope.octopus.network_info import count_edges
from octoscope.octopus.network_schema import (
    ACTORS,
    MIRRORED,
    ROLE_CODE,
    ROLES,
    UNNAMED,
    coded,
    sign_of,
)
from octoscope.output_files import require_outside

Mode = Literal["peer", "corrected"]
_SCORE = {"STRING": ("combined_score", 1000), "IntAct": ("miscore", 1),
          "Reactome-FI": ("fi_score", 1)}  # fmt: skip
_REFS = {"OmniPath": "n_references", "IntAct": "n_publications"}


def import_napistu(
    path: str | Path, target: str | Path, mode: Mode = "corrected", trust: str | None = None
) -> dict[str, Any]:
    """Convert a Napistu bundle, store or Hub data set to an Octopus directory.

    Parameters
    ----------
    path
        ``tar.gz`` or folder with ``napistu_graph.pkl``, or a folder with ``registry.json``.
    target
        Directory to make.
    mode
        ``peer``: the graph exactly as stored. ``corrected``: OmniPath's spurious reversed
        reactions removed, Reactome-FI's undirected pairs valid both ways.
    trust
        SHA-256 of a pickle that may run what it names.

    Returns
    -------
    dict
        What ``octopus.json`` says.

    Raises
    ------
    InputError
        Naming the file and what is wrong with it; nothing is left behind.
    """
    source = Path(path)
    if not source.exists():
        raise InputError(str(source), "does not exist", "give a bundle, a store or its folder")
    require_outside(target, [source])
    is_store = source.is_dir() and (source / "registry.json").exists()
    with reading(source, "get the files again, as Napistu writes them"):
        peer = read_store(source, trust) if is_store else read_bundle(source, trust)
        _check(peer, str(source))
        rows, corrections = _assertions(peer, mode)
    meta = {
        "name": f"{source.name.removesuffix('.tar.gz')} ({mode})",
        "mode": mode,
        "made_from": {
            "kind": "napistu store" if is_store else "napistu bundle",
            "path": source.name,
            **(file_digest(source) if source.is_file() else {}),
        },
        "corrections": corrections,
        "notes": peer.notes,
    }
    with new_directory(target) as writer:
        summary = write_peer(writer, peer, rows, meta)
    if not summary["counts"]["genes"]:
        seen = ", ".join(sorted(peer.identifiers["ontology"].astype(str).unique())) or "none"
        warn(f"{source}: no vertex has an Ensembl gene id (ontologies: {seen}), so no gene of a "
             "run is in this network")  # fmt: skip
    return summary


def _check(peer: PeerGraph, where: str) -> None:
    """Refuse edges without vertices, and names of sources that are no names."""
    n = len(peer.vertices)
    ends = peer.edges[["src", "dst"]].to_numpy(np.int64)
    if len(ends) and (ends.min() < 0 or ends.max() >= n):
        raise InputError(where, f"edges name vertices outside 0..{n - 1}", "get the file again")
    for name in {*peer.assertions["source"].unique(), *peer.evidence}:
        # Names of sources become names of files.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}", str(name)):
            raise InputError(where, f"a source is called {str(name)[:80]!r}", "get the file again")
    if peer.assertions["source"].nunique() > 63:
        raise InputError(where, "more than 63 sources", "get the file again")


def _assertions(peer: PeerGraph, mode: Mode) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return one row per edge and source, and what was corrected."""
    edges = peer.edges.copy()
    back = edges["reverse"].to_numpy()
    # A reverse edge repeats its reaction backwards: keep the reaction's own order only.
    ends, roles = edges[["dst", "src"]].to_numpy(), edges[["role_dst", "role_src"]].to_numpy()
    edges.loc[back, ["src", "dst"]] = ends[back]
    edges.loc[back, ["role_src", "role_dst"]] = MIRRORED[roles[back]]
    edges = edges.drop_duplicates(["reaction", "src", "dst", "role_src", "role_dst"])
    edges["directed"] = ~edges["reversible"].to_numpy() | edges["role_src"].isin(ACTORS).to_numpy()
    statements = peer.assertions.drop_duplicates(["reaction", "source"])
    rows = edges.merge(statements[["reaction", "source"]], on="reaction", how="left")
    rows["source"] = rows["source"].fillna(UNNAMED)
    if mode == "peer":
        return rows, []
    corrections = []
    spurious = _reversed_omnipath(edges, peer)
    own = peer.assertions
    known = bool(((own["source"] == "OmniPath") & (own["ordinal"] >= 0)).any())
    doubled = rows["reaction"].isin(spurious) & (rows["source"] == "OmniPath")
    before = int((rows["source"] == "OmniPath").sum())
    rows = rows[~doubled]
    corrections.append(
        {
            "defect": "each directed OmniPath row is stored a second time in reverse",
            "source": "OmniPath",
            "peer": before,
            "corrected": before - int(doubled.sum()),
            "unit": "assertions",
            "how": "of two consecutive reactions with exchanged roles the second is removed"
            if known
            else "not repaired: the files do not tell OmniPath's own reactions",
        }
    )
    interactor = ROLE_CODE["interactor"]
    pair = (rows["role_src"] == interactor) & (rows["role_dst"] == interactor)
    one_way = pair & rows["directed"]
    rows.loc[one_way, "directed"] = False
    corrections.append(
        {
            "defect": "undirected Reactome-FI pairs lead one way only",
            "source": "Reactome-FI",
            "peer": int(one_way.sum()),
            "corrected": 0,
            "unit": "assertions of interactor pairs that lead one way",
            "how": "interactor pairs are valid both ways",
        }
    )
    return rows, corrections


def _reversed_omnipath(edges: pd.DataFrame, peer: PeerGraph) -> set[int]:
    """Return reactions that OmniPath states only as the reverse of the row before.

    The peer writes the reverse right after its reaction, with the next number.
    """
    stated = peer.assertions
    stated = stated[(stated["source"] == "OmniPath") & (stated["ordinal"] >= 0)]
    stated = stated.sort_values("ordinal", kind="stable")
    ends = edges.drop_duplicates("reaction").set_index("reaction")[["src", "dst", "role_src"]]
    known = stated[stated["reaction"].isin(ends.index)]
    at = ends.loc[known["reaction"]].to_numpy()
    number = known["ordinal"].to_numpy()
    actors = np.isin(at[:, 2], ACTORS) if len(at) else np.zeros(0, bool)
    follows = np.zeros(len(known), bool)
    if len(known) > 1:
        follows[1:] = (
            (np.diff(number) == 1)
            & (at[1:, 0] == at[:-1, 1])
            & (at[1:, 1] == at[:-1, 0])
            & (at[1:, 2] == at[:-1, 2])
            & actors[1:]
        )
    both_ways = peer.evidence.get("OmniPath", pd.DataFrame())
    if "consensus_direction" in both_ways:
        truth = both_ways["consensus_direction"].astype(str).isin(["True", "1", "1.0"])
        doubled = set(both_ways.loc[truth, "reaction"])
        follows &= np.array([r in doubled for r in known["reaction"]], bool)
    spurious = np.zeros(len(known), bool)
    for i in np.flatnonzero(follows):  # a reverse has no reverse of its own
        spurious[i] = not spurious[i - 1]
    genuine = set(known["reaction"].to_numpy()[~spurious])
    return {int(r) for r in known["reaction"].to_numpy()[spurious] if r not in genuine}


def write_peer(
    writer: DirectoryWriter, peer: PeerGraph, rows: pd.DataFrame, meta: dict[str, Any]
) -> dict[str, Any]:
    """Write all tables of an imported network; returns what ``octopus.json`` says."""
    n = len(peer.vertices)
    writer.write(
        "vertices",
        pa.Table.from_pandas(
            peer.vertices.assign(vertex=np.arange(n, dtype=np.int32)), preserve_index=False
        ),
    )
    vertex_of = pd.DataFrame({"s_id": peer.vertices["species"], "vertex": np.arange(n)})
    named = peer.identifiers.merge(vertex_of, on="s_id")
    writer.write("identifiers", pa.Table.from_pandas(named, preserve_index=False))
    genes = map_genes(named)
    writer.write("genes", pa.Table.from_pandas(genes, preserve_index=False))
    pathways = peer.pathways.merge(vertex_of, on="s_id")
    writer.write("pathways", pa.Table.from_pandas(pathways.astype({"name": str}),
                                                  preserve_index=False))  # fmt: skip
    if peer.reactions:
        names = pa.table({"reaction": np.arange(len(peer.reactions)), "name": peer.reactions})
        writer.write("reactions", names)
    sources = sorted(rows["source"].unique())
    codes = pd.Categorical(rows["source"], categories=sources).codes
    score = np.full(len(rows), np.nan, np.float32)
    refs = np.zeros(len(rows), np.int32)
    evidence = np.full(len(rows), -1, np.int32)
    for code, source in enumerate(sources):
        table = peer.evidence.get(source)
        if table is None:
            continue
        mine = np.flatnonzero(codes == code)
        first = table.drop_duplicates("reaction")
        at = pd.Index(first["reaction"]).get_indexer(rows["reaction"].to_numpy()[mine])
        evidence[mine] = np.where(at >= 0, first.index.to_numpy()[at], -1)
        column, unit = _SCORE.get(source, ("", 1))
        for name, out, divide in ((column, score, unit), (_REFS.get(source, ""), refs, 1)):
            if name in first:
                values = pd.to_numeric(first[name], errors="coerce").to_numpy(float)[at] / divide
                out[mine] = np.where(at >= 0, values if out is score else np.nan_to_num(values),
                                     np.nan if out is score else 0)  # fmt: skip
        data = table.drop(columns="reaction")
        writer.write(f"evidence/{source}", pa.Table.from_pandas(data, preserve_index=False))
    numbers = peer.assertions.drop_duplicates(["reaction", "source"])
    origin = rows[["reaction", "source"]].merge(numbers, on=["reaction", "source"], how="left")
    ordinal = pd.to_numeric(origin["ordinal"]).fillna(-1).to_numpy(np.int64)
    releases = sorted({peer.releases.get(s, "unknown") for s in sources})
    of_source = np.array([releases.index(peer.releases.get(s, "unknown")) for s in sources])
    role_src = rows["role_src"].to_numpy(np.uint8)
    table = pa.table(
        {
            "src": rows["src"].to_numpy(np.int32),
            "dst": rows["dst"].to_numpy(np.int32),
            "role_src": coded(role_src, ROLES),
            "role_dst": coded(rows["role_dst"].to_numpy(), ROLES),
            "directed": rows["directed"].to_numpy(bool),
            "sign": sign_of(role_src),
            "source": coded(codes, sources),
            "release": coded(of_source[codes], releases),
            "score": score,
            "refs": refs,
            "origin_file": coded(np.zeros(len(rows)), ["sbml_dfs.pkl"], wide=True),
            "origin": (ordinal + 1).astype(np.int32),
            "reaction": rows["reaction"].to_numpy(np.int32),
            "evidence": evidence,
        }
    )
    writer.write("edges", table)
    body = meta | {
        "counts": count_edges(table, n) | {"genes": int(genes["gene"].nunique())},
        "sources": {s: {"release": peer.releases.get(s, "unknown")} for s in sources},
    }
    writer.close(body)
    return body

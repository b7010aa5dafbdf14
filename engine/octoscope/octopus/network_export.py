"""A network, or a view of one, in the formats of other tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.errors import InputError
from octoscope.octopus.lookups import bit_names
from octoscope.octopus.network import Network
from octoscope.octopus.network_schema import ROLES
from octoscope.octopus.pair_files import write_table
from octoscope.octopus.pairs import NEGATIVE, POSITIVE, STATED, Groups, source_bits
from octoscope.octopus.vertex_symbols import gene_names, symbol_names
from octoscope.output_files import new_file

GRAPHML_EDGES = 200_000  # what Cytoscape and igraph still open comfortably


def export(
    network: Network,
    path: Path,
    kind: str,
    limit: int = GRAPHML_EDGES,
    names: str | None = None,
    *,
    force: bool = False,
) -> int:
    """Write a network and return the number of rows or edges.

    Parameters
    ----------
    path
        File to write. Tables are Parquet, TSV or CSV, as its ending says.
    kind
        ``parquet`` (assertions with names), ``graphml`` (vertices and ordered pairs with symbol,
        sources, relations, order, sign and score; refused above ``limit`` edges), ``decoupler``
        (source, target, weight: signed assertions only, no sign is invented), ``omnipath`` (source,
        target, is_directed, is_stimulation, is_inhibition, sources, and symbols).
    names
        What vertices are called in ``decoupler``, ``parquet`` and ``omnipath``: ``symbol``, or
        ``ensembl``; None: symbols for decoupler, else Ensembl ids. A symbol of several vertices is
        not used: these keep their Ensembl id.
    force
        Replace a file that is there.

    Raises
    ------
    InputError
        If the file may not be written (:func:`octoscope.output_files.require_new`), the kind or
        names are unknown, or GraphML would be too large.
    """
    makers: dict[str, Callable[[Network, np.ndarray], pd.DataFrame]] = {
        "parquet": _assertions,
        "decoupler": _decoupler,
        "omnipath": _omnipath,
    }
    if kind not in (*makers, "graphml"):
        known = ", ".join([*makers, "graphml"])
        raise InputError("kind", f"{kind!r} is unknown", f"choose of {known}")
    if names not in (None, "symbol", "ensembl"):
        raise InputError("names", f"{names!r} is unknown", "write symbol or ensembl")
    with new_file(path, force=force) as temporary:
        if kind == "graphml":
            if path.suffix in (".tsv", ".csv", ".txt", ".parquet"):
                raise InputError(str(path), "GraphML is no table", "name the file .graphml")
            return _graphml(network, temporary, limit)
        symbols = (names or ("symbol" if kind == "decoupler" else "ensembl")) == "symbol"
        table = makers[kind](network, symbol_names(network) if symbols else gene_names(network))
        write_table(table, temporary, path, ".parquet" if kind == "parquet" else ".tsv")
        return len(table)


def _assertions(network: Network, names: np.ndarray) -> pd.DataFrame:
    e = network.edges
    labels = network.vertices["label"].to_numpy(object)
    return pd.DataFrame(
        {
            "source": names[e.src],
            "target": names[e.dst],
            "source_label": labels[e.src],
            "target_label": labels[e.dst],
            "role_source": pd.Categorical.from_codes(e.role_src, categories=pd.Index(ROLES)),
            "role_target": pd.Categorical.from_codes(e.role_dst, categories=pd.Index(ROLES)),
            "directed": e.directed,
            "sign": e.sign,
            "resource": pd.Categorical.from_codes(e.source, categories=pd.Index(network.sources)),
            "score": e.score,
            "references": e.refs,
        }
    )


def _decoupler(network: Network, names: np.ndarray) -> pd.DataFrame:
    table = _assertions(network, names)
    signed = table[(table["sign"] != 0) & table["directed"]]
    joined = signed.groupby(["source", "target"], sort=True).agg(
        least=("sign", "min"), most=("sign", "max")
    )
    agreed = joined[joined["least"] == joined["most"]].reset_index()
    return agreed.rename(columns={"most": "weight"})[["source", "target", "weight"]]


def _omnipath(network: Network, names: np.ndarray) -> pd.DataFrame:
    e, n, symbols = network.edges, len(network.vertices), symbol_names(network)
    swap = ~e.directed & (names[e.src] > names[e.dst])
    src, dst = np.where(swap, e.dst, e.src), np.where(swap, e.src, e.dst)
    groups = Groups((src.astype(np.int64) * n + dst) * 2 + e.directed, 2 * n * n)
    bits = groups.reduce(source_bits(e.source), np.bitwise_or)
    pair = groups.keys // 2
    a, b = pair // max(n, 1), pair % max(n, 1)
    return pd.DataFrame(
        {
            "source": names[a],
            "target": names[b],
            "source_genesymbol": symbols[a],
            "target_genesymbol": symbols[b],
            "is_directed": groups.keys % 2 > 0,
            "is_stimulation": groups.reduce(e.sign > 0, np.logical_or),
            "is_inhibition": groups.reduce(e.sign < 0, np.logical_or),
            "sources": bit_names(bits, network.sources),
            "n_references": groups.reduce(e.refs, np.maximum),
        }
    )


def _graphml(network: Network, path: Path, limit: int) -> int:
    import networkx as nx

    index, n = network.index, len(network.vertices)
    if len(index.keys) > limit:
        raise InputError(
            "--format graphml",
            f"{len(index.keys):,} edges are more than {limit:,}",
            "export a view (--source, --min-score, --signed), or raise --limit",
        )
    ids, labels = network.vertices["name"].to_numpy(object), network.vertices["label"]
    genes = network.genes.groupby("vertex")["gene"].agg(";".join).to_dict()
    names = symbol_names(network)
    graph = nx.DiGraph()
    src, dst = index.keys // max(n, 1), index.keys % max(n, 1)
    kinds = network.vertices["species_type"].to_numpy(object)
    for v in np.unique(np.concatenate([src, dst])):
        # igraph and Cytoscape call a vertex by its attribute `name`
        graph.add_node(ids[v], name=str(names[v]), label=str(labels[v]), symbol=str(names[v]),
                       species_type=str(kinds[v]), genes=genes.get(v, ""))  # fmt: skip
    sources = bit_names(index.sources, network.sources)
    relations = bit_names(index.relations, index.relation_names)
    for i, (a, b) in enumerate(zip(src, dst, strict=True)):
        attributes: dict[str, object] = {
            "sources": sources[i],
            "relation": relations[i],
            "directed": bool(index.order[i] & STATED),
            "sign": {POSITIVE: 1, NEGATIVE: -1}.get(int(index.sign[i]), 0),
        }
        if not np.isnan(index.score[i]):
            attributes["score"] = float(index.score[i])
        graph.add_edge(ids[a], ids[b], **attributes)
    with path.open("wb") as handle:
        nx.write_graphml(graph, handle)
    return graph.number_of_edges()

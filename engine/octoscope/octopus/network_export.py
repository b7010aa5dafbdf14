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
from octoscope.octopus.pairs import NEGATIVE, POSITIVE, Groups, source_bits
from octoscope.output_files import new_file

GRAPHML_EDGES = 200_000  # what Cytoscape and igraph still open comfortably


def export(
    network: Network, path: Path, kind: str, limit: int = GRAPHML_EDGES, *, force: bool = False
) -> int:
    """Write a network and return the number of rows or edges.

    Parameters
    ----------
    kind
        ``parquet`` (assertions with names), ``graphml`` (vertices and ordered pairs with their
        sources; refused above ``limit`` edges), ``decoupler`` (source, target, weight: signed
        assertions only, no sign is invented), ``omnipath`` (source, target, is_directed,
        is_stimulation, is_inhibition, sources).
    force
        Replace a file that is there.

    Raises
    ------
    InputError
        If the file may not be written (:func:`octoscope.output_files.require_new`), the kind is
        unknown, or GraphML would be too large.
    """
    writers: dict[str, Callable[[Network, Path, int], int]] = {
        "parquet": _parquet,
        "graphml": _graphml,
        "decoupler": _decoupler,
        "omnipath": _omnipath,
    }
    if kind not in writers:
        raise InputError("--format", f"{kind!r} is unknown", f"choose of {', '.join(writers)}")
    with new_file(path, force=force) as temporary:
        return writers[kind](network, temporary, limit)


def _names(network: Network) -> np.ndarray:
    """Return what users know a vertex by: its only gene, else its name."""
    names = network.vertices["name"].to_numpy(object).copy()
    genes = network.genes.groupby("vertex")["gene"].agg(["first", "nunique"])
    single = genes[genes["nunique"] == 1]["first"]
    names[single.index.to_numpy(int)] = single.to_numpy()
    return names


def _assertions(network: Network) -> pd.DataFrame:
    e, names = network.edges, _names(network)
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


def _parquet(network: Network, path: Path, _: int) -> int:
    table = _assertions(network)
    table.to_parquet(path, compression="zstd", index=False)
    return len(table)


def _decoupler(network: Network, path: Path, _: int) -> int:
    table = _assertions(network)
    signed = table[(table["sign"] != 0) & table["directed"]]
    joined = signed.groupby(["source", "target"], sort=True).agg(
        least=("sign", "min"), most=("sign", "max")
    )
    agreed = joined[joined["least"] == joined["most"]].reset_index()
    out = agreed.rename(columns={"most": "weight"})[["source", "target", "weight"]]
    out.to_csv(path, sep="\t", index=False)
    return len(out)


def _omnipath(network: Network, path: Path, _: int) -> int:
    e, n, names = network.edges, len(network.vertices), _names(network)
    swap = ~e.directed & (names[e.src] > names[e.dst])
    src, dst = np.where(swap, e.dst, e.src), np.where(swap, e.src, e.dst)
    groups = Groups((src.astype(np.int64) * n + dst) * 2 + e.directed, 2 * n * n)
    bits = groups.reduce(source_bits(e.source), np.bitwise_or)
    pair = groups.keys // 2
    out = pd.DataFrame(
        {
            "source": names[pair // max(n, 1)],
            "target": names[pair % max(n, 1)],
            "is_directed": groups.keys % 2 > 0,
            "is_stimulation": groups.reduce(e.sign > 0, np.logical_or),
            "is_inhibition": groups.reduce(e.sign < 0, np.logical_or),
            "sources": bit_names(bits, network.sources),
            "n_references": groups.reduce(e.refs, np.maximum),
        }
    )
    out.to_csv(path, sep="\t", index=False)
    return len(out)


def _graphml(network: Network, path: Path, limit: int) -> int:
    import networkx as nx

    index, n = network.index, len(network.vertices)
    if len(index.keys) > limit:
        raise InputError(
            "--format graphml",
            f"{len(index.keys):,} edges are more than {limit:,}",
            "export a view (--source, --min-score, --signed), or raise --limit",
        )
    names, labels = network.vertices["name"].to_numpy(object), network.vertices["label"]
    genes = network.genes.groupby("vertex")["gene"].agg(";".join).to_dict()
    graph = nx.DiGraph()
    src, dst = index.keys // n, index.keys % n
    kinds = network.vertices["species_type"].to_numpy(object)
    for v in np.unique(np.concatenate([src, dst])):
        node = {"label": str(labels[v]), "species_type": str(kinds[v])}
        graph.add_node(names[v], **node, genes=genes.get(v, ""))
    sources = bit_names(index.sources, network.sources)
    for i, (a, b) in enumerate(zip(src, dst, strict=True)):
        said: dict[str, object] = {
            "sources": sources[i],
            "sign": {POSITIVE: 1, NEGATIVE: -1}.get(int(index.sign[i]), 0),
        }
        if not np.isnan(index.score[i]):
            said["score"] = float(index.score[i])
        graph.add_edge(names[a], names[b], **said)
    with path.open("wb") as handle:
        nx.write_graphml(graph, handle)
    return graph.number_of_edges()

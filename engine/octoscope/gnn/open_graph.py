"""Opens a graph of any kind, and tells whether a checkpoint was made for it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from octoscope.errors import InputError, reads, warn
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.graph import SPLITS, GnnGraph
from octoscope.gnn.graph_folder import read_graph
from octoscope.gnn.network_graph import read_network_graph
from octoscope.gnn.store_graph import read_store_graph
from octoscope.gnn.structural_features import is_known

_FIX = "give the graph that the checkpoint was trained on"

_PARTS = {"names": "vertex names", "x": "vertex features", "edge_attr": "edge features"}


def open_graph(
    path: str | Path, checkpoint: Checkpoint | None = None, data: str | None = None
) -> GnnGraph:
    """Open a folder of ``octoscope gnn graph``, a napistu-torch store, or an Octopus directory.

    Parameters
    ----------
    checkpoint
        Where a store holds several data, the one that fits it is taken; a graph that does not fit
        is refused.
    data
        Name of the data of a store.

    Raises
    ------
    InputError
        If nothing of the kind is there, it is damaged, or does not fit the checkpoint.
    """
    graph, _ = open_with_identifiers(path, checkpoint, data)
    if checkpoint is not None:
        problems = misfits(checkpoint, graph)
        if problems:
            raise InputError(str(path), f"is not the graph of the checkpoint: {problems[0]}", _FIX)
    return graph


@reads("get the graph again, or make it again")
def open_with_identifiers(
    path: str | Path, checkpoint: Checkpoint | None = None, data: str | None = None
) -> tuple[GnnGraph, pd.DataFrame | None]:
    """Open as :func:`open_graph` without the comparison; with identifiers where they were read."""
    folder = Path(path).expanduser()
    if str(path) == "demo" or (folder / "octopus.json").exists():
        return read_network_graph(path)
    if (folder / "registry.json").exists():
        features = checkpoint.encoder.in_channels if checkpoint else None
        relations = checkpoint.head.n_relations if checkpoint else 0
        return read_store_graph(folder, data, features, relations)
    if (folder / "graph.json").exists():
        return read_graph(folder), None
    what = (
        "holds no graph.json, registry.json or octopus.json"
        if folder.exists()
        else "does not exist"
    )
    raise InputError(
        str(path), what,
        "give a folder of `octoscope gnn graph`, a napistu-torch store, or an Octopus directory",
    )  # fmt: skip


def misfits(checkpoint: Checkpoint, graph: GnnGraph) -> list[str]:
    """Return why a graph is not the one of a checkpoint, one line each; empty if nothing differs.

    Compared is what the checkpoint states: numbers of vertices, edges, features and edges of each
    split, names of features and relations, the masks of the splits (SHA-256), and digests of names,
    features and edges.
    """
    about, out = checkpoint.data, []
    edge_features = 0 if graph.edge_attr is None else int(graph.edge_attr.shape[1])
    pairs = [
        ("vertices", about.get("num_nodes"), graph.n_vertices),
        ("edges", about.get("num_edges"), len(graph.src)),
        ("vertex features", checkpoint.encoder.in_channels, int(graph.x.shape[1])),
    ]
    if checkpoint.encoder.edge:
        pairs.append(("edge features", checkpoint.encoder.edge_channels, edge_features))
    out += [f"{expected} {what} expected, {actual} found" for what, expected, actual in pairs
            if expected is not None and str(expected) != str(actual)]  # fmt: skip
    named = about.get("relation_type_labels") or about.get("relations")
    if named is not None and graph.relations and tuple(named) != graph.relations:
        odd = sorted(set(map(str, named)) ^ set(graph.relations))
        out.append(f"other relations ({odd[0] if odd else 'in another order'})")
    out += _other_columns(checkpoint, graph)
    sizes = graph.split_sizes
    for split in SPLITS[1:]:
        size, n_edges = about.get(f"num_{split}_edges"), sizes.get(split)
        if size is not None and n_edges is not None and str(size) != str(n_edges):
            out.append(f"{size} {split} edges expected, {n_edges} found")
        expected, actual = about.get(f"{split}_mask_hash"), graph.mask_digest(split)
        if expected and actual and expected != actual:
            out.append(f"another {split} split (SHA-256 of the mask differs)")
    stated = checkpoint.head.n_relations
    if named is None and stated and graph.relations and len(graph.relations) != stated:
        out.append(f"{stated} relations expected, {len(graph.relations)} found")
    digests = about.get("digests")
    for part, expected in digests.items() if isinstance(digests, dict) else ():
        if part in graph.digests and graph.digests[part] != expected:
            out.append(f"other {part} (SHA-256 differs)")
    return out


def _other_columns(checkpoint: Checkpoint, graph: GnnGraph) -> list[str]:
    """Return a line for features of vertices or edges that have other names, or another order."""
    ends = [("vertex", graph.vertex_features)]
    if checkpoint.encoder.edge:  # others never read the features of edges
        ends.append(("edge", graph.edge_features))
    out = []
    for what, actual in ends:
        stated = checkpoint.data.get(f"{what}_feature_names")
        expected = tuple(map(str, stated)) if isinstance(stated, list | tuple) else ()
        if expected and actual and expected != actual:
            odd = sorted(set(expected) ^ set(actual))
            out.append(f"other {what} features ({odd[0] if odd else 'in another order'})")
    return out


def not_compared(checkpoint: Checkpoint, graph: GnnGraph) -> list[str]:
    """Return parts of a graph of which the checkpoint does not say what they were.

    napistu-torch states no digest of vertex names, features or edges, and the hash of its masks
    depends on the number of edges and a seed alone: another graph of the same size, features and
    relations passes.
    """
    digests = checkpoint.data.get("digests")
    stated = digests if isinstance(digests, dict) else {}
    return [part for part in graph.digests if part not in stated and part != "genes"]


def warn_of_edges_in_features(graph: GnnGraph) -> None:
    """Warn where leaving an edge out of the messages does not leave out all of it."""
    if graph.edges_in_features and not is_known(graph):
        warn(
            f"{graph.made_from}: features of vertices are made of edges, but not of those that "
            "`octoscope gnn graph --structure` takes now, so they cannot be made without an edge: "
            "an edge that is left out of the messages still vouches for itself"
        )


def warn_of_not_compared(checkpoint: Checkpoint, graph: GnnGraph) -> None:
    """Warn where another graph of the same size would pass for the checkpoint's."""
    parts = [_PARTS.get(part, part) for part in not_compared(checkpoint, graph)]
    if parts:
        warn(
            f"{checkpoint.path}: the checkpoint does not say on which {', '.join(parts)} it was "
            "trained, so another graph of the same size would pass. `octoscope gnn convert "
            "CHECKPOINT FOLDER --graph GRAPH` writes one that says it"
        )

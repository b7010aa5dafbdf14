"""Names that users ask for: Ensembl genes, symbols, and whatever ids the network itself knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from octoscope.errors import InputError, warn
from octoscope.octopus.directory import read_table
from octoscope.octopus.gene_vertices import IDENTITY
from octoscope.octopus.identifiers import ONTOLOGIES, clean_identifier
from octoscope.octopus.network import Network

FEW = 0.1  # below this share of known names the user is warned

_OF_EDGES = ("pair_keys", "index", "degree")  # cached properties of a network


def with_names(network: Network, requested: Iterable[object]) -> tuple[Network, dict[str, int]]:
    """Return the network with further names of its vertices, so that look-ups answer to them.

    An Ensembl gene of the network stays what it is. Another name is looked for as a symbol, then
    as an identifier that says what a vertex is, then as an alias, the name and the label of a
    vertex. Identifiers are tried in the order of :data:`octoscope.octopus.identifiers.ONTOLOGIES`;
    versions, isoforms and a taxon in front are taken off. All vertices of the first kind
    that knows it count.

    Returns
    -------
    tuple
        The network, its ``genes`` with a row per found name and vertex (``how``: the kind), and
        kind -> number of distinct names, in falling number; names not found under "".
    """
    names = pd.unique(np.array([str(x) for x in requested if not _missing(x)], dtype=object))
    plain = [n for n, c in zip(names, network.gene_codes(names), strict=True) if c < 0]
    counts = {"ensembl_gene": len(names) - len(plain)}
    rows: list[tuple[str, int, str]] = []
    known = _known(network, plain) if plain else {}
    for name in plain:
        kind, vertices = _find(name, known)
        counts[kind] = counts.get(kind, 0) + 1
        rows += [(name, v, kind) for v in vertices]
    counts = dict(sorted(counts.items(), key=lambda item: -item[1]))
    if not rows:
        return network, counts
    more = pd.DataFrame(rows, columns=["gene", "vertex", "how"])
    named = replace(network, genes=pd.concat([network.genes, more], ignore_index=True))
    kept = {k: v for k, v in vars(network).items() if k in _OF_EDGES}
    vars(named).update(kept)  # what is already worked out does not depend on names
    return named, counts


def require_known(where: str, network: Network, counts: dict[str, int], example: str) -> str:
    """Say in one line as what the asked names were read; warn if under one in ten is known.

    Parameters
    ----------
    where
        File that names them.
    counts
        Of :func:`with_names`.
    example
        One of the names.

    Raises
    ------
    InputError
        If the network knows none of them.
    """
    total = sum(counts.values())
    n_known = total - counts.get("", 0)
    own = next(iter(network.genes["gene"]), None) or next(iter(network.vertices["name"]), "nothing")
    problem = f"the network knows {n_known:,} of {total:,} names, such as {example!r}"
    fix = (f"give ids that it has, such as {str(own)!r}: Ensembl genes, symbols, UniProt or Entrez "
           "ids of its organism, or check --columns")  # fmt: skip
    if total and not n_known:
        raise InputError(where, problem, fix)
    if n_known < FEW * total:
        warn(f"{where}: {problem}; {fix}")
    kinds = ", ".join(f"{n:,} as {k}" for k, n in counts.items() if k and n)
    return f"{n_known:,} of {total:,} names known: {kinds}" if total else "no names"


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def _known(network: Network, names: list[str]) -> dict[str, dict[str, list[int]]]:
    """Return kind -> name -> vertices, of the names that may be meant."""
    candidates = {x for n in names for x in (n, *(c for _, c in _cleaned(n)))}
    out: dict[str, dict[str, list[int]]] = {}
    table = network.identifiers
    folder = network.folder
    if table is None and folder is not None and (folder / "identifiers.parquet").is_file():
        table = read_table(folder, "identifiers").to_pandas()
    if table is not None:
        table = table[table["identifier"].isin(candidates)].astype({"ontology": str, "bqb": str})
        named = table["ontology"].isin(["symbol", "alias"])
        table = table[table["bqb"].isin(IDENTITY) | named]
        for ontology, part in table.groupby("ontology", sort=True):
            out[str(ontology)] = _vertices(part["identifier"], part["vertex"])
    for kind, column in (("vertex name", "name"), ("label", "label")):
        part = network.vertices[network.vertices[column].isin(candidates)]
        out[kind] = _vertices(part[column], part["vertex"])
    order = {k: i for i, k in enumerate(ONTOLOGIES)}
    last = {"vertex name": len(order) + 1, "label": len(order) + 2}
    rank = {k: order.get(k, last.get(k, len(order))) for k in out}
    return {k: out[k] for k in sorted(out, key=lambda k: (rank[k], k))}


def _vertices(names: pd.Series[str], vertices: pd.Series[int]) -> dict[str, list[int]]:
    by_name: dict[str, list[int]] = {}
    for name, vertex in zip(names, vertices, strict=True):
        by_name.setdefault(str(name), []).append(int(vertex))
    return {n: sorted(set(v)) for n, v in by_name.items()}


def _cleaned(name: str) -> list[tuple[str, str]]:
    kinds = [(o, clean_identifier(o, name)) for o in ONTOLOGIES]
    return [(o, c) for o, c in kinds if c]


def _find(name: str, known: dict[str, dict[str, list[int]]]) -> tuple[str, list[int]]:
    cleaned = dict(_cleaned(name))
    for kind, vertices in known.items():
        form = cleaned.get(kind)
        at = vertices.get(name) or (vertices.get(form) if form else None)
        if at:
            return kind, at
    return "", []

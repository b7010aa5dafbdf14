"""A run's consensus networks in the formats of other tools; no sign is invented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from octoscope.errors import InputError
from octoscope.output_files import new_file
from octoscope.results.run_results import Results

GRAPHML_EDGES = 200_000  # what Cytoscape and igraph still open comfortably
# of a consensus network, beside the score; a model's own pairs have none of them
_PAIR_COLUMNS = ("n_groups", "n_models", "score_half0", "score_half1", "specificity")
_SUFFIXES = {".parquet": "parquet", ".graphml": "graphml", ".tsv": "omnipath", ".h5ad": "anndata"}


def kind_of(path: Path, kind: str | None) -> str:
    """Return the format asked for, or that of the file's suffix.

    Raises
    ------
    InputError
        If the suffix says nothing, or there is no such format.
    """
    chosen = kind or _SUFFIXES.get(path.suffix.lower())
    if chosen not in WRITERS:
        problem = f"{path.suffix!r} says no format" if kind is None else f"{kind!r} is unknown"
        raise InputError("kind", problem, f"choose of {', '.join(WRITERS)}")
    return chosen


def consensus_network(
    results: Results,
    *,
    category: str | None,
    gene_set: str | None,
    view: str | None,
    model: str | None = None,
    min_groups: int = 1,
    top: int | None = None,
) -> pd.DataFrame:
    """Return the network of one gene set and view of a finished run, strongest pairs first.

    Parameters
    ----------
    category
        None: all, each with its own pairs.
    gene_set, view
        None: the first that there is.
    model
        One model's top pairs over all its layers, instead of the consensus of all.
    min_groups
        Model groups that must have a pair among their strongest.
    top
        Pairs per category, at most.

    Raises
    ------
    InputError
        If the run has no such category, gene set, view or model.
    """
    plan, tables = results.plan, results.tables
    names = [c.name for c in plan.categories]
    _one_of("category", category, names)
    _one_of("model", model, [m.name for m in plan.checkpoints])
    if plan.compare is None:
        raise InputError(results.at("config.yaml"), "compare: null", "run again with comparisons")
    if model is None:
        paths = [f"consensus/c{c:04d}" for c in range(len(names))]
    else:
        paths = [f"consensus/{model}"]
    frames = [tables[p] for p in paths if p in tables]
    if not frames:
        fix = "declare a shared gene set"
        if not plan.compare.consensus:
            fix = "run again with compare.consensus: true"
        elif model is None and len(plan.checkpoints) == 1:
            fix = f"a consensus is of several models; write --model {plan.checkpoints[0].name}"
        raise InputError(results.url, "has no consensus network", fix)
    table = pd.concat(frames, ignore_index=True)
    if model is not None:
        table = table[table["part"] == "total"].rename(columns={"value": "score"})
    for column, requested in (("gene_set", gene_set), ("view", view)):
        known = list(dict.fromkeys(table[column]))
        _one_of(column, requested, known)
        table = table[table[column] == (requested or known[0])]
    if category is not None:
        table = table[table["category"] == category]
    if model is None:
        table = table[table["n_groups"] >= min_groups]
    if top is not None:
        table = table.groupby("category", sort=False).head(top)
    return table.reset_index(drop=True)


def _one_of(what: str, requested: str | None, known: list[str]) -> None:
    if requested is not None and requested not in known:
        raise InputError(what, f"{requested!r} is not in this run", f"choose of {', '.join(known)}")


def export(network: pd.DataFrame, path: Path, kind: str, *, force: bool = False) -> int:
    """Write a network; returns the number of its edges.

    Parameters
    ----------
    kind
        ``parquet`` (every column), ``graphml`` (directed, one category; opens in Cytoscape, igraph
        and networkx), ``omnipath`` (tab-separated, OmniPath's column names; no stimulation and no
        inhibition is claimed; support, scores of the halves and specificity follow),
        ``decoupler`` (source and target of an unweighted network: decoupler reads a weight's sign
        as the sign of regulation, which attention has not), ``anndata`` (h5ad with the genes as
        var and, in ``varp``, the scores of each category under its name, support, scores of the
        halves and specificity under ``<category>.<what>``).
    force
        Replace a file that is there.

    Raises
    ------
    InputError
        If the file may not be written (:func:`octoscope.output_files.require_new`), or GraphML
        would hold several categories or too many edges.
    """
    with new_file(path, force=force) as temporary:
        return WRITERS[kind](network, temporary)


def _parquet(network: pd.DataFrame, path: Path) -> int:
    network.to_parquet(path, compression="zstd", index=False)
    return len(network)


def _graphml(network: pd.DataFrame, path: Path) -> int:
    import networkx as nx

    if network["category"].nunique() > 1:
        raise InputError("--format graphml", "holds one network", "name one with --category")
    if len(network) > GRAPHML_EDGES:
        raise InputError(
            "--format graphml", f"{len(network):,} edges are more than {GRAPHML_EDGES:,}",
            "export fewer: --top, --min-groups",
        )  # fmt: skip
    graph = nx.DiGraph()
    for end in ("query", "key"):
        for gene, symbol in zip(network[end], network[f"{end}_symbol"], strict=True):
            graph.add_node(gene, label=str(symbol))
    columns = [
        c for c in network.columns if c not in ("query", "key", "query_symbol", "key_symbol")
    ]
    for row in network.to_dict("records"):
        known = {c: _plain(row[c]) for c in columns if not pd.isna(row[c])}
        graph.add_edge(row["query"], row["key"], **known)
    nx.write_graphml(graph, path)
    return graph.number_of_edges()


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _omnipath(network: pd.DataFrame, path: Path) -> int:
    table = pd.DataFrame(
        {
            "source": network["query"],
            "target": network["key"],
            "source_genesymbol": network["query_symbol"],
            "target_genesymbol": network["key_symbol"],
            "is_directed": 1,
            "is_stimulation": 0,
            "is_inhibition": 0,
            "sources": "Octoscope attention: " + network["category"],
            "score": network["score"],
            **{x: network[x] for x in (*_PAIR_COLUMNS, "in_network") if x in network},
        }
    )
    table.to_csv(path, sep="\t", index=False)
    return len(table)


def _decoupler(network: pd.DataFrame, path: Path) -> int:
    table = network[["query_symbol", "key_symbol"]].drop_duplicates()
    table.columns = pd.Index(["source", "target"])
    table.to_csv(path, sep="\t", index=False)
    return len(table)


def _anndata(network: pd.DataFrame, path: Path) -> int:
    import anndata as ad

    pairs = network[["query", "key"]].to_numpy(object)
    genes = np.unique(pairs.ravel().astype(str))
    at = {gene: i for i, gene in enumerate(genes)}
    symbols: dict[str, str] = {}
    for end in ("query", "key"):
        symbols |= dict(zip(network[end], network[f"{end}_symbol"], strict=True))
    var = pd.DataFrame({"feature_name": [symbols[g] for g in genes]}, index=genes)
    network_data = ad.AnnData(var=var)
    columns = [x for x in _PAIR_COLUMNS if x in network]
    names = [
        name
        for c in dict.fromkeys(network["category"])
        for name in (_key(c), *(f"{_key(c)}.{x}" for x in columns))
    ]
    if len(set(names)) < len(names):
        raise InputError(
            str(path), "two categories would have the same name in varp, where / is not allowed",
            "export one --category at a time",
        )  # fmt: skip
    for category, part in network.groupby("category", sort=False):
        positions = ([at[g] for g in part["query"]], [at[g] for g in part["key"]])
        for what in ("score", *columns):
            name = _key(category) if what == "score" else f"{_key(category)}.{what}"
            network_data.varp[name] = sparse.csr_matrix(
                (part[what].to_numpy(np.float32), positions), shape=(len(genes), len(genes))
            )
    network_data.uns["octoscope"] = {
        "direction": "query (row) to key (column)",
        "gene_set": str(network["gene_set"].iloc[0]) if len(network) else "",
        "view": str(network["view"].iloc[0]) if len(network) else "",
    }
    network_data.write_h5ad(path)
    return len(network)


def _key(category: object) -> str:
    return str(category).replace("/", "_")


WRITERS: dict[str, Callable[[pd.DataFrame, Path], int]] = {
    "parquet": _parquet,
    "graphml": _graphml,
    "omnipath": _omnipath,
    "decoupler": _decoupler,
    "anndata": _anndata,
}

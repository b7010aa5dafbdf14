"""Data of the gene search: the top pairs of every matrix, as columns for the page's script."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from octoscope.errors import InputError
from octoscope.octopus.lookups import describe_genes
from octoscope.octopus.network import Network
from octoscope.octopus.network_views import open_view
from octoscope.report.embedded import block
from octoscope.report.page_parts import is_of_many
from octoscope.report.rows import chosen
from octoscope.results.model_findings import shown_as
from octoscope.results.run_results import Results
from octoscope.run_plan.values import COEXPRESSION, ModelPlan

MOST = 400_000  # pairs that a page holds: about 2.5 MB
MOST_OF_MANY = 50_000  # the same on a page of many models and categories: below 10 MB
_MATRIX = ["model", "category", "layer", "gene_set", "view"]
_COEXPRESSION = "quantile_" + COEXPRESSION  # start of the columns of the consensus networks


def gene_search(
    results: Results, gene_set: str, view: str, model: str | None = None
) -> tuple[Markup, str]:
    """Return the element that holds top pairs for the search of a gene, and which pairs it holds.

    It holds those of a run, or of a model. All gene sets and views are held if they are at most
    ``MOST`` pairs, else those that the page shows, else the best-ranked pairs of each matrix of
    these. A page of a run of many models and categories holds ``MOST_OF_MANY``.
    """
    plan = results.plan
    models = [
        m for m in plan.models
        if f"topk/{m.name}" in results.tables and model in (None, m.name)
    ]  # fmt: skip
    most = MOST_OF_MANY if model is None and is_of_many(plan) else MOST
    parts, n_all, left_out = _within(results, models, gene_set, view, most)
    genes = _genes(models)
    at = pd.Index(list(genes))
    pairs = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_MATRIX)
    data: dict[str, Any] = {
        "genes": list(genes.items()),
        "models": {m.name: [int(i) for i in at.get_indexer(pd.Index(m.axis))] for m in models},
        "correlations": [m.name for m in models if m.family == COEXPRESSION],
        "left_out": left_out,
        "top_k": plan.top_k,
    }
    if len(pairs):
        groups = pairs.groupby(_MATRIX, sort=False)
        labels, sources, edges = _edges(results, pairs)
        correlated, name = _coexpression(results, pairs)
        data |= {
            "matrices": pairs[_MATRIX].drop_duplicates().to_numpy(object).tolist(),
            "sizes": groups.size().tolist(),
            "query": at.get_indexer(pd.Index(pairs["query"])).tolist(),
            "key": at.get_indexer(pd.Index(pairs["key"])).tolist(),
            "rank": pairs["rank"].tolist(),
            "cells": [None if pd.isna(n) else int(n) for n in pairs["cells"]],
            "value": _short(pairs["value"]),
            "edge": edges.tolist(),
            "edges": labels,
            "sources": sources,
            "coexpression": correlated,
            "coexpression_name": name,
        }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    whole = f"Here are all {n_all:,} top pairs of this {'model' if model else 'run'}"
    compared = int(pairs["model"].isin(data["correlations"]).sum())
    whole += f", of which {compared:,} are of co-expression." if compared else "."
    return block(text, id="gene-data"), left_out or whole


def _within(
    results: Results, models: list[ModelPlan], gene_set: str, view: str, limit: int
) -> tuple[list[pd.DataFrame], int, str]:
    """Return the pairs that the page can hold, by model, how many there are, and what it lacks."""
    columns = [*_MATRIX, "query", "key", "rank", "value", "cells", "in_network"]

    def read(**shown: str) -> list[pd.DataFrame]:
        parts = []
        for m in models:
            of = dict(zip(shown, shown_as(m, *shown.values()), strict=True)) if shown else {}
            top = chosen(results.topk(m.name), part="total", **of)
            parts.append(top[[c for c in columns if c in top]].sort_values(
                [*_MATRIX[1:], "rank"], kind="stable"
            ))  # fmt: skip
        return parts

    parts = read()
    n_all = sum(map(len, parts))
    if n_all <= limit:
        return parts, n_all, ""
    parts = read(gene_set=gene_set, view=view)
    which = f"those of gene set {gene_set} and view {view}"
    if sum(map(len, parts)) > limit:
        best = limit // sum(len(p.drop_duplicates(_MATRIX)) for p in parts)
        parts = [p[p["rank"] <= best] for p in parts]
        which += f", of rank {best:,} or better in each list"
    n_shown = sum(map(len, parts))
    left_out = (
        f"This page holds {n_shown:,} of {n_all:,} top pairs: {which}. All of them are in the "
    )
    return parts, n_all, left_out + "files topk/ of the run."


def _genes(models: list[ModelPlan]) -> dict[str, str]:
    """Return every gene that a model ranks, with its symbol."""
    return {g: s or g for m in models for g, s in zip(m.axis, m.symbols, strict=True)}


def _short(values: pd.Series) -> list[float | None]:
    """Return numbers to three significant digits; unknown is None."""
    return [None if np.isnan(v) else float(f"{v:.3g}") for v in values.to_numpy(float)]


def _network(results: Results) -> Network | None:
    """Return the network that the run used, if it can be read where the page is made."""
    config = results.config.network
    if config is None:
        return None
    try:
        return open_view(config.path, config.sources, config.independent)
    except (InputError, OSError):
        return None


def _edges(results: Results, pairs: pd.DataFrame) -> tuple[list[str], str, np.ndarray]:
    """Return labels, where the sources of edges come from, and the label of each pair.

    The tables of the run say whether there is an edge; the network names its sources.
    """
    if "in_network" not in pairs:
        return ["–"], "The run compares with no network.", np.zeros(len(pairs), int)
    known = pairs["in_network"].astype("boolean")
    text = pd.Series("–", index=pairs.index, dtype=object)
    text[known.fillna(False).to_numpy(bool)] = "yes"
    text[(~known).fillna(False).to_numpy(bool)] = "no"
    network = _network(results)
    if network is None:
        origin = (
            "Sources of edges are not known: the page was made where the network cannot be read."
        )
    else:
        origin = "An edge of either direction counts; its sources are named."
        edges = pairs.loc[text == "yes", ["query", "key"]].drop_duplicates()
        a, b = edges["query"].to_numpy(object), edges["key"].to_numpy(object)
        names = [describe_genes(network, x, y)["sources"].astype(str) for x, y in ((a, b), (b, a))]
        both = [
            ", ".join(dict.fromkeys(s for s in f"{x};{y}".split(";") if s)) or "yes"
            for x, y in zip(*names, strict=True)
        ]
        of = dict(zip(zip(a, b, strict=True), both, strict=True))
        here = text == "yes"
        ends = zip(pairs.loc[here, "query"], pairs.loc[here, "key"], strict=True)
        text[here] = np.array([of[pair] for pair in ends], dtype=object)
    codes, labels = pd.factorize(text)
    return [str(x) for x in labels], origin, codes


def _coexpression(results: Results, pairs: pd.DataFrame) -> tuple[list[float | None], str]:
    """Return the quantile of each pair in co-expression, where a consensus network has it."""
    keys = ["category", "gene_set", "view", "query", "key"]
    tables = [
        results.consensus(c.name)
        for i, c in enumerate(results.plan.categories)
        if f"consensus/c{i:04d}" in results.tables
    ]
    names = [c for t in tables for c in t.columns if c.startswith(_COEXPRESSION)]
    if not names:
        return [], ""
    known = pd.concat([t[[*keys, names[0]]] for t in tables if names[0] in t], ignore_index=True)
    joined = pairs[keys].merge(known, on=keys, how="left")
    return _short(joined[names[0]]), names[0].removeprefix("quantile_")

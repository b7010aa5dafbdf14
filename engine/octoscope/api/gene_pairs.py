"""Every top pair of one gene, with the sources of its edge in the network."""

from __future__ import annotations

import pandas as pd

from octoscope.api.network import Network
from octoscope.results.run_tables import RunTables
from octoscope.run_plan.values import Plan

_GENE_COLUMNS = (
    "model", "category", "layer", "gene_set", "view", "direction", "partner", "partner_symbol",
    "value", "rank", "cells", "in_network",
)  # fmt: skip


def pairs_of_gene(
    plan: Plan, tables: RunTables, network: Network | None, ensembl: str, view: str | None
) -> pd.DataFrame:
    """Return the table of ``Run.gene``.

    Parameters
    ----------
    ensembl
        Ensembl id of the gene.
    view
        A declared view; None: the first view of each model.
    """
    parts = []
    for m in plan.models:
        if ensembl not in set(m.axis) or f"topk/{m.name}" not in tables:
            continue
        shown = m.views[0] if view is None else view
        top = tables[f"topk/{m.name}"]
        top = top[(top["part"] == "total") & (top["view"] == shown)]
        for own, other, direction in (
            ("query", "key", "attends to"),
            ("key", "query", "attended to by"),
        ):
            rows = top[top[own] == ensembl]
            names = {other: "partner", f"{other}_symbol": "partner_symbol"}
            rows = rows.rename(columns=names).assign(direction=direction)
            parts.append(rows[[c for c in _GENE_COLUMNS if c in rows]])
    top_pairs = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if network is None or not len(top_pairs):
        return top_pairs.assign(sources=pd.array([pd.NA] * len(top_pairs), dtype="string"))
    pairs = pd.DataFrame({"a": ensembl, "b": top_pairs["partner"]}, dtype=object)
    forward = network.annotate(pairs, query="a", key="b")
    backward = network.annotate(pairs, query="b", key="a")
    forward_sources, backward_sources = (
        edges["sources"].astype("string").fillna("") for edges in (forward, backward)
    )
    either = forward_sources.where(forward_sources != "", backward_sources)
    known = forward["mapped"].to_numpy() & (either != "").to_numpy(bool)
    return top_pairs.assign(sources=either.where(known).to_numpy())

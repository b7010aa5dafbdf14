"""Worked example of an analysis: how many top pairs start at a matrix's most frequent query genes.

It reads the top pairs that every matrix left behind, and adds one table to the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from octoscope.analysis.label_tables import of_all_cells
from octoscope.analysis.registry import Analysis, Column, Context, Needs, Section, Table
from octoscope.run_plan import Block, Plan

HUBS_TABLE = "tables/hubs.parquet"
N_HUBS = 10

SCHEMA = Table(
    path=HUBS_TABLE,
    rows="one matrix: an attention variant, category and layer, in one gene set and view",
    columns=(
        Column("model", "string", "Name of the attention variant or co-expression entry"),
        Column("category", "string", "Category of cells"),
        Column("layer", "int64", "Layer; 0 for co-expression"),
        Column("gene_set", "string", "Declared gene set"),
        Column("view", "string", "View of the matrix"),
        Column("n_top", "int64", "Top pairs of the matrix, from all cells"),
        Column("n_query_genes", "int64", "Different query genes among them"),
        Column("hub_share", "float64", "Share of top pairs that start at a hub; null: no pairs"),
        Column("hubs", "string", "Symbols of the hubs, most frequent first, joined by a space"),
    ),
)


def outputs(plan: Plan, finished: Sequence[Block]) -> Mapping[str, Sequence[Block]]:
    """Return every table with the blocks that it is made from."""
    return {HUBS_TABLE: finished} if finished else {}


def compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Yield every table with its path."""
    plan = context.run.plan
    rows = []
    for model, category in context.finished:
        m = plan.model(model)
        for layer in m.layers:
            every_top = context.run.matrix_table("topk", model, category, layer)
            for gene_set in m.gene_sets:
                for view in m.views:
                    label = {
                        "model": model,
                        "category": plan.categories[category].name,
                        "layer": layer,
                        "gene_set": gene_set,
                        "view": view,
                    }
                    top = of_all_cells(every_top, gene_set, view)
                    rows.append(label | hubs(top["query"], m.symbols))
    yield HUBS_TABLE, pd.DataFrame(rows, columns=[c.name for c in SCHEMA.columns])


def hubs(query: pd.Series, symbols: Sequence[str]) -> dict[str, object]:
    """Describe the most frequent query genes of a list of pairs.

    Parameters
    ----------
    query
        [pairs] index of the query gene in ``symbols``.
    """
    counts = query.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    first = counts.head(N_HUBS)
    return {
        "n_top": len(query),
        "n_query_genes": len(counts),
        "hub_share": first.sum() / len(query) if len(query) else float("nan"),
        "hubs": " ".join(symbols[gene] for gene in first.index),
    }


HUBS = Analysis(
    name="hubs",
    needs=Needs(),  # the tables that each matrix left behind are always there
    outputs=outputs,
    compute=compute,
    tables=(SCHEMA,),
    sections=(
        Section(
            title="Hub genes",
            text=(
                f"The {N_HUBS} most frequent query genes of each matrix, and the share of its top "
                "pairs that start at one of them. The share is descriptive: it has no null."
            ),
            table=HUBS_TABLE,
            columns=("model", "category", "layer", "view", "n_top", "hub_share", "hubs"),
            sort_by=("hub_share", False),
        ),
    ),
)

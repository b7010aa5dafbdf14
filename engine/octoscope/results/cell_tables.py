"""Tables of what counted: cells that were used, cells that were refused, and genes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from octoscope.run_plan.values import Plan

CELLS, REFUSED = "tables/cells.parquet", "tables/refused.parquet"
VOCABULARY_COUNTS = "tables/vocabulary_counts.parquet"


def cells_table(plan: Plan, provenance: dict[str, Any]) -> pd.DataFrame:
    """Return how many cells of each model and category counted.

    Parameters
    ----------
    provenance
        Content of ``run.json``.

    Returns
    -------
    DataFrame
        model, category, selected, used, refused, min_cells (that a pair needs), tokens; null
        where they are not known, as of imported runs.
    """
    needed = {c.name: c.min_cells for c in plan.categories}
    rows = [
        {x: c[x] for x in ("model", "category", "selected", "used")}
        | {
            "refused": None if c["used"] is None else len(c["refused"]),
            "min_cells": needed[c["category"]],
            "tokens": c["tokens"],
        }
        for c in provenance["cells"]
    ]
    table = pd.DataFrame(rows)
    unknown = [name for name in table if table[name].isna().any()]
    return table.astype(dict.fromkeys(unknown, "Int64"))


def refused_table(provenance: dict[str, Any]) -> pd.DataFrame:
    """Return the cells that a model refused: model, category, cell, why (all strings)."""
    rows = [
        {"model": c["model"], "category": c["category"], "cell": r["cell"], "why": r["why"]}
        for c in provenance["cells"]
        for r in c["refused"]
    ]
    return pd.DataFrame(rows, columns=["model", "category", "cell", "why"]).astype("string")


def vocabulary_counts(vocabulary: pd.DataFrame) -> pd.DataFrame:
    """Return how many genes of each model were matched, renamed, merged or dropped.

    Parameters
    ----------
    vocabulary
        The table of this name.

    Returns
    -------
    DataFrame
        model (null: in the atlas itself, before any model), what, n_genes; in the order of the
        table.
    """
    groups = vocabulary.groupby(["model", "what"], sort=False, dropna=False)
    return groups.size().rename("n_genes").reset_index()

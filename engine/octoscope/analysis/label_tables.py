"""Small operations on tables that several analyses share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from octoscope.run_plan.values import ModelPlan


def labelled(frame: pd.DataFrame, label: dict[str, Any]) -> pd.DataFrame:
    """Return a table with leading columns of one value each."""
    return pd.concat([pd.DataFrame(label, index=frame.index), frame], axis=1)


def name_genes(frame: pd.DataFrame, m: ModelPlan) -> pd.DataFrame:
    """Replace axis indices in query, key and gene columns by Ensembl ids, and add symbols."""
    ids, names = np.array(m.axis, dtype=object), np.array(m.symbols, dtype=object)
    for column in ("query", "key", "gene"):
        if column in frame:
            at = frame[column].to_numpy()
            frame = frame.assign(**{column: ids[at]})
            frame.insert(list(frame.columns).index(column) + 1, f"{column}_symbol", names[at])
    return frame


def of_all_cells(top: pd.DataFrame, gene_set: str, view: str) -> pd.DataFrame:
    """Return the top pairs of a gene set and view from both halves together."""
    return top[(top["gene_set"] == gene_set) & (top["view"] == view) & (top["part"] == "total")]

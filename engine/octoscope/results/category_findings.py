"""What a run found in each category, one row per model: the numbers that a first look needs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from octoscope.analysis.controlled.verdict_names import COUNTED_AS
from octoscope.results.model_findings import matrix_summary, shown_as
from octoscope.results.run_results import Results
from octoscope.results.verdict_tables import summary, why_no_verdict
from octoscope.run_plan.values import COEXPRESSION

_OF = ["query_model", "category", "gene_set", "query_view"]
_CLOSEST = (
    "eval_model", "query_layer", "eval_layer", "k", "n_pairs", "median_quantile", "low", "high",
    "null_low", "null_high", "q",
)  # fmt: skip


def category_findings(results: Results, gene_set: str, view: str) -> pd.DataFrame:
    """Return one row per category and model with finished matrices.

    Parameters
    ----------
    gene_set, view
        Declared ones; a model without them is summarised in its first.

    Returns
    -------
    DataFrame
        ``category``, ``n_cells`` (that counted; null: not known), the columns of
        :func:`octoscope.results.model_findings.findings` that are of a model's own matrices, over
        the layers of that category; with prefix ``closest_`` the layer of another checkpoint that
        the strongest pairs of one of its layers agree with most, at the largest K of
        ``tables/agreement`` (the smallest median quantile of all layers: it was chosen); and the
        counts and ``sentence`` of ``tables/verdict_summary``. Null: the run does not have it.
    """
    if "stats" not in results.tables:
        return pd.DataFrame(columns=["category", "model", "attends"])
    used = results.tables["cells"].set_index(["model", "category"])["used"]
    verdicts, closest = _verdicts(results), _closest(results)
    rows = []
    for category in (c.name for c in results.plan.categories):
        for m in results.plan.models:
            shown = shown_as(m, gene_set, view)
            row = matrix_summary(results, m, *shown, category)
            if row:
                row |= {"n_cells": used.get((m.base, category))}
                row |= closest.get((m.name, category, *shown), _NOT_COMPARED)
                rows.append(row | verdicts.get((m.name, category), _NO_VERDICT))
    return pd.DataFrame(rows, dtype=object)


_NOT_COMPARED: dict[str, Any] = {f"closest_{c}": None for c in _CLOSEST}
_NO_VERDICT: dict[str, Any] = {**dict.fromkeys(COUNTED_AS), "sentence": None}


def _verdicts(results: Results) -> dict[tuple[str, str], dict[str, Any]]:
    if why_no_verdict(results) is not None:
        return {}
    columns = [*COUNTED_AS, "sentence"]
    table = summary(results).set_index(["model", "category"])[columns]
    return {
        (str(model), str(category)): {str(k): v for k, v in row.items()}
        for (model, category), row in zip(table.index, table.to_dict("records"), strict=True)
    }


def _closest(results: Results) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return the closest layer of another checkpoint by model, category, gene set and view.

    The table has a row per pair of layers, category, view and K: it is read through once.
    """
    if "agreement" not in results.tables:
        return {}
    t = results.tables["agreement"]
    t = t[t["comparison"] == "models"].dropna(subset=["median_quantile"])
    t = t[t["k"] == t.groupby(_OF, sort=False)["k"].transform("max")]
    attending = {m.name: m.base for m in results.plan.models if m.family != COEXPRESSION}
    query, other = t["query_model"].map(attending), t["eval_model"].map(attending)
    t = t[query.notna() & other.notna() & (query != other)]
    t = t.sort_values("median_quantile", kind="stable").drop_duplicates(_OF)
    return {
        tuple(row[c] for c in _OF): {f"closest_{c}": row[c] for c in _CLOSEST}
        for row in t.to_dict("records")
    }

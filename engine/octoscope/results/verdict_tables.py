"""The verdicts of a run; where it has none, why they cannot be told."""

from __future__ import annotations

import pandas as pd

from octoscope.analysis.controlled.verdict_names import CANNOT_TELL, COUNTED_AS
from octoscope.results.run_results import Results
from octoscope.run_plan.values import COEXPRESSION, ModelPlan

VERDICTS = "verdicts"
SUMMARY = "verdict_summary"


def why_no_verdict(results: Results) -> str | None:
    """Return what the run lacks for a verdict, with the fix; None: it has verdicts."""
    plan = results.plan
    if VERDICTS in results.tables and len(results.tables[VERDICTS]):
        return None
    if plan.atlas is None:
        return _IMPORTED
    if plan.network is None:
        return "the run compares with no network; add the section `network` and run again"
    if not any(m.family == COEXPRESSION for m in plan.models):
        return (
            "the run did not measure co-expression; set `coexpression: [pearson, spearman]` and "
            "run again"
        )
    if VERDICTS not in results.tables:
        return "a version without verdicts made the run; run again into a new directory"
    return _MISSING


_IMPORTED = (
    "the run was imported from mean residual streams, which hold no cells: co-expression, the "
    "expression level of genes and the reliability of halves are not known; run octoscope on the "
    "atlas and the model's checkpoint, with `coexpression: [pearson, spearman]`"
)
_MISSING = (
    "the run has no co-expression here that could be compared: it was quarantined, an earlier "
    "version measured it, or the gene sets have no genes in the network"
)


def _blocks(results: Results) -> list[tuple[ModelPlan, str]]:
    plan = results.plan
    attention = [m for m in plan.models if m.family != COEXPRESSION]
    return [(m, c.name) for m in attention for c in plan.categories]


def summary(results: Results) -> pd.DataFrame:
    """Return ``tables/verdict_summary``, with a row for every block of the plan."""
    table = results.tables[SUMMARY]
    known = set(zip(table["model"], table["category"], strict=True))
    missing = [
        {
            "model": m.name, "category": c, "n_layers": len(m.layers), "n_beyond": 0,
            "n_no_more": 0, "n_not_enriched": 0, "n_cannot_tell": len(m.layers),
            "sentence": f"{m.name}, {c}: cannot tell, because {_MISSING}.",
        }
        for m, c in _blocks(results)
        if (m.name, c) not in known
    ]  # fmt: skip
    return pd.concat([table, pd.DataFrame(missing)], ignore_index=True) if missing else table


def totals(results: Results) -> dict[str, int]:
    """Return how many (attention variant, category, layer) of the run have which verdict."""
    table = summary(results)
    return {text: int(table[name].sum()) for name, text in COUNTED_AS.items()}


def verdicts(results: Results) -> pd.DataFrame:
    """Return one row per attention variant, category and layer.

    Columns as ``tables/verdicts`` has them (docs/reference/tables.md). Where a block, or the run,
    lacks what a verdict needs, its rows have ``model``, ``category``, ``layer``, ``verdict``
    (``cannot tell``), ``reason`` and ``sentence`` alone.
    """
    why = why_no_verdict(results)
    table = pd.DataFrame() if why else results.tables[VERDICTS]
    known = set() if why else set(zip(table["model"], table["category"], strict=True))
    reason = why or _MISSING
    missing = [
        {
            "model": m.name, "category": c, "layer": layer, "verdict": CANNOT_TELL,
            "reason": reason,
            "sentence": f"{m.name}, layer {layer}, {c}: cannot tell, because {reason}.",
        }
        for m, c in _blocks(results)
        if (m.name, c) not in known
        for layer in m.layers
    ]  # fmt: skip
    return pd.concat([table, pd.DataFrame(missing)], ignore_index=True) if missing else table

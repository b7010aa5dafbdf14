"""The verdicts of a run; where it has none, why they cannot be told."""

from __future__ import annotations

import pandas as pd

from octoscope.results.run_results import Results
from octoscope.run_plan.values import COEXPRESSION

VERDICTS = "verdicts"
SUMMARY = "verdict_summary"


def why_no_verdict(results: Results) -> str | None:
    """Return what the run lacks for a verdict, with the fix; None: it has verdicts."""
    plan = results.plan
    if VERDICTS in results.tables and len(results.tables[VERDICTS]):
        return None
    if plan.network is None:
        return "the run compares with no network; add the section `network` and run again"
    if not any(m.family == COEXPRESSION for m in plan.models):
        return (
            "the run did not measure co-expression; set `coexpression: [pearson, spearman]` and "
            "run again"
        )
    return "no pairs of a matrix and of co-expression could be compared with the network"


def totals(results: Results) -> dict[str, int]:
    """Return how many layers of the run have which verdict; attention variants apart."""
    table = results.tables[SUMMARY]
    names = {
        "n_beyond": "beyond co-expression",
        "n_no_more": "no more than co-expression",
        "n_not_enriched": "not enriched beyond degree and expression",
        "n_cannot_tell": "cannot tell",
    }
    return {text: int(table[name].sum()) for name, text in names.items()}


def verdicts(results: Results) -> pd.DataFrame:
    """Return one row per attention variant, category and layer.

    Columns as ``tables/verdicts`` has them (docs/reference/tables.md); ``model``, ``category``,
    ``layer``, ``verdict``, ``reason`` and ``sentence`` alone where the run lacks what a verdict
    needs, and every verdict is then ``cannot tell``.
    """
    why = why_no_verdict(results)
    if why is None:
        return results.tables[VERDICTS]
    plan = results.plan
    return pd.DataFrame(
        [
            {
                "model": m.name, "category": c.name, "layer": layer, "verdict": "cannot tell",
                "reason": why,
                "sentence": f"{m.name}, layer {layer}, {c.name}: cannot tell, because {why}.",
            }
            for m in plan.models
            if m.family != COEXPRESSION
            for c in plan.categories
            for layer in m.layers
        ]
    )  # fmt: skip

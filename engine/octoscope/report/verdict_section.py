"""The verdict on the first screen, and the controlled overlap of each model."""

from __future__ import annotations

from typing import Any

from octoscope.report import figures
from octoscope.report.rows import chosen, records
from octoscope.results.run_results import Results
from octoscope.results.verdict_tables import summary, totals, why_no_verdict

NOTHING: dict[str, Any] = {
    "controlled": [], "controlled_figure": None, "comparators": [], "ladder": [],
}  # fmt: skip
_LIST = ["category", "layer", "control", "k"]  # columns that name a list of a model and view


def verdict(results: Results) -> dict[str, Any]:
    """Return the numbers of layers by verdict with a sentence each, or why there are none."""
    if "stats" not in results.tables:
        return {"why": "the run is incomplete", "rows": [], "totals": {}}
    why = why_no_verdict(results)
    if why is not None:
        return {"why": why, "rows": [], "totals": {}}
    return {"why": None, "rows": records(summary(results)), "totals": totals(results)}


def controlled(results: Results, model: str, gene_set: str, view: str) -> dict[str, Any]:
    """Return the controlled overlap of the longest list, under the control that explains most."""
    if "overlap_controlled" not in results.tables:
        return NOTHING
    of = chosen(results.tables["overlap_controlled"], model=model, gene_set=gene_set, view=view)
    of = of[of["headline"] & of["longest"]]
    if of.empty:
        return NOTHING
    ladder = chosen(results.tables["overlap_ladder"], model=model, gene_set=gene_set, view=view)
    fitted = "ratio_pairwise" in ladder  # not in runs of versions before it
    others = chosen(results.tables["overlap_comparators"], model=model, gene_set=gene_set)
    # of each category under the control of its first layer
    own = of.drop_duplicates("category")[["category", "control"]]
    others = others[others["longest"]].merge(own, on=["category", "control"])
    others = others[others["view"].isna() | (others["view"] == view)]
    return {
        "controlled": records(of),
        "controlled_figure": figures.odds_ratios(of, f"{model} odds ratios"),
        "comparators": records(others),
        "ladder": records(of[_LIST].merge(ladder, on=_LIST)) if fitted else [],
    }

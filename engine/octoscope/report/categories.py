"""The categories of a run, each with what was found of every model in it."""

from __future__ import annotations

from typing import Any

from octoscope.report.limits import number, totals
from octoscope.report.rows import count, figure, interval, p_text, records
from octoscope.results.category_findings import category_findings
from octoscope.results.model_findings import OVERLAP
from octoscope.results.run_results import Results

Row = dict[str, Any]


def categories(results: Results, gene_set: str, view: str) -> list[Row]:
    """Return what the template shows of each category: name, one sentence, rows of models."""
    table = category_findings(results, gene_set, view)
    return [
        {"name": name, "summary": _summary(rows), "rows": [_row(row) for row in rows]}
        for name, part in table.groupby("category", sort=False)
        if (rows := records(part))
    ]


def _summary(rows: list[Row]) -> str:
    """Return one sentence on a category."""
    attends = [row for row in rows if row["attends"]] or rows
    matrices, reliable, halves, enriched, tested = totals(
        attends, "n_matrices", "n_reliable", "n_halves", "n_enriched", "n_tested"
    )
    cells = {row["n_cells"] for row in attends if row["n_cells"] is not None}
    parts = []
    if cells:
        low, high = count(min(cells)), count(max(cells))
        parts.append(f"{low} cells" if low == high else f"{low} to {high} cells, by model")
    parts.append(number(matrices, "matrix", "matrices"))
    parts.append(f"{reliable:,} of {halves:,} repeat between halves")
    if tested:
        parts.append(f"{enriched:,} of {tested:,} have more network edges than the null")
    if any(row["n_beyond"] is not None for row in attends):
        parts.append(f"{totals(attends, 'n_beyond')[0]:,} beyond co-expression")
    return "; ".join(parts)


def _row(row: Row) -> Row:
    """Return the texts of one model in one category beside its numbers."""
    return row | {
        "chosen_by": "overlap" if row["strongest_by"] == OVERLAP else "reliability",
        "closest": _closest(row),
        "verdicts": _verdicts(row),
    }


def _closest(row: Row) -> str:
    a = {k.removeprefix("closest_"): v for k, v in row.items() if k.startswith("closest_")}
    if a["eval_model"] is None:
        return "not compared"
    return (
        f"layer {a['query_layer']} in {a['eval_model']}, layer {a['eval_layer']}: "
        f"{figure(a['median_quantile'])} (95 % {interval(a, 'low', 'high')}; null "
        f"{interval(a, 'null_low', 'null_high')}; q {p_text(a['q'])}; "
        f"{count(a['n_pairs'])} pairs)"
    )


def _verdicts(row: Row) -> str:
    if row["n_beyond"] is None:
        return "no verdict"
    return row["sentence"] or ""

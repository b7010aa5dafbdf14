"""What a run found of each model, in one row: the numbers that a first look needs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from octoscope.analysis.controlled.verdict_names import COUNTED_AS
from octoscope.results.run_results import Results
from octoscope.results.verdict_tables import summary, why_no_verdict
from octoscope.run_plan.gene_set_counts import SATURATED
from octoscope.run_plan.values import COEXPRESSION, ModelPlan

SIGNIFICANT = 0.05  # of q
OVERLAP, RELIABILITY = "overlap", "reliability"
_OVERLAP_COLUMNS = (
    "n_pairs", "n_edges", "edge_rate", "low", "high", "null_mean", "null_low", "null_high",
    "fold_over_null", "q",
)  # fmt: skip
_HALVES = (
    "half_pairs", "half_centred", "half_centred_low", "half_centred_high", "half_null_low",
    "half_null_high", "half_q",
)  # fmt: skip
_AGREEMENT = (
    "k", "eval_model", "n", "median_quantile", "smallest", "largest", "null_median",
    "n_significant", "best_category", "best_query_layer", "best_eval_layer", "best_n_pairs",
    "best_low", "best_high", "best_null_low", "best_null_high", "best_q",
)  # fmt: skip


def shown_as(m: ModelPlan, gene_set: str, view: str) -> tuple[str, str]:
    """Return the gene set and view in which a model is shown: those asked for, or its first."""
    own_set = gene_set if gene_set in m.gene_sets else next(iter(m.gene_sets))
    return own_set, view if view in m.views else m.views[0]


def findings(results: Results, gene_set: str, view: str) -> pd.DataFrame:
    """Return one row per attention variant and co-expression entry with finished matrices.

    The strongest matrix is the one with the smallest q of the overlap with the network, among equal
    ones that with the largest edge rate over its null. Without a network it is the one with the
    largest reliability. It was chosen among ``n_matrices``: its own interval does not know of that.

    Parameters
    ----------
    gene_set, view
        Declared ones; a model without them is summarised in its first.

    Returns
    -------
    DataFrame
        ``model``, ``attends`` (bool: an attention variant, no co-expression), ``gene_set``,
        ``view``, ``n_matrices``, ``n_saturated`` (matrices whose top pairs are more than a tenth of
        the eligible ones), ``strongest_by`` (``overlap`` or ``reliability``), ``category`` and
        ``layer`` of the strongest matrix; of it the columns of ``tables/overlap`` and the ``half_``
        columns of ``tables/stats``; ``n_tested`` and ``n_enriched`` (matrices whose overlap has a
        q, and one below 0.05), ``n_halves`` and ``n_reliable`` (the same of reliability),
        ``halves_median``, ``halves_smallest``, ``halves_largest``; of ``tables/model_pairs``, at
        the largest K, the closest other model with prefix ``agreement_``; ``n_beyond`` and the
        other counts of ``tables/verdict_summary``, and ``verdict``, the sentence of the category
        with the clearest one. Null: the run does not have it.
    """
    if "stats" not in results.tables:
        return pd.DataFrame(columns=["model", "attends"])
    rows = [_finding(results, m, *shown_as(m, gene_set, view)) for m in results.plan.models]
    # of object: what a row does not have stays None among whole numbers
    return pd.DataFrame([row for row in rows if row], dtype=object)


def _finding(results: Results, m: ModelPlan, gene_set: str, view: str) -> dict[str, Any]:
    row = matrix_summary(results, m, gene_set, view)
    if not row:
        return {}
    return row | _agreement(results, m, gene_set, view) | _verdict(results, m)


def matrix_summary(
    results: Results, m: ModelPlan, gene_set: str, view: str, category: str | None = None
) -> dict[str, Any]:
    """Return what :func:`findings` says of a model's own matrices, of all categories or of one.

    Empty where there is none.
    """
    tables = results.tables

    def of(name: str) -> pd.DataFrame:
        t = tables[name]
        t = t[(t["model"] == m.name) & (t["gene_set"] == gene_set) & (t["view"] == view)]
        return t if category is None else t[t["category"] == category]

    stats = of("stats")
    if stats.empty:
        return {}
    overlap = of("overlap") if "overlap" in tables else stats.head(0)
    known = overlap.dropna(subset=["fold_over_null"]) if "fold_over_null" in overlap else overlap
    by, first = RELIABILITY, stats.sort_values("half_centred", ascending=False).iloc[0]
    row: dict[str, Any] = {
        "model": m.name, "attends": m.family != COEXPRESSION, "gene_set": gene_set, "view": view,
        "n_matrices": len(stats), "n_saturated": int((stats["top_share"] > SATURATED).sum()),
        "n_tested": int(known["q"].notna().sum()) if len(known) else 0,
        "n_enriched": int((known["q"] < SIGNIFICANT).sum()) if len(known) else 0,
        **dict.fromkeys(_OVERLAP_COLUMNS),
    }  # fmt: skip
    if len(known):
        by = OVERLAP
        best = known.sort_values(["q", "fold_over_null"], ascending=[True, False]).iloc[0]
        row |= {c: best[c] for c in _OVERLAP_COLUMNS}
        same = (stats["category"] == best["category"]) & (stats["layer"] == best["layer"])
        first = stats[same].iloc[0]
    halves = stats["half_centred"].dropna()
    q = stats["half_q"] if "half_q" in stats else stats["half_p"]  # of runs before half_q
    row |= {"strongest_by": by, "category": first["category"], "layer": int(first["layer"])}
    row |= {c: first.get(c) for c in _HALVES}
    return row | {
        "n_halves": len(halves), "n_reliable": int((q < SIGNIFICANT).sum()),
        "halves_median": halves.median(), "halves_smallest": halves.min(),
        "halves_largest": halves.max(),
    }  # fmt: skip


def _agreement(results: Results, m: ModelPlan, gene_set: str, view: str) -> dict[str, Any]:
    """Return the row of the other model that the strongest pairs of this one agree with most."""
    nothing: dict[str, Any] = {f"agreement_{c}": None for c in _AGREEMENT}
    if "model_pairs" not in results.tables:
        return nothing
    t = results.tables["model_pairs"]
    t = t[(t["query_model"] == m.name) & (t["gene_set"] == gene_set) & (t["view"] == view)]
    t = t.dropna(subset=["median_quantile"])
    t = t[t["k"] == t["k"].max()].sort_values("median_quantile", kind="stable")
    return {f"agreement_{c}": t.iloc[0][c] for c in _AGREEMENT} if len(t) else nothing


def _verdict(results: Results, m: ModelPlan) -> dict[str, Any]:
    if m.family == COEXPRESSION or why_no_verdict(results) is not None:
        return {**dict.fromkeys(COUNTED_AS), "verdict": None}
    t = summary(results)
    t = t[t["model"] == m.name]
    order = t.sort_values(list(COUNTED_AS), ascending=False, kind="stable")
    clearest = order.iloc[0]["sentence"] if len(order) else None
    return {**{name: int(t[name].sum()) for name in COUNTED_AS}, "verdict": clearest}


def cells_used(results: Results) -> dict[str, int]:
    """Return the cells that counted, by checkpoint, over all categories."""
    used = results.tables["cells"].groupby("model", sort=False)["used"].sum()
    return {m.name: int(used.get(m.name, 0)) for m in results.plan.bases}


def genes_not_ranked(results: Results) -> pd.DataFrame:
    """Return one row per model and gene set with declared genes that the model does not rank.

    Returns
    -------
    DataFrame
        model, gene_set, n_ranked (genes of the set that are ranked), n_absent, genes (the absent
        ones, joined by a comma).
    """
    rows = [
        (m.name, name, len(positions), len(absent), ", ".join(absent))
        for m in results.plan.checkpoints
        for name, positions in m.gene_sets.items()
        if (absent := m.gene_sets_absent.get(name, []))
    ]
    return pd.DataFrame(rows, columns=["model", "gene_set", "n_ranked", "n_absent", "genes"])


def why_undecided(results: Results) -> pd.DataFrame:
    """Return why a verdict cannot be told: reason, n (attention variant, category and layer)."""
    if why_no_verdict(results) is not None:
        return pd.DataFrame(columns=["reason", "n"])
    reasons = results.tables["verdicts"]["reason"].dropna()
    return reasons.value_counts(sort=True).rename_axis("reason").rename("n").reset_index()

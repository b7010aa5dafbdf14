"""What the report says of comparisons: models, consensus, categories, estimators, heads."""

from __future__ import annotations

from typing import Any

import pandas as pd

from octoscope.analysis import summaries
from octoscope.plan.values import COEXPRESSION, ModelPlan, Plan
from octoscope.report import comparison_figures, figures
from octoscope.store.parquet import read_table
from octoscope.store.run_dir import RunRoot

_ROWS = 15
_DRAWN = 40  # pairs of a consensus network that are drawn


def models_together(root: RunRoot, plan: Plan, gene_set: str, view: str) -> dict[str, Any] | None:
    """Return the section that puts models beside each other; None where nothing is compared."""
    if plan.compare is None or not root.exists("tables/agreement.parquet"):
        return None

    def of(table: str) -> pd.DataFrame:
        name = f"tables/{table}.parquet"
        if not root.exists(name):
            return pd.DataFrame()
        t = read_table(root, name)
        return t[(t["gene_set"] == gene_set) & (t["view"] == view)]

    agreed = of("agreement")
    agreed = agreed[agreed["comparison"] == "models"]
    networks = _networks(root, plan, gene_set, view)
    contrasts, pools, as_one = (
        of(table).to_dict("records") for table in ("contrasts", "pools", "consensus_layers")
    )
    if agreed.empty and not (networks or contrasts or pools or as_one):
        return None
    k = max(plan.compare.k)
    known = [m.name for m in plan.checkpoints]
    compared = set(agreed["query_model"])
    names = [
        m.name
        for m in plan.checkpoints
        if m.name in compared or (not compared and gene_set in m.gene_sets)
    ]
    median = of("agreement_categories")
    median = median[(median["comparison"] == "models") & (median["k"] == k)]
    by_k = summaries.by_k(agreed, known)
    of_models = [{m.axis[i] for i in m.gene_sets[gene_set]} for m in map(plan.model, names)]
    return {
        "k": k,
        "alone": [
            f"{m.name} is its head {m.heads} alone"
            for m in plan.checkpoints
            if isinstance(m.heads, int) and m.n_heads > 1
        ],
        "n_genes": len(set.intersection(*of_models)) if of_models else 0,
        "n_models": len(names),
        "correlations": [m.name for m in plan.models if m.family == COEXPRESSION],
        "model_groups": [
            {"group": g, "models": [m for m in names if plan.model_groups[m] == g]}
            for g in dict.fromkeys(plan.model_groups[m] for m in names)
        ],
        "square": comparison_figures.agreement_square(median, "agreement of models")
        if len(median)
        else "",
        "by_k": comparison_figures.by_k(by_k, "agreement by K")
        if len(plan.compare.k) > 1 and len(by_k)
        else "",
        "by_k_rows": by_k.to_dict("records"),
        "as_one": as_one,
        "pairs": summaries.model_pairs(agreed[agreed["k"] == k], known).to_dict("records"),
        "gene_sets": read_table(root, "tables/gene_sets.parquet").to_dict("records"),
        "support": of("support").to_dict("records"),
        "contrasts": contrasts,
        "specific": _specific(of("specific")),
        "pools": pools,
        **_geometry(root),
        "networks": networks,
        "how": plan.compare.layers,
    }


def _networks(root: RunRoot, plan: Plan, gene_set: str, view: str) -> list[dict[str, Any]]:
    shown = []
    for c, category in enumerate(plan.categories):
        path = f"consensus/c{c:04d}.parquet"
        if not root.exists(path):
            continue
        t = read_table(root, path)
        t = t[(t["gene_set"] == gene_set) & (t["view"] == view)]
        correlated = [x for x in t.columns if x.startswith(f"quantile_{COEXPRESSION}")]
        rows = t.head(_ROWS).to_dict("records")
        for row in rows:
            row["correlation"] = row.get(correlated[0]) if correlated else None
            row["edge"] = edge_text(row.get("in_network"))
        both = t["n_groups"] >= 2
        shown.append(
            {
                "category": category.name,
                "rows": rows,
                "n": len(t),
                "n_shared": int(both.sum()),
                "drawn": min(len(t), _DRAWN),
                "figure": comparison_figures.network(t.head(_DRAWN), f"network {category.name}")
                if len(t)
                else "",
            }
        )
    return shown


def _geometry(root: RunRoot) -> dict[str, Any]:
    """Return the figure of residual geometry (medians over categories) and its rows."""
    if not root.exists("tables/geometry.parquet"):
        return {"geometry": "", "geometry_rows": []}
    t = read_table(root, "tables/geometry.parquet")
    if "spearman" not in t or t.empty:
        return {"geometry": "", "geometry_rows": []}
    middle = summaries.over_categories("geometry", t)
    figure = comparison_figures.geometry_square(middle, "residual geometry")
    return {"geometry": figure, "geometry_rows": t.to_dict("records")}


def _specific(t: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the strongest category-specific pairs of each model and category."""
    if t.empty:
        return []
    shown = []
    for (model, category), part in t.groupby(["model", "category"], sort=False):
        rows = part[part["specific"].eq(True)]
        alone = int((part["closest_category"] == "").sum())
        shown.append(
            {"model": model, "category": category, "n": len(rows), "n_alone": alone,
             "rows": rows.head(_ROWS).to_dict("records")}
        )  # fmt: skip
    return shown


def edge_text(known: Any) -> str:
    """Say whether the network has an edge; – where it lacks a gene, or there is no network."""
    return "–" if known is None or pd.isna(known) else ("yes" if known else "no")


def of_layers(agreed: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return how a model's layers agree, of a table of agreement: over all of its own genes.

    Where models share all their genes these rows are among those of all models.
    """
    mine = agreed[(agreed["query_model"] == model) & (agreed["eval_model"] == model)]
    own, in_top_k = (mine[mine["comparison"] == kind] for kind in ("layers", "models"))
    if "category" in mine:  # which models there are may differ between categories
        return pd.concat([own, in_top_k[~in_top_k["category"].isin(own["category"])]])
    return own if len(own) else in_top_k


def of_model(root: RunRoot, plan: Plan, m: ModelPlan, gene_set: str, view: str) -> dict[str, Any]:
    """Return what comparisons say of one model: coherence, estimators, heads."""
    said: dict[str, Any] = {
        "coherence": "", "coherence_rows": [], "estimators": "", "heads": [], "layers": [],
    }  # fmt: skip
    if plan.compare is None or not root.exists("tables/agreement.parquet"):
        return said
    k = max(plan.compare.k)
    agreed = read_table(root, "tables/agreement.parquet")
    agreed = agreed[(agreed["gene_set"] == gene_set) & (agreed["view"] == view)]
    said["layers"] = of_layers(agreed, m.name).to_dict("records")
    agreed = agreed[agreed["k"] == k]
    coherent = read_table(root, "tables/coherence.parquet")
    if len(coherent):
        coherent = coherent[
            (coherent["model"] == m.name)
            & (coherent["gene_set"] == gene_set)
            & (coherent["view"] == view)
            & (coherent["k"] == k)
        ]
    if len(coherent):
        said |= {
            "coherence_rows": coherent.to_dict("records"),
            "coherence": figures.by_layer(
                coherent[coherent["left_out"] == ""],
                f"{m.name} coherence",
                value="coherence",
                ylabel="coherence",
            ),
        }
    estimators = agreed[
        (agreed["comparison"] == "estimators") & (agreed["query_model"] == m.name)
    ].rename(columns={"query_layer": "layer"})
    if len(estimators):
        several = estimators["eval_model"].nunique() > 1
        panel = estimators["category"] + (", " + estimators["eval_model"] if several else "")
        said["estimators"] = figures.by_layer(
            estimators.assign(category=panel),
            f"{m.name} estimators",
            value="median_quantile",
            ylabel="median quantile",
        )
        said["estimator_rows"] = estimators.to_dict("records")
    heads = summaries.heads(agreed)
    said["heads"] = heads[heads["query_model"] == m.name].to_dict("records")
    return said

"""Content of the report's comparisons: models, consensus, categories, estimators, heads."""

from __future__ import annotations

from typing import Any

import pandas as pd

from octoscope.report import comparison_figures, figures
from octoscope.report.rows import chosen, edge_text, records
from octoscope.results.run_results import Results
from octoscope.results.selections import layers_of_model
from octoscope.results.squares import agreement_squares, geometry_squares
from octoscope.run_plan.values import COEXPRESSION, ModelPlan

_ROWS = 15
_DRAWN = 40  # pairs of a consensus network that are drawn


def models_together(results: Results, gene_set: str, view: str) -> dict[str, Any] | None:
    """Return the section that compares models; None if nothing was compared."""
    plan, tables = results.plan, results.tables
    if plan.compare is None or "agreement" not in tables:
        return None

    def of(table: str) -> pd.DataFrame:
        if table not in tables:
            return pd.DataFrame()
        return chosen(tables[table], gene_set=gene_set, view=view)

    agreed = chosen(of("agreement"), comparison="models")
    networks = _networks(results, gene_set, view, of("support"))
    contrasts, pools, combined_layers = (
        records(of(table)) for table in ("contrasts", "pools", "consensus_layers")
    )
    if agreed.empty and not (networks or contrasts or pools or combined_layers):
        return None
    k = max(plan.compare.k)
    compared = set(agreed["query_model"])
    names = [
        m.name
        for m in plan.checkpoints
        if m.name in compared or (not compared and gene_set in m.gene_sets)
    ]
    squares = agreement_squares(results, gene_set, view, k)
    by_k = of("by_k")
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
        "square": comparison_figures.agreement_square(squares, "agreement of models")
        if squares["median_quantile"].notna().any()
        else None,
        "by_k": comparison_figures.by_k(by_k, "agreement by K")
        if len(plan.compare.k) > 1 and len(by_k)
        else None,
        "by_k_rows": records(by_k),
        "combined_layers": combined_layers,
        "pairs": records(chosen(of("model_pairs"), k=k)),
        "gene_sets": records(tables["gene_sets"]),
        "support": records(of("support")),
        "contrasts": contrasts,
        "specific": _specific(of("specific"), of("contrasts")),
        "pools": pools,
        **_geometry(results),
        **_scores(of("coherence_scores"), of("coherence_scores_groups"), k),
        "networks": networks,
        "how": plan.compare.layers,
    }


def _networks(
    results: Results, gene_set: str, view: str, support: pd.DataFrame
) -> list[dict[str, Any]]:
    shown = []
    for c, category in enumerate(results.plan.categories):
        if f"consensus/c{c:04d}" not in results.tables:
            continue
        t = chosen(results.consensus(category.name), gene_set=gene_set, view=view)
        correlated = [x for x in t.columns if x.startswith(f"quantile_{COEXPRESSION}")]
        rows = records(t.head(_ROWS))
        for row in rows:
            row["correlation"] = row.get(correlated[0]) if correlated else None
            row["edge"] = edge_text(row.get("in_network"))
        by_two = chosen(support, category=category.name, n_groups=2) if len(support) else support
        shown.append(
            {
                "category": category.name,
                "file": f"consensus/c{c:04d}",
                "rows": rows,
                "n": len(t),
                "n_shared": int(by_two["n_pairs"].iloc[0]) if len(by_two) else 0,
                "drawn": min(len(t), _DRAWN),
                "figure": comparison_figures.network(t.head(_DRAWN), f"network {category.name}")
                if len(t)
                else None,
            }
        )
    return shown


def _geometry(results: Results) -> dict[str, Any]:
    """Return the figure of residual geometry (medians over categories) and its rows."""
    t = results.tables["geometry"] if "geometry" in results.tables else pd.DataFrame()
    if "spearman" not in t or t.empty:
        return {"geometry": None, "geometry_rows": []}
    figure = comparison_figures.geometry_square(geometry_squares(results), "residual geometry")
    return {"geometry": figure, "geometry_rows": records(t)}


def _scores(layers: pd.DataFrame, tests: pd.DataFrame, k: int) -> dict[str, Any]:
    """Return the figure of coherence against enrichment and score, its rows, and the tests."""
    if layers.empty:
        return {"scores": None, "score_rows": [], "score_tests": []}
    layers = chosen(layers, k=k)
    return {
        "scores": comparison_figures.coherence_scores(layers, "coherence and scores"),
        "score_rows": records(layers),
        "score_tests": records(chosen(tests, k=k)),
    }


def _specific(pairs: pd.DataFrame, contrasts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the strongest category-specific pairs of each model and category that has any."""
    if pairs.empty:
        return []
    pairs = pairs[pairs["specific"].fillna(False).astype(bool)]
    return [
        {
            "model": row["model"],
            "category": row["category"],
            "n": row["n_specific"],
            "rows": records(
                chosen(pairs, model=row["model"], category=row["category"]).head(_ROWS)
            ),
        }
        for row in records(contrasts)
        if row["n_specific"]
    ]


def of_model(results: Results, m: ModelPlan, gene_set: str, view: str) -> dict[str, Any]:
    """Return the comparisons of one model: coherence, enrichment, estimators, heads."""
    section: dict[str, Any] = {
        "coherence": None, "coherence_rows": [], "enrichment": None, "estimators": None,
        "heads": [], "layers": [],
    }  # fmt: skip
    plan, tables = results.plan, results.tables
    if plan.compare is None or "agreement" not in tables:
        return section
    k, selection = max(plan.compare.k), {"gene_set": gene_set, "view": view}
    agreed = chosen(tables["agreement"], **selection)
    section["layers"] = records(layers_of_model(agreed, m.name))
    coherent = tables["coherence"]
    if len(coherent):
        coherent = chosen(coherent, model=m.name, k=k, **selection)
    if len(coherent):
        section |= {
            "coherence_rows": records(coherent),
            "coherence": figures.by_layer(
                coherent[coherent["left_out"].isna()],
                f"{m.name} coherence",
                value="coherence",
                ylabel="coherence",
                n="n_groups",
            ),
        }
    section |= _enrichment(results, m, k, selection)
    estimators = chosen(agreed, k=k, comparison="estimators", query_model=m.name)
    estimators = estimators.rename(columns={"query_layer": "layer"})
    if len(estimators):
        several = estimators["eval_model"].nunique() > 1
        panel = estimators["category"] + (", " + estimators["eval_model"] if several else "")
        section["estimators"] = figures.by_layer(
            estimators,
            f"{m.name} estimators",
            value="median_quantile",
            ylabel="median quantile",
            n="n_pairs",
            panels=panel,
        )
        section["estimator_rows"] = records(estimators)
    section["heads"] = records(chosen(tables["heads"], k=k, query_model=m.name, **selection))
    return section


def _enrichment(
    results: Results, m: ModelPlan, k: int, selection: dict[str, str]
) -> dict[str, Any]:
    """Return the figure of coherence against enrichment, its rows, and tests of the group."""
    if "coherence_enrichment" not in results.tables:
        return {}
    layers = chosen(results.tables["coherence_enrichment"], k=k, **selection)
    mine = chosen(layers, model=m.name)
    if mine.empty:
        return {}
    group = results.plan.model_groups[m.name]
    tests = chosen(results.tables["coherence_enrichment_groups"], k=k, group=group, **selection)
    tests = tests[tests["model"].isna() | (tests["model"] == m.name)]
    return {
        "enrichment": comparison_figures.coherence_enrichment(
            layers, m.name, f"{m.name} enrichment"
        ),
        "enrichment_rows": records(mine),
        "enrichment_tests": records(tests),
        "enrichment_k": k,
    }

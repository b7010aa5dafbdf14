"""The report: one self-contained HTML file that shows a run's tables and computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from octoscope.config.view_names import ABSOLUTE, CENTRED, CORRELATION, plain_view
from octoscope.errors import REPAIR, InputError, damaged_run, reading
from octoscope.octopus.network_schema import NOT_KNOWN
from octoscope.report import comparisons, figures, first_screen, verdict_section
from octoscope.report.categories import categories
from octoscope.report.embedded import table_library
from octoscope.report.gene_search import gene_search
from octoscope.report.method_texts import METHODS, term
from octoscope.report.page_parts import (
    folded,
    gene_link,
    is_of_many,
    page_parts,
    templates,
)
from octoscope.report.rows import chosen, edge_text, gigabytes, records
from octoscope.report.timeline import timeline
from octoscope.results.layer_profile import MEASURES, layer_profile
from octoscope.results.model_findings import shown_as
from octoscope.results.run_results import Results
from octoscope.run_plan.gene_set_counts import SATURATED
from octoscope.run_plan.values import COEXPRESSION, ModelPlan, Plan

_TOP_ROWS = 15
_VIEW_TEXT = {
    "marginal": "mean attention per cell of the category (a cell without the pair counts 0)",
    "conditional": "mean attention over cells that hold both genes",
    "lift": "attention relative to uniform attention (1 = uniform)",
    "logit": "mean scaled query-key score before the softmax",
    CORRELATION: "correlation of log-normalised counts over the cells of the category",
}


def page(
    results: Results,
    gene_set: str | None = None,
    view: str | None = None,
    model: str | None = None,
    pages: Mapping[str, str] | None = None,
) -> bytes:
    """Return the page as UTF-8; None stands for the first declared gene set and view.

    Parameters
    ----------
    model
        Show this model alone, with all of its rows; None: the whole run.
    pages
        Files of the pages of single models, by model, that this page links to.

    Raises
    ------
    InputError
        If the gene set or view was not declared, with the cost of a new run.
    """
    plan, config = results.plan, results.config
    sets = [g.name for g in config.gene_sets]
    cost = sum(c["seconds"] for c in results.provenance["cells"])
    views = list(dict.fromkeys(v for m in plan.models for v in m.views))
    for kind, value, declared in (("gene_sets", gene_set, sets), ("views", view, views)):
        if value is not None and value not in declared:
            raise InputError(
                f"{results.at('config.yaml')}: {kind}",
                f"{value!r} was not declared; this run has {', '.join(declared)}",
                f"declare it and run again into a new directory ({len(plan.units)} units, "
                f"{cost:.0f} actor-seconds last time): a top-K list cannot be restricted later",
            )
    env = templates()
    of_many = model is None and is_of_many(plan)
    env.globals |= page_parts(of_many, of_one=model is not None)
    env.globals |= {
        "folded": folded,
        "gigabytes": gigabytes, "gene": gene_link, "term": term,
    }  # fmt: skip
    template = env.get_template("report.html.j2")
    with reading(f"{results.url}: what the report shows", REPAIR, damaged_run):
        content = _of_models(results, gene_set or sets[0], view or plan.views[0], model)
        if model is None:
            content |= _of_run(results, gene_set or sets[0], view or plan.views[0])
        return template.render(**content, only=model, pages=pages or {}).encode()


def models_shown(results: Results, gene_set: str, view: str) -> list[str]:
    """Return the models that have a section of their own."""
    if "stats" not in results.tables:
        return []
    models = results.plan.models
    return [m.name for m in models if len(_shown(results, "stats", m, gene_set, view))]


def _shown(results: Results, table: str, m: ModelPlan, gene_set: str, view: str) -> pd.DataFrame:
    """Return the rows of a model, of the gene set and view that the page shows of it."""
    gene_set, view = shown_as(m, gene_set, view)
    return chosen(results.tables[table], model=m.name, gene_set=gene_set, view=view)


def _of_models(results: Results, gene_set: str, view: str, model: str | None) -> dict[str, Any]:
    """Return what the page of a run and that of one of its models show."""
    plan, config = results.plan, results.config
    with_network = config.network is not None
    chosen_models = [m for m in plan.models if model in (None, m.name)]
    done = "stats" in results.tables
    models = [_model(results, m, gene_set, view, with_network) for m in chosen_models if done]
    gene_data, searchable = gene_search(results, gene_set, view, model)
    return {
        "gene_data": gene_data,
        "searchable_genes": searchable,
        "library": table_library(),
        "methods": [(name, *text) for name, text in METHODS.items()],
        "config": config,
        "plan": plan,
        "run": results.provenance,
        "models": [m for m in models if m],
        "view": view,
        "gene_set": gene_set,
        "network": _network_text(plan),
        "network_notes": (plan.network or {}).get("notes", []),
    }


def _of_run(results: Results, gene_set: str, view: str) -> dict[str, Any]:
    """Return what the page of a run shows beside its models."""
    plan, tables = results.plan, results.tables
    done = "stats" in tables
    genes = tables["vocabulary_counts"]
    in_atlas = genes[genes["model"].isna()]
    sections, absent = _sections(results)
    return {
        "vocabulary": [_vocabulary(m, genes) for m in plan.checkpoints],
        "checkpoints": [
            {"model": model, "file": file, "sha256": digest}
            for model, files in results.provenance["checkpoints"].items()
            for file, digest in files.items()
        ],
        "first": first_screen.content(
            results, gene_set, view, _view_text(view), _network_text(plan)
        ),
        "measures": records(chosen(tables["models"], gene_set=gene_set)) if done else [],
        "atlas_genes_changed": [f"{r['n_genes']:,} {r['what']}" for r in records(in_atlas)],
        "cells": records(tables["cells"]),
        "categories": categories(results, gene_set, view) if done else [],
        "timeline": timeline(results),
        "verdict": verdict_section.verdict(results),
        "together": comparisons.models_together(results, gene_set, view) if done else None,
        "sections": sections,
        "absent_analyses": absent,
    }


def _sections(results: Results) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the sections of further analyses, and the analyses that are not installed."""
    declared, absent = results.sections()
    shown = []
    for section in declared:
        if section.table not in results.tables:
            continue
        table = results.tables[section.table]
        if section.sort_by is not None:
            column, ascending = section.sort_by
            table = table.sort_values(column, ascending=ascending, kind="stable")
        columns = list(section.columns)
        shown.append(
            {
                "title": section.title,
                "text": section.text,
                "table": section.table.removesuffix(".parquet"),
                "columns": columns,
                "heads": [
                    f"{'#' if _is_number(table[c]) else ''}{c.replace('_', ' ')}" for c in columns
                ],
                "numeric": [_is_number(table[c]) for c in columns],
                "rows": records(table[columns]),
            }
        )
    return shown, absent


def _vocabulary(m: ModelPlan, counts: pd.DataFrame) -> dict[str, Any]:
    """Return how many genes of the atlas have which fate in a model."""
    fates = {r["what"]: r["n_genes"] for r in records(chosen(counts, model=m.name))}
    of = {what: fates.get(what, 0) for what in ("matched", "renamed", "merged", "dropped")}
    return {"model": m.name, **of, "package": m.package}


def _is_number(column: pd.Series) -> bool:
    """Tell whether a column is aligned to the right."""
    types = pd.api.types
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def _network_text(plan: Plan) -> str:
    if plan.network is None:
        return ""
    n = plan.network
    text = f"{n['name']}: {n['vertices']:,} vertices, {n['pairs']:,} connected pairs"
    unknown = n.get(NOT_KNOWN)
    return f"{text}; not known to be independent: {', '.join(unknown)}" if unknown else text


def _model(
    results: Results, m: ModelPlan, gene_set: str, view: str, with_network: bool
) -> dict[str, Any] | None:
    plan = results.plan
    gene_set, view = shown_as(m, gene_set, view)
    primary = partial(_shown, results, m=m, gene_set=gene_set, view=view)
    stats = primary("stats")
    if stats.empty:
        return None
    layers = primary("layers")
    layers = layers[layers["layer_a"] != layers["layer_b"]]
    shares = chosen(results.tables["mass_by_layer"], model=m.name)
    shares = shares[shares["to"].isin(m.mass_columns)]
    tag = m.name
    profile = layer_profile(results, m.name, gene_set, view)
    content = {
        "plan": m,
        "attends": m.family != COEXPRESSION,
        "view": view,
        "gene_set": gene_set,
        "view_text": _view_text(view),
        "spread": plan.moments == 2 and m.estimator == "per_cell",
        "shown_options": _shown_options(m.options),
        "variant_text": _variant_text(m),
        "stats": records(stats),
        **_donors(stats),
        "layers": records(layers),
        "profile": figures.layer_profile(profile, MEASURES, f"{tag} by layer")
        if len(m.layers) > 1 and len(profile)
        else None,
        "profile_rows": records(profile),
        "heatmap": figures.layer_heatmaps(layers, f"{tag} layers") if len(layers) else None,
        "reliability": figures.by_layer(
            stats,
            f"{tag} reliability",
            value="half_centred",
            low="half_centred_low",
            high="half_centred_high",
            null_low="half_null_low",
            null_high="half_null_high",
            n="half_pairs",
            ylabel="centred r of halves",
        ),
        "mass": figures.mass_bars(shares, f"{tag} mass") if len(shares) else None,
        "mass_rows": records(shares),
        "top": _top_pairs(results, m, gene_set, view, with_network),
        "saturated": list(dict.fromkeys(stats.loc[stats["top_share"] > SATURATED, "category"])),
        "overlap": [],
        "auroc": [],
        "overlap_figure": None,
        **verdict_section.NOTHING,
        "compared": comparisons.of_model(results, m, gene_set, view),
    }
    if with_network:
        tested = primary("overlap")
        content["overlap"] = records(tested)
        content["auroc"] = records(primary("auroc"))
        content |= verdict_section.controlled(results, m.name, gene_set, view)
        content["overlap_figure"] = figures.by_layer(
            tested,
            f"{tag} overlap",
            value="edge_rate",
            ylabel="edge rate",
            reference="background_rate",
            n="n_pairs",
        )
    content["summary"] = {row["measure"]: row for row in records(primary("models"))}
    return content


def _view_text(view: str) -> str:
    signed = view.removesuffix(ABSOLUTE)
    without = ", without each gene's row and column effect" if signed.endswith(CENTRED) else ""
    size = "" if signed == view else "; ordered by size, whatever the sign"
    return _VIEW_TEXT[plain_view(view)] + without + size


def _variant_text(m: ModelPlan) -> str:
    """Describe the attention variant, if it is not the mean over cells and heads."""
    sentences = []
    if m.family == COEXPRESSION:
        return (
            f"{m.estimator.capitalize()} correlation of log-normalised counts (10,000 per cell) "
            "over cells: not attention, but what attention must exceed. It is symmetric, so each "
            "pair of genes occurs twice among the top pairs."
        )
    if m.estimator == "mean_residual":
        sentences.append(
            "Attention of the mean cell over the accumulated genes "
            f"({m.projection} projection), not the mean of each cell's attention."
        )
    if m.heads == "max":
        sentences.append("The largest value over heads within each cell.")
    elif m.heads != "mean":
        sentences.append(f"Head {m.heads} alone.")
    return " ".join(sentences)


def _shown_options(options: dict[str, Any]) -> str:
    """Name the settings that the plan fixed; long lists by their length."""
    short = {k: f"{len(v)} genes" if isinstance(v, list) else v for k, v in options.items()}
    return ", ".join(f"{k} {v}" for k, v in short.items())


def _donors(stats: pd.DataFrame) -> dict[str, Any]:
    """Return the rows of the donor jackknife, and a warning if there are few groups."""
    if "donor_groups" not in stats:
        return {"donors": [], "few_donors": ""}
    rows = stats.dropna(subset=["donor_groups"])
    few = int(rows["donor_groups"].min()) if len(rows) else 0
    return {
        "donors": records(rows),
        "few_donors": f"{few} groups at the least: such intervals are rough."
        if 0 < few < 6
        else "",
    }


def _top_pairs(
    results: Results, m: ModelPlan, gene_set: str, view: str, with_network: bool
) -> list[dict[str, Any]]:
    """Return per category the best-ranked pairs over all layers."""
    top = chosen(results.topk(m.name), gene_set=gene_set, view=view, part="total")
    tables = []
    for category, part in top.groupby("category", sort=False):
        best = part.sort_values(["rank", "layer", "query", "key"], kind="stable")
        best = best.drop_duplicates(["query", "key"]).head(_TOP_ROWS)
        rows = records(best)
        for row in rows:
            known = row.get("in_network") if with_network else None
            row["edge"] = edge_text(known)
        tables.append({"category": category, "rows": rows})
    return tables

"""Tables in short: over categories, models side by side and in pairs, by K, heads of a layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from octoscope.analysis.intervals import jackknife_interval

_AGREED = ["median_quantile", "spearman", "jaccard"]
_ENDS = ["query_model", "query_layer", "query_view", "eval_model", "eval_layer", "eval_view"]
# of each table that has a row per category: what names a row, and what is measured
_OVER: dict[str, tuple[list[str], list[str]]] = {
    "agreement": (["comparison", "gene_set", "view", *_ENDS, "k"], _AGREED),
    "layers": (
        ["model", "gene_set", "view", "layer_a", "layer_b"],
        ["spearman", "tested_spearman"],
    ),
    "coherence": (
        ["model", "layer", "group", "gene_set", "view", "k", "left_out"],
        ["coherence"],
    ),
    "geometry": (["model_a", "layer_a", "model_b", "layer_b"], ["spearman"]),
}
_SIGNIFICANT = 0.05  # of q


def over_categories(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Aggregate a table over categories by the median, with the smallest and largest kept.

    Returns
    -------
    DataFrame
        One row for what is compared: n_categories, n_significant (categories with q below 0.05,
        where q is known), and of each measure the median, ``_min`` and ``_max`` over categories.
    """
    keys, measured = _OVER[name]
    columns = [*keys, "n_categories", "n_significant"]
    columns += [f"{m}{end}" for m in measured for end in ("", "_min", "_max")]
    if table.empty:
        return pd.DataFrame(columns=columns)
    below = table["q"] < _SIGNIFICANT if "q" in table else pd.Series(False, table.index)
    groups = table.assign(below=below).groupby(keys, sort=False, dropna=False)  # left_out: none
    short = groups.size().rename("n_categories").to_frame()
    short["n_significant"] = groups["below"].sum()
    for what in measured:
        short[what] = groups[what].median()
        short[f"{what}_min"], short[f"{what}_max"] = groups[what].min(), groups[what].max()
    return short.reset_index()


def side_by_side(
    stats: pd.DataFrame, mass: pd.DataFrame, overlap: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the spread of measures of each model over categories and layers.

    Parameters
    ----------
    stats, mass, overlap
        The tables of these names; ``overlap``: None without a network.

    Returns
    -------
    DataFrame
        model, gene_set, view, measure, n (matrices where it is known), median, smallest, largest.
        Measures: n_eligible, half_centred, hub_key_share (of ``stats``), special (share of the
        attention of cells that goes to tokens that are no genes; of ``mass``, the same for every
        gene set and view), fold_over_null (of ``overlap``).
    """
    keys = ["model", "gene_set", "view"]
    measured = dict.fromkeys(("n_eligible", "half_centred", "hub_key_share"), stats)
    measured["special"] = stats[keys].drop_duplicates().merge(_special(mass), on="model")
    if overlap is not None and "fold_over_null" in overlap:
        measured["fold_over_null"] = overlap
    parts = []
    for name, table in measured.items():
        values = table.groupby(keys, sort=False)[name]
        spread = {
            "n": values.count(),
            "median": values.median(),
            "smallest": values.min(),
            "largest": values.max(),
        }
        parts.append(pd.DataFrame(spread).reset_index().assign(measure=name))
    every = pd.concat([p for p in parts if len(p)], ignore_index=True)  # no cells: no attention
    return every[[*keys, "measure", "n", "median", "smallest", "largest"]]


def _special(mass: pd.DataFrame) -> pd.DataFrame:
    """Return model, category, layer and the share of attention on tokens that are no genes."""
    keys = ["model", "category", "layer"]
    columns = [
        c for c in mass.columns if c.startswith("to_") and c not in ("to_kept", "to_outside")
    ]
    if not columns or mass.empty:
        return pd.DataFrame(columns=[*keys, "special"])
    given = mass[columns].sum(axis=1) * mass["cells"]  # a query gene counts with its cells
    groups = mass.assign(given=given).groupby(keys, sort=False)
    return (groups["given"].sum() / groups["cells"].sum()).rename("special").reset_index()


def mass_by_layer(mass: pd.DataFrame) -> pd.DataFrame:
    """Return where the attention of each layer goes: the mean over query genes, cells as weights.

    ``mass``: the table of this name.

    Returns
    -------
    DataFrame
        model, category, layer, to (kept, outside or a kind of special token), n_genes (query
        genes), n_cells (of the gene that most cells hold), share, low, high (95 %, one query gene
        deleted at a time).
    """
    keys = ["model", "category", "layer"]
    kinds = [c for c in mass.columns if c.startswith("to_")]
    rows = []
    for names, part in mass.groupby(keys, sort=False):
        part = part[part["cells"] > 0]
        weight = part["cells"].to_numpy(float)
        for kind in kinds:
            if part[kind].isna().all():  # another model's kind of token
                continue
            given = part[kind].fillna(0.0).to_numpy(float) * weight
            share = float(given.sum() / weight.sum())
            rest = weight.sum() - weight
            left_out = np.divide(given.sum() - given, rest, where=rest > 0,
                                 out=np.full(len(rest), np.nan))  # fmt: skip
            low, high = jackknife_interval(share, left_out)
            row = {"to": kind[3:], "n_genes": len(weight), "n_cells": int(weight.max())}
            # a share; with the largest value over heads it may be more than one
            row |= {"share": share, "low": max(low, 0.0), "high": min(high, max(1.0, share))}
            rows.append(dict(zip(keys, names, strict=True)) | row)
    return pd.DataFrame(rows, columns=[*keys, "to", "n_genes", "n_cells", "share", "low", "high"])


def model_pairs(agreed: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Return per ordered pair of different models the spread over their layers and categories.

    ``agreed``: rows of ``agreement``; ``models``: the checkpoints.

    Returns
    -------
    DataFrame
        gene_set, view, k, query_model, eval_model, n (comparisons), median_quantile (median),
        smallest, largest, null_median (median), n_significant, jaccard, null_jaccard (medians),
        and of the smallest median quantile best_category, best_query_layer, best_eval_layer,
        best_n_pairs, best_low, best_high, best_null_low, best_null_high, best_q.
    """
    keys = ["gene_set", "view", "k", "query_model", "eval_model"]
    best = ["category", "query_layer", "eval_layer", "n_pairs", "low", "high", "null_low",
            "null_high", "q"]  # fmt: skip
    rows = []
    for names, part in _across(agreed, models).groupby(keys, sort=False):
        ranked = part.dropna(subset=["median_quantile"]).sort_values(
            "median_quantile", kind="stable"
        )
        first = ranked.iloc[0] if len(ranked) else dict.fromkeys(best)
        quantiles = part["median_quantile"]
        rows.append(
            dict(zip(keys, names, strict=True))
            | {
                "n": len(part),
                "median_quantile": quantiles.median(),
                "smallest": quantiles.min(),
                "largest": quantiles.max(),
                "null_median": part["null_median"].median(),
                "n_significant": int((part["q"] < _SIGNIFICANT).sum()),
                "jaccard": part["jaccard"].median(),
                "null_jaccard": part["null_jaccard"].median(),
            }
            | {f"best_{what}": first[what] for what in best}
        )
    measured = ["n", "median_quantile", "smallest", "largest", "null_median", "n_significant",
                "jaccard", "null_jaccard", *(f"best_{what}" for what in best)]  # fmt: skip
    whole = dict.fromkeys(("best_query_layer", "best_eval_layer", "best_n_pairs"), "Int64")
    return pd.DataFrame(rows, columns=[*keys, *measured]).astype(whole)


def by_k(agreed: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Return, for each model and K, the quartiles of agreement with other models.

    Returns
    -------
    DataFrame
        gene_set, view, query_model, k, n (comparisons), low, middle, high (quartiles of median
        quantiles), null (median of the nulls' medians).
    """
    keys = ["gene_set", "view", "query_model", "k"]
    across = _across(agreed, models)
    if across.empty:
        return pd.DataFrame(columns=[*keys, "n", "low", "middle", "high", "null"])
    groups = across.groupby(keys, sort=False)
    quantiles = groups["median_quantile"]
    quartiles = {
        "low": quantiles.quantile(0.25),
        "middle": quantiles.median(),
        "high": quantiles.quantile(0.75),
    }
    table = {"n": groups.size(), **quartiles, "null": groups["null_median"].median()}
    return pd.DataFrame(table).reset_index()


def heads(agreed: pd.DataFrame) -> pd.DataFrame:
    """Return how each head's strongest pairs rank in the layer's other heads.

    Returns
    -------
    DataFrame
        query_model, gene_set, view, k, category, layer, n (other heads), n_pairs (median over
        them), median_quantile (median), smallest, largest, low, high (medians of the ends of their
        intervals), null_median, null_low, null_high (medians), n_significant.
    """
    keys = ["query_model", "gene_set", "view", "k", "category", "layer"]
    part = agreed[agreed["comparison"] == "heads"].rename(columns={"query_layer": "layer"})
    middle = ["low", "high", "null_median", "null_low", "null_high"]
    measured = ["n", "n_pairs", "median_quantile", "smallest", "largest", *middle, "n_significant"]
    if part.empty:
        return pd.DataFrame(columns=[*keys, *measured])
    groups = part.assign(below=part["q"] < _SIGNIFICANT).groupby(keys, sort=False)
    quantiles = groups["median_quantile"]
    table = {"n": groups.size(), "n_pairs": groups["n_pairs"].median(),
             "median_quantile": quantiles.median(), "smallest": quantiles.min(),
             "largest": quantiles.max()}  # fmt: skip
    table |= {x: groups[x].median() for x in middle}
    return pd.DataFrame(table | {"n_significant": groups["below"].sum()}).reset_index()


def _across(agreed: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    return agreed[
        (agreed["comparison"] == "models")
        & (agreed["query_model"] != agreed["eval_model"])
        & agreed["query_model"].isin(models)
        & agreed["eval_model"].isin(models)
    ]

"""Measures of each layer of a model over its categories, for one axis."""

from __future__ import annotations

import pandas as pd

from octoscope.results.run_results import Results

MEASURES = {
    "reliability": "reliability (r of halves)",
    "coherence": "coherence with other models",
    "overlap": "edge rate over its null",
    "special": "attention on special tokens",
}


def layer_profile(results: Results, model: str, gene_set: str, view: str) -> pd.DataFrame:
    """Return the spread of four measures over the categories, by layer.

    Returns
    -------
    DataFrame
        ``measure``, ``layer``, ``n`` (categories where it is known), ``median``, ``smallest``,
        ``largest``, ``null_low`` and ``null_high`` (medians of the ends of the nulls, central 95 %;
        null: the measure has none). Measures: reliability (``half_centred``), coherence (at the
        largest K), overlap (``fold_over_null``), special (share of attention on tokens that are no
        genes). A measure that the run does not have has no rows; without any
        there are no columns either.
    """

    def of(name: str) -> pd.DataFrame:
        t = results.tables[name] if name in results.tables else pd.DataFrame()
        if not {"model", "gene_set", "view"} <= set(t.columns):
            return pd.DataFrame()
        return t[(t["model"] == model) & (t["gene_set"] == gene_set) & (t["view"] == view)]

    parts = []
    stats = of("stats")
    if len(stats):
        parts.append(
            _spread("reliability", stats, "half_centred", "half_null_low", "half_null_high")
        )
    coherence = of("coherence")
    if len(coherence):
        whole = coherence[coherence["left_out"].isna()]
        longest = whole[whole["k"] == whole["k"].max()]
        parts.append(_spread("coherence", longest, "coherence", "null_low", "null_high"))
    overlap = of("overlap")
    if len(overlap) and "fold_over_null" in overlap:
        expected = overlap["null_mean"].where(overlap["null_mean"] > 0)
        scaled = overlap.assign(
            low=overlap["null_low"] / expected, high=overlap["null_high"] / expected
        )
        parts.append(_spread("overlap", scaled, "fold_over_null", "low", "high"))
    parts.append(_special(results, model))
    known = [p for p in parts if len(p)]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame()


def _special(results: Results, model: str) -> pd.DataFrame:
    t = results.tables["mass_by_layer"]
    t = t[(t["model"] == model) & ~t["to"].isin(("kept", "outside"))]
    if t.empty:
        return t
    shares = t.groupby(["category", "layer"], sort=False)["share"].sum().reset_index()
    return _spread("special", shares, "share")


def _spread(
    measure: str, table: pd.DataFrame, value: str, low: str | None = None, high: str | None = None
) -> pd.DataFrame:
    groups = table.groupby("layer")
    values = groups[value]
    columns = {
        "n": values.count(), "median": values.median(), "smallest": values.min(),
        "largest": values.max(),
    }  # fmt: skip
    spread = pd.DataFrame(columns)
    for name, column in (("null_low", low), ("null_high", high)):
        spread[name] = groups[column].median() if column is not None else float("nan")
    spread = spread[spread["n"] > 0].reset_index()
    spread.insert(0, "measure", measure)
    return spread

"""Squares of layers against layers: medians over categories, with what their rows have of each."""

from __future__ import annotations

import pandas as pd

from octoscope.results.run_results import Results

_ENDS = ["query_model", "query_layer", "eval_model", "eval_layer"]
_PAIR = ["model_a", "layer_a", "model_b", "layer_b"]
_OF_EACH = ["n_pairs", "low", "high", "null_low", "null_high"]


def agreement_squares(results: Results, gene_set: str, view: str, k: int) -> pd.DataFrame:
    """Return agreement of layers of all models, at one K.

    Returns
    -------
    DataFrame
        The rows of ``tables/agreement_categories``, and of ``tables/agreement`` the medians over
        categories of ``n_pairs``, of the ends of the interval (``low``, ``high``) and of the null
        (``null_low``, ``null_high``).
    """

    def of(name: str) -> pd.DataFrame:
        t = results.tables[name]
        mine = (t["gene_set"] == gene_set) & (t["view"] == view) & (t["comparison"] == "models")
        return t[mine & (t["k"] == k)]

    return _with_medians(of("agreement_categories"), of("agreement"), _ENDS)


def geometry_squares(results: Results) -> pd.DataFrame:
    """Return how alike layers place the genes.

    Returns
    -------
    DataFrame
        The rows of ``tables/geometry_categories``, and of ``tables/geometry`` the medians over
        categories of ``n_pairs``, of the ends of the interval and of the null.
    """
    tables = results.tables
    return _with_medians(tables["geometry_categories"], tables["geometry"], _PAIR)


def _with_medians(squares: pd.DataFrame, rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    medians = rows.groupby(by, sort=False)[_OF_EACH].median().reset_index()
    return squares.merge(medians, on=by, how="left")

"""Columns that several tables have, described once."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from octoscope.analysis.registry import Column, Table

MODEL = Column(
    "model",
    "string",
    "Attention variant: the model's name for the first estimator and head reduction of the "
    "configuration, with a suffix such as .max, .head03 or .residual for others; or a "
    "co-expression entry",
)
CATEGORY = Column("category", "string", "Cell category")
LAYER = Column("layer", "int64", "Layer, counted from 0")
GENE_SET = Column("gene_set", "string", "Declared gene set whose genes are ranked")
VIEW = Column("view", "string", "View: how sums over cells became values")
QUERY = (
    Column("query", "string", "Ensembl id of the query gene, which attends"),
    Column("query_symbol", "string", "Its symbol"),
)
KEY = (
    Column("key", "string", "Ensembl id of the key gene, which is attended to"),
    Column("key_symbol", "string", "Its symbol"),
)
IN_NETWORK = Column(
    "in_network",
    "bool",
    "Whether an edge of the molecular network joins the two genes, in either direction; null: a "
    "gene is not in the network",
    when="network",
)
N_PERMUTATIONS = Column(
    "n_permutations", "int64", "Permutations behind p: more where none reached what was observed"
)


def interval(what: str, low: str = "low", high: str = "high", how: str = "") -> tuple[Column, ...]:
    """Return the two ends of a 95 % interval."""
    method = f", {how}" if how else ""
    return (
        Column(low, "float64", f"Lower end of the 95 % interval of {what}{method}"),
        Column(high, "float64", f"Upper end of the 95 % interval of {what}{method}"),
    )


def null_range(
    what: str, low: str = "null_low", high: str = "null_high", how: str = ""
) -> tuple[Column, ...]:
    """Return the two ends of the central 95 % of a null distribution."""
    method = f", {how}" if how else ""
    return (
        Column(low, "float64", f"2.5 % quantile of {what} under the null{method}"),
        Column(high, "float64", f"97.5 % quantile of {what} under the null{method}"),
    )


def test(what: str, family: str) -> tuple[Column, ...]:
    """Return a p-value and what it is adjusted to over a family of tests."""
    return (
        Column("p", "float64", f"One-sided permutation p-value of {what}; null: it is undefined"),
        Column("q", "float64", f"p adjusted by Benjamini and Hochberg over {family}"),
    )


def spread(name: str, what: str, by: str) -> tuple[Column, ...]:
    """Return the median of a value with the smallest and the largest, as ``_min`` and ``_max``."""
    return (
        Column(name, "float64", f"Median of {what} over {by}"),
        Column(f"{name}_min", "float64", f"Smallest {what}"),
        Column(f"{name}_max", "float64", f"Largest {what}"),
    )


def over_categories(names: tuple[Column, ...], *measured: tuple[str, str]) -> tuple[Column, ...]:
    """Return the columns of a table over categories: what names a row, counts, and spreads."""
    counts = (
        Column("n_categories", "int64", "Categories in which it was compared"),
        Column("n_significant", "int64", "Categories with q below 0.05"),
    )
    spreads = [c for name, what in measured for c in spread(name, what, "categories")]
    return (*names, *counts, *spreads)


def no_rows(table: Table) -> pd.DataFrame:
    """Return a table without rows that has the columns of every run, with their types."""
    return pd.DataFrame({c.name: pd.Series([], dtype=c.dtype) for c in table.columns if not c.when})


def only_with(when: str, *columns: Column) -> tuple[Column, ...]:
    """Return columns that are there with a setting alone."""
    return tuple(replace(c, when=when) for c in columns)

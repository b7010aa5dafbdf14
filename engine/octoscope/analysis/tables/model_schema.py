"""Schema of the tables that put models side by side."""

from __future__ import annotations

from octoscope.analysis.registry import Column, Table
from octoscope.analysis.tables.columns import MODEL, interval
from octoscope.analysis.tables.matrix_schema import NAMES, SELECTION

MODEL_TABLES = (
    Table(
        "tables/models.parquet",
        "measure of a model in one gene set and view, over its categories and layers",
        (
            MODEL,
            *SELECTION,
            Column(
                "measure",
                "string",
                "n_eligible, half_centred, hub_key_share (as in stats), special (share of "
                "attention on tokens that are no genes, the same for every gene set and view) or, "
                "with a network, fold_over_null (as in overlap)",
            ),
            Column("n", "int64", "Matrices in which it is known"),
            Column("median", "float64", "Median over these matrices; null: n is 0"),
            Column("smallest", "float64", "Smallest of them"),
            Column("largest", "float64", "Largest of them"),
        ),
    ),
    Table(
        "tables/mass_by_layer.parquet",
        "kind of token that a layer attends to",
        (
            *NAMES,
            Column("to", "string", "kept, outside, or a kind of special token"),
            Column("n_genes", "int64", "Query genes"),
            Column("n_cells", "int64", "Cells that hold the most frequent query gene"),
            Column("share", "float64", "Mean share of attention over query genes, by their cells"),
            *interval("share", how="one query gene deleted at a time"),
        ),
    ),
)

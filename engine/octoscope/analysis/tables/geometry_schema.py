"""Schema of the tables of residual geometry."""

from __future__ import annotations

from octoscope.analysis.registry import Column, Table
from octoscope.analysis.tables.columns import (
    CATEGORY,
    N_PERMUTATIONS,
    interval,
    null_range,
    over_categories,
    test,
)

_WHEN = "compare and estimators: mean_residual"
_ENDS = (
    Column("model_a", "string", "One model"),
    Column("layer_a", "int64", "Its layer"),
    Column("model_b", "string", "The other model, or the same"),
    Column("layer_b", "int64", "Its layer"),
)

GEOMETRY_TABLES = (
    Table(
        "tables/geometry.parquet",
        "pair of layers, of any models, and category: whether the same genes lie close to each "
        "other in the residual streams of their mean cells",
        (
            CATEGORY,
            *_ENDS,
            Column("n_genes", "int64", "Genes that both mean cells hold"),
            Column("n_pairs", "int64", "Unordered pairs of genes that were correlated"),
            Column("exact", "bool", "Whether these are all pairs, not a sample"),
            Column("spearman", "float64", "Spearman correlation of the cosine similarities"),
            *interval("spearman", how="one gene deleted at a time"),
            Column("sampling_error", "float64", "Standard error from sampling pairs; 0 if exact"),
            Column("null_genes", "int64", "Genes that the null is of, at most 256"),
            Column("sampled", "float64", "Correlation over these genes, which p is of"),
            *null_range("sampled", how="gene labels permuted"),
            test("sampled", "the table")[0],
            N_PERMUTATIONS,
            test("sampled", "the table")[1],
        ),
        when=_WHEN,
    ),
    Table(
        "tables/geometry_categories.parquet",
        "pair of layers, of any models, over categories",
        over_categories(_ENDS, ("spearman", "spearman")),
        when=_WHEN,
    ),
)

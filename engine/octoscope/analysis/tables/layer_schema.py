"""Schema of the tables that compare the layers of a model."""

from __future__ import annotations

from octoscope.analysis.registry import Column, Table
from octoscope.analysis.tables.columns import (
    CATEGORY,
    GENE_SET,
    KEY,
    MODEL,
    N_PERMUTATIONS,
    QUERY,
    VIEW,
    interval,
    null_range,
    over_categories,
    test,
)

_BETWEEN = (
    Column("layer_a", "int64", "One layer"),
    Column("layer_b", "int64", "The other; also the same, which has no test"),
)

LAYER_TABLES = (
    Table(
        "union/{model}.{category}.parquet",
        "pair that is among the top pairs of any layer of the model in this category",
        (
            MODEL,
            CATEGORY,
            GENE_SET,
            VIEW,
            *QUERY,
            *KEY,
            Column(
                "value_{layer}", "float32", "Its value in the layer; null: the pair is not eligible"
            ),
            Column(
                "rank_{layer}",
                "int64",
                "1 + number of eligible pairs of the layer with a greater value; null: the pair "
                "is not eligible",
            ),
        ),
    ),
    Table(
        "tables/layers.parquet",
        "pair of layers of a model, category, gene set and view",
        (
            MODEL,
            CATEGORY,
            GENE_SET,
            VIEW,
            *_BETWEEN,
            Column("n_pairs", "int64", "Pairs of the union that are eligible in both layers"),
            Column(
                "spearman",
                "float64",
                "Spearman correlation of the values over these pairs; descriptive, as the layers "
                "chose them; null: undefined",
            ),
            *interval("spearman", how="one gene deleted at a time"),
            Column("n_tested", "int64", "Pairs among the 1,000 strongest of either layer"),
            Column("tested_spearman", "float64", "Correlation over these pairs, which p is of"),
            *null_range(
                "tested_spearman", how="gene labels of one layer permuted and its pairs chosen anew"
            ),
            Column("p", "float64", "One-sided permutation p-value of tested_spearman"),
            N_PERMUTATIONS,
            Column("n_eligible", "int64", "Eligible pairs of layer_b"),
            test("", "all pairs of layers of one gene set and view")[1],
        ),
    ),
    Table(
        "tables/layers_categories.parquet",
        "pair of layers of a model, over its categories",
        over_categories(
            (MODEL, GENE_SET, VIEW, *_BETWEEN),
            ("spearman", "spearman"),
            ("tested_spearman", "tested_spearman"),
        ),
    ),
)

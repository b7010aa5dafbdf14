"""Schema of the tables of every matrix; consensus and pools have the same."""

from __future__ import annotations

from octoscope.analysis.registry import Column, Table
from octoscope.analysis.tables.columns import (
    CATEGORY,
    GENE_SET,
    IN_NETWORK,
    KEY,
    LAYER,
    MODEL,
    QUERY,
    VIEW,
    interval,
    null_range,
    only_with,
)

NAMES = (MODEL, CATEGORY, LAYER)
SELECTION = (GENE_SET, VIEW)
DONOR_GROUPS, MOMENTS = "donor_groups", "moments: 2"
_SOFTMAX = "views other than logit alone"

TOP_PAIRS = (
    *SELECTION,
    Column("part", "string", "Cells that the list is of: total, half0 or half1"),
    *QUERY,
    *KEY,
    Column("value", "float32", "Value of the pair in this part, in the unit of the view"),
    Column("rank", "int64", "1 + number of eligible pairs with a strictly greater value"),
    Column(
        "cells",
        "int64",
        "Cells that hold both genes; of mean cells and co-expression the smaller of the cells "
        "that hold either; null: the run was imported",
    ),
    Column(
        "value_half0", "float32", "Value from the first half of the cells alone; null: not known"
    ),
    Column(
        "value_half1", "float32", "Value from the second half of the cells alone; null: not known"
    ),
    *only_with(
        MOMENTS,
        Column(
            "cell_sd",
            "float32",
            "Standard deviation of the probability between the cells that hold both genes, "
            "whatever the view; null: fewer than two cells",
        ),
    ),
)
OVER_DONORS = only_with(
    DONOR_GROUPS,
    *interval(
        "the value over donors",
        "donor_low",
        "donor_high",
        "of the total alone; null: a single group holds the pair, or another part",
    ),
)

STATISTICS = (
    *SELECTION,
    Column("n_genes", "int64", "Genes of the set that the model has"),
    Column(
        "n_cells",
        "int64",
        "Cells of both halves; null, as all that is of cells and halves: the run was imported",
    ),
    Column("n_cells_half0", "int64", "Cells of the first half"),
    Column("n_cells_half1", "int64", "Cells of the second half"),
    Column("min_cells", "int64", "Cells that must hold both genes of an eligible pair"),
    Column("n_eligible", "int64", "Eligible ordered pairs"),
    Column("n_top", "int64", "Pairs in the list of the strongest; ties may make it longer"),
    Column("top_share", "float64", "n_top / n_eligible; null: no pair is eligible"),
    Column("kth_value", "float64", "Smallest value in the list; null: it is empty"),
    Column(
        "value_p50",
        "float64",
        "Median of the eligible values: lower edge of a bin 1/128 of its size wide; null: no pair "
        "is eligible",
    ),
    Column("value_p99", "float64", "99 % quantile of the eligible values, likewise"),
    Column("value_p999", "float64", "99.9 % quantile of the eligible values, likewise"),
    Column("tie_truncated", "bool", "Whether pairs tied at the last value had to be left out"),
    Column("hub_query_share", "float64", "Share of top pairs on the 10 most frequent query genes"),
    Column("hub_key_share", "float64", "Share of top pairs on the 10 most frequent key genes"),
    Column("half_topk_jaccard", "float64", "Jaccard index of the two halves' lists"),
    *only_with(
        DONOR_GROUPS,
        Column("donors", "float64", "Donors of the category; null: the matrix has no groups"),
        Column("donor_groups", "float64", "Groups that were left out in turn"),
        Column(
            "donor_jaccard_mean",
            "float64",
            "Mean Jaccard index of the list of all cells and the lists without each group",
        ),
        Column("donor_jaccard_min", "float64", "Smallest of these Jaccard indices"),
        Column("donor_kept", "float64", "Share of top pairs in the list without any one group"),
    ),
    Column("half_pairs", "int64", "Pairs over which the halves are correlated"),
    Column("half_raw", "float64", "Pearson correlation of the halves' values"),
    *interval("half_raw", "half_raw_low", "half_raw_high", "one gene deleted at a time"),
    Column(
        "half_centred",
        "float64",
        "Pearson correlation of the halves after removing each gene's row and column effect; "
        "null: undefined",
    ),
    *interval(
        "half_centred", "half_centred_low", "half_centred_high", "one gene deleted at a time"
    ),
    *null_range("half_sampled", "half_null_low", "half_null_high", "gene labels permuted"),
    Column("half_null_genes", "int64", "Genes that the null is of, at most 256"),
    Column("half_sampled", "float64", "half_centred over these genes alone, which half_p is of"),
    Column("half_p", "float64", "One-sided permutation p-value of half_sampled"),
    Column("half_q", "float64", "half_p adjusted over all matrices of one gene set and view"),
    Column("half_permutations", "int64", "Permutations behind half_p"),
    Column(
        "spearman_brown",
        "float64",
        "Reliability of all cells from half_centred r: 2r / (1 + r)",
    ),
)

MATRIX_TABLES = (
    Table(
        "tables/stats.parquet",
        "matrix, gene set and view: how large, how concentrated, how reliable",
        (*NAMES, *STATISTICS),
    ),
    Table(
        "tables/genes.parquet",
        "gene of a matrix",
        (
            *NAMES,
            *SELECTION,
            Column("gene", "string", "Ensembl id"),
            Column("gene_symbol", "string", "Its symbol"),
            Column("row_sum", "float64", "Sum of eligible values with the gene as query"),
            Column("col_sum", "float64", "Sum of eligible values with the gene as key"),
            Column("row_pairs", "int64", "Eligible pairs with the gene as query"),
            Column("col_pairs", "int64", "Eligible pairs with the gene as key"),
        ),
    ),
    Table(
        "tables/histogram.parquet",
        "bin of the eligible values of a matrix; empty bins have no row",
        (
            *NAMES,
            *SELECTION,
            Column("bin", "uint16", "High 16 bits of the value as a sortable 32-bit key"),
            Column("count", "int64", "Eligible pairs in the bin"),
        ),
    ),
    Table(
        "tables/mass.parquet",
        "query gene of a layer: where its attention goes. No rows where logits alone are "
        "summed, and none of co-expression",
        (
            *NAMES,
            Column("gene", "string", "Ensembl id of the query gene"),
            Column("gene_symbol", "string", "Its symbol"),
            Column("cells", "int64", "Cells that hold the gene; of a mean cell, which is one, 1"),
            Column(
                "to_kept",
                "float64",
                "Mean share of attention per cell on accumulated genes; null: no cell holds it",
                when=_SOFTMAX,
            ),
            Column(
                "to_outside",
                "float64",
                "Mean share on genes that are not accumulated",
                when=_SOFTMAX,
            ),
            Column(
                "to_{token}",
                "float64",
                "Mean share on special tokens of this kind; null: another model's kind",
                when="models with special tokens",
            ),
        ),
    ),
    Table(
        "topk/{model}.parquet",
        "top pair of a matrix, from all cells or from one half of them; ties at the last "
        "place are all listed",
        (
            *NAMES,
            *TOP_PAIRS,
            *OVER_DONORS,
            IN_NETWORK,
            Column("n_layers", "int16", "Layers of the model that list the pair"),
        ),
    ),
    Table(
        "edges/{model}.parquet",
        "query gene and each of its strongest key genes, in the gene set and view of `edges` in "
        "plan.json",
        (
            *NAMES,
            *QUERY,
            *KEY,
            Column("value", "float32", "Value of the pair in the unit of the view"),
            Column("rank", "int32", "Rank among the keys of this query gene"),
            Column("cells", "int64", "Cells that hold both genes; null: the run was imported"),
            IN_NETWORK,
        ),
        when="edges",
    ),
)

"""Schema of the tables that compare matrices with the molecular network."""

from __future__ import annotations

from octoscope.analysis.registry import Column, Table
from octoscope.analysis.tables.columns import N_PERMUTATIONS, interval, null_range, test
from octoscope.analysis.tables.matrix_schema import NAMES, SELECTION

_FAMILY = "all matrices of one gene set and view"

OVERLAP_TABLES = (
    Table(
        "tables/overlap.parquet",
        "matrix, gene set and view: its top pairs against the edges of the network, as unordered "
        "pairs of two vertices",
        (
            *NAMES,
            *SELECTION,
            Column("n_top_ordered", "int64", "Top pairs"),
            Column("n_unordered", "int64", "Top pairs without their direction"),
            Column("n_pairs", "int64", "Distinct pairs of two vertices among these"),
            Column("n_edges", "int64", "Of these, pairs that an edge joins"),
            Column("edge_rate", "float64", "n_edges / n_pairs; null: there are no pairs"),
            *interval("edge_rate", how="one vertex deleted at a time"),
            Column("n_background", "int64", "Eligible unordered pairs of vertices"),
            Column("background_rate", "float64", "Share of them that an edge joins"),
            Column(
                "null_mean",
                "float64",
                "Mean edge rate with vertices permuted among those of like degree, like number of "
                "eligible partners and as many genes",
            ),
            *null_range("edge_rate"),
            Column("fold_over_null", "float64", "edge_rate / null_mean; null: undefined"),
            test("edge_rate", _FAMILY)[0],
            N_PERMUTATIONS,
            Column("n_genes_in_network", "int64", "Genes of the set that the network has"),
            Column("n_strata", "int64", "Groups of vertices that change places with each other"),
            Column("n_genes_alone", "int64", "Genes of vertices alone in their group"),
            Column(
                "share_uncontrolled",
                "float64",
                "Share of pairs of two such genes, which no permutation changes",
            ),
            test("edge_rate", _FAMILY)[1],
        ),
        when="network",
    ),
    Table(
        "tables/auroc.parquet",
        "matrix, gene set and view: every eligible ordered pair of the network's genes ranked by "
        "value",
        (
            *NAMES,
            *SELECTION,
            Column("n_pairs", "int64", "Ranked pairs"),
            Column("n_edges", "int64", "Of these, pairs that an edge joins"),
            Column(
                "auroc",
                "float64",
                "Area under the ROC curve of edges against other pairs; 0.5: chance; null: none "
                "of either",
            ),
            *interval("auroc", how="one vertex deleted at a time"),
            Column("binning_error", "float64", "Most that binning can have moved auroc"),
            Column(
                "null_mean",
                "float64",
                "Mean auroc with vertices permuted as for the overlap",
            ),
            *null_range("auroc"),
            test("auroc", _FAMILY)[0],
            N_PERMUTATIONS,
            Column("average_precision", "float64", "Average precision of the ranking"),
            *null_range("average_precision", "precision_null_low", "precision_null_high"),
            Column(
                "early_precision",
                "float64",
                "Share of edges among the n_edges strongest pairs",
            ),
            *null_range("early_precision", "early_null_low", "early_null_high"),
            Column("edge_share", "float64", "n_edges / n_pairs: both precisions of a random order"),
            test("auroc", _FAMILY)[1],
        ),
        when="network",
    ),
)

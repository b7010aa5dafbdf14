"""Schema of the tables that join attention with graph neural networks."""

from __future__ import annotations

from octoscope.analysis.registry import Column, Section, Table
from octoscope.analysis.tables.columns import (
    CATEGORY,
    GENE_SET,
    LAYER,
    MODEL,
    N_PERMUTATIONS,
    VIEW,
    interval,
    null_range,
    test,
)

SCORES = "tables/gnn_scores.parquet"
SELF_EVIDENCE = "tables/gnn_self_evidence.parquet"
RELATIONS = "tables/gnn_relations.parquet"

_CHECKPOINT = Column("checkpoint", "string", "Name of the checkpoint in the configuration")
_PASSING = Column(
    "message_passing",
    "string",
    "Edges that carried messages: all, train (those of training), leave-out (all but those of the "
    "pair itself)",
)
_WHEN = "network.gnn"
_FAMILY = "all tests of one gene set, k, checkpoint, way of passing messages, quantity and part"

GNN_TABLES = (
    Table(
        SCORES,
        "matrix, gene set, view, length of the list, checkpoint, way of passing messages, quantity "
        "and part of the pairs: the median score of listed pairs against permuted lists",
        (
            MODEL,
            CATEGORY,
            LAYER,
            GENE_SET,
            VIEW,
            Column(
                "k",
                "int64",
                "Ordered pairs of the list, strongest first: each K of compare.k, and top_k; fewer "
                "where the list is shorter",
            ),
            _CHECKPOINT,
            _PASSING,
            Column(
                "quantity",
                "string",
                "probability (the larger one of both directions and over relations; not "
                "calibrated) or cosine of the two embeddings",
            ),
            Column("part_kind", "string", "all, edge, sign or relation"),
            Column(
                "part",
                "string",
                "Which pairs count: all pairs; with or without an edge of the graph that the "
                "neural network was trained on. Of the edges of the molecular network, signs: "
                "activation or inhibition (that sign alone), both signs, no sign; relations: roles "
                "of both ends, and a pair may have several. Signs and relations that no pair of "
                "the gene set has are left out",
            ),
            Column("n_listed", "int64", "Distinct unordered pairs of two vertices in the list"),
            Column("n_pairs", "int64", "Of these, pairs with a score"),
            Column("median", "float64", "Median score of the listed pairs"),
            *interval("median", how="vertices drawn with replacement 200 times"),
            Column("lower_quartile", "float64", "Lower quartile of the listed pairs"),
            Column("upper_quartile", "float64", "Upper quartile of the listed pairs"),
            Column("n_background", "int64", "Eligible pairs of the part with a score"),
            Column(
                "background_median",
                "float64",
                "Their median; of more than 4,194,304 pairs, of so many that are drawn with the "
                "seed of the run: its rank is then off by up to 0.05 % of the pairs (95 %)",
            ),
            Column("difference", "float64", "median - background_median"),
            Column(
                "null_mean",
                "float64",
                "Mean over permuted lists of their median: vertices permuted among those of like "
                "degree, like number of eligible partners and as many genes",
            ),
            *null_range("median"),
            test("median", _FAMILY)[0],
            N_PERMUTATIONS,
            test("median", _FAMILY)[1],
        ),
        when=_WHEN,
    ),
    Table(
        SELF_EVIDENCE,
        "category, gene set, checkpoint and way of passing messages: how well scores tell eligible "
        "pairs with an edge of the graph from those without",
        (
            MODEL,
            CATEGORY,
            GENE_SET,
            _CHECKPOINT,
            _PASSING,
            Column("quantity", "string", "probability or cosine"),
            Column("n_edges", "int64", "Eligible pairs that an edge of the graph joins"),
            Column("n_others", "int64", "Eligible pairs without one"),
            Column(
                "share_seen",
                "float64",
                "Share of the edges' pairs that were in training; null: the graph has no split",
            ),
            Column("median_edges", "float64", "Median score of pairs with an edge"),
            Column("median_others", "float64", "Median score of pairs without"),
            Column(
                "auc",
                "float64",
                "Chance that a pair with an edge scores higher than one without; all eligible "
                "pairs are counted, so there is no interval. Negatives are not matched for degree",
            ),
        ),
        when=_WHEN,
    ),
    Table(
        RELATIONS,
        "checkpoint and pair of its relations: how alike their embeddings are",
        (
            _CHECKPOINT,
            Column("relation_a", "string", "A relation of the head"),
            Column("relation_b", "string", "Another one"),
            Column("similarity", "float64", "Cosine; of RotatE the mean cosine of turns"),
            Column("angle", "float64", "Its arc cosine in degrees"),
            Column("mean_turn", "float64", "RotatE: mean phase difference in degrees; else null"),
            *null_range("similarity", how="columns of one of the two permuted"),
            Column("p", "float64", "Two-sided permutation p-value"),
            Column("q", "float64", "p adjusted by Benjamini and Hochberg over the pairs"),
            Column("n", "int64", "Columns of an embedding"),
            Column("permutations", "int64", "Permutations"),
        ),
        when=_WHEN,
    ),
)

SECTIONS = (
    Section(
        "Graph neural network: is an edge its own evidence?",
        "Scores of all pairs that the matrices could have listed. With message passing along all "
        "edges, an edge carries messages to the two embeddings that score it; left out, it does "
        "not. What falls from one row to the other is self-evidence. The weights may still have "
        "seen the edge in training (share_seen).",
        SELF_EVIDENCE,
        ("model", "category", "checkpoint", "message_passing", "quantity", "n_edges", "n_others",
         "share_seen", "median_edges", "median_others", "auc"),
    ),
    Section(
        "Graph neural network: scores of top pairs",
        "Median score of the top pairs of each matrix against lists whose vertices are permuted "
        "among those of like degree. A score is not calibrated. It was learned from the network, "
        "so it is no evidence independent of it: compare pairs without an edge, left out.",
        SCORES,
        ("model", "category", "layer", "k", "checkpoint", "message_passing", "quantity",
         "part_kind", "part", "n_pairs", "median", "low", "high", "background_median",
         "null_mean", "null_low", "null_high", "p", "q", "n_permutations"),
        ("q", True),
    ),
)  # fmt: skip

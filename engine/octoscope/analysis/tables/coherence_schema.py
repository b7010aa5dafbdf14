"""Schema of the tables that join coherence with enrichment."""

from __future__ import annotations

from octoscope.analysis.registry import Column, Table
from octoscope.analysis.tables.columns import (
    CATEGORY,
    GENE_SET,
    LAYER,
    VIEW,
    interval,
    null_range,
    test,
)

_WHEN = "network and compare; at least two model groups"
_GROUP = Column("group", "string", "Model group")
_K = Column("k", "int64", "Strongest pairs of a layer, over the genes that all models have")
_NULL = "genes of the model group permuted, together in all of its models and layers"
_DELETED = "20 random groups of genes deleted in turn"
_N_GROUPS = Column("n_groups", "int64", "Other model groups that evaluate")
_OF_LAYER = (
    CATEGORY,
    GENE_SET,
    VIEW,
    Column("model", "string", "Checkpoint, by its first attention variant"),
    LAYER,
    _GROUP,
    _K,
    _N_GROUPS,
)
_COHERENCE_ENDS = interval("coherence", "coherence_low", "coherence_high", _DELETED)
_FOLD_ENDS = interval("fold", "fold_low", "fold_high", _DELETED)
_OF_GROUP = (
    CATEGORY,
    GENE_SET,
    VIEW,
    _K,
    _GROUP,
    Column("model", "string", "Model whose layers count; null: those of all of the group"),
)
_COUNTED = (Column("n_models", "int64", "Models whose layers count"), _N_GROUPS)
_NULL_OF_SPEARMAN = (
    *interval("spearman", how=f"{_DELETED}; wider than it need be"),
    Column("null_mean", "float64", f"Mean correlation under the null: {_NULL}"),
    *null_range("spearman"),
    test("spearman", "")[0],
    Column("n_permutations", "int64", "Permutations under which it is defined"),
)

LAYER_TABLE = Table(
    "tables/coherence_enrichment.parquet",
    "layer of a model, category, gene set, view and k: coherence beside network enrichment",
    (
        *_OF_LAYER,
        Column("coherence", "float64", "As in tables/coherence, every model evaluates"),
        *_COHERENCE_ENDS,
        Column("coherence_q", "float64", "Its q"),
        Column("n_pairs", "int64", "Distinct pairs of two network vertices in the list"),
        Column("n_edges", "int64", "Of these, pairs that an edge joins"),
        Column("edge_rate", "float64", "n_edges / n_pairs; null: there are no pairs"),
        Column("null_mean", "float64", f"Mean edge rate under the null: {_NULL}"),
        Column("fold", "float64", "edge_rate / null_mean; null: undefined"),
        *_FOLD_ENDS,
        Column(
            "overlap_fold",
            "float64",
            "fold_over_null of tables/overlap: of the model's own genes and top_k pairs",
        ),
        Column("overlap_q", "float64", "Its q"),
        Column(
            "or0",
            "float64",
            "Of tables/overlap_shared: odds ratio of edges among pairs of like degree and "
            "expression, headline control; null: not made",
        ),
        *interval("or0", "or0_low", "or0_high"),
        Column("or1", "float64", "The same among pairs of like co-expression too"),
        *interval("or1", "or1_low", "or1_high"),
        Column("control", "string", "The headline control; null: not made"),
    ),
    when=_WHEN,
)
GROUP_TABLE = Table(
    "tables/coherence_enrichment_groups.parquet",
    "model group, and each model of a group of several: does enrichment rise with coherence over "
    "layers?",
    (
        *_OF_GROUP,
        *_COUNTED,
        Column("n_layers", "int64", "Layers of which coherence and fold are known"),
        Column(
            "spearman",
            "float64",
            "Spearman correlation of coherence and fold over these layers; null: fewer than three, "
            "or all alike",
        ),
        *_NULL_OF_SPEARMAN,
        Column(
            "spearman_or1",
            "float64",
            "The same with or1 in place of fold; descriptive, it has no null; null: not made",
        ),
        test("spearman", "all rows of one gene set, view and k")[1],
    ),
    when=_WHEN,
)
_SCORED = "network.gnn and compare; at least two model groups"
_CHECKPOINT = Column("checkpoint", "string", "Name of the checkpoint in the configuration")
_QUANTITY = Column(
    "quantity",
    "string",
    "probability or cosine, as in tables/gnn_scores, with the edges of the pair itself left out of "
    "message passing",
)
SCORE_TABLE = Table(
    "tables/coherence_scores.parquet",
    "layer of a model, category, gene set, view, k, checkpoint and quantity: coherence and "
    "enrichment beside the median score of the same list",
    (
        *_OF_LAYER,
        _CHECKPOINT,
        _QUANTITY,
        Column("coherence", "float64", "As in tables/coherence_enrichment"),
        *_COHERENCE_ENDS,
        Column("fold", "float64", "As in tables/coherence_enrichment"),
        *_FOLD_ENDS,
        Column("n_pairs", "int64", "Distinct pairs of two network vertices with a score"),
        Column("median", "float64", "Their median score; null: there are none"),
        *interval("median", "median_low", "median_high", _DELETED),
        Column("null_mean", "float64", f"Mean of the median under the null: {_NULL}"),
        Column("difference", "float64", "median - null_mean"),
    ),
    when=_SCORED,
)
SCORE_GROUP_TABLE = Table(
    "tables/coherence_scores_groups.parquet",
    "model group, and each model of a group of several, by checkpoint and quantity: do scores rise "
    "with coherence over layers?",
    (
        *_OF_GROUP,
        _CHECKPOINT,
        _QUANTITY,
        *_COUNTED,
        Column("n_layers", "int64", "Layers of which coherence and score are known"),
        Column(
            "spearman",
            "float64",
            "Spearman correlation of coherence and of the median score less its null mean, over "
            "these layers; null: fewer than three, or all alike",
        ),
        *_NULL_OF_SPEARMAN,
        test("spearman", "all rows of one gene set, view, k, checkpoint and quantity")[1],
    ),
    when=_SCORED,
)
SCORE_TABLES = (SCORE_TABLE, SCORE_GROUP_TABLE)
COHERENCE_TABLES = (LAYER_TABLE, GROUP_TABLE, *SCORE_TABLES)

"""Schema of the tables of combined layers, consensus networks and contrasts of categories."""

from __future__ import annotations

from dataclasses import replace

from octoscope.analysis.registry import Column, Table
from octoscope.analysis.tables.columns import (
    CATEGORY,
    GENE_SET,
    IN_NETWORK,
    KEY,
    MODEL,
    N_PERMUTATIONS,
    QUERY,
    VIEW,
    interval,
    null_range,
    test,
)
from octoscope.analysis.tables.matrix_schema import DONOR_GROUPS, STATISTICS, TOP_PAIRS

_WHEN = "compare.consensus"
_SEVERAL = "compare.consensus and several categories"
_GROUPS = "compare.consensus and several model groups"
_KEYS = (GENE_SET, VIEW)
_CLOSEST = (
    "Other category where the pair is strongest; null: it is eligible in no other, and its "
    "contrast is unknown"
)
# matrices of combined layers have no donor groups and no second moments
_COMBINED = tuple(c for c in STATISTICS if c.when != DONOR_GROUPS)
_TOP = tuple(c for c in TOP_PAIRS if not c.when)

CONSENSUS_TABLES = (
    Table(
        "tables/consensus_layers.parquet",
        "model, category, gene set and view: its combined layers (`compare.layers`), each half "
        "combined on its own",
        (MODEL, CATEGORY, Column("layers", "int64", "Layers that were combined"), *_COMBINED),
        when=_WHEN,
    ),
    Table(
        "consensus/{model}.parquet",
        "top pair of a model's combined layers",
        (
            MODEL,
            CATEGORY,
            *_TOP,
            Column("layer", "int32", "Layer where the pair is largest"),
            IN_NETWORK,
        ),
        when=_WHEN,
    ),
    Table(
        "consensus/{category}.parquet",
        "pair among the strongest of at least one model's combined layers in this category: "
        "pairs of the most model groups first, then by score",
        (
            CATEGORY,
            *_KEYS,
            *QUERY,
            *KEY,
            Column(
                "score",
                "float64",
                "Mean over model groups of -log10 of the pair's quantile; a group that cannot "
                "rank the pair counts as chance",
            ),
            Column("score_half0", "float64", "score from the first half of the cells alone"),
            Column("score_half1", "float64", "score from the second half of the cells alone"),
            Column("n_models", "int64", "Models that have it among their strongest pairs"),
            Column("n_groups", "int64", "Model groups that do"),
            Column("n_groups_half0", "int64", "Model groups that do in the first half"),
            Column("n_groups_half1", "int64", "Model groups that do in the second half"),
            Column(
                "quantile_{model}",
                "float32",
                "rank / ranked pairs in the model, or in co-expression of the same cells; null: "
                "not eligible there",
            ),
            Column(
                "specificity",
                "float64",
                "log10 of the consensus quantile in the best other category over the one here; "
                "null: unknown",
            ),
            Column("closest_category", "string", _CLOSEST),
            Column(
                "layer_{model}",
                "int32",
                "Layer of the model where the pair is largest; null: the model is not compared in "
                "this gene set and view",
            ),
            Column(
                "n_layers",
                "int64",
                "Single layers, over all models, that have it among their own strongest pairs",
            ),
            Column(
                "rank",
                "int64",
                "1 + pairs of this network with more model groups, or as many and a greater score",
            ),
            IN_NETWORK,
        ),
        when=_WHEN,
    ),
    Table(
        "tables/support.parquet",
        "number of model groups, category, gene set and view: how many pairs they share",
        (
            CATEGORY,
            *_KEYS,
            Column("n_groups", "int64", "Model groups, at least"),
            Column("n_pairs", "int64", "Pairs among the strongest of so many groups"),
            Column("null_mean", "float64", "Mean with each group's genes relabelled"),
            *null_range("n_pairs"),
            test("n_pairs", "")[0],
            N_PERMUTATIONS,
            test("", "the rows of one gene set and view")[1],
        ),
        when=_GROUPS,
    ),
    Table(
        "tables/contrasts.parquet",
        "model and category: how much of its strongest pairs is of this category and not of "
        "the others",
        (
            MODEL,
            CATEGORY,
            *_KEYS,
            Column("n_pairs", "int64", "Strongest pairs whose contrast is known in both halves"),
            Column("median_contrast", "float64", "Median contrast of these pairs"),
            Column("noise_high", "float64", "95 % quantile of the noise of their contrasts"),
            Column("n_specific", "int64", "Pairs with a contrast above it in both halves"),
            Column("specific_rate", "float64", "n_specific / n_pairs"),
            *interval("specific_rate", "specific_low", "specific_high", "one gene deleted"),
            Column("n_by_chance", "float64", "As many as independent, symmetric noise would give"),
            Column("half_correlation", "float64", "Correlation of both halves' contrasts"),
            *interval("half_correlation", how="one gene deleted at a time"),
        ),
        when=_SEVERAL,
    ),
    Table(
        "tables/specific.parquet",
        "strongest pair behind the contrasts, largest contrast first. Pairs were "
        "chosen by all cells, so both halves carry a part of the choice",
        (
            MODEL,
            CATEGORY,
            *_KEYS,
            *QUERY,
            *KEY,
            Column("quantile", "float32", "rank / ranked pairs in this category"),
            Column(
                "contrast",
                "float64",
                "log10 of the smallest quantile elsewhere over the one here; null: eligible "
                "nowhere else",
            ),
            Column("contrast_half0", "float64", "contrast from the first half of the cells"),
            Column("contrast_half1", "float64", "contrast from the second half of the cells"),
            Column("noise", "float64", "Difference of these two over the square root of 2"),
            Column("closest_category", "string", _CLOSEST),
            Column(
                "specific",
                "bool",
                "contrast above noise_high of contrasts in both halves; null: one is unknown",
            ),
        ),
        when=_SEVERAL,
    ),
)

_POOL = Column("pool", "string", "Name of the pool of categories")
_POOLS = "compare.pools"
_LAYER = Column("layer", "int64", "Layer, counted from 0")
POOL_TABLES = (
    Table(
        "tables/pools.parquet",
        "matrix of a pool of categories, as in stats; matrices per cell alone",
        (
            MODEL,
            _POOL,
            _LAYER,
            *(
                replace(c, meaning="half_p adjusted over all matrices of one pool, gene set, view")
                if c.name == "half_q"
                else c
                for c in _COMBINED
            ),
        ),
        when=_POOLS,
    ),
    Table(
        "pools/{model}.parquet",
        "top pair of a matrix of a pool, as in topk",
        (MODEL, _POOL, _LAYER, *(c for c in TOP_PAIRS if c.when != DONOR_GROUPS)),
        when=_POOLS,
    ),
)

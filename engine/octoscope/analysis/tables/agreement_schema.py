"""Schema of the tables of agreement between matrices."""

from __future__ import annotations

from octoscope.analysis.registry import Column, Table
from octoscope.analysis.tables.columns import (
    CATEGORY,
    GENE_SET,
    LAYER,
    N_PERMUTATIONS,
    VIEW,
    interval,
    null_range,
    only_with,
    over_categories,
    test,
)

_WHEN = "compare"
_SELECTION = (GENE_SET, VIEW)
_K = Column("k", "int64", "Strongest pairs of the query matrix, with all ties at the last value")
_COMPARISON = Column(
    "comparison",
    "string",
    "models (every layer of each model's first attention variant, and co-expression), layers (of "
    "one model over all of its own genes; where all models share these, see models), estimators "
    "(per cell against mean cell, one layer) or heads (of one layer)",
)
_ENDS = (
    Column("query_model", "string", "Attention variant whose strongest pairs are looked up"),
    Column("query_layer", "int64", "Its layer"),
    Column("query_view", "string", "Its view: correlation for co-expression"),
    Column("eval_model", "string", "Attention variant in which they are looked up"),
    Column("eval_layer", "int64", "Its layer"),
    Column("eval_view", "string", "Its view: correlation for co-expression"),
)
_N = Column("n", "int64", "Rows of agreement behind it")
_SIGNIFICANT = Column("n_significant", "int64", "Of these, rows with q below 0.05")
_PERMUTED = "gene labels of the evaluated matrix permuted"
_LEFT_OUT = Column("left_out", "string", "Model that does not evaluate; null: every model does")
_COHERENT = (
    Column("model", "string", "Model"),
    LAYER,
    Column("group", "string", "Its model group"),
)
_DONORS = "donor_groups"

AGREEMENT_COLUMNS = (
    _COMPARISON,
    CATEGORY,
    *_SELECTION,
    *_ENDS,
    _K,
    Column("n_pairs", "int64", "Of these pairs, those eligible in the evaluated matrix"),
    Column(
        "median_quantile",
        "float64",
        "Median of rank / ranked pairs in the evaluated matrix; 0: the strongest, 0.5: chance; "
        "null: no pair is eligible",
    ),
    *interval("median_quantile", how="20 random groups of genes deleted in turn"),
    Column("null_median", "float64", f"Mean of the median quantile under the null: {_PERMUTED}"),
    *null_range("median_quantile"),
    Column("p", "float64", "One-sided permutation p-value of small medians; null: undefined"),
    N_PERMUTATIONS,
    Column("mean_quantile", "float64", "Mean quantile"),
    Column("min_quantile", "float64", "Smallest quantile"),
    Column("max_quantile", "float64", "Largest quantile"),
    Column("jaccard", "float64", "Jaccard index of both matrices' lists of k pairs"),
    Column("null_jaccard", "float64", "Its mean under the same null"),
    *only_with(
        _DONORS,
        *interval(
            "median_quantile over donors", "donor_low", "donor_high", "null for co-expression"
        ),
    ),
    Column("n_genes", "int64", "Genes that were compared"),
    Column("n_union", "int64", "Pairs among the strongest of any compared matrix"),
    Column("n_correlated", "int64", "Of the union, pairs eligible in both matrices"),
    Column(
        "spearman",
        "float64",
        "Spearman correlation of the values over these pairs; descriptive, as the matrices chose "
        "the union",
    ),
    test("", "all rows of one comparison, gene set, view and k")[1],
)

AGREEMENT_TABLES = (
    Table(
        "tables/agreement.parquet",
        "query matrix, evaluated matrix and k: quantiles of the strongest pairs of the first in "
        "the second, over the genes of the set that all compared models have",
        AGREEMENT_COLUMNS,
        when=_WHEN,
    ),
    Table(
        "tables/agreement_categories.parquet",
        "query matrix, evaluated matrix and k, over categories",
        over_categories(
            (_COMPARISON, *_SELECTION, *_ENDS, _K),
            ("median_quantile", "median_quantile"),
            ("spearman", "spearman"),
            ("jaccard", "jaccard"),
        ),
        when=_WHEN,
    ),
    Table(
        "tables/model_pairs.parquet",
        "ordered pair of models and k, over their layers and categories",
        (
            *_SELECTION,
            _K,
            _ENDS[0],
            _ENDS[3],
            _N,
            Column("median_quantile", "float64", "Median of their median quantiles"),
            Column("smallest", "float64", "Smallest median quantile"),
            Column("largest", "float64", "Largest median quantile"),
            Column("null_median", "float64", "Median of the nulls' medians"),
            _SIGNIFICANT,
            Column("jaccard", "float64", "Median Jaccard index"),
            Column("null_jaccard", "float64", "Median of its means under the null"),
            Column(
                "best_category",
                "string",
                "Category of the smallest median quantile; null: none is known, and no other "
                "best_ column",
            ),
            Column("best_query_layer", "int64", "Layer of the query model there"),
            Column("best_eval_layer", "int64", "Layer of the evaluated model there"),
            Column("best_n_pairs", "int64", "Pairs looked up there"),
            *interval("the smallest median quantile", "best_low", "best_high"),
            *null_range("it", "best_null_low", "best_null_high"),
            Column("best_q", "float64", "Its q"),
        ),
        when=_WHEN,
    ),
    Table(
        "tables/by_k.parquet",
        "model and k: its agreement with all other models",
        (
            *_SELECTION,
            _ENDS[0],
            _K,
            _N,
            Column("low", "float64", "First quartile of the median quantiles"),
            Column("middle", "float64", "Their median"),
            Column("high", "float64", "Their third quartile"),
            Column("null", "float64", "Median of the nulls' medians"),
        ),
        when=_WHEN,
    ),
    Table(
        "tables/heads.parquet",
        "head and k: its strongest pairs in the other heads of its layer; no rows without heads as "
        "matrices",
        (
            Column("query_model", "string", "Attention variant of the head"),
            *_SELECTION,
            _K,
            CATEGORY,
            LAYER,
            Column("n", "int64", "Other heads"),
            Column("n_pairs", "float64", "Median number of pairs looked up"),
            Column("median_quantile", "float64", "Median of the median quantiles"),
            Column("smallest", "float64", "Smallest of them"),
            Column("largest", "float64", "Largest of them"),
            Column("low", "float64", "Median of the lower ends of their 95 % intervals"),
            Column("high", "float64", "Median of the upper ends"),
            Column("null_median", "float64", "Median of the nulls' medians"),
            Column("null_low", "float64", "Median of the nulls' 2.5 % quantiles"),
            Column("null_high", "float64", "Median of the nulls' 97.5 % quantiles"),
            Column("n_significant", "int64", "Other heads with q below 0.05"),
        ),
        when=_WHEN,
    ),
    Table(
        "tables/coherence.parquet",
        "layer of a model: do other model groups find its strongest pairs? No rows with a "
        "single model group",
        (
            Column("comparison", "string", "models, as in agreement"),
            CATEGORY,
            *_SELECTION,
            *_COHERENT,
            _K,
            _LEFT_OUT,
            Column("n_groups", "int64", "Other model groups that evaluate"),
            Column(
                "coherence",
                "float64",
                "Mean of -log10(2 x median quantile) over a model's layers, then a group's models, "
                "then the other groups; 0: chance or worse; null: no median is known",
            ),
            *interval("coherence", how="20 random groups of genes deleted in turn"),
            Column("null_mean", "float64", f"Mean coherence under the null: {_PERMUTED}"),
            *null_range("coherence"),
            test("coherence", "")[0],
            N_PERMUTATIONS,
            *only_with(_DONORS, *interval("coherence over donors", "donor_low", "donor_high")),
            test("", "all rows of one gene set, view and k")[1],
        ),
        when=_WHEN,
    ),
    Table(
        "tables/coherence_categories.parquet",
        "layer of a model, over categories",
        over_categories(
            (*_COHERENT, *_SELECTION, _K, _LEFT_OUT),
            ("coherence", "coherence"),
        ),
        when=_WHEN,
    ),
    Table(
        "tables/gene_sets.parquet",
        "subset of models; of more than eight models each, every two, all, and those that "
        "gene sets name",
        (
            Column("models", "string", "Their names, joined by +"),
            Column("n_models", "int64", "Models"),
            Column("n_groups", "int64", "Model groups"),
            Column("n_genes", "int64", "Genes that all of them accumulate"),
            Column("n_vocabulary", "int64", "Genes of the atlas in all of their vocabularies"),
            Column(
                "share_of_smallest", "float64", "n_vocabulary / the smallest of these vocabularies"
            ),
        ),
        when=_WHEN,
    ),
)

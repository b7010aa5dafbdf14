"""Schema of the tables of the overlap that is controlled for co-expression."""

from __future__ import annotations

from dataclasses import replace

from octoscope.analysis.registry import Column, Table
from octoscope.analysis.tables.columns import (
    CATEGORY,
    GENE_SET,
    LAYER,
    MODEL,
    VIEW,
    interval,
    null_range,
)
from octoscope.analysis.tables.matrix_schema import NAMES

_WHEN = "network and coexpression"
_LIST = (
    Column("network_view", "string", "Part of the network that counts as edges"),
    Column(
        "control",
        "string",
        "Co-expression that is controlled; pooled: over categories; within donors: about the means "
        "of each group of donors",
    ),
    Column("k", "int64", "Unordered pairs of vertices that were asked for"),
    Column(
        "longest",
        "bool",
        "Whether it is the longest list of at most a tenth of all pairs, else the shortest",
    ),
)
_LABEL = (*NAMES, GENE_SET, VIEW, *_LIST)
_COUNTS = (
    Column("n_pairs", "int64", "Listed pairs: all eligible in the matrix and in the control"),
    Column("n_edges", "int64", "Of these, pairs that an edge joins"),
    Column("n_background", "int64", "All pairs that could be listed"),
)
_VERTICES = "vertices deleted in turn"
_HOW = f"{_VERTICES}, or donors where that is wider"
_ODDS = (
    Column(
        "or0",
        "float64",
        "Odds ratio of being an edge, of listed against other pairs of like degree and expression "
        "level (Mantel-Haenszel); null: undefined",
    ),
    *interval("or0", "or0_low", "or0_high", _HOW),
    Column("or1", "float64", "The same among pairs of like co-expression too"),
    *interval("or1", "or1_low", "or1_high", _HOW),
)
_OVER_DONORS = (
    Column("donor_groups", "int64", "Groups of donors that were deleted in turn; 0: none"),
    *interval("or0", "or0_donors_low", "or0_donors_high", "donors deleted in turn; null: none"),
    *interval("or1", "or1_donors_low", "or1_donors_high", "donors deleted in turn; null: none"),
)
_REASON = (
    Column(
        "verdict",
        "string",
        "beyond co-expression, no more than co-expression, not enriched beyond degree and "
        "expression, or cannot tell; a headline is beyond co-expression only if no control of the "
        "same list says otherwise",
    ),
    Column("reason", "string", "Why it cannot be told; null: it can"),
)
_CONTROLLED = (
    *_LABEL,
    *_COUNTS,
    *_ODDS,
    *_OVER_DONORS,
    Column("or1_half", "float64", "or1 with co-expression of half of the cells, mean of both"),
    Column(
        "or1_extrapolated",
        "float64",
        "or1 for infinitely many cells, if its error falls as one over their number",
    ),
    Column(
        "or1_corrected",
        "float64",
        "or1 corrected for error in the control: or1 / or0^(1 - rho), to the power 1 / rho",
    ),
    Column("or1_corrected_low", "float64", "Lower limit of its 95 % interval"),
    Column("or1_corrected_high", "float64", "Upper limit of its 95 % interval"),
    Column("rho", "float64", "Reliability of the control: Spearman-Brown of its halves, all pairs"),
    Column("rho_list", "float64", "The same over the listed pairs"),
    Column("bound", "float64", "max(1, or0)^(1 - rho): what error in the control can leave"),
    Column(
        "or1_low_at_bound",
        "float64",
        "or1_low / bound: lower limit of or1 if error in the control leaves as much as it can",
    ),
    Column("smd_coexpression", "float64", "Difference of listed and other pairs within strata, SD"),
    Column("smd_degree", "float64", "The same of log degree"),
    Column("smd_expression", "float64", "The same of the expression level"),
    Column("positivity", "float64", "Share of listed pairs with another pair in their stratum"),
    Column("positivity_edges", "float64", "Share of listed edges with another pair there"),
    Column("p", "float64", "One-sided p-value of or1 above 1.1 times the bound; null: undefined"),
    Column(
        "q",
        "float64",
        "p adjusted by Benjamini and Hochberg over layers, views and controls of a model, "
        "category, gene set and K",
    ),
    Column(
        "e_value",
        "float64",
        "Odds ratio that a missing control needs with both list and edges to explain or1_low "
        "beyond the bound; 1: nothing to explain",
    ),
    Column(
        "headline",
        "bool",
        "Whether this control explains most: smallest or1, undefined ones first",
    ),
    *_REASON,
)

_RUNGS = {
    "all": "the share of edges among all pairs that could be listed",
    "degree": "a logistic model with an effect of each gene",
    "expression": "the same model with bins of the expression level too",
    "coexpression": "the same model with bins of co-expression too",
    "pairwise": "the same model with cells of both levels and of both degrees too",
}


def _rung(name: str, what: str) -> tuple[Column, ...]:
    """Return the columns of a rung of the ladder by models with gene effects."""
    ratio = f"ratio_{name}"
    return (
        Column(
            f"fitted_{name}",
            "float64",
            f"Edge rate that {what} expects; null: its fit did not converge",
        ),
        Column(ratio, "float64", f"Observed edges over those of fitted_{name}"),
        *interval(
            ratio, f"ratio_low_{name}", f"ratio_high_{name}", "pairs that share a vertex depend"
        ),
    )


_MEASURED = _CONTROLLED[len(_LABEL) :]
SHARED_TABLE = Table(
    "tables/overlap_shared.parquet",
    "category, gene set, view, control, K and list, over the pairs that all models can rank",
    (
        Column(
            "list",
            "string",
            "layer; layers combined: of a checkpoint as one matrix; models combined: the consensus "
            "network, the strongest pair first, with the pairs that some model lists alone",
        ),
        replace(MODEL, meaning="Checkpoint; null: the consensus"),
        CATEGORY,
        replace(LAYER, meaning="Layer; null: all of them"),
        Column("n_models", "int64", "Models whose genes and pairs are shared"),
        GENE_SET,
        VIEW,
        *_LIST[:3],
        *_MEASURED,
    ),
    when="network, coexpression and compare.consensus",
)
CONTROLLED_TABLES = (
    Table(
        "tables/overlap_controlled.parquet",
        "matrix, gene set, view, control and K: enrichment with and without the control",
        _CONTROLLED,
        when=_WHEN,
    ),
    Table(
        "tables/overlap_ladder.parquet",
        "matrix, gene set, view, control and K: edges that each further control expects",
        (
            *_LABEL,
            *_COUNTS,
            Column("edge_rate", "float64", "n_edges / n_pairs"),
            Column(
                "p_hypergeometric",
                "float64",
                "Chance of as many edges among random pairs; a description: nothing is controlled, "
                "and pairs that share a vertex depend on each other",
            ),
            Column("expected_all", "float64", "Edge rate of all pairs that could be listed"),
            Column("expected_degree", "float64", "Of other pairs of like degree"),
            Column("expected_expression", "float64", "Of other pairs of like expression too"),
            Column("expected_coexpression", "float64", "Of other pairs of like co-expression too"),
            Column(
                "edge_rate_comparable",
                "float64",
                "Edge rate of the listed pairs with another pair of like co-expression, degree and "
                "expression: expected_coexpression is of these alone",
            ),
            *(column for rung, what in _RUNGS.items() for column in _rung(rung, what)),
        ),
        when=_WHEN,
    ),
    Table(
        "tables/overlap_refinement.parquet",
        "matrix, gene set, view, control, K and width of the co-expression bins",
        (
            *_LABEL,
            Column(
                "bins",
                "string",
                "deciles, or bins per factor of two in rank: log2 1, half 2, quarter 4, eighth 8; "
                "splines: logistic regression on splines of all controls, for the longest list",
            ),
            Column("or1", "float64", "Odds ratio with these bins; null: undefined"),
            *interval("or1", "or1_low", "or1_high", "splines alone; pairs of a vertex depend"),
            Column("smd_coexpression", "float64", "Difference within strata, SD"),
            Column("positivity", "float64", "Share of listed pairs with another in their stratum"),
        ),
        when=_WHEN,
    ),
    Table(
        "tables/overlap_comparators.parquet",
        "block, gene set, control, K and comparator: other lists of the same pairs and length",
        (
            *_LABEL,
            Column(
                "comparator",
                "string",
                "random pairs; expression: sum of both levels; co-expression: of half of the "
                "cells, controlled by the other half; gene effects: sum of both genes' effects on "
                "the matrix; hidden states: cosine of the residual stream before the layer; token "
                "embeddings: cosine of the checkpoint's own embeddings of genes; GNN "
                "probability and GNN cosine: of each `network.gnn`, with a pair's own edges left "
                "out of message passing; layers combined: of the checkpoint's layers as one matrix",
            ),
            *_COUNTS,
            *_ODDS,
        ),
        when=_WHEN,
    ),
    Table(
        "tables/overlap_orientation.parquet",
        "matrix of the first view, and gene set: do strong pairs follow the direction of edges",
        (
            *NAMES,
            GENE_SET,
            VIEW,
            _LIST[0],
            _LIST[2],
            Column("n_pairs", "int64", "Listed pairs"),
            Column("n_one_way", "int64", "Of these, pairs whose edges all lead one way"),
            Column("n_query_to_key", "int64", "Of these, edges that lead from query to key"),
            Column("share", "float64", "n_query_to_key / n_one_way; null: there are none"),
            *interval("share", how="one vertex deleted at a time"),
            Column("null_mean", "float64", "Mean share with vertices permuted as for the overlap"),
            *null_range("share"),
            Column("p", "float64", "Two-sided permutation p-value of the share; null: undefined"),
            Column("n_permutations", "int64", "Permutations that have a one-way edge"),
            Column("q", "float64", "p adjusted by Benjamini and Hochberg over a gene set"),
        ),
        when=_WHEN,
    ),
    Table(
        "tables/overlap_parts.parquet",
        "layer, gene set, control and part of the network: the first view's headline list",
        (
            *_LABEL,
            Column(
                "part_kind",
                "string",
                "source; relation: roles of both ends; sign; direction: stated in an order or in "
                "none; score; sources: how many assert the pair",
            ),
            Column("part", "string", "Part of the network that counts as edges"),
            Column("part_edges", "int64", "Its edges among all pairs that could be listed"),
            *_MEASURED,
        ),
        when=f"{_WHEN} and network.parts",
    ),
    Table(
        "tables/overlap_gnn.parquet",
        "layer, gene set, control, checkpoint and score: the first view's headline list among "
        "pairs that a graph neural network scores alike",
        (
            *_LABEL,
            Column("checkpoint", "string", "Name of the checkpoint in the configuration"),
            Column(
                "quantity",
                "string",
                "Score that strata are made of: probability or cosine, with a pair's own edges "
                "left out of message passing",
            ),
            Column("n_pairs", "int64", "Listed pairs with a score"),
            *_COUNTS[1:2],
            Column("n_background", "int64", "All pairs that could be listed and have a score"),
            *_ODDS,
            Column("or0_score", "float64", "or0 among pairs of like score too; null: undefined"),
            *interval("or0_score", "or0_score_low", "or0_score_high", _VERTICES),
            Column("or1_score", "float64", "or1 among pairs of like score too; null: undefined"),
            *interval("or1_score", "or1_score_low", "or1_score_high", _VERTICES),
            Column("smd_score", "float64", "Difference of the score within strata, SD"),
            Column("smd_coexpression", "float64", "Difference of co-expression within strata, SD"),
            Column("positivity", "float64", "Share of listed pairs with another in their stratum"),
            Column("p", "float64", "One-sided p-value of or1_score above 1; null: undefined"),
            Column(
                "q",
                "float64",
                "p adjusted by Benjamini and Hochberg over the layers, models, categories and "
                "controls of a gene set, checkpoint and score",
            ),
        ),
        when=f"{_WHEN} and network.gnn",
    ),
    Table(
        "tables/overlap_chosen.parquet",
        "checkpoint, category, gene set and half of the genes: the variant and layer with the "
        "largest lower limit of or1 among this half, tested on the other half",
        (
            Column("base", "string", "Checkpoint"),
            CATEGORY,
            GENE_SET,
            VIEW,
            _LIST[0],
            _LIST[1],
            Column("k", "int64", "Pairs that were asked for: a quarter of the headline's"),
            Column("chosen_on", "int64", "Half of the vertices, 0 or 1, that it was chosen on"),
            Column("n_candidates", "int64", "Layers of all variants and heads to choose from"),
            Column("variant", "string", "Attention variant that was chosen"),
            Column("layer", "int64", "Its layer"),
            Column("or1_chosen", "float64", "or1 among the half that it was chosen on"),
            Column("n_pairs", "int64", "Listed pairs within the other half"),
            Column("n_edges", "int64", "Of these, pairs that an edge joins"),
            *_ODDS,
            Column(
                "p",
                "float64",
                "One-sided p-value of or1 above what error in the control can leave; null: "
                "undefined",
            ),
            Column("q", "float64", "p adjusted by Benjamini and Hochberg over a gene set"),
            Column("sentence", "string", "The same in words"),
        ),
        when=_WHEN,
    ),
    Table(
        "tables/verdicts.parquet",
        "attention variant, layer and category: the verdict on the first gene set and view, "
        "the longest list of at most a tenth of all pairs, and the control that explains most",
        (*_CONTROLLED, Column("sentence", "string", "The verdict in words, with its numbers")),
        when=_WHEN,
    ),
    Table(
        "tables/verdict_summary.parquet",
        "attention variant and category: how many layers have which verdict",
        (
            MODEL,
            CATEGORY,
            Column("n_layers", "int64", "Layers"),
            Column("n_beyond", "int64", "Layers beyond co-expression"),
            Column("n_no_more", "int64", "Layers with no more than co-expression"),
            Column("n_not_enriched", "int64", "Layers not enriched beyond degree and expression"),
            Column("n_cannot_tell", "int64", "Layers of which it cannot be told"),
            Column("sentence", "string", "The verdict on the layer of the clearest verdict"),
        ),
        when=_WHEN,
    ),
)

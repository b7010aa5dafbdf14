"""Sections of a run's configuration about the analyses of its finished matrices."""

from __future__ import annotations

from typing import Annotated

from octoscope.config.types import (
    ONE_OR_MORE,
    SOME,
    UNIQUE,
    Combination,
    Conventions,
    Count,
    Location,
    Name,
    Section,
    View,
    setting,
)


class EdgesConfig(Section):
    """A network per matrix: the strongest key genes of each query gene, under ``edges/``."""

    per_query: int = setting(20, "Key genes kept per query gene", ge=1, le=10**6)
    threshold: float | None = setting(
        None,
        "Smallest value kept; with view lift, 1 is uniform attention",
        allow_inf_nan=False,
    )
    symmetrise: bool = setting(False, "Rank (A + A^T) / 2 instead of A")
    gene_set: Name | None = setting(None, "Declared gene set; null: the first")
    view: View | None = setting(None, "Declared view; null: the first")


class GnnConfig(Section):
    """A graph neural network trained on a molecular network; see docs/gnn.md."""

    path: Location = setting(
        description="Checkpoint: a napistu-torch folder or .ckpt file, or Octoscope's own folder"
    )
    graph: Location | None = setting(
        None,
        "Graph that it was trained on: a folder of `octoscope gnn graph`, a napistu-torch store, "
        "or an Octopus directory; null: network.path",
    )
    data: str | None = setting(None, "Name of the data of a store; null: the one that fits")


class NetworkConfig(Section):
    """The molecular network that top pairs are compared with."""

    path: Location = setting(description="Octopus directory (docs/octopus.md), or 'demo'")
    sources: Annotated[list[str], SOME, UNIQUE] | None = setting(
        None, "Sources that count; null: all"
    )
    independent: bool = setting(
        False,
        "Leave co-expression evidence out: STRING rescored without its co-expression "
        "and text-mining channels, Reactome-FI without predictions, OmniPath without rows that are "
        "inferred from expression alone",
    )
    permutations: int = setting(1000, "Gene-label permutations per test", ge=100, le=10**7)
    k: Annotated[list[Count], ONE_OR_MORE, SOME, UNIQUE] | None = setting(
        None,
        "Unordered pairs of the lists that are controlled for co-expression; null: compare.k, or "
        "top_k and a tenth of it",
        absent=None,
    )
    parts: bool = setting(
        False,
        "Also compare lists with each source, relation, sign, order and score threshold of the "
        "network, controlled for co-expression: as much time again for every part",
        absent=False,
    )
    gnn: dict[Name, GnnConfig] = setting(
        factory=dict,
        description="Graph neural networks that score the top pairs, by name",
        absent={},
    )


class CompareConfig(Section):
    """Matrices against each other: models, estimators, heads, categories; see docs/science.md."""

    k: Annotated[list[Count], ONE_OR_MORE, SOME, UNIQUE] | None = setting(
        None, "Pairs that count as a matrix's strongest; null: top_k and a tenth of it"
    )
    gene_sets: Annotated[list[Name], SOME, UNIQUE] | None = setting(
        None, "Gene sets that models and categories are compared over; null: all"
    )
    views: Annotated[list[str], SOME, UNIQUE] | None = setting(
        None, "Views that they are compared in, <view>.centred too; null: all"
    )
    model_groups: dict[Name, list[Name]] | None = setting(
        None,
        "Groups of models that are not independent of each other, by name; a model in no group is "
        "a group of its own. null: one group per family, scFoundation and AIDO.Cell together",
    )
    consensus: bool = setting(
        True,
        "Also make one matrix of each model's layers and compare those: consensus "
        "networks, support, contrasts. Reads every matrix ten more times",
        absent=True,
    )
    layers: Combination = setting(
        "absolute-argmax",
        "How a model's layers become one matrix: sum, max, or the value of the layer "
        "where it is largest by size",
    )
    conventions: Conventions = setting(
        "corrected",
        "corrected: ranks among eligible pairs of different genes; peer: among all "
        "genes^2 values, as napistu-torch 0.4.0 counts",
    )
    pools: dict[Name, Annotated[list[str], UNIQUE]] = setting(
        factory=dict, description="Categories that are also pooled, by the name of the pool"
    )

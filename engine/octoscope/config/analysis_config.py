"""Sections of a run's configuration that say what its finished matrices are asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from octoscope.config.types import ONE_OR_MORE, Combination, Conventions, Name, Place, Section, View


class EdgesConfig(Section):
    """A network per matrix: the strongest key genes of each query gene, under ``edges/``."""

    per_query: int = Field(20, ge=1, description="Key genes kept per query gene")
    threshold: float | None = Field(
        None, description="Smallest value kept; with view lift, 1 is uniform attention"
    )
    symmetrise: bool = Field(False, description="Rank (A + A^T) / 2 instead of A")
    gene_set: Name | None = Field(None, description="Declared gene set; null: the first")
    view: View | None = Field(None, description="Declared view; null: the first")


class NetworkConfig(Section):
    """The molecular network that top pairs are compared with."""

    path: Place = Field(description="Octopus directory (docs/octopus.md), or 'demo'")
    sources: list[str] | None = Field(None, description="Sources that count; null: all")
    independent: bool = Field(
        False,
        description="Leave co-expression evidence out: STRING rescored without its co-expression "
        "and text-mining channels, Reactome-FI without predictions",
    )
    permutations: int = Field(1000, ge=100, description="Gene-label permutations per test")


class CompareConfig(Section):
    """Matrices against each other: models, estimators, heads, categories; see docs/science.md."""

    k: Annotated[list[int], ONE_OR_MORE] | None = Field(
        None, description="Pairs that count as a matrix's strongest; null: top_k and a tenth of it"
    )
    gene_sets: list[Name] | None = Field(
        None, description="Gene sets that models and categories are compared over; null: all"
    )
    views: list[str] | None = Field(
        None, description="Views that they are compared in, <view>.centred too; null: all"
    )
    model_groups: dict[Name, list[Name]] | None = Field(
        None,
        description="Groups of models that are not independent of each other, by name; a model in "
        "no group is a group of its own. null: "
        "one group per family, scFoundation and AIDO.Cell together",
    )
    consensus: bool = Field(
        True,
        description="Also make one matrix of each model's layers and compare those: consensus "
        "networks, support, contrasts. Reads every matrix ten more times",
    )
    layers: Combination = Field(
        "absolute-argmax",
        description="How a model's layers become one matrix: sum, max, or the value of the layer "
        "where it is largest by size",
    )
    conventions: Conventions = Field(
        "corrected",
        description="corrected: ranks among eligible pairs of different genes; peer: among all "
        "genes^2 values, as napistu-torch 0.4.0 counts",
    )
    pools: dict[Name, list[str]] = Field(
        default_factory=dict,
        description="Categories that are also read as one, by the name of the pool",
    )

"""The settings of a run in a plan: declared by the configuration, all of them resolved."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, field_serializer

from octoscope.config.analysis_config import CompareConfig, EdgesConfig
from octoscope.config.byte_sizes import parse_bytes
from octoscope.config.declared import result_tree
from octoscope.config.execution_config import CACHE, AdvancedConfig, ExecutionConfig
from octoscope.config.run_settings import RunSettings
from octoscope.config.types import ONE_OR_MORE, Name, Size, SizeOrNone, View, setting

CACHE_BYTES = int(parse_bytes(CACHE))  # of a matrix that a task keeps, unless asked
_FROZEN = ConfigDict(frozen=True)


class PoolPlan(NamedTuple):
    """Categories, by index, that are pooled; the cells that a pair needs in the pool."""

    categories: list[int]
    min_cells: int


class ResolvedEdges(EdgesConfig):
    """Which network every matrix leaves behind; see ``octoscope.analysis.edges``."""

    model_config = _FROZEN
    gene_set: Name = setting(description="Gene set of the network")
    view: View = setting(description="View of the network")


class ResolvedCompare(CompareConfig):
    """Settings of comparisons; every model is in one group."""

    model_config = _FROZEN
    k: Annotated[list[int], ONE_OR_MORE] = setting(description="Strongest pairs, ascending")
    gene_sets: list[Name] = setting(description="Gene sets that are compared over")
    views: list[str] = setting(description="Views that are compared in")
    model_groups: dict[Name, list[Name]] = setting(description="Models of each group")


class ResolvedAdvanced(AdvancedConfig):
    """Sizes, none of them left to be derived."""

    model_config = _FROZEN
    working_set: Size = setting(description="Bound on the residuals that are held at once")
    cache: SizeOrNone = setting(
        CACHE, "Memory in which an analysis task caches a matrix", absent=CACHE
    )


class ResolvedExecution(ExecutionConfig):
    """Execution settings that decide results."""

    model_config = _FROZEN
    advanced: ResolvedAdvanced = setting(description="Sizes")


class ResolvedSettings(RunSettings):
    """The settings of a run with nothing left open.

    Only the fields that planning fills in are declared again here, with a type without null. All
    others are inherited from the configuration.
    """

    model_config = _FROZEN
    edges: ResolvedEdges | None = setting(None, "A network per matrix; null: none")
    compare: ResolvedCompare | None = setting(None, "Comparisons; null: none", absent=None)
    execution: ResolvedExecution = setting(description="Execution settings that decide results")


class HoldsSettings(BaseModel):
    """A plan's settings, under the names by which most of the engine asks for them.

    Of a plan that was read from format 3, settings that act at planning only (heads, estimators,
    donor groups, centred, ...) have their defaults here: its categories and models say what they
    were.
    """

    settings: ResolvedSettings

    @field_serializer("settings")
    def _settings_as_written(self, settings: ResolvedSettings) -> dict[str, Any]:
        return result_tree(settings)

    @property
    def seed(self) -> int:
        """Seed of halves, donor groups and permutations."""
        return self.settings.seed

    @property
    def views(self) -> list[View]:
        """Views that are declared; derived ones are ``settings.all_views``."""
        return self.settings.views

    @property
    def top_k(self) -> int:
        """Pairs kept per matrix, gene set and view."""
        return self.settings.top_k

    @property
    def moments(self) -> int:
        """2: the standard deviation between cells too."""
        return self.settings.moments

    @property
    def permutations(self) -> int:
        """Permutations between matrices."""
        return self.settings.permutations

    @property
    def max_permutation_factor(self) -> int:
        """Times as many permutations at most, where none reaches what is observed."""
        return self.settings.max_permutation_factor

    @property
    def edges(self) -> ResolvedEdges | None:
        """The network that every matrix leaves behind."""
        return self.settings.edges

    @property
    def compare(self) -> ResolvedCompare | None:
        """Settings of comparisons; None: no comparisons."""
        return self.settings.compare

    @property
    def analyses(self) -> list[str]:
        """Analyses of other packages that are run too."""
        return self.settings.analyses

    @property
    def tile(self) -> int:
        """Rows and columns of a tile."""
        return self.settings.execution.advanced.tile

    @property
    def cache_bytes(self) -> int:
        """Bytes of a matrix that an analysis task keeps."""
        return int(parse_bytes(self.settings.execution.advanced.cache))

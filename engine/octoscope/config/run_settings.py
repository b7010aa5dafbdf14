"""Settings of a run that a plan also holds, resolved."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from octoscope.config.analysis_config import CompareConfig, EdgesConfig
from octoscope.config.execution_config import ExecutionConfig
from octoscope.config.types import (
    ONE_OR_MORE,
    UNIQUE,
    Estimator,
    Projection,
    Section,
    View,
    setting,
)
from octoscope.config.view_names import ABSOLUTE, CENTRED

Correlation = Literal["pearson", "spearman"]
HeadChoice = Literal["mean", "max", "each"] | Annotated[int, Field(ge=0, le=10**4)]


class RunSettings(Section):
    """Settings of a run beside its inputs.

    The plan holds these resolved (``octoscope.run_plan.settings``). A setting that is declared here
    is in every plan, in its hash and in the comparison on resume; nothing else has to name it.
    """

    seed: int = setting(0, "Seed of halves, donor groups and permutations", ge=0, lt=2**63)
    views: Annotated[list[View], UNIQUE] = setting(
        ["marginal", "conditional", "lift", "logit"],
        "What is read of the sums; `logit` alone needs no softmax and is faster",
        min_length=1,
    )
    top_k: int = setting(1000, "Pairs kept per matrix, gene set and view", ge=1, le=10**9)
    min_cells: int | None = setting(
        None, "Cells a pair needs to be eligible; null: max(20, 1 % of category)", ge=1, le=10**9
    )
    heads: Annotated[list[HeadChoice], UNIQUE, ONE_OR_MORE] = setting(
        ["mean"],
        "Within each cell: mean over heads, max over heads, each head, or head "
        "numbers; several give several matrices, the first under the model's own name",
        min_length=1,
    )
    estimators: Annotated[list[Estimator], UNIQUE, ONE_OR_MORE] = setting(
        ["per_cell"],
        "per_cell: mean of each cell's attention; mean_residual: attention of the mean "
        "cell over the accumulated genes; several give several matrices",
        min_length=1,
    )
    projection: Annotated[list[Projection], UNIQUE, ONE_OR_MORE] = setting(
        ["full"],
        "For mean_residual. full: the model's own norm, weights and biases; "
        "weights_only: W_q and W_k alone; both give matrices of each",
        min_length=1,
    )
    donor_groups: int = setting(
        0,
        "Groups of donors (atlas.replicate_key) per category, at most, that are left "
        "out in turn: intervals of top pairs over donors; an even number of at least 4, 0: none",
        absent=0,
        ge=0,
        le=10**4,
    )
    moments: Literal[1, 2] = setting(
        1,
        "2: also the standard deviation between cells of each top pair's attention "
        "(estimator per_cell)",
    )
    coexpression: Annotated[list[Correlation], UNIQUE, ONE_OR_MORE] = setting(
        factory=list,
        description="Correlation of log-normalised counts over the cells of each category, as "
        "matrices beside those of the models: pearson, spearman, or both",
    )
    permutations: int = setting(200, "Permutations between matrices (QAP)", ge=50, le=10**7)
    max_permutation_factor: int = setting(
        10,
        "If no permutation of a test reaches the observed value, draw up to this many "
        "times `permutations` (1: no more)",
        absent=10,
        ge=1,
        le=100,
    )
    edges: EdgesConfig | None = setting(None, "A network per matrix; null: none")
    centred: Annotated[list[View], UNIQUE] = setting(
        factory=list,
        description="Views that are also analysed without each gene's row and column effect, under "
        "the name <view>.centred (and with any, correlation.centred)",
        absent=[],
    )
    absolute: Annotated[list[str], UNIQUE] = setting(
        factory=list,
        description="Views (also <view>.centred) whose pairs are also ordered by the size of their "
        "values, whatever the sign, under the name <view>.absolute",
        absent=[],
    )
    compare: CompareConfig | None = setting(
        factory=CompareConfig,
        description="Matrices against each other; null: no comparisons",
        absent=None,  # runs from before there were comparisons have none
    )
    analyses: Annotated[list[str], UNIQUE] = setting(
        factory=list,
        description="Analyses of other installed packages to run too, by the name of their entry "
        "point in the group octoscope.analyses",
        absent=[],
    )
    keep_dense: Literal["none", "fp32"] = setting(
        "none", "fp32: keep whole matrices in the finished run; none: tables alone"
    )
    execution: ExecutionConfig = setting(
        factory=ExecutionConfig, description="Resources: devices, memory, replicas"
    )

    @property
    def all_views(self) -> list[str]:
        """Views of a model's matrices, derived ones too."""
        plain_and_centred = [*self.views, *(v + CENTRED for v in self.centred)]
        return plain_and_centred + [v + ABSOLUTE for v in self.absolute]

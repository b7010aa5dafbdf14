"""The plan of a run as values: what will be computed, and the names of its parts."""

from octoscope.run_plan.settings import (
    CACHE_BYTES,
    PoolPlan,
    ResolvedCompare,
    ResolvedEdges,
    ResolvedSettings,
)
from octoscope.run_plan.values import (
    COEXPRESSION,
    Block,
    CategoryPlan,
    DonorGroupPlan,
    ModelPlan,
    Plan,
    Unit,
)

__all__ = [
    "CACHE_BYTES", "COEXPRESSION", "Block", "CategoryPlan", "DonorGroupPlan", "ModelPlan", "Plan",
    "PoolPlan", "ResolvedCompare", "ResolvedEdges", "ResolvedSettings", "Unit",
]  # fmt: skip

"""The plan of a run as values: what will be computed, and the names of its parts."""

from octoscope.plan.values import (
    CACHE_BYTES,
    COEXPRESSION,
    Block,
    CategoryPlan,
    ComparePlan,
    DonorGroupPlan,
    EdgesPlan,
    ModelPlan,
    Plan,
    PoolPlan,
    Unit,
)

__all__ = [
    "CACHE_BYTES", "COEXPRESSION", "Block", "CategoryPlan", "ComparePlan", "DonorGroupPlan",
    "EdgesPlan", "ModelPlan", "Plan", "PoolPlan", "Unit",
]  # fmt: skip

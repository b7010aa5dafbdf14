"""The plan of a run as values: what will be computed, and the names of its parts."""

from octoscope.plan.values import (
    COEXPRESSION,
    HOLD,
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
    "COEXPRESSION", "HOLD", "CategoryPlan", "ComparePlan", "DonorGroupPlan", "EdgesPlan",
    "ModelPlan", "Plan", "PoolPlan", "Unit",
]  # fmt: skip

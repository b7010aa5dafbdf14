"""How a run compares: which models form a group, how many pairs count, what is pooled."""

from __future__ import annotations

from octoscope.attention.views import default_min_cells
from octoscope.config import RunConfig
from octoscope.errors import InputError
from octoscope.plan.values import CategoryPlan, ComparePlan, ModelPlan, PoolPlan

# The posts count these two as one group.
_KIN = {"scfoundation": "scfoundation-aidocell", "aidocell": "scfoundation-aidocell"}


def compare_plan(
    config: RunConfig, models: list[ModelPlan], categories: list[CategoryPlan]
) -> ComparePlan | None:
    """Resolve which models form a group and which categories are pooled.

    Raises
    ------
    InputError
        If a pool names a category that the run does not have.
    """
    c = config.compare
    if c is None:
        return None
    named = {m: group for group, members in (c.model_groups or {}).items() for m in members}
    names = [category.name for category in categories]
    for pool, members in c.pools.items():
        for name in members:
            if name not in names:
                raise InputError(
                    f"compare.pools.{pool}", f"{name!r} is no category of this run",
                    f"name some of {', '.join(names)}",
                )  # fmt: skip
    pools = {}
    for pool, members in c.pools.items():
        at = sorted({names.index(name) for name in members})
        cells = sum(sum(categories[i].cells) for i in at)
        pools[pool] = PoolPlan(
            categories=at, min_cells=config.min_cells or default_min_cells(cells)
        )
    by_family = {m.name: _KIN.get(m.family, m.family) for m in models}
    return ComparePlan(
        k=sorted(set(c.k or [max(1, config.top_k // 10), config.top_k])),
        consensus=c.consensus,
        gene_sets=c.gene_sets or [g.name for g in config.gene_sets],
        views=c.views or config.all_views,
        model_groups={
            m.name: named.get(m.name, by_family[m.name] if c.model_groups is None else m.name)
            for m in models
        },
        layers=c.layers,
        conventions=c.conventions,
        pools=pools,
    )

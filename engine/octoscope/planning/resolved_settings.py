"""Resolves a run's settings: fills in what is null, checks groups and pools."""

from __future__ import annotations

from typing import Any

from octoscope.analysis.registry import analyses
from octoscope.config import RunConfig
from octoscope.errors import InputError
from octoscope.planning.derive import result_fields
from octoscope.run_plan.settings import ResolvedSettings
from octoscope.run_plan.values import CategoryPlan, ModelPlan

# These two families share an architecture and training data, so they are one group by default.
_DEFAULT_GROUPS = {"scfoundation": "scfoundation-aidocell", "aidocell": "scfoundation-aidocell"}


def resolved_settings(
    config: RunConfig, models: list[ModelPlan], categories: list[CategoryPlan]
) -> ResolvedSettings:
    """Return the settings of a run with nothing left open.

    A setting that needs no resolving is copied as it is.

    Parameters
    ----------
    models
        One entry per checkpoint.

    Raises
    ------
    InputError
        If a pool names a category that the run does not have, or an analysis is not installed.
    """
    names = ResolvedSettings.model_fields
    tree = {k: v for k, v in result_fields(config).items() if k in names}
    analyses(config.analyses)  # refuses what is not installed
    if config.edges is not None:
        tree["edges"] |= {
            "gene_set": config.edges.gene_set or config.gene_sets[0].name,
            "view": config.edges.view or config.views[0],
        }
    if config.compare is not None:
        tree["compare"] |= _compared(config, models, categories)
    return ResolvedSettings.model_validate(tree)


def _compared(
    config: RunConfig, models: list[ModelPlan], categories: list[CategoryPlan]
) -> dict[str, Any]:
    """Return the fields of ``compare`` that have to be filled in."""
    c = config.compare
    assert c is not None
    names = [category.name for category in categories]
    for pool, members in c.pools.items():
        for name in members:
            if name not in names:
                raise InputError(
                    f"compare.pools.{pool}", f"{name!r} is not a category of this run",
                    f"name some of {', '.join(names)}",
                )  # fmt: skip
    named = {m: group for group, members in (c.model_groups or {}).items() for m in members}
    groups: dict[str, list[str]] = {}
    for m in models:
        alone = _DEFAULT_GROUPS.get(m.family, m.family) if c.model_groups is None else m.name
        groups.setdefault(named.get(m.name, alone), []).append(m.name)
    return {
        "k": sorted(set(c.k or [max(1, config.top_k // 10), config.top_k])),
        "gene_sets": c.gene_sets or [g.name for g in config.gene_sets],
        "views": c.views or config.all_views,
        "model_groups": groups,
    }

"""Comparisons without each group of donors, while the sums of a run's units are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import delayed

from engine.analysis.agreement import Pairs, union
from engine.analysis.agreement_donors import (
    PlacedWithout,
    medians_without,
    place_without,
    strongest_without,
)
from engine.analysis.donors import LeftOut
from engine.analysis.stored import without_donors
from engine.analysis.without_donors import DerivedWithoutDonors
from engine.cluster.comparable import Comparison, Member, places_of, plan_of, settings
from engine.store.plan import Plan
from engine.store.root import RunRoot


@dataclass(frozen=True)
class WithoutDonors:
    """Median quantiles of a comparison without each group of donors.

    Attributes
    ----------
    donors
        In each group.
    medians
        [groups, query, eval, ks]; NaN where a matrix has no donors.
    """

    donors: list[int]
    medians: np.ndarray


def graph(run: str, plan: Plan, x: Comparison, comparison: Any, parts: list[list[int]]) -> Any:
    """Return the task of a comparison's :class:`WithoutDonors`; None without donor groups.

    ``comparison``: ``x`` as one object for all tasks; ``parts``: its members by model.
    """
    if plan.categories[x.category].groups is None:
        return None
    tops = [delayed(_tops)(run, comparison, part) for part in parts]
    pairs = delayed(_unions)(tops, len(x.genes))
    placed = [delayed(_place)(run, comparison, part, pairs) for part in parts]
    return delayed(_medians)(run, comparison, parts, placed)


def _opened(run: str, x: Comparison, member: Member) -> tuple[LeftOut | None, np.ndarray]:
    root, plan = RunRoot(run), plan_of(run)
    plain = without_donors(root, plan, member.model, x.category, member.layer)
    opened = None if plain is None else DerivedWithoutDonors(plain)
    return opened, places_of(plan.model(member.model), x.genes)


def _tops(run: str, x: Comparison, part: Sequence[int]) -> list[list[Pairs]]:
    """Return the lists of each member that has donors, group by group."""
    found = []
    for member in (x.members[i] for i in part):
        matrix, genes = _opened(run, x, member)
        if matrix is not None:
            found.append(strongest_without(matrix, genes, member.view, plan_of(run).top_k))
    return found


def _unions(tops: list[list[list[Pairs]]], n_genes: int) -> list[Pairs]:
    """Return of each group the pairs in any list without it."""
    members = [lists for part in tops for lists in part]
    return [union(of_group, n_genes) for of_group in zip(*members, strict=True)]


def _place(
    run: str, x: Comparison, part: Sequence[int], pairs: list[Pairs]
) -> list[PlacedWithout | None]:
    how = settings(plan_of(run)).conventions
    found: list[PlacedWithout | None] = []
    for member in (x.members[i] for i in part):
        matrix, genes = _opened(run, x, member)
        found.append(
            None if matrix is None else place_without(matrix, genes, member.view, pairs, how)
        )
    return found


def _medians(
    run: str, x: Comparison, parts: list[list[int]], placed: list[list[PlacedWithout | None]]
) -> WithoutDonors:
    plan = plan_of(run)
    of: list[PlacedWithout | None] = [None] * len(x.members)
    for part, found in zip(parts, placed, strict=True):
        for i, p in zip(part, found, strict=True):
            of[i] = p
    groups = plan.categories[x.category].groups or []
    return WithoutDonors([g.donors for g in groups], medians_without(of, settings(plan).k))

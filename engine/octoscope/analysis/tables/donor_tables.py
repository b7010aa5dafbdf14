"""Comparisons without each group of donors, while the sums of a run's units are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import delayed

from octoscope.analysis.agreement import Pairs, union
from octoscope.analysis.agreement_jackknife import (
    PlacedWithout,
    medians_without,
    place_without,
    strongest_without,
)
from octoscope.analysis.donor_jackknife import LeaveOneGroupOut
from octoscope.analysis.pairings import (
    Comparison,
    MatrixRef,
    axis_positions,
    comparison_settings,
    plan_of,
)
from octoscope.plan.values import Plan
from octoscope.results.left_out_donors import DerivedLeaveOneOut
from octoscope.results.open_matrix import leave_donors_out
from octoscope.store.run_dir import RunRoot


@dataclass(frozen=True)
class DonorDeletions:
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


def graph(run: str, plan: Plan, x: Comparison, comparison: Any) -> Any:
    """Return the task of a comparison's :class:`WithoutDonors`; None without donor groups.

    ``comparison``: ``x`` as one object for all tasks.
    """
    if plan.categories[x.category].groups is None:
        return None
    members = range(len(x.members))  # one task each: a matrix is read several times
    tops = [delayed(_tops)(run, comparison, i) for i in members]
    pairs = delayed(_unions)(tops, len(x.genes))
    ranked = [delayed(_place)(run, comparison, i, pairs) for i in members]
    return delayed(_medians)(run, comparison, ranked)


def _opened(
    run: str, x: Comparison, member: MatrixRef
) -> tuple[LeaveOneGroupOut | None, np.ndarray]:
    root, plan = RunRoot(run), plan_of(run)
    plain = leave_donors_out(root, plan, member.model, x.category, member.layer)
    opened = None if plain is None else DerivedLeaveOneOut(plain)
    return opened, axis_positions(plan.model(member.model), x.genes)


def _tops(run: str, x: Comparison, member: int) -> list[Pairs] | None:
    """Return the lists of a member group by group; None if it has no donors."""
    matrix, genes = _opened(run, x, x.members[member])
    if matrix is None:
        return None
    return strongest_without(matrix, genes, x.members[member].view, plan_of(run).top_k)


def _unions(tops: list[list[Pairs] | None], n_genes: int) -> list[Pairs]:
    """Return of each group the pairs in any list without it."""
    known = [lists for lists in tops if lists is not None]
    return [union(of_group, n_genes) for of_group in zip(*known, strict=True)]


def _place(run: str, x: Comparison, member: int, pairs: list[Pairs]) -> PlacedWithout | None:
    matrix, genes = _opened(run, x, x.members[member])
    if matrix is None:
        return None
    how = comparison_settings(plan_of(run)).conventions
    return place_without(matrix, genes, x.members[member].view, pairs, how)


def _medians(run: str, x: Comparison, ranked: list[PlacedWithout | None]) -> DonorDeletions:
    plan = plan_of(run)
    groups = plan.categories[x.category].groups or []
    return DonorDeletions(
        [g.donors for g in groups], medians_without(ranked, comparison_settings(plan).k)
    )

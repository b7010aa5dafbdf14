"""Comparisons without each group of donors; they need the sums of a run's units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import delayed

from octoscope.analysis.agreement import Pairs, union
from octoscope.analysis.agreement_jackknife import (
    RankedWithout,
    medians_without,
    rank_without,
    strongest_without,
)
from octoscope.analysis.donor_jackknife import LeaveOneGroupOut
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.leave_one_out import DerivedLeaveOneOut
from octoscope.analysis.pairings import (
    Comparison,
    MatrixRef,
    axis_positions,
    comparison_settings,
)


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


def graph(run: FinishedMatrices, x: Comparison, comparison: Any) -> Any:
    """Return the task of a comparison's :class:`DonorDeletions`; None without donor groups.

    ``comparison``: ``x`` as one object for all tasks.
    """
    if run.plan.categories[x.category].groups is None:
        return None
    indices = range(len(x.refs))  # one task each: a matrix is read several times
    tops = [delayed(_tops)(run, comparison, i) for i in indices]
    pairs = delayed(_unions)(tops, len(x.genes))
    ranked = [delayed(_rank)(run, comparison, i, pairs) for i in indices]
    return delayed(_medians)(run, comparison, ranked)


def _opened(
    run: FinishedMatrices, x: Comparison, ref: MatrixRef
) -> tuple[LeaveOneGroupOut | None, np.ndarray]:
    plain = run.leave_donors_out(ref.model, x.category, ref.layer)
    opened = None if plain is None else DerivedLeaveOneOut(plain)
    return opened, axis_positions(run.plan.model(ref.model), x.genes)


def _tops(run: FinishedMatrices, x: Comparison, index: int) -> list[Pairs] | None:
    """Return the top pairs of a matrix without each group; None if it has no donors."""
    matrix, genes = _opened(run, x, x.refs[index])
    if matrix is None:
        return None
    return strongest_without(matrix, genes, x.refs[index].view, run.plan.top_k)


def _unions(tops: list[list[Pairs] | None], n_genes: int) -> list[Pairs]:
    """Return of each group the pairs in any list without it."""
    with_donors = [lists for lists in tops if lists is not None]
    return [union(of_group, n_genes) for of_group in zip(*with_donors, strict=True)]


def _rank(
    run: FinishedMatrices, x: Comparison, index: int, pairs: list[Pairs]
) -> RankedWithout | None:
    matrix, genes = _opened(run, x, x.refs[index])
    if matrix is None:
        return None
    how = comparison_settings(run.plan).conventions
    return rank_without(matrix, genes, x.refs[index].view, pairs, how)


def _medians(
    run: FinishedMatrices, x: Comparison, ranked: list[RankedWithout | None]
) -> DonorDeletions:
    plan = run.plan
    groups = plan.categories[x.category].groups or []
    return DonorDeletions(
        [g.donors for g in groups], medians_without(ranked, comparison_settings(plan).k)
    )

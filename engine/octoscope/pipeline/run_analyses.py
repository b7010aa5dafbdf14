"""Runs the registered analyses over a finished run and writes their tables in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from octoscope.analysis.registry import Analysis, Context, Needs, analyses
from octoscope.config.analysis_config import NetworkConfig
from octoscope.results.run_matrices import RunMatrices
from octoscope.run_plan.values import Block, Plan
from octoscope.store.parquet import write_table
from octoscope.store.run_dir import RunRoot

Writer = Callable[[RunRoot, str, pd.DataFrame], object]  # stores a table under a name


@dataclass(frozen=True)
class Output:
    """A table that an analysis makes, with its blocks and needs."""

    analysis: str
    blocks: Sequence[Block]
    needs: Needs


def outputs(plan: Plan, finished: Sequence[Block], network: bool) -> dict[str, Output]:
    """Return every table of the analyses by path, in the order in which they are made."""
    return {
        path: Output(analysis.name, blocks, analysis.needs)
        for analysis in analyses(plan.analyses)
        if network or not analysis.needs.network
        for path, blocks in analysis.outputs(plan, finished).items()
    }


def steps(
    plan: Plan, finished: Sequence[Block], network: bool, requested: Collection[str] | None = None
) -> list[Analysis]:
    """Return the analyses that make a wanted table, in order; None: every table is wanted."""
    planned = outputs(plan, finished, network)
    names = {o.analysis for path, o in planned.items() if requested is None or path in requested}
    return [a for a in analyses(plan.analyses) if a.name in names]


def run_analysis(
    root: RunRoot,
    analysis: Analysis,
    finished: Sequence[Block],
    network: NetworkConfig | None,
    scheduler: Any = "threads",
    requested: Collection[str] | None = None,
    write: Writer = write_table,
) -> None:
    """Compute an analysis and write its wanted tables."""
    requested_paths = None if requested is None else frozenset(requested)
    context = Context(RunMatrices(root.url), finished, network, scheduler, requested_paths)
    for path, table in analysis.compute(context):
        if context.wants(path):
            write(root, path, table)

"""Models side by side, summarised from the tables of their matrices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from octoscope.analysis.registry import Analysis, Context, Needs
from octoscope.analysis.summaries import mass_by_layer, side_by_side
from octoscope.analysis.tables.model_schema import MODEL_TABLES
from octoscope.run_plan.values import Block, Plan

MODELS = "tables/models.parquet"
MASS = "tables/mass_by_layer.parquet"


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, list[Block]]:
    return {MODELS: [], MASS: []} if finished else {}  # made from tables, not from matrices


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    names = ["stats", "mass", *(["overlap"] if context.network is not None else [])]
    tables = {name: context.run.table(f"tables/{name}") for name in names}
    yield MODELS, side_by_side(*tables.values())
    yield MASS, mass_by_layer(tables["mass"])


MODEL_ANALYSIS = Analysis(
    "models",
    Needs(tables=("tables/stats.parquet", "tables/mass.parquet", "tables/overlap.parquet")),
    _outputs,
    _compute,
    MODEL_TABLES,
)

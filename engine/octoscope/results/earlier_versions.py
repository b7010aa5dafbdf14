"""Converts tables of earlier versions to the present ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from octoscope.errors import warn
from octoscope.results.cell_tables import (
    CELLS,
    REFUSED,
    VOCABULARY_COUNTS,
    cells_table,
    refused_table,
    vocabulary_counts,
)
from octoscope.run_plan.values import Plan
from octoscope.store.parquet import VOCABULARY

Read = Callable[[str], pd.DataFrame]
RENAMED_COLUMNS = {"rival": "closest_category"}
RENAMED_TABLES = {"tables/separation.parquet": "tables/auroc.parquet"}
FORMER_TABLES = {new: old for old, new in RENAMED_TABLES.items()}
# start of a path -> columns in which "" or 0 stood for what is now null
_EMPTY = {
    "consensus/c": ("closest_category",),
    "tables/specific": ("closest_category",),
    "tables/coherence": ("left_out",),
    "tables/vocabulary": ("model", "symbol", "why"),
}


class RenamedColumnsTable(pd.DataFrame):
    """A table that also answers to the former names of its columns, in this version, and says so.

    ``table[name]`` and ``table[[name, …]]`` do. What is derived of it is a plain DataFrame.
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _present(self, name: Any) -> Any:
        new = RENAMED_COLUMNS.get(name) if isinstance(name, str) else None
        if new is None or name in self.columns or new not in self.columns:
            return name
        warn(f"column {name} is now called {new}; the old name is read in this version only")
        return new

    def __getitem__(self, key: Any) -> Any:
        """Return what a DataFrame returns; a former column name warns and gives the present one."""
        present = [self._present(k) for k in key] if type(key) is list else self._present(key)
        return super().__getitem__(present)


def with_former_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table, which answers to former names where one of its columns has one."""
    if set(RENAMED_COLUMNS.values()).isdisjoint(table.columns):
        return table
    return RenamedColumnsTable(table)


def upgraded(path: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return a stored table with present names, nulls instead of sentinels, and new columns."""
    table = table.rename(columns={k: v for k, v in RENAMED_COLUMNS.items() if k in table})
    for start, columns in _EMPTY.items():
        if path.startswith(start):
            for column in set(columns) & set(table.columns):
                text = table[column].astype("string")
                table[column] = text.mask(text == "")
    if path.startswith("union/"):
        for column in table.columns:
            if column.startswith("rank_"):  # ranks start at 1
                ranks = table[column].astype("Int64")
                table[column] = ranks.mask(ranks == 0)
    if path.startswith("topk/") and "n_layers" not in table:
        pair = ["category", "gene_set", "view", "part", "query", "key"]
        table["n_layers"] = table.groupby(pair, sort=False)["layer"].transform("size")
    if path == "tables/layers.parquet" and "tested_spearman" not in table:
        table["n_tested"], table["tested_spearman"] = pd.NA, float("nan")
    return table


def _models(read: Read, plan: Plan, _: dict[str, Any]) -> pd.DataFrame:
    from octoscope.analysis.summaries import side_by_side

    overlap = read("tables/overlap.parquet") if plan.network is not None else None
    return side_by_side(read("tables/stats.parquet"), read("tables/mass.parquet"), overlap)


def _mass(read: Read, _: Plan, __: dict[str, Any]) -> pd.DataFrame:
    from octoscope.analysis.summaries import mass_by_layer

    return mass_by_layer(read("tables/mass.parquet"))


def _pairs(read: Read, plan: Plan, _: dict[str, Any]) -> pd.DataFrame:
    from octoscope.analysis.summaries import model_pairs

    return model_pairs(read("tables/agreement.parquet"), [m.name for m in plan.checkpoints])


def _by_k(read: Read, plan: Plan, _: dict[str, Any]) -> pd.DataFrame:
    from octoscope.analysis.summaries import by_k

    return by_k(read("tables/agreement.parquet"), [m.name for m in plan.checkpoints])


def _heads(read: Read, _: Plan, __: dict[str, Any]) -> pd.DataFrame:
    from octoscope.analysis.summaries import heads

    return heads(read("tables/agreement.parquet"))


def _over_categories(name: str) -> Callable[[Read, Plan, dict[str, Any]], pd.DataFrame]:
    def derived(read: Read, _: Plan, __: dict[str, Any]) -> pd.DataFrame:
        from octoscope.analysis.summaries import over_categories

        return over_categories(name, read(f"tables/{name}.parquet"))

    return derived


# Tables that runs of earlier versions lack: what they are made of, and how. Their functions are
# imported when one is asked for.
SUMMARIES: dict[str, tuple[tuple[str, ...], Callable[..., pd.DataFrame]]] = {
    CELLS: ((), lambda _, plan, provenance: cells_table(plan, provenance)),
    REFUSED: ((), lambda _, __, provenance: refused_table(provenance)),
    VOCABULARY_COUNTS: ((VOCABULARY,), lambda read, _, __: vocabulary_counts(read(VOCABULARY))),
    "tables/models.parquet": (("tables/stats.parquet", "tables/mass.parquet"), _models),
    "tables/mass_by_layer.parquet": (("tables/mass.parquet",), _mass),
    "tables/model_pairs.parquet": (("tables/agreement.parquet",), _pairs),
    "tables/by_k.parquet": (("tables/agreement.parquet",), _by_k),
    "tables/heads.parquet": (("tables/agreement.parquet",), _heads),
} | {
    f"tables/{name}_categories.parquet": ((f"tables/{name}.parquet",), _over_categories(name))
    for name in ("agreement", "layers", "coherence", "geometry")
}

"""The tables of a run by name, each read once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from octoscope.errors import InputError, some, warn
from octoscope.results.earlier_versions import (
    FORMER_TABLES,
    RENAMED_TABLES,
    SUMMARIES,
    upgraded,
    with_former_names,
)
from octoscope.run_plan.values import Plan
from octoscope.store.parquet import read_table
from octoscope.store.run_dir import RunRoot

_CACHE_BYTES = 256_000_000
_WORK = ("matrices/", "pairs/", "residuals/", "units/")  # of parts of the work, not of the run
_END = ".parquet"


class UnknownTableError(InputError, KeyError):
    """A run has no table of that name."""

    __str__ = InputError.__str__  # KeyError's would quote it


class RunTables(Mapping[str, pd.DataFrame]):
    """Tables by name: ``agreement`` is ``tables/agreement.parquet``, ``topk/scgpt`` its own path.

    Tables of runs of earlier versions have the present names and columns; summaries that such a
    run lacks are made of the tables that it has. A table is read when it is first asked for.

    Parameters
    ----------
    root
        The run directory.
    plan
        Its plan.
    provenance
        Content of its ``run.json``.
    cache_bytes
        What tables that were read stay in memory for; the oldest go first.
    """

    def __init__(
        self,
        root: RunRoot,
        plan: Plan,
        provenance: dict[str, Any],
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self._root, self._plan, self._provenance = root, plan, provenance
        self._most = cache_bytes
        self._cached: OrderedDict[str, pd.DataFrame] = OrderedDict()
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<RunTables {some(list(self))}>"

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return a table; adding columns to it changes nothing here.

        Raises
        ------
        UnknownTableError
            If the run has no such table; it lists what there is.
        DamagedRunError
            If it cannot be read.
        """
        path = _path(name)
        if path in RENAMED_TABLES:
            path = RENAMED_TABLES[path]
            warn(
                f"table {_name(_path(name))} is now called {_name(path)}; "
                "the old name is read in this version only"
            )
        if path not in self._cached:
            if name not in self:
                raise UnknownTableError(
                    f"{self._root.url}: table {name!r}",
                    "this run has none of that name",
                    f"one of {', '.join(self) or 'none'}",
                )
            self._keep(path, self._read(path))
        return with_former_names(self._cached[path].copy(deep=False))

    def __contains__(self, name: object) -> bool:
        """Tell whether the run has a table, or what it can be made of."""
        if not isinstance(name, str):
            return False
        path = RENAMED_TABLES.get(_path(name), _path(name))
        try:
            if path in self._cached or self._root.exists(self._stored(path)):
                return True
        except ValueError:  # it would lead out of the run
            return False
        return path in SUMMARIES and all(self._root.exists(p) for p in SUMMARIES[path][0])

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all tables, those of ``tables/`` first."""
        paths = {p for p in self._paths() if p.endswith(_END) and not p.startswith(_WORK)}
        paths = {RENAMED_TABLES.get(p, p) for p in paths}
        paths |= {p for p, (sources, _) in SUMMARIES.items() if paths.issuperset(sources)}
        names = sorted(map(_name, paths))
        yield from sorted(names, key=lambda n: "/" in n)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _paths(self) -> list[str]:
        """Return all objects of the run; a run of many chunks is not listed where it is sealed."""
        manifest = self._root.read_json("manifest.json")
        return self._root.files() if manifest is None else list(manifest["objects"])

    def _read(self, path: str) -> pd.DataFrame:
        stored = self._stored(path)
        if self._root.exists(stored):
            return upgraded(path, read_table(self._root, stored))
        return SUMMARIES[path][1](lambda p: self[p], self._plan, self._provenance)

    def _stored(self, path: str) -> str:
        """Return the path under which the run holds a table: a former one in an earlier run."""
        former = FORMER_TABLES.get(path)
        if former is None or self._root.exists(path) or not self._root.exists(former):
            return path
        return former

    def _keep(self, path: str, table: pd.DataFrame) -> None:
        self._cached[path] = table
        self._bytes += _size(table)
        while self._bytes > self._most and len(self._cached) > 1:
            _, gone = self._cached.popitem(last=False)
            self._bytes -= _size(gone)


def _path(name: str) -> str:
    plain = name.removesuffix(_END)
    return f"{plain if '/' in plain else f'tables/{plain}'}{_END}"


def _name(path: str) -> str:
    return path.removesuffix(_END).removeprefix("tables/")


def _size(table: pd.DataFrame) -> int:
    """Return bytes of a table; of strings what refers to them, as most are shared."""
    return int(table.memory_usage(index=True).sum())

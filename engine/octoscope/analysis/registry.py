"""Analyses: their needs, the tables they make and how the report shows them.

The pipeline runs :func:`analyses` in order. A new analysis is one module with an
:class:`Analysis`, listed in ``octoscope.analysis.tables`` or, outside this package, under the entry
point group ``octoscope.analyses`` and named in the configuration (``analyses``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from typing import Any

import pandas as pd

from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.config.analysis_config import NetworkConfig
from octoscope.errors import InputError, OctoscopeError, in_one_line
from octoscope.octopus.network import Network
from octoscope.octopus.network_views import open_view
from octoscope.run_plan.values import Block, Plan

GROUP = "octoscope.analyses"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name
        ``{model}``, ``{layer}`` and ``{token}`` stand for the name of a model, the number of a
        layer and a kind of special token: there is one column of each.
    dtype
        As in the Parquet file: string, bool, int16, int32, int64, uint16, float32 or float64.
    meaning
        In plain English, with the unit and what null says.
    when
        The setting without which the column is absent; empty: it is always there.
    """

    name: str
    dtype: str
    meaning: str
    when: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a run.

    Attributes
    ----------
    path
        Relative to the run, e.g. ``tables/stats.parquet``; ``{model}`` and ``{category}`` stand for
        the name of a variant and the number of a category (``c0003``).
    rows
        What there is one row per, e.g. ``matrix, gene set and view: how reliable it is``.
    columns
        In the order of the file.
    when
        The setting without which the table is absent; empty: every complete run has it.
    """

    path: str
    rows: str
    columns: tuple[Column, ...]
    when: str = ""


@dataclass(frozen=True)
class Needs:
    """Parts of a run that an analysis reads, so that a repair computes only these again.

    Attributes
    ----------
    matrices
        Values of the matrices, not only the tables that each left behind.
    residuals
        Mean residual streams of the categories.
    donors
        Sums of single units, where donor groups are left out.
    correlations
        Co-moments of single units, for Pearson's correlation within donor groups.
    network
        The molecular network; without one in the configuration the analysis does not run.
    tables
        Tables of earlier analyses.
    """

    matrices: bool = False
    residuals: bool = False
    donors: bool = False
    correlations: bool = False
    network: bool = False
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """Report section of a table that has no page of its own.

    Attributes
    ----------
    title
        Heading.
    text
        What the figures say and what they do not, in plain English.
    table
        Path of the table.
    columns
        Columns to show, in order.
    sort_by
        Column by which rows are sorted, and whether ascending.
    """

    title: str
    text: str
    table: str
    columns: tuple[str, ...]
    sort_by: tuple[str, bool] | None = None


@dataclass(frozen=True)
class Context:
    """Input of an analysis.

    Attributes
    ----------
    run
        The finished matrices and earlier tables.
    finished
        Finished (variant, category) blocks, in the order of the plan.
    network
        Where the molecular network is; None: none in the configuration.
    scheduler
        Of Dask: ``threads``, ``synchronous``, or a function such as Dask-on-Ray's.
    requested
        Paths of the tables that are asked for; None: all.
    """

    run: FinishedMatrices
    finished: Sequence[Block]
    network: NetworkConfig | None = None
    scheduler: Any = "threads"
    requested: frozenset[str] | None = None

    def wants(self, *paths: str) -> bool:
        """Tell whether any of the tables is wanted."""
        return self.requested is None or bool(self.requested.intersection(paths))


def open_network_of(config: NetworkConfig) -> Network:
    """Open the network, or the view of it, that a configuration names."""
    return open_view(config.path, config.sources, config.independent)


Compute = Callable[[Context], Iterable[tuple[str, pd.DataFrame]]]


@dataclass(frozen=True)
class Analysis:
    """An analysis.

    Attributes
    ----------
    name
        Unique; shown as a step of the run.
    needs
        What it reads.
    outputs
        Returns path -> blocks that the table is made from, for a plan and its finished blocks.
    compute
        Yields (path, table), of those that are wanted.
    tables
        Schema of every table that it can make.
    sections
        What the report shows of it.
    """

    name: str
    needs: Needs
    outputs: Callable[[Plan, Sequence[Block]], Mapping[str, Sequence[Block]]]
    compute: Compute
    tables: tuple[Table, ...] = ()
    sections: tuple[Section, ...] = field(default=())


def analyses(names: Sequence[str] = ()) -> list[Analysis]:
    """Return the built-in analyses, then those of other packages by name.

    Raises
    ------
    InputError
        If no installed package has an analysis of a name, or its entry point is something else.
    OctoscopeError
        If the code of such a package raises, here or when its analysis runs.
    """
    from octoscope.analysis.tables import BUILT_IN  # the modules import this one

    installed = {e.name: e for e in entry_points(group=GROUP)}
    all_analyses = list(BUILT_IN)
    for name in names:
        if name not in installed:
            raise InputError(
                "analyses",
                f"no installed package has the analysis {name!r} (installed: "
                f"{', '.join(sorted(installed)) or 'none'})",
                f"install the package that declares it under the entry point group {GROUP}",
            )
        with _naming(name):
            value = installed[name].load()
        if not isinstance(value, Analysis) or value.name in {a.name for a in all_analyses}:
            raise InputError(
                f"analyses: {name}",
                f"{installed[name].value} is not an octoscope Analysis with a name of its own",
                "correct the entry point of that package",
            )
        outputs, compute = _naming(name)(value.outputs), _named_steps(name, value.compute)
        all_analyses.append(replace(value, outputs=outputs, compute=compute))
    return all_analyses


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the analysis of another package in whatever its code raises."""
    try:
        yield
    except (OctoscopeError, OSError):  # the second: of the run's store
        raise
    except (Exception, SystemExit) as error:
        raise OctoscopeError(
            f"the analysis {name} failed: {in_one_line(error)}. Repair its package, or leave it "
            "out of analyses in a new run; `octoscope resume` goes on"
        ) from error


def _named_steps(name: str, compute: Compute) -> Compute:
    def named(context: Context) -> Iterator[tuple[str, pd.DataFrame]]:
        with _naming(name):
            yield from compute(context)

    return named

"""A finished run as it is opened: names, plan, tables; what questions of it share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pandas as pd

from octoscope.analysis.registry import open_network_of
from octoscope.api.choose import one_of
from octoscope.api.display import Shown
from octoscope.api.network import Network
from octoscope.config import RunConfig
from octoscope.errors import InputError, some
from octoscope.results.run_matrices import RunMatrices, require_dense
from octoscope.results.run_results import Results
from octoscope.results.run_tables import RunTables
from octoscope.run_plan.values import ModelPlan, Plan


class OpenedRun(Shown):
    """Names, plan and tables of a finished run. Each is read when it is first asked for.

    Attributes
    ----------
    results
        The run as the report reads it; see ``Results``.

    Examples
    --------
    >>> run = oc.open_run(RUN)
    >>> run.models, run.categories, run.quarantined
    (['tiny'], ['T cell', 'macrophage'], {})
    >>> len(run.refused)
    0
    """

    def __init__(self, results: Results) -> None:
        self.results = results

    @property
    def path(self) -> str:
        """Path or URL of the run directory."""
        return self.results.url

    def at(self, relative: str) -> str:
        """Return the full name of a file of the run, for messages."""
        return self.results.at(relative)

    @property
    def plan(self) -> Plan:
        """The plan of the run.

        Examples
        --------
        >>> run = oc.open_run(RUN)
        >>> run.plan.top_k == run.config.top_k
        True
        """
        return self.results.plan

    @property
    def models(self) -> list[str]:
        """Names of the matrices: attention variants of each model, then co-expression."""
        return [m.name for m in self.plan.models]

    @property
    def categories(self) -> list[str]:
        """Names of the categories."""
        return [c.name for c in self.plan.categories]

    @property
    def tables(self) -> RunTables:
        """All tables by name, e.g. ``run.tables["agreement"]``.

        Examples
        --------
        >>> tables = oc.open_run(RUN).tables
        >>> tables["stats"][["category", "layer"]].drop_duplicates().shape
        (4, 2)
        """
        return self.results.tables

    @property
    def refused(self) -> pd.DataFrame:
        """Cells that a model refused, and why: ``model``, ``category``, ``cell``, ``why``."""
        return self.tables["refused"]

    @property
    def quarantined(self) -> dict[str, str]:
        """Work that failed and was left out, with the reason; empty for a complete run."""
        return dict(self.results.provenance.get("quarantined", {}))

    @property
    def config(self) -> RunConfig:
        """The configuration of the run, with every default filled in."""
        return self.results.config

    @property
    def inputs(self) -> list[str]:
        """Paths and URLs that the run read; nothing is written into them."""
        return self.results.config.input_paths()

    @cached_property
    def network(self) -> Network | None:
        """The view of the network that the run used; None if it used none or it cannot be read."""
        config = self.results.config.network
        if config is None:
            return None
        try:
            return Network(open_network_of(config))
        except InputError:
            return None

    @cached_property
    def _matrices(self) -> RunMatrices:
        return require_dense(self.path, check=self.results.checked)

    def _model(self, name: str) -> ModelPlan:
        return self.plan.model(one_of("model", name, self.models))

    def _layer(self, m: ModelPlan, layer: int) -> int:
        if layer not in m.layers:
            raise InputError(
                "layer", f"{layer} of {m.name} is not in this run", some_numbers(m.layers)
            )
        return layer

    def _entries(self) -> Mapping[str, Any]:
        layers = sum(len(m.layers) for m in self.plan.models)
        state = "finished"
        if self.quarantined:
            state = f"finished, {len(self.quarantined)} pieces of work quarantined"
        return {
            "path": self.path,
            "models": some(self.models),
            "categories": some(self.categories),
            "layers": layers,
            "state": state,
        }


def some_numbers(numbers: list[int]) -> str:
    """Return layers for a message."""
    return "choose among " + some([str(n) for n in numbers], 12)

"""Planning a run from Python: look at what it needs, then run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from octoscope.api.display import Shown
from octoscope.api.run import Run, open_run
from octoscope.config import RunConfig, apply_overrides, load_config, parse_config
from octoscope.run_plan.gene_set_counts import gene_set_counts
from octoscope.run_plan.values import Plan


class PlannedRun(Shown):
    """A configuration whose inputs are checked, and what the run needs. Nothing is written yet.

    Attributes
    ----------
    config
        The validated configuration.
    plan
        What will be computed.

    Examples
    --------
    >>> planned = oc.plan(CONFIG)
    >>> planned.summary()[["model", "cells", "units"]].to_dict("records")[0]
    {'model': 'tiny', 'cells': 24, 'units': 4}
    >>> planned.needs["actor_bytes"] > 0
    True
    """

    def __init__(self, config: RunConfig, plan: Plan) -> None:
        self.config, self.plan = config, plan

    def summary(self) -> pd.DataFrame:
        """Return one row per model and category: cells, units, layers, matrices, genes."""
        rows = [
            {
                "model": m.name,
                "category": category.name,
                "cells": category.n_cells,
                "units": sum(len(self.plan.units_of(m.name, c, half)) for half in (0, 1)),
                "layers": len(m.layers),
                "matrices": sum(len(v.layers) for v in self.plan.models if v.base == m.name),
                "genes": len(m.axis),
            }
            for m in self.plan.bases
            for c, category in enumerate(self.plan.categories)
        ]
        return pd.DataFrame(rows)

    def gene_sets(self) -> pd.DataFrame:
        """Return one row per gene set and model: genes declared, used and absent, and pairs.

        ``gene_set``, ``model``, ``n_declared``, ``n_genes`` (summed), ``absent`` (names),
        ``n_pairs`` (ordered), ``top_share`` (of the pairs that ``top_k`` holds) and
        ``top_k_sound`` (a tenth of the pairs).

        Examples
        --------
        >>> counts = oc.plan(CONFIG).gene_sets()
        >>> counts[["gene_set", "model", "n_declared", "n_genes"]].to_dict("records")[0]
        {'gene_set': 'panel', 'model': 'tiny', 'n_declared': 63, 'n_genes': 63}
        """
        return gene_set_counts(self.plan)

    @property
    def needs(self) -> dict[str, float]:
        """Projected bytes: per actor, per analysis task, of disk while it runs and after."""
        return dict(self.plan.needs)

    def run(self, path: str | Path, *, address: str | None = None, quiet: bool = False) -> Run:
        """Run it in a directory, or continue the same run there; returns the finished run.

        Parameters
        ----------
        path
            Run directory: a path, or a URL of an object store.
        address
            Ray cluster; None: the one of ``RAY_ADDRESS``, else this machine.
        quiet
            Print no progress.

        Raises
        ------
        InputError
            If the directory holds something else.
        OctoscopeError
            If the run fails; what is committed stays.
        """
        import os

        from rich.console import Console

        from octoscope.cluster.driver import execute
        from octoscope.planning.freeze import prepare

        root, plan = prepare(self.config, str(path))
        with open(os.devnull, "w") as nowhere:
            console = Console(file=nowhere) if quiet else Console()
            execute(root, plan, console, config=self.config, address=address)
        return open_run(root.url)

    def _facts(self) -> Mapping[str, Any]:
        needs, atlas = self.plan.needs, self.plan.atlas
        return {
            "title": self.config.title,
            "models": ", ".join(m.name for m in self.plan.checkpoints),
            "categories": len(self.plan.categories),
            "cells": "not known" if atlas is None else f"{atlas['selected']:,}",
            "units": f"{len(self.plan.units):,}",
            "matrices": f"{len(self.plan.matrix_work()):,}",
            "memory per actor": f"{needs['actor_bytes'] / 1e9:.1f} GB",
            "disk": f"{(needs['scratch_bytes'] + needs['store_bytes']) / 1e9:.1f} GB",
        }


def plan(
    config: str | Path | Mapping[str, Any] | RunConfig, *, overrides: Sequence[str] = ()
) -> PlannedRun:
    """Check a configuration and its inputs, and return what the run will compute and need.

    Parameters
    ----------
    config
        YAML file, a nested mapping with the same fields, or a validated configuration.
    overrides
        ``section.field=value``, as ``--set`` of the command line takes them.

    Raises
    ------
    InputError
        Naming the file, the field and the fix.

    Examples
    --------
    >>> import octoscope as oc
    >>> planned = oc.plan(CONFIG, overrides=["top_k=20"])
    >>> planned.plan.top_k
    20
    >>> planned.summary()["category"].tolist()
    ['T cell', 'macrophage']
    """
    from octoscope.planning.resolve import make_plan

    if isinstance(config, RunConfig):
        settings = config
    elif isinstance(config, Mapping):
        tree = yaml.safe_load(yaml.safe_dump(dict(config)))  # a copy of plain values
        settings = parse_config(apply_overrides(tree, list(overrides)), "plan()")
    else:
        settings = load_config(config, list(overrides))
    return PlannedRun(settings, make_plan(settings, None))

"""Planning a run from Python: look at what it needs, then run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from octoscope.api.display import Shown
from octoscope.api.execution import Stage, executed, starting
from octoscope.config import RunConfig, apply_overrides, load_config, parse_config
from octoscope.demo.demo import demo_tree
from octoscope.errors import InputError
from octoscope.extras import extras_needed
from octoscope.run_plan.gene_set_counts import gene_set_counts
from octoscope.run_plan.values import Plan

if TYPE_CHECKING:
    from octoscope.api.run import Run
    from octoscope.store.run_dir import RunRoot


class PlannedRun(Shown):
    """A configuration whose inputs are checked, and what the run needs.

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

    def __init__(self, config: RunConfig, plan: Plan, root: RunRoot | None = None) -> None:
        self.config, self.plan, self._root = config, plan, root

    @property
    def path(self) -> str | None:
        """Path or URL of the directory that the plan is frozen in; None: nothing is written."""
        return None if self._root is None else self._root.url

    def summary(self) -> pd.DataFrame:
        """Return one row per model and category: cells, units, layers, matrices, genes.

        Examples
        --------
        >>> oc.plan(CONFIG).summary()[["category", "layers", "matrices"]].values.tolist()
        [['T cell', 2, 2], ['macrophage', 2, 2]]
        """
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
        ``n_pairs`` (ordered), ``top_share`` (of the pairs that ``top_k`` holds),
        ``saturated`` (more than a tenth) and ``top_k_sound`` (a tenth of the pairs).

        Examples
        --------
        >>> counts = oc.plan(CONFIG).gene_sets()
        >>> counts[["gene_set", "model", "n_declared", "n_genes"]].to_dict("records")[0]
        {'gene_set': 'panel', 'model': 'tiny', 'n_declared': 63, 'n_genes': 63}
        """
        return gene_set_counts(self.plan)

    @property
    def needs(self) -> dict[str, float]:
        """Projected bytes: per actor, per analysis task, of disk while it runs and after.

        Examples
        --------
        >>> sorted(oc.plan(CONFIG).needs)[:2]
        ['actor_bytes', 'analysis_bytes']
        """
        return dict(self.plan.needs)

    @extras_needed()
    def timing(self) -> list[dict[str, Any]]:
        """Time a few cells and a matrix of each model here; it changes no result.

        Returns
        -------
        list of dict
            Per model: ``model``, ``seconds_per_cell``, ``seconds_per_unit``,
            ``seconds_per_matrix``, ``unit_hours`` and ``matrix_hours`` of one actor for the whole
            plan. The figures are None for a model that cannot be timed here.
        """
        from octoscope.planning.timing import estimate

        folder = None if self._root is None else self._root.folder
        return estimate(self.plan, self.config, None if folder is None else folder.parent)

    def execute(
        self,
        *,
        stage: Stage = "all",
        address: str | None = None,
        steal: bool = False,
        quiet: bool = False,
    ) -> int:
        """Run, or continue, in the directory that the plan is frozen in; returns the exit code.

        Parameters
        ----------
        stage
            ``attention`` (units, matrices), ``analysis`` (what follows, report) or ``all``.
        address
            Ray cluster; None: the one of ``RAY_ADDRESS``, else this machine.
        steal
            Take an expired lease of a driver on another machine.
        quiet
            Print no progress.

        Returns
        -------
        int
            0 done, 3 done with work quarantined.

        Raises
        ------
        InputError
            If the plan is frozen in no directory, or another driver holds the run.
        OctoscopeError
            If the run fails; what is committed stays.
        """
        if self._root is None:
            raise InputError(
                "out", "the plan is frozen in no directory", "plan(..., out=DIRECTORY)"
            )
        return executed(
            self._root, self.plan, self.config, stage=stage, address=address, steal=steal,
            quiet=quiet,
        )  # fmt: skip

    def run(
        self, path: str | Path | None = None, *, address: str | None = None, quiet: bool = False
    ) -> Run:
        """Run it in a directory, or continue the same run there; returns the finished run.

        Parameters
        ----------
        path
            Run directory: a path, or a URL of an object store; None: where the plan is frozen.
        address, quiet
            As for :meth:`execute`.

        Raises
        ------
        InputError
            If the directory holds something else.
        OctoscopeError
            If the run fails; what is committed stays.
        """
        from octoscope.api.run import open_run

        frozen = self if path is None else _frozen(self.config, str(path))
        frozen.execute(address=address, quiet=quiet)
        return open_run(str(frozen.path))

    def _entries(self) -> Mapping[str, Any]:
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


@extras_needed()
def plan(
    config: str | Path | Mapping[str, Any] | RunConfig,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    check_start: bool = False,
    address: str | None = None,
    name: str = "plan()",
) -> PlannedRun:
    """Check a configuration and its inputs, and return what the run will compute and need.

    Parameters
    ----------
    config
        YAML file, a nested mapping with the same fields, or a validated configuration.
    overrides
        ``section.field=value``, as ``--set`` of the command line takes them.
    out
        Run directory in which configuration and plan are frozen; the same plan may be there
        already. None: nothing is written.
    check_start
        With ``out``: check first that Ray starts, or answers at ``address``, and that the GPUs
        which are asked for are here. A failure is noted for ``octoscope status``.
    name
        What messages call a mapping.

    Raises
    ------
    InputError
        Naming the file, the field and the fix.
    OctoscopeError
        With ``check_start``, if Ray cannot start.

    Examples
    --------
    >>> import octoscope as oc
    >>> planned = oc.plan(CONFIG, overrides=["top_k=20"])
    >>> planned.plan.top_k
    20
    >>> planned.summary()["category"].tolist()
    ['T cell', 'macrophage']
    """
    if isinstance(config, RunConfig):
        settings = config
    elif isinstance(config, Mapping):
        settings = parse_config(_with(config, overrides), name)
    else:
        settings = load_config(config, list(overrides))
    if out is None:
        from octoscope.planning.resolve import make_plan

        return PlannedRun(settings, make_plan(settings, None))
    if not check_start:
        return _frozen(settings, str(out))
    with starting(str(out), address, settings):
        return _frozen(settings, str(out))


def demo_config(*, small: bool = False, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the configuration of the demonstration, for :func:`plan`.

    Parameters
    ----------
    small
        Two models, two categories and a small panel: seconds instead of minutes.
    overrides
        ``section.field=value``, as ``--set`` of the command line takes them.

    Examples
    --------
    >>> [model["name"] for model in demo_config(small=True)["models"]]
    ['scgpt-demo', 'scprint-demo']
    """
    return _with(demo_tree(small=small), overrides)


@extras_needed()
def import_config(
    stores: Sequence[str],
    *,
    dataset: str | None = None,
    categories: Sequence[str] | None = None,
    network: str | None = None,
) -> dict[str, Any]:
    """Return the configuration of a run that imports stores of napistu-torch, for :func:`plan`.

    Parameters
    ----------
    stores
        FoundationModelStores, one per model. Nothing in them is executed.
    dataset
        Data set of the stores; None: their only one.
    categories
        None: those of all stores.
    network
        Octopus directory to compare with, or ``demo``; None: no network.

    Raises
    ------
    InputError
        If a folder is no store.
    """
    from octoscope.planning.import_config import import_tree

    return import_tree(stores, dataset=dataset, categories=categories, network=network)


def _with(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of a configuration of plain values with the overrides in it."""
    return apply_overrides(yaml.safe_load(yaml.safe_dump(dict(config))), list(overrides))


@extras_needed()
def _frozen(config: RunConfig, run: str) -> PlannedRun:
    from octoscope.planning.freeze import prepare

    root, frozen = prepare(config, run)
    return PlannedRun(config, frozen, root)

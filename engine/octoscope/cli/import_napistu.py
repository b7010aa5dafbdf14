"""``octoscope import-napistu``: stores of napistu-torch as a run."""

from __future__ import annotations

from typing import Annotated

import typer

from octoscope.cli.shared import say_results
from octoscope.errors import InputError


def import_napistu(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE... RUN",
            help="FoundationModelStores, one per model, and the run directory to make",
        ),
    ],
    dataset: Annotated[
        str | None, typer.Option(help="Data set of the stores; default: their only one")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Category to import; default: those of all stores")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Octopus directory to compare with, or demo; default: none")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override: section.field=value")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Ray cluster; default: local")
    ] = None,
) -> None:
    """Import mean residual streams and weights of napistu-torch, and analyse them as a run.

    Nothing in the stores is executed. What they do not hold (cells, halves, co-expression) is null
    in the run. The same command again continues an unfinished import.
    """
    from octoscope.api.plan import import_config, plan

    if len(paths) < 2:
        raise InputError(
            "import-napistu", f"one path is given: {paths[0]}",
            "name the stores, and last the run directory to make",
        )  # fmt: skip
    *stores, run = paths
    tree = import_config(stores, dataset=dataset, categories=category, network=network)
    planned = plan(
        tree, overrides=overrides or [], out=run, check_start=True, address=address,
        name="import-napistu",
    )  # fmt: skip
    code = planned.execute(address=address)
    say_results(str(planned.path))
    raise typer.Exit(code)

"""``octoscope``: the command line. It reads arguments, calls the engine and sets the exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.markup import escape

from octoscope import __version__
from octoscope.cli import atlas, compare, config, gnn, import_napistu, models, octopus, verdict
from octoscope.cli.plan_text import show_estimate, show_plan
from octoscope.cli.shared import (
    AsJson,
    Force,
    Stage,
    Unchecked,
    err,
    execute,
    guarded,
    opened,
    out,
    read_here,
    rows_table,
    say_results,
)
from octoscope.errors import InputError

app = typer.Typer(
    help="Read the attention of single-cell foundation models and test it against a network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit: 0 done, 1 failed, 2 bad input, 3 done with units quarantined, 130/143 stopped",
)
app.add_typer(atlas.app, name="atlas")
app.add_typer(models.models_app, name="models")
app.add_typer(octopus.app, name="octopus")
app.add_typer(gnn.app, name="gnn")
app.add_typer(config.app, name="config")
app.add_typer(models.attention_app, name="attention")
app.add_typer(compare.app, name="compare")
app.command()(compare.export)
app.command()(compare.pool)
app.command()(verdict.verdict)
app.command("import-napistu")(import_napistu.import_napistu)

Config = Annotated[Path, read_here("Configuration file (YAML)")]
Run = Annotated[str, typer.Argument(help="Run directory")]
Out = Annotated[str, typer.Option("--out", help="Run directory to make")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override: section.field=value")]
Execution = Annotated[
    list[str] | None, typer.Option("--set", help="Change how it executes: execution.field=value")
]
Address = Annotated[str | None, typer.Option("--address", help="Ray cluster; default: local")]
Steal = Annotated[
    bool, typer.Option("--steal", help="Take over from a driver elsewhere whose lease has expired")
]


Stages = Annotated[
    Stage, typer.Option("--stage", help="attention: units and matrices; analysis: what follows")
]


@app.command()
def demo(
    out_: Annotated[str, typer.Option("--out", help="Run directory to make")] = "demo-run",
    config: Annotated[bool, typer.Option("--config", help="Print the configuration only")] = False,
    small: Annotated[
        bool, typer.Option("--small", help="Two models, two cell types: seconds, not minutes")
    ] = False,
    overrides: Set = None,
) -> None:
    """Run the embedded demonstration to a verified report."""
    from octoscope.api.plan import demo_config
    from octoscope.api.plan import plan as make_plan

    tree = demo_config(small=small, overrides=overrides or [])
    if config:
        typer.echo(yaml.safe_dump(tree, sort_keys=False))
        return
    planned = make_plan(tree, out=out_, check_start=True, name="demo configuration")
    show_plan(planned)
    code = planned.execute()
    _verify(str(planned.path))
    say_results(str(planned.path))
    raise typer.Exit(code)


@app.command()
def plan(
    config: Config,
    out_: Annotated[str, typer.Option("--out", help="Run directory to make")],
    overrides: Set = None,
    calibrate: Annotated[
        bool, typer.Option(help="Time each model on a few cells, to say how long the run takes")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Plan a run: check inputs, memory, disk and time, freeze the plan in the run directory."""
    from octoscope.api.plan import plan as make_plan

    planned = make_plan(config, overrides=overrides or [], out=out_)
    if not as_json:
        show_plan(planned)
    timed = planned.timing() if calibrate else []
    if as_json:
        typer.echo(json.dumps(planned.plan.model_dump(mode="json") | {"estimate": timed}))
    elif timed:
        show_estimate(timed, planned.config.execution.device)


@app.command()
def run(
    config: Config,
    out_: Out,
    stage: Stages = Stage.ALL,
    overrides: Set = None,
    address: Address = None,
    steal: Steal = False,
) -> None:
    """Plan and run; the same command again continues an unfinished run.

    Inside a submitted Ray job it joins that job's cluster.
    """
    from octoscope.api.plan import plan as make_plan

    planned = make_plan(
        config, overrides=overrides or [], out=out_, check_start=True, address=address
    )
    if planned.config.execution.log == "text":
        show_plan(planned)
    execute(planned, stage, address, steal)


@app.command()
def resume(
    run: Run,
    stage: Stages = Stage.ALL,
    overrides: Execution = None,
    address: Address = None,
    steal: Steal = False,
) -> None:
    """Continue an interrupted run: only what has no commit record is computed."""
    from octoscope.api.run_directory import RunDirectory

    planned = RunDirectory(run).planned(overrides=overrides or [], address=address)
    execute(planned, stage, address, steal)


@app.command()
def overlap(run: Run, address: Address = None, steal: Steal = False) -> None:
    """Run the analysis stage alone: layers, overlap with the network, report."""
    from octoscope.api.run_directory import RunDirectory

    execute(RunDirectory(run).planned(address=address), Stage.ANALYSIS, address, steal)


@app.command()
def status(
    run: Run,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Until its driver ends")] = False,
) -> None:
    """Say how far a run is, from its directory alone: stages, actors, rates, time left."""
    from octoscope.api.run_directory import RunDirectory

    directory = RunDirectory(run)
    if watch:
        directory.follow()
    seen = directory.status()
    if as_json:
        typer.echo(json.dumps({**seen.rows, "progress": seen.progress}, ensure_ascii=False))
        return
    out.print(rows_table(run, dict(seen.rows)))
    view = seen.view()
    if view is not None:
        out.print(view)


@app.command()
def verify(run: Run, as_json: AsJson = False) -> None:
    """Check every object of a run against its digest."""
    _verify(run, as_json)


def _verify(run: str, as_json: bool = False) -> None:
    from octoscope.api.run_directory import RunDirectory

    directory = RunDirectory(run)
    faults = directory.verify()
    if as_json:
        typer.echo(json.dumps([{"object": f.object, "what": f.what} for f in faults]))
    else:
        for fault in faults:
            err.print(f"{escape(fault.object)}: {escape(fault.what)}", soft_wrap=True)
        state = "finished" if directory.finished else "unfinished"
        out.print(f"{state} run, {len(faults)} faults" if faults else f"verified: {state} run")
    if faults:
        raise typer.Exit(1)


@app.command()
def repair(
    run: Run,
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be done only")] = False,
    address: Address = None,
    steal: Steal = False,
) -> None:
    """Find damage and compute again what is damaged, and what that needs; then verify."""
    from octoscope.api.run_directory import RunDirectory

    directory = RunDirectory(run)
    code = directory.repair(dry_run=dry, address=address, steal=steal)
    if not dry:
        _verify(run)
    raise typer.Exit(code)


@app.command()
def report(
    run: Run,
    gene_set: Annotated[str | None, typer.Option(help="Declared gene set to show")] = None,
    view: Annotated[str | None, typer.Option(help="View to show")] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="HTML file to write")] = None,
    by_model: Annotated[
        bool, typer.Option("--by-model", help="Write a folder: the run, and a page per model")
    ] = False,
    force: Force = False,
    unchecked: Unchecked = False,
) -> None:
    """Say where the report of a finished run is, or write one to a place of your own."""
    finished = opened(run, unchecked)
    if gene_set is None and view is None and out_ is None and not by_model:
        typer.echo(finished.report)
        return
    if out_ is None:
        what = "folder" if by_model else "file"
        raise InputError("--out", "is missing", f"name a {what} outside the run, which is sealed")
    finished.write_report(out_, gene_set=gene_set, view=view, by_model=by_model, force=force)
    typer.echo(str(out_))


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    sys.exit(guarded(app))

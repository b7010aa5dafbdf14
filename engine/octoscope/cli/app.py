"""``octoscope``: the command line. It reads arguments, calls the engine and sets the exit code."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml
from rich.markup import escape

from octoscope import __version__
from octoscope.cli import atlas, compare, config, gnn, import_napistu, models, octopus, verdict
from octoscope.cli.plan_text import show_estimate, show_plan
from octoscope.cli.shared import (
    AsJson,
    Force,
    Unchecked,
    err,
    guarded,
    out,
    read_here,
    rows_table,
    say_results,
    starting,
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


class Stage(StrEnum):
    """Stages of a run to execute; each can be its own job."""

    ALL = "all"
    ATTENTION = "attention"
    ANALYSIS = "analysis"


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
    from octoscope.config import apply_overrides, parse_config
    from octoscope.demo.demo import demo_tree

    tree = apply_overrides(demo_tree(small=small), overrides or [])
    if config:
        typer.echo(yaml.safe_dump(tree, sort_keys=False))
        return
    from octoscope.cluster.driver import execute
    from octoscope.planning.freeze import prepare

    with starting(out_):
        root, plan = prepare(parse_config(tree, "demo configuration"), out_)
    show_plan(plan)
    code = execute(root, plan, out)
    _verify(root.url)
    say_results(root)
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
    from octoscope.config import load_config
    from octoscope.planning.freeze import prepare
    from octoscope.planning.timing import estimate

    settings = load_config(config, overrides)
    root, made = prepare(settings, out_)
    if not as_json:
        show_plan(made)
    place = None if root.folder is None else root.folder.parent
    timed = estimate(made, settings, place) if calibrate else []
    if as_json:
        typer.echo(json.dumps(made.model_dump(mode="json") | {"estimate": timed}))
    elif timed:
        show_estimate(timed, settings.execution.device)


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
    from octoscope.config import load_config
    from octoscope.planning.freeze import prepare

    settings = load_config(config, overrides)
    with starting(out_, address, settings):
        root, made = prepare(settings, out_)
    if settings.execution.log == "text":
        show_plan(made)
    _execute(root, made, settings, stage, address, steal)


@app.command()
def resume(
    run: Run,
    stage: Stages = Stage.ALL,
    overrides: Execution = None,
    address: Address = None,
    steal: Steal = False,
) -> None:
    """Continue an interrupted run: only what has no commit record is computed."""
    from octoscope.planning.freeze import replan, run_config
    from octoscope.store.plan_file import run_directory

    root = run_directory(run)
    settings = run_config(root, overrides)
    with starting(root.url, address):
        made = replan(root)
    _execute(root, made, settings, stage, address, steal)


@app.command()
def overlap(run: Run, address: Address = None, steal: Steal = False) -> None:
    """Run the analysis stage alone: layers, overlap with the network, report."""
    from octoscope.planning.freeze import replan, run_config
    from octoscope.store.plan_file import run_directory

    root = run_directory(run)
    with starting(root.url, address):
        made, settings = replan(root), run_config(root)
    _execute(root, made, settings, Stage.ANALYSIS, address, steal)


def _execute(
    root: Any, made: Any, settings: Any, stage: Stage, address: str | None, steal: bool
) -> NoReturn:
    """Run a plan, say what it found, and exit with its code."""
    from octoscope.cluster.driver import execute

    code = execute(
        root, made, out, config=settings, stage=stage.value, address=address, steal=steal
    )
    if settings.execution.log == "text":
        say_results(root)
    raise typer.Exit(code)


@app.command()
def status(
    run: Run,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Until its driver ends")] = False,
) -> None:
    """Say how far a run is, from its directory alone: stages, actors, rates, time left."""
    from octoscope.cluster.live_view import render
    from octoscope.cluster.progress import follow, summary
    from octoscope.cluster.progress_file import last_seen
    from octoscope.store.plan_file import run_directory

    root = run_directory(run)
    if watch:
        follow(root, out)
    rows, progress = summary(root), last_seen(root)
    if as_json:
        typer.echo(json.dumps({**rows, "progress": progress}, ensure_ascii=False))
        return
    out.print(rows_table(run, rows))
    if progress is not None and progress["status"] == "running" and "actors" in progress:
        out.print(render(progress))


@app.command()
def verify(run: Run, as_json: AsJson = False) -> None:
    """Check every object of a run against its digest."""
    _verify(run, as_json)


def _verify(run: str, as_json: bool = False) -> None:
    from octoscope.store.manifest import verify as check
    from octoscope.store.plan_file import run_directory

    root = run_directory(run)
    faults = check(root)
    if as_json:
        typer.echo(json.dumps([{"object": f.object, "what": f.what} for f in faults]))
    else:
        for fault in faults:
            err.print(f"{escape(fault.object)}: {escape(fault.what)}", soft_wrap=True)
        state = "finished" if root.exists("_SUCCESS") else "unfinished"
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
    from octoscope.cluster.repair import repair_run
    from octoscope.store.plan_file import run_directory

    root = run_directory(run)
    code = repair_run(root, out, dry=dry, address=address, steal=steal)
    if not dry:
        _verify(root.url)
    raise typer.Exit(code)


@app.command()
def report(
    run: Run,
    gene_set: Annotated[str | None, typer.Option(help="Declared gene set to show")] = None,
    view: Annotated[str | None, typer.Option(help="View to show")] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="HTML file to write")] = None,
    force: Force = False,
    unchecked: Unchecked = False,
) -> None:
    """Say where the report of a finished run is, or write one to a place of your own."""
    from octoscope.output_files import new_file
    from octoscope.results.run_results import Results, stored_report
    from octoscope.store.plan_file import run_directory

    root = run_directory(run)
    if gene_set is None and view is None and out_ is None:
        typer.echo(stored_report(root, check=not unchecked))
        return
    if out_ is None:
        raise InputError("--out", "is missing", "name a file outside the run, which is sealed")
    results = Results.open(root, check=not unchecked)
    with new_file(out_, force=force, inputs=results.config.places()) as file:
        from octoscope.report.page import page  # matplotlib

        file.write_bytes(page(results, gene_set, view))
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

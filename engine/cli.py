"""``octoscope``: the command line. It reads arguments, calls the engine and sets the exit code."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine import __version__
from engine.errors import InputError, OctoscopeError

app = typer.Typer(
    help="Read the attention of single-cell foundation models and test it against a network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit: 0 done, 1 failed, 2 bad input, 3 done with units set aside, 130/143 stopped",
)
atlas_app = typer.Typer(help="Look at and convert atlases.", no_args_is_help=True)
models_app = typer.Typer(help="Look at checkpoints.", no_args_is_help=True)
attention_app = typer.Typer(
    help="Hidden states and attention of single cells.", no_args_is_help=True
)
app.add_typer(atlas_app, name="atlas")
app.add_typer(models_app, name="models")
app.add_typer(attention_app, name="attention")

out = Console()
err = Console(stderr=True)

Config = Annotated[Path, typer.Argument(help="Configuration file (YAML)")]
Run = Annotated[str, typer.Argument(help="Run directory")]
Out = Annotated[str, typer.Option("--out", help="Run directory to make")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override: section.field=value")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value")]
Address = Annotated[str | None, typer.Option("--address", help="Ray cluster; default: local")]


def _print(value: Any, as_json: bool, table: Callable[[], Table]) -> None:
    if as_json:
        typer.echo(json.dumps(value, ensure_ascii=False))
    else:
        out.print(table())


def _rows(title: str, rows: dict[str, Any]) -> Table:
    table = Table("", "", title=title, show_header=False)
    for key, value in rows.items():
        table.add_row(key, escape(str(value)))
    return table


@app.command()
def demo(
    out_: Annotated[str, typer.Option("--out", help="Run directory to make")] = "demo-run",
    config: Annotated[bool, typer.Option("--config", help="Print the configuration only")] = False,
    overrides: Set = None,
) -> None:
    """Run the embedded demonstration to a verified report."""
    from engine.config import apply_overrides, parse_config
    from engine.demo.demo import demo_tree

    tree = apply_overrides(demo_tree(), overrides or [])
    if config:
        typer.echo(yaml.safe_dump(tree, sort_keys=False))
        return
    from engine.cluster.driver import execute, prepare

    root, plan = prepare(parse_config(tree, "demo configuration"), out_)
    _show_plan(plan)
    code = execute(root, plan, out)
    _verify(str(root.path))
    out.print(f"report: {root.path}/report/index.html", soft_wrap=True)
    raise typer.Exit(code)


@app.command()
def plan(
    config: Config,
    out_: Annotated[str, typer.Option("--out", help="Run directory to make")],
    overrides: Set = None,
    as_json: AsJson = False,
) -> None:
    """Plan a run: check inputs, memory and disk, freeze the plan in the run directory."""
    from engine.cluster.driver import prepare
    from engine.config import load_config

    _, made = prepare(load_config(config, overrides), out_)
    if as_json:
        typer.echo(made.model_dump_json())
    else:
        _show_plan(made)


def _show_plan(made: Any) -> None:
    table = Table("model", "category", "cells", "halves", "units", "layers", "genes", title="Plan")
    for m in made.models:
        for c, category in enumerate(made.categories):
            n = sum(len(made.units_of(m.name, c, h)) for h in (0, 1))
            a, b = category.cells
            name = m.name + (" (demonstration)" if m.demonstration else "")
            cells = (str(a + b), f"{a} + {b}", str(n), str(len(m.layers)), str(len(m.axis)))
            table.add_row(name, escape(category.name), *cells)
    out.print(table)
    needs = made.needs
    out.print(
        f"plan {made.hash[:12]}: {len(made.units)} units; per actor up to "
        f"{needs['actor_bytes'] / 1e9:.1f} GB of memory; disk up to "
        f"{needs['scratch_bytes'] / 1e9:.2f} GB while it runs, "
        f"{needs['store_bytes'] / 1e9:.2f} GB after"
    )
    refused = ", ".join(f"{n} {why}" for why, n in made.refused_cells.items()) or "none"
    out.print(
        f"cells selected {made.atlas['selected']} of {made.atlas['cells']}; refused: {refused}"
    )


@app.command()
def run(config: Config, out_: Out, overrides: Set = None, address: Address = None) -> None:
    """Plan and run; the same command again continues an unfinished run."""
    from engine.cluster.driver import execute, prepare
    from engine.config import load_config

    root, made = prepare(load_config(config, overrides), out_)
    _show_plan(made)
    raise typer.Exit(execute(root, made, out, address=address))


@app.command()
def resume(run: Run, address: Address = None) -> None:
    """Continue an interrupted run: only what has no commit record is computed."""
    from engine.cluster.driver import execute, replan
    from engine.store.plan import run_directory

    root = run_directory(run)
    raise typer.Exit(execute(root, replan(root), out, address=address))


@app.command()
def overlap(run: Run, address: Address = None) -> None:
    """Run the analysis stage alone: layers, overlap with the network, report."""
    from engine.cluster.driver import execute, replan
    from engine.store.plan import run_directory

    root = run_directory(run)
    raise typer.Exit(execute(root, replan(root), out, stage="analysis", address=address))


@app.command()
def status(run: Run, as_json: AsJson = False) -> None:
    """Say how far a run is, from its directory alone."""
    from engine.cluster.progress import summary
    from engine.store.plan import run_directory

    rows = summary(run_directory(run))
    _print(rows, as_json, lambda: _rows(run, rows))


@app.command()
def verify(run: Run, as_json: AsJson = False) -> None:
    """Check every object of a run against its digest."""
    _verify(run, as_json)


def _verify(run: str, as_json: bool = False) -> None:
    from engine.store.manifest import verify as check
    from engine.store.plan import run_directory

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
def report(
    run: Run,
    gene_set: Annotated[str | None, typer.Option(help="Declared gene set to show")] = None,
    view: Annotated[str | None, typer.Option(help="View to show")] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="HTML file to write")] = None,
) -> None:
    """Say where the report of a finished run is, or write one for another gene set or view."""
    from engine.report.page import render, stored_report
    from engine.store.plan import run_directory

    root = run_directory(run)
    if gene_set is None and view is None:
        typer.echo(str(stored_report(root)))
        return
    if out_ is None:
        raise InputError("--out", "is missing", "name a file outside the run, which is sealed")
    out_.write_bytes(render(root, gene_set, view))
    typer.echo(str(out_))


@atlas_app.command("info")
def atlas_info(
    path: Annotated[str, typer.Argument(help="AnnData in Zarr, or h5ad")],
    category: Annotated[list[str] | None, typer.Option(help="obs column of categories")] = None,
    counts: Annotated[str, typer.Option(help="auto, X, raw.X or layers/<name>")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Open an atlas, check every count, and say what a run would see."""
    import numpy as np

    from engine.atlas import Atlas
    from engine.config import AtlasConfig

    atlas = Atlas(AtlasConfig(path=path, counts=counts, category_key=category or []))
    n = len(atlas.cell_ids)
    total = sum(b.counts.nnz for b in atlas.stream(np.arange(n), 1024))
    rows: dict[str, Any] = {
        "cells": n,
        "genes": len(atlas.genes),
        "counts": atlas.counts_source,
        "nonzero": total,
        "genes dropped or merged": len(atlas.gene_report),
        "read over needed": round(atlas.cost.read / max(1, atlas.cost.needed), 2),
    }
    if category:
        index = atlas.index(0)
        for name, halves in zip(index.categories, index.halves, strict=True):
            rows[f"cells of {name}"] = sum(len(h) for h in halves)
        rows |= {f"refused: {why}": k for why, k in index.refused.items()}
    _print(rows, as_json, lambda: _rows(path, rows))


@atlas_app.command("convert")
def atlas_convert(
    path: Annotated[str, typer.Argument(help="AnnData in Zarr, or h5ad")],
    target: Annotated[str, typer.Argument(help="Zarr v3 store to make")],
    category: Annotated[list[str] | None, typer.Option(help="obs column(s) to sort by")] = None,
    counts: Annotated[str, typer.Option(help="auto, X, raw.X or layers/<name>")] = "auto",
    gene_id: Annotated[str | None, typer.Option(help="var column of Ensembl ids")] = None,
    as_json: AsJson = False,
) -> None:
    """Rewrite an atlas sorted by category: sharded Zarr v3 with checksums."""
    from engine.atlas import convert
    from engine.config import AtlasConfig

    config = AtlasConfig(path=path, counts=counts, category_key=category or [], gene_id_key=gene_id)
    rows = convert(config, target)
    _print(rows, as_json, lambda: _rows(target, rows))


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the installed model families."""
    from engine.models import families

    rows = {name: (cls.__doc__ or "").splitlines()[0] for name, cls in families().items()}
    _print(rows, as_json, lambda: _rows("families", rows))


@models_app.command("inspect")
def models_inspect(
    checkpoint: Annotated[Path, typer.Argument(help="Published checkpoint folder")],
    as_json: AsJson = False,
) -> None:
    """Load a checkpoint strictly and say what it is."""
    from engine.models import family_of, load_model

    model = load_model(checkpoint)
    rows = {
        "family": family_of(checkpoint),
        "layers": model.n_layers,
        "heads": model.n_heads,
        "d": model.d,
        "genes": len(model.genes),
        "genes with an Ensembl id": int((model.genes.ensembl != "").sum()),
        "options": dict(model.options),
    }
    _print(rows, as_json, lambda: _rows(str(checkpoint), rows))


@attention_app.command("dump")
def attention_dump(
    checkpoint: Annotated[Path, typer.Argument(help="Published checkpoint folder")],
    cells: Annotated[str, typer.Argument(help="h5ad or Zarr with raw counts")],
    out_: Annotated[Path, typer.Option("--out", help="npz file to write")],
    tokens: Annotated[Path | None, typer.Option(help="Dump whose model inputs are used")] = None,
    positions: Annotated[Path | None, typer.Option(help="Dump whose positions are stored")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Family setting: key=value")] = None,
    rng: Annotated[str, typer.Option(help="cell (counter-based) or upstream")] = "cell",
    seed: Annotated[int, typer.Option(help="Seed of the counter-based stream")] = 0,
) -> None:
    """Write hidden states and attention of cells in the common schema."""
    from engine.dump import write_dump

    pairs = {}
    for text in option or []:
        key, sep, value = text.partition("=")
        if not sep:
            raise InputError(f"--option {text}", "no '=' in it", "write --option key=value")
        pairs[key] = yaml.safe_load(value)
    if rng not in ("cell", "upstream"):
        raise InputError("--rng", f"{rng!r}", "use cell or upstream")
    write_dump(
        checkpoint,
        cells,
        out_,
        tokens=tokens,
        positions=positions,
        options=pairs,
        upstream=rng == "upstream",
        seed=seed,
    )
    out.print(f"wrote {out_}", soft_wrap=True)


@attention_app.command("diff")
def attention_diff(
    ours: Annotated[Path, typer.Argument(help="Dump to judge")],
    theirs: Annotated[Path, typer.Argument(help="Dump to compare with; its tolerances count")],
    as_json: AsJson = False,
) -> None:
    """Print the worst difference per array; exit 1 beyond tolerance."""
    from engine.models.dump import diff

    rows = diff(ours, theirs)
    table = Table("array", "worst", "allowed", "", title="difference")
    for r in rows:
        table.add_row(
            r.name, f"{r.worst:.3g}", f"{r.allowed:.3g}", r.note + ("" if r.ok else " BAD")
        )
    value = [{"array": r.name, "worst": r.worst, "allowed": r.allowed, "ok": r.ok} for r in rows]
    _print(value, as_json, lambda: table)
    if not all(r.ok for r in rows):
        raise typer.Exit(1)


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


def _stop(number: int, frame: FrameType | None) -> None:
    err.print("stopped; `octoscope resume` continues a run")
    raise SystemExit(128 + number)


def guarded(call: Callable[[], Any]) -> int:
    """Call, print an error in one line, and return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        code = call()
        return code if isinstance(code, int) else 0
    except OctoscopeError as error:
        kind = "bad input" if isinstance(error, InputError) else "error"
        err.print(f"[bold]{kind}:[/bold] {escape(str(error))}", soft_wrap=True)
        return error.exit_code


def main() -> None:
    """Entry point of the console script."""
    sys.exit(guarded(app))

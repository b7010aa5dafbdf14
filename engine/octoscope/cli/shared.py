"""Shared by all commands: consoles, arguments, printing, and exit codes of errors."""

from __future__ import annotations

import io
import json
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from octoscope.errors import (
    InputError,
    OctoscopeError,
    OctoscopeWarning,
    in_one_line,
    of_the_system,
)
from octoscope.extras import MissingPackageError
from octoscope.yaml_values import parse_yaml

if TYPE_CHECKING:  # not imported for `octoscope --help`
    from octoscope.api.plan import PlannedRun
    from octoscope.api.run import Run


class Stage(StrEnum):
    """Stages of a run to execute; each can be its own job."""

    ALL = "all"
    ATTENTION = "attention"
    ANALYSIS = "analysis"


out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value")]
Options = Annotated[list[str] | None, typer.Option("--option", help="Family setting: key=value")]
Unchecked = Annotated[
    bool, typer.Option("--unchecked", help="Do not compare what is read with the run's digests")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there")]
TableOut = Annotated[
    Path | None, typer.Option("--out", help="File to write: .parquet, .tsv or .csv")
]
LAST_SEED = 2**63 - 1
MOST = 10**9  # of anything that a command counts
StoreData = Annotated[str | None, typer.Option("--data", help="Name of the data of a store")]
DType = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16")]


def read_here(text: str) -> Any:
    """Return an argument that names a file; its reader says in one line if it may not be read."""
    return typer.Argument(help=text, readable=False)


@contextmanager
def as_options(*names: str, **others: str) -> Iterator[None]:
    """Name an argument of the Python API that is at fault as the option of a command.

    Parameters
    ----------
    *names
        Arguments whose option has the same name: ``gene_set``, ``--gene-set``.
    **others
        Argument -> option.
    """
    options = {name: "--" + name.replace("_", "-") for name in names} | others
    try:
        yield
    except InputError as error:
        if error.where not in options:
            raise
        raise InputError(options[error.where], error.problem, error.fix) from None


def show(value: Any, as_json: bool, table: Callable[[], Table]) -> None:
    """Print one JSON value, or a table."""
    if as_json:
        typer.echo(json.dumps(value, ensure_ascii=False))
    else:
        out.print(table())


def rows_table(title: str, rows: dict[str, Any]) -> Table:
    """Return a table of names and values."""
    table = Table("", "", title=escape(title), show_header=False)
    for key, value in rows.items():
        table.add_row(escape(key), escape(str(value)))
    return table


def rows_json(table: Any) -> str:
    """Return the rows of a DataFrame as one JSON value; NaN is null."""
    return json.dumps(json.loads(table.to_json(orient="records")), ensure_ascii=False)


def options_of(given: list[str] | None) -> dict[str, Any]:
    """Read ``--option key=value``; values are YAML.

    Raises
    ------
    InputError
        If one has no ``=``.
    """
    pairs = {}
    for text in given or []:
        key, sep, value = text.partition("=")
        if not sep:
            raise InputError(f"--option {text}", "no '=' in it", "write --option key=value")
        try:
            pairs[key] = parse_yaml(value)
        except ValueError as error:
            problem = f"not YAML ({str(error).splitlines()[0]})"
            raise InputError(f"--option {text}", problem, "quote the value") from None
    return pairs


def _stop(number: int, frame: FrameType | None) -> None:
    err.print("stopped; `octoscope resume` continues a run")
    raise SystemExit(128 + number)


def _show_warning(
    shown: set[str],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, OctoscopeWarning):
        text = str(message)
        if text not in shown:  # a command may load a checkpoint more than once
            err.print(f"[bold]warning:[/bold] {escape(text)}", soft_wrap=True)
        shown.add(text)
    else:
        print(warnings.formatwarning(message, category, filename, lineno), file=sys.stderr, end="")


def _require_assertions() -> None:
    """Refuse an interpreter that leaves assertions out: zarr reads metadata inside some."""
    if sys.flags.optimize:
        raise InputError(
            "PYTHONOPTIMIZE (or python -O)",
            "zarr cannot read any store without assertions",
            "unset it",
        )


def guarded(call: Callable[[], Any]) -> int:
    """Call, print an error in one line, and return the exit code."""
    warnings.showwarning = partial(_show_warning, set())
    for stream in (sys.stdout, sys.stderr):  # names of files may be of any bytes, terminals old
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        _require_assertions()
        code = call()
        return code if isinstance(code, int) else 0
    except OctoscopeError as error:
        kind = "bad input" if isinstance(error, InputError) else "error"
        kind = "stopped" if error.exit_code > 128 else kind
        text = " ".join(str(error).split("\n"))  # those of libraries may have several lines
        # reads that Zarr had begun beside the one that failed: no further error
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        err.print(f"[bold]{kind}:[/bold] {escape(text)}", soft_wrap=True)
        return error.exit_code
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "octoscope"):
            raise
        err.print(
            f"[bold]error:[/bold] {escape(str(MissingPackageError(missing)))}", soft_wrap=True
        )
        return 1
    except ImportError as error:  # a library that cannot be mapped into memory, too
        problem = f"a library cannot be loaded ({in_one_line(error)}). Fix: check limits of memory"
        err.print(f"[bold]error:[/bold] {escape(problem)}, and the installation", soft_wrap=True)
        return 1
    except MemoryError:
        pass  # behind this, what its frames hold is free
    except OSError as error:
        err.print(f"[bold]error:[/bold] {escape(of_the_system(error))}", soft_wrap=True)
        return 1
    sys.stderr.write("error: out of memory. Fix: free memory, or raise its limit (ulimit -v)\n")
    return 1


def opened(run: str, unchecked: bool = False) -> Run:
    """Open a finished run; with ``unchecked`` a warning says that nothing is compared."""
    from octoscope.api.run import open_run

    return open_run(run, check=not unchecked)


def say_results(run: str, most: int = 3) -> None:
    """Print what a finished run found, in a few sentences, and where its report is."""
    from octoscope.api.run_directory import RunDirectory

    directory = RunDirectory(run)
    if directory.exit_code is None:
        return
    for text in opened(run).findings()[:most]:
        out.print(f"- {escape(text)}", soft_wrap=True)
    out.print(f"report: {escape(directory.path)}/report/index.html", soft_wrap=True)


def execute(planned: PlannedRun, stage: Stage, address: str | None, steal: bool) -> NoReturn:
    """Run a frozen plan, say what it found, and exit with its code."""
    code = planned.execute(stage=stage.value, address=address, steal=steal)
    if planned.config.execution.log == "text":
        say_results(str(planned.path))
    raise typer.Exit(code)

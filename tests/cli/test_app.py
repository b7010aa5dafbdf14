"""The command line itself: what it imports, and what it says at the end of a run."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.models import OptionInfo

HEAVY = {"numpy", "pandas", "pyarrow", "torch", "zarr", "ray", "dask", "scipy", "anndata"}


def test_help_imports_nothing_that_computes() -> None:
    code = "import sys, octoscope.cli.app; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


def test_a_run_ends_with_what_it_found(
    finished_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from octoscope.cli import shared
    from rich.console import Console

    monkeypatch.setattr(shared, "out", Console())
    shared.say_results(str(finished_run))
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == f"report: {finished_run}/report/index.html"
    assert 1 <= len(lines) <= 3
    assert all(line.startswith("- ") and line.endswith(".") for line in lines)
    assert any("between the two halves of the cells" in line for line in lines)


def commands(app: typer.Typer) -> Iterator[Callable[..., Any]]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield command.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance)


def test_every_number_has_bounds() -> None:
    """Red: `octopus rate --seed -1` ended with a traceback, 10^15 permutations did not end."""
    from octoscope.cli.app import app

    unbounded = []
    for command in commands(app):
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
            kind, options = parameter.annotation, getattr(parameter.annotation, "__metadata__", ())
            if options:
                kind = kind.__origin__
            if {int, float} & {kind, *get_args(kind), *chain(*map(get_args, get_args(kind)))}:
                bounds = [(o.min, o.max) for o in options if isinstance(o, OptionInfo)]
                if not bounds or None in bounds[0]:
                    unbounded.append(f"{command.__name__} {name}")
    assert unbounded == []


LEFT_BEHIND = """
import asyncio
from octoscope.cli.shared import guarded
from octoscope.errors import InputError

def fail():
    loop = asyncio.new_event_loop()
    event = asyncio.Event()
    loop.create_task(event.wait())
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    raise InputError("a.zarr/c/0", "is no regular file", "put one there")

raise SystemExit(guarded(fail))
"""


def test_reads_that_were_begun_beside_the_one_that_failed_say_nothing() -> None:
    """Zarr reads several chunks at once; asyncio reports what waits when a process ends."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == "bad input: a.zarr/c/0: is no regular file. Fix: put one there\n"


def test_a_warning_is_printed_once_per_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red: a command that loads a checkpoint twice prints its warnings twice."""
    from octoscope.cli.shared import guarded
    from octoscope.errors import warn

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # put back afterwards

    def loads_twice() -> None:
        for text in ("c: hidden_act: gelu", "c: hidden_act: gelu", "d: other"):
            with warnings.catch_warnings():  # as libraries do: Python then forgets what was shown
                warnings.simplefilter("ignore", DeprecationWarning)
            warn(text)

    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            assert guarded(loads_twice) == 0
        printed = capsys.readouterr().err
        assert printed.splitlines() == ["warning: c: hidden_act: gelu", "warning: d: other"]

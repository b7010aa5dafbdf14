"""A command in a child of this process: what it prints, its exit code, its time and its memory.

Imports take seconds and a command on small files takes tenths, so the modules are imported once and
each command runs in a fork. The command line is the real one, from its arguments to its exit code.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import typer
from typer.main import get_command

CPU, WALL = 10, 90  # seconds: of computing, and of the clock on a machine that others use too
_PATIENCE = 20  # times the clock's limit, for a child that does not come to compute
ROOM = 3 << 30  # bytes that a child may ask for beyond what it starts with


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    ``code`` is negative for a signal. ``computed``: seconds of CPU, also of its own children.
    ``memory``: the bytes that it held at most beyond what it
    began with.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float
    computed: float
    memory: int
    hung: bool


# What commands import only when they run: found by comparing `sys.modules` of a child with ours.
_LATE = (
    "anndata", "matplotlib.figure", "networkx", "numba", "pyarrow.dataset", "pyarrow.pandas_compat",
    "rich._emoji_codes", "rich._unicode_data.unicode17-0-0", "torch.utils.serialization",
    "transformers.models.bert.modeling_bert", "typer._adapters", "typer._click.decorators", "zarrs",
    "zarrs.pipeline",
)  # fmt: skip


@cache
def _click(app: typer.Typer) -> Any:
    """Return typer's command, which it makes anew in each process: 0.1 s."""
    return get_command(app)


@cache
def import_all() -> None:
    """Import what the commands import, and make what each of them would make alike; once."""
    import importlib
    import pkgutil

    import octoscope

    os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray is imported here: as connect.py does
    for module in pkgutil.walk_packages(octoscope.__path__, "octoscope."):
        importlib.import_module(module.name)
    for name in _LATE:
        with contextlib.suppress(ImportError):  # zarrs is optional, names of others may change
            importlib.import_module(name)
    from octoscope.cli.app import app
    from octoscope.genes import ensembl_of_symbols

    _click(app)
    _prepare_pages()
    ensembl_of_symbols(np.array([""]))  # reads the packaged table once
    gc.collect()
    gc.freeze()  # so that children do not copy what they only count
    atexit.register(gc.unfreeze)


def _prepare_pages() -> None:
    """Compile the report's templates, which each process makes anew (0.3 s), and load fonts."""
    import jinja2
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from octoscope.report.figures import STYLE
    from octoscope.report.page_parts import templates
    from octoscope.report.svg import svg_text

    as_usual, codes = jinja2.Environment.compile, {}

    def compiled(pages: Any, source: Any, *names: Any, **options: Any) -> Any:
        key = (pages.trim_blocks, source, *names, *options.items())
        if key not in codes:
            codes[key] = as_usual(pages, source, *names, **options)
        return codes[key]

    mock.patch.object(jinja2.Environment, "compile", compiled).start()
    pages = templates()
    for name in pages.list_templates(["j2"]):
        if name != "network.html.j2":  # of an environment of its own
            pages.get_template(name)
    with mpl.rc_context(STYLE):
        figure = Figure(layout="constrained")
        figure.subplots().set(title="a", xlabel="b")
        svg_text(figure, "c")


def _pages(field: int) -> int:
    """Return the bytes of a field of ``/proc/self/statm``: 1 is what is resident, 5 is data."""
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[field]) * resource.getpagesize()


def forked(call: Callable[[], Any], *, cpu: int = CPU, wall: float = WALL) -> Ended:
    """Call in a child of this process; what the call raises is printed as Python does."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        get, put = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 70
            faulthandler.disable()  # pytest's would print into the report of the tests
            try:
                os.write(put, b"%d\n" % _pages(1))  # less than here: pages of files come later
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w") for n in (1, 2))
                resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
                room = _pages(5) + ROOM
                resource.setrlimit(resource.RLIMIT_DATA, (room, room))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))
                signal.signal(signal.SIGXCPU, signal.SIG_DFL)
                code = _ended(call)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        os.close(put)
        with os.fdopen(get, "rb") as pipe:
            before = int(pipe.readline())
        hung = _wait(pid, wall)
        _, status, used = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        hung = hung or code in (-signal.SIGXCPU, -signal.SIGKILL)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read(1 << 20).decode(errors="replace"))
        memory = max(0, (used.ru_maxrss << 10) - before)
        computed = used.ru_utime + used.ru_stime
        return Ended(code, *texts, time.monotonic() - started, computed, memory, hung)


def _ended(call: Callable[[], Any]) -> int:
    try:
        call()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  as the interpreter does at its top
        traceback.print_exc()
        return 1
    return 0


def _wait(pid: int, wall: float) -> bool:
    """Wait for a child; kill it if it only waits after ``wall`` seconds, and say so.

    On a machine that others use a child may want to compute and not come to it for minutes. That is
    no fault; one that computes for long is ended by its own limit.
    """
    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        for _ in range(_PATIENCE):
            if poll.poll(wall * 1000):
                return False
            if not _wants_to_compute(pid):
                break
        os.kill(pid, signal.SIGKILL)
        return True
    finally:
        os.close(handle)


def _wants_to_compute(pid: int) -> bool:
    """Tell whether a thread of a process, or of what it started, is not waiting for something."""
    for _ in range(20):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for p in (process, *process.children(recursive=True)):
                for state in Path(f"/proc/{p.pid}/task").glob("*/stat"):
                    with contextlib.suppress(OSError):
                        if state.read_text().rpartition(")")[2].split()[0] in "RD":
                            return True
        time.sleep(0.05)
    return False


def command(*arguments: str) -> Callable[[], None]:
    """Return a call of the command line, at its entry."""

    def call() -> None:
        # consoles are made when the module is imported, for the streams of that time
        from octoscope.cli import main, shared

        for console, stream in ((shared.out, sys.stdout), (shared.err, sys.stderr)):
            console.file = stream
        with (
            mock.patch.object(sys, "argv", ["octoscope", *arguments]),
            mock.patch.object(typer.main, "get_command", _click),
        ):
            main()

    return call

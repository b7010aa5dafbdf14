"""One script of cases, run with every command of its in this process; what came of each case.

The scripts call ``octoscope`` through one function of their helper module: ``oc.oc`` (atlases),
``lib.run`` (networks), ``harness.octo`` (checkpoints). That function is replaced here, so that the
imports of a command are paid once and every exit code and message is seen whole.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

_HEADING = re.compile(r"^(?:== ?|### )(.+)$")
_COMMANDS = ("info", "convert", "check", "build", "lookup", "inspect", "dump", "diff")


@dataclass
class Call:
    """A command of a case: its arguments, exit code and what it printed."""

    arguments: list[str]
    code: int
    out: str
    err: str
    # name of a value -> whether it equals that of an independent reader
    values: dict[str, bool] = field(default_factory=dict)
    # how far it is from the unchanged checkpoint, where it should be
    note: str = ""

    @property
    def command(self) -> str:
        """Return the subcommand, as ``info`` of ``atlas info``."""
        return next((word for word in self.arguments if word in _COMMANDS), self.arguments[0])


@dataclass
class Case:
    """A case: its script, its name, its commands and what the script printed about them."""

    script: str
    name: str
    calls: list[Call] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class Listener(io.StringIO):
    """Standard output of a script, cut into cases at its headings."""

    def __init__(self, script: str) -> None:
        super().__init__()
        self.script = script
        self.cases = [Case(script, "start")]
        self.compare: Callable[[Call, Case], None] = lambda call, case: None
        self._part = ""

    def begin(self, name: str) -> None:
        """Begin a case, or name the one that has not begun."""
        last = self.cases[-1]
        if last.calls or last.name == "start":
            self.cases.append(Case(self.script, name))
        elif last.name != name:
            self.cases[-1].name += f" {name}"

    def write(self, text: str) -> int:
        """Take what is printed, line by line."""
        *lines, self._part = (self._part + text).split("\n")
        for line in lines:
            if heading := _HEADING.match(line):
                self.cases.append(Case(self.script, heading[1]))
            elif line.strip():
                self.cases[-1].lines.append(line.rstrip())
        return len(text)

    def call(self, arguments: tuple[Any, ...]) -> Call:
        """Run a command and compare what it read; what it raises is its exit code 99."""
        from tests.here import here

        words, case = [str(word) for word in arguments], self.cases[-1]
        try:
            done = here(*words)
            call = Call(words, done.returncode, done.stdout, done.stderr)
        except BaseException:  # noqa: BLE001  a crash is a result
            call = Call(words, 99, "", traceback.format_exc())
        if call.code == 0:
            try:
                self.compare(call, case)
            except Exception:  # noqa: BLE001  a value that cannot be compared is a fault
                call.values["what an independent reader says"] = False
                call.note = traceback.format_exc()
        case.calls.append(call)
        return call


def _atlas(heard: Listener, helper: ModuleType) -> None:
    from tests.field import atlas_values

    folder = helper.W

    def compare(call: Call, case: Case) -> None:
        if call.command in ("info", "convert") and "--help" not in call.arguments:
            call.values = atlas_values.compared(call.arguments, call.out)

    heard.compare = compare

    def oc(*arguments: str, timeout: float = 0) -> tuple[int, str, str, float]:
        with contextlib.chdir(folder):
            call = heard.call(arguments)
        return call.code, call.out, call.err, 0.0

    helper.oc = oc  # type: ignore[attr-defined]


def _models(heard: Listener, helper: ModuleType) -> None:
    from tests.field import model_values

    def compare(call: Call, case: Case) -> None:
        name = case.name.split(":")[0]
        if call.command == "dump" and name in model_values.DIFFERENT:
            reference = helper.FAM["scgpt" if name[0] == "s" else "geneformer"][1]
            call.values, difference = model_values.compared(call.arguments, reference)
            call.note = f"output up to {difference:.2g} from the unchanged checkpoint's"

    heard.compare = compare

    def octo(*arguments: Any) -> tuple[int, str, str]:
        call = heard.call(arguments)
        return call.code, call.out, call.err

    helper.octo = octo  # type: ignore[attr-defined]


class _Done:
    """What the network scripts read of a command."""

    def __init__(self, call: Call) -> None:
        self.returncode, self.stdout, self.stderr = call.code, call.out, call.err


def _network(heard: Listener, helper: ModuleType) -> None:
    from tests.field import network_values
    from tests.here import here

    def compare(call: Call, case: Case) -> None:
        if call.command == "build":
            call.values = network_values.compared(call.arguments, here)

    heard.compare = compare
    ask: Callable[..., Any] = helper.ask
    build: Callable[..., Any] = helper.build

    def known(*arguments: Any, **options: Any) -> Any:
        """Answer as when the scripts were written: what is unknown of a pair was False, 0, ''."""
        frame = ask(*arguments, **options)
        if frame is None:
            raise LookupError("no network to ask: it was not built")
        for name, column in frame.items():
            kind = str(column.dtype).casefold()
            if kind.startswith(("bool", "int", "uint")):
                empty, own = (False, bool) if kind == "boolean" else (0, int)
                frame[name] = column.fillna(empty).astype(own)
        return frame

    def built(folder: Path, *arguments: Any, tag: str = "", **options: Any) -> Any:
        heard.begin(folder.name + tag)
        return build(folder, *arguments, tag=tag, **options)

    def run(*arguments: Any, n: int = 0) -> _Done:
        return _Done(heard.call(("octopus", *arguments)))

    helper.ask, helper.build, helper.run = known, built, run  # type: ignore[attr-defined]


_HELPERS: dict[str, tuple[str, Callable[[Listener, ModuleType], None]]] = {
    "atlas": ("oc", _atlas),
    "network": ("lib", _network),
    "models": ("harness", _models),
}


def replay(script: Path) -> list[Case]:
    """Run a script; return its cases, with a last one of the name ``stopped`` if it raised."""
    name, adapt = _HELPERS[script.parent.name]
    sys.path.insert(0, str(script.parent))
    sys.argv = [str(script)]
    os.environ.update(COLUMNS="250", NO_COLOR="1", TERM="dumb", OMP_NUM_THREADS="1")
    heard = Listener(f"{script.parent.name}/{script.name}")
    with contextlib.redirect_stdout(heard):
        helper = __import__(name)
        adapt(heard, helper)
        if script.parent.name == "atlas":
            helper.base().write_h5ad(helper.fresh(helper.W + "/base.h5ad"))
        try:
            runpy.run_path(str(script), run_name="__main__")
        except Exception:  # noqa: BLE001  a script that stops is a result
            heard.cases.append(Case(heard.script, "stopped", lines=[traceback.format_exc()]))
    return [case for case in heard.cases if case.calls or case.name == "stopped"]


if __name__ == "__main__":
    cases = replay(Path(sys.argv[1]))
    Path(os.environ["FIELD_RECORD"]).write_text(json.dumps([asdict(case) for case in cases]))

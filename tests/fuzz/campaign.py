"""Changing files and running commands on them, and what counts as a fault."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from tests.fuzz.forked import Ended, command, forked
from tests.fuzz.kinds import KINDS, OUT, Kind, drawn
from tests.fuzz.mutations import mutate

CODES = (0, 1, 2, 3, 130)
MEMORY = 1 << 30  # bytes beyond the modules that all commands import
_BESIDE = re.compile(r"warning: |[\d,]+ of [\d,]+ cells ")  # warnings and progress


@dataclass(frozen=True)
class Case:
    """One change and the command that met it."""

    id: str
    kind: str
    file: str
    change: str
    command: str
    code: int
    fault: str
    stderr: str
    seconds: float
    memory: int


def judge(ended: Ended, *, lists: bool) -> str:
    """Return in which way a command broke its promises; '': in none."""
    if ended.hung:
        return "hangs"
    if ended.code not in CODES:
        return f"exit code {ended.code}"
    if "Traceback (most recent call last)" in ended.stderr:
        return "traceback"
    if ended.memory > MEMORY:
        return "memory"
    lines = (line for line in ended.stderr.splitlines() if line.strip())
    answer = [line for line in lines if not _BESIDE.match(line)]
    if lists:
        return ""
    if ended.code == 0 and answer:
        return "noise on stderr"
    if ended.code not in (0, 130) and len(answer) != 1:
        return f"{len(answer)} lines on stderr"
    return ""


class Fixtures:
    """Sound files of each kind, made when they are first needed, in a child of this process.

    ``proven``: every command must succeed on them, or it would be tried on what it refuses anyway.
    """

    def __init__(self, top: Path, run: Path | None = None, *, proven: bool = True) -> None:
        self._top, self._run = top, run
        self._unproven = set(KINDS) if proven else set()

    def folder(self, name: str) -> Path:
        """Return the folder of a kind."""
        folder = self._fixture(name)
        if name in self._unproven:
            for text in KINDS[name].commands:
                ended = _on(folder, text)
                if ended.code != 0:
                    raise RuntimeError(f"{text} fails on sound files: {ended.stderr}")
            self._unproven.remove(name)
        return folder

    def _fixture(self, name: str) -> Path:
        kind = KINDS[name]
        shared = next(n for n, k in KINDS.items() if k.make is kind.make)
        folder = self._top / shared / "files"
        if folder.exists():
            return folder
        making = self._top / shared / "making"
        shutil.rmtree(making, ignore_errors=True)  # of a campaign that was stopped
        making.mkdir(parents=True)
        (self._top / shared / OUT).mkdir(exist_ok=True)
        if shared == "run" and self._run is not None:
            shutil.copytree(self._run, making / "run")
        else:
            worker = forked(lambda: kind.make(making), cpu=300, wall=600)
            if worker.code != 0:
                raise RuntimeError(f"{name} cannot be made: {worker.stderr}")
        # configurations name files by their absolute paths
        for file in (*making.glob("*.yaml"), *making.glob("run/config.yaml")):
            file.write_text(file.read_text().replace(str(making), str(folder)))
        if shared == "run":
            _reseal_config(making)
        making.rename(folder)
        return folder


def _reseal_config(folder: Path) -> None:
    from tests.fuzz.kinds import reseal_run

    reseal_run(folder, folder / "run/config.yaml")


def cases(seed: int, kinds: list[str], fixtures: Fixtures, ids: Iterator[int]) -> Iterator[Case]:
    """Yield what became of each numbered case."""
    for number in ids:
        rng = Random(f"{seed}/{number}")
        name = drawn(rng, kinds, number)
        yield _case(f"{seed}/{number}", name, KINDS[name], fixtures.folder(name), rng)


def _case(called: str, name: str, kind: Kind, folder: Path, rng: Random) -> Case:
    file = rng.choice(kind.files(folder))
    text = rng.choice(kind.commands)
    relative = file.relative_to(folder).as_posix()
    before = {p: p.read_bytes() for p in _kept(kind, folder, file)}
    try:
        what = mutate(file, rng)
        if kind.after is not None and rng.random() < 0.5:
            try:
                kind.after(folder, file)
                what += ", resealed"
            except (ValueError, KeyError, TypeError, AttributeError):
                what += ", not resealed"
        ended = _on(folder, text)
    finally:
        for path, raw in before.items():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            path.write_bytes(raw)
    fault = judge(ended, lists=any(part in text for part in kind.lists))
    shown = ended.stderr[-3000:] if fault else ended.stderr[-300:]
    return Case(called, name, relative, what, text, ended.code, fault, shown,
                round(ended.computed, 2), ended.memory)  # fmt: skip


def _on(folder: Path, text: str) -> Ended:
    """Run a command on the files of a kind; what it wrote is removed."""
    out = folder.parent / OUT
    try:
        arguments = text.replace("{out}", str(out)).replace("{}", str(folder))
        return forked(command(*shlex.split(arguments)))
    finally:
        shutil.rmtree(out)
        out.mkdir()


def _kept(kind: Kind, folder: Path, file: Path) -> list[Path]:
    """Return what a change may touch: the file, and what seals it."""
    seals = ("run/manifest.json", "run/_SUCCESS", "net/octopus.json")
    return [file, *(folder / s for s in seals if kind.after and (folder / s).is_file())]


def campaign(
    numbers: list[int], *, seed: int, kinds: list[str], run: Path | None = None, jobs: int = 1,
    seconds: float = float("inf"), cache: Path | None = None, proven: bool = True,
    say: Callable[[Case], None],
) -> None:  # fmt: skip
    """Run the cases of these numbers in ``jobs`` processes, for at most so many seconds."""
    ends = time.monotonic() + seconds

    def part(worker: int, top: Path, report: Callable[[Case], None]) -> None:
        def ids() -> Iterator[int]:
            for number in numbers[worker::jobs]:
                if time.monotonic() > ends:
                    return
                yield number

        for case in cases(seed, kinds, Fixtures(top, run, proven=proven), ids()):
            report(case)

    with ExitStack() as stack:
        top = cache or stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-"))
        if jobs == 1:
            part(0, Path(top), say)
            return
        children = []
        for worker in range(jobs):
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    os.close(read)
                    with os.fdopen(write, "w") as pipe:

                        def send(case: Case, pipe: object = pipe) -> None:
                            print(json.dumps(asdict(case)), file=pipe, flush=True)  # type: ignore

                        part(worker, Path(top) / str(worker), send)
                    code = 0
                except BaseException:  # noqa: BLE001  this process ends here
                    traceback.print_exc()
                finally:
                    os._exit(code)
            os.close(write)
            children.append((pid, os.fdopen(read)))
        _collect(children, say)


def _collect(children: list[tuple[int, object]], take: Callable[[Case], None]) -> None:
    import selectors

    with selectors.DefaultSelector() as selector:
        for pid, pipe in children:
            selector.register(pipe, selectors.EVENT_READ, pid)  # type: ignore[arg-type]
        while selector.get_map():
            for key, _ in selector.select():
                line = key.fileobj.readline()  # type: ignore[union-attr]
                if line:
                    take(Case(**json.loads(line)))
                else:
                    selector.unregister(key.fileobj)
                    _, status = os.waitpid(key.data, 0)
                    if status:
                        raise RuntimeError("a process of the campaign failed")

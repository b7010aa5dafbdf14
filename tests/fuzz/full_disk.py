"""``python -m tests.fuzz.full_disk --n 10``: a run on a file system that fills up again and again.

A file system in memory (tmpfs, in a mount namespace of a child of this process) has little room. A
run is started there and resumed, each time with a little more room, until it is done. Each time it
must end with one line that names what is full; what was committed stays byte by byte; and the
finished run has the tables of a run that always had room.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import tables_of
from tests.fuzz.forked import forked, import_all
from tests.fuzz.histories import make_config, octoscope

NO_MOUNTS = 77  # exit code of a child that may not mount
_NEW_USERS, _NEW_MOUNTS = 0x10000000, 0x00020000  # of unshare(2)
_REMOUNT, _PRIVATE = 32, 0x44000  # of mount(2); the second with all that is mounted below
_LIBC = ctypes.CDLL(None, use_errno=True)


def mount_tmpfs(folder: Path, room: int) -> None:
    """Mount an empty file system of ``room`` bytes that this process and its children see.

    Ends this process with ``NO_MOUNTS`` where the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    flags = _NEW_MOUNTS if user == 0 else _NEW_MOUNTS | _NEW_USERS
    if _LIBC.unshare(flags) != 0:
        sys.exit(NO_MOUNTS)
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    if _LIBC.mount(b"none", b"/", None, _PRIVATE, None) != 0:
        sys.exit(NO_MOUNTS)
    if _LIBC.mount(b"none", os.fsencode(folder), b"tmpfs", 0, f"size={room}".encode()) != 0:
        sys.exit(NO_MOUNTS)


def give_room(folder: Path, room: int) -> None:
    """Change the size of the file system."""
    how = f"size={room}".encode()
    if _LIBC.mount(b"none", os.fsencode(folder), b"tmpfs", _REMOUNT, how) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))


def used(folder: Path) -> int:
    """Return how many bytes of the file system are in use."""
    usage = os.statvfs(folder)
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize


def fill(config: Path, folder: Path, n: int) -> None:
    """Run at ``place`` with as much room as it needs only in the end, in about ``n`` steps."""
    mount_tmpfs(folder, 1 << 30)
    completed = octoscope("run", str(config), "--out", str(folder / "roomy"))
    assert completed.code == 0, completed.stderr
    reference = tables_of(folder / "roomy")
    step = max(1, used(folder) // (n + 1) // 4096) * 4096
    completed = octoscope("plan", str(config), "--out", str(folder / "run"), "--no-calibrate")
    assert completed.code == 0, completed.stderr
    run, records = folder / "run", {}  # type: ignore[var-annotated]
    full, room = 0, used(folder)
    while True:
        room += step
        give_room(folder, room)
        ended = octoscope("resume", str(run))
        bodies = {p: p.read_bytes() for p in run.rglob("record.json")}
        if ended.code == 0:
            break
        full += 1
        print(f"full after {len(bodies)} records: {ended.stderr.strip()[-150:]}", flush=True)
        assert ended.code == 1, ended.stderr
        # a worker notes the failure for its node's log, which is this stream here
        lines = [line for line in ended.stderr.splitlines() if line != "failed"]
        assert len(lines) == 1, ended.stderr
        assert "No space left on device" in lines[0]
        assert all(bodies.get(path) == raw for path, raw in records.items())
        assert not (run / "_SUCCESS").exists()
        records = bodies
    assert tables_of(run) == reference
    assert octoscope("verify", str(run)).code == 0
    print(f"full {full} times")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.full_disk")
    parser.add_argument("--n", type=int, default=10, help="times that it is full, about")
    given = parser.parse_args(words)
    started = time.monotonic()
    import_all()
    with tempfile.TemporaryDirectory(prefix="full-") as folder:
        top = Path(folder)
        (top / "disk").mkdir()
        worker = forked(lambda: make_config(top), cpu=60, wall=300)
        assert worker.code == 0, worker.stderr
        ended = forked(lambda: fill(top / "config.yaml", top / "disk", given.n), cpu=600, wall=1800)
    print(ended.stdout, end="")
    if ended.code == NO_MOUNTS:
        print("not run: this system does not let a process mount a file system")
    elif ended.code != 0:
        print(ended.stderr)
    else:
        print(f"nothing lost; {time.monotonic() - started:.0f} s")
    return ended.code


if __name__ == "__main__":
    sys.exit(main())

"""What the fault tests share: real runs in processes of their own, killed at exact moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

COMMAND = [sys.executable, "-c", "from octoscope.cli import main; main()"]
KEEP = ("--set", "keep_dense=fp32")


def start(*arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start the command line in a process group of its own."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        start_new_session=True,
    )


def crash(config: Path, run: str | Path, where: str, *more: str) -> int:
    """Run until the crash point kills the driver, which must die of SIGKILL; returns its pid."""
    died = start(
        "run", str(config), "--out", str(run), *KEEP, *more, env={"OCTOSCOPE_CRASH_AT": where}
    )
    out, err = died.communicate(timeout=200)
    assert died.returncode == -signal.SIGKILL, out + err
    return died.pid


@contextmanager
def ray_nodes(cpus: int) -> Iterator[Any]:
    """A cluster of one node that runs join by its ``address``, so that each starts no Ray."""
    os.environ["RAY_AUTH_MODE"] = "token"  # read when Ray is imported, here and in the drivers
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def until(reached: Callable[[], object], seconds: float = 150) -> None:
    """Wait until something is so."""
    deadline = time.time() + seconds
    while not reached():
        assert time.time() < deadline, "it did not happen in time"
        time.sleep(0.05)


def workers(driver: int) -> list[psutil.Process]:
    """Return the processes of a driver's actors, also after its death."""
    pids = []
    for p in psutil.process_iter(["name"]):
        if (p.info["name"] or "").startswith("ray::Worker"):
            with suppress(psutil.Error):
                if p.environ().get("OCTOSCOPE_DRIVER_PID") == str(driver):
                    pids.append(p)
    return pids

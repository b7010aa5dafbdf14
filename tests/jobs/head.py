"""A Ray head of its own for the tests: token authentication, dashboard on localhost, own ports."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_ports

RAY = str(Path(sys.executable).parent / "ray")


@dataclass(frozen=True)
class Head:
    """A running head."""

    dashboard: str
    address: str
    metrics: str
    logs: Path
    env: dict[str, str]

    def ray(self, *arguments: str, timeout: float = 300, **env: str) -> subprocess.CompletedProcess:
        """Run Ray's own command line, with the token."""
        return subprocess.run(
            [RAY, *arguments], capture_output=True, text=True, timeout=timeout, check=False,
            env={**self.env, **env},
        )  # fmt: skip


@contextmanager
def ray_head(cpus: int, gpus: int = 0) -> Iterator[Head]:
    """Start a head; it and all it started are gone at the end."""
    port, dashboard, client, metrics = free_ports(4)
    folder = Path(tempfile.mkdtemp(prefix="oct", dir="/tmp"))  # short: sockets are named under it
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    # the actors of a tiny run would be gone before they report, every 10 s by default
    env["RAY_metrics_report_interval_ms"] = "500"
    head = subprocess.Popen(
        [
            RAY, "start", "--head", "--block", f"--port={port}", f"--num-cpus={cpus}",
            f"--num-gpus={gpus}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
            f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}",
            f"--temp-dir={folder}", "--object-store-memory=200000000", "--disable-usage-stats",
            # Ray's own is one fixed port: without it the agent of a second Ray takes no jobs
            "--dashboard-agent-listen-port=0",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
        start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{dashboard}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/api/version", timeout=2)
            except urllib.error.HTTPError:
                break  # no token: it answers, and refuses
            except OSError:
                assert head.poll() is None, head.stdout and head.stdout.read()
                assert time.monotonic() < deadline, "the head did not start"
                time.sleep(0.3)
            else:
                break
        logs = folder / "session_latest" / "logs"
        yield Head(address, f"127.0.0.1:{port}", f"http://127.0.0.1:{metrics}", logs, env)
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        try:
            head.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)

"""What a driver has started ends soon after it, however it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from octoscope.cluster import connect
from octoscope.errors import OctoscopeError, OctoscopeWarning

from tests.ports import free_ports

# Starts processes as a driver starts Ray's: in sessions of their own, deaf to requests to end. One
# has lost its environment, the other its parent. A server of its own stands before them.
DRIVER = """
import subprocess, sys, time
from octoscope.cluster.connect import _ended_with_this_process
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(99)"
between = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True).pid, flush=True)"
parent = "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]]).pid, flush=True); time.sleep(99)"
own = subprocess.Popen([sys.executable, "-c", parent, stubborn], start_new_session=True, stdout=subprocess.PIPE, text=True)
served = own.stdout.readline().strip()
with _ended_with_this_process():
    given = {"stdout": subprocess.PIPE, "start_new_session": True, "text": True}
    child = subprocess.Popen([sys.executable, "-c", stubborn], env={}, **given)
    child.stdout.readline()
    orphan = subprocess.Popen([sys.executable, "-c", between, stubborn], **given).stdout.readline().strip()
    time.sleep(1)  # so that they are seen
    print(child.pid, orphan, own.pid, served, flush=True)
    if sys.argv[1] != "returns":
        time.sleep(99)
"""  # noqa: E501


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("how", ["waits", "waits, watch signalled", "returns"])
def test_what_a_driver_started_ends_with_it(how: str) -> None:
    """Signals that end a driver may reach the process that watches it too: it stays."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, how], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    processes = [psutil.Process(int(pid)) for pid in driver.stdout.readline().split()]
    ended, own = processes[:2], processes[2:]
    assert len(own) == 2
    if how.endswith("signalled"):
        children = [p for p in psutil.Process(driver.pid).children() if is_alive(p)]
        (watch,) = [p for p in children if any("orphan_watch" in c for c in p.cmdline())]
        for number in (signal.SIGINT, signal.SIGTERM):
            watch.send_signal(number)
    if how != "returns":
        os.kill(driver.pid, signal.SIGKILL)
    assert driver.wait(60) == (0 if how == "returns" else -signal.SIGKILL)
    begun = time.monotonic()
    while any(map(is_alive, ended)):
        assert time.monotonic() - begun < 10
        time.sleep(0.05)
    time.sleep(1)  # it looks again before it ends
    alive = [p for p in own if is_alive(p)]
    for process in alive:
        process.kill()
    assert alive == own, "what the driver had started before was killed too"


def test_addresses_that_lead_nowhere_are_refused_before_planning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._private import services

    # other tests may have a Ray on this machine
    monkeypatch.setattr(services, "canonicalize_bootstrap_address", lambda address: None)
    for address in ("auto", "10.0.0.1", "ray://head", "[::1"):
        with pytest.raises(OctoscopeError, match="unset RAY_ADDRESS to compute on this machine"):
            connect.require_start(address)


def test_a_cluster_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setattr(connect, "_require_answer", lambda _: None)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.warns(
        OctoscopeWarning, match=f"the run computes on the Ray at {address}. Unset it"
    ):
        connect.require_start(None)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")  # as in a submitted job
    connect.require_start(None)
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
    connect.require_start(address)  # asked for: nothing to say

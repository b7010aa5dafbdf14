"""docs/cluster/slurm.sh with stand-ins: srun runs the command here, scontrol writes it down."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from octoscope.config.execution_config import ExecutionConfig

from tests.cluster.test_cluster_yaml import SECRETS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "cluster"

SRUN = """#!/bin/bash
echo "$@" >> "$NOTES/srun"
tasks=()
while [[ "$1" == --* ]]; do
  case "$1" in
    --exclude=*) [ -n "${NO_WORKERS:-}" ] && exec sleep 600 ;;
    --ntasks=*) n="${1#*=}" ;;
  esac
  shift
done
for _ in $(seq "$n"); do "$@" & tasks+=($!); done
trap 'kill -TERM "${tasks[@]}"' TERM  # srun passes it on
wait "${tasks[0]}"; code=$?
wait
exit "$code"
"""
SCONTROL = """#!/bin/bash
echo "$@" >> "$NOTES/scontrol"
if [ "$1" = show ]; then printf 'node%s\\n' $(seq "$SLURM_JOB_NUM_NODES"); fi
"""
# In the quick tests also Ray: `ray start` listens, a module counts those that do.
RAY_START = """#!/usr/bin/env python
import os, socket, sys, time
options = dict(a.split("=", 1) for a in sys.argv if a.startswith("--") and "=" in a)
with open(f"{os.environ['NOTES']}/ray", "a") as notes:
    mode = oct(os.stat(os.environ["RAY_AUTH_TOKEN_PATH"]).st_mode)
    token = open(os.environ["RAY_AUTH_TOKEN_PATH"]).read().strip()
    print(os.environ["RAY_AUTH_MODE"], mode, len(token), *sys.argv[1:], file=notes)
os.makedirs(options["--temp-dir"], exist_ok=True)
listening = socket.socket()
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if "--port" in options:
    listening.bind(("127.0.0.1", int(options["--port"])))
    listening.listen()
time.sleep(600)
"""
RAY_MODULE = """
import os
from types import SimpleNamespace
util = SimpleNamespace(get_node_ip_address=lambda: "127.0.0.1")
is_initialized = lambda: True
nodes = lambda: [{"Alive": True} for _ in open(f"{os.environ['NOTES']}/ray")]
"""
COUNT = """
import os, pathlib, ray, stat, time
ray.init(log_to_driver=False, logging_level="ERROR")
token = pathlib.Path(os.environ["RAY_AUTH_TOKEN_PATH"])
print("there", len(ray.nodes()), ray.cluster_resources()["CPU"], os.environ["RAY_AUTH_MODE"],
      oct(stat.S_IMODE(token.stat().st_mode)), flush=True)
time.sleep(5)
raise SystemExit(3)
"""


class Slurm:
    """A job's environment; every process of it can be found by the job's number."""

    def __init__(self, top: Path, nodes: int) -> None:
        self.notes, self.shared = top / "notes", top / "shared"
        for folder in (self.notes, self.shared, top / "bin"):
            folder.mkdir()
        self.bin = top / "bin"
        self.program("srun", SRUN)
        self.program("scontrol", SCONTROL)
        self.id = 100_000 + os.getpid()
        self.temp = Path(f"/tmp/octoscope-{self.id}")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))} | {
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "NOTES": str(self.notes),
            "SLURM_JOB_ID": str(self.id),
            "SLURM_JOB_NODELIST": f"node[1-{nodes}]",
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_SUBMIT_DIR": str(self.shared),
            "OCTOSCOPE_OBJECT_STORE": "100000000",
        }

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def noted(self, name: str) -> list[str]:
        path = self.notes / name
        return path.read_text().splitlines() if path.exists() else []

    def start(self, command: str | None, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Run the script as Slurm would; no command: what it runs of itself."""
        more = env if command is None else env | {"OCTOSCOPE_COMMAND": command}
        return subprocess.Popen(
            ["bash", str(DOCS / "slurm.sh"), *(arguments or ("run.yaml", "/shared/run"))],
            env=self.env | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> list[psutil.Process]:
        """Everything that has this job's environment."""
        pids = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("NOTES") == str(self.notes):
                    pids.append(process)
        return pids

    def requeued(self) -> bool:
        return f"requeue {self.id}" in self.noted("scontrol")

    def nothing_is_left(self) -> None:
        assert [p.cmdline() for p in self.processes()] == []
        assert list(self.shared.iterdir()) == []  # the token
        assert not self.temp.exists()


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Any]:
    jobs: list[Slurm] = []

    def make(nodes: int) -> Slurm:
        jobs.append(Slurm(tmp_path, nodes))
        return jobs[-1]

    yield make
    for one in jobs:  # of a test that failed, or whose job did
        shutil.rmtree(one.temp, ignore_errors=True)
        for process in one.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()


@pytest.fixture
def quick(slurm: Any, tmp_path: Path) -> Any:
    """The same with a stand-in for Ray: what the script does, in a second."""

    def make(nodes: int) -> Slurm:
        job: Slurm = slurm(nodes)
        job.program("ray", RAY_START)
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules" / "ray.py").write_text(RAY_MODULE)
        job.env["PYTHONPATH"] = str(tmp_path / "modules")
        return job

    return make


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} not in {seen}")


def test_slurm_starts_ray_on_all_nodes_with_a_token_of_its_own(quick: Any) -> None:
    job = quick(3)
    output, _ = (process := job.start("bash -c 'exit 3'")).communicate(timeout=60)
    assert process.returncode == 3, output  # passed on
    assert "3 nodes at 127.0.0.1" in output
    head, worker, other = job.noted("ray")
    assert worker == other
    for start in (head, worker):
        assert start.startswith("token 0o100600 64 start --block")
        assert f"--temp-dir={job.temp}" in start
    assert "--head" in head
    assert "--include-dashboard=false" in head
    port = re.search(r"--port=(\d+)", head)
    assert port is not None
    assert f"--address=127.0.0.1:{port[1]}" in worker
    by_head = [s for s in job.noted("srun") if "--head" in s]
    by_worker = [s for s in job.noted("srun") if "--address" in s]
    assert "--nodes=1 --ntasks=1 --nodelist=node1" in by_head[0]
    assert "--nodes=2 --ntasks=2 --exclude=node1" in by_worker[0]
    assert not job.requeued()
    job.nothing_is_left()


def test_slurm_runs_the_job_with_the_arguments_given(quick: Any) -> None:
    job = quick(1)
    job.program("octoscope", '#!/bin/bash\necho "ran $@"\n')
    given = ("a b.yaml", "s3://bucket/run", "--set", "execution.device=cuda")
    output, _ = (process := job.start(None, *given)).communicate(timeout=60)
    assert process.returncode == 0, output
    assert "ran run a b.yaml --out s3://bucket/run --steal --set execution.device" in output
    job.nothing_is_left()


@pytest.mark.parametrize(("before", "again"), [("0", True), ("20", False)])
def test_slurm_passes_sigterm_on_and_queues_the_job_again(
    quick: Any, before: str, again: bool
) -> None:
    job = quick(1)
    job.program("entry", "#!/bin/bash\ntrap 'sleep 1; echo drained; exit 143' TERM\n"
                "echo ready\nwhile :; do sleep 0.1; done\n")  # fmt: skip
    process = job.start("entry", SLURM_RESTART_COUNT=before)
    read_until(process, "ready")
    process.send_signal(signal.SIGTERM)  # to the batch shell alone, as --signal=B:TERM does
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert "drained" in output
    assert job.requeued() == again
    job.nothing_is_left()


def test_slurm_takes_a_run_that_ends_while_it_is_stopped_as_it_ended(quick: Any) -> None:
    job = quick(1)
    job.program("entry", "#!/bin/bash\ntrap 'sleep 2; exit 0' TERM\necho ready\n"
                "while :; do sleep 0.1; done\n")  # fmt: skip
    process = job.start("entry")
    read_until(process, "ready")
    for _ in range(2):  # each ends bash's `wait` early
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert not job.requeued()


def test_slurm_does_not_start_on_fewer_nodes(quick: Any) -> None:
    job = quick(2)
    begun = time.monotonic()
    process = job.start("echo started", NO_WORKERS="1", OCTOSCOPE_START_TIMEOUT="3")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "1 of 2 nodes are there" in output
    assert "started" not in output
    assert time.monotonic() - begun < 30
    assert not job.requeued()
    assert job.processes() == []
    assert f"logs are in {job.temp}" in output
    assert job.temp.exists()


def test_slurm_tells_when_ray_does_not_start(quick: Any) -> None:
    job = quick(1)
    job.program("ray", "#!/bin/bash\nexit 1\n")
    output, _ = (process := job.start("echo started")).communicate(timeout=60)
    assert process.returncode == 1
    assert "head did not start on node1" in output
    job.nothing_is_left()


@pytest.mark.slow
def test_slurm_with_ray_itself(slurm: Any) -> None:
    job = slurm(2)
    job.program("entry", f"#!{sys.executable}\n{COUNT}")
    process = job.start("entry")
    assert "there 2 2.0 token 0o600" in read_until(process, "there ")
    names = [p.name() for p in job.processes()]
    assert (names.count("gcs_server"), names.count("raylet")) == (1, 2)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 3, output
    assert not job.requeued()
    job.nothing_is_left()


def test_the_directives_of_slurm_sh_are_what_the_script_relies_on() -> None:
    given = re.findall(r"^#SBATCH (--\S+)$", (DOCS / "slurm.sh").read_text(), re.MULTILINE)
    options = dict(o.split("=", 1) if "=" in o else (o, "") for o in given)
    assert options["--ntasks-per-node"] == "1"  # one Ray node each
    assert "--requeue" in options
    ahead = re.fullmatch(r"B:TERM@(\d+)", options["--signal"])
    assert ahead is not None
    grace = ExecutionConfig().advanced.grace  # for running units; and what comes after
    assert int(ahead[1]) > grace + 30
    assert SECRETS.search((DOCS / "slurm.sh").read_text()) is None

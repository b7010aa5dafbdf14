"""``ray job submit`` for real: a head with token authentication, logs, exit codes, resume."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from octoscope.api.gnn import open_gnn
from octoscope.demo.demo import data
from octoscope.store.run_dir import RunRoot

from tests.conftest import octoscope, small_tree, tables_of
from tests.here import here
from tests.jobs.head import Head, ray_head
from tests.test_user_folder import hostile_folder

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
KILLS = "units/tiny.c0001.h0.00000000"
SECOND_CATEGORY = "units/tiny.c0001"
METRICS = {
    f"ray_octoscope_{name}"
    for name in ("cells_total", "pieces_total", "wait_seconds_total", "piece_seconds_count",
                 "piece_seconds_sum")
}  # fmt: skip


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head(cpus=4, gpus=2) as ray:  # GPUs by name: Ray counts and hides, nothing computes
        yield ray


def submit(
    head: Head,
    name: str,
    *entrypoint: str,
    env: dict[str, str] | None = None,
    working_dir: Path = ROOT,
) -> tuple[subprocess.CompletedProcess, dict[str, Any]]:
    """Submit a job as the guide shows it; returns what the command did, and Ray's job record."""
    more = ["--runtime-env-json", json.dumps({"env_vars": env})] if env else []
    command = (
        "job", "submit", "--address", head.dashboard, "--working-dir", str(working_dir),
        "--submission-id", name, *more, "--", *entrypoint,
    )  # fmt: skip
    done = head.ray(*command)
    deadline = time.monotonic() + 120
    while "No available agent" in done.stderr and time.monotonic() < deadline:
        time.sleep(2)  # a head that has just started takes no jobs yet
        done = head.ray(*command)
    assert "No available agent" not in done.stderr, "the head takes no jobs"
    request = urllib.request.Request(
        f"{head.dashboard}/api/jobs/{name}",
        headers={"Authorization": f"Bearer {head.env['RAY_AUTH_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return done, json.load(answer)


def metrics_of(head: Head, run: Path) -> dict[str, float]:
    """Return the sum per name of this run's metrics at the node's Prometheus port."""
    try:
        with urllib.request.urlopen(head.metrics, timeout=20) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return {}  # the agent is busy
    sums: dict[str, float] = {}
    for line in lines:
        if line.startswith("ray_octoscope_") and f'run="{run}"' in line:
            name = line.partition("{")[0]
            sums[name] = sums.get(name, 0) + float(line.rsplit(" ", 1)[1])
    return sums


def events_of(output: str) -> list[dict[str, Any]]:
    """Return the JSON lines of a job's log."""
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"time"')]


def test_without_the_token_nothing_is_accepted(head: Head) -> None:
    for token in ("", "0" * 64):
        refused = head.ray(
            "job", "submit", "--address", head.dashboard, "--", "true",
            RAY_AUTH_TOKEN=token, RAY_AUTH_TOKEN_PATH="/nonexistent",
        )  # fmt: skip
        assert refused.returncode != 0
        with pytest.raises(urllib.error.HTTPError, match="40[13]"):
            urllib.request.urlopen(f"{head.dashboard}/api/jobs/", timeout=20)


def test_bad_input_is_told_in_the_logs_with_exit_code_2(
    head: Head, small_atlas: Path, tmp_path: Path
) -> None:
    tree = small_tree(small_atlas)
    tree["atlas"]["category_key"] = ["no_such_column"]
    config = tmp_path / "bad.yaml"
    config.write_text(yaml.safe_dump(tree))
    done, job = submit(
        head, "bad", "python", "jobs/run.py", str(config), "--out", str(tmp_path / "run")
    )
    assert done.returncode == 1  # Ray's own: the job failed
    assert (job["status"], job["driver_exit_code"]) == ("FAILED", 2)
    assert "no column 'no_such_column'" in done.stdout
    logs = head.ray("job", "logs", "bad", "--address", head.dashboard)
    assert "no column 'no_such_column'" in logs.stdout
    assert not (tmp_path / "run").exists()


def test_a_run_directory_that_goes_with_the_job_is_refused(head: Head, small_config: Path) -> None:
    done, job = submit(head, "gone", "python", "jobs/run.py", str(small_config), "--out", "run")
    assert job["driver_exit_code"] == 2
    assert "deleted with the job" in done.stdout


def test_a_killed_training_goes_on_as_a_job_and_a_job_scores_as_the_command_does(
    head: Head, tmp_path: Path
) -> None:
    config, out = tmp_path / "gnn.yaml", tmp_path / "training"
    config.write_text("head: mlp\nwidth: 8\nhidden: 8\nepochs: 12\nvalidate_every: 2\n")
    train = ("python", "jobs/gnn.py", "train", str(config), "--graph", "demo", "--out")
    done, job = submit(head, "gnn-gone", *train, "training")
    assert job["driver_exit_code"] == 2
    assert "deleted with the job" in done.stdout

    begun = head.ray(
        "job", "submit", "--address", head.dashboard, "--working-dir", str(ROOT),
        "--submission-id", "gnn-killed", "--no-wait", "--", *train, str(out),
    )  # fmt: skip
    assert begun.returncode == 0, begun.stderr
    deadline = time.monotonic() + 180
    while not list(out.glob("state/[0-9]*")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    for process in psutil.process_iter(["cmdline"]):
        if str(out) in (process.info["cmdline"] or ()):
            process.kill()
    assert not (out / "checkpoint").exists()
    done, job = submit(head, "gnn-again", *train, str(out))
    assert job["driver_exit_code"] == 0, done.stdout
    assert "goes on after epoch" in done.stdout
    alone = tmp_path / "alone"
    trained = here("gnn", *train[2:], str(alone))
    assert trained.returncode == 0, trained.stderr
    parts, whole = (json.loads((f / "training.json").read_text())["history"] for f in (out, alone))
    assert [row["epoch"] for row in parts] == [2, 4, 6, 8, 10, 12]
    np.testing.assert_allclose(  # on several threads the order of sums is not fixed
        [row["loss"] for row in parts], [row["loss"] for row in whole], rtol=1e-4
    )

    pairs, table = tmp_path / "pairs.csv", tmp_path / "job.csv"
    pairs.write_text("query,key\nSTAT1,IRF1\nLYZ,CD3G\n")
    checkpoints = [str(out / "checkpoint"), str(data("gnn-demo"))]
    done, job = submit(  # a task of this cluster for each checkpoint
        head, "gnn-score", "python", "jobs/gnn.py", "score", *checkpoints, "--graph", "demo",
        "--pairs", str(pairs), "--no-cache", "--out", str(table),
    )  # fmt: skip
    assert job["driver_exit_code"] == 0, done.stdout
    scores = pd.read_csv(table)
    assert scores["checkpoint"].tolist() == ["checkpoint"] * 2 + ["gnn-demo"] * 2
    own = [open_gnn(c).score(pairs, "demo", cache=False).table["raw"] for c in checkpoints]
    np.testing.assert_allclose(scores["raw"], np.concatenate(own), rtol=1e-4)


def test_quarantined_units_give_3_a_second_submission_resumes_and_stages_can_be_jobs(
    head: Head, small_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    planned = here("plan", str(small_config), "--out", str(run), "--set", "keep_dense=fp32")
    assert planned.returncode == 0, planned.stderr
    early, job = submit(head, "early", "python", "jobs/overlap.py", str(run))
    assert job["driver_exit_code"] == 1
    assert "the attention stage is not done; run it first" in early.stdout

    attention = (
        "python", "jobs/attention.py", str(small_config), "--out", str(run),
        "--set", "keep_dense=fp32", "--set", "execution.log=json",
        "--set", "execution.gpus=0.5", "--set", "execution.actors=2",
        "--set", "execution.advanced.readers=1",
    )  # fmt: skip
    # Actors report to Ray's agent from time to time, and not when they end: these hang, and so live
    # until what they did can be read.
    hangs = json.dumps({"env_vars": {"OCTOSCOPE_CRASH_AT": f"hang:after-data@{SECOND_CATEGORY}"}})
    begun = head.ray(
        "job", "submit", "--address", head.dashboard, "--working-dir", str(ROOT),
        "--submission-id", "hangs", "--no-wait", "--runtime-env-json", hangs, "--", *attention,
    )  # fmt: skip
    assert begun.returncode == 0, begun.stderr
    metrics: dict[str, float] = {}
    deadline = time.monotonic() + 180
    while not {name for name, value in metrics.items() if value > 0} >= METRICS:
        assert time.monotonic() < deadline, (metrics, head.logs)
        time.sleep(0.5)
        metrics = metrics_of(head, run)
    stopped = head.ray("job", "stop", "hangs", "--address", head.dashboard)
    assert stopped.returncode == 0, stopped.stderr

    once = ("--set", "execution.attempts=1")
    kills = {"OCTOSCOPE_CRASH_AT": f"worker:after-data@{KILLS}"}
    done, job = submit(head, "first", *attention, *once, env=kills)
    assert job["driver_exit_code"] == 3, done.stdout + done.stderr
    events = events_of(done.stdout)
    quarantined = [e for e in events if e.get("what") == "quarantined"]
    assert [(e["unit"], e["run"]) for e in quarantined] == [(KILLS, str(run))]
    assert quarantined[0]["actor"] in ("tiny.0", "tiny.1")
    # two replicas share a GPU, those that reduce on CPUs see none
    started = [e for e in events if e["event"] == "actor" and e["what"] == "started"]
    seen = {(e["actor"][:-2], e["gpus"], e["visible"]) for e in started}
    assert seen == {("tiny", 0.5, "0"), ("cpu", 0, "")}
    assert {e["actor"] for e in started} > {"tiny.0", "tiny.1"}
    status = head.ray("job", "status", "first", "--address", head.dashboard)
    assert "exit code 3" in status.stdout
    progress = json.loads(here("status", str(run), "--json").stdout)
    assert progress["quarantined"] == 1
    assert progress["units"] == "7 of 8 committed"

    assert progress["progress"]["gpu_hours"] > 0

    whole = [x.replace("gpus=0.5", "gpus=1") for x in attention[2:]]
    # the line of the README, with the settings of the job before
    readme = (ROOT / "README.md").read_text().splitlines()
    (line,) = [line for line in readme if line.startswith("ray job submit ")]
    instead = {"run.yaml": str(small_config), "s3://bucket/run": str(run)}
    words = [instead.get(word, word) for word in shlex.split(line)]
    assert words[:6] == ["ray", "job", "submit", "--working-dir", ".", "--"]  # from the project
    again, job = submit(head, "second", *words[6:], *whole[3:])
    assert (again.returncode, job["status"], job["driver_exit_code"]) == (0, "SUCCEEDED", 0)
    events = events_of(again.stdout)
    units = [e["unit"] for e in events if e.get("what") == "done" and e["stage"] == "attention"]
    assert units == [KILLS]  # the others were there
    started = [e for e in events if e["event"] == "actor" and e["what"] == "started"]
    seen = {(e["gpus"], e["visible"]) for e in started if e["actor"].startswith("tiny")}
    assert seen
    assert seen <= {(1, "0"), (1, "1")}
    assert tables_of(run) == tables_of(finished_run)
    assert here("verify", str(run)).returncode == 0

    # actors' own logs: JSON with run, unit and Ray's ids
    lines = [
        json.loads(line)
        for file in head.logs.glob("worker-*.err")
        for line in file.read_text().splitlines()
        if line.startswith('{"asctime"')
    ]
    # other jobs of this head compute units of the same names
    own = [e for e in lines if e["message"] == "committed" and e["run"] == str(run)]
    commits = {e["work"]: e for e in own}
    assert KILLS in commits
    assert commits[KILLS]["run"] == str(run)
    assert commits[KILLS]["actor"] in ("tiny.0", "tiny.1")
    assert commits[KILLS]["actor_id"]
    assert commits[KILLS]["node_id"]
    actor = commits[KILLS]["actor_id"]
    shown = head.ray("logs", "actor", "--id", actor, "--err", "--address", head.address)
    assert KILLS in shown.stdout, shown.stderr


def test_jobs_of_a_folder_with_packages_of_the_users_own_write_to_an_object_store(
    head: Head, bucket: str, small_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    folder = hostile_folder(tmp_path / "mine")
    (folder / "run.yaml").write_bytes(small_config.read_bytes())
    url = f"{bucket}/job"
    given = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    attention = ("octoscope", "run", "run.yaml", "--stage", "attention", "--out", url)
    done, job = submit(
        head, "store-1", *attention, "--set", "keep_dense=fp32", env=given, working_dir=folder
    )
    assert (job["status"], job["driver_exit_code"]) == ("SUCCEEDED", 0), done.stdout
    assert not RunRoot(url).exists("_SUCCESS")
    assert given["AWS_SECRET_ACCESS_KEY"] not in done.stdout
    analysis = ("octoscope", "resume", url, "--stage", "analysis")
    done, job = submit(head, "store-2", *analysis, env=given, working_dir=folder)
    assert (job["status"], job["driver_exit_code"]) == ("SUCCEEDED", 0), done.stdout
    assert given["AWS_SECRET_ACCESS_KEY"] not in done.stdout
    progress = json.loads(here("status", url, "--json").stdout)
    assert progress["state"] == "finished"
    watched = octoscope("status", url, "--watch")
    assert watched.returncode == 0, watched.stderr
    assert here("verify", url).returncode == 0
    for path in ("tables/stats.parquet", "tables/layers.parquet"):
        assert RunRoot(url).read(path) == (finished_run / path).read_bytes()
    status = head.ray("job", "status", "store-2", "--address", head.dashboard)
    assert "Job 'store-2' succeeded" in status.stdout

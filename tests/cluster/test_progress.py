"""What `status` shows of a driver that failed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from octoscope.cluster.progress import Reporter, noted
from octoscope.errors import InputError, OctoscopeError
from octoscope.store.progress_file import PROGRESS
from octoscope.store.run_dir import RunRoot
from rich.console import Console


def test_progress_tells_why_the_driver_failed(tmp_path: Path) -> None:
    root = RunRoot(str(tmp_path))
    with pytest.raises(OctoscopeError), Reporter(root, Console(quiet=True)):
        raise OctoscopeError("no worker")
    assert root.read_json(PROGRESS)["status"] == "failed"
    assert root.read_json(PROGRESS)["error"] == "no worker"
    with Reporter(root, Console(quiet=True)):
        pass
    assert "error" not in root.read_json(PROGRESS)


def test_a_failure_before_the_driver_is_noted_only_in_a_run_that_nobody_drives(
    tmp_path: Path,
) -> None:
    def fail(error: Exception) -> dict[str, Any] | None:
        with pytest.raises(type(error)), noted(str(tmp_path)):
            raise error
        progress: dict[str, Any] | None = root.read_json(PROGRESS)
        return progress

    root, cause = RunRoot(str(tmp_path)), OctoscopeError("no cluster")
    assert fail(cause) is None  # no run
    root.replace("plan.json", b"{}")
    assert fail(InputError("--set", "is wrong", "correct it")) is None
    failed = fail(cause)
    assert failed is not None
    assert (failed["status"], failed["error"]) == ("failed", "no cluster")
    running = {"status": "running", "updated": time.time()}
    root.replace(PROGRESS, json.dumps(running).encode())
    assert fail(cause) == running
    root.replace(PROGRESS, b'{"status": "finished", "updated": 0}')
    root.replace("_SUCCESS", b"{}")
    assert (fail(cause) or {})["status"] == "finished"

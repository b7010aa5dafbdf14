"""Dask graphs: order kept, cut into slices, the same on threads and on Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from dask.delayed import delayed
from octoscope.analysis import dask_graphs
from octoscope.cluster import connect
from octoscope.cluster.connect import ray_cluster


def tasks(n: int) -> list[Any]:
    shared = delayed(lambda: 10)()
    return [delayed(lambda s, i: s + i)(shared, i) for i in range(n)]


@pytest.mark.parametrize("limit", [3, 1000])
def test_order_is_kept_in_slices(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(dask_graphs, "MAX_TASKS", limit)
    assert dask_graphs.compute(tasks(8)) == [10 + i for i in range(8)]
    assert dask_graphs.compute([]) == []


def test_ray_gives_what_threads_give() -> None:
    with ray_cluster():
        assert dask_graphs.compute(tasks(8), connect.ray_scheduler()) == dask_graphs.compute(
            tasks(8)
        )


@pytest.mark.slow
def test_a_ray_imported_before_keeps_its_own_mode() -> None:
    script = """
import ray
from octoscope.analysis import dask_graphs
from octoscope.cluster import connect
from dask.delayed import delayed
with connect.ray_cluster():
    print(dask_graphs.compute([delayed(int)('7')], connect.ray_scheduler()))
"""
    env = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_MODE"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, capture_output=True, text=True, env=env, timeout=120, check=False
    )
    assert "[7]" in done.stdout, done.stderr[-2000:]


def test_the_driver_imports_ray_only_after_its_settings() -> None:
    script = "import sys, octoscope.cluster.driver, octoscope.cli; print('ray' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "False", done.stderr[-2000:]

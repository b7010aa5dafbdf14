"""Dask graphs: order kept, cut into slices, the same on threads and on Ray."""

from __future__ import annotations

import pytest
from dask.delayed import delayed

from engine.cluster import graphs
from engine.cluster.connect import ray_cluster


def tasks(n: int) -> list[object]:
    shared = delayed(lambda: 10)()
    return [delayed(lambda s, i: s + i)(shared, i) for i in range(n)]


@pytest.mark.parametrize("limit", [3, 1000])
def test_order_is_kept_in_slices(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(graphs, "MAX_TASKS", limit)
    assert graphs.compute(tasks(8)) == [10 + i for i in range(8)]  # type: ignore[arg-type]
    assert graphs.compute([]) == []


def test_ray_gives_what_threads_give() -> None:
    with ray_cluster():
        assert graphs.compute(tasks(8), graphs.ray_scheduler()) == graphs.compute(tasks(8))  # type: ignore[arg-type]

"""Dask on the connected Ray cluster, or on threads: same graph, scheduler passed per call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask
from dask.delayed import Delayed

from engine.errors import OctoscopeError

MAX_TASKS = 2000  # about 1 ms of overhead a task on Ray; larger graphs must use larger blocks


def ray_scheduler() -> Callable[..., Any]:
    """Return Dask-on-Ray's scheduler; nothing global is changed."""
    from ray.util.dask import ray_dask_get

    return ray_dask_get


def compute(tasks: Sequence[Delayed], scheduler: Any = "threads") -> list[Any]:
    """Compute delayed values together, in order.

    Raises
    ------
    OctoscopeError
        If the graph has more tasks than the limit.
    """
    if not tasks:
        return []
    n = len({key for task in tasks for key in dict(task.__dask_graph__())})
    if n > MAX_TASKS:
        raise OctoscopeError(f"a graph of {n} tasks; the limit is {MAX_TASKS}: use larger blocks")
    return list(dask.compute(*tasks, scheduler=scheduler, optimize_graph=False))

"""Computes Dask graphs; the scheduler is an argument, so Ray and threads run the same graph."""

from __future__ import annotations

import os
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import Any

import dask
from dask.delayed import Delayed
from threadpoolctl import threadpool_limits

MAX_TASKS = 2000  # about 1 ms of overhead a task on Ray


def compute(tasks: Sequence[Delayed], scheduler: Any = "threads") -> list[Any]:
    """Compute delayed values in order, in graphs of at most ``MAX_TASKS`` tasks.

    Tasks on threads use one BLAS thread each, as Ray's workers do: the same last bits.
    """
    if scheduler != "threads":
        return _in_slices(tasks, scheduler)
    pool = ThreadPool(os.cpu_count())  # of daemons: a process that was stopped waits for none
    try:
        with threadpool_limits(limits=1):
            return _in_slices(tasks, scheduler, pool=pool)
    finally:
        pool.terminate()


def _in_slices(tasks: Sequence[Delayed], scheduler: Any, **options: Any) -> list[Any]:
    results: list[Any] = []
    part: list[Delayed] = []
    keys: set[Any] = set()
    for task in [*tasks, None]:
        new = set() if task is None else set(dict(task.__dask_graph__()))
        if part and (task is None or len(keys | new) > MAX_TASKS):
            results += dask.compute(*part, scheduler=scheduler, optimize_graph=False, **options)
            part, keys = [], set()
        if task is not None:
            part.append(task)
            keys |= new
    return results

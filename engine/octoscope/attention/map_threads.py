"""Threads over independent blocks, each with one torch thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # the pool's threads run one block each; torch must not start threads of its own in them
    pool = ThreadPoolExecutor(threads, "blocks", initializer=torch.set_num_threads, initargs=(1,))
    list(pool.map(lambda _: None, range(threads)))
    torch.set_num_threads(threads)
    return pool


def map_blocks(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Run ``work`` on as many threads as torch has; yields results in the order of items."""
    threads = torch.get_num_threads()
    if threads == 1 or len(items) == 1:  # one block alone may use torch's own threads
        return map(work, items)
    return _pool(threads).map(work, items)

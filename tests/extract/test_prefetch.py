"""The feed: the same tokens in the same order, read ahead or not; its faults come where asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from octoscope.atlas import Atlas
from octoscope.atlas.atlas import CellBatch
from octoscope.config import AtlasConfig
from octoscope.demo.demo import data
from octoscope.errors import InputError
from octoscope.extract.accelerator import Accelerator
from octoscope.extract.prefetch import Prefetcher, TokenBatch
from octoscope.models import load_model
from octoscope.run_plan.values import Unit

MICRO, BATCH = 5, 2


class Slow(Atlas):
    """An atlas that takes its time, or breaks at a row; counts what it reads."""

    pause, broken = 0.0, -1
    reads: list[int]

    def stream(self, rows: np.ndarray, batch_cells: int) -> Iterator[CellBatch]:
        for batch in super().stream(rows, batch_cells):
            self.reads.append(len(batch.rows))
            time.sleep(self.pause)
            if self.broken in batch.rows:
                raise InputError("X/data", "a missing chunk", "restore it")
            yield batch


@pytest.fixture
def parts(small_atlas: Path) -> Iterator[tuple[Prefetcher, Slow, list[Unit]]]:
    atlas = Slow(AtlasConfig(path=str(small_atlas), category_key=["cell_type"]))
    atlas.reads = []
    model = load_model(str(data("checkpoints/scgpt-demo")), family="scgpt", device="cpu")
    match = model.match(atlas.genes)
    halves = atlas.index(0).halves
    feed = Prefetcher(atlas, halves, model, match, MICRO, BATCH, Accelerator(torch.device("cpu")))
    units = [
        Unit(id=f"m.c{c:04d}.h{h}.00000000", model="m", category=c, half=h, start=0, stop=n)
        for c, h, n in ((0, 0, 12), (0, 1, 11), (1, 0, 7))
    ]
    yield feed, atlas, units
    feed.drop()


def same(a: list[TokenBatch], b: list[TokenBatch]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x.value, y.value)
        and np.array_equal(x.row, y.row)
        and list(x.cell_ids) == list(y.cell_ids)
        for f, g in zip(a, b, strict=True)
        for x, y in zip(f.parts, g.parts, strict=True)
    )


def test_reading_ahead_gives_the_same_batches(parts: tuple[Prefetcher, Slow, list[Unit]]) -> None:
    feed, atlas, (first, second, third) = parts
    plain = {u.id: list(feed.batches(u)) for u in (first, second, third)}
    assert [len(f.parts) for f in plain[first.id]] == [3, 3, 1]  # 5, 5 and 2 cells by two
    assert sum(len(p.cell_ids) for f in plain[second.id] for p in f.parts) == 11
    atlas.reads.clear()
    feed.ahead(second)
    assert same(list(feed.batches(second)), plain[second.id])
    assert atlas.reads == [5, 5, 1]  # read once
    feed.ahead(second)
    assert same(list(feed.batches(third)), plain[third.id])  # another was asked for
    assert same(list(feed.batches(second)), plain[second.id])
    assert not [t for t in threading.enumerate() if t.name == "prefetch"]


def test_what_was_read_ahead_is_not_waited_for(parts: tuple[Prefetcher, Slow, list[Unit]]) -> None:
    feed, atlas, (first, second, _) = parts
    atlas.pause = 0.2  # three reads a unit
    waited = sum(f.waited for f in feed.batches(first))
    assert waited > 0.5
    feed.ahead(second)
    time.sleep(1.5)  # the layers of the first
    assert sum(f.waited for f in feed.batches(second)) < 0.1


def test_a_fault_is_raised_where_its_cells_are_asked_for(
    parts: tuple[Prefetcher, Slow, list[Unit]],
) -> None:
    feed, atlas, (first, second, _) = parts
    atlas.broken = int(feed._halves[0][1][7])
    feed.ahead(second)
    assert len(list(feed.batches(first))) == 3  # another unit is not concerned
    feed.ahead(second)
    with pytest.raises(InputError, match="a missing chunk"):
        list(feed.batches(second))


def test_giving_up_ends_the_reading(parts: tuple[Prefetcher, Slow, list[Unit]]) -> None:
    feed, atlas, (first, _, _) = parts
    atlas.pause = 0.1
    feed.ahead(first)
    feed.drop()
    assert not [t for t in threading.enumerate() if t.name == "prefetch"]
    assert len(atlas.reads) < 3

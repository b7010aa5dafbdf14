"""Rewrite an atlas as category-sorted, sharded Zarr v3 with CRC32C: in bounded memory, resumable.

The target is made in passes over the source. Each takes a range of the target whose counts fit
into memory, reads the cells of that range in the order of the source, puts each in its place, and
writes whole shards. So each chunk of the source is decoded once per pass.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from octoscope.atlas.atlas import Atlas
from octoscope.atlas.cell_index import CellIndex
from octoscope.atlas.chunks import DamageError
from octoscope.atlas.open_root import open_root
from octoscope.atlas.partial_store import PartialStore
from octoscope.atlas.shards import (
    VALUE,
    CountShards,
    Layout,
    encoded_bytes,
    names_without_slash,
    write_frames,
)
from octoscope.atlas.transpose import by_row, csc_location
from octoscope.config import AtlasConfig
from octoscope.config.byte_sizes import parse_bytes
from octoscope.errors import InputError, warn
from octoscope.output_files import require_outside

OnProgress = Callable[[int, int], None]  # cells done, cells in all

_RANGE = 0.75  # of the memory, for the counts of a pass
_BATCH = 1 / 16  # of the memory, for the stored values of a batch; it exists twice, and as counts
_MARGIN = 1.1  # of the disk space that the sample predicts


def convert(
    config: AtlasConfig,
    target: str,
    batch_cells: int = 1024,
    seed: int = 0,
    *,
    memory: str = "2GB",
    layout: Layout | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Write the counts of an atlas to ``target``: by category, then by half, then in source order.

    A unit of a run reads cells of one half, so halves that lie together are read once; they are
    those of a run with the same seed, categories, donors and ``primary_only``. If halves
    cannot be determined (no primary cell, repeated ids), the order is by category alone.

    Counts that lie by column (CSC) are first written by row into the unfinished folder, in passes
    over the source; this needs that disk space besides.

    obs is kept whole; var holds the Ensembl ids as index and ``feature_name``. Counts become
    ``X``. Every chunk is written, with CRC32C. In obs columns that no setting names, chunks that
    the source lacks are read as zeros.

    The target grows in ``<target>.partial`` and gets its name when it is whole. The same call
    continues after the last whole shard of an attempt that was stopped or killed; neither that nor
    ``memory`` changes a byte. Before anything is written, the free disk space is
    compared with the encoded size that a sample of cells predicts.

    Parameters
    ----------
    batch_cells
        Cells read at once, at most.
    memory
        Limit for the counts of a pass and the batches that are read. Not included: values that are
        being decoded and a shard that is being encoded (together 0.2 GB, more where the source
        has chunks of more than 2 million values), obs, and a few numbers per cell.
    layout
        Sizes of chunks and shards; None: 131,072 and 16,777,216 elements.
    on_progress
        Called with the cells counted or written so far, and twice the number of cells.

    Returns
    -------
    dict
        Cells, genes and non-zero counts of the target; passes of this call; shards written by it
        and found; values it decoded, and their ratio to those it used; where there are any, obs
        columns that have another name in the target, as AnnData writes no slash to Zarr.

    Raises
    ------
    InputError
        If the target exists, is a URL, lies in a run or an input, is being written, or was begun
        with other settings; if disk or memory do not suffice; if the source cannot be used.
    """
    layout = layout or Layout()
    limit = _memory(memory, layout)
    if "://" in target:
        raise InputError(target, "is a URL", "convert to a local path, then copy it")
    require_outside(target, [config.path])
    with PartialStore(Path(target)) as partial:
        atlas = _opened(config, partial, limit)
        order = _order(atlas, seed)
        partial.begin(_identity(atlas, order, seed, layout))
        work = _Work(atlas, order, partial, batch_cells, limit, on_progress or (lambda *_: None))
        result = work.run(layout)
        if not result["nonzero"]:
            seen = f"no count above 0 in {result['cells']:,} cells"
            warn(f"{config.path}: {atlas.counts_source}: {seen}")
        partial.finish()
    return result


def _opened(config: AtlasConfig, partial: PartialStore, limit: float) -> Atlas:
    """Open the source; counts that lie by column are first written by row, beside the target."""
    root = open_root(config.path)
    by_column = csc_location(root, config)
    if by_column is None:
        return Atlas(config)
    return Atlas(config, counts=(by_column, by_row(root, by_column, config, partial.by_row, limit)))


def _memory(text: str, layout: Layout) -> float:
    limit, least = parse_bytes(text, "memory"), layout.shard * VALUE / _RANGE
    if limit < least:
        problem = f"{text} does not hold one shard"
        raise InputError("memory", problem, f"give {-(-least // 1e6):.0f}MB or more")
    return limit


def _order(atlas: Atlas, seed: int) -> np.ndarray:
    """Return [cells] rows of the source in the order of the target."""
    keys = [atlas.column(k, "category_key").astype(str) for k in atlas.config.category_key]
    half = np.zeros(len(atlas.cell_ids), np.int8)
    try:
        halves = atlas.index(seed).halves if keys else []
    except DamageError:
        raise
    except InputError as error:  # rewriting them needs no selection
        warn(f"a run would refuse these cells: {error}. They are sorted by category alone")
        halves = []
    for _, second in halves:
        half[second] = 1
    codes = [np.asarray(pd.factorize(key, sort=True)[0]) for key in keys]
    by: list[np.ndarray] = [np.arange(len(half)), half, *codes[::-1]]
    return np.lexsort(by)


def _identity(atlas: Atlas, order: np.ndarray, seed: int, layout: Layout) -> dict[str, Any]:
    """Return the settings that two attempts at one target must share."""
    path = atlas.config.path
    genes = [atlas.genes.ensembl.tolist(), atlas.genes.symbol.tolist(), atlas.gene_report]
    return {
        "source": path if "://" in path else str(Path(path).absolute()),
        "cells or counts": atlas.fingerprint(CellIndex([], [], None, {})),
        "genes": hashlib.sha256(json.dumps(genes, default=str).encode()).hexdigest(),
        "order": hashlib.sha256(order.astype(np.int64).tobytes()).hexdigest(),
        "settings": atlas.config.model_dump(mode="json", exclude={"path"}),
        "seed": seed,
        "layout": asdict(layout),
        "versions": {name: version(name) for name in ("anndata", "numcodecs", "zarr")},
    }


class _Work:
    """One attempt at a target; ``limit`` is the memory in bytes."""

    def __init__(
        self,
        atlas: Atlas,
        order: np.ndarray,
        partial: PartialStore,
        batch_cells: int,
        limit: float,
        on_progress: OnProgress,
    ) -> None:
        self._atlas, self._order, self._partial = atlas, order, partial
        self._limit, self._report = limit, on_progress
        everything = atlas.cost_of(np.arange(len(order)))
        per_cell = max(1.0, everything.needed / max(1, len(order)))
        self._batch = max(1, min(batch_cells, int(limit * _BATCH / per_cell)))
        self._per_cell, self._per_value = encoded_bytes(atlas)

    def run(self, layout: Layout) -> dict[str, Any]:
        """Write what is missing; returns what :func:`convert` does."""
        cost, n, partial = self._atlas.cost, len(self._order), self._partial
        read, needed = cost.read, cost.needed
        if partial.nonzero is None:
            self._require_space(self._per_cell * n)
            write_frames(self._atlas, self._order, partial.store)
            lengths = self._lengths()
            shards = CountShards.create(
                partial.store, lengths[self._order], len(self._atlas.genes), layout
            )
            written = [partial.store, *partial.store.rglob("*")]
            partial.note(written, nonzero=int(shards.indptr[-1]), shards=0)
        else:
            shards = CountShards(partial.store)
            shards.require(partial.shards)
        n_written = partial.shards
        self._require_space(float(shards.indptr[-1]) - n_written * shards.size)
        per_pass = max(1, int(self._limit * _RANGE / VALUE / shards.size))
        firsts = range(n_written, shards.total, per_pass)
        for first in firsts:
            self._pass(shards, first, min(first + per_pass, shards.total))
        self._report(2 * n, 2 * n)
        read, needed = cost.read - read, cost.needed - needed
        renamed = names_without_slash(self._atlas.obs_columns)
        return {
            "cells": n,
            "genes": len(self._atlas.genes),
            "nonzero": int(shards.indptr[-1]),
            "passes": len(firsts),
            "shards written": shards.total - n_written,
            "shards found": n_written,
            "values decoded": read,
            "read over needed": round(read / max(1, needed), 2),
            **({"columns renamed": renamed} if renamed else {}),
        }

    def _lengths(self) -> np.ndarray:
        """Count the values of each row: array sizes are fixed at creation."""
        n = len(self._order)
        lengths = np.zeros(n, np.int64)
        for batch in self._atlas.stream(np.arange(n), self._batch):
            lengths[batch.rows] = np.diff(batch.counts.indptr)
            self._report(int(batch.rows[-1]) + 1, 2 * n)
        return lengths

    def _pass(self, shards: CountShards, first: int, stop: int) -> None:
        """Read the rows that have values in shards [first, stop), and write these shards."""
        indptr, size = shards.indptr, shards.size
        low, high = first * size, min(stop * size, int(indptr[-1]))
        top = int(np.searchsorted(indptr, low, side="right")) - 1
        end = int(np.searchsorted(indptr, high, side="left"))
        data, indices = np.empty(high - low, np.float32), np.empty(high - low, np.int32)
        targets = top + np.argsort(self._order[top:end])  # places in the target, as the source lies
        done = 0
        for batch in self._atlas.stream(self._order[targets], self._batch):
            counts, some = batch.counts, targets[done : done + len(batch.rows)]
            lengths = np.diff(counts.indptr)
            if not np.array_equal(lengths, indptr[some + 1] - indptr[some]):
                raise InputError(
                    self._atlas.config.path,
                    "has other numbers of counts than when they were counted",
                    f"delete {self._partial.folder} and convert again",
                )
            to = np.repeat(indptr[some] - low - counts.indptr[:-1], lengths) + np.arange(counts.nnz)
            inside = (to >= 0) & (to < high - low)  # a row may begin or end in another pass
            data[to[inside]] = counts.data[inside]
            indices[to[inside]] = counts.indices[inside]
            done += len(some)
            self._report(len(self._order) + top + done, 2 * len(self._order))
        for nth in range(first, stop):
            part = slice((nth - first) * size, (nth - first + 1) * size)
            written = shards.write(nth, data[part], indices[part])
            self._partial.note(written, nonzero=int(indptr[-1]), shards=nth + 1)

    def _require_space(self, values: float) -> None:
        """Compare the encoded size of a number of counts with the free disk space.

        Raises
        ------
        InputError
            If it does not suffice.
        """
        folder = self._partial.folder
        need, free = _MARGIN * self._per_value * values, shutil.disk_usage(folder).free
        if need > free:
            raise InputError(
                str(folder),
                f"the counts need about {need / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free",
                "make room, or choose another target",
            )

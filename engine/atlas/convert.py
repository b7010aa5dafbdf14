"""Rewrite an atlas as category-sorted, sharded Zarr v3 with CRC32C, in bounded memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import anndata
import numpy as np
import zarr
from anndata.io import write_elem
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from engine.atlas import frames, source
from engine.atlas.atlas import Atlas
from engine.atlas.chunks import DamageError
from engine.config import AtlasConfig
from engine.errors import InputError

_CHUNK = 1 << 17  # elements: 0.5 MB of float32, a few hundred cells
_SHARD = 1 << 24  # elements: 64 MB, written whole


class _ShardWriter:
    """Collects values and writes them in whole shards, so that no shard is written twice."""

    def __init__(self, group: zarr.Group, name: str, size: int, dtype: str) -> None:
        chunk = min(_CHUNK, max(1, size))
        self._shard = chunk * max(1, min(_SHARD // chunk, -(-size // chunk)))
        self._array = group.create_array(
            name,
            shape=(size,),
            chunks=(chunk,),
            shards=(self._shard,),
            dtype=dtype,
            compressors=[BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"), Crc32cCodec()],
        )
        self._held: list[np.ndarray] = []
        self._n, self._at = 0, 0

    def append(self, values: np.ndarray) -> None:
        self._held.append(values)
        self._n += len(values)
        if self._n >= self._shard:
            self._flush(self._n - self._n % self._shard)

    def close(self) -> None:
        self._flush(self._n)

    def _flush(self, n: int) -> None:
        if not n:
            return
        joined = np.concatenate(self._held)
        self._array[self._at : self._at + n] = joined[:n]
        self._at += n
        self._held, self._n = [joined[n:]], len(joined) - n


def convert(
    config: AtlasConfig, target: str, batch_cells: int = 1024, seed: int = 0
) -> dict[str, int]:
    """Write the counts of an atlas to ``target``: by category, then by half, then as they were.

    A unit of a run reads cells of one half, so halves that lie together are read once; they are
    those of a run with the same seed, categories, donors and ``primary_only``. Where no half can
    be told (no primary cell, ids that repeat), the order is by category alone.

    obs is kept whole; var holds the Ensembl ids as index and ``feature_name``. Counts become
    ``X``. Memory: one batch, one shard per array, and obs. Every chunk is written, with CRC32C. In
    obs columns that no setting names, chunks that the source lacks are read as zeros.

    Returns
    -------
    dict
        Number of cells, genes and non-zero counts written.

    Raises
    ------
    InputError
        If the target exists, or the source cannot be used.
    """
    out = Path(target)
    if out.exists():
        raise InputError(target, "exists", "choose a new path; nothing is overwritten")
    atlas = Atlas(config)
    keys = [atlas.column(k, "category_key").astype(str).to_numpy() for k in config.category_key]
    half = np.zeros(len(atlas.cell_ids), np.int8)
    try:
        halves = atlas.index(seed).halves if keys else []
    except DamageError:
        raise
    except InputError:  # a run would refuse these cells; rewriting them needs no selection
        halves = []
    for _, second in halves:
        half[second] = 1
    by: list[np.ndarray] = [np.arange(len(half)), half, *keys[::-1]]
    order = np.lexsort(by)
    partial = out.with_name(out.name + f".partial-{os.getpid()}")
    try:
        nnz = _write(atlas, order, partial, batch_cells)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {"cells": len(order), "genes": len(atlas.genes), "nonzero": nnz}


def _write(atlas: Atlas, order: np.ndarray, path: Path, batch_cells: int) -> int:
    # anndata's own arrays (obs, var) get the same checksum; they are small, so not sharded
    kwargs = {"compressors": [ZstdCodec(level=5), Crc32cCodec()]}
    with (
        # chunks of zeros too, so that one that is absent is always damage
        zarr.config.set({"default_zarr_format": 3, "array.write_empty_chunks": True}),
        anndata.settings.override(auto_shard_zarr_v3=False),
    ):
        root = zarr.open_group(path, mode="w", zarr_format=3)
        root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        obs = frames.read_frame(source.open_group(atlas.config.path)["obs"], atlas.config.path)
        obs = obs.iloc[order]
        write_elem(root, "obs", obs, dataset_kwargs=kwargs)
        var = obs.iloc[:0, :0].reindex(atlas.genes.ensembl)
        var["feature_name"] = atlas.genes.symbol.astype(str)
        var.index.name = "feature_id"
        write_elem(root, "var", var, dataset_kwargs=kwargs)
        for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
            write_elem(root, name, {})
        group = root.create_group("X")
        shape = [len(order), len(atlas.genes)]
        group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape}
        )
        # Two passes: row lengths first, because array sizes are fixed at creation.
        lengths = np.zeros(len(order), np.int64)
        for batch in atlas.stream(np.arange(len(order)), batch_cells):
            lengths[batch.rows] = np.diff(batch.counts.indptr)
        indptr = np.concatenate([[0], np.cumsum(lengths[order])])
        pointers = _ShardWriter(group, "indptr", len(indptr), "int64")
        pointers.append(indptr)
        pointers.close()
        data = _ShardWriter(group, "data", int(indptr[-1]), "float32")
        indices = _ShardWriter(group, "indices", int(indptr[-1]), "int32")
        for start in range(0, len(order), batch_cells):
            rows = order[start : start + batch_cells]
            ascending = np.sort(rows)
            counts = atlas.read(ascending).counts[np.searchsorted(ascending, rows)]
            data.append(counts.data)
            indices.append(counts.indices.astype(np.int32))
        data.close()
        indices.close()
    return int(indptr[-1])

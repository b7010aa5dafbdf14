"""Small atlases that tests damage, and what must then be said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata.experimental import write_dispatched
from octoscope.atlas import Atlas, check
from octoscope.atlas.chunks import DamageError
from octoscope.config import AtlasConfig

from tests.conftest import make_adata

FORMATS = (2, 3)
SPARSE = ("X/data", "X/indices", "X/indptr")
FRAMES = (
    "obs/_index",
    "obs/cell_type/codes",
    "obs/cell_type/categories",
    "obs/donor/codes",
    "var/_index",
    "var/feature_name",
)
CHUNK = {"csr_matrix": 128}  # elements; 16 in columns


def cells() -> ad.AnnData:
    """Return 60 cells of 40 genes with two categories and three donors."""
    a = make_adata(60, 40)
    a.obs["donor"] = pd.Categorical([f"d{i % 3}" for i in range(60)])
    return a


def write(a: ad.AnnData, path: Path, zarr_format: int, **chunks: tuple[int, ...]) -> Path:
    """Write Zarr with default codecs and small chunks, or chunks as given by array name."""

    def small(func: Any, store: Any, key: str, elem: Any, **kw: Any) -> None:
        name = key.strip("/")
        kind = kw["iospec"].encoding_type
        usual = (CHUNK.get(kind, 16),) if kind != "array" or elem.ndim == 1 else None
        given = chunks.get(name, usual)
        arrays = ("array", "string-array", "csr_matrix", "categorical")
        more = {"chunks": given} if given and kind in arrays else {}
        func(store, key, elem, dataset_kwargs={**kw["dataset_kwargs"], **more})

    with ad.settings.override(zarr_write_format=zarr_format, auto_shard_zarr_v3=False):
        write_dispatched(zarr.open_group(path, mode="w", zarr_format=zarr_format), "/", a, small)
    return path


def config(path: Any, **kw: Any) -> AtlasConfig:
    return AtlasConfig(path=str(path), category_key=["cell_type"], replicate_key="donor", **kw)


def read_all(path: Any, **kw: Any) -> np.ndarray:
    """Read what a run reads: all counts, categories and donors."""
    atlas = Atlas(config(path, **kw))
    atlas.index(0)
    return atlas.read(np.arange(len(atlas.cell_ids))).counts.toarray()


def file_of(path: Path, array: str, *chunk: int) -> Path:
    node = zarr.open_group(path, mode="r")[array]
    return path / array / node.metadata.encode_chunk_key(chunk)


def last_chunk(path: Path, array: str) -> int:
    return zarr.open_group(path, mode="r")[array].cdata_shape[0] - 1


def put(path: Path, array: str, at: Any, value: Any) -> None:
    """Change values of an array in place; a chunk of zeros is written too."""
    with zarr.config.set({"array.write_empty_chunks": True}):
        zarr.open_group(path, mode="r+")[array][at] = value


def refused(path: Path, array: str, chunk: str, what: str, **kw: Any) -> None:
    """Reading names the array, the chunk and its file; the check lists just that chunk."""
    with pytest.raises(DamageError) as caught:
        read_all(path, **kw)
    assert caught.value.where.startswith(f"{path}: {array}, chunk {chunk} ({array}/")
    assert what in caught.value.problem
    (fault,) = check(config(path, **kw)).faults
    assert (fault.array, fault.chunk) == (array, chunk)
    assert (path / str(fault.object)).parent.is_dir()
    assert what in fault.what

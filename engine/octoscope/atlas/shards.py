"""Writing an AnnData store as Zarr v3 with CRC32C: frames at once, counts shard by shard.

Every chunk is written, those of zeros too, so that a missing one is always damage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from octoscope.atlas import chunks, frames
from octoscope.atlas.atlas import Atlas
from octoscope.atlas.counts import sample_rows
from octoscope.atlas.open_root import open_root
from octoscope.errors import InputError

VALUE = 8  # bytes of a count and its column before they are encoded
_LEVEL = 5


@dataclass(frozen=True)
class Layout:
    """Elements of a chunk and of a shard, at most; a shard is a whole number of chunks."""

    chunk: int = 1 << 17  # 0.5 MB of float32, a few hundred cells
    shard: int = 1 << 24  # 64 MB, written whole


def create(group: zarr.Group, name: str, size: int, dtype: str, layout: Layout) -> Any:
    """Create a sharded array [size]."""
    chunk = min(layout.chunk, max(1, size))
    shard = chunk * max(1, min(layout.shard // chunk, -(-size // chunk)))
    compressors = [BloscCodec(cname="zstd", clevel=_LEVEL, shuffle="shuffle"), Crc32cCodec()]
    return group.create_array(
        name,
        shape=(size,),
        chunks=(chunk,),
        shards=(shard,),
        dtype=dtype,
        compressors=compressors,
        config={"write_empty_chunks": True},
    )


def names_without_slash(names: list[str]) -> dict[str, str]:
    """Return new names, each once, of columns whose names AnnData does not write to Zarr.

    A slash becomes ``_``; where that is the name of another column, ``__`` and so on.
    """
    new: dict[str, str] = {}
    for name in names:
        fill = "_"
        while "/" in name and name.replace("/", fill) in {*names, *new.values()}:
            fill += "_"
        if "/" in name:
            new[name] = name.replace("/", fill)
    return new


def write_frames(atlas: Atlas, order: np.ndarray, path: Path) -> None:
    """Write a new store with obs in the given order, var, and what else AnnData expects.

    Columns with a slash in their names get those of :func:`names_without_slash`. Text with missing
    values stays text with missing values, which anndata 0.11 and later read.
    """
    import anndata  # here: seconds of start-up that only a conversion needs
    from anndata.io import write_elem

    # anndata's own arrays get the same checksum; they are small, so not sharded
    kwargs = {"compressors": [ZstdCodec(level=_LEVEL), Crc32cCodec()]}
    with (
        zarr.config.set({"default_zarr_format": 3, "array.write_empty_chunks": True}),
        anndata.settings.override(auto_shard_zarr_v3=False, allow_write_nullable_strings=True),
    ):
        root = zarr.open_group(path, mode="w", zarr_format=3)
        root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        obs = frames.read_frame(open_root(atlas.config.path)["obs"], atlas.config.path)
        if obs.index.name in obs.columns or "/" in str(obs.index.name):
            obs.index.name = None  # else AnnData compares the column with it, or refuses the name
        obs = obs.iloc[order].rename(columns=names_without_slash(list(obs.columns)))
        write_elem(root, "obs", obs, dataset_kwargs=kwargs)
        var = obs.iloc[:0, :0].reindex(atlas.genes.ensembl)
        var["feature_name"] = atlas.genes.symbol.astype(str)
        var.index.name = "feature_id"
        write_elem(root, "var", var, dataset_kwargs=kwargs)
        for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
            write_elem(root, name, {})


class CountShards:
    """The counts of an unfinished store, CSR under ``X``.

    Attributes
    ----------
    indptr
        [cells + 1] int64.
    size
        Counts in a shard.
    total
        Number of shards.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # arrays take this setting where they are opened: an atlas of one gene has only indices of 0
        with zarr.config.set({"array.write_empty_chunks": True}):
            group = zarr.open_group(path, mode="r+")["X"]
            self._arrays = {name: group[name] for name in ("data", "indices")}
        self.indptr = chunks.read_rows(str(path), group["indptr"])
        self.size = int(self._arrays["data"].shards[0])
        self.total = -(-int(self.indptr[-1]) // self.size)

    @classmethod
    def create(cls, path: Path, lengths: np.ndarray, genes: int, layout: Layout) -> CountShards:
        """Write the row pointers of [cells] row lengths, and arrays without shards."""
        group = zarr.open_group(path, mode="r+").create_group("X")
        shape = [len(lengths), genes]
        group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape}
        )
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        create(group, "indptr", len(indptr), "int64", layout)[:] = indptr
        create(group, "data", int(indptr[-1]), "float32", layout)
        create(group, "indices", int(indptr[-1]), "int32", layout)
        return cls(path)

    def files(self, nth: int) -> list[Path]:
        """Return the two files of a shard."""
        keys = ((n, a.metadata.encode_chunk_key((nth,))) for n, a in self._arrays.items())
        return [self._path / "X" / name / key for name, key in keys]

    def write(self, nth: int, data: np.ndarray, indices: np.ndarray) -> list[Path]:
        """Write a shard, whole; returns what is new on disk."""
        first = nth * self.size
        for name, values in (("data", data), ("indices", indices)):
            self._arrays[name][first : first + len(values)] = values
        files = self.files(nth)
        return [*files, *(file.parent for file in files)]

    def require(self, written: int) -> None:
        """Refuse a store without one of the shards that were written.

        Raises
        ------
        InputError
            Naming the file.
        """
        for nth in range(written):
            for file in self.files(nth):
                if not file.is_file():
                    raise InputError(
                        str(file), "was written and is gone", f"delete {self._path.parent}"
                    )


def encoded_bytes(atlas: Atlas) -> tuple[float, float]:
    """Return counts per cell, and bytes on disk per count, of a sample of up to 256 cells."""
    rows = sample_rows(len(atlas.cell_ids))
    counts = atlas.read(rows).counts
    codec = numcodecs.Blosc(cname="zstd", clevel=_LEVEL, shuffle=numcodecs.Blosc.SHUFFLE)
    arrays = (counts.data.astype(np.float32), counts.indices.astype(np.int32))
    encoded = sum(len(codec.encode(a)) for a in arrays)
    return counts.nnz / max(1, len(rows)), encoded / max(1, counts.nnz)

"""Writes an atlas of invented counts, laid out as ``octoscope atlas convert`` lays it out.

    python benchmarks/synthetic_atlas.py OUT.zarr [--cells 200000] [--genes 20000]
        [--expressed 1000] [--categories 8] [--donors 6] [--mixed] [--h5ad OUT.h5ad] [--gzip]

A cell draws genes from its category's proportions (log-normal over genes, so that few genes hold
most of the counts) until it has as many genes as it was given (log-normal over cells); a gene's
count is how often it was drawn. Every cell has a random stream of its own: contents depend on the
seed and the arguments alone. Memory: two shards and what encodes them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import zarr
from anndata.io import write_elem
from numba import njit
from octoscope.atlas import shards
from octoscope.genes import GeneTable, ensembl_of_symbols, reference_genes
from zarr.codecs import Crc32cCodec, ZstdCodec

LAYOUT = shards.Layout()  # as `atlas convert` writes
_BLOCK = 1 << 21  # elements made at a time


@dataclass(frozen=True)
class Shape:
    """What to write; ``mixed``: categories lie interleaved instead of one after the other."""

    cells: int = 200_000
    genes: int = 20_000
    expressed: int = 1_000
    categories: int = 8
    donors: int = 6
    mixed: bool = False
    seed: int = 0


def genes_of(n: int) -> GeneTable:
    """Return ``n`` genes in Ensembl order: those models list first, made-up ones at last."""
    known = reference_genes()
    # not through octoscope.models, which imports torch
    listed = files("octoscope").joinpath("models/data/gene_list_19264.tsv.gz").read_bytes()
    symbols = [line.split("\t")[0] for line in gzip.decompress(listed).decode().splitlines()[1:]]
    ensembl = ensembl_of_symbols(np.array(symbols, dtype=object))
    first = [(e, s) for e, s in zip(ensembl, symbols, strict=True) if e]
    have = {e for e, _ in first}
    pairs = zip(known["ensembl_gene"], known["symbol"], strict=True)
    rest = [(e, s) for e, s in pairs if e not in have]
    invented = [(f"ENSG{990_000_000 + i:011d}", f"MADE{i}") for i in range(n)]
    ids, names = zip(*sorted([*first, *rest, *invented][:n]), strict=True)
    return GeneTable(np.array(ids, dtype=object), np.array(names, dtype=object))


@njit(nogil=True, cache=True)
def _mixed(state: int) -> int:
    """Return the output of SplitMix64 at a state."""
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(nogil=True, cache=True)
def _fill(
    first: int, widths: np.ndarray, kind: np.ndarray, alias: np.ndarray, share: np.ndarray,
    seed: int, data: np.ndarray, indices: np.ndarray,
) -> None:  # fmt: skip
    """Draw the cells from number ``first`` on, each from its own SplitMix64 stream."""
    n = alias.shape[1]
    counts = np.zeros(n, np.int32)
    at = 0
    for c in range(len(widths)):
        # mixed twice: starts one step apart would give neighbours the same stream, shifted
        state = _mixed(_mixed(np.uint64(seed + 1)) + np.uint64(first + c))
        n_genes = 0
        while n_genes < widths[c]:
            state += np.uint64(0x9E3779B97F4A7C15)
            z = _mixed(state)
            gene = np.int64(((z >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))
            if np.float32(z & np.uint64(0xFFFFFF)) >= share[kind[c], gene]:
                gene = alias[kind[c], gene]
            if counts[gene] == 0:
                n_genes += 1
            counts[gene] += 1
        for gene in range(n):
            if counts[gene]:
                data[at], indices[at] = counts[gene], gene
                counts[gene] = 0
                at += 1


def _alias(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Vose's tables of proportions: other outcome, and the share (of 2^24) of the own."""
    n = len(p)
    scaled, alias, share = p * n / p.sum(), np.arange(n), np.ones(n)
    small, large = list(np.flatnonzero(scaled < 1)), list(np.flatnonzero(scaled >= 1))
    while small and large:
        s, g = small.pop(), large[-1]
        share[s], alias[s] = scaled[s], g
        scaled[g] -= 1 - scaled[s]
        if scaled[g] < 1:
            small.append(large.pop())
    return alias.astype(np.int32), (share * (1 << 24)).astype(np.float32)


class Cells:
    """The cells of a shape: their columns, their row pointers, and their counts in blocks."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        rng = np.random.default_rng(shape.seed)
        n = shape.cells
        base = rng.lognormal(0, 2, shape.genes)
        kinds = [base * rng.lognormal(0, 0.5, shape.genes) for _ in range(shape.categories)]
        tables = [_alias(p) for p in kinds]
        self._alias = np.stack([t[0] for t in tables])
        self._share = np.stack([t[1] for t in tables])
        width = rng.lognormal(-0.045, 0.3, n) * shape.expressed  # the mean is ``expressed``
        # so that no cell has to look for the rarest genes
        self._n_genes = np.clip(np.rint(width), 1, shape.genes * 0.4).astype(np.int64)
        position = np.arange(n)
        self.kind = position % shape.categories if shape.mixed else position * shape.categories // n
        self.donor = rng.integers(0, shape.donors, n)
        self.indptr = np.concatenate([[0], np.cumsum(self._n_genes)])

    @property
    def obs(self) -> pd.DataFrame:
        """Cell types and donors."""
        kinds = [f"type {i:02d}" for i in range(self.shape.categories)]
        donors = [f"donor {i}" for i in range(self.shape.donors)]
        return pd.DataFrame(
            {
                "cell_type": pd.Categorical.from_codes(self.kind, kinds),
                "donor_id": pd.Categorical.from_codes(self.donor, donors),
            },
            index=[f"cell-{i:08d}" for i in range(self.shape.cells)],
        )

    @property
    def var(self) -> pd.DataFrame:
        """Ensembl ids and symbols."""
        genes = genes_of(self.shape.genes)
        names = pd.Index(genes.ensembl.astype(str), name="feature_id")
        return pd.DataFrame({"feature_name": genes.symbol.astype(str)}, index=names)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ``data, indices`` of consecutive cells."""
        first = 0
        while first < self.shape.cells:
            reach = np.searchsorted(self.indptr, self.indptr[first] + _BLOCK, side="right") - 1
            stop = min(max(first + 1, int(reach)), self.shape.cells)
            size = int(self.indptr[stop] - self.indptr[first])
            data, indices = np.empty(size, np.float32), np.empty(size, np.int32)
            part = slice(first, stop)
            tables = (self.kind[part], self._alias, self._share)
            _fill(first, self._n_genes[part], *tables, self.shape.seed, data, indices)
            yield data, indices
            first = stop


class _Shards:
    """Fills an array with whole shards."""

    def __init__(self, group: zarr.Group, name: str, size: int, dtype: str) -> None:
        self._array = shards.create(group, name, size, dtype, LAYOUT)
        self._room = np.empty(min(self._array.shards[0], size), dtype)
        self._size, self._n, self._at = size, 0, 0

    def append(self, values: np.ndarray) -> None:
        while len(values):
            take = min(len(values), len(self._room) - self._n)
            self._room[self._n : self._n + take] = values[:take]
            self._n += take
            values = values[take:]
            if self._n == len(self._room) or self._at + self._n == self._size:
                self._array[self._at : self._at + self._n] = self._room[: self._n]
                self._at, self._n = self._at + self._n, 0


def _frame(root: Any, cells: Cells, kwargs: dict[str, Any]) -> Any:
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    write_elem(root, "obs", cells.obs, dataset_kwargs=kwargs)
    write_elem(root, "var", cells.var, dataset_kwargs=kwargs)
    for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        write_elem(root, name, {})
    group = root.create_group("X")
    shape = [cells.shape.cells, cells.shape.genes]
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape})
    return group


def write_zarr(path: str | Path, shape: Shape) -> None:
    """Write Zarr v3: chunks of 2^17 elements in shards of 64 MB, Blosc (zstd) and CRC32C."""
    cells = Cells(shape)
    with (
        zarr.config.set({"default_zarr_format": 3, "array.write_empty_chunks": True}),
        anndata.settings.override(auto_shard_zarr_v3=False),
    ):
        root = zarr.open_group(path, mode="w-", zarr_format=3)
        codecs = [ZstdCodec(level=5), Crc32cCodec()]
        group = _frame(root, cells, {"compressors": codecs})
        size = int(cells.indptr[-1])
        _Shards(group, "indptr", len(cells.indptr), "int64").append(cells.indptr)
        data, indices = (
            _Shards(group, name, size, dtype)
            for name, dtype in (("data", "float32"), ("indices", "int32"))
        )
        for values, columns in cells.blocks():
            data.append(values)
            indices.append(columns)


def write_h5ad(path: str | Path, shape: Shape, compression: str | None = None) -> None:
    """Write the same content as h5ad: in one piece, as anndata does, or with ``gzip`` in chunks."""
    cells = Cells(shape)
    with h5py.File(path, "w-") as root:
        group = _frame(root, cells, {})
        size = int(cells.indptr[-1])
        chunks = (
            {"chunks": (min(LAYOUT.chunk, size),), "compression": compression}
            if compression
            else {}
        )
        group.create_dataset("indptr", data=cells.indptr)
        data = group.create_dataset("data", (size,), "f4", **chunks)
        indices = group.create_dataset("indices", (size,), "i4", **chunks)
        at = 0
        for values, columns in cells.blocks():
            data[at : at + len(values)], indices[at : at + len(values)] = values, columns
            at += len(values)


def add_arguments(parser: argparse.ArgumentParser, **defaults: int) -> None:
    """Add the arguments that make a shape."""
    for name in ("cells", "genes", "expressed", "categories", "donors", "seed"):
        default = defaults.get(name, getattr(Shape(), name))
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--mixed", action="store_true", help="categories interleaved")


def shape_of(a: argparse.Namespace) -> Shape:
    """Return the shape that parsed arguments ask for."""
    names = ("cells", "genes", "expressed", "categories", "donors", "mixed", "seed")
    return Shape(**{n: getattr(a, n) for n in names})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="a Zarr store that is not there yet")
    add_arguments(parser)
    parser.add_argument("--h5ad", help="write the same content here too")
    parser.add_argument("--gzip", action="store_true", help="compress the h5ad")
    a = parser.parse_args()
    started = time.perf_counter()
    write_zarr(a.out, shape_of(a))
    if a.h5ad:
        write_h5ad(a.h5ad, shape_of(a), "gzip" if a.gzip else None)
    print(json.dumps({**vars(a), "seconds": round(time.perf_counter() - started, 1)}))

"""Storage layout of an atlas and its cost: objects, bytes, checksums, read over needed."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from octoscope.atlas import chunks, frames, open_store
from octoscope.atlas.atlas import Atlas
from octoscope.atlas.cell_index import CellIndex
from octoscope.atlas.counts import sample_rows
from octoscope.atlas.findings import Findings, some_of
from octoscope.atlas.shards import VALUE, Layout
from octoscope.config import AtlasConfig
from octoscope.errors import InputError

UNIT = 512  # cells of a unit, as runs have them by default
_TINY = 1 << 16  # bytes; a request to an object store costs as much as reading this
_MANY = 100_000  # objects
_LARGE = 1 << 24  # bytes of a decoded chunk
_WASTE = 2.0  # bytes decoded per byte used, as `plan` warns
_UNITS = 200  # of which the cost is added up, spread over the atlas


@dataclass(frozen=True)
class ArrayCost:
    """One array that runs read.

    Attributes
    ----------
    array
        Its name in the store.
    chunk
        Shape of what is decoded at once; None where HDF5 stores the array in one piece.
    objects
        Chunks, or shards where there are some: what is requested of a store.
    stored
        Bytes on disk; None where asking is not free.
    decoded
        Bytes in memory; of text, of the references to it.
    checksum
        Whether any changed bit is noticed.
    """

    array: str
    chunk: tuple[int, ...] | None
    objects: int
    stored: int | None
    decoded: int
    checksum: bool


def arrays_of(root: Any, config: AtlasConfig, counts: str | None) -> Iterator[Any]:
    """Yield the arrays that runs read: ids, named columns, counts; not those that are damaged."""
    donor = [config.replicate_key] if config.replicate_key else []
    genes = [k for k in (config.gene_id_key, config.symbol_key) if k]
    obs, var, node = _member(root, "obs"), None, None
    with suppress(InputError):  # who looks at its values says so
        var = open_store.genes_of(root, counts or "X", config.path)
    for group, columns in (
        (obs, [*config.category_key, *donor, "is_primary_data"]),
        (var, genes),
    ):
        if group is None:
            continue
        have = [c for c in dict.fromkeys(columns) if c in frames.frame_columns(group)]
        for column in (frames.index_name(group), *have):
            with suppress(InputError):
                yield from [p.array for p in frames.column_parts(group, column, config.path)]
    with suppress(InputError):
        node = open_store.element(root, counts, config.path) if counts else None
    if hasattr(node, "keys"):
        parts = (_member(node, name) for name in ("data", "indices", "indptr"))
        yield from (p for p in parts if p is not None)
    elif node is not None:
        yield node


def _member(group: Any, name: str) -> Any | None:
    try:
        return chunks.member(group, name, "")
    except (chunks.DamageError, chunks.FilterError):  # who looks at its values says so
        return None


def cost_of_array(array: Any) -> ArrayCost:
    """Describe one array; reads no chunk."""
    shape = tuple(int(n) for n in array.shape)
    stored = None
    if isinstance(array, zarr.Array):
        unit = tuple(int(n) for n in array.shards or array.chunks)
        if isinstance(array.store_path.store, LocalStore):
            stored = int(array.nbytes_stored())
    else:
        unit = array.chunks or tuple(max(1, n) for n in shape)
        stored = int(array.id.get_storage_size())
    return ArrayCost(
        chunks.name_of(array),
        None if array.chunks is None else tuple(int(n) for n in array.chunks),
        math.prod(-(-n // c) for n, c in zip(shape, unit, strict=True)),
        stored,
        math.prod(shape) * array.dtype.itemsize,
        chunks.has_checksum(array),
    )


def check_layout(
    arrays: list[ArrayCost], counts: str | None, root: Any, findings: Findings
) -> None:
    """Note what the arrays cost; ``counts`` is the place of the counts."""
    unchecked = [a.array for a in arrays if not a.checksum]
    if unchecked:
        findings.warning(
            "store",
            f"no checksum in {some_of(unchecked)}",
            "a changed bit can pass unseen; `octoscope atlas convert` writes checksums",
        )
    if getattr(getattr(root, "metadata", None), "zarr_format", None) == 2:
        findings.note("store", "Zarr format 2", "it is read; it has no shards")
    top = (counts or "nowhere", (counts or "nowhere").replace("raw.X", "raw/X"))
    tiny = []
    for a in arrays:
        size = (a.decoded if a.stored is None else a.stored) / max(1, a.objects)
        if a.array.startswith(top) and a.objects > 1 and size < _TINY:
            tiny.append(f"{a.array} ({a.objects:,} of {size / 1e3:.1f} KB)")
    objects = sum(a.objects for a in arrays)
    if isinstance(root, zarr.Group) and tiny:
        findings.warning(
            "store",
            f"small objects: {some_of(tiny)}",
            "each costs a request on an object store; `octoscope atlas convert` writes shards",
        )
    if isinstance(root, zarr.Group) and objects > _MANY:
        findings.warning(
            "store",
            f"{objects:,} objects",
            "listing and copying them is slow; `octoscope atlas convert` writes shards",
        )


def check_read_cost(
    atlas: Atlas, config: AtlasConfig, index: CellIndex | None, seed: int, findings: Findings
) -> float | None:
    """Note what units decode beside what they use; returns the ratio where there are categories."""
    n = len(atlas.cell_ids)
    unit = UNIT * atlas.cost_of(np.arange(n)).needed / max(1, n)
    some = sample_rows(n)[::32]
    one = float(np.median([atlas.cost_of(some[i : i + 1]).read for i in range(len(some))] or [0]))
    if one > max(_LARGE, _WASTE * unit):
        findings.warning(
            atlas.counts_source,
            f"one cell decodes {one / 1e6:.0f} MB, {UNIT} cells use {unit / 1e6:.1f} MB",
            f"smaller chunks: `{command(config, seed)}`",
        )
    if index is None:
        return None
    parts = [
        half[first : first + UNIT]
        for halves in index.halves for half in halves for first in range(0, len(half), UNIT)
    ]  # fmt: skip
    spread = np.unique(np.linspace(0, len(parts) - 1, min(len(parts), _UNITS)).astype(int))
    costs = [atlas.cost_of(parts[i]) for i in spread]
    read, needed = sum(c.read for c in costs), max(1, sum(c.needed for c in costs))
    # a converted atlas decodes about a chunk more than a unit uses
    converted = 1 + len(costs) * Layout().chunk * VALUE / needed
    if read / needed > max(_WASTE, 1.5 * converted):
        findings.warning(
            atlas.counts_source,
            f"units of {UNIT} cells decode {read / needed:.1f} times the bytes that they use",
            f"cells of a category and half should lie together: `{command(config, seed)}`",
        )
    return round(read / needed, 2)


def command(config: AtlasConfig, seed: int) -> str:
    """Return the conversion that makes runs with these settings read little beside their cells."""
    words = ["octoscope", "atlas", "convert", config.path, "sorted.zarr"]
    for key in config.category_key:
        words += ["--category", key]
    for option, value, usual in (
        ("--counts", config.counts, "auto"),
        ("--gene-id", config.gene_id_key, None),
        ("--donor", config.replicate_key, None),
        ("--duplicate-genes", config.duplicate_genes, "refuse"),
        ("--symbol-key", config.symbol_key, "feature_name"),
        ("--gene-aliases", config.gene_aliases, None),
        ("--missing-chunks", config.missing_chunks, "refuse"),
        ("--fractional-counts", config.fractional_counts, "refuse"),
        ("--seed", str(seed), "0"),
    ):
        if value is not None and value != usual:
            words += [option, value]
    if not config.primary_only:
        words.append("--all-data")
    return shlex.join(words)

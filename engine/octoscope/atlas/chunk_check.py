"""Reads every chunk of an atlas that a run could use, once, and lists every fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from octoscope.atlas import chunks, frames, open_store
from octoscope.atlas.counts import candidates, count_fault, find_counts, look_for_counts
from octoscope.atlas.open_root import open_root
from octoscope.config import AtlasConfig
from octoscope.errors import InputError, reading

Look = Callable[[np.ndarray, int], str | None]  # values, and the row of the first


_MOST = 1000  # faults of an array that are listed


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    array
        Its name in the store.
    chunk
        Place in the grid of chunks; None where the array as a whole is at fault.
    object
        Key of the object that holds the chunk, in Zarr.
    what
        What is wrong.
    """

    array: str
    chunk: str | None
    object: str | None
    what: str

    def __str__(self) -> str:
        where = self.array
        if self.chunk is not None:
            kind = "" if self.chunk.startswith("rows") else "chunk "
            where += f", {kind}{self.chunk}"
        return where + (f" ({self.object})" if self.object else "") + f": {self.what}"


@dataclass
class AtlasCheck:
    """Results of reading an atlas: what was read, and its faults.

    Attributes
    ----------
    counts
        Where the counts are.
    chunks
        Number of chunks read.
    checksums
        Array -> whether its codec has a checksum, so that any changed bit is noticed.
    faults
        In the order of reading: obs, var, counts; at most one per chunk.
    """

    counts: str
    chunks: int = 0
    checksums: dict[str, bool] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def read(self, array: Any, look: Look | None = None, *, fill_missing: bool = False) -> None:
        """Read an array chunk by chunk and note what is wrong; ``look`` judges values."""
        name = chunks.name_of(array)
        self.checksums[name] = chunks.has_checksum(array)
        before = len(self.faults)
        for chunk in chunks.chunks_of(array):
            if len(self.faults) - before >= _MOST:
                self.add(name, f"more than {_MOST:,} faults: it was not read to its end")
                return
            self.chunks += 1
            values, problem = chunks.try_chunk(array, chunk, fill_missing=fill_missing)
            if values is not None and look is not None:
                problem = look(values, chunk[0] * chunks.grid_of(array)[0])
            if problem is not None:
                key = chunks.key_of(array, chunk)
                file_key = None if key is None else f"{name}/{key}"
                self.faults.append(Fault(name, chunks.number_of(array, chunk), file_key, problem))

    def add(self, array: str, what: str) -> None:
        """Note a fault of a whole array."""
        self.faults.append(Fault(array, None, None, what))


def check(config: AtlasConfig) -> AtlasCheck:
    """Read the counts, the obs index and named columns, and var, and list every fault.

    A fault is a chunk that is missing or cannot be decoded, a gene's or a category's number out of
    range, row pointers that do not fit, and a value that is no count. Unsorted and repeated gene
    numbers are no faults. Memory: one chunk, and the row pointers.

    Raises
    ------
    InputError
        If it is no AnnData store, or counts or a named column are not in it.
    """
    with reading(config.path, chunks.RESTORE):
        return _checked(config)


def _checked(config: AtlasConfig) -> AtlasCheck:
    root = open_root(config.path)
    name = _counts_name(root, config)
    result = AtlasCheck(name)
    obs = root["obs"]
    var = open_store.genes_of(root, name, config.path)
    donor = [config.replicate_key] if config.replicate_key else []
    gene_id = [config.gene_id_key] if config.gene_id_key else []
    primary = ["is_primary_data"] if config.primary_only else []
    _check_columns(result, obs, [*config.category_key, *donor], primary, config)
    _check_columns(result, var, gene_id, [config.symbol_key], config)
    node = open_store.element(root, name, config.path)
    if hasattr(node, "keys"):
        _check_sparse(result, node, config)
    else:
        result.read(node, _no_count(config), fill_missing=config.fill_missing)
    return result


def _counts_name(root: Any, config: AtlasConfig) -> str:
    """Return where a run takes counts from, or would stop because of damage."""
    present = []
    for name in candidates(config):
        try:
            rows, problem = look_for_counts(root, name, config)
        except open_store.LayoutError:
            continue
        except InputError:
            return name
        if rows is not None and problem is None:
            return name
        if rows is not None:
            present.append(name)
    return present[0] if present else find_counts(root, config)[0]  # which says what is there


def _check_columns(
    result: AtlasCheck, group: Any, named: list[str], optional: list[str], config: AtlasConfig
) -> None:
    path, index = config.path, frames.index_name(group)
    have = frames.frame_columns(group)
    for name in named:
        if name not in have:
            where = f"{path}: {chunks.name_of(group)}"
            raise InputError(where, f"no column {name!r}; it has {have}", "name one of them")
    expected: int | None = None  # rows, where the index can be read
    for name in dict.fromkeys([index, *named, *(c for c in optional if c in have)]):
        try:
            parts = frames.column_parts(group, name, path)
        except chunks.DamageError as error:
            result.add(f"{chunks.name_of(group)}/{name}", error.problem)
            continue
        rows = int(parts[-1].array.shape[0])
        expected = rows if name == index else expected
        if expected is not None and rows != expected:
            where = f"{chunks.name_of(group)}/{name}"
            result.add(where, f"{rows:,} values for {expected:,} rows")
            continue
        for part in parts:
            look = None if part.limits is None else _within(*part.limits)
            fill_missing = part.fill_missing or (config.fill_missing and name != index)
            result.read(part.array, look, fill_missing=fill_missing)


def _check_sparse(result: AtlasCheck, group: Any, config: AtlasConfig) -> None:
    path, fill, no_count = config.path, config.fill_missing, _no_count(config)
    nodes = []
    for name in ("indptr", "indices", "data"):
        try:
            nodes.append(chunks.required(group, name, path))
        except chunks.DamageError as error:
            result.add(f"{chunks.name_of(group)}/{name}", error.problem)
    if len(nodes) < 3:
        return
    pointers, indices, data = nodes
    rows, columns = (int(n) for n in group.attrs["shape"])
    read: list[np.ndarray] = []
    if pointers.shape == (rows + 1,):
        result.read(pointers, lambda values, _: read.append(values.astype(np.int64)))
    else:
        result.add(chunks.name_of(pointers), f"shape {pointers.shape}, expected {(rows + 1,)}")
    indptr = None
    if sum(map(len, read)) == pointers.shape[0]:
        indptr = np.concatenate(read)
        fault = open_store.indptr_fault(indptr, rows, int(data.shape[0]))
        if fault is not None:
            result.add(chunks.name_of(pointers), fault)
            indptr = None
    if indices.shape != data.shape:
        name = chunks.name_of(indices)
        result.add(name, f"{indices.shape[0]} of them for {data.shape[0]} values")
    within = _within(0, columns)
    result.read(
        indices,
        lambda values, first: (
            within(values, first)
            or (None if indptr is None else open_store.zeros_fault(values, first, indptr))
        ),
    )

    def of_data(values: np.ndarray, first: int) -> str | None:
        unsure = not fill and open_store.unsure_zeros(data, values)
        return no_count(values, first) or (open_store.UNSURE if unsure else None)

    result.read(data, of_data, fill_missing=fill)


def _within(low: int, stop: int) -> Look:
    def look(values: np.ndarray, first: int) -> str | None:
        fault = chunks.range_fault(values, low, stop)
        return None if fault is None else fault[1]

    return look


def _no_count(config: AtlasConfig) -> Look:
    def look(values: np.ndarray, first: int) -> str | None:
        fault = count_fault(values.reshape(-1), whole=config.fractional_counts == "refuse")
        return None if fault is None else f"value {fault[1]} where a raw count is expected"

    return look

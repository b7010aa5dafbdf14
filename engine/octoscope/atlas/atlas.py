"""An opened atlas: validated genes, cells by category and half, and a stream of count batches."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from octoscope.atlas import frames, open_store
from octoscope.atlas.cell_digests import (
    GENES,
    XXH3,
    CellDigests,
    differing,
    is_reading,
    kind_of,
)
from octoscope.atlas.cell_index import CellIndex, build_index
from octoscope.atlas.chunks import RESTORE
from octoscope.atlas.count_files import CountFiles, files_of
from octoscope.atlas.counts import Rows, canonical, check_counts, find_counts, sample_rows
from octoscope.atlas.gene_columns import absent_id_column, where_ids_are
from octoscope.atlas.open_root import open_root
from octoscope.config import AtlasConfig
from octoscope.config.run_settings import RunSettings
from octoscope.errors import InputError, reading, some
from octoscope.genes import GeneTable, NoGeneIds, read_aliases, resolve_genes

_AHEAD = 1 << 21  # values decoded at a time: 16 MB, and what is read of them again
_MOST_NAMED = 4  # chunks that a message names
_SAMPLE_CELLS = 8192  # that planning reads and digests: a third of a second
_SAMPLE_BLOCK = 64  # cells of one digest there
PLANNED = "when the run was planned"
_AS_PLANNED = "restore the atlas as it was planned with, or run into a new directory"


@dataclass(frozen=True)
class CellBatch:
    """Cells in reading order.

    Attributes
    ----------
    rows
        [cells] int64 positions in the atlas.
    cell_ids
        [cells] str.
    counts
        [cells, genes] float32 CSR, canonical; columns follow ``Atlas.genes``.
    """

    rows: np.ndarray
    cell_ids: np.ndarray
    counts: sparse.csr_matrix


class Atlas:
    """An AnnData store opened for reading. The user's store is never written to.

    Raises
    ------
    InputError
        If the store, its counts, its gene ids or the named columns cannot be used.
    """

    def __init__(self, config: AtlasConfig, *, counts: tuple[str, Rows] | None = None) -> None:
        """Open the store; ``counts``: their place and rows, where they are read from elsewhere."""
        self.config = config
        with reading(config.path, RESTORE):
            self._open(config, counts)

    def _open(self, config: AtlasConfig, counts: tuple[str, Rows] | None) -> None:
        self._root = open_root(config.path)
        self.cell_ids = frames.read_index(self._root["obs"], config.path)
        self.counts_source, self._rows = counts or find_counts(self._root, config)
        var = open_store.genes_of(self._root, self.counts_source, config.path)
        ids = self._gene_ids(var)
        symbols = None
        if config.symbol_key in frames.frame_columns(var):
            symbols = frames.as_text(self._column(var, config.symbol_key), missing="")
        self.genes: GeneTable
        try:
            self.genes, self._gene_of_column, self.gene_report = resolve_genes(
                ids,
                symbols,
                where=f"{config.path}: var[{config.gene_id_key or 'index'}]",
                duplicates=config.duplicate_genes,
                aliases=read_aliases(config.gene_aliases) if config.gene_aliases else None,
            )
        except NoGeneIds as error:
            fix = where_ids_are(var, config.path, self.cell_ids) or error.fix
            raise NoGeneIds(error.where, error.problem, fix) from None
        self._column_ids = ids
        # where a stored column goes; None: it stays where it is
        same = np.array_equal(self._gene_of_column, np.arange(len(self.genes)))
        self._new_column = None if same else self._gene_of_column.astype(np.int32)
        self._drops = bool((self._gene_of_column < 0).any())
        self._lock = threading.Lock()
        if self._rows.shape != (len(self.cell_ids), len(ids)):
            raise InputError(
                f"{config.path}: {self.counts_source}",
                f"shape {self._rows.shape}, expected {(len(self.cell_ids), len(ids))}",
                "rewrite the store with anndata",
            )
        self._check_sample()

    def _column(self, group: Any, name: str) -> pd.Series:
        config = self.config
        return frames.read_column(group, name, config.path, fill_missing=config.fill_missing)

    def _gene_ids(self, var: Any) -> np.ndarray:
        key = self.config.gene_id_key
        if key is None:
            return frames.read_index(var, self.config.path)
        if key not in frames.frame_columns(var):
            raise absent_id_column(self._root, var, key, self.config.path)
        return frames.as_text(self._column(var, key))

    def _check_sample(self) -> None:
        rows = sample_rows(len(self.cell_ids))
        self._checked(rows, *self._rows.rows(rows))

    def _checked(
        self, rows: np.ndarray, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray
    ) -> sparse.csr_matrix:
        """Return rows as a matrix of counts, as they are stored."""
        shape = (len(rows), self._rows.shape[1])
        # the readers saw that every index is in range
        small = max(*shape, len(data)) < 1 << 31
        kind = np.int32 if small else np.int64
        parts = (data, indices.astype(kind, copy=False), indptr.astype(kind, copy=False))
        matrix = sparse.csr_matrix(parts, shape=shape)

        def location(row: int, nth: int, column: int) -> str:
            return f"{self.config.path}: {self._rows.chunk_of(int(rows[row]), nth, column)}"

        whole = self.config.fractional_counts == "refuse"
        check_counts(matrix, self.cell_ids[rows], self._column_ids, location, whole=whole)
        return matrix

    @property
    def cost(self) -> open_store.ReadCost:
        """Elements decoded and needed so far."""
        return self._rows.cost

    def cost_of(self, rows: np.ndarray) -> open_store.ReadCost:
        """Return the bytes that reading ascending rows decodes and uses; reads nothing."""
        return self._rows.cost_of(np.asarray(rows, np.int64))

    def most_expressed(self, rows: np.ndarray) -> int:
        """Return an upper bound of the genes with a count above zero in any one of the cells."""
        if isinstance(self._rows, open_store.SparseRows) and len(rows):
            stored = self._rows.indptr[rows + 1] - self._rows.indptr[rows]
            return min(int(stored.max()), len(self.genes))
        return len(self.genes)

    @property
    def obs_columns(self) -> list[str]:
        """Names of the obs columns."""
        return frames.frame_columns(self._root["obs"])

    def column(self, name: str, field: str) -> pd.Series:
        """Return an obs column.

        Raises
        ------
        InputError
            If there is no such column; ``field`` is the setting that named it.
        """
        have = self.obs_columns
        if name not in have:
            raise InputError(
                f"{self.config.path}: obs", f"no column {name!r}; it has {have}", f"correct {field}"
            )
        return self._column(self._root["obs"], name)

    def index(self, seed: int, donor_groups: int = 0) -> CellIndex:
        """Group the selected cells by category and donor-disjoint half, and into donor groups."""
        c = self.config
        columns = [self.column(k, "atlas.category_key") for k in c.category_key]
        donors = (
            None if c.replicate_key is None else self.column(c.replicate_key, "atlas.replicate_key")
        )
        primary = None
        if c.primary_only and "is_primary_data" in self.obs_columns:
            primary = frames.as_bool(self.column("is_primary_data", "atlas"), c.path)
        return build_index(
            self.cell_ids, columns, donors, primary, c.categories, seed=seed, where=c.path,
            donor_groups=donor_groups,
        )  # fmt: skip

    def index_of(self, settings: RunSettings) -> CellIndex:
        """Group the selected cells as a run's settings ask: the same in planning and in units.

        Raises
        ------
        InputError
            If a column that is named does not exist.
        """
        return self.index(settings.seed, settings.donor_groups)

    def fingerprint(self, index: CellIndex) -> str:
        """Return a digest of ids, shape, row lengths and the selection (not of every value).

        It sees added, removed, reordered or relabelled cells and genes; a count changed in place
        keeps it (:meth:`sample`, and the digests of what units read, see that).
        """
        digest = hashlib.sha256()
        for ids in (self.cell_ids, self._column_ids):
            digest.update("\n".join(ids).encode())
        digest.update(repr((self.counts_source, self._rows.shape)).encode())
        if isinstance(self._rows, open_store.SparseRows):
            digest.update(self._rows.indptr.tobytes())
        for rows in (r for halves in index.halves for r in halves):
            digest.update(rows.astype(np.int64).tobytes() + b"|")
        return digest.hexdigest()

    def sample(self, kind: str = XXH3) -> dict[str, Any]:
        """Read up to 8,192 cells, all of a smaller atlas, and return the digests of their counts.

        ``kind``: see :class:`~octoscope.atlas.cell_digests.CellDigests`.

        Raises
        ------
        InputError
            As :meth:`read`.
        """
        digests = CellDigests(block=_SAMPLE_BLOCK, kind=kind)
        for batch in self.stream(self._sampled(), _SAMPLE_BLOCK):
            digests.add(batch.counts)
        return digests.as_json()

    def _sampled(self) -> np.ndarray:
        return sample_rows(len(self.cell_ids), _SAMPLE_CELLS)

    def require_sample(self, planned: dict[str, Any], when: str) -> None:
        """Refuse an atlas whose sampled cells have other counts than when a plan was made.

        Raises
        ------
        InputError
            Naming array, chunk and cells; ``when`` says when they were read before.
        """
        if not is_reading(planned):
            return
        differences = differing(self.sample(kind_of(planned)), planned)
        if differences:
            first, stop, what = differences[0]
            raise self.other_counts(self._sampled()[first:stop], what, when)

    @cached_property
    def _files(self) -> dict[str, CountFiles]:
        return files_of(self._rows.arrays, self.config.path)

    def count_files(self) -> dict[str, Any]:
        """Return what a plan notes of the files that hold counts; {}: nothing is known of them."""
        return {name: files.as_json() for name, files in self._files.items()}

    def require_count_files(
        self, noted: dict[str, Any], when: str, rows: np.ndarray | None = None
    ) -> list[str]:
        """Refuse counts whose files have other stored checksums than when a plan noted them.

        Returns the files that were written since and have none. ``rows``: of their files alone.

        Raises
        ------
        InputError
            Naming array and file; ``when`` says when they were noted.
        """
        indptr = self._rows.indptr if isinstance(self._rows, open_store.SparseRows) else None
        later: list[str] = []
        for name, files in self._files.items():
            read = None if rows is None else files.holding(np.asarray(rows, np.int64), indptr)
            changed, sure = files.changed(noted.get(name), read)
            if changed and sure:
                raise InputError(
                    f"{self.config.path}: {some(changed, _MOST_NAMED)}",
                    f"holds other bytes than {when}",
                    _AS_PLANNED,
                )
            later += changed
        return later

    def other_counts(self, rows: np.ndarray, what: str, when: str) -> InputError:
        """Return the error for cells whose counts have changed, with the chunks that hold them.

        ``what`` as :func:`~octoscope.atlas.cell_digests.differing` says it.
        """
        chunk_names = self._rows.chunk_names(np.asarray(rows, np.int64), genes=what == GENES)
        more = (
            f" and {len(chunk_names) - _MOST_NAMED} more chunks"
            if len(chunk_names) > _MOST_NAMED
            else ""
        )
        first, last = self.cell_ids[rows[0]], self.cell_ids[rows[-1]]
        return InputError(
            f"{self.config.path}: {'; '.join(chunk_names[:_MOST_NAMED])}{more}",
            f"among the cells {first} to {last} one has other counts than {when}",
            _AS_PLANNED,
        )

    def read(self, rows: np.ndarray) -> CellBatch:
        """Read ascending rows as canonical counts over ``genes``.

        Raises
        ------
        InputError
            If a chunk is missing, cannot be decoded or names a gene that is not there, or a value
            is not a raw count.
        """
        with self._lock:  # one decoder window per atlas
            stored = self._rows.rows(np.asarray(rows, np.int64))
        matrix = self._checked(rows, *stored)
        if self._new_column is not None:
            data, indptr, columns = matrix.data, matrix.indptr, self._new_column[matrix.indices]
            if self._drops:
                keep = columns >= 0
                data, columns = data[keep], columns[keep]
                indptr = np.concatenate([[0], np.cumsum(keep)])[indptr].astype(indptr.dtype)
            matrix = sparse.csr_matrix((data, columns, indptr), (len(rows), len(self.genes)))
        return CellBatch(np.asarray(rows), self.cell_ids[rows], canonical(matrix))

    def stream(self, rows: np.ndarray, batch_cells: int) -> Iterator[CellBatch]:
        """Yield batches of ascending rows, reading ahead in a thread.

        Batches that lie together are read together, as many as decode ``_AHEAD`` values (at least
        one batch, and one alone at first, so that work can begin).
        """
        groups = self._groups(np.asarray(rows, np.int64), batch_cells)
        if not groups:
            return
        with ThreadPoolExecutor(1, thread_name_prefix="atlas") as pool:
            ahead: Future[CellBatch] | None = pool.submit(self.read, groups[0])
            for following in [*groups[1:], None]:
                assert ahead is not None
                cells = ahead.result()
                ahead = pool.submit(self.read, following) if following is not None else None
                yield from _batches(cells, batch_cells)

    def _groups(self, rows: np.ndarray, batch_cells: int) -> list[np.ndarray]:
        """Cut rows into what is read at a time: whole batches."""
        ends = np.append(np.arange(batch_cells, len(rows), batch_cells), len(rows))
        if not len(rows):
            return []
        decoded = self._rows.decoded(rows)[ends - 1].tolist()
        groups, start, before = [], 0, -_AHEAD  # the first batch is a group
        for i, end in enumerate(ends.tolist()):
            if i + 1 == len(ends) or decoded[i + 1] - before > _AHEAD:
                groups.append(rows[start:end])
                start, before = end, decoded[i]
        return groups


def _batches(cells: CellBatch, batch_cells: int) -> Iterator[CellBatch]:
    """Cut cells into batches that share its memory."""
    counts = cells.counts
    for first in range(0, len(cells.rows), batch_cells):
        part = slice(first, min(first + batch_cells, len(cells.rows)))
        lo, hi = counts.indptr[part.start], counts.indptr[part.stop]
        indptr = counts.indptr[part.start : part.stop + 1] - lo
        shape = (part.stop - part.start, counts.shape[1])
        batch = sparse.csr_matrix((counts.data[lo:hi], counts.indices[lo:hi], indptr), shape)
        batch.has_canonical_format = True
        yield CellBatch(cells.rows[part], cells.cell_ids[part], batch)

"""The matrices of a run directory, as analyses read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd

from octoscope.analysis.derived_views import DerivedViews
from octoscope.analysis.donor_jackknife import LeaveOneGroupOut
from octoscope.analysis.finished_matrices import GeneMoments
from octoscope.analysis.matrix import MatrixSource, matrix_bytes
from octoscope.errors import InputError
from octoscope.results import open_matrix, stored_sums
from octoscope.results.mean_cell_matrix import eligible_in_mean_cell, present_genes
from octoscope.results.stored_sums import read_finished_record
from octoscope.run_plan.values import Plan
from octoscope.run_plan.work_names import layer_name, matrix_work, pairs_work, residual_work
from octoscope.store import tiles
from octoscope.store.commits import read_record
from octoscope.store.manifest import require_success
from octoscope.store.parquet import read_table
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot
from octoscope.store.sealed_run import SealedRun

_RECENT = 4  # matrices that a process read last and keeps open


@lru_cache(maxsize=4)
def plan_of(run: str, sealed: bool = False) -> Plan:
    """Return the plan of a run; a process reads it once, it never changes."""
    return load_plan(_opened(run, sealed))


def _opened(run: str, sealed: bool) -> RunRoot:
    root = RunRoot(run)
    return _sealed(root.url, root.read("_SUCCESS")) if sealed else root


@lru_cache(maxsize=4)
def _sealed(run: str, _: bytes | None) -> SealedRun:
    """Open a finished run; a process reads its manifest once for each content of ``_SUCCESS``."""
    return SealedRun(RunRoot(run))


class RunMatrices:
    """The finished matrices of a run directory; see :class:`~.FinishedMatrices`.

    Parameters
    ----------
    run
        Path or URL of the run directory.
    sealed
        The run is finished: each object is compared with its digest when it is first read.

    Raises
    ------
    DamagedRunError
        If ``sealed`` and the run is unfinished, or its manifest does not match.
    """

    def __init__(self, run: str, sealed: bool = False) -> None:
        self._root, self._sealed = _opened(run, sealed), sealed
        self.url = self._root.url

    def __reduce__(self) -> tuple[type, tuple[str, bool]]:
        return RunMatrices, (self.url, self._sealed)

    def __dask_tokenize__(self) -> tuple[str, str, bool]:
        return "octoscope.RunMatrices", self.url, self._sealed

    @property
    def plan(self) -> Plan:
        """The plan of the run."""
        return plan_of(self.url, self._sealed)

    def has(self, work: str) -> bool:
        """Tell whether a piece of work is finished."""
        return read_record(self._root, work, self.plan.hash) is not None

    def sums(self, model: str, category: int, layer: int, *, cache_bytes: int = 0) -> MatrixSource:
        """Return a matrix as its sums over cells, which stay in memory if they take no more."""
        return open_matrix.stored_sums(
            self._root, self.plan, model, category, layer, cache_bytes=cache_bytes
        )

    def matrix(
        self, model: str, category: int, layer: int, cache_bytes: int | None = None
    ) -> DerivedViews:
        """Return a matrix with every view; None: the one that this process read last, cached."""
        if cache_bytes is None:
            small = matrix_bytes(self.plan.model(model)) <= self.plan.cache_bytes // _RECENT
            recent = _recent if small else _latest
            return recent(self.url, self._sealed, model, category, layer)
        return open_matrix.stored_matrix(
            self._root, self.plan, model, category, layer, cache_bytes=cache_bytes
        )

    def layers(
        self, model: str, category: int, cache_bytes: int | None = None, *, at_once: bool = False
    ) -> Mapping[int, DerivedViews]:
        """Return the layers of a variant; opened on access, or all ``at_once``.

        Layers that fit into ``cache_bytes`` together stay open, and are read once.
        """
        numbers = self.plan.model(model).layers
        most = self.plan.cache_bytes if cache_bytes is None else cache_bytes
        if at_once:
            return {y: self.matrix(model, category, y, most // len(numbers)) for y in numbers}
        return LazyLayers(self, model, category, most)

    def eligible_pairs(self, model: str, category: int) -> np.ndarray:
        """Return [genes, genes] bool: pairs with enough cells."""
        if self.plan.model(model).imported:
            return eligible_in_mean_cell(self._root, self.plan, model, category)
        return stored_sums.eligible_pairs(self._root, self.plan, model, category)

    def leave_donors_out(self, model: str, category: int, layer: int) -> LeaveOneGroupOut | None:
        """Return a matrix without each group of donors; None if it has no groups."""
        return open_matrix.leave_donors_out(self._root, self.plan, model, category, layer)

    def correlations_within_donors(
        self, model: str, category: int, genes: np.ndarray
    ) -> Callable[[], Iterator[tuple[int, np.ndarray]]] | None:
        """Return a reader of Pearson's correlation within donor groups; None: there are none."""
        return open_matrix.correlations_within_donors(self._root, self.plan, model, category, genes)

    def mean_cell_genes(self, model: str, category: int) -> np.ndarray:
        """Return [genes] bool: tokens of the mean of all cells of a category."""
        return present_genes(self._root, self.plan, model, category)

    def mean_residuals(self, model: str, category: int, layer: int) -> np.ndarray:
        """Return [genes, d] float32: the mean residual stream before a layer."""
        array = self._mean_cell_array(model, category, layer_name(layer, "mean"))
        return tiles.read_rows(array, 0, array.shape[0])

    def _mean_cell_array(self, model: str, category: int, name: str) -> Any:
        record = read_finished_record(self._root, self.plan, residual_work(model, category))
        return tiles.open_array(self._root.zarr(f"{record.folder}/attends.zarr"), name)

    def gene_embeddings(self, model: str, category: int) -> np.ndarray | None:
        """Return [genes, width] float32, the checkpoint's own embeddings; None: there are none."""
        m = self.plan.model(model)
        if m.imported:
            return None
        record = read_finished_record(self._root, self.plan, pairs_work(m.base, category))
        return stored_sums.gene_embeddings(self._root, record, "pairs.zarr")

    def gene_moments(self, model: str, category: int) -> GeneMoments | None:
        """Return the moments of each gene's log expression; None: the entry has none."""
        record = read_finished_record(self._root, self.plan, matrix_work(model, category, 0))
        if not any("/gene_mean/" in name for name in record.objects):
            return None
        pairs = read_finished_record(
            self._root, self.plan, pairs_work(self.plan.model(model).base, category)
        )
        used = pairs.metrics["cells_used"]
        store = self._root.zarr(f"{record.folder}/dense.zarr")
        mean, variance = (
            tiles.read_rows(tiles.open_array(store, name), 0, 3)
            for name in ("gene_mean", "gene_variance")
        )
        return GeneMoments(np.array([*used, sum(used)]), mean, variance)

    def matrix_table(self, name: str, model: str, category: int, layer: int) -> pd.DataFrame:
        """Return a table that a matrix left behind: topk, stats, genes, histogram, mass, edges."""
        work = matrix_work(model, category, layer)
        record = read_finished_record(self._root, self.plan, work)
        return read_table(self._root, f"{record.folder}/{name}.parquet")

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the run by its path without ``.parquet``, e.g. ``tables/stats``."""
        return read_table(self._root, f"{name}.parquet")


@lru_cache(maxsize=_RECENT)
def _recent(run: str, sealed: bool, model: str, category: int, layer: int) -> DerivedViews:
    source = RunMatrices(run, sealed)
    return source.matrix(model, category, layer, source.plan.cache_bytes // _RECENT)


@lru_cache(maxsize=1)
def _latest(run: str, sealed: bool, model: str, category: int, layer: int) -> DerivedViews:
    source = RunMatrices(run, sealed)
    return source.matrix(model, category, layer, source.plan.cache_bytes)


class LazyLayers(Mapping[int, DerivedViews]):
    """Layers of a variant, opened when they are asked for.

    All stay open if they fit into ``cache_bytes``; otherwise each is opened again on access.
    """

    def __init__(self, run: RunMatrices, model: str, category: int, cache_bytes: int) -> None:
        m = run.plan.model(model)
        self._layers = m.layers
        fit = matrix_bytes(m) * len(m.layers) <= cache_bytes
        share = cache_bytes // len(m.layers) if fit else 0
        self._open = partial(run.matrix, model, category, cache_bytes=share)
        self._cached = {y: self._open(y) for y in m.layers} if fit else {}

    def __getitem__(self, layer: int) -> DerivedViews:
        return self._cached[layer] if self._cached else self._open(layer)

    def __iter__(self) -> Iterator[int]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def require_dense(run: str, *, check: bool = True) -> RunMatrices:
    """Open the matrices of a finished run that kept them (``keep_dense: fp32``).

    ``check``: compare each object with its digest when it is first read.

    Raises
    ------
    InputError
        If it did not keep them.
    DamagedRunError
        If it is unfinished, or its manifest does not match.
    """
    require_success(RunRoot(run))
    matrices = RunMatrices(run, check)
    root = matrices._root  # where it is checked, what is lost is damage
    # every matrix needs these; they are kept with the matrices
    works = matrices.plan.pairs_work() or matrices.plan.residual_work()
    record = read_record(root, works[0], matrices.plan.hash) if works else None
    if record is None or not any(".zarr/" in n and root.exists(n) for n in record.objects):
        raise InputError(
            root.at("config.yaml"),
            "keep_dense: none; its matrices are gone",
            "run again into a new directory with keep_dense: fp32",
        )
    return matrices

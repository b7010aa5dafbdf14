"""Matrices of mean cells: computed from stored queries and keys whenever rows are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np

from octoscope.analysis.matrix import MatrixSource
from octoscope.results.stored_sums import gene_cells, read_finished_record
from octoscope.row_blocks import row_ranges
from octoscope.run_plan.values import ModelPlan, Plan
from octoscope.run_plan.work_names import layer_name, pairs_work, residual_work
from octoscope.store import tiles
from octoscope.store.run_dir import RunRoot

if TYPE_CHECKING:
    from octoscope.attention.mean_cell_attention import MeanCell

Read = Callable[[str], np.ndarray]
RESIDUAL: Literal["mean_residual"] = "mean_residual"
GROUP_GENES = "held"  # by cells of each donor group
WITHOUT = "_without"  # of what is stored of all cells but each donor group
_NAMES = ("half 0", "half 1", "all cells")  # of the parts
_ALONE = _NAMES[2:]  # of streams that were imported: no half is known


class ComputedRows:
    """Rows of a matrix's mean cells, with a cache of computed rows.

    If not all rows fit, the cache keeps those of the latest quantity.

    Parameters
    ----------
    parts
        The mean cells of half 0, half 1 and all cells; of imported streams of all cells alone.
    most
        Size of the cache in bytes.
    """

    def __init__(self, parts: list[MeanCell], most: int) -> None:
        self._parts, self._most, self._size = parts, most, 0
        self._kept: dict[tuple[int, int, int, int], np.ndarray] = {}
        self._changing = Lock()  # Dask's threads may share a matrix

    def rows(self, part: int, quantity: int, first: int, stop: int) -> np.ndarray:
        """Return [rows, genes] float32, as :meth:`MeanCell.rows`; not to be written to."""
        key = part, quantity, first, stop
        rows = self._kept.get(key)
        if rows is None:
            rows = self._parts[part].rows(quantity, first, stop)
            rows.flags.writeable = False
            self._keep(key, rows)
        return rows

    def _keep(self, key: tuple[int, int, int, int], rows: np.ndarray) -> None:
        with self._changing:
            if self._size + rows.nbytes > self._most:
                for other in [x for x in self._kept if x[1] != key[1]]:
                    self._size -= self._kept.pop(other).nbytes
            if self._size + rows.nbytes <= self._most and key not in self._kept:
                self._kept[key] = rows
                self._size += rows.nbytes


@dataclass(frozen=True)
class MeanTile:
    """Rows of a mean cell's matrix; the total is a third mean cell, not the mean of the halves'.

    Attributes
    ----------
    first, rows
        Index of the first row, and their number.
    computed
        Rows of the mean cells of half 0, half 1 and all cells, or of all cells alone.
    cells
        [parts, genes] cells that hold each gene. A pair needs only that each gene has enough
        cells: n_ij is the smaller of n_i and n_j. Of imported streams 1 where a gene has one.
    """

    first: int
    rows: int
    computed: ComputedRows
    cells: np.ndarray
    m2: None = None

    def half(self, h: int, quantity: int) -> np.ndarray:
        """Compute one quantity of half ``h``, [rows, genes] float32."""
        return self.computed.rows(h, quantity, self.first, self.first + self.rows)

    def both(self, quantity: int) -> np.ndarray:
        """Compute one quantity of all cells, [rows, genes] float32."""
        return self.half(-1, quantity)

    def n_cells(self, h: int) -> np.ndarray:
        """Return the cells of half ``h`` that hold each pair, [rows, genes] integers."""
        own = self.cells[h, self.first : self.first + self.rows]
        return np.minimum(own[:, None], self.cells[h])

    def n_cells_of_both(self) -> np.ndarray:
        """Return the cells of both halves together that hold each pair."""
        return self.n_cells(-1)


def projected(plan: Plan, m: ModelPlan) -> str:
    """Return the suffix of a variant's arrays of queries and keys; empty for the first variant."""
    first = plan.attention_variants(m.base, RESIDUAL)[0].projection
    return "" if m.projection == first else f"_{m.projection}"


def mean_cells_of(
    root: RunRoot, plan: Plan, model: str, category: int, layer: int
) -> list[MeanCell]:
    """Open the queries and keys of the mean cells of half 0, half 1 and all cells.

    Of imported streams there is that of all cells alone; it is the last in either case.

    Raises
    ------
    DamagedRunError
        If it is not finished, or gone.
    """
    names = _ALONE if plan.model(model).imported else _NAMES
    return _open(_attends(root, plan, model, category), plan, model, category, layer, names, "")


def mean_cells_without_donors(
    root: RunRoot, plan: Plan, model: str, category: int, layer: int
) -> tuple[list[MeanCell], np.ndarray, np.ndarray]:
    """Open the mean cells of all but each donor group, as :func:`mean_cells_of`.

    Also returns [groups, genes] bool, the genes that cells of a group hold, and [genes] bool, the
    tokens of the mean of all cells.
    """
    groups = plan.categories[category].groups or []
    names = [f"all but donor group {g}" for g in range(len(groups))]
    read = _attends(root, plan, model, category)
    parts = _open(read, plan, model, category, layer, names, WITHOUT)
    return parts, read(GROUP_GENES), read("present")[2]


def _attends(root: RunRoot, plan: Plan, model: str, category: int) -> Read:
    """Return a function that reads an array of a category's mean cells by its name."""
    record = read_finished_record(root, plan, residual_work(plan.model(model).base, category))
    store = root.zarr(f"{record.folder}/attends.zarr")

    def read(name: str) -> np.ndarray:
        array = tiles.open_array(store, name)
        return tiles.read_rows(array, 0, array.shape[-2])

    return read


def _open(
    read: Read,
    plan: Plan,
    model: str,
    category: int,
    layer: int,
    names: Sequence[str],
    suffix: str,
) -> list[MeanCell]:
    # imports torch, which readers of other matrices do not need
    from octoscope.attention.mean_cell_attention import MeanCell

    m, present = plan.model(model), read(f"present{suffix}")
    shape = (len(names), m.n_heads, len(m.axis), -1)
    named = projected(plan, m) + suffix
    q, k = (read(layer_name(layer, f"{x}{named}")).reshape(shape) for x in "qk")
    where = f"model {model}, category {category}, layer {layer}, mean cell of"
    return [
        MeanCell(q[p], k[p], present[p], m.heads, f"{where} {name}") for p, name in enumerate(names)
    ]


def mean_cell_source(
    root: RunRoot, plan: Plan, model: str, category: int, layer: int, *, cache_bytes: int = 0
) -> MatrixSource:
    """Open a matrix of mean cells.

    ``cache_bytes``: size of the cache of computed rows.
    """
    m = plan.model(model)
    n, used = len(m.axis), None
    if m.imported:
        cells = present_genes(root, plan, model, category)[None].astype(np.uint8)
    else:
        pairs = read_finished_record(root, plan, pairs_work(m.base, category))
        used, cells = tuple(pairs.metrics["cells_used"]), gene_cells(root, pairs)
        cells = cells.astype(np.min_scalar_type(cells.max(initial=0)))  # read for every pair
    on_demand = ComputedRows(mean_cells_of(root, plan, model, category, layer), cache_bytes)

    def computed(rows: np.ndarray | None = None) -> Iterator[MeanTile]:
        for first, stop in row_ranges(n, plan.tile, rows):
            yield MeanTile(first, stop - first, on_demand, cells)

    return MatrixSource(
        computed,
        n,
        used,
        plan.categories[category].min_cells,
        means=True,
    )


def present_genes(root: RunRoot, plan: Plan, model: str, category: int) -> np.ndarray:
    """Return [genes] bool: tokens of the mean of all cells of a category."""
    return _attends(root, plan, model, category)("present")[-1]


def eligible_in_mean_cell(root: RunRoot, plan: Plan, model: str, category: int) -> np.ndarray:
    """Return [genes, genes] bool: pairs that imported streams have a value of."""
    present = present_genes(root, plan, model, category)
    return present[:, None] & present

"""Matrices of a run as :class:`~engine.analysis.finalise.MatrixSource`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.analysis.finalise import HalfTile, MatrixSource
from engine.errors import DamagedRunError
from engine.store import tiles
from engine.store.manifest import require_objects
from engine.store.plan import Plan, matrix_work, pairs_work
from engine.store.records import Record, read_record
from engine.store.root import RunRoot

HELD_BYTES = 256_000_000


def committed(root: RunRoot, plan: Plan, work: str) -> Record:
    """Return the record of finished work whose objects are all there.

    Raises
    ------
    DamagedRunError
        If it is not finished or an object is missing.
    """
    record = read_record(root, work, plan.hash)
    if record is None:
        raise DamagedRunError(f"{work}: not finished")
    require_objects(root, record)
    return record


def matrix_source(
    root: RunRoot, plan: Plan, model: str, category: int, sums_folder: Path, *, hold: bool = False
) -> MatrixSource:
    """Open a matrix whose reduced sums are in ``sums_folder``.

    ``hold``: keep a small matrix (up to ``HELD_BYTES``) in memory once it is read.
    """
    pairs = committed(root, plan, pairs_work(model, category))
    counts = tiles.open_array(root.at(f"{pairs.folder}/pairs.zarr"), "pairs")
    sums = tiles.open_array(sums_folder, "sums")
    n = len(plan.model(model).axis)
    hold = hold and sums.nbytes + counts.nbytes <= HELD_BYTES
    held: list[HalfTile] = []

    def read() -> Iterator[HalfTile]:
        if not hold:
            yield from stored()
            return
        if not held:
            held.extend(stored())
        yield from held

    def stored() -> Iterator[HalfTile]:
        for first, stop in tiles.row_ranges(n, plan.tile):
            yield HalfTile(
                first, tiles.read_rows(sums, first, stop), tiles.read_rows(counts, first, stop)
            )

    used = pairs.facts["cells_used"]
    return MatrixSource(read, n, (used[0], used[1]), plan.categories[category].min_cells)


def stored_matrix(root: RunRoot, plan: Plan, model: str, category: int, layer: int) -> MatrixSource:
    """Open a finished matrix.

    Raises
    ------
    DamagedRunError
        If it is not finished, or its dense sums are gone.
    """
    record = committed(root, plan, matrix_work(model, category, layer))
    return matrix_source(root, plan, model, category, root.at(f"{record.folder}/dense.zarr"))

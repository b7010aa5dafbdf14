"""The cells that a unit read, against what other units of the run read of the same cells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from octoscope.atlas import Atlas
from octoscope.atlas.atlas import PLANNED
from octoscope.atlas.cell_digests import CellDigests, differing, is_reading, kind_of
from octoscope.errors import DamagedRunError
from octoscope.run_plan.values import Plan, Unit
from octoscope.store.commits import CELLS_READ, read_before, read_record
from octoscope.store.run_dir import RunRoot

_BATCH = 256  # cells at a time


def cells_read(
    root: RunRoot, plan: Plan, atlas: Atlas, rows: np.ndarray, unit: Unit, read: CellDigests
) -> dict[str, Any]:
    """Return the metric of a unit's record that says which cells it read, once it is compared.

    With the records of other models of the same cells, and with the unit's own record from before a
    repair. The files that hold the cells must have the checksums that the plan noted.

    Parameters
    ----------
    rows
        Rows of the unit's category and half in the atlas.
    read
        Digests of all cells of the unit, by their position in the half.

    Raises
    ------
    InputError
        If a cell has other counts now, or a file other bytes, naming array, chunk and cells.
    """
    atlas.require_count_files(plan.count_files, PLANNED, rows[unit.start : unit.stop])
    mine = read.as_json()
    for work, theirs in _others(root, plan, unit):
        differences = differing(mine, theirs)
        if differences:
            first, stop, what = differences[0]
            raise atlas.other_counts(rows[first:stop], what, f"when {work} read them")
    return {CELLS_READ: mine}


def require_read_again(
    root: RunRoot, plan: Plan, atlas: Atlas, halves: list[tuple[np.ndarray, np.ndarray]]
) -> int:
    """Read again what units on record read of files that were written since; returns the cells.

    Of cells that several models read, one reading is compared: the others were when they were
    committed. A unit whose record is damaged, or of an earlier version, says nothing.

    Parameters
    ----------
    halves
        Rows of the atlas by category and half.

    Raises
    ------
    InputError
        If a cell has other counts now, naming array, chunk and cells.
    """
    again = [[np.zeros(len(rows), bool) for rows in of] for of in halves]
    for unit in plan.units:
        rows = halves[unit.category][unit.half][unit.start : unit.stop]
        compared = again[unit.category][unit.half][unit.start : unit.stop]
        if compared.all() or not atlas.require_count_files(plan.count_files, PLANNED, rows):
            continue
        read = _reading(root, plan, unit)
        if read is None:
            continue
        now = CellDigests(read["first"], read["ends"], kind=kind_of(read))
        for batch in atlas.stream(rows, _BATCH):
            now.add(batch.counts)
        differences = differing(now.as_json(), read)
        if differences:
            first, stop, what = differences[0]
            rows = halves[unit.category][unit.half][first:stop]
            raise atlas.other_counts(rows, what, f"when {unit.work} read them")
        compared[:] = True
    return sum(int(cells.sum()) for of in again for cells in of)


def digests_of(plan: Plan, unit: Unit) -> CellDigests:
    """Return digests for a unit to fill: of the plan's kind, cut so that all models' compare."""
    cuts = [
        at
        for m in plan.bases
        for other in plan.units_of(m.name, unit.category, unit.half)
        if other.stop > unit.start and other.start < unit.stop
        for at in (other.start, other.stop)
    ]
    return CellDigests(unit.start, cuts, kind=kind_of((plan.atlas or {}).get("sample")))


def _others(root: RunRoot, plan: Plan, unit: Unit) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the readings of a unit's cells that are on record; earlier versions have none.

    A damaged record says nothing here; verify and repair find it.
    """
    before = read_before(root, unit.work)
    if is_reading(before):
        yield f"{unit.work} (before the repair)", before
    for m in plan.bases:
        for other in plan.units_of(m.name, unit.category, unit.half):
            if m.name == unit.model or other.stop <= unit.start or other.start >= unit.stop:
                continue
            read = _reading(root, plan, other)
            if read is not None:
                yield other.work, read


def _reading(root: RunRoot, plan: Plan, unit: Unit) -> dict[str, Any] | None:
    """Return what a unit read, by its record; None: no record, or none that says it."""
    with suppress(DamagedRunError):
        record = read_record(root, unit.work, plan.hash)
        read = None if record is None else record.metrics.get(CELLS_READ)
        return read if is_reading(read) else None
    return None

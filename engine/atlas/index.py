"""Which cells belong to which category and half: a pure function of the obs columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.errors import InputError


@dataclass(frozen=True)
class CellIndex:
    """Selected cells.

    Attributes
    ----------
    categories
        Names, sorted.
    halves
        Per category, two ascending arrays of atlas rows; together each cell exactly once.
    donors
        Per category, the number of distinct donors, or None where no donor column is set.
    refused
        Reason -> number of cells that were not selected.
    """

    categories: list[str]
    halves: list[tuple[np.ndarray, np.ndarray]]
    donors: list[int] | None
    refused: dict[str, int]

    @property
    def selected(self) -> int:
        """Number of selected cells."""
        return sum(len(a) + len(b) for a, b in self.halves)


def _hash_order(values: np.ndarray, seed: int) -> np.ndarray:
    """Return a permutation that depends only on each value and the seed (ties by value)."""
    key = f"{seed:016x}"[-16:]
    hashed = pd.util.hash_array(values.astype(object), hash_key=key, categorize=False)
    return np.lexsort((values.astype(str), hashed))


def build_index(
    cell_ids: np.ndarray,
    columns: list[pd.Series],
    donors: pd.Series | None,
    primary: np.ndarray | None,
    wanted: list[str] | None,
    *,
    seed: int,
    where: str,
) -> CellIndex:
    """Group cells.

    Halves are donor-disjoint: donors are ordered by a seeded hash over the whole atlas and
    assigned alternately, so a donor is in the same half in every category. Without donors the
    cells of each category are ordered by the hash of their id and assigned alternately.

    Raises
    ------
    InputError
        If cell ids repeat, a wanted category does not exist, or no cell remains.
    """
    if len(np.unique(cell_ids.astype(str))) != len(cell_ids):
        raise InputError(f"{where}: obs index", "cell ids are not unique", "make them unique")
    refused: dict[str, int] = {}
    keep = np.ones(len(cell_ids), bool)
    if primary is not None:
        refused["not primary data"] = int((~primary).sum())
        keep &= primary
    missing = np.zeros(len(cell_ids), bool)
    parts = []
    for column in columns:
        missing |= column.isna().to_numpy()
        parts.append(column.astype(str).to_numpy(dtype=object))
    refused["no category"] = int((missing & keep).sum())
    keep &= ~missing
    names = parts[0]
    for part in parts[1:]:
        names = names + " | " + part
    if donors is not None:
        no_donor = donors.isna().to_numpy()
        refused["no donor"] = int((no_donor & keep).sum())
        keep &= ~no_donor
    present = sorted(set(names[keep]))
    if wanted is not None:
        unknown = [w for w in wanted if w not in present]
        if unknown:
            raise InputError(
                f"{where}: obs",
                f"category {unknown[0]!r} has no cell; there are {present[:20]}",
                "correct atlas.categories",
            )
        outside = ~np.isin(names.astype(str), np.array(wanted, dtype=str))
        refused["category not asked for"] = int((outside & keep).sum())
        keep &= ~outside
        present = sorted(set(wanted))
    if not present:
        raise InputError(f"{where}: obs", "no cell is left after selection", "check atlas settings")
    half_of_cell = np.zeros(len(cell_ids), np.int8)
    donor_codes = None
    if donors is not None:
        donor_codes, donor_names = pd.factorize(donors.astype(str), sort=True)
        half_of_donor = np.empty(len(donor_names), np.int8)
        order = _hash_order(np.asarray(donor_names), seed)
        half_of_donor[order] = np.arange(len(order)) % 2
        half_of_cell = half_of_donor[donor_codes]
    halves, n_donors = [], []
    for category in present:
        rows = np.flatnonzero(keep & (names == category))
        if donor_codes is None:
            order = _hash_order(cell_ids[rows], seed)
            half_of_cell[rows[order]] = np.arange(len(rows)) % 2
        else:
            n_donors.append(len(np.unique(donor_codes[rows])))
        side = half_of_cell[rows]
        halves.append((rows[side == 0], rows[side == 1]))
    return CellIndex(
        [str(p) for p in present],
        halves,
        n_donors if donor_codes is not None else None,
        {k: v for k, v in refused.items() if v},
    )

"""Assigns cells to categories and halves: a pure function of the obs columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from octoscope.errors import InputError


@dataclass(frozen=True)
class DonorGroup:
    """Cells of some donors: positions [start, stop) in a half of a category."""

    half: int
    start: int
    stop: int
    donors: int


@dataclass(frozen=True)
class CellIndex:
    """Selected cells.

    Attributes
    ----------
    categories
        Names, sorted.
    halves
        Per category, two arrays of atlas rows; together each cell exactly once. Ascending, within
        each donor group where there are any.
    donors
        Per category, the number of distinct donors, or None where no donor column is set.
    refused
        Reason -> number of cells that were not selected.
    groups
        Per category the donor groups that cover it, where they are asked for.
    """

    categories: list[str]
    halves: list[tuple[np.ndarray, np.ndarray]]
    donors: list[int] | None
    refused: dict[str, int]
    groups: list[list[DonorGroup]] | None = None

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
    requested: list[str] | None,
    *,
    seed: int,
    where: str,
    donor_groups: int = 0,
) -> CellIndex:
    """Group cells.

    Halves are donor-disjoint: donors are ordered by a seeded hash over the whole atlas and
    assigned alternately, so a donor is in the same half in every category. Without donors the
    cells of each category are ordered by the hash of their id and assigned alternately.

    ``donor_groups``: an even number; each half's donors of a category are dealt out to half as many
    groups, in the order of their hash.

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
    if requested is not None:
        unknown = [w for w in requested if w not in present]
        if unknown:
            raise InputError(
                f"{where}: obs",
                f"category {unknown[0]!r} has no cell; there are {present[:20]}",
                "correct atlas.categories",
            )
        outside = ~np.isin(names.astype(str), np.array(requested, dtype=str))
        refused["category not asked for"] = int((outside & keep).sum())
        keep &= ~outside
        present = sorted(set(requested))
    if not present:
        why = ", ".join(f"{n:,} {reason}" for reason, n in refused.items() if n) or "no cells"
        fix = "check category_key, replicate_key and categories of atlas"
        if refused.get("not primary data") == len(cell_ids):
            fix = "to read cells that are no primary data: atlas.primary_only: false (--all-data)"
        raise InputError(f"{where}: obs", f"no cell is left after selection ({why})", fix)
    half_of_cell = np.zeros(len(cell_ids), np.int8)
    donor_codes, rank_of_donor = None, np.zeros(0, np.int64)
    if donors is not None:
        donor_codes, donor_names = pd.factorize(donors.astype(str), sort=True)
        half_of_donor = np.empty(len(donor_names), np.int8)
        order = _hash_order(np.asarray(donor_names), seed)
        half_of_donor[order] = np.arange(len(order)) % 2
        half_of_cell = half_of_donor[donor_codes]
        rank_of_donor = np.argsort(order)  # of a donor in the order
    halves, n_donors = [], []
    groups: list[list[DonorGroup]] | None = None
    if donor_codes is not None and donor_groups:
        groups = []
    for category in present:
        rows = np.flatnonzero(keep & (names == category))
        if donor_codes is None:
            order = _hash_order(cell_ids[rows], seed)
            half_of_cell[rows[order]] = np.arange(len(rows)) % 2
        else:
            n_donors.append(len(np.unique(donor_codes[rows])))
        side = half_of_cell[rows]
        both = (rows[side == 0], rows[side == 1])
        if groups is not None and donor_codes is not None:
            dealt = [_deal(r, rank_of_donor[donor_codes[r]], h, donor_groups // 2)
                     for h, r in enumerate(both)]  # fmt: skip
            both = dealt[0][0], dealt[1][0]
            groups.append(dealt[0][1] + dealt[1][1])
        halves.append(both)
    return CellIndex(
        [str(p) for p in present],
        halves,
        n_donors if donor_codes is not None else None,
        {k: v for k, v in refused.items() if v},
        groups,
    )


def _deal(
    rows: np.ndarray, donor_rank: np.ndarray, half: int, n: int
) -> tuple[np.ndarray, list[DonorGroup]]:
    """Return a half's rows group by group, and the groups; ``donor_rank``: of each row."""
    _, donor = np.unique(donor_rank, return_inverse=True)  # the half's donors in order
    group = donor % n
    groups, start = [], 0
    for g in range(n):
        inside = group == g
        if inside.any():
            stop = start + int(inside.sum())
            groups.append(DonorGroup(half, start, stop, len(np.unique(donor[inside]))))
            start = stop
    return rows[np.argsort(group, kind="stable")], groups

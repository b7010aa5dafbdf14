"""Converts reactions of several participants to edges, tier by tier."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from octoscope.octopus.network_schema import ROLES

# What acts comes first; edges join neighbouring tiers that are occupied (the peer's "regulatory").
_TIER = {"inhibitor": 0, "modifier": 0, "stimulator": 0, "catalyst": 1, "interactor": 2,
         "reactant": 2, "modified": 3, "product": 3, "unknown": 2}  # fmt: skip
TIER = np.array([_TIER[r] for r in ROLES])


def wire(
    reaction: np.ndarray, vertex: np.ndarray, role: np.ndarray, stoichiometry: np.ndarray
) -> np.ndarray:
    """Return the edges of reactions.

    Participants of one tier only (two reactants and nothing else, several interactors) are joined
    with each other if they have one role and stoichiometry; otherwise every participant of a tier
    acts on every one of the next occupied tier. Reactions of one participant give none.

    Parameters
    ----------
    reaction, vertex, role, stoichiometry
        [rows] participants, grouped by reaction.

    Returns
    -------
    [edges, 5] int64
        reaction, src, dst, role of src, role of dst.
    """
    order = np.lexsort((vertex, role, reaction))
    rows = zip(
        reaction[order].tolist(), vertex[order].tolist(), role[order].tolist(),
        stoichiometry[order].tolist(), strict=True,
    )  # fmt: skip
    out: list[tuple[int, int, int, int, int]] = []
    for number, group in groupby(rows, key=lambda row: row[0]):
        out += [(number, *edge) for edge in _edges([g[1:] for g in group])]
    return np.array(out, np.int64).reshape(-1, 5)


def _edges(
    members: list[tuple[int, int, float]],
) -> Iterator[tuple[int, int, int, int]]:
    tiers: dict[int, list[tuple[int, int, float]]] = {}
    for member in members:
        tiers.setdefault(int(TIER[member[1]]), []).append(member)
    if len(tiers) == 1:
        if len({m[1:] for m in members}) == 1:
            for i, a in enumerate(members):
                for b in members[i + 1 :]:
                    yield a[0], b[0], a[1], b[1]
        return
    occupied = [tiers[t] for t in sorted(tiers)]
    for upper, lower in zip(occupied, occupied[1:], strict=False):
        for a in upper:
            for b in lower:
                yield a[0], b[0], a[1], b[1]

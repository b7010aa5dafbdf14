"""Halves: each cell once, donors never on both sides, independent of order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.atlas.cell_index import build_index
from octoscope.errors import InputError


def index(ids: np.ndarray, kinds: list[str | None], **kw: object):  # type: ignore[no-untyped-def]
    options = {"donors": None, "primary": None, "requested": None, "seed": 0, "where": "a"} | kw
    return build_index(ids, [pd.Series(kinds)], **options)  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=60), st.randoms())
def test_each_cell_once_and_halves_follow_the_cell(kinds: list[str | None], random: object) -> None:
    if all(k is None for k in kinds):
        kinds[0] = "a"
    ids = np.array([f"c{i}" for i in range(len(kinds))], object)
    cells = index(ids, kinds)
    rows = np.concatenate([h for halves in cells.halves for h in halves])
    assert len(rows) == len(set(rows)) == cells.selected == sum(k is not None for k in kinds)
    assert cells.selected + sum(cells.refused.values()) == len(kinds)
    for a, b in cells.halves:
        assert abs(len(a) - len(b)) <= 1
    order = np.arange(len(kinds))
    random.shuffle(order)  # type: ignore[attr-defined]
    other = index(ids[order], [kinds[i] for i in order])
    for (a, _), (b, _) in zip(cells.halves, other.halves, strict=True):
        assert set(ids[a]) == set(ids[order][b])


def test_donors_are_disjoint_over_the_whole_atlas() -> None:
    n = 300
    rng = np.random.default_rng(0)
    donors = pd.Series(rng.choice([f"d{i}" for i in range(9)], n))
    kinds = rng.choice(["a", "b", "c"], n).tolist()
    cells = index(np.array([f"c{i}" for i in range(n)], object), kinds, donors=donors)
    left = set(donors[np.concatenate([h[0] for h in cells.halves])])
    right = set(donors[np.concatenate([h[1] for h in cells.halves])])
    assert not left & right
    assert len(left) - len(right) in (0, 1)
    assert cells.donors == [9, 9, 9]


def test_selection_is_counted_and_checked() -> None:
    ids = np.array(list("abcdef"), object)
    kinds = ["x", "x", "y", "y", None, "z"]
    primary = np.array([True, False, True, True, True, True])
    cells = index(ids, kinds, primary=primary, requested=["x", "y"])
    assert cells.refused == {"not primary data": 1, "no category": 1, "category not asked for": 1}
    assert cells.selected == 3
    assert index(ids, kinds, requested=["x", "x"]).selected == 2
    with pytest.raises(InputError, match="'q' has no cell"):
        index(ids, kinds, requested=["q"])
    with pytest.raises(InputError, match="not unique"):
        index(np.array(list("aacdef"), object), kinds)


def test_donor_groups_divide_each_half_and_change_nothing_else() -> None:
    n = 400
    rng = np.random.default_rng(1)
    donors = pd.Series(rng.choice([f"d{i}" for i in range(11)], n))
    kinds = np.where(donors == "d3", "only d3", rng.choice(["a", "b"], n)).tolist()
    ids = np.array([f"c{i}" for i in range(n)], object)
    plain = index(ids, kinds, donors=donors)
    cells = index(ids, kinds, donors=donors, donor_groups=6)
    assert plain.groups is None
    assert cells.groups is not None
    assert cells.categories == ["a", "b", "only d3"]
    for c, groups in enumerate(cells.groups):
        seen: list[set[str]] = []
        for half in (0, 1):
            rows = cells.halves[c][half]
            assert np.array_equal(np.sort(rows), plain.halves[c][half])
            mine = [g for g in groups if g.half == half]
            # one after the other, whole
            assert [g.start for g in mine] == [0, *(g.stop for g in mine)][: len(mine)]
            assert (mine[-1].stop if mine else 0) == len(rows)
            for g in mine:
                part = rows[g.start : g.stop]
                assert (np.diff(part) > 0).all()
                seen.append(set(donors[part]))
                assert len(seen[-1]) == g.donors
            assert len(mine) <= 3
            assert max((g.donors for g in mine), default=0) <= 2  # dealt out evenly
        assert sum(map(len, seen)) == len(set.union(*seen)) == cells.donors[c]  # type: ignore[index]
    assert len(cells.groups[2]) == 1  # of a single donor


def test_an_empty_selection_says_why() -> None:
    """Red: "no cell is left after selection", check the settings."""
    message = r"no cell is left after selection \(2 not primary data\).*primary_only: false"
    with pytest.raises(InputError, match=message):
        index(np.array(["a", "b"]), ["x", "y"], primary=np.zeros(2, bool))

"""Counts that are not whole: who has them, and rounding them where that is declared."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from octoscope.atlas import Atlas, check, convert, info
from octoscope.errors import InputError

from tests.atlas.stores import cells, config, read_all, write


def with_fractions(tmp_path: Path, rows: slice) -> tuple[Path, ad.AnnData]:
    a = cells()
    a.obs["study"] = pd.Categorical(["tpm" if 10 <= i < 20 else "umi" for i in range(60)])
    x = a.X.toarray()
    x[rows] *= np.float32(1.37)
    a.X = type(a.X)(x)
    return write(a, tmp_path / "a.zarr", 3), a


@pytest.mark.parametrize("quick", [False, True])
def test_cells_and_their_study_are_named(tmp_path: Path, quick: bool) -> None:
    """Red: one value is named, and not that one study of the atlas holds no counts."""
    path, _ = with_fractions(tmp_path, slice(10, 20))
    notes = [
        f for f in info(config(path), quick=quick).findings.entries if "cells hold" in f.problem
    ]
    (note,) = notes
    assert note.problem == (
        "10 of 60 cells hold values that are not whole numbers, those of obs[study] 'tpm'"
    )
    assert "--counts X --fractional-counts round" in note.fix


def test_every_cell(tmp_path: Path) -> None:
    path, _ = with_fractions(tmp_path, slice(0, 60))
    assert any(
        "60 of 60 cells hold" in f.problem and f.problem.endswith("normalised, or corrected")
        for f in info(config(path)).findings.entries
    )


def test_rounding_is_declared_and_names_the_place(tmp_path: Path) -> None:
    """Red: corrected counts cannot be read, or normalised values pass for counts."""
    path, a = with_fractions(tmp_path, slice(0, 60))
    with pytest.raises(InputError, match="not a whole number"):
        Atlas(config(path))
    with pytest.raises(InputError, match="normalised values would pass for counts"):
        Atlas(config(path, fractional_counts="round"))
    given = {"counts": "X", "fractional_counts": "round"}
    rounded = np.rint(a.X.toarray())
    assert (read_all(path, **given) == rounded).all()
    assert check(config(path, **given)).faults == []
    assert not info(config(path, **given)).findings.errors
    convert(config(path, **given), str(tmp_path / "t.zarr"))
    stored = ad.read_zarr(tmp_path / "t.zarr")
    assert (stored.X.toarray() == rounded[a.obs_names.get_indexer(stored.obs_names)]).all()


def test_rounding_admits_no_other_values(tmp_path: Path) -> None:
    path, a = with_fractions(tmp_path, slice(0, 60))
    a.X.data[5] = -0.4
    path = write(a, tmp_path / "b.zarr", 3)
    with pytest.raises(InputError, match="negative"):
        Atlas(config(path, counts="X", fractional_counts="round"))

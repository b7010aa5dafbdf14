"""An atlas for notebooks: its genes, categories and counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from octoscope.api.display import Shown
from octoscope.config import AtlasConfig, validated
from octoscope.demo.demo import data as demo_data
from octoscope.errors import some
from octoscope.extras import extras_needed

with extras_needed():
    from octoscope.atlas import Atlas as Reader
    from octoscope.atlas import AtlasInfo, check, convert, info
    from octoscope.atlas.chunk_check import AtlasCheck


class Atlas(Shown):
    """Cells of an AnnData store, checked as a run checks them. Counts are read when asked for.

    Attributes
    ----------
    reader
        The reader that runs use; see ``Atlas``.

    Examples
    --------
    >>> atlas = oc.open_atlas("demo", category="cell_type")
    >>> int(atlas.categories["n_cells"].sum())
    559
    >>> atlas.counts([0, 5]).shape == (2, len(atlas.genes))
    True
    """

    def __init__(self, config: AtlasConfig, seed: int = 0) -> None:
        self.reader, self._seed = Reader(config), seed

    @property
    def genes(self) -> pd.DataFrame:
        """Genes: columns ``gene`` (Ensembl id without version) and ``symbol``."""
        genes = self.reader.genes
        return pd.DataFrame({"gene": genes.ensembl, "symbol": genes.symbol})

    @property
    def cell_ids(self) -> np.ndarray:
        """[cells] names of the cells."""
        return self.reader.cell_ids

    @cached_property
    def categories(self) -> pd.DataFrame:
        """Categories that a run uses: ``category``, ``n_cells``, ``half0``, ``half1``."""
        index = self.reader.index(self._seed)
        halves = [(len(a), len(b)) for a, b in index.halves]
        table = pd.DataFrame(halves, columns=["half0", "half1"])
        table.insert(0, "n_cells", table.sum(axis=1))
        table.insert(0, "category", list(index.categories))
        return table

    def counts(self, cells: Sequence[int] | np.ndarray) -> sparse.csr_matrix:
        """Return [cells, genes] raw counts of cells by position.

        Raises
        ------
        InputError
            If a value is not a count.

        Examples
        --------
        >>> oc.open_atlas("demo").counts([0, 5]).shape[0]
        2
        """
        return self.reader.read(np.asarray(cells)).counts

    def _entries(self) -> Mapping[str, Any]:
        entries = {
            "path": self.reader.config.path,
            "cells": f"{len(self.cell_ids):,}",
            "genes": f"{len(self.reader.genes):,}",
            "counts": self.reader.counts_source,
        }
        if self.reader.config.category_key:
            entries["categories"] = some([str(c) for c in self.categories["category"]])
        return entries


def open_atlas(
    path: str, *, category: str | Sequence[str] | None = None, seed: int = 0, **settings: Any
) -> Atlas:
    """Open an AnnData atlas in Zarr or h5ad.

    Parameters
    ----------
    path
        Path or URL; ``demo``: the embedded 559 human immune cells.
    category
        obs column, or columns, that define the categories.
    seed
        It decides the halves of each category.
    **settings
        Other fields of the section ``atlas`` of a configuration, e.g. ``counts="layers/counts"``,
        ``replicate_key="donor_id"``.

    Raises
    ------
    InputError
        If it cannot be read, naming the file, the field and the fix.

    Examples
    --------
    >>> import octoscope as oc
    >>> atlas = oc.open_atlas("demo", category="cell_type")
    >>> len(atlas.cell_ids)
    559
    """
    return Atlas(_settings(path, category, settings), seed)


def atlas_info(
    path: str,
    *,
    category: str | Sequence[str] | None = None,
    seed: int = 0,
    quick: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> AtlasInfo:
    """Check every count, and say what is in an atlas, what is wrong with it and what it costs.

    Parameters
    ----------
    path, category, seed, **settings
        As for :func:`open_atlas`.
    quick
        Look at a sample of the counts.
    on_progress
        Is called with the cells done and their number.

    Returns
    -------
    AtlasInfo
        ``rows`` (what is in it), ``arrays`` (what runs read) and ``findings``; those of
        ``findings.errors`` would stop a run.

    Examples
    --------
    >>> atlas_info("demo", category="cell_type", quick=True).findings.errors
    []
    """
    return info(_settings(path, category, settings), seed, quick=quick, on_progress=on_progress)


def check_atlas(
    path: str, *, category: str | Sequence[str] | None = None, **settings: Any
) -> AtlasCheck:
    """Read every chunk once and list those that are missing or damaged.

    Parameters
    ----------
    path, category, **settings
        As for :func:`open_atlas`.

    Returns
    -------
    AtlasCheck
        ``counts`` (their place), ``chunks`` (how many were read), ``checksums`` (array -> whether
        it has any) and ``faults``.

    Raises
    ------
    InputError
        If it is no AnnData store, or counts or a named column are not in it.
    """
    return check(_settings(path, category, settings))


def convert_atlas(
    path: str,
    target: str,
    *,
    category: str | Sequence[str] | None = None,
    seed: int = 0,
    memory: str = "2GB",
    on_progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Rewrite an atlas sorted by category and half: sharded Zarr v3 with checksums.

    The same call again goes on where it was stopped.

    Parameters
    ----------
    path, category, seed, **settings
        As for :func:`open_atlas`.
    target
        Zarr v3 store to make, a local path.
    memory
        For counts held at once; less: more passes.
    on_progress
        Is called with the cells done and their number.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    InputError
        If the atlas cannot be read, or the target may not be written.
    """
    config = _settings(path, category, settings)
    return convert(config, target, seed=seed, memory=memory, on_progress=on_progress)


def _settings(
    path: str, category: str | Sequence[str] | None, settings: Mapping[str, Any]
) -> AtlasConfig:
    """Return the section ``atlas`` of a configuration."""
    keys = [category] if isinstance(category, str) else list(category or [])
    location = demo_data("immune559.zarr") if path == "demo" else path
    tree = {"path": str(location), "category_key": keys, **settings}
    return validated(AtlasConfig, tree, "atlas", "see `octoscope config explain atlas`")

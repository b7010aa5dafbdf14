"""Reads effects of perturbations from h5ad: pseudobulks with effects, and cells with a control.

Written for the normalised pseudobulks of Replogle et al. 2022 (rows are named
``number_symbol_promoter_ENSG``, values are z scores against controls) and for scPerturb (a row per
cell, ``obs.perturbation`` with cells of ``control``). Only the strongest effects of each gene are
kept: all of them would be 10,000 genes x 8,000 targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import ndtr

from octoscope.bounded_reads import require_regular
from octoscope.errors import InputError
from octoscope.hdf5_guard import require_stored, require_walkable

STRONGEST = 500  # effects of a perturbed gene
_CONTROL = r"^(?:control|ctrl|non-?targeting|nt|safe-?harbor|unperturbed)$"
_BULK = r"^\d+_([^_]+)_.*?(?:_(ENS[A-Z]*G\d+))?$"
_ENSEMBL = ("ensembl_id", "gene_id", "gene_ids", "ensembl")
_LEAST = 10  # cells of a perturbation, and of the control
_VALUES = 1 << 24  # of a block of rows
_TYPES = {"CRISPR-CAS9": "KO", "CRISPR": "KO", "CRISPRI": "KD", "SHRNA": "KD", "SIRNA": "KD",
          "CRISPRA": "OE", "OVEREXPRESSION": "OE"}  # fmt: skip


def read_h5ad(path: Path) -> pd.DataFrame:
    """Return perturbed, target, effect, p, type (None where the file does not say it), study.

    Of pseudobulks the effect is the value, and p is missing. Of cells it is Welch's t of log1p of
    counts in 10,000, against cells of the control; p is two-sided, by the normal distribution.
    Perturbations of two genes and of fewer than ten cells are left out.

    Raises
    ------
    InputError
        If it is no h5ad file of one of the two kinds, HDF5 loops or crashes on it, or its arrays
        state sizes that they have not.
    """
    import anndata

    require_regular(path)
    require_walkable(path, str(path))
    try:
        require_stored(path, str(path), ("obs", "var", "X"))
        data = anndata.read_h5ad(path, backed="r")
    except (OSError, KeyError, ValueError) as error:
        raise InputError(str(path), f"is no h5ad file ({error})", "give another file") from None
    try:
        targets = _targets(data.var)
        if "perturbation" in data.obs:
            return _of_cells(data, targets, str(path))
        return _of_pseudobulks(data, targets, str(path))
    finally:
        data.file.close()


def _targets(var: pd.DataFrame) -> np.ndarray:
    """Return [genes] object: Ensembl ids where a column has them, else the names."""
    for column in _ENSEMBL:
        if column in var and var[column].astype(str).str.match(r"^ENS[A-Z]*G\d+").any():
            return var[column].astype(str).str.partition(".")[0].to_numpy(object)
    return var.index.astype(str).to_numpy(object)


def _of_pseudobulks(data: Any, targets: np.ndarray, path: str) -> pd.DataFrame:
    names = pd.Series(data.obs_names.astype(str)).str.extract(_BULK)
    perturbed = names[1].fillna(names[0])
    perturbed = perturbed.mask(names[0].str.match(_CONTROL, case=False, na=False))
    if not perturbed.notna().any():
        example = str(data.obs_names[0]) if data.n_obs else "none"
        raise InputError(path, f"has no column obs.perturbation, and its rows ({example}) are not "
                         "named number_symbol_promoter_ENSG", "write a table of perturbed, target, "
                         "effect")  # fmt: skip
    tables = []
    for lo, values in _blocks(data):
        for i, effect in enumerate(values):
            name = perturbed.iloc[lo + i]
            if isinstance(name, str):
                tables.append(_strongest(name, targets, effect, np.full(len(effect), np.nan)))
    return _joined(tables, path).assign(type=None, study=Path(path).stem)


def _of_cells(data: Any, targets: np.ndarray, path: str) -> pd.DataFrame:
    label = data.obs["perturbation"].astype("string")
    control = label.str.match(_CONTROL, case=False, na=False).to_numpy(bool)
    single = label.notna() & ~label.str.contains(r"[_+,]", regex=True, na=False)
    if "nperts" in data.obs:
        single &= pd.to_numeric(data.obs["nperts"], errors="coerce").to_numpy() == 1
    kinds = data.obs.get("perturbation_type")
    kind = None if kinds is None else kinds.dropna().astype(str).str.upper()
    if kind is not None and kind.str.contains("DRUG").any():
        raise InputError(path, "is a drug screen (perturbation_type): a drug is no regulator of "
                         "the network", "give perturbed genes")  # fmt: skip
    names = label.where(single & ~control)
    code, groups = pd.factorize(names)
    code = np.where(control, len(groups), code)
    count = np.bincount(code[code >= 0], minlength=len(groups) + 1)
    if count[-1] < _LEAST:
        raise InputError(f"{path}: obs.perturbation", f"names {count[-1]:,} cells of a control",
                         f"call at least {_LEAST} of them 'control'")  # fmt: skip
    total, square = (np.zeros((len(count), data.n_vars)) for _ in range(2))
    for lo, values in _blocks(data):
        if values.min(initial=0) < 0:
            raise InputError(f"{path}: X", "has values below 0", "give counts")
        values = np.log1p(values * (1e4 / np.maximum(values.sum(1, keepdims=True), 1)))
        mine = code[lo : lo + len(values)]
        of_groups = sparse.csr_array(
            (np.ones((mine >= 0).sum()), (mine[mine >= 0], np.flatnonzero(mine >= 0))),
            shape=(len(count), len(values)),
        )
        total += of_groups @ values
        square += of_groups @ values**2
    n = np.maximum(count, 1)[:, None]
    mean = total / n
    error = np.maximum(square / n - mean**2, 0) / np.maximum(n - 1, 1)
    tables = []
    for g, name in enumerate(groups):
        if count[g] >= _LEAST:
            spread = np.sqrt(error[g] + error[-1])
            t = np.divide(mean[g] - mean[-1], spread, out=np.zeros_like(spread), where=spread > 0)
            tables.append(_strongest(str(name), targets, t, 2 * ndtr(-np.abs(t))))
    known = None if kind is None else kind.map(_TYPES).dropna().unique()
    stated = known[0] if known is not None and len(known) == 1 else None
    return _joined(tables, path).assign(type=stated, study=Path(path).stem)


def _blocks(data: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first row and [rows, genes] float64 of blocks of X."""
    rows = max(1, _VALUES // max(data.n_vars, 1))
    for lo in range(0, data.n_obs, rows):
        block = data.X[lo : lo + rows]
        dense = block.toarray() if sparse.issparse(block) else block
        yield lo, np.asarray(dense, float)


def _strongest(
    perturbed: str, targets: np.ndarray, effect: np.ndarray, p: np.ndarray
) -> pd.DataFrame:
    """Return the strongest finite effects on other genes."""
    usable = np.flatnonzero(np.isfinite(effect) & (effect != 0))
    kept = usable[np.argsort(-np.abs(effect[usable]), kind="stable")[:STRONGEST]]
    return pd.DataFrame(
        {"perturbed": perturbed, "target": targets[kept], "effect": effect[kept], "p": p[kept]}
    )


def _joined(tables: list[pd.DataFrame], path: str) -> pd.DataFrame:
    if not any(map(len, tables)):
        raise InputError(path, f"no perturbation of one gene has {_LEAST} cells, or an effect",
                         "give a file with perturbed genes")  # fmt: skip
    return pd.concat(tables, ignore_index=True)

"""Inspects obs columns of an atlas for a run: categories, donors, halves, primary data."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np
import pandas as pd

from octoscope.atlas import frames
from octoscope.atlas.cell_index import CellIndex, build_index
from octoscope.atlas.findings import Findings, some_of
from octoscope.config import AtlasConfig

_NOTHING = ("", "na", "n/a", "nan", "none", "null", "<na>")
FEW = 20  # cells below which a category has no eligible pair by default


def inspect_cells(obs: Any, config: AtlasConfig, seed: int, findings: Findings) -> CellIndex | None:
    """Note what is wrong with obs; needs no counts.

    Parameters
    ----------
    obs
        The group of the data frame.

    Returns
    -------
    CellIndex or None
        The selection of a run with this seed, if categories are named and one can be made.
    """
    where = f"{config.path}: obs"
    columns = [_column(obs, key, "category", config, findings) for key in config.category_key]
    donors = None
    if config.replicate_key is not None:
        donors = _column(obs, config.replicate_key, "donor", config, findings)
    elif config.category_key:
        findings.note(
            where,
            "no donor column is given",
            "halves are then of cells, and agreement between them says nothing about donors",
        )
    primary = _primary(obs, config, findings)
    if not config.category_key:
        findings.note(where, "no category column is given", "give --category to look at categories")
        return None
    if any(c is None for c in columns) or (config.replicate_key is not None and donors is None):
        return None
    index = None
    with findings.caught(config.path):
        ids = frames.read_index(obs, config.path)
        named = [c for c in columns if c is not None]
        index = build_index(
            ids, named, donors, primary, config.categories, seed=seed, where=config.path
        )
    if index is not None:
        _small(index, where, findings)
        if donors is not None:
            _few_donors(index, donors, f"{where}[{config.replicate_key}]", findings)
    return index


def _column(
    obs: Any, name: str, kind: str, config: AtlasConfig, findings: Findings
) -> pd.Series | None:
    where, have = f"{config.path}: obs", frames.frame_columns(obs)
    if name not in have:
        findings.error(where, f"no column {name!r}; it has {have}", f"name one of them as {kind}")
        return None
    with findings.caught(config.path):
        column = frames.read_column(obs, name, config.path, fill_missing=config.fill_missing)
        missing = int(column.isna().sum())
        if missing:
            findings.warning(
                f"{where}[{name}]",
                f"{missing:,} of {len(column):,} cells have no {kind}",
                "runs leave them out; give them one if they should count",
            )
        _lookalikes(frames.as_text(column.dropna().unique()), kind, f"{where}[{name}]", findings)
        return column
    return None


def _lookalikes(names: np.ndarray, kind: str, where: str, findings: Findings) -> None:
    """Name values that stand for nothing, and those that a reader takes for one another."""
    empty = [repr(n) for n in sorted(names) if n.strip().lower() in _NOTHING]
    if empty:
        findings.warning(
            where,
            f"text in place of a missing value: {some_of(empty)}",
            f"each counts as a {kind}; make the values missing if they are",
        )
    alike: dict[str, list[str]] = {}
    for name in sorted(set(names) - set(_NOTHING)):
        plain = unicodedata.normalize("NFKC", name)  # an accent as a sign of its own, too
        plain = re.sub(r"(?<=\w)[-_](?=[^\W_])", " ", plain)  # the sign of CD4+ and CD4- stays
        alike.setdefault(" ".join(plain.split()).casefold(), []).append(name)
    groups = [" and ".join(map(repr, same)) for same in alike.values() if len(same) > 1]
    padded = [repr(n) for n in sorted(names) if n.strip() and n != n.strip()]
    for what, some in (
        ("differ by spaces, hyphens, case or the form of letters only", groups),
        ("have spaces around", padded),
    ):
        if some:
            findings.warning(
                where,
                f"names that {what}: {some_of(some)}",
                f"each is a {kind} of its own; write them alike if they are one",
            )


def _primary(obs: Any, config: AtlasConfig, findings: Findings) -> np.ndarray | None:
    """Return [cells] whether a cell is primary data, or None where nothing says so."""
    where = f"{config.path}: obs[is_primary_data]"
    if not config.primary_only:
        return None
    if "is_primary_data" not in frames.frame_columns(obs):
        findings.note(where, "no such column", "all cells count; copies of other data sets do too")
        return None
    with findings.caught(config.path):
        column = frames.read_column(
            obs, "is_primary_data", config.path, fill_missing=config.fill_missing
        )
        primary = frames.as_bool(column, config.path)
        others = int((~primary).sum())
        if others:
            problem = f"{others:,} of {len(primary):,} cells are not primary data"
            findings.note(
                where, problem, "runs leave them out unless atlas.primary_only: false (--all-data)"
            )
        return primary
    return None


def _small(index: CellIndex, where: str, findings: Findings) -> None:
    sizes = zip(index.categories, index.halves, strict=True)
    small = [f"{name} ({len(a) + len(b)})" for name, (a, b) in sizes if len(a) + len(b) < FEW]
    if small:
        findings.warning(
            where,
            f"{len(small)} categories have fewer than {FEW} cells: {some_of(small)}",
            "too few for figures of pairs; merge them, or name others in atlas.categories",
        )


def _few_donors(index: CellIndex, donors: pd.Series, where: str, findings: Findings) -> None:
    """Name categories with one donor, and halves with one donor or none."""
    codes = pd.factorize(donors)[0]
    alone, lopsided = [], []
    for name, halves in zip(index.categories, index.halves, strict=True):
        each = [len(np.unique(codes[rows])) for rows in halves]
        if sum(each) == 1:
            alone.append(name)
        elif min(each) < 2:
            lopsided.append(f"{name} ({each[0]} and {each[1]})")
    if alone:
        findings.warning(
            where,
            f"one donor only in {some_of(alone)}",
            "there is no second half to compare with; add donors or leave the category out",
        )
    if lopsided:
        findings.warning(
            where,
            f"fewer than two donors in a half of {some_of(lopsided)}",
            "agreement between halves then hangs on one donor; add donors, or try another seed",
        )

"""Content, faults and read cost of an atlas, as far as they can be determined."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from octoscope.atlas import chunks, frames, open_store
from octoscope.atlas.atlas import Atlas
from octoscope.atlas.cell_index import CellIndex
from octoscope.atlas.cell_selection import inspect_cells
from octoscope.atlas.counts import WHOLE, advice, candidates, look_for_counts, sample_rows
from octoscope.atlas.findings import Findings
from octoscope.atlas.fraction_inspection import inspect_fractions
from octoscope.atlas.gene_inspection import inspect_genes
from octoscope.atlas.layout import (
    ArrayCost,
    arrays_of,
    check_layout,
    check_read_cost,
    cost_of_array,
)
from octoscope.atlas.open_root import open_root
from octoscope.config import AtlasConfig

_BATCH = 1024  # cells
_FEW = 20  # cells below which their totals may be alike by chance
_ALIKE = 1.1  # largest total of a cell over the smallest, where totals were made alike


@dataclass
class AtlasInfo:
    """Results of an inspection.

    Attributes
    ----------
    rows
        Name -> figure, as far as the atlas can be opened.
    arrays
        Each array that runs read.
    findings
        In the order: store, counts, genes, cells, layout, every count.
    """

    rows: dict[str, Any] = field(default_factory=dict)
    arrays: list[ArrayCost] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values; figures stand beside ``arrays`` and ``findings``."""
        arrays = [asdict(a) for a in self.arrays]
        return {**self.rows, "arrays": arrays, "findings": self.findings.as_list()}


def info(
    config: AtlasConfig,
    seed: int = 0,
    *,
    quick: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> AtlasInfo:
    """Inspect an atlas: a part that cannot be used becomes a finding, and the rest is inspected.

    Parameters
    ----------
    seed
        Of the runs to come: it decides the halves.
    quick
        Look at a sample of the counts only; otherwise every count is read and checked.
    on_progress
        Called with the cells checked so far and the number of cells.
    """
    result = AtlasInfo()
    findings = result.findings
    root = None
    with findings.caught(config.path):
        root = open_root(config.path)
    if root is None:
        return result
    counts = _counts_location(root, config, findings)
    good = counts is not None and not findings.errors
    good &= inspect_genes(root, config, counts, findings)
    index = None
    with findings.caught(config.path):
        obs = chunks.required(root, "obs", config.path)
        index = inspect_cells(obs, config, seed, findings)
    with findings.caught(config.path):
        result.arrays = [cost_of_array(a) for a in arrays_of(root, config, counts)]
        check_layout(result.arrays, counts, root, findings)
    if good:
        with findings.caught(config.path):
            # what is summed on asking is summed here, and was noted above
            atlas = Atlas(config.model_copy(update={"duplicate_genes": "sum"}))
            _describe(atlas, config, index, result, seed, quick, on_progress or (lambda *_: None))
    if counts is not None and any(WHOLE in f.problem for f in findings.errors):
        with findings.caught(config.path):
            n = len(frames.read_index(root["obs"], config.path))
            rows = sample_rows(n) if quick else np.arange(n)
            inspect_fractions(root, counts, config, rows, findings)
    return result


def _counts_location(root: Any, config: AtlasConfig, findings: Findings) -> str | None:
    """Return where the counts are, or the matrix in their place; note why it cannot be used."""
    present: str | None = None
    seen: list[tuple[str, str]] = []
    for name in candidates(config):
        try:
            rows, problem = look_for_counts(root, name, config)
        except open_store.LayoutError as error:
            rows, problem = None, error.problem
            present = present or name
        except (chunks.DamageError, chunks.FilterError) as error:
            findings.error(error.where, error.problem, error.fix)
            return name
        if rows is not None:
            present = present or name
        if problem is None:
            for other, what in seen:
                findings.note(other, f"not used: {what}", f"counts are taken from {name}")
            return name
        if problem != "absent":
            seen.append((name, problem))
    fix = advice(root, config)
    for name, problem in seen:
        findings.error(f"{config.path}: {name}", problem, fix)
    if not seen:
        problem = f"no counts: none of {', '.join(candidates(config))} is there"
        findings.error(config.path, problem, fix)
    return present


def _describe(
    atlas: Atlas,
    config: AtlasConfig,
    index: CellIndex | None,
    result: AtlasInfo,
    seed: int,
    quick: bool,
    on_progress: Callable[[int, int], None],
) -> None:
    """Fill in the figures; checks every count unless ``quick``."""
    n, rows = len(atlas.cell_ids), result.rows
    rows |= {"cells": n, "genes": len(atlas.genes), "counts": atlas.counts_source}
    rows["genes dropped or merged"] = len(atlas.gene_report)
    ratio = check_read_cost(atlas, config, index, seed, result.findings)
    if index is not None:
        for name, halves in zip(index.categories, index.halves, strict=True):
            rows[f"cells of {name}"] = sum(len(h) for h in halves)
        rows |= {f"refused: {why}": k for why, k in index.refused.items()}
        rows["read over needed by units"] = ratio
    looked_at = sample_rows(n) if quick else np.arange(n)
    started, values, total, done = time.perf_counter(), 0, 0.0, 0
    largest = 0.0
    least, most = np.inf, 0.0
    for batch in atlas.stream(looked_at, _BATCH):
        values += batch.counts.nnz
        largest = max(largest, float(batch.counts.data.max(initial=0)))
        totals = np.asarray(batch.counts.sum(axis=1, dtype=np.float64)).ravel()
        total += float(totals.sum())
        least, most = min(least, totals.min(initial=np.inf)), max(most, totals.max(initial=0.0))
        done += len(batch.rows)
        on_progress(done, len(looked_at))
    seconds = time.perf_counter() - started
    if done and not total:
        result.findings.error(
            f"{config.path}: {atlas.counts_source}",
            f"no count above 0 in {done:,} cells",
            "name the place of the counts in atlas.counts (--counts)",
        )
    if largest == 1 and values > _FEW:
        result.findings.warning(
            f"{config.path}: {atlas.counts_source}",
            f"none of {values:,} values is above 1: they may say whether a gene was seen",
            "models take raw counts: name their place in atlas.counts (--counts)",
        )
    if done >= _FEW and least > 0 and most <= _ALIKE * least:
        result.findings.warning(
            f"{config.path}: {atlas.counts_source}",
            f"all {done:,} cells have about the same total ({least:,.0f} to {most:,.0f}): values "
            "normalised and rounded, or counts sampled down",
            "models take raw counts: name their place in atlas.counts (--counts)",
        )
    if not quick:
        rows["nonzero"] = values
        rows["read over needed"] = round(atlas.cost.read / max(1, atlas.cost.needed), 2)
        rows["cells checked per second"] = round(n / max(seconds, 1e-9))
    rows["mean counts per cell"] = round(total / max(1, done), 1)
    rows["mean genes per cell"] = round(values / max(1, done), 1)

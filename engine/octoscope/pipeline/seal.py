"""The end of a run: provenance, report, manifest, ``_SUCCESS``; then scratch is removed."""

from __future__ import annotations

import platform
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from octoscope import __version__
from octoscope.config import RunConfig
from octoscope.errors import DamagedRunError
from octoscope.json_values import to_json
from octoscope.pipeline.run_analyses import outputs
from octoscope.planning.frozen_config import CONFIG
from octoscope.results.cell_tables import (
    CELLS,
    REFUSED,
    VOCABULARY_COUNTS,
    cells_table,
    refused_table,
    vocabulary_counts,
)
from octoscope.results.run_results import REPORT, TIMELINE, Results
from octoscope.run_plan.values import Plan
from octoscope.store.commits import CELLS_READ, each_record, record_path, sweep, work_of_object
from octoscope.store.fault_injection import crash_point
from octoscope.store.manifest import read_success, write_manifest
from octoscope.store.parquet import VOCABULARY, write_table
from octoscope.store.run_dir import RunRoot

DONE, QUARANTINED = 0, 3
ATTENTION = "attention.json"  # what the attention stage quarantined, and why


def finish(
    root: RunRoot,
    plan: Plan,
    config: RunConfig,
    quarantined: dict[str, str],
    written: dict[str, dict[str, Any]],
    timeline: dict[str, Any],
) -> int:
    """Seal a run; returns the exit code.

    Every driver writes the same bytes. If work was quarantined, scratch stays, so that `resume`
    can try it again.

    Parameters
    ----------
    written
        Digests of the tables that this driver wrote. Other tables, as in a repair, keep the digests
        that were sealed before: their present content has not been checked.
    timeline
        When its stages ran. That of the first driver to seal the run is kept.
    """
    from octoscope.report.page import page  # matplotlib: only when it is needed

    present = read_success(root)
    if present is not None and set(present.get("quarantined", ())) <= set(quarantined):
        remove_scratch(root, plan, config)
        return int(present["exit_code"])  # another driver finished, with as much work or more
    metrics: dict[str, dict[str, Any]] = {}
    kept: dict[str, dict[str, Any]] = {}
    for record in each_record(
        root, plan.works(), plan.hash
    ):  # the digests of scratch are read and dropped
        metrics[record.work] = {k: v for k, v in record.metrics.items() if k != CELLS_READ}
        kept[record_path(record.work)] = record.digest
        kept |= {
            n: d for n, d in record.objects.items() if quarantined or not is_scratch(n, config)
        }
    provenance = _provenance(plan, metrics, quarantined)
    root.replace("run.json", to_json(provenance))
    write_table(root, CELLS, cells_table(plan, provenance))
    write_table(root, REFUSED, refused_table(provenance))
    results = Results(root)
    write_table(root, VOCABULARY_COUNTS, vocabulary_counts(results.tables["vocabulary"]))
    earlier = _sealed(root)
    _keep_timeline(root, earlier, timeline)
    root.replace(REPORT, page(results))
    finished = plan.finished_blocks(quarantined)
    own = [CONFIG, "plan.json", "run.json", ATTENTION, VOCABULARY, REPORT]
    own += [CELLS, REFUSED, VOCABULARY_COUNTS]
    own += [TIMELINE] if root.exists(TIMELINE) else []  # earlier versions wrote none
    tables = outputs(plan, finished, config.network is not None)
    # a run of an earlier version lacks newer tables; a repair does not add them
    tables = {n: x for n, x in tables.items() if not earlier or n in earlier or n in written}
    sealed = earlier | written
    kept |= {name: root.digest(name) for name in own}
    kept |= {name: sealed.get(name) or root.digest(name) for name in tables}
    write_manifest(root, plan, kept)
    crash_point("before-success")
    success: dict[str, Any] = {
        "manifest": root.digest("manifest.json"),
        "exit_code": QUARANTINED if quarantined else DONE,
        "quarantined": sorted(quarantined),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if present is None:
        root.create_once("_SUCCESS", to_json(success))
    else:
        root.replace("_SUCCESS", to_json(success))
    remove_scratch(root, plan, config)
    return int(success["exit_code"])


def _keep_timeline(
    root: RunRoot, earlier: dict[str, dict[str, Any]], timeline: dict[str, Any]
) -> None:
    """Write when the stages ran, unless a driver before has: all seal the same bytes.

    A repair replaces a damaged one by its own; a run of an earlier version gets none.
    """
    if not earlier:
        root.create_once(TIMELINE, to_json(timeline))
        whole = _is_object(root, TIMELINE)  # without a manifest nothing says that it is intact
    elif TIMELINE in earlier:
        whole = root.exists(TIMELINE) and root.digest(TIMELINE) == earlier[TIMELINE]
    else:
        return
    if not whole:
        root.replace(TIMELINE, to_json(timeline))


def _is_object(root: RunRoot, name: str) -> bool:
    try:
        return isinstance(root.read_json(name), dict)
    except (ValueError, DamagedRunError):
        return False


def _sealed(root: RunRoot) -> dict[str, dict[str, Any]]:
    """Return the digests of an earlier manifest, if it can be read."""
    try:
        body = root.read_json("manifest.json")
    except (ValueError, DamagedRunError):
        return {}
    return dict(body["objects"]) if isinstance(body, dict) and "objects" in body else {}


def exit_code(root: RunRoot) -> int | None:
    """Return the exit code that a finished run ended with; None if it is not finished."""
    try:
        body = read_success(root)
        return None if body is None else int(body["exit_code"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedRunError(f"{root.at('_SUCCESS')}: {error!r}; use `octoscope repair`") from None


def read_quarantined(root: RunRoot) -> dict[str, str] | None:
    """Return the work that the attention stage quarantined; None if it is not done."""
    try:
        quarantined = root.read_json(ATTENTION)["quarantined"]
    except (ValueError, KeyError, TypeError):
        return None
    return dict(quarantined) if isinstance(quarantined, dict) else None


def remove_scratch(root: RunRoot, plan: Plan, config: RunConfig) -> None:
    """Delete the data of attempts that did not win, and the scratch of a complete run."""
    names = root.files()
    if exit_code(root) == DONE:
        root.remove([f for f in names if is_scratch(f, config)])
        names = [f for f in names if not is_scratch(f, config)]
    sweep(root, plan.hash, names)


def is_scratch(path: str, config: RunConfig) -> bool:
    """Tell whether a file is scratch: unit sums, and matrices that are not kept. Records are not.

    The matrices of mean cells are kept as the queries and keys that they are computed from.
    """
    if not work_of_object(path)[0]:
        return False
    if path.startswith("units/"):
        return True
    return path.startswith(("pairs/", "residuals/", "matrices/")) and config.keep_dense == "none"


def _provenance(
    plan: Plan, reported: dict[str, dict[str, Any]], quarantined: dict[str, str]
) -> dict[str, Any]:
    cells = []
    for m in plan.bases:
        for c, category in enumerate(plan.categories):
            units = [u for h in (0, 1) for u in plan.units_of(m.name, c, h)]
            metrics = [reported[u.work] for u in units if u.work in reported]
            cells.append(
                {
                    "model": m.name,
                    "category": category.name,
                    "selected": category.n_cells,
                    "used": None if m.imported else sum(f["cells_used"] for f in metrics),
                    "refused": [x for f in metrics for x in f["cells_refused"]],
                    "tokens": None if m.imported else sum(f["tokens"] for f in metrics),
                    "seconds": round(sum(f["seconds"] for f in metrics), 3),
                    "wait_seconds": round(sum(f["wait_seconds"] for f in metrics), 3),
                }
            )
    sets = [f["instruction_set"] for f in reported.values() if "instruction_set" in f]
    return {
        "schema": "octoscope-run/1",
        "octoscope": __version__,
        "plan": plan.hash,
        "config": plan.config_hash,
        "seed": plan.seed,
        "atlas": plan.atlas,
        "network": plan.network,
        "checkpoints": {m.name: m.digests for m in plan.checkpoints},
        "versions": plan.versions,
        "machine": {"system": platform.system(), "arch": platform.machine()},
        "instruction_sets": {
            "planned": plan.instruction_set,
            # pieces of work by instruction set; records of earlier versions have none
            "computed": dict(sorted(Counter(sets).items())),
        },
        "cells": cells,
        "cells_not_selected": plan.refused_cells,
        "genes": {m.name: m.gene_report for m in plan.checkpoints},
        "quarantined": quarantined,
    }

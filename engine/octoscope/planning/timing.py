"""Estimates how long a run takes here: times a few real units and matrices in their own folder."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from octoscope.config import RunConfig
from octoscope.errors import InputError
from octoscope.run_plan.values import COEXPRESSION, DonorGroupPlan, ModelPlan, Plan, Unit
from octoscope.store.run_dir import RunRoot

_CELLS = (1, 8)  # cells of the timed units: the difference of their times is the cost of a cell
_LONG = 10.0  # seconds of a unit of one cell, beyond which more cells are not tried


def estimate(plan: Plan, config: RunConfig, parent: Path | None) -> list[dict[str, Any]]:
    """Time each model on a few cells of its largest category, and one matrix of it.

    Changes no result: files go to a folder under ``parent`` (None: the system's folder for
    temporary files), which is removed. Everything runs in this process, one thing at a time, with
    the plan's threads. What a unit does once for each micro-batch is counted once, so units of
    many cells take somewhat longer.

    Returns
    -------
    list of dict
        Per model: ``model``, ``seconds_per_cell``, ``seconds_per_unit`` (what a unit costs beside
        its cells; 0 where one cell takes so long that no more were tried), ``seconds_per_matrix``,
        and ``unit_hours``, ``matrix_hours`` of one actor for the whole plan; the figures are None
        for a model that runs in another environment, on GPUs that are not here, or was imported.
    """
    rows: list[dict[str, Any]] = []
    for m in plan.bases:
        if m.python is not None or m.imported or _elsewhere(config, m):
            names = ("seconds_per_cell", "seconds_per_unit", "seconds_per_matrix", "unit_hours",
                     "matrix_hours")  # fmt: skip
            rows.append({"model": m.name, **dict.fromkeys(names)})
            continue
        with tempfile.TemporaryDirectory(prefix="octoscope-plan-", dir=parent) as folder:
            rows.append({"model": m.name, **_of_model(plan, config, m, Path(folder))})
    return rows


def _elsewhere(config: RunConfig, m: ModelPlan) -> bool:
    """Tell whether the run needs GPUs and this machine, a head or a laptop, has none."""
    needs_gpu = config.execution.device == "cuda" and m.family != COEXPRESSION
    return needs_gpu and not torch.cuda.is_available()


def require_gpu(config: RunConfig) -> None:
    """Refuse a run on this machine that asks for GPUs where torch sees none.

    Raises
    ------
    InputError
        If ``execution.device`` is cuda and there is none. The Python of a model that has one of its
        own (``python``) is asked; one that cannot import torch is refused.
    """
    if config.execution.device != "cuda" or torch.cuda.is_available():
        return
    models = [m for m in config.models if m.family != COEXPRESSION]  # it needs none
    if not all(m.python is not None and _sees_gpu(m.name, m.python) for m in models):
        build = torch.version.cuda
        what = "torch is built without CUDA" if build is None else f"torch for CUDA {build}"
        raise InputError(
            "execution.device",
            f"cuda, but no GPU is visible on this machine ({what})",
            "say auto or cpu, install a driver and torch for CUDA, or name a cluster that has GPUs "
            "(--address, RAY_ADDRESS)",
        )


def _sees_gpu(name: str, python: str) -> bool:
    """Ask the Python of a model; a slow one is left to the start of its actor."""
    command = [python, "-c", "import torch; print(torch.cuda.is_available())"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        problem = answer.stderr.strip().splitlines()[-1:] if answer.returncode else []
    except subprocess.TimeoutExpired:
        return True
    except OSError as e:
        problem = [str(e)]
    if problem:
        raise InputError(
            f"models.{name}.python",
            f"{python} cannot say whether there is a GPU ({problem[0]})",
            "name a Python in which `import torch` works",
        )
    return answer.stdout.strip() != "False"


def _of_model(plan: Plan, config: RunConfig, m: ModelPlan, folder: Path) -> dict[str, float]:
    from octoscope.extract.matrix_work import MatrixRunner

    category = max(range(len(plan.categories)), key=lambda c: plan.categories[c].n_cells or 0)
    cells = plan.categories[category].cells or (0, 0)
    root, short, runner = _trial(plan, config, m, category, (min(_CELLS[0], cells[0]), 0), folder)
    first = _timed(partial(runner.run, short.units[0])) if short.units else 0.0
    per_cell, per_unit = first, 0.0
    if first < _LONG:
        sizes = (min(_CELLS[0], cells[0]), min(_CELLS[1], cells[1]))
        root, short, runner = _trial(plan, config, m, category, sizes, folder)
        times: dict[int, float] = {}
        for unit in short.units:
            # several times: the first call loads code and fills caches
            tries = [_timed(partial(runner.run, unit)) for _ in range(3)]
            times[unit.stop - unit.start] = min(tries[1:])
        least, most = min(times), max(times)
        per_cell = (times[most] - times[least]) / (most - least) if most > least else times[most]
        per_cell = max(per_cell, 0.0)
        per_unit = max(times[least] - per_cell * least, 0.0)
    if plan.attention_variants(m.name, "mean_residual"):
        runner.mean_cell(category)
    matrices = MatrixRunner(root, short)
    pairs = _timed(partial(matrices.pairs, m.name, category))
    attention_variants = [r for r in plan.models if r.base == m.name]
    per_matrix = sum(
        _timed(partial(matrices.matrix, r.name, category, m.layers[0])) for r in attention_variants
    )
    units = [u for u in plan.units if u.model == m.name]
    n_cells = sum(u.stop - u.start for u in units)
    in_all = len(plan.categories) * (pairs + per_matrix * len(m.layers))
    # a real matrix reads the sums of all its units; this one read one unit per half
    return {
        "seconds_per_cell": per_cell,
        "seconds_per_unit": per_unit,
        "seconds_per_matrix": per_matrix / len(attention_variants),
        "unit_hours": (n_cells * per_cell + len(units) * per_unit) / 3600,
        "matrix_hours": in_all / 3600,
    }


def _trial(
    plan: Plan, config: RunConfig, m: ModelPlan, category: int, sizes: tuple[int, int], folder: Path
) -> tuple[RunRoot, Plan, Any]:
    """Return a run of a model's first cells in each half, and what computes its units."""
    units = [
        Unit(
            id=f"{m.name}.c{category:04d}.h{half}.00000000",
            model=m.name, category=category, half=half, start=0, stop=size,
        )
        for half, size in enumerate(sizes) if size
    ]  # fmt: skip
    # a few cells make pairs eligible, so that a matrix costs what it costs; each half is a donor
    # group, and the other groups have no cells
    config = config.model_copy(update={"donor_groups": 0})
    eligible = []
    for c in plan.categories:
        groups = None
        if c.groups is not None:
            ends = [*sizes, *(0 for _ in c.groups)][: len(c.groups)]
            groups = [
                DonorGroupPlan(half=i % 2, start=0, stop=end, donors=1)
                for i, end in enumerate(ends)
            ]
        eligible.append(c.model_copy(update={"min_cells": 1, "groups": groups}))
    short = plan.model_copy(update={"units": units, "categories": eligible})
    root = RunRoot(folder / f"trial-{len(list(folder.iterdir()))}")
    return root, short, _runner(root, short, config, m)


def _runner(root: RunRoot, plan: Plan, config: RunConfig, m: ModelPlan) -> Any:
    if m.family == COEXPRESSION:
        from octoscope.extract.coexpression_work import CoexpressionRunner

        return CoexpressionRunner(root, plan, config, m.name)
    from octoscope.extract.unit_work import UnitRunner

    return UnitRunner(root, plan, config, m.name)


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started

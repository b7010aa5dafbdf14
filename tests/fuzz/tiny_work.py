"""Work that takes a millisecond, in the place of models, matrices, analyses and the report."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import yaml
from octoscope.analysis.registry import Analysis, Context, Needs
from octoscope.results import run_matrices
from octoscope.results.run_results import Results
from octoscope.results.stored_sums import read_finished_record, tile_of, unit_arrays
from octoscope.run_plan.values import Block, Plan
from octoscope.run_plan.work_names import block_of, matrix_work
from octoscope.store import sealed_run, tiles
from octoscope.store.commits import Attempt, Record
from octoscope.store.instruction_set import instruction_set
from octoscope.store.parquet import read_table, table_bytes
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot
from rich.console import Console

from tests.fuzz.histories import make_config
from tests.here import Done, here, without_ray

NOWHERE = Console(file=open(os.devnull, "w"))  # noqa: SIM115  as long as the process
COMPUTED: list[str] = []  # what workers of this process did
FAILING = ""  # work that fails
_N, _TILE = 4, 2


class TinyWorker:
    """Does the pieces of a plan: units write numbers of their own, the others add them up."""

    def __init__(self, run: str, model: str | None, name: str, gpus: float = 0) -> None:
        self._root = RunRoot(run)
        self._plan = load_plan(self._root)

    def ready(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "host": "here", "device": "cpu", "gpus": 0,
                "instruction_set": instruction_set()}  # fmt: skip

    def run(self, work: str) -> dict[str, Any]:
        COMPUTED.append(work)
        if work == FAILING:
            raise ValueError("this piece fails")
        kind = work.split("/", 1)[0]
        {"units": self._unit, "pairs": self._pairs, "matrices": self._matrix}[kind](work)
        return {"seconds": 0.0}

    def _unit(self, work: str) -> None:
        unit = next(u for u in self._plan.units if u.work == work)
        attempt = Attempt(self._root, work)
        values = np.random.default_rng(zlib.crc32(work.encode())).random((1, _N, _N))
        tiles.write_array(attempt.zarr("sums.zarr"), "sums", values.astype(np.float32), _TILE)
        metrics = {"cells_used": unit.stop - unit.start, "cells_refused": [], "tokens": 1,
                   "seconds": 0.0, "wait_seconds": 0.0}  # fmt: skip
        attempt.commit(self._plan.hash, metrics)

    def _sum(self, work: str) -> np.ndarray:
        """Add up the units of a block as the product does; [1, n, n]."""
        model, category = block_of(work)
        units = [u.work for h in (0, 1) for u in self._plan.units_of(model, category, h)]
        records = [read_finished_record(self._root, self._plan, u) for u in units]
        arrays = unit_arrays(self._root, records, "sums")
        rows = range(0, _N, _TILE)
        return np.concatenate(
            [tile_of(arrays, r, r + _TILE, np.zeros((1, _TILE, _N))) for r in rows], 1
        )

    def _pairs(self, work: str) -> None:
        attempt = Attempt(self._root, work)
        tiles.write_array(attempt.zarr("pairs.zarr"), "sums", self._sum(work), _TILE)
        attempt.commit(self._plan.hash, {})

    def _matrix(self, work: str) -> None:
        attempt = Attempt(self._root, work)
        values = self._sum(work)
        tiles.write_array(attempt.zarr("dense.zarr"), "sums", values, _TILE)
        frame = pd.DataFrame({"work": [work], "total": [float(values.sum())]})
        attempt.write("stats.parquet", table_bytes(frame))
        attempt.commit(self._plan.hash, {})


def _records(run: Any, blocks: Sequence[Block]) -> Iterator[tuple[RunRoot, Record]]:
    root = RunRoot(run.url)
    plan = load_plan(root)
    for b in blocks:
        for layer in plan.model(b.model).layers:
            work = matrix_work(b.model, b.category, layer)
            yield root, read_finished_record(root, plan, work)


def _stats(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    tables = [
        read_table(root, f"{r.folder}/stats.parquet")
        for root, r in _records(context.run, context.finished)
    ]
    yield "tables/stats.parquet", pd.concat([pd.DataFrame({"work": [], "total": []}), *tables])


def _rows(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    for b in context.finished:
        path = f"topk/{b.model}.c{b.category:04d}.parquet"
        if context.wants(path):
            for root, r in _records(context.run, [b]):
                array = tiles.open_array(root.zarr(f"{r.folder}/dense.zarr"), "sums")
                yield path, pd.DataFrame(tiles.read_rows(array, 0, _N)[0]).rename(columns=str)


def _analyses(names: Sequence[str] = ()) -> list[Analysis]:
    return [
        Analysis("stats", Needs(), lambda plan, blocks: {"tables/stats.parquet": blocks}, _stats),
        Analysis(
            "rows",
            Needs(matrices=True),
            lambda plan, blocks: {f"topk/{b.model}.c{b.category:04d}.parquet": [b] for b in blocks},
            _rows,
        ),
    ]


def _page(results: Results, *_: str | None) -> bytes:
    totals = zlib.crc32(results._root.read("tables/stats.parquet") or b"")
    return f"<p>{len(results.provenance['cells'])}, {totals}</p>".encode()


def plan(top: Path, keep: str, out: Path) -> Done:
    """Plan a run of the atlas in ``top`` by the command."""
    return here("plan", str(top / f"{keep}.yaml"), "--out", str(out), "--no-calibrate")


def plans(top: Path) -> dict[str, Path]:
    """Plan a run that keeps its matrices and one that does not; real plans of a real atlas."""
    make_config(top)
    planned = {}
    for keep in ("none", "fp32"):
        tree = yaml.safe_load((top / "config.yaml").read_text())
        config = top / f"{keep}.yaml"
        config.write_text(yaml.safe_dump(tree | {"keep_dense": keep}))
        planned[keep] = top / f"plan-{keep}"
        done = plan(top, keep, planned[keep])
        assert done.returncode == 0, done.stderr
    return planned


def forget() -> None:
    """Forget what this process compared and opened: the next reader is another process."""
    sealed_run._SOUND.clear()
    for cached in (run_matrices.plan_of, run_matrices._sealed):
        cached.cache_clear()


def _as_planned(root: RunRoot) -> Plan:
    return load_plan(root)


@contextmanager
def instead() -> Iterator[None]:
    """Replace what computes; inputs are looked at when a run is planned, and not again."""
    from octoscope.cluster import repair, worker
    from octoscope.pipeline import run_analyses
    from octoscope.report import page

    with (
        without_ray(),
        mock.patch.object(worker, "Worker", TinyWorker),
        mock.patch.object(run_analyses, "analyses", _analyses),
        mock.patch.object(page, "page", _page),
        mock.patch.object(repair, "replan", _as_planned),
    ):
        yield

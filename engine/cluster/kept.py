"""Finished runs that kept their matrices (``keep_dense: fp32``), to be asked more later."""

from __future__ import annotations

from engine.cluster.comparable import plan_of
from engine.errors import InputError
from engine.store.manifest import require_success
from engine.store.plan import Plan
from engine.store.records import read_record
from engine.store.root import RunRoot


def kept_plan(run: str) -> Plan:
    """Return the plan of a finished run whose matrices are there.

    Raises
    ------
    InputError
        If it did not keep them.
    DamagedRunError
        If it is unfinished.
    """
    root = RunRoot(run)
    require_success(root)
    plan = plan_of(root.url)
    works = plan.pairs_work()  # what every matrix needs, kept where matrices are
    record = read_record(root, works[0], plan.hash) if works else None
    if record is None or not any(".zarr/" in n and root.exists(n) for n in record.objects):
        raise InputError(
            root.at("config.yaml"),
            "keep_dense: none; its matrices are gone",
            "run again into a new directory with keep_dense: fp32",
        )
    return plan

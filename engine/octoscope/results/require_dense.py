"""Finished runs that kept their matrices (``keep_dense: fp32``), to be asked more later."""

from __future__ import annotations

from octoscope.analysis.pairings import plan_of
from octoscope.errors import InputError
from octoscope.plan.values import Plan
from octoscope.store.commits import read_record
from octoscope.store.manifest import require_success
from octoscope.store.run_dir import RunRoot


def require_dense_plan(run: str) -> Plan:
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

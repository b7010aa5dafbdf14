"""``octoscope repair``: finds and names damage, and computes it again."""

from __future__ import annotations

from contextlib import nullcontext

from rich.console import Console

from octoscope.cluster.driver import execute
from octoscope.errors import DamagedRunError
from octoscope.pipeline.repair_plan import (
    is_sealed,
    note_repair,
    open_repair,
    plan_repair,
    read_repair,
    rewrite_frozen,
    set_foreign_apart,
)
from octoscope.pipeline.seal import DONE
from octoscope.planning.freeze import replan
from octoscope.planning.frozen_config import CONFIG, run_config
from octoscope.store.lease import Lease
from octoscope.store.manifest import damaged, verify
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot


def repair_run(
    root: RunRoot,
    console: Console,
    *,
    dry: bool = False,
    address: str | None = None,
    steal: bool = False,
) -> int:
    """Find damage and repair it; returns the exit code.

    Parameters
    ----------
    dry
        Only say what would be done.

    Raises
    ------
    DamagedRunError
        If the configuration is damaged, or the plan and the inputs have changed since.
    """
    if not dry and read_repair(root) is not None:
        # an earlier repair was cut off: its tables are not sealed, so nothing could be checked
        execute(root, replan(root), console, address=address, steal=steal)
    faults = verify(root)
    for fault in faults:
        console.print(f"{fault.object}: {fault.what}", markup=False, soft_wrap=True)
    bad = damaged(faults)
    if CONFIG in bad:
        raise DamagedRunError(f"{root.at(CONFIG)}: damaged; restore it from a copy")
    config = run_config(root)
    if dry and "plan.json" in bad:
        console.print("plan.json would be written again first; then the rest can be planned")
        return DONE
    with Lease(root, config.execution.advanced.lease, steal=steal) if not dry else nullcontext():
        if not dry:
            rewrite_frozen(root, config, faults)
        plan = load_plan(root) if dry else replan(root)
        repair = plan_repair(root, plan, config, faults)
        units = sum(w.startswith("units/") for w in repair.works)
        console.print(
            f"{len(faults)} faults; to compute again: {units} units, "
            f"{len(repair.works) - units} other pieces of work, {len(repair.outputs)} tables"
        )
        if dry:
            return DONE
        for name in set_foreign_apart(root, faults):
            console.print(f"moved to {name}", markup=False, soft_wrap=True)
        if root.is_irregular("_SUCCESS"):
            root.remove(["_SUCCESS"])
        if not root.exists("_SUCCESS") and not is_sealed(root, bad):
            open_repair(root, repair)
            console.print(f"{root.url}: an unfinished run; `octoscope resume` computes the rest")
            return DONE
        if bad:
            note_repair(root, repair)
    return execute(root, plan, console, address=address, steal=steal)

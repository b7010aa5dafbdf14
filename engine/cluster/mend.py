"""``octoscope repair``: damage found, named, and computed again."""

from __future__ import annotations

from rich.console import Console

from engine.cluster.driver import execute
from engine.cluster.finish import DONE
from engine.cluster.frozen import replan, run_config
from engine.cluster.repair import (
    mend_frozen,
    note_repair,
    open_repair,
    plan_repair,
    read_repair,
    set_foreign_apart,
)
from engine.store.lease import Lease
from engine.store.manifest import FOREIGN, verify
from engine.store.plan import load_plan
from engine.store.root import RunRoot


def mend(
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
    config = run_config(root)
    faults = verify(root)
    for fault in faults:
        console.print(f"{fault.object}: {fault.what}", markup=False, soft_wrap=True)
    if not dry:
        mend_frozen(root, config, faults)
    plan = load_plan(root) if dry else replan(root)
    repair = plan_repair(root, plan, config, faults)
    units = sum(w.startswith("units/") for w in repair.works)
    console.print(
        f"{len(faults)} faults; to compute again: {units} units, {len(repair.works) - units} other "
        f"pieces of work, {len(repair.outputs)} tables"
    )
    if dry:
        return DONE
    for name in set_foreign_apart(root, faults):
        console.print(f"moved to {name}", markup=False, soft_wrap=True)
    if not root.exists("_SUCCESS") and read_repair(root) is None:
        with Lease(root, config.execution.lease, steal=steal):
            open_repair(root, repair)
        console.print(f"{root.url}: an unfinished run; `octoscope resume` computes the rest")
        return DONE
    if any(f.what != FOREIGN for f in faults):
        note_repair(root, repair)
    return execute(root, plan, console, address=address, steal=steal)

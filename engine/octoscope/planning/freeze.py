"""Freezes configuration, plan and gene vocabulary in a run directory before anything runs."""

from __future__ import annotations

from octoscope.atlas import Atlas
from octoscope.atlas.atlas import PLANNED
from octoscope.config import RunConfig, dump_config
from octoscope.errors import InputError, some, warn
from octoscope.extract.cells_read import require_read_again
from octoscope.output_files import require_outside
from octoscope.planning.derive import result_fields
from octoscope.planning.frozen_config import CONFIG, run_config
from octoscope.planning.resolve import make_plan, plan_run
from octoscope.run_plan.values import Plan
from octoscope.store.backends import PROBE, require_conditional_create
from octoscope.store.parquet import VOCABULARY, write_table
from octoscope.store.plan_file import differences, load_plan, save_plan
from octoscope.store.run_dir import RunRoot, require_lasting


def prepare(config: RunConfig, run: str) -> tuple[RunRoot, Plan]:
    """Plan a run and freeze configuration and plan in its directory.

    A directory that already holds the same plan is accepted, so that a job can be submitted twice.

    Raises
    ------
    InputError
        If the input cannot be used, or the directory holds something else or lies in an input.
    """
    require_lasting(run)
    root = RunRoot(run)
    if root.url.startswith("memory://"):
        raise InputError(
            root.url, "actors do not share the memory of this process", "give a path or s3://"
        )
    try:
        return _prepare(root, config)
    except OSError as error:
        where, seen = root.url, f"cannot be used ({error})"
        if isinstance(error, PermissionError) and isinstance(error.filename, str):
            where, seen = error.filename, str(error.strerror)  # an input, more often than the run
        raise InputError(where, seen, "check the address and the rights to it") from error


def _prepare(root: RunRoot, config: RunConfig) -> tuple[RunRoot, Plan]:
    require_outside(root.url, config.input_paths())
    if root.exists(CONFIG):
        present = run_config(root)
        changed = differences(result_fields(present), result_fields(config))
        if changed:
            raise InputError(
                root.url,
                f"holds a run of another configuration; it differs in {', '.join(changed[:8])}",
                "run into a new directory, or use `octoscope resume`",
            )
        return root, replan(root)
    folder = root.folder
    if folder is not None and folder.is_file():
        raise InputError(root.url, "is a file", "choose another")
    if any(not f.startswith(PROBE) for f in root.files()):
        raise InputError(root.url, "is not an empty directory", "choose another")
    if folder is None:
        require_conditional_create(root.objects, root.url)
    plan, genes = plan_run(config, folder)
    if folder is not None:  # planning made the folder, once the input was known to be good
        require_conditional_create(root.objects, root.url)
    if not root.create_once(CONFIG, dump_config(config).encode()):
        return _prepare(root, config)  # another process was first
    save_plan(root, plan)
    write_table(root, VOCABULARY, genes)
    return root, plan


def replan(root: RunRoot) -> Plan:
    """Check that inputs and versions are still those of the frozen plan, and return it.

    Raises
    ------
    InputError
        Naming what changed: a resumed run must equal an uninterrupted one.
    """
    config = run_config(root)
    if not root.exists("plan.json"):  # stopped between the two files
        save_plan(root, make_plan(config, root.folder))
    plan = load_plan(root)
    again, genes = plan_run(config, root.folder, threads=plan.threads, check_fit=False)
    if plan.atlas is not None and again.atlas is not None:
        sample = plan.atlas.get("sample")
        same = again.atlas["fingerprint"] == plan.atlas["fingerprint"]
        if same and sample not in (None, again.atlas["sample"]):
            Atlas(config.cells).require_sample(sample, PLANNED)
        if same and plan.count_files not in ({}, again.count_files):
            uncertain = _require_same_counts(root, plan, config)
            if uncertain:
                warn(uncertain)
    save_plan(root, again)
    if not root.exists(VOCABULARY):
        write_table(root, VOCABULARY, genes)
    return plan


def _require_same_counts(root: RunRoot, plan: Plan, config: RunConfig) -> str:
    """Compare counts whose files were written since: by stored checksums, else as units read them.

    Returns what could not be compared; '' for nothing.

    Raises
    ------
    InputError
        Naming array, and file or chunk.
    """
    atlas = Atlas(config.cells)
    later = atlas.require_count_files(plan.count_files, PLANNED)
    if not later:
        return ""
    cells = require_read_again(root, plan, atlas, atlas.index_of(config).halves)
    return (
        f"{config.cells.path}: {some(later, 3)}: written after the run was planned, without "
        f"checksums to compare; {cells:,} cells that units had read are the same, others are "
        "counted as they are now"
    )

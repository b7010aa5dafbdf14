"""Repair: finds the least work that repairs the faults of a run, and notes it until it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from octoscope.config import RunConfig
from octoscope.errors import DamagedRunError
from octoscope.json_values import to_json
from octoscope.pipeline.run_analyses import Output, outputs
from octoscope.pipeline.seal import ATTENTION, read_quarantined
from octoscope.planning.analysis_memory import LATER_NEEDS
from octoscope.planning.resolve import plan_run
from octoscope.run_plan.values import COEXPRESSION, Plan
from octoscope.run_plan.work_names import block_of, matrix_work, pairs_work, residual_work
from octoscope.store.commits import keep_cells_read, read_record, record_path
from octoscope.store.manifest import (
    FOREIGN,
    JOURNAL,
    Fault,
    check_objects,
    damaged,
    listed,
    read_success,
    require_success,
)
from octoscope.store.parquet import VOCABULARY, write_table
from octoscope.store.plan_file import changed
from octoscope.store.run_dir import RunRoot


@dataclass(frozen=True)
class Repair:
    """Work and tables that have to be made again.

    Attributes
    ----------
    works
        Folders of work whose records are removed.
    outputs
        Tables of the analysis.
    opened
        Whether the records were removed already.
    """

    works: list[str]
    outputs: list[str]
    opened: bool = False


def read_repair(root: RunRoot) -> Repair | None:
    """Return the repair that a run is in the middle of, or None."""
    try:
        body = root.read_json(JOURNAL)
        return None if body is None else Repair(**body)
    except (ValueError, TypeError) as error:
        problem = f"damaged ({error}); remove it and use `octoscope repair`"
        raise DamagedRunError(f"{root.at(JOURNAL)}: {problem}") from None


def note_repair(root: RunRoot, repair: Repair) -> None:
    """Remember a repair of a finished run; the next driver carries it out."""
    root.replace(JOURNAL, to_json(asdict(repair)))


def is_sealed(root: RunRoot, bad: set[str]) -> bool:
    """Tell whether a run was finished whose ``_SUCCESS`` is lost."""
    return "_SUCCESS" in bad and root.exists("manifest.json")


def plan_repair(root: RunRoot, plan: Plan, config: RunConfig, faults: list[Fault]) -> Repair:
    """Find the least work that repairs the faults.

    A table needs its matrices, and a matrix its units. Those that are intact are used; those that
    were removed as scratch are computed again.
    """
    bad = damaged(faults)
    finished = root.exists("_SUCCESS") or is_sealed(root, bad)
    quarantined = set(read_quarantined(root) or {})
    tables = outputs(plan, plan.finished_blocks(quarantined), config.network is not None)
    again = [name for name in tables if name in bad] if finished else []
    if "manifest.json" in bad:  # without digests no table can be trusted
        again = list(tables)
    needed = _Needed(root, plan, bad, finished)
    if finished and quarantined:  # its scratch is there: what was quarantined is tried again
        tables = outputs(plan, plan.finished_blocks({}), config.network is not None)
        again = list(tables)
        for work in plan.works():
            if not root.exists(record_path(work)):
                needed.add(work)
    counted = set(plan.pairs_work())
    touched = {"/".join(name.split("/")[:2]) for name in bad}
    for work in plan.works():
        if work in touched:
            needed.add(work)
    for name in again:
        needs = tables[name].needs
        for work in _matrices(plan, tables[name]):
            needed.add_unless_whole(work, dense=needs.matrices)
            if needs.matrices and _pairs_of(plan, work) in counted:
                needed.add_unless_whole(_pairs_of(plan, work))
            if (needs.donors and _has_donors(plan, work)) or (
                needs.correlations and _has_correlations_within_donors(plan, work)
            ):
                needed.add_sources_unless_whole(work)
            if (needs.matrices or needs.residuals) and _of_mean_cell(plan, work):
                needed.add_unless_whole(_residuals_of(plan, work))
    return Repair([w for w in plan.works() if w in needed.works], again)


def _matrices(plan: Plan, output: Output) -> list[str]:
    return [
        matrix_work(b.model, b.category, layer)
        for b in output.blocks
        for layer in plan.model(b.model).layers
    ]


def _of_mean_cell(plan: Plan, matrix: str) -> bool:
    return plan.model(block_of(matrix)[0]).estimator == "mean_residual"


def _has_donors(plan: Plan, matrix: str) -> bool:
    model, category = block_of(matrix)
    has_groups = plan.categories[category].groups is not None
    return has_groups and plan.model(model).family != COEXPRESSION


def _has_correlations_within_donors(plan: Plan, matrix: str) -> bool:
    model, category = block_of(matrix)
    return plan.categories[category].groups is not None and plan.model(model).estimator == "pearson"


def _residuals_of(plan: Plan, matrix: str) -> str:
    model, category = block_of(matrix)
    return residual_work(plan.model(model).base, category)


def _pairs_of(plan: Plan, matrix: str) -> str:
    model, category = block_of(matrix)
    return pairs_work(plan.model(model).base, category)


class _Needed:
    """Work that has to be done again, with those of its sources that are gone."""

    def __init__(self, root: RunRoot, plan: Plan, bad: set[str], finished: bool) -> None:
        self._root, self._plan, self._bad, self._finished = root, plan, bad, finished
        # of a finished run only these were compared; scratch that is left may be torn
        of_manifest = finished and "manifest.json" not in bad
        self._compared = listed(root) if of_manifest else None  # None: all that is there
        self._seen: dict[tuple[str, bool], bool] = {}  # tables share matrices: check each once
        self.works: set[str] = set()

    def add(self, work: str) -> None:
        if work in self.works:
            return
        self.works.add(work)
        for source in self._sources(work):
            # in an unfinished run, work without a record is still to be done
            if self._finished or self._root.exists(record_path(source)):
                self.add_unless_whole(source)

    def add_unless_whole(self, work: str, *, dense: bool = True) -> None:
        key = work, dense
        if key not in self._seen:
            self._seen[key] = self._whole(work, dense)
        if not self._seen[key]:
            self.add(work)

    def add_sources_unless_whole(self, work: str) -> None:
        for source in self._sources(work):
            self.add_unless_whole(source)

    def _whole(self, work: str, dense: bool) -> bool:
        """Tell whether the objects of a piece of work exist; without ``dense`` only its tables."""
        if record_path(work) in self._bad:
            return False
        try:
            record = read_record(self._root, work, self._plan.hash)
        except DamagedRunError:
            return False
        if record is None:
            return False
        names = [n for n in record.objects if dense or ".zarr/" not in n]
        if any(n in self._bad or not self._root.exists(n) for n in names):
            return False
        if self._compared is None:
            return True
        scratch = {n: record.objects[n] for n in names if n not in self._compared}
        return not check_objects(self._root, scratch)

    def _sources(self, work: str) -> list[str]:
        kind = work.split("/", 1)[0]
        if kind == "units":
            return []
        name, category = block_of(work)
        m = self._plan.model(name)
        units = [u.work for h in (0, 1) for u in self._plan.units_of(name, category, h)]
        if kind in ("pairs", "residuals"):
            return units
        pairs = [] if m.imported else [pairs_work(m.base, category)]
        if m.estimator == "mean_residual":
            return [residual_work(m.base, category), *pairs]
        return units + pairs


def open_repair(root: RunRoot, repair: Repair) -> Repair:
    """Note the repair, reopen the run, remove records. After a crash the next call continues.

    The journal is written first and removed last, so it lists all removed records. For an
    unfinished run only records are removed; `resume` does the rest. What removed units read is
    kept: they must read the same again.
    """
    finished = root.exists("_SUCCESS") or root.exists(JOURNAL)
    if finished:
        note_repair(root, repair)
        root.remove(["_SUCCESS"])
    for work in repair.works:
        if work.startswith("units/"):
            keep_cells_read(root, work)
    root.remove([record_path(w) for w in repair.works])
    not_removed = [w for w in repair.works if root.exists(record_path(w))]
    if not_removed:
        raise DamagedRunError(f"{root.at(record_path(not_removed[0]))}: cannot be deleted")
    opened = replace(repair, opened=True)
    if finished:
        note_repair(root, opened)
    return opened


def rewrite_frozen(root: RunRoot, config: RunConfig, faults: list[Fault]) -> None:
    """Write a damaged plan, vocabulary or list of quarantined work again.

    Raises
    ------
    DamagedRunError
        If the inputs or versions have changed since, so that it is another plan.
    """
    bad = damaged(faults)
    if ATTENTION in bad:
        names = (read_success(root) or {}).get("quarantined", [])
        quarantined = dict.fromkeys(names, "quarantined before a repair")
        root.replace(ATTENTION, to_json({"quarantined": quarantined}))
    if not bad & {"plan.json", VOCABULARY}:
        return
    threads = config.execution.threads or None
    plan, genes = plan_run(config, root.folder, threads=threads, check_fit=False)
    expected = require_success(root)["plan"]
    if "plan.json" not in bad:  # intact: only its projected needs may be of another version
        same = not changed(root.read_json("plan.json"), plan)
    else:
        needs = {k: v for k, v in plan.needs.items() if k not in LATER_NEEDS}
        candidates = (plan, plan.model_copy(update={"needs": needs}))
        plan = next((p for p in candidates if p.hash == expected), plan)
        same = plan.hash == expected
    if not same:
        raise DamagedRunError(
            f"{root.at('plan.json')}: damaged, and planning again gives another plan "
            f"({plan.hash[:12]}, not {expected[:12]}): inputs, versions or CPUs changed since; "
            "restore it from a copy"
        )
    if "plan.json" in bad:
        root.replace("plan.json", to_json(plan.model_dump(mode="json")))
    write_table(root, VOCABULARY, genes)


def set_foreign_apart(root: RunRoot, faults: list[Fault]) -> list[str]:
    """Move objects that are not part of the run under ``foreign/``; returns their names there.

    They may belong to somebody, so nothing is deleted.
    """
    moved = []
    for fault in faults:
        if fault.what != FOREIGN:
            continue
        try:
            data = root.read(fault.object)
        except (OSError, DamagedRunError):  # a link to a folder is not followed
            continue
        if data is None:
            continue
        name, n = f"foreign/{fault.object}", 1
        while not root.create_once(name, data):  # one of that name was moved before
            name, n = f"foreign/{fault.object}.{n}", n + 1
        root.remove([fault.object])
        moved.append(name)
    return moved

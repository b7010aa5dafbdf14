"""Damage on disk: found, named, and repaired by computing again only what it needs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from octoscope.pipeline.repair_plan import plan_repair
from octoscope.planning.frozen_config import run_config
from octoscope.store.manifest import verify
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

from tests.conftest import octoscope, tables_of
from tests.faults.runs import crash
from tests.here import here, without_ray


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "copy"))


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def dense_chunk(run: Path, matrix: str = "*") -> Path:
    chunks = sorted(run.glob(f"matrices/{matrix}/*/dense.zarr/sums/c/**/*"))
    return next(p for p in chunks if p.is_file())


def test_verify_finds_a_flipped_bit(copy: Path) -> None:
    for victim in (dense_chunk(copy), copy / "tables/stats.parquet"):
        flip(victim)
        completed = here("verify", str(copy))
        assert completed.returncode == 1
        assert f"{victim.relative_to(copy)}: content does not match" in completed.stderr


def test_verify_finds_missing_truncated_and_foreign_objects(copy: Path) -> None:
    missing = dense_chunk(copy)
    missing.unlink()
    record = copy / "units/tiny.c0000.h0.00000000/record.json"
    record.unlink()
    cut(copy / "topk/tiny.parquet")
    (copy / "tables/mine.parquet").write_bytes(b"x")
    late = copy / "units/tiny.c0000.h0.00000000/attempt-late/sums"  # a worker that woke too late
    late.parent.mkdir()
    late.write_bytes(b"x")
    answer = json.loads(here("verify", str(copy), "--json").stdout)
    faults = {f["object"]: f["what"] for f in answer}
    assert faults[str(missing.relative_to(copy))] == "missing"
    assert faults[str(record.relative_to(copy))] == "missing"
    assert "100 bytes" in faults["topk/tiny.parquet"]
    assert faults["tables/mine.parquet"] == "not part of the run"
    assert len(faults) == 4


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_verify_names_a_lost_success_and_what_is_no_regular_file(
    copy: Path, finished_run: Path
) -> None:
    """Red: the run counts as unfinished, or verify ends at the first pipe."""
    success = (copy / "_SUCCESS").read_bytes()
    (copy / "_SUCCESS").unlink()
    root = RunRoot(copy)
    assert [(f.object, f.what) for f in verify(root)] == [("_SUCCESS", "missing")]
    os.mkfifo(copy / "_SUCCESS")
    assert [(f.object, f.what) for f in verify(root)] == [("_SUCCESS", "is no regular file")]
    (copy / "_SUCCESS").unlink()
    (copy / "_SUCCESS").write_bytes(success)
    odd = [dense_chunk(copy), copy / "tables/stats.parquet", copy / "plan.json"]
    for victim in odd:
        as_pipe(victim)
    done = here("verify", str(copy), "--json")
    assert {(f["object"], f["what"]) for f in json.loads(done.stdout)} == {
        (str(victim.relative_to(copy)), "is no regular file") for victim in odd
    }
    as_pipe(copy / "manifest.json")
    odd[2].unlink()
    shutil.copy(finished_run / "plan.json", copy)  # records are checked by it
    faults = {f.object: f.what for f in verify(root)}
    assert "manifest.json: is no regular file" in faults["manifest.json"]


@pytest.mark.slow
@pytest.mark.parametrize("pipe", [False, True], ids=["missing", "pipe"])
def test_a_lost_success_and_pipes_are_repaired(copy: Path, finished_run: Path, pipe: bool) -> None:
    (copy / "_SUCCESS").unlink()
    if pipe:
        os.mkfifo(copy / "_SUCCESS")
        as_pipe(copy / "tables/stats.parquet")
    assert "_SUCCESS" in repaired(copy, finished_run)


def needed(run: Path) -> tuple[list[str], list[str]]:
    root = RunRoot(run)
    plan = plan_repair(root, load_plan(root), run_config(root), verify(root))
    return plan.works, plan.outputs


UNITS = [f"units/tiny.c0000.h{half}.0000000{start}" for half in (0, 1) for start in (0, 8)]


@pytest.mark.parametrize(
    ("damage", "works", "outputs"),
    [
        (lambda r: None, [], []),
        (lambda r: flip(r / "report/index.html"), [], []),
        (lambda r: cut(r / "run.json"), [], []),
        (lambda r: cut(r / "timeline.json"), [], []),
        (lambda r: (r / "topk/tiny.parquet").unlink(), [], ["topk/tiny.parquet"]),
        (lambda r: flip(r / "tables/layers.parquet"), [], ["tables/layers.parquet"]),
        (lambda r: flip(r / "union/tiny.c0001.parquet"), [], ["union/tiny.c0001.parquet"]),
        (
            lambda r: dense_chunk(r, "tiny.c0000.l002").unlink(),
            [*UNITS, "matrices/tiny.c0000.l002"],
            [],
        ),
        (
            lambda r: shutil.rmtree(next((r / "pairs/tiny.c0000").glob("attempt-*"))),
            [*UNITS, "pairs/tiny.c0000"],
            [],
        ),
        (lambda r: cut(r / UNITS[1] / "record.json"), [UNITS[1]], []),
    ],
    ids=[
        "none",
        "report",
        "run.json",
        "timeline",
        "topk",
        "layers",
        "union",
        "matrix",
        "pairs",
        "record",
    ],
)
def test_a_repair_computes_only_what_is_damaged_and_what_that_needs(
    copy: Path, damage: Callable[[Path], None], works: list[str], outputs: list[str]
) -> None:
    damage(copy)
    assert needed(copy) == (works, outputs)


def sealed_without(copy: Path, gone: Callable[[str], bool]) -> RunRoot:
    """Seal a run anew as if it had never had some of its objects."""
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["objects"] = {k: v for k, v in manifest["objects"].items() if not gone(k)}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    root = RunRoot(copy)
    root.replace("_SUCCESS", json.dumps(
        root.read_json("_SUCCESS") | {"manifest": root.digest("manifest.json")}).encode()
    )  # fmt: skip
    return root


def test_without_dense_matrices_a_table_needs_them_again(copy: Path) -> None:
    for folder in (*copy.glob("matrices/*/attempt-*"), *copy.glob("pairs/*/attempt-*")):
        shutil.rmtree(folder)  # as `keep_dense: none` leaves a run
    root = sealed_without(copy, lambda name: "/attempt-" in name)
    assert verify(root) == []
    (copy / "union/tiny.c0000.parquet").unlink()
    works, outputs = needed(copy)
    assert outputs == ["union/tiny.c0000.parquet"]
    assert works == [
        *UNITS, "pairs/tiny.c0000", "matrices/tiny.c0000.l000", "matrices/tiny.c0000.l002",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_of_a_version_with_fewer_tables_is_repaired_as_it_was(copy: Path) -> None:
    later = ["tables/layers_categories.parquet", "tables/model_pairs.parquet"]
    for name in later:
        (copy / name).unlink()
    root = sealed_without(copy, lambda name: name in later)
    assert verify(root) == []
    (copy / "report/index.html").unlink()
    done = here("repair", str(copy))
    assert done.returncode == 0, done.stdout + done.stderr
    assert verify(root) == []
    assert not any((copy / name).exists() for name in later)


def repaired(run: Path, finished_run: Path) -> str:
    done = here("repair", str(run))
    assert done.returncode == 0, done.stdout + done.stderr
    assert tables_of(run) == tables_of(finished_run)
    assert verify(RunRoot(run)) == []
    assert not (run / "repair.json").exists()
    return str(done.stdout)


@pytest.mark.slow
def test_repair_gives_the_bytes_back(copy: Path, finished_run: Path) -> None:
    flip(copy / "topk/tiny.parquet")
    (copy / "timeline.json").unlink()
    (copy / "union/tiny.c0001.parquet").unlink()
    (copy / "tables/mine.parquet").write_bytes(b"x")
    untouched = {p: p.read_bytes() for p in copy.glob("units/*/record.json")}
    dry = here("repair", str(copy), "--dry-run")
    assert "4 faults; to compute again: 0 units, 0 other pieces of work, 2 tables" in dry.stdout
    assert len(verify(RunRoot(copy))) == 4
    text = repaired(copy, finished_run)
    assert "topk/tiny.parquet: content does not match its digest" in text
    assert (copy / "foreign/tables/mine.parquet").read_bytes() == b"x"
    assert all(p.read_bytes() == body for p, body in untouched.items())


@pytest.mark.slow
def test_without_a_manifest_a_damaged_timeline_is_written_again(
    copy: Path, finished_run: Path
) -> None:
    (copy / "manifest.json").write_text("{")
    (copy / "timeline.json").write_text("[")
    repaired(copy, finished_run)
    assert json.loads((copy / "timeline.json").read_text())["stages"]


@pytest.mark.slow
def test_repair_computes_units_again_for_a_lost_chunk(copy: Path, finished_run: Path) -> None:
    lost = dense_chunk(copy, "tiny.c0000.l002")
    before = {
        p.relative_to(copy / "matrices/tiny.c0000.l002").parts[1:]: p.read_bytes()
        for p in lost.parents[3].rglob("*")
        if p.is_file()
    }
    flip(lost)
    others = {p: p.read_bytes() for p in copy.glob("units/*c0001*/record.json")}
    assert "4 units, 1 other pieces of work, 0 tables" in repaired(copy, finished_run)
    again = copy / "matrices/tiny.c0000.l002"
    after = {
        p.relative_to(again).parts[1:]: p.read_bytes()
        for p in again.glob("attempt-*/**/*")
        if p.is_file()
    }
    assert {k: v for k, v in after.items() if k in before} == before
    assert all(p.read_bytes() == body for p, body in others.items())
    assert not list((copy / "units").rglob("*.zarr"))


def test_torn_scratch_that_a_sealed_run_left_is_computed_again(
    copy: Path, finished_run: Path
) -> None:
    """A power cut while scratch is deleted. Red: it counts as whole, and the repair ends with 3."""
    flip(dense_chunk(copy, "tiny.c0000.l002"))
    torn = 0
    for record in copy.glob("units/tiny.c0000.*/record.json"):
        for name, stated in json.loads(record.read_text())["objects"].items():
            if not (copy / name).exists():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                (copy / name).write_bytes(bytes(stated["bytes"]))
                torn += 1
    assert torn
    assert "4 units, 1 other pieces of work, 0 tables" in repaired(copy, finished_run)


@pytest.mark.slow
def test_a_lost_plan_and_vocabulary_are_made_again(copy: Path, finished_run: Path) -> None:
    flip(copy / "plan.json")
    cut(copy / "tables/vocabulary.parquet")
    repaired(copy, finished_run)
    assert (copy / "plan.json").read_bytes() == (finished_run / "plan.json").read_bytes()
    config = copy / "config.yaml"
    config.write_text(config.read_text() + "\n")
    refused = here("repair", str(copy))
    assert refused.returncode == 1
    assert "config.yaml: damaged; restore it" in refused.stderr


@pytest.mark.slow
def test_a_repair_that_is_killed_goes_on(copy: Path, finished_run: Path) -> None:
    dense_chunk(copy, "tiny.c0000.l002").unlink()
    flip(copy / "topk/tiny.parquet")  # must not be sealed as it is
    for command, where in (
        ("repair", "after-data@units/tiny.c0000.h1.00000008"),
        ("repair", "before-success"),
    ):
        died = octoscope(command, str(copy), env={"OCTOSCOPE_CRASH_AT": where})
        assert died.returncode == -9, died.stdout + died.stderr
        assert not (copy / "_SUCCESS").exists()
        assert "in the middle of one" in here("status", str(copy)).stdout
    resumed = here("resume", str(copy))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert tables_of(copy) == tables_of(finished_run)
    assert verify(RunRoot(copy)) == []
    assert not (copy / "repair.json").exists()


@pytest.mark.slow
def test_damage_in_an_unfinished_run_is_withdrawn_and_resumed(
    small_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    crash(small_config, run, "mid-finalise@c0001.l002")
    assert here("verify", str(run)).returncode == 0
    victim = next(p for p in sorted(run.glob("units/*/*/sums.zarr/pairs/c/**/*")) if p.is_file())
    victim.unlink()
    completed = here("verify", str(run))
    assert completed.returncode == 1
    assert "missing" in completed.stderr
    repair = here("repair", str(run))
    assert repair.returncode == 0, repair.stderr
    assert "1 units, 0 other pieces of work" in repair.stdout
    assert here("resume", str(run)).returncode == 0
    assert tables_of(run) == tables_of(finished_run)
    assert here("verify", str(run)).returncode == 0


def test_readers_refuse_a_run_without_success_or_with_another_manifest(copy: Path) -> None:
    manifest = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(manifest.replace("tables/stats", "tables/other"))
    refused = here("report", str(copy))
    assert refused.returncode == 1
    assert "does not match _SUCCESS" in refused.stderr
    (copy / "_SUCCESS").unlink()
    refused = here("report", str(copy))
    assert refused.returncode == 1
    assert "octoscope resume" in refused.stderr


@pytest.mark.slow
def test_resume_refuses_changed_inputs(copy: Path, tmp_path: Path) -> None:
    (copy / "_SUCCESS").unlink()
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("top_k: 50", "top_k: 51"))
    refused = here("resume", str(copy))
    assert refused.returncode == 2
    assert "top_k" in refused.stderr


@pytest.mark.slow
def test_damaged_notes_of_a_run_are_named_or_made_again(copy: Path, finished_run: Path) -> None:
    cut(copy / "attention.json")
    (copy / "attention.json").write_text("{}")
    repaired(copy, finished_run)
    assert json.loads((copy / "attention.json").read_text()) == {"quarantined": {}}
    (copy / "repair.json").write_text("{")
    for command in ("resume", "repair"):
        completed = here(command, str(copy))
        assert completed.returncode == 1
        assert "repair.json: damaged" in completed.stderr
        assert "Traceback" not in completed.stderr


@pytest.mark.slow
def test_files_of_others_are_moved_never_deleted(copy: Path, finished_run: Path) -> None:
    for folder in ("units", "matrices/tiny.c0000.l000", "tables"):
        (copy / folder / "mine.txt").write_text(folder)
    (copy / "half.partial").write_text("mine too")
    repaired(copy, finished_run)
    (copy / "units/mine.txt").write_text("again")
    repaired(copy, finished_run)
    assert (copy / "foreign/units/mine.txt").read_text() == "units"
    assert (copy / "foreign/units/mine.txt.1").read_text() == "again"
    assert (copy / "foreign/tables/mine.txt").read_text() == "tables"
    assert (copy / "half.partial").exists()


@pytest.mark.slow
def test_a_driver_does_not_write_over_what_another_has_sealed(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was stopped inside the analysis wakes after another finished the run."""
    import io

    from octoscope.cluster import driver
    from octoscope.planning.freeze import replan
    from rich.console import Console

    root = RunRoot(copy)
    sealed = root.read("_SUCCESS")
    assert sealed is not None
    root.remove(["_SUCCESS"])

    def woken(*arguments: object) -> None:
        write = arguments[-1]
        assert callable(write)
        root.replace("_SUCCESS", sealed)  # the other finished meanwhile
        write(root, "tables/stats.parquet", None)

    monkeypatch.setattr(driver, "run_analysis", woken)
    output = io.StringIO()
    with without_ray():
        ended = driver.execute(
            root, replan(root), Console(file=output, width=300), stage="analysis"
        )
    assert ended == 0
    assert "finished by another driver" in output.getvalue()
    assert verify(root) == []

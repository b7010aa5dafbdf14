"""Create-once, attempts, records, tables: what survives races and damage."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pandas as pd
import pytest

from engine.errors import DamagedRunError, InputError
from engine.store.records import commit, new_attempt, read_record, sweep
from engine.store.root import RunRoot
from engine.store.tables import read_table, table_bytes


def _attempt(path: str, number: int) -> str:
    root = RunRoot(path)
    folder = new_attempt(root, "units/u")
    root.at(f"{folder}/data").write_bytes(bytes([number]) * 1000)
    return commit(root, folder, "plan", {"number": number}).attempt


def test_sixteen_concurrent_attempts_leave_one_winner(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(8) as pool:
        winners = pool.starmap(_attempt, [(str(tmp_path), n) for n in range(16)])
    assert len(set(winners)) == 1
    root = RunRoot(tmp_path)
    record = read_record(root, "units/u", "plan")
    assert record is not None
    assert record.attempt == winners[0]
    left = {p.name for p in (tmp_path / "units/u").iterdir()}
    assert left == {"record.json", winners[0]}  # losers removed themselves


def test_a_zombie_changes_nothing(tmp_path: Path) -> None:
    root = RunRoot(tmp_path)
    zombie = new_attempt(root, "units/u")
    root.at(f"{zombie}/data").write_bytes(b"late")
    winner = _attempt(str(tmp_path), 1)
    before = (tmp_path / "units/u/record.json").read_bytes()
    assert commit(root, zombie, "plan", {}).attempt == winner
    assert (tmp_path / "units/u/record.json").read_bytes() == before


def test_sweep_removes_what_has_no_record(tmp_path: Path) -> None:
    root = RunRoot(tmp_path)
    _attempt(str(tmp_path), 1)
    orphan = new_attempt(root, "units/u")
    unfinished = new_attempt(root, "units/v")
    (tmp_path / "units/u/.record.json.ab.partial").write_bytes(b"x")
    assert sweep(root, ["units/u", "units/v", "units/w"], "plan") == 2
    assert not root.exists(orphan)
    assert not root.exists(unfinished)
    assert not list((tmp_path / "units/u").glob("*.partial"))


def test_records_of_another_plan_and_broken_records_are_refused(tmp_path: Path) -> None:
    root = RunRoot(tmp_path)
    _attempt(str(tmp_path), 1)
    with pytest.raises(DamagedRunError, match="another plan"):
        read_record(root, "units/u", "other")
    root.replace("units/u/record.json", b"{")
    with pytest.raises(DamagedRunError, match="not JSON"):
        read_record(root, "units/u", "plan")


def test_paths_stay_inside_the_run(tmp_path: Path) -> None:
    root = RunRoot(tmp_path / "run")
    for name in ("../x", "a/../../x", "/etc/passwd"):
        with pytest.raises(ValueError, match="leaves the run"):
            root.at(name)
    with pytest.raises(InputError, match="file system"):
        RunRoot("s3://bucket/run")


def test_tables_have_the_same_bytes_and_damage_is_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "<y>"], "c": [0.5, float("nan")]})
    assert table_bytes(frame) == table_bytes(frame.copy())
    root = RunRoot(tmp_path)
    root.replace("tables/t.parquet", table_bytes(frame))
    assert read_table(root, "tables/t.parquet").equals(frame)
    root.replace("tables/t.parquet", table_bytes(frame)[:50])
    with pytest.raises(DamagedRunError, match=r"t\.parquet"):
        read_table(root, "tables/t.parquet")

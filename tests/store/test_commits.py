"""Create-once, attempts, records, tables: what survives races and damage."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import DamagedRunError, InputError
from octoscope.store import tiles
from octoscope.store.backends import RemoteObjects, require_conditional_create
from octoscope.store.commits import Attempt, Record, each_record, read_record, record_path, sweep
from octoscope.store.manifest import require_objects
from octoscope.store.parquet import read_table, table_bytes, write_table
from octoscope.store.run_dir import RunRoot

SUMS = np.arange(60.0).reshape(6, 10)


@pytest.fixture(params=["path", "file", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> RunRoot:
    if request.param == "s3":
        return RunRoot(request.getfixturevalue("bucket") + "/run")
    name = tmp_path.name
    urls = {"path": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{name}/r"}
    return RunRoot(urls[request.param])


def attempt(root: RunRoot, number: int) -> Record:
    one = Attempt(root, "units/u")
    tiles.write_array(one.zarr("sums.zarr"), "sums", SUMS + number, 4)
    one.write("table.parquet", bytes([number]) * 1000)
    return one.commit("plan", {"number": number})


def _attempt_at(url: str, number: int) -> str:
    return attempt(RunRoot(url), number).attempt


def check_one_winner(root: RunRoot, winners: list[str]) -> None:
    assert len(set(winners)) == 1
    record = read_record(root, "units/u", "plan")
    assert record is not None
    assert record.attempt == winners[0]
    require_objects(root, record)
    # losers removed themselves, and what is left is exactly what the record lists
    assert set(root.files()) == {record_path("units/u"), *record.objects}
    array = tiles.open_array(root.zarr(f"{record.folder}/sums.zarr"), "sums")
    assert np.array_equal(tiles.read_rows(array, 0, 6), SUMS + record.metrics["number"])


def test_sixteen_concurrent_attempts_leave_one_winner(root: RunRoot) -> None:
    with ThreadPoolExecutor(16) as pool:
        winners = list(pool.map(lambda n: attempt(root, n).attempt, range(16)))
    check_one_winner(root, winners)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["path", "s3"])
def test_sixteen_processes_leave_one_winner(
    folder: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path) if folder == "path" else request.getfixturevalue("bucket") + "/processes"
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        winners = pool.starmap(_attempt_at, [(url, n) for n in range(16)])
    check_one_winner(RunRoot(url), winners)


def test_a_zombie_changes_nothing(root: RunRoot) -> None:
    zombie = Attempt(root, "units/u")
    zombie.write("late", b"late")
    winner = attempt(root, 1)
    before = root.read(record_path("units/u"))
    zombie.write("later", b"later")
    assert zombie.commit("plan", {}).attempt == winner.attempt
    assert root.read(record_path("units/u")) == before
    assert set(root.files()) == {record_path("units/u"), *winner.objects}


def test_digests_are_those_of_what_is_stored(root: RunRoot) -> None:
    record = attempt(root, 3)
    assert len(record.objects) > 3
    assert record.objects == {name: root.digest(name) for name in record.objects}
    assert record.digest == root.digest(record_path("units/u"))
    assert list(each_record(root, ["units/v", "units/u"], "plan")) == [record]


def test_a_repeated_request_does_not_make_a_winner_lose(tmp_path: Path) -> None:
    class Repeats(RunRoot):
        """The first answer of a create is lost, and the client asks again."""

        def create_once(self, relative: str, data: bytes) -> bool:
            super().create_once(relative, data)
            return super().create_once(relative, data)

    record = attempt(Repeats(tmp_path), 1)
    require_objects(RunRoot(tmp_path), record)  # its data was not taken for a loser's


def test_nothing_is_listed_on_the_way_to_a_record(
    root: RunRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("listed")

    monkeypatch.setattr(type(root.objects), "names", never)
    if isinstance(root.objects, RemoteObjects):
        for name in ("find", "ls", "glob", "walk"):
            monkeypatch.setattr(type(root.objects.system), name, never)
    record = attempt(root, 1)
    array = tiles.open_array(root.zarr(f"{record.folder}/sums.zarr"), "sums")
    assert tiles.read_rows(array, 0, 6)[5, 9] == 60


def test_sweep_removes_what_has_no_record(root: RunRoot) -> None:
    winner = attempt(root, 1)
    for work in ("units/u", "units/v"):
        Attempt(root, work).write("sums", b"x")
    root.replace("units/u/.record.json.ab.partial", b"x")
    assert sweep(root, "plan", root.files()) == 3
    assert set(root.files()) == {record_path("units/u"), *winner.objects}


def test_records_of_another_plan_and_broken_records_are_refused(root: RunRoot) -> None:
    attempt(root, 1)
    with pytest.raises(DamagedRunError, match="another plan"):
        read_record(root, "units/u", "other")
    for broken, what in ((b"{", "not JSON"), (b"\xff", "not JSON"), (b"[]", "not a record")):
        root.replace(record_path("units/u"), broken)
        with pytest.raises(DamagedRunError, match=what):
            read_record(root, "units/u", "plan")


def test_objects_that_are_gone_or_cut_are_refused(root: RunRoot) -> None:
    record = attempt(root, 1)
    name = f"{record.folder}/table.parquet"
    root.replace(name, b"short")
    with pytest.raises(DamagedRunError, match="missing or truncated"):
        require_objects(root, record)
    root.remove([name])
    with pytest.raises(DamagedRunError, match="missing or truncated"):
        require_objects(root, record)
    with pytest.raises(FileNotFoundError):
        root.digest(name)


def test_paths_stay_inside_the_run(tmp_path: Path) -> None:
    root = RunRoot(tmp_path / "run")
    for name in ("../x", "a/../../x", "/etc/passwd", "", "a\\..\\b"):
        for call in (root.at, root.read, root.zarr, root.size, root.open):
            with pytest.raises(ValueError, match="leaves the run"):
                call(name)


def test_places_that_cannot_hold_a_run_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no conditional create"):
        RunRoot("sftp://host/run")
    with pytest.raises(InputError, match="holds credentials") as caught:
        RunRoot("s3://key:secret@bucket/run")
    assert "secret" not in str(caught.value).split("Fix:")[0]
    memory = RunRoot("memory://probe/run")
    require_conditional_create(memory.objects, memory.url)
    assert memory.files() == []

    def overwrites(self: RemoteObjects, name: str, data: bytes) -> bool:
        self.write(name, data)
        return True

    monkeypatch.setattr(RemoteObjects, "create", overwrites)
    with pytest.raises(InputError, match="overwrites what exists"):
        require_conditional_create(memory.objects, memory.url)


def test_tables_have_the_same_bytes_and_damage_is_named(root: RunRoot) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "<y>"], "c": [0.5, float("nan")]})
    assert table_bytes(frame) == table_bytes(frame.copy())
    write_table(root, "tables/t.parquet", frame)
    pd.testing.assert_frame_equal(read_table(root, "tables/t.parquet"), frame)
    root.replace("tables/t.parquet", b"PAR1 no")
    with pytest.raises(DamagedRunError, match=r"tables/t\.parquet: cannot be read"):
        read_table(root, "tables/t.parquet")
    with pytest.raises(DamagedRunError, match="cannot be read"):
        read_table(root, "tables/none.parquet")

"""Readers of a finished run: an object that is not sound is not shown."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import octoscope as oc
import pandas as pd
import pytest
from octoscope.errors import DamagedRunError, OctoscopeWarning
from octoscope.report.page import page
from octoscope.results.run_results import Results
from octoscope.store import sealed_run, tiles
from octoscope.store.manifest import require_success
from octoscope.store.parquet import table_bytes
from octoscope.store.run_dir import RunRoot
from octoscope.store.sealed_run import SealedRun

from tests.conftest import octoscope
from tests.here import here

STORES = Path(__file__).parents[1] / "data/stores"


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A finished run of an earlier version."""
    return Path(shutil.copytree(STORES / "plan-3b", tmp_path / "old"))


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "copy"))


def falsify(path: Path, column: str) -> None:
    """Write a table again that looks sound, with other values."""
    table = pd.read_parquet(path)
    table[column] = 0.001
    path.write_bytes(table_bytes(table))


def test_an_object_is_compared_when_it_is_opened_and_once_in_a_process(
    old_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    stream = sealed_run.stream_digest
    monkeypatch.setattr(sealed_run, "stream_digest", lambda h: compared.append(1) or stream(h))
    for _ in range(2):
        assert len(Results.open(old_run).tables["stats"])
    assert len(compared) == 1


@pytest.mark.parametrize("name", ["tables/stats.parquet", "run.json", "config.yaml", "plan.json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "lost"])
def test_every_part_of_a_run_is_compared(old_run: Path, name: str, damage: str) -> None:
    file = old_run / name
    raw = file.read_bytes()
    if damage == "lost":
        file.unlink()
    else:  # a space at the end changes no value of JSON or YAML
        file.write_bytes(raw[:-1] + b" " if damage == "changed" else raw[:-9])
    message = {"changed": "does not match its digest", "cut": "bytes, expected", "lost": "missing"}
    results = Results.open(old_run)
    with pytest.raises(DamagedRunError, match=f"{name}: .*{message[damage]}.*octoscope repair"):
        _ = (results.plan, results.config, results.provenance, results.tables["stats"])


def test_what_is_no_part_of_the_run_is_no_table_of_it(old_run: Path) -> None:
    shutil.copy(old_run / "tables/stats.parquet", old_run / "tables/agreement.parquet")
    tables = Results.open(old_run).tables
    assert "agreement" not in tables
    assert tables.get("agreement") is None
    with pytest.raises(DamagedRunError, match="not part of the run"):
        SealedRun(RunRoot(old_run)).open("tables/agreement.parquet")


@pytest.mark.parametrize(
    "objects",
    [[], {"a": 1}, {"a": {}}, {"a": {"bytes": 1}}, {"../a": {"bytes": 1, "sha256": "0"}},
     {"a": {"bytes": "1", "sha256": "0"}}],
)  # fmt: skip
def test_a_sealed_manifest_that_is_none_is_named(old_run: Path, objects: object) -> None:
    root = RunRoot(old_run)
    (old_run / "manifest.json").write_text(json.dumps({"objects": objects}))
    success = root.read_json("_SUCCESS") | {"manifest": root.digest("manifest.json")}
    (old_run / "_SUCCESS").write_text(json.dumps(success))
    with pytest.raises(DamagedRunError, match=r"manifest\.json is not a manifest"):
        require_success(root)
    completed = here("verify", str(old_run))
    assert completed.returncode == 1
    assert "manifest.json is not a manifest" in completed.stderr


def test_without_the_check_a_reader_says_so(old_run: Path) -> None:
    falsify(old_run / "tables/stats.parquet", "half_centred")
    with pytest.warns(OctoscopeWarning, match="without comparing it with its digests"):
        run = oc.open_run(old_run, check=False)
    assert set(run.tables["stats"]["half_centred"]) == {0.001}
    with pytest.raises(DamagedRunError, match="tables/stats.parquet"):
        oc.open_run(old_run).tables["stats"]


READERS: list[tuple[str, list[str]]] = [
    ("tables/consensus_layers.parquet", ["compare", "show", "RUN", "consensus"]),
    ("tables/agreement_categories.parquet", ["compare", "layers", "RUN"]),
    ("tables/agreement.parquet", ["compare", "layers", "RUN", "--category", "T cell"]),
    ("tables/layers.parquet", ["compare", "show", "RUN", "correlation"]),
    ("consensus/c0000.parquet", ["export", "RUN", "--out", "OUT.parquet"]),
    ("tables/stats.parquet", ["report", "RUN", "--view", "logit", "--out", "OUT.html"]),
    ("report/index.html", ["report", "RUN"]),
    ("run.json", ["verdict", "RUN"]),
]


@pytest.mark.parametrize(("name", "command"), READERS, ids=lambda x: str(x)[:40])
def test_commands_print_nothing_of_an_object_that_is_not_sound(
    copy: Path, tmp_path: Path, name: str, command: list[str]
) -> None:
    file = copy / name
    if name.endswith(".parquet"):
        table = pd.read_parquet(file)
        falsify(file, str(table.select_dtypes("float").columns[0]))
    else:
        file.write_bytes(file.read_bytes() + b" ")
    words = [x.replace("RUN", str(copy)).replace("OUT", str(tmp_path / "out")) for x in command]
    refused = here(*words)
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert refused.stdout == ""
    assert name in refused.stderr
    assert "--unchecked" in refused.stderr
    assert not list(tmp_path.glob("out*"))
    with warnings.catch_warnings():
        warnings.simplefilter("always", OctoscopeWarning)
        read = here(*words, "--unchecked")
    assert read.returncode == 0, read.stderr
    assert "read without comparing it with its digests" in read.stderr


def test_a_command_says_that_nothing_was_compared(old_run: Path) -> None:
    done = octoscope("report", str(old_run), "--unchecked")
    assert done.returncode == 0
    assert done.stderr.strip().startswith("warning: ")
    assert "read without comparing it with its digests, as asked" in done.stderr


@pytest.mark.parametrize("lost", [False, True])
def test_chunks_of_matrices_are_compared_as_they_are_read(copy: Path, lost: bool) -> None:
    """One whose checksum is right too, as a chunk of another matrix is."""
    first, other = (
        next(p for p in sorted(copy.glob(f"matrices/tiny.c000{c}.l002/*/dense.zarr/sums/c/**/*"))
             if p.is_file())
        for c in (0, 1)
    )  # fmt: skip
    if lost:
        first.unlink()
    else:
        first.write_bytes(other.read_bytes())
    matrix = oc.open_run(copy).matrix("tiny", "T cell", layer=2, view="logit")
    with pytest.raises(DamagedRunError, match=r"sums/c/.*(digest|bytes|missing)"):
        matrix.to_numpy()
    categories = ("--category", "T cell", "--category", "macrophage")
    pooled = here("pool", str(copy), *categories, "--out", str(copy.parent / "pool"))
    assert pooled.returncode == 1
    compared = here("compare", "runs", str(copy), str(copy))
    assert compared.returncode == 1
    assert "/sums/c/" in compared.stderr


@pytest.mark.parametrize("what", ["record.json", "*/pairs.zarr"])
def test_a_lost_record_is_not_taken_for_matrices_that_were_not_kept(copy: Path, what: str) -> None:
    """Red: `compare runs` says keep_dense: none, and asks for a new run."""
    lost = next(copy.glob(f"pairs/tiny.c0000/{what}"))
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    done = here("compare", "runs", str(copy), str(copy))
    assert done.returncode == 1, done.stderr
    assert re.search(r": missing( or truncated)?; use `octoscope repair`", done.stderr)
    assert "pairs/tiny.c0000/" in done.stderr


def test_a_part_of_an_object_is_compared_whole(copy: Path) -> None:
    root = SealedRun(RunRoot(copy))
    name = next(n for n in root.files() if "dense.zarr/sums/c/" in n)
    folder, _, key = name.partition("/sums/")
    array = tiles.open_array(root.zarr(folder), "sums")
    assert tiles.read_rows(array, 0, 3).shape[-2] == 3
    raw = (copy / name).read_bytes()
    (copy / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    sealed_run._SOUND.clear()
    with pytest.raises(DamagedRunError, match=key):
        tiles.read_rows(array, 0, 3)


@pytest.mark.parametrize("reader", [lambda run: run.plan, lambda run: page(run.results)])
def test_a_sound_run_is_read(finished_run: Path, reader: Callable[[oc.Run], object]) -> None:
    assert reader(oc.open_run(finished_run))

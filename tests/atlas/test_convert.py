"""`atlas convert`: the same bytes whatever the memory and wherever it was killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata as ad
import fsspec
import h5py
import numpy as np
import pandas as pd
import pytest
from octoscope.atlas import Atlas, convert
from octoscope.atlas.partial_store import LOCK, STATE
from octoscope.atlas.shards import Layout
from octoscope.cli.app import app
from octoscope.cli.shared import guarded
from octoscope.config import AtlasConfig
from octoscope.errors import InputError, OctoscopeWarning

from tests.atlas.stores import cells, config, file_of, write
from tests.conftest import make_adata

LAYOUT = Layout(chunk=1 << 9, shard=1 << 11)
SHARDS = 19  # of `mixed` then
TIGHT = "22KB"  # one shard of LAYOUT at a time
SCRIPT = """
import sys
from octoscope.atlas import convert
from octoscope.atlas.shards import Layout
from octoscope.config import AtlasConfig

source, target, memory, chunk, shard = sys.argv[1:6]
layout = Layout(int(chunk), int(shard))
def make(source, target):
    config = AtlasConfig(path=source, category_key=["cell_type"], replicate_key=None)
    return convert(config, target, batch_cells=64, memory=memory, layout=layout)
"""


def bytes_of(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def partial_of(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def settings(path: Path) -> AtlasConfig:
    return AtlasConfig(path=str(path), category_key=["cell_type"])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,500 cells of 40 genes, their categories interleaved."""
    chunks = dict.fromkeys(("obs/_index", "obs/cell_type"), (1500,))
    path = tmp_path_factory.mktemp("mixed") / "a.zarr"
    return write(make_adata(1500, 40), path, 3, X=(512,), **chunks)


@pytest.fixture(scope="module")
def whole(mixed: Path) -> Path:
    """The same, converted at once."""
    target = mixed.parent / "whole.zarr"
    account = convert(settings(mixed), str(target), layout=LAYOUT)
    assert (account["passes"], account["shards written"], account["shards found"]) == (1, SHARDS, 0)
    return target


@contextmanager
def killed_when(mixed: Path, target: Path, ready: Callable[[Any], bool]) -> Iterator[int]:
    """Convert in a process that is stopped once its state is as wanted, and killed at the end."""
    script = SCRIPT + "make(source, target)"
    arguments = [str(mixed), str(target), TIGHT, str(LAYOUT.chunk), str(LAYOUT.shard)]
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE)
    try:
        state, deadline = partial_of(target) / STATE, time.time() + 120
        while not (state.is_file() and ready(json.loads(state.read_text()))):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.time() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGSTOP)  # alive, and does not end meanwhile
        yield process.pid
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def killed(mixed: Path) -> Path:
    """What a conversion leaves that was killed after some shards."""
    target = mixed.parent / "killed.zarr"
    with killed_when(mixed, target, lambda state: state["shards"] >= 4):
        # another at the same time is told, and changes nothing
        with pytest.raises(InputError, match=r"killed\.zarr\.partial: another process writes it"):
            convert(settings(mixed), str(target), layout=LAYOUT)
        assert (partial_of(target) / LOCK).exists()
    assert not target.exists()
    return partial_of(target)


@pytest.fixture
def target(killed: Path, tmp_path: Path) -> Path:
    """A target that was begun, by the killed conversion; the dead hold nothing."""
    target = tmp_path / "out.zarr"
    shutil.copytree(killed, partial_of(target))
    return target


def test_memory_and_batches_change_no_byte(mixed: Path, whole: Path, tmp_path: Path) -> None:
    for memory, batch, passes in ((TIGHT, 1024, SHARDS), ("50KB", 64, 10)):
        target = tmp_path / memory
        account = convert(settings(mixed), str(target), batch, memory=memory, layout=LAYOUT)
        assert account["passes"] == passes
        assert bytes_of(target) == bytes_of(whole)
        assert not partial_of(target).exists()
    a, b = make_adata(1500, 40), ad.read_zarr(whole)
    kinds = b.obs["cell_type"].astype(str).tolist()
    assert kinds == sorted(kinds)
    assert (b.X.toarray() == a[b.obs_names].X.toarray()).all()


@pytest.mark.parametrize("kind", ["v2", "dense", "h5ad", "url"])
def test_every_layout_is_converted_to_the_same_bytes(
    kind: str, mixed: Path, whole: Path, tmp_path: Path
) -> None:
    a, source = make_adata(1500, 40), tmp_path / "a.h5ad"
    if kind == "h5ad":
        a.write_h5ad(source)
    else:
        a.X = a.X.toarray() if kind == "dense" else a.X
        chunk = {"X": (100, 40) if kind == "dense" else (512,), "obs/_index": (1500,)}
        source = write(a, tmp_path / "a.zarr", 2 if kind == "v2" else 3, **chunk)
    location = str(source)
    if kind == "url":
        location = f"memory://{tmp_path.name}.zarr"
        fsspec.filesystem("memory").put(str(source), f"/{tmp_path.name}.zarr", recursive=True)
    target = tmp_path / "out.zarr"
    config = AtlasConfig(path=location, category_key=["cell_type"])
    convert(config, str(target), memory=TIGHT, layout=LAYOUT)
    assert bytes_of(target) == bytes_of(whole)


def test_each_pass_decodes_a_chunk_once(mixed: Path, tmp_path: Path) -> None:
    values = int(make_adata(1500, 40).X.nnz)
    account = convert(settings(mixed), str(tmp_path / "out"), memory="50KB", layout=LAYOUT)
    assert account["passes"] == 10
    # each category and half lies all over the source: four times, and once to count the rows
    assert values < account["values decoded"] < 5.5 * values
    assert account["read over needed"] == pytest.approx(
        account["values decoded"] / 2 / values, rel=0.1
    )


def test_a_killed_conversion_goes_on_after_its_last_shard(
    mixed: Path, whole: Path, target: Path, tmp_path: Path
) -> None:
    n_shards = json.loads((partial_of(target) / STATE).read_text())["shards"]
    assert 4 <= n_shards < SHARDS
    values = partial_of(target) / "store/X/data/c"
    stray = values / "40.0123456789abcdef.partial"  # what a killed writer may leave
    stray.write_bytes(b"x")
    before = [(values / str(i)).stat() for i in range(n_shards)]
    seen: list[tuple[int, int]] = []
    account = convert(
        settings(mixed),
        str(target),
        memory="50KB",  # another budget
        layout=LAYOUT,
        on_progress=lambda *cells: seen.append(cells),
    )
    assert (account["shards found"], account["shards written"]) == (n_shards, SHARDS - n_shards)
    after = [(target / f"X/data/c/{i}").stat() for i in range(n_shards)]
    assert [(s.st_ino, s.st_mtime_ns) for s in after] == [(s.st_ino, s.st_mtime_ns) for s in before]
    assert bytes_of(target) == bytes_of(whole)
    assert not partial_of(target).exists()
    assert seen[0][0] > 1500 + 1500 * n_shards // (SHARDS + 1)  # rows were not counted again
    assert seen[-1] == (3000, 3000)
    again = convert(settings(mixed), str(tmp_path / "b"), memory="50KB", layout=LAYOUT)
    assert account["values decoded"] < again["values decoded"] - make_adata(1500, 40).X.nnz


def test_killed_before_its_rows_were_counted_it_starts_again(
    mixed: Path, whole: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.zarr"
    with killed_when(mixed, target, lambda state: state["nonzero"] is None):
        pass
    assert json.loads((partial_of(target) / STATE).read_text())["shards"] == 0
    assert convert(settings(mixed), str(target), layout=LAYOUT)["shards found"] == 0
    assert bytes_of(target) == bytes_of(whole)


def test_what_was_begun_otherwise_is_refused(mixed: Path, target: Path, tmp_path: Path) -> None:
    content = bytes_of(partial_of(target))
    shutil.copytree(mixed, tmp_path / "b.zarr")
    other = settings(tmp_path / "b.zarr")
    for differs, given, options in (
        ("source", other, {}),
        ("order, seed", settings(mixed), {"seed": 1}),
        ("layout", settings(mixed), {"layout": Layout(1 << 9, 1 << 12)}),
        ("settings", settings(mixed).model_copy(update={"primary_only": False}), {}),
        ("order, settings", settings(mixed).model_copy(update={"category_key": []}), {}),
    ):
        with pytest.raises(InputError, match=f"begun with another {differs}\\. .*delete it"):
            convert(given, str(target), **{"layout": LAYOUT, **options})
    assert bytes_of(partial_of(target)) == content  # a refusal changes nothing
    state = json.loads((partial_of(target) / STATE).read_text())
    for what in ("cells or counts", "genes", "versions", "format"):
        state["of"][what], kept = "other", state["of"][what]
        (partial_of(target) / STATE).write_text(json.dumps(state))
        with pytest.raises(InputError, match=f"begun with another {what}\\. "):
            convert(settings(mixed), str(target), layout=LAYOUT)
        state["of"][what] = kept
    (partial_of(target) / STATE).write_text("{")
    with pytest.raises(InputError, match=r"convert\.json: is no state of a conversion"):
        convert(settings(mixed), str(target), layout=LAYOUT)


def test_a_shard_that_is_gone_is_not_left_out(mixed: Path, target: Path) -> None:
    (partial_of(target) / "store/X/indices/c/1").unlink()
    with pytest.raises(InputError, match=r"X/indices/c/1: was written and is gone"):
        convert(settings(mixed), str(target), layout=LAYOUT)


def test_a_folder_of_something_else_is_left_alone(mixed: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.zarr"
    for name in ("notes.txt", "store"):
        partial_of(target).mkdir()
        (partial_of(target) / name).write_text("mine")
        with pytest.raises(InputError, match="is no unfinished conversion"):
            convert(settings(mixed), str(target), layout=LAYOUT)
        assert bytes_of(partial_of(target)) == {name: b"mine"}
        shutil.rmtree(partial_of(target))
    with pytest.raises(InputError, match=r"s3://b/out: is a URL"):
        convert(settings(mixed), "s3://b/out")


def test_an_atlas_of_one_gene_is_converted(tmp_path: Path) -> None:
    """Red: FileNotFoundError, as a shard of nothing but index 0 was not written."""
    path = tmp_path / "one.h5ad"
    make_adata(60, 40)[:, :1].copy().write_h5ad(path)
    convert(settings(path), str(tmp_path / "out.zarr"))
    read = Atlas(settings(tmp_path / "out.zarr")).read(np.arange(60))
    given = Atlas(settings(path)).read(np.arange(60))
    assert sorted(read.counts.toarray().ravel()) == sorted(given.counts.toarray().ravel())


def test_bad_input_leaves_nothing_behind(tmp_path: Path) -> None:
    a = cells()
    a.obs["note"] = [f"note {i}" for i in range(60)]
    path, target = write(a, tmp_path / "a.zarr", 3), tmp_path / "out.zarr"
    for array in ("obs/donor/codes", "X/data", "obs/note"):  # the last is read when it has begun
        file = file_of(path, array, 1)
        content = file.read_bytes()
        file.write_bytes(content[:5])
        with pytest.raises(InputError, match=f"{array}, chunk 1"):
            convert(config(path), str(target))
        assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]
        file.write_bytes(content)


def test_a_source_that_changes_under_way_is_seen(mixed: Path, tmp_path: Path) -> None:
    target, source = tmp_path / "out.zarr", tmp_path / "a.zarr"
    write(make_adata(300, 40), source, 3, X=(512,))
    changed = tmp_path / "b.zarr"
    other = make_adata(300, 40)
    other.X[7, other.X[7].indices[0]] = 0  # stored still, and no count any more
    write(other, changed, 3, X=(512,))

    def change(done: int, total: int) -> None:
        if done == total // 2:
            shutil.copytree(changed, source, dirs_exist_ok=True)

    with pytest.raises(InputError, match="other numbers of counts than when they were counted"):
        convert(settings(source), str(target), memory=TIGHT, layout=LAYOUT, on_progress=change)
    assert not target.exists()


def test_memory_below_a_shard_is_refused(mixed: Path, tmp_path: Path) -> None:
    for memory, what in (("100MB", "does not hold one shard.*179MB"), ("8", "not a size")):
        with pytest.raises(InputError, match=rf"memory: .*{what}"):
            convert(settings(mixed), str(tmp_path / "out"), memory=memory)


def test_a_full_disk_is_seen_before_anything_is_written(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    convert(settings(mixed), str(tmp_path / "real"))
    files = bytes_of(tmp_path / "real").items()
    real = sum(len(b) for name, b in files if name.startswith(("X/data", "X/indices")))
    shutil.rmtree(tmp_path / "real")
    for free, enough in ((real * 0.9, False), (real * 1.4, True)):  # what is asked for is true
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        if enough:
            convert(settings(mixed), str(tmp_path / "out"))
        else:
            with pytest.raises(InputError, match=r"the counts need about .* GB of disk"):
                convert(settings(mixed), str(tmp_path / "out"))
            assert list(tmp_path.iterdir()) == []


def test_the_command_tells_progress_in_few_lines(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.zarr"
    command = ["atlas", "convert", str(mixed), str(target), "--category", "cell_type"]
    assert guarded(lambda: app([*command, "--memory", "1GB", "--json"], standalone_mode=False)) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["passes"] == 1
    assert [line for line in printed.err.splitlines() if "of 3,000 cells" in line][-1]
    assert len(printed.err.splitlines()) <= 2
    assert len(Atlas(settings(target)).cell_ids) == 1500
    assert guarded(lambda: app([*command, "--memory", "1"], standalone_mode=False)) == 2


PEAK = """
from pathlib import Path

def status(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) * 1024
make(sys.argv[6], target + "-small")  # imports and pools of threads are no part of what grows
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
make(source, target)
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_the_peak_stays_within_memory_and_a_constant(tmp_path: Path) -> None:
    a = make_adata(4000, 4000)
    names = ("obs/_index", "obs/cell_type", "var/_index", "var/feature_name")
    chunks: dict[str, tuple[int, ...]] = dict.fromkeys(names, (4000,))
    large = write(a, tmp_path / "large.zarr", 3, X=(1 << 16,), **chunks)
    small = write(make_adata(300, 200), tmp_path / "small.zarr", 3, X=(1 << 16,))

    def peak(memory: str) -> float:
        target = str(tmp_path / memory)
        sizes = [str(1 << 16), str(1 << 19), str(small)]
        arguments = [str(large), target, memory, *sizes]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT + PEAK, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return float(done.stdout)

    counts = a.X.nnz * 8  # 81 MB
    constant = 90e6  # what is decoded at a time, twice: see octoscope.atlas.atlas
    assert peak("16MB") < 16e6 + constant
    assert peak("1GB") > 16e6 + constant + counts / 3  # so the bound above is none by chance
    assert bytes_of(tmp_path / "16MB") == bytes_of(tmp_path / "1GB")


def test_columns_that_anndata_does_not_write_to_zarr_as_they_are(tmp_path: Path) -> None:
    a = make_adata(60, 40)
    a.obs["G2/M"] = np.arange(60.0)
    a.obs["G2_M"] = np.arange(60) * 2
    text = pd.array([f"t{i % 4}" for i in range(60)], dtype="string")
    text[::5] = pd.NA
    a.obs["text"] = text
    a.obs["barcode"] = np.arange(60) + 1000  # the index has its name
    source = tmp_path / "a.h5ad"
    with ad.settings.override(allow_write_nullable_strings=True):
        a.write_h5ad(source, convert_strings_to_categoricals=False)
    with h5py.File(source, "r+") as file:
        file["obs"].attrs["_index"] = "barcode"
    result = convert(settings(source), str(tmp_path / "b.zarr"))
    assert result["columns renamed"] == {"G2/M": "G2__M"}
    out = ad.read_zarr(tmp_path / "b.zarr").obs
    row = out.index.astype(int).to_numpy() - 1000
    assert sorted(row) == list(range(60))
    assert list(out.columns) == ["cell_type", "G2__M", "G2_M", "text", "barcode"]
    assert (out["G2__M"] == row).all()
    assert (out["G2_M"] == row * 2).all()
    assert out["text"].isna().tolist() == [bool(r % 5 == 0) for r in row]
    assert out["text"].dropna().tolist() == [f"t{r % 4}" for r in row if r % 5]


def test_cells_that_a_run_would_refuse_are_written_with_a_warning(tmp_path: Path) -> None:
    """Red: a converted atlas with repeated ids, and not a word."""
    adata = make_adata(30, 10)
    adata.obs_names = ["same", "same", *adata.obs_names[2:]]
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.warns(OctoscopeWarning, match="a run would refuse these cells: .*not unique"):
        convert(settings(tmp_path / "a.h5ad"), str(tmp_path / "b.zarr"), layout=LAYOUT)
    assert (ad.read_zarr(tmp_path / "b.zarr").obs_names == "same").sum() == 2

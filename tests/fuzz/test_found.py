"""What changed files made of commands before: each is one line now, and takes no memory."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from octoscope.atlas.partial_store import STATE, PartialStore
from octoscope.cli.shared import guarded
from octoscope.demo.demo import data
from octoscope.digests import file_digest
from octoscope.errors import DamagedRunError, InputError, damaged_run, reading
from octoscope.genes import read_aliases
from octoscope.gnn.graph_folder import _about
from octoscope.models.foundation_store import FoundationStore, StreamFile
from octoscope.models.geneformer_files import _read
from octoscope.models.weight_files import refuse_stand_in, text_inside
from octoscope.octopus.directory import read_table
from octoscope.octopus.napistu.bundle import _members
from octoscope.octopus.napistu.store import _bytes, _frame
from octoscope.octopus.pair_files import read_genes, read_pairs
from octoscope.octopus.sources.miscore import _parents
from octoscope.report.timeline import timeline
from octoscope.results.run_results import Results
from octoscope.store.run_dir import RunRoot
from octoscope.zip_parts import read_npz

from tests.conftest import make_adata
from tests.fuzz.forked import forked
from tests.here import here

DATA = Path(__file__).parents[1] / "data"
MEMORY = 100 << 20  # bytes more than before


def refusal(*arguments: str, code: int = 2) -> str:
    done = here(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    lines = [x for x in done.stderr.splitlines() if not re.match("warning: |.* cells ", x)]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), KeyError("shape")])
def test_whatever_a_reader_raises_names_what_it_read(error: Exception) -> None:
    with (
        pytest.raises(InputError, match=r"a\.npz: .*Fix: .*get it again"),
        reading("a.npz", "get it again"),
    ):
        raise error
    with pytest.raises(DamagedRunError, match="x"), reading("x", "repair", damaged_run):
        raise error


def test_faults_of_the_system_and_errors_with_a_name_pass_a_reader() -> None:
    for error in (FileNotFoundError(2, "no such file", "b"), InputError("a", "b", "c")):
        with pytest.raises(type(error)) as caught, reading("x", "y"):
            raise error
        assert caught.value is error
    with pytest.raises(InputError, match="x: cannot be read"), reading("x", "y"):
        raise OSError("unable to read")  # of a library, about the file


def h5ad(folder: Path, change: Callable[[h5py.File], None]) -> Path:
    path = folder / "a.h5ad"
    make_adata().write_h5ad(path)
    with h5py.File(path, "a") as file:
        change(file)
    return path


def codes_of_one_number(file: h5py.File) -> None:
    del file["obs/cell_type/codes"]
    file["obs/cell_type/codes"] = 0


def endless_column(file: h5py.File) -> None:
    del file["obs/cell_type/codes"]
    file.create_dataset("obs/cell_type/codes", shape=(1 << 40,), dtype="i1", chunks=(1 << 16,))


def endless_values(file: h5py.File) -> None:
    for name in ("data", "indices"):
        del file[f"X/{name}"]
        file.create_dataset(f"X/{name}", shape=(1 << 40,), dtype="i4", chunks=(1 << 16,))


def endless_pointers(file: h5py.File) -> None:
    del file["X/indptr"]
    file.create_dataset("X/indptr", shape=(1 << 40,), dtype="i8", chunks=(1 << 16,))


@pytest.mark.parametrize(
    "change",
    [codes_of_one_number, endless_column, endless_values, endless_pointers],
    ids=lambda c: c.__name__,
)
def test_an_array_of_another_size_than_is_stored(
    tmp_path: Path, change: Callable[[h5py.File], None]
) -> None:
    path = str(h5ad(tmp_path, change))
    done = here("atlas", "info", path, "--category", "cell_type")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "cells checked" not in line]
    assert lines
    assert all(line.startswith("bad input: ") for line in lines), lines
    here("atlas", "check", path, "--category", "cell_type")  # names faults, or refuses
    refusal("atlas", "convert", path, str(tmp_path / "b.zarr"), "--category", "cell_type")


def test_a_zarr_array_that_states_a_trillion_rows_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with ad.settings.override(auto_shard_zarr_v3=False, zarr_write_format=3):
        make_adata().write_zarr(path)
    root = json.loads((path / "zarr.json").read_text())
    root.pop("consolidated_metadata", None)
    (path / "zarr.json").write_text(json.dumps(root))
    for part in ("X/indptr", "obs/_index"):
        file = path / part / "zarr.json"
        sound = file.read_text()
        tree = json.loads(sound)
        tree["shape"] = [10**12]
        file.write_text(json.dumps(tree))
        assert "chunk" in refusal("atlas", "convert", str(path), str(tmp_path / "b.zarr"))
        file.write_text(sound)


def npz(path: Path, head: bytes, name: str = "x") -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    raw = buffer.getvalue().replace(b"(3,), }".ljust(len(head)), head)
    assert raw != buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.npy", raw)


def test_an_npz_that_states_a_trillion_values_takes_no_memory(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", b"(1000000000000,), }")
    with pytest.raises(ValueError, match=r"states shape \(1000000000000,\).* has 24 bytes"):
        read_npz(tmp_path / "a.npz")
    refusal("attention", "diff", str(tmp_path / "a.npz"), str(tmp_path / "a.npz"))


def test_an_npz_that_inflates_is_not_inflated(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as handle,
    ):
        for _ in range(200):
            handle.write(bytes(1 << 20))
    before = forked(lambda: None).memory

    def read() -> None:
        with pytest.raises(ValueError, match="npz"):
            read_npz(path)

    ended = forked(read)
    assert ended.code == 0, ended.stderr
    assert ended.memory - before < MEMORY


@pytest.mark.parametrize(
    ("family", "name"), [("scgpt", "nlayers"), ("aidocell", "num_hidden_layers"),
                         ("geneformer", "num_hidden_layers"), ("nicheformer", "nlayers"),
                         ("nicheformer", "context_length")],
)  # fmt: skip
def test_a_billion_layers_are_refused_at_once(tmp_path: Path, family: str, name: str) -> None:
    source = data(f"checkpoints/{family}-demo")
    if family == "nicheformer":
        source = DATA / "nicheformer/checkpoint"
    folder = Path(shutil.copytree(source, tmp_path / "model"))
    file = folder / ("args.json" if family == "scgpt" else "config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: 10**9}))
    options = ["--option", "technology_mean=none"] if family == "nicheformer" else []
    assert str(folder) in refusal("models", "inspect", str(folder), *options)


@pytest.mark.parametrize("what", ["layers", "rows"])
def test_a_store_that_states_a_billion_is_refused_at_once(
    napistu_stores: Path, tmp_path: Path, what: str
) -> None:
    """Red: names of 10^9 layers, or room for as many rows, before anything is compared."""
    store = Path(shutil.copytree(napistu_stores / "scGPT", tmp_path / "store"))
    if what == "layers":
        file = store / "metadata.json"
        tree = json.loads(file.read_text())
        tree["model_metadata"]["n_layers"] = 10**9
        file.write_text(json.dumps(tree))
        with pytest.raises(InputError, match="1000000000 is more than any model has"):
            FoundationStore(store)
        return
    npz(tmp_path / "a.npz", b"(1000000000000,), }", "layer_0")
    with pytest.raises(InputError, match=r"layer_0.*states shape \(1000000000000,\)"):
        StreamFile(tmp_path / "a.npz", 1, 4).layer(0, 3)


def test_a_device_for_weights_is_not_searched_for_its_end(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data("checkpoints/scprint-demo"), tmp_path / "model"))
    (weights,) = folder.glob("*.ckpt")
    weights.unlink()
    weights.symlink_to("/dev/zero")
    ended = forked(lambda: text_inside(weights), cpu=2)
    assert (ended.code, ended.hung) == (0, False)
    assert ended.memory < MEMORY
    assert str(folder) in refusal("models", "inspect", str(folder))
    with pytest.raises(InputError, match="is no regular file"):
        refuse_stand_in(weights)


def test_a_bundle_that_is_no_archive_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"\x1f\x8b" + bytes(100))
    assert "cannot be read" in refusal("octopus", "import", str(path), str(tmp_path / "n"))


def test_a_bundle_that_inflates_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo("napistu_graph.pkl")
        info.size = 1 << 28
        archive.addfile(info, io.BytesIO(bytes(1 << 28)))
    ended = forked(lambda: _main("octopus", "import", str(path), str(tmp_path / "n")))
    assert ended.code == 2
    assert "napistu_graph.pkl: inflates to 268,435,456 bytes" in ended.stderr
    assert ended.memory < 1 << 28  # nothing of it was held


def test_bytes_that_are_no_text_after_a_table_are_one_line(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_bytes(b"source,target\nTP53,MDM2\nCD4,LCK\n\xf8")
    config = tmp_path / "build.yaml"
    tree = {"name": "n", "sources": {"edge_lists": [{"name": "own", "path": str(table)}]}}
    config.write_text(yaml.safe_dump(tree))
    ended = forked(lambda: _main("octopus", "build", str(config), str(tmp_path / "n")))
    assert ended.code == 2
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr


def _main(*arguments: str) -> None:
    from tests.fuzz.forked import command

    command(*arguments)()


@pytest.mark.parametrize("kind", ["twice", "levels", "pipe"])
@pytest.mark.parametrize("reader", ["graph", "conversion", "dictionary", "vocabulary"])
def test_every_reader_of_json_has_the_bounds_of_the_loader(
    tmp_path: Path, reader: str, kind: str
) -> None:
    """Red: keys that are there twice taken for one, pipes waited for."""
    name = {"graph": "graph.json", "conversion": STATE}.get(reader, "a.json")
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text('{"a": 1, "a": 2}' if kind == "twice" else '{"a":' * 100_000)
    read = {
        "graph": lambda: _about(tmp_path),
        "conversion": lambda: PartialStore._read(SimpleNamespace(folder=tmp_path)),  # type: ignore[arg-type]
        "dictionary": lambda: _read(path, int),
        "vocabulary": lambda: _parents(path),
    }[reader]
    with pytest.raises(InputError, match=str(path)) as caught:
        read()
    message = {"twice": "twice", "levels": "too deeply", "pipe": "no regular file"}[kind]
    assert message in caught.value.problem or reader == "conversion"


READERS: dict[str, Callable[[Path], object]] = {
    "npz": read_npz, "bundle": _members, "pairs": lambda p: read_pairs(p, ("a", "b")),
    "genes": read_genes, "tensors of a store": _bytes,
    "table of a store": lambda p: _frame(p.parent.parent, p.stem),
    "table of a network": lambda p: read_table(p.parent, p.stem), "aliases": read_aliases,
    "digest": file_digest,
}  # fmt: skip


@pytest.mark.parametrize("what", ["pipe", "device"])
@pytest.mark.parametrize("reader", READERS)
def test_what_never_ends_is_not_read(tmp_path: Path, reader: str, what: str) -> None:
    """Red: a pipe is waited for, and a device fills the memory."""
    path = tmp_path / "pandas_dfs/a.parquet"
    path.parent.mkdir()
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")

    def read() -> None:
        with pytest.raises((InputError, OSError), match="is no regular file"):
            READERS[reader](path)

    ended = forked(read, wall=60)
    assert (ended.code, ended.hung) == (0, False), ended.stderr


BOMB = '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "{}">{}]><sbml>&k;</sbml>'


@pytest.mark.parametrize("kind", ["entities", "file", "levels"])
def test_xml_that_grows_or_names_files_is_one_line(tmp_path: Path, kind: str) -> None:
    more = "".join(f'<!ENTITY {chr(c + 1)} "{f"&{chr(c)};" * 10}">' for c in range(97, 107))
    text = {
        "entities": BOMB.format("a" * 10, more),
        "file": BOMB.format("", '<!ENTITY k SYSTEM "file:///etc/passwd">'),
        "levels": '<?xml version="1.0"?>' + "<a>" * 50_000,
    }[kind]
    folder = tmp_path / "sbml"
    folder.mkdir()
    (folder / "a.sbml").write_text(text)
    config = tmp_path / "build.yaml"
    config.write_text(yaml.safe_dump({"name": "n", "sources": {"Reactome": {"sbml": str(folder)}}}))
    line = refusal("octopus", "build", str(config), str(tmp_path / "n"))
    assert "root:" not in line


@pytest.mark.parametrize("change", ["cut", "no stages", "a stage without a number", "no object"])
def test_a_damaged_timeline_is_one_line_that_names_it(tmp_path: Path, change: str) -> None:
    """In a report that was asked to read without comparing."""
    stage = dict.fromkeys(("began", "seconds", "pieces", "cells", "busy", "waited"), 1)
    body = {"stages": [stage | {"stage": "attention"}], "actors": [], "started": 0, "seconds": 1.0,
            "actor_hours": 0.1, "gpu_hours": 0.0}  # fmt: skip
    (tmp_path / "plan.json").write_text("{}")
    file = tmp_path / "timeline.json"
    file.write_text(json.dumps(body))
    shown = timeline(Results(RunRoot(str(tmp_path))))
    assert shown is not None
    assert shown["stages"][0]["stage"] == "attention"
    if change == "no stages":
        del body["stages"]
    elif change == "a stage without a number":
        body["stages"][0]["busy"] = "x"  # type: ignore[index]
    file.write_text({"cut": '{"stages": [', "no object": "[1]"}.get(change, json.dumps(body)))
    with pytest.raises(DamagedRunError, match=r"timeline\.json: "):
        timeline(Results(RunRoot(str(tmp_path))))


def test_a_message_of_a_library_with_several_lines_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails() -> None:
        raise InputError("a.sbml", "invalid character\n, line 1", "get it again")

    assert guarded(fails) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("table", ["name_to_sid_map", "species_identifiers"])
def test_a_store_whose_names_are_numbers_is_one_line(tmp_path: Path, table: str) -> None:
    store = tmp_path / "store"
    shutil.copytree(Path(__file__).parents[1] / "data/octopus/store", store)
    file = store / f"pandas_dfs/{table}.parquet"
    frame = pd.read_parquet(file)
    frame["s_id"] = np.inf
    frame.to_parquet(file)
    assert f"{table}: s_id: is no column of text" in refusal(
        "octopus", "import", str(store), str(tmp_path / "n")
    )


def test_a_graph_whose_edges_are_of_no_split_is_one_line(tmp_path: Path) -> None:
    graph, store = tmp_path / "graph", Path(__file__).parents[1] / "data/octopus/store"
    assert here("gnn", "graph", str(store), str(graph)).returncode == 0
    split = np.load(graph / "split.npy")
    split[5] = 255
    np.save(graph / "split.npy", split)
    model = Path(__file__).parents[1] / "data/octopus/models/distmult"
    text = refusal("gnn", "inspect", str(model), "--graph", str(graph))
    assert "split.npy: holds other numbers than 0 to 3" in text


def test_a_network_whose_rows_name_no_vertex_is_refused(tmp_path: Path) -> None:
    rows = {"vertex": pa.array([0, None], pa.int32()), "name": ["a", "b"]}
    pq.write_table(pa.table(rows), tmp_path / "vertices.parquet")
    with pytest.raises(InputError, match=r"vertices\.parquet: vertex: 1 rows have none"):
        read_table(tmp_path, "vertices", ["vertex", "name"])

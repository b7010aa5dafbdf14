"""What stands at `atlas.path`: told by its content, not its name; what is no AnnData is named."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import anndata as ad
import fsspec
import h5py
import numpy as np
import pytest
import zarr
from octoscope.atlas import Atlas, check, info
from octoscope.atlas.open_root import open_root
from octoscope.config import AtlasConfig
from octoscope.errors import InputError

from tests.atlas.stores import cells, config, read_all, write


def counts_of(path: Any, **given: Any) -> np.ndarray:
    return read_all(path, **given)


def h5ad(path: Path) -> Path:
    cells().write_h5ad(path)
    return path


@pytest.fixture
def truth() -> np.ndarray:
    dense: np.ndarray = cells().X.toarray()
    return dense


@pytest.mark.parametrize("name", ["A.H5AD", "noextension", "a.h5ad.download", "data.zarr"])
def test_h5ad_is_told_by_its_signature(tmp_path: Path, truth: np.ndarray, name: str) -> None:
    """Red: "not a Zarr group" for a file whose name ends otherwise."""
    h5ad(tmp_path / "a.h5ad")
    path = (tmp_path / "a.h5ad").rename(tmp_path / name)
    assert (counts_of(path) == truth).all()
    assert check(config(path)).faults == []


def test_the_home_folder(tmp_path: Path, truth: np.ndarray, monkeypatch: Any) -> None:
    """Red: `~/a.h5ad` does not exist."""
    monkeypatch.setenv("HOME", str(tmp_path))
    h5ad(tmp_path / "a.h5ad")
    write(cells(), tmp_path / "a.zarr", 3)
    for name in ("~/a.h5ad", "~/a.zarr"):
        assert (counts_of(name) == truth).all()


def test_h5ad_behind_a_url(tmp_path: Path, truth: np.ndarray) -> None:
    """Red: `s3://` and `https://` h5ad are taken for Zarr, and refused."""
    h5ad(tmp_path / "a.h5ad")
    memory = fsspec.filesystem("memory")
    memory.pipe("/octo/a.h5ad", (tmp_path / "a.h5ad").read_bytes())
    memory.pipe("/octo/b.h5ad", b"oops")
    assert (counts_of("memory://octo/a.h5ad") == truth).all()
    with pytest.raises(InputError, match="not an HDF5 file .its first bytes are b'oops'"):
        open_root("memory://octo/b.h5ad")
    with pytest.raises(InputError, match="does not exist"):
        open_root("memory://octo/c.h5ad")
    memory.pipe("/octo/files/12345", (tmp_path / "a.h5ad").read_bytes())
    assert (counts_of("memory://octo/files/12345") == truth).all()
    with pytest.raises(InputError, match=r"^http.*a.h5ad: cannot be opened \(Client"):
        open_root("http://127.0.0.1:1/a.h5ad")  # nobody listens: this is no absent file
    with pytest.raises(InputError, match=r"x.h5ad: cannot be opened .*download the file"):
        open_root("nosuch://host/x.h5ad")


def test_a_server_that_gives_whole_files_only_is_no_damage(tmp_path: Path) -> None:
    """Red: "its metadata cannot be decoded: truncated or changed"."""
    with h5ad(tmp_path / "a.h5ad").open("ab") as handle:
        handle.write(bytes(6 << 20))  # more than is fetched at once
    answer = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(InputError, match=r"cannot be opened .*range requests.*download the"):
            open_root(f"http://127.0.0.1:{server.server_port}/a.h5ad")
        server.shutdown()


def mudata(path: Path) -> None:
    h5ad(path.with_suffix(".part"))
    with h5py.File(path, "w") as f, h5py.File(path.with_suffix(".part")) as part:
        f.attrs["encoding-type"] = "MuData"
        for name in ("obs", "var"):
            f.create_group(name)
        part.copy(part["/"], f.create_group("mod"), "rna")
        part.copy(part["/"], f["mod"], "prot")


@pytest.mark.parametrize("name", ["a.h5mu", "a.h5ad"])
def test_a_part_of_mudata_is_read(tmp_path: Path, truth: np.ndarray, name: str) -> None:
    """Red: MuData is "no X in it", and its parts cannot be named."""
    mudata(tmp_path / name)
    with pytest.raises(
        InputError, match=rf"MuData with AnnData .*{name}/mod/prot or .*{name}/mod/rna"
    ):
        open_root(str(tmp_path / name))
    assert (counts_of(tmp_path / name / "mod/rna") == truth).all()
    with pytest.raises(InputError, match="no group mod/atac in it; it has mod/prot, mod/rna"):
        open_root(str(tmp_path / name / "mod/atac"))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_table_of_spatialdata_is_read(
    tmp_path: Path, truth: np.ndarray, zarr_format: int
) -> None:
    """Red: the tables inside are not named."""
    path = tmp_path / "sd.zarr"
    zarr.open_group(path, mode="w", zarr_format=zarr_format).create_group("tables")
    write(cells(), path / "tables/cells", zarr_format)
    with pytest.raises(InputError, match=r"SpatialData with AnnData .*atlas.path: .*/tables/cells"):
        open_root(str(path))
    assert (counts_of(f"{path}/tables/cells/") == truth).all()
    with pytest.raises(InputError, match="does not exist"):
        open_root(f"{path}/tables/nothing")


def _loom(path: Path) -> None:
    with h5py.File(path, "w") as f:
        f["matrix"] = np.zeros((3, 3))
        f.create_group("row_attrs"), f.create_group("col_attrs")


def _tenx(path: Path) -> None:
    with h5py.File(path, "w") as f:
        f.create_group("matrix").create_group("features")


def _tenx_v2(path: Path) -> None:
    with h5py.File(path, "w") as f:
        f.create_group("GRCh38")["barcodes"] = np.array([b"a"])


def _seurat(path: Path) -> None:
    with h5py.File(path, "w") as f:
        f.create_group("assays")


def _gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(b"x"))


def _zip(path: Path) -> None:
    archive = shutil.make_archive(str(path), "zip", write(cells(), path.parent / "z.zarr", 3))
    Path(archive).rename(path)


def _cut(path: Path) -> None:
    path.write_bytes(h5ad(path.with_suffix(".whole")).read_bytes()[:9000])


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_loom, "a loom file.*read_loom"),
        (_tenx, "10x Genomics.*read_10x_h5"),
        (_tenx_v2, "10x Genomics.*read_10x_h5"),
        (_seurat, "h5Seurat.*raw counts"),
        (_gzip, "a gzip archive.*gunzip"),
        (_zip, "a zip archive.*unzip"),
        (_cut, "is truncated.*download it again"),
        (lambda p: p.write_bytes(b"RDX3"), "an R file"),
        (lambda p: p.write_bytes(gzip.compress(b"X\n\0\0\0\3")), "an R file, packed.*from R"),
        (lambda p: p.write_bytes(b"\x80\x04x"), "a pickle.*write_h5ad"),
        (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
        (lambda p: p.write_text("<!DOCTYPE html><html>"), "a web page.*direct link"),
        (lambda p: p.write_text("gene,a\n"), "first bytes are b'gene,a"),
        (lambda p: p.write_bytes(b""), "an empty file"),
    ],
)
def test_other_files_are_named(tmp_path: Path, make: Callable[[Path], None], problem: str) -> None:
    """Red: "not a Zarr group", "not an HDF5 file" or "no X, obs, var" for each of them."""
    for name in ("a.h5ad", "a.data"):
        make(tmp_path / name)
        with pytest.raises(InputError, match=problem) as caught:
            open_root(str(tmp_path / name))
        assert caught.value.where == str(tmp_path / name)
        (error,) = info(AtlasConfig(path=str(tmp_path / name))).findings.errors
        assert error.problem == caught.value.problem


@pytest.mark.parametrize(
    ("name", "problem"),
    [("__tiledb_group.tdb", "a TileDB-SOMA store.*to_h5ad"),
     ("matrix.mtx.gz", "10x Genomics.*read_10x_mtx"),
     ("cells.h5ad", "holds cells.h5ad, not a store itself.*/cells.h5ad")],
)  # fmt: skip
def test_folders_of_other_kinds_are_named(tmp_path: Path, name: str, problem: str) -> None:
    """Red: "not a Zarr group" for each of them."""
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=problem):
        open_root(str(tmp_path))


def test_a_file_that_is_open_for_writing_elsewhere(tmp_path: Path) -> None:
    """Red: a locked file is "not an HDF5 file"."""
    path = h5ad(tmp_path / "a.h5ad")
    script = f"import h5py, sys; f = h5py.File({str(path)!r}, 'a'); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(InputError, match=r"open for writing in another program.*close it"):
            open_root(str(path))
        other.communicate("\n")
    open_root(str(path))


def test_a_compression_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    """Red: "cannot be decoded: truncated or changed", restore a copy."""
    path = h5ad(tmp_path / "a.h5ad")
    real = h5py.h5z.filter_avail
    a = cells()
    a.write_h5ad(path, compression="lzf")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda n: n != 32000 and real(n))
    problem = r"compressed with lzf \(HDF5 filter 32000\), which is not installed here"
    with pytest.raises(InputError, match=rf"{problem}.*pip install hdf5plugin"):
        Atlas(config(path))
    with pytest.raises(InputError, match=problem):
        check(config(path))
    errors = info(config(path)).findings.errors
    assert errors
    assert all("pip install hdf5plugin" in f.fix for f in errors)


@pytest.mark.parametrize("kind", ["csr", "dense"])
def test_counts_of_raw_in_the_root(tmp_path: Path, kind: str) -> None:
    """Red: `raw.X` of early releases of anndata 0.7, in the root of the file, is not found."""
    a = cells()
    path = tmp_path / "a.h5ad"
    b = a[:, :10].copy()
    b.X = b.X * 0.5
    b.write_h5ad(path)
    a.write_h5ad(tmp_path / "whole.h5ad")
    with h5py.File(path, "a") as f, h5py.File(tmp_path / "whole.h5ad") as whole:
        if kind == "csr":
            whole.copy(whole["X"], f, "raw.X")
        else:
            f["raw.X"] = a.X.toarray()
        whole.copy(whole["var"], f, "raw.var")
    assert (ad.read_h5ad(path).raw.X != a.X).sum() == 0
    assert Atlas(config(path)).counts_source == "raw.X"
    assert (counts_of(path) == a.X.toarray()).all()
    assert check(config(path)).faults == []
    result = info(config(path))
    assert not result.findings.errors
    assert any(array.array.startswith("raw.X") for array in result.arrays)


def test_other_places_of_counts_are_suggested(tmp_path: Path) -> None:
    """Red: "no raw counts found", though a layer of another name holds them."""
    a = cells()
    a.layers["raw_counts"] = a.X.copy()
    a.layers["scaled"] = a.X * 0.3
    a.X = a.X * 0.5
    path = write(a, tmp_path / "a.zarr", 3)
    fix = r"layers/raw_counts holds counts: set atlas.counts: layers/raw_counts \(--counts layers"
    with pytest.raises(InputError, match=fix):
        Atlas(config(path))
    with pytest.raises(InputError, match=fix):
        Atlas(config(path, counts="raw_counts"))
    assert any("layers/raw_counts" in f.fix for f in info(config(path)).findings.errors)
    assert Atlas(config(path, counts="layers/raw_counts")).counts_source == "layers/raw_counts"

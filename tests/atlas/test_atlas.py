"""Every layout of a store gives the same counts; bad stores are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import fsspec
import numpy as np
import pandas as pd
import pytest
import zarr
from octoscope.atlas import Atlas, check, convert
from octoscope.config import AtlasConfig
from octoscope.errors import InputError
from scipy import sparse

from tests.conftest import make_adata


def write(a: ad.AnnData, path: Path, kind: str) -> Path:
    if kind == "h5ad":
        a.write_h5ad(path.with_suffix(".h5ad"))
        return path.with_suffix(".h5ad")
    a = a.copy()
    if kind.endswith("dense"):
        a.X = a.X.toarray()
    with ad.settings.override(zarr_write_format=int(kind[1]), auto_shard_zarr_v3=False):
        a.write_zarr(path, chunks=(5, a.n_vars) if kind.endswith("dense") else None)
    return path


def config(path: Any, **kw: Any) -> AtlasConfig:
    return AtlasConfig(path=str(path), category_key=["cell_type"], **kw)


@pytest.mark.parametrize("kind", ["v2", "v3", "v2 dense", "v3 dense", "h5ad"])
def test_every_layout_reads_the_same(kind: str, tmp_path: Path) -> None:
    a = make_adata()
    atlas = Atlas(config(write(a, tmp_path / "a.zarr", kind)))
    rows = np.array([1, 2, 7, 11])
    batch = atlas.read(rows)
    assert (batch.counts.toarray() == a.X[rows].toarray()).all()
    assert batch.counts.dtype == np.float32
    assert batch.cell_ids.tolist() == [f"cell{i}" for i in rows]
    assert atlas.genes.symbol[3] == "GENE3"


def test_fsspec_url(tmp_path: Path) -> None:
    a = make_adata()
    write(a, tmp_path / "a.zarr", "v3")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "a.zarr"), "/atlas.zarr", recursive=True)
    atlas = Atlas(config("memory://atlas.zarr"))
    assert (atlas.read(np.arange(12)).counts.toarray() == a.X.toarray()).all()
    memory.rm("/atlas.zarr", recursive=True)


def test_stream_gives_each_cell_once_and_decodes_each_chunk_once(tmp_path: Path) -> None:
    a = make_adata(200, 50)
    target = tmp_path / "sorted.zarr"
    convert(config(write(a, tmp_path / "a.zarr", "v3")), str(target))
    atlas = Atlas(config(target))
    before = atlas.cost.read
    seen = [i for b in atlas.stream(np.arange(200), 7) for i in b.cell_ids]
    assert seen == atlas.cell_ids.tolist()
    assert atlas.cost.read - before <= a.X.nnz


def test_convert_sorts_shards_checks_and_keeps_counts(tmp_path: Path) -> None:
    a = make_adata(60, 40)
    source = write(a, tmp_path / "a", "h5ad")
    target = tmp_path / "out.zarr"
    account = convert(config(source), str(target), batch_cells=7)
    assert account | {"cells": 60, "genes": 40, "nonzero": a.X.nnz} == account
    b = ad.read_zarr(target)
    kinds = b.obs["cell_type"].astype(str).tolist()
    assert kinds == sorted(kinds)
    assert (b.X.toarray() == a[b.obs_names].X.toarray()).all()
    array = zarr.open_group(target, mode="r")["X/data"]
    assert array.metadata.zarr_format == 3
    assert array.shards is not None
    assert "Crc32c" in repr(array.metadata.codecs)
    with pytest.raises(InputError, match="exists"):
        convert(config(source), str(target))


def test_a_flipped_bit_in_a_converted_atlas_is_not_read_as_data(tmp_path: Path) -> None:
    target = tmp_path / "out.zarr"
    convert(config(write(make_adata(60, 40), tmp_path / "a.zarr", "v3")), str(target))
    chunk = max((target / "X/data/c").rglob("*"), key=lambda p: p.stat().st_size)
    raw = bytearray(chunk.read_bytes())
    raw[len(raw) // 3] ^= 4
    chunk.write_bytes(raw)
    with pytest.raises(InputError, match=r"X/data, chunk 0 \(X/data/c/0\): .*(?i:checksum|shard)"):
        Atlas(config(target))


@pytest.mark.parametrize(
    ("data", "indices", "indptr"),
    [
        ("uint8", "int32", "int32"),
        ("uint16", "int64", "int64"),
        ("uint32", "uint32", "uint32"),
        ("int64", "uint16", "int32"),
        ("float64", "uint64", "uint64"),
        ("float32", "uint8", "int64"),
    ],
)
def test_unsorted_and_duplicate_indices_and_integer_types(
    data: str, indices: str, indptr: str, tmp_path: Path
) -> None:
    path = write(make_adata(3, 6), tmp_path / "a.zarr", "v2")
    (path / ".zmetadata").unlink()  # the arrays below are new
    root = zarr.open_group(path, mode="a")
    most = 255  # of the smallest type; beyond it where 255 is reached twice
    want = np.array([[0, 5, 0, most, 0, 0], [1, 0, 0, 0, 0, 0], [2 * most, 0, 0, 0, 0, 9]])
    stored = {
        "data": np.array([most, 3, 2, 1, most, 9, most], data),
        "indices": np.array([3, 1, 1, 0, 0, 5, 0], indices),
        "indptr": np.array([0, 3, 4, 7], indptr),
    }
    for name, values in stored.items():
        del root[f"X/{name}"]
        root["X"].create_array(name, data=values)
    atlas = Atlas(config(path))
    got = atlas.read(np.arange(3)).counts
    assert (got.toarray() == want).all()
    assert got.dtype == np.float32
    assert got.has_canonical_format
    assert [atlas.read(np.array([i])).counts.sum() for i in range(3)] == want.sum(1).tolist()
    assert atlas.most_expressed(np.arange(3)) == 3  # a bound: what is stored
    assert check(config(path)).faults == []


def test_raw_counts_are_found_where_they_are(tmp_path: Path) -> None:
    a = make_adata()
    logged = a.copy()
    logged.X = sparse.csr_matrix(np.log1p(a.X.toarray()))
    logged.layers["counts"] = a.X
    atlas = Atlas(config(write(logged, tmp_path / "l.zarr", "v3")))
    assert atlas.counts_source == "layers/counts"
    raw = logged.copy()
    del raw.layers["counts"]
    raw.raw = a
    atlas = Atlas(config(write(raw[:, ::2].copy(), tmp_path / "r.zarr", "v3")))
    assert atlas.counts_source == "raw.X"
    assert len(atlas.genes) == 30
    assert (atlas.read(np.arange(12)).counts.toarray() == a.X.toarray()).all()


@pytest.mark.parametrize(
    ("value", "what"),
    [(-1, "negative"), (0.5, "not a whole number"), (np.nan, "not finite"), (np.inf, "not finite")],
)
def test_values_that_are_no_counts_name_cell_and_gene(
    tmp_path: Path, value: float, what: str
) -> None:
    a = make_adata()
    dense = a.X.toarray()
    dense[4, 2], dense[4, 3] = value, 1
    a.X = sparse.csr_matrix(dense)
    path = write(a, tmp_path / "a.zarr", "v3")
    with pytest.raises(InputError, match=what):
        Atlas(config(path))
    with pytest.raises(InputError, match=r"cell cell4, gene ENSG00000000002"):
        Atlas(config(path, counts="X"))


def test_truth_values_are_no_counts(tmp_path: Path) -> None:
    """Red: whether a gene was seen passed for how often."""
    a = make_adata()
    a.X = a.X.toarray() > 0
    with pytest.raises(InputError, match="truth values"):
        Atlas(config(write(a, tmp_path / "a.zarr", "v3")))


def test_fractions_that_cancel_in_the_total_are_seen(tmp_path: Path) -> None:
    a = make_adata()
    dense = a.X.toarray()
    dense[0, :2] = 0.5
    a.X = sparse.csr_matrix(dense)
    with pytest.raises(InputError, match="0.5"):
        Atlas(config(write(a, tmp_path / "a.zarr", "v3")))


def test_gene_ids(tmp_path: Path) -> None:
    a = make_adata()
    a.var_names = [f"{g}.{i % 3 + 1}" for i, g in enumerate(a.var_names)]
    assert Atlas(config(write(a, tmp_path / "v.zarr", "v3"))).genes.ensembl[1] == "ENSG00000000001"
    a.var_names = ["ENSG00000000001.1", "ENSG00000000001.2", *a.var_names[2:]]
    path = write(a, tmp_path / "d.zarr", "v3")
    with pytest.raises(InputError, match="ENSG00000000001.*duplicate_genes"):
        Atlas(config(path))
    summed = Atlas(config(path, duplicate_genes="sum")).read(np.arange(12)).counts
    assert (summed[:, 0].toarray() == a.X[:, :2].sum(1)).all()
    a.var_names = [f"x{i}" for i in range(30)]
    with pytest.raises(InputError, match="gene_id_key"):
        Atlas(config(write(a, tmp_path / "n.zarr", "v3")))


def test_symbols_as_index_are_mapped(tmp_path: Path) -> None:
    a = make_adata(12, 3)
    a.var_names = ["CD19", "CD14", "LYZ"]
    del a.var["feature_name"]
    atlas = Atlas(config(write(a, tmp_path / "s.zarr", "v3")))
    assert atlas.genes.ensembl[0] == "ENSG00000177455"
    assert atlas.genes.symbol.tolist() == ["CD19", "CD14", "LYZ"]


@pytest.mark.parametrize("name", ["data", "indices", "indptr"])
def test_a_missing_chunk_is_not_read_as_zeros(tmp_path: Path, name: str) -> None:
    path = write(make_adata(60, 40), tmp_path / "a.zarr", "v3")
    for chunk in [p for p in (path / "X" / name / "c").rglob("*") if p.is_file()]:
        chunk.unlink()
    with pytest.raises(InputError, match=rf"X/{name}.*missing chunk|zeros only"):
        Atlas(config(path))


def test_symbols_mixed_with_ids_are_all_kept(tmp_path: Path) -> None:
    a = make_adata(12, 4)
    a.var_names = ["CD3E", "LYZ", "CD14", "ENSG00000238009"]
    del a.var["feature_name"]
    genes = Atlas(config(write(a, tmp_path / "m.zarr", "v3"))).genes
    assert genes.symbol.tolist()[:3] == ["CD3E", "LYZ", "CD14"]
    assert genes.ensembl[3] == "ENSG00000238009"


@pytest.mark.parametrize("kind", ["bool", "text", "category"])
def test_only_primary_data_is_used_however_it_is_stored(tmp_path: Path, kind: str) -> None:
    a = make_adata()
    truth = np.arange(12) < 5
    a.obs["is_primary_data"] = {
        "bool": truth,
        "text": truth.astype(str),
        "category": pd.Categorical(truth.astype(str)),
    }[kind]
    index = Atlas(config(write(a, tmp_path / "p.zarr", "v3"))).index(0)
    assert index.selected == 5
    assert index.refused == {"not primary data": 7}


def test_a_csc_copy_does_not_hide_good_counts(tmp_path: Path) -> None:
    a = make_adata()
    a.layers["counts"] = a.X.tocsc()
    assert Atlas(config(write(a, tmp_path / "c.zarr", "v3"))).counts_source == "X"


def test_stores_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Atlas(config(tmp_path / "nothing.zarr"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x.txt").write_text("x")
    with pytest.raises(InputError, match="not a Zarr group"):
        Atlas(config(tmp_path / "folder"))
    (tmp_path / "a.h5ad").write_text("x")
    with pytest.raises(InputError, match="not an HDF5 file"):
        Atlas(config(tmp_path / "a.h5ad"))
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    with pytest.raises(InputError, match="no X, obs, var"):
        Atlas(config(tmp_path / "empty.zarr"))
    a = make_adata()
    a.X = a.X.tocsc()
    with pytest.raises(InputError, match="stored by column"):
        Atlas(config(write(a, tmp_path / "csc.zarr", "v3")))

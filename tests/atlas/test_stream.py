"""Any rows in any batches of any layout are the dense truth; so are tokens made many at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from octoscope.atlas import Atlas, codec_pipeline, convert, open_store
from octoscope.atlas.chunks import DamageError
from octoscope.genes import GeneTable
from octoscope.models import scgpt_tokens
from octoscope.models.protocol import GeneMatch
from octoscope.models.ragged import ranked
from octoscope.models.randomness import CellGenerators, cell_generator
from octoscope.models.scgpt_tokens import bin_cells
from scipy import sparse
from zarr.codecs import BloscCodec, Crc32cCodec

from tests.atlas.stores import cells, config, file_of, write

LAYOUTS = ("sorted", "unsorted", "duplicates", "sharded", "dense", "h5ad")
CHECKED = [BloscCodec(cname="zstd", shuffle="shuffle"), Crc32cCodec()]


def truth(seed: int) -> np.ndarray:
    """Return counts of 60 cells of 40 genes; some hold nothing and one holds all."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.7, (60, 40)) * (rng.random((60, 1)) < 0.8)
    counts[rng.integers(60)] = 7
    return counts.astype(np.float32)


def stored(dense: np.ndarray, layout: str, seed: int) -> tuple[np.ndarray, ...]:
    """Return ``data, indices, indptr`` as a layout writes them."""
    rng = np.random.default_rng(seed)
    data, indices, indptr = [], [], [0]
    for row in dense:
        columns = np.flatnonzero(row)
        values = row[columns]
        if layout == "duplicates":  # counts from 2 on in two parts
            more = values > 1
            columns = np.r_[columns, columns[more]]
            values = np.r_[values - more, np.ones(more.sum(), np.float32)]
        if layout in ("unsorted", "duplicates"):
            order = rng.permutation(len(columns))
            columns, values = columns[order], values[order]
        data.append(values)
        indices.append(columns.astype(np.int32))
        indptr.append(indptr[-1] + len(columns))
    return np.concatenate(data), np.concatenate(indices), np.array(indptr)


def make(folder: Path, layout: str, dense: np.ndarray, chunk: int, seed: int) -> Path:
    """Write an atlas whose matrix is replaced by the layout's."""
    a = cells()
    a.X = sparse.csr_matrix(dense)
    path = folder / f"{layout}.zarr"
    if layout == "h5ad":
        a.write_h5ad(path.with_suffix(".h5ad"))
        return path.with_suffix(".h5ad")
    write(a, path, 3)
    root = zarr.open_group(path, mode="a", use_consolidated=False)
    del root["X"]
    with zarr.config.set({"array.write_empty_chunks": True}):
        if layout == "dense":
            array = root.create_array("X", data=dense, chunks=(max(1, chunk // 10), 40))
            array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            return path
        group = root.create_group("X")
        kind = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [60, 40]}
        group.attrs.update(kind)
        names = ("data", "indices", "indptr")
        for name, values in zip(names, stored(dense, layout, seed), strict=True):
            more: dict[str, Any] = {}
            if layout == "sharded":
                more = {"shards": (4 * chunk,), "compressors": CHECKED}
            group.create_array(name, data=values, chunks=(chunk,), **more)
    return path


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set how many values are read at a time, so that small stores are read in many pieces."""

    def change(run: int, ahead: int) -> None:
        monkeypatch.setattr(open_store, "_RUN", run)
        monkeypatch.setattr("octoscope.atlas.atlas._AHEAD", ahead)

    return change


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(
            n, marks=pytest.mark.slow if n in ("unsorted", "duplicates", "sharded") else ()
        )
        for n in LAYOUTS
    ],
)
@given(
    rows=st.lists(st.integers(0, 59), unique=True).map(sorted),
    batch=st.integers(1, 70),
    chunk=st.sampled_from([20, 57, 400]),
    sizes=st.tuples(st.integers(1, 900), st.integers(1, 3000)),
)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_rows_in_any_batches_are_the_truth(
    layout: str, rows: list[int], batch: int, chunk: int, sizes: tuple[int, int],
    tmp_path: Path, windows: Any,
) -> None:  # fmt: skip
    dense = truth(chunk)
    path = tmp_path / str(chunk)
    if not path.exists():
        path.mkdir()
        make(path, layout, dense, chunk, 0)
    windows(*sizes)
    atlas = Atlas(config(next(path.iterdir())))
    chosen_rows = np.array(rows, np.int64)
    whole = atlas.read(chosen_rows)
    assert (whole.counts.toarray() == dense[chosen_rows]).all()
    before = atlas.cost.read
    parts = list(atlas.stream(chosen_rows, batch))
    if layout != "dense":  # no chunk is decoded twice but one that is held no more
        assert atlas.cost.read - before <= atlas._rows.decoded(chosen_rows)[-1:].sum()
    assert [len(p.rows) for p in parts[:-1]] == [batch] * (len(parts) - 1)
    assert [i for p in parts for i in p.rows] == rows
    assert [i for p in parts for i in p.cell_ids] == [f"cell{i}" for i in rows]
    for p in parts:
        assert p.counts.dtype == np.float32
        assert (p.counts.toarray() == dense[p.rows]).all()
        again = sparse.csr_matrix(
            (p.counts.data, p.counts.indices, p.counts.indptr), p.counts.shape
        )
        assert again.has_canonical_format  # looked at, not only said
        assert (p.counts.data > 0).all()


@pytest.mark.parametrize("layout", ["sorted", "unsorted", "duplicates"])
def test_genes_that_are_added_up_or_dropped(layout: str, tmp_path: Path) -> None:
    dense = truth(1)
    path = make(tmp_path, layout, dense, 100, 1)
    root = zarr.open_group(path, mode="r+", use_consolidated=False)
    names = root["var/_index"][:].astype(object)
    names[[3, 30]] = "ENSG00000000003.1", "ENSG00000000003.2"
    names[[0, 7, 39]] = "spike 1", "spike 2", "spike 3"
    del root["var/_index"]
    with zarr.config.set({"array.write_empty_chunks": True}):
        ad.io.write_elem(root["var"], "_index", names)
        ad.io.write_elem(root["var"], "feature_name", np.array([""] * 40, dtype=object))
    atlas = Atlas(config(path, duplicate_genes="sum"))
    want = dense.copy()
    want[:, 3] += want[:, 30]
    want = np.delete(want, [0, 7, 30, 39], axis=1)
    assert len(atlas.genes) == 36
    got = sparse.vstack([b.counts for b in atlas.stream(np.arange(60), 7)])
    assert (got.toarray() == want).all()
    assert got.has_canonical_format


def test_a_fault_of_a_later_batch_is_raised_and_named(tmp_path: Path, windows: Any) -> None:
    windows(100, 200)
    target = tmp_path / "checked.zarr"
    dense = truth(0)
    path = make(tmp_path, "sharded", dense, 100, 0)
    atlas = Atlas(config(path))
    file = file_of(path, "X/data", 1)  # the second shard
    raw = bytearray(file.read_bytes())
    raw[30] ^= 1
    file.write_bytes(raw)
    atlas._rows._cache.clear()  # type: ignore[union-attr]
    stream = atlas.stream(np.arange(60), 5)
    assert (next(stream).counts.toarray() == dense[:5]).all()
    with pytest.raises(DamageError, match=r"X/data, chunk \d+ \(X/data/c/1\): cannot be decoded"):
        list(stream)
    assert not target.exists()


# Another pipeline, where CRC32C guards the bytes


@pytest.fixture
def zarrs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("zarrs")
    monkeypatch.setattr(codec_pipeline, "_chosen", "zarrs.ZarrsCodecPipeline")
    yield
    assert "Batched" in zarr.config.get("codec_pipeline.path")


def _quick(atlas: Atlas) -> list[str]:
    arrays = atlas._rows._quick  # type: ignore[union-attr]
    return [type(a._async_array.codec_pipeline).__name__ for a in arrays if a is not None]


def test_the_other_pipeline_reads_the_same_and_damage_is_named(tmp_path: Path, zarrs: None) -> None:
    dense = truth(2)
    path = make(tmp_path, "sharded", dense, 64, 2)
    atlas = Atlas(config(path))
    assert _quick(atlas) == ["ZarrsCodecPipeline"] * 2
    assert (atlas.read(np.arange(60)).counts.toarray() == dense).all()
    target = tmp_path / "converted.zarr"
    convert(config(path), str(target))
    atlas = Atlas(config(target))
    assert len(_quick(atlas)) == 2
    for array in ("X/data", "X/indices"):
        file = file_of(target, array, 0)
        whole = file.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 40)):
            changed = bytearray(whole)
            changed[at] ^= 1
            file.write_bytes(changed)
            with pytest.raises(DamageError, match=rf"{array}, chunk 0 .*: cannot be decoded"):
                Atlas(config(target)).read(np.arange(60))
        for length in (20, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:length])
            with pytest.raises(DamageError, match=rf"{array}, chunk 0 .*: cannot be decoded"):
                Atlas(config(target)).read(np.arange(60))
        file.unlink()
        with pytest.raises(DamageError, match=rf"{array}, chunk 0 .*: a missing chunk"):
            Atlas(config(target)).read(np.arange(60))
        file.write_bytes(whole)
    assert (Atlas(config(target)).read(np.arange(60)).counts.sum()) == dense.sum()


def test_the_other_pipeline_never_decodes_what_has_no_checksum(tmp_path: Path, zarrs: None) -> None:
    for layout in ("sorted", "dense", "h5ad"):
        atlas = Atlas(config(make(tmp_path, layout, truth(0), 64, 0)))
        assert layout == "dense" or _quick(atlas) == []
    assert _quick(Atlas(config(write(cells(), tmp_path / "v2.zarr", 2)))) == []


def test_a_pipeline_asked_for_by_the_environment(tmp_path: Path) -> None:
    path = make(tmp_path, "sharded", truth(0), 64, 0)
    code = f"""
from tests.atlas.stores import config
from octoscope.atlas import Atlas
import zarr
try:
    print(Atlas(config({str(path)!r})).counts_source, zarr.config.get("codec_pipeline.path"))
except Exception as error:
    print(type(error).__name__, error)
"""
    env = os.environ | {"ZARR_CODEC_PIPELINE__PATH": "nowhere.Pipeline"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout.startswith("InputError codec_pipeline.path: nowhere.Pipeline")


# Cells to tokens, many at a time


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_bins_are_those_of_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 300, 5)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.geometric(rng.uniform(0.02, 0.9), indptr[-1]).astype(np.float32)
    if seed % 3:
        values = np.log1p(values / np.float32(rng.uniform(0.1, 3)))
    n_bins, uniforms = int(rng.choice([2, 6, 51])), rng.random(len(values))
    got = bin_cells(values, indptr, n_bins, uniforms)
    quantiles = scgpt_tokens._quantiles(values, indptr, np.linspace(0, 1, n_bins - 1))
    for cell, (low, high) in enumerate(zip(indptr, indptr[1:], strict=False)):
        x = values[low:high]
        if not len(x):
            continue
        edges = np.quantile(x, np.linspace(0, 1, n_bins - 1))
        assert (quantiles[cell] == edges).all()
        left, right = np.digitize(x, edges), np.digitize(x, edges, right=True)
        want = np.ceil(uniforms[low:high] * (right - left) + left).astype(np.float32)
        assert (got[low:high] == want).all()


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_ranks_are_those_of_a_stable_sort(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 50, 6)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    size = int(indptr[-1])
    values = (
        rng.integers(1, 6, size).astype(float),  # many ties
        1 + rng.integers(0, 40, size) * 2.0**-52,  # differ in the last bits only
        rng.integers(1, 9, size) / rng.lognormal(0, 1, size),
        np.exp(rng.uniform(-700, 700, size)),
    )[seed % 4]
    room = int(rng.integers(1, 60))
    want = [
        low + i
        for low, high in zip(indptr, indptr[1:], strict=False)
        for i in np.argsort(-values[low:high], kind="stable")[:room]
    ]
    assert ranked(values, indptr, room).tolist() == want


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_counts_by_model_gene_are_those_of_a_product(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atlas_genes, model_genes = rng.integers(1, 200, 2)
    model_gene = rng.integers(-1, model_genes, atlas_genes).astype(np.int32)  # several may meet
    density = rng.uniform(0, 1)
    counts = sparse.csr_matrix(
        rng.poisson(2, (7, atlas_genes)) * (rng.random((7, atlas_genes)) < density), dtype="f4"
    )
    names = np.array([f"g{i}" for i in range(model_genes)], dtype=object)
    matrix = GeneMatch(GeneTable(names, names), model_gene, []).model_counts(counts)
    want = np.zeros((7, model_genes), np.float32)
    for column in np.flatnonzero(model_gene >= 0):
        want[:, model_gene[column]] += counts[:, [column]].toarray()[:, 0]
    assert (matrix.toarray() == want).all()
    again = sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), matrix.shape)
    assert again.has_canonical_format


def test_generators_of_cells_one_after_the_other_are_their_own() -> None:
    generators = CellGenerators(3, "family")
    for name in ("a", "b", "a"):
        got, want = generators.of(name), cell_generator(3, "family", name)
        for draw in (lambda g: g.random(7), lambda g: g.permutation(9), lambda g: g.integers(5)):
            assert (draw(got) == draw(want)).all()

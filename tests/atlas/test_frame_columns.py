"""Columns read alone are those of AnnData's own reader of frames, in every layout it wrote."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from octoscope.atlas import Atlas, check, convert, frames, info
from octoscope.atlas.open_root import open_root
from octoscope.config import AtlasConfig
from octoscope.errors import InputError

from tests.atlas.old_frames import open_to_change, put_array, put_frame_07, write_06, write_07
from tests.atlas.stores import cells, config, write

LAYOUTS = ("0.7 h5ad", "0.7 zarr", "now h5ad", "now zarr 2", "now zarr 3")
OLD = LAYOUTS[:2]
N = 60
MIX = np.random.default_rng(1).permutation(N)


def varied(nullable: bool) -> ad.AnnData:
    """Return cells with a column of each kind; what can be missing is missing now and then."""
    a = cells()
    kinds = np.array(["T cell", "B cell", "CD4+ αβ"] * 20)[MIX].astype(object)
    kinds[::7] = None
    a.obs["cell_type"] = pd.Categorical(kinds)
    a.obs["stage"] = pd.Categorical(
        np.array(["late", "early"] * 30)[MIX], ["early", "never", "late"], ordered=True
    )
    a.obs["number"] = pd.Categorical(np.array([10, 20, 30] * 20)[MIX])
    a.obs["truth"] = pd.Categorical(np.array([True, False] * 30)[MIX])
    a.obs["one"] = pd.Categorical(["only"] * N)
    a.obs["is_primary_data"] = (np.arange(N) % 8 != 0)[MIX]
    a.obs["n_counts"] = np.arange(N, dtype="int32")[MIX]
    a.obs["score"] = np.where(np.arange(N) % 5 == 0, np.nan, np.arange(N) / 7)
    a.obs["barcode"] = [f"AC-{i}" for i in range(N)]
    a.var["feature_name"] = pd.Categorical([f"SYM{i}" for i in range(a.n_vars)][::-1])
    a.var["highly_variable"] = (np.arange(a.n_vars) % 3 == 0)[np.argsort(MIX[: a.n_vars])]
    if nullable:
        some = np.arange(N)[MIX] % 6 == 0
        for name, values, kind in (
            ("int", np.arange(N), "Int64"),
            ("bool", np.arange(N) % 2 == 0, "boolean"),
            ("string", np.array(["x", "y", ""] * 20), "string"),
        ):
            column = pd.array(values, dtype=kind)
            column[some] = pd.NA
            a.obs[name] = column
    return a


def written(layout: str, folder: Path) -> Path:
    old, path = layout in OLD, folder / f"a.{'h5ad' if 'h5ad' in layout else 'zarr'}"
    a = varied(nullable=not old)
    if old:
        return write_07(a, path)
    with (
        ad.settings.override(allow_write_nullable_strings=True),
        zarr.config.set({"array.write_empty_chunks": True}),
    ):
        if path.suffix == ".h5ad":
            a.write_h5ad(path, convert_strings_to_categoricals=False)
            return path
        return write(a, path, int(layout[-1]))


def by_anndata(path: Path) -> ad.AnnData:
    return ad.read_h5ad(path) if path.suffix == ".h5ad" else ad.read_zarr(path)


def given(path: Path, **more: Any) -> AtlasConfig:
    return config(path, primary_only=False, **more)


@pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_columns_are_those_of_the_frame(layout: str, tmp_path: Path) -> None:
    path = written(layout, tmp_path)
    whole, root = by_anndata(path), open_root(str(path))
    assert whole.obs["cell_type"].isna().sum() == 9  # the oracle reads names
    assert set(whole.obs["cell_type"].dropna()) == {"T cell", "B cell", "CD4+ αβ"}
    for name, frame in (("obs", whole.obs), ("var", whole.var)):
        group = root[name]
        assert frames.frame_columns(group) == list(frame.columns)
        assert list(frames.read_index(group, str(path))) == list(frame.index)
        for column in frame.columns:
            alone = frames.read_column(group, column, str(path))
            expected = frame[column].reset_index(drop=True)
            pd.testing.assert_series_equal(alone, expected, check_names=False)
        pd.testing.assert_frame_equal(frames.read_frame(group, str(path)), frame)


@pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_categories_donors_symbols_and_the_converted_atlas(layout: str, tmp_path: Path) -> None:
    path = written(layout, tmp_path)
    whole = by_anndata(path)
    settings = config(path)
    atlas = Atlas(settings)
    assert list(atlas.genes.symbol) == list(whole.var["feature_name"])
    index = atlas.index(0)
    counted = whole.obs["cell_type"][whole.obs["is_primary_data"]].value_counts()
    sizes = [len(first) + len(second) for first, second in index.halves]
    assert dict(zip(index.categories, sizes, strict=True)) == dict(counted)
    assert index.donors == [3, 3, 3]
    assert check(settings).faults == []
    assert info(settings).rows["cells of T cell"] == counted["T cell"]
    convert(settings, str(tmp_path / "out.zarr"))
    out = ad.read_zarr(tmp_path / "out.zarr")
    assert list(out.var["feature_name"]) == list(whole.var["feature_name"])
    expected = whole.obs.loc[out.obs_names]
    expected.index.name = out.obs.index.name
    pd.testing.assert_frame_equal(out.obs, expected)
    assert (out.X.toarray() == whole[out.obs_names].X.toarray()).all()


@pytest.mark.parametrize("layout", OLD)
def test_a_code_of_no_category_is_named(layout: str, tmp_path: Path) -> None:
    path = written(layout, tmp_path)
    root = open_to_change(path)
    root["obs/cell_type"][5] = 9
    if isinstance(root, h5py.File):
        root.close()
    with pytest.raises(InputError, match=r"obs/cell_type, .*: holds 9, expected -1 to 2"):
        Atlas(given(path)).index(0)
    (fault,) = check(given(path)).faults
    assert fault.array == "obs/cell_type"


def test_a_missing_chunk_of_old_codes_is_named(tmp_path: Path) -> None:
    path = written("0.7 zarr", tmp_path)
    (path / "obs" / "cell_type" / "1").unlink()
    with pytest.raises(InputError, match=r"obs/cell_type, chunk 1 .*a missing chunk"):
        Atlas(given(path)).index(0)
    assert [(f.array, f.chunk) for f in check(given(path)).faults] == [("obs/cell_type", "1")]


@pytest.mark.parametrize("layout", OLD)
def test_names_that_are_gone_are_not_replaced_by_codes(layout: str, tmp_path: Path) -> None:
    path = written(layout, tmp_path)
    root = open_to_change(path)
    del root["obs/__categories/cell_type"]
    if isinstance(root, h5py.File):
        root.close()
    words = r"obs/cell_type: codes of categories whose names are not in the store.*Fix: write"
    for work in (
        lambda c: Atlas(c).index(0),
        check,
        lambda c: convert(c, str(tmp_path / "o.zarr")),
    ):
        with pytest.raises(InputError, match=words):
            work(given(path))
    assert any("names are not in the store" in f.problem for f in info(given(path)).findings.errors)


@pytest.mark.parametrize("layout", OLD)
def test_a_name_that_comes_twice_is_not_called_damage(layout: str, tmp_path: Path) -> None:
    path = written(layout, tmp_path)
    root = open_to_change(path)
    root["obs/__categories/cell_type"][1] = "T cell"
    root["obs/__categories/cell_type"][2] = "T cell"
    if isinstance(root, h5py.File):
        root.close()
    with pytest.raises(InputError, match=r"obs/cell_type: .* make no column .*must be unique"):
        Atlas(given(path)).index(0)


@pytest.mark.parametrize("layout", OLD)
def test_codes_that_lost_their_attribute_are_not_names(layout: str, tmp_path: Path) -> None:
    path = written(layout, tmp_path)
    root = open_to_change(path)
    del root["obs/cell_type"].attrs["categories"]
    if isinstance(root, h5py.File):
        root.close()
    with pytest.raises(InputError, match=r"obs/cell_type: codes whose names lie in __categories"):
        Atlas(given(path)).index(0)


@pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_symbols_of_raw_counts_of_anndata_07(kind: str, tmp_path: Path) -> None:
    path = written(f"0.7 {kind}", tmp_path)
    root = open_to_change(path)
    if "raw" in root:  # nothing, as an array
        del root["raw"]
    root.create_group("raw")
    if isinstance(root, h5py.File):
        root.copy("X", "raw/X")
    else:
        shutil.copytree(path / "X", path / "raw" / "X")
    var = varied(nullable=False).var
    var["feature_name"] = pd.Categorical([f"RAW{i}" for i in range(len(var))][::-1])
    put_frame_07(root, "raw/var", var)
    if isinstance(root, h5py.File):
        root.close()
    atlas = Atlas(given(path))
    assert atlas.counts_source == "raw.X"
    assert list(atlas.genes.symbol) == list(by_anndata(path).raw.var["feature_name"])


@pytest.mark.parametrize("kind", [None, "category", "string"])
def test_missing_symbols_are_no_text(kind: str | None, tmp_path: Path) -> None:
    a = cells()
    symbols = pd.Series([None, *(f"S{i}" for i in range(1, a.n_vars))], index=a.var_names)
    a.var["feature_name"] = symbols.astype(kind) if kind else symbols
    with ad.settings.override(allow_write_nullable_strings=True):
        a.write_h5ad(tmp_path / "a.h5ad", convert_strings_to_categoricals=kind is None)
    assert list(Atlas(given(tmp_path / "a.h5ad")).genes.symbol[:2]) == ["", "S1"]


@pytest.mark.parametrize("layout", ["now h5ad", "now zarr 2"])
def test_old_codes_in_a_present_frame_are_refused(layout: str, tmp_path: Path) -> None:
    path = written(layout, tmp_path)
    root = open_to_change(path)
    names = put_array(root["obs"], "__categories/old", np.array(["p", "q"], dtype=object))
    codes = put_array(root["obs"], "old", np.arange(N) % 2)
    as_hdf5 = isinstance(root, h5py.File)
    codes.attrs["categories"] = names.ref if as_hdf5 else "__categories/old"
    order = [*frames.frame_columns(root["obs"]), "old"]
    root["obs"].attrs["column-order"] = np.array(order, dtype=object) if as_hdf5 else order
    if as_hdf5:
        root.close()
    settings = given(path).model_copy(update={"category_key": ["old"]})
    with pytest.raises(InputError, match=r"obs/old: codes as anndata 0\.7 wrote them, in a data"):
        Atlas(settings).index(0)


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_structured_arrays_are_refused_with_the_way_out(kind: str, tmp_path: Path) -> None:
    path = write_06(cells(), tmp_path / f"a.{kind}")
    with pytest.raises(InputError, match=r"obs: one structured array, as anndata 0\.6") as caught:
        Atlas(given(path))
    assert "read it with anndata" in caught.value.fix
    (error,) = info(given(path)).findings.errors
    assert error.where == f"{path}: obs"


def test_sparse_counts_of_anndata_06_are_named(tmp_path: Path) -> None:
    path = written("now h5ad", tmp_path)
    with h5py.File(path, "a") as file:
        for name in list(file["X"].attrs):
            del file["X"].attrs[name]
        file["X"].attrs["h5sparse_format"] = "csr"
        file["X"].attrs["h5sparse_shape"] = (N, 40)
    with pytest.raises(InputError, match=r"X: a sparse matrix as anndata 0\.6"):
        Atlas(given(path, counts="X"))


def test_attributes_and_text_of_fixed_length(tmp_path: Path) -> None:
    """R and Julia write attributes, and some writers columns, as bytes of one length."""
    path = written("0.7 h5ad", tmp_path)
    names, kinds = [f"é{i}" for i in range(N)], ["T cell", "B cell", "CD4+ αβ"]
    with h5py.File(path, "a") as file:
        obs = file["obs"]
        for key in ("encoding-type", "encoding-version", "_index"):
            obs.attrs[key] = np.bytes_(str(obs.attrs[key]))
        obs.attrs["column-order"] = np.array([b"cell_type", b"donor"])
        for key, values in (("index", names), ("__categories/cell_type", kinds)):
            fixed = np.char.encode(np.array(values), "utf-8")
            if key != "index":
                codes = obs["cell_type"][()]
                del obs["cell_type"]
            del obs[key]
            made_here = obs.create_dataset(key, data=fixed)
        again = obs.create_dataset("cell_type", data=codes)
        again.attrs["categories"] = made_here.ref
    group = open_root(str(path))["obs"]
    assert frames.frame_columns(group) == ["cell_type", "donor"]
    assert list(frames.read_index(group, str(path))) == names
    column = frames.read_column(group, "cell_type", str(path))
    assert list(column.cat.categories) == kinds
    assert column.isna().sum() == (codes < 0).sum()
    assert Atlas(given(path)).index(0).categories == sorted(kinds)


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_bytes_of_fixed_length_in_zarr(zarr_format: int, tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", zarr_format)
    group = open_to_change(path)["obs"]
    ids, kept = cells().obs_names, dict(group["_index"].attrs)
    del group["_index"]
    array = group.create_array("_index", data=np.array(ids, dtype="S10"), chunks=(16,))
    array.attrs.update(kept)
    atlas = Atlas(given(path))
    assert list(atlas.cell_ids) == list(ids)
    assert check(given(path)).faults == []


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_a_column_of_another_length_is_refused(kind: str, tmp_path: Path) -> None:
    path = written(f"0.7 {kind}", tmp_path)
    root = open_to_change(path)
    del root["obs/n_counts"]
    put_array(root["obs"], "n_counts", np.arange(N - 1))
    if isinstance(root, h5py.File):
        root.close()
    settings = given(path).model_copy(update={"replicate_key": "n_counts"})
    with pytest.raises(InputError, match="obs/n_counts: 59 values for 60 rows"):
        Atlas(settings).index(0)


def test_a_column_of_two_dimensions_or_unknown_kind_is_refused(tmp_path: Path) -> None:
    path = written("0.7 h5ad", tmp_path)
    with h5py.File(path, "a") as file:
        del file["obs/n_counts"], file["obs/score"]
        file["obs/n_counts"] = np.zeros((N, 2))
        file.create_group("obs/score").attrs["encoding-type"] = "table"
    for name, words in (("n_counts", "an array of 2 dimensions"), ("score", "encoding table,")):
        settings = given(path).model_copy(update={"replicate_key": name})
        with pytest.raises(InputError, match=f"obs/{name}: .*{words}"):
            Atlas(settings).index(0)
        assert any(words in f.problem for f in info(settings).findings.errors)


def test_a_frame_of_another_version_is_refused(tmp_path: Path) -> None:
    path = written("0.7 zarr", tmp_path)
    open_to_change(path)["var"].attrs["encoding-version"] = "9"
    with pytest.raises(InputError, match=r"var: not a data frame that is known: .* version 9"):
        Atlas(given(path))


@pytest.mark.parametrize("layout", OLD)
def test_slashes_in_names_of_old_columns(layout: str, tmp_path: Path) -> None:
    a = cells()
    a.obs["leiden/0.5"] = a.obs["cell_type"]
    path = write_07(a, tmp_path / ("a.h5ad" if "h5ad" in layout else "a.zarr"))
    settings = given(path).model_copy(update={"category_key": ["leiden/0.5"]})
    assert Atlas(settings).index(0).categories == ["A", "B"]


@pytest.mark.parametrize(
    "values",
    [
        np.arange(N) % 4 // 3 == 0,
        (np.arange(N) % 4 // 3 == 0).astype("int8"),
        (np.arange(N) % 4 // 3 == 0).astype("float64"),
        pd.Categorical((np.arange(N) % 4 // 3 == 0).astype(int).astype(str)),
        pd.array(np.arange(N) % 4 // 3 == 0, dtype="Int64"),
        np.where(np.arange(N) % 4 // 3 == 0, "Yes", "No"),
    ],
)
def test_primary_data_as_one_and_zero(values: Any, tmp_path: Path) -> None:
    a = cells()
    a.obs["is_primary_data"] = values
    a.write_h5ad(tmp_path / "a.h5ad")
    atlas = Atlas(config(tmp_path / "a.h5ad"))
    assert atlas.index(0).refused == {"not primary data": 15}


def test_primary_data_that_says_neither_names_the_way_out(tmp_path: Path) -> None:
    a = cells()
    a.obs["is_primary_data"] = np.arange(N) % 3
    a.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match=r"holds '2', expected true and false") as caught:
        Atlas(config(tmp_path / "a.h5ad")).index(0)
    assert "lets copies" in caught.value.fix


# Encodings of AnnData that are no column of a frame, or that a frame refuses.
_NO_COLUMNS = {
    "anndata", "awkward-array", "bytes", "csc_matrix", "csr_matrix", "dataframe", "dict", "null",
    "numeric-scalar", "raw", "rec-array", "string",
}  # fmt: skip


def test_every_encoding_that_anndata_knows_of_a_column_is_in_these_layouts(tmp_path: Path) -> None:
    """Red: another AnnData writes a column in a way that no file here has."""
    from anndata._io.specs.registry import _REGISTRY

    known = {spec.encoding_type for _, spec, *_ in _REGISTRY.read} - {""}
    written_here = set()
    for layout in LAYOUTS:
        folder = tmp_path / layout
        folder.mkdir()
        root: Any = open_to_change(written(layout, folder))
        for frame in (root["obs"], root["var"]):
            written_here |= {str(frame[name].attrs.get("encoding-type")) for name in frame}
    assert known - _NO_COLUMNS <= written_here

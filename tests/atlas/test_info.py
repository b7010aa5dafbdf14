"""`atlas info`: every kind of finding on a real store, and the figures beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import fsspec
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from octoscope.atlas import AtlasInfo, check, convert, info
from octoscope.atlas.findings import Finding, Findings
from octoscope.atlas.layout import ArrayCost, check_layout
from octoscope.cli.app import app
from octoscope.cli.shared import guarded
from octoscope.config import AtlasConfig
from octoscope.errors import InputError, OctoscopeWarning
from scipy import sparse

from tests.atlas.stores import cells, file_of, put, write
from tests.conftest import make_adata
from tests.here import here

GIVEN = {"category_key": ["cell_type"], "replicate_key": "donor"}


def look(path: Path, seed: int = 0, quick: bool = False, **given: Any) -> AtlasInfo:
    return info(AtlasConfig(path=str(path), **{**GIVEN, **given}), seed, quick=quick)


def one_finding(result: AtlasInfo, severity: str, text: str) -> Finding:
    """Return the one finding of a severity whose place and problem are as given."""
    of_severity = [f for f in result.findings.entries if f.severity == severity]
    hits = [f for f in of_severity if re.search(text, f"{f.where}: {f.problem}")]
    assert len(hits) == 1, result.findings.entries
    return hits[0]


def with_obs(name: str, values: Any) -> Callable[[], ad.AnnData]:
    def changed() -> ad.AnnData:
        a = cells()
        a.obs[name] = values
        return a

    return changed


def with_ids(change: Callable[[list[str]], list[str]]) -> Callable[[], ad.AnnData]:
    def changed() -> ad.AnnData:
        a = cells()
        a.var_names = change(list(a.var_names))
        return a

    return changed


def logged() -> ad.AnnData:
    a = cells()
    a.X = sparse.csr_matrix(np.log1p(a.X.toarray()))
    return a


def rounded() -> ad.AnnData:
    """Return counts per 10,000 of a cell, rounded: whole, and no counts."""
    a = cells()
    dense = a.X.toarray()
    a.X = sparse.csr_matrix(np.rint(dense / dense.sum(1, keepdims=True) * 1e4).astype("float32"))
    return a


def counts_in_layer() -> ad.AnnData:
    a = logged()
    a.layers["counts"] = cells().X
    a.raw = logged()
    return a


def seen_or_not() -> ad.AnnData:
    a = cells()
    a.X = (a.X > 0).astype("f4")
    return a


def by_column() -> ad.AnnData:
    a = cells()
    a.X = a.X.tocsc()
    return a


MIXED = np.random.default_rng(0).permutation(60)  # a chunk of one value would be left out
KINDS = pd.Categorical(["A"] * 30 + ["B"] * 19 + [None] * 11)[MIXED]
PRIMARY = np.arange(60) >= 13
TWICE = with_ids(lambda ids: [ids[0] + ".1", ids[0] + ".2", *ids[2:]])
ODD = with_ids(lambda ids: ["MT-XYZ", "x2", *ids[2:]])
ONE_DONOR = with_obs("donor", ["d0"] * 60)
LOOKALIKES = with_obs("cell_type", ["T cell", " T cell", "t_cell", "", "nan", " B"] * 10)
TWO_DONORS = with_obs("donor", ["d0", "d1"] * 30)


@pytest.mark.parametrize(
    ("cells_of", "given", "severity", "text"),
    [
        (logged, {}, "error", r"X: holds 0\.693147 \(not a whole number\) in X/data, chunk 0"),
        (logged, {"counts": "X"}, "error", r"X: holds 0\.693147"),
        (rounded, {}, "warning", r"X: all 60 cells have about the same total \([19][0-9,]+ to "),
        (counts_in_layer, {}, "note", r"raw\.X: not used: holds 0\.69"),
        (cells, {"counts": "layers/none"}, "error", "no counts: none of layers/none is there"),
        (by_column, {}, "error", r"X: stored by column \(CSC\)"),
        (TWICE, {}, "error", r"var\[index\]: 1 columns have the id of another \(first: ENSG0+\.2"),
        (TWICE, {"duplicate_genes": "sum"}, "note", "1 of 40 columns merged"),
        (ODD, {}, "warning", r"var\[index\]: 2 of 40 ids are no Ensembl gene ids \(first: MT-XYZ"),
        (ODD, {}, "note", r"2 of 40 columns dropped \(first: MT-XYZ"),
        (cells, {"gene_id_key": "ens"}, "error", r"no column 'ens'; it has \['feature_name'\]"),
        (cells, {"category_key": ["kind"]}, "error", r"'kind'; it has \['cell_type', 'donor'\]"),
        (cells, {"category_key": []}, "note", "no category column is given"),
        (with_obs("cell_type", KINDS), {}, "warning", r"cell_type\]: 11 of 60 cells have no categ"),
        (
            with_obs("cell_type", KINDS),
            {},
            "warning",
            r"1 categories have fewer .*: B \(19\)",
        ),
        (
            LOOKALIKES,
            {},
            "warning",
            "spaces, hyphens, case or the form of letters only: ' T cell' and 'T cell' and 't_c",
        ),
        (LOOKALIKES, {}, "warning", r"cell_type\]: names that have spaces around: ' B', ' T cell'"),
        (LOOKALIKES, {}, "warning", r"text in place of a missing value: '', 'nan'"),
        (cells, {"replicate_key": None}, "note", "no donor column is given"),
        (cells, {"replicate_key": "who"}, "error", r"no column 'who'; it has"),
        (ONE_DONOR, {}, "warning", r"obs\[donor\]: one donor only in A, B"),
        (TWO_DONORS, {}, "warning", r"fewer than two donors in a half of A \(1 and 1\)"),
        (cells, {}, "note", r"obs\[is_primary_data\]: no such column"),
        (
            with_obs("cell_type", ["Caf\u00e9", "Cafe\u0301"] * 30),
            {},
            "warning",
            "form of letters only: 'Cafe\u0301' and 'Caf\u00e9'",
        ),
        (seen_or_not, {}, "warning", r"X: none of [0-9,]+ values is above 1: they may say"),
        (with_obs("is_primary_data", PRIMARY), {}, "note", "13 of 60 cells are not primary data"),
        (with_obs("is_primary_data", ["?"] * 60), {}, "error", r"is_primary_data\]: holds '\?'"),
        (cells, {}, "warning", "no checksum in obs/_index, .* and 2 more"),
        (cells, {}, "warning", r"small objects: X/data \(13 of 0\.\d KB\)"),
    ],
)
def test_each_kind_of_finding(
    cells_of: Callable[[], ad.AnnData],
    given: dict[str, Any],
    severity: str,
    text: str,
    tmp_path: Path,
) -> None:
    one_finding(look(write(cells_of(), tmp_path / "a.zarr", 3), **given), severity, text)


def test_a_converted_atlas_gives_no_finding(tmp_path: Path) -> None:
    a = cells()
    a.obs["donor"] = [f"d{i % 7}" for i in range(60)]
    a.obs["is_primary_data"] = True
    config = AtlasConfig(path=str(write(a, tmp_path / "a.zarr", 3)), **GIVEN)
    convert(config, str(tmp_path / "b.zarr"))
    assert look(tmp_path / "b.zarr").findings.entries == []
    assert look(tmp_path / "b.zarr", replicate_key=None).findings.errors == []


def test_zarr_2_and_an_object_store(tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", 2)
    local = look(path)
    one_finding(local, "note", "Zarr format 2")
    assert all(a.stored for a in local.arrays)
    memory = fsspec.filesystem("memory")
    memory.put(str(path), "/info.zarr", recursive=True)
    remote = look("memory://info.zarr")  # type: ignore[arg-type]
    memory.rm("/info.zarr", recursive=True)
    assert {a.stored for a in remote.arrays} == {None}
    assert [a.objects for a in remote.arrays] == [a.objects for a in local.arrays]
    one_finding(remote, "warning", r"small objects: X/data \(13 of 0\.5 KB\)")


def test_h5ad(tmp_path: Path) -> None:
    cells().write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    result = look(tmp_path / "a.h5ad")
    assert {f.severity for f in result.findings.entries} == {"note", "warning"}
    assert not [f for f in result.findings.entries if "checksum" in f.problem]
    assert {a.array for a in result.arrays if a.stored} >= {"X/data", "X/indices", "X/indptr"}


def test_many_objects_are_named() -> None:
    findings, arrays = Findings(), [ArrayCost("X/data", (1,), 100_001, None, 1 << 40, True)]
    check_layout(arrays, "X", None, findings)
    assert findings.entries == []  # h5ad: one file
    check_layout(arrays, "X", zarr.open_group({}, mode="w"), findings)
    assert [f.problem for f in findings.entries] == ["100,001 objects"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 cells whose categories lie interleaved, all in one chunk of 18 MB."""
    a = make_adata(3000, 1200)
    a.obs["donor"] = [f"d{i % 7}" for i in range(3000)]
    chunks = dict.fromkeys(("obs/_index", "obs/cell_type", "obs/donor", "var/_index"), (3000,))
    path = tmp_path_factory.mktemp("mixed") / "a b.zarr"
    return write(a, path, 3, X=(1 << 22,), **chunks)


@pytest.mark.slow
def test_an_atlas_that_is_read_many_times_names_the_command_that_helps(mixed: Path) -> None:
    result = look(mixed, seed=3)
    large = one_finding(result, "warning", r"X: one cell decodes 18 MB, 512 cells use 3\.1 MB")
    apart = one_finding(result, "warning", r"X: units of 512 cells decode \d\.\d times the bytes")
    for finding in (large, apart):
        assert finding.fix.endswith(
            f"`octoscope atlas convert '{mixed}' sorted.zarr --category cell_type --donor donor"
            " --seed 3`"
        )
    rows = result.rows
    units = -(-rows["cells of A"] // 1024) * 2 + -(-rows["cells of B"] // 1024) * 2
    assert rows["read over needed by units"] == pytest.approx(units, rel=0.35)
    target = mixed.parent / "sorted.zarr"
    config = AtlasConfig(path=str(mixed), **GIVEN)
    convert(config, str(target), seed=3)
    after = look(target, seed=3)
    assert after.rows["read over needed by units"] < 2
    assert not [f for f in after.findings.entries if f.severity != "note"]


def test_figures(tmp_path: Path) -> None:
    a, path = cells(), write(cells(), tmp_path / "a.zarr", 3)
    result = look(path)
    rows = result.rows
    assert rows["cells"] == 60
    assert rows["genes"] == 40
    assert rows["nonzero"] == a.X.nnz
    assert (rows["cells of A"], rows["cells of B"]) == (40, 20)
    assert rows["mean counts per cell"] == pytest.approx(a.X.sum() / 60, abs=0.05)
    assert rows["mean genes per cell"] == pytest.approx(a.X.nnz / 60, abs=0.05)
    assert rows["cells checked per second"] > 0
    data = next(c for c in result.arrays if c.array == "X/data")
    files = [p for p in (path / "X/data").rglob("*") if p.is_file()]
    assert data.objects == len(files) - 1  # and its metadata
    assert data.stored == sum(p.stat().st_size for p in files)
    assert data.decoded == a.X.nnz * 4
    assert not data.checksum
    quick = look(path, quick=True).rows
    assert "nonzero" not in quick
    assert quick["mean counts per cell"] == rows["mean counts per cell"]  # the sample is all


def test_quick_reads_a_sample_only(tmp_path: Path) -> None:
    path = write(make_adata(600, 40), tmp_path / "a.zarr", 3, X=(4096,))
    put(path, "X/data", 300 * 25, 0.5)
    assert look(path, replicate_key=None, quick=True).findings.errors == []
    one_finding(
        look(path, replicate_key=None), "error", r"X/data, chunk 1 .*, cell cell\d+, gene ENSG"
    )


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    a = by_column()
    a.obs["cell_type"] = KINDS
    a.obs_names = ["cell"] * 60
    a.var_names = ["x0", *a.var_names[1:]]
    result = look(write(a, tmp_path / "a.zarr", 2), replicate_key="who")
    problems = [f.problem for f in result.findings.errors]
    assert [p.split("(")[0].split(";")[0] for p in problems] == [
        "stored by column ",
        "no column 'who'",
    ]
    one_finding(result, "warning", "11 of 60 cells have no category")
    one_finding(result, "warning", "1 of 40 ids are no Ensembl")
    one_finding(result, "note", "Zarr format 2")
    one_finding(look(tmp_path / "a.zarr", replicate_key=None), "error", "cell ids are not unique")


def test_damage_is_a_finding_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", 3)
    file_of(path, "X/indices", 3).unlink()
    (path / "obs/donor/zarr.json").write_text("{")
    result = look(path)
    one_finding(result, "error", r"X/indices, chunk 3 \(X/indices/c/3\): a missing chunk")
    one_finding(result, "error", r"obs/donor: its metadata cannot be decoded")
    one_finding(result, "note", "is_primary_data")
    one_finding(
        look(path, gene_id_key="ens"), "error", "X/indices, chunk 3"
    )  # whatever else is wrong
    path = write(TWICE(), tmp_path / "b.zarr", 3)
    assert look(path).rows["genes"] == 39


@pytest.mark.parametrize("kind", [np.zeros, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("shape", [(0, 5), (5, 0)], ids=["no cell", "no gene"])
def test_an_atlas_without_cells_or_genes_is_refused(
    tmp_path: Path, shape: tuple[int, int], kind: Any
) -> None:
    """Red: nothing is read, checked and converted, with exit 0."""
    n, genes = shape
    obs = pd.DataFrame({"cell_type": pd.Categorical(["T"] * n)}, index=[f"c{i}" for i in range(n)])
    var = pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(genes)])
    path = tmp_path / "a.h5ad"
    ad.AnnData(kind(shape, dtype="f4"), obs, var).write_h5ad(path)
    given = {"category_key": ["cell_type"], "replicate_key": None}
    empty = rf"X:? is empty: {n} cells of {genes} genes"
    by_column = kind is sparse.csc_matrix
    one_finding(look(path, **given), "error", r"X: stored by column" if by_column else empty)
    given_config = AtlasConfig(path=str(path), **given)
    with pytest.raises(InputError, match=f"a.h5ad: .*{empty}"):
        convert(given_config, str(tmp_path / "b.zarr"))
    with pytest.raises(InputError, match="by column" if by_column else f"a.h5ad: .*{empty}"):
        check(given_config)
    assert not (tmp_path / "b.zarr").exists()


def test_counts_that_are_all_zero_are_said(tmp_path: Path) -> None:
    """Red: an atlas whose every count is 0 gives no finding, and converts without a word."""
    a = cells()
    a.X = sparse.csr_matrix(a.shape, dtype="f4")
    path = tmp_path / "a.h5ad"
    a.write_h5ad(path)
    one_finding(look(path), "error", "X: no count above 0 in 60 cells")
    with pytest.warns(OctoscopeWarning, match="a.h5ad: X: no count above 0 in 60 cells"):
        convert(AtlasConfig(path=str(path), **GIVEN), str(tmp_path / "b.zarr"))


@pytest.mark.parametrize("values", [np.ones(24), np.ones((6, 4, 2)), np.float32(1)])
@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
def test_counts_that_are_no_matrix_are_named(tmp_path: Path, name: str, values: Any) -> None:
    path = tmp_path / name
    if name.endswith("h5ad"):
        make_adata(6, 4).write_h5ad(path)
        with h5py.File(path, "a") as file:
            del file["X"]
            file["X"] = values
            file["X"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    else:
        with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=False):
            make_adata(6, 4).write_zarr(path)
        store = zarr.open_group(path)
        del store["X"]
        array = store.create_array("X", data=np.asarray(values))
        array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        zarr.consolidate_metadata(path)
    for command in (("info",), ("check",), ("convert", str(tmp_path / "out.zarr"))):
        completed = here("atlas", command[0], str(path), *command[1:], "--category", "cell_type")
        assert completed.returncode == 2
        assert f"{np.ndim(values)} instead of 2 dimensions" in completed.stderr + completed.stdout


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(path: Path, *more: str) -> int:
        command = ["atlas", "info", str(path), "--category", "cell_type", *more]
        return guarded(lambda: app(command, standalone_mode=False))

    a = cells()
    a.obs["cell_type"] = ["[bold]B[/bold]\x1b[31m" if i % 3 else "A" for i in range(60)]
    path = write(a, tmp_path / "[red]a.zarr", 3)
    assert call(path, "--donor", "donor") == 0
    printed = capsys.readouterr()
    assert "cells of [bold]B[/bold]?[31m" in printed.out
    assert "\x1b" not in printed.out
    assert "small objects" in " ".join(printed.out.split())
    assert call(path, "--json", "--quick") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["cells of A"] == 20
    assert "nonzero" not in answer
    assert {"severity", "where", "problem", "fix"} == set(answer["findings"][0])
    assert "X/data" in {x["array"] for x in answer["arrays"]}
    assert call(path, "--donor", "who", "--json") == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out)["cells"] == 60  # what is known is printed
    assert "bad input:" in printed.err
    assert "no column 'who'" in printed.err
    assert call(tmp_path / "none.zarr") == 2
    assert "none.zarr: does not exist" in capsys.readouterr().err
    assert call(path, "--duplicate-genes", "mean") == 2
    assert "atlas: duplicate_genes" in capsys.readouterr().err


def test_the_commands_take_every_setting_of_the_atlas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Red: what a run may be told about an atlas cannot be told to `info`, `check`, `convert`."""

    def call(command: str, *more: str) -> tuple[int, str]:
        words = ["atlas", command, *more, "--category", "cell_type", "--json"]
        code = guarded(lambda: app(words, standalone_mode=False))
        text = capsys.readouterr()
        return code, text.out + text.err

    a = cells()
    a.obs["is_primary_data"] = [i % 3 > 0 for i in range(60)]
    a.obs["cell_type"] = pd.Categorical(["A"] * 32 + ["B"] * 28)  # a chunk of code 0 is left out
    a.var["name"] = [f"symbol{i}" for i in range(40)]
    a.var_names = ["old0", *a.var_names[1:]]
    a.X.data = a.X.data + np.float32(0.25)
    path = str(write(a, tmp_path / "a.zarr", 3))
    (tmp_path / "aliases.tsv").write_text("alias\tensembl\nold0\tENSG00000999999\n")
    given = [
        "--counts", "X", "--fractional-counts", "round", "--missing-chunks", "fill",
        "--symbol-key", "name", "--gene-aliases", str(tmp_path / "aliases.tsv"), "--all-data",
    ]  # fmt: skip
    for command, target in (("info", []), ("check", []), ("convert", [str(tmp_path / "t.zarr")])):
        code, text = call(command, path, *target, *given)
        assert code == 0, text
    stored = ad.read_zarr(tmp_path / "t.zarr")
    assert stored.shape == (60, 40)
    assert "ENSG00000999999" in stored.var_names
    assert set(stored.var["feature_name"]) == set(a.var["name"])
    assert json.loads(call("info", path, *given)[1].splitlines()[0])["cells of A"] == 32
    for option in ("--fractional-counts", "--missing-chunks"):
        code, text = call("info", path, option, "maybe")
        assert code == 2
        assert option[2:].replace("-", "_") in text
    _, text = call("info", path, "--counts", "X", "--fractional-counts", "round")
    assert "--missing-chunks fill" in text

"""Co-expression through a run: from counts on disk to tables, against scipy on the same cells."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from octoscope.atlas import Atlas
from octoscope.config import parse_config
from octoscope.demo.demo import data
from octoscope.errors import InputError
from octoscope.extract import ranked_cells
from octoscope.extract.coexpression_work import CoexpressionRunner
from octoscope.extract.matrix_work import MatrixRunner
from octoscope.extract.ranked_cells import BLOCK_BYTES, rows_at_once
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.results.open_matrix import correlations_within_donors
from octoscope.run_plan.values import Plan
from octoscope.run_plan.work_names import matrix_work
from octoscope.store import tiles
from octoscope.store.commits import read_record
from octoscope.store.run_dir import RunRoot
from scipy.stats import rankdata

from tests.conftest import octoscope, small_tree, tables_of
from tests.here import here


def matrices(tree: dict, run: Path) -> tuple[RunRoot, Plan, dict[str, np.ndarray]]:
    root, plan = prepare(parse_config(tree, "c"), str(run))
    base = plan.bases[-1].name
    runner = CoexpressionRunner(root, plan, run_config(root), base)
    for unit in plan.units:
        if unit.model == base:
            runner.run(unit)
    after, matrices = MatrixRunner(root, plan), {}
    for c in range(len(plan.categories)):
        after.pairs(base, c)
    for m in plan.models[1:]:
        after.matrix(m.name, 1, 0)
        record = read_record(root, matrix_work(m.name, 1, 0), plan.hash)
        assert record is not None
        matrices[m.name] = tiles.open_array(root.zarr(f"{record.folder}/dense.zarr"), "sums")[:]
    return root, plan, matrices


def log_values(atlas: Path, plan: Plan, kind: str) -> pd.DataFrame:
    cells = ad.read_zarr(atlas)
    counts = np.asarray(cells.X.todense(), np.float64)
    values = np.log1p(1e4 * counts / counts.sum(1, keepdims=True))
    frame = pd.DataFrame(values, index=cells.obs_names, columns=cells.var_names)
    return frame.loc[(cells.obs["cell_type"] == kind).to_numpy(), plan.models[-1].axis]


@pytest.mark.parametrize("unit_cells", [1, 8])
def test_correlations_are_scipys(small_atlas: Path, tmp_path: Path, unit_cells: int) -> None:
    # 24 cells of a type: units of 16 batches of 1 cell are uneven, 16 of 8 hold a half each
    tree = small_tree(small_atlas) | {"coexpression": ["pearson", "spearman"]}
    tree["execution"]["unit_cells"] = unit_cells
    root, plan, by_layer = matrices(tree, tmp_path / "run")
    assert [m.name for m in plan.models] == [
        "tiny",
        "coexpression.pearson",
        "coexpression.spearman",
    ]
    values = log_values(small_atlas, plan, plan.categories[1].name)
    index = RunRoot(root.url).read_json("plan.json")["categories"][1]["cells"]
    assert index == [12, 12]
    dense = values.to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        want = {
            "coexpression.pearson": np.nan_to_num(np.corrcoef(dense.T)),
            "coexpression.spearman": np.nan_to_num(np.corrcoef(rankdata(dense, axis=0).T)),
        }
    for name, matrix in by_layer.items():
        np.testing.assert_allclose(matrix[2, 0], want[name], atol=2e-6)
        # the halves are not the whole, and each is a correlation of its own
        assert np.abs(matrix[0, 0] - matrix[2, 0]).max() > 0.05
        assert np.abs(matrix[:2]).max() <= 1


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_moments_of_genes_are_numpys(small_atlas: Path, tmp_path: Path, kind: str) -> None:
    """Of each half and of all cells, zeros included. Red: divided by the cells that express it."""
    tree = small_tree(small_atlas) | {"coexpression": [kind]}
    tree["execution"]["unit_cells"] = 8
    root, plan, _ = matrices(tree, tmp_path / "run")
    category, name = plan.categories[1], f"coexpression.{kind}"
    values = log_values(small_atlas, plan, category.name)
    record = read_record(root, matrix_work(name, 1, 0), plan.hash)
    assert record is not None
    store = root.zarr(f"{record.folder}/dense.zarr")
    mean, variance = (tiles.open_array(store, f"gene_{m}")[:] for m in ("mean", "variance"))
    rows = [Atlas(run_config(root).atlas).index_of(run_config(root)).halves[1][h] for h in (0, 1)]
    names = ad.read_zarr(small_atlas).obs_names
    for part, at in enumerate([*rows, np.concatenate(rows)]):
        cells = values.loc[names[at]].to_numpy()
        np.testing.assert_allclose(mean[part], cells.mean(0), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(variance[part], cells.var(0), rtol=1e-5, atol=1e-9)
    assert len(values) == sum(category.cells)
    assert np.abs(mean[0] - mean[1]).max() > 0.05  # the halves are not mixed up unseen


def test_correlations_within_donors_are_those_about_their_means(
    donors_atlas: Path, tmp_path: Path
) -> None:
    """Red: groups merged with their means; one group's part in both halves; rows of all genes."""
    tree = small_tree(donors_atlas) | {"coexpression": "pearson", "donor_groups": 4}
    tree["atlas"]["replicate_key"] = "donor"
    tree["execution"]["unit_cells"] = 2  # a group has several units
    root, plan, plain = matrices(tree, tmp_path / "run")
    cells = ad.read_h5ad(donors_atlas)
    counts = np.asarray(cells.X.todense(), np.float64)
    values = np.log1p(1e4 * counts / counts.sum(1, keepdims=True))
    values = values[:, cells.var_names.get_indexer(plan.models[-1].axis)]
    index = Atlas(run_config(root).atlas).index_of(run_config(root)).halves[1]
    groups, genes = plan.categories[1].groups, np.arange(0, len(plan.models[-1].axis), 3)
    assert groups is not None
    blocks = [values[index[g.half][g.start : g.stop]] for g in groups]
    read = correlations_within_donors(root, plan, "coexpression.pearson", 1, genes)
    assert read is not None
    rows = list(read())
    assert [first for first, _ in rows] == list(np.cumsum([0, *(b.shape[1] for _, b in rows)])[:-1])
    correlations = np.concatenate([block for _, block in rows], axis=1)
    for part in range(3):
        own = [x - x.mean(0) for x, g in zip(blocks, groups, strict=True) if part in (2, g.half)]
        together = np.concatenate(own)[:, genes]
        with np.errstate(invalid="ignore", divide="ignore"):
            want = np.nan_to_num(np.corrcoef(together.T))
        varies = together.std(0) > 1e-12
        np.testing.assert_allclose(
            correlations[part], np.where(varies[:, None] & varies, want, 0), atol=2e-6
        )
    of_all = plain["coexpression.pearson"][2, 0][np.ix_(genes, genes)]
    assert np.abs(correlations[2] - of_all).max() > 0.02  # donors differ
    assert correlations_within_donors(root, plan, "tiny", 1, genes) is None


def test_units_do_not_matter(small_atlas: Path, tmp_path: Path) -> None:
    runs = []
    for unit_cells in (1, 8):
        tree = small_tree(small_atlas) | {"coexpression": ["spearman", "pearson"]}
        tree["execution"]["unit_cells"] = unit_cells
        runs.append(matrices(tree, tmp_path / f"run{unit_cells}")[2])
    for name, matrix in runs[0].items():
        np.testing.assert_allclose(matrix, runs[1][name], atol=1e-6)
    # ranks are exact: their correlations are the same bits
    np.testing.assert_array_equal(
        runs[0]["coexpression.spearman"], runs[1]["coexpression.spearman"]
    )


def test_row_blocks_of_ranks_do_not_matter(
    small_atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of one tile give the bits of one block. Red: rows of the first block each time."""
    runs = []
    for name, most in (("one", BLOCK_BYTES), ("many", 1)):
        monkeypatch.setattr(ranked_cells, "BLOCK_BYTES", most)
        tree = small_tree(small_atlas) | {"coexpression": ["spearman", "pearson"]}
        tree["execution"]["advanced"] = {"tile": 16}
        runs.append(matrices(tree, tmp_path / name)[2]["coexpression.spearman"])
        assert (rows_at_once(runs[0].shape[-1], 16) == 16) is (name == "many")
    np.testing.assert_array_equal(*runs)


@pytest.mark.slow
def test_a_run_treats_it_as_a_matrix_like_any_other(small_atlas: Path, tmp_path: Path) -> None:
    tree = small_tree(small_atlas) | {"coexpression": "pearson", "keep_dense": "fp32"}
    tree["models"][0]["layers"] = [1]
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(tree))
    run = tmp_path / "run"
    done = here("run", str(config), "--out", str(run))
    assert done.returncode == 0, done.stdout + done.stderr
    name = "coexpression.pearson"
    for table in ("stats", "genes", "histogram", "overlap", "auroc", "layers"):
        frame = pd.read_parquet(run / f"tables/{table}.parquet")
        own = frame[frame["model"] == name]
        assert set(own["view"]) == {"correlation"}, table
        assert set(own["category"]) == {"T cell", "macrophage"}, table
    assert name not in set(pd.read_parquet(run / "tables/mass.parquet")["model"])
    assert not (run / f"edges/{name}.parquet").exists()
    plan = Plan.model_validate(json.loads((run / "plan.json").read_text()))
    values = log_values(small_atlas, plan, "macrophage")
    expressed = (values > 0).sum()
    top = pd.read_parquet(run / f"topk/{name}.parquet")
    top = top[(top["category"] == "macrophage") & (top["part"] == "total")]
    genes = values.columns[expressed >= 6]
    square = pd.DataFrame(np.corrcoef(values[genes].T), genes, genes)
    np.fill_diagonal(square.values, -2)
    best = np.sort(square.to_numpy().ravel())[::-1][:50]
    np.testing.assert_allclose(top["value"].to_numpy()[:50], best, atol=2e-6)
    report = (run / "report/index.html").read_text()
    assert "Pearson correlation of log-normalised counts" in report
    assert report.count("Where attention goes") == 1  # the model's; co-expression has none
    shown = here("report", str(run), "--view", "correlation", "--out", str(tmp_path / "r.html"))
    assert shown.returncode == 0, shown.stderr


@pytest.mark.slow
def test_two_actors_with_coexpression_give_the_bytes_of_one(
    small_atlas: Path, tmp_path: Path
) -> None:
    tree = small_tree(small_atlas) | {"coexpression": ["spearman", "pearson"], "moments": 2}
    tree["models"][0]["layers"] = [1]
    tree["atlas"]["categories"] = ["T cell"]  # four units of co-expression
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(tree))
    one, two = (("run", str(config), "--out", str(tmp_path / name)) for name in ("one", "two"))
    for done in (here(*one), octoscope(*two, "--set", "execution.actors=2")):
        assert done.returncode == 0, done.stdout + done.stderr
    assert tables_of(tmp_path / "one") == tables_of(tmp_path / "two")


def test_a_model_of_that_name_is_refused(small_atlas: Path, tmp_path: Path) -> None:
    tree = small_tree(small_atlas) | {"coexpression": ["pearson"]}
    tree["models"][0]["name"] = "coexpression.pearson"
    with pytest.raises(InputError, match="rename one"):
        prepare(parse_config(tree, "c"), str(tmp_path / "run"))


def test_single_cells_and_cells_without_counts_give_no_correlation(tmp_path: Path) -> None:
    cells = ad.read_zarr(data("immune559.zarr"))[:9].copy()
    counts = cells.X.tolil()
    counts[:2] = 0
    cells.X = counts.tocsr()
    cells.obs["cell_type"] = ["B", "Z"] + 7 * ["M"]
    cells.write_zarr(tmp_path / "a.zarr")
    tree = small_tree(tmp_path / "a.zarr") | {"coexpression": ["pearson", "spearman"]}
    root, plan, by_layer = matrices(tree, tmp_path / "run")
    assert [c.cells for c in plan.categories] == [(1, 0), (4, 3), (1, 0)]
    assert all(np.isfinite(m).all() and np.abs(m).max() <= 1 for m in by_layer.values())
    assert all(np.abs(m[2]).max() > 0.99 for m in by_layer.values())
    unit = read_record(root, plan.units_of(plan.models[1].name, 0, 0)[0].work, plan.hash)
    assert unit is not None
    assert unit.metrics["cells_used"] == 0
    assert [c["why"] for c in unit.metrics["cells_refused"]] == ["no counts"]
    after = MatrixRunner(root, plan)
    for m in plan.models[1:]:
        record = after.matrix(m.name, 0, 0)
        dense = tiles.open_array(root.zarr(f"{record.folder}/dense.zarr"), "sums")[:]
        assert not dense.any()
        assert not list(Path(root.at(record.folder)).glob("*.partial"))

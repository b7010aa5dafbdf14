"""Whole runs: the same bytes on Ray twice, the same tables for other batches, jobs, CLI.

`finished_run` and the jobs are on Ray; runs of other settings are in this process (tests/here.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy
import yaml
from octoscope import __version__

from tests.conftest import five_families, octoscope, small_tree, tables_of
from tests.here import here
from tests.test_user_folder import hostile_folder


def table(run: Path, name: str) -> pd.DataFrame:
    return pq.ParquetFile(run / name).read().to_pandas()


def run_with(config: Path, run: Path, *settings: str) -> Path:
    """Run a configuration with settings changed, and verify it; returns the run."""
    sets = [x for setting in settings for x in ("--set", setting)]
    done = here("run", str(config), "--out", str(run), *sets)
    assert done.returncode == 0, done.stdout + done.stderr
    assert here("verify", str(run)).returncode == 0
    return run


def test_a_run_is_complete_and_verified(finished_run: Path) -> None:
    checked = octoscope("verify", str(finished_run))
    assert checked.returncode == 0, checked.stderr
    answer = json.loads((finished_run / "run.json").read_text())
    assert [c["category"] for c in answer["cells"]] == ["T cell", "macrophage"]
    for c in answer["cells"]:
        assert c["selected"] == c["used"] + len(c["refused"]) == 24
    assert set(answer["checkpoints"]["tiny"]) >= {"best_model.pt", "vocab.json", "args.json"}
    names = set(tables_of(finished_run))
    assert names >= {
        f"tables/{t}.parquet" for t in ("stats", "mass", "layers", "overlap", "auroc", "genes")
    }
    assert {"topk/tiny.parquet", "union/tiny.c0000.parquet"} <= names
    assert not list((finished_run / "units").rglob("*.zarr"))  # scratch is gone after _SUCCESS


def test_tables_agree_with_each_other(finished_run: Path) -> None:
    top = table(finished_run, "topk/tiny.parquet")
    union = pd.concat([table(finished_run, f"union/tiny.c000{c}.parquet") for c in (0, 1)])
    total = top[top["part"] == "total"]
    keys = ["category", "gene_set", "view", "query", "key"]
    for layer in (0, 2):
        joined = total[total["layer"] == layer].merge(union, on=keys)
        assert len(joined) == (total["layer"] == layer).sum()
        assert (joined["value"] == joined[f"value_{layer}"]).all()
        assert (joined["rank"] == joined[f"rank_{layer}"]).all()
    stats = table(finished_run, "tables/stats.parquet")
    assert (stats["n_eligible"] > 0).all()
    mass = table(finished_run, "tables/mass.parquet")
    assert np.allclose(mass[["to_kept", "to_outside", "to_cls"]].sum(axis=1), 1, atol=1e-5)
    assert mass["to_outside"].mean() > 0.05  # the panel is smaller than what the model sees


def test_what_the_report_shows_of_cells_pairs_and_mass_has_tables(finished_run: Path) -> None:
    run = json.loads((finished_run / "run.json").read_text())
    cells = pd.read_parquet(finished_run / "tables/cells.parquet")
    refused = pd.read_parquet(finished_run / "tables/refused.parquet")
    shown = [(c["model"], c["category"], c["selected"], c["used"]) for c in run["cells"]]
    columns = ["model", "category", "selected", "used"]
    assert list(cells[columns].itertuples(index=False, name=None)) == shown
    assert (cells["selected"] == cells["used"] + cells["refused"]).all()
    assert list(refused.columns) == ["model", "category", "cell", "why"]
    assert len(refused) == cells["refused"].sum()
    top = pd.read_parquet(next((finished_run / "topk").glob("*.parquet")))
    pair = ["category", "gene_set", "view", "part", "query", "key"]
    assert (top["n_layers"] == top.groupby(pair)["layer"].transform("nunique")).all()
    assert top["n_layers"].max() > 1
    mass = pd.read_parquet(finished_run / "tables/mass_by_layer.parquet")
    whole = mass.groupby(["model", "category", "layer"])["share"].sum()
    assert whole.to_numpy() == pytest.approx(1, abs=1e-5)
    assert (mass["low"] <= mass["share"]).all()


def test_reliability_is_adjusted_over_all_matrices(finished_run: Path) -> None:
    stats = table(finished_run, "tables/stats.parquet")
    assert stats.columns.get_loc("half_q") == stats.columns.get_loc("half_p") + 1
    for _, family in stats.groupby(["gene_set", "view"]):
        want = scipy.stats.false_discovery_control(family["half_p"], method="bh")
        np.testing.assert_allclose(family["half_q"], want)


def test_edges_are_the_strongest_keys(finished_run: Path) -> None:
    edges = pd.read_parquet(finished_run / "edges/tiny.parquet")
    assert set(edges["category"]) == {"T cell", "macrophage"}
    assert set(edges["layer"]) == {0, 2}
    groups = edges.groupby(["category", "layer", "query"])
    assert groups.size().max() == 5
    for _, rows in groups:
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        assert (rows["value"].diff().dropna() <= 0).all()
    assert (edges["query"] != edges["key"]).all()
    assert (edges["cells"] >= 6).all()
    # symmetrised: a pair that both of its genes list has one value
    keys = ["category", "layer", "query", "key"]
    back = edges.rename(columns={"query": "key", "key": "query"})
    both = edges.merge(back, on=keys, suffixes=("", "_back"))
    assert len(both) > 10
    assert (both["value"] == both["value_back"]).all()
    assert edges["in_network"].notna().any()


@pytest.mark.slow
def test_batch_size_changes_no_table_beyond_tolerance(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "one"
    done = here(
        "run", str(small_config), "--out", str(run),
        "--set", "execution.advanced.batch_cells=1",
        "--set", "execution.advanced.micro_batch=64",
        "--set", "execution.unit_cells=64", "--set", "execution.advanced.tile=17",
        "--set", "execution.actors=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    keys = ["category", "gene_set", "view", "query", "key"]
    for c in (0, 1):
        name = f"union/tiny.c000{c}.parquet"
        a, b = table(finished_run, name), table(run, name)
        both = a.merge(b, on=keys, suffixes=("", "_b"))
        assert len(both) >= 0.98 * max(len(a), len(b))  # pairs within rounding of the K-th value
        for view, part in both.groupby("view"):
            for layer in (0, 2):
                x, y = part[f"value_{layer}"], part[f"value_{layer}_b"]
                assert (x.isna() == y.isna()).all()
                assert (x - y).abs().max() <= 1e-5 * x.abs().mean(), view
    a, b = (table(r, "tables/stats.parquet") for r in (finished_run, run))
    for column in ("n_eligible", "n_cells", "half_pairs"):
        assert (a[column] == b[column]).all()
    assert np.allclose(a["half_centred"], b["half_centred"], atol=1e-4)


@pytest.mark.slow
def test_same_command_again_and_changed_configuration(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    same = here("run", str(small_config), "--out", str(run), "--set", "keep_dense=fp32")
    assert same.returncode == 0
    assert "finished already" in same.stdout
    assert "repeat between the two halves of the cells more than" in same.stdout  # what was found
    assert same.stdout.rstrip().endswith(f"report: {run}/report/index.html")
    other = here("run", str(small_config), "--out", str(run), "--set", "top_k=7")
    assert other.returncode == 2
    assert "top_k" in other.stderr


@pytest.mark.slow
def test_status_and_report_and_info(finished_run: Path, small_atlas: Path) -> None:
    status = json.loads(here("status", str(finished_run), "--json").stdout)
    assert status["state"] == "finished"
    where = here("report", str(finished_run))
    assert Path(where.stdout.strip()).is_file()
    page = finished_run.parent / "logit.html"
    completed = here("report", str(finished_run), "--view", "logit", "--out", str(page))
    assert completed.returncode == 0, completed.stderr
    assert "mean scaled query-key score" in page.read_text()
    again = here("report", str(finished_run), "--view", "logit", "--out", str(page))
    assert again.returncode == 2
    assert "exists already" in again.stderr
    other = str(page.with_name("other.html"))
    refused = here("report", str(finished_run), "--gene-set", "other", "--out", other)
    assert refused.returncode == 2
    assert "'other' was not declared; this run has panel" in refused.stderr
    assert "actor-seconds" in refused.stderr
    assert octoscope("nonsense").returncode == 2
    assert octoscope("--version").stdout.strip() == __version__
    info = here("atlas", "info", str(small_atlas), "--category", "cell_type", "--json")
    assert json.loads(info.stdout)["cells of macrophage"] == 24
    seen = here("models", "list", "--json")
    assert "scgpt" in {r["family"] for r in json.loads(seen.stdout)}


@pytest.mark.slow
def test_jobs_run_as_scripts_in_two_steps_from_a_folder_with_packages_of_the_users_own(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run, folder = tmp_path / "jobs", hostile_folder(tmp_path / "mine")

    def job(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(Path(__file__).parents[2] / script), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, cwd=folder, check=False
        )

    planned = here("plan", str(small_config), "--out", str(run), "--set", "keep_dense=fp32")
    assert planned.returncode == 0
    assert "Plan" in planned.stdout
    early = job("jobs/overlap.py", str(run))
    assert early.returncode == 1
    assert "attention stage is not done" in early.stderr
    first = job(
        "jobs/attention.py", str(small_config), "--out", str(run), "--set", "keep_dense=fp32"
    )
    assert first.returncode == 0, first.stderr
    assert not (run / "_SUCCESS").exists()
    second = job("jobs/overlap.py", str(run))
    assert second.returncode == 0, second.stderr
    assert tables_of(run) == tables_of(finished_run)


@pytest.mark.slow
def test_cells_without_genes_and_tiny_categories_are_listed(
    small_atlas: Path, tmp_path: Path
) -> None:
    import anndata as ad

    cells = ad.read_zarr(small_atlas)
    kinds = cells.obs["cell_type"].astype(str).to_numpy()
    kinds[0], kinds[1] = "one cell only", None
    cells.obs["cell_type"] = kinds
    cells.obs.loc[cells.obs_names[1], "cell_type"] = np.nan
    counts = cells.X.tolil()
    checkpoint = Path(small_tree(small_atlas)["models"][0]["path"])
    vocabulary = json.loads((checkpoint / "vocab.json").read_text())
    known = cells.var["feature_name"].isin(vocabulary).to_numpy()
    counts[2, np.flatnonzero(known)] = 0
    cells.X = counts.tocsr()
    path = tmp_path / "odd.h5ad"
    cells.write_h5ad(path)
    config = tmp_path / "odd.yaml"
    config.write_text(yaml.safe_dump(small_tree(path)))
    run = tmp_path / "run"
    done = here("run", str(config), "--out", str(run))
    assert done.returncode == 0, done.stderr
    answer = json.loads((run / "run.json").read_text())
    by_name = {c["category"]: c for c in answer["cells"]}
    assert answer["cells_not_selected"] == {"no category": 1}
    assert by_name["one cell only"]["used"] == 1
    assert len(by_name["T cell"]["refused"]) == 1
    assert by_name["T cell"]["refused"][0]["cell"] == cells.obs_names[2]
    stats = table(run, "tables/stats.parquet")
    one = stats[stats["category"] == "one cell only"]
    assert (one["n_eligible"] == 0).all()
    assert one["half_centred"].isna().all()


@pytest.mark.slow
def test_five_families_run_side_by_side(small_atlas: Path, tmp_path: Path) -> None:
    tree = five_families(small_atlas)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree))
    done = here("run", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "run"
    stages = json.loads((run / "progress.json").read_text())["stages"]
    parts = [name for name in stages if name.startswith("attention")]
    assert len(parts) == -(-5 // (os.cpu_count() or 1))  # as many at once as there are CPUs
    mass = pd.read_parquet(run / "tables/mass.parquet")
    used = {
        "tiny": ["to_cls"],
        "scprint": ["to_depth", "to_cell", "to_class"],
        "aidocell": ["to_depth"],
        "scfoundation": ["to_count"],
        "geneformer": ["to_cls", "to_eos"],
    }
    for model, columns in used.items():
        rows = mass[mass["model"] == model]
        assert rows[["to_kept", "to_outside", *columns]].sum(axis=1).to_numpy() == pytest.approx(1)
        assert (rows[columns].mean() > 0).all()
        assert (run / f"edges/{model}.parquet").exists()
    report = (run / "report/index.html").read_text()
    assert 'id="side-by-side"' in report
    assert 'id="shared-data"' in report
    assert "reads a reduced panel of" in report
    assert here("verify", str(run)).returncode == 0


@pytest.mark.slow
def test_more_readings_join_every_table_and_change_nothing_else(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = run_with(
        small_config, tmp_path / "run", "heads=[mean, max]", "estimators=[per_cell, mean_residual]"
    )
    names = ["tiny", "tiny.max", "tiny.residual", "tiny.residual.max"]
    for name in ("stats", "mass", "layers", "overlap", "auroc", "genes"):
        every = table(run, f"tables/{name}.parquet")
        assert list(dict.fromkeys(every["model"])) == names, name
    assert (run / "topk/tiny.max.parquet").exists()
    # the reading that was there before has the same pairs, values and ranks
    before, after = (table(where, "topk/tiny.parquet") for where in (finished_run, run))
    pd.testing.assert_frame_equal(before, after)
    stats = table(run, "tables/stats.parquet").set_index("model")
    mean, largest = (
        table(run, f"topk/{m}.parquet").query("part == 'total' and view == 'marginal'")
        for m in ("tiny", "tiny.max")
    )
    assert largest["value"].min() > mean["value"].min()  # a maximum is at least the mean
    assert (stats.loc["tiny.residual", "n_eligible"] > 0).all()
    mass = table(run, "tables/mass.parquet")
    of_mean_cell = mass[mass["model"] == "tiny.residual"]
    assert np.allclose(of_mean_cell["to_kept"], 1, atol=1e-5)
    page = (run / "report/index.html").read_text()
    assert "Attention of the mean cell over the accumulated genes (full projection)" in page
    assert "The largest value over heads within each cell." in page
    answer = json.loads((run / "run.json").read_text())
    assert list(answer["checkpoints"]) == ["tiny"]
    assert not list((run / "residuals").rglob("*.zarr"))


@pytest.mark.slow
def test_a_run_of_logits_alone_has_the_logits_of_a_run_of_every_view(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = run_with(small_config, tmp_path / "run", "views=[logit]", "heads=[mean, each]")
    keys = ["category", "layer", "gene_set", "view", "part", "query", "key"]
    before, after = (
        table(where, "topk/tiny.parquet").query("view == 'logit'") for where in (finished_run, run)
    )
    both = before.merge(after, on=keys, suffixes=("", "_alone"))
    assert len(both) >= 0.98 * max(len(before), len(after))  # pairs within rounding of the K-th
    assert (both["value"] - both["value_alone"]).abs().max() <= 1e-5 * both["value"].abs().mean()
    stats = table(run, "tables/stats.parquet")
    heads = [f"tiny.head{h:02d}" for h in range(4)]
    assert set(heads) < set(stats["model"])
    assert (stats["n_eligible"] > 0).all()
    # nothing was normalised, so there is no mass, and the report says nothing about it
    assert table(run, "tables/mass.parquet").empty
    assert 'figure class="mass"' not in (run / "report/index.html").read_text()

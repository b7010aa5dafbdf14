"""The verdict of a whole run: tables, command, Python and report say the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import octoscope as oc
import pandas as pd
import pytest
import yaml
from octoscope.demo.demo import PANEL, data
from octoscope.models import load_model
from octoscope.models.protocol import GeneEmbeddings
from octoscope.results.run_matrices import RunMatrices

from tests.conftest import small_tree
from tests.here import here
from tests.pipeline.planted_embeddings import WRONG, plant_network
from tests.results.columns import faults

TABLES = ("overlap_controlled", "overlap_ladder", "overlap_refinement", "overlap_comparators",
          "overlap_orientation", "overlap_parts", "overlap_gnn", "overlap_chosen", "verdicts",
          "verdict_summary")  # fmt: skip

CONTROLS = {"pearson", "pearson, within donors", "pearson, pooled", "spearman"}


@pytest.fixture(scope="module")
def judged(donors_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with two kinds of co-expression, pooled over two categories, and donors."""
    tree = small_tree(donors_atlas)
    tree["atlas"]["replicate_key"], tree["donor_groups"] = "donor", 4
    tree["coexpression"] = ["pearson", "spearman"]
    tree["estimators"] = ["per_cell", "mean_residual"]
    tree["network"] |= {"k": [20, 60], "parts": True}
    tree["network"]["gnn"] = {"demo": {"path": str(data("gnn-demo"))}}
    folder = tmp_path_factory.mktemp("judged")
    (folder / "run.yaml").write_text(yaml.safe_dump(tree))
    done = here("run", str(folder / "run.yaml"), "--out", str(folder / "run"))
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_every_matrix_has_a_row_for_every_control_and_length(judged: Path) -> None:
    table = pd.read_parquet(judged / "tables/overlap_controlled.parquet")
    assert set(table["control"]) == CONTROLS
    assert set(table["k"]) == {20, 60}
    keys = ["model", "category", "layer", "gene_set", "view", "control", "k"]
    assert not table.duplicated(keys).any()
    # variants x categories x layers x views x controls x lengths
    assert len(table) == 2 * 2 * 2 * 2 * 4 * 2
    assert (table["n_pairs"] <= table["k"]).all()
    assert (table.groupby(keys[:5] + ["k"])["headline"].sum() == 1).all()
    known = table.dropna(subset=["or1", "or1_low"])
    assert len(known)
    assert (known["or1_low"] <= known["or1"]).all()
    assert (table["bound"].dropna() >= 1).all()


def test_intervals_hold_those_over_donors(judged: Path) -> None:
    """Red: intervals of vertices alone; without donor groups in the plan they are null."""
    table = pd.read_parquet(judged / "tables/overlap_controlled.parquet")
    assert set(table["donor_groups"]) == {4}
    for name in ("or0", "or1"):
        known = table.dropna(subset=[f"{name}_donors_low", f"{name}_low"])
        assert len(known) > 10
        assert (known[f"{name}_low"] <= known[f"{name}_donors_low"]).all()
        assert (known[f"{name}_high"] >= known[f"{name}_donors_high"]).all()


def test_strata_of_a_score_stand_beside_the_control_without_them(judged: Path) -> None:
    """Red: another list, background or control than those of the verdict."""
    of_scores = pd.read_parquet(judged / "tables/overlap_gnn.parquet")
    controlled = pd.read_parquet(judged / "tables/overlap_controlled.parquet")
    keys = ["model", "category", "layer", "gene_set", "view", "control", "k"]
    assert not of_scores.duplicated([*keys, "checkpoint", "quantity"]).any()
    assert set(of_scores["control"]) == CONTROLS
    assert set(of_scores["quantity"]) == {"probability", "cosine"}
    both = of_scores.merge(controlled, on=keys, suffixes=("", "_of_verdict"))
    assert len(both) == len(of_scores) > 0
    np.testing.assert_allclose(both["or1"], both["or1_of_verdict"])
    assert (both["n_pairs"] == both["n_pairs_of_verdict"]).all()
    assert both["positivity"].between(0, 1).all()


def test_no_comparator_stands_twice(judged: Path) -> None:
    """Red: comparators once for each kind of expression level, with other numbers."""
    table = pd.read_parquet(judged / "tables/overlap_comparators.parquet")
    keys = ["model", "category", "layer", "gene_set", "view", "control", "k", "comparator"]
    assert not table.duplicated(keys).any()
    assert set(table["comparator"]) == {
        "random pairs", "expression", "layers combined", "co-expression", "gene effects",
        "hidden states", "token embeddings",
        "GNN probability, left out (demo)", "GNN cosine, left out (demo)",
    }  # fmt: skip


@pytest.mark.slow
def test_embeddings_that_copy_the_network_are_enriched(small_atlas: Path, tmp_path: Path) -> None:
    """Red: vectors of other genes (tried: of the gene before), or of another table."""
    tree = small_tree(small_atlas)
    planted = plant_network(Path(data("checkpoints/scgpt-demo")), tmp_path / "planted", PANEL)
    tree["models"][0] |= {"path": str(planted), "layers": [0]}
    tree["atlas"]["categories"] = ["macrophage"]
    tree |= {"views": ["marginal"], "coexpression": ["pearson"], "edges": None}
    tree["network"] |= {"k": [60]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    done = here("run", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "run/tables/overlap_comparators.parquet")
    of = table.set_index("comparator").loc[["token embeddings", "random pairs"]]
    assert of["layer"].isna().all()
    copied, random = of.iloc[0], of.iloc[1]
    assert copied["n_edges"] / copied["n_pairs"] > 0.8 * (1 - WRONG)
    assert copied["or0"] > 8
    assert copied["or0_low"] > 3
    assert random["or0"] < 3


def test_embeddings_of_genes_are_kept_beside_the_pair_counts(finished_run: Path) -> None:
    """Red: only with mean cells; of the first category alone; rows in the model's order."""
    run = RunMatrices(str(finished_run))
    m = run.plan.checkpoints[0]
    model = load_model(m.path)
    at = {gene: i for i, gene in enumerate(model.genes.ensembl)}
    assert isinstance(model, GeneEmbeddings)
    rows = model.gene_embeddings(np.array([at[gene] for gene in m.axis]))
    assert rows is not None
    for category in range(len(run.plan.categories)):
        stored = run.gene_embeddings(m.name, category)
        np.testing.assert_allclose(stored, rows.numpy(), rtol=1e-6)


def test_parts_have_fewer_edges_and_the_same_lists(judged: Path) -> None:
    """Red: edges of the whole network; lists made again; parts that hold every edge."""
    whole = pd.read_parquet(judged / "tables/overlap_controlled.parquet")
    whole = whole[whole["longest"] & (whole["view"] == "marginal")]
    parts = pd.read_parquet(judged / "tables/overlap_parts.parquet")
    assert set(parts["view"]) == {"marginal"}
    assert {"sign", "relation"} <= set(parts["part_kind"])
    keys = ["model", "category", "layer", "gene_set", "control", "k"]
    both = parts.merge(whole, on=keys, suffixes=("", "_whole"))
    assert len(both) == len(parts) > 20
    assert (both["n_pairs"] == both["n_pairs_whole"]).all()
    assert (both["n_edges"] <= both["n_edges_whole"]).all()
    assert (both["n_edges"] < both["n_edges_whole"]).any()
    assert not parts.duplicated([*keys, "part_kind", "part"]).any()
    assert (parts["part_edges"] >= 20).all()


def test_a_layer_is_chosen_on_one_half_and_tested_on_the_other(judged: Path) -> None:
    """Red: tested where it was chosen; one variant's layers alone to choose from."""
    chosen = pd.read_parquet(judged / "tables/overlap_chosen.parquet")
    assert set(chosen["base"]) == {"tiny"}
    assert set(chosen["n_candidates"]) == {4}  # two variants of two layers
    for _, rows in chosen.groupby(["category", "gene_set"]):
        assert rows["chosen_on"].is_unique
    assert (chosen["k"] == 5).all()  # a quarter of 20
    assert (chosen["n_pairs"] <= 5).all()
    assert (chosen["or1"] != chosen["or1_chosen"]).all()


def test_verdicts_are_of_the_first_view_in_order_of_layers(judged: Path) -> None:
    """Red: the view that is compared first; layers in order of controls."""
    table = pd.read_parquet(judged / "tables/verdicts.parquet")
    assert set(table["view"]) == {"marginal"}
    for _, rows in table.groupby(["model", "category"]):
        assert rows["layer"].tolist() == [0, 2]
    assert set(pd.read_parquet(judged / "tables/overlap_orientation.parquet")["view"]) == {
        "marginal"
    }


def test_tables_are_what_the_schema_says(judged: Path) -> None:
    named = [f for f in faults(judged) if any(name in str(f) for name in TABLES)]
    assert named == []
    for name in TABLES:
        assert len(pd.read_parquet(judged / f"tables/{name}.parquet"))


def test_command_python_and_report_give_the_same_verdicts(judged: Path) -> None:
    stored = pd.read_parquet(judged / "tables/verdicts.parquet")
    assert len(stored) == 2 * 2 * 2
    verdicts = oc.open_run(judged).verdict()
    assert verdicts["sentence"].tolist() == stored["sentence"].tolist()
    rows = json.loads(here("verdict", str(judged), "--json").stdout)
    assert [r["verdict"] for r in rows] == stored["verdict"].tolist()
    text = here("verdict", str(judged), "--all").stdout
    assert "relative to the named controls" in text
    page = (judged / "report/index.html").read_text()
    summary = pd.read_parquet(judged / "tables/verdict_summary.parquet")
    assert page.index('id="verdict"') < page.index('class="facts"') < page.index('id="models"')
    assert page.count('<table id="verdicts" ') == 1
    assert (
        int(summary[["n_beyond", "n_no_more", "n_not_enriched", "n_cannot_tell"]].sum().sum()) == 8
    )
    cells = page[page.index('id="verdict"') : page.index('id="refused"')]
    of = summary[["n_beyond", "n_no_more", "n_not_enriched", "n_cannot_tell"]].sum()
    assert f"<b>{of['n_beyond']} of 8</b> matrices beyond co-expression" in cells
    assert all(m["model"] in cells for m in rows)
    assert "(co-expression, for comparison)" in cells
    refused = page[page.index('id="refused"') : page.index('id="limits"')]
    assert (f"{of['n_cannot_tell']} verdict" in refused) == bool(of["n_cannot_tell"])
    one = oc.open_run(judged).verdict(model="tiny", category="T cell")
    assert len(one) == 2


def test_a_run_without_co_expression_says_why_it_cannot_tell(finished_run: Path) -> None:
    """Red: an empty answer, which reads as nothing found."""
    verdicts = oc.open_run(finished_run).verdict()
    assert set(verdicts["verdict"]) == {"cannot tell"}
    assert "did not measure co-expression" in verdicts["reason"].iloc[0]
    done = here("verdict", str(finished_run))
    assert done.returncode == 0
    assert "coexpression: [pearson, spearman]" in " ".join(done.stdout.split())
    assert "Cannot tell" in (finished_run / "report/index.html").read_text()

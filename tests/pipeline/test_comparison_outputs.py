"""What is made of the comparisons of a run: report, commands, exports, merged categories."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import igraph
import networkx as nx
import pandas as pd
import pytest
from octoscope.cli.comparison_tables import SHOWN
from octoscope.results.category_findings import category_findings
from octoscope.results.run_matrices import plan_of
from octoscope.results.run_results import Results
from octoscope.store.run_dir import RunRoot

from tests.here import here
from tests.results.columns import faults, unmade

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def table(run: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(run / f"{name}.parquet")


def test_every_column_is_in_the_schema_and_the_schema_in_the_tables(compared: Path) -> None:
    assert faults(compared) == []
    assert unmade(compared) == []


def test_categories_are_merged_after_the_run(compared: Path, tmp_path: Path) -> None:
    both = ("--category", "T cell", "--category", "macrophage")
    done = here("pool", str(compared), *both, "--out", str(tmp_path / "p"), "--name", "both")
    assert done.returncode == 0, done.stderr
    plan = plan_of(RunRoot(compared).url)
    assert plan.compare is not None
    declared = table(compared, "tables/pools")
    pools = table(tmp_path / "p", "tables/pools")
    assert plan.pools["both"].min_cells == 6
    pd.testing.assert_frame_equal(pools, declared)
    pd.testing.assert_frame_equal(
        table(tmp_path / "p", "pools/tiny"), table(compared, "pools/tiny")
    )
    for wrong, message in (
        ((*both, "--out", str(tmp_path / "p")), "exists"),
        (("--category", "T cell", "--out", str(tmp_path / "q")), "at least two categories"),
        (("--category", "none", "--out", str(tmp_path / "q")), "is not in this run"),
    ):
        refused = here("pool", str(compared), *wrong)
        assert refused.returncode == 2
        assert message in " ".join(refused.stderr.split())


def test_the_report_shows_the_models_together(compared: Path) -> None:
    page = (compared / "report/index.html").read_text()
    shown = "together", "model-pairs", "trade-off", "contrasts", "support", "pools", "geometry"
    for name in shown:
        assert f'id="{name}"' in page, name
    assert 'class="data specific"' in page
    for name in ("agreement", "by-k", "coherence", "estimators", "network", "geometry"):
        assert f'<figure class="{name}" ' in page, name
    assert "scfoundation-aidocell" in page


def test_the_command_line_answers_from_the_tables(compared: Path, tmp_path: Path) -> None:
    completed = here("compare", "models", str(compared), "--gene-set", "shared", "--json")
    rows = json.loads(completed.stdout)
    assert {r["query_model"] for r in rows} >= {"tiny", "scprint", "aidocell"}
    assert all(r["query_model"] != r["eval_model"] for r in rows)
    completed = here("compare", "layers", str(compared), "--category", "T cell", "--k", "10")
    assert completed.returncode == 0, completed.stderr
    assert "tiny, layer 0" in completed.stdout
    for wrong, message in (
        (("--gene-set", "none"), "was not compared"),
        (("--k", "7"), "was not compared"),
        (("--category", "none"), "is not in this run"),
    ):
        refused = here("compare", "models", str(compared), *wrong)
        assert refused.returncode == 2
        assert message in refused.stderr.replace("\n", " ")
    itself = here("compare", "runs", str(compared), str(compared), "--json")
    rows = json.loads(itself.stdout)
    assert rows
    assert {r["jaccard"] for r in rows} == {1.0}
    assert all(r["spearman"] == pytest.approx(1) or r["spearman"] is None for r in rows)


WITH_GNN = [name for name in SHOWN if name.startswith("coherence-scores")]


@pytest.mark.parametrize("name", [name for name in SHOWN if name not in WITH_GNN])
def test_every_table_of_comparisons_can_be_printed(compared: Path, name: str) -> None:
    check_printed(compared, name)


@pytest.mark.parametrize("name", WITH_GNN)
def test_tables_of_comparisons_with_a_gnn_can_be_printed(
    compared: Path, scored_run: Path, name: str
) -> None:
    refused = here("compare", "show", str(compared), name)
    assert refused.returncode == 2
    assert "`network.gnn`" in refused.stderr
    check_printed(scored_run, name)


def check_printed(run: Path, name: str) -> None:
    completed = here("compare", "show", str(run), name, "--json")
    assert completed.returncode == 0, completed.stderr
    stored = table(run, f"tables/{SHOWN[name].file}")
    assert len(json.loads(completed.stdout)) == len(stored)
    assert set(SHOWN[name].columns) <= set(stored.columns)
    printed = here("compare", "show", str(run), name, "--rows", "1")
    assert printed.returncode == 0, printed.stderr
    if len(stored) > 1:
        assert f"1 of {len(stored)} rows" in printed.stdout
        heads = {h.strip() for row in printed.stdout.splitlines() for h in row.split("┃")}
        # between low and high lies an interval, but in the table whose ends are quartiles
        assert ("quartiles" in heads) == (name == "by-k")
        assert any(h.endswith("95 %") for h in heads) == any(
            c.endswith("low") for c in SHOWN[name].columns if name != "by-k"
        )


def test_printed_tables_can_be_narrowed(compared: Path) -> None:
    options = ("--model", "tiny", "--category", "T cell", "--gene-set", "shared", "--json")
    rows = json.loads(here("compare", "show", str(compared), "coherence", *options).stdout)
    assert rows
    assert {(r["model"], r["category"], r["gene_set"]) for r in rows} == {
        ("tiny", "T cell", "shared")
    }
    rows = json.loads(here("compare", "show", str(compared), "genes", "--model", "tiny",
                                "--json").stdout)  # fmt: skip
    assert len(rows) == sum(
        "tiny" in s.split("+") for s in table(compared, "tables/gene_sets").models
    )
    geometry = table(compared, "tables/geometry")
    last = geometry["model_b"].iloc[-1]
    rows = json.loads(here("compare", "show", str(compared), "geometry", "--model", last,
                                "--json").stdout)  # fmt: skip
    assert len(rows) == ((geometry["model_a"] == last) | (geometry["model_b"] == last)).sum()
    for wrong, message in (
        (("none",), "there is no table 'none'"),
        (("genes", "--category", "T cell"), "no such column"),
        (("coherence", "--model", "none"), "'none' is not in this table"),
    ):
        refused = here("compare", "show", str(compared), *wrong)
        assert refused.returncode == 2
        assert message in " ".join(refused.stderr.split())


def test_networks_open_elsewhere(compared: Path, tmp_path: Path) -> None:
    options = ("--gene-set", "shared", "--view", "logit", "--category", "T cell", "--top", "40")

    def export(name: str, *more: str) -> Path:
        done = here("export", str(compared), "--out", str(tmp_path / name), *options, *more)
        assert done.returncode == 0, done.stderr
        return tmp_path / name

    net = pd.read_parquet(export("net.parquet"))
    assert len(net) == 40
    graph = nx.read_graphml(export("net.graphml"))
    assert graph.is_directed()
    assert graph.number_of_edges() == 40
    first = net.iloc[0]
    edge = graph.edges[first["query"], first["key"]]
    assert edge["score"] == pytest.approx(first["score"])
    assert graph.nodes[first["query"]]["label"] == first["query_symbol"]
    other = igraph.Graph.Read_GraphML(str(tmp_path / "net.graphml"))
    assert (other.is_directed(), other.ecount()) == (True, 40)
    ends = (other.vs.find(id=first[end]).index for end in ("query", "key"))
    assert other.es[other.get_eid(*ends)]["score"] == pytest.approx(first["score"])
    omnipath = pd.read_csv(export("net.tsv"), sep="\t")
    assert (omnipath["is_directed"] == 1).all()
    assert (omnipath[["is_stimulation", "is_inhibition"]] == 0).all().all()  # nothing invented
    decoupler = pd.read_csv(export("flat.tsv", "--format", "decoupler"), sep="\t")
    assert decoupler.columns.tolist() == ["source", "target"]
    cells = ad.read_h5ad(export("net.h5ad"))
    at = [cells.var_names.get_loc(first[end]) for end in ("query", "key")]
    assert cells.varp["T cell"][at[0], at[1]] == pytest.approx(first["score"])
    assert cells.varp["T cell"].nnz == 40
    for what in ("n_groups", "score_half0", "specificity"):
        values = cells.varp[f"T cell.{what}"][at[0], at[1]]
        assert values == pytest.approx(first[what], nan_ok=True)
    shared = pd.read_parquet(export("shared.parquet", "--min-groups", "2"))
    assert len(shared)
    assert (shared["n_groups"] >= 2).all()
    again = here("export", str(compared), "--out", str(tmp_path / "net.parquet"))
    assert again.returncode == 2
    assert "exists already" in again.stderr.replace("\n", " ")
    unknown = here("export", str(compared), "--out", str(tmp_path / "net.xyz"))
    assert unknown.returncode == 2


def test_the_closest_model_of_a_category_is_the_best_of_all_layers(compared: Path) -> None:
    results = Results.open(compared)
    table = category_findings(results, "shared", "logit")
    assert set(table["category"]) == {"T cell", "macrophage"}
    agreed = results.tables["agreement"]
    agreed = agreed[(agreed["comparison"] == "models") & (agreed["gene_set"] == "shared")]
    agreed = agreed[(agreed["query_view"] == "logit") & (agreed["k"] == 50)]
    agreed = agreed[~agreed["eval_model"].str.startswith("coexpression")]
    checkpoint = {m.name: m.base for m in results.plan.models}
    agreed = agreed[agreed["eval_model"].map(checkpoint) != agreed["query_model"].map(checkpoint)]
    attends = table[table["attends"].astype(bool)]
    for row in attends[attends["closest_eval_model"].notna()].to_dict("records"):
        own = agreed[
            (agreed["query_model"] == row["model"]) & (agreed["category"] == row["category"])
        ]
        assert row["closest_median_quantile"] == own["median_quantile"].min()
    assert attends["closest_eval_model"].notna().sum() >= 6
    assert attends["sentence"].notna().all()
    assert table.loc[~table["attends"].astype(bool), "closest_eval_model"].isna().all()
    assert pd.notna(attends["n_beyond"]).all()

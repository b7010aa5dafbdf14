"""Comparisons of a whole run: three families, two estimators, heads, co-expression, a pool."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from octoscope.analysis.agreement import rank_pairs, union
from octoscope.analysis.derived_views import DerivedViews
from octoscope.analysis.pairings import MatrixRef, reader
from octoscope.attention.topk import TopK
from octoscope.results.open_matrix import stored_matrix
from octoscope.results.run_matrices import RunMatrices, plan_of
from octoscope.run_plan.settings import CACHE_BYTES
from octoscope.store.run_dir import RunRoot

from tests.here import here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def table(run: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(run / f"{name}.parquet")


def test_every_pair_of_layers_of_every_model_is_compared(compared: Path) -> None:
    agreed = table(compared, "tables/agreement")
    assert set(agreed["comparison"]) == {"models", "estimators"}
    two = agreed[(agreed["comparison"] == "models") & (agreed["gene_set"] == "two")]
    of_checkpoints = two[~two["query_model"].str.startswith("coexpression")]
    assert set(of_checkpoints["query_model"]) == {"tiny", "scprint"}
    of = agreed[(agreed["comparison"] == "models") & (agreed["gene_set"] == "shared")]
    logit = of[(of["view"] == "logit") & (of["category"] == "T cell") & (of["k"] == 50)]
    ends = {(m, y) for m, y in logit[["query_model", "query_layer"]].itertuples(index=False)}
    layers = {("tiny", 0), ("tiny", 2), ("scprint", 0), ("scprint", 1), ("aidocell", 1)}
    assert ends == layers | {("coexpression.pearson", 0)}
    assert len(logit) == 6 * 5
    assert set(of["view"]) == {"marginal", "logit", "logit.centred", "logit.absolute"}
    sized = of[(of["view"] == "logit.absolute") & (of["eval_model"] == "coexpression.pearson")]
    assert set(sized["eval_view"]) == {"correlation.absolute"}
    assert (logit["null_low"] <= logit["null_high"]).all()
    known = logit.dropna(subset=["p"])  # of 24 cells some lists are not eligible elsewhere
    assert len(known) > 20
    assert known["p"].between(1 / 501, 1).all()  # at most ten times 50 permutations
    assert (known["q"] >= known["p"]).all()
    assert (logit.loc[logit["p"].isna(), "n_pairs"] == 0).all()
    twins = agreed[agreed["comparison"] == "estimators"]
    assert (twins["query_layer"] == twins["eval_layer"]).all()
    assert set(twins["eval_model"]) >= {"tiny.residual", "tiny"}
    counted = table(compared, "tables/agreement_categories")
    assert set(counted["n_categories"]) == {2}
    one = counted[(counted["query_model"] == "tiny") & (counted["eval_model"] == "scprint")].iloc[0]
    keys = ["comparison", "gene_set", "view", "query_model", "query_layer", "query_view",
            "eval_model", "eval_layer", "eval_view", "k"]  # fmt: skip
    same = agreed.merge(one[keys].to_frame().T.astype(agreed[keys].dtypes.to_dict()), on=keys)
    assert one["median_quantile"] == pytest.approx(same["median_quantile"].median())
    assert one["median_quantile_max"] == same["median_quantile"].max()


def test_the_consensus_goes_through_the_control(compared: Path) -> None:
    """Red: lists of each model's own pairs; the consensus in the order of its table alone."""
    shared = table(compared, "tables/overlap_shared")
    assert set(shared["list"]) == {"layer", "layers combined", "models combined"}
    keys = ["list", "model", "category", "layer", "gene_set", "view", "control", "k"]
    assert not shared.duplicated(keys).any()
    assert shared.groupby(["category", "gene_set", "view"])["n_background"].nunique().eq(1).all()
    assert (shared["n_pairs"] <= shared["k"]).all()
    rows = shared[(shared["gene_set"] == "shared") & (shared["view"] == "logit")]
    assert set(rows["n_models"]) == {3}
    one = rows[(rows["category"] == "T cell") & (rows["k"] == 50) & (rows["control"] == "pearson")]
    assert len(one) == 5 + 3 + 1  # layers, models, the consensus
    plan = plan_of(str(compared))
    at = [c.name for c in plan.categories].index("T cell")
    network = table(compared, f"consensus/c{at:04d}")
    top = network[(network["gene_set"] == "shared") & (network["view"] == "logit")]
    consensus = one[one["list"] == "models combined"].iloc[0]
    known = top.dropna(subset=["in_network"])
    distinct = {frozenset(p) for p in zip(known["query"], known["key"], strict=True)}
    assert consensus["n_pairs"] <= min(50, len(distinct))
    own = table(compared, "tables/overlap_comparators")
    assert "layers combined" in set(own["comparator"])


def test_coherence_stands_beside_the_enrichment_of_the_same_lists(compared: Path) -> None:
    """Red: coherence with a model left out; the overlap of another view; no row for a layer."""
    layers = table(compared, "tables/coherence_enrichment")
    keys = ["category", "gene_set", "view", "model", "layer"]
    assert not layers.duplicated([*keys, "k"]).any()
    coherent = table(compared, "tables/coherence")
    whole = coherent[coherent["left_out"].isna()]
    both = layers.merge(whole, on=[*keys, "k"], suffixes=("", "_there"), validate="one_to_one")
    assert len(both) == len(layers) == len(whole)
    assert both["coherence"].equals(both["coherence_there"])
    overlap = layers.merge(table(compared, "tables/overlap"), on=keys, suffixes=("", "_there"))
    assert len(overlap) == len(layers)
    assert overlap["overlap_fold"].equals(overlap["fold_over_null"])
    # over all the genes that the models share, K is that of the stored lists
    plan = plan_of(str(compared))
    same = overlap[(overlap["gene_set"] == "shared") & (overlap["k"] == plan.top_k)]
    assert set(same["model"]) == {"tiny", "scprint", "aidocell"}
    assert same["n_pairs"].equals(same["n_pairs_there"])
    assert same["n_edges"].equals(same["n_edges_there"])
    shared = table(compared, "tables/overlap_shared")
    odds = shared[(shared["list"] == "layer") & shared["headline"]]
    joined = layers.merge(odds, on=[*keys, "k"], how="left", suffixes=("", "_there"))
    assert joined["or1"].equals(joined["or1_there"])
    assert joined["control"].notna().any()
    assert joined["control"].equals(joined["control_there"])


def test_each_model_group_has_a_rank_correlation_of_its_layers(compared: Path) -> None:
    """Red: a group of one layer has a correlation; tests without n or null."""
    groups = table(compared, "tables/coherence_enrichment_groups")
    of = groups[(groups["gene_set"] == "shared") & (groups["view"] == "logit")]
    assert len(of) == 2 * 2 * 3  # categories, K, groups
    assert of["model"].isna().all()
    assert set(of["n_groups"]) == {2}
    few = groups[groups["n_layers"] < 3]
    assert few["spearman"].isna().all()
    assert few["p"].isna().all()
    completed = here("compare", "show", str(compared), "coherence-enrichment-groups", "--json")
    assert completed.returncode == 0, completed.stderr
    assert len(json.loads(completed.stdout)) == len(groups)


def test_a_row_equals_the_matrices_that_were_kept(compared: Path) -> None:
    root = RunRoot(compared)
    plan = plan_of(root.url)
    category = [c.name for c in plan.categories].index("macrophage")
    m = plan.model("scprint")
    genes = tuple(sorted(m.axis[i] for i in m.gene_sets["shared"]))
    members = [MatrixRef("scprint", 1, "logit.centred"), MatrixRef("aidocell", 1, "logit.centred")]
    readers = [reader(RunMatrices(root.url), category, x, genes) for x in members]
    tops = []
    for read in readers:
        top = TopK(50)
        for block in read():
            top.update(*block)
        best = top.result()
        tops.append((best.query.astype(np.int64), best.key.astype(np.int64)))
    ranked = rank_pairs(readers, *union(tops, len(genes)), n_genes=len(genes))
    q = ranked.quantiles[1][ranked.in_top_k(50)[0]]
    agreed = table(compared, "tables/agreement")
    row = agreed[
        (agreed["category"] == "macrophage") & (agreed["gene_set"] == "shared")
        & (agreed["view"] == "logit.centred") & (agreed["k"] == 50)
        & (agreed["query_model"] == "scprint") & (agreed["query_layer"] == 1)
        & (agreed["eval_model"] == "aidocell") & (agreed["eval_layer"] == 1)
    ]  # fmt: skip
    assert len(row) == 1
    assert row["n_pairs"].item() == (~np.isnan(q)).sum() > 10
    assert row["median_quantile"].item() == pytest.approx(np.nanmedian(q))


def test_coherence_is_what_agreement_says_of_other_voices(compared: Path) -> None:
    plan = plan_of(RunRoot(compared).url)
    assert plan.compare is not None
    model_groups, known = plan.model_groups, [m.name for m in plan.checkpoints]
    agreed = table(compared, "tables/agreement")
    agreed = agreed[(agreed["comparison"] == "models") & agreed["eval_model"].isin(known)]
    agreed = agreed.assign(score=-np.log10(2 * agreed["median_quantile"].clip(upper=0.5)))
    keys = ["category", "gene_set", "view", "k"]
    by_place = dict(list(agreed.groupby([*keys, "query_model", "query_layer"])))
    coherent = table(compared, "tables/coherence")
    assert set(coherent["left_out"].dropna()) == set(known)
    assert coherent["left_out"].isna().any()  # with all models
    for row in coherent.to_dict("records"):
        part = by_place[(*(row[x] for x in keys), row["model"], row["layer"])]
        others = part[part["eval_model"] != row["left_out"]]
        others = others[others["eval_model"].map(model_groups) != model_groups[row["model"]]]
        of_models = others.groupby("eval_model")["score"].mean()
        of_groups = of_models.groupby(model_groups).mean()
        assert row["n_groups"] == len(of_groups)
        assert row["coherence"] == pytest.approx(of_groups.mean(), nan_ok=True)
    for _, family in coherent.groupby(["gene_set", "view", "k"]):
        tested = family.dropna(subset=["p"])
        assert len(tested)
        q = scipy.stats.false_discovery_control(tested["p"])
        assert tested["q"].to_numpy() == pytest.approx(q)


def test_threads_that_share_a_matrix_all_read_the_whole_of_it(compared: Path) -> None:
    root = RunRoot(compared)
    plan = plan_of(root.url)
    genes = np.arange(len(plan.model("tiny").axis))
    for _ in range(5):
        matrix = stored_matrix(root, plan, "tiny", 0, 0, cache_bytes=CACHE_BYTES)
        together = threading.Barrier(8)

        def read(matrix: DerivedViews = matrix, together: threading.Barrier = together) -> int:
            together.wait()
            return sum(len(values) for _, values, _ in matrix.values(genes, "logit"))

        with ThreadPoolExecutor(8) as threads:
            blocks = [f.result() for f in [threads.submit(read) for _ in range(8)]]
        assert blocks == [len(genes)] * 8


def test_consensus_networks_and_their_tables_agree(compared: Path) -> None:
    plan = plan_of(RunRoot(compared).url)
    for c, category in enumerate(plan.categories):
        net = table(compared, f"consensus/c{c:04d}")
        assert set(net["category"]) == {category.name}
        one = net[(net["gene_set"] == "shared") & (net["view"] == "logit")]
        order = list(zip(-one["n_groups"], -one["score"], strict=True))
        assert order == sorted(order)
        assert one["rank"].tolist() == [1 + sum(x < y for x in order) for y in order]
        assert not one.duplicated(["query", "key"]).any()
        assert (one["n_models"] >= one["n_groups"]).all()
        tops = 0
        for model in ("tiny", "scprint", "aidocell"):
            top = table(compared, f"consensus/{model}")
            top = top[(top["gene_set"] == "shared") & (top["view"] == "logit")]
            top = top[(top["part"] == "total") & (top["category"] == category.name)]
            both = one.merge(top, on=["query", "key"])
            assert len(both) == len(top)  # every model's pair is in the network
            whole = table(compared, "tables/consensus_layers")
            whole = whole[(whole["model"] == model) & (whole["category"] == category.name)]
            whole = whole[(whole["gene_set"] == "shared") & (whole["view"] == "logit")]
            n_ranked = whole["n_eligible"].item()
            assert np.allclose(both[f"quantile_{model}"], both["rank_y"] / n_ranked)
            assert (both[f"layer_{model}"] == both["layer"]).all()
            tops += len(top)
        assert one["n_models"].sum() == tops
        assert one["in_network"].notna().any()
        correlated = one["quantile_coexpression.pearson"].dropna()
        assert len(correlated) > 20
        assert correlated.between(0, 1).all()
    support = table(compared, "tables/support")
    net = table(compared, "consensus/c0000")
    for row in support[support["category"] == plan.categories[0].name].itertuples():
        of = net[(net["gene_set"] == row.gene_set) & (net["view"] == row.view)]
        assert (of["n_groups"] >= row.n_groups).sum() == row.n_pairs


def test_contrasts_pools_geometry_and_gene_sets_are_there(compared: Path) -> None:
    contrasts = table(compared, "tables/contrasts")
    assert set(contrasts["category"]) == {"T cell", "macrophage"}
    assert (contrasts["n_specific"] <= contrasts["n_pairs"]).all()
    specific = table(compared, "tables/specific")
    keys = ["model", "category", "gene_set", "view"]
    counted = specific.groupby(keys)["specific"].sum()
    n_specific = contrasts.set_index(keys)["n_specific"]
    assert (counted.reindex(n_specific.index).fillna(0) == n_specific).all()
    assert n_specific.sum() > 0
    chosen = specific[specific["specific"].eq(True)]
    halves = chosen[["contrast_half0", "contrast_half1"]].to_numpy()
    limit = contrasts.set_index(keys)["noise_high"].reindex(pd.MultiIndex.from_frame(chosen[keys]))
    assert (halves > limit.to_numpy()[:, None]).all()
    assert (specific["contrast"].isna() == specific["closest_category"].isna()).all()
    # of two categories one's contrast is the other's, with the sign turned
    nets = [table(compared, f"consensus/c000{c}") for c in (0, 1)]
    keys = ["gene_set", "view", "query", "key"]
    both = nets[0].merge(nets[1], on=keys)
    assert len(both) > 20
    assert np.allclose(both["specificity_x"], -both["specificity_y"], equal_nan=True)
    pools = table(compared, "tables/pools")
    assert set(pools["pool"]) == {"both"}
    assert set(pools["model"]) == {"tiny", "scprint", "aidocell"}  # mean cells do not add up
    stats = table(compared, "tables/stats")
    for model in ("tiny", "aidocell"):
        cells = stats[stats["model"] == model].groupby("category")["n_cells"].first().sum()
        assert (pools.loc[pools["model"] == model, "n_cells"] == cells).all()
    assert len(table(compared, "pools/tiny"))
    geometry = table(compared, "tables/geometry")
    assert len(geometry) == 2 * 10  # five layers in two categories
    assert geometry["spearman"].between(-1, 1).all()
    shared = table(compared, "tables/gene_sets").set_index("models")
    assert len(shared) == 7
    vocabulary = table(compared, "tables/vocabulary")
    vocabulary = vocabulary[vocabulary["what"].isin(["matched", "renamed"])]
    plan = plan_of(RunRoot(compared).url)
    for models, row in shared.iterrows():
        names = str(models).split("+")
        known = [set(vocabulary.loc[vocabulary["model"] == name, "gene"]) for name in names]
        assert row["n_vocabulary"] == len(set.intersection(*known))
        axes = [set(plan.model(name).axis) for name in names]
        assert row["n_genes"] == len(set.intersection(*axes))
    together, two = (
        shared.loc[x, "n_vocabulary"] for x in ("tiny+scprint+aidocell", "tiny+scprint")
    )
    assert together < two  # more models, fewer genes

"""Graph neural networks in a whole run: plan, tables, Python and report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import octoscope as oc
import pandas as pd
import pytest
import torch
import yaml
from octoscope.api.gnn import train_gnn
from octoscope.demo.demo import data
from octoscope.errors import InputError
from octoscope.gnn.gnn_checkpoint import open_checkpoint

from tests.conftest import small_tree
from tests.gnn.conftest import MODELS
from tests.here import here
from tests.results.columns import faults


def tree_of(atlas: Path, checkpoint: Path) -> dict[str, object]:
    tree = small_tree(atlas)
    tree["network"]["gnn"] = {"demo": {"path": str(checkpoint)}}
    return tree


def test_the_plan_holds_what_scores(scored_run: Path) -> None:
    plan = json.loads((scored_run / "plan.json").read_text())
    (gnn,) = plan["network"]["gnn"].values()
    assert gnn["sha256"] == open_checkpoint(data("gnn-demo")).digest
    assert (gnn["encoder"], gnn["head"]) == ("graph_conv", "relation_gated_mlp")


def test_tables_follow_their_schema(scored_run: Path) -> None:
    assert faults(scored_run) == []
    for name in ("gnn_scores", "gnn_self_evidence", "gnn_relations", "coherence_scores"):
        table = pd.read_parquet(scored_run / f"tables/{name}.parquet")
        assert len(table)


def test_every_list_is_scored_in_every_way(scored_run: Path) -> None:
    scores = pd.read_parquet(scored_run / "tables/gnn_scores.parquet")
    keys = ["model", "category", "layer", "gene_set", "view", "k", "checkpoint",
            "message_passing", "quantity", "part_kind", "part"]  # fmt: skip
    assert not scores.duplicated(keys).any()
    named = scores.groupby("part_kind")["part"].unique().map(set)
    assert named["edge"] == {"with an edge", "without an edge"}
    assert {"activation", "inhibition"} <= named["sign"]
    assert "stimulator -> modified" in named["relation"]
    n_parts = sum(map(len, named))
    # K x categories x layers of both models x views x passings x quantities x parts
    assert len(scores) == 2 * 2 * (3 + 2) * 1 * 3 * 2 * n_parts
    assert set(scores["k"]) == {20, 50}
    whole = scores[scores["part"] == "all pairs"]
    assert (whole["n_pairs"] == whole["n_listed"]).all()
    assert (whole["n_permutations"] == 100).all()
    shorter, longer = (whole[whole["k"] == k]["n_listed"].to_numpy() for k in (20, 50))
    assert (shorter < longer).all()
    parts = scores[scores["part_kind"].isin(["all", "edge"])].pivot(
        index=keys[:-2], columns="part", values="n_pairs"
    )
    assert (parts["with an edge"] + parts["without an edge"] == parts["all pairs"]).all()
    inside = whole.dropna(subset=["low"])
    assert ((inside["low"] <= inside["median"]) & (inside["median"] <= inside["high"])).all()


def test_scores_stand_beside_coherence_and_enrichment_of_the_same_lists(scored_run: Path) -> None:
    """Red: the scores of another list or of another way of passing messages; a layer left out."""
    scores = pd.read_parquet(scored_run / "tables/coherence_scores.parquet")
    keys = ["category", "gene_set", "view", "model", "layer", "k"]
    assert not scores.duplicated([*keys, "checkpoint", "quantity"]).any()
    assert len(scores) == 2 * 2 * (3 + 2) * 2  # K x categories x layers x quantities
    layers = pd.read_parquet(scored_run / "tables/coherence_enrichment.parquet")
    both = scores.merge(layers, on=keys, suffixes=("", "_there"), validate="many_to_one")
    for column in ("coherence", "coherence_low", "fold", "fold_high"):
        assert both[column].equals(both[f"{column}_there"])
    assert (both["n_pairs"] == both["n_pairs_there"]).all()  # every vertex has a score
    # both models have the same genes, so the lists are those of the run
    own = pd.read_parquet(scored_run / "tables/gnn_scores.parquet")
    own = own[(own["message_passing"] == "leave-out") & (own["part"] == "all pairs")]
    again = scores.merge(
        own, on=[*keys, "checkpoint", "quantity"], suffixes=("", "_there"), validate="one_to_one"
    )
    assert len(again) == len(scores)
    pd.testing.assert_series_equal(again["median"], again["median_there"], check_names=False)
    assert (again["n_pairs"] == again["n_pairs_there"]).all()


def test_each_group_has_a_rank_correlation_of_coherence_and_score(scored_run: Path) -> None:
    groups = pd.read_parquet(scored_run / "tables/coherence_scores_groups.parquet")
    assert len(groups) == 2 * 2 * 2 * 2  # K x categories x groups x quantities
    layers = pd.read_parquet(scored_run / "tables/coherence_scores.parquet")
    keys = ["category", "k", "group", "checkpoint", "quantity"]
    known = layers.dropna(subset=["coherence", "median"]).groupby(keys).size()
    counted = groups.set_index(keys)["n_layers"]
    assert counted.eq(known.reindex(counted.index, fill_value=0)).all()
    three = groups["n_layers"] == 3
    assert three.any()
    assert groups[three][["spearman", "null_mean", "p", "q"]].notna().all(axis=None)
    assert groups[~three][["spearman", "p", "q"]].isna().all(axis=None)
    shown = here("compare", "show", str(scored_run), "coherence-scores-groups", "--json")
    assert shown.returncode == 0, shown.stderr
    assert len(json.loads(shown.stdout)) == len(groups)


def test_python_and_report_show_them(scored_run: Path) -> None:
    run = oc.open_run(scored_run)
    scores = run.gnn(checkpoint="demo", message_passing="leave-out")
    assert set(scores["message_passing"]) == {"leave-out"}
    with pytest.raises(InputError, match="leave-out"):
        run.gnn(message_passing="leave_out")
    page = Path(run.report).read_text()
    assert "is an edge its own evidence?" in page
    assert "scores of top pairs" in page


def median_of(run: oc.Run, row: pd.Series, checkpoint: Path, folder: Path) -> float:
    """Return the median score of a list by the scoring command, the larger of both directions."""
    top = run.topk(**{c: row[c] for c in ("model", "category", "layer", "view", "gene_set")})
    pairs = top.head(row["k"])[["query", "key"]].drop_duplicates()
    turned = pairs.rename(columns={"query": "key", "key": "query"})
    file, out = folder / "pairs.csv", folder / f"{checkpoint.parent.name}.csv"
    pd.concat([pairs, turned]).to_csv(file, index=False)
    done = here("gnn", "score", str(checkpoint), "--graph", "demo", "--pairs", str(file), "--out",
                str(out), "--message-passing", "train", "--no-cache")  # fmt: skip
    assert done.returncode == 0, done.stderr
    probability = pd.read_csv(out)["probability"].to_numpy()
    return float(np.median(probability.reshape(2, -1).max(axis=0)))


@pytest.mark.slow
def test_models_trained_here_with_direction_and_edge_weights_score_the_pairs_of_a_run(
    small_atlas: Path, tmp_path: Path
) -> None:
    """The run's medians are those of ``octoscope gnn score`` on the same pairs.

    Red: a run that refuses such a checkpoint, or scores with the weights of another one.
    """
    tree, medians = small_tree(small_atlas), {}
    tree["network"]["gnn"] = {}
    for name, more in {"both-ways": "encoder: sage\ndirected: true",
                       "weighted": "encoder: graph_conv\nedge_encoder: 4"}.items():  # fmt: skip
        config = tmp_path / f"{name}.yaml"
        config.write_text(f"{more}\nwidth: 8\nhidden: 8\nepochs: 3\nvalidate_every: 3\n")
        trained = train_gnn(config, "demo", tmp_path / name)
        tree["network"]["gnn"][name] = {"path": str(trained)}
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(tree))
    completed = here("run", str(config), "--out", str(tmp_path / "run"))
    assert completed.returncode == 0, completed.stderr
    run = oc.open_run(tmp_path / "run")
    plan = json.loads((tmp_path / "run/plan.json").read_text())["network"]["gnn"]
    for name in tree["network"]["gnn"]:
        digest = open_checkpoint(tmp_path / name / "checkpoint").digest
        assert digest in {gnn["sha256"] for gnn in plan.values()}
        scores = run.gnn(checkpoint=name)
        assert set(scores["message_passing"]) == {"all", "train", "leave-out"}
        whole = scores[(scores["part"] == "all pairs") & (scores["quantity"] == "probability")]
        assert whole["median"].between(0, 1, inclusive="neither").all()
        assert (whole["n_pairs"] == whole["n_listed"]).all()
        medians[name] = whole["median"].to_numpy()
        row = whole[whole["message_passing"] == "train"].iloc[0]
        assert row["median"] == pytest.approx(
            median_of(run, row, tmp_path / name / "checkpoint", tmp_path), abs=1e-6
        )
    assert np.abs(medians["both-ways"] - medians["weighted"]).max() > 1e-3


def test_another_checkpoint_after_the_plan_is_refused(small_atlas: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(data("gnn-demo"), tmp_path / "gnn"))
    config, run = str(tmp_path / "run.yaml"), str(tmp_path / "run")
    Path(config).write_text(yaml.safe_dump(tree_of(small_atlas, copy)))
    completed = here("run", config, "--stage", "attention", "--out", run)
    assert completed.returncode == 0, completed.stderr
    other = torch.load(copy / "model.ckpt", weights_only=True)
    other["state_dict"]["task.head.head.output_mlp.3.bias"] += 1
    torch.save(other, copy / "model.ckpt")
    again = here("resume", run)
    assert again.returncode != 0
    assert "it differs in network.gnn.demo.sha256" in again.stderr


def test_a_checkpoint_of_another_graph_is_refused_at_the_plan(
    small_atlas: Path, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree_of(small_atlas, MODELS / "mlp")))
    refused = here("plan", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run"))
    assert refused.returncode == 2
    assert "network.gnn.demo" in refused.stderr
    assert "260 vertices expected" in refused.stderr

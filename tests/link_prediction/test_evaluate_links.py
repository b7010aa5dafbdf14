"""Evaluation as users see it: command, Python, files, checkpoints beside floors."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import octoscope as oc
import pandas as pd
import pytest
from octoscope.cli.app import app
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.gnn.gnn_checkpoint import open_checkpoint, write_checkpoint
from octoscope.gnn.open_graph import open_graph
from octoscope.link_prediction.checkpoint_scores import open_scorer
from octoscope.link_prediction.evaluate_links import Settings, evaluate_links
from octoscope.link_prediction.links import links_of, open_links
from octoscope.link_prediction.negatives import positives_of
from octoscope.link_prediction.splits import split_links
from octoscope.octopus.pairs import pair_codes
from typer.testing import CliRunner

from tests.gnn.conftest import MODELS, STORE
from tests.link_prediction.conftest import links_from, pairs_by_degree

SMALL = ["--positives", "1000", "--queries", "50", "--candidates", "60"]


@pytest.fixture(scope="module")
def demo_checkpoint() -> Path:
    with as_file(files("octoscope.demo").joinpath("data/gnn-demo")) as folder:
        return folder


def test_the_command_prints_models_beside_floors(tmp_path: Path, demo_checkpoint: Path) -> None:
    target = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["gnn", "evaluate", "demo", str(demo_checkpoint), "--out", str(target), *SMALL],
        env={"COLUMNS": "200"},
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "copy or mirror in training: 0.0%" in done.output
    metrics = pd.read_parquet(target / "metrics.parquet")
    signs = pd.read_parquet(target / "signs.parquet")
    about = json.loads((target / "evaluation.json").read_text())
    assert set(metrics["metric"]) == {
        "auc", "average_precision", "relation_weighted_auc", "mrr", "hits@1", "hits@10", "hits@50",
    }  # fmt: skip
    assert set(metrics["stratum"]) == {"all", "relation", "source", "degree", "types"}
    assert (metrics["low"] <= metrics["value"]).all()
    assert (metrics["value"] <= metrics["high"]).all()
    model = metrics[metrics["scorer"] == "gnn-demo"]
    assert model["gain"].notna().all()
    assert metrics.loc[metrics["kind"] == "floor", "gain"].isna().all()
    first = model.query("metric == 'auc' and stratum == 'all' and negatives == 'degree'").iloc[0]
    assert first["best_floor"] == "stacked"
    assert first["gain_high"] < 0  # the demonstration checkpoint is below the floor
    assert "gnn-demo" in done.output
    assert set(signs["split"]) == {"as asked", "new regulators", "new targets", "both new"}
    assert set(signs.loc[signs["kind"] == "model", "scorer"]) == {"gnn-demo"}
    assert about["leak"]["either"] == 0
    assert about["checkpoints"][0]["test_edges_seen"] == 0
    assert {a["how"]: a["false"] for a in about["negatives"]} == {"degree": 0, "uniform": 0}
    assert about["split"]["digest"] == split_links(open_links("demo")).digest
    held_out = pd.read_parquet(target / "calibration.parquet").set_index("relation")
    assert held_out.loc["all", "slope"] == pytest.approx(1, abs=0.25)  # 1,000 edges to fit on
    assert len(pd.read_parquet(target / "reliability.parquet").query("relation == 'all'")) == 10
    assert_scores_are_calibrated(tmp_path, target, demo_checkpoint)
    again = CliRunner().invoke(app, ["gnn", "evaluate", "demo", "--out", str(target), *SMALL])
    assert isinstance(again.exception, InputError)
    assert "exists already" in str(again.exception)


def assert_scores_are_calibrated(tmp_path: Path, links: Path, checkpoint: Path) -> None:
    pairs, scored = tmp_path / "pairs.csv", tmp_path / "scored.parquet"
    relation = "stimulator -> modified"
    rows = "".join(f"{i},{i + 7},{relation},{i}\n" for i in range(50))
    pairs.write_text(f"src,dst,relation,calibrated\n{rows}")
    words = ["gnn", "score", str(checkpoint), "--graph", "demo", "--pairs", str(pairs),
             "--calibration", str(links), "--no-cache", "--message-passing", "train"]  # fmt: skip
    done = CliRunner().invoke(app, [*words, "--out", str(scored)])
    assert done.exit_code == 0, (done.output, done.exception)
    table = pd.read_parquet(scored)
    fit = json.loads((links / "evaluation.json").read_text())["calibration"]["gnn-demo"]
    slope, intercept, _ = fit["fits"][relation]
    expected = 1 / (1 + np.exp(-(slope * table["raw"].astype(float) + intercept)))
    np.testing.assert_allclose(table["calibrated"], expected, rtol=1e-9)
    assert table["calibrated_given"].tolist() == list(range(50))
    peer = CliRunner().invoke(app, [*words, "--mode", "peer", "--out", str(tmp_path / "p.csv")])
    assert isinstance(peer.exception, InputError)
    opened = oc.api.gnn.open_gnn(MODELS / "distmult_edgeenc")
    with pytest.raises(InputError, match="did not evaluate"):
        opened.score(pairs, STORE, calibration=links)


def test_the_same_seed_gives_the_same_numbers() -> None:
    links = links_from(800, *pairs_by_degree(np.random.default_rng(9), 800, 6000))
    split, settings = split_links(links), Settings(("degree",), positives=500, queries=30)
    one, two = (evaluate_links(links, split, settings=settings) for _ in range(2))
    pd.testing.assert_frame_equal(one.metrics, two.metrics)
    other = evaluate_links(links, split, settings=replace(settings, seed=1))
    assert not one.metrics["value"].equals(other.metrics["value"])


def test_own_models_stand_beside_floors() -> None:
    network = oc.open_network("demo")
    evaluation = network.evaluate_links(
        floors=["mirror", "preferential_attachment"], negatives=["degree"],
        models={"random": lambda a, b, r: np.random.default_rng(0).random(len(a))},
        positives=2000, queries=200, candidates=100,
    )  # fmt: skip
    rows = evaluation.metrics.query("scorer == 'random' and stratum == 'all'").set_index("metric")
    assert rows.loc["auc", "low"] < 0.5 < rows.loc["auc", "high"]
    # a random one of 101: the expected reciprocal rank is H(101) / 101 = 0.052
    assert rows.loc["mrr", "value"] == pytest.approx(0.052, abs=0.02)
    assert rows.loc["hits@10", "value"] == pytest.approx(0.1, abs=0.06)
    with pytest.raises(InputError, match="not finite"):
        network.evaluate_links(floors=["mirror"], positives=200, queries=0,
                               models={"m": lambda a, b, r: np.full(len(a), np.nan)})  # fmt: skip


def test_calibration_is_fitted_on_validation_pairs_and_judged_on_test_pairs() -> None:
    """A model whose scores mean half as much on test pairs. Red: fitted where it is judged."""
    links = links_from(800, *pairs_by_degree(np.random.default_rng(9), 800, 6000))
    split = split_links(links)
    positives = {p: positives_of(links, split, p, 500, 0) for p in ("val", "test")}
    first = {p: (int(v.src[0]), int(v.dst[0])) for p, v in positives.items()}
    rng = np.random.default_rng(0)

    def model(a: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
        log_odds = 2.0 * np.isin(pair_codes(a, b, links.n), links.known) - 1
        of_val = (int(a[0]), int(b[0])) == first["val"]
        return (log_odds + rng.normal(size=len(a))) * (2 if of_val else 1)

    settings = Settings(("degree",), ("mirror",), positives=500, queries=0)
    evaluation = evaluate_links(links, split, settings=settings, models={"m": model})
    slope = evaluation.calibration.set_index("relation").loc["all", "slope"]
    assert slope == pytest.approx(2, abs=0.4)


def test_an_edge_without_a_negative_is_left_out() -> None:
    """Nine of ten vertices are of one type; of the rare type all possible edges are there."""
    rng = np.random.default_rng(3)
    a, b = pairs_by_degree(rng, 300, 3000)
    rare, other = np.divmod(np.arange(30 * 30), 30)
    src = np.concatenate([a, 300 + rare])
    dst = np.concatenate([b, 330 + other])
    kinds = ["protein"] * 300 + ["complex"] * 30 + ["miRNA"] * 30
    links = links_from(360, src, dst, kinds=kinds)
    settings = Settings(("stratified",), ("mirror",), queries=0)
    evaluation = evaluate_links(links, split_links(links), settings=settings)
    (account,) = evaluation.about["negatives"]
    assert account["missing"] > 80
    whole = evaluation.metrics.query("metric == 'auc' and stratum == 'all'").iloc[0]
    assert whole["n_positives"] == whole["n_negatives"] == account["negatives"]
    assert "complex -> miRNA" not in set(evaluation.metrics["group"])


def test_a_perfect_model_is_first_and_gains() -> None:
    links = open_links("demo")
    known = set((links.src * links.n + links.dst).tolist())

    def oracle(a: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
        return np.array([x in known for x in (a * links.n + b).tolist()], float)

    settings = Settings(("degree",), ("mirror",), positives=500, queries=50)
    evaluation = evaluate_links(
        links, split_links(links), settings=settings, models={"oracle": oracle}
    )
    rows = evaluation.metrics.query("scorer == 'oracle' and stratum == 'all'").set_index("metric")
    assert (rows.loc[["auc", "mrr", "hits@1"], "value"] == 1).all()
    assert rows.loc["auc", "gain"] == pytest.approx(0.5, abs=0.02)


def test_a_checkpoint_that_saw_test_edges_is_named(tmp_path: Path, demo_checkpoint: Path) -> None:
    links = open_links("demo")
    with pytest.warns(OctoscopeWarning, match=r"was trained on \d+\.\d% of the test edges"):
        seen = open_scorer(demo_checkpoint, links, split_links(links, seed=1))
    assert seen.seen.share == pytest.approx(0.7, abs=0.02)
    checkpoint = open_checkpoint(demo_checkpoint)
    silent = {
        k: v for k, v in checkpoint.data.items() if k != "digests" and not k.endswith("_mask_hash")
    }
    write_checkpoint(replace(checkpoint, data=silent), tmp_path / "silent")
    with pytest.warns(OctoscopeWarning, match="does not say which edges it was trained on"):
        assert open_scorer(tmp_path / "silent", links, split_links(links)).seen.share is None


def test_test_edges_carry_no_messages(demo_checkpoint: Path) -> None:
    links = open_links("demo")
    split = split_links(links)
    scorer = open_scorer(demo_checkpoint, links, split)
    train = split.part == 1
    alone = replace(
        links.graph, src=links.src[train], dst=links.dst[train], relation=links.relation[train],
        edge_attr=links.graph.edge_attr[train], split=None,
    )  # fmt: skip
    from octoscope.gnn.embeddings import encode, messages_of

    checkpoint = open_checkpoint(demo_checkpoint)
    expected = encode(checkpoint, alone, messages_of(checkpoint, alone))
    np.testing.assert_allclose(scorer.z.numpy(), expected.numpy(), atol=1e-6)
    whole = encode(checkpoint, links.graph, messages_of(checkpoint, links.graph))
    assert float((scorer.z - whole).abs().max()) > 1e-3


def test_checkpoints_of_a_store_are_evaluated_on_its_split() -> None:
    name = "distmult_edgeenc"
    links = links_of(open_graph(STORE, open_checkpoint(MODELS / name)))
    split = split_links(links, "graph")
    settings = Settings(("degree",), ("mirror", "preferential_attachment"), queries=20)
    with pytest.warns(OctoscopeWarning, match="of the test edges"):  # mirrors of them
        evaluation = evaluate_links(links, split, [MODELS / name], settings)
    assert evaluation.about["leak"]["either"] > 0  # napistu-torch splits by directed edge
    assert name in set(evaluation.metrics["scorer"])
    assert evaluation.about["checkpoints"][0]["test_edges_seen"] is not None


def test_a_checkpoint_of_another_graph_is_refused(demo_checkpoint: Path) -> None:
    links = links_from(50, *pairs_by_degree(np.random.default_rng(0), 50, 300))
    with pytest.raises(InputError, match="was not trained on planted"):
        open_scorer(demo_checkpoint, links, split_links(links))
    same = open_links("demo")
    with pytest.raises(InputError, match="stands for two models"):
        evaluate_links(same, split_links(same), [demo_checkpoint, demo_checkpoint])

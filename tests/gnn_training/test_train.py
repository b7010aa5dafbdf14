"""Training: what is learned, what is read back, and going on after a stop."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from octoscope.cli.app import app
from octoscope.errors import InputError
from octoscope.gnn.gnn_checkpoint import open_checkpoint
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.graph_folder import write_graph
from octoscope.gnn.structural_features import message_edges, with_structure
from octoscope.gnn_training import train as module
from octoscope.gnn_training.train import train
from octoscope.gnn_training.train_config import TrainConfig, load_train_config
from octoscope.link_prediction.checkpoint_scores import open_scorer
from octoscope.link_prediction.evaluate_links import Settings, evaluate_links
from octoscope.link_prediction.link_metrics import auc, relation_weighted
from octoscope.link_prediction.links import links_of
from octoscope.link_prediction.negatives import draw_negatives, positives_of
from octoscope.link_prediction.splits import split_links
from octoscope.octopus.pairs import pair_codes
from typer.testing import CliRunner

from tests.link_prediction.conftest import links_from, pairs_by_degree

HEADS = get_args(TrainConfig.model_fields["head"].annotation)
RELATIONS = ("inhibitor -> modified", "interactor -> interactor", "stimulator -> modified")
SMALL = {"width": 16, "hidden": 16, "relation_width": 4, "epochs": 4, "validate_every": 2}


def planted(blocks: int = 8, n: int = 640, seed: int = 1) -> GnnGraph:
    """About 6,000 pairs, 85 % within a block (0 blocks: nothing but degree); with a split."""
    rng = np.random.default_rng(seed)
    a, b = pairs_by_degree(rng, n, 40_000 if blocks else 6000)
    if blocks:
        kept = rng.random(len(a)) < np.where(a % blocks == b % blocks, 0.9, 0.02)
        a, b = a[kept], b[kept]
    links = links_from(n, a, b, relation=rng.integers(0, 3, len(a)), relations=RELATIONS)
    features = rng.normal(size=(n, 8)).astype(np.float32)
    of_edges = rng.random((len(a), 3)).astype(np.float32)
    return replace(
        links.graph, x=features, vertex_features=tuple(f"by name {i}" for i in range(8)),
        edge_attr=of_edges, edge_features=("a", "b", "c"), split=split_links(links).part,
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The order of sums on several threads is not fixed, and small products wait for threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def graph() -> GnnGraph:
    return planted()


ENCODERS: tuple[dict[str, Any], ...] = (
    {"encoder": "graph_conv", "edge_encoder": 4, "directed": True},
    {"encoder": "sage", "directed": True},
    {"encoder": "gcn", "edge_encoder": 4},
    {"encoder": "graph_conv"},
)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_trains_and_is_read_as_it_was_trained(
    tmp_path: Path, graph: GnnGraph, head: str
) -> None:
    kind = ENCODERS[HEADS.index(head) % len(ENCODERS)]
    config = TrainConfig(head=head, learning_rate=0.02, **(SMALL | {"epochs": 8} | kind))
    folder = train(graph, config, tmp_path / "t")
    account = json.loads((tmp_path / "t/training.json").read_text())
    losses = [row["loss"] for row in account["history"]]
    assert losses[-1] < losses[0]
    links, split = links_of(graph), split_links(links_of(graph), "graph")
    scorer = open_scorer(folder, links, split)
    assert scorer.seen.share == 0
    positives = positives_of(links, split, "val", config.validation)
    drawn = draw_negatives(links, split, positives, config.negatives)
    a, b = np.append(positives.src, drawn.src), np.append(positives.dst, drawn.dst)
    relation = np.append(positives.relation, positives.relation[drawn.of])
    truth = np.arange(len(a)) < len(positives.src)
    checkpoint = open_checkpoint(folder)
    from octoscope.gnn.scoring import score_pairs

    raw = score_pairs(scorer.head, scorer.z, a, b, relation if checkpoint.relations else None).raw
    best = next(r for r in account["history"] if r["epoch"] == account["best_epoch"])
    assert auc(raw, truth).value == pytest.approx(best["auc"], abs=1e-3)
    weighted = relation_weighted(raw, truth, relation).value
    assert weighted == pytest.approx(account["relation_weighted_auc"], abs=1e-3)


def stopped_at(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Stop in the middle of an epoch."""
    real, count = module._step, [0]

    def step(*rest: Any) -> torch.Tensor:
        if count[0] == epoch:
            raise KeyboardInterrupt
        count[0] += 1
        return real(*rest)

    monkeypatch.setattr(module, "_step", step)


@pytest.mark.parametrize("head", ["relation_gated_mlp", "conditional_rotate"])
def test_a_stopped_training_goes_on_to_the_same_numbers(
    tmp_path: Path, graph: GnnGraph, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    config = TrainConfig(head=head, **(SMALL | {"epochs": 7, "dropout": 0.3}))
    whole = train(graph, config, tmp_path / "whole")
    for epoch in (1, 4):  # before and after the first state
        with monkeypatch.context() as patch:
            stopped_at(patch, epoch)
            with pytest.raises(KeyboardInterrupt):
                train(graph, config, tmp_path / "part")
    (tmp_path / "part/state/.000006.abc.partial").mkdir(parents=True)  # of a killed process
    lines: list[str] = []
    part = train(graph, config, tmp_path / "part", lines.append)
    assert lines[0] == "goes on after epoch 4"
    for name in ("gnn.safetensors", "gnn.json", "../training.json"):
        assert (part / name).read_bytes() == (whole / name).read_bytes()


def test_a_killed_training_goes_on_to_the_same_losses(tmp_path: Path, graph: GnnGraph) -> None:
    """SIGKILL while it trains: nothing of the process runs any more."""
    config = TrainConfig(encoder="graph_conv", edge_encoder=4, head="mlp", dropout=0.3,
                         **(SMALL | {"epochs": 16}))  # fmt: skip
    process = multiprocessing.get_context("fork").Process(
        target=train, args=(graph, config, tmp_path / "part")
    )
    process.start()
    state, end = tmp_path / "part/state", time.monotonic() + 60
    while not (state / "000004").exists() and process.is_alive() and time.monotonic() < end:
        time.sleep(0.001)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert list(state.glob("[0-9]*"))
    assert not (tmp_path / "part/checkpoint").exists()
    lines: list[str] = []
    part = train(graph, config, tmp_path / "part", lines.append)
    assert lines[0].startswith("goes on after epoch ")
    whole = train(graph, config, tmp_path / "whole")
    losses = [json.loads((p.parent / "training.json").read_text())["history"]
              for p in (part, whole)]  # fmt: skip
    assert losses[0] == losses[1]
    assert len(losses[0]) == 8
    for name in ("gnn.safetensors", "gnn.json"):
        assert (part / name).read_bytes() == (whole / name).read_bytes()


def test_another_training_does_not_go_on_from_it(tmp_path: Path, graph: GnnGraph) -> None:
    config = TrainConfig(head="dot_product", **SMALL)
    train(graph, config, tmp_path / "t")
    for other_graph, other in (
        (graph, TrainConfig(head="dot_product", **(SMALL | {"seed": 1}))),
        (planted(seed=2), config),
    ):
        with pytest.raises(InputError, match="other settings or another graph"):
            train(other_graph, other, tmp_path / "t")
    (state,) = (tmp_path / "t/state").glob("[0-9]*")  # older states are deleted
    file = state / "state.safetensors"
    raw = file.read_bytes()
    file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(InputError, match="is damaged"):
        train(graph, config, tmp_path / "t")


def test_edges_to_learn_from_carry_no_messages(graph: GnnGraph) -> None:
    mirrored = replace(
        graph, src=np.append(graph.src, graph.dst), dst=np.append(graph.dst, graph.src),
        relation=np.append(graph.relation, graph.relation), split=np.append(*2 * [graph.split]),
    )  # fmt: skip
    passing = message_edges(mirrored)
    training = mirrored.split == 1
    codes = links_of(mirrored).codes
    assert not set(codes[passing].tolist()) & set(codes[training & ~passing].tolist())
    assert not passing[~training].any()
    assert passing[training].mean() == pytest.approx(0.7, abs=0.03)
    fewer = message_edges(mirrored, 0.1)
    assert (fewer >= passing).all()
    # features do not change where they would be learned from
    kept = message_edges(graph)
    alone = replace(graph, src=graph.src[kept], dst=graph.dst[kept], relation=None, relations=(),
                    split=graph.split[kept])  # fmt: skip
    np.testing.assert_allclose(with_structure(alone).x, with_structure(graph).x, atol=1e-5)
    with pytest.raises(InputError, match="features know all but 0.3"):
        train(with_structure(graph), TrainConfig(learned=0.5), Path("never"))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Message edges and pairs of every step of a training."""
    recorded: list[tuple[Any, Any]] = []
    real = module._step

    def step(model: Any, x: Any, edges: Any, pairs: Any, *rest: Any) -> torch.Tensor:
        recorded.append((edges, pairs))
        return real(model, x, edges, pairs, *rest)

    monkeypatch.setattr(module, "_step", step)
    return recorded


def codes_of(a: torch.Tensor, b: torch.Tensor, n: int) -> np.ndarray:
    return pair_codes(a.numpy(), b.numpy(), n)


def test_a_step_passes_no_message_along_what_it_learns(
    tmp_path: Path, graph: GnnGraph, steps: list[tuple[Any, Any]]
) -> None:
    train(graph, TrainConfig(head="mlp", **SMALL), tmp_path / "t")
    assert len(steps) == 4
    training = set(links_of(graph).codes[graph.split == 1].tolist())
    for edges, pairs in steps:
        messages = set(codes_of(*edges.index, graph.n_vertices).tolist())
        targets = codes_of(pairs.src, pairs.dst, graph.n_vertices)
        learned = set(targets[: pairs.positives].tolist())
        assert not learned & messages
        assert learned | messages == training


@pytest.mark.parametrize("how", ["uniform", "degree"])
def test_no_negative_of_a_step_is_an_edge_of_any_part(
    tmp_path: Path, steps: list[tuple[Any, Any]], how: str
) -> None:
    """Red: negatives that are compared with no edge, or with training edges alone."""
    graph = planted(8)
    n, links = graph.n_vertices, links_of(graph)
    train(graph, TrainConfig(head="mlp", negatives=how, **SMALL), tmp_path / "t")
    drawn = np.concatenate([codes_of(p.src, p.dst, n)[p.positives :] for _, p in steps])
    of_part = [links.codes[graph.split == part] for part in np.unique(graph.split)]
    assert len(of_part) == 3
    for codes in of_part:
        by_chance = 2 * len(np.unique(codes)) / n**2 * len(drawn)
        assert by_chance > 10
        assert not np.isin(drawn, codes).any()


def values(evaluation: Any, scorer: str = "checkpoint") -> pd.Series:
    rows = evaluation.metrics.query(
        "stratum == 'all' and negatives == 'degree' and metric == 'auc'"
    )
    return rows.set_index("scorer")["value"]


def test_blocks_are_learned_and_degree_alone_is_not(tmp_path: Path) -> None:
    """8 blocks: 900 test edges; degree alone: as many. GraphSAGE with structure, 40 steps."""
    settings = Settings(("degree",), ("preferential_attachment",), queries=0)
    config = TrainConfig(head="mlp", epochs=40, width=32, hidden=32, learning_rate=0.01,
                         validate_every=20)  # fmt: skip
    for blocks in (8, 0):
        graph = with_structure(planted(blocks))
        folder = train(graph, config, tmp_path / str(blocks))
        links = links_of(graph)
        area = values(evaluate_links(links, split_links(links, "graph"), [folder], settings))
        if blocks:
            assert area["checkpoint"] > area["preferential_attachment"] + 0.1
        else:
            assert 0.45 <= area["checkpoint"] <= 0.55


def test_signs_are_learned_where_they_are_asked_for(tmp_path: Path) -> None:
    """The relation of an edge is by the class of its target. Red: a sign turned, no loss of signs.

    Which edges there are is by degree alone, and negatives are within a relation: that an edge is
    there says nothing of the class.
    """
    rng = np.random.default_rng(2)
    graph = planted(0)
    kind = rng.integers(0, 2, graph.n_vertices)
    same = kind[graph.dst] == 1
    graph = replace(
        graph, relation=np.where(same, RELATIONS.index("stimulator -> modified"), 0),
        x=np.column_stack([graph.x, kind]).astype(np.float32),
        vertex_features=(*graph.vertex_features, "class"),
    )  # fmt: skip
    links = links_of(graph)
    split = split_links(links, "graph")
    rows = split.rows("test")
    areas = []
    for signs in (0.0, 1.0):
        config = TrainConfig(head="relation_gated_mlp", signs=signs, negatives="stratified",
                             **(SMALL | {"epochs": 30, "validate_every": 15, "learning_rate": 0.05})
                             )  # fmt: skip
        folder = train(graph, config, tmp_path / str(signs))
        score = open_scorer(folder, links, split).sign(links.src[rows], links.dst[rows])
        areas.append(auc(score, same[rows]).value)
        account = json.loads((tmp_path / str(signs) / "training.json").read_text())
        assert ("sign_auc" in account) == bool(signs)
    assert areas[0] < 0.75
    assert areas[1] > 0.9
    assert account["sign_auc"] > 0.9
    for settings in ({"head": "mlp"}, {"head": "conditional_rotate"}, {"peer": True}):
        with pytest.raises((InputError, ValueError), match="signs"):
            train(graph, TrainConfig(signs=1, **settings), tmp_path / "never")


def test_the_command_trains_a_checkpoint_that_other_commands_read(
    tmp_path: Path, graph: GnnGraph
) -> None:
    text = np.zeros(0, str)
    empty = pd.DataFrame({"vertex": np.zeros(0, np.int32), "ontology": text, "identifier": text,
                          "bqb": text})  # fmt: skip
    folder, config, pairs = tmp_path / "graph", tmp_path / "c.yaml", tmp_path / "pairs.csv"
    write_graph(with_structure(graph), empty, folder)
    config.write_text("head: distmult\nepochs: 2\nwidth: 8\n")
    pairs.write_text("src,dst,relation\nv0,v8,stimulator -> modified\n")
    run = CliRunner()
    checkpoint = tmp_path / "t/checkpoint"
    for words in (
        ["train", str(config), "--graph", str(folder), "--out", str(tmp_path / "t")],
        ["inspect", str(checkpoint), "--graph", str(folder)],
        ["score", str(checkpoint), "--graph", str(folder), "--pairs", str(pairs), "--no-cache",
         "--out", str(tmp_path / "scores.csv")],
        ["evaluate", str(folder), str(checkpoint), "--split", "graph", "--floors", "mirror",
         "--queries", "0"],
    ):  # fmt: skip
        done = run.invoke(app, ["gnn", *words])
        assert done.exit_code == 0, (done.output, done.exception)
    assert pd.read_csv(tmp_path / "scores.csv")["probability"].between(0, 1).all()


def test_an_encoder_is_taken_from_another_checkpoint(tmp_path: Path, graph: GnnGraph) -> None:
    first = train(graph, TrainConfig(head="dot_product", **SMALL), tmp_path / "first")
    config = TrainConfig(head="distmult", initial=first, freeze_encoder=True, **SMALL)
    folder = train(graph, config, tmp_path / "second")
    before, after = open_checkpoint(first).weights, open_checkpoint(folder).weights
    for name in (k for k in before if k.startswith("encoder.")):
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=0)
    wider = TrainConfig(head="distmult", initial=first, **(SMALL | {"width": 8}))
    with pytest.raises(InputError, match="has another encoder"):
        train(graph, wider, tmp_path / "third")


def test_settings_and_graphs_that_do_not_fit_are_named(tmp_path: Path, graph: GnnGraph) -> None:
    unlabelled = replace(graph, relation=None, relations=())
    with pytest.raises(InputError, match="needs relations"):
        train(unlabelled, TrainConfig(head="transe"), tmp_path / "t")
    with pytest.raises(InputError, match="states no split"):
        train(replace(graph, split=None), TrainConfig(), tmp_path / "t")
    weighing = TrainConfig(encoder="gcn", edge_encoder=4)
    with pytest.raises(InputError, match="needs features of edges"):
        train(replace(graph, edge_attr=None), weighing, tmp_path / "t")
    file = tmp_path / "c.yaml"
    wrong = {"heads: mlp": "heads", "head: rotate\nwidth: 7": "even", "width: 0": "width",
             "freeze_encoder: true": "need initial",
             "encoder: gcn\ndirected: true": "no direction",
             "encoder: sage\nedge_encoder: 4": "sage has no weights"}  # fmt: skip
    for text, message in wrong.items():
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            load_train_config(file)

"""Reading checkpoints: both formats, the Hub's cache, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from octoscope.errors import InputError
from octoscope.gnn.checkpoint_summary import describe_checkpoint
from octoscope.gnn.gnn_checkpoint import open_checkpoint, write_checkpoint
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.open_graph import misfits, open_graph

from tests.gnn.conftest import MODELS, NAMES, STORE, checkpoint
from tests.here import here


@pytest.mark.parametrize("name", NAMES)
def test_sizes_come_from_the_tensors(name: str) -> None:
    model = checkpoint(name)
    described = describe_checkpoint(model)
    assert (described["encoder"], described["layers"], described["width"]) == ("graph_conv", 3, 32)
    assert described["vertex_features"] == 14
    assert model.encoder.edge_channels == (65 if name.endswith("edgeenc") else 0)
    assert described["head"] == name.removesuffix("_edgeenc")
    relational = described["head"] not in ("attention", "dot_product", "mlp")
    assert len(model.relations) == (8 if relational else 0)


def changed(tmp_path: Path, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
    folder = Path(shutil.copytree(MODELS / name, tmp_path / name))
    whole = torch.load(folder / "model.ckpt", weights_only=True)
    change(whole)
    torch.save(whole, folder / "model.ckpt")
    return folder


def test_sizes_and_settings_that_the_metadata_lack(tmp_path: Path) -> None:
    def strip(whole: dict[str, Any]) -> None:
        whole["hyper_parameters"]["model"]["head"] = {"head": "relation_attention"}
        whole["hyper_parameters"]["model"]["encoder"] = {"encoder": "graph_conv"}

    model = open_checkpoint(changed(tmp_path, "relation_attention", strip))
    assert model.head.groups == 4  # of config.json
    assert model.encoder.in_channels == 14


def test_own_format(tmp_path: Path, graph: GnnGraph) -> None:
    peer = checkpoint("distmult")
    write_checkpoint(peer, tmp_path / "own", graph.digests)
    own = open_checkpoint(tmp_path / "own")
    assert own.relations == peer.relations
    for mine, theirs in zip(own.encoder.layers, peer.encoder.layers, strict=True):
        assert all(torch.equal(mine[k], theirs[k]) for k in theirs)
    assert misfits(own, graph) == []
    assert misfits(own, replace(graph, src=graph.dst, dst=graph.src)) == [
        "other edges (SHA-256 differs)"
    ]
    with pytest.raises(InputError, match="exists already"):
        write_checkpoint(peer, tmp_path / "own")
    (tmp_path / "own/gnn.safetensors").write_bytes(b"other")
    with pytest.raises(InputError, match=r"gnn.safetensors.*not the file that gnn.json describes"):
        open_checkpoint(tmp_path / "own")


def test_convert_states_the_graph(tmp_path: Path) -> None:
    completed = here(
        "gnn", "convert", str(MODELS / "mlp"), str(tmp_path / "own"), "--graph", str(STORE)
    )
    assert completed.returncode == 0, completed.stderr
    inspected = here("gnn", "inspect", str(tmp_path / "own"), "--graph", str(STORE), "--json")
    assert json.loads(inspected.stdout)["graph"]["not_compared"] == []
    again = here("gnn", "convert", str(MODELS / "mlp"), str(tmp_path / "own"))
    assert again.returncode == 2


def test_a_repository_folder_of_the_hub_cache(tmp_path: Path) -> None:
    repository = tmp_path / "models--seanhacks--mlp"
    shutil.copytree(MODELS / "mlp", repository / "snapshots/abc")
    shutil.copytree(MODELS / "attention", repository / "snapshots/def")
    with pytest.raises(InputError, match="2 snapshots"):
        open_checkpoint(repository)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc")
    assert open_checkpoint(repository).head.kind == "mlp"


def test_names_of_relations_by_position(tmp_path: Path, graph: GnnGraph) -> None:
    """Red: refused on its own graph as of other relations; not read again once converted."""

    def by_position(whole: dict[str, Any]) -> None:
        data = whole["hyper_parameters"]["data"]
        data["relation_type_labels"] = dict(enumerate(data["relation_type_labels"]))
        data["scale"] = torch.ones(1)  # JSON has no such value

    model = open_checkpoint(changed(tmp_path, "rotate", by_position))
    assert misfits(model, graph) == []
    write_checkpoint(model, tmp_path / "own", graph.digests)
    own = open_checkpoint(tmp_path / "own")
    assert own.relations == model.relations == graph.relations
    assert misfits(own, graph) == []


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a", "b"], "names 2 relations, its head has 8"),
        (list("abcdefgg"), "names 7 relations, its head has 8"),
        ("abcdefgh", "is 'abcdefgh', no list of names"),
        ({0: "a", 2: "b"}, "no list of names"),
    ],
)
def test_names_of_relations_are_as_many_as_the_head_has(
    tmp_path: Path, names: object, says: str
) -> None:
    """Red: names that are fewer, or the same twice: scores would carry another relation's name."""

    def renamed(whole: dict[str, Any]) -> None:
        whole["hyper_parameters"]["data"]["relation_type_labels"] = names

    with pytest.raises(InputError, match=says):
        open_checkpoint(changed(tmp_path, "rotate", renamed))


class Poison:
    """Creates a file if a reader of pickles runs it."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> Any:
        return Path.touch, (self.flag,)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODELS / "mlp", tmp_path / "mlp"))
    flag = tmp_path / "ran"
    torch.save({"state_dict": {"a": Poison(flag)}, "hyper_parameters": {}}, folder / "model.ckpt")
    with pytest.raises(InputError, match="model.ckpt"):
        open_checkpoint(folder)
    (folder / "model.ckpt").write_bytes(pickle.dumps(Poison(flag)))
    with pytest.raises(InputError, match="model.ckpt"):
        open_checkpoint(folder)
    assert not flag.exists()


def rename(whole: dict[str, Any]) -> None:
    state = whole["state_dict"]
    state["task.encoder.convs.0.weight"] = state.pop("task.encoder.convs.0.lin_rel.weight")


def not_finite(whole: dict[str, Any]) -> None:
    whole["state_dict"]["task.head.head.mlp.0.bias"][0] = float("nan")


def wrong_shape(whole: dict[str, Any]) -> None:
    state = whole["state_dict"]
    state["task.head.head.mlp.3.weight"] = torch.zeros(1, 17)


def flags(whole: dict[str, Any]) -> None:
    state = whole["state_dict"]
    state["task.head.head.mlp.0.weight"] = state["task.head.head.mlp.0.weight"] > 0


def extra(whole: dict[str, Any]) -> None:
    whole["state_dict"]["task.head.head.gate.weight"] = torch.zeros(1)


def other_task(whole: dict[str, Any]) -> None:
    whole["state_dict"]["task.decoder.weight"] = torch.zeros(1)


def quantised(whole: dict[str, Any]) -> None:
    state = whole["state_dict"]
    state["task.head.head.mlp.0.weight"] = state["task.head.head.mlp.0.weight"].to(torch.int8)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (quantised, r"mlp\.0\.weight: is of int8, not of floating-point numbers"),
        (flags, r"mlp\.0\.weight: is of bool, not of floating-point numbers"),
        (rename, r"convs\.0\.weight.*no weight of a graph_conv encoder"),
        (not_finite, r"mlp\.0\.bias holds NaN"),
        (wrong_shape, r"mlp\.3\.weight.*\(1, 17\), expected \(1, 16\)"),
        (extra, r"gate\.weight.*no weight of mlp"),
        (other_task, r"decoder\.weight.*neither of the encoder nor of the head"),
    ],
)
def test_weights_that_do_not_belong_are_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        open_checkpoint(changed(tmp_path, "mlp", change))


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_checkpoint(tmp_path / "none")
    with pytest.raises(InputError, match="neither model.ckpt nor gnn.json"):
        open_checkpoint(tmp_path)
    (tmp_path / "gnn.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(InputError, match="is 'other', expected 'octoscope-gnn/1'"):
        open_checkpoint(tmp_path)


def test_another_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="260 vertices expected"):
        open_graph("demo", checkpoint("mlp"))

    def other_split(whole: dict[str, Any]) -> None:
        whole["hyper_parameters"]["data"]["train_mask_hash"] = "0" * 64

    model = open_checkpoint(changed(tmp_path, "mlp", other_split))
    with pytest.raises(InputError, match="another train split"):
        open_graph(STORE, model)


def test_every_difference_of_a_graph_is_named(graph: GnnGraph) -> None:
    """Red: one of the comparisons left out."""
    model = checkpoint("distmult_edgeenc")
    data = {**model.data, "num_nodes": None, "num_edges": None, "digests": graph.digests}
    assert graph.edge_attr is not None
    assert graph.split is not None
    cases: list[tuple[dict[str, Any], GnnGraph, str]] = [
        ({"num_nodes": 7}, graph, "7 vertices expected, 260 found"),
        ({"num_edges": 7}, graph, "7 edges expected, 2009 found"),
        ({}, replace(graph, x=graph.x[:, :3]), "14 vertex features expected, 3 found"),
        ({}, replace(graph, edge_attr=graph.edge_attr[:, :3]), "65 edge features expected, 3"),
        ({}, replace(graph, edge_attr=graph.edge_attr[::-1]), "other edge_attr"),
        ({}, replace(graph, relations=("a", "b")), "other relations (a)"),
        ({"relation_type_labels": None}, replace(graph, relations=("a",)), "8 relations expected"),
        ({"val_mask_hash": "0"}, graph, "another val split"),
        ({"num_test_edges": 7}, graph, "7 test edges expected, 301 found"),
        (
            {"vertex_feature_names": ["a", *graph.vertex_features[1:]]},
            graph,
            "other vertex features (a)",
        ),
        (
            {"vertex_feature_names": list(graph.vertex_features[::-1])},
            graph,
            "other vertex features (in another order)",
        ),
        ({"edge_feature_names": ["a", *graph.edge_features[1:]]}, graph, "other edge features (a)"),
        ({"test_mask_hash": "0"}, graph, "another test split"),
        ({"digests": {"split": "0"}}, graph, "other split (SHA-256 differs)"),
        ({"digests": {"names": "0"}}, graph, "other names (SHA-256 differs)"),
        ({"digests": {"genes": "0"}}, graph, "other genes (SHA-256 differs)"),
    ]
    named = {"vertex_feature_names": list(graph.vertex_features), "edge_feature_names": []}
    assert misfits(replace(model, data=data | named), graph) == []
    for change, other, line in cases:
        lines = misfits(replace(model, data=data | change), replace(other, known={}))
        assert any(problem.startswith(line) for problem in lines), (line, lines)

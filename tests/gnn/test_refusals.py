"""What cannot be scored ends the command in one clear line, and nothing is written."""

from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from octoscope.api.gnn import open_gnn, open_graph
from octoscope.errors import InputError
from octoscope.gnn.graph_folder import write_graph
from octoscope.gnn.open_graph import open_with_identifiers

from tests.gnn.conftest import MODELS, STORE
from tests.gnn.test_checkpoint import Poison
from tests.here import here

MLP = str(MODELS / "mlp")


def refused(tmp_path: Path, checkpoint: str, pairs: pd.DataFrame, graph: str = str(STORE)) -> str:
    """Return the only line of a command that scores nothing."""
    table, target = tmp_path / "pairs.parquet", tmp_path / "scores.parquet"
    pairs.to_parquet(table)
    completed = here(
        "gnn", "score", checkpoint, "--graph", graph, "--pairs", str(table), "--out", str(target),
        "--cache", str(tmp_path / "cache"), "--message-passing", "all", "--message-passing",
        "leave-out",
    )  # fmt: skip
    assert completed.returncode == 2, completed.stderr
    assert completed.stdout == ""
    assert not target.exists()
    (line,) = completed.stderr.strip().splitlines()
    return line


def changed(tmp_path: Path, change: Any) -> str:
    folder = Path(shutil.copytree(MLP, tmp_path / "changed"))
    whole = torch.load(folder / "model.ckpt", weights_only=True)
    change(whole)
    torch.save(whole, folder / "model.ckpt")
    return str(folder)


@pytest.fixture
def vertices() -> pd.DataFrame:
    return pd.DataFrame({"src": [1, 2], "dst": [3, 4]})


def test_a_checkpoint_of_another_graph(tmp_path: Path, vertices: pd.DataFrame) -> None:
    line = refused(tmp_path, MLP, vertices, "demo")
    assert "demo: is not the graph of the checkpoint: 260 vertices expected" in line


def test_a_checkpoint_that_names_other_features_of_a_graph_of_the_same_size(
    tmp_path: Path, vertices: pd.DataFrame
) -> None:
    def named(whole: dict[str, Any]) -> None:
        whole["hyper_parameters"]["data"]["vertex_feature_names"] = [f"f{i}" for i in range(14)]

    line = refused(tmp_path, changed(tmp_path, named), vertices)
    assert "is not the graph of the checkpoint: other vertex features (" in line


def test_a_converted_checkpoint_on_another_graph_of_the_same_size(
    tmp_path: Path, vertices: pd.DataFrame
) -> None:
    """The digests decide where the numbers do not: one edge leads elsewhere."""
    folder, own = tmp_path / "graph", tmp_path / "own"
    for command in (("graph", str(STORE), str(folder)),
                    ("convert", MLP, str(own), "--graph", str(folder))):  # fmt: skip
        completed = here("gnn", *command)
        assert completed.returncode == 0, completed.stderr
    graph, identifiers = open_with_identifiers(STORE)
    assert identifiers is not None
    dst = graph.dst.copy()
    dst[0] = (dst[0] + 1) % graph.n_vertices
    write_graph(replace(graph, dst=dst), identifiers, tmp_path / "moved")
    line = refused(tmp_path, str(own), vertices, str(tmp_path / "moved"))
    assert "is not the graph of the checkpoint: other edges (SHA-256 differs)" in line


@pytest.mark.parametrize("whole", [True, False])
def test_a_pickle_with_code(tmp_path: Path, vertices: pd.DataFrame, whole: bool) -> None:
    folder = Path(shutil.copytree(MLP, tmp_path / "code"))
    flag = tmp_path / "ran"
    if whole:
        (folder / "model.ckpt").write_bytes(pickle.dumps(Poison(flag)))
    else:
        state = {"state_dict": {"a": Poison(flag)}, "hyper_parameters": {}}
        torch.save(state, folder / "model.ckpt")
    assert "model.ckpt" in refused(tmp_path, str(folder), vertices)
    assert not flag.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", ["task.head.head.mlp.0.bias", "task.encoder.convs.1.lin_root.weight"]
)
def test_weights_that_are_not_finite(
    tmp_path: Path, vertices: pd.DataFrame, name: str, value: float
) -> None:
    def spoiled(whole: dict[str, Any]) -> None:
        whole["state_dict"][name].view(-1)[3] = value

    line = refused(tmp_path, changed(tmp_path, spoiled), vertices)
    assert f"{name} holds NaN or infinity" in line


def test_genes_that_the_graph_does_not_know(tmp_path: Path) -> None:
    pairs = pd.DataFrame({"query": ["TP53", "MYC"], "key": ["MDM2", "MAX"]})
    assert "the network knows 0 of 4 names" in refused(tmp_path, MLP, pairs)


def test_a_list_of_rows_without_genes(tmp_path: Path) -> None:
    pairs = pd.DataFrame({"query": [None, "TP53"], "key": ["MDM2", None]}, dtype="string")
    nothing = pd.DataFrame({"query": [None], "key": [None]}, dtype="string")
    assert "the network knows 0 of" in refused(tmp_path, MLP, pairs)
    assert "no row names two genes" in refused(tmp_path, MLP, nothing)


@pytest.mark.parametrize("ends", [("src", "dst"), ("query", "key")])
def test_an_empty_list(tmp_path: Path, ends: tuple[str, str]) -> None:
    assert "pairs.parquet: holds no pair" in refused(
        tmp_path, MLP, pd.DataFrame({ends[0]: [], ends[1]: []})
    )


def test_few_known_genes_and_no_pair_of_two(tmp_path: Path) -> None:
    """Red: a warning that few names are known, beside the error."""
    gene = str(open_with_identifiers(STORE)[0].names.genes["gene"].iloc[0])
    pairs = pd.DataFrame({"query": [gene] * 30, "key": [f"X{i}" for i in range(30)]})
    line = refused(tmp_path, MLP, pairs)
    assert "no row has both genes in the graph, which knows 1 of 31 names" in line


def test_a_name_that_cannot_be_called_is_said_to_be_code(
    tmp_path: Path, vertices: pd.DataFrame
) -> None:
    """Red: the name of what stands for it in the reader."""
    flag = tmp_path / "flag"

    def poisoned(whole: Any) -> None:
        whole["state_dict"]["a"] = Poison(flag)

    line = refused(tmp_path, changed(tmp_path, poisoned), vertices)
    assert "it names code, which is not run" in line
    assert not flag.exists()


class Command:
    """Runs a command of the system if a reader of pickles calls what the file names."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.flag}",)


@pytest.mark.parametrize("part", ["hyper_parameters", "optimizer_states", "callbacks"])
def test_code_beside_the_weights(tmp_path: Path, vertices: pd.DataFrame, part: str) -> None:
    """Red: a file that names a command, scored without a word."""
    flag = tmp_path / "flag"

    def poisoned(whole: Any) -> None:
        whole[part] = {"a": Command(flag)}

    line = refused(tmp_path, changed(tmp_path, poisoned), vertices)
    assert f"it names code, which is not run: {os.system.__module__}.system" in line
    assert not flag.exists()


def test_neither_graph_nor_checkpoint_is_written_into_what_is_read(tmp_path: Path) -> None:
    store, model = tmp_path / "store", tmp_path / "model"
    shutil.copytree(STORE, store)
    shutil.copytree(MLP, model)
    graph, checkpoint = open_graph(store), open_gnn(model)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="is in "):
        graph.save(store / "copy")
    with pytest.raises(InputError, match="is in "):
        checkpoint.save(model / "copy")
    with pytest.raises(InputError, match="is in "):
        checkpoint.save(store / "copy", graph=store)
    assert sorted(tmp_path.rglob("*")) == before
    graph.save(tmp_path / "copy")

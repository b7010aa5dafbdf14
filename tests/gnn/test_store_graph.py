"""Stores of napistu-torch whose parts do not belong together are refused, each in its own words."""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.gnn import graph as graph_module
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.open_graph import misfits
from octoscope.gnn.store_graph import _graph, _labels, read_store_graph
from octoscope.octopus.napistu.store import store_tensors

from tests.gnn.conftest import STORE, checkpoint

DATA = "relation_prediction"
Tensors = dict[str, Any]


def beyond(t: Tensors) -> Tensors:
    ends = t["edge_index"].clone()
    ends[1, 5] = 260
    return {"edge_index": ends}


def below(t: Tensors) -> Tensors:
    ends = t["edge_index"].clone()
    ends[0, 5] = -1
    return {"edge_index": ends}


def unlabelled(t: Tensors) -> Tensors:
    codes = t["relation_type"].clone()
    codes[7] = 8
    return {"relation_type": codes}


def overlapping(t: Tensors) -> Tensors:
    return {"val_mask": t["val_mask"] | t["train_mask"]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (beyond, "edge_index: names vertices outside 0..259"),
        (below, "edge_index: names vertices outside 0..259"),
        (lambda t: {"edge_index": t["edge_index"].T}, "edge_index: names vertices outside"),
        (lambda t: {"edge_attr": t["edge_attr"][:, 0]}, "edge_attr: is no matrix"),
        (lambda t: {"edge_attr": t["edge_attr"][:-1]}, "edge_attr: has 2008 rows for 2009 edges"),
        (lambda t: {"relation_type": t["relation_type"][:-1]}, "relation_type: has 2008 rows"),
        (lambda t: {"test_mask": t["test_mask"][:-1]}, "test_mask: has 2008 rows"),
        (unlabelled, "relation_type: holds 8, there are 8 labels"),
        (overlapping, "val_mask: holds edges of another split"),
    ],
)
def test_parts_that_do_not_belong_together(change: Callable[[Tensors], Tensors], says: str) -> None:
    """Red: the check of the part left out."""
    tensors = store_tensors(STORE, DATA)
    labels = _labels(tensors, "here")
    assert _graph(STORE, DATA, dict(tensors), labels)[0].n_vertices == 260
    with pytest.raises(InputError, match=re.escape(says)):
        _graph(STORE, DATA, tensors | change(tensors), labels)


def test_labels_that_are_not_counted_from_0() -> None:
    tensors = store_tensors(STORE, DATA)
    names = tensors["relation_manager"].state["__dict__"]["label_names"]
    names[8] = names.pop(0)
    with pytest.raises(InputError, match=r"relation_manager: has no label_names 0, 1"):
        _labels(tensors, "here")


def test_an_edge_to_no_vertex_in_the_file_of_a_store(tmp_path: Path) -> None:
    """The same from the bytes of a file: a vertex of an edge becomes 2 ** 40."""
    store = Path(shutil.copytree(STORE, tmp_path / "store"))
    file = store / f"napistu_data/{DATA}.pt"
    ends = store_tensors(store, DATA)["edge_index"].numpy().tobytes()
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (name,) = [n for n, content in parts.items() if content == ends]
    parts[name] = np.int64(1 << 40).tobytes() + parts[name][8:]
    with zipfile.ZipFile(file, "w") as archive:
        for key, content in parts.items():
            archive.writestr(key, content)
    with pytest.raises(InputError, match="edge_index: names vertices outside 0..259"):
        read_store_graph(store, DATA)


def test_no_data_has_the_features_of_the_checkpoint() -> None:
    with pytest.raises(InputError, match=r"no data with 9 vertex features \(edge_prediction: 14"):
        read_store_graph(STORE, features=9)


@pytest.mark.parametrize("head", ["rotate", "mlp"])
def test_the_data_with_the_relations_of_the_head_are_read(head: str) -> None:
    """Red: the first data that have the features; the store's relations are of the second."""
    relations = checkpoint(head).head.n_relations
    graph, _ = read_store_graph(STORE, features=14, relations=relations)
    assert graph.made_from.endswith(DATA if relations else "edge_prediction")
    assert len(graph.relations) == relations


def test_other_numbers_of_relations_than_the_head_has(graph: GnnGraph) -> None:
    """Red: a head of 8 relations on a graph of 7, named or not."""
    model = checkpoint("rotate")
    fewer = replace(graph, relations=graph.relations[:-1])
    assert misfits(model, fewer)[0].startswith("other relations (")
    unnamed = {k: v for k, v in model.data.items() if k != "relation_type_labels"}
    assert misfits(replace(model, data=unnamed), graph) == []
    assert misfits(replace(model, data=unnamed), fewer) == ["8 relations expected, 7 found"]


@pytest.mark.parametrize("at", [0, (1 << 22) - 1, 1 << 22, -1])
def test_every_number_of_a_large_array_counts_for_its_digest(at: int) -> None:
    """Arrays above 16 MB are read in blocks. Red: one block alone, or its first row."""
    values = np.zeros(2 * (1 << 22) + 3, np.float32)
    first = graph_module._digest(values)
    values[at] = 1
    assert graph_module._digest(values) != first


def test_the_digest_of_blocks_is_that_of_the_whole() -> None:
    """Red: a block left out or read twice; the shape or the kind of numbers left out."""
    values = np.random.default_rng(0).random(((1 << 20) + 7, 5), np.float32)  # 21 MB
    head = f"{values.dtype.str}{values.shape}".encode()
    assert graph_module._digest(values) == hashlib.sha256(head + values.tobytes()).hexdigest()
    strided = np.asfortranarray(values)
    assert graph_module._digest(strided) == graph_module._digest(values)
    assert graph_module._digest(values.reshape(5, -1)) != graph_module._digest(values)
    assert graph_module._digest(values.view(np.int32)) != graph_module._digest(values)


def test_relations_belong_to_their_rows(graph: GnnGraph) -> None:
    """Red: relations spread over the edges in another order than the store's."""
    tensors = store_tensors(STORE, DATA)
    assert torch.equal(torch.from_numpy(np.array(graph.relation)), tensors["relation_type"])
    labels = tensors["relation_manager"].state["__dict__"]["label_names"]
    assert [labels[i] for i in range(8)] == list(graph.relations)

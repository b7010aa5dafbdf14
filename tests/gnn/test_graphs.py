"""Graphs from a store, from an Octopus directory, and as a folder of arrays."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.gnn.embeddings import embeddings
from octoscope.gnn.graph_folder import check_arrays, read_graph, write_graph
from octoscope.gnn.network_graph import HASHED, read_network_graph
from octoscope.gnn.open_graph import (
    misfits,
    not_compared,
    open_with_identifiers,
    warn_of_not_compared,
)
from octoscope.gnn.pair_table import read_pair_table
from octoscope.gnn.score_table import score_table
from octoscope.octopus.network import open_network
from safetensors.torch import save_file

from tests.gnn.conftest import STORE, checkpoint


def test_a_folder_of_arrays_is_the_graph(tmp_path: Path) -> None:
    model = checkpoint("distmult_edgeenc")
    graph, identifiers = open_with_identifiers(STORE, model)
    assert identifiers is not None
    write_graph(graph, identifiers, tmp_path / "graph")
    again = read_graph(tmp_path / "graph")
    assert again.digest == graph.digest
    assert again.relations == graph.relations
    assert misfits(model, again) == []
    np.testing.assert_array_equal(embeddings(model, again), embeddings(model, graph))
    with pytest.raises(InputError, match="exists already"):
        write_graph(graph, identifiers, tmp_path / "graph")


@pytest.mark.parametrize("name", ["x", "src", "edge_attr", "split"])
def test_a_changed_array_is_named(tmp_path: Path, name: str) -> None:
    graph, identifiers = open_with_identifiers(STORE, checkpoint("distmult_edgeenc"))
    assert identifiers is not None
    write_graph(graph, identifiers, tmp_path / "graph")
    file = tmp_path / "graph" / f"{name}.npy"
    values = np.load(file)
    values.flat[7] += 1
    np.save(file, values)
    part = {"src": "edges"}.get(name, name)
    with pytest.raises(InputError, match=f"{part}: is not what graph.json describes"):
        check_arrays(read_graph(tmp_path / "graph"))
    np.save(file, values[:-1])
    with pytest.raises(InputError, match=f"{name}.npy: is .* graph.json says"):
        read_graph(tmp_path / "graph")


def test_the_graph_of_a_directory() -> None:
    graph, _ = read_network_graph("demo")
    network = open_network("demo")
    assert graph.n_vertices == len(network.vertices)
    edges = network.edges
    assert len(graph.src) == len(edges) + int(edges.both_ways.sum())
    drawn = graph.x[:, -HASHED:]
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01
    assert len(np.unique(drawn, axis=0)) == graph.n_vertices
    shares = np.bincount(graph.split, minlength=4)[1:] / len(graph.split)
    np.testing.assert_allclose(shares, [0.70, 0.15, 0.15], atol=0.01)


def test_both_directions_of_a_pair_are_in_one_split() -> None:
    graph, _ = read_network_graph("demo")
    low, high = np.minimum(graph.src, graph.dst), np.maximum(graph.src, graph.dst)
    key = low * graph.n_vertices + high
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    assert same.any()
    assert (graph.split[order][1:] == graph.split[order][:-1])[same].all()


def test_a_cached_embedding_is_of_its_checkpoint_graph_and_edges(tmp_path: Path) -> None:
    model = checkpoint("mlp")
    graph, _ = open_with_identifiers(STORE, model)
    first = embeddings(model, graph, "all", tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    poisoned = replace(graph, x=graph.x * np.nan)  # an encoding would be refused
    kept = replace(poisoned, known=graph.digests)
    np.testing.assert_array_equal(embeddings(model, kept, "all", tmp_path), first)
    train = embeddings(model, graph, "train", tmp_path)
    other = replace(graph, x=graph.x + 1)
    changed = embeddings(model, other, "all", tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    assert not np.array_equal(first, train)
    assert not np.array_equal(first, changed)
    for file in tmp_path.glob("*.safetensors"):
        file.write_bytes(b"damaged")
    np.testing.assert_array_equal(embeddings(model, graph, "all", tmp_path), first)


def test_embeddings_that_are_not_finite_are_refused() -> None:
    model = checkpoint("mlp")
    graph, _ = open_with_identifiers(STORE, model)
    with pytest.raises(InputError, match="not finite"):
        embeddings(model, replace(graph, x=graph.x * np.nan))


def test_a_graph_without_a_split_has_no_training_edges() -> None:
    model = checkpoint("mlp")
    graph, _ = open_with_identifiers(STORE, model)
    with pytest.raises(InputError, match="has no split"):
        embeddings(model, replace(graph, split=None), "train")


@pytest.mark.parametrize("part", ["names", "edges", "edge_attr"])
def test_a_folder_that_states_no_digest_of_a_part(tmp_path: Path, part: str) -> None:
    graph, identifiers = open_with_identifiers(STORE, checkpoint("mlp"))
    assert identifiers is not None
    write_graph(graph, identifiers, tmp_path / "graph")
    file = tmp_path / "graph/graph.json"
    about = json.loads(file.read_text())
    del about["digests"][part]
    file.write_text(json.dumps(about))
    with pytest.raises(InputError, match=f"digests: has no {part}"):
        read_graph(tmp_path / "graph")


@pytest.mark.parametrize("path", ["/nonexistent", "."])
def test_a_place_without_a_graph(path: str) -> None:
    with pytest.raises(InputError, match=r"does not exist|holds no graph.json"):
        open_with_identifiers(path)


def test_damaged_edges_are_seen_beside_a_warm_cache(tmp_path: Path) -> None:
    model = checkpoint("mlp")
    graph, identifiers = open_with_identifiers(STORE, model)
    assert identifiers is not None
    folder = tmp_path / "graph"
    write_graph(graph, identifiers, folder)
    embeddings(model, read_graph(folder), "all", tmp_path / "cache")
    table = tmp_path / "pairs.csv"
    table.write_text("src,dst\n1,2\n")
    values = np.load(folder / "dst.npy")
    np.save(folder / "dst.npy", values[::-1])
    damaged = read_graph(folder)
    with pytest.raises(InputError, match="edges: is not what graph.json describes"):
        score_table(model, damaged, read_pair_table(table, damaged, ()), cache=tmp_path / "cache")
    genes = pd.read_parquet(folder / "genes.parquet")
    genes.assign(vertex=genes["vertex"].to_numpy()[::-1]).to_parquet(folder / "genes.parquet")
    with pytest.raises(InputError, match="genes: is not what graph.json describes"):
        read_graph(folder)


def test_a_cache_that_cannot_be_written_costs_no_scores(tmp_path: Path) -> None:
    model = checkpoint("mlp")
    graph, _ = open_with_identifiers(STORE, model)
    (tmp_path / "file").write_text("")
    with pytest.warns(OctoscopeWarning, match="cannot be kept"):
        z = embeddings(model, graph, "all", tmp_path / "file")
    assert z.shape == (260, 32)


def test_what_a_checkpoint_does_not_say_of_its_graph() -> None:
    model = checkpoint("mlp")
    graph, _ = open_with_identifiers(STORE, model)
    assert not_compared(model, graph) == ["names", "x", "edges", "edge_attr", "split"]
    stated = replace(model, data={**model.data, "digests": graph.digests})
    assert not_compared(stated, graph) == []
    other = replace(graph, x=graph.x[::-1])
    assert misfits(model, other) == []
    assert misfits(stated, other) == ["other x (SHA-256 differs)"]


def test_a_checkpoint_that_does_not_say_its_graph_is_warned_of() -> None:
    model = checkpoint("mlp")
    graph, _ = open_with_identifiers(STORE, model)
    with pytest.warns(OctoscopeWarning, match="on which vertex names, .* it was trained"):
        warn_of_not_compared(model, graph)
    stated = replace(model, data={**model.data, "digests": graph.digests})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_not_compared(stated, graph)


def test_a_cached_file_of_other_numbers_is_made_again(tmp_path: Path) -> None:
    """Red: NaN, another shape, or other settings of the same weights taken from the cache."""
    model = checkpoint("mlp")
    graph, _ = open_with_identifiers(STORE, model)
    first = embeddings(model, graph, "all", tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    for damaged in (torch.full_like(first, torch.nan), first[:-1], first[:, :-1]):
        save_file({"z": damaged.contiguous()}, file)
        assert torch.equal(embeddings(model, graph, "all", tmp_path), first)
    summed = replace(
        model, encoder=replace(model.encoder, aggregator="add"),
        settings=model.settings | {"encoder": {"graph_conv_aggregator": "add"}},
    )  # fmt: skip
    assert not torch.equal(embeddings(summed, graph, "all", tmp_path), first)

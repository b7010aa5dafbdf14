"""Counts against brute force, files of other tools, and the commands that users type."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import igraph
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.errors import InputError
from octoscope.octopus.lookups import describe_vertices
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.network_export import export
from octoscope.octopus.network_info import source_overlap, source_table

from tests.here import here
from tests.octopus.conftest import FIXTURE, build_tree, expected, network_of


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 1)), max_size=25))
def test_sources_side_by_side_equal_sets(rows: list[tuple[int, int, int]]) -> None:
    role = "interactor"
    net = network_of(6, [(a, b, role, role, False, 0, s, 0.5) for a, b, s in rows])
    pairs = [{frozenset((a, b)) for a, b, s in rows if s == i and a != b} for i in (0, 1)]
    vertices = [{v for a, b, s in rows if s == i for v in (a, b)} for i in (0, 1)]
    table = source_table(net).set_index("source")
    assert table["pairs"].tolist() == [len(p) for p in pairs]
    assert table["private_pairs"].tolist() == [len(pairs[0] - pairs[1]), len(pairs[1] - pairs[0])]
    private = [len(vertices[0] - vertices[1]), len(vertices[1] - vertices[0])]
    assert table["private_vertices"].tolist() == private
    overlap = source_overlap(net).set_index(["source_a", "source_b"])
    both, either = len(pairs[0] & pairs[1]), len(pairs[0] | pairs[1])
    assert overlap["pairs"]["ONE", "TWO"] == overlap["pairs"]["TWO", "ONE"] == both
    overlap_row = overlap["pairs_jaccard"]["ONE", "TWO"]
    assert overlap_row == both / either if either else np.isnan(overlap_row)


def test_counts_are_the_peers(peer: Network) -> None:
    want = Counter(expected("edges")["relation_label"])
    named = {k for k in peer.meta["counts"]["by_relation"] if k in want}
    assert {"interactor -> interactor", "catalyst -> reactant"} <= named
    stated = json.loads((FIXTURE / "expected/expected.json").read_text())
    assert len(peer.index.keys) == stated["n_unique_directed_pairs"]
    inside = np.unique(peer.genes["vertex"])
    assert len(inside) == stated["n_gene_vertices"]
    n = len(inside)
    square = describe_vertices(peer, np.repeat(inside, n), np.tile(inside, n))["forward"]
    square = square.to_numpy().reshape(n, n)
    assert square.sum() == stated["background_unique_directed_pairs"]
    assert np.diagonal(square).sum() == stated["self_loops"]
    np.fill_diagonal(square, False)
    rate = square.sum() / (n * (n - 1))
    assert rate == pytest.approx(stated["background_rate_unique_over_n_n1"])


def test_graphml_opens_elsewhere_and_is_capped(peer: Network, tmp_path: Path) -> None:
    path = tmp_path / "net.graphml"
    assert export(peer, path, "graphml") == len(peer.index.keys)
    graph = nx.read_graphml(path)
    assert graph.number_of_edges() == len(peer.index.keys)
    assert igraph.Graph.Read_GraphML(str(path)).ecount() == len(peer.index.keys)
    some = next(iter(graph.edges(data=True)))[2]
    assert set(some["sources"].split(";")) <= set(peer.sources)
    with pytest.raises(InputError, match="1,897 edges are more than 10"):
        export(peer, tmp_path / "too.graphml", "graphml", 10)
    assert [p.name for p in tmp_path.iterdir()] == ["net.graphml"]
    with pytest.raises(InputError, match="exists already"):
        export(peer, path, "graphml")
    with pytest.raises(InputError, match="'sif'"):
        export(peer, tmp_path / "x", "sif")


def test_vertices_of_one_gene_stay_apart_and_an_empty_network_is_no_crash(tmp_path: Path) -> None:
    role = "interactor"
    rows = [(0, 1, role, role, False, 0, 0, 0.5)]
    net = network_of(2, rows, [("g", 0), ("g", 1)])
    export(net, tmp_path / "n.graphml", "graphml")
    graph = nx.read_graphml(tmp_path / "n.graphml")
    assert sorted(graph.nodes) == ["v0", "v1"]
    assert {d["genes"] for _, d in graph.nodes(data=True)} == {"g"}
    empty = network_of(0, [])
    assert len(source_table(empty)) == 2
    for kind in ("parquet", "graphml", "decoupler", "omnipath"):
        assert export(empty, tmp_path / f"empty.{kind}", kind) == 0
    with pytest.raises(InputError, match="is no folder"):
        export(net, tmp_path / "no" / "x.tsv", "omnipath")


def test_exports_invent_no_sign(tmp_path: Path) -> None:
    rows = [
        (0, 1, "stimulator", "modified", True, 1, 0, 0.5),
        (0, 2, "stimulator", "modified", True, 1, 0, 0.5),
        (0, 2, "inhibitor", "modified", True, -1, 1, 0.5),
        (2, 1, "interactor", "interactor", False, 0, 1, 0.5),
        (1, 2, "interactor", "interactor", False, 0, 0, 0.5),
    ]
    net = network_of(3, rows)
    assert export(net, tmp_path / "d.tsv", "decoupler") == 1
    assert (tmp_path / "d.tsv").read_text() == "source\ttarget\tweight\ng0\tg1\t1\n"
    export(net, tmp_path / "o.tsv", "omnipath")
    table = pd.read_csv(tmp_path / "o.tsv", sep="\t").set_index(["source", "target"])
    assert len(table) == 3  # the undirected pair of two sources is one row
    assert table.loc[("g0", "g2"), ["is_stimulation", "is_inhibition"]].tolist() == [True, True]
    assert table.loc[("g1", "g2"), ["is_stimulation", "is_inhibition"]].tolist() == [False, False]
    assert table.loc[("g1", "g2"), "sources"] == "ONE;TWO"
    export(net, tmp_path / "p.parquet", "parquet")
    assert len(pd.read_parquet(tmp_path / "p.parquet")) == 5


@pytest.mark.slow
@pytest.mark.filterwarnings("default::octoscope.errors.OctoscopeWarning")
def test_the_commands_from_files_to_answers(raw: Path, tmp_path: Path) -> None:
    tree = build_tree(raw, "corrected")
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(tree))
    net = tmp_path / "octopus"
    completed = here("octopus", "build", str(tmp_path / "build.yaml"), str(net))
    assert completed.returncode == 0, completed.stderr
    assert "corrected, OmniPath" in completed.stdout
    assert "337 statements in the peer, 200 here" in completed.stdout.replace("\n", " ")
    info = here("octopus", "info", str(net), "--check", "--json")
    stated = json.loads(info.stdout)
    assert stated["vertices"] == 260
    assert {s["source"] for s in stated["sources"]} == set(open_network(net).sources)
    alone = json.loads(here("octopus", "info", str(net), "--source", "TRRUST", "--json").stdout)
    assert alone["connected pairs (unordered)"] == 153
    pairs = FIXTURE / "expected/query_gene_pairs.parquet"
    target = tmp_path / "answers.parquet"
    lookup = here(
        "octopus", "lookup", str(net), str(pairs), str(target),
        "--columns", "from_gene,to_gene", "--distance", "2",
    )  # fmt: skip
    assert lookup.returncode == 0, lookup.stderr
    answers = pd.read_parquet(target)
    assert len(answers) == 261
    assert answers["mapped"].sum() == 235
    assert set(answers["distance"].dropna()) <= {0, 1, 2}
    assert answers["distance"].isna().any()
    edge = answers["forward"] | answers["reverse"]
    assert (answers["distance"][edge & ~answers["same_vertex"]] == 1).all()
    genes = tmp_path / "genes.txt"
    genes.write_text("\n".join(answers["from_gene"].unique()))
    listed = here("octopus", "genes", str(net), str(genes), str(tmp_path / "genes.parquet"))
    assert listed.returncode == 0, listed.stderr
    assert "in the network" in listed.stdout
    written = here(
        "octopus", "export", str(net), str(tmp_path / "x.tsv"), "--format", "decoupler",
        "--independent",
    )  # fmt: skip
    assert written.returncode == 0, written.stderr
    wrong = here("octopus", "info", str(net), "--source", "KEGG")
    assert wrong.returncode == 2
    assert "'KEGG' is not in this network" in wrong.stderr
    (net / "edges.parquet").write_bytes((net / "edges.parquet").read_bytes()[:-10])
    damaged = here("octopus", "info", str(net), "--check")
    assert damaged.returncode == 2
    assert "edges.parquet: content does not match" in damaged.stderr


@pytest.mark.slow
def test_importing_from_the_command_line(tmp_path: Path) -> None:
    bundle = FIXTURE / "bundle" / "human_consensus_no_rxns.tar.gz"
    completed = here("octopus", "import", str(bundle), str(tmp_path / "net"), "--mode", "peer")
    assert completed.returncode == 0, completed.stderr
    assert "260 vertices, 1,536 statements, 78 genes" in completed.stdout
    again = here("octopus", "import", str(bundle), str(tmp_path / "net"))
    assert again.returncode == 2
    assert "exists already" in again.stderr
    odd = here("octopus", "import", str(bundle), str(tmp_path / "b"), "--mode", "wrong")
    assert odd.returncode == 2

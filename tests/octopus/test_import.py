"""What Napistu wrote, reproduced exactly; its defects repaired; nothing executed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import pickletools
import shutil
import sys
import tarfile
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.octopus.gene_vertices import map_genes
from octoscope.octopus.lookups import describe_genes, describe_vertices
from octoscope.octopus.napistu.import_network import import_napistu
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.network_schema import ROLES, SBO

from tests.octopus.conftest import BUNDLE, FIXTURE, expected
from tests.octopus.graph import graph_edges

_ROLES = np.array(ROLES)


def graph_of(network: Network) -> Counter[tuple[str, str, str, str]]:
    g, names = graph_edges(network.edges), network.vertices["name"].to_numpy()
    return Counter(
        zip(names[g["src"]], names[g["dst"]], _ROLES[g["role_src"]], _ROLES[g["role_dst"]],
            strict=True)
    )  # fmt: skip


def peer_graph(name: str = "edges") -> Counter[tuple[str, str, str, str]]:
    e = expected(name)
    roles = [e[f"sbo_term_{end}stream"].map(SBO) for end in ("up", "down")]
    return Counter(zip(e["from"], e["to"], *roles, strict=True))


def test_the_bundle_gives_the_peers_graph(peer: Network) -> None:
    assert graph_of(peer) == peer_graph()
    e = expected("edges")
    names = pd.read_parquet(peer.folder / "reactions.parquet")["name"].to_numpy()  # type: ignore
    g = graph_edges(peer.edges)
    assert Counter(names[g["reaction"]]) == Counter(e["r_id"])
    assert len(g) == json.loads((FIXTURE / "expected/expected.json").read_text())["n_edges"]


def test_the_bundle_gives_the_peers_vertices(peer: Network) -> None:
    v, want = peer.vertices, expected("vertices")
    for ours, theirs in (
        ("name", "name"), ("label", "node_name"), ("node_type", "node_type"),
        ("species_type", "species_type"), ("species", "s_id"), ("compartment", "c_id"),
    ):  # fmt: skip
        assert v[ours].tolist() == want[theirs].tolist(), ours


def test_the_bundle_gives_the_peers_gene_map(peer: Network) -> None:
    want = expected("gene_to_vertex")
    names = peer.vertices["name"].to_numpy()[peer.genes["vertex"]]
    assert set(zip(peer.genes["gene"], names, strict=True)) == set(
        zip(want["ensembl_gene"], want["name"], strict=True)
    )
    assert set(peer.genes["how"]) == {
        "ensembl_gene BQB_IS_ENCODED_BY",
        "ensembl_gene BQB_IS",  # as IntAct refers to some proteins
    }


def test_the_bundle_answers_has_edges_as_the_peer(peer: Network) -> None:
    want, stated = (
        expected("has_edges"),
        json.loads((FIXTURE / "expected/expected.json").read_text()),
    )
    described = describe_genes(peer, want["from_gene"].to_numpy(), want["to_gene"].to_numpy())
    assert described["mapped"].all()
    assert described["forward"].tolist() == want["has_edges"].tolist()
    assert described["reverse"].tolist() == want["has_edges_reversed"].tolist()
    assert described["forward"].mean() == pytest.approx(stated["observed_rate_mapped"])
    every = expected("query_gene_pairs")
    of_every = describe_genes(peer, every["from_gene"].to_numpy(), every["to_gene"].to_numpy())
    assert of_every["mapped"].sum() == stated["n_mapped"]
    pairs = expected("has_edges_vertex_pairs")
    a, b = pairs["src"].to_numpy(), pairs["dst"].to_numpy()
    assert (a == b).sum() == 5  # self pairs are asked as well
    assert describe_vertices(peer, a, b)["forward"].tolist() == pairs["has_edges"].tolist()


def test_a_store_gives_the_same_graph_and_answers(imported: dict[str, Path], peer: Network) -> None:
    store = open_network(imported["store peer"])
    assert graph_of(store) == peer_graph()
    assert store.genes[["gene", "vertex"]].equals(peer.genes[["gene", "vertex"]])
    want = expected("vertices")
    assert store.vertices["species_type"].tolist() == want["species_type"].tolist()
    assert store.vertices["name"].tolist() == want["name"].tolist()
    assert (store.vertices["label"] != store.vertices["name"]).mean() > 0.9
    by_source = store.meta["counts"]["by_source"]
    sources = peer.meta["counts"]["by_source"]
    assert {s: by_source[s] for s in ("STRING", "IntAct", "Reactome-FI")} == {
        s: sources[s] for s in ("STRING", "IntAct", "Reactome-FI")
    }
    assert by_source["Napistu"] > 0  # what a store cannot tell is not given a source


def test_compartments_stay_and_a_gene_may_have_several_vertices(imported: dict[str, Path]) -> None:
    net = open_network(imported["compartments peer"])
    assert graph_of(net) == peer_graph("compartmentalized_edges")
    ids = pd.read_parquet(imported["compartments peer"] / "identifiers.parquet")
    for ontology in ("uniprot", "chebi"):
        want = expected(f"compartmentalized_{ontology}_to_vertex")
        mine = map_genes(ids, ontology)
        names = net.vertices["name"].to_numpy()[mine["vertex"]]
        assert set(zip(mine["gene"], names, strict=True)) == set(
            zip(want[ontology], want["name"], strict=True)
        )


def test_older_layout_with_reaction_vertices(imported: dict[str, Path]) -> None:
    net = open_network(imported["reactions peer"])
    assert (net.vertices["node_type"] == "reaction").sum() == 762
    assert net.meta["counts"]["by_source"] == {"Napistu": 2251}
    assert len(net.index.keys) == 2745  # one edge per ordered pair there
    assert any("no sbml_dfs.pkl" in n for n in net.meta["notes"])


def test_corrected_removes_exactly_the_rows_that_omnipath_never_had(
    imported: dict[str, Path], raw: Path
) -> None:
    net = open_network(imported["bundle corrected"])
    table = pd.read_csv(raw / "omnipath/omnipath_interactions.tsv", sep="\t")
    ids = pd.read_parquet(imported["bundle corrected"] / "identifiers.parquet")
    of = ids[(ids["ontology"] == "uniprot") & (ids["bqb"] == "BQB_IS")].set_index("identifier")
    code = net.sources.index("OmniPath")
    e = net.edges
    actor = np.isin(_ROLES[e.role_src], ["modifier", "stimulator", "inhibitor"])
    mine = (e.source == code) & actor
    stated = set(zip(e.src[mine].tolist(), e.dst[mine].tolist(), strict=True))
    signed = table["consensus_stimulation"] | table["consensus_inhibition"]
    directed = table[table["consensus_direction"] | signed]
    true = set(zip(of["vertex"][directed["source"]], of["vertex"][directed["target"]], strict=True))
    assert stated == true
    fixed = {c["source"]: c for c in net.meta["corrections"]}
    assert (fixed["OmniPath"]["peer"], fixed["OmniPath"]["corrected"]) == (333, 200)


def test_corrected_makes_undirected_pairs_valid_both_ways(imported: dict[str, Path]) -> None:
    before, after = (open_network(imported[f"bundle {m}"]) for m in ("peer", "corrected"))
    for net, one_way in ((before, 57), (after, 0)):
        e = net.edges
        pair = (_ROLES[e.role_src] == "interactor") & (_ROLES[e.role_dst] == "interactor")
        a, b = e.src[pair], e.dst[pair]
        described = describe_vertices(net, a, b)
        assert (described["forward"] != described["reverse"]).sum() == one_way
    assert {c["peer"] for c in after.meta["corrections"]} == {333, 57}


class Poison:
    """Runs a command when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.flag}",)


def poisoned(tmp_path: Path, member: str) -> tuple[Path, Path, str]:
    flag, bundle = tmp_path / "ran", tmp_path / "bundle.tar.gz"
    body = pickle.dumps(Poison(flag))
    with tarfile.open(BUNDLE) as source, tarfile.open(bundle, "w:gz") as target:
        for item in source:
            data = source.extractfile(item).read()  # type: ignore[union-attr]
            name = Path(item.name).name
            data = body if name == member else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))
    return bundle, flag, hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("member", ["napistu_graph.pkl", "sbml_dfs.pkl"])
def test_a_poisoned_pickle_is_named_and_not_run(tmp_path: Path, member: str) -> None:
    bundle, flag, digest = poisoned(tmp_path, member)
    with pytest.raises(InputError, match=rf"{member}.*names (posix|nt)\.system.*not.*executed"):
        import_napistu(bundle, tmp_path / "out")
    with pytest.raises(InputError, match="system"):  # the digest of another file opens nothing
        import_napistu(bundle, tmp_path / "out", trust=digest[::-1])
    assert not flag.exists()
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="not a pickled"):  # trusted: it runs, and is no network
        import_napistu(bundle, tmp_path / "out", trust=digest)
    assert flag.exists()


def test_a_poisoned_tensor_file_is_named_and_not_run(tmp_path: Path) -> None:
    import torch

    store, flag = tmp_path / "store", tmp_path / "ran"
    shutil.copytree(FIXTURE / "store", store)
    torch.save({"x": Poison(flag)}, store / "napistu_data" / "edge_prediction.pt")
    with pytest.raises(InputError, match=r"edge_prediction\.pt.*system"):
        import_napistu(store, tmp_path / "out")
    assert not flag.exists()


def repacked(tmp_path: Path, change: dict[str, Any]) -> Path:
    """The bundle with some members pickled anew."""
    bundle = tmp_path / "changed.tar.gz"
    with tarfile.open(BUNDLE) as source, tarfile.open(bundle, "w:gz") as target:
        for item in source:
            name = Path(item.name).name
            data = change.get(name) or source.extractfile(item).read()  # type: ignore[union-attr]
            info = tarfile.TarInfo(name)
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))
    return bundle


@pytest.mark.parametrize("name", ["../../PWNED", "a/b", "x" * 300, "<script>"])
def test_names_of_sources_never_become_paths(tmp_path: Path, name: str) -> None:
    with tarfile.open(BUNDLE) as archive:
        model = archive.extractfile("./sbml_dfs.pkl").read()  # type: ignore[union-attr]
    assert model.count(b"\x8c\x08OmniPath") >= 1
    text = name.encode()
    kind = (
        b"\x8c" + bytes([len(text)]) if len(text) < 256 else b"X" + len(text).to_bytes(4, "little")
    )
    # without frames, which would have to be measured anew
    plain = pickletools.optimize(model)
    changed = unframed(plain).replace(b"\x8c\x08OmniPath", kind + text)
    bundle = repacked(tmp_path, {"sbml_dfs.pkl": changed})
    with pytest.raises(InputError, match="a source is called"):
        import_napistu(bundle, tmp_path / "deep" / "out")
    assert {p.name for p in tmp_path.rglob("*")} <= {"changed.tar.gz", "deep"}


def unframed(data: bytes) -> bytes:
    """Return a pickle without FRAME opcodes."""
    out, at = bytearray(), 0
    for op, _, position in pickletools.genops(data):
        if op.name == "FRAME" and position is not None:
            out += data[at:position]
            at = position + 9
    return bytes(out + data[at:])


class NapistuGraph:
    """Pickles as igraph's subclass does, under the peer's name."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        return NapistuGraph, self.parts, {}


NapistuGraph.__module__ = "napistu.network.ng_core"


@pytest.fixture
def peers_module(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("napistu", "napistu.network", "napistu.network.ng_core"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(
        sys.modules["napistu.network.ng_core"], "NapistuGraph", NapistuGraph, raising=False
    )


@pytest.mark.usefixtures("peers_module")
def test_edge_attributes_of_older_bundles(tmp_path: Path) -> None:
    vertices = {
        "name": ["a", "b", "R1", "c"],
        "node_type": ["species", "species", "reaction", "species"],
    }
    edges = {
        "from": ["a", "a", "R1"], "to": ["b", "R1", "c"],
        "sbo_term": ["SBO:0000336", "SBO:0000010", "SBO:0000011"],
        "stoichiometry": [0.0, -1.0, 1.0], "upstream_weight": [1, 1, 1],
        "r_id": ["R0", "R1", "R1"],
    }  # fmt: skip
    graph = NapistuGraph(4, [(0, 1), (0, 2), (2, 3)], True, {}, vertices, edges)
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "napistu_graph.pkl").write_bytes(pickle.dumps(graph))
    with pytest.warns(OctoscopeWarning, match="no vertex has an Ensembl gene id"):
        import_napistu(folder, tmp_path / "net", "peer")
    e = open_network(tmp_path / "net").edges
    assert [(ROLES[a], ROLES[b]) for a, b in zip(e.role_src, e.role_dst, strict=True)] == [
        ("interactor", "interactor"), ("reactant", "unknown"), ("unknown", "product"),
    ]  # fmt: skip


@pytest.mark.usefixtures("peers_module")
def test_sources_told_by_attributes_that_the_peer_mounts_on_edges(tmp_path: Path) -> None:
    edges = {
        "sbo_term_upstream": ["SBO:0000336"] * 3, "sbo_term_downstream": ["SBO:0000336"] * 3,
        "r_id": ["R0", "R1", "R2"], "r_isreversible": [True] * 3,
        "STRING_combined_score": [900, None, None], "IntAct_miscore": [None, 0.5, None],
    }  # fmt: skip
    graph = NapistuGraph(3, [(0, 1), (1, 2), (0, 2)], True, {}, {"name": ["a", "b", "c"]}, edges)
    folder = tmp_path / "graph"
    folder.mkdir()
    (folder / "napistu_graph.pkl").write_bytes(pickle.dumps(graph))
    with pytest.warns(OctoscopeWarning, match="no vertex has an Ensembl gene id"):
        meta = import_napistu(folder, tmp_path / "net", "peer")
    assert meta["counts"]["by_source"] == {"IntAct": 1, "Napistu": 1, "STRING": 1}
    table = pd.read_parquet(tmp_path / "net/edges.parquet").set_index("source")
    assert table["score"]["STRING"] == pytest.approx(0.9)
    assert table["score"]["IntAct"] == pytest.approx(0.5)
    assert np.isnan(table["score"]["Napistu"])


@pytest.mark.parametrize(
    "graph", [b"\x80\x04N.", pickle.dumps([1, 2]), pickle.dumps({"a": 1}), b"", b"\x80\x04"]
)
def test_other_pickles_are_no_network(tmp_path: Path, graph: bytes) -> None:
    bundle = repacked(tmp_path, {"napistu_graph.pkl": graph or b" "})
    with pytest.raises(InputError, match="napistu_graph|changed"):
        import_napistu(bundle, tmp_path / "out")


def test_a_bundle_cut_in_its_last_bytes_is_damaged(tmp_path: Path) -> None:
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(BUNDLE.read_bytes()[:-4])
    with pytest.raises(InputError, match="cut"):
        import_napistu(cut, tmp_path / "out")


def test_damage_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(BUNDLE.read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"cut\.tar\.gz"):
        import_napistu(cut, tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        import_napistu(tmp_path / "nothing", tmp_path / "out")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no napistu_graph"):
        import_napistu(empty, tmp_path / "out")
    store = tmp_path / "store"
    shutil.copytree(FIXTURE / "store", store)
    (store / "pandas_dfs/name_to_sid_map.parquet").unlink()
    with pytest.raises(InputError, match="name_to_sid_map"):
        import_napistu(store, tmp_path / "out")
    names = {"cut.tar.gz", "empty", "store"}
    assert {p.name for p in tmp_path.iterdir()} == names
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already"):
        import_napistu(BUNDLE, tmp_path / "out")

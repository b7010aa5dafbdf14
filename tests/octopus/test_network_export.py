"""What other tools find in an exported network, and every table read back."""

from __future__ import annotations

import warnings
from pathlib import Path

import igraph
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.octopus import build
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.network_export import export
from octoscope.octopus.pairs import STATED
from octoscope.octopus.sources.annotation_files import read_annotation
from octoscope.octopus.sources.edge_list import read_edge_list
from octoscope.octopus.sources.omnipath import read_omnipath
from octoscope.octopus.sources.record import SourceRecord

from tests.here import here
from tests.octopus.conftest import Row, build_from, network_of
from tests.octopus.test_edge_layouts import GENES, E, G, S

Table = set[tuple[str, str, bool, int]]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("exported")
    GENES.to_csv(folder / "ids.tsv", sep="\t", index=False)
    (folder / "net.tsv").write_text(
        "source\ttarget\tsign\tdirected\tscore\tpmid\n"
        f"{E[0]}\t{E[1]}\t1\ttrue\t0.5\t1;2\n{E[1]}\t{E[2]}\t-1\ttrue\t\t3\n"
        f"{E[3]}\t{E[4]}\t\tfalse\t0.25\t\n{E[4]}\t{E[5]}\t\ttrue\t\t\n"
    )
    tree = {
        "annotation": {"path": str(folder / "ids.tsv")},
        "sources": {"edge_lists": [
            {"name": "mine", "path": str(folder / "net.tsv"), "ids": "ncbi_entrez_gene"}]},
    }  # fmt: skip
    return open_network(build_from(tree, folder, loud=True))


def test_decoupler_has_symbols(net: Network, tmp_path: Path) -> None:
    """Red: source and target were Ensembl ids, which no net of decoupler has."""
    export(net, tmp_path / "d.tsv", "decoupler")
    rows = pd.read_csv(tmp_path / "d.tsv", sep="\t")
    assert set(rows.itertuples(index=False, name=None)) == {(S[0], S[1], 1), (S[1], S[2], -1)}
    export(net, tmp_path / "e.csv", "decoupler", names="ensembl")
    rows = pd.read_csv(tmp_path / "e.csv")
    assert set(rows["source"]) == {G[0], G[1]}
    with pytest.raises(InputError, match="write symbol or ensembl"):
        export(net, tmp_path / "f.tsv", "decoupler", names="entrez")


def test_graphml_tells_symbol_order_sign_and_relation(net: Network, tmp_path: Path) -> None:
    """Red: no symbol, no order, no relation; igraph had no names of vertices."""
    export(net, tmp_path / "n.graphml", "graphml")
    graph = igraph.Graph.Read_GraphML(str(tmp_path / "n.graphml"))
    assert set(graph.vs["name"]) == set(S[:6])
    assert set(graph.vs["genes"]) == set(G[:6])
    edges = {
        (graph.vs[e.source]["name"], graph.vs[e.target]["name"]):
        (bool(e["directed"]), int(e["sign"]), e["relation"], e["sources"])
        for e in graph.es
    }  # fmt: skip
    pair = (False, 0, "interactor -> interactor", "mine")
    assert edges == {
        (S[0], S[1]): (True, 1, "stimulator -> modified", "mine"),
        (S[1], S[2]): (True, -1, "inhibitor -> modified", "mine"),
        (S[3], S[4]): pair, (S[4], S[3]): pair,
        (S[4], S[5]): (True, 0, "modifier -> modified", "mine"),
    }  # fmt: skip
    other = nx.read_graphml(tmp_path / "n.graphml")
    assert {d["symbol"] for _, d in other.nodes(data=True)} == set(S[:6])
    with pytest.raises(InputError, match=r"name the file \.graphml"):
        export(net, tmp_path / "n.tsv", "graphml")


def test_a_symbol_of_two_vertices_names_none(tmp_path: Path) -> None:
    role = ("stimulator", "modified", True, 1, 0, 0.5)
    genes = [("ENSG00000141510", 0), ("ENSG00000141510", 1), ("ENSG00000012048", 2)]
    export(network_of(3, [(0, 2, *role), (1, 2, *role)], genes), tmp_path / "d.tsv", "decoupler")
    rows = pd.read_csv(tmp_path / "d.tsv", sep="\t")
    assert set(rows.itertuples(index=False, name=None)) == {("ENSG00000141510", "BRCA1", 1)}


@pytest.mark.parametrize("ending", [".tsv", ".txt", ".csv", ".parquet", ".tsv.gz", ".csv.gz", ""])
@pytest.mark.parametrize("kind", ["parquet", "decoupler", "omnipath"])
def test_the_ending_says_what_is_written(
    net: Network, kind: str, ending: str, tmp_path: Path
) -> None:
    """Red: ``.tsv`` held Parquet, ``.csv`` and ``.parquet`` held tabs."""
    path = tmp_path / f"net{ending}"
    rows = export(net, path, kind)
    if ending == ".parquet" or (ending == "" and kind == "parquet"):
        table = pd.read_parquet(path)
    else:
        table = pd.read_csv(path, sep="," if ".csv" in ending else "\t",
                            compression="gzip" if ".gz" in ending else None)  # fmt: skip
    assert len(table) == rows > 0
    assert {"source", "target"} <= set(table.columns)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_answers_and_genes_are_what_their_names_say(net: Network, tmp_path: Path) -> None:
    """Red: ``answers.tsv`` held Parquet."""
    (tmp_path / "pairs.csv").write_text(f"query,key\n{G[0]},{G[1]}\n")
    (tmp_path / "genes.txt").write_text("\n".join(G[:2]))
    folder = str(net.folder)
    for command, table in (("lookup", "pairs.csv"), ("genes", "genes.txt")):
        for ending, separator in ((".tsv", "\t"), (".csv", ",")):
            target = tmp_path / f"{command}{ending}"
            done = here("octopus", command, folder, str(tmp_path / table), str(target))
            assert done.returncode == 0, done.stderr
            assert len(pd.read_csv(target, sep=separator)) == 2 - (command == "lookup")
        odd = here("octopus", command, folder, str(tmp_path / table), str(tmp_path / "x.xlsx"))
        assert odd.returncode == 2
        assert "name it .parquet, .tsv, .txt, .csv" in odd.stderr
        assert not (tmp_path / "x.xlsx").exists()


def stated(record: SourceRecord) -> Table:
    p = record.pairs
    assert p is not None
    ids = record.identifiers.drop_duplicates("species").set_index("species")["identifier"]
    out = set()
    for a, b, sign, both in zip(p.a, p.b, p.sign, p.reversible, strict=True):
        x, y = ids[a], ids[b]
        x, y = (min(x, y), max(x, y)) if both else (x, y)
        out.add((x, y, not both, int(sign)))
    return out


def asserted(net: Network) -> Table:
    e = net.edges
    out = set()
    for a, b, sign, directed in zip(e.src, e.dst, e.sign, e.directed, strict=True):
        x, y = G[a], G[b]
        x, y = (x, y) if directed else (min(x, y), max(x, y))
        out.add((x, y, bool(directed), int(sign)))
    return out


KINDS = [("stimulator", "modified", True, 1), ("inhibitor", "modified", True, -1),
         ("modifier", "modified", True, 0), ("interactor", "interactor", False, 0)]  # fmt: skip
ROWS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(KINDS), st.integers(0, 1),
              st.sampled_from([0.25, 0.5, float("nan")])).filter(lambda r: r[0] != r[1]),
    min_size=1, max_size=20,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(ROWS, st.sampled_from([".tsv", ".csv", ".parquet", ".tsv.gz"]))
def test_every_table_comes_back_through_every_reader(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, tuple[str, str, bool, int],
                                                               int, float]], ending: str,
) -> None:  # fmt: skip
    """Red: of our own exports only some forms could be read, and the order was lost."""
    folder = tmp_path_factory.mktemp("round")
    listed: list[Row] = [(a, b, *k, s, x) for a, b, k, s, x in rows]
    net = network_of(10, listed, [(g, i) for i, g in enumerate(G)])
    truth = asserted(net)
    paths = {k: folder / f"{k}{ending}" for k in ("parquet", "omnipath", "decoupler")}
    for kind, path in paths.items():
        export(net, path, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OctoscopeWarning)
        back = read_edge_list(paths["parquet"], "x", "ensembl_gene", None, "1")
    assert stated(back) == truth
    # an OmniPath row joins what is said of an ordered pair: both signs make a modifier
    of_pair: dict[tuple[str, str, bool], set[int]] = {}
    for x, y, directed, sign in truth:
        of_pair.setdefault((x, y, directed), set()).add(sign)
    joined = {(*k, sign_of(s)) for k, s in of_pair.items()}
    assert stated(read_edge_list(paths["omnipath"], "x", "ensembl_gene", None, "1")) == joined
    assert stated(read_omnipath(paths["omnipath"], None, "1", "corrected")) == joined
    signed = {r for r in joined if r[2] and r[3]}
    back = read_edge_list(paths["decoupler"], "x", "ensembl_gene", None, "1")
    assert stated(back) == signed
    assert (net.index.order & STATED).any() == any(d for _, _, d, _ in truth)


@pytest.mark.filterwarnings("ignore:.*columns that are not read:octoscope.errors.OctoscopeWarning")
@settings(max_examples=25, deadline=None)
@given(ROWS)
def test_graphml_comes_back_through_networkx(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, int, tuple[str, str, bool, int], int, float]],
) -> None:
    folder = tmp_path_factory.mktemp("round")
    listed: list[Row] = [(a, b, *k, s, x) for a, b, k, s, x in rows]
    net = network_of(10, listed, [(g, i) for i, g in enumerate(G)])
    of_pair: dict[tuple[str, str], list[tuple[bool, int]]] = {}
    for x, y, directed, sign in asserted(net):
        for pair in [(x, y)] if directed else [(x, y), (y, x)]:
            of_pair.setdefault(pair, []).append((directed, sign))
    expected = {
        pair: (any(d for d, _ in statements), sign_of({s for _, s in statements}))
        for pair, statements in of_pair.items()
    }
    export(net, folder / "n.graphml", "graphml")
    graph = nx.read_graphml(folder / "n.graphml")
    graph = nx.relabel_nodes(graph, dict(graph.nodes(data="genes")))
    assert {(a, b): (d["directed"], d["sign"]) for a, b, d in graph.edges(data=True)} == expected
    # and through our own reader, as its refusal of GraphML says
    nx.to_pandas_edgelist(graph).to_csv(folder / "n.csv", index=False)
    back = read_edge_list(folder / "n.csv", "x", "ensembl_gene", None, "1")
    assert stated(back) == {
        (*(pair if directed else sorted(pair)), directed, sign)
        for pair, (directed, sign) in expected.items()
    }


def sign_of(signs: set[int]) -> int:
    """Return the sign that several statements leave: none if both are stated."""
    return 0 if {1, -1} <= signs else next(iter(signs - {0}), 0)


# Kind of export -> the test that reads it back.
WRITERS = {
    "parquet": test_every_table_comes_back_through_every_reader,
    "decoupler": test_every_table_comes_back_through_every_reader,
    "omnipath": test_every_table_comes_back_through_every_reader,
    "graphml": test_graphml_comes_back_through_networkx,
}
# Reader of a source -> the test that compares what it reads with an independent reader's.
READERS = {
    "read_annotation": "test_annotation_files.py: every_form_names_the_same_genes",
    "read_edge_list": "test_network_export.py: every_table_comes_back_through_every_reader",
    "read_intact": "test_sources.py: pairs_equal_the_peers",
    "read_omnipath": "test_network_export.py: every_table_comes_back_through_every_reader",
    "read_reactome": "test_sources.py: reactome_equals_the_peers_row_by_row",
    "read_reactome_fi": "test_reactome_fi.py: files_without_scores",
    "read_recon3d": "test_build.py: recon3d_and_bioconductor_annotation",
    "read_string": "test_string_files.py: links_of_every_kind",
    "read_trrust": "test_trrust.py: every_form_of_the_file",
}


def test_every_export_and_every_reader_has_its_test(net: Network, tmp_path: Path) -> None:
    """Red: a kind of export or a reader of a source is added, and no test reads with it."""
    with pytest.raises(InputError) as refused:
        export(net, tmp_path / "x", "another")
    assert refused.value.fix.removeprefix("choose of ").split(", ") == list(WRITERS)
    readers = {name for name in vars(build) if name.startswith("read_")} - {"read_sources"}
    assert readers == set(READERS)
    for reader in READERS.values():
        file, _, name = reader.partition(": ")
        assert f"def test_{name}(" in (Path(__file__).parent / file).read_text(), reader


def test_symbols_come_back_with_the_annotation(net: Network, tmp_path: Path) -> None:
    GENES.to_csv(tmp_path / "ids.tsv", sep="\t", index=False)
    export(net, tmp_path / "d.tsv", "decoupler")
    annotation = read_annotation(tmp_path / "ids.tsv")
    record = read_edge_list(tmp_path / "d.tsv", "x", None, annotation, "1")
    assert record.counts.kept == 2
    assert record.pairs is not None
    assert sorted(record.pairs.sign.tolist()) == [-1, 1]
    assert np.isnan(record.pairs.score).all()


def test_two_genes_of_one_symbol_keep_it(tmp_path: Path) -> None:
    """GENCODE has such symbols. Red: `ensembl_gene:…`, which no other tool knows."""
    (tmp_path / "e.tsv").write_text("source\ttarget\tsign\nGA\tGB\t1\nGC\tGA\t-1\n")
    (tmp_path / "ids.tsv").write_text(
        "ensembl_gene\tsymbol\n"
        + "".join(f"ENSG0000099900{i}\t{s}\n" for i, s in enumerate(("GA", "GA", "GB", "GC")))
    )
    mine = {"name": "mine", "path": str(tmp_path / "e.tsv"), "ids": "symbol"}
    tree = {"annotation": {"path": str(tmp_path / "ids.tsv")}, "sources": {"edge_lists": [mine]}}
    net = open_network(build_from(tree, tmp_path / "net", loud=True))
    export(net, tmp_path / "d.csv", "decoupler")
    rows = pd.read_csv(tmp_path / "d.csv")[["source", "target", "weight"]]
    assert sorted(rows.itertuples(index=False, name=None)) == [("GA", "GB", 1), ("GC", "GA", -1)]

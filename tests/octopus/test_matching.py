"""Builds in which nothing or hardly anything meets, and look-ups by every name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.octopus.lookups import annotate
from octoscope.octopus.name_lookup import require_known, with_names
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.nulls import gene_table
from octoscope.octopus.reading_notes import reading_notes

from tests.here import here
from tests.octopus.conftest import build_from
from tests.octopus.test_string_aliases import ENSP, PAIRS, V12, aliases, both, links

N = 8
TABLE = pd.DataFrame(
    {
        "symbol": [f"GNX{i}" for i in range(N)],
        "ensembl_gene": [f"ENSG00000990{i:03d}" for i in range(N)],
        "ensembl_protein": [e.removeprefix("9606.") for e in ENSP],
        "uniprot": [f"Q9ZA{i:02d}" for i in range(N)],
        "ncbi_entrez_gene": [str(990000 + i) for i in range(N)],
    }
)


def tree(folder: Path, annotation: bool = True, **sources: Any) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    out: dict[str, Any] = {"sources": sources}
    if annotation:
        TABLE.to_csv(folder / "ids.tsv", sep="\t", index=False)
        out["annotation"] = {"path": str(folder / "ids.tsv")}
    return out


def string(folder: Path) -> dict[str, str]:
    return {"links": str(links(folder / "links.txt", both(PAIRS))),
            "aliases": str(aliases(folder / "aliases.txt", V12))}  # fmt: skip


def edge_list(path: Path, columns: str, rows: list[tuple[str, ...]], ids: str) -> dict[str, Any]:
    path.write_text("\n".join(["\t".join(columns.split()), *("\t".join(r) for r in rows)]) + "\n")
    return {"name": "mine", "path": str(path), "ids": ids}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("whole")
    return open_network(build_from(tree(folder, STRING=string(folder)), folder, loud=True))


def test_string_v12_and_omnipath_meet(tmp_path: Path) -> None:
    """Red: 0 of 10 OmniPath edges could be asked by gene, and exit code 0."""
    rows = [f"Q9ZA{i:02d}\tQ9ZA{(i + 1) % N:02d}\tTrue\tTrue\tFalse" for i in range(N)]
    path = tmp_path / "op.tsv"
    path.write_text(
        "\n".join(["source\ttarget\tis_directed\tis_stimulation\tis_inhibition", *rows])
    )
    config = tree(tmp_path, False, STRING=string(tmp_path), OmniPath={"path": str(path)})
    net = open_network(build_from(config, tmp_path, loud=True))
    raw = pd.read_csv(path, sep="\t")[["source", "target"]]
    gene = dict(zip(TABLE["uniprot"], TABLE["ensembl_gene"], strict=True))
    annotated = annotate(raw.map(gene.__getitem__), net, "source", "target")
    assert annotated["sources"].astype(str).tolist() == ["OmniPath;STRING"] * N
    assert annotated["sign"].tolist() == [1] * N


def test_symbols_without_annotation_stop(tmp_path: Path) -> None:
    """Red: networks without a gene were built with exit code 0."""
    path = tmp_path / "trrust.tsv"
    path.write_text("GNX0\tGNX1\tActivation\t1\n")
    with pytest.raises(InputError, match=r"trrust\.tsv: none of the 2 names.*'GNX0'.*annotation:"):
        build_from(tree(tmp_path, False, TRRUST={"path": str(path)}), tmp_path / "a")
    fi = tmp_path / "fi.txt"
    fi.write_text("Gene1\tGene2\tAnnotation\tDirection\tScore\nGNX0\tGNX1\tx\t->\t1\n")
    # also beside a source that has genes
    config = tree(tmp_path, False, STRING=string(tmp_path), **{"Reactome-FI": {"path": str(fi)}})
    with pytest.raises(InputError, match=r"fi\.txt: none of the 2 names of Reactome-FI"):
        build_from(config, tmp_path / "b")
    assert not (tmp_path / "a/octopus").exists()
    assert not (tmp_path / "b/octopus").exists()


def test_ids_that_lead_to_no_gene_stop(tmp_path: Path) -> None:
    mine = edge_list(tmp_path / "e.tsv", "source target sign", [("Q9ZA00", "Q9ZA01", "1")],
                     "uniprot")  # fmt: skip
    with pytest.raises(InputError, match=r"none of the 2 vertices is an Ensembl gene.*uniprot \(2"):
        build_from(tree(tmp_path, False, edge_lists=[mine]), tmp_path / "a")
    config = tree(tmp_path, True, edge_lists=[mine])
    assert len(open_network(build_from(config, tmp_path / "b", loud=True)).genes) == 2
    wrong = edge_list(tmp_path / "w.tsv", "source target sign", [("GNX0", "GNX1", "1")], "uniprot")
    with pytest.raises(
        InputError, match="none of its 2 ids is a known uniprot.*set ids: symbol for mine"
    ):
        build_from(tree(tmp_path, True, edge_lists=[wrong]), tmp_path / "c")


def test_ids_of_hgnc_are_named(tmp_path: Path) -> None:
    """Red: "set ids to their ontology", which is none that can be set."""
    rows = [("HGNC:11998", "HGNC:6973", "1")]
    mine = edge_list(tmp_path / "e.tsv", "source target sign", rows, "symbol")
    with pytest.raises(InputError, match="ids of HGNC are not read: give symbols or Ensembl ids"):
        build_from(tree(tmp_path, edge_lists=[mine]), tmp_path / "a")


def test_pairs_without_a_publication_say_what_to_give(tmp_path: Path) -> None:
    """Red: "check that it is that source's file", for a PSI-MI TAB file that is."""
    of_human = ["-"] * 7 + ["taxid:9606(human)"] * 2 + ["-"] * 4
    row = "\t".join(
        [f"uniprotkb:{TABLE['uniprot'][0]}", f"uniprotkb:{TABLE['uniprot'][1]}", *of_human]
    )
    (tmp_path / "pairs.mitab").write_text(row + "\n")
    mine = {"name": "mine", "path": str(tmp_path / "pairs.mitab")}
    with pytest.raises(InputError, match="1 no publication.*scores count publications: .*column 9"):
        build_from(tree(tmp_path, edge_lists=[mine]), tmp_path / "a")


def test_another_organism_stops(tmp_path: Path) -> None:
    mice = [("ENSMUSG00000000001", "ENSMUSG00000000002", "1")]
    mine = edge_list(tmp_path / "e.tsv", "source target sign", mice, "ensembl_gene")
    with pytest.raises(InputError, match="knows 0 of 2 ensembl_gene of mine.*ENSMUSG00000000001"):
        build_from(tree(tmp_path, True, edge_lists=[mine]), tmp_path / "a")
    few = [("ENSG00000990000", f"ENSG000005500{i:02d}", "1") for i in range(20)]
    mine = edge_list(tmp_path / "e.tsv", "source target sign", few, "ensembl_gene")
    with pytest.warns(OctoscopeWarning, match="knows 1 of 21 ensembl_gene of mine"):
        build_from(tree(tmp_path, True, edge_lists=[mine]), tmp_path / "b", loud=True)


def test_columns_of_the_annotation_that_are_not_read_are_named(tmp_path: Path) -> None:
    mine = edge_list(tmp_path / "e.tsv", "source target sign", [("GNX0", "GNX1", "1")], "symbol")
    config = tree(tmp_path, True, edge_lists=[mine])
    TABLE.assign(locus="x", hgnc_id="y").to_csv(tmp_path / "ids.tsv", sep="\t", index=False)
    net = open_network(build_from(config, tmp_path, loud=True))
    assert reading_notes(net.meta) == [
        "annotation: 8 read = 8 kept + 0 merged + 0 dropped",
        "annotation: columns that are not read: locus, hgnc_id",
        "mine: 1 read = 1 kept + 0 merged + 0 dropped; 1 statements",
        "Dogma: 8 read = 8 kept + 0 merged + 0 dropped",
    ]


@pytest.mark.parametrize("columns", [("ensembl_gene", "ncbi_entrez_gene"), ("ensembl_gene",)])
def test_an_annotation_without_proteins_gives_genes(
    tmp_path: Path, columns: tuple[str, ...]
) -> None:
    """Red: symbols become Entrez ids, to which no Ensembl gene is joined."""
    rows = [(f"GNX{i}", f"GNX{i + 1}", "1") for i in range(N - 1)]
    config = tree(tmp_path, edge_lists=[edge_list(tmp_path / "e.tsv", "source target sign", rows,
                                                  "symbol")])  # fmt: skip
    TABLE[["symbol", *columns]].to_csv(tmp_path / "ids.tsv", sep="\t", index=False)
    net = open_network(build_from(config, tmp_path / "out", loud=True))
    assert sorted(net.genes["gene"]) == TABLE["ensembl_gene"].tolist()
    genes = TABLE.set_index("symbol")["ensembl_gene"]
    pairs = pd.DataFrame([(genes[a], genes[b]) for a, b, _ in rows], columns=["query", "key"])
    assert annotate(pairs, net, "query", "key")["sign"].eq(1).all()


def test_a_gene_without_a_protein_is_a_gene_beside_those_with_one(tmp_path: Path) -> None:
    """As a long non-coding RNA is. Red: left out, as in the peer, so its edges are of no gene."""
    table = TABLE.assign(uniprot=["", *TABLE["uniprot"][1:]], ensembl_protein="")
    rows = [("GNX1", "GNX0", "1"), ("GNX2", "GNX3", "1")]
    mine = edge_list(tmp_path / "e.tsv", "source target sign", rows, "symbol")
    for mode, known in (("corrected", True), ("peer", False)):
        config = tree(tmp_path, edge_lists=[mine]) | {"mode": mode}
        table.to_csv(tmp_path / "ids.tsv", sep="\t", index=False)
        net = open_network(build_from(config, tmp_path / mode, loud=True))
        assert ("ENSG00000990000" in set(net.genes["gene"])) == known


def test_a_source_without_genes_beside_one_with_genes_warns(tmp_path: Path) -> None:
    mine = edge_list(tmp_path / "e.tsv", "source target sign", [("77", "78", "1")],
                     "ncbi_entrez_gene")  # fmt: skip
    config = tree(tmp_path, False, STRING=string(tmp_path), edge_lists=[mine])
    with pytest.warns(OctoscopeWarning, match="0 of 2 proteins and genes of mine"):
        build_from(config, tmp_path, loud=True)


KINDS = [("symbol", ""), ("uniprot", ""), ("uniprot", "-2"), ("ncbi_entrez_gene", ""),
         ("ncbi_entrez_gene", ".0"), ("ensembl_protein", ".3"), ("ensembl_gene", ".7")]  # fmt: skip


@pytest.mark.parametrize(("kind", "tail"), KINDS)
def test_every_name_answers_like_the_gene(kind: str, tail: str, net: Network) -> None:
    """Red: symbols, UniProt and Entrez ids answered "0", exit code 0."""
    i, j = np.divmod(np.arange(N * N), N)
    gene = TABLE["ensembl_gene"].to_numpy()
    want = annotate(pd.DataFrame({"query": gene[i], "key": gene[j]}), net, "query", "key")
    assert want["mapped"].all()
    # read independently: the pairs of the links file
    linked = {(a, b) for a, b, _ in both(PAIRS)}
    assert want["forward"].tolist() == [(a, b) in linked for a, b in zip(i, j, strict=True)]
    names = TABLE[kind].to_numpy() + tail
    pairs = pd.DataFrame({"query": names[i], "key": names[j]})
    named, counts = with_names(net, pairs["query"])
    assert counts[kind] == N
    assert counts.get("", 0) == 0
    got = annotate(pairs, named, "query", "key", distance=2)
    for column in want.columns.drop(["query", "key"]):
        assert got[column].astype(str).tolist() == want[column].astype(str).tolist(), column
    assert gene_table(named, names)["degree"].tolist() == gene_table(net, gene)["degree"].tolist()


def test_names_of_vertices_and_strings_proteins(net: Network) -> None:
    names = [ENSP[3], net.vertices["name"][2], None, float("nan"), 990001, "nobody"]
    named, counts = with_names(net, names)
    # the name of a vertex is its ontology and id
    assert counts == {"ensembl_gene": 0, "ensembl_protein": 1, "ncbi_entrez_gene": 2, "": 1}
    assert named.vertex_of(["nobody", "990001"])[0] == -1


def test_symbols_of_strings_own_aliases_without_an_annotation(tmp_path: Path) -> None:
    net = open_network(build_from(tree(tmp_path, False, STRING=string(tmp_path)), tmp_path))
    named, counts = with_names(net, TABLE["symbol"])
    assert counts["symbol"] == N
    assert (named.vertex_of(TABLE["symbol"].to_numpy())
            == net.vertex_of(TABLE["ensembl_gene"].to_numpy())).all()  # fmt: skip


def test_nothing_known_stops_and_hardly_anything_warns(net: Network) -> None:
    with pytest.raises(InputError, match=r"p\.tsv: .*knows 0 of 3 names, such as 'x0'.*ENSG"):
        require_known("p.tsv", net, with_names(net, ["x0", "x1", "x2"])[1], "x0")
    _, counts = with_names(net, ["GNX1", *(f"x{i}" for i in range(20))])
    with pytest.warns(OctoscopeWarning, match="knows 1 of 21 names"):
        text = require_known("p.tsv", net, counts, "GNX1")
    assert text == "1 of 21 names known: 1 as symbol"


@pytest.mark.filterwarnings("default::octoscope.errors.OctoscopeWarning")
def test_the_commands_stop_and_name_what_they_read(tmp_path: Path) -> None:
    mine = edge_list(tmp_path / "e.tsv", "source target weight note",
                     [("GNX0", "GNX1", "-1", "a"), ("GNX2", "GNX3", "0", "b")],
                     "symbol")  # fmt: skip
    config = tmp_path / "build.yaml"
    config.write_text(yaml.safe_dump(tree(tmp_path, True, edge_lists=[mine])))
    out = str(tmp_path / "octopus")
    built = here("octopus", "build", str(config), out)
    assert built.returncode == 0, built.stderr
    assert "not read: note" in built.stderr.replace("\n", " ")
    completed = here("octopus", "info", out).stdout.replace("\n", " ")
    assert "1 noted: row whose direction is assumed" in completed
    assert "columns that are not read: note" in completed
    assert reading_notes(open_network(out).meta)
    genes = tmp_path / "genes.txt"
    genes.write_text("GNX0\n990001\n")
    genes_run = here("octopus", "genes", out, str(genes), str(tmp_path / "g.parquet"))
    assert genes_run.returncode == 0, genes_run.stderr
    assert pd.read_parquet(tmp_path / "g.parquet")["degree"].tolist() == [1, 1]
    pairs = tmp_path / "p.tsv"
    pairs.write_text("query\tkey\nGNX0\tQ9ZA01\n")
    genes_run = here("octopus", "lookup", out, str(pairs), str(tmp_path / "p.parquet"))
    assert genes_run.returncode == 0, genes_run.stderr
    assert "2 of 2 names known: 1 as symbol, 1 as uniprot" in genes_run.stdout.replace("\n", " ")
    stored = pd.read_parquet(tmp_path / "p.parquet")
    assert (stored["sign"][0], stored["mapped"][0]) == (-1, True)
    pairs.write_text("query\tkey\nTrp53\tMyc\n")
    genes_run = here("octopus", "lookup", out, str(pairs), str(tmp_path / "q.parquet"))
    assert genes_run.returncode == 2
    assert "0 of 2 names" in genes_run.stderr
    assert not (tmp_path / "q.parquet").exists()

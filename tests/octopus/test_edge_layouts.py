"""Edge lists of CollecTRI, DoRothEA, BioGRID, SIGNOR, HuRI, and of any columns, by one reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.octopus.build_config import load_octopus_config
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.reading_notes import reading_notes

from tests.octopus.conftest import build_from

N = 10
GENES = pd.DataFrame(
    {
        "symbol": [f"GNX{i}" for i in range(N)],
        "ensembl_gene": [f"ENSG00000990{i:03d}" for i in range(N)],
        "uniprot": [f"Q9ZA{i:02d}" for i in range(N)],
        "ncbi_entrez_gene": [str(990000 + i) for i in range(N)],
    }
)
S, G, U, E = (GENES[c].tolist() for c in GENES)
Edges = dict[tuple[int, int], tuple[int, bool]]


def built(folder: Path, text: str, name: str = "net.tsv", **settings: Any) -> Network:
    GENES.to_csv(folder / "ids.tsv", sep="\t", index=False)
    (folder / name).write_text(text)
    tree = {
        "annotation": {"path": str(folder / "ids.tsv")},
        "sources": {"edge_lists": [{"name": "mine", "path": str(folder / name), **settings}]},
    }
    return open_network(build_from(tree, folder, loud=True))


def edges(net: Network) -> Edges:
    """Gene numbers of each ordered pair -> sign, whether the order is stated."""
    gene = {int(net.vertex_of([g])[0]): i for i, g in enumerate(G)}
    e = net.edges
    return {
        (gene[a], gene[b]): (int(s), bool(d))
        for a, b, s, d in zip(e.src.tolist(), e.dst.tolist(), e.sign, e.directed, strict=True)
    }


def rows(net: Network) -> dict[str, Any]:
    counted: dict[str, Any] = net.meta["sources"]["mine"]["rows"]
    assert counted["read"] == (
        counted.get("kept", 0) + counted.get("merged", 0)
        + sum(counted.get("dropped", {}).values())
    )  # fmt: skip
    return counted


def lines(*rows: tuple[Any, ...], by: str = "\t") -> str:
    return "".join(by.join(map(str, r)) + "\n" for r in rows)


@pytest.mark.filterwarnings("ignore::octoscope.errors.OctoscopeWarning")
def test_collectri(tmp_path: Path) -> None:
    text = lines(
        ("", "source", "target", "weight", "resources", "references", "sign.decision"),
        (0, S[0], S[1], 1, "ExTRI", "CollecTRI:1;CollecTRI:2", "PMID"),
        (1, S[2], S[3], -1, "ExTRI", "CollecTRI:3", "PMID"),
        (2, "AP1", S[4], 1, "x", "y", "regulon"),
        by=",",
    )
    net = built(tmp_path, text, "CollecTRI.csv")
    assert edges(net) == {(0, 1): (1, True), (2, 3): (-1, True)}
    assert rows(net)["dropped"] == {"an end is no known symbol": 1}
    assert sorted(net.edges.refs) == [1, 2]


@pytest.mark.filterwarnings("ignore::octoscope.errors.OctoscopeWarning")
@pytest.mark.parametrize(
    "head",
    [("source", "confidence", "target", "weight"), ("tf", "confidence", "target", "mor"),
     ("Source", "Confidence", "Target", "Weight"), ("regulator", "x", "target", "sign")],
)  # fmt: skip
def test_dorothea_and_decoupler_nets(head: tuple[str, ...], tmp_path: Path) -> None:
    """Red: dorothea's own columns (tf, mor) were refused."""
    net = built(tmp_path, lines(head, (S[0], "A", S[1], 0.5), (S[2], "B", S[3], -1.0)))
    assert edges(net) == {(0, 1): (1, True), (2, 3): (-1, True)}


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
@pytest.mark.parametrize(
    ("head", "row"),
    [
        (("#node1", "node2", "node1_string_id", "combined_score"), (S[0], S[1], "9606.x", 0.7)),
        (("stringId_A", "preferredName_A", "preferredName_B", "ncbiTaxonId", "score", "nscore"),
         ("9606.x", S[0], S[1], 9606, 0.7, 0)),
        (("GeneA", "GeneB", "UniprotA", "UniprotB", "SymbolA", "pW", "pNI", "pInt"),
         (E[0], E[1], "x", "y", "z", 1e-9, 0.3, 0.7)),
    ],
    ids=["STRING's web site", "STRING's web service", "BioPlex"],
)  # fmt: skip
def test_tables_of_strings_web_and_bioplex(
    tmp_path: Path, head: tuple[str, ...], row: tuple[Any, ...]
) -> None:
    """Red: their columns had to be named."""
    net = built(tmp_path, lines(head, row))
    assert edges(net) == {(0, 1): (0, False)}
    assert net.edges.score.tolist() == pytest.approx([0.7])


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
def test_nichenet_calls_its_ends_from_and_to(tmp_path: Path) -> None:
    """Red: its column source, the database of a pair, was read as an end."""
    head = ("from", "to", "source", "database")
    net = built(tmp_path, lines(head, (S[0], S[1], "kegg", "kegg"), (S[2], S[3], "x", "y")))
    assert edges(net) == {(0, 1): (0, True), (2, 3): (0, True)}


@pytest.mark.parametrize(("column", "value"), [("weight", "-0,5"), ("score", "0,75")])
def test_a_decimal_comma_is_named(tmp_path: Path, column: str, value: str) -> None:
    """Red: "outside 0..1: give score_max", or "no sign"."""
    text = lines(("source", "target", column), (S[0], S[1], value), by=";")
    with pytest.raises(InputError, match=rf"{column}, row 2: '{value}' has a decimal comma"):
        built(tmp_path, text)


BIOGRID = (
    "#BioGRID Interaction ID", "Entrez Gene Interactor A", "Entrez Gene Interactor B",
    "Official Symbol Interactor A", "Official Symbol Interactor B", "Experimental System",
    "Experimental System Type", "Publication Source", "Organism ID Interactor A",
    "Organism ID Interactor B", "Score", "SWISS-PROT Accessions Interactor A",
)  # fmt: skip


def biogrid(a: str, b: str, kind: str, paper: str, taxa: tuple[int, int] = (9606, 9606)) -> Any:
    return (103, a, b, "x", "y", "Two-hybrid", kind, paper, *taxa, "-", "-")


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
def test_biogrid_tab3(tmp_path: Path) -> None:
    """Red: it was refused; renamed by hand its pairs became directed, each row one paper."""
    text = lines(
        BIOGRID,
        biogrid(E[0], E[1], "physical", "PUBMED:1"),
        biogrid(E[1], E[0], "physical", "PUBMED:2"),
        biogrid(E[1], E[0], "physical", "PUBMED:2"),
        biogrid(E[2], E[3], "genetic", "PUBMED:3"),
        biogrid(E[2], "10090", "physical", "PUBMED:4", (9606, 10090)),
        biogrid("-", E[5], "physical", "PUBMED:4"),
    )
    net = built(tmp_path, text, "BIOGRID-ALL.tab3.txt")
    assert edges(net) == {(0, 1): (0, False), (2, 3): (0, False)}
    assert net.edges.refs[net.edges.src == net.vertex_of([G[0]])[0]].tolist() == [2]
    assert rows(net)["dropped"] == {
        "an end of another organism than 9606": 1, "an end is no known ncbi_entrez_gene": 1
    }  # fmt: skip
    assert any("1 noted: genetic interaction" in line for line in reading_notes(net.meta))
    other = built(tmp_path / "p", text, "b.tab3.txt", keep={"Experimental System Type": [
        "physical"]}) if (tmp_path / "p").mkdir() is None else None  # fmt: skip
    assert other is not None
    assert edges(other) == {(0, 1): (0, False)}


SIGNOR = ("ENTITYA", "TYPEA", "IDA", "DATABASEA", "ENTITYB", "TYPEB", "IDB", "DATABASEB", "EFFECT",
          "MECHANISM", "TAX_ID", "PMID", "DIRECT", "SCORE")  # fmt: skip


def signor(a: str, b: str, effect: str, kind: str = "UNIPROT", taxon: int = 9606) -> Any:
    return ("x", "protein", a, kind, "y", "protein", b, "UNIPROT", effect, "phosphorylation",
            taxon, 12345, "f", 0.7)  # fmt: skip


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
def test_signor(tmp_path: Path) -> None:
    """Red: it was refused; its column DIRECT (f) says nothing of an order."""
    text = lines(
        SIGNOR,
        signor(U[0], U[1], "up-regulates quantity by expression"),
        signor(U[2], U[3] + "-2", "down-regulates activity"),
        signor(U[4], U[5], "unknown"),
        signor("CID:5793", U[6], "up-regulates", "PUBCHEM", -1),
        signor("SIGNOR-C1", U[7], "up-regulates", "SIGNOR"),
        signor(U[8], U[9], "up-regulates", taxon=10090),
    )
    net = built(tmp_path, text, "signor.tsv")
    of_genes = net.genes.groupby("vertex")["gene"].first().to_dict()
    e = net.edges
    signs = {
        (of_genes.get(a, "?"), of_genes.get(b, "?")): (int(s), bool(d))
        for a, b, s, d in zip(e.src.tolist(), e.dst.tolist(), e.sign, e.directed, strict=True)
    }
    assert signs == {
        (G[0], G[1]): (1, True), (G[2], G[3]): (-1, True), (G[4], G[5]): (0, True),
        ("?", G[6]): (1, True),
    }  # fmt: skip
    assert net.edges.score.tolist() == pytest.approx([0.7] * 4)
    assert sum(rows(net)["dropped"].values()) == 2


def signor_row(a: str, b: str, effect: str, taxon: int, score: str | None) -> tuple[Any, ...]:
    """Return a row of the web service's table: 27 fields, or 28 with a score."""
    row: list[Any] = ["x", "protein", a, "UNIPROT", "y", "protein", b, "UNIPROT", effect, "binding",
                      "", "", taxon, *[""] * 8, 12345, "t", "", "miannu", "A \"half quote",
                      f"SIGNOR-{a[-2:]}{b[-2:]}"]  # fmt: skip
    return tuple(row if score is None else [*row, score])


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
@pytest.mark.parametrize("score", [None, "0.7"], ids=["27 columns", "28 columns"])
def test_signor_without_a_line_of_names(score: str | None, tmp_path: Path) -> None:
    """Red: "no column 'source'; found x, protein, ..."."""
    text = lines(
        signor_row(U[0], U[1], "up-regulates activity", 9606, score),
        signor_row(U[2], U[3], "down-regulates", 9606, score),
        signor_row(U[4], U[5], '"form complex"', 9606, score),
        signor_row(U[6], U[7], "up-regulates", 10090, score),
    )
    net = built(tmp_path, text, "signor.tsv")
    assert edges(net) == {(0, 1): (1, True), (2, 3): (-1, True), (4, 5): (0, True)}
    assert net.edges.score.tolist() == pytest.approx([0.7 if score else np.nan] * 3, nan_ok=True)
    assert rows(net)["dropped"] == {"an end of another organism than 9606": 1}
    assert any("its columns are those of SIGNOR" in line for line in reading_notes(net.meta))


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
def test_huri_has_no_line_of_names(tmp_path: Path) -> None:
    """Red: its first pair passed for names of columns."""
    text = lines((G[0] + ".5", G[1]), (G[2], G[3]), (G[3], G[2]))
    net = built(tmp_path, text, "HuRI.tsv", ids="ensembl_gene", directed=False)
    assert edges(net) == {(0, 1): (0, False), (2, 3): (0, False)}
    assert rows(net)["merged"] == 1
    other = tmp_path / "other"
    other.mkdir()
    assert edges(built(other, text, "HuRI.tsv", directed=False)) == edges(net)


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
@pytest.mark.parametrize("form", ["names", "numbers"])
def test_columns_and_values_of_ones_own(form: str, tmp_path: Path) -> None:
    table = [("Reg", "What", "Gene", "Conf", "Paper", "Order"),
             (S[0], "UP", S[1], 900, "1;2", "one way"), (S[2], "down_x", S[3], 100, "3", "none"),
             (S[4], "?", S[5], 500, "", "one way"), (S[6], "?", S[7], 500, "", "none")]  # fmt: skip
    by_name = {"source": "reg", "target": "Gene", "sign": "What", "score": "Conf",
               "references": "Paper", "directed": "Order"}  # fmt: skip
    columns = by_name if form == "names" else {
        "source": 1, "sign": 2, "target": 3, "score": 4, "references": 5, "directed": 6
    }  # fmt: skip
    net = built(
        tmp_path, lines(*table[form == "numbers":]), columns=columns, header=form == "names",
        values={"sign": {"up": 1, "down*": -1}, "directed": {"one way": True, "none": False}},
        score_max=1000,
    )  # fmt: skip
    assert edges(net) == {
        (0, 1): (1, True), (2, 3): (-1, True), (4, 5): (0, True), (6, 7): (0, False)
    }  # fmt: skip
    assert sorted(net.edges.score.tolist()) == pytest.approx([0.1, 0.5, 0.5, 0.9])
    assert sorted(net.edges.refs.tolist()) == [0, 0, 1, 2]


def test_rows_of_one_pair_are_joined_and_contradictions_stay(tmp_path: Path) -> None:
    text = lines(
        ("source", "target", "sign", "score", "references"),
        (S[0], S[1], 1, 0.3, "1;2"), (S[0], S[1], 1, 0.9, "2;3"), (S[0], S[1], -1, "", "9"),
    )  # fmt: skip
    net = built(tmp_path, text)
    assert rows(net)["merged"] == 1
    signs = sorted(zip(net.edges.sign.tolist(), net.edges.refs.tolist(), strict=True))
    assert signs == [(-1, 1), (1, 3)]
    assert net.edges.score[net.edges.sign > 0].tolist() == pytest.approx([0.9])


@pytest.mark.parametrize(
    ("message", "text", "match"),
    [
        ({}, lines(("a", "b"), (S[0], S[1])), r"no column 'source'; found a, b.*columns: "),
        ({"columns": {"source": "Reg"}}, lines(("source", "target"), (S[0], S[1])),
         r"no column 'Reg'; found source, target.*correct columns: \{source"),
        ({"columns": {"source": 1, "target": 7}, "header": False}, lines((S[0], S[1])),
         "no column 7"),
        ({"keep": {"kind": ["x"]}}, lines(("source", "target"), (S[0], S[1])), "no column 'kind'"),
        ({"directed": True}, lines(("source", "target", "score"), (S[0], S[1], 900)),
         r"score, row 2: '900' is outside 0\.\.1.*score_max"),
        ({}, lines(("source", "Source", "target"), (S[0], S[0], S[1])), "column 'source' twice"),
        ({"directed": True}, lines(("source", "target"), (G[0], G[1])),
         "none of its 2 ids is a known symbol.*set ids: ensembl_gene for mine"),
        ({"directed": True, "ids": "ncbi_entrez_gene"}, lines(("source", "target"), (U[0], U[1])),
         "set ids: uniprot for mine"),
        ({}, lines(("source", "target", "directed"), (S[0], S[1], "perhaps")),
         r"directed, row 2: 'perhaps' is no truth value.*values: \{directed"),
        ({}, lines(("source", "target", "sign"), (S[0], S[1], "odd")),
         r"sign, row 2: 'odd' is no sign.*values: \{sign: \{'odd': …\}"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_the_setting(
    message: dict[str, Any], text: str, match: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=match):
        built(tmp_path, text, **message)


def test_a_role_that_does_not_exist_is_refused_by_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "build.yaml"
    path.write_text(yaml.safe_dump({"sources": {"edge_lists": [
        {"name": "mine", "path": "x.tsv", "columns": {"sources": "a"}}]}}))  # fmt: skip
    with pytest.raises(InputError, match="columns"):
        load_octopus_config(path)


def test_a_strength_can_be_declared_a_sign_or_a_score(tmp_path: Path) -> None:
    text = lines(("source", "target", "weight"), (S[0], S[1], 0.3), (S[2], S[3], 0.9))
    with pytest.warns(OctoscopeWarning, match=r"columns: \{sign: weight\}"):
        assert set(edges(built(tmp_path, text)).values()) == {(0, True)}
    for role in ("sign", "score"):
        folder = tmp_path / role
        folder.mkdir()
        net = built(folder, text, directed=True, columns={role: "weight"})
        assert set(edges(net).values()) == {(int(role == "sign"), True)}


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
def test_one_column_may_tell_sign_and_order(tmp_path: Path) -> None:
    text = lines(("source", "target", "arrow"), (S[0], S[1], "-->"), (S[2], S[3], "--|"),
                 (S[4], S[5], "--"))  # fmt: skip
    net = built(
        tmp_path, text, columns={"sign": "arrow", "directed": "arrow"},
        values={"sign": {"-->": 1, "--|": -1, "--": 0},
                "directed": {"-->": True, "--|": True, "--": False}},
    )  # fmt: skip
    assert edges(net) == {(0, 1): (1, True), (2, 3): (-1, True), (4, 5): (0, False)}

"""From source files to a directory: the peer's graph again, rules of merging, bad input."""

from __future__ import annotations

import gzip
import re
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError
from octoscope.octopus.directory import verify_directory
from octoscope.octopus.lookups import describe_vertices
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.network_schema import ROLES
from octoscope.octopus.reaction_edges import wire

from tests.octopus.conftest import build_from, build_tree
from tests.octopus.graph import graph_edges

_ROLES = np.array(ROLES)


def same_vertices(built: Path, imported: Path) -> np.ndarray:
    """Return [vertices of built] vertices of imported that share an identity."""
    mine, theirs = (
        pd.read_parquet(p / "identifiers.parquet").astype({"ontology": str, "bqb": str})
        for p in (built, imported)
    )
    key = ["ontology", "identifier"]
    identity = mine[mine["bqb"] != "BQB_HAS_PART"].merge(
        theirs[theirs["bqb"] != "BQB_HAS_PART"], on=key, suffixes=("", "_there")
    )
    pairs = identity.drop_duplicates(["vertex", "vertex_there"])
    count = identity.groupby(["vertex", "vertex_there"]).size().reset_index(name="shared")
    best = count.sort_values("shared").drop_duplicates("vertex", keep="last")
    assert len(pairs) >= len(best)
    return best.set_index("vertex")["vertex_there"].to_numpy()[np.argsort(best["vertex"])]


def graph(network: Network, names: np.ndarray) -> Counter[Any]:
    g = graph_edges(network.edges)
    return Counter(
        zip(names[g["src"]], names[g["dst"]], _ROLES[g["role_src"]], _ROLES[g["role_dst"]],
            strict=True)
    )  # fmt: skip


def test_peer_mode_builds_the_peers_graph_from_raw_files(
    built: dict[str, Path], imported: dict[str, Path], peer: Network
) -> None:
    ours = open_network(built["peer"])
    vertex_of = same_vertices(built["peer"], imported["bundle peer"])
    assert len(vertex_of) == len(set(vertex_of.tolist())) == len(peer.vertices) == 260
    assert graph(ours, vertex_of) == graph(peer, np.arange(260))
    assert ours.meta["counts"]["by_source"] == peer.meta["counts"]["by_source"]
    kinds = peer.vertices["species_type"].to_numpy()[vertex_of]
    assert ours.vertices["species_type"].tolist() == kinds.tolist()
    genes = ours.genes.set_index("gene")["vertex"].map(lambda v: vertex_of[v])
    assert genes.sort_index().equals(peer.genes.set_index("gene")["vertex"].sort_index())


def test_corrected_mode_builds_what_the_corrected_import_gives(
    built: dict[str, Path], imported: dict[str, Path]
) -> None:
    ours, theirs = open_network(built["corrected"]), open_network(imported["bundle corrected"])
    vertex_of = same_vertices(built["corrected"], imported["bundle corrected"])

    def pairs(net: Network, names: np.ndarray, source: str) -> set[tuple[int, int]]:
        mine = net.edges.select(net.edges.source == net.sources.index(source))
        index = net.with_edges(mine).index.keys
        return set(zip(names[index // 260].tolist(), names[index % 260].tolist(), strict=True))

    for source in ("OmniPath", "STRING", "TRRUST", "Reactome", "IntAct"):
        assert pairs(ours, vertex_of, source) == pairs(theirs, np.arange(260), source), source
    fixed = {(c["source"], c["peer"], c["corrected"]) for c in ours.meta["corrections"]}
    assert ("OmniPath", 337, 200) in fixed
    assert ("Reactome-FI", 114, 57) in fixed


def test_the_directory_says_where_everything_came_from(built: dict[str, Path]) -> None:
    net = open_network(built["peer"])
    assert verify_directory(built["peer"]) == []
    string = net.meta["sources"]["STRING"]
    assert string["release"] == "11.5"
    assert string["rows"] == {"read": 840, "kept": 420, "merged": 420,
                              "noted": string["rows"]["noted"],
                              "examples": string["rows"]["examples"]}  # fmt: skip
    assert {f["name"] for f in string["files"]} == {
        "9606.protein.links.full.v11.5.txt", "9606.protein.aliases.v11.5.txt",
    }  # fmt: skip
    assert all(len(f["sha256"]) == 64 for f in string["files"])
    table = pd.read_parquet(built["peer"] / "edges.parquet")
    first = table[table["source"] == "STRING"].iloc[0]
    links = Path(first["origin_file"]).name
    assert links == "9606.protein.links.full.v11.5.txt"
    assert table.groupby("source", observed=True)["origin"].min().min() >= 0
    assert table["release"].nunique() == 3


def test_an_assertion_leads_back_to_its_line(built: dict[str, Path], raw: Path) -> None:
    table = pd.read_parquet(built["corrected"] / "edges.parquet")
    ids = pd.read_parquet(built["corrected"] / "identifiers.parquet")
    of = ids.groupby("vertex")["identifier"].agg(set)
    links = (raw / "string/9606.protein.links.full.v11.5.txt").read_text().splitlines()
    for row in table[table["source"] == "STRING"].sample(20, random_state=0).itertuples():
        a, b, *_, score = links[row.origin - 1].split()
        ends = {a.removeprefix("9606."), b.removeprefix("9606.")}
        assert len(ends & (of[row.src] | of[row.dst])) == 2
        assert row.score == pytest.approx(int(score) / 1000)
    lines = (raw / "trrust/trrust_rawdata.human.tsv").read_text().splitlines()
    vertices = pd.read_parquet(built["corrected"] / "vertices.parquet")
    assert len(vertices) == 260
    for row in table[table["source"] == "TRRUST"].sample(20, random_state=0).itertuples():
        assert lines[row.origin - 1].count("\t") == 3


def test_two_builds_have_the_same_bytes(raw: Path, built: dict[str, Path], tmp_path: Path) -> None:
    again = build_from(build_tree(raw, "peer"), tmp_path)
    for file in sorted(built["peer"].rglob("*")):
        if file.is_file():
            assert (again / file.relative_to(built["peer"])).read_bytes() == file.read_bytes()


def test_wiring_follows_tiers() -> None:
    def edges(*members: tuple[int, str, float]) -> set[tuple[int, int, str, str]]:
        v, r, s = zip(*members, strict=True)
        cells = wire(
            np.zeros(len(v), int), np.array(v), np.array([ROLES.index(x) for x in r]), np.array(s)
        )
        return {(int(a), int(b), ROLES[p], ROLES[q]) for _, a, b, p, q in cells}

    r, p = "reactant", "product"
    assert edges((0, "stimulator", 0), (1, "catalyst", 0), (2, r, -1), (3, r, -1), (4, p, 1)) == {
        (0, 1, "stimulator", "catalyst"), (1, 2, "catalyst", r), (1, 3, "catalyst", r),
        (2, 4, r, p), (3, 4, r, p),
    }  # fmt: skip
    assert edges((1, "catalyst", 0), (4, p, 1)) == {(1, 4, "catalyst", p)}
    assert edges((0, r, -1), (1, r, -1)) == {(0, 1, r, r)}
    assert edges((0, r, -1), (1, r, -2)) == set()
    i = "interactor"
    assert edges((2, i, 0), (0, i, 0), (1, i, 0)) == {(0, 1, i, i), (0, 2, i, i), (1, 2, i, i)}
    assert edges((0, "modifier", 0), (1, "stimulator", 0)) == set()
    assert edges((0, "modifier", 0), (0, r, -1)) == {(0, 0, "modifier", r)}
    assert edges((0, "catalyst", 0)) == set()


_SBML = """<?xml version="1.0"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core"
 xmlns:fbc="http://www.sbml.org/sbml/level3/version1/fbc/version2" level="3" version="1"><model>
<fbc:listOfGeneProducts><fbc:geneProduct fbc:id="G_1591" fbc:label="G_1591" fbc:name="CYP24A1">
<annotation>{rdf_g}</annotation></fbc:geneProduct>
<fbc:geneProduct fbc:id="G_2" fbc:label="G_2"/></fbc:listOfGeneProducts>
<listOfSpecies>
<species id="M_a_c" name="A [cytosol]" compartment="c">
<annotation>{rdf_a}</annotation></species>
<species id="M_a_m" name="A [mitochondrion]" compartment="m">
<annotation>{rdf_a}</annotation></species>
<species id="M_b_c" name="B" compartment="c"/><species id="M_h2o_c" name="water" compartment="c">
<annotation>{rdf_w}</annotation></species></listOfSpecies><listOfReactions>
<reaction id="R_1" name="A to B" reversible="true"><listOfReactants>
<speciesReference species="M_a_c" stoichiometry="1"/>
<speciesReference species="M_h2o_c" stoichiometry="2"/></listOfReactants><listOfProducts>
<speciesReference species="M_b_c" stoichiometry="1"/></listOfProducts>
<fbc:geneProductAssociation><fbc:or><fbc:geneProductRef fbc:geneProduct="G_1591"/><fbc:and>
<fbc:geneProductRef fbc:geneProduct="G_2"/><fbc:geneProductRef fbc:geneProduct="G_1591"/></fbc:and>
</fbc:or></fbc:geneProductAssociation></reaction>
<reaction id="R_2" name="transport" reversible="false"><listOfReactants>
<speciesReference species="M_a_c" stoichiometry="1"/></listOfReactants><listOfProducts>
<speciesReference species="M_a_m" stoichiometry="1"/></listOfProducts></reaction>
</listOfReactions></model></sbml>"""


def _rdf(uri: str) -> str:
    return (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:bqbiol="http://biomodels.net/biology-qualifiers/"><rdf:Description><bqbiol:is>'
        f'<rdf:Bag><rdf:li rdf:resource="{uri}"/></rdf:Bag></bqbiol:is></rdf:Description></rdf:RDF>'
    )


def recon3d(folder: Path) -> Path:
    path = folder / "Recon3D.xml"
    path.write_text(
        _SBML.format(
            rdf_g=_rdf("http://identifiers.org/ncbigene/1591"),
            rdf_a=_rdf("http://identifiers.org/chebi/CHEBI:111"),
            rdf_w=_rdf("http://identifiers.org/chebi/CHEBI:15377"),
        )
    )
    return path


def org_sqlite(folder: Path) -> Path:
    path = folder / "org.Hs.eg.sqlite"
    with sqlite3.connect(path) as db:
        for table, column, value in (
            ("genes", "gene_id", "1591"), ("ensembl", "ensembl_id", "ENSG00000019186"),
            ("ensembl_trans", "trans_id", "ENST00000216862"),
            ("ensembl_prot", "prot_id", "ENSP00000216862"), ("uniprot", "uniprot_id", "Q07973"),
            ("gene_info", "symbol", "CYP24A1"),
        ):  # fmt: skip
            db.execute(f"CREATE TABLE {table} (_id INTEGER, {column} TEXT)")
            db.execute(f"INSERT INTO {table} VALUES (1, '{value}')")
    db.close()
    return path


def test_recon3d_and_bioconductor_annotation(tmp_path: Path) -> None:
    tree = {
        "annotation": {"path": str(org_sqlite(tmp_path))},
        "sources": {"Recon3D": {"path": str(recon3d(tmp_path))}},
    }
    net = open_network(build_from(tree, tmp_path / "with"))
    labels = net.vertices["label"].tolist()
    assert sorted(labels) == ["A", "B", "CYP24A1", "G_2"]  # no water, one A, no transport
    # the annotation gave the gene product of an Entrez number its Ensembl id
    assert net.genes["gene"].tolist() == ["ENSG00000019186"]
    at = {label: i for i, label in enumerate(labels)}
    e = net.edges
    edges = {
        (labels[a], labels[b], ROLES[r], ROLES[s], bool(d))
        for a, b, r, s, d in zip(e.src, e.dst, e.role_src, e.role_dst, e.directed, strict=True)
    }
    assert edges == {
        ("CYP24A1", "A", "stimulator", "reactant", True),
        ("G_2", "A", "stimulator", "reactant", True),
        ("A", "B", "reactant", "product", False),
    }
    a, b = np.array([[at["B"], at["A"]], [at["A"], at["G_2"]]]).T
    assert describe_vertices(net, a, b)["forward"].tolist() == [True, False]  # reversible, one way
    rows = net.meta["sources"]["Recon3D"]["rows"]
    assert rows["dropped"] == {"transport only: nothing is left without compartments": 1}
    kept = open_network(build_from(tree | {"cofactors": "keep"}, tmp_path / "kept"))
    assert "water" in kept.vertices["label"].tolist()


def test_a_user_list_is_one_more_source(raw: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.tsv"
    mine.write_text("source\ttarget\tsign\nFX000\tFX001\t1\n")
    tree = build_tree(raw, "corrected")
    tree["sources"]["edge_lists"] = [{"name": "mine", "path": str(mine), "release": "v1"}]
    net = open_network(build_from(tree, tmp_path))
    assert net.meta["counts"]["by_source"]["mine"] == 1
    assert net.sources.index("mine") >= 0


def test_bad_files_are_named_before_anything_is_written(raw: Path, tmp_path: Path) -> None:
    links = raw / "string/9606.protein.links.full.v11.5.txt"
    text = links.read_text()
    cases: list[tuple[str, bytes, str]] = [
        ("renamed.txt", text.replace("combined_score", "score", 1).encode(), "'combined_score'"),
        ("words.txt", text.replace(" 150\n", " many\n", 1).encode(), "combined_score|many"),
        ("cut.txt.gz", gzip.compress(text.encode())[:9000], "cut.txt.gz"),
        ("mouse.txt", text.replace("9606.", "10090.").encode(), "not of organism 9606"),
        ("binary.txt", b"\x00\xff\xfe" * 50, "line 1"),
        ("long.txt", (text + "9606.A " + "9" * (40 << 20) + " 1\n").encode(), "longer than"),
    ]
    for name, content, message in cases:
        path = tmp_path / name
        path.write_bytes(content)
        tree = build_tree(raw, "corrected")
        tree["sources"] = {"STRING": tree["sources"]["STRING"] | {"links": str(path)}}
        with pytest.raises(InputError, match=message):
            build_from(tree, tmp_path / f"{name}-out")
        assert [p.name for p in (tmp_path / f"{name}-out").iterdir()] == ["build.yaml"]
    tree["sources"]["STRING"]["links"] = str(tmp_path / "nothing.txt")
    with pytest.raises(InputError, match=r"StringFiles\.links.*does not exist"):
        build_from(tree, tmp_path / "absent")
    with pytest.raises(InputError, match=r"sources\.TRRUST\.pth"):
        build_from({"sources": {"TRRUST": {"path": "x", "pth": "x"}}}, tmp_path / "spelled")
    with pytest.raises(InputError, match="name at least one"):
        build_from({"sources": {}}, tmp_path / "none")


def test_columns_in_another_order_read_the_same(raw: Path, tmp_path: Path) -> None:
    source = raw / "omnipath/omnipath_interactions.tsv"
    table = pd.read_csv(source, sep="\t", dtype=str)
    turned = tmp_path / "turned.tsv"
    table[table.columns[::-1]].to_csv(turned, sep="\t", index=False)
    tree = build_tree(raw, "corrected")
    tree["annotation"]["as_source"] = True
    nets = []
    for i, path in enumerate((source, turned)):
        tree["sources"] = {"OmniPath": {"path": str(path)}}
        nets.append(open_network(build_from(tree, tmp_path / str(i))))
    assert (nets[0].index.keys == nets[1].index.keys).all()


def test_rows_that_cannot_be_used_cost_only_themselves(raw: Path, tmp_path: Path) -> None:
    trrust = (raw / "trrust/trrust_rawdata.human.tsv").read_text()
    path = tmp_path / "trrust.tsv"
    path.write_text(trrust + "FX000\tFX001\tMaybe\t1\nFX000\tFX002\n\tFX003\tUnknown\t2\n"
                    "FX005\tFX005\tActivation\t3\nFX006\tFX007\tActivation\t4\n"
                    "FX006\tFX007\tRepression\t4\n")  # fmt: skip
    tree = build_tree(raw, "corrected")
    tree["annotation"]["as_source"] = True
    tree["sources"] = {"TRRUST": {"path": str(path)}}
    net = open_network(build_from(tree, tmp_path))
    rows = net.meta["sources"]["TRRUST"]["rows"]
    assert rows["dropped"] == {
        "another number of fields": 1,
        "without a regulator or target": 1,
        "kind is not Activation, Repression or Unknown": 1,
    }
    assert rows["read"] == rows["kept"] + rows["merged"] + sum(rows["dropped"].values())


def test_files_of_another_organism_are_refused(raw: Path, tmp_path: Path) -> None:
    tree = build_tree(raw, "corrected")
    for source, folder, name in (
        ("OmniPath", "omnipath", "omnipath_interactions.tsv"),
        ("TRRUST", "trrust", "trrust_rawdata.human.tsv"),
        ("Reactome-FI", "reactome_fi", "FIsInGene_with_annotations.txt"),
    ):
        text = (raw / folder / name).read_text()
        strange = tmp_path / name
        # another organism's proteins and symbols have the same form
        strange.write_text(
            re.sub(r"\b([OPQ]\d)[A-Z0-9]{3}(\d)\b", r"\1ZZZ\2", text).replace("FX", "Mx")
        )
        tree["sources"] = {source: {"path": str(strange)}}
        with pytest.raises(InputError, match=f"the annotation knows [01] of .* of {source}"):
            build_from(tree, tmp_path / f"{source}-out")
    folder_of_mice = tmp_path / "mouse"
    folder_of_mice.mkdir()
    text = (raw / "reactome/reactome_tca.sbml").read_text()
    (folder_of_mice / "R-MMU-71403.sbml").write_text(text.replace("R-HSA-", "R-MMU-"))
    tree["sources"] = {"Reactome": {"sbml": str(folder_of_mice)}}
    with pytest.raises(InputError, match="organism 'MMU', expected 'HSA'"):
        build_from(tree, tmp_path / "mouse-out")


def test_a_file_of_which_nothing_can_be_used_stops_the_build(raw: Path, tmp_path: Path) -> None:
    tree = build_tree(raw, "corrected")
    for name, content, message in (
        ("empty.tsv", "", "is empty"),
        ("turned.tsv", "1\tActivation\tFX000\tFX001\n", "kind is not Activation"),
        ("short.tsv", "FX000\tFX001\n", "another number of fields"),
    ):
        path = tmp_path / name
        path.write_text(content)
        tree["sources"] = {"TRRUST": {"path": str(path)}}
        with pytest.raises(InputError, match=message):
            build_from(tree, tmp_path / f"{name}-out")
    head = (raw / "omnipath/omnipath_interactions.tsv").read_text().splitlines()[0]
    (tmp_path / "head.tsv").write_text(head + "\n")
    tree["sources"] = {"OmniPath": {"path": str(tmp_path / "head.tsv")}}
    with pytest.raises(InputError, match="nothing of OmniPath"):
        build_from(tree, tmp_path / "head-out")


def test_xml_entities_are_not_expanded(raw: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    folder = tmp_path / "sbml"
    folder.mkdir()
    good = (raw / "reactome/reactome_tca.sbml").read_text()
    (folder / "good.sbml").write_text(good)
    bomb = '<!DOCTYPE x [<!ENTITY a "' + "A" * 1000 + '">'
    bomb += "".join(f'<!ENTITY a{i} "{("&a" + str(i - 1) + ";") * 20}">' for i in range(1, 9))
    body = good.split("?>", 1)[1]
    (folder / "bomb.sbml").write_text(
        '<?xml version="1.0"?>'
        + bomb.replace("&a0;", "&a;")
        + "]>"
        + body.replace('name="cytosol"', 'name="&a8;"').replace("<notes>", "<notes>&a8;", 1)
    )
    (folder / "leak.sbml").write_text(
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY s SYSTEM "file://{secret}">]>'
        + body.replace("<notes>", "<notes>&s;", 1)
    )
    (folder / "cut.sbml").write_text(good[:50_000])
    ids = tmp_path / "ids.tsv"
    ids.write_text("ensembl_gene\tuniprot\nENSG00000100412\tQ99798\n")
    tree = {"sources": {"Reactome": {"sbml": str(folder)}}, "annotation": {"path": str(ids)}}
    net = open_network(build_from(tree, tmp_path))
    assert net.meta["sources"]["Reactome"]["rows"]["noted"]["pathway file that cannot be read"] in (
        1,
        2,
    )
    for file in (tmp_path / "octopus").rglob("*.parquet"):
        assert b"the secret" not in file.read_bytes()
    for name in ("good", "bomb", "leak"):
        (folder / f"{name}.sbml").unlink()
    with pytest.raises(InputError, match="no readable SBML"):
        build_from({"sources": {"Reactome": {"sbml": str(folder)}}}, tmp_path / "only-cut")

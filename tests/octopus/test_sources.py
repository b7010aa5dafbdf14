"""Each reader against what the peer's converter made of the same files."""

from __future__ import annotations

import gzip
import math
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError
from octoscope.octopus.network_schema import ROLES
from octoscope.octopus.sources.annotation import Annotation, read_annotation
from octoscope.octopus.sources.edge_list import read_edge_list
from octoscope.octopus.sources.intact import read_intact
from octoscope.octopus.sources.locations import without_shared_location
from octoscope.octopus.sources.miscore import category_score, publication_score, scored_terms
from octoscope.octopus.sources.omnipath import read_omnipath
from octoscope.octopus.sources.reactome import read_reactome
from octoscope.octopus.sources.reactome_fi import read_reactome_fi
from octoscope.octopus.sources.record import SourceRecord
from octoscope.octopus.sources.string import read_string
from octoscope.octopus.sources.trrust import read_trrust
from octoscope.octopus.sources.uris import parse_uri

from tests.octopus.conftest import expected


@pytest.fixture(scope="module")
def annotation(raw: Path) -> Annotation:
    return read_annotation(raw / "invented_id_map.tsv")


def read(name: str, raw: Path, annotation: Annotation, mode: Any) -> SourceRecord:
    folder = raw / "string"
    return {
        "STRING": lambda: read_string(
            folder / "9606.protein.links.full.v11.5.txt",
            folder / "9606.protein.aliases.v11.5.txt", "11.5", mode,
        ),
        "TRRUST": lambda: read_trrust(raw / "trrust/trrust_rawdata.human.tsv", annotation, "2"),
        "Reactome-FI": lambda: read_reactome_fi(
            raw / "reactome_fi/FIsInGene_with_annotations.txt", annotation, "2025", mode
        ),
        "OmniPath": lambda: read_omnipath(
            raw / "omnipath/omnipath_interactions.tsv", annotation, "web", mode
        ),
        "IntAct": lambda: read_intact(raw / "intact", "2025", mode),
    }[name]()  # fmt: skip


def statements(record: SourceRecord) -> list[tuple[Any, ...]]:
    p = record.pairs
    assert p is not None
    return [
        tuple(sorted([(record.species[a], ROLES[r]), (record.species[b], ROLES[s])]))
        for a, b, r, s in zip(p.a, p.b, p.role_a, p.role_b, strict=True)
    ]


def test_every_row_is_kept_merged_or_dropped(raw: Path, annotation: Annotation) -> None:
    for name in ("STRING", "TRRUST", "Reactome-FI", "OmniPath", "IntAct"):
        for mode in ("peer", "corrected"):
            t = read(name, raw, annotation, mode).counts
            assert t.read == t.kept + t.merged + sum(t.dropped.values()) > 0, (name, mode)
    t = read_reactome(raw / "reactome", raw / "reactome/pw_index.tsv", "73").counts
    assert t.read == t.kept + t.merged + sum(t.dropped.values()) == 111


@pytest.mark.parametrize("name", ["STRING", "TRRUST", "Reactome-FI", "OmniPath", "IntAct"])
def test_pairs_equal_the_peers(name: str, raw: Path, annotation: Annotation) -> None:
    record = read(name, raw, annotation, "peer")
    want = expected(f"source_reaction_species_{name}")
    theirs = [
        tuple(sorted(zip(g["s_name"], g["sbo_name"], strict=True)))
        for _, g in want.groupby("r_id", sort=True)
    ]
    assert Counter(statements(record)) == Counter(theirs)
    assert len(record.species) == want["s_id"].nunique()
    flags = want.drop_duplicates("r_id")["r_isreversible"]
    assert record.pairs is not None
    assert record.pairs.reversible.sum() == flags.sum()


@pytest.mark.parametrize("name", ["STRING", "Reactome-FI", "OmniPath", "IntAct"])
def test_evidence_equals_the_peers(name: str, raw: Path, annotation: Annotation) -> None:
    record = read(name, raw, annotation, "peer")
    assert record.evidence is not None
    ours = record.evidence.to_pandas()
    members = expected(f"source_reaction_species_{name}").groupby("r_id", sort=True)
    keys = {r: tuple(sorted(zip(g["s_name"], g["sbo_name"], strict=True))) for r, g in members}
    data = expected(f"source_reactions_data_{name}").set_index("r_id")
    columns = list(data.columns)
    assert set(columns) <= set(ours.columns)

    def rounded(row: Any) -> tuple[float, ...]:
        return tuple(round(float(x), 5) for x in row)

    mine = Counter(zip(statements(record), map(rounded, ours[columns].to_numpy()), strict=True))
    theirs = Counter((keys[r], rounded(row)) for r, row in zip(data.index, data.to_numpy(),
                                                               strict=True))  # fmt: skip
    assert mine == theirs


def test_reactome_equals_the_peers_row_by_row(raw: Path) -> None:
    record = read_reactome(raw / "reactome", raw / "reactome/pw_index.tsv", "73")
    x, want = record.reactions, expected("source_reaction_species_Reactome")
    assert x is not None
    ours = Counter(
        (x.name[r], record.species[s], ROLES[o], a)
        for r, s, o, a in zip(x.reaction, x.species, x.role, x.stoichiometry, strict=True)
    )
    theirs = Counter(
        zip(want["r_name"], want["s_name"], want["sbo_name"], want["stoichiometry"], strict=True)
    )
    assert ours == theirs
    assert len(x.name) == 83
    assert len(record.species) == 129
    assert record.pathways is not None
    assert record.pathways["pathway"].nunique() == 4


def test_corrected_readers_state_each_row_once(raw: Path, annotation: Annotation) -> None:
    omnipath = read("OmniPath", raw, annotation, "corrected")
    assert omnipath.pairs is not None
    assert len(omnipath.pairs) == 200
    fi = read("Reactome-FI", raw, annotation, "corrected")
    table = pd.read_csv(raw / "reactome_fi/FIsInGene_with_annotations.txt", sep="\t")
    undirected = table["Direction"] == "-"
    assert fi.pairs is not None
    assert fi.pairs.reversible.sum() == undirected.sum()
    two = table["Direction"].isin(["<->", "|-|", "|->", "<-|"]).sum()
    assert len(fi.pairs) == len(table) + two


def test_the_direction_that_the_peer_forgets(tmp_path: Path) -> None:
    path = tmp_path / "fi.txt"
    path.write_text(
        "Gene1\tGene2\tAnnotation\tDirection\tScore\nA\tB\tinhibit; activated by\t<-|\t0.9\n"
        "C\tD\tcatalyze\t->\t1.0\n"
    )
    corrected = read_reactome_fi(path, None, "x", "corrected")
    assert sorted(statements(corrected)) == [
        (("A", "inhibitor"), ("B", "modified")), (("A", "modified"), ("B", "stimulator")),
        (("C", "catalyst"), ("D", "modified")),
    ]  # fmt: skip
    peer = read_reactome_fi(path, None, "x", "peer")
    assert (("A", "modified"), ("B", "stimulator")) not in statements(peer)
    assert (("C", "stimulator"), ("D", "modified")) in statements(peer)


def test_compressed_files_and_parquet_read_the_same(
    raw: Path, annotation: Annotation, tmp_path: Path
) -> None:
    links = raw / "string/9606.protein.links.full.v11.5.txt"
    packed = tmp_path / "links.txt.gz"
    packed.write_bytes(gzip.compress(links.read_bytes()))
    aliases = raw / "string/9606.protein.aliases.v11.5.txt"
    a, b = (read_string(p, aliases, "11.5", "peer") for p in (links, packed))
    assert statements(a) == statements(b)
    archive = tmp_path / "human.zip"
    with zipfile.ZipFile(archive, "w") as z:
        for file in sorted((raw / "intact").glob("*.xml")):
            z.writestr(f"human/{file.name}", file.read_bytes())
    one, two = (read_intact(p, "x", "corrected") for p in (raw / "intact", archive))
    assert statements(one) == statements(two)
    table = pd.read_csv(raw / "omnipath/omnipath_interactions.tsv", sep="\t")
    table.to_parquet(tmp_path / "omnipath.parquet")
    read_again = read_omnipath(tmp_path / "omnipath.parquet", annotation, "x", "corrected")
    assert statements(read_again) == statements(read("OmniPath", raw, annotation, "corrected"))


def test_string_without_a_mirror(raw: Path, tmp_path: Path) -> None:
    links = (raw / "string/9606.protein.links.full.v11.5.txt").read_text().splitlines()
    path = tmp_path / "links.txt"
    path.write_text("\n".join(links[:2]) + "\n")
    aliases = raw / "string/9606.protein.aliases.v11.5.txt"
    with pytest.raises(InputError, match="1 rows have no mirrored row"):
        read_string(path, aliases, "x", "peer")
    record = read_string(path, aliases, "x", "corrected")
    assert record.counts.noted["pair whose mirrored row is missing or differs"] == 1
    assert record.pairs is not None
    assert len(record.pairs) == 1
    with pytest.raises(InputError, match="not of organism 10090"):
        read_string(path, aliases, "x", "corrected", taxon="10090")


def test_string_rows_without_a_protein_or_score(raw: Path, tmp_path: Path) -> None:
    lines = (raw / "string/9606.protein.links.full.v11.5.txt").read_text().splitlines()
    a, b, *rest = lines[1].split()
    broken = [" ".join(["", b, *rest]), " ".join([a, b, *rest[:-1], "5000"]),
              " ".join([a, b, *rest[:-1], ""])]  # fmt: skip
    path = tmp_path / "links.txt"
    path.write_text("\n".join([lines[0], *broken, "", "too few", *lines[1:]]) + "\n")
    aliases = raw / "string/9606.protein.aliases.v11.5.txt"
    record = read_string(path, aliases, "x", "peer")
    t, p = record.counts, record.pairs
    assert p is not None
    assert t.dropped == {
        "without a protein, or a score outside 0..1000": 4, "another number of fields": 1,
    }  # fmt: skip
    assert t.read == t.kept + t.merged + sum(t.dropped.values())
    assert p.a.min() >= 0
    assert len(p) == 420
    written = path.read_text().splitlines()
    for i in (0, 7, 200, 419):  # the line is that of the file, whatever was left out before it
        x, y, *_ = written[p.origin[i] - 1].split()
        assert {x, y} == {record.species[p.a[i]], record.species[p.b[i]]}


def test_a_byte_order_mark_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('"source","target","directed"\n"ENSG01","ENSG02.3",TRUE\n', "utf-8-sig")
    record = read_edge_list(path, "mine", "ensembl_gene", None, "v1")
    assert set(record.identifiers["identifier"]) == {"ENSG01", "ENSG02"}
    genes = tmp_path / "genes.tsv"
    genes.write_text("ensembl_gene\tsymbol\tuniprot\nENSG01.5\tX\tP1; P2\n", "utf-8-sig")
    table = read_annotation(genes).table
    assert set(table["identifier"]) == {"ENSG01", "X", "P1", "P2"}


def test_a_damaged_part_of_an_archive_costs_that_part(raw: Path, tmp_path: Path) -> None:
    archive = tmp_path / "human.zip"
    files = sorted((raw / "intact").glob("*.xml"))
    with zipfile.ZipFile(archive, "w") as z:
        for file in files:
            z.writestr(file.name, file.read_bytes())
    data = bytearray(archive.read_bytes())
    at = data.index(files[1].read_bytes()[5000:5020])
    data[at] ^= 1
    archive.write_bytes(bytes(data))
    record = read_intact(archive, "x", "corrected")
    t = record.counts
    assert t.noted["XML file that cannot be read to its end"] == 1
    assert t.read == t.kept + t.merged + sum(t.dropped.values())
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in files:
        (cut / file.name).write_bytes(file.read_bytes())
    (cut / files[2].name).write_bytes(files[2].read_bytes()[:-4000])
    t = read_intact(cut, "x", "corrected").counts
    assert t.dropped["in the unfinished entry of a file that breaks off"] > 0
    assert t.read == t.kept + t.merged + sum(t.dropped.values())


def test_omnipath_ids_of_every_kind(tmp_path: Path, annotation: Annotation) -> None:
    head = "source\ttarget\tis_directed\tis_stimulation\tis_inhibition\n"
    rows = [
        ("P35557", "O95336-2", 1, 1, 0),  # an isoform is its gene's
        ("MIMAT0000076", "P35557", 1, 0, 1),
        ("5793", "P35557", 1, 1, 0),
        ("COMPLEX:P35557_O95336", "P35558", 1, 0, 0),
        ("???", "P35557", 1, 1, 0),
        ("ENSG90000011002.17", "P35557", 0, 0, 0),  # malformed: one row is lost, not the file
    ]
    path = tmp_path / "omnipath.tsv"
    path.write_text(head + "".join("\t".join(map(str, r)) + "\n" for r in rows))
    record = read_omnipath(path, annotation, "x", "corrected")
    ids = record.identifiers
    assert set(ids["ontology"]) == {"uniprot", "mirbase", "pubchem", "omnipath_complex"}
    assert set(ids[ids["bqb"] == "BQB_HAS_PART"]["identifier"]) == {"P35557", "O95336"}
    assert record.counts.dropped == {"an end of no known kind": 2}
    assert record.counts.examples["an end of no known kind"] == ["???", "ENSG90000011002.17"]
    assert "O95336" in set(ids["identifier"])
    # one member interacts itself, so it is stated as part of the complex
    assert any("product" in {r for _, r in s} for s in statements(record))


def test_a_symbol_that_looks_like_an_accession(tmp_path: Path) -> None:
    genes = tmp_path / "genes.tsv"
    genes.write_text("ensembl_gene\tsymbol\nENSG00000244165\tP2RY11\nENSG00000169313\tP2RY12\n")
    table = tmp_path / "omnipath.tsv"
    table.write_text(
        "source\ttarget\tis_directed\tis_stimulation\tis_inhibition\nP2RY11\tP2RY12\t1\t1\t0\n"
    )
    record = read_omnipath(table, read_annotation(genes), "x", "corrected")
    assert set(record.identifiers["identifier"]) == {"ENSG00000244165", "ENSG00000169313"}


def test_intact_reads_each_interaction_own_facts(tmp_path: Path) -> None:
    def experiment(i: int, method: str, pubmed: int) -> str:
        return (
            f'<experimentDescription id="e{i}"><bibref><xref><primaryRef db="pubmed" '
            f'id="{pubmed}"/></xref></bibref><interactionDetectionMethod><names><fullName>{method}'
            "</fullName></names></interactionDetectionMethod></experimentDescription>"
        )

    def interactor(i: int, label: str, accession: str, taxon: str) -> str:
        return (
            f'<interactor id="{i}"><names><shortLabel>{label}</shortLabel></names><xref>'
            f'<primaryRef db="uniprotkb" id="{accession}"/></xref><organism ncbiTaxId="{taxon}"/>'
            "</interactor>"
        )

    def interaction(name: str, experiment: str, ends: list[tuple[int, str]], extra: str) -> str:
        parts = "".join(
            f"<participant><interactorRef>{i}</interactorRef><experimentalRoleList>"
            f"<experimentalRole><names><fullName>{role}</fullName></names></experimentalRole>"
            "</experimentalRoleList></participant>"
            for i, role in ends
        )
        return (
            f"<interaction><names><shortLabel>{name}</shortLabel></names><experimentList>"
            f"<experimentRef>{experiment}</experimentRef></experimentList><participantList>{parts}"
            "</participantList><interactionType><names><fullName>association</fullName></names>"
            f"</interactionType>{extra}</interaction>"
        )

    two = [(1, "bait"), (2, "prey")]
    body = (
        '<entrySet xmlns="http://psi.hupo.org/mi/mif300"><entry><experimentList>'
        + experiment(1, "fluorescence microscopy", 11)
        + experiment(2, "pull down", 22)
        + "</experimentList><interactorList>"
        + interactor(1, "aaa_human", "P11111-2", "9606")
        + interactor(2, "bbb", "P22222-PRO_0000012345", "9606")
        + interactor(3, "ccc_human", "P33333", "10090")
        + "</interactorList><interactionList>"
        + interaction("x", "e2", two, "")
        + interaction("y", "e1", two, "<negative>true</negative>")
        + interaction("z", "e1", [(1, "bait"), (3, "prey")], "")
        + "</interactionList></entry></entrySet>"
    )
    path = tmp_path / "one.xml"
    path.write_text(body)
    record = read_intact(path, "x", "corrected")
    assert sorted(record.species) == ["aaa_human", "bbb"]
    assert set(record.identifiers["identifier"]) == {"P11111", "P22222"}
    assert record.evidence is not None
    facts = record.evidence.to_pylist()
    assert len(facts) == 1
    assert facts[0]["interaction_method_biochemical"] == 1  # of its own experiment
    assert facts[0]["n_publications"] == 1
    assert record.counts.dropped == {
        "negative interaction": 1, "not one bait with some preys of the organism": 1,
    }  # fmt: skip
    peer = read_intact(path, "x", "peer")
    assert peer.pairs is not None
    assert sorted(peer.species) == ["aaa_human", "ccc_human"]  # known by the ending of its name


def test_miscore_counts_the_largest_of_equal_scores() -> None:
    counts = pd.DataFrame({"association": [1, 0], "colocalization": [1, 0], "biochemical": [0, 1]})
    # a = 0.66; the two terms of score 0.33 add one count, not two
    assert category_score(counts).tolist() == pytest.approx(
        [math.log(1.66) / math.log(2.66), math.log(2) / math.log(3)]
    )


def test_omnipath_signs_that_no_resource_gives_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "omnipath.tsv"
    flags = "is_directed is_stimulation is_inhibition consensus_direction consensus_stimulation"
    path.write_text(
        "\t".join(["source", "target", *flags.split(), "consensus_inhibition"])
        + "\nP35557\tO95336\t0\t0\t0\t0\t1\t1\nP35557\tP35558\t1\t1\t1\t1\t1\t1\n"
    )
    record = read_omnipath(path, None, "x", "corrected")
    assert [{r for _, r in s} for s in statements(record)] == [
        {"interactor"}, {"modifier", "modified"},
    ]  # fmt: skip


def test_entities_of_intact_are_not_expanded(raw: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret_human")
    text = (raw / "intact/human_00.xml").read_text().split("?>", 1)[1]
    name = text.split("<interactor ", 1)[1].split("<shortLabel>", 1)[1].split("<", 1)[0]
    path = tmp_path / "one.xml"
    path.write_text(
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY s SYSTEM "file://{secret}">]>'
        + text.replace(f"<shortLabel>{name}<", "<shortLabel>&s;<", 1)
    )
    record = read_intact(path, "x", "corrected")
    assert "secret_human" not in record.species
    assert record.counts.noted["interactor without a name or primary reference"] == 1


def test_miscore_terms_from_an_ontology(tmp_path: Path) -> None:
    obo = tmp_path / "psi-mi.obo"
    obo.write_text(
        "[Term]\nid: MI:1\nname: biochemical\n\n[Term]\nid: MI:2\nname: pull-down 2\n"
        "is_a: MI:1 ! biochemical\n\n[Term]\nid: MI:3\nname: odd\n"
    )
    terms = scored_terms(obo)
    assert terms["pull-down 2"] == "biochemical"
    assert "odd" not in terms
    assert publication_score(np.array([1, 7, 8])).tolist() == pytest.approx(
        [math.log(2) / math.log(8), 1, 1]
    )
    obo.write_text("nothing")
    with pytest.raises(InputError, match="holds no terms"):
        scored_terms(obo)


def test_proteins_that_are_never_in_one_place(raw: Path, tmp_path: Path) -> None:
    links = raw / "string/9606.protein.links.full.v11.5.txt"
    record = read_string(links, raw / "string/9606.protein.aliases.v11.5.txt", "x", "corrected")
    genes = record.identifiers[record.identifiers["ontology"] == "ensembl_gene"]
    of = genes.set_index("species")["identifier"]
    p = record.pairs
    assert p is not None
    a, b = of[int(p.a[0])], of[int(p.b[0])]
    c = of[int(p.b[1])]
    path = tmp_path / "subcellular_location.tsv"
    path.write_text(
        f"Gene\tGO id\n{a}\tNucleoplasm (GO:0005654);Cytosol (GO:0005829)\n"
        f"{b}\tGolgi apparatus (GO:0005794)\n{c}\tCytosol (GO:0005829)\n"
    )
    apart = {frozenset((int(p.a[0]), int(p.b[0])))}
    before = len(p)
    without_shared_location(record, path)
    after = record.pairs
    assert after is not None
    left = {frozenset((int(x), int(y))) for x, y in zip(after.a, after.b, strict=True)}
    assert not apart & left
    b_and_c = frozenset((int(p.b[0]), int(p.b[1])))  # Golgi and cytosol, if they are a pair at all
    stated = {frozenset((int(x), int(y))) for x, y in zip(p.a, p.b, strict=True)}
    gone = 1 + (b_and_c in stated)
    assert len(after) == before - gone == record.counts.kept
    assert record.evidence is not None
    assert record.evidence.num_rows == len(after)


def test_an_edge_list_of_ones_own(tmp_path: Path, annotation: Annotation) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        "source,target,sign,score,directed\nFX000,FX001,-1,0.5,true\nFX002,FX003,0,,false\n"
        "FX004,nobody,1,1,true\n"
    )
    record = read_edge_list(path, "mine", "symbol", annotation, "v1")
    assert statements(record) == [
        (("FX000", "inhibitor"), ("FX001", "modified")),
        (("FX002", "interactor"), ("FX003", "interactor")),
    ]
    assert record.counts.dropped == {"an end is no known symbol": 1}
    path.write_text("source,target,score\nFX000,FX001,900\n")
    with pytest.raises(InputError, match=r"mine\.csv: score.*outside 0\.\.1"):
        read_edge_list(path, "mine", "symbol", annotation, "v1")


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("https://reactome.org/content/detail/R-HSA-71403", ("reactome", "R-HSA-71403")),
        ("http://www.ebi.ac.uk/chebi/searchId.do?chebiId=CHEBI:57540", ("chebi", "57540")),
        ("https://purl.uniprot.org/uniprot/P40926", ("uniprot", "P40926")),
        ("http://identifiers.org/ncbigene/1591", ("ncbi_entrez_gene", "1591")),
        ("https://identifiers.org/CHEBI:36927", ("chebi", "36927")),
        ("https://identifiers.org/GO:0005829", ("go", "GO:0005829")),
        ("http://www.ensembl.org/Homo_sapiens/geneview?gene=ENSG00000141510.18",
         ("ensembl_gene", "ENSG00000141510")),
        ("http://www.mirbase.org/cgi-bin/mature.pl?mature_acc=MIMAT0000076",
         ("mirbase", "MIMAT0000076")),
        ("http://www.ncbi.nlm.nih.gov/pubmed/16747180", ("pubmed", "16747180")),
        ("http://identifiers.org/bigg.metabolite/atp", ("bigg_metabolite", "atp")),
        ("urn:miriam:chebi:1", None),
        ("http://[bad/x", None),
        ("http://example.org/x", None),
        ("not a url", None),
    ],
)  # fmt: skip
def test_annotation_addresses(uri: str, found: tuple[str, str] | None) -> None:
    assert parse_uri(uri) == found

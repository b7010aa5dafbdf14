"""STRING's links of every kind, and what is left out of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from octoscope.errors import InputError
from octoscope.octopus.network import open_network
from octoscope.octopus.network_views import INDEPENDENT, view
from octoscope.octopus.sources.locations import without_shared_location
from octoscope.octopus.sources.string import CHANNELS, read_string
from octoscope.octopus.string_rescore import combined_score
from octoscope.report.network_page import network_page

from tests.octopus.conftest import build_from
from tests.octopus.test_string_aliases import ACCESSION, ENSP, PAIRS, V11, V12, aliases, both


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
    pairs_after = {frozenset((int(x), int(y))) for x, y in zip(after.a, after.b, strict=True)}
    assert not apart & pairs_after
    b_and_c = frozenset((int(p.b[0]), int(p.b[1])))  # Golgi and cytosol, if they are a pair at all
    stated = {frozenset((int(x), int(y))) for x, y in zip(p.a, p.b, strict=True)}
    gone = 1 + (b_and_c in stated)
    assert len(after) == before - gone == record.counts.kept
    assert record.evidence is not None
    assert record.evidence.num_rows == len(after)


LINKS = {
    "links.full": CHANNELS,
    "links.detailed": ("neighborhood", "fusion", "cooccurence", "coexpression", "experimental",
                       "database", "textmining"),
    "links": (),
    "physical.links.full": CHANNELS[4:5] + CHANNELS[7:],
    "physical.links.detailed": ("experimental", "database", "textmining"),
    "physical.links": (),
}  # fmt: skip


def links_of(path: Path, kind: str, taxon: str = "9606.") -> Path:
    frame = pd.DataFrame(
        [[ENSP[i].replace("9606.", taxon), ENSP[j].replace("9606.", taxon),
          *[(s + 7 * c) % 900 for c in range(len(LINKS[kind]))], s] for i, j, s in both(PAIRS)],
        columns=["protein1", "protein2", *LINKS[kind], "combined_score"],
    )  # fmt: skip
    frame.to_csv(path, sep=" ", index=False)
    return path


@pytest.mark.parametrize("kind", LINKS)
def test_links_of_every_kind(kind: str, tmp_path: Path) -> None:
    """Red: anything but links.full was refused."""
    path = links_of(tmp_path / f"9606.protein.{kind}.v12.0.txt", kind)
    tree = {"sources": {"STRING": {
        "links": str(path), "aliases": str(aliases(tmp_path / "aliases.txt", V12))}}}  # fmt: skip
    net = open_network(build_from(tree, tmp_path, loud=True))
    raw = pd.read_csv(path, sep=" ")
    at = {p: int(net.vertex_of([f"ENSG00000990{i:03d}"])[0]) for i, p in enumerate(ENSP)}
    a, b = (raw[c].map(at).to_numpy() for c in ("protein1", "protein2"))
    positions = net.index.find(a, b)
    assert (positions >= 0).all()
    assert len(net.index.keys) == len(raw)
    assert net.index.score[positions] * 1000 == pytest.approx(raw["combined_score"])
    assert net.folder is not None
    evidence = pd.read_parquet(net.folder / "evidence/STRING.parquet")
    names = [{"experimental": "experiments"}.get(c, c) for c in LINKS[kind]]
    assert sorted(evidence) == sorted([*names, "combined_score"])
    first = raw[raw["protein1"] < raw["protein2"]]
    for name, column in zip(names, LINKS[kind], strict=True):
        assert sorted(evidence[name]) == sorted(first[column])
    if "homology" in names:
        assert len(view(net, INDEPENDENT).edges) <= len(net.edges)
    else:
        with pytest.raises(InputError, match=r"build from links\.full"):
            view(net, INDEPENDENT)
    assert network_page(net)


def test_the_physical_network_is_rescored_by_what_it_has(tmp_path: Path) -> None:
    path = links_of(tmp_path / "links.txt", "physical.links.full")
    channels = pd.read_csv(path, sep=" ")
    absent = [c for c in CHANNELS if c not in channels]
    filled = combined_score(channels.assign(**dict.fromkeys(absent, 0)))
    assert combined_score(channels) == pytest.approx(filled)


def test_other_organisms(tmp_path: Path) -> None:
    links, names = links_of(tmp_path / "10090.txt", "links.full", "10090."), tmp_path / "a.txt"
    tree = {"sources": {"STRING": {"links": str(links), "aliases": str(
        aliases(names, V12, "10090."))}}}  # fmt: skip
    with pytest.raises(InputError, match="or set taxon: 10090 in the build configuration"):
        build_from(tree, tmp_path / "human")
    empty = links_of(tmp_path / "empty.txt", "links", "")
    with pytest.raises(InputError, match="'ENSP00000990000' has no taxon in front"):
        read_string(empty, names, "x", "corrected")
    net = open_network(build_from(tree | {"taxon": 10090}, tmp_path / "mouse", loud=True))
    assert len(net.pair_keys) == len(PAIRS)
    for name, taxon, message in (
        (
            "Recon3D",
            10090,
            r"taxon 10090: Recon3D is published for human \(9606\) only; leave it out",
        ),
        ("Reactome-FI", 10090, r"taxon 10090: Reactome-FI is published for human"),
        ("TRRUST", 7955, r"taxon 7955: TRRUST is published for human \(9606\) and mouse \(10090\)"),
    ):
        other = {"sources": tree["sources"] | {name: {"path": str(links)}}, "taxon": taxon}
        with pytest.raises(InputError, match=message):
            build_from(other, tmp_path / "both")


def test_aliases_up_to_v11_0_have_several_sources_in_a_cell(tmp_path: Path) -> None:
    """Red: their heading and the joined names of sources were not known."""
    frame = pd.read_csv(aliases(tmp_path / "a.txt", V11), sep="\t")
    joined = frame.groupby(["#string_protein_id", "alias"])["source"].agg(" ".join).reset_index()
    path = tmp_path / "9606.protein.aliases.v11.0.txt"
    body = joined.to_csv(sep="\t", index=False, header=False)
    for heading in ("## string_protein_id ## alias ## source ##\n",
                    "## string_protein_id ##\t## alias ##\t## source ##\n"):  # fmt: skip
        path.write_text(heading + body)
        links = links_of(tmp_path / "links.txt", "links")
        ids = read_string(links, path, "11.0", "corrected").identifiers
        for ontology, want in (("uniprot", ACCESSION), ("ensembl_gene", None)):
            mine = ids[ids["ontology"] == ontology]
            assert len(mine) == len(ENSP)
            assert want is None or sorted(mine["identifier"]) == want


def test_aliases_up_to_v10_name_the_taxon_beside_the_protein(tmp_path: Path) -> None:
    """Red: "give links and aliases of one organism and release", which they are."""
    frame = pd.read_csv(aliases(tmp_path / "a.txt", V11), sep="\t")
    frame.insert(0, "taxon", "9606")
    frame["#string_protein_id"] = frame["#string_protein_id"].str.removeprefix("9606.")
    other = frame.assign(taxon="10090", alias="ENSMUSG1")
    body = pd.concat([frame, other]).to_csv(sep="\t", index=False, header=False)
    path = tmp_path / "protein.aliases.v9.1.txt"
    links = links_of(tmp_path / "links.txt", "links")
    for space in (" ", "\t"):
        names = ("species_ncbi_taxon_id", "protein_id", "alias", "source")
        heading = f"##{space}" + f"{space}##{space}".join(names) + f"{space}##\n"
        path.write_text(heading + body)
        ids = read_string(links, path, "9.1", "corrected").identifiers
        mine = ids[ids["ontology"] == "uniprot"]
        assert sorted(mine["identifier"]) == ACCESSION
        assert "ENSMUSG1" not in set(ids["identifier"])


def test_repeated_rows_are_merged_and_the_highest_score_counts(tmp_path: Path) -> None:
    """Red: they were counted as kept, and were no statements."""
    path = links_of(tmp_path / "links.txt", "links")
    again = [(*PAIRS[0][:2], 900), PAIRS[1], PAIRS[1]]
    with path.open("a") as file:
        file.writelines(f"{ENSP[i]} {ENSP[j]} {s}\n" for i, j, s in again)
    names = aliases(tmp_path / "aliases.txt", V12)
    record = read_string(path, names, "x", "corrected")
    t = record.counts
    assert record.pairs is not None
    assert t.kept == len(record.pairs) == len(PAIRS)
    assert t.read == t.kept + t.merged + sum(t.dropped.values())
    assert record.pairs.score.max() == pytest.approx(0.9)

"""OmniPath: ids of every kind, signs, and the table as the web service writes it."""

from __future__ import annotations

from pathlib import Path

from octoscope.octopus.sources.annotation import Annotation
from octoscope.octopus.sources.annotation_files import read_annotation
from octoscope.octopus.sources.omnipath import read_omnipath

from tests.octopus.conftest import statements


def test_omnipath_ids_of_every_kind(tmp_path: Path, annotation: Annotation) -> None:
    head = "source\ttarget\tis_directed\tis_stimulation\tis_inhibition\n"
    rows = [
        ("P35557", "O95336-2", 1, 1, 0),  # an isoform is its gene's
        ("MIMAT0000076", "P35557", 1, 0, 1),
        ("5793", "P35557", 1, 1, 0),
        ("COMPLEX:P35557_O95336", "P35558", 1, 0, 0),
        ("???", "P35557", 1, 1, 0),
        ("ENSG9000001.x", "P35557", 0, 0, 0),  # malformed: one row is lost, not the file
    ]
    path = tmp_path / "omnipath.tsv"
    path.write_text(head + "".join("\t".join(map(str, r)) + "\n" for r in rows))
    record = read_omnipath(path, annotation, "x", "corrected")
    ids = record.identifiers
    assert set(ids["ontology"]) == {"uniprot", "mirbase", "pubchem", "omnipath_complex"}
    assert set(ids[ids["bqb"] == "BQB_HAS_PART"]["identifier"]) == {"P35557", "O95336"}
    assert record.counts.dropped == {"an end of no known kind": 2}
    assert record.counts.examples["an end of no known kind"] == ["???", "ENSG9000001.x"]
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

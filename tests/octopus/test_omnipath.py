"""OmniPath: ids of every kind, signs, and the table as the web service writes it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
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


HEAD = [
    "source", "target", "source_genesymbol", "target_genesymbol", "is_directed", "is_stimulation",
    "is_inhibition", "consensus_direction", "consensus_stimulation", "consensus_inhibition",
    "sources", "references", "curation_effort", "type", "ncbi_tax_id_source", "ncbi_tax_id_target",
]  # fmt: skip


def web(path: Path, true: str, false: str, rows: list[tuple[str, str, int, int, str]]) -> Path:
    """Write the table of the web service: fields, symbols and organisms asked for."""
    lines = ["\t".join(HEAD)]
    for a, b, up, taxon, references in rows:
        flags = [true, true if up > 0 else false, true if up < 0 else false] * 2
        lines.append("\t".join([a, b, f"S{a}", f"S{b}", *flags, "SIGNOR;HPRD", references, "3",
                                "post_translational", str(taxon), str(taxon)]))  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("true", "false"),
    [("True", "False"), ("TRUE", "FALSE"), ("T", "F"), ("1", "0"), ("true", "false"),
     ("1.0", "0.0"), ("t", "f")],
)  # fmt: skip
def test_the_table_of_the_web_service(true: str, false: str, tmp_path: Path) -> None:
    """Red: ``T`` and ``F`` (readr) stopped the file; references and organisms were not read."""
    rows = [
        ("P35557", "O95336-2", 1, 9606, "HPRD:1;SIGNOR:1;SIGNOR:2"),
        (" P35558 ", "O95336", -1, 9606, ""),
        ("P35557", "P35558", 1, 10090, "HPRD:9"),
        ("5793", "P35557", 1, -1, "KEGG:3"),
    ]
    record = read_omnipath(web(tmp_path / "o.tsv", true, false, rows), None, "x", "corrected")
    assert record.counts.dropped == {"an end of another organism than 9606": 1}
    t = record.counts
    assert t.read == t.kept + t.merged + sum(t.dropped.values())
    assert not t.unread
    assert [sorted(r for _, r in s) for s in statements(record)] == [
        ["modified", "stimulator"], ["inhibitor", "modified"], ["modified", "stimulator"],
    ]  # fmt: skip
    assert record.pairs is not None
    assert record.pairs.refs.tolist() == [2, 0, 1]
    assert "SP35557" in record.species  # symbols of the table itself
    assert {"P35557", "P35558", "O95336"} <= set(record.identifiers["identifier"])
    mouse = read_omnipath(tmp_path / "o.tsv", None, "x", "corrected", taxon="10090")
    assert mouse.counts.kept == 2


def test_counts_of_references_come_before_lists(tmp_path: Path) -> None:
    path = web(tmp_path / "o.tsv", "1", "0", [("P35557", "O95336", 1, 9606, "HPRD:1")])
    frame = pd.read_csv(path, sep="\t")
    frame.assign(n_references=7, n_resources=2).to_csv(path, sep="\t", index=False)
    record = read_omnipath(path, None, "x", "corrected")
    assert record.pairs is not None
    assert record.pairs.refs.tolist() == [7]
    assert record.evidence is not None
    assert record.evidence["n_sources"].to_pylist() == [2]

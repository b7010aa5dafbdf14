"""IntAct: each interaction's own facts, damaged files, and the score."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError
from octoscope.octopus.sources.intact import read_intact
from octoscope.octopus.sources.miscore import category_score, publication_score, scored_terms


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
    evidence = record.evidence.to_pylist()
    assert len(evidence) == 1
    assert evidence[0]["interaction_method_biochemical"] == 1  # of its own experiment
    assert evidence[0]["n_publications"] == 1
    assert record.counts.dropped == {
        "negative interaction": 1, "not one bait with some preys of the organism": 1,
    }  # fmt: skip
    peer = read_intact(path, "x", "peer")
    assert peer.pairs is not None
    assert sorted(peer.species) == ["aaa_human", "ccc_human"]  # known by the ending of its name


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


def test_miscore_counts_the_largest_of_equal_scores() -> None:
    counts = pd.DataFrame({"association": [1, 0], "colocalization": [1, 0], "biochemical": [0, 1]})
    # a = 0.66; the two terms of score 0.33 add one count, not two
    assert category_score(counts).tolist() == pytest.approx(
        [math.log(1.66) / math.log(2.66), math.log(2) / math.log(3)]
    )


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

"""What a reader noted: printed, in ``info`` and on the page, with accounts that add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.octopus.identifiers import ONTOLOGIES, clean_identifier
from octoscope.octopus.network import open_network
from octoscope.octopus.network_views import network_summary
from octoscope.octopus.reading_notes import reading_notes
from octoscope.octopus.sources.annotation_files import read_annotation
from octoscope.octopus.sources.edge_list import read_edge_list
from octoscope.octopus.sources.omnipath import read_omnipath
from octoscope.octopus.sources.reactome_fi import read_reactome_fi
from octoscope.octopus.sources.record import SourceRecord
from octoscope.octopus.sources.string import read_string
from octoscope.octopus.sources.trrust import read_trrust
from octoscope.report.network_page import network_page

from tests.here import here
from tests.octopus.test_edge_layouts import GENES, S
from tests.octopus.test_string_aliases import ENSP, V12, aliases


@pytest.mark.filterwarnings("default::octoscope.errors.OctoscopeWarning")
def test_the_same_lines_everywhere(tmp_path: Path) -> None:
    """Red: the annotation's rows, examples and unread columns were in none of the three."""
    GENES.assign(locus="x").to_csv(tmp_path / "ids.tsv", sep="\t", index=False)
    (tmp_path / "t.tsv").write_text(
        f"{S[0]}\t{S[1]}\tActivation\t1\n{S[0]}\t{S[1]}\tRepression\t2\n"
        f"{S[2]}\tNOGENE\tUnknown\t3\n{S[2]}\t{S[3]}\tOdd\t3\n"
    )
    tree = {"annotation": {"path": str(tmp_path / "ids.tsv")},
            "sources": {"TRRUST": {"path": str(tmp_path / "t.tsv")}}}  # fmt: skip
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(tree))
    built = here("octopus", "build", str(tmp_path / "b.yaml"), str(tmp_path / "net"))
    assert built.returncode == 0, built.stderr
    net = open_network(tmp_path / "net")
    lines = reading_notes(net.meta)
    assert lines == [
        "annotation: 10 read = 10 kept + 0 merged + 0 dropped",
        "annotation: columns that are not read: locus",
        "TRRUST: 4 read = 2 kept + 1 merged + 1 dropped; 2 statements",
        "TRRUST: 1 dropped: kind is not Activation, Repression or Unknown (such as 'Odd')",
        "TRRUST: 1 noted: symbol without an id (a vertex of its own) (such as 'NOGENE')",
        "Dogma: 10 read = 10 kept + 0 merged + 0 dropped",
    ]
    info = here("octopus", "info", str(tmp_path / "net"))
    report = network_page(net).decode()
    body = json.loads(here("octopus", "info", str(tmp_path / "net"), "--json").stdout)
    assert body["remarks"] == lines
    assert network_summary(str(tmp_path / "net"))["notes"] == lines
    for line in lines:
        assert f"note: {line}" in built.stdout
        assert f"note: {line}" in info.stdout
        assert line.replace("'", "&#39;") in report


def test_a_view_tells_of_its_own_sources() -> None:
    meta = {"sources": {n: {"rows": {"read": 1, "kept": 1}} for n in ("A", "B")}}
    assert reading_notes(meta, ["A"]) == ["A: 1 read = 1 kept + 0 merged + 0 dropped"]
    assert reading_notes({"notes": ["imported"]}) == ["imported"]


NAMES = st.sampled_from([*GENES["symbol"][:5], "NOGENE", " GNX1 ", "", "NA"])
PROTEINS = st.sampled_from([*ENSP[:5], ""])
ACCESSIONS = st.sampled_from([*GENES["uniprot"][:4], "Q9ZA03-2", "odd", "MIMAT0000001", "",
                              "COMPLEX:Q9ZA00_Q9ZA01"])  # fmt: skip
BOOLS = st.sampled_from(["True", "F", "1", ""])


def text(head: list[str], rows: list[tuple[Any, ...]], by: str = "\t") -> str:
    lines = [head] if head else []
    return "".join(by.join(map(str, r)) + "\n" for r in [*lines, *rows])


def checked(record: SourceRecord, rows: int) -> None:
    t = record.counts
    assert t.read == rows
    assert t.read == t.kept + t.merged + sum(t.dropped.values())
    assert min(t.kept, t.merged, *t.dropped.values(), 0) == 0


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::octoscope.errors.OctoscopeWarning")
def test_the_accounts_of_every_reader_add_up(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("accounts")
    GENES.to_csv(folder / "ids.tsv", sep="\t", index=False)
    annotation = read_annotation(folder / "ids.tsv")
    path = folder / "net.txt"

    def drawn(*columns: Any) -> list[tuple[Any, ...]]:
        return data.draw(st.lists(st.tuples(*columns), min_size=1, max_size=12))

    rows = drawn(NAMES, NAMES, st.sampled_from(["Activation", "repression", "Unknown", "x"]),
                 st.sampled_from(["1", "1;2", ""]))  # fmt: skip
    path.write_text(text([], rows))
    checked(read_trrust(path, annotation, "x"), len(rows))
    rows = drawn(NAMES, NAMES, st.sampled_from(["catalyze", "predicted"]),
                 st.sampled_from(["-", "->", "<-", "|-|", "<-|", "?"]),
                 st.sampled_from(["1.0", "0.5", ""]))  # fmt: skip
    path.write_text(text(["Gene1", "Gene2", "Annotation", "Direction", "Score"], rows))
    checked(read_reactome_fi(path, annotation, "x", "corrected"), len(rows))
    rows = [*drawn(NAMES, NAMES, st.sampled_from(["1", "-1", "0", ""]), BOOLS,
                   st.sampled_from(["0.5", "", "1"])),
            ("GNX0", "GNX1", "1", "True", "0.5")]  # fmt: skip
    # a list without a known id is refused, so one pair is known
    path.write_text(text(["source", "target", "sign", "directed", "score"], rows))
    checked(read_edge_list(path, "x", None, annotation, "x"), len(rows))
    rows = drawn(ACCESSIONS, ACCESSIONS, BOOLS, BOOLS, BOOLS)
    head = ["source", "target", "is_directed", "is_stimulation", "is_inhibition"]
    path.write_text(text(head, rows))
    checked(read_omnipath(path, annotation, "x", "corrected"), len(rows))
    rows = [*drawn(PROTEINS, PROTEINS, st.sampled_from(["150", "900", "2000", ""])),
            (ENSP[0], ENSP[1], "400")]  # fmt: skip
    path.write_text(text(["protein1", "protein2", "combined_score"], rows, " "))
    names = aliases(folder / "aliases.txt", V12)
    checked(read_string(path, names, "x", "corrected"), len(rows))


FORMS: dict[str, list[Callable[[str], str]]] = {
    "uniprot": [str, lambda x: x + "-2", lambda x: x + ".3", lambda x: f" {x} ",
                lambda x: f"uniprotkb:{x}", lambda x: x + "-PRO_0000012345", lambda x: f'"{x}"',
                lambda x: x + "_PRO_0000012345", lambda x: x + "\u00a0",
                lambda x: f"sp|{x}|GNX_HUMAN"],
    "ensembl_gene": [str, lambda x: x + ".17", lambda x: f"ensembl:{x}.2", lambda x: f" {x}"],
    "ensembl_protein": [str, lambda x: x + ".1", lambda x: "9606." + x, lambda x: f"9606.{x}.2",
                        lambda x: f"ensembl:{x}"],
    "ncbi_entrez_gene": [str, lambda x: x + ".0", lambda x: f" {x} ", lambda x: f"GeneID:{x}",
                         lambda x: f"entrez gene/locuslink:{x}", lambda x: f"hsa:{x}"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("ontology", "at"), [(o, i) for o, forms in FORMS.items() for i in range(len(forms))]
)
def test_an_id_is_cleaned_alike_in_every_reader(ontology: str, at: int, tmp_path: Path) -> None:
    """Red: each reader had its own rules; some kept versions, isoforms or spaces."""
    form = FORMS[ontology][at]
    table = GENES.assign(ensembl_protein=[f"ENSP00000990{i:03d}" for i in range(len(GENES))])
    want = set(table[ontology])
    written = table.assign(**{ontology: table[ontology].map(form)})
    path = tmp_path / "net.csv"
    ends = pd.DataFrame({"source": written[ontology][:5], "target": written[ontology][5:].tolist()})
    ends.assign(sign=1).to_csv(path, index=False)
    record = read_edge_list(path, "x", ontology, None, "x")
    assert set(record.identifiers["identifier"]) == want
    written[["symbol", ontology]].to_csv(tmp_path / "ids.csv", index=False)
    known = read_annotation(tmp_path / "ids.csv").table
    assert set(known["identifier"][known["ontology"] == ontology]) == want
    if ontology == "uniprot" and form("X") not in (" X ", '"X"'):
        flags = dict.fromkeys(("is_directed", "is_stimulation", "is_inhibition"), 1)
        ends.assign(**flags).to_csv(tmp_path / "o.csv", index=False)
        identifiers = read_omnipath(tmp_path / "o.csv", None, "x", "corrected").identifiers
        assert set(identifiers["identifier"]) == want


FURTHER = {
    "ensembl_transcript": ("ENST00000269305", ["ENST00000269305.9", "ensembl:ENST00000269305"]),
    "chebi": ("15377", ["CHEBI:15377", " 15377.0"]),
    "pubchem": ("962", ["CID:962", "pubchem:962", "962.0 "]),
}


def test_every_ontology_whose_ids_have_a_form_is_here() -> None:
    """Red: an ontology is given a form, and no test writes its ids in other ones."""
    assert {*FORMS, *FURTHER} == {o for o in ONTOLOGIES if clean_identifier(o, "no id") is None}
    for ontology, (plain, forms) in FURTHER.items():
        assert {clean_identifier(ontology, f) for f in forms} == {plain}, ontology

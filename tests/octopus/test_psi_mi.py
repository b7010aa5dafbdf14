"""IntAct's other files: PSI-MI 2.5, expanded XML, packed parts, neutral components, PSI-MI TAB."""

from __future__ import annotations

import copy
import gzip
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.octopus.sources.edge_layouts import Layout
from octoscope.octopus.sources.edge_list import read_edge_list
from octoscope.octopus.sources.intact import read_intact
from octoscope.octopus.sources.mitab import CAUSAL
from octoscope.octopus.sources.record import SourceRecord

MIF = "http://psi.hupo.org/mi/mif"
NS = "{http://psi.hupo.org/mi/mif300}"


def pairs(record: SourceRecord, labels: bool = False) -> Counter[tuple[frozenset[str], float, int]]:
    """Ids (or labels) of each pair, its score and its publications."""
    p = record.pairs
    assert p is not None
    ids = record.identifiers
    names: Any = ids[ids["ontology"] != "intact"].groupby("species")["identifier"].min()
    names = record.species if labels else names
    return Counter(
        (frozenset((names[a], names[b])), round(float(s), 5), int(r))
        for a, b, s, r in zip(p.a, p.b, p.score, p.refs, strict=True)
    )


def account(record: SourceRecord) -> None:
    t = record.counts
    assert t.read == t.kept + t.merged + sum(t.dropped.values()) > 0


def copied(raw: Path, folder: Path, change: Callable[[bytes], bytes], ending: str = ".xml") -> Path:
    folder.mkdir()
    for file in sorted((raw / "intact").glob("*.xml")):
        (folder / (file.stem + ending)).write_bytes(change(file.read_bytes()))
    return folder


def expanded(content: bytes) -> bytes:
    """Put interactors and experiments into the interactions that refer to them."""
    root = etree.fromstring(content)
    for entry in root.iter(f"{NS}entry"):
        items = {"interactor": "interactor", "experiment": "experimentDescription"}
        listed = {
            kind: {x.get("id"): x for x in entry.iterfind(f"{NS}{kind}List/{NS}{item}")}
            for kind, item in items.items()
        }
        for interaction in entry.iter(f"{NS}interaction", f"{NS}abstractInteraction"):
            if interaction.find(f"{NS}experimentList") is None:  # the fixture names none
                one = etree.SubElement(interaction, f"{NS}experimentList")
                etree.SubElement(one, f"{NS}experimentRef").text = next(iter(listed["experiment"]))
        for kind in ("interactor", "experiment"):
            for reference in list(entry.iter(f"{NS}{kind}Ref")):
                element = copy.deepcopy(listed[kind][reference.text])
                reference.getparent().replace(reference, element)
            entry.remove(entry.find(f"{NS}{kind}List"))
    return bytes(etree.tostring(root))


@pytest.mark.parametrize(
    ("change", "ending"),
    [
        (lambda x: x.replace(b"mi/mif300", b"mi/mif"), ".xml"),
        (lambda x: x.replace(MIF.encode() + b"300", b"net:sf:psidev:mi"), ".xml"),
        (expanded, ".xml"),
        (lambda x: expanded(x).replace(b"mi/mif300", b"mi/mif"), ".xml"),
        (gzip.compress, ".xml.gz"),
    ],
    ids=["2.5", "2.5.3", "expanded", "expanded 2.5", "gzip"],
)
def test_every_form_of_the_xml_says_the_same(
    change: Callable[[bytes], bytes], ending: str, raw: Path, tmp_path: Path
) -> None:
    """Red: only compact XML 3.0, not packed, was read."""
    want = read_intact(raw / "intact", "x", "corrected")
    folder = copied(raw, tmp_path / "other", change, ending)
    record = read_intact(folder, "x", "corrected")
    account(record)
    assert pairs(record, labels=True) == pairs(want, labels=True)
    one = next(iter(sorted(folder.iterdir())))
    assert sum(pairs(read_intact(one, "x", "corrected")).values()) > 0


def interactor(i: int, accession: str, taxon: str = "9606") -> str:
    return (
        f'<interactor id="{i}"><names><shortLabel>n{i}_human</shortLabel></names><xref>'
        f'<primaryRef db="uniprotkb" id="{accession}"/></xref><organism ncbiTaxId="{taxon}"/>'
        "</interactor>"
    )


def interaction(i: int, ends: list[tuple[int, str]], extra: str = "") -> str:
    parts = "".join(
        f"<participant><interactorRef>{n}</interactorRef><experimentalRoleList><experimentalRole>"
        f"<names><shortLabel>{role}</shortLabel></names></experimentalRole></experimentalRoleList>"
        "</participant>"
        for n, role in ends
    )
    return (
        f"<interaction><names><shortLabel>x{i}</shortLabel></names><experimentList>"
        f"<experimentRef>1</experimentRef></experimentList><participantList>{parts}"
        "</participantList><interactionType><names><shortLabel>physical association</shortLabel>"
        f"</names></interactionType>{extra}</interaction>"
    )


def document(interactions: list[str]) -> str:
    return (
        f'<entrySet xmlns="{MIF}"><entry><experimentList><experimentDescription id="1"><bibref>'
        '<xref><primaryRef db="pubmed" id="7"/></xref></bibref><interactionDetectionMethod><names>'
        "<shortLabel>pull down</shortLabel></names></interactionDetectionMethod>"
        "</experimentDescription></experimentList><interactorList>"
        + "".join(interactor(i, f"P1111{i}") for i in range(5)) + interactor(9, "P99999", "10090")
        + "</interactorList><interactionList>" + "".join(interactions)
        + "</interactionList></entry></entrySet>"
    )  # fmt: skip


def test_two_participants_are_a_pair_whatever_their_roles(tmp_path: Path) -> None:
    """Red: pairs of neutral components, enzyme and target, … were dropped."""
    path = tmp_path / "one.xml"
    path.write_text(document([
        interaction(1, [(0, "neutral component"), (1, "neutral component")]),
        interaction(2, [(1, "enzyme"), (2, "enzyme target")]),
        interaction(3, [(2, "bait"), (3, "prey"), (4, "prey")]),
        interaction(4, [(0, "neutral component"), (1, "neutral component"),
                        (2, "neutral component")]),
        interaction(5, [(0, "neutral component"), (9, "neutral component")]),
        interaction(6, [(0, "bait"), (4, "prey")], "<negative>true</negative>"),
    ]))  # fmt: skip
    record = read_intact(path, "x", "corrected")
    account(record)
    assert {k[0] for k in pairs(record)} == {
        frozenset(x) for x in (("P11110", "P11111"), ("P11111", "P11112"), ("P11112", "P11113"),
                               ("P11112", "P11114"))
    }  # fmt: skip
    assert record.counts.dropped == {
        "not one bait with some preys of the organism": 2, "negative interaction": 1
    }  # fmt: skip
    mouse = path.read_text().replace('"9606"', '"10090"')
    path.write_text(mouse)
    assert sum(pairs(read_intact(path, "x", "corrected", taxon="10090")).values()) == 5


HEAD = (
    "#ID(s) interactor A\tID(s) interactor B\tAlt. ID(s) interactor A\tAlt. ID(s) interactor B\t"
    "Alias(es) interactor A\tAlias(es) interactor B\tInteraction detection method(s)\t"
    "Publication 1st author(s)\tPublication Identifier(s)\tTaxid interactor A\t"
    "Taxid interactor B\tInteraction type(s)\tSource database(s)\t"
    "Interaction identifier(s)\tConfidence value(s)"
)


def mitab(a: str, b: str, paper: str = "pubmed:7|imex:IM-1", taxon: str = "9606",
          negative: str | None = None, method: str = "pull down") -> str:  # fmt: skip
    def alias(x: str) -> str:
        return f"psi-mi:{x[-6:].lower()}_human(display_short)|uniprotkb:G{x[-3:]}(gene name)"

    fields = [
        a, b, "intact:EBI-1", "-", alias(a), alias(b), f'psi-mi:"MI:0096"({method})', "A et al.",
        paper, f"taxid:{taxon}(human)|taxid:{taxon}(Homo sapiens)", "taxid:9606(human)",
        'psi-mi:"MI:0915"(physical association)', 'psi-mi:"MI:0469"(IntAct)', "intact:EBI-2",
        "intact-miscore:0.4",
    ]  # fmt: skip
    if negative is not None:
        fields += ["-"] * 20 + [negative] + ["-"] * 6
    return "\t".join(fields)


ROWS: list[tuple[Any, ...]] = [
    ("uniprotkb:P11110", "uniprotkb:P11111-2"),
    ("uniprotkb:P11111", "uniprotkb:P11112-PRO_0000012345"),
    ("uniprotkb:P11112", "uniprotkb:P11113"),
    ("uniprotkb:P11112", "ensembl:ENSG00000000001.3"),
]


@pytest.mark.parametrize("version", ["2.5", "2.7"])
@pytest.mark.parametrize("header", [True, False])
def test_psi_mi_tab(version: str, header: bool, tmp_path: Path) -> None:
    """Red: "holds no PSI-MI XML 3.0 interaction"."""
    expansion = None if version == "2.5" else "false"
    lines = [mitab(*r, negative=expansion) for r in ROWS]
    lines += [
        mitab("uniprotkb:P11110", "uniprotkb:P11110", taxon="10090", negative=expansion),
        mitab("uniprotkb:P11110", "-", negative=expansion),
        mitab("uniprotkb:P11110", "uniprotkb:P11113", paper="-", negative=expansion),
        mitab("uniprotkb:P11110", "uniprotkb:P11111", paper="pubmed:8", negative=expansion),
    ]
    if expansion:
        lines.append(mitab("uniprotkb:P11110", "uniprotkb:P11113", negative="true"))
    head = HEAD + ("" if version == "2.5" else "\tmore" * 27)
    path = tmp_path / "intact.txt"
    path.write_text("\n".join([head] * header + lines) + "\n")
    record = read_intact(path, "x", "corrected")
    account(record)
    assert record.counts.read == len(lines)
    assert sum(record.counts.dropped.values()) == 3 + bool(expansion)
    scores = {k[0]: k[2] for k in pairs(record)}
    assert scores == {
        frozenset(("P11110", "P11111")): 2, frozenset(("P11111", "P11112")): 1,
        frozenset(("P11112", "P11113")): 1, frozenset(("P11112", "ENSG00000000001")): 1,
    }  # fmt: skip
    assert "G110" in record.species
    archive = tmp_path / "human.zip"
    with zipfile.ZipFile(archive, "w") as z:
        z.write(path, "human.txt")
        z.writestr("human_negative.txt", "x")
    assert pairs(read_intact(archive, "x", "corrected")) == pairs(record)
    other = read_edge_list(path, "HuRI", None, None, "x")
    assert (other.name, pairs(other)) == ("HuRI", pairs(record))
    with pytest.raises(InputError, match="which the peer does not read"):
        read_intact(path, "x", "peer")


def test_causal_statements_of_psi_mi_tab_are_not_passed_over(tmp_path: Path) -> None:
    """Red: pairs of SIGNOR's CausalTAB lost order and sign, and nothing said so."""
    causal = ["-"] * 3 + ['psi-mi:"MI:2235"(up-regulates)']
    path = tmp_path / "causal.tab"
    rows = ["\t".join([mitab(*r, negative="false"), *causal]) for r in ROWS]
    path.write_text("\n".join(rows) + "\n")
    with pytest.warns(OctoscopeWarning, match=r"4 rows state what regulates what.*SIGNOR's own"):
        record = read_edge_list(path, "x", None, None, "x")
    account(record)
    assert record.counts.noted[CAUSAL] == 4
    with pytest.raises(InputError, match="no column 'method'"):  # keep would be passed over
        read_edge_list(path, "x", None, None, "x", Layout(keep={"method": ("pull down",)}))


def test_tab_and_xml_of_the_same_interactions_score_alike(tmp_path: Path) -> None:
    ends = [("P11110", "P11111"), ("P11112", "P11113")]
    (tmp_path / "t.txt").write_text(
        "\n".join(mitab(f"uniprotkb:{a}", f"uniprotkb:{b}") for a, b in ends) + "\n"
    )
    (tmp_path / "t.xml").write_text(document([
        interaction(1, [(0, "bait"), (1, "prey")]), interaction(2, [(2, "bait"), (3, "prey")]),
    ]))  # fmt: skip
    one, two = (read_intact(tmp_path / f"t.{e}", "x", "corrected") for e in ("txt", "xml"))
    assert pairs(one) == pairs(two)


def test_a_gene_behind_an_accession_of_intact_is_read(tmp_path: Path) -> None:
    """Red: the accession of IntAct stands first, and the pair joins no gene."""
    row = mitab("intact:EBI-9", "uniprotkb:P11111").split("\t")
    row[2] = "intact:EBI-9|uniprotkb:P11110-2(identity)"
    (tmp_path / "t.txt").write_text("\t".join(row) + "\n")
    own = (
        '<interactor id="0"><names><shortLabel>n0</shortLabel></names><xref>'
        '<primaryRef db="intact" id="EBI-9"/><secondaryRef db="uniprotkb" id="P99999" '
        'refType="component"/><secondaryRef db="uniprotkb" id="P11110" refType="identity"/></xref>'
        '<organism ncbiTaxId="9606"/></interactor>'
    )
    text = document([interaction(1, [(0, "bait"), (1, "prey")])])
    (tmp_path / "t.xml").write_text(text.replace(interactor(0, "P11110"), own))
    for name in ("t.txt", "t.xml"):
        record = read_intact(tmp_path / name, "x", "corrected")
        account(record)
        assert {k[0] for k in pairs(record)} == {frozenset(("P11110", "P11111"))}
        ids = record.identifiers
        of = ids["species"][ids["identifier"] == "P11110"].iloc[0]
        assert set(ids["identifier"][ids["species"] == of]) == {"P11110", "EBI-9"}
    (tmp_path / "t.txt").write_text(mitab("intact:EBI-7", "uniprotkb:P11112") + "\n")
    alone = read_intact(tmp_path / "t.txt", "x", "corrected").identifiers
    assert set(alone["identifier"]) == {"EBI-7", "P11112"}


def test_what_is_no_psi_mi_is_refused(tmp_path: Path) -> None:
    for name, content in (("a.txt", "source\ttarget\nA\tB\n"), ("b.xml", "<a/>")):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match="holds no interaction in PSI-MI"):
            read_intact(tmp_path / name, "x", "corrected")

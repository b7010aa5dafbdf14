"""Edge lists as tools write them: signs, directions, publications, ids, unread columns."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.octopus.network_export import export
from octoscope.octopus.sources.annotation import Annotation
from octoscope.octopus.sources.annotation_files import read_annotation
from octoscope.octopus.sources.edge_list import ASSUMED, read_edge_list
from octoscope.octopus.sources.record import SourceRecord

from tests.octopus.conftest import network_of, statements

G = [f"ENSG00000990{i:03d}" for i in range(10)]


def read(path: Path, ids: str = "ensembl_gene", annotation: Annotation | None = None,
         ) -> SourceRecord:  # fmt: skip
    return read_edge_list(path, "mine", ids, annotation, "v1")


def quietly(path: Path, ids: str = "ensembl_gene") -> SourceRecord:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OctoscopeWarning)
        return read(path, ids)


def signs(record: SourceRecord) -> dict[tuple[str, str], int]:
    p = record.pairs
    assert p is not None
    return {
        (record.species[a], record.species[b]): int(s)
        for a, b, s in zip(p.a, p.b, p.sign, strict=True)
    }


@pytest.mark.parametrize("column", ["weight", "mor", "sign"])
@pytest.mark.parametrize(
    "values",
    [[1, -1, 1], [1.0, -1.0, 0.0], [0.5, -0.25, 1.0], ["+1", "-1", "+1"], [3, -2, 0], [1, 1, 1]],
)
def test_signs_of_numbers(column: str, values: list[object], tmp_path: Path) -> None:
    """Red: weight and mor were dropped without a word, and every sign was 0."""
    path = tmp_path / "net.tsv"
    frame = pd.DataFrame({"source": G[:3], "target": G[3:6], column: values})
    frame.to_csv(path, sep="\t", index=False)
    raw = pd.read_csv(path, sep="\t")
    want = np.sign(raw[column].astype(float)).astype(int)
    got = signs(quietly(path))
    assert got == dict(zip(zip(raw["source"], raw["target"], strict=True), want, strict=True))


def test_signs_of_words_and_what_is_no_sign(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text(
        f"source,target,sign\n{G[0]},{G[1]},+\n{G[2]},{G[3]},-\n{G[4]},{G[5]},Unknown\n"
    )
    assert list(signs(quietly(path)).values()) == [1, -1, 0]
    path.write_text(f"source,target,sign\n{G[0]},{G[1]},\u2212\n{G[2]},{G[3]},\u22121\n")
    assert list(signs(quietly(path)).values()) == [-1, -1]  # the minus of typesetting
    path.write_text(f"source,target,sign\n{G[0]},{G[1]},1\n{G[2]},{G[3]},maybe\n")
    with pytest.raises(InputError, match=r"net\.csv: sign, row 3: 'maybe' is no sign"):
        read(path)


def test_a_strength_is_no_sign_and_is_named(tmp_path: Path) -> None:
    """No sign is invented: 0.3 and 0.9 may be confidences."""
    path = tmp_path / "net.csv"
    path.write_text(f"source,target,weight,directed\n{G[0]},{G[1]},0.3,false\n"
                    f"{G[2]},{G[3]},0.9,true\n")  # fmt: skip
    with pytest.warns(OctoscopeWarning, match="weight is not read"):
        record = read(path)
    assert set(signs(record).values()) == {0}
    assert record.counts.unread == ["weight"]
    path.write_text(f"source,target,weight,directed\n{G[0]},{G[1]},1,false\n")
    record = read(path)
    assert record.pairs is not None
    assert record.pairs.reversible.tolist() == [True]  # a weight of 1 makes no order


def test_our_own_exports_come_back(tmp_path: Path) -> None:
    """Red: the signs of our decoupler export were lost on the way back."""
    rows = [
        (0, 1, "stimulator", "modified", True, 1, 0, 0.5),
        (0, 2, "inhibitor", "modified", True, -1, 1, 0.5),
        (3, 1, "interactor", "interactor", False, 0, 1, 0.5),
    ]  # fmt: skip
    net = network_of(4, rows, [(g, i) for i, g in enumerate(G[:4])])
    export(net, tmp_path / "d.tsv", "decoupler")
    written = pd.read_csv(tmp_path / "d.tsv", sep="\t")
    assert signs(read(tmp_path / "d.tsv")) == {
        (a, b): w for a, b, w in written.itertuples(index=False)
    } == {(G[0], G[1]): 1, (G[0], G[2]): -1}  # fmt: skip
    export(net, tmp_path / "p.parquet", "parquet")
    record = quietly(tmp_path / "p.parquet")
    assert signs(record) == {(G[0], G[1]): 1, (G[0], G[2]): -1, (G[3], G[1]): 0}
    assert record.pairs is not None
    assert record.pairs.reversible.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("cells", "want"),
    [
        (["PMID:1;PMID:2;PMID:1", "PMID:3", ""], [2, 1, 0]),
        (["10022617;10075928", "10022617", None], [2, 1, 0]),
        (["2", "31", "0"], [2, 31, 0]),
        (["CollecTRI:10000001;ExTRI:2|3", "x, y", "z"], [3, 2, 1]),
    ],
)
def test_references_are_counted_or_taken_as_counts(
    cells: list[str | None], want: list[int], tmp_path: Path
) -> None:
    """Red: CollecTRI's lists of publications stopped the file, or were dropped."""
    path = tmp_path / "net.tsv"
    frame = pd.DataFrame({"source": G[:3], "target": G[3:6], "sign": 1, "references": cells})
    frame.to_csv(path, sep="\t", index=False)
    record = read(path)
    assert record.pairs is not None
    assert record.pairs.refs.tolist() == want


def test_columns_that_nothing_is_taken_from_are_named(tmp_path: Path) -> None:
    """Red: they were dropped in silence."""
    path = tmp_path / "CollecTRI.csv"
    path.write_text("source,target,weight,resources,references,sign.decision\n"
                    f"{G[0]},{G[1]},-1,ExTRI,a;b,PMID\n")  # fmt: skip
    with pytest.warns(OctoscopeWarning, match=r"not read: resources, sign\.decision"):
        record = read(path)
    assert record.counts.as_json()["unread"] == ["resources", "sign.decision"]
    assert signs(record) == {(G[0], G[1]): -1}


def test_an_assumed_direction_is_said(tmp_path: Path) -> None:
    """Red: a list of bare pairs became directed without a word."""
    path = tmp_path / "net.tsv"
    path.write_text(f"source\ttarget\tsign\n{G[0]}\t{G[1]}\t\n{G[2]}\t{G[3]}\t1\n")
    with pytest.warns(OctoscopeWarning, match="direction of 1 rows"):
        record = read(path)
    assert record.counts.noted[ASSUMED] == 1
    path.write_text(f"source\ttarget\tdirected\n{G[0]}\t{G[1]}\tfalse\n{G[2]}\t{G[3]}\ttrue\n")
    record = read(path)
    assert ASSUMED not in record.counts.noted
    assert record.pairs is not None
    assert record.pairs.reversible.tolist() == [True, False]


@pytest.mark.parametrize(
    ("ids", "written", "want"),
    [
        ("ensembl_gene", "ENSG00000990000.5", "ENSG00000990000"),
        ("ensembl_protein", "9606.ENSP00000990000.2", "ENSP00000990000"),
        ("ensembl_transcript", " ENST00000990000.1 ", "ENST00000990000"),
        ("ncbi_entrez_gene", "990000.0", "990000"),
        ("uniprot", "Q9ZA00-2", "Q9ZA00"),
        ("uniprot", "A0A024R1R8", "A0A024R1R8"),
    ],
)
def test_ids_lose_versions_isoforms_and_taxa(
    ids: str, written: str, want: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.tsv"
    path.write_text(f"source\ttarget\tsign\n{written}\t{written}\t1\n")
    assert read(path, ids).identifiers["identifier"].tolist() == [want]


def test_an_ontology_that_does_not_exist(tmp_path: Path) -> None:
    """Red: any name was taken, and nothing met anything."""
    path = tmp_path / "net.tsv"
    path.write_text("source\ttarget\nA\tB\n")
    unknown = r"net.tsv: .*no ontology 'hgnc_symbol' is known.*write symbol"
    with pytest.raises(InputError, match=unknown):
        read(path, "hgnc_symbol")
    with pytest.raises(InputError, match="'ensembl_genes'.*write ensembl_gene"):
        read(path, "ensembl_genes")
    with pytest.raises(InputError, match=r"net.tsv: .*symbols need an annotation"):
        read(path, "symbol")


def test_few_known_names_warn(tmp_path: Path) -> None:
    genes = tmp_path / "genes.tsv"
    genes.write_text(f"symbol\tensembl_gene\nA\t{G[0]}\n")
    path = tmp_path / "net.tsv"
    rows = ["source\ttarget\tdirected", "A\tA\ttrue", *(f"x{i}\ty{i}\ttrue" for i in range(10))]
    path.write_text("\n".join(rows) + "\n")
    with pytest.warns(OctoscopeWarning, match=re.escape("only 1 of 21 ids are a known symbol")):
        read(path, "symbol", read_annotation(genes))


def test_a_byte_order_mark_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('"source","target","directed"\n"ENSG01","ENSG02.3",TRUE\n', "utf-8-sig")
    record = read_edge_list(path, "mine", "ensembl_gene", None, "v1")
    assert set(record.identifiers["identifier"]) == {"ENSG01", "ENSG02"}
    genes = tmp_path / "genes.tsv"
    genes.write_text("ensembl_gene\tsymbol\tuniprot\nENSG01.5\tX\tP12345; Q8N1X7\n", "utf-8-sig")
    table = read_annotation(genes).table
    assert set(table["identifier"]) == {"ENSG01", "X", "P12345", "Q8N1X7"}


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

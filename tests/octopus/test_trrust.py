"""TRRUST: every form in which its one table is passed on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from octoscope.errors import InputError
from octoscope.octopus.network import open_network
from octoscope.octopus.sources.annotation_files import read_annotation
from octoscope.octopus.sources.trrust import read_trrust

from tests.octopus.conftest import build_from
from tests.octopus.test_edge_layouts import GENES, S

ROWS = [(S[0], S[1], "Activation", "1;2"), (S[0], S[1], "Activation", "2;3"),
        (S[2], S[3], "Repression", "4"), (S[4], S[5], "Unknown", "5"),
        (S[6], S[7], "Activation", "6"), (S[6], S[7], "Repression", "7")]  # fmt: skip


def text(rows: list[tuple[str, ...]], by: str = "\t", end: str = "\n") -> str:
    return "".join(by.join(r) + end for r in rows)


FORMS: dict[str, Callable[[], str]] = {
    "published": lambda: text(ROWS),
    "heading": lambda: text([("TF", "Target", "Mode", "PMID"), *ROWS]),
    "lower case": lambda: text([(a, b, k.lower(), p) for a, b, k, p in ROWS]),
    "quoted": lambda: text([tuple(f'"{x}"' for x in r) for r in ROWS]),
    "spaces": lambda: text([(f" {a}", f"{b} ", f"{k} ", p) for a, b, k, p in ROWS]),
    "Windows": lambda: "\ufeff" + text(ROWS, end="\r\n"),
    "comma": lambda: text(ROWS, by=","),
    "comments": lambda: "# TRRUST v2\n#\tmade by us\n" + text(ROWS),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_file(form: str, tmp_path: Path) -> None:
    """Red: quoted files and other case had no row of a known kind."""
    GENES.to_csv(tmp_path / "ids.tsv", sep="\t", index=False)
    path = tmp_path / "trrust.txt"
    path.write_text(FORMS[form](), encoding="utf-8")
    record = read_trrust(path, read_annotation(tmp_path / "ids.tsv"), "2")
    p, t = record.pairs, record.counts
    assert p is not None
    signs = {
        (record.species[a], record.species[b]): (int(s), int(r))
        for a, b, s, r in zip(p.a, p.b, p.sign, p.refs, strict=True)
    }
    assert signs == {(S[0], S[1]): (1, 3), (S[2], S[3]): (-1, 1), (S[4], S[5]): (0, 1),
                     (S[6], S[7]): (0, 2)}  # fmt: skip
    assert t.read == t.kept + t.merged + sum(t.dropped.values())
    assert sum(t.dropped.values()) == (form == "heading")


def test_the_published_table_of_mouse_is_built(tmp_path: Path) -> None:
    """Red: "TRRUST is read for human (9606) only"."""
    mouse = GENES.assign(
        symbol=GENES["symbol"].str.capitalize(),
        ensembl_gene=GENES["ensembl_gene"].str.replace("ENSG", "ENSMUSG"),
    )
    mouse.to_csv(tmp_path / "ids.tsv", sep="\t", index=False)
    path = tmp_path / "trrust_rawdata.mouse.tsv"
    path.write_text(text([(a.capitalize(), b.capitalize(), k, p) for a, b, k, p in ROWS]))
    tree = {"taxon": 10090, "annotation": {"path": str(tmp_path / "ids.tsv")},
            "sources": {"TRRUST": {"path": str(path)}}}  # fmt: skip
    net = open_network(build_from(tree, tmp_path / "mouse"))
    assert len(net.pair_keys) == 4
    assert net.gene_index.str.startswith("ENSMUSG").all()
    human = tree | {"annotation": {"path": str(tmp_path / "human.tsv")}}
    GENES.to_csv(tmp_path / "human.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"knows 0 of 8 symbol.*one organism"):
        build_from(human, tmp_path / "mixed")

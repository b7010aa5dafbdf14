"""Reactome-FI: order, sign and role of every arrow and annotation."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError
from octoscope.octopus.network_schema import ROLES
from octoscope.octopus.sources.reactome_fi import read_reactome_fi

from tests.octopus.conftest import statements

# Direction -> sign of Gene1 on Gene2 and back; None: not stated. Written from the arrow's shape.
ARROWS: dict[str, tuple[int | None, int | None]] = {
    "-": (0, 0), "->": (1, None), "<-": (None, 1), "<->": (1, 1), "-|": (-1, None),
    "|-": (None, -1), "|-|": (-1, -1), "|->": (1, -1), "<-|": (-1, 1),
}  # fmt: skip
NOTES = ["predicted", "activate; catalyze", "catalyzed by; complex", "catalyze; catalyzed by",
         "inhibited by", ""]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [(f"A{n:03d}", f"B{n:03d}", note, arrow, 0.5)
            for n, (note, arrow) in enumerate(product(NOTES, ARROWS))]  # fmt: skip
    path = tmp_path / "fi.txt"
    pd.DataFrame(rows, columns=["Gene1", "Gene2", "Annotation", "Direction", "Score"]).to_csv(
        path, sep="\t", index=False
    )
    return path


def test_the_sign_is_that_of_the_arrow(table: Path) -> None:
    """Red: "catalyze" made the pair unsigned, and "-" with it led one way."""
    raw = pd.read_csv(table, sep="\t", keep_default_na=False)
    want = {}
    for row in raw.itertuples():
        ahead, back = ARROWS[str(row.Direction)]
        want |= {(row.Gene1, row.Gene2): ahead} if ahead is not None else {}
        want |= {(row.Gene2, row.Gene1): back} if back is not None else {}
    record = read_reactome_fi(table, None, "x", "corrected")
    p = record.pairs
    assert p is not None
    got = {}
    for a, b, s, r in zip(p.a, p.b, p.sign, p.reversible, strict=True):
        got[record.species[a], record.species[b]] = int(s)
        if r:
            got[record.species[b], record.species[a]] = int(s)
    assert got == want


def test_the_catalyst_stays_one(table: Path) -> None:
    raw = pd.read_csv(table, sep="\t", keep_default_na=False)
    record = read_reactome_fi(table, None, "x", "corrected")
    p = record.pairs
    assert p is not None
    got = {(record.species[a], record.species[b]) for a, b, r in zip(p.a, p.b, p.role_a,
           strict=True) if ROLES[r] == "catalyst"}  # fmt: skip
    want = set()
    for row in raw[raw["Direction"] != "-"].itertuples():
        ahead, back = ARROWS[str(row.Direction)]
        words = str(row.Annotation).replace("catalyzed by", "BY")
        want |= {(row.Gene1, row.Gene2)} if "catalyze" in words and ahead is not None else set()
        want |= {(row.Gene2, row.Gene1)} if "BY" in words and back is not None else set()
    assert got == want


def test_peer_mode_takes_signs_of_roles(table: Path) -> None:
    p = read_reactome_fi(table, None, "x", "peer").pairs
    assert p is not None
    assert not p.sign[[ROLES[r] == "catalyst" for r in p.role_a]].any()


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


def test_files_without_scores(tmp_path: Path) -> None:
    """Red: files before 2015 and a space behind the last name were refused."""
    path = tmp_path / "fi.txt"
    path.write_text("Gene1\tGene2\tAnnotation\tDirection \nA\tB\tx\t->\nC\tD\tpredicted\t-\n")
    record = read_reactome_fi(path, None, "x", "corrected")
    assert record.pairs is not None
    assert record.pairs.sign.tolist() == [1, 0]
    assert record.pairs.reversible.tolist() == [False, True]
    assert np.isnan(record.pairs.score).all()
    assert record.counts.noted["row without a score (old files have none)"] == 2
    path.write_text("A\tB\nC\tD\n")
    with pytest.raises(InputError, match="bare pairs are an edge list"):
        read_reactome_fi(path, None, "x", "corrected")

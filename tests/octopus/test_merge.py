"""Rules of joining that the fixture does not exercise, one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.octopus.cofactors import cofactor_rows
from octoscope.octopus.directory import new_directory, read_table
from octoscope.octopus.identifiers import (
    best_identifiers,
    best_names,
    joined_by_key,
    species_types,
    vertex_names,
)
from octoscope.octopus.merge import join_sources
from octoscope.octopus.sources.record import SourceRecord, identifier_frame, pairs_of


def source(name: str, ids: list[str], pairs: list[tuple[int, int]], reversible: bool,
           score: list[float] | None = None) -> SourceRecord:  # fmt: skip
    frame = identifier_frame([(i, "uniprot", x, "BQB_IS") for i, x in enumerate(ids)])
    a, b = np.array(pairs, int).reshape(-1, 2).T
    values = None if score is None else np.array(score, np.float32)
    return SourceRecord(name, "1", [f"{name} {x}" for x in ids], frame,
                        pairs_of(a, b, reversible=reversible, score=values))  # fmt: skip


def test_a_pair_is_valid_both_ways_if_any_source_says_so() -> None:
    one_way = source("ONE", ["B", "A", "C"], [(0, 1), (1, 2)], False)
    both = source("TWO", ["A", "B"], [(0, 1)], True)
    joined = join_sources([one_way, both], "peer")
    first, second = joined.statements
    assert first.reaction[0] == second.reaction[0]
    assert first.directed.tolist() == [False, True]
    assert second.directed.tolist() == [False]
    assert (first.src <= first.dst).all()  # interactors have no order of their own
    corrected = join_sources([one_way, both], "corrected")
    assert corrected.statements[0].directed.tolist() == [False, False]


def test_of_repeated_statements_the_strongest_speaks_and_self_pairs_give_no_edge() -> None:
    record = source("ONE", ["A", "A", "B", "C"], [(0, 2), (1, 2), (0, 1), (2, 3)], True,
                    [0.2, 0.9, 0.5, 0.4])  # fmt: skip
    record.evidence = pa.table({"x": [0, 1, 2, 3]})
    joined = join_sources([record], "corrected")
    s = joined.statements[0]
    assert len(joined.vertices) == 3
    assert s.evidence.tolist() == [1, 3]
    assert s.score.tolist() == pytest.approx([0.9, 0.4])
    assert record.counts.noted == {
        "pair of one vertex with itself (no edge)": 1,
        "statement that another of this source makes": 1,
    }


def test_a_stronger_qualifier_hides_a_weaker_one() -> None:
    rows = [(0, "uniprot", "P1", "BQB_IS_HOMOLOG_TO"), (0, "uniprot", "P1", "BQB_HAS_PART"),
            (0, "uniprot", "P2", "BQB_UNKNOWN"), (0, "uniprot", "P2", "BQB_IS")]  # fmt: skip
    kept = best_identifiers(identifier_frame(rows))
    assert set(zip(kept["identifier"], kept["bqb"], strict=True)) == {
        ("P1", "BQB_HAS_PART"), ("P2", "BQB_IS"),
    }  # fmt: skip


def test_names_and_kinds() -> None:
    label = np.array([0, 0, 1, 1])
    assert best_names(label, ["P12345", "TP53", "9606.ENSP1", "a b"], 2) == ["TP53", "a b"]
    rows = [
        (0, "uniprot", "P1", "BQB_IS"), (1, "uniprot", "P1", "BQB_HAS_PART"),
        (1, "reactome", "R-1", "BQB_IS"), (2, "chebi", "1", "BQB_IS"),
        (3, "uniprot", "P2", "BQB_IS"), (3, "chebi", "2", "BQB_IS"),
        (4, "reactome", "R-2", "BQB_IS"), (6, "drugbank", "D", "BQB_IS"),
        (6, "chebi", "3", "BQB_IS"),
    ]  # fmt: skip
    table = identifier_frame(rows)
    assert species_types(table, 7) == [
        "protein", "complex", "metabolite", "unknown", "other", "unknown", "drug",
    ]  # fmt: skip
    names = vertex_names(table, [f"x{i}" for i in range(7)])
    assert names[0] == "uniprot:P1"
    assert names[1] == "reactome:R-1"
    assert names[5] == "label:x5"
    assert vertex_names(identifier_frame([]), ["same", "same"]) == ["label:same", "label:same#2"]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcdefgh")), max_size=25))
def test_components_equal_brute_force(rows: list[tuple[int, str]]) -> None:
    item, key = [r[0] for r in rows], [r[1] for r in rows]
    label = joined_by_key(10, np.array(item, int), key)
    group = {i: {i} for i in range(10)}
    for k in set(key):
        together: set[int] = set().union(*(group[i] for i, x in rows if x == k))
        for i in together:
            group[i] = together
    for i in range(10):
        for j in range(10):
            assert (label[i] == label[j]) == (j in group[i])
    order = list(dict.fromkeys(label[[*item, *range(10)]].tolist()))
    assert order == sorted(order)  # numbered by first appearance


@pytest.mark.parametrize(
    ("members", "removed"),
    [
        ([("30616", -1), ("456216", 1), ("999", -1)], {"30616", "456216"}),  # ATP -> ADP
        ([("30616", -1), ("456216", 1), ("16027", 1)], set()),  # AMP too: not a donation
        ([("57945", -1), ("57540", 1)], {"57945", "57540"}),  # NADH -> NAD+
        ([("57945", 1), ("57540", -1)], set()),  # NADH is made here
        ([("15377", 1), ("999", -1)], {"15377"}),  # water
        ([("15377", 0), ("999", -1)], set()),  # a catalyst stays, whatever it is
        ([("15351", -1), ("1146900", 1)], {"1146900"}),  # CoA goes, acetyl-CoA stays
    ],
)
def test_cofactors_leave_only_where_they_are_cofactors(
    members: list[tuple[str, float]], removed: set[str]
) -> None:
    chebi = [c for c, _ in members]
    ids = pd.DataFrame({"vertex": range(len(chebi)), "ontology": "chebi", "identifier": chebi,
                        "bqb": "BQB_IS"})  # fmt: skip
    gone = cofactor_rows(
        np.zeros(len(chebi), int), np.arange(len(chebi)), np.array([s for _, s in members]), ids
    )
    assert {c for c, g in zip(chebi, gone, strict=True) if g} == removed


def test_a_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "net"

    def interrupted() -> None:
        with new_directory(target) as writer:
            writer.write("genes", pa.table({"gene": ["g"], "vertex": [0], "how": ["x"]}))
            assert not target.exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with new_directory(target) as writer:
        writer.write("genes", pa.table({"gene": ["g"], "vertex": [0], "how": ["x"]}))
        writer.close({"sources": {}})
    assert [p.name for p in tmp_path.iterdir()] == ["net"]
    assert read_table(target, "genes").num_rows == 1
    assert read_table(target, "edges").num_rows == 0

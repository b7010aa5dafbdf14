"""Answers about pairs against brute force over the assertions."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.octopus.lookups import annotate, describe_genes, describe_vertices
from octoscope.octopus.network import Network
from octoscope.octopus.network_schema import SIGN_OF_ROLE

from tests.octopus.conftest import Row, network_of

N = 6
_KINDS = (
    ("interactor", "interactor", False), ("stimulator", "modified", True),
    ("inhibitor", "modified", True), ("reactant", "product", False),
    ("catalyst", "reactant", True), ("interactor", "interactor", True),
)  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    out = []
    for _ in range(draw(st.integers(0, 25))):
        role_a, role_b, directed = draw(st.sampled_from(_KINDS))
        a, b = draw(st.integers(0, N - 1)), draw(st.integers(0, N - 1))
        score = draw(st.sampled_from([float("nan"), 0.25, 0.5, 1.0]))
        sign = SIGN_OF_ROLE.get(role_a, 0)
        out.append((a, b, role_a, role_b, directed, sign, draw(st.integers(0, 1)), score))
    return out


def brute(rows: list[Row], a: int, b: int) -> dict[str, object]:
    """Everything asserted of one ordered pair, by walking the assertions."""
    back = {"reactant": "product", "product": "reactant"}
    edges_between = []
    for s, d, role_s, role_d, directed, sign, source, score in rows:
        if (s, d) == (a, b):
            edges_between.append((f"{role_s} -> {role_d}", directed, sign, source, score))
        elif (d, s) == (a, b) and not directed:
            kind = f"{back.get(role_d, role_d)} -> {back.get(role_s, role_s)}"
            edges_between.append((kind, directed, sign, source, score))
    signs = {f[2] for f in edges_between} - {0}
    scores = [f[4] for f in edges_between if not np.isnan(f[4])]
    return {
        "forward": bool(edges_between),
        "stated": any(f[1] for f in edges_between),
        "sources": ";".join(
            n for i, n in enumerate(("ONE", "TWO")) if i in {f[3] for f in edges_between}
        ),
        "relations": {f[0] for f in edges_between},
        "sign": signs.pop() if len(signs) == 1 else 0,
        "contradictory": len({f[2] for f in edges_between} - {0}) == 2,
        "score": max(scores, default=None),
    }


@settings(max_examples=80, deadline=None)
@given(rows(), st.lists(st.tuples(st.integers(-1, N), st.integers(-1, N)), max_size=20))
def test_describe_equals_brute_force(rows: list[Row], pairs: list[tuple[int, int]]) -> None:
    net = network_of(N, rows)
    a, b = (np.array([p[i] for p in pairs], np.int64) for i in (0, 1))
    described = describe_vertices(net, a, b)
    assert len(described) == len(pairs)
    for (x, y), row in zip(pairs, described.itertuples(), strict=True):
        want = brute(rows, x, y)
        for field in ("forward", "stated", "sources", "sign", "contradictory"):
            assert getattr(row, field) == want[field], field
        assert set(filter(None, row.relations.split(";"))) == want["relations"]
        assert row.score == want["score"] if want["score"] is not None else np.isnan(row.score)
        assert row.reverse == brute(rows, y, x)["forward"]
        assert row.same_vertex == (x == y and x >= 0)
        others = [v for v in range(N) if v != x]
        linked = {v for v in others if brute(rows, x, v)["forward"]}
        neighbours = linked | {v for v in others if brute(rows, v, x)["forward"]}
        assert row.degree_a is pd.NA if not 0 <= x < N else row.degree_a == len(neighbours)


def test_a_gene_answers_for_all_its_vertices() -> None:
    rows = [
        (0, 2, "stimulator", "modified", True, 1, 0, 0.5),
        (1, 3, "inhibitor", "modified", True, -1, 1, 0.75),
        (4, 4, "interactor", "interactor", False, 0, 0, float("nan")),
    ]
    genes = [("a", 0), ("a", 1), ("b", 2), ("b", 3), ("c", 4), ("d", 4)]
    net = network_of(5, rows, genes)
    described = describe_genes(net, ["a", "b", "c", "a", "nope"], ["b", "a", "d", "c", "a"])
    assert described["mapped"].tolist() == [True, True, True, True, False]
    assert described["forward"].tolist() == [True, False, True, False, False]
    assert described["reverse"].tolist() == [False, True, True, False, False]
    first = described.iloc[0]
    assert (first["sources"], first["contradictory"], first["score"]) == ("ONE;TWO", True, 0.75)
    # c and d are one vertex: flagged, so that nobody counts it as a pair with or without an edge
    assert described["same_vertex"].tolist() == [False, False, True, False, False]


def test_annotate_takes_the_nearest_vertices_and_keeps_other_columns() -> None:
    rows = [(1, 2, "interactor", "interactor", False, 0, 0, 0.5)]
    net = network_of(4, rows, [("ENSG01", 0), ("ENSG01", 1), ("ENSG02", 2), ("ENSG03", 3)])
    pairs = pd.DataFrame(
        {"query": ["ENSG01.4", "ENSG01", "x"], "key": ["ENSG02", "ENSG03", "ENSG02"], "score": 7.0}
    )
    annotated = annotate(pairs, net, "query", "key", distance=2)
    assert annotated["mapped"].tolist() == [True, True, False]  # a version is no other gene
    assert annotated["distance"].tolist() == [1, pd.NA, pd.NA]
    # a gene that the network lacks has no edge that is missing: unknown is null
    assert annotated["forward"].tolist() == [True, False, pd.NA]
    assert annotated["same_vertex"].tolist() == [False, False, pd.NA]
    assert annotated["sources"].isna().tolist() == [False, False, True]
    assert annotated["shared_pathways"].tolist() == [0, 0, pd.NA]
    assert annotated["sign"].isna().all()  # the source states none
    assert annotated["score"].tolist() == [7.0] * 3
    assert annotated["network_score"].tolist()[0] == 0.5
    assert annotate(pairs.iloc[:0], net, "query", "key", distance=2).empty


def test_dask_partitions_give_the_same_answers(peer: Network) -> None:
    rng = np.random.default_rng(0)
    genes = np.append(peer.genes["gene"].unique(), "ENSG00000000000")
    pairs = pd.DataFrame({"query": rng.choice(genes, 5000), "key": rng.choice(genes, 5000)})
    whole = annotate(pairs, peer, "query", "key", distance=2)
    parts = dd.from_pandas(pairs, npartitions=7)
    meta = annotate(pairs.iloc[:0], peer, "query", "key", distance=2)
    lazy = parts.map_partitions(annotate, peer, "query", "key", 2, meta=meta)
    joined = lazy.compute(scheduler="threads")
    for column in whole:
        assert joined[column].astype(str).tolist() == whole[column].astype(str).tolist(), column
    assert 0 < whole["forward"].sum() < len(whole)

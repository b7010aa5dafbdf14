"""Tables of pairs: genes and vertices, relations, several passings, and the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.gnn.embeddings import embeddings
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.leave_out import pair_edges
from octoscope.gnn.pair_table import PairTable, read_pair_table
from octoscope.gnn.score_table import score_table
from octoscope.gnn.scoring import score_pairs

from tests.conftest import octoscope
from tests.gnn.conftest import FIXTURE, MODELS, STORE, answers, checkpoint

GENES = FIXTURE / "expected/query_gene_pairs.parquet"


def written(tmp_path: Path, table: pd.DataFrame) -> Path:
    table.to_parquet(tmp_path / "pairs.parquet")
    return tmp_path / "pairs.parquet"


def test_genes_meet_the_edges_that_the_peer_finds(graph: GnnGraph) -> None:
    model = checkpoint("mlp")
    pairs = read_pair_table(GENES, graph, model.relations)
    table = score_table(model, graph, pairs)
    truth = pd.read_parquet(FIXTURE / "expected/has_edges.parquet")
    keys = ["from_gene", "to_gene"]
    joined = table.drop_duplicates(keys).merge(truth, on=keys, how="left", validate="1:m")
    joined = joined.drop_duplicates(keys)
    mapped = joined["has_edges"].notna()
    assert (joined["probability"].notna() == mapped).all()
    assert (joined["edge"].isna() == ~mapped).all()
    edge = joined[mapped]
    assert (edge["edge"].isin(["forward", "both"]) == edge["has_edges"].astype(bool)).all()
    assert (
        edge["edge"].isin(["backward", "both"]) == edge["has_edges_reversed"].astype(bool)
    ).all()


def test_names_of_vertices_and_of_relations(
    graph: GnnGraph, pairs: pd.DataFrame, tmp_path: Path
) -> None:
    model = checkpoint("rotate")
    names = graph.vertex_names.to_numpy()
    table = pd.DataFrame({
        "src": names[pairs.src], "dst": names[pairs.dst],
        "relation": np.array(model.relations)[pairs.relation_type],
    })  # fmt: skip
    pair_table = read_pair_table(written(tmp_path, table), graph, model.relations)
    scores = score_table(model, graph, pair_table, mode="peer")
    np.testing.assert_allclose(scores["raw"], answers("rotate")["raw"], atol=1e-5)
    assert (scores["relation"] == table["relation"]).all()


def test_a_relation_stays_with_its_row(graph: GnnGraph, tmp_path: Path) -> None:
    """Genes of no vertex and of two. Red: relations by pair of vertices, not by row."""
    known = graph.names.genes
    genes = known["gene"].astype(str).tolist()[:4]
    also = pd.DataFrame({"gene": [genes[1]], "vertex": np.array([200], known["vertex"].dtype),
                         "how": [known["how"].iloc[0]]})  # fmt: skip
    two = replace(graph, names=replace(graph.names, genes=pd.concat([known, also])))
    model = checkpoint("relation_gated_mlp")
    table = pd.DataFrame({
        "query": ["nothing", genes[1], genes[0], genes[2]],
        "key": [genes[0], genes[2], genes[3], genes[1]], "relation_type": [7, 3, 5, 6],
    })  # fmt: skip
    pairs = read_pair_table(written(tmp_path, table), two, model.relations)
    assert pairs.row.tolist() == [1, 1, 2, 3, 3]
    assert pairs.relation is not None
    assert pairs.relation.tolist() == [3, 3, 5, 6, 6]
    scores = score_table(model, two, pairs)
    assert scores["relation"].tolist() == [None, *(model.relations[r] for r in (3, 5, 6))]
    z = embeddings(model, two)
    each = score_pairs(model.head, z, pairs.src, pairs.dst, np.array([3, 3, 5, 6, 6])).probability
    want = [each[:2].max(), each[2], each[3:].max()]
    np.testing.assert_allclose(scores["probability"][1:], want, atol=1e-6)


def test_several_passings_stand_side_by_side(
    graph: GnnGraph, pairs: pd.DataFrame, tmp_path: Path
) -> None:
    model = checkpoint("mlp")
    scores = read_pair_table(written(tmp_path, pairs), graph, ())
    table = score_table(model, graph, scores, passings=("all", "train", "leave-out"))
    for ending in ("all", "train", "left_out"):
        assert table[f"probability_{ending}"].notna().all()
    edges = pairs.is_network_edge.to_numpy()
    assert (table["edge"].ne("none").to_numpy() == edges).all()
    assert table["split"].notna().to_numpy()[edges].all()
    assert table["split"].isna().to_numpy()[~edges].all()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"src": [], "dst": []}, "holds no pair"),
        ({"a": [1], "b": [2]}, "has the columns a, b"),
        ({"src": [1, 260], "dst": [2, 3]}, r"src: row 1: .*260.* is no vertex"),
        ({"src": [1], "dst": [-1]}, r"dst: row 0: .*-1.* is no vertex"),
        ({"src": [1], "dst": [2], "relation": ["binds"]}, "'binds' is no relation"),
        ({"src": [1], "dst": [2], "relation_type": [8]}, "8.* is no relation"),
        ({"src": [1], "dst": [2], "relation_type": [None]}, "is no relation"),
        ({"query": ["TP53"], "key": ["MDM2"]}, "knows 0 of 2 names"),
        ({"query": [["TP53"]], "key": [["MDM2"]]}, "cannot be read: .*unhashable"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused(
    graph: GnnGraph, tmp_path: Path, table: dict[str, list[object]], says: str
) -> None:
    model = checkpoint("rotate")
    with pytest.raises(InputError, match=says):
        read_pair_table(written(tmp_path, pd.DataFrame(table)), graph, model.relations)


def test_pairs_of_which_no_gene_meets_another(graph: GnnGraph, tmp_path: Path) -> None:
    known = str(graph.names.genes["gene"].iloc[0])
    table = pd.DataFrame({"query": [known] * 3, "key": ["X1", "X2", "X3"]})
    with pytest.raises(InputError, match="no row has both genes"):
        read_pair_table(written(tmp_path, table), graph, ())


def test_other_identifiers_and_columns_of_the_user(graph: GnnGraph, tmp_path: Path) -> None:
    """Red: identifiers of a store not used; numbers beside a blank cell read as fractions."""
    known = graph.names.identifiers
    assert known is not None
    entrez = known[known["ontology"] == "ncbi_entrez_gene"]["identifier"].astype(str).tolist()
    table = tmp_path / "pairs.csv"
    table.write_text(f"query,key,edge\n{entrez[0]},{entrez[1]},mine\n,{entrez[1]},yours\n")
    model = score_table(checkpoint("mlp"), graph, read_pair_table(table, graph, ()))
    assert model["probability"].notna().tolist() == [True, False]
    assert model["edge_given"].tolist() == ["mine", "yours"]


def test_columns_of_the_user_stay_what_they_are(graph: GnnGraph, tmp_path: Path) -> None:
    """Red: a score over the user's column; two columns of one name."""
    frame = pd.DataFrame({
        "src": [1], "dst": [2], "probability_all": [7.0], "raw": ["a"], "raw_given": ["b"],
    })  # fmt: skip
    table = read_pair_table(written(tmp_path, frame), graph, ())
    scores = score_table(checkpoint("mlp"), graph, table, passings=("all", "train"))
    assert scores.columns.is_unique
    mine = scores[["probability_all_given", "raw_given_given", "raw_given"]]
    assert mine.iloc[0].tolist() == [7.0, "a", "b"]
    assert 0 <= scores["probability_all"].iloc[0] <= 1


def test_few_known_genes_are_warned_of(graph: GnnGraph, tmp_path: Path) -> None:
    known = graph.names.genes["gene"].astype(str).to_numpy()[:2]
    keys = [known[1], *(f"X{i}" for i in range(30))]
    table = pd.DataFrame({"query": known[0], "key": keys})
    with pytest.warns(OctoscopeWarning, match="knows 2 of 32"):
        pair_table = read_pair_table(written(tmp_path, table), graph, ())
    assert pair_table.row.tolist() == [0]


def test_commands(tmp_path: Path, pairs: pd.DataFrame) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    completed = octoscope("gnn", "inspect", str(MODELS / "rotate"), "--graph", str(STORE), "--json")
    assert completed.returncode == 0, completed.stderr
    assert '"fits": true' in completed.stdout
    wrong = octoscope("gnn", "inspect", str(MODELS / "rotate"), "--graph", "demo")
    assert wrong.returncode == 2
    assert "is not the graph of the checkpoint" in wrong.stderr
    path = written(tmp_path, pairs)
    target = tmp_path / "scores.parquet"
    command = ("gnn", "score", str(MODELS / "rotate"), "--graph", str(STORE), "--pairs", str(path))
    done = octoscope(*command, "--out", str(target), "--mode", "peer", env=cache)
    assert done.returncode == 0, done.stderr
    assert "does not say on which vertex names" in done.stderr  # nor does napistu-torch ever
    stored = pd.read_parquet(target)
    np.testing.assert_allclose(stored["probability"], answers("rotate")["prob"], atol=1e-5)
    assert list((tmp_path / "cache/octoscope/gnn").glob("*.safetensors"))
    again = octoscope(*command, "--out", str(target), env=cache)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    refused = octoscope("gnn", "relations", str(MODELS / "mlp"))
    assert refused.returncode == 2
    assert "knows no relations" in refused.stderr


def test_a_gene_of_several_vertices_gets_its_best_pair_and_any_edge(graph: GnnGraph) -> None:
    """Red: the first, last or worst pair of vertices; the edge or the split of the last one."""
    edge = int(np.flatnonzero(np.asarray(graph.split) == 1)[0])
    a, b = int(graph.src[edge]), int(graph.dst[edge])
    between = pair_edges(graph, np.full(graph.n_vertices, a), np.arange(graph.n_vertices))
    others = np.flatnonzero(~(between.forward | between.backward))[:3]
    src, dst = np.full(5, a), np.r_[b, others, b]
    model = checkpoint("mlp")
    table = PairTable(
        pd.DataFrame({"query": ["x", "none", "y"]}), np.array([0, 0, 0, 0, 2]), src, dst, None, ""
    )
    scores = score_table(model, graph, table)
    each = score_pairs(model.head, embeddings(model, graph), src, dst)
    best = each.probability[:4].argmax()
    assert scores["probability"].iloc[0] == each.probability[best]
    assert scores["cosine"].iloc[0] == each.cosine[best]
    assert scores["edge"].iloc[0] in ("forward", "both")
    assert scores["split"].dropna().tolist() == ["train", "train"]
    assert scores["probability"].isna().tolist() == [False, True, False]

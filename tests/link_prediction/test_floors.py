"""Floors on networks with a planted truth."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
from octoscope.cli.shared import guarded
from octoscope.errors import InputError
from octoscope.link_prediction import evaluate_links as module
from octoscope.link_prediction.evaluate_links import Evaluation, Settings, evaluate_links
from octoscope.link_prediction.floors import FLOORS, STACKED, floors_of
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.splits import Split, split_links

from tests.link_prediction.conftest import links_from, pairs_by_degree

QUICK = Settings(negatives=("degree",), queries=0)


def areas(evaluation: Evaluation, negatives: str = "degree") -> dict[str, float]:
    rows = evaluation.metrics.query("metric == 'auc' and stratum == 'all'")
    return rows[rows["negatives"] == negatives].set_index("scorer")["value"].to_dict()


def test_a_leak_of_mirrors_is_seen(mirrored: Links) -> None:
    """25,000 pairs, 91 % of them both ways, no structure but degree; about 7,000 test edges."""
    mirror = Settings(("degree",), ("mirror",), queries=0)
    leaking = evaluate_links(mirrored, split_links(mirrored, "edge", peer=True), settings=mirror)
    assert areas(leaking)["mirror"] >= 0.8
    assert leaking.about["leak"]["mirror"] > 0.6
    honest = evaluate_links(mirrored, split_links(mirrored), settings=mirror)
    assert areas(honest)["mirror"] == pytest.approx(0.5, abs=0.02)
    assert honest.about["leak"]["either"] == 0


def test_degree_alone_is_no_floor_on_matched_negatives(degree_only: Links) -> None:
    """25,000 pairs drawn by degree; 3,750 test edges."""
    settings = Settings(("degree", "uniform"), queries=0)
    evaluation = evaluate_links(degree_only, split_links(degree_only), settings=settings)
    for floor, area in areas(evaluation).items():
        assert 0.45 <= area <= 0.55, floor
    assert areas(evaluation, "uniform")["preferential_attachment"] > 0.7  # the trap
    assert set(areas(evaluation)) == set(FLOORS)


def test_a_test_edge_in_the_adjacency_would_be_seen(
    degree_only: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above would show if floors read test edges."""
    whole = module.train_adjacency(
        degree_only,
        Split("pair", np.ones(len(degree_only.src), np.uint8), {}, ""),
    )
    monkeypatch.setattr(module, "train_adjacency", lambda *_: whole)
    evaluation = evaluate_links(degree_only, split_links(degree_only), settings=Settings(
        ("degree",), ("personalised_pagerank",), queries=0))  # fmt: skip
    assert areas(evaluation)["personalised_pagerank"] > 0.9


def test_blocks_are_learned() -> None:
    """12 blocks of 100 vertices, 15,000 pairs, 80 % within a block."""
    rng = np.random.default_rng(6)
    n, blocks = 1200, 12
    a, b = pairs_by_degree(rng, n, 60_000)
    within = rng.random(len(a)) < np.where(a % blocks == b % blocks, 1.0, 0.02)
    links = links_from(n, a[within], b[within])
    evaluation = areas(evaluate_links(links, split_links(links), settings=QUICK))
    degree = evaluation["preferential_attachment"]
    assert degree == pytest.approx(0.5, abs=0.06)
    for floor in ("spectral", "directed_spectral", "personalised_pagerank", STACKED):
        assert evaluation[floor] >= degree + 0.1, floor


def test_new_vertices_are_not_told_by_their_degree(degree_only: Links) -> None:
    """Negatives by training degree make "unseen" the label; ends of test edges do not."""
    split = split_links(degree_only, "vertex")
    settings = Settings(("degree", "peer"), queries=200, candidates=100)
    evaluation = evaluate_links(degree_only, split, settings=settings)
    ranks = evaluation.metrics.query("metric == 'mrr' and stratum == 'all'")
    assert ranks["value"].max() < 0.09  # 0.052 at random
    trap = areas(evaluation, "peer")
    assert trap["preferential_attachment"] < 0.1
    assert trap[STACKED] > 0.97
    for floor, area in areas(evaluation).items():
        assert 0.44 <= area <= 0.56, floor


def test_floors_are_named() -> None:
    assert floors_of([]) == floors_of(["all"]) == FLOORS
    assert floors_of(["stacked", "mirror"]) == ("mirror", "stacked")
    with pytest.raises(InputError, match="'katz' is none"):
        floors_of(["katz"])


def test_without_scikit_learn_the_other_floors_are_there(
    degree_only: Links, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "sklearn":
            raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    split = split_links(degree_only)
    rules = Settings(("degree",), ("mirror", "l3"), positives=500, queries=0)
    assert set(areas(evaluate_links(degree_only, split, settings=rules))) == {"mirror", "l3"}
    trees = Settings(("degree",), (STACKED,), positives=500, queries=0)
    assert guarded(lambda: evaluate_links(degree_only, split, settings=trees)) == 1
    assert "octoscope[gnn]" in capsys.readouterr().err

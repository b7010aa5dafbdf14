"""Data of the gene search: complete, or with a word on what it lacks."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from octoscope.errors import InputError
from octoscope.report import gene_search as module
from octoscope.report.gene_search import gene_search
from octoscope.results.run_results import Results


def data_of(results: Results) -> dict[str, Any]:
    match = re.search(r'id="gene-data">([^<]+)<', gene_search(results, "panel", "marginal")[0])
    assert match
    body: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(match[1])))
    return body


def test_all_top_pairs_are_held_with_the_sources_of_their_edges(finished_run: Path) -> None:
    results = Results.open(finished_run)
    data = data_of(results)
    top = results.topk("tiny").query("part == 'total'")
    assert data["left_out"] == ""
    assert sum(data["sizes"]) == len(data["query"]) == len(top)
    assert len(data["matrices"]) == 8  # 2 categories x 2 layers x 2 views
    genes = [gene for gene, _ in data["genes"]]
    matrix = data["matrices"][0]
    names = ["model", "category", "layer", "gene_set", "view"]
    mine = top[(top[names] == matrix).all(axis=1)].sort_values("rank", kind="stable")
    n = data["sizes"][0]
    assert [genes[i] for i in data["query"][:n]] == mine["query"].tolist()
    assert [genes[i] for i in data["key"][:n]] == mine["key"].tolist()
    sources = [data["edges"][i] for i in data["edge"]]
    assert sources.count("OmniPath") == (top["in_network"] == True).sum() > 0  # noqa: E712
    assert sources.count("–") == top["in_network"].isna().sum()
    # LYZ is found although the page shows 15 pairs of a category
    assert "LYZ" in dict(data["genes"]).values()


def test_what_the_page_cannot_hold_is_said(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results.open(finished_run)
    monkeypatch.setattr(module, "MOST", 300)
    data = data_of(results)
    n_all = int((results.topk("tiny")["part"] == "total").sum())
    assert data["left_out"] == (
        f"This page holds {sum(data['sizes'])} of {n_all} top pairs: those of gene set panel and "
        "view marginal. All of them are in the files topk/ of the run."
    )
    assert {matrix[4] for matrix in data["matrices"]} == {"marginal"}
    monkeypatch.setattr(module, "MOST", 40)
    data = data_of(results)
    assert f"holds {sum(data['sizes'])} of {n_all} top pairs" in data["left_out"]
    assert "and view marginal, of rank 10 or better in each list." in data["left_out"]
    assert max(data["rank"]) <= 10
    monkeypatch.setattr(module, "is_of_many", lambda _: True)
    assert data_of(results)["left_out"] == ""  # that page has a limit of its own


def test_a_network_that_cannot_be_read_leaves_edges_without_sources(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red: edges that the tables know are shown as no edges."""

    def gone(*_: object) -> None:
        raise InputError("network", "is gone", "bring it back")

    monkeypatch.setattr(module, "open_view", gone)
    data = data_of(Results.open(finished_run))
    assert set(data["edges"]) <= {"yes", "no", "–"}
    assert "yes" in data["edges"]
    assert "cannot be read" in data["sources"]

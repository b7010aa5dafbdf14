"""Views: STRING rescored as STRING does it, sources, signs; the graph as a view of assertions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.network_views import (
    INDEPENDENT,
    View,
    network_summary,
    open_view,
    view,
)
from octoscope.octopus.sources.string import CHANNELS
from octoscope.octopus.string_rescore import COEXPRESSION, combined_score

from tests.octopus.conftest import network_of

# Rows of 9606.protein.links.full as STRING publishes them (v11.0, v11.5): channels, combined.
PUBLISHED = [
    ((0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 0, 103, 85), 155),
    ((0, 0, 0, 0, 0, 0, 0, 0, 180, 0, 0, 0, 61), 197),
    ((0, 0, 0, 0, 0, 0, 62, 0, 152, 0, 0, 0, 101), 222),
    ((0, 0, 0, 0, 0, 0, 0, 0, 161, 0, 0, 47, 58), 181),
    ((0, 0, 0, 0, 0, 60, 63, 0, 213, 0, 0, 0, 72), 270),
    ((0, 0, 0, 332, 0, 0, 62, 0, 181, 0, 0, 0, 125), 490),
    ((0, 0, 0, 0, 0, 0, 0, 0, 160, 0, 0, 0, 0), 159),
    ((0, 0, 0, 0, 0, 0, 61, 0, 158, 0, 0, 542, 0), 606),
    ((0, 0, 0, 0, 0, 69, 61, 0, 78, 0, 0, 0, 89), 167),
]


def channels() -> pd.DataFrame:
    return pd.DataFrame([row for row, _ in PUBLISHED], columns=CHANNELS)


def test_all_channels_give_strings_own_score() -> None:
    scores = np.floor(1000 * combined_score(channels())).astype(int)
    assert scores.tolist() == [score for _, score in PUBLISHED]


def test_channels_that_are_taken_out_do_not_count() -> None:
    some = channels()
    remaining = combined_score(some, COEXPRESSION)
    for name in ("coexpression", "textmining"):
        some[[name, f"{name}_transferred"]] = 0
    assert np.allclose(remaining, combined_score(some), atol=1e-12)
    assert (remaining <= combined_score(channels()) + 1e-12).all()
    with pytest.raises(ValueError, match="'gossip'"):
        combined_score(channels(), ["gossip"])


def test_homology_weakens_cooccurrence_and_text_mining_only() -> None:
    base = dict.fromkeys(CHANNELS, 0)
    for channel, weakened in (("textmining", True), ("cooccurence", True), ("database", False)):
        pair = pd.DataFrame([base | {channel: 800}, base | {channel: 800, "homology": 900}])
        plain, homologous = combined_score(pair)
        assert (homologous < plain) == weakened


def test_independent_evidence_leaves_no_pair_of_coexpression_alone(peer: Network) -> None:
    kept = view(peer, INDEPENDENT)
    string = peer.sources.index("STRING")
    table = pd.read_parquet(peer.folder / "evidence/STRING.parquet")  # type: ignore[operator]
    score = combined_score(table, COEXPRESSION)
    mine = peer.edges.source == string
    strong = np.floor(1000 * score[peer.edges.evidence[mine]]) >= 150
    assert (kept.edges.source == string).sum() == strong.sum() < mine.sum()
    fi = peer.sources.index("Reactome-FI")
    assert (kept.edges.score[kept.edges.source == fi] == 1).all()
    assert (peer.edges.score[peer.edges.source == fi] < 1).any()
    others = ~np.isin(peer.edges.source, [string, fi])
    assert (~np.isin(kept.edges.source, [string, fi])).sum() == others.sum()


def test_views_by_source_sign_direction_and_confidence() -> None:
    rows = [
        (0, 1, "stimulator", "modified", True, 1, 0, 0.9),
        (1, 2, "interactor", "interactor", False, 0, 1, 0.4),
        (2, 3, "modifier", "modified", True, 0, 1, float("nan")),
    ]
    net = network_of(4, rows)

    def kept_pairs(what: View) -> list[int]:
        return view(net, what).edges.src.tolist()

    assert kept_pairs(View()) == [0, 1, 2]
    assert kept_pairs(View(sources=("TWO",))) == [1, 2]
    assert kept_pairs(View(without_sources=("TWO",))) == [0]
    assert kept_pairs(View(signed=True)) == [0]
    assert kept_pairs(View(directed=True)) == [0, 2]
    assert kept_pairs(View(min_score=0.5)) == [
        0,
        2,
    ]  # a source without scores is not judged by them
    with pytest.raises(InputError, match="'THREE'.*ONE, TWO"):
        view(net, View(sources=("THREE",)))
    assert len(net.edges) == 3  # a view leaves the network as it is


def test_rescoring_without_the_channels_is_refused(imported: dict[str, Path]) -> None:
    store = open_network(imported["store peer"])
    with pytest.raises(InputError, match="sources of its edges are not known"):
        view(store, INDEPENDENT)
    with pytest.raises(InputError, match="'gossip' is unknown"):
        view(store, View(string_without=("gossip",)))
    with pytest.raises(InputError, match="channels are not in this directory"):
        view(view(store, View(without_sources=("Napistu",))), View(string_without=("textmining",)))


def test_a_run_may_ask_for_a_view(built: dict[str, Path]) -> None:
    path = str(built["corrected"])
    whole = open_network(path)
    opened = open_view(path, ["STRING", "TRRUST"], independent=True)
    what = replace(INDEPENDENT, sources=("STRING", "TRRUST"))
    assert (opened.pair_keys == view(whole, what).pair_keys).all()
    assert (open_view(path).pair_keys == whole.pair_keys).all()
    summaries = [network_summary(path, s, i) for s in (None, ["TRRUST"]) for i in (False, True)]
    assert len({f["sha256"] for f in summaries}) == 3  # TRRUST has no evidence to take out
    assert summaries[1]["name"] == "fixture (without co-expression evidence)"
    assert summaries[3]["name"] == "fixture (TRRUST; without co-expression evidence)"
    assert summaries[2]["pairs"] == 153

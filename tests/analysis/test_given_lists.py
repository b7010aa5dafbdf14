"""Edge rates of given lists: as published against a count by hand, and hubs under both nulls."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from octoscope.analysis.given_lists import PeerRates, list_rates, peer_rates
from octoscope.octopus.network import Network, open_network

from tests.here import here
from tests.octopus.conftest import network_of

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ROLE = "interactor"


def small_network() -> Network:
    """Five vertices: 0→1 twice, 1–2 in no order, 3→3, 4→0."""
    edges = [(0, 1, True), (0, 1, True), (1, 2, False), (3, 3, True), (4, 0, True)]
    return network_of(
        5, [(a, b, ROLE, ROLE, d, 0, i % 2, 0.5) for i, (a, b, d) in enumerate(edges)]
    )


def test_published_rates_are_those_counted_by_hand() -> None:
    """With their defects. Red: distinct pairs; n (n - 1); pairs outside of the vocabulary."""
    a, b = np.array([0, 1, 2, 3, -1]), np.array([1, 0, 1, 4, 2])
    rates = peer_rates(small_network(), a, b, np.arange(5))
    assert rates.rate == 2 / 4  # 0→1 and 2–1, not 1→0; a gene without a vertex is left out
    # 0→1 twice, 1–2 both ways, 3→3, 4→0
    assert rates.background == 6 / 4**2
    assert rates.fold == pytest.approx(0.5 / (6 / 16))
    few = peer_rates(small_network(), a, b, np.array([0, 1, -1]))
    assert few.background == 2 / 1**2
    none = peer_rates(small_network(), a[:0], b[:0], np.zeros(0, int))
    assert np.isnan([none.rate, none.background, none.fold]).all()
    assert np.isnan(PeerRates(0.1, 0.0).fold)


def test_hubs_alone_are_enriched_as_published_and_not_over_like_degree() -> None:
    """Red: a null of all genes alike."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from hub_lists import lists
    finally:
        sys.path.remove(str(BENCHMARKS))
    network = open_network("demo")
    genes = np.array(network.gene_index[:1500], dtype=object)
    genes = genes[np.sort(np.unique(network.vertex_of(genes), return_index=True)[1])]
    _, drawn, hubs = lists(network, genes, 800, 0).values()
    for i, j in (drawn, hubs):
        rates, peer = list_rates(network, genes[i], genes[j], genes, permutations=99, seed=0)
        assert peer.fold > 6
        assert rates["fold_over_null"] == pytest.approx(1, abs=0.25)
        assert rates["p"] > 0.05


def test_the_command_says_both(tmp_path: Path) -> None:
    """Red: genes of the list alone where a vocabulary is given; NaN in JSON."""
    network = open_network("demo")
    genes = list(network.gene_index[:40])
    table = pd.DataFrame({"query": genes[:20], "key": genes[20:]})
    table.to_csv(tmp_path / "pairs.csv", index=False)
    (tmp_path / "genes.txt").write_text("\n".join(network.gene_index[:300]))
    alone = here("octopus", "rate", "demo", str(tmp_path / "pairs.csv"), "--json")
    assert alone.returncode == 0, alone.stderr
    row = json.loads(alone.stdout)
    assert row["n_pairs"] == 20
    more = here("octopus", "rate", "demo", str(tmp_path / "pairs.csv"), "--json",
                "--genes", str(tmp_path / "genes.txt"))  # fmt: skip
    other = json.loads(more.stdout)
    assert other["n_background"] > 10 * row["n_background"]
    assert other["peer_background"] != row["peer_background"]
    text = here("octopus", "rate", "demo", str(tmp_path / "pairs.csv"))
    assert "As published, without a null" in " ".join(text.stdout.split())
    (tmp_path / "few.txt").write_text("\n".join(genes[:5]))
    refused = here("octopus", "rate", "demo", str(tmp_path / "pairs.csv"),
                   "--genes", str(tmp_path / "few.txt"))  # fmt: skip
    assert refused.returncode != 0
    assert "lacks 35 genes of the list" in " ".join((refused.stdout + refused.stderr).split())

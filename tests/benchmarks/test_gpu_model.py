"""The model on paper of the reduction on a GPU, and the device benchmark as far as it goes here."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from gpu_model import CARDS, SIZES, row, times, work

SCGPT, AIDO, RAGGED = SIZES[0], SIZES[4], SIZES[6]


def test_operations_count_both_passes_over_all_scores() -> None:
    operations = work(SCGPT)
    assert operations["scores"] == 8 * 1200**2
    assert operations["operations"] == 2 * 2 * 64 * operations["scores"]
    assert operations["exponentials"] == 2 * operations["scores"]


def test_memory_of_fixed_sets_depends_on_neither_heads_nor_cells() -> None:
    batch = [replace(AIDO, micro=n, heads=h, d=32 * h) for n, h in ((2, 20), (8, 5))]
    whole = [work(m)["bytes"] * m.micro for m in batch]
    assert whole[0] == whole[1] == 48 * 19264**2


def test_memory_of_ragged_cells_follows_the_pairs_there_are() -> None:
    few, many = (work(replace(RAGGED, tokens=n))["bytes"] for n in (1000, 2000))
    assert many == 4 * few
    # where a cell holds a quarter of the genes or more, neighbours share a sector
    assert work(replace(RAGGED, tokens=10_000))["bytes"] < 48 * 10_000**2 * 4


@pytest.mark.parametrize("precision", ["tf32x3", "ieee", "bf16"])
def test_overlap_saves_time_and_the_wall_is_what_takes_longest(precision: str) -> None:
    for card in CARDS:
        for m in SIZES:
            t = times(m, card, precision)
            assert max(t["product"], t["exp"], t["memory"]) <= t["roof"] <= t["in_turn"]
            wall = row(m, card, precision)["wall"]
            assert t[wall] == max(t["product"], t["exp"], t["memory"])

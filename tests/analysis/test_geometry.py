"""Residual geometry against scipy; sampling error; null."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.analysis.geometry import compare_geometry
from scipy.stats import spearmanr


def streams(seed: int, n: int = 60, mix: float = 0.7) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, 12))
    turned = base @ np.linalg.qr(rng.normal(size=(12, 12)))[0] + mix * rng.normal(size=(n, 12))
    return [base, turned, rng.normal(size=(n, 8))]


def cosines(x: np.ndarray) -> np.ndarray:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(x), 1)]


def test_it_is_spearman_of_cosine_similarities() -> None:
    geometry = compare_geometry(streams(0), permutations=50, seed=0)
    assert geometry[["a", "b"]].to_numpy().tolist() == [[0, 1], [0, 2], [1, 2]]
    for row in geometry.itertuples():
        want = spearmanr(cosines(streams(0)[row.a]), cosines(streams(0)[row.b]))[0]
        assert row.spearman == pytest.approx(want, abs=1e-5)
        assert row.low <= row.spearman <= row.high
        assert (row.exact, row.n_pairs, row.sampling_error) == (True, 60 * 59 // 2, 0)
    assert geometry["p"].iloc[0] == pytest.approx(1 / 51)  # rotated: the same geometry
    assert (
        geometry["null_low"].iloc[1] < geometry["spearman"].iloc[1] < geometry["null_high"].iloc[1]
    )


def test_a_sample_is_within_its_error() -> None:
    whole = compare_geometry(streams(1, 90), permutations=2, seed=0)
    off = []
    for seed in range(12):
        part = compare_geometry(streams(1, 90), permutations=2, seed=seed, most=600)
        assert not part["exact"].any()
        assert (part["n_pairs"] == 600).all()
        off += ((part["spearman"] - whole["spearman"]) / part["sampling_error"]).tolist()
    assert 0.5 < np.std(off) < 1.6


def test_unrelated_streams_give_uniform_p() -> None:
    rng = np.random.default_rng(0)
    p = [
        compare_geometry([rng.normal(size=(40, 6)), rng.normal(size=(40, 5))],
                         permutations=40, seed=s)["p"].iloc[0]
        for s in range(40)
    ]  # fmt: skip
    assert np.mean(np.array(p) < 0.1) < 0.25
    assert 0.35 < np.mean(p) < 0.65

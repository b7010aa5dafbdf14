"""Models compared as napistu-torch 0.4.0's ``AttentionPatternsInputs.compare`` compares them.

Identical arrays go through the peer in its own environment. Values differ by rounding of products,
so ranks and pairs follow the epsilon rule: with epsilon = 1e-6 max|A|, a rank lies between those of
value + epsilon and value - epsilon, and lists differ only within epsilon of the K-th value.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.analysis.agreement import Placed, agreement, place, spearman, union
from engine.analysis.derived import combine
from engine.analysis.geometry import compare_geometry
from engine.attention.topk import TopK
from tests.analysis.conftest import BENCHMARKS
from tests.analysis.matrices import Tiles, reader

LAYERS = {"alpha": 3, "beta": 2}
CATEGORIES = ("T cell", "B cell")
GENES, DIM, HEADS, K = 220, 24, 4, 900


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    held: dict[str, np.ndarray] = {"heads": np.array(HEADS), "k": np.array(K)}
    shared = rng.normal(size=(GENES, DIM))
    for model, n in LAYERS.items():
        for what in ("w_q", "w_k"):
            held[f"{what}_{model}"] = rng.normal(size=(n, DIM, DIM)).astype(np.float32)
        for category in CATEGORIES:
            own = rng.normal(size=(n, GENES, DIM))
            held[f"residual_{model}_{category}"] = (shared + own).astype(np.float32)
    held["models"], held["categories"] = np.array(list(LAYERS)), np.array(CATEGORIES)
    return held


def logits(data: dict[str, np.ndarray], model: str, category: str) -> list[np.ndarray]:
    """Return what the peer calls attention, [genes, genes] per layer."""
    made = []
    for i, x in enumerate(data[f"residual_{model}_{category}"].astype(np.float64)):
        q, k = x @ data[f"w_q_{model}"][i].T, x @ data[f"w_k_{model}"][i].T
        made.append((q @ k.T / np.sqrt(DIM // HEADS) / HEADS).astype(np.float32))
    return made


def check_ranks(theirs: np.ndarray, value: np.ndarray, matrix: np.ndarray, absolute: bool) -> None:
    size = np.abs(matrix) if absolute else matrix
    value = np.abs(value) if absolute else value
    epsilon = 1e-6 * np.abs(matrix[np.isfinite(matrix)]).max()
    rising = np.sort(size.ravel())
    low = 1 + len(rising) - np.searchsorted(rising, value + epsilon, side="right")
    high = 1 + len(rising) - np.searchsorted(rising, value - epsilon, side="right")
    assert ((theirs >= low) & (theirs <= high)).all()


def ours(matrices: list[np.ndarray], absolute: bool) -> tuple[Placed, list[Callable[[], Tiles]]]:
    readers = [reader(m) for m in matrices]
    tops = []
    for read in readers:
        top = TopK(K, by_absolute_value=absolute)
        for block in read():
            top.update(*block)
        best = top.result()
        tops.append((best.query.astype(np.int64), best.key.astype(np.int64)))
    placed = place(readers, *union(tops, GENES), n_genes=GENES, conventions="peer",
                   by_absolute_value=absolute)  # fmt: skip
    return placed, readers


def places(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    at = [
        frame[c].str.removeprefix("ENSG").astype(int).to_numpy() for c in ("from_gene", "to_gene")
    ]
    return at[0], at[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("absolute", "how"), [(False, "sum"), (True, "absolute-argmax"), (False, "max")]
)
def test_every_comparison_equals_the_peers(
    peer: Path,
    tmp_path: Path,
    absolute: bool,
    how: str,
) -> None:
    data = arrays() | {"absolute": np.array(absolute), "consensus": np.array(how)}
    np.savez(tmp_path / "inputs.npz", **data)  # type: ignore[arg-type]
    done = subprocess.run(
        [str(peer), str(BENCHMARKS / "peer_compare.py"), str(tmp_path / "inputs.npz"),
         str(tmp_path)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    own_correlations = {m: [] for m in LAYERS}
    for category in CATEGORIES:
        of = {m: logits(data, m, category) for m in LAYERS}

        def theirs(name: str) -> pd.DataFrame:
            return pd.read_parquet(tmp_path / f"{category}.{name}.parquet")  # noqa: B023

        # residual streams: every layer of every model
        streams = [x for m in LAYERS for x in data[f"residual_{m}_{category}"]]
        geometry = compare_geometry(streams, permutations=2, seed=0)
        stored = sorted(tmp_path.glob(f"{category}.residual_stream_correlations.*.npy"))
        assert len(stored) == len(geometry) == 10
        want = np.sort([float(np.load(f)) for f in stored])
        assert np.allclose(np.sort(geometry["spearman"]), want, atol=1e-6)

        # layers of one model
        for model, matrices in of.items():
            placed, readers = ours(matrices, absolute)
            stem = tmp_path / f"{category}.model_layer_correlations.{model}"
            told = (
                np.load(f"{stem}.npy")
                if Path(f"{stem}.npy").exists()
                else pd.read_parquet(f"{stem}.parquet").to_numpy()
            )
            assert np.allclose(spearman(placed)[0], told, atol=1e-6)
            own_correlations[model].append(told)
            rows = agreement(placed, dict(enumerate(readers)), [K], permutations=2, seed=0).rows
            table = theirs(f"model_layer_rank_agreement.{model}")
            check_agreement(rows, table, list(range(len(matrices))), ["layer"])

        # every layer of every model
        members = [(m, i) for m in LAYERS for i in range(LAYERS[m])]
        every = [of[m][i] for m, i in members]
        placed, readers = ours(every, absolute)
        table = theirs("cross_model_x_layer_top_attentions")
        for (model, layer), matrix in zip(members, every, strict=True):
            part = table[(table["model"] == model) & (table["layer"] == layer)]
            q, k = places(part)
            assert set(zip(q, k, strict=True)) == set(zip(placed.query, placed.key, strict=True))
            assert np.allclose(part["attention"], matrix[q, k], atol=1e-5 * np.abs(matrix).max())
            check_ranks(part["attention_rank"].to_numpy(), matrix[q, k], matrix, absolute)
        rows = agreement(placed, dict(enumerate(readers)), [K], permutations=2, seed=0).rows
        table = theirs("cross_model_x_layer_rank_agreement")
        check_agreement(rows, table, members, ["model", "layer"])

        # layers of each model as one
        as_one = {m: combine(np.stack(x), how) for m, x in of.items()}  # type: ignore[arg-type]
        if not absolute:  # the peer's own top-K wrote this into what it ranks next
            for matrix in as_one.values():
                np.fill_diagonal(matrix, -np.inf)
        placed, readers = ours(list(as_one.values()), absolute)
        table = theirs("cross_model_consensus_top_attentions")
        for model, matrix in as_one.items():
            part = table[table["model"] == model]
            q, k = places(part)
            assert set(zip(q, k, strict=True)) == set(zip(placed.query, placed.key, strict=True))
            check_ranks(part["attention_rank"].to_numpy(), matrix[q, k], matrix, absolute)
        rows = agreement(placed, dict(enumerate(readers)), [K], permutations=2, seed=0).rows
        table = theirs("cross_model_consensus_top_attentions_rank_agreement")
        check_agreement(rows, table, list(LAYERS), ["model"])

        # get_consensus_top_attentions with its own default method
        table = theirs("absolute_argmax_top")
        for model, matrices in of.items():
            matrix = combine(np.stack(matrices), "absolute-argmax")
            top = TopK(K, by_absolute_value=absolute)
            top.update(0, matrix, None)
            best = top.result()
            part = table[table["model"] == model]
            q, k = places(part)
            mine = set(zip(best.query.tolist(), best.key.tolist(), strict=True))
            other = set(zip(q.tolist(), k.tolist(), strict=True))
            size = np.abs(matrix) if absolute else matrix
            for i, j in mine ^ other:
                kth = abs(best.value[-1]) if absolute else best.value[-1]
                assert abs(size[i, j] - kth) <= 1e-6 * np.abs(matrix).max()
    # the posts' aggregation over categories
    for model, told in own_correlations.items():
        stem = tmp_path / f"all.model_layer_correlations.{model}.npy"
        assert np.allclose(np.load(stem), np.median(told, axis=0), atol=1e-12)


def check_agreement(
    rows: list[dict[str, float | int]], table: pd.DataFrame, names: list, ends: list[str]
) -> None:
    """Compare mean, median and largest quantile of every (query, evaluated) pair."""
    assert len(rows) == len(table)
    keyed = {}
    for row in table.to_dict("records"):
        ends_of = [tuple(row[f"{side}_{e}"] for e in ends) for side in ("query", "eval")]
        keyed[tuple(ends_of)] = row
    for row in rows:
        named = [names[int(row[side])] for side in ("query", "eval")]
        key = tuple(n if isinstance(n, tuple) else (n,) for n in named)
        told = keyed[key]
        # one rank more or less within epsilon moves an extreme, or a mean, by 1 / genes^2
        for what, off in (("median", 1e-6), ("mean", 1e-6), ("min", 3e-5), ("max", 3e-5)):
            assert row[f"{what}_quantile"] == pytest.approx(told[f"{what}_quantile"], abs=off), what

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
from octoscope.analysis.agreement import RankedPairs, agreement, rank_pairs, spearman, union
from octoscope.analysis.geometry import compare_geometry
from octoscope.analysis.layer_consensus import combine
from octoscope.analysis.summaries import over_categories
from octoscope.attention.topk import TopK
from octoscope.config import parse_config
from octoscope.extract.matrix_work import MatrixRunner
from octoscope.extract.unit_work import UnitRunner
from octoscope.models import load_model
from octoscope.plan.work_names import layer_name, residual_work
from octoscope.planning.freeze import prepare, run_config
from octoscope.results.mean_cell_matrix import mean_cells_of
from octoscope.results.open_matrix import stored_matrix
from octoscope.results.stored_sums import read_finished_record
from octoscope.store import tiles

from tests.analysis.conftest import BENCHMARKS
from tests.analysis.matrices import Tiles, dense, reader
from tests.conftest import three_families

LAYERS = {"alpha": 3, "beta": 2}
CATEGORIES = ("T cell", "B cell")
GENES, DIM, HEADS, K = 220, 24, 4, 900
Matrices = dict[str, list[np.ndarray]]


def random_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    held: dict[str, np.ndarray] = {"k": np.array(K)}
    shared = rng.normal(size=(GENES, DIM))
    for model, n in LAYERS.items():
        held[f"heads_{model}"] = np.array(HEADS)
        for what in ("w_q", "w_k"):
            held[f"{what}_{model}"] = rng.normal(size=(n, DIM, DIM)).astype(np.float32)
        for category in CATEGORIES:
            own = rng.normal(size=(n, GENES, DIM))
            held[f"residual_{model}_{category}"] = (shared + own).astype(np.float32)
    held["models"], held["categories"] = np.array(list(LAYERS)), np.array(CATEGORIES)
    return held


def demo_arrays(atlas: Path, folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Matrices]]:
    """Return two demonstration models' mean cells of real cells, and the matrices of their run."""
    tree = three_families(atlas) | {
        "estimators": "mean_residual", "projection": "weights_only", "views": ["logit"],
        "gene_sets": [{"name": "all", "kind": "model"}], "accumulate": "all", "edges": None,
    }  # fmt: skip
    tree["models"] = [tree["models"][0] | {"layers": [0, 1, 2]}, tree["models"][1]]
    tree["models"][0]["options"] = {"max_length": 400}
    tree["models"][1]["options"]["max_len"] = 400
    root, plan = prepare(parse_config(tree, "c"), str(folder / "run"))
    matrices = MatrixRunner(root, plan)
    for m in plan.models:
        runner = UnitRunner(root, plan, run_config(root), m.name)
        for unit in (u for u in plan.units if u.model == m.name):
            runner.run(unit)
        for c in range(2):
            runner.mean_cell(c)
            matrices.pairs(m.name, c)
            for layer in m.layers:
                matrices.matrix(m.name, c, layer)
    # genes that enough cells of both types hold, in both models
    held: set[str] = set.intersection(*(set(m.axis) for m in plan.models))
    for m in plan.models:
        for c in range(2):
            for cell in mean_cells_of(root, plan, m.name, c, m.layers[0]):
                held &= {g for g, there in zip(m.axis, cell.there, strict=True) if there}
    genes = sorted(held)
    assert len(genes) > 30
    data: dict[str, np.ndarray] = {"k": np.array(len(genes) ** 2 // 20)}
    names = [c.name for c in plan.categories]
    found: dict[str, Matrices] = {name: {} for name in names}
    for m in plan.models:
        at = np.array([m.axis.index(g) for g in genes])
        net = load_model(m.path, family=m.family, options=m.options, seed=0)
        data[f"heads_{m.name}"] = np.array(m.n_heads)
        for what, i in (("w_q", 0), ("w_k", 1)):
            weights = [net.projections(y)[i].reshape(m.d, m.d).numpy() for y in m.layers]
            data[f"{what}_{m.name}"] = np.stack(weights)
        for c, name in enumerate(names):
            record = read_finished_record(root, plan, residual_work(m.name, c))
            store = root.zarr(f"{record.folder}/attends.zarr")
            means = [tiles.open_array(store, layer_name(y, "mean"))[:][at] for y in m.layers]
            data[f"residual_{m.name}_{name}"] = np.stack(means)
            found[name][m.name] = []
            for layer in m.layers:
                source = stored_matrix(root, plan, m.name, c, layer)
                found[name][m.name].append(dense(source.values(at, "logit"))[0])
    data["models"], data["categories"] = np.array([m.name for m in plan.models]), np.array(names)
    return data, found


def logits(data: dict[str, np.ndarray], model: str, category: str) -> list[np.ndarray]:
    """Return what the peer calls attention, [genes, genes] per layer."""
    made = []
    for i, x in enumerate(data[f"residual_{model}_{category}"].astype(np.float64)):
        q, k = x @ data[f"w_q_{model}"][i].T, x @ data[f"w_k_{model}"][i].T
        heads = int(data[f"heads_{model}"])
        made.append((q @ k.T / np.sqrt(x.shape[1] // heads) / heads).astype(np.float32))
    return made


def check_ranks(theirs: np.ndarray, value: np.ndarray, matrix: np.ndarray, absolute: bool) -> None:
    size = np.abs(matrix) if absolute else matrix
    value = np.abs(value) if absolute else value
    epsilon = 1e-6 * np.abs(matrix[np.isfinite(matrix)]).max()
    rising = np.sort(size.ravel())
    low = 1 + len(rising) - np.searchsorted(rising, value + epsilon, side="right")
    high = 1 + len(rising) - np.searchsorted(rising, value - epsilon, side="right")
    assert ((theirs >= low) & (theirs <= high)).all()


def ours(
    matrices: list[np.ndarray], absolute: bool, k: int
) -> tuple[RankedPairs, list[Callable[[], Tiles]]]:
    n = len(matrices[0])
    readers = [reader(m) for m in matrices]
    tops = []
    for read in readers:
        top = TopK(k, by_absolute_value=absolute)
        for block in read():
            top.update(*block)
        best = top.result()
        tops.append((best.query.astype(np.int64), best.key.astype(np.int64)))
    ranked = rank_pairs(readers, *union(tops, n), n_genes=n, conventions="peer",
                   by_absolute_value=absolute)  # fmt: skip
    return ranked, readers


def places(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    at = [
        frame[c].str.removeprefix("ENSG").astype(int).to_numpy() for c in ("from_gene", "to_gene")
    ]
    return at[0], at[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("absolute", "how", "what"),
    [
        (False, "sum", "random"),
        (True, "absolute-argmax", "random"),
        (False, "max", "random"),
        (True, "sum", "demonstration"),
        (False, "absolute-argmax", "demonstration"),
    ],
)
def test_every_comparison_equals_the_peers(
    peer: Path,
    small_atlas: Path,
    tmp_path: Path,
    absolute: bool,
    how: str,
    what: str,
) -> None:
    if what == "random":
        data = random_arrays()
        every = {c: {m: logits(data, m, c) for m in LAYERS} for c in CATEGORIES}
    else:
        data, every = demo_arrays(small_atlas, tmp_path)
    names, most = [str(m) for m in data["models"]], int(data["k"])
    data |= {"absolute": np.array(absolute), "consensus": np.array(how)}
    np.savez(tmp_path / "inputs.npz", **data)  # type: ignore[arg-type]
    done = subprocess.run(
        [str(peer), str(BENCHMARKS / "peer_compare.py"), str(tmp_path / "inputs.npz"),
         str(tmp_path)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    agreed: list[dict[str, object]] = []
    for category, of in every.items():

        def theirs(name: str) -> pd.DataFrame:
            return pd.read_parquet(tmp_path / f"{category}.{name}.parquet")  # noqa: B023

        # residual streams: every layer of every model
        streams = [x for m in names for x in data[f"residual_{m}_{category}"]]
        geometry = compare_geometry(streams, permutations=2, seed=0)
        stored = list(tmp_path.glob(f"{category}.residual_stream_correlations.*.npy"))
        assert len(stored) == len(geometry) == len(streams) * (len(streams) - 1) / 2
        layers = [
            f"{m}_layer_{i}" for m in names for i in range(len(data[f"residual_{m}_{category}"]))
        ]
        told = {frozenset(f.name.split(".")[2].split("_vs_")): float(np.load(f)) for f in stored}
        want = [told[frozenset((layers[a], layers[b]))] for a, b in geometry[["a", "b"]].to_numpy()]
        assert np.allclose(geometry["spearman"], want, atol=1e-6)

        # layers of one model
        for model, matrices in of.items():
            ranked, readers = ours(matrices, absolute, most)
            stem = tmp_path / f"{category}.model_layer_correlations.{model}"
            told = (
                np.load(f"{stem}.npy")
                if Path(f"{stem}.npy").exists()
                else pd.read_parquet(f"{stem}.parquet").to_numpy()
            )
            assert np.allclose(spearman(ranked)[0], told, atol=1e-6)
            agreed += [
                {"comparison": "layers", "gene_set": "", "view": "", "k": most, "spearman": r,
                 "median_quantile": 0.0, "jaccard": 0.0, "query_model": model, "query_layer": a,
                 "query_view": "", "eval_model": model, "eval_layer": b, "eval_view": ""}
                for (a, b), r in np.ndenumerate(spearman(ranked)[0])
            ]  # fmt: skip
            rows = agreement(ranked, dict(enumerate(readers)), [most], permutations=2, seed=0).rows
            table = theirs(f"model_layer_rank_agreement.{model}")
            check_agreement(rows, table, list(range(len(matrices))), ["layer"])

        # every layer of every model
        members = [(m, i) for m in names for i in range(len(of[m]))]
        together = [of[m][i] for m, i in members]
        ranked, readers = ours(together, absolute, most)
        table = theirs("cross_model_x_layer_top_attentions")
        for (model, layer), matrix in zip(members, together, strict=True):
            part = table[(table["model"] == model) & (table["layer"] == layer)]
            q, k = places(part)
            assert set(zip(q, k, strict=True)) == set(zip(ranked.query, ranked.key, strict=True))
            assert np.allclose(part["attention"], matrix[q, k], atol=1e-5 * np.abs(matrix).max())
            check_ranks(part["attention_rank"].to_numpy(), matrix[q, k], matrix, absolute)
        rows = agreement(ranked, dict(enumerate(readers)), [most], permutations=2, seed=0).rows
        table = theirs("cross_model_x_layer_rank_agreement")
        check_agreement(rows, table, members, ["model", "layer"])

        # layers of each model as one
        as_one = {m: combine(np.stack(x), how) for m, x in of.items()}  # type: ignore[arg-type]
        if not absolute:  # the peer's own top-K wrote this into what it ranks next
            for matrix in as_one.values():
                np.fill_diagonal(matrix, -np.inf)
        ranked, readers = ours(list(as_one.values()), absolute, most)
        table = theirs("cross_model_consensus_top_attentions")
        for model, matrix in as_one.items():
            part = table[table["model"] == model]
            q, k = places(part)
            assert set(zip(q, k, strict=True)) == set(zip(ranked.query, ranked.key, strict=True))
            check_ranks(part["attention_rank"].to_numpy(), matrix[q, k], matrix, absolute)
        rows = agreement(ranked, dict(enumerate(readers)), [most], permutations=2, seed=0).rows
        table = theirs("cross_model_consensus_top_attentions_rank_agreement")
        check_agreement(rows, table, names, ["model"])

        # get_consensus_top_attentions with its own default method
        table = theirs("absolute_argmax_top")
        for model, matrices in of.items():
            matrix = combine(np.stack(matrices), "absolute-argmax")
            top = TopK(most, by_absolute_value=absolute)
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
    # the posts' aggregation over categories, by the code that runs use
    medians = over_categories("agreement", pd.DataFrame(agreed))
    for model in names:
        mine = medians[medians["query_model"] == model]
        square = mine.pivot(index="query_layer", columns="eval_layer", values="spearman")
        stem = tmp_path / f"all.model_layer_correlations.{model}"
        assert np.allclose(square.to_numpy(), np.load(f"{stem}.npy"), atol=1e-6)


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

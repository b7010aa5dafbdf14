"""Models compared as napistu-torch 0.4.0's ``AttentionPatternsInputs.compare`` compares them.

Identical arrays go through the peer in its own environment. Values differ by rounding of products,
by delta at most: it is measured on the matrices of the peer and must not exceed 1e-6 max|A|. Ranks,
lists, and the statistics of quantiles lie within the bounds that follow (``rounding.py``).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
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
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.results.mean_cell_matrix import mean_cells_of
from octoscope.results.open_matrix import stored_matrix
from octoscope.results.stored_sums import read_finished_record
from octoscope.run_plan.work_names import layer_name, residual_work
from octoscope.store import tiles

from tests.analysis.conftest import BENCHMARKS
from tests.analysis.matrices import Tiles, dense, reader
from tests.analysis.rounding import (
    STATISTICS,
    largest_difference,
    rank_bounds,
    spearman_bound,
    statistic_bounds,
)
from tests.conftest import three_families

LAYERS = {"alpha": 3, "beta": 2}
CATEGORIES = ("T cell", "B cell")
GENES, DIM, HEADS, K = 220, 24, 4, 900
Matrices = dict[str, list[np.ndarray]]


def random_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"k": np.array(K)}
    shared = rng.normal(size=(GENES, DIM))
    for model, n in LAYERS.items():
        arrays[f"heads_{model}"] = np.array(HEADS)
        for what in ("w_q", "w_k"):
            arrays[f"{what}_{model}"] = rng.normal(size=(n, DIM, DIM)).astype(np.float32)
        for category in CATEGORIES:
            own = rng.normal(size=(n, GENES, DIM))
            arrays[f"residual_{model}_{category}"] = (shared + own).astype(np.float32)
    arrays["models"], arrays["categories"] = np.array(list(LAYERS)), np.array(CATEGORIES)
    return arrays


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
    shared_genes: set[str] = set.intersection(*(set(m.axis) for m in plan.models))
    for m in plan.models:
        for c in range(2):
            for cell in mean_cells_of(root, plan, m.name, c, m.layers[0]):
                shared_genes &= {
                    g for g, present in zip(m.axis, cell.present, strict=True) if present
                }
    genes = sorted(shared_genes)
    assert len(genes) > 30
    data: dict[str, np.ndarray] = {"k": np.array(len(genes) ** 2 // 20)}
    names = [c.name for c in plan.categories]
    by_category: dict[str, Matrices] = {name: {} for name in names}
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
            by_category[name][m.name] = []
            for layer in m.layers:
                source = stored_matrix(root, plan, m.name, c, layer)
                by_category[name][m.name].append(dense(source.values(at, "logit"))[0])
    data["models"], data["categories"] = np.array([m.name for m in plan.models]), np.array(names)
    return data, by_category


def logits(data: dict[str, np.ndarray], model: str, category: str) -> list[np.ndarray]:
    """Return what the peer calls attention, [genes, genes] per layer."""
    layers = []
    for i, x in enumerate(data[f"residual_{model}_{category}"].astype(np.float64)):
        q, k = x @ data[f"w_q_{model}"][i].T, x @ data[f"w_k_{model}"][i].T
        heads = int(data[f"heads_{model}"])
        layers.append((q @ k.T / np.sqrt(x.shape[1] // heads) / heads).astype(np.float32))
    return layers


@dataclass
class Rounded:
    """Matrices, the peer's of the same arrays, and what follows for ranks.

    Attributes
    ----------
    delta
        [matrices] largest differences of one value.
    low, high
        [matrices, genes, genes] bounds of the ranks.
    """

    ours: list[np.ndarray]
    theirs: list[np.ndarray]
    absolute: bool

    def __post_init__(self) -> None:
        self.delta = [largest_difference(a, b) for a, b in zip(self.ours, self.theirs, strict=True)]
        for matrix, delta in zip(self.ours, self.delta, strict=True):
            assert delta <= 1e-6 * np.abs(matrix[np.isfinite(matrix)]).max()
        bounds = [
            rank_bounds(m, d, self.absolute) for m, d in zip(self.ours, self.delta, strict=True)
        ]
        self.low, self.high = (np.stack(x) for x in zip(*bounds, strict=True))
        # narrow enough that ranks which are all off by one place lie outside
        assert (self.high - self.low).mean() < 0.5

    def check_ranks(self, i: int, query: np.ndarray, key: np.ndarray, ranks: np.ndarray) -> None:
        """Check the peer's ranks of pairs in matrix ``i``."""
        assert (ranks >= self.low[i, query, key]).all()
        assert (ranks <= self.high[i, query, key]).all()

    def check_union(self, k: int, *unions: tuple[np.ndarray, np.ndarray]) -> None:
        """Check unions of the matrices' K largest: only what rounding decides may differ."""
        n = len(self.ours[0])
        certain, possible = np.zeros((2, n, n), bool)
        for matrix, delta in zip(self.ours, self.delta, strict=True):
            others = matrix[~np.eye(n, dtype=bool)]  # self pairs are in no list
            low, high = rank_bounds(others, delta, self.absolute)
            certain[~np.eye(n, dtype=bool)] |= high <= k
            possible[~np.eye(n, dtype=bool)] |= low <= k
        for query, key in unions:
            assert possible[query, key].all()
            assert len(query) >= certain.sum()
            listed = np.zeros((n, n), bool)
            listed[query, key] = True
            assert listed[certain].all()

    def check_agreement(
        self,
        rows: list[dict[str, float | int]],
        table: pd.DataFrame,
        names: list,
        ends: list[str],
        k: int,
    ) -> None:
        """Check mean, median and extremes of quantiles of every (query, evaluated) pair.

        Ours and the peer's lie within the bounds.
        """
        assert len(rows) == len(table)
        keyed = {}
        for row in table.to_dict("records"):
            ends_of = [tuple(row[f"{side}_{e}"] for e in ends) for side in ("query", "eval")]
            keyed[tuple(ends_of)] = row
        others = ~np.eye(len(self.ours[0]), dtype=bool)
        for row in rows:
            a, b = int(row["query"]), int(row["eval"])
            key = tuple(n if isinstance(n, tuple) else (n,) for n in (names[a], names[b]))
            possible, certain = self.low[a][others] <= k, self.high[a][others] <= k
            low, high = (x[b][others] / x[b].size for x in (self.low, self.high))
            for what in STATISTICS:
                least, most = statistic_bounds(what, low, high, certain, possible)
                for row_of in (row, keyed[key]):
                    at = row_of[f"{what}_quantile"]
                    assert least - 1e-9 <= at <= most + 1e-9, (what, key, least, at, most)


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


def positions(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    at = [
        frame[c].str.removeprefix("ENSG").astype(int).to_numpy() for c in ("from_gene", "to_gene")
    ]
    return at[0], at[1]


# every method, both orders and both inputs once; the other two are run by hand
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("absolute", "how", "what"),
    [
        pytest.param(False, "sum", "random", marks=pytest.mark.campaign),
        pytest.param(True, "absolute-argmax", "random", marks=pytest.mark.slow),
        pytest.param(False, "max", "random", marks=pytest.mark.slow),
        pytest.param(True, "sum", "demonstration", marks=pytest.mark.slow),
        pytest.param(False, "absolute-argmax", "demonstration", marks=pytest.mark.campaign),
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
    slack: dict[str, np.ndarray] = {}  # of Spearman correlations, the largest of any category
    for category, of in every.items():

        def theirs(name: str) -> pd.DataFrame:
            return pd.read_parquet(tmp_path / f"{category}.{name}.parquet")  # noqa: B023

        stems = {m: f"{category}.attention.{m}" for m in names}
        peers = {
            m: [np.load(tmp_path / f"{stems[m]}.{i}.npy") for i in range(len(of[m]))] for m in names
        }

        # residual streams: every layer of every model
        streams = [x for m in names for x in data[f"residual_{m}_{category}"]]
        geometry = compare_geometry(streams, permutations=2, seed=0)
        stored = list(tmp_path.glob(f"{category}.residual_stream_correlations.*.npy"))
        assert len(stored) == len(geometry) == len(streams) * (len(streams) - 1) / 2
        layers = [
            f"{m}_layer_{i}" for m in names for i in range(len(data[f"residual_{m}_{category}"]))
        ]
        stated = {frozenset(f.name.split(".")[2].split("_vs_")): float(np.load(f)) for f in stored}
        want = [
            stated[frozenset((layers[a], layers[b]))] for a, b in geometry[["a", "b"]].to_numpy()
        ]
        assert np.allclose(geometry["spearman"], want, atol=1e-6)

        # layers of one model
        for model, matrices in of.items():
            rounded = Rounded(matrices, peers[model], absolute)
            delta = rounded.delta
            ranked, readers = ours(matrices, absolute, most)
            stem = tmp_path / f"{category}.model_layer_correlations.{model}"
            stated = (
                np.load(f"{stem}.npy")
                if Path(f"{stem}.npy").exists()
                else pd.read_parquet(f"{stem}.parquet").to_numpy()
            )
            moved = np.array(
                [
                    [
                        spearman_bound(ranked.values[a], ranked.values[b], delta[a], delta[b])
                        for b in range(len(matrices))
                    ]
                    for a in range(len(matrices))
                ]
            )
            slack[model] = np.maximum(moved, slack.get(model, 0))
            assert (np.abs(spearman(ranked)[0] - stated) <= 1e-6 + moved).all()
            agreed += [
                {"comparison": "layers", "gene_set": "", "view": "", "k": most, "spearman": r,
                 "median_quantile": 0.0, "jaccard": 0.0, "query_model": model, "query_layer": a,
                 "query_view": "", "eval_model": model, "eval_layer": b, "eval_view": ""}
                for (a, b), r in np.ndenumerate(spearman(ranked)[0])
            ]  # fmt: skip
            rows = agreement(ranked, dict(enumerate(readers)), [most], permutations=2, seed=0).rows
            table = theirs(f"model_layer_rank_agreement.{model}")
            rounded.check_agreement(rows, table, list(range(len(matrices))), ["layer"], most)

        # every layer of every model
        members = [(m, i) for m in names for i in range(len(of[m]))]
        together = [of[m][i] for m, i in members]
        rounded = Rounded(together, [peers[m][i] for m, i in members], absolute)
        ranked, readers = ours(together, absolute, most)
        table = theirs("cross_model_x_layer_top_attentions")
        for at, (model, layer) in enumerate(members):
            part = table[(table["model"] == model) & (table["layer"] == layer)]
            q, k = positions(part)
            rounded.check_union(most, (q, k), (ranked.query, ranked.key))
            assert np.array_equal(part["attention"], peers[model][layer][q, k])
            rounded.check_ranks(at, q, k, part["attention_rank"].to_numpy())
        rows = agreement(ranked, dict(enumerate(readers)), [most], permutations=2, seed=0).rows
        table = theirs("cross_model_x_layer_rank_agreement")
        rounded.check_agreement(rows, table, members, ["model", "layer"], most)

        # layers of each model as one
        combined = {m: combine(np.stack(x), how) for m, x in of.items()}  # type: ignore[arg-type]
        its_own = {m: combine(np.stack(x), how) for m, x in peers.items()}  # type: ignore[arg-type]
        if not absolute:  # the peer's own top-K wrote this into what it ranks next
            for matrix in [*combined.values(), *its_own.values()]:
                np.fill_diagonal(matrix, -np.inf)
        rounded = Rounded(list(combined.values()), list(its_own.values()), absolute)
        ranked, readers = ours(list(combined.values()), absolute, most)
        table = theirs("cross_model_consensus_top_attentions")
        for at, model in enumerate(combined):
            part = table[table["model"] == model]
            q, k = positions(part)
            rounded.check_union(most, (q, k), (ranked.query, ranked.key))
            rounded.check_ranks(at, q, k, part["attention_rank"].to_numpy())
        rows = agreement(ranked, dict(enumerate(readers)), [most], permutations=2, seed=0).rows
        table = theirs("cross_model_consensus_top_attentions_rank_agreement")
        rounded.check_agreement(rows, table, names, ["model"], most)

        # get_consensus_top_attentions with its own default method
        table = theirs("absolute_argmax_top")
        for model, matrices in of.items():
            matrix, stated = (
                combine(np.stack(x), "absolute-argmax") for x in (matrices, peers[model])
            )
            top = TopK(most, by_absolute_value=absolute)
            top.update(0, matrix, None)
            best = top.result()
            part = table[table["model"] == model]
            Rounded([matrix], [stated], absolute).check_union(
                most, positions(part), (best.query, best.key)
            )
    # the posts' aggregation over categories, by the code that runs use
    medians = over_categories("agreement", pd.DataFrame(agreed))
    for model in names:
        mine = medians[medians["query_model"] == model]
        square = mine.pivot(index="query_layer", columns="eval_layer", values="spearman")
        stem = tmp_path / f"all.model_layer_correlations.{model}"
        assert (np.abs(square.to_numpy() - np.load(f"{stem}.npy")) <= 1e-6 + slack[model]).all()

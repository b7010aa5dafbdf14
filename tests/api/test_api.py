"""``import octoscope as oc``: what a notebook does with a run, checked against its files."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
import octoscope as oc
import octoscope.api as oc_api
import pandas as pd
import pytest
import yaml
from octoscope.demo.demo import data
from octoscope.errors import DamagedRunError, OctoscopeWarning
from octoscope.results import run_matrices
from octoscope.store import tiles

from tests.conftest import small_tree

FOLDER = Path(str(oc_api.__file__)).parent
PLAIN = {"attention", "choose", "display", "execution", "gene_pairs", "links", "network_build",
         "tables"}  # without examples  # fmt: skip
MODULES = sorted({path.stem for path in FOLDER.glob("[a-z]*.py")} - PLAIN)


@pytest.fixture(scope="module")
def run(finished_run: Path) -> oc.Run:
    return oc.open_run(finished_run)


class Unwrapping(doctest.DocTestFinder):
    """Also finds the examples of decorated functions, which doctest takes for another module's."""

    def _from_module(self, module: Any, object: Any) -> bool:
        return super()._from_module(module, inspect.unwrap(object))  # type: ignore[misc]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_run(name: str, finished_run: Path, small_config: Path) -> None:
    names = {
        "oc": oc,
        "np": np,
        "RUN": str(finished_run),
        "CONFIG": str(small_config),
        "CHECKPOINT": str(data("checkpoints/scgpt-demo")),
        "GNN": str(data("gnn-demo")),
    }
    module = import_module(f"octoscope.api.{name}")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in Unwrapping().find(module, extraglobs=names):
        runner.run(example)
    assert runner.failures == 0
    assert runner.tries == (FOLDER / f"{name}.py").read_text().count(">>> ")  # none is passed over
    shown = [item for item in vars(module).values() if inspect.isclass(item)]
    own = [item for item in shown if item.__module__ == module.__name__]
    assert [item.__name__ for item in own if ">>> " not in str(item.__doc__)] == []
    assert runner.tries > 0


def test_top_pairs_are_those_of_the_file(run: oc.Run, finished_run: Path) -> None:
    stored = pd.read_parquet(finished_run / "topk/tiny.parquet")
    top = run.topk(model="tiny", category="macrophage", layer=0, view="logit", k=7)
    mine = stored.query(
        "category == 'macrophage' and layer == 0 and view == 'logit' and part == 'total'"
    )
    mine = mine[mine["rank"] <= 7]
    assert top["query"].tolist() == mine["query"].tolist()
    assert top["value"].tolist() == mine["value"].tolist()
    assert set(run.topk(model="tiny")["category"]) == {"T cell", "macrophage"}
    assert set(run.topk(model="tiny")["view"]) == {"marginal"}  # the first declared


def test_a_matrix_holds_the_values_of_the_top_pairs(run: oc.Run) -> None:
    matrix = run.matrix("tiny", "T cell", layer=2, view="logit")
    values = matrix.to_numpy()
    at = {gene: i for i, gene in enumerate(matrix.genes["gene"])}
    for row in run.topk(model="tiny", category="T cell", layer=2, view="logit").itertuples():
        assert values[at[row.query], at[row.key]] == np.float32(row.value)
    frame = matrix.to_frame(["LYZ", "CD3G", "MS4A1"])
    assert frame.index.tolist() == ["LYZ", "CD3G", "MS4A1"]
    symbols = matrix.genes["symbol"].tolist()
    i, j = symbols.index("CD3G"), symbols.index("LYZ")
    assert np.array_equal(frame.loc["CD3G", "LYZ"], values[i, j], equal_nan=True)
    assert matrix.rows("LYZ").to_numpy()[0] == pytest.approx(values[j], nan_ok=True)


def test_derived_views_are_made_on_demand(run: oc.Run) -> None:
    matrix = run.matrix("tiny", "T cell", layer=0, view="logit")
    centred = matrix.centred().to_numpy()
    off = ~np.eye(len(centred), dtype=bool) & ~np.isnan(centred)
    assert off.any()
    for axis in (0, 1):  # residuals of a least-squares fit have no row or column effect left
        effects = np.where(off, centred, 0).sum(axis) / np.maximum(off.sum(axis), 1)
        assert np.abs(effects).max() < 1e-4
    assert np.array_equal(matrix.absolute().to_numpy(), np.abs(matrix.to_numpy()), equal_nan=True)


def tiles_read(
    run: oc.Run, monkeypatch: pytest.MonkeyPatch, read: Callable[[oc.Matrix], object]
) -> set[tuple[int, int]]:
    """Return the rows (first, stop) of the stored tiles that one reading of a matrix takes."""
    run_matrices._recent.cache_clear()
    run_matrices._latest.cache_clear()
    seen, true = set(), tiles.read_rows

    def noting(array: Any, first: int, stop: int, lead: int | None = None) -> np.ndarray:
        seen.add((first, stop))
        return true(array, first, stop, lead)

    with monkeypatch.context() as patch:
        patch.setattr(tiles, "read_rows", noting)
        read(run.matrix("tiny", "T cell", layer=0, view="logit"))
    return seen


def test_asking_for_rows_reads_only_the_tiles_that_hold_them(
    run: oc.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = run.matrix("tiny", "T cell", layer=0, view="logit")
    names, n = matrix.genes["gene"].tolist(), matrix.shape[0]
    upper, lower = (0, 32), (32, n)
    assert 32 < n <= 64  # two tiles
    values = matrix.to_numpy()
    assert tiles_read(run, monkeypatch, lambda m: m.to_numpy()) == {upper, lower}
    assert tiles_read(run, monkeypatch, lambda m: m.rows(names[:2])) == {upper}
    assert tiles_read(run, monkeypatch, lambda m: m.rows(names[-1])) == {lower}
    blocks: list[np.ndarray] = []

    def last_block(m: oc.Matrix) -> None:
        lazy = m.to_dask(rows=8).blocks[-1]
        blocks.append(lazy.compute(scheduler="synchronous"))

    assert tiles_read(run, monkeypatch, last_block) == {lower}
    assert np.array_equal(blocks[0], values[n - len(blocks[0]) :], equal_nan=True)
    picked = matrix.rows([names[-1], names[0], names[-1]]).to_numpy()
    assert np.array_equal(picked, values[[-1, 0, -1]], equal_nan=True)


def test_a_matrix_goes_to_dask_and_anndata(run: oc.Run) -> None:
    matrix = run.matrix("tiny", "macrophage", layer=0, view="marginal")
    lazy = matrix.to_dask(rows=10)
    assert isinstance(lazy, da.Array)
    assert lazy.chunks[0][0] == 10
    values = matrix.to_numpy()
    assert np.array_equal(lazy.compute(scheduler="synchronous"), values, equal_nan=True)
    data = matrix.to_anndata()
    assert isinstance(data, ad.AnnData)
    assert data.obs["symbol"].tolist() == matrix.genes["symbol"].tolist()
    assert data.uns["octoscope"] == {
        "model": "tiny", "category": "macrophage", "layer": 0, "view": "marginal",
    }  # fmt: skip


def test_a_gene_has_every_pair_that_names_it(run: oc.Run, finished_run: Path) -> None:
    pairs = run.gene("LYZ", view="logit")
    stored = pd.read_parquet(finished_run / "topk/tiny.parquet")
    stored = stored.query("part == 'total' and view == 'logit'")
    n_as_query = (stored["query_symbol"] == "LYZ").sum()
    answered = (stored["key_symbol"] == "LYZ").sum()
    assert n_as_query + answered > 0
    counts = pairs["direction"].value_counts()
    assert (counts.get("attends to", 0), counts.get("attended to by", 0)) == (n_as_query, answered)
    joined = pairs[pairs["in_network"].eq(True).fillna(False)]
    assert joined["sources"].eq("OmniPath").all()
    apart = pairs[~pairs["in_network"].eq(True).fillna(False)]
    assert apart["sources"].isna().all()


def test_names_that_are_not_there_are_refused_with_the_nearest(run: oc.Run) -> None:
    with pytest.raises(oc.InputError, match="did you mean 'tiny'"):
        run.topk(model="tinny")
    with pytest.raises(oc.InputError, match="did you mean 'T cell'"):
        run.matrix("tiny", "T cells", layer=0)
    with pytest.raises(oc.InputError, match="choose among 0, 2"):
        run.matrix("tiny", "T cell", layer=1)
    with pytest.raises(oc.InputError, match="did you mean LYZ"):
        run.gene("LYZZ")
    with pytest.raises(oc.InputError, match="top_k"):
        run.topk(model="tiny", k=5000)
    with pytest.raises(oc.InputError, match="agreement"):
        run.tables["agrement"]


def test_what_is_not_finished_or_not_kept_is_said(
    finished_run: Path, tmp_path: Path, small_config: Path
) -> None:
    with pytest.raises(oc.InputError, match="not a run directory"):
        oc.open_run(tmp_path)
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    for name in ("plan.json", "config.yaml"):
        (unfinished / name).write_bytes((finished_run / name).read_bytes())
    with pytest.raises(DamagedRunError, match="octoscope resume"):
        oc.open_run(unfinished)


def test_objects_show_themselves_shortly(run: oc.Run) -> None:
    shown = (run, run.matrix("tiny", "T cell", layer=0), oc.open_network("demo"))
    for thing in shown:
        assert len(repr(thing)) < 300
        assert thing._repr_html_().startswith("<table>")
    parts = (run.tables, run.plan, oc.RunDirectory(run.path).status())
    assert all(len(repr(part)) < 300 and " object at " not in repr(part) for part in parts)
    assert repr(run.plan).startswith(f"<Plan {run.plan.hash[:12]}: tiny; 2 categories, ")
    assert "models=tiny" in repr(run)
    assert "state=finished" in repr(run)


def test_a_network_answers_by_symbol() -> None:
    network = oc.open_network("demo")
    near = network.neighbours("LYZ")
    assert len(near) == near["gene"].nunique() > 0
    assert (near["to"] | near["from_"]).all()
    with pytest.raises(oc.InputError, match="NOTAGENE"):
        network.neighbours("NOTAGENE")
    pairs = pd.DataFrame({"query": near["gene"], "key": "ENSG00000090382"})
    annotated = network.annotate(pairs)
    assert (annotated["forward"] | annotated["reverse"]).all()
    with pytest.warns(OctoscopeWarning, match="resources of OmniPath's rows are not known"):
        independent = network.view(independent=True)
    assert "not known to be independent=OmniPath" in repr(independent)
    assert "independent" not in repr(network)
    assert network.view(signed=True).graph.pair_keys.size < network.graph.pair_keys.size


def test_a_view_of_a_network_annotates_the_top_pairs_of_a_run(run: oc.Run) -> None:
    """Against the files of the network, assertion by assertion."""
    top = run.topk(model="tiny", layer=2, view="logit")
    gene = pd.read_parquet(data("octopus/genes.parquet")).set_index("vertex")["gene"]
    edges = pd.read_parquet(data("octopus/edges.parquet")).query("sign != 0")
    signs: dict[tuple[str, str], set[int]] = {}
    beside: dict[str, set[str]] = {}
    for src, dst, sign in zip(edges["src"], edges["dst"], edges["sign"], strict=True):
        a, b = gene[src], gene[dst]
        signs.setdefault((a, b), set()).add(sign)
        beside.setdefault(a, set()).add(b)
        beside.setdefault(b, set()).add(a)
    network = oc.open_network("demo")
    annotated = network.view(signed=True).annotate(top)
    pd.testing.assert_frame_equal(annotated[top.columns], top)
    known, pairs = set(gene), list(zip(top["query"], top["key"], strict=True))
    assert annotated["mapped"].tolist() == [{a, b} <= known for a, b in pairs]
    assert 0 < annotated["mapped"].sum() < len(top)
    assert annotated.loc[~annotated["mapped"], ["forward", "reverse", "sign"]].isna().all(None)
    mapped = annotated[annotated["mapped"]].reset_index(drop=True)
    pairs = list(zip(mapped["query"], mapped["key"], strict=True))
    assert mapped["forward"].tolist() == [(a, b) in signs for a, b in pairs]
    assert mapped["reverse"].tolist() == [(b, a) in signs for a, b in pairs]
    assert mapped["degree_a"].tolist() == [len(beside.get(a, set()) - {a}) for a, _ in pairs]
    one_way = [(i, p) for i, p in enumerate(pairs) if p in signs and p[::-1] not in signs]
    assert len(one_way) > 5
    for i, pair in one_way:
        assert mapped["contradictory"][i] == (len(signs[pair]) == 2)
        assert mapped["contradictory"][i] or {mapped["sign"][i]} == signs[pair]
        assert mapped["sources"][i] == "OmniPath"
    whole = network.annotate(top)  # states more than the view
    assert annotated["forward"].sum() < whole["forward"].sum()


def test_a_plan_is_looked_at_before_it_runs(small_atlas: Path, tmp_path: Path) -> None:
    tree = small_tree(small_atlas)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    planned = oc.plan(tmp_path / "run.yaml", overrides=["top_k=11"])
    same = oc.plan(tree | {"top_k": 11})
    assert planned.plan.hash == same.plan.hash
    assert planned.summary()["cells"].tolist() == [24, 24]
    assert planned.needs["actor_bytes"] > 0
    assert not (tmp_path / "run").exists()
    with pytest.raises(oc.InputError, match="top_k"):
        oc.plan(tree, overrides=["top_k=0"])


def test_a_frozen_plan_waits_in_its_directory(small_atlas: Path, tmp_path: Path) -> None:
    tree = small_tree(small_atlas)
    with pytest.raises(oc.InputError, match="frozen in no directory"):
        oc.plan(tree).execute()
    planned = oc.plan(tree, out=tmp_path / "run")
    assert planned.path == str(tmp_path / "run")
    directory = oc.RunDirectory(tmp_path / "run")
    assert (directory.finished, directory.exit_code) == (False, None)
    assert directory.status().rows["state"] == "unfinished"
    assert directory.status().view() is None
    assert [fault.object for fault in directory.verify()] == []
    again = directory.planned(overrides=["execution.attempts=7"])
    assert again.plan.hash == planned.plan.hash
    assert again.config.execution.attempts == 7
    with pytest.raises(oc.InputError, match="--set top_k"):
        directory.planned(overrides=["top_k=3"])
    with pytest.raises(oc.InputError, match="not a run directory"):
        oc.RunDirectory(tmp_path)


def test_the_package_names_what_it_offers() -> None:
    assert len(oc.__all__) <= 15
    for name in oc.__all__:
        assert getattr(oc, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'open_rnu'"):
        _ = oc.open_rnu


def test_opening_a_run_is_quick_and_light(finished_run: Path) -> None:
    script = (
        "import sys, time, octoscope as oc\n"
        f"run = oc.open_run({str(finished_run)!r}); repr(run); run.topk(model='tiny', k=3)\n"
        "run.matrix('tiny', 'T cell', layer=0).rows('LYZ')\n"
        "heavy = [m for m in ('torch', 'transformers', 'ray', 'numba', 'dask', 'matplotlib',"
        " 'anndata', 'lxml') if m in sys.modules]\n"
        "print(heavy, time.process_time())"
    )
    heavy, _, seconds = in_python(script).rpartition(" ")
    assert heavy == "[]"
    # at most 1 s of CPU; on a slow machine, not much more than its libraries alone
    libraries = "import time, pandas, pyarrow.parquet, pydantic, scipy.sparse, zarr\n"
    most = 1.0
    if float(seconds) > most:
        most = 1.8 * float(in_python(f"{libraries}print(time.process_time())"))
    assert float(seconds) < most


def in_python(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()

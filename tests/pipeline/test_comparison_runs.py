"""Runs with comparisons of other kinds: on Ray, of heads, of one layer, none, after a loss."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from octoscope.cluster.connect import ray_cluster, ray_scheduler
from octoscope.pipeline.repair_plan import plan_repair
from octoscope.pipeline.run_analyses import run_analysis, steps
from octoscope.planning.frozen_config import run_config
from octoscope.results.run_matrices import plan_of
from octoscope.run_plan.work_names import block_of
from octoscope.store.manifest import Fault
from octoscope.store.parquet import table_bytes
from octoscope.store.run_dir import RunRoot

from tests.conftest import small_tree, three_families
from tests.here import here
from tests.results.columns import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def table(run: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(run / f"{name}.parquet")


def test_layers_of_a_model_are_compared_over_all_of_its_genes(
    small_atlas: Path, tmp_path: Path
) -> None:
    tree = three_families(small_atlas) | {"accumulate": "all", "views": ["logit"]}
    tree["models"] = tree["models"][1:]
    tree["gene_sets"].append({"name": "own", "kind": "model"})
    tree["compare"] = {"k": [10], "consensus": False}
    del tree["edges"], tree["network"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    run = tmp_path / "run"
    done = here("run", str(tmp_path / "run.yaml"), "--out", str(run))
    assert done.returncode == 0, done.stderr
    agreed = table(run, "tables/agreement")
    alone = agreed[agreed["comparison"] == "layers"]
    # the second model knows 63 genes: of the first one's own genes these are a tenth
    assert set(alone["gene_set"]) == {"own"}
    assert set(alone["query_model"]) == set(alone["eval_model"]) == {"scprint"}
    assert set(alone["n_genes"]) == {600}
    together = agreed[(agreed["comparison"] == "models") & (agreed["gene_set"] == "own")]
    assert set(together["n_genes"]) == {63}
    completed = here("compare", "layers", str(run), "--gene-set", "own", "--json")
    rows = json.loads(completed.stdout)
    assert {r["comparison"] for r in rows} == {"layers"}
    assert len(rows) == 2
    completed = here("compare", "models", str(run), "--gene-set", "own", "--json")
    assert {r["comparison"] for r in json.loads(completed.stdout)} == {"models"}


def test_heads_are_matrices_of_their_own_and_are_compared(
    small_atlas: Path, tmp_path: Path
) -> None:
    tree = small_tree(small_atlas) | {"heads": "each", "views": ["logit"]}
    tree |= {"compare": {"k": [10]}, "network": None, "edges": None}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    run = tmp_path / "run"
    done = here("run", str(tmp_path / "run.yaml"), "--out", str(run))
    assert done.returncode == 0, done.stderr
    plan = plan_of(RunRoot(run).url)
    heads = plan.model("tiny").n_heads
    names = ["tiny", *(f"tiny.head{h:02d}" for h in range(1, heads))]
    assert [m.name for m in plan.models] == names
    agreed = table(run, "tables/agreement")
    between = agreed[(agreed["comparison"] == "heads") & (agreed["category"] == "T cell")]
    assert len(between) == 2 * heads * (heads - 1)  # in each of two layers
    assert (between["query_layer"] == between["eval_layer"]).all()
    assert set(between["query_model"]) == set(between["eval_model"]) == set(names)
    assert between["median_quantile"].nunique() > 1  # heads are not copies of each other
    tops = [table(run, f"topk/{name}") for name in names]
    first = [list(t[t["part"] == "total"]["value"].head(5)) for t in tops]
    assert len({tuple(x) for x in first}) == heads
    page = (run / "report/index.html").read_text()
    assert "tiny is its head 0 alone" in page
    assert "Its strongest pairs in the layer's other heads" in page


def test_ray_gives_every_comparison_the_bytes_of_threads(compared: Path, tmp_path: Path) -> None:
    root = RunRoot(tmp_path / "run")
    shutil.copytree(compared, root.url)
    plan, config = plan_of(root.url), run_config(root)
    digests: dict[str, bytes] = {}

    def write(_: RunRoot, name: str, frame: pd.DataFrame) -> None:
        digests[name] = table_bytes(frame)

    with ray_cluster():
        blocks, scheduler = plan.finished_blocks(set()), ray_scheduler()
        for analysis in steps(plan, blocks, network=True):
            run_analysis(root, analysis, blocks, config.network, scheduler, write=write)
    folders = {"union", "tables", "topk", "edges", "consensus", "pools"}
    assert {name.split("/")[0] for name in digests} == folders
    assert {n for n, data in digests.items() if data != (compared / n).read_bytes()} == set()


def test_one_layer_of_one_model_still_has_its_networks_and_contrasts(
    small_atlas: Path, tmp_path: Path
) -> None:
    tree = small_tree(small_atlas) | {"views": ["logit"], "network": None, "edges": None}
    tree["models"][0]["layers"] = [1]
    tree["compare"] = {"k": [20]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    run = tmp_path / "run"
    done = here("run", str(tmp_path / "run.yaml"), "--out", str(run))
    assert done.returncode == 0, done.stderr
    assert table(run, "tables/agreement").empty
    for between in ("layers", "models"):
        refused = here("compare", between, str(run))
        assert refused.returncode == 2
        assert f"no two {between} to compare" in refused.stderr.replace("\n", " ")
    assert faults(run) == []
    page = (run / "report/index.html").read_text()
    for name in ("together", "contrasts"):
        assert f'id="{name}"' in page, name
    assert '<figure class="network" ' in page
    assert '<figure class="agreement"' not in page
    assert f"{len(plan_of(RunRoot(run).url).models[0].gene_sets['panel'])} genes" in page


def test_a_run_without_comparisons_has_none_and_says_so(small_atlas: Path, tmp_path: Path) -> None:
    tree = small_tree(small_atlas) | {"compare": None}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    done = here("run", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "run/consensus").exists()
    assert not (tmp_path / "run/tables/agreement.parquet").exists()
    refused = here("compare", "models", str(tmp_path / "run"))
    assert refused.returncode == 2
    assert "compare: null" in refused.stderr.replace("\n", " ")
    kept = here("compare", "runs", str(tmp_path / "run"), str(tmp_path / "run"))
    assert kept.returncode == 2
    assert "keep_dense" in kept.stderr.replace("\n", " ")


def test_a_lost_comparison_needs_its_matrices_and_mean_cells(
    compared: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(compared, copy)
    root = RunRoot(copy)
    plan, config = plan_of(root.url), run_config(root)
    for name in ("tables/geometry.parquet", "consensus/c0000.parquet"):
        needed = plan_repair(root, plan, config, [Fault(name, "is missing")])
        assert needed.outputs == [name]
        assert needed.works == []  # matrices were kept, and what mean cells attend with
    base, category = block_of(plan.residual_work()[0])
    for chunk in copy.glob(f"residuals/{base}.c{category:04d}/*/attends.zarr/*_q/c/**/*"):
        if chunk.is_file():
            chunk.unlink()
    for name in ("tables/geometry.parquet", "consensus/c0000.parquet"):
        needed = plan_repair(root, plan, config, [Fault(name, "is missing")])
        assert plan.residual_work()[0] in needed.works
        assert any(w.startswith(f"units/{base}.c{category:04d}.") for w in needed.works)

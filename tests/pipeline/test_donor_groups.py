"""Donor groups left out of a run: the same matrices as of a run without these cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from octoscope.config import parse_config
from octoscope.errors import InputError
from octoscope.extract.matrix_work import MatrixRunner
from octoscope.extract.unit_work import UnitRunner
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.planning.resolve import make_plan, result_fields
from octoscope.results.open_matrix import leave_donors_out, stored_sums
from octoscope.run_plan.values import Plan
from octoscope.run_plan.work_names import matrix_work
from octoscope.store.commits import read_record
from octoscope.store.parquet import read_table
from octoscope.store.run_dir import RunRoot

from tests.conftest import small_tree
from tests.here import here

CATEGORY, LAYER = 1, 2


def tree(atlas: Path, **changes: Any) -> dict[str, Any]:
    settings = small_tree(atlas) | {"estimators": ["per_cell", "mean_residual"], "network": None}
    settings["atlas"]["replicate_key"] = "donor"
    return settings | changes


def computed(config: dict[str, Any], run: Path) -> tuple[RunRoot, Plan]:
    """Run a category's units and reduce them, in this process."""
    root, plan = prepare(parse_config(config, "c"), str(run))
    runner = UnitRunner(root, plan, run_config(root), "tiny")
    for half in (0, 1):
        for unit in plan.units_of("tiny", CATEGORY, half):
            runner.run(unit)
    runner.mean_cell(CATEGORY)
    matrices = MatrixRunner(root, plan)
    matrices.pairs("tiny", CATEGORY)
    for m in plan.models:
        matrices.matrix(m.name, CATEGORY, LAYER)
    return root, plan


def test_a_matrix_without_a_group_is_that_of_the_other_donors(
    donors_atlas: Path, tmp_path: Path
) -> None:
    root, plan = computed(
        tree(donors_atlas, donor_groups=4, min_cells=1), tmp_path / "run"
    )  # every gene and pair that a cell holds is in both runs
    groups = plan.categories[CATEGORY].groups
    assert groups is not None
    assert [g.donors for g in groups] == [2, 1, 2, 1]
    # units keep to groups
    for half in (0, 1):
        edges = [(g.start, g.stop) for g in groups if g.half == half]
        for u in plan.units_of("tiny", CATEGORY, half):
            assert any(a <= u.start < u.stop <= b for a, b in edges)
    cells = ad.read_h5ad(donors_atlas)
    index = UnitRunner(root, plan, run_config(root), "tiny")._index
    g = 2
    gone = index.halves[CATEGORY][groups[g].half][groups[g].start : groups[g].stop]
    keep = np.setdiff1d(np.arange(len(cells)), gone)
    assert len(set(cells.obs["donor"].iloc[gone])) == 2
    assert not set(cells.obs["donor"].iloc[gone]) & set(
        cells.obs["donor"][(cells.obs["cell_type"] == plan.categories[CATEGORY].name)].iloc[
            np.isin(np.flatnonzero(cells.obs["cell_type"] == plan.categories[CATEGORY].name), keep)
        ]
    )
    cells[keep].copy().write_h5ad(tmp_path / "rest.h5ad")
    other, plain = computed(tree(tmp_path / "rest.h5ad", min_cells=1), tmp_path / "rest")
    genes = np.arange(len(plan.models[0].axis))
    for m in plan.models:
        left_out = leave_donors_out(root, plan, m.name, CATEGORY, LAYER)
        assert left_out is not None
        source = stored_sums(other, plain, m.name, CATEGORY, LAYER)
        for view in ("marginal", "logit"):
            for b, (at, want, eligible) in zip(
                left_out.blocks(genes, view), source.values(genes, view), strict=True
            ):
                assert b.first == at
                assert np.allclose(b.values[g], want, rtol=1e-5, atol=2e-6), (m.name, view)
                assert np.array_equal(b.known[g], eligible)
                assert (b.eligible | ~b.known[g]).all()
                if view == "marginal" and m.estimator == "per_cell":
                    assert b.holds.all()


def test_tables_say_what_donors_do(donors_atlas: Path, tmp_path: Path) -> None:
    config = tree(donors_atlas, donor_groups=6, centred=["logit"])
    root, plan = computed(config, tmp_path / "run")
    for m in plan.models:
        record = read_record(root, matrix_work(m.name, CATEGORY, LAYER), plan.hash)
        assert record is not None
        top = read_table(root, f"{record.folder}/topk.parquet")
        total = top["part"] == "total"
        for centred in (False, True):
            of = total & (top["view"].str.endswith(".centred") == centred)
            inside = top[of].dropna(subset=["donor_low"])
            assert len(inside) >= 50
            assert (
                (inside["donor_low"] < inside["value"]) & (inside["value"] < inside["donor_high"])
            ).all()
        assert top.loc[~total, ["donor_low", "donor_high"]].isna().all().all()
        stats = read_table(root, f"{record.folder}/stats.parquet").set_index("view")
        assert stats.loc["logit", ["donors", "donor_groups"]].tolist() == [6, 6]
        for view in ("marginal", "logit.centred"):
            row = stats.loc[view]
            least = row["donor_jaccard_min"]
            assert 0 <= row["donor_kept"] <= 2 * least / (1 + least)  # of two lists of one length
            assert least <= row["donor_jaccard_mean"] < 1
        assert stats.loc["marginal", "donor_kept"] > 0


@pytest.mark.parametrize("groups", [2, 5])
def test_numbers_of_groups_that_make_no_sense_are_refused(groups: int, donors_atlas: Path) -> None:
    with pytest.raises(InputError, match="even number of at least 4"):
        parse_config(tree(donors_atlas, donor_groups=groups), "c")
    without = tree(donors_atlas, donor_groups=4)
    without["atlas"]["replicate_key"] = None
    with pytest.raises(InputError, match="replicate_key"):
        parse_config(without, "c")


def test_without_groups_a_plan_is_what_it_was(donors_atlas: Path) -> None:
    plan = make_plan(parse_config(tree(donors_atlas), "c"), None)
    body = plan.model_dump(mode="json")
    assert "groups" not in body["categories"][0]
    assert "cache" not in body["settings"]["execution"]["advanced"]
    assert "donor_groups" not in body["settings"]
    assert "max_permutation_factor" not in body["settings"]
    assert "max_permutation_factor" not in result_fields(parse_config(tree(donors_atlas), "c"))
    assert (
        result_fields(parse_config(tree(donors_atlas, max_permutation_factor=3), "c"))[
            "max_permutation_factor"
        ]
        == 3
    )
    assert make_plan(parse_config(tree(donors_atlas, donor_groups=0), "c"), None).hash == plan.hash


@pytest.mark.slow
def test_a_whole_run_with_donor_groups(donors_atlas: Path, tmp_path: Path) -> None:
    import yaml

    path, config = tmp_path / "c.yaml", tree(donors_atlas, donor_groups=4, keep_dense="fp32")
    config |= {"coexpression": ["pearson"], "estimators": ["per_cell"], "centred": ["logit"]}
    config["models"].append(config["models"][0] | {"name": "other", "layers": [0]})
    config["compare"] = {"model_groups": {"a": ["tiny"], "b": ["other"]}, "consensus": False,
                         "views": ["logit", "logit.centred"]}  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    planned = here("plan", str(path), "--out", str(tmp_path / "run"))
    assert planned.returncode == 0, planned.stdout + planned.stderr
    done = here("run", str(path), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stdout + done.stderr
    root = RunRoot(str(tmp_path / "run"))
    assert read_table(root, "topk/tiny.parquet")["donor_low"].notna().any()
    assert "are left out in turn" in (tmp_path / "run/report/index.html").read_text()
    agreed = read_table(root, "tables/agreement.parquet")
    of_models = ~agreed[["query_model", "eval_model"]].isin(["coexpression.pearson"]).any(axis=1)
    assert set(agreed["view"]) == {"logit", "logit.centred"}
    assert agreed.loc[~of_models, ["donor_low", "donor_high"]].isna().all().all()
    for table, value in ((agreed[of_models], "median_quantile"),
                         (read_table(root, "tables/coherence.parquet"), "coherence")):  # fmt: skip
        assert len(table)
        assert (table["donor_low"] <= table[value]).all()
        assert (table[value] <= table["donor_high"]).all()
        assert (table["donor_low"] < table["donor_high"]).mean() > 0.5
    # what is lost is made again, units included: their sums are gone though matrices were kept
    lost = tmp_path / "run/tables/agreement.parquet"
    sealed = lost.read_bytes()
    lost.unlink()
    repaired = here("repair", str(tmp_path / "run"))
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert lost.read_bytes() == sealed
    again = here("resume", str(tmp_path / "run"))
    assert again.returncode == 0
    assert "finished already" in again.stdout

"""Plans as pure values, and one unit against the written-out reference, without Ray."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import octoscope as oc
import pytest
import torch
from octoscope.analysis.pairings import comparisons, shared_genes
from octoscope.atlas import Atlas
from octoscope.attention.views import QUANTITIES
from octoscope.cli.plan_text import gene_set_sentences
from octoscope.config import parse_config
from octoscope.config.byte_sizes import parse_bytes
from octoscope.errors import ActivationError, InputError, OctoscopeWarning
from octoscope.extract.unit_work import UnitRunner
from octoscope.models import load_model
from octoscope.pipeline.run_analyses import outputs
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.planning.resolve import make_plan
from octoscope.run_plan import Block
from octoscope.run_plan.gene_set_counts import gene_set_counts
from octoscope.run_plan.work_names import sums_name
from octoscope.store import tiles
from octoscope.store.parquet import read_table
from octoscope.store.run_dir import RunRoot

from tests.attention import reference
from tests.conftest import five_families, small_tree, three_families


def two_models(atlas: Path) -> dict[str, Any]:
    tree = small_tree(atlas)
    second = dict(tree["models"][0]) | {"name": "panel", "tokens": "panel", "panel": "panel"}
    second["layers"] = [1]
    tree["models"].append(second)
    tree["gene_sets"].append({"name": "both", "kind": "intersection"})
    return tree


def test_a_plan_says_which_sources_are_not_known_to_be_independent(small_atlas: Path) -> None:
    tree = small_tree(small_atlas)
    plain = make_plan(parse_config(tree, "c"), None).network  # a warning would be an error
    assert plain is not None
    assert "not_known_independent" not in plain
    tree["network"]["independent"] = True
    with pytest.warns(OctoscopeWarning, match="independent: the resources of OmniPath's rows"):
        network = make_plan(parse_config(tree, "c"), None).network
    assert network is not None
    assert network["not_known_independent"] == ["OmniPath"]
    assert network["sha256"] == plain["sha256"]


def test_a_plan_is_a_pure_function_of_its_inputs(small_atlas: Path, tmp_path: Path) -> None:
    config = parse_config(two_models(small_atlas), "c")
    plan = make_plan(config, tmp_path)
    assert make_plan(config, tmp_path).hash == plan.hash
    tree = two_models(small_atlas) | {"seed": 1}
    assert make_plan(parse_config(tree, "c"), tmp_path).hash != plan.hash
    # resources that change neither content nor order of sums keep the units
    tree = two_models(small_atlas)
    tree["execution"] |= {"actors": 5, "attempts": 1}
    assert make_plan(parse_config(tree, "c"), tmp_path).units == plan.units
    for m in plan.models:
        for c, category in enumerate(plan.categories):
            for half in (0, 1):
                units = plan.units_of(m.name, c, half)
                spans = [(u.start, u.stop) for u in units]
                assert spans[0][0] == 0
                assert spans[-1][1] == category.cells[half]
                assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert plan.model("panel").input_genes == plan.model("panel").axis
    assert plan.model("tiny").gene_sets["both"] == plan.model("tiny").gene_sets["panel"]
    assert plan.needs["actor_bytes"] > 0
    tree = small_tree(small_atlas)
    tree["gene_sets"][0]["genes"] = ["CD3E", "LYZ", "CD14", "NOSUCH", "ENSG00000186092"]
    with pytest.warns(OctoscopeWarning, match="1 of 5 names are not in the atlas: NOSUCH"):
        planned = oc.plan(tree)
    plan = planned.plan
    model = plan.model("tiny")
    # one is in no table, one (OR4F5) is in the atlas but not in the model
    assert model.gene_sets_absent["panel"] == ["NOSUCH", "ENSG00000186092"]
    assert len(model.axis) == 3
    counts = gene_set_counts(plan).set_index("gene_set").loc["panel"]
    assert (counts["n_declared"], counts["n_genes"], counts["n_pairs"]) == (5, 3, 6)
    assert counts["top_k_sound"] == 0
    assert gene_set_sentences(planned) == [
        "gene set panel, tiny: 3 of 5 genes; not in the atlas, the model or `accumulate`: NOSUCH, "
        "ENSG00000186092",
        f"gene set panel: top_k {plan.settings.top_k:,} is 100% of its 6 pairs in tiny: any two "
        "such lists share pairs; top_k up to 0 is a tenth",
    ]


def test_a_misspelt_gene_is_named_with_the_likely_one(small_atlas: Path, tmp_path: Path) -> None:
    tree = small_tree(small_atlas)
    tree["gene_sets"][0]["genes"] = ["CD3E", "LYZ", "CD14", "CD79AA"]
    with pytest.warns(OctoscopeWarning, match=r"CD79AA \(did you mean CD79A\?\)"):
        make_plan(parse_config(tree, "c"), tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        "tiny",
        "panel",
        "scprint",
        "aidocell",
        pytest.param("scfoundation", marks=pytest.mark.slow),
        "geneformer",
    ],
)
def test_a_unit_equals_the_reference_on_real_cells(
    model: str, small_atlas: Path, tmp_path: Path
) -> None:
    tree = two_models(small_atlas) if model in ("tiny", "panel") else five_families(small_atlas)
    config = parse_config(tree, "c")
    root, plan = prepare(config, str(tmp_path / "run"))
    m = plan.model(model)
    unit = plan.units_of(model, 1, 0)[0]
    record = UnitRunner(root, plan, run_config(root), model).run(unit)
    assert record.metrics["cells_used"] == unit.stop - unit.start
    atlas = Atlas(config.atlas)
    rows = atlas.index(config.seed).halves[1][0][unit.start : unit.stop]
    cells = atlas.read(rows)
    net = load_model(m.path, options=m.options, seed=config.seed)
    match = net.match(atlas.genes).named_by(atlas.genes).with_panel(m.input_genes)
    tokens = net.tokenize(cells.counts, match, cells.cell_ids)
    position = {e: i for i, e in enumerate(m.axis)}
    panel = np.array([position.get(e, -1) for e in match.genes.ensembl] + [-1])[tokens.gene]
    residual, mask = net.embed(tokens), torch.from_numpy(tokens.mask)
    path = root.zarr(f"{record.folder}/sums.zarr")
    for layer in range(max(m.layers) + 1):
        a, residual = net.layer(layer, residual, mask)
        if layer not in m.layers:
            continue
        want = reference.sums(a.q.numpy(), a.k.numpy(), a.scale, tokens.mask, panel, len(m.axis))
        got = tiles.open_array(path, sums_name(layer, "mean"))[:]
        for i, name in enumerate(QUANTITIES):
            covered = np.abs(want[name][want["pairs"] > 0]).mean()
            # fp32 forward against fp64 reference: peaks carry the rounding of their logits
            allowed = 1e-5 * covered + 1e-6 * np.abs(want[name])
            assert (np.abs(got[i] - want[name]) <= allowed).all(), (layer, name)
        assert (tiles.open_array(path, "pairs")[:] == want["pairs"]).all()
        mass = tiles.open_array(path, sums_name(layer, "mean", "mass"))[:]
        assert mass[:, 0] == pytest.approx(want["probability"].sum(1), rel=1e-5, abs=1e-6)
        outside_mass = mass[:, m.mass_columns.index("outside")].sum()
        assert (outside_mass == 0) == (model in ("panel", "aidocell"))
        for kind in net.special_kinds:
            assert mass[:, m.mass_columns.index(kind)].min() >= 0
            assert mass[:, m.mass_columns.index(kind)].sum() > 0


def test_turns_through_the_layers_change_no_byte(small_atlas: Path, tmp_path: Path) -> None:
    tree = small_tree(small_atlas)
    tree |= {"moments": 2, "estimators": ["per_cell", "mean_residual"]}
    tree["execution"] |= {
        "unit_cells": 11, "advanced": {"tile": 32, "micro_batch": 2, "batch_cells": 1}
    }  # fmt: skip
    root, plan = prepare(parse_config(tree, "c"), str(tmp_path / "run"))
    unit = plan.units_of("tiny", 0, 0)[0]
    assert unit.stop - unit.start == 11
    written = []
    for macro in (None, 6, 2):  # one turn, two, six; the last of them one cell
        models = [m.model_copy(update={"macro_cells": macro}) for m in plan.models]
        turns = plan.model_copy(update={"models": models})
        other = RunRoot(tmp_path / f"of-{macro}")
        runner = UnitRunner(other, turns, run_config(root), "tiny")
        record = runner.run(unit, ahead=plan.units_of("tiny", 0, 1)[0])
        runner._prefetcher.drop()
        assert record.metrics["cells_used"] == 11
        written.append({n[len(record.folder) :]: d for n, d in record.objects.items()})
    assert len(written[0]) > 20
    assert written[0] == written[1] == written[2]


def test_weights_that_blow_up_are_refused_before_commit(
    small_atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, plan = prepare(parse_config(small_tree(small_atlas), "c"), str(tmp_path / "run"))
    runner = UnitRunner(root, plan, run_config(root), "tiny")
    embed = type(runner._model).embed

    def poisoned(self: Any, tokens: Any) -> torch.Tensor:
        out = embed(self, tokens)
        out[0, 1] = float("nan")
        return out

    monkeypatch.setattr(type(runner._model), "embed", poisoned)
    unit = plan.units[0]
    rows = runner._index.halves[unit.category][unit.half][unit.start : unit.stop]
    cell = re.escape(str(runner._atlas.cell_ids[rows[0]]))
    message = rf"model tiny, unit {unit.id}, layer 0, heads 0, 1.*not finite in 1 cell: {cell}$"
    with pytest.raises(ActivationError, match=message):
        runner.run(unit)
    assert not root.exists(f"{unit.work}/record.json")


def test_a_context_over_the_data_set_is_frozen_in_the_plan(
    small_atlas: Path, tmp_path: Path
) -> None:
    plan = make_plan(parse_config(three_families(small_atlas), "c"), tmp_path)
    m = plan.model("scprint")
    assert m.options["context"] == "some"
    assert len(m.options["context_genes"]) == 90
    assert m.max_tokens == 98
    lyz = m.symbols.index("LYZ")
    assert m.axis[lyz] in m.options["context_genes"]
    tree = three_families(small_atlas)
    tree["atlas"]["categories"] = ["T cell"]
    other = make_plan(parse_config(tree, "c"), tmp_path).model("scprint")
    assert other.options["context_genes"] != m.options["context_genes"]
    assert plan.model("aidocell").max_tokens == len(plan.model("aidocell").axis) + 2


def test_gene_names_tokens_and_dictionaries_join_the_plan(
    small_atlas: Path, tmp_path: Path
) -> None:
    """Families whose cells have tokens of their own are bounded by what a cell expresses."""
    cells = ad.read_zarr(small_atlas)
    geneformer = Path(small_tree(small_atlas)["models"][0]["path"]).parent / "geneformer-demo"
    checkpoint = Path(shutil.copytree(geneformer, tmp_path / "checkpoint"))
    (tmp_path / "elsewhere").mkdir()
    for file in checkpoint.glob("*.pkl"):
        file.rename(tmp_path / "elsewhere" / file.name)
    # the atlas knows LYZ by an id that the dictionary says is retired, and CD3E twice
    mapping = tmp_path / "elsewhere/ensembl_mapping_dict_demo.pkl"
    known = pickle.loads(mapping.read_bytes())
    ids = cells.var_names.to_numpy(dtype=object).copy()
    lyz, cd3e = (int(np.flatnonzero(cells.var["feature_name"] == g)[0]) for g in ("LYZ", "CD3E"))
    spare = int(np.flatnonzero(cells.var["feature_name"] == "OR4F5")[0])
    known |= {"ENSG00009999991": ids[lyz], "ENSG00009999992": ids[cd3e]}
    mapping.write_bytes(pickle.dumps(known))
    ids[lyz], ids[spare] = "ENSG00009999991", "ENSG00009999992"
    cells.var.index = ids
    cells.write_h5ad(tmp_path / "atlas.h5ad")

    tree = five_families(tmp_path / "atlas.h5ad")
    tree["models"][4] |= {
        "path": str(checkpoint), "options": {"dictionaries": str(tmp_path / "elsewhere")}
    }  # fmt: skip
    by_name = ["tiny", "aidocell", "scfoundation", "geneformer"]  # scPRINT knows current ids only
    tree["gene_sets"].append({"name": "common", "kind": "intersection", "models": by_name})
    config = parse_config(tree, "c")
    root, plan = prepare(config, str(tmp_path / "run"))
    m, other = plan.model("geneformer"), plan.model("scfoundation")
    # one name for one gene in all models, whatever their dictionaries call it
    assert "ENSG00009999991" in m.axis
    assert "ENSG00009999991" in other.axis
    assert "ENSG00009999991" in [other.axis[i] for i in other.gene_sets["common"]]
    assert {f.name for f in (tmp_path / "elsewhere").iterdir()} < set(m.digests)
    expressed = int((cells.X > 0).sum(1).max())
    assert other.max_tokens == expressed + 2
    assert m.max_tokens <= min(512, expressed + 2)
    vocabulary = read_table(root, "tables/vocabulary.parquet")
    mine = vocabulary[vocabulary["model"] == "geneformer"].set_index("gene")["what"]
    assert mine["ENSG00009999991"] == "renamed"
    assert "merged" in (mine["ENSG00009999992"], mine[ids[cd3e]])
    assert set(vocabulary["model"]) == {p.name for p in plan.models}
    assert (vocabulary.groupby("model").size() == len(ids)).all()
    # another dictionary is another plan
    known["NEW"] = ids[cd3e]
    mapping.write_bytes(pickle.dumps(known))
    assert make_plan(config, tmp_path).hash != plan.hash


def test_a_set_of_some_models_genes_compares_them_alone(small_atlas: Path, tmp_path: Path) -> None:
    tree = three_families(small_atlas)
    names = [m["name"] for m in tree["models"]]
    pair = names[:2]  # the third knows 63 genes
    tree["accumulate"] = "all"
    tree["gene_sets"].append({"name": "two", "kind": "intersection", "models": pair})
    tree["gene_sets"].append({"name": "every", "kind": "intersection"})
    tree["compare"] = {"k": [10]}
    plan = make_plan(parse_config(tree, "c"), tmp_path)
    assert [m.name for m in plan.models if "two" in m.gene_sets] == pair
    assert all("every" in m.gene_sets for m in plan.models)
    finished = {(m.name, 0) for m in plan.models}
    shared = {name: set(plan.model(name).axis) for name in names}
    for gene_set, members in (("two", pair), ("every", names)):
        planned = [x for x in comparisons(plan, finished) if x.gene_set == gene_set]
        assert {m.model for x in planned for m in x.refs} == set(members)
        assert set(planned[0].genes) == set.intersection(*(shared[name] for name in members))
    # and what a run of it leaves behind names no matrix over genes that a model does not have
    tree["edges"]["gene_set"] = "two"
    plan = make_plan(parse_config(tree, "c"), tmp_path)
    blocks = [Block(m.name, 0) for m in plan.models]
    listed = outputs(plan, blocks, network=False)
    assert [n for n in names if f"edges/{n}.parquet" in listed] == pair
    two, every = (len(shared_genes(plan, pair, s)) for s in ("two", "every"))
    assert two > every  # else the third model would not have narrowed it


def test_a_model_that_no_gene_set_is_for_is_refused(small_atlas: Path, tmp_path: Path) -> None:
    tree = three_families(small_atlas)
    names = [m["name"] for m in tree["models"]]
    tree["gene_sets"] = [{"name": "two", "kind": "intersection", "models": names[:2]}]
    tree["accumulate"] = "two"
    del tree["models"][2]["panel"], tree["models"][2]["tokens"]
    with pytest.raises(InputError, match=rf"models.{names[2]}.*every gene set is for other"):
        make_plan(parse_config(tree, "c"), tmp_path)


def test_long_inputs_get_smaller_units_and_batches(small_atlas: Path, tmp_path: Path) -> None:
    tree = three_families(small_atlas)
    del tree["models"][2]["panel"]
    tree["models"][2]["tokens"] = "published"
    tree["execution"] |= {"unit_cells": 64, "advanced": {"working_set": "30MB"}}
    plan = make_plan(parse_config(tree, "c"), tmp_path)
    short, long = plan.model("scprint"), plan.model("aidocell")
    assert long.max_tokens == 19266
    assert (short.unit_cells, short.micro_batch, short.batch_cells) == (64, 32, 16)
    assert long.unit_cells * long.max_tokens * (long.d * 4 + 30) <= 30e6
    assert (long.unit_cells, long.micro_batch, long.batch_cells) == (9, 1, 1)
    spans = [u.stop - u.start for u in plan.units if u.model == "aidocell"]
    assert max(spans) == 9
    assert sum(spans) == 48
    tree["execution"]["advanced"]["working_set"] = "much"
    with pytest.raises(InputError, match=r"execution.advanced.working_set.*'much'"):
        make_plan(parse_config(tree, "c"), tmp_path)


def test_lower_precision_reaches_the_unit(small_atlas: Path, tmp_path: Path) -> None:
    sums = {}
    for dtype in ("float32", "bfloat16"):
        tree = three_families(small_atlas)
        tree["models"] = [tree["models"][1] | {"dtype": dtype}]
        config = parse_config(tree, "c")
        root, plan = prepare(config, str(tmp_path / dtype))
        runner = UnitRunner(root, plan, run_config(root), "scprint")
        record = runner.run(plan.units[0])
        path = root.zarr(f"{record.folder}/sums.zarr")
        sums[dtype] = tiles.open_array(path, sums_name(0, "mean"))[:]
    gap = np.abs(sums["float32"] - sums["bfloat16"])[0].max() / sums["float32"][0].max()
    assert 1e-6 < gap < 0.1


def test_sizes() -> None:
    assert parse_bytes("1.5GB") == 1.5e9
    for bad in ("8", "GB", "xMB"):
        with pytest.raises(InputError, match="execution.memory"):
            parse_bytes(bad)

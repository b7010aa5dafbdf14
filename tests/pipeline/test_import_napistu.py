"""Stores of napistu-torch as runs: the peer's own comparison of them, and what they do not hold."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from octoscope.api.run import Run, open_run
from octoscope.cluster.worker import Worker
from octoscope.config import apply_overrides, parse_config
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.extract.matrix_work import MatrixRunner
from octoscope.pipeline.repair_plan import open_repair, plan_repair
from octoscope.planning.freeze import prepare, replan
from octoscope.planning.frozen_config import run_config
from octoscope.planning.import_config import import_tree
from octoscope.results.open_matrix import stored_matrix
from octoscope.store.commits import read_record
from octoscope.store.manifest import verify
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

from tests.analysis.matrices import dense
from tests.conftest import once
from tests.here import here

SCGPT, AIDO = "scGPT", "AIDOCell_aido_cell_3m"
SHOWN = {"scGPT": SCGPT, "AIDO.Cell (3M)": AIDO}  # names of models in the peer's tables
CATEGORIES = ("T cell", "macrophage (2)")
K = 80
# Values that differ by rounding may change places: one rank of 27 genes' pairs, or of one pair in
# the mean of some 70.
ONE_RANK = 1.001 / 27**2
QUANTILES = {
    "mean_quantile": 3 * ONE_RANK / 70,
    "median_quantile": ONE_RANK,
    "min_quantile": ONE_RANK,
    "max_quantile": ONE_RANK,
}


@pytest.fixture(scope="session")
def imported(napistu_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that the command line imported, with the peer's conventions and weights."""

    def make(folder: Path) -> None:
        settings = [
            "models.1.options.layer_order=text", f"top_k={K}", f"compare.k=[{K}]",
            "compare.conventions=peer", "compare.layers=sum", "permutations=50",
            "max_permutation_factor=1", "network.permutations=100", "keep_dense=fp32",
            "edges.per_query=3",
        ]  # fmt: skip
        done = here(
            "import-napistu", *(str(napistu_stores / m) for m in (SCGPT, AIDO)),
            str(folder / "run"), "--network", "demo", *(x for s in settings for x in ("--set", s)),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    return once(tmp_path_factory, "imported", make) / "run"


@pytest.fixture(scope="module")
def run(imported: Path) -> Run:
    return open_run(str(imported))


def peers(napistu_stores: Path, category: str, name: str) -> pd.DataFrame:
    table = pd.read_parquet(napistu_stores / "expected" / f"{category}.{name}.parquet")
    return table.replace({c: SHOWN for c in table if c.endswith("model")})


@pytest.mark.parametrize("category", CATEGORIES)
def test_layers_agree_as_the_peer_says(napistu_stores: Path, run: Run, category: str) -> None:
    table = run.tables["agreement"]
    table = table[
        (table["category"] == category)
        & (table["gene_set"] == "common")
        & (table["comparison"] == "models")
    ]
    ends = ["query_model", "query_layer", "eval_model", "eval_layer"]
    cells = peers(napistu_stores, category, "cross_model_x_layer_rank_agreement").set_index(ends)
    mine = table.set_index(ends).loc[cells.index]
    assert len(cells) == 14 * 13
    for name, most in QUANTILES.items():
        assert np.allclose(mine[name], cells[name], rtol=0, atol=most), name
        assert np.isclose(mine[name], cells[name], rtol=0, atol=1e-12).mean() > 0.9
    for shown, model in SHOWN.items():
        of = peers(napistu_stores, category, f"model_layer_rank_agreement.{shown}")
        of = of.assign(query_model=model, eval_model=model).set_index(ends)
        for name, most in QUANTILES.items():
            assert np.allclose(mine.loc[of.index, name], of[name], rtol=0, atol=most), name


@pytest.mark.parametrize("category", CATEGORIES)
def test_residual_streams_correlate_as_the_peer_says(
    napistu_stores: Path, run: Run, category: str
) -> None:
    file = napistu_stores / "expected" / f"{category}.residual_stream_correlations.tsv"
    theirs = pd.read_csv(file, sep="\t")
    ends = theirs["pair"].str.extract(r"(.+)/layer_(\d+)_vs_(.+)/layer_(\d+)")
    names = ["model_a", "layer_a", "model_b", "layer_b"]
    theirs[names] = ends.replace({0: SHOWN, 2: SHOWN})
    theirs = theirs.astype({"layer_a": int, "layer_b": int}).set_index(names)["spearman"]
    table = run.tables["geometry"]
    mine = table[table["category"] == category].set_index(names)["spearman"]
    assert len(mine) == len(theirs) == 14 * 13 / 2
    assert np.allclose(mine.loc[theirs.index], theirs, atol=1e-6)


@pytest.mark.parametrize("category", CATEGORIES)
def test_combined_layers_have_the_values_that_the_peer_gives(
    napistu_stores: Path, run: Run, category: str
) -> None:
    of_peer = peers(napistu_stores, category, "cross_model_consensus_top_attentions")
    for model, theirs in of_peer.groupby("model"):
        table = run.tables[f"consensus/{model}"]
        table = table[
            (table["category"] == category)
            & (table["gene_set"] == "common")
            & (table["part"] == "total")
        ]
        assert len(table) == K
        mine = table.set_index(["query", "key"])["value"]
        values = theirs.set_index(["from_gene", "to_gene"])["attention"]
        # the peer's lists hold the union of both models' strongest pairs
        assert set(mine.index) <= set(values.index)
        assert np.allclose(mine, values.loc[mine.index], rtol=1e-5)
        assert values.nlargest(K - 5).index.isin(mine.index).all()  # self pairs are none of ours


def test_what_a_store_does_not_hold_is_null(imported: Path, run: Run) -> None:
    stats = run.tables["stats"]
    of_cells = [
        "n_cells", "n_cells_half0", "n_cells_half1", "min_cells", "half_topk_jaccard", "half_pairs",
        "half_raw", "half_centred", "half_p", "half_q", "half_permutations", "half_null_genes",
        "spearman_brown",
    ]  # fmt: skip
    assert stats[of_cells].isna().all().all()
    assert (stats["n_eligible"] > 0).all()
    top = run.tables[f"topk/{SCGPT}"]
    assert set(top["part"]) == {"total"}
    assert top[["cells", "value_half0", "value_half1"]].isna().all().all()
    assert run.tables[f"edges/{SCGPT}"]["cells"].isna().all()
    cells = run.tables["cells"]
    assert cells[["selected", "used", "refused", "min_cells", "tokens"]].isna().all().all()
    assert run.tables["contrasts"][["n_pairs", "n_specific", "n_by_chance"]].isna().all().all()
    network = run.tables["consensus/c0000"]
    assert network[["n_groups_half0", "score_half0"]].isna().all().all()
    answer = json.loads((imported / "run.json").read_text())
    assert answer["atlas"] is None
    assert set(answer["checkpoints"][SCGPT]) == {
        "metadata.json", "weights.npz", "residuals_index.yaml", "immune_T_cell.npz",
        "immune_T_cell_metadata.json", "immune_macrophage_2.npz",
        "immune_macrophage_2_metadata.json",
    }  # fmt: skip


def test_the_verdict_says_what_it_cannot_tell_and_why(run: Run) -> None:
    verdicts = run.verdict()
    assert len(verdicts) == 2 * 14
    assert set(verdicts["verdict"]) == {"cannot tell"}
    assert verdicts["reason"].str.contains("imported from mean residual streams").all()
    assert verdicts["reason"].str.contains("co-expression").all()
    overlap = run.tables["overlap"]
    assert len(overlap) == 2 * 14 * 2
    assert (overlap["n_background"] > 0).all()


def test_commands_read_an_imported_run_as_any_other(imported: Path, tmp_path: Path) -> None:
    root = RunRoot(str(imported))
    assert verify(root) == []
    page = (imported / "report/index.html").read_text()
    assert "The stores hold no cells" in page
    text = re.sub(r"<(svg|style|script).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert re.findall(r"\b(nan|None|<NA>)\b", text) == []
    one = ("--category", "T cell")
    for name, options in (("net.parquet", ()), ("net.graphml", one), ("net.h5ad", ())):
        given = ("--out", str(tmp_path / name), "--gene-set", "common", *options)
        done = here("export", str(imported), *given)
        assert done.returncode == 0, done.stderr
    pairs = pd.read_parquet(tmp_path / "net.parquet")
    assert set(pairs["category"]) == set(CATEGORIES)
    for command in ("layers", "models"):
        shown = here("compare", command, str(imported))
        assert shown.returncode == 0, shown.stderr
    completed = here("verdict", str(imported), "--json")
    assert len(json.loads(completed.stdout)) == 28


def arrays_of(root: RunRoot, work: str) -> list[str]:
    record = read_record(root, work, load_plan(root).hash)
    assert record is not None
    return sorted(str(digest["sha256"]) for digest in record.objects.values())


def test_a_lost_part_is_read_again_from_the_store(imported: Path, tmp_path: Path) -> None:
    root = RunRoot(str(shutil.copytree(imported, tmp_path / "run")))
    work = f"residuals/{SCGPT}.c0001"
    before = arrays_of(root, work)
    lost = next(p for p in (tmp_path / "run" / work).rglob("*") if p.is_file())
    lost.unlink()
    repair = plan_repair(root, load_plan(root), run_config(root), verify(root))
    assert work in repair.works
    assert not [w for w in repair.works if w.startswith(("units/", "pairs/"))]
    open_repair(root, repair)
    assert read_record(root, work, load_plan(root).hash) is None
    Worker(root.url, None, "cpu.0").run(work)
    assert arrays_of(root, work) == before


def small(stores: list[Path], *settings: str, **requested: Any) -> Any:
    tree = import_tree([str(s) for s in stores], **requested)
    return parse_config(apply_overrides(tree, list(settings)), "import-napistu")


def test_values_are_those_of_the_layers_own_weights(napistu_stores: Path, tmp_path: Path) -> None:
    path = napistu_stores / AIDO
    with pytest.warns(OctoscopeWarning, match=r"11 layers; napistu-torch 0.4.0 pairs the streams"):
        root, plan = prepare(small([path], "models.0.layers=[2,10]"), str(tmp_path / "run"))
    worker, matrices = Worker(root.url, None, "cpu.0"), MatrixRunner(root, plan)
    worker.run(f"residuals/{AIDO}.c0000")
    with np.load(path / "weights.npz", allow_pickle=True) as archive:  # written by ourselves
        weights = archive["attention_weights"].item()
    record = json.loads((path / "residuals/immune_T_cell_metadata.json").read_text())[0]
    genes = [row["ensembl_gene"] for row in record["gene_annotations"]]
    order = np.argsort(genes)
    assert plan.model(AIDO).axis == sorted(genes)
    with np.load(path / "residuals/immune_T_cell.npz") as streams:
        for layer in (2, 10):
            x = streams[f"layer_{layer}"][order].astype(float)
            q, k = (x @ weights[f"layer_{layer}"][w].T.astype(float) for w in ("W_q", "W_k"))
            expected = q @ k.T / np.sqrt(4) / 2  # two heads of four
            matrices.matrix(AIDO, 0, layer)
            source = stored_matrix(root, plan, AIDO, 0, layer)
            values, eligible = dense(source.values(np.arange(len(genes)), "logit"))
            assert eligible.all()
            assert np.allclose(values, expected, atol=1e-5)


def changed(store: Path, file: str, name: str, row: int, value: float) -> None:
    with np.load(store / file) as archive:
        arrays = {key: archive[key] for key in archive.files}
    arrays[name][row] = value
    np.savez(store / file, **arrays)  # type: ignore[arg-type]


def test_a_gene_without_a_mean_has_no_pairs(napistu_stores: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(napistu_stores / SCGPT, tmp_path / "store"))
    file = "residuals/immune_T_cell.npz"
    for layer in range(3):
        changed(store, file, f"layer_{layer}", 7, np.nan)
    root, plan = prepare(small([store]), str(tmp_path / "run"))
    worker = Worker(root.url, None, "cpu.0")
    worker.run(f"residuals/{SCGPT}.c0000")
    worker.run(f"matrices/{SCGPT}.c0000.l001")
    record = json.loads((store / "residuals/immune_T_cell_metadata.json").read_text())[0]
    at = plan.model(SCGPT).axis.index(record["ordered_genes"][7])
    source = stored_matrix(root, plan, SCGPT, 0, 1)
    _, eligible = dense(source.values(np.arange(30), "logit"))
    assert not eligible[at].any()
    assert not eligible[:, at].any()
    assert eligible.sum() == 29 * 29
    # it must be absent everywhere
    changed(store, file, "layer_2", 9, np.nan)
    with pytest.raises(InputError, match=r"T cell, layer 2: has streams of other genes"):
        worker.run(f"residuals/{SCGPT}.c0000")


def test_a_store_that_changed_is_noticed(napistu_stores: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(napistu_stores / SCGPT, tmp_path / "store"))
    config = small([store])
    root, plan = prepare(config, str(tmp_path / "run"))
    assert prepare(config, root.url)[1].hash == plan.hash
    changed(store, "residuals/immune_T_cell.npz", "layer_0", 0, 0.5)
    with pytest.raises(InputError, match=r"a different plan is there; it differs in models"):
        replan(root)


def test_what_cannot_be_imported_is_refused(napistu_stores: Path, tmp_path: Path) -> None:
    stores = [napistu_stores / SCGPT, napistu_stores / AIDO]
    for settings, message in (
        (("coexpression=[pearson]",), r"coexpression: \['pearson'\], but stores hold"),
        (("donor_groups=4",), r"donor_groups: 4, but stores hold"),
        (("estimators=[per_cell]",), r"only \['mean_residual'\] can be had of them"),
        (("projection=[full]",), r"only \['weights_only'\] can be had of them"),
        (("min_cells=3",), r"min_cells: 3, but stores hold"),
        (("atlas={path: x, category_key: [y]}",), r"napistu-torch holds no cells; set atlas: null"),
        (("models.0.family=scgpt",), r"'scgpt' reads cells; give an atlas, or family: napistu-t"),
    ):
        with pytest.raises(InputError, match=message):
            small(stores, *settings)
    for settings, given, message in (
        ((), {"dataset": "lung"}, r"options.dataset: .* has no 'lung'.* use one of immune"),
        ((), {"categories": ["B cell"]}, r"has no 'B cell' in data set 'immune'.*one of T cell"),
        (("models.0.layers=[3]",), {}, r"models.scGPT.layers: \[3\].*choose from 0 to 2"),
        (("models.0.options.colour=red",), {}, r"models.\*.options.colour"),
        (("models.0.options.categories=[T cell]", "models.1.options.categories=[macrophage (2)]"),
         {}, r"no category is in all stores"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            prepare(
                small(stores, "models.1.options.layer_order=text", *settings, **given),
                str(tmp_path / "run"),
            )
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="is no napistu-torch FoundationModelStore"):
        import_tree([str(tmp_path)])
    with pytest.raises(InputError, match="which is read"):
        prepare(small(stores[:1]), str(stores[0] / "run"))
    alone = here("import-napistu", str(stores[0]))
    assert alone.returncode == 2
    assert "name the stores, and last the run directory" in alone.stderr

"""Every kind of file that the product reads: how a small sound one is made, and what reads it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import yaml

DATA = Path(__file__).parents[1] / "data"
OUT = "out"  # a folder beside the fixture that is emptied after each command


@dataclass(frozen=True)
class Kind:
    """Files that are changed, and the commands that read them.

    Attributes
    ----------
    make
        Fills a folder.
    changed
        Which of its files are changed: patterns; the rest stays.
    commands
        Arguments of commands; ``{}`` is the folder, ``{out}`` an empty one.
    weight
        How often it is drawn.
    after
        Called after a file was changed, in half of the cases.
    lists
        Commands that print one line for each fault.
    """

    make: Callable[[Path], None]
    changed: tuple[str, ...]
    commands: tuple[str, ...]
    weight: int = 1
    after: Callable[[Path, Path], None] | None = None
    lists: tuple[str, ...] = field(
        default=("verify", "--check", "atlas check", "atlas info", "attention diff")
    )

    def files(self, folder: Path) -> list[Path]:
        """Return the files that may be changed, in the order of their names."""
        files = {p for pattern in self.changed for p in folder.glob(pattern) if p.is_file()}
        return sorted(files)


def _demo(name: str, folder: Path) -> None:
    from octoscope.demo.demo import data

    shutil.copytree(data(name), folder, dirs_exist_ok=True)


def _cells(n: int = 16) -> object:
    """Return 16 real cells over the panel's genes and every twelfth other one.

    With all genes a command would spend its time on their names.
    """
    import anndata as ad
    import numpy as np
    from octoscope.demo.demo import PANEL, data

    cells = ad.read_zarr(data("immune559.zarr"))
    kept = cells.var["feature_name"].isin(PANEL).to_numpy() | (np.arange(cells.n_vars) % 12 == 0)
    part = cells[[35 * i for i in range(n)], kept].copy()
    part.obs["cell_type"] = ["T cell", "macrophage"] * (n // 2)
    part.obs["cell_type"] = part.obs["cell_type"].astype("category")
    return part


def _zarr(version: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import anndata as ad

        with ad.settings.override(auto_shard_zarr_v3=False, zarr_write_format=version):
            _cells().write_zarr(folder / "a.zarr")  # type: ignore[attr-defined]

    return make


def _h5ad(folder: Path) -> None:
    _cells().write_h5ad(folder / "a.h5ad", compression="gzip")  # type: ignore[attr-defined]


def _config(folder: Path) -> None:
    from tests.conftest import small_tree

    _zarr(3)(folder)
    tree = small_tree(folder / "a.zarr")
    # two layers and two models, so that there is something to compare
    tree["models"][0]["layers"] = [0, 1]
    tree["models"].append(tree["models"][0] | {"name": "tiny2", "layers": [1]})
    tree["min_cells"] = 2
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))


def _checkpoint(family: str) -> Callable[[Path], None]:
    return lambda folder: _demo(f"checkpoints/{family}-demo", folder / "model")


def _safetensors(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    _demo("checkpoints/scgpt-demo", folder / "model")
    old = folder / "model/best_model.pt"
    state = torch.load(old, weights_only=True)
    save_file(
        {k: v.contiguous() for k, v in state.items()}, folder / "model/best_model.safetensors"
    )
    old.unlink()


def _other_family(family: str) -> Callable[[Path], None]:
    """Return what copies a checkpoint of a family that the demonstration lacks."""
    return lambda folder: shutil.copytree(DATA / family / "checkpoint", folder / "model")


def _nicheformer(folder: Path) -> None:
    """Copy a checkpoint, and write the means by which it divides counts."""
    import numpy as np

    _other_family("nicheformer")(folder)
    names = json.loads((folder / "model/vocab.json").read_text())
    np.save(folder / "mean.npy", np.ones(sum(n.startswith("ENSG") for n in names)))


def _perturbations(folder: Path) -> None:
    """Write effects of perturbed genes of the demonstration's network, as table and as h5ad."""
    import anndata as ad
    import numpy as np
    import pandas as pd
    from octoscope.demo.demo import data
    from octoscope.octopus.network import open_network

    rng = np.random.default_rng(28)
    genes = open_network(data("octopus")).genes["gene"].dropna().unique()[:40]
    table = pd.DataFrame({"perturbed": np.repeat(genes[:8], 8), "target": np.tile(genes[8:16], 8)})
    table["effect"], table["padj"] = rng.normal(size=64), rng.uniform(size=64)
    table.to_csv(folder / "effects.tsv.gz", sep="\t", index=False)
    table.to_parquet(folder / "effects.parquet")
    p = pd.DataFrame(rng.uniform(size=(8, 8)), index=genes[8:16], columns=genes[:8])
    p.to_csv(folder / "p.csv")
    names = [f"{i}_G{i}_P1_{gene}" for i, gene in enumerate(genes[:8])]
    cells = ad.AnnData(rng.normal(size=(8, 8)).astype("f4"), obs=pd.DataFrame(index=names),
                       var=pd.DataFrame(index=genes[8:16]))  # fmt: skip
    cells.write_h5ad(folder / "effects.h5ad")


def _lists(folder: Path) -> None:
    """Write a configuration that names genes, aliases and atlas as files."""
    from octoscope.demo.demo import PANEL

    _config(folder)
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "panel.txt").write_text("\n".join(PANEL) + "\n")
    (folder / "aliases.tsv").write_text("alias\tensembl\nX1\tENSG00000090382\n")
    tree["atlas"]["gene_aliases"] = str(folder / "aliases.tsv")
    panel = next(s for s in tree["gene_sets"] if s["kind"] == "panel")
    panel["genes"] = {"file": str(folder / "panel.txt")}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))


def _peer_stores(folder: Path) -> None:
    """Unpack stores of napistu-torch, and write the configuration that imports one."""
    from octoscope.api.plan import import_config

    with tarfile.open(DATA / "napistu/stores.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    tree = import_config([str(folder / "scGPT")])
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))


def _gnn(folder: Path) -> None:
    _demo("gnn-demo", folder / "demo")
    shutil.copytree(DATA / "octopus/models/relation_attention_mlp", folder / "model")
    shutil.copytree(DATA / "octopus/models/distmult_edgeenc", folder / "model2")
    shutil.copytree(DATA / "octopus/store", folder / "store")


def _gnn_folder(folder: Path) -> None:
    from tests.here import here

    completed = here("gnn", "graph", str(DATA / "octopus/store"), str(folder / "graph"))
    assert completed.returncode == 0, completed.stderr
    completed = here("gnn", "convert", str(DATA / "octopus/models/distmult"), str(folder / "model"))
    assert completed.returncode == 0, completed.stderr
    _pairs(folder, [f"ENSG900000110{i:02d}" for i in (9, 10, 11, 12, 13, 14)])


def _training(folder: Path) -> None:
    """Train for two epochs, and evaluate."""
    from tests.here import here

    _gnn_folder(folder)
    (folder / "train.yaml").write_text("head: mlp\nepochs: 2\nwidth: 8\n")
    graph = str(folder / "graph")
    for words in (
        ["train", str(folder / "train.yaml"), "--graph", graph, "--out", str(folder / "training")],
        ["evaluate", graph, "--split", "graph", "--floors", "mirror", "--queries", "0",
         "--positives", "100", "--out", str(folder / "evaluation")],
    ):  # fmt: skip
        completed = here("gnn", *words)
        assert completed.returncode == 0, completed.stderr


def _pairs(folder: Path, names: list[str]) -> None:
    """Write pairs of six names that the network knows."""
    import pandas as pd

    pairs = pd.DataFrame({"query": names[:3], "key": names[3:]})
    pairs.to_parquet(folder / "pairs.parquet")
    pairs.to_csv(folder / "pairs.tsv", sep="\t", index=False)
    (folder / "genes.txt").write_text("\n".join(names[:3]) + "\n")


def _network(folder: Path) -> None:
    import warnings

    from octoscope.octopus.napistu.import_network import import_napistu

    bundle = DATA / "octopus/bundle/compartmentalized_reactome.tar.gz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_napistu(bundle, folder / "net", "corrected")
    _pairs(folder, [f"SC{i:08d}" for i in range(6)])


def _reseal_network(folder: Path, changed: Path) -> None:
    """Let ``octopus.json`` name the digest that the changed file has."""
    meta = folder / "net/octopus.json"
    if changed != meta and changed.is_file() and "net" in changed.parts:
        tree = json.loads(meta.read_text())
        raw = changed.read_bytes()
        tree["files"][changed.relative_to(folder / "net").as_posix()] = _digest(raw)
        meta.write_text(json.dumps(tree))


def _bundles(folder: Path) -> None:
    for file in (DATA / "octopus/bundle").iterdir():
        shutil.copy(file, folder)
    shutil.copytree(DATA / "octopus/store", folder / "store")


def _sources(folder: Path) -> None:
    with tarfile.open(DATA / "octopus/raw.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    raw = folder / "raw"
    for file in raw.rglob("*"):
        if file.is_file():
            file.chmod(0o644)
    for big in ("glucose_metabolism", "glycolysis", "ppp"):
        (raw / f"reactome/reactome_{big}.sbml").unlink()
    for more in range(1, 6):
        (raw / f"intact/human_0{more}.xml").unlink()
    (raw / "own.csv").write_text("source,target,weight\nFX000,FX001,0.5\nFX002,FX003,-1\n")
    annotation = {"annotation": {"path": str(raw / "invented_id_map.tsv"), "as_source": True}}
    sources = {
        "string": {"STRING": {"links": str(raw / "string/9606.protein.links.full.v11.5.txt"),
                              "aliases": str(raw / "string/9606.protein.aliases.v11.5.txt"),
                              "release": "11.5"}},
        "psi": {"IntAct": {"path": str(raw / "intact")}},
        "tables": {"OmniPath": {"path": str(raw / "omnipath/omnipath_interactions.tsv")},
                   "Reactome-FI": {"path": str(raw / "reactome_fi/FIsInGene_with_annotations.txt")},
                   "TRRUST": {"path": str(raw / "trrust/trrust_rawdata.human.tsv")},
                   "edge_lists": [{"name": "own", "path": str(raw / "own.csv")}]},
        "sbml": {"Reactome": {"sbml": str(raw / "reactome"),
                              "pathways": str(raw / "reactome/pw_index.tsv"), "release": "73"}},
    }  # fmt: skip
    for name, tree in sources.items():
        body = {"name": "fuzzed", "mode": "corrected", **annotation, "sources": tree}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(body))


def _dump(folder: Path) -> None:
    from tests.here import here

    _h5ad(folder)
    from octoscope.demo.demo import data

    for name in ("a", "b"):
        out = str(folder / f"{name}.npz")
        path = str(data("checkpoints/scgpt-demo"))
        completed = here("attention", "dump", path, str(folder / "a.h5ad"), "--out", out)
        assert completed.returncode == 0, completed.stderr


def _run(folder: Path) -> None:
    """Compute a small run, unless the campaign was given one."""
    from tests.here import here

    _config(folder)
    completed = here("run", str(folder / "config.yaml"), "--out", str(folder / "run"),
                "--set", "keep_dense=fp32")  # fmt: skip
    assert completed.returncode == 0, completed.stderr


def _digest(raw: bytes) -> dict[str, object]:
    return {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def reseal_run(folder: Path, changed: Path) -> None:
    """Let manifest and ``_SUCCESS`` name the digests that the changed file has."""
    run = folder / "run"
    manifest, success = run / "manifest.json", run / "_SUCCESS"
    name = changed.relative_to(run).as_posix() if changed.is_relative_to(run) else ""
    if not changed.is_file() or changed.is_symlink() or name in ("", "_SUCCESS"):
        return
    if changed != manifest:
        tree = json.loads(manifest.read_text())
        if name in tree["objects"]:
            tree["objects"][name] = tree["objects"][name] | _digest(changed.read_bytes())
        manifest.write_text(json.dumps(tree))
    tree = json.loads(success.read_text())
    tree["manifest"] = _digest(manifest.read_bytes())
    success.write_text(json.dumps(tree))


_INSPECT = ("models inspect {}/model", "models inspect {}/model --json")
_NICHEFORMER = "".join(
    f" --option {x}"
    for x in ("technology_mean={}/mean.npy", "species=human", "assay=none", "modality=none")
)
_RUN = (
    "status {}/run", "status {}/run --json", "verify {}/run", "verify {}/run --json",
    "compare layers {}/run --unchecked", "compare models {}/run",
    "compare models {}/run --unchecked", "compare runs {}/run {}/run", "verdict {}/run",
    "report {}/run", "repair {}/run --dry-run",
    "export {}/run --out {out}/e.tsv", "export {}/run --out {out}/e.tsv --unchecked",
    "report {}/run --view logit --out {out}/r.html --unchecked",
    "pool {}/run --category 'T cell' --category macrophage --out {out}/p",
)  # fmt: skip

KINDS: dict[str, Kind] = {
    "config": Kind(_config, ("config.yaml",),
                   ("plan {}/config.yaml --out {out}/run --no-calibrate",), 2),
    "run": Kind(_run, ("run/*", "run/*/*", "run/*/*/*", "run/**/*.json", "run/**/*.parquet"),
                _RUN, 5, after=reseal_run),
    "tables": Kind(_run, ("run/**/*.parquet",), _RUN, 2, after=reseal_run),
    "zarr": Kind(_zarr(3), ("a.zarr/**/*",),
                 ("atlas info {}/a.zarr --category cell_type", "atlas check {}/a.zarr",
                  "atlas check {}/a.zarr --category cell_type --json",
                  "atlas convert {}/a.zarr {out}/b.zarr --category cell_type"), 3),
    "zarr2": Kind(_zarr(2), ("a.zarr/**/*", "a.zarr/**/.z*"),
                  ("atlas info {}/a.zarr", "atlas check {}/a.zarr --category cell_type"), 2),
    "metadata": Kind(_zarr(3), ("a.zarr/**/zarr.json",),
                     ("atlas info {}/a.zarr --category cell_type", "atlas check {}/a.zarr"), 2),
    "h5ad": Kind(_h5ad, ("a.h5ad",),
                 ("atlas info {}/a.h5ad --category cell_type", "atlas check {}/a.h5ad",
                  "atlas convert {}/a.h5ad {out}/b.zarr"), 4),
    **{family: Kind(_checkpoint(family), ("model/*",), _INSPECT, 2)
       for family in ("scgpt", "scprint", "aidocell", "geneformer", "scfoundation")},
    "scprint2": Kind(_other_family("scprint2"), ("model/*",), _INSPECT),
    "nicheformer": Kind(_nicheformer, ("model/*", "mean.npy"),
                        tuple(c + _NICHEFORMER for c in _INSPECT)),
    "perturbations": Kind(_perturbations, ("effects.*", "p.csv"),
                          ("gnn perturbations {}/effects.tsv.gz --max-p 0.9 --p-values {}/p.csv",
                           "gnn perturbations {}/effects.parquet --max-p 0.9",
                           "gnn perturbations {}/effects.h5ad")),
    "peer_store": Kind(_peer_stores, ("scGPT/*", "scGPT/*/*"),
                       ("plan {}/config.yaml --out {out}/run --no-calibrate",)),
    "lists": Kind(_lists, ("panel.txt", "aliases.tsv"),
                  ("plan {}/config.yaml --out {out}/run --no-calibrate",)),
    "training": Kind(_training, ("training/*", "training/*/*", "training/*/*/*", "train.yaml"),
                     ("gnn train {}/train.yaml --graph {}/graph --out {}/training",)),
    "evaluation": Kind(_training, ("evaluation/*",),
                       ("gnn report {}/evaluation --out {out}/r.html",)),
    "safetensors": Kind(_safetensors, ("model/*",), _INSPECT, 1),
    "network": Kind(_network, ("net/*", "net/*/*", "pairs.*", "genes.txt"),
                    ("octopus info {}/net", "octopus info {}/net --check",
                     "octopus lookup {}/net {}/pairs.parquet {out}/l.tsv",
                     "octopus lookup {}/net {}/pairs.tsv {out}/l.parquet --distance 2",
                     "octopus genes {}/net {}/genes.txt {out}/g.tsv",
                     "octopus export {}/net {out}/e.graphml --format graphml",
                     "octopus export {}/net {out}/e.tsv --format omnipath",
                     "octopus report {}/net {out}/r.html"), 3, after=_reseal_network),
    "bundle": Kind(_bundles, ("*.tar.gz",),
                   ("octopus import {}/compartmentalized_reactome.tar.gz {out}/n",
                    "octopus import {}/human_consensus_reaction_vertices.tar.gz {out}/n"), 2),
    "store": Kind(_bundles, ("store/**/*",), ("octopus import {}/store {out}/n",), 2),
    "string": Kind(_sources, ("string.yaml", "raw/string/*", "raw/*.tsv"),
                   ("octopus build {}/string.yaml {out}/n",)),
    "psi": Kind(_sources, ("psi.yaml", "raw/intact/*"), ("octopus build {}/psi.yaml {out}/n",)),
    "sbml": Kind(_sources, ("raw/reactome/*",), ("octopus build {}/sbml.yaml {out}/n",)),
    "sources": Kind(_sources, ("tables.yaml", "raw/omnipath/*", "raw/trrust/*", "raw/reactome_fi/*",
                               "raw/own.csv", "raw/*.tsv"),
                    ("octopus build {}/tables.yaml {out}/n",), 2),
    "gnn": Kind(_gnn, ("*/*", "store/*/*"),
                ("gnn inspect {}/model --graph {}/store", "gnn inspect {}/model2 --graph {}/store",
                 "gnn inspect {}/model", "gnn convert {}/model {out}/m",
                 "gnn relations {}/model2 --permutations 99", "gnn graph {}/store {out}/g",
                 "gnn inspect {}/demo"), 2),
    "gnn_folder": Kind(_gnn_folder, ("graph/*", "model/*", "pairs.*"),
                       ("gnn inspect {}/model --graph {}/graph", "gnn inspect {}/model",
                        "gnn score {}/model --graph {}/graph --pairs {}/pairs.tsv --out {out}/s.tsv"
                        " --no-cache",), 1),
    "dump": Kind(_dump, ("*.npz",), ("attention diff {}/a.npz {}/b.npz",)),
}  # fmt: skip


def drawn(rng: Random, kinds: list[str], number: int) -> str:
    """Return one of the kinds, by their weights; the first cases are one of each, in order."""
    if number < len(kinds):
        return kinds[number]
    return rng.choices(kinds, [KINDS[k].weight for k in kinds])[0]

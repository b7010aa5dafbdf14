"""Tables of perturbations as public files have them, and the command on them."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import octoscope as oc
import pandas as pd
import pytest
from octoscope.cli.app import app
from octoscope.errors import InputError
from octoscope.link_prediction.perturbation_tables import read_perturbations
from typer.testing import CliRunner

REPLOGLE = pd.DataFrame({
    "Gene": ["TP53", "MDM2", "GATA1", "GATA1"], "Gene ID": [7157, 4193, 2623, 2623],
    "Gene Perturbation": ["a", "a", "a", "b"],
    "Gene Perturbation ID": ["10_MDM2_P1P2_ENSG00000135679"] * 3 + ["11_X_P1_ENSG00000000001"],
    "Standardized Value": [-2.5, -9.0, 1.5, 0.0], "Threshold Value": [-1, -1, 1, 0],
})  # fmt: skip
ATLAS = pd.DataFrame({
    "Gene": ["TP53", "TP53", "TP53", "MDM2", "TP53"], "Gene ID": 1,
    "Perturbation": ["P_1_KO_MDM2_GSE1", "P_2_OE_mdm2_GSE2", "P_3_MUT_MDM2_GSE3",
                     "P_4_OE_GATA1_GSE4_b", "P_5_KO_MDM2_GSE1"],
    "Standardized Value": [-1.0, 3.0, 5.0, -2.0, -3.0], "Threshold Value": 1,
})  # fmt: skip


def written(folder: Path, frame: pd.DataFrame, name: str = "gene_attribute_edges.txt.gz") -> Path:
    frame.to_csv(folder / name, sep="\t")  # Harmonizome's first column has no name
    return folder / name


def test_a_knock_down_of_harmonizome_is_turned(tmp_path: Path) -> None:
    read = read_perturbations(written(tmp_path, REPLOGLE))
    rows = read.frame.set_index(["perturbed", "target"])["effect"].to_dict()
    assert rows == {("ENSG00000135679", "TP53"): 2.5, ("ENSG00000135679", "GATA1"): -1.5}
    assert read.account == {"read": 4, "no dose": 0, "no effect or name": 1, "itself": 1,
                            "pairs": 2}  # fmt: skip


def test_types_and_studies_of_perturbatlas_are_told_apart(tmp_path: Path) -> None:
    read = read_perturbations(written(tmp_path, ATLAS))
    rows = read.frame.set_index(["perturbed", "target"])
    # knock-outs of one study: 1 and 3, mean 2; over-expression in another: 3; mutants are left out
    assert rows.loc[("MDM2", "TP53"), "effect"] == 2.5
    assert rows.loc[("MDM2", "TP53"), "studies"] == 2
    assert rows.loc[("GATA1", "MDM2"), "effect"] == -2
    assert read.account["no dose"] == 1


def test_long_tables_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"Perturbation": ["A", "A", "B"], "gene": ["X", "A", "X"],
                          "logFC": [1.0, 2, np.nan], "padj": [0.1, 0.2, 0.3]})  # fmt: skip
    path = tmp_path / "long.csv"
    frame.to_csv(path, index=False)
    assert read_perturbations(path, "OE").frame["effect"].tolist() == [1]
    assert read_perturbations(path, "CRISPRi").frame["effect"].tolist() == [-1]
    with pytest.raises(InputError, match="one of OE"):
        read_perturbations(path, "drug")
    frame.drop(columns="logFC").to_csv(path, index=False)
    with pytest.raises(InputError, match="no column of the effect"):
        read_perturbations(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("edges.tsv", {"Drug": "imatinib"}),
        ("edges.tsv", {"Small Molecule ID": 5}),
        ("tahoe100m_edges.tsv", {}),
        ("edges.tsv", {"type": "drug"}),
    ],
)
def test_drug_screens_are_refused_by_name(
    tmp_path: Path, name: str, change: dict[str, object]
) -> None:
    frame = pd.DataFrame({"perturbed": ["a"], "target": ["b"], "effect": [1.0]}).assign(**change)
    with pytest.raises(InputError, match="is a drug screen"):
        read_perturbations(written(tmp_path, frame, name))


def test_other_sets_of_harmonizome_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, REPLOGLE.drop(columns=["Gene Perturbation ID"]))
    with pytest.raises(InputError, match="names no perturbed gene"):
        read_perturbations(path)
    broken = written(tmp_path, ATLAS.assign(Perturbation="P_1"))
    with pytest.raises(InputError, match="is not prefix_id_type_symbol_study"):
        read_perturbations(broken)


def test_the_command_puts_a_checkpoint_beside_floors(tmp_path: Path) -> None:
    """Effects are the signs of the embedded network's edges, and as many random ones."""
    network = oc.open_network("demo")
    genes = network.graph.genes.drop_duplicates("vertex").set_index("vertex")["gene"]
    edges = network.graph.edges
    known = np.flatnonzero((edges.sign != 0) & np.isin(edges.src, genes.index)
                           & np.isin(edges.dst, genes.index))[:4000]  # fmt: skip
    rng = np.random.default_rng(0)
    a = genes.loc[np.asarray(edges.src)[known]].to_numpy()
    b = genes.loc[np.asarray(edges.dst)[known]].to_numpy()
    sign = np.asarray(edges.sign, float)[known] * rng.uniform(1, 2, len(known))
    frame = pd.DataFrame({"perturbed": np.append(a, a), "target": np.append(b, rng.permutation(b)),
                          "effect": np.append(sign, rng.normal(size=len(a)))})  # fmt: skip
    frame = pd.concat([frame, pd.DataFrame({"perturbed": ["nothing"], "target": ["b"],
                                            "effect": [1.0]})])  # fmt: skip
    table, target = tmp_path / "effects.parquet", tmp_path / "out.parquet"
    frame.to_parquet(table)
    with as_file(files("octoscope.demo").joinpath("data/gnn-demo")) as checkpoint:
        words = ["gnn", "perturbations", str(table), str(checkpoint), "--type", "OE", "--share",
                 "1", "--out", str(target)]  # fmt: skip
        done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert done.exit_code == 0, (done.output, done.exception)
    rows = pd.read_parquet(target)
    assert {"gnn-demo", "target_response", "regulator_majority", "target_rate"} == set(
        rows["scorer"]
    )
    assert set(rows["pairs"]) == {"all", "training edge", "other edge", "no edge"}
    at = rows.set_index(["pairs", "scorer"])
    assert at.loc[("no edge", "gnn-demo"), "auc"] == pytest.approx(0.5, abs=0.1)
    assert at.loc[("training edge", "target_rate"), "auc"] > 0.55
    assert (at.xs("regulator_majority", level="scorer")["auc"] == 0.5).all()
    assert "unmapped 1" in done.output

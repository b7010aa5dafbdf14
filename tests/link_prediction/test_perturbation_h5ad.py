"""Effects of perturbations from h5ad files and tables of p values, simulated with a known truth."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError
from octoscope.link_prediction import perturbation_h5ad
from octoscope.link_prediction.perturbation_tables import read_perturbations
from scipy import sparse

GENES = [f"ENSG{i:011}" for i in range(30)]
NAMES = [f"G{i}" for i in range(30)]


def cells(**obs: object) -> ad.AnnData:
    """60 cells each of a control and of two knock-downs, and some that must not count.

    G0 raises G1 to G5 fourfold and halves itself; G10 lowers G11 to G15 to a quarter.
    """
    rng = np.random.default_rng(3)
    rate = np.full((2, 30), 20.0)
    rate[0, 1:6], rate[0, 0], rate[1, 11:16] = 80, 10, 5
    labels = ["control"] * 60 + ["G0"] * 60 + ["G10"] * 60 + ["G0_G10"] * 20 + ["G3"] * 5
    of = {"control": np.full(30, 20.0), "G0": rate[0], "G10": rate[1]}
    counts = rng.poisson([of.get(name, rate[0] * 9) for name in labels])
    frame = pd.DataFrame({"perturbation": labels}).assign(**obs)
    frame.loc[frame.index[-1], "perturbation"] = None  # as a file of pertpy has it
    frame.index = frame.index.astype(str)
    return ad.AnnData(
        sparse.csr_array(counts.astype(np.float32)), obs=frame, var=pd.DataFrame(index=NAMES)
    )


@pytest.mark.parametrize("rows", [1 << 24, 7 * 30])
def test_cells_are_compared_with_the_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(perturbation_h5ad, "_VALUES", rows)
    path = tmp_path / "cells.h5ad"
    cells(perturbation_type="CRISPRa").write_h5ad(path)
    read = read_perturbations(path, "KD")  # the file says over-expression
    assert set(read.frame["perturbed"]) == {"G0", "G10"}  # not two at once, nor five cells
    effect = read.frame.set_index(["perturbed", "target"])
    assert ("G0", "G0") not in effect.index
    for gene, changed, sign in (("G0", range(1, 6), 1), ("G10", range(11, 16), -1)):
        mine = effect.loc[gene]
        strongest = mine["effect"].abs().nlargest(5).index
        assert set(strongest) == {f"G{i}" for i in changed}
        assert (np.sign(mine.loc[strongest, "effect"]) == sign).all()
        assert mine.loc[strongest, "p"].max() < 1e-6
    # Welch's t by scipy
    from scipy.stats import ttest_ind

    data = cells()
    log = np.log1p(1e4 * data.X.toarray() / data.X.toarray().sum(1, keepdims=True))
    t = ttest_ind(log[60:120], log[:60], equal_var=False).statistic
    np.testing.assert_allclose(effect.loc["G0"]["effect"], pd.Series(t, NAMES)[
        effect.loc["G0"].index], rtol=1e-4)  # fmt: skip
    cells().write_h5ad(path)
    turned = read_perturbations(path, "KD").frame.set_index(["perturbed", "target"])["effect"]
    np.testing.assert_allclose(turned, -effect["effect"].loc[turned.index], rtol=1e-9)


def test_p_values_choose_among_effects(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    cells().write_h5ad(path)
    whole = read_perturbations(path)
    some = read_perturbations(path, max_p=1e-6)
    expected = whole.frame[whole.frame["p"] <= 1e-6]
    pd.testing.assert_frame_equal(some.frame, expected.reset_index(drop=True))
    assert some.account["p above, or none"] == len(whole.frame) - len(expected) > 20


def test_cells_without_a_control_and_drugs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    data = cells(perturbation_type="drug")
    data.write_h5ad(path)
    with pytest.raises(InputError, match="is a drug screen"):
        read_perturbations(path)
    data = cells()
    data[data.obs["perturbation"] != "control"].copy().write_h5ad(path)
    with pytest.raises(InputError, match="0 cells of a control"):
        read_perturbations(path)
    path.write_bytes(b"no file of this kind")
    with pytest.raises(InputError, match="is no h5ad file"):
        read_perturbations(path)


def bulk(path: Path) -> np.ndarray:
    """Three perturbations (two of one gene) and a control; returns the values."""
    values = np.random.default_rng(4).normal(size=(4, 30))
    values[0, 7] = np.nan
    rows = ["1_G0_P1P2_ENSG00000000000", "2_G2_P1_ENSG00000000002", "3_G2_P2_ENSG00000000002",
            "10_non-targeting_non-targeting_non-targeting"]  # fmt: skip
    ad.AnnData(
        values, obs=pd.DataFrame(index=rows),
        var=pd.DataFrame({"gene_name": NAMES}, index=GENES),
    ).write_h5ad(path)  # fmt: skip
    return values


def test_pseudobulks_keep_the_strongest_effects_of_a_gene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "K562_normalized_bulk_01.h5ad"
    values = bulk(path)
    effect = read_perturbations(path).frame.set_index(["perturbed", "target"])["effect"]
    assert set(effect.index.get_level_values(0)) == {GENES[0], GENES[2]}
    assert len(effect) == 28 + 29  # not itself, not NaN
    assert effect[GENES[0], GENES[4]] == -values[0, 4]  # a knock-down is turned
    assert effect[GENES[2], GENES[4]] == pytest.approx(-values[1:3, 4].mean())
    monkeypatch.setattr(perturbation_h5ad, "STRONGEST", 5)
    few = read_perturbations(path).frame
    mine = few[few["perturbed"] == GENES[0]]
    assert set(mine["target"]) <= {GENES[i] for i in np.argsort(-np.abs(np.nan_to_num(values[0])))[:5]}  # noqa: E501  # fmt: skip


def test_a_matrix_of_p_values_chooses_pseudobulk_effects(tmp_path: Path) -> None:
    path, table = tmp_path / "bulk.h5ad", tmp_path / "anderson-darling.csv"
    bulk(path)
    with pytest.raises(InputError, match="has no p values"):
        read_perturbations(path, max_p=0.05)
    p = pd.DataFrame(
        0.5,
        index=GENES,
        columns=[
            "1_G0_P1P2_ENSG00000000000",
            "2_x_ENSG00000000002",
            "3_x_ENSG00000000002",
            "4_ENSG00000000099",
        ],
    )
    p.iloc[4, 0], p.iloc[5, 1], p.iloc[6, 2], p.iloc[8, 3] = 0.01, 0.02, 0.05, 0.0
    p.iloc[9] = np.nan
    p.to_csv(table)
    frame = read_perturbations(path, max_p=0.05, p_values=table).frame
    kept = frame[["perturbed", "target", "p"]].to_records(index=False).tolist()
    assert kept == [(GENES[0], GENES[4], 0.01), (GENES[2], GENES[5], 0.02),
                    (GENES[2], GENES[6], 0.05)]  # fmt: skip
    with pytest.raises(InputError, match="largest p that counts"):
        read_perturbations(path, p_values=table)
    p.replace(0.5, 1.5).to_csv(table)
    with pytest.raises(InputError, match="outside of 0 to 1"):
        read_perturbations(path, max_p=0.05, p_values=table)
    p.rename(columns=lambda c: c[:3]).to_csv(table)
    with pytest.raises(InputError, match="no column is of a perturbed gene"):
        read_perturbations(path, max_p=0.05, p_values=table)

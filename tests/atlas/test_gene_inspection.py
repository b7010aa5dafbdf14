"""Names of genes as atlases have them: genomes, ids beside symbols, species, other columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from octoscope.atlas import Atlas, info
from octoscope.errors import InputError
from octoscope.genes import reference_genes, resolve_genes

from tests.atlas.stores import cells, config, write

TABLE = reference_genes().drop_duplicates("symbol", keep=False)
TABLE = TABLE[~TABLE["symbol"].str.startswith("ENS")].iloc[:40]
IDS, SYMBOLS = TABLE["ensembl_gene"].tolist(), TABLE["symbol"].tolist()


def named(tmp_path: Path, index: list[str], **columns: Any) -> Path:
    a = cells()
    a.var = pd.DataFrame(columns, index=index)
    return write(a, tmp_path / "a.zarr", 3)


def one_finding(path: Path, text: str, **given: Any) -> str:
    hits = [f for f in info(config(path, **given)).findings.entries if text in f.problem]
    assert len(hits) == 1, text
    return f"{hits[0].problem}; {hits[0].fix}"


@pytest.mark.parametrize(
    "rule",
    [
        lambda s, e: f"GRCh38_{s}",
        lambda s, e: f"GRCh38_{e}.2",
        lambda s, e: f"hg19___{s}",
        lambda s, e: f"{s}_{e}",
        lambda s, e: f"{e}.7|{s}",
        lambda s, e: f"{s} ({e})",
        lambda s, e: f" {e}",
    ],
)
def test_ids_behind_genomes_and_beside_symbols(
    tmp_path: Path, rule: Callable[[str, str], str]
) -> None:
    """Red: every gene is dropped, or the atlas refused."""
    path = named(tmp_path, [rule(s, e) for s, e in zip(SYMBOLS, IDS, strict=True)])
    genes = Atlas(config(path)).genes
    assert genes.ensembl.tolist() == IDS
    assert genes.symbol.tolist() == SYMBOLS
    if rule("x", "y").startswith("GRCh38_"):
        assert "GRCh38_ (40)" in one_finding(path, "begin with the name of a genome")


def test_genes_of_two_species_are_counted_and_kept_apart(tmp_path: Path) -> None:
    """Red: mouse genes go unsaid, or a mouse symbol becomes the human gene of its name."""
    names = [f"GRCh38_{s}" for s in SYMBOLS[:20]] + [f"mm10___{s}" for s in SYMBOLS[:20]]
    path = named(tmp_path, names, feature_name=names)
    atlas = Atlas(config(path))
    assert atlas.genes.ensembl.tolist() == IDS[:20]
    assert atlas.genes.symbol.tolist() == SYMBOLS[:20]
    assert {r["why"] for r in atlas.gene_report} == {"a symbol of mouse"}
    assert "20 human, 20 mouse" in one_finding(path, "several species")
    half = [*IDS[:36], "Gapdh", "Actb", "Cd3e", "CD4"]
    assert "37 human, 3 mouse" in one_finding(named(tmp_path / "h", half), "several species")
    mouse = [f"ENSMUSG{i:011d}" for i in range(40)]
    assert "genes are 40 mouse" in one_finding(named(tmp_path / "m", mouse), "genes are")


def test_second_copies_on_the_y_chromosome_are_no_genes(tmp_path: Path) -> None:
    names = np.array([*IDS[:3], f"{IDS[0]}.4_PAR_Y"], dtype=object)
    table, columns, _ = resolve_genes(names, None, where="a")
    assert table.ensembl.tolist() == IDS[:3]
    assert columns.tolist() == [0, 1, 2, -1]


def test_the_column_of_ids_is_suggested(tmp_path: Path) -> None:
    """Red: "set atlas.gene_id_key", which does not say to what."""
    fix = r"var\[ensembl_id\] holds Ensembl ids: set atlas.gene_id_key: ensembl_id \(--gene-id"
    unknown = [f"gene{i}" for i in range(40)]
    path = named(tmp_path, unknown, ensembl_id=IDS, n_cells=list(range(40)))
    with pytest.raises(InputError, match=fix):
        Atlas(config(path))
    assert "--gene-id ensembl_id" in one_finding(path, "are no Ensembl gene ids")
    assert Atlas(config(path, gene_id_key="ensembl_id")).genes.ensembl.tolist() == IDS
    path = named(tmp_path / "b", SYMBOLS, ensembl_id=IDS)
    assert "--gene-id ensembl_id" in one_finding(path, "are no Ensembl gene ids")


@pytest.mark.parametrize("names", [IDS, SYMBOLS], ids=["ids", "symbols"])
def test_a_transposed_matrix_is_named(tmp_path: Path, names: list[str]) -> None:
    """Red: "set atlas.gene_id_key to the var column that holds Ensembl ids", which none holds."""
    a = cells()
    b = ad.AnnData(a.X.T.tocsr(), pd.DataFrame(index=names), pd.DataFrame(index=a.obs_names))
    b.obs["cell_type"] = pd.Categorical(["T cell"] * b.n_obs)
    write(b, tmp_path / "t.zarr", 3)
    with pytest.raises(InputError, match=r"the names of the cells are genes.*write adata\.T"):
        Atlas(config(tmp_path / "t.zarr"))
    noted = info(config(tmp_path / "t.zarr")).findings.entries
    assert any("adata.T" in f.fix for f in noted)
    b.obs_names = [f"AC-{i}" for i in range(b.n_obs)]
    write(b, tmp_path / "u.zarr", 3)
    with pytest.raises(InputError, match="set atlas.gene_id_key"):
        Atlas(config(tmp_path / "u.zarr"))


def test_the_column_of_symbols_is_suggested(tmp_path: Path) -> None:
    path = named(tmp_path, IDS, gene_symbols=SYMBOLS)
    assert "--symbol-key gene_symbols" in one_finding(path, "no column 'feature_name' of symbols")
    path = named(tmp_path / "b", IDS, feature_name=SYMBOLS)
    assert not [f for f in info(config(path)).findings.entries if "of symbols" in f.problem]


def test_a_frame_of_raw_without_the_column_of_ids_is_named(tmp_path: Path) -> None:
    """Red: "var: no column", though var has it: the counts lie in raw."""
    a = cells()
    a.var = pd.DataFrame({"gene_ids": IDS}, index=SYMBOLS)
    raw = a.copy()
    raw.var = pd.DataFrame(index=SYMBOLS)
    a.raw = raw
    path = write(a, tmp_path / "a.zarr", 3)
    message = r"raw/var: no column 'gene_ids'; it has \[\].*adata.raw.var\['gene_ids'\]"
    with pytest.raises(InputError, match=message):
        Atlas(config(path, gene_id_key="gene_ids"))
    assert "adata.raw.var" in one_finding(path, "no column 'gene_ids'", gene_id_key="gene_ids")
    given = {"gene_id_key": "gene_ids", "counts": "X"}
    assert Atlas(config(path, **given)).genes.ensembl.tolist() == IDS

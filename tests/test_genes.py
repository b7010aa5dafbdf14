"""Gene identifiers of an atlas: versions, symbols, aliases, retired ids, duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from octoscope.errors import InputError
from octoscope.genes import GeneTable, NoGeneIds, read_aliases, resolve_genes
from octoscope.models import GeneMatch


def resolve(names: list[str], **given: object) -> tuple[GeneTable, list[int], dict[str, str]]:
    table, columns, report = resolve_genes(
        np.array(names, dtype=object), None, where="a: var", **given
    )  # type: ignore[arg-type]
    return table, columns.tolist(), {r["id"]: f"{r['what']}: {r['why']}" for r in report}


def test_versions_symbols_and_unknown_names() -> None:
    table, columns, report = resolve(["ENSG00000090382.7", "CD3E", "NOSUCH"])
    assert table.ensembl.tolist() == ["ENSG00000090382", "ENSG00000198851"]
    assert table.symbol.tolist() == ["LYZ", "CD3E"]
    assert columns == [0, 1, -1]
    assert report == {"NOSUCH": "dropped: no Ensembl id, no unique symbol"}


def test_aliases_name_retired_ids_and_old_symbols(tmp_path: Path) -> None:
    path = tmp_path / "aliases.tsv"
    path.write_text("alias\tensembl\nOKT3e\tENSG00000198851.3\nENSG00009999991\tENSG00000090382\n")
    aliases = read_aliases(path)
    assert aliases == {"OKT3E": "ENSG00000198851", "ENSG00009999991": "ENSG00000090382"}
    table, columns, report = resolve(["okt3e", "ENSG00009999991.2", "CD14"], aliases=aliases)
    assert table.ensembl.tolist()[:2] == ["ENSG00000198851", "ENSG00000090382"]
    assert columns == [0, 1, 2]
    assert report["okt3e"] == "renamed: alias of ENSG00000198851"
    assert report["ENSG00009999991.2"] == "renamed: alias of ENSG00000090382"
    # an alias and the gene itself are one gene: refused, or added up where asked for
    with pytest.raises(InputError, match="more than once.*ENSG00000198851"):
        resolve(["CD3E", "okt3e"], aliases=aliases)
    table, columns, _ = resolve(["CD3E", "okt3e"], aliases=aliases, duplicates="sum")
    assert columns == [0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", r"columns \['a', 'b'\]"),
        ("alias,ensembl\nX,nothing\n", "X: 'nothing' is no Ensembl gene id"),
        (
            "alias,ensembl\nX,ENSG00000198851\nx,ENSG00000090382\n",
            "stands for ENSG00000198851 and ENSG00000090382",
        ),
    ],
)
def test_bad_alias_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "aliases.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_aliases(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_aliases(tmp_path / "absent.tsv")


def test_models_of_one_run_call_a_gene_alike() -> None:
    atlas = GeneTable(
        np.array(["OLD", "B", "C", "D"], object), np.array(["x", "", "z", "d"], object)
    )
    own = GeneTable(np.array(["A", "B", "OLD", "E"], object), np.array(["a", "b", "", "e"], object))
    # OLD became A; B and C are both B; D has no token; the model's own OLD is never reached
    match = GeneMatch(own, np.array([0, 1, 1, -1], np.int32), []).named_by(atlas)
    assert match.genes.ensembl.tolist() == ["OLD", "B", "", "E"]
    assert match.genes.symbol.tolist() == ["x", "b", "", "e"]
    assert match.with_panel(["OLD"]).allowed.tolist() == [0]


def test_numbers_are_called_entrez_ids() -> None:
    """Red: "set atlas.gene_id_key to the var column that holds Ensembl ids", of which none does."""
    for ids, fix in ((["7157", "672"], "may be Entrez ids"), (["7157", "x!"], "set atlas.gene_id")):
        with pytest.raises(NoGeneIds, match=rf"a: var: no Ensembl gene id .*{fix}"):
            resolve_genes(np.array(ids, dtype=object), None, where="a: var")

"""Genes of a panel from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from octoscope.config import parse_config
from octoscope.errors import InputError
from octoscope.planning.resolve import result_fields

TREE: dict[str, Any] = {
    "atlas": {"path": "a.zarr", "category_key": ["cell_type"]},
    "models": [{"name": "m", "family": "scgpt", "path": "p"}],
}


def genes_of(file: Path) -> list[str] | None:
    sets = [{"name": "panel", "kind": "panel", "genes": {"file": str(file)}}]
    return parse_config(TREE | {"gene_sets": sets, "accumulate": "panel"}, "c").gene_sets[0].genes


def test_a_file_gives_the_names_of_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "panel.txt"
    file.write_bytes("\ufeffLYZ  # lysozyme\r\n\r\n# T cells\nCD3E\nENSG00000141510\n".encode())
    assert genes_of(file) == ["LYZ", "CD3E", "ENSG00000141510"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"# nothing\n\n", "holds no gene"),
        (b"LYZ\nCD3E CD3G\n", "line 2 holds 'CD3E CD3G'; give one gene on each line"),
        (b"LYZ,CD3E\n", "line 1 holds 'LYZ,CD3E'"),
        (b"\xff\xfe\x00", "is no UTF-8 text"),
    ],
    ids=["absent", "empty", "two", "commas", "binary"],
)
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "panel.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        genes_of(file)
    assert "gene_sets.0.genes" in str(refused.value)
    assert str(file) in str(refused.value)


def test_the_file_is_noted_and_is_a_place_that_is_read(tmp_path: Path) -> None:
    """Red: the plan keeps the genes alone, and `--force` may write over the list."""
    file = tmp_path / "panel.txt"
    file.write_text("LYZ\n")
    sets = [{"name": "panel", "kind": "panel", "genes": {"file": str(file)}}]
    config = parse_config(TREE | {"gene_sets": sets, "accumulate": "panel"}, "c")
    assert str(file) in config.input_paths()
    stored = parse_config(config.model_dump(mode="json"), "run/config.yaml", stored=True)
    assert stored == config
    assert str(file) in stored.input_paths()
    listed = parse_config(
        TREE | {"gene_sets": [sets[0] | {"genes": ["LYZ"]}], "accumulate": "panel"}, "c"
    )
    assert listed.gene_sets[0].genes_file is None
    assert result_fields(listed) == result_fields(config)


def test_more_genes_than_a_configuration_holds_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "panel.txt"
    file.write_text("".join(f"G{i}\n" for i in range(100_001)))
    with pytest.raises(InputError, match="gene_sets: 100,001 genes in all"):
        genes_of(file)

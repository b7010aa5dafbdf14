"""The reference of tables: made from the schema, and complete in itself."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from octoscope.analysis.registry import analyses
from octoscope.errors import InputError
from octoscope.results.schema import column_of, schema, table_of

from tests.results.columns import faults

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_schema_says() -> None:
    script = ROOT / "scripts/build_reference.py"
    spec = spec_from_file_location("build_reference", script)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text()
    assert page == module.page(), "run: python scripts/build_reference.py"


def test_every_built_in_analysis_describes_its_tables() -> None:
    assert all(a.tables for a in analyses())
    tables = [t.path for a in analyses() for t in a.tables]
    assert len(set(tables)) == len(tables)
    for path, table in schema().items():
        names = [c.name for c in table.columns]
        assert len(set(names)) == len(names), path
        for column in table.columns:
            assert column.meaning[:1] == column.meaning[:1].strip() != "", (path, column.name)
            assert not column.meaning.endswith("."), (path, column.name)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("tables/stats.parquet", "tables/stats.parquet"),
        ("topk/scgpt.head03.parquet", "topk/{model}.parquet"),
        ("union/scgpt.c0012.parquet", "union/{model}.{category}.parquet"),
        ("consensus/c0000.parquet", "consensus/{category}.parquet"),
        ("consensus/scgpt.parquet", "consensus/{model}.parquet"),
    ],
)
def test_a_path_leads_to_its_table(path: str, found: str) -> None:
    assert table_of(path).path == found


def test_columns_of_layers_and_tokens_are_found() -> None:
    column = column_of(table_of("union/scgpt.c0000.parquet"), "rank_11")
    assert column is not None
    assert column.name == "rank_{layer}"
    kept = column_of(table_of("tables/mass.parquet"), "to_kept")
    assert kept is not None
    assert kept.name == "to_kept"
    assert column_of(table_of("tables/stats.parquet"), "nonsense") is None
    with pytest.raises(InputError, match="no analysis makes such a table"):
        table_of("tables/nonsense.parquet")


def test_a_run_has_the_columns_of_the_schema(finished_run: Path) -> None:
    assert faults(finished_run) == []

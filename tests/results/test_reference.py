"""Generated pages: the reference, made from the code and complete in itself, and a notebook."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import octoscope
import pytest
from octoscope.analysis.registry import analyses
from octoscope.results.schema import schema

from tests.results.columns import faults

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    spec = spec_from_file_location("build_reference", ROOT / "scripts/build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["tables.md", "commands.md", "settings.md", "../tutorials/first_run.ipynb"]
)
def test_a_page_is_what_it_is_made_from(name: str) -> None:
    script = _script()
    page = (script.FOLDER / name).read_text()
    assert page == script.PAGES[name](), "run: python scripts/build_reference.py"


def test_every_name_of_the_package_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/python.md").read_text()
    shown = re.findall(r"^::: (octoscope\S*)\.(\w+)$", page, re.MULTILINE)
    assert {name for _, name in shown} >= set(octoscope.__all__) - {"__version__"}
    assert all(hasattr(import_module(module), name) for module, name in shown)


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


def test_a_run_has_the_columns_of_the_schema(finished_run: Path) -> None:
    assert faults(finished_run) == []

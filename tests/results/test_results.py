"""A finished run as one value: tables read once, earlier versions under the present names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from octoscope.analysis import registry
from octoscope.analysis.registry import Analysis, Needs, Section
from octoscope.errors import DamagedRunError, InputError, OctoscopeWarning
from octoscope.report.page import page
from octoscope.results import run_tables
from octoscope.results.earlier_versions import (
    RENAMED_COLUMNS,
    RENAMED_TABLES,
    SUMMARIES,
    upgraded,
    with_former_names,
)
from octoscope.results.run_results import Results
from octoscope.store.parquet import read_table, write_table
from octoscope.store.run_dir import RunRoot

STORES = Path(__file__).parents[1] / "data/stores"
# of what a model, a driver and a compiler need; who reads tables needs none
HEAVY = ("torch", "transformers", "ray", "numba", "dask", "matplotlib", "jinja2")


@pytest.fixture
def old_run(tmp_path: Path) -> RunRoot:
    """A run that has few of the summaries that runs have now."""
    return RunRoot(shutil.copytree(STORES / "plan-3b", tmp_path / "run"))


def test_reading_a_run_imports_no_model_and_no_compiler() -> None:
    script = (
        "import sys\n"
        "from octoscope.results.run_results import Results\n"
        f"run = Results.open({str(STORES / 'plan-3b')!r})\n"
        "run.config, run.plan, run.provenance\n"
        "assert all(len(run.tables[name].columns) for name in run.tables)\n"
        f"print([x for x in {HEAVY!r} if x in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_tables_have_short_names(old_run: RunRoot) -> None:
    results = Results.open(old_run.url)
    stats = results.tables["stats"]
    for name in ("tables/stats", "tables/stats.parquet"):
        pd.testing.assert_frame_equal(results.tables[name], stats)
    assert len(results.topk("tiny")) == 30
    assert len(results.tables["union/tiny.c0000"]) == 10
    assert len(results.tables["edges/tiny"])
    assert {"stats", "cells", "topk/tiny", "union/tiny.c0000"} <= set(results.tables)
    assert len(results.tables) == len(list(results.tables))
    with pytest.raises(InputError, match="one of T cell"):
        results.consensus("B cell")


def test_genes_are_counted_by_what_became_of_them(old_run: RunRoot) -> None:
    tables = Results.open(old_run.url).tables
    listed = tables["vocabulary"]
    counts = tables["vocabulary_counts"]
    assert counts["n_genes"].sum() == len(listed)
    for row in counts.itertuples():
        of_model = listed["model"].isna() if pd.isna(row.model) else listed["model"] == row.model
        assert row.n_genes == (of_model & (listed["what"] == row.what)).sum() > 0


def test_an_unknown_table_is_a_key_error_that_lists_what_there_is(old_run: RunRoot) -> None:
    tables = Results(old_run).tables
    assert "agreement" not in tables
    assert tables.get("agreement") is None
    with pytest.raises(InputError, match=r"'agreement': this run has none .*stats.*topk/tiny"):
        tables["agreement"]
    with pytest.raises(KeyError):
        tables["../plan"]


def test_a_table_is_read_once_and_callers_cannot_change_it(
    old_run: RunRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(root: RunRoot, path: str) -> pd.DataFrame:
        read.append(path)
        return read_table(root, path)

    monkeypatch.setattr(run_tables, "read_table", counted)
    results = Results(old_run)
    mine = results.tables["stats"]
    mine["mine"] = 1
    assert "mine" not in results.tables["stats"]
    assert read == ["tables/stats.parquet"]
    small = run_tables.RunTables(old_run, results.plan, results.provenance, cache_bytes=1)
    for _ in range(2):
        for name in ("stats", "mass"):
            assert len(small[name])
    assert read[1:] == ["tables/stats.parquet", "tables/mass.parquet"] * 2


def test_summaries_that_a_run_lacks_are_those_that_it_would_have(finished_run: Path) -> None:
    stored, computed = Results.open(finished_run), Results.open(finished_run)
    for path, (sources, make) in SUMMARIES.items():
        if path not in stored.tables or not all(s in stored.tables for s in sources):
            continue
        table = make(lambda p: computed.tables[p], computed.plan, computed.provenance)
        want = stored.tables[path]
        if len(want):
            pd.testing.assert_frame_equal(table, want, check_dtype=False)


def test_sentinels_of_earlier_versions_are_nulls() -> None:
    union = pd.DataFrame({"query": ["a", "b"], "rank_0": [1, 0], "value_0": [2.0, float("nan")]})
    assert upgraded("union/m.c0000.parquet", union)["rank_0"].isna().tolist() == [False, True]
    net = pd.DataFrame({"query": ["a", "b"], "rival": ["T cell", ""]})
    closest = upgraded("consensus/c0000.parquet", net)["closest_category"]
    assert closest.isna().tolist() == [False, True]
    coherent = pd.DataFrame({"left_out": ["", "scgpt"]})
    assert upgraded("tables/coherence.parquet", coherent)["left_out"].isna().tolist() == [
        True, False,
    ]  # fmt: skip


def test_an_unfinished_run_is_refused(old_run: RunRoot) -> None:
    old_run.remove(["_SUCCESS"])
    with pytest.raises(DamagedRunError, match="not finished"):
        Results.open(old_run)
    with pytest.raises(InputError, match="not a run directory"):
        Results.open(Path(old_run.url).parent)


class _Entry:
    """An entry point of another package."""

    name = value = "mine"

    def load(self) -> Analysis:
        return Analysis(
            "mine",
            Needs(),
            lambda plan, finished: {},
            lambda context: [],
            sections=(
                Section(
                    "A heading <b>of mine</b>",
                    "What it says.",
                    "mine/table.parquet",
                    ("gene", "is_hub", "score", "count"),
                    sort_by=("score", False),
                ),
                Section("Absent", "No table, no section.", "mine/other.parquet", ("gene",)),
            ),
        )


def test_the_report_shows_what_an_analysis_of_another_package_says(
    old_run: RunRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = (old_run.read("plan.json") or b"").decode()
    old_run.replace("plan.json", plan.replace("{", '{"analyses": ["mine"],', 1).encode())
    table = pd.DataFrame(
        {
            "gene": ["CD3E", "LYZ"],
            "is_hub": pd.array([None, True], dtype="boolean"),
            "score": [0.5, 0.75],
            "count": pd.array([1234, None], dtype="Int64"),
        }
    )
    write_table(old_run, "mine/table.parquet", table)
    without = page(Results(old_run)).decode()
    assert 'id="absent-analyses"' in without
    assert "mine" in without[without.index("absent-analyses") :][:200]
    monkeypatch.setattr(registry, "entry_points", lambda group: [_Entry()])
    text = page(Results(old_run)).decode()
    assert "absent-analyses" not in text
    section = text[text.index('id="analysis-1"') : text.index('id="cells"')]
    assert "A heading &lt;b&gt;of mine&lt;/b&gt;" in section
    assert '<a href="#analysis-1">' in text
    assert '<th scope="col">is hub</th>' in section
    rows = section[section.index("<tbody>") :].split("<tr>")[1:]
    assert [r.index("</td>") for r in rows]
    assert "<td>LYZ</td><td>yes</td>" in rows[0].replace(' class="n"', "")
    assert ">0.75</td>" in rows[0]
    assert ">n/a</td>" in rows[0]
    assert "<td>CD3E</td><td>n/a</td>" in rows[1].replace(' class="n"', "")
    assert ">1,234</td>" in rows[1]
    assert 'id="analysis-2"' not in text


def test_a_former_table_name_answers_with_a_warning(old_run: RunRoot, finished_run: Path) -> None:
    """Red: a run of an earlier version without its AUROC, or an alias left out."""
    assert RENAMED_TABLES == {"tables/separation.parquet": "tables/auroc.parquet"}
    for run in (Path(old_run.url), finished_run):
        tables = Results.open(run).tables
        assert "auroc" in list(tables)
        assert "separation" not in list(tables)
        with pytest.warns(OctoscopeWarning, match="table separation is now called auroc"):
            former = tables["separation"]
        pd.testing.assert_frame_equal(former, tables["auroc"])
        assert former["auroc"].notna().any()


def test_former_column_names_answer_with_a_warning() -> None:
    """Red: the alias left out, or silent, or one added without a case here."""
    assert RENAMED_COLUMNS == {"rival": "closest_category"}
    table = with_former_names(pd.DataFrame({"closest_category": ["a"], "score": [1.0]}))
    with pytest.warns(OctoscopeWarning, match="rival is now called closest_category"):
        assert table["rival"].tolist() == ["a"]
    with pytest.warns(OctoscopeWarning, match="rival is now called closest_category"):
        assert table[["score", "rival"]].columns.tolist() == ["score", "closest_category"]
    assert table["score"].tolist() == [1.0]
    with pytest.raises(KeyError):
        table["nonsense"]
    assert type(table[["score"]]) is pd.DataFrame
    assert type(with_former_names(pd.DataFrame({"score": [1.0]}))) is pd.DataFrame

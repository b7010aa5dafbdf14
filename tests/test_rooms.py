"""The rooms of the package: which may import which, how large a module may be, and its names.

``RULES`` are the five rules of the house. `tests/docs/test_architecture.py` compares them, and the
table and the picture of rooms, with docs/architecture.md.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from octoscope.analysis.registry import analyses
from octoscope.cli.app import app
from octoscope.config import RunConfig
from octoscope.config.declared import settings_of
from octoscope.results.schema import RUN_TABLES

from tests.calls import imported, statistics_in, writes_in

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "engine/octoscope"
# A room may import the rooms of its own line and of the lines above it, as listed here.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "extras": {"errors"},
    "jit": set(),
    "row_blocks": set(),
    "device_copies": set(),
    "digests": {"bounded_reads"},
    "safe_pickle": set(),
    "zip_parts": {"bounded_reads"},
    "json_values": {"digests"},
    "output_files": {"errors"},
    "genes": {"bounded_reads", "errors"},
    "bounded_reads": {"errors"},
    "hdf5_walk": set(),
    "hdf5_guard": {"errors", "hdf5_walk"},
    "yaml_values": set(),
    "config": {"bounded_reads", "errors", "yaml_values"},
    "run_plan": {"config", "json_values"},
    "attention": {"config", "device_copies", "errors", "jit"},
    "store": {
        "bounded_reads", "row_blocks", "config", "digests", "errors", "json_values", "run_plan",
    },
    "atlas": {
        "bounded_reads", "config", "errors", "genes", "hdf5_guard", "json_values", "output_files",
        "store",
    },
    "models": {
        "bounded_reads", "device_copies", "digests", "errors", "genes", "jit", "json_values",
        "safe_pickle", "yaml_values", "zip_parts",
    },
    "octopus": {
        "bounded_reads", "config", "digests", "errors", "genes", "jit", "json_values",
        "output_files", "safe_pickle", "zip_parts",
    },
    "gnn": {
        "bounded_reads", "digests", "errors", "jit", "json_values", "models", "octopus",
        "output_files", "safe_pickle",
    },
    "link_prediction": {
        "bounded_reads", "errors", "gnn", "hdf5_guard", "json_values", "octopus", "output_files",
    },
    "gnn_training": {
        "bounded_reads", "config", "digests", "errors", "gnn", "json_values", "link_prediction",
        "output_files",
    },
    "analysis": {
        "attention", "row_blocks", "config", "errors", "gnn", "jit", "octopus", "run_plan",
    },
    "results": {"analysis", "attention", "row_blocks", "config", "errors", "run_plan", "store"},
    "extract": {
        "analysis", "atlas", "attention", "row_blocks", "config", "device_copies", "errors",
        "models", "run_plan", "results", "store",
    },
    "probe": {"atlas", "config", "errors", "json_values", "models", "output_files", "zip_parts"},
    "planning": {
        "analysis", "atlas", "attention", "config", "errors", "extract", "genes", "gnn",
        "json_values", "models", "octopus", "output_files", "run_plan", "probe", "store",
    },
    "report": {"config", "errors", "octopus", "output_files", "run_plan", "results"},
    "pipeline": {
        "analysis", "config", "errors", "json_values", "run_plan", "planning", "report", "results",
        "store",
    },
    "cluster": {
        "config", "errors", "extract", "gnn", "json_values", "pipeline", "run_plan", "planning",
        "store",
    },
    "demo": set(),
    "cli": {"api", "errors", "extras", "output_files", "yaml_values"},
}  # fmt: skip
ALLOWED["api"] = set(ALLOWED) - {"api", "cli"}
EVERYWHERE = {"__version__"}
# The rules of docs/architecture.md in its words, and the tests that check each.
RULES: dict[str, list[str]] = {
    (
        "`analysis` imports no `store` and no Ray: it does not know where a matrix is stored. It "
        "reads through the protocol `FinishedMatrices`; `results` implements the protocol."
    ): ["test_analysis_does_not_know_where_a_matrix_is_stored"],
    (
        "`cluster` imports no `analysis`, and only `cluster` imports Ray. `cluster/dispatch.py` "
        "contains no Ray either, so tests run it with simulated actors."
    ): ["test_cluster_schedules_and_computes_nothing"],
    (
        "`report` computes no statistics: it imports neither `analysis` nor a library of "
        "statistics, and takes no mean, quantile or rank of what it reads."
    ): ["test_report_computes_no_statistics"],
    (
        "Only `store` writes into a run directory. Other modules that write a file stand in a "
        "list in the test, each with what it writes."
    ): ["test_only_store_writes_into_a_run_directory"],
    (
        "`api` and `cli` are on top: no other room imports them. `cli` imports `api` and leaf "
        "modules alone, so whatever a command does can be done from Python. The report is written"
        " before a run is sealed and cannot open it through `api`; both read the same value, "
        "`Results` ([decision 17](decisions/0017-report-and-api.md))."
    ): ["test_api_and_cli_are_on_top", "test_a_room_imports_only_the_rooms_below_it"],
}


def modules() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if "demo/data" not in str(p)]


@cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Return the modules that a file imports, also inside functions, with the line."""
    imported = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported += [(a.name, node.lineno) for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "octoscope":
                imported += [(f"octoscope.{a.name}", node.lineno) for a in node.names]
            else:
                imported.append((node.module, node.lineno))
    return imported


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


ROOMS = {room_of(path) for path in modules()}


def test_every_room_is_listed_and_every_import_names_its_room() -> None:
    """A room that is not listed, or a relative import, would pass the tests below unread."""
    assert set(ALLOWED) == ROOMS - {"__init__"}
    relative = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path in modules()
        if room_of(path) == room
        for name, line in imports(path)
        if name.startswith("octoscope.")
        and (to := name.split(".")[1]) != room
        and to not in ALLOWED[room] | EVERYWHERE
    ]
    assert wrong == []


def test_the_arrows_between_rooms_have_no_cycle() -> None:
    done: set[str] = set()
    while rest := {r for r in ALLOWED if r not in done}:
        ready = {r for r in rest if ALLOWED[r] - {r} <= done}
        assert ready, f"a cycle among {sorted(rest)}"
        done |= ready


def wrong(rooms: set[str], names: set[str]) -> list[str]:
    """Return imports of any of these modules, or of what is in them, in these rooms."""
    return [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path in modules()
        if room_of(path) in rooms
        for line, name in imported(path.read_text())
        if any(name == other or name.startswith(f"{other}.") for other in names)
    ]


def test_analysis_does_not_know_where_a_matrix_is_stored() -> None:
    assert wrong({"analysis"}, {"octoscope.store", "octoscope.results", "ray", "zarr"}) == []


def test_cluster_schedules_and_computes_nothing() -> None:
    assert wrong({"cluster"}, {"octoscope.analysis", "scipy"}) == []
    assert wrong(ROOMS - {"cluster"}, {"ray"}) == []
    assert wrong({"cluster"}, {"ray"})  # what would be found elsewhere
    dispatch = PACKAGE / "cluster/dispatch.py"
    assert [name for name, _ in imports(dispatch) if name.split(".")[0] == "ray"] == []


def test_report_computes_no_statistics() -> None:
    assert wrong({"report"}, {"octoscope.analysis"}) == []
    assert statistics_of("report") == []
    for room in ("analysis", "results"):  # they make the numbers that the report shows
        assert statistics_of(room)


def statistics_of(room: str) -> list[str]:
    """Return what in a room makes a figure out of others; see ``tests/calls.py``."""
    return [
        f"{path.relative_to(PACKAGE)}:{line} {name}"
        for path in modules()
        if room_of(path) == room
        for line, name in statistics_in(path.read_text())
    ]


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("from scipy import stats", "scipy.stats"),
        ("import scipy.stats as st", "scipy.stats"),
        ("from scipy.stats import rankdata as r", "scipy.stats.rankdata"),
        ("import scipy\nscipy.stats.norm", "scipy.stats.norm"),
        ("import statistics\nstatistics.fmean(x)", "statistics.fmean"),
        ("from statistics import median", "statistics.median"),
        ("import importlib\nimportlib.import_module('sklearn.metrics')", "sklearn.metrics"),
        ("from numpy import mean\nmean(x)", "numpy.mean"),
        ("from numpy import mean as middle\nmiddle(x)", "numpy.mean"),
        ("import numpy as np\nnp.nanstd(x)", "numpy.nanstd"),
        ("import numpy\nnumpy.ma.median(x)", "numpy.ma.median"),
        ("import numpy as np\nf = np.quantile\nf(x)", "numpy.quantile"),
        ("import numpy as np\nmap(np.median, x)", "numpy.median"),
        ("import pandas as pd\npd.qcut(x, 4)", "pandas.qcut"),
        ("table['x'].mean()", ".mean"),
        ("table.groupby('a').agg('max')", ".agg"),
        ("table.groupby('a')['b'].transform('rank')", "transform rank"),
        ("table.rolling(3).sum()", "table.rolling"),
        ("getattr(table, 'median')()", "getattr median"),
        ("axes.hist(values)", "axes.hist"),
        ("sum(x) / len(x)", "a mean by hand"),
        ("x.sum() / x.size", "a mean by hand"),
    ],
)
def test_statistics_are_seen_however_they_are_named(program: str, name: str) -> None:
    assert name in {seen for _, seen in statistics_in(program)}


@pytest.mark.parametrize(
    "program",
    [
        "median = row['median_quantile']\nprint(median)",
        "import numpy as np\nnp.log10(x); np.concatenate(x); len(x) / 2",
        "table.sort_values('rank').head(10)",
    ],
)
def test_what_a_table_says_is_no_statistics(program: str) -> None:
    assert statistics_in(program) == []


# Modules outside `store` that write files, and what: none of it stays in a run directory.
WRITERS = {
    "api/described_network.py": "a page of a network where the user wants it",
    "api/execution.py": "nothing: what is printed goes to the null device",
    "api/links.py": "a page of evaluations where the user wants it",
    "api/run_outputs.py": "a report where the user wants it",
    "atlas/partial_store.py": "a converted atlas",
    "atlas/shards.py": "a converted atlas",
    "atlas/transpose.py": "counts of a source by row, while an atlas is converted",
    "cluster/connect.py": "the folder that TMPDIR names, as Ray would make it",
    "cli/compare.py": "a table where the user wants it",
    "extract/ranked_cells.py": "a temporary file in the folder that `Attempt.room` gives",
    "octopus/pair_files.py": "a table where the user wants it",
    "gnn/embeddings.py": "embeddings in a cache of the user",
    "gnn/gnn_checkpoint.py": "a checkpoint of a graph neural network",
    "gnn/graph_folder.py": "a graph as arrays",
    "gnn_training/planted_checks.py": "trainings in a temporary folder",
    "gnn_training/train.py": "the account of a training",
    "gnn_training/train_state.py": "the state of a training",
    "link_prediction/evaluation_files.py": "an evaluation of link prediction",
    "octopus/directory.py": "a network directory",
    "octopus/network_export.py": "a network for another program",
    "output_files.py": "a file where the user wants it, first under a temporary name",
    "planning/timing.py": "a few cells, in a temporary folder beside the run",
    "probe/dump.py": "a dump of attention",
    "report/export.py": "a run for another program",
    "report/pages_by_model.py": "the pages of a report, in a new folder outside the run",
    "report/svg.py": "a figure, into memory",
}


def test_only_store_writes_into_a_run_directory() -> None:
    writers = {str(p.relative_to(PACKAGE)) for p in modules() if writes_in(p.read_text())}
    assert {name for name in writers if not name.startswith("store/")} == set(WRITERS)
    assert "store/backends.py" in writers  # where files of a run are written
    # nor does a module reach through a run directory to its files
    beyond = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in modules()
        if room_of(path) != "store"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in ("write", "create", "delete")
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "objects"
    ]
    assert beyond == []


@pytest.mark.parametrize(
    "program",
    [
        "import numpy as np\nnp.save(path, x)",
        "from numpy import save as keep\nkeep(path, x)",
        "import numpy as np\nkeep = np.save\nkeep(path, x)",
        "from functools import partial\nimport numpy as np\npartial(np.save, path)",
        "import numpy as np\nnp.savez_compressed(path, x=x)",
        "import numpy as np\nnp.memmap(path, np.float32, 'w+', shape=(2,))",
        "import numpy as np\nnp.memmap(path, shape=(2,))",
        "from numpy.lib.format import open_memmap\nopen_memmap(path, mode='w+')",
        "x.tofile(path)",
        "import pyarrow.parquet as pq\npq.write_table(table, path)",
        "from pyarrow.parquet import write_table\nwrite_table(table, path)",
        "from pyarrow.parquet import ParquetWriter\nwith ParquetWriter(path, schema) as w: pass",
        "import pyarrow as pa\npa.OSFile(path, 'wb')",
        "import pyarrow as pa\npa.output_stream(path)",
        "figure.savefig(path)",
        "import matplotlib.pyplot as plt\nplt.savefig(path)",
        "path.rename(other)",
        "Path(name).replace(other)",
        "(folder / name).replace(folder / other)",
        "import os\nos.rename(a, b)",
        "from os import replace\nreplace(a, b)",
        "import os\nos.open(path, os.O_WRONLY | os.O_CREAT)",
        "import shutil\nshutil.copy(a, b)",
        "from shutil import move as put\nput(a, b)",
        "path.symlink_to(other)",
        "import h5py\nh5py.File(path, 'w')",
        "from h5py import File\nFile(path, mode='a')",
        "import h5py\nh5py.File(path, 'r+')",
        "import h5py\nh5py.File(path, mode)",
        "file.create_dataset('x', data=x)",
        "import zarr\nzarr.create_array(path, shape=(2,), dtype='f4')",
        "import zarr\nzarr.create(shape=(2,), store=path)",
        "import zarr\nzarr.open(path)",  # its mode is 'a' unless it is told
        "import zarr\nzarr.open_group(path, mode='w')",
        "from zarr import save\nsave(path, x)",
        "group.create_group('x')",
        "open(path, 'w')",
        "open(path, mode='ab')",
        "open(path, mode=mode)",
        "path.open('x')",
        "path.open(mode='r+b')",
        "system.open(url, 'wb')",
        "import gzip\ngzip.open(path, 'wt')",
        "import io\nio.open(path, 'w')",
        "from zipfile import ZipFile\nZipFile(path, 'w')",
        "import tarfile\ntarfile.open(path, 'w:gz')",
        "table.to_json(path)",
        "import torch\ntorch.save(x, path)",
        "from safetensors.torch import save_file\nsave_file(x, path)",
        "import tempfile\ntempfile.mkdtemp()",
        "import sqlite3\nsqlite3.connect(path)",
    ],
)
def test_a_write_is_seen_however_it_is_written(program: str) -> None:
    assert writes_in(program)


@pytest.mark.parametrize(
    "program",
    [
        "open(path)",
        "open(path, 'rb')",
        "path.open('rb')",
        "import h5py\nh5py.File(path, 'r')",
        "import h5py\nh5py.File(path)",
        "import zarr\nzarr.open_group(path, mode='r')",
        "import numpy as np\nnp.memmap(path, np.float32, 'r')",
        "text.replace('a', 'b')",
        "from dataclasses import replace\nreplace(value, layer=1)",
        "table.rename(columns={'a': 'b'})",
        "table['a'].rename('b').to_frame()",
        "table.to_json(orient='records')",
        "import tarfile\ntarfile.open(path, 'r:gz')",
        "import sqlite3\nsqlite3.connect(f'file:{path}?mode=ro', uri=True)",
    ],
)
def test_reading_is_no_write(program: str) -> None:
    assert writes_in(program) == []


# Modules that parse JSON or YAML without the loaders' bounds, and why: nobody else wrote it.
PARSERS = {
    "api/plan.py": "a copy of what Python code gave",
    "cli/link_table.py": "what pandas has just written",
    "cli/shared.py": "what pandas has just written",
    "gnn_training/train_state.py": "a copy of its own values",
    "json_values.py": "the loader itself",
    "planning/checkpoint_info.py": "question and answer of a process of its own",
    "yaml_values.py": "the loader itself",
}


def parses(path: Path) -> bool:
    """Return whether a module calls a parser of JSON or YAML."""
    calls = [
        node.func
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    return any(
        isinstance(f.value, ast.Name)
        and (f.value.id, f.attr.removesuffix("s").removesuffix("_all"))
        in (("json", "load"), ("yaml", "load"), ("yaml", "safe_load"))
        for f in calls
    )


def test_json_and_yaml_are_read_by_the_loaders() -> None:
    assert {str(p.relative_to(PACKAGE)) for p in modules() if parses(p)} == set(PARSERS)


def test_api_and_cli_are_on_top() -> None:
    top = {"octoscope.api", "octoscope.cli"}
    assert wrong(ROOMS - {"api", "cli", "__init__"}, top) == []
    assert wrong({"api"}, {"octoscope.cli"}) == []
    assert wrong({"cli"}, top)


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        (
            "torch",
            {
                "attention",
                "device_copies",
                "gnn",
                "gnn_training",
                "models",
                "extract",
                "planning",
                "probe",
                "safe_pickle",
            },
        ),
        ("jinja2", {"report"}),
        ("typer", {"cli"}),
    ],
)
def test_a_library_stays_in_its_rooms(library: str, rooms: set[str]) -> None:
    users = {
        room_of(path)
        for path in modules()
        for name, _ in imports(path)
        if name.split(".")[0] == library
    }
    assert users <= rooms


def test_modules_are_short() -> None:
    lengths = {str(p.relative_to(PACKAGE)): len(p.read_text().splitlines()) for p in modules()}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
    cluster = sum(n for name, n in lengths.items() if name.startswith("cluster/"))
    assert cluster < 2500


def test_file_names_are_unique() -> None:
    """A name stands for one module; the command line's files are named after its commands."""
    seen: dict[str, list[str]] = {}
    for path in modules():
        if path.name != "__init__.py" and room_of(path) not in ("cli", "api"):
            seen.setdefault(path.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in seen.items() if len(paths) > 1} == {}


# Words that could name any value, so that a reader cannot guess which. The field has better ones:
# matches, paths, rows, problems, location, remaining, completed.
UNIVERSAL = {
    "asked", "found", "held", "left", "made", "place", "places", "said", "there", "told", "wanted",
}  # fmt: skip
# Words of earlier versions that the glossary replaced: in no part of a name.
FORMER = {
    "aside", "bare", "drain", "drained", "drains", "facts", "faithful", "fed", "found", "heap",
    "held", "kin", "kinship", "mend", "mended", "mends", "placed", "question", "questions",
    "readings", "relabelled", "rival", "rivals", "standing", "stretches", "tally", "told", "voice",
    "voices", "wanted",
}  # fmt: skip
KEPT = {
    ("engine/octoscope/cluster/run_stats.py", "held"): "a key of the timeline that runs store",
}


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of variables, parameters, attributes, functions and classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def former_words(name: str) -> set[str]:
    """Return the former words in a name; held-out data are a term of the field."""
    words = re.findall("[A-Z]?[a-z]+", name.replace("held_out", "").replace("held-out", ""))
    return FORMER & {word.lower() for word in words}


def universal_names(program: str) -> list[tuple[int, str]]:
    """Return line and name of what bears a universal word, or a former one as a part of it.

    ``left`` may stand beside ``right``, and tests are named in sentences.
    """
    wrong = []
    for part in ast.parse(program).body:
        bound = [(line, name.strip("_")) for line, name in bound_names(part)]
        sides = {"left"} if any(name == "right" for _, name in bound) else set()
        wrong += [(line, name) for line, name in bound if name in UNIVERSAL - sides]
        wrong += [
            (line, name)
            for line, name in set(bound)
            if not name.startswith("test_") and name not in UNIVERSAL and former_words(name)
        ]
    return sorted(wrong)


def test_names_tell_what_they_hold() -> None:
    programs = modules()
    for folder in ("jobs", "tests", "benchmarks", "scripts"):
        programs += (ROOT / folder).rglob("*.py")
    wrong = {
        (str(path.relative_to(ROOT)), name, line)
        for path in programs
        for line, name in universal_names(path.read_text())
    }
    assert {(path, name) for path, name, _ in wrong} == set(KEPT), sorted(wrong)
    program = """
def place(left, right):
    for found in left:
        self._asked: int = 1
"""
    assert universal_names(program) == [(2, "place"), (3, "found"), (4, "asked")]
    assert universal_names("left = 1") == [(1, "left")]
    assert universal_names("n_voices = 1\nclass RivalPairs: pass") == [
        (1, "n_voices"),
        (2, "RivalPairs"),
    ]


def public_names() -> dict[str, list[str]]:
    """Return what a user writes or reads: settings, tables, columns, commands, options, modules."""
    tables = [*RUN_TABLES, *(table for a in analyses([]) for table in a.tables)]
    names = {
        "settings": [setting.name for setting in settings_of(RunConfig)],
        "tables": [table.path for table in tables],
        "columns": [column.name for table in tables for column in table.columns],
        "modules": [str(path.relative_to(PACKAGE)) for path in modules()],
        "commands": [],
        "options": [],
    }
    groups = [typer.main.get_command(app)]
    while groups:
        for name, command in getattr(groups.pop(), "commands", {}).items():
            names["commands"].append(name)
            names["options"] += [o for p in command.params for o in p.opts]
            groups.append(command)
    return names


def test_what_a_user_sees_bears_no_former_word() -> None:
    """Aliases of one version stand in ``config/renamed.py`` alone; ``left_out`` is a plain term."""
    wrong = {
        (kind, name)
        for kind, names in public_names().items()
        for name in names
        if former_words(name) or set(re.split(r"[^a-z]+", name)) & (UNIVERSAL - {"left"})
    }
    assert {kind: len(names) > 20 for kind, names in public_names().items()} == dict.fromkeys(
        ("settings", "tables", "columns", "modules", "commands", "options"), True
    )
    assert wrong == set()
    assert former_words("execution.hold") == set()  # a plain verb
    assert former_words("compare.kinship") == {"kinship"}
    assert former_words("--held-out") == set()


def test_reading_a_run_needs_no_heavy_library() -> None:
    store = Path(__file__).parent / "data/stores/plan-3b"
    script = (
        "import sys, octoscope as oc\n"
        f"run = oc.open_run({str(store)!r})\n"
        "assert len(run.topk(model='tiny', k=3))\n"
        "assert len(run.tables['stats'])\n"
        "oc.open_network('demo').neighbours('LYZ')\n"
        "print([m for m in ('torch', 'transformers', 'ray', 'numba', 'matplotlib', 'dask')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr[-2000:]


@pytest.mark.parametrize(
    "module",
    ["cluster.worker", "extract.matrix_work", "analysis.tables", "report.page", "atlas"],
)
def test_processes_that_run_no_model_load_no_torch(module: str) -> None:
    """Every actor and task is a process, and torch and anndata cost each 1 s of CPU or more."""
    script = (
        f"import sys, octoscope.{module}\n"
        "print([m for m in ('torch', 'transformers', 'anndata') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr[-2000:]

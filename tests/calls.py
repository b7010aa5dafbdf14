"""What a module calls, by its full names: imports and their aliases are resolved, nothing is run.

``tests/test_rooms.py`` checks by it that a room computes no statistics, or writes no file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

# Libraries of statistics, and the parts of others that are.
STATISTICS = ("scipy.stats", "scipy.optimize", "sklearn", "statistics", "statsmodels")
# Functions and methods, of NumPy or pandas for instance, that make a figure out of others.
FIGURES = {
    "agg", "aggregate", "autocorr", "average", "boxplot", "corr", "corrcoef", "correlate",
    "corrwith", "cov", "crosstab", "cut", "describe", "digitize", "ewm", "expanding", "fmean",
    "geometric_mean", "gmean", "harmonic_mean", "hist", "histogram", "histogram2d", "histogramdd",
    "kurt", "kurtosis", "linregress", "lstsq", "mean", "median", "mode", "multimode", "nanmean",
    "nanmedian", "nanpercentile", "nanquantile", "nanstd", "nanvar", "pearsonr", "percentile",
    "pivot_table", "polyfit", "pstdev", "pvariance", "qcut", "quantile", "quantiles", "rank",
    "rankdata", "rolling", "sem", "skew", "spearmanr", "std", "stdev", "var", "variance",
    "violinplot", "zscore",
}  # fmt: skip

# Functions and methods that change files, whatever they are called on.
WRITES = {
    "ParquetWriter", "append_data", "chmod", "consolidate_metadata", "copy2", "copyfile",
    "copyfileobj", "copytree", "create_array", "create_dataset", "create_group", "dump_to_file",
    "hardlink_to", "imsave", "link_to", "make_archive", "makedirs", "mkdir", "mkdtemp", "mkfifo",
    "mkstemp", "pipe_file", "put_file", "removedirs", "require_dataset", "require_group", "rm_file",
    "rmdir", "rmtree", "save_array", "save_file", "save_group", "save_npz", "savefig", "savetxt",
    "savez", "savez_compressed", "symlink", "symlink_to", "to_csv", "to_excel", "to_feather",
    "to_hdf", "to_parquet", "to_pickle", "to_zarr", "tofile", "touch", "truncate", "unlink",
    "unpack_archive", "write_bytes", "write_csv", "write_dataset", "write_elem", "write_feather",
    "write_gexf", "write_graphml", "write_h5ad", "write_metadata", "write_parquet", "write_table",
    "write_text", "write_to_dataset", "write_zarr",
}  # fmt: skip
# Names that mean a file in these libraries alone.
WRITES_OF = {
    "numpy": {"save"},
    "os": {"link", "remove", "rename", "renames", "replace", "truncate", "utime", "write"},
    "pyarrow": {"output_stream", "new_file", "new_stream"},
    "shutil": {"copy", "copymode", "copystat", "move"},
    "sqlite3": {"connect"},
    "tempfile": {"NamedTemporaryFile", "TemporaryDirectory", "TemporaryFile"},
    "torch": {"save"},
    "zarr": {
        "array", "copy", "copy_all", "create", "create_hierarchy", "empty", "empty_like",
        "from_array", "full", "full_like", "group", "ones", "ones_like", "save", "tree", "zeros",
        "zeros_like",
    },
}  # fmt: skip
# What opens a file, and the position of its mode. A path's own `open` has it first.
OPENS = {
    "BZ2File": 1, "File": 1, "FileIO": 1, "GzipFile": 1, "LZMAFile": 1, "OSFile": 1, "TarFile": 1,
    "ZipFile": 1, "fdopen": 1, "memmap": 2, "memory_map": 1, "open": 1, "open_array": 1,
    "open_consolidated": 1, "open_group": 1, "open_memmap": 1,
}  # fmt: skip
_MODE = re.compile(r"[rwaxbtU+-]{1,4}([:|][a-z0-9*]*)?")
# These write unless they are told to read.
_WRITES_BY_DEFAULT = {
    "numpy.memmap", "zarr.open", "zarr.open_array", "zarr.open_group", "zarr.open_like",
}  # fmt: skip


def aliases(tree: ast.AST) -> dict[str, str]:
    """Return the full name of each name that an import binds, also inside functions."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                names[a.asname or a.name.partition(".")[0]] = (
                    a.name if a.asname else a.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    # `save = np.save` and the like: a name that stands for a name
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
            value = full_name(node.value, names)
            if value is not None and value.partition(".")[0] in {
                n.partition(".")[0] for n in names.values()
            }:
                names |= {t.id: value for t in node.targets if isinstance(t, ast.Name)}
    return names


def full_name(node: ast.AST, names: dict[str, str]) -> str | None:
    """Return the dotted name of an expression, imports resolved; None: it is no plain name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = full_name(node.value, names)
        return None if owner is None else f"{owner}.{node.attr}"
    return None


@cache
def imported(program: str) -> list[tuple[int, str]]:
    """Return line and full name of everything that is imported: modules and what is in them."""
    seen: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Import):
            seen += [(node.lineno, a.name) for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            seen += [(node.lineno, f"{node.module}.{a.name}") for a in node.names]
        elif isinstance(node, ast.Call) and re.fullmatch(
            r"(importlib\.)?import_module|__import__", ast.unparse(node.func)
        ):
            constants = [a.value for a in node.args if isinstance(a, ast.Constant)]
            seen += [(node.lineno, str(value)) for value in constants]
    return seen


def statistics_in(program: str) -> list[tuple[int, str]]:
    """Return line and name of what makes a figure out of others, however it is named or passed."""
    tree = ast.parse(program)
    names = aliases(tree)
    seen = [
        (line, name)
        for line, name in imported(program)
        if any(f"{name}.".startswith(f"{library}.") for library in STATISTICS)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            name = full_name(node, names)
            if name is not None and isinstance(node, ast.Name) and name == node.id:
                continue  # a variable of the module's own
            last = node.attr if isinstance(node, ast.Attribute) else str(name).rpartition(".")[2]
            of_numbers = name is not None and name.partition(".")[0] in (
                "numpy", "pandas", "scipy", "statistics", "dask", "torch",
            )  # fmt: skip
            library = name is not None and any(
                f"{name}.".startswith(f"{other}.") for other in STATISTICS
            )
            if library or (last in FIGURES and of_numbers):
                seen.append((node.lineno, str(name)))
        if isinstance(node, ast.Call):
            seen += _called_figures(node, names)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left, right = ast.unparse(node.left), ast.unparse(node.right)
            if re.search(r"\bsum\(", left) and re.search(r"\blen\(|\.size\b|\.count\(", right):
                seen.append((node.lineno, "a mean by hand"))
    return sorted(set(seen))


def _called_figures(call: ast.Call, names: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Yield methods that make a figure, and their names where a method takes them as text."""
    if isinstance(call.func, ast.Attribute):
        if call.func.attr in FIGURES:
            yield call.lineno, full_name(call.func, names) or f".{call.func.attr}"
        if call.func.attr in ("apply", "transform", "map", "reduce"):
            for argument in call.args:
                if isinstance(argument, ast.Constant) and argument.value in FIGURES:
                    yield call.lineno, f"{call.func.attr} {argument.value}"
    elif isinstance(call.func, ast.Name) and call.func.id == "getattr" and len(call.args) > 1:
        name = call.args[1]
        if isinstance(name, ast.Constant) and name.value in FIGURES:
            yield call.lineno, f"getattr {name.value}"


def writes_in(program: str) -> list[tuple[int, str]]:
    """Return line and name of calls that change files; also of such functions that are passed on.

    A function of the package itself counts where it is defined.
    """
    tree = ast.parse(program)
    names = aliases(tree)
    tables = {  # a series is renamed: what it is handed to next is no path
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("reset_index", "to_frame")
    }
    seen = [
        (node.lineno, full_name(node.func, names) or ast.unparse(node.func))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and id(node) not in tables and _changes_files(node, names)
    ]
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):  # `partial(np.save, path)`, `save = np.save`
        if isinstance(node, ast.Attribute | ast.Name) and id(node) not in called:
            name = full_name(node, names)
            if name is not None and isinstance(node.ctx, ast.Load) and _of_a_library(name):
                seen.append((node.lineno, name))
    return sorted(set(seen))


def _of_a_library(name: str) -> bool:
    library, _, rest = name.partition(".")
    return bool(rest) and rest.rpartition(".")[2] in WRITES_OF.get(library, ())


def _changes_files(call: ast.Call, names: dict[str, str]) -> bool:
    name = full_name(call.func, names)
    last = call.func.attr if isinstance(call.func, ast.Attribute) else str(name).rpartition(".")[2]
    if str(name).startswith("octoscope.") or "mode=ro" in ast.unparse(call):
        return False
    if last in WRITES or (name is not None and _of_a_library(name)):
        return True
    by_name = {k.arg: k.value for k in call.keywords}
    if last in ("rename", "replace") and len(call.args) == 1 and not by_name:
        # a path's; a text's `replace` has two arguments, a table's `rename` has names
        return isinstance(call.func, ast.Attribute) and not _is_import(call.func.value, names)
    if last == "to_json" and isinstance(call.func, ast.Attribute):
        return bool(call.args) or "path_or_buf" in by_name
    if last not in OPENS:
        return False
    if name == "os.open":
        return "O_RDONLY" not in ast.unparse(call)
    return _opened_to_write(call, name, last, by_name.get("mode"))


def _opened_to_write(call: ast.Call, name: str | None, last: str, mode: ast.expr | None) -> bool:
    given = [mode] if mode is not None else list(call.args[: OPENS[last] + 1])
    texts = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if any(_MODE.fullmatch(text) and set(text) & set("wax+") for text in texts):
        return True
    at = call.args[OPENS[last]] if len(call.args) > OPENS[last] else None
    stated = mode if mode is not None else at
    if stated is None:
        return name in _WRITES_BY_DEFAULT
    # a mode that only the running program knows may write
    return not isinstance(stated, ast.Constant) and name in ("open", "io.open", "h5py.File")


def _is_import(node: ast.expr, names: dict[str, str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names

"""Changes of Parquet tables and HDF5 files, through their libraries."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np


def change_parquet(path: Path, rng: Random) -> str:
    """Change a column of a table and write it again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path, use_threads=False)
    name = rng.choice(table.column_names)
    at, kind, n = table.column_names.index(name), rng.randrange(8), table.num_rows
    column = table[name]
    if kind == 0:
        changed, what = table.drop_columns([name]), "gone"
    elif kind == 1:
        changed, what = table.set_column(at, name, pa.nulls(n, column.type)), "null"
    elif kind == 2:
        values = pa.array([rng.choice(["", "x", "[/red]", "-1"])] * n)
        changed, what = table.set_column(at, name, values), "text"
    elif kind == 3:
        values = pa.array([rng.choice([-1, 0, 10**15, 2**31])] * n)
        changed, what = table.set_column(at, name, values), f"{values[0] if n else 'whole'}"
    elif kind == 4:
        values = pa.array([rng.choice([float("nan"), float("inf"), -0.5])] * n)
        changed, what = table.set_column(at, name, values), f"{values[0] if n else 'real'}"
    elif kind == 5:
        changed, what = table.slice(0, rng.choice([0, 1])), "all but its first rows gone"
    elif kind == 6:
        names = [f"{c}x" if c == name else c for c in table.column_names]
        changed, what = table.rename_columns(names), "renamed"
    else:
        changed, what = pa.concat_tables([table, table]), "rows twice"
    pq.write_table(changed, path)
    return f"column {name} {what}"


def change_hdf5(path: Path, rng: Random) -> str:
    """Change an object of an HDF5 file through the library."""
    import h5py

    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        node, kind = file[name], rng.randrange(7)
        if kind == 0:
            del file[name]
            return f"{name} gone"
        if kind in (1, 2) and len(node.attrs):
            key = rng.choice(list(node.attrs))
            value = rng.choice(
                [
                    0,
                    -1,
                    "x",
                    "",
                    [10**12, 10**12],
                    [-1, 5],
                    np.float64("nan"),
                    "csc_matrix",
                    "dataframe",
                ]
            )
            node.attrs[key] = value
            return f"{name}@{key} is {value}"
        if kind == 3:
            del file[name]
            file[name] = h5py.SoftLink(rng.choice(["/", f"/{name}", "/gone", "/X"]))
            return f"{name} is a link"
        if kind == 4:
            del file[name]
            file.create_dataset(name, shape=(1 << 40,), dtype="f4", chunks=(1 << 16,))
            return f"{name} has 10^12 values"
        if kind == 5:
            del file[name]
            file[name] = rng.choice([0, "x", [1.5], ["a", "b"], [[1, 2]], b"\xff"])
            return f"{name} is another value"
        if isinstance(node, h5py.Dataset) and node.size:
            values = node[...]
            if values.dtype.kind in "iuf":
                values.flat[rng.randrange(values.size)] = (
                    rng.choice([0, 100, 1])
                    if values.dtype.itemsize < 4
                    else rng.choice([0, 1 << 30, 7])
                )
                node[...] = values
                return f"a value of {name}"
        del file[name]
        file.create_group(name)
        return f"{name} is an empty group"

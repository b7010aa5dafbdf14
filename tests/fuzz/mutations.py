"""Changes of files, drawn by a random generator: of bytes, of structure, and of what a file is."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)
_BOMB = 1 << 30  # bytes that an archive inflates to


def _values(rng: Random) -> Any:
    """Return a value that stands where another was meant."""
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    return rng.choice(
        [None, True, False, -1, 0, 1, 2, 7, 1e308, -0.5, 10**12, 10**18, 10**400, "", "x", "[/red]",
         "../../etc/passwd", "/dev/zero", "nan", "\x00", "\u202e", "\ud7ff", "a" * 70_000, [], {},
         [None], [[]], {"": 0}, ["x"] * 1000, {"a": {"b": {}}}, deep, float("nan"), float("inf"),
         "1e999", "2030-01-01", [1, 2, 3], [-1], ["__proto__"]]
    )  # fmt: skip


def change_bytes(raw: bytes, rng: Random) -> tuple[bytes, str]:
    """Change, cut, repeat or insert bytes."""
    data, size = bytearray(raw), len(raw)
    kind = rng.randrange(9)
    at = rng.randrange(size) if size else 0
    if rng.random() < 0.3:  # ends hold what files say of themselves
        at = (
            min(size - 1, rng.randrange(64))
            if rng.random() < 0.5
            else max(0, size - 1 - rng.randrange(256))
        )
        at = max(at, 0)
    length = min(rng.choice((1, 2, 8, 64, 1024)), max(size - at, 0))
    if kind == 0 and size:
        for _ in range(rng.choice((1, 1, 4, 32))):
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
        return bytes(data), "bits changed"
    if kind == 1 and size:
        data[at] ^= 1 << rng.randrange(8)
        return bytes(data), f"bit of byte {at}"
    if kind == 2:
        return bytes(data[:at]), f"cut to {at} bytes"
    if kind == 3:
        del data[at : at + length]
        return bytes(data), f"{length} bytes gone at {at}"
    if kind == 4:
        data[at:at] = data[at : at + length]
        return bytes(data), f"{length} bytes twice at {at}"
    if kind == 5:
        data[at : at + length] = rng.randbytes(length)
        return bytes(data), f"{length} random bytes at {at}"
    if kind == 6:
        data[at : at + length] = bytes(length)
        return bytes(data), f"{length} zeros at {at}"
    if kind == 7:
        width = rng.choice((1, 2, 4, 8))
        number = rng.choice(_NUMBERS) & ((1 << (8 * width)) - 1)
        at -= at % width if rng.random() < 0.5 else 0
        data[at : at + width] = number.to_bytes(width, "little")
        return bytes(data), f"{number} in {width} bytes at {at}"
    data += rng.randbytes(length)
    return bytes(data), f"{length} bytes more"


def change_tree(value: Any, rng: Random) -> tuple[Any, str]:
    """Change one place of nested lists and dictionaries (in place); returns value and place."""
    path: list[str] = []
    node, parent, key = value, None, None
    while isinstance(node, dict | list) and node and (parent is None or rng.random() < 0.75):
        parent = node
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        path.append(str(key)[:40])
        node = node[key]
    place = ".".join(path)
    if parent is None:
        return _values(rng), "the root"
    kind = rng.randrange(6)
    if kind == 0:
        del parent[key]
        return value, f"{place} gone"
    if kind == 1 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
        return value, f"{place} renamed"
    if kind == 2 and isinstance(parent, list):
        parent.insert(key, node)
        return value, f"{place} twice"
    if kind == 3 and isinstance(node, int | float) and not isinstance(node, bool):
        parent[key] = rng.choice([-node, node + 1, node * 10**9, float(node), str(node), [node]])
        return value, f"{place} is {str(parent[key])[:40]}"
    if kind == 4 and isinstance(node, str):
        parent[key] = rng.choice(
            [node + "x", node[:-1], node.upper(), [node], node * 500, node.encode().hex()]
        )
        return value, f"{place} is {str(parent[key])[:40]}"
    parent[key] = _values(rng)
    return value, f"{place} is {str(parent[key])[:40]}"


def _json(raw: bytes, rng: Random) -> tuple[bytes, str]:
    if rng.random() < 0.1:
        return rng.choice(
            [(b'{"a":' * 100_000, "100,000 levels"), (b"9" * 5000, "5,000 digits"),
             (raw.replace(b",", b',"x":1,"x":2,', 1), "a key twice"), (b"\xff\xfe" + raw, "a mark")]
        )  # fmt: skip
    changed, what = change_tree(json.loads(raw), rng)
    return json.dumps(changed).encode("utf-8", "replace"), what


def _yaml(raw: bytes, rng: Random) -> tuple[bytes, str]:
    if rng.random() < 0.15:
        bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
            b"%c: &%c [%s]\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 9)) for c in range(97, 107)
        )
        return rng.choice(
            [(b"[" * 3000, "3,000 levels"), (b"seed: " + b"9" * 5000, "5,000 digits"),
             (bomb, "aliases of aliases"),
             (raw + b"\nx: !!python/object/apply:os.system [id]\n", "a tag"),
             (raw + raw, "all twice"), (b"? [a, b]\n: 1\n" + raw, "a key that is a list")]
        )  # fmt: skip
    changed, what = change_tree(yaml.safe_load(raw), rng)
    return yaml.safe_dump(changed).encode(), what


def _text(raw: bytes, rng: Random) -> tuple[bytes, str]:
    """Change fields and lines of a table."""
    lines = raw.split(b"\n")
    at = rng.randrange(len(lines)) if rng.random() < 0.7 else 0
    mark = next((m for m in (b"\t", b",", b" ") if m in lines[at]), b"\t")
    fields = lines[at].split(mark)
    nth = rng.randrange(len(fields))
    kind = rng.randrange(8)
    if kind == 0:
        del fields[nth]
    elif kind == 1:
        fields.insert(nth, fields[nth])
    elif kind in (2, 3, 4):
        fields[nth] = rng.choice(
            [b"", b"nan", b"-1", b"1e999", b"9" * 5000, b"\xff\xfe", b"\x00", b'"', b"'", b"[/red]",
             b"a" * 200_000, b"=1+1", b"../..", b"\xe2\x80\xae", b"1,5", b"None", b"0x10"]
        )  # fmt: skip
    elif kind == 5:
        del lines[at]
        return b"\n".join(lines), f"line {at} gone"
    elif kind == 6:
        return raw.replace(b"\n", rng.choice([b"\r", b"\r\n", b"\n\n", b""])), "line ends"
    else:
        mark = rng.choice([b"\t", b",", b";", b" ", b"|"])
    lines[at] = mark.join(fields)
    return b"\n".join(lines), f"line {at}, field {nth}"


def _xml(raw: bytes, rng: Random) -> tuple[bytes, str]:
    kind = rng.randrange(4)
    if kind == 0:
        dtd = (
            b'<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">'
            + b"".join(b'<!ENTITY %c "%s">' % (c + 1, b"&%c;" % c * 10) for c in range(97, 107))
            + b"]>"
        )
        return raw.replace(b"?>", b"?>" + dtd, 1).replace(b">", b">&k;", 6), "entities of entities"
    if kind == 1:
        dtd = b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        return raw.replace(b"?>", b"?>" + dtd, 1).replace(b'="', b'="&a;', 9), "a file as entity"
    if kind == 2:
        return raw.replace(b"?>", b"?>" + b"<x>" * 20_000, 1), "20,000 levels"
    return _text(raw, rng)


def _zip(
    raw: bytes, rng: Random, inner: Callable[[str, bytes, Random], tuple[bytes, str]]
) -> tuple[bytes, str]:
    """Change one part of an archive and write it again, with checksums that fit."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w") as new:
        parts = old.infolist()
        chosen, kind, what = rng.choice(parts), rng.randrange(6), ""
        heads = [p for p in parts if p.filename.endswith((".pkl", ".npy"))]
        if heads and rng.random() < 0.5:
            chosen = rng.choice(heads)
        for part in parts:
            data = old.read(part)
            if part is chosen:
                if kind == 0:
                    what = f"{part.filename} gone"
                    continue
                if kind == 1 and rng.random() < 0.3:
                    info = zipfile.ZipInfo(part.filename)
                    info.compress_type = zipfile.ZIP_DEFLATED
                    with new.open(info, "w") as handle:
                        for _ in range(_BOMB >> 20):
                            handle.write(bytes(1 << 20))
                    what = f"{part.filename} inflates to 1 GB"
                    continue
                data, what = inner(part.filename, data, rng)
                what = f"{part.filename}: {what}"
            new.writestr(part.filename, data)
    return out.getvalue(), what


def _npy(raw: bytes, rng: Random) -> tuple[bytes, str]:
    if rng.random() < 0.4 or not raw.startswith(b"\x93NUMPY"):
        return change_bytes(raw, rng)
    size = int.from_bytes(raw[8:10], "little")
    head = raw[10 : 10 + size].decode("latin1")
    shape = rng.choice(
        [
            "(1000000000000,)",
            "(-1,)",
            "(1000000, 1000000, 1000000)",
            "()",
            "(0,)",
            "(2, 2)",
            "('a',)",
        ]
    )
    kind = rng.choice(["|O", "<f8", "<U1000000", "|V100", "<M8[ns]", "x", "<c16"])
    start = head.index("'shape'")
    if rng.random() < 0.6:
        head, what = f"{head[:start]}'shape': {shape}, }}", f"shape {shape}"
    else:
        at = head.index("'fortran_order'")
        head, what = f"{{'descr': '{kind}', {head[at:]}", f"dtype {kind}"
    text = head.strip().ljust(size - 1)[: size - 1] + "\n"
    return raw[:10] + text.encode("latin1") + raw[10 + size :], what


def _part(name: str, raw: bytes, rng: Random) -> tuple[bytes, str]:
    return _npy(raw, rng) if name.endswith(".npy") else change_bytes(raw, rng)


def _safetensors(raw: bytes, rng: Random) -> tuple[bytes, str]:
    size = int.from_bytes(raw[:8], "little")
    if rng.random() < 0.2:
        return struct.pack("<Q", rng.choice(_NUMBERS)) + raw[8:], "length of the header"
    head, what = change_tree(json.loads(raw[8 : 8 + size]), rng)
    text = json.dumps(head).encode("utf-8", "replace")
    return struct.pack("<Q", len(text)) + text + raw[8 + size :], what


def _gzip(raw: bytes, rng: Random) -> tuple[bytes, str]:
    inner = gzip.decompress(raw)
    try:
        tar = tarfile.open(fileobj=io.BytesIO(inner))  # noqa: SIM115  closed below
    except tarfile.TarError:
        changed, what = _text(inner, rng)
        return gzip.compress(changed, 1), what
    with tar:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as new:
            files = [m for m in tar if m.isfile()]
            chosen, kind, what = rng.choice(files), rng.randrange(8), ""
            for member in files:
                handle = tar.extractfile(member)
                data = handle.read() if handle else b""
                if member is chosen:
                    if kind == 0:
                        what = f"{member.name} gone"
                        continue
                    if kind == 1:
                        member.type, member.linkname, member.size = (
                            tarfile.SYMTYPE,
                            "/etc/passwd",
                            0,
                        )
                        new.addfile(member)
                        what = f"{member.name} is a link"
                        continue
                    if kind == 2:
                        member.name = f"../../{member.name}"
                    if kind == 3 and rng.random() < 0.5:
                        member.size = _BOMB
                        new.addfile(member, _Zeros())
                        what = f"{member.name} inflates to 1 GB"
                        continue
                    data, what = change_bytes(data, rng)
                    what = f"{member.name}: {what}"
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
        return out.getvalue(), what


class _Zeros(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def _parquet(path: Path, rng: Random) -> str:
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


def _hdf5(path: Path, rng: Random) -> str:
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


def _place(path: Path, rng: Random) -> str:
    """Put something else in the place of a file."""
    path.unlink()
    kind = rng.randrange(7)
    if kind == 0:
        return "gone"
    if kind == 1:
        path.mkdir()
        return "a folder"
    if kind == 2:
        os.mkfifo(path)
        return "a pipe"
    if kind == 3:
        path.symlink_to("/dev/zero")
        return "/dev/zero"
    if kind == 4:
        path.symlink_to(path)
        return "a link to itself"
    if kind == 5:
        path.write_bytes(b"")
        return "empty"
    path.write_bytes(
        rng.choice(
            [
                b"version https://git-lfs.github.com/spec/v1\n",
                b"<!DOCTYPE html>",
                b"\x80\x04.",
                b"PK\x05\x06" + bytes(18),
            ]
        )
    )
    return "another kind of file"


def mutate(path: Path, rng: Random) -> str:
    """Change a file in one way that fits its kind, and say which."""
    if rng.random() < 0.06:
        return _place(path, rng)
    raw = path.read_bytes()
    if rng.random() < 0.5:
        try:
            return _structure(path, raw, rng)
        except (ValueError, KeyError, OSError, IndexError, RuntimeError, TypeError):
            path.write_bytes(raw)  # no structure that could be changed
    changed, what = change_bytes(raw, rng)
    path.write_bytes(changed)
    return what


def _structure(path: Path, raw: bytes, rng: Random) -> str:
    if path.suffix == ".parquet":
        return _parquet(path, rng)
    if raw.startswith(b"\x89HDF"):
        return _hdf5(path, rng)
    if path.suffix == ".safetensors":
        changed, what = _safetensors(raw, rng)
    elif raw.startswith(b"PK"):
        changed, what = _zip(raw, rng, _part)
    elif raw.startswith(b"\x1f\x8b"):
        changed, what = _gzip(raw, rng)
    elif path.suffix == ".npy":
        changed, what = _npy(raw, rng)
    elif path.suffix in (".yaml", ".yml"):
        changed, what = _yaml(raw, rng)
    elif path.suffix == ".json" or raw[:1] in (b"{", b"["):
        changed, what = _json(raw, rng)
    elif raw.startswith(b"<?xml"):
        changed, what = _xml(raw, rng)
    elif path.suffix in (".tsv", ".csv", ".txt"):
        changed, what = _text(raw, rng)
    else:
        raise ValueError("no structure")
    path.write_bytes(changed)
    return what

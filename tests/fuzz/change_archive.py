"""Changes inside archives and files of arrays: ZIP, tar and gzip, npy, safetensors."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from random import Random

from tests.fuzz.change_bytes import NUMBERS, change_bytes
from tests.fuzz.change_text import change_text, change_tree

_BOMB = 1 << 30  # bytes that an archive inflates to


def change_zip(
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


def change_npy(raw: bytes, rng: Random) -> tuple[bytes, str]:
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


def change_part(name: str, raw: bytes, rng: Random) -> tuple[bytes, str]:
    return change_npy(raw, rng) if name.endswith(".npy") else change_bytes(raw, rng)


def change_safetensors(raw: bytes, rng: Random) -> tuple[bytes, str]:
    size = int.from_bytes(raw[:8], "little")
    if rng.random() < 0.2:
        return struct.pack("<Q", rng.choice(NUMBERS)) + raw[8:], "length of the header"
    head, what = change_tree(json.loads(raw[8 : 8 + size]), rng)
    text = json.dumps(head).encode("utf-8", "replace")
    return struct.pack("<Q", len(text)) + text + raw[8 + size :], what


def change_gzip(raw: bytes, rng: Random) -> tuple[bytes, str]:
    inner = gzip.decompress(raw)
    try:
        tar = tarfile.open(fileobj=io.BytesIO(inner))  # noqa: SIM115  closed below
    except tarfile.TarError:
        changed, what = change_text(inner, rng)
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

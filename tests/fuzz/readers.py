"""``python -m tests.fuzz.readers``: change each kind of object of a finished run, ask every reader.

A changed object looks sound: tables have other values and open, JSON has another digit, chunks keep
their size. A reader must name the object and end with exit code 1 or 2, or say of the changed run
exactly what it says of the sound one, because it does not read the object.

Exit code 1 if a reader showed something else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.campaign import Fixtures
from tests.fuzz.forked import command, forked, import_all
from tests.fuzz.kinds import OUT

COMMANDS = (
    "compare layers {}/run", "compare layers {}/run --category 'T cell'", "compare models {}/run",
    "compare runs {}/run {}/run --out {out}/r.parquet", "compare show {}/run consensus",
    "compare show {}/run correlation", "verdict {}/run", "verdict {}/run --json", "report {}/run",
    "report {}/run --view logit --out {out}/r.html", "export {}/run --out {out}/e.tsv",
    "export {}/run --format parquet --out {out}/e.parquet",
    "pool {}/run --category 'T cell' --category macrophage --out {out}/p",
)  # fmt: skip
_DRAWN = re.compile(r"attempt-\w+|\d+")  # what tells objects of one kind apart


def api(folder: Path) -> None:
    """Print all tables, and a matrix of each model, as the Python API reads them."""
    import octoscope as oc
    from octoscope.cli.shared import guarded

    def read() -> None:
        run = oc.open_run(folder / "run")
        for name in sorted(run.tables):
            print(name, hashlib.sha256(run.tables[name].to_csv().encode()).hexdigest())
        for model in run.models:
            matrix = run.matrix(model, "T cell", layer=1)
            print(model, hashlib.sha256(matrix.to_numpy().tobytes()).hexdigest())

    sys.exit(guarded(read))


def answer(folder: Path, text: str) -> tuple[int, str, str]:
    """Return exit code, digest of all that a reader said and wrote, and its message."""
    out = folder.parent / OUT
    words = shlex.split(text.replace("{out}", str(out)).replace("{}", str(folder)))
    ended = forked((lambda: api(folder)) if text == "api" else command(*words), cpu=60, wall=600)
    digest = hashlib.sha256(ended.stdout.encode())
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    shutil.rmtree(out)
    out.mkdir()
    return ended.code, digest.hexdigest(), ended.stderr


def change(path: Path) -> bool:
    """Change an object so that it looks sound; tell whether it was."""
    raw = path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        for i, column in enumerate(table.schema):
            if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
                values = pa.array([7] * table.num_rows, column.type)
                table = table.set_column(i, column, values)
        pq.write_table(table, path)
    elif path.suffix in (".json", ".yaml", ".html"):
        path.write_bytes(re.sub(rb"\d", lambda d: b"%d" % ((int(d[0]) + 1) % 10), raw, count=1))
    elif raw:
        half = len(raw) // 2
        path.write_bytes(raw[:half] + bytes([raw[half] ^ 1]) + raw[half + 1 :])
    return path.read_bytes() != raw


def kinds(run: Path) -> dict[str, str]:
    """Return an object of each kind, in the order of the kinds' names."""
    listed = json.loads((run / "manifest.json").read_text())["objects"]
    return {_DRAWN.sub("#", name): name for name in sorted(listed, reverse=True)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.readers")
    parser.add_argument(
        "--cache", type=Path, help="folder of the sound run, kept for the next call"
    )
    parser.add_argument("--every", type=int, default=1, help="only every n-th kind of object")
    given = parser.parse_args()
    import_all()
    started, seen = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="readers-") as top:
        folder = Fixtures(given.cache or Path(top), proven=False).folder("run")
        sound = {text: answer(folder, text) for text in ("api", *COMMANDS)}
        for text, (code, _, message) in sound.items():
            if code != 0:
                raise RuntimeError(f"{text} fails on a sound run: {message}")
            seen["varies"] += answer(folder, text)[:2] != sound[text][:2]
        for name in [*kinds(folder / "run").values()][:: given.every]:
            path = folder / "run" / name
            raw = path.read_bytes()
            try:
                if not change(path):
                    continue
                seen["kinds"] += 1
                for text, expected in sound.items():
                    code, digest, message = answer(folder, text)
                    named = name in message or "manifest.json" in message
                    what = ("refused" if code in (1, 2) and named
                            else "same" if (code, digest) == expected[:2] else "shown")  # fmt: skip
                    seen[what] += 1
                    if what == "shown":
                        print(f"{name}: {text}: exit code {code}\n{message}", flush=True)
            finally:
                path.write_bytes(raw)
            print(f"{name}: {dict(seen)}", flush=True)
    print(
        f"{seen['kinds']} kinds of objects, {len(sound)} readers: {seen['refused']} refused, "
        f"{seen['same']} said what they say of the sound run, {seen['shown']} showed something "
        f"else; {seen['varies']} readers vary; {time.monotonic() - started:.0f} s"
    )
    return int(seen["shown"] + seen["varies"] > 0 or not seen["refused"])


if __name__ == "__main__":
    sys.exit(main())

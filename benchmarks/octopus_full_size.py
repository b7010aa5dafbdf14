"""Building and opening an Octopus of the published numbers of rows.

    python benchmarks/octopus_full_size.py [--scale 1.0] [--folder DIR]

Files are made first (not timed; kept with --folder). The build runs in a fresh process; prints its
own lines, then one JSON line: seconds, peak resident bytes, and the same for opening the directory
and indexing it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import measured, status
from octopus_files import write_all


def build(config: str, target: str) -> None:
    from octoscope.octopus.build import build_octopus
    from octoscope.octopus.build_config import load_octopus_config

    started = time.perf_counter()

    def say(line: str) -> None:
        peak = status("VmHWM") / 1e9
        print(f"{time.perf_counter() - started:7.1f} s {peak:5.2f} GB  {line}", file=sys.stderr)

    summary, figures = measured(lambda: build_octopus(load_octopus_config(config), target, say))
    counts = summary["counts"]
    print(json.dumps(figures | {k: counts[k] for k in ("vertices", "assertions", "genes")}
                     | {"by_source": counts["by_source"]}))  # fmt: skip


def look(target: str) -> None:
    from octoscope.octopus.network import open_network

    network, opened = measured(lambda: open_network(target))
    index, indexed = measured(lambda: network.index)
    figures = {"open_seconds": opened["seconds"], "index_seconds": indexed["seconds"]}
    figures |= {"ordered_pairs": len(index.keys), "open_resident": indexed["resident"]}
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="Fraction of the rows")
    parser.add_argument("--folder", type=Path, help="Keep the files here, and use them again")
    parser.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        (build if a.side[0] == "build" else look)(*a.side[1:])
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = a.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "build.yaml"
        if not config.exists():
            write_all(folder, a.scale)
        size = sum(f.stat().st_size for f in folder.iterdir() if f.is_file())
        target = Path(scratch) / "octopus"
        line = {"benchmark": "octopus_full_size", "scale": a.scale, "file_bytes": size}
        for side in (("build", str(config), str(target)), ("look", str(target))):
            command = [sys.executable, __file__, "--side", *side]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            line |= json.loads(done.stdout.splitlines()[-1])
        line["directory_bytes"] = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
        print(json.dumps(line))


if __name__ == "__main__":
    main()

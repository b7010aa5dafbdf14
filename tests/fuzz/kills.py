"""``python -m tests.fuzz.kills --n 50``: SIGKILL of drivers and actors at random times.

On real Ray. A small run is started and resumed until it is done. Each time, after random whiles,
up to two of its actors are killed, and often its driver. Checked are: what the driver had started
is gone within 10 s of its death; what was committed stays byte by byte; a run that is done has the
tables of a run to which nothing happened, and is verified. With ``--stop 5`` an actor is stopped
instead (SIGSTOP), beyond the deadline of its piece of work, here 5 s, and continued later: the
piece is done by another. Where a piece passes its deadline three times (on a machine that others
use too), it must be named, and the run is resumed with twice the deadline.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
import yaml

from tests.conftest import octoscope, small_tree, tables_of
from tests.faults.runs import start, workers

_TOO_SLOW = b"timed out during startup"  # Ray's words on a machine that others use too
_PATIENCE = 3000.0  # seconds for half a minute of work, where others compute too
GONE = 10.0  # seconds after which nothing of a dead driver may be left
ACTORS = 2  # that die under one driver: a piece of work is tried three times


def make_config(folder: Path) -> None:
    """Write the configuration of a run that computes for half a minute: 559 cells, 281 units."""
    from octoscope.demo.demo import data

    tree = small_tree(data("immune559.zarr"))
    tree["models"][0]["layers"] = [1]
    tree |= {"top_k": 20, "views": ["logit"], "keep_dense": "fp32"}
    del tree["network"]
    tree["execution"] |= {"actors": 2, "unit_cells": 2}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))


class Campaign:
    """One run after the other, killed until it is done."""

    def __init__(self, folder: Path, rng: Random, stop: float | None = None) -> None:
        self.folder, self.rng, self.count = folder, rng, Counter[str]()
        self.stop_after = stop  # seconds that a piece may take; None: actors are killed
        self.config = folder / "config.yaml"
        make_config(folder)
        plain = octoscope(
            "run", str(self.config), "--out", str(folder / "plain"), timeout=_PATIENCE
        )
        assert plain.returncode == 0, plain.stderr
        self.reference = tables_of(folder / "plain")
        self.slowest = 0.0

    def runs(self, n: int) -> None:
        """Kill (or stop) ``n`` times."""
        while self.count["driver"] + self.count["actor"] + self.count["stopped"] < n:
            run = self.folder / f"run{self.count['runs']}"
            self.count["runs"] += 1
            records: dict[Path, bytes] = {}
            while _exit_code(run) != 0:
                self.once(run)
                bodies = {p: p.read_bytes() for p in run.rglob("record.json")}
                lost = [p for p, raw in records.items() if bodies.get(p) != raw]
                assert not lost or (run / "_SUCCESS").exists(), lost
                self.count["records at deaths"] += len(bodies)
                records = bodies
            assert tables_of(run) == self.reference, run
            verified = octoscope("verify", str(run), timeout=_PATIENCE)
            assert verified.returncode == 0, verified.stderr
            print(f"run {run.name} done: {dict(self.count)}", flush=True)

    def once(self, run: Path) -> None:
        """Start or resume the run, and kill parts of it after random whiles.

        A driver whose Ray does not start in time is followed by another one.
        """
        stop = self.stop_after is not None
        deadline = ("--set", f"execution.unit_timeout={self.stop_after}") if stop else ()
        driver = start("run", str(self.config), "--out", str(run), *deadline)
        try:
            while driver.poll() is None and not workers(driver.pid):
                time.sleep(0.1)
            for _ in range(ACTORS):
                self.wait(driver)
                if driver.poll() is None and stop:
                    self.stop(driver.pid)
                elif driver.poll() is None and self.rng.random() < 0.6:
                    self.kill_actor(driver.pid)
            self.wait(driver)
            if driver.poll() is None and not stop and self.rng.random() < 0.8:
                self.kill_driver(driver.pid)
            out, err = driver.communicate(timeout=_PATIENCE)
        finally:
            if driver.poll() is None:
                driver.kill()
        if driver.returncode == 1 and _TOO_SLOW in err:
            self.count["Ray did not start in time"] += 1
        elif driver.returncode == 3 and self.stop_after is not None:
            assert _exit_code(run) == 3
            assert b"quarantined: " in out
            self.count["with a quarantined piece"] += 1
            self.stop_after *= 2
        else:
            assert driver.returncode in (0, -signal.SIGKILL), (driver.returncode, out, err)

    def wait(self, driver: subprocess.Popen[bytes]) -> None:
        """Wait for a random while, or until the driver ends."""
        with suppress(subprocess.TimeoutExpired):
            driver.wait(self.rng.uniform(0, 8))

    def kill_driver(self, pid: int) -> None:
        """Kill the driver and wait until all that it had started is gone."""
        driver = psutil.Process(pid)
        children = driver.children(recursive=True)
        driver.kill()
        self.count["driver"] += 1
        begun = time.monotonic()
        while children:
            children = [p for p in children if _is_alive(p)]
            names = [p.info if hasattr(p, "info") else p.pid for p in children]
            assert time.monotonic() - begun < GONE or not children, names
            time.sleep(0.05)
        self.slowest = max(self.slowest, time.monotonic() - begun)

    def kill_actor(self, pid: int) -> None:
        """Kill one of the driver's actors."""
        pids = workers(pid)
        if pids:
            self.rng.choice(sorted(pids, key=lambda p: p.pid)).kill()
            self.count["actor"] += 1

    def stop(self, pid: int) -> None:
        """Stop an actor for longer than its piece of work may take, then let it go on."""
        pids = workers(pid)
        if not pids:
            return
        victim = self.rng.choice(sorted(pids, key=lambda p: p.pid))
        with suppress(psutil.Error):
            victim.suspend()
            self.count["stopped"] += 1
            time.sleep((self.stop_after or 0) + 3)
            victim.resume()


def _exit_code(run: Path) -> int | None:
    """Return how a run ended; None: it has not."""
    success = run / "_SUCCESS"
    return int(json.loads(success.read_text())["exit_code"]) if success.exists() else None


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.kills")
    parser.add_argument("--n", type=int, default=50, help="kills, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--stop", type=float, help="SIGSTOP of actors instead, beyond a deadline of so many seconds"
    )
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        campaign = Campaign(Path(folder), Random(given.seed), given.stop)
        campaign.runs(given.n)
        print(f"seed {given.seed}: {dict(campaign.count)}; all runs have the same tables; what a "
              f"driver had started was gone after at most {campaign.slowest:.1f} s; "
              f"{time.monotonic() - started:.0f} s")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())

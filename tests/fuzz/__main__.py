"""``python -m tests.fuzz --n 10000 --seed 1``: change files at random and run commands on them.

With ``--log FILE`` each case is noted as it ends. A campaign that was stopped goes on with the same
command, and the figures at the end are of all cases in the file. Each case depends on its seed and
its number only.

First, each command must succeed on the files to which nothing happened (``--unproven`` leaves that
out): else a campaign would try what refuses its files anyway.

Exit code 1 if a command broke its promises: exit codes 0 to 3 or 130, one line on stderr, no more
than 10 s of computing, less than 1 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.campaign import Case, campaign
from tests.fuzz.forked import import_all
from tests.fuzz.kinds import KINDS


def noted(log: Path | None, seed: int) -> list[Case]:
    """Return the cases of a seed in a file of cases; the last line of a killed campaign is cut."""
    if log is None or not log.exists():
        return []
    whole = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    log.write_text("".join(whole))
    cases = [Case(**json.loads(line)) for line in whole]
    return [case for case in cases if case.id.startswith(f"{seed}/")]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--n", type=int, default=1000, help="cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=KINDS, help="only these; default: all")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most so long")
    parser.add_argument("--only", type=int, action="append", help="only the case of this number")
    parser.add_argument("--run", type=Path, help="a finished run that is copied; default: made")
    parser.add_argument("--cache", type=Path, help="folder of sound files, kept for the next call")
    parser.add_argument("--log", type=Path, help="file of cases; those in it are not done again")
    parser.add_argument("--unproven", action="store_true", help="do not try the sound files first")
    given = parser.parse_args()
    started = time.monotonic()
    import_all()
    tried, faults = Counter(), Counter()  # type: ignore[var-annotated]
    spent: Counter[str] = Counter()
    codes, worst = Counter(), {"seconds": 0.0, "memory": 0.0}  # type: ignore[var-annotated]

    def say(case: Case) -> None:
        if given.log:
            with given.log.open("a") as log:
                print(json.dumps(asdict(case)), file=log)
        count(case)

    def count(case: Case) -> None:
        tried[case.kind] += 1
        codes[case.code] += 1
        spent[case.kind] += case.seconds  # type: ignore[assignment]
        worst["seconds"] = max(worst["seconds"], case.seconds)
        worst["memory"] = max(worst["memory"], case.memory)
        if case.fault or given.only:
            faults[case.kind] += bool(case.fault)
            print(f"{case.fault or 'sound'}: {case.id}, {case.kind}: octoscope {case.command}\n"
                  f"  {case.file}: {case.change}; exit code {case.code}, {case.seconds} s of CPU, "
                  f"{case.memory / 1e6:.0f} MB\n{case.stderr}", flush=True)  # fmt: skip

    numbers = given.only or list(range(given.n))
    for case in noted(given.log, given.seed):
        number = int(case.id.partition("/")[2])
        if number in numbers:
            numbers.remove(number)
            count(case)
    campaign(
        numbers, seed=given.seed, kinds=given.kind or list(KINDS), run=given.run, say=say,
        jobs=given.jobs, cache=given.cache, seconds=given.seconds, proven=not given.unproven,
    )  # fmt: skip
    for kind in KINDS:
        if tried[kind]:
            mean = spent[kind] / tried[kind]
            print(f"{kind:14}{tried[kind]:7} changes{faults[kind]:6} faults, {mean:.2f} s of CPU")
    print(f"seed {given.seed}: {sum(tried.values())} changes, {sum(faults.values())} faults; "
          "exit codes "
          + ", ".join(f"{code}: {n}" for code, n in sorted(codes.items()))
          + f"; at most {worst['seconds']:.1f} s and {worst['memory'] / 1e6:.0f} MB each; "
          f"{time.monotonic() - started:.0f} s in all")  # fmt: skip
    return int(sum(faults.values()) > 0 or not tried)


if __name__ == "__main__":
    sys.exit(main())

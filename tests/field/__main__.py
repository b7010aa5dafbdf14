"""``python -m tests.field FOLDER``: replay cases of inputs as people have them; a row for each.

FOLDER holds ``atlas/c*.py``, ``network/t*.py`` and ``models/cases_*.py``: scripts that write
inputs, run ``octoscope`` on them and print what came out beside what an independent reader says.
They are no part of the repository. With ``--only NAME`` the scripts whose name begins so.

Exit code 1 if a command crashed, a refusal does not name what it refuses and what to do, or a value
differs from that of the independent reader.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.field.model_values import DIFFERENT
from tests.field.replay import Call, Case

_SHOWN = "always::octoscope.errors.OctoscopeWarning"  # every command's, and no library's
# What a refusal advises, and what a warning says after its first sentence.
_ADVICE = re.compile(
    r"\. Fix: .*?(?=; (?:refused|counts equal|says|read|equal|warns)|$)"
    r"|(?<=; warns: )([^;]{20,}?)\. [A-Z].*?(?=; warns|$)"
)
_VERIFIED = re.compile(r"VERIFY .*\|diff\| = ([\d.e+-]+)")
_CHECKED = re.compile(
    r"\b(edges\+scores equal:|degrees|edges|signs|deg|scores|stated) (True|False)"
)
_SIGNS = re.compile(r"sign differs from arrow: (\d+)")
_WARNING = re.compile(r"^warning: (.*)$", re.MULTILINE)


def refusal(call: Call) -> str:
    """Return the message of a refusal on one line, with file names in place of paths."""
    text = " ".join(call.err.split())
    text = text[text.rfind("bad input: ") :].removeprefix("bad input: ")
    return _named(call, text)


def warnings_of(call: Call) -> list[str]:
    """Return what a command warned of, each on one line, with file names in place of paths."""
    return [_named(call, m[1].strip()) for m in _WARNING.finditer(call.err)]


def _named(call: Call, text: str) -> str:
    for word in call.arguments:
        path = Path(word.removeprefix("dictionaries="))
        if path.is_absolute():
            text = text.replace(f"{path.parent}/", "")
    return text


def files_of(call: Call) -> set[str]:
    """Return the names of the files that a command was given, also those of its configuration."""
    words = [word.rpartition("=")[2] for word in call.arguments]
    for config in (Path(word) for word in words if word.endswith(".yaml")):
        words += re.findall(r"(?<=: )\S+", config.read_text()) if config.is_file() else []
    return {Path(word).name for word in words if "/" in word}


def faults_of(case: Case) -> list[str]:
    """Return what breaks the promise in a case."""
    faults = []
    for call in case.calls:
        if call.code == 99 or "Traceback" in call.err:
            faults.append(f"{call.command} crashed: {call.err[-300:]}")
        elif call.code not in (0, 1) or (call.code == 1 and call.command != "diff"):
            message = refusal(call)
            if ": " not in message or " Fix: " not in message:
                faults.append(f"{call.command} does not say what to do: {message}")
            if not any(name in message for name in files_of(call)):
                faults.append(f"{call.command} does not name the file: {message}")
        elif call.code == 1 and case.name.split(":")[0] not in DIFFERENT:
            faults.append("differs from the reference")
        differs = [name for name, same in call.values.items() if not same]
        if differs:
            faults.append(f"{call.command}: {', '.join(differs)} differ: {call.note}")
    for line in case.lines:
        differs = [m[1] for m in _VERIFIED.finditer(line) if float(m[1]) != 0]
        differs += [m[1] for m in _CHECKED.finditer(line) if m[2] == "False"]
        differs += [m[0] for m in _SIGNS.finditer(line) if m[1] != "0"]
        if differs:
            faults.append(f"a value differs ({', '.join(differs)}): {line.strip()}")
    read = any(not call.code and "--help" not in call.arguments for call in case.calls)
    if read and not is_compared(case):
        faults.append("read, and nothing compares its values")
    if case.name == "stopped":
        faults.append(f"the script stopped: {case.lines[-1].strip().splitlines()[-1]}")
    return faults


def is_compared(case: Case) -> bool:
    """Tell whether some value of a case was compared with an independent reader's."""
    text = "\n".join(case.lines)
    checked = _VERIFIED.search(text) or _CHECKED.search(text)
    return bool(checked) or any(c.values or c.command == "diff" for c in case.calls)


def result_of(case: Case) -> str:
    """Return what comes of a case: values that equal the source's, or the refusal."""
    own = DIFFERENT.get(case.name.split(":")[0])
    parts = []
    for call in case.calls:
        if call.code == 0 and call.command == "diff":
            parts.append("equals the reference")
        elif call.note and own:
            parts = [f"equals plain torch on these weights ({own}); {call.note}"]
        elif "--help" in call.arguments:
            continue
        elif call.code == 0 and call.command in ("info", "build", "inspect", "check"):
            parts.append("read")
        elif call.code and not (own and call.command == "diff"):
            parts.append(f"refused: {refusal(call)}")
    text = "\n".join(case.lines)
    if _VERIFIED.search(text):
        parts.append("counts equal the source's")
    checked = dict.fromkeys(m[1].rstrip(":") for m in _CHECKED.finditer(text))
    if checked:
        parts.append(f"equal: {', '.join(checked)}")
    problems = re.findall(r"- (?:warning|note) \| [^|]*\| ([^|]*) \|", text)
    parts += [f"says: {p.strip()}" for p in problems[:2]]
    own_values = list(dict.fromkeys(name for call in case.calls for name in call.values))
    if own_values and not own:
        parts.append(f"equal: {', '.join(own_values)}")
    parts += [f"warns: {w}" for call in case.calls for w in warnings_of(call)]
    if len(parts) > 1 and any(p.startswith("equal") for p in parts):
        parts = [p for p in parts if p != "read"]
    return "; ".join(dict.fromkeys(parts)) or "read"


def replayed(script: Path, work: Path) -> list[Case]:
    """Run a script in a process of its own; return its cases."""
    room, record = work / script.parent.name, work / f"{script.stem}.json"
    room.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    env = {**os.environ, "FIELD_WORK": str(room), "FIELD_RECORD": str(record)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-W", _SHOWN, "-m", "tests.field.replay", str(script)],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not record.exists():
        name = f"{script.parent.name}/{script.name}"
        return [Case(name, "stopped", lines=[done.stderr or f"exit code {done.returncode}"])]
    return read_record(record)


def read_record(record: Path) -> list[Case]:
    """Return the cases that a script has left."""
    return [
        Case(c["script"], c["name"], [Call(**k) for k in c["calls"]], c["lines"])
        for c in json.loads(record.read_text())
    ]


def main() -> int:
    """Replay, print a Markdown table, then what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.field")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", default=[], help="scripts that begin so")
    parser.add_argument("--work", type=Path, help="where inputs are written; default: removed")
    parser.add_argument("--brief", action="store_true", help="leave out what refusals advise")
    parser.add_argument("--again", action="store_true", help="read the records of --work, run none")
    given = parser.parse_args()
    scripts = [
        s
        for pattern in ("atlas/c*.py", "network/t*.py", "models/cases_*.py")
        for s in sorted(given.folder.glob(pattern))
        if not given.only or s.stem.startswith(tuple(given.only))
    ]
    if not scripts:
        print(f"{given.folder}: holds no scripts of cases (atlas/c*.py, network/t*.py, …)")
        return 2
    faults, count = [], 0
    print("| case | result |\n|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        for script in scripts:
            record = work / f"{script.stem}.json"
            cases = read_record(record) if given.again else replayed(script, work)
            for case in cases:
                count += 1
                result = result_of(case)
                if given.brief:
                    result = _ADVICE.sub(lambda m: m[1] or "", result)
                row = [f"{script.stem}: {case.name}", result]
                print("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |", flush=True)
                faults += [f"{script.name}: {case.name}: {f}" for f in faults_of(case)]
    print(f"\n{count} cases, {len(faults)} faults")
    print("\n".join(faults))
    return bool(faults)


if __name__ == "__main__":
    raise SystemExit(main())

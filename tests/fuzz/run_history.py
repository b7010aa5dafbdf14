"""What both kinds of histories share: a run that is damaged, moved and copied."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.fuzz.damages import damage


class RunHistory(RuleBasedStateMachine):
    """One run, what is known of it, and what may happen to it."""

    done: ClassVar[Counter[str]]  # what was done, for the line at the end
    sealed: bool  # whether the run is finished

    def __init__(self, parent: Path) -> None:
        super().__init__()
        self.done["sequences"] += 1
        self.folder = Path(tempfile.mkdtemp(dir=parent))
        self.run = self.folder / "run"
        self.moves = 0
        self.damaged: dict[str, str] = {}
        self.records: dict[str, bytes] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def keep_records(self) -> None:
        """Check that what was committed stays as it is, and note what is new."""
        records = {
            str(p.relative_to(self.run)): p.read_bytes() for p in self.run.rglob("record.json")
        }
        assert all(records.get(name) == raw for name, raw in self.records.items())
        for raw in records.values():
            json.loads(raw)
        self.records = records

    @precondition(lambda self: self.sealed and len(self.damaged) < 3)
    @rule(nth=st.integers(0, 999), how=st.sampled_from(["flip", "cut", "remove", "add"]))
    def damage_one(self, nth: int, how: str) -> None:
        known = damage(self.run, nth, how, self.damaged)
        if known is not None:
            self.done[f"damage: {how}"] += 1
            self.damaged |= known

    @rule(copied=st.booleans())
    def move(self, copied: bool) -> None:
        self.done["copy" if copied else "move"] += 1
        self.moves += 1
        target = self.folder / f"run{self.moves}"
        if copied:
            shutil.copytree(self.run, target)
        else:
            self.run.rename(target)
        self.run = target

"""When the stages of a run ran, as the page shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from octoscope.report.page import page
from octoscope.report.timeline import duration, timeline
from octoscope.results.run_results import Results

OLD = Path(__file__).parents[1] / "data/stores/plan-3b"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0.40 s"), (42.3, "42 s"), (189, "3 min 9 s"), (7512, "2 h 5 min"), (59.7, "1 min 0 s")],
)
def test_times_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_stages_follow_each_other_and_the_page_shows_them(finished_run: Path) -> None:
    results = Results.open(finished_run)
    body = json.loads((finished_run / "timeline.json").read_text())
    names = [s["stage"] for s in body["stages"]]
    assert names[0].startswith("attention")
    assert {"matrices", "analysis: overlap", "analysis: layers"} <= set(names)
    began = [s["began"] for s in body["stages"]]
    assert began == sorted(began)
    assert all(s["began"] + s["seconds"] <= body["seconds"] + 1e-6 for s in body["stages"])
    cells = sum(c["used"] for c in results.provenance["cells"])
    assert sum(s["cells"] for s in body["stages"]) == cells
    shown = timeline(results)
    assert shown is not None
    assert all(f">{name}</text>" in shown["figure"].svg for name in names)
    text = page(results).decode()
    assert '<section id="timeline">' in text
    assert all(f"<td>{name}</td>" in text for name in names)


def test_a_run_of_an_earlier_version_has_none() -> None:
    results = Results.open(OLD)
    assert timeline(results) is None
    assert 'id="timeline"' not in page(results).decode()

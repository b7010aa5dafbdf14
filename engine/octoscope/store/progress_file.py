"""``progress.json``: what a driver last said of its work. A report: damage in it stops nothing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from octoscope.store.run_dir import RunRoot

PROGRESS = "progress.json"
DAMAGED = f"unknown: {PROGRESS} is damaged"

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, le=10**15)]


class _Seen(BaseModel):
    """Part of it; earlier versions lack fields, later ones may have more."""

    model_config = ConfigDict(extra="allow")
    since: _Number = 0.0
    work: str = ""
    cells_per_second: _Number | None = None
    wait_share: _Number | None = None


class _Stage(_Seen):
    total: _Count = 0
    done: _Count = 0
    running: int = 0
    quarantined: _Count = 0
    seconds_left: _Number | None = None


class _Actor(_Seen):
    name: str
    where: str = ""
    device: str = "cpu"
    gpus: _Number = 0.0
    state: Literal["lost", "running", "idle", "stopped"] = "idle"
    pieces: _Count = 0


class _Progress(BaseModel):
    model_config = ConfigDict(extra="allow")
    status: str
    updated: _Number
    started: _Number = 0.0
    stages: dict[str, _Stage] = {}
    actors: list[_Actor] | None = None
    actor_hours: _Number | None = None
    gpu_hours: _Number | None = None
    error: str | None = None


def last_seen(root: RunRoot) -> dict[str, Any] | None:
    """Return the last driver's ``progress.json``; None if there was none, or it is damaged."""
    try:
        body = root.read_json(PROGRESS)
        progress = None if body is None else _Progress.model_validate(body).model_dump()
    except (ValueError, ValidationError):
        return None
    if progress is None:
        return None
    if progress["actors"] is not None:  # all or none of them are there
        progress |= {name: progress[name] or 0.0 for name in ("actor_hours", "gpu_hours")}
    return {name: value for name, value in progress.items() if value is not None}

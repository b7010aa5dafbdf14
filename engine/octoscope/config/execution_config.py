"""The section of a run's configuration that says what it may use, and how it goes about it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from octoscope.config.types import Section


class ExecutionConfig(Section):
    """Resources. Nothing here changes which pairs are found; threads may change last bits."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="auto: GPUs if the cluster has some now; cuda: ask for GPUs, also of a cluster "
        "that has yet to start them; cpu",
    )
    threads: int = Field(0, ge=0, description="Torch threads per actor; 0: CPUs / actors")
    actors: int = Field(1, ge=1, description="Replicas per model")
    gpus: float = Field(
        1,
        gt=0,
        description="GPU of each replica, where there are GPUs: a whole one, or the fraction that "
        "it shares (and may use of its memory); a replica computes on one",
    )
    device_memory: str | None = Field(
        None,
        description="Memory of one GPU, e.g. 80GB, which a plan made elsewhere is checked "
        "against; null: of the GPU here, where there is one",
    )
    readers: int = Field(2, ge=1, description="Threads per replica that decode the atlas")
    log: Literal["text", "json"] = Field(
        "text",
        description="text: a live view on a terminal, plain lines elsewhere; json: an object per "
        "event with run, stage, unit and actor",
    )
    batch_cells: int = Field(16, ge=1, description="Cells in one forward pass, at most")
    micro_batch: int = Field(32, ge=1, description="Cells summed in fp32 before fp64, at most")
    unit_cells: int = Field(512, ge=1, description="Cells per unit, at most")
    working_set: str = Field(
        "2GB",
        description="Bound on the residuals that are held at once; long inputs get smaller "
        "batches, and smaller units unless macro_batches allows more",
    )
    macro_batches: int = Field(
        1,
        ge=1,
        description="Working sets per unit, at most: more make units larger and commits fewer, but "
        "the sums of all layers are then held in the device's memory",
    )
    tile: int = Field(512, ge=16, description="Rows and columns of an accumulator tile")
    cache: str = Field(
        "256MB",
        description="Memory in which an analysis task caches a matrix; what does not fit is read "
        "or computed again each time",
    )
    memory: str | None = Field(None, description="Limit per actor, e.g. 8GB; null: 80 % of free")
    attempts: int = Field(3, ge=1, description="Tries per unit before it is quarantined")
    unit_timeout: float = Field(3600, gt=0, description="Seconds before a unit counts as hung")
    start_timeout: float = Field(300, gt=0, description="Seconds for the fleet to start")
    grace: float = Field(
        60, ge=0, description="Seconds that running units get to finish after SIGINT or SIGTERM"
    )
    lease: float = Field(
        60,
        ge=0,
        description="Seconds without a sign of life until another driver may take over; "
        "0: no lease, several drivers may work on one run",
    )

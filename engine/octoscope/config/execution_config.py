"""Sections of a run's configuration about its resources and its execution."""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import field_validator

from octoscope.config.types import YEARS, Section, Size, SizeOrNone, setting

CACHE = "256MB"  # where no memory is given
WORKING_SET = "2GB"  # at most
_free = partial(setting, decides_results=False)  # changes where and how fast a run goes


class AdvancedConfig(Section):
    """Sizes and times that nobody should need to set; see ``octoscope.planning.derive``."""

    working_set: Size | None = setting(
        None,
        "Bound on the residuals that are held at once, such as 2GB; long inputs get smaller "
        "batches, and smaller units unless macro_batches allows more; null: from execution.memory",
    )
    cache: SizeOrNone | None = setting(
        None,
        "Memory in which an analysis task caches a matrix, such as 256MB; what does not fit is "
        "read or computed again each time; null: from execution.memory",
        absent=CACHE,
    )
    tile: int = setting(512, "Rows and columns of an accumulator tile", ge=16, le=2**16)
    micro_batch: int = setting(32, "Cells summed in fp32 before fp64, at most", ge=1, le=10**6)
    batch_cells: int = setting(16, "Cells in one forward pass, at most", ge=1, le=10**6)
    macro_batches: int = setting(
        1,
        "Working sets per unit, at most: more make units larger and commits fewer, but "
        "the sums of all layers are then held in the device's memory",
        ge=1,
        le=10**6,
    )
    gpu_precision: Literal["tf32x3", "ieee", "bf16"] = setting(
        "tf32x3",
        "How a GPU multiplies float32 queries and keys. tf32x3: three products on tensor cores, "
        "scores within 1e-6 of |q||k|; ieee: float32 without tensor cores; bf16: one product of "
        "rounded numbers, within 1e-2. A model in half precision is multiplied exactly by each",
        absent="tf32x3",
    )
    readers: int = _free(2, "Threads per replica that decode the atlas", ge=1, le=4096)
    grace: float = _free(
        60, "Seconds that running units get to finish after SIGINT or SIGTERM", ge=0, le=YEARS
    )
    lease: float = _free(
        60,
        "Seconds without a sign of life until another driver may take over, 1 at least; "
        "0: no lease, several drivers may work on one run",
        ge=0,
        le=YEARS,
    )

    @field_validator("lease")
    @classmethod
    def _no_lease_or_a_second(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError(f"{value} is between 0 (no lease) and 1 second")
        return value


class ExecutionConfig(Section):
    """Resources. Nothing here changes which pairs are found; threads may change last bits."""

    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto",
        "auto: GPUs if the cluster has some now; cuda: ask for GPUs, also of a cluster "
        "that has yet to start them; cpu",
    )
    unit_cells: int = setting(512, "Cells per unit, at most", ge=1, le=10**8)
    threads: int = _free(0, "Torch threads per actor; 0: CPUs / actors", ge=0, le=4096)
    actors: int = _free(1, "Replicas per model", ge=1, le=10**5)
    gpus: float = _free(
        1,
        "GPU of each replica, where there are GPUs: a whole one, or the fraction that "
        "it shares (and may use of its memory), 0.01 at least; a replica computes on one",
        ge=0.01,
        le=1024,
    )
    memory: Size | None = _free(
        None,
        "Limit per actor, e.g. 8GB; null: 80 % of what is free. Where it is given, "
        "advanced.working_set and advanced.cache follow it",
    )
    device_memory: Size | None = _free(
        None,
        "Memory of one GPU, e.g. 80GB, which a plan made elsewhere is checked "
        "against; null: of the GPU here, where there is one",
    )
    log: Literal["text", "json"] = _free(
        "text",
        "text: a live view on a terminal, plain lines elsewhere; json: an object per "
        "event with run, stage, unit and actor",
    )
    attempts: int = _free(3, "Tries per unit before it is quarantined", ge=1, le=1000)
    unit_timeout: float = _free(3600, "Seconds before a unit counts as hung", ge=1, le=YEARS)
    start_timeout: float = _free(300, "Seconds for the fleet to start", ge=1, le=YEARS)
    advanced: AdvancedConfig = setting(
        factory=AdvancedConfig, description="Sizes and times that nobody should need to set"
    )

"""Scores of many graph neural networks, one task of Ray per checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from octoscope.cluster.connect import ray_cluster
from octoscope.errors import InputError, OctoscopeError, in_one_line
from octoscope.gnn.score_file import ScoreSettings, score_file

_TRIES = 3  # a task whose process or node died starts again: it reads files and writes none


def score_checkpoints(
    checkpoints: Sequence[Path], settings: ScoreSettings, address: str | None = None
) -> Iterator[tuple[pd.DataFrame, str]]:
    """Yield what :func:`octoscope.gnn.score_file.score_file` returns of each checkpoint, in order.

    A task has one CPU, and one GPU where ``settings.device`` is ``cuda``. On a cluster every node
    must see the paths.

    Parameters
    ----------
    address
        Of a Ray cluster; None: ``RAY_ADDRESS``, else a Ray of this machine.

    Raises
    ------
    InputError
        What the first checkpoint of the order that fails raises; or the cluster has no GPU.
    OctoscopeError
        If a task's process died again and again.
    """
    on_gpu = settings.device != "cpu"
    with ray_cluster(address) as ray:
        if on_gpu and not ray.cluster_resources().get("GPU", 0):
            raise InputError(
                f"device: {settings.device}", "the Ray cluster has no GPU",
                "use cpu, or join a cluster with GPUs (--address)",
            )  # fmt: skip
        task = ray.remote(score_file).options(
            num_cpus=1, num_gpus=int(on_gpu), max_retries=_TRIES - 1
        )
        waiting = [task.remote(path, settings) for path in checkpoints]
        for path, reference in zip(checkpoints, waiting, strict=True):
            try:
                yield ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, OctoscopeError):
                    raise cause from None
                raise OctoscopeError(f"{path}: {in_one_line(cause)}") from error
            except ray.exceptions.RayError as error:
                raise OctoscopeError(
                    f"{path}: its process died {_TRIES} times ({in_one_line(error)}). Fix: give it "
                    "more memory, or score fewer pairs at once"
                ) from error

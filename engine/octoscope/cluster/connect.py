"""Reaching a Ray cluster: the one given, or a local one that dies with this process."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from octoscope.errors import OctoscopeError

_OBJECT_STORE = 256 * 1024 * 1024  # only plans and small tables travel


def address_of(given: str | None) -> str | None:
    """Return the cluster to join: the one given, or ``RAY_ADDRESS`` (set in jobs); else None."""
    return given or os.environ.get("RAY_ADDRESS") or None


@contextmanager
def ray_cluster(address: str | None = None) -> Iterator[Any]:
    """Connect to Ray, yield the module, and disconnect.

    Parameters
    ----------
    address
        A cluster's address; None: ``RAY_ADDRESS`` (set inside `ray job submit`), else local.

    Raises
    ------
    OctoscopeError
        If no connection can be made.
    """
    # Ray's default changes by version and by how it is started: state it. Ray reads the mode when
    # it is imported; changed later, this process and the cluster it starts would disagree.
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    # Actors with num_gpus=0 must not see GPUs (octoscope.cluster.fleet hides them explicitly).
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["OCTOSCOPE_DRIVER_PID"] = str(os.getpid())
    import ray

    owned = not ray.is_initialized()
    if owned:
        address = address_of(address)
        options: dict[str, Any] = {
            "log_to_driver": False,
            # of the actors: JSON lines with Ray's ids of job, node, actor and task
            "logging_config": ray.LoggingConfig(encoding="JSON", log_level="INFO"),
        }
        if address is None:
            options |= {
                "num_cpus": os.cpu_count() or 1,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE,
                "_system_config": {"enable_metrics_collection": False},
            }
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with _own_logging():
                # "local", not None: that would join any cluster that runs on this machine
                ray.init(address=address or "local", **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise OctoscopeError(f"cannot reach Ray at {address or 'local'}: {error}") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own, which exits with 15
    try:
        yield ray
    finally:
        if owned:
            ray.shutdown()


@contextmanager
def _own_logging() -> Iterator[None]:
    """Keep this process's logging as it was: what is meant for the actors changes it here too."""
    root = logging.getLogger()
    handlers, level, disabled = root.handlers[:], root.level, root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)
        of_ray = logging.getLogger("ray")
        of_ray.handlers.clear()
        of_ray.setLevel(logging.ERROR)

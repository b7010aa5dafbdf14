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

from engine.errors import OctoscopeError

_OBJECT_STORE = 256 * 1024 * 1024  # only plans and small tables travel


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
    # Actors with num_gpus=0 must not see GPUs (engine.cluster.fleet hides them explicitly).
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["OCTOSCOPE_DRIVER_PID"] = str(os.getpid())
    import ray

    owned = not ray.is_initialized()
    if owned:
        address = address or os.environ.get("RAY_ADDRESS") or None
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            options |= {
                "num_cpus": os.cpu_count() or 1,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE,
                "_system_config": {"enable_metrics_collection": False},
            }
        handler = signal.getsignal(signal.SIGTERM)
        try:
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

"""Reaching a Ray cluster: the one given, or a local one that dies with this process."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

import octoscope
from octoscope.cluster import orphan_watch
from octoscope.errors import OctoscopeError, in_one_line, warn

_OBJECT_STORE = 256 * 1024 * 1024  # only plans and small tables travel
_IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set in what `ray job submit` starts
_ANSWER = 5.0  # seconds in which a head must answer
_FILES = 256  # of a process: with two actors Ray opened 61, and each CPU adds some
_OF_HEAD = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_OF_CLIENTS = "/ray.rpc.RayletDriver/ClusterInfo"
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # gRPC's own


def address_of(given: str | None) -> str | None:
    """Return the cluster to join: the one given, or ``RAY_ADDRESS`` (set in jobs); else None."""
    return given or os.environ.get("RAY_ADDRESS") or None


def is_local(given: str | None) -> bool:
    """Tell whether a run starts its own Ray on this machine."""
    return address_of(given) in (None, "local")


def require_start(given: str | None) -> None:
    """Refuse what Ray would wait for in vain; called before planning.

    Parameters
    ----------
    given
        The cluster's address; None: ``RAY_ADDRESS``, else local.

    Raises
    ------
    OctoscopeError
        If the cluster's head does not answer, workers would import another ``octoscope``, a process
        may open too few files, or a variable names a folder in which Ray cannot write.
    """
    _require_own_package()
    address = address_of(given)
    if address is None or is_local(address):
        _require_files()
        _require_folder()
        return
    if address == "auto":
        _require_any()
    else:
        _require_answer(address)
    if given is None and _IN_JOB not in os.environ:
        warn(
            f"RAY_ADDRESS is set: the run computes on the Ray at {address}. Unset it to compute on "
            "this machine alone, or give --address"
        )


def _require_files() -> None:
    """Refuse a limit of open files at which a Ray of this machine waits without end.

    Ray raises the soft limit to the hard one itself.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _FILES:
        raise OctoscopeError(
            f"a process may open {most} files here, and Ray needs {_FILES} or more. Fix: raise the "
            "hard limit (ulimit -Hn)"
        )


def _require_folder() -> None:
    """Refuse a folder for temporary files in which a Ray of this machine cannot write.

    Ray's own error names the path and not the variable. Ray makes a folder that is missing.
    """
    name = next((n for n in ("RAY_TMPDIR", "TMPDIR") if n in os.environ), None)
    if name is None:
        return
    folder = os.environ[name]
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OctoscopeError(
            f"{name}={folder}: Ray cannot write its files there ({error.strerror or error}). Fix: "
            f"unset {name}, or let it name a folder that can be written"
        ) from None


def _require_any() -> None:
    """Refuse ``auto`` where no Ray runs on this machine."""
    _choose_modes()
    from ray._private import services

    find = getattr(services, "canonicalize_bootstrap_address", None)
    try:
        address = None if find is None else find("auto")
    except (ConnectionError, ValueError) as error:
        raise OctoscopeError(_unreachable("auto", in_one_line(error))) from None
    if find is not None and address is None:
        raise OctoscopeError(_unreachable("auto", "no Ray runs on this machine"))


def _require_answer(address: str) -> None:
    """Refuse an address at which no head of Ray answers."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise OctoscopeError(_unreachable(address, f"no address: {error}")) from None
    if host is None or port is None:
        raise OctoscopeError(_unreachable(address, "no address: write host:port"))
    try:
        with socket.create_connection((host, port), timeout=_ANSWER) as connection:
            connection.sendall(_HELLO)
            answer = connection.recv(4)
    except OSError as error:
        raise OctoscopeError(_unreachable(address, error.strerror or str(error))) from None
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return
    method = _OF_CLIENTS if parts.scheme == "ray" else _OF_HEAD
    if answer[3:] != b"\x04" or not _may_serve(f"{host}:{port}", method):
        raise OctoscopeError(_unreachable(address, "what answers there is not Ray"))


def _may_serve(target: str, method: str) -> bool:
    """Tell whether a gRPC server may have a method: False where it says that it has none.

    Ray asks another program, or a port of its own processes that is not the head's, for a quarter
    of an hour. Any other answer, or none, is left to Ray.
    """
    import grpc

    options = [("grpc.enable_http_proxy", 0)]  # as Ray sets it
    with grpc.insecure_channel(target, options) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=_ANSWER)
        except grpc.RpcError as error:
            return bool(error.code() != grpc.StatusCode.UNIMPLEMENTED)
    return True


def _require_own_package() -> None:
    """Refuse a working directory whose ``octoscope`` workers would import instead of this one.

    Ray puts the driver's working directory first on the path of its workers. A folder without
    ``__init__.py`` does no harm: an installed package comes before it.
    """
    here, own = Path.cwd(), Path(octoscope.__file__).resolve()
    for module in (here / "octoscope" / "__init__.py", here / "octoscope.py"):
        if module.is_file() and module.resolve() != own:
            raise OctoscopeError(
                f"{module}: workers would import it instead of Octoscope. Rename it, or start from "
                "another directory"
            )


def _unreachable(address: str, cause: str) -> str:
    return (
        f"Ray at {address}: no connection ({cause}). Give the address of a running head "
        "(--address, RAY_ADDRESS), or unset RAY_ADDRESS to compute on this machine"
    )


def _no_local_ray(cause: str) -> str:
    named = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR")
    folder = Path(named or tempfile.gettempdir()) / "ray"
    return (
        f"Ray cannot start on this machine: {cause}. Check that {folder} (RAY_TMPDIR) and /dev/shm "
        "can be written and have space, and the limits of memory, processes and open files; Ray's "
        f"own messages are in {folder / 'session_latest' / 'logs'}"
    )


def _choose_modes() -> None:
    """State what Ray reads when it is imported; its default changes by version.

    Changed later, this process and the cluster it starts would disagree.
    """
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def start_ray(ray: Any, **options: Any) -> None:
    """Call ``ray.init``; once more where the start timed out because the machine is busy.

    Ray gives the processes that it starts 30 s, which cannot be changed.
    """
    try:
        with _own_logging():
            ray.init(**options)
    except Exception as error:
        busy = os.getloadavg()[0] > (os.cpu_count() or 1)
        if not (busy and "timed out during startup" in str(error)):
            raise
        warn("Ray did not start within 30 s on a busy machine: starting it once more")
        ray.shutdown()
        with _own_logging():
            ray.init(**options)


@contextmanager
def _ended_with_this_process() -> Iterator[None]:
    """Start what ends all processes that the block starts, when it or this process ends."""
    token = uuid.uuid4().hex
    os.environ[orphan_watch.TOKEN] = token
    before = [str(child.pid) for child in psutil.Process().children()]  # not ours to end
    watch = subprocess.Popen(
        [sys.executable, "-P", str(orphan_watch.__file__), str(os.getpid()), token, *before],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a signal to the driver's group is not meant for it
        env={k: v for k, v in os.environ.items() if k != orphan_watch.TOKEN},
    )
    try:
        yield
    finally:
        os.environ.pop(orphan_watch.TOKEN, None)
        assert watch.stdin is not None
        watch.stdin.close()


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
        If no connection can be made, or a local Ray cannot start.
    """
    require_start(address)
    _choose_modes()
    # Actors with num_gpus=0 must not see GPUs (octoscope.cluster.fleet hides them explicitly).
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["OCTOSCOPE_DRIVER_PID"] = str(os.getpid())
    import ray

    with ExitStack() as stack:
        owned = not ray.is_initialized()
        if owned:
            address = address_of(address)
            options: dict[str, Any] = {
                "log_to_driver": False,
                # of the actors: JSON lines with Ray's ids of job, node, actor and task
                "logging_config": ray.LoggingConfig(encoding="JSON", log_level="INFO"),
            }
            if is_local(address):
                options |= {
                    "num_cpus": os.cpu_count() or 1,
                    "include_dashboard": False,
                    "object_store_memory": _OBJECT_STORE,
                    "_system_config": {"enable_metrics_collection": False},
                }
            if is_local(address):
                stack.enter_context(_ended_with_this_process())
            handler = signal.getsignal(signal.SIGTERM)
            try:
                # "local", not None: that would join any cluster that runs on this machine
                start_ray(ray, address=address or "local", **options)
            except SystemError:  # may be a signal's KeyboardInterrupt (octoscope.cluster.signals)
                raise
            except Exception as error:  # Ray raises a bare Exception where its start times out
                with suppress(Exception):
                    ray.shutdown()  # what it had started by then
                cause = in_one_line(error)
                raise OctoscopeError(
                    _no_local_ray(cause) if is_local(address) else _unreachable(str(address), cause)
                ) from error
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)  # Ray puts its own, which exits with 15
        try:
            yield ray
        finally:
            if owned:
                ray.shutdown()


@contextmanager
def _own_logging() -> Iterator[None]:
    """Keep this process's logging as it was: what is meant for the actors changes it here too.

    Ray's own lines are left out: what stops a start is raised, and its log files have the rest.
    """
    root = logging.getLogger()
    handlers, level, disabled = root.handlers[:], root.level, root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)
        of_ray = logging.getLogger("ray")
        of_ray.handlers.clear()
        of_ray.setLevel(logging.ERROR)


def ray_scheduler() -> Callable[..., Any]:
    """Return Dask's scheduler on the connected Ray cluster; nothing global is changed."""
    from ray.util.dask import ray_dask_get

    return ray_dask_get

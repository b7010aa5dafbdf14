"""Joining or starting Ray: what cannot work is refused at once, in one line."""

from __future__ import annotations

import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import grpc
import pytest
from octoscope.cluster import connect
from octoscope.cluster.connect import ray_cluster, require_start
from octoscope.errors import OctoscopeError

from tests.fuzz.forked import forked
from tests.ports import free_ports


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a program that takes connections and is not Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"220 mail ready\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_another_program_that_speaks_grpc_is_refused_at_once(scheme: str) -> None:
    """Red: Ray asked it for a quarter of an hour, with a line on stderr every few seconds."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    begun = time.monotonic()
    try:
        with pytest.raises(OctoscopeError, match="what answers there is not Ray"):
            require_start(f"{scheme}127.0.0.1:{port}")
    finally:
        server.stop(None)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("scheme", "method"), [("", connect._OF_HEAD), ("ray://", connect._OF_CLIENTS)]
)
def test_a_head_that_wants_a_token_is_left_to_ray(scheme: str, method: str) -> None:
    """As a head does, which answers before it looks at what is asked."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")

    _, service, name = method.split("/")
    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {name: grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        require_start(f"{scheme}127.0.0.1:{port}")
    finally:
        server.stop(None)


def test_a_cluster_that_does_not_answer_is_refused_at_once(
    deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    for address, cause in (
        (f"127.0.0.1:{port}", "Connection refused"),
        (f"ray://127.0.0.1:{port}", "Connection refused"),
        ("no-such-host.invalid:6379", ""),
        (deaf, "what answers there is not Ray"),
    ):
        begun = time.monotonic()
        with pytest.raises(
            OctoscopeError, match="unset RAY_ADDRESS to compute here|on this mach"
        ) as e:
            require_start(address)
        assert f"Ray at {address}: no connection ({cause}" in one_line(e.value)
        assert time.monotonic() - begun < 10
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(OctoscopeError, match="RAY_ADDRESS"):
        require_start(None)
    with pytest.raises(OctoscopeError, match="RAY_ADDRESS"), ray_cluster():
        pass


def test_a_module_of_the_same_name_in_the_working_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "octoscope").mkdir()
    (tmp_path / "octoscope" / "results.csv").write_text("")
    require_start(None)  # a folder of results: the installed package comes before it
    (tmp_path / "octoscope" / "__init__.py").write_text("")
    with pytest.raises(OctoscopeError, match=r"octoscope/__init__\.py: workers would import it"):
        require_start(None)
    (tmp_path / "octoscope" / "__init__.py").unlink()
    (tmp_path / "octoscope.py").write_text("")
    with pytest.raises(OctoscopeError, match=r"octoscope\.py: workers would import it"):
        require_start(None)


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup.\nThis could happen"),
        OSError(28, "No space left on device"),
        RuntimeError("Failed to start GCS"),
    ],
)
def test_whatever_ray_raises_as_it_starts_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    import ray

    def fail(**given: Any) -> None:
        raise error

    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(OctoscopeError, match="Ray cannot start on this machine: ") as caught,
        ray_cluster(),
    ):
        pass
    text = one_line(caught.value)
    assert type(error).__name__ in text
    assert "RAY_TMPDIR" in text
    assert "/dev/shm" in text


def test_a_signal_while_ray_starts_is_not_taken_for_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    def fail(**given: Any) -> None:
        raise SystemError("returned a result with an exception set")

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(SystemError), ray_cluster():
        pass


def test_the_address_is_joined_only_where_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert connect.address_of(None) is None
    require_start(None)


def test_too_few_files_for_a_ray_of_this_machine_are_refused_before_planning() -> None:
    def start() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        with pytest.raises(OctoscopeError, match=r"may open 64 files.*raise the hard limit"):
            connect.require_start(None)

    ended = forked(start)
    assert ended.code == 0, ended.stderr


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
@pytest.mark.parametrize(
    "unwritable", ["/proc/nowhere", "file", ""], ids=["missing", "file", "empty"]
)
def test_a_folder_in_which_ray_cannot_write_is_refused_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, unwritable: str
) -> None:
    """Red: Ray's own line, which names a path that nobody gave."""
    (tmp_path / "file").write_text("")
    for other in ("RAY_TMPDIR", "RAY_ADDRESS"):
        monkeypatch.delenv(other, raising=False)
    folder = str(tmp_path / unwritable) if unwritable == "file" else unwritable
    monkeypatch.setenv(name, folder)
    with pytest.raises(OctoscopeError, match=f"^{name}={folder}: Ray cannot write .* unset {name}"):
        connect.require_start(None)
    monkeypatch.setenv(name, str(tmp_path / "made/here"))
    connect.require_start(None)


class Slow:
    """Answers as Ray does whose processes do not start in time: no test can order that."""

    def __init__(self, failures: int, message: str) -> None:
        self.failures, self.message, self.calls = failures, message, []

    def init(self, **options: Any) -> None:
        self.calls.append(("init", options))
        if self.failures:
            self.failures -= 1
            raise Exception(self.message)

    def shutdown(self) -> None:
        self.calls.append(("shutdown", {}))


TIMED_OUT = "The current node timed out during startup. This could happen because"


@pytest.mark.parametrize(
    ("load", "failures", "message", "started"),
    [
        (1e6, 1, TIMED_OUT, True),
        (1e6, 2, TIMED_OUT, False),
        (0.0, 1, TIMED_OUT, False),  # not for want of a processor
        (1e6, 1, "no space left", False),
    ],
)
def test_a_start_that_times_out_on_a_busy_machine_is_repeated_once(
    load: float, failures: int, message: str, started: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    ray = Slow(failures, message)
    repeats = bool(load) and message == TIMED_OUT
    with (
        pytest.warns(UserWarning, match="once more") if repeats else nullcontext(),
        nullcontext() if started else pytest.raises(Exception, match=message[:20]),
    ):
        connect.start_ray(ray, address="local")
    first = [("init", {"address": "local"})]
    assert ray.calls == (first + [("shutdown", {})] + first if repeats else first)


def test_rays_own_lines_are_not_shown_while_it_starts(capfd: pytest.CaptureFixture[str]) -> None:
    """A start that fails is one line, ours; Ray's of its dashboard stay in its files."""
    of_ray = logging.getLogger("ray._private.services")
    handler = logging.StreamHandler()
    of_ray.addHandler(handler)
    try:
        with connect._own_logging():
            of_ray.error("Failed to start the dashboard")
        assert capfd.readouterr().err == ""
        of_ray.error("A worker died")
        assert "A worker died" in capfd.readouterr().err
    finally:
        of_ray.removeHandler(handler)

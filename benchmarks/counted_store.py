"""Where the dispatcher benchmark keeps its runs: counted objects, an S3 server near or far."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from octoscope.store.backends import objects_at
from octoscope.store.run_dir import RunRoot

KINDS = {
    "read": "get", "open": "get", "write": "put", "create": "create", "size": "head",
    "delete": "delete", "names": "list",
}  # fmt: skip


class Counting:
    """Objects whose calls are counted by kind; ``requests``: what S3 was asked for them."""

    def __init__(self, objects: Any) -> None:
        self.objects, self.counts, self._lock = objects, Counter[str](), threading.Lock()
        system = getattr(objects, "system", None)
        if hasattr(system, "_call_s3"):
            system._call_s3 = partial(self._counted, system._call_s3)

    def __getattr__(self, name: str) -> Any:
        call, kind = getattr(self.objects, name), KINDS.get(name)
        return call if kind is None else partial(self._called, kind, call)

    def _called(self, kind: str, call: Callable[..., Any], *args: Any) -> Any:
        with self._lock:
            self.counts[kind] += 1
        return call(*args)

    async def _counted(self, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        with self._lock:
            self.counts["requests"] += 1
        return await call(*args, **more)


def opened(url: str) -> tuple[RunRoot, Counter[str]]:
    """Open a run whose calls are counted."""
    objects = Counting(objects_at(url))
    return RunRoot(url, objects), objects.counts


@contextmanager
def run_location(store: str, latency: float) -> Iterator[str]:
    """Yield where a run can be."""
    if store == "memory":
        yield f"memory://dispatcher-{uuid.uuid4().hex}"
    elif store == "folder":
        with tempfile.TemporaryDirectory(prefix="octoscope-dispatcher-") as folder:
            yield folder
    else:
        sys.path.append(str(Path(__file__).parents[1]))
        from tests.s3 import s3_server

        with s3_server() as url:
            if latency:
                near = int(os.environ["AWS_ENDPOINT_URL"].rsplit(":", 1)[1])
                with socket.socket() as free:
                    free.bind(("127.0.0.1", 0))
                    port = free.getsockname()[1]
                get_context("spawn").Process(
                    target=far, args=(port, near, latency / 1000), daemon=True
                ).start()
                while True:
                    with suppress(ConnectionRefusedError), socket.create_connection(("", port)):
                        break
                    time.sleep(0.1)
                os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
            yield url


def far(port: int, near: int, seconds: float) -> None:
    """Pass on what clients say at once, and what the server answers later."""

    async def pump(reader: Any, writer: Any, later: float) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(1 << 16):
            loop.call_later(later, writer.write, data)
        loop.call_later(later, writer.close)

    async def on(reader: Any, writer: Any) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", near)
        await asyncio.gather(pump(reader, server, 0), pump(answers, writer, seconds))

    async def serve() -> None:
        await (await asyncio.start_server(on, "127.0.0.1", port)).serve_forever()

    asyncio.run(serve())


def server_cpu() -> float:
    """Return the CPU seconds of the S3 server."""
    own = [p for p in psutil.Process().children() if "weed" in p.name()]
    return sum(sum(p.cpu_times()[:2]) for p in own)

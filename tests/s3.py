"""A real S3 server of its own process for the tests: SeaweedFS, from PyPI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.ports import free_ports

BUCKET = "octoscope"
SECRET = "a-secret-of-the-tests"


@contextmanager
def s3_server(timeout: float = 90) -> Iterator[str]:
    """Start a server, point AWS_* of this process at it, make a bucket; yields its URL."""
    data = Path(tempfile.mkdtemp(prefix="octoscope-s3-"))
    ports = free_ports(8)
    m, mg, v, vg, f, fg, s, sg = ports
    env = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [
        str(Path(sys.executable).parent / "weed"), "server", f"-dir={data}", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", f"-master.port={m}", f"-master.port.grpc={mg}",
        "-master.volumeSizeLimitMB=64", f"-volume.port={v}", f"-volume.port.grpc={vg}",
        "-volume.max=0", f"-filer.port={f}", f"-filer.port.grpc={fg}",
        f"-filer.localSocket={data}/f.sock", "-s3", f"-s3.port={s}", f"-s3.port.grpc={sg}",
        f"-s3.localSocket={data}/s.sock", "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)  # the server takes its own key from there too
    with (data / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=data)
    deadline = time.monotonic() + timeout

    def wait(ready: Callable[[], Any]) -> None:
        while True:
            with suppress(OSError):
                ready()
                return
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((data / "log").read_text()[-3000:])
            time.sleep(0.1)

    def listens() -> None:
        with suppress(urllib.error.HTTPError):  # unsigned requests are refused: it listens
            urllib.request.urlopen(env["AWS_ENDPOINT_URL"] + "/", timeout=2)

    try:
        wait(listens)
        import fsspec

        system = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
        system.mkdir(BUCKET)
        wait(lambda: system.pipe_file(f"{BUCKET}/.ready", b"x"))
        system.rm_file(f"{BUCKET}/.ready")
        yield f"s3://{BUCKET}"
    finally:
        server.kill()
        server.wait()
        for port in ports:
            for socket in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-grpc-{port}.sock"):
                socket.unlink()
        shutil.rmtree(data, ignore_errors=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

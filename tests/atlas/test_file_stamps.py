"""Files of counts behind URLs: what is written since is seen by what their store says of them."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec
import numpy as np
import pytest
from octoscope.atlas import Atlas, file_stamps
from octoscope.config import AtlasConfig

from tests.conftest import make_adata

THEN = "when it was planned"


def opened(path: str) -> Atlas:
    return Atlas(AtlasConfig(path=path, category_key=["cell_type"]))


def test_an_array_in_an_object_store_that_is_written_since(tmp_path: Path) -> None:
    make_adata(60, 30).write_zarr(tmp_path / "a.zarr")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "a.zarr"), "/stamps.zarr", recursive=True)
    try:
        atlas = opened("memory://stamps.zarr")
        noted = atlas.count_files()
        assert set(noted) == {"X/data", "X/indices"}
        assert opened("memory://stamps.zarr").count_files() == noted
        chunk = next(
            n for n in memory.find("/stamps.zarr/X/data") if "/c/" in n or n.endswith("/0")
        )
        memory.pipe(chunk, memory.cat(chunk))
        later = opened("memory://stamps.zarr")
        assert [p.split(",")[0] for p in later.require_count_files(noted, THEN)] == ["X/data"]
        assert later.require_count_files(noted, THEN, np.arange(3))  # of their files alone
    finally:
        memory.rm("/stamps.zarr", recursive=True)


class Ranges(SimpleHTTPRequestHandler):
    """A server of files that answers requests for a part, with an ETag that the test sets."""

    etag = '"1"'

    def end_headers(self) -> None:
        self.send_header("ETag", self.etag)
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def do_GET(self) -> None:
        raw = Path(self.translate_path(self.path)).read_bytes()
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = raw[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(raw)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


def test_a_file_behind_http_that_is_written_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_adata(60, 30).write_h5ad(tmp_path / "a.h5ad")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=tmp_path)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a.h5ad"
        noted = opened(url).count_files()
        assert set(noted) == {"X/data", "X/indices"}
        assert opened(url).require_count_files(noted, THEN) == []
        monkeypatch.setattr(Ranges, "etag", '"2"')
        assert set(opened(url).require_count_files(noted, THEN)) == {"X/data", "X/indices"}
        server.shutdown()


def test_a_digest_of_the_store_goes_before_its_time() -> None:
    """A copy has another time; what an object store digests stays."""
    one = {"size": 3, "ETag": '"a"', "LastModified": 1}
    assert file_stamps._stamp(one) == file_stamps._stamp(one | {"LastModified": 2})
    assert file_stamps._stamp(one) != file_stamps._stamp(one | {"ETag": '"b"'})
    assert file_stamps._stamp({"size": 3, "created": 1}) != file_stamps._stamp(
        {"size": 3, "created": 2}
    )
    assert file_stamps._stamp({"size": 3}) is None

"""Volumes of any format on a web server that behaves, denies, or sends pages instead of files."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magneton_tasks.base.geometry import Box
from magneton_tasks.errors import BadDataError, MagnetonError, NoInputError
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.precomputed.write import write_volume
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.formats.zarr import read as zarr_volumes
from tests.formats.test_n5 import written as write_n5
from tests.helpers import volumes

ARRAY = np.arange(3 * 20 * 24 * 28, dtype=np.uint32).reshape(3, 20, 24, 28).astype(np.uint8)
BOX = Box.of_shape((20, 24, 28))
INNER = Box((3, 5, 7), (20, 20, 20))
_METADATA = ("info", ".json", ".zarray", ".zattrs", ".zgroup")
PAGE = b"<!DOCTYPE html>\n<html>log in</html>"


class Server(SimpleHTTPRequestHandler):
    """``/deny/...`` answers 403, ``/page/...`` a page; else files, ``/ranges/...`` in parts, too."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        _, kind, name = self.path.split("/", 2)
        if kind == "deny" or (kind == "no-chunks" and not name.endswith(_METADATA)):
            self.send_error(403)
        elif kind == "page":
            self._send(200, PAGE)
        else:
            file = Path(self.directory) / name
            if not file.is_file():
                self.send_error(404)
                return
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            data = file.read_bytes()
            if kind == "ranges" and wanted:
                self._send(206, data[int(wanted[1]) : int(wanted[2]) + 1])
            else:
                self._send(200, data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server's files: one volume of each format."""
    folder = tmp_path_factory.mktemp("www")
    for version in (2, 3):
        zarr_volumes.write_volume(
            f"file://{folder}/zarr{version}",
            ARRAY,
            (40, 8, 8),
            (0, 0, 0),
            (8, 8, 8),
            zarr_format=version,
        )
    sharded: dict[str, Any] = {"chunks": (1, 4, 8, 4), "shards": (3, 8, 8, 8)}
    zarr.create_array(str(folder / "sharded"), data=ARRAY, **sharded)
    write_n5(folder / "n5", ARRAY, (3, 8, 8, 8))
    write_volume(
        f"file://{folder}/precomputed", ARRAY, (40, 8, 8), (0, 0, 0), (8, 8, 8), compress=None
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(folder)))
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("kind", ["files", "ranges"])
@pytest.mark.parametrize("name", ["zarr2", "zarr3", "sharded", "n5", "precomputed"])
def test_each_format_is_read(served: str, name: str, kind: str) -> None:
    volume = open_volume(f"{served}/{kind}/{name}")
    np.testing.assert_array_equal(volume.read(BOX), ARRAY)
    np.testing.assert_array_equal(volume.read(INNER), ARRAY[(slice(None), *INNER.slices())])


def test_a_child_reads_what_its_parent_has_read(served: str) -> None:
    volume = open_volume(f"{served}/ranges/sharded")
    volume.read(INNER)
    assert volumes.in_fork(lambda: np.testing.assert_array_equal(volume.read(BOX), ARRAY)) == 0


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("files/nothing", NoInputError, "no precomputed, Zarr or N5 volume there"),
        ("deny/zarr3", NoInputError, "zarr3/info: the server answers 403"),
        ("page/zarr3", BadDataError, "zarr3/info: the server sent a page of HTML"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "zarr://", "n5://"])
def test_what_isn_t_given_is_told(
    served: str, prefix: str, address: str, error: type[MagnetonError], said: str
) -> None:
    file = {"": "info", "zarr://": "zarr.json", "n5://": "attributes.json"}[prefix]
    with pytest.raises(error, match=said.replace("info", file)):
        read_metadata(f"{prefix}{served}/{address}")


@pytest.mark.parametrize("name", ["zarr2", "zarr3", "sharded", "n5"])
def test_a_chunk_that_is_denied_is_no_empty_space(served: str, name: str) -> None:
    volume = open_volume(f"{served}/no-chunks/{name}")
    with pytest.raises(NoInputError, match="answers 403"):
        volume.read(INNER)


def test_a_bucket_that_denies_what_isn_t_there_is_searched_on(
    served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So do buckets to who may not list them; here all that isn't metadata of Zarr."""
    answer = Server.do_GET

    def strict(self: Server) -> None:
        if self.path.endswith("/info"):
            self.send_error(403)
        else:
            answer(self)

    monkeypatch.setattr(Server, "do_GET", strict)
    assert read_metadata(f"{served}/files/zarr3").format == "zarr3"

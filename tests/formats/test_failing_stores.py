"""Servers that fail, and volumes that can't be read: the right exit code from end to end."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magneton_tasks.base.failures import telling
from magneton_tasks.base.geometry import Box
from magneton_tasks.base.location import Location
from magneton_tasks.errors import (
    EXIT_BUG,
    EXIT_TEMPORARY,
    RETRYABLE_EXITS,
    ConfigError,
    MagnetonError,
    NoInputError,
    OutOfMemoryError,
    TemporaryError,
)
from magneton_tasks.formats.arrival import NOT_YET, Awaited
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed import read as volumes
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.stages.child import run_in_child

#: Its name, and that of each of its boxes, hold the numbers that HTTP uses for missing rights.
BOX = Box((401, 403, 401), (412, 414, 412))
INFO: dict[str, Any] = {
    "@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "uint8",
    "num_channels": 3,
    "scales": [{
        "key": "8_8_8", "size": [64, 64, 64], "voxel_offset": [400, 400, 400], "encoding": "raw",
        "resolution": [8, 8, 8], "chunk_sizes": [[64, 64, 64]],
    }],
}  # fmt: skip


@dataclass
class Store:
    """A web server, and S3: both answer ``info`` as they should, and what follows with ``status``."""

    status: int = 503
    code: str = "SlowDown"
    #: also for ``info``
    all_fails: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/lab-403/aff"

    def answer(self, path: str) -> tuple[int, bytes]:
        if path.partition("?")[0].endswith("/info") and not self.all_fails:
            return 200, json.dumps(self.info).encode()
        text = f"<Error><Code>{self.code}</Code><Message>401 or 403?</Message></Error>"
        return self.status, text.encode()


@pytest.fixture(scope="module")
def served() -> Iterator[Store]:
    """One for all tests: cloud-files keeps its connections to a bucket."""
    kept = Store()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = kept.answer(self.path)
            if not status:  # the connection breaks
                self.close_connection = True
                return
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield kept
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def store(served: Store) -> Store:
    served.status, served.code, served.all_fails, served.info = 503, "SlowDown", False, INFO
    return served


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries try seven times, and wait for minutes in between."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.001)))


@pytest.fixture
def s3(store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of the same volume through S3."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "401",
        "AWS_SECRET_ACCESS_KEY": "403",
        "AWS_SESSION_TOKEN": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
    }.items():
        monkeypatch.setenv(name, value)
    return "s3://lab-403/aff"


SERVED: list[tuple[int, str, type[MagnetonError]]] = [
    (503, "SlowDown", TemporaryError),
    (500, "InternalError", TemporaryError),
    (429, "TooManyRequests", TemporaryError),
    (401, "InvalidAccessKeyId", NoInputError),
]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("status", "code", "kind"), SERVED)
def test_a_chunk_that_a_web_server_does_not_give(
    store: Store, status: int, code: str, kind: type[MagnetonError]
) -> None:
    volume = open_volume(store.url)
    store.status, store.code = status, code
    with pytest.raises(kind) as told:
        volume.read(BOX)
    assert type(told.value) is kind
    assert "401:412,403:414,401:412" in str(told.value) and str(status) in str(told.value)


#: buckets: also what isn't there, which a web server's cloud-files takes for a chunk of zeros
IN_BUCKETS = [
    *SERVED,
    (403, "AccessDenied", NoInputError),
    (404, "NoSuchBucket", NoInputError),
    (400, "ExpiredToken", NoInputError),
]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("status", "code", "kind"), IN_BUCKETS)
def test_metadata_that_a_bucket_does_not_give(
    store: Store, s3: str, status: int, code: str, kind: type[MagnetonError]
) -> None:
    store.status, store.code, store.all_fails = status, code, True
    with pytest.raises(kind, match="s3://lab-403/aff/info") as told:
        read_metadata(s3)
    assert type(told.value) is kind and code in str(told.value)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        # waits 20 seconds between the tries of the libraries; reading tells the same in one
        pytest.param(503, "SlowDown", TemporaryError, marks=pytest.mark.long),
        (404, "NoSuchBucket", ConfigError),
        (403, "AccessDenied", ConfigError),
    ],
)
def test_an_output_that_a_bucket_does_not_take(
    store: Store, s3: str, status: int, code: str, kind: type[MagnetonError]
) -> None:
    store.status, store.code = status, code
    with pytest.raises(kind) as told:
        Objects(Location(s3, None, None)).put("8_8_8/401-412_0-64_0-64", b"x")
    assert type(told.value) is kind and "401-412_0-64_0-64" in str(told.value)


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_breaks_is_worth_a_retry(store: Store) -> None:
    volume = open_volume(store.url)
    store.status = 0
    with pytest.raises(TemporaryError, match="lab-403"):
        volume.read(BOX)


def asked(url: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What whoever waits for an input asks."""
    awaited = Awaited(url, 0, f"{url}/DONE")
    kept = {k: v for k, v in os.environ.items() if k != "AWS_SESSION_TOKEN"}
    return subprocess.run(
        awaited.command(), env={**kept, **environ}, capture_output=True, text=True, check=False
    )


def test_a_variable_that_is_missing_is_an_error_of_the_settings() -> None:
    """So libraries ask for what they can't do without."""
    told = pytest.raises(ConfigError, match="environment variable MAGNETON_NONE isn't set")
    with told, telling("s3://lab/aff"):
        _ = os.environ["MAGNETON_NONE"]


@pytest.mark.long  # waits up to 80 seconds between the tries of the libraries
def test_keys_in_the_environment_need_no_session_token(store: Store, s3: str) -> None:
    """Only temporary keys have one; cloud-files wants it of all."""
    done = asked(s3, HOME="/nonexistent")
    assert done.returncode in (0, NOT_YET) and "AWS_SESSION_TOKEN" not in done.stderr
    assert asked(store.url, HOME="/nonexistent").returncode in (NOT_YET, *RETRYABLE_EXITS)


# ------------------------------------------------------------------ codecs
@pytest.mark.parametrize("version", [2, 3])
def test_a_codec_that_is_not_installed_is_named(tmp_path: Path, version: Any) -> None:
    path = tmp_path / "a.zarr"
    array = zarr.create_array(
        store=path, shape=(8, 8, 8), dtype="u1", chunks=(8, 8, 8), zarr_format=version
    )
    array[...] = np.ones((8, 8, 8), np.uint8)
    file = path / (".zarray" if version == 2 else "zarr.json")
    metadata = json.loads(file.read_text())
    if version == 2:
        metadata["compressor"] = {"id": "pcodec", "level": 8}
    else:
        metadata["codecs"][-1] = {"name": "pcodec", "configuration": {}}
    file.write_text(json.dumps(metadata))
    with pytest.raises(ConfigError, match="pcodec") as told:  # before a child could ask for it
        open_volume(str(path))
    assert "network" not in str(told.value)


@pytest.mark.parametrize(
    ("encoding", "package"),
    [("fpzip", "fpzip"), ("kempressed", "fpzip"), ("zfpc", "zfpc"), ("jxl", "imagecodecs")],
)
def test_an_encoding_whose_package_is_missing_is_refused_before_its_first_chunk(
    store: Store, monkeypatch: pytest.MonkeyPatch, encoding: str, package: str
) -> None:
    import cloudvolume.chunks

    for name, needed in (("fpzip", "fpzip"), ("zfpc", "zfpc"), ("jxl", "imagecodecs")):
        monkeypatch.setitem(cloudvolume.chunks.NEEDS_INSTALL, name, needed)
    store.info = {**INFO, "scales": [{**INFO["scales"][0], "encoding": encoding}]}
    with pytest.raises(ConfigError, match=f"{encoding} needs the package {package}"):
        open_volume(store.url)


def test_an_encoding_that_nobody_knows_is_refused_before_its_first_chunk(store: Store) -> None:
    store.info = {**INFO, "scales": [{**INFO["scales"][0], "encoding": "webp"}]}
    with pytest.raises(ConfigError, match="encoding webp isn't read\n.*copy the volume to"):
        open_volume(store.url)


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_pictures_of_three_channels_are_refused_where_cloud_volume_reads_them_wrongly(
    store: Store, encoding: str
) -> None:
    store.info = {
        **INFO,
        "num_channels": 3,
        "scales": [{**INFO["scales"][0], "encoding": encoding}],
    }
    with pytest.raises(
        ConfigError, match=f"3 channels in {encoding} are read from unsharded files"
    ):
        open_volume(store.url)


# ------------------------------------------------------------------ bugs
def test_what_nobody_knows_is_a_bug_with_its_traceback_in_the_log(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    volume = open_volume(store.url)

    def forgotten(_: Any) -> Any:
        return undefined_name  # type: ignore[name-defined] # noqa: F821

    monkeypatch.setattr(volumes.CloudVolumeVolume, "_volume", forgotten)
    with pytest.raises(MagnetonError) as told:
        run_in_child(lambda: volume.read(BOX).shape, tmp_path / "log", 0)
    assert told.value.exit_code == EXIT_BUG
    assert "undefined_name" in told.value.what and "bug in Magneton" in str(told.value.hint)
    assert "in forgotten\n" in capfd.readouterr().out, "its traceback isn't in the log"


# ------------------------------------------------------------------ threads
def test_a_thread_that_cannot_be_started_is_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zarr decodes in threads, which a worker starts only then."""
    path = tmp_path / "a.zarr"
    array = zarr.create_array(store=path, shape=(8, 8, 8), dtype="u1", chunks=(8, 8, 8))
    array[...] = np.ones((8, 8, 8), np.uint8)
    volume = open_volume(str(path))

    def refusing(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def read() -> list[int]:
        monkeypatch.setattr(threading.Thread, "start", refusing)
        return list(volume.read(Box.of_shape((8, 8, 8))).shape)

    with pytest.raises(OutOfMemoryError, match="memory ran out") as told:
        run_in_child(read, tmp_path / "log", 0)
    assert told.value.exit_code == EXIT_TEMPORARY

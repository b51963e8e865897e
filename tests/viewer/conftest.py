"""A volume to look at, and the viewer's application behind a real server on loopback."""

from __future__ import annotations

import http.client
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette

from magneton_tasks.viewer.app import make_app
from magneton_tasks.viewer.layers import Layer, Shown, resolve
from magneton_tasks.viewer.state import make_state
from tests.helpers import volumes

TOKEN = "a-token"
PAGE = f"/v/{TOKEN}/"


class Client:
    """Requests to one port; the path goes out as it is given."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body; ``if_none_match`` stands for If-None-Match."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with closing(connection):
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.putrequest(
                method, path, skip_host="host" in given, skip_accept_encoding=True
            )
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, response.read()

    def get(self, path: str, **headers: str) -> bytes:
        """The body of a good answer."""
        status, _, body = self.ask(path, **headers)
        assert status == 200, (path, status, body[:200])
        return body


Running = Callable[[Starlette], Client]


@contextmanager
def serving(app: Starlette) -> Iterator[Client]:
    """The application behind a server in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)

    def run() -> None:
        with listener:
            server.run(sockets=[listener])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Client(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def running() -> Iterator[Running]:
    """Serve an application; ended after the test."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(serving(app))


@pytest.fixture(scope="session")
def small_volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain affinity map and a gzipped segmentation."""
    folder = tmp_path_factory.mktemp("small")
    labels = volumes.cells()
    volumes.write_precomputed(folder / "affinity", volumes.affinities(labels), compress=None)
    volumes.write_precomputed(
        folder / "segmentation",
        labels.astype(np.uint64),
        layer_type="segmentation",
        encoding="compressed_segmentation",
    )
    return folder


def layers_in(folder: Path) -> list[Layer]:
    """What lies in a copy of the small volumes."""
    segmentation = f"file://{folder}/segmentation"
    return [
        Layer("affinity", "affinity", f"file://{folder}/affinity"),
        Layer("segmentation", "segmentation", segmentation, selected=(1, 2**40)),
    ]


@pytest.fixture
def layers(tmp_path: Path, small_volumes: Path) -> list[Layer]:
    """Two layers of this test alone."""
    shutil.copytree(small_volumes, tmp_path, dirs_exist_ok=True)
    return layers_in(tmp_path)


def app_of(shown: list[Shown], **options: object) -> Starlette:
    """The application, looking at the middle of the small volume."""

    def state(base_url: str) -> dict[str, object]:
        return make_state(shown, base_url, (27.5, 16.5, 332.5), volumes.VOXEL_NM)

    return make_app(shown, state, TOKEN, **options)  # type: ignore[arg-type]


HOSTS = ("127.0.0.1", "localhost", "[::1]")


@pytest.fixture
def client(layers: list[Layer], running: Running) -> Client:
    """The viewer of `layers`, for this test alone."""
    return running(app_of(resolve(layers)[0], hosts=HOSTS))


@pytest.fixture(scope="session")
def steady(small_volumes: Path) -> Iterator[Client]:
    """The viewer of `small_volumes`, for tests that change nothing in them."""
    shown, notes = resolve(layers_in(small_volumes))
    assert not notes
    with serving(app_of(shown, hosts=HOSTS)) as client:
        yield client

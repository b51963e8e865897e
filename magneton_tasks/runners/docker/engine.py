"""A thin client of the Docker engine; what it answers becomes an error of ours.

The docker package is imported inside the functions: only this runner needs it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from magneton_tasks.base.error_meanings import Kind, kind_of
from magneton_tasks.errors import ConfigError, TemporaryError

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
#: What an answer of the engine may take, in seconds.
_TIMEOUT_S = 60
#: What a container gets between SIGTERM and SIGKILL, in seconds; its entrypoint gives the worker 8.
STOP_S = 9


@dataclass(frozen=True, slots=True)
class End:
    """How a container ended."""

    exit_code: int
    oom_killed: bool


class Engine:
    """What is asked of an engine.

    Parameters
    ----------
    client
        A ``docker.APIClient``.
    address
        For messages.
    """

    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address = client, address

    @classmethod
    def connect(cls, address: str | None = None) -> Engine:
        """The engine at an address; None: ``$DOCKER_HOST``, else this machine's.

        Raises
        ------
        TemporaryError
            None answers there.
        ConfigError
            The docker package isn't installed.
        """
        address = address or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
        try:
            from docker.api import APIClient
        except ImportError:
            raise ConfigError(
                "the docker runner needs the docker package", "pip install 'magneton[docker]'"
            ) from None
        reach(address)
        with errors(address):
            return cls(APIClient(base_url=address, version="auto", timeout=_TIMEOUT_S), address)

    def memory_bytes(self) -> int:
        """Memory of the machine that the engine runs on."""
        with errors(self.address):
            return int(self.client.info()["MemTotal"])

    def image_digest(self, name: str) -> str:
        """What an image's name stands for now.

        Raises
        ------
        ConfigError
            There is no such image.
        """
        from docker.errors import ImageNotFound

        with errors(self.address):
            try:
                return str(self.client.inspect_image(name)["Id"])
            except ImageNotFound:
                raise ConfigError(
                    f"docker.image: the engine at {self.address} has no image {name}",
                    "build it with `make image`, fetch it with `docker pull`, or correct the name",
                ) from None

    def create(self, name: str, specification: Mapping[str, Any]) -> str:
        """Create a container; its id.

        Raises
        ------
        ConfigError
            The engine refuses: a mount that isn't there, a network that it doesn't know.
        """
        from docker.errors import APIError

        with errors(self.address):
            try:
                return str(self.client.create_container_from_config(specification, name)["Id"])
            except APIError as error:
                if error.status_code is not None and 400 <= error.status_code < 500:
                    raise ConfigError(
                        f"the engine refuses the container {name}: {error.explanation}",
                        "check paths, image and network in the volume's YAML file",
                    ) from None
                raise

    def run(self, container: str) -> Iterator[str]:
        """Start a container and yield the lines that it prints, until it ends."""
        with errors(self.address):
            stream = self.client.attach(container, stdout=True, stderr=True, stream=True)
            self.client.start(container)
            rest = b""
            for data in stream:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
            if rest:
                yield rest.decode(errors="replace")

    def end(self, container: str) -> End:
        """Wait for its end.

        Raises
        ------
        TemporaryError
            Somebody removed it.
        """
        with errors(self.address):
            code = int(self.client.wait(container)["StatusCode"])
            state = self.client.inspect_container(container)["State"]
            return End(code, bool(state["OOMKilled"]))

    def process_id(self, container: str) -> int:
        """Of its first process, on the engine's machine; 0 where it doesn't run."""
        try:
            with errors(self.address):
                return int(self.client.inspect_container(container)["State"]["Pid"])
        except TemporaryError:
            return 0

    def find(self, labels: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Containers, running or not, that bear all these labels."""
        wanted = [f"{name}={value}" for name, value in labels.items()]
        with errors(self.address):
            found: list[Mapping[str, Any]] = self.client.containers(
                all=True, filters={"label": wanted}
            )
        return found

    def stop(self, container: str, timeout_s: int = STOP_S) -> None:
        """Ask it to end, then make it; no error where it's gone."""
        from docker.errors import NotFound

        with errors(self.address), suppress(NotFound):
            self.client.stop(container, timeout=timeout_s)

    def remove(self, container: str) -> None:
        """Kill it where it runs, and remove it; no error where it's gone."""
        from docker.errors import APIError, NotFound

        with errors(self.address), suppress(NotFound):
            try:
                self.client.remove_container(container, force=True, v=True)
            except APIError as error:
                if error.status_code != 409:  # somebody else is removing it
                    raise


def reach(address: str) -> None:
    """Look whether anybody listens at an address; of sockets in the file system only.

    The docker package leaves a socket open where nobody does.

    Raises
    ------
    TemporaryError
        Nobody does.
    """
    path = address.removeprefix("unix://")
    if path == address:
        return
    with errors(address), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_TIMEOUT_S)
        probe.connect("/" + path.lstrip("/"))


@contextmanager
def errors(address: str) -> Iterator[None]:
    """What the engine's client raises, as an error of ours; but for missing rights it may pass."""
    from docker.errors import DockerException, NotFound
    from requests.exceptions import RequestException

    try:
        yield
    except NotFound as error:
        raise TemporaryError(
            f"a container was removed while it ran: {error.explanation}", "rerun"
        ) from error
    except (DockerException, RequestException, OSError) as error:
        of = ConfigError if kind_of(error) in (Kind.DENIED, Kind.SETTING) else TemporaryError
        raise of(
            f"the Docker engine at {address} doesn't answer: {error}",
            "start it (`systemctl start docker`), check docker.engine and $DOCKER_HOST, and that "
            "this user may use it (group docker; `magneton doctor CONFIG` looks); then rerun",
        ) from error


class Stopper:
    """Stops containers from another thread or a signal handler, also those that start meanwhile."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.RLock()  # a signal may meet its own thread inside
        self._running: set[str] = set()
        self.is_stopping = False

    @contextmanager
    def watching(self, container: str) -> Iterator[None]:
        """While it runs."""
        with self._lock:
            self._running.add(container)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(container)

    @property
    def running(self) -> list[str]:
        with self._lock:
            return sorted(self._running)

    def stop(self, timeout_s: int = STOP_S, wait_s: float | None = None) -> None:
        """Ask all that run to end, at once; wait for that, at most ``wait_s`` seconds."""
        self.is_stopping = True
        threads = [
            threading.Thread(target=self._stop, args=(c, timeout_s), daemon=True)
            for c in self.running
        ]
        for thread in threads:
            thread.start()
        deadline = None if wait_s is None else time.monotonic() + wait_s
        for thread in threads:
            thread.join(None if deadline is None else max(deadline - time.monotonic(), 0))

    def _stop(self, container: str, timeout_s: int) -> None:
        with suppress(TemporaryError):
            self._engine.stop(container, timeout_s)

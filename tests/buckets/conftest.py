"""Buckets of S3 (moto's server) and of Google (a server of our own), on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Protocol

import pytest

from tests.buckets.google_server import GoogleServer
from tests.helpers.calls import Caller

ACCOUNT = "123456789012"


class Store(Protocol):
    """A bucket of a test's own, looked at from the server's side; names are from its top."""

    @property
    def url(self) -> str: ...

    def put(self, name: str, data: bytes) -> None: ...

    def delete(self, name: str) -> None: ...

    def everything(self) -> dict[str, bytes]:
        """The content of each object."""

    def make_old(self, name: str, age_s: float) -> None: ...


@cache
def _s3_client() -> Any:
    """Made once, in the environment of `s3_store`, which is the same each time."""
    import boto3

    return boto3.client("s3")


@dataclass
class S3Store:
    bucket: str

    def __post_init__(self) -> None:
        self._client = _s3_client()
        self._client.create_bucket(Bucket=self.bucket)
        self.url = f"s3://{self.bucket}"

    def put(self, name: str, data: bytes) -> None:
        self._client.put_object(Bucket=self.bucket, Key=name, Body=data)

    def delete(self, name: str) -> None:
        self._client.delete_object(Bucket=self.bucket, Key=name)

    def _keys(self) -> Any:
        from moto.s3.models import s3_backends

        return s3_backends[ACCOUNT]["aws"].buckets[self.bucket].keys

    def everything(self) -> dict[str, bytes]:
        return {name: key.value for name, key in self._keys().items()}

    def make_old(self, name: str, age_s: float) -> None:
        then = datetime.now(UTC) - timedelta(seconds=age_s)
        self._keys()[name].last_modified = then.replace(tzinfo=None)


@dataclass
class GoogleStore:
    bucket: str
    server: GoogleServer

    def __post_init__(self) -> None:
        self.server.buckets[self.bucket] = {}
        self.url = f"gs://{self.bucket}"

    def put(self, name: str, data: bytes) -> None:
        self.server.put(self.bucket, name, data, {})

    def delete(self, name: str) -> None:
        del self.server.buckets[self.bucket][name]

    def everything(self) -> dict[str, bytes]:
        return {name: blob.data for name, blob in self.server.buckets[self.bucket].items()}

    def make_old(self, name: str, age_s: float) -> None:
        self.server.make_old(self.bucket, name, age_s)


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def google() -> Iterator[tuple[GoogleServer, str]]:
    server = GoogleServer()
    yield server, server.start()
    server.stop()


@pytest.fixture
def s3_store(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_address,
    }.items():
        monkeypatch.setenv(name, value)
    # Set first, so that it's gone again after the test: reading a bucket sets it.
    monkeypatch.setenv("AWS_SESSION_TOKEN", "")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    return S3Store(f"b{os.urandom(6).hex()}")


@pytest.fixture
def google_store(
    google: tuple[GoogleServer, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[GoogleStore]:
    server, address = google
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    yield GoogleStore(f"b{os.urandom(6).hex()}", server)
    server.is_read_only = False


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest) -> Store:
    name = {"s3": "s3_store", "gs": "google_store"}[request.param]
    found: Store = request.getfixturevalue(name)
    return found


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)

"""A lease in a bucket: that of `tests/base/test_lease.py`, made of conditional writes."""

from __future__ import annotations

import json
import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.base import lease as leases
from magneton_tasks.base import lease_buckets
from magneton_tasks.base.buckets import open_bucket
from magneton_tasks.base.lease import acquire
from magneton_tasks.errors import LeaseHeldError, MagnetonError
from tests.buckets.conftest import GoogleStore, S3Store, Store

#: Its children have imported the libraries of both stores already, each of which costs a second.
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(
    ["boto3", "botocore.client", "google.cloud.storage", "magneton_tasks.base.buckets_google",
     "magneton_tasks.base.buckets_s3", "magneton_tasks.base.lease"]
)  # fmt: skip


def place(store: Store) -> str:
    return f"{store.url}/seg"


def held_by(store: Store) -> str:
    run = json.loads(store.everything()["seg/lease"])["run"]
    assert isinstance(run, str)
    return run


def test_a_free_lease_is_taken_and_given_back(store: Store, tmp_path: Path) -> None:
    with acquire([tmp_path, place(store)], "run-a", process_bound=True):
        assert held_by(store) == "run-a" and (tmp_path / "lease").exists()
    assert store.everything() == {} and os.listdir(tmp_path) == []


def test_a_held_lease_is_refused_and_the_holder_named(store: Store, tmp_path: Path) -> None:
    with acquire([place(store)], "run-a", process_bound=False):
        with pytest.raises(LeaseHeldError) as caught:
            acquire([tmp_path, place(store)], "run-b", process_bound=False)
        message = str(caught.value)
        assert caught.value.exit_code == 75
        for part in ("run-a", str(os.getpid()), place(store), "last sign of life", "what to do"):
            assert part in message
        assert held_by(store) == "run-a"
        assert os.listdir(tmp_path) == [], "all or none"
    assert store.everything() == {}


def test_processes_of_one_run_share_it(store: Store) -> None:
    first = acquire([place(store)], "run-a", process_bound=False)
    created = json.loads(store.everything()["seg/lease"])["created"]
    second = acquire([place(store)], "run-a", process_bound=False)
    for lease in (first, second):
        store.make_old("seg/lease", 100)
        lease.heartbeat()
    assert json.loads(store.everything()["seg/lease"])["created"] == created
    second.release()
    with pytest.raises(LeaseHeldError, match="it is gone"):
        first.heartbeat()


def test_a_fresh_lease_isnt_written_again(store: Store) -> None:
    """Hundreds of processes beat; Google takes one write a second of an object."""
    lease = acquire([place(store)], "run-a", process_bound=False)
    before = store.everything()
    lease.heartbeat()
    assert store.everything() == before
    store.make_old("seg/lease", 30)
    lease.heartbeat()
    assert store.everything() != before


@pytest.mark.parametrize("process_bound", [False, True])
def test_a_stale_lease_is_broken_and_its_old_holder_learns_it(
    store: Store, process_bound: bool
) -> None:
    old = acquire([place(store)], "run-a", process_bound=process_bound)
    store.make_old("seg/lease", 590)
    with pytest.raises(LeaseHeldError):
        acquire([place(store)], "run-b", process_bound=False)
    store.make_old("seg/lease", 602)
    new = acquire([place(store)], "run-b", process_bound=False)
    with pytest.raises(LeaseHeldError, match="was lost: run 'run-b'"):
        old.heartbeat()
    old.release()  # what is another's stays
    assert held_by(store) == "run-b"
    new.release()
    assert store.everything() == {}


def test_a_heartbeat_keeps_it_alive(store: Store) -> None:
    old = acquire([place(store)], "run-a", process_bound=False)
    store.make_old("seg/lease", 10_000)
    old.heartbeat()
    with pytest.raises(LeaseHeldError):
        acquire([place(store)], "run-b", process_bound=False)


def test_an_old_lease_of_ours_is_given_back(store: Store) -> None:
    lease = acquire([place(store)], "run-a", process_bound=False)
    store.make_old("seg/lease", 10_000)
    lease.release()
    assert store.everything() == {}


def _take_and_die(url: str, process_bound: bool, environ: dict[str, str]) -> None:
    os.environ.update(environ)  # the server of these processes is older than the bucket
    acquire([url], "run-a", process_bound=process_bound)
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("process_bound", [True, False])
def test_the_lease_of_a_killed_process(store: Store, process_bound: bool) -> None:
    process = FRESH.Process(
        target=_take_and_die, args=(place(store), process_bound, dict(os.environ))
    )
    process.start()
    process.join()
    assert held_by(store) == "run-a", "nothing gives it back"
    if process_bound:
        acquire([place(store)], "run-b", process_bound=True)
    else:  # a DAG's run goes on in other processes: until it is stale
        with pytest.raises(LeaseHeldError):
            acquire([place(store)], "run-b", process_bound=True)
        store.make_old("seg/lease", 700)
        acquire([place(store)], "run-b", process_bound=True)
    assert held_by(store) == "run-b"


@pytest.mark.parametrize("content", [b"", b"{", b'{"run": "run-b"}'])
def test_a_damaged_lease_is_somebodys_until_it_is_stale(store: Store, content: bytes) -> None:
    store.put("seg/lease", content)
    with pytest.raises(LeaseHeldError, match=r"run '\?'"):
        acquire([place(store)], "run-b", process_bound=True)
    store.make_old("seg/lease", 700)
    acquire([place(store)], "run-b", process_bound=True)
    assert held_by(store) == "run-b"


def _race(url: str, run: str, environ: dict[str, str], rounds: Connection) -> None:
    """Say that it's ready, then for each round whether this process got the lease."""
    os.environ.update(environ)
    open_bucket(url)
    rounds.send("ready")
    while (number := rounds.recv()) is not None:
        try:
            acquire([f"{url}{number}"], run, process_bound=False)
            rounds.send("won")
        except LeaseHeldError:
            rounds.send("lost")


@pytest.mark.parametrize("stale", [False, True])
def test_of_racing_processes_exactly_one_wins(google_store: GoogleStore, stale: bool) -> None:
    """On the store whose server compares and writes in one step; moto's doesn't."""
    rounds, racers = 10, 3
    url = place(google_store)
    for number in range(rounds if stale else 0):
        acquire([f"{url}{number}"], "dead", process_bound=False)
        google_store.make_old(f"seg{number}/lease", 10_000)
    ends, processes = [], []
    for k in range(racers):
        here, there = FRESH.Pipe()
        given = (url, f"run-{k}", dict(os.environ), there)
        processes.append(FRESH.Process(target=_race, args=given))
        processes[-1].start()
        there.close()
        ends.append(here)
    try:
        assert [end.recv() for end in ends] == ["ready"] * racers
        for number in range(rounds):
            for end in ends:
                end.send(number)
            results = [end.recv() for end in ends]
            content = google_store.everything()[f"seg{number}/lease"]
            winner = int(json.loads(content)["run"].removeprefix("run-"))
            assert results == ["won" if k == winner else "lost" for k in range(racers)]
    finally:
        for end, process in zip(ends, processes, strict=True):
            end.send(None)
            process.join()


def test_a_heart_beats_in_the_background_and_survives_a_hiccup(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = acquire([place(store)], "run-a", process_bound=False)
    real, calls = leases.Lease.heartbeat, []

    def beat(self: leases.Lease) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise MagnetonError("the connection failed")
        real(self)

    monkeypatch.setattr(leases.Lease, "heartbeat", beat)
    with lease.kept(every_s=0.01) as heart:
        while len(calls) < 3:
            heart._thread.join(0.01)
        heart.check()
        store.delete("seg/lease")
        heart._thread.join(timeout=300)
        with pytest.raises(LeaseHeldError, match="lost"):
            heart.check()


def test_a_lease_that_another_run_takes_at_the_last_moment_is_respected(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: Any = type(open_bucket(place(store)))
    real = kind.create

    def late(self: Any, name: str, data: bytes) -> bool:
        other = json.loads(data) | {"run": "run-a"}
        store.put("seg/lease", json.dumps(other).encode())
        return bool(real(self, name, data))

    monkeypatch.setattr(kind, "create", late)
    with pytest.raises(LeaseHeldError, match="run-a"):
        acquire([place(store)], "run-b", process_bound=False)
    assert held_by(store) == "run-a"


# ------------------------------------------------------------------ stores without conditions
def _without_conditions(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Let S3 be a server that ignores conditions, or that says that it knows none."""
    from botocore.awsrequest import AWSResponse

    def open_(url: str) -> Any:
        bucket: Any = open_bucket(url)

        def change(request: Any, **_: object) -> Any:
            names = [n for n in ("If-None-Match", "If-Match") if n in request.headers]
            if answer == "refuses" and names:
                return AWSResponse(request.url, 501, {}, _Raw())
            for name in names:
                del request.headers[name]
            return None

        bucket._client.meta.events.register("before-send.s3", change)
        return bucket

    monkeypatch.setattr(lease_buckets, "open_bucket", open_)


class _Raw:
    """The body of an S3 error."""

    def stream(self, *_: object, **__: object) -> Any:
        yield b"<Error><Code>NotImplemented</Code><Message>unknown header</Message></Error>"


@pytest.mark.parametrize("answer", ["ignores", "refuses"])
def test_without_conditions_a_lease_must_stay_as_it_was_written(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    _without_conditions(monkeypatch, answer)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("magneton_tasks.base.lease_buckets.time.sleep", wait)
    with acquire([place(s3_store)], "run-a", process_bound=False) as lease:
        assert waits == [lease_buckets.SETTLE_S]
        with pytest.raises(LeaseHeldError):
            acquire([place(s3_store)], "run-b", process_bound=False)
        s3_store.make_old("seg/lease", 100)
        lease.heartbeat()
    assert s3_store.everything() == {}

    def overwritten(seconds: float) -> None:
        other = json.loads(s3_store.everything()["seg/lease"]) | {"run": "run-a"}
        s3_store.put("seg/lease", json.dumps(other).encode())

    monkeypatch.setattr("magneton_tasks.base.lease_buckets.time.sleep", overwritten)
    with pytest.raises(LeaseHeldError, match="run-a"):
        acquire([place(s3_store)], "run-b", process_bound=False)
    assert held_by(s3_store) == "run-a"

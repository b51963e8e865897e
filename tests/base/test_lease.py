from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from magneton_tasks.base import lease as leases
from magneton_tasks.base.lease import acquire
from magneton_tasks.errors import LeaseHeldError

ROOT = Path(__file__).parents[2]
FORK = multiprocessing.get_context("fork")


def make_old(path: Path, age_s: float) -> None:
    then = time.time() - age_s
    os.utime(path, (then, then))


def held_by(directory: Path) -> str:
    run = json.loads((directory / "lease").read_bytes())["run"]
    assert isinstance(run, str)
    return run


def test_a_free_lease_is_taken_and_given_back(tmp_path: Path) -> None:
    work, output = tmp_path / "work", tmp_path / "output"
    with acquire([work, output], "run-a", process_bound=True):
        assert held_by(work) == held_by(output) == "run-a"
    assert os.listdir(work) == os.listdir(output) == []


def test_a_held_lease_is_refused_and_the_holder_named(tmp_path: Path) -> None:
    with acquire([tmp_path], "run-a", process_bound=False):
        with pytest.raises(LeaseHeldError) as caught:
            acquire([tmp_path], "run-b", process_bound=False)
        message = str(caught.value)
        assert caught.value.exit_code == 75
        for part in ("run-a", str(os.getpid()), str(tmp_path), "last sign of life", "what to do"):
            assert part in message
        assert held_by(tmp_path) == "run-a"
    assert os.listdir(tmp_path) == []


def test_all_directories_or_none(tmp_path: Path) -> None:
    free, other = tmp_path / "a", tmp_path / "b"
    with acquire([other], "run-a", process_bound=False):
        with pytest.raises(LeaseHeldError):
            acquire([free, other], "run-b", process_bound=False)
        assert os.listdir(free) == []
        assert held_by(other) == "run-a"


def test_processes_of_one_run_share_it(tmp_path: Path) -> None:
    first = acquire([tmp_path], "run-a", process_bound=False)
    created = json.loads((tmp_path / "lease").read_bytes())["created"]
    second = acquire([tmp_path], "run-a", process_bound=False)
    first.heartbeat()
    second.heartbeat()
    assert json.loads((tmp_path / "lease").read_bytes())["created"] == created
    second.release()
    with pytest.raises(LeaseHeldError, match="it is gone"):
        first.heartbeat()


@pytest.mark.parametrize("process_bound", [False, True])
def test_a_stale_lease_is_broken_and_its_old_holder_learns_it(
    tmp_path: Path, process_bound: bool
) -> None:
    old = acquire([tmp_path], "run-a", process_bound=process_bound)
    make_old(tmp_path / "lease", 599)
    with pytest.raises(LeaseHeldError):
        acquire([tmp_path], "run-b", process_bound=False)
    make_old(tmp_path / "lease", 601)
    new = acquire([tmp_path], "run-b", process_bound=False)
    with pytest.raises(LeaseHeldError, match="was lost: run 'run-b'"):
        old.heartbeat()
    old.release()  # what is another's stays
    assert held_by(tmp_path) == "run-b"
    new.release()


def test_a_heartbeat_keeps_it_alive(tmp_path: Path) -> None:
    old = acquire([tmp_path], "run-a", process_bound=False)
    make_old(tmp_path / "lease", 10_000)
    old.heartbeat()
    with pytest.raises(LeaseHeldError):
        acquire([tmp_path], "run-b", process_bound=False)


def _take_and_die(directory: Path, process_bound: bool) -> None:
    acquire([directory], "run-a", process_bound=process_bound)
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("process_bound", [True, False])
def test_the_lease_of_a_killed_process_is_broken_at_once_if_it_was_bound_to_it(
    tmp_path: Path, process_bound: bool
) -> None:
    process = FORK.Process(target=_take_and_die, args=(tmp_path, process_bound))
    process.start()
    process.join()
    if process_bound:
        acquire([tmp_path], "run-b", process_bound=True)
        assert held_by(tmp_path) == "run-b"
    else:  # a DAG's run goes on in other processes
        with pytest.raises(LeaseHeldError):
            acquire([tmp_path], "run-b", process_bound=True)


def test_a_process_number_of_another_machine_proves_nothing(tmp_path: Path) -> None:
    process = FORK.Process(target=_take_and_die, args=(tmp_path, True))
    process.start()
    process.join()
    path = tmp_path / "lease"
    path.write_bytes(path.read_bytes().replace(b'"boot_id": "', b'"boot_id": "x'))
    with pytest.raises(LeaseHeldError):
        acquire([tmp_path], "run-b", process_bound=True)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run": "run-b"}'])
def test_a_damaged_lease_is_somebodys_until_it_is_stale(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lease").write_bytes(content)
    with pytest.raises(LeaseHeldError, match=r"run '\?'"):
        acquire([tmp_path], "run-b", process_bound=True)
    make_old(tmp_path / "lease", 700)
    acquire([tmp_path], "run-b", process_bound=True)
    assert held_by(tmp_path) == "run-b"


_RACER = """
import os, sys, time
from pathlib import Path
from magneton_tasks.errors import LeaseHeldError
from magneton_tasks.base.lease import acquire
directory, run = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
for round_ in sys.stdin:
    try:
        acquire([directory / round_.strip()], run, process_bound=False)
        print("won", flush=True)
    except LeaseHeldError:
        print("lost", flush=True)
"""


@pytest.mark.parametrize("stale", [False, True])
def test_of_racing_processes_exactly_one_wins(tmp_path: Path, stale: bool) -> None:
    rounds, racers = 40, 4
    for number in range(rounds):
        (tmp_path / str(number)).mkdir()
        if stale:
            acquire([tmp_path / str(number)], "dead", process_bound=False)
            make_old(tmp_path / str(number) / "lease", 10_000)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(tmp_path), f"run-{k}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for k in range(racers)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for number in range(rounds):
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{number}\n")
                process.stdin.flush()
            results = [process.stdout.readline().strip() for process in processes if process.stdout]
            winner = int(held_by(tmp_path / str(number)).removeprefix("run-"))
            assert results == ["won" if k == winner else "lost" for k in range(racers)]
            assert os.listdir(tmp_path / str(number)) == ["lease"]
    finally:
        for process in processes:
            process.communicate("")


def test_a_breaker_that_finds_another_at_work_gives_up_and_a_dead_one_is_cleared(
    tmp_path: Path,
) -> None:
    acquire([tmp_path], "run-a", process_bound=False)
    make_old(tmp_path / "lease", 700)
    breaking = tmp_path / "lease.breaking"
    breaking.write_bytes(b"")
    with pytest.raises(LeaseHeldError, match="taking over"):
        acquire([tmp_path], "run-b", process_bound=False)
    make_old(breaking, 100)
    with pytest.raises(LeaseHeldError, match="taking over"):
        acquire([tmp_path], "run-b", process_bound=False)
    acquire([tmp_path], "run-b", process_bound=False)
    assert os.listdir(tmp_path) == ["lease"]


def test_without_hard_links_creation_is_exclusive_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(old: Path, new: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with acquire([tmp_path], "run-a", process_bound=False) as lease:
        with pytest.raises(LeaseHeldError):
            acquire([tmp_path], "run-b", process_bound=False)
        lease.heartbeat()
    assert os.listdir(tmp_path) == []


def test_a_heart_beats_in_the_background_and_notices_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = threading.Semaphore(0)
    real = leases.Lease.heartbeat

    def counted(self: leases.Lease) -> None:
        try:
            real(self)
        finally:
            beats.release()

    monkeypatch.setattr(leases.Lease, "heartbeat", counted)
    lease = acquire([tmp_path], "run-a", process_bound=False)
    with lease.kept(every_s=0.01) as heart:
        make_old(tmp_path / "lease", 10_000)
        for _ in range(3):
            assert beats.acquire(timeout=300)
        assert time.time() - (tmp_path / "lease").stat().st_mtime < 5_000
        heart.check()
        (tmp_path / "lease").unlink()
        heart._thread.join(timeout=300)
        with pytest.raises(LeaseHeldError, match="lost"):
            heart.check()


def test_a_lease_that_another_run_takes_at_the_last_moment_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def late(old: Path, new: Path) -> None:
        monkeypatch.undo()
        acquire([tmp_path], "run-a", process_bound=False)
        real(old, new)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(LeaseHeldError, match="run-a"):
        acquire([tmp_path], "run-b", process_bound=False)
    assert held_by(tmp_path) == "run-a"


def test_a_beat_on_a_lease_that_is_broken_in_that_moment_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = acquire([tmp_path], "run-a", process_bound=False)
    real = os.pwrite

    def late(descriptor: int, data: bytes, offset: int) -> int:
        (tmp_path / "lease").unlink()
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", late)
    with pytest.raises(LeaseHeldError, match="lost"):
        lease.heartbeat()

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from magneton_tasks.base import files
from magneton_tasks.base.failures import FREE_SPACE, error_for, ours
from magneton_tasks.base.mounts import mount_at
from magneton_tasks.errors import CorruptFileError, NotVisibleError, OutputError
from tests.helpers.lagging import fake_clock, hide_new_files

ROOT = Path(__file__).parents[2]


# ---- write_atomic


@pytest.mark.parametrize(
    "data", [b"hello", bytearray(b"hello"), memoryview(b"hello"), [b"he", b"", b"llo"]]
)
def test_write_atomic_returns_size_and_checksum_of_what_is_on_disk(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "a" / "b" / "file"  # parents are made
    info = files.write_atomic(path, data)
    assert path.read_bytes() == b"hello"
    assert info == files.FileInfo(5, zlib.crc32(b"hello"))
    assert os.listdir(path.parent) == ["file"]


def test_write_atomic_takes_memory_of_any_item_size(tmp_path: Path) -> None:
    import array

    values = array.array("I", range(1000))
    info = files.write_atomic(tmp_path / "file", memoryview(values))
    assert info.size == 4 * 1000
    assert (tmp_path / "file").read_bytes() == values.tobytes()


def test_write_atomic_replaces_and_obeys_umask(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        files.write_atomic(path, b"old")
        files.write_atomic(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_write_atomic_keeps_the_old_file_when_the_source_of_bytes_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomic(path, b"old")

    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        files.write_atomic(path, pieces())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "the right to write"),
        (errno.EIO, "fix the file system"),
    ],
)
def test_a_full_or_failing_disk_is_an_output_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    def fail(descriptor: int, data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OutputError, match=advice) as caught:
        files.write_atomic(tmp_path / "block-7", b"x")
    monkeypatch.undo()
    assert caught.value.exit_code == 74
    assert "block-7" in str(caught.value)
    assert "finished work stays" in str(caught.value)
    assert os.listdir(tmp_path) == []


def _write_beyond_limit(path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    try:
        files.write_atomic(path, b"x" * (2 << 20))
    except OutputError:
        os._exit(74)
    os._exit(0)


def test_a_file_cut_short_by_the_system_is_never_seen(tmp_path: Path) -> None:
    # The limit makes write() stop in the middle, as a full disk does.
    process = multiprocessing.get_context("fork").Process(
        target=_write_beyond_limit, args=(tmp_path / "file",)
    )
    process.start()
    process.join()
    assert process.exitcode == 74
    assert os.listdir(tmp_path) == []


_ENDLESS = """
import sys, time
from pathlib import Path
from magneton_tasks.base import files
from magneton_tasks.base.failures import FREE_SPACE, error_for, ours
def pieces():
    for k in range(10**6):
        yield b"x" * 4096
        if k == 16:
            print("writing", flush=True)
        if k > 16:
            time.sleep(0.01)
files.write_atomic(Path(sys.argv[1]), pieces())
"""


def test_a_process_killed_while_writing_leaves_no_file_and_a_temporary_that_can_go(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, str(path)], stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.kill()
    assert not path.exists()
    (left,) = os.listdir(tmp_path)
    assert files.is_temporary(left)
    assert files.listdir(tmp_path) == []  # readers of the directory don't see it either

    (tmp_path / "someone-elses.tmp").write_bytes(b"")
    (tmp_path / ".hidden.tmp").write_bytes(b"")
    assert files.listdir(tmp_path) == [".hidden.tmp", "someone-elses.tmp"]  # not ours


def test_no_reader_sees_a_part_while_a_file_is_replaced_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    size = 1 << 18
    files.write_atomic(path, b"\0" * size)
    writer = multiprocessing.get_context("fork").Process(
        target=lambda: [files.write_atomic(path, bytes([k]) * size) for k in range(200)]
    )
    writer.start()
    seen = set()
    while writer.is_alive():
        data = path.read_bytes()
        assert len(data) == size
        assert data == data[:1] * size
        seen.add(data[0])
    writer.join()
    assert len(seen) > 1


def test_writing_where_it_is_not_allowed_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="can't write"):
        files.write_atomic(tmp_path / "file" / "below", b"x")


# ---- reading what a record names


def test_a_file_that_shows_up_late_is_read_once_it_is_there(tmp_path: Path) -> None:
    started = time.monotonic()
    with hide_new_files(60, under=tmp_path) as disk:
        info = files.write_atomic(tmp_path / "file", b"labels")
        assert files.stat_size(tmp_path / "file") is None
        assert files.listdir(tmp_path) == []
        with pytest.raises(FileNotFoundError):
            files.open_read(tmp_path / "file")
        assert files.read_recorded(tmp_path / "file", info.size, 120, info.crc32) == b"labels"
        assert disk.hidden_asks > 10
    assert time.monotonic() - started < 30  # the fixture's clock needs no waiting


def test_a_file_later_than_the_wait_is_a_temporary_failure_that_names_it(tmp_path: Path) -> None:
    with hide_new_files(60, under=tmp_path):
        files.write_atomic(tmp_path / "block-3", b"labels")
        with pytest.raises(NotVisibleError, match=r"block-3 .*within 30 s") as caught:
            files.read_recorded(tmp_path / "block-3", 6, wait_s=30)
    assert caught.value.exit_code == 75


def test_files_from_before_and_elsewhere_are_not_hidden_by_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "old").write_bytes(b"1")
    with hide_new_files(60, under=tmp_path / "in"):
        (tmp_path / "out").write_bytes(b"2")
        assert files.stat_size(tmp_path / "in" / "old") == 1
        assert files.stat_size(tmp_path / "out") == 1


def test_pauses_grow_and_end_with_the_wait(tmp_path: Path) -> None:
    with fake_clock() as clock, pytest.raises(NotVisibleError):
        files.await_file(tmp_path / "never", 1, wait_s=60)
    assert clock.slept[0] == 0.05
    assert clock.slept[-2] == 5.0
    assert sum(clock.slept) == pytest.approx(60)


@pytest.mark.parametrize("size", [3, 9])
def test_a_wrong_size_is_corrupt_at_once_on_a_local_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(files, "is_network_filesystem", lambda path: None)
    (tmp_path / "file").write_bytes(b"labels")
    with fake_clock() as clock, pytest.raises(CorruptFileError, match=f"6 bytes.*says {size}"):
        files.read_recorded(tmp_path / "file", size, wait_s=60)
    assert clock.slept == []


def test_a_wrong_size_is_looked_at_again_on_a_network_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"lab")
    monkeypatch.setattr(files, "is_network_filesystem", lambda path: "nfs4")
    with fake_clock() as clock:
        sleep = clock.sleep

        def grow(seconds: float) -> None:
            sleep(seconds)
            if len(clock.slept) == 4:
                path.write_bytes(b"labels")

        monkeypatch.setattr(files, "sleep", grow)
        assert files.read_recorded(path, 6, wait_s=60) == b"labels"
        with pytest.raises(CorruptFileError):
            files.await_file(path, 7, wait_s=60)


def test_a_wrong_checksum_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"labels")
    with pytest.raises(CorruptFileError, match="checksum"):
        files.read_recorded(tmp_path / "file", 6, wait_s=60, crc32=1)


def test_an_old_version_of_the_same_size_is_looked_at_again_on_a_network_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    monkeypatch.setattr(files, "is_network_filesystem", lambda path: "nfs4")
    with fake_clock():
        monkeypatch.setattr(files, "sleep", lambda seconds: path.write_bytes(b"behind"))
        data = files.read_recorded(path, 6, wait_s=60, crc32=zlib.crc32(b"behind"))
    assert data == b"behind"


def test_many_files_share_one_wait_and_each_failure_is_told(tmp_path: Path) -> None:
    paths = [tmp_path / f"f{k}" for k in range(5)]
    with hide_new_files(20, under=tmp_path) as disk:
        for path in paths[:3]:
            files.write_atomic(path, b"123")
        failed = files.await_files({path: 3 if path != paths[1] else 4 for path in paths}, 60)
        assert disk.hidden_asks
    assert failed == {paths[1]: 3, paths[3]: None, paths[4]: None}
    assert files.await_files({paths[0]: None}, 0) == {}


# ---- file systems


def test_the_longest_and_latest_mount_decides_what_is_a_network() -> None:
    mounts = "\n".join(
        [
            "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
            "30 22 0:50 / /home rw shared:9 - nfs4 server:/home rw,vers=4.2",
            "31 30 8:2 / /home/local rw - xfs /dev/sdb rw",
            "32 22 0:51 / /mnt/with\\040space rw - lustre mgs:/scratch rw",
            "33 22 0:52 / /fuse rw - fuse.sshfs host: rw",
            "34 22 0:53 / /late rw - nfs server:/x rw",
            "35 22 8:3 / /late rw - ext4 /dev/sdc rw",
        ]
    )
    expected = {
        "/": None,
        "/home": "nfs4",
        "/home/me": "nfs4",
        "/homes": None,
        "/home/local/x": None,
        "/mnt/with space/x": "lustre",
        "/fuse/x": "fuse.sshfs",
        "/late": None,
    }
    found = {path: mount_at(path, mounts) for path in expected}
    assert {path: m.kind if m.is_network else None for path, m in found.items()} == expected
    assert found["/home"].options == "rw,rw,vers=4.2"


def test_free_space_is_that_of_the_nearest_directory_that_exists(tmp_path: Path) -> None:
    assert files.free_bytes(tmp_path / "not" / "yet") > 0
    assert files.is_network_filesystem(tmp_path / "not" / "yet") == files.is_network_filesystem(
        tmp_path
    )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_alike_whoever_meets_it(tmp_path: Path, code: int) -> None:
    """A writer of ours, a library, and what nobody caught."""
    full = OSError(code, os.strerror(code), str(tmp_path))
    written, met, uncaught = files.writing_failed(tmp_path, full), error_for(full, "x"), ours(full)
    for error in (written, met, uncaught):
        assert isinstance(error, OutputError)
        assert error.hint == f"{FREE_SPACE}, then rerun; finished work stays"

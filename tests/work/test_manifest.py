from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from magneton_tasks.base import files
from magneton_tasks.errors import OutputError
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.record import Record, State
from tests.helpers.lagging import hide_new_files

ROOT = Path(__file__).parents[2]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest(tmp_path / "records")


def write(manifest: Manifest, *events: tuple[int, State, float]) -> None:
    with manifest.writer("run", "segment", 0) as writer:
        for key, state, time_s in events:
            writer.write(Record(key, state, time_s))


def summary(manifest: Manifest) -> dict[int, tuple[str, float | None, float]]:
    return {
        key: (known.state, known.valid.time if known.valid else None, known.last.time)
        for key, known in manifest.read().items()
    }


def test_a_record_comes_back_as_it_was_written(manifest: Manifest) -> None:
    record = Record(
        7,
        "done",
        1700000000.25,
        "scheduled__2025-01-01",
        2,
        3,
        "node-1",
        99,
        "abc",
        "def",
        1699999990.5,
        1.5,
        1.25,
        12345678,
        "sha256:1f",
        "12_3",
        {"n": 12, "files": {"labels": [100, 4000000000]}, "log": "a\nb ü"},
    )
    with manifest.writer("r", "segment", 3, 1) as writer:
        writer.write(record)
    found = manifest.read()[7]
    assert found.valid == record
    assert found.figures == (1699999990.5, 1.5, 1.25, 12345678)
    (name,) = os.listdir(manifest.directory)
    assert name.startswith("r-segment-3-1-")
    assert name.endswith(".jsonl")
    assert (manifest.directory / name).read_bytes().count(b"\n") == 1


def test_what_is_empty_is_not_written_and_unknown_fields_are_ignored(manifest: Manifest) -> None:
    line = Record(0, "started", 5.0).to_line()
    assert json.loads(line) == {"key": 0, "state": "started", "time": 5.0}
    manifest.directory.mkdir()
    (manifest.directory / "x.jsonl").write_text(
        '{"key":0,"state":"done","time":5.0,"of_a_later_version":[1]}\n'
    )
    assert manifest.read()[0].valid == Record(0, "done", 5.0)


def test_no_directory_is_an_empty_manifest(manifest: Manifest) -> None:
    assert manifest.read() == {}
    assert manifest.compact() == 0


def test_a_done_is_hidden_by_a_newer_invalid_only(manifest: Manifest) -> None:
    write(
        manifest,
        # a retry that was killed, and one that failed, hide nothing
        (0, "done", 1),
        (0, "started", 2),
        (0, "failed", 3),
        (1, "done", 1),
        (1, "invalid", 2),
        (2, "done", 1),
        (2, "invalid", 2),
        (2, "started", 3),
        (3, "done", 1),
        (3, "invalid", 2),
        (3, "started", 3),
        (3, "empty", 4),
        (4, "started", 1),
        (5, "started", 1),
        (5, "failed", 2),
    )
    assert summary(manifest) == {
        0: ("done", 1, 3),
        1: ("invalid", None, 2),
        2: ("started", None, 3),
        3: ("empty", 4, 4),
        4: ("started", None, 1),
        5: ("failed", None, 2),
    }


def test_of_events_of_one_time_the_more_final_counts(manifest: Manifest) -> None:
    write(manifest, (0, "done", 1), (0, "started", 1), (0, "failed", 1))
    assert manifest.read()[0].last.state == "done"


def test_the_newest_done_counts_whatever_the_order_of_the_files(manifest: Manifest) -> None:
    write(manifest, (0, "done", 5))
    write(manifest, (0, "done", 9))
    write(manifest, (0, "done", 7))
    assert summary(manifest) == {0: ("done", 9, 9)}


def test_added_records_supersede_those_of_a_machine_whose_clock_is_ahead(
    manifest: Manifest,
) -> None:
    ahead = time.time() + 3600
    write(manifest, (0, "done", ahead))
    with manifest.writer("run", "verify", 0) as writer:
        writer.add(0, "invalid", after=manifest.read()[0])
        assert not manifest.read()[0].is_valid
        started = writer.add(0, "started", after=manifest.read()[0])
        writer.add(0, "done", after=started, output="new")
    valid = manifest.read()[0].valid
    assert valid is not None
    assert valid.output == "new"
    assert (valid.run, valid.batch, valid.pid) == ("run", 0, os.getpid())


def test_only_the_asked_keys_are_kept(manifest: Manifest) -> None:
    write(manifest, *((key, "done", 1.0) for key in range(10)))
    assert set(manifest.read(range(3, 5))) == {3, 4}
    assert set(manifest.read({9, 11})) == {9}


# ---- damage


def test_a_torn_last_line_is_ignored(manifest: Manifest) -> None:
    write(manifest, (0, "done", 1), (1, "done", 1))
    (path,) = manifest.directory.iterdir()
    whole = path.read_bytes()
    for cut in range(1, len(whole) - whole.index(b"\n") - 1):
        path.write_bytes(whole[:-cut])
        reader = manifest.reader()
        assert set(reader.refresh()) == {0}
        assert reader.bad_lines == 0


@pytest.mark.parametrize(
    "bad", ["{", "[]", '{"key":1}', "\udcff", '{"key":1,"state":"?","time":1}']
)
def test_a_damaged_line_in_the_middle_is_skipped_and_counted(manifest: Manifest, bad: str) -> None:
    write(manifest, (0, "done", 1), (1, "done", 1))
    (path,) = manifest.directory.iterdir()
    first, second = path.read_text().splitlines()
    path.write_bytes(f"{first}\n{bad}\n{second}\n".encode(errors="surrogateescape"))
    reader = manifest.reader()
    assert set(reader.refresh()) == {0, 1}
    assert reader.bad_lines == 1


def test_bytes_that_are_still_on_their_way_are_read_later(manifest: Manifest) -> None:
    # On NFS a later page may arrive before an earlier one: zeros stand for what is missing.
    write(manifest, (0, "done", 1), (1, "done", 1), (2, "done", 1))
    (path,) = manifest.directory.iterdir()
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[:first] + b"\0" * first + whole[2 * first :])
    reader = manifest.reader()
    assert set(reader.refresh()) == {0}
    path.write_bytes(whole)
    assert set(reader.refresh()) == {0, 1, 2}
    assert reader.bad_lines == 0


def test_after_a_short_write_the_next_record_goes_to_a_new_file(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with manifest.writer("run", "segment", 0) as writer:
        writer.add(0, "done")
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:20]))
        with pytest.raises(OutputError, match="free space"):
            writer.add(1, "done")
        monkeypatch.undo()
        writer.add(2, "done")
    reader = manifest.reader()
    assert set(reader.refresh()) == {0, 2}
    assert reader.bad_lines == 0


_KILLED = """
import sys
from pathlib import Path
from magneton_tasks.work.manifest import Manifest
writer = Manifest(Path(sys.argv[1])).writer("run", "segment", 0)
for key in range(10**9):
    writer.add(key, "done", info={"n_labels": key})
    print(key, flush=True)
"""


def test_every_record_that_was_reported_survives_kill_9(manifest: Manifest) -> None:
    command = [sys.executable, "-c", _KILLED, str(manifest.directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        for _ in range(50):
            process.stdout.readline()
        process.kill()
        reported = 50 + len(process.stdout.read().split())
    states = manifest.read()
    assert set(states) >= set(range(reported))
    assert all(known.is_valid for known in states.values())


# ---- several processes


def test_a_forked_child_writes_to_a_file_of_its_own(manifest: Manifest) -> None:
    with manifest.writer("run", "segment", 0) as writer:
        writer.add(0, "done")
        child = os.fork()
        if child == 0:
            writer.add(1, "done")
            os._exit(0)
        os.waitpid(child, 0)
        writer.add(2, "done")
    lines = sorted(path.read_text().count("\n") for path in manifest.directory.iterdir())
    assert lines == [1, 2]
    assert {key: known.last.pid for key, known in manifest.read().items()} == {
        0: os.getpid(),
        1: child,
        2: os.getpid(),
    }


# ---- reading on


def test_refresh_reads_only_what_is_new(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with manifest.writer("run", "segment", 0) as writer:
        writer.add(0, "started")
        reader = manifest.reader()
        assert reader.refresh()[0].state == "started"
        writer.add(0, "done")
        writer.add(1, "started")
        parsed: list[str] = []
        real = reader._parse

        def parse(text: str) -> None:
            parsed.append(text)
            real(text)

        monkeypatch.setattr(reader, "_parse", parse)
        assert {key: known.state for key, known in reader.refresh().items()} == {
            0: "done",
            1: "started",
        }
        assert "".join(parsed).count("\n") + len(parsed) == 2
        parsed.clear()
        reader.refresh()
        assert parsed == []


def test_lines_longer_than_what_is_read_at_once(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("magneton_tasks.work.manifest._READ_BYTES", 7)
    write(manifest, *((key, "done", float(key)) for key in range(20)))
    assert set(manifest.read()) == set(range(20))


def test_records_that_show_up_a_minute_late_are_waited_for(manifest: Manifest) -> None:
    manifest.directory.mkdir()
    with hide_new_files(60, under=manifest.directory):
        write(manifest, (0, "done", 1), (1, "empty", 1), (2, "started", 1))
        assert manifest.read() == {}
        assert manifest.wait_for({0, 1}, wait_s=120) == set()
    assert manifest.wait_for({0, 1, 2, 3}, wait_s=0) == {2, 3}


def test_records_later_than_the_wait_are_missing(manifest: Manifest) -> None:
    manifest.directory.mkdir()
    with hide_new_files(60, under=manifest.directory):
        write(manifest, (0, "done", 1))
        assert manifest.wait_for({0}, wait_s=30) == {0}


# ---- compaction


def many_files(manifest: Manifest) -> None:
    for k in range(10):
        write(
            manifest,
            (k, "started", 1),
            (k, "done", 2),
            (100, "done", k),
            (100, "started", k + 0.5),
            (101, "done", k),
            (101, "invalid", k + 0.1),
            (101, "started", k + 0.2),
        )


def test_compaction_changes_nothing_but_the_number_of_files(manifest: Manifest) -> None:
    many_files(manifest)
    before = summary(manifest)
    assert manifest.compact(min_files=10, quiet_s=0) == 0  # not more than allowed
    assert manifest.compact(min_files=9, quiet_s=3600) == 0  # somebody may still write to them
    assert manifest.compact(min_files=9, quiet_s=0) == 10
    assert os.listdir(manifest.directory) == ["compact-1.jsonl"]
    assert summary(manifest) == before
    many_files(manifest)
    assert manifest.compact(min_files=1, quiet_s=0) == 11
    assert os.listdir(manifest.directory) == ["compact-2.jsonl"]
    assert summary(manifest) == before


def test_a_compaction_killed_at_any_file_loses_nothing(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_files(manifest)
    before = summary(manifest)
    real = Path.unlink
    for survivors in range(9, 0, -1):
        removed: list[Path] = []

        def unlink(path: Path, missing_ok: bool = False, removed: list[Path] = removed) -> None:
            if removed:
                raise KeyboardInterrupt
            removed.append(path)
            real(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            manifest.compact(min_files=0, quiet_s=0)
        monkeypatch.undo()
        assert summary(manifest) == before
        assert len(os.listdir(manifest.directory)) >= survivors


def test_a_writer_that_was_silent_during_a_compaction_goes_on_in_a_new_file(
    manifest: Manifest,
) -> None:
    with manifest.writer("run", "segment", 0) as writer:
        writer.add(0, "done")
        manifest.compact(min_files=0, quiet_s=0)
        writer.add(1, "done")
    assert set(manifest.read()) == {0, 1}


def test_a_reader_lives_through_a_compaction(manifest: Manifest) -> None:
    many_files(manifest)
    reader = manifest.reader()
    before = {key: known.last for key, known in reader.refresh().items()}
    manifest.compact(min_files=0, quiet_s=0)
    write(manifest, (200, "done", 1))
    after = {key: known.last for key, known in reader.refresh().items()}
    assert after == before | {200: Record(200, "done", 1)}


def test_a_full_disk_while_writing_a_record_is_an_output_error(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise files.writing_failed(path, OSError(28, os.strerror(28)))

    monkeypatch.setattr(files, "make_directory", fail)
    with pytest.raises(OutputError, match="records"), manifest.writer("r", "s", 0) as writer:
        writer.add(0, "done")

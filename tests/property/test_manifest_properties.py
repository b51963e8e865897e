from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.record import Record
from tests.helpers.examples import examples

#: Each example writes files.
with_files = examples(30, 600)

events = st.builds(
    Record,
    key=st.integers(0, 3),
    state=st.sampled_from(["started", "failed", "empty", "done", "invalid"]),
    time=st.integers(0, 20).map(float),
    input=st.none() | st.text(max_size=5),
    info=st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5), max_size=2),
)


@contextmanager
def manifest_of(parts: list[list[Record]]) -> Iterator[Manifest]:
    root = Path(tempfile.mkdtemp())
    try:
        manifest = Manifest(root / "records")
        for part in parts:
            with manifest.writer("run", "segment", 0) as writer:
                for record in part:
                    writer.write(record)
        yield manifest
    finally:
        shutil.rmtree(root)


def told(states: dict[int, KeyState]) -> dict[int, tuple[str, float, bool]]:
    return {key: (known.state, known.time, known.is_valid) for key, known in states.items()}


def model(records: list[Record]) -> dict[int, tuple[str, float, bool]]:
    """The contract, spelled out over a list."""
    rank = ["started", "failed", "empty", "done", "invalid"].index
    result: dict[int, tuple[str, float, bool]] = {}
    for key in {record.key for record in records}:
        own = sorted((r for r in records if r.key == key), key=lambda r: (r.time, rank(r.state)))
        settled = [r for r in own if r.state in ("done", "empty", "invalid")]
        valid = bool(settled) and settled[-1].state != "invalid"
        result[key] = ((settled if valid else own)[-1].state, own[-1].time, valid)
    return result


@with_files
@given(st.lists(st.lists(events, max_size=8), max_size=5))
def test_any_interleaving_is_read_as_the_contract_says_and_compaction_keeps_it(
    parts: list[list[Record]],
) -> None:
    expected = model([record for part in parts for record in part])
    with manifest_of(parts) as manifest:
        assert told(manifest.read()) == expected
        manifest.compact(min_files=0, quiet_s=0)
        assert told(manifest.read()) == expected


@with_files
@given(st.lists(st.lists(events, min_size=1, max_size=6), min_size=1, max_size=4), st.data())
def test_merging_any_of_the_files_and_keeping_any_of_the_merged_ones_loses_nothing(
    parts: list[list[Record]], data: st.DataObject
) -> None:
    # A compaction that is killed leaves its merged file and any of the old ones.
    expected = model([record for part in parts for record in part])
    with manifest_of(parts) as manifest:
        old = {path: path.read_bytes() for path in manifest.directory.iterdir()}
        manifest.compact(min_files=0, quiet_s=0)
        for path, content in old.items():
            if data.draw(st.booleans()):
                path.write_bytes(content)
        assert told(manifest.read()) == expected
        manifest.compact(min_files=0, quiet_s=0)
        assert told(manifest.read()) == expected


@given(events)
def test_a_line_holds_the_whole_record(record: Record) -> None:
    line = record.to_line()
    assert "\n" not in line
    assert line.isascii()
    again = Record.from_line(line)
    assert (again.input or None) == (record.input or None)
    assert (again.key, again.state, again.time, again.info) == (
        record.key,
        record.state,
        record.time,
        record.info,
    )


@with_files
@given(st.lists(events, max_size=6), st.integers(1, 400))
def test_cutting_a_file_anywhere_keeps_the_records_before_the_cut(
    records: list[Record], cut: int
) -> None:
    with manifest_of([records]) as manifest:
        for path in manifest.directory.glob("*"):
            content = path.read_bytes()[:-cut]
            path.write_bytes(content)
            kept = records[: content.count(b"\n")]
            assert told(manifest.read()) == model(kept)

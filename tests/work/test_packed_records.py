"""Records that are packed: what a manifest's valid records are, with a few of them parsed at once."""

from __future__ import annotations

import gc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.work import packed_records
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.packed_records import PackedReader, PackedRecords
from magneton_tasks.work.record import Info, Record, State
from tests.helpers.examples import examples

KEYS = range(1000)

states = st.sampled_from(["started", "failed", "empty", "done", "invalid"])
events = st.lists(
    st.tuples(st.integers(0, 9), states, st.integers(0, 5), st.integers(0, 1), st.integers(1, 2))
)


def written(directory: Path, found: list[tuple[int, State, int, int, int]]) -> None:
    """(key, state, time, file, attempt) of each event."""
    directory.mkdir(parents=True)
    for key, state, time, file, attempt in found:
        record = Record(key, state, float(time), "run", attempt, info=Info(n=key))
        with (directory / f"{file}.jsonl").open("a") as lines:
            lines.write(record.to_line() + "\n")


@pytest.mark.parametrize("own", [None, ("run", 2)])
@examples(40, 1000)
@given(events)
def test_they_are_the_valid_ones_of_the_manifest(
    own: tuple[str, int] | None, found: list[tuple[int, State, int, int, int]]
) -> None:
    with TemporaryDirectory() as directory:
        records = Path(directory) / "records"
        written(records, found)
        reader = PackedReader(records, range(8), own)
        reader.refresh()
        known = Manifest(records).read(range(8))
    valid = {key: record for key, state in known.items() if (record := state.valid) is not None}
    mine = {k: r for k, r in valid.items() if own is None or (r.run, r.attempt) == own}
    assert dict(reader.records()) == mine
    assert reader.missing(range(8)) == set(range(8)) - mine.keys()
    assert dict(PackedRecords.of(known)) == valid


def test_what_is_added_supersedes(tmp_path: Path) -> None:
    records = tmp_path / "records"
    written(records, [(key, "done", 1, 0, 1) for key in reversed(KEYS)])
    reader = PackedReader(records, set(KEYS))
    reader.refresh()
    with (records / "1.jsonl").open("w") as lines:
        lines.write(Record(500, "invalid", 2.0).to_line() + "\n")
        lines.write(Record(501, "done", 2.0, info=Info(n=-1)).to_line() + "\n")
    reader.refresh()
    found = reader.records()
    assert list(found) == [key for key in KEYS if key != 500]
    assert [r.info["n"] for r in found.values()] == [k if k != 501 else -1 for k in found]
    assert 500 not in found
    assert reader.missing(set(KEYS)) == {500}
    with pytest.raises(KeyError):
        found[500]


def test_few_of_many_are_held_parsed(tmp_path: Path) -> None:
    records = tmp_path / "records"
    written(records, [(key, "done", 1, 0, 1) for key in KEYS])
    reader = PackedReader(records, KEYS)
    reader.refresh()
    found = reader.records()
    before = sum(type(held) is Record for held in gc.get_objects())
    assert sum(record.info["n"] for record in found.values()) == sum(KEYS)
    held = sum(type(held) is Record for held in gc.get_objects()) - before
    assert 0 < held <= packed_records._PARSED < len(KEYS) / 4
    packed = sum(map(len, found._lines._pages))
    assert packed < sum(len(found._lines[key]) for key in KEYS) / 3

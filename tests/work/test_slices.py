"""Files of slices: what was sent to whom comes back, or an error says which file is damaged."""

from __future__ import annotations

import errno
import io
import os
import signal
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from magneton_tasks.base import files
from magneton_tasks.errors import CorruptFileError, NotVisibleError, OutputError
from magneton_tasks.kernels.exact.rounds.cut import Supervoxels
from magneton_tasks.kernels.exact.rounds.tables import (
    Crossings,
    HalfEdges,
    Int64,
    Names,
    Nodes,
    Parts,
    RegionContacts,
    empty,
    stack,
    take,
)
from magneton_tasks.work import slice_pages
from magneton_tasks.work.slice_pages import dtypes
from magneton_tasks.work.slice_writer import SliceWriter, new_path
from magneton_tasks.work.slices import opened, read_all
from tests.helpers.examples import examples
from tests.helpers.lagging import hide_new_files
from tests.helpers.volumes import in_fork, kill_at

SENT = (Nodes, HalfEdges)


def some(kind: type[Any], rows: int, seed: int = 0) -> Any:
    """Any values of the columns' dtypes."""
    rng = np.random.default_rng(seed)
    columns = []
    for dtype in dtypes(kind):
        info = None if dtype == np.bool_ else np.iinfo(dtype)
        columns.append(
            rng.random(rows) < 0.5
            if info is None
            else rng.integers(info.min, info.max, rows, dtype, endpoint=True)
        )
    return kind(*columns)


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    for column, wanted in zip(found, expected, strict=True):
        assert column.dtype == wanted.dtype
        assert column.flags.writeable  # numba compiles a kernel anew for arrays that aren't
        np.testing.assert_array_equal(column, wanted)


def sent(path: Path, rows: int = 5000) -> tuple[files.FileInfo, HalfEdges, Int64]:
    """A file of one source's half-edges to 0, 1 and 2: many, few, and many."""
    half = some(HalfEdges, rows)
    to = np.where(np.arange(rows) % 1000 == 7, 1, np.arange(rows) % 2 * 2)
    with SliceWriter(path, SENT) as writer:
        writer.add(3, half, to)
    return writer.info, half, to


def changed(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


# ------------------------------------------------------------------ what comes back
@pytest.mark.parametrize(
    "kind", [Nodes, HalfEdges, Names, RegionContacts, Parts, Crossings, Supervoxels]
)
def test_every_table_comes_back(tmp_path: Path, kind: type[Any]) -> None:
    with SliceWriter(tmp_path / "x", [kind]) as writer:
        assert writer.add(7, some(kind, 50)) == {0: 50}
    content = (tmp_path / "x").read_bytes()
    assert (writer.info.size, writer.info.crc32) == (len(content), zlib.crc32(content))
    with opened(tmp_path / "x", writer.info, 0) as file:
        assert_same(file.read(kind), some(kind, 50))


def test_a_reader_gets_its_destinations_rows_of_the_tables_asked_for(tmp_path: Path) -> None:
    nodes, half = some(Nodes, 10), some(HalfEdges, 20)
    with SliceWriter(tmp_path / "x", SENT) as writer:
        assert writer.add(3, nodes, np.arange(10) % 3) == {0: 4, 1: 3, 2: 3}
        assert writer.add(3, half, np.arange(20) % 2 * 5) == {0: 10, 5: 10}
        assert writer.add(8, nodes, 5) == {5: 10}
    with opened(tmp_path / "x", writer.info, 0) as file:
        assert_same(file.read(Nodes, to=[1]), take(nodes, np.arange(10) % 3 == 1))
        assert_same(file.read(HalfEdges, to=[1, 5]), take(half, slice(1, None, 2)))
        assert_same(file.read(Nodes, sources=[8]), nodes)
        assert_same(file.read(Nodes, sources=[3], to={5}), empty(Nodes))
        assert file.rows(Nodes) == {(3, 0): 4, (3, 1): 3, (3, 2): 3, (8, 5): 10}


@examples(25, 500)
@given(data=st.data())
def test_any_rows_of_any_sources_come_to_whom_they_were_sent(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """In order of destination, source and adding, whatever shares a page."""
    path = tmp_path_factory.mktemp("any") / "x"
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    tables: list[tuple[int, Nodes, Int64]] = []
    with SliceWriter(path, SENT) as writer:
        for _ in range(data.draw(st.integers(0, 4))):
            rows = data.draw(st.sampled_from([0, 1, 30, 1023, 1024, 1025, 70_000]))
            places = data.draw(st.sampled_from([1, 2, 40, 3000]))
            # most go to the same few
            to = np.floor(places * rng.random(rows) ** 4).astype(np.int64)
            source = data.draw(st.integers(0, 3))
            tables.append((source, some(Nodes, rows, seed=rows), to))
            counts = writer.add(*tables[-1])
            assert counts == dict(
                zip(*(u.tolist() for u in np.unique(to, return_counts=True)), strict=True)
            )
    every = sorted({int(t) for _, _, to in tables for t in to})
    wanted = data.draw(st.sets(st.sampled_from(every))) if every else {0}
    from_ = data.draw(st.sets(st.integers(0, 3)))
    expected = [
        take(table, to == place)
        for place in sorted(wanted)
        for source in sorted(from_)
        for number, table, to in tables
        if number == source
    ]
    with opened(path, writer.info, 0) as file:
        assert_same(file.read(Nodes, sources=from_, to=wanted), stack([empty(Nodes), *expected]))


def test_files_are_read_together(tmp_path: Path) -> None:
    paths = {}
    for source in (1, 2, 3):
        path = new_path(tmp_path / "0", "sent")
        with SliceWriter(path, SENT) as writer:
            writer.add(source, some(Nodes, 5, source), np.arange(5) % 2)
            writer.add(source + 10, some(Nodes, 5, source), 1)  # has another record by now
        paths[path] = writer.info
    assert len(set(paths)) == 3
    nodes, half = read_all(
        paths, SENT, 0, sources=lambda path: [1 + list(paths).index(path)], to=[1]
    )
    assert_same(nodes, stack([take(some(Nodes, 5, s), np.arange(5) % 2 == 1) for s in (1, 2, 3)]))
    assert_same(half, empty(HalfEdges))
    assert_same(read_all({}, [Nodes], 0)[0], empty(Nodes))


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    assert sent(tmp_path / "a")[0] == sent(tmp_path / "b")[0]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class OfFloats(NamedTuple):
    a: NDArray[np.int64]


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    nodes = some(Nodes, 3)
    with SliceWriter(tmp_path / "x", [Nodes, OfFloats]) as writer:
        with pytest.raises(ValueError, match="Nodes"):
            writer.add(0, nodes._replace(name=nodes.name[:2]))
        with pytest.raises(TypeError, match="OfFloats"):
            writer.add(0, OfFloats(np.zeros(3)))  # type: ignore[arg-type]


# ------------------------------------------------------------------ what reading costs
class Counted(io.BufferedReader):
    """A file that tells how many bytes were asked of it."""

    asked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        Counted.asked += len(data)
        return data


class CountingDisk(files.Disk):
    def open_read(self, path: Path) -> BinaryIO:
        return Counted(io.FileIO(path))


def test_a_slice_that_nobody_asks_for_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, half, to = sent(tmp_path / "x", 200_000)
    monkeypatch.setattr(files, "disk", CountingDisk())
    monkeypatch.setattr(Counted, "asked", 0)
    with opened(tmp_path / "x", info, 0) as file:
        assert_same(file.read(HalfEdges, to=[1]), take(half, to == 1))
    assert Counted.asked < info.size / 50


def test_a_hundred_thousand_small_slices_take_few_bytes(tmp_path: Path) -> None:
    """Not a page each, which costs 25 bytes a row more, and 25 times the time."""
    half, to = some(HalfEdges, 300_000), np.arange(300_000) % 100_000
    half = half._replace(**{name: np.sort(column) for name, column in half._asdict().items()})
    with SliceWriter(tmp_path / "x", SENT) as writer:
        writer.add(0, half, to)
    with opened(tmp_path / "x", writer.info, 0) as file:
        assert file._index.pages.kind.size < 400
        assert_same(file.read(HalfEdges, to=[99_999]), take(half, to == 99_999))
    index = slice_pages.encode_index(file._index, 0)
    assert len(index) / 100_000 < 4


# ------------------------------------------------------------------ writing that fails
def failing(path: Path) -> None:
    with SliceWriter(path, SENT) as writer:
        for source in range(30):
            writer.add(source, some(Nodes, 3000))
        assert files.listdir(path.parent) == []
        raise ZeroDivisionError


def test_nothing_is_seen_before_the_end_and_nothing_left_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        failing(tmp_path / "0" / "x")
    assert os.listdir(tmp_path / "0") == []


def test_a_failure_to_read_elsewhere_is_not_called_one_to_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), SliceWriter(tmp_path / "x", SENT):
        (tmp_path / "affinities").read_bytes()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_killed_while_writing_no_file_is_seen(tmp_path: Path, call: str) -> None:
    def killed() -> None:
        kill_at(2 if call == "write" else 1, call)
        with SliceWriter(tmp_path / "x", SENT) as writer:
            for source in range(60):
                writer.add(source, some(Nodes, 3000, source))

    assert in_fork(killed) == -signal.SIGKILL
    assert files.listdir(tmp_path) == []  # without temporaries
    assert len(os.listdir(tmp_path)) == 1
    with pytest.raises(NotVisibleError, match="x is recorded"), opened(tmp_path / "x", None, 0):
        pass
    sent(tmp_path / "x")  # the rerun's
    assert files.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("n", [1, 3], ids=["early", "late"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, code: int
) -> None:
    plain, calls = os.write, 0

    def full(descriptor: int, data: Any) -> int:
        nonlocal calls
        calls += 1
        if calls >= n:
            raise OSError(code, os.strerror(code))
        return plain(descriptor, data[: len(data) // 2])  # and half of it first

    monkeypatch.setattr(os, "write", full)
    writer = SliceWriter(tmp_path / "sent-1", SENT)
    with pytest.raises(OutputError, match="free space") as caught, writer:
        writer.add(0, some(Nodes, 100))
    monkeypatch.undo()
    assert caught.value.exit_code == 74
    assert "sent-1" in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_two_at_once_write_two_files(tmp_path: Path) -> None:
    first, second = (new_path(tmp_path, "sent") for _ in range(2))
    with SliceWriter(first, SENT) as a, SliceWriter(second, SENT) as b:
        a.add(0, some(Nodes, 5))
        b.add(0, some(Nodes, 5))
    assert a.info == b.info
    assert len(files.listdir(tmp_path)) == 2


# ------------------------------------------------------------------ damage
def read_of(path: Path, info: files.FileInfo | None, to: Collection[int]) -> HalfEdges:
    with opened(path, info, 0) as file:
        return file.read(HalfEdges, to=to)


def test_damage_of_a_slice_is_noticed_by_whoever_reads_it_alone(tmp_path: Path) -> None:
    info, half, to = sent(tmp_path / "x")
    with opened(tmp_path / "x", info, 0) as file:
        at = int(file._index.pages.offset[2]) + 100  # the last one's
    changed(tmp_path / "x", at)
    for place in (0, 1):
        assert_same(read_of(tmp_path / "x", info, [place]), take(half, to == place))
    with pytest.raises(CorruptFileError, match="x is damaged.*checksum") as caught:
        read_of(tmp_path / "x", info, [0, 2])
    assert "computed again" in str(caught.value)


def test_any_changed_byte_is_noticed(tmp_path: Path) -> None:
    info, half, to = sent(tmp_path / "x", 300)
    content = (tmp_path / "x").read_bytes()
    for at in range(0, len(content), 7):
        (tmp_path / "x").write_bytes(content)
        changed(tmp_path / "x", at)
        with pytest.raises(CorruptFileError, match="x is damaged"):
            read_of(tmp_path / "x", info, {0, 1, 2})
    (tmp_path / "x").write_bytes(content)
    assert_same(read_of(tmp_path / "x", info, {1}), take(half, to == 1))


@pytest.mark.parametrize(
    "cut", [lambda c: c[:-1], lambda c: c[:100], lambda _: b"", lambda c: c[1:]]
)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_cut_file_is_damaged_with_or_without_its_record(
    tmp_path: Path, cut: Callable[[bytes], bytes], is_recorded: bool
) -> None:
    info, _, _ = sent(tmp_path / "x")
    (tmp_path / "x").write_bytes(cut((tmp_path / "x").read_bytes()))
    with pytest.raises(CorruptFileError, match="x"):
        read_of(tmp_path / "x", info if is_recorded else None, [1])


def test_a_file_that_shows_up_a_minute_late_is_read(tmp_path: Path) -> None:
    with hide_new_files(60, tmp_path) as disk:
        info, half, to = sent(tmp_path / "x")
        found = read_all({tmp_path / "x": info}, [HalfEdges], 120, to=[1])[0]
        assert disk.hidden_asks
    assert_same(found, take(half, to == 1))

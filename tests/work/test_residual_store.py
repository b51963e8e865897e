"""What blocks and groups leave open comes back as it was, or an error says which file is damaged."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.base import files
from magneton_tasks.errors import CorruptFileError, MagnetonError, NotVisibleError, OutputError
from magneton_tasks.kernels.exact.faces import Face, Faces
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS
from magneton_tasks.kernels.exact.residual import (
    DTYPES,
    BasinPairs,
    Basins,
    Contacts,
    Edges,
    FaceBasins,
    Joins,
    Regions,
    Residual,
    concatenate,
    empty,
    empty_residual,
)
from magneton_tasks.work import parquet, residual_tables, tables
from magneton_tasks.work.residuals import ResidualStore
from tests.helpers.examples import examples
from tests.helpers.lagging import hide_new_files

TABLES = (Regions, Edges, Basins, BasinPairs, FaceBasins)
ALL_SIDES = [(axis, side) for axis in range(3) for side in range(2)]


def some_table(kind: type[Any], rows: int, rng: np.random.Generator) -> Any:
    """Any values; keys of any affinity and of any position below 2^54, or none."""
    columns = {}
    for name, dtype in zip(kind._fields, DTYPES[kind], strict=True):
        most = 2 ** min(8 * np.dtype(dtype).itemsize, 54)
        columns[name] = rng.integers(0, most, rows).astype(dtype)
        if name.endswith("key"):
            key = (rng.integers(1, 256, rows) << KEY_BITS) - columns[name]
            columns[name] = np.where(rng.random(rows) < 0.2, 0, key)
    return kind(**columns)


def some_residual(rows: int = 50, seed: int = 0) -> Residual:
    rng = np.random.default_rng(seed)
    return Residual(*(some_table(kind, rows + k, rng) for k, kind in enumerate(TABLES)))


def some_joins(rows: int = 30) -> Joins:
    joins: Joins = some_table(Joins, rows, np.random.default_rng(1))
    return joins


def some_faces(shape: tuple[int, int, int] = (5, 6, 7), seed: int = 0) -> Faces:
    rng = np.random.default_rng(seed)
    found = {}
    for axis, side in ALL_SIDES:
        plane = tuple(s for a, s in enumerate(shape) if a != axis)
        basins, picks = rng.integers(0, 2**32, plane, np.uint32), rng.random(plane) < 0.5
        affinity = None if side else rng.integers(0, 256, plane, np.uint8)
        found[axis, side] = Face(basins, picks, affinity)
    return found


def assert_same_table(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    for column, wanted in zip(found, expected, strict=True):
        assert column.dtype == wanted.dtype
        assert column.flags.writeable  # numba compiles a kernel anew for arrays that aren't
        np.testing.assert_array_equal(column, wanted)


def assert_same(found: Residual, expected: Residual) -> None:
    for field in fields(Residual):
        assert_same_table(getattr(found, field.name), getattr(expected, field.name))


def assert_same_faces(found: Faces, expected: Faces) -> None:
    assert list(found) == list(expected)
    for side, face in expected.items():
        assert found[side].basins.dtype == np.uint32
        assert found[side].picks.dtype == np.bool_
        assert all(plane.flags.writeable for plane in found[side] if plane is not None)
        np.testing.assert_array_equal(found[side].basins, face.basins)
        np.testing.assert_array_equal(found[side].picks, face.picks)
        assert (found[side].affinity is None) == (face.affinity is None)
        if face.affinity is not None:
            np.testing.assert_array_equal(found[side].affinity, face.affinity)


#: voxels of the labels of a block
SIZES = np.array([7, 1, 70000], np.uint32)


@pytest.fixture
def store(tmp_path: Path) -> ResidualStore:
    return ResidualStore(tmp_path, wait_s=0)


# ------------------------------------------------------------------ what comes back
def test_a_block_comes_back(store: ResidualStore) -> None:
    residual, faces = some_residual(), some_faces()
    info = store.write_block(7, residual, faces, SIZES)
    content = store.path(7).read_bytes()
    assert (info.size, info.crc32) == (len(content), zlib.crc32(content))
    assert_same(store.read_residual(7, info), residual)
    assert_same_faces(store.read_faces(7, info, ALL_SIDES), faces)
    np.testing.assert_array_equal(store.read_sizes(7, info), SIZES)


def test_a_group_comes_back(store: ResidualStore) -> None:
    residual, joins = some_residual(), some_joins()
    info = store.write_join(7, residual, joins)
    assert_same(store.read_residual(7, info), residual)
    assert_same_table(store.read_joins(7, info), joins)


def test_what_is_empty_comes_back_with_its_dtypes(store: ResidualStore) -> None:
    block = store.write_block(1, empty_residual(), {}, SIZES)
    assert_same(store.read_residual(1, block), empty_residual())
    assert store.read_faces(1, block, []) == {}
    group = store.write_join(2, empty_residual(), empty(Joins))
    assert_same(store.read_residual(2, group), empty_residual())
    assert_same_table(store.read_joins(2, group), empty(Joins))


def test_without_a_record_any_file_will_do(store: ResidualStore) -> None:
    store.write_block(7, some_residual(), some_faces(), SIZES)
    assert_same(store.read_residual(7), some_residual())
    assert_same_faces(store.read_faces(7, None, [(2, 0)]), {(2, 0): some_faces()[2, 0]})


def test_tables_of_several_row_groups(
    store: ResidualStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "sliced", partial(parquet.sliced, rows=7))
    info = store.write_join(0, some_residual(), some_joins())
    assert_same(store.read_residual(0, info), some_residual())
    assert_same_table(store.read_joins(0, info), some_joins())


@examples(15, 300)
@given(
    affinity=st.integers(1, 255), position=st.integers(0, 2**54 - 1), last=st.integers(0, 2**63 - 1)
)
def test_every_key_and_position_comes_back(
    tmp_path_factory: pytest.TempPathFactory, affinity: int, position: int, last: int
) -> None:
    rng = np.random.default_rng(0)
    edges = some_table(Edges, 2, rng)._replace(
        key=np.array([(affinity << KEY_BITS) - position, 0]), last=np.array([last, 0])
    )
    store = ResidualStore(tmp_path_factory.mktemp("keys"), wait_s=0)
    residual = replace(empty_residual(), edges=edges)
    assert_same(store.read_residual(0, store.write_join(0, residual, empty(Joins))), residual)


def test_a_key_beyond_uint8_is_refused(store: ResidualStore) -> None:
    pairs = BasinPairs(np.ones(1, np.uint32), np.ones(1, np.uint32), np.array([256 << KEY_BITS]))
    residual = replace(empty_residual(), pairs=pairs)
    with pytest.raises(ValueError, match="uint8"):
        store.write_join(0, residual, empty(Joins))


@pytest.mark.parametrize("sides", [[(1, 0)], [(2, 1), (0, 0)], []])
def test_only_the_sides_asked_for_are_decoded(
    store: ResidualStore, monkeypatch: pytest.MonkeyPatch, sides: list[tuple[int, int]]
) -> None:
    def read(table: Any, groups: Any) -> Any:
        decoded.extend(groups)
        return real(table, groups)

    decoded: list[int] = []
    real = parquet.read
    info = store.write_block(0, some_residual(), some_faces(), SIZES)
    monkeypatch.setattr(parquet, "read", read)
    found = store.read_faces(0, info, sides)
    assert_same_faces(found, {side: some_faces()[side] for side in sides})
    assert decoded == [2 * axis + side for axis, side in sides]


def test_sizes_are_read_without_the_rest_of_the_file(store: ResidualStore) -> None:
    info = store.write_block(0, some_residual(), some_faces(), SIZES)
    with zipfile.ZipFile(store.path(0)) as archive:
        edges = archive.getinfo("edges.parquet").header_offset
    content = bytearray(store.path(0).read_bytes())
    content[edges + 100] ^= 1
    store.path(0).write_bytes(content)
    np.testing.assert_array_equal(store.read_sizes(0, info), SIZES)
    with pytest.raises(CorruptFileError):
        store.read_residual(0, info)


def test_blocks_one_voxel_thick_and_with_some_neighbours(store: ResidualStore) -> None:
    faces = some_faces((1, 6, 1))
    faces = {side: faces[side] for side in [(0, 1), (2, 0)]}
    info = store.write_block(0, some_residual(), faces, SIZES)
    assert_same_faces(store.read_faces(0, info, [(0, 1), (2, 0)]), faces)


# ------------------------------------------------------------------ the files
def test_equal_content_gives_equal_bytes(store: ResidualStore) -> None:
    first = store.write_block(0, some_residual(), some_faces(), SIZES)
    second = store.write_block(1, some_residual(), some_faces(), SIZES)
    assert first == second
    assert store.path(0).read_bytes() == store.path(1).read_bytes()


def test_anyone_can_read_them(store: ResidualStore, tmp_path: Path) -> None:
    store.write_block(0, some_residual(), some_faces(), SIZES)
    with zipfile.ZipFile(store.path(0)) as archive:
        archive.extractall(tmp_path / "all")
    names = {path.stem for path in (tmp_path / "all").iterdir()}
    assert names == {f.name for f in fields(Residual)} | {"faces", "sizes"}
    table = pq.read_table(tmp_path / "all" / "edges.parquet")
    edges = some_residual().edges
    assert table.column("sum").to_pylist() == edges.sum.tolist()
    affinity = table.column("key_affinity").to_numpy().astype(np.int64)
    position = table.column("key_position").to_numpy()
    np.testing.assert_array_equal((affinity << KEY_BITS) - position, edges.key)


def test_no_directory_gets_more_than_two_thousand_files(store: ResidualStore) -> None:
    for number in (0, 1999, 2000, 4321):
        store.write_join(number, empty_residual(), empty(Joins))
    paths = [store.path(number) for number in (0, 1999, 2000, 4321)]
    assert [path.parent.name for path in paths] == ["0000", "0000", "0001", "0002"]
    assert all(path.is_file() for path in paths)


def test_a_child_forked_after_use_writes_and_reads(store: ResidualStore) -> None:
    store.read_residual(0, store.write_block(0, some_residual(), some_faces(), SIZES))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            info = store.write_block(1, some_residual(seed=1), some_faces(seed=1), SIZES)
            assert_same(store.read_residual(1, info), some_residual(seed=1))
            assert_same(store.read_residual(0), some_residual())
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert_same(store.read_residual(1), some_residual(seed=1))


# ------------------------------------------------------------------ what goes wrong
def test_a_missing_file_is_an_error_and_not_an_empty_block(store: ResidualStore) -> None:
    with pytest.raises(NotVisibleError, match="0.zip"):
        store.read_residual(0)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_file_that_shows_up_a_minute_late_is_read(tmp_path: Path, recorded: bool) -> None:
    store = ResidualStore(tmp_path, wait_s=120)
    with hide_new_files(60, tmp_path) as disk:
        info = store.write_block(0, some_residual(), some_faces(), SIZES)
        assert_same(store.read_residual(0, info if recorded else None), some_residual())
        assert disk.hidden_asks
    with hide_new_files(60, tmp_path):
        info = store.write_join(1, some_residual(), some_joins())
        assert_same_table(store.read_joins(1, info), some_joins())


@pytest.mark.parametrize("end", [0, 3, 100, -30, -1])
def test_a_truncated_file_is_corrupt_with_or_without_its_record(
    store: ResidualStore, end: int
) -> None:
    info = store.write_block(0, some_residual(), some_faces(), SIZES)
    content = store.path(0).read_bytes()
    store.path(0).write_bytes(content[:end])
    for record in (info, None):
        with pytest.raises(CorruptFileError, match="0.zip"):
            store.read_residual(0, record)
        with pytest.raises(CorruptFileError, match="0.zip"):
            store.read_faces(0, record, ALL_SIDES)
        with pytest.raises(CorruptFileError, match="0.zip"):
            store.read_sizes(0, record)


def damaged(path: Path, content: bytes, step: int) -> Iterator[int]:
    """Change one byte after the other: each of zip's directory's, of the rest each ``step``-th."""
    directory = content.index(b"PK\1\2")
    for at in [*range(0, directory, step), *range(directory, len(content), 2)]:
        changed = bytearray(content)
        changed[at] ^= 0xFF if at % 3 else 1 << at % 8
        path.write_bytes(changed)
        yield at


def test_a_changed_byte_is_noticed_wherever_it_is(store: ResidualStore) -> None:
    """Or doesn't matter, as the date of a member: what is read is right, or an error of ours."""
    joins = some_joins(3)
    info = store.write_join(0, some_residual(3), joins)
    content, noticed = store.path(0).read_bytes(), []
    for at in damaged(store.path(0), content, 53):
        with pytest.raises(CorruptFileError, match="checksum"):
            store.read_residual(0, info)
        try:
            assert_same_table(store.read_joins(0, info), joins)
            assert_same(store.read_residual(0), some_residual(3))
        except CorruptFileError:
            noticed.append(at)
    assert len(noticed) > 50


def test_a_changed_byte_of_faces_is_noticed(store: ResidualStore) -> None:
    faces = some_faces((2, 2, 2))
    info = store.write_block(0, empty_residual(), faces, SIZES)
    content, noticed = store.path(0).read_bytes(), []
    for at in damaged(store.path(0), content, 53):
        try:
            assert_same_faces(store.read_faces(0, info, ALL_SIDES), faces)
        except CorruptFileError:
            noticed.append(at)
    assert len(noticed) > 50


def test_an_older_file_of_the_same_size_is_not_taken(store: ResidualStore) -> None:
    info = store.write_join(0, some_residual(seed=1), some_joins())
    with pytest.raises(CorruptFileError, match="checksum"):
        store.read_residual(0, files.FileInfo(info.size, info.crc32 ^ 1))


def test_a_table_or_side_that_is_not_there_is_corrupt(store: ResidualStore) -> None:
    block = store.write_block(0, some_residual(), {(0, 1): some_faces()[0, 1]}, SIZES)
    with pytest.raises(CorruptFileError, match=r"\(0, 0\)"):
        store.read_faces(0, block, [(0, 0)])
    with pytest.raises(CorruptFileError, match="joins"):
        store.read_joins(0, block)
    alone = store.write_block(1, some_residual(), {}, SIZES)
    with pytest.raises(CorruptFileError, match="faces"):
        store.read_faces(1, alone, [(0, 0)])


def test_a_table_of_other_columns_is_corrupt(
    store: ResidualStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        residual_tables, "_encode_table", lambda _: parquet.encode([{"u": np.zeros(2)}])
    )
    store.write_join(0, some_residual(), some_joins())
    with pytest.raises(CorruptFileError, match="block_a"):
        store.read_joins(0)


def test_a_full_disk_is_an_output_error_and_the_old_file_stays(
    store: ResidualStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    store.write_block(0, some_residual(), some_faces(), SIZES)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="[Nn]o space"):
        store.write_block(0, some_residual(seed=1), some_faces(), SIZES)
    assert_same(store.read_residual(0), some_residual())


def test_a_failing_file_system_is_not_taken_for_damage(
    store: ResidualStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(files.Disk):
        def open_read(self, path: Path) -> Any:
            raise OSError(5, "Input/output error", str(path))

    info = store.write_join(0, some_residual(), some_joins())
    monkeypatch.setattr(files, "disk", Failing())
    for read in (store.read_residual, store.read_joins):
        with pytest.raises(OutputError, match="Input/output error") as caught:
            read(0, info)
        assert isinstance(caught.value, MagnetonError)


# ------------------------------------------------------------------ contacts, of count
def some_contacts(blocks: list[tuple[int, int, int]]) -> Contacts:
    """Of (block a, block b, rows)."""
    rows = sum(n for _, _, n in blocks)
    contacts: Contacts = some_table(Contacts, rows, np.random.default_rng(2))
    a, b = (np.repeat([block[k] for block in blocks], [n for *_, n in blocks]) for k in range(2))
    return contacts._replace(block_a=a.astype(np.uint32), block_b=b.astype(np.uint32))


def test_contacts_come_back_by_ranges_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_ROW_GROUP", 7)
    contacts = some_contacts([(0, 1, 7), (0, 4, 3), (1, 2, 20), (3, 4, 9)])
    path = tmp_path / "contacts.parquet"
    info = tables.write_contacts(path, contacts)
    for wanted in (None, [(0, 39)], [(7, 10)], [(0, 7), (30, 39)], []):
        parts = list(tables.iter_rows(path, info, wanted, "contacts", 0))
        pairs = [{*zip(part["block_a"], part["block_b"], strict=True)} for part in parts]
        assert sum(map(len, pairs)) == len(set().union(*pairs))  # no block pair is torn
        rows = [row for r in ([(0, 39)] if wanted is None else wanted) for row in range(*r)]
        expected: Any = Contacts._make(column[np.array(rows, int)] for column in contacts)
        found = concatenate([empty(Contacts), *(Contacts(**part) for part in parts)])
        assert_same_table(found, expected)


def test_no_contacts(tmp_path: Path) -> None:
    info = tables.write_contacts(tmp_path / "c", empty(Contacts))
    assert list(tables.iter_rows(tmp_path / "c", info, None, "contacts", 0)) == []

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
    Edges,
    Residual,
    empty,
    empty_residual,
)
from magneton_tasks.kernels.exact.rounds.blocks_table import Filling
from magneton_tasks.kernels.exact.rounds.tables import Nodes, names_of
from magneton_tasks.work import parquet, residual_tables
from magneton_tasks.work.residuals import ResidualStore
from tests.helpers.examples import examples
from tests.helpers.lagging import hide_new_files

TABLES = (Edges, Basins, BasinPairs)
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
    tables = (some_table(kind, rows + k, rng) for k, kind in enumerate(TABLES))
    return Residual(REGIONS.name.size, *tables)


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
    assert found.opens == REGIONS.name.size
    for field in fields(Residual):
        if field.name != "opens":
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


#: The open regions of block 7.
REGIONS = Nodes(
    names_of(7, np.arange(1, 4)),
    np.array([7, 1, 2**33]),
    names_of(7, np.array([2, 9, 1])),
    np.array([5, 0, 0xFFFFFFFF], np.uint32),
    np.full(3, 7, np.uint32),
)


@pytest.fixture
def store(tmp_path: Path) -> ResidualStore:
    return ResidualStore(tmp_path, wait_s=0)


# ------------------------------------------------------------------ what comes back
def test_a_block_comes_back(store: ResidualStore) -> None:
    residual, faces = some_residual(), some_faces()
    info = store.write(7, residual, REGIONS, faces)
    content = store.path(7).read_bytes()
    assert (info.size, info.crc32) == (len(content), zlib.crc32(content))
    assert_same(store.read(7, info)[1], residual)
    assert_same_faces(store.read_for_faces(7, info, ALL_SIDES)[2], faces)
    assert_same_table(store.read(7, info)[0], REGIONS)
    rows = residual.edges.u.size
    room = Filling(len(REGIONS.name), rows).edges(rows)
    opens, edges, regions_of_basins = store.read_open(7, info, lambda _: room)
    assert edges is room
    assert_same_table(opens, REGIONS)
    assert_same_table(edges, residual.edges)
    assert_same_table((regions_of_basins,), (residual.basins.region,))
    regions, parts, _ = store.read_for_faces(7, info, [])
    assert_same_table(regions, REGIONS)
    assert_same(parts, replace(residual, edges=empty(Edges)))


def test_what_is_empty_comes_back_with_its_dtypes(store: ResidualStore) -> None:
    block = store.write(1, empty_residual(), REGIONS, {})
    assert_same(store.read(1, block)[1], empty_residual())
    assert store.read_for_faces(1, block, [])[2] == {}
    group = store.write(2, empty_residual(), REGIONS, {})
    assert_same(store.read(2, group)[1], empty_residual())


def test_without_a_record_any_file_will_do(store: ResidualStore) -> None:
    store.write(7, some_residual(), REGIONS, some_faces())
    assert_same(store.read(7)[1], some_residual())
    assert_same_faces(store.read_for_faces(7, None, [(2, 0)])[2], {(2, 0): some_faces()[2, 0]})


def test_tables_of_several_row_groups(
    store: ResidualStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "sliced", partial(parquet.sliced, rows=7))
    info = store.write(0, some_residual(), REGIONS, {})
    assert_same(store.read(0, info)[1], some_residual())


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
    assert_same(store.read(0, store.write(0, residual, REGIONS, {}))[1], residual)


def test_a_key_beyond_uint8_is_refused(store: ResidualStore) -> None:
    pairs = BasinPairs(np.ones(1, np.uint32), np.ones(1, np.uint32), np.array([256 << KEY_BITS]))
    residual = replace(empty_residual(), pairs=pairs)
    with pytest.raises(ValueError, match="uint8"):
        store.write(0, residual, REGIONS, {})


@pytest.mark.parametrize("sides", [[(1, 0)], [(2, 1), (0, 0)], []])
def test_only_the_sides_asked_for_are_decoded(
    store: ResidualStore, monkeypatch: pytest.MonkeyPatch, sides: list[tuple[int, int]]
) -> None:
    def read(table: Any, groups: Any) -> Any:
        if "picks" in table.schema_arrow.names:
            decoded.extend(groups)
        return real(table, groups)

    decoded: list[int] = []
    real = parquet.read
    info = store.write(0, some_residual(), REGIONS, some_faces())
    monkeypatch.setattr(parquet, "read", read)
    found = store.read_for_faces(0, info, sides)[2]
    assert_same_faces(found, {side: some_faces()[side] for side in sides})
    assert decoded == [2 * axis + side for axis, side in sides]


def test_blocks_one_voxel_thick_and_with_some_neighbours(store: ResidualStore) -> None:
    faces = some_faces((1, 6, 1))
    faces = {side: faces[side] for side in [(0, 1), (2, 0)]}
    info = store.write(0, some_residual(), REGIONS, faces)
    assert_same_faces(store.read_for_faces(0, info, [(0, 1), (2, 0)])[2], faces)


# ------------------------------------------------------------------ the files
def test_equal_content_gives_equal_bytes(store: ResidualStore) -> None:
    first = store.write(0, some_residual(), REGIONS, some_faces())
    second = store.write(1, some_residual(), REGIONS, some_faces())
    assert first == second
    assert store.path(0).read_bytes() == store.path(1).read_bytes()


def test_anyone_can_read_them(store: ResidualStore, tmp_path: Path) -> None:
    store.write(0, some_residual(), REGIONS, some_faces())
    with zipfile.ZipFile(store.path(0)) as archive:
        archive.extractall(tmp_path / "all")
    names = {path.stem for path in (tmp_path / "all").iterdir()}
    assert names == {f.name for f in fields(Residual)} - {"opens"} | {"regions", "faces"}
    table = pq.read_table(tmp_path / "all" / "edges.parquet")
    edges = some_residual().edges
    assert table.column("sum").to_pylist() == edges.sum.tolist()
    affinity = table.column("key_affinity").to_numpy().astype(np.int64)
    position = table.column("key_position").to_numpy()
    np.testing.assert_array_equal((affinity << KEY_BITS) - position, edges.key)


def test_no_directory_gets_more_than_two_thousand_files(store: ResidualStore) -> None:
    for number in (0, 1999, 2000, 4321):
        store.write(number, empty_residual(), REGIONS, {})
    paths = [store.path(number) for number in (0, 1999, 2000, 4321)]
    assert [path.parent.name for path in paths] == ["0000", "0000", "0001", "0002"]
    assert all(path.is_file() for path in paths)


def test_a_child_forked_after_use_writes_and_reads(store: ResidualStore) -> None:
    store.read(0, store.write(0, some_residual(), REGIONS, some_faces()))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            info = store.write(1, some_residual(seed=1), REGIONS, some_faces(seed=1))
            assert_same(store.read(1, info)[1], some_residual(seed=1))
            assert_same(store.read(0)[1], some_residual())
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert_same(store.read(1)[1], some_residual(seed=1))


# ------------------------------------------------------------------ what goes wrong
def test_a_missing_file_is_an_error_and_not_an_empty_block(store: ResidualStore) -> None:
    with pytest.raises(NotVisibleError, match="0.zip"):
        store.read(0)[1]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_file_that_shows_up_a_minute_late_is_read(tmp_path: Path, recorded: bool) -> None:
    store = ResidualStore(tmp_path, wait_s=120)
    with hide_new_files(60, tmp_path) as disk:
        info = store.write(0, some_residual(), REGIONS, some_faces())
        assert_same(store.read(0, info if recorded else None)[1], some_residual())
        assert disk.hidden_asks


@pytest.mark.parametrize("end", [0, 3, 100, -30, -1])
def test_a_truncated_file_is_corrupt_with_or_without_its_record(
    store: ResidualStore, end: int
) -> None:
    info = store.write(0, some_residual(), REGIONS, some_faces())
    content = store.path(0).read_bytes()
    store.path(0).write_bytes(content[:end])
    for record in (info, None):
        with pytest.raises(CorruptFileError, match="0.zip"):
            store.read(0, record)[1]
        with pytest.raises(CorruptFileError, match="0.zip"):
            store.read_for_faces(0, record, ALL_SIDES)


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
    info = store.write(0, some_residual(3), REGIONS, {})
    content, noticed = store.path(0).read_bytes(), []
    for at in damaged(store.path(0), content, 53):
        with pytest.raises(CorruptFileError, match="checksum"):
            store.read(0, info)[1]
        try:
            assert_same(store.read(0)[1], some_residual(3))
        except CorruptFileError:
            noticed.append(at)
    assert len(noticed) > 50


def test_a_changed_byte_of_faces_is_noticed(store: ResidualStore) -> None:
    faces = some_faces((2, 2, 2))
    info = store.write(0, empty_residual(), REGIONS, faces)
    content, noticed = store.path(0).read_bytes(), []
    for at in damaged(store.path(0), content, 53):
        try:
            assert_same_faces(store.read_for_faces(0, info, ALL_SIDES)[2], faces)
        except CorruptFileError:
            noticed.append(at)
    assert len(noticed) > 50


def test_an_older_file_of_the_same_size_is_not_taken(store: ResidualStore) -> None:
    info = store.write(0, some_residual(seed=1), REGIONS, {})
    with pytest.raises(CorruptFileError, match="checksum"):
        store.read(0, files.FileInfo(info.size, info.crc32 ^ 1))


def test_a_table_or_side_that_is_not_there_is_corrupt(store: ResidualStore) -> None:
    block = store.write(0, some_residual(), REGIONS, {(0, 1): some_faces()[0, 1]})
    with pytest.raises(CorruptFileError, match=r"\(0, 0\)"):
        store.read_for_faces(0, block, [(0, 0)])
    alone = store.write(1, some_residual(), REGIONS, {})
    with pytest.raises(CorruptFileError, match="faces"):
        store.read_for_faces(1, alone, [(0, 0)])


def test_a_table_of_other_columns_is_corrupt(
    store: ResidualStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        residual_tables, "_encode_table", lambda _: parquet.encode([{"u": np.zeros(2)}])
    )
    store.write(0, some_residual(), REGIONS, {})
    with pytest.raises(CorruptFileError, match="'v'"):
        store.read(0)


def test_a_full_disk_is_an_output_error_and_the_old_file_stays(
    store: ResidualStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    store.write(0, some_residual(), REGIONS, some_faces())
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="[Nn]o space"):
        store.write(0, some_residual(seed=1), REGIONS, some_faces())
    assert_same(store.read(0)[1], some_residual())


def test_a_failing_file_system_is_not_taken_for_damage(
    store: ResidualStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(files.Disk):
        def open_read(self, path: Path) -> Any:
            raise OSError(5, "Input/output error", str(path))

    info = store.write(0, some_residual(), REGIONS, {})
    monkeypatch.setattr(files, "disk", Failing())
    for read in (store.read, partial(store.read_for_faces, sides=ALL_SIDES)):
        with pytest.raises(OutputError, match="Input/output error") as caught:
            read(0, info)
        assert isinstance(caught.value, MagnetonError)

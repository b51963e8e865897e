from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magneton_tasks.base import files
from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.errors import CorruptFileError, NotVisibleError, OutputError
from magneton_tasks.work.labels import LabelStore
from tests.helpers.lagging import hide_new_files

SHAPE: Vec3 = (40, 96, 70)
WHOLE = Box.of_shape(SHAPE)


def some_labels(shape: Vec3 = SHAPE, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 2**32, shape, np.uint32)


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    made = LabelStore(tmp_path, (2, 3, 4), SHAPE, wait_s=0)
    made.create()
    return made


@pytest.mark.parametrize(
    "box",
    [
        WHOLE,
        Box((0, 0, 0), (1, 1, 1)),
        Box((39, 95, 69), SHAPE),
        Box((8, 0, 0), (40, 96, 70)),  # a slab
        Box((3, 40, 30), (37, 60, 50)),  # over the borders of inner chunks
    ],
)
def test_what_was_written_is_read_back_wholly_or_in_parts(store: LabelStore, box: Box) -> None:
    labels = some_labels()
    info = store.write((1, 2, 3), labels)
    found = store.read((1, 2, 3), box, info)
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, labels[box.slices()])


@pytest.mark.parametrize("shape", [(1, 1, 1), (40, 96, 69), (17, 64, 70)])
def test_blocks_may_be_smaller_than_the_largest(store: LabelStore, shape: Vec3) -> None:
    labels = some_labels(shape)
    store.write((0, 0, 0), some_labels(seed=1))
    store.write((0, 0, 0), labels)  # again: nothing of the first stays
    np.testing.assert_array_equal(store.read((0, 0, 0), Box.of_shape(shape)), labels)
    assert store.read((0, 0, 0), WHOLE).sum(dtype=np.uint64) == labels.sum(dtype=np.uint64)


def test_neighbours_do_not_touch(store: LabelStore) -> None:
    blocks = {(z, y, x): some_labels(seed=z * 9 + y * 3 + x) for z, y, x in np.ndindex(2, 2, 2)}
    for index, labels in blocks.items():
        store.write(index, labels)
    for index, labels in blocks.items():
        np.testing.assert_array_equal(store.read(index, WHOLE), labels)


def test_the_info_is_that_of_the_one_file_of_the_block(store: LabelStore) -> None:
    info = store.write((0, 1, 2), some_labels())
    data = store.shard_path((0, 1, 2)).read_bytes()
    assert info == files.FileInfo(len(data), zlib.crc32(data))
    found = [path for path in store.path.rglob("*") if path.is_file()]
    assert sorted(found) == sorted([store.path / "zarr.json", store.shard_path((0, 1, 2))])


def test_zarr_itself_reads_the_array(store: LabelStore) -> None:
    labels = some_labels()
    store.write((1, 0, 2), labels)
    array = zarr.open_array(store.path, mode="r")
    assert array.shape == (80, 288, 280)
    assert array.metadata.zarr_format == 3
    np.testing.assert_array_equal(array[40:80, 0:96, 140:210], labels)


@pytest.mark.parametrize(
    "block",
    [SHAPE, (65, 130, 5), (200, 70, 140)],  # chunks: 1 x 2 x 2, 2 x 3 x 1, 4 x 2 x 3
)
def test_a_shard_is_byte_for_byte_what_zarr_writes(tmp_path: Path, block: Vec3) -> None:
    store = LabelStore(tmp_path / "ours", (1, 1, 1), block)
    store.create()
    labels = some_labels(block) % np.uint32(1000)
    store.write((0, 0, 0), labels)
    metadata = tmp_path / "theirs" / "zarr.json"
    metadata.parent.mkdir()
    metadata.write_bytes((store.path / "zarr.json").read_bytes())
    array = zarr.open_array(metadata.parent, mode="r+")
    assert isinstance(array, zarr.Array)
    array[tuple(slice(0, n) for n in block)] = labels
    theirs = metadata.parent / "c" / "0" / "0" / "0"
    assert store.shard_path((0, 0, 0)).read_bytes() == theirs.read_bytes()


def test_a_block_that_zarr_wrote_is_read(store: LabelStore) -> None:
    labels = some_labels() % np.uint32(7)
    array = zarr.open_array(store.path, mode="r+")
    assert isinstance(array, zarr.Array)
    array[40:80, 0:96, 140:210] = labels
    np.testing.assert_array_equal(store.read((1, 0, 2), WHOLE), labels)
    part = Box((3, 40, 30), (37, 60, 50))
    np.testing.assert_array_equal(store.read((1, 0, 2), part), labels[part.slices()])


def test_a_block_of_zeros_is_a_file_too(store: LabelStore) -> None:
    # zarr would leave it out; but a file that is missing must mean that something went wrong
    info = store.write((0, 0, 0), np.zeros(SHAPE, np.uint32))
    assert store.shard_path((0, 0, 0)).stat().st_size == info.size
    assert not store.read((0, 0, 0), WHOLE, info).any()


def test_creating_again_changes_nothing_and_another_shape_is_refused(
    store: LabelStore, tmp_path: Path
) -> None:
    before = (store.path / "zarr.json").read_bytes()
    store.write((0, 0, 0), some_labels())
    LabelStore(tmp_path, (2, 3, 4), SHAPE).create()
    assert (store.path / "zarr.json").read_bytes() == before
    store.read((0, 0, 0), WHOLE)
    with pytest.raises(CorruptFileError, match="this plan"):
        LabelStore(tmp_path, (2, 3, 5), SHAPE).create()


def test_a_child_forked_after_use_writes_and_reads(store: LabelStore) -> None:
    labels = some_labels()
    store.write((0, 0, 0), labels)
    store.read((0, 0, 0), WHOLE)
    for _ in range(2):
        child = os.fork()
        if child == 0:
            same = (store.read((0, 0, 0), WHOLE) == labels).all()
            store.write((0, 0, 1), labels + np.uint32(1))
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0
        np.testing.assert_array_equal(store.read((0, 0, 1), WHOLE), labels + np.uint32(1))


def test_wrong_arrays_and_boxes_are_refused(store: LabelStore) -> None:
    with pytest.raises(ValueError, match="int64"):
        store.write((0, 0, 0), np.zeros(SHAPE, np.int64))
    with pytest.raises(ValueError, match="41"):
        store.write((0, 0, 0), np.zeros((41, 96, 70), np.uint32))
    with pytest.raises(ValueError, match="outside"):
        store.read((0, 0, 0), Box((0, 0, 0), (41, 1, 1)))


# ---- trouble


def test_a_missing_block_is_an_error_and_not_zeros(store: LabelStore) -> None:
    with pytest.raises(NotVisibleError, match=r"labels.zarr/c/0/0/1"):
        store.read((0, 0, 1), WHOLE)


def test_a_block_that_shows_up_a_minute_late_is_read(tmp_path: Path) -> None:
    store = LabelStore(tmp_path, (1, 1, 1), SHAPE, wait_s=120)
    labels = some_labels()
    with hide_new_files(60, under=tmp_path) as disk:
        store.create()
        info = store.write((0, 0, 0), labels)
        sizes = store.write_sizes((0, 0, 0), np.arange(3), np.arange(3))
        assert disk.hidden_asks == 0
        np.testing.assert_array_equal(store.read((0, 0, 0), WHOLE, info), labels)
        assert disk.hidden_asks > 0
    with hide_new_files(60, under=tmp_path):
        store.write_sizes((0, 0, 0), np.arange(3), np.arange(3))
        np.testing.assert_array_equal(store.read_sizes((0, 0, 0), sizes)[0], [0, 1, 2])


def test_a_truncated_block_is_corrupt_with_or_without_its_recorded_size(store: LabelStore) -> None:
    info = store.write((1, 2, 3), some_labels())
    path = store.shard_path((1, 2, 3))
    data = path.read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptFileError, match=r"labels.zarr/c/1/2/3") as caught:
            store.read((1, 2, 3), WHOLE, info)
        assert caught.value.exit_code == 65
        for box in (WHOLE, Box((0, 0, 0), (3, 3, 3))):
            with pytest.raises(CorruptFileError, match=r"labels.zarr/c/1/2/3 is damaged"):
                store.read((1, 2, 3), box)


def test_a_changed_byte_is_noticed_wherever_it_is(store: LabelStore) -> None:
    info = store.write((0, 0, 0), some_labels())
    path = store.shard_path((0, 0, 0))
    data = path.read_bytes()
    for at in np.linspace(0, len(data) - 1, 23).astype(int):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(CorruptFileError, match="is damaged"):
            store.read((0, 0, 0), WHOLE, info)


def test_a_full_disk_is_an_output_error_and_the_old_block_stays(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = some_labels()
    store.write((0, 0, 0), labels)

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"labels.zarr/c/0/0/0.*\n.*free space"):
        store.write((0, 0, 0), labels + np.uint32(1))
    monkeypatch.undo()
    np.testing.assert_array_equal(store.read((0, 0, 0), WHOLE), labels)
    assert os.listdir(store.shard_path((0, 0, 0)).parent) == ["0"]


# ---- sizes


@pytest.mark.parametrize("n", [0, 1, 5])
def test_sizes_come_back(store: LabelStore, n: int) -> None:
    core, read = np.arange(n, dtype=np.int64), np.arange(n, dtype=np.uint32) + 2**31
    info = store.write_sizes((1, 2, 3), core, read)
    for given in (info, None):
        found = store.read_sizes((1, 2, 3), given)
        assert [f.dtype for f in found] == [np.uint32, np.uint32]
        np.testing.assert_array_equal(found, [core, read])


def test_damaged_sizes_are_corrupt(store: LabelStore) -> None:
    info = store.write_sizes((0, 0, 1), np.arange(9), np.arange(9))
    path = store.sizes_path((0, 0, 1))
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CorruptFileError, match="checksum"):
        store.read_sizes((0, 0, 1), info)
    path.write_bytes(data[:-1])
    for given in (info, None):
        with pytest.raises(CorruptFileError, match=r"1.npy"):
            store.read_sizes((0, 0, 1), given)


def test_no_directory_gets_more_than_two_thousand_files(tmp_path: Path) -> None:
    store = LabelStore(tmp_path, (30, 20, 10), (8, 8, 8))
    directories: dict[Path, int] = {}
    for index in np.ndindex(30, 20, 10):
        path = store.sizes_path(index)
        assert path.name == f"{store.block_number(index)}.npy"
        directories[path.parent] = directories.get(path.parent, 0) + 1
    assert sorted(directories.values()) == [2000, 2000, 2000]


def test_the_metadata_are_plain_json_of_a_fixed_form(store: LabelStore) -> None:
    metadata = json.loads((store.path / "zarr.json").read_bytes())
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [40, 96, 70]
    (sharding,) = metadata["codecs"]
    assert sharding["configuration"]["chunk_shape"] == [40, 48, 35]
    assert [codec["name"] for codec in sharding["configuration"]["codecs"]] == [
        "bytes",
        "zstd",
        "crc32c",
    ]

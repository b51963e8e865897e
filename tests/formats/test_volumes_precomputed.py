"""Precomputed volumes, written and read: cloud-volume is the judge of both."""

from __future__ import annotations

import json
import multiprocessing
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base import files
from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.errors import (
    BadDataError,
    ConfigError,
    NoInputError,
    OutputError,
    TemporaryError,
)
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed import owner
from magneton_tasks.formats.precomputed import read as volumes
from magneton_tasks.formats.precomputed.store import PrecomputedStore
from magneton_tasks.formats.precomputed.write import create_segmentation, write_volume
from magneton_tasks.formats.volume import open_volume

OFFSET: Vec3 = (10, -20, 30)
CHUNK: Vec3 = (16, 32, 24)
BOX = Box.of_shape((40, 50, 60), OFFSET)  # no axis is a multiple of its chunk


def _labels(shape: Vec3 = BOX.shape) -> Any:
    """Blobs with ids above 2^32, as global ids are, and background."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 9, tuple(-(-s // 8) for s in shape), dtype=np.uint64)
    fine = np.repeat(np.repeat(np.repeat(coarse, 8, 0), 8, 1), 8, 2)
    fine = fine[tuple(slice(0, s) for s in shape)]
    return np.where(fine > 0, fine + np.uint64(5 << 32), np.uint64(0))


def _affinities(dtype: str = "uint8") -> Any:
    rng = np.random.default_rng(2)
    return rng.integers(0, 250, (3, *BOX.shape)).astype(dtype)


def _store(path: Path, encoding: str = "compressed_segmentation", **options: Any) -> Any:
    return create_segmentation(f"file://{path}", BOX, (40, 8, 8), CHUNK, encoding, **options)


def _by_cloud_volume(path: Path, mip: int = 0) -> Any:
    """(c, z, y, x), as cloud-volume reads it."""
    from cloudvolume import CloudVolume

    return np.asarray(CloudVolume(f"file://{path}", mip=mip, progress=False)[:, :, :]).T


# ---------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("compress", [None, "gzip"])
@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "crackle"])
def test_cloud_volume_reads_the_segmentation_we_write(
    tmp_path: Path, encoding: str, compress: str | None
) -> None:
    labels = _labels()
    store = _store(tmp_path, encoding, compress=compress)
    store.write(0, BOX, labels)
    np.testing.assert_array_equal(_by_cloud_volume(tmp_path)[0], labels)
    np.testing.assert_array_equal(store.read(0, BOX), labels)


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "crackle"])
def test_labels_given_as_indices_make_the_same_files(tmp_path: Path, encoding: str) -> None:
    labels = _labels()
    ids, indices = np.unique(labels, return_inverse=True)
    plain = _store(tmp_path / "plain", encoding).write(0, BOX, labels)
    indexed = _store(tmp_path / "indexed", encoding)
    assert indexed.write(0, BOX, indices.astype(np.uint32), ids) == plain
    np.testing.assert_array_equal(indexed.read(0, BOX), labels)
    with pytest.raises(ValueError, match="uint64"):
        indexed.write(0, BOX, labels, ids)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_cloud_volume_reads_the_affinities_we_write(tmp_path: Path, dtype: str) -> None:
    array = _affinities(dtype)
    write_volume(str(tmp_path), array, (40, 8, 8), OFFSET, CHUNK)
    np.testing.assert_array_equal(_by_cloud_volume(tmp_path), array)
    read = open_volume(str(tmp_path)).read(BOX)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == dtype
    assert read.flags.c_contiguous


@pytest.mark.parametrize("compress", ["gzip", "br", "zstd", False])
@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "crackle"])
def test_we_read_what_cloud_volume_writes(
    tmp_path: Path, encoding: str, compress: str | bool
) -> None:
    from cloudvolume import CloudVolume

    labels = _labels()
    info = CloudVolume.create_new_info(
        num_channels=1,
        layer_type="segmentation",
        data_type="uint64",
        encoding=encoding,
        resolution=(8, 8, 40),
        voxel_offset=OFFSET[::-1],
        volume_size=BOX.shape[::-1],
        chunk_size=CHUNK[::-1],
    )
    layer = CloudVolume(f"file://{tmp_path}", info=info, progress=False, compress=compress)
    layer.commit_info()
    layer[:, :, :] = np.asfortranarray(labels.T)
    volume = open_volume(str(tmp_path))
    box = Box((17, -10, 31), (30, 29, 90))
    np.testing.assert_array_equal(volume.read(box)[0], labels[box.slices(OFFSET)])


@pytest.mark.parametrize(
    "box",
    [
        BOX,
        Box((10, -20, 30), (11, -19, 31)),  # the first voxel
        Box((49, 29, 89), (50, 30, 90)),  # the last
        Box((26, 12, 54), (42, 30, 78)),  # one chunk, cut at the end of y
        Box((25, 11, 53), (43, 13, 79)),  # one voxel more on each side
        Box((20, 0, 40), (20, 5, 50)),  # empty
    ],
)
def test_any_box_is_read(tmp_path: Path, box: Box) -> None:
    array = _affinities()
    write_volume(str(tmp_path), array, (40, 8, 8), OFFSET, CHUNK)
    expected = array[(slice(None), *box.slices(OFFSET))]
    np.testing.assert_array_equal(open_volume(str(tmp_path)).read(box), expected)


def _rare(folder: Path, encoding: str, array: Any) -> str:
    """A layer (c, z, y, x) of an encoding that only cloud-volume writes."""
    from cloudvolume import CloudVolume

    info = CloudVolume.create_new_info(
        num_channels=array.shape[0],
        layer_type="image",
        data_type=array.dtype.name,
        encoding=encoding,
        resolution=(8, 8, 40),
        voxel_offset=OFFSET[::-1],
        volume_size=BOX.shape[::-1],
        chunk_size=CHUNK[::-1],
    )
    layer = CloudVolume(f"file://{folder}", info=info, progress=False)
    layer.commit_info()
    layer[:, :, :] = np.asfortranarray(array.T)
    return str(folder)


@pytest.mark.parametrize("channels", [1, 3])
def test_encodings_of_floats_go_through_cloud_volume(tmp_path: Path, channels: int) -> None:
    array = (_affinities()[:channels] / 255).astype(np.float32)
    volume = open_volume(_rare(tmp_path / "f", "fpzip", array))
    np.testing.assert_array_equal(volume.read(BOX), array)
    if channels == 3:  # kempressed stores 2 to 3 added to what it holds
        volume = open_volume(_rare(tmp_path / "k", "kempressed", array))
        np.testing.assert_allclose(volume.read(BOX), array, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("encoding", "off_by"), [("png", 0), ("jpeg", 40)])
def test_pictures_are_read(tmp_path: Path, encoding: str, off_by: int, channels: int) -> None:
    """Of three channels, cloud-volume writes them as the format says, and reads them wrongly."""
    z, y, x = np.ogrid[: BOX.shape[0], : BOX.shape[1], : BOX.shape[2]]
    smooth = np.stack([z * 3 + y + x, 200 - z - y * 2 + 0 * x, y + x * 3 + 0 * z])
    array = smooth[:channels].astype(np.uint8)
    volume = open_volume(_rare(tmp_path, encoding, array))
    found = volume.read(BOX)
    assert np.abs(found.astype(int) - array).max() <= off_by
    assert (found.shape, found.dtype, found.flags.c_contiguous) == (array.shape, array.dtype, True)


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_a_picture_that_isn_t_one_or_of_another_size_is_told(tmp_path: Path, encoding: str) -> None:
    volume = open_volume(_rare(tmp_path, encoding, _affinities()[:1]))
    first, *others = sorted(
        (tmp_path / volume.info.array).iterdir(), key=lambda p: p.stat().st_size
    )
    for data in (b"", b"<html>", others[-1].read_bytes()):
        first.write_bytes(data)
        with pytest.raises(BadDataError, match=first.name.partition(".")[0]):
            volume.read(BOX)


def test_sharded_volumes_go_through_cloud_volume(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    labels = _labels((32, 32, 32))
    info = CloudVolume.create_new_info(
        num_channels=1,
        layer_type="segmentation",
        data_type="uint64",
        encoding="raw",
        resolution=(8, 8, 40),
        voxel_offset=(0, 0, 0),
        volume_size=(32, 32, 32),
        chunk_size=(16, 16, 16),
    )
    info["scales"][0]["sharding"] = {
        "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 3, "minishard_bits": 0,
        "shard_bits": 0, "hash": "identity", "minishard_index_encoding": "raw",
        "data_encoding": "raw",
    }  # fmt: skip
    layer = CloudVolume(f"file://{tmp_path}", info=info, progress=False)
    layer.commit_info()
    shard = layer.image.make_shard(labels.T[..., np.newaxis], layer.bounds, mip=0)
    key = tmp_path / layer.key
    key.mkdir()
    (key / shard[0]).write_bytes(shard[1])
    box = Box((3, 4, 5), (20, 30, 31))
    np.testing.assert_array_equal(open_volume(str(tmp_path)).read(box)[0], labels[box.slices()])


def test_a_volume_opened_before_a_fork_is_read_after_it(tmp_path: Path) -> None:
    array = _affinities()
    write_volume(str(tmp_path), array, (40, 8, 8), OFFSET, CHUNK)
    volume = volumes.CloudVolumeVolume(read_metadata(str(tmp_path)), fill_missing=False)
    volume.read(BOX)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(volume.read, (BOX,)).get(timeout=300)
        pool.close()
        pool.join()  # ended by itself: a signal may reach another thread than the one that waits
    np.testing.assert_array_equal(found, array)


# ---------------------------------------------------------------------------- reading: errors


def test_a_box_outside_is_refused(tmp_path: Path) -> None:
    write_volume(str(tmp_path), _affinities(), (40, 8, 8), OFFSET, CHUNK)
    with pytest.raises(ConfigError, match=r"0:5,0:5,0:5.*outside"):
        open_volume(str(tmp_path)).read(Box.of_shape((5, 5, 5)))


@pytest.mark.parametrize("through_cloud_volume", [False, True])
def test_a_missing_chunk_is_an_error_not_a_hole(tmp_path: Path, through_cloud_volume: bool) -> None:
    array = _affinities()
    write_volume(str(tmp_path), array, (40, 8, 8), OFFSET, CHUNK)
    (tmp_path / "8_8_40" / "54-78_12-30_26-42.gz").unlink()
    volume = open_volume(str(tmp_path))
    filling = open_volume(str(tmp_path), fill_missing=True)
    if through_cloud_volume:
        volume = volumes.CloudVolumeVolume(volume.info, fill_missing=False)
        filling = volumes.CloudVolumeVolume(volume.info, fill_missing=True)
    with pytest.raises(NoInputError, match="54-78_12-30_26-42"):
        volume.read(BOX)
    hole = Box((26, 12, 54), (42, 30, 78))
    np.testing.assert_array_equal(filling.read(hole), 0)
    beside = Box((10, 12, 54), (26, 30, 78))
    assert volume.read(beside).shape == (3, 16, 18, 24)


@pytest.mark.parametrize("left", [0, 1, 10, 0.5, 0.99])
@pytest.mark.parametrize("compress", [None, "gzip"])
@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "crackle"])
def test_a_truncated_chunk_is_bad_data(
    tmp_path: Path, encoding: str, compress: str | None, left: float
) -> None:
    store = _store(tmp_path, encoding, compress=compress)
    store.write(0, BOX, _labels())
    path = tmp_path / store.chunk_path(0, Box((10, -20, 30), (26, 12, 54)))
    data = path.read_bytes()
    path.write_bytes(data[: left if isinstance(left, int) else int(left * len(data))])
    with pytest.raises(BadDataError, match="30-54_-20-12_10-26") as caught:
        store.read(0, BOX)
    assert "read for box" in str(caught.value) or "gz" in str(caught.value)


def test_a_damaged_chunk_through_cloud_volume(tmp_path: Path) -> None:
    write_volume(str(tmp_path), _affinities(), (40, 8, 8), OFFSET, CHUNK)
    path = tmp_path / "8_8_40" / "54-78_12-30_26-42.gz"
    path.write_bytes(path.read_bytes()[:100])
    volume = volumes.CloudVolumeVolume(read_metadata(str(tmp_path)), fill_missing=False)
    with pytest.raises(BadDataError, match="box"):
        volume.read(BOX)


def test_an_io_error_is_worth_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_volume(str(tmp_path), _affinities(), (40, 8, 8), OFFSET, CHUNK)

    def failing(self: Path) -> bytes:
        raise OSError(5, "Input/output error")

    volume = open_volume(str(tmp_path))
    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(TemporaryError, match="Input/output error"):
        volume.read(BOX)


# ---------------------------------------------------------------------------- writing


def test_sizes_are_in_raster_order_and_on_disk(tmp_path: Path) -> None:
    store = _store(tmp_path)
    sizes = [file.size for file in store.write(0, BOX, _labels())]
    expected = list(store.expected_chunks(0))
    assert [name for _, name in expected][:2] == ["30-54_-20-12_10-26.gz", "54-78_-20-12_10-26.gz"]
    assert len(expected) == 3 * 2 * 3
    on_disk = store.sizes_on_disk(0)
    assert dict(zip([name for _, name in expected], sizes, strict=True)) == on_disk
    assert all(tmp_path / store.chunk_path(0, box) for box, _ in expected)


def test_equal_voxels_give_equal_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        _store(tmp_path / name).write(0, BOX, _labels())
        contents.append({p.name: p.read_bytes() for p in (tmp_path / name / "8_8_40").iterdir()})
    assert contents[0] == contents[1]


def test_cells_written_one_by_one_give_the_whole(tmp_path: Path) -> None:
    labels = _labels()
    store = _store(tmp_path)
    for cell in BOX.tiles((32, 32, 48)):
        store.write(0, cell, labels[cell.slices(OFFSET)])
    np.testing.assert_array_equal(_by_cloud_volume(tmp_path)[0], labels)


def test_mips(tmp_path: Path) -> None:
    labels = _labels()
    store = _store(tmp_path, mip_factors=[(1, 2, 2), (2, 4, 4)])
    boxes = [scale.box for scale in store.scales]
    assert boxes[1] == Box((10, -10, 15), (50, 15, 45))
    assert boxes[2] == Box((5, -5, 7), (25, 8, 22))
    assert [scale.key for scale in store.scales] == ["8_8_40", "16_16_40", "32_32_80"]
    for mip, (box, step) in enumerate(zip(boxes, [(1, 1), (1, 2), (2, 4)], strict=True)):
        small = labels[:: step[0], :: step[1], :: step[1]]
        store.write(mip, box, small)
        np.testing.assert_array_equal(_by_cloud_volume(tmp_path, mip)[0], small)


def test_scaled_boxes_cover_the_volume() -> None:
    assert Box((3, 0, 7), (10, 1, 8)).coarsened((2, 2, 2)) == Box((1, 0, 3), (5, 1, 4))


@pytest.mark.parametrize(
    "box",
    [
        Box((11, -20, 30), (26, 12, 54)),  # begins between chunks
        Box((10, -20, 30), (20, 12, 54)),  # ends between chunks
        Box((10, -20, 30), (58, 12, 54)),  # reaches outside
        Box((10, -20, 30), (10, 12, 54)),  # empty
    ],
)
def test_writers_may_not_share_a_chunk(tmp_path: Path, box: Box) -> None:
    with pytest.raises(ValueError, match="box"):
        _store(tmp_path).write(0, box, np.zeros(box.shape, np.uint64))


def test_the_array_must_fit(tmp_path: Path) -> None:
    store = _store(tmp_path)
    with pytest.raises(ValueError, match="uint32"):
        store.write(0, BOX, _labels().astype(np.uint32))
    with pytest.raises(ValueError, match="array"):
        store.write(0, BOX, _labels()[1:])


def test_views_of_any_strides_are_written_right(tmp_path: Path) -> None:
    labels = _labels()
    padded = np.zeros((42, 52, 62), np.uint64)
    padded[1:-1, 1:-1, 1:-1] = labels
    view = padded[1:-1, 1:-1, 1:-1]
    view.flags.writeable = False
    store = _store(tmp_path)
    store.write(0, BOX, view)
    np.testing.assert_array_equal(store.read(0, BOX), labels)


def test_a_writer_that_dies_leaves_no_part_of_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are on disk under another name until they are all there and synced."""
    store = _store(tmp_path)
    seen: list[set[str]] = []

    def dying(descriptor: int) -> None:
        seen.append(set(store.sizes_on_disk(0)))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", dying)
    with pytest.raises(OutputError, match="No space left"):
        store.write(0, BOX, _labels())
    assert seen
    assert all(names == set() for names in seen)
    assert store.sizes_on_disk(0) == {}


def test_leftovers_of_killed_writers_do_not_count(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.write(0, BOX, _labels())
    before = store.sizes_on_disk(0)
    name = f".30-54_-20-12_10-26.gz.{files.unique_suffix()}.tmp"
    (tmp_path / "8_8_40" / name).write_bytes(b"torn")
    assert store.sizes_on_disk(0) == before
    assert _store(tmp_path).sizes_on_disk(0) == before


# ---------------------------------------------------------------------------- info and owner


def test_the_same_info_again_is_fine_and_keeps_what_others_added(tmp_path: Path) -> None:
    _store(tmp_path)
    info = json.loads((tmp_path / "info").read_text())
    (tmp_path / "info").write_text(json.dumps(info | {"mesh": "mesh_err_40"}))
    _store(tmp_path)
    assert json.loads((tmp_path / "info").read_text())["mesh"] == "mesh_err_40"


def test_another_info_is_refused_unless_replaced(tmp_path: Path) -> None:
    _store(tmp_path)
    with pytest.raises(ConfigError, match=r"another scales") as caught:
        create_segmentation(str(tmp_path), BOX, (40, 4, 4), CHUNK)
    assert "--overwrite-output" in str(caught.value)
    create_segmentation(str(tmp_path), BOX, (40, 4, 4), CHUNK, replace=True)
    assert read_metadata(str(tmp_path)).voxel_size_nm == (40.0, 4.0, 4.0)


def test_another_compression_is_refused(tmp_path: Path) -> None:
    """Both ``name`` and ``name.gz`` would be there, and a reader would take either."""
    _store(tmp_path).write(0, BOX, _labels())
    with pytest.raises(ConfigError, match="another compression"):
        _store(tmp_path, compress=None)


@pytest.mark.parametrize(
    ("encoding", "compress", "word"),
    [("jpeg", "gzip", "jpeg"), ("raw", "xz", "xz")],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, encoding: str, compress: str, word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        _store(tmp_path, encoding, compress=compress)
    assert not (tmp_path / "info").exists()


def test_labels_encodings_refuse_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="uint8"):
        write_volume(str(tmp_path), _affinities(), (1, 1, 1), encoding="compressed_segmentation")


def test_voxel_sizes_that_are_not_whole(tmp_path: Path) -> None:
    write_volume(str(tmp_path), _affinities(), (40, 7.5, 7.5), OFFSET, CHUNK)
    assert (tmp_path / "7.5_7.5_40").is_dir()
    assert read_metadata(str(tmp_path)).voxel_size_nm == (40, 7.5, 7.5)
    np.testing.assert_array_equal(_by_cloud_volume(tmp_path), _affinities())


def test_owner(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    assert owner.read_owner(url) is None
    owner.write_owner(url, {"config": "a", "run": "r"})
    owner.write_owner(url, {"config": "b"})
    assert owner.read_owner(url) == {"config": "b"}
    (tmp_path / "magneton.json").write_text("{")
    with pytest.raises(BadDataError, match=r"magneton\.json"):
        owner.read_owner(url)


# ---------------------------------------------------------------------------- buckets


def test_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """cloud-files' memory store stands for a bucket: same calls, no file names' suffixes."""
    from magneton_tasks.base import location

    monkeypatch.setattr(location, "_REMOTE", ("mem",))
    url = f"mem://magneton-{os.getpid()}/seg"
    labels = _labels()
    store: PrecomputedStore = create_segmentation(url, BOX, (40, 8, 8), CHUNK)
    written = store.write(0, BOX, labels)
    names = [name for _, name in store.expected_chunks(0)]
    assert names[0] == "30-54_-20-12_10-26"
    sizes = [file.size for file in written]
    assert store.sizes_on_disk(0) == dict(zip(names, sizes, strict=True))
    for box, file in zip(BOX.tiles(CHUNK), written, strict=True):
        stored = store.objects.get(store.chunk_path(0, box), raw=True) or b""
        assert (len(stored), zlib.crc32(stored)) == (file.size, file.crc32)
    assert read_metadata(url).box == BOX
    np.testing.assert_array_equal(store.read(0, BOX), labels)
    owner.write_owner(url, {"run": "r"})
    assert owner.read_owner(url) == {"run": "r"}
    with pytest.raises(NoInputError, match="no precomputed, Zarr or N5 volume"):
        read_metadata("mem://magneton-none/x")


def test_a_failed_connection_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    from magneton_tasks.base import location
    from magneton_tasks.formats import objects

    class Broken:
        def get(self, name: str, **_: object) -> bytes:
            raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(objects, "cloud_files", lambda url: Broken())
    with pytest.raises(TemporaryError, match="reset by peer"):
        Objects(location.locate("gs://bucket/x")).get("info")

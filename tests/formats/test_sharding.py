"""Chunks that share files: cloud-volume and TensorStore are the judges of what is written."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.base.geometry import Box, Size3, Vec3, ceil_div, vec3
from magneton_tasks.errors import BadDataError, ConfigError, NoInputError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.precomputed.sharding import Sharding
from magneton_tasks.formats.precomputed.store import PrecomputedStore
from magneton_tasks.formats.precomputed.write import create_segmentation
from magneton_tasks.formats.volume import open_volume

CHUNK: Vec3 = (8, 16, 16)
FACTORS: list[Vec3] = [(1, 2, 2), (2, 4, 4)]


def labels(shape: Vec3) -> Any:
    """Blobs above 2^53, and chunks of nothing."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 6, tuple(ceil_div(s, 4) for s in shape), dtype=np.uint64)
    fine = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2)[tuple(slice(0, s) for s in shape)]
    fine[: CHUNK[0], : CHUNK[1], : CHUNK[2]] = 0
    return np.where(fine > 0, fine + np.uint64(1 << 60), np.uint64(0))


def write_cells(store: PrecomputedStore, mip: int, cell: Vec3, array: Any) -> list[str]:
    """As apply does: cell after cell, each in slabs; returns the names of the files."""
    scale, names = store.scales[mip], list[str]()
    for box in scale.box.tiles(vec3(c * s for c, s in zip(cell, scale.chunk_size, strict=True))):
        writer = store.writer(mip)
        for slab in box.tiles((scale.chunk_size[0], *box.shape[1:])):
            writer.write(slab, np.ascontiguousarray(array[slab.slices(scale.box.begin)]))
        sizes = [info.size for info in writer.finish()]
        new = list(store.file_names(mip, box))
        on_disk = store.sizes_on_disk(mip)
        assert [on_disk[name] for name in new] == sizes
        names += new
    return names


def by_cloud_volume(path: Path, mip: int) -> Any:
    from cloudvolume import CloudVolume

    return np.asarray(CloudVolume(f"file://{path}", mip=mip, progress=False)[:, :, :]).T[0]


def by_tensorstore(path: Path, mip: int) -> Any:
    import tensorstore

    opened = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{path}/"}
    return tensorstore.open({**opened, "scale_index": mip}).result().read().result().T[0]


def all_free(mips: int) -> list[Vec3]:
    return [(64, 64, 64)] * mips


@pytest.mark.parametrize(
    ("shape", "begin", "voxel", "cells", "files"),
    [
        pytest.param((40, 100, 90), (5, -37, 1000), (40, 4, 4), [(2, 2, 2), (1, 1, 1), (1, 1, 1)], [36, 36, 8], id="clipped, anisotropic"),
        pytest.param((16, 70, 200), (0, 0, 0), (40, 4, 4), [(2, 4, 2), (1, 2, 1), (1, 1, 1)], [21, 21, 8], id="two chunks thick, cells of several shards"),
        pytest.param((8, 16, 16), (0, 0, 0), (8, 8, 8), all_free(3), [1, 1, 1], id="one chunk"),
        pytest.param((33, 50, 70), (-8, 1, 2), (8, 8, 8), all_free(3), [1, 1, 1], id="one cell"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("compress", ["gzip", None])
def test_other_readers_read_the_shards_we_write(
    tmp_path: Path,
    shape: Vec3,
    begin: Vec3,
    voxel: Size3,
    cells: list[Vec3],
    files: list[int],
    compress: str | None,
) -> None:
    box, array = Box.of_shape(shape, begin), labels(shape)
    store = create_segmentation(
        f"file://{tmp_path}", box, voxel, CHUNK, mip_factors=FACTORS, compress=compress, cells=cells
    )
    for mip, cell in enumerate(cells):
        part = array[tuple(slice(0, s) for s in store.scales[mip].box.shape)]
        names = write_cells(store, mip, cell, part)
        # each shard has one writer, and nothing else lies there
        assert len(names) == len(set(names)) == files[mip]
        assert set(names) == set(store.sizes_on_disk(mip))
        sharding = store.scales[mip].sharding
        assert sharding is not None
        assert sharding.shards == files[mip]
        np.testing.assert_array_equal(by_cloud_volume(tmp_path, mip), part)
        np.testing.assert_array_equal(by_tensorstore(tmp_path, mip), part)
        np.testing.assert_array_equal(store.read(mip, store.scales[mip].box), part)


def test_an_axis_that_isnt_halved_has_chunks_twice_as_long(tmp_path: Path) -> None:
    box = Box.of_shape((64, 64, 64))
    store = create_segmentation(
        f"file://{tmp_path}", box, (40, 4, 4), CHUNK, mip_factors=FACTORS, cells=all_free(3)
    )
    assert [s.chunk_size for s in store.scales] == [CHUNK, (16, 16, 16), (16, 16, 16)]
    plain = create_segmentation(
        f"file://{tmp_path}/plain", box, (40, 4, 4), CHUNK, mip_factors=FACTORS
    )
    assert {s.chunk_size for s in plain.scales} == {CHUNK}


def test_ids_of_chunks_are_compressed_morton_codes() -> None:
    """The examples of a published table: grids and places x, y, z."""
    found = {
        ((8, 8, 2), (5, 2, 1)): 53,
        ((5, 3, 1), (4, 2, 0)): 24,
        ((625, 469, 63), (624, 468, 62)): 28_244_384,
    }
    for (grid, at), chunk_id in found.items():
        sharding = Sharding.of_cells(vec3(grid[::-1]), (1, 1, 1), None)
        assert sharding.chunk_id(vec3(at[::-1])) == chunk_id
        assert sharding.preshift_bits == 0


SMALL = st.tuples(*[st.integers(1, 9)] * 3)


@given(SMALL, st.tuples(*[st.sampled_from([1, 2, 4, 8])] * 3))
def test_a_shard_lies_in_one_cell_and_is_as_large_as_can_be(grid: Vec3, cell: Vec3) -> None:
    sharding = Sharding.of_cells(grid, cell, "gzip")
    bits = sharding.preshift_bits + sharding.shard_bits
    assert bits == sum((n - 1).bit_length() for n in grid)

    def cells_of_shards(preshift: int) -> dict[int, set[Vec3]]:
        found: dict[int, set[Vec3]] = {}
        for at in itertools.product(*map(range, grid)):
            place = vec3(a // c for a, c in zip(at, cell, strict=True))
            found.setdefault(sharding.chunk_id(vec3(at)) >> preshift, set()).add(place)
        return found

    own = cells_of_shards(sharding.preshift_bits)
    assert all(len(cells) == 1 for cells in own.values())
    assert len(own) == sharding.shards
    if sharding.shard_bits:
        larger = cells_of_shards(sharding.preshift_bits + 1)
        assert any(len(cells) > 1 for cells in larger.values())


@pytest.mark.parametrize("hashed", ["identity", "murmurhash3_x86_128"])
def test_we_read_shards_of_others(tmp_path: Path, hashed: str) -> None:
    """With minishards; chunks of nothing are left out."""
    import tensorstore

    array, shape = labels((30, 60, 80)), (30, 60, 80)
    written = {
        "driver": "neuroglancer_precomputed",
        "kvstore": f"file://{tmp_path}/",
        "create": True,
        "multiscale_metadata": {"type": "segmentation", "data_type": "uint64", "num_channels": 1},
        "scale_metadata": {
            "size": list(shape[::-1]),
            "voxel_offset": [-3, 5, 7],
            "resolution": [4, 4, 40],
            "encoding": "compressed_segmentation",
            "compressed_segmentation_block_size": [8, 8, 8],
            "chunk_size": [16, 16, 8],
            "sharding": {
                "@type": "neuroglancer_uint64_sharded_v1",
                "preshift_bits": 1,
                "hash": hashed,
                "minishard_bits": 2,
                "shard_bits": 3,
                "minishard_index_encoding": "gzip",
                "data_encoding": "gzip",
            },
        },
    }
    tensorstore.open(written).result()[..., 0].write(array.T).result()
    box = Box.of_shape(shape, (7, 5, -3))
    found = open_volume(str(tmp_path), fill_missing=True).read(box)[0]
    np.testing.assert_array_equal(found, array)


def test_what_is_known_of_shards_goes_through_json(tmp_path: Path) -> None:
    create_segmentation(
        f"file://{tmp_path}", Box.of_shape((64, 64, 64)), (8, 8, 8), CHUNK, cells=[(2, 2, 2)]
    )
    info = read_metadata(str(tmp_path))
    assert info.sharding is not None
    assert VolumeInfo(**json.loads(json.dumps(asdict(info)))) == info


def written(path: Path) -> tuple[PrecomputedStore, Path]:
    """A volume of one shard."""
    shape = (16, 32, 32)
    store = create_segmentation(
        f"file://{path}", Box.of_shape(shape), (8, 8, 8), CHUNK, cells=[(2, 2, 2)]
    )
    write_cells(store, 0, (2, 2, 2), labels(shape))
    (name,) = store.sizes_on_disk(0)
    return store, store.objects.path(f"{store.scales[0].key}/{name}")


@pytest.mark.parametrize("left", [0, 10, 100, -5])
def test_a_shard_that_is_cut_off_is_refused(tmp_path: Path, left: int) -> None:
    store, path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(BadDataError, match=r"0\.shard|chunk"):
        store.read(0, store.scales[0].box)


def test_a_shard_whose_index_lies_is_refused(tmp_path: Path) -> None:
    store, path = written(tmp_path)
    data = bytearray(path.read_bytes())
    data[8:16] = (1 << 62).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(BadDataError, match="cut off, or its index is damaged"):
        store.read(0, store.scales[0].box)


def test_a_shard_that_is_gone_is_missing(tmp_path: Path) -> None:
    store, path = written(tmp_path)
    path.unlink()
    with pytest.raises(NoInputError, match=r"0\.shard"):
        store.read(0, store.scales[0].box)


@pytest.mark.parametrize("sharded_first", [True, False])
def test_shards_and_chunks_dont_come_beside_each_other(tmp_path: Path, sharded_first: bool) -> None:
    """A reader would find one or the other, of different results."""
    box, shape = Box.of_shape((16, 32, 32)), (16, 32, 32)

    def store(cells: list[Vec3]) -> PrecomputedStore:
        url = f"file://{tmp_path}"
        return create_segmentation(url, box, (8, 8, 8), CHUNK, cells=cells, replace=True)

    forms = [[(2, 2, 2)], []] if sharded_first else [[], [(2, 2, 2)]]
    store(forms[0]).write(0, box, labels(shape))
    with pytest.raises(ConfigError, match=r"apply\.sharding"):
        store(forms[1])

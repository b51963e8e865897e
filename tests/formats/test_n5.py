"""N5: as TensorStore writes it, as common tools describe it, and damaged."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base.geometry import Box
from magneton_tasks.errors import BadDataError, ConfigError, NoInputError
from magneton_tasks.formats.given import NO_VOXEL_SIZE
from magneton_tasks.formats.info import NOTHING_GIVEN, Given
from magneton_tasks.formats.metadata import chunk_identity, read_metadata
from magneton_tasks.formats.volume import open_volume

#: (c, z, y, x); no edge is a multiple of a block's.
ARRAY = np.arange(3 * 8 * 9 * 10, dtype=np.uint16).reshape(3, 8, 9, 10)
INNER = Box((2, 3, 1), (5, 9, 10))
#: Run by itself: a process in which TensorStore was used can't fork any more.
WRITER = """
import json, sys
import numpy as np
import tensorstore as ts
array = np.load(sys.argv[1])
for name, (dtype, compression) in json.loads(sys.argv[2]).items():
    metadata = {
        "dimensions": list(array.shape[::-1]), "blockSize": [4, 4, 4, 2],
        "dataType": dtype, "compression": compression,
    }
    store = {"driver": "file", "path": f"{sys.argv[3]}/{name}"}
    spec = {"driver": "n5", "kvstore": store, "metadata": metadata, "create": True}
    ts.open(spec).result().write(array.T.astype(dtype)).result()
"""
BLOSC = {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}
WRITTEN: dict[str, tuple[str, Any]] = {
    "raw": ("uint16", {"type": "raw"}),
    "gzip": ("float32", {"type": "gzip"}),
    "zlib": ("uint16", {"type": "gzip", "useZlib": True}),
    "bzip2": ("uint8", {"type": "bzip2"}),
    "xz": ("uint64", {"type": "xz"}),
    "zstd": ("int16", {"type": "zstd", "level": 1}),
    "blosc": ("uint16", BLOSC),
}


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("n5")
    np.save(folder / "array.npy", ARRAY)
    told = [folder / "array.npy", json.dumps(WRITTEN), folder / "all.n5"]
    subprocess.run([sys.executable, "-c", WRITER, *map(str, told)], check=True)
    return folder / "all.n5"


@pytest.mark.parametrize("name", WRITTEN)
def test_what_tensorstore_writes_is_read(container: Path, name: str) -> None:
    volume = open_volume(f"file://{container}/{name}")
    info, array = volume.info, ARRAY.astype(WRITTEN[name][0])
    assert (info.format, info.dtype, info.channels) == ("n5", WRITTEN[name][0], 3)
    assert (info.axes, info.box.shape, info.chunk_size) == ("czyx", (8, 9, 10), (4, 4, 4))
    np.testing.assert_array_equal(volume.read(info.box), array)
    np.testing.assert_array_equal(volume.read(INNER), array[(slice(None), *INNER.slices())])
    found = volume.read(INNER, slice(2, 3))
    np.testing.assert_array_equal(found, array[(slice(2, 3), *INNER.slices())])
    assert found.flags.c_contiguous


def written(
    folder: Path, array: Any = ARRAY, block: tuple[int, ...] = (), **attributes: Any
) -> Path:
    """An array of one block, or of blocks of a shape (z, y, x last), as z5py writes it."""
    block = block or array.shape
    folder.mkdir(parents=True, exist_ok=True)
    told = {"dimensions": array.shape[::-1], "blockSize": block[::-1], "dataType": str(array.dtype)}
    told["compression"] = {"type": "raw"}
    (folder / "attributes.json").write_text(json.dumps(told | attributes))
    for index in np.ndindex(*(-(-n // b) for n, b in zip(array.shape, block, strict=True))):
        part = array[tuple(slice(i * b, (i + 1) * b) for i, b in zip(index, block, strict=True))]
        header = struct.pack(f">HH{part.ndim}I", 0, part.ndim, *part.shape[::-1])
        file = folder.joinpath(*map(str, reversed(index)))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(header + part.astype(part.dtype.newbyteorder(">")).tobytes())
    return folder


RESOLUTION = {"dimensions": [4, 8, 40], "unit": "nm"}
COSEM = {
    "axes": ["z", "y", "x"],
    "scale": [40.0, 8, 4],
    "translate": [80.0, 0, 4],
    "units": ["nm"] * 3,
}


@pytest.mark.parametrize(
    ("attributes", "begin"),
    [
        # gunpowder, daisy and LSD: as the array's own axes, the fastest first
        ({"resolution": [4, 8, 40], "offset": [4, 0, 80]}, (2, 0, 1)),
        # n5-viewer, BigDataViewer
        ({"pixelResolution": RESOLUTION}, (0, 0, 0)),
        ({"pixelResolution": [2, 4, 40], "downsamplingFactors": [2, 2, 1]}, (0, 0, 0)),
        # COSEM
        ({"pixelResolution": {**RESOLUTION, "unit": "um"}, "transform": COSEM}, (2, 0, 1)),
        # n5-metadata
        ({"resolution": [0.004, 0.008, 0.04], "units": ["um"] * 3}, (0, 0, 0)),
        ({"axes": ["x", "y", "z", "c"], "resolution": [4, 8, 40, 1]}, (0, 0, 0)),
    ],
)
def test_attributes_are_those_of_common_tools(
    attributes: dict[str, Any], begin: Any, tmp_path: Path
) -> None:
    info = read_metadata(str(written(tmp_path / "a.n5" / "affs", **attributes)))
    assert info.voxel_size_nm == pytest.approx((40, 8, 4))
    assert info.box == Box.of_shape((8, 9, 10), begin)
    assert info.notes == ()


def test_without_attributes_the_config_says_it(tmp_path: Path) -> None:
    url = str(written(tmp_path / "a.n5" / "affs", np.moveaxis(ARRAY, 0, -1)))
    assert read_metadata(url).notes == (NO_VOXEL_SIZE,)
    assert "set input.voxel_size_nm" in read_metadata(url, 0, NOTHING_GIVEN).notes[0]
    volume = open_volume(url, 0, Given("zyxc", (40.0, 8.0, 4.0)))
    np.testing.assert_array_equal(volume.read(volume.info.box), ARRAY)


def test_levels_of_a_group_are_mips(tmp_path: Path) -> None:
    factors = [[1, 1, 1], [2, 2, 1]]
    for n, array in enumerate([ARRAY, ARRAY[:, :, ::2, ::2]]):
        written(tmp_path / "a.n5" / f"s{n}", array)
    group = {
        "pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"},
        "downsamplingFactors": factors,
    }
    (tmp_path / "a.n5" / "attributes.json").write_text(json.dumps(group))
    url = f"n5://file://{tmp_path}/a.n5"
    assert read_metadata(url).size_words == "40 x 4 x 4"
    coarse = open_volume(url, 1)
    assert coarse.info.size_words == "40 x 8 x 8"
    np.testing.assert_array_equal(coarse.read(coarse.info.box), ARRAY[:, :, ::2, ::2])
    with pytest.raises(ConfigError, match="no mip 2.*\n.*0: s0; 1: s1"):
        read_metadata(url, 2)


def test_blocks_that_aren_t_there_are_zeros_and_changes_are_seen(tmp_path: Path) -> None:
    url = str(written(tmp_path / "a", block=(3, 4, 4, 4)))
    box = Box((0, 0, 0), (4, 4, 4))
    before = [chunk_identity(url, 0, b) for b in (box, box.translate((4, 4, 4)))]
    (tmp_path / "a" / "0" / "0" / "0" / "0").unlink()
    assert not open_volume(url).read(box).any()
    after = [chunk_identity(url, 0, b) for b in (box, box.translate((4, 4, 4)))]
    assert (before[0] == after[0], before[1] == after[1]) == (False, True)


# ------------------------------------------------------------------ what is wrong with it
@pytest.mark.parametrize(
    ("block", "said"),
    [
        (b"", "hold no header"),
        (struct.pack(">HH4I", 0, 4, 10, 9, 8, 3) + b"\0" * 99, "cut off"),
        (struct.pack(">HH3I", 0, 3, 10, 9, 8) + b"\0" * 9, "with 3 axes"),
        (struct.pack(">HH4I", 0, 4, 99, 9, 8, 3), "the array's have"),
        (struct.pack(">HH4I", 2, 4, 10, 9, 8, 3), "mode 2"),
    ],
)
def test_a_damaged_block_is_told(block: bytes, said: str, tmp_path: Path) -> None:
    url = written(tmp_path / "a.n5")
    (url / "0" / "0" / "0" / "0").write_bytes(block)
    with pytest.raises(BadDataError, match=said) as told:
        open_volume(str(url)).read(INNER)
    assert "a.n5/0/0/0/0" in told.value.what


@pytest.mark.parametrize("kind", [{"type": "gzip"}, {"type": "gzip", "useZlib": True}])
def test_a_block_is_inflated_to_no_more_than_it_can_hold(kind: Any, tmp_path: Path) -> None:
    url = written(tmp_path / "a.n5", compression=kind)
    stream = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | (0 if "useZlib" in kind else 16))
    bomb = stream.compress(bytes(10**7)) + stream.flush()
    (url / "0/0/0/0").write_bytes(struct.pack(">HH4I", 0, 4, 10, 9, 8, 3) + bomb)
    with pytest.raises(BadDataError, match="more than the 4,320 bytes"):
        open_volume(str(url)).read(INNER)


def test_other_compressions_and_metadata_are_refused_before_a_block_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="N5's compression lz4 isn't read\n.*blosc, bzip2"):
        open_volume(str(written(tmp_path / "lz4", compression={"type": "lz4"})))
    for name, attributes in (("a", {"blockSize": [4, 4]}), ("b", {"dimensions": 7})):
        with pytest.raises(BadDataError, match="isn't an N5 array's"):
            read_metadata(str(written(tmp_path / name, **attributes)))
    with pytest.raises(BadDataError, match="pixelResolution"):
        read_metadata(str(written(tmp_path / "c", pixelResolution={"unit": "nm"})))
    (written(tmp_path / "d") / "attributes.json").unlink()
    with pytest.raises(
        NoInputError, match=r"none of info, .*attributes\.json in .*/d, which holds 0"
    ):
        read_metadata(str(tmp_path / "d"))

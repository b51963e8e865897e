"""What metadata says of a volume: the formats, the conventions, and the errors a user meets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.errors import BadDataError, ConfigError, NoInputError
from magneton_tasks.formats.metadata import VolumeInfo, chunk_identity, read_metadata
from magneton_tasks.formats.precomputed import write as precomputed
from magneton_tasks.formats.zarr import read as zarr_volumes

BOX = Box((10, 20, 30), (30, 60, 100))


def _precomputed(path: Path) -> Path:
    array = np.zeros((3, *BOX.shape), np.uint8)
    precomputed.write_volume(str(path), array, (40, 8, 8), BOX.begin, (16, 32, 64))
    return path


def _edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


def test_precomputed(tmp_path: Path) -> None:
    url = f"precomputed://file://{_precomputed(tmp_path / 'v')}"
    info = read_metadata(url)
    assert (info.url, info.format, info.mip) == (url, "precomputed", 0)
    assert (info.dtype, info.channels, info.encoding) == ("uint8", 3, "raw")
    assert info.box == BOX
    assert info.voxel_size_nm == (40.0, 8.0, 8.0)
    assert info.chunk_size == (16, 32, 64)
    assert info.notes == ()


def test_info_survives_json(tmp_path: Path) -> None:
    for url in (_precomputed(tmp_path / "v"), _array(tmp_path / "z", axis_names=["z", "y", "x"])):
        info = read_metadata(str(url))
        assert VolumeInfo(**json.loads(json.dumps(asdict(info)))) == info


def test_reading_metadata_imports_nothing_heavy(tmp_path: Path) -> None:
    _precomputed(tmp_path / "v")
    _ome(tmp_path / "z")
    code = (
        "import sys; from magneton_tasks.formats.metadata import read_metadata, chunk_identity\n"
        "for u in sys.argv[1:]: i = read_metadata(u); chunk_identity(u, 0, i.box)\n"
        "heavy = {'numpy', 'zarr', 'cloudvolume', 'cloudfiles', 'pyarrow', 'numba'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    urls = [f"file://{tmp_path}/v", f"{tmp_path}/z"]
    done = subprocess.run(
        [sys.executable, "-c", code, *urls], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------------------- Zarr


def _ome(
    path: Path,
    version: int = 3,
    axes: str = "czyx",
    unit: str | None = "nanometer",
    scale: tuple[float, ...] = (1, 40, 8, 8),
    shift: tuple[float, ...] = (0, 400, 160, 240),
    extra: list[dict[str, Any]] | None = None,
) -> Path:
    """An OME-Zarr group whose axes are named, sized and shifted in the order of ``axes``."""
    sizes = {"t": 1, "c": 3, "z": 20, "y": 40, "x": 70}
    entries: list[dict[str, str]] = []
    for axis in axes:
        kind = {"c": "channel", "t": "time"}.get(axis, "space")
        entry = {"name": axis, "type": kind}
        entries.append(entry | ({"unit": unit} if unit and kind == "space" else {}))
    steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
    multiscale: dict[str, Any] = {
        "axes": entries,
        "datasets": [{"path": "s0", "coordinateTransformations": steps}],
    }
    if extra:
        multiscale["coordinateTransformations"] = extra
    attributes = {"multiscales": [multiscale]}
    group = zarr.create_group(
        str(path),
        zarr_format=3 if version == 3 else 2,
        attributes={"ome": attributes} if version == 3 else attributes,
    )
    shape = tuple(sizes[a] for a in axes)
    group.create_array("s0", shape=shape, dtype="uint8", chunks=tuple(min(16, s) for s in shape))
    return path


def _array(path: Path, shape: tuple[int, ...] = (20, 40, 70), **attributes: Any) -> Path:
    zarr.create_array(
        str(path), shape=shape, chunks=(16,) * len(shape), dtype="float32", attributes=attributes
    )
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("prefix", ["", "zarr://", "zarr://file://"])
def test_ome_zarr(tmp_path: Path, version: int, prefix: str) -> None:
    info = read_metadata(f"{prefix}{_ome(tmp_path / 'v', version)}")
    assert info.format == f"zarr{version}"
    assert info.box == BOX
    assert info.voxel_size_nm == (40.0, 8.0, 8.0)
    assert (info.channels, info.dtype, info.chunk_size) == (3, "uint8", (16, 16, 16))
    assert info.notes == ()


@pytest.mark.parametrize("version", [2, 3])
def test_what_we_write_is_read(tmp_path: Path, version: Any) -> None:
    array = np.zeros((3, *BOX.shape), np.uint16)
    url = str(tmp_path / "v")
    zarr_volumes.write_volume(url, array, (40, 8, 8), BOX.begin, (16, 32, 64), zarr_format=version)
    info = read_metadata(url)
    assert (info.box, info.voxel_size_nm, info.chunk_size) == (BOX, (40.0, 8.0, 8.0), (16, 32, 64))
    assert (info.dtype, info.channels) == ("uint16", 3)


def test_a_dataset_opened_by_its_own_path_has_its_groups_voxel_size(tmp_path: Path) -> None:
    info = read_metadata(str(_ome(tmp_path / "v") / "s0"))
    assert (info.box, info.voxel_size_nm) == (BOX, (40.0, 8.0, 8.0))


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("micrometer", 1000), ("um", 1000), ("angstrom", 0.1), ("millimeter", 1e6), (None, 1)],
)
def test_units(tmp_path: Path, unit: str | None, factor: float) -> None:
    info = read_metadata(str(_ome(tmp_path / "v", unit=unit)))
    assert info.voxel_size_nm == pytest.approx((40 * factor, 8 * factor, 8 * factor))
    assert info.box == BOX
    assert bool(info.notes) == (unit is None)  # an assumption is said


def test_axes_in_any_order(tmp_path: Path) -> None:
    path = _ome(tmp_path / "v", axes="txyzc", scale=(1, 8, 9, 40, 1), shift=(0, 80, 90, 40, 0))
    info = read_metadata(str(path))
    assert info.voxel_size_nm == (40.0, 9.0, 8.0)
    assert info.box == Box.of_shape((20, 40, 70), (1, 10, 10))
    assert info.channels == 3


def test_transformations_of_all_datasets_come_on_top(tmp_path: Path) -> None:
    extra = [{"type": "scale", "scale": [1, 1, 0.5, 0.5]}]
    info = read_metadata(str(_ome(tmp_path / "v", extra=extra)))
    assert info.voxel_size_nm == (40.0, 4.0, 4.0)
    assert info.box.begin == BOX.begin


def test_a_translation_of_part_voxels_is_rounded_and_said(tmp_path: Path) -> None:
    info = read_metadata(str(_ome(tmp_path / "v", shift=(0, 410, 160, 240))))
    assert info.box.begin == BOX.begin
    assert "10.25" in info.notes[0]


def test_plain_array_with_funlib_attributes(tmp_path: Path) -> None:
    path = _array(tmp_path / "v", voxel_size=[40, 8, 8], offset=[400, 160, 240])
    info = read_metadata(str(path))
    assert (info.box, info.voxel_size_nm, info.channels) == (BOX, (40.0, 8.0, 8.0), 1)


def test_plain_array_without_voxel_size_says_so(tmp_path: Path) -> None:
    info = read_metadata(str(_array(tmp_path / "v", (3, 20, 40, 70))))
    assert (info.channels, info.box) == (3, Box.of_shape((20, 40, 70)))
    assert info.voxel_size_nm == (1.0, 1.0, 1.0)
    assert "1 nm is assumed" in info.notes[0]


def test_of_a_shard_the_inner_chunks_count(tmp_path: Path) -> None:
    zarr.create_array(
        str(tmp_path / "v"), shape=(64, 64, 64), shards=(32,) * 3, chunks=(16,) * 3, dtype="uint8"
    )
    info = read_metadata(str(tmp_path / "v"))
    assert (info.chunk_size, info.file_size) == ((16,) * 3, (32,) * 3)


# ---------------------------------------------------------------------------- errors


def test_missing_names_the_nearest_directory(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(NoInputError) as caught:
        read_metadata(f"file://{tmp_path}/nope/further")
    assert f"nearest directory that does is {tmp_path}, with here" in str(caught.value)
    assert caught.value.exit_code == 66


def test_a_directory_that_is_no_volume_is_listed(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    with pytest.raises(NoInputError, match="which holds image"):
        read_metadata(str(tmp_path))


def test_two_slashes_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"three slashes: file:///gpfs/data") as caught:
        read_metadata("file://gpfs/data")
    assert "'gpfs'" in str(caught.value)


@pytest.mark.parametrize("url", ["foo://bucket/x", "", "file://"])
def test_a_url_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError):
        read_metadata(url)


def test_broken_json_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "info").write_text('{"scales": [],\n "type": oops}')
    with pytest.raises(BadDataError, match=r"info, line 2, column 10"):
        read_metadata(str(tmp_path))


@pytest.mark.parametrize("content", ["{}", '{"@type": "neuroglancer_legacy_mesh"}', "[1]"])
def test_an_info_of_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "info").write_text(content)
    with pytest.raises(BadDataError, match="info"):
        read_metadata(str(tmp_path))


@pytest.mark.parametrize("mip", [2, -1])
def test_a_mip_that_does_not_exist_lists_those_that_do(tmp_path: Path, mip: int) -> None:
    store = precomputed.create_segmentation(
        str(tmp_path), BOX, (40, 8, 8), (64, 64, 64), mip_factors=[(1, 2, 2)]
    )
    with pytest.raises(ConfigError, match=r"0: 8x8x40 nm .*; 1: 16x16x40 nm"):
        read_metadata(store.url, mip)


def test_a_zarr_mip_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0: dataset s0"):
        read_metadata(str(_ome(tmp_path / "v")), 1)
    with pytest.raises(ConfigError, match="plain array"):
        read_metadata(str(_array(tmp_path / "a")), 1)


def test_unsupported_dtype(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "z"), shape=(4, 4, 4), dtype="complex64")
    with pytest.raises(ConfigError, match=r"(?s)complex64.*supported: .*uint8"):
        read_metadata(str(tmp_path / "z"))
    _precomputed(tmp_path / "v")
    _edit(tmp_path / "v" / "info", data_type="bfloat16")
    with pytest.raises(ConfigError, match="bfloat16"):
        read_metadata(str(tmp_path / "v"))


def test_axes_that_are_no_volumes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="axes"):
        read_metadata(str(_array(tmp_path / "flat", (20, 40))))
    zarr.create_array(
        str(tmp_path / "t"), shape=(5, 4, 4, 4), dtype="uint8", dimension_names=["t", "z", "y", "x"]
    )
    with pytest.raises(ConfigError, match="time axis"):
        read_metadata(str(tmp_path / "t"))


@pytest.mark.parametrize("version", [2, 3])
def test_a_group_without_multiscales_asks_for_an_array(tmp_path: Path, version: Any) -> None:
    zarr.create_group(str(tmp_path / "g"), zarr_format=version, attributes={"a": 1})
    with pytest.raises(ConfigError, match="give the path of an array"):
        read_metadata(str(tmp_path / "g"))


# ---------------------------------------------------------------------------- identity


def test_digest_is_of_this_mip_alone(tmp_path: Path) -> None:
    store = precomputed.create_segmentation(
        str(tmp_path / "v"), BOX, (40, 8, 8), (64, 64, 64), mip_factors=[(1, 2, 2)]
    )
    before = [read_metadata(store.url, mip).digest for mip in (0, 1)]
    assert before[0] != before[1]
    info = json.loads((tmp_path / "v" / "info").read_text())
    info["mesh"] = "mesh"
    info["scales"][1]["size"][0] += 1
    (tmp_path / "v" / "info").write_text(json.dumps(info))
    after = [read_metadata(store.url, mip).digest for mip in (0, 1)]
    assert after[0] == before[0]
    assert after[1] != before[1]


def _zarr_of(path: Path, **options: Any) -> Path:
    array = zarr.create_array(
        str(path), shape=(32, 32, 32), dtype="uint8", chunks=(16, 16, 16), **options
    )
    array[...] = 1
    return path


def _precomputed_of(path: Path) -> Path:
    array = np.ones((32, 32, 32), np.uint8)
    precomputed.write_volume(str(path), array, (1, 1, 1), (5, 6, 7), (16, 16, 16))
    return path


@pytest.mark.parametrize(
    ("kind", "chunk"),
    [
        ("precomputed", "1_1_1/23-39_6-22_5-21.gz"),  # x second, y first, z first
        ("v3", "c/0/0/1"),
        ("v3 shard", "c/0/0/1"),
        ("v2 dot", "0.0.1"),
    ],
)
def test_chunk_identity_sees_the_chunks_that_meet_the_box(
    tmp_path: Path, kind: str, chunk: str
) -> None:
    path = tmp_path / "v"
    offset: Vec3 = (0, 0, 0)
    if kind == "precomputed":
        _precomputed_of(path)
        offset = (5, 6, 7)
    elif kind == "v3 shard":
        array = zarr.create_array(
            str(path), shape=(32,) * 3, dtype="uint8", shards=(16,) * 3, chunks=(8,) * 3
        )
        array[...] = 1
    else:
        _zarr_of(path, zarr_format=2 if kind.startswith("v2") else 3)
    hit = Box((0, 0, 15), (1, 1, 17)).translate(offset)
    missed = Box((0, 0, 0), (32, 32, 16)).translate(offset)
    before = [chunk_identity(str(path), 0, box) for box in (hit, missed)]
    assert before == [chunk_identity(str(path), 0, box) for box in (hit, missed)]
    os.utime(path / chunk, ns=(1, 1))
    after = [chunk_identity(str(path), 0, box) for box in (hit, missed)]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_chunk_identity_elsewhere_is_refused(tmp_path: Path) -> None:
    path = _precomputed(tmp_path / "v")
    info = json.loads((path / "info").read_text())
    info["scales"][0]["sharding"] = {"@type": "neuroglancer_uint64_sharded_v1"}
    (path / "info").write_text(json.dumps(info))
    with pytest.raises(ConfigError, match="identity: metadata"):
        chunk_identity(str(path), 0, BOX)

"""Whatever the input's format, type and convention: the same map gives the same voxels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magneton_tasks.base.geometry import Box
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.zarr import read as zarr_volumes
from tests.helpers import volumes
from tests.helpers.volumes import CHUNK, OFFSET, SHAPE, VOXEL_NM, Array, Run, write_precomputed

pytestmark = pytest.mark.usefixtures("childless")

#: two blocks along x, cut where the input's chunks end
SMALL: tuple[int, int, int] = (20, 40, 64)
TWO_BLOCKS: dict[str, Any] = {
    "block.size": [20, 40, 48],
    "block.overlap": [0, 0, 16],
    "apply.mips": 0,
}


def dyadic() -> Array:
    """Affinities in steps of 1/256 below 1: exact in float16, float32, and in integers of scale 256."""
    affinity = volumes.affinities(volumes.cells(SMALL, n=12))
    return affinity.astype(np.float32) / 256


def run(folder: Path, settings: dict[str, Any] | None = None, **paths: str) -> Run:
    return volumes.run_pipeline(
        volumes.write_config(folder, TWO_BLOCKS | (settings or {}), **paths)
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Array:
    """The voxels that the float32 map gives."""
    folder = tmp_path_factory.mktemp("plain")
    write_precomputed(folder / "affinity", dyadic())
    done = run(folder)
    voxels = volumes.read_segmentation(done)
    assert len(done.plan.geometry.grid) == 2
    assert len(np.unique(voxels)) > 8
    return voxels


def with_sign(affinity: Array) -> Array:
    """The map with ``affs[d][v]`` joining v and v + e_d."""
    turned = np.zeros_like(affinity)
    for d in range(3):
        here, out = np.moveaxis(affinity[d], d, 0), np.moveaxis(turned[d], d, 0)
        out[:-1] = here[1:]
    return turned


KINDS: dict[str, tuple[Callable[[Array], Array], dict[str, Any]]] = {
    "float16": (lambda a: a.astype(np.float16), {}),
    "uint8 with scale": (lambda a: (a * 256).astype(np.uint8), {"input.scale": 256}),
    "uint16 with scale": (lambda a: (a * 256).astype(np.uint16), {"input.scale": 256}),
    "float32 with scale": (lambda a: a * 2, {"input.scale": 2.0}),
    "boundaries": (lambda a: 1 - a, {"input.invert": True}),
    "plus sign": (with_sign, {"input.offset_sign": 1}),
    "channels xyz": (lambda a: a[::-1].copy(), {"input.channels": "xyz"}),
    "channels 1 to 3 of 4": (
        lambda a: np.concatenate([np.full_like(a[:1], 0.3), a]), {"input.channels": [1, 2, 3]},
    ),
    "all at once": (
        lambda a: ((1 - with_sign(a)[::-1]) * 256).astype(np.uint16),
        {"input.channels": "xyz", "input.offset_sign": 1, "input.invert": True, "input.scale": 256},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_convention_changes_nothing(kind: str, plain: Array, tmp_path: Path) -> None:
    convert, settings = KINDS[kind]
    write_precomputed(tmp_path / "affinity", convert(dyadic()))
    assert np.array_equal(volumes.read_segmentation(run(tmp_path, settings)), plain)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_ome_zarr_gives_the_same_with_its_offset_and_voxel_size(
    zarr_format: Any, plain: Array, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/affinity.zarr"
    zarr_volumes.write_volume(url, dyadic(), VOXEL_NM, OFFSET, CHUNK, zarr_format=zarr_format)
    done = run(tmp_path, input=url)
    assert np.array_equal(volumes.read_segmentation(done), plain)
    info = read_metadata(done.attempt.config.paths.output)
    assert info.box == Box.of_shape(SMALL, OFFSET)
    assert info.voxel_size_nm == VOXEL_NM


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plain_zarr_array_begins_at_zero(zarr_format: Any, plain: Array, tmp_path: Path) -> None:
    path = tmp_path / "affinity.zarr"
    zarr.create_array(str(path), data=dyadic(), zarr_format=zarr_format, chunks=(1, *CHUNK))
    done = run(tmp_path, input=f"file://{path}")
    voxels = volumes.read_segmentation(done)
    assert read_metadata(done.attempt.config.paths.output).box == Box.of_shape(SMALL)
    assert np.array_equal(voxels, plain)


def test_uint16_of_full_range_is_uint8_of_full_range(tmp_path: Path) -> None:
    affinity = volumes.affinities(volumes.cells(SMALL, n=12))
    found = []
    for name, array in (("a", affinity), ("b", affinity.astype(np.uint16) * 257)):
        (tmp_path / name).mkdir()
        write_precomputed(tmp_path / name / "affinity", array)
        found.append(volumes.read_segmentation(run(tmp_path / name)))
    assert np.array_equal(found[0], found[1])
    assert len(np.unique(found[0])) > 8


def test_a_coarser_mip_is_segmented_in_its_own_frame(plain: Array, tmp_path: Path) -> None:
    write_precomputed(tmp_path / "affinity", dyadic())
    path = tmp_path / "affinity" / "info"
    info = json.loads(path.read_text())
    coarse = info["scales"][0]
    finer = coarse | {
        "key": "fine",
        "resolution": [r / 2 for r in coarse["resolution"]],
        "size": [2 * s for s in coarse["size"]],
        "voxel_offset": [2 * o for o in coarse["voxel_offset"]],
    }
    path.write_text(json.dumps(info | {"scales": [finer, coarse]}))
    done = run(tmp_path, {"input.mip": 1})
    assert np.array_equal(volumes.read_segmentation(done), plain)
    assert read_metadata(done.attempt.config.paths.output).voxel_size_nm == VOXEL_NM


def test_the_output_lies_where_the_input_does(base: Run) -> None:
    info = read_metadata(base.attempt.config.paths.output)
    assert info.box == Box.of_shape(SHAPE, OFFSET)
    assert info.voxel_size_nm == VOXEL_NM
    assert (info.dtype, info.channels, info.encoding) == ("uint64", 1, "compressed_segmentation")


# ------------------------------------------------------------------ box
def test_a_box_is_its_region_s_own_run_in_the_full_frame(base: Run, tmp_path: Path) -> None:
    """Same voxels at the same place as a volume that holds nothing but that region."""
    begin = tuple(o + c for o, c in zip(OFFSET, (16, 0, 32), strict=True))
    end = tuple(o + s for o, s in zip(OFFSET, SHAPE, strict=True))
    cut = run(
        tmp_path,
        {
            "box": {"begin": list(begin), "end": list(end)},
            "block.size": [20, 48, 24],
            "block.overlap": [4, 16, 8],
        },
        input=base.attempt.config.paths.input,
    )
    assert read_metadata(cut.attempt.config.paths.output).box == Box(begin, end)  # type: ignore[arg-type]

    whole = volumes.affinities(volumes.cells())
    own = tmp_path / "own"
    own.mkdir()
    write_precomputed(own / "affinity", whole[:, 16:, :, 32:], voxel_offset=begin)
    alone = run(own, {"block.size": [20, 48, 24], "block.overlap": [4, 16, 8]})
    assert len(alone.plan.geometry.grid) == 2 * 2 * 2
    assert np.array_equal(volumes.read_segmentation(cut), volumes.read_segmentation(alone))


# ------------------------------------------------------------------ sizes
def test_a_volume_smaller_than_a_block(tmp_path: Path) -> None:
    shape = (5, 7, 9)
    volumes.make_volume(tmp_path, volumes.affinities(volumes.cells(shape, n=2), noise=0))
    done = run(
        tmp_path, {"block.size": [64, 64, 64], "block.overlap": [31, 31, 31], "apply.mips": 3}
    )
    assert len(done.plan.geometry.grid) == 1
    voxels = volumes.read_segmentation(done)
    assert volumes.same_partition(voxels, volumes.cells(shape, n=2))


def test_sizes_that_don_t_divide(tmp_path: Path) -> None:
    shape = (23, 41, 67)
    truth = volumes.cells(shape, n=12)
    volumes.make_volume(tmp_path, volumes.affinities(truth, noise=0))
    done = run(
        tmp_path,
        {"block.size": [17, 41, 50], "block.overlap": [7, 1, 19], "apply.chunk_size": [10, 12, 14]},
    )
    assert done.plan.geometry.grid.shape == (3, 1, 3)
    assert volumes.same_partition(volumes.read_segmentation(done), truth)


# ------------------------------------------------------------------ refused
@pytest.mark.parametrize(
    ("array", "settings", "message"),
    [
        (np.zeros((3, 8, 8, 8), np.int32), {}, "holds int32; an affinity map is one of uint8"),
        (np.zeros((2, 8, 8, 8), np.uint8), {}, "has 2 channels"),
        (np.zeros((4, 8, 8, 8), np.uint8), {}, "needs exactly 3"),
        (np.zeros((4, 8, 8, 8), np.uint8), {"input.channels": [2, 3, 4]}, "needs 5"),
        (np.zeros((3, 8, 8, 8), np.uint8), {"input.mip": 3}, "mip"),
        (np.zeros((3, 8, 8, 8), np.uint8), {"box": {"begin": [0, 0, 0], "end": [9, 9, 9]}}, "reaches out of the volume"),
    ],
)  # fmt: skip
def test_an_input_that_doesn_t_fit_is_refused_before_anything_is_written(
    array: Array, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = volumes.make_volume(tmp_path, array, settings)
    with pytest.raises(ConfigError, match=message):
        volumes.plan_run(config)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["affinity", "volume.yaml"]

"""From layers to Neuroglancer's state: what can be drawn, where it lies, how it looks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import Delta

from magneton_tasks.errors import NoInputError
from magneton_tasks.viewer.layers import Layer, Shown, resolve
from magneton_tasks.viewer.state import State, make_state
from magneton_tasks.viewer.volume_files import is_volume_file
from tests.helpers import volumes
from tests.helpers.zarr_layers import ome_group, plain_array
from tests.viewer.conftest import layers_in

BASE = "http://host/v/t/"


def state_of(layers: list[Layer], **options: Any) -> State:
    shown, _ = resolve(layers)
    return make_state(shown, BASE, (27.5, 16.5, 332.5), volumes.VOXEL_NM, **options)


def affinity(path: Path, **options: Any) -> Layer:
    return Layer("affinity", "affinity", f"file://{path}", **options)


# ------------------------------------------------------------------ the state
def test_the_state_of_a_precomputed_volume(small_volumes: Path) -> None:
    state = state_of(layers_in(small_volumes))
    assert state["position"] == [332.5, 16.5, 27.5]  # x, y, z
    assert state["dimensions"]["z"] == [pytest.approx(16e-9), "m"]
    assert state["dimensions"]["x"] == [pytest.approx(8e-9), "m"]
    image, segmentation = state["layers"]
    assert (image["type"], segmentation["type"]) == ("image", "segmentation")
    assert image["source"] == f"precomputed://{BASE}data/0"
    assert segmentation["source"] == f"precomputed://{BASE}data/1"
    # ids reach beyond what JavaScript's numbers hold
    assert segmentation["segments"] == ["1", "1099511627776"]
    assert state["layout"] == "4panel"


def test_channels_are_x_red_y_green_z_blue(small_volumes: Path) -> None:
    """`channels` says which stored channel is z, y, x."""
    layer = replace(layers_in(small_volumes)[0], channels=(1, 2, 0))
    shader = state_of([layer])["layers"][0]["shader"]
    asked = [int(part[0]) for part in shader.split("getDataValue(")[1:]]
    assert asked == [0, 2, 1]


@pytest.mark.parametrize(
    ("dtype", "options", "expected"),
    [
        ("uint8", {}, "stored / 255.0;"),
        ("uint16", {}, "stored / 65535.0;"),
        ("float32", {}, "stored / 1.0;"),
        ("uint8", {"scale": 200.0}, "stored / 200.0;"),
        ("float32", {"invert": True}, "1.0 - stored / 1.0;"),
    ],
)
def test_values_become_affinities(
    small_volumes: Path, dtype: str, options: dict[str, Any], expected: str
) -> None:
    (one,), _ = resolve([replace(layers_in(small_volumes)[0], **options)])
    one = replace(one, info=replace(one.info, dtype=dtype))
    shader = make_state([one], BASE, (0, 0, 0), (1, 1, 1))["layers"][0]["shader"]
    assert f"return {expected}" in shader


def test_a_small_volume_fills_its_panel_and_a_large_one_doesnt_load_as_a_whole(
    small_volumes: Path,
) -> None:
    layers = layers_in(small_volumes)
    small = state_of(layers, shape_vox=(40, 64, 64))
    assert small["crossSectionScale"] < 0.5
    large = state_of(layers, shape_vox=(5000, 90_000, 90_000))
    assert large["crossSectionScale"] == 1
    assert large["projectionScale"] <= 2048


def test_meshes_are_shown_as_a_whole_beside_the_list_of_objects(small_volumes: Path) -> None:
    image, segmentation = layers_in(small_volumes)
    solid = replace(segmentation, solid=True)
    state = state_of([image, solid], shape_vox=(5000, 90_000, 90_000))
    assert (state["layout"], state["showSlices"]) == ("xy-3d", False)
    assert state["selectedLayer"] == {"layer": "segmentation", "visible": True}
    assert state["projectionScale"] > 90_000
    (_, drawn), listed = (
        state["layers"],
        state_of([image, replace(solid, listed=True)])["layers"][1],
    )
    assert ("segmentQuery" in drawn, listed["segmentQuery"]) == (False, ">voxels")
    several = [replace(solid, name=name) for name in ("0.5", "0.7")]
    layout = state_of([image, *several], side_by_side=True)["layout"]
    assert [panel["layout"] for panel in layout["children"]] == ["xy-3d", "xy-3d"]


def test_side_by_side(small_volumes: Path) -> None:
    image, segmentation = layers_in(small_volumes)
    several = [replace(segmentation, name=name, selected=()) for name in ("0.5", "0.7", "0.9")]
    layout = state_of([image, *several], side_by_side=True)["layout"]
    assert layout["type"] == "row"
    assert [panel["layers"] for panel in layout["children"]] == [
        ["affinity", "0.5"],
        ["affinity", "0.7"],
        ["affinity", "0.9"],
    ]
    assert state_of([image, segmentation], side_by_side=True)["layout"] == "4panel"


# ------------------------------------------------------------------ Zarr
def test_a_plain_zarr_array_is_put_where_we_count_it(tmp_path: Path) -> None:
    plain_array(tmp_path / "a", 3)
    source = state_of([affinity(tmp_path / "a")])["layers"][0]["source"]
    assert source["url"] == f"zarr3://{BASE}data/0/"
    transform = source["transform"]
    assert list(transform["inputDimensions"]) == ["dim_0", "dim_1", "dim_2", "dim_3"]
    assert list(transform["outputDimensions"]) == ["c^", "z", "y", "x"]
    assert transform["outputDimensions"]["z"] == [pytest.approx(16e-9), "m"]
    assert [row[-1] for row in transform["matrix"]] == [0, *volumes.OFFSET]


def test_axes_that_have_names_keep_them_in_the_file(tmp_path: Path) -> None:
    """Neuroglancer finds an array's dimensions by the names in the file."""
    plain_array(tmp_path / "two", 2, {"_ARRAY_DIMENSIONS": ["c", "z", "y", "x"]})
    plain_array(tmp_path / "unnamed", 2)
    for name, expected in (("two", ["c", "z", "y", "x"]), ("unnamed", ["d0", "d1", "d2", "d3"])):
        source = state_of([affinity(tmp_path / name)])["layers"][0]["source"]
        assert source["url"].startswith("zarr2://")
        assert list(source["transform"]["inputDimensions"]) == expected


@pytest.mark.parametrize("version", [2, 3])
def test_an_ome_zarr_group_is_shown_with_its_mips(tmp_path: Path, version: int) -> None:
    ome_group(tmp_path / "g", version)
    (one,), _ = resolve([affinity(tmp_path / "g", mip=1)])
    assert one.inner == ""
    assert one.info.voxel_size_nm == volumes.VOXEL_NM  # coordinates count in the finest mip
    transform = state_of([affinity(tmp_path / "g", mip=1)])["layers"][0]["source"]["transform"]
    assert list(transform["inputDimensions"]) == ["c'", "z", "y", "x"]
    assert [row[-1] for row in transform["matrix"]] == [0, 0.5, 0.5, 0.5]


def break_version(group: zarr.Group) -> None:
    group.attrs["multiscales"] = [{**group.attrs["multiscales"][0], "version": "0.1"}]  # type: ignore[index,dict-item]


def break_unit(group: zarr.Group) -> None:
    multiscale: Any = group.attrs["multiscales"][0]  # type: ignore[index]
    for axis in multiscale["axes"][1:]:
        axis["unit"] = "nm"
    group.attrs["multiscales"] = [multiscale]


@pytest.mark.parametrize("change", [break_version, break_unit])
def test_of_a_group_that_the_client_refuses_one_array_is_shown(
    tmp_path: Path, change: Callable[[zarr.Group], None]
) -> None:
    ome_group(tmp_path / "g", 2)
    change(zarr.open_group(str(tmp_path / "g"), mode="r+"))
    source = state_of([affinity(tmp_path / "g", mip=1)])["layers"][0]["source"]
    assert source["url"] == f"zarr2://{BASE}data/0/1"
    assert source["transform"]["outputDimensions"]["x"] == [pytest.approx(16e-9), "m"]


def test_chunks_of_one_channel_become_a_layer_each(tmp_path: Path) -> None:
    """Neuroglancer can't take colours from several chunks."""
    plain_array(tmp_path / "a", 2, chunks=(1, 16, 32, 32))
    layers = state_of([affinity(tmp_path / "a", channels=(0, 1, 2))])["layers"]
    assert [layer["name"] for layer in layers] == ["affinity x", "affinity y", "affinity z"]
    assert [layer["localPosition"] for layer in layers] == [[2], [1], [0]]
    assert {layer["blend"] for layer in layers} == {"additive"}


def test_of_shards_the_inner_chunks_count(tmp_path: Path) -> None:
    space: dict[str, Any] = {"shards": (3, 16, 32, 32), "chunks": (1, 16, 16, 16)}
    plain_array(tmp_path / "split", 3, **space)
    plain_array(tmp_path / "joined", 3, **(space | {"chunks": (3, 16, 16, 16)}))
    assert [resolve([affinity(tmp_path / name)])[0][0].joined for name in ("split", "joined")] == [
        False,
        True,
    ]


# ------------------------------------------------------------------ what can't be drawn
def array_of(dtype: str, **options: Any) -> Callable[[Path], Layer]:
    def make(folder: Path) -> Layer:
        plain_array(folder / "a", options.pop("version", 3), dtype=dtype, **options)
        return affinity(folder / "a")

    return make


def crackle(folder: Path) -> Layer:
    labels = volumes.cells((16, 16, 16)).astype(np.uint64)
    url = volumes.write_precomputed(
        folder / "s", labels, encoding="crackle", layer_type="segmentation"
    )
    return Layer("labels", "segmentation", url)


def too_few_channels(folder: Path) -> Layer:
    url = volumes.write_precomputed(folder / "a", np.zeros((2, 16, 16, 16), np.uint8))
    return Layer("affinity", "affinity", url)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (array_of("float16"), "draws no float16"),
        (array_of("float64"), "draws no float64"),
        (array_of("uint8", version=2, filters=[Delta("u1")]), "can't decode"),
        (crackle, "draws no crackle"),
        (too_few_channels, "has 2 channel"),
        (lambda folder: affinity(folder / "nothing"), "doesn't exist"),
        (lambda folder: Layer("affinity", "affinity", "ftp://host/a"), "can't be opened"),
    ],
)
def test_what_cant_be_drawn_is_left_out_with_a_reason(
    tmp_path: Path, small_volumes: Path, make: Callable[[Path], Layer], reason: str
) -> None:
    other = layers_in(small_volumes)[1]
    shown, notes = resolve([make(tmp_path), other])
    assert [one.layer for one in shown] == [other]
    assert len(notes) == 1 and reason in notes[0] and notes[0].startswith("left out: ")


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="a:.*doesn't exist.*b:.*doesn't exist"):
        resolve([Layer(n, "segmentation", f"file://{tmp_path}/{n}") for n in "ab"])


def test_a_bucket_is_left_to_the_browser(small_volumes: Path) -> None:
    (one,), _ = resolve(layers_in(small_volumes)[1:])
    remote = Shown(one.layer, one.info, None, "gs://bucket/labels", "", True)
    (layer,) = make_state([remote], BASE, (0, 0, 0), (1, 1, 1))["layers"]
    assert layer["source"] == "precomputed://gs://bucket/labels"


# ------------------------------------------------------------------ names of files
@pytest.mark.parametrize(
    ("format_name", "name", "expected"),
    [
        ("precomputed", "info", True),
        ("precomputed", "8_8_16/0-64_0-64_0-64", True),
        ("precomputed", "8_8_16/-64-0_-16-48_7-23", True),
        ("precomputed", "8.5_8_16/0-1_0-1_0-1", True),
        ("precomputed", "8_8_16/0f3.shard", True),
        ("precomputed", "properties/info", True),
        ("precomputed", "mesh/0f3.shard", True),
        ("precomputed", "mesh/4294967745", True),
        ("precomputed", "mesh/4294967745.index", True),
        ("precomputed", "mesh/4294967745:0:0-512_0-512_0-100", True),
        ("precomputed", "4294967745.index", False),
        ("precomputed", "mesh/notes.index", False),
        ("precomputed", "0-64_0-64_0-64", False),
        ("precomputed", "8_8_16/0-64_0-64_0-64.gz", False),  # by its plain name only
        ("precomputed", "magneton.json", False),
        ("precomputed", "a/../info", False),
        ("precomputed", "a/./info", False),
        ("precomputed", "a//info", False),
        ("precomputed", "/info", False),
        ("precomputed", "info\n", False),
        ("zarr3", "zarr.json", True),
        ("zarr3", "0/zarr.json", True),
        ("zarr3", "c/0/1/2", True),
        ("zarr3", "s0/c.0.1.2", True),
        ("zarr2", ".zarray", True),
        ("zarr2", "0/.zattrs", True),
        ("zarr2", "0.0.1.2", True),
        ("zarr2", "0/0/1/2", True),
        ("zarr2", ".zarray.tmp", False),
        ("zarr2", ".ssh/id_rsa", False),
        ("zarr2", "../0", False),
        ("zarr2", "info", False),
    ],
)
def test_which_names_are_a_volumes(format_name: str, name: str, expected: bool) -> None:
    assert is_volume_file(format_name, name) is expected


def test_defining_the_command_loads_none_of_it() -> None:
    code = (
        "import sys, magneton_tasks.cli.view.commands\n"
        "print([m for m in ('starlette', 'uvicorn', 'neuroglancer', 'numpy', 'asyncio') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

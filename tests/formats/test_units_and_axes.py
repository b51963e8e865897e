"""What volumes of other tools say of units, axes and sizes: read as meant, or refused, never guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magneton_tasks.base.geometry import Box, Size3
from magneton_tasks.errors import BadDataError, ConfigError, MagnetonError
from magneton_tasks.formats.affinity import AffinityReader
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.precomputed.info import make_scales
from magneton_tasks.formats.precomputed.write import write_volume
from magneton_tasks.kernels.bad_affinity import BadAffinityError


def described(folder: Path, shape: tuple[int, ...] = (3, 8, 9, 10), **attributes: Any) -> str:
    """A Zarr array with attributes."""
    made = zarr.create_array(store=folder / "a", shape=shape, dtype="u1", zarr_format=2)
    made.attrs.update(attributes)
    return str(folder / "a")


def ome(folder: Path, axes: list[dict[str, str]]) -> str:
    group = zarr.open_group(folder / "g", mode="w", zarr_format=2)
    group.create_array("0", shape=(3, 8, 9, 10), dtype="u1")
    steps = [{"type": "scale", "scale": [1, 4, 0.4, 0.4]}]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    multiscales: Any = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    group.attrs["multiscales"] = multiscales
    return str(folder / "g")


@pytest.mark.parametrize(
    ("units", "nm"),
    [
        ("um", 1e3), ("µm", 1e3), ("μm", 1e3), (["um"] * 3, 1e3), (["", "um", "um", "um"], 1e3),
        (["micrometre"] * 3, 1e3), (["Micrometers"] * 3, 1e3), ("MICRON", 1e3), ("mm", 1e6),
        ("nanometres", 1), ("nm", 1), ("Angstrom", 0.1), ("Å", 0.1), ("pm", 1e-3), ("meter", 1e9),
    ],
)  # fmt: skip
def test_units_of_plain_attributes(tmp_path: Path, units: Any, nm: float) -> None:
    url = described(tmp_path, voxel_size=[40, 4, 4], offset=[80, 0, 0], units=units)
    info = read_metadata(url)
    assert info.voxel_size_nm == pytest.approx((40 * nm, 4 * nm, 4 * nm))
    assert info.box.begin == (2, 0, 0)
    assert not info.notes


@pytest.mark.parametrize("key", ["units", "unit"])
@pytest.mark.parametrize("units", ["parsec", ["um", "um", "parsec"], "Mm", "pixel", ["s"] * 3])
def test_units_that_aren_t_known_are_refused(tmp_path: Path, key: str, units: Any) -> None:
    with pytest.raises(ConfigError, match="has the unit"):
        read_metadata(described(tmp_path, voxel_size=[40, 4, 4], **{key: units}))


@pytest.mark.parametrize("units", [["nm"], ["nm", "nm"], ["nm"] * 5, 7])
def test_units_of_some_axes_are_refused(tmp_path: Path, units: Any) -> None:
    with pytest.raises(BadDataError, match="give one for each axis"):
        read_metadata(described(tmp_path, voxel_size=[40, 4, 4], units=units))


def test_a_unit_that_is_empty_is_told(tmp_path: Path) -> None:
    info = read_metadata(described(tmp_path, voxel_size=[40, 4, 4], units=["", "nm", "nm"]))
    assert info.notes == ("axis z has no unit; nm is assumed",)


def test_values_of_all_axes_go_by_their_names(tmp_path: Path) -> None:
    url = described(
        tmp_path,
        (8, 9, 10, 3),
        axis_names=["z", "y", "x", "c"],
        voxel_size=[40, 8, 4, 1],
        units=["nm", "nm", "um", ""],
        offset=[40, 16, 0, 0],
    )
    info = read_metadata(url)
    assert info.voxel_size_nm == pytest.approx((40, 8, 4000))
    assert info.box.begin == (1, 2, 0)


@pytest.mark.parametrize(
    "names",
    [["c^", "z", "y", "x"], ["c0^", "d0", "d1", "d2"], ["affs^", "z", "y", "x"], ["affs", "z", "y", "x"],
     ["neighborhood^", "z", "y", "x"], ["x^", "z", "y", "x"], ["dim_0", "dim_1", "dim_2", "dim_3"],
     ["d0", "d1", "d2", "d3"], ["channel", "Z", "Y", "X"]],
)  # fmt: skip
def test_axes_are_known_by_name_mark_or_order(tmp_path: Path, names: list[str]) -> None:
    info = read_metadata(described(tmp_path, voxel_size=[40, 8, 4], axis_names=names))
    assert (info.axes, info.box.shape, info.channels) == ("czyx", (8, 9, 10), 3)
    assert info.voxel_size_nm == (40, 8, 4)


@pytest.mark.parametrize(
    "names", [["a", "b", "y", "x"], ["c^", "z", "y", "y"], ["c^", "d^", "y", "x"]]
)
def test_axes_that_can_t_be_known_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(ConfigError, match="axes"):
        read_metadata(described(tmp_path, voxel_size=[40, 8, 4], axis_names=names))


@pytest.mark.parametrize(
    "channel",
    [{"name": "affinity", "type": "channel"}, {"name": "affinity", "type": "neighborhood"},
     {"name": "x-edge", "type": "Channel"}, {"name": "affs"}],
)  # fmt: skip
def test_ome_axes(tmp_path: Path, channel: dict[str, str]) -> None:
    space = [{"name": a, "type": "space", "unit": "micrometre"} for a in "zyx"]
    info = read_metadata(ome(tmp_path, [channel, *space]))
    assert (info.axes, info.channels) == ("czyx", 3)
    assert info.voxel_size_nm == pytest.approx((4000, 400, 400))


@pytest.mark.parametrize(
    "size", [(4e-8, 4e-9, 4e-9), (5.5e-9,) * 3, (4e-10, 3e-10, 3e-10), (4e-200,) * 3]
)
def test_tiny_voxels_are_written_as_they_are(tmp_path: Path, size: Size3) -> None:
    url = f"file://{tmp_path}/seg"
    write_volume(url, np.ones((8, 8, 8), np.uint64), size, layer_type="segmentation")
    assert read_metadata(url).voxel_size_nm == pytest.approx(size, rel=1e-6, abs=0)


def test_names_of_mips_stay_as_they_were() -> None:
    box = Box((0, 0, 0), (8, 8, 8))
    sizes = {(30, 8.0, 8.123456789012): "8.123456789_8_30", (40, 4.0000000001, 4): "4_4_40"}
    for size, key in sizes.items():
        assert make_scales(box, size, [], (8, 8, 8))[0].key == key


@pytest.mark.parametrize(
    ("key", "value"),
    [("voxel_offset", [0.5, 0, 0]), ("size", [16, 8.5, 8]), ("chunk_sizes", [[8, 8, 7.9]]),
     ("size", [1e400, 8, 8]), ("resolution", [4, float("nan"), 4])],
)  # fmt: skip
def test_fractions_where_voxels_are_counted_are_refused(
    tmp_path: Path, key: str, value: Any
) -> None:
    write_volume(f"file://{tmp_path}/v", np.ones((8, 8, 8), np.uint8), (4, 4, 4))
    path = tmp_path / "v" / "info"
    info = json.loads(path.read_text())
    info["scales"][0][key] = value
    path.write_text(json.dumps(info))
    with pytest.raises(BadDataError, match="info"):
        read_metadata(f"file://{tmp_path}/v")


def test_whole_numbers_may_have_a_point(tmp_path: Path) -> None:
    write_volume(f"file://{tmp_path}/v", np.ones((8, 8, 8), np.uint8), (4, 4, 4))
    path = tmp_path / "v" / "info"
    path.write_text(path.read_text().replace('"size": [8,', '"size": [8.0,'))
    assert read_metadata(f"file://{tmp_path}/v").box.shape == (8, 8, 8)


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 100_000], ids=["digits", "brackets"])
def test_json_that_nobody_can_read_is_bad_data(tmp_path: Path, text: str) -> None:
    (tmp_path / "info").write_text(f'{{"scales": {text}}}')
    with pytest.raises(MagnetonError) as caught:
        read_metadata(str(tmp_path))
    assert caught.value.exit_code == 65


def affinities(folder: Path, values: np.ndarray[Any, Any], invert: bool = False) -> AffinityReader:
    made = zarr.create_array(store=folder / "a", shape=values.shape, dtype=values.dtype)
    made[...] = values
    return AffinityReader(str(folder / "a"), invert=invert)


@pytest.mark.parametrize(("dtype", "beyond"), [("float32", 1.2e-7), ("float16", 9.8e-4)])
@pytest.mark.parametrize("invert", [False, True])
def test_rounding_of_the_dtype_is_no_error(
    tmp_path: Path, dtype: str, beyond: float, invert: bool
) -> None:
    values = np.full((3, 4, 4, 4), 0.5, dtype)
    values[0, 0, 0, 0], values[1, 1, 1, 1] = 1 + beyond, -beyond
    assert values.max() > 1
    reader = affinities(tmp_path, values, invert)
    box = Box.of_shape((4, 4, 4))
    found = reader.read(box)
    assert (found.min(), found.max()) == (0, 1)
    assert {0, 255} < set(reader.read_uint8(box).flat)


@pytest.mark.parametrize("value", [1.00001, -0.00001, 1.01, float("nan")])
def test_what_isn_t_rounding_is_refused_with_all_its_digits(tmp_path: Path, value: float) -> None:
    values = np.full((3, 4, 4, 4), 0.5, np.float32)
    values[2, 1, 2, 3] = value
    with pytest.raises(BadAffinityError) as caught:
        affinities(tmp_path, values).read_uint8(Box.of_shape((4, 4, 4)))
    assert "affinity 1 at" not in str(caught.value)
    assert f"affinity {np.float32(value):.9g} at voxel (1, 2, 3)" in str(caught.value)

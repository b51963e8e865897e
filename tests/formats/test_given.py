"""``input.voxel_size_nm``, ``input.voxel_offset`` and ``input.axes``: for metadata that says nothing, or lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magneton_tasks.base.geometry import Box
from magneton_tasks.config.read import parse_config
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.formats.arrival import Awaited
from magneton_tasks.formats.given import NO_VOXEL_SIZE
from magneton_tasks.formats.info import NOTHING_GIVEN, Given
from magneton_tasks.formats.metadata import chunk_identity, read_metadata
from magneton_tasks.formats.precomputed.write import write_volume
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.viewer.layers import Layer, resolve

ARRAY = np.arange(3 * 4 * 5 * 6, dtype=np.uint8).reshape(3, 4, 5, 6)
SAID = Given("czyx", (40.0, 8.0, 4.0), (10, 20, 30))


def stored(folder: Path, array: Any = ARRAY, **attributes: Any) -> str:
    made = zarr.create_array(str(folder / "a"), data=array, chunks=(1, 2, 2, 2))
    made.attrs.update(attributes)
    return str(folder / "a")


def test_what_is_said_stands_where_metadata_says_nothing(tmp_path: Path) -> None:
    url = stored(tmp_path)
    assert read_metadata(url).notes == (NO_VOXEL_SIZE,)
    (note,) = read_metadata(url, 0, NOTHING_GIVEN).notes
    assert note.startswith(f"{NO_VOXEL_SIZE}; set input.voxel_size_nm")
    volume = open_volume(url, 0, SAID)
    info = volume.info
    assert (info.voxel_size_nm, info.box.begin, info.notes) == ((40, 8, 4), (10, 20, 30), ())
    box = Box((11, 22, 33), (14, 25, 36))
    np.testing.assert_array_equal(volume.read(box), ARRAY[:, 1:, 2:, 3:])
    # a size that is set later recomputes nothing
    assert info.digest == read_metadata(url).digest
    assert chunk_identity(url, 0, box, info) == chunk_identity(url, 0, Box((1, 2, 3), (4, 5, 6)))


def test_the_config_wins_over_metadata_and_both_are_told(tmp_path: Path) -> None:
    url = stored(tmp_path, voxel_size=[8, 8, 8], offset=[8, 8, 8])
    info = read_metadata(url, 0, SAID)
    assert (info.voxel_size_nm, info.box.begin) == ((40, 8, 4), (10, 20, 30))
    size, offset = info.notes
    assert "says [8.0, 8.0, 8.0] (z, y, x); input.voxel_size_nm, [40.0, 8.0, 4.0], is taken" in size
    assert "says [1, 1, 1] (z, y, x); input.voxel_offset, [10, 20, 30], is taken" in offset
    assert read_metadata(url, 0, Given(voxel_size_nm=(8.0, 8.0, 8.0))).notes == ()


@pytest.mark.parametrize("axes", ["xyzc", "zyxc", "tczyx"])
def test_axes_are_as_they_are_said(tmp_path: Path, axes: str) -> None:
    order = ["czyx".index(a) for a in axes if a != "t"]
    array = ARRAY.transpose(order)[(np.newaxis,) * ("t" in axes)]
    zarr.create_array(str(tmp_path / "a"), data=array)
    volume = open_volume(str(tmp_path / "a"), 0, Given(axes))
    np.testing.assert_array_equal(volume.read(volume.info.box), ARRAY)


def test_axes_of_another_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"input.axes is zyx, .* 4 axes: \(3, 4, 5, 6\)"):
        read_metadata(stored(tmp_path), 0, Given("zyx"))


@pytest.mark.parametrize("size", [[0, 8, 8], [-4, 8, 8], ["NaN", 8, 8]])
def test_a_voxel_size_of_zero_is_refused_with_the_way_out(tmp_path: Path, size: list[Any]) -> None:
    url = stored(tmp_path, resolution=size)
    with pytest.raises(BadDataError, match="correct it there, or set input.voxel_size_nm"):
        read_metadata(url, 0, NOTHING_GIVEN)
    info = read_metadata(url, 0, Given(voxel_size_nm=(40.0, 8.0, 8.0)))
    assert "can't be" in info.notes[0]
    assert info.voxel_size_nm == (40, 8, 8)


def test_precomputed_files_are_found_wherever_the_volume_is_said_to_lie(tmp_path: Path) -> None:
    write_volume(f"file://{tmp_path}/p", ARRAY, (8, 8, 8), (1, 2, 3), (4, 4, 4))
    volume = open_volume(f"{tmp_path}/p", 0, Given(voxel_offset=(100, 0, 0)))
    assert volume.info.box.begin == (100, 0, 0)
    np.testing.assert_array_equal(volume.read(volume.info.box), ARRAY)
    box = Box((103, 4, 5), (104, 5, 6))
    assert chunk_identity(volume.info.url, 0, box, volume.info) == chunk_identity(
        f"{tmp_path}/p", 0, Box((4, 6, 8), (5, 7, 9))
    )
    with pytest.raises(ConfigError, match="remove input.axes"):
        open_volume(f"{tmp_path}/p", 0, SAID)


def test_a_run_waits_for_no_metadata_that_the_config_replaces(tmp_path: Path) -> None:
    url = stored(tmp_path, resolution=[0, 0, 0])
    assert not Awaited(url, 0, None).is_there()
    assert Awaited(url, 0, None, Given(voxel_size_nm=(1.0, 1.0, 1.0))).is_there()


def test_neuroglancer_shows_a_map_where_the_config_has_it(tmp_path: Path) -> None:
    url = f"file://{stored(tmp_path)}"
    (shown,), _ = resolve([Layer("affinity", "affinity", url, given=SAID)])
    assert shown.info.box.begin == (10, 20, 30) and shown.info.voxel_size_nm == (40, 8, 4)


@pytest.mark.parametrize(
    "line",
    ["voxel_size_nm: [0, 8, 8]", "voxel_size_nm: [.inf, 8, 8]", "voxel_size_nm: 8", "axes: zzyx",
     "axes: zy", "axes: zyxw", "voxel_offset: [0.5, 0, 0]"],
)  # fmt: skip
def test_what_can_t_be_is_refused_at_its_line(line: str) -> None:
    text = f"paths: {{input: /i, output: /o, work: /w}}\ninput:\n  {line}\n"
    with pytest.raises(ConfigError, match=rf"line 3.*input.{line.partition(':')[0]}"):
        parse_config(text, "v.yaml")

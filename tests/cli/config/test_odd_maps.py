"""``config new --yes`` on maps that aren't what they should be: right, or refused with the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import zarr

from magneton_tasks.cli.config.new import new
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import BadDataError, ConfigError, MagnetonError, NoInputError
from tests.formats.test_n5 import written as write_n5
from tests.helpers import volumes

Array = npt.NDArray[Any]
SHAPE = (24, 40, 40)


@pytest.fixture(scope="module")
def affinity() -> Array:
    return volumes.affinities(volumes.cells(SHAPE), noise=0.1)


def make(folder: Path, url: str | Path) -> Any:
    """What `config new` writes, read back."""
    config = folder / "volume.yaml"
    new(config, input_url=str(url), output=None, work=None, mip=None, yes=True)
    return load_config(config)


def stored(folder: Path, array: Array, **attributes: Any) -> Path:
    made = zarr.create_array(str(folder / "affs.zarr"), data=array)
    made.attrs.update({"voxel_size": [40, 8, 8], **attributes})
    return folder / "affs.zarr"


def with_nan(affinity: Array) -> Array:
    found = affinity.astype(np.float32) / 255
    found[:, 5:9, 5:30, 5:30] = np.nan
    return found


REFUSED: dict[str, tuple[Any, type[MagnetonError], str]] = {
    "NaN": (lambda a: np.full(a.shape, np.nan, np.float32), BadDataError, "NaN only"),
    "some NaN": (with_nan, BadDataError, r"NaN or infinity in [\d,]+ sampled values"),
    "one value": (lambda a: np.full_like(a, 128), BadDataError, "one value each"),
    "one map three times": (
        lambda a: np.stack([a.min(0)] * 3),
        BadDataError,
        "omit --yes to be asked",
    ),
    "0 and 1 as bytes": (lambda a: (a > 127).astype(np.uint8), BadDataError, "0 and 1 only"),
    "0 and 1 as floats": (lambda a: (a > 127).astype(np.float32), BadDataError, "0 and 1 only"),
    "labels": (lambda a: a.astype(np.uint32), ConfigError, "holds uint32"),
    "two channels": (lambda a: a[:2], ConfigError, "2 channel"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_t_be_segmented_is_refused_and_nothing_is_written(
    name: str, affinity: Array, tmp_path: Path
) -> None:
    change, error, said = REFUSED[name]
    url = stored(tmp_path, change(affinity))
    with pytest.raises(error, match=said) as told:
        make(tmp_path, url)
    assert told.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["affs.zarr"]


def test_a_voxel_size_of_zero_is_refused_with_the_way_out(affinity: Array, tmp_path: Path) -> None:
    url = stored(tmp_path, affinity, voxel_size=[0, 8, 8])
    with pytest.raises(BadDataError, match="set input.voxel_size_nm"):
        make(tmp_path, url)


READ: dict[str, tuple[Any, dict[str, Any]]] = {
    "upside down": (lambda a: 255 - a, {"channels": "zyx", "invert": True}),
    "four channels": (
        lambda a: np.concatenate([a, np.full_like(a[:1], 77)]), {"channels": (0, 1, 2), "invert": False}
    ),
    "percent": (lambda a: (a / 2.55).astype(np.float32), {"scale": 100}),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_is_read_rightly(name: str, affinity: Array, tmp_path: Path) -> None:
    change, expected = READ[name]
    found = make(tmp_path, stored(tmp_path, change(affinity))).input
    assert {key: getattr(found, key) for key in expected} == expected


# ------------------------------------------------------------------ groups
def in_zarr(folder: Path, affinity: Array) -> Path:
    group = zarr.open_group(str(folder / "all"), mode="w", zarr_format=2)
    for name, array in (("raw", affinity[0]), ("affs", affinity), ("volumes/labels", affinity[0])):
        group.create_array(name, data=array)
    return folder / "all"


def in_n5(folder: Path, affinity: Array) -> Path:
    write_n5(folder / "all" / "raw", affinity[0])
    write_n5(folder / "all" / "affs", affinity)
    (folder / "all" / "attributes.json").write_text(json.dumps({"n5": "4.0.0"}))
    return folder / "all"


def in_hdf5(folder: Path, affinity: Array) -> Path:
    with h5py.File(folder / "all", "w") as file:
        file["raw"], file["affs"] = affinity[0], affinity
    return folder / "all"


@pytest.mark.parametrize("write", [in_zarr, in_n5, in_hdf5])
def test_a_group_proposes_its_arrays(write: Any, affinity: Array, tmp_path: Path) -> None:
    url = write(tmp_path, affinity)
    with pytest.raises(
        (ConfigError, NoInputError), match=r"it holds affs, raw.*: use .*/all/affs"
    ) as told:
        make(tmp_path, url)
    use = told.value.what + (told.value.hint or "")
    found = make(tmp_path, use.rpartition(": use ")[2])
    assert found.paths.input == f"file://{url}/affs"
    assert found.paths.output == f"file://{tmp_path}/all-segmentation"

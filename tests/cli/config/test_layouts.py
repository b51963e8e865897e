"""One map in odd layouts: each is read as the plain one is, in the same place.

`config new --yes` finds out how; the long form also segments, and compares the results in nm.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import zarr
from PIL import Image

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.cli.config.new import new
from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.precomputed import write as precomputed
from magneton_tasks.formats.zarr import read as zarr_volumes
from magneton_tasks.work.inputs import open_affinity
from tests.formats.test_n5 import written as write_n5
from tests.formats.test_over_the_web import Server
from tests.helpers import volumes

Array = npt.NDArray[Any]
SHAPE: Vec3 = (24, 40, 44)
NM = (40.0, 16.0, 8.0)
OFFSET: Vec3 = (3, 5, 7)
SHIFT_NM = [o * n for o, n in zip(OFFSET, NM, strict=True)]
FUNLIB: dict[str, Any] = {"resolution": list(NM), "offset": SHIFT_NM}


@pytest.fixture(scope="module")
def affinity() -> Array:
    """uint8 (3, z, y, x), as Magneton has it; the first plane of an axis joins with nothing."""
    made = volumes.affinities(volumes.cells(SHAPE), noise=0.1)
    for d in range(3):
        np.moveaxis(made[d], d, 0)[0] = 0
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server on loopback, and the folder that it serves."""
    folder = tmp_path_factory.mktemp("www")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(folder)))
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/ranges", folder
        server.shutdown()


# ------------------------------------------------------------------ the layouts
def forwards(affinity: Array) -> Array:
    """Joined with the voxel after."""
    return np.stack([np.roll(affinity[d], -1, axis=d) for d in range(3)])


def floats(affinity: Array) -> Array:
    return affinity.astype(np.float32) / np.float32(255)


def in_zarr(where: Path, array: Array, attributes: dict[str, Any], **options: Any) -> Path:
    made = zarr.create_array(str(where), data=array, **options)
    made.attrs.update(attributes)
    return where


def channels_last(where: Path, affinity: Array) -> Path:
    """No names: only the shape tells."""
    return in_zarr(where, np.moveaxis(affinity, 0, -1), FUNLIB, zarr_format=2)


def order_x_y_z(where: Path, affinity: Array) -> Path:
    """Offsets in the order [2, 1, 0], as 16 bits, in chunks that the edges cut."""
    stored = affinity[::-1].astype(np.uint16) * 257
    return in_zarr(where, stored, FUNLIB, zarr_format=2, chunks=(3, 16, 16, 16))


def transposed(where: Path, affinity: Array) -> Path:
    """Axes x, y, z, with the channels first; their names tell."""
    stored = np.ascontiguousarray(affinity.transpose(0, 3, 2, 1))
    place = {"voxel_size": list(NM[::-1]), "offset": SHIFT_NM[::-1]}
    return in_zarr(where, stored, {**place, "axis_names": ["c^", "x", "y", "z"]})


def half_floats_big_endian(where: Path, affinity: Array) -> Path:
    return in_zarr(where, floats(affinity).astype(">f2"), FUNLIB, zarr_format=2)


def fortran_order(where: Path, affinity: Array) -> Path:
    return in_zarr(where, affinity, FUNLIB, zarr_format=2, order="F", chunks=(1, 16, 16, 16))


def upside_down_and_forwards(where: Path, affinity: Array) -> Path:
    """Boundaries, joined with the voxel after, in micrometres."""
    place = {
        "voxel_size": [n / 1000 for n in NM],
        "offset": [n / 1000 for n in SHIFT_NM],
        "units": ["um"] * 3,
    }
    return in_zarr(where, 1 - floats(forwards(affinity)), place)


def long_range(where: Path, affinity: Array) -> Path:
    """Three channels more: voxels four apart."""
    far = [np.minimum(affinity[d], np.roll(affinity[d], 4, axis=d)) for d in range(3)]
    return in_zarr(where, np.concatenate([affinity, np.stack(far) // 2]), FUNLIB)


def lsd_group(where: Path, affinity: Array) -> Path:
    """HDF5, as gunpowder writes a snapshot: affinities beside raw data and labels."""
    with h5py.File(where, "w") as file:
        for name, data in (("raw", affinity[0]), ("affs", floats(affinity))):
            made = file.create_dataset(f"volumes/{name}", data=data, chunks=True)
            made.attrs.update(FUNLIB)
    return where / "volumes" / "affs"


def ilastik(where: Path, affinity: Array) -> Path:
    """HDF5 with axistags, the channels last and the slowest axis x; micrometres of ImageJ."""
    with h5py.File(where, "w") as file:
        stored = np.ascontiguousarray(affinity.transpose(3, 2, 1, 0))
        made = file.create_dataset("exported_data", data=stored, compression="gzip")
        made.attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in "xyzc"]})
        made.attrs["resolution"], made.attrs["offset"] = NM[::-1], SHIFT_NM[::-1]
    return where / "exported_data"


def cosem(where: Path, affinity: Array) -> Path:
    """N5, big-endian 16 bits, in blocks that the edges cut."""
    transform = {
        "axes": ["c", "z", "y", "x"],
        "scale": [1.0, *NM],
        "translate": [0.0, *SHIFT_NM],
        "units": ["", "nm", "nm", "nm"],
    }
    stored = affinity.astype(np.uint16) * 257
    return write_n5(where, stored, (3, 16, 16, 16), transform=transform)


def pictures(where: Path, affinity: Array) -> Path:
    """Precomputed in png: one chunk, a pixel of three channels per voxel."""
    url = f"file://{where}"
    precomputed.write_volume(url, affinity, NM, OFFSET, SHAPE, compress=None)
    info = json.loads((where / "info").read_text())
    info["scales"][0]["encoding"] = "png"
    (where / "info").write_text(json.dumps(info))
    (chunk,) = [path for path in where.rglob("*-*_*-*_*-*") if path.is_file()]
    pixels = affinity.transpose(1, 2, 3, 0).reshape(SHAPE[0] * SHAPE[1], SHAPE[2], 3)
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(data, "PNG")
    chunk.write_bytes(data.getvalue())
    return where


def sharded_on_the_web(where: Path, affinity: Array) -> Path:
    """Zarr v3: shards, an axis of time of length 1 before the channels."""
    named = {"voxel_size": list(NM), "offset": SHIFT_NM, "axis_names": ["t", "c^", "z", "y", "x"]}
    options: dict[str, Any] = {"chunks": (1, 1, 16, 16, 16), "shards": (1, 3, 32, 32, 32)}
    return in_zarr(where, affinity[np.newaxis], named, **options)


def ome_on_the_web(where: Path, affinity: Array) -> Path:
    zarr_volumes.write_volume(f"file://{where}", affinity, NM, OFFSET, (24, 32, 32), zarr_format=2)
    attributes = json.loads((where / ".zattrs").read_text())
    (scale,) = attributes["multiscales"]
    for axis in scale["axes"][1:]:
        axis["unit"] = "micrometer"
    for step in scale["datasets"][0]["coordinateTransformations"]:
        name = "scale" if "scale" in step else "translation"
        step[name] = [step[name][0], *(value / 1000 for value in step[name][1:])]
    (where / ".zattrs").write_text(json.dumps(attributes))
    return where


LAYOUTS: tuple[Callable[[Path, Array], Path], ...] = (
    channels_last, order_x_y_z, transposed, half_floats_big_endian, fortran_order,
    upside_down_and_forwards, long_range, lsd_group, ilastik, cosem, pictures,
    sharded_on_the_web, ome_on_the_web,
)  # fmt: skip


# ------------------------------------------------------------------ read as the plain one
def configured(
    layout: Callable[[Path, Array], Path], affinity: Array, site: tuple[str, Path], folder: Path
) -> RunConfig:
    """What `config new --yes` writes for the map in this layout."""
    address, served = site
    if layout.__name__.endswith("on_the_web"):
        made = layout(served / folder.name, affinity)
        where = f"{address}/{made.relative_to(served)}"
    else:
        where = str(layout(folder / "map", affinity))
    config = folder / "volume.yaml"
    new(config, input_url=where, output=None, work=None, mip=None, yes=True)
    return load_config(config)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_it_is_read_as_the_plain_one(
    layout: Any, affinity: Array, site: tuple[str, Path], tmp_path: Path
) -> None:
    reader = open_affinity(configured(layout, affinity, site, tmp_path))
    assert reader.info.box.begin == OFFSET
    assert reader.info.voxel_size_nm == pytest.approx(NM)
    np.testing.assert_array_equal(reader.read_uint8(reader.info.box), affinity)


@pytest.mark.long
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_its_segmentation_is_that_of_the_plain_one(
    layout: Any, affinity: Array, site: tuple[str, Path], tmp_path: Path
) -> None:
    found: list[Array] = []
    for made in (pictures, layout):
        folder = tmp_path / f"{len(found)}-{made.__name__}"
        folder.mkdir()
        config = configured(made, affinity, site, folder)
        small = {"block.size": [24, 24, 24], "local.memory": "8GiB", "local.workers": 1}
        volumes.run_pipeline(folder / "volume.yaml", small)
        result = read_metadata(config.paths.output)
        assert result.box.begin == OFFSET and result.voxel_size_nm == pytest.approx(NM)
        found.append(volumes.read_segmentation(config.paths.output))
    assert found[0].max() > 0 and volumes.same_partition(found[0], found[1])

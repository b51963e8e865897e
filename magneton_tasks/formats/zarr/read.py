"""Zarr v2 and v3 volumes, as OME-Zarr groups: written whole (samples, tests), read by box."""

from __future__ import annotations

import os
from typing import Any, Literal

from magneton_tasks.base.failures import telling
from magneton_tasks.base.geometry import Box, Size3, Vec3
from magneton_tasks.base.location import connection_errors, locate
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.stored import Array, read_box


def write_volume(
    url: str,
    array: Array,
    voxel_size_nm: Size3,
    voxel_offset: Vec3 = (0, 0, 0),
    chunk_size: Vec3 = (64, 64, 64),
    *,
    zarr_format: Literal[2, 3] = 3,
) -> None:
    """Write an array as an OME-Zarr group of one dataset, ``0``.

    Parameters
    ----------
    array
        (c, z, y, x) or (z, y, x).
    voxel_offset
        Becomes the dataset's ``translation`` (in nm).
    zarr_format
        3: OME-Zarr 0.5 in Zarr v3; 2: OME-Zarr 0.4 in Zarr v2.

    Raises
    ------
    ConfigError
        Something lies there already, or the URL isn't a path of this machine.
    """
    import zarr

    path = locate(url).path
    if path is None:
        raise ConfigError(f"{url}: whole Zarr volumes are written to files only")
    if path.exists() and any(path.iterdir()):
        raise ConfigError(f"{path} isn't empty", "choose another path, or remove it")
    multiscales = _multiscales(array.ndim, voxel_size_nm, voxel_offset)
    if zarr_format == 3:
        attributes: dict[str, Any] = {"ome": {"version": "0.5", "multiscales": [multiscales]}}
    else:
        attributes = {"multiscales": [{"version": "0.4", **multiscales}]}
    group = zarr.create_group(store=str(path), zarr_format=zarr_format, attributes=attributes)
    names = [axis["name"] for axis in multiscales["axes"]]
    dataset = group.create_array(
        "0",
        shape=array.shape,
        dtype=array.dtype,
        chunks=(1,) * (array.ndim - 3) + chunk_size,
        chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
        dimension_names=names if zarr_format == 3 else None,
        fill_value=0,
        config={"write_empty_chunks": True},
    )
    dataset[...] = array


def _multiscales(ndim: int, voxel_size_nm: Size3, voxel_offset: Vec3) -> dict[str, Any]:
    """OME-Zarr metadata of one dataset; a channel axis comes first where there are four."""
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] * (ndim - 3)
    axes = axes + [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    scale = [1.0] * (ndim - 3) + [float(v) for v in voxel_size_nm]
    shift = [0.0] * (ndim - 3) + [
        o * float(v) for o, v in zip(voxel_offset, voxel_size_nm, strict=True)
    ]
    transformations = [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": shift},
    ]
    dataset = {"path": "0", "coordinateTransformations": transformations}
    return {"name": "volume", "axes": axes, "datasets": [dataset]}


def open_volume(info: VolumeInfo, fill_missing: bool) -> ZarrVolume:
    """The volume of this metadata; a missing chunk is always the fill value."""
    return ZarrVolume(info)


class ZarrVolume:
    """A Zarr array as a volume; see `formats.volume.Volume`."""

    def __init__(self, info: VolumeInfo) -> None:
        self.info = info
        self.decoded_bytes = 0
        self._opened: tuple[int, Any] = (0, None)
        self._array()  # refuses what can't be decoded, and imports zarr, before a fork

    def read(self, box: Box, channels: slice = slice(None)) -> Array:
        """As `formats.volume.Volume.read`; chunks that aren't there are the array's fill value."""
        info = self.info
        info.check_inside(box)
        where = f"{info.url}, box {box} (z, y, x)"
        array = self._array()
        with telling(where, decodes=True):
            found = read_box(array, info, box, channels)
        self.decoded_bytes += info.chunk_bytes(box, channels)
        return found

    def _array(self) -> Any:
        from magneton_tasks.formats.zarr.limits import open_limited

        location, version = locate(self.info.url), self.info.format[-1:]
        with connection_errors(self.info.url):
            return open_limited(
                store=str(location.path) if location.path is not None else self._bucket(),
                path=self.info.array,
                mode="r",
                zarr_format=3 if version == "3" else 2,
            )

    def _bucket(self) -> Any:
        """Opened anew in each process: connections don't survive a fork."""
        process, store = self._opened
        if process != os.getpid():
            from magneton_tasks.formats.zarr.bucket import BucketStore

            store = BucketStore(locate(self.info.url).url)
            self._opened = os.getpid(), store
        return store

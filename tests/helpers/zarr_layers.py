"""Small affinity maps as Zarr arrays and OME-Zarr groups, as tests of the viewer want them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr

from tests.helpers import volumes

#: voxel size and offset as funlib writes them, those of the precomputed volumes
SPACE = {
    "voxel_size": list(volumes.VOXEL_NM),
    "offset": [o * v for o, v in zip(volumes.OFFSET, volumes.VOXEL_NM, strict=True)],
}


def plain_array(
    path: Path,
    version: int,
    attributes: dict[str, Any] | None = None,
    *,
    dtype: str = "uint8",
    data: volumes.Array | None = None,
    **options: Any,
) -> None:
    """An array (c, z, y, x) with its voxel size in its attributes; floats hold 0..1."""
    if data is None:
        data = volumes.affinities(volumes.cells())
        data = (data / 255 if "float" in dtype else data).astype(dtype)
    chunks = options.pop("chunks", (3, 16, 32, 32)[-data.ndim :])
    array = zarr.create_array(
        str(path),
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunks,
        zarr_format=cast(Literal[2, 3], version),
        **options,
    )
    array[...] = data
    array.attrs.update({**SPACE, **(attributes or {})})


def ome_group(path: Path, version: int) -> None:
    """Two mips of affinities (the second halves y and x): OME-Zarr 0.4 in v2, 0.5 in v3."""
    data = volumes.affinities(volumes.cells())
    group = zarr.open_group(str(path), mode="w", zarr_format=cast(Literal[2, 3], version))
    datasets = []
    for mip, factor in enumerate((1, 2)):
        part = np.ascontiguousarray(data[:, :, ::factor, ::factor])
        array = group.create_array(
            str(mip), shape=part.shape, dtype=part.dtype, chunks=(3, 16, 32, 32)
        )
        array[...] = part
        z, y, x = volumes.VOXEL_NM
        scale = {"type": "scale", "scale": [1, z, factor * y, factor * x]}
        shift = {"type": "translation", "translation": [0, *SPACE["offset"]]}
        datasets.append({"path": str(mip), "coordinateTransformations": [scale, shift]})
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"]
    multiscale: dict[str, Any] = {"name": "affinity", "axes": axes, "datasets": datasets}
    if version == 2:
        group.attrs["multiscales"] = [{"version": "0.4", **multiscale}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}

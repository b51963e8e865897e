"""The ``info`` file of a precomputed layer that we write: its mips and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from magneton_tasks.base.geometry import Box, Size3, Vec3, ceil_div, vec3
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.precomputed import chunks as codec
from magneton_tasks.formats.precomputed.sharding import Sharding, chunk_sizes


@dataclass(frozen=True, slots=True)
class Scale:
    """One mip.

    Attributes
    ----------
    box
        Its extent in its own voxels.
    voxel_size_nm, chunk_size
        (z, y, x).
    key
        Name of its directory.
    sharding
        Where its chunks lie; None: each in a file of its own.
    """

    box: Box
    voxel_size_nm: Size3
    key: str
    chunk_size: Vec3
    sharding: Sharding | None = None


def build_info(
    scales: Sequence[Scale], encoding: str, dtype: str, channels: int, kind: str
) -> dict[str, Any]:
    """The ``info`` file's content; ``kind`` is ``image`` or ``segmentation``."""
    entries = []
    for scale in scales:
        entry: dict[str, Any] = {
            "key": scale.key,
            "size": list(scale.box.shape[::-1]),
            "voxel_offset": list(scale.box.begin[::-1]),
            "resolution": [_plain(v) for v in scale.voxel_size_nm[::-1]],
            "chunk_sizes": [list(scale.chunk_size[::-1])],
            "encoding": encoding,
        }
        if encoding == "compressed_segmentation":
            entry["compressed_segmentation_block_size"] = list(codec.CSEG_BLOCK[::-1])
        if scale.sharding is not None:
            entry["sharding"] = scale.sharding.to_info()
        entries.append(entry)
    return {
        "@type": "neuroglancer_multiscale_volume",
        "type": kind,
        "data_type": dtype,
        "num_channels": channels,
        "scales": entries,
    }


def make_scales(
    box: Box,
    voxel_size_nm: Size3,
    factors: Sequence[Vec3],
    chunk_size: Vec3,
    cells: Sequence[Vec3] = (),
    compress: str | None = None,
) -> tuple[Scale, ...]:
    """The mips of a volume: ``box`` at mip 0, then one per factor relative to mip 0.

    Parameters
    ----------
    chunk_size
        Of mip 0; of the others too, if they aren't sharded (`sharding.chunk_sizes`).
    cells
        Of a sharded volume, chunks per axis of the cell that one process writes, per mip.
    compress
        None | ``gzip``.

    Raises
    ------
    ConfigError
        Two mips of the same voxel size.
    """
    found: list[Scale] = []
    factors = [(1, 1, 1), *factors]
    chunks = chunk_sizes(chunk_size, factors) if cells else [chunk_size] * len(factors)
    for mip, (factor, chunk) in enumerate(zip(factors, chunks, strict=True)):
        z, y, x = (v * f for v, f in zip(voxel_size_nm, factor, strict=True))
        key = "_".join(str(_plain(v)) for v in (x, y, z))
        if any(key == other.key for other in found):
            raise ConfigError(f"two mips have the voxel size {key} nm (x_y_z)")
        extent = box.coarsened(factor)
        sharding = None
        if cells:
            grid = vec3(ceil_div(n, c) for n, c in zip(extent.shape, chunk, strict=True))
            sharding = Sharding.of_cells(grid, cells[mip], compress)
        found.append(Scale(extent, (z, y, x), key, chunk, sharding))
    return tuple(found)


def _plain(value: float) -> int | float:
    """A whole number as an int: ``8_8_30`` rather than ``8.0_8.0_30.0``."""
    rounded = round(float(value), 9)
    if abs(rounded - value) > 1e-7 * value:  # a tiny one: nine digits, wherever they begin
        rounded = float(f"{value:.9g}")
    return int(rounded) if rounded.is_integer() else rounded

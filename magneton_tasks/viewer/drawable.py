"""What Neuroglancer's client can draw (version 2.41), as far as a volume's metadata tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from magneton_tasks.base.location import Location, read_json
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.info import VolumeInfo

_DTYPES = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32"})
_ENCODINGS = frozenset({"raw", "jpeg", "compressed_segmentation", "compresso", "png", "jxl"})
#: A chain of any of these; zarr2 knows no filter.
_CODECS = {
    "zarr2": frozenset({"raw", "blosc", "zlib", "gzip", "zstd"}),
    "zarr3": frozenset({"bytes", "blosc", "gzip", "zstd", "crc32c", "transpose"}),
}
#: Formats of which the client must be told more than their address.
ZARR = frozenset(_CODECS)
_OME_VERSIONS = ("0.4", "0.5-dev", "0.5")
#: Units of length that its OME-Zarr reader takes; others (such as nm) are an error there.
_OME_UNITS = frozenset(
    {"angstrom", "meter"} | {f"{p}meter" for p in ("pico", "nano", "micro", "milli", "centi")}
)


def check(info: VolumeInfo, kind: str) -> None:
    """Refuse what the client can't draw.

    Raises
    ------
    ConfigError
        Its dtype or compression; says which.
    """
    if info.dtype not in _DTYPES:
        raise ConfigError(f"{info.url}: Neuroglancer draws no {info.dtype}")
    if kind == "segmentation" and info.dtype == "float32":
        raise ConfigError(f"{info.url} is float32, which isn't a segmentation's dtype")
    if info.format == "precomputed":
        if info.encoding not in _ENCODINGS:
            raise ConfigError(
                f"{info.url}: Neuroglancer draws no {info.encoding}",
                "one of the encodings raw and compressed_segmentation can be drawn",
            )
        return
    if info.format not in ZARR:
        raise ConfigError(f"{info.url}: Neuroglancer draws no {info.format}")
    codecs = info.encoding.split("+")
    unknown = [c for c in codecs if c not in _CODECS[info.format]]
    if unknown or (info.format == "zarr2" and len(codecs) > 1):
        raise ConfigError(f"{info.url}: Neuroglancer can't decode {'+'.join(unknown or codecs)}")


def group_axes(location: Location) -> list[str] | None:
    """Axes of an OME-Zarr group as the client names them; None where it doesn't understand the group.

    Where it does, it can switch between the group's mips.
    """
    group = read_json(location, "zarr.json")
    attributes: dict[str, Any] = (
        read_json(location, ".zattrs") or {} if group is None else group.get("attributes") or {}
    )
    ome = attributes.get("ome")
    try:
        multiscale = (ome or attributes)["multiscales"][0]
        version = (ome or multiscale)["version"]
        axes = [(str(a["name"]), a.get("type"), a.get("unit")) for a in multiscale["axes"]]
    except (KeyError, TypeError, IndexError, AttributeError):
        return None
    if version not in _OME_VERSIONS or (version == "0.5" and group is None):
        return None
    if any(kind == "space" and unit not in (None, *_OME_UNITS) for _, kind, unit in axes):
        return None
    return [f"{name}'" if kind == "channel" else name for name, kind, _ in axes]


@dataclass(frozen=True, slots=True)
class ArrayFacts:
    """Of a Zarr array: its axes as the client names them; channels in a chunk (of a shard: an inner one)."""

    axes: list[str]
    channels: int


def array_facts(location: Location, info: VolumeInfo) -> ArrayFacts:
    """What the client needs to know of a Zarr array, beyond the volume's metadata."""
    below = f"{info.array}/" if info.array else ""
    if info.format == "zarr2":
        chunk = (read_json(location, f"{below}.zarray") or {})["chunks"]
        names = (read_json(location, f"{below}.zattrs") or {}).get("_ARRAY_DIMENSIONS")
        unnamed = "d"
    else:
        array = read_json(location, f"{below}zarr.json") or {}
        chunk = array["chunk_grid"]["configuration"]["chunk_shape"]
        for codec in array["codecs"]:
            if codec["name"] == "sharding_indexed":
                chunk = codec["configuration"]["chunk_shape"]
        names = array.get("dimension_names")
        unnamed = "dim_"
    axes = [name or f"{unnamed}{i}" for i, name in enumerate(names or [None] * len(chunk))]
    channel = info.axes.find("c")
    return ArrayFacts(axes, int(chunk[channel]) if channel >= 0 else 1)

"""What is known of a volume before a voxel is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import product
from typing import Any

from magneton_tasks.base.geometry import Box, Size3, Vec3, vec3
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.precomputed.sharding import Sharding

#: numpy names of the dtypes that a volume may have.
DTYPES = frozenset(
    {"bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"}
    | {"float16", "float32", "float64"}
)


#: Suffix of a compressed precomputed chunk on ``file://`` -> its content encoding (the convention of
#: cloud-files), in the order in which they are tried.
ENCODING_OF = {"": None, ".gz": "gzip", ".br": "br", ".zstd": "zstd"}


@dataclass(frozen=True, slots=True)
class Given:
    """What a person says of the affinity map: section ``input`` of the config; it wins over metadata.

    Attributes
    ----------
    axes
        One letter per axis of the stored array, as `VolumeInfo.axes`.
    voxel_size_nm, voxel_offset
        (z, y, x).
    """

    axes: str | None = None
    voxel_size_nm: Size3 | None = None
    voxel_offset: Vec3 | None = None

    def __post_init__(self) -> None:
        """Take what JSON makes of the fields: lists for tuples."""
        for name in ("voxel_size_nm", "voxel_offset"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))


NOTHING_GIVEN = Given()


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """A volume at one mip; boxes and vectors are (z, y, x).

    ``VolumeInfo(**json.loads(json.dumps(asdict(info))))`` is equal to ``info``.

    Attributes
    ----------
    url
        As given.
    format
        ``precomputed``, ``zarr2`` or ``zarr3``: see `formats.registry`.
    mip
        Index of the scale or multiscale dataset.
    dtype
        numpy's name of it.
    channels
        1 where there is no channel axis.
    box
        The extent in voxels of this mip, with its voxel offset; the chunk grid begins at its begin.
    voxel_size_nm
        (z, y, x).
    chunk_size
        The smallest box that can be read by itself, in voxels (of a shard: its inner chunks).
    encoding
        precomputed: the scale's encoding; Zarr: names of the codecs.
    digest
        SHA-256 of what the metadata says of this mip: ``input.identity: metadata``.
    array
        Directory of this mip below the URL: the scale's key, the dataset's path, or "".
    axes
        One letter per axis of the stored array, e.g. ``czyx``; ``t`` is an axis of length 1.
    file_size, file_channels
        The box and the number of channels that one file holds: the chunk's,
        or the shard's; None where a file isn't a box (sharded precomputed).
    sharding
        precomputed: where chunks lie in shards, if by the hash ``identity``.
    chunk_key
        Zarr: what stands before and between a chunk's indices, ``("c/", "/")`` or ``("", ".")``.
    cseg_block
        Block size of compressed_segmentation.
    notes
        What had to be assumed; for the user to read.
    axes_assumed
        The metadata names no axes.
    moved
        How far ``input.voxel_offset`` moved the volume from where its files say that it lies.
    """

    url: str
    format: str
    mip: int
    dtype: str
    channels: int
    box: Box
    voxel_size_nm: Size3
    chunk_size: Vec3
    encoding: str
    digest: str
    array: str
    axes: str = "zyx"
    file_size: Vec3 | None = None
    file_channels: int = 1
    chunk_key: tuple[str, str] = ("", "")
    cseg_block: Vec3 = (8, 8, 8)
    sharding: Sharding | None = None
    notes: tuple[str, ...] = ()
    axes_assumed: bool = False
    moved: Vec3 = (0, 0, 0)

    def __post_init__(self) -> None:
        """Take what JSON makes of the fields: lists for tuples, a dict for the box."""
        box: Any = self.box
        if isinstance(box, dict):
            box = Box(vec3(box["begin"]), vec3(box["end"]))
            object.__setattr__(self, "box", box)
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        sharding: Any = self.sharding
        if isinstance(sharding, dict):
            grid = vec3(sharding["grid"])
            object.__setattr__(self, "sharding", Sharding(**{**sharding, "grid": grid}))

    @property
    def size_words(self) -> str:
        """The voxel size in nm for people: ``40 x 4 x 4``."""
        return " x ".join(f"{v:.7g}" for v in self.voxel_size_nm)

    def has_voxels_of(self, other: VolumeInfo, within: float) -> bool:
        """Whether voxels are as large as the other's; sizes may differ by the share ``within``."""
        sizes = zip(self.voxel_size_nm, other.voxel_size_nm, strict=True)
        return all(abs(a - b) <= within * b for a, b in sizes)

    def chunks(self, box: Box) -> list[Box]:
        """The chunks that meet a box, in raster order; their grid begins at the volume's begin."""
        spans = [
            range(vb + (b - vb) // size * size, e, size)
            for b, e, vb, size in zip(
                box.begin, box.end, self.box.begin, self.chunk_size, strict=True
            )
        ]
        corners = (vec3(corner) for corner in product(*spans))
        return [Box.of_shape(self.chunk_size, c).intersection(self.box) for c in corners]

    def check_inside(self, box: Box) -> None:
        """Refuse a box that reaches outside the volume, by a ConfigError."""
        if not self.box.contains(box):
            raise ConfigError(
                f"box {box} (z, y, x) reaches outside {self.url} at mip {self.mip}, which is {self.box}",
                "choose a box inside the volume",
            )

    def as_stored(self, box: Box) -> Box:
        """A box of this volume where its files have it."""
        return box.translate(vec3(-by for by in self.moved))

    def chunk_bytes(self, box: Box, channels: slice = slice(None)) -> int:
        """Bytes, decoded, of the whole chunks that meet a box, and of their channels."""
        bits = int("".join(c for c in self.dtype if c.isdigit()) or 8)
        files = {c // self.file_channels for c in range(self.channels)[channels]}
        held = min(len(files) * self.file_channels, self.channels)
        return sum(c.voxels for c in self.chunks(box)) * held * bits // 8


def digest_of(content: Any) -> str:
    """SHA-256 of the canonical JSON of ``content``."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def checked_dtype(name: str, where: str) -> str:
    """The dtype's name, if a volume may have it.

    Raises
    ------
    ConfigError
    """
    if name not in DTYPES:
        raise ConfigError(
            f"{where}: dtype {name} isn't supported", f"supported: {', '.join(sorted(DTYPES))}"
        )
    return name


def no_such_mip(url: str, mip: int, existing: list[str]) -> ConfigError:
    """The error for a mip that the volume doesn't have."""
    listed = "; ".join(f"{i}: {text}" for i, text in enumerate(existing))
    return ConfigError(f"{url} has no mip {mip}", f"its mips: {listed}")

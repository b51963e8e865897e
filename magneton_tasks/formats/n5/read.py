"""N5 volumes, read by box: whole blocks, one after the other."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from magneton_tasks.base.failures import telling
from magneton_tasks.base.geometry import Box, ceil_div
from magneton_tasks.base.location import locate, read_file
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.n5.blocks import INFLATE, decode
from magneton_tasks.formats.stored import Array, read_box


def open_volume(info: VolumeInfo, fill_missing: bool) -> N5Volume:
    """The volume of this metadata; a missing block is zeros, by N5's own rules."""
    if info.encoding not in INFLATE:
        raise ConfigError(
            f"{info.url}: N5's compression {info.encoding} isn't read",
            f"copy the volume with one of {', '.join(sorted(INFLATE))}, or to Zarr",
        )
    return N5Volume(info)


class N5Volume:
    """An N5 array as a volume; see `formats.volume.Volume`."""

    def __init__(self, info: VolumeInfo) -> None:
        self.info = info
        self.decoded_bytes = 0
        self._location = locate(info.url)
        self._block = tuple(
            info.file_channels
            if a == "c"
            else dict(zip("zyx", info.chunk_size, strict=True)).get(a, 1)
            for a in info.axes
        )

    def read(self, box: Box, channels: slice = slice(None)) -> Array:
        """As `formats.volume.Volume.read`; holds the result and one block."""
        self.info.check_inside(box)
        return read_box(self, self.info, box, channels)

    def __getitem__(self, index: tuple[Any, ...]) -> Array:
        """What an index of slices (and 0, of an axis of length 1) names, in the stored order of axes."""
        sizes = dict(zip("zyx", self.info.box.shape, strict=True), c=self.info.channels)
        wanted = [i if isinstance(i, slice) else slice(i, i + 1) for i in index]
        spans = [
            range(*s.indices(sizes.get(a, 1))) for s, a in zip(wanted, self.info.axes, strict=True)
        ]
        out = np.zeros([len(span) for span in spans], self.info.dtype)
        blocks = [
            range(s.start // n, ceil_div(s.stop, n))
            for s, n in zip(spans, self._block, strict=True)
        ]
        for position in product(*blocks):
            voxels = self._load(position)
            if voxels is None:
                continue
            begin = [p * n for p, n in zip(position, self._block, strict=True)]
            part = [
                (max(s.start, b), min(s.stop, b + n))
                for s, b, n in zip(spans, begin, voxels.shape, strict=True)
            ]
            target = tuple(
                slice(a - s.start, e - s.start) for (a, e), s in zip(part, spans, strict=True)
            )
            source = tuple(slice(a - b, e - b) for (a, e), b in zip(part, begin, strict=True))
            if all(a < e for a, e in part):
                out[target] = voxels[source]
        return out[tuple(slice(None) if isinstance(i, slice) else 0 for i in index)]

    def _load(self, position: tuple[int, ...]) -> Array | None:
        """A block; None where there is none."""
        name = "/".join([*filter(None, [self.info.array]), *map(str, reversed(position))])
        data = read_file(self._location, name)
        if data is None:
            return None
        with telling(f"{self._location.name_of(name)}: a block of N5", decodes=True):
            voxels = decode(data, self.info.encoding, self._block, self.info.dtype)
        self.decoded_bytes += voxels.nbytes
        return voxels

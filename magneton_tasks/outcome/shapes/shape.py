"""What is drawn of an object: its surface, its size and its colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BYTE, _WORD = 0xFF, 0xFFFFFFFF


@dataclass(frozen=True)
class Shape:
    """The surface of one object.

    Attributes
    ----------
    id
        The object's.
    voxels, um3
        Of the object, at full resolution.
    vertices
        float64 (n, 3), x, y, z; all shapes of a drawing in the same unit.
    faces
        int64 (m, 3): rows of ``vertices``.
    """

    id: int
    voxels: int
    um3: float
    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]

    @property
    def colour(self) -> tuple[float, float, float]:
        """Red, green and blue in [0, 1], as Neuroglancer gives them to the id by itself."""
        return colour_of(self.id)


def colour_of(object_id: int) -> tuple[float, float, float]:
    """Neuroglancer's colour of an id (its `segment_color.ts`, seed 0): a hue and a saturation by a hash."""
    found = _combine(_combine(0, object_id & _WORD), object_id >> 32)
    hue, saturation = (found & _BYTE) / 255, 0.5 + 0.5 * (found >> 8 & _BYTE) / 255
    sector, rest = divmod(hue * 6, 1)
    low, falling, rising = (
        1 - saturation, 1 - saturation * rest, 1 - saturation * (1 - rest)
    )  # fmt: skip
    return (
        (1, rising, low), (falling, 1, low), (low, 1, rising),
        (low, falling, 1), (rising, low, 1), (1, low, falling),
    )[int(sector) % 6]  # fmt: skip


def _combine(state: int, value: int) -> int:
    """A round of MurmurHash3, as the client has it."""
    value = value * 0xCC9E2D51 & _WORD
    value = (value << 15 | value >> 17) & _WORD
    state ^= value * 0x1B873593 & _WORD
    state = (state << 13 | state >> 19) & _WORD
    return (state * 5 + 0xE6546B64) & _WORD

"""Boxes of voxels. Everything is (z, y, x); boxes are half-open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, SupportsInt

Vec3 = tuple[int, int, int]
#: voxel size in nm, (z, y, x)
Size3 = tuple[float, float, float]


def vec3(values: Iterable[SupportsInt]) -> Vec3:
    """The three integers of any sequence of them (numpy's too)."""
    z, y, x = values
    return int(z), int(y), int(x)


def ceil_div(n: int, size: int) -> int:
    """How many pieces of ``size`` hold ``n``: n / size, rounded up."""
    return -(-n // size)


def negative(offset: Vec3) -> Vec3:
    """The way back."""
    return vec3(-along for along in offset)


def whole(value: Any) -> int:
    """An integer of somebody's JSON; ``64.0`` is one.

    Raises
    ------
    ValueError, TypeError
        It has a fraction, or is no number.
    """
    if isinstance(value, float) and not value.is_integer():  # nor are inf and NaN
        raise ValueError(f"{value}, which isn't a whole number")
    return int(value)


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open box in voxels: ``begin <= v < end``, zyx."""

    begin: Vec3
    end: Vec3

    @classmethod
    def of_shape(cls, shape: Vec3, begin: Vec3 = (0, 0, 0)) -> Box:
        return cls(begin, (begin[0] + shape[0], begin[1] + shape[1], begin[2] + shape[2]))

    @property
    def shape(self) -> Vec3:
        """Extent in voxels; never negative."""
        b, e = self.begin, self.end
        return max(e[0] - b[0], 0), max(e[1] - b[1], 0), max(e[2] - b[2], 0)

    @property
    def voxels(self) -> int:
        return prod(self.shape)

    @property
    def is_empty(self) -> bool:
        return self.voxels == 0

    def intersection(self, other: Box) -> Box:
        """What both hold; empty (``is_empty``) where they don't meet."""
        return Box(
            vec3(max(a, b) for a, b in zip(self.begin, other.begin, strict=True)),
            vec3(min(a, b) for a, b in zip(self.end, other.end, strict=True)),
        )

    def contains(self, other: Box) -> bool:
        return other.is_empty or self.intersection(other) == other

    def grow(self, low: Vec3, high: Vec3) -> Box:
        """The box with ``low`` voxels more below and ``high`` more above, per axis."""
        return Box(
            vec3(b - g for b, g in zip(self.begin, low, strict=True)),
            vec3(e + g for e, g in zip(self.end, high, strict=True)),
        )

    def translate(self, by: Vec3) -> Box:
        return Box(
            vec3(b + t for b, t in zip(self.begin, by, strict=True)),
            vec3(e + t for e, t in zip(self.end, by, strict=True)),
        )

    def coarsened(self, factor: Vec3) -> Box:
        """The box in voxels that are ``factor`` times larger.

        Begin is floor(begin / factor) and the extent ceil(extent / factor): the groups of voxels
        are anchored at the box's begin, so that no group reaches out below it.
        """
        begin = vec3(b // f for b, f in zip(self.begin, factor, strict=True))
        return Box.of_shape(
            vec3(ceil_div(s, f) for s, f in zip(self.shape, factor, strict=True)), begin
        )

    def slices(self, origin: Vec3 = (0, 0, 0)) -> tuple[slice, slice, slice]:
        """Index of this box in an array whose voxel [0, 0, 0] lies at ``origin``."""
        z, y, x = (
            slice(b - o, e - o) for b, e, o in zip(self.begin, self.end, origin, strict=True)
        )
        return z, y, x

    def tiles(self, size: Vec3) -> Iterator[Box]:
        """The box cut into tiles of ``size`` from its begin, in raster order; the last are clipped."""
        ranges = (range(b, e, s) for b, e, s in zip(self.begin, self.end, size, strict=True))
        for begin in product(*ranges):
            yield Box.of_shape(size, vec3(begin)).intersection(self)

    def __str__(self) -> str:
        return ",".join(f"{b}:{e}" for b, e in zip(self.begin, self.end, strict=True))

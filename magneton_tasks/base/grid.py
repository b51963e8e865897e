"""The grid: a volume cut into blocks (to segment) or cells (to write).

Cores tile the volume exactly; read boxes are the cores grown by the halo, clipped to the volume,
so that the read boxes of neighbours intersect in ``overlap`` voxels::

    axis of length L, three blocks                     o = overlap / 2 (the odd plane low)

    core   |........0.........|........1.........|........2.........|
    read   |===========0=========|
                           |===========1============|
                                              |===========2=========|
    cuts   0               k1 - o  k1 + o     k2                     L

Cells are a grid without halo whose cuts lie on chunk borders of every mip that the cell writes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from math import prod

from magneton_tasks.base.geometry import Box, Vec3, ceil_div, vec3

Cuts = tuple[int, ...]
#: half-open ranges of block or cell indices, ascending
Ranges = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Grid:
    """Blocks (or cells) of a volume, in raster order.

    Parameters
    ----------
    cuts
        Per axis the ascending borders of the cores, from the volume's begin to its end.
        Give them explicitly in tests; :meth:`of_blocks` and :meth:`of_cells` make them.
    halo_low, halo_high
        How far a read box reaches beyond its core, in voxels, per axis.
    """

    cuts: tuple[Cuts, Cuts, Cuts]
    halo_low: Vec3 = (0, 0, 0)
    halo_high: Vec3 = (0, 0, 0)

    @classmethod
    def of_blocks(
        cls,
        box: Box,
        size: Vec3,
        overlap: Vec3,
        chunk_size: Vec3 = (1, 1, 1),
        chunk_origin: Vec3 = (0, 0, 0),
    ) -> Grid:
        """The grid of blocks: equal cores, cut at chunk borders where that fits.

        Parameters
        ----------
        box
            What is segmented, in voxels.
        size, overlap
            The largest read box, and the width in which neighbours intersect, in voxels.
        chunk_size, chunk_origin
            The input's chunks; cuts move to their borders where the read box stays <= size.
        """
        cuts = tuple(
            _block_cuts(
                box.begin[a], box.end[a], size[a], overlap[a], chunk_size[a], chunk_origin[a]
            )
            for a in range(3)
        )
        low = vec3(o - o // 2 for o in overlap)
        return cls(cuts, low, vec3(o // 2 for o in overlap))  # type: ignore[arg-type]

    @classmethod
    def of_cells(cls, box: Box, size: Vec3) -> Grid:
        """Cells of ``size`` from the volume's begin; the last ones are clipped."""
        cuts = tuple((*range(b, e, s), e) for b, e, s in zip(box.begin, box.end, size, strict=True))
        return cls(cuts)  # type: ignore[arg-type]

    @property
    def shape(self) -> Vec3:
        """Blocks per axis."""
        z, y, x = self.cuts
        return len(z) - 1, len(y) - 1, len(x) - 1

    @property
    def box(self) -> Box:
        return Box(vec3(c[0] for c in self.cuts), vec3(c[-1] for c in self.cuts))

    @property
    def largest_read(self) -> Vec3:
        """Shape that holds every read box, in voxels."""
        return vec3(
            max(self._read(a, i)[1] - self._read(a, i)[0] for i in range(self.shape[a]))
            for a in range(3)
        )

    @property
    def largest_core(self) -> Vec3:
        """Shape that holds every core, in voxels."""
        return vec3(max(b - a for a, b in pairwise(c)) for c in self.cuts)

    def __len__(self) -> int:
        return prod(self.shape)

    def index3(self, index: int) -> Vec3:
        """Position of block ``index`` in the grid, zyx."""
        _, ny, nx = self.shape
        return index // (ny * nx), index // nx % ny, index % nx

    def index(self, position: Vec3) -> int:
        """Inverse of :meth:`index3`."""
        _, ny, nx = self.shape
        return (position[0] * ny + position[1]) * nx + position[2]

    def core(self, index: int) -> Box:
        at = self.index3(index)
        return Box(
            vec3(c[i] for c, i in zip(self.cuts, at, strict=True)),
            vec3(c[i + 1] for c, i in zip(self.cuts, at, strict=True)),
        )

    def _read(self, axis: int, i: int) -> tuple[int, int]:
        c = self.cuts[axis]
        return max(c[i] - self.halo_low[axis], c[0]), min(c[i + 1] + self.halo_high[axis], c[-1])

    def read(self, index: int) -> Box:
        at = self.index3(index)
        z, y, x = (self._read(a, at[a]) for a in range(3))
        return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    def later_neighbours(self, index: int) -> list[int]:
        """Blocks of a higher index whose read box meets this one's: up to 13 where overlap <= core."""
        return [j for j in self._near(index) if j > index]

    def each_later_neighbours(self) -> Iterator[list[int]]:
        """:meth:`later_neighbours` of every block, ascending: a fifth of the time per block."""
        _, ny, nx = self.shape
        z, y, x = (
            _meeting(cuts, low, high)
            for cuts, low, high in zip(self.cuts, self.halo_low, self.halo_high, strict=True)
        )
        index = 0
        for near_z, near_y in product(z, y):
            rows = [(i * ny + j) * nx for i in near_z for j in near_y]
            for near_x in x:
                yield [n for row in rows for k in near_x if (n := row + k) > index]
                index += 1

    def neighbours(self, index: int) -> list[int]:
        """All other blocks whose read box meets this one's, ascending."""
        return [j for j in self._near(index) if j != index]

    def _near(self, index: int) -> Iterator[int]:
        """Blocks whose read box meets this one's, itself included, ascending."""
        _, ny, nx = self.shape
        z, y, x = (
            _meeting(cuts, low, high)[i]
            for cuts, low, high, i in zip(
                self.cuts, self.halo_low, self.halo_high, self.index3(index), strict=True
            )
        )
        return ((i * ny + j) * nx + k for i, j, k in product(z, y, x))

    def later_face_neighbours(self, index: int) -> list[tuple[int, int]]:
        """(axis, block) of the up to three blocks behind the high faces of a block's core."""
        at = self.index3(index)
        return [
            (axis, self.index(vec3(p + (a == axis) for a, p in enumerate(at))))
            for axis in range(3)
            if at[axis] + 1 < self.shape[axis]
        ]

    def cores_meeting(self, box: Box) -> list[int]:
        """Blocks whose core meets ``box``, ascending."""
        near = []
        for a in range(3):
            c = self.cuts[a]
            first = max(bisect_right(c, box.begin[a]) - 1, 0)
            last = min(bisect_left(c, box.end[a]), self.shape[a])
            near.append(range(first, last))
        return [self.index(vec3(p)) for p in product(*near)]


@lru_cache(maxsize=16)
def _meeting(cuts: Cuts, low: int, high: int) -> tuple[range, ...]:
    """For each block along an axis, the blocks whose read boxes meet its own, itself included."""
    found = []
    for i in range(len(cuts) - 1):
        begin, end = max(cuts[i] - low, cuts[0]), min(cuts[i + 1] + high, cuts[-1])
        first, last = i, i
        while first > 0 and cuts[first] + high > begin:
            first -= 1
        while last + 2 < len(cuts) and cuts[last + 1] - low < end:
            last += 1
        found.append(range(first, last + 1))
    return tuple(found)


def _block_cuts(begin: int, end: int, size: int, overlap: int, chunk: int, origin: int) -> Cuts:
    """Cuts of one axis: equal cores, then moved to chunk borders where the read box allows it."""
    length = end - begin
    if length <= size:
        return begin, end
    n = ceil_div(length, size - overlap)
    cuts = [begin + k * length // n for k in range(n + 1)]
    if chunk > 1:
        # wider than the halo, or the outermost block would lie in its neighbour's read box
        smallest = max((size - overlap) // 2, overlap - overlap // 2 + 1)
        for k in range(1, n):
            border = origin + round((cuts[k] - origin) / chunk) * chunk
            below, above = border - cuts[k - 1], cuts[k + 1] - border
            if min(below, above) >= smallest and max(below, above) <= size - overlap:
                cuts[k] = border
    return tuple(cuts)


# ------------------------------------------------------------------ ranges of indices and batches
def to_ranges(indices: Iterable[int]) -> Ranges:
    """Ascending indices as half-open ranges."""
    ranges: Ranges = []
    for i in indices:
        if ranges and ranges[-1][1] == i:
            ranges[-1] = (ranges[-1][0], i + 1)
        else:
            ranges.append((i, i + 1))
    return ranges


def ranges_len(ranges: Sequence[tuple[int, int]]) -> int:
    return sum(e - b for b, e in ranges)


def z_ordered(ranges: Sequence[tuple[int, int]], shape: Vec3) -> list[int]:
    """Blocks of these ranges along a Z-order curve, on which neighbours in space lie near each other.

    A block's neighbours behind its high faces come after it.
    """
    spread = [sum((n >> bit & 1) << 3 * bit for bit in range(21)) for n in range(max(shape))]
    _, ny, nx = shape

    def code(index: int) -> int:
        z, y, x = index // (ny * nx), index // nx % ny, index % nx
        return spread[z] << 2 | spread[y] << 1 | spread[x]

    return sorted((i for begin, end in ranges for i in range(begin, end)), key=code)


def share(n: int, k: int, of: int) -> tuple[int, int]:
    """The ``k``-th of ``of`` nearly equal shares of ``n`` items, as a half-open range."""
    return k * n // of, (k + 1) * n // of


def items(ranges: Sequence[tuple[int, int]], begin: int, end: int) -> Iterator[int]:
    """Indices number ``begin`` to ``end`` of those that the ranges hold."""
    passed = 0
    for b, e in ranges:
        n = e - b
        yield from range(b + max(begin - passed, 0), min(e, b + end - passed))
        passed += n
        if passed >= end:
            return

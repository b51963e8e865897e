"""The mesh of an object, of the pieces that cells keep of it: nodes that hold several cells are made.

Fragments stand by level, and in Morton order in each. So each level is gone through by itself, a node at
a time, and what an object takes in memory doesn't grow with it: a few units, and the places of all parts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.formats.precomputed.meshes import (
    decode_fragment,
    encode_fragment,
    quantised,
)
from magneton_tasks.kernels.mesh.levels import STEPS, Levels
from magneton_tasks.kernels.mesh.surfaces import Meshes
from magneton_tasks.stages.objects import mesh_piece
from magneton_tasks.stages.objects.maker import Joined, StoredPiece
from magneton_tasks.stages.objects.mesh_cell import unit_bits
from magneton_tasks.stages.objects.mesh_grid import NodeGrid, children, ordered
from magneton_tasks.stages.objects.mesh_manifest import manifest_of
from magneton_tasks.stages.objects.mesh_piece import Parts, Place

#: Bytes of pieces that are kept when they have been read.
_KEPT = 32 << 20
#: Of an object that is done, bytes that are handed on at a time.
_SLICE = 4 << 20


def joined(
    grid: NodeGrid, levels: Levels, bits: int, pieces: Sequence[StoredPiece]
) -> Generator[bytes, None, Joined]:
    """As `maker.Maker.join`."""
    store = _Pieces(pieces)
    if len(pieces) == 1:
        data = store.read(0)
        parts = mesh_piece.read(data)
        if parts.manifest:
            for begin in range(parts.begin, len(data), _SLICE):
                yield data[begin : begin + _SLICE]
            return Joined(parts.manifest, {"faces": parts.faces})
    return (yield from _Join(grid, levels, bits, store).run())


class _Pieces:
    """Reads pieces; keeps those that were read last."""

    def __init__(self, pieces: Sequence[StoredPiece]) -> None:
        self._pieces = pieces
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._pieces)

    def read(self, number: int) -> bytes:
        found = self._kept.get(number)
        if found is None:
            found = self._kept[number] = self._pieces[number].read()
            self._size += len(found)
            while self._size > _KEPT and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
        else:
            self._kept.move_to_end(number)
        return found


class _Join:
    """Of one object that lies in several cells."""

    def __init__(self, grid: NodeGrid, levels: Levels, bits: int, pieces: _Pieces) -> None:
        self._grid, self._levels, self._bits = grid, levels, bits
        self._pieces = pieces
        self._fragments: dict[Place, tuple[int, int, int]] = {}
        self._units: dict[Place, tuple[int, int, int]] = {}
        self._faces = 0
        for number in range(len(pieces)):
            self._list(number, mesh_piece.read(pieces.read(number)))

    def _list(self, number: int, parts: Parts) -> None:
        self._faces += parts.faces
        self._fragments |= {place: (number, *at) for place, at in parts.fragments.items()}
        self._units |= {place: (number, *at) for place, at in parts.units.items()}

    def run(self) -> Generator[bytes, None, Joined]:
        sizes: list[tuple[Place, int]] = []
        at = self._places(0, set())
        for level in range(self._grid.lods):
            if level:
                at = self._places(level, {vec3(n // 2 for n in place) for place in at})
            for z, y, x in at:
                place = (level, x, y, z)
                data = self._fragment(place)
                sizes.append((place, len(data)))
                if data:
                    yield data
        return Joined(manifest_of(self._grid, sizes).encode(), {"faces": self._faces})

    def _places(self, level: int, parents: set[Vec3]) -> list[Vec3]:
        """Nodes of a level: those that cells have done, and parents of those below."""
        done = {(z, y, x) for of, x, y, z in self._fragments if of == level}
        return ordered(sorted(done | parents))

    def _fragment(self, place: Place) -> bytes:
        stored = self._fragments.get(place)
        if stored is not None:
            return self._read(*stored)
        level, x, y, z = place
        node = self._node(level, (z, y, x))
        corners = quantised(node.vertices / self._levels.size(level), self._bits)
        return encode_fragment(corners, node.faces, self._bits)

    def _read(self, number: int, begin: int, size: int) -> bytes:
        return self._pieces.read(number)[begin : begin + size]

    def _node(self, level: int, at: Vec3) -> Meshes:
        """A node of a level from 1 on."""
        return self._levels.together(list(self._units_of(level, at)), level)

    def _units_of(self, level: int, at: Vec3) -> Iterator[tuple[Meshes, tuple[int, int, int]]]:
        for child, half in children(at):
            stored = self._units.get((level, child[2], child[1], child[0]))
            if stored is not None:
                yield self._unit(level, self._read(*stored)), half
            elif level > 1:
                below = self._node(level - 1, child)
                if len(below.labels):
                    yield self._levels.next_unit(below, level - 1, self._grid.ends(child)), half

    def _unit(self, level: int, data: bytes) -> Meshes:
        points, corners_of = decode_fragment(data)
        # Draco gives a point twice where more than two triangles share an edge: it would come apart
        corners, place = np.unique(points, axis=0, return_inverse=True)
        faces = place.reshape(-1)[corners_of]
        assert corners.max(initial=0) < 1 << unit_bits(self._levels, level)
        ends = np.zeros((2, 2), np.int64)
        ends[:, 1] = len(corners), len(faces)
        return Meshes(
            np.zeros(1, np.int64),
            (corners / STEPS).astype(np.float32),
            faces.astype(np.int32),
            ends[0],
            ends[1],
        )

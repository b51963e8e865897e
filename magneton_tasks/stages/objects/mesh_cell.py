"""The meshes of a cell: all nodes that it holds, all objects of a node at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.formats.precomputed.meshes import encode_fragments, quantised
from magneton_tasks.kernels.mesh.levels import STEPS, Levels
from magneton_tasks.kernels.mesh.merge import selected
from magneton_tasks.kernels.mesh.surfaces import Meshes
from magneton_tasks.stages.objects import mesh_piece
from magneton_tasks.stages.objects.maker import CellLabels, Piece
from magneton_tasks.stages.objects.mesh_grid import NodeGrid, children
from magneton_tasks.stages.objects.mesh_manifest import manifest_of
from magneton_tasks.stages.objects.mesh_piece import Part


class CellMeshes:
    """Works one cell, node by node in Morton order: few units are held at a time."""

    def __init__(self, grid: NodeGrid, levels: Levels, bits: int, cell: CellLabels) -> None:
        self._grid, self._levels, self._bits = grid, levels, bits
        self._ids = cell.ids
        self._reach = grid.reach(cell.box)
        self._first, self._numbers = _padded(grid.volume, cell)
        self._wanted = np.concatenate([np.zeros(1, np.bool_), cell.wanted])
        self._is_inside = _inside(cell, grid.volume)
        self._fragments: dict[int, list[Part]] = defaultdict(list)
        self._units: dict[int, list[Part]] = defaultdict(list)
        self._faces = np.zeros(len(self._wanted), np.int64)

    def pieces(self) -> Iterator[Piece]:
        """Of each object that is wanted, by its id."""
        top = self._grid.lods - 1
        for at in self._grid.places(self._reach, top):
            self._work(top, at)
        for number in np.flatnonzero(self._wanted).tolist():
            yield Piece(int(self._ids[number - 1]), self._piece(number))

    def _piece(self, number: int) -> bytes:
        fragments = self._fragments.pop(number, [])
        units = self._units.pop(number, [])
        faces = int(self._faces[number])
        if not self._is_inside[number]:
            return mesh_piece.partial(faces, fragments, units)
        fragments.sort(key=lambda part: part[0][0])  # by level; in Morton order they are
        sizes = [(place, len(data)) for place, data in fragments]
        manifest = manifest_of(self._grid, sizes).encode()
        return mesh_piece.whole(faces, manifest, [data for _, data in fragments])

    def _work(self, level: int, at: Vec3) -> Meshes:
        """The objects that are done in a node; of others, units are kept where it goes on elsewhere."""
        if level == 0:
            node = self._finest(at)
        else:
            units, goes_on = [], not self._grid.is_whole(level, at, self._reach)
            for child, half in children(at):
                if self._box(level - 1, child).is_empty:
                    continue
                below = self._work(level - 1, child)
                unit = self._unit(below, level, child)
                if goes_on:
                    unit = self._kept(unit, level, child)
                units.append((unit, half))
            node = self._levels.together(units, level)
        self._encode(node, level, at)
        return node

    def _unit(self, below: Meshes, level: int, child: Vec3) -> Meshes:
        ends = self._grid.ends(child)
        if level == 1:
            return self._levels.unit(below, ends)
        return self._levels.next_unit(below, level - 1, ends)

    def _box(self, level: int, at: Vec3) -> Box:
        return self._grid.box(level, at).intersection(self._reach)

    def _finest(self, at: Vec3) -> Meshes:
        box, begin = self._box(0, at), self._grid.box(0, at).begin
        # where half a voxel of surface before the volume has no node of its own, it belongs to this one
        low = [
            min(b, f) if b == r else b
            for b, f, r in zip(box.begin, self._first, self._reach.begin, strict=True)
        ]
        some = self._numbers[
            tuple(
                slice(b - f, e - f + 1) for b, e, f in zip(low, box.end, self._first, strict=True)
            )
        ]
        first = (low[0] - begin[0], low[1] - begin[1], low[2] - begin[2])
        found = self._levels.finest(
            np.ascontiguousarray(some), self._wanted, first, self._grid.ends(at)
        )
        self._faces[found.labels] += np.diff(found.face_starts)
        return found

    def _kept(self, unit: Meshes, level: int, at: Vec3) -> Meshes:
        """Keep what waits for other cells; the rest."""
        inside = self._is_inside[unit.labels]
        outside = selected(unit, ~inside)
        steps = np.rint(outside.vertices * STEPS).astype(np.float32)
        bits = unit_bits(self._levels, level)
        self._add(self._units, outside, steps, bits, (level, at[2], at[1], at[0]))
        return selected(unit, inside)

    def _encode(self, node: Meshes, level: int, at: Vec3) -> None:
        corners = quantised(node.vertices / self._levels.size(level), self._bits)
        place = (level, at[2], at[1], at[0])
        self._add(self._fragments, node, corners, self._bits, place)

    def _add(
        self,
        parts: dict[int, list[Part]],
        meshes: Meshes,
        corners: NDArray[np.float32],
        bits: int,
        place: mesh_piece.Place,
    ) -> None:
        starts = meshes.vertex_starts, meshes.face_starts
        made = encode_fragments(corners, meshes.faces, *starts, bits)
        for number, data in zip(meshes.labels.tolist(), made, strict=True):
            parts[number].append((place, data))


def unit_bits(levels: Levels, level: int) -> int:
    """Of a unit's corners."""
    return int(levels.size(level - 1).max() * STEPS).bit_length()


def _padded(volume: Box, cell: CellLabels) -> tuple[Vec3, NDArray[np.uint32]]:
    """Labels with a plane of zeros where the volume ends, and the first voxel of them."""
    low = [int(b == v) for b, v in zip(cell.box.begin, volume.begin, strict=True)]
    high = [int(e == v) for e, v in zip(cell.box.end, volume.end, strict=True)]
    z, y, x = (b - n for b, n in zip(cell.box.begin, low, strict=True))
    return (z, y, x), np.pad(cell.numbers, list(zip(low, high, strict=True)))


def _inside(cell: CellLabels, volume: Box) -> NDArray[np.bool_]:
    """Bool by number: which objects touch no plane that another cell has too."""
    shape: Any = np.array(cell.numbers.shape)[:, np.newaxis]
    goes_on_low = np.not_equal(cell.box.begin, volume.begin)[:, np.newaxis]
    goes_on_high = np.not_equal(cell.box.end, volume.end)[:, np.newaxis]
    touches = (goes_on_low & (cell.low <= 0)) | (goes_on_high & (cell.high >= shape))
    inside: NDArray[np.bool_] = ~touches.any(0)
    return np.concatenate([np.zeros(1, np.bool_), inside])

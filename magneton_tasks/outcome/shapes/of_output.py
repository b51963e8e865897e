"""The largest objects of an output that have meshes, so finely that a page can show them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.formats.precomputed.mesh_reader import MeshReader
from magneton_tasks.formats.precomputed.meshes import Manifest, concatenated
from magneton_tasks.outcome.report_facts import pool_report
from magneton_tasks.outcome.shapes.shape import Shape
from magneton_tasks.outcome.shapes.thinned import Lattice, on_lattice
from magneton_tasks.work.attempt import Attempt

#: How many objects are drawn; more would hide each other.
OBJECTS = 10
#: Bytes of the meshes that are drawn, if there are levels of detail of so few: some million triangles.
_ENOUGH_BYTES = 600_000
#: Of a coarsest level no more than this is read: half a minute.
_MOST_BYTES = 16_000_000
#: Steps of the lattice that is held while an object is read; several times finer than what is drawn.
_HELD = 4092

_UM3_PER_NM3 = 1e-9


@dataclass(frozen=True)
class Drawing:
    """What is drawn of an output.

    Attributes
    ----------
    shapes
        Largest object first.
    lod, lods
        The level of detail, counted from 0, the finest; and how many there are.
    without
        Ids of the largest objects that aren't drawn: they have no mesh, or one that is too large.
    """

    shapes: tuple[Shape, ...]
    lod: int
    lods: int
    without: tuple[int, ...]


def largest_objects(attempt: Attempt) -> Drawing | None:
    """The largest objects of an attempt's output; None: none of them has a mesh.

    Raises
    ------
    NoInputError
        The output has no meshes.
    BadDataError, OutputError, TemporaryError
        A mesh can't be read.
    """
    reader = MeshReader.open(attempt.config.paths.output)
    report = pool_report(attempt) or {}
    sizes = {o["global_id"]: o["voxels"] for o in report.get("largest", ())[:OBJECTS]}
    found = {i: manifest for i in sizes if (manifest := reader.manifest(i))}
    if not found:
        return None
    lods = min(manifest.lods for manifest in found.values())
    lod = next((k for k in range(lods) if _bytes_of(found, k) <= _ENOUGH_BYTES), lods - 1)
    left, um3 = _MOST_BYTES, prod(attempt.plan.volume.voxel_size_nm) * _UM3_PER_NM3
    shapes = []
    for object_id, manifest in found.items():
        own = _bytes_of({object_id: manifest}, lod)
        left -= own
        if left >= 0 and own:
            vertices, faces = _surface(reader, object_id, manifest, lod)
            voxels = sizes[object_id]
            shapes.append(Shape(object_id, voxels, voxels * um3, vertices, faces))
    drawn = {shape.id for shape in shapes}
    without = tuple(i for i in sizes if i not in drawn)
    return Drawing(tuple(shapes), lod, lods, without) if shapes else None


def _bytes_of(found: dict[int, Manifest], lod: int) -> int:
    return sum(int(manifest.sizes[lod].sum()) for manifest in found.values())


def _surface(
    reader: MeshReader, object_id: int, manifest: Manifest, lod: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """An object's vertices in nm and its faces, thinned fragment by fragment: little is held."""
    nodes = manifest.positions[0]
    ends = np.stack((nodes.min(axis=0), nodes.max(axis=0) + 1))
    low, high = np.sort(_in_nm(reader, manifest.grid_origin + ends * manifest.chunk_shape), axis=0)
    lattice = Lattice(low, float((high - low).max()) / _HELD, _HELD)
    parts = []
    for _, points, faces in reader.fragments(object_id, manifest, lod):
        part = Shape(object_id, 0, 0, _in_nm(reader, points), faces)
        parts.append(lattice.in_nm(on_lattice(part, lattice)))
    return concatenated([(part.vertices, part.faces) for part in parts])


def _in_nm(reader: MeshReader, stored: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(stored @ reader.transform[:, :3].T + reader.transform[:, 3])

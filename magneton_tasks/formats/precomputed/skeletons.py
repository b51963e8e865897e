"""Skeletons of a segmentation, as Neuroglancer reads them.

One is, without gaps::

    uint32 V, uint32 E | float32 V x (x, y, z) nm | uint32 E x 2 | float32 V radii in nm

The format: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/skeletons.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.errors import BadDataError, NoInputError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.keyed_reader import ShardReader
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding

#: The folder, beside the ``info`` of the segmentation, which names it.
FOLDER = "skeletons"
#: Member of the segmentation's ``info``.
MEMBER = "skeletons"
_TYPE = "neuroglancer_skeletons"
_RADIUS = {"id": "radius", "data_type": "float32", "num_components": 1}
_IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
_HEAD = 8


@dataclass(frozen=True, slots=True)
class StoredSkeleton:
    """A skeleton as it is stored.

    Attributes
    ----------
    vertices
        float32 (n, 3): **(x, y, z)** in nm.
    edges
        uint32 (m, 2): places in ``vertices``.
    radii
        float32 (n,), in nm.
    """

    vertices: NDArray[np.float32]
    edges: NDArray[np.uint32]
    radii: NDArray[np.float32]

    @property
    def cable_nm(self) -> float:
        """The length of all edges."""
        ends = self.vertices.astype(np.float64)[self.edges.astype(np.int64)]
        return float(np.sqrt(((ends[:, 0] - ends[:, 1]) ** 2).sum(1)).sum())


def content(sharding: Mapping[str, Any]) -> dict[str, Any]:
    """The folder's ``info``; ``sharding`` is its member of that name."""
    return {
        "@type": _TYPE,
        "transform": _IDENTITY,  # Neuroglancer could do without it, cloud-volume can't
        "vertex_attributes": [_RADIUS],
        "sharding": dict(sharding),
    }


def check_info(info: Mapping[str, Any]) -> None:
    """See that ``info`` describes skeletons as this module stores them.

    Raises
    ------
    BadDataError
        It doesn't: another tool wrote them, or they are something else.
    """
    expected = {"@type": _TYPE, "transform": _IDENTITY, "vertex_attributes": [_RADIUS]}
    other = [key for key, value in expected.items() if info.get(key) != value]
    if other or not isinstance(info.get("sharding"), Mapping):
        which = other[0] if other else "sharding"
        raise BadDataError(f"{FOLDER}/info: its {which} isn't that of this tool's skeletons")


def encode(
    vertices_nm: NDArray[np.floating], edges: NDArray[np.integer], radii_nm: NDArray[np.floating]
) -> bytes:
    """The bytes of a skeleton; ``vertices_nm`` (n, 3) are **(z, y, x)**."""
    head = np.array([len(vertices_nm), len(edges)], "<u4")
    xyz = np.ascontiguousarray(vertices_nm[:, ::-1], "<f4")
    return b"".join(
        (
            head.tobytes(),
            xyz.tobytes(),
            edges.astype("<u4").tobytes(),
            radii_nm.astype("<f4").tobytes(),
        )
    )


def decode(data: bytes) -> StoredSkeleton:
    """A skeleton of its bytes.

    Raises
    ------
    BadDataError
        They are cut off, too long, or an edge has no vertex.
    """
    vertices, edges, attributes = parts(data, 4)
    return StoredSkeleton(vertices, edges, np.frombuffer(attributes, "<f4"))


def parts(
    data: bytes, per_vertex: int
) -> tuple[NDArray[np.float32], NDArray[np.uint32], memoryview]:
    """Vertices, edges, and the bytes of all attributes, of a skeleton whoever wrote it.

    Parameters
    ----------
    per_vertex
        Bytes of a vertex's attributes, of all of them.

    Raises
    ------
    BadDataError
        They are cut off, too long, or an edge has no vertex.
    """
    if len(data) < _HEAD:
        raise BadDataError(f"a skeleton of {len(data)} bytes")
    count, edge_count = (int(n) for n in np.frombuffer(data, "<u4", 2))
    expected = _HEAD + (12 + per_vertex) * count + 8 * edge_count
    if len(data) != expected:
        raise BadDataError(
            f"a skeleton of {count} vertices and {edge_count} edges has {expected} bytes, not {len(data)}"
        )
    vertices = np.frombuffer(data, "<f4", 3 * count, _HEAD).reshape(-1, 3)
    edges = np.frombuffer(data, "<u4", 2 * edge_count, _HEAD + 12 * count).reshape(-1, 2)
    if edges.max(initial=0) >= max(count, 1):
        raise BadDataError(f"a skeleton of {count} vertices has an edge to vertex {edges.max()}")
    return vertices, edges, memoryview(data)[_HEAD + 12 * count + 8 * edge_count :]


class Skeletons:
    """The skeletons of a segmentation, one by one, by the ids of its objects."""

    def __init__(self, objects: Objects, sharding: KeyedSharding) -> None:
        self._objects, self._sharding = objects, sharding
        self._shards: dict[int, ShardReader] = {}

    @classmethod
    def of(cls, objects: Objects) -> Skeletons | None:
        """Of the files of a segmentation; None: its ``info`` names no skeletons.

        Raises
        ------
        BadDataError
            They aren't this tool's, or their ``info`` is damaged.
        """
        named = (objects.get_json("info") or {}).get(MEMBER)
        if named is None:
            return None
        info = objects.get_json(f"{FOLDER}/info") if named == FOLDER else None
        if info is None:
            raise BadDataError(
                f"{objects.location.name_of('info')} names skeletons in {named}, which aren't this tool's"
            )
        check_info(info)
        return cls(objects, KeyedSharding.from_info(info["sharding"]))

    def get(self, global_id: int) -> StoredSkeleton | None:
        """An object's skeleton; None: it has none, or the file that would hold it isn't there.

        A shard without objects has no file.

        Raises
        ------
        BadDataError
            That file is damaged.
        """
        shard = int(self._sharding.place(np.array([global_id], np.uint64))[0][0])
        if shard not in self._shards:
            name = f"{FOLDER}/{self._sharding.file_name(shard)}"
            self._shards[shard] = ShardReader.of_objects(self._objects, name, self._sharding)
        try:
            data = self._shards[shard].read(global_id)
        except NoInputError:
            return None
        return None if data is None else decode(data)

"""What a user would see of a mesh: whether it is closed, where it lies, what it encloses."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from magneton_tasks.base.files import writing
from magneton_tasks.base.geometry import Box, Size3, Vec3, vec3
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding, ShardWriter
from magneton_tasks.stages.objects.maker import CellLabels, Joined, Piece, Space
from magneton_tasks.stages.objects.mesh_maker import MeshMaker
from tests.helpers.volumes import Array

SHARDING = KeyedSharding(1, 1)
Wanted = Callable[[NDArray[np.uint64]], NDArray[np.bool_]]


def open_edges(vertices: Array, faces: Array) -> int:
    """Edges that aren't gone along as often one way as the other, when equal points are one."""
    points, place = np.unique(np.round(vertices, 3), axis=0, return_inverse=True)
    corners = place.reshape(-1)[faces]
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    edges = edges[edges[:, 0] != edges[:, 1]]
    low, high = edges.min(1).astype(np.int64), edges.max(1).astype(np.int64)
    keys, of = np.unique(low * len(points) + high, return_inverse=True)
    ways = np.bincount(of, np.where(edges[:, 0] == low, 1, -1), len(keys))
    return int(np.count_nonzero(ways))


def enclosed(vertices: Array, faces: Array) -> float:
    """The volume inside; negative where faces look inwards."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def everything(ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return np.ones(len(ids), np.bool_)


def cell_labels(labels: Array, volume: Box, box: Box, wanted: Wanted = everything) -> CellLabels:
    """As the stage reads a cell: one plane more on each high side where the volume goes on."""
    read = Box(box.begin, vec3(np.minimum(np.add(box.end, 1), volume.end)))
    ids, places = np.unique(labels[read.slices(volume.begin)], return_inverse=True)
    numbers: NDArray[np.uint32] = places.reshape(read.shape).astype(np.uint32)
    if ids.size and ids[0] == 0:
        ids = ids[1:]
    else:
        numbers += np.uint32(1)
    found = ndimage.find_objects(numbers)
    low, high = (
        np.array([[getattr(s[axis], end) for s in found] for axis in range(3)], np.int64)
        for end in ("start", "stop")
    )
    return CellLabels(box, numbers, ids, low, high, wanted(ids))


class Stored:
    """A piece in memory; counts how often it is read."""

    def __init__(self, box: Box, data: bytes) -> None:
        self.box, self.size, self._data, self.times = box, len(data), data, 0

    def read(self) -> bytes:
        self.times += 1
        return self._data


def join(maker: MeshMaker, global_id: int, pieces: list[Stored]) -> tuple[list[bytes], Joined]:
    before, making = list[bytes](), maker.join(global_id, pieces)
    while True:
        try:
            before.append(next(making))
        except StopIteration as end:
            joined: Joined = end.value
            return before, joined


def pieces_of(
    maker: MeshMaker, labels: Array, volume: Box, cell: Vec3, wanted: Wanted = everything
) -> dict[int, list[Stored]]:
    """Of each object, by cell in raster order."""
    pieces: dict[int, list[Stored]] = defaultdict(list)
    for box in volume.tiles(cell):
        piece: Piece
        for piece in maker.pieces(cell_labels(labels, volume, box, wanted)):
            pieces[piece.id].append(Stored(box, piece.data))
    return pieces


def write_meshes(
    folder: Path,
    labels: Array,
    begin: Vec3,
    voxel_nm: Size3,
    cell: Vec3,
    wanted: Wanted = everything,
    error_nm: float | None = None,
) -> None:
    """A volume's ``info`` and its meshes, worked by cells."""
    volume = Box.of_shape(vec3(labels.shape), begin)
    maker = MeshMaker(Space(volume, voxel_nm, cell), 3, error_nm)
    pieces = pieces_of(maker, labels, volume, cell, wanted)
    ids = np.array(sorted(pieces), np.uint64)
    shards, _ = SHARDING.place(ids)
    for shard in np.unique(shards).tolist():
        with writing(folder / "mesh" / SHARDING.file_name(shard)) as file:
            writer = ShardWriter(file, SHARDING)
            for key in ids[shards == shard].tolist():
                before, joined = join(maker, key, pieces[key])
                writer.add(key, joined.value, before)
            writer.finish()
    (folder / "mesh" / "info").write_text(json.dumps(maker.info(SHARDING.to_info())))
    scale = {
        "key": "mip",
        "size": labels.shape[::-1],
        "resolution": voxel_nm[::-1],
        "voxel_offset": begin[::-1],
        "chunk_sizes": [[64, 64, 64]],
        "encoding": "raw",
    }
    info = {
        "@type": "neuroglancer_multiscale_volume",
        "type": "segmentation",
        "data_type": "uint64",
        "num_channels": 1,
        "mesh": "mesh",
        "scales": [scale],
    }
    (folder / "info").write_text(json.dumps(info))

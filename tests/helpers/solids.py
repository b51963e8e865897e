"""Surfaces to draw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from magneton_tasks.formats.precomputed import meshes
from magneton_tasks.formats.precomputed.keyed_shards import InMemory, KeyedSharding, ShardWriter
from magneton_tasks.formats.precomputed.meshes import Manifest
from magneton_tasks.outcome.shapes import still
from magneton_tasks.outcome.shapes.shape import Shape


def ball(middle: Sequence[float], radius: float, steps: int = 24, object_id: int = 1) -> Shape:
    """A closed ball of meridians and circles of latitude; 1,000 voxels, 2 cubic micrometres."""
    up, around = np.meshgrid(
        np.linspace(0, np.pi, steps + 1)[1:-1],
        np.linspace(0, 2 * np.pi, 2 * steps, endpoint=False),
        indexing="ij",
    )
    rings = np.stack(
        (np.sin(up) * np.cos(around), np.sin(up) * np.sin(around), np.cos(up)), axis=-1
    ).reshape(-1, 3)
    vertices = np.concatenate((rings, [[0, 0, 1], [0, 0, -1]])) * radius + np.asarray(middle)
    number = np.arange(len(rings)).reshape(up.shape)
    right = np.roll(number, -1, axis=1)
    quads = [number[:-1], number[1:], right[1:], right[:-1]]
    a, b, c, d = (q.ravel() for q in quads)
    top, bottom = np.full(2 * steps, len(rings)), np.full(2 * steps, len(rings) + 1)
    corners = [(a, b, c), (a, c, d), (top, number[0], right[0]), (bottom, right[-1], number[-1])]
    faces = np.concatenate([np.stack(triple, axis=1) for triple in corners])
    return Shape(object_id, 1000, 2.0, vertices, faces)


def square(edge: float, depth: float, object_id: int) -> Shape:
    """A square that faces whoever looks at first; ``depth``: how far behind the middle."""
    seen = np.array([[x, y, depth] for y in (-edge / 2, edge / 2) for x in (-edge / 2, edge / 2)])
    faces = np.array([[0, 1, 3], [0, 3, 2]])
    return Shape(object_id, 1000, 2.0, seen @ still.view(), faces)


#: Levels of detail of `write_meshes`.
LODS = 2
_BITS = 16


def write_meshes(folder: Path, shapes: Sequence[Shape], voxel_nm: Sequence[float]) -> None:
    """Put meshes beside a volume's ``info``, and name them there: two levels in one node each.

    Parameters
    ----------
    shapes
        In nm.
    voxel_nm
        (z, y, x); vertices are stored in these voxels.
    """
    size = np.array(voxel_nm[::-1])
    sharding = KeyedSharding(shard_bits=1, minishard_bits=1)
    files = {shard: InMemory() for shard in range(sharding.shards)}
    writers = {shard: ShardWriter(file, sharding) for shard, file in files.items()}
    for shape in sorted(shapes, key=lambda s: s.id):
        low = shape.vertices.min(axis=0) / size
        edge = shape.vertices.max(axis=0) / size - low
        q = meshes.quantised((shape.vertices / size - low) / (2 * edge), _BITS)
        fine = meshes.encode_fragment(
            meshes.quantised((shape.vertices / size - low) / edge, _BITS),
            shape.faces.astype(np.int32),
            _BITS,
        )
        coarse = meshes.encode_fragment(q, shape.faces[::2].astype(np.int32), _BITS)
        node = np.zeros((1, 3), np.int64)
        sizes = tuple(np.array([len(data)]) for data in (fine, coarse))
        x, y, z = edge.tolist()
        ox, oy, oz = low.tolist()
        manifest = Manifest((x, y, z), (ox, oy, oz), (1, 2), (node, node), sizes)
        shard = int(sharding.place(np.array([shape.id], np.uint64))[0][0])
        writers[shard].add(shape.id, manifest.encode(), [fine, coarse])
    (folder / meshes.FOLDER).mkdir()
    for shard, writer in writers.items():
        writer.finish()
        (folder / meshes.FOLDER / sharding.file_name(shard)).write_bytes(bytes(files[shard]))
    z, y, x = voxel_nm
    info = meshes.info((z, y, x), _BITS, sharding.to_info())
    (folder / meshes.FOLDER / "info").write_text(json.dumps(info))
    whole = json.loads((folder / "info").read_text())
    (folder / "info").write_text(json.dumps({**whole, "mesh": meshes.FOLDER}))

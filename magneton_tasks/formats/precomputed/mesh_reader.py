"""Reads meshes of several levels of detail: which objects have one, and its triangles in nm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.failures import telling
from magneton_tasks.base.location import locate
from magneton_tasks.errors import BadDataError, NoInputError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.keyed_reader import ShardReader
from magneton_tasks.formats.precomputed.keyed_shards import Ids, KeyedSharding
from magneton_tasks.formats.precomputed.meshes import (
    FOLDER,
    TYPE,
    Manifest,
    concatenated,
    decode_fragment,
)
from magneton_tasks.formats.precomputed.sharding import SHARD_SUFFIX


@dataclass(frozen=True)
class Mesh:
    """Triangles of an object.

    Attributes
    ----------
    vertices
        float64 (n, 3): x, y, z in nm. Equal points of neighbouring fragments stay apart.
    faces
        int64 (m, 3): places in ``vertices``; outward by the right hand.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where an object's mesh lies: the manifest's begin and size in its shard."""

    shard: int
    begin: int
    size: int


@dataclass(frozen=True)
class MeshReader:
    """The meshes of a segmentation.

    Attributes
    ----------
    objects
        The files of the volume.
    folder
        Of the meshes, below it.
    bits
        Of a corner along its node.
    transform
        float64 (3, 4): what is stored -> nm.
    """

    objects: Objects
    folder: str
    bits: int
    transform: NDArray[np.float64]
    lod_scale_multiplier: float
    sharding: KeyedSharding
    _shards: dict[int, ShardReader] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, url: str, folder: str | None = None) -> MeshReader:
        """The meshes of a volume.

        Parameters
        ----------
        url
            Of the volume: the folder that has its ``info``.
        folder
            None: as the volume's ``info`` says.

        Raises
        ------
        NoInputError
            There are none.
        BadDataError
            They aren't of this format, or aren't sharded.
        """
        objects = Objects(locate(url))
        if folder is None:
            folder = str((objects.get_json("info") or {}).get("mesh", FOLDER))
        info = objects.get_json(f"{folder}/info")
        if info is None:
            raise NoInputError(f"{objects.location.name_of(folder)} has no meshes")
        return cls.of_info(objects, folder, info)

    @classmethod
    def of_info(cls, objects: Objects, folder: str, info: Mapping[str, Any]) -> MeshReader:
        """Meshes of a folder whose ``info`` has been read. Raises as `open` does."""
        name = objects.location.name_of(f"{folder}/info")
        if info.get("@type") != TYPE or "sharding" not in info:
            raise BadDataError(f"{name}: no meshes of {TYPE} in shards")
        with telling(f"{name} can't be understood", decodes=True):
            bits = int(info["vertex_quantization_bits"])
            transform = np.array(info["transform"], np.float64).reshape(3, 4)
            scale = float(info.get("lod_scale_multiplier", 1))
            sharding = KeyedSharding.from_info(info["sharding"])
        return cls(objects, folder, bits, transform, scale, sharding)

    def shard(self, number: int) -> ShardReader:
        """A shard, whether it is there or not."""
        if number not in self._shards:
            name = f"{self.folder}/{self.sharding.file_name(number)}"
            self._shards[number] = ShardReader.of_objects(self.objects, name, self.sharding)
        return self._shards[number]

    def ids(self) -> Ids:
        """Ids of all objects that have a mesh, uint64 (n,), ascending; from the indices of shards."""
        names = self.objects.sizes(self.folder)
        numbers = sorted(
            int(name.removesuffix(SHARD_SUFFIX), 16)
            for name in names
            if name.endswith(SHARD_SUFFIX)
        )
        return np.sort(
            np.concatenate([np.zeros(0, np.uint64), *(self.shard(n).ids() for n in numbers)])
        )

    def find(self, object_id: int) -> Place | None:
        """Where an object's manifest lies; None: it has no mesh."""
        number = int(self.sharding.place(np.array([object_id], np.uint64))[0][0])
        try:
            found = self.shard(number).find(object_id)
        except NoInputError:
            return None
        return None if found is None else Place(number, *found)

    def manifest(self, object_id: int) -> Manifest | None:
        """Of an object; None: it has no mesh.

        Raises
        ------
        BadDataError
            It is damaged.
        """
        place = self.find(object_id)
        data = None if place is None else self.shard(place.shard).read(object_id)
        if data is None:
            return None
        with telling(f"the mesh of {object_id} can't be read"):
            return Manifest.decode(data)

    def mesh(self, object_id: int, lod: int = 0, most_bytes: int | None = None) -> Mesh | None:
        """An object's triangles at a level of detail.

        Parameters
        ----------
        lod
            0 is the finest; levels beyond the coarsest are the coarsest.
        most_bytes
            A coarser level is taken where this one has more bytes, and the coarsest if all have.

        Returns
        -------
        None: it has no mesh.

        Raises
        ------
        BadDataError
            It is damaged.
        """
        manifest = self.manifest(object_id)
        if manifest is None:
            return None
        lod = min(lod, manifest.lods - 1)
        while most_bytes is not None and lod + 1 < manifest.lods:
            if int(manifest.sizes[lod].sum()) <= most_bytes:
                break
            lod += 1
        fragments = list(self.fragments(object_id, manifest, lod))
        points, faces = concatenated([(points, faces) for _, points, faces in fragments])
        return Mesh(points @ self.transform[:, :3].T + self.transform[:, 3], faces)

    def fragments(
        self, object_id: int, manifest: Manifest, lod: int
    ) -> Iterator[tuple[tuple[int, int, int], NDArray[np.float64], NDArray[np.int64]]]:
        """Node, points as stored, and faces, of each fragment of a level that isn't empty."""
        place = self.find(object_id)
        assert place is not None
        at = place.begin - manifest.data_bytes + sum(int(s.sum()) for s in manifest.sizes[:lod])
        data = self.shard(place.shard).read_at(at, int(manifest.sizes[lod].sum()))
        extent, used = np.array(manifest.chunk_shape) * 2**lod, 0
        rows = zip(manifest.positions[lod].tolist(), manifest.sizes[lod].tolist(), strict=True)
        for node, size in rows:
            with telling(f"the mesh of {object_id} can't be read"):
                corners, faces = decode_fragment(data[used : used + size])
            used += size
            if len(faces):
                inside = corners / (2**self.bits - 1)
                points = np.array(manifest.grid_origin) + extent * (np.array(node) + inside)
                yield (node[0], node[1], node[2]), points, faces

"""Which shard file holds a chunk of a sharded precomputed scale; standard library only.

A chunk's id is the compressed Morton code of its place in the scale's grid of chunks: bit 0 of x, of y,
of z, bit 1 of x, ...; a bit that no place of an axis has is left out. All chunks whose ids agree above
``preshift`` share a file::

    grid of 4 x 2 chunks (x, y), ids:     preshift 2 (or: a writer owns 2 x 2 chunks)
        0 1 4 5                               0 0 1 1
        2 3 6 7                               0 0 1 1

The format: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from magneton_tasks.base.geometry import Box, Vec3, ceil_div, vec3

SHARD_SUFFIX = ".shard"
_TYPE = "neuroglancer_uint64_sharded_v1"


@dataclass(frozen=True)
class Sharding:
    """How the chunks of a scale lie in shards, by the hash ``identity``.

    Attributes
    ----------
    grid
        Chunks per axis, zyx.
    preshift_bits, minishard_bits, shard_bits
        Of a chunk's id, from the lowest up.
    data_encoding, index_encoding
        Of each chunk and of each minishard's index: ``gzip`` | ``raw``.
    """

    grid: Vec3
    preshift_bits: int
    minishard_bits: int
    shard_bits: int
    data_encoding: str = "gzip"
    index_encoding: str = "gzip"

    @classmethod
    def of_cells(cls, grid: Vec3, cell: Vec3, compress: str | None) -> Sharding:
        """The largest shards that lie in one cell each, so that each has one writer.

        Chunks whose ids agree above a bit lie in one cell if no bit below it tells two cells apart:
        bits are counted from the lowest up to the first one that does.

        Parameters
        ----------
        grid
            Chunks per axis, zyx.
        cell
            Chunks per axis of a cell, powers of two; cells begin at chunk 0.
        compress
            None | ``gzip``.
        """
        order = _order(grid)
        own = next((n for n, (level, axis) in enumerate(order) if 2**level >= cell[axis]), None)
        preshift = len(order) if own is None else own
        encoding = compress or "raw"
        return cls(grid, preshift, 0, len(order) - preshift, encoding, encoding)

    @classmethod
    def from_info(cls, data: Mapping[str, Any], grid: Vec3) -> Sharding | None:
        """What a scale's ``info`` says; None where chunks lie by another hash than ``identity``."""
        encodings = data.get("data_encoding", "raw"), data.get("minishard_index_encoding", "raw")
        if data.get("hash") != "identity" or not {*encodings} <= {"raw", "gzip"}:
            return None
        return cls(
            grid,
            int(data["preshift_bits"]),
            int(data["minishard_bits"]),
            int(data["shard_bits"]),
            *map(str, encodings),
        )

    def to_info(self) -> dict[str, Any]:
        """For the scale's ``info``."""
        return {
            "@type": _TYPE,
            "preshift_bits": self.preshift_bits,
            "hash": "identity",
            "minishard_bits": self.minishard_bits,
            "shard_bits": self.shard_bits,
            "minishard_index_encoding": self.index_encoding,
            "data_encoding": self.data_encoding,
        }

    @cached_property
    def _bits(self) -> tuple[list[int], list[int], list[int]]:
        """Per axis, which bit of an id each bit of a place becomes."""
        bits: tuple[list[int], list[int], list[int]] = [], [], []
        for at, (_, axis) in enumerate(_order(self.grid)):
            bits[axis].append(at)
        return bits

    def chunk_id(self, at: Vec3) -> int:
        """The id of the chunk at a place of the grid, zyx."""
        return sum(
            (along >> level & 1) << bit
            for along, bits in zip(at, self._bits, strict=True)
            for level, bit in enumerate(bits)
        )

    def place(self, chunk_id: int) -> tuple[str, int]:
        """The file name of the shard that holds a chunk, and the number of its minishard."""
        kept = chunk_id >> self.preshift_bits
        minishard = kept & ((1 << self.minishard_bits) - 1)
        return self._name(kept >> self.minishard_bits & ((1 << self.shard_bits) - 1)), minishard

    def _name(self, shard: int) -> str:
        return f"{shard:0{max(ceil_div(self.shard_bits, 4), 1)}x}{SHARD_SUFFIX}"

    @cached_property
    def chunks_per_shard(self) -> Vec3:
        """Per axis, zyx; of shards that lie at the grid's end fewer."""
        below = self.preshift_bits + self.minishard_bits
        return vec3(2 ** sum(bit < below for bit in bits) for bits in self._bits)

    @property
    def shards(self) -> int:
        """How many files the scale has."""
        return prod(ceil_div(n, s) for n, s in zip(self.grid, self.chunks_per_shard, strict=True))

    def shards_in(self, chunks: Box) -> Iterator[tuple[str, Box]]:
        """File name and chunks of each shard of a box of the grid, by their number.

        ``chunks``: in places of the grid; whole shards, cut off at the grid's end.
        """
        tiles = list(chunks.tiles(self.chunks_per_shard))
        for chunk_id, tile in sorted((self.chunk_id(tile.begin), tile.begin) for tile in tiles):
            name, _ = self.place(chunk_id)
            yield name, Box.of_shape(self.chunks_per_shard, tile).intersection(chunks)

    def ids(self, chunks: Box) -> Iterator[tuple[int, Vec3]]:
        """Id and place of each chunk of a box of the grid, in raster order."""
        spans = (range(b, e) for b, e in zip(chunks.begin, chunks.end, strict=True))
        for at in product(*spans):
            yield self.chunk_id(vec3(at)), vec3(at)


def chunk_sizes(chunk_size: Vec3, factors: Sequence[Vec3]) -> tuple[Vec3, ...]:
    """Chunks of each mip of a sharded volume: where a mip doesn't halve an axis, chunks double along it.

    So a cell stays a cube of chunks, and each mip of it is one shard.

    Parameters
    ----------
    chunk_size
        Of mip 0, zyx in voxels.
    factors
        Of each mip over mip 0, which comes first; powers of two.
    """
    return tuple(
        vec3(c * 2**mip // f for c, f in zip(chunk_size, factor, strict=True))
        for mip, factor in enumerate(factors)
    )


def _order(grid: Vec3) -> list[tuple[int, int]]:
    """The bits of an id from the lowest up: (level, axis)."""
    bits = [(n - 1).bit_length() for n in grid]
    return [(level, axis) for level in range(max(bits)) for axis in (2, 1, 0) if level < bits[axis]]

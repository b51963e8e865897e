"""How what is made of objects (meshes, skeletons) is cut: into cells in space, and shards of ids.

Cells are those of the stage that wrote the mip. The number of shards follows from the volume's size
alone, so that each cell knows to which shard a piece of an object goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.config.model import RunConfig
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.stage_table import Section

#: Bytes of a shard to aim at, and of what is made of a voxel of the mip: see docs/meshes.md and docs/skeletons.md.
SHARD_BYTES = 128 * 2**20
BYTES_PER_VOXEL = {"mesh": 0.15, "skeleton": 0.2}
#: Ids of a minishard to aim at: its index has 24 bytes of each; and the voxels of the mip that an
#: object has in a volume of small ones.
_IDS_PER_MINISHARD = 1365
_VOXELS_PER_OBJECT = 2000
#: A shard's own index has 16 bytes of each minishard.
_MOST_MINISHARD_BITS = 9


@dataclass(frozen=True, slots=True)
class ObjectGrid:
    """How one section works its objects.

    Attributes
    ----------
    mip
        Of the output, whose voxels are read.
    shard_bits, minishard_bits
        Of the hash of an id: 2**shard_bits shards are worked.
    """

    mip: int
    shard_bits: int
    minishard_bits: int

    @classmethod
    def from_data(cls, data: Mapping[str, Any] | None) -> ObjectGrid | None:
        """Back from what JSON makes of it."""
        return None if data is None else cls(**data)

    @classmethod
    def make(
        cls, config: RunConfig, section: Section, mips: int, voxels: list[int]
    ) -> ObjectGrid | None:
        """Of a section of the config; None where that is null.

        Parameters
        ----------
        mips
            How many the output has beyond mip 0.
        voxels
            Of the volume, at each mip.

        Raises
        ------
        ConfigError
            The output has no such mip.
        """
        asked = getattr(config, section)
        if asked is None:
            return None
        if asked.mip > mips:
            raise ConfigError(
                f"{section}.mip is {asked.mip}, but the output has no mip above {mips} (apply.mips)",
                f"set {section}.mip to {mips} or less, or apply.mips to {asked.mip} or more",
            )
        there = voxels[asked.mip]
        shard_bits = _bits(there * BYTES_PER_VOXEL[section] / SHARD_BYTES)
        ids = there / _VOXELS_PER_OBJECT / 2**shard_bits
        return cls(
            asked.mip, shard_bits, min(_bits(ids / _IDS_PER_MINISHARD), _MOST_MINISHARD_BITS)
        )

    @property
    def shards(self) -> Grid:
        """The shards as a grid, nearly square: so a block map has them on one layer."""
        rows = 1 << self.shard_bits // 2
        columns = 1 << self.shard_bits - self.shard_bits // 2
        cuts = ((0, 1), tuple(range(rows + 1)), tuple(range(columns + 1)))
        return Grid(cuts)


def _bits(wanted: float) -> int:
    return max(ceil(log2(wanted)), 0) if wanted > 0 else 0


def read_by(grid: Grid, key: int) -> list[int]:
    """The cells that a cell reads: itself, and those behind its high faces, edges and corner."""
    found, begin = [], grid.index3(key)
    for step in range(8):
        at = tuple(b + (step >> bit & 1) for b, bit in zip(begin, (2, 1, 0), strict=True))
        if all(a < n for a, n in zip(at, grid.shape, strict=True)):
            position: Vec3 = (at[0], at[1], at[2])
            found.append(grid.index(position))
    return found

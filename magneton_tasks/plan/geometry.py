"""Where the blocks, groups and cells of a run lie, and how many files its output will hold.

Pure: it follows from a config and the facts of a volume, and no file is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from magneton_tasks.base.geometry import Box, Vec3, ceil_div, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.units import several
from magneton_tasks.config.model import RunConfig
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.precomputed.sharding import Sharding, chunk_sizes
from magneton_tasks.plan import mips
from magneton_tasks.plan.block_grid import make_grid, segmented_box
from magneton_tasks.plan.object_grid import ObjectGrid
from magneton_tasks.plan.stage_table import SECTIONS, Method, Section, facts
from magneton_tasks.plan.volume_facts import VolumeFacts

#: Largest cell, in voxels: 512^3; larger ones serve no purpose but more mips at once.
MAX_CELL_VOXELS = 2**27
#: Of ``paths.max_files``, the part above which a new output is sharded.
_MANY_FILES = 10
#: Least height of a slab of a cell, in voxels: few chunks of a block's labels lie in two of them.
_SLAB = 128


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the blocks and the cells of a run lie.

    Attributes
    ----------
    factors
        Downsampling factor of each additional mip over the one before, zyx.
    cell_mips
        How many of these apply makes inside a cell; downsample makes the others.
    cells
        The grid of apply, in voxels of mip 0.
    coarse_cells
        The grid of downsample, in voxels of mip ``cell_mips``; None without that stage.
    method
        Whose stages work on it.
    sharded
        Whether the chunks of a cell share files.
    mesh, skeleton
        How these are made; None: not at all.
    """

    grid: Grid
    factors: tuple[Vec3, ...]
    cell_mips: int
    cells: Grid
    coarse_cells: Grid | None
    method: Method = "overlap"
    sharded: bool = False
    mesh: ObjectGrid | None = None
    skeleton: ObjectGrid | None = None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Geometry:
        """Back from what JSON makes of it."""
        grids = {
            name: None if data[name] is None else _grid(data[name])
            for name in ("grid", "cells", "coarse_cells")
        }
        factors = tuple(vec3(f) for f in data["factors"])
        of = {name: ObjectGrid.from_data(data.get(name)) for name in ("mesh", "skeleton")}
        return cls(**{**data, **grids, **of, "factors": factors})

    def stage_grid(self, stage: str) -> Grid | None:
        """The grid whose blocks or cells a mapped stage works.

        None without that stage, and of one that works groups: those are known later.
        """
        known = facts(stage)
        if self.method not in known.files:
            return None
        if known.section is not None:
            made = self.objects(known.section)
            cells = known.grid == "object cells"
            return None if made is None else self.cells_at(made.mip) if cells else made.shards
        grids = {"blocks": self.grid, "cells": self.cells, "coarse cells": self.coarse_cells}
        return grids.get(known.grid or "")

    def objects(self, section: Section) -> ObjectGrid | None:
        """How what a section makes of objects is made; None: not at all."""
        return self.mesh if section == "mesh" else self.skeleton

    def writer_of(self, mip: int) -> str:
        """The stage that writes a mip."""
        return "downsample" if mip > self.cell_mips else "apply"

    def first_mip(self, mip: int) -> int:
        """The mip in whose voxels the cells of `cells_at` are cut."""
        return self.cell_mips if mip > self.cell_mips else 0

    def largest_cell(self, mip: int) -> Vec3:
        """The largest cell of `cells_at`, in voxels of the mip."""
        factor = zip(self.cumulative[mip], self.cumulative[self.first_mip(mip)], strict=True)
        core = self.cells_at(mip).largest_core
        return vec3(ceil_div(n, f // below) for n, (f, below) in zip(core, factor, strict=True))

    def cells_at(self, mip: int) -> Grid:
        """The cells of the stage that writes a mip."""
        cells = self.coarse_cells if mip > self.cell_mips else self.cells
        assert cells is not None
        return cells

    def is_in_space(self, stage: str) -> bool:
        """Whether a batch of a stage holds neighbours in space; else its keys follow one another."""
        return stage in ("segment", "faces") and self.method == "exact"

    @property
    def box(self) -> Box:
        return self.grid.box

    def mip_box(self, mip: int) -> Box:
        """The output's extent at a mip, in voxels of that mip, anchored at the volume's begin."""
        return self.box.coarsened(self.cumulative[mip])

    def coarser(self, box: Box, mip: int) -> Box:
        """A box of ``mip`` in voxels of the next mip; both are anchored at the volume's begin."""
        fine, coarse, factor = (
            self.mip_box(mip).begin,
            self.mip_box(mip + 1).begin,
            self.factors[mip],
        )
        begin = vec3(
            c + (b - a) // f for c, b, a, f in zip(coarse, box.begin, fine, factor, strict=True)
        )
        return Box.of_shape(
            vec3(ceil_div(s, f) for s, f in zip(box.shape, factor, strict=True)), begin
        )

    def cell_box(self, stage: str, key: int, mip: int) -> Box:
        """What a cell of apply or downsample holds at ``mip``, in voxels of that mip."""
        coarse = stage == "downsample"
        at = self.cell_mips if coarse else 0
        cells = self.coarse_cells if coarse else self.cells
        assert cells is not None
        box = cells.core(key)
        for k in range(at, mip):
            box = self.coarser(box, k)
        return box

    def slab_shape(self, chunk_size: Vec3) -> Vec3:
        """The largest part of a cell that apply holds at mip 0: whole chunks, and whole voxels of mip 1."""
        z, y, x = self.cells.largest_read
        step = chunk_size[0] * (self.factors[0][0] if self.cell_mips else 1)
        return min(z, ceil_div(_SLAB, step) * step), y, x

    def chunk_sizes(self, chunk_size: Vec3) -> tuple[Vec3, ...]:
        """Of each mip, where mip 0 has ``chunk_size``."""
        if self.sharded:
            return chunk_sizes(chunk_size, self.cumulative)
        return (chunk_size,) * len(self.cumulative)

    def chunks_per_cell(self, chunk_size: Vec3) -> tuple[Vec3, ...]:
        """Per mip, how many chunks along each axis the cell has that writes it: powers of two.

        None where chunks don't share files.
        """
        found = []
        for mip, chunk in enumerate(self.chunk_sizes(chunk_size)) if self.sharded else ():
            coarse = self.coarse_cells if mip > self.cell_mips else None
            cells, at = (self.cells, 0) if coarse is None else (coarse, self.cell_mips)
            factor = zip(self.cumulative[mip], self.cumulative[at], strict=True)
            width = [f // below * c for (f, below), c in zip(factor, chunk, strict=True)]
            chunks = (ceil_div(e, w) for e, w in zip(cells.largest_core, width, strict=True))
            found.append(vec3(2 ** (n - 1).bit_length() for n in chunks))
        return tuple(found)

    @property
    def cumulative(self) -> tuple[Vec3, ...]:
        """Factor of each mip over mip 0, which comes first."""
        total = [(1, 1, 1)]
        for factor in self.factors:
            total.append(vec3(t * f for t, f in zip(total[-1], factor, strict=True)))
        return tuple(total)


def _grid(data: Mapping[str, Any]) -> Grid:
    z, y, x = (tuple(c) for c in data["cuts"])
    return Grid((z, y, x), vec3(data["halo_low"]), vec3(data["halo_high"]))


def make_geometry(config: RunConfig, volume: VolumeFacts, sharded: bool | None = None) -> Geometry:
    """Blocks, cells and mips of a volume.

    Parameters
    ----------
    sharded
        The form of the output that exists, which stays (``apply.sharding: auto``); None: there is none.

    Raises
    ------
    ConfigError
        The box lies outside the volume, blocks don't overlap where several lie side by side, or
        there are too many blocks or mips.
    """
    box = segmented_box(config, volume.box)
    grid = make_grid(config, box, volume.chunk_size, volume.box.begin)
    if len(grid) >= 2**31:
        raise ConfigError(f"{len(grid):,} blocks are too many for global ids", "take larger blocks")
    factors = tuple(mips.mip_factors(volume.voxel_size_nm, config.apply.mips))
    whole = Geometry(grid, factors, 0, Grid.of_cells(box, box.shape), None, config.method)
    return _with_cells(config, whole, _is_sharded(config, whole, sharded))


def _with_cells(config: RunConfig, whole: Geometry, sharded: bool) -> Geometry:
    """With the cells of apply and downsample, for an output of this form."""
    whole = replace(whole, sharded=sharded)
    box, factors, cumulative = whole.box, whole.factors, whole.cumulative
    sizes = [
        vec3(c * f for c, f in zip(chunk, factor, strict=True))
        for chunk, factor in zip(
            whole.chunk_sizes(config.apply.chunk_size), cumulative, strict=True
        )
    ]
    cell_mips = 0
    for k, larger in enumerate(sizes):
        if k and prod(min(s, e) for s, e in zip(larger, box.shape, strict=True)) > MAX_CELL_VOXELS:
            break
        cell_mips = k
    size = sizes[cell_mips]
    # Few mips would make tiny cells: fill them up to about a block. Those of shards stay cubes of chunks.
    while prod(size) * 8 <= MAX_CELL_VOXELS and any(
        s < b for s, b in zip(size, config.block.size, strict=True)
    ):
        size = vec3(
            s * 2 if s < b or sharded else s for s, b in zip(size, config.block.size, strict=True)
        )
    coarse = None
    if cell_mips < len(factors):
        below = cumulative[cell_mips]
        size_coarse = vec3(s // b for s, b in zip(sizes[-1], below, strict=True))
        coarse = Grid.of_cells(box.coarsened(below), size_coarse)
        largest = prod(min(s, e) for s, e in zip(size_coarse, coarse.box.shape, strict=True))
        if largest > 8 * MAX_CELL_VOXELS:
            raise ConfigError(
                f"apply.mips: cells of {largest:,} voxels would be needed for {several(config.apply.mips, 'additional mip')}",
                f"take at most {cell_mips + 3} mips, or smaller chunks",
            )
    cells = Grid.of_cells(box, size)
    made = replace(whole, cell_mips=cell_mips, cells=cells, coarse_cells=coarse)
    voxels = [made.mip_box(mip).voxels for mip in range(len(factors) + 1)]
    mesh, skeleton = (
        ObjectGrid.make(config, section, len(factors), voxels) for section in SECTIONS
    )
    return replace(made, mesh=mesh, skeleton=skeleton)


def _is_sharded(config: RunConfig, unsharded: Geometry, existing: bool | None) -> bool:
    if config.apply.sharding != "auto":
        return config.apply.sharding == "on"
    if existing is not None:
        return existing
    return count_files(unsharded, config.apply.chunk_size) > config.paths.max_files // _MANY_FILES


def count_files(geometry: Geometry, chunk: Vec3) -> int:
    """Files that the output will hold, at most: chunks of all mips, or their shards; meshes; info, owner and lists."""
    total, cells = 5, geometry.chunks_per_cell(chunk)
    for mip, size in enumerate(geometry.chunk_sizes(chunk)):
        shape = geometry.mip_box(mip).shape
        grid = vec3(ceil_div(s, c) for s, c in zip(shape, size, strict=True))
        total += Sharding.of_cells(grid, cells[mip], None).shards if cells else prod(grid)
    made = filter(None, map(geometry.objects, SECTIONS))
    return total + sum(len(objects.shards) + 2 for objects in made)  # and info and owner


def check_files(config: RunConfig, geometry: Geometry, files: int) -> None:
    """Refuse more files than ``paths.max_files``, and say what would help."""
    if files <= config.paths.max_files:
        return
    way_out = "raise paths.max_files if your storage allows it"
    if not geometry.sharded:
        shards = count_files(_with_cells(config, geometry, sharded=True), config.apply.chunk_size)
        way_out = f"apply.sharding: on, with an output that doesn't exist yet, makes {shards:,} of them; or {way_out}"
    raise ConfigError(
        f"the output would hold {several(files, 'file')}, more than paths.max_files ({config.paths.max_files:,})",
        way_out,
    )

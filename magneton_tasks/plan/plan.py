"""From a config and the facts of a volume to a plan: pure, reads no file and no volume.

The plan is plain data: grid parameters and index ranges, never a list of a million blocks.
:mod:`magneton_tasks.stages.planning.draft` gathers the facts, this module decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from math import prod
from typing import Any, Literal

from magneton_tasks import __version__
from magneton_tasks.base.geometry import Box, Size3, Vec3, vec3
from magneton_tasks.base.grid import Grid, Ranges, ranges_len, share
from magneton_tasks.base.json_object import json_object
from magneton_tasks.config.model import RunConfig
from magneton_tasks.errors import BadDataError, ConfigError, OtherVersionError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.plan import cost_exact, cost_overlap, mips
from magneton_tasks.plan.cost_exact import FaceDensity
from magneton_tasks.plan.cost_rest import Memory, apply_memory, count_memory, planned_pool_memory
from magneton_tasks.plan.exact_tree import join_cost
from magneton_tasks.plan.join_tree import JoinTree
from magneton_tasks.plan.stage_names import JOINS, MAPPED, STAGES, facts, join_level

#: Airflow's scheduler suffers from some 500 mapped tasks on (apache/airflow#45991).
MAX_BATCHES = 256
#: A mapped task costs Airflow half a CPU second: a batch should be worth minutes.
TARGET_BATCH_S = 300.0
#: Seconds until a worker has its libraries (benchmarks/pool.py, start-up).
START_S = 1.7
#: Largest cell, in voxels: 512^3; larger ones serve no purpose but more mips at once.
MAX_CELL_VOXELS = 2**27


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def digest(*parts: object) -> str:
    """Short hash of anything that JSON holds; the same on every machine."""
    return blake2b(_encode(parts).encode(), digest_size=8).hexdigest()


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
    joins
        Which blocks are joined with which, level by level; None: the method has no joins.
    """

    grid: Grid
    factors: tuple[Vec3, ...]
    cell_mips: int
    cells: Grid
    coarse_cells: Grid | None
    joins: JoinTree | None = None

    def join_grid(self, level: int) -> Grid | None:
        """The groups of a level of joins as a grid over the blocks' cores; None without that level."""
        if self.joins is None or level > self.joins.levels:
            return None
        span = self.joins.span(level)
        z, y, x = (
            (*cuts[:-1:step], cuts[-1]) for cuts, step in zip(self.grid.cuts, span, strict=True)
        )
        return Grid((z, y, x))

    def stage_grid(self, stage: str) -> Grid | None:
        """The grid whose blocks, groups or cells a mapped stage works; None without that stage."""
        known = facts(stage)
        if known.level is not None:
            return self.join_grid(known.level)
        grids = {"blocks": self.grid, "cells": self.cells, "coarse cells": self.coarse_cells}
        return grids[known.grid] if known.grid is not None else None

    def is_in_space(self, stage: str) -> bool:
        """Whether a batch of a stage holds neighbours in space; else its keys follow one another."""
        return stage == "segment" and self.joins is not None

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
        return Box.of_shape(vec3(-(-s // f) for s, f in zip(box.shape, factor, strict=True)), begin)

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

    @property
    def cumulative(self) -> tuple[Vec3, ...]:
        """Factor of each mip over mip 0, which comes first."""
        total = [(1, 1, 1)]
        for factor in self.factors:
            total.append(vec3(t * f for t, f in zip(total[-1], factor, strict=True)))
        return tuple(total)


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """What a plan keeps of the input volume; see :class:`magneton_tasks.formats.info.VolumeInfo`."""

    box: Box
    voxel_size_nm: Size3
    chunk_size: Vec3
    dtype: str
    channels: int

    @classmethod
    def of(cls, info: VolumeInfo) -> VolumeFacts:
        return cls(info.box, info.voxel_size_nm, info.chunk_size, info.dtype, info.channels)


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What decides the results of each stage; a stage's includes that of the one before."""

    segment: str
    count: str
    pool: str
    apply: str
    downsample: str
    #: of all levels; "" where the method has no joins
    join: str = ""

    def of(self, stage: str) -> str:
        """Of a stage; one without a field here: of the stage before it, and its name."""
        name = "join" if join_level(stage) else stage
        if name in self.__slots__:
            return str(getattr(self, name))
        return digest(self.of(STAGES[STAGES.index(stage) - 1]), stage)


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The threshold that a run segments with, and where it is from.

    Attributes
    ----------
    value
        Mean (or quantile) affinity, in [0, 1], down to which regions merge.
    source
        The affinity map itself, the config (its file, or the method's usual one), or what was set
        for this run alone.
    between, inside
        Of one from the map: mean affinity between objects and inside them, in [0, 1].
    warnings
        What is doubtful about one from the map, each with what to do.
    now
        What the map asks for now, where it has changed since; the result keeps ``value``.
    """

    value: float
    source: Literal["map", "config", "run"]
    between: float | None = None
    inside: float | None = None
    warnings: tuple[str, ...] = ()
    now: float | None = None


@dataclass(frozen=True, slots=True)
class Density:
    """What a few boxes of the input hold, per voxel, before anything is merged."""

    fragments_per_voxel: float
    edges_per_voxel: float
    #: (fragments, edges) per voxel of the densest box; None: nothing was sampled
    densest: tuple[float, float] | None
    #: exact: what stays open at faces, over all boxes and in the densest; labels per voxel
    faces: FaceDensity | None = None
    densest_faces: FaceDensity | None = None
    labels_per_voxel: float | None = None


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What one mapped stage has to do: indices of blocks or cells, cut into batches."""

    total: int
    todo: Ranges = field(default_factory=list)
    batches: int = 0
    cpu_s: float = 0.0
    #: shares of a batch that run side by side: indexes of a job array; 1 where runners have none
    parts: int = 1

    def batch(self, k: int) -> tuple[int, int]:
        """Positions in ``todo`` that batch ``k`` works."""
        return share(ranges_len(self.todo), k, self.batches)


@dataclass(frozen=True, slots=True)
class Replaced:
    """A result in the output that apply, with a plan's settings, writes over.

    Attributes
    ----------
    output
        Its URL.
    state
        Whether verify proved it complete; unknown: nothing of its run is left.
    run
        That made it; None: unknown.
    finished_s
        When it was proved complete, in seconds since 1970; None: never, or unknown.
    differs
        Why the new one is another: ``key: before -> now``, or a sentence.
    """

    output: str
    state: Literal["finished", "unfinished", "unknown"]
    run: str | None
    finished_s: float | None
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One attempt, frozen: what the stages read."""

    version: str
    run: str
    attempt: int
    created: float
    config_path: str
    partition: str | None
    restart: bool
    stages: tuple[str, ...]
    volume: VolumeFacts
    input_digest: str
    geometry: Geometry
    fingerprints: Fingerprints
    #: kernels take it from here: config.yaml may hold null, which is *from the map*
    threshold: ThresholdChoice
    work: Mapping[str, StagePlan]
    memory: Mapping[str, Memory]
    memory_limit: int
    workers: int
    files: int
    output_bytes: int
    label_bytes: int
    notes: tuple[str, ...] = ()
    #: values given over those of the YAML file, by dotted key
    overrides: Mapping[str, object] = field(default_factory=dict)
    #: directories under which paths from a form must lie; None: nothing came from a form
    roots: tuple[str, ...] | None = None
    #: what the output holds that isn't this plan's result; None: nothing is lost
    replaces: Replaced | None = None

    @property
    def nothing_to_do(self) -> bool:
        return not any(s.batches for s in self.work.values())

    @property
    def expected_s(self) -> float:
        """Wall time to expect, in seconds: the CPU time of what is to do, shared by the workers, and
        the start of their processes (verify's included).
        """
        works = [w for w in self.work.values() if w.batches]
        rounds = 1 + sum(-(-w.batches // self.workers) for w in works)
        return sum(w.cpu_s for w in works) / self.workers + rounds * START_S

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "the attempt") -> Plan:
        """Read back what `to_json` wrote.

        Raises
        ------
        ConfigError
            Another version of Magneton wrote it; ``where`` is named.
        BadDataError
            It holds no plan.
        """
        try:
            data = json_object(text)
        except ValueError as error:
            raise _no_plan(where, error) from error
        # Versions come first: those of others hold other keys.
        version = data.get("version")
        if version != __version__:
            raise OtherVersionError(
                f"{where} was planned by Magneton {version}; this is {__version__}",
                f"if that is a compute node or a container, install Magneton {version} there, because a "
                "rerun fails in the same way; else clear the task plan (or rerun) to plan it again",
                str(version),
            )
        try:
            return _build(cls, data)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise _no_plan(where, error) from error


def _no_plan(where: str, error: Exception) -> BadDataError:
    return BadDataError(
        f"plan.json of {where} holds no plan: {type(error).__name__}: {error}",
        "clear the task plan (or rerun) to plan it again",
    )


def _build(cls: type[Plan], data: dict[str, Any]) -> Plan:
    data = {f.name: data[f.name] for f in fields(cls) if f.name in data}
    data["volume"] = _volume(data["volume"])
    geometry = data["geometry"]
    for name in ("grid", "cells", "coarse_cells"):
        if geometry[name] is not None:
            geometry[name] = _grid(geometry[name])
    geometry["factors"] = tuple(vec3(f) for f in geometry["factors"])
    if geometry["joins"] is not None:
        joins = geometry["joins"]
        fan_in = tuple(vec3(f) for f in joins["fan_in"])
        geometry["joins"] = JoinTree(vec3(joins["blocks"]), fan_in)
    data["geometry"] = Geometry(**geometry)
    data["fingerprints"] = Fingerprints(**data["fingerprints"])
    chosen = data["threshold"]
    data["threshold"] = ThresholdChoice(**chosen | {"warnings": tuple(chosen["warnings"])})
    for stage in data["work"].values():
        stage["todo"] = [(b, e) for b, e in stage["todo"]]
    data["work"] = {k: StagePlan(**v) for k, v in data["work"].items()}
    data["memory"] = {k: Memory(**v) for k, v in data["memory"].items()}
    if data.get("replaces"):
        found = data["replaces"]
        data["replaces"] = Replaced(**found | {"differs": tuple(found["differs"])})
    data["stages"], data["notes"] = tuple(data["stages"]), tuple(data["notes"])
    return cls(**data)


def _grid(data: dict[str, Any]) -> Grid:
    z, y, x = (tuple(c) for c in data["cuts"])
    return Grid((z, y, x), vec3(data["halo_low"]), vec3(data["halo_high"]))


def _volume(data: dict[str, Any]) -> VolumeFacts:
    box = Box(vec3(data["box"]["begin"]), vec3(data["box"]["end"]))
    z, y, x = data["voxel_size_nm"]
    return VolumeFacts(box, (z, y, x), vec3(data["chunk_size"]), data["dtype"], data["channels"])


# ------------------------------------------------------------------ geometry
def make_geometry(config: RunConfig, volume: VolumeFacts) -> Geometry:
    """Blocks, cells and mips of a volume; exact: one flat join, until `exact_tree` knows better.

    Raises
    ------
    ConfigError
        The box lies outside the volume, blocks don't overlap where several lie side by side, or
        there are too many blocks or mips.
    """
    box = _segmented_box(config, volume.box)
    grid = make_grid(config, box, volume)
    if len(grid) >= 2**31:
        raise ConfigError(f"{len(grid):,} blocks are too many for global ids", "take larger blocks")
    joins = JoinTree.flat(grid.shape) if config.method == "exact" else None
    factors = tuple(mips.mip_factors(volume.voxel_size_nm, config.apply.mips))
    chunk = config.apply.chunk_size
    cell_mips, size = 0, chunk
    for k in range(1, len(factors) + 1):
        larger = vec3(s * f for s, f in zip(size, factors[k - 1], strict=True))
        if prod(min(s, e) for s, e in zip(larger, box.shape, strict=True)) > MAX_CELL_VOXELS:
            break
        cell_mips, size = k, larger
    # Few mips would make tiny cells: fill them up to about a block.
    while prod(size) * 8 <= MAX_CELL_VOXELS and any(
        s < b for s, b in zip(size, config.block.size, strict=True)
    ):
        size = vec3(s * 2 if s < b else s for s, b in zip(size, config.block.size, strict=True))
    coarse = None
    if cell_mips < len(factors):
        size_coarse = vec3(c * prod(f[a] for f in factors[cell_mips:]) for a, c in enumerate(chunk))
        below = vec3(prod(f[a] for f in factors[:cell_mips]) for a in range(3))
        coarse = Grid.of_cells(box.coarsened(below), size_coarse)
        largest = prod(min(s, e) for s, e in zip(size_coarse, coarse.box.shape, strict=True))
        if largest > 8 * MAX_CELL_VOXELS:
            raise ConfigError(
                f"apply.mips: {config.apply.mips} additional mips need cells of {largest:,} voxels",
                f"take at most {cell_mips + 3} mips, or smaller chunks",
            )
    return Geometry(grid, factors, cell_mips, Grid.of_cells(box, size), coarse, joins)


def make_grid(config: RunConfig, box: Box, volume: VolumeFacts) -> Grid:
    """The blocks: overlapping ones, or (exact) cores side by side that read one plane more."""
    size, chunk, origin = config.block.size, volume.chunk_size, volume.box.begin
    if config.method == "exact":
        cuts = Grid.of_blocks(box, size, (0, 0, 0), chunk, origin).cuts
        return Grid(cuts, (0, 0, 0), (1, 1, 1))
    grid = Grid.of_blocks(box, size, config.block.overlap, chunk, origin)
    for axis, n, overlap in zip("zyx", grid.shape, config.block.overlap, strict=True):
        if n > 1 and overlap == 0:
            raise ConfigError(
                f"block.overlap is 0 along {axis}, but {n} blocks lie side by side there: nothing would join them",
                "give an overlap (32 is usual), a block size that spans the axis, or method: exact",
            )
    return grid


def _segmented_box(config: RunConfig, whole: Box) -> Box:
    if config.box is None:
        return whole
    box = Box(config.box.begin, config.box.end)
    if not whole.contains(box):
        raise ConfigError(
            f"box {box} reaches out of the volume, which is {whole} at mip {config.input.mip}",
            "give a box inside it, in voxels of that mip, voxel offset included",
        )
    return box


# ------------------------------------------------------------------ projections
def project_memory(config: RunConfig, geometry: Geometry, density: Density) -> dict[str, Memory]:
    """Memory of one process of each stage, from the largest block, group and cell.

    A stage without a projection of its own: as the last before it on the same grid.
    """
    project = _exact_memory if config.method == "exact" else _overlap_memory
    memory = project(config, geometry, density)
    for n, stage in enumerate(MAPPED):
        grid = geometry.stage_grid(stage)
        before = [s for s in MAPPED[:n] if geometry.stage_grid(s) == grid and s in memory]
        if stage not in memory and grid is not None and before:
            memory[stage] = memory[before[-1]]
    return memory


def _overlap_memory(config: RunConfig, geometry: Geometry, density: Density) -> dict[str, Memory]:
    read_voxels = prod(geometry.grid.largest_read)
    segment = config.segment
    memory = {
        "segment": Memory(
            cost_overlap.segment_bound_bytes(
                read_voxels, segment.merge_function, segment.supervoxels, density.densest
            ),
            cost_overlap.segment_expected_bytes(
                read_voxels,
                segment.merge_function,
                segment.supervoxels,
                density.fragments_per_voxel,
                density.edges_per_voxel,
            ),
        )
    }
    fragments = int(density.fragments_per_voxel * read_voxels)
    memory["count"] = count_memory(geometry.grid.largest_read, config.block.overlap)
    memory["pool"] = planned_pool_memory(fragments * len(geometry.grid))
    memory["apply"] = apply_memory(geometry.cells.largest_read, read_voxels, fragments)
    if geometry.coarse_cells is not None:
        memory["downsample"] = apply_memory(geometry.coarse_cells.largest_read, 0, 0)
    return memory


def _exact_memory(_: RunConfig, geometry: Geometry, density: Density) -> dict[str, Memory]:
    grid, joins = geometry.grid, geometry.joins
    assert joins is not None and density.faces is not None and density.densest_faces is not None
    voxels = prod(grid.largest_core)
    labels = int((density.labels_per_voxel or density.fragments_per_voxel) * voxels)
    plane = max(voxels // s for s in grid.largest_core)
    memory = {
        "segment": Memory(
            cost_exact.block_bound_bytes(voxels, density.densest),
            cost_exact.block_expected_bytes(
                voxels, density.fragments_per_voxel, density.edges_per_voxel
            ),
        ),
        # planes and contacts of three faces
        "count": count_memory((1, 1, 6 * plane), (0, 0, 0)),
    }
    for level in range(1, joins.levels + 1):
        memory[JOINS[level - 1]] = join_cost(
            grid, joins, level, density.faces, density.densest_faces
        ).memory
    memory["pool"] = planned_pool_memory(labels * len(grid))
    memory["apply"] = apply_memory(geometry.cells.largest_read, voxels, labels)
    if geometry.coarse_cells is not None:
        memory["downsample"] = apply_memory(geometry.coarse_cells.largest_read, 0, 0)
    return memory


def count_files(geometry: Geometry, chunk: Vec3) -> int:
    """Files that the output will hold: all chunks of all mips, info and owner."""
    total = 2
    for mip in range(len(geometry.factors) + 1):
        shape = geometry.mip_box(mip).shape
        total += prod(-(-s // c) for s, c in zip(shape, chunk, strict=True))
    return total


def check_files(config: RunConfig, geometry: Geometry, files: int) -> None:
    """Refuse more files than ``paths.max_files``, and say what would help."""
    if files <= config.paths.max_files:
        return
    chunk = config.apply.chunk_size
    larger = vec3(2 * c for c in chunk)
    raise ConfigError(
        f"the output would hold {files:,} files, more than paths.max_files ({config.paths.max_files:,})",
        f"apply.chunk_size {list(larger)} makes {count_files(geometry, larger):,} of them; "
        "or raise paths.max_files if your storage allows it",
    )


# ------------------------------------------------------------------ batches
def make_stage(total: int, todo: Ranges, cpu_s: float, workers: int) -> StagePlan:
    """Cut what is to do into batches: one per worker at least, minutes each, 256 at most."""
    n = ranges_len(todo)
    wanted = max(workers, round(cpu_s / TARGET_BATCH_S))
    return StagePlan(total, todo, min(n, wanted, MAX_BATCHES), cpu_s)

"""Block and chunk sizes that fit a machine and a volume; pure, without numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from magneton_tasks.base.geometry import Size3, Vec3, ceil_div, vec3
from magneton_tasks.config.model import RunConfig
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.plan import cost_exact, cost_overlap
from magneton_tasks.plan.geometry import count_files, make_geometry
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.runners.resources import USABLE

#: Edges of blocks that are proposed, in voxels: more makes restarts dear, less makes many borders.
_LARGEST, _SMALLEST, _STEP = 512, 64, 16
#: Fewer workers are taken rather than smaller blocks than that.
_USEFUL = 160
#: Usual overlap, in voxels.
_OVERLAP = 32
#: Chunks of the output, in voxels: of as many each.
_CHUNKS: tuple[Vec3, ...] = ((64, 64, 64), (16, 128, 128), (4, 256, 256))


@dataclass(frozen=True, slots=True)
class BlockSize:
    """A block size, and why.

    Attributes
    ----------
    size, overlap
        In voxels, zyx, as ``block.size`` and ``block.overlap``.
    bound_bytes
        Memory that segmenting one block never exceeds.
    workers
        How many of them fit beside each other.
    """

    size: Vec3
    overlap: Vec3
    bound_bytes: int
    workers: int


#: Bytes that segmenting a block of this many voxels never exceeds.
Bound = Callable[[int], int]


def overlap_bound(
    merge_function: str, supervoxels: str, densest: tuple[float, float] | None
) -> Bound:
    """Of waterz; parameters as `plan.cost_overlap.segment_bound_bytes`."""
    return lambda voxels: cost_overlap.segment_bound_bytes(
        voxels, merge_function, supervoxels, densest
    )


def exact_bound(densest: tuple[float, float] | None) -> Bound:
    """Of the exact method; ``densest`` as `plan.cost_exact.block_bound_bytes`."""
    return lambda voxels: cost_exact.block_bound_bytes(voxels, densest)


def propose_block(
    shape: Vec3, chunk: Vec3, bound: Bound, memory_bytes: int, cores: int, *, overlaps: bool = True
) -> BlockSize:
    """The largest useful block of which one fits for each core; for fewer where memory is short.

    Parameters
    ----------
    shape, chunk
        Of the input, in voxels, zyx. Sizes are multiples of the chunk where that's possible.
    memory_bytes
        Of the machine; workers get `USABLE` of it.
    overlaps
        Whether blocks overlap: those of the exact method don't.

    Returns
    -------
    BlockSize
        If none fits, the smallest, whose ``bound_bytes`` is more than a worker gets.
    """

    def block(size: Vec3, workers: int) -> BlockSize:
        overlap = overlap_of(size) if overlaps else (0, 0, 0)
        return BlockSize(size, overlap, bound(prod(size)), workers)

    for workers in range(cores, 0, -1):
        limit = int(memory_bytes * USABLE) // workers
        for edge in range(_LARGEST, _SMALLEST - 1, -_STEP):
            found = block(_size(edge, shape, chunk), workers)
            if found.bound_bytes > limit:
                continue
            if edge < _USEFUL and workers > 1 and found.size != shape:
                break
            if edge > _USEFUL and _blocks(found, shape) < workers:
                continue  # idle cores: smaller blocks end sooner
            return found
    return block(_size(_SMALLEST, shape, chunk), 1)


def overlap_of(size: Vec3) -> Vec3:
    """32 voxels, less where a block is thin."""
    return vec3(min(_OVERLAP, n // 4) for n in size)


def _size(edge: int, shape: Vec3, chunk: Vec3) -> Vec3:
    return vec3(
        length if length <= edge else _rounded(edge, c)
        for length, c in zip(shape, chunk, strict=True)
    )


def _rounded(edge: int, chunk: int) -> int:
    """Down to whole chunks, or half ones, where that costs no more than an eighth."""
    for unit in (chunk, chunk // 2):
        if 0 < unit <= edge and edge % unit <= edge // 8:
            return edge - edge % unit
    return edge


def _blocks(block: BlockSize, shape: Vec3) -> int:
    return prod(
        1 if n <= s else ceil_div(n, s - o)
        for n, s, o in zip(shape, block.size, block.overlap, strict=True)
    )


def propose_chunk(config: RunConfig, info: VolumeInfo) -> tuple[Vec3, int]:
    """Size of the output's chunks at mip 0, and the number of files that makes.

    64^3 is what viewers like best. Of an output that is sharded, where shape costs no files, as many
    voxels in the shape that comes nearest to a cube in nm.
    """
    volume, chunk = VolumeFacts.of(info), _CHUNKS[0]
    geometry = make_geometry(config, volume)
    if geometry.sharded:
        chunk = min(_CHUNKS, key=lambda shape: _lengthiness(shape, info.voxel_size_nm))
        given = config.apply.model_copy(update={"chunk_size": chunk})
        geometry = make_geometry(config.model_copy(update={"apply": given}), volume)
    return chunk, count_files(geometry, chunk)


def _lengthiness(shape: Vec3, voxel_size_nm: Size3) -> float:
    """The longest edge in nm over the shortest."""
    edges = [n * size for n, size in zip(shape, voxel_size_nm, strict=True)]
    return max(edges) / min(edges)

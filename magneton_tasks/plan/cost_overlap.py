"""Memory and CPU time of segmenting a block, before any block is read.

Nearly all of it is waterz's region graph, so both follow from two densities that plan measures on
a few sample boxes (``kernels.overlap.density.graph_density``): fragments and edges per voxel. What is
counted, at the moment of the peak (when the graph is being extracted)::

    the worker        interpreter, libraries, compiled kernels
    12 B a voxel      affinities, float32
    10 B a voxel      fragments, uint64, and what the watershed leaves in the heap
    80 B a fragment   two vectors and a map header
   145 B an edge      a map node, the affinities of its faces, the graph's lists
  1032 B an edge      its histogram of 256 bins (quantiles only)

The histograms lie in one vector that doubles, and while it grows the old and the new one exist:
the touched memory is that of the *next power of two* of edges. So the peak is a staircase; near a
step the higher one is projected.

Two projections: *expected* is what a block like the samples takes; *bound* is the refusal: with
the densities of the densest sample it allows for blocks that are `SAMPLE_SPREAD` times as dense,
without them it takes the densest graph there is, that of independent noise.

Measured by ``benchmarks/memory.py`` with waterz 0.10.1, glibc 2.36, x86-64, children forked by a
warm worker, ru_maxrss; run it again when one of these changes.
"""

from __future__ import annotations

from magneton_tasks.base.scoring import Kind, parse_scoring

MIB = 1 << 20

#: Bytes resident in a worker that has imported all it needs and compiled its kernels.
WORKER_BASE_BYTES = 300 * MIB
#: Bytes of it that a forked child has resident too (its ru_maxrss before any work).
FORKED_BASE_BYTES = 170 * MIB
#: Bytes per voxel: affinities (float32 x 3).
AFFINITY_BYTES_PER_VOXEL = 12
#: Bytes per voxel: fragments (uint64, 8), and what the watershed leaves in the heap (0-4 seen).
FRAGMENT_BYTES_PER_VOXEL = 10
#: Bytes per voxel while seeds are sought (coordinates of the distance transform, levels).
SEEDING_BYTES_PER_VOXEL = 18
#: Bytes per voxel: affinities of the faces between seeded fragments, which have few edges.
SEEDED_FACE_BYTES_PER_VOXEL = 6
#: Bytes a fragment, bytes an edge of the region graph, any merge function.
BYTES_PER_FRAGMENT = 80
BYTES_PER_EDGE = 145
#: Bytes an edge for its histogram: 256 bins, sum and lowest bin, int32.
BYTES_PER_HISTOGRAM = 258 * 4

#: (fragments, edges) per voxel of independent uniform uint8 noise; with seeds at the worst of
#: several interior_threshold (0.1 to 0.6) and min_distance (1, 3).
NOISE_DENSITY = {"waterz": (0.272, 1.48), "3d": (0.065, 0.36), "2d": (0.135, 0.77)}
#: (fragments, edges) per voxel of mouse cortex (pub128): where nothing has been sampled.
TYPICAL_DENSITY = (0.035, 0.152)
#: A block may be this many times as dense as the densest sample box before it breaks the bound.
SAMPLE_SPREAD = 2.0
#: What the bound adds for all that isn't counted (fragmentation of the heap, other libraries).
BOUND_MARGIN = 1.15
#: Allocated over resident bytes at the histograms' last doubling: (1 + 2) / 2, and some.
ALLOCATION_FACTOR = 1.6
#: Within this share below a power of two, the next step of the histograms is projected.
_STEP_UNCERTAINTY = 0.03

#: CPU s per voxel, and per edge of the initial graph by what is kept for it. Within a factor of two:
#: how many edges become stale while merging isn't known beforehand.
CPU_S_PER_VOXEL = {"waterz": 0.12e-6, "3d": 0.45e-6, "2d": 0.30e-6}
CPU_S_PER_EDGE: dict[Kind, float] = {"mean": 2.7e-6, "histogram": 6.5e-6, "size": 2.7e-6}


def segment_expected_bytes(
    read_voxels: int,
    merge_function: str,
    supervoxels: str,
    fragments_per_voxel: float,
    edges_per_voxel: float,
) -> int:
    """Resident bytes at the peak of a forked child that segments one block of these densities."""
    return FORKED_BASE_BYTES + _block_bytes(
        read_voxels,
        merge_function,
        supervoxels,
        fragments_per_voxel * read_voxels,
        edges_per_voxel * read_voxels,
    )


def segment_bound_bytes(
    read_voxels: int,
    merge_function: str,
    supervoxels: str,
    densest: tuple[float, float] | None = None,
) -> int:
    """Resident bytes that segmenting one block never exceeds, the worker's own included.

    Parameters
    ----------
    read_voxels
        Voxels of the largest read box.
    merge_function, supervoxels
        As in the configuration.
    densest
        (fragments, edges) per voxel of the densest sample box. None: nothing is known of the
        volume, and the densities are those of noise.
    """
    noise = NOISE_DENSITY[supervoxels]
    fragments, edges = (
        noise
        if densest is None
        else (min(d * SAMPLE_SPREAD, n) for d, n in zip(densest, noise, strict=True))
    )
    block = _block_bytes(
        read_voxels, merge_function, supervoxels, fragments * read_voxels, edges * read_voxels
    )
    return WORKER_BASE_BYTES + int(block * BOUND_MARGIN)


def segment_allocation_bytes(bound_bytes: int) -> int:
    """What a child may allocate (RLIMIT_DATA) so that a block within its bound never meets it.

    Allocated isn't resident: a vector that grows reserves twice what it holds. A block that needs
    more ends with MemoryError, or with SIGABRT and ``std::bad_alloc`` on standard error.
    """
    return int(bound_bytes * ALLOCATION_FACTOR)


def segment_cpu_s(
    read_voxels: int,
    merge_function: str,
    supervoxels: str,
    fragments_per_voxel: float,
    edges_per_voxel: float,
) -> float:
    """Expected CPU seconds of segmenting one block, without reading and writing."""
    per_edge = CPU_S_PER_EDGE[parse_scoring(merge_function).kind]
    return read_voxels * (CPU_S_PER_VOXEL[supervoxels] + edges_per_voxel * per_edge)


def _block_bytes(
    voxels: int, merge_function: str, supervoxels: str, fragments: float, edges: float
) -> int:
    """Resident bytes at the peak, without the worker's own."""
    graph = (
        FRAGMENT_BYTES_PER_VOXEL * voxels + BYTES_PER_FRAGMENT * fragments + BYTES_PER_EDGE * edges
    )
    if parse_scoring(merge_function).kind == "histogram":
        graph += BYTES_PER_HISTOGRAM * _next_power_of_two(edges * (1 + _STEP_UNCERTAINTY))
    if supervoxels != "waterz":
        graph += SEEDED_FACE_BYTES_PER_VOXEL * voxels
        graph = max(graph, SEEDING_BYTES_PER_VOXEL * voxels)
    return int(AFFINITY_BYTES_PER_VOXEL * voxels + graph)


def _next_power_of_two(n: float) -> int:
    return 1 << (max(int(n), 1) - 1).bit_length()

"""Any grid: cores tile exactly, no block lies in another, none is a sliver, none reads too much."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import assume, example, given
from hypothesis import strategies as st

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.grid import Grid, items, ranges_len, share, to_ranges
from magneton_tasks.plan.geometry import make_geometry
from tests.helpers.examples import examples
from tests.helpers.plans import a_config, a_volume

vectors = st.tuples(*[st.integers(1, 40)] * 3)
offsets = st.tuples(*[st.integers(-1000, 1000)] * 3)


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    """(begin, length, size, overlap, chunk, chunk origin) of one axis."""
    size = draw(st.integers(2, 120))
    overlap = draw(st.integers(0, (size - 1) // 2))
    begin = draw(st.integers(-500, 500))
    length = draw(st.integers(1, 1000))
    return begin, length, size, overlap, draw(st.integers(1, 90)), begin - draw(st.integers(0, 90))


def axis_grid(axis: tuple[int, int, int, int, int, int]) -> Grid:
    begin, length, size, overlap, chunk, origin = axis
    return Grid.of_blocks(
        Box((0, 0, begin), (1, 1, begin + length)),
        (1, 1, size),
        (0, 0, overlap),
        (1, 1, chunk),
        (0, 0, origin),
    )


@examples(200, 4000)
@given(axes())
@example((0, 7, 5, 2, 90, -89))  # a cut that would move to 1, as near as the halo is wide
def test_an_axis_is_cut_as_designed(axis: tuple[int, int, int, int, int, int]) -> None:
    begin, length, size, overlap, _, _ = axis
    grid = axis_grid(axis)
    blocks = range(len(grid))
    cores = [(grid.core(k).begin[2], grid.core(k).end[2]) for k in blocks]
    reads = [(grid.read(k).begin[2], grid.read(k).end[2]) for k in blocks]
    # tiles exactly
    assert [c[0] for c in cores] + [cores[-1][1]] == list(grid.cuts[2])
    assert (cores[0][0], cores[-1][1]) == (begin, begin + length)
    # read <= size, inside the volume, around the core
    assert all(e - b <= size for b, e in reads)
    assert all(
        begin <= r[0] <= c[0] < c[1] <= r[1] <= begin + length
        for c, r in zip(cores, reads, strict=True)
    )
    if length <= size:
        assert len(grid) == 1
        return
    assert len(grid) == -(-length // (size - overlap))
    # neighbours meet in just the overlap, as far as the volume goes
    if all(e - b >= overlap for b, e in cores):
        assert all(a[1] - b[0] == overlap for a, b in pairwise(reads))
    # no sliver: no core is less than a third of what a block may hold
    assert all(e - b >= max((size - overlap) // 3, 1) for b, e in cores)
    if size > 3:  # a halo of one voxel around cores of one is as wide as a neighbour
        assert not any(
            a[0] >= b[0] and a[1] <= b[1]
            for i, a in enumerate(reads)
            for j, b in enumerate(reads)
            if i != j
        )


@given(axes(), st.data())
def test_neighbours_are_those_whose_read_boxes_meet(
    axis: tuple[int, int, int, int, int, int], data: st.DataObject
) -> None:
    grid = axis_grid(axis)
    assume(len(grid) < 200)
    k = data.draw(st.integers(0, len(grid) - 1))
    meeting = [
        j
        for j in range(len(grid))
        if j != k and not grid.read(j).intersection(grid.read(k)).is_empty
    ]
    assert grid.neighbours(k) == meeting
    assert grid.later_neighbours(k) == [j for j in meeting if j > k]
    assert list(grid.each_later_neighbours())[k] == grid.later_neighbours(k)


@given(offsets, vectors, st.tuples(*[st.integers(3, 20)] * 3), st.data())
def test_cores_tile_the_volume_exactly(
    begin: Vec3, shape: Vec3, size: Vec3, data: st.DataObject
) -> None:
    box = Box.of_shape(shape, begin)
    overlap = vec3(data.draw(st.integers(0, (s - 1) // 2)) for s in size)
    grid = Grid.of_blocks(box, size, overlap)
    assume(len(grid) <= 2000)
    cores = [grid.core(k) for k in range(len(grid))]
    assert sum(c.voxels for c in cores) == box.voxels
    assert all(box.contains(c) for c in cores)
    # each core begins where the one before ended, so equal sums mean: no gap, no overlap
    assert len({c.begin for c in cores}) == len(cores)
    some = Box.of_shape(
        (7, 5, 6), vec3(b + data.draw(st.integers(-3, 20)) for b in begin)
    ).intersection(box)
    if not some.is_empty:
        meeting = [k for k, c in enumerate(cores) if not c.intersection(some).is_empty]
        assert grid.cores_meeting(some) == meeting


@given(
    offsets,
    st.tuples(*[st.integers(1, 700)] * 3),
    st.sampled_from([8, 16, 64]),
    st.integers(0, 5),
    st.sampled_from([(8.0, 8.0, 8.0), (40.0, 8.0, 8.0), (4.0, 8.0, 6.0)]),
)
@example((0, 0, 0), (481, 512, 545), 64, 4, (8.0, 8.0, 8.0))  # its last mip is downsample's
def test_no_two_cells_share_a_chunk_at_any_mip(
    begin: Vec3, shape: Vec3, chunk: int, mips: int, voxel_size: tuple[float, float, float]
) -> None:
    config = a_config(
        {"apply.chunk_size": [chunk] * 3, "apply.mips": mips, "block.size": [128] * 3}
    )
    geometry = make_geometry(config, a_volume(shape, begin, voxel_size))
    assume(len(geometry.cells) <= 64)
    for mip in range(mips + 1):
        stage = "apply" if mip <= geometry.cell_mips else "downsample"
        cells = geometry.stage_grid(stage)
        assert cells is not None
        whole, covered = geometry.mip_box(mip), 0
        for k in range(len(cells)):
            box = geometry.cell_box(stage, k, mip)
            assert whole.contains(box)
            covered += box.voxels
            for b, e, wb, we in zip(box.begin, box.end, whole.begin, whole.end, strict=True):
                assert (b - wb) % chunk == 0
                assert (e - wb) % chunk == 0 or e == we
        assert covered == whole.voxels


@given(st.sets(st.integers(0, 60)), st.integers(1, 9))
def test_batches_share_what_is_to_do_without_gap_or_overlap(todo: set[int], batches: int) -> None:
    ranges = to_ranges(sorted(todo))
    assert ranges_len(ranges) == len(todo)
    found = [list(items(ranges, *share(len(todo), k, batches))) for k in range(batches)]
    assert [i for batch in found for i in batch] == sorted(todo)
    assert max(map(len, found)) - min(map(len, found)) <= 1

"""What is segmented of a volume, and the blocks that it is cut into."""

from __future__ import annotations

from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.config.model import RunConfig
from magneton_tasks.errors import ConfigError


def make_grid(config: RunConfig, box: Box, chunk: Vec3, origin: Vec3) -> Grid:
    """The blocks: overlapping ones, or (exact) cores side by side that read one plane more.

    Parameters
    ----------
    box
        What is segmented, in voxels.
    chunk, origin
        Size of the input's chunks, and where the first begins.

    Raises
    ------
    ConfigError
        Blocks don't overlap where several lie side by side.
    """
    size = config.block.size
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


def segmented_box(config: RunConfig, whole: Box) -> Box:
    """What of a volume is segmented.

    Raises
    ------
    ConfigError
        The config's box reaches out of it.
    """
    if config.box is None:
        return whole
    box = Box(config.box.begin, config.box.end)
    if not whole.contains(box):
        raise ConfigError(
            f"box {box} reaches out of the volume, which is {whole} at mip {config.input.mip}",
            "give a box inside it, in voxels of that mip, voxel offset included",
        )
    return box

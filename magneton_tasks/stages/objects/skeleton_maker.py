"""Makes skeletons: what `maker.Maker` asks for, by `kernels.skeleton`."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box
from magneton_tasks.config.model import RunConfig
from magneton_tasks.formats.precomputed import skeletons
from magneton_tasks.kernels.skeleton.cells import fragments, in_one_shared_plane, open_faces
from magneton_tasks.kernels.skeleton.fragment import Fragment
from magneton_tasks.kernels.skeleton.join import joined
from magneton_tasks.kernels.skeleton.packing import packed, unpacked, vertices_in
from magneton_tasks.kernels.skeleton.rules import Rules
from magneton_tasks.kernels.skeleton.thin import passes_for, thinned
from magneton_tasks.stages.objects.maker import CellLabels, Joined, Piece, Space, StoredPiece


def make(config: RunConfig, space: Space) -> SkeletonMaker:
    """The maker of a run's skeletons."""
    section = config.skeleton
    assert section is not None  # else no stage asks for it
    return SkeletonMaker(
        space.box,
        Rules(space.voxel_size_nm, section.scale, section.const_nm, section.tick_nm),
    )


@dataclass(frozen=True)
class SkeletonMaker:
    """Makes skeletons.

    Attributes
    ----------
    volume
        In voxels of the mip.
    rules
        Which branches an object has.
    """

    volume: Box
    rules: Rules

    def pieces(self, cell: CellLabels) -> Iterator[Piece]:
        """See `maker.Maker`. Of an object that a neighbour holds wholly, the piece is empty."""
        elsewhere = in_one_shared_plane(cell.low, cell.high, cell.box)
        for global_id in cell.ids[cell.wanted & elsewhere].tolist():
            yield Piece(global_id, b"")
        some = np.flatnonzero(cell.wanted & ~elsewhere)
        found = fragments(
            _only(cell.numbers, some, len(cell.ids)),
            (cell.low[0, some], cell.high[0, some]),
            cell.box,
            self.volume,
            self.rules,
        )
        for number, fragment in found:
            yield Piece(int(cell.ids[some[number - 1]]), packed(fragment, cell.box.begin))

    def join(self, global_id: int, pieces: Sequence[StoredPiece]) -> Generator[bytes, None, Joined]:
        """See `maker.Maker`; nothing stands before a skeleton."""
        yield from ()
        there = [piece for piece in pieces if piece.size]
        passes = passes_for(sum(vertices_in(piece.size) for piece in there))
        skeleton = joined((self._fragment(piece, passes) for piece in there), self.rules)
        value = skeletons.encode(skeleton.vertices_nm, skeleton.edges, skeleton.radii_nm)
        figures = {
            "vertices": len(skeleton.radii_nm),
            "cable_nm": round(skeleton.cable_nm),
            "thinned": int(passes > 0),
        }
        return Joined(value, figures)

    def info(self, sharding: Mapping[str, Any]) -> dict[str, Any]:
        """See `maker.Maker`."""
        return skeletons.content(sharding)

    def _fragment(self, piece: StoredPiece, passes: int) -> Fragment:
        fragment = unpacked(piece.read(), piece.box.begin)
        if not passes:
            return fragment
        shared = np.zeros(len(fragment.vertices), np.bool_)
        for axis, side in open_faces(piece.box, self.volume):
            plane = piece.box.begin[axis] if side == "low" else piece.box.end[axis]
            shared |= fragment.vertices[:, axis] == plane
        return thinned(fragment, shared, passes)


def _only(numbers: NDArray[np.uint32], some: NDArray[np.int64], count: int) -> NDArray[np.uint32]:
    """Numbers 1, 2, ... for the objects at ``some`` places, of so many; 0 for all others."""
    if len(some) == count:
        return np.ascontiguousarray(numbers)
    names = np.zeros(count + 1, np.uint32)
    names[some + 1] = np.arange(1, len(some) + 1, dtype=np.uint32)
    return names[numbers]

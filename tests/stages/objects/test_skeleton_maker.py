"""The maker of skeletons, by cells and stored pieces as the stages hand them to it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box
from magneton_tasks.formats.precomputed.skeletons import StoredSkeleton, decode
from magneton_tasks.kernels.measure import boxes_and_sums
from magneton_tasks.kernels.skeleton import thin
from magneton_tasks.kernels.skeleton.rules import Rules
from magneton_tasks.stages.objects import skeleton_maker
from magneton_tasks.stages.objects.maker import CellLabels, Joined
from magneton_tasks.stages.objects.skeleton_maker import SkeletonMaker

VOLUME = Box((0, 4, 0), (10, 14, 60))
CELLS = (Box((0, 4, 0), (10, 14, 20)), Box((0, 4, 20), (10, 14, 60)))
MAKER = SkeletonMaker(VOLUME, Rules((10.0, 10.0, 10.0), 1.5, 20.0, 0.0))
TUBE, DUST, PLANE, TINY = 2**53 + 1, 7, 2**63 + 3, 9


@dataclass(frozen=True)
class Stored:
    box: Box
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self) -> bytes:
        return self.data


def volume() -> NDArray[np.uint64]:
    labels = np.zeros(VOLUME.shape, np.uint64)
    labels[3:6, 3:6] = TUBE
    labels[8, 8, 8] = DUST
    labels[0, 0:3, 20] = PLANE
    labels[9, 0, 40] = TINY
    return labels


def cell(box: Box, dust: int) -> CellLabels:
    read = box.grow((0, 0, 0), (1, 1, 1)).intersection(VOLUME)
    labels = volume()[read.slices(VOLUME.begin)]
    ids = np.unique(labels[labels > 0])
    numbers = np.searchsorted(np.append(np.uint64(0), ids), labels).astype(np.uint32)
    low, high, _ = boxes_and_sums(numbers, ids.size)
    wide = low.astype(np.int64), high.astype(np.int64)
    return CellLabels(box, numbers, ids, *wide, ids != dust)


def joined(made: Generator[bytes, None, Joined]) -> Joined:
    with pytest.raises(StopIteration) as stopped:
        next(made)
    assert isinstance(stopped.value.value, Joined)
    return stopped.value.value


def skeleton(stored: list[Stored]) -> tuple[StoredSkeleton, Joined]:
    made = joined(MAKER.join(TUBE, stored))
    return decode(made.value), made


def pieces() -> dict[int, list[Stored]]:
    found: dict[int, list[Stored]] = {}
    for box in CELLS:
        for piece in MAKER.pieces(cell(box, DUST)):
            found.setdefault(piece.id, []).append(Stored(box, piece.data))
    return found


def test_pieces_of_cells_become_one_line_in_nm() -> None:
    found = pieces()
    assert set(found) == {TUBE, PLANE, TINY}
    line, made = skeleton(found[TUBE])
    assert len(line.edges) == len(line.vertices) - 1
    assert made.figures == {
        "vertices": len(line.vertices),
        "cable_nm": pytest.approx(600, rel=0.1),
        "thinned": 0,
    }
    # x, y, z of the volume's own frame
    assert line.vertices[:, 0].min() == 5 and line.vertices[:, 0].max() == 595
    assert line.vertices[:, 1].min() >= 70 and line.vertices[:, 1].max() <= 100
    assert line.radii.max() == pytest.approx(20)


def test_what_lies_in_a_shared_plane_alone_is_the_neighbours() -> None:
    first, second = pieces()[PLANE]
    assert first.data == b"" and second.data
    (stored,) = pieces()[TINY]
    tiny = decode(joined(MAKER.join(TINY, [stored])).value)
    assert tiny.vertices.tolist() == [[405, 45, 95]] and len(tiny.edges) == 0


def test_a_large_object_is_thinned_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = skeleton(pieces()[TUBE])
    few = len(whole.vertices) // 3
    monkeypatch.setattr(skeleton_maker, "passes_for", lambda n: thin.passes_for(n, few))
    line, made = skeleton(pieces()[TUBE])
    assert made.figures["thinned"] == 1
    assert len(line.edges) == len(line.vertices) - 1 < len(whole.edges) / 2
    assert line.vertices[:, 0].min() == 5 and line.vertices[:, 0].max() == 595


def test_the_same_cell_gives_the_same_bytes() -> None:
    assert pieces() == pieces()

"""A maker of meshes that takes no time: a piece is the voxels of an object, an object all of them."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from magneton_tasks.stages.objects import cells, proof, shards
from magneton_tasks.stages.objects.maker import CellLabels, Joined, Piece, StoredPiece


class PlainMaker:
    """A piece: int64 (n, 3), the voxels of an object, those of shared planes too, absolute."""

    def __init__(self) -> None:
        self.worked: list[int] = []
        self.joined: list[int] = []

    def pieces(self, cell: CellLabels) -> Iterator[Piece]:
        self.worked.append(cell.ids.size)
        for number in np.flatnonzero(cell.wanted):
            low, high = cell.low[:, number], cell.high[:, number]
            inside = cell.numbers[tuple(map(slice, low, high))] == number + 1
            at = np.argwhere(inside) + low + np.array(cell.box.begin)
            yield Piece(int(cell.ids[number]), at.astype("<i8").tobytes())

    def join(self, global_id: int, pieces: Sequence[StoredPiece]) -> Generator[bytes, None, Joined]:
        self.joined.append(global_id)
        for piece in pieces:
            yield piece.read()
        n = sum(piece.size for piece in pieces) // 24
        told = {"id": global_id, "boxes": [str(piece.box) for piece in pieces], "rows": n}
        return Joined(json.dumps(told).encode(), {"rows": n})

    def info(self, sharding: Mapping[str, Any]) -> dict[str, Any]:
        """One that cloud-volume takes, which looks at it whenever it opens the volume."""
        return {
            "@type": "neuroglancer_multilod_draco",
            "vertex_quantization_bits": 10,
            "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
            "lod_scale_multiplier": 1,
            "sharding": dict(sharding),
        }


@pytest.fixture
def plain_maker(monkeypatch: pytest.MonkeyPatch) -> PlainMaker:
    """In place of the makers of meshes and skeletons."""
    maker = PlainMaker()
    for module in (cells, shards, proof):
        monkeypatch.setattr(module, "maker_of", lambda *_: maker)
    return maker

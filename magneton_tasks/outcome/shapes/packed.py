"""Shapes as few bytes, for a page that asks for nothing.

Compressed by gzip, all numbers little endian::

    u32 length of the head | head, JSON | of each shape: x, y, z, corners

Vertices lie on a lattice. x, y and z of a shape are differences from the vertex before (u16 each, modulo
2^16); corners are those of all triangles in a row, as differences from the corner before, folded into
whole numbers >= 0 (0, -1, 1, -2, ...: 0, 1, 2, 3, ...), in four planes: all lowest bytes, ...
"""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.outcome.shapes.shape import Shape
from magneton_tasks.outcome.shapes.thinned import Lattice, on_lattice

#: Steps of the lattice along the longest edge of all shapes: finer ones can't be told apart on a screen.
FINEST = 1023
_COARSEST = 64
#: How much coarser the lattice of the next try is, at least; and how far below what seems to fit.
_COARSER, _BELOW = 0.9, 0.95
#: A triangle takes at least so many bytes: more of them than fit needn't be packed to know it.
_FACE_BYTES = 1.0


def pack(
    shapes: Sequence[Shape], most_bytes: int, facts: Mapping[str, Any]
) -> tuple[bytes, list[Shape]]:
    """The shapes on the finest lattice on which they take no more than this.

    Parameters
    ----------
    shapes
        In nm; at least one, each with a triangle.
    most_bytes
        Of the result; more than some 20 kB.
    facts
        What stands in the head besides: ``lod``, ``lods``, ``without``.

    Returns
    -------
    bytes, list of Shape
        For `page/shapes.js`; and what they hold, in nm still.
    """
    steps = FINEST
    while True:
        lattice = Lattice.around(shapes, steps)
        thin = [on_lattice(shape, lattice) for shape in shapes]
        size = int(sum(len(s.faces) for s in thin) * _FACE_BYTES)
        if size <= most_bytes or steps <= _COARSEST:
            data = _bytes_of(thin, lattice, facts)
            if len(data) <= most_bytes or steps <= _COARSEST:
                return data, [lattice.in_nm(shape) for shape in thin]
            size = len(data)
        # there are about as many triangles as squares of the lattice
        coarser = min(_COARSER, _BELOW * math.sqrt(most_bytes / size))
        steps = max(int(steps * coarser), _COARSEST)


def head_of(data: bytes) -> dict[str, Any]:
    """What stands in front of packed shapes: their lattice, and ``id``, ``um3``, ... of each.

    Raises
    ------
    ValueError, OSError, EOFError
        It is damaged.
    """
    with gzip.open(io.BytesIO(data)) as file:
        head: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(4), "little")))
    return head


def _bytes_of(shapes: Sequence[Shape], lattice: Lattice, facts: Mapping[str, Any]) -> bytes:
    told = {
        **facts,
        "steps": lattice.steps,
        "shapes": [
            {
                "id": str(s.id),
                "voxels": s.voxels,
                "um3": float(f"{s.um3:.4g}"),
                "colour": [round(c, 4) for c in s.colour],
                "vertices": len(s.vertices),
                "faces": len(s.faces),
            }
            for s in shapes
        ],
    }
    head = json.dumps(told, separators=(",", ":")).encode()
    parts = [len(head).to_bytes(4, "little"), head]
    for shape in shapes:
        whole = shape.vertices.astype(np.int64).T
        parts += [_differences(axis).astype("<u2").tobytes() for axis in whole]
        moves = _differences(shape.faces.ravel())
        folded = np.where(moves < 0, -2 * moves - 1, 2 * moves).astype("<u4")
        parts.append(folded.view(np.uint8).reshape(-1, 4).T.tobytes())
    return gzip.compress(b"".join(parts), 6, mtime=0)


def _differences(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.diff(values, prepend=0)

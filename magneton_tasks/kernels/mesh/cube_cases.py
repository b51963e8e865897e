"""The 256 cases of marching cubes, for labels: a corner of a cube is inside or not.

A surface cuts an edge in its middle, where one end is inside and the other isn't. On each face of the
cube, cuts are joined by lines; the lines form loops, and a loop becomes a fan of triangles. Lines depend
on their face alone, so cubes that share it share them: a surface closes.

Where two corners that lie across a face from each other are inside, a line goes around each of the other
two: so what touches along an edge only is joined there, as a thin neurite has it.

W. E. Lorensen and H. E. Cline, Marching Cubes, SIGGRAPH 1987.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

#: Corner ``4 z + 2 y + x``; an edge is its lower corner and its axis (0: z, 1: y, 2: x).
EDGES = [(c, axis) for axis in range(3) for c in range(8) if not c & 4 >> axis]
#: No case has more.
MOST_TRIANGLES = 5


def make_cases() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """How many triangles each case has, and the edges that they cut.

    Returns
    -------
    uint8 (256,), and uint8 (256, 15): places in `EDGES`, three a triangle, outward by the right hand
    in (x, y, z).
    """
    counts = np.zeros(256, np.uint8)
    cuts = np.zeros((256, 3 * MOST_TRIANGLES), np.uint8)
    for case in range(256):
        fans = [
            edge
            for loop in _loops(case)
            for k in range(1, len(loop) - 1)
            for edge in (loop[0], loop[k], loop[k + 1])
        ]
        counts[case] = len(fans) // 3
        cuts[case, : len(fans)] = fans
    return counts, cuts


def _loops(case: int) -> list[list[int]]:
    after: dict[int, int] = {}
    for face in _FACES:
        after |= _lines(case, face)
    loops = []
    while after:
        edge, loop = min(after), list[int]()
        while edge in after:
            loop.append(edge)
            edge = after.pop(edge)
        loops.append(loop)
    return loops


def _lines(case: int, face: list[int]) -> dict[int, int]:
    """From each cut where one leaves what is inside, along the face's rim, to the cut after it."""
    inside = [case >> corner & 1 for corner in face]
    leaving = {}
    for k in range(4):
        if inside[k] and not inside[(k + 1) % 4]:
            entered = (k + 1) % 4
            while not inside[entered]:
                entered = (entered + 1) % 4
            leaving[_edge(face[k], face[(k + 1) % 4])] = _edge(face[entered - 1], face[entered])
    return leaving


def _edge(a: int, b: int) -> int:
    return EDGES.index((min(a, b), {4: 0, 2: 1, 1: 2}[a ^ b]))


def _faces() -> list[list[int]]:
    """Corners of each face, around it: seen from outside, all in the same sense."""
    faces = []
    for axis, side in product(range(3), range(2)):
        bit, (u, v) = 4 >> axis, [4 >> a for a in range(3) if a != axis]
        # (z, y, x) is a left-handed order of the axes; of y, its neighbours are the other way round
        around = [0, u, u | v, v]
        if (side == 0) == (axis != 1):
            around.reverse()
        faces.append([corner | bit * side for corner in around])
    return faces


_FACES = _faces()

"""A picture of shapes as they are seen first, drawn without a graphics card."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from magneton_tasks.outcome.shapes.shape import Shape

#: Pixels of the picture; each is the mean of `_FINE` x `_FINE` that are drawn.
WIDTH, HEIGHT = 880, 560
_FINE = 2
#: From above and a little from the left, in degrees: as page/shapes.js begins.
TURN_DEG, TILT_DEG = -30.0, 22.0
#: Share of the picture's width or height that the shapes fill.
_FILLED = 0.96
#: Light on a surface that is seen from its side, and from the front.
DIM, BRIGHT = 0.3, 1.0
#: Of the picture: a quarter of the bytes, and no eye sees it.
_COLOURS = 256
#: Points drawn at a time.
_AT_ONCE = 2_000_000

Floats = NDArray[np.floating[Any]]


def draw(shapes: Sequence[Shape]) -> bytes:
    """A PNG with a clear background: what lies in front hides what lies behind.

    Each triangle is filled with points less than a pixel apart; of those that fall on one pixel, the
    nearest counts.
    """
    size = np.array([WIDTH, HEIGHT]) * _FINE
    nearest = np.full(size.prod(), np.inf, np.float32)
    drawn = np.zeros(
        (size.prod(), 4), np.float32
    )  # red, green, blue, and 1 where there's something
    turned = [shape.vertices @ view().T for shape in shapes]
    low = np.min([vertices.min(axis=0) for vertices in turned], axis=0)
    high = np.max([vertices.max(axis=0) for vertices in turned], axis=0)
    scale = _FILLED * float((size / np.maximum((high - low)[:2], 1e-9)).min())
    for shape, vertices in zip(shapes, turned, strict=True):
        seen = (vertices - (low + high) / 2) * scale
        seen[:, :2] += size / 2
        lights = _light(seen, shape.faces)[shape.faces]
        corners = seen[shape.faces].astype(np.float32)
        colour = np.array([*shape.colour, 1], np.float32)
        for rows, shares in _points(corners):
            at = (shares @ corners[rows]).reshape(-1, 3)
            pixel = at[:, :2].astype(np.int64) @ np.array([1, size[0]])
            np.minimum.at(nearest, pixel, at[:, 2])
            front = at[:, 2] == nearest[pixel]
            light = (lights[rows] @ shares.T).reshape(-1, 1)[front]
            drawn[pixel[front]] = colour * np.hstack((light, light, light, np.ones_like(light)))
    return _png(drawn.reshape(size[1], size[0], 4))


def view() -> Floats:
    """From volume to screen: x to the right, y downwards, z away from whoever looks; float64 (3, 3)."""
    turn, tilt = np.deg2rad([TURN_DEG, TILT_DEG])
    about_y = np.array(
        [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    )
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    )
    return np.asarray(about_x @ about_y)


def _light(vertices: Floats, faces: NDArray[np.int64]) -> Floats:
    """Of each vertex, (n,): by how much it faces whoever looks, whichever side it shows."""
    a, b, c = (vertices[column] for column in faces.T)
    across = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for column in faces.T:
        for axis in range(3):
            normals[:, axis] += np.bincount(column, across[:, axis], len(vertices))
    length = np.linalg.norm(normals, axis=1)
    facing = np.abs(normals[:, 2]) / np.where(length > 0, length, 1)
    return np.asarray(DIM + (BRIGHT - DIM) * facing, np.float32)


def _points(corners: Floats) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Of triangles on the screen, float32 (m, 3, 3), points that fill them less than a pixel apart.

    Yields
    ------
    Rows of ``corners`` (k,), and the shares of their corners in each point, (points, 3): the same for
    all of these triangles, whose edges are about as long.
    """
    edges = corners[:, :, :2] - np.roll(corners[:, :, :2], 1, axis=1)
    longest = np.linalg.norm(edges, axis=2).max(axis=1, initial=0)
    steps = np.ceil(1.3 ** np.ceil(np.log(np.maximum(longest, 1)) / np.log(1.3))).astype(np.int64)
    for n in np.unique(steps).tolist():
        i, j = (found.ravel() for found in np.indices((n + 1, n + 1)))
        inside = i + j <= n
        shares = (np.stack((i, j, n - i - j), axis=1)[inside] / n).astype(np.float32)
        rows = np.flatnonzero(steps == n)
        for begin in range(0, len(rows), each := max(_AT_ONCE // len(shares), 1)):
            yield rows[begin : begin + each], shares


def _png(drawn: Floats) -> bytes:
    """Float32 (y, x, 4) as a smaller picture, smooth at its edges."""
    parts = [drawn[y::_FINE, x::_FINE] for y in range(_FINE) for x in range(_FINE)]
    mean = np.mean(parts, axis=0)
    share = mean[..., 3:]
    mean[..., :3] /= np.where(share > 0, share, 1)
    buffer = io.BytesIO()
    whole = Image.fromarray(np.rint(mean * 255).astype(np.uint8), "RGBA")
    few = whole.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()

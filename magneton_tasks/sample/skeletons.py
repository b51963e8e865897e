"""Skeletons of neurites: smooth random walks that branch and keep out of each other's way.

Thick dendrites are laid first and straightest, then medium neurites, then thin axons with
varicosities wind through the space that is left, as in neuropil. A coarse *clearance* grid holds
the distance in nm from each cell to the nearest surface laid so far; walks steer by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Edge of a cell of the clearance grid, in nm: half of the thinnest axon's diameter.
_CELL_NM = 80.0
#: Clearance is exact up to this distance from a surface, in nm; walks look no farther.
_REACH_NM = 320.0
#: Walks go on this far outside of the volume, so that neurites cross its faces at any angle.
_MARGIN_NM = 200.0
#: Distance between points of a skeleton, in nm: below the smallest radius.
_STEP_NM = 40.0
#: A neurite that ends inside the volume on both sides is at least this long, in nm.
_MIN_LENGTH_NM = 1500.0
#: Directions tried at each step of a walk.
_TRIES = 16

# Columns of the table of points: position z, y, x (nm), radius (nm), direction z, y, x, neurite.
_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class Calibre:
    """A kind of neurite; lengths in nm."""

    radius: tuple[float, float]
    #: stop laying neurites of this kind when they and all before fill this share of the volume
    fill: float
    #: change of direction per step, in radians
    wander: float
    branches_per_um: float
    spines_per_um: float
    #: relative change of the radius along the neurite
    beading: float
    #: share of the radius by which it gives way to neurites laid before, at most
    squeeze: float


CALIBRES = (
    Calibre((280.0, 430.0), 0.30, 0.06, 0.10, 0.9, 0.10, 0.3),
    Calibre((150.0, 240.0), 0.48, 0.10, 0.10, 0.0, 0.25, 0.5),
    Calibre((80.0, 140.0), 0.80, 0.14, 0.12, 0.0, 0.45, 0.9),
)


@dataclass(frozen=True, slots=True)
class Skeletons:
    """Points of all neurites inside the volume.

    Attributes
    ----------
    position, direction
        float32 (n, 3): zyx in nm from the volume's corner; unit vectors along the neurite.
    radius
        float32 (n,): nm.
    neurite
        int32 (n,): from 1.
    """

    position: NDArray[np.float32]
    direction: NDArray[np.float32]
    radius: NDArray[np.float32]
    neurite: NDArray[np.int32]


def grow_skeletons(extent_nm: NDArray[np.float64], rng: np.random.Generator) -> Skeletons:
    """Fill a volume of ``extent_nm`` (zyx) with skeletons."""
    padded = extent_nm + 2 * _MARGIN_NM
    cells = np.ceil(padded / _CELL_NM).astype(np.int64)
    clearance = np.full(cells, _REACH_NM, np.float32)
    laid: list[NDArray[np.float32]] = []
    neurite = 0
    for calibre in CALIBRES:
        failures = 0
        while failures < 30 and (clearance < 0).mean() < calibre.fill:
            radius = rng.uniform(*calibre.radius)
            free = np.flatnonzero(clearance > min(radius, 0.9 * _REACH_NM))
            if free.size == 0:
                failures += 1
                continue
            start = np.array(np.unravel_index(rng.choice(free), cells), float) + 0.5
            points = _lay_neurite(
                clearance,
                start * _CELL_NM,
                radius,
                calibre.wander,
                calibre.branches_per_um,
                calibre.spines_per_um,
                calibre.beading,
                calibre.squeeze,
                neurite + 1,
                rng,
            )
            failures = 0 if len(points) > 1 else failures + 1
            neurite += 1
            laid.append(points)
    return _inside(np.concatenate(laid), extent_nm)


def _inside(points: NDArray[np.float32], extent_nm: NDArray[np.float64]) -> Skeletons:
    position = points[:, :3] - np.float32(_MARGIN_NM)
    inside = ((position >= 0) & (position < extent_nm)).all(axis=1)
    kept = points[inside]
    return Skeletons(
        position=position[inside],
        direction=kept[:, 4:7].copy(),
        radius=kept[:, 3].copy(),
        neurite=kept[:, 7].astype(np.int32),
    )


@njit(nogil=True)
def _lay_neurite(
    clearance: Float32,
    start: Float64,
    radius: float,
    wander: float,
    branches_per_um: float,
    spines_per_um: float,
    beading: float,
    squeeze: float,
    neurite: int,
    rng: np.random.Generator,
) -> Float32:
    """Walk both ways from ``start`` and along each branch; float32 (n, 8) points, also painted."""
    step = np.float64(_STEP_NM)
    points = np.empty((4096, _COLUMNS), np.float32)
    used = 0
    # Walks to do: z, y, x, direction z, y, x, radius, steps left, kind (0 trunk, 1 branch, 2 spine)
    todo = np.empty((64, 9))
    heading = _turned(np.zeros(3), 1.0, rng)
    length = 4.0e4 / step
    for side in range(2):
        todo[side, :3] = start
        todo[side, 3:6] = heading * (1.0 - 2.0 * side)
        todo[side, 6], todo[side, 7], todo[side, 8] = radius, length, 0
    n_todo, ways_out = 2, 0
    while n_todo > 0:
        n_todo -= 1
        at = todo[n_todo, :3].copy()
        heading = todo[n_todo, 3:6].copy()
        base, left, kind = todo[n_todo, 6], todo[n_todo, 7], todo[n_todo, 8]
        phase, walked, first = rng.uniform(0.0, 2 * pi), 0.0, used
        while left > 0 and used < len(points):
            r = base * (1.0 + beading * np.sin(phase + 2 * pi * walked / 1500.0))
            if kind == 2 and left < 7:  # the head of a spine
                r = base * 2.6
            points[used, :3], points[used, 3], points[used, 4:7] = at, r, heading
            points[used, 7] = neurite
            used += 1
            # The walk's own last points are not painted yet: they are no obstacle to it.
            heading, room = _steer(clearance, at, heading, r, wander, rng)
            if room < -squeeze * r and walked > 2.0 * radius:
                break
            at = at + heading * step
            walked += step
            left -= 1
            if not _in_grid(clearance, at):
                ways_out += 1
                break
            if kind < 2 and n_todo < len(todo) - 1:
                dice = rng.random() * 1000.0 / step
                if dice < branches_per_um:
                    new_r, new_left, new_kind = 0.8 * base, length, 1.0
                elif dice < branches_per_um + spines_per_um:
                    new_r, new_left, new_kind = 65.0, (r + rng.uniform(450.0, 800.0)) / step, 2.0
                else:
                    continue
                todo[n_todo, :3] = at
                todo[n_todo, 3:6] = _turned(heading, 1.2 if new_kind == 2 else 0.8, rng)
                todo[n_todo, 6], todo[n_todo, 7], todo[n_todo, 8] = new_r, new_left, new_kind
                n_todo += 1
        if kind == 1 and used - first < 12:
            used = first
    if ways_out == 0 and used * step < _MIN_LENGTH_NM:
        used = 0
    for k in range(used):
        _paint(clearance, points[k])
    return points[:used].copy()


@njit(nogil=True)
def _turned(heading: Float64, angle: float, rng: np.random.Generator) -> Float64:
    """A unit vector near ``heading``: farther the larger ``angle`` (radians, roughly)."""
    v = np.empty(3)
    for i in range(3):
        v[i] = heading[i] + angle * rng.normal()
    v /= np.sqrt((v * v).sum() + 1e-12)
    return v


@njit(nogil=True)
def _in_grid(clearance: Float32, at: Float64) -> bool:
    nz, ny, nx = clearance.shape
    z, y, x = at[0] / _CELL_NM, at[1] / _CELL_NM, at[2] / _CELL_NM
    return bool(0 <= z < nz and 0 <= y < ny and 0 <= x < nx)


@njit(nogil=True)
def _room(clearance: Float32, at: Float64) -> float:
    """Clearance at a place; outside of the grid there is room enough."""
    if not _in_grid(clearance, at):
        return _REACH_NM
    z, y, x = int(at[0] / _CELL_NM), int(at[1] / _CELL_NM), int(at[2] / _CELL_NM)
    return np.float64(clearance[z, y, x])


@njit(nogil=True)
def _steer(
    clearance: Float32,
    at: Float64,
    heading: Float64,
    radius: float,
    wander: float,
    rng: np.random.Generator,
) -> tuple[Float64, float]:
    """The best of some random directions: room for ``radius`` ahead, then straightness."""
    best, best_score, best_room = heading, -1.0e9, -1.0e9
    for k in range(_TRIES):
        tried = _turned(heading, wander * (1.0 + 0.5 * (k // 4)), rng)
        room = 1.0e9
        for ahead in (1.0, 3.0, 6.0):
            room = min(room, _room(clearance, at + tried * (ahead * _STEP_NM)) - radius)
        straight = (tried * heading).sum()
        score = min(room, 0.0) / radius + straight
        if score > best_score:
            best, best_score, best_room = tried, score, room
    return best, best_room


@njit(nogil=True)
def _paint(clearance: Float32, point: Float32) -> None:
    """Take a ball out of the free space."""
    radius = point[3]
    far = radius + _REACH_NM
    low = np.empty(3, np.int64)
    high = np.empty(3, np.int64)
    for i in range(3):
        low[i] = max(int((point[i] - far) / _CELL_NM), 0)
        high[i] = min(int((point[i] + far) / _CELL_NM) + 1, clearance.shape[i])
    for z in range(low[0], high[0]):
        dz = (z + 0.5) * _CELL_NM - point[0]
        for y in range(low[1], high[1]):
            dy = (y + 0.5) * _CELL_NM - point[1]
            for x in range(low[2], high[2]):
                dx = (x + 0.5) * _CELL_NM - point[2]
                clear = np.sqrt(dz * dz + dy * dy + dx * dx) - radius
                if clear < clearance[z, y, x]:
                    clearance[z, y, x] = clear

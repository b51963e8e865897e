"""Which convention a stored affinity map follows, told from a few boxes of it.

Two tests of `kernels.conventions` are tried on every way to read the map:

**Inversion** by thickness: cells are thick, membranes are thin. Each box has a vote.

**Order, sign and which channels** by loops: four voxels in a square have four edges, and never is
exactly one of them cut. How much the loops contradict that is compared with what the same channels
give when one is displaced by half a box: the share of the chance level. So a blurred or constant
channel, which contradicts little whatever it's taken for, wins nothing, and maps of more than three
channels (long-range affinities, descriptors) can be searched for the three that are wanted.

Measured in 8 places of `choose_boxes`, on 8 of the 24 combinations of order, sign and inversion:
pub128 and real_gala_train 8 of 8 right each; the next best way of pub128 contradicts 1.36 times as
much, as it does in 4 places of 64 voxels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.units import several
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.formats.volume import Volume
from magneton_tasks.kernels.conventions import is_inverted, plane_contradiction
from magneton_tasks.stages.planning.sampling import sample_boxes

Stored = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]

#: The second best way to read the map must contradict itself this many times as much as the best.
#: Measured where three channels are stored: 1.4 and more; where eight are: 1.15 and more; where
#: the channels are one boundary map, or noise: below 1.02.
DECIDED_MARGIN = 1.08
#: Contradiction over chance from which on the loops say nothing: the channels are unrelated.
CHANCE = 0.9
#: Channels that are looked at.
MOST_CHANNELS = 16
#: Places that are looked at: a part of a volume may be empty, or unlike the rest.
PLACES = 8
#: Edge of the boxes that are compared: of three channels, of more.
_EDGE_VOX, _SMALL_EDGE_VOX = 48, 36
#: Orders that tools write; any other is proposed only if the data clearly say so.
_USUAL_ORDERS: tuple[Vec3, ...] = ((0, 1, 2), (2, 1, 0))
#: Stored value that means affinity 1, by dtype, as `formats.affinity` takes it.
_FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0}
#: Other full scales that are met.
_SCALES = (1.0, 100.0, 127.0, 255.0, 1000.0, 1023.0, 4095.0, 10000.0, 32767.0, 65535.0)


@dataclass(frozen=True, slots=True)
class Convention:
    """How a stored map is to be read; see `config.input.Input`.

    Attributes
    ----------
    channels
        Numbers of the stored z, y and x channel.
    scale
        None: the dtype's own.
    """

    channels: Vec3 = (0, 1, 2)
    offset_sign: int = -1
    invert: bool = False
    scale: float | None = None

    def channels_setting(self, stored: int) -> str | list[int]:
        """``input.channels``: letters where three channels are stored, else numbers."""
        if stored != 3:
            return list(self.channels)
        return "".join("zyx"[self.channels.index(number)] for number in range(3))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to read the map, and how much its loops contradict themselves (1: as chance)."""

    convention: Convention
    contradiction: float


def times_as_much(other: Candidate, best: Candidate) -> str:
    """How many times as much another way contradicts itself: "1.4 times as much"."""
    ratio = other.contradiction / best.contradiction if best.contradiction > 1e-4 else np.inf
    return f"{'more than 100' if ratio > 100 else f'{ratio:.1f}'} times as much"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the boxes tell.

    Attributes
    ----------
    best
        The way that is proposed.
    others
        Further ways to read the map, least contradiction first; not the inverted ones.
    stored
        Number of stored channels.
    decided
        Whether order and sign are clear, and whether the inversion is.
    reasons
        Sentences for people: what was seen, what isn't clear.
    """

    best: Candidate
    others: tuple[Candidate, ...]
    stored: int
    decided: bool
    inversion_decided: bool
    reasons: tuple[str, ...]

    @property
    def unclear(self) -> tuple[str, ...]:
        """The reasons that say what isn't clear."""
        return tuple(reason for reason in self.reasons if "NOT CLEAR" in reason)


def choose_boxes(box: Box) -> Iterator[Box]:
    """Boxes to look at, the centre first: those that plan samples, then one in each octant."""
    yield from sample_boxes(box)
    half = vec3(max(s // 2, 1) for s in box.shape)
    for octant in box.tiles(half):
        yield sample_boxes(octant)[0]


def read_samples(volume: Volume) -> list[tuple[Box, Stored]]:
    """Boxes in up to `PLACES` places of a volume that hold something, as stored: (c, z, y, x).

    Raises
    ------
    ConfigError
        Fewer than three channels.
    BadDataError
        No box that was looked at holds more than one value.
    NoInputError, BadDataError, TemporaryError
        As `volumes.Volume.read`.
    """
    info = volume.info
    if info.channels < 3:
        raise ConfigError(
            f"{info.url} has {several(info.channels, 'channel')}; an "
            "affinity map has three: one each for z, y and x",
            "give the affinity map; is this an image, a segmentation or a boundary map?",
        )
    found, only_nan = [], True
    for box in choose_boxes(info.box):
        stored = volume.read(box)
        finite = stored[np.isfinite(stored)]
        only_nan = only_nan and not finite.size
        if finite.size and finite.min() < finite.max():
            found.append((box, stored))
        if len(found) == PLACES:
            break
    if not found:
        raise BadDataError(
            f"{info.url}: the boxes that were looked at hold {'NaN only' if only_nan else 'one value each'}: nothing can be said",
            "is the map written yet, and is it the right one? If it holds something elsewhere, write a config by hand (magneton sample DIR makes one to begin with), and set box",
        )
    return found


def propose_convention(samples: Sequence[Stored], dtype: str) -> Proposal:
    """The most plausible way to read samples of a map, each (c, z, y, x) as stored."""
    reasons: list[str] = []
    scale, note = find_scale(samples, dtype)
    full = scale or _FULL_SCALE.get(dtype, 1.0)
    stored = samples[0].shape[0]
    reasons += [note] if note else []
    broken = sum(int(s.size - np.count_nonzero(np.isfinite(s))) for s in samples)
    if broken:
        reasons.append(
            f"NOT CLEAR: NaN or infinity in {several(broken, 'sampled value')}; blocks with such fail"
        )
    read = [np.nan_to_num(s[:MOST_CHANNELS].astype(np.float32) / np.float32(full)) for s in samples]
    invert, clear = find_inversion([r[:3] for r in read])
    candidates, decided = _search(read, invert)
    channels = candidates[0][0]
    again, clear_again = find_inversion([r[list(channels)] for r in read])
    if clear_again and again != invert:
        invert, clear = again, True
        candidates, decided = _search(read, invert)
    ways = [Candidate(Convention(c, s, invert, scale), value) for c, s, value in candidates]
    reasons += _reasons(ways, decided, invert, clear, stored)
    return Proposal(ways[0], tuple(ways[1:]), stored, decided, clear, tuple(reasons))


def find_scale(samples: Sequence[Stored], dtype: str) -> tuple[float | None, str | None]:
    """``input.scale`` (None: the dtype's own), and a sentence where that isn't plain."""
    values = np.concatenate([s.ravel() for s in samples])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    full = _FULL_SCALE.get(dtype, 1.0)
    if low < 0:
        return None, (
            f"values reach from {low:g} to {high:g}: a map of affinities has none below 0; "
            "was the last sigmoid left out when it was predicted?"
        )
    if full / 2 < high <= full or (full == 1 and high <= 1):
        return None, None
    if full == 1 and high < 1.05:
        scale = float(np.nextafter(np.float32(high), np.float32(2)))
    else:
        scale = next((s for s in _SCALES if s >= high), high)
    return scale, f"the highest value is {high:g} in {dtype}: {scale:g} is taken to mean affinity 1"


def find_inversion(samples: Sequence[Float32]) -> tuple[bool, bool]:
    """Whether samples in [0, 1] hold boundaries instead of affinities, and whether that's clear."""
    clipped = [np.clip(s, 0, 1) for s in samples]
    votes = sum(is_inverted([s]) for s in clipped)
    against = sum(is_inverted([1 - s]) for s in clipped)
    return votes > against, abs(votes - against) * 2 > len(samples)


def _search(read: Sequence[Float32], invert: bool) -> tuple[list[tuple[Vec3, int, float]], bool]:
    """All ways by contradiction over chance, best first; and whether the best is clear."""
    if invert:
        read = [1 - r for r in read]
    n = read[0].shape[0]
    edge = _EDGE_VOX if n == 3 else _SMALL_EDGE_VOX
    read = [r[:, :edge, :edge, :edge] for r in read]
    read = [r for r in read if min(r.shape[1:]) >= 6]
    orders = [vec3(o) for o in permutations(range(n), 3)]
    ways = list(product(orders, (-1, 1)))
    if not read:
        return [(order, sign, 1.0) for order, sign in ways], False
    tables = [_pair_tables(r) for r in read]
    means = [_relative(tables, order, sign) for order, sign in ways]
    ranked = sorted(zip(ways, means, strict=True), key=lambda item: item[1])
    best, second = ranked[0], ranked[1]
    decided = second[1] > DECIDED_MARGIN * best[1] and best[1] < CHANCE
    if not decided:
        first = _likeliest(ranked)
        ranked.remove(first)
        ranked.insert(0, first)
    return [(order, sign, value) for (order, sign), value in ranked], decided


_Way = tuple[tuple[Vec3, int], float]


def _likeliest(ranked: Sequence[_Way]) -> _Way:
    """Where the data don't tell: the most usual of the ways against which nothing speaks.

    Magneton's own, then the two usual orders, then any.
    """
    possible = [way for way in ranked if way[1] <= DECIDED_MARGIN * ranked[0][1]]
    usual = [way for way in possible if way[0][0] in _USUAL_ORDERS]
    own = [way for way in usual if way[0] == (_USUAL_ORDERS[0], -1)]
    return [*own, *usual, *possible][0]


_Tables = dict[tuple[int, int, int, int, int], tuple[float, float]]


def _pair_tables(sample: Float32) -> _Tables:
    """Contradiction, and that by chance, of each pair of channels taken for each pair of axes."""
    half = tuple(n // 2 for n in sample.shape[1:])
    displaced = np.roll(sample, half, axis=(1, 2, 3))
    tables = {}
    for (d, k), (i, j), sign in product(
        ((0, 1), (0, 2), (1, 2)), permutations(range(sample.shape[0]), 2), (-1, 1)
    ):
        tables[d, k, i, j, sign] = (
            plane_contradiction(sample[i], sample[j], d, k, sign),
            plane_contradiction(sample[i], displaced[j], d, k, sign),
        )
    return tables


def _relative(tables: Sequence[_Tables], order: Vec3, sign: int) -> float:
    cells = [
        table[d, k, order[d], order[k], sign]
        for table in tables
        for d, k in ((0, 1), (0, 2), (1, 2))
    ]
    chance = sum(c for _, c in cells)
    return sum(v for v, _ in cells) / chance if chance > 0 else 1.0


def _reasons(
    ways: Sequence[Candidate], decided: bool, invert: bool, clear: bool, stored: int
) -> Iterator[str]:
    best, second = ways[0], ways[1]
    if decided:
        yield (
            f"order and sign: the channels contradict each other least when read so; the next best "
            f"way contradicts {times_as_much(second, best)}"
        )
    else:
        yield (
            "order and sign: NOT CLEAR, the data don't tell (are all channels one boundary map?); "
            "ask whoever predicted the map, or compare in the picture"
        )
    what = (
        "boundaries (high is thin, like membranes)"
        if invert
        else "affinities (high is thick, like cells)"
    )
    yield f"inversion: the values are {what}" + (
        "" if clear else "; NOT CLEAR, look at the picture"
    )
    if stored > 3:
        yield f"{stored} channels are stored: {list(best.convention.channels)} look like direct neighbours along z, y and x"

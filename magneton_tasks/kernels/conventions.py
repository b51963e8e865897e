"""Does an affinity map mean what the config says? Statistics, and the tests on which `doubts` stands.

A wrong sign, channel order or inversion gives a segmentation without any error, and rubbish.
Two properties of any map, whoever made it, tell:

**Loops** (sign and order). Four voxels in a square have four edges; if one of them joins two
objects, then at least one other does: a loop is never cut once. ``a1 <= a2`` being the two lowest
affinities of a loop, ``a2 - a1`` is how much the loop contradicts itself::

    v-e_d ---d--- v            d: affs[d][v]          k: affs[k][v]
      |           |
      k'          k
      |           |
    v-e_d-e_k -d'- v-e_k       d': affs[d][v - e_k]   k': affs[k][v - e_d]

Read with the wrong sign or order, the four numbers aren't a loop, and contradict more. Measured
(mean contradiction, sum over the three planes; right convention / the best of the 11 others):
pub128 .170 / .244, real_gala_train .000 / .134; in boxes of 32 x 48 x 48 the others were at least
1.33 times as high. Where the three channels are one (a boundary map), all are alike.

**Thickness** (inversion). Objects are thick, membranes are thin: a 5 x 5 erosion in the plane
leaves .61 and .55 of the voxels of high affinity, and .12 and .20 of the others. In an inverted
map it's the other way round, and the mean is low. Voxels masked with 0 don't matter. What is low
must also fall apart into cells: where objects are thin and few, in a coarse map or beside empty
space, all else is one piece (.97 of the low voxels of balls on a lattice; .61 and less of those of
inverted maps, in boxes of 80^3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

Affinities = npt.NDArray[np.float32]
#: Which of the given channels is z, y and x, and the offset's sign.
Hypothesis = tuple[tuple[int, int, int], int]

ZYX = (0, 1, 2)
#: Another convention must contradict itself this much less: .69 and below where the declared one
#: is wrong, 1.33 and above where it's right.
LOOP_RATIO = 0.85
#: Below it a map doesn't contradict itself, and nothing is to be compared.
LOOP_FLOOR = 0.01
#: High voxels erode this much more than low ones in an inverted map (measured: .19 and .37 of the
#: low ones' share; 5.3 and 2.7 in a right one).
THICKNESS_RATIO = 0.5
#: Share of what is low, eroded, that the largest piece of a section may hold in an inverted map.
LARGEST_PIECE = 0.9
_EROSION = 5
#: Sections of a box in which pieces are looked for.
_SECTIONS = 16


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What was found in one channel of the sampled boxes; affinities in Magneton's convention.

    Attributes
    ----------
    axis
        ``z``, ``y`` or ``x``.
    minimum, maximum, mean
        Over the finite values; NaN where there are none.
    fraction_zero, fraction_one
        Share of voxels at or below 0 / at or above 1.
    not_finite
        Number of NaN or infinite values.
    step
        Mean absolute difference to the next voxel along x: noise and sharpness.
    """

    axis: str
    minimum: float
    maximum: float
    mean: float
    fraction_zero: float
    fraction_one: float
    not_finite: int
    step: float


def channel_statistics(samples: Sequence[Affinities]) -> list[ChannelStatistics]:
    """Statistics of the three channels over all samples, each (3, z, y, x)."""
    found = []
    for channel, axis in enumerate("zyx"):
        values = np.concatenate([s[channel].ravel() for s in samples] or [np.empty(0, np.float32)])
        steps = [np.abs(np.diff(s[channel], axis=2)).ravel() for s in samples]
        finite = values[np.isfinite(values)]
        step = np.concatenate(steps or [finite[:0]])
        step = step[np.isfinite(step)]
        found.append(
            ChannelStatistics(
                axis=axis,
                minimum=float(finite.min()) if finite.size else float("nan"),
                maximum=float(finite.max()) if finite.size else float("nan"),
                mean=float(finite.mean(dtype=np.float64)) if finite.size else float("nan"),
                fraction_zero=float((finite <= 0).mean()) if finite.size else 0.0,
                fraction_one=float((finite >= 1).mean()) if finite.size else 0.0,
                not_finite=int(values.size - finite.size),
                step=float(step.mean(dtype=np.float64)) if step.size else 0.0,
            )
        )
    return found


def is_inverted(samples: Sequence[Affinities]) -> bool:
    """Whether high is thin and low is thick; see the module's text."""
    total = np.zeros(5)
    for sample in samples:
        mean = sample.mean(axis=0)
        high = mean >= 0.5
        total += [high.sum(), _eroded(high), (~high).sum(), _eroded(~high), mean.sum()]
    voxels = total[0] + total[2]
    if voxels == 0 or total[4] / voxels >= 0.5 or total[2] == 0:
        return False
    is_thin = total[1] / max(total[0], 1) < THICKNESS_RATIO * total[3] / total[2]
    return bool(is_thin) and _falls_apart(samples)


def _falls_apart(samples: Sequence[Affinities]) -> bool:
    """Whether what is low, and isn't thin, lies in pieces: the cells of an inverted map."""
    from scipy import ndimage  # takes longer to import than all of numba

    whole = largest = 0
    for sample in samples:
        kept = _kept(sample.mean(axis=0) < 0.5)
        for section in () if kept is None else kept[:: max(len(kept) // _SECTIONS, 1)]:
            sizes = np.bincount(ndimage.label(section)[0].ravel())[1:]
            whole, largest = whole + int(sizes.sum()), largest + int(sizes.max(initial=0))
    return whole > 0 and largest <= LARGEST_PIECE * whole


def _eroded(mask: npt.NDArray[np.bool_]) -> float:
    """Number of voxels left by an in-plane erosion, scaled up for the border that it loses."""
    kept = _kept(mask)
    return 0.0 if kept is None else float(kept.sum()) * mask.size / kept.size


def _kept(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    """What an in-plane erosion leaves; None: sections are too small for it."""
    kept = mask
    for axis in (1, 2):
        n = kept.shape[axis] - _EROSION + 1
        if n < 1:
            return None
        views = [np.take(kept, range(i, i + n), axis=axis) for i in range(_EROSION)]
        kept = np.logical_and.reduce(views)
    return kept


def as_stored(affs: Affinities) -> Affinities:
    """Undo the shift by which a map of ``offset_sign`` +1 was read; one plane less along each axis."""
    z, y, x = (n - 1 for n in affs.shape[1:])
    return np.stack([affs[0, 1:, :y, :x], affs[1, :z, 1:, :x], affs[2, :z, :y, 1:]])


def better_convention(samples: Sequence[Affinities], declared_sign: int = -1) -> Hypothesis | None:
    """The order and sign under which loops contradict themselves clearly less; None: as declared.

    Samples are as they're stored (`as_stored`), in the declared order. An alternative must be `LOOP_RATIO` better over all samples, and better in two thirds of them.
    """
    hypotheses: list[Hypothesis] = [
        ((o[0], o[1], o[2]), s) for o, s in product(permutations(range(3)), (-1, 1))
    ]
    usable = [s for s in samples if min(s.shape[1:]) >= 4]
    if not usable:
        return None
    scores = np.array([[loop_contradiction(s, h) for h in hypotheses] for s in usable])
    means = scores.mean(axis=0)
    declared, best = hypotheses.index((ZYX, declared_sign)), int(means.argmin())
    if means[declared] < LOOP_FLOOR or means[best] > LOOP_RATIO * means[declared]:
        return None
    agreeing = (scores[:, best] < scores[:, declared]).mean()
    return hypotheses[best] if agreeing >= 2 / 3 else None


def loop_contradiction(affs: Affinities, hypothesis: Hypothesis = (ZYX, -1)) -> float:
    """Mean contradiction of the loops, summed over the planes zy, zx and yx.

    Parameters
    ----------
    affs
        (3, z, y, x), at least 4 voxels wide.
    hypothesis
        Which channel is taken as z, y, x; and the sign s: ``affs[d][v]`` joins v and v + s e_d.
    """
    order, sign = hypothesis
    by_axis = affs[list(order)]
    return sum(
        plane_contradiction(by_axis[d], by_axis[k], d, k, sign) for d, k in ((0, 1), (0, 2), (1, 2))
    )


def plane_contradiction(
    channel_d: Affinities, channel_k: Affinities, d: int, k: int, sign: int
) -> float:
    """Mean contradiction of the loops of one plane, from the channels taken for its axes d and k.

    Parameters
    ----------
    channel_d, channel_k
        (z, y, x), at least 4 voxels wide.
    d, k, sign
        The plane's axes (0, 1, 2 for z, y, x); ``channel_d[v]`` joins v and v + sign e_d.
    """
    # The first plane is left out: index 0 along a channel's axis holds no edge.
    a, b = channel_d[1:, 1:, 1:], channel_k[1:, 1:, 1:]
    e_d, e_k = (tuple(sign * (axis == e) for axis in range(3)) for e in (d, k))
    edges = [
        _shifted(a, (0, 0, 0)), _shifted(a, e_k), _shifted(b, (0, 0, 0)), _shifted(b, e_d),
    ]  # fmt: skip
    low, high = np.minimum(edges[0], edges[1]), np.maximum(edges[0], edges[1])
    low2, high2 = np.minimum(edges[2], edges[3]), np.maximum(edges[2], edges[3])
    first = np.minimum(low, low2)
    second = np.minimum(np.maximum(low, low2), np.minimum(high, high2))
    return float((second - first).mean(dtype=np.float64))


def _shifted(array: Affinities, by: tuple[int, ...]) -> Affinities:
    """``array[v + by]`` for all v that are one voxel inside."""
    return array[tuple(slice(1 + b, n - 1 + b) for b, n in zip(by, array.shape, strict=True))]

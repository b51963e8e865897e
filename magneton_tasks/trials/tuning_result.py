"""What ``magneton tune`` found: the scores, the best of them, and what to know before taking it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from magneton_tasks.base.geometry import Box
from magneton_tasks.base.units import several
from magneton_tasks.outcome import threshold_words
from magneton_tasks.plan.plan import ThresholdChoice
from magneton_tasks.trials.trial import EXACT

#: Less of the box than this labelled: a few objects decide, which may not be like the others.
FEW_LABELLED = 0.1
#: Scores that differ by less, in bits, are a tie: rounding of their sums.
_TIE_BITS = 1e-9
#: VI that differs by less, in bits, doesn't tell which method is better: measured on five volumes,
#: variants of one method differ by that much at each one's own best threshold, without any being
#: better throughout. The exact method is preferred then: it is the same on any grid, so the whole
#: volume loses nothing more to borders.
NEAR_BITS = 0.03


@dataclass(frozen=True, slots=True)
class Point:
    """Scores at one threshold; VI in bits, ARAND in [0, 1], 0 is perfect in both.

    Attributes
    ----------
    segments
        Distinct ids where the truth is labelled, background (0) included.
    """

    merge_function: str
    threshold: float
    vi_split: float
    vi_merge: float
    arand: float
    segments: int

    @property
    def vi(self) -> float:
        """Variation of information in bits, split + merge."""
        return self.vi_split + self.vi_merge


@dataclass(frozen=True, slots=True)
class Cost:
    """What one merge function took: CPU seconds and resident bytes, reading included."""

    merge_function: str
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Tuning:
    """All scores of a box.

    Attributes
    ----------
    points
        By merge function in the order asked for, then by ascending threshold.
    labelled_vox, objects
        Voxels of the box with a truth, and the truth's objects in it.
    """

    box: Box
    points: tuple[Point, ...]
    labelled_vox: int
    objects: int
    costs: tuple[Cost, ...]
    #: blocks that the overlap method was scored in, and those that a run of the volume has;
    #: None: it wasn't
    blocks: int | None = None
    run_blocks: int | None = None
    #: what the map asks for with the exact method; None: nobody asked
    own: ThresholdChoice | None = None

    @property
    def functions(self) -> tuple[str, ...]:
        """The merge functions, in order."""
        return tuple(dict.fromkeys(p.merge_function for p in self.points))

    def of(self, function: str) -> tuple[Point, ...]:
        """The points of one merge function."""
        return tuple(p for p in self.points if p.merge_function == function)

    @property
    def best(self) -> Point:
        """The least VI; of equal ones the higher threshold, then the merge function named first.

        Where they are nearly as good, the exact method at what the map asks for, or at its best.
        """
        best, exact = best_of(self.points), self.of(EXACT)
        preferred = ([self.at_own] if self.at_own else []) + ([best_of(exact)] if exact else [])
        return next((p for p in preferred if p.vi <= best.vi + NEAR_BITS), best)

    @property
    def at_own(self) -> Point | None:
        """The exact method at what the map asks for; None where that wasn't scored."""
        own = None if self.own is None else self.own.value
        return next((p for p in self.of(EXACT) if p.threshold == own), None)


def best_of(points: Sequence[Point]) -> Point:
    """As `Tuning.best`."""
    least = min(p.vi for p in points)
    return max((p for p in points if p.vi <= least + _TIE_BITS), key=lambda p: p.threshold)


def remarks(tuning: Tuning) -> list[str]:
    """What a person should know before taking the best: one sentence each."""
    best = tuning.best
    scanned = [p.threshold for p in tuning.of(best.merge_function)]
    found = []
    if len(scanned) > 1 and best.threshold == scanned[-1]:
        found.append(
            "the best is the supervoxels as they are: any merge makes it worse; look at the affinity "
            f"map, at input.invert and input.offset_sign, and at {_makes_supervoxels(best)}"
            if best.threshold >= 1
            else f"the best lies at the upper end of what was scanned ({best.threshold:g}): scan higher thresholds"
        )
    elif len(scanned) > 1 and best.threshold == scanned[0]:
        found.append(
            f"the best lies at the lower end of what was scanned ({best.threshold:g}): scan lower thresholds"
        )
    if tuning.blocks == 1 and (tuning.run_blocks or 0) > 1:
        found.append(
            f"the box is one block of the overlap method, and a run has {tuning.run_blocks:,}: what "
            "their borders add isn't in its figures; give a --box (and a truth) of several blocks, "
            "a smaller block.size, or take exact, which borders don't change"
        )
    share = tuning.labelled_vox / tuning.box.voxels
    if share < FEW_LABELLED:
        found.append(
            f"the truth labels only {share:.1%} of the box ({several(tuning.labelled_vox, 'voxel')}, "
            f"{several(tuning.objects, 'object')}): that little decides"
        )
    return found


def _makes_supervoxels(point: Point) -> str:
    return "exact" if point.merge_function == EXACT else "segment.aff_thresholds"


def as_json(tuning: Tuning) -> dict[str, Any]:
    """Everything as plain data; exact numbers."""

    def point(p: Point) -> dict[str, Any]:
        return {**asdict(p), "vi": p.vi}

    return {
        "box": {"begin": tuning.box.begin, "end": tuning.box.end},
        "voxels": tuning.box.voxels,
        "labelled_vox": tuning.labelled_vox,
        "objects": tuning.objects,
        "scores": [point(p) for p in tuning.points],
        "best": point(tuning.best),
        "blocks": tuning.blocks,
        "own": None if tuning.own is None else threshold_words.as_data(tuning.own),
        "costs": [asdict(c) for c in tuning.costs],
        "warnings": remarks(tuning),
    }

"""``magneton tune``: scores of a box against a truth, by threshold and merge function.

The exact method is one of these functions here, so that it can be compared with the others. Each is
scored as a run would make it: with the overlap method, a box of more than ``block.size`` is cut into
blocks, whose labels are matched at each threshold. One agglomeration of each block for each merge
function (see `kernels.overlap.grid_sweep`); nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any, TypedDict

from magneton_tasks.base.geometry import Box
from magneton_tasks.base.methods import SegmentSettings
from magneton_tasks.config.settings import exact_settings, matching_rule
from magneton_tasks.errors import BadDataError, ConfigError, MagnetonError
from magneton_tasks.formats.metadata import VolumeInfo, read_metadata
from magneton_tasks.outcome import threshold_words
from magneton_tasks.plan.plan import ThresholdChoice
from magneton_tasks.trials.trial import EXACT, Trial, memory_limit, settings_of
from magneton_tasks.trials.trial_work import in_child, with_blocks, with_exact_affinities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from magneton_tasks.kernels.evaluate import Scores
    from magneton_tasks.kernels.overlap.grid_sweep import BlockCuts

#: 0.05 to 1 in steps of 0.05: 20 thresholds. 1 is the supervoxels as they are, before any merge:
#: what they split is the most there can be, and what they merge no threshold undoes. Below 0.05
#: waterz joins what only noise connects.
DEFAULT_THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(1, 21))
#: The truth (up to uint64), what counting a part of it takes, and the cells of all blocks, whose
#: read boxes may reach over twice the box.
EXTRA_BYTES_PER_VOXEL = 20
#: Less of the box than this labelled: a few objects decide, which may not be like the others.
FEW_LABELLED = 0.1
#: Scores that differ by less, in bits, are a tie: rounding of their sums.
_TIE_BITS = 1e-9
#: VI that differs by less, in bits, doesn't tell which method is better: measured on five volumes,
#: variants of one method differ by that much at each one's own best threshold, without any being
#: better throughout. The exact method is preferred then: it is the same on any grid, so the whole
#: volume loses nothing more to borders.
NEAR_BITS = 0.03
#: Voxel sizes that differ by less than this share are the same.
_SAME_SIZE = 1e-3


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


def truth_info(url: str, mip: int, affinity: VolumeInfo) -> VolumeInfo:
    """The truth's metadata, if it's of the affinity map's frame.

    Raises
    ------
    NoInputError, BadDataError, ConfigError, TemporaryError
        There's no such volume, it holds no ids, or its voxels have another size.
    """
    info = read_metadata(url, mip)
    if info.channels != 1 or not info.dtype.startswith(("uint", "int")):
        raise ConfigError(
            f"the truth {url} holds {info.channels} channel(s) of {info.dtype}, not one of ids",
            "give a segmentation: one channel of integers, 0 where nothing is labelled",
        )
    # As with masks: in one box both are one volume, even where a voxel size was never written.
    if info.box != affinity.box and not _same_size(info, affinity):
        raise ConfigError(
            f"the truth {url} has voxels of {_nm(info)} nm at mip {mip}, the affinity map of "
            f"{_nm(affinity)} nm at mip {affinity.mip} (zyx)",
            _fitting_mip(url, affinity),
        )
    return info


def _same_size(a: VolumeInfo, b: VolumeInfo) -> bool:
    sizes = zip(a.voxel_size_nm, b.voxel_size_nm, strict=True)
    return all(abs(x - y) <= _SAME_SIZE * y for x, y in sizes)


def _nm(info: VolumeInfo) -> str:
    return " x ".join(f"{v:g}" for v in info.voxel_size_nm)


def _fitting_mip(url: str, affinity: VolumeInfo) -> str:
    """Which mip of the truth has the affinity map's voxels, if one has."""
    for mip in range(32):
        try:
            if _same_size(read_metadata(url, mip), affinity):
                return f"mip {mip} of the truth fits: --truth-mip {mip}"
        except MagnetonError:
            break
    return "give a truth (or --truth-mip) with voxels of the affinity map's size"


def limits(trial: Trial, functions: Sequence[str]) -> dict[str, int]:
    """Bytes that the child of each merge function may have resident.

    Raises
    ------
    ConfigError
        The box needs more memory than there is, or its blocks don't overlap.
    """
    return {
        f: memory_limit(
            trial,
            f,
            EXTRA_BYTES_PER_VOXEL,
            lambda box, f=f: at_once(trial, f, box),  # type: ignore[misc]
        )
        for f in functions
    }


def at_once(trial: Trial, function: str, box: Box) -> int:
    """Voxels of a box that are segmented at once: all (exact), or the largest block's."""
    if function == EXACT:
        return box.voxels
    return prod(trial.using(function).grid(box).largest_read)


def run(
    trial: Trial,
    truth: VolumeInfo,
    functions: Sequence[str],
    thresholds: Sequence[float],
    own: ThresholdChoice | None = None,
) -> Tuning:
    """Score the box with each merge function, one after the other.

    Parameters
    ----------
    own
        What the map asks for with the exact method, which is scored there as well.

    Raises
    ------
    ConfigError
        The box needs more memory than there is, or its blocks don't overlap.
    BadDataError
        Nothing of the box is labelled, or affinities are wrong.
    NoInputError, TemporaryError
        Reading failed, or a child crashed.
    """
    allowed = limits(trial, functions)
    points: list[Point] = []
    costs = []
    labelled = objects = 0
    for function in functions:
        at = {*thresholds, own.value} if own and function == EXACT else thresholds
        result = in_child(_work(trial, truth, function, sorted(at)), allowed[function])
        labelled, objects = result.value["labelled_vox"], result.value["objects"]
        points += [Point(function, **p) for p in reversed(result.value["points"])]
        costs.append(Cost(function, result.cpu_s, result.peak_bytes))
    overlaps = [trial.using(f) for f in functions if f != EXACT]
    blocks, run_blocks = (
        len(overlaps[0].grid(box)) if overlaps else None for box in (trial.box, trial.segmented)
    )
    return Tuning(
        trial.box, tuple(points), labelled, objects, tuple(costs), blocks, run_blocks, own
    )


def _work(
    trial: Trial, truth: VolumeInfo, function: str, thresholds: Sequence[float]
) -> Callable[[], Scored]:
    """What the child of one merge function does."""
    from magneton_tasks.formats.volume import open_volume
    from magneton_tasks.kernels.overlap.sweep import score_exact_sweep

    ids, trial = open_volume(truth.url, truth.mip), trial.using(function)
    min_size_vox = trial.config.segment.min_size_vox

    def known() -> NDArray[np.integer]:
        found: NDArray[np.integer] = ids.read(trial.box)[0]
        if not found.any():
            raise BadDataError(
                "no voxel of the truth is labelled (all are 0)", "give a box that is labelled"
            )
        return found

    if function != EXACT:
        return _work_of_blocks(trial, settings_of(trial, function), thresholds, known)

    exact = exact_settings(trial.config, thresholds[0])
    return with_exact_affinities(
        trial,
        lambda affinity: _scored(
            score_exact_sweep(affinity, exact, thresholds, known(), min_size_vox)
        ),
    )


def _work_of_blocks(
    trial: Trial,
    settings: SegmentSettings,
    thresholds: Sequence[float],
    known: Callable[[], NDArray[np.integer]],
) -> Callable[[], Scored]:
    """The overlap method, on the blocks that a run of the box has."""
    from magneton_tasks.kernels.overlap.grid_sweep import cut_block, score_blocks

    grid, rule = trial.grid(), matching_rule(trial.config)
    min_size_vox = trial.config.segment.min_size_vox
    truth: list[NDArray[np.integer]] = []

    def cut(affinity: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> BlockCuts:
        if not truth:  # before the first block: it may hold nothing
            truth.append(known())
        return cut_block(affinity, settings, thresholds, mask)

    return with_blocks(
        trial,
        [grid.read(key) for key in range(len(grid))],
        cut,
        lambda blocks: _scored(
            score_blocks(grid, blocks, thresholds, truth[0], rule, min_size_vox)
        ),
    )


class Scored(TypedDict):
    """What a child tells of one merge function, as plain data."""

    labelled_vox: int
    objects: int
    points: list[dict[str, float]]


def _scored(found: list[tuple[float, Scores]]) -> Scored:
    """Scores as plain data."""
    _, scores = found[0]
    points = [
        {
            "threshold": t,
            "vi_split": s.vi_split,
            "vi_merge": s.vi_merge,
            "arand": s.arand,
            "segments": s.segments,
        }
        for t, s in found
    ]
    return {"labelled_vox": scores.voxels, "objects": scores.objects, "points": points}


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
            f"the truth labels only {share:.1%} of the box ({tuning.labelled_vox:,} voxels, "
            f"{tuning.objects:,} objects): these few decide"
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

"""``magneton tune``: scores of a box against a truth, by threshold and merge function.

The exact method is one of these functions here, so that it can be compared with the others. Each is
scored as a run would make it: with the overlap method, a box of more than ``block.size`` is cut into
blocks, whose labels are matched at each threshold. One agglomeration of each block for each merge
function (see `kernels.overlap.grid_sweep`); nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, TypedDict

from magneton_tasks.base.geometry import Box
from magneton_tasks.base.methods import SegmentSettings
from magneton_tasks.config.settings import exact_settings, matching_rule
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.metadata import VolumeInfo
from magneton_tasks.plan.plan import ThresholdChoice
from magneton_tasks.trials.cost import memory_limit
from magneton_tasks.trials.trial import EXACT, Trial, settings_of
from magneton_tasks.trials.trial_work import in_child, with_blocks, with_exact_affinities
from magneton_tasks.trials.tuning_result import Cost, Point, Tuning

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
        at = {*thresholds, own.number} if own and function == EXACT else thresholds
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

"""What segmenting the box of a trial takes: memory, checked before anything is read, and time."""

from __future__ import annotations

from collections.abc import Callable

from magneton_tasks.base import units
from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan import cost_exact, cost_overlap
from magneton_tasks.runners import this_machine
from magneton_tasks.runners.memory_advice import more_memory
from magneton_tasks.stages.planning.sampling import sample
from magneton_tasks.trials.trial import EXACT, Trial, central_box


def memory_limit(
    trial: Trial,
    function: str,
    extra_bytes_per_voxel: int,
    at_once: Callable[[Box], int] = lambda box: box.voxels,
) -> int:
    """Bytes that the child may have resident; refuses a box that won't fit before it is read.

    Parameters
    ----------
    function
        The merge function, or `EXACT`.
    extra_bytes_per_voxel
        What is held besides what segmenting a block takes.
    at_once
        Voxels of a box that are segmented at once; by default all.

    Raises
    ------
    ConfigError
        It needs more than ``local.memory``, or than this machine has; names a box that fits.
    """
    config = trial.using(function).config
    ceiling = config.local.memory or this_machine.memory_bytes()

    def bound(box: Box, densest: tuple[float, float] | None) -> int:
        return extra_bytes_per_voxel * box.voxels + (
            cost_exact.block_bound_bytes(at_once(box), densest)
            if function == EXACT
            else cost_overlap.segment_bound_bytes(
                at_once(box), function, config.segment.supervoxels, densest
            )
        )

    # Where even noise would fit, nothing need be sampled.
    needed = bound(trial.box, None)
    densest = None
    if needed > ceiling:
        found = sample(config, trial.box, trial.input_digest, None)
        densest = found.density.densest
        needed = bound(trial.box, densest)
    if needed > ceiling:
        given = "local.memory" if config.local.memory else "what this machine has"
        raise ConfigError(
            f"segmenting the box {trial.box} with {function} may need {units.human_bytes(needed)}, "
            f"more than {given} ({units.human_bytes(ceiling)})",
            _fitting(
                trial.box,
                lambda box: bound(box, densest) <= ceiling,
                function,
                more_memory(config, "local"),
            ),
        )
    return config.local.memory or needed


def _fitting(box: Box, fits: Callable[[Box], bool], function: str, more: str) -> str:
    """What would fit: a part of the box, and other ways."""
    ways = []
    for percent in range(95, 4, -5):
        part = central_box(box, vec3(max(s * percent // 100, 1) for s in box.shape))
        if fits(part):
            ways.append(f"--box {part} fits")
            break
    if function != EXACT and parse_scoring(function).kind == "histogram":
        ways.append("--scoring mean takes a fifth of the memory")
    return "; ".join([*ways, f"or {more}"])


def expected_cpu_s(trial: Trial, function: str, voxels: int | None = None) -> float:
    """About the CPU seconds of one agglomeration of the box (or of this many voxels); of cortex as usual, nothing is sampled."""
    voxels, typical = voxels or trial.box.voxels, cost_overlap.TYPICAL_DENSITY
    if function == EXACT:
        return cost_exact.block_cpu_s(voxels, typical[1])
    return cost_overlap.segment_cpu_s(voxels, function, trial.config.segment.supervoxels, *typical)

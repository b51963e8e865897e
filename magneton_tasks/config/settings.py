"""From a config to the settings that kernels read: the one place where that is done.

The threshold is the plan's, because the config's may be null.
"""

from __future__ import annotations

from magneton_tasks.base.methods import ExactSettings, Rule, SegmentSettings
from magneton_tasks.config.model import RunConfig


def segment_settings(config: RunConfig, threshold: float) -> SegmentSettings:
    """What segments a block with waterz (method overlap)."""
    segment = config.segment
    return SegmentSettings(
        threshold=threshold,
        merge_function=segment.merge_function,
        supervoxels=segment.supervoxels,
        aff_thresholds=segment.aff_thresholds,
        interior_threshold=segment.interior_threshold,
        min_distance=segment.min_distance,
    )


def exact_settings(config: RunConfig, threshold: float) -> ExactSettings:
    """What all stages of the exact method segment and join with."""
    exact, more = config.exact, config.exact.advanced
    return ExactSettings(
        threshold=threshold,
        s2=exact.s2,
        dust=0,
        t_low=more.t_low,
        t_high=more.t_high,
        s_min=more.s_min,
        t_size=more.t_size,
    )


def matching_rule(config: RunConfig) -> Rule:
    """Which pairs pool joins (method overlap)."""
    pool = config.pool
    return Rule(pool.rule, pool.min_overlap_vox, pool.min_frac, pool.min_iou)

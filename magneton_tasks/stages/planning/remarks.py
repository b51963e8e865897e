"""What a plan says of settings, and of blocks that were made before and don't serve any more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.segment import USUAL_THRESHOLD
from magneton_tasks.plan.fingerprints import make_fingerprints
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.work.paths import WorkPaths


def remarks(
    config: RunConfig, geometry: Geometry, stages: Mapping[str, StagePlan]
) -> Iterator[str]:
    """What there is to say."""
    yield from filter(
        None,
        (
            _of_threshold(config),
            _of_dust(config),
            _of_joins(config, stages),
            _too_low(config, geometry, stages),
        ),
    )


def _of_threshold(config: RunConfig) -> str | None:
    """Of a threshold without a method: which one it is for, and what is usual there."""
    threshold = config.segment.threshold
    if "method" in config.model_fields_set or threshold is None:
        return None
    return (
        f"segment.threshold {threshold:g} applies to method: exact, because the config names none and exact is the default: "
        f"there .2 to .5 are usual, and null takes the map's own; {USUAL_THRESHOLD:g} is usual for method: "
        "overlap. A line `method: exact` (or overlap) says which is meant"
    )


def _of_dust(config: RunConfig) -> str | None:
    """Of a dust that is set: it does nothing."""
    given = config.exact.dust if config.method == "exact" else None
    if not given:
        return None
    return (
        f"exact.dust {given} has no effect, because exact.s2 {config.exact.s2} merges all that is "
        "smaller; the line can go"
    )


def _of_joins(config: RunConfig, stages: Mapping[str, StagePlan]) -> str | None:
    """Of blocks that a release before joined level by level: they can't go on in rounds."""
    if config.method != "exact" or not stages["segment"].todo:
        return None
    names = files.listdir(Path(config.paths.work))
    if not any(re.fullmatch(r"join-[0-9a-f]{16}", name) for name in names):
        return None
    hours = sum(work.cpu_s for work in stages.values()) / 3600
    return (
        "an earlier release segmented blocks here by the exact method in another format: they are "
        f"computed again (about {hours:.2g} CPU hours); their files stay until `magneton clean --what stale`"
    )


def _too_low(config: RunConfig, geometry: Geometry, stages: Mapping[str, StagePlan]) -> str | None:
    """Of a threshold below which blocks that are here weren't merged."""
    given, lowest = config.segment.threshold, config.exact.lowest_threshold
    if config.method != "exact" or given is None or given >= lowest or not stages["segment"].todo:
        return None
    section = config.segment.model_copy(update={"threshold": lowest})
    higher = config.model_copy(update={"segment": section})
    usual = make_fingerprints(higher, geometry).segment
    if not files.listdir(WorkPaths(Path(config.paths.work)).records("segment", usual)):
        return None
    return (
        f"segment.threshold {given:g} lies below exact.lowest_threshold {lowest:g}, down to which the "
        f"blocks here are merged: they are computed again"
    )
